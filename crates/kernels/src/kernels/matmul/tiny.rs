//! Stacks of products of matrices so small that all of one fits registers: the loop is over the stack.
#![allow(unsafe_code)]

use super::{Float, Problem};
use crate::kernels::multiversion::Job;

/// The greatest size that counts as tiny.
pub(super) const MOST: usize = 8;

/// Members `first..last` of a stack of which `problem` is the first, `steps` elements apart.
pub(super) struct Tiny<T> {
    pub(super) problem: Problem<T>,
    /// Of a, b and c.
    pub(super) steps: [isize; 3],
    pub(super) first: usize,
    pub(super) last: usize,
}

impl<T: Float> Job for Tiny<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Problem { m, k, n, .. } = self.problem;
        // SAFETY: what the stack's owner vouched for; the sizes are those of the problem.
        unsafe {
            match (m, k, n) {
                (2, 2, 2) => self.members::<2, 2, 2>(),
                (3, 3, 3) => self.members::<3, 3, 3>(),
                (4, 4, 4) => self.members::<4, 4, 4>(),
                (2, 2, 1) => self.members::<2, 2, 1>(),
                (3, 3, 1) => self.members::<3, 3, 1>(),
                (4, 4, 1) => self.members::<4, 4, 1>(),
                _ => self.members::<0, 0, 0>(),
            }
        }
    }
}

impl<T: Float> Tiny<T> {
    /// Products of `M` x `K` by `K` x `N`, or of any size if these are zero.
    ///
    /// # Safety
    /// The operands must be valid as for `bmm`, and have these sizes.
    #[inline(always)]
    unsafe fn members<const M: usize, const K: usize, const N: usize>(&self) {
        let Problem { sa, sb, sc, alpha, .. } = self.problem;
        let any = const { M == 0 };
        let (m, k, n) =
            if any { (self.problem.m, self.problem.k, self.problem.n) } else { (M, K, N) };
        // Whole vectors where the compiler does not know the width: what is beyond it stays zero.
        let wide = if any { MOST } else { N };
        let mut rows = [[T::ZERO; MOST]; MOST];
        for i in self.first as isize..self.last as isize {
            let a = self.problem.a.at(i * self.steps[0]);
            let b = self.problem.b.at(i * self.steps[1]);
            let c = self.problem.c.at(i * self.steps[2]);
            for (l, row) in rows[..k].iter_mut().enumerate() {
                let b = b.wrapping_offset(l as isize * sb.row);
                for (j, to) in row[..n].iter_mut().enumerate() {
                    // SAFETY: element (l, j) of b.
                    *to = unsafe { *b.wrapping_offset(j as isize * sb.column) };
                }
            }
            for r in 0..m as isize {
                let a = a.wrapping_offset(r * sa.row);
                let mut sums = [T::ZERO; MOST];
                for (l, row) in rows[..k].iter().enumerate() {
                    // SAFETY: element (r, l) of a.
                    let x = unsafe { *a.wrapping_offset(l as isize * sa.column) };
                    for (sum, &y) in sums[..wide].iter_mut().zip(row) {
                        *sum = x.fused(y, *sum);
                    }
                }
                let c = c.wrapping_offset(r * sc.row);
                for (j, &sum) in sums[..n].iter().enumerate() {
                    // SAFETY: element (r, j) of c.
                    unsafe { *c.wrapping_offset(j as isize * sc.column) = alpha * sum };
                }
            }
        }
    }
}

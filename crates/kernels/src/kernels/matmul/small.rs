//! Small and thin products: no packing, any strides.
#![allow(unsafe_code)]

use super::{Float, Problem, Strides};
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::split;
use crate::kernels::vexp::Real;

/// Fused multiply-add.
pub trait Fused: Real {
    /// `self * a + b`, rounded once.
    fn fused(self, a: Self, b: Self) -> Self;
}
impl Fused for f32 {
    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }
}
impl Fused for f64 {
    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }
}

/// Columns whose sums are kept in registers or L1 together.
const WIDTH: usize = 64;

/// # Safety
/// See [`super::gemm`].
pub(super) unsafe fn run<T: Float>(problem: &Problem<T>, parallel: bool) {
    let mut problem = *problem;
    // The inner loops run along contiguous columns of c; a transposed product has them swapped.
    let transposed = |p: Problem<T>| Problem {
        m: p.n,
        n: p.m,
        a: p.b,
        sa: Strides { row: p.sb.column, column: p.sb.row },
        b: p.a,
        sb: Strides { row: p.sa.column, column: p.sa.row },
        sc: Strides { row: p.sc.column, column: p.sc.row },
        sd: Strides { row: p.sd.column, column: p.sd.row },
        ..p
    };
    // A matrix times a vector becomes a vector times a matrix.
    if (problem.n == 1 && problem.m > 1 && problem.k > 1)
        || (problem.m > 1 && problem.sc.column != 1 && problem.sc.row == 1)
    {
        problem = transposed(problem);
    }
    let units = problem.m * problem.n.div_ceil(WIDTH);
    let work = |first, last| multiversion::run(Axpys { problem, first, last });
    if parallel {
        split(units, problem.k * WIDTH.min(problem.n), work);
    } else {
        work(0, units);
    }
}

#[inline(always)]
unsafe fn store<T: Float>(p: &Problem<T>, i: usize, j: usize, sum: T) {
    let c = p.c.at(i as isize * p.sc.row + j as isize * p.sc.column);
    // SAFETY: (i, j) lies within c, which is read only if beta says so.
    unsafe {
        *c = if p.beta == T::ZERO { p.alpha * sum } else { p.beta * *c + p.alpha * sum };
    }
}

/// Rows of c as sums of multiples of rows of b.
struct Axpys<T> {
    problem: Problem<T>,
    first: usize,
    last: usize,
}

impl<T: Float> Job for Axpys<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let p = &self.problem;
        let mut packed = Vec::new();
        for unit in self.first..self.last {
            // Tiles outside rows: a panel of b stays in cache for all rows of a.
            let (i, start) = (unit % p.m, unit / p.m * WIDTH);
            let end = p.n.min(start + WIDTH);
            let mut b = p.b.at(start as isize * p.sb.column);
            let mut step = p.sb.row;
            if p.sb.column != 1 {
                // One row of b would be a gather each time; several rows of a share the copy.
                if i == 0 || unit == self.first {
                    packed.clear();
                    for l in 0..p.k as isize {
                        for j in 0..(end - start) as isize {
                            // SAFETY: column start + j of row l of b.
                            packed.push(unsafe {
                                *b.wrapping_offset(l * p.sb.row + j * p.sb.column)
                            });
                        }
                    }
                }
                b = packed.as_ptr();
                step = (end - start) as isize;
            }
            let mut at = start;
            while at < end {
                let b = b.wrapping_add(at - start);
                // SAFETY: so many columns are left in b and in c.
                at += unsafe {
                    match end - at {
                        64.. => piece::<T, 64>(p, i, at, b, step),
                        32.. => piece::<T, 32>(p, i, at, b, step),
                        16.. => piece::<T, 16>(p, i, at, b, step),
                        8.. => piece::<T, 8>(p, i, at, b, step),
                        4.. => piece::<T, 4>(p, i, at, b, step),
                        _ => piece::<T, 1>(p, i, at, b, step),
                    }
                };
            }
        }
    }
}

/// `W` elements of row `i` of c from column `at`, in registers; gives `W`.
///
/// # Safety
/// `W` columns must be left in c and in b, whose rows are `step` apart.
#[inline(always)]
unsafe fn piece<T: Float, const W: usize>(
    p: &Problem<T>,
    i: usize,
    at: usize,
    b: *const T,
    step: isize,
) -> usize {
    let a = p.a.at(i as isize * p.sa.row);
    let mut acc = [T::ZERO; W];
    for l in 0..p.k as isize {
        // SAFETY: row l of b has W elements from here on.
        unsafe {
            let x = *a.wrapping_offset(l * p.sa.column);
            let row = &*b.wrapping_offset(l * step).cast::<[T; W]>();
            for (acc, &y) in acc.iter_mut().zip(row) {
                *acc = x.fused(y, *acc);
            }
        }
    }
    let c = p.c.at(i as isize * p.sc.row + at as isize * p.sc.column);
    // SAFETY: W elements of row i of c, read only if beta says so.
    unsafe {
        if p.beta == T::ZERO && p.sc.column == 1 {
            for (j, &sum) in acc.iter().enumerate() {
                *c.add(j) = p.alpha * sum;
            }
        } else {
            for (j, &sum) in acc.iter().enumerate() {
                store(p, i, at + j, sum);
            }
        }
    }
    W
}

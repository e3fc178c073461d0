//! `A = U^T U` of symmetric matrices.

use super::triangle::{Shape, solve};
use super::{Given, Rows, half, less, subtract};
use crate::kernels::matmul::Float;
use crate::kernels::multiversion::{self, Job};

/// Rows up to which a matrix is not halved.
const SMALL: usize = 24;
/// Rows up to which both triangles of an update are made.
const SQUARE: usize = 96;
const LOWER: Shape = Shape { upper: false, unit: false };

/// The upper factor in the place of the upper triangle of `a`; the lower one is used as it comes.
/// Returns zero, or the order of the first minor that is not positive: rows before it are done.
///
/// # Safety
/// `a` must be the caller's, n × n.
pub unsafe fn cholesky<T: Float>(n: usize, a: Rows<T>) -> usize {
    if n <= SMALL {
        return multiversion::run(Small { n, a });
    }
    let h = half(n);
    let (right, rest) = (a.part(0, h), a.part(h, h));
    // SAFETY: parts of what was passed.
    unsafe {
        let failed = cholesky(h, a);
        if failed > 0 {
            return failed;
        }
        solve((h, n - h), a.given().turned(), right, LOWER);
        less_square((n - h, h), right.given(), rest);
        match cholesky(n - h, rest) {
            0 => 0,
            failed => failed + h,
        }
    }
}

/// The upper triangle of `c -= a^T a`, with `a` k × n.
///
/// # Safety
/// As for `subtract`.
unsafe fn less_square<T: Float>((n, k): (usize, usize), a: Given<T>, c: Rows<T>) {
    // SAFETY: parts of what was passed.
    unsafe {
        if n <= SQUARE {
            subtract((n, n, k), a.turned(), a, c);
            return;
        }
        let h = half(n);
        less_square((h, k), a, c);
        subtract((h, n - h, k), a.turned(), a.part(0, h), c.part(0, h));
        less_square((n - h, k), a.part(0, h), c.part(h, h));
    }
}

struct Small<T> {
    n: usize,
    a: Rows<T>,
}

impl<T: Float> Job for Small<T> {
    type Output = usize;
    #[inline(always)]
    fn run(self) -> usize {
        let Self { n, a } = self;
        for j in 0..n {
            // SAFETY: rows of the matrix, which differ.
            unsafe {
                let row = a.row(j, j, n - j);
                // A number that is none is not positive either.
                if !(row[0] > T::ZERO) {
                    return j + 1;
                }
                row[0] = row[0].sqrt();
                let pivot = row[0];
                for x in &mut row[1..] {
                    *x = *x / pivot;
                }
                for i in j + 1..n {
                    let shares = &row[i - j..];
                    less(a.row(i, i, n - i), shares[0], shares);
                }
            }
        }
        0
    }
}

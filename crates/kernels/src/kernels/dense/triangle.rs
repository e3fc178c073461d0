//! Systems of equations with a triangular matrix.

use super::{Given, Rows, dot, half, less, subtract};
use crate::kernels::matmul::Float;
use crate::kernels::multiversion::{self, Job};

/// Equations below which a system is not halved.
const BASE: usize = 16;
/// Right sides taken at once.
const LANES: usize = 16;

/// Which triangle, and whether its diagonal counts as ones.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) upper: bool,
    pub(super) unit: bool,
}

/// `T x = b` in the place of `b`, `n` equations with `k` right sides, with a triangle of `a` for T.
///
/// # Safety
/// `a` must be readable, `b` the caller's, and apart from each other.
pub unsafe fn substitute<T: Float>(
    (n, k): (usize, usize),
    a: Given<T>,
    b: Rows<T>,
    upper: bool,
    unit: bool,
) {
    // SAFETY: passed on.
    unsafe { solve((n, k), a, b, Shape { upper, unit }) }
}

pub(super) unsafe fn solve<T: Float>(
    (n, k): (usize, usize),
    a: Given<T>,
    b: Rows<T>,
    shape: Shape,
) {
    if n == 0 || k == 0 {
        return;
    }
    if k == 1 && (a.s.column == 1 || a.s.row == 1) {
        let mut x: Vec<T> = Vec::with_capacity(n);
        // SAFETY: passed on; `b` has one column.
        unsafe {
            x.extend((0..n).map(|i| *b.at(i, 0)));
            multiversion::run(One { a, x: &mut x, shape });
            for (i, x) in x.into_iter().enumerate() {
                *b.at(i, 0) = x;
            }
        }
        return;
    }
    if n <= BASE {
        multiversion::run(Few { a, b, n, k, shape });
        return;
    }
    let h = half(n);
    let low = b.part(h, 0);
    // SAFETY: parts of what was passed.
    unsafe {
        if shape.upper {
            solve((n - h, k), a.part(h, h), low, shape);
            subtract((h, k, n - h), a.part(0, h), low.given(), b);
            solve((h, k), a, b, shape);
        } else {
            solve((h, k), a, b, shape);
            subtract((n - h, k, h), a.part(h, 0), b.given(), low);
            solve((n - h, k), a.part(h, h), low, shape);
        }
    }
}

/// A few equations.
struct Few<T> {
    a: Given<T>,
    b: Rows<T>,
    n: usize,
    k: usize,
    shape: Shape,
}

impl<T: Float> Few<T> {
    /// The rows in the order in which they are found.
    #[inline(always)]
    fn row(&self, step: usize) -> usize {
        if self.shape.upper { self.n - 1 - step } else { step }
    }
}

impl<T: Float> Job for Few<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { a, b, n, k, shape } = self;
        // The triangle as it is read: a row of factors for each equation.
        let mut factors = [[T::ZERO; BASE]; BASE];
        let mut pivots = [T::ONE; BASE];
        for step in 0..n {
            let i = self.row(step);
            for other in 0..step {
                // SAFETY: within `a`.
                factors[step][other] = unsafe { *a.at(i, self.row(other)) };
            }
            if !shape.unit {
                // SAFETY: within `a`.
                pivots[step] = unsafe { *a.at(i, i) };
            }
        }
        let whole = k - k % LANES;
        for at in (0..whole).step_by(LANES) {
            for step in 0..n {
                // SAFETY: rows of `b`, which differ.
                unsafe {
                    let to = b.row(self.row(step), at, LANES);
                    let mut sums = [T::ZERO; LANES];
                    sums.copy_from_slice(to);
                    for other in 0..step {
                        let from = b.row(self.row(other), at, LANES);
                        let factor = factors[step][other];
                        for l in 0..LANES {
                            sums[l] = sums[l] - factor * from[l];
                        }
                    }
                    if !shape.unit {
                        for sum in &mut sums {
                            *sum = *sum / pivots[step];
                        }
                    }
                    to.copy_from_slice(&sums);
                }
            }
        }
        for step in 0..n {
            // SAFETY: as above.
            unsafe {
                let to = b.row(self.row(step), whole, k - whole);
                for other in 0..step {
                    less(to, factors[step][other], b.row(self.row(other), whole, k - whole));
                }
                if !shape.unit {
                    for to in to {
                        *to = *to / pivots[step];
                    }
                }
            }
        }
    }
}

/// One right side; the matrix has rows or columns that are contiguous.
struct One<'a, T> {
    a: Given<T>,
    x: &'a mut [T],
    shape: Shape,
}

impl<T: Float> Job for One<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { a, x, shape } = self;
        let n = x.len();
        for step in 0..n {
            let i = if shape.upper { n - 1 - step } else { step };
            // SAFETY: within `a`: a row of it, or a column.
            unsafe {
                if a.s.column == 1 {
                    let (from, to) = if shape.upper { (i + 1, n) } else { (0, i) };
                    let row = std::slice::from_raw_parts(a.at(i, from), to - from);
                    x[i] = x[i] - dot(row, &x[from..to]);
                }
                if !shape.unit {
                    x[i] = x[i] / *a.at(i, i);
                }
                if a.s.column != 1 {
                    let (from, to) = if shape.upper { (0, i) } else { (i + 1, n) };
                    let column = std::slice::from_raw_parts(a.at(from, i), to - from);
                    let found = x[i];
                    less(&mut x[from..to], found, column);
                }
            }
        }
    }
}

//! Factors of dense matrices and systems of equations, in place and by halves: all but narrow parts is
//! products of matrices. Matrices lie in rows; the bits depend on sizes and strides only.
//!
//! Formula source: Toledo, "Locality of Reference in LU Decomposition with Partial Pivoting", 1997, for
//! the recursion; Golub & Van Loan, *Matrix Computations*, chapters 3 and 4.
#![allow(unsafe_code)]

mod bidiagonal;
mod blocks;
mod cholesky;
mod divide;
mod implicit;
mod lanes;
mod least;
mod lu;
mod qd;
mod qr;
mod rotations;
mod secular;
mod spectral;
mod triangle;
mod tridiagonal;
mod vectors;

pub use cholesky::cholesky;
pub use lanes::{Few, LANES, MOST, cholesky_of_few, lu_of_few, qr_of_few, solve_few};
pub use least::least_squares;
pub use lu::lu;
pub use qr::qr;
pub use rotations::{eigen_of_few, svd_of_few};
pub use spectral::{Sides, eigh, svd};
pub use triangle::substitute;

use super::matmul::{self, Float, Strides};
use super::raw::{Dst, Src};

/// What a kernel reads: a matrix anywhere.
#[derive(Debug)]
pub struct Given<T> {
    at: Src<T>,
    s: Strides,
}
impl<T> Clone for Given<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Given<T> {}

impl<T> Given<T> {
    /// A matrix that begins there.
    pub fn new(at: *const T, s: Strides) -> Self {
        Self { at: Src::new(at), s }
    }
    #[inline(always)]
    fn at(self, i: usize, j: usize) -> *const T {
        self.at.at(i as isize * self.s.row + j as isize * self.s.column)
    }
    #[inline(always)]
    fn part(self, i: usize, j: usize) -> Self {
        Self { at: Src::new(self.at(i, j)), s: self.s }
    }
    fn turned(self) -> Self {
        Self { at: self.at, s: Strides { row: self.s.column, column: self.s.row } }
    }
}

/// What a kernel writes: a matrix in rows, from one to the next so many elements.
#[derive(Debug)]
pub struct Rows<T> {
    at: Dst<T>,
    step: usize,
}
impl<T> Clone for Rows<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Rows<T> {}

impl<T> Rows<T> {
    /// A matrix that begins there.
    pub fn new(at: *mut T, step: usize) -> Self {
        Self { at: Dst::new(at), step }
    }
    #[inline(always)]
    fn at(self, i: usize, j: usize) -> *mut T {
        self.at.at((i * self.step + j) as isize)
    }
    #[inline(always)]
    fn part(self, i: usize, j: usize) -> Self {
        Self { at: Dst::new(self.at(i, j)), step: self.step }
    }
    fn given(self) -> Given<T> {
        Given::new(self.at(0, 0), matmul::lines(self.step))
    }
    /// `n` elements of row `i` from `j` on.
    ///
    /// # Safety
    /// They must be the caller's, and no other slice of them in use.
    #[inline(always)]
    unsafe fn row<'a>(self, i: usize, j: usize, n: usize) -> &'a mut [T] {
        // SAFETY: passed on.
        unsafe { std::slice::from_raw_parts_mut(self.at(i, j), n) }
    }
}

/// `c -= a b`, with `a` m × k and `b` k × n.
///
/// # Safety
/// All must be readable, `c` writable and apart from the others.
unsafe fn subtract<T: Float>(
    (m, n, k): (usize, usize, usize),
    a: Given<T>,
    b: Given<T>,
    c: Rows<T>,
) {
    let (sa, sb, sc) = (a.s, b.s, matmul::lines(c.step));
    // SAFETY: passed on.
    unsafe {
        matmul::gemm::<T>(m, n, k, -T::ONE, a.at(0, 0), sa, b.at(0, 0), sb, T::ONE, c.at(0, 0), sc);
    }
}

/// The first of two parts of `n`: half of it, in full vectors.
fn half(n: usize) -> usize {
    (n / 2).max(1).next_multiple_of(8)
}

/// `to[j] -= factor * from[j]`.
#[inline(always)]
fn less<T: Float>(to: &mut [T], factor: T, from: &[T]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = *to - factor * from;
    }
}

/// The inner product, in sixteen sums that the processor can keep apart.
#[inline(always)]
fn dot<T: Float>(x: &[T], y: &[T]) -> T {
    let mut sums = [T::ZERO; 16];
    let (xs, ys) = (x.chunks_exact(16), y.chunks_exact(16));
    let mut rest = T::ZERO;
    for (&a, &b) in xs.remainder().iter().zip(ys.remainder()) {
        rest += a * b;
    }
    for (a, b) in xs.zip(ys) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
    }
    sums[0] + rest
}

#[cfg(test)]
mod tests;

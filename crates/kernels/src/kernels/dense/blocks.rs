//! Reflections gathered to be applied as products.
//!
//! Formula source: Schreiber & Van Loan, "A Storage-Efficient WY Representation for Products of
//! Householder Transformations", 1989.

use super::matmul::{self, Float, Strides, lines};
use super::vectors::mirror;

/// Reflections of one block.
pub(super) const PANEL: usize = 32;

/// Reflections `1 - factor v v^T` on vectors of `length` elements. The j-th v lies in the j-th row of
/// `rows`, from element j + `offset` on, and begins with one.
#[derive(Clone, Copy)]
pub(super) struct Reflections<'a, T> {
    pub(super) rows: &'a [T],
    pub(super) length: usize,
    pub(super) offset: usize,
    pub(super) factors: &'a [T],
}

impl<T: Float> Reflections<'_, T> {
    fn v(&self, j: usize) -> &[T] {
        &self.rows[j * self.length + j + self.offset..(j + 1) * self.length]
    }

    /// Multiplies vectors that lie one after the other with the product of all. With `unit` they are those
    /// of the unit matrix: the first are left as they are by the later reflections.
    pub(super) fn apply(&self, to: &mut [T], unit: bool) {
        let (count, length) = (self.factors.len(), self.length);
        if to.is_empty() {
            return;
        }
        let size = to.len();
        let skipped = |j: usize| if unit { ((j + self.offset) * length).min(size) } else { 0 };
        if count <= 8 || size < 4 * length {
            for j in (0..count).rev() {
                let from = skipped(j);
                mirror(self.v(j), self.factors[j], &mut to[from..], length, j + self.offset);
            }
            return;
        }
        for from in (0..count).step_by(PANEL).rev() {
            let start = skipped(from);
            self.block(from, count.min(from + PANEL)).apply(&mut to[start..], false);
        }
    }

    /// Some of them as one.
    pub(super) fn block(&self, from: usize, to: usize) -> Block<T> {
        let (top, count) = (from + self.offset, to - from);
        let wide = self.length - top;
        let mut vectors = vec![T::ZERO; count * wide];
        for (j, row) in vectors.chunks_exact_mut(wide).enumerate() {
            row[j..].copy_from_slice(self.v(from + j));
        }
        let mut inner = vec![T::ZERO; count * count];
        let all = lines(wide);
        product((count, count, wide), &vectors, all, &vectors, turned(all), &mut inner);
        let mut t = vec![T::ZERO; count * count];
        for (j, &factor) in self.factors[from..to].iter().enumerate() {
            for i in 0..j {
                let mut sum = T::ZERO;
                for l in i..j {
                    sum += t[i * count + l] * inner[l * count + j];
                }
                t[i * count + j] = -(factor * sum);
            }
            t[j * count + j] = factor;
        }
        Block { vectors, wide, count, factors: t, top, length: self.length }
    }
}

/// Reflections as one: `1 - V T V^T`.
pub(super) struct Block<T> {
    /// Columns of V in rows, from the first element that is not zero on.
    vectors: Vec<T>,
    wide: usize,
    count: usize,
    /// T in rows.
    factors: Vec<T>,
    top: usize,
    length: usize,
}

impl<T: Float> Block<T> {
    /// Multiplies vectors that lie one after the other with it, or with its transpose.
    pub(super) fn apply(&self, columns: &mut [T], transposed: bool) {
        let (n, k, wide) = (columns.len() / self.length, self.count, self.wide);
        if n == 0 || wide == 0 {
            return;
        }
        let (mut shares, mut turns) = (vec![T::ZERO; n * k], vec![T::ZERO; n * k]);
        let all = lines(wide);
        let step = lines(self.length);
        product((n, k, wide), &columns[self.top..], step, &self.vectors, turned(all), &mut shares);
        let t = if transposed { lines(k) } else { turned(lines(k)) };
        product((n, k, k), &shares, lines(k), &self.factors, t, &mut turns);
        less(
            (n, wide, k),
            &turns,
            lines(k),
            &self.vectors,
            all,
            &mut columns[self.top..],
            self.length,
        );
    }
}

pub(super) fn turned(s: Strides) -> Strides {
    Strides { row: s.column, column: s.row }
}

/// The last element that a matrix reaches.
fn reach(rows: usize, columns: usize, s: Strides) -> usize {
    (rows - 1) * s.row as usize + (columns - 1) * s.column as usize
}

/// `c = a b`, with `a` m × k, `b` k × n and `c` in rows of n.
pub(super) fn product<T: Float>(
    (m, n, k): (usize, usize, usize),
    a: &[T],
    sa: Strides,
    b: &[T],
    sb: Strides,
    c: &mut [T],
) {
    into((m, n, k), T::ONE, a, sa, b, sb, T::ZERO, c, n);
}

/// `c -= a b`, with the rows of `c` so far apart.
pub(super) fn less<T: Float>(
    size: (usize, usize, usize),
    a: &[T],
    sa: Strides,
    b: &[T],
    sb: Strides,
    c: &mut [T],
    step: usize,
) {
    into(size, -T::ONE, a, sa, b, sb, T::ONE, c, step);
}

/// `c = alpha a b + beta c`, with the rows of `c` so far apart.
pub(super) fn into<T: Float>(
    (m, n, k): (usize, usize, usize),
    alpha: T,
    a: &[T],
    sa: Strides,
    b: &[T],
    sb: Strides,
    beta: T,
    c: &mut [T],
    step: usize,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(n <= step && reach(m, n, lines(step)) < c.len());
    assert!(k == 0 || (reach(m, k, sa) < a.len() && reach(k, n, sb) < b.len()));
    let (a, b, to) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    // SAFETY: the offsets were checked.
    unsafe { matmul::gemm::<T>(m, n, k, alpha, a, sa, b, sb, beta, to, lines(step)) };
}

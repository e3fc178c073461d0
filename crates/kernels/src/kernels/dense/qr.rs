//! Householder's reflections on columns that lie one after the other.

use super::Given;
use super::blocks::{PANEL, Reflections};
use super::matmul::Float;
use super::vectors::{dot_of, mirror, reflector};

/// Columns that were made triangular.
#[derive(Debug)]
pub(super) struct Reflected<T> {
    /// The diagonal of R.
    pub(super) diagonal: Vec<T>,
    /// Of each reflection `1 - factor v v^T` the factor; v lies in the column from the diagonal on.
    pub(super) factors: Vec<T>,
}

impl<T: Float> Reflected<T> {
    fn new(count: usize) -> Self {
        Self { diagonal: vec![T::ZERO; count], factors: vec![T::ZERO; count] }
    }

    /// The reflections whose vectors lie in `columns`.
    pub(super) fn reflections<'a>(&'a self, columns: &'a [T], length: usize) -> Reflections<'a, T> {
        Reflections { rows: columns, length, offset: 0, factors: &self.factors }
    }

    /// Multiplies columns with Q.
    pub(super) fn restore(&self, columns: &[T], length: usize, to: &mut [T]) {
        self.reflections(columns, length).apply(to, false);
    }

    /// The first `count` columns of Q.
    pub(super) fn orthogonal(&self, columns: &[T], length: usize, count: usize) -> Vec<T> {
        let mut q = vec![T::ZERO; length * count];
        for (i, column) in q.chunks_exact_mut(length.max(1)).enumerate() {
            if i < length {
                column[i] = T::ONE;
            }
        }
        self.reflections(columns, length).apply(&mut q, true);
        q
    }
}

/// Reflects `columns` of `length` elements so that the first `count` become triangular: above the
/// diagonal they then hold R, the others the product with Q transposed.
///
/// # Panics
/// If there are fewer columns, or more than a column has elements.
pub(super) fn reflect<T: Float>(columns: &mut [T], length: usize, count: usize) -> Reflected<T> {
    let mut made = Reflected::new(count);
    for from in (0..count).step_by(PANEL) {
        let to = count.min(from + PANEL);
        let (own, rest) = columns.split_at_mut(to * length);
        // A single panel reflects all there is as it goes; of more the rest follows in products.
        let alone = count <= PANEL && rest.len() <= PANEL * length;
        for j in from..to {
            let (before, others) = own.split_at_mut((j + 1) * length);
            let v = &mut before[j * length + j..];
            let (image, factor) = reflector(v);
            (made.diagonal[j], made.factors[j]) = (image, factor);
            mirror(v, factor, others, length, j);
            if alone {
                mirror(v, factor, rest, length, j);
            }
        }
        if !alone && !rest.is_empty() {
            let all = made.reflections(own, length);
            all.block(from, to).apply(rest, true);
        }
    }
    made
}

/// As [`reflect`], each time with the longest of the first `among` columns that are left in the next
/// place. Tells which column came to each.
pub(super) fn reflect_longest<T: Float>(
    columns: &mut [T],
    length: usize,
    among: usize,
    count: usize,
) -> (Reflected<T>, Vec<usize>) {
    let mut made = Reflected::new(count);
    let mut order: Vec<usize> = (0..among).collect();
    let square = |column: &[T]| dot_of(column, column).to_f64();
    // Squared lengths of what is left of each column: as reckoned from step to step, and when last measured.
    let mut squares: Vec<(f64, f64)> = columns
        .chunks_exact(length.max(1))
        .take(among)
        .map(|column| (square(column), square(column)))
        .collect();
    let precise = if size_of::<T>() == 4 { 1e-3 } else { 1e-7 };
    for j in 0..count {
        let mut best = j;
        for i in j + 1..among {
            if squares[i].0 > squares[best].0 {
                best = i;
            }
        }
        if best != j {
            order.swap(j, best);
            squares.swap(j, best);
            let (low, high) = columns.split_at_mut(best * length);
            low[j * length..(j + 1) * length].swap_with_slice(&mut high[..length]);
        }
        let (own, others) = columns[j * length..].split_at_mut(length);
        (made.diagonal[j], made.factors[j]) = reflector(&mut own[j..]);
        mirror(&own[j..], made.factors[j], others, length, j);
        for (column, squares) in others.chunks_exact(length).zip(&mut squares[j + 1..]) {
            let top = column[j].to_f64();
            squares.0 -= top * top;
            if !(squares.0 > precise * squares.1) {
                let left = square(&column[j + 1..]);
                *squares = (left, left);
            }
        }
    }
    (made, order)
}

/// Columns of a matrix one after the other, which are rows of the transposed one.
///
/// # Safety
/// The matrix must be readable.
pub(super) unsafe fn columns_of<T: Float>(a: Given<T>, m: usize, n: usize) -> Vec<T> {
    let mut columns = vec![T::ZERO; m * n];
    // SAFETY: within the matrix.
    in_tiles(m, n, |i, j| columns[j * m + i] = unsafe { *a.at(i, j) });
    columns
}

/// Columns that lie one after the other as rows: n of m elements each, taken in some order.
pub(super) fn as_rows<T: Float>(
    columns: &[T],
    m: usize,
    order: impl Fn(usize) -> usize,
    to: &mut [T],
) {
    let n = to.len() / m.max(1);
    in_tiles(m, n, |i, j| to[i * n + j] = columns[order(j) * m + i]);
}

/// All pairs of a row and a column, in an order in which few lines of the cache are in use.
#[inline(always)]
fn in_tiles(m: usize, n: usize, mut f: impl FnMut(usize, usize)) {
    const TILE: usize = 16;
    for top in (0..m).step_by(TILE) {
        for left in (0..n).step_by(TILE) {
            for j in left..n.min(left + TILE) {
                for i in top..m.min(top + TILE) {
                    f(i, j);
                }
            }
        }
    }
}

/// Q with `k` columns, and R, of an m × n matrix.
///
/// # Safety
/// The matrix must be readable.
///
/// # Panics
/// If the results have not m × k and k × n elements.
pub unsafe fn qr<T: Float>(
    a: Given<T>,
    (m, n, k): (usize, usize, usize),
    q: &mut [T],
    r: &mut [T],
) {
    assert!(q.len() == m * k && r.len() == k * n && k >= m.min(n));
    // SAFETY: passed on.
    let mut columns = unsafe { columns_of(a, m, n) };
    let made = reflect(&mut columns, m, m.min(n));
    as_rows(&made.orthogonal(&columns, m, k), m, |j| j, q);
    r.fill(T::ZERO);
    for (j, column) in columns.chunks_exact(m.max(1)).enumerate() {
        for i in 0..k.min(j + 1) {
            r[i * n + j] =
                if i == j && i < made.diagonal.len() { made.diagonal[i] } else { column[i] };
        }
    }
}

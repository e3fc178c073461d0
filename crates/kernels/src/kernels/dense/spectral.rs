//! Eigenvalues of symmetric matrices, and singular values.

use super::Given;
use super::bidiagonal;
use super::blocks::Reflections;
use super::divide;
use super::implicit::{singular_values, values};
use super::matmul::Float;
use super::qr::{as_rows, columns_of, reflect};
use super::tridiagonal::tridiagonal;

/// Multiplies the elements by a power of two so that squares neither overflow nor vanish; returns what the
/// results are to be multiplied with twice.
fn moderate<T: Float>(all: &mut [T]) -> f64 {
    let most = all.iter().fold(0.0, |most: f64, x| most.max(x.to_f64().abs()));
    let range = if size_of::<T>() == 4 { 1e-8..1e8 } else { 1e-60..1e60 };
    if most == 0.0 || range.contains(&most) || !most.is_finite() {
        return 1.0;
    }
    // In two steps: the power itself need not be a number.
    let half = 2.0_f64.powi(-(most.log2() / 2.0) as i32);
    for x in all {
        *x = T::from_f64(x.to_f64() * half * half);
    }
    1.0 / half
}

/// Ascending eigenvalues of a symmetric n × n matrix, of which one triangle is read, and eigenvectors in
/// columns, if they are wanted.
///
/// # Safety
/// The matrix must be readable.
///
/// # Panics
/// If the results have not n and n × n elements.
pub unsafe fn eigh<T: Float>(
    a: Given<T>,
    n: usize,
    upper: bool,
    to: &mut [T],
    vectors: Option<&mut [T]>,
) {
    assert!(to.len() == n);
    let from = if upper { a } else { a.turned() };
    let mut a = vec![T::ZERO; n * n];
    for (i, row) in a.chunks_exact_mut(n.max(1)).enumerate() {
        for (j, x) in row.iter_mut().enumerate().skip(i) {
            // SAFETY: within the matrix.
            *x = unsafe { *from.at(i, j) };
        }
    }
    let scale = moderate(&mut a);
    let mut three = tridiagonal(&mut a, n);
    let d = &mut three.diagonal;
    if let Some(vectors) = vectors {
        assert!(vectors.len() == n * n);
        let mut rows = vec![T::ZERO; n * n];
        let order = divide::symmetric(d, &mut three.beside, &mut rows);
        let all = Reflections { rows: &a, length: n, offset: 1, factors: &three.factors };
        all.apply(&mut rows, false);
        as_rows(&rows, n, |j| order[j], vectors);
        for (to, &from) in to.iter_mut().zip(&order) {
            *to = T::from_f64(d[from] * scale * scale);
        }
        return;
    }
    values(d, &mut three.beside);
    d.sort_by(f64::total_cmp);
    for (to, d) in to.iter_mut().zip(d) {
        *to = T::from_f64(*d * scale * scale);
    }
}

/// Left vectors in columns and right ones in rows: reduced, or square with `full`.
#[derive(Debug)]
pub struct Sides<'a, T> {
    /// U.
    pub left: &'a mut [T],
    /// V transposed.
    pub right: &'a mut [T],
    /// Whether both are square.
    pub full: bool,
}

/// Descending singular values of an m × n matrix, and singular vectors, if they are wanted.
///
/// # Safety
/// The matrix must be readable.
///
/// # Panics
/// If the results have not the sizes that belong to the matrix.
pub unsafe fn svd<T: Float>(
    a: Given<T>,
    (m, n): (usize, usize),
    to: &mut [T],
    sides: Option<Sides<'_, T>>,
) {
    assert!(to.len() == m.min(n));
    let wide = m < n;
    let (a, long, short) = if wide { (a.turned(), n, m) } else { (a, m, n) };
    if short == 0 {
        if let Some(Sides { left, right, full: true }) = sides {
            let all = if wide { right } else { left };
            all.fill(T::ZERO);
            all.iter_mut().step_by(long + 1).for_each(|x| *x = T::ONE);
        }
        return;
    }
    // A long matrix is made square first.
    let mut first = None;
    let (mut rows, height, scale);
    if long * 3 > short * 4 {
        // SAFETY: passed on.
        let mut columns = unsafe { columns_of(a, long, short) };
        scale = moderate(&mut columns);
        let made = reflect(&mut columns, long, short);
        rows = vec![T::ZERO; short * short];
        for (j, column) in columns.chunks_exact(long).enumerate() {
            for i in 0..j {
                rows[i * short + j] = column[i];
            }
            rows[j * (short + 1)] = made.diagonal[j];
        }
        height = short;
        first = Some((columns, made));
    } else {
        // SAFETY: passed on.
        rows = unsafe { columns_of(a.turned(), short, long) };
        scale = moderate(&mut rows);
        height = long;
    }
    let mut two = bidiagonal::bidiagonal(&mut rows, height, short);
    let (d, e) = (&mut two.diagonal, &mut two.beside);
    let Some(Sides { left, right, full }) = sides else {
        singular_values(d, e);
        d.sort_by(|a, b| b.total_cmp(a));
        for (to, d) in to.iter_mut().zip(d) {
            *to = T::from_f64(*d * scale * scale);
        }
        return;
    };
    let (mut of_left, mut of_right) = (vec![T::ZERO; short * short], vec![T::ZERO; short * short]);
    let mut order = divide::bidiagonal(d, e, &mut of_left, &mut of_right);
    order.reverse();
    for (to, &from) in to.iter_mut().zip(&order) {
        *to = T::from_f64(d[from] * scale * scale);
    }
    // The short side's vectors, then the long one's, in rows.
    let mut narrow = Vec::with_capacity(short * short);
    let count = if full { long } else { short };
    let mut tall = vec![T::ZERO; count * long];
    for (i, &row) in order.iter().enumerate() {
        narrow.extend_from_slice(&of_right[row * short..][..short]);
        tall[i * long..][..short].copy_from_slice(&of_left[row * short..][..short]);
    }
    for i in short..count {
        tall[i * (long + 1)] = T::ONE;
    }
    let factors = &two.right_factors;
    Reflections { rows: &two.right, length: short, offset: 1, factors }.apply(&mut narrow, false);
    let factors = &two.left_factors;
    let inner = Reflections { rows: &two.left, length: height, offset: 0, factors };
    if let Some((columns, made)) = &first {
        // The rows begin with what the inner reflections work on.
        let mut part = Vec::with_capacity(short * short);
        for row in tall.chunks_exact(long).take(short) {
            part.extend_from_slice(&row[..short]);
        }
        inner.apply(&mut part, false);
        for (row, part) in tall.chunks_exact_mut(long).zip(part.chunks_exact(short)) {
            row[..short].copy_from_slice(part);
        }
        made.restore(columns, long, &mut tall);
    } else {
        inner.apply(&mut tall, false);
    }
    if wide {
        right.copy_from_slice(&tall);
        as_rows(&narrow, short, |j| j, left);
    } else {
        as_rows(&tall, long, |j| j, left);
        right.copy_from_slice(&narrow);
    }
}

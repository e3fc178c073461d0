//! Least squares.

use super::matmul::{Float, Strides};
use super::qr::{columns_of, reflect, reflect_longest};
use super::triangle::substitute;
use super::vectors::dot_of;
use super::{Given, Rows};

/// How far from the limit an estimated condition must be for a triangle to be taken as it is.
const MARGIN: f64 = 16.0;

/// The shortest X of those for which `A X - B` is shortest, n × k, and the rank of A: by reflections, and
/// where the rank is in doubt by a complete orthogonal factorization (Golub & Van Loan, *Matrix
/// Computations*, sections 5.3 and 5.5).
///
/// # Safety
/// The matrices, m × n and m × k, must be readable.
///
/// # Panics
/// If there is no room for the result.
pub unsafe fn least_squares<T: Float>(
    a: Given<T>,
    b: Given<T>,
    (m, n, k): (usize, usize, usize),
    rcond: f64,
    x: &mut [T],
) -> usize {
    assert!(x.len() == n * k);
    // SAFETY: passed on.
    let (mut columns, right) = unsafe { (columns_of(a, m, n), columns_of(b, m, k)) };
    columns.extend(right);
    // A matrix that is not wide is made a triangle first, without exchanges, in products; the right sides go
    // along.
    let (p, mut small) = if m >= n && n > 0 {
        let made = reflect(&mut columns, m, n);
        for (j, &diagonal) in made.diagonal.iter().enumerate() {
            columns[j * (m + 1)] = diagonal;
        }
        if sound(&columns[..n * m], m, n, rcond) {
            for (side, column) in columns[n * m..].chunks_exact(m).enumerate() {
                for (i, &value) in column[..n].iter().enumerate() {
                    x[i * k + side] = value;
                }
            }
            let triangle = in_columns(&columns, m);
            // SAFETY: n × n elements of the columns, and all of x.
            unsafe { substitute((n, k), triangle, Rows::new(x.as_mut_ptr(), k), true, false) };
            return n;
        }
        let mut small = Vec::with_capacity((n + k) * n);
        for (j, column) in columns.chunks_exact(m).enumerate() {
            small.extend_from_slice(&column[..n]);
            if j < n {
                small[j * n + j + 1..].fill(T::ZERO);
            }
        }
        (n, small)
    } else {
        (m, columns)
    };
    x.fill(T::ZERO);
    let (made, order) = reflect_longest(&mut small, p, n, p.min(n));
    let element = |i: usize, j: usize| if i == j { made.diagonal[i] } else { small[j * p + i] };
    let rank = condition(made.diagonal.len(), |i, j| element(i, j).to_f64(), rcond).rank;
    if rank == 0 || k == 0 {
        return rank;
    }
    // [R1 R2] = S^T Z^T with a triangle S: the solution is Z S^-T c.
    let mut rows: Vec<T> = Vec::with_capacity(rank * n);
    for i in 0..rank {
        rows.extend((0..n).map(|j| if j < i { T::ZERO } else { element(i, j) }));
    }
    let turned = (rank < n).then(|| reflect(&mut rows, n, rank));
    let mut all = vec![T::ZERO; n * k];
    for (side, found) in all.chunks_exact_mut(n).enumerate() {
        found[..rank].copy_from_slice(&small[(n + side) * p..][..rank]);
        if let Some(turned) = &turned {
            for i in 0..rank {
                let sum = dot_of(&found[..i], &rows[i * n..][..i]);
                found[i] = (found[i] - sum) / turned.diagonal[i];
            }
        } else {
            for i in (0..n).rev() {
                let sum = dot_of(&rows[i * n + i + 1..(i + 1) * n], &found[i + 1..]);
                found[i] = (found[i] - sum) / rows[i * (n + 1)];
            }
        }
    }
    if let Some(turned) = &turned {
        turned.restore(&rows, n, &mut all);
    }
    for (side, found) in all.chunks_exact(n).enumerate() {
        for (&at, &found) in order.iter().zip(found) {
            x[at * k + side] = found;
        }
    }
    rank
}

/// A matrix whose columns of `length` elements lie one after the other.
fn in_columns<T>(columns: &[T], length: usize) -> Given<T> {
    Given::new(columns.as_ptr(), Strides { row: 1, column: length as isize })
}

/// What is known of a triangle's singular values.
struct Condition {
    /// Up to where the condition is below a limit.
    rank: usize,
    /// The least and greatest of them up to there, as estimated: from above and from below.
    ends: (f64, f64),
    /// The left singular vector of the least.
    vector: Vec<f64>,
}

/// Up to where an upper triangle has a condition below `1 / rcond`, estimated a column at a time (Bischof,
/// "Incremental Condition Estimation", 1990).
fn condition(most: usize, element: impl Fn(usize, usize) -> f64, rcond: f64) -> Condition {
    let (mut small, mut large) = (vec![1.0], vec![1.0]);
    if most == 0 || element(0, 0) == 0.0 || element(0, 0).is_nan() {
        return Condition { rank: 0, ends: (0.0, 0.0), vector: small };
    }
    let (mut least, mut greatest) = (element(0, 0).abs(), element(0, 0).abs());
    for rank in 1..most {
        let column: Vec<f64> = (0..rank).map(|i| element(i, rank)).collect();
        let end = element(rank, rank);
        // Of `[[value, share], [0, end]]`: the greater singular value, and the turn that its left vector is.
        let widened = |value: f64, vector: &[f64]| {
            let share = dot_of(vector, &column);
            let (p, q, r) = (value * value + share * share, share * end, end * end);
            let top = (0.5 * (p + r + (p - r).hypot(2.0 * q))).sqrt();
            (top, 0.5 * (2.0 * q).atan2(p - r))
        };
        let (top, angle) = widened(least, &small);
        let next_least = if top == 0.0 { 0.0 } else { least * end.abs() / top };
        let (next_greatest, wide) = widened(greatest, &large);
        // Not the other way round: what is no number ends it.
        if !(greatest.max(next_greatest) * rcond <= next_least) {
            return Condition { rank, ends: (least, greatest), vector: small };
        }
        for x in &mut small {
            *x *= -angle.sin();
        }
        small.push(angle.cos());
        for x in &mut large {
            *x *= wide.cos();
        }
        large.push(wide.sin());
        (least, greatest) = (next_least, next_greatest);
    }
    Condition { rank: most, ends: (least, greatest), vector: small }
}

/// Whether a triangle, in columns of `length` elements, is far from a condition of `1 / rcond`: without
/// exchanges the estimate may be rough, so that steps of inverse iteration follow.
fn sound<T: Float>(columns: &[T], length: usize, n: usize, rcond: f64) -> bool {
    let Condition { rank, ends: (mut least, greatest), vector } =
        condition(n, |i, j| columns[j * length + i].to_f64(), rcond * MARGIN);
    if rank < n {
        return false;
    }
    let triangle = in_columns(columns, length);
    let mut vector: Vec<T> = vector.into_iter().map(T::from_f64).collect();
    let norm = |vector: &[T]| dot_of(vector, vector).to_f64().sqrt();
    for _ in 0..2 {
        let before = norm(&vector);
        let at = vector.as_mut_ptr();
        // SAFETY: a triangle of the columns, and a vector as long.
        unsafe { substitute((n, 1), triangle, Rows::new(at, 1), true, false) };
        least = least.min(before / norm(&vector));
        let at = vector.as_mut_ptr();
        // SAFETY: as above.
        unsafe { substitute((n, 1), triangle.turned(), Rows::new(at, 1), false, false) };
        let after = T::from_f64(norm(&vector));
        for x in &mut vector {
            *x = *x / after;
        }
    }
    // What is no number is not sound; the least of them is unknown if a norm was none.
    vector.iter().all(|x| x.to_f64().is_finite()) && greatest * rcond * MARGIN <= least
}

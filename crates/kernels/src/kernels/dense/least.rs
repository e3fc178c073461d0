//! Least squares.

use super::Given;
use super::matmul::Float;
use super::qr::{columns_of, reflect, reflect_longest};
use super::vectors::dot_of;

/// The shortest X of those for which `A X - B` is shortest, n × k, and the rank of A, by a complete
/// orthogonal factorization (Golub & Van Loan, *Matrix Computations*, section 5.5).
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
    // A tall matrix is made a triangle first, without exchanges; the right sides go along.
    let (p, mut small) = if m > n {
        let made = reflect(&mut columns, m, n);
        let mut small = Vec::with_capacity((n + k) * n);
        for (j, column) in columns.chunks_exact(m).enumerate() {
            small.extend_from_slice(&column[..n]);
            if j < n {
                let own = &mut small[j * n..];
                own[j] = made.diagonal[j];
                own[j + 1..].fill(T::ZERO);
            }
        }
        (n, small)
    } else {
        (m, columns)
    };
    x.fill(T::ZERO);
    let (made, order) = reflect_longest(&mut small, p, n, p.min(n));
    let element = |i: usize, j: usize| if i == j { made.diagonal[i] } else { small[j * p + i] };
    let rank = rank_of(made.diagonal.len(), |i, j| element(i, j).to_f64(), rcond);
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

/// The inner product.
fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(a, b)| a * b).sum()
}

/// Up to where a triangle with falling diagonal has a condition below `1 / rcond`, estimated a column at a
/// time (Bischof, "Incremental Condition Estimation", 1990).
fn rank_of(most: usize, element: impl Fn(usize, usize) -> f64, rcond: f64) -> usize {
    if most == 0 || element(0, 0) == 0.0 || element(0, 0).is_nan() {
        return 0;
    }
    let (mut small, mut large) = (vec![1.0], vec![1.0]);
    let (mut least, mut greatest) = (element(0, 0).abs(), element(0, 0).abs());
    for rank in 1..most {
        let column: Vec<f64> = (0..rank).map(|i| element(i, rank)).collect();
        let end = element(rank, rank);
        // Of `[[value, share], [0, end]]`: the greater singular value, and the turn that its left vector is.
        let widened = |value: f64, vector: &[f64]| {
            let share = dot(vector, &column);
            let (p, q, r) = (value * value + share * share, share * end, end * end);
            let top = (0.5 * (p + r + (p - r).hypot(2.0 * q))).sqrt();
            (top, 0.5 * (2.0 * q).atan2(p - r))
        };
        let (top, angle) = widened(least, &small);
        let next_least = if top == 0.0 { 0.0 } else { least * end.abs() / top };
        let (next_greatest, wide) = widened(greatest, &large);
        // Not the other way round: what is no number ends it.
        if !(greatest.max(next_greatest) * rcond <= next_least) {
            return rank;
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
    most
}

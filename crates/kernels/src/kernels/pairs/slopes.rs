//! What the distances of a row from others say of the gradient of the row.

use super::{Metric, raised};
use crate::kernels::vexp::Real;

/// For each other row the gradient of its distance by what the difference is multiplied with, and the
/// distance where that is needed.
pub(super) struct Slopes<T> {
    metric: Metric,
    shares: Vec<T>,
    distances: Vec<T>,
}

impl<T: Real> Slopes<T> {
    pub(super) fn new(metric: Metric, others: usize) -> Self {
        Self { metric, shares: vec![T::ZERO; others], distances: vec![T::ZERO; others] }
    }

    /// Whether no distance says anything of the rows.
    pub(super) fn are_none(&self) -> bool {
        self.metric == Metric::Count
    }

    /// The gradient `g` of the distance `y` of row `j`.
    #[inline(always)]
    pub(super) fn set(&mut self, j: usize, g: T, y: T) {
        self.shares[j] = g;
        self.distances[j] = y;
    }

    /// Makes the shares of the gradients: where a distance is zero it has no direction.
    #[inline(always)]
    fn divide(&mut self) {
        let metric = self.metric;
        for (share, &y) in self.shares.iter_mut().zip(&self.distances) {
            let part = match metric {
                Metric::Count => T::ZERO,
                Metric::Sum | Metric::Most => *share,
                Metric::Euclid => *share / y,
                Metric::Power(p) => *share / raised(y, p - 1.0),
            };
            *share = std::hint::select_unpredictable(y == T::ZERO, T::ZERO, part);
        }
    }
}

/// `g` with the sign of `x`, zero for zero.
#[inline(always)]
fn signed<T: Real>(g: T, x: T) -> T {
    let g = if x < T::ZERO { -g } else { g };
    if x.abs() > T::ZERO { g } else { T::ZERO }
}

/// Elements of the row whose sums are kept in registers.
const WIDE: usize = 16;
const NARROW: usize = 4;

/// Writes the gradient of a row to `to`.
#[inline(always)]
pub(super) fn sums_of_slopes<T: Real>(
    slopes: &mut Slopes<T>,
    row: &[T],
    others: &[T],
    to: &mut [T],
) {
    slopes.divide();
    let slopes = &*slopes;
    match slopes.metric {
        Metric::Count => to.fill(T::ZERO),
        Metric::Sum => summed(slopes, row, others, to, |g, x, _| signed(g, x)),
        Metric::Euclid => summed(slopes, row, others, to, |g, x, _| g * x),
        Metric::Most => summed(slopes, row, others, to, |g, x, y| {
            signed(if x.abs() == y { g } else { T::ZERO }, x)
        }),
        Metric::Power(p) if p == 3.0 => {
            summed(slopes, row, others, to, |g, x, _| g * (x * x.abs()));
        }
        Metric::Power(p) => summed(slopes, row, others, to, |g, x, _| {
            // A power of zero may be infinite.
            if x == T::ZERO { T::ZERO } else { signed(g, x) * raised(x.abs(), p - 1.0) }
        }),
    }
}

#[inline(always)]
fn summed<T: Real>(
    slopes: &Slopes<T>,
    row: &[T],
    others: &[T],
    to: &mut [T],
    part: impl Fn(T, T, T) -> T,
) {
    let mut at = 0;
    while at + WIDE <= row.len() {
        block::<WIDE, T>(slopes, row, others, to, at, &part);
        at += WIDE;
    }
    while at + NARROW <= row.len() {
        block::<NARROW, T>(slopes, row, others, to, at, &part);
        at += NARROW;
    }
    while at < row.len() {
        block::<1, T>(slopes, row, others, to, at, &part);
        at += 1;
    }
}

#[inline(always)]
fn block<const N: usize, T: Real>(
    slopes: &Slopes<T>,
    row: &[T],
    others: &[T],
    to: &mut [T],
    at: usize,
    part: &impl Fn(T, T, T) -> T,
) {
    let x: [T; N] = std::array::from_fn(|k| row[at + k]);
    let mut sums = [T::ZERO; N];
    let all = slopes.shares.iter().zip(&slopes.distances);
    for ((&g, &y), other) in all.zip(others.chunks_exact(row.len())) {
        let other = &other[at..at + N];
        for k in 0..N {
            sums[k] += part(g, x[k] - other[k], y);
        }
    }
    to[at..at + N].copy_from_slice(&sums);
}

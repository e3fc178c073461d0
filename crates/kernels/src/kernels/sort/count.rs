//! Unique values, binary search and counting.

use super::{Packed, Sortable, radix};
use crate::dtype::Element;
use crate::error::{Result, ensure};
use crate::kernels::raw::split;

/// Unique values with, for each input element, which one it is, and how often each occurs.
#[derive(Clone, Debug, PartialEq)]
pub struct Unique<T> {
    /// The values.
    pub values: Vec<T>,
    /// For each input element, its index in `values`.
    pub inverse: Vec<i64>,
    /// How often each value occurs.
    pub counts: Vec<i64>,
}

/// The distinct values in ascending order. Every NaN is distinct, as in torch.
pub fn unique<T: Sortable>(input: &[T]) -> Unique<T> {
    let mut keys: Vec<_> = input.iter().enumerate().map(|(i, x)| x.pack(i, false)).collect();
    radix::sort(&mut keys);
    let mut result =
        Unique { values: Vec::new(), inverse: vec![0; input.len()], counts: Vec::new() };
    for key in keys {
        let x = input[key.position()];
        if result.values.last() != Some(&x) {
            result.values.push(x);
            result.counts.push(0);
        }
        let last = result.values.len() - 1;
        result.counts[last] += 1;
        result.inverse[key.position()] = last as i64;
    }
    result
}

/// The input without immediate repetitions.
pub fn unique_consecutive<T: Element>(input: &[T]) -> Unique<T> {
    let mut result =
        Unique { values: Vec::new(), inverse: Vec::with_capacity(input.len()), counts: Vec::new() };
    for &x in input {
        if result.values.last() != Some(&x) {
            result.values.push(x);
            result.counts.push(0);
        }
        let last = result.values.len() - 1;
        result.counts[last] += 1;
        result.inverse.push(last as i64);
    }
    result
}

/// For each of `m` values per line, where it would be inserted in its sorted line of `n`: before
/// equals, or behind them if `right`. One line serves all if `sorted` is no longer than `n`.
///
/// # Panics
/// If `output` is shorter than `values`.
#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN goes behind everything, as in torch")]
pub fn searchsorted<T: Element>(
    sorted: &[T],
    n: usize,
    values: &[T],
    m: usize,
    right: bool,
    output: &mut [i64],
) {
    let target = crate::kernels::raw::Dst::new(output.as_mut_ptr());
    assert!(output.len() >= values.len(), "one position per value");
    let shared = sorted.len() <= n;
    split(values.len(), 32, |first, last| {
        for at in first..last {
            let value = values[at];
            let line = if shared { sorted } else { &sorted[at / m * n..][..n] };
            let place = if right {
                line.partition_point(|x| !(*x > value))
            } else {
                line.partition_point(|x| !(*x >= value))
            };
            // SAFETY: one element per value; the length was checked.
            #[allow(unsafe_code)]
            unsafe {
                *target.at(at as isize) = place as i64;
            }
        }
    });
}

/// How often each value occurs, or the sum of its weights; at least `minlength` long.
///
/// # Errors
/// A negative value.
pub fn bincount(input: &[i64], weights: Option<&[f64]>, minlength: usize) -> Result<BinCount> {
    ensure!(
        input.iter().all(|&x| x >= 0),
        runtime,
        "bincount only supports 1-d non-negative integral inputs."
    );
    let length = input.iter().max().map_or(0, |&x| x as usize + 1).max(minlength);
    if let Some(weights) = weights {
        let mut sums = vec![0.0; length];
        for (&x, &weight) in input.iter().zip(weights) {
            sums[x as usize] += weight;
        }
        return Ok(BinCount::Weighted(sums));
    }
    let mut counts = vec![0; length];
    for &x in input {
        counts[x as usize] += 1;
    }
    Ok(BinCount::Counts(counts))
}

/// What [`bincount`] gives.
#[derive(Clone, Debug, PartialEq)]
pub enum BinCount {
    /// Without weights.
    Counts(Vec<i64>),
    /// With weights.
    Weighted(Vec<f64>),
}

/// torch's `histc`: how many elements fall in each of `bins` equal intervals of `low..=high`.
pub fn histogram<T: Element>(input: &[T], bins: usize, low: f64, high: f64) -> Vec<i64> {
    let mut counts = vec![0; bins];
    for x in input {
        let x = x.to_f64();
        if x >= low && x <= high {
            let bin = ((x - low) / (high - low) * bins as f64) as usize;
            counts[bin.min(bins - 1)] += 1;
        }
    }
    counts
}

//! Unique values, binary search and counting.

use super::{Packed, Sortable, radix};
use crate::dtype::Element;
use crate::error::{Result, ensure};
use crate::kernels::multiversion::{self, Job};
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
    if right {
        search(sorted, n, values, m, output, |x, value| !(x > value));
    } else {
        search(sorted, n, values, m, output, |x, value| !(x >= value));
    }
}

/// [`searchsorted`], given which elements are before a value.
fn search<T: Element>(
    sorted: &[T],
    n: usize,
    values: &[T],
    m: usize,
    output: &mut [i64],
    before: impl Fn(T, T) -> bool + Sync,
) {
    let target = crate::kernels::raw::Dst::new(output.as_mut_ptr());
    assert!(output.len() >= values.len(), "one position per value");
    let put = |at: usize, place: usize| {
        // SAFETY: one element per value; the length was checked.
        #[allow(unsafe_code)]
        unsafe {
            *target.at(at as isize) = place as i64;
        }
    };
    let shared = sorted.len() <= n;
    split(values.len(), 32, |first, last| {
        let mut done = first;
        if shared && !sorted.is_empty() {
            // Several searches at a time: none waits for the comparisons of another.
            for eight in values[first..last].as_chunks::<ABREAST>().0 {
                for place in abreast(sorted, eight, &before) {
                    put(done, place);
                    done += 1;
                }
            }
        }
        for at in done..last {
            let line = if shared { sorted } else { &sorted[at / m * n..][..n] };
            put(at, line.partition_point(|&x| before(x, values[at])));
        }
    });
}

/// Searches that are done at a time.
const ABREAST: usize = 8;

/// For each of the values how many elements of a line are before it.
#[inline(always)]
fn abreast<T: Element>(
    line: &[T],
    values: &[T; ABREAST],
    before: impl Fn(T, T) -> bool,
) -> [usize; ABREAST] {
    let mut places = [0; ABREAST];
    let mut size = line.len();
    while size > 1 {
        let half = size / 2;
        for (place, &value) in places.iter_mut().zip(values) {
            let middle = *place + half;
            // Which way cannot be guessed.
            *place = std::hint::select_unpredictable(before(line[middle], value), middle, *place);
        }
        size -= half;
    }
    for (place, &value) in places.iter_mut().zip(values) {
        *place += usize::from(before(line[*place], value));
    }
    places
}

/// The sign bits of all numbers joined, and the greatest of them.
struct Range<'a>(&'a [i64]);

impl Job for Range<'_> {
    type Output = (i64, i64);
    #[inline(always)]
    fn run(self) -> (i64, i64) {
        self.0
            .iter()
            .fold((0, -1), |(signs, most), &x| (signs | x, if x > most { x } else { most }))
    }
}

/// How often each value occurs, or the sum of its weights; at least `minlength` long.
///
/// # Errors
/// A negative value, or more bins than `most`.
pub fn bincount(
    input: &[i64],
    weights: Option<&[f64]>,
    minlength: usize,
    most: usize,
) -> Result<BinCount> {
    /// Up to this many bins are counted several times side by side: an element that has to wait for
    /// the last one of its bin would be the rule.
    const FEW: usize = 4096;
    let (signs, largest) = multiversion::run_narrow(Range(input));
    ensure!(signs >= 0, runtime, "bincount only supports 1-d non-negative integral inputs.");
    let length = (largest as usize).wrapping_add(1).max(minlength);
    ensure!(length <= most, memory, "bincount of numbers up to {largest}");
    if let Some(weights) = weights {
        let mut sums = vec![0.0; length];
        for (&x, &weight) in input.iter().zip(weights) {
            sums[x as usize] += weight;
        }
        return Ok(BinCount::Weighted(sums));
    }
    let mut counts = vec![0; length];
    let (fours, rest) = input.as_chunks::<4>();
    if length <= FEW && input.len() >= 4 * length {
        let mut beside = vec![0u32; 4 * length];
        // Counts of 32 bits: so many elements at a time that they cannot overflow.
        for fours in fours.chunks(1 << 30) {
            let (a, b) = beside.split_at_mut(2 * length);
            let ((a, b), (c, d)) = (a.split_at_mut(length), b.split_at_mut(length));
            for four in fours {
                a[four[0] as usize] += 1;
                b[four[1] as usize] += 1;
                c[four[2] as usize] += 1;
                d[four[3] as usize] += 1;
            }
            for (i, count) in counts.iter_mut().enumerate() {
                *count += [&a[i], &b[i], &c[i], &d[i]].map(|&n| i64::from(n)).iter().sum::<i64>();
            }
            beside.fill(0);
        }
        for &x in rest {
            counts[x as usize] += 1;
        }
    } else {
        for &x in input {
            counts[x as usize] += 1;
        }
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

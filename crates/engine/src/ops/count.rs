//! Counting and searching: unique, bincount, histc, searchsorted, nonzero. None is differentiable.

use std::cmp::Ordering;

use super::refused::refuse;
use crate::dtype::{DType, Element, dispatch};
use crate::error::{Result, ensure};
use crate::kernels::sort::{self, BinCount, Unique};
use crate::launch::create::from_fn;
use crate::tensor::Tensor;

/// What [`Tensor::unique`] gives.
#[derive(Clone, Debug)]
pub struct UniqueTensors {
    /// The values.
    pub values: Tensor,
    /// For each input element, its index among the values.
    pub inverse: Tensor,
    /// How often each value occurs.
    pub counts: Tensor,
}

/// The distinct values of integers (or bools) that lie close together, by counting instead of
/// sorting; `None` if they do not.
fn counted<T: Element>(list: &[T]) -> Option<Unique<T>> {
    if T::DTYPE.is_float() {
        return None;
    }
    let (least, greatest) = list.iter().fold((i64::MAX, i64::MIN), |(low, high), x| {
        let x = x.to_i64();
        (low.min(x), high.max(x))
    });
    let span = usize::try_from(greatest.checked_sub(least)?).ok()?.checked_add(1)?;
    if span > list.len().max(256) {
        return None;
    }
    let place = |x: T| x.to_i64().wrapping_sub(least) as usize;
    let mut tally = vec![0i64; span];
    for &x in list {
        tally[place(x)] += 1;
    }
    let mut found = Unique { values: Vec::new(), inverse: Vec::new(), counts: Vec::new() };
    // The tally becomes the index of each value among those that occur.
    for (i, slot) in tally.iter_mut().enumerate() {
        if *slot > 0 {
            found.values.push(T::from_i64(least + i as i64));
            found.counts.push(*slot);
            *slot = found.values.len() as i64 - 1;
        }
    }
    found.inverse = list.iter().map(|&x| tally[place(x)]).collect();
    Some(found)
}

/// Up to how many values are compared with one by one.
const FEW: usize = 8;

/// The least of some integers (or bools) that lie close together, and for each number from there on
/// whether it is one of them.
fn tabled<T: Element>(list: &[T]) -> Option<(i64, Vec<bool>)> {
    if T::DTYPE.is_float() {
        return None;
    }
    let least = list.iter().map(|x| x.to_i64()).min()?;
    let greatest = list.iter().map(|x| x.to_i64()).max()?;
    let span = usize::try_from(greatest.checked_sub(least)?).ok()?.checked_add(1)?;
    if span > (list.len() * 16).max(1 << 12) {
        return None;
    }
    let mut table = vec![false; span];
    for x in list {
        table[(x.to_i64() - least) as usize] = true;
    }
    Some((least, table))
}

/// Nodes and operations as torch names them.
const UNIQUE: (&str, &str) = ("Unique2Backward0", "_unique2");
const UNIQUE_DIM: (&str, &str) = ("UniqueDimBackward0", "unique_dim");
const CONSECUTIVE: (&str, &str) = ("UniqueConsecutiveBackward0", "unique_consecutive");

impl Tensor {
    /// The distinct elements in ascending order, or with `consecutive` the elements without
    /// immediate repetitions.
    ///
    /// # Errors
    /// If memory is short.
    pub fn unique(&self, consecutive: bool) -> Result<UniqueTensors> {
        dispatch!(self.dtype(), T => {
            let list = self.to_vec::<T>()?;
            let found = if consecutive {
                sort::unique_consecutive(&list)
            } else {
                counted(&list).unwrap_or_else(|| sort::unique(&list))
            };
            let values = Self::from_slice(&found.values, &[found.values.len()])?;
            let (node, operation) = if consecutive { CONSECUTIVE } else { UNIQUE };
            refuse(node, operation, self, &values)?;
            Ok(UniqueTensors {
                values,
                inverse: Self::from_slice(&found.inverse, &self.shape())?,
                counts: Self::from_slice(&found.counts, &[found.counts.len()])?,
            })
        })
    }

    /// [`Self::unique`] of the slices along a dimension.
    ///
    /// # Errors
    /// If the dimension is out of range.
    pub fn unique_slices(&self, dim: i64, consecutive: bool) -> Result<UniqueTensors> {
        let dim = crate::shape::norm_dim(dim, self.ndim())?;
        let n = self.size_along(dim);
        let moved = self.detach().transpose(dim as i64, 0)?.contiguous()?;
        let width = moved.numel() / n.max(1);
        let mut first: Vec<i64> = Vec::new();
        let mut inverse = vec![0i64; n];
        let mut counts: Vec<i64> = Vec::new();
        dispatch!(self.dtype(), T => {
            let list = moved.to_vec::<T>()?;
            let slice = |i: usize| &list[i * width..(i + 1) * width];
            let compare = |a: usize, b: usize| {
                slice(a)
                    .iter()
                    .zip(slice(b))
                    .map(|(a, b)| a.partial_cmp(b).unwrap_or(Ordering::Equal))
                    .find(|order| order.is_ne())
                    .unwrap_or(Ordering::Equal)
            };
            let mut order: Vec<usize> = (0..n).collect();
            if !consecutive {
                order.sort_by(|&a, &b| compare(a, b));
            }
            for (i, &at) in order.iter().enumerate() {
                if i == 0 || slice(order[i - 1]) != slice(at) {
                    first.push(at as i64);
                    counts.push(0);
                }
                inverse[at] = first.len() as i64 - 1;
                if let Some(count) = counts.last_mut() {
                    *count += 1;
                }
            }
        });
        let core = self.shared_core();
        let values = Self::from_core(crate::launch::slices(&core, dim, &first)?);
        let (node, operation) = if consecutive { CONSECUTIVE } else { UNIQUE_DIM };
        refuse(node, operation, self, &values)?;
        Ok(UniqueTensors {
            values,
            inverse: Self::from_slice(&inverse, &[n])?,
            counts: Self::from_slice(&counts, &[counts.len()])?,
        })
    }

    /// How often each number occurs, or the sum of its weights.
    ///
    /// # Errors
    /// If this is not a vector of non-negative integers, or the weights do not fit.
    pub fn bincount(&self, weights: Option<&Self>, minlength: i64) -> Result<Self> {
        const REFUSED: &str = "bincount only supports 1-d non-negative integral inputs.";
        ensure!(minlength >= 0, runtime, "minlength should be >= 0");
        ensure!(
            !self.dtype().is_float() && self.dtype() != DType::Bool,
            not_implemented,
            "\"bincount_cpu\" not implemented for '{}'",
            self.dtype().scalar_name()
        );
        ensure!(self.ndim() == 1, runtime, "{REFUSED}");
        let list = self.to_dtype(DType::I64)?.to_vec::<i64>()?;
        let weigh = match weights {
            Some(weights) => {
                ensure!(
                    weights.shape() == self.shape(),
                    runtime,
                    "weights should be 1-d and have the same length as input"
                );
                Some(weights.detach().to_dtype(DType::F64)?.to_vec::<f64>()?)
            }
            None => None,
        };
        match sort::bincount(&list, weigh.as_deref(), minlength as usize, 1 << 40)? {
            BinCount::Counts(counts) => Self::from_slice(&counts, &[counts.len()]),
            BinCount::Weighted(sums) => {
                let sums = Self::from_slice(&sums, &[sums.len()])?;
                match weights {
                    Some(weights) if weights.dtype() == DType::F32 => sums.to_dtype(DType::F32),
                    _ => Ok(sums),
                }
            }
        }
    }

    /// How many elements fall into each of `bins` equal intervals from `low` to `high` (both zero:
    /// from the least to the greatest element).
    ///
    /// # Errors
    /// If the dtype is not floating point or the limits are not finite and in order.
    pub fn histc(&self, bins: i64, low: f64, high: f64) -> Result<Self> {
        ensure!(bins > 0, runtime, "bins must be > 0, but got {bins} for dimension 0");
        let dtype = self.dtype();
        dispatch!(float dtype, T => {
            let list = self.to_vec::<T>()?;
            let (mut low, mut high) = (low, high);
            if low == high && !list.is_empty() {
                low = list.iter().map(|x| x.to_f64()).fold(f64::INFINITY, f64::min);
                high = list.iter().map(|x| x.to_f64()).fold(f64::NEG_INFINITY, f64::max);
            }
            if low == high {
                (low, high) = (low - 1.0, high + 1.0);
            }
            ensure!(
                low.is_finite() && high.is_finite(),
                runtime,
                "range of [{low}, {high}] is not finite"
            );
            ensure!(low < high, runtime, "max must be larger than min");
            // In this order and in the dtype of the elements, as in torch: where a value lies on the
            // edge of a bin, rounding says into which it falls.
            let (low, high, last) = (T::from_f64(low), T::from_f64(high), bins as usize - 1);
            let (width, count) = (high - low, T::from_i64(bins));
            let mut tally = vec![0i64; bins as usize];
            for x in list {
                if x >= low && x <= high {
                    tally[(((x - low) * count / width) as usize).min(last)] += 1;
                }
            }
            let counts: Vec<T> = tally.into_iter().map(T::from_i64).collect();
            Self::from_slice(&counts, &[counts.len()])
        }, else Err(crate::error::Error::not_implemented(format!(
            "\"histogram_cpu\" not implemented for '{}'",
            dtype.scalar_name()
        ))))
    }

    /// Whether each element is (with `invert`: is not) among the elements of `tests`.
    ///
    /// # Errors
    /// If memory is short.
    pub fn is_among(&self, tests: &Self, invert: bool) -> Result<Self> {
        let dtype = Self::result_type(self, tests);
        let (own, tests) = (self.detach().to_dtype(dtype)?, tests.detach().to_dtype(dtype)?);
        dispatch!(dtype, T => {
            let (values, mut list) = (own.to_vec::<T>()?, tests.to_vec::<T>()?);
            let shape = own.shape();
            let is = |hit: bool| crate::Bool::from(hit != invert);
            let values = &values[..];
            if list.len() <= FEW {
                let list = &list[..];
                return Ok(Self::from_core(from_fn(&shape, |i| is(list.contains(&values[i])))?));
            }
            if let Some((least, table)) = tabled(&list) {
                let table = &table[..];
                return Ok(Self::from_core(from_fn(&shape, |i| {
                    let place = values[i].to_i64().wrapping_sub(least) as usize;
                    is(table.get(place).is_some_and(|&found| found))
                })?));
            }
            list.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
            let list = &list[..];
            Ok(Self::from_core(from_fn(&shape, |i| {
                let at = list.partition_point(|x| *x < values[i]);
                is(list.get(at) == Some(&values[i]))
            })?))
        })
    }

    /// Where each value would be inserted into the sorted lines of this tensor: before equals, or
    /// behind them.
    ///
    /// # Errors
    /// If the leading sizes differ.
    pub fn searchsorted(&self, values: &Self, right: bool) -> Result<Self> {
        let (lines, wanted) = (self.shape(), values.shape());
        ensure!(
            !lines.is_empty(),
            runtime,
            "searchsorted(): boundaries tensor should have positive dimension"
        );
        let (n, lead) = match lines.split_last() {
            Some((&n, lead)) => (n, lead),
            None => (1, &[][..]),
        };
        ensure!(
            lead.is_empty() || (wanted.len() == lines.len() && wanted[..lead.len()] == *lead),
            runtime,
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 \
             dimensions of boundaries tensor and input value tensor must match, but we got \
             boundaries tensor {:?} and input value tensor {:?}",
            lines.as_slice(),
            wanted.as_slice()
        );
        let dtype = Self::result_type(self, values);
        let (sorted, values) = (self.detach().to_dtype(dtype)?, values.detach().to_dtype(dtype)?);
        dispatch!(dtype, T => {
            let (sorted, values) = (sorted.to_vec::<T>()?, values.to_vec::<T>()?);
            let mut output = vec![0i64; values.len()];
            let m = wanted.last().copied().unwrap_or(1).max(1);
            sort::searchsorted(&sorted, n, &values, m, right, &mut output);
            Self::from_slice(&output, &wanted)
        })
    }
}

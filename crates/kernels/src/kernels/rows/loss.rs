//! Cross-entropy with class indices: log-softmax, pick and, backward, softmax minus one-hot.
#![allow(unsafe_code)]

use crate::error::{Result, ensure};
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Src, split};
use crate::kernels::reduce::{Kind, Max, Ordered, sum_light, sum_mapped};
use crate::kernels::vexp::Real;

/// The class of each row.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a, T> {
    /// Class indices, one per row.
    pub classes: &'a [i64],
    /// Rows with this class count for nothing (torch's default is -100).
    pub ignore: i64,
    /// A factor per class, if any.
    pub weights: Option<&'a [T]>,
    /// The part of the loss that all classes share alike (Szegedy et al., 2016, section 7), 0 to 1.
    pub smoothing: f64,
}

impl<T: Real> Targets<'_, T> {
    /// The factor of a row, nothing if it is ignored.
    #[inline(always)]
    fn weight(&self, row: usize) -> Option<(usize, T)> {
        let class = self.classes[row];
        if class == self.ignore {
            return None;
        }
        let class = class as usize;
        Some((class, self.weights.map_or(T::ONE, |w| w[class])))
    }

    /// The parts of a row's loss: of its class, and of each class of `n`.
    #[inline(always)]
    fn parts(&self, n: usize) -> (T, T) {
        (T::from_f64(1.0 - self.smoothing), T::from_f64(self.smoothing / n as f64))
    }

    /// The sum of the factors: what the mean divides by.
    pub fn total_weight(&self) -> T {
        let mut sum = T::ZERO;
        for row in 0..self.classes.len() {
            if let Some((_, weight)) = self.weight(row) {
                sum += weight;
            }
        }
        sum
    }

    /// torch's check: every class but the ignored one lies in `0..n`.
    pub fn check(&self, n: usize) -> Result<()> {
        for &class in self.classes {
            ensure!(
                class == self.ignore || (class >= 0 && (class as usize) < n),
                index,
                "Target {class} is out of bounds."
            );
        }
        Ok(())
    }
}

/// The loss of each row of contiguous `rows` × `n` logits, and its log-sum-exp for the way back.
///
/// # Errors
/// A class out of range; nothing has been written then.
///
/// # Safety
/// `logits` must hold `classes.len() * n` elements, `losses` and `log_sums` one per row.
pub unsafe fn cross_entropy<T: Real + Ordered>(
    n: usize,
    logits: *const T,
    targets: Targets<'_, T>,
    losses: *mut T,
    log_sums: *mut T,
) -> Result<()> {
    targets.check(n)?;
    let (x, losses, sums) = (Src::new(logits), Dst::new(losses), Dst::new(log_sums));
    split(targets.classes.len(), n, |first, last| {
        multiversion::run(Forward { n, x, targets, losses, sums, first, last });
    });
    Ok(())
}

struct Forward<'a, T> {
    n: usize,
    x: Src<T>,
    targets: Targets<'a, T>,
    losses: Dst<T>,
    sums: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Real + Ordered> Job for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let (own, each) = self.targets.parts(self.n);
        for row in self.first..self.last {
            // SAFETY: row `row` of the logits.
            let x =
                unsafe { std::slice::from_raw_parts(self.x.at((row * self.n) as isize), self.n) };
            let max = Max.block(x);
            let sum = sum_mapped(x, |x| (x - max).vexp()).ln();
            // In this order as torch's log-softmax: (x - max) - log(sum) loses least.
            let less = |x: T| sum - (x - max);
            let loss = match self.targets.weight(row) {
                None => T::ZERO,
                Some((class, weight)) if each == T::ZERO => less(x[class]) * weight,
                Some((class, weight)) => {
                    let all = match self.targets.weights {
                        None => sum_light(x, less),
                        Some(weights) => weighted(x.iter().map(|&x| less(x)), weights),
                    };
                    own * (less(x[class]) * weight) + each * all
                }
            };
            // SAFETY: one element per row.
            unsafe {
                *self.losses.at(row as isize) = loss;
                *self.sums.at(row as isize) = max + sum;
            }
        }
    }
}

/// The sum of `values` times `weights`, carried in float64.
#[inline(always)]
fn weighted<T: Real>(values: impl Iterator<Item = T>, weights: &[T]) -> T {
    let sum = |sum: f64, (x, &w): (T, &T)| sum + x.to_f64() * w.to_f64();
    T::from_f64(values.zip(weights).fold(0.0, sum))
}

/// The gradient of the logits: `(softmax - onehot) * weight * scale`, where `scales` holds one
/// gradient per row or, if its length is one, the same for all.
///
/// # Errors
/// As for [`cross_entropy`].
///
/// # Safety
/// As for [`cross_entropy`], `grad_in` being as large as the logits; it may be the logits.
pub unsafe fn cross_entropy_backward<T: Real + Ordered>(
    n: usize,
    logits: *const T,
    targets: Targets<'_, T>,
    log_sums: *const T,
    scales: &[T],
    grad_in: *mut T,
) -> Result<()> {
    targets.check(n)?;
    let (x, sums, d) = (Src::new(logits), Src::new(log_sums), Dst::new(grad_in));
    split(targets.classes.len(), n, |first, last| {
        multiversion::run(Backward { n, x, targets, sums, scales, d, first, last });
    });
    Ok(())
}

struct Backward<'a, T> {
    n: usize,
    x: Src<T>,
    targets: Targets<'a, T>,
    sums: Src<T>,
    scales: &'a [T],
    d: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Real + Ordered> Job for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let n = self.n;
        let (own, each) = self.targets.parts(n);
        // The factors of all classes together.
        let all = match self.targets.weights {
            None => T::from_f64(n as f64),
            Some(weights) => weighted(weights.iter().map(|_| T::ONE), weights),
        };
        for row in self.first..self.last {
            let at = (row * n) as isize;
            let (x, d) = (self.x.at(at), self.d.at(at));
            let Some((class, weight)) = self.targets.weight(row) else {
                for i in 0..n {
                    // SAFETY: row `row` of the gradient.
                    unsafe { *d.add(i) = T::ZERO };
                }
                continue;
            };
            let scale = self.scales[if self.scales.len() == 1 { 0 } else { row }];
            let (hit, spread) = (own * weight * scale, each * scale);
            // SAFETY: one element per row.
            let sum = unsafe { *self.sums.at(row as isize) };
            // SAFETY: `class` was checked; the row is read before it is written.
            unsafe {
                if spread == T::ZERO {
                    for i in 0..n {
                        *d.add(i) = (*x.add(i) - sum).vexp() * hit;
                    }
                } else {
                    let scale = hit + spread * all;
                    for i in 0..n {
                        *d.add(i) = (*x.add(i) - sum).vexp() * scale - spread;
                    }
                    if let Some(weights) = self.targets.weights {
                        // A factor of 1 has been taken off each.
                        for (i, &weight) in weights.iter().enumerate() {
                            *d.add(i) = *d.add(i) + (T::ONE - weight) * spread;
                        }
                    }
                }
                *d.add(class) = *d.add(class) - hit;
            }
        }
    }
}

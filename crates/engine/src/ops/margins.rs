//! Losses by the margins between the scores of classes.

use smallvec::smallvec;

use super::{Cx, Op, Rule};
use crate::dtype::{Element, dispatch};
use crate::error::{Error, Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording1};
use crate::tensor::Tensor;

/// The losses are sums of scores where a margin is missed, so what each counts is all there is to save.
struct Margins {
    several: bool,
}

impl Rule for Margins {
    fn name(&self) -> &'static str {
        if self.several { "MultilabelMarginLossBackward0" } else { "MultiMarginLossBackward0" }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let slopes = cx.saved(0)?.detach();
        Ok(smallvec![Some(slopes.mul(&grad.unsqueeze(1)?)?)])
    }
}

/// Scores of all classes, row by row, and what becomes of them.
struct Rows<'a, T> {
    count: usize,
    x: &'a [T],
    losses: Vec<T>,
    /// The derivatives of the loss of each row by its scores, if they are wanted.
    slopes: Option<Vec<T>>,
}

impl<'a, T: Element> Rows<'a, T> {
    fn new(count: usize, x: &'a [T], wanted: bool) -> Self {
        let slopes = wanted.then(|| vec![T::default(); x.len()]);
        Self { count, x, losses: Vec::with_capacity(x.len() / count.max(1)), slopes }
    }

    /// Adds a loss of `weight` for each class of a row but those left out that comes closer to the score of
    /// `class` than the margin.
    fn missed(
        &mut self,
        row: usize,
        class: usize,
        margin: f64,
        weight: f64,
        left_out: impl Fn(usize) -> bool,
    ) -> f64 {
        let at = row * self.count;
        let x = &self.x[at..at + self.count];
        let own = x[class].to_f64();
        let mut slopes = self.slopes.as_mut().map(|slopes| &mut slopes[at..at + x.len()]);
        // Rounded as in the dtype itself, which decides who is beside the margin. What is no number counts for
        // nothing, as in torch.
        let excess = |i: usize, x: T| {
            let excess = T::from_f64(margin - T::from_f64(own - x.to_f64()).to_f64()).to_f64();
            if (excess > 0.0) & !left_out(i) { excess } else { 0.0 }
        };
        // Who misses the margin cannot be guessed: no branches, and several sums that do not wait for each other.
        let mut sums = [0.0; 4];
        for (k, x) in x.chunks(4).enumerate() {
            for (l, (&x, sum)) in x.iter().zip(&mut sums).enumerate() {
                *sum += excess(4 * k + l, x);
            }
        }
        if let Some(slopes) = &mut slopes {
            let mut missed = 0.0;
            for (i, (&x, slope)) in x.iter().zip(slopes.iter_mut()).enumerate() {
                let counts = if excess(i, x) > 0.0 { 1.0 } else { 0.0 };
                missed += counts;
                *slope = T::from_f64(slope.to_f64() + counts * weight);
            }
            slopes[class] = T::from_f64(slopes[class].to_f64() - missed * weight);
        }
        let sum: f64 = sums.iter().sum();
        sum * weight
    }
}

fn out_of_range(class: i64, count: usize) -> Error {
    Error::index(format!("index {class} is out of bounds for dimension 1 with size {count}"))
}

impl Tensor {
    /// For each row `sum(max(0, margin - x[y] + x[i])) / C` over the classes `i` other than that of the row,
    /// times the weight of that.
    ///
    /// # Errors
    /// If a class is out of range, or sizes or dtypes do not fit.
    #[track_caller]
    pub fn multi_margin_losses(
        &self,
        classes: &Self,
        margin: f64,
        weights: Option<&Self>,
    ) -> Result<Self> {
        let count = self.columns_of_scores(classes, 1)?;
        let classes = classes.to_vec::<i64>()?;
        let wanted = recording1(self);
        dispatch!(float self.dtype(), T => {
            let x = self.detach().to_vec::<T>()?;
            let weights = match weights {
                Some(weights) => Some(weights.detach().to_dtype(self.dtype())?.to_vec::<T>()?),
                None => None,
            };
            let mut rows = Rows::new(count, &x, wanted);
            for (row, &given) in classes.iter().enumerate() {
                let class = usize::try_from(given).ok().filter(|&class| class < count);
                let class = class.ok_or_else(|| out_of_range(given, count))?;
                let weight = weights.as_ref().map_or(1.0, |weights| weights[class].to_f64());
                let weight = weight / count as f64;
                let sum = rows.missed(row, class, margin, weight, |i| i == class);
                rows.losses.push(T::from_f64(sum));
            }
            let (losses, slopes) = (rows.losses, rows.slopes);
            self.with_slopes(false, Self::from_slice(&losses, &[losses.len()])?, match slopes {
                Some(slopes) => Some(Self::from_slice(&slopes, &self.shape())?),
                None => None,
            })
        }, else Err(Error::not_implemented("multi_margin_loss of no floats".to_owned())))
    }

    /// For each row `sum(max(0, 1 - x[y] + x[i])) / C` over the classes `y` that `named` begins with, up to the
    /// first below zero, and all `i` that are none of these.
    ///
    /// # Errors
    /// As for [`Self::multi_margin_losses`].
    #[track_caller]
    pub fn multilabel_margin_losses(&self, named: &Self) -> Result<Self> {
        let count = self.columns_of_scores(named, 2)?;
        let named = named.to_vec::<i64>()?;
        let wanted = recording1(self);
        dispatch!(float self.dtype(), T => {
            let x = self.detach().to_vec::<T>()?;
            let mut rows = Rows::new(count, &x, wanted);
            let mut is_named = vec![false; count];
            let weight = 1.0 / count as f64;
            for (row, named) in named.chunks_exact(count.max(1)).enumerate() {
                is_named.fill(false);
                let known = named.iter().take_while(|&&class| class >= 0);
                for &class in known.clone() {
                    let place = is_named.get_mut(class as usize);
                    *place.ok_or_else(|| out_of_range(class, count))? = true;
                }
                let mut sum = 0.0;
                for &class in known {
                    sum += rows.missed(row, class as usize, 1.0, weight, |i| is_named[i]);
                }
                rows.losses.push(T::from_f64(sum));
            }
            let (losses, slopes) = (rows.losses, rows.slopes);
            self.with_slopes(true, Self::from_slice(&losses, &[losses.len()])?, match slopes {
                Some(slopes) => Some(Self::from_slice(&slopes, &self.shape())?),
                None => None,
            })
        }, else Err(Error::not_implemented("multilabel_margin_loss of no floats".to_owned())))
    }

    /// The columns of a matrix of scores, whose rows `targets` has one or as many of.
    fn columns_of_scores(&self, targets: &Self, ndim: usize) -> Result<usize> {
        let (shape, target) = (self.shape(), targets.shape());
        ensure!(
            shape.len() == 2 && target.as_slice() == &shape[..ndim] && shape[1] > 0,
            runtime,
            "scores of shape {:?} and targets of shape {:?}",
            shape.as_slice(),
            target.as_slice()
        );
        Ok(shape[1])
    }

    #[track_caller]
    fn with_slopes(&self, several: bool, losses: Self, slopes: Option<Self>) -> Result<Self> {
        if let Some(slopes) = slopes {
            let slopes = slopes.shared_core();
            let rule = Op::rule(Margins { several });
            attach(rule, &[self], &[Save::Private(&slopes)], &[&losses])?;
        }
        Ok(losses)
    }
}

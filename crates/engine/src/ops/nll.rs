//! The negated log-probabilities of given classes.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::binary::Binary;
use super::unary::Unary;
use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::{DType, Element, Scalar, dispatch};
use crate::error::{Result, bail, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording1};
use crate::launch;
use crate::shape::Dims;
use crate::storage::Core;
use crate::tensor::Tensor;

struct NllLoss {
    wide: bool,
    /// Whether factors were saved.
    weighed: bool,
    ignore: i64,
    /// What the sum is divided by; the losses themselves are kept if absent.
    divisor: Option<f64>,
    shape: Dims,
}

impl Rule for NllLoss {
    fn name(&self) -> &'static str {
        if self.wide { "NllLoss2DBackward0" } else { "NllLossBackward0" }
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "ignore_index").then_some(SavedValue::Int(self.ignore))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let places = cx.saved(0)?.shared_core();
        let each = Dims::from_slice(places.shape());
        let grad = match self.divisor {
            Some(divisor) => grad.times(-1.0 / divisor)?.expand_to(&each)?,
            None => grad.apply_unary(Unary::Neg)?.reshape_to(&each)?,
        };
        let grad = if self.weighed { cx.saved(1)?.detach().mul(&grad)? } else { grad };
        Ok(smallvec![Some(super::along::put(&grad, 1, &places, &self.shape)?)])
    }
}

/// The classes with those that do not count set to zero, the factor of each, and whether all count.
struct Weighed {
    places: Arc<Core>,
    factors: Tensor,
    all: bool,
    total: f64,
}

fn weigh(
    classes: &Tensor,
    weights: Option<&Tensor>,
    ignore: i64,
    n: usize,
    dtype: DType,
) -> Result<Weighed> {
    let weights = match weights {
        Some(weights) => Some(weights.to_dtype(DType::F64)?.contiguous()?.to_vec::<f64>()?),
        None => None,
    };
    let each = classes.shape();
    let mut places = classes.to_vec::<i64>()?;
    let (mut all, mut total) = (true, 0.0);
    let factors = dispatch!(float dtype, T => {
        let mut factors = Vec::with_capacity(places.len());
        for place in &mut places {
            if *place == ignore {
                (all, *place) = (false, 0);
                factors.push(T::default());
                continue;
            }
            ensure!((0..n as i64).contains(place), index, "Target {place} is out of bounds.");
            let weight = weights.as_ref().map_or(1.0, |weights| weights[*place as usize]);
            // torch adds the weights up in the dtype of the input; in double there is nothing to lose.
            total += weight;
            factors.push(T::from_f64(weight));
        }
        Tensor::from_slice(&factors, &each)?
    }, else bail!(
        not_implemented,
        "\"nll_loss_out_frame\" not implemented for '{}'",
        dtype.scalar_name()
    ));
    let places = Tensor::from_slice(&places, &each)?.shared_core();
    Ok(Weighed { places, factors, all, total })
}

impl Tensor {
    /// The negated log-probabilities (along dimension 1) of int64 classes, weighted: of each place, or
    /// their sum, or with `mean` that divided by the sum of the weights. Places of the class `ignore`
    /// count for nothing; `wide` only matters to the name of the node.
    ///
    /// # Errors
    /// If the classes do not have the shape without dimension 1, or one is out of range.
    #[track_caller]
    pub fn nll_loss(
        &self,
        classes: &Self,
        weights: Option<&Self>,
        ignore: i64,
        reduce: bool,
        mean: bool,
        wide: bool,
    ) -> Result<Self> {
        let (shape, target) = (self.shape(), classes.shape());
        ensure!(
            shape.len() >= 2
                && target.len() + 1 == shape.len()
                && target[0] == shape[0]
                && target[1..] == shape[2..],
            runtime,
            "nll_loss: classes of shape {:?} do not fit log-probabilities of shape {:?}",
            target.as_slice(),
            shape.as_slice()
        );
        let n = shape[1];
        let mut each = shape.clone();
        each[1] = 1;
        let classes = classes.detach().contiguous()?.reshape_to(&each)?;
        // Most often every class counts, and as much as any other. What is out of range (so too
        // what is ignored, as a rule) is refused.
        let plain = weights.is_none() && !(0..n as i64).contains(&ignore);
        let own = classes.shared_core();
        let found = if plain { launch::take(&self.core(), 1, &own).ok() } else { None };
        let (places, factors, total, picked) = match found {
            Some(found) => (own, None, classes.numel() as f64, Self::from_core(found)),
            None => {
                let weighed = weigh(&classes, weights, ignore, n, self.dtype())?;
                let found = launch::take(&self.core(), 1, &weighed.places)?;
                let mut picked = Self::from_core(found).mul(&weighed.factors)?;
                if !weighed.all {
                    // What does not count may be infinite; the sign turns below.
                    let counts = classes.binary_scalar(Binary::Ne, Scalar::Int(ignore), false)?;
                    picked = picked.or_else(&counts, -0.0)?;
                }
                (weighed.places, Some(weighed.factors.shared_core()), weighed.total, picked)
            }
        };
        let divisor = reduce.then_some(if mean { total } else { 1.0 });
        let output = match divisor {
            Some(divisor) => {
                let sum = picked.sum(&[], false, None)?;
                // Nothing lost is zero, not minus zero.
                let sum = sum.binary_scalar(Binary::Sub, Scalar::Float(0.0), true)?;
                if divisor == 1.0 {
                    sum
                } else {
                    sum.binary_scalar(Binary::Div, Scalar::Float(divisor), false)?
                }
            }
            None => picked.apply_unary(Unary::Neg)?.reshape_to(&target)?,
        };
        if recording1(self) {
            let weighed = factors.is_some();
            let rule = NllLoss { wide, weighed, ignore, divisor, shape };
            let mut saves: SmallVec<[Save<'_>; 2]> = smallvec![Save::Private(&places)];
            if let Some(factors) = &factors {
                saves.push(Save::Private(factors));
            }
            attach(Op::rule(rule), &[self], &saves, &[&output])?;
        }
        Ok(output)
    }
}

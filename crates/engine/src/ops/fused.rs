//! Layer normalisation and cross entropy, each one kernel forward and one back.

use smallvec::{SmallVec, smallvec};

use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, is_grad_enabled, recording};
use crate::launch::{self, Classes};
use crate::ops::unary::Unary;
use crate::shape::{Dims, contiguous_strides};
use crate::tensor::Tensor;

struct LayerNorm {
    n: usize,
    epsilon: f64,
    /// Which of weight and bias there are.
    has: [bool; 2],
    normalized: Dims,
}

impl Rule for LayerNorm {
    fn name(&self) -> &'static str {
        "NativeLayerNormBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "normalized_shape").then(|| SavedValue::Sizes(self.normalized.clone()))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let mut result: GradList = smallvec![None, None, None];
        let Some(grad) = &grads[0] else { return Ok(result) };
        let x = cx.saved(0)?;
        let weight = if self.has[0] { Some(cx.saved(3)?) } else { None };
        let at_bias = 1 + usize::from(self.has[0]);
        let wants = [cx.needs(0), self.has[0] && cx.needs(1), self.has[1] && cx.needs(at_bias)];
        let n = self.n;
        if is_grad_enabled() {
            let rows = x.numel() / n;
            let (wide, g) = (x.reshape_to(&[rows, n])?, grad.reshape_to(&[rows, n])?);
            let centred = wide.sub(&wide.mean(&[1], true, None)?)?;
            let variance = centred.mul(&centred)?.mean(&[1], true, None)?;
            let rstd = variance.plus(self.epsilon)?.apply_unary(Unary::Rsqrt)?;
            let normal = centred.mul(&rstd)?;
            if wants[1] {
                let sum = g.mul(&normal)?.sum(&[0], false, None)?;
                result[1] = Some(sum.reshape_to(&self.normalized)?);
            }
            if wants[2] {
                let sum = g.sum(&[0], false, None)?.reshape_to(&self.normalized)?;
                result[at_bias] = Some(sum);
            }
            if wants[0] {
                let scaled = match &weight {
                    Some(weight) => g.mul(&weight.reshape_to(&[n])?)?,
                    None => g,
                };
                let mean = scaled.mean(&[1], true, None)?;
                let share = scaled.mul(&normal)?.mean(&[1], true, None)?;
                let grad = scaled.sub(&mean)?.sub(&normal.mul(&share)?)?.mul(&rstd)?;
                result[0] = Some(grad.reshape_to(&x.shape())?);
            }
            return Ok(result);
        }
        let (mean, rstd) = (cx.saved(1)?.shared_core(), cx.saved(2)?.shared_core());
        let weight = weight.map(|weight| weight.shared_core());
        let grad = grad.to_dtype(x.dtype())?.expand_to(&x.shape())?.shared_core();
        let [dx, dw, db] = launch::layer_norm_backward(
            &x.shared_core(),
            n,
            weight.as_ref(),
            &mean,
            &rstd,
            &grad,
            wants,
        )?;
        let strides = contiguous_strides(&self.normalized);
        result[0] = dx.map(Tensor::from_core);
        if let Some(dw) = dw {
            result[1] = Some(Tensor::from_core(dw.into_layout(&self.normalized, &strides)?));
        }
        if let Some(db) = db {
            result[at_bias] = Some(Tensor::from_core(db.into_layout(&self.normalized, &strides)?));
        }
        Ok(result)
    }
}

struct CrossEntropy {
    /// Whether the rows are the places of images: only matters to the name.
    wide: bool,
    ignore: i64,
    has_weights: bool,
    /// The part of the loss that all classes share alike.
    smoothing: f64,
    /// What the sum over rows is divided by; the rows themselves are kept if absent.
    divisor: Option<f64>,
}

impl Rule for CrossEntropy {
    fn name(&self) -> &'static str {
        match (self.smoothing != 0.0, self.wide) {
            (true, _) => "AddBackward0",
            (false, true) => "NllLoss2DBackward0",
            (false, false) => "NllLossBackward0",
        }
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        match name {
            "ignore_index" => Some(SavedValue::Int(self.ignore)),
            "weight" if !self.has_weights => Some(SavedValue::Nothing),
            _ => None,
        }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let x = cx.saved(0)?;
        let grad = match self.divisor {
            Some(divisor) => grad.times(1.0 / divisor)?,
            None => grad.clone(),
        };
        let weights = if self.has_weights { Some(cx.saved(3)?.detach()) } else { None };
        let classes = cx.saved(1)?;
        if is_grad_enabled() {
            // weight * (softmax - onehot) per row, differentiably.
            let (rows, n) = (x.shape()[0], x.shape()[1]);
            let list = classes.to_vec::<i64>()?;
            let counts: Vec<crate::Bool> =
                list.iter().map(|&class| (class != self.ignore).into()).collect();
            let counts = Tensor::from_slice(&counts, &[rows, 1])?;
            let safe: Vec<i64> =
                list.iter().map(|&class| if class == self.ignore { 0 } else { class }).collect();
            let safe = Tensor::from_slice(&safe, &[rows, 1])?;
            let ones = Tensor::ones(&[rows, 1], x.dtype())?;
            let hot = super::along::put(&ones, 1, &safe.shared_core(), &[rows, n])?;
            let factor = match &weights {
                Some(weights) => {
                    weights.reshape_to(&[1, n])?.expand_to(&[rows, n])?.take_along(1, &safe)?
                }
                None => ones,
            };
            let factor = factor.or_else(&counts, 0.0)?;
            let grad = if grad.numel() == rows { grad.reshape_to(&[rows, 1])? } else { grad };
            let softmax = x.softmax(false, 1, None)?;
            let mut slope = softmax.sub(&hot)?.mul(&factor)?;
            if self.smoothing != 0.0 {
                let each = match &weights {
                    Some(weights) => weights.reshape_to(&[1, n])?,
                    None => Tensor::ones(&[1, n], x.dtype())?,
                };
                let all = softmax.mul(&each.sum(&[], false, None)?)?.sub(&each)?;
                let all = all.or_else(&counts, 0.0)?.times(self.smoothing / n as f64)?;
                slope = slope.times(1.0 - self.smoothing)?.add(&all)?;
            }
            return Ok(smallvec![Some(slope.mul(&grad)?)]);
        }
        let sums = cx.saved(2)?.shared_core();
        let weights = weights.map(|weights| weights.shared_core());
        let classes = classes.shared_core();
        let (weights, &Self { ignore, smoothing, .. }) = (weights.as_ref(), self);
        let targets = Classes { classes: &classes, ignore, weights, smoothing };
        let grad = grad.to_dtype(x.dtype())?.shared_core();
        let grad = launch::cross_entropy_backward(&x.shared_core(), &targets, &sums, &grad)?;
        Ok(smallvec![Some(Tensor::from_core(grad))])
    }
}

impl Tensor {
    /// Normalised over the trailing dimensions `normalized`, then scaled and shifted.
    ///
    /// # Errors
    /// If the shapes do not fit.
    #[track_caller]
    pub fn layer_norm(
        &self,
        normalized: &[usize],
        weight: Option<&Self>,
        bias: Option<&Self>,
        epsilon: f64,
    ) -> Result<Self> {
        let shape = self.shape();
        ensure!(
            !normalized.is_empty(),
            runtime,
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least \
             one element, but got normalized_shape = []"
        );
        ensure!(
            shape.len() >= normalized.len()
                && shape[shape.len() - normalized.len()..] == *normalized,
            runtime,
            "Given normalized_shape={normalized:?}, expected input with shape [*, {}], but got \
             input of size{:?}",
            normalized.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            shape.as_slice()
        );
        for (name, part) in [("weight", weight), ("bias", bias)] {
            if let Some(part) = part {
                ensure!(
                    part.shape().as_slice() == normalized,
                    runtime,
                    "Expected {name} to be of same shape as normalized_shape, but got {name} of \
                     shape {:?} and normalized_shape = {normalized:?}",
                    part.shape().as_slice()
                );
            }
        }
        let n: usize = normalized.iter().product();
        if n == 0 {
            return Ok(self.clone());
        }
        let (w, b) = (weight.map(Self::shared_core), bias.map(Self::shared_core));
        let made = launch::layer_norm(&self.shared_core(), n, w.as_ref(), b.as_ref(), epsilon)?;
        let output = Self::from_core(made.output);
        let mut inputs: SmallVec<[&Self; 3]> = smallvec![self];
        inputs.extend(weight);
        inputs.extend(bias);
        if recording(&inputs) {
            let rule = LayerNorm {
                n,
                epsilon,
                has: [weight.is_some(), bias.is_some()],
                normalized: Dims::from_slice(normalized),
            };
            let mut saves =
                vec![Save::Input(0), Save::Private(&made.mean), Save::Private(&made.rstd)];
            if weight.is_some() {
                saves.push(Save::Input(1));
            }
            attach(Op::rule(rule), &inputs, &saves, &[&output])?;
        }
        Ok(output)
    }

    /// The sum of losses, divided by what their mean divides by.
    fn sum_over(&self, divisor: f64) -> Result<Self> {
        let sum = self.sum(&[], false, None)?;
        if divisor == 1.0 {
            return Ok(sum);
        }
        sum.binary_scalar(super::binary::Binary::Div, Scalar::Float(divisor), false)
    }

    /// The cross entropy of rows of logits and int64 classes: of each row, or with `mean` or the
    /// sum of all. Rows of the class `ignore` count for nothing; `wide` only matters to the name; of the
    /// loss all classes share `smoothing` alike.
    ///
    /// # Errors
    /// If the shapes do not fit, or a class is out of range.
    #[track_caller]
    pub fn cross_entropy_rows(
        &self,
        classes: &Self,
        weights: Option<&Self>,
        ignore: i64,
        reduce: bool,
        mean: bool,
        wide: bool,
        smoothing: f64,
    ) -> Result<Self> {
        let logits = self.contiguous()?;
        ensure!(
            classes.dtype() == DType::I64,
            runtime,
            "expected target dtype to be Long or Byte, but got {}",
            classes.dtype().scalar_name()
        );
        let (core, list) = (logits.shared_core(), classes.shared_core());
        let weight = weights.map(Self::shared_core);
        let targets = Classes { classes: &list, ignore, weights: weight.as_ref(), smoothing };
        let (losses, sums, total) = launch::cross_entropy(&core, &targets)?;
        let losses = Self::from_core(losses);
        let divisor = if !reduce {
            None
        } else if mean {
            Some(total)
        } else {
            Some(1.0)
        };
        let output = match divisor {
            Some(divisor) => losses.sum_over(divisor)?,
            None => losses,
        };
        if recording(&[&logits]) {
            let has_weights = weights.is_some();
            let rule = CrossEntropy { wide, ignore, has_weights, smoothing, divisor };
            let mut saves = vec![Save::Input(0), Save::Private(&list), Save::Private(&sums)];
            if let Some(weight) = &weight {
                saves.push(Save::Private(weight));
            }
            attach(Op::rule(rule), &[&logits], &saves, &[&output])?;
        }
        Ok(output)
    }
}

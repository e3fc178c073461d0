//! Losses of two tensors, element by element, each one node: what is kept is the two tensors, and the
//! gradient is one formula, so that second derivatives are right where the value has a kink.

use smallvec::smallvec;

use super::binary::Binary;
use super::unary::Unary;
use super::{Cx, Op, Rule};
use crate::dtype::Scalar;
use crate::error::Result;
use crate::graph::hooks::GradList;
use crate::graph::{GradMode, Save, attach, recording};
use crate::tensor::Tensor;

/// What is asked of each pair of elements, `d` being their difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// `d^2`.
    Mse,
    /// `d^2 / (2 beta)` below `beta`, `|d| - beta / 2` above.
    SmoothL1(f64),
    /// `d^2 / 2` up to `delta`, `delta (|d| - delta / 2)` above.
    Huber(f64),
    /// Cross entropy of a probability; logarithms are no less than -100.
    BinaryCrossEntropy,
    /// Cross entropy of the sigmoid of the input.
    BinaryCrossEntropyWithLogits,
    /// `log(1 + exp(-target * input))`.
    SoftMargin,
}

/// What becomes of the losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// They are the result.
    None,
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
}

/// Smallest divisor in the gradient of the cross entropy of a probability, as in torch.
const LEAST: f64 = 1e-12;

fn log_limited(x: &Tensor) -> Result<Tensor> {
    let least = Tensor::from_scalar(Scalar::Float(-100.0), x.dtype())?.into_number();
    x.apply_unary(Unary::Log)?.maximum(&least)
}

fn one_minus(x: &Tensor) -> Result<Tensor> {
    x.binary_scalar(Binary::Sub, Scalar::Float(1.0), true)
}

impl Loss {
    fn name(self) -> &'static str {
        match self {
            Self::Mse => "MseLossBackward0",
            Self::SmoothL1(_) => "SmoothL1LossBackward0",
            Self::Huber(_) => "HuberLossBackward0",
            Self::BinaryCrossEntropy => "BinaryCrossEntropyBackward0",
            Self::BinaryCrossEntropyWithLogits => "BinaryCrossEntropyWithLogitsBackward0",
            Self::SoftMargin => "SoftMarginLossBackward0",
        }
    }

    fn value(self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        match self {
            Self::Mse => x.binary(Binary::SquaredDifference, t, 1.0),
            Self::SmoothL1(limit) | Self::Huber(limit) => {
                let loss = x.binary(Binary::HuberDifference, t, limit)?;
                if matches!(self, Self::SmoothL1(_)) && limit != 1.0 {
                    return loss.times(1.0 / limit);
                }
                Ok(loss)
            }
            Self::BinaryCrossEntropy => {
                let no = t.plus(-1.0)?.mul(&log_limited(&one_minus(x)?)?)?;
                no.sub(&t.mul(&log_limited(x)?)?)
            }
            Self::BinaryCrossEntropyWithLogits => {
                one_minus(t)?.mul(x)?.sub(&x.apply_unary(Unary::LogSigmoid)?)
            }
            Self::SoftMargin => {
                let z = t.mul(x)?.apply_unary(Unary::Neg)?.apply_unary(Unary::Exp)?;
                z.apply_unary(Unary::Log1p)
            }
        }
    }

    /// The derivative with respect to the input or the target.
    fn slope(self, x: &Tensor, t: &Tensor, by_target: bool) -> Result<Tensor> {
        let difference = |slope: Result<Tensor>| {
            let slope = slope?;
            if by_target { slope.apply_unary(Unary::Neg) } else { Ok(slope) }
        };
        match self {
            Self::Mse => difference(x.sub(t)?.times(2.0)),
            Self::SmoothL1(limit) | Self::Huber(limit) => {
                let slope = x.sub(t)?.unary(Unary::Clamp, [-limit, limit])?;
                difference(if matches!(self, Self::SmoothL1(_)) && limit != 1.0 {
                    slope.times(1.0 / limit)
                } else {
                    Ok(slope)
                })
            }
            Self::BinaryCrossEntropy if by_target => {
                log_limited(&one_minus(x)?)?.sub(&log_limited(x)?)
            }
            Self::BinaryCrossEntropy => {
                let least = Tensor::from_scalar(Scalar::Float(LEAST), x.dtype())?.into_number();
                x.sub(t)?.div(&one_minus(x)?.mul(x)?.maximum(&least)?)
            }
            Self::BinaryCrossEntropyWithLogits if by_target => x.apply_unary(Unary::Neg),
            Self::BinaryCrossEntropyWithLogits => x.apply_unary(Unary::Sigmoid)?.sub(t),
            Self::SoftMargin => {
                let share = t.mul(x)?.apply_unary(Unary::Neg)?.apply_unary(Unary::Sigmoid)?;
                share.mul(if by_target { x } else { t })?.apply_unary(Unary::Neg)
            }
        }
    }
}

struct PairLoss {
    loss: Loss,
    /// What a mean divides by.
    divisor: Option<f64>,
}

impl Rule for PairLoss {
    fn name(&self) -> &'static str {
        self.loss.name()
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None, None]) };
        let (x, t) = (cx.saved(0)?, cx.saved(1)?);
        let grad = match self.divisor {
            Some(divisor) => grad.times(1.0 / divisor)?,
            None => grad.clone(),
        };
        let part = |i: usize| -> Result<Option<Tensor>> {
            if cx.needs(i) {
                self.loss.slope(&x, &t, i == 1)?.mul(&grad).map(Some)
            } else {
                Ok(None)
            }
        };
        Ok(smallvec![part(0)?, part(1)?])
    }
}

impl Tensor {
    /// A loss of this tensor and a target, broadcast.
    ///
    /// # Errors
    /// If the shapes do not broadcast, or memory is short.
    #[track_caller]
    pub fn pair_loss(&self, target: &Self, loss: Loss, reduce: Reduce) -> Result<Self> {
        let (output, numel) = {
            let _mode = GradMode::no_grad();
            let value = loss.value(self, target)?;
            let numel = value.numel();
            let output = match reduce {
                Reduce::None => value,
                Reduce::Mean => value.mean(&[], false, None)?,
                Reduce::Sum => value.sum(&[], false, None)?,
            };
            (output, numel)
        };
        if output.dtype().is_float() && recording(&[self, target]) {
            let divisor = (reduce == Reduce::Mean).then_some(numel as f64);
            let rule = PairLoss { loss, divisor };
            let saves = [Save::Input(0), Save::Input(1)];
            attach(Op::rule(rule), &[self, target], &saves, &[&output])?;
        }
        Ok(output)
    }
}

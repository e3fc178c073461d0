//! Normalisation of channels, by batch or by groups: one kernel forward and one back.

use smallvec::{SmallVec, smallvec};

use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::Scalar;
use crate::error::{Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, is_grad_enabled, recording};
use crate::kernels::rows::Sets;
use crate::launch;
use crate::ops::unary::Unary;
use crate::shape::shape_text;
use crate::tensor::Tensor;

struct ChannelNorm {
    sets: Sets,
    /// Whether the statistics were given: then they are constants.
    given: bool,
    epsilon: f64,
    /// Which of weight and bias there are.
    has: [bool; 2],
}

impl Rule for ChannelNorm {
    fn name(&self) -> &'static str {
        if self.sets.groups.is_some() {
            "NativeGroupNormBackward0"
        } else {
            "NativeBatchNormBackward0"
        }
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        let Sets { batch, channels, size, groups } = self.sets;
        let int = |n: usize| Some(SavedValue::Int(n as i64));
        match (name, groups) {
            ("eps", None) => Some(SavedValue::Number(Scalar::Float(self.epsilon))),
            ("training", None) => Some(SavedValue::Bool(!self.given)),
            ("N", Some(_)) => int(batch),
            ("C", Some(_)) => int(channels),
            ("HxW", Some(_)) => int(size),
            ("group", Some(groups)) => int(groups),
            _ => None,
        }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let mut result: GradList = smallvec![None, None, None];
        let Some(grad) = &grads[0] else { return Ok(result) };
        let x = cx.saved(0)?;
        let (mean, rstd) = (cx.saved(1)?, cx.saved(2)?);
        let weight = if self.has[0] { Some(cx.saved(3)?) } else { None };
        let at_bias = 1 + usize::from(self.has[0]);
        let wants = [cx.needs(0), self.has[0] && cx.needs(1), self.has[1] && cx.needs(at_bias)];
        let made = if is_grad_enabled() {
            self.differentiably(&x, [&mean, &rstd], weight.as_ref(), grad, wants)?
        } else {
            let grad = grad.to_dtype(x.dtype())?.expand_to(&x.shape())?.shared_core();
            let weight = weight.map(|weight| weight.shared_core());
            launch::channel_norm_backward(
                &x.shared_core(),
                self.sets,
                self.given,
                weight.as_ref(),
                &mean.shared_core(),
                &rstd.shared_core(),
                &grad,
                wants,
            )?
            .map(|core| core.map(Tensor::from_core))
        };
        for (at, made) in [0, 1, at_bias].into_iter().zip(made) {
            if made.is_some() {
                result[at] = made;
            }
        }
        Ok(result)
    }
}

impl ChannelNorm {
    fn differentiably(
        &self,
        x: &Tensor,
        given: [&Tensor; 2],
        weight: Option<&Tensor>,
        grad: &Tensor,
        wants: [bool; 3],
    ) -> Result<[Option<Tensor>; 3]> {
        let Sets { batch, channels, size, groups } = self.sets;
        // A set is what lies along `within`, for each of the sizes in between.
        let (split, within): (usize, &[i64]) =
            groups.map_or((channels, &[0, 2, 3]), |groups| (groups, &[2, 3]));
        let each = channels / split;
        let wide = [batch, split, each, size];
        let shape = x.shape();
        let (x, g) = (x.reshape_to(&wide)?, grad.reshape_to(&wide)?);
        let (centred, rstd) = if self.given {
            let [mean, rstd] = given;
            let shape = [1, channels, 1, 1];
            (x.sub(&mean.reshape_to(&shape)?)?, rstd.reshape_to(&shape)?)
        } else {
            let centred = x.sub(&x.mean(within, true, None)?)?;
            let variance = centred.mul(&centred)?.mean(within, true, None)?;
            let rstd = variance.plus(self.epsilon)?.apply_unary(Unary::Rsqrt)?;
            (centred, rstd)
        };
        let normal = centred.mul(&rstd)?;
        let over_batch = |t: &Tensor| t.sum(&[0, 3], false, None)?.reshape_to(&[channels]);
        let mut made = [None, None, None];
        if wants[1] {
            made[1] = Some(over_batch(&g.mul(&normal)?)?);
        }
        if wants[2] {
            made[2] = Some(over_batch(&g)?);
        }
        if wants[0] {
            let scaled = match weight {
                Some(weight) => g.mul(&weight.reshape_to(&[1, split, each, 1])?)?,
                None => g,
            };
            let grad = if self.given {
                scaled
            } else {
                let share = scaled.mul(&normal)?.mean(within, true, None)?;
                scaled.sub(&scaled.mean(within, true, None)?)?.sub(&normal.mul(&share)?)?
            };
            made[0] = Some(grad.mul(&rstd)?.reshape_to(&shape)?);
        }
        Ok(made)
    }
}

impl Tensor {
    /// Channels of `(N, C, ...)` normalised, then scaled by `weight` and shifted by `bias`: by the
    /// `given` mean and variance of each, by those over the batch, or by those of `groups` of channels
    /// of each member. Gives the result, the means and the variances (without correction), one for
    /// each channel or group.
    ///
    /// # Errors
    /// If the shapes or dtypes do not fit.
    #[track_caller]
    pub fn channel_norm(
        &self,
        groups: Option<usize>,
        given: Option<[&Self; 2]>,
        weight: Option<&Self>,
        bias: Option<&Self>,
        epsilon: f64,
    ) -> Result<[Self; 3]> {
        let shape = self.shape();
        ensure!(
            shape.len() >= 2,
            runtime,
            "Expected at least 2 dimensions for input tensor but received {}",
            shape_text(&shape)
        );
        let sets =
            Sets { batch: shape[0], channels: shape[1], size: shape[2..].iter().product(), groups };
        let (w, b) = (weight.map(Self::shared_core), bias.map(Self::shared_core));
        let fixed = given.map(|given| given.map(Self::shared_core));
        let made = launch::channel_norm(
            &self.shared_core(),
            sets,
            fixed.as_ref().map(|[mean, variance]| [mean, variance]),
            w.as_ref(),
            b.as_ref(),
            epsilon,
        )?;
        let output = Self::from_core(made.output);
        let mut inputs: SmallVec<[&Self; 3]> = smallvec![self];
        inputs.extend(weight);
        inputs.extend(bias);
        if recording(&inputs) {
            let has = [weight.is_some(), bias.is_some()];
            let rule = ChannelNorm { sets, given: given.is_some(), epsilon, has };
            let mut saves =
                vec![Save::Input(0), Save::Private(&made.mean), Save::Private(&made.rstd)];
            if weight.is_some() {
                saves.push(Save::Input(1));
            }
            attach(Op::rule(rule), &inputs, &saves, &[&output])?;
        }
        Ok([output, Self::from_core(made.mean), Self::from_core(made.variance)])
    }
}

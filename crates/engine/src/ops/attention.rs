//! Attention: means of values, weighted by the softmax of products of queries and keys.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Node, Save, attach, is_grad_enabled, recording};
use crate::launch::{self, Sight};
use crate::shape::{Dims, broadcast};
use crate::storage::Core;
use crate::tensor::Tensor;

struct Attention {
    scale: f64,
    causal: bool,
    masked: bool,
}

/// The places of what is saved.
const LOGS: usize = 4;
const MASK: usize = 5;

impl Attention {
    fn sight<'a>(&self, mask: Option<&'a Arc<Core>>) -> Sight<'a> {
        match mask {
            Some(mask) => Sight::Mask(mask),
            None if self.causal => Sight::Causal,
            None => Sight::All,
        }
    }

    /// The gradients by operations that are themselves recorded.
    fn recorded(
        &self,
        [q, k, v]: [&Tensor; 3],
        mask: Option<&Tensor>,
        grad: &Tensor,
    ) -> Result<GradList> {
        let weights = weights(q, k, mask, self.causal, self.scale)?;
        let of_weights = grad.matmul(&v.transpose(-2, -1)?)?;
        let mean = of_weights.mul(&weights)?.sum(&[-1], true, None)?;
        let slopes = weights.mul(&of_weights.sub(&mean)?)?.times(self.scale)?;
        let turned = slopes.transpose(-2, -1)?;
        Ok(smallvec![
            Some(slopes.matmul(k)?),
            Some(turned.matmul(q)?),
            Some(weights.transpose(-2, -1)?.matmul(grad)?)
        ])
    }
}

/// The weights of all keys for each query; zeros where a query sees none.
fn weights(
    q: &Tensor,
    k: &Tensor,
    mask: Option<&Tensor>,
    causal: bool,
    scale: f64,
) -> Result<Tensor> {
    let scores = q.matmul(&k.transpose(-2, -1)?)?.times(scale)?;
    let seen = |scores: &Tensor, keep: &Tensor| -> Result<Tensor> {
        let weights = scores.or_else(keep, f64::NEG_INFINITY)?.softmax(false, -1, None)?;
        // A query that sees nothing divides zero by zero.
        weights.or_else(keep, 0.0)
    };
    match mask {
        None if causal => {
            let (rows, keys) = (q.size_along(q.ndim() - 2), k.size_along(k.ndim() - 2));
            seen(&scores, &Tensor::ones(&[rows, keys], DType::Bool)?.tril(0)?)
        }
        None => scores.softmax(false, -1, None),
        Some(mask) if mask.dtype() == DType::Bool => seen(&scores, mask),
        Some(mask) => {
            let keep = mask.detach().compare(super::binary::Binary::Gt, f64::NEG_INFINITY)?;
            seen(&scores.add(mask)?, &keep)
        }
    }
}

impl Rule for Attention {
    fn name(&self) -> &'static str {
        "ScaledDotProductFlashAttentionForCpuBackward0"
    }
    fn depth(&self, node: &Node) -> usize {
        2 * node.input_size(1, 1).max(node.input_size(2, 1))
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        match name {
            "scale" => Some(SavedValue::Number(Scalar::Float(self.scale))),
            "is_causal" => Some(SavedValue::Bool(self.causal)),
            "dropout_p" => Some(SavedValue::Number(Scalar::Float(0.0))),
            _ => None,
        }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let mut result: GradList = smallvec![None, None, None];
        let Some(grad) = &grads[0] else { return Ok(result) };
        let (q, k, v, out) = (cx.saved(0)?, cx.saved(1)?, cx.saved(2)?, cx.saved(3)?);
        let mask = if self.masked { Some(cx.saved(MASK)?.detach()) } else { None };
        let grad = grad.to_dtype(q.dtype())?.expand_to(&out.shape())?;
        if is_grad_enabled() {
            return self.recorded([&q, &k, &v], mask.as_ref(), &grad);
        }
        let mask = mask.map(|mask| mask.shared_core());
        let found = launch::attention_backward(
            &q.shared_core(),
            &k.shared_core(),
            &v.shared_core(),
            self.sight(mask.as_ref()),
            self.scale,
            &grad.shared_core(),
            &out.shared_core(),
            &cx.saved(LOGS)?.shared_core(),
            [cx.needs(0), cx.needs(1), cx.needs(2)],
        )?;
        for (result, found) in result.iter_mut().zip(found) {
            *result = found.map(Tensor::from_core);
        }
        Ok(result)
    }
}

/// `lead` in front of the last two sizes of a tensor.
fn with_lead(lead: &[usize], x: &Tensor) -> Result<Tensor> {
    let shape = x.shape();
    let mut wanted = Dims::from_slice(lead);
    wanted.extend_from_slice(&shape[shape.len() - 2..]);
    if wanted == shape { Ok(x.clone()) } else { x.expand_to(&wanted) }
}

impl Tensor {
    /// `softmax(self @ key.T * scale + mask) @ value`, of shapes `(..., L, E)`, `(..., S, E)` and
    /// `(..., S, V)`, none of them empty; dimensions in front are broadcast. A mask of booleans says
    /// which keys count, one of numbers is added; it broadcasts to `(..., L, S)` and gets no gradient.
    /// With `causal` a query counts the keys up to its own place.
    ///
    /// Source: Vaswani et al., "Attention is all you need", 2017.
    ///
    /// # Errors
    /// If shapes or dtypes do not fit.
    #[track_caller]
    pub fn attention(
        &self,
        key: &Self,
        value: &Self,
        mask: Option<&Self>,
        causal: bool,
        scale: f64,
    ) -> Result<Self> {
        let lead = |x: &Self| -> Result<Dims> {
            let shape = x.shape();
            ensure!(shape.len() >= 2, runtime, "attention of a tensor of shape {shape:?}");
            Ok(Dims::from_slice(&shape[..shape.len() - 2]))
        };
        let all = broadcast(&broadcast(&lead(self)?, &lead(key)?)?, &lead(value)?)?;
        let (q, k, v) = (with_lead(&all, self)?, with_lead(&all, key)?, with_lead(&all, value)?);
        let mask = match mask {
            None => None,
            Some(mask) => {
                let mut shape = all;
                shape.push(q.size_along(q.ndim() - 2));
                shape.push(k.size_along(k.ndim() - 2));
                Some(mask.detach().expand_to(&shape)?.shared_core())
            }
        };
        let rule = Attention { scale, causal, masked: mask.is_some() };
        let recorded = recording(&[&q, &k, &v]);
        let (out, logs) = launch::attention(
            &q.shared_core(),
            &k.shared_core(),
            &v.shared_core(),
            rule.sight(mask.as_ref()),
            scale,
            recorded,
        )?;
        let out = Self::from_core(out);
        if let Some(logs) = logs {
            let mut saves: SmallVec<[Save<'_>; 6]> = smallvec![
                Save::Input(0),
                Save::Input(1),
                Save::Input(2),
                Save::Output(0),
                Save::Private(&logs)
            ];
            if let Some(mask) = &mask {
                saves.push(Save::Private(mask));
            }
            attach(Op::rule(rule), &[&q, &k, &v], &saves, &[&out])?;
        }
        Ok(out)
    }
}

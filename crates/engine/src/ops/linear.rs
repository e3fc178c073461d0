//! The affine map of a layer, `x @ weight.T + bias`, as one operation.

use smallvec::smallvec;

use super::{Cx, Op, Rule};
use crate::error::{Error, Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Node, Save, attach, recording};
use crate::launch;
use crate::shape::{Dims, contiguous_strides, shape_text};
use crate::tensor::Tensor;

/// Saved are the input, if the weight needs a gradient, and the weight, if the input does.
struct Linear {
    /// Whether the input was flattened to a matrix.
    flattened: bool,
}

impl Rule for Linear {
    fn name(&self) -> &'static str {
        if self.flattened { "UnsafeViewBackward0" } else { "AddmmBackward0" }
    }
    fn depth(&self, node: &Node) -> usize {
        node.input_size(1, 0).max(node.input_size(2, 0))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let mut result: GradList = smallvec![None, None, None];
        let Some(grad) = &grads[0] else { return Ok(result) };
        let edges = cx.node().edges();
        let n = *grad.shape().last().unwrap_or(&1);
        let rows = grad.numel() / n.max(1);
        let flat = if self.flattened { grad.reshape_to(&[rows, n])? } else { grad.clone() };
        if cx.needs(0) {
            result[0] = Some(flat.sum(&[0], false, None)?);
        }
        if cx.needs(1) {
            let weight = cx.saved(usize::from(edges[2].node.is_some()))?;
            let own = flat.mm(&weight)?;
            result[1] = Some(if self.flattened {
                let mut shape = grad.shape();
                let last = shape.len() - 1;
                shape[last] = weight.shape()[1];
                own.reshape_to(&shape)?
            } else {
                own
            });
        }
        if cx.needs(2) {
            let x = cx.saved(0)?;
            let x = if self.flattened {
                x.reshape_to(&[rows, *x.shape().last().unwrap_or(&1)])?
            } else {
                x
            };
            result[2] = Some(flat.t()?.mm(&x)?);
        }
        Ok(result)
    }
}

impl Tensor {
    /// `self @ weight.T + bias`, over the last dimension of `self`.
    ///
    /// # Errors
    /// If the shapes or dtypes do not fit.
    #[track_caller]
    pub fn linear(&self, weight: &Self, bias: Option<&Self>) -> Result<Self> {
        ensure!(
            self.ndim() > 0 && weight.ndim() > 0,
            runtime,
            "both arguments to linear need to be at least 1D, but they are {}D and {}D",
            self.ndim(),
            weight.ndim()
        );
        let Some(bias) = bias else {
            return if weight.ndim() == 1 {
                self.matmul(weight)
            } else {
                self.matmul(&weight.t()?)
            };
        };
        let (x, w, b) = (self.core(), weight.core(), bias.core());
        ensure!(
            w.shape().len() == 2,
            runtime,
            "addmm: mat2 must be a matrix, got {}-D tensor",
            w.shape().len()
        );
        let (n, k) = (w.shape()[0], w.shape()[1]);
        let (lead, last) = x.shape().split_at(x.shape().len() - 1);
        let rows: usize = lead.iter().product();
        if last[0] != k {
            return Err(Error::runtime(format!(
                "addmm: mat1 and mat2 shapes cannot be multiplied ({rows}x{} and {k}x{n})\n  at {}{}",
                last[0],
                crate::graph::Site::here(),
                super::origins(&[self, weight])
            )));
        }
        ensure!(
            x.dtype() == w.dtype(),
            runtime,
            "mat1 and mat2 must have the same dtype, but got {} and {}",
            x.dtype().scalar_name(),
            w.dtype().scalar_name()
        );
        ensure!(
            x.dtype() == b.dtype(),
            runtime,
            "self and mat2 must have the same dtype, but got {} and {}",
            b.dtype().scalar_name(),
            w.dtype().scalar_name()
        );
        let plain = x.dtype().is_float() && b.shape() == [n];
        if !plain {
            // A bias that broadcasts otherwise, or integers: the sum of the product and the bias.
            let mut shape = Dims::from_slice(lead);
            shape.push(n);
            ensure!(
                crate::shape::is_expandable_to(b.shape(), &shape),
                runtime,
                "The expanded size of the tensor ({n}) must match the existing size ({}) at \
                 non-singleton dimension {}.  Target sizes: {}.  Tensor sizes: {}",
                b.shape().last().copied().unwrap_or(1),
                shape.len() - 1,
                shape_text(&shape),
                shape_text(b.shape())
            );
            drop((x, w, b));
            return self.matmul(&weight.t()?)?.add(bias);
        }
        let flattened = x.shape().len() != 2;
        let turned = w.view(&[k, n], &[w.strides()[1], w.strides()[0]], w.offset())?;
        let mut shape = Dims::from_slice(lead);
        shape.push(n);
        let output = if flattened {
            let dense =
                if x.is_contiguous() { self.shared_core() } else { launch::blocks::copy_core(&x)? };
            let strides = contiguous_strides(&[rows, k]);
            let matrix = dense.view(&[rows, k], &strides, dense.offset())?;
            launch::addmm(&b, &matrix, &turned, &shape)?
        } else {
            launch::addmm(&b, &x, &turned, &shape)?
        };
        drop((x, w, b));
        let output = Self::from_core(output);
        let inputs = [bias, self, weight];
        if recording(&inputs) {
            let mut saves = smallvec::SmallVec::<[Save<'_>; 2]>::new();
            if weight.requires_grad() {
                saves.push(Save::Input(1));
            }
            if self.requires_grad() {
                saves.push(Save::Input(2));
            }
            attach(Op::rule(Linear { flattened }), &inputs, &saves, &[&output])?;
        }
        Ok(output)
    }
}

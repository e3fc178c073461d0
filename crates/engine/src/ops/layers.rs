//! Looking up rows of a table.

use smallvec::smallvec;

use super::index::sum_of_slices;
use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording1};
use crate::launch;
use crate::tensor::Tensor;

struct Embedding {
    rows: usize,
    padding: Option<i64>,
}

impl Rule for Embedding {
    fn name(&self) -> &'static str {
        "EmbeddingBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        match name {
            "padding_idx" => Some(SavedValue::Int(self.padding.unwrap_or(-1))),
            "scale_grad_by_freq" | "sparse" => Some(SavedValue::Bool(false)),
            "weight_sym_argsize_0" => Some(SavedValue::Int(self.rows as i64)),
            _ => None,
        }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let index = cx.saved(0)?.detach();
        let columns = grad.shape().last().copied().unwrap_or(1);
        let mut rows = grad.reshape_to(&[index.numel(), columns])?;
        if let Some(padding) = self.padding {
            let mask =
                index.binary_scalar(super::binary::Binary::Ne, Scalar::Int(padding), false)?;
            rows = rows.or_else(&mask.unsqueeze(1)?, 0.0)?;
        }
        let table = sum_of_slices(&[self.rows, columns], 0, &index, &rows)?;
        Ok(smallvec![Some(table)])
    }
}

impl Tensor {
    /// The rows of this matrix that `index` names, in the shape of `index`; rows at `padding` get no
    /// gradient.
    ///
    /// # Errors
    /// If this is not a matrix, the index is not of integers, or out of range.
    #[track_caller]
    pub fn embedding(&self, index: &Self, padding: Option<i64>) -> Result<Self> {
        ensure!(self.ndim() == 2, runtime, "'weight' must be 2-D");
        ensure!(
            matches!(index.dtype(), DType::I64 | DType::I32),
            runtime,
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: \
             Long, Int; but got torch.{}Tensor instead (while checking arguments for embedding)",
            index.dtype().scalar_name()
        );
        let rows = self.core().shape()[0];
        let mut shape = index.shape();
        shape.push(self.core().shape()[1]);
        let flat = index.detach().to_dtype(DType::I64)?.reshape_to(&[index.numel()])?.shared_core();
        let made = launch::index::index_select(&self.shared_core(), 0, &flat)?;
        let strides = crate::shape::contiguous_strides(&shape);
        let output = Self::from_core(made.into_layout(&shape, &strides)?);
        if output.dtype().is_float() && recording1(self) {
            let rule = Embedding { rows, padding };
            attach(Op::rule(rule), &[self], &[Save::Private(&flat)], &[&output])?;
        }
        Ok(output)
    }
}

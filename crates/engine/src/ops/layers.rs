//! Padding, and looking up rows of a table.

use smallvec::smallvec;

use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording1};
use crate::launch;
use crate::shape::Dims;
use crate::storage::Core;
use crate::tensor::Tensor;

struct ConstantPad(Vec<[i64; 2]>);

impl Rule for ConstantPad {
    fn name(&self) -> &'static str {
        "ConstantPadNdBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        let given = self.0.iter().rev().flatten().map(|&n| n as usize);
        (name == "pad").then(|| {
            let mut pad: Dims = given.collect();
            while pad.len() > 2 && pad[pad.len() - 2..] == [0, 0] {
                pad.truncate(pad.len() - 2);
            }
            SavedValue::Sizes(pad)
        })
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let back: Vec<[i64; 2]> = self.0.iter().map(|[a, b]| [-a, -b]).collect();
        Ok(smallvec![Some(grad.pad_dims(back, Scalar::Int(0))?)])
    }
}

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
        let table = Tensor::zeros(&[self.rows, columns], grad.dtype())?;
        Ok(smallvec![Some(table.index_add(0, &index, &rows, Scalar::Int(1))?)])
    }
}

impl Tensor {
    /// With `value` added before and after along each dimension (outermost first), or with elements
    /// taken away where a number is negative.
    #[track_caller]
    fn pad_dims(&self, pads: Vec<[i64; 2]>, value: Scalar) -> Result<Self> {
        let x = self.core();
        let mut shape = Dims::new();
        // What is kept of the input: its first place, the first place it goes to, how many.
        let (mut from, mut to, mut kept) = (x.offset(), 0isize, Dims::new());
        let mut starts: Vec<usize> = Vec::new();
        for (i, (&n, &[before, after])) in x.shape().iter().zip(&pads).enumerate() {
            let size = n as i64 + before + after;
            ensure!(
                size >= 0,
                runtime,
                "The input size {n}, plus negative padding {before} and {after} resulted in a \
                 negative output size, which is invalid. Check dimension {i} of your input."
            );
            shape.push(size as usize);
            let first = (-before).max(0);
            let last = (n as i64 + after.min(0)).max(first);
            from += first as isize * x.strides()[i];
            kept.push((last - first) as usize);
            starts.push(before.max(0) as usize);
        }
        let out = Core::alloc(x.dtype(), &shape)?;
        launch::blocks::fill(&out, value)?;
        for (&start, &stride) in starts.iter().zip(out.strides()) {
            to += start as isize * stride;
        }
        if kept.iter().all(|&n| n > 0) {
            let source = x.view(&kept, x.strides(), from)?;
            let target = out.view(&kept, out.strides(), to)?;
            let copy = crate::kernels::copy::cast_block(x.dtype(), x.dtype());
            launch::blocks::run_into(copy, &[0.0; 2], &target, &[&source])?;
        }
        drop(x);
        let output = Self::from_core(out);
        if output.dtype().is_float() && recording1(self) {
            attach(Op::rule(ConstantPad(pads)), &[self], &[], &[&output])?;
        }
        Ok(output)
    }

    /// With `value` added around: `pads` gives how much before and after, from the last dimension on;
    /// negative numbers take away.
    ///
    /// # Errors
    /// If there are more pairs than dimensions, or a size becomes negative.
    #[track_caller]
    pub fn constant_pad(&self, pads: &[i64], value: Scalar) -> Result<Self> {
        let n = self.ndim();
        ensure!(
            pads.len().is_multiple_of(2),
            runtime,
            "Length of pad must be even but instead it equals {}",
            pads.len()
        );
        ensure!(
            pads.len() <= 2 * n,
            runtime,
            "Length of pad should be no more than twice the number of dimensions of the input. Pad \
             length is {} while the input has {n} dimensions.",
            pads.len()
        );
        let mut list = vec![[0i64; 2]; n];
        for (i, pair) in pads.chunks_exact(2).enumerate() {
            list[n - 1 - i] = [pair[0], pair[1]];
        }
        self.pad_dims(list, value)
    }

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

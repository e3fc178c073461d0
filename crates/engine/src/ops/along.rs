//! What the families that work along dimensions share: taking and putting along a dimension,
//! reversal, and small arithmetic for rules.

use std::sync::Arc;

use smallvec::smallvec;

use super::binary::Binary;
use super::reduce::kept_shape;
use super::unary::Unary;
use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::{DType, Scalar, dispatch};
use crate::error::{Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording1};
use crate::launch;
use crate::shape::{Dims, contiguous_strides, norm_dim};
use crate::storage::Core;
use crate::tensor::Tensor;

/// A gradient (or result) over the kept dimensions, with the reduced ones back at size one.
pub(crate) fn restore(tensor: &Tensor, input: &[usize], mask: u64) -> Result<Tensor> {
    tensor.reshape_to(&kept_shape(input, mask))
}

/// A fresh core over the kept dimensions, with the reduced ones at size one if they are kept.
pub(crate) fn keep(
    core: Arc<Core>,
    input: &[usize],
    mask: u64,
    keepdim: bool,
) -> Result<Arc<Core>> {
    if !keepdim {
        return Ok(core);
    }
    let shape = kept_shape(input, mask);
    core.into_layout(&shape, &contiguous_strides(&shape))
}

/// `zero_numel_check_dims` of torch: there must be something along the dimension.
pub(crate) fn check_not_empty(name: &str, shape: &[usize], dim: usize) -> Result<()> {
    ensure!(
        shape.get(dim).is_none_or(|&n| n > 0),
        index,
        "{name}(): Expected reduction dim {dim} to have non-zero size."
    );
    Ok(())
}

/// `tensor[p with p[dim] = index[p]]`, differentiably; the index is int64 and fits.
#[track_caller]
pub(crate) fn take(input: &Tensor, dim: usize, index: &Arc<Core>) -> Result<Tensor> {
    let core = input.core();
    let output = Tensor::from_core(launch::take(&core, dim, index)?);
    if output.dtype().is_float() && recording1(input) {
        let size = core.shape().get(dim).copied().unwrap_or(1);
        let rule = Take {
            name: "GatherBackward0",
            dim,
            size,
            squeezed: false,
            shape: Dims::from_slice(core.shape()),
        };
        attach(Op::rule(rule), &[input], &[Save::Private(index)], &[&output])?;
    }
    Ok(output)
}

/// Zeros of `shape`, with `source[p]` added at `p with p[dim] = index[p]`, differentiably.
#[track_caller]
pub(crate) fn put(
    source: &Tensor,
    dim: usize,
    index: &Arc<Core>,
    shape: &[usize],
) -> Result<Tensor> {
    let size = shape.get(dim).copied().unwrap_or(1);
    let output = Tensor::from_core(launch::put(&source.core(), dim, index, size)?);
    let output = if output.core().shape() == shape {
        output
    } else {
        // Along the other dimensions the index may be shorter: what it leaves out is zero.
        let wide = Tensor::zeros(shape, source.dtype())?;
        let part = wide.core();
        let place = part.view(output.core().shape(), part.strides(), part.offset())?;
        launch::blocks::run_into(
            crate::kernels::copy::copy_block(source.dtype().size()),
            &[0.0; 2],
            &place,
            &[&output.core()],
        )?;
        Tensor::from_core(part.clone())
    };
    if recording1(source) {
        attach(Op::rule(Put { dim }), &[source], &[Save::Private(index)], &[&output])?;
    }
    Ok(output)
}

/// The rule of every operation that picks elements along a dimension.
pub(crate) struct Take {
    pub(crate) name: &'static str,
    pub(crate) dim: usize,
    pub(crate) size: usize,
    /// Whether the output lacks the dimension.
    pub(crate) squeezed: bool,
    pub(crate) shape: Dims,
}

impl Rule for Take {
    fn name(&self) -> &str {
        self.name
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "dim").then(|| SavedValue::Int(self.dim as i64))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let index = cx.saved(0)?.shared_core();
        let grad = if self.squeezed && !self.shape.is_empty() {
            let mut shape = self.shape.clone();
            shape[self.dim] = 1;
            grad.reshape_to(&shape)?
        } else {
            grad.clone()
        };
        let index = if index.shape() == grad.core().shape() {
            index
        } else {
            let shape = grad.shape();
            index.view(&shape, &contiguous_strides(&shape), index.offset())?
        };
        debug_assert_eq!(self.shape.get(self.dim).copied().unwrap_or(1), self.size);
        Ok(smallvec![Some(put(&grad, self.dim, &index, &self.shape)?)])
    }
}

struct Put {
    dim: usize,
}

impl Rule for Put {
    fn name(&self) -> &'static str {
        "ScatterAddBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "dim").then(|| SavedValue::Int(self.dim as i64))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let index = cx.saved(0)?.shared_core();
        Ok(smallvec![Some(take(grad, self.dim, &index)?)])
    }
}

struct Reverse {
    dim: usize,
}

impl Rule for Reverse {
    fn name(&self) -> &'static str {
        "FlipBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "dims").then(|| SavedValue::Sizes(smallvec![self.dim]))
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let grad = grads[0].as_ref().map(|grad| reversed(grad, self.dim)).transpose()?;
        Ok(smallvec![grad])
    }
}

/// The tensor with the order along a dimension reversed.
#[track_caller]
pub(crate) fn reversed(input: &Tensor, dim: usize) -> Result<Tensor> {
    let core = input.shared_core();
    let Some(&n) = core.shape().get(dim) else { return Ok(input.clone()) };
    let index: Vec<i64> = (0..n as i64).rev().collect();
    let output = Tensor::from_core(launch::slices(&core, dim, &index)?);
    if output.dtype().is_float() && recording1(input) {
        attach(Op::rule(Reverse { dim }), &[input], &[], &[&output])?;
    }
    Ok(output)
}

impl Tensor {
    /// This times a number.
    #[track_caller]
    pub(crate) fn times(&self, factor: f64) -> Result<Self> {
        self.binary_scalar(Binary::Mul, Scalar::Float(factor), false)
    }

    /// This plus a number.
    #[track_caller]
    pub(crate) fn plus(&self, number: f64) -> Result<Self> {
        self.binary_scalar(Binary::Add, Scalar::Float(number), false)
    }

    /// A row of the unary table without parameters.
    #[track_caller]
    pub(crate) fn apply_unary(&self, kind: Unary) -> Result<Self> {
        self.unary(kind, [0.0; 2])
    }

    /// Compared with a number.
    pub(crate) fn compare(&self, kind: Binary, number: f64) -> Result<Self> {
        self.binary_scalar(kind, Scalar::Float(number), false)
    }

    /// Whether two tensors have the same shape and equal elements; NaN equals nothing.
    ///
    /// # Errors
    /// If memory is short.
    pub fn equal(&self, other: &Self) -> Result<bool> {
        /// Elements that are compared faster one by one than by operations.
        const FEW: usize = 64;
        if self.shape() != other.shape() {
            return Ok(false);
        }
        let dtype = self.dtype();
        // Only a float, being NaN, is not what it is.
        if !dtype.is_float() && self.is_same_place(other) {
            return Ok(true);
        }
        if dtype == other.dtype() && self.numel() <= FEW {
            return dispatch!(dtype, T => Ok(self.to_vec::<T>()? == other.to_vec::<T>()?));
        }
        let same = self.detach().eq(&other.detach())?;
        Ok(same.all_or_any(false, &[], false)?.item()?.to_i64() != 0)
    }

    /// Whether any element is true, as a Rust bool.
    pub(crate) fn any_true(&self) -> Result<bool> {
        let any = launch::reduce(launch::Reduction::Any, &self.core(), u64::MAX)?;
        Ok(any.get(&[]).is_some_and(|any| any.to_i64() != 0))
    }

    /// This where the mask holds, else a number.
    #[track_caller]
    pub(crate) fn or_else(&self, mask: &Self, number: f64) -> Result<Self> {
        let number = Self::from_scalar(Scalar::Float(number), self.dtype())?;
        mask.where_(self, &number)
    }

    /// `gather`: the elements at positions along a dimension.
    ///
    /// # Errors
    /// If the index is not int64, does not fit, or is out of range.
    #[track_caller]
    pub fn take_along(&self, dim: i64, index: &Self) -> Result<Self> {
        let dim = norm_dim(dim, self.ndim())?;
        ensure!(index.dtype() == DType::I64, runtime, "gather(): Expected dtype int64 for index");
        ensure!(
            index.ndim() == self.ndim() || self.ndim() == 0 || index.ndim() == 0,
            runtime,
            "Index tensor must have the same number of dimensions as input tensor"
        );
        take(self, dim, &index.shared_core())
    }

    /// The size along a dimension; 1 for a scalar.
    pub(crate) fn size_along(&self, dim: usize) -> usize {
        self.core().shape().get(dim).copied().unwrap_or(1)
    }

    /// Elements `start..end` of a dimension, as a view.
    #[track_caller]
    pub(crate) fn span(&self, dim: usize, start: usize, end: usize) -> Result<Self> {
        self.slice(dim as i64, start as i64, end as i64, 1)
    }
}

//! Reductions: sums, means, extremes and their gradients.

use smallvec::smallvec;

use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{attach, recording1};
use crate::launch::{self, Reduction};
use crate::ops::binary::Binary;
use crate::shape::{Dims, norm_dim};
use crate::tensor::{Tensor, default_dtype};

/// Which dimensions to reduce: none named means all.
pub(crate) fn dim_mask(dims: &[i64], ndim: usize) -> Result<u64> {
    ensure!(ndim <= 64, runtime, "tensors with more than 64 dimensions cannot be reduced");
    if dims.is_empty() {
        return Ok(if ndim == 64 { u64::MAX } else { (1 << ndim) - 1 });
    }
    let mut mask = 0u64;
    for &dim in dims {
        let dim = norm_dim(dim, ndim)?;
        ensure!(
            mask >> dim & 1 == 0,
            runtime,
            "dim {dim} appears multiple times in the list of dims"
        );
        mask |= 1 << dim;
    }
    Ok(if ndim == 0 { 0 } else { mask })
}

/// The shape with the reduced dimensions of size one.
pub(crate) fn kept_shape(shape: &[usize], mask: u64) -> Dims {
    shape.iter().enumerate().map(|(dim, &n)| if mask >> dim & 1 == 1 { 1 } else { n }).collect()
}

/// How many elements are reduced into each output.
pub(crate) fn reduced_count(shape: &[usize], mask: u64) -> usize {
    shape.iter().enumerate().filter(|&(dim, _)| mask >> dim & 1 == 1).map(|(_, &n)| n).product()
}

/// The sum, or with a factor the mean: the gradient is spread back.
struct Spread {
    name: &'static str,
    input: Dims,
    mask: u64,
    /// What each element's share is divided by.
    divisor: f64,
}

impl Rule for Spread {
    fn name(&self) -> &str {
        self.name
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        match name {
            "self_sym_sizes" => Some(SavedValue::Sizes(self.input.clone())),
            "self_sym_numel" if self.name.starts_with("Mean") => {
                Some(SavedValue::Int(self.input.iter().product::<usize>() as i64))
            }
            "dim" if self.name.ends_with('1') => Some(SavedValue::Dims(self.mask)),
            _ => None,
        }
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let grad = if self.divisor == 1.0 {
            grad.clone()
        } else {
            grad.binary_scalar(Binary::Div, Scalar::Float(self.divisor), false)?
        };
        let grad = if grad.ndim() == 0 {
            grad
        } else {
            grad.reshape_to(&kept_shape(&self.input, self.mask))?
        };
        Ok(smallvec![Some(grad.expand_to(&self.input)?)])
    }
}

impl Tensor {
    /// The sum of all elements.
    ///
    /// # Errors
    /// If memory is short.
    #[track_caller]
    pub fn sum_all(&self) -> Result<Self> {
        self.sum(&[], false, None)
    }

    /// The sum over some dimensions (all if none are named); integers sum to int64.
    ///
    /// # Errors
    /// If a dimension is out of range or named twice.
    #[track_caller]
    pub fn sum(&self, dims: &[i64], keepdim: bool, dtype: Option<DType>) -> Result<Self> {
        if let Some(dtype) = dtype {
            if dtype != self.dtype() {
                return self.to_dtype(dtype)?.sum(dims, keepdim, None);
            }
        }
        self.spread(Reduction::Sum, "SumBackward", dims, keepdim)
    }

    /// The mean over some dimensions (all if none are named).
    ///
    /// # Errors
    /// If a dimension is out of range or named twice, or the dtype is not floating point.
    #[track_caller]
    pub fn mean(&self, dims: &[i64], keepdim: bool, dtype: Option<DType>) -> Result<Self> {
        if let Some(dtype) = dtype {
            if dtype != self.dtype() {
                return self.to_dtype(dtype)?.mean(dims, keepdim, None);
            }
        }
        ensure!(
            self.dtype().is_float(),
            not_implemented,
            "mean(): could not infer output dtype. Input dtype must be either a floating point or \
             complex dtype. Got: {}",
            self.dtype().scalar_name()
        );
        self.spread(Reduction::Mean(0), "MeanBackward", dims, keepdim)
    }

    #[track_caller]
    fn spread(&self, what: Reduction, name: &str, dims: &[i64], keepdim: bool) -> Result<Self> {
        let core = self.core();
        let mask = dim_mask(dims, core.shape().len())?;
        let count = reduced_count(core.shape(), mask);
        let (what, divisor) = match what {
            Reduction::Mean(_) => (Reduction::Mean(count), count as f64),
            other => (other, 1.0),
        };
        let output = launch::reduce(what, &core, mask)?;
        let output = if keepdim {
            let kept = kept_shape(core.shape(), mask);
            let strides = crate::shape::contiguous_strides(&kept);
            output.into_layout(&kept, &strides)?
        } else {
            output
        };
        let output = Self::from_core(output);
        if recording1(self) && output.dtype().is_float() {
            let name = match (name, dims.is_empty() && !keepdim) {
                ("SumBackward", true) => "SumBackward0",
                ("SumBackward", false) => "SumBackward1",
                (_, true) => "MeanBackward0",
                (_, false) => "MeanBackward1",
            };
            let rule = Spread { name, input: Dims::from_slice(core.shape()), mask, divisor };
            attach(Op::rule(rule), &[self], &[], &[&output])?;
        }
        Ok(output)
    }

    /// Summed over the dimensions along which `shape` was broadcast to this tensor's.
    ///
    /// # Errors
    /// If `shape` does not broadcast to this tensor's.
    #[track_caller]
    pub fn sum_to_shape(&self, shape: &[usize]) -> Result<Self> {
        let core = self.core();
        if core.shape() == shape {
            return Ok(self.clone());
        }
        ensure!(
            crate::shape::is_expandable_to(shape, core.shape()),
            runtime,
            "size {} is not expandable to size {}.",
            crate::shape::shape_text(shape),
            crate::shape::shape_text(core.shape())
        );
        let lead = core.shape().len() - shape.len();
        let dims: Vec<i64> = (0..core.shape().len())
            .filter(|&dim| dim < lead || (shape[dim - lead] == 1 && core.shape()[dim] != 1))
            .map(|dim| dim as i64)
            .collect();
        let summed = if dims.is_empty() { self.clone() } else { self.sum(&dims, true, None)? };
        summed.reshape_to(shape)
    }

    /// The default floating dtype for integer inputs of floating operations.
    #[allow(dead_code, reason = "used by the families added on top")]
    pub(crate) fn as_float(&self) -> Result<Self> {
        if self.dtype().is_float() { Ok(self.clone()) } else { self.to_dtype(default_dtype()) }
    }
}

//! The greatest and the least: max, min, amax, amin, argmax, argmin.

use smallvec::smallvec;

use super::along::{Take, check_not_empty, keep, restore};
use super::binary::Binary;
use super::reduce::dim_mask;
use super::unary::Unary;
use super::{Cx, Op, Rule, SavedValue};
use crate::error::{Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording1};
pub use crate::kernels::reduce::Extreme;
use crate::launch::{self, Reduction};
use crate::shape::{Dims, norm_dim};
use crate::tensor::Tensor;

fn name(extreme: Extreme, max: &'static str, min: &'static str) -> &'static str {
    if extreme == Extreme::Max { max } else { min }
}

/// The gradient is shared evenly by the elements equal to the extreme.
struct Shared {
    name: &'static str,
    mask: u64,
    /// Whether NaN elements share where the extreme is NaN (torch: for `max()`, not for `amax`).
    nan: bool,
}

impl Rule for Shared {
    fn name(&self) -> &str {
        self.name
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "dim" && self.name.starts_with('A')).then_some(SavedValue::Dims(self.mask))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let (x, y) = (cx.saved(0)?.detach(), cx.saved(1)?.detach());
        let shape = x.shape();
        let y = restore(&y, &shape, self.mask)?;
        let mut hits = x.binary(Binary::Eq, &y, 1.0)?;
        if self.nan && y.apply_unary(Unary::IsNan)?.any_true()? {
            hits = x.apply_unary(Unary::IsNan)?;
        }
        let dims: Vec<i64> = (0..shape.len())
            .filter(|dim| self.mask >> dim & 1 == 1)
            .map(|dim| dim as i64)
            .collect();
        let hits = hits.to_dtype(grad.dtype())?;
        let count = if dims.is_empty() { hits.clone() } else { hits.sum(&dims, true, None)? };
        let share = hits.div(&count)?;
        Ok(smallvec![Some(restore(grad, &shape, self.mask)?.mul(&share)?)])
    }
}

impl Tensor {
    /// The greatest or least element; equal ones share the gradient.
    ///
    /// # Errors
    /// If there is none.
    #[track_caller]
    pub fn extreme_all(&self, extreme: Extreme) -> Result<Self> {
        ensure!(
            self.numel() > 0,
            runtime,
            "{}(): Expected reduction dim to be specified for input.numel() == 0. Specify the \
             reduction dim with the 'dim' argument.",
            name(extreme, "max", "min")
        );
        self.shared(extreme, name(extreme, "MaxBackward1", "MinBackward1"), &[], false, true)
    }

    /// `amax` or `amin`: the greatest or least over some dimensions (all if none are named); equal
    /// ones share the gradient.
    ///
    /// # Errors
    /// If a dimension is out of range, named twice, or empty.
    #[track_caller]
    pub fn amax(&self, extreme: Extreme, dims: &[i64], keepdim: bool) -> Result<Self> {
        let shape = self.shape();
        if shape.contains(&0) {
            let function = name(extreme, "amax", "amin");
            ensure!(
                !dims.is_empty(),
                runtime,
                "{function}(): Expected reduction dim to be specified for input.numel() == 0. \
                 Specify the reduction dim with the 'dim' argument."
            );
            for &dim in dims {
                check_not_empty(function, &shape, norm_dim(dim, shape.len())?)?;
            }
        }
        self.shared(extreme, name(extreme, "AmaxBackward0", "AminBackward0"), dims, keepdim, false)
    }

    /// Records one of this tensor's elements whose gradient is shared evenly by all that are equal to it.
    #[track_caller]
    pub(super) fn share_gradient(&self, name: &'static str, value: &Self) -> Result<()> {
        if value.dtype().is_float() && recording1(self) {
            let mask = dim_mask(&[], self.ndim())?;
            let rule = Shared { name, mask, nan: true };
            attach(Op::rule(rule), &[self], &[Save::Input(0), Save::Output(0)], &[value])?;
        }
        Ok(())
    }

    #[track_caller]
    fn shared(
        &self,
        extreme: Extreme,
        name: &'static str,
        dims: &[i64],
        keepdim: bool,
        nan: bool,
    ) -> Result<Self> {
        let core = self.core();
        let mask = dim_mask(dims, core.shape().len())?;
        let what = if extreme == Extreme::Max { Reduction::Max } else { Reduction::Min };
        let output = launch::reduce(what, &core, mask)?;
        let output = Self::from_core(keep(output, core.shape(), mask, keepdim)?);
        if output.dtype().is_float() && recording1(self) {
            let rule = Shared { name, mask, nan };
            attach(Op::rule(rule), &[self], &[Save::Input(0), Save::Output(0)], &[&output])?;
        }
        Ok(output)
    }

    /// The greatest or least along a dimension, and where it is; the gradient goes there.
    ///
    /// # Errors
    /// If the dimension is out of range or empty.
    #[track_caller]
    pub fn extreme(&self, extreme: Extreme, dim: i64, keepdim: bool) -> Result<(Self, Self)> {
        let core = self.core();
        let shape = core.shape();
        let dim = norm_dim(dim, shape.len())?;
        check_not_empty(name(extreme, "max", "min"), shape, dim)?;
        let mask = if shape.is_empty() { 0 } else { 1 << dim };
        let (values, indices) = launch::argreduce(extreme, &core, mask, true)?;
        let Some(values) = values else {
            return Err(crate::error::Error::runtime("the extreme has no values"));
        };
        let values = Self::from_core(keep(values, shape, mask, keepdim)?);
        let indices = Self::from_core(keep(indices, shape, mask, keepdim)?);
        if values.dtype().is_float() && recording1(self) {
            let rule = Take {
                name: name(extreme, "MaxBackward0", "MinBackward0"),
                dim,
                size: self.size_along(dim),
                squeezed: !keepdim,
                shape: Dims::from_slice(shape),
            };
            let saves = [Save::Private(&indices.shared_core())];
            attach(Op::rule(rule), &[self], &saves, &[&values])?;
        }
        Ok((values, indices))
    }

    /// Where the greatest or least element is: in the flattened tensor, or along a dimension.
    ///
    /// # Errors
    /// If the dimension is out of range, or there is nothing to choose from.
    pub fn arg_extreme(&self, extreme: Extreme, dim: Option<i64>, keepdim: bool) -> Result<Self> {
        let core = self.core();
        let shape = core.shape();
        let function = name(extreme, "argmax", "argmin");
        ensure!(
            self.dtype() != crate::DType::Bool,
            not_implemented,
            "\"{function}_cpu\" not implemented for 'Bool'"
        );
        let mask = match dim {
            Some(dim) => {
                let dim = norm_dim(dim, shape.len())?;
                check_not_empty(function, shape, dim)?;
                if shape.is_empty() { 0 } else { 1 << dim }
            }
            None => {
                ensure!(
                    core.numel() > 0,
                    index,
                    "{function}(): Expected reduction dim to be specified for input.numel() == 0. \
                     Specify the reduction dim with the 'dim' argument."
                );
                dim_mask(&[], shape.len())?
            }
        };
        let (_, indices) = launch::argreduce(extreme, &core, mask, false)?;
        Ok(Self::from_core(keep(indices, shape, mask, keepdim)?))
    }
}

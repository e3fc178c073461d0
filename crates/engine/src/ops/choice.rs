//! Choice by a condition, element by element.

use smallvec::smallvec;

use super::layout::map_ordered;
use super::{Cx, Op, Rule};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording};
use crate::launch::blocks::cast;

use crate::shape::broadcast;
use crate::tensor::Tensor;

/// `where`: the gradient goes to the side that was chosen.
struct Where;

impl Rule for Where {
    fn name(&self) -> &'static str {
        "WhereBackward0"
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None, None]) };
        let condition = cx.saved(0)?;
        let zero = Tensor::from_scalar(Scalar::Int(0), grad.dtype())?;
        let a = cx.needs(0).then(|| condition.where_(grad, &zero)).transpose()?;
        let b = cx.needs(1).then(|| condition.where_(&zero, grad)).transpose()?;
        Ok(smallvec![a, b])
    }
}

impl Tensor {
    /// `a` where this condition holds, else `b`; all three are broadcast.
    ///
    /// # Errors
    /// If the condition is not bool or uint8, or the shapes do not broadcast.
    #[track_caller]
    pub fn where_(&self, a: &Self, b: &Self) -> Result<Self> {
        ensure!(
            matches!(self.dtype(), DType::Bool | DType::U8),
            runtime,
            "where expected condition to be a boolean tensor, but got a tensor with dtype {}",
            self.dtype().scalar_name()
        );
        let dtype = Self::result_type(a, b);
        let (x, y) = (cast(&a.core(), dtype)?, cast(&b.core(), dtype)?);
        let condition = self.core();
        let wide = broadcast(&broadcast(condition.shape(), x.shape())?, y.shape())?;
        let block = super::binary::where_block(dtype.size());
        let core = map_ordered(block, &[0.0; 2], dtype, &wide, &[&condition, &x, &y])?;
        let output = Self::from_core(core);
        if dtype.is_float() && recording(&[a, b]) {
            attach(Op::rule(Where), &[a, b], &[Save::Private(&condition)], &[&output])?;
        }
        Ok(output)
    }
}

//! Interpolation with a number as weight, which saves nothing.

use smallvec::smallvec;

use super::binary::Binary;
use super::elementwise::apply;
use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::Scalar;
use crate::error::Result;
use crate::graph::hooks::GradList;
use crate::graph::{attach, recording};
use crate::tensor::Tensor;

struct Lerp(f64);

impl Rule for Lerp {
    fn name(&self) -> &'static str {
        "LerpBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "weight").then_some(SavedValue::Number(Scalar::Float(self.0)))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None, None]) };
        let part = |weight: f64| grad.binary_scalar(Binary::Mul, Scalar::Float(weight), false);
        Ok(smallvec![
            cx.needs(0).then(|| part(1.0 - self.0)).transpose()?,
            cx.needs(1).then(|| part(self.0)).transpose()?,
        ])
    }
}

impl Tensor {
    /// `self + weight (end - self)`.
    ///
    /// # Errors
    /// If the shapes do not broadcast, or the dtypes differ.
    #[track_caller]
    pub fn lerp(&self, end: &Self, weight: f64) -> Result<Self> {
        let number = Self::from_scalar(Scalar::Float(weight), self.dtype())?;
        if !recording(&[self, end]) {
            return apply(Binary::Lerp, &[self, end, &number], 1.0);
        }
        let output = apply(Binary::Lerp, &[&self.detach(), &end.detach(), &number], 1.0)?;
        attach(Op::rule(Lerp(weight)), &[self, end], &[], &[&output])?;
        Ok(output)
    }

    /// [`Self::lerp`] in place.
    ///
    /// # Errors
    /// As there, and as [`Self::inplace`].
    #[track_caller]
    pub fn lerp_(&self, end: &Self, weight: f64) -> Result<()> {
        if recording(&[self, end]) {
            self.check_overlap(end)?;
            return self.inplace("lerp_", |this| this.lerp(end, weight));
        }
        let number = Self::from_scalar(Scalar::Float(weight), self.dtype())?;
        self.apply_in_place("lerp_", Binary::Lerp, &[end, &number], 1.0)
    }
}

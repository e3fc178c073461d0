//! Where derivatives that are carried forward start.

use smallvec::smallvec;

use super::{Cx, Op, Rule};
use crate::error::Result;
use crate::graph::attach;
use crate::graph::hooks::GradList;
use crate::tensor::Tensor;

/// The value goes on with its own history; passes that find derivatives end at the seed instead.
struct Dual;

impl Rule for Dual {
    fn name(&self) -> &'static str {
        "DualBackward"
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let grad = grads[0].clone();
        Ok(if crate::graph::finds_tangents() {
            smallvec![None, grad]
        } else {
            smallvec![grad, None]
        })
    }
}

impl Tensor {
    /// This value, marked by a leaf that stands for the direction in which it moves. It shares memory,
    /// but is no view.
    ///
    /// # Errors
    /// If memory is short.
    #[track_caller]
    pub fn dual(&self, seed: &Self) -> Result<Self> {
        let core = self.core();
        let output = Self::from_core(core.view(core.shape(), core.strides(), core.offset())?);
        attach(Op::rule(Dual), &[self, seed], &[], &[&output])?;
        Ok(output)
    }
}

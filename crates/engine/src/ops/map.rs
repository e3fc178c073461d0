//! Linear functions of one tensor that are made of several operations, and one node all the same.

use smallvec::smallvec;

use super::{Cx, Op, Rule};
use crate::error::Result;
use crate::graph::hooks::GradList;
use crate::graph::{GradMode, attach, recording1};
use crate::tensor::Tensor;

type Transpose = Box<dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync>;

/// What a linear function's gradient is: another linear function of that of the result.
struct Linear {
    name: &'static str,
    transpose: Transpose,
}

impl Rule for Linear {
    fn name(&self) -> &'static str {
        self.name
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let grad = grads[0].as_ref().map(|grad| (self.transpose)(grad)).transpose()?;
        Ok(smallvec![grad])
    }
}

impl Tensor {
    /// What `forward` makes of this tensor's values, as one operation of that node name. The result must be
    /// no view of them, and linear in them; `transpose` gives the gradient by differentiable operations.
    #[track_caller]
    pub(super) fn linear_map(
        &self,
        name: &'static str,
        forward: impl FnOnce(&Self) -> Result<Self>,
        transpose: impl Fn(&Self) -> Result<Self> + Send + Sync + 'static,
    ) -> Result<Self> {
        if !recording1(self) || !self.dtype().is_float() {
            let made = forward(self)?;
            return Ok(if made.is_view() { Self::from_core(made.shared_core()) } else { made });
        }
        let made = {
            let _mode = GradMode::no_grad();
            forward(&self.detach())?
        };
        // A view that a step left over is no view of anything the user knows.
        let output = Self::from_core(made.shared_core());
        let rule = Linear { name, transpose: Box::new(transpose) };
        attach(Op::rule(rule), &[self], &[], &[&output])?;
        Ok(output)
    }
}

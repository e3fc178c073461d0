//! Results that count as differentiable, though no derivative is known: asking for one is an error.

use super::{Cx, Op, Rule};
use crate::error::{Error, Result};
use crate::graph::hooks::GradList;
use crate::graph::{attach, recording1};
use crate::tensor::Tensor;

struct Refused {
    node: &'static str,
    operation: &'static str,
}

impl Rule for Refused {
    fn name(&self) -> &str {
        self.node
    }
    fn vjp(&self, _: &Cx<'_>, _: &[Option<Tensor>]) -> Result<GradList> {
        Err(Error::not_implemented(format!(
            "the derivative for '{}' is not implemented.",
            self.operation
        )))
    }
}

/// Hangs a result on a node that refuses to run, if it would be differentiable.
#[track_caller]
pub(super) fn refuse(
    node: &'static str,
    operation: &'static str,
    input: &Tensor,
    output: &Tensor,
) -> Result<()> {
    if output.dtype().is_float() && recording1(input) {
        attach(Op::rule(Refused { node, operation }), &[input], &[], &[output])?;
    }
    Ok(())
}

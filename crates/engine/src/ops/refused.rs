//! Results that count as differentiable, though no derivative is known: asking for one is an error.

use super::{Cx, Op, Rule};
use crate::error::{Error, Result};
use crate::graph::hooks::GradList;
use crate::graph::{attach, recording, recording1};
use crate::tensor::Tensor;

struct Refused {
    node: &'static str,
    error: fn(&'static str) -> Error,
    operation: &'static str,
}

impl Rule for Refused {
    fn name(&self) -> &str {
        self.node
    }
    fn vjp(&self, _: &Cx<'_>, _: &[Option<Tensor>]) -> Result<GradList> {
        Err((self.error)(self.operation))
    }
}

fn unknown(operation: &str) -> Error {
    Error::not_implemented(format!("the derivative for '{operation}' is not implemented."))
}

fn only_once(operation: &str) -> Error {
    Error::runtime(format!("derivative for aten::{operation} is not implemented"))
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
        let rule = Refused { node, error: unknown, operation };
        attach(Op::rule(rule), &[input], &[], &[output])?;
    }
    Ok(())
}

/// The same for a gradient whose own derivative torch does not know either.
#[track_caller]
pub(super) fn refuse_twice(
    operation: &'static str,
    inputs: &[&Tensor],
    output: &Tensor,
) -> Result<()> {
    if recording(inputs) {
        let rule = Refused { node: "NotImplemented", error: only_once, operation };
        attach(Op::rule(rule), inputs, &[], &[output])?;
    }
    Ok(())
}

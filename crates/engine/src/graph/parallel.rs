//! The parallel executor over the same plan.

use super::backward::Pass;
use super::plan::Plan;
use crate::error::Result;
use crate::tensor::Tensor;

/// Whether the plan's work pays for waking other threads.
pub(super) fn pays(_plan: &Plan<'_>) -> bool {
    false
}

/// Runs a plan on the pool.
pub(super) fn run(
    plan: &mut Plan<'_>,
    pass: &mut Pass<'_>,
    grads: &mut [Option<Tensor>],
) -> Result<()> {
    super::serial::run(plan, pass, grads)
}

//! Steps of optimisers: a whole list of parameters in one call.

use smallvec::SmallVec;

pub use rustgrad_kernels::kernels::optim::Rule;

use crate::error::{Result, ensure};
use crate::graph::Site;
use crate::launch::{OptimiserItem, optimiser_step};
use crate::tensor::Tensor;

/// One parameter of a step.
pub struct Item<'a> {
    /// The formula and its numbers.
    pub rule: Rule,
    /// Whether to go up instead of down.
    pub maximize: bool,
    /// The parameter; it is written in place.
    pub parameter: &'a Tensor,
    /// Its gradient.
    pub gradient: &'a Tensor,
    /// The running tensors that the rule keeps, written in place.
    pub states: SmallVec<[&'a Tensor; 3]>,
}

/// Updates every parameter and its running tensors in place, in one pass over memory each and in
/// parallel where the work pays. Nothing is recorded.
///
/// # Errors
/// If shapes, dtypes or the number of running tensors do not fit, memory is read-only, or buffers
/// overlap that must not. Nothing has been written then.
#[track_caller]
pub fn step(items: &[Item<'_>]) -> Result<()> {
    let cores: Vec<OptimiserItem> = items
        .iter()
        .map(|item| {
            ensure!(
                !item.parameter.is_inference() || crate::graph::is_inference(),
                runtime,
                "Inplace update to inference tensor outside InferenceMode is not allowed."
            );
            Ok(OptimiserItem {
                rule: item.rule,
                maximize: item.maximize,
                parameter: item.parameter.shared_core(),
                gradient: item.gradient.shared_core(),
                states: item.states.iter().map(|state| state.shared_core()).collect(),
            })
        })
        .collect::<Result<_>>()?;
    optimiser_step(&cores, Site::here().0)
}

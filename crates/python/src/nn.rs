//! Layers and losses: one call of the engine each, for `nn.functional`.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "PyO3's expansion, which macro spans make look like ours"
)]

use pyo3::prelude::*;

use crate::gil::detached;
use crate::tensor::{Out, PyTensor, Wrapped};

/// `input @ weight.T + bias` over the last dimension.
#[pyfunction]
#[pyo3(signature = (input, weight, bias = None))]
fn linear(
    py: Python<'_>,
    input: &Bound<'_, PyTensor>,
    weight: &Bound<'_, PyTensor>,
    bias: Option<&Bound<'_, PyTensor>>,
) -> Out {
    let (input, weight) = (&input.get().tensor, &weight.get().tensor);
    let bias = bias.map(|bias| &bias.get().tensor);
    // Each element is read as often as there are columns: a product costs more than it moves.
    let bytes = (input.byte_hint() + weight.byte_hint()) * 4;
    Ok(Wrapped(detached(py, bytes, || input.linear(weight, bias))?))
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("_nn_linear", wrap_pyfunction!(linear, module)?)
}

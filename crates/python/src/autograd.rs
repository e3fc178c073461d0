//! Module-level autograd: backward, grad, grad modes, nodes.

use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustgrad_engine::Tensor;
use rustgrad_engine::graph::{Backward, NodeRef, Root, Target};

use crate::convert;
use crate::error::{Bind, BindError};
use crate::tensor::{PyTensor, Wrapped};

/// A node of the graph.
#[pyclass(frozen, weakref, name = "Node", module = "rustgrad.autograd.graph")]
pub(crate) struct PyNode {
    pub(crate) node: NodeRef,
}

/// A tensor or a sequence of tensors.
pub(crate) fn tensors(value: &Bound<'_, PyAny>) -> Bind<Vec<Tensor>> {
    if let Some(one) = convert::tensor(value) {
        return Ok(vec![one.clone()]);
    }
    let mut list = Vec::new();
    for item in value.try_iter()? {
        let item = item?;
        list.push(convert::tensor(&item).cloned().ok_or_else(|| {
            PyTypeError::new_err(format!("expected a Tensor, got {:?}", item.get_type()))
        })?);
    }
    Ok(list)
}

/// Runs a backward pass that adds to `.grad`.
pub(crate) fn backward(
    py: Python<'_>,
    tensors_: Vec<Tensor>,
    gradients: Vec<Option<Tensor>>,
    retain_graph: bool,
    create_graph: bool,
    inputs: Option<&Bound<'_, PyAny>>,
) -> Bind<()> {
    let inputs = match inputs.filter(|inputs| !inputs.is_none()) {
        None => None,
        Some(inputs) => {
            let list = tensors(inputs)?;
            if list.is_empty() {
                return Err(PyRuntimeError::new_err(
                    "`inputs` argument to `backward()` cannot be empty.",
                )
                .into());
            }
            Some(list)
        }
    };
    let roots: Vec<Root> = tensors_
        .iter()
        .zip(gradients)
        .map(|(tensor, gradient)| tensor.root(gradient))
        .collect::<rustgrad_engine::Result<_>>()?;
    let options = Backward { retain_graph, create_graph, serial: false };
    let bytes = tensors_.iter().map(Tensor::byte_hint).max().unwrap_or(0);
    crate::gil::detached(py, bytes, move || match inputs {
        None => options.run(roots),
        Some(inputs) => {
            let targets: Vec<Target> = inputs.iter().map(Tensor::target).collect();
            for (input, grad) in inputs.iter().zip(options.run_into(roots, &targets)?) {
                if let Some(grad) = grad.filter(|_| !input.is_leaf()) {
                    input.accumulate_grad(grad)?;
                }
            }
            Ok(())
        }
    })
}

/// The gradients of `outputs` with respect to `inputs`.
#[pyfunction]
#[pyo3(name = "_grad")]
fn grad(
    py: Python<'_>,
    outputs: Vec<Bound<'_, PyTensor>>,
    inputs: Vec<Bound<'_, PyTensor>>,
    grad_outputs: Vec<Option<Bound<'_, PyTensor>>>,
    retain_graph: bool,
    create_graph: bool,
    allow_unused: bool,
) -> Bind<Py<PyTuple>> {
    let roots: Vec<Root> = outputs
        .iter()
        .zip(grad_outputs)
        .map(|(output, grad)| output.get().tensor.root(grad.map(|g| g.get().tensor.clone())))
        .collect::<rustgrad_engine::Result<_>>()?;
    let mut targets = Vec::new();
    for input in &inputs {
        let target = input.get().tensor.target();
        if target.0.node.is_none() {
            return Err(PyRuntimeError::new_err(
                "One of the differentiated Tensors does not require grad",
            )
            .into());
        }
        targets.push(target);
    }
    let options = Backward { retain_graph, create_graph, serial: false };
    let bytes = outputs.iter().map(|output| output.get().tensor.byte_hint()).max().unwrap_or(0);
    let grads = crate::gil::detached(py, bytes, || options.grad(roots, &targets))?;
    let mut list: Vec<Option<Bound<'_, PyTensor>>> = Vec::with_capacity(grads.len());
    for grad in grads {
        if grad.is_none() && !allow_unused {
            return Err(PyRuntimeError::new_err(
                "One of the differentiated Tensors appears to not have been used in the graph. \
                 Set allow_unused=True if this is the desired behavior.",
            )
            .into());
        }
        list.push(match grad {
            Some(grad) => Some(Wrapped(grad).into_pyobject(py)?),
            None => None,
        });
    }
    Ok(PyTuple::new(py, list)?.unbind())
}

/// `backward` of several tensors.
#[pyfunction]
#[pyo3(name = "_backward")]
fn backward_many(
    py: Python<'_>,
    tensors: Vec<Bound<'_, PyTensor>>,
    gradients: Vec<Option<Bound<'_, PyTensor>>>,
    retain_graph: bool,
    create_graph: bool,
    inputs: Option<&Bound<'_, PyAny>>,
) -> Bind<()> {
    let tensors = tensors.iter().map(|tensor| tensor.get().tensor.clone()).collect();
    let gradients = gradients.into_iter().map(|g| g.map(|g| g.get().tensor.clone())).collect();
    backward(py, tensors, gradients, retain_graph, create_graph, inputs)
}

#[pyfunction]
fn is_grad_enabled() -> bool {
    rustgrad_engine::graph::is_grad_enabled()
}

/// Switches recording on this thread; returns what it was.
#[pyfunction]
fn _set_grad_enabled(mode: bool) -> bool {
    rustgrad_engine::graph::set_grad_enabled(mode)
}

#[pyfunction]
fn is_inference_mode_enabled() -> bool {
    rustgrad_engine::graph::is_inference()
}

#[pyfunction]
fn _set_inference_mode(mode: bool) -> bool {
    rustgrad_engine::graph::set_inference(mode)
}

/// The one Python object of a node while it lives.
#[allow(unsafe_code)]
pub(crate) fn node_object(py: Python<'_>, node: NodeRef) -> Bind<Py<PyAny>> {
    let known = node.foreign().load(Ordering::Relaxed).cast::<ffi::PyObject>();
    if !known.is_null() {
        // SAFETY: attached; the slot is cleared when its object is torn down, see `Drop`.
        unsafe {
            if ffi::Py_REFCNT(known) > 0 {
                return Ok(Bound::from_borrowed_ptr(py, known).unbind());
            }
        }
    }
    let object = Bound::new(py, PyNode { node })?;
    object.get().node.foreign().store(object.as_ptr().cast(), Ordering::Relaxed);
    Ok(object.into_any().unbind())
}

impl Drop for PyNode {
    fn drop(&mut self) {
        // The object is going: whoever asks next makes a new one.
        self.node.foreign().store(std::ptr::null_mut(), Ordering::Relaxed);
    }
}

#[pymethods]
impl PyNode {
    /// torch's class name of the node.
    fn name(&self) -> String {
        self.node.name().to_owned()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        format!("<{} object at {:#x}>", slf.get().node.name(), slf.as_ptr() as usize)
    }

    /// The nodes the gradient goes to, with the number of their output.
    #[getter]
    fn next_functions<'py>(&self, py: Python<'py>) -> Bind<Bound<'py, PyTuple>> {
        let mut list = Vec::new();
        for edge in self.node.edges() {
            let object = match &edge.node {
                Some(node) => Some(node_object(py, node.clone())?),
                None => None,
            };
            list.push((object, edge.out));
        }
        Ok(PyTuple::new(py, list)?)
    }

    /// The line of the program that made the node, as `file:line`.
    #[getter]
    fn site(&self) -> String {
        self.node.site().to_string()
    }

    /// The number of the node in the order of recording.
    fn _sequence_nr(&self) -> u64 {
        self.node.sequence_nr()
    }

    /// The leaf of an accumulator.
    #[getter]
    fn variable(&self) -> Bind<Wrapped> {
        match self.node.variable() {
            Some(leaf) => Ok(Wrapped(leaf)),
            None => Err(BindError::from(pyo3::exceptions::PyAttributeError::new_err(format!(
                "'{}' object has no attribute 'variable'",
                self.node.name()
            )))),
        }
    }
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyNode>()?;
    module.add_function(wrap_pyfunction!(grad, module)?)?;
    module.add_function(wrap_pyfunction!(backward_many, module)?)?;
    module.add_function(wrap_pyfunction!(is_grad_enabled, module)?)?;
    module.add_function(wrap_pyfunction!(_set_grad_enabled, module)?)?;
    module.add_function(wrap_pyfunction!(is_inference_mode_enabled, module)?)?;
    module.add_function(wrap_pyfunction!(_set_inference_mode, module)?)
}

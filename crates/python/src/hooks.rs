//! Python callables as the graph's hooks, and the handles that remove them.

use std::any::Any;
use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustgrad_engine::graph::NodeRef;
use rustgrad_engine::graph::hooks::{GradList, HookId, NodeHook, TensorHook};
use rustgrad_engine::{Result, Tensor, WeakTensor};

use crate::convert;
use crate::error::{Bind, to_engine};
use crate::gc::Counted;
use crate::node::PyNode;
use crate::tensor::{PyTensor, wrap};

/// A Python callable as a hook.
pub(crate) struct PyHook {
    pub(crate) callable: Py<PyAny>,
    _counted: Counted,
}

impl PyHook {
    fn new(callable: Py<PyAny>) -> Self {
        Self { callable, _counted: Counted::new() }
    }
}

/// What a hook returned: a tensor, or None to keep the gradient.
fn replacement(result: &Bound<'_, PyAny>, who: &str) -> PyResult<Option<Tensor>> {
    if result.is_none() {
        return Ok(None);
    }
    match convert::tensor(result) {
        Some(tensor) => Ok(Some(tensor.clone())),
        None => Err(PyTypeError::new_err(format!(
            "{who} should return a Tensor or None, not {}",
            result.get_type().name()?
        ))),
    }
}

impl TensorHook for PyHook {
    fn call(&self, grad: &Tensor) -> Result<Option<Tensor>> {
        Python::attach(|py| {
            let called = || -> PyResult<Option<Tensor>> {
                let result = self.callable.bind(py).call1((wrap(py, grad.clone())?,))?;
                replacement(&result, "a tensor hook")
            };
            called().map_err(to_engine)
        })
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Gradients as the tuple a hook of a node sees.
fn tuple<'py>(py: Python<'py>, grads: &GradList) -> PyResult<Bound<'py, PyTuple>> {
    let list = grads
        .iter()
        .map(|grad| grad.as_ref().map(|grad| wrap(py, grad.clone())).transpose())
        .collect::<PyResult<Vec<_>>>()?;
    PyTuple::new(py, list)
}

impl NodeHook for PyHook {
    fn call(&self, grads: &GradList, outputs: Option<&GradList>) -> Result<Option<GradList>> {
        Python::attach(|py| {
            let called = || -> PyResult<Option<GradList>> {
                let hook = self.callable.bind(py);
                let grads_in = tuple(py, grads)?;
                let result = match outputs {
                    Some(outputs) => hook.call1((grads_in, tuple(py, outputs)?))?,
                    None => hook.call1((grads_in,))?,
                };
                if result.is_none() {
                    return Ok(None);
                }
                if let Some(one) = convert::tensor(&result) {
                    return Ok(Some(smallvec::smallvec![Some(one.clone())]));
                }
                let mut list = GradList::new();
                for item in result.try_iter()? {
                    list.push(replacement(&item?, "a hook of a node")?);
                }
                if list.len() != grads.len() {
                    return Err(pyo3::exceptions::PyRuntimeError::new_err(format!(
                        "hook '{}' has returned an incorrect number of values (got {}, but \
                         expected {})",
                        hook.getattr("__name__").map_or_else(|_| "hook".into(), |n| n.to_string()),
                        list.len(),
                        grads.len()
                    )));
                }
                Ok(Some(list))
            };
            called().map_err(to_engine)
        })
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

enum Place {
    Tensor(WeakTensor),
    Node(NodeRef),
}

/// What a registration gives back; removes the hook.
#[pyclass(frozen, weakref, name = "RemovableHandle", module = "rustgrad.utils.hooks")]
pub(crate) struct PyHandle {
    #[pyo3(get)]
    id: HookId,
    place: Place,
}

#[pymethods]
impl PyHandle {
    /// Removes the hook; doing so again does nothing.
    fn remove(&self) {
        match &self.place {
            Place::Tensor(weak) => {
                if let Some(tensor) = weak.upgrade() {
                    tensor.remove_hook(self.id);
                }
            }
            Place::Node(node) => node.remove_hook(self.id),
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        _kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) {
        self.remove();
    }
}

fn handle(tensor: &Tensor, id: HookId) -> PyHandle {
    // A hook on a non-leaf sits on its node and outlives the tensor's object.
    let place = match tensor.grad_fn() {
        Some((node, _)) => Place::Node(node),
        None => Place::Tensor(tensor.downgrade()),
    };
    PyHandle { id, place }
}

#[pymethods]
impl PyTensor {
    /// Registers a function of the gradient, which may return another in its place.
    fn register_hook(&self, hook: Py<PyAny>) -> Bind<PyHandle> {
        let id = self.tensor.register_hook(Arc::new(PyHook::new(hook)))?;
        Ok(handle(&self.tensor, id))
    }

    /// Registers a function of the tensor that runs after its gradient was accumulated.
    fn register_post_accumulate_grad_hook(&self, hook: Py<PyAny>) -> Bind<PyHandle> {
        let id = self.tensor.register_post_accumulate_grad_hook(Arc::new(PyHook::new(hook)))?;
        Ok(handle(&self.tensor, id))
    }

    fn __traverse__(
        &self,
        visit: pyo3::PyVisit<'_>,
    ) -> std::result::Result<(), pyo3::PyTraverseError> {
        // Only what this object alone keeps alive may be reported.
        if self.is_made() {
            crate::gc::traverse(&self.tensor, &visit)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        if self.is_made() {
            self.tensor.clear_hooks();
            self.tensor.clear_history_if_alone();
        }
    }
}

#[pymethods]
impl PyNode {
    /// Registers a function of the gradients of inputs and outputs that runs after the node.
    fn register_hook(&self, hook: Py<PyAny>) -> Bind<PyHandle> {
        let node = self.node()?;
        let id = node.register_hook(Arc::new(PyHook::new(hook)));
        Ok(PyHandle { id, place: Place::Node(node) })
    }

    /// Registers a function of the gradients of the outputs that runs before the node.
    fn register_prehook(&self, hook: Py<PyAny>) -> Bind<PyHandle> {
        let node = self.node()?;
        let id = node.register_prehook(Arc::new(PyHook::new(hook)));
        Ok(PyHandle { id, place: Place::Node(node) })
    }
}

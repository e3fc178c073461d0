//! Python callables as the graph's hooks, and the handles that remove them.

use std::any::Any;
use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
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

/// What messages call a hook.
fn hook_name(hook: &Bound<'_, PyAny>) -> String {
    match hook.getattr("__name__") {
        Ok(name) => name.to_string(),
        Err(_) => hook.get_type().name().map_or_else(|_| "hook".into(), |name| name.to_string()),
    }
}

/// What a hook returned in place of a gradient, if that may stand for it.
fn replacement(
    hook: &Bound<'_, PyAny>,
    before: Option<&Tensor>,
    result: &Bound<'_, PyAny>,
) -> PyResult<Option<Tensor>> {
    if result.is_none() {
        return Ok(None);
    }
    let Some(after) = convert::tensor(result) else {
        return Err(PyTypeError::new_err(format!(
            "expected Variable, but hook returned '{}'",
            result.get_type().name()?
        )));
    };
    let Some(before) = before else {
        return Err(PyRuntimeError::new_err("can't replace a None gradient with a non-None value"));
    };
    if before.dtype() != after.dtype() {
        return Err(PyRuntimeError::new_err(format!(
            "hook '{}' has changed the type of value (was torch.{}Tensor got torch.{}Tensor)",
            hook_name(hook),
            before.dtype().scalar_name(),
            after.dtype().scalar_name()
        )));
    }
    if before.shape() != after.shape() {
        return Err(PyRuntimeError::new_err(format!(
            "hook '{}' has changed the size of value",
            hook_name(hook)
        )));
    }
    Ok(Some(after.clone()))
}

/// A gradient, or None, as a Python object.
fn object<'py>(py: Python<'py>, grad: Option<&Tensor>) -> PyResult<Bound<'py, PyAny>> {
    match grad {
        Some(grad) => Ok(wrap(py, grad.clone())?.into_any()),
        None => Ok(py.None().into_bound(py)),
    }
}

impl TensorHook for PyHook {
    fn call(&self, grad: Option<&Tensor>) -> Result<Option<Tensor>> {
        Python::attach(|py| {
            let called = || -> PyResult<Option<Tensor>> {
                let hook = self.callable.bind(py);
                replacement(hook, grad, &hook.call1((object(py, grad)?,))?)
            };
            called().map_err(to_engine)
        })
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A Python callable that runs after a gradient was accumulated, and gives nothing back.
struct PyPostHook(PyHook);

impl TensorHook for PyPostHook {
    fn call(&self, leaf: Option<&Tensor>) -> Result<Option<Tensor>> {
        Python::attach(|py| {
            let called = || -> PyResult<()> {
                let given = self.0.callable.bind(py).call1((object(py, leaf)?,))?;
                if given.is_none() {
                    return Ok(());
                }
                if convert::tensor(&given).is_none() {
                    return Err(PyTypeError::new_err(format!(
                        "expected Variable, but hook returned '{}'",
                        given.get_type().name()?
                    )));
                }
                Err(PyRuntimeError::new_err(
                    "Tensor post accumulate grad hooks should return None.",
                ))
            };
            called().map(|()| None).map_err(to_engine)
        })
    }
    fn as_any(&self) -> &dyn Any {
        &self.0
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
                let Ok(result) = result.cast::<PyTuple>() else {
                    return Err(PyTypeError::new_err(format!(
                        "expected tuple, but hook returned '{}'",
                        result.get_type().name()?
                    )));
                };
                if result.len() != grads.len() {
                    return Err(PyRuntimeError::new_err(format!(
                        "hook '{}' has returned an incorrect number of values (got {}, but \
                         expected {})",
                        hook_name(hook),
                        result.len(),
                        grads.len()
                    )));
                }
                let list = result
                    .iter()
                    .zip(grads)
                    .map(|(item, before)| replacement(hook, before.as_ref(), &item))
                    .collect::<PyResult<GradList>>()?;
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

/// Hooks as a dictionary, as torch keeps them.
fn registered<'py>(
    py: Python<'py>,
    hooks: &[(HookId, Arc<dyn TensorHook>)],
) -> Bind<Option<Bound<'py, PyDict>>> {
    if hooks.is_empty() {
        return Ok(None);
    }
    let dict = PyDict::new(py);
    for (id, hook) in hooks {
        if let Some(hook) = hook.as_any().downcast_ref::<PyHook>() {
            dict.set_item(id, &hook.callable)?;
        }
    }
    Ok(Some(dict))
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

    /// The functions registered on the gradient, by the ids of their handles; None if there are none.
    #[getter]
    fn _backward_hooks<'py>(&self, py: Python<'py>) -> Bind<Option<Bound<'py, PyDict>>> {
        registered(py, &self.tensor.gradient_hooks())
    }

    /// Accepts what torch's own code assigns: nothing, or an empty dictionary.
    #[setter(_backward_hooks)]
    fn set_backward_hooks(&self, hooks: &Bound<'_, PyAny>) -> Bind<()> {
        if hooks.is_none() || hooks.len()? == 0 {
            return Ok(());
        }
        Err(PyRuntimeError::new_err("hooks cannot be assigned; use register_hook").into())
    }

    #[deleter(_backward_hooks)]
    fn delete_backward_hooks(&self) -> Bind<()> {
        Err(PyRuntimeError::new_err("Deletion of _backwards_hooks not allowed!").into())
    }

    /// The functions that run after accumulation, by the ids of their handles; None if there are none.
    #[getter]
    fn _post_accumulate_grad_hooks<'py>(
        &self,
        py: Python<'py>,
    ) -> Bind<Option<Bound<'py, PyDict>>> {
        registered(py, &self.tensor.accumulation_hooks())
    }

    /// Registers a function of the tensor that runs after its gradient was accumulated.
    fn register_post_accumulate_grad_hook(&self, hook: Py<PyAny>) -> Bind<PyHandle> {
        let hook = PyPostHook(PyHook::new(hook));
        let id = self.tensor.register_post_accumulate_grad_hook(Arc::new(hook))?;
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

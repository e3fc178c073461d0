//! Saved tensors as Python sees them: hooks that pack and unpack, and the object behind
//! `_raw_saved_*`.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustgrad_engine::graph::{BeforeWrite, Node, NodeRef, Packed, SavedHooks};
use rustgrad_engine::{Result, Tensor};

use crate::convert;
use crate::error::{Bind, to_engine};
use crate::function::State;
use crate::gc::Counted;
use crate::tensor::wrap;

/// A pair of Python functions.
struct PySavedHooks {
    pack: Py<PyAny>,
    unpack: Py<PyAny>,
}

/// What a pack hook returned, with the function that makes a tensor of it again.
pub(crate) struct PyPacked {
    value: Py<PyAny>,
    unpack: Py<PyAny>,
    _counted: Counted,
}

impl PyPacked {
    pub(crate) fn traverse(
        &self,
        visit: &pyo3::PyVisit<'_>,
    ) -> std::result::Result<(), pyo3::PyTraverseError> {
        visit.call(&self.value)?;
        visit.call(&self.unpack)
    }
}

impl SavedHooks for PySavedHooks {
    fn pack(&self, tensor: &Tensor) -> Result<Arc<dyn Packed>> {
        Python::attach(|py| {
            let called = || -> PyResult<Arc<dyn Packed>> {
                let value = self.pack.bind(py).call1((wrap(py, tensor.clone())?,))?.unbind();
                let unpack = self.unpack.clone_ref(py);
                Ok(Arc::new(PyPacked { value, unpack, _counted: Counted::new() }))
            };
            called().map_err(to_engine)
        })
    }
}

impl Packed for PyPacked {
    fn unpack(&self) -> Result<Tensor> {
        Python::attach(|py| {
            let called = || -> PyResult<Tensor> {
                let result = self.unpack.bind(py).call1((self.value.bind(py),))?;
                match convert::tensor(&result) {
                    Some(tensor) => Ok(tensor.clone()),
                    None => Err(PyTypeError::new_err(format!(
                        "Output of saved tensor unpack_hook expected to be a Tensor but got result \
                         of type {}",
                        result.get_type().name()?
                    ))),
                }
            };
            called().map_err(to_engine)
        })
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Shows the collector what a hook packed, if it is a Python object that nobody else shares.
pub(crate) fn traverse_packed(
    packed: Option<Arc<dyn Packed>>,
    visit: &pyo3::PyVisit<'_>,
) -> std::result::Result<(), pyo3::PyTraverseError> {
    match packed.as_ref().and_then(|packed| packed.as_any().downcast_ref::<PyPacked>()) {
        Some(packed) => packed.traverse(visit),
        None => Ok(()),
    }
}

enum Owner {
    Node(NodeRef),
    Function(Arc<State>),
}

/// A tensor that a node saved; hooks may be set on it.
#[pyclass(frozen, name = "SavedTensor", module = "rustgrad.autograd")]
pub(crate) struct PySavedTensor {
    owner: Owner,
    place: Option<usize>,
}

impl PySavedTensor {
    pub(crate) fn of_node(node: NodeRef, place: Option<usize>) -> Self {
        Self { owner: Owner::Node(node), place }
    }

    pub(crate) fn of_function(state: Arc<State>, place: usize) -> Self {
        Self { owner: Owner::Function(state), place: Some(place) }
    }
}

impl PySavedTensor {
    fn packed(&self) -> Option<Arc<dyn Packed>> {
        match &self.owner {
            Owner::Node(node) => node.packed_at(self.place?),
            Owner::Function(state) => state.saved.lock().get(self.place?)?.as_ref()?.packed(),
        }
    }
}

#[pymethods]
impl PySavedTensor {
    #[new]
    fn new() -> Bind<Self> {
        Err(PyRuntimeError::new_err(
            "Trying to create a SavedTensor object from Python is forbidden.",
        )
        .into())
    }

    /// Packs the tensor now with `pack_hook`; `unpack_hook` is called when it is needed.
    #[pyo3(signature = (*hooks))]
    fn register_hooks(&self, hooks: &Bound<'_, PyTuple>) -> Bind<()> {
        let two = hooks.len() == 2 && hooks.iter().all(|hook| hook.is_callable());
        if !two {
            return Err(PyTypeError::new_err(
                "register_hooks(): incompatible function arguments. The following argument types \
                 are supported: (pack_hook: Callable, unpack_hook: Callable)",
            )
            .into());
        }
        let (pack_hook, unpack_hook) = (hooks.get_item(0)?.unbind(), hooks.get_item(1)?.unbind());
        let hooks = PySavedHooks { pack: pack_hook, unpack: unpack_hook };
        let absent = || {
            PyRuntimeError::new_err(
                "Calling register_hooks on a saved tensor with value None is forbidden.",
            )
        };
        if let (Owner::Node(node), None) = (&self.owner, self.place) {
            if node.is_released() {
                return Err(node.saved_after_release().into());
            }
        }
        let place = self.place.ok_or_else(absent)?;
        match &self.owner {
            Owner::Node(node) => Ok(node.pack_saved(place, &hooks)?),
            Owner::Function(state) => {
                if state.is_freed() {
                    return Err(PyRuntimeError::new_err(
                        "Calling register_hooks on a saved tensor after it has been freed. Saved \
                         intermediate values of the graph are freed when you call .backward() or \
                         autograd.grad(). Specify retain_graph=True if you need to backward \
                         through the graph a second time or if you need to access saved variables \
                         after calling backward.",
                    )
                    .into());
                }
                // The hook is foreign code: it must not run under the lock.
                let saved = state.saved.lock().get(place).cloned().flatten();
                let packed = saved.ok_or_else(absent)?.packed_with(&hooks)?;
                if let Some(slot) = state.saved.lock().get_mut(place) {
                    *slot = Some(Arc::new(packed));
                }
                Ok(())
            }
        }
    }

    /// The tensor again.
    fn unpack(&self, py: Python<'_>) -> Bind<Py<PyAny>> {
        let tensor = match &self.owner {
            Owner::Node(node) => {
                self.place.map(|place| Node::unpack_saved(node, place)).transpose()?
            }
            Owner::Function(state) => {
                let saved = self.place.and_then(|i| state.saved.lock().get(i).cloned().flatten());
                saved.map(|saved| saved.unpack(None)).transpose()?
            }
        };
        match tensor {
            Some(tensor) => Ok(wrap(py, tensor)?.into_any().unbind()),
            None => Ok(py.None()),
        }
    }

    /// What a hook packed, or the tensor where there is no hook.
    #[getter]
    fn data(&self, py: Python<'_>) -> Bind<Py<PyAny>> {
        let packed = self.packed();
        match packed.as_ref().and_then(|packed| packed.as_any().downcast_ref::<PyPacked>()) {
            Some(packed) => Ok(packed.value.clone_ref(py)),
            None => self.unpack(py),
        }
    }

    /// The hook that makes a tensor of what was packed, or None.
    #[getter]
    fn unpack_hook(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let packed = self.packed()?;
        Some(packed.as_any().downcast_ref::<PyPacked>()?.unpack.clone_ref(py))
    }
}

/// A Python function that is told of writes in place.
struct PyWatcher(Py<PyAny>);

impl BeforeWrite for PyWatcher {
    fn call(&self, target: &Tensor) -> Result<()> {
        Python::attach(|py| {
            let target = wrap(py, target.clone()).map_err(to_engine)?;
            self.0.call1(py, (target,)).map(drop).map_err(to_engine)
        })
    }
}

/// Has writes in place on this thread told to a function before they happen, or to nobody.
#[pyfunction]
#[pyo3(signature = (watcher))]
fn _watch_writes(watcher: Option<Py<PyAny>>) {
    let watcher = watcher.map(|watcher| Rc::new(PyWatcher(watcher)) as Rc<dyn BeforeWrite>);
    drop(rustgrad_engine::graph::watch_writes(watcher));
}

/// Makes two functions the hooks of this thread.
#[pyfunction]
fn _push_saved_hooks(pack: Py<PyAny>, unpack: Py<PyAny>) -> Bind<()> {
    Ok(rustgrad_engine::graph::push_saved_hooks(Arc::new(PySavedHooks { pack, unpack }))?)
}

/// Takes the last hooks of this thread away.
#[pyfunction]
fn _pop_saved_hooks() {
    drop(rustgrad_engine::graph::pop_saved_hooks());
}

/// How many hooks are active on this thread.
#[pyfunction]
fn _saved_hooks_depth() -> usize {
    rustgrad_engine::graph::saved_hooks_depth()
}

/// Refuses hooks with this text, or allows them; returns what was.
#[pyfunction]
#[pyo3(signature = (message))]
fn _disable_saved_hooks(message: Option<String>) -> Option<String> {
    rustgrad_engine::graph::disable_saved_hooks(message)
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PySavedTensor>()?;
    module.add_function(wrap_pyfunction!(_push_saved_hooks, module)?)?;
    module.add_function(wrap_pyfunction!(_watch_writes, module)?)?;
    module.add_function(wrap_pyfunction!(_pop_saved_hooks, module)?)?;
    module.add_function(wrap_pyfunction!(_saved_hooks_depth, module)?)?;
    module.add_function(wrap_pyfunction!(_disable_saved_hooks, module)?)
}

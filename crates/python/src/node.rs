//! Nodes of the graph as Python objects: one per node while it lives, of a class named like torch's.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyFloat, PyInt, PyTuple, PyType};
use rustgrad_engine::graph::{Node, NodeRef, WeakNode};
use rustgrad_engine::ops::SavedValue;

use crate::error::{Bind, BindError};
use crate::function::PyRule;
use crate::saved::PySavedTensor;
use crate::tensor::Wrapped;

enum Handle {
    /// The object keeps its node alive.
    Strong(NodeRef),
    /// The node keeps the object alive (contexts of custom functions).
    Weak(WeakNode),
}

/// A node of the graph.
#[pyclass(frozen, weakref, subclass, name = "Node", module = "rustgrad.autograd.graph")]
pub(crate) struct PyNode {
    handle: OnceLock<Handle>,
}

thread_local! {
    /// The node whose object is being made.
    static PENDING: RefCell<Option<NodeRef>> = const { RefCell::new(None) };
}

/// The classes of nodes, by name.
static CLASSES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let classes = CLASSES.get_or_init(py, || PyDict::new(py).unbind()).bind(py);
    if let Some(class) = classes.get_item(name)? {
        return Ok(class);
    }
    let body = PyDict::new(py);
    body.set_item("__slots__", PyTuple::empty(py))?;
    body.set_item("__module__", "builtins")?;
    let bases = PyTuple::new(py, [py.get_type::<PyNode>()])?;
    let class = py.get_type::<PyType>().call1((name, bases, body))?;
    classes.set_item(name, &class)?;
    Ok(class)
}

/// The one Python object of a node while it lives.
pub(crate) fn node_object(py: Python<'_>, node: NodeRef) -> Bind<Py<PyAny>> {
    if let Some(rule) = node.foreign_rule().and_then(|rule| rule.downcast_ref::<PyRule>()) {
        return Ok(rule.context.clone_ref(py));
    }
    let known = node.foreign().load(Ordering::Relaxed).cast::<ffi::PyObject>();
    if !known.is_null() {
        // SAFETY: attached; the slot is cleared when its object is torn down, see `Drop`.
        unsafe {
            if ffi::Py_REFCNT(known) > 0 {
                return Ok(Bound::from_borrowed_ptr(py, known).unbind());
            }
        }
    }
    let class = class(py, node.name())?;
    PENDING.set(Some(node.clone()));
    let object = class.call0();
    PENDING.set(None);
    let object = object?;
    node.foreign().store(object.as_ptr().cast(), Ordering::Relaxed);
    Ok(object.unbind())
}

impl Drop for PyNode {
    fn drop(&mut self) {
        if let Some(Handle::Strong(node)) = self.handle.get() {
            // The object is going: whoever asks next makes a new one.
            node.foreign().store(std::ptr::null_mut(), Ordering::Relaxed);
        }
    }
}

impl PyNode {
    /// The object of a custom function that has no node yet.
    pub(crate) fn unbound() -> Self {
        Self { handle: OnceLock::new() }
    }

    /// Gives the object of a custom function its node.
    pub(crate) fn bind(&self, node: &NodeRef) {
        let _ = self.handle.set(Handle::Weak(node.downgrade()));
    }

    /// The node, if there is one and it is alive.
    pub(crate) fn node_if(&self) -> Option<NodeRef> {
        match self.handle.get()? {
            Handle::Strong(node) => Some(node.clone()),
            Handle::Weak(weak) => weak.upgrade(),
        }
    }

    /// The node.
    pub(crate) fn node(&self) -> Bind<NodeRef> {
        self.node_if().ok_or_else(|| {
            PyRuntimeError::new_err(
                "this context of a custom function has no node in the graph: nothing was recorded, \
                 or the node is gone",
            )
            .into()
        })
    }
}

/// Each saved tensor or number of a node under its attribute's name.
fn saved_attribute(slf: &Bound<'_, PyNode>, name: &str) -> Bind<Option<Py<PyAny>>> {
    let py = slf.py();
    let (raw, field) = match (name.strip_prefix("_saved_"), name.strip_prefix("_raw_saved_")) {
        (Some(field), _) => (false, field),
        (_, Some(field)) => (true, field),
        _ => return Ok(None),
    };
    let Some(node) = slf.get().node_if() else { return Ok(None) };
    if node.is_released() {
        return Err(PyRuntimeError::new_err(format!(
            "{}\n  {} was recorded at {}",
            crate::function::FREED,
            node.name(),
            node.site()
        ))
        .into());
    }
    let Some(value) = node.saved_value(field) else { return Ok(None) };
    if raw {
        let place = if let SavedValue::Place(place) = value { Some(place) } else { None };
        return Ok(Some(Py::new(py, PySavedTensor::of_node(node, place))?.into_any()));
    }
    Ok(Some(match value {
        SavedValue::Absent => py.None(),
        SavedValue::Place(place) => {
            let tensor = Node::unpack_saved(&node, place)?;
            Wrapped(tensor).into_pyobject(py)?.into_any().unbind()
        }
        SavedValue::Number(number) if field == "other" => {
            Wrapped(node.number_tensor(number)?).into_pyobject(py)?.into_any().unbind()
        }
        SavedValue::Number(number) => {
            let x = number.to_f64();
            if x.fract() == 0.0 && x.abs() < 9e15 {
                PyInt::new(py, x as i64).into_any().unbind()
            } else {
                PyFloat::new(py, x).into_any().unbind()
            }
        }
    }))
}

#[pymethods]
impl PyNode {
    #[new]
    fn new() -> PyResult<Self> {
        match PENDING.take() {
            Some(node) => Ok(Self { handle: OnceLock::from(Handle::Strong(node)) }),
            None => Err(PyTypeError::new_err("cannot create 'Node' instances")),
        }
    }

    /// torch's class name of the node.
    fn name(slf: &Bound<'_, Self>) -> PyResult<String> {
        match slf.get().node_if() {
            // The names of classes that torch does not generate are qualified.
            Some(node) => Ok(match node.name() {
                name @ ("AccumulateGrad" | "CopySlices" | "Error") => {
                    format!("torch::autograd::{name}")
                }
                name => name.to_owned(),
            }),
            None => Ok(slf.get_type().name()?.to_string()),
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let class = slf.get_type();
        let module: String = class.getattr("__module__")?.extract()?;
        let module = if module == "builtins" { String::new() } else { format!("{module}.") };
        Ok(format!("<{module}{} object at {:#x}>", class.name()?, slf.as_ptr() as usize))
    }

    fn __getattr__(slf: &Bound<'_, Self>, name: &str) -> Bind<Py<PyAny>> {
        match saved_attribute(slf, name)? {
            Some(value) => Ok(value),
            None => Err(PyAttributeError::new_err(format!(
                "'{}' object has no attribute '{name}'",
                slf.get_type().name()?
            ))
            .into()),
        }
    }

    /// The nodes the gradient goes to, with the number of their output.
    #[getter]
    fn next_functions<'py>(&self, py: Python<'py>) -> Bind<Bound<'py, PyTuple>> {
        let mut list = Vec::new();
        for edge in self.node()?.edges() {
            let object = match &edge.node {
                Some(node) => Some(node_object(py, node.clone())?),
                None => None,
            };
            list.push((object, edge.out));
        }
        Ok(PyTuple::new(py, list)?)
    }

    /// A dictionary for whatever the user wants to keep with the node.
    #[getter]
    fn metadata(&self, py: Python<'_>) -> Bind<Py<PyDict>> {
        let node = self.node()?;
        let note = node.note().get_or_init(|| Box::new(PyDict::new(py).unbind()));
        match note.downcast_ref::<Py<PyDict>>() {
            Some(dict) => Ok(dict.clone_ref(py)),
            None => Err(PyRuntimeError::new_err("the node's metadata is taken").into()),
        }
    }

    /// Shapes and dtypes of the outputs.
    #[getter]
    fn _input_metadata<'py>(&self, py: Python<'py>) -> Bind<Bound<'py, PyTuple>> {
        let node = self.node()?;
        let mut list = Vec::new();
        for out in 0..node.num_outputs() {
            let (shape, dtype) = node.output(out as u32);
            list.push((PyTuple::new(py, shape.iter())?, crate::dtype::object(py, dtype)?));
        }
        Ok(PyTuple::new(py, list)?)
    }

    /// The line of the program that made the node, as `file:line`.
    #[getter]
    fn site(&self) -> Bind<String> {
        Ok(self.node()?.site().to_string())
    }

    /// The number of the node in the order of recording.
    fn _sequence_nr(&self) -> Bind<u64> {
        Ok(self.node()?.sequence_nr())
    }

    /// The leaf of an accumulator.
    #[getter]
    fn variable(&self) -> Bind<Wrapped> {
        let node = self.node()?;
        match node.variable() {
            Some(leaf) => Ok(Wrapped(leaf)),
            None => Err(BindError::from(PyAttributeError::new_err(format!(
                "'{}' object has no attribute 'variable'",
                node.name()
            )))),
        }
    }
}

/// Adds the class to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyNode>()
}

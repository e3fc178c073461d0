//! Nodes of the graph as Python objects: one per node while it lives, of a class named like torch's.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyString, PyTuple, PyType};
use rustgrad_engine::graph::hooks::GradList;
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

    /// Whether the object is a context that never got a node.
    fn is_unbound(&self) -> bool {
        self.handle.get().is_none()
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

/// Whether a saved value goes when the node is released: tensors, and numbers that torch keeps as one.
fn needs_saved(value: &SavedValue, field: &str, class: &str) -> bool {
    match value {
        SavedValue::Place(_) | SavedValue::Places(_) | SavedValue::Absent => true,
        SavedValue::Number(_) => field == "other" && class != "LerpBackward0",
        _ => false,
    }
}

/// A saved value that is no tensor.
fn plain_attribute(py: Python<'_>, value: SavedValue) -> PyResult<Py<PyAny>> {
    Ok(match value {
        // As torch does: whole numbers are shown without their sign.
        SavedValue::Int(n) => PyInt::new(py, n as u64).into_any().unbind(),
        SavedValue::Sizes(sizes) => PyTuple::new(py, sizes.iter())?.into_any().unbind(),
        SavedValue::Dims(mask) => {
            let dims = (0..64u32).filter(|dim| mask >> dim & 1 == 1);
            PyTuple::new(py, dims.collect::<Vec<_>>())?.into_any().unbind()
        }
        SavedValue::Bool(on) => PyBool::new(py, on).to_owned().into_any().unbind(),
        SavedValue::Text(text) => PyString::new(py, text).into_any().unbind(),
        SavedValue::Number(number) => {
            let x = number.to_f64();
            if x.fract() == 0.0 && x.abs() < 9e15 {
                PyInt::new(py, x as i64).into_any().unbind()
            } else {
                PyFloat::new(py, x).into_any().unbind()
            }
        }
        _ => py.None(),
    })
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
    let value = match node.saved_value(field) {
        // What is no tensor stays.
        Some(value) if !raw && !needs_saved(&value, field, node.name()) => {
            return Ok(Some(plain_attribute(py, value)?));
        }
        value => value,
    };
    if node.is_released() && !(raw && value.is_some()) {
        return Err(PyRuntimeError::new_err(format!(
            "{}\n  {} was recorded at {}",
            crate::function::FREED,
            node.name(),
            node.site()
        ))
        .into());
    }
    let Some(value) = value else { return Ok(None) };
    let unpack = |place| -> Bind<Py<PyAny>> {
        let tensor = Node::unpack_saved(&node, place)?;
        Ok(Wrapped(tensor).into_pyobject(py)?.into_any().unbind())
    };
    if raw {
        let one = |place| Py::new(py, PySavedTensor::of_node(node.clone(), place));
        return Ok(match value {
            SavedValue::Place(place) => Some(one(Some(place))?.into_any()),
            SavedValue::Absent | SavedValue::Number(_) => Some(one(None)?.into_any()),
            SavedValue::Places(places) => {
                let list = places.into_iter().map(one).collect::<PyResult<Vec<_>>>()?;
                Some(PyTuple::new(py, list)?.into_any().unbind())
            }
            _ => None,
        });
    }
    Ok(Some(match value {
        SavedValue::Place(place) => unpack(place)?,
        SavedValue::Places(places) => {
            let list: Vec<Option<Py<PyAny>>> = places
                .into_iter()
                .map(|place| place.map(unpack).transpose())
                .collect::<Bind<_>>()?;
            PyTuple::new(py, list)?.into_any().unbind()
        }
        SavedValue::Number(number) => {
            Wrapped(node.number_tensor(number)?).into_pyobject(py)?.into_any().unbind()
        }
        value => plain_attribute(py, value)?,
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
        // A context that was never bound is no part of a graph.
        let node = if self.is_unbound() { None } else { Some(self.node()?) };
        for edge in node.iter().flat_map(|node| node.edges()) {
            let object = match &edge.node {
                Some(node) => Some(node_object(py, node.clone())?),
                None => None,
            };
            list.push((object, edge.out));
        }
        // Numbers that torch counts as inputs.
        list.resize_with(node.map_or(0, |node| node.num_inputs()), || (None, 0));
        Ok(PyTuple::new(py, list)?)
    }

    /// A dictionary for whatever the user wants to keep with the node.
    #[getter]
    fn metadata(&self, py: Python<'_>) -> Bind<Py<PyDict>> {
        if self.is_unbound() {
            return Ok(PyDict::new(py).unbind());
        }
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
        if self.is_unbound() {
            return Ok(PyTuple::empty(py));
        }
        let node = self.node()?;
        let mut list = Vec::new();
        for out in 0..node.num_outputs() {
            let (shape, dtype) = node.output(out as u32);
            list.push(Py::new(py, PyOutput { shape: shape.to_vec(), dtype })?);
        }
        Ok(PyTuple::new(py, list)?)
    }

    /// Runs the derivative rule on gradients of the outputs.
    #[pyo3(signature = (*grads))]
    fn __call__(slf: &Bound<'_, Self>, grads: &Bound<'_, PyTuple>) -> Bind<Py<PyAny>> {
        let py = slf.py();
        if slf.is_instance_of::<crate::function::PyFunction>() {
            return Err(PyTypeError::new_err(format!(
                "'{}' object is not callable",
                slf.get_type().name()?
            ))
            .into());
        }
        let node = slf.get().node()?;
        let (given, expected) = (grads.len(), node.num_outputs());
        if given != expected {
            return Err(PyTypeError::new_err(format!(
                "expected {expected} arguments, got {given} instead"
            ))
            .into());
        }
        let mut list = GradList::new();
        for (i, grad) in grads.iter().enumerate() {
            list.push(match crate::convert::tensor(&grad) {
                Some(grad) => Some(grad.clone()),
                None if grad.is_none() => None,
                None => {
                    return Err(
                        PyTypeError::new_err(format!("argument {i} is not a Variable")).into()
                    );
                }
            });
        }
        let results = rustgrad_engine::ops::run_alone(&node, list)?;
        let mut out: Vec<Option<Bound<'_, PyAny>>> = Vec::new();
        for result in results {
            out.push(match result {
                Some(grad) => Some(Wrapped(grad).into_pyobject(py)?.into_any()),
                None => None,
            });
        }
        if out.len() == 1 {
            return Ok(out.pop().flatten().map_or_else(|| py.None(), Bound::unbind));
        }
        Ok(PyTuple::new(py, out)?.into_any().unbind())
    }

    /// Nodes are part of a graph because something needs a gradient.
    #[getter]
    fn requires_grad(&self) -> bool {
        true
    }

    fn __dir__<'py>(slf: &Bound<'py, Self>) -> Bind<Bound<'py, PyAny>> {
        let py = slf.py();
        let object = py.import("builtins")?.getattr("object")?;
        let names = object.getattr("__dir__")?.call1((slf,))?;
        let node = slf.get().node_if();
        for name in node.iter().flat_map(|node| node.saved_names()) {
            names.call_method1("append", (format!("_saved_{name}"),))?;
        }
        if node.is_some_and(|node| node.variable().is_none()) {
            names.call_method1("remove", ("variable",))?;
        }
        Ok(names)
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        match self.handle.get() {
            Some(Handle::Strong(node)) => crate::gc::traverse_node(node, &visit),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        if let Some(Handle::Strong(node)) = self.handle.get() {
            if node.handles() == 1 {
                node.clear_hooks();
            }
        }
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

    /// Gives the node another number in the order of recording; a pass runs higher numbers first,
    /// as far as the graph allows.
    fn _set_sequence_nr(&self, sequence_nr: u64) -> Bind<()> {
        if self.is_unbound() {
            return Ok(());
        }
        self.node()?.set_sequence_nr(sequence_nr);
        Ok(())
    }

    /// The node that wrote into a view of the base whose node this is; None once it is released.
    #[getter]
    fn _wrapped_node(slf: &Bound<'_, Self>) -> Bind<Option<Py<PyAny>>> {
        let node = slf.get().node()?;
        match node.wrapped() {
            Some(_) if node.is_released() => Ok(None),
            Some(inner) => Ok(Some(node_object(slf.py(), inner)?)),
            None => Err(BindError::from(PyAttributeError::new_err(format!(
                "'{}' object has no attribute '_wrapped_node'",
                node.name()
            )))),
        }
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

/// What is known of one output of a node.
#[pyclass(frozen, name = "_InputMetadata", module = "rustgrad.autograd")]
struct PyOutput {
    shape: Vec<usize>,
    dtype: rustgrad_engine::DType,
}

#[pymethods]
impl PyOutput {
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        crate::size::size(py, &self.shape)
    }

    #[getter]
    fn dtype<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, crate::dtype::PyDType>> {
        crate::dtype::object(py, self.dtype)
    }

    #[getter]
    fn device<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("rustgrad")?.getattr("device")?.call1(("cpu",))
    }

    #[getter]
    fn is_nested_tensor(&self) -> bool {
        false
    }

    #[getter]
    fn is_cpp_nested_tensor(&self) -> bool {
        false
    }
}

/// Adds the classes to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyOutput>()?;
    module.add_class::<PyNode>()
}

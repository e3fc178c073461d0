//! Module-level autograd: backward, grad, grad modes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use rustgrad_engine::Tensor;
use rustgrad_engine::graph::{Backward, Edge, Root, Target, ThreadModes};

use crate::convert;
use crate::error::{Bind, to_engine};
use crate::node::PyNode;
use crate::tensor::{PyTensor, Wrapped};

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

/// A place in the graph from Python: a tensor, or a node and the number of its output.
pub(crate) enum Place {
    Tensor(Tensor),
    Edge(Edge),
}

impl Place {
    fn of(value: &Bound<'_, PyAny>) -> Bind<Self> {
        if let Some(tensor) = convert::tensor(value) {
            return Ok(Self::Tensor(tensor.clone()));
        }
        if let Ok((node, out)) = value.extract::<(Bound<'_, PyNode>, u32)>() {
            let node = node.get().node()?;
            if out as usize >= node.num_outputs() {
                return Err(PyRuntimeError::new_err(format!(
                    "{} has {} outputs, there is no output {out}",
                    node.name(),
                    node.num_outputs()
                ))
                .into());
            }
            return Ok(Self::Edge(Edge { node: Some(node), out }));
        }
        Err(PyTypeError::new_err(format!(
            "expected a Tensor or a GradientEdge, got {:?}",
            value.get_type()
        ))
        .into())
    }

    fn list(values: &[Bound<'_, PyAny>]) -> Bind<Vec<Self>> {
        values.iter().map(Self::of).collect()
    }

    /// Places whose gradients are wanted.
    fn inputs(values: &[Bound<'_, PyAny>]) -> Bind<Vec<Self>> {
        let one = |value: &Bound<'_, PyAny>| {
            let known = convert::tensor(value).is_some() || value.is_instance_of::<PyTuple>();
            if known {
                return Self::of(value);
            }
            Err(PyRuntimeError::new_err(format!(
                "all inputs have to be Tensors or GradientEdges, but got {}",
                value.get_type().name()?
            ))
            .into())
        };
        values.iter().map(one).collect()
    }

    /// Root `number` of a pass.
    fn root(&self, grad: Option<Tensor>, number: usize) -> rustgrad_engine::Result<Root> {
        match self {
            Self::Tensor(tensor) => tensor.root(grad, number),
            Self::Edge(edge) => Root::at(edge.clone(), grad, number),
        }
    }

    fn target(&self) -> rustgrad_engine::Result<Target> {
        match self {
            Self::Tensor(tensor) => tensor.target(),
            Self::Edge(edge) => Ok(Target(edge.clone())),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Tensor(tensor) => tensor.byte_hint(),
            Self::Edge(_) => 0,
        }
    }
}

/// Passes nested deeper than this go on in another thread, which has a stack of its own.
const DEEP: usize = 48;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// What is to be called when each of the passes running on this thread ends, the innermost last.
    static CALLBACKS: RefCell<Vec<VecDeque<Py<PyAny>>>> = const { RefCell::new(Vec::new()) };
}

/// Runs a pass, then, unless it failed, what was queued to be called at its end.
fn with_callbacks<T>(
    pass: impl FnOnce() -> rustgrad_engine::Result<T>,
) -> rustgrad_engine::Result<T> {
    struct Queue;
    impl Drop for Queue {
        fn drop(&mut self) {
            let left = CALLBACKS.with_borrow_mut(Vec::pop);
            if left.as_ref().is_some_and(|left| !left.is_empty()) {
                Python::attach(|_| drop(left));
            }
        }
    }
    CALLBACKS.with_borrow_mut(|queues| queues.push(VecDeque::new()));
    let _queue = Queue;
    let result = pass()?;
    loop {
        let next =
            CALLBACKS.with_borrow_mut(|queues| queues.last_mut().and_then(VecDeque::pop_front));
        let Some(next) = next else { return Ok(result) };
        Python::attach(|py| next.call0(py).map(drop).map_err(to_engine))?;
    }
}

/// Has a function called when the pass running on this thread ends.
#[pyfunction]
fn _queue_callback(callback: Py<PyAny>) -> Bind<()> {
    let queued = CALLBACKS.with_borrow_mut(|queues| match queues.last_mut() {
        Some(queue) => {
            queue.push_back(callback);
            true
        }
        None => false,
    });
    if queued {
        return Ok(());
    }
    Err(PyRuntimeError::new_err("Final callbacks can only be installed during backward pass.")
        .into())
}

/// Whether the warning of `create_graph` was given, and whether it is to be given every time.
static WARNED: AtomicBool = AtomicBool::new(false);
static WARN_ALWAYS: AtomicBool = AtomicBool::new(false);

/// Gives warnings that are given once per process every time, or not.
#[pyfunction]
fn set_warn_always(b: bool) {
    WARN_ALWAYS.store(b, Ordering::Relaxed);
}

/// Whether warnings that are given once per process are given every time.
#[pyfunction]
fn is_warn_always_enabled() -> bool {
    WARN_ALWAYS.load(Ordering::Relaxed)
}

fn warn_of_cycle(py: Python<'_>) -> PyResult<()> {
    if WARNED.swap(true, Ordering::Relaxed) && !WARN_ALWAYS.load(Ordering::Relaxed) {
        return Ok(());
    }
    crate::function::warn(
        py,
        "Using backward() with create_graph=True will create a reference cycle between the \
         parameter and its gradient which can cause a memory leak. We recommend using autograd.grad \
         when creating the graph to avoid this. If you have to use this function, make sure to \
         reset the .grad fields of your parameters to None after use to break the cycle and avoid \
         the leak.",
    )
}

/// Runs a pass, counting how deep passes are nested on this thread.
fn nested<T: Send>(
    py: Python<'_>,
    bytes: usize,
    pass: impl FnOnce() -> rustgrad_engine::Result<T> + Send,
) -> Bind<T> {
    struct Level;
    impl Drop for Level {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - 1);
        }
    }
    DEPTH.set(DEPTH.get() + 1);
    let _level = Level;
    let pass = move || with_callbacks(pass);
    if DEPTH.get() <= DEEP {
        return crate::gil::detached(py, bytes, pass);
    }
    let modes = ThreadModes::here();
    let result = py.detach(|| {
        std::thread::scope(|scope| {
            let run = move || {
                Python::attach(|_| {
                    modes.apply();
                    pass()
                })
            };
            let thread = std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, run);
            thread.map(std::thread::ScopedJoinHandle::join)
        })
    });
    match result {
        Ok(Ok(result)) => Ok(result?),
        Ok(Err(_)) => Err(PyRuntimeError::new_err("a nested backward pass panicked").into()),
        Err(error) => Err(PyRuntimeError::new_err(format!(
            "backward passes are nested too deep, and there is no thread to go on: {error}"
        ))
        .into()),
    }
}

/// Runs a pass and tells, under anomaly detection, which line it failed at.
fn watched<T>(py: Python<'_>, result: Bind<T>) -> Bind<T> {
    if result.is_err() {
        crate::diagnose::report_failure(py)?;
    }
    result
}

/// Runs a backward pass that adds to `.grad`.
pub(crate) fn backward(
    py: Python<'_>,
    roots: &[Place],
    gradients: Vec<Option<Tensor>>,
    retain_graph: bool,
    create_graph: bool,
    inputs: Option<&Bound<'_, PyAny>>,
) -> Bind<()> {
    let inputs = match inputs.filter(|inputs| !inputs.is_none()) {
        None => None,
        Some(inputs) if convert::tensor(inputs).is_some() => Some(vec![Place::of(inputs)?]),
        Some(inputs) => {
            let values = match inputs.cast::<PyDict>() {
                Ok(dict) => dict.values().into_any(),
                Err(_) => inputs.clone(),
            };
            let list: Vec<Bound<'_, PyAny>> = values.try_iter()?.collect::<PyResult<_>>()?;
            if list.is_empty() {
                return Err(PyRuntimeError::new_err(
                    "`inputs` argument to `backward()` cannot be empty.",
                )
                .into());
            }
            Some(Place::inputs(&list)?)
        }
    };
    if create_graph {
        warn_of_cycle(py)?;
    }
    for input in inputs.iter().flatten() {
        if let Place::Tensor(input) = input {
            if !(input.is_leaf() && input.requires_grad()) {
                input.retain_grad()?;
            }
        }
    }
    let bytes = roots.iter().map(Place::bytes).max().unwrap_or(0);
    let roots: Vec<Root> = roots
        .iter()
        .zip(gradients)
        .enumerate()
        .map(|(number, (place, gradient))| place.root(gradient, number))
        .collect::<rustgrad_engine::Result<_>>()?;
    let options = Backward { retain_graph, create_graph, serial: false };
    let result = nested(py, bytes, move || match inputs {
        None => options.run(roots),
        Some(inputs) => {
            let targets =
                inputs.iter().map(Place::target).collect::<rustgrad_engine::Result<Vec<_>>>()?;
            options.run_into(roots, &targets)
        }
    });
    watched(py, result)
}

/// The gradients of `outputs` with respect to `inputs`.
#[pyfunction]
#[pyo3(name = "_grad")]
fn grad(
    py: Python<'_>,
    outputs: Vec<Bound<'_, PyAny>>,
    inputs: Vec<Bound<'_, PyAny>>,
    grad_outputs: Vec<Option<Bound<'_, PyTensor>>>,
    retain_graph: bool,
    create_graph: bool,
    allow_unused: bool,
) -> Bind<Py<PyTuple>> {
    let outputs = Place::list(&outputs)?;
    let roots: Vec<Root> = outputs
        .iter()
        .zip(grad_outputs)
        .enumerate()
        .map(|(number, (output, grad))| output.root(grad.map(|g| g.get().tensor.clone()), number))
        .collect::<rustgrad_engine::Result<_>>()?;
    let targets = Place::inputs(&inputs)?
        .iter()
        .map(Place::target)
        .collect::<rustgrad_engine::Result<Vec<_>>>()?;
    if targets.iter().any(|target| target.0.node.is_none()) {
        return Err(PyRuntimeError::new_err(
            "One of the differentiated Tensors does not require grad",
        )
        .into());
    }
    let options = Backward { retain_graph, create_graph, serial: false };
    let bytes = outputs.iter().map(Place::bytes).max().unwrap_or(0);
    let grads = watched(py, nested(py, bytes, || options.grad(roots, &targets)))?;
    let mut list: Vec<Option<Bound<'_, PyTensor>>> = Vec::with_capacity(grads.len());
    for (i, grad) in grads.into_iter().enumerate() {
        if grad.is_none() && !allow_unused {
            return Err(PyRuntimeError::new_err(format!(
                "The differentiated Tensor at index {i} appears to not have been used in the \
                 graph. Set allow_unused=True if this is the desired behavior."
            ))
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
    tensors: Vec<Bound<'_, PyAny>>,
    gradients: Vec<Option<Bound<'_, PyTensor>>>,
    retain_graph: bool,
    create_graph: bool,
    inputs: Option<&Bound<'_, PyAny>>,
) -> Bind<()> {
    let gradients = gradients.into_iter().map(|g| g.map(|g| g.get().tensor.clone())).collect();
    backward(py, &Place::list(&tensors)?, gradients, retain_graph, create_graph, inputs)
}

/// Whether a tensor's graph leads to leaves that are not among `points`.
#[pyfunction]
fn _leads_elsewhere(tensor: &Bound<'_, PyTensor>, points: Vec<Bound<'_, PyTensor>>) -> Bind<bool> {
    let points = points
        .iter()
        .map(|point| point.get().tensor.try_gradient_edge())
        .collect::<rustgrad_engine::Result<Vec<_>>>()?;
    Ok(rustgrad_engine::graph::leads_elsewhere(&tensor.get().tensor.try_gradient_edge()?, &points))
}

/// What `_jacobian_rows` says of one input: the stacked rows, the first row that is absent, the first
/// that is constant.
type InputRows = (Option<Wrapped>, Option<usize>, Option<usize>);

/// The gradients of each element of `output` with respect to `inputs`, or of its products with `vectors`,
/// from one plan of the graph.
#[pyfunction]
#[pyo3(signature = (output, inputs, create_graph, vectors = None))]
fn _jacobian_rows(
    py: Python<'_>,
    output: &Bound<'_, PyTensor>,
    inputs: Vec<Bound<'_, PyTensor>>,
    create_graph: bool,
    vectors: Option<&Bound<'_, PyTensor>>,
) -> Bind<Vec<InputRows>> {
    let output = &output.get().tensor;
    let vectors = vectors.map(|vectors| &vectors.get().tensor);
    if vectors.is_some_and(|v| v.ndim() == 0 || v.shape()[1..] != output.shape()[..]) {
        return Err(PyRuntimeError::new_err(
            "the vectors must have the shape of the output behind a first dimension",
        )
        .into());
    }
    let inputs: Vec<Tensor> = inputs.iter().map(|input| input.get().tensor.clone()).collect();
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    let options = Backward { retain_graph: true, create_graph, serial: false };
    let rows =
        watched(py, nested(py, output.byte_hint(), || options.rows(output, &inputs, vectors)))?;
    Ok(rows.into_iter().map(|row| (row.stacked.map(Wrapped), row.absent, row.constant)).collect())
}

/// The number of the backward pass that runs on this thread, -1 outside of one.
#[pyfunction]
fn _current_graph_task_id() -> i64 {
    rustgrad_engine::graph::current_task().map_or(-1, |id| id as i64)
}

/// Whether the pass that runs on this thread, if any, goes to all leaves.
#[pyfunction]
fn _is_checkpoint_valid() -> bool {
    !rustgrad_engine::graph::current_task_is_selective()
}

/// The node that the gradient of a tensor goes to, and the number of its output.
#[pyfunction]
fn _gradient_edge(py: Python<'_>, tensor: &Bound<'_, PyTensor>) -> Bind<(Py<PyAny>, u32)> {
    let edge = tensor.get().tensor.try_gradient_edge()?;
    rustgrad_engine::graph::tell()?;
    match edge.node {
        Some(node) => Ok((crate::node::node_object(py, node)?, edge.out)),
        None => Err(PyRuntimeError::new_err(
            "It is not possible to get the gradient edge for a Tensor that does not require \
             gradients",
        )
        .into()),
    }
}

/// Counts a write in place that the engine did not see.
#[pyfunction]
fn _increment_version(tensors: Vec<Bound<'_, PyTensor>>) -> Bind<()> {
    for tensor in &tensors {
        let tensor = &tensor.get().tensor;
        // Tensors of inference mode have no version to count.
        if !tensor.is_inference() {
            tensor.note_write()?;
        }
    }
    Ok(())
}

/// Puts the counts of writes in place back to these numbers.
#[pyfunction]
fn _set_versions(tensors: Vec<Bound<'_, PyTensor>>, versions: Vec<i64>) -> Bind<()> {
    if tensors.len() != versions.len() {
        return Err(PyRuntimeError::new_err("a version is needed for each tensor").into());
    }
    for (tensor, version) in tensors.iter().zip(versions) {
        let Ok(number) = u32::try_from(version) else {
            return Err(PyRuntimeError::new_err(format!(
                "Cannot set a version_counter to a value below 0: {version}"
            ))
            .into());
        };
        tensor.get().tensor.set_version(number);
    }
    Ok(())
}

/// Whether a gradient must be laid out like its leaf to become `.grad` without a copy.
#[pyfunction]
fn _is_layout_enforced() -> bool {
    rustgrad_engine::graph::is_layout_enforced()
}

/// Requires gradients to be laid out like their leaf, or not; returns what it was.
#[pyfunction]
fn _set_layout_enforced(enable: bool) -> bool {
    rustgrad_engine::graph::set_layout_enforced(enable)
}

/// Whether the pass that runs on this thread computes the gradient at a node.
#[pyfunction]
fn _will_run(node: &Bound<'_, PyNode>) -> Bind<bool> {
    let running = rustgrad_engine::graph::running().ok_or_else(|| {
        PyRuntimeError::new_err("_will_run may only be called during the backward pass")
    })?;
    Ok(running.computes(&node.get().node()?))
}

#[pyfunction]
fn _is_multithreading_enabled() -> bool {
    rustgrad_engine::graph::is_multithreading_enabled()
}

/// Allows backward passes to use several threads, or not; returns what it was.
#[pyfunction]
fn _set_multithreading_enabled(mode: bool) -> bool {
    rustgrad_engine::graph::set_multithreading_enabled(mode)
}

/// Carries derivatives forward on this thread, or no longer; returns what it was.
#[pyfunction]
fn _set_forward(on: bool) -> bool {
    let before = rustgrad_engine::graph::is_forward();
    rustgrad_engine::graph::set_forward(on);
    before
}

/// Marks the passes that follow as those that find derivatives carried forward; returns what it was.
#[pyfunction]
fn _tangent_pass(on: bool) -> bool {
    rustgrad_engine::graph::set_finds_tangents(on)
}

/// A tensor's value, marked by a leaf that stands for the direction in which it moves.
#[pyfunction]
fn _dual(tensor: &Bound<'_, PyTensor>, seed: &Bound<'_, PyTensor>) -> Bind<Wrapped> {
    Ok(Wrapped(tensor.get().tensor.dual(&seed.get().tensor)?))
}

#[pyfunction]
fn is_grad_enabled() -> bool {
    rustgrad_engine::graph::grad_wanted()
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

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(grad, module)?)?;
    module.add_function(wrap_pyfunction!(backward_many, module)?)?;
    module.add_function(wrap_pyfunction!(_leads_elsewhere, module)?)?;
    module.add_function(wrap_pyfunction!(_jacobian_rows, module)?)?;
    module.add_function(wrap_pyfunction!(_current_graph_task_id, module)?)?;
    module.add_function(wrap_pyfunction!(_is_checkpoint_valid, module)?)?;
    module.add_function(wrap_pyfunction!(_gradient_edge, module)?)?;
    module.add_function(wrap_pyfunction!(_increment_version, module)?)?;
    module.add_function(wrap_pyfunction!(_queue_callback, module)?)?;
    module.add_function(wrap_pyfunction!(_will_run, module)?)?;
    module.add_function(wrap_pyfunction!(_set_versions, module)?)?;
    module.add_function(wrap_pyfunction!(_is_layout_enforced, module)?)?;
    module.add_function(wrap_pyfunction!(_set_layout_enforced, module)?)?;
    module.add_function(wrap_pyfunction!(_is_multithreading_enabled, module)?)?;
    module.add_function(wrap_pyfunction!(_set_multithreading_enabled, module)?)?;
    module.add_function(wrap_pyfunction!(set_warn_always, module)?)?;
    module.add_function(wrap_pyfunction!(is_warn_always_enabled, module)?)?;
    module.add_function(wrap_pyfunction!(is_grad_enabled, module)?)?;
    module.add_function(wrap_pyfunction!(_set_grad_enabled, module)?)?;
    module.add_function(wrap_pyfunction!(_set_forward, module)?)?;
    module.add_function(wrap_pyfunction!(_tangent_pass, module)?)?;
    module.add_function(wrap_pyfunction!(_dual, module)?)?;
    module.add_function(wrap_pyfunction!(is_inference_mode_enabled, module)?)?;
    module.add_function(wrap_pyfunction!(_set_inference_mode, module)?)
}

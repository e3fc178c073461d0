//! Custom functions: the base class of `autograd.Function` and its contexts, `apply`, and the rule
//! that runs a function's `backward`.

use std::any::Any;
use std::collections::HashSet;
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyUserWarning};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};
use rustgrad_engine::graph::hooks::GradList;
use rustgrad_engine::graph::{Edge, GradMode, Hold, NodeRef, Output, SavedTensor, record_custom};
use rustgrad_engine::ops::{Cx, Rule};
use rustgrad_engine::storage::Core;
use rustgrad_engine::tensor::Creation;
use rustgrad_engine::{DType, Result, Tensor};

use crate::convert;
use crate::dtype::PyDType;
use crate::error::{Bind, to_engine};
use crate::gc::Counted;
use crate::node::PyNode;
use crate::tensor::{Wrapped, wrap};

/// What a function saved, shared by its context and its rule.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) saved: Mutex<Vec<Option<Arc<SavedTensor>>>>,
    freed: AtomicBool,
    /// The saved tensors were handed out, and the function asked for that to happen only once.
    taken: AtomicBool,
}

impl State {
    pub(crate) fn is_freed(&self) -> bool {
        self.freed.load(Ordering::Acquire)
    }
}

/// The context of a custom function, which is the Python object of its node too.
#[pyclass(frozen, subclass, extends = PyNode, name = "_FunctionBase", module = "rustgrad._core")]
pub(crate) struct PyFunction {
    pub(crate) state: Arc<State>,
}

/// The error for using what a pass has released.
pub(crate) const FREED: &str = "Trying to backward through the graph a second time (or directly \
     access saved tensors after they have already been freed). Saved intermediate values of the \
     graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if \
     you need to backward through the graph a second time or if you need to access saved tensors \
     after calling backward.";

#[pymethods]
impl PyFunction {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Self> {
        PyClassInitializer::from(PyNode::unbound())
            .add_subclass(Self { state: Arc::new(State::default()) })
    }

    /// The tensors given to `save_for_backward`, checked for writes in place since.
    #[getter]
    fn saved_tensors<'py>(slf: &Bound<'py, Self>) -> Bind<Bound<'py, PyTuple>> {
        let this = slf.get();
        let node = slf.as_super().get().node_if();
        if this.state.is_freed() {
            let note = node.map_or_else(String::new, |node| {
                format!("\n  {} was recorded at {}", node.name(), node.site())
            });
            return Err(PyRuntimeError::new_err(format!("{FREED}{note}")).into());
        }
        if this.state.taken.load(Ordering::Acquire) {
            return Err(PyRuntimeError::new_err(
                "saved_tensors can only be accessed once when clear_saved_tensors_on_access=True is \
                 set on the autograd.Function. Either access saved_tensors only once, or set \
                 clear_saved_tensors_on_access=False.",
            )
            .into());
        }
        let mut list: Vec<Option<Bound<'py, PyAny>>> = Vec::new();
        // Hooks are foreign code: they must not run under the lock.
        let all = this.state.saved.lock().clone();
        for saved in all {
            let unpacked = saved.map(|saved| saved.unpack(node.as_ref()));
            list.push(match unpacked.transpose()? {
                Some(tensor) => Some(wrap(slf.py(), tensor)?.into_any()),
                None => None,
            });
        }
        let once = slf.getattr_opt("_forward_cls")?;
        let once = match once {
            Some(function) => function.getattr_opt("clear_saved_tensors_on_access")?,
            None => None,
        };
        if node.is_some() && once.is_some_and(|once| once.is_truthy().unwrap_or(false)) {
            this.state.taken.store(true, Ordering::Release);
            let saved = std::mem::take(&mut *this.state.saved.lock());
            drop(saved);
        }
        Ok(PyTuple::new(slf.py(), list)?)
    }

    /// The saved tensors themselves, whose hooks can be set.
    #[getter]
    fn _raw_saved_tensors<'py>(slf: &Bound<'py, Self>) -> Bind<Bound<'py, PyTuple>> {
        let this = slf.get();
        if this.state.is_freed() {
            return Err(PyRuntimeError::new_err(FREED).into());
        }
        let count = this.state.saved.lock().len();
        let list: Vec<_> = (0..count)
            .map(|i| crate::saved::PySavedTensor::of_function(this.state.clone(), i))
            .collect();
        Ok(PyTuple::new(slf.py(), list)?)
    }

    /// Runs the function and records it.
    #[classmethod]
    #[pyo3(signature = (*args, **kwargs))]
    fn apply<'py>(
        cls: &Bound<'py, PyType>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> Bind<Bound<'py, PyAny>> {
        apply(cls, args, kwargs)
    }

    fn __traverse__(
        &self,
        visit: pyo3::PyVisit<'_>,
    ) -> std::result::Result<(), pyo3::PyTraverseError> {
        if let Some(saved) = self.state.saved.try_lock() {
            for saved in saved.iter().flatten() {
                crate::saved::traverse_packed(saved.packed(), &visit)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let saved = std::mem::take(&mut *self.state.saved.lock());
        drop(saved);
    }
}

/// Runs a custom function's `backward`.
pub(crate) struct PyRule {
    name: String,
    pub(crate) context: Py<PyAny>,
    state: Arc<State>,
    /// For each argument of the forward function its position among the edges, if it is a tensor.
    arguments: Vec<Option<usize>>,
    /// Which outputs are tensors, with dtype and shape.
    outputs: Vec<Option<(DType, Vec<usize>)>>,
    materialize: bool,
    /// Whether the gradients come as one list.
    boxed: bool,
    _counted: Counted,
}

impl Rule for PyRule {
    fn name(&self) -> &str {
        &self.name
    }
    fn is_foreign(&self) -> bool {
        true
    }
    fn wants_absent(&self) -> bool {
        true
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
    fn saved_cores(&self) -> Vec<Arc<Core>> {
        let saved = self.state.saved.lock();
        saved.iter().flatten().filter_map(|saved| saved.core().cloned()).collect()
    }
    fn release(&self) {
        self.state.freed.store(true, Ordering::Release);
        let saved = std::mem::take(&mut *self.state.saved.lock());
        drop(saved);
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        Python::attach(|py| self.backward(py, grads).map_err(to_engine))
    }
}

impl PyRule {
    fn backward(&self, py: Python<'_>, grads: &[Option<Tensor>]) -> PyResult<GradList> {
        let mut list: Vec<Option<Bound<'_, PyAny>>> = Vec::with_capacity(self.outputs.len());
        for (i, output) in self.outputs.iter().enumerate() {
            let grad = match (grads.get(i).cloned().flatten(), output) {
                (Some(grad), _) => Some(grad),
                (None, Some((dtype, shape))) if self.materialize => {
                    Some(Tensor::zeros(shape, *dtype).map_err(crate::error::to_python)?)
                }
                (None, _) => None,
            };
            list.push(match grad {
                Some(grad) => Some(wrap(py, grad)?.into_any()),
                None => None,
            });
        }
        let context = self.context.bind(py);
        // Boxed: only the list refers to the gradients, so that the function may let them go.
        let result = if self.boxed {
            context.call_method1("apply_boxed", (PyList::new(py, list)?,))?
        } else {
            context.call_method1("apply", PyTuple::new(py, list)?)?
        };
        let result = match result.cast_into::<PyTuple>() {
            Ok(tuple) => tuple,
            Err(other) => PyTuple::new(py, [other.into_inner()])?,
        };
        let (given, expected) = (result.len(), self.arguments.len());
        let surplus = given > expected && result.iter().skip(expected).all(|item| item.is_none());
        if given != expected && !surplus {
            return Err(PyRuntimeError::new_err(format!(
                "function {} returned an incorrect number of gradients (expected {expected}, got \
                 {given})",
                self.name
            )));
        }
        let mut out = GradList::new();
        for (i, (item, argument)) in result.iter().zip(&self.arguments).enumerate() {
            if argument.is_none() {
                if !item.is_none() {
                    return Err(PyRuntimeError::new_err(format!(
                        "function {} returned a gradient different than None at position {}, but \
                         the corresponding forward input was not a Variable",
                        self.name,
                        i + 1
                    )));
                }
                continue;
            }
            out.push(if item.is_none() {
                None
            } else if let Some(tensor) = convert::tensor(&item) {
                Some(tensor.clone())
            } else {
                return Err(PyRuntimeError::new_err(format!(
                    "expected Variable or None (got {})",
                    item.get_type().name()?
                )));
            });
        }
        Ok(out)
    }
}

fn not_a_tuple(attribute: &str, value: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    Ok(PyRuntimeError::new_err(format!(
        "autograd internal error: {attribute} attribute is expected to be a tuple but is {}",
        value.get_type().name()?
    )))
}

/// The tensors in an attribute of the context (a tuple, or None).
fn marked<'py>(
    context: &Bound<'py, PyAny>,
    attribute: &str,
    what: &str,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let value = context.getattr(attribute)?;
    if value.is_none() {
        return Ok(Vec::new());
    }
    let Ok(tuple) = value.cast::<PyTuple>() else {
        return Err(not_a_tuple(attribute, &value)?);
    };
    for (i, item) in tuple.iter().enumerate() {
        if convert::tensor(&item).is_none() && !(item.is_none() && attribute == "to_save") {
            let kind = item.get_type().name()?;
            return Err(match what {
                "mark_dirty" => PyRuntimeError::new_err(format!(
                    "mark_dirty can only accept variables, but argument {i} is of type {kind}"
                )),
                "save_for_backward" => PyTypeError::new_err(format!(
                    "save_for_backward can only save variables, but argument {i} is of type {kind}"
                )),
                _ => PyRuntimeError::new_err(format!(
                    "{what} only accepts variable arguments, but got {kind}"
                )),
            });
        }
    }
    Ok(tuple.iter().collect())
}

fn addresses(list: &[Bound<'_, PyAny>]) -> HashSet<usize> {
    list.iter().filter_map(|item| convert::tensor(item)).map(Tensor::address).collect()
}

fn apply<'py>(
    cls: &Bound<'py, PyType>,
    args: Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> Bind<Bound<'py, PyAny>> {
    let py = cls.py();
    let split = cls.getattr("_has_setup_context")?.is_truthy()?;
    let args = if split {
        cls.call_method1("_bind_arguments", (args, kwargs))?
            .cast_into::<PyTuple>()
            .map_err(|error| PyTypeError::new_err(error.to_string()))?
    } else {
        match kwargs.filter(|kwargs| !kwargs.is_empty()) {
            None => args,
            Some(kwargs) => cls
                .call_method1("_bind_arguments", (args, kwargs, true))?
                .cast_into::<PyTuple>()
                .map_err(|error| PyTypeError::new_err(error.to_string()))?,
        }
    };
    if args.iter().any(|arg| crate::standins::is_one(&arg)) {
        let all: Vec<_> = std::iter::once(cls.clone().into_any()).chain(args.iter()).collect();
        if let Some(answer) = crate::standins::ask("apply", &PyTuple::new(py, all)?, None) {
            return Ok(answer?);
        }
    }
    let given = args.clone();
    let context = cls.getattr("_backward_cls")?.call0()?;
    let function = context.cast::<PyFunction>().map_err(PyErr::from)?.clone();
    let mut inputs: Vec<Tensor> = Vec::new();
    let mut arguments = Vec::new();
    let mut needs = Vec::new();
    for arg in args.iter() {
        let tensor = convert::tensor(&arg);
        needs.push(tensor.is_some_and(Tensor::requires_grad));
        arguments.push(tensor.map(|tensor| {
            inputs.push(tensor.clone());
            inputs.len() - 1
        }));
    }
    let recorded = rustgrad_engine::graph::is_grad_enabled() && needs.contains(&true);
    context.setattr("needs_input_grad", PyTuple::new(py, needs)?)?;
    // Before the function can overwrite any of them.
    let edges = if recorded {
        inputs.iter().map(Tensor::try_gradient_edge).collect::<Result<Vec<Edge>>>()?
    } else {
        Vec::new()
    };
    let raw = {
        let _mode = GradMode::no_grad();
        if split {
            let raw = cls.getattr("forward")?.call1(args.clone())?;
            cls.call_method1("setup_context", (&context, args, &raw))?;
            let forward = context.getattr("saved_for_forward")?;
            if !forward.is_none() && !forward.is_instance_of::<PyTuple>() {
                return Err(not_a_tuple("saved_for_forward", &forward)?.into());
            }
            raw
        } else {
            let mut all = vec![context.clone()];
            all.extend(args.iter());
            cls.getattr("forward")?.call1(PyTuple::new(py, all)?)?
        }
    };
    let results: Vec<Bound<'py, PyAny>> = match raw.cast::<PyTuple>() {
        Ok(tuple) => tuple.iter().collect(),
        Err(_) => vec![raw.clone()],
    };
    let edges = recorded.then_some(edges);
    let mut wrapped = finish(py, &function, &context, &inputs, arguments, results, edges)?;
    if rustgrad_engine::graph::is_forward() {
        let module = py.import("rustgrad.autograd.forward_ad")?;
        wrapped = module.call_method1("_custom", (&context, given, wrapped))?.extract()?;
    }
    if raw.is_instance_of::<PyTuple>() {
        return Ok(PyTuple::new(py, wrapped)?.into_any());
    }
    Ok(wrapped.into_iter().next().unwrap_or(raw))
}

const NOT_AN_INPUT: &str = "ctx.mark_dirty() received a tensor that was not an input. Only input \
     Tensors that have been mutated should be passed to ctx.mark_dirty().";

/// Hangs the results of a forward function on a node of their own.
fn finish<'py>(
    py: Python<'py>,
    function: &Bound<'py, PyFunction>,
    context: &Bound<'py, PyAny>,
    inputs: &[Tensor],
    arguments: Vec<Option<usize>>,
    results: Vec<Bound<'py, PyAny>>,
    edges: Option<Vec<Edge>>,
) -> Bind<Vec<Bound<'py, PyAny>>> {
    let hold = Hold::begin();
    let dirty = marked(context, "dirty_tensors", "mark_dirty")?;
    let constant = addresses(&marked(context, "non_differentiable", "mark_non_differentiable")?);
    let dirty = addresses(&dirty);
    // They have served; kept, they would hold the outputs as long as the node.
    for (name, given) in [("dirty_tensors", &dirty), ("non_differentiable", &constant)] {
        if !given.is_empty() {
            context.setattr(name, py.None())?;
        }
    }
    let input_set: HashSet<usize> = inputs.iter().map(Tensor::address).collect();
    let outputs: Vec<Option<Tensor>> =
        results.iter().map(|item| convert::tensor(item).cloned()).collect();
    let returned: HashSet<usize> = outputs.iter().flatten().map(Tensor::address).collect();
    if !dirty.is_subset(&returned) {
        return Err(PyRuntimeError::new_err(
            "Some elements marked as dirty during the forward method were not returned as output. \
             The inputs that are modified inplace must all be outputs of the Function.",
        )
        .into());
    }
    if !dirty.is_subset(&input_set) {
        let view = outputs.iter().flatten().any(|output| {
            output.is_view()
                && dirty.contains(&output.address())
                && !input_set.contains(&output.address())
        });
        if view {
            return Err(PyRuntimeError::new_err(NOT_AN_INPUT).into());
        }
        warn(py, NOT_AN_INPUT)?;
    }
    let node = if let Some(edges) = edges {
        let quiet = !context.getattr("_materialize_non_diff_grads")?.is_truthy()?;
        let name: String = context.get_type().name()?.extract()?;
        let shapes: Vec<_> = outputs
            .iter()
            .map(|output| output.as_ref().map(|tensor| (tensor.dtype(), tensor.shape().to_vec())))
            .collect();
        let casts = declared_dtypes(context, &results)?;
        let metas: Vec<_> = shapes
            .iter()
            .enumerate()
            .map(|(i, output)| {
                let (dtype, shape) = output.as_ref()?;
                let grad = casts.as_ref().map_or(Some(*dtype), |casts| casts[i]);
                Some(Output { dtype: *dtype, shape, grad })
            })
            .collect();
        let rule = PyRule {
            name,
            context: context.clone().unbind(),
            state: function.get().state.clone(),
            arguments,
            // What has no gradient and is not to be given zeros is like no tensor.
            outputs: shapes
                .iter()
                .zip(&outputs)
                .map(|(shape, output)| {
                    let address = output.as_ref().map_or(0, Tensor::address);
                    shape.clone().filter(|_| !(quiet && constant.contains(&address)))
                })
                .collect(),
            materialize: context.getattr("materialize_grads")?.is_truthy()?,
            boxed: match context.getattr_opt("_forward_cls")? {
                Some(function) => function.getattr("boxed_grads_call")?.is_truthy()?,
                None => false,
            },
            _counted: Counted::new(),
        };
        let node = record_custom(Box::new(rule), edges, &metas)?;
        function.as_super().get().bind(&node);
        Some(node)
    } else {
        None
    };
    let mut finished: Vec<Option<Tensor>> = Vec::new();
    let mut differentiable = 0;
    for (out, output) in outputs.iter().enumerate() {
        let Some(output) = output else {
            finished.push(None);
            continue;
        };
        let is_input = input_set.contains(&output.address());
        let modified = dirty.contains(&output.address());
        let with_history = node
            .as_ref()
            .filter(|_| output.dtype().is_float() && !constant.contains(&output.address()));
        if modified && with_history.is_none() && !output.is_inference() {
            output.note_write()?;
        }
        differentiable += usize::from(with_history.is_some());
        finished.push(Some(match with_history {
            Some(node) if modified => {
                if output.is_view() && outputs.len() > 1 {
                    return Err(PyRuntimeError::new_err(
                        "If your Function modifies inplace an input that is a view of another \
                         Tensor, your Function cannot return more than one Tensor. This is not \
                         supported by the current autograd engine. You should either make sure the \
                         input is not a view (using .clone() for example) or make your Function \
                         only return one Tensor (potentially splitting it into two Functions: one \
                         doing the inplace that returns a single Tensor and a second one that does \
                         the other operations). You can ask on the forum \
                         https://discuss.pytorch.org/ if you need help to do this change.",
                    )
                    .into());
                }
                // The write itself was counted when it was made; torch counts the marking too.
                output.note_write()?;
                output.rebase_custom(node, out as u32)?;
                output.clone()
            }
            Some(node) if is_input => {
                let alias = output.custom_alias();
                alias.set_custom_edge(node, out as u32);
                alias
            }
            Some(node) => {
                output.set_custom_edge(node, out as u32);
                output.clone()
            }
            None if is_input && !modified && !output.requires_grad() => output.custom_alias(),
            None if is_input && output.requires_grad() => output.detach(),
            None => {
                if output.is_view() && !modified {
                    output.set_creation(Creation::Custom);
                }
                if output.requires_grad() && !is_input && !output.is_view() {
                    output.forget_history();
                }
                output.clone()
            }
        }));
    }
    if differentiable > 1 {
        for output in finished.iter().flatten().filter(|output| output.is_view()) {
            output.set_creation(Creation::Multi);
        }
    }
    if let Some(node) = &node {
        save(function, context, inputs, &finished, node)?;
    }
    hold.end()?;
    let list = results
        .into_iter()
        .zip(finished)
        .map(|(item, tensor)| match tensor {
            Some(tensor) => Ok(Wrapped(tensor).into_pyobject(py)?.into_any()),
            None => Ok(item),
        })
        .collect::<PyResult<Vec<_>>>()?;
    Ok(list)
}

/// The dtypes that the function wants the gradients of its outputs in, `None` for any, if it said so.
fn declared_dtypes(
    context: &Bound<'_, PyAny>,
    results: &[Bound<'_, PyAny>],
) -> PyResult<Option<Vec<Option<DType>>>> {
    let declared = context.getattr("output_grad_dtypes")?;
    if declared.is_none() {
        return Ok(None);
    }
    let declared: Vec<Bound<'_, PyAny>> = declared.try_iter()?.collect::<PyResult<_>>()?;
    if declared.len() != results.len() {
        return Err(PyRuntimeError::new_err(format!(
            "set_output_grad_dtype expected the number of declarations to match the number of \
             outputs: the Function returned {} values but {} declarations were provided",
            results.len(),
            declared.len()
        )));
    }
    let one = |(dtype, result): (&Bound<'_, PyAny>, &Bound<'_, PyAny>)| {
        if dtype.is_none() {
            return Ok(None);
        }
        let Ok(dtype) = dtype.cast::<PyDType>() else {
            return Err(PyRuntimeError::new_err(format!(
                "set_output_grad_dtype expects each declaration to be a torch.dtype or None, but \
                 got {}",
                dtype.get_type().name()?
            )));
        };
        match convert::tensor(result) {
            Some(tensor) if tensor.dtype().is_float() => Ok(Some(dtype.get().0)),
            _ => Err(PyRuntimeError::new_err(
                "set_output_grad_dtype: an output that has no gradient must be declared None",
            )),
        }
    };
    declared.iter().zip(results).map(one).collect::<PyResult<_>>().map(Some)
}

/// Keeps what the function asked to keep.
fn save(
    function: &Bound<'_, PyFunction>,
    context: &Bound<'_, PyAny>,
    inputs: &[Tensor],
    outputs: &[Option<Tensor>],
    node: &NodeRef,
) -> Bind<()> {
    let mut saved = Vec::new();
    for item in marked(context, "to_save", "save_for_backward")? {
        saved.push(match convert::tensor(&item) {
            None => None,
            Some(tensor) => {
                let output = outputs
                    .iter()
                    .position(|output| output.as_ref().is_some_and(|output| output.is(tensor)));
                let own = tensor.grad_fn().filter(|(maker, _)| maker == node);
                let output = own.map(|(_, out)| out).or_else(|| {
                    let is_input = inputs.iter().any(|input| input.is(tensor));
                    output.filter(|_| !is_input && tensor.requires_grad()).map(|out| out as u32)
                });
                let input = inputs.iter().position(|input| input.is(tensor));
                Some(Arc::new(SavedTensor::new(tensor, output, input)?))
            }
        });
    }
    *function.get().state.saved.lock() = saved;
    context.setattr("to_save", context.py().None())?;
    Ok(())
}

/// Warns at the user's line.
pub(crate) fn warn(py: Python<'_>, message: &str) -> PyResult<()> {
    let text = CString::new(message).unwrap_or_default();
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &text, 1)
}

/// Tensors that raise an error when they are differentiated.
#[pyfunction]
fn _delayed_error(
    py: Python<'_>,
    message: &str,
    tensors: Vec<Bound<'_, PyAny>>,
) -> Bind<Py<PyAny>> {
    let list: Vec<Tensor> = crate::autograd::tensors(PyTuple::new(py, tensors)?.as_any())?;
    let outs = rustgrad_engine::graph::delayed_error(message, &list)?;
    let outs = outs.into_iter().map(Wrapped);
    Ok(PyTuple::new(py, outs.collect::<Vec<_>>())?.into_any().unbind())
}

/// Adds the class and the function to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyFunction>()?;
    module.add_function(wrap_pyfunction!(_delayed_error, module)?)
}

//! Optimisers: a whole list of parameters in one call.
//!
//! The running tensors stay where torch has them, in a dictionary per parameter, so that programs
//! can look at them, save them and put others in their place.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "PyO3's expansion, which macro spans make look like ours"
)]

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use rustgrad_engine::optim::{self, Item, Rule};
use rustgrad_engine::{DType, Scalar, Tensor, default_dtype};
use smallvec::SmallVec;

use crate::convert;
use crate::error::Bind;
use crate::gil::detached;
use crate::tensor::{PyTensor, wrap};

/// A parameter that has a gradient, and the dictionary of its running tensors.
struct Entry<'py> {
    object: Bound<'py, PyAny>,
    parameter: Tensor,
    gradient: Tensor,
    states: SmallVec<[Tensor; 3]>,
    rule: Option<Rule>,
}

impl<'py> Entry<'py> {
    fn of(object: Bound<'py, PyAny>) -> PyResult<Option<Self>> {
        let parameter = object.cast::<PyTensor>()?.get().tensor.clone();
        let Some(gradient) = parameter.grad() else { return Ok(None) };
        Ok(Some(Self { object, parameter, gradient, states: SmallVec::new(), rule: None }))
    }

    /// The dictionary of the running tensors, made if need be.
    fn state(&self, states: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
        if let Some(known) = states.get_item(&self.object)? {
            return Ok(known.cast_into::<PyDict>()?);
        }
        let fresh = PyDict::new(states.py());
        states.set_item(&self.object, &fresh)?;
        Ok(fresh)
    }

    /// The running tensor of this name, or a new one filled with `start`.
    fn keep(
        &mut self,
        state: &Bound<'py, PyDict>,
        name: &Bound<'py, PyString>,
        start: f64,
    ) -> Bind<()> {
        let known = state.get_item(name)?;
        if let Some(tensor) = known.as_ref().and_then(convert::tensor) {
            self.states.push(tensor.clone());
            return Ok(());
        }
        let fresh = Tensor::empty_like(&self.parameter, self.parameter.dtype())?;
        fresh.fill_(Scalar::Float(start))?;
        state.set_item(name, wrap(state.py(), fresh.clone())?)?;
        self.states.push(fresh);
        Ok(())
    }

    /// Counts the step and says how many it makes.
    fn count(&self, state: &Bound<'py, PyDict>) -> Bind<f64> {
        let py = state.py();
        let name = intern!(py, "step");
        let known = state.get_item(name)?;
        if let Some(known) = &known {
            if let Some(tensor) = convert::tensor(known) {
                let now = tensor.item()?.to_f64() + 1.0;
                tensor.fill_(Scalar::Float(now))?;
                return Ok(now);
            }
            let now = known.extract::<f64>()? + 1.0;
            state.set_item(name, now)?;
            return Ok(now);
        }
        let dtype = if default_dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let fresh = Tensor::from_scalar(Scalar::Float(1.0), dtype)?;
        state.set_item(name, wrap(py, fresh)?)?;
        Ok(1.0)
    }
}

/// Prepares every parameter that has a gradient, and updates them all at once.
fn run<'py>(
    params: &Bound<'py, PyList>,
    maximize: bool,
    mut prepare: impl FnMut(&mut Entry<'py>) -> Bind<Rule>,
) -> Bind<()> {
    let py = params.py();
    let mut entries = Vec::with_capacity(params.len());
    for object in params.iter() {
        if let Some(mut entry) = Entry::of(object)? {
            entry.rule = Some(prepare(&mut entry)?);
            entries.push(entry);
        }
    }
    let items: Vec<Item<'_>> = entries
        .iter()
        .filter_map(|entry| {
            entry.rule.map(|rule| Item {
                rule,
                maximize,
                parameter: &entry.parameter,
                gradient: &entry.gradient,
                states: entry.states.iter().collect(),
            })
        })
        .collect();
    update(py, &items)
}

/// Updates all parameters at once.
fn update(py: Python<'_>, items: &[Item<'_>]) -> Bind<()> {
    let bytes = items.iter().map(|item| item.parameter.byte_hint() * 4).sum();
    detached(py, bytes, || optim::step(items))
}

/// A step of stochastic gradient descent.
#[pyfunction]
fn _sgd_step(
    params: &Bound<'_, PyList>,
    states: &Bound<'_, PyDict>,
    lr: f64,
    momentum: f64,
    dampening: f64,
    weight_decay: f64,
    nesterov: bool,
    maximize: bool,
) -> Bind<()> {
    let name = intern!(params.py(), "momentum_buffer");
    run(params, maximize, |entry| {
        let mut first = false;
        if momentum != 0.0 {
            let state = entry.state(states)?;
            first = match state.get_item(name)? {
                None => true,
                Some(known) => known.is_none(),
            };
            entry.keep(&state, name, 0.0)?;
        }
        Ok(Rule::Sgd { rate: lr, decay: weight_decay, momentum, dampening, nesterov, first })
    })
}

/// A step of Adam or AdamW.
#[pyfunction]
fn _adam_step(
    params: &Bound<'_, PyList>,
    states: &Bound<'_, PyDict>,
    lr: f64,
    betas: (f64, f64),
    epsilon: f64,
    weight_decay: f64,
    amsgrad: bool,
    maximize: bool,
    decoupled: bool,
) -> Bind<()> {
    let py = params.py();
    let (mean, square) = (intern!(py, "exp_avg"), intern!(py, "exp_avg_sq"));
    let largest = intern!(py, "max_exp_avg_sq");
    run(params, maximize, |entry| {
        let state = entry.state(states)?;
        let step = entry.count(&state)?;
        entry.keep(&state, mean, 0.0)?;
        entry.keep(&state, square, 0.0)?;
        if amsgrad {
            entry.keep(&state, largest, 0.0)?;
        }
        Ok(Rule::Adam {
            rate: lr,
            beta1: betas.0,
            beta2: betas.1,
            epsilon,
            decay: weight_decay,
            decoupled,
            amsgrad,
            step,
        })
    })
}

/// A step of Adagrad.
#[pyfunction]
fn _adagrad_step(
    params: &Bound<'_, PyList>,
    states: &Bound<'_, PyDict>,
    lr: f64,
    lr_decay: f64,
    weight_decay: f64,
    epsilon: f64,
    initial: f64,
    maximize: bool,
) -> Bind<()> {
    let sum = intern!(params.py(), "sum");
    run(params, maximize, |entry| {
        let state = entry.state(states)?;
        let step = entry.count(&state)?;
        entry.keep(&state, sum, initial)?;
        let rate = lr / (1.0 + (step - 1.0) * lr_decay);
        Ok(Rule::Adagrad { rate, decay: weight_decay, epsilon })
    })
}

/// A step of RMSprop.
#[pyfunction]
fn _rmsprop_step(
    params: &Bound<'_, PyList>,
    states: &Bound<'_, PyDict>,
    lr: f64,
    alpha: f64,
    epsilon: f64,
    weight_decay: f64,
    momentum: f64,
    centered: bool,
    maximize: bool,
) -> Bind<()> {
    let py = params.py();
    let (square, buffer) = (intern!(py, "square_avg"), intern!(py, "momentum_buffer"));
    let mean = intern!(py, "grad_avg");
    run(params, maximize, |entry| {
        let state = entry.state(states)?;
        entry.count(&state)?;
        entry.keep(&state, square, 0.0)?;
        if momentum > 0.0 {
            entry.keep(&state, buffer, 0.0)?;
        }
        if centered {
            entry.keep(&state, mean, 0.0)?;
        }
        Ok(Rule::RmsProp { rate: lr, alpha, epsilon, decay: weight_decay, momentum, centered })
    })
}

/// The rule of this name with its numbers.
fn rule(name: &str, numbers: &[f64]) -> Bind<Rule> {
    Ok(match (name, numbers) {
        ("Adadelta", &[rate, rho, epsilon, decay]) => Rule::Adadelta { rate, rho, epsilon, decay },
        ("Adamax", &[rate, beta1, beta2, epsilon, decay]) => {
            Rule::Adamax { rate, beta1, beta2, epsilon, decay }
        }
        ("NAdam", &[now, ahead, beta1, beta2, correction2, epsilon, decay, shrink]) => {
            Rule::NAdam { now, ahead, beta1, beta2, correction2, epsilon, decay, shrink }
        }
        ("RAdam", &[rate, beta1, beta2, correction1, root2, rectified, epsilon, decay, shrink]) => {
            Rule::RAdam {
                rate,
                beta1,
                beta2,
                correction1,
                root2,
                rectified,
                epsilon,
                decay,
                shrink,
            }
        }
        ("Rprop", &[less, more, least, most]) => Rule::Rprop { less, more, least, most },
        ("ASGD", &[eta, shrink, mu, decay]) => Rule::Asgd { eta, shrink, mu, decay },
        _ => {
            let message = format!("no rule {name} of {} numbers", numbers.len());
            return Err(PyValueError::new_err(message).into());
        }
    })
}

/// A parameter, its gradient, its running tensors and the numbers of its rule.
type Row<'py> = (Bound<'py, PyTensor>, Bound<'py, PyTensor>, Vec<Bound<'py, PyTensor>>, Vec<f64>);

/// A step of the rule of this name for every row.
#[pyfunction]
fn _rule_step(name: &str, rows: Vec<Row<'_>>, maximize: bool, py: Python<'_>) -> Bind<()> {
    let items = rows.iter().map(|(parameter, gradient, states, numbers)| {
        Ok(Item {
            rule: rule(name, numbers)?,
            maximize,
            parameter: &parameter.get().tensor,
            gradient: &gradient.get().tensor,
            states: states.iter().map(|state| &state.get().tensor).collect(),
        })
    });
    update(py, &items.collect::<Bind<Vec<_>>>()?)
}

/// Drops the gradients of the parameters, or sets them to zero.
#[pyfunction]
fn _zero_grads(params: &Bound<'_, PyAny>, set_to_none: bool) -> Bind<()> {
    for object in params.try_iter()? {
        let object = object?;
        let parameter = &object.cast::<PyTensor>().map_err(PyErr::from)?.get().tensor;
        if set_to_none {
            drop(parameter.replace_grad(None));
        } else if let Some(grad) = parameter.grad() {
            let fresh = if grad.grad_fn().is_some() {
                let cut = grad.detach();
                parameter.set_grad(Some(cut.clone()))?;
                cut
            } else {
                grad.set_requires_grad(false)?;
                grad
            };
            fresh.zero_()?;
        }
    }
    Ok(())
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(_sgd_step, module)?)?;
    module.add_function(wrap_pyfunction!(_adam_step, module)?)?;
    module.add_function(wrap_pyfunction!(_adagrad_step, module)?)?;
    module.add_function(wrap_pyfunction!(_rmsprop_step, module)?)?;
    module.add_function(wrap_pyfunction!(_rule_step, module)?)?;
    module.add_function(wrap_pyfunction!(_zero_grads, module)?)
}

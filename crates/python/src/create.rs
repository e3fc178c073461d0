//! Tensors from Python data, and filled, counted and spaced ones.

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyUserWarning};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustgrad_engine::{DType, Scalar, Tensor};

use crate::args::{
    DTypeArg, DeviceArg, LayoutArg, class_name, dtype_or_default, leaf, leaf_into, shape,
};
use crate::convert;
use crate::data;
use crate::error::Bind;
use crate::interop;
use crate::tensor::{Out, PyTensor, Wrapped};

/// A tensor with a copy of the data.
#[pyfunction]
#[pyo3(signature = (data, *, dtype = None, device = None, requires_grad = false, pin_memory = false))]
fn tensor(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    dtype: Option<DTypeArg>,
    device: Option<DeviceArg>,
    requires_grad: bool,
    pin_memory: bool,
) -> Out {
    let _ = (device, pin_memory);
    if let Some(other) = convert::tensor(data) {
        PyErr::warn(
            py,
            &py.get_type::<PyUserWarning>(),
            c"To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
            1,
        )?;
        return leaf(copied(other, dtype), requires_grad);
    }
    leaf(Ok(data::read(data, dtype.map(|dtype| dtype.0))?), requires_grad)
}

/// A copy without history.
fn copied(other: &Tensor, dtype: Option<DTypeArg>) -> rustgrad_engine::Result<Tensor> {
    let other = other.detach();
    match dtype {
        Some(dtype) if dtype.0 != other.dtype() => other.to_dtype(dtype.0),
        _ => other.copied(),
    }
}

/// The data as a tensor; shared where that is possible.
#[pyfunction]
#[pyo3(signature = (data, dtype = None, device = None))]
fn as_tensor<'py>(
    data: &Bound<'py, PyAny>,
    dtype: Option<DTypeArg>,
    device: Option<DeviceArg>,
) -> Bind<Bound<'py, PyAny>> {
    let _ = device;
    let py = data.py();
    let tensor = if let Some(tensor) = convert::tensor(data) {
        if dtype.is_none_or(|dtype| dtype.0 == tensor.dtype()) {
            return Ok(data.clone());
        }
        tensor.clone()
    } else if interop::is_array(data)? {
        let tensor = interop::share_array(data)?;
        if !tensor.shared_core().writable() {
            interop::warn_read_only(py)?;
        }
        tensor
    } else {
        data::read(data, dtype.map(|dtype| dtype.0))?
    };
    let tensor = match dtype {
        Some(dtype) => tensor.to_dtype(dtype.0)?,
        None => tensor,
    };
    Ok(Wrapped(tensor).into_pyobject(py)?.into_any())
}

/// The data as a tensor; shared unless `copy`.
#[pyfunction]
#[pyo3(signature = (obj, *, dtype = None, device = None, copy = None, requires_grad = false))]
fn asarray<'py>(
    obj: &Bound<'py, PyAny>,
    dtype: Option<DTypeArg>,
    device: Option<DeviceArg>,
    copy: Option<bool>,
    requires_grad: bool,
) -> Bind<Bound<'py, PyAny>> {
    let py = obj.py();
    let result = as_tensor(obj, dtype, device)?;
    let same = result.is(obj);
    let tensor = convert::tensor(&result).cloned();
    match tensor {
        Some(tensor) if copy == Some(true) => {
            let copy = tensor.detach().copied()?;
            copy.set_requires_grad(requires_grad)?;
            Ok(Wrapped(copy).into_pyobject(py)?.into_any())
        }
        Some(tensor) if !same && requires_grad => {
            tensor.set_requires_grad(true)?;
            Ok(result)
        }
        _ => Ok(result),
    }
}

/// A 0-d tensor of a number.
#[pyfunction]
#[pyo3(signature = (s, *, dtype = None, layout = None, device = None, pin_memory = false, requires_grad = false))]
fn scalar_tensor(
    s: &Bound<'_, PyAny>,
    dtype: Option<DTypeArg>,
    layout: Option<LayoutArg>,
    device: Option<DeviceArg>,
    pin_memory: bool,
    requires_grad: bool,
) -> Out {
    let _ = (layout, device, pin_memory);
    leaf(Tensor::from_scalar(number(s)?, dtype_or_default(dtype)), requires_grad)
}

/// A number, or a tensor of one element.
pub(crate) fn number(value: &Bound<'_, PyAny>) -> Bind<Scalar> {
    if let Some(tensor) = convert::tensor(value) {
        return Ok(tensor.item()?);
    }
    match convert::scalar(value)? {
        Some(number) => Ok(number),
        None => {
            Err(PyTypeError::new_err(format!("expected a number, but got {}", class_name(value)?))
                .into())
        }
    }
}

macro_rules! constants {
    ($($(#[$doc:meta])* $name:ident => |$shape:ident, $dtype:ident| $make:expr;)*) => {
        $(
            $(#[$doc])*
            #[pyfunction]
            #[pyo3(signature = (
                *args, size = None, out = None, dtype = None, layout = None, device = None,
                pin_memory = false, requires_grad = false, memory_format = None, names = None
            ))]
            fn $name(
                args: &Bound<'_, PyTuple>,
                size: Option<&Bound<'_, PyAny>>,
                out: Option<&Bound<'_, PyAny>>,
                dtype: Option<DTypeArg>,
                layout: Option<LayoutArg>,
                device: Option<DeviceArg>,
                pin_memory: bool,
                requires_grad: bool,
                memory_format: Option<crate::args::FormatArg>,
                names: Option<&Bound<'_, PyAny>>,
            ) -> Out {
                let _ = (layout, device, pin_memory, memory_format, names);
                let ($shape, $dtype) = (&shape(args, size)?, dtype_or_default(dtype));
                leaf_into(stringify!($name), out, $make, requires_grad)
            }
        )*
    };
}

constants! {
    /// A tensor of zeros.
    zeros => |shape, dtype| Tensor::zeros(shape, dtype);
    /// A tensor of ones.
    ones => |shape, dtype| Tensor::ones(shape, dtype);
    /// A tensor of unspecified contents.
    empty => |shape, dtype| Tensor::empty(shape, dtype);
}

/// A tensor of one value.
#[pyfunction]
#[pyo3(signature = (size, fill_value, *, out = None, dtype = None, layout = None, device = None, pin_memory = false, requires_grad = false))]
fn full(
    size: &Bound<'_, PyAny>,
    fill_value: &Bound<'_, PyAny>,
    out: Option<&Bound<'_, PyAny>>,
    dtype: Option<DTypeArg>,
    layout: Option<LayoutArg>,
    device: Option<DeviceArg>,
    pin_memory: bool,
    requires_grad: bool,
) -> Out {
    let _ = (layout, device, pin_memory);
    if !size.hasattr("__iter__")? {
        return Err(PyTypeError::new_err(format!(
            "full(): argument 'size' (position 1) must be tuple of ints, not {}",
            class_name(size)?
        ))
        .into());
    }
    let shape = rustgrad_engine::shape::from_sizes(&crate::args::size_list(size)?)?;
    let value = number(fill_value)?;
    let natural = match convert::tensor(fill_value) {
        Some(tensor) => tensor.dtype(),
        None => value.natural_dtype(rustgrad_engine::default_dtype()),
    };
    leaf_into(
        "full",
        out,
        Tensor::full(&shape, value, dtype.map_or(natural, |dtype| dtype.0)),
        requires_grad,
    )
}

/// A matrix with ones on the diagonal.
#[pyfunction]
#[pyo3(signature = (n, m = None, *, out = None, dtype = None, layout = None, device = None, pin_memory = false, requires_grad = false))]
fn eye(
    n: i64,
    m: Option<i64>,
    out: Option<&Bound<'_, PyAny>>,
    dtype: Option<DTypeArg>,
    layout: Option<LayoutArg>,
    device: Option<DeviceArg>,
    pin_memory: bool,
    requires_grad: bool,
) -> Out {
    let _ = (layout, device, pin_memory);
    for (name, size) in [("n", n), ("m", m.unwrap_or(n))] {
        if size < 0 {
            return Err(PyRuntimeError::new_err(format!(
                "{name} must be greater or equal to 0, got {size}"
            ))
            .into());
        }
    }
    leaf_into(
        "eye",
        out,
        Tensor::eye(n as usize, m.unwrap_or(n) as usize, dtype_or_default(dtype)),
        requires_grad,
    )
}

/// Numbers from `start` to below `end`, `step` apart.
#[pyfunction]
#[pyo3(signature = (*args, start = None, end = None, step = None, out = None, dtype = None, layout = None, device = None, pin_memory = false, requires_grad = false))]
fn arange(
    args: &Bound<'_, PyTuple>,
    start: Option<&Bound<'_, PyAny>>,
    end: Option<&Bound<'_, PyAny>>,
    step: Option<&Bound<'_, PyAny>>,
    out: Option<&Bound<'_, PyAny>>,
    dtype: Option<DTypeArg>,
    layout: Option<LayoutArg>,
    device: Option<DeviceArg>,
    pin_memory: bool,
    requires_grad: bool,
) -> Out {
    let _ = (layout, device, pin_memory);
    let mut limits: Vec<Option<Scalar>> = Vec::new();
    for arg in args {
        limits.push(Some(number(&arg)?));
    }
    let keyword = |value: Option<&Bound<'_, PyAny>>| value.map(number).transpose();
    let (from, to, by) = match (limits.as_slice(), keyword(start)?, keyword(end)?, keyword(step)?) {
        (&[], from, to, by) => (from, to, by),
        (&[to], None, None, by) => (None, to, by),
        (&[from], None, to, by) => (from, to, by),
        (&[from, to], None, None, by) => (from, to, by),
        (&[from, to, by], None, None, None) => (from, to, by),
        _ => {
            return Err(PyTypeError::new_err(
                "arange() received an invalid combination of arguments",
            )
            .into());
        }
    };
    let Some(to) = to else {
        return Err(PyTypeError::new_err("arange() missing the argument \"end\"").into());
    };
    let (from, by) = (from.unwrap_or(Scalar::Int(0)), by.unwrap_or(Scalar::Int(1)));
    let whole = [from, to, by].iter().all(|value| value.category() < 2);
    let natural = if whole { DType::I64 } else { rustgrad_engine::default_dtype() };
    let dtype = dtype.map_or(natural, |dtype| dtype.0);
    let count = steps(from, to, by, dtype)?;
    leaf_into("arange", out, Tensor::arange(from, by, count, dtype), requires_grad)
}

/// How many numbers a range has.
fn steps(from: Scalar, to: Scalar, by: Scalar, dtype: DType) -> PyResult<usize> {
    let (a, b, step) = (from.to_f64(), to.to_f64(), by.to_f64());
    if step == 0.0 {
        return Err(PyRuntimeError::new_err("step must be nonzero"));
    }
    if !a.is_finite() || !b.is_finite() {
        return Err(PyRuntimeError::new_err(format!("unsupported range: {a} -> {b}")));
    }
    if (step > 0.0 && a > b) || (step < 0.0 && a < b) {
        return Err(PyRuntimeError::new_err(
            "upper bound and lower bound inconsistent with step sign",
        ));
    }
    let count = if dtype == DType::I64 && [from, to, by].iter().all(|value| value.category() < 2) {
        let (a, b, step) =
            (i128::from(from.to_i64()), i128::from(to.to_i64()), i128::from(by.to_i64()));
        let sign = step.signum();
        ((b - a + step - sign) / step) as f64
    } else {
        ((b - a) / step).ceil()
    };
    if !(0.0..=9.0e18).contains(&count) {
        return Err(PyRuntimeError::new_err(format!(
            "invalid size, possible overflow: {count} elements"
        )));
    }
    Ok(count as usize)
}

/// The end points and number of steps of `linspace` and `logspace`.
fn spaced(start: &Bound<'_, PyAny>, end: &Bound<'_, PyAny>, steps: i64) -> Bind<(f64, f64, usize)> {
    if steps < 0 {
        return Err(PyRuntimeError::new_err("number of steps must be non-negative").into());
    }
    Ok((number(start)?.to_f64(), number(end)?.to_f64(), steps as usize))
}

/// `steps` numbers evenly spaced, both ends included.
#[pyfunction]
#[pyo3(signature = (start, end, steps, *, out = None, dtype = None, layout = None, device = None, pin_memory = false, requires_grad = false))]
fn linspace(
    start: &Bound<'_, PyAny>,
    end: &Bound<'_, PyAny>,
    steps: i64,
    out: Option<&Bound<'_, PyAny>>,
    dtype: Option<DTypeArg>,
    layout: Option<LayoutArg>,
    device: Option<DeviceArg>,
    pin_memory: bool,
    requires_grad: bool,
) -> Out {
    let _ = (layout, device, pin_memory);
    let (start, end, steps) = spaced(start, end, steps)?;
    leaf_into(
        "linspace",
        out,
        Tensor::linspace(start, end, steps, dtype_or_default(dtype)),
        requires_grad,
    )
}

/// `base` to the power of `steps` numbers evenly spaced.
#[pyfunction]
#[pyo3(signature = (start, end, steps, base = 10.0, *, out = None, dtype = None, layout = None, device = None, pin_memory = false, requires_grad = false))]
fn logspace(
    start: &Bound<'_, PyAny>,
    end: &Bound<'_, PyAny>,
    steps: i64,
    base: f64,
    out: Option<&Bound<'_, PyAny>>,
    dtype: Option<DTypeArg>,
    layout: Option<LayoutArg>,
    device: Option<DeviceArg>,
    pin_memory: bool,
    requires_grad: bool,
) -> Out {
    let _ = (layout, device, pin_memory);
    let (start, end, steps) = spaced(start, end, steps)?;
    let dtype = dtype_or_default(dtype);
    // The exponents of integers are integers at the ends.
    let end_of = |x: f64| if dtype.is_float() { x } else { x.trunc() };
    let exponents = Tensor::linspace(end_of(start), end_of(end), steps, DType::F64)?;
    let values = exponents.binary_scalar(
        rustgrad_engine::ops::binary::Binary::Pow,
        Scalar::Float(base),
        true,
    )?;
    leaf_into("logspace", out, values.to_dtype(dtype), requires_grad)
}

/// Whether a value is a tensor.
#[pyfunction]
fn is_tensor(obj: &Bound<'_, PyAny>) -> bool {
    obj.is_instance_of::<PyTensor>() || crate::standins::is_one(obj)
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(tensor, module)?)?;
    module.add_function(wrap_pyfunction!(as_tensor, module)?)?;
    module.add_function(wrap_pyfunction!(asarray, module)?)?;
    module.add_function(wrap_pyfunction!(interop::from_numpy, module)?)?;
    module.add_function(wrap_pyfunction!(scalar_tensor, module)?)?;
    module.add_function(wrap_pyfunction!(zeros, module)?)?;
    module.add_function(wrap_pyfunction!(ones, module)?)?;
    module.add_function(wrap_pyfunction!(empty, module)?)?;
    module.add_function(wrap_pyfunction!(full, module)?)?;
    module.add_function(wrap_pyfunction!(eye, module)?)?;
    module.add_function(wrap_pyfunction!(arange, module)?)?;
    module.add_function(wrap_pyfunction!(linspace, module)?)?;
    module.add_function(wrap_pyfunction!(logspace, module)?)?;
    module.add_function(wrap_pyfunction!(is_tensor, module)?)
}

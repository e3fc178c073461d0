//! Arguments that many functions share: dtypes, devices, layouts, sizes.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString, PyTuple};
use rustgrad_engine::shape::Dims;
use rustgrad_engine::{DType, Tensor, default_dtype};

use crate::device::PyDevice;
use crate::dtype::PyDType;
use crate::error::Bind;
use crate::tensor::{Out, PyTensor, Wrapped};

/// `dtype=`: one of ours, or `float`, `int`, `bool`.
#[derive(Clone, Copy)]
pub(crate) struct DTypeArg(pub(crate) DType);

impl<'a, 'py> FromPyObject<'a, 'py> for DTypeArg {
    type Error = PyErr;
    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(dtype) = value.cast::<PyDType>() {
            return Ok(Self(dtype.get().0));
        }
        let py = value.py();
        for (class, dtype) in [
            (py.get_type::<PyFloat>(), DType::F64),
            (py.get_type::<PyBool>(), DType::Bool),
            (py.get_type::<PyInt>(), DType::I64),
        ] {
            if value.is(&class) {
                return Ok(Self(dtype));
            }
        }
        Err(PyTypeError::new_err(format!("must be torch.dtype, not {}", class_name(&value)?)))
    }
}

/// `device=`: the CPU.
pub(crate) struct DeviceArg;

impl<'a, 'py> FromPyObject<'a, 'py> for DeviceArg {
    type Error = PyErr;
    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if value.cast::<PyDevice>().is_ok() {
            return Ok(Self);
        }
        if let Ok(text) = value.cast::<PyString>() {
            PyDevice::parse(text.to_str()?)?;
            return Ok(Self);
        }
        Err(PyTypeError::new_err(format!(
            "must be a device or its name, not {}",
            class_name(&value)?
        )))
    }
}

/// `layout=`: dense.
pub(crate) struct LayoutArg;

impl<'a, 'py> FromPyObject<'a, 'py> for LayoutArg {
    type Error = PyErr;
    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if value.str()?.to_str()? == "torch.strided" {
            return Ok(Self);
        }
        Err(PyRuntimeError::new_err("only the layout torch.strided is supported"))
    }
}

/// `memory_format=`: row-major, or as it was.
pub(crate) struct FormatArg;

impl<'a, 'py> FromPyObject<'a, 'py> for FormatArg {
    type Error = PyErr;
    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match value.str()?.to_str()? {
            "torch.contiguous_format" | "torch.preserve_format" => Ok(Self),
            other => {
                Err(PyRuntimeError::new_err(format!("memory format {other} is not supported")))
            }
        }
    }
}

/// The name of a value's class.
pub(crate) fn class_name(value: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(value.get_type().name()?.to_string())
}

/// One size: an integer, but not a bool or a float.
fn size_of(value: &Bound<'_, PyAny>, position: usize) -> PyResult<i64> {
    let wrong = || -> PyResult<i64> {
        Err(PyTypeError::new_err(format!(
            "expected a size to be an integer, but found element of type {} at pos {position}",
            class_name(value)?
        )))
    };
    if value.is_exact_instance_of::<PyInt>() {
        return value.extract();
    }
    if value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyString>() {
        return wrong();
    }
    value.extract().or_else(|_| wrong())
}

/// Sizes as a sequence, or one number.
pub(crate) fn size_list(value: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    // The usual kinds first: asking anything else for an attribute it lacks costs an exception.
    if let Ok(tuple) = value.cast::<PyTuple>() {
        let sizes = tuple.iter_borrowed().enumerate();
        return sizes.map(|(position, item)| size_of(&item, position)).collect();
    }
    if value.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("sizes must be a tuple of integers, not str"));
    }
    if value.is_instance_of::<PyInt>()
        || value.hasattr("__index__")? && !value.hasattr("__iter__")?
    {
        return Ok(vec![size_of(value, 0)?]);
    }
    let mut sizes = Vec::new();
    for (position, item) in value
        .try_iter()
        .map_err(|_| {
            PyTypeError::new_err(format!(
                "sizes must be a tuple of integers, not {}",
                value.get_type()
            ))
        })?
        .enumerate()
    {
        sizes.push(size_of(&item?, position)?);
    }
    Ok(sizes)
}

/// `f(2, 3)`, `f((2, 3))`, `f([2, 3])` or `f(size=(2, 3))`, checked.
pub(crate) fn shape(args: &Bound<'_, PyTuple>, size: Option<&Bound<'_, PyAny>>) -> Bind<Dims> {
    let sizes = match (args.len(), size) {
        (0, Some(size)) => size_list(size)?,
        (_, Some(_)) => {
            return Err(PyTypeError::new_err("got sizes by position and by keyword").into());
        }
        (0, None) => return Err(PyTypeError::new_err("missing the argument \"size\"").into()),
        (1, None) => size_list(&args.get_item(0)?)?,
        (_, None) => size_list(args.as_any())?,
    };
    Ok(rustgrad_engine::shape::from_sizes(&sizes)?)
}

/// `dtype`, or the default for floats.
pub(crate) fn dtype_or_default(dtype: Option<DTypeArg>) -> DType {
    dtype.map_or_else(default_dtype, |dtype| dtype.0)
}

/// A fresh tensor on its way to Python, as a leaf that collects a gradient if asked.
pub(crate) fn leaf(result: rustgrad_engine::Result<Tensor>, requires_grad: bool) -> Out {
    let tensor = result?;
    if requires_grad {
        if !tensor.dtype().is_float() {
            return Err(PyRuntimeError::new_err(
                "Only Tensors of floating point and complex dtype can require gradients",
            )
            .into());
        }
        tensor.set_requires_grad(true)?;
    }
    Ok(Wrapped(tensor))
}

/// [`leaf`], written into `out=` if that is given.
pub(crate) fn leaf_into(
    name: &str,
    out: Option<&Bound<'_, PyAny>>,
    result: rustgrad_engine::Result<Tensor>,
    requires_grad: bool,
) -> Out {
    let Some(out) = out else { return leaf(result, requires_grad) };
    let Ok(target) = out.cast::<PyTensor>() else {
        return Err(PyTypeError::new_err(format!(
            "{name}(): argument 'out' must be Tensor, not {}",
            class_name(out)?
        ))
        .into());
    };
    let out = crate::tensor::unary::deliver(out.py(), name, Wrapped(result?), Some(target))?;
    leaf(Ok(out.get().tensor.clone()), requires_grad)
}

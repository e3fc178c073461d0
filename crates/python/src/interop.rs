//! Sharing memory with NumPy, by its array interface; NumPy is imported when first needed.
#![allow(unsafe_code)]

use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyUserWarning, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use rustgrad_engine::storage::Core;
use rustgrad_engine::{DType, Tensor};

use crate::args::class_name;
use crate::error::Bind;
use crate::tensor::{Out, Wrapped};

static CLASSES: PyOnceLock<[Py<PyAny>; 2]> = PyOnceLock::new();

/// NumPy's `ndarray` and `generic`, if the program has imported NumPy.
fn classes(py: Python<'_>) -> PyResult<Option<&[Py<PyAny>; 2]>> {
    if let Some(known) = CLASSES.get(py) {
        return Ok(Some(known));
    }
    let modules = py.import("sys")?.getattr("modules")?;
    let Ok(numpy) = modules.get_item("numpy") else { return Ok(None) };
    let (Ok(array), Ok(scalar)) = (numpy.getattr("ndarray"), numpy.getattr("generic")) else {
        return Ok(None);
    };
    Ok(Some(CLASSES.get_or_init(py, || [array.unbind(), scalar.unbind()])))
}

/// Whether a value is a NumPy array.
pub(crate) fn is_array(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    match classes(value.py())? {
        None => Ok(false),
        Some([array, _]) => value.is_instance(array.bind(value.py())),
    }
}

/// Whether a value is a NumPy scalar.
pub(crate) fn is_array_scalar(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    match classes(value.py())? {
        None => Ok(false),
        Some([_, scalar]) => value.is_instance(scalar.bind(value.py())),
    }
}

/// The dtype of an array or NumPy scalar.
pub(crate) fn array_dtype(value: &Bound<'_, PyAny>) -> PyResult<DType> {
    let dtype = value.getattr("dtype")?;
    let code: String = dtype.getattr("str")?.extract()?;
    if code.starts_with('>') {
        return Err(PyValueError::new_err(
            "given numpy array has byte order different from the native byte order. Conversion \
             between byte orders is currently not supported.",
        ));
    }
    Ok(match code.trim_start_matches(['<', '|', '=']) {
        "f8" => DType::F64,
        "f4" => DType::F32,
        "i8" => DType::I64,
        "i4" => DType::I32,
        "i2" => DType::I16,
        "i1" => DType::I8,
        "u1" => DType::U8,
        "b1" => DType::Bool,
        _ => {
            let class = dtype.getattr("type")?;
            return Err(PyTypeError::new_err(format!(
                "can't convert np.ndarray of type {}.{}. The only supported types are: float64, \
                 float32, int64, int32, int16, int8, uint8, and bool.",
                class.getattr("__module__")?,
                class.getattr("__name__")?
            )));
        }
    })
}

fn code(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "|b1",
        DType::U8 => "|u1",
        DType::I8 => "|i1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
    }
}

/// A tensor over the memory of an array.
pub(crate) fn share_array(array: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    let dtype = array_dtype(array)?;
    let interface = array.getattr("__array_interface__")?;
    let (address, readonly): (usize, bool) = interface.get_item("data")?.extract()?;
    let shape: Vec<usize> = array.getattr("shape")?.extract()?;
    let bytes: Vec<isize> = array.getattr("strides")?.extract()?;
    let size = dtype.size() as isize;
    let mut strides = Vec::with_capacity(bytes.len());
    for (&stride, &n) in bytes.iter().zip(&shape) {
        if stride < 0 && n > 1 {
            return Err(PyValueError::new_err(
                "At least one stride in the given numpy array is negative, and tensors with \
                 negative strides are not currently supported. (You can probably work around this \
                 by making a copy of your array  with array.copy().) ",
            ));
        }
        if stride % size != 0 {
            return Err(PyValueError::new_err(
                "given numpy array strides not a multiple of the element byte size. Copy the \
                 numpy array to reallocate the memory.",
            ));
        }
        strides.push(stride.max(0) / size);
    }
    if address % dtype.size() != 0 {
        return Err(PyValueError::new_err(
            "given numpy array is not aligned. Copy the numpy array to reallocate the memory.",
        ));
    }
    let owner = Box::new(array.clone().unbind());
    // SAFETY: NumPy vouches for the memory, its shape and strides (checked to be whole, forward
    // and aligned) as long as the array, which is the owner, lives; it is not resized while
    // referenced.
    let core =
        unsafe { Core::foreign(address as *mut u8, dtype, &shape, &strides, owner, !readonly) };
    Ok(Tensor::from_shared(core))
}

/// A copy of a NumPy array or scalar; `None` for anything else.
pub(crate) fn read_array(value: &Bound<'_, PyAny>) -> Bind<Option<Tensor>> {
    if is_array(value)? {
        return Ok(Some(share_array(value)?.copied()?));
    }
    if is_array_scalar(value)? {
        let array = value.py().import("numpy")?.call_method1("asarray", (value,))?;
        return Ok(Some(share_array(&array)?.copied()?));
    }
    Ok(None)
}

/// A tensor that shares the memory of a NumPy array.
#[pyfunction]
pub(crate) fn from_numpy(ndarray: &Bound<'_, PyAny>) -> Out {
    if !is_array(ndarray)? {
        return Err(PyTypeError::new_err(format!(
            "expected np.ndarray (got {})",
            class_name(ndarray)?
        ))
        .into());
    }
    let tensor = share_array(ndarray)?;
    if !tensor.shared_core().writable() {
        warn_read_only(ndarray.py())?;
    }
    Ok(Wrapped(tensor))
}

/// torch's warning about arrays that must not be written.
pub(crate) fn warn_read_only(py: Python<'_>) -> PyResult<()> {
    PyErr::warn(
        py,
        &py.get_type::<PyUserWarning>(),
        c"The given NumPy array is not writable, so writing in place to the tensor that shares its memory is refused. Copy the array to get a tensor that can be written.",
        1,
    )
}

/// Memory of a tensor as NumPy sees it.
#[pyclass(frozen, name = "_Memory", module = "rustgrad")]
struct Memory {
    core: Arc<Core>,
}

#[pymethods]
impl Memory {
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let core = &self.core;
        let size = core.dtype().size() as isize;
        let interface = PyDict::new(py);
        interface.set_item(intern!(py, "version"), 3)?;
        interface.set_item(intern!(py, "typestr"), code(core.dtype()))?;
        interface.set_item(intern!(py, "shape"), PyTuple::new(py, core.shape())?)?;
        if !core.is_contiguous() {
            let strides = core.strides().iter().map(|stride| stride * size);
            interface.set_item(intern!(py, "strides"), PyTuple::new(py, strides)?)?;
        }
        interface.set_item(intern!(py, "data"), (core.address(), !core.writable()))?;
        Ok(interface)
    }
}

/// A NumPy array over the memory of a tensor.
pub(crate) fn to_array<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    static AS_ARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let memory = Bound::new(py, Memory { core: tensor.shared_core() })?;
    AS_ARRAY.import(py, "numpy", "asarray")?.call1((memory,))
}

/// [`to_array`], but not of tensors that require a gradient.
pub(crate) fn checked_array<'py>(
    py: Python<'py>,
    tensor: &Tensor,
    force: bool,
) -> PyResult<Bound<'py, PyAny>> {
    if !force && tensor.requires_grad() {
        return Err(PyRuntimeError::new_err(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.",
        ));
    }
    to_array(py, tensor)
}

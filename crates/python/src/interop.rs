//! Sharing memory with NumPy, by its array interface; NumPy is imported when first needed.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyUserWarning, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCapsule, PyCapsuleMethods};
use rustgrad_engine::storage::Core;
use rustgrad_engine::{DType, Tensor};
use smallvec::SmallVec;

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

/// NumPy's description of an array, as its array interface lays it out for C.
#[repr(C)]
struct ArrayStruct {
    two: c_int,
    ndim: c_int,
    kind: c_char,
    size: c_int,
    flags: c_int,
    shape: *const isize,
    strides: *const isize,
    data: *mut u8,
    descr: *mut c_void,
}

impl ArrayStruct {
    const CONTIGUOUS: c_int = 1;
    const ALIGNED: c_int = 0x100;
    /// The bytes of an element have the machine's order.
    const NATIVE: c_int = 0x200;
    const WRITEABLE: c_int = 0x400;

    /// The dtype, if there is one for it.
    fn dtype(&self) -> Option<DType> {
        if self.flags & Self::NATIVE == 0 {
            return None;
        }
        match (self.kind as u8, self.size) {
            (b'f', 8) => Some(DType::F64),
            (b'f', 4) => Some(DType::F32),
            (b'i', 8) => Some(DType::I64),
            (b'i', 4) => Some(DType::I32),
            (b'i', 2) => Some(DType::I16),
            (b'i', 1) => Some(DType::I8),
            (b'u', 1) => Some(DType::U8),
            (b'b', 1) => Some(DType::Bool),
            _ => None,
        }
    }

    fn kind(dtype: DType) -> c_char {
        let kind = match dtype {
            DType::F64 | DType::F32 => b'f',
            DType::I64 | DType::I32 | DType::I16 | DType::I8 => b'i',
            DType::U8 => b'u',
            DType::Bool => b'b',
        };
        kind as c_char
    }
}

/// A tensor over the memory of an array.
pub(crate) fn share_array(array: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    let capsule = array.getattr(intern!(array.py(), "__array_struct__"))?;
    let inner = capsule.cast::<PyCapsule>()?.pointer_checked(None)?.cast::<ArrayStruct>();
    // SAFETY: NumPy's capsule holds such a structure, which lives as long as that.
    let inner = unsafe { inner.as_ref() };
    let dtype = match inner.dtype() {
        Some(dtype) => dtype,
        // For the error.
        None => array_dtype(array)?,
    };
    let (address, readonly) = (inner.data as usize, inner.flags & ArrayStruct::WRITEABLE == 0);
    let ndim = inner.ndim as usize;
    let mut shape = SmallVec::<[usize; 6]>::new();
    let mut bytes = SmallVec::<[isize; 6]>::new();
    for dim in 0..ndim {
        // SAFETY: there are as many sizes and strides as dimensions.
        let (n, stride) = unsafe { (*inner.shape.add(dim), *inner.strides.add(dim)) };
        shape.push(n as usize);
        bytes.push(stride);
    }
    let size = dtype.size() as isize;
    let mut strides = SmallVec::<[isize; 6]>::new();
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

/// What a capsule for NumPy holds: the structure, and what that points to.
#[repr(C)]
struct Described {
    head: ArrayStruct,
    _lengths: Box<[isize]>,
}

// SAFETY: a description, which nobody writes; whoever reads the memory holds the tensor.
unsafe impl Send for Described {}

#[pymethods]
impl Memory {
    /// What NumPy asks for first: no dictionary is made and read.
    #[getter]
    fn __array_struct__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let core = &self.core;
        let (ndim, size) = (core.shape().len(), core.dtype().size());
        let mut lengths: SmallVec<[isize; 12]> = core.shape().iter().map(|&n| n as isize).collect();
        lengths.extend(core.strides().iter().map(|stride| stride * size as isize));
        // On the heap whatever the number, so that the addresses stay.
        let lengths = lengths.into_boxed_slice();
        let mut flags = ArrayStruct::ALIGNED | ArrayStruct::NATIVE;
        if core.is_contiguous() {
            flags |= ArrayStruct::CONTIGUOUS;
        }
        if core.writable() {
            flags |= ArrayStruct::WRITEABLE;
        }
        let head = ArrayStruct {
            two: 2,
            ndim: ndim as c_int,
            kind: ArrayStruct::kind(core.dtype()),
            size: size as c_int,
            flags,
            shape: lengths.as_ptr(),
            strides: lengths[ndim..].as_ptr(),
            data: core.address() as *mut u8,
            descr: std::ptr::null_mut(),
        };
        #[expect(deprecated, reason = "NumPy asks for a capsule without a name")]
        PyCapsule::new(py, Described { head, _lengths: lengths }, None)
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

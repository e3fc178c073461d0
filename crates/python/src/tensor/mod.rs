//! The class `Tensor`: the engine's tensor itself, one Python object per tensor while it lives.
#![allow(unsafe_code)]

pub(crate) mod activation;
mod arithmetic;
mod autograd;
pub(crate) mod binary;
mod buffer;
pub(crate) mod cast;
mod composed;
pub(crate) mod copy;
mod index;
mod order;
pub(crate) mod print;
pub(crate) mod product;
pub(crate) mod protocol;
mod reduce;
mod subscript;
pub(crate) mod unary;
mod view;

/// Methods that are also functions of the module, by family.
pub(crate) const FUNCTIONS: &[&[&str]] =
    &[index::FUNCTIONS, order::FUNCTIONS, product::FUNCTIONS, reduce::FUNCTIONS, view::FUNCTIONS];

/// Functions whose result shares memory with their input, so that there is no `out=`.
pub(crate) const VIEWS: &[&str] = view::FUNCTIONS;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pyo3::prelude::*;
use pyo3::{PyTypeInfo, ffi};
use rustgrad_engine::Tensor;

use crate::error::Bind;

pub(crate) use view::tuple;

/// A multi-dimensional array with automatic differentiation.
#[pyclass(frozen, subclass, dict, weakref, name = "Tensor", module = "rustgrad")]
pub struct PyTensor {
    pub(crate) tensor: Tensor,
}

impl PyTensor {
    /// Whether the object holds its tensor yet. Python may collect garbage while an object of a
    /// subclass is being made, when its memory is still all zeros.
    pub(crate) fn is_made(&self) -> bool {
        const { assert!(size_of::<Tensor>() == size_of::<usize>()) };
        // SAFETY: a tensor is one pointer; read as an integer, zero is a valid value.
        unsafe { std::ptr::from_ref(&self.tensor).cast::<usize>().read() != 0 }
    }
}

/// From the Python object to the `PyTensor` inside it; the same for all objects of the class.
static OFFSET: AtomicUsize = AtomicUsize::new(0);

impl Drop for PyTensor {
    #[inline]
    fn drop(&mut self) {
        let object =
            (std::ptr::from_ref(self) as usize).wrapping_sub(OFFSET.load(Ordering::Relaxed));
        let slot = self.tensor.foreign();
        // Another object may have taken the place, if this one was being torn down when a tensor
        // was asked for it.
        if slot.load(Ordering::Relaxed) as usize == object {
            slot.store(std::ptr::null_mut(), Ordering::Relaxed);
        }
    }
}

/// The Python object of a tensor: the one it has, or a new one.
#[inline]
pub(crate) fn wrap(py: Python<'_>, tensor: Tensor) -> PyResult<Bound<'_, PyTensor>> {
    let known = tensor.foreign().load(Ordering::Relaxed);
    if !known.is_null() {
        let object = known.cast::<ffi::PyObject>();
        // SAFETY: attached; the slot is cleared when its object is torn down, and an object that
        // is being torn down right now shows a count of zero.
        unsafe {
            if ffi::Py_REFCNT(object) > 0 {
                return Ok(Bound::from_borrowed_ptr(py, object).cast_into_unchecked());
            }
        }
    }
    let bound = make(py, tensor)?;
    adopt(&bound);
    Ok(bound)
}

/// Whether an object of the class is, apart from its head and the tensor, all zeros when it is made.
static PLAIN: AtomicBool = AtomicBool::new(false);

/// Finds out how objects of the class are laid out, see [`make`].
pub(crate) fn register(py: Python<'_>) -> PyResult<()> {
    use rustgrad_engine::{DType, Scalar};
    let Ok(probe) = Tensor::from_scalar(Scalar::Float(0.0), DType::F32) else { return Ok(()) };
    let bound = Bound::new(py, PyTensor { tensor: probe })?;
    adopt(&bound);
    let from = OFFSET.load(Ordering::Relaxed) + size_of::<PyTensor>();
    // SAFETY: a live type object, and the bytes of a live object of that type that is not subclassed;
    // what PyO3 keeps there are pointers.
    let (rest, dict) = unsafe {
        let class = bound.get_type().as_type_ptr();
        let size = (*class).tp_basicsize as usize;
        let rest = std::slice::from_raw_parts(bound.as_ptr().cast::<u8>().add(from), size - from);
        (rest, (*class).tp_dictoffset as usize)
    };
    // The place of the dictionary may be filled: Python makes one where there is none.
    let is_dict = |at: usize| (dict..dict + size_of::<usize>()).contains(&(from + at));
    let plain = rest.iter().enumerate().all(|(at, &byte)| byte == 0 || is_dict(at));
    PLAIN.store(plain, Ordering::Relaxed);
    Ok(())
}

/// A new Python object. `Bound::new` asks `object.__new__`, which on Python 3.11 makes a dictionary for
/// every object; here Python makes one when somebody asks for it.
#[inline]
fn make(py: Python<'_>, tensor: Tensor) -> PyResult<Bound<'_, PyTensor>> {
    if !PLAIN.load(Ordering::Relaxed) {
        return Bound::new(py, PyTensor { tensor });
    }
    // SAFETY: attached; the memory is zeroed, and `register` saw that this is how objects of the class
    // start, apart from the tensor (no dictionary, no weak references); that is written to the place where it was found in another object of the class.
    unsafe {
        let object = ffi::PyType_GenericAlloc(PyTensor::type_object_raw(py), 0);
        if object.is_null() {
            return Err(PyErr::fetch(py));
        }
        object
            .cast::<u8>()
            .add(OFFSET.load(Ordering::Relaxed))
            .cast::<PyTensor>()
            .write(PyTensor { tensor });
        Ok(Bound::from_owned_ptr(py, object).cast_into_unchecked())
    }
}

/// Notes the Python object in its tensor.
#[inline]
pub(crate) fn adopt(bound: &Bound<'_, PyTensor>) {
    let inner = std::ptr::from_ref(bound.get()) as usize;
    let object = bound.as_ptr() as usize;
    OFFSET.store(inner - object, Ordering::Relaxed);
    bound.get().tensor.foreign().store(bound.as_ptr().cast(), Ordering::Relaxed);
}

thread_local! {
    /// The tensor that an object of a subclass is being made for.
    static PENDING: std::cell::Cell<Option<Tensor>> = const { std::cell::Cell::new(None) };
}

/// A new object of a subclass for a fresh tensor.
pub(crate) fn make_subclass<'py>(
    cls: &Bound<'py, pyo3::types::PyType>,
    tensor: Tensor,
    requires_grad: bool,
) -> Bind<Bound<'py, PyAny>> {
    let py = cls.py();
    let base = py.get_type::<PyTensor>();
    if !cls.is_subclass(&base)? {
        return Err(pyo3::exceptions::PyTypeError::new_err(
            "cls must be a type that derives from Tensor",
        )
        .into());
    }
    tensor.set_requires_grad(requires_grad)?;
    PENDING.set(Some(tensor));
    let made = base.getattr(pyo3::intern!(py, "__new__"))?.call1((cls,));
    PENDING.set(None);
    let made = made?;
    adopt(made.cast::<PyTensor>().map_err(PyErr::from)?);
    Ok(made)
}

/// A result of the engine on its way to Python.
pub(crate) struct Wrapped(pub(crate) Tensor);

impl<'py> IntoPyObject<'py> for Wrapped {
    type Target = PyTensor;
    type Output = Bound<'py, PyTensor>;
    type Error = PyErr;
    #[inline]
    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        wrap(py, self.0)
    }
}

/// The result of a method that gives a tensor.
pub(crate) type Out = Bind<Wrapped>;

/// Wraps the result of an engine call.
#[inline]
pub(crate) fn out(result: rustgrad_engine::Result<Tensor>) -> Out {
    Ok(Wrapped(result?))
}

/// Runs an engine call on a tensor, without the interpreter if the tensor is large.
#[inline]
pub(crate) fn run(
    py: Python<'_>,
    tensor: &Tensor,
    work: impl FnOnce() -> rustgrad_engine::Result<Tensor> + Send,
) -> Out {
    Ok(Wrapped(crate::gil::detached(py, tensor.byte_hint(), work)?))
}

//! Shapes on their way to Python: `Size`, a tuple.
#![allow(unsafe_code)]

use parking_lot::Mutex;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};
use rustgrad_engine::shape::Dims;

static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Shapes made lately: programs ask for the same few again and again, and a `Size` cannot change.
const LATELY: usize = 64;
static MADE: Mutex<[Option<(Dims, Py<PyAny>)>; LATELY]> = Mutex::new([const { None }; LATELY]);

/// A shape as a `Size`.
pub(crate) fn size<'py>(py: Python<'py>, shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    let mix = |hash: usize, &n: &usize| (hash ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let place = shape.iter().fold(shape.len(), mix) >> (usize::BITS - LATELY.ilog2());
    if let Some((known, made)) = &MADE.lock()[place] {
        if known[..] == *shape {
            return Ok(made.bind(py).clone());
        }
    }
    let made = make(py, shape)?;
    let entry = Some((Dims::from_slice(shape), made.clone().unbind()));
    let old = std::mem::replace(&mut MADE.lock()[place], entry);
    // Without the lock: dropping runs Python's code.
    drop(old);
    Ok(made)
}

/// `shape[index]`: what a tuple gives, as a `Size` if it is a part.
unsafe extern "C" fn subscript(
    this: *mut ffi::PyObject,
    index: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls this, attached, with a tuple and an object; what a tuple gives is ours.
    unsafe {
        let tuple = &raw mut ffi::PyTuple_Type;
        let slot = ffi::PyType_GetSlot(tuple, ffi::Py_mp_subscript);
        let get = std::mem::transmute::<*mut std::ffi::c_void, Option<ffi::binaryfunc>>(slot);
        let Some(get) = get else { return std::ptr::null_mut() };
        let found = get(this, index);
        if found.is_null() || ffi::PySlice_Check(index) == 0 {
            return found;
        }
        let py = Python::assume_attached();
        let part = Bound::from_owned_ptr(py, found);
        match class(py).and_then(|class| class.bind(py).call1((part,))) {
            Ok(part) => part.into_ptr(),
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        }
    }
}

/// The class that `Size` derives from, a tuple whose subscript is not written in Python: loops ask for
/// `x.shape[0]`.
fn base(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let mut slots = [
        ffi::PyType_Slot { slot: ffi::Py_tp_base, pfunc: (&raw mut ffi::PyTuple_Type).cast() },
        ffi::PyType_Slot { slot: ffi::Py_mp_subscript, pfunc: subscript as *mut std::ffi::c_void },
        ffi::PyType_Slot { slot: 0, pfunc: std::ptr::null_mut() },
    ];
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE;
    let mut spec = ffi::PyType_Spec {
        name: c"rustgrad._core._SizeBase".as_ptr(),
        basicsize: 0,
        itemsize: 0,
        flags: flags as std::ffi::c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: attached; the slots end with a zero, the name is static, sizes of zero are those of a tuple.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec)) }
}

pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.setattr("_SizeBase", base(module.py())?)
}

fn class(py: Python<'_>) -> PyResult<&Py<PyType>> {
    CLASS.get_or_try_init(py, || {
        let class = py.import("rustgrad._size")?.getattr("Size")?;
        PyResult::Ok(class.cast_into::<PyType>()?.unbind())
    })
}

fn make<'py>(py: Python<'py>, shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    class(py)?.bind(py).call1((PyTuple::new(py, shape)?,))
}

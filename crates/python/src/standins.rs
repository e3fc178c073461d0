//! Objects that stand for tensors while a function runs for a whole batch at once (`rustgrad._batching`).
//!
//! They are no tensors to the code here, so whatever takes one raises a `TypeError` before it has done
//! anything. Functions of the module and some methods then ask a handler written in Python, which knows what
//! the operation is for a batch. A call without such objects pays for none of it: only failures look for them.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::raw::{c_char, c_int};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};

use crate::error::Bind;

/// The class of the objects, once there is one; it lives for ever, as does the handler.
static CLASS: AtomicPtr<ffi::PyObject> = AtomicPtr::new(null_mut());
static HANDLER: AtomicPtr<ffi::PyObject> = AtomicPtr::new(null_mut());

/// Whether an object stands for a tensor.
pub(crate) fn is_one(value: &Bound<'_, PyAny>) -> bool {
    let class = CLASS.load(Ordering::Acquire);
    // SAFETY: the class is a type object that was leaked, the value is alive.
    !class.is_null() && unsafe { ffi::PyObject_TypeCheck(value.as_ptr(), class.cast()) != 0 }
}

/// Whether an object is one, or a list or tuple that holds one.
fn holds(value: &Bound<'_, PyAny>, depth: usize) -> bool {
    if is_one(value) {
        return true;
    }
    if depth == 0 {
        return false;
    }
    if let Ok(tuple) = value.cast::<PyTuple>() {
        return tuple.iter().any(|item| holds(&item, depth - 1));
    }
    value.cast::<PyList>().is_ok_and(|list| list.iter().any(|item| holds(&item, depth - 1)))
}

/// What the handler says of an operation, if an argument is such an object.
pub(crate) fn ask<'py>(
    name: &str,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> Option<PyResult<Bound<'py, PyAny>>> {
    let py = args.py();
    let handler = HANDLER.load(Ordering::Acquire);
    let found = !handler.is_null()
        && (args.iter().any(|arg| holds(&arg, 3))
            || kwargs.is_some_and(|kwargs| kwargs.iter().any(|(_, value)| holds(&value, 3))));
    if !found {
        return None;
    }
    // SAFETY: the handler was leaked.
    let handler = unsafe { Bound::from_borrowed_ptr(py, handler) };
    let kwargs = kwargs.map_or_else(|| PyDict::new(py), Clone::clone);
    Some(handler.call1((name, args, kwargs)))
}

/// Goes on after a call that failed, with its exception set.
///
/// # Safety
/// Attached; arguments as for a vectorcall, borrowed.
#[cold]
pub(crate) unsafe fn after_failure(
    original: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    n: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the caller's promise.
    unsafe { after_failure_of(original, null_mut(), args, n, names) }
}

/// As [`after_failure`], of a function exported under this name, if one is given.
#[cold]
unsafe fn after_failure_of(
    original: *mut ffi::PyObject,
    exported: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    n: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    if HANDLER.load(Ordering::Acquire).is_null() {
        return null_mut();
    }
    // SAFETY: the caller's promise.
    unsafe {
        let py = Python::assume_attached();
        let error = PyErr::fetch(py);
        let value = |i: usize| Bound::from_borrowed_ptr(py, *args.add(i));
        let answer = (|| -> PyResult<Option<Bound<'_, PyAny>>> {
            let positional = PyTuple::new(py, (0..n as usize).map(value))?;
            let kwargs = PyDict::new(py);
            if !names.is_null() {
                let names = Bound::from_borrowed_ptr(py, names).cast_into_unchecked::<PyTuple>();
                for (i, name) in names.iter().enumerate() {
                    kwargs.set_item(name, value(n as usize + i))?;
                }
            }
            let name: String = if exported.is_null() {
                Bound::from_borrowed_ptr(py, original).getattr("__name__")?.extract()?
            } else {
                Bound::from_borrowed_ptr(py, exported).extract()?
            };
            ask(&name, &positional, Some(&kwargs)).transpose()
        })();
        match answer {
            Ok(Some(answer)) => answer.into_ptr(),
            Ok(None) => {
                error.restore(py);
                null_mut()
            }
            Err(other) => {
                other.restore(py);
                null_mut()
            }
        }
    }
}

type Fast = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// What a guarded function keeps: the function it stands before, and how that is called.
#[repr(C)]
struct Guarded {
    call: Option<Fast>,
    receiver: *mut ffi::PyObject,
    original: *mut ffi::PyObject,
    /// The name under which it is exported.
    exported: *mut ffi::PyObject,
}

/// Calls a function and, if it fails, asks the handler. The receiver is a module of our making, so that
/// the function is pickled by its name like any other of a module.
unsafe extern "C" fn guarded(
    receiver: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    n: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by Python with the vectorcall convention; the receiver's state was filled by `guard`.
    unsafe {
        let kept = &*ffi::PyModule_GetState(receiver).cast::<Guarded>();
        let result = match kept.call {
            Some(call) => call(kept.receiver, args, n, names),
            None => ffi::PyObject_Vectorcall(kept.original, args, n as usize, names),
        };
        if result.is_null() {
            return after_failure_of(kept.original, kept.exported, args, n, names);
        }
        result
    }
}

fn leak(text: String) -> *const c_char {
    CString::new(text).map_or(null(), |text| text.into_raw().cast_const())
}

/// A function that stands before another one of the module.
fn guard<'py>(
    module: &Bound<'py, PyModule>,
    exported: &str,
    original: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = module.py();
    let name: String = original.getattr("__name__")?.extract()?;
    let doc: Option<String> = original.getattr("__doc__")?.extract()?;
    let mut text = doc.unwrap_or_default();
    if let Ok(signature) = original.getattr("__text_signature__")?.extract::<String>() {
        text = format!("{name}{signature}\n--\n\n{text}");
    }
    let fast: c_int = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    // SAFETY: definitions and the original are leaked; the state has room for what is written, and the
    // original is a builtin function, whose definition says how it is called.
    unsafe {
        let definition = Box::into_raw(Box::new(ffi::PyMethodDef {
            ml_name: leak(name),
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: guarded },
            ml_flags: fast,
            ml_doc: leak(text),
        }));
        let about = Box::into_raw(Box::new(ffi::PyModuleDef {
            m_base: ffi::PyModuleDef_HEAD_INIT,
            m_name: leak(module.name()?.to_string()),
            m_doc: null(),
            m_size: size_of::<Guarded>() as ffi::Py_ssize_t,
            m_methods: null_mut(),
            m_slots: null_mut(),
            m_traverse: None,
            m_clear: None,
            m_free: None,
        }));
        let own = Bound::from_owned_ptr_or_err(
            py,
            ffi::PyModule_Create2(about, ffi::PYTHON_API_VERSION),
        )?;
        let same = ffi::PyCFunction_GetFlags(original.as_ptr()) == fast;
        let call = ffi::PyCFunction_GetFunction(original.as_ptr());
        let kept = ffi::PyModule_GetState(own.as_ptr()).cast::<Guarded>();
        kept.write(Guarded {
            // The flags say that it is of this type.
            call: call
                .filter(|_| same)
                .map(|call| std::mem::transmute::<ffi::PyCFunction, Fast>(call)),
            receiver: ffi::PyCFunction_GetSelf(original.as_ptr()),
            original: original.clone().into_ptr(),
            exported: pyo3::types::PyString::new(py, exported).into_ptr(),
        });
        let made = ffi::PyCFunction_NewEx(definition, own.as_ptr(), module.name()?.as_ptr());
        Bound::from_owned_ptr_or_err(py, made)
    }
}

/// Functions that take no tensor, or for which a tensor is not what they need.
const APART: &[&str] = &[
    "arange",
    "as_tensor",
    "asarray",
    "broadcast_shapes",
    "can_cast",
    "empty",
    "eye",
    "from_numpy",
    "full",
    "get_default_dtype",
    "get_num_threads",
    "get_printoptions",
    "get_rng_state",
    "initial_seed",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "is_tensor",
    "is_warn_always_enabled",
    "linspace",
    "logspace",
    "manual_seed",
    "memory_stats",
    "ones",
    "promote_types",
    "rand",
    "randint",
    "randn",
    "randperm",
    "scalar_tensor",
    "seed",
    "set_default_dtype",
    "set_num_threads",
    "set_printoptions",
    "set_rng_state",
    "set_warn_always",
    "tensor",
    "tril_indices",
    "triu_indices",
    "zeros",
];

/// Names the class and the handler, called with the name of an operation, its arguments and keywords.
#[pyfunction]
fn _set_stand_ins(class: Bound<'_, PyType>, handler: Bound<'_, PyAny>) -> Bind<()> {
    if !CLASS.load(Ordering::Acquire).is_null() {
        return Err(PyTypeError::new_err("the class of stand-ins is set once").into());
    }
    CLASS.store(class.into_any().into_ptr(), Ordering::Release);
    HANDLER.store(handler.into_ptr(), Ordering::Release);
    Ok(())
}

/// Guards what was exported before; comes last.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let builtin = module.py().import("types")?.getattr("BuiltinFunctionType")?;
    let entries: Vec<(String, Bound<'_, PyAny>)> = module
        .dict()
        .iter()
        .filter_map(|(name, value)| Some((name.extract().ok()?, value)))
        .collect();
    for (name, function) in entries {
        let ours =
            ["_nn_", "_linalg_", "_one_hot", "_grad"].iter().any(|start| name.starts_with(start));
        let private = name.starts_with('_') && !ours;
        if private || APART.contains(&name.as_str()) || !function.is_instance(&builtin)? {
            continue;
        }
        // Functions that are methods look after themselves (see `spelling`).
        if function.getattr("__module__")?.is_none() {
            continue;
        }
        // It is listed already.
        module.setattr(name.as_str(), guard(module, &name, &function)?)?;
    }
    module.add_function(wrap_pyfunction!(_set_stand_ins, module)?)
}

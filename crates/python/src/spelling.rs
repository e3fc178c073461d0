//! Keywords by other names: NumPy's (`axis=`, `keepdims=`, `x=`), and for functions that are methods
//! of `Tensor` the names that only the function has (`input=`, `out=`).
//!
//! A call without keywords goes straight on; the wrapper costs a few nanoseconds.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::raw::c_char;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use smallvec::SmallVec;

use crate::convert;
use crate::error::Bind;
use crate::tensor::PyTensor;
use crate::tensor::unary::deliver;

/// NumPy's names and torch's.
const ALIASES: &[(&str, &str)] = &[
    ("axis", "dim"),
    ("keepdims", "keepdim"),
    ("x", "input"),
    ("a", "input"),
    ("x1", "input"),
    ("x2", "other"),
];

/// As many methods can be wrapped as there are trampolines.
const MOST: usize = 136;

/// The methods behind the trampolines; each lives as long as its class, which is for ever.
static ORIGINALS: [AtomicPtr<ffi::PyObject>; MOST] = [const { AtomicPtr::new(null_mut()) }; MOST];

type Fast = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// A method of the class: puts the receiver first and goes on.
unsafe extern "C" fn method<const I: usize>(
    receiver: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    n: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let original = ORIGINALS[I].load(Ordering::Relaxed);
    // SAFETY: called by Python with the vectorcall convention: `n` positional arguments, then as
    // many values as there are names, all borrowed for the call.
    unsafe {
        let keywords = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
        let mut all: SmallVec<[*mut ffi::PyObject; 8]> = SmallVec::new();
        all.push(receiver);
        all.extend((0..(n + keywords) as usize).map(|i| *args.add(i)));
        let result = if keywords == 0 {
            ffi::PyObject_Vectorcall(original, all.as_ptr(), n as usize + 1, null_mut())
        } else {
            with_keywords(original, all.as_ptr(), n + 1, names, false)
        };
        if result.is_null() {
            return crate::standins::after_failure(original, all.as_ptr(), n + 1, names);
        }
        result
    }
}

/// A function of the module; `original` is the method it stands for, or the function itself.
unsafe extern "C" fn function(
    original: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    n: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as for `method`.
    unsafe {
        let result = if names.is_null() {
            ffi::PyObject_Vectorcall(original, args, n as usize, null_mut())
        } else {
            with_keywords(original, args, n, names, true)
        };
        if result.is_null() {
            return crate::standins::after_failure(original, args, n, names);
        }
        result
    }
}

/// Calls with keywords under torch's names.
#[cold]
unsafe fn with_keywords(
    original: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    n: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
    is_function: bool,
) -> *mut ffi::PyObject {
    // SAFETY: called from Python, so attached; the arguments are borrowed for the call.
    unsafe {
        let py = Python::assume_attached();
        let original = Bound::from_borrowed_ptr(py, original);
        let names = Bound::from_borrowed_ptr(py, names).cast_into_unchecked::<PyTuple>();
        let value = |i: usize| Bound::from_borrowed_ptr(py, *args.add(i));
        let positional: Vec<_> = (0..n as usize).map(value).collect();
        let keywords: Vec<_> = (n as usize..n as usize + names.len()).map(value).collect();
        let result = renamed(&original, positional, &names, keywords, is_function);
        match result {
            Ok(result) => result.into_ptr(),
            Err(error) => {
                PyErr::from(error).restore(py);
                null_mut()
            }
        }
    }
}

fn renamed<'py>(
    original: &Bound<'py, PyAny>,
    mut positional: Vec<Bound<'py, PyAny>>,
    names: &Bound<'py, PyTuple>,
    values: Vec<Bound<'py, PyAny>>,
    is_function: bool,
) -> Bind<Bound<'py, PyAny>> {
    let py = original.py();
    let signature = original.getattr("__text_signature__")?.extract::<String>().unwrap_or_default();
    let of_method = is_function && signature.contains("$self");
    let takes_out = is_function && !signature.contains("out=");
    let keywords = PyDict::new(py);
    let mut out = None;
    for (name, value) in names.iter().zip(values) {
        let name: String = name.extract()?;
        let known = ALIASES.iter().find(|alias| alias.0 == name);
        let asked = name.as_str();
        let name = known.map_or(asked, |alias| alias.1);
        if keywords.contains(name)? {
            return Err(PyTypeError::new_err(format!(
                "got an unexpected keyword argument '{asked}'"
            ))
            .into());
        }
        if of_method && name == "input" && positional.is_empty() {
            positional.push(value);
        } else if takes_out && name == "out" {
            out = Some(value).filter(|out| !out.is_none());
        } else {
            keywords.set_item(name, value)?;
        }
    }
    let name: String = original.getattr("__name__")?.extract()?;
    if positional.is_empty() && of_method {
        return Err(PyTypeError::new_err(format!(
            "{name}() missing 1 required positional arguments: \"input\""
        ))
        .into());
    }
    if let (Some(_), true) = (&out, crate::tensor::VIEWS.contains(&name.as_str())) {
        return Err(PyTypeError::new_err(format!(
            "{name}() got an unexpected keyword argument 'out'"
        ))
        .into());
    }
    let positional = PyTuple::new(py, positional)?;
    let result = original.call(positional, Some(&keywords))?;
    let Some(out) = out else { return Ok(result) };
    if let Some(tensor) = convert::tensor(&result) {
        let Ok(target) = out.cast::<PyTensor>() else {
            return Err(PyTypeError::new_err(format!(
                "{name}(): argument 'out' must be Tensor, not {}",
                out.get_type().name()?
            ))
            .into());
        };
        let done = deliver(py, &name, crate::tensor::Wrapped(tensor.clone()), Some(target))?;
        return Ok(done.into_any());
    }
    let results = result.cast::<PyTuple>().map_err(PyErr::from)?;
    let targets: Vec<Bound<'py, PyTensor>> = out.extract()?;
    if targets.len() != results.len() {
        return Err(PyTypeError::new_err(format!(
            "{name}() gives {} tensors, out= has {}",
            results.len(),
            targets.len()
        ))
        .into());
    }
    let mut written = Vec::new();
    for (result, target) in results.iter().zip(&targets) {
        if let Some(tensor) = convert::tensor(&result) {
            let wrapped = crate::tensor::Wrapped(tensor.clone());
            written.push(deliver(py, &name, wrapped, Some(target))?);
        }
    }
    Ok(result.get_type().call1((PyTuple::new(py, written)?,))?)
}

macro_rules! trampolines {
    ($($tens:literal)*) => {
        [$(
            method::<{ $tens * 8 }>, method::<{ $tens * 8 + 1 }>, method::<{ $tens * 8 + 2 }>,
            method::<{ $tens * 8 + 3 }>, method::<{ $tens * 8 + 4 }>, method::<{ $tens * 8 + 5 }>,
            method::<{ $tens * 8 + 6 }>, method::<{ $tens * 8 + 7 }>,
        )*]
    };
}

static TRAMPOLINES: [Fast; MOST] = trampolines!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);

/// A definition that lives for ever, with name, signature and documentation of the original.
fn definition(
    original: &Bound<'_, PyAny>,
    call: Fast,
    is_function: bool,
) -> PyResult<*mut ffi::PyMethodDef> {
    let name: String = original.getattr("__name__")?.extract()?;
    let doc: Option<String> = original.getattr("__doc__")?.extract()?;
    let mut text = doc.unwrap_or_default();
    if let Ok(signature) = original.getattr("__text_signature__")?.extract::<String>() {
        let signature = if is_function {
            signature
                .replacen("$self, /, ", "input, ", 1)
                .replacen("$self, /", "input", 1)
                .replacen("$self", "input", 1)
        } else {
            signature
        };
        text = format!("{name}{signature}\n--\n\n{text}");
    }
    let leak = |text: String| -> *const c_char {
        CString::new(text).map_or(null(), |text| text.into_raw().cast_const())
    };
    Ok(Box::into_raw(Box::new(ffi::PyMethodDef {
        ml_name: leak(name),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: call },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: leak(text),
    })))
}

/// A function of the module that calls a method or function under torch's names of keywords.
pub(crate) fn wrap_function<'py>(original: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let definition = definition(original, function, true)?;
    // SAFETY: the definition is leaked; the function keeps the original as its receiver.
    unsafe {
        let made = ffi::PyCFunction_NewEx(definition, original.as_ptr(), null_mut());
        Bound::from_owned_ptr_or_err(original.py(), made)
    }
}

/// Methods that take other tensors than their receiver, which may stand for a batch (see `standins`).
const WITH_TENSORS: &[&str] = &[
    "_channel_norm",
    "_cross_entropy",
    "_layer_norm",
    "_nll_loss",
    "_pair_loss",
    "add_",
    "copy_",
    "div_",
    "expand_as",
    "index_put_",
    "masked_fill",
    "masked_fill_",
    "mul_",
    "sub_",
];

/// Wraps the methods of the class that take a `dim`, are products, or take other tensors.
pub(crate) fn wrap_methods<'a>(
    py: Python<'_>,
    names: impl Iterator<Item = &'a str>,
) -> PyResult<()> {
    let class = py.get_type::<PyTensor>();
    let mut next = 0;
    for name in names.chain(WITH_TENSORS.iter().copied()) {
        let original = class.getattr(name)?;
        let signature = original.getattr("__text_signature__")?;
        let takes = signature.extract::<String>().is_ok_and(|text| text.contains("dim"))
            || crate::tensor::product::FUNCTIONS.contains(&name)
            || WITH_TENSORS.contains(&name);
        if !takes || next == MOST {
            continue;
        }
        let definition = definition(&original, TRAMPOLINES[next], false)?;
        ORIGINALS[next].store(original.clone().into_ptr(), Ordering::Relaxed);
        next += 1;
        // SAFETY: the definition is leaked, the class is a type object.
        let wrapped = unsafe {
            let made = ffi::PyDescr_NewMethod(class.as_type_ptr(), definition);
            Bound::from_owned_ptr_or_err(py, made)?
        };
        class.setattr(name, wrapped)?;
    }
    Ok(())
}

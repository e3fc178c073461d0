//! Python numbers, sizes and dims to the engine's.
#![allow(unsafe_code)]

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyTuple};
use rustgrad_engine::{Scalar, Tensor};

use crate::error::Bind;
use crate::tensor::PyTensor;

/// A Python number; `None` for anything else.
#[inline]
pub(crate) fn scalar(value: &Bound<'_, PyAny>) -> PyResult<Option<Scalar>> {
    let ptr = value.as_ptr();
    // SAFETY: `value` is a live object; the float was just checked to be one.
    unsafe {
        if ffi::PyFloat_CheckExact(ptr) != 0 {
            return Ok(Some(Scalar::Float(ffi::PyFloat_AS_DOUBLE(ptr))));
        }
    }
    if value.is_exact_instance_of::<PyInt>() {
        return Ok(Some(Scalar::Int(value.extract()?)));
    }
    scalar_slow(value)
}

#[inline(never)]
fn scalar_slow(value: &Bound<'_, PyAny>) -> PyResult<Option<Scalar>> {
    if value.is_instance_of::<PyBool>() {
        return Ok(Some(Scalar::Bool(value.is_truthy()?)));
    }
    if value.is_instance_of::<PyFloat>() {
        return Ok(Some(Scalar::Float(value.extract()?)));
    }
    if value.is_instance_of::<PyInt>() {
        return Ok(Some(Scalar::Int(value.extract()?)));
    }
    // NumPy's scalars, which are not Python numbers by class.
    if value.hasattr("dtype")? && value.hasattr("item")? && !value.hasattr("__len__")? {
        let item = value.call_method0("item")?;
        if !item.is(value) {
            return scalar(&item);
        }
    }
    Ok(None)
}

/// The tensor behind an argument, if it is one.
#[inline]
pub(crate) fn tensor<'a>(value: &'a Bound<'_, PyAny>) -> Option<&'a Tensor> {
    value.cast::<PyTensor>().ok().map(|bound| &bound.get().tensor)
}

/// A tensor, or a number as a 0-d tensor that yields in promotion.
pub(crate) fn tensor_or_number(value: &Bound<'_, PyAny>) -> Bind<Tensor> {
    if let Some(tensor) = tensor(value) {
        return Ok(tensor.clone());
    }
    match scalar(value)? {
        Some(number) => {
            let dtype = number.natural_dtype(rustgrad_engine::default_dtype());
            Ok(Tensor::from_scalar(number, dtype)?.into_number())
        }
        None => Err(PyTypeError::new_err(format!(
            "expected a Tensor or a number, got {}",
            value.get_type().name()?
        ))
        .into()),
    }
}

/// As [`tensor_or_number`], for use beside another tensor: a number takes its dtype if that is
/// floating, so that it loses no digits.
pub(crate) fn tensor_or_number_like(value: &Bound<'_, PyAny>, other: &Tensor) -> Bind<Tensor> {
    if other.dtype().is_float() && tensor(value).is_none() {
        if let Some(number) = scalar(value)? {
            return Ok(Tensor::from_scalar(number, other.dtype())?.into_number());
        }
    }
    tensor_or_number(value)
}

/// Sizes given as `f(2, 3)`, `f((2, 3))` or `f([2, 3])`.
pub(crate) fn sizes(args: &Bound<'_, PyTuple>) -> PyResult<Vec<i64>> {
    if args.len() == 1 {
        let only = args.get_item(0)?;
        // The usual kinds first: asking a tuple for an attribute it lacks costs an exception.
        if let Ok(tuple) = only.cast::<PyTuple>() {
            return tuple.iter_borrowed().map(|item| item.extract()).collect();
        }
        if !only.is_instance_of::<PyInt>() && !only.hasattr("__index__")? {
            return only.extract();
        }
        if let Ok(list) = only.extract::<Vec<i64>>() {
            return Ok(list);
        }
    }
    args.extract()
}

/// `dim=None`, `dim=1` or `dim=(0, 1)`.
pub(crate) enum DimArg {
    /// One dimension.
    One(i64),
    /// Several.
    Many(Vec<i64>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for DimArg {
    type Error = PyErr;
    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if value.is_instance_of::<PyTuple>() {
            return Ok(Self::Many(value.extract()?));
        }
        if let Ok(one) = value.extract::<i64>() {
            return Ok(Self::One(one));
        }
        Ok(Self::Many(value.extract()?))
    }
}

impl DimArg {
    /// The dims as a list.
    pub(crate) fn list(&self) -> Vec<i64> {
        match self {
            Self::One(one) => vec![*one],
            Self::Many(many) => many.clone(),
        }
    }
}

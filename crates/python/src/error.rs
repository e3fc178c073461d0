//! Engine errors as the Python exceptions torch raises.

use pyo3::exceptions::{
    PyIndexError, PyKeyboardInterrupt, PyMemoryError, PyNotImplementedError, PyRuntimeError,
    PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use rustgrad_engine::{Error, ErrorKind};

/// An error on its way to Python; `?` turns either kind into it.
pub(crate) struct BindError(PyErr);

/// The result of everything the bindings export.
pub(crate) type Bind<T> = Result<T, BindError>;

impl From<PyErr> for BindError {
    fn from(error: PyErr) -> Self {
        Self(error)
    }
}

impl From<Error> for BindError {
    #[cold]
    fn from(error: Error) -> Self {
        Self(to_python(error))
    }
}

impl From<BindError> for PyErr {
    fn from(error: BindError) -> Self {
        error.0
    }
}

/// The exception for an engine error; a foreign one is the Python exception it carries.
#[cold]
pub(crate) fn to_python(error: Error) -> PyErr {
    let message = error.message().to_owned();
    match error.kind() {
        ErrorKind::Runtime => PyRuntimeError::new_err(message),
        ErrorKind::Index => PyIndexError::new_err(message),
        ErrorKind::Type => PyTypeError::new_err(message),
        ErrorKind::Value => PyValueError::new_err(message),
        ErrorKind::NotImplemented => PyNotImplementedError::new_err(message),
        ErrorKind::Memory => PyMemoryError::new_err(message),
        ErrorKind::Interrupted => PyKeyboardInterrupt::new_err(message),
        ErrorKind::Foreign => match error.into_payload().map(|payload| payload.downcast::<PyErr>())
        {
            Some(Ok(error)) => *error,
            _ => PyRuntimeError::new_err(message),
        },
    }
}

/// A Python exception as an engine error that passes through the engine unchanged.
#[cold]
pub(crate) fn to_engine(error: PyErr) -> Error {
    Error::foreign(error.to_string(), Box::new(error))
}

//! `torch.device`: the CPU.

use pyo3::exceptions::{PyAssertionError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Where a tensor lives; always the CPU.
#[pyclass(frozen, name = "device", module = "rustgrad", eq, hash)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PyDevice {
    index: Option<usize>,
}

const NAMES: [&str; 8] = ["cuda", "mps", "xpu", "meta", "hip", "xla", "vulkan", "mtia"];

impl PyDevice {
    /// Reads `cpu` or `cpu:0`.
    pub(crate) fn parse(text: &str) -> PyResult<Self> {
        let (name, index) = match text.split_once(':') {
            None => (text, None),
            Some((name, index)) => (name, Some(index)),
        };
        if name == "cpu" {
            let Some(index) = index else { return Ok(Self { index: None }) };
            return match index.parse::<usize>() {
                Ok(index) => Ok(Self { index: Some(index) }),
                Err(_) => Err(PyRuntimeError::new_err(format!("Invalid device string: '{text}'"))),
            };
        }
        if name == "cuda" {
            return Err(PyAssertionError::new_err("Torch not compiled with CUDA enabled"));
        }
        if NAMES.contains(&name) {
            return Err(PyRuntimeError::new_err(format!("the device '{text}' is not available")));
        }
        Err(PyRuntimeError::new_err(format!(
            "Expected one of cpu device type at start of device string: {name}"
        )))
    }
}

static CPU: PyOnceLock<Py<PyDevice>> = PyOnceLock::new();

/// The one object of the CPU.
pub(crate) fn cpu(py: Python<'_>) -> PyResult<&Bound<'_, PyDevice>> {
    Ok(CPU.get_or_try_init(py, || Py::new(py, PyDevice { index: None }))?.bind(py))
}

#[pymethods]
impl PyDevice {
    #[new]
    #[pyo3(signature = (r#type, index = None))]
    fn new(r#type: &Bound<'_, PyAny>, index: Option<usize>) -> PyResult<Self> {
        if let Ok(device) = r#type.cast::<Self>() {
            return Ok(*device.get());
        }
        let device = Self::parse(&r#type.extract::<String>()?)?;
        Ok(Self { index: index.or(device.index) })
    }

    /// The kind of device.
    #[getter]
    fn r#type(&self) -> &'static str {
        "cpu"
    }

    /// The number of the device, if given.
    #[getter]
    fn index(&self) -> Option<usize> {
        self.index
    }

    fn __repr__(&self) -> String {
        match self.index {
            None => "device(type='cpu')".to_owned(),
            Some(index) => format!("device(type='cpu', index={index})"),
        }
    }

    fn __str__(&self) -> String {
        match self.index {
            None => "cpu".to_owned(),
            Some(index) => format!("cpu:{index}"),
        }
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((slf.get_type().into_any(), (slf.get().__str__(),)))
    }
}

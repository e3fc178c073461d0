//! `torch.float32` and its friends.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use rustgrad_engine::DType;

/// The element type of a tensor.
#[pyclass(frozen, name = "dtype", module = "rustgrad", eq, hash)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PyDType(pub(crate) DType);

static ALL: PyOnceLock<Vec<Py<PyDType>>> = PyOnceLock::new();

fn all(py: Python<'_>) -> PyResult<&Vec<Py<PyDType>>> {
    ALL.get_or_try_init(py, || DType::ALL.iter().map(|&d| Py::new(py, PyDType(d))).collect())
}

/// The one Python object of a dtype.
pub(crate) fn object(py: Python<'_>, dtype: DType) -> PyResult<Bound<'_, PyDType>> {
    Ok(all(py)?[dtype as usize].bind(py).clone())
}

#[pymethods]
impl PyDType {
    fn __repr__(&self) -> String {
        format!("torch.{}", self.0.name())
    }

    fn __reduce__(&self) -> &'static str {
        self.0.name()
    }

    /// Whether the type is floating point.
    #[getter]
    fn is_floating_point(&self) -> bool {
        self.0.is_float()
    }

    /// Whether the type is complex; none is.
    #[getter]
    fn is_complex(&self) -> bool {
        false
    }

    /// Whether the type can be negative.
    #[getter]
    fn is_signed(&self) -> bool {
        !matches!(self.0, DType::Bool | DType::U8)
    }

    /// Bytes of one element.
    #[getter]
    fn itemsize(&self) -> usize {
        self.0.size()
    }
}

/// Adds the dtypes and their aliases to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    for dtype in DType::ALL {
        module.add(dtype.name(), object(py, dtype)?)?;
    }
    for (alias, dtype) in [
        ("float", DType::F32),
        ("double", DType::F64),
        ("long", DType::I64),
        ("int", DType::I32),
        ("short", DType::I16),
    ] {
        module.add(alias, object(py, dtype)?)?;
    }
    Ok(())
}

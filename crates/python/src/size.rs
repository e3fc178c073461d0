//! Shapes on their way to Python: `Size`, a tuple.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};

static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// A shape as a `Size`.
pub(crate) fn size<'py>(py: Python<'py>, shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    let class = CLASS.get_or_try_init(py, || {
        let class = py.import("rustgrad._size")?.getattr("Size")?;
        PyResult::Ok(class.cast_into::<PyType>()?.unbind())
    })?;
    class.bind(py).call1((PyTuple::new(py, shape)?,))
}

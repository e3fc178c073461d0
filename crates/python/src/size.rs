//! Shapes on their way to Python: `Size`, a tuple.

use parking_lot::Mutex;
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

fn make<'py>(py: Python<'py>, shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    let class = CLASS.get_or_try_init(py, || {
        let class = py.import("rustgrad._size")?.getattr("Size")?;
        PyResult::Ok(class.cast_into::<PyType>()?.unbind())
    })?;
    class.bind(py).call1((PyTuple::new(py, shape)?,))
}

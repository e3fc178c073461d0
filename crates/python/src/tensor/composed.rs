//! Methods that are functions of `rustgrad._composed`, `rustgrad._seldom` or `rustgrad.linalg`, written in Python of
//! other operations and loaded when they are first called.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::PyTensor;

fn call<'py>(
    this: Bound<'py, PyTensor>,
    module: &str,
    name: &str,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = this.py();
    let function = py.import(module)?.getattr(name)?;
    let all: Vec<Bound<'py, PyAny>> = std::iter::once(this.into_any()).chain(args.iter()).collect();
    function.call(PyTuple::new(py, all)?, kwargs)
}

macro_rules! methods {
    ($module:literal: $($name:ident)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = concat!("The function `", stringify!($name), "` of the module.")]
                #[pyo3(signature = (*args, **kwargs))]
                fn $name<'py>(
                    slf: Bound<'py, Self>,
                    args: &Bound<'py, PyTuple>,
                    kwargs: Option<&Bound<'py, PyDict>>,
                ) -> PyResult<Bound<'py, PyAny>> {
                    call(slf, $module, stringify!($name), args, kwargs)
                }
            )*
        }
    };
}

methods! { "rustgrad._composed":
    apply_ as_strided_scatter cholesky cholesky_inverse cholesky_solve conj conj_physical corrcoef cov cuda
    det dist frexp index_reduce index_reduce_ inverse is_pinned is_shared isneginf isposinf isreal ldexp ldexp_ logdet
    lu_solve map_ matrix_exp matrix_power mvlgamma mvlgamma_ narrow_copy new_empty_strided pin_memory pinverse
    polygamma_ qr renorm renorm_  resolve_conj resolve_neg share_memory_ slogdet sum_to_size svd to_dense
    triangular_solve unsafe_chunk unsafe_split unsafe_split_with_sizes
}

methods! { "rustgrad._seldom": geqrf histogram lu nonzero_static orgqr ormqr }

#[pymethods]
impl PyTensor {
    /// The tensor: its numbers are real.
    #[getter]
    fn real(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// How the elements lie: `torch.strided`.
    #[getter]
    fn layout<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("rustgrad")?.getattr("strided")
    }

    /// The transpose of a matrix; the numbers are real.
    #[getter(H)]
    fn h<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let ndim = slf.get().tensor.ndim();
        if ndim != 2 && ndim != 0 {
            return Err(pyo3::exceptions::PyRuntimeError::new_err(format!(
                "tensor.H is only supported on matrices (2-D tensors). Got {ndim}-D tensor. For \
                 batches of matrices, consider using tensor.mH"
            )));
        }
        slf.getattr(if ndim == 0 { "T" } else { "mT" })
    }

    /// The transposes of matrices; the numbers are real.
    #[getter(mH)]
    fn mh<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr("mT")
    }
}

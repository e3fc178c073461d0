//! Reductions.

use pyo3::prelude::*;

use super::{Out, PyTensor, run};
use crate::convert::DimArg;
use crate::dtype::PyDType;

/// Methods that are also functions of the module.
pub(super) const FUNCTIONS: &[&str] = &["sum"];

#[pymethods]
impl PyTensor {
    /// The sum over all or some dimensions.
    #[pyo3(signature = (dim = None, keepdim = false, *, dtype = None))]
    fn sum(
        &self,
        py: Python<'_>,
        dim: Option<DimArg>,
        keepdim: bool,
        dtype: Option<&Bound<'_, PyDType>>,
    ) -> Out {
        let dims = dim.map(|dim| dim.list()).unwrap_or_default();
        let dtype = dtype.map(|dtype| dtype.get().0);
        run(py, &self.tensor, || self.tensor.sum(&dims, keepdim, dtype))
    }
}

//! Module-level functions: for most operations the method of `Tensor` itself, which takes the tensor
//! first; those without a tensor first are written in their family's file.

use pyo3::prelude::*;

use crate::tensor::PyTensor;

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class = module.py().get_type::<PyTensor>();
    for family in crate::tensor::FUNCTIONS {
        for name in *family {
            module.add(*name, class.getattr(*name)?)?;
        }
    }
    crate::tensor::product::export(module)
}

//! Module-level functions: for most operations the method of `Tensor` itself, which takes the tensor
//! first; those without a tensor first are written in their family's file.

use pyo3::prelude::*;

use crate::tensor::PyTensor;

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class = module.py().get_type::<PyTensor>();
    for family in crate::tensor::FUNCTIONS {
        for name in *family {
            module.add(*name, crate::spelling::wrap_function(&class.getattr(*name)?)?)?;
        }
    }
    for name in ["cat", "concat", "stack"] {
        if let Ok(original) = module.getattr(name) {
            module.add(name, crate::spelling::wrap_function(&original)?)?;
        }
    }
    crate::spelling::wrap_methods(
        module.py(),
        crate::tensor::FUNCTIONS.iter().flat_map(|family| family.iter().copied()),
    )?;
    crate::tensor::product::export(module)
}

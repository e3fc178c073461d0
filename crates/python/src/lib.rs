//! Python bindings of the engine: convert, call, convert back; nothing else.

mod args;
mod autograd;
mod convert;
mod create;
mod creation;
mod data;
mod device;
mod diagnose;
mod dtype;
mod error;
mod function;
mod functions;
mod gc;
mod gil;
mod hooks;
mod images;
mod interop;
mod joins;
mod linalg;
mod nn;
mod node;
mod optim;
mod random;
mod saved;
mod settings;
mod site;
mod size;
mod spelling;
mod standins;
mod tensor;

use pyo3::prelude::*;

/// The extension module behind the package `rustgrad`.
#[pymodule(gil_used = true)]
mod _core {
    #[pymodule_export]
    use crate::device::PyDevice;
    #[pymodule_export]
    use crate::dtype::PyDType;
    #[pymodule_export]
    use crate::hooks::PyHandle;
    #[pymodule_export]
    use crate::tensor::PyTensor;

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::site::register();
        crate::gil::register();
        crate::tensor::register(module.py())?;
        crate::dtype::export(module)?;
        crate::create::export(module)?;
        crate::random::export(module)?;
        crate::settings::export(module)?;
        crate::tensor::print::export(module)?;
        crate::tensor::activation::export(module)?;
        crate::tensor::cast::export(module)?;
        crate::tensor::copy::export(module)?;
        crate::tensor::unary::export(module)?;
        crate::tensor::binary::export(module)?;
        crate::joins::export(module)?;
        crate::linalg::export(module)?;
        crate::nn::export(module)?;
        crate::images::export(module)?;
        crate::optim::export(module)?;
        crate::functions::export(module)?;
        crate::size::export(module)?;
        crate::node::export(module)?;
        crate::saved::export(module)?;
        crate::function::export(module)?;
        crate::diagnose::export(module)?;
        crate::creation::export(module)?;
        crate::site::export(module)?;
        crate::autograd::export(module)?;
        crate::standins::export(module)
    }
}

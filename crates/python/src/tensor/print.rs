//! Tensors as text.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rustgrad_engine::display::{
    Info, PrintOptions, Profile, View, print_options, set_print_options,
};
use rustgrad_engine::{Scalar, Tensor, default_dtype};

use super::PyTensor;

/// The text of a tensor as torch writes it.
pub(crate) fn text(tensor: &Tensor) -> String {
    let shape = tensor.shape();
    let plain = tensor.detach();
    let get = |index: &[usize]| plain.get_element(index).unwrap_or(Scalar::Int(0));
    let view = View { dtype: tensor.dtype(), shape: &shape, get: &get };
    let grad_fn = match tensor.try_grad_fn() {
        Ok(found) => found.map(|(node, _)| node.name().to_owned()),
        // A view whose base was written in a way that leaves it without history.
        Err(_) => Some("Invalid".to_owned()),
    };
    let info = Info {
        default_dtype: default_dtype(),
        requires_grad: tensor.requires_grad(),
        grad_fn: grad_fn.as_deref(),
        ..Info::default()
    };
    rustgrad_engine::display::tensor_text(&view, &info, &print_options())
}

#[pymethods]
impl PyTensor {
    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let tensor = &slf.get().tensor;
        if rustgrad_engine::graph::is_forward() && !tensor.is_leaf() {
            let module = slf.py().import("rustgrad.autograd.forward_ad")?;
            return module.call_method1("_text", (slf,))?.extract();
        }
        Ok(text(tensor))
    }

    fn __str__(slf: &Bound<'_, Self>) -> PyResult<String> {
        Self::__repr__(slf)
    }

    fn __format__<'py>(
        slf: &Bound<'py, Self>,
        format_spec: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let this = &slf.get().tensor;
        if this.ndim() == 0 {
            let item = super::protocol::item(slf.py(), this)?;
            return item.call_method1("__format__", (format_spec,));
        }
        slf.py().get_type::<PyAny>().call_method1("__format__", (slf, format_spec))
    }
}

/// How tensors are printed.
#[pyfunction]
#[pyo3(signature = (precision = None, threshold = None, edgeitems = None, linewidth = None, profile = None, sci_mode = None))]
fn set_printoptions(
    precision: Option<usize>,
    threshold: Option<f64>,
    edgeitems: Option<usize>,
    linewidth: Option<usize>,
    profile: Option<&str>,
    sci_mode: Option<bool>,
) -> PyResult<()> {
    let mut options = print_options();
    if let Some(profile) = profile {
        options.apply(match profile {
            "default" => Profile::Default,
            "short" => Profile::Short,
            "full" => Profile::Full,
            other => return Err(PyValueError::new_err(format!("unknown profile '{other}'"))),
        });
    }
    let old = options;
    set_print_options(PrintOptions {
        precision: precision.unwrap_or(old.precision),
        threshold: threshold.unwrap_or(old.threshold),
        edgeitems: edgeitems.unwrap_or(old.edgeitems),
        linewidth: linewidth.unwrap_or(old.linewidth),
        // Not given means automatic, as in torch.
        sci_mode,
    });
    Ok(())
}

/// The settings of printing.
#[pyfunction]
fn get_printoptions(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let options = print_options();
    let dict = PyDict::new(py);
    dict.set_item("precision", options.precision)?;
    dict.set_item("threshold", options.threshold)?;
    dict.set_item("edgeitems", options.edgeitems)?;
    dict.set_item("linewidth", options.linewidth)?;
    dict.set_item("sci_mode", options.sci_mode)?;
    Ok(dict)
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(set_printoptions, module)?)?;
    module.add_function(wrap_pyfunction!(get_printoptions, module)?)
}

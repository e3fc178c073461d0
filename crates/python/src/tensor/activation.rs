//! Activation functions, for `nn.functional`: exported as `_nn_relu` and so on.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "PyO3's expansion, which macro spans make look like ours"
)]

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rustgrad_engine::ops::binary::Binary;
use rustgrad_engine::ops::unary::Unary;
use rustgrad_engine::{Scalar, Tensor};

use super::unary::in_place;
use super::{PyTensor, Wrapped};
use crate::error::Bind;

macro_rules! activations {
    ($($name:ident ($($arg:ident : $type:ty = $default:expr),*) => |$tensor:ident| $value:expr;)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "` of every element.")]
            #[pyfunction]
            #[pyo3(signature = (input, $($arg = $default,)* inplace = false))]
            fn $name<'py>(input: Bound<'py, PyTensor>, $($arg: $type,)* inplace: bool) -> Bind<Bound<'py, PyTensor>> {
                if inplace {
                    return in_place(input, stringify!($name), |$tensor| Ok($value?));
                }
                let $tensor = &input.get().tensor;
                let result: Tensor = $value?;
                Ok(Wrapped(result).into_pyobject(input.py())?)
            }
        )*

        /// Adds the functions to the module.
        pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
            $(module.add(concat!("_nn_", stringify!($name)), wrap_pyfunction!($name, module)?)?;)*
            Ok(())
        }
    };
}

fn gelu_of(x: &Tensor, approximate: &str) -> Bind<Tensor> {
    match approximate {
        "none" => Ok(x.unary(Unary::Gelu, [0.0; 2])?),
        "tanh" => Ok(x.unary(Unary::GeluTanh, [0.0; 2])?),
        _ => {
            Err(PyRuntimeError::new_err("approximate argument must be either none or tanh.").into())
        }
    }
}

/// Of the operations it has in torch while they are recorded: they save what torch's do.
fn softsign_of(x: &Tensor) -> Bind<Tensor> {
    if !x.requires_grad() {
        return Ok(x.unary(Unary::Softsign, [0.0; 2])?);
    }
    let below = x.unary(Unary::Abs, [0.0; 2])?.binary_scalar(Binary::Add, Scalar::Int(1), false)?;
    Ok(x.binary(Binary::Div, &below, 1.0)?)
}

/// As [`softsign_of`].
fn tanhshrink_of(x: &Tensor) -> Bind<Tensor> {
    if !x.requires_grad() {
        return Ok(x.unary(Unary::Tanhshrink, [0.0; 2])?);
    }
    Ok(x.binary(Binary::Sub, &x.unary(Unary::Tanh, [0.0; 2])?, 1.0)?)
}

activations! {
    gelu(approximate: &str = "none") => |x| gelu_of(x, approximate);
    softplus(beta: f64 = 1.0, threshold: f64 = 20.0) => |x| x.unary(Unary::Softplus, [beta, threshold]);
    leaky_relu(negative_slope: f64 = 0.01) => |x| x.unary(Unary::LeakyRelu, [negative_slope, 0.0]);
    elu(alpha: f64 = 1.0) => |x| x.unary(Unary::Elu, [alpha, 0.0]);
    celu(alpha: f64 = 1.0) => |x| x.unary(Unary::Celu, [alpha, 0.0]);
    selu() => |x| x.unary(Unary::Selu, [0.0; 2]);
    silu() => |x| x.unary(Unary::Silu, [0.0; 2]);
    mish() => |x| x.unary(Unary::Mish, [0.0; 2]);
    relu() => |x| x.unary(Unary::Relu, [0.0; 2]);
    relu6() => |x| x.unary(Unary::Relu6, [0.0; 2]);
    hardtanh(min_val: f64 = -1.0, max_val: f64 = 1.0) => |x| x.unary(Unary::Hardtanh, [min_val, max_val]);
    hardsigmoid() => |x| x.unary(Unary::Hardsigmoid, [0.0; 2]);
    hardswish() => |x| x.unary(Unary::Hardswish, [0.0; 2]);
    logsigmoid() => |x| x.unary(Unary::LogSigmoid, [0.0; 2]);
    softsign() => |x| softsign_of(x);
    softshrink(lambd: f64 = 0.5) => |x| x.unary(Unary::Softshrink, [lambd, 0.0]);
    hardshrink(lambd: f64 = 0.5) => |x| x.unary(Unary::Hardshrink, [lambd, 0.0]);
    tanhshrink() => |x| tanhshrink_of(x);
    threshold(threshold: f64 = 0.0, value: f64 = 0.0) => |x| x.unary(Unary::Threshold, [threshold, value]);
}

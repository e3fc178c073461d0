//! Elementwise functions of one tensor: methods, methods in place, functions.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "PyO3's expansion, which macro spans make look like ours"
)]

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use rustgrad_engine::ops::binary::Binary;
use rustgrad_engine::ops::unary::Unary;
use rustgrad_engine::{DType, Scalar, Tensor};

use super::{Out, PyTensor, Wrapped, run};
use crate::convert;
use crate::error::Bind;

/// Writes a result into `out=`, if given.
pub(crate) fn deliver<'py>(
    py: Python<'py>,
    name: &str,
    result: Wrapped,
    out: Option<&Bound<'py, PyTensor>>,
) -> Bind<Bound<'py, PyTensor>> {
    let Some(out) = out else { return Ok(result.into_pyobject(py)?) };
    let (target, result) = (&out.get().tensor, result.0);
    let records = rustgrad_engine::graph::is_grad_enabled();
    if records && (target.requires_grad() || result.requires_grad()) {
        return Err(PyRuntimeError::new_err(format!(
            "{name}(): functions with out=... arguments don't support automatic differentiation, \
             but one of the arguments requires grad."
        ))
        .into());
    }
    if result.dtype().category() > target.dtype().category() {
        return Err(PyRuntimeError::new_err(format!(
            "result type {} can't be cast to the desired output type {}",
            result.dtype().scalar_name(),
            target.dtype().scalar_name()
        ))
        .into());
    }
    if target.shape() != result.shape() {
        if target.numel() != 0 {
            crate::function::warn(
                py,
                &format!(
                    "An output with one or more elements was resized since it had shape {}, which \
                     does not match the required output shape {}. This behavior is deprecated, and \
                     in a future release outputs will not be resized unless they have zero \
                     elements. You can explicitly reuse an out tensor t by resizing it, inplace, \
                     to zero elements with t.resize_(0).",
                    rustgrad_engine::shape::shape_text(&target.shape()),
                    rustgrad_engine::shape::shape_text(&result.shape())
                ),
            )?;
        }
        target.set_data(&Tensor::empty(&result.shape(), target.dtype())?)?;
    }
    target.copy_(&result)?;
    Ok(out.clone())
}

/// Applies a row, without the interpreter if the tensor is large.
#[inline]
pub(crate) fn unary(py: Python<'_>, tensor: &Tensor, kind: Unary, p: [f64; 2]) -> Out {
    run(py, tensor, || tensor.unary(kind, p))
}

/// Applies a row in place.
#[inline]
pub(crate) fn unary_in_place<'py>(
    this: Bound<'py, PyTensor>,
    op: &str,
    kind: Unary,
    p: [f64; 2],
) -> Bind<Bound<'py, PyTensor>> {
    let tensor = &this.get().tensor;
    crate::gil::detached(this.py(), tensor.byte_hint(), || tensor.unary_in_place(op, kind, p))?;
    Ok(this)
}

macro_rules! rows {
    ($($name:ident, $in_place:ident => $kind:ident;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = concat!("`", stringify!($name), "` of every element.")]
                fn $name(&self, py: Python<'_>) -> Out {
                    unary(py, &self.tensor, Unary::$kind, [0.0; 2])
                }
                #[doc = concat!("`", stringify!($name), "` of every element, in place.")]
                fn $in_place<'py>(slf: Bound<'py, Self>) -> Bind<Bound<'py, Self>> {
                    unary_in_place(slf, stringify!($in_place), Unary::$kind, [0.0; 2])
                }
            )*
        }

        mod functions {
            use super::*;
            $(
                #[doc = concat!("`", stringify!($name), "` of every element.")]
                #[pyfunction]
                #[pyo3(signature = (input, *, out = None))]
                pub(super) fn $name<'py>(
                    input: &Bound<'py, PyTensor>,
                    out: Option<&Bound<'py, PyTensor>>,
                ) -> Bind<Bound<'py, PyTensor>> {
                    let py = input.py();
                    deliver(py, stringify!($name), unary(py, &input.get().tensor, Unary::$kind, [0.0; 2])?, out)
                }
                #[doc = concat!("`", stringify!($name), "` of every element, in place.")]
                #[pyfunction]
                pub(super) fn $in_place<'py>(input: Bound<'py, PyTensor>) -> Bind<Bound<'py, PyTensor>> {
                    unary_in_place(input, stringify!($in_place), Unary::$kind, [0.0; 2])
                }
            )*

            pub(super) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
                $(
                    module.add_function(wrap_pyfunction!($name, module)?)?;
                    module.add_function(wrap_pyfunction!($in_place, module)?)?;
                )*
                Ok(())
            }
        }
    };
}

rows! {
    neg, neg_ => Neg;
    negative, negative_ => Neg;
    abs, abs_ => Abs;
    absolute, absolute_ => Abs;
    sign, sign_ => Sign;
    sgn, sgn_ => Sgn;
    angle, angle_ => Angle;
    exp, exp_ => Exp;
    exp2, exp2_ => Exp2;
    expm1, expm1_ => Expm1;
    log, log_ => Log;
    log2, log2_ => Log2;
    log10, log10_ => Log10;
    log1p, log1p_ => Log1p;
    sqrt, sqrt_ => Sqrt;
    rsqrt, rsqrt_ => Rsqrt;
    square, square_ => Square;
    reciprocal, reciprocal_ => Reciprocal;
    sin, sin_ => Sin;
    cos, cos_ => Cos;
    tan, tan_ => Tan;
    asin, asin_ => Asin;
    arcsin, arcsin_ => Asin;
    acos, acos_ => Acos;
    arccos, arccos_ => Acos;
    atan, atan_ => Atan;
    arctan, arctan_ => Atan;
    sinh, sinh_ => Sinh;
    cosh, cosh_ => Cosh;
    tanh, tanh_ => Tanh;
    asinh, asinh_ => Asinh;
    arcsinh, arcsinh_ => Asinh;
    acosh, acosh_ => Acosh;
    arccosh, arccosh_ => Acosh;
    atanh, atanh_ => Atanh;
    arctanh, arctanh_ => Atanh;
    sigmoid, sigmoid_ => Sigmoid;
    relu, relu_ => Relu;
    floor, floor_ => Floor;
    ceil, ceil_ => Ceil;
    trunc, trunc_ => Trunc;
    fix, fix_ => Trunc;
    frac, frac_ => Frac;
    erf, erf_ => Erf;
    erfc, erfc_ => Erfc;
    erfinv, erfinv_ => Erfinv;
    lgamma, lgamma_ => Lgamma;
    digamma, digamma_ => Digamma;
    sinc, sinc_ => Sinc;
    deg2rad, deg2rad_ => Deg2Rad;
    rad2deg, rad2deg_ => Rad2Deg;
    i0, i0_ => I0;
    selu, selu_ => Selu;
    logical_not, logical_not_ => LogicalNot;
    bitwise_not, bitwise_not_ => BitwiseNot;
    positive, positive_ => Positive;
    isnan, isnan_ => IsNan;
    isinf, isinf_ => IsInf;
    isfinite, isfinite_ => IsFinite;
    signbit, signbit_ => Signbit;
}

/// A limit of `clamp`.
enum Limit {
    None,
    Number(Scalar),
    Tensor(Tensor),
}

fn limit(value: Option<&Bound<'_, PyAny>>) -> Bind<Limit> {
    let Some(value) = value.filter(|value| !value.is_none()) else { return Ok(Limit::None) };
    if let Some(tensor) = convert::tensor(value) {
        return Ok(Limit::Tensor(tensor.clone()));
    }
    match convert::scalar(value)? {
        Some(number) => Ok(Limit::Number(number)),
        None => Err(PyTypeError::new_err(format!(
            "clamp() limits must be numbers or tensors, not {}",
            crate::args::class_name(value)?
        ))
        .into()),
    }
}

/// The dtype of a tensor limited by numbers, and the parameters of the row.
fn between(tensor: &Tensor, min: &Limit, max: &Limit) -> (DType, [f64; 2]) {
    let number = |limit: &Limit| match limit {
        Limit::Number(number) => Some(*number),
        _ => None,
    };
    let (min, max) = (number(min), number(max));
    let float = [min, max].iter().flatten().any(|number| number.category() == 2);
    let dtype = match tensor.dtype() {
        DType::Bool if !float => DType::I64,
        dtype if float && !dtype.is_float() => rustgrad_engine::default_dtype(),
        dtype => dtype,
    };
    let p =
        [min.map_or(f64::NEG_INFINITY, Scalar::to_f64), max.map_or(f64::INFINITY, Scalar::to_f64)];
    (dtype, p)
}

/// The row that limits a tensor in place, if the limits are numbers that leave it its dtype.
fn clamping(
    tensor: &Tensor,
    min: Option<&Bound<'_, PyAny>>,
    max: Option<&Bound<'_, PyAny>>,
) -> Bind<Option<(Unary, [f64; 2])>> {
    let (min, max) = (limit(min)?, limit(max)?);
    let tensors = matches!(min, Limit::Tensor(_)) || matches!(max, Limit::Tensor(_));
    let neither = matches!((&min, &max), (Limit::None, Limit::None));
    let (dtype, p) = between(tensor, &min, &max);
    Ok((!tensors && !neither && dtype == tensor.dtype()).then_some((Unary::Clamp, p)))
}

/// `x` limited to `[min, max]`.
fn clamped(
    tensor: &Tensor,
    min: Option<&Bound<'_, PyAny>>,
    max: Option<&Bound<'_, PyAny>>,
    node: &'static str,
) -> Bind<Tensor> {
    Ok(match (limit(min)?, limit(max)?) {
        (Limit::None, Limit::None) => {
            return Err(PyRuntimeError::new_err(
                "torch.clamp: At least one of 'min' or 'max' must not be None",
            )
            .into());
        }
        (Limit::Tensor(_), _) | (_, Limit::Tensor(_)) if tensor.dtype() == DType::Bool => {
            return Err(pyo3::exceptions::PyNotImplementedError::new_err(
                "\"clamp_cpu\" not implemented for 'Bool'",
            )
            .into());
        }
        (Limit::Tensor(min), Limit::Tensor(max)) => {
            tensor.clamp_between(Some(&min), Some(&max), node)?
        }
        (Limit::Tensor(min), Limit::None) => tensor.clamp_between(Some(&min), None, node)?,
        (Limit::None, Limit::Tensor(max)) => tensor.clamp_between(None, Some(&max), node)?,
        (Limit::Tensor(_), Limit::Number(_)) | (Limit::Number(_), Limit::Tensor(_)) => {
            return Err(PyTypeError::new_err(
                "clamp(): the limits must both be numbers or both be tensors",
            )
            .into());
        }
        (min, max) => {
            let (dtype, p) = between(tensor, &min, &max);
            tensor.to_dtype(dtype)?.unary(Unary::Clamp, p)?
        }
    })
}

/// Rounds to `decimals` places.
fn rounded(tensor: &Tensor, decimals: i32) -> rustgrad_engine::Result<Tensor> {
    if decimals == 0 || !tensor.dtype().is_float() {
        return tensor.unary(Unary::Round, [0.0; 2]);
    }
    let scale = Scalar::Float(10f64.powi(decimals.abs()));
    let (up, down) =
        if decimals > 0 { (Binary::Mul, Binary::Div) } else { (Binary::Div, Binary::Mul) };
    tensor
        .binary_scalar(up, scale, false)?
        .unary(Unary::Round, [0.0; 2])?
        .binary_scalar(down, scale, false)
}

/// What NaN and the infinities are replaced by.
fn replacements(
    tensor: &Tensor,
    nan: Option<f64>,
    posinf: Option<f64>,
    neginf: Option<f64>,
) -> (f64, f64, f64) {
    let largest = if tensor.dtype() == DType::F32 { f64::from(f32::MAX) } else { f64::MAX };
    (nan.unwrap_or(0.0), posinf.unwrap_or(largest), neginf.unwrap_or(-largest))
}

/// The row that replaces them in place, if one does.
fn replacing(
    tensor: &Tensor,
    nan: Option<f64>,
    posinf: Option<f64>,
    neginf: Option<f64>,
) -> Option<(Unary, [f64; 2])> {
    let (nan, high, low) = replacements(tensor, nan, posinf, neginf);
    (tensor.dtype().is_float() && low == -high).then_some((Unary::NanToNum, [nan, high]))
}

/// Replaces NaN and the infinities.
fn without_nan(
    tensor: &Tensor,
    nan: Option<f64>,
    posinf: Option<f64>,
    neginf: Option<f64>,
) -> rustgrad_engine::Result<Tensor> {
    let (nan, high, low) = replacements(tensor, nan, posinf, neginf);
    if !tensor.dtype().is_float() {
        return tensor.copied();
    }
    if low == -high {
        return tensor.unary(Unary::NanToNum, [nan, high]);
    }
    let is_low =
        tensor.detach().binary_scalar(Binary::Eq, Scalar::Float(f64::NEG_INFINITY), false)?;
    let low = Tensor::from_scalar(Scalar::Float(low), tensor.dtype())?;
    is_low.where_(&low, &tensor.unary(Unary::NanToNum, [nan, high])?)
}

/// `n`-th derivative of `digamma`.
fn polygamma_of(tensor: &Tensor, n: i64) -> Bind<Tensor> {
    if n < 0 {
        return Err(PyRuntimeError::new_err("polygamma(n, x) does not support negative n.").into());
    }
    Ok(if n == 0 { tensor.unary(Unary::Digamma, [0.0; 2])? } else { tensor.polygamma(n as u32)? })
}

macro_rules! with_arguments {
    ($(
        $name:ident, $in_place:ident ($($arg:ident : $type:ty = $default:expr),*)
        => |$tensor:ident| $value:expr $(, row $row:expr)?;
    )*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = concat!("`", stringify!($name), "` of every element.")]
                #[pyo3(signature = ($($arg = $default),*))]
                fn $name(&self, $($arg: $type),*) -> Out {
                    let $tensor = &self.tensor;
                    Ok(Wrapped($value?))
                }
                #[doc = concat!("`", stringify!($name), "` of every element, in place.")]
                #[pyo3(signature = ($($arg = $default),*))]
                fn $in_place<'py>(slf: Bound<'py, Self>, $($arg: $type),*) -> Bind<Bound<'py, Self>> {
                    $(
                        let $tensor = &slf.get().tensor;
                        let _ = $tensor;
                        if let Some((kind, p)) = $row {
                            return unary_in_place(slf, stringify!($in_place), kind, p);
                        }
                    )?
                    in_place(slf, stringify!($in_place), |$tensor| Ok($value?))
                }
            )*
        }

        mod functions_with_arguments {
            use super::*;
            $(
                #[doc = concat!("`", stringify!($name), "` of every element.")]
                #[pyfunction]
                #[pyo3(signature = (input, $($arg = $default,)* *, out = None))]
                pub(super) fn $name<'py>(
                    input: &Bound<'py, PyTensor>,
                    $($arg: $type,)*
                    out: Option<&Bound<'py, PyTensor>>,
                ) -> Bind<Bound<'py, PyTensor>> {
                    let $tensor = &input.get().tensor;
                    let result: Tensor = $value?;
                    deliver(input.py(), stringify!($name), Wrapped(result), out)
                }
                #[doc = concat!("`", stringify!($name), "` of every element, in place.")]
                #[pyfunction]
                #[pyo3(signature = (input, $($arg = $default),*))]
                pub(super) fn $in_place<'py>(
                    input: Bound<'py, PyTensor>,
                    $($arg: $type),*
                ) -> Bind<Bound<'py, PyTensor>> {
                    $(
                        let $tensor = &input.get().tensor;
                        let _ = $tensor;
                        if let Some((kind, p)) = $row {
                            return unary_in_place(input, stringify!($in_place), kind, p);
                        }
                    )?
                    in_place(input, stringify!($in_place), |$tensor| Ok($value?))
                }
            )*

            pub(super) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
                $(
                    module.add_function(wrap_pyfunction!($name, module)?)?;
                    module.add_function(wrap_pyfunction!($in_place, module)?)?;
                )*
                Ok(())
            }
        }
    };
}

/// Puts what `work` makes of a tensor in its place.
pub(crate) fn in_place<'py>(
    this: Bound<'py, PyTensor>,
    op: &str,
    work: impl FnOnce(&Tensor) -> Bind<Tensor>,
) -> Bind<Bound<'py, PyTensor>> {
    this.get().tensor.inplace(op, |tensor| {
        work(tensor).map_err(|error| crate::error::to_engine(error.into()))
    })?;
    Ok(this)
}

with_arguments! {
    clamp, clamp_(min: Option<&Bound<'_, PyAny>> = None, max: Option<&Bound<'_, PyAny>> = None)
        => |x| clamped(x, min, max, "ClampBackward0"), row clamping(x, min, max)?;
    clip, clip_(min: Option<&Bound<'_, PyAny>> = None, max: Option<&Bound<'_, PyAny>> = None)
        => |x| clamped(x, min, max, "ClampBackward0"), row clamping(x, min, max)?;
    clamp_min, clamp_min_(min: Option<&Bound<'_, PyAny>> = None)
        => |x| clamped(x, min, None, "ClampMinBackward1"), row clamping(x, min, None)?;
    clamp_max, clamp_max_(max: Option<&Bound<'_, PyAny>> = None)
        => |x| clamped(x, None, max, "ClampMaxBackward1"), row clamping(x, None, max)?;
    round, round_(decimals: i32 = 0)
        => |x| rounded(x, decimals), row (decimals == 0).then_some((Unary::Round, [0.0; 2]));
    nan_to_num, nan_to_num_(nan: Option<f64> = None, posinf: Option<f64> = None, neginf: Option<f64> = None)
        => |x| without_nan(x, nan, posinf, neginf), row replacing(x, nan, posinf, neginf);
    logit, logit_(eps: Option<f64> = None)
        => |x| x.unary(Unary::Logit, [eps.unwrap_or(-1.0), 0.0]),
        row Some((Unary::Logit, [eps.unwrap_or(-1.0), 0.0]));
    threshold, threshold_(threshold: f64 = 0.0, value: f64 = 0.0)
        => |x| x.unary(Unary::Threshold, [threshold, value]), row Some((Unary::Threshold, [threshold, value]));
    hardshrink, hardshrink_(lambd: f64 = 0.5)
        => |x| x.unary(Unary::Hardshrink, [lambd, 0.0]), row Some((Unary::Hardshrink, [lambd, 0.0]));
    celu, celu_(alpha: f64 = 1.0)
        => |x| x.unary(Unary::Celu, [alpha, 0.0]), row Some((Unary::Celu, [alpha, 0.0]));
}

#[pymethods]
impl PyTensor {
    /// The derivatives of `digamma`.
    fn polygamma(&self, n: i64) -> Out {
        Ok(Wrapped(polygamma_of(&self.tensor, n)?))
    }

    fn __round__(&self, ndigits: Option<i32>) -> Out {
        Ok(Wrapped(rounded(&self.tensor, ndigits.unwrap_or(0))?))
    }
}

/// The derivatives of `digamma`.
#[pyfunction]
#[pyo3(signature = (n, input, *, out = None))]
fn polygamma<'py>(
    n: i64,
    input: &Bound<'py, PyTensor>,
    out: Option<&Bound<'py, PyTensor>>,
) -> Bind<Bound<'py, PyTensor>> {
    deliver(input.py(), "polygamma", Wrapped(polygamma_of(&input.get().tensor, n)?), out)
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    functions::export(module)?;
    functions_with_arguments::export(module)?;
    module.add_function(wrap_pyfunction!(polygamma, module)?)
}

//! Elementwise functions of two and three tensors, with numbers where torch takes them.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "PyO3's expansion, which macro spans make look like ours"
)]

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use rustgrad_engine::ops::binary::Binary;
use rustgrad_engine::ops::elementwise::apply;
use rustgrad_engine::{DType, Scalar, Tensor, default_dtype};

use super::unary::deliver;
use super::{Out, PyTensor, Wrapped, run};
use crate::args::class_name;
use crate::convert;
use crate::error::Bind;

/// A tensor or a number.
enum Operand<'a> {
    Tensor(&'a Tensor),
    Number(Scalar),
}

fn operand<'a>(value: &'a Bound<'_, PyAny>, name: &str) -> Bind<Operand<'a>> {
    if let Some(tensor) = convert::tensor(value) {
        return Ok(Operand::Tensor(tensor));
    }
    match convert::scalar(value)? {
        Some(number) => Ok(Operand::Number(number)),
        None => Err(PyTypeError::new_err(format!(
            "{name}(): argument must be Tensor or Number, not {}",
            class_name(value)?
        ))
        .into()),
    }
}

/// Refuses numbers where torch has no overload that takes them: any, one on the left, or two.
#[cold]
fn check_numbers(name: &str, a: &Operand<'_>, b: &Operand<'_>) -> PyResult<()> {
    let numbers = (matches!(a, Operand::Number(_)), matches!(b, Operand::Number(_)));
    let refused = match name.trim_end_matches('_') {
        "atan2" | "arctan2" | "maximum" | "minimum" | "fmax" | "fmin" | "hypot" | "logaddexp"
        | "logaddexp2" | "heaviside" | "nextafter" | "logical_and" | "logical_or"
        | "logical_xor" | "gcd" | "lcm" => true,
        "fmod" | "copysign" | "eq" | "ne" | "not_equal" | "lt" | "less" | "le" | "less_equal"
        | "gt" | "greater" | "ge" | "greater_equal" => numbers.0,
        "remainder"
        | "xlogy"
        | "pow"
        | "float_power"
        | "bitwise_and"
        | "bitwise_or"
        | "bitwise_xor"
        | "bitwise_left_shift"
        | "bitwise_right_shift" => numbers.0 && numbers.1,
        _ => false,
    };
    if !refused {
        return Ok(());
    }
    let (which, place) = if numbers.0 { ("input", 1) } else { ("other", 2) };
    Err(PyTypeError::new_err(format!(
        "{name}(): argument '{which}' (position {place}) must be Tensor, not a number"
    )))
}

/// `a kind b` under a name of torch's, for what numbers it takes.
fn named(py: Python<'_>, name: &str, kind: Binary, a: Operand<'_>, b: Operand<'_>) -> Out {
    if matches!(a, Operand::Number(_)) || matches!(b, Operand::Number(_)) {
        check_numbers(name, &a, &b)?;
    }
    compute(py, kind, a, b, 1.0)
}

/// `a kind b`; `p` is the parameter of the row.
fn compute(py: Python<'_>, kind: Binary, a: Operand<'_>, b: Operand<'_>, p: f64) -> Out {
    match (a, b) {
        (Operand::Tensor(a), Operand::Tensor(b)) => {
            let bytes = a.byte_hint().max(b.byte_hint());
            Ok(Wrapped(crate::gil::detached(py, bytes, || a.binary(kind, b, p))?))
        }
        (Operand::Tensor(a), Operand::Number(b)) if p == 1.0 => {
            run(py, a, || a.binary_scalar(kind, b, false))
        }
        (Operand::Number(a), Operand::Tensor(b)) if p == 1.0 => {
            run(py, b, || b.binary_scalar(kind, a, true))
        }
        (a, b) => {
            let (a, b) = (as_tensor(a)?, as_tensor(b)?);
            Ok(Wrapped(a.binary(kind, &b, p)?))
        }
    }
}

fn as_tensor(operand: Operand<'_>) -> rustgrad_engine::Result<Tensor> {
    match operand {
        Operand::Tensor(tensor) => Ok(tensor.clone()),
        Operand::Number(number) => number_tensor(number),
    }
}

fn number_tensor(number: Scalar) -> rustgrad_engine::Result<Tensor> {
    let natural = number.natural_dtype(default_dtype());
    // A float keeps all its digits, whatever dtype the result has.
    let exact = if natural.is_float() { DType::F64 } else { natural };
    Ok(Tensor::from_scalar(number, exact)?.into_number())
}

/// `a kind b` in the place of `a`.
fn compute_in_place<'py>(
    this: Bound<'py, PyTensor>,
    op: &str,
    kind: Binary,
    other: &Bound<'py, PyAny>,
    p: f64,
) -> Bind<Bound<'py, PyTensor>> {
    let tensor = &this.get().tensor;
    let py = this.py();
    match operand(other, op)? {
        Operand::Tensor(other) => {
            let bytes = tensor.byte_hint();
            crate::gil::detached(py, bytes, || tensor.apply_in_place(op, kind, &[other], p))?;
        }
        Operand::Number(number) if p == 1.0 => {
            check_numbers(op, &Operand::Tensor(tensor), &Operand::Number(number))?;
            crate::gil::detached(py, tensor.byte_hint(), || {
                tensor.scalar_in_place(op, kind, number)
            })?;
        }
        Operand::Number(number) => {
            let number = number_tensor(number)?;
            tensor.apply_in_place(op, kind, &[&number], p)?;
        }
    }
    Ok(this)
}

macro_rules! rows {
    ($($name:ident, $in_place:ident => $kind:ident;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = concat!("`", stringify!($name), "` with another tensor or a number.")]
                fn $name(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> Out {
                    named(py, stringify!($name), Binary::$kind, Operand::Tensor(&self.tensor), operand(other, stringify!($name))?)
                }
                #[doc = concat!("`", stringify!($name), "` with another tensor or a number, in place.")]
                fn $in_place<'py>(slf: Bound<'py, Self>, other: &Bound<'py, PyAny>) -> Bind<Bound<'py, Self>> {
                    compute_in_place(slf, stringify!($in_place), Binary::$kind, other, 1.0)
                }
            )*
        }

        mod functions {
            use super::*;
            $(
                #[doc = concat!("`", stringify!($name), "` of two tensors, or of a tensor and a number.")]
                #[pyfunction]
                #[pyo3(signature = (input, other, *, out = None))]
                pub(super) fn $name<'py>(
                    input: &Bound<'py, PyAny>,
                    other: &Bound<'py, PyAny>,
                    out: Option<&Bound<'py, PyTensor>>,
                ) -> Bind<Bound<'py, PyTensor>> {
                    let name = stringify!($name);
                    let py = input.py();
                    let result = named(py, name, Binary::$kind, operand(input, name)?, operand(other, name)?)?;
                    deliver(py, stringify!($name), result, out)
                }
            )*

            pub(super) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
                $(module.add_function(wrap_pyfunction!($name, module)?)?;)*
                Ok(())
            }
        }
    };
}

rows! {
    mul, mul_ => Mul;
    multiply, multiply_ => Mul;
    floor_divide, floor_divide_ => FloorDivide;
    remainder, remainder_ => Remainder;
    fmod, fmod_ => Fmod;
    atan2, atan2_ => Atan2;
    arctan2, arctan2_ => Atan2;
    maximum, maximum_ => Maximum;
    minimum, minimum_ => Minimum;
    fmax, fmax_ => Fmax;
    fmin, fmin_ => Fmin;
    hypot, hypot_ => Hypot;
    logaddexp, logaddexp_ => LogAddExp;
    logaddexp2, logaddexp2_ => LogAddExp2;
    copysign, copysign_ => Copysign;
    xlogy, xlogy_ => Xlogy;
    heaviside, heaviside_ => Heaviside;
    nextafter, nextafter_ => NextAfter;
    _igamma, _igamma_ => Igamma;
    _igammac, _igammac_ => Igammac;
    eq, eq_ => Eq;
    ne, ne_ => Ne;
    not_equal, not_equal_ => Ne;
    lt, lt_ => Lt;
    less, less_ => Lt;
    le, le_ => Le;
    less_equal, less_equal_ => Le;
    gt, gt_ => Gt;
    greater, greater_ => Gt;
    ge, ge_ => Ge;
    greater_equal, greater_equal_ => Ge;
    logical_and, logical_and_ => LogicalAnd;
    logical_or, logical_or_ => LogicalOr;
    logical_xor, logical_xor_ => LogicalXor;
    bitwise_and, bitwise_and_ => BitwiseAnd;
    bitwise_or, bitwise_or_ => BitwiseOr;
    bitwise_xor, bitwise_xor_ => BitwiseXor;
    bitwise_left_shift, bitwise_left_shift_ => LeftShift;
    bitwise_right_shift, bitwise_right_shift_ => RightShift;
    gcd, gcd_ => Gcd;
    lcm, lcm_ => Lcm;
}

// ---- sums with a factor, quotients with rounding, powers

/// `alpha=` as a factor; fractions need floats.
fn factor(alpha: Option<&Bound<'_, PyAny>>, a: DType) -> Bind<f64> {
    let Some(alpha) = alpha else { return Ok(1.0) };
    let number = crate::create::number(alpha)?;
    if number.category() == 2 && !a.is_float() {
        return Err(PyRuntimeError::new_err(
            "For integral input tensors, argument alpha must not be a floating point number.",
        )
        .into());
    }
    Ok(number.to_f64())
}

fn sum_type(a: &Operand<'_>, b: &Operand<'_>) -> DType {
    match (a, b) {
        (Operand::Tensor(a), Operand::Tensor(b)) => a.dtype().promote(b.dtype()),
        (Operand::Tensor(a), Operand::Number(b)) | (Operand::Number(b), Operand::Tensor(a)) => {
            a.dtype().promote(b.natural_dtype(default_dtype()))
        }
        (Operand::Number(a), Operand::Number(b)) => {
            a.natural_dtype(default_dtype()).promote(b.natural_dtype(default_dtype()))
        }
    }
}

/// The row of `div` for `rounding_mode=`.
fn rounding(mode: Option<&str>) -> Bind<Binary> {
    match mode {
        None => Ok(Binary::Div),
        Some("trunc") => Ok(Binary::DivTrunc),
        Some("floor") => Ok(Binary::FloorDivide),
        Some(other) => Err(PyRuntimeError::new_err(format!(
            "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{other}'"
        ))
        .into()),
    }
}

fn float_power_of(py: Python<'_>, a: Operand<'_>, b: Operand<'_>) -> Out {
    let double = |operand: Operand<'_>| as_tensor(operand)?.to_dtype(DType::F64);
    let (a, b) = (double(a)?, double(b)?);
    compute(py, Binary::Pow, Operand::Tensor(&a), Operand::Tensor(&b), 1.0)
}

macro_rules! sums {
    ($($name:ident, $in_place:ident => $kind:ident;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = concat!("`", stringify!($name), "` with `alpha` times `other`.")]
                #[pyo3(signature = (other, *, alpha = None))]
                fn $name(
                    &self,
                    py: Python<'_>,
                    other: &Bound<'_, PyAny>,
                    alpha: Option<&Bound<'_, PyAny>>,
                ) -> Out {
                    let (a, b) = (Operand::Tensor(&self.tensor), operand(other, stringify!($name))?);
                    let p = factor(alpha, sum_type(&a, &b))?;
                    compute(py, Binary::$kind, a, b, p)
                }
                #[doc = concat!("`", stringify!($name), "` with `alpha` times `other`, in place.")]
                #[pyo3(signature = (other, *, alpha = None))]
                fn $in_place<'py>(
                    slf: Bound<'py, Self>,
                    other: &Bound<'py, PyAny>,
                    alpha: Option<&Bound<'py, PyAny>>,
                ) -> Bind<Bound<'py, Self>> {
                    let p = factor(alpha, slf.get().tensor.dtype())?;
                    compute_in_place(slf, stringify!($in_place), Binary::$kind, other, p)
                }
            )*
        }

        mod sum_functions {
            use super::*;
            $(
                #[doc = concat!("`", stringify!($name), "` with `alpha` times `other`.")]
                #[pyfunction]
                #[pyo3(signature = (input, other, *, alpha = None, out = None))]
                pub(super) fn $name<'py>(
                    input: &Bound<'py, PyAny>,
                    other: &Bound<'py, PyAny>,
                    alpha: Option<&Bound<'py, PyAny>>,
                    out: Option<&Bound<'py, PyTensor>>,
                ) -> Bind<Bound<'py, PyTensor>> {
                    let name = stringify!($name);
                    let (a, b) = (operand(input, name)?, operand(other, name)?);
                    let p = factor(alpha, sum_type(&a, &b))?;
                    deliver(input.py(), stringify!($name), compute(input.py(), Binary::$kind, a, b, p)?, out)
                }
            )*

            pub(super) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
                $(module.add_function(wrap_pyfunction!($name, module)?)?;)*
                Ok(())
            }
        }
    };
}

sums! {
    add, add_ => Add;
    sub, sub_ => Sub;
    subtract, subtract_ => Sub;
}

macro_rules! quotients {
    ($($name:ident, $in_place:ident;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                /// The quotient, rounded if asked.
                #[pyo3(signature = (other, *, rounding_mode = None))]
                fn $name(
                    &self,
                    py: Python<'_>,
                    other: &Bound<'_, PyAny>,
                    rounding_mode: Option<&str>,
                ) -> Out {
                    let other = operand(other, stringify!($name))?;
                    compute(py, rounding(rounding_mode)?, Operand::Tensor(&self.tensor), other, 1.0)
                }
                /// The quotient, rounded if asked, in place.
                #[pyo3(signature = (other, *, rounding_mode = None))]
                fn $in_place<'py>(
                    slf: Bound<'py, Self>,
                    other: &Bound<'py, PyAny>,
                    rounding_mode: Option<&str>,
                ) -> Bind<Bound<'py, Self>> {
                    compute_in_place(slf, stringify!($in_place), rounding(rounding_mode)?, other, 1.0)
                }
            )*
        }

        mod quotient_functions {
            use super::*;
            $(
                /// The quotient, rounded if asked.
                #[pyfunction]
                #[pyo3(signature = (input, other, *, rounding_mode = None, out = None))]
                pub(super) fn $name<'py>(
                    input: &Bound<'py, PyAny>,
                    other: &Bound<'py, PyAny>,
                    rounding_mode: Option<&str>,
                    out: Option<&Bound<'py, PyTensor>>,
                ) -> Bind<Bound<'py, PyTensor>> {
                    let name = stringify!($name);
                    let (a, b) = (operand(input, name)?, operand(other, name)?);
                    deliver(input.py(), stringify!($name), compute(input.py(), rounding(rounding_mode)?, a, b, 1.0)?, out)
                }
            )*

            pub(super) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
                $(module.add_function(wrap_pyfunction!($name, module)?)?;)*
                Ok(())
            }
        }
    };
}

quotients! {
    div, div_;
    divide, divide_;
    true_divide, true_divide_;
}

#[pymethods]
impl PyTensor {
    /// The power.
    fn pow(&self, py: Python<'_>, exponent: &Bound<'_, PyAny>) -> Out {
        compute(py, Binary::Pow, Operand::Tensor(&self.tensor), operand(exponent, "pow")?, 1.0)
    }

    /// The power, in place.
    fn pow_<'py>(slf: Bound<'py, Self>, exponent: &Bound<'py, PyAny>) -> Bind<Bound<'py, Self>> {
        compute_in_place(slf, "pow_", Binary::Pow, exponent, 1.0)
    }

    /// The power, in double precision.
    fn float_power(&self, py: Python<'_>, exponent: &Bound<'_, PyAny>) -> Out {
        float_power_of(py, Operand::Tensor(&self.tensor), operand(exponent, "float_power")?)
    }

    /// The power, in double precision, in place: of tensors of that dtype only.
    fn float_power_<'py>(
        slf: Bound<'py, Self>,
        exponent: &Bound<'py, PyAny>,
    ) -> Bind<Bound<'py, Self>> {
        let dtype = slf.get().tensor.dtype();
        if dtype != DType::F64 {
            return Err(PyRuntimeError::new_err(format!(
                "the base given to float_power_ has dtype {} but the operation's result requires \
                 dtype Double",
                dtype.scalar_name()
            ))
            .into());
        }
        compute_in_place(slf, "float_power_", Binary::Pow, exponent, 1.0)
    }

    /// `other - self`.
    #[pyo3(signature = (other, *, alpha = None))]
    fn rsub(
        &self,
        py: Python<'_>,
        other: &Bound<'_, PyAny>,
        alpha: Option<&Bound<'_, PyAny>>,
    ) -> Out {
        let p = factor(alpha, self.tensor.dtype())?;
        compute(py, Binary::Sub, operand(other, "rsub")?, Operand::Tensor(&self.tensor), p)
    }

    /// `self + weight (end - self)`.
    fn lerp(&self, end: &Bound<'_, PyTensor>, weight: &Bound<'_, PyAny>) -> Out {
        Ok(Wrapped(lerp_of(&self.tensor, &end.get().tensor, weight)?))
    }

    /// `self + weight (end - self)`, in place.
    fn lerp_<'py>(
        slf: Bound<'py, Self>,
        end: &Bound<'py, PyTensor>,
        weight: &Bound<'py, PyAny>,
    ) -> Bind<Bound<'py, Self>> {
        let weight = operand(weight, "lerp_")?;
        let this = &slf.get().tensor;
        let end = &end.get().tensor;
        crate::gil::detached(slf.py(), this.byte_hint(), || match &weight {
            Operand::Number(weight) => this.lerp_(end, weight.to_f64()),
            Operand::Tensor(weight) => {
                this.apply_in_place("lerp_", Binary::Lerp, &[end, weight], 1.0)
            }
        })?;
        Ok(slf)
    }
}

fn lerp_of(start: &Tensor, end: &Tensor, weight: &Bound<'_, PyAny>) -> Bind<Tensor> {
    for (name, other) in [("end", end.dtype())] {
        if other != start.dtype() {
            return Err(PyRuntimeError::new_err(format!(
                "expected dtype {} for `{name}` but got dtype {}",
                start.dtype().scalar_name().to_lowercase(),
                other.scalar_name().to_lowercase()
            ))
            .into());
        }
    }
    Ok(match operand(weight, "lerp")? {
        Operand::Number(weight) => start.lerp(end, weight.to_f64())?,
        Operand::Tensor(weight) => apply(Binary::Lerp, &[start, end, weight], 1.0)?,
    })
}

/// A row of three inputs; `addcmul` of integers is a product and a sum.
fn fused(kind: Binary, inputs: &[&Tensor; 3], value: f64) -> rustgrad_engine::Result<Tensor> {
    let [a, b, c] = inputs;
    if kind == Binary::AddCMul && !inputs.iter().any(|input| input.dtype().is_float()) {
        return a.binary(Binary::Add, &b.binary(Binary::Mul, c, 1.0)?, value);
    }
    apply(kind, &inputs[..], value)
}

macro_rules! fused {
    ($($name:ident, $in_place:ident => $kind:ident;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = concat!("`", stringify!($name), "` with `value` as factor.")]
                #[pyo3(signature = (tensor1, tensor2, *, value = None))]
                fn $name(
                    &self,
                    py: Python<'_>,
                    tensor1: &Bound<'_, PyTensor>,
                    tensor2: &Bound<'_, PyTensor>,
                    value: Option<&Bound<'_, PyAny>>,
                ) -> Out {
                    let value = factor(value, self.tensor.dtype())?;
                    let (a, b, c) = (&self.tensor, &tensor1.get().tensor, &tensor2.get().tensor);
                    run(py, a, || fused(Binary::$kind, &[a, b, c], value))
                }
                #[doc = concat!("`", stringify!($name), "` with `value` as factor, in place.")]
                #[pyo3(signature = (tensor1, tensor2, *, value = None))]
                fn $in_place<'py>(
                    slf: Bound<'py, Self>,
                    tensor1: &Bound<'py, PyTensor>,
                    tensor2: &Bound<'py, PyTensor>,
                    value: Option<&Bound<'py, PyAny>>,
                ) -> Bind<Bound<'py, Self>> {
                    let this = &slf.get().tensor;
                    let value = factor(value, this.dtype())?;
                    let (b, c) = (&tensor1.get().tensor, &tensor2.get().tensor);
                    crate::gil::detached(slf.py(), this.byte_hint(), || {
                        if this.dtype().is_float() {
                            return this.apply_in_place(stringify!($in_place), Binary::$kind, &[b, c], value);
                        }
                        this.inplace(stringify!($in_place), |this| fused(Binary::$kind, &[this, b, c], value))
                    })?;
                    Ok(slf)
                }
            )*
        }

        mod fused_functions {
            use super::*;
            $(
                #[doc = concat!("`", stringify!($name), "` with `value` as factor.")]
                #[pyfunction]
                #[pyo3(signature = (input, tensor1, tensor2, *, value = None, out = None))]
                pub(super) fn $name<'py>(
                    input: &Bound<'py, PyTensor>,
                    tensor1: &Bound<'py, PyTensor>,
                    tensor2: &Bound<'py, PyTensor>,
                    value: Option<&Bound<'py, PyAny>>,
                    out: Option<&Bound<'py, PyTensor>>,
                ) -> Bind<Bound<'py, PyTensor>> {
                    let result = input.get().$name(input.py(), tensor1, tensor2, value)?;
                    deliver(input.py(), stringify!($name), result, out)
                }
            )*

            pub(super) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
                $(module.add_function(wrap_pyfunction!($name, module)?)?;)*
                Ok(())
            }
        }
    };
}

fused! {
    addcmul, addcmul_ => AddCMul;
    addcdiv, addcdiv_ => AddCDiv;
}

/// The power.
#[pyfunction]
#[pyo3(signature = (input, exponent, *, out = None))]
fn pow<'py>(
    input: &Bound<'py, PyAny>,
    exponent: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyTensor>>,
) -> Bind<Bound<'py, PyTensor>> {
    let py = input.py();
    let result = named(py, "pow", Binary::Pow, operand(input, "pow")?, operand(exponent, "pow")?)?;
    deliver(py, "pow", result, out)
}

/// The power, in double precision.
#[pyfunction]
#[pyo3(signature = (input, exponent, *, out = None))]
fn float_power<'py>(
    input: &Bound<'py, PyAny>,
    exponent: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyTensor>>,
) -> Bind<Bound<'py, PyTensor>> {
    let py = input.py();
    let (a, b) = (operand(input, "float_power")?, operand(exponent, "float_power")?);
    if matches!(a, Operand::Number(_)) {
        check_numbers("float_power", &a, &b)?;
    }
    deliver(py, "float_power", float_power_of(py, a, b)?, out)
}

/// `other - alpha input`.
#[pyfunction]
#[pyo3(signature = (input, other, *, alpha = None))]
fn rsub(
    py: Python<'_>,
    input: &Bound<'_, PyTensor>,
    other: &Bound<'_, PyAny>,
    alpha: Option<&Bound<'_, PyAny>>,
) -> Out {
    input.get().rsub(py, other, alpha)
}

/// `input + weight (end - input)`.
#[pyfunction]
#[pyo3(signature = (input, end, weight, *, out = None))]
fn lerp<'py>(
    input: &Bound<'py, PyTensor>,
    end: &Bound<'py, PyTensor>,
    weight: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyTensor>>,
) -> Bind<Bound<'py, PyTensor>> {
    let result = lerp_of(&input.get().tensor, &end.get().tensor, weight)?;
    deliver(input.py(), "lerp", Wrapped(result), out)
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    functions::export(module)?;
    sum_functions::export(module)?;
    quotient_functions::export(module)?;
    fused_functions::export(module)?;
    module.add_function(wrap_pyfunction!(pow, module)?)?;
    module.add_function(wrap_pyfunction!(float_power, module)?)?;
    module.add_function(wrap_pyfunction!(rsub, module)?)?;
    module.add_function(wrap_pyfunction!(lerp, module)?)
}

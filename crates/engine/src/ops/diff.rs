//! The algebra of differentiable tensors: the same derivative text that makes the fused kernels,
//! instantiated as tensor operations, for passes that are recorded themselves.

use std::cell::OnceCell;
use std::ops::{BitAnd, BitOr, Not};
use std::rc::Rc;

use smallvec::smallvec;

use super::algebra::Algebra;
use super::binary::Binary;
use super::unary::Unary;
use super::{Cx, Op, Rule};
use crate::dtype::Scalar;
use crate::error::{Error, Result};
use crate::graph::attach;
use crate::graph::hooks::GradList;
use crate::tensor::Tensor;

/// A tensor in a formula; the first error makes the rest void and is reported at the end.
#[derive(Clone)]
pub(crate) struct Diff {
    value: Option<Tensor>,
    error: Rc<OnceCell<Error>>,
}

/// A condition, element by element.
#[derive(Clone)]
pub(crate) struct Mask(Diff);

impl Diff {
    fn new(value: Tensor, error: &Rc<OnceCell<Error>>) -> Self {
        Self { value: Some(value), error: error.clone() }
    }

    fn wrap(&self, result: Result<Tensor>) -> Self {
        match result {
            Ok(value) => Self::new(value, &self.error),
            Err(error) => {
                let _ = self.error.set(error);
                Self { value: None, error: self.error.clone() }
            }
        }
    }

    fn then(&self, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Self {
        match &self.value {
            Some(value) => self.wrap(f(value)),
            None => self.clone(),
        }
    }

    fn with(&self, other: &Self, f: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>) -> Self {
        match (&self.value, &other.value) {
            (Some(a), Some(b)) => self.wrap(f(a, b)),
            _ => Self { value: None, error: self.error.clone() },
        }
    }

    fn op(&self, other: &Self, kind: Binary) -> Self {
        self.with(other, |a, b| a.binary(kind, b, 1.0))
    }

    fn fun(&self, kind: Unary) -> Self {
        self.then(|x| x.unary(kind, [0.0; 2]))
    }

    fn number(&self, kind: Binary, value: f64, reversed: bool) -> Self {
        self.then(|x| x.binary_scalar(kind, Scalar::Float(value), reversed))
    }
}

impl BitAnd for Mask {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0.op(&other.0, Binary::BitwiseAnd))
    }
}

impl BitOr for Mask {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0.op(&other.0, Binary::BitwiseOr))
    }
}

impl Not for Mask {
    type Output = Self;
    fn not(self) -> Self {
        Self(self.0.fun(Unary::BitwiseNot))
    }
}

macro_rules! by_rows {
    ($($name:ident => $kind:ident),* $(,)?) => {
        $(fn $name(&self) -> Self {
            self.fun(Unary::$kind)
        })*
    };
}

impl Algebra for Diff {
    type Mask = Mask;

    fn lit(&self, value: f64) -> Self {
        // A number that yields in promotion, without a gradient.
        self.then(|x| Ok(Tensor::from_scalar(Scalar::Float(value), x.dtype())?.into_number()))
    }
    fn add(&self, other: &Self) -> Self {
        self.op(other, Binary::Add)
    }
    fn sub(&self, other: &Self) -> Self {
        self.op(other, Binary::Sub)
    }
    fn mul(&self, other: &Self) -> Self {
        self.op(other, Binary::Mul)
    }
    fn div(&self, other: &Self) -> Self {
        self.op(other, Binary::Div)
    }
    fn pow(&self, other: &Self) -> Self {
        self.op(other, Binary::Pow)
    }
    fn atan2(&self, x: &Self) -> Self {
        self.op(x, Binary::Atan2)
    }
    fn hypot(&self, other: &Self) -> Self {
        self.op(other, Binary::Hypot)
    }
    fn fmod(&self, other: &Self) -> Self {
        self.op(other, Binary::Fmod)
    }
    fn gammainc(&self, x: &Self) -> Self {
        self.op(x, Binary::Igamma)
    }
    fn gammaincc(&self, x: &Self) -> Self {
        self.op(x, Binary::Igammac)
    }
    fn nextafter(&self, other: &Self) -> Self {
        self.op(other, Binary::NextAfter)
    }
    fn copysign(&self, sign: &Self) -> Self {
        self.op(sign, Binary::Copysign)
    }
    fn polygamma(&self, n: u32) -> Self {
        self.then(|x| x.polygamma(n))
    }
    fn i1(&self) -> Self {
        self.then(Tensor::i1)
    }

    by_rows! {
        neg => Neg, abs => Abs, sqrt => Sqrt, exp => Exp, exp2 => Exp2, expm1 => Expm1,
        log => Log, log2 => Log2, log10 => Log10, log1p => Log1p, sin => Sin, cos => Cos,
        tan => Tan, asin => Asin, acos => Acos, atan => Atan, sinh => Sinh, cosh => Cosh,
        tanh => Tanh, asinh => Asinh, acosh => Acosh, atanh => Atanh, sigmoid => Sigmoid,
        erf => Erf, erfc => Erfc, erfinv => Erfinv, lgamma => Lgamma, digamma => Digamma, i0 => I0,
        floor => Floor, ceil => Ceil, trunc => Trunc, round => Round,
    }

    fn lt(&self, other: &Self) -> Mask {
        Mask(self.op(other, Binary::Lt))
    }
    fn le(&self, other: &Self) -> Mask {
        Mask(self.op(other, Binary::Le))
    }
    fn eq(&self, other: &Self) -> Mask {
        Mask(self.op(other, Binary::Eq))
    }
    fn signbit(&self) -> Mask {
        Mask(self.fun(Unary::Signbit))
    }
    fn select(mask: &Mask, a: &Self, b: &Self) -> Self {
        let Some(condition) = &mask.0.value else { return mask.0.clone() };
        a.with(b, |a, b| condition.where_(a, b))
    }

    fn add_lit(&self, value: f64) -> Self {
        self.number(Binary::Add, value, false)
    }
    fn mul_lit(&self, value: f64) -> Self {
        self.number(Binary::Mul, value, false)
    }
    fn sub_from(&self, value: f64) -> Self {
        self.number(Binary::Sub, value, true)
    }
    fn div_into(&self, value: f64) -> Self {
        self.number(Binary::Div, value, true)
    }
}

/// Evaluates a formula over differentiable tensors.
fn evaluate(like: &Tensor, f: impl FnOnce(&dyn Fn(&Tensor) -> Diff) -> Diff) -> Result<Tensor> {
    let error = Rc::new(OnceCell::new());
    let wrap = |tensor: &Tensor| Diff::new(tensor.clone(), &error);
    let result = f(&wrap);
    match result.value {
        // A constant derivative comes as a number.
        Some(value) if value.ndim() == 0 => value.expand_to(&like.shape())?.to_dtype(like.dtype()),
        Some(value) => Ok(value),
        None => {
            drop(result);
            let error = Rc::try_unwrap(error).ok().and_then(OnceCell::into_inner);
            Err(error.unwrap_or_else(|| Error::runtime("a derivative could not be computed")))
        }
    }
}

/// The gradient of a unary row, recorded. What the row does not read is given the gradient itself.
pub(super) fn unary(
    kind: Unary,
    p: &[f64; 2],
    grad: &Tensor,
    x: Option<&Tensor>,
    y: Option<&Tensor>,
) -> Result<Tensor> {
    let (mut x, mut y) = (x.cloned(), y.cloned());
    if matches!(kind, Unary::Elu | Unary::Selu | Unary::Celu) {
        // Where both branches meet torch takes the second derivative of the straight one.
        for value in [&mut x, &mut y].into_iter().flatten() {
            *value = value.compare(Binary::Eq, 0.0)?.where_(&value.detach(), value)?;
        }
    }
    let (x, y) = (x.as_ref(), y.as_ref());
    let result = evaluate(grad, |wrap| {
        let (x, y) = (wrap(x.unwrap_or(grad)), wrap(y.unwrap_or(grad)));
        let g = wrap(grad);
        kind.vjp(&g, Some(&x), Some(&y), p)
            .unwrap_or_else(|| g.wrap(Err(not_differentiable(kind.name()))))
    })?;
    match (flat_name(kind, p), x.or(y)) {
        (Some(name), Some(value)) if value.requires_grad() => flat(name, &result, value),
        _ => Ok(result),
    }
}

/// The node of the derivative of rows whose slope is constant by parts, which in torch depends on the
/// value all the same: with a gradient of zero.
fn flat_name(kind: Unary, p: &[f64; 2]) -> Option<&'static str> {
    Some(match kind {
        Unary::Relu | Unary::Threshold => "ThresholdBackwardBackward0",
        Unary::LeakyRelu => "LeakyReluBackwardBackward0",
        Unary::Relu6 | Unary::Hardtanh => "HardtanhBackwardBackward0",
        Unary::Hardsigmoid => "HardsigmoidBackwardBackward0",
        Unary::Hardshrink => "HardshrinkBackwardBackward0",
        Unary::Softshrink => "SoftshrinkBackwardBackward0",
        Unary::PowScalar if p[0] == 1.0 => "MulBackward0",
        _ => return None,
    })
}

struct Flat(&'static str);

impl Rule for Flat {
    fn name(&self) -> &'static str {
        self.0
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None, None]) };
        let zeros = cx.needs(1).then(|| Tensor::zeros_like(grad)).transpose()?;
        Ok(smallvec![Some(grad.clone()), zeros])
    }
}

/// `result`, which depends on `value` with a gradient of zero.
fn flat(name: &'static str, result: &Tensor, value: &Tensor) -> Result<Tensor> {
    let output = result.detach();
    attach(Op::rule(Flat(name)), &[result, value], &[], &[&output])?;
    Ok(output)
}

/// The gradient of input `i` of a row of two or three inputs, recorded.
pub(super) fn binary(
    kind: Binary,
    i: usize,
    p: f64,
    grad: &Tensor,
    values: &[Option<Tensor>; 4],
) -> Result<Tensor> {
    evaluate(grad, |wrap| {
        let g = wrap(grad);
        let [a, b, c, y] = values.each_ref().map(|value| value.as_ref().map(wrap));
        let result = kind.vjp(i, &g, a.as_ref(), b.as_ref(), c.as_ref(), y.as_ref(), &[p, 0.0]);
        result.unwrap_or_else(|| g.wrap(Err(not_differentiable(kind.name()))))
    })
}

#[cold]
fn not_differentiable(name: &str) -> Error {
    Error::runtime(format!("{name} is not differentiable"))
}

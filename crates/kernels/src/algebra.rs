//! The small algebra in which elementwise operations and their derivatives are written.
//!
//! One text over `V: Algebra` serves three times: on lanes it is a SIMD kernel, on blocks a piece
//! of a fused program, on differentiable tensors the rule for higher derivatives.

use std::marker::PhantomData;
use std::ops::{BitAnd, BitOr, Not};

use crate::kernels::block::{Exact, Mode};
use crate::kernels::math::{exp, fma32, fma64, gamma, incomplete, log, quotient, special, trig};

macro_rules! unary_methods {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $($(#[$doc])* #[must_use] fn $name(&self) -> Self;)*
    };
}

/// Real numbers, or things that compute like them element by element.
pub trait Algebra: Clone {
    /// The result of a comparison.
    type Mask: Clone
        + BitAnd<Output = Self::Mask>
        + BitOr<Output = Self::Mask>
        + Not<Output = Self::Mask>;

    /// The constant `value`, of the kind of `self`.
    #[must_use]
    fn lit(&self, value: f64) -> Self;
    /// `self + other`
    #[must_use]
    fn add(&self, other: &Self) -> Self;
    /// `self - other`
    #[must_use]
    fn sub(&self, other: &Self) -> Self;
    /// `self * other`
    #[must_use]
    fn mul(&self, other: &Self) -> Self;
    /// `self / other`
    #[must_use]
    fn div(&self, other: &Self) -> Self;
    /// `self * b + c`, rounded once where the hardware can.
    #[must_use]
    fn fma(&self, b: &Self, c: &Self) -> Self {
        self.mul(b).add(c)
    }
    /// `self` to the power `other`.
    #[must_use]
    fn pow(&self, other: &Self) -> Self;
    /// The angle of the point (`x`, `self`).
    #[must_use]
    fn atan2(&self, x: &Self) -> Self;
    /// The length of the vector (`self`, `other`), without overflow on the way.
    #[must_use]
    fn hypot(&self, other: &Self) -> Self;
    /// The magnitude of `self` with the sign of `sign`.
    #[must_use]
    fn copysign(&self, sign: &Self) -> Self;
    /// The remainder of `self / other` with the sign of `self`, exactly (C's `fmod`).
    #[must_use]
    fn fmod(&self, other: &Self) -> Self;
    /// The next representable number towards `other`.
    #[must_use]
    fn nextafter(&self, other: &Self) -> Self;
    /// The regularised lower incomplete gamma function of parameter `self`.
    #[must_use]
    fn gammainc(&self, x: &Self) -> Self;
    /// The regularised upper incomplete gamma function of parameter `self`.
    #[must_use]
    fn gammaincc(&self, x: &Self) -> Self;
    /// The `n`-th derivative of `digamma`.
    #[must_use]
    fn polygamma(&self, n: u32) -> Self;

    unary_methods! {
        /// `-x`
        neg,
        /// `|x|`
        abs,
        /// `sqrt(x)`
        sqrt,
        /// `exp(x)`
        exp,
        /// `2^x`
        exp2,
        /// `exp(x) - 1`
        expm1,
        /// `log(x)`
        log,
        /// `log2(x)`
        log2,
        /// `log10(x)`
        log10,
        /// `log(1 + x)`
        log1p,
        /// `sin(x)`
        sin,
        /// `cos(x)`
        cos,
        /// `tan(x)`
        tan,
        /// `asin(x)`
        asin,
        /// `acos(x)`
        acos,
        /// `atan(x)`
        atan,
        /// `sinh(x)`
        sinh,
        /// `cosh(x)`
        cosh,
        /// `tanh(x)`
        tanh,
        /// `asinh(x)`
        asinh,
        /// `acosh(x)`
        acosh,
        /// `atanh(x)`
        atanh,
        /// `1 / (1 + exp(-x))`
        sigmoid,
        /// The error function.
        erf,
        /// `1 - erf(x)`
        erfc,
        /// The inverse of `erf`.
        erfinv,
        /// `log |gamma(x)|`
        lgamma,
        /// The derivative of `lgamma`.
        digamma,
        /// The modified Bessel function of order 0.
        i0,
        /// The modified Bessel function of order 1.
        i1,
        /// The nearest integer below.
        floor,
        /// The nearest integer above.
        ceil,
        /// The nearest integer towards zero.
        trunc,
        /// The nearest integer, ties to even.
        round,
    }

    /// The normal distribution function, and its density.
    #[inline(always)]
    fn normal(&self) -> (Self, Self) {
        let cdf = self.mul_lit(std::f64::consts::FRAC_1_SQRT_2).erf().add_lit(1.0).mul_lit(0.5);
        let pdf = self.square().mul_lit(-0.5).exp().mul_lit(0.398_942_280_401_432_68);
        (cdf, pdf)
    }

    /// `self < other`
    fn lt(&self, other: &Self) -> Self::Mask;
    /// `self <= other`
    fn le(&self, other: &Self) -> Self::Mask;
    /// `self == other`
    fn eq(&self, other: &Self) -> Self::Mask;
    /// Whether the sign bit is set.
    fn signbit(&self) -> Self::Mask;
    /// `a` where the mask holds, else `b`.
    #[must_use]
    fn select(mask: &Self::Mask, a: &Self, b: &Self) -> Self;

    /// `self > other`
    #[inline(always)]
    fn gt(&self, other: &Self) -> Self::Mask {
        other.lt(self)
    }
    /// `self >= other`
    #[inline(always)]
    fn ge(&self, other: &Self) -> Self::Mask {
        other.le(self)
    }
    /// `self < value`
    #[inline(always)]
    fn lt_lit(&self, value: f64) -> Self::Mask {
        self.lt(&self.lit(value))
    }
    /// `self <= value`
    #[inline(always)]
    fn le_lit(&self, value: f64) -> Self::Mask {
        self.le(&self.lit(value))
    }
    /// `self > value`
    #[inline(always)]
    fn gt_lit(&self, value: f64) -> Self::Mask {
        self.lit(value).lt(self)
    }
    /// `self >= value`
    #[inline(always)]
    fn ge_lit(&self, value: f64) -> Self::Mask {
        self.lit(value).le(self)
    }
    /// `self == value`
    #[inline(always)]
    fn eq_lit(&self, value: f64) -> Self::Mask {
        self.eq(&self.lit(value))
    }
    /// Whether `self` is not a number.
    #[inline(always)]
    fn is_nan(&self) -> Self::Mask {
        !self.eq(self)
    }
    /// `self + value`
    #[must_use]
    #[inline(always)]
    fn add_lit(&self, value: f64) -> Self {
        self.add(&self.lit(value))
    }
    /// `self * value`
    #[must_use]
    #[inline(always)]
    fn mul_lit(&self, value: f64) -> Self {
        self.mul(&self.lit(value))
    }
    /// `value - self`
    #[must_use]
    #[inline(always)]
    fn sub_from(&self, value: f64) -> Self {
        self.lit(value).sub(self)
    }
    /// `value / self`
    #[must_use]
    #[inline(always)]
    fn div_into(&self, value: f64) -> Self {
        self.lit(value).div(self)
    }
    /// `self * self`
    #[must_use]
    #[inline(always)]
    fn square(&self) -> Self {
        self.mul(self)
    }
    /// `self` where the mask holds, else zero.
    #[must_use]
    #[inline(always)]
    fn keep(&self, mask: &Self::Mask) -> Self {
        Self::select(mask, self, &self.lit(0.0))
    }
}

/// One lane of a kernel: a float and how its arithmetic is compiled.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Lane<T, M>(pub T, PhantomData<M>);

impl<T, M> Lane<T, M> {
    /// Wraps a value.
    #[inline(always)]
    pub fn new(value: T) -> Self {
        Self(value, PhantomData)
    }
}

/// Floating-point elements: their lanes compute.
pub trait Float: crate::dtype::Element {
    /// The lane type in a mode.
    type Lane<M: Mode>: Algebra<Mask = bool> + Copy;
    /// Makes a lane.
    fn lane<M: Mode>(self) -> Self::Lane<M>;
    /// Reads a lane.
    fn value<M: Mode>(lane: Self::Lane<M>) -> Self;
    /// Whether trigonometric functions of this argument need [`Exact`] mode.
    fn hard_angle(self) -> bool;
    /// Whether the remainder of a division by `other` wants exact arithmetic.
    fn hard_quotient(self, other: Self) -> bool;
}

macro_rules! float {
    ($t:ty, $limit:expr, $quotient:path) => {
        impl Float for $t {
            type Lane<M: Mode> = Lane<$t, M>;
            #[inline(always)]
            fn lane<M: Mode>(self) -> Lane<$t, M> {
                Lane::new(self)
            }
            #[inline(always)]
            fn value<M: Mode>(lane: Lane<$t, M>) -> Self {
                lane.0
            }
            #[inline(always)]
            fn hard_angle(self) -> bool {
                self.abs() > $limit
            }
            #[inline(always)]
            fn hard_quotient(self, other: Self) -> bool {
                $quotient(self, other)
            }
        }
    };
}

float!(f32, trig::LIMIT_F32, quotient::hard_f32);
float!(f64, trig::LIMIT_F64, quotient::hard_f64);

/// Implements the trait for `$self` given how to wrap and unwrap the float `$t`.
macro_rules! algebra {
    (
        [$($gen:tt)*] $self:ty, $t:ident, $m:ty, $wrap:expr, $get:expr, $fma:ident;
        own: $($own:ident = $own_f:path),*;
        wide: $($wide:ident = $wide_f:path),*;
        scalar: $($scalar:ident = $scalar_f:path),*;
        pow: $pow:path, atan2: $atan2:path, fmod: $fmod:path, error: $error:path
        $(, normal: $normal:path)?
    ) => {
        impl $($gen)* Algebra for $self {
            type Mask = bool;
            #[inline(always)]
            fn lit(&self, value: f64) -> Self { $wrap(value as $t) }
            #[inline(always)]
            fn add(&self, other: &Self) -> Self { $wrap($get(self) + $get(other)) }
            #[inline(always)]
            fn sub(&self, other: &Self) -> Self { $wrap($get(self) - $get(other)) }
            #[inline(always)]
            fn mul(&self, other: &Self) -> Self { $wrap($get(self) * $get(other)) }
            #[inline(always)]
            fn div(&self, other: &Self) -> Self { $wrap($get(self) / $get(other)) }
            #[inline(always)]
            fn fma(&self, b: &Self, c: &Self) -> Self {
                $wrap($fma::<$m>($get(self), $get(b), $get(c)))
            }
            #[inline(always)]
            fn pow(&self, other: &Self) -> Self { $wrap($pow($get(self), $get(other))) }
            $(
                #[inline(always)]
                fn normal(&self) -> (Self, Self) {
                    let (cdf, pdf) = $normal($get(self));
                    ($wrap(cdf), $wrap(pdf))
                }
            )?
            #[inline(always)]
            fn atan2(&self, x: &Self) -> Self {
                $wrap($atan2($get(self), $get(x)))
            }
            #[inline(always)]
            fn hypot(&self, other: &Self) -> Self { $wrap(Hypot::hypot($get(self), $get(other))) }
            #[inline(always)]
            fn copysign(&self, sign: &Self) -> Self { $wrap($get(self).copysign($get(sign))) }
            #[inline(always)]
            fn fmod(&self, other: &Self) -> Self { $wrap($fmod($get(self), $get(other))) }
            #[inline(always)]
            fn nextafter(&self, other: &Self) -> Self {
                let (x, y) = ($get(self), $get(other));
                let next = if y > x { x.next_up() } else if y < x { x.next_down() } else { y };
                $wrap(if x.is_nan() { x } else { next })
            }
            #[inline(always)]
            fn gammainc(&self, x: &Self) -> Self {
                $wrap(incomplete::gammainc($get(self) as f64, $get(x) as f64, $error) as $t)
            }
            #[inline(always)]
            fn gammaincc(&self, x: &Self) -> Self {
                $wrap(incomplete::gammaincc($get(self) as f64, $get(x) as f64, $error) as $t)
            }
            #[inline(always)]
            fn polygamma(&self, n: u32) -> Self {
                $wrap(gamma::polygamma::<$m>(n, $get(self) as f64) as $t)
            }
            #[inline(always)]
            fn neg(&self) -> Self { $wrap(-$get(self)) }
            #[inline(always)]
            fn abs(&self) -> Self { $wrap($get(self).abs()) }
            #[inline(always)]
            fn sqrt(&self) -> Self { $wrap($get(self).sqrt()) }
            #[inline(always)]
            fn floor(&self) -> Self { $wrap($get(self).floor()) }
            #[inline(always)]
            fn ceil(&self) -> Self { $wrap($get(self).ceil()) }
            #[inline(always)]
            fn trunc(&self) -> Self { $wrap($get(self).trunc()) }
            #[inline(always)]
            fn round(&self) -> Self { $wrap($get(self).round_ties_even()) }
            $(
                #[inline(always)]
                fn $own(&self) -> Self { $wrap($own_f($get(self))) }
            )*
            $(
                #[inline(always)]
                fn $wide(&self) -> Self { $wrap($wide_f($get(self) as f64) as $t) }
            )*
            $(
                #[inline(always)]
                fn $scalar(&self) -> Self { $wrap($scalar_f($get(self) as f64) as $t) }
            )*
            #[inline(always)]
            fn lt(&self, other: &Self) -> bool { $get(self) < $get(other) }
            #[inline(always)]
            fn le(&self, other: &Self) -> bool { $get(self) <= $get(other) }
            #[inline(always)]
            fn eq(&self, other: &Self) -> bool { $get(self) == $get(other) }
            #[inline(always)]
            fn signbit(&self) -> bool { $get(self).is_sign_negative() }
            #[inline(always)]
            fn select(mask: &bool, a: &Self, b: &Self) -> Self {
                std::hint::select_unpredictable(*mask, *a, *b)
            }
        }
    };
}

macro_rules! algebra_f32 {
    ([$($gen:tt)*] $self:ty, $m:ty, $wrap:expr, $get:expr) => {
        algebra! {
            [$($gen)*] $self, f32, $m, $wrap, $get, fma32;
            own: exp = exp::exp_f32::<$m>, exp2 = exp::exp2_f32::<$m>,
                expm1 = exp::expm1_f32::<$m>, log = log::log_f32::<$m>,
                log1p = log::log1p_f32::<$m>, sin = trig::sin_f32::<$m>,
                cos = trig::cos_f32::<$m>, tanh = exp::tanh_f32::<$m>,
                sigmoid = exp::sigmoid_f32::<$m>, erf = special::erf_f32::<$m>,
                log2 = log::log2_f32::<$m>, log10 = log::log10_f32::<$m>,
                asin = trig::asin_f32::<$m>, acos = trig::acos_f32::<$m>,
                tan = trig::tan_f32::<$m>, asinh = log::asinh_f32::<$m>,
                acosh = log::acosh_f32::<$m>, atanh = log::atanh_f32::<$m>,
                erfc = special::erfc_f32::<$m>, erfinv = special::erfinv_f32::<$m>;
            wide: atan = trig::atan_f64::<$m>, sinh = exp::sinh_f64::<$m>, cosh = exp::cosh_f64::<$m>,
                lgamma = gamma::lgamma_single::<$m>, digamma = gamma::digamma::<$m>;
            scalar: i0 = special::i0, i1 = special::i1;
            pow: log::pow_f32::<$m>, atan2: trig::atan2_f32::<$m>, fmod: quotient::fmod_f32::<$m>,
            error: incomplete::ERROR_F32,
            normal: special::normal_f32::<$m>
        }
    };
}

macro_rules! algebra_f64 {
    ([$($gen:tt)*] $self:ty, $m:ty, $wrap:expr, $get:expr) => {
        algebra! {
            [$($gen)*] $self, f64, $m, $wrap, $get, fma64;
            own: exp = exp::exp_f64::<$m>, exp2 = exp::exp2_f64::<$m>,
                expm1 = exp::expm1_f64::<$m>, log = log::log_f64::<$m>,
                log1p = log::log1p_f64::<$m>, sin = trig::sin_f64::<$m>,
                cos = trig::cos_f64::<$m>, tanh = exp::tanh_f64::<$m>,
                sigmoid = exp::sigmoid_f64::<$m>, erf = special::erf_f64::<$m>,
                erfinv = special::erfinv_f64::<$m>,
                log2 = log::log2_f64::<$m>, log10 = log::log10_f64::<$m>,
                tan = trig::tan_f64::<$m>, asin = trig::asin_f64::<$m>,
                acos = trig::acos_f64::<$m>, atan = trig::atan_f64::<$m>,
                sinh = exp::sinh_f64::<$m>, cosh = exp::cosh_f64::<$m>,
                asinh = log::asinh_f64::<$m>, acosh = log::acosh_f64::<$m>,
                atanh = log::atanh_f64::<$m>, erfc = special::erfc_f64::<$m>,
                digamma = gamma::digamma::<$m>;
            wide: ;
            scalar: lgamma = gamma::lgamma, i0 = special::i0, i1 = special::i1;
            pow: log::pow_f64::<$m>, atan2: trig::atan2_f64::<$m>, fmod: quotient::fmod_f64::<$m>,
            error: incomplete::ERROR_F64
        }
    };
}

algebra_f32! { [<M: Mode>] Lane<f32, M>, M, Lane::new, |x: &Self| x.0 }
algebra_f64! { [<M: Mode>] Lane<f64, M>, M, Lane::new, |x: &Self| x.0 }
algebra_f32! { [] f32, Exact, |x: f32| x, |x: &f32| *x }
algebra_f64! { [] f64, Exact, |x: f64| x, |x: &f64| *x }

/// `sqrt(x^2 + y^2)`; infinite if either is, even beside NaN.
trait Hypot {
    fn hypot(self, other: Self) -> Self;
}

impl Hypot for f32 {
    #[inline(always)]
    fn hypot(self, other: Self) -> Self {
        let (x, y) = (self as f64, other as f64);
        let r = (x * x + y * y).sqrt() as Self;
        let infinite = self.abs() == Self::INFINITY || other.abs() == Self::INFINITY;
        if infinite { Self::INFINITY } else { r }
    }
}

impl Hypot for f64 {
    #[inline(always)]
    fn hypot(self, other: Self) -> Self {
        let (a, b) = (self.abs(), other.abs());
        let big = if a > b { a } else { b };
        // Powers of two, so that scaling loses nothing.
        let scale = if big > 1e150 { 2f64.powi(-600) } else { 1.0 };
        let scale = if big < 1e-150 { 2f64.powi(600) } else { scale };
        let (x, y) = (a * scale, b * scale);
        let r = (x * x + y * y).sqrt() / scale;
        let infinite = a == Self::INFINITY || b == Self::INFINITY;
        if infinite { Self::INFINITY } else { r }
    }
}

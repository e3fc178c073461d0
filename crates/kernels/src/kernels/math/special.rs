//! The error function and its kin.

use super::coefficients::{
    ERF_F32, ERF_F64, ERFC_F32, ERFC_F64, ERFC_TAIL_F32, ERFC_TAIL_F64, ERFINV_FAR, ERFINV_LARGE,
    ERFINV_MIDDLE, ERFINV_NEAR, ERFINV_SMALL, I0_LARGE, I0_SMALL, I1_LARGE, I1_SMALL,
    TAIL_ABOVE_F32, TAIL_BELOW_F32,
};
use super::exp::{bell_f32, exp_normal_f32, exp_normal_f64, exp_parts, exp_times_f32};
use super::log::{log_f32, log_f64};
use super::{fma32, fma64, poly32, poly64, select, two_product};
use crate::kernels::block::{Exact, Mode};

/// `erf(x)`, 2 ulp.
#[inline(always)]
pub fn erf_f32<M: Mode>(x: f32) -> f32 {
    let a = x.abs();
    let small = fma32::<M>(x, poly32::<M, 8>(x * x, &ERF_F32), x);
    // Beyond 4 the result is 1 in single precision.
    let t = select(a > 4.0, 4.0, a);
    let tail = exp_normal_f32::<M>(poly32::<M, 8>(t, &ERFC_TAIL_F32));
    let large = (1.0 - tail).copysign(x);
    let y = select(a < 1.0, small, large);
    select(x.is_nan(), x, y)
}

/// `1 / sqrt(2 pi)`
const NORMAL: f32 = 0.398_942_28;

/// The normal distribution function of `x` and its density. Where `x^2 / 2` is rounded to single
/// precision so are the tails: 4.5 ulp for `x > -1`, then `4 + x^2 / 2` of them; 0 from where they
/// would be subnormal.
#[inline(always)]
pub fn normal_f32<M: Mode>(x: f32) -> (f32, f32) {
    let a = x.abs();
    let a = select(a > 13.27, 13.27, a);
    let square = a * a;
    let e = bell_f32::<M>(square);
    // The quotient on its own, and its polynomials by pairs of coefficients: the processor computes it
    // beside the exponential, and few elements fit its queue at a time.
    let pairs = |high: f32, c: &[f32]| {
        let middle = fma32::<M>(c[3], a, c[2]);
        fma32::<M>(fma32::<M>(high, square, middle), square, fma32::<M>(c[1], a, c[0]))
    };
    let above = pairs(TAIL_ABOVE_F32[4], &TAIL_ABOVE_F32);
    let below = pairs(fma32::<M>(TAIL_BELOW_F32[5], a, TAIL_BELOW_F32[4]), &TAIL_BELOW_F32);
    let tail = e * (above / below);
    (select(x < 0.0, tail, 1.0 - tail), e * NORMAL)
}

/// `erfc(a)` for `a >= 1/2`.
#[inline(always)]
fn erfc_tail<M: Mode>(a: f64) -> f64 {
    let a = select(a > 28.0, 28.0, a);
    let t = (a - 4.0) / (a + 4.0);
    let q = poly64::<M, 22>(t, &ERFC_F64) / fma64::<M>(2.0, a, 1.0);
    let (square, low) = two_product::<M>(a, a);
    exp_parts::<M>(-square, -low) * q
}

/// `erf(x)`, 2 ulp.
#[inline(always)]
pub fn erf_f64<M: Mode>(x: f64) -> f64 {
    let a = x.abs();
    let small = fma64::<M>(x, poly64::<M, 15>(x * x, &ERF_F64), x);
    // Beyond 6 the result is 1. Of the tail only what is left beside 1 matters.
    let t = select(a > 6.0, 6.0, a) - 2.0;
    let tail = exp_normal_f64::<M>(poly64::<M, 18>(t, &ERFC_TAIL_F64));
    let y = select(a < 1.0, small, (1.0 - tail).copysign(x));
    select(x.is_nan(), x, y)
}

/// `1 - erf(x)`, 4 ulp.
#[inline(always)]
pub fn erfc_f64<M: Mode>(x: f64) -> f64 {
    let a = x.abs();
    let small = 1.0 - fma64::<M>(x, poly64::<M, 15>(x * x, &ERF_F64), x);
    let tail = erfc_tail::<M>(a);
    let large = select(x < 0.0, 2.0 - tail, tail);
    let y = select(a < 0.5, small, large);
    select(x.is_nan(), x, y)
}

/// `1 - erf(x)`, 3.5 ulp.
#[inline(always)]
pub fn erfc_f32<M: Mode>(x: f32) -> f32 {
    let a = x.abs();
    let small = 1.0 - fma32::<M>(x, poly32::<M, 8>(x * x, &ERF_F32), x);
    // The result is 0 from 10.06 on.
    let a = select(a > 10.3, 10.3, a);
    let q = poly32::<M, 11>((a - 2.0) / (a + 2.0), &ERFC_F32) / fma32::<M>(2.0, a, 1.0);
    // What rounding takes off the square matters.
    let square = f64::from(a) * f64::from(a);
    let high = square as f32;
    let tail = exp_times_f32::<M>(-high, (f64::from(high) - square) as f32, q);
    let large = select(x < 0.0, 2.0 - tail, tail);
    let y = select(a < 0.5, small, large);
    select(x.is_nan(), x, y)
}

/// The inverse of `erf`, 5 ulp: Giles' approximation.
#[inline(always)]
pub fn erfinv_f32<M: Mode>(x: f32) -> f32 {
    let w = -log_f32::<M>((1.0 - x) * (1.0 + x));
    let near = poly32::<M, 9>(w - 2.5, &ERFINV_NEAR);
    let far = poly32::<M, 9>(w.sqrt() - 3.0, &ERFINV_FAR);
    let y = x * select(w < 5.0, near, far);
    let y = select(x.abs() == 1.0, f32::INFINITY.copysign(x), y);
    select(x.abs() <= 1.0, y, f32::NAN)
}

/// The inverse of `erf`, 6 ulp: polynomials in `w = -log(1 - x^2)` and its root, in the way of Giles.
#[inline(always)]
pub fn erfinv_f64<M: Mode>(x: f64) -> f64 {
    let w = -log_f64::<M>((1.0 - x) * (1.0 + x));
    let root = w.sqrt();
    let small = poly64::<M, 24>(w - 3.125, &ERFINV_SMALL);
    let middle = poly64::<M, 19>(root - 3.25, &ERFINV_MIDDLE);
    let large = poly64::<M, 18>(root - 5.0, &ERFINV_LARGE);
    let y = x * select(w < 6.25, small, select(w < 16.0, middle, large));
    let y = select(x.abs() == 1.0, f64::INFINITY.copysign(x), y);
    select(x.abs() <= 1.0, y, f64::NAN)
}

/// The modified Bessel function `I0`, 4 ulp.
pub fn i0(x: f64) -> f64 {
    let a = x.abs();
    if a <= 8.0 {
        return poly64::<Exact, 25>(a * a * 0.25, &I0_SMALL);
    }
    bessel_large(a, &I0_LARGE)
}

/// The modified Bessel function `I1`, 4 ulp.
pub fn i1(x: f64) -> f64 {
    let a = x.abs();
    let y = if a <= 8.0 {
        0.5 * a * poly64::<Exact, 25>(a * a * 0.25, &I1_SMALL)
    } else {
        bessel_large(a, &I1_LARGE)
    };
    y.copysign(x)
}

fn bessel_large(a: f64, c: &[f64; 21]) -> f64 {
    if a.is_infinite() {
        return a;
    }
    // Half the exponential twice: the product overflows later than the exponential.
    let e = (0.5 * a).exp();
    e * (poly64::<Exact, 21>(1.0 / a - 0.0625, c) / (std::f64::consts::TAU * a).sqrt()) * e
}

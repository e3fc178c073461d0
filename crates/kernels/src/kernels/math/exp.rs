//! Exponentials and the hyperbolic functions made of them.
//!
//! `x = n ln 2 + r`, a polynomial for `exp(r)`, and a multiplication by `2^n` in two steps, so
//! that results overflow and become subnormal where they should.

use super::coefficients::{EXP_F32, EXP_F64, TANH_F32};
use super::{fma32, fma64, poly32, poly64, select};
use crate::kernels::block::Mode;

/// Adding and subtracting this rounds to an integer, which then stands in the low bits.
pub(super) const ROUND_F32: f32 = 12582912.0;
pub(super) const ROUND_F64: f64 = 6755399441055744.0;

// High parts have zeros behind them, so that their products with n are exact without FMA, too.
pub(super) const LN2_HI_F32: f32 = 0.693359375;
pub(super) const LN2_LO_F32: f32 = -2.121944400546905827679e-4;
pub(super) const LN2_HI_F64: f64 = 6.93147180369123816490e-01;
pub(super) const LN2_LO_F64: f64 = 1.90821492927058770002e-10;

/// `2^n` for an integer-valued n within the normal exponents.
#[inline(always)]
fn power_of_two_f32(n: f32) -> f32 {
    f32::from_bits((n + ROUND_F32).to_bits().wrapping_add(127) << 23)
}

/// `2^n` for an integer-valued n within the normal exponents.
#[inline(always)]
fn power_of_two_f64(n: f64) -> f64 {
    f64::from_bits((n + ROUND_F64).to_bits().wrapping_add(1023) << 52)
}

/// `x 2^n` for `|n| < 250`.
#[inline(always)]
fn scale_f32(x: f32, n: f32) -> f32 {
    let half = (n * 0.5 + ROUND_F32) - ROUND_F32;
    x * power_of_two_f32(half) * power_of_two_f32(n - half)
}

/// `x 2^n` for `|n| < 2000`.
#[inline(always)]
fn scale_f64(x: f64, n: f64) -> f64 {
    let half = (n * 0.5 + ROUND_F64) - ROUND_F64;
    x * power_of_two_f64(half) * power_of_two_f64(n - half)
}

/// `(m, r)` with `x = n ln 2 + r`, where m is n plus the rounding constant: n stands in its low bits.
#[inline(always)]
fn reduce_f32<M: Mode>(x: f32) -> (f32, f32) {
    let shifted = fma32::<M>(x, std::f32::consts::LOG2_E, ROUND_F32);
    let n = shifted - ROUND_F32;
    let r = fma32::<M>(n, -LN2_HI_F32, x);
    (shifted, fma32::<M>(n, -LN2_LO_F32, r))
}

/// `(n, r)` with `x = n ln 2 + r`.
#[inline(always)]
fn reduce_f64<M: Mode>(x: f64) -> (f64, f64) {
    let n = fma64::<M>(x, std::f64::consts::LOG2_E, ROUND_F64) - ROUND_F64;
    let r = fma64::<M>(n, -LN2_HI_F64, x);
    (n, fma64::<M>(n, -LN2_LO_F64, r))
}

/// Limits a lane; NaN passes.
macro_rules! clamp {
    ($x:expr, $lo:expr, $hi:expr) => {{
        let x = $x;
        let x = select(x < $lo, $lo, x);
        select(x > $hi, $hi, x)
    }};
}

/// `exp(r)` for a reduced argument.
#[inline(always)]
fn reduced_f32<M: Mode>(r: f32) -> f32 {
    fma32::<M>(r * r, poly32::<M, 6>(r, &EXP_F32), r) + 1.0
}

/// `exp(x)`, 1 ulp.
#[inline(always)]
pub fn exp_f32<M: Mode>(x: f32) -> f32 {
    let (shifted, r) = reduce_f32::<M>(clamp!(x, -110.0, 90.0));
    // In two steps, so that results overflow and become subnormal; the integer is in the low bits.
    let k = (shifted.to_bits() as i32).wrapping_sub(ROUND_F32.to_bits() as i32);
    let half = k >> 1;
    let power = |k: i32| f32::from_bits((k.wrapping_add(127) << 23) as u32);
    reduced_f32::<M>(r) * power(half) * power(k.wrapping_sub(half))
}

/// `exp(x)` for `|x| < 87`, whose result is a normal number: its exponent is added to the bits.
#[inline(always)]
pub(super) fn exp_normal_f32<M: Mode>(x: f32) -> f32 {
    let (shifted, r) = reduce_f32::<M>(x);
    f32::from_bits(reduced_f32::<M>(r).to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// `exp(hi + lo)` for a `lo` far below `hi`.
#[inline(always)]
pub(super) fn exp_parts<M: Mode>(hi: f64, lo: f64) -> f64 {
    let (n, r) = reduce_f64::<M>(clamp!(hi, -800.0, 750.0));
    let r = r + lo;
    scale_f64(fma64::<M>(r * r, poly64::<M, 11>(r, &EXP_F64), r) + 1.0, n)
}

/// `exp(x)`, 1 ulp.
#[inline(always)]
pub fn exp_f64<M: Mode>(x: f64) -> f64 {
    exp_parts::<M>(x, 0.0)
}

/// `2^x`, 1 ulp.
#[inline(always)]
pub fn exp2_f32<M: Mode>(x: f32) -> f32 {
    let x = clamp!(x, -160.0, 130.0);
    let n = (x + ROUND_F32) - ROUND_F32;
    scale_f32(reduced_f32::<M>((x - n) * std::f32::consts::LN_2), n)
}

/// `2^x`, 1 ulp.
#[inline(always)]
pub fn exp2_f64<M: Mode>(x: f64) -> f64 {
    let x = clamp!(x, -1100.0, 1030.0);
    let n = (x + ROUND_F64) - ROUND_F64;
    let r = (x - n) * std::f64::consts::LN_2;
    scale_f64(fma64::<M>(r * r, poly64::<M, 11>(r, &EXP_F64), r) + 1.0, n)
}

/// Half of `exp(x) - 1`, which is representable a little further than the whole.
#[inline(always)]
fn half_expm1_f32<M: Mode>(x: f32) -> f32 {
    let x = clamp!(x, -20.0, 89.5);
    let n = fma32::<M>(x, std::f32::consts::LOG2_E, ROUND_F32) - ROUND_F32;
    let high = fma32::<M>(n, -LN2_HI_F32, x);
    let low = n * LN2_LO_F32;
    let r = high - low;
    let lost = (high - r) - low;
    let e = r + fma32::<M>(r * r, poly32::<M, 6>(r, &EXP_F32), lost);
    // A quarter first: 2^(n - 1) may not be representable.
    let s = power_of_two_f32(n - 2.0);
    let y = 2.0 * fma32::<M>(s, e, s - 0.25);
    // Keeps the sign of zero and the precision of subnormals.
    select(x.abs() < 1e-30, x * 0.5, y)
}

/// `exp(x) - 1`, 2 ulp.
#[inline(always)]
pub fn expm1_f32<M: Mode>(x: f32) -> f32 {
    let y = half_expm1_f32::<M>(x) * 2.0;
    select(x.abs() < 1e-30, x, y)
}

/// Half of `exp(x) - 1`, which is representable a little further than the whole.
#[inline(always)]
fn half_expm1_f64<M: Mode>(x: f64) -> f64 {
    let x = clamp!(x, -40.0, 710.6);
    let n = fma64::<M>(x, std::f64::consts::LOG2_E, ROUND_F64) - ROUND_F64;
    let high = fma64::<M>(n, -LN2_HI_F64, x);
    let low = n * LN2_LO_F64;
    let r = high - low;
    let lost = (high - r) - low;
    let e = r + fma64::<M>(r * r, poly64::<M, 11>(r, &EXP_F64), lost);
    // A quarter first: 2^(n - 1) may not be representable.
    let s = power_of_two_f64(n - 2.0);
    let y = 2.0 * fma64::<M>(s, e, s - 0.25);
    select(x.abs() < 1e-300, x * 0.5, y)
}

/// `exp(x) - 1`, 2 ulp.
#[inline(always)]
pub fn expm1_f64<M: Mode>(x: f64) -> f64 {
    let y = half_expm1_f64::<M>(x) * 2.0;
    select(x.abs() < 1e-300, x, y)
}

/// `tanh(x)`, 2 ulp.
#[inline(always)]
pub fn tanh_f32<M: Mode>(x: f32) -> f32 {
    // Small: an odd polynomial. Large: below one by q = 2 e / (1 + e) with e = exp(-2 a), of which q
    // is at most half the result, so that its errors shrink. The exponent is added to the bits.
    let a = x.abs();
    let z = -2.0 * select(a > 10.0, 10.0, a);
    let (shifted, r) = reduce_f32::<M>(z);
    let e = reduced_f32::<M>(r);
    let twice = f32::from_bits(e.to_bits().wrapping_add((shifted.to_bits().wrapping_add(1)) << 23));
    let large = 1.0 - twice / fma32::<M>(0.5, twice, 1.0);
    let square = a * a;
    let small = fma32::<M>(a * square, poly32::<M, 5>(square, &TANH_F32), a);
    (select(a > 0.55, large, small)).copysign(x)
}

/// `tanh(x)`, 2 ulp.
#[inline(always)]
pub fn tanh_f64<M: Mode>(x: f64) -> f64 {
    // With t = expm1(2 a) / 2 small results are t / (t + 1); large ones, with t = expm1(-2 a) / 2,
    // lie (2 t + 1) / (t + 1) below one. Either way errors shrink.
    let a = x.abs();
    let large = a > 0.55;
    let t = half_expm1_f64::<M>(select(large, -2.0 * a, 2.0 * a));
    let q = (select(large, 2.0 * t + 1.0, t)) / (t + 1.0);
    let y = (select(large, 1.0 - q, q)).copysign(x);
    select(x.abs() < 1e-300, x, y)
}

/// `sinh(x)`, 2 ulp.
#[inline(always)]
pub fn sinh_f64<M: Mode>(x: f64) -> f64 {
    let t = half_expm1_f64::<M>(x.abs());
    let y = (t + t / fma64::<M>(2.0, t, 1.0)).copysign(x);
    let y = select(t == f64::INFINITY, t.copysign(x), y);
    select(x.abs() < 1e-300, x, y)
}

/// `cosh(x)`, 2 ulp.
#[inline(always)]
pub fn cosh_f64<M: Mode>(x: f64) -> f64 {
    let (n, r) = reduce_f64::<M>(clamp!(x.abs(), 0.0, 750.0));
    let e = fma64::<M>(r * r, poly64::<M, 11>(r, &EXP_F64), r) + 1.0;
    let half = scale_f64(e, n - 1.0);
    half + 0.25 / half
}

/// `1 / (1 + exp(-x))`, 2.3 ulp; subnormal results are kept.
#[inline(always)]
pub fn sigmoid_f32<M: Mode>(x: f32) -> f32 {
    let e = exp_f32::<M>(-x.abs());
    (select(x < 0.0, e, 1.0)) / (1.0 + e)
}

/// `1 / (1 + exp(-x))`, 2 ulp; subnormal results are kept.
#[inline(always)]
pub fn sigmoid_f64<M: Mode>(x: f64) -> f64 {
    let e = exp_f64::<M>(-x.abs());
    (select(x < 0.0, e, 1.0)) / (1.0 + e)
}

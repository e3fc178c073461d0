//! Exponentials and the hyperbolic functions made of them.
//!
//! `x = n ln 2 + r`, a polynomial for `exp(r)`, and a multiplication by `2^n` in two steps, so
//! that results overflow and become subnormal where they should.

use super::coefficients::{EXP_F32, EXP_F64, EXP2_SINGLE};
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

/// As [`ROUND_F32`], with the bias of exponents in the low bits: shifted to their place, they are 2^n.
const BIASED_F32: f32 = ROUND_F32 + 127.0;
const BIASED_F64: f64 = ROUND_F64 + 1023.0;
/// With twice that bias each half of the sum has it once.
const TWICE_F32: f32 = ROUND_F32 + 2.0 * 127.0;
const TWICE_F64: f64 = ROUND_F64 + 2.0 * 1023.0;

/// `2^n` of n plus [`BIASED_F32`], for `-127 < n < 128`; 0 for -127.
#[inline(always)]
fn power_of_two_f32(shifted: f32) -> f32 {
    f32::from_bits(shifted.to_bits() << 23)
}

/// `2^n` of n plus [`BIASED_F64`], for `-1023 < n < 1024`.
#[inline(always)]
fn power_of_two_f64(shifted: f64) -> f64 {
    f64::from_bits(shifted.to_bits() << 52)
}

/// `x 2^n` of n plus [`TWICE_F32`], for `|n| < 200`: in two steps of about n / 2, so that results overflow
/// and become subnormal where they should.
#[inline(always)]
fn scale_f32(x: f32, shifted: f32) -> f32 {
    let half = (shifted.to_bits() << 22) & 0xff80_0000;
    let rest = (shifted.to_bits() << 23).wrapping_sub(half);
    x * f32::from_bits(half) * f32::from_bits(rest)
}

/// `x 2^n` of n plus [`TWICE_F64`], for `|n| < 1500`, as [`scale_f32`] does it.
#[inline(always)]
fn scale_f64(x: f64, shifted: f64) -> f64 {
    let half = (shifted.to_bits() << 51) & 0xfff0_0000_0000_0000;
    let rest = (shifted.to_bits() << 52).wrapping_sub(half);
    x * f64::from_bits(half) * f64::from_bits(rest)
}

/// `(m, r)` with `x = n ln 2 + r`, where m is n plus the constant that rounds and biases.
#[inline(always)]
fn reduce_f32<M: Mode>(x: f32, biased: f32) -> (f32, f32) {
    let shifted = fma32::<M>(x, std::f32::consts::LOG2_E, biased);
    let n = shifted - biased;
    let r = fma32::<M>(n, -LN2_HI_F32, x);
    (shifted, fma32::<M>(n, -LN2_LO_F32, r))
}

/// `(m, r)` with `x = n ln 2 + r`, where m is n plus the constant that rounds and biases.
#[inline(always)]
fn reduce_f64<M: Mode>(x: f64, biased: f64) -> (f64, f64) {
    let shifted = fma64::<M>(x, std::f64::consts::LOG2_E, biased);
    let n = shifted - biased;
    let r = fma64::<M>(n, -LN2_HI_F64, x);
    (shifted, fma64::<M>(n, -LN2_LO_F64, r))
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
    fma32::<M>(r * r, poly32::<M, 5>(r, &EXP_F32), r) + 1.0
}

/// `exp(r)` for a reduced argument.
#[inline(always)]
fn reduced_f64<M: Mode>(r: f64) -> f64 {
    fma64::<M>(r * r, poly64::<M, 11>(r, &EXP_F64), r) + 1.0
}

/// `exp(x)`, 1.1 ulp.
#[inline(always)]
pub fn exp_f32<M: Mode>(x: f32) -> f32 {
    let (shifted, r) = reduce_f32::<M>(clamp!(x, -104.0, 89.0), TWICE_F32);
    scale_f32(reduced_f32::<M>(r), shifted)
}

/// `exp(x)` for `|x| < 87`, whose result is a normal number.
#[inline(always)]
pub(super) fn exp_normal_f32<M: Mode>(x: f32) -> f32 {
    let (shifted, r) = reduce_f32::<M>(x, BIASED_F32);
    reduced_f32::<M>(r) * power_of_two_f32(shifted)
}

/// `exp(x)` for `|x| < 700`, whose result is a normal number.
#[inline(always)]
pub(super) fn exp_normal_f64<M: Mode>(x: f64) -> f64 {
    let (shifted, r) = reduce_f64::<M>(x, BIASED_F64);
    reduced_f64::<M>(r) * power_of_two_f64(shifted)
}

/// `exp(hi + lo) factor` for a `lo` far below `hi <= 0`.
#[inline(always)]
pub(super) fn exp_times_f32<M: Mode>(hi: f32, lo: f32, factor: f32) -> f32 {
    let (shifted, r) = reduce_f32::<M>(clamp!(hi, -110.0, 89.0), TWICE_F32);
    scale_f32(reduced_f32::<M>(r + lo) * factor, shifted)
}

/// `exp(-square / 2)` for `0 <= square < 177`; 0 from 176 on.
#[inline(always)]
pub(super) fn bell_f32<M: Mode>(square: f32) -> f32 {
    let shifted = fma32::<M>(square, -0.5 * std::f32::consts::LOG2_E, BIASED_F32);
    let n = shifted - BIASED_F32;
    let r = fma32::<M>(n, 2.0 * LN2_HI_F32, square);
    let r = fma32::<M>(n, 2.0 * LN2_LO_F32, r);
    let c = const { scaled(&EXP_F32, 0.25, -0.5) };
    let e = fma32::<M>(r, fma32::<M>(r, poly32::<M, 5>(r, &c), -0.5), 1.0);
    e * power_of_two_f32(shifted)
}

/// Coefficients times `first`, `first factor`, `first factor^2`, ...
const fn scaled<const N: usize>(c: &[f32; N], first: f32, factor: f32) -> [f32; N] {
    let mut scaled = [0.0; N];
    let mut power = first;
    let mut i = 0;
    while i < N {
        scaled[i] = c[i] * power;
        power *= factor;
        i += 1;
    }
    scaled
}

/// `exp(hi + lo)` for a `lo` far below `hi`.
#[inline(always)]
pub(super) fn exp_parts<M: Mode>(hi: f64, lo: f64) -> f64 {
    let (shifted, r) = reduce_f64::<M>(clamp!(hi, -746.0, 710.0), TWICE_F64);
    scale_f64(reduced_f64::<M>(r + lo), shifted)
}

/// `exp(x)`, 1 ulp.
#[inline(always)]
pub fn exp_f64<M: Mode>(x: f64) -> f64 {
    let (shifted, r) = reduce_f64::<M>(clamp!(x, -746.0, 710.0), TWICE_F64);
    scale_f64(reduced_f64::<M>(r), shifted)
}

/// `2^x`, 1.1 ulp.
#[inline(always)]
pub fn exp2_f32<M: Mode>(x: f32) -> f32 {
    let x = clamp!(x, -150.5, 129.0);
    let shifted = x + TWICE_F32;
    let r = (x - (shifted - TWICE_F32)) * std::f32::consts::LN_2;
    scale_f32(reduced_f32::<M>(r), shifted)
}

/// `2^x`, 1 ulp.
#[inline(always)]
pub fn exp2_f64<M: Mode>(x: f64) -> f64 {
    let x = clamp!(x, -1076.0, 1025.0);
    let shifted = x + TWICE_F64;
    let r = (x - (shifted - TWICE_F64)) * std::f64::consts::LN_2;
    scale_f64(reduced_f64::<M>(r), shifted)
}

/// `2^x` in single precision, rounded once.
#[inline(always)]
pub(super) fn exp2_single<M: Mode>(x: f64) -> f32 {
    let x = clamp!(x, -160.0, 140.0);
    let shifted = x + BIASED_F64;
    let y = poly64::<M, 8>(x - (shifted - BIASED_F64), &EXP2_SINGLE);
    // Doubles reach further than singles: what overflows or is subnormal becomes so here.
    (y * power_of_two_f64(shifted)) as f32
}

/// Half of `exp(x) - 1`, which is representable a little further than the whole.
#[inline(always)]
fn half_expm1_f32<M: Mode>(x: f32) -> f32 {
    let x = clamp!(x, -20.0, 89.5);
    // A quarter first: 2^(n - 1) may not be representable.
    let shifted = fma32::<M>(x, std::f32::consts::LOG2_E, BIASED_F32 - 2.0);
    let n = shifted - (BIASED_F32 - 2.0);
    let high = fma32::<M>(n, -LN2_HI_F32, x);
    let low = n * LN2_LO_F32;
    let r = high - low;
    let lost = (high - r) - low;
    let e = r + fma32::<M>(r * r, poly32::<M, 5>(r, &EXP_F32), lost);
    let s = power_of_two_f32(shifted);
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
    // A quarter first: 2^(n - 1) may not be representable.
    let shifted = fma64::<M>(x, std::f64::consts::LOG2_E, BIASED_F64 - 2.0);
    let n = shifted - (BIASED_F64 - 2.0);
    let high = fma64::<M>(n, -LN2_HI_F64, x);
    let low = n * LN2_LO_F64;
    let r = high - low;
    let lost = (high - r) - low;
    let e = r + fma64::<M>(r * r, poly64::<M, 11>(r, &EXP_F64), lost);
    let s = power_of_two_f64(shifted);
    let y = 2.0 * fma64::<M>(s, e, s - 0.25);
    select(x.abs() < 1e-300, x * 0.5, y)
}

/// `exp(x) - 1`, 2 ulp.
#[inline(always)]
pub fn expm1_f64<M: Mode>(x: f64) -> f64 {
    let y = half_expm1_f64::<M>(x) * 2.0;
    select(x.abs() < 1e-300, x, y)
}

/// `tanh(x)`, 2.5 ulp.
#[inline(always)]
pub fn tanh_f32<M: Mode>(x: f32) -> f32 {
    // With t = (exp(2 a) - 1) / 2 the result is t / (t + 1). With 2 a = n ln 2 + 2 r and h that of r
    // alone, t = 2^n h + (2^n - 1) / 2: for small a that is h, and nothing cancels elsewhere.
    let a = x.abs();
    let a = select(a > 9.02, 9.02, a);
    let shifted = fma32::<M>(a, 2.0 * std::f32::consts::LOG2_E, BIASED_F32);
    let n = shifted - BIASED_F32;
    let r = fma32::<M>(n, -0.5 * LN2_HI_F32, a);
    let r = fma32::<M>(n, -0.5 * LN2_LO_F32, r);
    let c = const { scaled(&EXP_F32, 2.0, 2.0) };
    let h = fma32::<M>(r * r, poly32::<M, 5>(r, &c), r);
    let s = power_of_two_f32(shifted);
    let t = fma32::<M>(s, h, fma32::<M>(s, 0.5, -0.5));
    (t / (t + 1.0)).copysign(x)
}

/// `tanh(x)`, 2.5 ulp.
#[inline(always)]
pub fn tanh_f64<M: Mode>(x: f64) -> f64 {
    // As in single precision; 2 a is exact.
    let a = x.abs();
    let z = 2.0 * select(a > 20.0, 20.0, a);
    let (shifted, r) = reduce_f64::<M>(z, BIASED_F64);
    let h = 0.5 * fma64::<M>(r * r, poly64::<M, 11>(r, &EXP_F64), r);
    let s = power_of_two_f64(shifted);
    let t = fma64::<M>(s, h, fma64::<M>(s, 0.5, -0.5));
    let y = (t / (t + 1.0)).copysign(x);
    // Half of what is subnormal is not exact.
    select(a < 1e-300, x, y)
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
    let (shifted, r) = reduce_f64::<M>(clamp!(x.abs(), 0.0, 750.0), TWICE_F64);
    let half = scale_f64(reduced_f64::<M>(r), shifted - 1.0);
    half + 0.25 / half
}

/// `1 / (1 + exp(-x))`, 2.5 ulp; 0 where that overflows.
#[inline(always)]
pub fn sigmoid_f32<M: Mode>(x: f32) -> f32 {
    let z = clamp!(x, -88.37, 87.0);
    let shifted = fma32::<M>(z, -std::f32::consts::LOG2_E, BIASED_F32);
    let n = shifted - BIASED_F32;
    let r = fma32::<M>(n, LN2_HI_F32, z);
    let r = fma32::<M>(n, LN2_LO_F32, r);
    let c = const { scaled(&EXP_F32, 1.0, -1.0) };
    let e = fma32::<M>(r, fma32::<M>(r, poly32::<M, 5>(r, &c), -1.0), 1.0);
    let y = 1.0 / fma32::<M>(e, power_of_two_f32(shifted), 1.0);
    select(x < -88.37, 0.0, y)
}

/// `1 / (1 + exp(-x))`, 2.5 ulp; 0 where that overflows.
#[inline(always)]
pub fn sigmoid_f64<M: Mode>(x: f64) -> f64 {
    let z = -clamp!(x, -709.4, 700.0);
    let (shifted, r) = reduce_f64::<M>(z, BIASED_F64);
    let y = 1.0 / fma64::<M>(reduced_f64::<M>(r), power_of_two_f64(shifted), 1.0);
    select(x < -709.4, 0.0, y)
}

//! Logarithms, powers and the inverse hyperbolic functions.
//!
//! `x = 2^e m` with `m` between `1 / sqrt 2` and `sqrt 2`, and a polynomial for `log m`.

use super::coefficients::{LOG_DD, LOG_F32, LOG_F64, LOG2_SINGLE};
use super::exp::{LN2_HI_F32, LN2_HI_F64, LN2_LO_F32, LN2_LO_F64, exp_parts, exp2_single};
use super::{fast_two_sum, fma32, fma64, poly32, poly64, select, two_product, two_sum};
use crate::kernels::block::Mode;

/// `(e, m)` with `x = 2^e m`, for positive finite x.
#[inline(always)]
fn decompose_f32(x: f32) -> (f32, f32) {
    let tiny = x < f32::MIN_POSITIVE;
    let x = select(tiny, x * 8388608.0, x);
    // Shifts the border of exponents from 1 to 1 / sqrt 2.
    let bits = x.to_bits().wrapping_add(0x3f80_0000 - 0x3f35_04f3);
    let e = ((bits >> 23) as i32 - 127) as f32;
    let m = f32::from_bits((bits & 0x007f_ffff) + 0x3f35_04f3);
    (select(tiny, e - 23.0, e), m)
}

/// `(e, m)` with `x = 2^e m`, for positive finite x.
#[inline(always)]
fn decompose_f64(x: f64) -> (f64, f64) {
    let tiny = x < f64::MIN_POSITIVE;
    let (e, m) = normal_parts(select(tiny, x * 18014398509481984.0, x));
    (select(tiny, e - 54.0, e), m)
}

/// [`decompose_f64`] of a normal number.
#[inline(always)]
fn normal_parts(x: f64) -> (f64, f64) {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    let bits = x.to_bits().wrapping_add(ONE - SQRT_HALF);
    // An integer below 2^52 as a double, without the instruction only AVX-512 has.
    let e = f64::from_bits((bits >> 52) | 0x4330_0000_0000_0000) - (4503599627370496.0 + 1023.0);
    let m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) + SQRT_HALF);
    (e, m)
}

/// What logarithms give outside the positive finite numbers.
macro_rules! log_special {
    ($x:expr, $y:expr, $t:ty) => {{
        let (x, y) = ($x, $y);
        let y = select(x == <$t>::INFINITY, x, y);
        let y = select(x == 0.0, <$t>::NEG_INFINITY, y);
        // NaN compares false.
        select(x >= 0.0, y, <$t>::NAN)
    }};
}

/// `log(x) + c` for a small `c`.
#[inline(always)]
fn log_plus_f32<M: Mode>(x: f32, c: f32) -> f32 {
    let (e, m) = decompose_f32(x);
    let f = m - 1.0;
    let z = f * f;
    let tail = fma32::<M>(f * z, poly32::<M, 9>(f, &LOG_F32), fma32::<M>(e, LN2_LO_F32, c));
    let tail = fma32::<M>(-0.5, z, tail);
    log_special!(x, fma32::<M>(e, LN2_HI_F32, f + tail), f32)
}

/// `log(x) + c` for a small `c`.
#[inline(always)]
fn log_plus_f64<M: Mode>(x: f64, c: f64) -> f64 {
    let (e, m) = decompose_f64(x);
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z * poly64::<M, 8>(z, &LOG_F64);
    let h = 0.5 * f * f;
    // log(1 + f) = f - (h - s (h + r)), as fdlibm arranges it.
    let tail = fma64::<M>(s, h + r, fma64::<M>(e, LN2_LO_F64, c));
    log_special!(x, fma64::<M>(e, LN2_HI_F64, f - (h - tail)), f64)
}

/// The terms of `log m = f - h + rest`.
#[inline(always)]
fn log_terms<M: Mode>(m: f64) -> (f64, f64, f64) {
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let h = 0.5 * f * f;
    (f, h, s * fma64::<M>(z, poly64::<M, 8>(z, &LOG_F64), h))
}

/// `log(x)`, 1 ulp.
#[inline(always)]
pub fn log_f32<M: Mode>(x: f32) -> f32 {
    log_plus_f32::<M>(x, 0.0)
}

/// `log(x)`, 1 ulp.
#[inline(always)]
pub fn log_f64<M: Mode>(x: f64) -> f64 {
    log_plus_f64::<M>(x, 0.0)
}

macro_rules! log1p {
    ($name:ident, $t:ty, $plus:ident) => {
        /// `log(1 + x)`, 2 ulp.
        #[inline(always)]
        pub fn $name<M: Mode>(x: $t) -> $t {
            let u = 1.0 + x;
            // What the sum lost.
            let t = u - x;
            let lost = select(x > 1.0, 1.0 - t, x - (u - 1.0));
            let c = select(u > 0.0 && u < <$t>::INFINITY, lost / u, 0.0);
            let y = $plus::<M>(u, c);
            select(x == 0.0, x, y)
        }
    };
}

log1p!(log1p_f32, f32, log_plus_f32);
log1p!(log1p_f64, f64, log_plus_f64);

/// `log(x)` for positive finite x as an unevaluated sum with an error of about 2^-66.
#[inline(always)]
fn log_parts<M: Mode>(x: f64) -> (f64, f64) {
    /// 2/3 as a sum.
    const THIRD: (f64, f64) = (0.6666666666666666, 3.700743415417188e-17);
    let (e, m) = decompose_f64(x);
    let f = m - 1.0;
    // s = f / (2 + f) with its remainder; the sum 2 + f is not always exact.
    let (d, d_low) = fast_two_sum(2.0, f);
    let s = f / d;
    let (p, p_low) = two_product::<M>(s, d);
    let s_low = ((f - p) - p_low - s * d_low) / d;
    let (z, z_low) = two_product::<M>(s, s);
    let z_low = fma64::<M>(2.0 * s, s_low, z_low);
    // w = 2/3 + z (2/5 + ...), of which only the first term needs more than double precision.
    let (w, w_low) = fast_two_sum(THIRD.0, z * poly64::<M, 8>(z, &LOG_DD));
    let w_low = w_low + THIRD.1;
    // t = z w
    let (t, t_low) = two_product::<M>(z, w);
    let t_low = t_low + fma64::<M>(z, w_low, z_low * w);
    // v = s t
    let (v, v_low) = two_product::<M>(s, t);
    let v_low = v_low + fma64::<M>(s, t_low, s_low * t);
    let (log_m, log_low) = fast_two_sum(2.0 * s, v);
    let log_low = log_low + fma64::<M>(2.0, s_low, v_low);
    // Plus e ln 2; the high part times e is exact.
    let (hi, lo) = two_sum(e * LN2_HI_F64, log_m);
    let lo = lo + fma64::<M>(e, LN2_LO_F64, log_low);
    let lo = fma64::<M>(e, 1.1612227229362532e-26, lo);
    fast_two_sum(hi, lo)
}

/// `log(x) / log(base)`, with `1 / log(base)` and `log(2) / log(base)` given as sums; the high part of the
/// second ends in zeros, so that its product with an exponent is exact.
#[inline(always)]
fn log_base<M: Mode>(x: f64, inverse: (f64, f64), two: (f64, f64)) -> f64 {
    let (e, m) = decompose_f64(x);
    let (f, h, rest) = log_terms::<M>(m);
    // log m as a sum, the first part of which is that of f - h.
    let hi = f - h;
    let lo = (f - hi) - h + rest;
    let (p, p_low) = two_product::<M>(hi, inverse.0);
    let (y, y_low) = fast_two_sum(e * two.0, p);
    let low = fma64::<M>(hi, inverse.1, fma64::<M>(lo, inverse.0, p_low));
    log_special!(x, y + (y_low + fma64::<M>(e, two.1, low)), f64)
}

/// `log2(x)`, 1 ulp; exact for powers of two.
#[inline(always)]
pub fn log2_f64<M: Mode>(x: f64) -> f64 {
    log_base::<M>(x, (std::f64::consts::LOG2_E, 2.0355273740931033e-17), (1.0, 0.0))
}

/// `log10(x)`, 1 ulp.
#[inline(always)]
pub fn log10_f64<M: Mode>(x: f64) -> f64 {
    /// `log10(2)`.
    const TWO: (f64, f64) = (0.30102999560767785, 5.630334806675098e-11);
    log_base::<M>(x, (std::f64::consts::LOG10_E, 1.098319650216765e-17), TWO)
}

/// `log2(x)` of a normal number with a relative error of 2^-37, enough for a single.
#[inline(always)]
fn log2_single<M: Mode>(x: f64) -> f64 {
    let (e, m) = normal_parts(x);
    // log2(m) = 2 atanh(s) / ln 2: a division costs less than the terms of a series in m - 1.
    let s = (m - 1.0) / (m + 1.0);
    let log = fma64::<M>(s, poly64::<M, 5>(s * s, &LOG2_SINGLE), e);
    let log = select(x == f64::INFINITY, f64::INFINITY, log);
    select(x == 0.0, f64::NEG_INFINITY, log)
}

/// `log2(x)`, rounded once; exact for powers of two.
#[inline(always)]
pub fn log2_f32<M: Mode>(x: f32) -> f32 {
    // NaN compares false.
    select(x >= 0.0, log2_single::<M>(f64::from(x)) as f32, f32::NAN)
}

/// `log10(x)`, rounded once; exact for powers of ten.
#[inline(always)]
pub fn log10_f32<M: Mode>(x: f32) -> f32 {
    let y = log2_single::<M>(f64::from(x)) * std::f64::consts::LOG10_2;
    select(x >= 0.0, y as f32, f32::NAN)
}

/// What `pow` gives where the formula does not: C99, annex F.
macro_rules! pow_special {
    ($x:expr, $y:expr, $r:expr, $t:ty) => {{
        let (x, y, r): ($t, $t, $t) = ($x, $y, $r);
        let r = select(x.abs() == 1.0, 1.0, r);
        let whole = y.trunc() == y;
        let half = 0.5 * y;
        let odd = whole && half.trunc() != half;
        let r = select(x.is_sign_negative() && odd, -r, r);
        let r = select(x < 0.0 && x > <$t>::NEG_INFINITY && !whole, <$t>::NAN, r);
        let r = select(x.is_nan() || y.is_nan(), <$t>::NAN, r);
        select(y == 0.0 || x == 1.0, 1.0, r)
    }};
}

/// `x^y`, 1 ulp.
#[inline(always)]
pub fn pow_f32<M: Mode>(x: f32, y: f32) -> f32 {
    // In double precision, where a logarithm and a power good to 2^-34 leave the result as good as
    // rounded once.
    let log = log2_single::<M>(f64::from(x.abs()));
    pow_special!(x, y, exp2_single::<M>(f64::from(y) * log), f32)
}

/// `x^y`, 2 ulp.
#[inline(always)]
pub fn pow_f64<M: Mode>(x: f64, y: f64) -> f64 {
    let a = x.abs();
    let (hi, lo) = log_parts::<M>(a);
    let rough = y * log_special!(a, hi, f64);
    let inside = rough.abs() < 800.0;
    let (p, p_low) = two_product::<M>(y, hi);
    let r = select(inside, p, rough);
    let r_low = select(inside, fma64::<M>(y, lo, p_low), 0.0);
    pow_special!(x, y, exp_parts::<M>(r, r_low), f64)
}

/// From here on `x + sqrt(x^2 - 1)` is `2 x` to double precision.
const LARGE: f64 = 268435456.0;

/// `asinh(x)`, 3 ulp.
#[inline(always)]
pub fn asinh_f64<M: Mode>(x: f64) -> f64 {
    let a = x.abs();
    let square = a * a;
    let t = a + square / (1.0 + (1.0 + square).sqrt());
    let y = log1p_f64::<M>(select(a > LARGE, a - 1.0, t));
    let y = select(a > LARGE, y + std::f64::consts::LN_2, y);
    y.copysign(x)
}

/// `acosh(x)`, 3 ulp.
#[inline(always)]
pub fn acosh_f64<M: Mode>(x: f64) -> f64 {
    let t = x - 1.0;
    let u = t + fma64::<M>(t, t, 2.0 * t).sqrt();
    let y = log1p_f64::<M>(select(x > LARGE, t, u));
    let y = select(x > LARGE, y + std::f64::consts::LN_2, y);
    select(x >= 1.0, y, f64::NAN)
}

/// `atanh(x)`, 3 ulp.
#[inline(always)]
pub fn atanh_f64<M: Mode>(x: f64) -> f64 {
    let a = x.abs();
    (0.5 * log1p_f64::<M>(2.0 * a / (1.0 - a))).copysign(x)
}

/// `log(x)` of a normal number, enough for a single.
#[inline(always)]
fn log_single<M: Mode>(x: f64) -> f64 {
    log2_single::<M>(x) * std::f64::consts::LN_2
}

/// Below this a function like `x` plus a cubic term is `x` to more than single precision, and the sums of
/// which logarithms are taken below would have lost too much of it.
const NEAR_ZERO: f64 = 1e-5;

/// `asinh(x)`, rounded once.
#[inline(always)]
pub fn asinh_f32<M: Mode>(x: f32) -> f32 {
    let a = f64::from(x.abs());
    let y = log_single::<M>(a + fma64::<M>(a, a, 1.0).sqrt());
    let y = select(a < NEAR_ZERO, a, y) as f32;
    select(x.is_nan(), x, y).copysign(x)
}

/// `acosh(x)`, rounded once.
#[inline(always)]
pub fn acosh_f32<M: Mode>(x: f32) -> f32 {
    let a = f64::from(x);
    let y = log_single::<M>(a + ((a - 1.0) * (a + 1.0)).sqrt());
    select(x >= 1.0, y as f32, f32::NAN)
}

/// `atanh(x)`, rounded once.
#[inline(always)]
pub fn atanh_f32<M: Mode>(x: f32) -> f32 {
    let a = f64::from(x.abs());
    let y = 0.5 * log_single::<M>((1.0 + a) / (1.0 - a));
    let y = select(a < NEAR_ZERO, a, y) as f32;
    select(a <= 1.0, y, f32::NAN).copysign(x)
}

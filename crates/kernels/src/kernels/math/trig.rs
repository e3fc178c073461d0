//! Trigonometric functions and their inverses.
//!
//! Arguments are reduced modulo pi/2 in double precision or more. Beyond [`LIMIT_F32`] and
//! [`LIMIT_F64`] that is not enough: blocks with such an argument run in `Exact` mode, which calls
//! the standard library.

use super::coefficients::{ASIN_F32, ATAN_F32, ATAN_F64, COS_F32, COS_F64, SIN_F32, SIN_F64};
use super::exp::ROUND_F64;
use super::{fma32, fma64, poly32, poly64, select};
use crate::kernels::block::Mode;

/// Arguments up to this one are reduced accurately for single precision.
pub const LIMIT_F32: f32 = 1e6;
/// Arguments up to this one are reduced accurately for double precision.
pub const LIMIT_F64: f64 = 1e6;

// pi/2 in pieces; 33 bits in the first two, so that products with the quadrant are exact.
const PIO2_1: f64 = 1.57079632673412561417e+00;
const PIO2_2: f64 = 6.07710050630396597660e-11;
const PIO2_3: f64 = 2.02226624879595063154e-21;

/// The quadrant in the low bits, and `x - quadrant pi/2`.
#[inline(always)]
fn reduce_single<M: Mode>(x: f32) -> (u64, f64) {
    let x = x as f64;
    let t = fma64::<M>(x, std::f64::consts::FRAC_2_PI, ROUND_F64);
    let n = t - ROUND_F64;
    let r = fma64::<M>(n, -PIO2_1, x);
    (t.to_bits(), fma64::<M>(n, -(PIO2_2 + PIO2_3), r))
}

/// The quadrant in the low bits, and `x - quadrant pi/2` as a sum.
#[inline(always)]
fn reduce_f32<M: Mode>(x: f32) -> (u64, f32, f32) {
    let (quadrant, r) = reduce_single::<M>(x);
    let hi = r as f32;
    (quadrant, hi, (r - hi as f64) as f32)
}

/// The quadrant in the low bits, and `x - quadrant pi/2` as a sum.
#[inline(always)]
fn reduce_f64<M: Mode>(x: f64) -> (u64, f64, f64) {
    let t = fma64::<M>(x, std::f64::consts::FRAC_2_PI, ROUND_F64);
    let n = t - ROUND_F64;
    let a = fma64::<M>(n, -PIO2_1, x);
    let w = n * PIO2_2;
    let hi = a - w;
    let lo = (a - hi) - w;
    let lo = fma64::<M>(n, -PIO2_3, lo);
    let r = hi + lo;
    (t.to_bits(), r, (hi - r) + lo)
}

/// Sine (`shift = 0`) or cosine (`shift = 1`) in single precision.
#[inline(always)]
fn sine_f32<M: Mode>(x: f32, shift: u64) -> f32 {
    let (quadrant, r, low) = reduce_f32::<M>(x);
    let quadrant = quadrant.wrapping_add(shift) as u32;
    let z = r * r;
    let s = fma32::<M>(z * r, poly32::<M, 4>(z, &SIN_F32), low) + r;
    let h = 0.5 * z;
    let w = 1.0 - h;
    let tail = ((1.0 - w) - h) + fma32::<M>(z * z, poly32::<M, 3>(z, &COS_F32), -r * low);
    let c = w + tail;
    let y = select(quadrant & 1 == 0, s, c);
    f32::from_bits(y.to_bits() ^ ((quadrant & 2) << 30))
}

/// Sine and cosine of a reduced argument.
#[inline(always)]
pub(super) fn kernel_f64<M: Mode>(r: f64, low: f64) -> (f64, f64) {
    let z = r * r;
    let s = fma64::<M>(z * r, poly64::<M, 7>(z, &SIN_F64), fma64::<M>(-0.5 * z, low, low)) + r;
    let h = 0.5 * z;
    let w = 1.0 - h;
    let tail = ((1.0 - w) - h) + fma64::<M>(z * z, poly64::<M, 7>(z, &COS_F64), -r * low);
    (s, w + tail)
}

/// Sine (`shift = 0`) or cosine (`shift = 1`) in double precision.
#[inline(always)]
fn sine_f64<M: Mode>(x: f64, shift: u64) -> f64 {
    let (quadrant, r, low) = reduce_f64::<M>(x);
    let quadrant = quadrant.wrapping_add(shift);
    let (s, c) = kernel_f64::<M>(r, low);
    let y = select(quadrant & 1 == 0, s, c);
    f64::from_bits(y.to_bits() ^ ((quadrant & 2) << 62))
}

/// `sin(x)`, 1 ulp.
#[inline(always)]
pub fn sin_f32<M: Mode>(x: f32) -> f32 {
    if M::LIBM {
        return (x as f64).sin() as f32;
    }
    let y = sine_f32::<M>(x, 0);
    // Keeps the sign of zero.
    select(x == 0.0, x, y)
}

/// `cos(x)`, 1 ulp.
#[inline(always)]
pub fn cos_f32<M: Mode>(x: f32) -> f32 {
    if M::LIBM { (x as f64).cos() as f32 } else { sine_f32::<M>(x, 1) }
}

/// `sin(x)`, 1 ulp.
#[inline(always)]
pub fn sin_f64<M: Mode>(x: f64) -> f64 {
    if M::LIBM {
        return x.sin();
    }
    let y = sine_f64::<M>(x, 0);
    select(x == 0.0, x, y)
}

/// `cos(x)`, 1 ulp.
#[inline(always)]
pub fn cos_f64<M: Mode>(x: f64) -> f64 {
    if M::LIBM { x.cos() } else { sine_f64::<M>(x, 1) }
}

/// `tan(x)`, rounded once: sine and cosine in double precision, as good as a single needs them.
#[inline(always)]
pub fn tan_f32<M: Mode>(x: f32) -> f32 {
    if M::LIBM {
        return f64::from(x).tan() as f32;
    }
    let (quadrant, r) = reduce_single::<M>(x);
    let z = r * r;
    let s = fma64::<M>(z * r, poly64::<M, 4>(z, &const { widened(&SIN_F32) }), r);
    let c =
        fma64::<M>(z, fma64::<M>(z, poly64::<M, 3>(z, &const { widened(&COS_F32) }), -0.5), 1.0);
    let odd = quadrant & 1 == 1;
    let y = (select(odd, -c, s)) / (select(odd, s, c));
    select(x == 0.0, x, y as f32)
}

/// Coefficients in double precision.
const fn widened<const N: usize>(c: &[f32; N]) -> [f64; N] {
    let mut wide = [0.0; N];
    let mut i = 0;
    while i < N {
        wide[i] = c[i] as f64;
        i += 1;
    }
    wide
}

/// `tan(x)`, 2 ulp.
#[inline(always)]
pub fn tan_f64<M: Mode>(x: f64) -> f64 {
    if M::LIBM {
        return x.tan();
    }
    let (quadrant, r, low) = reduce_f64::<M>(x);
    let (s, c) = kernel_f64::<M>(r, low);
    let odd = quadrant & 1 == 1;
    let y = (select(odd, -c, s)) / (select(odd, s, c));
    select(x == 0.0, x, y)
}

/// `atan(y / x)` for `y, x >= 0`.
#[inline(always)]
fn atan_ratio<M: Mode>(y: f64, x: f64) -> f64 {
    /// `tan(3 pi / 8)` and `tan(pi / 8)`.
    const STEEP: f64 = 2.414213562373095;
    const FLAT: f64 = 0.41421356237309503;
    const QUARTER: (f64, f64) = (std::f64::consts::FRAC_PI_4, 3.061616997868383e-17);
    let steep = y > STEEP * x;
    let middle = y > FLAT * x && !steep;
    // atan(y/x) = pi/4 + atan((y - x) / (y + x)) = pi/2 - atan(x / y)
    let n = select(steep, -x, select(middle, y - x, y));
    let d = select(steep, y, select(middle, y + x, x));
    let t = n / d;
    let z = t * t;
    let p = z * poly64::<M, 13>(z, &ATAN_F64);
    let k = select(steep, 2.0, select(middle, 1.0, 0.0));
    fma64::<M>(k, QUARTER.0, fma64::<M>(t, p, k * QUARTER.1) + t)
}

/// `atan(x)`, 2 ulp.
#[inline(always)]
pub fn atan_f64<M: Mode>(x: f64) -> f64 {
    atan_ratio::<M>(x.abs(), 1.0).copysign(x)
}

/// `atan2(y, x)`, 2 ulp.
#[inline(always)]
pub fn atan2_f64<M: Mode>(y: f64, x: f64) -> f64 {
    let (a, b) = (y.abs(), x.abs());
    // Equal infinities count as a ratio of one, and 0 / 0 as nothing.
    let both = a == f64::INFINITY && b == f64::INFINITY;
    let (a, b) = (select(both, 1.0, a), select(both, 1.0, b));
    let b = select(a == 0.0 && b == 0.0, 1.0, b);
    // Ratios of huge or tiny numbers must not overflow on the way.
    let shrink = select(a > 1e300 || b > 1e300, 1e-10, 1.0);
    let angle = atan_ratio::<M>(a * shrink, b * shrink);
    let behind = std::f64::consts::PI - angle + 1.2246467991473532e-16;
    let angle = select(x.is_sign_negative(), behind, angle);
    let angle = select(x.is_nan() || y.is_nan(), f64::NAN, angle);
    angle.copysign(y)
}

/// `atan2(y, x)`, 2 ulp; as in double precision.
#[inline(always)]
pub fn atan2_f32<M: Mode>(y: f32, x: f32) -> f32 {
    const STEEP: f32 = 2.414_213_7;
    const FLAT: f32 = 0.414_213_57;
    const QUARTER: (f32, f32) = (std::f32::consts::FRAC_PI_4, -2.185_569_4e-8);
    let (a, b) = (y.abs(), x.abs());
    let both = a == f32::INFINITY && b == f32::INFINITY;
    let (a, b) = (select(both, 1.0, a), select(both, 1.0, b));
    let b = select(a == 0.0 && b == 0.0, 1.0, b);
    // So that the sum does not overflow.
    let shrink = select(a > 1e37 || b > 1e37, 2f32.powi(-20), 1.0);
    let (a, b) = (a * shrink, b * shrink);
    let steep = a > STEEP * b;
    let middle = a > FLAT * b && !steep;
    let n = select(steep, -b, select(middle, a - b, a));
    let d = select(steep, a, select(middle, a + b, b));
    let t = n / d;
    let z = t * t;
    let p = z * poly32::<M, 6>(z, &ATAN_F32);
    let k = select(steep, 2.0, select(middle, 1.0, 0.0));
    let angle = fma32::<M>(k, QUARTER.0, fma32::<M>(t, p, k * QUARTER.1) + t);
    let behind = std::f32::consts::PI - angle - 8.742_278e-8;
    let angle = select(x.is_sign_negative(), behind, angle);
    let angle = select(x.is_nan() || y.is_nan(), f32::NAN, angle);
    angle.copysign(y)
}

/// `asin(x)`, 2 ulp.
#[inline(always)]
pub fn asin_f64<M: Mode>(x: f64) -> f64 {
    let a = x.abs();
    let y = atan_ratio::<M>(a, ((1.0 - a) * (1.0 + a)).sqrt());
    (select(a <= 1.0, y, f64::NAN)).copysign(x)
}

/// `acos(x)`, 2 ulp.
#[inline(always)]
pub fn acos_f64<M: Mode>(x: f64) -> f64 {
    let y = 2.0 * atan_ratio::<M>((1.0 - x).sqrt(), (1.0 + x).sqrt());
    select(x.abs() <= 1.0, y, f64::NAN)
}

/// `asin(a)` for `a` in `[0, 1/2]`, and for greater ones `asin(sqrt((1 - a) / 2))`; the second tells.
#[inline(always)]
fn asin_near_f32<M: Mode>(a: f32) -> (f32, bool) {
    let far = a > 0.5;
    let z = select(far, 0.5 * (1.0 - a), a * a);
    let t = select(far, z.sqrt(), a);
    (fma32::<M>(t * z, poly32::<M, 6>(z, &ASIN_F32), t), far)
}

/// `asin(x)`, 2.5 ulp.
#[inline(always)]
pub fn asin_f32<M: Mode>(x: f32) -> f32 {
    let (near, far) = asin_near_f32::<M>(x.abs());
    let turned = fma32::<M>(-2.0, near, std::f32::consts::FRAC_PI_2);
    select(far, turned, near).copysign(x)
}

/// `acos(x)`, 2 ulp.
#[inline(always)]
pub fn acos_f32<M: Mode>(x: f32) -> f32 {
    const LOW: f32 = -4.371_139e-8;
    let (near, far) = asin_near_f32::<M>(x.abs());
    let behind = x < 0.0;
    let middle = std::f32::consts::FRAC_PI_2 - (near.copysign(x) - LOW);
    let turned =
        select(behind, fma32::<M>(-2.0, near, 2.0 * LOW) + std::f32::consts::PI, 2.0 * near);
    select(far, turned, middle)
}

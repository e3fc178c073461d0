//! Remainders of division, exactly, by way of the rounded quotient.
//!
//! That is good while the quotient is an integer that a double holds: blocks with another one, or an
//! argument that is no number, run in `Exact` mode, which calls the standard library.

use super::{fma64, select, two_product};
use crate::kernels::block::Mode;

/// Quotients up to this one are integers to the last bit, their products with a single exact.
const LIMIT_F32: f32 = 268_435_456.0;
/// The same in double precision, with room for the rounding.
const LIMIT_F64: f64 = 1_125_899_906_842_624.0;

/// Whether a remainder wants exact arithmetic.
#[inline(always)]
pub fn hard_f32(a: f32, b: f32) -> bool {
    // NaN compares false.
    !(a.abs() < b.abs() * LIMIT_F32 && b.abs() < f32::INFINITY)
}

/// Whether a remainder wants exact arithmetic.
#[inline(always)]
pub fn hard_f64(a: f64, b: f64) -> bool {
    !(a.abs() < b.abs() * LIMIT_F64 && b.abs() < f64::INFINITY)
}

/// The rounded quotient may be one off on either side.
#[inline(always)]
fn settled(r: f64, a: f64, b: f64) -> f64 {
    let r = select(r < 0.0, r + b, r);
    let r = select(r >= b, r - b, r);
    r.copysign(a)
}

/// C's `fmod`, exactly.
#[inline(always)]
pub fn fmod_f32<M: Mode>(a: f32, b: f32) -> f32 {
    if M::LIBM {
        return a % b;
    }
    let (x, y) = (f64::from(a), f64::from(b.abs()));
    let q = (x.abs() / y).trunc();
    settled(fma64::<M>(-q, y, x.abs()), x, y) as f32
}

/// C's `fmod`, exactly.
#[inline(always)]
pub fn fmod_f64<M: Mode>(a: f64, b: f64) -> f64 {
    if M::LIBM {
        return a % b;
    }
    let (x, y) = (a.abs(), b.abs());
    let q = (x / y).trunc();
    let r = if M::FMA {
        q.mul_add(-y, x)
    } else {
        let (p, low) = two_product::<M>(q, y);
        (x - p) - low
    };
    settled(r, a, y)
}

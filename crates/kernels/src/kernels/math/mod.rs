//! Elementary and special functions on one lane: branch-free, so that loops over them vectorise.
//!
//! Arguments of type [`Mode`] say whether a fused multiply-add exists. Without one, products that
//! must be exact are split by hand, so accuracy holds at every level; the two levels that have the
//! instruction give the same bits.

mod coefficients;
pub mod exp;
pub mod gamma;
pub mod log;
pub mod special;
pub mod trig;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

use super::block::Mode;

/// `a * b + c`, in one rounding where that is one instruction.
#[inline(always)]
pub fn fma32<M: Mode>(a: f32, b: f32, c: f32) -> f32 {
    if M::FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `a * b + c`, in one rounding where that is one instruction.
#[inline(always)]
pub fn fma64<M: Mode>(a: f64, b: f64, c: f64) -> f64 {
    if M::FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Horner's rule, lowest degree first.
#[inline(always)]
fn poly32<M: Mode, const N: usize>(x: f32, c: &[f32; N]) -> f32 {
    let mut r = c[N - 1];
    for i in (0..N - 1).rev() {
        r = fma32::<M>(r, x, c[i]);
    }
    r
}

/// Horner's rule, lowest degree first.
#[inline(always)]
fn poly64<M: Mode, const N: usize>(x: f64, c: &[f64; N]) -> f64 {
    let mut r = c[N - 1];
    for i in (0..N - 1).rev() {
        r = fma64::<M>(r, x, c[i]);
    }
    r
}

/// `a` or `b`, never by a branch: the optimiser would duplicate what follows for both cases.
#[inline(always)]
fn select<T>(condition: bool, a: T, b: T) -> T {
    std::hint::select_unpredictable(condition, a, b)
}

/// `a * b` as an unevaluated sum of two doubles, exactly (barring overflow).
#[inline(always)]
fn two_product<M: Mode>(a: f64, b: f64) -> (f64, f64) {
    let p = a * b;
    if M::FMA {
        return (p, a.mul_add(b, -p));
    }
    let (ah, al) = split(a);
    let (bh, bl) = split(b);
    (p, ((ah * bh - p) + ah * bl + al * bh) + al * bl)
}

/// The upper and lower half of a significand.
#[inline(always)]
fn split(a: f64) -> (f64, f64) {
    let high = f64::from_bits(a.to_bits() & 0xffff_ffff_f800_0000);
    (high, a - high)
}

/// `a + b` as an unevaluated sum, exactly.
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let t = s - a;
    (s, (a - (s - t)) + (b - t))
}

/// `a + b` as an unevaluated sum, exactly, where `|a| >= |b|`.
#[inline(always)]
fn fast_two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    (s, b - (s - a))
}

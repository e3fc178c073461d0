//! Elementary and special functions on one lane: branch-free, so that loops over them vectorise.
//!
//! Arguments of type [`Mode`] say whether a fused multiply-add exists. Without one, products that
//! must be exact are split by hand, so accuracy holds at every level; the two levels that have the
//! instruction give the same bits.

mod coefficients;
pub mod exp;
pub mod gamma;
pub mod incomplete;
pub mod log;
pub mod quotient;
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

macro_rules! poly {
    ($name:ident, $t:ty, $fma:ident) => {
        /// A polynomial, lowest degree first. Long ones as two or four by Horner's rule, of every second or
        /// fourth coefficient: one chain of so many multiply-adds would have the processor wait for each.
        #[inline(always)]
        fn $name<M: Mode, const N: usize>(x: $t, c: &[$t; N]) -> $t {
            let chains = const {
                if N < 8 {
                    1
                } else if N < 14 {
                    2
                } else {
                    4
                }
            };
            let every = |first: usize, x: $t| {
                let last = (N - 1 - first) / chains * chains + first;
                let mut r = c[last];
                for i in (0..(last - first) / chains).rev() {
                    r = $fma::<M>(r, x, c[first + i * chains]);
                }
                r
            };
            let square = x * x;
            match chains {
                1 => every(0, x),
                2 => $fma::<M>(every(1, square), x, every(0, square)),
                _ => {
                    let fourth = square * square;
                    let low = $fma::<M>(every(1, fourth), x, every(0, fourth));
                    let high = $fma::<M>(every(3, fourth), x, every(2, fourth));
                    $fma::<M>(high, square, low)
                }
            }
        }
    };
}

poly!(poly32, f32, fma32);
poly!(poly64, f64, fma64);

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

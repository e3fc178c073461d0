//! Cumulative operations along a dimension of contiguous data.
//!
//! Order is the definition here, so a line is one chain; lines are what runs side by side.
#![allow(unsafe_code)]

use super::multiversion::{self, Job};
use super::raw::{Dst, Src, split};
use super::reduce::{Extreme, Ordered};
use super::rows::Along;
use super::vexp::Real;
use crate::dtype::{Bool, Element};

/// Columns carried along together.
const TILE: usize = 256;
/// Lines gone through side by side.
const LINES: usize = 8;
/// As many of them as an 8-way cache can hold with their results when all fall into one set.
const FEW_LINES: usize = 3;

/// A type with cumulative sums and products: integers and bool give int64, float32 is carried in
/// float64, as in torch.
pub trait Cumulative: Element {
    /// What is carried.
    type Carry: Copy + Send + Sync;
    /// What is written.
    type Out: Element;
    /// 0.
    const ZERO: Self::Carry;
    /// 1.
    const ONE: Self::Carry;
    /// Widens.
    fn widen(self) -> Self::Carry;
    /// The sum.
    fn add(a: Self::Carry, b: Self::Carry) -> Self::Carry;
    /// The product.
    fn multiply(a: Self::Carry, b: Self::Carry) -> Self::Carry;
    /// Narrows.
    fn narrow(carry: Self::Carry) -> Self::Out;
}

macro_rules! cumulative {
    ($($t:ident => $carry:ident, $out:ident, $widen:expr, $add:expr, $mul:expr;)*) => {$(
        impl Cumulative for $t {
            type Carry = $carry;
            type Out = $out;
            const ZERO: $carry = 0 as $carry;
            const ONE: $carry = 1 as $carry;
            #[inline(always)]
            fn widen(self) -> $carry { $widen(self) }
            #[inline(always)]
            fn add(a: $carry, b: $carry) -> $carry { $add(a, b) }
            #[inline(always)]
            fn multiply(a: $carry, b: $carry) -> $carry { $mul(a, b) }
            #[inline(always)]
            fn narrow(carry: $carry) -> $out { carry as $out }
        }
    )*};
}
cumulative! {
    Bool => i64, i64, |x: Bool| i64::from(x.get()), i64::wrapping_add, i64::wrapping_mul;
    u8 => i64, i64, i64::from, i64::wrapping_add, i64::wrapping_mul;
    i8 => i64, i64, i64::from, i64::wrapping_add, i64::wrapping_mul;
    i16 => i64, i64, i64::from, i64::wrapping_add, i64::wrapping_mul;
    i32 => i64, i64, i64::from, i64::wrapping_add, i64::wrapping_mul;
    i64 => i64, i64, std::convert::identity, i64::wrapping_add, i64::wrapping_mul;
    f32 => f64, f32, f64::from, std::ops::Add::add, std::ops::Mul::mul;
    f64 => f64, f64, std::convert::identity, std::ops::Add::add, std::ops::Mul::mul;
}

/// Runs `step(carry, x, position)` along every line and hands each carry to `write`.
struct Scan<T, C, S, W> {
    along: Along,
    x: Src<T>,
    start: C,
    step: S,
    write: W,
    /// Whether a step takes so long that several lines had better wait at once.
    slow: bool,
    first: usize,
    last: usize,
}

impl<T, C, S, W> Scan<T, C, S, W>
where
    T: Element,
    C: Copy,
    S: Fn(C, T, usize) -> C,
    W: Fn(isize, C),
{
    /// Runs groups of `N` contiguous lines from `first` on; gives the first line not done.
    #[inline(always)]
    fn side_by_side<const N: usize>(&self, mut first: usize) -> usize {
        let n = self.along.n;
        while first + N <= self.last {
            let mut carries = [self.start; N];
            for i in 0..n {
                for (l, carry) in carries.iter_mut().enumerate() {
                    let at = ((first + l) * n + i) as isize;
                    // SAFETY: within line first + l.
                    *carry = (self.step)(*carry, unsafe { *self.x.at(at) }, i);
                    (self.write)(at, *carry);
                }
            }
            first += N;
        }
        first
    }
}

impl<T, C, S, W> Job for Scan<T, C, S, W>
where
    T: Element,
    C: Copy,
    S: Fn(C, T, usize) -> C,
    W: Fn(isize, C),
{
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Along { n, inner, .. } = self.along;
        let tiles = inner.div_ceil(TILE);
        let mut carries = [self.start; TILE];
        let mut first = self.first;
        if inner == 1 && self.slow {
            // Some lines side by side: each waits for its last sum. Where lines begin at the same place
            // of a page they share one set of the first cache, which then holds only a few.
            if (n * size_of::<T>()).is_multiple_of(2048) {
                first = self.side_by_side::<FEW_LINES>(first);
            } else {
                first = self.side_by_side::<LINES>(first);
            }
        }
        for unit in first..self.last {
            let (o, start) = (unit / tiles, unit % tiles * TILE);
            let width = TILE.min(inner - start);
            let base = (o * n * inner + start) as isize;
            if inner == 1 {
                let mut carry = self.start;
                for i in 0..n {
                    let at = base + i as isize;
                    // SAFETY: within the line.
                    carry = (self.step)(carry, unsafe { *self.x.at(at) }, i);
                    (self.write)(at, carry);
                }
                continue;
            }
            carries.fill(self.start);
            for i in 0..n {
                let base = base + (i * inner) as isize;
                for (j, carry) in carries[..width].iter_mut().enumerate() {
                    let at = base + j as isize;
                    // SAFETY: within row i of the tile.
                    *carry = (self.step)(*carry, unsafe { *self.x.at(at) }, i);
                    (self.write)(at, *carry);
                }
            }
        }
    }
}

fn scan<T: Element, C: Copy + Sync>(
    along: Along,
    input: *const T,
    start: C,
    slow: bool,
    step: impl Fn(C, T, usize) -> C + Copy + Sync,
    write: impl Fn(isize, C) + Copy + Sync,
) {
    if along.is_empty() {
        return;
    }
    let x = Src::new(input);
    let units = along.outer * along.inner.div_ceil(TILE);
    split(units, along.n * along.inner.min(TILE), |first, last| {
        multiversion::run_narrow(Scan { along, x, start, step, write, slow, first, last });
    });
}

/// Cumulative sum.
///
/// # Safety
/// Both cover `along` contiguously; `output` may be `input` where the types agree.
pub unsafe fn cumsum<T: Cumulative>(along: Along, input: *const T, output: *mut T::Out) {
    let y = Dst::new(output);
    // SAFETY: `at` lies within `along`.
    let write = |at, carry| unsafe { *y.at(at) = T::narrow(carry) };
    // An addition of integers takes no longer than a step of the loop.
    let slow = T::DTYPE.is_float();
    scan(along, input, T::ZERO, slow, |carry, x: T, _| T::add(carry, x.widen()), write);
}

/// Cumulative product.
///
/// # Safety
/// As for [`cumsum`].
pub unsafe fn cumprod<T: Cumulative>(along: Along, input: *const T, output: *mut T::Out) {
    let y = Dst::new(output);
    // SAFETY: `at` lies within `along`.
    let write = |at, carry| unsafe { *y.at(at) = T::narrow(carry) };
    scan(along, input, T::ONE, true, |carry, x: T, _| T::multiply(carry, x.widen()), write);
}

/// Cumulative maximum or minimum and where it is: the last of equals; NaN stays.
///
/// # Safety
/// All cover `along` contiguously.
pub unsafe fn cumextreme<T: Ordered>(
    extreme: Extreme,
    along: Along,
    input: *const T,
    values: *mut T,
    indices: *mut i64,
) {
    let (v, k) = (Dst::new(values), Dst::new(indices));
    let start = (if extreme == Extreme::Max { T::LOWEST } else { T::HIGHEST }, 0i64);
    let step = move |(best, at): (T, i64), x: T, i: usize| {
        let more = if extreme == Extreme::Max { x >= best } else { x <= best };
        if more || x.unordered() { (x, i as i64) } else { (best, at) }
    };
    // SAFETY: `at` lies within `along`.
    let write = |at, (best, index): (T, i64)| unsafe {
        *v.at(at) = best;
        *k.at(at) = index;
    };
    scan(along, input, start, true, step, write);
}

/// Cumulative log-sum-exp, carried in float64.
///
/// # Safety
/// As for [`cumsum`].
pub unsafe fn logcumsumexp<T: Real>(along: Along, input: *const T, output: *mut T) {
    let y = Dst::new(output);
    let step = |carry: f64, x: T, _| {
        let x = x.to_f64();
        if carry.is_nan() || x.is_nan() {
            return f64::NAN;
        }
        let (low, high) = if x < carry { (x, carry) } else { (carry, x) };
        // Equal infinities would meet as inf - inf.
        if low == high && low.is_infinite() { low } else { high + (low - high).exp().ln_1p() }
    };
    // SAFETY: `at` lies within `along`.
    let write = |at, carry| unsafe { *y.at(at) = T::from_f64(carry) };
    scan(along, input, f64::NEG_INFINITY, true, step, write);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: usize) -> Along {
        Along { outer: 1, n, inner: 1 }
    }

    #[test]
    fn sums_and_products() {
        let x = [1i32, 2, 3, 4, 5, 6];
        let mut y = [0i64; 6];
        // SAFETY: six elements each, here and below.
        unsafe { cumsum(line(6), x.as_ptr(), y.as_mut_ptr()) };
        assert_eq!(y, [1, 3, 6, 10, 15, 21]);
        // SAFETY: see above.
        unsafe { cumsum(Along { outer: 1, n: 3, inner: 2 }, x.as_ptr(), y.as_mut_ptr()) };
        assert_eq!(y, [1, 2, 4, 6, 9, 12]);
        // SAFETY: see above.
        unsafe { cumprod(Along { outer: 2, n: 3, inner: 1 }, x.as_ptr(), y.as_mut_ptr()) };
        assert_eq!(y, [1, 2, 6, 4, 20, 120]);
        // SAFETY: nothing is touched.
        unsafe { cumsum(line(0), x.as_ptr(), y.as_mut_ptr()) };
    }

    #[test]
    fn extremes_take_the_last_of_equals() {
        let x = [1.0f32, 3.0, 3.0, f32::NAN, 9.0];
        let (mut v, mut i) = ([0.0f32; 5], [0i64; 5]);
        // SAFETY: five elements each.
        unsafe {
            cumextreme(Extreme::Max, line(5), x.as_ptr(), v.as_mut_ptr(), i.as_mut_ptr());
        }
        assert_eq!(i, [0, 1, 2, 3, 3]);
        assert_eq!(v[..3], [1.0, 3.0, 3.0]);
        assert!(v[3].is_nan() && v[4].is_nan());
    }

    #[test]
    fn logarithms() {
        let x = [f64::NEG_INFINITY, 0.0, 1000.0, f64::INFINITY];
        let mut y = [0.0; 4];
        // SAFETY: four elements each.
        unsafe { logcumsumexp(line(4), x.as_ptr(), y.as_mut_ptr()) };
        assert_eq!(y, [f64::NEG_INFINITY, 0.0, 1000.0, f64::INFINITY]);
    }
}

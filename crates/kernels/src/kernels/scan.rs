//! Cumulative operations along a dimension of contiguous data.
//!
//! Order is the definition here, so a line is one chain; lines are what runs side by side.
#![allow(unsafe_code)]

use super::block::Fused;
use super::math::exp::exp_f64;
use super::math::log::log1p_f64;
use super::multiversion::{self, Job};
use super::raw::{Aligned, Dst, GRAIN, Src, split};
use super::rows::Along;
use super::vexp::Real;
use crate::dtype::{Bool, Element};
use crate::parallel;

mod extreme;

pub use extreme::cumextreme;

/// Columns carried along together, at most.
const TILE: usize = 256;
/// As many of them where all fits the caches: of two threads in one page, each has the other's lines brought to
/// its own processor unless some of its own lie between (500 x 400 float32 on two: 21 us, 65 with 256).
const NARROW: usize = 64;
/// Bytes of input and results that the caches hold.
const CACHED: usize = 4 << 20;
/// Bytes of a row below which threads would meet in its lines all the time.
const ROW: usize = 1024;
/// So few columns are carried in registers.
const FEW: usize = 32;
/// Columns of one step in memory: their number is known, so they become vectors.
const STEP: usize = 64;
/// Lines gone through side by side.
const LINES: usize = 8;
/// As many of them as an 8-way cache can hold with their results when all fall into one set.
const FEW_LINES: usize = 3;

/// How many columns of a dimension of elements of `size` bytes go to a task: no sum crosses them, so the threads
/// may decide.
fn columns_together(along: Along, size: usize, dear: bool) -> usize {
    let Along { outer, n, inner } = along;
    let threads = parallel::threads();
    let met = !dear && inner * size < ROW;
    if inner == 1 || outer >= threads || n * inner < GRAIN || met {
        return TILE;
    }
    let each = inner.div_ceil(threads);
    let each = if each > 16 { each.next_multiple_of(16) } else { each };
    each.min(if 2 * n * inner * size <= CACHED { NARROW } else { TILE })
}

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

/// Runs `step(carry, x, position)` along every line and writes what `narrow` makes of each carry.
struct Scan<T, C, O, S, W> {
    along: Along,
    x: Src<T>,
    y: Dst<O>,
    start: C,
    step: S,
    narrow: W,
    /// Whether a step takes so long that several lines had better wait at once.
    slow: bool,
    /// Columns of a unit.
    together: usize,
    first: usize,
    last: usize,
}

impl<T, C, O, S, W> Scan<T, C, O, S, W>
where
    T: Element,
    C: Copy,
    O: Element,
    S: Fn(C, T, usize) -> C,
    W: Fn(C) -> O,
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
                    unsafe {
                        *carry = (self.step)(*carry, *self.x.at(at), i);
                        *self.y.at(at) = (self.narrow)(*carry);
                    }
                }
            }
            first += N;
        }
        first
    }

    /// Runs the `N` columns from the element `base` on.
    #[inline(always)]
    fn columns<const N: usize>(&self, base: usize) {
        let Along { n, inner, .. } = self.along;
        let mut carries = Aligned([self.start; N]);
        for i in 0..n {
            self.row(&mut carries, (base + i * inner) as isize, i);
        }
    }

    /// Adds row `i` of `N` columns, which begins at element `at`; gives its end.
    #[inline(always)]
    fn row<const N: usize>(&self, carries: &mut [C; N], at: isize, i: usize) -> isize {
        for (l, carry) in carries.iter_mut().enumerate() {
            // SAFETY: within row i of these columns.
            *carry = (self.step)(*carry, unsafe { *self.x.at(at + l as isize) }, i);
        }
        let row: [O; N] = carries.map(&self.narrow);
        // SAFETY: as above; nobody else has these columns.
        unsafe { self.y.at(at).cast::<[O; N]>().write(row) };
        at + N as isize
    }
}

impl<T, C, O, S, W> Job for Scan<T, C, O, S, W>
where
    T: Element,
    C: Copy,
    O: Element,
    S: Fn(C, T, usize) -> C,
    W: Fn(C) -> O,
{
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Along { n, inner, .. } = self.along;
        let tiles = inner.div_ceil(self.together);
        let mut carries = Aligned([self.start; TILE]);
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
            let (o, start) = (unit / tiles, unit % tiles * self.together);
            let width = self.together.min(inner - start);
            let base = (o * n * inner + start) as isize;
            if inner == 1 {
                let mut carry = self.start;
                for i in 0..n {
                    let at = base + i as isize;
                    // SAFETY: within the line.
                    unsafe {
                        carry = (self.step)(carry, *self.x.at(at), i);
                        *self.y.at(at) = (self.narrow)(carry);
                    }
                }
                continue;
            }
            if width <= FEW {
                let (mut base, mut left) = (base as usize, width);
                while left > 0 {
                    let taken = match left {
                        8.. => (self.columns::<8>(base), 8).1,
                        4.. => (self.columns::<4>(base), 4).1,
                        2.. => (self.columns::<2>(base), 2).1,
                        _ => (self.columns::<1>(base), 1).1,
                    };
                    (base, left) = (base + taken, left - taken);
                }
                continue;
            }
            carries.fill(self.start);
            for i in 0..n {
                let base = base + (i * inner) as isize;
                let (steps, rest) = carries[..width].as_chunks_mut::<STEP>();
                let (eights, ones) = rest.as_chunks_mut::<8>();
                let mut at = base;
                for carries in steps {
                    at = self.row(carries, at, i);
                }
                for carries in eights {
                    at = self.row(carries, at, i);
                }
                for carry in ones {
                    at = self.row(std::array::from_mut(carry), at, i);
                }
            }
        }
    }
}

/// # Safety
/// Both cover `along`.
unsafe fn scan<T: Element, C: Copy + Sync, O: Element>(
    along: Along,
    input: *const T,
    output: *mut O,
    start: C,
    slow: bool,
    dear: bool,
    step: impl Fn(C, T, usize) -> C + Copy + Sync,
    narrow: impl Fn(C) -> O + Copy + Sync,
) {
    if along.is_empty() {
        return;
    }
    let (x, y) = (Src::new(input), Dst::new(output));
    let together = columns_together(along, size_of::<T>(), dear);
    let units = along.outer * along.inner.div_ceil(together);
    split(units, along.n * along.inner.min(together), |first, last| {
        multiversion::run_narrow(Scan {
            along,
            x,
            y,
            start,
            step,
            narrow,
            slow,
            together,
            first,
            last,
        });
    });
}

/// Cumulative sum.
///
/// # Safety
/// Both cover `along` contiguously; `output` may be `input` where the types agree.
pub unsafe fn cumsum<T: Cumulative>(along: Along, input: *const T, output: *mut T::Out) {
    // An addition of integers takes no longer than a step of the loop.
    let slow = T::DTYPE.is_float();
    let step = |carry, x: T, _| T::add(carry, x.widen());
    // SAFETY: by the contract.
    unsafe { scan(along, input, output, T::ZERO, slow, false, step, T::narrow) }
}

/// Cumulative product.
///
/// # Safety
/// As for [`cumsum`].
pub unsafe fn cumprod<T: Cumulative>(along: Along, input: *const T, output: *mut T::Out) {
    let step = |carry, x: T, _| T::multiply(carry, x.widen());
    // SAFETY: by the contract.
    unsafe { scan(along, input, output, T::ONE, true, false, step, T::narrow) }
}

/// Cumulative log-sum-exp, carried in float64.
///
/// # Safety
/// As for [`cumsum`].
pub unsafe fn logcumsumexp<T: Real>(along: Along, input: *const T, output: *mut T) {
    // One line waits for its last sum: the shortest way, by branches. NaN stays: it compares false, and what is
    // computed of it is NaN.
    let alone = |carry: f64, x: T, _| {
        let x = x.to_f64();
        let (low, high) = if x < carry { (x, carry) } else { (carry, x) };
        // Equal infinities would meet as inf - inf.
        if low == high && low.is_infinite() { low } else { high + (low - high).exp().ln_1p() }
    };
    // Columns side by side become vectors.
    let together = |carry: f64, x: T, _| {
        let x = x.to_f64();
        let less = x < carry;
        let low = std::hint::select_unpredictable(less, x, carry);
        let high = std::hint::select_unpredictable(less, carry, x);
        let sum = high + log1p_f64::<Fused>(exp_f64::<Fused>(low - high));
        let same = (low == high) & low.is_infinite();
        std::hint::select_unpredictable(same, low, sum)
    };
    let start = f64::NEG_INFINITY;
    // SAFETY (both): by the contract.
    if along.inner == 1 {
        // SAFETY: see above.
        unsafe { scan(along, input, output, start, true, true, alone, T::from_f64) }
    } else {
        // SAFETY: see above.
        unsafe { scan(along, input, output, start, true, true, together, T::from_f64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::reduce::Extreme;

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

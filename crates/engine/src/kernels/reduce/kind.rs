//! What a reduction does to its elements: identity, load, merge, finish.
#![allow(unsafe_code)]

use crate::dtype::{Bool, Element};
use crate::kernels::vexp::Real;

/// Accumulators per block of a contiguous run. Part of the summation tree: changing it changes bits.
const LANES: usize = 32;

/// An associative reduction over elements of type `T`.
///
/// `block` and `columns` have defaults made of `load` and `merge`; kinds that profit from seeing
/// a block twice (while it is in cache) override them.
pub trait Kind<T: Element>: Copy + Send + Sync {
    /// The running value.
    type Acc: Copy + Send + Sync;
    /// The element type of the result.
    type Out: Copy + Send + Sync;
    /// The value of an empty reduction.
    fn identity(self) -> Self::Acc;
    /// One element as a running value.
    fn load(self, x: T) -> Self::Acc;
    /// Two running values as one.
    fn merge(self, a: Self::Acc, b: Self::Acc) -> Self::Acc;
    /// The result.
    fn finish(self, acc: Self::Acc) -> Self::Out;

    /// Reduces one contiguous block.
    #[inline(always)]
    fn block(self, x: &[T]) -> Self::Acc {
        lanes(x, self.identity(), |x| self.load(x), |a, b| self.merge(a, b))
    }

    /// Merges up to eight rows of `acc.len()` elements into `acc`.
    ///
    /// # Safety
    /// Every row must be readable for `acc.len()` elements.
    #[inline(always)]
    unsafe fn columns(self, rows: &[*const T], acc: &mut [Self::Acc]) {
        if let &[r0, r1, r2, r3, r4, r5, r6, r7] = rows {
            for (i, acc) in acc.iter_mut().enumerate() {
                // SAFETY: i < acc.len(), which the caller vouches for.
                let at = |row: *const T| self.load(unsafe { *row.add(i) });
                let low = self.merge(self.merge(at(r0), at(r1)), self.merge(at(r2), at(r3)));
                let high = self.merge(self.merge(at(r4), at(r5)), self.merge(at(r6), at(r7)));
                *acc = self.merge(*acc, self.merge(low, high));
            }
        } else {
            for &row in rows {
                for (i, acc) in acc.iter_mut().enumerate() {
                    // SAFETY: as above.
                    *acc = self.merge(*acc, self.load(unsafe { *row.add(i) }));
                }
            }
        }
    }
}

/// Reduces a slice with [`LANES`] accumulators, joined as a binary tree.
#[inline(always)]
pub(crate) fn lanes<T: Copy, A: Copy>(
    x: &[T],
    identity: A,
    load: impl Fn(T) -> A,
    merge: impl Fn(A, A) -> A,
) -> A {
    if x.len() < LANES {
        let mut acc = identity;
        for &x in x {
            acc = merge(acc, load(x));
        }
        return acc;
    }
    let mut acc = [identity; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (acc, &x) in acc.iter_mut().zip(chunk) {
            *acc = merge(*acc, load(x));
        }
    }
    for (acc, &x) in acc.iter_mut().zip(rest) {
        *acc = merge(*acc, load(x));
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            acc[i] = merge(acc[i], acc[i + width]);
        }
        width /= 2;
    }
    acc[0]
}

/// An element type with a greatest and a least value.
pub trait Ordered: Element {
    /// The least value.
    const LOWEST: Self;
    /// The greatest value.
    const HIGHEST: Self;
    /// Whether it is NaN.
    #[inline(always)]
    #[expect(clippy::eq_op, reason = "only NaN differs from itself")]
    fn unordered(self) -> bool {
        self != self
    }
    /// |x|, wrapping.
    fn magnitude(self) -> Self;
}

macro_rules! ordered {
    ($($t:ident: $low:expr, $high:expr, $x:ident => $abs:expr;)*) => {$(
        impl Ordered for $t {
            const LOWEST: Self = $low;
            const HIGHEST: Self = $high;
            #[inline(always)]
            fn magnitude(self) -> Self { let $x = self; $abs }
        }
    )*};
}
ordered! {
    Bool: Bool(0), Bool(1), x => x;
    u8: u8::MIN, u8::MAX, x => x;
    i8: i8::MIN, i8::MAX, x => x.wrapping_abs();
    i16: i16::MIN, i16::MAX, x => x.wrapping_abs();
    i32: i32::MIN, i32::MAX, x => x.wrapping_abs();
    i64: i64::MIN, i64::MAX, x => x.wrapping_abs();
    f32: f32::NEG_INFINITY, f32::INFINITY, x => x.abs();
    f64: f64::NEG_INFINITY, f64::INFINITY, x => x.abs();
}

/// The sum; integers and bool as int64.
#[derive(Clone, Copy, Debug)]
pub struct Sum;
/// The product; integers and bool as int64.
#[derive(Clone, Copy, Debug)]
pub struct Prod;

macro_rules! arithmetic {
    ($($t:ident => $acc:ident, $add:expr, $mul:expr, $load:expr;)*) => {$(
        impl Kind<$t> for Sum {
            type Acc = $acc;
            type Out = $acc;
            #[inline(always)]
            fn identity(self) -> $acc { 0 as $acc }
            #[inline(always)]
            fn load(self, x: $t) -> $acc { $load(x) }
            #[inline(always)]
            fn merge(self, a: $acc, b: $acc) -> $acc { $add(a, b) }
            #[inline(always)]
            fn finish(self, acc: $acc) -> $acc { acc }
        }
        impl Kind<$t> for Prod {
            type Acc = $acc;
            type Out = $acc;
            #[inline(always)]
            fn identity(self) -> $acc { 1 as $acc }
            #[inline(always)]
            fn load(self, x: $t) -> $acc { $load(x) }
            #[inline(always)]
            fn merge(self, a: $acc, b: $acc) -> $acc { $mul(a, b) }
            #[inline(always)]
            fn finish(self, acc: $acc) -> $acc { acc }
        }
    )*};
}
arithmetic! {
    Bool => i64, i64::wrapping_add, i64::wrapping_mul, |x: Bool| i64::from(x.get());
    u8 => i64, i64::wrapping_add, i64::wrapping_mul, i64::from;
    i8 => i64, i64::wrapping_add, i64::wrapping_mul, i64::from;
    i16 => i64, i64::wrapping_add, i64::wrapping_mul, i64::from;
    i32 => i64, i64::wrapping_add, i64::wrapping_mul, i64::from;
    i64 => i64, i64::wrapping_add, i64::wrapping_mul, std::convert::identity;
    f32 => f32, std::ops::Add::add, std::ops::Mul::mul, std::convert::identity;
    f64 => f64, std::ops::Add::add, std::ops::Mul::mul, std::convert::identity;
}

/// The greatest value; NaN wins.
#[derive(Clone, Copy, Debug)]
pub struct Max;
/// The least value; NaN wins.
#[derive(Clone, Copy, Debug)]
pub struct Min;
/// The greatest absolute value; NaN wins; 0 of nothing.
#[derive(Clone, Copy, Debug)]
pub struct MaxAbs;
/// The least absolute value; NaN wins.
#[derive(Clone, Copy, Debug)]
pub struct MinAbs;

macro_rules! extreme {
    ($($kind:ident, $identity:expr, $op:tt, $x:ident => $load:expr;)*) => {$(
        impl<T: Ordered> Kind<T> for $kind {
            type Acc = T;
            type Out = T;
            #[inline(always)]
            fn identity(self) -> T { $identity }
            #[inline(always)]
            fn load(self, $x: T) -> T { $load }
            #[inline(always)]
            fn merge(self, a: T, b: T) -> T { if b $op a || b.unordered() { b } else { a } }
            #[inline(always)]
            fn finish(self, acc: T) -> T { acc }
        }
    )*};
}
extreme! {
    Max, T::LOWEST, >, x => x;
    Min, T::HIGHEST, <, x => x;
    MaxAbs, T::default(), >, x => x.magnitude();
    MinAbs, T::HIGHEST, <, x => x.magnitude();
}

/// Whether any element is true (non-zero).
#[derive(Clone, Copy, Debug)]
pub struct Any;
/// Whether all elements are true (non-zero).
#[derive(Clone, Copy, Debug)]
pub struct All;
/// How many elements are non-zero.
#[derive(Clone, Copy, Debug)]
pub struct CountNonzero;

impl<T: Ordered> Kind<T> for Any {
    type Acc = bool;
    type Out = Bool;
    #[inline(always)]
    fn identity(self) -> bool {
        false
    }
    #[inline(always)]
    fn load(self, x: T) -> bool {
        x != T::default()
    }
    #[inline(always)]
    fn merge(self, a: bool, b: bool) -> bool {
        a | b
    }
    #[inline(always)]
    fn finish(self, acc: bool) -> Bool {
        acc.into()
    }
}

impl<T: Ordered> Kind<T> for All {
    type Acc = bool;
    type Out = Bool;
    #[inline(always)]
    fn identity(self) -> bool {
        true
    }
    #[inline(always)]
    fn load(self, x: T) -> bool {
        x != T::default()
    }
    #[inline(always)]
    fn merge(self, a: bool, b: bool) -> bool {
        a & b
    }
    #[inline(always)]
    fn finish(self, acc: bool) -> Bool {
        acc.into()
    }
}

impl<T: Ordered> Kind<T> for CountNonzero {
    type Acc = i64;
    type Out = i64;
    #[inline(always)]
    fn identity(self) -> i64 {
        0
    }
    #[inline(always)]
    fn load(self, x: T) -> i64 {
        i64::from(x != T::default())
    }
    #[inline(always)]
    fn merge(self, a: i64, b: i64) -> i64 {
        a + b
    }
    #[inline(always)]
    fn finish(self, acc: i64) -> i64 {
        acc
    }
}

/// The sum of absolute values (the 1-norm).
#[derive(Clone, Copy, Debug)]
pub struct AbsSum;
/// The sum of squares, or its root (the 2-norm).
#[derive(Clone, Copy, Debug)]
pub struct SquareSum {
    /// Whether to take the root.
    pub root: bool,
}
/// The p-norm of any other p: (sum |x|^p)^(1/p), accumulated in float64.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// The exponent.
    pub p: f64,
}

impl<T: Real> Kind<T> for AbsSum {
    type Acc = T;
    type Out = T;
    #[inline(always)]
    fn identity(self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn load(self, x: T) -> T {
        x.abs()
    }
    #[inline(always)]
    fn merge(self, a: T, b: T) -> T {
        a + b
    }
    #[inline(always)]
    fn finish(self, acc: T) -> T {
        acc
    }
}

impl<T: Real> Kind<T> for SquareSum {
    type Acc = T;
    type Out = T;
    #[inline(always)]
    fn identity(self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn load(self, x: T) -> T {
        x * x
    }
    #[inline(always)]
    fn merge(self, a: T, b: T) -> T {
        a + b
    }
    #[inline(always)]
    fn finish(self, acc: T) -> T {
        if self.root { acc.sqrt() } else { acc }
    }
}

impl<T: Real> Kind<T> for Norm {
    type Acc = f64;
    type Out = T;
    #[inline(always)]
    fn identity(self) -> f64 {
        0.0
    }
    #[inline(always)]
    fn load(self, x: T) -> f64 {
        x.to_f64().abs().powf(self.p)
    }
    #[inline(always)]
    fn merge(self, a: f64, b: f64) -> f64 {
        a + b
    }
    #[inline(always)]
    fn finish(self, acc: f64) -> T {
        T::from_f64(acc.powf(1.0 / self.p))
    }
}

/// Count, mean and sum of squared deviations of some elements.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Moments {
    /// How many.
    pub count: f64,
    /// Their mean.
    pub mean: f64,
    /// The sum of (x - mean)².
    pub m2: f64,
}

impl Moments {
    /// Chan's merge of two parts.
    #[inline(always)]
    pub(crate) fn merge(self, other: Self) -> Self {
        let count = self.count + other.count;
        // An empty part must not turn a division by zero into NaN.
        let share = other.count / if count > 0.0 { count } else { 1.0 };
        let delta = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + delta * share,
            m2: self.m2 + other.m2 + delta * delta * self.count * share,
        }
    }

    /// Two passes over a block that stays in cache.
    #[inline(always)]
    pub(crate) fn of<T: Real>(x: &[T]) -> Self {
        let count = x.len() as f64;
        let sum = lanes(x, 0.0, Element::to_f64, |a, b| a + b);
        let mean = sum / if x.is_empty() { 1.0 } else { count };
        let square = |x: T| {
            let d = x.to_f64() - mean;
            d * d
        };
        Self { count, mean, m2: lanes(x, 0.0, square, |a, b| a + b) }
    }
}

/// [`Moments`] of the elements, for variance and mean together.
#[derive(Clone, Copy, Debug)]
pub struct MeanVar;
/// The mean, in the element type.
#[derive(Clone, Copy, Debug)]
pub struct Mean {
    /// How many elements each output sums.
    pub count: usize,
}
/// The variance or its root, with `correction` taken off the count.
#[derive(Clone, Copy, Debug)]
pub struct Variance {
    /// What is taken off the count: 1 for the unbiased estimate.
    pub correction: f64,
    /// Whether to give the standard deviation.
    pub root: bool,
}

impl<T: Real> Kind<T> for MeanVar {
    type Acc = Moments;
    type Out = Moments;
    #[inline(always)]
    fn identity(self) -> Moments {
        Moments::default()
    }
    #[inline(always)]
    fn load(self, x: T) -> Moments {
        Moments { count: 1.0, mean: x.to_f64(), m2: 0.0 }
    }
    #[inline(always)]
    fn merge(self, a: Moments, b: Moments) -> Moments {
        a.merge(b)
    }
    #[inline(always)]
    fn finish(self, acc: Moments) -> Moments {
        if acc.count == 0.0 { Moments { mean: f64::NAN, ..acc } } else { acc }
    }
    #[inline(always)]
    fn block(self, x: &[T]) -> Moments {
        Moments::of(x)
    }
    #[inline(always)]
    unsafe fn columns(self, rows: &[*const T], acc: &mut [Moments]) {
        let count = rows.len() as f64;
        for (i, acc) in acc.iter_mut().enumerate() {
            let mut sum = 0.0;
            for &row in rows {
                // SAFETY: i < acc.len(), which the caller vouches for.
                sum += unsafe { *row.add(i) }.to_f64();
            }
            let mean = sum / count;
            let mut m2 = 0.0;
            for &row in rows {
                // SAFETY: as above.
                let d = unsafe { *row.add(i) }.to_f64() - mean;
                m2 += d * d;
            }
            *acc = acc.merge(Moments { count, mean, m2 });
        }
    }
}

impl<T: Real> Kind<T> for Variance {
    type Acc = Moments;
    type Out = T;
    #[inline(always)]
    fn identity(self) -> Moments {
        Moments::default()
    }
    #[inline(always)]
    fn load(self, x: T) -> Moments {
        Kind::<T>::load(MeanVar, x)
    }
    #[inline(always)]
    fn merge(self, a: Moments, b: Moments) -> Moments {
        a.merge(b)
    }
    #[inline(always)]
    fn finish(self, acc: Moments) -> T {
        // As torch: nothing left to divide by gives inf or NaN, never a negative variance.
        let variance = acc.m2 / (acc.count - self.correction).max(0.0);
        T::from_f64(if self.root { variance.sqrt() } else { variance })
    }
    #[inline(always)]
    fn block(self, x: &[T]) -> Moments {
        Moments::of(x)
    }
    #[inline(always)]
    unsafe fn columns(self, rows: &[*const T], acc: &mut [Moments]) {
        // SAFETY: the caller's promise is passed on.
        unsafe { Kind::<T>::columns(MeanVar, rows, acc) }
    }
}

impl<T: Real> Kind<T> for Mean {
    type Acc = T;
    type Out = T;
    #[inline(always)]
    fn identity(self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn load(self, x: T) -> T {
        x
    }
    #[inline(always)]
    fn merge(self, a: T, b: T) -> T {
        a + b
    }
    #[inline(always)]
    fn finish(self, acc: T) -> T {
        acc / T::from_f64(self.count as f64)
    }
}

/// log(sum(exp(x))), shifted by the maximum.
#[derive(Clone, Copy, Debug)]
pub struct LogSumExp;

/// The maximum and the sum of exp(x - maximum).
#[derive(Clone, Copy, Debug)]
pub struct Shifted<T> {
    /// The maximum.
    pub max: T,
    /// The sum relative to it.
    pub sum: T,
}

#[inline(always)]
fn finite_or_zero<T: Real>(x: T) -> T {
    if x.abs() == -T::NEG_INFINITY { T::ZERO } else { x }
}

impl<T: Real + Ordered> Kind<T> for LogSumExp {
    type Acc = Shifted<T>;
    type Out = T;
    #[inline(always)]
    fn identity(self) -> Shifted<T> {
        Shifted { max: T::NEG_INFINITY, sum: T::ZERO }
    }
    #[inline(always)]
    fn load(self, x: T) -> Shifted<T> {
        Shifted { max: x, sum: if x == T::NEG_INFINITY { T::ZERO } else { T::ONE } }
    }
    #[inline(always)]
    fn merge(self, a: Shifted<T>, b: Shifted<T>) -> Shifted<T> {
        let max = a.max.max_nan(b.max);
        // Equal infinities must not meet as inf - inf.
        let scale = |part: T| if part == max { T::ONE } else { (part - max).vexp() };
        Shifted { max, sum: a.sum * scale(a.max) + b.sum * scale(b.max) }
    }
    #[inline(always)]
    fn finish(self, acc: Shifted<T>) -> T {
        acc.max + acc.sum.ln()
    }
    #[inline(always)]
    fn block(self, x: &[T]) -> Shifted<T> {
        let max = Max.block(x);
        let shift = finite_or_zero(max);
        let sum = lanes(x, T::ZERO, |x| (x - shift).vexp(), |a, b| a + b);
        Shifted { max, sum }
    }
    #[inline(always)]
    unsafe fn columns(self, rows: &[*const T], acc: &mut [Shifted<T>]) {
        for (i, acc) in acc.iter_mut().enumerate() {
            let mut max = T::NEG_INFINITY;
            for &row in rows {
                // SAFETY: i < acc.len(), which the caller vouches for.
                max = max.max_nan(unsafe { *row.add(i) });
            }
            let shift = finite_or_zero(max);
            let mut sum = T::ZERO;
            for &row in rows {
                // SAFETY: as above.
                sum += (unsafe { *row.add(i) } - shift).vexp();
            }
            *acc = self.merge(*acc, Shifted { max, sum });
        }
    }
}

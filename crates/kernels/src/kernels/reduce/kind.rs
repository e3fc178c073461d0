//! What a reduction does to its elements: identity, load, merge, finish.
#![allow(unsafe_code)]

use super::extreme::{extreme, extreme_columns};
use super::strips::strips_merged;
use crate::dtype::{Bool, Element};
use crate::kernels::raw::Aligned;
use crate::kernels::vexp::Real;

/// Accumulators per block of a contiguous run. Part of the summation tree: changing it changes bits.
const LANES: usize = 64;
/// Accumulators of what is left.
const SHORT: usize = 8;
/// The greatest `Kind::ROWS`.
pub(super) const MAX_ROWS: usize = 32;

/// An associative reduction over elements of type `T`.
///
/// `block` and `columns` have defaults made of `load` and `merge`; kinds that profit from seeing
/// a block twice (while it is in cache) override them.
pub trait Kind<T: Element>: Copy + Send + Sync {
    /// The running value.
    type Acc: Copy + Send + Sync;
    /// The element type of the result.
    type Out: Copy + Send + Sync;
    /// Rows handed to `columns` at once (at most `MAX_ROWS`).
    const ROWS: usize = 8;
    /// Whether `load` and `merge` are cheap and exact enough for elements to be taken one by one.
    const FOLDS: bool = false;
    /// Whether a running value is the result as it is, and of its type.
    const PLAIN: bool = false;
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

    /// Merges up to `ROWS` rows of `acc.len()` elements into `acc`.
    ///
    /// # Safety
    /// Every row must be readable for `acc.len()` elements.
    #[inline(always)]
    unsafe fn columns(self, rows: &[*const T], acc: &mut [Self::Acc]) {
        // SAFETY: the caller's promise is passed on.
        unsafe { columns_merged(self, rows, acc) };
    }

    /// Merges `blocks` times `ROWS` rows, `step` elements apart, into `acc`: as [`Kind::columns`] of one block after
    /// the other, where `ROWS` is eight.
    ///
    /// # Safety
    /// Every row must be readable for `acc.len()` elements.
    #[inline(always)]
    unsafe fn strips(self, first: *const T, step: isize, blocks: usize, acc: &mut [Self::Acc]) {
        // SAFETY: the caller's promise is passed on.
        unsafe { strips_merged(self, first, step, blocks, acc) };
    }
}

/// The running values of eight rows as one, joined as a tree.
#[inline(always)]
pub(super) fn joined<T: Element, K: Kind<T>>(kind: K, at: impl Fn(usize) -> K::Acc) -> K::Acc {
    let low = kind.merge(kind.merge(at(0), at(1)), kind.merge(at(2), at(3)));
    let high = kind.merge(kind.merge(at(4), at(5)), kind.merge(at(6), at(7)));
    kind.merge(low, high)
}

/// [`Kind::columns`] by `load` and `merge`.
///
/// # Safety
/// See there.
#[inline(always)]
unsafe fn columns_merged<T: Element, K: Kind<T>>(kind: K, rows: &[*const T], acc: &mut [K::Acc]) {
    if let Ok(eight) = <[*const T; 8]>::try_from(rows) {
        for (i, acc) in acc.iter_mut().enumerate() {
            // SAFETY: i < acc.len(), which the caller vouches for.
            let at = |r: usize| kind.load(unsafe { *eight[r].add(i) });
            *acc = kind.merge(*acc, joined(kind, at));
        }
        return;
    }
    let (fours, rest) = rows.as_chunks::<4>();
    for &[r0, r1, r2, r3] in fours {
        for (i, acc) in acc.iter_mut().enumerate() {
            // SAFETY: as above.
            let at = |row: *const T| kind.load(unsafe { *row.add(i) });
            let both = kind.merge(kind.merge(at(r0), at(r1)), kind.merge(at(r2), at(r3)));
            *acc = kind.merge(*acc, both);
        }
    }
    let (pairs, rest) = rest.as_chunks::<2>();
    for &[r0, r1] in pairs {
        for (i, acc) in acc.iter_mut().enumerate() {
            // SAFETY: as above.
            let at = |row: *const T| kind.load(unsafe { *row.add(i) });
            *acc = kind.merge(*acc, kind.merge(at(r0), at(r1)));
        }
    }
    for &row in rest {
        for (i, acc) in acc.iter_mut().enumerate() {
            // SAFETY: as above.
            *acc = kind.merge(*acc, kind.load(unsafe { *row.add(i) }));
        }
    }
}

/// Reduces a slice with `LANES` accumulators, joined as a binary tree.
#[inline(always)]
pub fn lanes<T: Copy, A: Copy>(
    x: &[T],
    identity: A,
    load: impl Fn(T) -> A,
    merge: impl Fn(A, A) -> A,
) -> A {
    lanes_of::<LANES, T, A>(x, identity, load, merge)
}

/// As [`lanes`], with `N` accumulators: where loading takes some instructions of its own, fewer
/// are faster (measured; 64 leave the registers).
#[inline(always)]
pub(super) fn lanes_of<const N: usize, T: Copy, A: Copy>(
    x: &[T],
    identity: A,
    load: impl Fn(T) -> A,
    merge: impl Fn(A, A) -> A,
) -> A {
    // The accumulators are never indexed by a variable, or they would leave the registers.
    let (chunks, rest) = x.as_chunks::<N>();
    let mut total = identity;
    if !chunks.is_empty() {
        let mut acc = [identity; N];
        for chunk in chunks {
            for (acc, &x) in acc.iter_mut().zip(chunk) {
                *acc = merge(*acc, load(x));
            }
        }
        total = tree(acc, &merge);
    }
    let (chunks, rest) = rest.as_chunks::<SHORT>();
    if !chunks.is_empty() {
        let mut acc = [identity; SHORT];
        for chunk in chunks {
            for (acc, &x) in acc.iter_mut().zip(chunk) {
                *acc = merge(*acc, load(x));
            }
        }
        total = merge(total, tree(acc, &merge));
    }
    for &x in rest {
        total = merge(total, load(x));
    }
    total
}

/// Elements whose sum is taken before it is added to the others'.
const RUN: usize = 4096;

/// The sum of `f`, which takes few instructions, over a slice: in runs so short that no sum loses much.
#[inline(always)]
pub fn sum_light<T: Real>(x: &[T], f: impl Fn(T) -> T) -> T {
    let run = |x| lanes_of::<32, _, _>(x, T::ZERO, &f, |a, b| a + b);
    x.chunks(RUN).fold(T::ZERO, |sum, x| sum + run(x))
}

/// The sum of `f` over a slice. Values go to a buffer first: what takes many instructions leaves no
/// registers for the accumulators.
#[inline(always)]
pub fn sum_mapped<T: Real>(x: &[T], f: impl Fn(T) -> T) -> T {
    let (blocks, rest) = x.as_chunks::<256>();
    let mut sum = T::ZERO;
    if !blocks.is_empty() {
        let mut values = Aligned([T::ZERO; 256]);
        for x in blocks {
            for (value, &x) in values.iter_mut().zip(x) {
                *value = f(x);
            }
            sum += lanes_of::<32, _, _>(&*values, T::ZERO, |x| x, |a, b| a + b);
        }
    }
    // What is left, and short rows: vectors, then single elements.
    let (pieces, rest) = rest.as_chunks::<SHORT>();
    if !pieces.is_empty() {
        let mut acc = [T::ZERO; SHORT];
        for x in pieces {
            let mut values = [T::ZERO; SHORT];
            for (value, &x) in values.iter_mut().zip(x) {
                *value = f(x);
            }
            for (acc, value) in acc.iter_mut().zip(values) {
                *acc += value;
            }
        }
        sum += tree(acc, &|a, b| a + b);
    }
    for &x in rest {
        sum += f(x);
    }
    sum
}

/// As [`lanes`], over pairs from two slices of one length.
#[inline(always)]
pub fn lanes_of_pairs<T: Copy, A: Copy>(
    x: &[T],
    y: &[T],
    identity: A,
    load: impl Fn(T, T) -> A,
    merge: impl Fn(A, A) -> A,
) -> A {
    let ((xs, x), (ys, y)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    let mut acc = [identity; LANES];
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..LANES {
            acc[i] = merge(acc[i], load(x[i], y[i]));
        }
    }
    let mut total = tree(acc, &merge);
    let ((xs, x), (ys, y)) = (x.as_chunks::<SHORT>(), y.as_chunks::<SHORT>());
    let mut acc = [identity; SHORT];
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..SHORT {
            acc[i] = merge(acc[i], load(x[i], y[i]));
        }
    }
    total = merge(total, tree(acc, &merge));
    for (&x, &y) in x.iter().zip(y) {
        total = merge(total, load(x, y));
    }
    total
}

/// Joins accumulators, eight or a multiple, pairwise, the upper half to the lower. The last eight pass a
/// black box on their way: seeing all steps the compiler would pair accumulators up as the tree does, two
/// to a register, here and in the loop that they come from.
#[inline(always)]
pub fn tree<A: Copy, const N: usize>(mut acc: [A; N], merge: &impl Fn(A, A) -> A) -> A {
    let mut width = N / 2;
    while width >= SHORT {
        for i in 0..width {
            acc[i] = merge(acc[i], acc[i + width]);
        }
        width /= 2;
    }
    let mut last = Aligned([acc[0]; SHORT]);
    last.copy_from_slice(&acc[..SHORT]);
    std::hint::black_box(&mut last);
    width = SHORT / 2;
    while width > 0 {
        for i in 0..width {
            last[i] = merge(last[i], last[i + width]);
        }
        width /= 2;
    }
    last[0]
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
    #[must_use]
    fn magnitude(self) -> Self;
    /// A number in the order of the values, or in the reverse if `least`; that of NaN is the greatest.
    fn rank(self, least: bool) -> i64;
}

/// [`Ordered::rank`] of a float.
#[inline(always)]
fn float_rank(x: f64, least: bool) -> i64 {
    // Adding zero makes one of both zeros.
    let bits = ((if least { -x } else { x }) + 0.0).to_bits().cast_signed();
    let rank = bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed();
    std::hint::select_unpredictable(x.is_nan(), i64::MAX, rank)
}

/// [`Ordered::rank`] of an integer.
#[inline(always)]
fn whole_rank(x: i64, least: bool) -> i64 {
    if least { !x } else { x }
}

macro_rules! ordered {
    ($($t:ident: $low:expr, $high:expr, $x:ident => $abs:expr, $rank:ident $wide:expr;)*) => {$(
        impl Ordered for $t {
            const LOWEST: Self = $low;
            const HIGHEST: Self = $high;
            #[inline(always)]
            fn magnitude(self) -> Self { let $x = self; $abs }
            #[inline(always)]
            fn rank(self, least: bool) -> i64 { $rank($wide(self), least) }
        }
    )*};
}
ordered! {
    Bool: Bool(0), Bool(1), x => x, whole_rank |x: Bool| i64::from(x.get());
    u8: u8::MIN, u8::MAX, x => x, whole_rank i64::from;
    i8: i8::MIN, i8::MAX, x => x.wrapping_abs(), whole_rank i64::from;
    i16: i16::MIN, i16::MAX, x => x.wrapping_abs(), whole_rank i64::from;
    i32: i32::MIN, i32::MAX, x => x.wrapping_abs(), whole_rank i64::from;
    i64: i64::MIN, i64::MAX, x => x.wrapping_abs(), whole_rank std::convert::identity;
    f32: f32::NEG_INFINITY, f32::INFINITY, x => x.abs(), float_rank f64::from;
    f64: f64::NEG_INFINITY, f64::INFINITY, x => x.abs(), float_rank std::convert::identity;
}

/// Sums narrow integers in 32 bits, chunk by chunk, so that the lanes stay full.
#[inline(always)]
fn narrow_sum<T: Copy>(x: &[T], load: impl Fn(T) -> i32 + Copy) -> i64 {
    x.chunks(4096).map(|x| i64::from(lanes(x, 0i32, load, i32::wrapping_add))).sum()
}

/// The sum; integers and bool as int64.
#[derive(Clone, Copy, Debug)]
pub struct Sum;
/// The product; integers and bool as int64.
#[derive(Clone, Copy, Debug)]
pub struct Prod;

macro_rules! arithmetic {
    ($($t:ident => $acc:ident, $add:expr, $mul:expr, $load:expr, {$($block:item)?};)*) => {$(
        impl Kind<$t> for Sum {
            type Acc = $acc;
            type Out = $acc;
            const FOLDS: bool = true;
            const PLAIN: bool = true;
            #[inline(always)]
            fn identity(self) -> $acc { 0 as $acc }
            #[inline(always)]
            fn load(self, x: $t) -> $acc { $load(x) }
            #[inline(always)]
            fn merge(self, a: $acc, b: $acc) -> $acc { $add(a, b) }
            #[inline(always)]
            fn finish(self, acc: $acc) -> $acc { acc }
            $($block)?
        }
        impl Kind<$t> for Prod {
            type Acc = $acc;
            type Out = $acc;
            const FOLDS: bool = true;
            const PLAIN: bool = true;
            #[inline(always)]
            fn identity(self) -> $acc { 1 as $acc }
            #[inline(always)]
            fn load(self, x: $t) -> $acc { $load(x) }
            #[inline(always)]
            fn merge(self, a: $acc, b: $acc) -> $acc { $mul(a, b) }
            #[inline(always)]
            fn finish(self, acc: $acc) -> $acc { acc }
            #[inline(always)]
            fn block(self, x: &[$t]) -> $acc {
                lanes_of::<32, _, _>(x, 1 as $acc, $load, $mul)
            }
        }
    )*};
}
arithmetic! {
    Bool => i64, i64::wrapping_add, i64::wrapping_mul, |x: Bool| i64::from(x.get()), {
        #[inline(always)]
        fn block(self, x: &[Bool]) -> i64 { narrow_sum(x, |x| i32::from(x.get())) }
    };
    u8 => i64, i64::wrapping_add, i64::wrapping_mul, i64::from, {
        #[inline(always)]
        fn block(self, x: &[u8]) -> i64 { narrow_sum(x, i32::from) }
    };
    i8 => i64, i64::wrapping_add, i64::wrapping_mul, i64::from, {
        #[inline(always)]
        fn block(self, x: &[i8]) -> i64 { narrow_sum(x, i32::from) }
    };
    i16 => i64, i64::wrapping_add, i64::wrapping_mul, i64::from, {
        #[inline(always)]
        fn block(self, x: &[i16]) -> i64 { narrow_sum(x, i32::from) }
    };
    i32 => i64, i64::wrapping_add, i64::wrapping_mul, i64::from, {};
    i64 => i64, i64::wrapping_add, i64::wrapping_mul, std::convert::identity, {
        #[inline(always)]
        fn block(self, x: &[i64]) -> i64 { lanes_of::<32, _, _>(x, 0, |x| x, i64::wrapping_add) }
    };
    f32 => f32, std::ops::Add::add, std::ops::Mul::mul, std::convert::identity, {
        #[inline(always)]
        fn block(self, x: &[f32]) -> f32 { lanes_of::<32, _, _>(x, 0.0, |x| x, std::ops::Add::add) }
    };
    f64 => f64, std::ops::Add::add, std::ops::Mul::mul, std::convert::identity, {
        #[inline(always)]
        fn block(self, x: &[f64]) -> f64 { lanes_of::<32, _, _>(x, 0.0, |x| x, std::ops::Add::add) }
    };
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
    ($($kind:ident, $plain:expr, $identity:expr, $op:tt, $x:ident => $load:expr;)*) => {$(
        impl<T: Ordered> Kind<T> for $kind {
            type Acc = T;
            type Out = T;
            const FOLDS: bool = true;
            const PLAIN: bool = true;
            #[inline(always)]
            fn identity(self) -> T { $identity }
            #[inline(always)]
            fn load(self, $x: T) -> T { $load }
            #[inline(always)]
            fn merge(self, a: T, b: T) -> T {
                // In this order so that it is two instructions, and no store under a mask.
                let best = if b $op a { b } else { a };
                if b.unordered() { b } else { best }
            }
            #[inline(always)]
            fn finish(self, acc: T) -> T { acc }
            #[inline(always)]
            unsafe fn columns(self, rows: &[*const T], acc: &mut [T]) {
                // SAFETY: the caller's promise is passed on.
                unsafe {
                    let row = |r: usize| rows[r];
                    if !$plain.is_some_and(|greatest| extreme_columns(row, rows.len(), acc, greatest)) {
                        columns_merged(self, rows, acc);
                    }
                }
            }
            #[inline(always)]
            unsafe fn strips(self, first: *const T, step: isize, blocks: usize, acc: &mut [T]) {
                // SAFETY: the caller's promise is passed on.
                unsafe {
                    let row = |r: usize| first.wrapping_offset(r as isize * step);
                    if !$plain.is_some_and(|greatest| extreme_columns(row, 8 * blocks, acc, greatest)) {
                        strips_merged(self, first, step, blocks, acc);
                    }
                }
            }
            #[inline(always)]
            fn block(self, x: &[T]) -> T {
                if !T::DTYPE.is_float() {
                    let better = |a: T, b: T| if b $op a { b } else { a };
                    // Four vectors' worth at least: one alone would wait for itself.
                    return match size_of::<T>() {
                        1 => lanes_of::<128, _, _>(x, $identity, |$x| $load, better),
                        2 => lanes_of::<64, _, _>(x, $identity, |$x| $load, better),
                        _ => lanes_of::<32, _, _>(x, $identity, |$x| $load, better),
                    };
                }
                if x.len() < 16 {
                    return x.iter().fold($identity, |best, &$x| self.merge(best, $load));
                }
                if let Some(greatest) = $plain
                    && let Some((best, nan)) = extreme(x, greatest)
                {
                    let first = || x.iter().copied().find(|x| x.unordered());
                    return if nan { first().unwrap_or(best) } else { best };
                }
                // Eight strips side by side, not lanes: of floating-point comparisons the compiler
                // makes vectors in plain loops only. NaN is passed over, and looked for apart.
                let better = |a: T, b: T| if b $op a { b } else { a };
                let load = |$x: T| $load;
                let mut best = $identity;
                let mut strip = Aligned([$identity; 128]);
                for x in x.chunks(1024) {
                    let width = x.len() / 8;
                    let (whole, rest) = x.split_at(8 * width);
                    let mut nan = false;
                    for j in 0..width {
                        let mut value = $identity;
                        let mut unordered = false;
                        for k in 0..8 {
                            // SAFETY: k * width + j < 8 * width, the length.
                            let x = unsafe { *whole.get_unchecked(k * width + j) };
                            value = better(value, load(x));
                            unordered |= x.unordered();
                        }
                        // SAFETY: width is at most 128.
                        unsafe { *strip.get_unchecked_mut(j) = value };
                        nan |= unordered;
                    }
                    for &x in strip[..width].iter().chain(rest) {
                        best = better(best, load(x));
                    }
                    nan |= rest.iter().any(|x| x.unordered());
                    if nan {
                        return x.iter().copied().find(|x| x.unordered()).unwrap_or(best);
                    }
                }
                best
            }
        }
    )*};
}
extreme! {
    Max, Some(true), T::LOWEST, >, x => x;
    Min, Some(false), T::HIGHEST, <, x => x;
    MaxAbs, None::<bool>, T::default(), >, x => x.magnitude();
    MinAbs, None::<bool>, T::HIGHEST, <, x => x.magnitude();
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
    const FOLDS: bool = true;
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
    const FOLDS: bool = true;
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
    const FOLDS: bool = true;
    #[inline(always)]
    fn block(self, x: &[T]) -> i64 {
        // Narrow counts keep the lanes full; a chunk is short enough for them.
        let count = |x: &[T]| lanes(x, 0u32, |x| u32::from(x != T::default()), |a, b| a + b);
        if size_of::<T>() == 8 {
            // Counts as wide as the elements need no instructions that narrow them.
            return lanes_of::<32, _, _>(x, 0, |x| i64::from(x != T::default()), |a, b| a + b);
        }
        x.chunks(4096).map(|x| i64::from(count(x))).sum()
    }
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
    const FOLDS: bool = true;
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
    const FOLDS: bool = true;
    #[inline(always)]
    fn identity(self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn load(self, x: T) -> T {
        x * x
    }
    #[inline(always)]
    fn block(self, x: &[T]) -> T {
        lanes_of::<32, _, _>(x, T::ZERO, |x| x * x, |a, b| a + b)
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

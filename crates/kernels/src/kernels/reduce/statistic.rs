//! Kinds that look at a block twice while it is in cache: moments and log-sum-exp.
#![allow(unsafe_code)]

use super::kind::{Kind, MAX_ROWS, Max, Ordered, lanes_of, sum_mapped};
use crate::kernels::raw::Aligned;
use crate::kernels::vexp::Real;

/// Columns that kinds which look twice at a block hold in registers or L1.
const STRIP: usize = 64;

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
    pub fn merge(self, other: Self) -> Self {
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

    /// Two passes over blocks that stay in cache, the second about the mean found by the first:
    /// so small a sum of deviations loses nothing in the element type.
    #[inline(always)]
    pub fn of<T: Real>(x: &[T]) -> Self {
        let mut all = Self::default();
        for x in x.chunks(1024) {
            let count = x.len() as f64;
            let shift =
                lanes_of::<32, _, _>(x, T::ZERO, |x| x, |a, b| a + b) * T::from_f64(1.0 / count);
            let sum = lanes_of::<32, _, _>(x, T::ZERO, |x| x - shift, |a, b| a + b);
            let squares =
                lanes_of::<32, _, _>(x, T::ZERO, |x| (x - shift) * (x - shift), |a, b| a + b);
            all = all.merge(Self::about(count, shift.to_f64(), sum.to_f64(), squares.to_f64()));
        }
        all
    }

    /// From the sums of deviations from `shift` and of their squares.
    #[inline(always)]
    fn about(count: f64, shift: f64, sum: f64, squares: f64) -> Self {
        let delta = sum / count;
        let m2 = squares - sum * delta;
        // Rounding may leave less than nothing; NaN must stay.
        Self { count, mean: shift + delta, m2: if m2 < 0.0 { 0.0 } else { m2 } }
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
    const ROWS: usize = MAX_ROWS;
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
        for (start, acc) in (0..).step_by(STRIP).zip(acc.chunks_mut(STRIP)) {
            let mut shift = Aligned([T::ZERO; STRIP]);
            let mut sums = Aligned([T::ZERO; STRIP]);
            let mut squares = Aligned([T::ZERO; STRIP]);
            let width = acc.len();
            for &row in rows {
                for (j, shift) in shift[..width].iter_mut().enumerate() {
                    // SAFETY: start + j lies below the number of columns.
                    *shift += unsafe { *row.add(start + j) };
                }
            }
            for shift in &mut *shift {
                *shift = *shift * T::from_f64(1.0 / count);
            }
            for &row in rows {
                for j in 0..width {
                    // SAFETY: as above.
                    let d = unsafe { *row.add(start + j) } - shift[j];
                    sums[j] += d;
                    squares[j] += d * d;
                }
            }
            for (j, acc) in acc.iter_mut().enumerate() {
                let (shift, sum) = (shift[j].to_f64(), sums[j].to_f64());
                *acc = acc.merge(Moments::about(count, shift, sum, squares[j].to_f64()));
            }
        }
    }
}

impl<T: Real> Kind<T> for Variance {
    type Acc = Moments;
    type Out = T;
    const ROWS: usize = MAX_ROWS;
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
    const FOLDS: bool = true;
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
    fn block(self, x: &[T]) -> T {
        lanes_of::<32, _, _>(x, T::ZERO, |x| x, |a, b| a + b)
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
    const ROWS: usize = MAX_ROWS;
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
        acc.max + acc.sum.vln()
    }
    #[inline(always)]
    fn block(self, x: &[T]) -> Shifted<T> {
        let max = Max.block(x);
        let shift = finite_or_zero(max);
        Shifted { max, sum: sum_mapped(x, |x| (x - shift).vexp()) }
    }
    #[inline(always)]
    unsafe fn columns(self, rows: &[*const T], acc: &mut [Shifted<T>]) {
        for (start, acc) in (0..).step_by(STRIP).zip(acc.chunks_mut(STRIP)) {
            let mut max = Aligned([T::NEG_INFINITY; STRIP]);
            let mut shift = Aligned([T::ZERO; STRIP]);
            let mut sum = Aligned([T::ZERO; STRIP]);
            let width = acc.len();
            for &row in rows {
                for (j, max) in max[..width].iter_mut().enumerate() {
                    // SAFETY: start + j lies below the number of columns.
                    *max = max.max_nan(unsafe { *row.add(start + j) });
                }
            }
            for (shift, &max) in shift.iter_mut().zip(&*max) {
                *shift = finite_or_zero(max);
            }
            for &row in rows {
                for j in 0..width {
                    // SAFETY: as above.
                    sum[j] += (unsafe { *row.add(start + j) } - shift[j]).vexp();
                }
            }
            for (j, acc) in acc.iter_mut().enumerate() {
                *acc = self.merge(*acc, Shifted { max: max[j], sum: sum[j] });
            }
        }
    }
}

//! Reading and writing at computed positions.
//!
//! Where several sources meet in one element they are taken in index order: work is divided by
//! destination, never by source, so no atomics and no dependence on threads.
#![allow(unsafe_code)]

mod advanced;
mod mask;
mod scatter;
mod select;

pub use advanced::{IndexArray, IndexPlan, index, index_put, index_sum};
pub use mask::{
    Found, check_classes, masked_scatter, masked_select, masked_spread, nonzero, one_hot,
    repeat_indices, roll, triangle,
};
pub use scatter::{Base, Combine, Reduction, gather, scatter, scatter_reduce};
pub use select::{index_add, index_combine, index_copy, index_fill, index_select};

use crate::dtype::Element;
use crate::error::{Error, Result, ensure};
use crate::kernels::multiversion::{self, Job};

/// An element type with the arithmetic that writing at indices needs (wrapping for integers).
pub trait Number: super::reduce::Ordered {
    /// Sum; of bools, "or".
    #[must_use]
    fn plus(self, other: Self) -> Self;
    /// Product; of bools, "and".
    #[must_use]
    fn times(self, other: Self) -> Self;
    /// Quotient by a count; integers round down, as torch's mean does.
    #[must_use]
    fn over(self, count: i64) -> Self;
}

macro_rules! number {
    ($($t:ident)*) => {$(
        impl Number for $t {
            #[inline(always)]
            fn plus(self, other: Self) -> Self { self.wrapping_add(other) }
            #[inline(always)]
            fn times(self, other: Self) -> Self { self.wrapping_mul(other) }
            #[inline(always)]
            fn over(self, count: i64) -> Self { (self as i64).div_euclid(count) as Self }
        }
    )*};
}
number!(u8 i8 i16 i32 i64);

macro_rules! float {
    ($($t:ident)*) => {$(
        impl Number for $t {
            #[inline(always)]
            fn plus(self, other: Self) -> Self { self + other }
            #[inline(always)]
            fn times(self, other: Self) -> Self { self * other }
            #[inline(always)]
            fn over(self, count: i64) -> Self { self / count as Self }
        }
    )*};
}
float!(f32 f64);

impl Number for crate::dtype::Bool {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        (self.get() | other.get()).into()
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        (self.get() & other.get()).into()
    }
    #[inline(always)]
    fn over(self, _: i64) -> Self {
        self
    }
}

#[cold]
fn out_of_bounds(index: i64, dim: usize, size: usize) -> Error {
    Error::index(format!("index {index} is out of bounds for dimension {dim} with size {size}"))
}

/// Whether all indices lie in `0..=last`.
struct Inside<'a>(&'a [i64], i64);

impl Job for Inside<'_> {
    type Output = bool;
    #[inline(always)]
    fn run(self) -> bool {
        // Without branches, so that it is one vector pass: the sign bit of either tells.
        self.0.iter().fold(0, |bad, &i| bad | i | self.1.wrapping_sub(i)) >= 0
    }
}

/// Whether all of `indices` lie in `0..size`.
pub(super) fn all_inside(indices: &[i64], size: usize) -> bool {
    multiversion::run_narrow(Inside(indices, size as i64 - 1))
}

/// Checks that all of `indices` lie in `0..size`.
///
/// # Errors
/// torch's text, with the first index that does not.
pub fn check(indices: &[i64], dim: usize, size: usize) -> Result<()> {
    if !all_inside(indices, size) {
        let bad = indices.iter().find(|&&i| i as u64 >= size as u64);
        ensure!(bad.is_none(), index, "{}", out_of_bounds(bad.map_or(0, |&i| i), dim, size));
    }
    Ok(())
}

/// `len` elements from one place to another that does not overlap.
///
/// # Safety
/// Both must be valid for that.
#[inline(always)]
unsafe fn copy_elements<T: Element>(from: *const T, to: *mut T, len: usize) {
    // SAFETY: passed on.
    unsafe { super::copy::copy_line(from.cast(), to.cast(), len * size_of::<T>()) }
}

/// `len` elements from one place to another, strided or not.
///
/// # Safety
/// Both must be valid for `len` elements at their strides and not overlap.
#[inline(always)]
unsafe fn copy_run<T: Element>(
    from: *const T,
    from_step: isize,
    to: *mut T,
    to_step: isize,
    len: usize,
) {
    // SAFETY: the caller's promise is passed on.
    unsafe {
        if from_step == 1 && to_step == 1 {
            // Short runs lose more to the call than they win.
            if len <= 4 {
                for j in 0..len {
                    *to.add(j) = *from.add(j);
                }
            } else {
                copy_elements(from, to, len);
            }
        } else {
            for j in 0..len as isize {
                *to.wrapping_offset(j * to_step) = *from.wrapping_offset(j * from_step);
            }
        }
    }
}

#[cfg(test)]
mod tests;

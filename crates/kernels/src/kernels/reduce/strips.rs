//! Columns taken some at a time, all rows of them before the next.
#![allow(unsafe_code)]

use super::kind::{Kind, joined};
use crate::dtype::Element;

/// Elements that are read again and again without leaving the first cache.
const L1: usize = 4096;

/// Blocks of eight rows of so many columns that stay in the first cache while one strip after the other is read.
#[inline(always)]
pub(super) fn near(columns: usize) -> usize {
    (L1 / (8 * columns.max(1))).max(1)
}

/// [`Kind::strips`] by `load` and `merge`: running values stay in registers.
///
/// # Safety
/// See there.
#[inline(always)]
pub(super) unsafe fn strips_merged<T: Element, K: Kind<T>>(
    kind: K,
    first: *const T,
    step: isize,
    blocks: usize,
    acc: &mut [K::Acc],
) {
    let mut at = 0;
    macro_rules! strips {
        ($($wide:literal)*) => {$(
            // More than eight vectors of 32 bytes would leave the registers.
            while $wide <= acc.len() - at && $wide * size_of::<K::Acc>() <= 256 {
                // SAFETY: so many columns of rows are left.
                unsafe { strip::<$wide, T, K>(kind, first.add(at), step, blocks, acc.as_mut_ptr().add(at)) };
                at += $wide;
            }
        )*};
    }
    strips!(64 32 8 4 1);
}

/// `W` columns of [`Kind::strips`].
///
/// # Safety
/// See there.
#[inline(always)]
unsafe fn strip<const W: usize, T: Element, K: Kind<T>>(
    kind: K,
    mut from: *const T,
    step: isize,
    blocks: usize,
    to: *mut K::Acc,
) {
    // SAFETY: by the contract.
    unsafe {
        let to = to.cast::<[K::Acc; W]>();
        let mut acc = *to;
        for _ in 0..blocks {
            let row = |r: isize| &*from.wrapping_offset(r * step).cast::<[T; W]>();
            let rows = [row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7)];
            for (i, acc) in acc.iter_mut().enumerate() {
                *acc = kind.merge(*acc, joined(kind, |r| kind.load(rows[r][i])));
            }
            from = from.wrapping_offset(8 * step);
        }
        *to = acc;
    }
}

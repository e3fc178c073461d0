//! Sorting and what follows from it, on keys packed with their positions.
//!
//! A key is an unsigned integer in the order of the values (NaN above everything, -0 equal to 0);
//! with the position in its low bits every key is different, so that any sort is stable.
//! Lines are therefore limited to 2^32 elements.
#![allow(unsafe_code)]

mod count;
mod few;
mod radix;
mod top;

pub use count::{BinCount, Unique, bincount, histogram, searchsorted, unique, unique_consecutive};

pub use top::topk;

use super::multiversion::run_narrow;
use super::raw::{Dst, Src, split};
use super::rows::Along;
use crate::dtype::{Bool, Element};
use radix::Packed;

/// An element that can be sorted.
pub trait Sortable: Element {
    /// A key with room for a position.
    type Packed: Packed;
    /// The key of `self` and a position, in ascending order or in descending.
    fn pack(self, position: usize, descending: bool) -> Self::Packed;
    /// The key alone, in ascending order or in descending, of a type of one byte.
    fn byte(self, descending: bool) -> u8 {
        self.pack(0, descending).digit(0) as u8
    }
}

macro_rules! sortable {
    ($($t:ty => $packed:ident, $bits:literal, $x:ident => $key:expr;)*) => {$(
        impl Sortable for $t {
            type Packed = $packed;
            #[inline(always)]
            fn pack(self, position: usize, descending: bool) -> $packed {
                let $x = self;
                let key: $packed = $key;
                let key = if descending { !key & ((1 << $bits) - 1) } else { key };
                key << ($packed::BITS / 2) | position as $packed
            }
        }
    )*};
}
sortable! {
    Bool => u64, 8, x => u64::from(x.get());
    u8 => u64, 8, x => u64::from(x);
    i8 => u64, 8, x => u64::from(x as u8 ^ 0x80);
    i16 => u64, 16, x => u64::from(x as u16 ^ 0x8000);
    i32 => u64, 32, x => u64::from(x as u32 ^ 0x8000_0000);
    i64 => u128, 64, x => u128::from(x as u64 ^ 1 << 63);
    f32 => u64, 32, x => u64::from(key_f32(x));
    f64 => u128, 64, x => u128::from(key_f64(x));
}

#[inline(always)]
fn key_f32(x: f32) -> u32 {
    // Adding zero turns -0 into 0.
    let bits = if x.is_nan() {
        f32::NAN.to_bits() & 0x7fff_ffff | 0x7fc0_0000
    } else {
        (x + 0.0).to_bits()
    };
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

#[inline(always)]
fn key_f64(x: f64) -> u64 {
    let bits = if x.is_nan() { 0x7ff8 << 48 } else { (x + 0.0).to_bits() };
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// Where line `unit` starts.
fn start(along: Along, unit: usize) -> isize {
    if along.inner == 1 {
        // Divisions would cost as much as sorting a few elements.
        return (unit * along.n) as isize;
    }
    (unit / along.inner * along.n * along.inner + unit % along.inner) as isize
}

/// Packs one line.
///
/// # Safety
/// The line must be readable.
unsafe fn pack<T: Sortable>(
    x: *const T,
    n: usize,
    step: usize,
    descending: bool,
    keys: &mut Vec<T::Packed>,
) {
    keys.clear();
    // SAFETY: i < n, as the caller vouches.
    keys.extend((0..n).map(|i| unsafe { *x.add(i * step) }.pack(i, descending)));
}

/// Writes the elements at the positions of `keys`, and the positions; either may be null.
///
/// # Safety
/// The line must be readable at steps of `from`, the targets writable at steps of `step`.
unsafe fn put<T: Sortable>(
    keys: &[T::Packed],
    x: *const T,
    from: usize,
    step: usize,
    values: *mut T,
    indices: *mut i64,
) {
    for (i, key) in keys.iter().enumerate() {
        let at = key.position();
        // SAFETY: positions come from the line; the targets have as many elements as keys.
        unsafe {
            if !values.is_null() {
                *values.add(i * step) = *x.add(at * from);
            }
            if !indices.is_null() {
                *indices.add(i * step) = at as i64;
            }
        }
    }
}

/// Runs `f(line of the input, target of values, target of indices, scratch)` over all lines, the
/// targets having `m` elements where the input has `n`.
fn lines<T: Sortable>(
    along: Along,
    m: usize,
    input: *const T,
    values: *mut T,
    indices: *mut i64,
    f: impl Fn(*const T, *mut T, *mut i64, &mut Vec<T::Packed>) + Sync,
) {
    let (x, v, k) = (Src::new(input), Dst::new(values), Dst::new(indices));
    let (no_values, no_indices) = (values.is_null(), indices.is_null());
    let target = Along { n: m, ..along };
    // Sorting costs some twenty times what a pass does.
    split(along.outer * along.inner, along.n * 8, |first, last| {
        let mut keys = Vec::new();
        for unit in first..last {
            let to = start(target, unit);
            let v = if no_values { std::ptr::null_mut() } else { v.at(to) };
            let k = if no_indices { std::ptr::null_mut() } else { k.at(to) };
            f(x.at(start(along, unit)), v, k, &mut keys);
        }
    });
}

/// Sorts along a dimension, stably; NaN is the greatest. `values` or `indices` may be null
/// (`argsort`).
///
/// # Safety
/// All cover `along` contiguously; `input` overlaps nothing.
pub unsafe fn sort<T: Sortable>(
    along: Along,
    descending: bool,
    input: *const T,
    values: *mut T,
    indices: *mut i64,
) {
    if along.is_empty() {
        return;
    }
    if size_of::<T>() == 1 && along.n >= few::LEAST {
        lines(along, along.n, input, values, indices, |x, v, k, _| {
            // SAFETY: lines of the caller's arrays.
            unsafe { few::sort(along.n, along.inner, descending, x, v, k) };
        });
        return;
    }
    // SAFETY: lines of the caller's arrays.
    let short = |n, x, v, k| unsafe { few::shortest(n, along.inner, descending, x, v, k) };
    // With the length known to the compiler, keys never leave the registers.
    match along.n {
        2 => return lines(along, 2, input, values, indices, |x, v, k, _| short(2, x, v, k)),
        3 => return lines(along, 3, input, values, indices, |x, v, k, _| short(3, x, v, k)),
        4 => return lines(along, 4, input, values, indices, |x, v, k, _| short(4, x, v, k)),
        5..=few::RANKED => {
            let (input, values, indices) = (Src::new(input), Dst::new(values), Dst::new(indices));
            split(along.outer * along.inner, along.n * 8, |first, last| {
                let lines = (first, last);
                run_narrow(few::Ranked { along, descending, input, values, indices, lines });
            });
            return;
        }
        _ => {}
    }
    lines(along, along.n, input, values, indices, |x, v, k, keys| {
        // SAFETY: lines of the caller's arrays.
        unsafe {
            pack(x, along.n, along.inner, descending, keys);
            radix::sort(keys);
            put(keys, x, along.inner, along.inner, v, k);
        }
    });
}

/// What [`select`] looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// The k-th smallest, from 0; NaN counts as the greatest.
    Kth(usize),
    /// The lower median; NaN if there is one.
    Median,
    /// The lower median of what is not NaN.
    NanMedian,
    /// The most frequent value, the least of those; at its last position.
    Mode,
}

/// One element of each line by rank, with its position: `kthvalue`, `median`, `nanmedian`, `mode`.
/// Lines must not be empty.
///
/// # Safety
/// `input` covers `along`, the targets the same with 1 in place of `n`; no overlap.
pub unsafe fn select<T: Sortable>(
    rank: Rank,
    along: Along,
    input: *const T,
    values: *mut T,
    indices: *mut i64,
) {
    if along.is_empty() {
        return;
    }
    let Along { n, inner, .. } = along;
    #[expect(clippy::eq_op, reason = "only NaN differs from itself")]
    let is_nan = |x: T| x != x;
    lines(along, 1, input, values, indices, |x, v, i, keys| {
        // SAFETY: a line of the caller's array.
        unsafe { pack(x, n, inner, false, keys) };
        // SAFETY: as above.
        let nan = (0..n).filter(|&at| is_nan(unsafe { *x.add(at * inner) }));
        let key = match rank {
            Rank::Kth(k) => *keys.select_nth_unstable(k.min(n - 1)).1,
            Rank::Median | Rank::NanMedian => {
                let nans = nan.clone().count();
                let first = nan.clone().next();
                match first {
                    Some(at) if rank == Rank::Median || nans == n => keys[at],
                    _ => *keys.select_nth_unstable((n - nans - 1) / 2).1,
                }
            }
            Rank::Mode => {
                radix::sort(keys);
                let (mut best, mut longest) = (0, 0);
                let mut at = 0;
                while at < n {
                    let run = keys[at..].iter().take_while(|k| k.same_key(&keys[at])).count();
                    if run > longest {
                        (best, longest) = (at + run - 1, run);
                    }
                    at += run;
                }
                keys[best]
            }
        };
        // SAFETY: one element in each target.
        unsafe { put(&[key], x, inner, inner, v, i) };
    });
}

#[cfg(test)]
mod tests;

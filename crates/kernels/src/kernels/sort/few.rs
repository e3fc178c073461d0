//! Sorting bytes: 256 values at most, counted and then laid out; and lines of a few elements.

use super::Sortable;
use super::radix::Packed;

/// Lines below which comparing costs less than counting.
pub(super) const LEAST: usize = 256;

/// Sorts a line of `n` elements of one byte, which lie `step` apart; `values` or `indices` may be null.
///
/// # Safety
/// The line must be readable, the targets writable at the same steps.
pub(super) unsafe fn sort<T: Sortable>(
    n: usize,
    step: usize,
    descending: bool,
    x: *const T,
    values: *mut T,
    indices: *mut i64,
) {
    // SAFETY: i < n.
    let at = |i: usize| unsafe { *x.add(i * step) };
    let mut known = [T::default(); 256];
    // Two counts of each value: runs of one would wait for each other.
    let mut counts = [[0usize; 256]; 2];
    for i in 0..n {
        let key = usize::from(at(i).byte(descending));
        known[key] = at(i);
        counts[i & 1][key] += 1;
    }
    let mut places = [0usize; 256];
    let mut end = 0;
    for (key, place) in places.iter_mut().enumerate() {
        *place = end;
        end += counts[0][key] + counts[1][key];
        if !values.is_null() {
            // All of a value together: what lies in order is written in order.
            for to in *place..end {
                // SAFETY: the places of all values make up the line.
                unsafe { *values.add(to * step) = known[key] };
            }
        }
    }
    if indices.is_null() {
        return;
    }
    for i in 0..n {
        let place = &mut places[usize::from(at(i).byte(descending))];
        // SAFETY: each place of the line is written once.
        unsafe { *indices.add(*place * step) = i as i64 };
        *place += 1;
    }
}

/// Sorts a line of up to four elements, which lie `step` apart; `values` or `indices` may be null.
///
/// # Safety
/// As for [`sort`].
#[inline(always)]
pub(super) unsafe fn shortest<T: Sortable>(
    n: usize,
    step: usize,
    descending: bool,
    x: *const T,
    values: *mut T,
    indices: *mut i64,
) {
    let mut keys = [T::Packed::LAST; 4];
    for (i, key) in keys.iter_mut().enumerate().take(n) {
        // SAFETY: i < n.
        *key = unsafe { *x.add(i * step) }.pack(i, descending);
    }
    let mut order = |i: usize, j: usize| {
        let (a, b) = (keys[i], keys[j]);
        (keys[i], keys[j]) = (a.min(b), a.max(b));
    };
    order(0, 1);
    if n > 3 {
        order(2, 3);
    }
    if n > 2 {
        order(0, 2);
        if n > 3 {
            order(1, 3);
        }
        order(1, 2);
    }
    for (i, key) in keys.iter().enumerate().take(n) {
        let at = key.position();
        // SAFETY: i < n, and positions come from the line.
        unsafe {
            if !values.is_null() {
                *values.add(i * step) = *x.add(at * step);
            }
            if !indices.is_null() {
                *indices.add(i * step) = at as i64;
            }
        }
    }
}

//! Sorting bytes: 256 values at most, counted and then laid out; and lines of a few elements.

use super::radix::Packed;
use super::{Sortable, start};
use crate::kernels::multiversion::Job;
use crate::kernels::raw::{Dst, Src};
use crate::kernels::rows::Along;

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

/// Sorts lines of up to [`RANKED`] elements: a vector counts for each how many come before it.
pub(super) struct Ranked<T> {
    pub(super) along: Along,
    pub(super) descending: bool,
    pub(super) input: Src<T>,
    /// Null if not wanted, as the next.
    pub(super) values: Dst<T>,
    pub(super) indices: Dst<i64>,
    /// Lines from and to.
    pub(super) lines: (usize, usize),
}

/// Elements of one vector: longer lines are sorted faster by keys.
pub(super) const RANKED: usize = 8;

impl<T: Sortable> Ranked<T> {
    /// Elements from `first` on; those behind the last of the line are anything.
    #[inline(always)]
    fn line(&self, first: isize) -> [T; RANKED] {
        let Along { n, inner, outer } = self.along;
        if inner == 1 && first as usize + RANKED <= n * outer {
            // SAFETY: as many elements are there, if of the lines behind.
            return unsafe { self.input.at(first).cast::<[T; RANKED]>().read() };
        }
        let mut line = [T::default(); RANKED];
        for (i, x) in line.iter_mut().enumerate().take(n) {
            // SAFETY: i < n, within the line.
            *x = unsafe { *self.input.at(first + (i * inner) as isize) };
        }
        line
    }
}

impl<T: Sortable> Job for Ranked<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Along { n, inner, .. } = self.along;
        let wanted = (!self.values.at(0).is_null(), !self.indices.at(0).is_null());
        for line in self.lines.0..self.lines.1 {
            let first = start(self.along, line);
            let line = self.line(first);
            let mut keys = [T::Packed::LAST.half(); RANKED];
            for (i, (key, x)) in keys.iter_mut().zip(&line).enumerate() {
                let half = x.pack(0, self.descending).half();
                *key = if i < n { half } else { *key };
            }
            let mut before = [T::Packed::number(0); RANKED];
            for (j, &other) in keys.iter().enumerate().take(n) {
                for (i, (before, &key)) in before.iter_mut().zip(&keys).enumerate() {
                    let later = T::Packed::number(j) < T::Packed::number(i);
                    *before += (other < key || (other == key && later)).into();
                }
            }
            for (i, (&place, &x)) in before.iter().zip(&line).enumerate().take(n) {
                let to = first + (T::Packed::count(place) * inner) as isize;
                // SAFETY: places of a line are its numbers from 0 on.
                unsafe {
                    if wanted.0 {
                        *self.values.at(to) = x;
                    }
                    if wanted.1 {
                        *self.indices.at(to) = i as i64;
                    }
                }
            }
        }
    }
}

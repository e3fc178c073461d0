//! Sorting bytes: 256 values at most, counted and then laid out.

use super::{Along, Dst, Sortable, Src, split, start};

/// Lines below which comparing costs less than counting.
pub(super) const LEAST: usize = 256;

/// [`sort`](super::sort) for elements of one byte.
///
/// # Safety
/// As there.
pub(super) unsafe fn sort<T: Sortable>(
    along: Along,
    descending: bool,
    input: *const T,
    values: *mut T,
    indices: *mut i64,
) {
    let (x, v, k) = (Src::new(input), Dst::new(values), Dst::new(indices));
    let (no_values, no_indices) = (values.is_null(), indices.is_null());
    let Along { n, inner, .. } = along;
    split(along.outer * inner, n * 8, |first, last| {
        for unit in first..last {
            let from = start(along, unit);
            // SAFETY: a line of the caller's array.
            let at = |i: usize| unsafe { *x.at(from + (i * inner) as isize) };
            // Two counts of each value: runs of one would wait for each other.
            let mut counts = [[0usize; 256]; 2];
            for i in 0..n {
                counts[i & 1][usize::from(at(i).byte(descending))] += 1;
            }
            let mut places = [0usize; 256];
            let mut sum = 0;
            for (place, (a, b)) in places.iter_mut().zip(counts[0].iter().zip(&counts[1])) {
                *place = sum;
                sum += a + b;
            }
            if !no_values {
                // All of a value together: what lies in order is written in order.
                let mut known = [T::default(); 256];
                for i in 0..n {
                    known[usize::from(at(i).byte(descending))] = at(i);
                }
                let mut to = 0;
                for (one, (a, b)) in known.iter().zip(counts[0].iter().zip(&counts[1])) {
                    for place in to..to + a + b {
                        // SAFETY: each place of the line is written once; other lines belong to other units.
                        unsafe { *v.at(from + (place * inner) as isize) = *one };
                    }
                    to += a + b;
                }
            }
            if !no_indices {
                let target = k.at(from);
                for i in 0..n {
                    let place = &mut places[usize::from(at(i).byte(descending))];
                    // SAFETY: as above.
                    unsafe { *target.add(*place * inner) = i as i64 };
                    *place += 1;
                }
            }
        }
    });
}

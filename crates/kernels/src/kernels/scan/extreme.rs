//! Running maxima and minima.

use super::{FEW, columns_together};
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Src, split};
use crate::kernels::reduce::{Extreme, Ordered};
use crate::kernels::rows::Along;

/// Elements of a line looked at together: records are rare in a long line.
const BLOCK: usize = 16;
/// Columns carried along together.
const WIDE: usize = 8;

struct Records<T, const MAX: bool> {
    along: Along,
    together: usize,
    x: Src<T>,
    values: Dst<T>,
    indices: Dst<i64>,
    first: usize,
    last: usize,
}

impl<T: Ordered, const MAX: bool> Records<T, MAX> {
    /// Whether `x` takes the place of `best`: the last of equals does, and NaN always.
    #[inline(always)]
    fn takes(x: T, best: T) -> bool {
        (if MAX { x >= best } else { x <= best }) | x.unordered()
    }

    #[inline(always)]
    fn line(&self, base: usize) {
        let n = self.along.n;
        // SAFETY: a line of each, which nobody else has.
        let (x, values, indices) = unsafe {
            (
                std::slice::from_raw_parts(self.x.at(base as isize), n),
                std::slice::from_raw_parts_mut(self.values.at(base as isize), n),
                std::slice::from_raw_parts_mut(self.indices.at(base as isize), n),
            )
        };
        let (mut best, mut at) = (x[0], 0i64);
        let blocks = x.chunks(BLOCK).zip(values.chunks_mut(BLOCK)).zip(indices.chunks_mut(BLOCK));
        for (block, ((x, values), indices)) in blocks.enumerate() {
            if let (Ok(x), Ok(values), Ok(indices)) = (
                <&[T; BLOCK]>::try_from(x),
                <&mut [T; BLOCK]>::try_from(&mut *values),
                <&mut [i64; BLOCK]>::try_from(&mut *indices),
            ) && !x.iter().fold(false, |any, &x| any | Self::takes(x, best))
            {
                values.fill(best);
                indices.fill(at);
                continue;
            }
            for (i, &x) in x.iter().enumerate() {
                if Self::takes(x, best) {
                    (best, at) = (x, (block * BLOCK + i) as i64);
                }
                values[i] = best;
                indices[i] = at;
            }
        }
    }

    /// Up to `N` columns from the element `base` on.
    #[inline(always)]
    fn columns<const N: usize>(&self, base: usize) {
        let Along { n, inner, .. } = self.along;
        // SAFETY: the first element of the columns.
        let mut best: [T; N] = std::array::from_fn(|l| unsafe { *self.x.at((base + l) as isize) });
        let mut at = [0i64; N];
        for i in 0..n {
            let to = (base + i * inner) as isize;
            for l in 0..N {
                // SAFETY: row i of these columns, here and below.
                let x = unsafe { *self.x.at(to + l as isize) };
                let takes = Self::takes(x, best[l]);
                best[l] = std::hint::select_unpredictable(takes, x, best[l]);
                at[l] = std::hint::select_unpredictable(takes, i as i64, at[l]);
            }
            for l in 0..N {
                // SAFETY: as above.
                unsafe {
                    *self.values.at(to + l as isize) = best[l];
                    *self.indices.at(to + l as isize) = at[l];
                }
            }
        }
    }

    /// `width` columns, row by row: each reads what the row before wrote.
    #[inline(always)]
    fn rows(&self, base: usize, width: usize) {
        let Along { n, inner, .. } = self.along;
        for i in 0..n {
            let to = base + i * inner;
            let before = if i == 0 { to } else { to - inner };
            // SAFETY: row i of the columns and the row before; the first reads what it has just written.
            unsafe {
                let x = self.x.at(to as isize);
                let (values, indices) = (self.values.at(to as isize), self.indices.at(to as isize));
                if i == 0 {
                    for l in 0..width {
                        *values.add(l) = *x.add(l);
                        *indices.add(l) = 0;
                    }
                    continue;
                }
                let (best, at) =
                    (self.values.at(before as isize), self.indices.at(before as isize));
                for l in 0..width {
                    let (x, best) = (*x.add(l), *best.add(l));
                    let takes = Self::takes(x, best);
                    *values.add(l) = std::hint::select_unpredictable(takes, x, best);
                    *indices.add(l) = std::hint::select_unpredictable(takes, i as i64, *at.add(l));
                }
            }
        }
    }
}

impl<T: Ordered, const MAX: bool> Job for Records<T, MAX> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Along { n, inner, .. } = self.along;
        let tiles = inner.div_ceil(self.together);
        for unit in self.first..self.last {
            if inner == 1 {
                self.line(unit * n);
                continue;
            }
            let (o, start) = (unit / tiles, unit % tiles * self.together);
            let width = self.together.min(inner - start);
            let (mut base, mut left) = (o * n * inner + start, width);
            if width > FEW {
                self.rows(base, width);
                continue;
            }
            while left > 0 {
                let taken = match left {
                    WIDE.. => (self.columns::<WIDE>(base), WIDE).1,
                    4.. => (self.columns::<4>(base), 4).1,
                    2.. => (self.columns::<2>(base), 2).1,
                    _ => (self.columns::<1>(base), 1).1,
                };
                (base, left) = (base + taken, left - taken);
            }
        }
    }
}

/// Cumulative maximum or minimum and where it is: the last of equals; NaN stays.
///
/// # Safety
/// All cover `along` contiguously.
pub unsafe fn cumextreme<T: Ordered>(
    extreme: Extreme,
    along: Along,
    input: *const T,
    values: *mut T,
    indices: *mut i64,
) {
    if along.is_empty() {
        return;
    }
    let (x, values, indices) = (Src::new(input), Dst::new(values), Dst::new(indices));
    // The positions are what is written most.
    let together = columns_together(along, size_of::<i64>(), false);
    let units = along.outer * along.inner.div_ceil(together);
    split(units, along.n * along.inner.min(together), |first, last| match extreme {
        Extreme::Max => multiversion::run_narrow(Records::<T, true> {
            along,
            together,
            x,
            values,
            indices,
            first,
            last,
        }),
        Extreme::Min => multiversion::run_narrow(Records::<T, false> {
            along,
            together,
            x,
            values,
            indices,
            first,
            last,
        }),
    });
}

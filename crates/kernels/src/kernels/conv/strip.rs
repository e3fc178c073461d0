//! The innermost loops of [`super::direct`]: tiles of results whose sums stay in registers.

use std::mem::MaybeUninit;

use crate::kernels::matmul::{Float, Vector};

/// Elements of the longest vector.
const LANES: usize = 16;

/// A vector of results: where its sources and where they themselves lie, and how many there are.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) n: usize,
}

/// What the innermost loops read and write.
pub(super) struct Strip<'a, T> {
    /// Where in the frame the sources of each term lie.
    pub(super) offsets: &'a [usize],
    pub(super) frame: *const T,
    /// The first channel of results, from one to the next, and from one column to the next.
    pub(super) to: *mut T,
    pub(super) plane: usize,
    pub(super) every: usize,
    /// One element for each channel of results, or null.
    pub(super) bias: *const T,
    /// Whether these are the first terms.
    pub(super) first: bool,
}

impl<T: Float> Strip<'_, T> {
    /// `rows` channels of results from `row` on, for all units.
    #[inline(always)]
    pub(super) unsafe fn rows<V: Vector<T = T>>(
        &self,
        weight: *const T,
        units: &[Unit],
        row: usize,
        rows: usize,
    ) {
        macro_rules! rows {
            ($($n:literal by $v:literal)*) => {
                match rows {
                    $($n => {
                        for units in units.chunks($v) {
                            // SAFETY: passed on.
                            unsafe { self.micro::<V, $n, $v>(weight, units, row) };
                        }
                    })*
                    _ => {}
                }
            };
        }
        if V::ROWS > 6 {
            rows!(12 by 2 8 by 2 6 by 2 4 by 3 2 by 4 1 by 8);
        } else {
            rows!(6 by 2 4 by 3 2 by 4 1 by 8);
        }
    }

    /// `ROWS` channels of results for at most `VECTORS` units.
    #[inline(always)]
    unsafe fn micro<V: Vector<T = T>, const ROWS: usize, const VECTORS: usize>(
        &self,
        weight: *const T,
        units: &[Unit],
        row: usize,
    ) {
        // SAFETY: the caller vouches for the units' sources, the weight and the instruction set.
        unsafe {
            let at: [Unit; VECTORS] = std::array::from_fn(|i| units[i.min(units.len() - 1)]);
            let from = at.map(|unit| self.frame.add(unit.from));
            let mut sums = [[V::splat(T::ZERO); VECTORS]; ROWS];
            let mut weight = weight;
            for &offset in self.offsets {
                let mut columns = [V::splat(T::ZERO); VECTORS];
                for (column, from) in columns.iter_mut().zip(from) {
                    *column = V::load(from.add(offset));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let w = V::splat(*weight.add(r));
                    for (sum, &column) in sums.iter_mut().zip(&columns) {
                        *sum = w.fused(column, *sum);
                    }
                }
                weight = weight.add(ROWS);
            }
            if self.every == 1 && units.len() == VECTORS && at.iter().all(|u| u.n == V::WIDTH) {
                for (r, sums) in sums.iter().enumerate() {
                    let bias = self.shift(row + r);
                    let to = self.to.add((row + r) * self.plane);
                    for (&sum, unit) in sums.iter().zip(&at) {
                        let to = to.add(unit.to);
                        let before = if self.first { V::splat(bias) } else { V::load(to) };
                        before.plus(sum).store(to);
                    }
                }
                return;
            }
            // Loops whose ends are known only now would keep the sums in memory all along.
            let mut lanes = [const { MaybeUninit::<[[T; LANES]; VECTORS]>::uninit() }; ROWS];
            for (lanes, sums) in lanes.iter_mut().zip(&sums) {
                for (v, &sum) in sums.iter().enumerate() {
                    sum.store(lanes.as_mut_ptr().cast::<T>().add(v * LANES));
                }
            }
            for (r, lanes) in lanes.iter().enumerate() {
                for (v, unit) in at.iter().enumerate().take(units.len()) {
                    let from = lanes.as_ptr().cast::<T>().add(v * LANES);
                    self.put::<V>(from, row + r, unit.to, unit.n);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn shift(&self, row: usize) -> T {
        // SAFETY: the caller's bias, if there is one.
        if self.bias.is_null() { T::ZERO } else { unsafe { *self.bias.add(row) } }
    }

    /// Sets or adds to `n` results of a channel, from a vector that was stored.
    #[inline(always)]
    unsafe fn put<V: Vector<T = T>>(&self, from: *const T, row: usize, at: usize, n: usize) {
        // SAFETY: results and bias are the caller's, `from` has as many elements as a vector.
        unsafe {
            let to = self.to.add(row * self.plane + at);
            let bias = self.shift(row);
            if n == V::WIDTH && self.every == 1 {
                let before = if self.first { V::splat(bias) } else { V::load(to) };
                before.plus(V::load(from)).store(to);
            } else if self.every == 1 && self.first && n >= 4 {
                let add = |from: *const T| from.cast::<[T; 4]>().read().map(|lane| lane + bias);
                to.cast::<[T; 4]>().write(add(from));
                if n > 8 {
                    to.add(4).cast::<[T; 4]>().write(add(from.add(4)));
                    to.add(n - 8).cast::<[T; 4]>().write(add(from.add(n - 8)));
                }
                to.add(n - 4).cast::<[T; 4]>().write(add(from.add(n - 4)));
            } else if self.first {
                for i in 0..n {
                    *to.add(i * self.every) = *from.add(i) + bias;
                }
            } else {
                for i in 0..n {
                    *to.add(i * self.every) += *from.add(i);
                }
            }
        }
    }
}

//! The weight of a group transformed, in panels of columns as the micro-kernel takes them.

use super::{PART, Tiled};
use crate::kernels::matmul::{Float, Vector, Work, at_level};
use crate::kernels::vexp::Real as _;

/// Some channels of the transformed weight of a group.
struct Weights<T> {
    tiled: Tiled,
    task: usize,
    weight: *const T,
    to: *mut T,
}

impl<T: Float> Work<T> for Weights<T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let Tiled { inputs, outputs, .. } = self.tiled;
        let panel = 2 * V::WIDTH;
        let last = outputs.min((self.task + 1) * PART);
        for row in (self.task * PART..last).step_by(panel) {
            let rows = panel.min(last - row);
            let lanes = rows.next_multiple_of(V::WIDTH);
            // SAFETY: a panel of the caller's target.
            unsafe { self.rows::<V::Pack>(row, rows, lanes, panel, self.to.add(row * inputs)) };
        }
    }
}

impl<T: Float> Weights<T> {
    /// `rows` channels made, side by side for each channel read, `panel` elements apart; up to `lanes` the
    /// last is repeated.
    #[inline(always)]
    unsafe fn rows<V: Vector<T = T>>(
        &self,
        row: usize,
        rows: usize,
        lanes: usize,
        panel: usize,
        to: *mut T,
    ) {
        let Tiled { inputs, outputs, turned, .. } = self.tiled;
        let (place, every) = (self.tiled.weight_place(), if turned { 9 } else { 9 * inputs });
        // SAFETY: the caller's weight holds nine elements for each pair of channels, the target 16.
        unsafe {
            let half = V::splat(T::from_f64(0.5));
            let line = |a: V, b: V, c: V| {
                [a, half.times(a.plus(b).plus(c)), half.times(a.minus(b).plus(c)), c]
            };
            for input in 0..inputs {
                let at = if turned { input * outputs + row } else { row * inputs + input };
                for lane in (0..lanes).step_by(V::WIDTH) {
                    let from = self.weight.add(9 * at);
                    let w = nine::<V>(|i| from.add((lane + i).min(rows - 1) * every));
                    let w = |i: usize, j: usize| w[if turned { 8 - 3 * i - j } else { 3 * i + j }];
                    let mut columns = [[V::splat(T::ZERO); 3]; 4];
                    for j in 0..3 {
                        let made = line(w(0, j), w(1, j), w(2, j));
                        for (column, made) in columns.iter_mut().zip(made) {
                            column[j] = made;
                        }
                    }
                    let to = to.add(input * panel + lane);
                    for (i, [a, b, c]) in columns.into_iter().enumerate() {
                        for (j, made) in line(a, b, c).into_iter().enumerate() {
                            made.store(to.add((4 * i + j) * place));
                        }
                    }
                }
            }
        }
    }
}

/// Nine elements each of rows that begin where `row` says: a vector of rows for each.
#[inline(always)]
unsafe fn nine<V: Vector>(row: impl Fn(usize) -> *const V::T) -> [V; 9] {
    let mut lanes = [[V::T::ZERO; 8]; 9];
    // SAFETY: elements of the rows.
    unsafe {
        if V::WIDTH == 8 {
            let mut square = [V::splat(V::T::ZERO); 8];
            for (i, line) in square.iter_mut().enumerate() {
                *line = V::load(row(i));
                lanes[8][i] = *row(i).add(8);
            }
            V::turn(&mut square);
            let last = V::load(lanes[8].as_ptr());
            return std::array::from_fn(|i| if i < 8 { square[i] } else { last });
        }
        for i in 0..V::WIDTH {
            for (j, lanes) in lanes.iter_mut().enumerate() {
                lanes[i] = *row(i).add(j);
            }
        }
        lanes.map(|lanes| V::load(lanes.as_ptr()))
    }
}

/// Part `task`, of [`Tiled::packs`], of transforming the weight of one group.
///
/// # Safety
/// `weight` holds nine elements for each pair of channels of the group, `to` as many as
/// [`Tiled::weights`] says. Parts write different elements.
pub unsafe fn weights<T: Float>(tiled: &Tiled, task: usize, weight: *const T, to: *mut T) {
    // SAFETY: passed on.
    unsafe { at_level(Weights { tiled: *tiled, task, weight, to }) }
}

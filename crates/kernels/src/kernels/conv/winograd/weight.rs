//! The gradient of a weight by tiles, with the channels of a pixel side by side.

use super::pixels::gather;
use super::{APART, PLACES, SUMMED, Tiled, transform};
use crate::kernels::matmul::{
    Ahead, Float, Strides, Tile, Vector, Work, at_level, group, micro_rows,
};
use crate::kernels::vexp::Real as _;

/// The gradient of one group's weight from several images.
struct Summed<'a, T> {
    tiled: Tiled,
    images: usize,
    input: *const T,
    /// From one image to the next.
    input_step: usize,
    grad: *const T,
    grad_step: usize,
    weight: *mut T,
    scratch: *mut T,
    finite: &'a mut bool,
}

impl<T: Float> Work<T> for Summed<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let tiled = self.tiled;
        let Tiled { inputs, outputs, input, output, padding, .. } = tiled;
        let [rows, columns] = tiled.tiles();
        let line = columns + 1;
        let (wide_in, wide_out) = (tiled.wide(inputs), tiled.wide(outputs) + APART);
        let (plane, grad_plane) = ((rows + 1) * line, rows * columns);
        let planes = self.scratch;
        let grads = planes.wrapping_add(4 * plane * wide_in);
        let tiles = grads.wrapping_add(4 * grad_plane * wide_out);
        let turned = tiles.wrapping_add(PLACES * (SUMMED * wide_in + APART));
        let sums = turned.wrapping_add(PLACES * (SUMMED * wide_out + APART));
        let panel = 2 * V::WIDTH;
        // SAFETY: `scratch` holds the five parts; the rest is the caller's promise.
        unsafe {
            std::slice::from_raw_parts_mut(planes, 4 * plane * wide_in).fill(T::ZERO);
            std::slice::from_raw_parts_mut(grads, 4 * grad_plane * wide_out).fill(T::ZERO);
            let (mut filled, mut first) = (0, true);
            for image in 0..self.images {
                let place = |pixel: usize| {
                    let (row, column) =
                        (pixel / input[1] + padding[0], pixel % input[1] + padding[1]);
                    ((row % 2 * 2 + column % 2) * plane + row / 2 * line + column / 2) * wide_in
                };
                let from = self.input.add(image * self.input_step);
                let pixels = input[0] * input[1];
                gather::<V::Pack>(from, pixels, inputs, pixels, planes, place);
                let place = |pixel: usize| {
                    let (row, column) = (pixel / output[1], pixel % output[1]);
                    let part = (row % 2 * 2 + column % 2) * grad_plane;
                    (part + row / 2 * columns + column / 2) * wide_out
                };
                let from = self.grad.add(image * self.grad_step);
                let pixels = output[0] * output[1];
                gather::<V::Pack>(from, pixels, outputs, pixels, grads, place);
                for tile in 0..rows * columns {
                    let (y, x) = (tile / columns, tile % columns);
                    for channel in (0..inputs).step_by(V::WIDTH) {
                        let from = planes.add((y * line + x) * wide_in + channel);
                        let to = tiles.add(
                            channel / panel * panel * SUMMED + filled * panel + channel % panel,
                        );
                        transform::<V>(
                            |i, j| {
                                let at = (i % 2 * 2 + j % 2) * plane + i / 2 * line + j / 2;
                                V::load(from.add(at * wide_in))
                            },
                            |place, v| v.store(to.add(place * (SUMMED * wide_in + APART))),
                        );
                    }
                    for channel in (0..outputs).step_by(V::WIDTH) {
                        let from = grads.add(tile * wide_out + channel);
                        let to = turned.add(filled * wide_out + channel);
                        spread::<V>(
                            |i, j| V::load(from.add((2 * i + j) * grad_plane * wide_out)),
                            |place, v| v.store(to.add(place * (SUMMED * wide_out + APART))),
                        );
                    }
                    filled += 1;
                    if filled == SUMMED {
                        self.add::<V>(tiles, turned, sums, filled, first);
                        (filled, first) = (0, false);
                    }
                }
            }
            if filled > 0 {
                self.add::<V>(tiles, turned, sums, filled, first);
            }
            *self.finite = self.finish::<V::Pack>(sums);
        }
    }
}

/// `A g A'` of the four elements that `load` gives, handed to `store` place by place.
#[inline(always)]
unsafe fn spread<V: Vector>(load: impl Fn(usize, usize) -> V, store: impl Fn(usize, V)) {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let zero = V::splat(V::T::ZERO);
        let line = |a: V, b: V| [a, a.plus(b), a.minus(b), zero.minus(b)];
        let columns = [line(load(0, 0), load(1, 0)), line(load(0, 1), load(1, 1))];
        for i in 0..4 {
            for (j, v) in line(columns[0][i], columns[1][i]).into_iter().enumerate() {
                store(4 * i + j, v);
            }
        }
    }
}

impl<T: Float> Summed<'_, T> {
    /// Adds the products of `terms` tiles, or sets them.
    #[inline(always)]
    unsafe fn add<V: Vector<T = T>>(
        &self,
        tiles: *const T,
        turned: *const T,
        sums: *mut T,
        terms: usize,
        first: bool,
    ) {
        let Tiled { inputs, outputs, .. } = self.tiled;
        let (wide_in, wide_out) = (self.tiled.wide(inputs), self.tiled.wide(outputs) + APART);
        let panel = 2 * V::WIDTH;
        for place in 0..PLACES {
            for column in (0..inputs).step_by(panel) {
                let mut row = 0;
                while row < outputs {
                    let rows = group::<V>(outputs - row);
                    // SAFETY: parts of scratch that belong together.
                    unsafe {
                        let tile = Tile {
                            a: turned.add(place * (SUMMED * wide_out + APART) + row),
                            a_step: Strides { row: 1, column: wide_out as isize },
                            b: tiles.add(place * (SUMMED * wide_in + APART) + column * SUMMED),
                            b_step: panel as isize,
                            terms,
                            c: sums.add(place * self.tiled.place() + row * inputs + column),
                            c_step: Strides { row: inputs as isize, column: 1 },
                            alpha: T::ONE,
                            beta: if first { T::ZERO } else { T::ONE },
                            d: None,
                            ahead: Ahead::NONE,
                        };
                        micro_rows::<V>(&tile, rows, panel.min(inputs - column), true);
                    }
                    row += rows;
                }
            }
        }
    }

    /// `G' m G` of all sums into the weight's gradient; gives whether it is finite.
    #[inline(always)]
    unsafe fn finish<V: Vector<T = T>>(&self, sums: *const T) -> bool {
        let Tiled { inputs, outputs, .. } = self.tiled;
        let (pairs, place) = (inputs * outputs, self.tiled.place());
        let mut finite = true;
        // SAFETY: 16 sums and nine elements of the weight for each pair of channels; pairs are taken
        // again where the last do not fill a vector; there are more than one vector of them.
        unsafe {
            let (half, zero) = (V::splat(T::from_f64(0.5)), V::splat(T::ZERO));
            let line = |[a, b, c, d]: [V; 4]| {
                let sum = half.times(b.plus(c));
                [a.plus(sum), half.times(b.minus(c)), sum.plus(d)]
            };
            let mut check = zero;
            for pair in (0..pairs).step_by(V::WIDTH) {
                let pair = pair.min(pairs - V::WIDTH);
                let sum = |i: usize, j: usize| V::load(sums.add((4 * i + j) * place + pair));
                let mut columns = [[zero; 4]; 3];
                for j in 0..4 {
                    let made = line([sum(0, j), sum(1, j), sum(2, j), sum(3, j)]);
                    for (column, made) in columns.iter_mut().zip(made) {
                        column[j] = made;
                    }
                }
                let mut lanes = [[T::ZERO; 8]; 9];
                for (i, column) in columns.into_iter().enumerate() {
                    for (j, made) in line(column).into_iter().enumerate() {
                        made.store(lanes[3 * i + j].as_mut_ptr());
                        check = made.fused(zero, check);
                    }
                }
                let to = self.weight.add(9 * pair);
                for lane in 0..V::WIDTH {
                    for (i, lanes) in lanes.iter().enumerate() {
                        *to.add(9 * lane + i) = lanes[lane];
                    }
                }
            }
            let mut lanes = [T::ZERO; 8];
            check.store(lanes.as_mut_ptr());
            for lane in lanes {
                finite &= lane == T::ZERO;
            }
        }
        finite
    }
}

/// The gradient of one group's weight from `images` images, `input_step` and `grad_step` elements
/// apart. Gives whether it is finite.
///
/// # Safety
/// `input` and `grad` are the dense channels of the group of each image, `weight` holds nine elements
/// for each pair of them, `scratch` as many as [`Tiled::summing`] says.
pub unsafe fn weight_gradient<T: Float>(
    tiled: &Tiled,
    images: usize,
    input: *const T,
    input_step: usize,
    grad: *const T,
    grad_step: usize,
    weight: *mut T,
    scratch: *mut T,
) -> bool {
    let mut finite = false;
    let what = Summed {
        tiled: *tiled,
        images,
        input,
        input_step,
        grad,
        grad_step,
        weight,
        scratch,
        finite: &mut finite,
    };
    // SAFETY: passed on.
    unsafe { at_level(what) };
    finite
}

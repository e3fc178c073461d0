//! Images by tiles: the output from the input, or the gradient of the input from that of the output.

use super::{LANES, PART, PLACES, Tiled, transform};
use crate::kernels::matmul::{
    Float, KC, Leveled, Strides, Tile, Vector, Work, at_level, group, micro_rows,
};
use crate::kernels::vexp::Real as _;

/// Some channels of the transformed weight of a group, in the order the micro-kernel takes rows in.
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
        let mut row = self.task * PART;
        while row < outputs.min((self.task + 1) * PART) {
            let rows = group::<V>(outputs - row);
            // SAFETY: rows of the caller's target.
            unsafe { self.rows::<V::Pack>(row, rows, self.to.add(row * inputs)) };
            row += rows;
        }
    }
}

impl<T: Float> Weights<T> {
    /// `rows` channels made, side by side for each channel read.
    #[inline(always)]
    unsafe fn rows<V: Vector<T = T>>(&self, row: usize, rows: usize, to: *mut T) {
        let Tiled { inputs, outputs, turned, .. } = self.tiled;
        let (place, every) = (self.tiled.place(), if turned { 9 } else { 9 * inputs });
        // SAFETY: the caller's weight holds nine elements for each pair of channels, the target 16.
        unsafe {
            let half = V::splat(T::from_f64(0.5));
            let line = |a: V, b: V, c: V| {
                [a, half.times(a.plus(b).plus(c)), half.times(a.minus(b).plus(c)), c]
            };
            for input in 0..inputs {
                let at = if turned { input * outputs + row } else { row * inputs + input };
                for lane in (0..rows).step_by(V::WIDTH) {
                    let n = V::WIDTH.min(rows - lane);
                    let w = nine::<V>(self.weight.add(9 * at + lane * every), every, n);
                    let w = |i: usize, j: usize| w[if turned { 8 - 3 * i - j } else { 3 * i + j }];
                    let mut columns = [[V::splat(T::ZERO); 3]; 4];
                    for j in 0..3 {
                        let made = line(w(0, j), w(1, j), w(2, j));
                        for (column, made) in columns.iter_mut().zip(made) {
                            column[j] = made;
                        }
                    }
                    let to = to.add(input * rows + lane);
                    // What is written beyond the rows is set after, but for the last.
                    let whole = input * rows + lane + V::WIDTH <= inputs * rows;
                    for (i, [a, b, c]) in columns.into_iter().enumerate() {
                        for (j, made) in line(a, b, c).into_iter().enumerate() {
                            let to = to.add((4 * i + j) * place);
                            if whole {
                                made.store(to);
                            } else {
                                let mut lanes = [T::ZERO; 8];
                                made.store(lanes.as_mut_ptr());
                                std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, n);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Nine elements each of `n` rows, `every` apart: a vector of rows for each.
#[inline(always)]
unsafe fn nine<V: Vector>(from: *const V::T, every: usize, n: usize) -> [V; 9] {
    let mut lanes = [[V::T::ZERO; 8]; 9];
    // SAFETY: elements of the rows.
    unsafe {
        if V::WIDTH == 8 {
            let mut square = [V::splat(V::T::ZERO); 8];
            for (i, line) in square.iter_mut().enumerate() {
                let row = i.min(n - 1) * every;
                *line = V::load(from.add(row));
                lanes[8][i] = *from.add(row + 8);
            }
            V::turn(&mut square);
            let last = V::load(lanes[8].as_ptr());
            return std::array::from_fn(|i| if i < 8 { square[i] } else { last });
        }
        for i in 0..V::WIDTH {
            let row = i.min(n - 1) * every;
            for (j, lanes) in lanes.iter_mut().enumerate() {
                lanes[i] = *from.add(row + j);
            }
        }
        lanes.map(|lanes| V::load(lanes.as_ptr()))
    }
}

impl<T: Float> Leveled<T> for Weights<T> {
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: passed on.
        unsafe { V::within(self) }
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

/// A task of one group of one image.
struct Image<'a, T> {
    tiled: Tiled,
    task: usize,
    input: *const T,
    weight: *const T,
    /// One element for each channel, or null.
    bias: *const T,
    output: *mut T,
    scratch: *mut T,
    finite: &'a mut bool,
}

impl<T: Float> Work<T> for Image<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let Tiled { inputs, part, band, .. } = self.tiled;
        let (plane, span) = (self.tiled.plane(), self.tiled.span());
        let made = self.task % self.tiled.parts() * part;
        let outputs = part.min(self.tiled.outputs - made);
        let top = self.task / self.tiled.parts() * band;
        let rows = band.min(self.tiled.tiles()[0] - top);
        let planes = self.scratch;
        let tiles = planes.wrapping_add(4 * inputs * plane);
        let products = tiles.wrapping_add(PLACES * self.tiled.step(inputs));
        let results = products.wrapping_add(PLACES * self.tiled.step(part));
        let (step_in, step_out) = (self.tiled.step(inputs), self.tiled.step(part));
        let panel = 2 * V::WIDTH;
        // SAFETY: `scratch` holds the four parts; the rest is the caller's promise.
        unsafe {
            for channel in 0..inputs {
                self.unravel(channel, top, rows, planes.add(4 * channel * plane));
            }
            let mut check = V::splat(T::ZERO);
            let zero = V::splat(T::ZERO);
            let mut at = 0;
            let end = rows * self.tiled.line() - 1;
            while at < end {
                let lanes = LANES.min((end - at).next_multiple_of(panel));
                for channel in 0..inputs {
                    let from = planes.add(4 * channel * plane + at);
                    for lane in (0..lanes).step_by(V::WIDTH) {
                        let to = tiles
                            .add(lane / panel * panel * inputs + channel * panel + lane % panel);
                        transform::<V>(
                            |i, j| V::load(from.add(self.corner(i, j) + lane)),
                            |place, v| v.store(to.add(place * step_in)),
                        );
                    }
                }
                for place in 0..PLACES {
                    self.multiply::<V>(
                        place,
                        tiles.add(place * step_in),
                        products.add(place * step_out),
                        lanes,
                        made..made + outputs,
                    );
                }
                for channel in 0..outputs {
                    for lane in (0..lanes).step_by(V::WIDTH) {
                        let from = products.add(channel * LANES + lane);
                        let load = |i: usize, j: usize| V::load(from.add((4 * i + j) * step_out));
                        let mut half = [[zero; 4]; 2];
                        for j in 0..4 {
                            let (a, b, c, d) = (load(0, j), load(1, j), load(2, j), load(3, j));
                            half[0][j] = a.plus(b).plus(c);
                            half[1][j] = b.minus(c).minus(d);
                        }
                        let to = results.add(4 * channel * span + at + lane);
                        for (i, [a, b, c, d]) in half.into_iter().enumerate() {
                            let (even, odd) = (a.plus(b).plus(c), b.minus(c).minus(d));
                            even.store(to.add(2 * i * span));
                            odd.store(to.add((2 * i + 1) * span));
                            check = even.fused(zero, odd.fused(zero, check));
                        }
                    }
                }
                at += lanes;
            }
            for channel in 0..outputs {
                self.ravel(made + channel, top, rows, results.add(4 * channel * span));
            }
            let mut sums = [T::ZERO; 16];
            check.store(sums.as_mut_ptr());
            *self.finite = sums.iter().all(|&sum| sum == T::ZERO);
        }
    }
}

impl<T: Float> Image<'_, T> {
    /// Where in a channel's planes element (i, j) of the first tile lies.
    #[inline(always)]
    fn corner(&self, i: usize, j: usize) -> usize {
        (i % 2 * 2 + j % 2) * self.tiled.plane() + i / 2 * self.tiled.line() + j / 2
    }

    /// Splits the rows of a channel of the input that rows of tiles take, with the padding, into four planes by the parity of row and
    /// column.
    #[inline(always)]
    unsafe fn unravel(&self, channel: usize, first: usize, rows: usize, to: *mut T) {
        let Tiled { input: [height, width], padding: [top, left], .. } = self.tiled;
        let (line, plane) = (self.tiled.line(), self.tiled.plane());
        let rows = 2 * rows + 2;
        // SAFETY: the planes are the caller's, the channel lies within the input.
        unsafe {
            for row in 0..rows {
                let at = to.add(row % 2 * 2 * plane + row / 2 * line);
                let even = std::slice::from_raw_parts_mut(at, line);
                let odd = std::slice::from_raw_parts_mut(at.add(plane), line);
                let row = row + 2 * first;
                if row < top || row >= top + height {
                    even.fill(T::ZERO);
                    odd.fill(T::ZERO);
                    continue;
                }
                let from = self.input.add((channel * height + row - top) * width);
                let from = std::slice::from_raw_parts(from, width);
                // Pairs that lie within the row; a pair before and after may have one element in it.
                let first = left.div_ceil(2);
                let pairs = ((width + left - 2 * first) / 2).min(line - first);
                let inside = &from[2 * first - left..][..2 * pairs];
                for ((pair, even), odd) in
                    inside.chunks_exact(2).zip(&mut even[first..]).zip(&mut odd[first..])
                {
                    (*even, *odd) = (pair[0], pair[1]);
                }
                let element = |column: usize| {
                    if column < left {
                        T::ZERO
                    } else {
                        from.get(column - left).copied().unwrap_or(T::ZERO)
                    }
                };
                for u in (0..first).chain(first + pairs..line) {
                    (even[u], odd[u]) = (element(2 * u), element(2 * u + 1));
                }
            }
            // What vectors read beyond the last row.
            let used = rows / 2 * line;
            for part in 0..4 {
                std::slice::from_raw_parts_mut(to.add(part * plane + used), plane - used)
                    .fill(T::ZERO);
            }
        }
    }

    /// The product of one place: weights by tiles.
    #[inline(always)]
    unsafe fn multiply<V: Vector<T = T>>(
        &self,
        place: usize,
        tiles: *const T,
        products: *mut T,
        lanes: usize,
        made: std::ops::Range<usize>,
    ) {
        let Tiled { inputs, outputs, .. } = self.tiled;
        let panel = 2 * V::WIDTH;
        let mut row = made.start;
        while row < made.end {
            let rows = group::<V>(outputs - row);
            for lane in (0..lanes).step_by(panel) {
                for first in (0..inputs).step_by(KC) {
                    // SAFETY: the parts of the group's weight and of scratch that belong together.
                    unsafe {
                        let a = self
                            .weight
                            .add(place * self.tiled.place() + row * inputs + first * rows);
                        let tile = Tile {
                            a,
                            a_step: Strides { row: 1, column: rows as isize },
                            b: tiles.add(lane * inputs + first * panel),
                            b_step: panel as isize,
                            terms: KC.min(inputs - first),
                            c: products.add((row - made.start) * LANES + lane),
                            c_step: Strides { row: LANES as isize, column: 1 },
                            alpha: T::ONE,
                            beta: if first == 0 { T::ZERO } else { T::ONE },
                        };
                        micro_rows::<V>(&tile, rows, panel);
                    }
                }
            }
            row += rows;
        }
    }

    /// Weaves the four planes of a channel's results in rows of tiles into its part of the output.
    #[inline(always)]
    unsafe fn ravel(&self, channel: usize, top: usize, rows: usize, from: *const T) {
        let Tiled { output: [height, width], .. } = self.tiled;
        let (line, span) = (self.tiled.line(), self.tiled.span());
        // SAFETY: one bias for each channel; the planes and the channel are the caller's.
        unsafe {
            let bias = if self.bias.is_null() { T::ZERO } else { *self.bias.add(channel) };
            for row in 0..(2 * rows).min(height - 2 * top) {
                let at = from.add(row % 2 * 2 * span + row / 2 * line);
                let even = std::slice::from_raw_parts(at, width.div_ceil(2));
                let odd = std::slice::from_raw_parts(at.add(span), width / 2);
                let to = self.output.add((channel * height + 2 * top + row) * width);
                let to = std::slice::from_raw_parts_mut(to, width);
                for ((pair, &even), &odd) in to.chunks_exact_mut(2).zip(even).zip(odd) {
                    (pair[0], pair[1]) = (even + bias, odd + bias);
                }
                if width % 2 == 1 {
                    to[width - 1] = even[width / 2] + bias;
                }
            }
        }
    }
}

impl<T: Float> Leveled<T> for Image<'_, T> {
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: passed on.
        unsafe { V::within(self) }
    }
}

/// Task `task`, of [`Tiled::tasks`], of one group of one image, from its transformed weight and, if not
/// null, a bias for each channel. Gives whether all results are finite.
///
/// # Safety
/// `input` and `output` are the dense channels of the group, `weight` comes from [`weights`],
/// `scratch` holds as many elements as [`Tiled::scratch`] says.
pub unsafe fn image<T: Float>(
    tiled: &Tiled,
    task: usize,
    input: *const T,
    weight: *const T,
    bias: *const T,
    output: *mut T,
    scratch: *mut T,
) -> bool {
    let mut finite = false;
    let what =
        Image { tiled: *tiled, task, input, weight, bias, output, scratch, finite: &mut finite };
    // SAFETY: passed on.
    unsafe { at_level(what) };
    finite
}

//! Images by tiles: the output from the input, or the gradient of the input from that of the output. Vectors hold
//! channels of a tile, so that tiles of any image and place fill the micro-kernel alike.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::pixels::{gather, scatter};
use super::{LANES, PLACES, Tiled, transform};
use crate::kernels::matmul::{
    Ahead, Float, KC, Strides, Tile, Vector, Work, at_level, group, micro_rows,
};

/// A task of one group of some images.
struct Images<'a, T> {
    tiled: Tiled,
    task: usize,
    input: *const T,
    /// From one image to the next.
    input_step: usize,
    weight: *const T,
    /// One element for each channel, or null.
    bias: *const T,
    output: *mut T,
    output_step: usize,
    scratch: *mut T,
    spoilt: &'a [AtomicBool],
}

/// Tiles next to each other in rows of one image.
#[derive(Clone)]
struct Segment {
    image: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    /// The first one among those that are taken together.
    at: usize,
}

impl Segment {
    fn tiles(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
}

/// Where pixels of an image lie that a segment reads.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Window {
    size: [usize; 2],
    /// The first row and column that lies within the image, in the window and in the image.
    first: [usize; 2],
    from: [usize; 2],
    /// Rows and columns within.
    inside: [usize; 2],
}

impl Window {
    fn new(tiled: &Tiled, segment: &Segment) -> Self {
        let tiles = [&segment.rows, &segment.columns];
        let from = [0, 1].map(|i| (2 * tiles[i].start).saturating_sub(tiled.padding[i]));
        let to = [0, 1]
            .map(|i| (2 * tiles[i].end + 2).saturating_sub(tiled.padding[i]).min(tiled.input[i]));
        Self {
            size: [0, 1].map(|i| 2 * tiles[i].len() + 2),
            first: [0, 1].map(|i| tiled.padding[i].saturating_sub(2 * tiles[i].start)),
            from,
            inside: [0, 1].map(|i| to[i].saturating_sub(from[i])),
        }
    }
    /// Whether zeros of one are those of the other.
    fn like(&self, other: &Self) -> bool {
        (self.size, self.first, self.inside) == (other.size, other.first, other.inside)
    }
}

/// The parts of a task's buffer.
struct Room<T> {
    /// Pixels that a segment reads.
    window: *mut T,
    tiles: *mut T,
    products: *mut T,
    /// Pixels that a segment makes.
    made: *mut T,
    bias: *mut T,
}

impl<T: Float> Work<T> for Images<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let tiled = &self.tiled;
        let (inputs, part) = (tiled.filled(tiled.inputs), tiled.filled(tiled.part));
        let first = self.task % tiled.parts() * tiled.part;
        let channels = first..tiled.outputs.min(first + tiled.part);
        let rest = self.task / tiled.parts();
        let top = rest % tiled.bands() * tiled.band;
        let bottom = tiled.tiles()[0].min(top + tiled.band);
        let image = rest / tiled.bands() * tiled.images;
        let [high, wide] = tiled.segment();
        let tiles = self.scratch.wrapping_add((2 * high + 2) * (2 * wide + 2) * inputs);
        let products = tiles.wrapping_add(PLACES * tiled.step(inputs));
        let made = products.wrapping_add(PLACES * tiled.step(part));
        let bias = made.wrapping_add(4 * high * wide * part);
        let room = Room { window: self.scratch, tiles, products, made, bias };
        let mut last: Option<Window> = None;
        let (mut together, mut filled) = (Vec::new(), 0);
        // SAFETY: `scratch` holds the parts; the rest is the caller's promise.
        unsafe {
            let bias = std::slice::from_raw_parts_mut(room.bias, part);
            bias.fill(T::ZERO);
            if !self.bias.is_null() {
                let given = std::slice::from_raw_parts(self.bias, tiled.outputs);
                bias[..channels.len()].copy_from_slice(&given[channels.clone()]);
            }
            for image in image..tiled.batch.min(image + tiled.images) {
                for row in (top..bottom).step_by(high) {
                    for column in (0..tiled.tiles()[1]).step_by(wide) {
                        let mut segment = Segment {
                            image,
                            rows: row..bottom.min(row + high),
                            columns: column..tiled.tiles()[1].min(column + wide),
                            at: 0,
                        };
                        if filled + segment.tiles() > LANES {
                            self.finish::<V>(&room, &together, filled, channels.clone());
                            together.clear();
                            filled = 0;
                        }
                        segment.at = filled;
                        self.read::<V>(&room, &segment, &mut last);
                        filled += segment.tiles();
                        together.push(segment);
                    }
                }
            }
            self.finish::<V>(&room, &together, filled, channels);
        }
    }
}

impl<T: Float> Images<'_, T> {
    /// Transforms the tiles of a segment; `last` is the window read before, whose zeros are still there.
    #[inline(always)]
    unsafe fn read<V: Vector<T = T>>(
        &self,
        room: &Room<T>,
        segment: &Segment,
        last: &mut Option<Window>,
    ) {
        let tiled = &self.tiled;
        let (wide, step) = (tiled.filled(tiled.inputs), tiled.step(tiled.filled(tiled.inputs)));
        let window = Window::new(tiled, segment);
        let Window { size, first, from, inside } = window;
        let [height, width] = tiled.input;
        // SAFETY: the window holds the pixels; they lie within the image.
        unsafe {
            if !last.is_some_and(|last| last.like(&window)) {
                std::slice::from_raw_parts_mut(room.window, size[0] * size[1] * wide).fill(T::ZERO);
                *last = Some(window);
            }
            let image = self.input.add(segment.image * self.input_step);
            let image = image.add(from[0] * width + from[1]);
            let place =
                |row: usize, column: usize| ((first[0] + row) * size[1] + first[1] + column) * wide;
            // Whole rows are one run of pixels.
            let (runs, long) =
                if inside[1] == width { (1, inside[0] * width) } else { (inside[0], inside[1]) };
            for run in 0..runs {
                let place = |pixel: usize| place(run + pixel / inside[1], pixel % inside[1]);
                let from = image.add(run * width);
                gather::<V::Pack>(from, height * width, tiled.inputs, long, room.window, place);
            }
            let mut to = room.tiles.add(segment.at * wide);
            for row in 0..segment.rows.len() {
                for column in 0..segment.columns.len() {
                    let from = room.window.add((2 * row * size[1] + 2 * column) * wide);
                    for channel in (0..tiled.inputs).step_by(V::WIDTH) {
                        let (from, to) = (from.add(channel), to.add(channel));
                        transform::<V>(
                            |i, j| V::load(from.add((i * size[1] + j) * wide)),
                            |place, v| v.store(to.add(place * step)),
                        );
                    }
                    to = to.add(wide);
                }
            }
        }
    }

    /// The products of all tiles taken together, and what their segments make of them.
    #[inline(always)]
    unsafe fn finish<V: Vector<T = T>>(
        &self,
        room: &Room<T>,
        segments: &[Segment],
        tiles: usize,
        channels: Range<usize>,
    ) {
        // SAFETY: passed on.
        unsafe {
            for place in 0..PLACES {
                self.multiply::<V>(place, room, tiles, channels.clone());
            }
            for segment in segments {
                if !self.write::<V>(room, segment, channels.clone()) {
                    self.spoilt[segment.image].store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// The products of one place: tiles by weights.
    #[inline(always)]
    unsafe fn multiply<V: Vector<T = T>>(
        &self,
        place: usize,
        room: &Room<T>,
        tiles: usize,
        channels: Range<usize>,
    ) {
        let Tiled { inputs, part, .. } = self.tiled;
        let (wide, part) = (self.tiled.filled(inputs), self.tiled.filled(part));
        let panel = 2 * V::WIDTH;
        let a = room.tiles.wrapping_add(place * self.tiled.step(wide));
        let c = room.products.wrapping_add(place * self.tiled.step(part));
        let weight = self.weight.wrapping_add(place * self.tiled.weight_place());
        for column in channels.clone().step_by(panel) {
            let columns = panel.min(channels.end - column).next_multiple_of(V::WIDTH);
            for first in (0..inputs).step_by(KC) {
                let mut row = 0;
                while row < tiles {
                    let rows = group::<V>(tiles - row);
                    let tile = Tile {
                        a: a.wrapping_add(row * wide + first),
                        a_step: Strides { row: wide as isize, column: 1 },
                        b: weight.wrapping_add(column * inputs + first * panel),
                        b_step: panel as isize,
                        terms: KC.min(inputs - first),
                        c: c.wrapping_add(row * part + column - channels.start),
                        c_step: Strides { row: part as isize, column: 1 },
                        alpha: T::ONE,
                        beta: if first == 0 { T::ZERO } else { T::ONE },
                        d: None,
                        ahead: Ahead::NONE,
                    };
                    // SAFETY: the parts of the group's weight and of scratch that belong together.
                    unsafe { micro_rows::<V>(&tile, rows, columns, true) };
                    row += rows;
                }
            }
        }
    }

    /// The pixels of a segment from its products; gives whether all are finite.
    #[inline(always)]
    unsafe fn write<V: Vector<T = T>>(
        &self,
        room: &Room<T>,
        segment: &Segment,
        channels: Range<usize>,
    ) -> bool {
        let tiled = &self.tiled;
        let (wide, step) = (tiled.filled(tiled.part), tiled.step(tiled.filled(tiled.part)));
        let [height, width] = tiled.output;
        let (top, left) = (2 * segment.rows.start, 2 * segment.columns.start);
        let (high, long) =
            (height.min(2 * segment.rows.end) - top, width.min(2 * segment.columns.end) - left);
        // SAFETY: the parts of scratch hold the tiles, the pixels and a bias for each channel; the pixels lie within
        // the image.
        unsafe {
            let mut check = V::splat(T::ZERO);
            let zero = check;
            let mut from = room.products.add(segment.at * wide);
            for row in (0..high).step_by(2) {
                for column in (0..long).step_by(2) {
                    let to = room.made.add((row * long + column) * wide);
                    let (below, beside) = (row + 1 < high, column + 1 < long);
                    for channel in (0..channels.len()).step_by(V::WIDTH) {
                        let (from, to) = (from.add(channel), to.add(channel));
                        let load = |i: usize, j: usize| V::load(from.add((4 * i + j) * step));
                        let mut half = [[zero; 4]; 2];
                        for j in 0..4 {
                            let (a, b, c, d) = (load(0, j), load(1, j), load(2, j), load(3, j));
                            half[0][j] = a.plus(b).plus(c);
                            half[1][j] = b.minus(c).minus(d);
                        }
                        let bias = V::load(room.bias.add(channel));
                        for (i, [a, b, c, d]) in half.into_iter().enumerate() {
                            if i == 1 && !below {
                                break;
                            }
                            let (even, odd) = (a.plus(b).plus(c), b.minus(c).minus(d));
                            check = even.fused(zero, check);
                            even.plus(bias).store(to.add(i * long * wide));
                            if beside {
                                check = odd.fused(zero, check);
                                odd.plus(bias).store(to.add((i * long + 1) * wide));
                            }
                        }
                    }
                    from = from.add(wide);
                }
            }
            let places = height * width;
            let image = self.output.add(segment.image * self.output_step);
            let image = image.add(channels.start * places + top * width + left);
            let (runs, long) = if long == width { (1, high * long) } else { (high, long) };
            for run in 0..runs {
                let (from, to) = (room.made.add(run * long * wide), image.add(run * width));
                scatter::<V::Pack>(from, wide, channels.len(), long, to, places);
            }
            let mut sums = [T::ZERO; 16];
            check.store(sums.as_mut_ptr());
            sums.iter().all(|&sum| sum == T::ZERO)
        }
    }
}

/// Task `task`, of [`Tiled::tasks`], of one group of all images, from its transformed weight and, if not
/// null, a bias for each channel. Notes in `spoilt` the images whose results are not all finite.
///
/// # Safety
/// `input` and `output` are the dense channels of the group of the first image, the others `input_step` and
/// `output_step` elements after; `weight` comes from [`super::weights`], `scratch` holds as many elements as
/// [`Tiled::scratch`] says.
pub unsafe fn images<T: Float>(
    tiled: &Tiled,
    task: usize,
    [input, weight, bias]: [*const T; 3],
    input_step: usize,
    output: *mut T,
    output_step: usize,
    scratch: *mut T,
    spoilt: &[AtomicBool],
) {
    let what = Images {
        tiled: *tiled,
        task,
        input,
        input_step,
        weight,
        bias,
        output,
        output_step,
        scratch,
        spoilt,
    };
    // SAFETY: passed on.
    unsafe { at_level(what) };
}

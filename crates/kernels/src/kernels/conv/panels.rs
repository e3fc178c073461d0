//! Sums over framed planes with the channels that are made as vectors: every place of the result
//! broadcasts its sources to the weights of a panel of channels. No width of the image is a waste, and
//! the frame is read element by element, wherever steps take it.
//!
//! What is made is what [`super::strip`] makes: the same chains of multiply-adds.

use super::direct::{Direct, FRAMED, GRAIN, TASKS, block};
use super::frame::Sweep;
use crate::kernels::matmul::{Float, Vector, Work, transpose};

/// Places worked on at once: enough for a panel of the weight to be packed and read for.
const PLACES: usize = 384;
/// Terms of a block, at most: a panel of them and the sources of a tile of places stay in L1.
const TERMS: usize = 128;
/// Sums kept between blocks of channels.
const SUMS: usize = 1 << 15;
/// Channels of a part are a multiple of this, of every level's panels.
const PART: usize = 32;
/// Elements of the longest vector.
const LANES: usize = 16;
/// Passes over the weight from which on it is packed before.
const PASSES: usize = 4;

/// How the work is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Images of a task.
    pub(super) images: usize,
    /// Bands of rows of an image.
    pub(super) bands: usize,
    /// Parts of the channels made, and their channels.
    parts: usize,
    part: usize,
    /// Whether the weight is packed before.
    ready: bool,
}

impl Cut {
    pub(super) fn new(direct: &Direct) -> Self {
        let d = direct;
        let most = |f: &dyn Fn(&Sweep) -> usize| d.sweeps.iter().map(f).max().unwrap_or(1).max(1);
        let places = most(&|s| s.places());
        let work = (d.groups * d.inputs * d.outputs)
            * d.sweeps.iter().map(|s| s.taps.len() * s.places()).sum::<usize>();
        let images = PLACES.div_ceil(places).max(GRAIN / work.max(1)).clamp(1, d.batch.max(1));
        let tasks = d.batch.div_ceil(images).max(1);
        let wanted = TASKS.div_ceil(tasks).min(images * work / GRAIN).max(1);
        // Either the weight is read, or the image is framed, once for each: the smaller one.
        let rows = most(&|s| s.size[0] * s.size[1]);
        let weight = d.outputs * d.inputs * d.taps;
        let image = d.inputs * d.source.iter().product::<usize>();
        let (parts, bands) = if weight > image || images > 1 {
            let parts = wanted.min(d.outputs.div_ceil(PART)).max(1);
            (parts, if images > 1 { 1 } else { wanted.div_ceil(parts) })
        } else {
            let bands = wanted.min(places.div_ceil(PLACES)).max(1);
            (wanted.div_ceil(bands), bands)
        };
        let part = d.outputs.div_ceil(parts).next_multiple_of(PART);
        let parts = d.outputs.div_ceil(part).max(1);
        let bands = bands.min(rows);
        let passes = tasks * (images * places).div_ceil(PLACES).max(bands);
        Self { images, bands, parts, part, ready: passes >= PASSES }
    }

    pub(super) fn tasks(&self, batch: usize) -> usize {
        batch.div_ceil(self.images) * self.bands * self.parts
    }

    /// The same for one image by itself, in one task.
    pub(super) fn alone(&self) -> Self {
        let part = self.part * self.parts;
        Self { images: 1, bands: 1, parts: 1, part, ready: false }
    }

    /// Elements of the packed weight, and parts of packing it.
    pub(super) fn packed(&self, d: &Direct) -> usize {
        if !self.ready {
            return 0;
        }
        d.groups * d.outputs.next_multiple_of(LANES) * d.inputs * d.taps
    }
    pub(super) fn packs(&self, d: &Direct) -> usize {
        if self.ready { d.groups * d.outputs.div_ceil(PART) } else { 0 }
    }

    pub(super) fn scratch(&self, d: &Direct) -> usize {
        let each = |s: &Sweep| {
            let layout = Layout::new(d, self, s);
            layout.together * layout.frame
                + d.terms(s) * 2 * LANES
                + layout.sums * self.channels(d, &layout).next_multiple_of(PART)
        };
        d.sweeps.iter().map(each).max().unwrap_or(0)
    }

    /// Channels made at once.
    fn channels(&self, d: &Direct, layout: &Layout) -> usize {
        if layout.channels >= d.inputs {
            return PART;
        }
        (SUMS / layout.sums / PART * PART).clamp(PART, self.part)
    }
}

impl Direct {
    /// Terms of a block, at most.
    fn terms(&self, sweep: &Sweep) -> usize {
        block(sweep, self.inputs, TERMS) * sweep.taps.len()
    }
}

/// How framed planes and sums lie in a task's buffer.
struct Layout {
    /// The sweep over frames with all columns, whatever the steps.
    sweep: Sweep,
    /// Channels framed at once.
    channels: usize,
    /// Rows and columns of a segment, at most.
    rows: usize,
    columns: usize,
    line: usize,
    plane: usize,
    frame: usize,
    /// Segments framed at once.
    together: usize,
    /// Places of these, filled up.
    sums: usize,
}

impl Layout {
    fn new(d: &Direct, cut: &Cut, of: &Sweep) -> Self {
        let channels = block(of, d.inputs, TERMS);
        let [deep, high, wide] = of.size.map(|n| n.max(1));
        let even = |n: usize, most: usize| n.div_ceil(n.div_ceil(most.max(1)));
        let mut columns = even(wide, PLACES);
        let mut rows = if columns < wide { 1 } else { even(high, PLACES / wide) };
        let planes = (channels * of.taps.counts()[0]).max(1);
        loop {
            let mut sweep = of.clone();
            sweep.step[2] = 1;
            sweep.size[2] = (columns - 1) * of.step[2] + 1;
            let line = sweep.line(1);
            // An odd number of lines of the cache, so that planes do not fall on one another there.
            let plane = ((sweep.rows(rows) * line).div_ceil(16) * 16) | 16;
            let frame = planes * plane;
            if frame > FRAMED && rows * columns > 8 {
                if rows > 1 {
                    rows = rows.div_ceil(2);
                } else {
                    columns = columns.div_ceil(2);
                }
                continue;
            }
            let places = rows * columns;
            let all = cut.images * deep * high.div_ceil(rows) * wide.div_ceil(columns);
            let together = (FRAMED / frame).min(PLACES / places).clamp(1, all);
            // Tiles of places may be filled up to eight.
            let sums = together * places + 8;
            return Self { sweep, channels, rows, columns, line, plane, frame, together, sums };
        }
    }
}

/// Rows of results, or a part of one.
#[derive(Clone, Copy)]
struct Segment {
    image: usize,
    depth: usize,
    from: usize,
    to: usize,
    left: usize,
    right: usize,
}

/// Packing of some channels of the weight.
pub(super) struct Pack<'a, T> {
    pub(super) direct: &'a Direct,
    pub(super) task: usize,
    pub(super) weight: *const T,
    pub(super) to: *mut T,
}

impl<T: Float> Work<T> for Pack<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let d = self.direct;
        let parts = d.outputs.div_ceil(PART);
        let (of, first) = (self.task / parts, self.task % parts * PART);
        let end = d.outputs.min(first + PART);
        let packed = d.outputs.next_multiple_of(V::WIDTH);
        let mut to = self.to;
        for sweep in &d.sweeps {
            let terms = d.inputs * sweep.taps.len();
            let elements: Vec<usize> = sweep.taps.elements().collect();
            for row in (first..end).step_by(2 * V::WIDTH) {
                // SAFETY: the group's part of the weight; the target holds as many elements in all.
                unsafe {
                    let to = to.add((of * packed + row) * terms);
                    pack::<V>(d, &elements, self.weight, of, row, 0, d.inputs, to);
                }
            }
            to = to.wrapping_add(d.groups * packed * terms);
        }
    }
}

/// A panel of the weight of a group, from channel `row` of the results on, for some channels read: term
/// by term. Gives its width.
///
/// # Safety
/// `weight` is dense, `to` holds a panel.
#[inline(always)]
unsafe fn pack<V: Vector>(
    d: &Direct,
    elements: &[usize],
    weight: *const V::T,
    of: usize,
    row: usize,
    first: usize,
    channels: usize,
    to: *mut V::T,
) {
    let n = (2 * V::WIDTH).min(d.outputs - row);
    let wide = n.next_multiple_of(V::WIDTH);
    let weight = weight.wrapping_add(of * d.outputs * d.inputs * d.taps);
    // SAFETY: elements of the weight; the target is the caller's.
    unsafe {
        if !d.turned {
            let column = d.inputs * d.taps;
            let from = weight.add(row * column + first * d.taps);
            transpose::<V::Pack>(from, column as isize, 1, to, n, wide, channels * d.taps);
            return;
        }
        let mut to = to;
        for input in first..first + channels {
            let from = weight.add((input * d.outputs + row) * d.taps);
            for &tap in elements {
                let from = from.add(tap);
                // A number known at compile time makes one run of moves of the loop.
                if n == 2 * V::WIDTH {
                    for i in 0..2 * V::WIDTH {
                        *to.add(i) = *from.add(i * d.taps);
                    }
                } else {
                    for i in 0..wide {
                        *to.add(i) = *from.add(i.min(n - 1) * d.taps);
                    }
                }
                to = to.add(wide);
            }
        }
    }
}

/// One task.
pub(super) struct Run<'a, T> {
    pub(super) direct: &'a Direct,
    pub(super) cut: Cut,
    pub(super) task: usize,
    pub(super) input: *const T,
    /// As packed, or as it is.
    pub(super) weight: *const T,
    /// One element for each channel made, or null.
    pub(super) bias: *const T,
    pub(super) output: *mut T,
    pub(super) scratch: *mut T,
}

impl<T: Float> Work<T> for Run<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let (d, cut) = (self.direct, self.cut);
        let part = self.task % cut.parts;
        let band = self.task / cut.parts % cut.bands;
        let first = self.task / (cut.parts * cut.bands) * cut.images;
        let images = first..d.batch.min(first + cut.images);
        let made = part * cut.part..d.outputs.min((part + 1) * cut.part);
        let mut weight = self.weight;
        let (mut segments, mut pixels) = (Vec::new(), Vec::new());
        for of in &d.sweeps {
            segments.clear();
            let layout = Layout::new(d, &cut, of);
            let wide = of.size[2];
            for image in images.clone() {
                for (depth, from, to) in of.band(band, cut.bands, layout.rows) {
                    for left in (0..wide).step_by(layout.columns) {
                        let right = wide.min(left + layout.columns);
                        segments.push(Segment { image, depth, from, to, left, right });
                    }
                }
            }
            let terms = d.inputs * of.taps.len();
            let offsets = layout.sweep.taps.offsets(layout.channels, layout.plane, layout.line, 1);
            let elements: Vec<usize> = of.taps.elements().collect();
            for segments in segments.chunks(layout.together) {
                pixels.clear();
                for (i, s) in segments.iter().enumerate() {
                    for y in 0..s.to - s.from {
                        let from = i * layout.frame + y * of.step[1] * layout.line;
                        for x in 0..s.right - s.left {
                            pixels.push(from + x * of.step[2]);
                        }
                    }
                }
                let piece = Piece {
                    of,
                    layout: &layout,
                    offsets: &offsets,
                    elements: &elements,
                    segments,
                    pixels: &pixels,
                };
                for group in 0..d.groups {
                    // SAFETY: passed on.
                    unsafe { self.group::<V>(&piece, group, made.clone(), weight) };
                }
            }
            if cut.ready {
                let packed = d.outputs.next_multiple_of(V::WIDTH);
                weight = weight.wrapping_add(d.groups * packed * terms);
            }
        }
    }
}

/// Some segments of a sweep.
struct Piece<'a> {
    of: &'a Sweep,
    layout: &'a Layout,
    offsets: &'a [usize],
    elements: &'a [usize],
    segments: &'a [Segment],
    /// Where in the frames the first source of each place lies.
    pixels: &'a [usize],
}

impl<T: Float> Run<'_, T> {
    /// Some channels of a group in some segments.
    #[inline(always)]
    unsafe fn group<V: Vector<T = T>>(
        &self,
        piece: &Piece<'_>,
        of: usize,
        made: std::ops::Range<usize>,
        weight: *const T,
    ) {
        let (d, layout) = (self.direct, piece.layout);
        let taps = piece.elements.len();
        let terms = d.inputs * taps;
        let pixels = d.source.iter().product::<usize>();
        let panel = 2 * V::WIDTH;
        let together = self.cut.channels(d, layout);
        let buffer = self.scratch.wrapping_add(layout.together * layout.frame);
        let sums = buffer.wrapping_add(d.terms(piece.of) * 2 * LANES);
        // SAFETY: the parts of scratch, the channels of the group in each image, the group's weight.
        unsafe {
            for row in made.clone().step_by(together) {
                let rows = row..made.end.min(row + together);
                for channel in (0..d.inputs).step_by(layout.channels) {
                    let channels = layout.channels.min(d.inputs - channel);
                    if row == made.start || channels < d.inputs {
                        self.fill(piece, of, channel, channels, pixels);
                    }
                    let offsets = &piece.offsets[..channels * taps];
                    for row in rows.clone().step_by(panel) {
                        let n = panel.min(d.outputs - row);
                        let wide = n.next_multiple_of(V::WIDTH);
                        let weight = if self.cut.ready {
                            let packed = d.outputs.next_multiple_of(V::WIDTH);
                            weight.add((of * packed + row) * terms + channel * taps * wide)
                        } else {
                            pack::<V>(
                                d,
                                piece.elements,
                                weight,
                                of,
                                row,
                                channel,
                                channels,
                                buffer,
                            );
                            buffer.cast_const()
                        };
                        let panel = Panel {
                            offsets,
                            frame: self.scratch.cast_const(),
                            weight,
                            sums: sums.add((row - rows.start) * layout.sums),
                            first: channel == 0,
                        };
                        if n > V::WIDTH {
                            panel.all::<V, 2>(piece.pixels);
                        } else {
                            panel.all::<V, 1>(piece.pixels);
                        }
                    }
                }
                for row in rows.clone().step_by(panel) {
                    let n = panel.min(d.outputs - row);
                    let sums = sums.add((row - rows.start) * layout.sums);
                    let wide = n.next_multiple_of(V::WIDTH);
                    self.put::<V::Pack>(piece, of * d.outputs + row, n, sums.cast_const(), wide);
                }
            }
        }
    }

    /// Frames some channels of a group.
    #[inline(always)]
    unsafe fn fill(
        &self,
        piece: &Piece<'_>,
        of: usize,
        channel: usize,
        channels: usize,
        pixels: usize,
    ) {
        let (d, layout) = (self.direct, piece.layout);
        for (i, s) in piece.segments.iter().enumerate() {
            let plane = (s.image * d.groups + of) * d.inputs + channel;
            // SAFETY: the channels of the group in the image, and the segment's frame.
            unsafe {
                layout.sweep.fill(
                    self.input.add(plane * pixels),
                    d.source,
                    channels,
                    s.depth,
                    s.from..s.to,
                    self.scratch.add(i * layout.frame),
                    s.left * piece.of.step[2],
                    layout.plane,
                    layout.line,
                );
            }
        }
    }

    /// Turns the sums of `n` channels from `channel` on, `wide` apart, to where they belong.
    #[inline(always)]
    unsafe fn put<V: Vector<T = T>>(
        &self,
        piece: &Piece<'_>,
        channel: usize,
        n: usize,
        sums: *const T,
        wide: usize,
    ) {
        let (d, of) = (self.direct, piece.of);
        let places = d.result.iter().product::<usize>();
        let mut sums = sums;
        for s in piece.segments {
            let whole = of.every[1] == 1 && of.every[2] == 1 && of.size[2] == d.result[2];
            let columns = s.right - s.left;
            // Whole rows follow one another.
            let (lines, length) = if whole && columns == of.size[2] {
                (1, (s.to - s.from) * columns)
            } else {
                (s.to - s.from, columns)
            };
            for line in 0..lines {
                let row = (of.first[0] + s.depth * of.every[0]) * d.result[1]
                    + of.first[1]
                    + (s.from + line) * of.every[1];
                let at = row * d.result[2] + of.first[2] + s.left * of.every[2];
                let plane = s.image * d.groups * d.outputs + channel;
                // SAFETY: the segment's results and sums.
                unsafe {
                    let to = self.output.add(plane * places + at);
                    for first in (0..n).step_by(V::WIDTH) {
                        let bias = if self.bias.is_null() {
                            self.bias
                        } else {
                            self.bias.add(channel + first)
                        };
                        Turn {
                            from: sums.add(first),
                            apart: wide,
                            to: to.add(first * places),
                            plane: places,
                            every: of.every[2],
                            bias,
                        }
                        .run::<V>(length, V::WIDTH.min(n - first));
                    }
                    sums = sums.add(length * wide);
                }
            }
        }
    }
}

/// Sums that are turned: a vector of channels for each place to places for each channel.
struct Turn<T> {
    from: *const T,
    apart: usize,
    to: *mut T,
    plane: usize,
    every: usize,
    bias: *const T,
}

impl<T: Float> Turn<T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(&self, length: usize, channels: usize) {
        let whole = self.every == 1 && length >= V::WIDTH && V::WIDTH > 1;
        // SAFETY: places and channels are the caller's.
        unsafe {
            if whole {
                let mut at = 0;
                while at < length {
                    // The last lie over those before.
                    let place = at.min(length - V::WIDTH);
                    let mut square = [V::splat(T::ZERO); 8];
                    for (i, lane) in square.iter_mut().enumerate().take(V::WIDTH) {
                        *lane = V::load(self.from.add((place + i) * self.apart));
                    }
                    V::turn(&mut square);
                    for (i, lane) in square.iter().enumerate().take(V::WIDTH) {
                        if i < channels {
                            let bias = V::splat(self.shift(i));
                            bias.plus(*lane).store(self.to.add(i * self.plane + place));
                        }
                    }
                    at += V::WIDTH;
                }
                return;
            }
            for i in 0..channels {
                let bias = self.shift(i);
                let to = self.to.add(i * self.plane);
                for place in 0..length {
                    *to.add(place * self.every) = bias + *self.from.add(place * self.apart + i);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn shift(&self, channel: usize) -> T {
        // SAFETY: the caller's bias, if there is one.
        if self.bias.is_null() { T::ZERO } else { unsafe { *self.bias.add(channel) } }
    }
}

/// What the innermost loop reads and writes.
struct Panel<'a, T> {
    offsets: &'a [usize],
    frame: *const T,
    weight: *const T,
    sums: *mut T,
    /// Whether these are the first terms.
    first: bool,
}

impl<T: Float> Panel<'_, T> {
    #[inline(always)]
    unsafe fn all<V: Vector<T = T>, const VECTORS: usize>(&self, pixels: &[usize]) {
        macro_rules! tiles {
            ($most:literal $($n:literal)*) => {{
                let mut at = 0;
                while at < pixels.len() {
                    let left = &pixels[at..];
                    // SAFETY: passed on.
                    unsafe {
                        let to = self.sums.add(at * VECTORS * V::WIDTH);
                        match left.len() {
                            $(..=$n => self.micro::<V, $n, VECTORS>(left, to),)*
                            _ => self.micro::<V, $most, VECTORS>(left, to),
                        }
                    }
                    at += $most;
                }
            }};
        }
        match V::ROWS {
            7.. => tiles!(8 2 4),
            6 => tiles!(6 2 4),
            _ => tiles!(4 2),
        }
    }

    /// The first `ROWS` places, or fewer: the last one again then.
    #[inline(always)]
    unsafe fn micro<V: Vector<T = T>, const ROWS: usize, const VECTORS: usize>(
        &self,
        pixels: &[usize],
        to: *mut T,
    ) {
        // SAFETY: the caller vouches for the frame, the weight, the sums and the instruction set.
        unsafe {
            let last = pixels.len() - 1;
            let from: [*const T; ROWS] =
                std::array::from_fn(|i| self.frame.add(pixels[i.min(last)]));
            let mut sums = [[V::splat(T::ZERO); VECTORS]; ROWS];
            let mut weight = self.weight;
            for &offset in self.offsets {
                let mut columns = [V::splat(T::ZERO); VECTORS];
                for (v, column) in columns.iter_mut().enumerate() {
                    *column = V::load(weight.add(v * V::WIDTH));
                }
                for (sums, from) in sums.iter_mut().zip(&from) {
                    let x = V::splat(*from.add(offset));
                    for (sum, &column) in sums.iter_mut().zip(&columns) {
                        *sum = x.fused(column, *sum);
                    }
                }
                weight = weight.add(VECTORS * V::WIDTH);
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    let to = to.add((r * VECTORS + v) * V::WIDTH);
                    if self.first { sum } else { V::load(to).plus(sum) }.store(to);
                }
            }
        }
    }
}

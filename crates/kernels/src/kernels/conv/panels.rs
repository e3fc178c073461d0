//! Sums over framed planes with the channels that are made as vectors: every place of the result
//! broadcasts its sources to the weights of a panel of channels. No width of the image is a waste, and
//! the frame is read element by element, wherever steps take it.
//!
//! What is made is what [`super::strip`] makes: the same chains of multiply-adds, but for rows of the
//! kernel that lie in the padding, if leaving them out is worth it.

use std::ops::Range;

use super::direct::{Direct, FRAMED, GRAIN, Task, block};
use super::frame::Sweep;
use super::turn::Turn;
use crate::kernels::matmul::{Float, Vector, Work, transpose};

/// Places worked on at once: enough for a panel of the weight to be packed and read for.
const PLACES: usize = 384;
/// Terms of a block, at most: a panel of them and the sources of a tile of places stay in L1.
const TERMS: usize = 128;
/// Sums kept between blocks of channels.
const SUMS: usize = 1 << 16;
/// Channels of a part are a multiple of this, of every level's panels.
const PART: usize = 32;
/// Elements of the longest vector.
const LANES: usize = 16;
/// Passes over the weight from which on it is packed before.
const PASSES: usize = 4;
/// Places of a tile, at most.
const TILE: usize = 8;
/// Kinds of rows, by which rows of the kernel lie inside the image, that are told apart at most.
const KINDS: usize = 16;
/// Terms of a sum from which on they are.
const LONG: usize = 128;

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
    /// Whether rows of the kernel in the padding are left out: a matter of the convolution alone, since
    /// what is not finite tells.
    sparse: bool,
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
        let wanted = super::tasks().div_ceil(tasks).min(images * work / GRAIN).max(1);
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
        let sparse = d.sweeps.iter().all(|s| Self::pays(d, s));
        Self { images, bands, parts, part, ready: passes >= PASSES, sparse }
    }

    /// Whether the rows of the kernel that lie in the padding are more than the tiles that end with each
    /// kind of rows.
    fn pays(d: &Direct, sweep: &Sweep) -> bool {
        let [deep, high, wide] = sweep.size;
        let (whole, all) = (sweep.taps.len(), d.batch * sweep.places());
        if d.inputs * whole < LONG || deep * high > PLACES {
            return false;
        }
        let counts = sweep.taps.counts();
        let (mut kinds, mut left) = (Vec::new(), 0);
        for row in 0..deep * high {
            let [z, y] = sweep.within(d.source, row / high, row % high);
            left += (counts[0] * counts[1] - z.len() * y.len()) * counts[2];
            if !kinds.contains(&[z.clone(), y.clone()]) {
                kinds.push([z, y]);
            }
        }
        // In places of all terms.
        let spared = d.batch * wide * left / whole.max(1);
        // Tiles end with 8, 4 or 2 places.
        let wasted = kinds.len() * TILE / 4 * all.div_ceil(PLACES);
        kinds.len() <= KINDS && spared > wasted + all / 32
    }

    pub(super) fn tasks(&self, batch: usize) -> usize {
        batch.div_ceil(self.images) * self.bands * self.parts
    }

    /// The same for one image by itself, in one task.
    pub(super) fn alone(&self) -> Self {
        let part = self.part * self.parts;
        Self { images: 1, bands: 1, parts: 1, part, ready: false, sparse: self.sparse }
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
            let most = (FRAMED / frame).min(PLACES.div_ceil(places)).clamp(1, all);
            let together = all.div_ceil(all.div_ceil(most));
            // Tiles of places may be filled up, those of each kind of rows.
            let kinds = if cut.sparse { KINDS } else { 1 };
            let sums = together * places + TILE * kinds;
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
    pub(super) of: Task<T>,
}

impl<T: Float> Work<T> for Run<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let (d, cut) = (self.direct, self.cut);
        let part = self.of.task % cut.parts;
        let band = self.of.task / cut.parts % cut.bands;
        let first = self.of.task / (cut.parts * cut.bands) * cut.images;
        let images = first..d.batch.min(first + cut.images);
        let made = part * cut.part..d.outputs.min((part + 1) * cut.part);
        let mut weight = self.of.weight;
        let (mut segments, mut rows, mut slots) = (Vec::new(), Vec::new(), Vec::new());
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
            let mut kinds = Vec::<Kind>::new();
            for segments in segments.chunks(layout.together) {
                for kind in &mut kinds {
                    kind.pixels.clear();
                }
                rows.clear();
                for (i, s) in segments.iter().enumerate() {
                    for y in 0..s.to - s.from {
                        let kind = self.kind(of, &offsets, s.depth, s.from + y, &mut kinds);
                        let pixels = &mut kinds[kind].pixels;
                        rows.push((kind, pixels.len()));
                        let from = i * layout.frame + y * of.step[1] * layout.line;
                        for x in 0..s.right - s.left {
                            pixels.push(from + x * of.step[2]);
                        }
                    }
                }
                slots.clear();
                let mut start = 0;
                for kind in &mut kinds {
                    kind.start = start;
                    start += kind.pixels.len().next_multiple_of(TILE);
                }
                let mut row = rows.iter();
                for s in segments {
                    for &(kind, at) in row.by_ref().take(s.to - s.from) {
                        let first = kinds[kind].start + at;
                        slots.extend(first..first + s.right - s.left);
                    }
                }
                let piece = Piece {
                    of,
                    layout: &layout,
                    elements: &elements,
                    segments,
                    kinds: &kinds,
                    slots: &slots,
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
    elements: &'a [usize],
    segments: &'a [Segment],
    kinds: &'a [Kind],
    /// Where the sums of each place lie.
    slots: &'a [usize],
}

/// Rows of results that are made of the same rows of the kernel.
struct Kind {
    /// Along depth and height.
    within: [Range<usize>; 2],
    terms: Vec<Term>,
    /// Terms of each channel read.
    each: usize,
    /// Where in the frames the first source of each place lies.
    pixels: Vec<usize>,
    /// Where the sums of the first of these lie.
    start: usize,
}

/// Where a term's source lies, from a place's first, and its number among all.
#[derive(Clone, Copy)]
struct Term {
    source: u32,
    weight: u32,
}

impl<T: Float> Run<'_, T> {
    /// The kind of a row, among those known or as a new one.
    fn kind(
        &self,
        of: &Sweep,
        offsets: &[usize],
        depth: usize,
        row: usize,
        kinds: &mut Vec<Kind>,
    ) -> usize {
        let [deep, high, wide] = of.taps.counts();
        let within = if self.cut.sparse {
            of.within(self.direct.source, depth, row)
        } else {
            [0..deep, 0..high]
        };
        if let Some(known) = kinds.iter().position(|kind| kind.within == within) {
            return known;
        }
        let [z, y] = &within;
        let terms = offsets.iter().enumerate().filter_map(|(i, &offset)| {
            let inside = z.contains(&(i / (high * wide) % deep)) && y.contains(&(i / wide % high));
            inside.then_some(Term { source: offset as u32, weight: i as u32 })
        });
        let (terms, each) = (terms.collect(), z.len() * y.len() * wide);
        kinds.push(Kind { within, terms, each, pixels: Vec::new(), start: 0 });
        kinds.len() - 1
    }

    /// Some channels of a group in some segments.
    #[inline(always)]
    unsafe fn group<V: Vector<T = T>>(
        &self,
        piece: &Piece<'_>,
        of: usize,
        made: Range<usize>,
        weight: *const T,
    ) {
        let (d, layout) = (self.direct, piece.layout);
        let taps = piece.elements.len();
        let terms = d.inputs * taps;
        let pixels = d.source.iter().product::<usize>();
        let panel = 2 * V::WIDTH;
        let together = self.cut.channels(d, layout);
        let buffer = self.of.scratch.wrapping_add(layout.together * layout.frame);
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
                        for kind in piece.kinds {
                            let sums = sums.add((row - rows.start) * layout.sums);
                            let panel = Panel {
                                terms: &kind.terms[..channels * kind.each],
                                frame: self.of.scratch.cast_const(),
                                weight,
                                sums: sums.add(kind.start * wide),
                                first: channel == 0,
                            };
                            if n > V::WIDTH {
                                panel.all::<V, 2>(&kind.pixels);
                            } else {
                                panel.all::<V, 1>(&kind.pixels);
                            }
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
                    self.of.input.add(plane * pixels),
                    d.source,
                    channels,
                    s.depth,
                    s.from..s.to,
                    self.of.scratch.add(i * layout.frame),
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
        let mut slots = piece.slots;
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
                    let to = self.of.output.add(plane * places + at);
                    for first in (0..n).step_by(V::WIDTH) {
                        let bias = self.of.biases(channel + first);
                        Turn {
                            from: sums.add(first),
                            slots: &slots[..length],
                            apart: wide,
                            to: to.add(first * places),
                            plane: places,
                            every: of.every[2],
                            bias,
                        }
                        .run::<V>(V::WIDTH.min(n - first));
                    }
                }
                slots = &slots[length..];
            }
        }
    }
}

/// What the innermost loop reads and writes.
struct Panel<'a, T> {
    terms: &'a [Term],
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
            for term in self.terms {
                let weight = self.weight.add(term.weight as usize * VECTORS * V::WIDTH);
                let mut columns = [V::splat(T::ZERO); VECTORS];
                for (v, column) in columns.iter_mut().enumerate() {
                    *column = V::load(weight.add(v * V::WIDTH));
                }
                for (sums, from) in sums.iter_mut().zip(&from) {
                    let x = V::splat(*from.add(term.source as usize));
                    for (sum, &column) in sums.iter_mut().zip(&columns) {
                        *sum = x.fused(column, *sum);
                    }
                }
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

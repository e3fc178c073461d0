//! Images as sums of products over planes framed by zeros: the output from the input, or the gradient
//! of the input from that of the output. Vectors of the image are read where they lie in the frame, at
//! the distances that the elements of the kernel have from each other; nothing is gathered to patches.
//!
//! Every element is a chain of multiply-adds over the elements of the kernel for some channels, block
//! of channels after block: the bits depend on the convolution alone.

use super::Conv;
use super::frame::{Sweep, Taps};
use super::strip::{STRIP, Strip, Unit};
use crate::kernels::matmul::{
    Float, KC, Leveled, SLACK, Strides, Vector, Work, at_level, group, pack_rows,
};

/// Elements of framed planes worked on at once: they stay in L2.
const FRAMED: usize = 1 << 16;
/// Multiply-adds of a task, at least; and tasks that a convolution is cut into if it has as many.
const GRAIN: usize = 1 << 19;
const TASKS: usize = 8;
/// Rows of the weight that are packed at once: a multiple of the rows of every tile.
const ROWS: usize = 48;

/// A convolution as such sums.
#[derive(Clone, Debug)]
pub struct Direct {
    batch: usize,
    groups: usize,
    /// Channels of a group, read and made.
    inputs: usize,
    outputs: usize,
    source: [usize; 3],
    result: [usize; 3],
    /// Whether the gradient of the input is made: the weight's channels change places.
    turned: bool,
    /// Elements of the kernel.
    taps: usize,
    sweeps: Vec<Sweep>,
    /// Images of a task, and tasks of an image; one of them is 1.
    images: usize,
    bands: usize,
}

impl Conv {
    /// The output.
    pub fn direct(&self) -> Direct {
        let conv = self.flat();
        let sweep = Sweep {
            taps: conv.taps(),
            before: conv.padding.map(|n| n as isize),
            step: conv.stride,
            size: conv.output,
            first: [0; 3],
            every: [1; 3],
        };
        Direct::new(&conv, false, vec![sweep])
    }

    /// The gradient of the input: one sweep with a part of the kernel for each remainder that places
    /// have by the steps.
    pub fn direct_back(&self) -> Direct {
        let conv = self.flat();
        let mut sweeps = Vec::new();
        for rest in 0..conv.stride.iter().product() {
            let [_, high, wide] = conv.stride;
            let rest = [rest / (high * wide), rest / wide % high, rest % wide];
            // Places i with (i + padding) % stride == rest get g[(i + padding - k * dilation) / stride].
            let first = [0, 1, 2].map(|i| {
                let (step, pad) = (conv.stride[i], conv.padding[i]);
                (rest[i] + step - pad % step) % step
            });
            let from = [0, 1, 2]
                .map(|i| ((first[i] + conv.padding[i] - rest[i]) / conv.stride[i]) as isize);
            let back = [0, 1, 2].map(|i| {
                (0..conv.kernel[i])
                    .filter(|k| k * conv.dilation[i] % conv.stride[i] == rest[i])
                    .map(|k| (k, (k * conv.dilation[i] - rest[i]) / conv.stride[i]))
                    .collect::<Vec<_>>()
            });
            let reach = [0, 1, 2].map(|i| back[i].last().map_or(0, |&(_, at)| at));
            let taps = [0, 1, 2]
                .map(|i| back[i].iter().map(|&(k, at)| (k, reach[i] - at)).rev().collect());
            sweeps.push(Sweep {
                taps: Taps::new(taps, [conv.kernel[1], conv.kernel[2]]),
                before: [0, 1, 2].map(|i| reach[i] as isize - from[i]),
                step: [1; 3],
                size: [0, 1, 2]
                    .map(|i| conv.input[i].saturating_sub(first[i]).div_ceil(conv.stride[i])),
                first,
                every: conv.stride,
            });
        }
        Direct::new(&conv, true, sweeps)
    }
}

/// Channels of a block of terms.
fn block(sweep: &Sweep, inputs: usize) -> usize {
    (KC / sweep.taps.len().max(1)).clamp(1, inputs.max(1))
}

impl Direct {
    fn new(conv: &Conv, turned: bool, sweeps: Vec<Sweep>) -> Self {
        let (a, b) = (conv.channels / conv.groups, conv.outputs / conv.groups);
        let (inputs, outputs) = if turned { (b, a) } else { (a, b) };
        let (source, result) =
            if turned { (conv.output, conv.input) } else { (conv.input, conv.output) };
        let each = |s: &Sweep| s.taps.len() * s.places();
        let work = (conv.groups * inputs * outputs * sweeps.iter().map(each).sum::<usize>()).max(1);
        let bands = if conv.batch < TASKS && conv.batch > 0 {
            TASKS.div_ceil(conv.batch).min(work / GRAIN).min(result[0] * result[1]).max(1)
        } else {
            1
        };
        let images = (GRAIN / work).clamp(1, conv.batch.div_ceil(TASKS).max(1));
        Self {
            batch: conv.batch,
            groups: conv.groups,
            inputs,
            outputs,
            source,
            result,
            turned,
            taps: conv.kernel.iter().product(),
            sweeps,
            images,
            bands,
        }
    }

    /// The same for one image by itself, in one task.
    pub fn alone(&self) -> Self {
        Self { batch: 1, images: 1, bands: 1, ..self.clone() }
    }

    /// Independent parts of the work.
    pub fn tasks(&self) -> usize {
        self.batch.div_ceil(self.images) * self.bands
    }

    /// Elements of the packed weight.
    pub fn packed(&self) -> usize {
        self.groups * self.outputs * self.inputs * self.taps + SLACK
    }

    /// Parts of packing the weight.
    pub fn packs(&self) -> usize {
        self.groups * self.outputs.div_ceil(ROWS)
    }

    /// Elements of the buffer that a task works in.
    pub fn scratch(&self) -> usize {
        let each = |s: &Sweep| {
            [2, 4, 8, 16].map(|lanes| {
                let layout = Layout::new(self, s, lanes);
                layout.together * layout.frame
            })
        };
        self.sweeps.iter().flat_map(each).max().unwrap_or(0)
    }

    /// Whether strips of rows are made of one channel at a time.
    fn strips(&self, sweep: &Sweep) -> bool {
        let [_, high, _] = sweep.taps.counts();
        self.inputs == 1
            && self.outputs == 1
            && sweep.step[1] == 1
            && sweep.every[2] == 1
            && sweep.taps.counts()[0] == 1
            && (2..=7).contains(&high)
            && sweep.taps.dense_rows()
    }
}

/// How framed planes lie in a task's buffer.
struct Layout {
    /// Channels framed at once.
    channels: usize,
    /// Rows of results of one segment, at most.
    rows: usize,
    /// Elements from one row of results to the next, from one plane to the next, of a segment.
    line: usize,
    plane: usize,
    frame: usize,
    /// Segments framed at once.
    together: usize,
    strips: bool,
}

impl Layout {
    fn new(direct: &Direct, sweep: &Sweep, lanes: usize) -> Self {
        let channels = block(sweep, direct.inputs);
        let strips = direct.strips(sweep);
        let line = sweep.line(lanes);
        let planes = channels * sweep.taps.counts()[0];
        let plane = |rows: usize| {
            let rows = if strips { rows.next_multiple_of(STRIP) } else { rows };
            // An odd number of lines of the cache, so that planes do not fall on one another there.
            ((sweep.rows(rows) * line).div_ceil(16).max(1) * 16) | 16
        };
        let mut rows = sweep.size[1].max(1);
        while rows > 1 && planes * plane(rows) > FRAMED {
            rows = rows.div_ceil(2);
        }
        let frame = planes.max(1) * plane(rows);
        let together = (FRAMED / frame).clamp(1, direct.images * sweep.size[0].max(1));
        Self { channels, rows, line, plane: plane(rows), frame, together, strips }
    }
}

/// Rows of results, next to each other in one plane of one image.
#[derive(Clone, Copy)]
struct Segment {
    image: usize,
    depth: usize,
    from: usize,
    to: usize,
}

/// Packing of some rows of the weight.
struct Pack<'a, T> {
    direct: &'a Direct,
    task: usize,
    weight: *const T,
    to: *mut T,
}

impl<T: Float> Work<T> for Pack<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let d = self.direct;
        let parts = d.outputs.div_ceil(ROWS);
        let (of, first) = (self.task / parts, self.task % parts * ROWS);
        let rows = ROWS.min(d.outputs - first);
        let weight = self.weight.wrapping_add(of * d.outputs * d.inputs * d.taps);
        let mut to = self.to;
        for sweep in &d.sweeps {
            let taps = sweep.taps.len();
            let terms = d.inputs * taps;
            // SAFETY: the group's part of the weight; the target holds as many elements in all.
            unsafe {
                let to = to.add((of * d.outputs + first) * terms);
                if d.turned {
                    let elements: Vec<usize> = sweep.taps.elements().collect();
                    let mut row = 0;
                    while row < rows {
                        let several = group::<V>(rows - row);
                        let mut to = to.add(row * terms);
                        for input in 0..d.inputs {
                            let from = weight.add((input * d.outputs + first + row) * d.taps);
                            for &tap in &elements {
                                let from = from.add(tap);
                                // A number known at compile time makes one run of moves of the loop.
                                if several == V::ROWS {
                                    for i in 0..V::ROWS {
                                        *to.add(i) = *from.add(i * d.taps);
                                    }
                                } else {
                                    for i in 0..several {
                                        *to.add(i) = *from.add(i * d.taps);
                                    }
                                }
                                to = to.add(several);
                            }
                        }
                        row += several;
                    }
                } else {
                    let strides = Strides { row: terms as isize, column: 1 };
                    pack_rows::<V>(weight.add(first * terms), strides, rows, terms, to);
                }
            }
            to = to.wrapping_add(d.groups * d.outputs * terms);
        }
    }
}

/// One task.
struct Run<'a, T> {
    direct: &'a Direct,
    task: usize,
    input: *const T,
    /// As packed.
    weight: *const T,
    /// One element for each channel made, or null.
    bias: *const T,
    output: *mut T,
    scratch: *mut T,
}

impl<T: Float> Work<T> for Run<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let d = self.direct;
        let (first, band) = (self.task / d.bands * d.images, self.task % d.bands);
        let images = first..d.batch.min(first + d.images);
        let mut weight = self.weight;
        let (mut segments, mut units, mut later) = (Vec::new(), Vec::new(), Vec::new());
        for sweep in &d.sweeps {
            let terms = d.inputs * sweep.taps.len();
            let layout = Layout::new(d, sweep, V::WIDTH);
            let offsets =
                sweep.taps.offsets(layout.channels, layout.plane, layout.line, sweep.step[2]);
            segments.clear();
            let [depth, high, wide] = sweep.size;
            let all = depth * high;
            let (start, end) = (all * band / d.bands, all * (band + 1) / d.bands);
            for image in images.clone() {
                let mut row = start;
                while row < end && wide > 0 {
                    let (depth, from) = (row / high, row % high);
                    let to = high.min(from + layout.rows).min(from + end - row);
                    segments.push(Segment { image, depth, from, to });
                    row += to - from;
                }
            }
            if sweep.taps.len() == 0 {
                // SAFETY: the segments' results.
                segments.iter().for_each(|segment| unsafe { self.blank(sweep, segment) });
                continue;
            }
            for segments in segments.chunks(layout.together) {
                self.units::<V>(sweep, &layout, segments, &mut units, true);
                if layout.channels < d.inputs {
                    self.units::<V>(sweep, &layout, segments, &mut later, false);
                }
                for group in 0..d.groups {
                    // SAFETY: the group's part of the weight.
                    unsafe {
                        let weight = weight.add(group * d.outputs * terms);
                        let units = [&units[..], &later[..]];
                        self.group::<V>(sweep, &layout, &offsets, segments, units, group, weight);
                    }
                }
            }
            weight = weight.wrapping_add(d.groups * d.outputs * terms);
        }
    }
}

impl<T: Float> Run<'_, T> {
    /// The vectors of results of some segments; of strips, the first of each. If `overlap`, the last
    /// of a row lies over the one before, so that it is whole.
    #[inline(always)]
    fn units<V: Vector>(
        &self,
        sweep: &Sweep,
        layout: &Layout,
        segments: &[Segment],
        units: &mut Vec<Unit>,
        overlap: bool,
    ) {
        let d = self.direct;
        let image = d.groups * d.outputs * d.result.iter().product::<usize>();
        units.clear();
        let by = if layout.strips { STRIP } else { 1 };
        for (i, s) in segments.iter().enumerate() {
            for y in (s.from..s.to).step_by(by) {
                let row = (sweep.first[0] + s.depth * sweep.every[0]) * d.result[1]
                    + sweep.first[1]
                    + y * sweep.every[1];
                let to = s.image * image + row * d.result[2] + sweep.first[2];
                let from = i * layout.frame + (y - s.from) * sweep.between(layout.line);
                let wide = sweep.size[2];
                for x in (0..wide).step_by(V::WIDTH) {
                    let x = if overlap && wide >= V::WIDTH { x.min(wide - V::WIDTH) } else { x };
                    let n = V::WIDTH.min(wide - x);
                    let rows = by.min(s.to - y);
                    units.push(Unit { from: from + x, to: to + x * sweep.every[2], n, rows });
                }
            }
        }
    }

    /// Results that come from no element of the kernel.
    #[inline(always)]
    unsafe fn blank(&self, sweep: &Sweep, segment: &Segment) {
        let d = self.direct;
        let channels = d.groups * d.outputs;
        let every = sweep.every[2];
        for channel in 0..channels {
            let plane = (segment.image * channels + channel) * d.result[0];
            let plane = plane + sweep.first[0] + segment.depth * sweep.every[0];
            for y in segment.from..segment.to {
                let row = plane * d.result[1] + sweep.first[1] + y * sweep.every[1];
                // SAFETY: the caller's output and bias.
                unsafe {
                    let bias = if self.bias.is_null() { T::ZERO } else { *self.bias.add(channel) };
                    let to = self.output.add(row * d.result[2] + sweep.first[2]);
                    for x in 0..sweep.size[2] {
                        *to.add(x * every) = bias;
                    }
                }
            }
        }
    }

    /// All results of a group in some segments.
    #[inline(always)]
    unsafe fn group<V: Vector<T = T>>(
        &self,
        sweep: &Sweep,
        layout: &Layout,
        offsets: &[usize],
        segments: &[Segment],
        units: [&[Unit]; 2],
        of: usize,
        weight: *const T,
    ) {
        let d = self.direct;
        let taps = sweep.taps.len();
        let terms = d.inputs * taps;
        let places = d.result.iter().product::<usize>();
        let pixels = d.source.iter().product::<usize>();
        let mut channel = 0;
        loop {
            let channels = layout.channels.min(d.inputs - channel);
            // SAFETY: the channels of the group in each image, and the frames of each segment.
            unsafe {
                for (i, s) in segments.iter().enumerate() {
                    let plane = (s.image * d.groups + of) * d.inputs + channel;
                    sweep.fill(
                        self.input.add(plane * pixels),
                        d.source,
                        channels,
                        s.depth,
                        s.from..if layout.strips {
                            s.from + (s.to - s.from).next_multiple_of(STRIP)
                        } else {
                            s.to
                        },
                        self.scratch.add(i * layout.frame),
                        0,
                        layout.plane,
                        layout.line,
                    );
                }
                let strip = Strip {
                    offsets: &offsets[..channels * taps],
                    frame: self.scratch,
                    to: self.output.add(of * d.outputs * places),
                    plane: places,
                    every: sweep.every[2],
                    bias: if self.bias.is_null() {
                        self.bias
                    } else {
                        self.bias.add(of * d.outputs)
                    },
                    first: channel == 0,
                };
                if layout.strips {
                    let down = sweep.every[1] * d.result[2];
                    let [_, high, wide] = sweep.taps.counts();
                    for unit in units[0] {
                        macro_rules! high {
                            ($($n:literal)*) => {
                                match high {
                                    $($n => strip.down::<V, $n>(
                                        weight, *unit, wide, layout.line * sweep.step[2], down,
                                    ),)*
                                    _ => {}
                                }
                            };
                        }
                        high!(2 3 4 5 6 7);
                    }
                } else {
                    let mut row = 0;
                    while row < d.outputs {
                        let rows = group::<V>(d.outputs - row);
                        let weight = weight.add(row * terms + channel * taps * rows);
                        strip.rows::<V>(weight, units[usize::from(channel > 0)], row, rows);
                        row += rows;
                    }
                }
            }
            channel += layout.channels;
            if channel >= d.inputs {
                break;
            }
        }
    }
}

impl<T: Float> Leveled<T> for Pack<'_, T> {
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: passed on.
        unsafe { V::within(self) }
    }
}

impl<T: Float> Leveled<T> for Run<'_, T> {
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: passed on.
        unsafe { V::within(self) }
    }
}

/// Part `task` of packing the weight, of [`Direct::packs`].
///
/// # Safety
/// `weight` is the dense weight, `to` holds as many elements as [`Direct::packed`] says. Parts are not to
/// run at the same time: each writes a little beyond its end, what a later one sets.
pub unsafe fn pack<T: Float>(direct: &Direct, task: usize, weight: *const T, to: *mut T) {
    // SAFETY: passed on.
    unsafe { at_level(Pack { direct, task, weight, to }) }
}

/// Task `task` of [`Direct::tasks`]: its part of the result, plus, if not null, a bias for each channel.
///
/// # Safety
/// `input` and `output` are dense and of the convolution's sizes, `weight` comes from [`pack`],
/// `scratch` holds as many elements as [`Direct::scratch`] says. Tasks write different results.
pub unsafe fn run<T: Float>(
    direct: &Direct,
    task: usize,
    input: *const T,
    weight: *const T,
    bias: *const T,
    output: *mut T,
    scratch: *mut T,
) {
    // SAFETY: passed on.
    unsafe { at_level(Run { direct, task, input, weight, bias, output, scratch }) }
}

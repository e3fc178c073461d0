//! Images as sums of products over planes framed by zeros: the output from the input, or the gradient
//! of the input from that of the output. Vectors of the image are read where they lie in the frame, at
//! the distances that the elements of the kernel have from each other; nothing is gathered to patches.
//!
//! Every element is a chain of multiply-adds over the elements of the kernel for some channels, block
//! of channels after block: the bits depend on the convolution alone.

use super::Conv;
use super::frame::{Sweep, Taps};
use super::halved::{self, Halved};
use super::panels::{self, Cut};
use super::planes::{self, Planes};
use super::strip::{Strip, Unit};
use crate::kernels::matmul::{Float, KC, SLACK, Strides, Vector, Work, at_level, group, pack_rows};

/// Elements of framed planes worked on at once: they stay in L2.
pub(super) const FRAMED: usize = 1 << 16;
/// Multiply-adds of a task, at least.
pub(super) const GRAIN: usize = 1 << 19;
/// Rows of the weight that are packed at once: a multiple of the rows of every tile.
const ROWS: usize = 48;

/// A convolution as such sums.
#[derive(Clone, Debug)]
pub struct Direct {
    pub(super) batch: usize,
    pub(super) groups: usize,
    /// Channels of a group, read and made.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) source: [usize; 3],
    pub(super) result: [usize; 3],
    /// Whether the gradient of the input is made: the weight's channels change places.
    pub(super) turned: bool,
    /// Elements of the kernel.
    pub(super) taps: usize,
    pub(super) sweeps: Vec<Sweep>,
    way: Way,
    /// Images of a task, and tasks of an image; one of them is 1.
    images: usize,
    bands: usize,
}

/// What makes vectors, and how the work is cut then.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Places.
    Places,
    /// Channels.
    Panels(Cut),
    /// Places of one channel, for several rows of them.
    Planes(Planes),
    /// Every other place of one channel.
    Halved(Halved),
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

/// Channels of a block of at most `terms` terms: blocks are as even as can be.
pub(super) fn block(sweep: &Sweep, inputs: usize, terms: usize) -> usize {
    let most = (terms / sweep.taps.len().max(1)).max(1);
    inputs.div_ceil(inputs.div_ceil(most).max(1)).max(1)
}

impl Direct {
    fn new(conv: &Conv, turned: bool, sweeps: Vec<Sweep>) -> Self {
        let (a, b) = (conv.channels / conv.groups, conv.outputs / conv.groups);
        let (inputs, outputs) = if turned { (b, a) } else { (a, b) };
        let (source, result) =
            if turned { (conv.output, conv.input) } else { (conv.input, conv.output) };
        let each = |s: &Sweep| s.taps.len() * s.places();
        let work = (conv.groups * inputs * outputs * sweeps.iter().map(each).sum::<usize>()).max(1);
        let wanted = super::tasks();
        let bands = if conv.batch < wanted && conv.batch > 0 {
            wanted.div_ceil(conv.batch).min(work / GRAIN).min(result[0] * result[1]).max(1)
        } else {
            1
        };
        let images = (GRAIN / work).clamp(1, conv.batch.div_ceil(wanted).max(1));
        let mut direct = Self {
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
            way: Way::Places,
        };
        if let Some(halved) = Halved::new(conv, turned) {
            direct.way = Way::Halved(halved);
        } else if let Some(planes) = Planes::new(&direct) {
            direct.way = Way::Planes(planes);
        } else if direct.by_panels() {
            direct.way = Way::Panels(Cut::new(&direct));
        }
        direct
    }

    /// Whether vectors of channels leave fewer lanes empty than vectors of places.
    fn by_panels(&self) -> bool {
        let filled = |n: usize| n as f64 / n.next_multiple_of(8).max(8) as f64;
        // Tiles of one vector of channels leave the multipliers waiting: 8 take as long as 13 of 16.
        let channels = |n: usize| {
            let rest = if (1..=8).contains(&(n % 16)) { 13 } else { (n % 16).div_ceil(16) * 16 };
            n as f64 / (n / 16 * 16 + rest) as f64
        };
        let work = |s: &Sweep| (s.places() * s.taps.len()) as f64;
        let all = self.sweeps.iter().map(work).sum::<f64>();
        let places = self.sweeps.iter().map(|s| work(s) * filled(s.size[2])).sum::<f64>();
        self.outputs >= 8 && channels(self.outputs) * all >= places
    }

    /// Whether planes are made one by one.
    pub(super) fn by_planes(&self) -> bool {
        matches!(self.way, Way::Planes(_) | Way::Halved(_))
    }

    /// The same for one image by itself, in one task.
    pub fn alone(&self) -> Self {
        let way = match self.way {
            Way::Places => Way::Places,
            Way::Panels(cut) => Way::Panels(cut.alone()),
            Way::Planes(planes) => Way::Planes(planes.alone()),
            Way::Halved(halved) => Way::Halved(halved.alone()),
        };
        Self { batch: 1, images: 1, bands: 1, way, ..self.clone() }
    }

    /// Independent parts of the work.
    pub fn tasks(&self) -> usize {
        match &self.way {
            Way::Panels(cut) => cut.tasks(self.batch),
            Way::Planes(planes) => planes.tasks(),
            Way::Halved(halved) => halved.tasks(),
            Way::Places => self.batch.div_ceil(self.images) * self.bands,
        }
    }

    /// Elements of the packed weight.
    pub fn packed(&self) -> usize {
        match &self.way {
            Way::Panels(cut) => cut.packed(self),
            Way::Planes(_) | Way::Halved(_) => 0,
            Way::Places => self.groups * self.outputs * self.inputs * self.taps + SLACK,
        }
    }

    /// Parts of packing the weight.
    pub fn packs(&self) -> usize {
        match &self.way {
            Way::Panels(cut) => cut.packs(self),
            Way::Planes(_) | Way::Halved(_) => 0,
            Way::Places => self.groups * self.outputs.div_ceil(ROWS),
        }
    }

    /// Whether these may run at the same time.
    pub fn packs_apart(&self) -> bool {
        matches!(self.way, Way::Panels(_))
    }

    /// Elements of the buffer that a task works in.
    pub fn scratch(&self) -> usize {
        match &self.way {
            Way::Panels(cut) => return cut.scratch(self),
            Way::Planes(planes) => return planes.scratch(self),
            Way::Halved(halved) => return halved.scratch(),
            Way::Places => {}
        }
        let each = |s: &Sweep| {
            [2, 4, 8, 16].map(|lanes| {
                let layout = Layout::new(self, s, lanes);
                layout.together * layout.frame
            })
        };
        self.sweeps.iter().flat_map(each).max().unwrap_or(0)
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
}

impl Layout {
    fn new(direct: &Direct, sweep: &Sweep, lanes: usize) -> Self {
        let channels = block(sweep, direct.inputs, KC);
        let line = sweep.line(lanes);
        let planes = channels * sweep.taps.counts()[0];
        let plane = |rows: usize| {
            // An odd number of lines of the cache, so that planes do not fall on one another there.
            ((sweep.rows(rows) * line).div_ceil(16).max(1) * 16) | 16
        };
        let mut rows = sweep.size[1].max(1);
        while rows > 1 && planes * plane(rows) > FRAMED {
            rows = rows.div_ceil(2);
        }
        let frame = planes.max(1) * plane(rows);
        let together = (FRAMED / frame).clamp(1, direct.images * sweep.size[0].max(1));
        Self { channels, rows, line, plane: plane(rows), frame, together }
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

/// A task with the operands of all, whatever the way.
pub(super) struct Task<T> {
    pub(super) task: usize,
    pub(super) input: *const T,
    /// As packed, or as it is.
    pub(super) weight: *const T,
    /// One element for each channel made, or null.
    pub(super) bias: *const T,
    pub(super) output: *mut T,
    pub(super) scratch: *mut T,
}

impl<T: Float> Task<T> {
    /// Its share of so many pieces, cut into so many tasks.
    pub(super) fn share(&self, pieces: usize, tasks: usize) -> (usize, usize) {
        (pieces * self.task / tasks, pieces * (self.task + 1) / tasks)
    }

    /// Where the bias of the channels from one on is, or null.
    #[inline(always)]
    pub(super) fn biases(&self, channel: usize) -> *const T {
        if self.bias.is_null() { self.bias } else { self.bias.wrapping_add(channel) }
    }

    /// The bias of a channel.
    ///
    /// # Safety
    /// The channel must be one of those made.
    #[inline(always)]
    pub(super) unsafe fn bias(&self, channel: usize) -> T {
        // SAFETY: the caller's promise.
        unsafe { if self.bias.is_null() { T::ZERO } else { *self.bias.add(channel) } }
    }
}

/// One task.
struct Run<'a, T> {
    direct: &'a Direct,
    of: Task<T>,
}

impl<T: Float> Work<T> for Run<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let d = self.direct;
        let (first, band) = (self.of.task / d.bands * d.images, self.of.task % d.bands);
        let images = first..d.batch.min(first + d.images);
        let mut weight = self.of.weight;
        let (mut segments, mut units, mut later) = (Vec::new(), Vec::new(), Vec::new());
        for sweep in &d.sweeps {
            let terms = d.inputs * sweep.taps.len();
            let layout = Layout::new(d, sweep, V::WIDTH);
            let offsets =
                sweep.taps.offsets(layout.channels, layout.plane, layout.line, sweep.step[2]);
            segments.clear();
            for image in images.clone() {
                for (depth, from, to) in sweep.band(band, d.bands, layout.rows) {
                    segments.push(Segment { image, depth, from, to });
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
    /// The vectors of results of some segments. If `overlap`, the last of a row lies over the one
    /// before, so that it is whole.
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
        for (i, s) in segments.iter().enumerate() {
            for y in s.from..s.to {
                let row = (sweep.first[0] + s.depth * sweep.every[0]) * d.result[1]
                    + sweep.first[1]
                    + y * sweep.every[1];
                let to = s.image * image + row * d.result[2] + sweep.first[2];
                let from = i * layout.frame + (y - s.from) * sweep.between(layout.line);
                let wide = sweep.size[2];
                for x in (0..wide).step_by(V::WIDTH) {
                    let x = if overlap && wide >= V::WIDTH { x.min(wide - V::WIDTH) } else { x };
                    let n = V::WIDTH.min(wide - x);
                    units.push(Unit { from: from + x, to: to + x * sweep.every[2], n });
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
                    let bias = self.of.bias(channel);
                    let to = self.of.output.add(row * d.result[2] + sweep.first[2]);
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
                        self.of.input.add(plane * pixels),
                        d.source,
                        channels,
                        s.depth,
                        s.from..s.to,
                        self.of.scratch.add(i * layout.frame),
                        0,
                        layout.plane,
                        layout.line,
                    );
                }
                let strip = Strip {
                    offsets: &offsets[..channels * taps],
                    frame: self.of.scratch,
                    to: self.of.output.add(of * d.outputs * places),
                    plane: places,
                    every: sweep.every[2],
                    bias: self.of.biases(of * d.outputs),
                    first: channel == 0,
                };
                let mut row = 0;
                while row < d.outputs {
                    let rows = group::<V>(d.outputs - row);
                    let weight = weight.add(row * terms + channel * taps * rows);
                    strip.rows::<V>(weight, units[usize::from(channel > 0)], row, rows);
                    row += rows;
                }
            }
            channel += layout.channels;
            if channel >= d.inputs {
                break;
            }
        }
    }
}

/// Part `task` of packing the weight, of [`Direct::packs`]; where there is none, tasks take the weight
/// as it is.
///
/// # Safety
/// `weight` is the dense weight, `to` holds as many elements as [`Direct::packed`] says. Unless
/// [`Direct::packs_apart`], parts are not to run at the same time: each writes a little beyond its end,
/// what a later one sets.
pub unsafe fn pack<T: Float>(direct: &Direct, task: usize, weight: *const T, to: *mut T) {
    // SAFETY: passed on.
    unsafe {
        match direct.way {
            Way::Panels(_) => at_level(panels::Pack { direct, task, weight, to }),
            _ => at_level(Pack { direct, task, weight, to }),
        }
    }
}

/// Task `task` of [`Direct::tasks`]: its part of the result, plus, if not null, a bias for each channel.
///
/// # Safety
/// `input` and `output` are dense and of the convolution's sizes, `weight` comes from [`pack`] (or
/// is as it is), `scratch` holds as many elements as [`Direct::scratch`] says. Tasks write different results.
pub unsafe fn run<T: Float>(
    direct: &Direct,
    task: usize,
    input: *const T,
    weight: *const T,
    bias: *const T,
    output: *mut T,
    scratch: *mut T,
) {
    let of = Task { task, input, weight, bias, output, scratch };
    // SAFETY: passed on.
    unsafe {
        match direct.way {
            Way::Panels(cut) => at_level(panels::Run { direct, cut, of }),
            Way::Planes(planes) => at_level(planes::Run { direct, planes, of }),
            Way::Halved(halved) => at_level(halved::Run { halved, of }),
            Way::Places => at_level(Run { direct, of }),
        }
    }
}

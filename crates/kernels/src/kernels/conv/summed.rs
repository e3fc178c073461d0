//! The gradient of the weight: for each channel of the input and element of the kernel a sum, over
//! images and places, of vectors of the output's gradient (its channels side by side) times the element
//! of the input that lies there.

use super::Conv;
use super::frame::Sweep;
use super::halved::Halved;
use super::lone;
use crate::kernels::matmul::{Float, KC, Vector, Work, at_level, transpose};

/// Multiply-adds of a task, at least; and tasks at most.
const GRAIN: usize = 1 << 20;
const TASKS: usize = 16;
/// Elements of the kernels of a task's channels, at least: each task turns the output's gradient.
const ELEMENTS: usize = 144;
/// Sums of a task, at most, if there need not be more: they stay in L2.
const SUMS: usize = 1 << 16;

/// Such sums.
#[derive(Clone, Debug)]
pub struct Summed {
    conv: Conv,
    /// Frames of the input: with all columns, whatever the steps.
    sweep: Sweep,
    /// Planes by steps of two.
    halved: Option<Halved>,
    /// Images summed by a task.
    images: usize,
    parts: usize,
    /// Channels of a task.
    channels: usize,
    blocks: usize,
}

/// Rows and columns of places taken at once, together at most [`KC`] or one row's part.
fn chunk([_, high, wide]: [usize; 3]) -> [usize; 2] {
    if wide > KC { [1, KC] } else { [(KC / wide.max(1)).clamp(1, high.max(1)), wide] }
}

impl Conv {
    /// The gradient of the weight.
    pub fn summed(&self) -> Summed {
        let conv = self.flat();
        let taps: usize = conv.kernel.iter().product();
        let work = conv.batch * conv.outputs * conv.depth() * conv.places();
        let wanted = (work / GRAIN).clamp(1, TASKS);
        let least = if conv.is_lone() { taps } else { ELEMENTS };
        let most = (conv.channels * taps / least.max(1)).clamp(1, conv.channels.max(1));
        let channels = conv.channels.div_ceil(most.min(wanted)).max(1);
        let blocks = conv.channels.div_ceil(channels);
        let parts = wanted.div_ceil(blocks.max(1)).clamp(1, conv.batch.max(1));
        let images = conv.batch.div_ceil(parts).max(1);
        // Channels do not mix, so they may be cut by the number of threads.
        let least = super::tasks()
            .div_ceil(parts)
            .max(conv.channels * taps * (conv.outputs / conv.groups) / SUMS);
        let channels = conv.channels.div_ceil(least.clamp(1, blocks.max(1))).max(1);
        let blocks = conv.channels.div_ceil(channels);
        let [_, columns] = chunk(conv.output);
        let sweep = Sweep {
            taps: conv.taps(),
            before: conv.padding.map(|n| n as isize),
            step: [conv.stride[0], conv.stride[1], 1],
            size: [conv.output[0], conv.output[1], (columns.max(1) - 1) * conv.stride[2] + 1],
            first: [0; 3],
            every: [1; 3],
        };
        let (halved, parts) = (Halved::summed(&conv), conv.batch.div_ceil(images));
        Summed { conv, sweep, halved, images, parts, channels, blocks }
    }

    /// Whether each group has one channel of the input: no sum over channels.
    pub(super) fn is_lone(&self) -> bool {
        self.groups > 1 && self.channels == self.groups
    }
}

impl Summed {
    /// Independent parts of the work: [`Self::parts`] times channels.
    pub fn tasks(&self) -> usize {
        self.parts * self.blocks
    }
    /// Sums over some images each, to be added in order.
    pub fn parts(&self) -> usize {
        self.parts
    }
    /// Which of [`Self::parts`] a task belongs to.
    pub fn part(&self, task: usize) -> usize {
        task / self.blocks
    }
    /// The same in one task.
    pub fn alone(&self) -> Self {
        let conv = self.conv;
        let (images, channels) = (conv.batch.max(1), conv.channels.max(1));
        Self { images, parts: 1, channels, blocks: 1, ..self.clone() }
    }
    fn inputs(&self) -> usize {
        self.conv.channels / self.conv.groups
    }
    fn outputs(&self) -> usize {
        self.conv.outputs / self.conv.groups
    }
    /// Channels worked on at once: of one group.
    fn together(&self) -> usize {
        self.channels.min(self.inputs())
    }
    fn plane(&self) -> usize {
        let [rows, _] = chunk(self.conv.output);
        // An odd number of lines of the cache, so that planes do not fall on one another there.
        ((self.sweep.rows(rows) * self.sweep.line(1)).div_ceil(16).max(1) * 16) | 16
    }
    /// Elements of the buffer that a task works in.
    pub fn scratch(&self) -> usize {
        if let Some(halved) = &self.halved {
            return halved.scratch();
        }
        if self.conv.is_lone() {
            return lone::scratch(&self.conv);
        }
        let wide = self.outputs().next_multiple_of(32);
        let [rows, columns] = chunk(self.conv.output);
        let taps = self.sweep.taps.len();
        (self.together() * taps + rows * columns) * wide
            + 64
            + self.together() * self.sweep.taps.counts()[0] * self.plane()
    }
}

/// One channel of the input, with the operands of all.
pub(super) struct Channel<T> {
    pub(super) channel: usize,
    pub(super) input: *const T,
    pub(super) grad: *const T,
    /// The weight's gradient.
    pub(super) to: *mut T,
    pub(super) scratch: *mut T,
}

/// One task.
struct Run<'a, T> {
    summed: &'a Summed,
    task: usize,
    input: *const T,
    grad: *const T,
    to: *mut T,
    scratch: *mut T,
}

impl<T: Float> Work<T> for Run<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let s = self.summed;
        let first = self.task / s.blocks * s.images;
        let images = first..s.conv.batch.min(first + s.images);
        let mut channel = self.task % s.blocks * s.channels;
        let end = s.conv.channels.min(channel + s.channels);
        while channel < end {
            let group = channel / s.inputs();
            let to = end.min((group + 1) * s.inputs());
            // SAFETY: the caller's promise.
            unsafe {
                let Self { input, grad, to: whole, scratch, .. } = self;
                let of = Channel { channel, input, grad, to: whole, scratch };
                if let Some(halved) = &s.halved {
                    halved.sum::<V::Pack>(&of, images.clone());
                } else if s.conv.is_lone() {
                    lone::sum::<V::Pack>(&s.conv, &of, images.clone());
                } else {
                    self.group::<V>(group, channel - group * s.inputs(), to - channel, &images);
                }
            }
            channel = to;
        }
    }
}

impl<T: Float> Run<'_, T> {
    /// Some channels of one group, from `first` on.
    #[inline(always)]
    unsafe fn group<V: Vector<T = T>>(
        &self,
        group: usize,
        first: usize,
        channels: usize,
        images: &std::ops::Range<usize>,
    ) {
        let s = self.summed;
        let (c, sweep) = (&s.conv, &s.sweep);
        let (inputs, outputs) = (s.inputs(), s.outputs());
        let (places, pixels) = (c.places(), c.pixels());
        let wide = outputs.next_multiple_of(V::WIDTH);
        let (plane, line) = (s.plane(), sweep.line(1));
        let offsets = sweep.taps.offsets(channels, plane, line, 1);
        let [rows, columns] = chunk(c.output);
        let panel = 2 * V::WIDTH;
        let sums = self.scratch;
        let turned = sums.wrapping_add(offsets.len() * wide);
        // Packing may write a little beyond its end, before the frames are filled.
        let frame = turned.wrapping_add(rows * columns * wide + 32);
        // SAFETY: `scratch` holds the three parts, the operands are the caller's.
        unsafe {
            std::slice::from_raw_parts_mut(sums, offsets.len() * wide).fill(T::ZERO);
            for image in images.clone() {
                let at = image * c.groups + group;
                let grad = self.grad.add(at * outputs * places);
                let input = self.input.add((at * inputs + first) * pixels);
                for chunk in 0..c.output[0] * c.output[1].div_ceil(rows) {
                    let depth = chunk / c.output[1].div_ceil(rows);
                    let top = chunk % c.output[1].div_ceil(rows) * rows;
                    let rows = rows.min(c.output[1] - top);
                    for left in (0..c.output[2]).step_by(columns.max(1)) {
                        let columns = columns.min(c.output[2] - left);
                        let from = (depth * c.output[1] + top) * c.output[2] + left;
                        let terms = rows * columns;
                        for output in (0..outputs).step_by(panel) {
                            let n = panel.min(outputs - output);
                            transpose::<V::Pack>(
                                grad.add(output * places + from),
                                places as isize,
                                1,
                                turned.add(output * terms),
                                n,
                                n.next_multiple_of(V::WIDTH),
                                terms,
                            );
                        }
                        sweep.fill(
                            input,
                            c.input,
                            channels,
                            depth,
                            top..top + rows,
                            frame,
                            left * c.stride[2],
                            plane,
                            line,
                        );
                        for output in (0..outputs).step_by(panel) {
                            let n = panel.min(wide - output);
                            let sum = Sum {
                                rows,
                                columns,
                                down: c.stride[1] * line,
                                step: c.stride[2],
                                grad: turned.add(output * terms).cast_const(),
                            };
                            let mut row = 0;
                            while row < offsets.len() {
                                let to = sums.add(row * wide + output);
                                let left = &offsets[row..];
                                row += if n > V::WIDTH {
                                    sum.some::<V, 2>(frame, left, to, wide)
                                } else {
                                    sum.some::<V, 1>(frame, left, to, wide)
                                };
                            }
                        }
                    }
                }
            }
            let taps = sweep.taps.len();
            for output in 0..outputs {
                let at = ((group * outputs + output) * inputs + first) * taps;
                let to = std::slice::from_raw_parts_mut(self.to.add(at), offsets.len());
                for (i, to) in to.iter_mut().enumerate() {
                    *to = *sums.add(i * wide + output);
                }
            }
        }
    }
}

/// What the innermost loop sums over.
struct Sum<T> {
    rows: usize,
    columns: usize,
    /// From the input of one place to that of the next, down and along a row.
    down: usize,
    step: usize,
    /// The output's gradient, place by place.
    grad: *const T,
}

impl<T: Float> Sum<T> {
    /// Adds the sums of the first few offsets; gives how many.
    #[inline(always)]
    unsafe fn some<V: Vector<T = T>, const VECTORS: usize>(
        &self,
        frame: *const T,
        offsets: &[usize],
        to: *mut T,
        wide: usize,
    ) -> usize {
        // SAFETY: passed on.
        unsafe {
            match offsets.len() {
                6.. => self.micro::<V, 6, VECTORS>(frame, offsets, to, wide),
                4.. => self.micro::<V, 4, VECTORS>(frame, offsets, to, wide),
                2.. => self.micro::<V, 2, VECTORS>(frame, offsets, to, wide),
                _ => self.micro::<V, 1, VECTORS>(frame, offsets, to, wide),
            }
        }
    }

    #[inline(always)]
    unsafe fn micro<V: Vector<T = T>, const ROWS: usize, const VECTORS: usize>(
        &self,
        frame: *const T,
        offsets: &[usize],
        to: *mut T,
        wide: usize,
    ) -> usize {
        // SAFETY: the caller vouches for the frame, the gradient, the sums and the instruction set.
        unsafe {
            let mut sums = [[V::splat(T::ZERO); VECTORS]; ROWS];
            let mut grad = self.grad;
            let mut from: [*const T; ROWS] = std::array::from_fn(|i| frame.add(offsets[i]));
            for _ in 0..self.rows {
                for x in 0..self.columns {
                    let mut columns = [V::splat(T::ZERO); VECTORS];
                    for (v, column) in columns.iter_mut().enumerate() {
                        *column = V::load(grad.add(v * V::WIDTH));
                    }
                    for (sums, from) in sums.iter_mut().zip(&from) {
                        let x = V::splat(*from.add(x * self.step));
                        for (sum, &column) in sums.iter_mut().zip(&columns) {
                            *sum = x.fused(column, *sum);
                        }
                    }
                    grad = grad.add(VECTORS * V::WIDTH);
                }
                for from in &mut from {
                    *from = from.wrapping_add(self.down);
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    let to = to.add(r * wide + v * V::WIDTH);
                    V::load(to).plus(sum).store(to);
                }
            }
        }
        ROWS
    }
}

/// Task `task` of [`Summed::tasks`]: sets the gradient of some channels' weight to the sum over some
/// images.
///
/// # Safety
/// `input` and `grad` are dense and of the convolution's sizes, `to` holds a weight, `scratch` as many
/// elements as [`Summed::scratch`] says. Tasks of one part write different elements.
pub unsafe fn run<T: Float>(
    summed: &Summed,
    task: usize,
    input: *const T,
    grad: *const T,
    to: *mut T,
    scratch: *mut T,
) {
    // SAFETY: passed on.
    unsafe { at_level(Run { summed, task, input, grad, to, scratch }) }
}

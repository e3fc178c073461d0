//! Convolutions as patches gathered to columns and matrix products, where that is faster: for kernels
//! of one element the image is the matrix, gradients of the input are added where they belong, and small
//! images share a product.
//!
//! A group of channels of some images is a matrix of [`Conv::depth`] rows, one column per place of the
//! output; the three products of it, the weight and the output's gradient are the convolution and its
//! gradients.

use std::ops::Range;

use super::Conv;
use crate::kernels::matmul::{Float, Strides, gemm, lines};
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Src};

/// Multiply-adds up to which no plan is made.
const TINY: usize = 1 << 14;
/// Channels made of the input's gradient up to which tiles of registers stay half empty.
const FEW: usize = 6;
/// Places in all images up to which the weight's gradient is not worth turning the output's.
const SHORT: usize = 128;
/// Columns of a product, about: enough for the other matrix to be packed for, few enough to stay in L2.
const COLUMNS: usize = 384;
/// Elements of what a product makes, or is made of, at once, about.
const ELEMENTS: usize = 1 << 17;
/// Rows of a product that makes the input's gradient, at least.
const ROWS: usize = 96;
/// Multiply-adds of a task, at least; and sums of the weight's gradient, at most.
const GRAIN: usize = 1 << 20;
const TASKS: usize = 8;

/// Which product is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Output,
    Input,
    Weight,
}

/// A convolution by patches, and how its work is cut.
#[derive(Clone, Copy, Debug)]
pub struct Patched {
    conv: Conv,
    kind: Kind,
    /// Images of a task, and of a product.
    images: usize,
    together: usize,
    /// Channels of the input's gradient that a task makes of a group.
    part: usize,
    /// Rows of places of a product.
    lines: usize,
}

impl Conv {
    fn multiply_adds(&self) -> usize {
        self.batch * self.outputs * self.depth() * self.places()
    }
    fn is_single(&self) -> bool {
        self.kernel == [1; 3]
    }
    /// Whether the output is made by patches.
    pub fn gathers(&self) -> bool {
        !self.is_lone() && (self.is_single() || self.multiply_adds() <= TINY)
    }
    /// Whether the gradient of the input is.
    pub fn scatters(&self) -> bool {
        if self.is_lone() {
            return self.stride != [1; 3] && !self.direct_back().by_planes();
        }
        let strided = self.stride != [1; 3] && !self.is_dense_back();
        self.gathers() || strided || self.groups == 1 && self.channels <= FEW
    }
    /// Whether every place of the input is made of several elements of the kernel, in long enough rows.
    fn is_dense_back(&self) -> bool {
        let taps: usize = self.kernel.iter().product();
        let steps: usize = self.stride.iter().product();
        taps >= 4 * steps && self.input[2] >= 16 * self.stride[2]
    }
    /// Whether the gradient of the weight is.
    pub fn gathers_back(&self) -> bool {
        self.gathers() || !self.is_lone() && self.batch * self.places() <= SHORT
    }
    /// Rows of places.
    fn lines(&self) -> usize {
        self.output[0] * self.output[1]
    }
    /// Whether the patches are the image itself.
    fn is_image(&self) -> bool {
        self.is_single() && self.stride == [1; 3] && self.padding == [0; 3]
    }
    /// The output by patches.
    pub fn patched(&self) -> Patched {
        Patched::new(self, Kind::Output)
    }
    /// The gradient of the input.
    pub fn patched_back(&self) -> Patched {
        Patched::new(self, Kind::Input)
    }
    /// The gradient of the weight.
    pub fn patched_weight(&self) -> Patched {
        Patched::new(self, Kind::Weight)
    }

    /// The places `first..last` of the output for which element `k` of the kernel lies inside the
    /// input.
    #[inline(always)]
    fn inside(&self, dim: usize, k: usize) -> (usize, usize) {
        let (shift, pad) = (k * self.dilation[dim], self.padding[dim]);
        let (step, n) = (self.stride[dim], self.input[dim]);
        let first = pad.saturating_sub(shift).div_ceil(step).min(self.output[dim]);
        // The last place p with p * step + shift - pad < n.
        let end = (n + pad).saturating_sub(shift).div_ceil(step);
        (first, end.min(self.output[dim]).max(first))
    }

    /// Calls `line` for every row of the matrix of patches of some channels and some rows of places: with
    /// the row, the first place counted from these, the places inside the input, and where the first of
    /// them is read.
    #[inline(always)]
    fn rows(
        &self,
        channels: usize,
        lines: Range<usize>,
        mut line: impl FnMut(usize, usize, (usize, usize), usize),
    ) {
        let [_, high, wide] = self.output;
        let of = |i: usize, place: usize, k: usize| {
            place * self.stride[i] + k * self.dilation[i] - self.padding[i]
        };
        let mut row = 0;
        for channel in 0..channels {
            for kz in 0..self.kernel[0] {
                let (front, back) = self.inside(0, kz);
                for ky in 0..self.kernel[1] {
                    let (top, bottom) = self.inside(1, ky);
                    for kx in 0..self.kernel[2] {
                        let (left, right) = self.inside(2, kx);
                        let first = if left == right { 0 } else { of(2, left, kx) };
                        let (mut z, mut y) = (lines.start / high, lines.start % high);
                        for place in 0..lines.len() {
                            let within = z >= front && z < back && y >= top && y < bottom;
                            if within && left < right {
                                let plane = channel * self.input[0] + of(0, z, kz);
                                let at = plane * self.input[1] + of(1, y, ky);
                                line(row, place * wide, (left, right), at * self.input[2] + first);
                            } else {
                                line(row, place * wide, (0, 0), 0);
                            }
                            y += 1;
                            if y == high {
                                (z, y) = (z + 1, 0);
                            }
                        }
                        row += 1;
                    }
                }
            }
        }
    }
}

/// Gathers the patches of a group of channels of one image to columns in rows `across` long.
struct Gather<T> {
    conv: Conv,
    image: Src<T>,
    columns: Dst<T>,
    across: usize,
}

impl<T: Float> Job for Gather<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let (wide, step) = (self.conv.output[2], self.conv.stride[2]);
        let (channels, lines) = (self.conv.channels / self.conv.groups, 0..self.conv.lines());
        self.conv.rows(channels, lines, |row, place, (left, right), from| {
            let to = self.columns.at((row * self.across + place) as isize);
            // SAFETY: one line of the matrix of patches, which the caller owns.
            let to = unsafe { std::slice::from_raw_parts_mut(to, wide) };
            to[..left].fill(T::ZERO);
            to[right..].fill(T::ZERO);
            let to = &mut to[left..right];
            let from = self.image.at(from as isize);
            if step == 1 {
                // SAFETY: `inside` keeps the line within the image.
                to.copy_from_slice(unsafe { std::slice::from_raw_parts(from, to.len()) });
            } else {
                // A step known at compile time makes vectors of the loop.
                let step = if step == 2 { 2 } else { step };
                for (i, to) in to.iter_mut().enumerate() {
                    // SAFETY: as above.
                    *to = unsafe { *from.add(i * step) };
                }
            }
        });
    }
}

/// Adds the patches of some channels and rows of places back to an image.
struct Scatter<T> {
    conv: Conv,
    columns: Src<T>,
    across: usize,
    channels: usize,
    lines: (usize, usize),
    image: Dst<T>,
}

impl<T: Float> Job for Scatter<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let step = self.conv.stride[2];
        let lines = self.lines.0..self.lines.1;
        self.conv.rows(self.channels, lines, |row, place, (left, right), to| {
            if left == right {
                return;
            }
            // SAFETY: one line of the matrix of patches; `inside` keeps the other within the image.
            unsafe {
                let from = self.columns.at((row * self.across + place + left) as isize);
                let from = std::slice::from_raw_parts(from, right - left);
                let to = self.image.at(to as isize);
                if step == 1 {
                    let to = std::slice::from_raw_parts_mut(to, from.len());
                    for (to, &from) in to.iter_mut().zip(from) {
                        *to += from;
                    }
                } else {
                    // A step known at compile time makes vectors of the loop.
                    let step = if step == 2 { 2 } else { step };
                    for (i, &from) in from.iter().enumerate() {
                        *to.add(i * step) += from;
                    }
                }
            }
        });
    }
}

/// The gradient of the input of groups of one channel, one image: the sum of the output's gradient
/// times each element of the kernel where it came from.
struct Spread<T> {
    conv: Conv,
    grad: Src<T>,
    weight: Src<T>,
    image: Dst<T>,
}

impl<T: Float> Job for Spread<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let c = self.conv;
        let (each, step) = (c.outputs / c.groups, c.stride[2]);
        let [deep, high, wide] = c.kernel;
        let taps = deep * high * wide;
        let of = |i: usize, place: usize, k: usize| {
            place * c.stride[i] + k * c.dilation[i] - c.padding[i]
        };
        for output in 0..c.outputs {
            if output % each == 0 {
                let plane = self.image.at((output / each * c.pixels()) as isize);
                // SAFETY: the caller's plane.
                unsafe { std::slice::from_raw_parts_mut(plane, c.pixels()) }.fill(T::ZERO);
            }
            for tap in 0..taps {
                let k = [tap / (high * wide), tap / wide % high, tap % wide];
                let (left, right) = c.inside(2, k[2]);
                let ((front, back), (top, bottom)) = (c.inside(0, k[0]), c.inside(1, k[1]));
                if left == right {
                    continue;
                }
                let first = of(2, left, k[2]);
                // SAFETY: the channel's part of the weight, a line of its gradient, and where `inside`
                // keeps it within the plane.
                unsafe {
                    let w = *self.weight.at((output * taps + tap) as isize);
                    for z in front..back {
                        let plane = output / each * c.input[0] + of(0, z, k[0]);
                        for y in top..bottom {
                            let from = ((output * c.output[0] + z) * c.output[1] + y) * c.output[2];
                            let from = self.grad.at((from + left) as isize);
                            let to = (plane * c.input[1] + of(1, y, k[1])) * c.input[2] + first;
                            let to = self.image.at(to as isize);
                            let n = right - left;
                            let whole = n - n % 4;
                            for i in (0..whole).step_by(4) {
                                let grads = from.add(i).cast::<[T; 4]>().read();
                                for (j, &grad) in grads.iter().enumerate() {
                                    *to.add((i + j) * step) += w * grad;
                                }
                            }
                            for i in whole..n {
                                *to.add(i * step) += w * *from.add(i);
                            }
                        }
                    }
                }
            }
        }
    }
}

fn turned(columns: usize) -> Strides {
    Strides { row: 1, column: columns as isize }
}

impl Patched {
    fn new(conv: &Conv, kind: Kind) -> Self {
        let conv = conv.flat();
        let (rows, places) = (conv.depth(), conv.places().max(1));
        let lone = kind == Kind::Input && conv.is_lone();
        let work = (conv.outputs * rows * places).max(1);
        let batch = conv.batch.max(1);
        // Images that share a product are copied: worth it where the product takes much longer.
        let most = if lone { 1 } else { (COLUMNS / places).clamp(1, batch) };
        let together = batch.div_ceil(batch.div_ceil(most));
        let mut made = Self { conv, kind, images: together, together, part: 0, lines: 0 };
        let wide = conv.output[2].max(1);
        made.lines = conv.lines().max(1);
        match kind {
            Kind::Output => {}
            Kind::Weight => {
                let tasks = TASKS.min(batch * work / GRAIN).max(1);
                made.images = batch.div_ceil(tasks).max(together);
            }
            Kind::Input if conv.is_image() || lone => {}
            Kind::Input => {
                let channels = conv.channels / conv.groups;
                let taps = rows / channels.max(1);
                if together == 1 {
                    made.lines = made.lines.min((COLUMNS / wide).max(1));
                }
                let columns = together * made.lines * wide;
                let most = (ELEMENTS / columns).max(ROWS) / taps.max(1);
                let wanted = super::tasks()
                    .div_ceil(batch.div_ceil(together))
                    .min(work * together / GRAIN)
                    .max(channels.div_ceil(most.max(1)));
                made.part = channels.div_ceil(wanted.clamp(1, (rows / ROWS).max(1)));
            }
        }
        made.part = if made.part == 0 { conv.channels / conv.groups } else { made.part };
        made
    }

    /// The same for so many images, in one task.
    pub fn some(&self, batch: usize) -> Self {
        let conv = Conv { batch, ..self.conv };
        let part = conv.channels / conv.groups;
        Self { conv, images: batch, part, ..*self }
    }
    fn apart(&self) -> usize {
        (self.conv.channels / self.conv.groups).div_ceil(self.part.max(1)).max(1)
    }
    /// Independent parts of the work.
    pub fn tasks(&self) -> usize {
        self.conv.batch.div_ceil(self.images) * self.apart()
    }
    /// Sums over some images each, to be added in order, if the gradient of the weight is made: one of
    /// each task.
    pub fn parts(&self) -> usize {
        self.tasks()
    }
    #[cfg(test)]
    pub(super) fn is_weight(&self) -> bool {
        self.kind == Kind::Weight
    }
    /// Elements of a matrix of patches, of the output's gradient, or of the output.
    fn sizes(&self) -> [usize; 2] {
        let c = &self.conv;
        let columns = self.together * c.places();
        let taps: usize = c.kernel.iter().product();
        let own = if self.together == 1 { 0 } else { c.outputs / c.groups * columns };
        let patches = match self.kind {
            Kind::Input if c.is_lone() => 0,
            _ if c.is_image() && self.together == 1 => 0,
            Kind::Input => self.part * taps * self.together * self.lines * c.output[2],
            _ => c.depth() * columns,
        };
        [patches, own]
    }
    /// Elements of the buffer that a task works in.
    pub fn scratch(&self) -> usize {
        self.sizes().iter().sum()
    }
}

/// One task.
struct Run<'a, T> {
    plan: &'a Patched,
    /// Its images.
    images: Range<usize>,
    input: *const T,
    weight: *const T,
    bias: *const T,
    output: *const T,
    /// What is made.
    to: *mut T,
    patches: *mut T,
    /// The output of several images, or its gradient, as one matrix.
    own: *mut T,
}

impl<T: Float> Run<'_, T> {
    fn all(self, part: usize) {
        let plan = self.plan;
        let c = &plan.conv;
        let mut image = self.images.start;
        while image < self.images.end {
            let n = plan.together.min(self.images.end - image);
            for group in 0..c.groups {
                // SAFETY: images, groups and parts of what the caller vouches for.
                unsafe {
                    match plan.kind {
                        Kind::Output => self.output(group, image, n),
                        Kind::Weight => self.weight(group, image, n),
                        Kind::Input => self.input(group, image, n, part),
                    }
                }
            }
            image += n;
        }
    }

    /// The first channel of a group of an image.
    fn image(&self, group: usize, image: usize) -> usize {
        let c = &self.plan.conv;
        (image * c.groups + group) * (c.channels / c.groups) * c.pixels()
    }
    /// The same of the output.
    fn made(&self, group: usize, image: usize) -> usize {
        let c = &self.plan.conv;
        (image * c.groups + group) * (c.outputs / c.groups) * c.places()
    }

    /// The patches of a group of some images: gathered, or the image itself.
    unsafe fn gathered(&self, group: usize, image: usize, n: usize) -> *const T {
        let c = self.plan.conv;
        // SAFETY: the images; the buffer holds what the plan says.
        unsafe {
            if n == 1 && c.is_image() {
                return self.input.add(self.image(group, image));
            }
            for i in 0..n {
                let from = Src::new(self.input.add(self.image(group, image + i)));
                let columns = Dst::new(self.patches.add(i * c.places()));
                let across = n * c.places();
                multiversion::run(Gather { conv: c, image: from, columns, across });
            }
        }
        self.patches
    }

    /// The output's gradient of a group of some images as one matrix.
    unsafe fn grads(&self, group: usize, image: usize, n: usize) -> *const T {
        let c = &self.plan.conv;
        let places = c.places();
        // SAFETY: as above.
        unsafe {
            if n == 1 {
                return self.output.add(self.made(group, image));
            }
            for i in 0..n {
                let from = self.output.add(self.made(group, image + i));
                for row in 0..c.outputs / c.groups {
                    let to = self.own.add((row * n + i) * places);
                    std::ptr::copy_nonoverlapping(from.add(row * places), to, places);
                }
            }
        }
        self.own
    }

    unsafe fn output(&self, group: usize, image: usize, n: usize) {
        let c = &self.plan.conv;
        let (m, k, places) = (c.outputs / c.groups, c.depth(), c.places());
        // SAFETY: as above.
        unsafe {
            let columns = self.gathered(group, image, n);
            let shift = |i: usize| {
                if self.bias.is_null() { T::ZERO } else { *self.bias.add(group * m + i) }
            };
            let to = if n == 1 { self.to.add(self.made(group, image)) } else { self.own };
            let all = n * places;
            let beta = if n > 1 || self.bias.is_null() { T::ZERO } else { T::ONE };
            if beta == T::ONE {
                for i in 0..m {
                    std::slice::from_raw_parts_mut(to.add(i * all), all).fill(shift(i));
                }
            }
            let w = self.weight.add(group * m * k);
            gemm(m, all, k, T::ONE, w, lines(k), columns, lines(all), beta, to, lines(all));
            if n == 1 {
                return;
            }
            for image_ in 0..n {
                let result = self.to.add(self.made(group, image + image_));
                for i in 0..m {
                    let from =
                        std::slice::from_raw_parts(to.add((i * n + image_) * places), places);
                    let result = std::slice::from_raw_parts_mut(result.add(i * places), places);
                    let shift = shift(i);
                    for (to, &from) in result.iter_mut().zip(from) {
                        *to = from + shift;
                    }
                }
            }
        }
    }

    unsafe fn weight(&self, group: usize, image: usize, n: usize) {
        let c = &self.plan.conv;
        let (m, k, all) = (c.outputs / c.groups, c.depth(), n * c.places());
        let beta = if image == self.images.start { T::ZERO } else { T::ONE };
        // SAFETY: as above.
        unsafe {
            let columns = self.gathered(group, image, n);
            let (g, w) = (self.grads(group, image, n), self.to.add(group * m * k));
            gemm(m, k, all, T::ONE, g, lines(all), columns, turned(all), beta, w, lines(k));
        }
    }

    unsafe fn input(&self, group: usize, image: usize, n: usize, part: usize) {
        let plan = self.plan;
        let c = plan.conv;
        let (m, k, places) = (c.outputs / c.groups, c.depth(), c.places());
        let inputs = c.channels / c.groups;
        let taps = k / inputs.max(1);
        let first = part * plan.part;
        let channels = plan.part.min(inputs - first);
        // SAFETY: as above.
        unsafe {
            if c.is_lone() {
                if group == 0 {
                    let grad = Src::new(self.output.add(self.made(0, image)));
                    let to = Dst::new(self.to.add(self.image(0, image)));
                    let weight = Src::new(self.weight);
                    multiversion::run(Spread { conv: c, grad, weight, image: to });
                }
                return;
            }
            let grads = self.grads(group, image, n);
            let w = self.weight.add(group * m * k + first * taps);
            let (rows, all) = (channels * taps, n * places);
            let at = |i: usize| self.to.add(self.image(group, image + i) + first * c.pixels());
            if n == 1 && c.is_image() {
                gemm(
                    rows,
                    all,
                    m,
                    T::ONE,
                    w,
                    turned(k),
                    grads,
                    lines(all),
                    T::ZERO,
                    at(0),
                    lines(all),
                );
                return;
            }
            for i in 0..n {
                std::slice::from_raw_parts_mut(at(i), channels * c.pixels()).fill(T::ZERO);
            }
            for top in (0..c.lines()).step_by(plan.lines) {
                let end = c.lines().min(top + plan.lines);
                let left = (end - top) * c.output[2];
                // Several images, or some rows of one.
                let columns = if n == 1 { left } else { all };
                let grads = grads.add(top * c.output[2]);
                let to = self.patches;
                gemm(
                    rows,
                    columns,
                    m,
                    T::ONE,
                    w,
                    turned(k),
                    grads,
                    lines(all),
                    T::ZERO,
                    to,
                    lines(columns),
                );
                for i in 0..n {
                    multiversion::run(Scatter {
                        conv: c,
                        columns: Src::new(to.add(i * places).cast_const()),
                        across: columns,
                        channels,
                        lines: (top, end),
                        image: Dst::new(at(i)),
                    });
                }
            }
        }
    }
}

/// Task `task` of [`Patched::tasks`]. `a` and `b` are the two factors in the order input, weight, output;
/// `bias` is null, or one element for each channel of the output.
///
/// # Safety
/// All are dense and of the convolution's sizes, `to` is what is made; `scratch` holds as many elements as
/// [`Patched::scratch`] says. Tasks write different elements, but for the weight's gradient, of which each
/// task makes a sum of its own.
pub unsafe fn run<T: Float>(
    plan: &Patched,
    task: usize,
    a: *const T,
    b: *const T,
    bias: *const T,
    to: *mut T,
    scratch: *mut T,
) {
    let null = std::ptr::null();
    let (input, weight, output) = match plan.kind {
        Kind::Output => (a, b, null),
        Kind::Input => (null, a, b),
        Kind::Weight => (a, null, b),
    };
    let (first, part) = (task / plan.apart() * plan.images, task % plan.apart());
    let images = first..plan.conv.batch.min(first + plan.images);
    let own = scratch.wrapping_add(plan.sizes()[0]);
    Run { plan, images, input, weight, bias, output, to, patches: scratch, own }.all(part);
}

//! Convolutions as patches gathered to columns and matrix products, where that is faster: for kernels
//! of one element the image is the matrix, and gradients of the input are added where they belong.
//!
//! A group of channels of one image is a matrix of [`Conv::depth`] rows, one column per place of the
//! output; the three products of it, the weight and the output's gradient are the convolution and its
//! gradients.

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
            return self.stride != [1; 3];
        }
        self.gathers() || self.stride != [1; 3] || self.groups == 1 && self.channels <= FEW
    }
    /// Whether the gradient of the weight is.
    pub fn gathers_back(&self) -> bool {
        self.gathers() || !self.is_lone() && self.batch * self.places() <= SHORT
    }
    /// Whether the patches are the image itself.
    fn is_image(&self) -> bool {
        self.is_single() && self.stride == [1; 3] && self.padding == [0; 3]
    }
    /// Elements of the buffer that an image's patches need.
    pub fn patches(&self) -> usize {
        if self.is_image() || self.is_lone() { 0 } else { self.depth() * self.places() }
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

    /// Calls `line` for every row of the matrix of patches and every row of places: with the row, the
    /// first place, the places inside the input, and where the first of these is read.
    #[inline(always)]
    fn rows(&self, mut line: impl FnMut(usize, usize, (usize, usize), usize)) {
        let [deep, high, wide] = self.output;
        let of = |i: usize, place: usize, k: usize| {
            place * self.stride[i] + k * self.dilation[i] - self.padding[i]
        };
        let mut row = 0;
        for channel in 0..self.channels / self.groups {
            for kz in 0..self.kernel[0] {
                let (front, back) = self.inside(0, kz);
                for ky in 0..self.kernel[1] {
                    let (top, bottom) = self.inside(1, ky);
                    for kx in 0..self.kernel[2] {
                        let (left, right) = self.inside(2, kx);
                        let first = if left == right { 0 } else { of(2, left, kx) };
                        for z in 0..deep {
                            for y in 0..high {
                                let place = (z * high + y) * wide;
                                let within = z >= front && z < back && y >= top && y < bottom;
                                if within && left < right {
                                    let plane = channel * self.input[0] + of(0, z, kz);
                                    let at = plane * self.input[1] + of(1, y, ky);
                                    line(row, place, (left, right), at * self.input[2] + first);
                                } else {
                                    line(row, place, (0, 0), 0);
                                }
                            }
                        }
                        row += 1;
                    }
                }
            }
        }
    }
}

/// Gathers the patches of a group of channels of one image.
struct Gather<T> {
    conv: Conv,
    image: Src<T>,
    columns: Dst<T>,
}

impl<T: Float> Job for Gather<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let (wide, step) = (self.conv.output[2], self.conv.stride[2]);
        let places = self.conv.places();
        self.conv.rows(|row, place, (left, right), from| {
            let to = self.columns.at((row * places + place) as isize);
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

/// Adds the patches back to a group of channels of one image.
struct Scatter<T> {
    conv: Conv,
    columns: Src<T>,
    image: Dst<T>,
}

impl<T: Float> Job for Scatter<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let (step, places) = (self.conv.stride[2], self.conv.places());
        self.conv.rows(|row, place, (left, right), to| {
            if left == right {
                return;
            }
            // SAFETY: one line of the matrix of patches; `inside` keeps the other within the image.
            unsafe {
                let from = self.columns.at((row * places + place + left) as isize);
                let from = std::slice::from_raw_parts(from, right - left);
                let to = self.image.at(to as isize);
                if step == 1 {
                    let to = std::slice::from_raw_parts_mut(to, from.len());
                    for (to, &from) in to.iter_mut().zip(from) {
                        *to += from;
                    }
                } else {
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

/// The patches of a group of one image: gathered into `scratch`, or the image itself.
///
/// # Safety
/// The image holds the group's channels, `scratch` as many elements as [`Conv::patches`] says.
unsafe fn gathered<T: Float>(conv: &Conv, image: *const T, scratch: *mut T) -> *const T {
    if conv.is_image() {
        return image;
    }
    multiversion::run(Gather { conv: *conv, image: Src::new(image), columns: Dst::new(scratch) });
    scratch
}

/// The output of one image, from `input` (its channels), `weight` and, if not null, `bias`.
///
/// # Safety
/// All are dense and of the sizes `conv` says; `scratch` holds [`Conv::patches`] elements.
pub unsafe fn forward<T: Float>(
    conv: &Conv,
    input: *const T,
    weight: *const T,
    bias: *const T,
    output: *mut T,
    scratch: *mut T,
) {
    let (m, k, n) = (conv.outputs / conv.groups, conv.depth(), conv.places());
    let beta = if bias.is_null() { T::ZERO } else { T::ONE };
    for group in 0..conv.groups {
        // SAFETY: the group's parts of what the caller vouches for.
        unsafe {
            let to = output.add(group * m * n);
            if !bias.is_null() {
                for i in 0..m {
                    let value = *bias.add(group * m + i);
                    std::slice::from_raw_parts_mut(to.add(i * n), n).fill(value);
                }
            }
            let image = input.add(group * (conv.channels / conv.groups) * conv.pixels());
            let columns = gathered(conv, image, scratch);
            let w = weight.add(group * m * k);
            gemm(m, n, k, T::ONE, w, lines(k), columns, lines(n), beta, to, lines(n));
        }
    }
}

/// The gradient of one image from that of its output.
///
/// # Safety
/// As for [`forward`].
pub unsafe fn input_gradient<T: Float>(
    conv: &Conv,
    grad: *const T,
    weight: *const T,
    input: *mut T,
    scratch: *mut T,
) {
    let (m, k, n) = (conv.outputs / conv.groups, conv.depth(), conv.places());
    let size = conv.channels / conv.groups * conv.pixels();
    if conv.is_lone() {
        let (grad, weight) = (Src::new(grad), Src::new(weight));
        multiversion::run(Spread { conv: *conv, grad, weight, image: Dst::new(input) });
        return;
    }
    for group in 0..conv.groups {
        // SAFETY: the group's parts of what the caller vouches for.
        unsafe {
            let (w, g) = (weight.add(group * m * k), grad.add(group * m * n));
            let image = input.add(group * size);
            let to = if conv.is_image() { image } else { scratch };
            gemm(k, n, m, T::ONE, w, turned(k), g, lines(n), T::ZERO, to, lines(n));
            if !conv.is_image() {
                std::slice::from_raw_parts_mut(image, size).fill(T::ZERO);
                let columns = Src::new(scratch.cast_const());
                multiversion::run(Scatter { conv: *conv, columns, image: Dst::new(image) });
            }
        }
    }
}

/// Adds what one image contributes to the gradient of the weight; the first one sets it.
///
/// # Safety
/// As for [`forward`].
pub unsafe fn weight_gradient<T: Float>(
    conv: &Conv,
    input: *const T,
    grad: *const T,
    weight: *mut T,
    scratch: *mut T,
    first: bool,
) {
    let (m, k, n) = (conv.outputs / conv.groups, conv.depth(), conv.places());
    let beta = if first { T::ZERO } else { T::ONE };
    for group in 0..conv.groups {
        // SAFETY: the group's parts of what the caller vouches for.
        unsafe {
            let image = input.add(group * (conv.channels / conv.groups) * conv.pixels());
            let columns = gathered(conv, image, scratch);
            let (g, w) = (grad.add(group * m * n), weight.add(group * m * k));
            gemm(m, k, n, T::ONE, g, lines(n), columns, turned(n), beta, w, lines(k));
        }
    }
}

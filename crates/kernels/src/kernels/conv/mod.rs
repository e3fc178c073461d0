//! Convolutions over two dimensions: patches gathered to columns, then matrix products; by tiles
//! ([`winograd`]) where these take fewer multiplications.
//!
//! A group of channels of one image is a matrix of `channels * kernel` rows, one column per place of
//! the output; the three products of it, the weight and the output's gradient are the convolution
//! and its gradients.
#![allow(unsafe_code)]

mod depthwise;
pub mod winograd;

use depthwise::Makes;

use super::matmul::{Float, Strides, gemm, lines};
use super::multiversion::{self, Job};
use super::raw::{Dst, Src};

/// Sizes of a convolution, of one group where that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Images.
    pub batch: usize,
    /// Channels of the input, of all groups.
    pub channels: usize,
    /// Channels of the output, of all groups.
    pub outputs: usize,
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Steps between places.
    pub stride: [usize; 2],
    /// Zeros before the first row and column.
    pub padding: [usize; 2],
    /// Steps between the elements of the kernel.
    pub dilation: [usize; 2],
}

impl Conv {
    /// Rows of the matrix of patches.
    pub fn depth(&self) -> usize {
        self.channels / self.groups * self.kernel[0] * self.kernel[1]
    }
    /// Places of the output.
    pub fn places(&self) -> usize {
        self.output[0] * self.output[1]
    }
    fn pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }
    /// Whether the patches are the image itself.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }
    /// Whether each group has one channel of the input: no sum over channels.
    fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.channels == self.groups
    }
    /// Elements of the buffer that one task needs for its patches.
    pub fn scratch(&self) -> usize {
        if self.is_depthwise() {
            self.depthwise_scratch()
        } else if self.is_pointwise() {
            0
        } else {
            self.depth() * self.places()
        }
    }

    /// The columns `first..last` of the output for which column `kx` of the kernel lies inside the
    /// input.
    #[inline(always)]
    fn inside(&self, dim: usize, k: usize) -> (usize, usize) {
        let (shift, pad) = (k * self.dilation[dim], self.padding[dim]);
        let (step, n) = (self.stride[dim], self.input[dim]);
        let first = pad.saturating_sub(shift).div_ceil(step);
        // The last place p with p * step + shift - pad < n.
        let end = (n + pad).saturating_sub(shift).div_ceil(step);
        (first.min(self.output[dim]), end.min(self.output[dim]).max(first.min(self.output[dim])))
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
        let c = self.conv;
        let [oh, ow] = c.output;
        let mut row = 0isize;
        for channel in 0..c.channels / c.groups {
            for ky in 0..c.kernel[0] {
                let (top, bottom) = c.inside(0, ky);
                for kx in 0..c.kernel[1] {
                    let (left, right) = c.inside(1, kx);
                    for y in 0..oh {
                        // SAFETY: one line of the matrix of patches, which the caller owns.
                        let to = unsafe {
                            std::slice::from_raw_parts_mut(
                                self.columns.at(row + (y * ow) as isize),
                                ow,
                            )
                        };
                        if y < top || y >= bottom || left == right {
                            to.fill(T::ZERO);
                            continue;
                        }
                        to[..left].fill(T::ZERO);
                        to[right..].fill(T::ZERO);
                        let iy = y * c.stride[0] + ky * c.dilation[0] - c.padding[0];
                        let ix = left * c.stride[1] + kx * c.dilation[1] - c.padding[1];
                        let from =
                            self.image.at((channel * c.pixels() + iy * c.input[1] + ix) as isize);
                        let to = &mut to[left..right];
                        if c.stride[1] == 1 {
                            // SAFETY: `inside` keeps the line within the image.
                            to.copy_from_slice(unsafe {
                                std::slice::from_raw_parts(from, to.len())
                            });
                        } else {
                            // A step known at compile time makes vectors of the loop.
                            let step = if c.stride[1] == 2 { 2 } else { c.stride[1] };
                            for (i, to) in to.iter_mut().enumerate() {
                                // SAFETY: as above.
                                *to = unsafe { *from.add(i * step) };
                            }
                        }
                    }
                    row += (oh * ow) as isize;
                }
            }
        }
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
        let c = self.conv;
        let [oh, ow] = c.output;
        let mut row = 0isize;
        for channel in 0..c.channels / c.groups {
            for ky in 0..c.kernel[0] {
                let (top, bottom) = c.inside(0, ky);
                for kx in 0..c.kernel[1] {
                    let (left, right) = c.inside(1, kx);
                    for y in top..bottom {
                        if left == right {
                            break;
                        }
                        // SAFETY: one line of the matrix of patches.
                        let from = unsafe {
                            std::slice::from_raw_parts(self.columns.at(row + (y * ow) as isize), ow)
                        };
                        let from = &from[left..right];
                        let iy = y * c.stride[0] + ky * c.dilation[0] - c.padding[0];
                        let ix = left * c.stride[1] + kx * c.dilation[1] - c.padding[1];
                        let to =
                            self.image.at((channel * c.pixels() + iy * c.input[1] + ix) as isize);
                        if c.stride[1] == 1 {
                            // SAFETY: `inside` keeps the line within the image.
                            let to = unsafe { std::slice::from_raw_parts_mut(to, from.len()) };
                            for (to, &from) in to.iter_mut().zip(from) {
                                *to += from;
                            }
                        } else {
                            for (i, &from) in from.iter().enumerate() {
                                // SAFETY: as above.
                                unsafe { *to.add(i * c.stride[1]) += from };
                            }
                        }
                    }
                    row += (oh * ow) as isize;
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
/// The image holds the group's channels, `scratch` as many elements as [`Conv::scratch`] says.
unsafe fn patches<T: Float>(conv: &Conv, image: *const T, scratch: *mut T) -> *const T {
    if conv.is_pointwise() {
        return image;
    }
    multiversion::run(Gather { conv: *conv, image: Src::new(image), columns: Dst::new(scratch) });
    scratch
}

/// The output of one image, from `input` (its channels), `weight` and, if not null, `bias`.
///
/// # Safety
/// All are dense and of the sizes `conv` says; `scratch` holds [`Conv::scratch`] elements.
pub unsafe fn forward<T: Float>(
    conv: &Conv,
    input: *const T,
    weight: *const T,
    bias: *const T,
    output: *mut T,
    scratch: *mut T,
) {
    let (m, k, n) = (conv.outputs / conv.groups, conv.depth(), conv.places());
    if conv.is_depthwise() {
        // SAFETY: the caller's image, weight, bias and output.
        unsafe { depthwise::run(conv, Makes::Output, input, weight, output, bias, scratch) };
        return;
    }
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
            let columns = patches(conv, image, scratch);
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
    if conv.is_depthwise() {
        // SAFETY: the caller's image, weight and output.
        unsafe {
            depthwise::run(conv, Makes::Input, input, weight, grad, std::ptr::null(), scratch);
        }
        return;
    }
    for group in 0..conv.groups {
        // SAFETY: the group's parts of what the caller vouches for.
        unsafe {
            let (w, g) = (weight.add(group * m * k), grad.add(group * m * n));
            let image = input.add(group * size);
            let to = if conv.is_pointwise() { image } else { scratch };
            gemm(k, n, m, T::ONE, w, turned(k), g, lines(n), T::ZERO, to, lines(n));
            if !conv.is_pointwise() {
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
    if conv.is_depthwise() {
        // SAFETY: the caller's image, weight and output.
        unsafe {
            if first {
                std::slice::from_raw_parts_mut(weight, conv.outputs * k).fill(T::ZERO);
            }
            depthwise::run(conv, Makes::Weight, input, weight, grad, std::ptr::null(), scratch);
        }
        return;
    }
    let beta = if first { T::ZERO } else { T::ONE };
    for group in 0..conv.groups {
        // SAFETY: the group's parts of what the caller vouches for.
        unsafe {
            let image = input.add(group * (conv.channels / conv.groups) * conv.pixels());
            let columns = patches(conv, image, scratch);
            let (g, w) = (grad.add(group * m * n), weight.add(group * m * k));
            gemm(m, k, n, T::ONE, g, lines(n), columns, turned(n), beta, w, lines(k));
        }
    }
}

#[cfg(test)]
mod tests;

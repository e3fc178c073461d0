//! Convolutions whose groups have one channel each: a weighted sum of shifted lines, without patches.

use super::Conv;
use crate::kernels::matmul::Float;
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::Dst;
use crate::kernels::reduce::tree;

/// Sums that are kept side by side.
const LANES: usize = 16;

/// What one pass over an image makes; the other two operands are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Makes {
    /// The output, which has its biases already.
    Output,
    /// The gradient of the input, zero before.
    Input,
    /// The gradient of the weight, which is added to.
    Weight,
}

/// One image with all its channels.
struct Depthwise<T> {
    conv: Conv,
    makes: Makes,
    input: Dst<T>,
    weight: Dst<T>,
    output: Dst<T>,
}

impl<T: Float> Job for Depthwise<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let c = self.conv;
        let each = c.outputs / c.groups;
        for output in 0..c.outputs {
            let plane = (output / each * c.pixels()) as isize;
            for ky in 0..c.kernel[0] {
                for kx in 0..c.kernel[1] {
                    let tap = ((output * c.kernel[0] + ky) * c.kernel[1] + kx) as isize;
                    // SAFETY: the weight holds every tap; the channel's planes are the caller's.
                    unsafe {
                        self.tap(self.input.at(plane), output, [ky, kx], self.weight.at(tap));
                    }
                }
            }
        }
    }
}

impl<T: Float> Depthwise<T> {
    /// One element of the kernel over a plane.
    #[inline(always)]
    unsafe fn tap(&self, plane: *mut T, output: usize, k: [usize; 2], weight: *mut T) {
        let c = self.conv;
        let ((top, bottom), (left, right)) = (c.inside(0, k[0]), c.inside(1, k[1]));
        if left == right {
            return;
        }
        let (n, step) = (right - left, if c.stride[1] == 1 { 1 } else { c.stride[1] });
        let ix = left * c.stride[1] + k[1] * c.dilation[1] - c.padding[1];
        let mut sums = [T::ZERO; LANES];
        // SAFETY: `inside` keeps the lines within the planes.
        unsafe {
            let w = *weight;
            for y in top..bottom {
                let iy = y * c.stride[0] + k[0] * c.dilation[0] - c.padding[0];
                let x = plane.add(iy * c.input[1] + ix);
                let line = (output * c.places() + y * c.output[1] + left) as isize;
                let line = self.output.at(line);
                match self.makes {
                    Makes::Output => {
                        for i in 0..n {
                            *line.add(i) += w * *x.add(i * step);
                        }
                    }
                    Makes::Input => {
                        for i in 0..n {
                            *x.add(i * step) += w * *line.add(i);
                        }
                    }
                    Makes::Weight => {
                        for first in (0..n - n % LANES).step_by(LANES) {
                            for (i, sum) in sums.iter_mut().enumerate() {
                                *sum += *line.add(first + i) * *x.add((first + i) * step);
                            }
                        }
                        for i in n - n % LANES..n {
                            sums[i % LANES] += *line.add(i) * *x.add(i * step);
                        }
                    }
                }
            }
            if self.makes == Makes::Weight {
                *weight += tree(sums, &|a, b| a + b);
            }
        }
    }
}

/// Runs it for one image.
///
/// # Safety
/// The operands hold one image, its output and the weight, of the sizes `conv` says; what is made
/// overlaps nothing else, the others are only read.
pub(super) unsafe fn run<T: Float>(
    conv: &Conv,
    makes: Makes,
    input: *const T,
    weight: *const T,
    output: *const T,
) {
    multiversion::run(Depthwise {
        conv: *conv,
        makes,
        input: Dst::new(input.cast_mut()),
        weight: Dst::new(weight.cast_mut()),
        output: Dst::new(output.cast_mut()),
    });
}

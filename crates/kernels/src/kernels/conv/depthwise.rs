//! Convolutions whose groups have one channel each: weighted sums of shifted lines, without patches.
//! With steps of one, planes are copied into zeros first, and sums stay in registers.

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
    /// The output.
    Output,
    /// The gradient of the input.
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
    /// One element for each channel of the output, or null.
    bias: *const T,
    scratch: *mut T,
}

/// A plane within zeros.
#[derive(Clone, Copy)]
struct Framed {
    size: [usize; 2],
    /// Zeros before the first row and column.
    before: [usize; 2],
    /// Elements of a row, with its zeros.
    line: usize,
    rows: usize,
}

impl Framed {
    /// The plane of `size` that a kernel is moved over to give one of `result`.
    fn new(conv: &Conv, size: [usize; 2], before: [usize; 2], result: [usize; 2]) -> Self {
        let reach = [0, 1].map(|i| (conv.kernel[i] - 1) * conv.dilation[i]);
        Self { size, before, line: result[1] + reach[1], rows: result[0] + reach[0] }
    }
    /// Elements, with room for lanes behind the last row.
    fn elements(&self) -> usize {
        self.rows * self.line + LANES
    }
    /// # Safety
    /// `to` holds the elements.
    #[inline(always)]
    unsafe fn fill<T: Float>(&self, from: *const T, to: *mut T) {
        let [height, width] = self.size;
        // What lies beyond the last place of the kernel is read by none.
        let columns = width.min(self.line.saturating_sub(self.before[1]));
        // SAFETY: rows and columns within both.
        unsafe {
            std::slice::from_raw_parts_mut(to, self.elements()).fill(T::ZERO);
            for y in 0..height.min(self.rows.saturating_sub(self.before[0])) {
                let to = to.add((y + self.before[0]) * self.line + self.before[1]);
                std::ptr::copy_nonoverlapping(from.add(y * width), to, columns);
            }
        }
    }
}

impl Conv {
    /// The planes of the input, if steps are one.
    fn framed(&self) -> Option<Framed> {
        (self.stride == [1, 1]).then(|| Framed::new(self, self.input, self.padding, self.output))
    }
    /// The planes of the output's gradient, if steps are one and padding does not reach beyond the kernel.
    fn framed_back(&self) -> Option<Framed> {
        let reach = [0, 1].map(|i| (self.kernel[i] - 1) * self.dilation[i]);
        let fits = self.stride == [1, 1] && (0..2).all(|i| self.padding[i] <= reach[i]);
        fits.then(|| {
            let before = [0, 1].map(|i| reach[i] - self.padding[i]);
            Framed::new(self, self.output, before, self.input)
        })
    }
    /// Elements of the buffer that an image is worked on in.
    pub(super) fn depthwise_scratch(&self) -> usize {
        let [one, other] =
            [self.framed(), self.framed_back()].map(|f| f.map_or(0, |f| f.elements()));
        one.max(other)
    }
}

impl<T: Float> Job for Depthwise<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let c = self.conv;
        let each = c.outputs / c.groups;
        let taps = c.kernel[0] * c.kernel[1];
        let framed = if self.makes == Makes::Input { c.framed_back() } else { c.framed() };
        for output in 0..c.outputs {
            let group = output / each;
            let fresh = output % each == 0;
            // SAFETY: the planes of the channel and its part of the weight.
            unsafe {
                let input = self.input.at((group * c.pixels()) as isize);
                let line = self.output.at((output * c.places()) as isize);
                let weight = self.weight.at((output * taps) as isize);
                let shift = if self.bias.is_null() { T::ZERO } else { *self.bias.add(output) };
                match (framed, self.makes) {
                    (Some(framed), Makes::Output) => {
                        if fresh {
                            framed.fill(input, self.scratch);
                        }
                        self.slide(framed, weight, false, c.output, line, shift, true);
                    }
                    (Some(framed), Makes::Input) => {
                        framed.fill(line, self.scratch);
                        self.slide(framed, weight, true, c.input, input, T::ZERO, fresh);
                    }
                    (Some(framed), Makes::Weight) => {
                        if fresh {
                            framed.fill(input, self.scratch);
                        }
                        self.correlate(framed, line, weight);
                    }
                    (None, _) => {
                        match self.makes {
                            Makes::Output => {
                                std::slice::from_raw_parts_mut(line, c.places()).fill(shift);
                            }
                            Makes::Input if fresh => {
                                std::slice::from_raw_parts_mut(input, c.pixels()).fill(T::ZERO);
                            }
                            _ => {}
                        }
                        for tap in 0..taps {
                            let k = [tap / c.kernel[1], tap % c.kernel[1]];
                            self.tap(input, line, k, weight.add(tap));
                        }
                    }
                }
            }
        }
    }
}

impl<T: Float> Depthwise<T> {
    /// From one place of the kernel's first element to that of another element.
    #[inline(always)]
    fn away(&self, framed: Framed, tap: usize) -> usize {
        let c = self.conv;
        tap / c.kernel[1] * c.dilation[0] * framed.line + tap % c.kernel[1] * c.dilation[1]
    }

    /// A plane of results from the framed one: `shift`, or what is there, plus the weighted sums.
    #[inline(always)]
    unsafe fn slide(
        &self,
        framed: Framed,
        weight: *const T,
        turned: bool,
        [height, width]: [usize; 2],
        to: *mut T,
        shift: T,
        fresh: bool,
    ) {
        let taps = self.conv.kernel[0] * self.conv.kernel[1];
        for y in 0..height {
            for x in (0..width).step_by(LANES) {
                let n = LANES.min(width - x);
                let mut sums = [shift; LANES];
                // SAFETY: the frame has room for the kernel at every place, and for lanes behind.
                unsafe {
                    let to = to.add(y * width + x);
                    if !fresh {
                        std::ptr::copy_nonoverlapping(to, sums.as_mut_ptr(), n);
                    }
                    let from = self.scratch.add(y * framed.line + x).cast_const();
                    for tap in 0..taps {
                        let w = *weight.add(if turned { taps - 1 - tap } else { tap });
                        let from = from.add(self.away(framed, tap));
                        for (i, sum) in sums.iter_mut().enumerate() {
                            *sum += w * *from.add(i);
                        }
                    }
                    if n == LANES {
                        to.cast::<[T; LANES]>().write(sums);
                    } else {
                        std::ptr::copy_nonoverlapping(sums.as_ptr(), to, n);
                    }
                }
            }
        }
    }

    /// Adds to each element of the kernel the products of a gradient with what lies below it.
    #[inline(always)]
    unsafe fn correlate(&self, framed: Framed, grad: *const T, weight: *mut T) {
        let [height, width] = self.conv.output;
        for tap in 0..self.conv.kernel[0] * self.conv.kernel[1] {
            let mut sums = [T::ZERO; LANES];
            // SAFETY: as above.
            unsafe {
                let from = self.scratch.add(self.away(framed, tap)).cast_const();
                for y in 0..height {
                    let (from, grad) = (from.add(y * framed.line), grad.add(y * width));
                    for x in (0..width - width % LANES).step_by(LANES) {
                        for (i, sum) in sums.iter_mut().enumerate() {
                            *sum += *grad.add(x + i) * *from.add(x + i);
                        }
                    }
                    // Lanes behind the row count as zeros on both sides.
                    let (x, n) = (width - width % LANES, width % LANES);
                    if n > 0 {
                        let mut last = [T::ZERO; LANES];
                        std::ptr::copy_nonoverlapping(grad.add(x), last.as_mut_ptr(), n);
                        for (i, (sum, &g)) in sums.iter_mut().zip(&last).enumerate() {
                            *sum += g * if i < n { *from.add(x + i) } else { T::ZERO };
                        }
                    }
                }
                *weight.add(tap) += tree(sums, &|a, b| a + b);
            }
        }
    }

    /// One element of the kernel over a plane, with any steps.
    #[inline(always)]
    unsafe fn tap(&self, plane: *mut T, output: *mut T, k: [usize; 2], weight: *mut T) {
        let c = self.conv;
        let ((top, bottom), (left, right)) = (c.inside(0, k[0]), c.inside(1, k[1]));
        if left == right {
            return;
        }
        let (n, step) = (right - left, c.stride[1]);
        let ix = left * step + k[1] * c.dilation[1] - c.padding[1];
        let mut sum = T::ZERO;
        // SAFETY: `inside` keeps the lines within the planes.
        unsafe {
            let w = *weight;
            for y in top..bottom {
                let iy = y * c.stride[0] + k[0] * c.dilation[0] - c.padding[0];
                let x = plane.add(iy * c.input[1] + ix);
                let line = output.add(y * c.output[1] + left);
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
                        for i in 0..n {
                            sum += *line.add(i) * *x.add(i * step);
                        }
                    }
                }
            }
            if self.makes == Makes::Weight {
                *weight += sum;
            }
        }
    }
}

/// Runs it for one image.
///
/// # Safety
/// The operands hold one image, its output and the weight, of the sizes `conv` says, `scratch` as many
/// elements as it says; what is made overlaps nothing else, the others are only read.
pub(super) unsafe fn run<T: Float>(
    conv: &Conv,
    makes: Makes,
    input: *const T,
    weight: *const T,
    output: *const T,
    bias: *const T,
    scratch: *mut T,
) {
    multiversion::run(Depthwise {
        conv: *conv,
        makes,
        input: Dst::new(input.cast_mut()),
        weight: Dst::new(weight.cast_mut()),
        output: Dst::new(output.cast_mut()),
        bias,
        scratch,
    });
}

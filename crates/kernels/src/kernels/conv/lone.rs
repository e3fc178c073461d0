//! The gradient of the weight of groups that have one channel: both planes are read by vectors along
//! their rows. Vectors have the same length at every level, and with it the bits.

use std::ops::Range;

use super::Conv;
use super::frame::{Sweep, lay};
use super::summed::Channel;
use crate::kernels::matmul::{Float, Vector};
use crate::kernels::vexp::Real as _;

/// Elements framed at once.
const FRAMED: usize = 1 << 14;

fn sweep(conv: &Conv) -> Sweep {
    Sweep {
        taps: conv.taps(),
        before: conv.padding.map(|n| n as isize),
        step: conv.stride,
        size: conv.output,
        first: [0; 3],
        every: [1; 3],
    }
}

/// Rows framed at once, the elements of their planes, and those of the gradient's rows.
fn layout(conv: &Conv, sweep: &Sweep, lanes: usize) -> (usize, usize, usize) {
    let line = sweep.line(lanes);
    let planes = conv.kernel[0];
    let mut rows = conv.output[1].max(1);
    while rows > 1 && planes * sweep.rows(rows) * line > FRAMED {
        rows = rows.div_ceil(2);
    }
    (rows, sweep.rows(rows) * line, rows * conv.output[2].next_multiple_of(lanes))
}

/// Elements of the buffer for one channel.
pub(super) fn scratch(conv: &Conv) -> usize {
    let each = |lanes| {
        let (_, plane, grad) = layout(conv, &sweep(conv), lanes);
        conv.kernel[0] * plane + grad
    };
    [2, 4, 8].map(each).into_iter().max().unwrap_or(0)
}

/// What vectors are summed over.
struct Rows<T> {
    rows: usize,
    columns: usize,
    /// The input's frame, and from one row of places to the next.
    from: *const T,
    down: usize,
    /// The output's gradient in rows of whole vectors.
    grad: *const T,
    across: usize,
}

/// Sets the gradient of the weight of one channel of the input, with all that come from it.
///
/// # Safety
/// As for the task it belongs to.
#[inline(always)]
pub(super) unsafe fn sum<V: Vector>(c: &Conv, of: &Channel<V::T>, images: Range<usize>) {
    let each = c.outputs / c.groups;
    let sweep = sweep(c);
    let taps = sweep.taps.len();
    let (rows, plane, _) = layout(c, &sweep, V::WIDTH);
    let line = sweep.line(V::WIDTH);
    let offsets = sweep.taps.offsets(1, plane, line, c.stride[2]);
    let grads = of.scratch.wrapping_add(c.kernel[0] * plane);
    let across = c.output[2].next_multiple_of(V::WIDTH);
    let (places, pixels) = (c.places(), c.pixels());
    // SAFETY: the planes of the channel, the parts of scratch, the channel's part of the weight.
    unsafe {
        let to = of.to.add(of.channel * each * taps);
        std::slice::from_raw_parts_mut(to, each * taps).fill(V::T::ZERO);
        for image in images {
            let input = of.input.add((image * c.channels + of.channel) * pixels);
            for depth in 0..c.output[0] {
                for top in (0..c.output[1]).step_by(rows) {
                    let rows = rows.min(c.output[1] - top);
                    let all = top..top + rows;
                    sweep.fill(input, c.input, 1, depth, all, of.scratch, 0, plane, line);
                    for output in 0..each {
                        let at = image * c.outputs + of.channel * each + output;
                        let row = depth * c.output[1] + top;
                        let grad = of.grad.add(at * places + row * c.output[2]);
                        for y in 0..rows {
                            let to = grads.add(y * across);
                            lay::<V>(grad.add(y * c.output[2]), c.output[2], places, to);
                        }
                        let sums = Rows {
                            rows,
                            columns: c.output[2],
                            from: of.scratch.cast_const(),
                            down: sweep.between(line),
                            grad: grads.cast_const(),
                            across,
                        };
                        sums.add::<V>(&offsets, sweep.taps.counts(), to.add(output * taps));
                    }
                }
            }
        }
    }
}

impl<T: Float> Rows<T> {
    /// Adds the sums for all elements of the kernel.
    #[inline(always)]
    unsafe fn add<V: Vector<T = T>>(&self, offsets: &[usize], counts: [usize; 3], to: *mut T) {
        let [deep, high, wide] = counts;
        let mut y = 0;
        while y < deep * high {
            // Planes lie behind one another in the frame, rows of the kernel in `offsets`.
            let left = deep * high - y;
            let mut x = 0;
            let mut done = 1;
            while x < wide {
                let at = y * wide + x;
                // SAFETY: passed on.
                unsafe {
                    let (rows, columns) = match (left, wide - x) {
                        (3.., 3) if x == 0 => {
                            self.some::<V, 3, 3>(&offsets[at..], wide, to.add(at))
                        }
                        (2.., 5) if x == 0 => {
                            self.some::<V, 2, 5>(&offsets[at..], wide, to.add(at))
                        }
                        (_, 5) => self.some::<V, 1, 5>(&offsets[at..], wide, to.add(at)),
                        (_, 3..) => self.some::<V, 1, 3>(&offsets[at..], wide, to.add(at)),
                        _ => self.some::<V, 1, 1>(&offsets[at..], wide, to.add(at)),
                    };
                    x += columns;
                    done = rows;
                }
            }
            y += done;
        }
    }

    /// Some rows by some columns of the kernel.
    #[inline(always)]
    unsafe fn some<V: Vector<T = T>, const HIGH: usize, const WIDE: usize>(
        &self,
        offsets: &[usize],
        wide: usize,
        to: *mut T,
    ) -> (usize, usize) {
        // SAFETY: frame, gradient and weight are the caller's.
        unsafe {
            let at: [[*const T; WIDE]; HIGH] = std::array::from_fn(|i| {
                std::array::from_fn(|j| self.from.add(offsets[i * wide + j]))
            });
            let mut sums = [[V::splat(T::ZERO); WIDE]; HIGH];
            for y in 0..self.rows {
                for x in (0..self.across).step_by(V::WIDTH) {
                    let g = V::load(self.grad.add(y * self.across + x));
                    for (sums, at) in sums.iter_mut().zip(&at) {
                        for (sum, at) in sums.iter_mut().zip(at) {
                            *sum = V::load(at.add(y * self.down + x)).fused(g, *sum);
                        }
                    }
                }
            }
            // Stored by a loop short enough to be written out: the sums stay in registers before it.
            let mut lanes = [[[T::ZERO; 8]; WIDE]; HIGH];
            for (lanes, sums) in lanes.iter_mut().zip(&sums) {
                for (lanes, &sum) in lanes.iter_mut().zip(sums) {
                    sum.store(lanes.as_mut_ptr());
                }
            }
            for (i, lanes) in lanes.iter().enumerate() {
                for (j, &lanes) in lanes.iter().enumerate() {
                    let mut made = tree(lanes);
                    if made.is_nan() {
                        // What lies behind a row, times zero, may be it.
                        made = self.checked::<V>(at[i][j]);
                    }
                    *to.add(i * wide + j) += made;
                }
            }
        }
        (HIGH, WIDE)
    }

    /// One sum again, without what lies behind rows.
    #[cold]
    unsafe fn checked<V: Vector<T = T>>(&self, from: *const T) -> T {
        let mut lanes = [T::ZERO; 8];
        for y in 0..self.rows {
            for x in 0..self.columns {
                // SAFETY: as above.
                unsafe {
                    let g = *self.grad.add(y * self.across + x);
                    let lane = &mut lanes[x % V::WIDTH];
                    *lane = V::combine(g, *from.add(y * self.down + x), *lane);
                }
            }
        }
        tree(lanes)
    }
}

#[inline(always)]
fn tree<T: Float>([a, b, c, d, e, f, g, h]: [T; 8]) -> T {
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

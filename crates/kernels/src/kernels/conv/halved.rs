//! Planes of one channel for each group by steps of two: rows lie in the frame as they come, and vectors
//! of them are parted into even and odd columns in registers, or woven from these for the gradient of the
//! input. Frames parted beforehand take a second pass over memory, and results of a quarter of the places
//! are too few to pay for it.

use std::ops::Range;

use super::Conv;
use super::direct::Task;
use super::frame::lay;
use super::planes::wanted;
use super::summed::Channel;
use crate::kernels::matmul::{Float, Vector, Work};
use crate::kernels::vexp::Real as _;

/// Elements framed at once: they stay in L1.
const FRAMED: usize = 1 << 13;

/// How such planes are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Halved {
    kernel: usize,
    groups: usize,
    planes: usize,
    /// Rows and columns of the input, and of the output.
    input: [usize; 2],
    output: [usize; 2],
    padding: [usize; 2],
    /// Whether the gradient of the input is made.
    turned: bool,
    /// Bands of a plane, and rows of results of a band, at most.
    bands: usize,
    rows: usize,
    tasks: usize,
}

impl Halved {
    /// If the convolution is of this kind.
    pub(super) fn new(c: &Conv, turned: bool) -> Option<Self> {
        let kernel = c.kernel[2];
        let [[_, high, wide], [_, down, along]] = [c.input, c.output];
        let lone = c.groups > 1 && c.channels == c.groups && c.outputs == c.groups;
        let flat = c.input[0] == 1 && c.output[0] == 1 && c.stride[0] == 1 && c.padding[0] == 0;
        let halved = c.stride[1..] == [2, 2] && c.dilation[1..] == [1, 1];
        let square = c.kernel == [1, kernel, kernel] && [3, 5].contains(&kernel);
        let inside = c.padding[1] < kernel && c.padding[2] < kernel;
        if !(lone && flat && halved && square && inside) || high * wide * c.batch == 0 {
            return None;
        }
        let mut halved = Self {
            kernel,
            groups: c.groups,
            planes: c.batch * c.groups,
            input: [high, wide],
            output: [down, along],
            padding: [c.padding[1], c.padding[2]],
            turned,
            bands: 1,
            rows: if turned { high } else { down },
            tasks: 1,
        };
        let all = halved.rows;
        let work = down * along * kernel * kernel;
        let wanted = wanted(halved.planes * work);
        let least = wanted.div_ceil(halved.planes).min(all);
        // Pairs of rows are made at once.
        halved = halved.with_rows(all.div_ceil(least));
        halved.bands = all.div_ceil(halved.rows);
        halved.tasks = wanted.min(halved.planes * halved.bands);
        Some(halved)
    }

    /// Cut for the sums of the gradient of the weight.
    pub(super) fn summed(c: &Conv) -> Option<Self> {
        Self::new(c, false).map(|halved| halved.with_rows(halved.output[0]))
    }

    /// With bands of so many rows, or of as many as fit in L1.
    fn with_rows(self, rows: usize) -> Self {
        let mut halved = Self { rows: rows.next_multiple_of(2), ..self };
        while halved.rows > 2 && halved.frame(16) > FRAMED {
            halved.rows = (halved.rows / 2).next_multiple_of(2);
        }
        halved
    }

    pub(super) fn tasks(&self) -> usize {
        self.tasks
    }

    /// The same for one image by itself, in one task.
    pub(super) fn alone(&self) -> Self {
        Self { planes: self.groups, tasks: 1, ..*self }
    }

    /// Elements of the buffer that a task works in.
    pub(super) fn scratch(&self) -> usize {
        self.frame(16)
    }

    /// Columns of results, or pairs of them, that vectors are filled with.
    fn columns(&self) -> usize {
        if self.turned { self.input[1].div_ceil(2) } else { self.output[1] }
    }

    /// Rows of the frame for so many rows of results.
    fn framed(&self, rows: usize) -> usize {
        if self.turned {
            rows.div_ceil(2) + self.kernel / 2 + 1
        } else {
            2 * rows + self.kernel - 2
        }
    }

    /// Elements of a row of the frame: as far as vectors of `lanes` read, and are written.
    fn line(&self, lanes: usize) -> usize {
        let columns = self.columns().next_multiple_of(lanes);
        let (read, source) = if self.turned {
            (columns + self.kernel / 2 + 1, self.output[1])
        } else {
            (2 * columns + self.kernel, self.input[1])
        };
        let written = self.before()[1] + source.next_multiple_of(lanes);
        read.max(written).next_multiple_of(16)
    }

    fn frame(&self, lanes: usize) -> usize {
        self.framed(self.rows) * self.line(lanes)
    }

    /// Rows and columns of zeros before the source.
    fn before(&self) -> [usize; 2] {
        self.padding.map(|n| if self.turned { self.kernel / 2 - n / 2 } else { n })
    }

    /// Frames what the rows of results from `top` on need. Beside the columns that come from the source the
    /// frame is zero already.
    #[inline(always)]
    unsafe fn fill<T: Float, V: Vector<T = T>>(
        &self,
        source: *const T,
        top: usize,
        rows: usize,
        frame: *mut T,
    ) {
        let [high, wide] = if self.turned { self.output } else { self.input };
        let first = if self.turned { top / 2 } else { 2 * top };
        let ([before, left], line) = (self.before(), self.line(V::WIDTH));
        for row in 0..self.framed(rows) {
            // SAFETY: a row of the frame, which has room for whole vectors, and one of the source.
            unsafe {
                let to = frame.add(row * line + left);
                let at = (first + row).wrapping_sub(before);
                if at >= high {
                    for x in (0..wide).step_by(V::WIDTH) {
                        V::splat(T::ZERO).store(to.add(x));
                    }
                    continue;
                }
                lay::<V>(source.add(at * wide), wide, high * wide, to);
            }
        }
    }
}

/// One task.
pub(super) struct Run<T> {
    pub(super) halved: Halved,
    pub(super) of: Task<T>,
}

impl<T: Float> Work<T> for Run<T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let halved = &self.halved;
        // SAFETY: passed on.
        unsafe {
            if halved.columns() > V::Pack::WIDTH {
                self.bands::<V>();
            } else {
                self.bands::<V::Pack>();
            }
        }
    }
}

impl<T: Float> Run<T> {
    #[inline(always)]
    unsafe fn bands<V: Vector<T = T>>(&self) {
        let (halved, of) = (&self.halved, &self.of);
        let (start, end) = of.share(halved.planes * halved.bands, halved.tasks);
        let [from, to] = if halved.turned {
            [halved.output, halved.input]
        } else {
            [halved.input, halved.output]
        };
        let taps = halved.kernel * halved.kernel;
        // SAFETY: the buffer; a plane's weight, source and results.
        unsafe {
            let frame = halved.frame(V::WIDTH);
            std::slice::from_raw_parts_mut(of.scratch, frame).fill(T::ZERO);
            for band in start..end {
                let (plane, top) = (band / halved.bands, band % halved.bands * halved.rows);
                let group = plane % halved.groups;
                let rows = halved.rows.min(to[0] - top);
                let source = of.input.add(plane * from[0] * from[1]);
                halved.fill::<T, V>(source, top, rows, of.scratch);
                let band = Band {
                    weight: of.weight.add(group * taps),
                    frame: of.scratch.cast_const(),
                    line: halved.line(V::WIDTH),
                    bias: of.bias(group),
                    to: of.output.add((plane * to[0] + top) * to[1]),
                    across: to[1],
                    rows,
                    columns: halved.columns(),
                };
                match (halved.kernel, halved.turned, halved.padding[0] % 2, halved.padding[1] % 2) {
                    (3, false, ..) => band.sums::<V, 3, 1>(),
                    (_, false, ..) => band.sums::<V, 5, 2>(),
                    (3, true, 0, 0) => band.back::<V, 3, 0, 0>(),
                    (3, true, 0, _) => band.back::<V, 3, 0, 1>(),
                    (3, true, _, 0) => band.back::<V, 3, 1, 0>(),
                    (3, true, ..) => band.back::<V, 3, 1, 1>(),
                    (_, true, 0, 0) => band.back::<V, 5, 0, 0>(),
                    (_, true, 0, _) => band.back::<V, 5, 0, 1>(),
                    (_, true, _, 0) => band.back::<V, 5, 1, 0>(),
                    (_, true, ..) => band.back::<V, 5, 1, 1>(),
                }
            }
        }
    }
}

/// A band of results of one plane.
struct Band<T> {
    weight: *const T,
    frame: *const T,
    /// From one row of the frame to the next.
    line: usize,
    bias: T,
    to: *mut T,
    /// From one row of results to the next.
    across: usize,
    rows: usize,
    columns: usize,
}

/// The columns from `row` on that lie two apart, for each column of the kernel.
#[inline(always)]
unsafe fn parted<T: Float, V: Vector<T = T>, const K: usize>(row: *const T) -> [V; K] {
    // SAFETY: the caller's frame.
    unsafe {
        let mut columns = [V::splat(T::ZERO); K];
        for (i, pair) in columns.chunks_mut(2).enumerate() {
            let at = row.add(2 * i);
            let both = V::load(at).part(V::load(at.add(V::WIDTH)));
            for (to, part) in pair.iter_mut().zip(both) {
                *to = part;
            }
        }
        columns
    }
}

impl<T: Float> Band<T> {
    /// Stores the first `n` elements of a vector, and what follows where the next rows are to be written over
    /// it yet.
    #[inline(always)]
    unsafe fn put<V: Vector<T = T>>(&self, v: V, row: usize, x: usize, n: usize) {
        let at = row * self.across + x;
        let room = self.columns <= V::WIDTH && at + V::WIDTH <= self.rows * self.across;
        // SAFETY: results of the band.
        unsafe {
            if n >= V::WIDTH || room {
                v.store(self.to.add(at));
            } else {
                v.store_some(self.to.add(at), n);
            }
        }
    }

    /// Results, row by row: two new rows of the frame for each. `NEXT` rows of results have been begun
    /// by the rows before.
    #[inline(always)]
    unsafe fn sums<V: Vector<T = T>, const K: usize, const NEXT: usize>(&self) {
        // SAFETY: the frame holds what all lanes read, the band its results.
        unsafe {
            let weight: [[V; K]; K] = std::array::from_fn(|i| {
                std::array::from_fn(|j| V::splat(*self.weight.add(i * K + j)))
            });
            let bias = V::splat(self.bias);
            for x in (0..self.columns).step_by(V::WIDTH) {
                let x = if self.columns >= V::WIDTH { x.min(self.columns - V::WIDTH) } else { x };
                let mut frame = self.frame.add(2 * x);
                let mut sums = [bias; NEXT];
                for row in 0..K - 2 {
                    let columns = parted::<T, V, K>(frame);
                    for (i, sum) in sums.iter_mut().enumerate() {
                        if row >= 2 * i {
                            *sum = add(columns, &weight[row - 2 * i], *sum);
                        }
                    }
                    frame = frame.add(self.line);
                }
                for y in 0..self.rows {
                    let columns =
                        [parted::<T, V, K>(frame), parted::<T, V, K>(frame.add(self.line))];
                    frame = frame.add(2 * self.line);
                    let mut made = bias;
                    for i in 0..=NEXT {
                        let mut sum = if i < NEXT { sums[i] } else { bias };
                        for (down, &columns) in columns.iter().enumerate() {
                            if K + down >= 2 + 2 * i {
                                sum = add(columns, &weight[K + down - 2 - 2 * i], sum);
                            }
                        }
                        if i == 0 {
                            made = sum;
                        } else {
                            sums[i - 1] = sum;
                        }
                    }
                    self.put(made, y, x, self.columns - x);
                }
            }
        }
    }

    /// Pairs of rows by pairs of columns of the input's gradient. `DOWN` and `ALONG` are the remainders of the
    /// padding by two, which say what elements of the kernel a place has to do with.
    #[inline(always)]
    unsafe fn back<V: Vector<T = T>, const K: usize, const DOWN: usize, const ALONG: usize>(&self) {
        // The element of the kernel between a place of the pair and a source.
        let tap = |place: usize, odd: usize, source: usize| {
            (place + odd + 2 * (K / 2)).checked_sub(2 * source).filter(|&at| at < K)
        };
        // SAFETY: as above.
        unsafe {
            let weight: [[V; K]; K] = std::array::from_fn(|i| {
                std::array::from_fn(|j| V::splat(*self.weight.add(i * K + j)))
            });
            for x in (0..self.columns).step_by(V::WIDTH) {
                let x = if self.columns >= V::WIDTH { x.min(self.columns - V::WIDTH) } else { x };
                let left = self.across - 2 * x;
                for pair in 0..self.rows.div_ceil(2) {
                    let frame = self.frame.add(pair * self.line + x);
                    let mut sums = [[V::splat(self.bias); 2]; 2];
                    for down in 0..K / 2 + 2 {
                        for along in 0..K / 2 + 2 {
                            let source = V::load(frame.add(down * self.line + along));
                            for (i, sums) in sums.iter_mut().enumerate() {
                                for (j, sum) in sums.iter_mut().enumerate() {
                                    let at = (tap(i, DOWN, down), tap(j, ALONG, along));
                                    if let (Some(i), Some(j)) = at {
                                        *sum = weight[i][j].fused(source, *sum);
                                    }
                                }
                            }
                        }
                    }
                    let rows = self.rows - 2 * pair;
                    for (i, [even, odd]) in sums.into_iter().enumerate().take(rows) {
                        let [first, second] = even.weave(odd);
                        let row = 2 * pair + i;
                        self.put(first, row, 2 * x, left);
                        if left > V::WIDTH {
                            self.put(second, row, 2 * x + V::WIDTH, left - V::WIDTH);
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn add<V: Vector, const K: usize>(columns: [V; K], weight: &[V; K], sum: V) -> V {
    let mut sum = sum;
    for (column, w) in columns.into_iter().zip(weight) {
        // SAFETY: passed on.
        sum = unsafe { w.fused(column, sum) };
    }
    sum
}

impl Halved {
    /// Sets the gradient of one channel's weight to the sum over some images. Vectors have the same length at every level, and with it the bits.
    ///
    /// # Safety
    /// As for the task it belongs to.
    #[inline(always)]
    pub(super) unsafe fn sum<V: Vector>(&self, of: &Channel<V::T>, images: Range<usize>) {
        let taps = self.kernel * self.kernel;
        let ([high, wide], [down, along]) = (self.input, self.output);
        // SAFETY: the buffer, the channel's planes, and its part of the weight.
        unsafe {
            std::slice::from_raw_parts_mut(of.scratch, self.frame(V::WIDTH)).fill(V::T::ZERO);
            let to = of.to.add(of.channel * taps);
            std::slice::from_raw_parts_mut(to, taps).fill(V::T::ZERO);
            for image in images {
                let plane = image * self.groups + of.channel;
                for top in (0..down).step_by(self.rows) {
                    let rows = self.rows.min(down - top);
                    let source = of.input.add(plane * high * wide);
                    self.fill::<V::T, V>(source, top, rows, of.scratch);
                    let band = Rows {
                        frame: of.scratch.cast_const(),
                        line: self.line(V::WIDTH),
                        grad: of.grad.add((plane * down + top) * along),
                        rows,
                        columns: along,
                    };
                    if self.kernel == 3 {
                        band.add::<V, 3, 3>(0, to);
                    } else {
                        band.add::<V, 5, 2>(0, to);
                        band.add::<V, 5, 2>(2, to);
                        band.add::<V, 5, 1>(4, to);
                    }
                }
            }
        }
    }
}

/// Rows of places of one plane.
struct Rows<T> {
    frame: *const T,
    line: usize,
    grad: *const T,
    rows: usize,
    columns: usize,
}

impl<T: Float> Rows<T> {
    /// Adds the sums for `HIGH` rows of the kernel, from `first` on.
    #[inline(always)]
    unsafe fn add<V: Vector<T = T>, const K: usize, const HIGH: usize>(
        &self,
        first: usize,
        to: *mut T,
    ) {
        let whole = self.columns / V::WIDTH * V::WIDTH;
        // SAFETY: frame, gradient and weight are the caller's.
        unsafe {
            let mut sums = [[V::splat(T::ZERO); K]; HIGH];
            let mask = V::mask(self.columns - whole);
            for y in 0..self.rows {
                let frame = self.frame.add((2 * y + first) * self.line);
                let grad = self.grad.add(y * self.columns);
                for x in (0..whole).step_by(V::WIDTH) {
                    let g = V::load(grad.add(x));
                    self.one(frame.add(2 * x), g, &mut sums);
                }
                if whole < self.columns {
                    let g = V::load_some(grad.add(whole), mask);
                    self.one(frame.add(2 * whole), g, &mut sums);
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                let mut all = [T::ZERO; 16];
                for (some, to) in sums.chunks(V::WIDTH).zip(all.chunks_mut(V::WIDTH)) {
                    let mut square = [V::splat(T::ZERO); 8];
                    square[..some.len()].copy_from_slice(some);
                    V::sums(&square).store(to.as_mut_ptr());
                }
                for (j, &made) in all.iter().enumerate().take(K) {
                    // What lies behind a row, times zero, may not be a number.
                    let made = if made.is_nan() { self.checked::<V>(first + i, j) } else { made };
                    *to.add((first + i) * K + j) += made;
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn one<V: Vector<T = T>, const K: usize, const HIGH: usize>(
        &self,
        frame: *const T,
        g: V,
        sums: &mut [[V; K]; HIGH],
    ) {
        for (i, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's frame.
            unsafe {
                let columns = parted::<T, V, K>(frame.add(i * self.line));
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = column.fused(g, *sum);
                }
            }
        }
    }

    /// One sum again, without what lies behind rows.
    #[cold]
    unsafe fn checked<V: Vector<T = T>>(&self, i: usize, j: usize) -> T {
        let mut lanes = [T::ZERO; 8];
        for y in 0..self.rows {
            for x in 0..self.columns {
                // SAFETY: as above.
                unsafe {
                    let from = *self.frame.add((2 * y + i) * self.line + 2 * x + j);
                    let g = *self.grad.add(y * self.columns + x);
                    let lane = &mut lanes[x % V::WIDTH];
                    *lane = V::combine(g, from, *lane);
                }
            }
        }
        crate::kernels::matmul::halved(&mut lanes[..V::WIDTH])
    }
}

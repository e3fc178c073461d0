//! Sums over planes of groups that read one channel: a vector of the frame, once read, serves all rows of
//! the kernel, in strips of results whose sums stay in registers. All channels made of a plane share its
//! frame.

use super::direct::{Direct, Task};
use super::frame::{Sweep, blank, lay, spread};
use crate::kernels::matmul::{Float, Vector, Work};
use crate::kernels::raw::prefetch;

/// Elements framed at once.
const FRAMED: usize = 1 << 15;
/// Multiply-adds of a task, at least.
const GRAIN: usize = 1 << 17;

/// Into how many tasks so many multiply-adds are to be cut.
pub(super) fn wanted(work: usize) -> usize {
    (work / GRAIN).clamp(1, 2 * super::tasks())
}

/// How the work is cut: into bands of planes, and these into tasks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes {
    bands: usize,
    /// Rows of results of a band, at most.
    rows: usize,
    tasks: usize,
}

impl Planes {
    /// If the convolution is of this kind.
    pub(super) fn new(d: &Direct) -> Option<Self> {
        let fits = |s: &Sweep| {
            let [deep, high, _] = s.taps.counts();
            let steps = match &d.sweeps[..] {
                [_] => [3, 5, 7].contains(&high) && s.step[1] <= 2 && s.every == [1; 3],
                _ => [1, 2, 3, 4, 5, 7].contains(&high) && s.every.iter().all(|&n| n <= 2),
            };
            steps && deep == 1 && s.taps.dense_rows() && s.places() > 0
        };
        let planes = d.batch * d.groups * d.outputs;
        let lone = d.inputs == 1 && d.source[0] == 1 && d.result[0] == 1;
        // Several channels could be vectors themselves: places are to fill nearly as many lanes.
        let full = |s: &Sweep| 4 * s.size[2] >= 3 * s.size[2].next_multiple_of(16);
        let lone = lone && (d.outputs == 1 || d.sweeps.iter().all(full));
        if !lone || planes == 0 || d.sweeps.is_empty() || !d.sweeps.iter().all(fits) {
            return None;
        }
        let work = d.sweeps.iter().map(|s| s.places() * s.taps.len()).sum::<usize>();
        let wanted = wanted(planes * work);
        let high = d.sweeps.iter().map(|s| s.size[1]).max().unwrap_or(1);
        let framed = d.sweeps.iter().map(|s| s.rows(s.size[1]) * s.line(16)).sum::<usize>();
        let least = framed.div_ceil(FRAMED);
        let rows = high.div_ceil(least.max(wanted.div_ceil(planes)).min(high));
        let bands = high.div_ceil(rows);
        Some(Self { bands, rows, tasks: wanted.min(planes * bands) })
    }

    pub(super) fn tasks(&self) -> usize {
        self.tasks
    }

    /// The same for one image by itself, in one task.
    pub(super) fn alone(&self) -> Self {
        Self { tasks: 1, ..*self }
    }

    pub(super) fn scratch(&self, d: &Direct) -> usize {
        d.sweeps.iter().map(|s| self.parts(s).iter().sum::<usize>()).sum()
    }

    /// Elements that the buffer holds of a sweep: its part of the weight, the frame, and results that are woven
    /// with others.
    fn parts(&self, s: &Sweep) -> [usize; 3] {
        let made = if s.every[2] > 1 { self.rows * s.size[2] } else { 0 };
        [s.taps.len(), s.rows(self.rows) * s.line(16) + 16, made]
    }
}

/// One task.
pub(super) struct Run<'a, T> {
    pub(super) direct: &'a Direct,
    pub(super) planes: Planes,
    pub(super) of: Task<T>,
}

/// A sweep with its part of the buffer.
struct Part<'a, T> {
    sweep: &'a Sweep,
    offsets: Vec<usize>,
    elements: Vec<usize>,
    /// Whether these are all, in the weight's order.
    ordered: bool,
    line: usize,
    weight: *mut T,
    frame: *mut T,
    made: *mut T,
}

impl<T: Float> Work<T> for Run<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let (d, cut) = (self.direct, self.planes);
        let all = d.batch * d.groups * cut.bands * d.outputs;
        let (start, end) = self.of.share(all, cut.tasks);
        let mut room = self.of.scratch;
        let part = |sweep| {
            let [weight, frame, made] = cut.parts(sweep).map(|n| {
                let at = room;
                room = room.wrapping_add(n);
                at
            });
            let line = sweep.line(V::WIDTH);
            let offsets = sweep.taps.offsets(1, 0, line, sweep.step[2]);
            let elements: Vec<usize> = sweep.taps.elements().collect();
            let ordered = elements.iter().enumerate().all(|(i, &element)| i == element);
            let ordered = ordered && elements.len() == d.taps;
            // SAFETY: a part of scratch.
            unsafe {
                std::slice::from_raw_parts_mut(frame, sweep.rows(cut.rows) * line + 16)
                    .fill(T::ZERO);
            }
            Part { sweep, offsets, elements, ordered, line, weight, frame, made }
        };
        let parts: Vec<Part<T>> = d.sweeps.iter().map(part).collect();
        let width = d.result[2];
        let mut framed = usize::MAX;
        for at in start..end {
            let (output, band) = (at % d.outputs, at / d.outputs);
            let (plane, top) = (band / cut.bands, band % cut.bands * cut.rows);
            let made = plane % d.groups * d.outputs + output;
            // SAFETY: the parts of scratch, the plane's weight, its source and its results.
            unsafe {
                let weight = self.of.weight.add(made * d.taps);
                let source = self.of.input.add(plane * d.source[1] * d.source[2]);
                let plane = self.of.output.add((plane * d.outputs + output) * d.result[1] * width);
                let row = |s: &Sweep| plane.add((s.first[1] + top * s.every[1]) * width);
                let rows = |s: &Sweep| cut.rows.min(s.size[1].saturating_sub(top));
                for part in &parts {
                    let (s, line) = (part.sweep, part.line);
                    if rows(s) == 0 {
                        continue;
                    }
                    if !part.ordered {
                        for (i, &element) in part.elements.iter().enumerate() {
                            *part.weight.add(i) = *weight.add(element);
                        }
                    }
                    if framed != band {
                        fill::<T, V>(
                            s,
                            source,
                            d.source,
                            top,
                            rows(s),
                            part.frame,
                            line,
                            cut.bands > 1,
                        );
                    }
                    let woven = s.every[2] > 1;
                    let [_, high, wide] = s.taps.counts();
                    let band = Band {
                        weight: if part.ordered { weight } else { part.weight.cast_const() },
                        wide,
                        offsets: &part.offsets[..wide],
                        frame: part.frame.cast_const(),
                        line: s.step[2] * line,
                        bias: self.of.bias(made),
                        to: if woven { part.made } else { row(s) },
                        across: if woven { s.size[2] } else { s.every[1] * width },
                        rows: rows(s),
                        columns: s.size[2],
                    };
                    match (high, s.step[1]) {
                        (1, 1) => band.run::<V, 1, 1>(),
                        (2, 1) => band.run::<V, 2, 1>(),
                        (3, 1) => band.run::<V, 3, 1>(),
                        (4, 1) => band.run::<V, 4, 1>(),
                        (5, 1) => band.run::<V, 5, 1>(),
                        (_, 1) => band.run::<V, 7, 1>(),
                        (3, _) => band.run::<V, 3, 2>(),
                        (5, _) => band.run::<V, 5, 2>(),
                        _ => band.run::<V, 7, 2>(),
                    }
                }
                framed = band;
                for pair in parts.chunks_exact(2).filter(|pair| pair[0].sweep.every[2] > 1) {
                    let odd = usize::from(pair[0].sweep.first[2] == 0);
                    let [even, odd] = [&pair[1 - odd], &pair[odd]];
                    let s = even.sweep;
                    for y in 0..rows(s) {
                        let line = |part: &Part<T>| {
                            let n = part.sweep.size[2];
                            std::slice::from_raw_parts(part.made.add(y * n), n)
                        };
                        let to = row(s).add(y * s.every[1] * width);
                        let to = std::slice::from_raw_parts_mut(to, width);
                        weave::<T, V>(to, line(even), line(odd));
                    }
                }
            }
        }
    }
}

/// Elements of `even` and `odd` in turn.
#[inline(always)]
unsafe fn weave<T: Float, V: Vector<T = T>>(to: &mut [T], even: &[T], odd: &[T]) {
    let pairs = (to.len() / 2).min(even.len()).min(odd.len());
    let whole = pairs / V::WIDTH * V::WIDTH;
    for at in (0..whole).step_by(V::WIDTH) {
        // SAFETY: whole vectors of all three.
        unsafe {
            let (even, odd) = (even.as_ptr().add(at), odd.as_ptr().add(at));
            let [first, second] = V::load(even).weave(V::load(odd));
            first.store(to.as_mut_ptr().add(2 * at));
            second.store(to.as_mut_ptr().add(2 * at + V::WIDTH));
        }
    }
    let left = pairs - whole;
    if left > 0 {
        // SAFETY: as many elements of all three.
        unsafe {
            let (even, odd) = (even.as_ptr().add(whole), odd.as_ptr().add(whole));
            let some = V::mask(left);
            let [first, second] = V::load_some(even, some).weave(V::load_some(odd, some));
            let to = to.as_mut_ptr().add(2 * whole);
            first.store_some(to, V::WIDTH.min(2 * left));
            if 2 * left > V::WIDTH {
                second.store_some(to.add(V::WIDTH), 2 * left - V::WIDTH);
            }
        }
    }
    if let (1, Some(to), Some(&last)) = (to.len() % 2, to.last_mut(), even.last()) {
        *to = last;
    }
}

/// Frames what `rows` rows of results from `top` on need. Beside the columns that come from the source
/// the frame is zero already, and so are the rows that do not unless others have been there (`used`).
#[inline(always)]
unsafe fn fill<T: Float, V: Vector<T = T>>(
    s: &Sweep,
    source: *const T,
    size: [usize; 3],
    top: usize,
    rows: usize,
    frame: *mut T,
    line: usize,
    used: bool,
) {
    let [_, high, wide] = size;
    let step = s.step[2];
    let framed = s.rows(rows) / step;
    let first = (top * s.step[1]) as isize - s.before[1];
    let before = s.before[2];
    let (to, from) = (before.max(0) as usize, (-before).max(0) as usize);
    let n = wide.saturating_sub(from).min(line.saturating_sub(to));
    for row in 0..framed {
        let at = first + row as isize;
        // SAFETY: lines of the frame, a row of the source.
        unsafe {
            let line_at = frame.add(row * step * line);
            if at < 0 || at as usize >= high {
                if used {
                    blank(std::slice::from_raw_parts_mut(line_at, step * line));
                }
                continue;
            }
            let row = source.add(at as usize * wide);
            if step == 1 {
                // Zeros behind the row are what the frame holds there, or the next row is to write.
                lay::<V>(row.add(from), n, high * wide, line_at.add(to));
                continue;
            }
            prefetch(row.wrapping_add(high * wide));
            let row = std::slice::from_raw_parts(row, wide);
            if let (2, Ok(before)) = (step, usize::try_from(before)) {
                let lines = std::slice::from_raw_parts_mut(line_at, 2 * line);
                part::<T, V>(row, lines.split_at_mut(line), before);
                continue;
            }
            for rest in 0..step {
                let to = std::slice::from_raw_parts_mut(line_at.add(rest * line), line);
                spread(row, to, rest as isize - before, step);
            }
        }
    }
}

/// Parts a row, `before` columns of zeros before it, into its even and odd columns.
#[inline(always)]
unsafe fn part<T: Float, V: Vector<T = T>>(
    row: &[T],
    (even, odd): (&mut [T], &mut [T]),
    before: usize,
) {
    // An odd number of zeros: the row's first element is an odd column by itself.
    let (row, at) = match row {
        [first, rest @ ..] if before % 2 == 1 => {
            if let Some(to) = odd.get_mut(before / 2) {
                *to = *first;
            }
            (rest, before / 2 + 1)
        }
        _ => (row, before / 2),
    };
    let at = at.min(even.len());
    let (pairs, last) = row.as_chunks::<2>();
    let n = pairs.len().min(even.len() - at);
    let (evens, odds) = (&mut even[at..][..n], &mut odd[at..][..n]);
    let pairs = &pairs[..n];
    let whole = n / V::WIDTH * V::WIDTH;
    for at in (0..whole).step_by(V::WIDTH) {
        // SAFETY: whole vectors of all three.
        unsafe {
            let from = pairs[at..].as_ptr().cast::<T>();
            let [even, odd] = V::load(from).part(V::load(from.add(V::WIDTH)));
            even.store(evens[at..].as_mut_ptr());
            odd.store(odds[at..].as_mut_ptr());
        }
    }
    let left = n - whole;
    if left > 0 {
        // SAFETY: as many elements of all three.
        unsafe {
            let from = pairs.as_ptr().add(whole).cast::<T>();
            let first = V::load_some(from, V::mask(V::WIDTH.min(2 * left)));
            let behind = V::mask((2 * left).saturating_sub(V::WIDTH));
            let second = V::load_some(from.wrapping_add(V::WIDTH), behind);
            let [even, odd] = first.part(second);
            even.store_some(evens.as_mut_ptr().add(whole), left);
            odd.store_some(odds.as_mut_ptr().add(whole), left);
        }
    }
    if let ([last], Some(to)) = (last, even.get_mut(at + pairs.len())) {
        *to = *last;
    }
}

/// A band of results of one plane.
struct Band<'a, T> {
    /// The elements of the kernel, row by row, and how many there are in a row.
    weight: *const T,
    wide: usize,
    /// Where in the frame the sources of a row of the kernel lie.
    offsets: &'a [usize],
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

impl<T: Float> Band<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>, const HIGH: usize, const DOWN: usize>(&self) {
        // Strips lie over the one before at the end; the fewest rows in all are best.
        let most = |n: usize| self.rows.div_ceil(n) * (n + 1);
        // SAFETY: passed on.
        unsafe {
            match self.rows {
                8.. if most(8) <= most(7) && most(8) <= most(4) => {
                    self.strips::<V, HIGH, DOWN, 8>();
                }
                7.. if most(7) <= most(4) => self.strips::<V, HIGH, DOWN, 7>(),
                4.. => self.strips::<V, HIGH, DOWN, 4>(),
                _ => self.strips::<V, HIGH, DOWN, 1>(),
            }
        }
    }

    #[inline(always)]
    unsafe fn strips<V: Vector<T = T>, const HIGH: usize, const DOWN: usize, const ROWS: usize>(
        &self,
    ) {
        for y in (0..self.rows).step_by(ROWS) {
            let y = y.min(self.rows - ROWS);
            for x in (0..self.columns).step_by(V::WIDTH) {
                let x = if self.columns >= V::WIDTH { x.min(self.columns - V::WIDTH) } else { x };
                // SAFETY: rows and columns of the band.
                unsafe { self.strip::<V, HIGH, DOWN, ROWS>(y, x) };
            }
        }
    }

    /// `ROWS` rows of a vector each.
    #[inline(always)]
    unsafe fn strip<V: Vector<T = T>, const HIGH: usize, const DOWN: usize, const ROWS: usize>(
        &self,
        y: usize,
        x: usize,
    ) {
        // SAFETY: the frame holds what all lanes read, the band its results.
        unsafe {
            let frame = self.frame.add(y * DOWN * self.line + x);
            let mut sums = [V::splat(T::ZERO); ROWS];
            for (column, &offset) in self.offsets.iter().enumerate() {
                let from = frame.add(offset);
                let weight = |i: usize| V::splat(*self.weight.add(i * self.wide + column));
                if DOWN > 1 {
                    // Rows that few elements share are read for each: loops short enough to be
                    // written out.
                    for i in 0..HIGH {
                        let w = weight(i);
                        for (row, sum) in sums.iter_mut().enumerate() {
                            let v = V::load(from.add((row * DOWN + i) * self.line));
                            *sum = w.fused(v, *sum);
                        }
                    }
                    continue;
                }
                let weights: [V; HIGH] = std::array::from_fn(weight);
                for row in 0..ROWS + HIGH - 1 {
                    let v = V::load(from.add(row * self.line));
                    for (i, w) in weights.iter().enumerate() {
                        if row >= i && row - i < ROWS {
                            sums[row - i] = w.fused(v, sums[row - i]);
                        }
                    }
                }
            }
            let bias = V::splat(self.bias);
            let to = self.to.add(y * self.across + x);
            let n = self.columns - x;
            if n >= V::WIDTH {
                for (i, &sum) in sums.iter().enumerate() {
                    bias.plus(sum).store(to.add(i * self.across));
                }
                return;
            }
            // Where rows follow each other, what is written beyond the end of one is set by the next.
            let over = |i: usize| {
                self.across == self.columns
                    && i * self.across + V::WIDTH <= (ROWS - 1) * self.across + n
            };
            let mut lanes = [T::ZERO; 16];
            for (i, &sum) in sums.iter().enumerate() {
                let to = to.add(i * self.across);
                let sum = bias.plus(sum);
                if over(i) {
                    sum.store(to);
                    continue;
                }
                sum.store(lanes.as_mut_ptr());
                let mut at = 0;
                while at + 4 <= n {
                    let four: [T; 4] = [lanes[at], lanes[at + 1], lanes[at + 2], lanes[at + 3]];
                    to.add(at).cast::<[T; 4]>().write(four);
                    at += 4;
                }
                for at in at..n {
                    *to.add(at) = lanes[at];
                }
            }
        }
    }
}

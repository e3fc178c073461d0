//! Resampling by one tap of weight one, or none: elements are moved as they are, whatever their dtype.

use smallvec::SmallVec;

use super::taps::{Axis, Kind};
use super::{Layout, Piece};
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Src};

/// Elements moved to every place, and the value where none is.
struct Moves<'a, B> {
    layout: &'a Layout<f32>,
    value: B,
    /// How a row is made, if the last axis is little more than a copy.
    row: Option<Row>,
}

/// Bytes of a row up to which it is copied by a loop: a call costs more.
const SHORT: usize = 8192;
/// Elements at the ends of a row that are moved one by one, at most.
const ENDS: usize = 64;

/// A row that is a copy but for its ends.
struct Row {
    /// The first place that is copied to, the first element that is copied, and how many.
    copy: (usize, usize, usize),
    /// Single places and the elements that stand there.
    ends: Vec<(u32, u32)>,
    /// Places that get the value.
    empty: SmallVec<[(usize, usize); 2]>,
}

impl Row {
    fn new(axis: &Axis<f32>) -> Option<Self> {
        let mut row = Self { copy: (0, 0, 0), ends: Vec::new(), empty: SmallVec::new() };
        for piece in &axis.pieces {
            match piece.kind {
                Kind::Empty => row.empty.push((piece.to, piece.to + piece.len)),
                Kind::Copy(from) => row.copy = (piece.to, from, piece.len),
                Kind::Sums { first, .. } if row.ends.len() + piece.len <= ENDS => {
                    for place in 0..piece.len {
                        let index = axis.index[axis.range(first + place).0];
                        row.ends.push(((piece.to + place) as u32, index));
                    }
                }
                _ => return None,
            }
        }
        Some(row)
    }

    /// # Safety
    /// `x` and `y` are a row of the input and of the output.
    #[inline(always)]
    unsafe fn make<B: Copy>(&self, x: *const B, y: *mut B, value: B) {
        let (to, from, len) = self.copy;
        // SAFETY: taps lie inside the input, and places inside the output.
        unsafe {
            copy_row(x.wrapping_add(from), y.wrapping_add(to), len);
            for &(to, from) in &self.ends {
                *y.add(to as usize) = *x.add(from as usize);
            }
            for &(from, to) in &self.empty {
                fill(y.wrapping_add(from), to - from, value);
            }
        }
    }
}

/// # Safety
/// Both have `count` elements, and do not overlap.
#[inline(always)]
unsafe fn copy_row<B: Copy>(x: *const B, y: *mut B, count: usize) {
    type Chunk = [u64; 8];
    type Half = [u64; 4];
    let bytes = count * size_of::<B>();
    let chunk = size_of::<Chunk>();
    // SAFETY: by the contract; whole chunks lie inside, and so does the last one, which may overlap the
    // one before it.
    unsafe {
        if bytes > SHORT {
            std::ptr::copy_nonoverlapping(x, y, count);
        } else if bytes < chunk / 2 {
            for i in 0..count {
                *y.add(i) = *x.add(i);
            }
        } else if bytes < chunk {
            let (x, y) = (x.cast::<u8>(), y.cast::<u8>());
            for at in [0, bytes - chunk / 2] {
                let held = x.add(at).cast::<Half>().read_unaligned();
                y.add(at).cast::<Half>().write_unaligned(held);
            }
        } else {
            let (x, y) = (x.cast::<u8>(), y.cast::<u8>());
            let mut at = 0;
            while at < bytes {
                at = at.min(bytes - chunk);
                let held = x.add(at).cast::<Chunk>().read_unaligned();
                y.add(at).cast::<Chunk>().write_unaligned(held);
                at += chunk;
            }
        }
    }
}

/// Rows `low..high` of a plane, each made in the same way.
struct Rows<'a, B> {
    axis: &'a Axis<f32>,
    row: &'a Row,
    value: B,
    x: *const B,
    y: *mut B,
    widths: [usize; 2],
    low: usize,
    high: usize,
}

impl<B: Copy> Job for Rows<'_, B> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { axis, row, value, x, y, widths: [from, to], .. } = self;
        for piece in &axis.pieces {
            let Some((start, end)) = piece.within(self.low, self.high) else { continue };
            for place in start..end {
                let y = y.wrapping_add(place * to);
                let at = place - piece.to;
                // SAFETY: taps lie inside the input, and places inside the output.
                unsafe {
                    match piece.kind {
                        Kind::Empty => fill(y, to, value),
                        Kind::Copy(first) => {
                            row.make(x.wrapping_add((first + at) * from), y, value);
                        }
                        Kind::Sums { first, .. } | Kind::Phases { first, .. } => {
                            let index = axis.index[axis.range(first + at).0] as usize;
                            row.make(x.wrapping_add(index * from), y, value);
                        }
                    }
                }
            }
        }
    }
}

impl<B: Copy> Moves<'_, B> {
    /// Moves what lies inside steps `low..high` of an axis.
    ///
    /// # Safety
    /// `x` and `y` are blocks of the layout from this axis on, `high` is no more than it has steps.
    unsafe fn along(&self, depth: usize, x: *const B, y: *mut B, low: usize, high: usize) {
        let Some(axis) = self.layout.axes.get(depth) else {
            // SAFETY: without axes both have the same elements.
            return unsafe { std::ptr::copy_nonoverlapping(x, y, self.layout.inner) };
        };
        let [from, to] = self.layout.blocks[depth];
        if let (Some(row), true) = (&self.row, depth + 2 == self.layout.axes.len()) {
            let (value, widths) = (self.value, [from, to]);
            return multiversion::run_narrow(Rows { axis, row, value, x, y, widths, low, high });
        }
        let last = depth + 1 == self.layout.axes.len();
        for piece in &axis.pieces {
            let Some((start, end)) = piece.within(low, high) else { continue };
            let y = y.wrapping_add(start * to);
            // SAFETY: taps lie inside the input, and places inside the output.
            unsafe {
                match piece.kind {
                    Kind::Empty => fill(y, (end - start) * to, self.value),
                    Kind::Copy(first) => {
                        let x = x.wrapping_add((first + start - piece.to) * from);
                        if last {
                            copy(x, y, (end - start) * to);
                        } else {
                            let steps = self.layout.axes[depth + 1].output;
                            for step in 0..end - start {
                                let (x, y) =
                                    (x.wrapping_add(step * from), y.wrapping_add(step * to));
                                self.along(depth + 1, x, y, 0, steps);
                            }
                        }
                    }
                    _ if last && to == 1 => gather(axis, piece, x, y, start, end),
                    Kind::Sums { first, .. } | Kind::Phases { first, .. } => {
                        let mut before = None;
                        for place in start..end {
                            let index = axis.index[axis.range(first + place - piece.to).0] as usize;
                            let y = y.wrapping_add((place - start) * to);
                            if before == Some(index) {
                                copy(y.wrapping_sub(to).cast_const(), y, to);
                            } else if last {
                                copy(x.wrapping_add(index * from), y, to);
                            } else {
                                let steps = self.layout.axes[depth + 1].output;
                                self.along(depth + 1, x.wrapping_add(index * from), y, 0, steps);
                            }
                            before = Some(index);
                        }
                    }
                }
            }
        }
    }
}

/// Up to this many elements are set by a loop: a call costs more.
const FEW: usize = 8;

/// # Safety
/// Both have `count` elements, and do not overlap.
#[inline(always)]
unsafe fn copy<B: Copy>(x: *const B, y: *mut B, count: usize) {
    // SAFETY: by the contract.
    unsafe {
        if count <= FEW {
            for i in 0..count {
                *y.add(i) = *x.add(i);
            }
        } else {
            std::ptr::copy_nonoverlapping(x, y, count);
        }
    }
}

/// # Safety
/// There are `count` elements.
#[inline(always)]
unsafe fn fill<B: Copy>(y: *mut B, count: usize, value: B) {
    for i in 0..count {
        // SAFETY: by the contract.
        unsafe { *y.add(i) = value };
    }
}

/// Places `start..end` of a piece, one element each.
///
/// # Safety
/// As for [`Moves::along`]; `y` is the place `start`.
#[inline(always)]
unsafe fn gather<B: Copy>(
    axis: &Axis<f32>,
    piece: &Piece,
    x: *const B,
    y: *mut B,
    start: usize,
    end: usize,
) {
    // SAFETY: by the contract, as taps lie inside the input.
    unsafe {
        match piece.kind {
            Kind::Phases { first, phases: 2, step: 1 } if (start - piece.to).is_multiple_of(2) => {
                let at = start - piece.to;
                let x = [0, 1].map(|phase| {
                    x.wrapping_add(axis.index[axis.range(first + phase).0] as usize + at / 2)
                });
                let periods = (end - start) / 2;
                for i in 0..periods {
                    *y.add(2 * i) = *x[0].add(i);
                    *y.add(2 * i + 1) = *x[1].add(i);
                }
                if (end - start) % 2 == 1 {
                    *y.add(2 * periods) = *x[0].add(periods);
                }
            }
            Kind::Sums { first, .. } | Kind::Phases { first, .. } => {
                let at = axis.range(first + start - piece.to).0;
                let index = &axis.index[at..at + end - start];
                for (i, &index) in index.iter().enumerate() {
                    *y.add(i) = *x.add(index as usize);
                }
            }
            Kind::Empty | Kind::Copy(_) => {}
        }
    }
}

/// Moves elements of a type `B` of their size to where they belong; `value` stands where none does.
///
/// # Safety
/// `input` and `output` have as many elements as the layout says, and do not overlap; each place of it has
/// one tap at most.
pub unsafe fn resample_bits<B: Copy + Send + Sync>(
    layout: &Layout<f32>,
    value: B,
    input: *const B,
    output: *mut B,
) {
    let (x, y) = (Src::new(input), Dst::new(output));
    let [from, to] = layout.plane();
    let row = match &layout.axes[..] {
        [_, .., last] if layout.inner == 1 => Row::new(last),
        _ => None,
    };
    let moves = Moves { layout, value, row };
    // Elements of four bytes count half: they are only moved.
    layout.split(size_of::<B>().div_ceil(2), |plane, low, high| {
        let (x, y) = (x.at((plane * from) as isize), y.at((plane * to) as isize));
        // SAFETY: by the contract; tasks have steps of their own.
        unsafe { moves.along(0, x, y, low, high) };
    });
}

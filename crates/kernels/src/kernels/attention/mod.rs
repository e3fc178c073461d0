//! Attention: the weighted means of values, with the softmax of products of queries and keys as weights.
//!
//! Whole rows of weights are made for a few queries at a time, so that they stay in L2 and never go to
//! memory; the backward pass makes them once more from the logarithms of their sums (Dao et al.,
//! "FlashAttention", 2022, without the splitting of rows that small caches force there).
//! Which queries go together depends on the sizes only: so do the bits.
#![allow(unsafe_code)]

mod backward;
#[cfg(test)]
mod tests;

pub use backward::{Gradients, backward};

use super::matmul::{
    Ahead, Float, KC, Room, SLACK, Strides, Tile, Vector, Work, at_level, group, micro_rows,
    pack_columns, pack_rows,
};
use super::raw::{Dst, split};
use super::reduce::{Kind, Max, Ordered, lanes, lanes_of_pairs};
use super::vexp::Real as _;
use crate::dtype::Bool;

/// Elements of a tile of weights: with the packed operands they stay in L2.
const WEIGHTS: usize = 40 * 1024;
/// Rows of a tile, of any micro-kernel whole groups.
const STEP: usize = 12;
/// Vectors of the widest level that are made together.
const PANEL: usize = 32;
/// Tasks that the heads and their rows are made into, if there is enough to do.
const TASKS: usize = 8;

/// The extents of one head.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Queries.
    pub rows: usize,
    /// Keys, and values.
    pub keys: usize,
    /// Elements of a query and of a key.
    pub width: usize,
    /// Elements of a value.
    pub depth: usize,
}

/// Lines of contiguous elements of all heads.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a, P> {
    /// The first element of all.
    pub start: P,
    /// Where each head begins.
    pub heads: &'a [isize],
    /// From one line to the next.
    pub step: isize,
}

impl<T> Lines<'_, *const T> {
    fn at(&self, head: usize, line: usize) -> *const T {
        self.start.wrapping_offset(self.heads[head] + line as isize * self.step)
    }
}

impl<T> Lines<'_, *mut T> {
    fn at(&self, head: usize, line: usize) -> *mut T {
        self.start.wrapping_offset(self.heads[head] + line as isize * self.step)
    }
}

/// Which keys a query sees.
#[derive(Clone, Copy, Debug)]
pub enum Mask<'a, T> {
    /// All.
    All,
    /// Those up to its own place.
    Causal,
    /// All, with something added to the products; from one key to the next so many elements.
    Add(Lines<'a, *const T>, isize),
    /// Those that are true.
    Keep(Lines<'a, *const Bool>, isize),
}

/// One attention of many heads.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a, T> {
    /// The extents of a head.
    pub sizes: Sizes,
    /// What products are multiplied by.
    pub scale: T,
    /// Queries, keys and values.
    pub q: Lines<'a, *const T>,
    /// Keys.
    pub k: Lines<'a, *const T>,
    /// Values.
    pub v: Lines<'a, *const T>,
    /// Which keys count.
    pub mask: Mask<'a, T>,
}

// SAFETY: what is pointed to is only read; each access is justified where it happens.
unsafe impl<T: Sync> Sync for Problem<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Lines<'_, *const T> {}
// SAFETY: tasks write disjoint lines.
unsafe impl<T: Send> Sync for Lines<'_, *mut T> {}

/// Columns filled up to whole panels of the widest level, so that no size depends on the level.
fn wide(columns: usize) -> usize {
    columns.next_multiple_of(PANEL)
}

impl Sizes {
    /// Queries whose weights are made together.
    fn together(self) -> usize {
        let most = WEIGHTS / wide(self.keys).max(1) / STEP * STEP;
        most.clamp(STEP, 8 * STEP).min(self.rows.next_multiple_of(STEP))
    }

    /// How many keys the rows before `last` see at most.
    fn seen<T>(self, mask: &Mask<'_, T>, last: usize) -> usize {
        if matches!(mask, Mask::Causal) { self.keys.min(last) } else { self.keys }
    }
}

/// The means of the values for each query, and the logarithms of the sums of exponentials of each
/// row (if not null), head by head.
///
/// # Safety
/// All lines of the problem must be readable, those of `out` and `logs` writable, and apart.
pub unsafe fn forward<T: Float + Ordered>(
    problem: &Problem<'_, T>,
    out: Lines<'_, *mut T>,
    logs: *mut T,
) {
    let sizes = problem.sizes;
    let heads = out.heads.len();
    if heads * sizes.rows == 0 {
        return;
    }
    // Each task packs keys and values anew: not too few rows.
    let parts = TASKS.div_ceil(heads);
    let rows = sizes.rows.div_ceil(parts).next_multiple_of(sizes.together());
    let parts = sizes.rows.div_ceil(rows);
    let work = rows.min(sizes.rows) * sizes.keys * (sizes.width + sizes.depth) / 16;
    let (out, logs) = (&out, Dst::new(logs));
    split(heads * parts, work, |first, last| {
        for unit in first..last {
            let (head, from) = (unit / parts, unit % parts * rows);
            let to = sizes.rows.min(from + rows);
            // SAFETY: the rows of this task are its own.
            unsafe { at_level(Forward { problem, out, logs, head, from, to }) };
        }
    });
}

#[derive(Clone, Copy)]
struct Forward<'a, T> {
    problem: &'a Problem<'a, T>,
    out: &'a Lines<'a, *mut T>,
    logs: Dst<T>,
    head: usize,
    from: usize,
    to: usize,
}

/// Rows of a product: where they and their sums are.
#[derive(Clone, Copy)]
struct Rows<T> {
    a: *const T,
    /// Of rows that lie packed: from one term to the next as many elements as the group has rows.
    packed: bool,
    s: Strides,
    count: usize,
    c: *mut T,
    c_step: isize,
}

/// `c = alpha * a @ b + beta * c` with packed columns, of which each panel has `apart` terms.
///
/// # Safety
/// All must be there; where `c` has no room for whole panels, `columns` says how many there are.
#[inline(always)]
unsafe fn product<V: Vector>(
    rows: Rows<V::T>,
    (b, apart): (*const V::T, usize),
    terms: usize,
    columns: usize,
    alpha: V::T,
    beta: V::T,
) {
    let panel = 2 * V::WIDTH;
    let mut j = 0;
    while j < columns {
        let mut l = 0;
        while l < terms {
            // Long sums in blocks, as those of other products.
            let few = KC.min(terms - l);
            let b = b.wrapping_add(j * apart + l * panel);
            let mut r = 0;
            while r < rows.count {
                let group = group::<V>(rows.count - r);
                let (a, a_step) = if rows.packed {
                    let step = Strides { row: 1, column: group as isize };
                    (rows.a.wrapping_add(r * terms + l * group), step)
                } else {
                    let at = r as isize * rows.s.row + l as isize * rows.s.column;
                    (rows.a.wrapping_offset(at), rows.s)
                };
                let tile = Tile {
                    a,
                    a_step,
                    b,
                    b_step: panel as isize,
                    terms: few,
                    c: rows.c.wrapping_offset(r as isize * rows.c_step + j as isize),
                    c_step: Strides { row: rows.c_step, column: 1 },
                    alpha,
                    beta: if l == 0 { beta } else { V::T::ONE },
                    d: None,
                    ahead: Ahead::NONE,
                };
                // SAFETY: passed on.
                unsafe { micro_rows::<V>(&tile, group, panel.min(columns - j), true) };
                r += group;
            }
            l += few;
        }
        j += panel;
    }
}

/// Adds a mask to a row of products, or sets what does not count to -∞.
///
/// # Safety
/// The row of the mask must be readable.
#[inline(always)]
unsafe fn apply<T: Float>(mask: &Mask<'_, T>, head: usize, row: usize, x: &mut [T]) {
    match *mask {
        Mask::All | Mask::Causal => {}
        Mask::Add(lines, 1) => {
            let from = lines.at(head, row);
            for (i, x) in x.iter_mut().enumerate() {
                // SAFETY: as many elements as keys.
                *x += unsafe { *from.add(i) };
            }
        }
        Mask::Add(lines, step) => {
            let from = lines.at(head, row);
            for (i, x) in x.iter_mut().enumerate() {
                // SAFETY: as above.
                *x += unsafe { *from.wrapping_offset(i as isize * step) };
            }
        }
        Mask::Keep(lines, step) => {
            let from = lines.at(head, row);
            for (i, x) in x.iter_mut().enumerate() {
                // SAFETY: as above.
                let keep = unsafe { *from.wrapping_offset(i as isize * step) }.get();
                *x = if keep { *x } else { T::NEG_INFINITY };
            }
        }
    }
}

impl<T: Float + Ordered> Work<T> for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let Problem { sizes, scale, q, k, v, ref mask } = *self.problem;
        let Sizes { width, depth, .. } = sizes;
        let head = self.head;
        let keys = sizes.seen(mask, self.to);
        let together = sizes.together();
        let across = wide(sizes.keys);
        let room_k = across * width + SLACK;
        let room_v = wide(depth) * keys + SLACK;
        let room_q = together * width + SLACK;
        let mut room = Room::take::<T>(2, room_k + room_v + room_q + together * across + SLACK);
        // SAFETY: the room holds all four; lines are the caller's.
        unsafe {
            let packed_k = room.start::<T>();
            let packed_v = packed_k.add(room_k);
            let packed_q = packed_v.add(room_v);
            let weights = packed_q.add(room_q);
            let turned = Strides { row: 1, column: k.step };
            pack_columns::<V>(k.at(head, 0), turned, width, keys, packed_k);
            let straight = Strides { row: v.step, column: 1 };
            pack_columns::<V>(v.at(head, 0), straight, keys, depth, packed_v);
            let mut from = self.from;
            while from < self.to {
                let count = together.min(self.to - from);
                let seen = sizes.seen(mask, from + count);
                let lines = Strides { row: q.step, column: 1 };
                pack_rows::<V>(q.at(head, from), lines, count, width, packed_q);
                let c_step = across as isize;
                let s = lines;
                let rows = Rows { a: packed_q, packed: true, s, count, c: weights, c_step };
                let panels = seen.next_multiple_of(2 * V::WIDTH);
                product::<V>(rows, (packed_k, width), width, panels, scale, T::ZERO);
                let mut shares = [T::ZERO; 8 * STEP];
                for (r, share) in shares.iter_mut().enumerate().take(count) {
                    let line = std::slice::from_raw_parts_mut(weights.add(r * across), seen);
                    let (line, rest) = line.split_at_mut(sizes.seen(mask, from + r + 1));
                    rest.fill(T::ZERO);
                    apply(mask, head, from + r, line);
                    let max = Max.block(line);
                    let log = if max == T::NEG_INFINITY {
                        // A query that sees nothing gives zeros.
                        line.fill(T::ZERO);
                        max
                    } else {
                        for x in line.iter_mut() {
                            *x = (*x - max).vexp();
                        }
                        let sum = lanes(line, T::ZERO, |x| x, |a, b| a + b);
                        *share = T::ONE / sum;
                        max + sum.ln()
                    };
                    if !self.logs.at(0).is_null() {
                        *self.logs.at((head * sizes.rows + from + r) as isize) = log;
                    }
                }
                let out = self.out.at(head, from);
                let s = Strides { row: across as isize, column: 1 };
                let c_step = self.out.step;
                let rows = Rows { a: weights, packed: false, s, count, c: out, c_step };
                product::<V>(rows, (packed_v, keys), seen, depth, T::ONE, T::ZERO);
                for (r, &share) in shares.iter().enumerate().take(count) {
                    let line = self.out.at(head, from + r);
                    for j in 0..depth {
                        *line.add(j) = *line.add(j) * share;
                    }
                }
                from += count;
            }
        }
    }
}

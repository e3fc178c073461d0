//! Products of any size and layout in blocks that suit the caches, after Goto and van de Geijn,
//! "Anatomy of High-Performance Matrix Multiplication" (ACM TOMS 34, 2008).
//!
//! Every element is one chain of multiply-adds over a block of [`KC`] terms, block after block: the
//! bits depend on the sum's length alone, not on tiles, threads, layout or the vector's width.
#![allow(unsafe_code)]

use std::cell::RefCell;

use super::simd::{Vector, Work};
use super::{Float, Problem, Strides};
use crate::kernels::raw::{Dst, Src};
use crate::kernels::vexp::Real as _;

/// Terms of the sums taken at once: a tile of packed columns stays in L1.
pub(in crate::kernels) const KC: usize = 256;
/// Rows packed at once: they stay in L2. A multiple of the rows of every micro-kernel.
const MC: usize = 96;
/// Columns packed at once: they stay in L3.
const NC: usize = 2048;
/// Columns per task; a multiple of the width of every micro-kernel.
const COLUMNS: usize = 512;
/// Multiply-adds below which columns that lie well are read where they are.
const UNPACKED: usize = 72 * 72 * 72;
/// Elements behind packed ones that packing may overwrite.
pub(in crate::kernels) const SLACK: usize = 16;
/// Multiply-adds below which no other thread is asked.
const ALONE: usize = 1 << 20;

thread_local! {
    /// Memory for packed rows and columns, kept from one product to the next, and that of what is made of
    /// several products.
    static KEPT: RefCell<[Vec<u64>; 3]> =
        const { RefCell::new([Vec::new(), Vec::new(), Vec::new()]) };
}

/// Memory for packed rows (0), columns (1) or what is made of products (2): taken out of its place while in use, since a thread
/// that waits for others may be given another product meanwhile.
pub(in crate::kernels) struct Room {
    words: Vec<u64>,
    place: usize,
}

impl Room {
    pub(in crate::kernels) fn take<T>(place: usize, n: usize) -> Self {
        let mut words = KEPT.with(|kept| std::mem::take(&mut kept.borrow_mut()[place]));
        let needed = (n * size_of::<T>()).div_ceil(8) + 8;
        if words.len() < needed {
            words.resize(needed, 0);
        }
        Self { words, place }
    }

    /// The first element, aligned to 64 bytes.
    pub(in crate::kernels) fn start<T>(&mut self) -> *mut T {
        let start = self.words.as_mut_ptr().cast::<u8>();
        start.wrapping_add(start.align_offset(64)).cast()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let words = std::mem::take(&mut self.words);
        // At the end of a thread its memory may be gone already.
        let _ = KEPT.try_with(|kept| {
            let kept = &mut kept.borrow_mut()[self.place];
            if kept.len() < words.len() {
                *kept = words;
            }
        });
    }
}

/// The problem with rows and columns of the result exchanged.
fn turned<T: Copy>(p: &Problem<T>) -> Problem<T> {
    let turn = |s: Strides| Strides { row: s.column, column: s.row };
    Problem { m: p.n, n: p.m, a: p.b, sa: turn(p.sb), b: p.a, sb: turn(p.sa), sc: turn(p.sc), ..*p }
}

/// # Safety
/// See [`super::gemm`]; the processor must have the instruction set of `V`.
unsafe fn run<V: Vector>(problem: &Problem<V::T>, split: bool) {
    let problem =
        if problem.sc.column != 1 && problem.sc.row == 1 { turned(problem) } else { *problem };
    let Problem { m, n, k, .. } = problem;
    let fits = m <= 2 * V::ROWS || m * n * k <= UNPACKED;
    let split = split && m * n * k > ALONE;
    if fits && problem.sb.column == 1 && problem.sc.column == 1 && !split {
        // SAFETY: passed on.
        unsafe { V::within(Direct(&problem)) };
        return;
    }
    for j in (0..n).step_by(NC) {
        let columns = NC.min(n - j);
        let panels = columns.div_ceil(2 * V::WIDTH);
        for l in (0..k).step_by(KC) {
            let terms = KC.min(k - l);
            let mut room = Room::take::<V::T>(1, panels * 2 * V::WIDTH * terms + SLACK);
            let packed = Dst::new(room.start::<V::T>());
            let block = &Block { problem: &problem, l, terms, j, columns, packed };
            let share = if split { 4 } else { panels };
            for_each(split, panels.div_ceil(share), |i| {
                // SAFETY: panels are disjoint parts of the room.
                unsafe {
                    let to = panels.min((i + 1) * share);
                    V::within(Pack { block, from: i * share, to });
                };
            });
            let wide = columns.div_ceil(COLUMNS);
            let high = if split { rows_per_task::<V>(m, wide) } else { MC };
            for_each(split, m.div_ceil(high) * wide, |task| {
                let (i, at) = (task / wide * high, task % wide * COLUMNS);
                let (rows, width) = (high.min(m - i), COLUMNS.min(columns - at));
                // SAFETY: tasks write disjoint tiles of c.
                unsafe { V::within(Multiply { block, i, rows, at, width }) };
            });
        }
    }
}

/// Rows that one task packs and multiplies: [`MC`], or fewer if threads would wait for the last task.
fn rows_per_task<V: Vector>(m: usize, wide: usize) -> usize {
    let parts = (4 * crate::parallel::threads()).div_ceil(wide);
    let rows = m.div_ceil(parts).next_multiple_of(V::ROWS);
    rows.clamp(4 * V::ROWS, MC)
}

fn for_each(split: bool, tasks: usize, f: impl Fn(usize) + Sync) {
    if split {
        crate::parallel::for_each(tasks, f);
    } else {
        (0..tasks).for_each(f);
    }
}

/// One block of columns over one block of terms.
struct Block<'a, T> {
    problem: &'a Problem<T>,
    l: usize,
    terms: usize,
    j: usize,
    columns: usize,
    packed: Dst<T>,
}

/// [`direct`] as work.
struct Direct<'a, T>(&'a Problem<T>);
impl<T: Float> Work<T> for Direct<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: passed on.
        unsafe { direct::<V>(self.0) }
    }
}

/// Panels `from..to` of a block of columns, packed.
struct Pack<'a, T> {
    block: &'a Block<'a, T>,
    from: usize,
    to: usize,
}
impl<T: Float> Work<T> for Pack<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let Block { problem: p, l, terms, j, columns, packed } = *self.block;
        let at = self.from * 2 * V::WIDTH;
        let end = columns.min(self.to * 2 * V::WIDTH);
        let source = p.b.at(l as isize * p.sb.row + (j + at) as isize * p.sb.column);
        let target = packed.at((at * terms) as isize);
        // SAFETY: these columns of b; the panels are the caller's.
        unsafe { pack_columns::<V>(source, p.sb, terms, end - at, target) }
    }
}

/// [`multiply`] as work.
struct Multiply<'a, T> {
    block: &'a Block<'a, T>,
    i: usize,
    rows: usize,
    at: usize,
    width: usize,
}
impl<T: Float> Work<T> for Multiply<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: passed on.
        unsafe { multiply::<V>(self.block, self.i, self.rows, self.at, self.width) }
    }
}

/// Packs `terms` rows of columns in panels of two vectors, the last one filled up with zeros. Behind the
/// target [`SLACK`] elements are written to.
///
/// # Safety
/// The processor must have the instruction set; source and target are the caller's.
#[inline(always)]
pub(in crate::kernels) unsafe fn pack_columns<V: Vector>(
    source: *const V::T,
    s: Strides,
    terms: usize,
    columns: usize,
    target: *mut V::T,
) {
    let width = 2 * V::WIDTH;
    for at in (0..columns).step_by(width) {
        let source = source.wrapping_offset(at as isize * s.column);
        let target = target.wrapping_add(at * terms);
        // SAFETY: a panel of the source; it holds `width * terms` elements of the target.
        unsafe { pack_panel::<V>(source, s, terms, width.min(columns - at), target) };
    }
}

/// Packs `terms` rows of `n` columns, filled up with zeros to two vectors. Behind the target [`SLACK`]
/// elements are written to.
///
/// # Safety
/// The processor must have the instruction set; source and target are the caller's.
#[inline(always)]
unsafe fn pack_panel<V: Vector>(
    source: *const V::T,
    s: Strides,
    terms: usize,
    n: usize,
    target: *mut V::T,
) {
    let width = 2 * V::WIDTH;
    // SAFETY: passed on.
    unsafe {
        if n < width {
            for l in 0..terms {
                let row = source.wrapping_offset(l as isize * s.row);
                for j in 0..width {
                    let value = if j < n {
                        *row.wrapping_offset(j as isize * s.column)
                    } else {
                        V::T::ZERO
                    };
                    *target.add(l * width + j) = value;
                }
            }
        } else if s.column == 1 {
            for l in 0..terms {
                let row = source.wrapping_offset(l as isize * s.row);
                let to = target.add(l * width);
                V::load(row).store(to);
                V::load(row.add(V::WIDTH)).store(to.add(V::WIDTH));
            }
        } else {
            transpose::<V::Pack>(source, s.column, s.row, target, width, width, terms);
        }
    }
}

/// `target[l * apart + j] = source[j * column + l * row]` for `j` below `width`; up to `apart` the last
/// column is repeated. Behind the target a vector of room is written to.
///
/// # Safety
/// The processor must have the instruction set; source and target are the caller's.
#[inline(always)]
pub(in crate::kernels) unsafe fn transpose<V: Vector>(
    source: *const V::T,
    column: isize,
    row: isize,
    target: *mut V::T,
    width: usize,
    apart: usize,
    terms: usize,
) {
    const PARTS: usize = 4;
    let step = V::WIDTH;
    let parts = apart.div_ceil(step);
    let mut done = 0;
    if row == 1 && step > 1 && parts <= PARTS {
        while done + step <= terms {
            // SAFETY: `step` terms of each of `width` columns are readable. What is written beyond
            // the last part is the start of the next term, which is written after.
            unsafe {
                let mut turned = [[V::splat(V::T::ZERO); 8]; PARTS];
                for (part, turned) in turned.iter_mut().enumerate().take(parts) {
                    for (j, lane) in turned.iter_mut().enumerate().take(step) {
                        let j = (part * step + j).min(width - 1) as isize;
                        *lane = V::load(source.wrapping_offset(j * column + done as isize));
                    }
                    V::turn(turned);
                }
                for t in 0..step {
                    let to = target.add((done + t) * apart);
                    for (part, turned) in turned.iter().enumerate().take(parts) {
                        turned[t].store(to.add(part * step));
                    }
                }
            }
            done += step;
        }
    }
    for l in done..terms {
        for j in 0..apart {
            let from = j.min(width - 1) as isize * column + l as isize * row;
            // SAFETY: within the source and the target.
            unsafe {
                *target.add(l * apart + j) = *source.wrapping_offset(from);
            }
        }
    }
}

/// Packs rows in groups as the micro-kernels take them: a group of `g` rows has the `g` elements of
/// one term side by side. Behind the target [`SLACK`] elements are written to.
///
/// # Safety
/// The processor must have the instruction set; source and target are the caller's.
#[inline(always)]
pub(in crate::kernels) unsafe fn pack_rows<V: Vector>(
    source: *const V::T,
    s: Strides,
    rows: usize,
    terms: usize,
    target: *mut V::T,
) {
    // Of rows side by side a few terms at a time: the next group finds their lines in the cache.
    let step = if s.row == 1 { 8 } else { terms };
    for first in (0..terms).step_by(step) {
        let few = step.min(terms - first);
        let mut i = 0;
        while i < rows {
            let group = group::<V>(rows - i);
            let source = source.wrapping_offset(i as isize * s.row + first as isize * s.column);
            let target = target.wrapping_add(i * terms + first * group);
            // SAFETY: `group` rows of `few` elements each; the target holds them all.
            unsafe {
                if s.row == 1 && group == V::ROWS {
                    for l in 0..few {
                        let from = source.wrapping_offset(l as isize * s.column);
                        for r in 0..V::ROWS {
                            *target.add(l * V::ROWS + r) = *from.add(r);
                        }
                    }
                } else if s.row == 1 {
                    for l in 0..few {
                        let from = source.wrapping_offset(l as isize * s.column);
                        for r in 0..group {
                            *target.add(l * group + r) = *from.add(r);
                        }
                    }
                } else {
                    transpose::<V::Pack>(source, s.row, s.column, target, group, group, terms);
                }
            }
            i += group;
        }
    }
}

/// Rows of the next tile when `left` are to be done.
#[inline(always)]
pub(in crate::kernels) fn group<V: Vector>(left: usize) -> usize {
    if left >= V::ROWS {
        V::ROWS
    } else if left >= 8 && V::ROWS > 8 {
        8
    } else if left >= 6 && V::ROWS > 6 {
        6
    } else if left >= 4 {
        4
    } else {
        left.min(2)
    }
}

/// Where the micro-kernel finds rows of a, columns of b, and its tile of c.
pub(in crate::kernels) struct Tile<T> {
    pub(in crate::kernels) a: *const T,
    /// From one row of a to the next, and from one term to the next.
    pub(in crate::kernels) a_step: Strides,
    pub(in crate::kernels) b: *const T,
    /// From one term of b to the next.
    pub(in crate::kernels) b_step: isize,
    pub(in crate::kernels) terms: usize,
    pub(in crate::kernels) c: *mut T,
    /// From one row of c to the next, and from one column to the next.
    pub(in crate::kernels) c_step: Strides,
    /// What the sum is multiplied by.
    pub(in crate::kernels) alpha: T,
    /// What c is multiplied by first; it is not read for zero.
    pub(in crate::kernels) beta: T,
}

/// `ROWS` rows by `V::WIDTH * VECTORS` columns of c; of these only `columns` are written.
#[inline(always)]
unsafe fn micro<V: Vector, const ROWS: usize, const VECTORS: usize>(
    tile: &Tile<V::T>,
    columns: usize,
) {
    // SAFETY: the caller vouches for rows, columns and the instruction set.
    unsafe {
        let mut sums = [[V::splat(V::T::ZERO); VECTORS]; ROWS];
        let (mut a, mut b) = (tile.a, tile.b);
        for r in 0..ROWS {
            V::prefetch(tile.c.wrapping_offset(r as isize * tile.c_step.row));
        }
        macro_rules! term {
            () => {
                let mut columns = [V::splat(V::T::ZERO); VECTORS];
                for (v, column) in columns.iter_mut().enumerate() {
                    *column = V::load(b.add(v * V::WIDTH));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = V::splat(*a.wrapping_offset(r as isize * tile.a_step.row));
                    for (sum, &column) in sums.iter_mut().zip(&columns) {
                        *sum = x.fused(column, *sum);
                    }
                }
                a = a.wrapping_offset(tile.a_step.column);
                b = b.wrapping_offset(tile.b_step);
            };
        }
        for _ in 0..tile.terms / 4 {
            term!();
            term!();
            term!();
            term!();
        }
        for _ in 0..tile.terms % 4 {
            term!();
        }
        let alpha = V::splat(tile.alpha);
        if columns == V::WIDTH * VECTORS && tile.c_step.column == 1 {
            let beta = V::splat(tile.beta);
            for (r, sums) in sums.iter().enumerate() {
                let row = tile.c.wrapping_offset(r as isize * tile.c_step.row);
                for (v, &sum) in sums.iter().enumerate() {
                    let c = row.add(v * V::WIDTH);
                    let sum = sum.times(alpha);
                    if tile.beta == V::T::ZERO {
                        sum.store(c);
                    } else {
                        beta.fused(V::load(c), sum).store(c);
                    }
                }
            }
            return;
        }
        // A tile that is cut off or strided goes by way of an array.
        let mut rows = [[V::T::ZERO; 32]; ROWS];
        for (row, sums) in rows.iter_mut().zip(&sums) {
            for (v, &sum) in sums.iter().enumerate() {
                sum.times(alpha).store(row.as_mut_ptr().add(v * V::WIDTH));
            }
        }
        for (r, row) in rows.iter().enumerate() {
            for (j, &sum) in row.iter().enumerate().take(columns) {
                let at = r as isize * tile.c_step.row + j as isize * tile.c_step.column;
                let c = tile.c.wrapping_offset(at);
                *c = if tile.beta == V::T::ZERO { sum } else { V::combine(tile.beta, *c, sum) };
            }
        }
    }
}

/// [`micro`] for a number of rows known only now: one that [`group`] gives, by at most two vectors of
/// columns.
///
/// # Safety
/// The processor must have the instruction set; the tile's rows, columns and terms are readable, its
/// part of c writable.
#[inline(always)]
pub(in crate::kernels) unsafe fn micro_rows<V: Vector>(
    tile: &Tile<V::T>,
    rows: usize,
    columns: usize,
) {
    macro_rules! rows {
        ($($n:literal)*) => {
            match rows {
                $($n if columns > V::WIDTH => micro::<V, $n, 2>(tile, columns),
                  $n => micro::<V, $n, 1>(tile, columns),)*
                _ => {}
            }
        };
    }
    // SAFETY: passed on.
    unsafe { if V::ROWS > 6 { rows!(12 8 6 4 2 1) } else { rows!(6 4 2 1) } }
}

/// Lines of the cache that are asked for while other memory is worked on.
struct Ahead<T> {
    /// Where the next ones are, and how many with every tile.
    lines: [(*const T, usize); 3],
}

impl<T: Float> Ahead<T> {
    /// The part of what the problem names that belongs to rows `i..i + rows`, if all is done in one block.
    fn new(block: &Block<'_, T>, i: usize, rows: usize, tiles: usize) -> Self {
        let p = block.problem;
        let line = 64 / size_of::<T>();
        let part = |(at, n): (Src<T>, usize)| {
            let lines = if p.n > COLUMNS || p.k > KC { 0 } else { n / line };
            let (from, to) = (lines * i / p.m, lines * (i + rows) / p.m);
            (at.at((from * line) as isize), (to - from).div_ceil(tiles))
        };
        Self { lines: p.ahead.map(part) }
    }
    #[inline(always)]
    unsafe fn ask<V: Vector<T = T>>(&mut self) {
        for (at, n) in &mut self.lines {
            for _ in 0..*n {
                // SAFETY: the caller has the instruction set.
                unsafe { V::prefetch(*at) };
                *at = at.wrapping_add(64 / size_of::<T>());
            }
        }
    }
}

/// Rows `i..i + rows` by columns `at..at + n` of a block, with the columns packed.
///
/// # Safety
/// The processor must have the instruction set; the tile of c is the caller's.
#[inline(always)]
unsafe fn multiply<V: Vector>(block: &Block<'_, V::T>, i: usize, rows: usize, at: usize, n: usize) {
    let p = block.problem;
    let (terms, width) = (block.terms, 2 * V::WIDTH);
    let source = p.a.at(i as isize * p.sa.row + block.l as isize * p.sa.column);
    let mut room = Room::take::<V::T>(0, rows * terms + SLACK);
    let packed = room.start::<V::T>();
    // SAFETY: the rows are within a, the room holds them.
    unsafe { pack_rows::<V>(source, p.sa, rows, terms, packed) };
    let beta = if block.l == 0 { p.beta } else { V::T::ONE };
    let mut ahead = Ahead::new(block, i, rows, rows.div_ceil(V::ROWS) * n.div_ceil(width));
    let mut j = 0;
    while j < n {
        let columns = width.min(n - j);
        let b = block.packed.at(((at + j) * terms) as isize);
        let mut r = 0;
        while r < rows {
            let group = group::<V>(rows - r);
            let row = (i + r) as isize * p.sc.row;
            let tile = Tile {
                a: packed.wrapping_add(r * terms),
                a_step: Strides { row: 1, column: group as isize },
                b,
                b_step: width as isize,
                terms,
                c: p.c.at(row + (block.j + at + j) as isize * p.sc.column),
                c_step: p.sc,
                alpha: p.alpha,
                beta,
            };
            // SAFETY: the tile is within c, rows and columns are packed.
            unsafe {
                ahead.ask::<V>();
                micro_rows::<V>(&tile, group, columns);
            }
            r += group;
        }
        j += columns;
    }
}

/// A product without packing but of the last columns, which a vector would read beyond; the columns
/// of b and c are contiguous.
///
/// # Safety
/// See [`super::gemm`]; the processor must have the instruction set.
#[inline(always)]
unsafe fn direct<V: Vector>(p: &Problem<V::T>) {
    let mut l = 0;
    while l < p.k {
        let terms = KC.min(p.k - l);
        let mut j = 0;
        while j < p.n {
            let columns = (2 * V::WIDTH).min(p.n - j);
            let mut b = p.b.at(l as isize * p.sb.row + j as isize);
            let mut b_step = p.sb.row;
            let mut room = None;
            if columns % V::WIDTH != 0 {
                let wide = columns.next_multiple_of(V::WIDTH);
                let room = room.insert(Room::take::<V::T>(1, wide * terms));
                let packed = room.start::<V::T>();
                for t in 0..terms {
                    let row = b.wrapping_offset(t as isize * p.sb.row);
                    for c in 0..wide {
                        // SAFETY: within b and the room.
                        unsafe {
                            *packed.add(t * wide + c) =
                                if c < columns { *row.add(c) } else { V::T::ZERO };
                        }
                    }
                }
                (b, b_step) = (packed, wide as isize);
            }
            let mut i = 0;
            while i < p.m {
                let group = group::<V>(p.m - i);
                let tile = Tile {
                    a: p.a.at(i as isize * p.sa.row + l as isize * p.sa.column),
                    a_step: p.sa,
                    b,
                    b_step,
                    terms,
                    c: p.c.at(i as isize * p.sc.row + j as isize),
                    c_step: p.sc,
                    alpha: p.alpha,
                    beta: if l == 0 { p.beta } else { V::T::ONE },
                };
                // SAFETY: the tile is within c; b has `columns` columns here, filled up to vectors.
                unsafe { micro_rows::<V>(&tile, group, columns) };
                i += group;
            }
            j += columns;
        }
        l += terms;
    }
}

/// Runs the problem at the level in use.
///
/// # Safety
/// See [`super::gemm`].
pub(super) unsafe fn best<T: Float>(p: &Problem<T>, split: bool) {
    // SAFETY: passed on.
    unsafe { super::at_level(Whole { p, split }) }
}

struct Whole<'a, T> {
    p: &'a Problem<T>,
    split: bool,
}
impl<T: Float> super::Leveled<T> for Whole<'_, T> {
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: passed on.
        unsafe { run::<V>(self.p, self.split) }
    }
}

//! Products of any size and layout in blocks that suit the caches, after Goto and van de Geijn,
//! "Anatomy of High-Performance Matrix Multiplication" (ACM TOMS 34, 2008).
//!
//! Every element is one chain of multiply-adds over a block of [`KC`] terms, block after block: the
//! bits depend on the sum's length alone, not on tiles, threads, layout or the vector's width.
#![allow(unsafe_code)]

use std::cell::RefCell;

use super::pack::{SLACK, pack_columns, pack_rows};
use super::simd::{Vector, Work};
use super::{Float, Problem, Strides};
use crate::kernels::raw::{Dst, Src, prefetch};
use crate::kernels::vexp::Real as _;

/// Terms of the sums taken at once: a tile of packed columns stays in L1.
pub(in crate::kernels) const KC: usize = 256;
/// Rows taken at once: their terms stay in L2. A multiple of the rows of every micro-kernel.
const MC: usize = 192;
/// Columns packed at once: they stay in L3.
const NC: usize = 2048;
/// Columns per task; a multiple of the width of every micro-kernel.
const COLUMNS: usize = 512;
/// Panels of columns that one task packs.
const PANELS: usize = 4;
/// Multiply-adds below which no other thread is asked.
const ALONE: usize = 1 << 19;

/// Words that are kept, at most: what blocks need. Copies of long vectors are given back.
const MOST: usize = 1 << 20;

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
        if words.len() > MOST {
            return;
        }
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
    Problem {
        m: p.n,
        n: p.m,
        a: p.b,
        sa: turn(p.sb),
        b: p.a,
        sb: turn(p.sa),
        sc: turn(p.sc),
        sd: turn(p.sd),
        ..*p
    }
}

/// Which operand is packed: copied so that a tile finds its elements side by side.
#[derive(Clone, Copy)]
struct Plan {
    rows: bool,
    columns: bool,
}

impl Plan {
    /// What was measured on Zen 4, both levels, sizes from 64 to 4096: reading where the operands are is up to a tenth
    /// faster on one thread and a third on two (what one thread packs the other has to fetch), unless lines
    /// share sets of the cache or every term is on a page of its own.
    fn new<V: Vector>(p: &Problem<V::T>) -> Self {
        let bytes = |stride: isize| stride.unsigned_abs() * size_of::<V::T>();
        // A vector is a line of the cache: a tile leaves nothing of one to the next.
        let whole = V::WIDTH * size_of::<V::T>() == 64;
        let far = if whole { 8192 } else { 4096 };
        let columns = p.sb.column != 1 || (bytes(p.sb.row) >= far && p.m > 4 * V::ROWS);
        let apart = if p.sa.row == 1 {
            !whole && bytes(p.sa.column) >= 1536
        } else {
            bytes(p.sa.row).is_multiple_of(4096) && p.m > 8
        };
        Self { rows: apart && p.n > 2 * V::WIDTH, columns }
    }
}

/// # Safety
/// See [`super::gemm`]; the processor must have the instruction set of `V`.
unsafe fn run<V: Vector>(problem: &Problem<V::T>, split: bool) {
    let problem =
        if problem.sc.column != 1 && problem.sc.row == 1 { turned(problem) } else { *problem };
    let Problem { m, n, k, .. } = problem;
    let split = split && m * n * k > ALONE;
    let plan = Plan::new::<V>(&problem);
    let multiply = |(first, columns): (usize, usize), terms, packed: Option<(Dst<V::T>, usize)>| {
        let wide = columns.div_ceil(COLUMNS);
        let part = if split { (2 * crate::parallel::threads()).div_ceil(wide) } else { 1 };
        let bands = Bands::new(m, V::ROWS, part);
        for_each(split, bands.count() * wide, |task| {
            let (i, rows) = bands.at(task / wide);
            let at = task % wide * COLUMNS;
            let packed = packed.map(|(packed, terms)| packed.at((at * terms) as isize));
            let columns = (first + at, COLUMNS.min(columns - at));
            let rows = (i, rows);
            let band = Band { problem: &problem, plan, rows, columns, terms, packed };
            // SAFETY: tasks write disjoint tiles of c.
            unsafe { V::within(band) };
        });
    };
    if !plan.columns {
        multiply((0, n), (0, k), None);
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
            let share = if split { PANELS } else { panels };
            for_each(split, panels.div_ceil(share), |i| {
                // SAFETY: panels are disjoint parts of the room.
                unsafe {
                    let to = panels.min((i + 1) * share);
                    V::within(Pack { block, from: i * share, to });
                };
            });
            multiply((j, columns), (l, l + terms), Some((packed, terms)));
        }
    }
}

/// The rows that tasks pack and multiply: [`MC`] at most, and fewer and fewer towards the end, so that no
/// thread waits long for the last one (guided self-scheduling; Polychronopoulos and Kuck, IEEE
/// Transactions on Computers 36, 1987).
pub(super) struct Bands {
    m: usize,
    /// Rows of a tile.
    tile: usize,
    /// A band takes this part of the tiles that are left.
    part: usize,
    /// How many of all rows come first that are as large as can be: there may be thousands.
    full: usize,
}

impl Bands {
    /// For `m` rows in tiles, a band taking one of so many parts of what is left.
    pub(super) fn new(m: usize, tile: usize, part: usize) -> Self {
        let most = MC / tile;
        let spare = m.div_ceil(tile).checked_sub(most * part);
        Self { m, tile, part, full: spare.map_or(0, |tiles| tiles / most + 1) }
    }

    fn largest(&self) -> usize {
        MC / self.tile * self.tile
    }

    /// First row and number of rows of those behind the large ones.
    fn rest(&self) -> impl Iterator<Item = (usize, usize)> {
        let mut first = self.m.min(self.full * self.largest());
        std::iter::from_fn(move || {
            let left = self.m - first;
            let tiles = (left.div_ceil(self.tile) / self.part).max(1);
            let band = (first, left.min(tiles * self.tile));
            first += band.1;
            (left > 0).then_some(band)
        })
    }

    pub(super) fn count(&self) -> usize {
        self.full + self.rest().count()
    }

    /// First row and number of rows.
    pub(super) fn at(&self, band: usize) -> (usize, usize) {
        if band < self.full {
            let first = band * self.largest();
            return (first, self.largest().min(self.m - first));
        }
        self.rest().nth(band - self.full).unwrap_or((self.m, 0))
    }
}

fn for_each(split: bool, tasks: usize, f: impl Fn(usize) + Sync) {
    if split {
        crate::parallel::in_turn(tasks, f);
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

/// Some rows of the result by some of its columns.
struct Band<'a, T> {
    problem: &'a Problem<T>,
    plan: Plan,
    /// First and number.
    rows: (usize, usize),
    /// First and number.
    columns: (usize, usize),
    /// From and to.
    terms: (usize, usize),
    /// The columns, if they are packed; there is one block of terms then.
    packed: Option<*mut T>,
}
impl<T: Float> Work<T> for Band<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        for l in (self.terms.0..self.terms.1).step_by(KC) {
            // SAFETY: passed on.
            unsafe { multiply::<V>(&self, l, KC.min(self.terms.1 - l)) }
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
    /// What the tile of d is multiplied by; it is not read for zero.
    pub(in crate::kernels) beta: T,
    /// Where d is and its steps, if it is not c.
    pub(in crate::kernels) d: Option<(*const T, Strides)>,
    /// What is asked for meanwhile.
    pub(in crate::kernels) ahead: Ahead<T>,
}

/// `ROWS` rows by `V::WIDTH * VECTORS` columns of c; of these only `columns` are written, and with `SOME` only so many of b
/// are read.
#[inline(always)]
unsafe fn micro<V: Vector, const ROWS: usize, const VECTORS: usize, const SOME: bool>(
    tile: &Tile<V::T>,
    columns: usize,
) {
    // SAFETY: the caller vouches for rows, columns and the instruction set.
    unsafe {
        let mut sums = [[V::splat(V::T::ZERO); VECTORS]; ROWS];
        let before = (VECTORS - 1) * V::WIDTH;
        let mask = V::mask(columns - before);
        let (mut a, mut b) = (tile.a, tile.b);
        for r in 0..ROWS {
            let row = tile.c.wrapping_offset(r as isize * tile.c_step.row);
            prefetch(row);
            if V::WIDTH * VECTORS * size_of::<V::T>() > 64 {
                prefetch(row.wrapping_add(V::WIDTH));
            }
        }
        macro_rules! term {
            () => {
                let mut columns = [V::splat(V::T::ZERO); VECTORS];
                for (v, column) in columns.iter_mut().enumerate() {
                    *column = if !SOME || v + 1 < VECTORS {
                        V::load(b.add(v * V::WIDTH))
                    } else {
                        V::load_some(b.add(before), mask)
                    };
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
        let mut ahead = tile.ahead.at;
        for _ in 0..tile.terms / 4 {
            for _ in 0..tile.ahead.each {
                prefetch(ahead);
                ahead = ahead.wrapping_add(64 / size_of::<V::T>());
            }
            term!();
            term!();
            term!();
            term!();
        }
        for _ in 0..tile.terms % 4 {
            term!();
        }
        let alpha = V::splat(tile.alpha);
        let (d, d_step) = tile.d.unwrap_or((tile.c, tile.c_step));
        let plain = tile.beta == V::T::ZERO || d_step.column == 1;
        if columns == V::WIDTH * VECTORS && tile.c_step.column == 1 && plain {
            let beta = V::splat(tile.beta);
            for (r, sums) in sums.iter().enumerate() {
                let row = tile.c.wrapping_offset(r as isize * tile.c_step.row);
                let add = d.wrapping_offset(r as isize * d_step.row);
                for (v, &sum) in sums.iter().enumerate() {
                    let c = row.add(v * V::WIDTH);
                    let sum = sum.times(alpha);
                    if tile.beta == V::T::ZERO {
                        sum.store(c);
                    } else {
                        beta.fused(V::load(add.add(v * V::WIDTH)), sum).store(c);
                    }
                }
            }
            return;
        }
        // A tile that is cut off or strided goes by way of an array: in a loop that the compiler does not unroll the sums
        // would be in memory from the start.
        let mut rows = std::mem::MaybeUninit::<[[V; VECTORS]; ROWS]>::uninit();
        let rows = rows.as_mut_ptr().cast::<V::T>();
        let width = VECTORS * V::WIDTH;
        for (r, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                sum.times(alpha).store(rows.add(r * width + v * V::WIDTH));
            }
        }
        for r in 0..ROWS {
            let row = rows.add(r * width).cast_const();
            let c = tile.c.wrapping_offset(r as isize * tile.c_step.row);
            let d = d.wrapping_offset(r as isize * d_step.row);
            if tile.c_step.column == 1 && plain {
                for v in 0..VECTORS {
                    let at = v * V::WIDTH;
                    let mut sum = V::load(row.add(at));
                    let n = (columns - at).min(V::WIDTH);
                    if tile.beta != V::T::ZERO {
                        let d = V::load_some(d.add(at), V::mask(n));
                        sum = V::splat(tile.beta).fused(d, sum);
                    }
                    sum.store_some(c.add(at), n);
                }
                continue;
            }
            for j in 0..columns {
                let sum = *row.add(j);
                let c = c.wrapping_offset(j as isize * tile.c_step.column);
                let d = d.wrapping_offset(j as isize * d_step.column);
                *c = if tile.beta == V::T::ZERO { sum } else { V::combine(tile.beta, *d, sum) };
            }
        }
    }
}

/// [`micro`] for a number of rows known only now: one that [`group`] gives, by at most two vectors of
/// columns, which are `filled` up to whole ones if b is packed.
///
/// # Safety
/// The processor must have the instruction set; the tile's rows, columns and terms are readable, its
/// part of c writable.
#[inline(always)]
pub(in crate::kernels) unsafe fn micro_rows<V: Vector>(
    tile: &Tile<V::T>,
    rows: usize,
    columns: usize,
    filled: bool,
) {
    let whole = filled || columns.is_multiple_of(V::WIDTH);
    macro_rules! rows {
        ($($n:literal)*) => {
            match rows {
                $($n if whole && columns > V::WIDTH => micro::<V, $n, 2, false>(tile, columns),
                  $n if whole => micro::<V, $n, 1, false>(tile, columns),
                  $n if columns > V::WIDTH => micro::<V, $n, 2, true>(tile, columns),
                  $n => micro::<V, $n, 1, true>(tile, columns),)*
                _ => {}
            }
        };
    }
    // SAFETY: passed on.
    unsafe { if V::ROWS > 6 { rows!(12 8 6 4 2 1) } else { rows!(6 4 2 1) } }
}

/// Lines of the cache that are asked for while other memory is worked on.
pub(in crate::kernels) struct Ahead<T> {
    at: *const T,
    /// Lines from there, for each of four terms.
    each: usize,
}

impl<T> Ahead<T> {
    pub(in crate::kernels) const NONE: Self = Self { at: std::ptr::null(), each: 0 };
}

/// The part of what a problem names as wanted soon that belongs to one band.
struct Wanted<T> {
    /// Where the next lines are, and how many.
    lines: [(*const T, usize); 3],
    /// Lines for each of four terms.
    each: usize,
}

impl<T: Float> Wanted<T> {
    /// Elements of a line.
    const LINE: usize = 64 / size_of::<T>();

    /// For some rows in so many tiles, if all is done in one block.
    fn new(p: &Problem<T>, (i, rows): (usize, usize), tiles: usize) -> Self {
        let lines = p.ahead.map(|(at, n): (Src<T>, usize)| {
            let lines = if p.n > COLUMNS || p.k > KC { 0 } else { n / Self::LINE };
            let (from, to) = (lines * i / p.m, lines * (i + rows) / p.m);
            (at.at((from * Self::LINE) as isize), to - from)
        });
        let all: usize = lines.iter().map(|(_, n)| n).sum();
        Self { lines, each: all.div_ceil((tiles * (p.k / 4)).max(1)) }
    }

    /// What the next tile asks for.
    fn next(&mut self, terms: usize) -> Ahead<T> {
        let Some((at, left)) = self.lines.iter_mut().find(|(_, left)| *left > 0) else {
            return Ahead::NONE;
        };
        let ahead = Ahead { at: *at, each: self.each };
        let n = (self.each * (terms / 4)).min(*left);
        *at = at.wrapping_add(n * Self::LINE);
        *left -= n;
        ahead
    }
}

/// A band over the terms `l..l + terms`.
///
/// # Safety
/// The processor must have the instruction set; the band's part of c is the caller's.
#[inline(always)]
unsafe fn multiply<V: Vector>(band: &Band<'_, V::T>, l: usize, terms: usize) {
    let Band { problem: p, rows: (i, rows), columns: (first, n), .. } = *band;
    let width = 2 * V::WIDTH;
    let source = p.a.at(i as isize * p.sa.row + l as isize * p.sa.column);
    let mut room = None;
    let packed = band.plan.rows.then(|| {
        let packed = room.insert(Room::take::<V::T>(0, rows * terms + SLACK)).start::<V::T>();
        // SAFETY: the rows are within a, the room holds them.
        unsafe { pack_rows::<V>(source, p.sa, rows, terms, packed) };
        packed
    });
    let beta = if l == 0 { p.beta } else { V::T::ONE };
    let mut wanted = Wanted::new(p, band.rows, rows.div_ceil(V::ROWS) * n.div_ceil(width));
    let mut j = 0;
    while j < n {
        let columns = width.min(n - j);
        let there = p.b.at(l as isize * p.sb.row + (first + j) as isize * p.sb.column);
        let (b, b_step) = if let Some(packed) = band.packed {
            (packed.wrapping_add(j * terms).cast_const(), width as isize)
        } else {
            (there, p.sb.row)
        };
        let mut r = 0;
        while r < rows {
            let group = group::<V>(rows - r);
            let (a, a_step) = match packed {
                Some(packed) => (
                    packed.wrapping_add(r * terms).cast_const(),
                    Strides { row: 1, column: group as isize },
                ),
                None => (source.wrapping_offset(r as isize * p.sa.row), p.sa),
            };
            let (row, column) = ((i + r) as isize, (first + j) as isize);
            let d = p.d.at(row * p.sd.row + column * p.sd.column);
            let tile = Tile {
                a,
                a_step,
                b,
                b_step,
                terms,
                c: p.c.at(row * p.sc.row + column * p.sc.column),
                c_step: p.sc,
                alpha: p.alpha,
                beta,
                d: (l == 0).then_some((d, p.sd)),
                ahead: wanted.next(terms),
            };
            // SAFETY: the tile is within c; b has `columns` columns here.
            unsafe { micro_rows::<V>(&tile, group, columns, band.packed.is_some()) };
            r += group;
        }
        j += columns;
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
impl<T: Float> Work<T> for Whole<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: passed on.
        unsafe { run::<V>(self.p, self.split) }
    }
}

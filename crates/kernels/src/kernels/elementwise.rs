//! The driver of elementwise work: any shapes and strides, brought to contiguous blocks.
//!
//! Dimensions are sorted and merged; what remains is cut into tiles of the two dimensions that
//! matter for locality. Operands that are not contiguous inside a tile are copied to or from an L1
//! buffer, in the order that suits their own memory.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment, reason = "operands are aligned by contract")]

mod parts;
mod pieces;

use std::mem::MaybeUninit;

use smallvec::SmallVec;

use parts::bits;
pub(crate) use parts::{fill, gather, number, scatter};

use super::block::Block;
use super::raw::Aligned;
use crate::parallel;

/// Memory of one operand: element strides (0 broadcasts, negative is fine) and element size.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// The first element.
    pub ptr: *mut u8,
    /// Strides in elements, one per dimension.
    pub strides: &'a [isize],
    /// Bytes per element: 1, 2, 4 or 8.
    pub size: usize,
}

/// The largest number of inputs of a block.
pub const MAX_INPUTS: usize = 5;
const MAX_OPERANDS: usize = MAX_INPUTS + 1;

/// Bytes of traffic per parallel task.
const TASK_BYTES: usize = 1 << 17;
/// Bytes of a buffer; tiles hold as many elements of the largest operand.
const BUFFER: usize = 1 << 14;
/// Rows shorter than this are merged in the buffer, so that blocks are not called for crumbs.
const SHORT: usize = 128;
/// Bytes of a buffer that one value fills: it is read again and again, so it had better be short.
const CONSTANT: usize = 2048;
/// Outputs from this size on bypass the caches where the instruction set allows it.
const STREAM_BYTES: usize = 1 << 25;
/// Bytes of an operand that are done before they are written past the caches: more at a time would keep the
/// processor waiting.
pub(crate) const BURST: usize = 2048;

/// Pointers shared between tasks, each of which touches its own part of the output.
struct Shared<T>(T);
// SAFETY: only disjoint parts of the output are written; inputs are only read.
unsafe impl<T> Sync for Shared<T> {}

/// What gives, for a block of two inputs, the blocks of one that have the first, or the second, in `p[0]`.
pub type Forms = fn(Block, &[f64; 2]) -> [Option<Block>; 2];

/// Computes `out = block(ins)` over all elements of `shape`.
///
/// # Safety
/// As for [`run_with`].
pub unsafe fn run(
    shape: &[usize],
    out: Operand<'_>,
    ins: &[Operand<'_>],
    block: Block,
    p: &[f64; 2],
) {
    // SAFETY: passed on.
    unsafe { run_with(shape, out, ins, block, p, |_, _| [None; 2]) }
}

/// [`run`]; an input of floats that does not change along a row is handed over as a number, if `forms` has
/// such a block.
///
/// # Safety
/// Every operand must be valid for its strides over `shape`, aligned, and of the element type that
/// `block` expects. `out` addresses each element once. Inputs may be the very memory of `out` with
/// the same strides and size; otherwise they do not overlap it.
pub unsafe fn run_with(
    shape: &[usize],
    out: Operand<'_>,
    ins: &[Operand<'_>],
    block: Block,
    p: &[f64; 2],
    forms: Forms,
) {
    debug_assert!(ins.len() <= MAX_INPUTS);
    debug_assert!(std::iter::once(&out).chain(ins).all(|o| o.strides.len() == shape.len()));
    let n: usize = shape.iter().product();
    if n == 0 {
        return;
    }
    let plain = contiguous(shape, out.strides) && ins.iter().all(|o| contiguous(shape, o.strides));
    // SAFETY: contiguity over n elements was just checked.
    unsafe {
        if n == 1 || plain {
            flat(n, out, ins, block, p);
        } else {
            let forms = if ins.len() == 2 { forms(block, p) } else { [None; 2] };
            let mut plan = Plan::new(shape, out, ins, forms);
            let copy = super::copy::copy_block(out.size);
            plan.copies = ins.len() == 1 && std::ptr::fn_addr_eq(block, copy);
            plan.run(block, p);
        }
    }
}

/// Whether the strides are those of a row-major tensor of this (non-empty) shape.
#[inline]
fn contiguous(shape: &[usize], strides: &[isize]) -> bool {
    let mut expected = 1;
    for (&d, &s) in shape.iter().zip(strides).rev() {
        if d != 1 {
            if s != expected {
                return false;
            }
            expected *= d as isize;
        }
    }
    true
}

/// All operands contiguous: the block runs straight on the memory.
#[inline]
unsafe fn flat(n: usize, out: Operand<'_>, ins: &[Operand<'_>], block: Block, p: &[f64; 2]) {
    let mut ptrs = [std::ptr::null::<u8>(); MAX_INPUTS];
    let mut bytes = out.size;
    for (ptr, o) in ptrs.iter_mut().zip(ins) {
        *ptr = o.ptr;
        bytes += o.size;
    }
    if n * bytes < parallel::threshold() {
        // SAFETY: by the contract of `run`.
        unsafe { block(ptrs.as_ptr(), out.ptr, n, p) };
        return;
    }
    let step = (TASK_BYTES / bytes).max(1024) & !1023;
    let mut sizes = [0; MAX_INPUTS];
    for (size, o) in sizes.iter_mut().zip(ins) {
        *size = o.size;
    }
    let stream = streams(n * out.size) && ins.iter().all(|o| o.ptr != out.ptr);
    let shared = Shared((out.ptr, ptrs));
    let shared = &shared;
    let body = |task: usize| {
        let (out_ptr, mut ptrs) = shared.0;
        let start = task * step;
        for (ptr, size) in ptrs.iter_mut().zip(sizes) {
            *ptr = ptr.wrapping_add(start * size);
        }
        let len = step.min(n - start);
        // SAFETY: each task covers its own range of the n elements.
        unsafe {
            let target = out_ptr.add(start * out.size);
            if stream {
                streamed(len, target, out.size, ptrs, sizes, block, p);
            } else {
                block(ptrs.as_ptr(), target, len, p);
            }
        }
    };
    parallel::for_each(n.div_ceil(step), body);
}

/// Whether a fresh output of so many bytes had better bypass the caches.
#[inline]
pub(crate) fn streams(bytes: usize) -> bool {
    bytes >= STREAM_BYTES && super::copy::can_stream()
}

/// As a block call, but by way of a buffer, and from there past the caches.
unsafe fn streamed(
    n: usize,
    out: *mut u8,
    size: usize,
    mut ptrs: [*const u8; MAX_INPUTS],
    sizes: [usize; MAX_INPUTS],
    block: Block,
    p: &[f64; 2],
) {
    let mut buffer = Buffer::uninit();
    let buffer = buffer.as_mut_ptr().cast::<u8>();
    let mut done = 0;
    while done < n {
        let len = (n - done).min(BURST / size);
        // SAFETY: `len` elements from `done` on are in bounds, and fit the buffer.
        unsafe {
            block(ptrs.as_ptr(), buffer, len, p);
            super::copy::stream(buffer, out.add(done * size), len * size);
        }
        for (ptr, size) in ptrs.iter_mut().zip(sizes) {
            *ptr = ptr.wrapping_add(len * size);
        }
        done += len;
    }
    super::copy::stream_fence();
}

type Buffer = MaybeUninit<Aligned<[u8; BUFFER]>>;

/// One dimension after merging: its length and the stride of each operand, output first, in bytes.
#[derive(Clone, Copy)]
struct Dim {
    len: usize,
    strides: [isize; MAX_OPERANDS],
}

/// How an operand meets a tile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Rows lie in memory as the block wants them.
    Direct,
    /// The same value all over: one row of it in the buffer, refilled only when it changes.
    Constant,
    /// The same row all over, as often in the buffer as a tile has rows, refilled when it changes.
    Repeated,
    /// Through the buffer.
    Buffered,
}

struct Plan {
    /// Operands; the output first.
    count: usize,
    ptrs: [*mut u8; MAX_OPERANDS],
    sizes: [usize; MAX_OPERANDS],
    /// The loops around the tiles, outermost first.
    outer: SmallVec<[Dim; 6]>,
    /// The rows of a tile, and the elements of a row.
    row: Dim,
    col: Dim,
    tile_rows: usize,
    tile_cols: usize,
    /// Whether a tile is one block call: rows follow each other without gap.
    packed: bool,
    /// Elements per block call, fewer than a row has where an operand is constant along it.
    piece: usize,
    /// Whether the block only copies, so that rows can be gathered where they are to go.
    copies: bool,
    /// Which operand is a number to what block of the other one, see [`run_with`].
    number: Option<(usize, Block)>,
    access: [Access; MAX_OPERANDS],
}

impl Plan {
    fn new(
        shape: &[usize],
        out: Operand<'_>,
        ins: &[Operand<'_>],
        forms: [Option<Block>; 2],
    ) -> Self {
        let count = ins.len() + 1;
        let mut ptrs = [std::ptr::null_mut(); MAX_OPERANDS];
        let mut sizes = [0; MAX_OPERANDS];
        for (k, o) in std::iter::once(&out).chain(ins).enumerate() {
            ptrs[k] = o.ptr;
            sizes[k] = o.size;
        }
        let mut dims = SmallVec::<[Dim; 6]>::new();
        for (i, &len) in shape.iter().enumerate() {
            if len == 1 {
                continue;
            }
            let mut strides = [0; MAX_OPERANDS];
            for (k, o) in std::iter::once(&out).chain(ins).enumerate() {
                strides[k] = o.strides[i] * o.size as isize;
            }
            // Walk the output upwards.
            if strides[0] < 0 {
                for k in 0..count {
                    ptrs[k] = ptrs[k].wrapping_offset(strides[k] * (len as isize - 1));
                    strides[k] = -strides[k];
                }
            }
            dims.push(Dim { len, strides });
        }
        // Outermost first: by output stride, then by what the inputs would like.
        dims.sort_by_key(|d| {
            std::cmp::Reverse((d.strides[0], d.strides[1..].iter().map(|s| s.abs()).sum::<isize>()))
        });
        let mut merged = SmallVec::<[Dim; 6]>::new();
        for d in dims {
            if let Some(last) = merged.last_mut()
                && (0..count).all(|k| last.strides[k] == d.strides[k] * d.len as isize)
            {
                *last = Dim { len: last.len * d.len, strides: d.strides };
                continue;
            }
            merged.push(d);
        }
        let unit = Dim { len: 1, strides: [0; MAX_OPERANDS] };
        let col = merged.pop().unwrap_or(unit);
        let row = Self::pick_rows(&mut merged, &col, &sizes, count).unwrap_or(unit);
        let mut plan = Self {
            count,
            ptrs,
            sizes,
            outer: merged,
            row,
            col,
            tile_rows: 1,
            tile_cols: 1,
            packed: false,
            piece: usize::MAX,
            copies: false,
            number: None,
            access: [Access::Direct; MAX_OPERANDS],
        };
        plan.choose_tiles(forms);
        plan
    }

    /// Takes out the dimension along which the operand that is worst along `col` is best;
    /// failing such an operand, the innermost one.
    fn pick_rows(
        dims: &mut SmallVec<[Dim; 6]>,
        col: &Dim,
        sizes: &[usize; MAX_OPERANDS],
        count: usize,
    ) -> Option<Dim> {
        let innermost = dims.len().checked_sub(1)?;
        let mut best = innermost;
        for (k, &size) in sizes.iter().enumerate().take(count) {
            let across = col.strides[k].unsigned_abs();
            if across <= size {
                continue;
            }
            let nearest = (0..dims.len())
                .filter(|&i| dims[i].strides[k] != 0)
                .min_by_key(|&i| dims[i].strides[k].unsigned_abs());
            if let Some(i) = nearest
                && dims[i].strides[k].unsigned_abs() < across
            {
                best = i;
                break;
            }
        }
        Some(dims.remove(best))
    }

    fn choose_tiles(&mut self, forms: [Option<Block>; 2]) {
        let tile = BUFFER / self.sizes.iter().fold(1, |a, &b| a.max(b));
        let direct = |k: usize| self.col.strides[k] == self.sizes[k] as isize;
        // One of two operands stays the same along a row.
        let stays = |k: usize| self.col.strides[k] == 0;
        self.number = match forms {
            [Some(form), _] if stays(1) && !stays(2) => Some((1, form)),
            [_, Some(form)] if stays(2) && !stays(1) => Some((2, form)),
            _ => None,
        };
        let handed = self.number.is_some_and(|(k, _)| direct(3 - k) && direct(0));
        let least = if handed { SHORT / 8 } else { SHORT };
        let short = self.col.len < least && self.row.len > 1;
        let follows = |k: usize| {
            direct(k) && self.row.strides[k] == self.col.strides[k] * self.col.len as isize
        };
        let repeats = |k: usize| k > 0 && direct(k) && self.row.strides[k] == 0;
        // Rows of which one is read again and again are joined even if they are longer: a few of them, so
        // that they stay in L1 with what passes by. (A single row follows nothing.)
        let joined = self.col.len <= tile / 4 && (0..self.count).all(|k| follows(k) || repeats(k));
        let tile = if joined { tile / 2 } else { tile };
        if short || joined {
            // Rows are joined; direct is what lies packed in memory already.
            self.packed = true;
            self.number = None;
            self.tile_cols = self.col.len;
            let most = self.row.len.min(tile / self.col.len);
            // Whole vectors, if a few rows more or less make them.
            let whole = 32 >> self.col.len.trailing_zeros().min(5);
            self.tile_rows = if most > whole { most / whole * whole } else { most };
            self.access = std::array::from_fn(|k| match k {
                _ if follows(k) => Access::Direct,
                _ if repeats(k) => Access::Repeated,
                _ => Access::Buffered,
            });
            return;
        }
        // Whether some operand runs across: tiles then, so that each of its cache lines is read once.
        let mut across = false;
        let mut buffered = false;
        let mut constant = false;
        for k in 0..self.count {
            self.access[k] = if direct(k) {
                Access::Direct
            } else if self.col.strides[k] == 0 && k > 0 {
                constant = true;
                Access::Constant
            } else {
                let (row, col) = (self.row.strides[k], self.col.strides[k]);
                buffered = true;
                across |= row != 0 && row.unsigned_abs() < col.unsigned_abs();
                Access::Buffered
            };
        }
        if across {
            self.tile_cols = self.col.len.min(64);
            self.tile_rows = self.row.len.min(tile / self.tile_cols);
            if self.tile_rows < tile / 64 {
                self.tile_cols = self.col.len.min(tile / self.tile_rows);
            }
        } else {
            let limited = constant || buffered;
            self.tile_cols = if limited { self.col.len.min(tile) } else { self.col.len };
            // Several rows per tile only spare loop overhead.
            let most = if limited { tile } else { 8 * tile };
            self.tile_rows = self.row.len.min((most / self.tile_cols).max(1));
            if constant {
                let size = (1..self.count).map(|k| self.sizes[k]).max().unwrap_or(1);
                self.piece = CONSTANT / size;
            }
        }
    }

    /// Runs all tiles, in tasks cut by size.
    unsafe fn run(&self, block: Block, p: &[f64; 2]) {
        let row_tiles = self.row.len.div_ceil(self.tile_rows);
        let col_tiles = self.col.len.div_ceil(self.tile_cols);
        let outer: usize = self.outer.iter().map(|d| d.len).product();
        let tiles = outer * row_tiles * col_tiles;
        let element_bytes: usize = self.sizes.iter().sum();
        let tile_bytes = (self.tile_rows * self.tile_cols * element_bytes).max(1);
        let total = outer * self.row.len * self.col.len * element_bytes;
        if total < parallel::threshold() || parallel::threads() == 1 {
            // SAFETY: all tiles lie within the operands.
            unsafe { self.run_tiles(0, tiles, row_tiles, col_tiles, block, p) };
            return;
        }
        let per_task = (TASK_BYTES / tile_bytes).max(1);
        let shared = Shared(self);
        let shared = &shared;
        parallel::for_each(tiles.div_ceil(per_task), |task| {
            let first = task * per_task;
            let last = (first + per_task).min(tiles);
            let plan: &Self = { shared }.0;
            // SAFETY: tasks cover disjoint tiles.
            unsafe { plan.run_tiles(first, last, row_tiles, col_tiles, block, p) };
        });
    }

    /// Runs the tiles `first..last`, numbered along columns, then rows, then the outer loops.
    unsafe fn run_tiles(
        &self,
        first: usize,
        last: usize,
        row_tiles: usize,
        col_tiles: usize,
        block: Block,
        p: &[f64; 2],
    ) {
        #[expect(clippy::large_stack_arrays, reason = "uninitialised scratch, 96 KiB")]
        let mut buffers: [Buffer; MAX_OPERANDS] = [const { Buffer::uninit() }; MAX_OPERANDS];
        if self.is_even() {
            // SAFETY: passed on.
            return unsafe { self.run_even(first, last, &mut buffers, block, p) };
        }
        let mut filled = [None; MAX_OPERANDS];
        for tile in first..last {
            let (rest, ct) = (tile / col_tiles, tile % col_tiles);
            let (mut rest, rt) = (rest / row_tiles, rest % row_tiles);
            let (r0, c0) = (rt * self.tile_rows, ct * self.tile_cols);
            let mut ptrs = self.ptrs;
            let mut shift = |d: &Dim, i: usize| {
                for (ptr, stride) in ptrs.iter_mut().zip(d.strides) {
                    *ptr = ptr.wrapping_offset(stride * i as isize);
                }
            };
            for d in self.outer.iter().rev() {
                shift(d, rest % d.len);
                rest /= d.len;
            }
            shift(&self.row, r0);
            shift(&self.col, c0);
            let rows = self.tile_rows.min(self.row.len - r0);
            let cols = self.tile_cols.min(self.col.len - c0);
            // SAFETY: the tile lies within the operands.
            unsafe { self.tile(ptrs, rows, cols, &mut buffers, &mut filled, block, p) };
        }
    }

    /// Whether all tiles are like the first, further on in some operands and with the same rows of the others.
    fn is_even(&self) -> bool {
        let even = |access: &Access| matches!(access, Access::Direct | Access::Repeated);
        self.packed
            && !self.copies
            && self.outer.is_empty()
            && self.access[..self.count].iter().all(even)
    }

    /// [`Self::run_tiles`] of a plan that [is even](Self::is_even).
    unsafe fn run_even(
        &self,
        first: usize,
        last: usize,
        buffers: &mut [Buffer; MAX_OPERANDS],
        block: Block,
        p: &[f64; 2],
    ) {
        let (rows, cols) = (self.tile_rows, self.col.len);
        let mut ptrs = self.ptrs;
        let mut steps = [0isize; MAX_OPERANDS];
        for k in 0..self.count {
            if self.access[k] == Access::Direct {
                steps[k] = self.row.strides[k] * rows as isize;
                ptrs[k] = ptrs[k].wrapping_offset(steps[k] * first as isize);
            } else {
                let buffer = buffers[k].as_mut_ptr().cast::<u8>();
                // SAFETY: a tile fits the buffer, a row lies within the operand.
                unsafe {
                    gather(ptrs[k], 0, self.col.strides[k], buffer, rows, cols, self.sizes[k]);
                }
                ptrs[k] = buffer;
            }
        }
        for tile in first..last {
            let rows = rows.min(self.row.len - tile * rows);
            let inputs: [*const u8; MAX_INPUTS] = std::array::from_fn(|k| ptrs[k + 1].cast_const());
            // SAFETY: rows of a tile, contiguous at each pointer.
            unsafe { block(inputs.as_ptr(), ptrs[0], rows * cols, p) };
            for (ptr, step) in ptrs.iter_mut().zip(steps) {
                *ptr = ptr.wrapping_offset(step);
            }
        }
    }

    #[inline]
    unsafe fn tile(
        &self,
        ptrs: [*mut u8; MAX_OPERANDS],
        rows: usize,
        cols: usize,
        buffers: &mut [Buffer; MAX_OPERANDS],
        filled: &mut [Option<(u64, usize)>; MAX_OPERANDS],
        block: Block,
        p: &[f64; 2],
    ) {
        if self.copies && self.pieces(ptrs, rows, cols) {
            return;
        }
        if self.copies && self.packed && self.access[..2] == [Access::Direct, Access::Buffered] {
            let (r, c) = (self.row.strides[1], self.col.strides[1]);
            // SAFETY: the tile lies within the operands, and the output is packed.
            unsafe { gather(ptrs[1], r, c, ptrs[0], rows, cols, self.sizes[1]) };
            return;
        }
        if self.copies
            && self.access[0] == Access::Direct
            && self.access[1] == Access::Buffered
            && (self.col.strides[1].unsigned_abs() <= self.row.strides[1].unsigned_abs()
                || (rows <= 4 && self.col.strides[1].unsigned_abs() <= 4 * self.sizes[1]))
        {
            for i in 0..rows {
                let i = i as isize;
                let from = ptrs[1].wrapping_offset(self.row.strides[1] * i);
                let to = ptrs[0].wrapping_offset(self.row.strides[0] * i);
                // SAFETY: a row of the tile, of which the output is contiguous.
                unsafe { gather(from, 0, self.col.strides[1], to, 1, cols, self.sizes[1]) };
            }
            return;
        }
        if self.copies && self.access[..2] == [Access::Direct, Access::Direct] && !self.packed {
            for i in 0..rows {
                let i = i as isize;
                let from = ptrs[1].wrapping_offset(self.row.strides[1] * i);
                let to = ptrs[0].wrapping_offset(self.row.strides[0] * i);
                // SAFETY: a row of the tile, of which both are contiguous.
                unsafe { super::copy::copy_line(from, to, cols * self.sizes[0]) };
            }
            return;
        }
        if self.copies && self.access[..2] == [Access::Direct, Access::Constant] {
            for i in 0..rows {
                let i = i as isize;
                let from = ptrs[1].wrapping_offset(self.row.strides[1] * i);
                let to = ptrs[0].wrapping_offset(self.row.strides[0] * i);
                // SAFETY: one element, and a row of the tile, of which the output is contiguous.
                unsafe { fill(from, to, cols, self.sizes[1]) };
            }
            return;
        }
        let mut starts = [std::ptr::null_mut::<u8>(); MAX_OPERANDS];
        let mut steps = [0isize; MAX_OPERANDS];
        for k in 0..self.count {
            let buffer = buffers[k].as_mut_ptr().cast::<u8>();
            (starts[k], steps[k]) = match self.access[k] {
                Access::Direct => (ptrs[k], self.row.strides[k]),
                // Filled row by row below.
                Access::Constant => (buffer, 0),
                Access::Repeated => {
                    // Known by where it lies, and how often the buffer has it.
                    let place = ptrs[k] as u64;
                    if !filled[k].is_some_and(|(have, n)| have == place && n >= rows) {
                        // SAFETY: the tile fits the buffer and lies within the operand.
                        unsafe {
                            let col = self.col.strides[k];
                            gather(ptrs[k], 0, col, buffer, rows, cols, self.sizes[k]);
                        }
                        filled[k] = Some((place, rows));
                    }
                    (buffer, 0)
                }
                Access::Buffered => {
                    if k > 0 {
                        let (r, c) = (self.row.strides[k], self.col.strides[k]);
                        // SAFETY: the tile fits the buffer and lies within the operand.
                        unsafe { gather(ptrs[k], r, c, buffer, rows, cols, self.sizes[k]) };
                    }
                    (buffer, (cols * self.sizes[k]) as isize)
                }
            };
        }
        if let Some((k, form)) = self.number {
            let other = 3 - k;
            for i in 0..rows as isize {
                // SAFETY: the element, and `cols` contiguous ones of the other operands.
                unsafe {
                    let value =
                        number(ptrs[k].wrapping_offset(self.row.strides[k] * i), self.sizes[k]);
                    let input = starts[other].wrapping_offset(steps[other] * i).cast_const();
                    form(
                        &raw const input,
                        starts[0].wrapping_offset(steps[0] * i),
                        cols,
                        &[value, 0.0],
                    );
                }
            }
        }
        let (calls, len) = match self.number {
            Some(_) => (0, 0),
            None if self.packed => (1, rows * cols),
            None => (rows, cols),
        };
        for i in 0..calls {
            let mut inputs = [std::ptr::null::<u8>(); MAX_INPUTS];
            for k in 1..self.count {
                if self.access[k] == Access::Constant {
                    let value = ptrs[k].wrapping_offset(self.row.strides[k] * i as isize);
                    let n = len.min(self.piece);
                    // SAFETY: one readable element; `cols` elements fit the buffer.
                    unsafe { self.fill_constant(k, value, starts[k], n, &mut filled[k]) };
                }
                inputs[k - 1] = starts[k].wrapping_offset(steps[k] * i as isize);
            }
            let target = starts[0].wrapping_offset(steps[0] * i as isize);
            if len <= self.piece {
                // SAFETY: `len` elements are contiguous at each pointer.
                unsafe { block(inputs.as_ptr(), target, len, p) };
                continue;
            }
            for at in (0..len).step_by(self.piece) {
                // SAFETY: as above; a buffer of copies of one value does not move on.
                unsafe {
                    let n = (len - at).min(self.piece);
                    block(inputs.as_ptr(), target.add(at * self.sizes[0]), n, p);
                }
                for k in 1..self.count {
                    if self.access[k] != Access::Constant {
                        inputs[k - 1] = inputs[k - 1].wrapping_add(self.piece * self.sizes[k]);
                    }
                }
            }
        }
        if self.access[0] == Access::Buffered {
            let (r, c) = (self.row.strides[0], self.col.strides[0]);
            // SAFETY: the tile lies within the output.
            unsafe { scatter(starts[0], ptrs[0], r, c, rows, cols, self.sizes[0]) };
        }
    }

    /// Makes the buffer of operand `k` hold `cols` copies of `value`, unless it does already.
    unsafe fn fill_constant(
        &self,
        k: usize,
        value: *const u8,
        buffer: *mut u8,
        cols: usize,
        filled: &mut Option<(u64, usize)>,
    ) {
        // SAFETY: the element is readable and the buffer holds `cols` elements.
        unsafe {
            let bits = bits(value, self.sizes[k]);
            if filled.is_some_and(|(b, n)| b == bits && n >= cols) {
                return;
            }
            *filled = Some((bits, cols));
            super::copy::fill_bits(buffer, cols, self.sizes[k], bits);
        }
    }
}

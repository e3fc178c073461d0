//! Running blocks over cores: outputs allocated like the inputs, broadcasting, locks.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::binary::number_forms;
use crate::dtype::{DType, Element, Scalar};
use crate::error::Result;
use crate::kernels::block::Block;
use crate::kernels::copy;
use crate::kernels::elementwise::{self, Operand};
use crate::kernels::raw::{Dst, Src, split};
use crate::shape::{Dims, Strides, broadcast_strides};
use crate::storage::{Access, Core, ReadTwo};

/// Runs a block with `out` as output; inputs are broadcast to its shape. An input may be `out`
/// itself or share its buffer only with the same layout.
pub fn run_into(block: Block, p: &[f64; 2], out: &Core, ins: &[&Core]) -> Result<()> {
    let access = Access::new(ins, Some(out));
    run_locked(block, p, out, ins);
    drop(access);
    Ok(())
}

#[inline]
fn run_locked(block: Block, p: &[f64; 2], out: &Core, ins: &[&Core]) {
    let shape = out.shape();
    let strides: SmallVec<[Strides; 4]> = ins
        .iter()
        .map(|core| {
            if core.shape() == shape {
                Strides::from_slice(core.strides())
            } else {
                broadcast_strides(core.shape(), core.strides(), shape)
            }
        })
        .collect();
    let operands: SmallVec<[Operand<'_>; 4]> = ins
        .iter()
        .zip(&strides)
        .map(|(core, strides)| Operand { ptr: core.data(), strides, size: core.dtype().size() })
        .collect();
    let target = Operand { ptr: out.data(), strides: out.strides(), size: out.dtype().size() };
    run_block(shape, target, &operands, block, p);
}

fn run_block(shape: &[usize], out: Operand<'_>, ins: &[Operand<'_>], block: Block, p: &[f64; 2]) {
    // SAFETY: operands come from cores whose views are inside their buffers, locked by the callers
    // or not yet shared; blocks are chosen by the cores' dtypes; broadcast strides reach no more
    // than the cores' own.
    unsafe { elementwise::run_with(shape, out, ins, block, p, number_forms) };
}

/// [`map`] for two dense inputs of one shape, which need no broadcasting: the path of small tensors.
#[inline]
pub fn map_dense(
    block: Block,
    p: &[f64; 2],
    dtype: DType,
    a: &Core,
    b: &Core,
) -> Result<Arc<Core>> {
    let out = Core::alloc(dtype, a.shape())?;
    let access = ReadTwo::new(a, b);
    run_dense(block, p, &out, &[a, b]);
    drop(access);
    Ok(out)
}

/// Writes the result of a block over `a`, its first input, if nobody else can reach that and the result
/// would be laid out like it: saves the allocation, and memory that is in cache is written again.
/// `false`, and nothing done, where that is not so, or putting the work off is worth more.
#[inline]
pub fn map_over(block: Block, p: &[f64; 2], a: &Arc<Core>, b: Option<&Core>) -> bool {
    let fits = b.is_none_or(|b| dense_pair(a, b));
    if !fits || !a.owned_by_one() || crate::storage::deferred::pays(a.numel(), a.dtype()) {
        return false;
    }
    let b = b.unwrap_or(a);
    let access = ReadTwo::new(b, b);
    // A block may write over an input, and `a` is reached by the caller alone.
    run_dense(block, p, a, &[a, b]);
    drop(access);
    true
}

/// Runs a block on dense cores of one shape, locked by the caller.
#[inline]
fn run_dense(block: Block, p: &[f64; 2], out: &Core, ins: &[&Core; 2]) {
    let n = out.numel();
    // The last resort is what splits large work; a threshold of 1 sends all but scalars there.
    if n <= 1 || n < crate::parallel::threshold() / 32 {
        let ptrs = [ins[0].data().cast_const(), ins[1].data().cast_const()];
        // SAFETY: all three are dense, of n elements and of the dtypes the block was chosen for;
        // the output is fresh, the inputs are locked.
        unsafe { block(ptrs.as_ptr(), out.data(), n, p) };
    } else {
        run_locked(block, p, out, ins);
    }
}

/// Runs a block into a fresh core of the given shape, laid out like the inputs where they agree.
#[inline]
pub fn map(
    block: Block,
    p: &[f64; 2],
    dtype: DType,
    shape: &[usize],
    ins: &[&Core],
) -> Result<Arc<Core>> {
    let out = alloc_like(dtype, shape, ins)?;
    let access = Access::new(ins, None);
    run_locked(block, p, &out, ins);
    drop(access);
    Ok(out)
}

/// A fresh core; with the strides of the inputs if they are dense, all alike and not row-major.
fn alloc_like(dtype: DType, shape: &[usize], ins: &[&Core]) -> Result<Arc<Core>> {
    let mut like: Option<&Core> = None;
    for core in ins {
        if core.shape() != shape {
            if core.numel() == 1 {
                continue;
            }
            return Core::alloc(dtype, shape);
        }
        if core.is_contiguous() {
            return Core::alloc(dtype, shape);
        }
        match like {
            None => like = Some(core),
            Some(other) if other.strides() == core.strides() => {}
            Some(_) => return Core::alloc(dtype, shape),
        }
    }
    match like {
        Some(core) => alloc_permuted(dtype, core),
        None => Core::alloc(dtype, shape),
    }
}

/// A fresh dense core with the order of dimensions of `like`, if that is dense, else row-major.
pub fn alloc_permuted(dtype: DType, like: &Core) -> Result<Arc<Core>> {
    let mut order: Dims = (0..like.shape().len()).collect();
    order.sort_by_key(|&dim| std::cmp::Reverse(like.strides()[dim]));
    let mut expected = 1isize;
    for &dim in order.iter().rev() {
        let n = like.shape()[dim];
        if n != 1 && like.strides()[dim] != expected {
            return Core::alloc(dtype, like.shape());
        }
        expected *= n as isize;
    }
    let dense = Core::alloc(dtype, &[like.numel()])?;
    dense.into_layout(like.shape(), like.strides())
}

/// A dense copy.
pub fn copy_core(core: &Core) -> Result<Arc<Core>> {
    let out = Core::alloc(core.dtype(), core.shape())?;
    let access = Access::read(core);
    run_locked(copy::copy_block(core.dtype().size()), &[0.0; 2], &out, &[core]);
    drop(access);
    Ok(out)
}

/// Writes dense cores of the dtype of a fresh dense one side by side: of each `outer`-th part of it they
/// have one share after the other. `false`, and nothing done, where the shares are so long that they had
/// better be copied core by core, past the caches.
pub fn join(out: &Core, parts: &[&Core], outer: usize) -> bool {
    let size = out.dtype().size();
    let row = out.numel() / outer.max(1) * size;
    let large = out.numel() * size >= crate::parallel::threshold();
    let long = large && row > JOINED;
    if long && elementwise::streams(out.numel() * size) {
        return false;
    }
    let access = Access::new(parts, None);
    let shares: SmallVec<[(Src<u8>, usize); 8]> = parts
        .iter()
        .map(|part| (Src::new(part.data().cast_const()), part.numel() / outer.max(1) * size))
        .collect();
    let to = Dst::new(out.data());
    if long {
        // Shares cut into pieces of the length of a task.
        let mut pieces: Vec<(Src<u8>, usize, usize)> = Vec::new();
        let mut at = 0;
        for o in 0..outer {
            for &(from, share) in &shares {
                for start in (0..share).step_by(JOINED) {
                    let from = Src::new(from.at((o * share + start) as isize));
                    let length = JOINED.min(share - start);
                    pieces.push((from, at, length));
                    at += length;
                }
            }
        }
        crate::parallel::for_each(pieces.len(), |i| {
            let (from, at, length) = pieces[i];
            // SAFETY: all are dense and as long as their shares together; pieces do not overlap.
            unsafe { copy::copy_bytes(from.at(0), to.at(at as isize), length) };
        });
        drop(access);
        return true;
    }
    let small = outer > 1 && shares.iter().all(|&(_, share)| share <= SMALL_SHARE);
    let turns = shares.iter().all(|&(_, share)| share == size);
    let rows = |first: usize, last: usize| {
        let mut at = first * row;
        let count = last - first;
        if small && turns && shares.len() <= 4 && shares.len() > 1 {
            let runs = |k: usize| shares[k].0.at((first * size) as isize);
            let runs: SmallVec<[*const u8; 4]> = (0..shares.len()).map(runs).collect();
            // SAFETY: as below; elements are aligned.
            unsafe { in_turn(&runs, to.at(at as isize), count, size) };
            return;
        }
        if small {
            // Part after part of so many rows that both stay in cache.
            let together = (JOINED / 8 / row.max(1)).max(1);
            for start in (first..last).step_by(together) {
                let count = together.min(last - start);
                let mut at = start * row;
                for &(from, share) in &shares {
                    let from = from.at((start * share) as isize);
                    let to = to.at(at as isize);
                    // SAFETY: as below.
                    unsafe {
                        copy::move_pieces(from, share as isize, to, row as isize, count, share);
                    }
                    at += share;
                }
            }
            return;
        }
        for o in first..last {
            for &(from, share) in &shares {
                // SAFETY: all are dense and as long as their shares together; rows of the fresh output
                // belong to one task.
                unsafe {
                    copy::copy_bytes(from.at((o * share) as isize), to.at(at as isize), share);
                }
                at += share;
            }
        }
    };
    if large {
        split(outer, row / 4, rows);
    } else {
        rows(0, outer);
    }
    drop(access);
    true
}

/// Two to four runs of elements of `size` bytes, in turn.
///
/// # Safety
/// As for [`copy::interleave`], whose elements are of that size.
unsafe fn in_turn(runs: &[*const u8], to: *mut u8, count: usize, size: usize) {
    macro_rules! of {
        ($t:ty) => {{
            let runs: SmallVec<[*const $t; 4]> = runs.iter().map(|run| run.cast()).collect();
            // SAFETY: passed on.
            unsafe { copy::interleave::<$t>(&runs, to.cast(), count) };
        }};
    }
    match size {
        1 => of!(u8),
        2 => of!(u16),
        4 => of!(u32),
        _ => of!(u64),
    }
}

/// Bytes of a share that is not worth a call.
const SMALL_SHARE: usize = 64;
/// Bytes of a row that is copied in one go.
const JOINED: usize = 1 << 18;

/// Whether two cores have one dtype and one dense layout.
#[inline]
pub fn dense_pair(a: &Core, b: &Core) -> bool {
    a.dtype() == b.dtype() && a.is_contiguous() && b.is_contiguous() && a.shape() == b.shape()
}

/// The core in another dtype; itself if it has it.
///
/// # Errors
/// If memory is short.
pub fn cast(core: &Arc<Core>, dtype: DType) -> Result<Arc<Core>> {
    if core.dtype() == dtype {
        return Ok(core.clone());
    }
    map(copy::cast_block(core.dtype(), dtype), &[0.0; 2], dtype, core.shape(), &[core])
}

/// Writes one value everywhere.
///
/// # Errors
/// If memory is short.
pub fn fill(core: &Core, value: Scalar) -> Result<()> {
    let _access = Access::new(&[], Some(core));
    let out = Operand { ptr: core.data(), strides: core.strides(), size: core.dtype().size() };
    crate::dtype::dispatch!(core.dtype(), T => {
        let value = T::from_scalar(value);
        // SAFETY: the core is locked and inside its buffer.
        unsafe {
            if core.is_contiguous() && core.numel() <= 1024 {
                copy::fill_bits(out.ptr, core.numel(), out.size, copy::element_bits(value));
            } else {
                copy::fill::<T>(core.shape(), out, value);
            }
        }
    });
    Ok(())
}

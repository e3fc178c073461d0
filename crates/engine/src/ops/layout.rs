//! In which order the dimensions of a result lie in memory: as its operands', so that each is walked as it lies.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::dtype::DType;
use crate::error::Result;
use crate::kernels::block::Block;
use crate::launch::program::{map_later, map_turned_later};
use crate::shape::{Dims, Strides, contiguous_strides};
use crate::storage::Core;
use crate::storage::deferred::Turned;

/// The strides of an operand over the dimensions of a result it is broadcast to.
fn strides_over(core: &Core, shape: &[usize]) -> Strides {
    let missing = shape.len() - core.shape().len();
    let mut strides = Strides::from_elem(0, missing);
    for (dim, &stride) in core.strides().iter().enumerate() {
        let expanded = core.shape()[dim] == 1 && shape[missing + dim] != 1;
        strides.push(if expanded { 0 } else { stride });
    }
    strides
}

/// The dimensions of a result, the slowest in memory first, if that is not their own order.
///
/// As torch sorts them: by the strides of the first operand that tells two apart, of equal strides the larger
/// dimension first.
fn order<'c>(shape: &[usize], operands: impl Iterator<Item = &'c Core>) -> Option<Dims> {
    let n = shape.len();
    let strides: SmallVec<[Strides; 3]> = operands.map(|core| strides_over(core, shape)).collect();
    // Whether dimension `a` must come before `b` counted from the fastest; `None` if nothing tells.
    let slower = |a: usize, b: usize| -> Option<bool> {
        for strides in &strides {
            let (x, y) = (strides[a], strides[b]);
            if x == 0 || y == 0 {
                continue;
            }
            if x != y {
                return Some(x > y);
            }
            if shape[a] > shape[b] {
                return Some(true);
            }
        }
        None
    };
    // From the fastest.
    let mut dims: Dims = (0..n).rev().collect();
    for i in 1..n {
        let mut at = i;
        for before in (0..i).rev() {
            match slower(dims[before], dims[at]) {
                Some(true) => {
                    dims.swap(before, at);
                    at = before;
                }
                Some(false) => break,
                None => {}
            }
        }
    }
    dims.reverse();
    if dims.iter().enumerate().all(|(i, &dim)| i == dim) { None } else { Some(dims) }
}

/// Strides of a dense tensor whose dimensions lie in this order.
fn dense_strides(shape: &[usize], order: &[usize]) -> Strides {
    let mut strides = Strides::from_elem(0, shape.len());
    let sorted: Dims = order.iter().map(|&dim| shape[dim]).collect();
    for (&dim, &stride) in order.iter().zip(&contiguous_strides(&sorted)) {
        strides[dim] = stride;
    }
    strides
}

/// The dimensions of what is like `core`, the slowest in memory first, if that is not their own order.
fn own_order(core: &Core) -> Option<Dims> {
    if core.is_contiguous() { None } else { order(core.shape(), std::iter::once(core)) }
}

/// A fresh dense core whose dimensions lie in the order of those of `like`.
pub(crate) fn alloc_like(dtype: DType, like: &Core) -> Result<Arc<Core>> {
    let Some(order) = own_order(like) else { return Core::alloc(dtype, like.shape()) };
    let dense = Core::alloc(dtype, &[like.numel()])?;
    dense.into_layout(like.shape(), &dense_strides(like.shape(), &order))
}

/// A dense copy whose dimensions lie in the order of those of `core`.
pub(crate) fn copy_like(core: &Arc<Core>) -> Result<Arc<Core>> {
    if core.is_contiguous() {
        return crate::launch::blocks::copy_core(core);
    }
    let out = alloc_like(core.dtype(), core)?;
    let block = crate::kernels::copy::copy_block(core.dtype().size());
    crate::launch::blocks::run_into(block, &[0.0; 2], &out, &[core])?;
    Ok(out)
}

/// [`map_later`] with the dimensions of the result in memory as torch orders them.
#[inline]
pub(super) fn map_ordered(
    block: Block,
    p: &[f64; 2],
    to: DType,
    shape: &[usize],
    ins: &[&Arc<Core>],
) -> Result<Arc<Core>> {
    if ins.iter().all(|core| core.is_contiguous()) {
        return map_later(block, p, to, shape, ins);
    }
    map_strided(block, p, to, shape, ins)
}

#[cold]
fn map_strided(
    block: Block,
    p: &[f64; 2],
    to: DType,
    shape: &[usize],
    ins: &[&Arc<Core>],
) -> Result<Arc<Core>> {
    let Some(order) = order(shape, ins.iter().map(|core| &***core)) else {
        return map_later(block, p, to, shape, ins);
    };
    let sorted: Dims = order.iter().map(|&dim| shape[dim]).collect();
    let inputs: SmallVec<[Strides; 3]> = ins
        .iter()
        .map(|core| {
            let strides = strides_over(core, shape);
            order.iter().map(|&dim| strides[dim]).collect()
        })
        .collect();
    let strides = dense_strides(shape, &order);
    let turned = Turned { shape, strides: &strides, inputs: &inputs };
    if let Some(core) = map_turned_later(block, p, to, &sorted, ins, turned) {
        return core;
    }
    let mut turned: SmallVec<[Arc<Core>; 3]> = SmallVec::new();
    for (core, strides) in ins.iter().zip(&inputs) {
        turned.push(core.view(&sorted, strides, core.offset())?);
    }
    let turned: SmallVec<[&Arc<Core>; 3]> = turned.iter().collect();
    let out = map_later(block, p, to, &sorted, &turned)?;
    out.into_layout(shape, &strides)
}

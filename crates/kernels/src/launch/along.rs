//! Operations along one dimension: scans, sorts, gathers, softmax.

use std::sync::Arc;

use super::blocks::copy_core;
use super::{ptr, ptr_mut};
use crate::dtype::{DType, Scalar, dispatch};
use crate::error::{Result, bail, ensure};
use crate::kernels::index::{self as index_kernel, Base, Combine};
use crate::kernels::reduce::{self as reduce_kernel, Extreme};
use crate::kernels::rows::{self, Along};
use crate::kernels::scan;
use crate::kernels::sort::{self as sort_kernel, Rank};
use crate::shape::Dims;
use crate::storage::{Access, Core};

/// The core itself if it is row-major, else a copy that is.
pub(super) fn dense(core: &Arc<Core>) -> Result<Arc<Core>> {
    if core.is_contiguous() { Ok(core.clone()) } else { copy_core(core) }
}

fn check_dim(core: &Core, dim: usize) -> Result<Along> {
    ensure!(dim < core.shape().len().max(1), runtime, "dimension {dim} of {:?}", core.shape());
    Ok(Along::new(core.shape(), dim))
}

fn missing(name: &str, dtype: DType) -> crate::error::Error {
    crate::error::Error::not_implemented(format!(
        "\"{name}\" not implemented for '{}'",
        dtype.scalar_name()
    ))
}

/// The shape with another size along a dimension; a 0-d shape stays as it is.
pub(super) fn resized(shape: &[usize], dim: usize, n: usize) -> Dims {
    let mut shape = Dims::from_slice(shape);
    if let Some(size) = shape.get_mut(dim) {
        *size = n;
    }
    shape
}

/// The sizes of the dimensions that are not set in `mask`.
pub(super) fn kept(shape: &[usize], mask: u64) -> Dims {
    let sizes = shape.iter().enumerate().filter(|&(dim, _)| mask >> dim & 1 == 0);
    sizes.map(|(_, &n)| n).collect()
}

/// Position, and if asked for value, of the extreme over the dimensions in `mask`, which must not
/// be empty.
pub fn argreduce(
    extreme: Extreme,
    input: &Core,
    mask: u64,
    wants_value: bool,
) -> Result<(Option<Arc<Core>>, Arc<Core>)> {
    let kept = kept(input.shape(), mask);
    let indices = Core::alloc(DType::I64, &kept)?;
    let values = if wants_value { Some(Core::alloc(input.dtype(), &kept)?) } else { None };
    if indices.numel() == 0 {
        return Ok((values, indices));
    }
    ensure!(input.numel() > 0, index, "the extreme of nothing");
    let access = Access::read(input);
    dispatch!(input.dtype(), T => {
        let to = values.as_ref().map_or(std::ptr::null_mut(), |values| ptr_mut::<T>(values));
        // SAFETY: the input is locked and not empty, the outputs are fresh and dense over the kept
        // dimensions.
        unsafe {
            reduce_kernel::argreduce::<T>(
                extreme, ptr::<T>(input), input.shape(), input.strides(), mask, to,
                ptr_mut::<i64>(&indices),
            );
        }
    });
    drop(access);
    Ok((values, indices))
}

/// What a scan accumulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The sum; integers and bools to int64.
    Sum,
    /// The product; integers and bools to int64.
    Product,
    /// log(sum(exp)), for floats.
    LogSumExp,
}

/// A cumulative operation along a dimension.
pub fn cumulative(what: Scan, input: &Arc<Core>, dim: usize) -> Result<Arc<Core>> {
    let input = dense(input)?;
    let along = check_dim(&input, dim)?;
    let dtype = input.dtype();
    let to = if dtype.is_float() { dtype } else { DType::I64 };
    let out = Core::alloc(to, input.shape())?;
    let access = Access::read(&input);
    // SAFETY: both cover `along`, the input is locked, the output fresh and of the scan's type.
    unsafe {
        match what {
            Scan::Sum => dispatch!(dtype, T => {
                scan::cumsum::<T>(along, ptr::<T>(&input), out.data().cast());
            }),
            Scan::Product => dispatch!(dtype, T => {
                scan::cumprod::<T>(along, ptr::<T>(&input), out.data().cast());
            }),
            Scan::LogSumExp => dispatch!(float dtype, T => {
                scan::logcumsumexp::<T>(along, ptr::<T>(&input), ptr_mut::<T>(&out));
            }, else return Err(missing("logcumsumexp_out_cpu", dtype))),
        }
    }
    drop(access);
    Ok(out)
}

/// The running maximum or minimum along a dimension, and where it is.
pub fn cumextreme(
    extreme: Extreme,
    input: &Arc<Core>,
    dim: usize,
) -> Result<(Arc<Core>, Arc<Core>)> {
    let input = dense(input)?;
    let along = check_dim(&input, dim)?;
    let values = Core::alloc(input.dtype(), input.shape())?;
    let indices = Core::alloc(DType::I64, input.shape())?;
    let access = Access::read(&input);
    // SAFETY: all cover `along`, the input is locked, the outputs are fresh.
    dispatch!(input.dtype(), T => unsafe {
        scan::cumextreme::<T>(
            extreme, along, ptr::<T>(&input), ptr_mut::<T>(&values), ptr_mut::<i64>(&indices),
        );
    });
    drop(access);
    Ok((values, indices))
}

/// Sorted values and their positions.
pub fn sort(input: &Arc<Core>, dim: usize, descending: bool) -> Result<(Arc<Core>, Arc<Core>)> {
    let input = dense(input)?;
    let along = check_dim(&input, dim)?;
    let values = Core::alloc(input.dtype(), input.shape())?;
    let indices = Core::alloc(DType::I64, input.shape())?;
    let access = Access::read(&input);
    // SAFETY: all cover `along`, the input is locked, the outputs are fresh.
    dispatch!(input.dtype(), T => unsafe {
        sort_kernel::sort::<T>(
            along, descending, ptr::<T>(&input), ptr_mut::<T>(&values), ptr_mut::<i64>(&indices),
        );
    });
    drop(access);
    Ok((values, indices))
}

/// The `k` greatest or least along a dimension, and where they are.
pub fn topk(
    input: &Arc<Core>,
    dim: usize,
    k: usize,
    largest: bool,
    sorted: bool,
) -> Result<(Arc<Core>, Arc<Core>)> {
    let input = dense(input)?;
    let along = check_dim(&input, dim)?;
    ensure!(k <= along.n, runtime, "selected index k out of range");
    let shape = resized(input.shape(), dim, k);
    if input.shape().is_empty() && k == 0 {
        bail!(runtime, "topk of no element of a scalar");
    }
    let values = Core::alloc(input.dtype(), &shape)?;
    let indices = Core::alloc(DType::I64, &shape)?;
    let access = Access::read(&input);
    // SAFETY: k <= n; the input is locked, the outputs are fresh, with k in place of n.
    dispatch!(input.dtype(), T => unsafe {
        sort_kernel::topk::<T>(
            along, k, largest, sorted, ptr::<T>(&input), ptr_mut::<T>(&values),
            ptr_mut::<i64>(&indices),
        );
    });
    drop(access);
    Ok((values, indices))
}

/// One element of each line by rank, and where it is; the dimension has size 1 in the results.
pub fn select(rank: Rank, input: &Arc<Core>, dim: usize) -> Result<(Arc<Core>, Arc<Core>)> {
    let input = dense(input)?;
    let along = check_dim(&input, dim)?;
    let shape = resized(input.shape(), dim, 1);
    let values = Core::alloc(input.dtype(), &shape)?;
    let indices = Core::alloc(DType::I64, &shape)?;
    ensure!(along.n > 0 || values.numel() == 0, index, "the rank of nothing");
    let access = Access::read(&input);
    // SAFETY: lines are not empty; the input is locked, the outputs are fresh, with 1 for n.
    dispatch!(input.dtype(), T => unsafe {
        sort_kernel::select::<T>(
            rank, along, ptr::<T>(&input), ptr_mut::<T>(&values), ptr_mut::<i64>(&indices),
        );
    });
    drop(access);
    Ok((values, indices))
}

fn fits(input: &[usize], index: &[usize], dim: usize) -> bool {
    input.len() == index.len() && (0..input.len()).all(|d| d == dim || index[d] <= input[d])
}

/// `out[p] = input[p with p[dim] = index[p]]`.
pub fn take(input: &Core, dim: usize, index: &Arc<Core>) -> Result<Arc<Core>> {
    let index = dense(index)?;
    ensure!(
        index.dtype() == DType::I64 && fits(input.shape(), index.shape(), dim),
        runtime,
        "take along dimension {dim} of {:?} with indices {:?}",
        input.shape(),
        index.shape()
    );
    let size = input.shape().get(dim).copied().unwrap_or(1);
    let out = Core::alloc(input.dtype(), index.shape())?;
    if out.numel() == 0 {
        return Ok(out);
    }
    let access = Access::new(&[input, &index], None);
    let result = dispatch!(input.dtype(), T => {
        // SAFETY: shapes were checked, the inputs are locked, the index is dense, the output fresh.
        unsafe {
            let list = std::slice::from_raw_parts(ptr::<i64>(&index), index.numel());
            index_kernel::gather::<T>(
                ptr::<T>(input), input.strides(), dim, size, list, index.shape(),
                ptr_mut::<T>(&out),
            )
        }
    });
    drop(access);
    result?;
    Ok(out)
}

/// Zeros of `size` along `dim`, with `source[p]` added at `p with p[dim] = index[p]`.
pub fn put(source: &Core, dim: usize, index: &Arc<Core>, size: usize) -> Result<Arc<Core>> {
    let index = dense(index)?;
    ensure!(
        index.dtype() == DType::I64 && index.shape() == source.shape(),
        runtime,
        "put along dimension {dim} of {:?} with indices {:?}",
        source.shape(),
        index.shape()
    );
    let out = Core::alloc(source.dtype(), &resized(source.shape(), dim, size))?;
    let last = dim + 1 == index.shape().len();
    if index.numel() == 0 || !last {
        super::blocks::fill(&out, Scalar::Int(0))?;
    }
    if index.numel() == 0 {
        return Ok(out);
    }
    let access = Access::new(&[source, &index], None);
    let result = dispatch!(float source.dtype(), T => {
        // SAFETY: shapes were checked, the inputs are locked, the index is dense, the output fresh.
        unsafe {
            let list = std::slice::from_raw_parts(ptr::<i64>(&index), index.numel());
            index_kernel::scatter::<T>(
                Combine::Add, ptr_mut::<T>(&out), out.strides(), dim, size, list, index.shape(),
                ptr::<T>(source), source.strides(), if last { Base::Zeros } else { Base::There },
            )
        }
    }, else return Err(missing("scatter_add", source.dtype())));
    drop(access);
    result?;
    Ok(out)
}

/// The slices `index` of a dimension.
pub fn slices(input: &Arc<Core>, dim: usize, index: &[i64]) -> Result<Arc<Core>> {
    let input = dense(input)?;
    let along = check_dim(&input, dim)?;
    ensure!(!input.shape().is_empty(), runtime, "a scalar has no slices");
    let out = Core::alloc(input.dtype(), &resized(input.shape(), dim, index.len()))?;
    let access = Access::read(&input);
    // SAFETY: the output has as many slices as there are indices; the input is locked.
    let result = dispatch!(input.dtype(), T => unsafe {
        index_kernel::index_select::<T>(along, dim, ptr::<T>(&input), index, ptr_mut::<T>(&out))
    });
    drop(access);
    result?;
    Ok(out)
}

/// softmax or its logarithm along a dimension.
pub fn softmax(log: bool, input: &Arc<Core>, dim: usize) -> Result<Arc<Core>> {
    let input = dense(input)?;
    let along = check_dim(&input, dim)?;
    let out = Core::alloc(input.dtype(), input.shape())?;
    let name = if log { "log_softmax_lastdim_kernel_impl" } else { "softmax_lastdim_kernel_impl" };
    let access = Access::read(&input);
    // SAFETY: both cover `along`, the input is locked, the output fresh.
    dispatch!(float input.dtype(), T => unsafe {
        rows::softmax::<T>(log, along, ptr::<T>(&input), ptr_mut::<T>(&out));
    }, else return Err(missing(name, input.dtype())));
    drop(access);
    Ok(out)
}

/// The cross products of vectors of three along a dimension, of two tensors of one shape.
pub fn cross(x: &Arc<Core>, y: &Arc<Core>, dim: usize) -> Result<Arc<Core>> {
    let (x, y) = (dense(x)?, dense(y)?);
    let Along { outer, n, inner } = check_dim(&x, dim)?;
    ensure!(
        n == 3 && x.shape() == y.shape() && x.dtype() == y.dtype(),
        runtime,
        "cross of {:?} and {:?} along dimension {dim}",
        x.shape(),
        y.shape()
    );
    let out = Core::alloc(x.dtype(), x.shape())?;
    let _access = Access::new(&[&x, &y], None);
    dispatch!(float x.dtype(), T => {
        // SAFETY: all are dense and of these sizes, the inputs are locked, the output is fresh.
        unsafe { rows::cross::<T>(outer, inner, ptr(&x), ptr(&y), ptr_mut(&out)) };
    }, else return Err(missing("cross", x.dtype())));
    Ok(out)
}

/// The gradient of [`softmax`], from its output.
pub fn softmax_backward(
    log: bool,
    output: &Arc<Core>,
    grad: &Arc<Core>,
    dim: usize,
) -> Result<Arc<Core>> {
    let (output, grad) = (dense(output)?, dense(grad)?);
    let along = check_dim(&output, dim)?;
    ensure!(
        output.shape() == grad.shape() && output.dtype() == grad.dtype(),
        runtime,
        "softmax and its gradient differ in shape or dtype"
    );
    let out = Core::alloc(output.dtype(), output.shape())?;
    let access = Access::new(&[&output, &grad], None);
    // SAFETY: all cover `along`, the inputs are locked, the output fresh.
    dispatch!(float output.dtype(), T => unsafe {
        rows::softmax_backward::<T>(
            log, along, ptr::<T>(&output), ptr::<T>(&grad), ptr_mut::<T>(&out),
        );
    }, else return Err(missing("softmax_backward", output.dtype())));
    drop(access);
    Ok(out)
}

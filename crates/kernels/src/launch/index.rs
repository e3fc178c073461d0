//! Reading and writing at indices. What writes does so into a fresh copy, which it returns, or over its input.

use std::sync::Arc;

use super::blocks::copy_core;
use super::{ptr, ptr_mut};
use crate::dtype::{Bool, DType, Element, Scalar, dispatch};
use crate::error::{Result, ensure};
use crate::kernels::index::{self as kernel, Base, IndexArray, IndexPlan};
use crate::kernels::rows::Along;
use crate::shape::{Dims, broadcast_strides};
use crate::storage::{Access, Core};

pub use crate::kernels::index::{Combine, Reduction as ScatterReduction};

fn dense(core: &Arc<Core>) -> Result<Arc<Core>> {
    if core.is_contiguous() { Ok(core.clone()) } else { copy_core(core) }
}

/// The elements of a dense core.
///
/// # Safety
/// The core must be read-locked, dense, and of this dtype.
unsafe fn slice<T: Element>(core: &Core) -> &[T] {
    debug_assert!(core.is_contiguous());
    // SAFETY: by the contract.
    unsafe { std::slice::from_raw_parts(ptr::<T>(core), core.numel()) }
}

fn check_index(index: &Core) -> Result<()> {
    ensure!(index.dtype() == DType::I64, runtime, "indices must be int64");
    Ok(())
}

/// The slices of `input` along `dim` that a vector of indices names.
pub fn index_select(input: &Arc<Core>, dim: usize, index: &Arc<Core>) -> Result<Arc<Core>> {
    check_index(index)?;
    let (input, index) = (dense(input)?, dense(index)?);
    let mut shape = Dims::from_slice(input.shape());
    if let Some(n) = shape.get_mut(dim) {
        *n = index.numel();
    }
    let out = Core::alloc(input.dtype(), &shape)?;
    let _access = Access::new(&[&input, &index], None);
    let along = Along::new(input.shape(), dim);
    dispatch!(input.dtype(), T => {
        // SAFETY: dense and locked; the output is fresh and of the size that is asked for.
        unsafe {
            kernel::index_select::<T>(along, dim, ptr(&input), slice(&index), ptr_mut(&out))?;
        }
    });
    Ok(out)
}

/// What is written at the indices of `index_write`.
pub enum Written<'a> {
    /// Slices, added with a factor.
    Add(&'a Arc<Core>, Scalar),
    /// Slices.
    Copy(&'a Arc<Core>),
    /// One value.
    Fill(Scalar),
}

/// A copy of `input` to write to; or `input` itself, if it may be written `over`, lies row-major and apart from
/// what is read meanwhile.
fn target(input: &Arc<Core>, over: bool, reads: &[&Core]) -> Result<Arc<Core>> {
    let apart = || reads.iter().all(|core| !core.same_storage(input));
    if over && input.is_contiguous() && apart() { Ok(input.clone()) } else { copy_core(input) }
}

/// A copy of `input` with slices along `dim` written; with `over` it is `input` itself where that can be.
pub fn index_write(
    input: &Arc<Core>,
    dim: usize,
    index: &Arc<Core>,
    what: &Written<'_>,
    over: bool,
) -> Result<Arc<Core>> {
    check_index(index)?;
    let index = dense(index)?;
    let along = Along::new(input.shape(), dim);
    let source = match what {
        Written::Add(source, _) | Written::Copy(source) => {
            let wanted = along.outer * index.numel() * along.inner;
            ensure!(
                source.numel() == wanted && source.dtype() == input.dtype(),
                runtime,
                "the source of a write at indices does not fit"
            );
            dense(source)?
        }
        Written::Fill(_) => index.clone(),
    };
    let out = target(input, over, &[&index, &source])?;
    let access = Access::new(&[&index, &source], Some(&out));
    dispatch!(input.dtype(), T => {
        // SAFETY: dense, locked and apart, the source's size was checked.
        unsafe {
            let (to, at) = (ptr_mut::<T>(&out), slice(&index));
            match what {
                Written::Add(_, alpha) => kernel::index_add::<T>(
                    along, dim, to, at, ptr(&source), T::from_scalar(*alpha),
                )?,
                Written::Copy(_) => kernel::index_copy::<T>(along, dim, to, at, ptr(&source))?,
                Written::Fill(value) => {
                    kernel::index_fill::<T>(along, dim, to, at, T::from_scalar(*value))?;
                }
            }
        }
    });
    drop(access);
    Ok(out)
}

/// The one line of an index that is the same along all dimensions but `dim` (one that was expanded), if
/// it names whole slices of a tensor of `shape`.
fn slices_of(index: &Arc<Core>, dim: usize, shape: &[usize]) -> Option<Arc<Core>> {
    let (sizes, strides) = (index.shape(), index.strides());
    let same = |d: usize| d == dim || (sizes[d] == shape[d] && (strides[d] == 0 || sizes[d] == 1));
    let several = (0..sizes.len()).any(|d| d != dim && sizes[d] > 1);
    if !several || index.numel() == 0 || !(0..sizes.len()).all(same) {
        return None;
    }
    index.view(&[sizes[dim]], &[strides[dim]], index.offset()).ok()
}

fn check_reach(inner: &[usize], outer: &[usize], but: usize) -> Result<()> {
    let fits = inner.len() == outer.len()
        && inner.iter().zip(outer).enumerate().all(|(d, (&n, &m))| d == but || n <= m);
    ensure!(fits, runtime, "an index reaches outside of the tensor");
    Ok(())
}

/// One element per index along `dim`.
pub fn gather(input: &Arc<Core>, dim: usize, index: &Arc<Core>) -> Result<Arc<Core>> {
    check_index(index)?;
    check_reach(index.shape(), input.shape(), dim)?;
    if let Some(slices) = slices_of(index, dim, input.shape()) {
        return index_select(input, dim, &slices);
    }
    let index = dense(index)?;
    let out = Core::alloc(input.dtype(), index.shape())?;
    let _access = Access::new(&[input, &index], None);
    let size = input.shape().get(dim).copied().unwrap_or(1);
    dispatch!(input.dtype(), T => {
        // SAFETY: locked; the index reaches no further than the input, checked above and by the
        // kernel; the output is fresh and of the index's shape.
        unsafe {
            kernel::gather::<T>(
                ptr(input), input.strides(), dim, size, slice(&index), index.shape(), ptr_mut(&out),
            )?;
        }
    });
    Ok(out)
}

/// A copy of `input` with elements of `source` (or one number) combined in at the indices.
pub fn scatter(
    input: &Arc<Core>,
    dim: usize,
    index: &Arc<Core>,
    source: &Arc<Core>,
    combine: Combine,
    reduction: Option<(ScatterReduction, bool)>,
    over: bool,
) -> Result<Arc<Core>> {
    check_index(index)?;
    check_reach(index.shape(), input.shape(), dim)?;
    let single = source.shape().is_empty() && !index.shape().is_empty();
    if !single {
        check_reach(index.shape(), source.shape(), usize::MAX)?;
    }
    ensure!(source.dtype() == input.dtype(), runtime, "scatter of unlike dtypes");
    let written = match combine {
        Combine::Add => Some(Written::Add(source, Scalar::Int(1))),
        Combine::Set => Some(Written::Copy(source)),
        _ => None,
    };
    if let Some((reduction, include_self)) = reduction
        && source.shape() == index.shape()
        && let Some(slices) = slices_of(index, dim, input.shape())
    {
        let (slices, source) = (dense(&slices)?, dense(source)?);
        let out = target(input, over, &[&slices, &source])?;
        let along = Along::new(input.shape(), dim);
        let access = Access::new(&[&slices, &source], Some(&out));
        dispatch!(input.dtype(), T => {
            // SAFETY: dense, locked and apart, the source has a slice for each index.
            unsafe {
                kernel::index_combine::<T>(
                    reduction, include_self, along, dim, ptr_mut(&out), slice(&slices), ptr(&source),
                )?;
            }
        });
        drop(access);
        return Ok(out);
    }
    if let Some(written) = written.filter(|_| reduction.is_none())
        && source.shape() == index.shape()
        && let Some(slices) = slices_of(index, dim, input.shape())
    {
        return index_write(input, dim, &slices, &written, over);
    }
    let index = dense(index)?;
    let size = input.shape().get(dim).copied().unwrap_or(1);
    // Lines that are all written to are copied one by one.
    let by_lines = !over
        && reduction.is_none()
        && index.numel() > 0
        && input.is_contiguous()
        && matches!(index.shape(), [lines @ .., _] if dim == lines.len() && input.shape().starts_with(lines));
    let out = if by_lines {
        Core::alloc(input.dtype(), input.shape())?
    } else {
        target(input, over, &[source, &index])?
    };
    let reads: [&Core; 3] = [source, &index, input];
    let access = Access::new(&reads[..2 + usize::from(by_lines)], Some(&out));
    let zeros: crate::shape::Strides = smallvec::smallvec![0; index.shape().len()];
    let steps = if single { &zeros[..] } else { source.strides() };
    dispatch!(input.dtype(), T => {
        // SAFETY: locked and apart; the index reaches no further than source and output, checked above and
        // by the kernel.
        unsafe {
            match reduction {
                None => kernel::scatter::<T>(
                    combine, ptr_mut(&out), out.strides(), dim, size, slice(&index), index.shape(),
                    ptr(source), steps, if by_lines { Base::Copy(ptr(input)) } else { Base::There },
                )?,
                Some((reduction, include_self)) => kernel::scatter_reduce::<T>(
                    reduction, include_self, ptr_mut(&out), out.shape(), dim, slice(&index),
                    index.shape(), ptr(source), steps,
                )?,
            }
        }
    });
    drop(access);
    Ok(out)
}

/// Index arrays of some dimensions with the shape they broadcast to.
pub struct Indices {
    /// One per dimension, `None` for a whole dimension.
    pub arrays: Vec<Option<Arc<Core>>>,
    /// The shape they broadcast to.
    pub common: Dims,
}

impl Indices {
    fn plan(&self, shape: &[usize], strides: &[isize]) -> Result<IndexPlan> {
        ensure!(self.arrays.len() <= shape.len(), index, "too many indices");
        let steps: Vec<Option<crate::shape::Strides>> = self
            .arrays
            .iter()
            .map(|array| {
                array.as_ref().map(|a| broadcast_strides(a.shape(), a.strides(), &self.common))
            })
            .collect();
        for array in self.arrays.iter().flatten() {
            check_index(array)?;
        }
        // Before any address is taken: elements that were put off have none until then.
        let reads: Vec<&Core> = self.arrays.iter().flatten().map(|core| &**core).collect();
        let _access = Access::new(&reads, None);
        let arrays: Vec<Option<IndexArray<'_>>> = self
            .arrays
            .iter()
            .zip(&steps)
            .map(|(array, steps)| match (array, steps) {
                (Some(array), Some(strides)) => {
                    Some(IndexArray { data: ptr::<i64>(array), strides })
                }
                _ => None,
            })
            .collect();
        // SAFETY: the arrays are locked int64 and broadcast strides stay inside them.
        unsafe { IndexPlan::new(shape, strides, &arrays, &self.common) }
    }
}

/// `input[indices]`.
pub fn index(input: &Arc<Core>, indices: &Indices) -> Result<Arc<Core>> {
    let plan = indices.plan(input.shape(), input.strides())?;
    let out = Core::alloc(input.dtype(), plan.shape())?;
    if out.numel() == 0 {
        return Ok(out);
    }
    let _access = Access::read(input);
    dispatch!(input.dtype(), T => {
        // SAFETY: locked; the plan was made for this core; the output is fresh.
        unsafe { kernel::index::<T>(&plan, ptr(input), ptr_mut(&out)) }
    });
    Ok(out)
}

/// Zeros of a shape with `values` added at the indices: the gradient of [`index`].
pub fn index_sum(shape: &[usize], indices: &Indices, values: &Arc<Core>) -> Result<Arc<Core>> {
    let out = Core::alloc(values.dtype(), shape)?;
    let plan = indices.plan(out.shape(), out.strides())?;
    ensure!(values.shape() == plan.shape(), runtime, "a gradient has the shape of its value");
    let access = Access::read(values);
    let done = dispatch!(out.dtype(), T => {
        // SAFETY: the values are locked and of the plan's shape; the output is fresh and dense, and
        // the plan is its.
        unsafe {
            kernel::index_sum::<T>(
                &plan, ptr_mut(&out), out.numel(), ptr(values), values.strides(),
            )
        }
    });
    drop(access);
    if done {
        return Ok(out);
    }
    super::blocks::fill(&out, Scalar::Int(0))?;
    let _access = Access::read(values);
    dispatch!(out.dtype(), T => {
        // SAFETY: as above.
        unsafe {
            kernel::index_put::<T>(&plan, ptr_mut(&out), ptr(values), values.strides(), true);
        }
    });
    Ok(out)
}

/// The elements of `input` where a mask of its shape is true.
pub fn masked_select(input: &Arc<Core>, mask: &Arc<Core>) -> Result<Arc<Core>> {
    ensure!(
        input.shape() == mask.shape() && mask.dtype() == DType::Bool,
        runtime,
        "a mask has the shape of what it selects from"
    );
    let (input, mask) = (dense(input)?, dense(mask)?);
    let _access = Access::new(&[&input, &mask], None);
    // SAFETY: dense, locked, and bool.
    let keep = unsafe { slice::<Bool>(&mask) };
    let found = kernel::Found::new(keep);
    let out = Core::alloc(input.dtype(), &[found.total()])?;
    dispatch!(input.dtype(), T => {
        // SAFETY: dense and locked; the output is fresh and as long as there are elements.
        unsafe { kernel::masked_select::<T>(slice(&input), keep, &found, ptr_mut(&out)) }
    });
    Ok(out)
}

/// The inverse of [`masked_select`]: `values` in order where the mask is true, zero elsewhere.
pub fn masked_spread(values: &Arc<Core>, mask: &Arc<Core>) -> Result<Arc<Core>> {
    ensure!(mask.dtype() == DType::Bool, runtime, "a mask is bool");
    let (values, mask) = (dense(values)?, dense(mask)?);
    let out = Core::alloc(values.dtype(), mask.shape())?;
    let _access = Access::new(&[&values, &mask], None);
    // SAFETY: dense, locked, and bool.
    let keep = unsafe { slice::<Bool>(&mask) };
    let found = kernel::Found::new(keep);
    ensure!(
        found.total() == values.numel(),
        runtime,
        "a mask with {} true elements was used for {} values",
        found.total(),
        values.numel()
    );
    dispatch!(values.dtype(), T => {
        // SAFETY: dense and locked; the output is fresh and of the mask's shape.
        unsafe { kernel::masked_spread::<T>(slice(&values), keep, &found, ptr_mut(&out)) }
    });
    Ok(out)
}

/// A copy of `input` with `values` (broadcast) written or added at the indices.
pub fn index_put(
    input: &Arc<Core>,
    indices: &Indices,
    values: &Arc<Core>,
    accumulate: bool,
) -> Result<Arc<Core>> {
    let out = copy_core(input)?;
    index_put_into(&out, indices, values, accumulate)?;
    Ok(out)
}

/// Writes or adds `values` (broadcast) at the indices of `out` itself, no two elements of which may
/// be one.
pub fn index_put_into(
    out: &Core,
    indices: &Indices,
    values: &Arc<Core>,
    accumulate: bool,
) -> Result<()> {
    let plan = indices.plan(out.shape(), out.strides())?;
    ensure!(values.dtype() == out.dtype(), runtime, "a write at indices of unlike dtypes");
    ensure!(
        crate::shape::is_expandable_to(values.shape(), plan.shape()),
        runtime,
        "shape mismatch: value tensor of shape {} cannot be broadcast to indexing result of shape {}",
        crate::shape::shape_text(values.shape()),
        crate::shape::shape_text(plan.shape())
    );
    let apart = if values.same_storage(out) { Some(copy_core(values)?) } else { None };
    let values = apart.as_ref().unwrap_or(values);
    let steps = broadcast_strides(values.shape(), values.strides(), plan.shape());
    let _access = Access::new(&[&**values], Some(out));
    dispatch!(out.dtype(), T => {
        // SAFETY: both are locked and apart; the plan is the output's, whose elements are distinct
        // by the caller's word.
        unsafe { kernel::index_put::<T>(&plan, ptr_mut(out), ptr(values), &steps, accumulate) }
    });
    Ok(())
}

/// The positions of the non-zero elements, one row each.
pub fn nonzero(input: &Arc<Core>) -> Result<Arc<Core>> {
    let input = dense(input)?;
    let ndim = input.shape().len();
    let access = Access::read(&input);
    let out = dispatch!(input.dtype(), T => {
        // SAFETY: dense and locked.
        let data = unsafe { slice::<T>(&input) };
        let found = kernel::Found::new(data);
        let out = Core::alloc(DType::I64, &[found.total(), ndim])?;
        // SAFETY: the output is fresh and has a row for each element found.
        unsafe { kernel::nonzero(data, input.shape(), &found, ptr_mut(&out)) };
        out
    });
    drop(access);
    Ok(out)
}

/// The lower or upper triangles of matrices.
pub fn triangle(input: &Arc<Core>, lower: bool, diagonal: i64) -> Result<Arc<Core>> {
    let input = dense(input)?;
    let out = Core::alloc(input.dtype(), input.shape())?;
    let [batch @ .., rows, columns] = input.shape() else { return Ok(input) };
    if input.numel() == 0 {
        return Ok(out);
    }
    let batch = batch.iter().product();
    let _access = Access::read(&input);
    dispatch!(input.dtype(), T => {
        // SAFETY: dense and locked; the output is fresh and of the same shape.
        unsafe {
            kernel::triangle::<T>(
                lower, diagonal, batch, *rows, *columns, ptr(&input), ptr_mut(&out),
            );
        }
    });
    Ok(out)
}

/// i as often as `counts[i]` says.
pub fn repeat_indices(counts: &Arc<Core>) -> Result<Arc<Core>> {
    check_index(counts)?;
    let counts = dense(counts)?;
    let access = Access::read(&counts);
    // SAFETY: dense and locked.
    let found = kernel::repeat_indices(unsafe { slice(&counts) })?;
    drop(access);
    crate::storage::from_slice(&found, &[found.len()])
}

/// Rows with a one at each index.
pub fn one_hot(index: &Arc<Core>, classes: Option<usize>) -> Result<Arc<Core>> {
    check_index(index)?;
    let index = dense(index)?;
    let access = Access::read(&index);
    // SAFETY: dense and locked.
    let data = unsafe { slice::<i64>(&index) };
    let classes = match classes {
        Some(classes) => classes,
        None => {
            ensure!(
                !data.is_empty(),
                runtime,
                "Can not infer total number of classes from empty tensor."
            );
            data.iter().max().map_or(0, |&max| (max + 1).max(0) as usize)
        }
    };
    kernel::check_classes(data, classes)?;
    let mut shape = Dims::from_slice(index.shape());
    shape.push(classes);
    let rows = Core::alloc(DType::I64, &shape)?;
    super::blocks::fill(&rows, Scalar::Int(0))?;
    // SAFETY: fresh, dense, and of a row for each index, all of which are in range.
    unsafe { kernel::one_hot(data, classes, rows.data().cast::<i64>()) };
    drop(access);
    Ok(rows)
}

/// Whether a dtype may index.
pub fn is_mask(dtype: DType) -> bool {
    dtype == Bool::DTYPE || dtype == DType::U8
}

//! Distances of all pairs of rows of cores.

use std::sync::Arc;

use super::along::dense;
use super::{fits, ptr, ptr_mut};
use crate::dtype::{DType, dispatch};
use crate::error::{Error, Result, bail};
use crate::kernels::pairs::{self as kernel, Metric};
use crate::shape::Dims;
use crate::storage::{Access, Core};

fn sizes(x: &Core) -> Result<[usize; 2]> {
    let &[n, width] = x.shape() else {
        bail!(runtime, "pdist only supports 2D tensors, got: {}D", x.shape().len());
    };
    Ok([n, width])
}

fn missing(dtype: DType) -> Error {
    Error::not_implemented(format!("\"pdist\" not implemented for '{}'", dtype.scalar_name()))
}

/// The distances of all pairs of rows of a matrix.
pub fn distances(metric: Metric, x: &Arc<Core>) -> Result<Arc<Core>> {
    let sizes = sizes(x)?;
    let x = dense(x)?;
    let n = sizes[0];
    let out = Core::alloc(x.dtype(), &[n * n.saturating_sub(1) / 2])?;
    let _access = Access::read(&x);
    dispatch!(float x.dtype(), T => {
        // SAFETY: the sizes are those of the matrix, which is dense and locked; the output is fresh and has
        // one place for each pair.
        unsafe { kernel::distances::<T>(metric, sizes, ptr::<T>(&x), ptr_mut::<T>(&out)) };
    }, else return Err(missing(x.dtype())));
    Ok(out)
}

/// The gradient of the matrix `x`, from those of its distances `y`.
pub fn distances_backward(
    metric: Metric,
    x: &Arc<Core>,
    y: &Arc<Core>,
    grad: &Arc<Core>,
) -> Result<Arc<Core>> {
    let sizes = sizes(x)?;
    let (x, y, grad) = (dense(x)?, dense(y)?, dense(grad)?);
    let pairs = sizes[0] * sizes[0].saturating_sub(1) / 2;
    fits("pdist", &y, pairs, x.dtype())?;
    fits("pdist", &grad, pairs, x.dtype())?;
    let out = Core::alloc(x.dtype(), x.shape())?;
    let _access = Access::new(&[&x, &y, &grad], None);
    dispatch!(float x.dtype(), T => {
        let read = [ptr::<T>(&x), ptr::<T>(&y), ptr::<T>(&grad)];
        // SAFETY: sizes were checked, all is dense and locked, the output is fresh.
        unsafe { kernel::distances_backward::<T>(metric, sizes, read, ptr_mut::<T>(&out)) };
    }, else return Err(missing(x.dtype())));
    Ok(out)
}

/// The distances of the rows of each matrix of a stack from those of another.
pub fn distances_between(metric: Metric, x: &Arc<Core>, y: &Arc<Core>) -> Result<Arc<Core>> {
    let (batch, [n, m, width]) = stacks(x, y)?;
    let (x, y) = (dense(x)?, dense(y)?);
    let mut shape = Dims::from_slice(x.shape());
    if let Some(last) = shape.last_mut() {
        *last = m;
    }
    let out = Core::alloc(x.dtype(), &shape)?;
    let _access = Access::new(&[&x, &y], None);
    dispatch!(float x.dtype(), T => {
        let [x, y] = [ptr::<T>(&x), ptr::<T>(&y)];
        let to = ptr_mut::<T>(&out);
        for i in 0..batch {
            // SAFETY: matrix `i` of each stack: all are dense, the inputs locked, the output fresh.
            unsafe {
                let read = [x.add(i * n * width), y.add(i * m * width)];
                kernel::between::<T>(metric, [n, m, width], read, to.add(i * n * m));
            }
        }
    }, else return Err(missing(x.dtype())));
    Ok(out)
}

/// The gradients of what [`distances_between`] took, as far as they are wanted, from those of its result.
pub fn distances_between_backward(
    metric: Metric,
    x: &Arc<Core>,
    y: &Arc<Core>,
    distances: &Arc<Core>,
    grad: &Arc<Core>,
    wanted: [bool; 2],
) -> Result<[Option<Arc<Core>>; 2]> {
    let (batch, [n, m, width]) = stacks(x, y)?;
    let (x, y, distances, grad) = (dense(x)?, dense(y)?, dense(distances)?, dense(grad)?);
    fits("cdist", &distances, batch * n * m, x.dtype())?;
    fits("cdist", &grad, batch * n * m, x.dtype())?;
    let fresh = |wanted: bool, like: &Core| {
        if wanted { Core::alloc(like.dtype(), like.shape()).map(Some) } else { Ok(None) }
    };
    let out = [fresh(wanted[0], &x)?, fresh(wanted[1], &y)?];
    let _access = Access::new(&[&x, &y, &distances, &grad], None);
    dispatch!(float x.dtype(), T => {
        let [x, y, distances, grad] = [&x, &y, &distances, &grad].map(|core| ptr::<T>(core));
        for i in 0..batch {
            // SAFETY: matrix `i` of each stack: sizes were checked, all is dense, the inputs are locked, the
            // outputs fresh.
            unsafe {
                let (rows, others, pairs) = (i * n * width, i * m * width, i * n * m);
                let to = |core: &Option<Arc<Core>>, at: usize| {
                    core.as_ref().map_or(std::ptr::null_mut(), |core| ptr_mut::<T>(core).add(at))
                };
                kernel::between_backward::<T>(
                    metric,
                    [n, m, width],
                    [x.add(rows), y.add(others)],
                    [distances.add(pairs), grad.add(pairs)],
                    [to(&out[0], rows), to(&out[1], others)],
                );
            }
        }
    }, else return Err(missing(x.dtype())));
    Ok(out)
}

/// How many matrices there are in two stacks of one shape, and the rows of each and their elements.
fn stacks(x: &Core, y: &Core) -> Result<(usize, [usize; 3])> {
    if let ([lead @ .., n, width], [others @ .., m, same]) = (x.shape(), y.shape())
        && lead == others
        && width == same
        && x.dtype() == y.dtype()
    {
        return Ok((lead.iter().product(), [*n, *m, *width]));
    }
    bail!(runtime, "cdist of {:?} of {} and {:?} of {}", x.shape(), x.dtype(), y.shape(), y.dtype())
}

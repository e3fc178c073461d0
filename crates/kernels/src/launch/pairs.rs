//! Distances of all pairs of rows of cores.

use std::sync::Arc;

use super::along::dense;
use super::{fits, ptr, ptr_mut};
use crate::dtype::{DType, dispatch};
use crate::error::{Error, Result, bail};
use crate::kernels::pairs::{self as kernel, Metric};
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

//! Fused rows: layer normalisation and cross entropy.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::along::dense;
use super::program::{Keep, with_made};
use super::{ptr, ptr_mut};
use crate::dtype::{DType, dispatch};
use crate::error::{Result, bail, ensure};
use crate::kernels::rows::{self, Incoming, Targets};
use crate::storage::{Access, Core};

/// What [`layer_norm`] makes.
pub struct Normed {
    pub output: Arc<Core>,
    pub mean: Arc<Core>,
    pub rstd: Arc<Core>,
}

fn check_affine(input: &Core, n: usize, part: Option<&Arc<Core>>) -> Result<Option<Arc<Core>>> {
    let Some(part) = part else { return Ok(None) };
    ensure!(
        part.numel() == n && part.dtype() == input.dtype(),
        runtime,
        "expected weight and bias to have {n} elements of the dtype of the input"
    );
    dense(part).map(Some)
}

/// Normalises rows of `n` elements; mean and rstd have one element per row.
pub fn layer_norm(
    input: &Arc<Core>,
    n: usize,
    weight: Option<&Arc<Core>>,
    bias: Option<&Arc<Core>>,
    epsilon: f64,
) -> Result<Normed> {
    let input = dense(input)?;
    ensure!(n > 0 && input.numel() % n == 0, runtime, "rows of {n} elements");
    let rows = input.numel() / n;
    let (weight, bias) = (check_affine(&input, n, weight)?, check_affine(&input, n, bias)?);
    let dtype = input.dtype();
    let output = Core::alloc(dtype, input.shape())?;
    let (mean, rstd) = (Core::alloc(dtype, &[rows])?, Core::alloc(dtype, &[rows])?);
    let mut reads: Vec<&Core> = vec![&input];
    reads.extend(weight.as_deref());
    reads.extend(bias.as_deref());
    let access = Access::new(&reads, None);
    dispatch!(float dtype, T => {
        // SAFETY: sizes were checked, the inputs are dense and locked, the outputs fresh.
        unsafe {
            let slice = |core: &Option<Arc<Core>>| {
                core.as_ref().map(|core| std::slice::from_raw_parts(ptr::<T>(core), n))
            };
            rows::layer_norm::<T>(
                rows, n, ptr::<T>(&input), slice(&weight), slice(&bias), epsilon,
                ptr_mut::<T>(&output), ptr_mut::<T>(&mean), ptr_mut::<T>(&rstd),
            );
        }
    }, else bail!(not_implemented, "\"LayerNormKernelImpl\" not implemented for '{}'", dtype.scalar_name()));
    drop(access);
    Ok(Normed { output, mean, rstd })
}

/// The gradients of [`layer_norm`] that are wanted: of the input, the weight and the bias.
pub fn layer_norm_backward(
    input: &Arc<Core>,
    n: usize,
    weight: Option<&Arc<Core>>,
    mean: &Core,
    rstd: &Core,
    grad: &Arc<Core>,
    wants: [bool; 3],
) -> Result<[Option<Arc<Core>>; 3]> {
    let (input, grad) = (dense(input)?, dense(grad)?);
    ensure!(n > 0 && input.numel() % n == 0, runtime, "rows of {n} elements");
    let rows = input.numel() / n;
    let weight = check_affine(&input, n, weight)?;
    let dtype = input.dtype();
    ensure!(
        grad.shape() == input.shape()
            && grad.dtype() == dtype
            && mean.dtype() == dtype
            && rstd.dtype() == dtype
            && mean.numel() == rows
            && rstd.numel() == rows
            && mean.is_contiguous()
            && rstd.is_contiguous(),
        runtime,
        "the gradient of layer_norm does not fit its input"
    );
    let alloc = |wanted: bool, shape: &[usize]| -> Result<Option<Arc<Core>>> {
        if wanted { Core::alloc(dtype, shape).map(Some) } else { Ok(None) }
    };
    let result = [alloc(wants[0], input.shape())?, alloc(wants[1], &[n])?, alloc(wants[2], &[n])?];
    let mut reads: SmallVec<[&Core; 5]> = smallvec![&*input, mean, rstd];
    reads.extend(weight.as_deref());
    dispatch!(float dtype, T => {
        let to = |core: &Option<Arc<Core>>| {
            core.as_ref().map_or(std::ptr::null_mut(), |core| ptr_mut::<T>(core))
        };
        let run = |incoming: Incoming<'_, T>| {
            // SAFETY: sizes were checked, the inputs are dense and locked, the outputs fresh.
            unsafe {
                let weight =
                    weight.as_ref().map(|core| std::slice::from_raw_parts(ptr::<T>(core), n));
                rows::layer_norm_backward::<T>(
                    rows, n, ptr::<T>(&input), weight, ptr::<T>(mean), ptr::<T>(rstd),
                    incoming, to(&result[0]), to(&result[1]), to(&result[2]),
                );
            }
            true
        };
        // A gradient that waits is made row by row on the way. Whoever else holds it and asks for it
        // has it made once more.
        let mut done = false;
        if grad.deferred().is_some_and(|deferred| deferred.pass() == 0) {
            for core in &reads {
                core.settle();
            }
            done = with_made::<T>(&grad, Keep::Never, &reads, |made| run(Incoming::Made(made)));
        }
        if !done {
            reads.push(&grad);
            let access = Access::new(&reads, None);
            run(Incoming::At(ptr::<T>(&grad)));
            drop(access);
        }
    }, else bail!(not_implemented, "\"LayerNormBackward\" not implemented for '{}'", dtype.scalar_name()));
    Ok(result)
}

/// The classes of rows, for [`cross_entropy`].
pub struct Classes<'a> {
    /// int64, one per row.
    pub classes: &'a Arc<Core>,
    /// The class whose rows do not count.
    pub ignore: i64,
    /// A factor per class.
    pub weights: Option<&'a Arc<Core>>,
    /// The part of the loss that all classes share alike.
    pub smoothing: f64,
}

/// Runs `$body` with `$targets` bound to the kernel's view of the classes.
macro_rules! with_targets {
    ($T:ty, $classes:expr, $weights:expr, $given:expr, |$targets:ident| $body:expr) => {{
        // SAFETY: both are dense, checked for dtype and locked by the caller.
        let classes =
            // SAFETY: dense int64 of this many elements, locked by the callers.
            unsafe { std::slice::from_raw_parts(ptr::<i64>(&$classes), $classes.numel()) };
        let weights = $weights.as_ref().map(|core: &Arc<Core>| {
            // SAFETY: as above.
            unsafe { std::slice::from_raw_parts(ptr::<$T>(core), core.numel()) }
        });
        let &Classes { ignore, smoothing, .. } = $given;
        let $targets = Targets::<$T> { classes, ignore, weights, smoothing };
        $body
    }};
}

/// Checked and dense: logits, classes and weights.
fn prepare(
    logits: &Arc<Core>,
    targets: &Classes<'_>,
) -> Result<(Arc<Core>, Arc<Core>, Option<Arc<Core>>)> {
    let (rows, n) = match logits.shape() {
        &[rows, n] => (rows, n),
        _ => bail!(runtime, "cross entropy takes a matrix of logits"),
    };
    ensure!(
        targets.classes.dtype() == DType::I64 && targets.classes.numel() == rows,
        runtime,
        "cross entropy takes one int64 class per row"
    );
    Ok((dense(logits)?, dense(targets.classes)?, check_affine(logits, n, targets.weights)?))
}

/// The loss of each row of a matrix of logits, its log-sum-exp, and the sum of the factors.
pub fn cross_entropy(
    logits: &Arc<Core>,
    targets: &Classes<'_>,
) -> Result<(Arc<Core>, Arc<Core>, f64)> {
    let (x, classes, weights) = prepare(logits, targets)?;
    let (rows, n, dtype) = (x.shape()[0], x.shape()[1], x.dtype());
    let (losses, sums) = (Core::alloc(dtype, &[rows])?, Core::alloc(dtype, &[rows])?);
    let mut reads: Vec<&Core> = vec![&x, &classes];
    reads.extend(weights.as_deref());
    let access = Access::new(&reads, None);
    let total = dispatch!(float dtype, T => {
        with_targets!(T, classes, weights, targets, |list| {
            // SAFETY: one row of logits per class; the inputs are locked, the outputs fresh.
            unsafe {
                rows::cross_entropy::<T>(
                    n, ptr::<T>(&x), list, ptr_mut::<T>(&losses), ptr_mut::<T>(&sums),
                )?;
            }
            crate::dtype::Element::to_f64(list.total_weight())
        })
    }, else bail!(not_implemented, "\"log_softmax_lastdim_kernel_impl\" not implemented for '{}'", dtype.scalar_name()));
    drop(access);
    Ok((losses, sums, total))
}

/// The gradient of the logits; `scale` has one element, or one per row.
pub fn cross_entropy_backward(
    logits: &Arc<Core>,
    targets: &Classes<'_>,
    sums: &Core,
    scale: &Arc<Core>,
) -> Result<Arc<Core>> {
    let (x, classes, weights) = prepare(logits, targets)?;
    let (rows, n, dtype) = (x.shape()[0], x.shape()[1], x.dtype());
    let scale = dense(scale)?;
    ensure!(
        sums.numel() == rows
            && sums.is_contiguous()
            && sums.dtype() == dtype
            && scale.dtype() == dtype
            && (scale.numel() == 1 || scale.numel() == rows),
        runtime,
        "the gradient of cross entropy does not fit its input"
    );
    let out = Core::alloc(dtype, x.shape())?;
    let mut reads: Vec<&Core> = vec![&x, &classes, sums, &scale];
    reads.extend(weights.as_deref());
    let access = Access::new(&reads, None);
    dispatch!(float dtype, T => {
        with_targets!(T, classes, weights, targets, |list| {
            // SAFETY: one row of logits per class; the inputs are locked, the output fresh.
            unsafe {
                let scale = std::slice::from_raw_parts(ptr::<T>(&scale), scale.numel());
                rows::cross_entropy_backward::<T>(
                    n, ptr::<T>(&x), list, ptr::<T>(sums), scale, ptr_mut::<T>(&out),
                )?;
            }
        });
    }, else bail!(not_implemented, "\"cross_entropy\" not implemented for '{}'", dtype.scalar_name()));
    drop(access);
    Ok(out)
}

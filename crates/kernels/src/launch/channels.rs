//! Normalisation of channels of cores.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::along::dense;
use super::{ptr, ptr_mut};
use crate::dtype::dispatch;
use crate::error::{Result, bail, ensure};
use crate::kernels::rows::{self, Sets};
use crate::storage::{Access, Core};

/// What [`channel_norm`] makes: the statistics have one element for each set.
pub struct Normalised {
    /// In the shape of the input.
    pub output: Arc<Core>,
    /// Means.
    pub mean: Arc<Core>,
    /// Variances, without correction.
    pub variance: Arc<Core>,
    /// Reciprocals of the deviations.
    pub rstd: Arc<Core>,
}

fn part(input: &Core, n: usize, name: &str, part: Option<&Arc<Core>>) -> Result<Option<Arc<Core>>> {
    let Some(part) = part else { return Ok(None) };
    ensure!(part.numel() == n, runtime, "{name} should contain {n} elements not {}", part.numel());
    ensure!(
        part.dtype() == input.dtype(),
        runtime,
        "mixed dtype (CPU): expect {name} to have scalar type of {}, but found {}",
        input.dtype().scalar_name(),
        part.dtype().scalar_name()
    );
    dense(part).map(Some)
}

fn check_sets(sets: &Sets, input: &Core) -> Result<()> {
    ensure!(
        sets.numel() == input.numel()
            && sets.groups.is_none_or(|groups| groups > 0 && sets.channels.is_multiple_of(groups)),
        runtime,
        "channels of {:?} in sets {sets:?}",
        input.shape()
    );
    Ok(())
}

/// Normalises each channel of `input`, `(batch, channels, ...)`, by the mean and variance `given` or
/// those of its set.
pub fn channel_norm(
    input: &Arc<Core>,
    sets: Sets,
    given: Option<[&Arc<Core>; 2]>,
    weight: Option<&Arc<Core>>,
    bias: Option<&Arc<Core>>,
    epsilon: f64,
) -> Result<Normalised> {
    let input = dense(input)?;
    ensure!(
        input.dtype().is_float(),
        not_implemented,
        "\"{}\" not implemented for '{}'",
        if sets.groups.is_some() { "GroupNormKernelImpl" } else { "batch_norm" },
        input.dtype().scalar_name()
    );
    check_sets(&sets, &input)?;
    let channels = sets.channels;
    let weight = part(&input, channels, "weight", weight)?;
    let bias = part(&input, channels, "bias", bias)?;
    let given = match given {
        Some([mean, variance]) => Some([
            part(&input, sets.count(), "running_mean", Some(mean))?,
            part(&input, sets.count(), "running_var", Some(variance))?,
        ]),
        None => None,
    };
    let dtype = input.dtype();
    let output = Core::alloc(dtype, input.shape())?;
    let statistic = || Core::alloc(dtype, &[sets.count()]);
    let (mean, variance, rstd) = (statistic()?, statistic()?, statistic()?);
    let mut reads: SmallVec<[&Core; 5]> = smallvec![&*input];
    reads.extend(
        [&weight, &bias]
            .into_iter()
            .chain(given.iter().flatten())
            .filter_map(|part| part.as_deref()),
    );
    let access = Access::new(&reads, None);
    dispatch!(float dtype, T => {
        // SAFETY: sizes were checked, the inputs are dense and locked, the outputs fresh.
        unsafe {
            let slice = |core: &Option<Arc<Core>>| {
                core.as_ref().map(|core| std::slice::from_raw_parts(ptr::<T>(core), core.numel()))
            };
            let made = |core: &Core| {
                std::slice::from_raw_parts_mut(ptr_mut::<T>(core), sets.count())
            };
            let (means, variances) = (made(&mean), made(&variance));
            if let Some(given) = &given {
                for (to, from) in [&mut *means, &mut *variances].into_iter().zip(given) {
                    to.copy_from_slice(slice(from).unwrap_or_default());
                }
            }
            rows::channel_norm::<T>(
                sets, ptr::<T>(&input), slice(&weight), slice(&bias), epsilon, given.is_some(),
                means, variances, made(&rstd), ptr_mut::<T>(&output),
            );
        }
    }, else bail!(not_implemented, "normalisation is not implemented for '{}'", dtype.scalar_name()));
    drop(access);
    Ok(Normalised { output, mean, variance, rstd })
}

/// The gradients of [`channel_norm`] that are wanted: of the input, the weight and the bias.
pub fn channel_norm_backward(
    input: &Arc<Core>,
    sets: Sets,
    given: bool,
    weight: Option<&Arc<Core>>,
    mean: &Core,
    rstd: &Core,
    grad: &Arc<Core>,
    wants: [bool; 3],
) -> Result<[Option<Arc<Core>>; 3]> {
    let (input, grad) = (dense(input)?, dense(grad)?);
    check_sets(&sets, &input)?;
    let weight = part(&input, sets.channels, "weight", weight)?;
    let dtype = input.dtype();
    ensure!(
        grad.shape() == input.shape()
            && [&*grad, mean, rstd].iter().all(|core| core.dtype() == dtype)
            && [mean, rstd].iter().all(|core| core.numel() == sets.count() && core.is_contiguous()),
        runtime,
        "the gradient of a normalisation does not fit its input"
    );
    let alloc = |wanted: bool, shape: &[usize]| -> Result<Option<Arc<Core>>> {
        if wanted { Core::alloc(dtype, shape).map(Some) } else { Ok(None) }
    };
    let channels = [sets.channels];
    let result =
        [alloc(wants[0], input.shape())?, alloc(wants[1], &channels)?, alloc(wants[2], &channels)?];
    let mut reads: SmallVec<[&Core; 5]> = smallvec![&*input, &*grad, mean, rstd];
    reads.extend(weight.as_deref());
    let access = Access::new(&reads, None);
    dispatch!(float dtype, T => {
        // SAFETY: sizes were checked, the inputs are dense and locked, the outputs fresh.
        unsafe {
            let slice = |core: &Core| std::slice::from_raw_parts(ptr::<T>(core), core.numel());
            let made = |core: &Option<Arc<Core>>| {
                core.as_ref().map(|core| {
                    std::slice::from_raw_parts_mut(ptr_mut::<T>(core), core.numel())
                })
            };
            let to = result[0].as_ref().map_or(std::ptr::null_mut(), |core| ptr_mut::<T>(core));
            rows::channel_norm_backward::<T>(
                sets, ptr::<T>(&input), ptr::<T>(&grad), weight.as_deref().map(slice), given,
                slice(mean), slice(rstd), to, made(&result[1]), made(&result[2]),
            );
        }
    }, else bail!(not_implemented, "normalisation is not implemented for '{}'", dtype.scalar_name()));
    drop(access);
    Ok(result)
}

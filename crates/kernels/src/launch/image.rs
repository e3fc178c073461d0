//! Convolutions and pooling of cores.

use std::sync::Arc;

use super::along::dense;
use super::{fits, ptr, ptr_mut};
use crate::dtype::{DType, dispatch};
use crate::error::{Result, bail};
use crate::kernels::conv::{self, Conv, winograd};
use crate::kernels::pool::{self, Divisor, Pool};
use crate::storage::{Access, Core};

/// One of the three products of a convolution: each comes from the other two factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// The output, of input and weight.
    Output,
    /// The input's gradient, of the output's and the weight.
    Input,
    /// The weight's gradient, of the input and the output's gradient.
    Weight,
}

/// Images per task when the gradient of a weight is summed.
const SUMMED: usize = 8;

/// The factor `wanted` of a convolution, dense and of the given shape. `a` and `b` are the other two
/// in the order input, weight, output; `bias` is added to the output.
pub fn convolve(
    conv: &Conv,
    wanted: Factor,
    a: &Arc<Core>,
    b: &Arc<Core>,
    bias: Option<&Arc<Core>>,
    shape: &[usize],
) -> Result<Arc<Core>> {
    let (a, b) = (dense(a)?, dense(b)?);
    let bias = bias.map(dense).transpose()?;
    let dtype = a.dtype();
    let image = conv.channels * conv.input[0] * conv.input[1];
    let weight = conv.outputs * conv.depth();
    let out_image = conv.outputs * conv.places();
    let (first, second, made) = match wanted {
        Factor::Output => (conv.batch * image, weight, conv.batch * out_image),
        Factor::Input => (weight, conv.batch * out_image, conv.batch * image),
        Factor::Weight => (conv.batch * image, conv.batch * out_image, weight),
    };
    fits("a convolution", &a, first, dtype)?;
    fits("a convolution", &b, second, dtype)?;
    if let Some(bias) = &bias {
        fits("a convolution", bias, conv.outputs, dtype)?;
    }
    let out = Core::alloc(dtype, shape)?;
    fits("a convolution", &out, made, dtype)?;
    let mut reads: Vec<&Core> = vec![&a, &b];
    reads.extend(bias.as_deref());
    let groups = conv.batch.div_ceil(SUMMED);
    let tasks = if wanted == Factor::Weight { groups } else { conv.batch };
    let tiled = match wanted {
        Factor::Input => conv.tiled_back(),
        _ => conv.tiled(),
    };
    let turned = match &tiled {
        Some(tiled) if wanted != Factor::Weight => {
            Some(Core::alloc(dtype, &[conv.groups, tiled.weights()])?)
        }
        _ => None,
    };
    // One buffer for the patches of each task that runs at the same time would do; a buffer per
    // task of the pool is what keeps tasks independent, and the pool of buffers reuses them.
    let scratch = |n: usize| Core::alloc(dtype, &[n.max(1)]);
    let failed = std::sync::OnceLock::new();
    dispatch!(float dtype, T => {
        let partial = if wanted == Factor::Weight && groups > 1 {
            Some(Core::alloc(dtype, &[groups - 1, weight])?)
        } else {
            None
        };
        let access = Access::new(&reads, None);
        let (pa, pb) = (Shared(ptr::<T>(&a)), Shared(ptr::<T>(&b)));
        let to = Shared(ptr_mut::<T>(&out).cast_const());
        let rest = Shared(partial.as_ref().map_or(std::ptr::null(), |core| ptr::<T>(core)));
        let shift = Shared(bias.as_ref().map_or(std::ptr::null(), |core| ptr::<T>(core)));
        // The parts of one group in one image, or its weight.
        let (part, part_out) = (image / conv.groups, out_image / conv.groups);
        let part_weight = weight / conv.groups;
        let ready = Shared(turned.as_ref().map_or(std::ptr::null(), |core| ptr::<T>(core)));
        if let (Some(tiled), Some(turned)) = (&tiled, &turned) {
            let from = if wanted == Factor::Output { &pb } else { &pa };
            for group in 0..conv.groups {
                // SAFETY: the weight was checked, the target is fresh.
                unsafe {
                    winograd::weights::<T>(
                        tiled, from.get().add(group * part_weight),
                        ptr_mut::<T>(turned).add(group * tiled.weights()),
                    );
                }
            }
        }
        // Whether the task could be done by tiles.
        let by_tiles = |tiled: &winograd::Tiled, task: usize, room: *mut T| {
            // SAFETY: as for the sums of products below.
            (0..conv.groups).all(|group| unsafe {
                let u = ready.get().wrapping_add(group * tiled.weights());
                match wanted {
                    Factor::Output => {
                        let shift = if shift.get().is_null() {
                            shift.get()
                        } else {
                            shift.get().add(group * conv.outputs / conv.groups)
                        };
                        winograd::image::<T>(
                            tiled, pa.get().add(task * image + group * part), u, shift,
                            to.get().cast_mut().add(task * out_image + group * part_out), room,
                        )
                    }
                    Factor::Input => winograd::image::<T>(
                        tiled, pb.get().add(task * out_image + group * part_out), u,
                        std::ptr::null(), to.get().cast_mut().add(task * image + group * part), room,
                    ),
                    Factor::Weight => {
                        let to = if task == 0 { to.get() } else { rest.get().add((task - 1) * weight) };
                        let first = task * SUMMED;
                        winograd::weight_gradient::<T>(
                            tiled, SUMMED.min(conv.batch - first),
                            pa.get().add(first * image + group * part), image,
                            pb.get().add(first * out_image + group * part_out), out_image,
                            to.cast_mut().add(group * part_weight), room,
                        )
                    }
                }
            })
        };
        let run = |task: usize| {
            if let Some(tiled) = &tiled {
                let n = if wanted == Factor::Weight { tiled.summing() } else { tiled.scratch() };
                match scratch(n) {
                    Ok(buffer) if by_tiles(tiled, task, ptr_mut::<T>(&buffer)) => return,
                    Ok(_) => {}
                    Err(error) => {
                        let _ = failed.set(error);
                        return;
                    }
                }
            }
            let buffer = match scratch(conv.scratch()) {
                Ok(buffer) => buffer,
                Err(error) => {
                    let _ = failed.set(error);
                    return;
                }
            };
            let patches = ptr_mut::<T>(&buffer);
            // SAFETY: all sizes were checked, the inputs are dense and locked, the output is fresh
            // and each task writes its own images or its own partial sum.
            unsafe {
                match wanted {
                    Factor::Output => conv::forward::<T>(
                        conv, pa.get().add(task * image), pb.get(), shift.get(),
                        to.get().cast_mut().add(task * out_image), patches,
                    ),
                    Factor::Input => conv::input_gradient::<T>(
                        conv, pb.get().add(task * out_image), pa.get(),
                        to.get().cast_mut().add(task * image), patches,
                    ),
                    Factor::Weight => {
                        let to = if task == 0 { to.get() } else { rest.get().add((task - 1) * weight) };
                        for i in task * SUMMED..conv.batch.min((task + 1) * SUMMED) {
                            conv::weight_gradient::<T>(
                                conv, pa.get().add(i * image), pb.get().add(i * out_image),
                                to.cast_mut(), patches, i == task * SUMMED,
                            );
                        }
                    }
                }
            }
        };
        let work = conv.batch * conv.outputs * conv.depth() * conv.places();
        if work / 2 >= crate::parallel::threshold() {
            crate::parallel::for_each(tasks, run);
        } else {
            (0..tasks).for_each(run);
        }
        if let Some(partial) = &partial {
            // SAFETY: fresh buffers of these sizes, not shared any more.
            let (sum, parts) = unsafe {
                (
                    std::slice::from_raw_parts_mut(ptr_mut::<T>(&out), weight),
                    std::slice::from_raw_parts(ptr::<T>(partial), (groups - 1) * weight),
                )
            };
            for part in parts.chunks_exact(weight) {
                for (sum, &part) in sum.iter_mut().zip(part) {
                    *sum += part;
                }
            }
        }
        if wanted == Factor::Weight && tasks == 0 {
            // SAFETY: a fresh buffer.
            unsafe { std::slice::from_raw_parts_mut(ptr_mut::<T>(&out), weight) }.fill(0.0);
        }
        drop(access);
    }, else bail!(
        not_implemented,
        "\"slow_conv2d_cpu\" not implemented for '{}'",
        dtype.scalar_name()
    ));
    match failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(out),
    }
}

/// A pointer that tasks share; what they do with it is justified where they do it.
struct Shared<T>(*const T);
// SAFETY: a number; every access is justified at its place.
unsafe impl<T: Sync> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Send for Shared<T> {}
impl<T> Shared<T> {
    fn get(&self) -> *const T {
        self.0
    }
}

fn pool_sizes(pool: &Pool) -> (usize, usize) {
    let size = |dims: [usize; 2]| pool.planes * dims[0] * dims[1];
    (size(pool.input), size(pool.output))
}

/// The averages of windows, or with `backward` what each element gets of their gradients; the
/// result takes `shape`.
pub fn average_pool(
    pool: &Pool,
    divisor: Divisor,
    backward: bool,
    input: &Arc<Core>,
    shape: &[usize],
) -> Result<Arc<Core>> {
    let input = dense(input)?;
    let dtype = input.dtype();
    let (whole, places) = pool_sizes(pool);
    let (from, to) = if backward { (places, whole) } else { (whole, places) };
    fits("a convolution", &input, from, dtype)?;
    let out = Core::alloc(dtype, shape)?;
    fits("a convolution", &out, to, dtype)?;
    let access = Access::read(&input);
    dispatch!(float dtype, T => {
        // SAFETY: sizes were checked, the input is dense and locked, the output fresh.
        unsafe {
            if backward {
                pool::average_backward::<T>(pool, divisor, ptr::<T>(&input), ptr_mut::<T>(&out));
            } else {
                pool::average::<T>(pool, divisor, ptr::<T>(&input), ptr_mut::<T>(&out));
            }
        }
    }, else bail!(not_implemented, "\"avg_pool2d\" not implemented for '{}'", dtype.scalar_name()));
    drop(access);
    Ok(out)
}

/// The greatest elements of windows and their places in their planes.
pub fn maximum_pool(
    pool: &Pool,
    input: &Arc<Core>,
    shape: &[usize],
) -> Result<(Arc<Core>, Arc<Core>)> {
    let input = dense(input)?;
    let dtype = input.dtype();
    let (whole, places) = pool_sizes(pool);
    fits("a convolution", &input, whole, dtype)?;
    let (out, at) = (Core::alloc(dtype, shape)?, Core::alloc(DType::I64, shape)?);
    fits("a convolution", &out, places, dtype)?;
    let access = Access::read(&input);
    dispatch!(float dtype, T => {
        // SAFETY: sizes were checked, the input is dense and locked, the outputs are fresh; the
        // padding is at most half the window, so that none is empty.
        unsafe {
            pool::maximum::<T>(pool, ptr::<T>(&input), ptr_mut::<T>(&out), ptr_mut::<i64>(&at));
        }
    }, else bail!(not_implemented, "\"max_pool2d\" not implemented for '{}'", dtype.scalar_name()));
    drop(access);
    Ok((out, at))
}

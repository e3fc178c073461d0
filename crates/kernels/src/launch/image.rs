//! Convolutions and pooling of cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::along::dense;
use super::matmul::{addmm, gemm};
use super::{fits, ptr, ptr_mut};
use crate::dtype::{DType, dispatch};
use crate::error::{Result, bail};
use crate::kernels::conv::direct::{self, Direct};
use crate::kernels::conv::patches::{self, Patched};
use crate::kernels::conv::summed::{self, Summed};
use crate::kernels::conv::{Conv, winograd};
use crate::kernels::pool::{self, Divisor, Pool};
use crate::shape::contiguous_strides;
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

/// Parts that the images are summed in by tiles for the gradient of a weight, at most.
const PARTS: usize = 8;

/// How a factor is made: by tiles if that pays, and otherwise, or where tiles meet what is not finite,
/// by patches or sums of products.
enum Way {
    Sums(Direct),
    Weight(Box<Summed>),
    Patches(Patched),
}

/// By tiles, if that pays, and the other way.
fn ways(conv: &Conv, wanted: Factor) -> (Option<winograd::Tiled>, Way) {
    let (tiled, patches) = match wanted {
        Factor::Output => (conv.tiled(), conv.gathers()),
        Factor::Input => (conv.tiled_back(), conv.scatters()),
        Factor::Weight => (conv.tiled(), conv.gathers_back()),
    };
    let way = match wanted {
        Factor::Output if patches => Way::Patches(conv.patched()),
        Factor::Input if patches => Way::Patches(conv.patched_back()),
        Factor::Weight if patches => Way::Patches(conv.patched_weight()),
        Factor::Output => Way::Sums(conv.direct()),
        Factor::Input => Way::Sums(conv.direct_back()),
        Factor::Weight => Way::Weight(Box::new(conv.summed())),
    };
    (tiled, way)
}

/// A factor of a convolution whose kernel sees all of its input at once: a product of matrices.
fn product(
    conv: &Conv,
    wanted: Factor,
    [a, b]: [&Arc<Core>; 2],
    bias: Option<&Core>,
    shape: &[usize],
) -> Result<Arc<Core>> {
    let (images, outputs, depth) = (conv.batch, conv.outputs, conv.depth());
    let rows =
        |core: &Arc<Core>, m: usize, n: usize| core.view(&[m, n], &[n as isize, 1], core.offset());
    let columns =
        |core: &Arc<Core>, m: usize, n: usize| core.view(&[n, m], &[1, n as isize], core.offset());
    let made = match (wanted, bias) {
        (Factor::Output, bias) => {
            let (a, b) = (rows(a, images, depth)?, columns(b, outputs, depth)?);
            match bias {
                Some(bias) => return addmm(bias, &a, &b, shape),
                None => gemm(&a, &b)?,
            }
        }
        (Factor::Input, _) => gemm(&*rows(b, images, outputs)?, &*rows(a, outputs, depth)?)?,
        (Factor::Weight, _) => gemm(&*columns(b, images, outputs)?, &*rows(a, images, depth)?)?,
    };
    made.into_layout(shape, &contiguous_strides(shape))
}

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
    let image = conv.channels * conv.pixels();
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
    if conv.sees_all() {
        return product(conv, wanted, [&a, &b], bias.as_deref(), shape);
    }
    let out = Core::alloc(dtype, shape)?;
    fits("a convolution", &out, made, dtype)?;
    let mut reads: Vec<&Core> = vec![&a, &b];
    reads.extend(bias.as_deref());
    let (tiled, way) = ways(conv, wanted);
    // Images of a part by tiles: few enough for several tasks.
    let several = match &tiled {
        Some(tiled) => conv.batch.div_ceil(PARTS).max(tiled.together()).clamp(1, conv.batch.max(1)),
        None => 1,
    };
    let (tasks, parts) = match (&tiled, &way) {
        (None, Way::Sums(direct)) => (direct.tasks(), 1),
        (None, Way::Weight(summed)) => (summed.tasks(), summed.parts()),
        (None, Way::Patches(plan)) if wanted == Factor::Weight => (plan.tasks(), plan.parts()),
        (None, Way::Patches(plan)) => (plan.tasks(), 1),
        (Some(_), _) if wanted == Factor::Weight => {
            (conv.batch.div_ceil(several), conv.batch.div_ceil(several))
        }
        (Some(tiled), _) => (tiled.tasks(), 1),
    };
    // Images, or parts of them for the gradient of a weight, that tiles cannot do.
    let spoilt: Vec<AtomicBool> = if tiled.is_some() {
        let parts = if wanted == Factor::Weight { tasks } else { conv.batch };
        (0..parts).map(|_| AtomicBool::new(false)).collect()
    } else {
        Vec::new()
    };
    let room = |n: usize| Core::alloc(dtype, &[n.max(1)]);
    let ready = match (&tiled, &way) {
        (Some(tiled), _) if wanted != Factor::Weight => Some(room(conv.groups * tiled.weights())?),
        (None, Way::Sums(direct)) => Some(room(direct.packed())?),
        _ => None,
    };
    let partial = if parts > 1 { Some(Core::alloc(dtype, &[parts - 1, weight])?) } else { None };
    let failed = std::sync::OnceLock::new();
    dispatch!(float dtype, T => {
        let access = Access::new(&reads, None);
        let (pa, pb) = (Shared(ptr::<T>(&a)), Shared(ptr::<T>(&b)));
        let to = Shared(ptr_mut::<T>(&out).cast_const());
        let rest = Shared(partial.as_ref().map_or(std::ptr::null(), |core| ptr::<T>(core)));
        let shift = Shared(bias.as_ref().map_or(std::ptr::null(), |core| ptr::<T>(core)));
        // The weight, and what is read with it.
        let (source, from) = if wanted == Factor::Input { (&pb, &pa) } else { (&pa, &pb) };
        // The parts of one group in one image, or its weight.
        let (part, part_out) = (image / conv.groups, out_image / conv.groups);
        let part_weight = weight / conv.groups;
        // The weight as sums of products take it.
        let pack = |direct: &Direct, to: *mut T, apart: bool| {
            let to = Shared(to.cast_const());
            // SAFETY: the weight was checked, the target is fresh.
            let one = |task| unsafe { direct::pack::<T>(direct, task, from.get(), to.get().cast_mut()) };
            match direct.packs() {
                0 => return from.get(),
                n if apart && direct.packs_apart() => crate::parallel::for_each(n, one),
                n => (0..n).for_each(one),
            }
            to.get()
        };
        let work = conv.batch * conv.outputs * conv.depth() * conv.places();
        let threads = work / 2 >= crate::parallel::threshold();
        let prepared = Shared(match (&tiled, &way, &ready) {
            (Some(tiled), _, Some(ready)) => {
                let to = Shared(ptr::<T>(ready));
                let packs = tiled.packs();
                let one = |task: usize| {
                    let group = task / packs;
                    // SAFETY: the weight was checked, the target is fresh.
                    unsafe {
                        winograd::weights::<T>(
                            tiled, task % packs, from.get().add(group * part_weight),
                            to.get().add(group * tiled.weights()).cast_mut(),
                        );
                    }
                };
                if threads {
                    crate::parallel::for_each(conv.groups * packs, one);
                } else {
                    (0..conv.groups * packs).for_each(one);
                }
                to.get()
            }
            (None, Way::Sums(direct), Some(ready)) => pack(direct, ptr_mut::<T>(ready), threads),
            _ => std::ptr::null(),
        });
        let sum = |part: usize| {
            if part == 0 { to.get().cast_mut() } else { rest.get().wrapping_add((part - 1) * weight).cast_mut() }
        };
        let by_tiles = |tiled: &winograd::Tiled, task: usize, room: *mut T| {
            for group in 0..conv.groups {
                let u = prepared.get().wrapping_add(group * tiled.weights());
                let (x, y) = (group * part, group * part_out);
                let null = std::ptr::null();
                // SAFETY: as for the sums of products below.
                unsafe {
                    match wanted {
                        Factor::Output => {
                            let shift = match shift.get() {
                                shift if shift.is_null() => shift,
                                shift => shift.add(group * conv.outputs / conv.groups),
                            };
                            winograd::images::<T>(
                                tiled, task, [pa.get().add(x), u, shift], image,
                                to.get().cast_mut().add(y), out_image, room, &spoilt,
                            );
                        }
                        Factor::Input => winograd::images::<T>(
                            tiled, task, [pb.get().add(y), u, null], out_image,
                            to.get().cast_mut().add(x), image, room, &spoilt,
                        ),
                        Factor::Weight => {
                            let first = task * several;
                            let finite = winograd::weight_gradient::<T>(
                                tiled, several.min(conv.batch - first),
                                pa.get().add(first * image + x), image,
                                pb.get().add(first * out_image + y), out_image,
                                sum(task).add(group * part_weight), room,
                            );
                            if !finite {
                                spoilt[task].store(true, Ordering::Relaxed);
                            }
                        }
                    }
                }
            }
        };
        let sums = |way: &Way, task: usize, weight: *const T, source: *const T, output: *mut T| -> Result<()> {
            match way {
                Way::Sums(direct) => {
                    let buffer = room(direct.scratch())?;
                    // SAFETY: all sizes were checked, the inputs are dense and locked, the output is
                    // fresh and tasks write different elements of it.
                    unsafe {
                        direct::run::<T>(
                            direct, task, source, weight, shift.get(), output, ptr_mut::<T>(&buffer),
                        );
                    }
                }
                Way::Weight(summed) => {
                    let buffer = room(summed.scratch())?;
                    // SAFETY: as above; parts have sums of their own.
                    unsafe {
                        summed::run::<T>(
                            summed, task, source, pb.get(), output, ptr_mut::<T>(&buffer),
                        );
                    }
                }
                Way::Patches(_) => {}
            }
            Ok(())
        };
        // A task by patches, of the images from `first` on.
        let by_patches = |plan: &Patched, task: usize, first: usize, output: *mut T| -> Result<()> {
            let buffer = room(plan.scratch())?;
            let (x, y) = (first * image, first * out_image);
            let (a, b) = match wanted {
                Factor::Output => (x, 0),
                Factor::Input => (0, y),
                Factor::Weight => (x, y),
            };
            // SAFETY: as above; tasks for the weight have sums of their own.
            unsafe {
                let (a, b) = (pa.get().add(a), pb.get().add(b));
                patches::run::<T>(plan, task, a, b, shift.get(), output, ptr_mut::<T>(&buffer));
            }
            Ok(())
        };
        // What tiles cannot do: an image, or a part of the images, by itself.
        let again = |task: usize| -> Result<()> {
            match &way {
                Way::Sums(direct) => {
                    let alone = direct.alone();
                    let packed = room(alone.packed())?;
                    let weight = pack(&alone, ptr_mut::<T>(&packed), false);
                    let (one, other) =
                        if wanted == Factor::Input { (out_image, image) } else { (image, out_image) };
                    let source = source.get().wrapping_add(task * one);
                    let output = to.get().wrapping_add(task * other).cast_mut();
                    sums(&Way::Sums(alone), 0, weight, source, output)
                }
                Way::Weight(_) => {
                    let first = task * several;
                    let some = Conv { batch: several.min(conv.batch - first), ..*conv };
                    let alone = some.summed().alone();
                    let buffer = room(alone.scratch())?;
                    // SAFETY: as above.
                    unsafe {
                        summed::run::<T>(
                            &alone, 0, pa.get().add(first * image), pb.get().add(first * out_image),
                            sum(task), ptr_mut::<T>(&buffer),
                        );
                    }
                    Ok(())
                }
                Way::Patches(plan) => {
                    let (first, n, to) = match wanted {
                        Factor::Output => (task, 1, to.get().wrapping_add(task * out_image).cast_mut()),
                        Factor::Input => (task, 1, to.get().wrapping_add(task * image).cast_mut()),
                        Factor::Weight => {
                            let first = task * several;
                            (first, several.min(conv.batch - first), sum(task))
                        }
                    };
                    by_patches(&plan.some(n), 0, first, to)
                }
            }
        };
        let run = |task: usize| -> Result<()> {
            let Some(tiled) = &tiled else {
                let output = match &way {
                    Way::Sums(_) => to.get().cast_mut(),
                    Way::Weight(summed) => sum(summed.part(task)),
                    Way::Patches(plan) => {
                        let to = if wanted == Factor::Weight { sum(task) } else { to.get().cast_mut() };
                        return by_patches(plan, task, 0, to);
                    }
                };
                return sums(&way, task, prepared.get(), source.get(), output);
            };
            let n = if wanted == Factor::Weight { tiled.summing() } else { tiled.scratch() };
            let buffer = room(n)?;
            by_tiles(tiled, task, ptr_mut::<T>(&buffer));
            Ok(())
        };
        let all = |tasks: usize, run: &(dyn Fn(usize) -> Result<()> + Sync)| {
            let run = |task: usize| {
                if let Err(error) = run(task) {
                    let _ = failed.set(error);
                }
            };
            if threads {
                crate::parallel::for_each(tasks, run);
            } else {
                (0..tasks).for_each(run);
            }
        };
        all(tasks, &run);
        let spoilt: Vec<usize> =
            (0..spoilt.len()).filter(|&i| spoilt[i].load(Ordering::Relaxed)).collect();
        all(spoilt.len(), &|i| again(spoilt[i]));
        if let Some(partial) = &partial {
            // SAFETY: fresh buffers of these sizes, not shared any more.
            let (sum, parts) = unsafe {
                (
                    std::slice::from_raw_parts_mut(ptr_mut::<T>(&out), weight),
                    std::slice::from_raw_parts(ptr::<T>(partial), (parts - 1) * weight),
                )
            };
            for part in parts.chunks_exact(weight.max(1)) {
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

//! Samples of images between their elements, of cores.

use std::sync::Arc;

use super::along::dense;
use super::blocks::fill;
use super::{fits, ptr, ptr_mut};
use crate::dtype::{DType, Scalar, dispatch};
use crate::error::{Error, Result, ensure};
use crate::kernels::grid::{self as kernel, Sizes};
use crate::storage::{Access, Core};

fn missing(dtype: DType) -> Error {
    let name = dtype.scalar_name();
    Error::not_implemented(format!("\"grid_sampler_2d_cpu\" not implemented for '{name}'"))
}

/// Checks images and places.
fn check(sizes: Sizes, images: &Core, places: &Core) -> Result<()> {
    let Sizes { batch, channels, height, width, count } = sizes;
    fits("grid_sampler()", images, batch * channels * height * width, images.dtype())?;
    fits("grid_sampler()", places, batch * count * 2, images.dtype())?;
    ensure!(
        height.max(width) < i32::MAX as usize,
        runtime,
        "grid_sampler(): images of {height} x {width} are too large"
    );
    Ok(())
}

/// The bilinear samples `(N, C, count)` of images at places given as column and row.
pub fn grid_sample(sizes: Sizes, images: &Arc<Core>, places: &Arc<Core>) -> Result<Arc<Core>> {
    let (images, places) = (dense(images)?, dense(places)?);
    check(sizes, &images, &places)?;
    let out = Core::alloc(images.dtype(), &[sizes.batch, sizes.channels, sizes.count])?;
    let _access = Access::new(&[&images, &places], None);
    dispatch!(float images.dtype(), T => {
        // SAFETY: sizes were checked, both are dense and locked, the output is fresh.
        unsafe { kernel::sample::<T>(sizes, ptr(&images), ptr(&places), ptr_mut(&out)) };
    }, else return Err(missing(images.dtype())));
    Ok(out)
}

/// The gradients of images and places, as far as they are wanted.
pub fn grid_sample_backward(
    sizes: Sizes,
    images: &Arc<Core>,
    places: &Arc<Core>,
    grad: &Arc<Core>,
    wants: [bool; 2],
) -> Result<[Option<Arc<Core>>; 2]> {
    let (images, places, grad) = (dense(images)?, dense(places)?, dense(grad)?);
    check(sizes, &images, &places)?;
    fits("grid_sampler()", &grad, sizes.batch * sizes.channels * sizes.count, images.dtype())?;
    let like = |wanted: bool, core: &Core| {
        wanted.then(|| Core::alloc(core.dtype(), core.shape())).transpose()
    };
    let made = [like(wants[0], &images)?, like(wants[1], &places)?];
    if let Some(images) = &made[0] {
        fill(images, Scalar::Float(0.0))?;
    }
    let _access = Access::new(&[&images, &places, &grad], None);
    dispatch!(float images.dtype(), T => {
        let read = [ptr::<T>(&images), ptr::<T>(&places), ptr::<T>(&grad)];
        let [to_images, to_places] = [&made[0], &made[1]].map(|to| to.as_deref().map(ptr_mut::<T>));
        // SAFETY: sizes were checked, all is dense and locked, the outputs are fresh.
        unsafe { kernel::sample_backward::<T>(sizes, read, to_images, to_places) };
    }, else return Err(missing(images.dtype())));
    Ok(made)
}

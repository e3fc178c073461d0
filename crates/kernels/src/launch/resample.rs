//! Resampling, patches and shuffles of cores.

use std::sync::Arc;

use super::along::dense;
use super::{fits, ptr, ptr_mut};
use crate::dtype::{DType, Element, Scalar, dispatch};
use crate::error::{Result, bail, ensure};
use crate::kernels::resample::{self as kernel, Along, Filter, Layout, Patches};
use crate::shape::Dims;
use crate::storage::{Access, Core};

/// Calls a kernel that moves elements with the unsigned integer of their size in place of their type.
macro_rules! by_size {
    ($dtype:expr, $B:ident => $call:expr) => {
        match $dtype.size() {
            1 => {
                type $B = u8;
                $call
            }
            2 => {
                type $B = u16;
                $call
            }
            4 => {
                type $B = u32;
                $call
            }
            _ => {
                type $B = u64;
                $call
            }
        }
    };
}

fn is_move(along: &Along) -> bool {
    match along {
        Along::Keep(_) | Along::Pad { .. } => true,
        Along::Scale(scale) => {
            !scale.antialias && matches!(scale.filter, Filter::Nearest | Filter::NearestExact)
        }
    }
}

/// The input with each dimension resampled, or for `transposed` the gradient of that input from one of the
/// result. `value` is what a constant padding adds.
pub fn resample(
    input: &Arc<Core>,
    along: &[Along],
    transposed: bool,
    value: Scalar,
) -> Result<Arc<Core>> {
    let [from, to] = if transposed { [1, 0] } else { [0, 1] };
    let shape: Dims = along.iter().map(|along| along.sizes()[to]).collect();
    ensure!(
        input.shape().iter().copied().eq(along.iter().map(|along| along.sizes()[from])),
        runtime,
        "resampling of {:?} got {:?}",
        along.iter().map(|along| along.sizes()[from]).collect::<Vec<_>>(),
        input.shape()
    );
    // Places are numbered by 32 bits.
    for along in along {
        let [input, output] = along.sizes();
        let taps = match along {
            Along::Keep(_) | Along::Pad { .. } => input.max(output),
            Along::Scale(_) => (input + output).saturating_mul(16),
        };
        ensure!(
            u32::try_from(taps).is_ok(),
            not_implemented,
            "resampling a dimension of {input} elements to {output}: that is too large"
        );
    }
    let input = dense(input)?;
    let dtype = input.dtype();
    let out = Core::alloc(dtype, &shape)?;
    if out.numel() == 0 {
        return Ok(out);
    }
    let _access = Access::read(&input);
    if !transposed && along.iter().all(is_move) {
        let layout = Layout::<f32>::new(along, false);
        let [read, made] = layout.counts();
        fits("resampling", &input, read, dtype)?;
        fits("resampling", &out, made, dtype)?;
        let bits = dispatch!(dtype, T => crate::kernels::copy::element_bits(T::from_scalar(value)));
        by_size!(dtype, B => {
            let (x, y) = (input.data().cast::<B>().cast_const(), out.data().cast::<B>());
            // SAFETY: sizes were checked, the input is dense and locked, the output fresh; these places
            // have at most one tap.
            unsafe { kernel::resample_bits::<B>(&layout, bits as B, x, y) };
        });
        return Ok(out);
    }
    if dtype == DType::U8 && !transposed {
        // SAFETY: as above, and sizes were compared with those of the dimensions.
        unsafe { kernel::resample_bytes(along, ptr::<u8>(&input), ptr_mut::<u8>(&out)) };
        return Ok(out);
    }
    dispatch!(float dtype, T => {
        let layout = Layout::<T>::new(along, transposed);
        let [read, made] = layout.counts();
        fits("resampling", &input, read, dtype)?;
        fits("resampling", &out, made, dtype)?;
        // SAFETY: sizes were checked, the input is dense and locked, the output fresh.
        unsafe { kernel::resample::<T>(&layout, ptr::<T>(&input), ptr_mut::<T>(&out)) };
    }, else bail!(not_implemented, "resampling is not implemented for '{}'", dtype.scalar_name()));
    Ok(out)
}

/// Images of this shape taken apart to their patches, or for `back` the sums of patches.
pub fn patches(
    input: &Arc<Core>,
    patches: &Patches,
    back: bool,
    shape: &[usize],
) -> Result<Arc<Core>> {
    let input = dense(input)?;
    let dtype = input.dtype();
    let [images, columns] = patches.counts();
    let (read, made) = if back { (columns, images) } else { (images, columns) };
    let out = Core::alloc(dtype, shape)?;
    fits("patches", &input, read, dtype)?;
    fits("patches", &out, made, dtype)?;
    if made == 0 {
        return Ok(out);
    }
    let _access = Access::read(&input);
    if !back {
        by_size!(dtype, B => {
            let (x, y) = (input.data().cast::<B>().cast_const(), out.data().cast::<B>());
            // SAFETY: sizes were checked, the input is dense and locked, the output fresh; zero has no
            // bits set in any dtype.
            unsafe { kernel::unfold::<B>(patches, 0, x, y) };
        });
        return Ok(out);
    }
    dispatch!(float dtype, T => {
        // SAFETY: as above.
        unsafe { kernel::fold::<T>(patches, ptr::<T>(&input), ptr_mut::<T>(&out)) };
    }, else bail!(not_implemented, "\"col2im_out_cpu\" not implemented for '{}'", dtype.scalar_name()));
    Ok(out)
}

/// An order of elements that [`shuffle`] brings them to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shuffle {
    /// Channels to pixels: planes, height and width, and how many times as high and wide they become.
    Pixels([usize; 3], usize),
    /// And back.
    PixelsBack([usize; 3], usize),
    /// Channels of groups in turn: batch, groups, channels of each, elements of a channel.
    Channels([usize; 4]),
}

/// The elements in another order, in the given shape.
pub fn shuffle(input: &Arc<Core>, order: Shuffle, shape: &[usize]) -> Result<Arc<Core>> {
    let input = dense(input)?;
    let dtype = input.dtype();
    let count: usize = match order {
        Shuffle::Pixels(sizes, n) | Shuffle::PixelsBack(sizes, n) => {
            sizes.iter().product::<usize>() * n * n
        }
        Shuffle::Channels(sizes) => sizes.iter().product(),
    };
    let out = Core::alloc(dtype, shape)?;
    fits("a shuffle", &input, count, dtype)?;
    fits("a shuffle", &out, count, dtype)?;
    if count == 0 {
        return Ok(out);
    }
    let _access = Access::read(&input);
    by_size!(dtype, B => {
        let (x, y) = (input.data().cast::<B>().cast_const(), out.data().cast::<B>());
        // SAFETY: sizes were checked, the input is dense and locked, the output fresh.
        unsafe {
            match order {
                Shuffle::Pixels(sizes, n) => kernel::pixel_shuffle::<B>(sizes, n, false, x, y),
                Shuffle::PixelsBack(sizes, n) => kernel::pixel_shuffle::<B>(sizes, n, true, x, y),
                Shuffle::Channels(sizes) => kernel::channel_shuffle::<B>(sizes, x, y),
            }
        }
    });
    Ok(out)
}

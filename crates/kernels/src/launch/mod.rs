//! From cores to kernels: the one layer between operations and raw memory. Each function checks
//! shapes and dtypes, takes the locks, and makes one unsafe call; its own interface is safe.
#![allow(unsafe_code)]

mod along;
mod attention;
pub mod blocks;
mod channels;
pub mod create;
mod ctc;
mod dense;
mod execute;
mod fused;
mod grid;
mod image;
pub mod index;
mod lstm;
mod matmul;
mod optim;
mod pairs;
pub mod program;
mod reduce;
mod resample;

pub use along::{
    Scan, argreduce, cross, cumextreme, cumulative, put, select, slices, softmax, softmax_backward,
    sort, take, topk,
};
pub use attention::{Sight, attention, attention_backward};
pub use channels::{Normalised, channel_norm, channel_norm_backward};
pub use ctc::{Alignments, ctc_loss, ctc_loss_backward};
pub use dense::{cholesky, eigh, least_squares, lu, lu_solve, qr, substitute, svd};
pub use fused::{Classes, cross_entropy, cross_entropy_backward, layer_norm, layer_norm_backward};
pub use grid::{grid_sample, grid_sample_backward};
pub use image::{Factor, average_pool, convolve, maximum_pool};
pub use lstm::{lstm, lstm_backward};
pub use matmul::{addmm, bmm, gemm};
pub use optim::{Item as OptimiserItem, optimiser_step};
pub use pairs::{distances, distances_backward, distances_between, distances_between_backward};
pub use reduce::{Reduction, reduce};
pub use resample::{Shuffle, patches, resample, shuffle};

use crate::dtype::{DType, Element};
use crate::error::{Result, ensure};
use crate::storage::Core;

/// Refuses a core of another count or dtype than `what` takes.
fn fits(what: &str, core: &Core, count: usize, dtype: DType) -> Result<()> {
    ensure!(
        core.numel() == count && core.dtype() == dtype,
        runtime,
        "{what} expected {count} elements of {dtype}, got {:?} of {}",
        core.shape(),
        core.dtype()
    );
    Ok(())
}

/// The first element of a core, typed. Reading it needs an `Access`.
#[inline]
fn ptr<T: Element>(core: &Core) -> *const T {
    debug_assert_eq!(core.dtype(), T::DTYPE);
    core.data().cast::<T>().cast_const()
}

/// The first element of a fresh or exclusively locked core, typed.
#[inline]
fn ptr_mut<T: Element>(core: &Core) -> *mut T {
    debug_assert_eq!(core.dtype(), T::DTYPE);
    core.data().cast::<T>()
}

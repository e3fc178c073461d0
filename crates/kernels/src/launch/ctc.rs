//! Connectionist temporal classification of cores.

use std::sync::Arc;

use super::along::dense;
use super::{fits, ptr, ptr_mut};
use crate::dtype::{DType, dispatch};
use crate::error::{Error, Result, bail, ensure};
use crate::kernels::ctc::{self as kernel, Sequences};
use crate::storage::{Access, Core};

/// What is to be aligned with the steps.
pub struct Alignments {
    /// Steps of each sequence.
    pub lengths: Vec<usize>,
    /// The labels of all, one sequence after the other.
    pub labels: Vec<usize>,
    /// Where the labels of each begin, and where those of the last end.
    pub starts: Vec<usize>,
    /// The class of no label.
    pub blank: usize,
}

impl Alignments {
    fn of<'a>(&'a self, input: &Core) -> Result<Sequences<'a>> {
        let &[steps, batch, classes] = input.shape() else {
            bail!(runtime, "ctc_loss takes (T, N, C), got {:?}", input.shape());
        };
        let last = self.starts.last().copied();
        ensure!(
            self.lengths.len() == batch
                && self.starts.len() == batch + 1
                && self.starts.is_sorted()
                && last == Some(self.labels.len())
                && self.blank < classes
                && self.lengths.iter().all(|&length| length <= steps)
                && self.labels.iter().all(|&label| label < classes),
            runtime,
            "ctc_loss: lengths or labels do not fit logarithms of shape {:?}",
            input.shape()
        );
        Ok(Sequences {
            steps,
            classes,
            lengths: &self.lengths,
            labels: &self.labels,
            starts: &self.starts,
            blank: self.blank,
        })
    }
}

fn missing(dtype: DType) -> Error {
    Error::not_implemented(format!(
        "\"ctc_loss_cpu\" not implemented for '{}'",
        dtype.scalar_name()
    ))
}

/// The losses `(N,)` of logarithms `(T, N, C)`, and if wanted the scores that their gradient needs.
pub fn ctc_loss(
    input: &Arc<Core>,
    alignments: &Alignments,
    keep: bool,
) -> Result<(Arc<Core>, Option<Arc<Core>>)> {
    let sequences = alignments.of(input)?;
    let (input, dtype, batch) = (dense(input)?, input.dtype(), alignments.lengths.len());
    let losses = Core::alloc(dtype, &[batch])?;
    let shape = [batch, sequences.steps, sequences.states()];
    let scores = if keep { Some(Core::alloc(dtype, &shape)?) } else { None };
    let access = Access::new(&[&input], None);
    dispatch!(float dtype, T => {
        // SAFETY: sizes were checked, the input is dense and locked, the outputs fresh.
        unsafe {
            let scores = scores.as_ref().map(|scores| ptr_mut::<T>(scores));
            kernel::forward::<T>(&sequences, ptr::<T>(&input), ptr_mut::<T>(&losses), scores);
        }
    }, else return Err(missing(dtype)));
    drop(access);
    Ok((losses, scores))
}

/// The gradient of the logarithms from that of the losses. With `zero_infinity` an infinite loss
/// passes none on.
pub fn ctc_loss_backward(
    input: &Arc<Core>,
    alignments: &Alignments,
    zero_infinity: bool,
    losses: &Arc<Core>,
    scores: &Arc<Core>,
    grad: &Arc<Core>,
) -> Result<Arc<Core>> {
    let sequences = alignments.of(input)?;
    let (dtype, batch) = (input.dtype(), alignments.lengths.len());
    let (input, losses, scores, grad) =
        (dense(input)?, dense(losses)?, dense(scores)?, dense(grad)?);
    fits("ctc_loss", &losses, batch, dtype)?;
    fits("ctc_loss", &grad, batch, dtype)?;
    fits("ctc_loss", &scores, batch * sequences.steps * sequences.states(), dtype)?;
    let to = Core::alloc(dtype, input.shape())?;
    let access = Access::new(&[&input, &losses, &scores, &grad], None);
    dispatch!(float dtype, T => {
        // SAFETY: sizes were checked, the inputs are dense and locked, the output fresh.
        unsafe {
            kernel::backward::<T>(
                &sequences, zero_infinity, ptr::<T>(&input), ptr::<T>(&losses), ptr::<T>(&scores),
                ptr::<T>(&grad), ptr_mut::<T>(&to),
            );
        }
    }, else return Err(missing(dtype)));
    drop(access);
    Ok(to)
}

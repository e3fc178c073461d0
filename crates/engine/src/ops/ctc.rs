//! The loss of connectionist temporal classification.

use smallvec::{SmallVec, smallvec};

use super::refused::refuse_twice;
use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::DType;
use crate::error::{Error, Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, is_grad_enabled, recording1};
use crate::launch::{self, Alignments};
use crate::shape::Dims;
use crate::tensor::Tensor;

struct Ctc {
    alignments: Alignments,
    zero_infinity: bool,
}

impl Rule for Ctc {
    fn name(&self) -> &'static str {
        "CtcLossBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        let a = &self.alignments;
        match name {
            "blank" => Some(SavedValue::Int(a.blank as i64)),
            "zero_infinity" => Some(SavedValue::Bool(self.zero_infinity)),
            "input_lengths" => Some(SavedValue::Sizes(Dims::from_slice(&a.lengths))),
            "target_lengths" => {
                let lengths = a.starts.windows(2).map(|pair| pair[1] - pair[0]);
                Some(SavedValue::Sizes(lengths.collect()))
            }
            _ => None,
        }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let (x, losses) = (cx.saved(0)?, cx.saved(1)?);
        // The targets are read for their version: whether somebody wrote into them.
        let (scores, _) = (cx.saved(3)?, cx.saved(2)?);
        let arriving = grad.to_dtype(x.dtype())?.expand_to(&losses.shape())?;
        let result = Tensor::from_core(launch::ctc_loss_backward(
            &x.shared_core(),
            &self.alignments,
            self.zero_infinity,
            &losses.shared_core(),
            &scores.shared_core(),
            &arriving.shared_core(),
        )?);
        // In a pass that is recorded the result counts as differentiable, and refuses.
        if is_grad_enabled() {
            refuse_twice("_ctc_loss_backward", &[grad, &x], &result)?;
        }
        Ok(smallvec![Some(result)])
    }
}

const CHECKING: &str = "(while checking arguments for ctc_loss_allocate_outputs)";

/// Numbers of steps or labels, none below zero.
fn lengths(name: &str, given: &[i64], batch: usize) -> Result<Vec<usize>> {
    ensure!(given.len() == batch, runtime, "{name} must be of size batch_size");
    let one = |&length: &i64| {
        usize::try_from(length).map_err(|_| {
            Error::runtime(format!(
                "Expected {name} to have value at least 0, but got value {length} {CHECKING}"
            ))
        })
    };
    given.iter().map(one).collect()
}

fn alignments(
    shape: &[usize],
    targets: &Tensor,
    input_lengths: &[i64],
    target_lengths: &[i64],
    blank: i64,
) -> Result<Alignments> {
    ensure!(shape.iter().all(|&n| n > 0), runtime, "log_probs tensor must not be empty");
    ensure!(
        shape.len() == 3,
        runtime,
        "Expected 3-dimensional tensor, but got {}-dimensional tensor for argument #1 'log_probs' {CHECKING}",
        shape.len()
    );
    let (steps, batch, classes) = (shape[0], shape[1], shape[2]);
    let dims = targets.ndim();
    ensure!(
        dims == 1 || dims == 2,
        runtime,
        "Expected 1 to 2 dimensions, but got {dims}-dimensional tensor for argument #2 'targets' {CHECKING}"
    );
    let blank = usize::try_from(blank).ok().filter(|&blank| blank < classes);
    let blank = blank.ok_or_else(|| Error::runtime("blank must be in label range"))?;
    let given = lengths("input_lengths", input_lengths, batch)?;
    let wanted = lengths("target_lengths", target_lengths, batch)?;
    let total: usize = wanted.iter().fold(0, |sum, &n| sum.saturating_add(n));
    let (expected, wide) = if dims == 1 { (total, 0) } else { (batch, targets.size_along(1)) };
    ensure!(
        targets.size_along(0) == expected,
        runtime,
        "Expected tensor to have size {expected} at dimension 0, but got size {} for argument #2 'targets' {CHECKING}",
        targets.size_along(0)
    );
    let longest = wanted.iter().copied().max().unwrap_or(0);
    ensure!(
        dims == 1 || longest <= wide,
        runtime,
        "Expected tensor to have size at least {longest} at dimension 1, but got size {wide} for argument #2 'targets' \
         {CHECKING}"
    );
    if let Some(long) = given.iter().find(|&&length| length > steps) {
        return Err(Error::runtime(format!(
            "Expected input_lengths to have value at most {steps}, but got value {long} {CHECKING}"
        )));
    }
    let all = targets.detach().to_dtype(DType::I64)?.to_vec::<i64>()?;
    let (mut labels, mut starts, mut at) = (Vec::with_capacity(total), vec![0], 0);
    for (i, &count) in wanted.iter().enumerate() {
        let from = if dims == 1 { at } else { i * wide };
        for &label in &all[from..from + count] {
            let known = usize::try_from(label).ok().filter(|&label| label < classes);
            labels.push(known.ok_or_else(|| {
                Error::index(format!(
                    "ctc_loss: label {label} in target {i} is out of bounds for {classes} classes"
                ))
            })?);
        }
        at += count;
        starts.push(at);
    }
    Ok(Alignments { lengths: given, labels, starts, blank })
}

impl Tensor {
    /// The losses `(N,)` of logarithms of probabilities `(T, N, C)` or `(T, C)` (then of no dimension),
    /// with targets of `(N, S)` or one after the other. Infinite ones are left, and pass on no
    /// gradient with `zero_infinity`.
    ///
    /// # Errors
    /// If shapes, lengths, labels or dtypes do not fit.
    #[track_caller]
    pub fn ctc_loss(
        &self,
        targets: &Self,
        input_lengths: &[i64],
        target_lengths: &[i64],
        blank: i64,
        zero_infinity: bool,
    ) -> Result<Self> {
        if self.ndim() != 3 {
            let one = self.unsqueeze(1)?;
            // Anything but a matrix is refused there.
            let lengths = (input_lengths, target_lengths);
            return one.ctc_of_batch(targets, lengths, blank, zero_infinity)?.squeeze(Some(&[0]));
        }
        self.ctc_of_batch(targets, (input_lengths, target_lengths), blank, zero_infinity)
    }

    #[track_caller]
    fn ctc_of_batch(
        &self,
        targets: &Self,
        (input_lengths, target_lengths): (&[i64], &[i64]),
        blank: i64,
        zero_infinity: bool,
    ) -> Result<Self> {
        let alignments = alignments(&self.shape(), targets, input_lengths, target_lengths, blank)?;
        let recorded = recording1(self);
        let (losses, scores) = launch::ctc_loss(&self.shared_core(), &alignments, recorded)?;
        let losses = Self::from_core(losses);
        if let Some(scores) = scores {
            let targets = targets.shared_core();
            let saves: SmallVec<[Save<'_>; 4]> = smallvec![
                Save::Input(0),
                Save::Output(0),
                Save::Private(&targets),
                Save::Private(&scores)
            ];
            attach(Op::rule(Ctc { alignments, zero_infinity }), &[self], &saves, &[&losses])?;
        }
        Ok(losses)
    }
}

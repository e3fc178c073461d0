//! Limits that are tensors.

use smallvec::{SmallVec, smallvec};

use super::binary::Binary;
use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::Scalar;
use crate::error::Result;
use crate::graph::hooks::GradList;
use crate::graph::{GradMode, Save, attach, recording};
use crate::tensor::Tensor;

/// `clamp` between tensors. The gradient goes to the value within the limits, else to the limit it met; to
/// both in halves where they are equal, but to the value alone where both limits are; and to the upper
/// limit where that lies below the lower one.
struct Clamp {
    name: &'static str,
    min: bool,
    max: bool,
}

/// What lies where, of the values and their limits.
struct Places {
    /// The values that are no NaN.
    numbers: Tensor,
    below: Option<Tensor>,
    at_min: Option<Tensor>,
    above: Option<Tensor>,
    at_max: Option<Tensor>,
    /// The upper limit lies below the lower one.
    crossed: Option<Tensor>,
    /// The share of either at a limit that is met.
    share: Tensor,
}

impl Places {
    fn new(x: &Tensor, min: Option<&Tensor>, max: Option<&Tensor>, one: &Tensor) -> Result<Self> {
        let is = |kind: Binary, other: Option<&Tensor>| {
            other.map(|other| x.binary(kind, other, 1.0)).transpose()
        };
        let half = Tensor::from_scalar(Scalar::Float(0.5), one.dtype())?;
        let (crossed, share) = match (min, max) {
            (Some(min), Some(max)) => {
                let same = min.binary(Binary::Eq, max, 1.0)?;
                (Some(max.binary(Binary::Lt, min, 1.0)?), same.where_(one, &half)?)
            }
            _ => (None, half),
        };
        Ok(Self {
            numbers: x.binary(Binary::Eq, x, 1.0)?,
            below: is(Binary::Lt, min)?,
            at_min: is(Binary::Eq, min)?,
            above: is(Binary::Gt, max)?,
            at_max: is(Binary::Eq, max)?,
            crossed,
            share,
        })
    }
}

/// `value` where a condition is known and holds, else `other`.
fn choose(condition: Option<&Tensor>, value: &Tensor, other: Tensor) -> Result<Tensor> {
    match condition {
        Some(condition) => condition.where_(value, &other),
        None => Ok(other),
    }
}

impl Rule for Clamp {
    fn name(&self) -> &'static str {
        self.name
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        let place = |there: bool, at: usize| {
            Some(if there { SavedValue::Place(at) } else { SavedValue::Absent })
        };
        match (name, self.name) {
            ("min", "ClampBackward0" | "ClampMinBackward1") => place(self.min, 1),
            ("max", "ClampBackward0" | "ClampMaxBackward1") => {
                place(self.max, 1 + usize::from(self.min))
            }
            _ => None,
        }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let n = 1 + usize::from(self.min) + usize::from(self.max);
        let Some(grad) = &grads[0] else { return Ok(smallvec![None; n]) };
        let mut saved: SmallVec<[Tensor; 3]> = SmallVec::new();
        for i in 0..n {
            saved.push(cx.saved(i)?.detach());
        }
        let min = self.min.then(|| &saved[1]);
        let max = self.max.then(|| &saved[n - 1]);
        let number = |x: f64| Tensor::from_scalar(Scalar::Float(x), grad.dtype());
        let (zero, one) = (number(0.0)?, number(1.0)?);
        let at = Places::new(&saved[0], min, max, &one)?;
        let mut out = GradList::new();
        let mut weigh = |i: usize, weight: Tensor| -> Result<()> {
            out.push(if cx.needs(i) { Some(grad.mul(&weight)?) } else { None });
            Ok(())
        };
        let share = &at.share;
        let mut own = choose(at.at_max.as_ref(), share, one.clone())?;
        own = choose(at.at_min.as_ref(), share, own)?;
        own = choose(at.above.as_ref(), &zero, own)?;
        own = choose(at.below.as_ref(), &zero, own)?;
        if let Some(crossed) = &at.crossed {
            own = crossed.where_(&at.numbers.where_(&zero, &one)?, &own)?;
        }
        weigh(0, own)?;
        // A limit gets what the value does not; alone it shares in NaNs.
        let rest = match &at.crossed {
            Some(_) => zero.clone(),
            None => at.numbers.where_(&zero, &one)?,
        };
        let met = one.sub(share)?;
        if self.min {
            let weight = choose(at.at_min.as_ref(), &met, rest.clone())?;
            let weight = choose(at.below.as_ref(), &one, weight)?;
            weigh(1, choose(at.crossed.as_ref(), &zero, weight)?)?;
        }
        if self.max {
            let weight = choose(at.at_max.as_ref(), &met, rest)?;
            let mut weight = choose(at.above.as_ref(), &one, weight)?;
            if let Some(crossed) = &at.crossed {
                weight = crossed.where_(&at.numbers.where_(&one, &zero)?, &weight)?;
            }
            weigh(n - 1, weight)?;
        }
        Ok(out)
    }
}

impl Tensor {
    /// `self` limited to what lies between tensors, as one operation of that node name; the upper limit
    /// wins where it lies below the lower one. NaN stays NaN.
    ///
    /// # Errors
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn clamp_between(
        &self,
        min: Option<&Self>,
        max: Option<&Self>,
        name: &'static str,
    ) -> Result<Self> {
        let mut inputs: SmallVec<[&Self; 3]> = smallvec![self];
        inputs.extend(min);
        inputs.extend(max);
        let (records, output) = {
            let records = recording(&inputs);
            let _mode = GradMode::no_grad();
            let mut plain: SmallVec<[Self; 3]> = inputs.iter().map(|one| one.detach()).collect();
            let mut output = plain.remove(0);
            if min.is_some() {
                output = output.maximum(&plain.remove(0))?;
            }
            if max.is_some() {
                output = output.minimum(&plain.remove(0))?;
            }
            (records, output)
        };
        if output.dtype().is_float() && records {
            let saves: SmallVec<[Save<'_>; 3]> = (0..inputs.len()).map(Save::Input).collect();
            let rule = Clamp { name, min: min.is_some(), max: max.is_some() };
            attach(Op::rule(rule), &inputs, &saves, &[&output])?;
        }
        Ok(output)
    }
}

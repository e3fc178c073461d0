//! The rule of a view: how the gradient of it gets back.

use smallvec::smallvec;

use crate::dtype::DType;
use crate::error::Result;
use crate::graph::hooks::GradList;
use crate::ops::strided::{Geometry, regather};
use crate::ops::{Cx, Rule, SavedValue};
use crate::shape::{Dims, contiguous_strides};
use crate::storage::Core;
use crate::tensor::Tensor;

/// How the gradient of a view gets back.
pub(super) enum Inverse {
    /// The engine sums it to the input's shape.
    Same,
    Reshape(Dims),
    Permute(Dims),
    /// Back to the input's dtype.
    Cast(DType),
    /// Elements were left out: scatter into zeros of the input's shape.
    Scatter {
        from: Geometry,
        input: Dims,
    },
}

pub(super) struct View {
    pub(super) label: Label,
    pub(super) inverse: Inverse,
}

/// torch's name of a view's node, and what the view was asked for.
pub(super) struct Label {
    pub(super) name: &'static str,
    pub(super) given: [i64; 4],
}

impl Label {
    /// Names of what was asked for, in the order of `given`.
    fn names(&self) -> &'static [&'static str] {
        match self.name {
            "SelectBackward0" => &["dim", "index"],
            "SliceBackward0" => &["dim", "start", "end", "step"],
            "SqueezeBackward1" | "UnsqueezeBackward0" => &["dim"],
            "TransposeBackward0" => &["dim0", "dim1"],
            "DiagonalBackward0" => &["offset", "dim1", "dim2"],
            "UnfoldBackward0" => &["dimension", "size", "step"],
            _ => &[],
        }
    }
}

impl From<&'static str> for Label {
    fn from(name: &'static str) -> Self {
        Self { name, given: [0; 4] }
    }
}

impl<const N: usize> From<(&'static str, [i64; N])> for Label {
    fn from((name, numbers): (&'static str, [i64; N])) -> Self {
        let mut given = [0; 4];
        given[..N].copy_from_slice(&numbers);
        Self { name, given }
    }
}

impl Rule for View {
    fn name(&self) -> &str {
        self.label.name
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        if let Some(at) = self.label.names().iter().position(|&own| own == name) {
            return Some(SavedValue::Int(self.label.given[at]));
        }
        match (self.label.name, name, &self.inverse) {
            ("PermuteBackward0", "dims", Inverse::Permute(inverse)) => {
                let mut dims = inverse.clone();
                for (to, &from) in inverse.iter().enumerate() {
                    dims[from] = to;
                }
                Some(SavedValue::Sizes(dims))
            }
            ("SqueezeBackward2", "dim", _) => Some(SavedValue::Dims(self.label.given[0] as u64)),
            _ => None,
        }
    }
    fn part(&self) -> Option<(&Geometry, &[usize])> {
        match &self.inverse {
            Inverse::Scatter { from, input } => Some((from, input)),
            _ => None,
        }
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let grad = match &self.inverse {
            Inverse::Same => grad.clone(),
            Inverse::Reshape(shape) => {
                let dense = |core: &Core| core.is_contiguous().then(|| contiguous_strides(shape));
                match grad.relaid(shape, dense) {
                    Some(grad) => grad,
                    None => grad.reshape_to(shape)?,
                }
            }
            Inverse::Permute(dims) => {
                let shape: Dims = dims.iter().map(|&dim| grad.core().shape()[dim]).collect();
                let turn =
                    |core: &Core| Some(dims.iter().map(|&dim| core.strides()[dim]).collect());
                match grad.relaid(&shape, turn) {
                    Some(grad) => grad,
                    None => grad.permute_to(dims)?,
                }
            }
            Inverse::Cast(dtype) => grad.to_dtype(*dtype)?,
            Inverse::Scatter { from, input } => regather(grad, from, &Geometry::dense(input))?,
        };
        Ok(smallvec![Some(grad)])
    }
}

//! Whole slices at indices along a dimension; triangles; fills under a mask.

use std::sync::Arc;

use smallvec::smallvec;

use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording, recording1};
use crate::launch::blocks::{cast, copy_core};
use crate::launch::index::{self as launch, Written};
use crate::launch::program::map_later;
use crate::ops::binary::Binary;
use crate::shape::{Dims, broadcast, norm_dim};
use crate::storage::Core;
use crate::tensor::Tensor;

/// Indices as int64.
pub(crate) fn as_index(name: &str, index: &Tensor) -> Result<Tensor> {
    ensure!(
        matches!(index.dtype(), DType::I32 | DType::I64),
        runtime,
        "{name}(): Expected dtype int32/int64 for index but got: {}",
        index.dtype().scalar_name()
    );
    index.detach().to_dtype(DType::I64)
}

fn vector(name: &str, index: &Tensor) -> Result<Tensor> {
    ensure!(index.ndim() <= 1, index, "{name}(): Index is supposed to be a vector");
    as_index(name, index)
}

struct Select {
    dim: i64,
    input: Dims,
}

impl Rule for Select {
    fn name(&self) -> &'static str {
        "IndexSelectBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "dim").then(|| SavedValue::Int(self.dim))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        Ok(smallvec![Some(sum_of_slices(&self.input, self.dim, &cx.saved(0)?, grad)?)])
    }
}

/// Bytes of a row from which on its contributions are brought together first.
const WHOLE_ROW: usize = 64;

/// Zeros of a shape with slices along a dimension added at the indices: the gradient of what selects them.
#[track_caller]
pub(super) fn sum_of_slices(
    shape: &[usize],
    dim: i64,
    index: &Tensor,
    slices: &Tensor,
) -> Result<Tensor> {
    let dtype = slices.dtype();
    // A 0-d index has selected one slice.
    let index = index.reshape_to(&[index.numel()])?;
    let row = shape.iter().skip(1).product::<usize>() * dtype.size();
    // Rows are brought together and written once each.
    if norm_dim(dim, shape.len())? == 0 && row >= WHOLE_ROW && !recording1(slices) {
        let indices =
            launch::Indices { arrays: vec![Some(index.shared_core())], common: index.shape() };
        return Ok(Tensor::from_core(launch::index_sum(shape, &indices, &slices.core())?));
    }
    let add = Kind::Add(Scalar::Int(1));
    Tensor::zeros(shape, dtype)?.index_write("index_add", dim, &index, slices, add, true)
}

#[derive(Clone, Copy)]
enum Kind {
    Add(Scalar),
    Copy,
    Fill,
}

struct Write {
    dim: i64,
    kind: Kind,
}

impl Rule for Write {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Add(_) => "IndexAddBackward0",
            Kind::Copy => "IndexCopyBackward0",
            Kind::Fill => "IndexFillBackward0",
        }
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        match (name, &self.kind) {
            ("dim", _) => Some(SavedValue::Int(self.dim)),
            ("alpha", Kind::Add(alpha)) => Some(SavedValue::Number(*alpha)),
            _ => None,
        }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None, None]) };
        if matches!(self.kind, Kind::Add(_)) && !cx.needs(1) {
            return Ok(smallvec![Some(grad.clone()), None]);
        }
        let index = cx.saved(0)?;
        let mut this = None;
        if cx.needs(0) {
            this = Some(match self.kind {
                Kind::Add(_) => grad.clone(),
                _ => grad.index_fill(self.dim, &index, Scalar::Int(0))?,
            });
        }
        let mut source = None;
        if cx.needs(1) {
            cx.saved(1)?;
            let part = grad.index_select(self.dim, &index)?;
            source = Some(match self.kind {
                Kind::Add(alpha) => part.binary_scalar(Binary::Mul, alpha, false)?,
                _ => part,
            });
        }
        Ok(smallvec![this, source])
    }
}

impl Tensor {
    /// The slices along a dimension that a vector of indices names.
    ///
    /// # Errors
    /// If an index or the dimension is out of range.
    #[track_caller]
    pub fn index_select(&self, dim: i64, index: &Self) -> Result<Self> {
        let at = norm_dim(dim, self.ndim())?;
        let index = vector("index_select", index)?;
        let indices = index.core();
        let output = Self::from_core(launch::index_select(&self.core(), at, &indices)?);
        if recording1(self) {
            let rule = Select { dim, input: self.shape() };
            attach(Op::rule(rule), &[self], &[Save::Private(&indices)], &[&output])?;
        }
        Ok(output)
    }

    /// A copy with `alpha` times slices of `source` added at the indices.
    ///
    /// # Errors
    /// If shapes, dtypes or indices do not fit.
    #[track_caller]
    pub fn index_add(&self, dim: i64, index: &Self, source: &Self, alpha: Scalar) -> Result<Self> {
        self.index_write("index_add", dim, index, source, Kind::Add(alpha), false)
    }

    /// [`Self::index_add`] in place.
    ///
    /// # Errors
    /// As there, or if this tensor may not be written.
    #[track_caller]
    pub fn index_add_(&self, dim: i64, index: &Self, source: &Self, alpha: Scalar) -> Result<()> {
        let add = Kind::Add(alpha);
        self.inplace("index_add_", |this| {
            this.index_write("index_add", dim, index, source, add, true)
        })
    }

    /// A copy with slices of `source` put at the indices.
    ///
    /// # Errors
    /// If shapes, dtypes or indices do not fit.
    #[track_caller]
    pub fn index_copy(&self, dim: i64, index: &Self, source: &Self) -> Result<Self> {
        self.index_write("index_copy", dim, index, source, Kind::Copy, false)
    }

    /// [`Self::index_copy`] in place.
    ///
    /// # Errors
    /// As there, or if this tensor may not be written.
    #[track_caller]
    pub fn index_copy_(&self, dim: i64, index: &Self, source: &Self) -> Result<()> {
        self.inplace("index_copy_", |this| {
            this.index_write("index_copy", dim, index, source, Kind::Copy, true)
        })
    }

    /// The result is this tensor itself where it can be, if it is written `over`.
    #[track_caller]
    fn index_write(
        &self,
        name: &str,
        dim: i64,
        index: &Self,
        source: &Self,
        kind: Kind,
        over: bool,
    ) -> Result<Self> {
        let at = norm_dim(dim, self.ndim())?;
        let index = vector(name, index)?;
        ensure!(
            self.dtype() == source.dtype(),
            runtime,
            "{name}(): self and source expected to have the same dtype, but got (self) {} and \
             (source) {}",
            self.dtype().scalar_name(),
            source.dtype().scalar_name()
        );
        let mut wanted = self.shape();
        if let Some(n) = wanted.get_mut(at) {
            *n = index.numel();
        }
        ensure!(
            source.shape() == wanted
                || (source.numel() == 1 && index.numel() == 1 && self.ndim() <= 1),
            runtime,
            "{name}(): source of shape {} does not fit {} indices at dimension {at} of a tensor of \
             shape {}",
            crate::shape::shape_text(&source.shape()),
            index.numel(),
            crate::shape::shape_text(&self.shape())
        );
        let (indices, from) = (index.core(), source.core());
        let what = match kind {
            Kind::Add(alpha) => Written::Add(&from, alpha),
            _ => Written::Copy(&from),
        };
        let core = launch::index_write(&self.shared_core(), at, &indices, &what, over)?;
        let output = Self::from_core(core);
        if output.dtype().is_float() && recording(&[self, source]) {
            let plain = matches!(kind, Kind::Add(_)) && !source.requires_grad();
            // As in torch, a source that gets a gradient must not be written.
            let saves = [Save::Private(&indices), Save::Input(1)];
            let saves = match (plain, source.requires_grad()) {
                (true, _) => &saves[..0],
                (false, false) => &saves[..1],
                (false, true) => &saves[..],
            };
            attach(Op::rule(Write { dim, kind }), &[self, source], saves, &[&output])?;
        }
        Ok(output)
    }

    /// A copy with one value at the indices.
    ///
    /// # Errors
    /// If an index or the dimension is out of range.
    #[track_caller]
    pub fn index_fill(&self, dim: i64, index: &Self, value: Scalar) -> Result<Self> {
        self.filled(dim, index, value, false)
    }

    /// [`Self::index_fill`] in place.
    ///
    /// # Errors
    /// As there, or if this tensor may not be written.
    #[track_caller]
    pub fn index_fill_(&self, dim: i64, index: &Self, value: Scalar) -> Result<()> {
        self.inplace("index_fill_", |this| this.filled(dim, index, value, true))
    }

    #[track_caller]
    fn filled(&self, dim: i64, index: &Self, value: Scalar, over: bool) -> Result<Self> {
        let at = norm_dim(dim, self.ndim())?;
        let index = vector("index_fill", index)?;
        let n = self.shape().get(at).map_or(1, |&n| n as i64);
        let zero = index.binary_scalar(Binary::Lt, Scalar::Int(0), false)?;
        let index =
            zero.where_(&index.binary_scalar(Binary::Add, Scalar::Int(n), false)?, &index)?;
        let indices = index.core();
        let what = Written::Fill(value);
        let core = launch::index_write(&self.shared_core(), at, &indices, &what, over)?;
        let output = Self::from_core(core);
        if recording1(self) {
            let op = Op::rule(Write { dim, kind: Kind::Fill });
            attach(op, &[self], &[Save::Private(&indices)], &[&output])?;
        }
        Ok(output)
    }

    /// [`Self::index_fill`] with a 0-d tensor, which gets a gradient.
    ///
    /// # Errors
    /// As there, or if the value has dimensions.
    #[track_caller]
    pub fn index_fill_tensor(&self, dim: i64, index: &Self, value: &Self) -> Result<Self> {
        ensure!(
            value.ndim() == 0,
            runtime,
            "index_fill_ only supports a 0-dimensional value tensor, but got tensor with {} \
             dimension(s).",
            value.ndim()
        );
        let mut shape = self.shape();
        if let Some(n) = shape.get_mut(norm_dim(dim, self.ndim())?) {
            *n = index.numel();
        }
        self.index_copy(dim, index, &value.to_dtype(self.dtype())?.expand_to(&shape)?)
    }

    /// A copy with `value` (0-d) where the mask holds.
    ///
    /// # Errors
    /// If the mask is not bool, does not broadcast, or the value has dimensions.
    #[track_caller]
    pub fn masked_fill(&self, mask: &Self, value: &Self) -> Result<Self> {
        ensure!(
            mask.dtype() == DType::Bool,
            runtime,
            "masked_fill only supports boolean masks, but got mask with dtype {}",
            mask.dtype().scalar_name()
        );
        ensure!(
            value.ndim() == 0,
            runtime,
            "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {} \
             dimension(s).",
            value.ndim()
        );
        ensure!(
            value.dtype().category() <= self.dtype().category() || value.is_number(),
            runtime,
            "value cannot be converted to type {} without overflow",
            self.dtype().name()
        );
        let dtype = self.dtype();
        let (number, whole, condition) =
            (cast(&value.core(), dtype)?, self.shared_core(), mask.core());
        let wide = broadcast(condition.shape(), whole.shape())?;
        let block = super::binary::where_block(dtype.size());
        let output = map_later(block, &[0.0; 2], dtype, &wide, &[&condition, &number, &whole])?;
        // As in torch, whatever the layout of the tensor.
        let output = if output.is_contiguous() { output } else { copy_core(&output)? };
        let output = Self::from_core(output);
        if dtype.is_float() && recording(&[self, value]) {
            let number = !value.requires_grad();
            let inputs = [self, value];
            let inputs = if number { &inputs[..1] } else { &inputs[..] };
            let saves = [Save::Private(&condition)];
            attach(Op::rule(Filled { number }), inputs, &saves, &[&output])?;
        }
        Ok(output)
    }

    /// The lower triangles of matrices, zero above the diagonal named.
    ///
    /// # Errors
    /// If there are less than two dimensions.
    #[track_caller]
    pub fn tril(&self, diagonal: i64) -> Result<Self> {
        self.triangle(true, diagonal)
    }

    /// The upper triangles of matrices, zero below the diagonal named.
    ///
    /// # Errors
    /// If there are less than two dimensions.
    #[track_caller]
    pub fn triu(&self, diagonal: i64) -> Result<Self> {
        self.triangle(false, diagonal)
    }

    #[track_caller]
    fn triangle(&self, lower: bool, diagonal: i64) -> Result<Self> {
        let name = if lower { "tril" } else { "triu" };
        ensure!(self.ndim() >= 2, runtime, "{name}: input tensor must have at least 2 dimensions");
        let output = Self::from_core(launch::triangle(&self.core(), lower, diagonal)?);
        if recording1(self) {
            attach(Op::rule(Triangle(lower, diagonal)), &[self], &[], &[&output])?;
        }
        Ok(output)
    }

    /// The positions of the elements that are not zero, one row each.
    ///
    /// # Errors
    /// If memory is short.
    pub fn nonzero(&self) -> Result<Self> {
        Ok(Self::from_core(launch::nonzero(&self.core())?))
    }

    /// [`Self::nonzero`], one tensor per dimension.
    ///
    /// # Errors
    /// If memory is short.
    pub fn nonzero_columns(&self) -> Result<Vec<Self>> {
        let this = if self.ndim() == 0 { self.detach().unsqueeze(0)? } else { self.detach() };
        this.nonzero()?.unbind(1)
    }

    /// Each index (or slice along `dim`) as often as `counts` says.
    ///
    /// # Errors
    /// If the counts do not fit.
    #[track_caller]
    pub fn repeat_interleave(&self, counts: &Self, dim: i64) -> Result<Self> {
        let at = norm_dim(dim, self.ndim())?;
        let n = self.shape().get(at).copied().unwrap_or(1);
        let counts = counts.detach().to_dtype(DType::I64)?;
        ensure!(counts.ndim() <= 1, runtime, "repeats must be 0-dim or 1-dim tensor");
        ensure!(
            counts.numel() == n || counts.numel() == 1,
            runtime,
            "repeats must have the same size as input along dim, but got repeats.size(0) = {} and \
             input.size({at}) = {n}",
            counts.numel()
        );
        let counts = counts.expand_to(&[n])?;
        let index = Self::from_core(launch::repeat_indices(&counts.core())?);
        self.index_select(dim, &index)
    }

    /// Rows with a one at each index.
    ///
    /// # Errors
    /// If an index is out of range.
    pub fn one_hot(&self, classes: Option<usize>) -> Result<Self> {
        ensure!(
            self.dtype() == DType::I64,
            runtime,
            "one_hot is only applicable to index tensor of type LongTensor."
        );
        let core: Arc<Core> = self.shared_core();
        Ok(Self::from_core(launch::one_hot(&core, classes)?))
    }
}

/// The gradient goes to the value where the mask holds, else to the tensor.
struct Filled {
    number: bool,
}

impl Rule for Filled {
    fn name(&self) -> &'static str {
        if self.number { "MaskedFillBackward0" } else { "MaskedFillBackward1" }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None, None]) };
        let mask = cx.saved(0)?;
        let zero = Tensor::from_scalar(Scalar::Int(0), grad.dtype())?;
        let this = cx.needs(0).then(|| mask.where_(&zero, grad)).transpose()?;
        let value = cx.needs(1).then(|| mask.where_(grad, &zero)).transpose()?;
        Ok(smallvec![this, value])
    }
}

struct Triangle(bool, i64);

impl Rule for Triangle {
    fn name(&self) -> &'static str {
        if self.0 { "TrilBackward0" } else { "TriuBackward0" }
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "diagonal").then(|| SavedValue::Int(self.1))
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let grad = grads[0].as_ref().map(|grad| grad.triangle(self.0, self.1)).transpose()?;
        Ok(smallvec![grad])
    }
}

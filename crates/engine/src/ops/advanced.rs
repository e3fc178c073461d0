//! Advanced indexing: tensors of indices and masks for some dimensions.

use std::sync::Arc;

use smallvec::smallvec;

use super::binary::Binary;
use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, bail, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording, recording1};
use crate::launch::blocks::run_into;
use crate::launch::index::{self as launch, Indices};
use crate::shape::{Dims, broadcast, norm_dim, shape_text};
use crate::storage::Core;
use crate::tensor::Tensor;

struct Index {
    input: Dims,
    given: Vec<bool>,
}

struct Put {
    given: Vec<bool>,
    accumulate: bool,
}

/// Where among the saved tensors each given index is.
fn places(given: &[bool]) -> Vec<Option<usize>> {
    let mut next = 0..;
    given.iter().map(|&given| if given { next.next() } else { None }).collect()
}

/// The indices as they were given, from those saved.
fn restore(cx: &Cx<'_>, given: &[bool]) -> Result<Vec<Option<Tensor>>> {
    let mut next = 0;
    given
        .iter()
        .map(|&given| {
            if !given {
                return Ok(None);
            }
            next += 1;
            cx.saved(next - 1).map(Some)
        })
        .collect()
}

impl Rule for Index {
    fn name(&self) -> &'static str {
        "IndexBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        match name {
            "self_sym_sizes" => Some(SavedValue::Sizes(self.input.clone())),
            "indices" => Some(SavedValue::Places(places(&self.given))),
            _ => None,
        }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let indices = restore(cx, &self.given)?;
        if recording1(grad) {
            let zeros = Tensor::zeros(&self.input, grad.dtype())?;
            return Ok(smallvec![Some(zeros.index_put(&indices, grad, true)?)]);
        }
        let indices = prepare(&self.input, &indices)?;
        let sum = launch::index_sum(&self.input, &indices, &grad.core())?;
        Ok(smallvec![Some(Tensor::from_core(sum))])
    }
}

/// Of a mask that has the shape of what it selects from.
struct Masked;

impl Rule for Masked {
    fn name(&self) -> &'static str {
        "IndexBackward0"
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let mask = cx.saved(0)?;
        if recording1(grad) {
            let zeros = Tensor::zeros(&mask.shape(), grad.dtype())?;
            return Ok(smallvec![Some(zeros.index_put(&[Some(mask)], grad, true)?)]);
        }
        let spread = launch::masked_spread(&grad.core(), &mask.core())?;
        Ok(smallvec![Some(Tensor::from_core(spread))])
    }
}

/// The mask, if it is the only index and has the shape (of at least one dimension) of the tensor.
fn whole_mask<'a>(shape: &[usize], indices: &'a [Option<Tensor>]) -> Option<&'a Tensor> {
    let [Some(mask)] = indices else { return None };
    let core = mask.core();
    let whole = core.dtype() == DType::Bool && !shape.is_empty() && core.shape() == shape;
    whole.then_some(mask)
}

impl Rule for Put {
    fn name(&self) -> &'static str {
        "IndexPutBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        match name {
            "indices" => Some(SavedValue::Places(places(&self.given))),
            "accumulate" => Some(SavedValue::Bool(self.accumulate)),
            _ => None,
        }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None, None]) };
        let indices = restore(cx, &self.given)?;
        let mut this = None;
        if cx.needs(0) {
            this = Some(if self.accumulate {
                grad.clone()
            } else {
                let zero = Tensor::from_scalar(Scalar::Int(0), grad.dtype())?;
                grad.index_put(&indices, &zero, false)?
            });
        }
        let values = cx.needs(1).then(|| grad.index(&indices)).transpose()?;
        Ok(smallvec![this, values])
    }
}

/// Masks as the positions they hold at, everything else as int64, with the common shape.
fn prepare(shape: &[usize], indices: &[Option<Tensor>]) -> Result<Indices> {
    let mut arrays: Vec<Option<Arc<Core>>> = Vec::with_capacity(indices.len());
    for index in indices {
        let Some(index) = index else {
            arrays.push(None);
            continue;
        };
        match index.dtype() {
            DType::I64 => arrays.push(Some(index.shared_core())),
            DType::I32 => arrays.push(Some(index.detach().to_dtype(DType::I64)?.shared_core())),
            dtype if launch::is_mask(dtype) => {
                for (d, &n) in index.shape().iter().enumerate() {
                    let at = arrays.len() + d;
                    ensure!(
                        shape.get(at) == Some(&n),
                        index,
                        "The shape of the mask {} at index {d} does not match the shape of the \
                         indexed tensor {} at index {at}",
                        shape_text(&index.shape()),
                        shape_text(shape)
                    );
                }
                for column in index.nonzero_columns()? {
                    arrays.push(Some(column.shared_core()));
                }
            }
            _ => bail!(index, "tensors used as indices must be long, int, byte or bool tensors"),
        }
    }
    ensure!(
        arrays.len() <= shape.len(),
        index,
        "too many indices for tensor of dimension {} (got {})",
        shape.len(),
        arrays.len()
    );
    let mut common = Dims::new();
    for array in arrays.iter().flatten() {
        common = match broadcast(&common, array.shape()) {
            Ok(common) => common,
            Err(_) => {
                let shapes: Vec<String> =
                    arrays.iter().flatten().map(|a| shape_text(a.shape())).collect();
                bail!(
                    index,
                    "shape mismatch: indexing tensors could not be broadcast together with shapes {}",
                    shapes.join(", ")
                );
            }
        };
    }
    let numel: usize = common.iter().product();
    for (d, array) in arrays.iter().enumerate() {
        ensure!(
            array.is_none() || numel == 0 || shape[d] > 0,
            index,
            "index is out of bounds for dimension with size 0"
        );
    }
    Ok(Indices { arrays, common })
}

fn saves(indices: &Indices) -> (Vec<bool>, Vec<Save<'_>>) {
    (
        indices.arrays.iter().map(Option::is_some).collect(),
        indices.arrays.iter().flatten().map(Save::Private).collect(),
    )
}

impl Tensor {
    /// The elements (or slices) at the indices; `None` keeps a dimension whole.
    ///
    /// # Errors
    /// If indices do not fit, do not broadcast, or are out of range.
    #[track_caller]
    pub fn index(&self, indices: &[Option<Self>]) -> Result<Self> {
        if let Some(mask) = whole_mask(self.core().shape(), indices) {
            let mask = mask.shared_core();
            let output = Self::from_core(launch::masked_select(&self.shared_core(), &mask)?);
            if recording1(self) {
                attach(Op::rule(Masked), &[self], &[Save::Private(&mask)], &[&output])?;
            }
            return Ok(output);
        }
        let indices = prepare(self.core().shape(), indices)?;
        let output = Self::from_core(launch::index(&self.core(), &indices)?);
        if recording1(self) {
            let (given, saves) = saves(&indices);
            let rule = Index { input: self.shape(), given };
            attach(Op::rule(rule), &[self], &saves, &[&output])?;
        }
        Ok(output)
    }

    /// A copy with `values` (broadcast) written, or added, at the indices.
    ///
    /// # Errors
    /// As [`Self::index`], or if the values do not fit.
    #[track_caller]
    pub fn index_put(
        &self,
        indices: &[Option<Self>],
        values: &Self,
        accumulate: bool,
    ) -> Result<Self> {
        ensure!(
            self.dtype() == values.dtype(),
            runtime,
            "Index put requires the source and destination dtypes match, got {} for the \
             destination and {} for the source.",
            self.dtype().scalar_name(),
            values.dtype().scalar_name()
        );
        let indices = prepare(self.core().shape(), indices)?;
        let core = launch::index_put(&self.core(), &indices, &values.core(), accumulate)?;
        let output = Self::from_core(core);
        if self.dtype().is_float() && recording(&[self, values]) {
            let (given, saves) = saves(&indices);
            let rule = Put { given, accumulate };
            attach(Op::rule(rule), &[self, values], &saves, &[&output])?;
        }
        Ok(output)
    }

    /// Writes `values` (broadcast) at the indices of this tensor, or adds them.
    ///
    /// # Errors
    /// As [`Self::index_put`], or if torch refuses the write.
    #[track_caller]
    pub fn index_put_(
        &self,
        indices: &[Option<Self>],
        values: &Self,
        accumulate: bool,
    ) -> Result<()> {
        let expanded = crate::tensor::is_expanded(&self.core());
        if recording(&[self, values]) || self.dtype() != values.dtype() || expanded {
            return self.inplace("index_put_", |this| this.index_put(indices, values, accumulate));
        }
        self.write_through("index_put_", |core| {
            if let Some(mask) = whole_mask(core.shape(), indices).filter(|_| !accumulate) {
                let (mask, value) = (mask.core(), values.core());
                // One number where the mask holds, unless they lie in the tensor themselves.
                if value.numel() == 1
                    && value.shape().is_empty()
                    && !mask.same_storage(core)
                    && !value.same_storage(core)
                {
                    let block = super::binary::where_block(core.dtype().size());
                    return run_into(block, &[0.0; 2], core, &[&mask, &value, core]);
                }
            }
            let indices = prepare(core.shape(), indices)?;
            launch::index_put_into(core, &indices, &values.core(), accumulate)
        })
    }

    /// The elements where a mask holds, as a vector.
    ///
    /// # Errors
    /// If the mask is not bool or does not broadcast.
    #[track_caller]
    pub fn masked_select(&self, mask: &Self) -> Result<Self> {
        ensure!(
            mask.dtype() == DType::Bool,
            runtime,
            "masked_select: expected BoolTensor for mask"
        );
        let wide = broadcast(&self.shape(), &mask.shape())?;
        let mask = mask.detach().expand_to(&wide)?;
        let found = mask.clone();
        self.linear_map(
            "MaskedSelectBackward0",
            |this| {
                let this = this.expand_to(&wide)?;
                if wide.is_empty() {
                    return this.reshape_to(&[1])?.index(&[Some(mask.reshape_to(&[1])?)]);
                }
                this.index(&[Some(mask)])
            },
            move |grad| {
                let zeros = Self::zeros(&found.shape(), grad.dtype())?;
                zeros.masked_scatter(&found, grad)
            },
        )
    }

    /// A copy with the elements of `source`, in order, where a mask holds.
    ///
    /// # Errors
    /// If the mask does not fit or the source is too short.
    #[track_caller]
    pub fn masked_scatter(&self, mask: &Self, source: &Self) -> Result<Self> {
        ensure!(
            self.dtype() == source.dtype(),
            runtime,
            "masked_scatter_: expected self and source to have same dtypes but got {} and {}",
            self.dtype().scalar_name(),
            source.dtype().scalar_name()
        );
        ensure!(
            mask.dtype() == DType::Bool,
            runtime,
            "masked_scatter_ only supports boolean masks, but got mask with dtype {}",
            mask.dtype().scalar_name()
        );
        let wide = broadcast(&self.shape(), &mask.shape())?;
        let columns = mask.detach().expand_to(&wide)?.nonzero_columns()?;
        let count = columns.first().map_or(0, Self::numel);
        ensure!(
            count <= source.numel(),
            runtime,
            "masked_scatter: expected self and source to have same dtypes and at least as many \
             elements in source as ones in mask"
        );
        let source = source.reshape_to(&[source.numel()])?.slice(0, 0, count as i64, 1)?;
        let indices: Vec<Option<Self>> = columns.into_iter().map(Some).collect();
        if wide.is_empty() {
            return self.reshape_to(&[1])?.index_put(&indices, &source, false)?.reshape_to(&[]);
        }
        self.expand_to(&wide)?.index_put(&indices, &source, false)
    }

    /// The elements at flat indices.
    ///
    /// # Errors
    /// If an index is out of range.
    #[track_caller]
    pub fn take(&self, index: &Self) -> Result<Self> {
        ensure!(
            index.dtype() == DType::I64,
            runtime,
            "take(): Expected a long tensor for index, but got {}",
            index.dtype().scalar_name()
        );
        ensure!(
            self.numel() > 0 || index.numel() == 0,
            index,
            "take(): tried to take from an empty tensor"
        );
        if index.numel() == 0 {
            // Nothing to look up, even in nothing.
            return self.reshape_to(&[self.numel()])?.span(0, 0, 0)?.reshape_to(&index.shape());
        }
        self.reshape_to(&[self.numel()])?.index(&[Some(index.detach())])
    }

    /// A copy with elements at flat indices replaced, or added to.
    ///
    /// # Errors
    /// If an index is out of range or the numbers of elements differ.
    #[track_caller]
    pub fn put(&self, index: &Self, source: &Self, accumulate: bool) -> Result<Self> {
        ensure!(
            index.numel() == source.numel(),
            runtime,
            "put_(): Expected source and index to have the same number of elements, but got \
             source.numel() = {}, index.numel() = {}",
            source.numel(),
            index.numel()
        );
        if index.numel() == 0 {
            return self.copied();
        }
        let source = source.reshape_to(&index.shape())?;
        self.reshape_to(&[self.numel()])?
            .index_put(&[Some(index.detach())], &source, accumulate)?
            .reshape_to(&self.shape())
    }

    /// `gather` with the other dimensions broadcast; over the flat tensor without a dimension.
    ///
    /// # Errors
    /// As `gather`.
    #[track_caller]
    pub fn take_along_dim(&self, index: &Self, dim: Option<i64>) -> Result<Self> {
        // Negative indices count from the end.
        let size = dim.map_or(Ok(self.numel()), |dim| {
            norm_dim(dim, self.ndim()).map(|dim| self.size_along(dim))
        })?;
        let shifted;
        let index = if index.dtype() == DType::I64 {
            let negative = index.detach().compare(Binary::Lt, 0.0)?;
            shifted = if negative.any_true()? {
                negative.where_(
                    &index.binary_scalar(Binary::Add, Scalar::Int(size as i64), false)?,
                    index,
                )?
            } else {
                index.clone()
            };
            &shifted
        } else {
            index
        };
        let Some(dim) = dim else {
            let flat = self.reshape_to(&[self.numel()])?;
            return flat.gather(0, &index.reshape_to(&[index.numel()])?);
        };
        ensure!(
            self.ndim() == index.ndim(),
            runtime,
            "torch.take_along_dim(): input and indices should have the same number of dimensions, \
             but got {} dimensions for input, and {} dimensions for indices",
            self.ndim(),
            index.ndim()
        );
        let at = norm_dim(dim, self.ndim())?;
        let (mut mine, mut theirs) = (self.shape(), index.shape());
        if mine.is_empty() {
            return self.gather(dim, index);
        }
        let (n, m) = (mine[at], theirs[at]);
        mine[at] = 1;
        theirs[at] = 1;
        let mut wide = broadcast(&mine, &theirs)?;
        wide[at] = n;
        let this = self.expand_to(&wide)?;
        wide[at] = m;
        this.gather(dim, &index.expand_to(&wide)?)
    }
}

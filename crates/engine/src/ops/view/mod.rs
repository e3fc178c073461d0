//! Views: other layouts of the same buffer. Their rules are the inverse views, or for those that
//! leave elements out, a scatter into zeros.

mod rule;

use smallvec::smallvec;

use rule::{Inverse, Label, View};

use super::strided::{Geometry, as_strided_rule};
use super::{Cx, Op, Rule};
use crate::dtype::DType;
use crate::error::{Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Edge, attach, attach_node, recording1};
use crate::kernels::copy;
use crate::launch::blocks::copy_core;
use crate::shape::{Dims, Strides, contiguous_strides, infer_reshape, norm_dim, view_strides};
use crate::storage::Core;
use crate::tensor::{Creation, Tensor};

impl Tensor {
    #[track_caller]
    fn view_op(
        &self,
        label: impl Into<Label>,
        shape: &[usize],
        strides: &[isize],
        offset: isize,
        inverse: impl FnOnce(&Core) -> Inverse,
    ) -> Result<Self> {
        let core = self.core();
        let view = core.view(shape, strides, offset)?;
        let output = self.make_view(view, Creation::now(Creation::Recorded));
        if recording1(self) {
            let rule = View { label: label.into(), inverse: inverse(&core) };
            attach(Op::rule(rule), &[self], &[], &[&output])?;
        }
        Ok(output)
    }

    /// The geometry of a view of this tensor as if the tensor were dense.
    fn scatter_inverse(core: &Core, change: impl FnOnce(&mut Geometry)) -> Inverse {
        let mut from = Geometry::dense(core.shape());
        change(&mut from);
        Inverse::Scatter { from, input: Dims::from_slice(core.shape()) }
    }

    /// The same elements in another shape, as a view.
    ///
    /// # Errors
    /// If the numbers of elements differ or the strides do not allow it.
    #[track_caller]
    pub fn view(&self, shape: &[i64]) -> Result<Self> {
        let shape = infer_reshape(shape, self.numel())?;
        let core = self.core();
        let strides = view_strides(core.shape(), core.strides(), &shape);
        let Some(strides) = strides else {
            crate::error::bail!(
                runtime,
                "view size is not compatible with input tensor's size and stride (at least one \
                 dimension spans across two contiguous subspaces). Use .reshape(...) instead.\n  \
                 view of shape {} with strides {:?} as {}",
                crate::shape::shape_text(core.shape()),
                core.strides(),
                crate::shape::shape_text(&shape)
            );
        };
        self.view_op("ViewBackward0", &shape, &strides, core.offset(), |core| {
            Inverse::Reshape(Dims::from_slice(core.shape()))
        })
    }

    /// The same elements in another shape: a view where strides allow it, else a copy.
    ///
    /// # Errors
    /// If the numbers of elements differ.
    #[track_caller]
    pub fn reshape(&self, shape: &[i64]) -> Result<Self> {
        let shape = infer_reshape(shape, self.numel())?;
        self.reshape_to(&shape)
    }

    /// [`Self::reshape`] to a known shape.
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn reshape_to(&self, shape: &[usize]) -> Result<Self> {
        let core = self.core();
        ensure!(
            shape.iter().product::<usize>() == core.numel(),
            runtime,
            "shape '{}' is invalid for input of size {}",
            crate::shape::shape_text(shape),
            core.numel()
        );
        match view_strides(core.shape(), core.strides(), shape) {
            Some(strides) => {
                let dense = core.is_contiguous();
                let name = if dense { "ViewBackward0" } else { "ReshapeAliasBackward0" };
                self.view_op(name, shape, &strides, core.offset(), |core| {
                    Inverse::Reshape(Dims::from_slice(core.shape()))
                })
            }
            None => self.copied()?.unsafe_view("UnsafeViewBackward0", shape),
        }
    }

    /// The same elements in another shape, of a dense tensor that nobody else has: what results does
    /// not count as a view.
    #[track_caller]
    pub(crate) fn unsafe_view(&self, name: &'static str, shape: &[usize]) -> Result<Self> {
        let core = self.core();
        let view = core.view(shape, &contiguous_strides(shape), core.offset())?;
        let output = Self::from_core(view);
        if recording1(self) {
            let inverse = Inverse::Reshape(Dims::from_slice(core.shape()));
            attach(Op::rule(View { label: name.into(), inverse }), &[self], &[], &[&output])?;
        }
        Ok(output)
    }

    /// Dimensions in another order, as a view.
    ///
    /// # Errors
    /// If `dims` is not a permutation.
    #[track_caller]
    pub fn permute(&self, dims: &[i64]) -> Result<Self> {
        let ndim = self.ndim();
        ensure!(
            dims.len() == ndim,
            runtime,
            "permute(sparse_coo): number of dimensions in the tensor input does not match the \
             length of the desired ordering of dimensions i.e. input.dim() = {} is not equal to \
             len(dims) = {}",
            ndim,
            dims.len()
        );
        let mut order = Dims::new();
        for &dim in dims {
            let dim = norm_dim(dim, ndim)?;
            ensure!(!order.contains(&dim), runtime, "permute(): duplicate dims are not allowed.");
            order.push(dim);
        }
        self.permute_to(&order)
    }

    #[track_caller]
    pub(crate) fn permute_to(&self, order: &[usize]) -> Result<Self> {
        self.permute_named("PermuteBackward0", order)
    }

    #[track_caller]
    fn permute_named(&self, label: impl Into<Label>, order: &[usize]) -> Result<Self> {
        let core = self.core();
        let shape: Dims = order.iter().map(|&dim| core.shape()[dim]).collect();
        let strides: Strides = order.iter().map(|&dim| core.strides()[dim]).collect();
        self.view_op(label, &shape, &strides, core.offset(), |_| {
            let mut inverse: Dims = smallvec![0; order.len()];
            for (to, &from) in order.iter().enumerate() {
                inverse[from] = to;
            }
            Inverse::Permute(inverse)
        })
    }

    /// Two dimensions exchanged, as a view.
    ///
    /// # Errors
    /// If a dimension is out of range.
    #[track_caller]
    pub fn transpose(&self, dim0: i64, dim1: i64) -> Result<Self> {
        let ndim = self.ndim();
        let (a, b) = (norm_dim(dim0, ndim)?, norm_dim(dim1, ndim)?);
        let mut order: Dims = (0..ndim).collect();
        if ndim > 0 {
            order.swap(a, b);
        }
        self.permute_named(("TransposeBackward0", [dim0, dim1]), &order)
    }

    /// The transpose of a matrix; vectors and scalars as they are.
    ///
    /// # Errors
    /// For more than two dimensions.
    #[track_caller]
    pub fn t(&self) -> Result<Self> {
        let ndim = self.ndim();
        ensure!(
            ndim <= 2,
            runtime,
            "t() expects a tensor with <= 2 dimensions, but self is {ndim}D"
        );
        let order: Dims = (0..ndim).rev().collect();
        self.permute_named("TBackward0", &order)
    }

    /// Broadcast to a larger shape, as a view; -1 keeps a size.
    ///
    /// # Errors
    /// If a size differs that is not one.
    #[track_caller]
    pub fn expand(&self, sizes: &[i64]) -> Result<Self> {
        let core = self.core();
        let (shape, strides) =
            crate::shape::expand(core.shape(), core.strides(), sizes, core.dtype())?;
        self.view_op("ExpandBackward0", &shape, &strides, core.offset(), |_| Inverse::Same)
    }

    #[track_caller]
    pub(crate) fn expand_to(&self, shape: &[usize]) -> Result<Self> {
        if self.core().shape() == shape {
            return Ok(self.clone());
        }
        let sizes: smallvec::SmallVec<[i64; 6]> = shape.iter().map(|&n| n as i64).collect();
        self.expand(&sizes)
    }

    /// Without the dimensions of size one: all, or those named.
    ///
    /// # Errors
    /// If a dimension is out of range.
    #[track_caller]
    pub fn squeeze(&self, dims: Option<&[i64]>) -> Result<Self> {
        let core = self.core();
        let ndim = core.shape().len();
        let mut drop: Dims = smallvec![0; ndim];
        match dims {
            None => drop.fill(1),
            Some(dims) => {
                for &dim in dims {
                    let dim = norm_dim(dim, ndim)?;
                    if ndim > 0 {
                        drop[dim] = 1;
                    }
                }
            }
        }
        let keep = |&dim: &usize| !(drop[dim] == 1 && core.shape()[dim] == 1);
        let shape: Dims = (0..ndim).filter(keep).map(|dim| core.shape()[dim]).collect();
        let strides: Strides = (0..ndim).filter(keep).map(|dim| core.strides()[dim]).collect();
        let label = match dims {
            None => Label::from("SqueezeBackward0"),
            Some(&[dim]) => Label::from(("SqueezeBackward1", [dim])),
            Some(_) => {
                let named = (0..ndim.min(64)).filter(|&dim| drop[dim] == 1);
                let mask = named.fold(0, |mask, dim| mask | 1i64 << dim);
                Label::from(("SqueezeBackward2", [mask]))
            }
        };
        self.view_op(label, &shape, &strides, core.offset(), |core| {
            Inverse::Reshape(Dims::from_slice(core.shape()))
        })
    }

    /// With a dimension of size one put in.
    ///
    /// # Errors
    /// If the place is out of range.
    #[track_caller]
    pub fn unsqueeze(&self, dim: i64) -> Result<Self> {
        let core = self.core();
        let label = ("UnsqueezeBackward0", [dim]);
        let dim = norm_dim(dim, core.shape().len() + 1)?;
        let (mut shape, mut strides) =
            (Dims::from_slice(core.shape()), Strides::from_slice(core.strides()));
        let stride = match shape.get(dim) {
            Some(&n) => n as isize * strides[dim],
            None => 1,
        };
        shape.insert(dim, 1);
        strides.insert(dim, stride);
        self.view_op(label, &shape, &strides, core.offset(), |core| {
            Inverse::Reshape(Dims::from_slice(core.shape()))
        })
    }

    /// Elements `start, start + step, ...` before `end` of one dimension, as a view. `start` and
    /// `end` count from the end when negative and are clamped, as Python's slices are.
    ///
    /// # Errors
    /// If the dimension is out of range or the step is not positive.
    #[track_caller]
    pub fn slice(&self, dim: i64, start: i64, end: i64, step: i64) -> Result<Self> {
        let core = self.core();
        ensure!(!core.shape().is_empty(), runtime, "slice() cannot be applied to a 0-dim tensor.");
        ensure!(step > 0, runtime, "slice step must be positive");
        let label = ("SliceBackward0", [dim, start, end, step]);
        let dim = norm_dim(dim, core.shape().len())?;
        let n = core.shape()[dim] as i64;
        let clamp = |at: i64| if at < 0 { (at + n).max(0) } else { at.min(n) };
        let (start, end) = (clamp(start), clamp(end));
        let len = if end > start { (end - start + step - 1) / step } else { 0 };
        let (mut shape, mut strides) =
            (Dims::from_slice(core.shape()), Strides::from_slice(core.strides()));
        let offset = core.offset() + start as isize * strides[dim];
        shape[dim] = len as usize;
        strides[dim] *= step as isize;
        self.view_op(label, &shape, &strides, offset, |core| {
            Self::scatter_inverse(core, |geometry| {
                geometry.offset += start as isize * geometry.strides[dim];
                geometry.shape[dim] = len as usize;
                geometry.strides[dim] *= step as isize;
            })
        })
    }

    /// One index of one dimension, as a view without that dimension.
    ///
    /// # Errors
    /// If dimension or index are out of range.
    #[track_caller]
    pub fn select(&self, dim: i64, index: i64) -> Result<Self> {
        let core = self.core();
        let ndim = core.shape().len();
        ensure!(ndim > 0, index, "select() cannot be applied to a 0-dim tensor.");
        let at = norm_dim(dim, ndim)?;
        let n = core.shape()[at] as i64;
        ensure!(
            (-n..n).contains(&index),
            index,
            "select(): index {index} out of range for tensor of size {} at dimension {dim}",
            crate::shape::shape_text(core.shape())
        );
        let label = ("SelectBackward0", [dim, index]);
        let index = if index < 0 { index + n } else { index } as isize;
        let (mut shape, mut strides) =
            (Dims::from_slice(core.shape()), Strides::from_slice(core.strides()));
        shape.remove(at);
        let offset = core.offset() + index * strides.remove(at);
        self.view_op(label, &shape, &strides, offset, |core| {
            Self::scatter_inverse(core, |geometry| {
                geometry.shape.remove(at);
                geometry.offset += index * geometry.strides.remove(at);
            })
        })
    }

    /// The diagonal `offset` of two dimensions, as a view with the diagonal as last dimension.
    ///
    /// # Errors
    /// If a dimension is out of range or the two are the same.
    #[track_caller]
    pub fn diagonal(&self, offset: i64, dim1: i64, dim2: i64) -> Result<Self> {
        let core = self.core();
        let ndim = core.shape().len();
        let (a, b) = (norm_dim(dim1, ndim)?, norm_dim(dim2, ndim)?);
        ensure!(a != b, runtime, "diagonal dimensions cannot be identical {dim1}, {dim2}");
        let (n, m) = (core.shape()[a] as i64, core.shape()[b] as i64);
        let len = if offset >= 0 { n.min(m - offset) } else { (n + offset).min(m) }.max(0) as usize;
        let change = move |geometry: &mut Geometry| {
            let (sa, sb) = (geometry.strides[a], geometry.strides[b]);
            if len > 0 {
                geometry.offset +=
                    if offset >= 0 { offset as isize * sb } else { -offset as isize * sa };
            }
            for dim in [a.max(b), a.min(b)] {
                geometry.shape.remove(dim);
                geometry.strides.remove(dim);
            }
            geometry.shape.push(len);
            geometry.strides.push(sa + sb);
        };
        let mut view = Geometry::of(&core);
        change(&mut view);
        let label = ("DiagonalBackward0", [offset, dim1, dim2]);
        self.view_op(label, &view.shape, &view.strides, view.offset, |core| {
            Self::scatter_inverse(core, change)
        })
    }

    /// Windows of `size` elements every `step` along a dimension, as a view with the window as last
    /// dimension.
    ///
    /// # Errors
    /// If the dimension is out of range, the window too large, or the step not positive.
    #[track_caller]
    pub fn unfold(&self, dim: i64, size: usize, step: usize) -> Result<Self> {
        let core = self.core();
        let ndim = core.shape().len();
        let at = norm_dim(dim, ndim)?;
        let n = core.shape().get(at).copied().unwrap_or(1);
        ensure!(
            size <= n,
            runtime,
            "maximum size for tensor at dimension {at} is {n} but size is {size}"
        );
        ensure!(step > 0, runtime, "step is {step} but must be > 0");
        let windows = (n - size) / step + 1;
        let change = move |geometry: &mut Geometry| {
            if ndim == 0 {
                geometry.shape.push(size);
                geometry.strides.push(1);
            } else {
                let stride = geometry.strides[at];
                geometry.shape[at] = windows;
                geometry.strides[at] = stride * step as isize;
                geometry.shape.push(size);
                geometry.strides.push(stride);
            }
        };
        let mut view = Geometry::of(&core);
        change(&mut view);
        let label = ("UnfoldBackward0", [dim, size as i64, step as i64]);
        self.view_op(label, &view.shape, &view.strides, view.offset, |core| {
            Self::scatter_inverse(core, change)
        })
    }

    /// Any sizes and strides over the same buffer.
    ///
    /// # Errors
    /// If they leave the buffer or are negative.
    #[track_caller]
    pub fn as_strided(
        &self,
        shape: &[usize],
        strides: &[isize],
        offset: Option<isize>,
    ) -> Result<Self> {
        ensure!(shape.len() == strides.len(), runtime, "mismatch in length of strides and shape");
        ensure!(
            strides.iter().all(|&stride| stride >= 0),
            runtime,
            "as_strided: Negative strides are not supported at the moment, got strides: {:?}",
            strides
        );
        let core = self.core();
        let view = core.view(shape, strides, offset.unwrap_or(core.offset()))?;
        let output = self.make_view(view, Creation::now(Creation::Recorded));
        if recording1(self) {
            let rule = as_strided_rule(&core, &output.core());
            attach(Op::rule(rule), &[self], &[], &[&output])?;
        }
        Ok(output)
    }

    /// The tensor itself if dense and row-major, else a copy that is.
    ///
    /// # Errors
    /// If memory is short.
    #[track_caller]
    pub fn contiguous(&self) -> Result<Self> {
        if self.is_contiguous() { Ok(self.clone()) } else { self.copied() }
    }

    /// A dense copy, recorded.
    ///
    /// # Errors
    /// If memory is short.
    #[track_caller]
    pub fn copied(&self) -> Result<Self> {
        self.copied_into(copy_core(&self.core())?)
    }

    /// A copy whose dimensions lie in memory in the order of this tensor's.
    ///
    /// # Errors
    /// If memory is short.
    #[track_caller]
    pub fn cloned(&self) -> Result<Self> {
        self.copied_into(super::layout::copy_like(&self.shared_core())?)
    }

    #[track_caller]
    fn copied_into(&self, copy: std::sync::Arc<Core>) -> Result<Self> {
        let output = Self::from_core(copy);
        if recording1(self) {
            let rule = View { label: "CloneBackward0".into(), inverse: Inverse::Same };
            attach(Op::rule(rule), &[self], &[], &[&output])?;
        }
        Ok(output)
    }

    /// The same bytes as another dtype, as a view.
    ///
    /// # Errors
    /// If the last dimension does not hold whole elements of it.
    #[track_caller]
    pub fn view_dtype(&self, dtype: DType) -> Result<Self> {
        let core = self.core();
        let (from, to) = (core.dtype().size(), dtype.size());
        if core.dtype() == dtype {
            return self.alias();
        }
        let mut place = Geometry::of(&core);
        if from != to {
            ensure!(
                !place.shape.is_empty(),
                runtime,
                "self.dim() cannot be 0 to view {} as {} (different element sizes)",
                core.dtype().scalar_name(),
                dtype.scalar_name()
            );
            let last = place.shape.len() - 1;
            ensure!(
                place.strides[last] == 1 || place.shape[last] == 1 && from > to,
                runtime,
                "self.stride(-1) must be 1 to view {} as {} (different element sizes), but got {}",
                core.dtype().scalar_name(),
                dtype.scalar_name(),
                place.strides[last]
            );
            if from > to {
                let ratio = from / to;
                place.shape[last] *= ratio;
                for stride in &mut place.strides[..last] {
                    *stride *= ratio as isize;
                }
                place.offset *= ratio as isize;
            } else {
                let ratio = to / from;
                let whole = place.shape[last].is_multiple_of(ratio)
                    && place.offset % ratio as isize == 0
                    && place.strides[..last].iter().all(|stride| stride % ratio as isize == 0);
                ensure!(
                    whole,
                    runtime,
                    "self.size(-1), strides and offset must be divisible by {ratio} to view {} as \
                     {} (different element sizes)",
                    core.dtype().scalar_name(),
                    dtype.scalar_name()
                );
                place.shape[last] /= ratio;
                for stride in &mut place.strides[..last] {
                    *stride /= ratio as isize;
                }
                place.offset /= ratio as isize;
            }
        }
        let view = core.view_as(dtype, &place.shape, &place.strides, place.offset, false)?;
        Ok(Self::from_core(view))
    }

    /// A view of everything.
    ///
    /// # Errors
    /// Never in practice.
    #[track_caller]
    pub fn alias(&self) -> Result<Self> {
        let core = self.core();
        self.view_op("AliasBackward0", core.shape(), core.strides(), core.offset(), |_| {
            Inverse::Same
        })
    }

    /// Converted to another dtype; the tensor itself if it has that dtype.
    ///
    /// # Errors
    /// If memory is short.
    #[track_caller]
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        if self.dtype() == dtype {
            return Ok(self.clone());
        }
        let core = self.core();
        let block = copy::cast_block(core.dtype(), dtype);
        let output = crate::launch::blocks::map(block, &[0.0; 2], dtype, core.shape(), &[&core])?;
        let output = Self::from_core(output);
        if dtype.is_float() && recording1(self) {
            let rule =
                View { label: "ToCopyBackward0".into(), inverse: Inverse::Cast(core.dtype()) };
            attach(Op::rule(rule), &[self], &[], &[&output])?;
        }
        Ok(output)
    }

    /// A constant in place of this tensor, whose gradient is zero (for `fill_`).
    #[track_caller]
    pub(crate) fn filled_with(&self, value: &Self, name: &'static str) -> Result<Self> {
        let output = Self::from_core(copy_core(&value.expand_to(&self.shape())?.core())?);
        attach(Op::rule(Overwrite(name)), &[self], &[], &[&output])?;
        Ok(output)
    }

    /// `source` in place of this tensor, whose gradient is zero (for `copy_`).
    #[track_caller]
    pub(crate) fn overwritten_by(&self, source: &Self) -> Result<Self> {
        let from = source.detach().expand_to(&self.shape())?;
        let output = Self::from_core(copy_core(&from.core())?).to_dtype(self.dtype())?;
        attach(Op::rule(Overwrite("CopyBackwards")), &[self, source], &[], &[&output])?;
        Ok(output)
    }
}

impl Tensor {
    /// The edge of this tensor if `result` is put in its place, whatever it was computed from.
    #[track_caller]
    pub(crate) fn overwritten_edge(&self, result: &Self) -> Result<Edge> {
        let node =
            attach_node(Op::rule(Overwrite("CopyBackwards")), &[self, result], &[], &[self])?;
        Ok(Edge { node: Some(node), out: 0 })
    }
}

/// The old contents do not matter; the gradient goes to the source, if there is one.
struct Overwrite(&'static str);

impl Rule for Overwrite {
    fn name(&self) -> &str {
        self.0
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(GradList::new()) };
        let old = cx.needs(0).then(|| Tensor::zeros_like(grad)).transpose()?;
        let source = cx.needs(1).then(|| grad.clone());
        Ok(smallvec![old, source])
    }
}

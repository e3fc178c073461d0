//! Joining tensors, and taking them apart into several views.

use smallvec::{SmallVec, smallvec};

use super::strided::Geometry;
use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::Scalar;
use crate::error::{Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{attach, recording, recording1};
use crate::kernels::copy;
use crate::launch::blocks::{join, run_into};
use crate::shape::{Dims, norm_dim, shape_text};
use crate::storage::Core;
use crate::tensor::{Creation, Tensor};

struct Cat {
    dim: usize,
    /// Where each input starts; `None` for old-style empty ones, which take no part.
    parts: Vec<Option<(usize, usize)>>,
}

impl Rule for Cat {
    fn name(&self) -> &'static str {
        "CatBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "dim").then_some(SavedValue::Int(self.dim as i64))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(GradList::new()) };
        let part = |(i, part): (usize, &Option<(usize, usize)>)| -> Result<Option<Tensor>> {
            match part {
                _ if !cx.needs(i) => Ok(None),
                None => Ok(Some(Tensor::zeros(&[0], grad.dtype())?)),
                Some((start, len)) => {
                    grad.slice(self.dim as i64, *start as i64, (start + len) as i64, 1).map(Some)
                }
            }
        };
        self.parts.iter().enumerate().map(part).collect()
    }
}

/// Copies tensors side by side into a fresh core, if all are dense and of its dtype.
fn join_dense<'a>(
    out: &Core,
    tensors: impl Iterator<Item = &'a Tensor> + Clone,
    outer: usize,
) -> bool {
    let fits = |tensor: &Tensor| {
        let core = tensor.core();
        core.dtype() == out.dtype() && core.is_contiguous()
    };
    if !tensors.clone().all(fits) {
        return false;
    }
    let cores: SmallVec<[_; 8]> = tensors.map(Tensor::shared_core).collect();
    let parts: SmallVec<[&Core; 8]> = cores.iter().map(|core| &**core).collect();
    join(out, &parts, outer)
}

/// Tensors one after the other along a dimension.
///
/// # Errors
/// If there are none, or their other sizes differ.
#[track_caller]
pub fn cat(tensors: &[&Tensor], dim: i64) -> Result<Tensor> {
    let Some(first) = tensors.first() else {
        crate::error::bail!(value, "torch.cat(): expected a non-empty list of Tensors");
    };
    let skipped = |tensor: &Tensor| *tensor.core().shape() == [0];
    for (i, tensor) in tensors.iter().enumerate() {
        ensure!(
            tensor.ndim() > 0,
            runtime,
            "zero-dimensional tensor (at position {i}) cannot be concatenated"
        );
    }
    let lead = *tensors.iter().find(|tensor| !skipped(tensor)).unwrap_or(first);
    let dim = norm_dim(dim, lead.ndim())?;
    let mut dtype = first.dtype();
    let mut shape = lead.shape();
    let mut total = 0;
    let mut parts = Vec::with_capacity(tensors.len());
    for (i, tensor) in tensors.iter().enumerate() {
        dtype = dtype.promote(tensor.dtype());
        if skipped(tensor) {
            parts.push(None);
            continue;
        }
        let core = tensor.core();
        ensure!(
            core.shape().len() == shape.len(),
            runtime,
            "Tensors must have same number of dimensions: got {} and {}",
            shape.len(),
            core.shape().len()
        );
        for (d, (&n, &m)) in core.shape().iter().zip(&shape).enumerate() {
            ensure!(
                d == dim || n == m,
                runtime,
                "Sizes of tensors must match except in dimension {dim}. Expected size {m} but got \
                 size {n} for tensor number {i} in the list."
            );
        }
        parts.push(Some((total, core.shape()[dim])));
        total += core.shape()[dim];
    }
    shape[dim] = total;
    let out = Core::alloc(dtype, &shape)?;
    let joined = join_dense(
        &out,
        tensors.iter().zip(&parts).filter(|(_, part)| part.is_some()).map(|(tensor, _)| *tensor),
        shape[..dim].iter().product(),
    );
    for (tensor, part) in tensors.iter().zip(&parts).filter(|_| !joined) {
        let Some((start, len)) = part else { continue };
        let core = tensor.core();
        if core.numel() == 0 {
            continue;
        }
        shape[dim] = *len;
        let place = out.view(&shape, out.strides(), *start as isize * out.strides()[dim])?;
        run_into(copy::cast_block(core.dtype(), dtype), &[0.0; 2], &place, &[&core])?;
    }
    let output = Tensor::from_core(out);
    if dtype.is_float() && recording(tensors) {
        attach(Op::rule(Cat { dim, parts }), tensors, &[], &[&output])?;
    }
    Ok(output)
}

/// Tensors of one shape along a new dimension.
///
/// # Errors
/// If there are none, or their shapes differ.
#[track_caller]
pub fn stack(tensors: &[&Tensor], dim: i64) -> Result<Tensor> {
    ensure!(!tensors.is_empty(), runtime, "stack expects a non-empty TensorList");
    let first = tensors[0].shape();
    norm_dim(dim, first.len() + 1)?;
    for (i, tensor) in tensors.iter().enumerate() {
        ensure!(
            tensor.shape() == first,
            runtime,
            "stack expects each tensor to be equal size, but got {} at entry 0 and {} at entry {i}",
            shape_text(&first),
            shape_text(&tensor.shape())
        );
    }
    let dim = norm_dim(dim, first.len() + 1)?;
    let dtype = tensors.iter().fold(tensors[0].dtype(), |dtype, t| dtype.promote(t.dtype()));
    let output = if first.is_empty() {
        let numbers: Vec<Scalar> = tensors.iter().map(|t| t.item()).collect::<Result<_>>()?;
        Tensor::from_scalars(&numbers, &[tensors.len()], dtype)?
    } else {
        let mut shape = first.clone();
        shape.insert(dim, tensors.len());
        let out = Core::alloc(dtype, &shape)?;
        let mut strides = crate::shape::Strides::from_slice(out.strides());
        let step = strides.remove(dim);
        let joined = join_dense(&out, tensors.iter().copied(), first[..dim].iter().product());
        for (i, tensor) in tensors.iter().enumerate().filter(|(_, t)| !joined && t.numel() > 0) {
            let core = tensor.core();
            let place = out.view(&first, &strides, i as isize * step)?;
            run_into(copy::cast_block(core.dtype(), dtype), &[0.0; 2], &place, &[&core])?;
        }
        Tensor::from_core(out)
    };
    if dtype.is_float() && recording(tensors) {
        let rule = Stack { dim: dim as i64, n: tensors.len() };
        attach(Op::rule(rule), tensors, &[], &[&output])?;
    }
    Ok(output)
}

struct Stack {
    dim: i64,
    n: usize,
}

impl Rule for Stack {
    fn name(&self) -> &'static str {
        "StackBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "dim").then_some(SavedValue::Int(self.dim))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(GradList::new()) };
        let part = |i: usize| cx.needs(i).then(|| grad.select(self.dim, i as i64)).transpose();
        (0..self.n).map(part).collect()
    }
}

struct Apart {
    name: &'static str,
    dim: i64,
    shapes: Vec<Dims>,
    stacked: bool,
}

impl Rule for Apart {
    fn name(&self) -> &'static str {
        self.name
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        let along = |shape: &Dims| shape.get(self.dim as usize).copied().unwrap_or(0);
        match (name, self.name) {
            ("dim", _) => Some(SavedValue::Int(self.dim)),
            ("split_size", "SplitBackward0" | "UnsafeSplitBackward0") => {
                Some(SavedValue::Int(self.shapes.first().map_or(0, along) as i64))
            }
            ("split_sizes", "SplitWithSizesBackward0" | "UnsafeSplitWithSizesBackward0") => {
                Some(SavedValue::Sizes(self.shapes.iter().map(along).collect()))
            }
            _ => None,
        }
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(some) = grads.iter().flatten().next() else { return Ok(smallvec![None]) };
        let dtype = some.dtype();
        let parts: Vec<Tensor> = self
            .shapes
            .iter()
            .enumerate()
            .map(|(i, shape)| match grads.get(i) {
                Some(Some(grad)) => Ok(grad.clone()),
                _ => Tensor::zeros(shape, dtype),
            })
            .collect::<Result<_>>()?;
        let parts: Vec<&Tensor> = parts.iter().collect();
        let whole = if self.stacked { stack(&parts, self.dim)? } else { cat(&parts, self.dim)? };
        Ok(smallvec![Some(whole)])
    }
}

/// The most views that one call makes, most of them of nothing: a bound on memory.
const MOST_VIEWS: i64 = 1 << 24;

fn countable(name: &str, views: i64) -> Result<()> {
    ensure!(
        views <= MOST_VIEWS,
        runtime,
        "{name}: {views} views are too many (at most {MOST_VIEWS})"
    );
    Ok(())
}

impl Tensor {
    #[track_caller]
    fn apart(
        &self,
        name: &'static str,
        dim: usize,
        parts: &[Geometry],
        stacked: bool,
    ) -> Result<Vec<Self>> {
        let core = self.core();
        let mut outputs = Vec::with_capacity(parts.len());
        for part in parts {
            outputs.push(if name.starts_with("Unsafe") {
                // Neither views nor of one version, though they share the memory.
                let (shape, strides) = (&part.shape, &part.strides);
                let part = core.view_as(core.dtype(), shape, strides, part.offset, true)?;
                Self::from_core(part)
            } else {
                let view = core.view(&part.shape, &part.strides, part.offset)?;
                self.make_view(view, Creation::now(Creation::Multi))
            });
        }
        if recording1(self) && !outputs.is_empty() {
            let shapes = parts.iter().map(|part| part.shape.clone()).collect();
            let rule = Apart { name, dim: dim as i64, shapes, stacked };
            let outputs: Vec<&Self> = outputs.iter().collect();
            attach(Op::rule(rule), &[self], &[], &outputs)?;
        }
        Ok(outputs)
    }

    #[track_caller]
    fn cut(&self, name: &'static str, dim: usize, bounds: &[(usize, usize)]) -> Result<Vec<Self>> {
        let whole = Geometry::of(&self.core());
        let parts: Vec<Geometry> = bounds
            .iter()
            .map(|&(start, len)| {
                let mut part = whole.clone();
                part.shape[dim] = len;
                part.offset += start as isize * part.strides[dim];
                part
            })
            .collect();
        self.apart(name, dim, &parts, false)
    }

    /// Views of `size` indices each along a dimension (the last may be shorter).
    ///
    /// # Errors
    /// If the size is negative, or zero for a dimension that is not.
    #[track_caller]
    pub fn split(&self, size: i64, dim: i64) -> Result<Vec<Self>> {
        self.split_as("SplitBackward0", size, dim)
    }

    /// [`Self::split`] into tensors that are no views and count versions of their own, though they
    /// share the memory: none may be written where another is needed.
    ///
    /// # Errors
    /// As [`Self::split`].
    #[track_caller]
    pub fn unsafe_split(&self, size: i64, dim: i64) -> Result<Vec<Self>> {
        self.split_as("UnsafeSplitBackward0", size, dim)
    }

    #[track_caller]
    fn split_as(&self, node: &'static str, size: i64, dim: i64) -> Result<Vec<Self>> {
        ensure!(self.ndim() > 0, runtime, "split expects at least a 1-dimensional tensor");
        ensure!(
            size >= 0,
            runtime,
            "split expects split_size be non-negative, but got split_size={size}"
        );
        let dim = norm_dim(dim, self.ndim())?;
        let n = self.core().shape()[dim];
        ensure!(
            size > 0 || n == 0,
            runtime,
            "split_size can only be 0 if dimension size is 0, but got dimension size of {n}"
        );
        let size = size as usize;
        let count = if size == 0 { 1 } else { n.div_ceil(size).max(1) };
        let bounds: Vec<(usize, usize)> =
            (0..count).map(|i| (i * size, size.min(n - i * size))).collect();
        self.cut(node, dim, &bounds)
    }

    /// Views of the sizes given along a dimension.
    ///
    /// # Errors
    /// If the sizes do not sum to the dimension's.
    #[track_caller]
    pub fn split_with_sizes(&self, sizes: &[i64], dim: i64) -> Result<Vec<Self>> {
        self.split_with_sizes_as("SplitWithSizesBackward0", sizes, dim)
    }

    /// [`Self::split_with_sizes`], as [`Self::unsafe_split`].
    ///
    /// # Errors
    /// As [`Self::split_with_sizes`].
    #[track_caller]
    pub fn unsafe_split_with_sizes(&self, sizes: &[i64], dim: i64) -> Result<Vec<Self>> {
        self.split_with_sizes_as("UnsafeSplitWithSizesBackward0", sizes, dim)
    }

    #[track_caller]
    fn split_with_sizes_as(
        &self,
        node: &'static str,
        sizes: &[i64],
        dim: i64,
    ) -> Result<Vec<Self>> {
        ensure!(self.ndim() > 0, runtime, "split expects at least a 1-dimensional tensor");
        let dim = norm_dim(dim, self.ndim())?;
        let n = self.core().shape()[dim];
        ensure!(
            sizes.iter().all(|&size| size >= 0),
            runtime,
            "split_with_sizes expects split_sizes have only non-negative entries, but got \
             split_sizes={sizes:?}"
        );
        ensure!(
            sizes.iter().sum::<i64>() == n as i64,
            runtime,
            "split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at \
             dimension {dim}), but got split_sizes={sizes:?}"
        );
        let mut start = 0;
        let mut bounds = Vec::with_capacity(sizes.len());
        for &size in sizes {
            bounds.push((start, size as usize));
            start += size as usize;
        }
        self.cut(node, dim, &bounds)
    }

    /// At most `chunks` views of one size along a dimension (the last may be shorter).
    ///
    /// # Errors
    /// If `chunks` is not positive.
    #[track_caller]
    pub fn chunk(&self, chunks: i64, dim: i64) -> Result<Vec<Self>> {
        ensure!(self.ndim() > 0, runtime, "chunk expects at least a 1-dimensional tensor");
        ensure!(chunks > 0, runtime, "chunk expects `chunks` to be greater than 0, got: {chunks}");
        let at = norm_dim(dim, self.ndim())?;
        let n = self.core().shape()[at];
        let size = n.div_ceil(chunks as usize);
        if size == 0 {
            countable("chunk", chunks)?;
            return self.split_with_sizes(&vec![0; chunks as usize], dim);
        }
        self.split(size as i64, dim)
    }

    /// Views between the indices given along a dimension, as Python slices.
    ///
    /// # Errors
    /// If the dimension is out of range.
    #[track_caller]
    pub fn tensor_split_at(&self, indices: &[i64], dim: i64) -> Result<Vec<Self>> {
        ensure!(self.ndim() > 0, runtime, "tensor_split expected at least a 1-dimensional tensor");
        let at = norm_dim(dim, self.ndim())?;
        let n = self.core().shape()[at] as i64;
        let mut outputs = Vec::with_capacity(indices.len() + 1);
        let mut start = 0;
        for &end in indices.iter().chain(&[n]) {
            outputs.push(self.slice(at as i64, start, end, 1)?);
            start = end;
        }
        Ok(outputs)
    }

    /// Exactly `sections` views along a dimension, the first ones longer by one.
    ///
    /// # Errors
    /// If `sections` is not positive.
    #[track_caller]
    pub fn tensor_split(&self, sections: i64, dim: i64) -> Result<Vec<Self>> {
        ensure!(self.ndim() > 0, runtime, "tensor_split expected at least a 1-dimensional tensor");
        ensure!(sections > 0, runtime, "number of sections must be larger than 0, got {sections}");
        countable("tensor_split", sections)?;
        let at = norm_dim(dim, self.ndim())?;
        let n = self.core().shape()[at] as i64;
        let (size, longer) = (n / sections, n % sections);
        let indices: Vec<i64> = (1..sections).map(|i| i * size + i.min(longer)).collect();
        self.tensor_split_at(&indices, dim)
    }

    /// One view per index of a dimension, without that dimension.
    ///
    /// # Errors
    /// If the dimension is out of range.
    #[track_caller]
    pub fn unbind(&self, dim: i64) -> Result<Vec<Self>> {
        let ndim = self.ndim();
        ensure!(ndim > 0, index, "Dimension specified as {dim} but tensor has no dimensions");
        let dim = norm_dim(dim, ndim)?;
        let mut part = Geometry::of(&self.core());
        let n = part.shape.remove(dim);
        let stride = part.strides.remove(dim);
        let parts: Vec<Geometry> = (0..n as isize)
            .map(|i| Geometry { offset: part.offset + i * stride, ..part.clone() })
            .collect();
        self.apart("UnbindBackward0", dim, &parts, true)
    }

    /// A copy with dimensions reversed.
    ///
    /// # Errors
    /// If a dimension is out of range or named twice.
    #[track_caller]
    pub fn flip(&self, dims: &[i64]) -> Result<Self> {
        let core = self.core();
        let mut place = Geometry::of(&core);
        let dims = crate::shape::norm_dims(dims, place.shape.len())?;
        if core.numel() > 0 && !place.shape.is_empty() {
            for &dim in &dims {
                place.offset += (place.shape[dim] as isize - 1) * place.strides[dim];
                place.strides[dim] = -place.strides[dim];
            }
        }
        let view = core.view(&place.shape, &place.strides, place.offset)?;
        let output = super::layout::alloc_like(core.dtype(), &core)?;
        let block = copy::copy_block(core.dtype().size());
        run_into(block, &[0.0; 2], &output, &[&view])?;
        let output = Self::from_core(output);
        if recording1(self) {
            let dims = dims.iter().map(|&dim| dim as i64).collect();
            attach(Op::rule(Flip(dims)), &[self], &[], &[&output])?;
        }
        Ok(output)
    }
}

struct Flip(Vec<i64>);

impl Rule for Flip {
    fn name(&self) -> &'static str {
        "FlipBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "dims")
            .then(|| SavedValue::Sizes(self.0.iter().map(|&dim| dim as usize).collect()))
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let grad = grads[0].as_ref().map(|grad| grad.flip(&self.0)).transpose()?;
        Ok(smallvec![grad])
    }
}

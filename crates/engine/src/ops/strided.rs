//! Parts of a buffer as gradients see them: gathered anew by strides, cut out of a base and put back.

use super::{Cx, Op, Rule, SavedValue};
use crate::error::Result;
use crate::graph::hooks::GradList;
use crate::graph::node::{Part, Role};
use crate::graph::{Edge, NodeRef, attach, attach_node, recording1};
use crate::kernels::copy;
use crate::launch::blocks::{copy_core, run_into};
use crate::shape::{Dims, Strides, contiguous_strides};
use crate::storage::Core;
use crate::tensor::Tensor;
use smallvec::smallvec;
use std::sync::Arc;

/// Sizes, strides and position in a buffer, all in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub(crate) shape: Dims,
    pub(crate) strides: Strides,
    pub(crate) offset: isize,
}

impl Geometry {
    pub(crate) fn of(core: &Core) -> Self {
        Self {
            shape: Dims::from_slice(core.shape()),
            strides: Strides::from_slice(core.strides()),
            offset: core.offset(),
        }
    }

    pub(crate) fn dense(shape: &[usize]) -> Self {
        Self { shape: Dims::from_slice(shape), strides: contiguous_strides(shape), offset: 0 }
    }

    /// One past the last element it reaches.
    pub(super) fn end(&self) -> usize {
        if self.shape.contains(&0) {
            return 0;
        }
        let reach: isize = self
            .shape
            .iter()
            .zip(&self.strides)
            .map(|(&n, &stride)| ((n as isize - 1) * stride).max(0))
            .sum();
        (self.offset + reach + 1).max(0) as usize
    }

    /// Whether several indices may reach one element: exact for what views make, careful else.
    pub(crate) fn overlaps(&self) -> bool {
        let mut dims: Vec<(isize, usize)> = self
            .strides
            .iter()
            .zip(&self.shape)
            .filter(|&(_, &n)| n > 1)
            .map(|(&stride, &n)| (stride.abs(), n))
            .collect();
        dims.sort_unstable();
        let mut reach = 0;
        for (stride, n) in dims {
            if stride <= reach {
                return true;
            }
            reach += stride * (n as isize - 1);
        }
        false
    }
}

/// Moves elements from one geometry of a notional zero-filled buffer to another: a linear map
/// whose transpose is itself with the geometries exchanged. Elements reached several times add up.
pub(crate) fn regather(input: &Tensor, from: &Geometry, to: &Geometry) -> Result<Tensor> {
    let dtype = input.dtype();
    let len = from.end().max(to.end());
    let dense = *from == Geometry::dense(&from.shape) && input.is_contiguous();
    let output = if dense && to.end() <= from.end() {
        let source = input.shared_core();
        let span = source.offset();
        let view = source.view(&to.shape, &to.strides, to.offset + span)?;
        copy_core(&view)?
    } else {
        let buffer = Tensor::zeros(&[len], dtype)?.shared_core();
        let place = buffer.view(&from.shape, &from.strides, from.offset)?;
        let source = input.shared_core();
        if from.overlaps() {
            scatter_add_strided(&place, &source)?;
        } else {
            run_into(copy::copy_block(dtype.size()), &[0.0; 2], &place, &[&source])?;
        }
        let out = buffer.view(&to.shape, &to.strides, to.offset)?;
        if out.is_contiguous() && to.end() == len && to.offset == 0 {
            out
        } else {
            copy_core(&out)?
        }
    };
    let output = Tensor::from_core(output);
    if recording1(input) {
        let rule = Regather { from: from.clone(), to: to.clone() };
        attach(Op::rule(rule), &[input], &[], &[&output])?;
    }
    Ok(output)
}

/// Adds element by element, for geometries that reach one place several times.
pub(super) fn scatter_add_strided(place: &Arc<Core>, source: &Arc<Core>) -> Result<()> {
    let add = super::elementwise::add_block(place.dtype())?;
    let shape = place.shape();
    // Along every overlapping dimension one index at a time, the rest at once: along the one with the fewest of
    // those without which nothing overlaps.
    let overlaps_without = |dim: usize| {
        let mut rest = Geometry::of(place);
        rest.shape.remove(dim);
        rest.strides.remove(dim);
        rest.overlaps()
    };
    let split = shape
        .iter()
        .zip(place.strides())
        .enumerate()
        .filter(|&(_, (&n, _))| n > 1)
        .min_by_key(|&(dim, (&n, &stride))| {
            let overlaps = overlaps_without(dim);
            (overlaps, if overlaps { stride.unsigned_abs() } else { n })
        })
        .map_or(0, |(dim, _)| dim);
    let (mut rest, mut strides) = (Dims::from_slice(shape), Strides::from_slice(place.strides()));
    let n = rest.remove(split);
    let stride = strides.remove(split);
    let from = Strides::from_slice(source.strides());
    let mut from_rest = from.clone();
    from_rest.remove(split);
    for i in 0..n as isize {
        let to = place.view(&rest, &strides, place.offset() + i * stride)?;
        let part = source.view(&rest, &from_rest, source.offset() + i * from[split])?;
        if (Geometry { shape: rest.clone(), strides: strides.clone(), offset: 0 }).overlaps() {
            scatter_add_strided(&to, &part)?;
        } else {
            run_into(add, &[1.0, 0.0], &to, &[&to, &part])?;
        }
    }
    Ok(())
}

pub(super) struct Regather {
    from: Geometry,
    to: Geometry,
}

impl Rule for Regather {
    fn name(&self) -> &'static str {
        "AsStridedScatterBackward0"
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let grad =
            grads[0].as_ref().map(|grad| regather(grad, &self.to, &self.from)).transpose()?;
        Ok(smallvec![grad])
    }
}

/// The node of a view whose base was written in place since.
pub(crate) fn as_strided_edge(base: &Tensor, view: &Tensor) -> Result<Edge> {
    let rule = as_strided_rule(&base.core(), &view.core());
    let node = attach_node(Op::rule(rule), &[base], &[], &[view])?;
    Ok(Edge { node: Some(node), out: 0 })
}

#[derive(Clone)]
pub(super) struct AsStrided {
    base: Geometry,
    view: Geometry,
}

pub(super) fn as_strided_rule(base: &Core, view: &Core) -> AsStrided {
    let (mut base, mut view) = (Geometry::of(base), Geometry::of(view));
    let lowest = base.offset.min(view.offset);
    base.offset -= lowest;
    view.offset -= lowest;
    AsStrided { base, view }
}

impl Rule for AsStrided {
    fn name(&self) -> &'static str {
        "AsStridedBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        match name {
            "size" => Some(SavedValue::Sizes(self.view.shape.clone())),
            "stride" => {
                Some(SavedValue::Sizes(self.view.strides.iter().map(|&n| n as usize).collect()))
            }
            "storage_offset" => Some(SavedValue::Int(self.view.offset as i64)),
            _ => None,
        }
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let grad =
            grads[0].as_ref().map(|grad| regather(grad, &self.view, &self.base)).transpose()?;
        Ok(smallvec![grad])
    }
}

/// A write into a view, as its base sees it: the node that wrote, applied to one part.
pub(super) struct CopySlices {
    geometry: AsStrided,
    inner: NodeRef,
    out: u32,
}

impl Rule for CopySlices {
    fn name(&self) -> &'static str {
        "CopySlices"
    }
    fn is_foreign(&self) -> bool {
        self.inner.op.is_foreign()
    }
    fn num_inputs(&self) -> Option<usize> {
        Some(self.inner.num_inputs())
    }
    fn wrapped(&self) -> Option<NodeRef> {
        Some(self.inner.clone())
    }
    fn release(&self) {
        self.inner.release_saved();
    }
    fn runs_once(&self) -> bool {
        true
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(GradList::new()) };
        let AsStrided { base, view } = &self.geometry;
        // As in torch, which writes the part's gradient where the part was.
        let spread = view.shape.iter().zip(&view.strides).any(|(&n, &stride)| n > 1 && stride == 0);
        crate::error::ensure!(
            !(spread && cx.needs(0)),
            runtime,
            "unsupported operation: more than one element of the written-to tensor refers to a \
             single memory location. Please clone() the tensor before performing the operation."
        );
        let part = regather(grad, base, view)?;
        let mut outputs: GradList = smallvec![None; self.inner.num_outputs()];
        outputs[self.out as usize] = Some(part);
        let mut needs = 0;
        for i in 0..self.inner.edges().len().min(64) {
            needs |= u64::from(cx.needs(i)) << i;
        }
        let mut inner = super::vjp(&self.inner, self.inner.id(), outputs, needs, false)?;
        inner.resize(self.inner.edges().len(), None);
        if cx.needs(0) {
            let part = inner[0].take();
            let part = part.map(|part| part.sum_to_shape(&view.shape)).transpose()?;
            inner[0] = Some(replace_part(SLICE, grad, part.as_ref(), base, view)?);
        }
        Ok(inner)
    }
}

const SLICE: &str = "SliceScatterBackward0";

/// `grad` with the part that `view` shows replaced (by zeros if `part` is absent).
pub(super) fn replace_part(
    name: &'static str,
    grad: &Tensor,
    part: Option<&Tensor>,
    base: &Geometry,
    view: &Geometry,
) -> Result<Tensor> {
    let len = base.end().max(view.end());
    // Where the base is all there is every element is written.
    let buffer = if base.shape.iter().product::<usize>() == len && !base.overlaps() {
        Core::alloc(grad.dtype(), &[len])?
    } else {
        Tensor::zeros(&[len], grad.dtype())?.shared_core()
    };
    let copy = copy::copy_block(grad.dtype().size());
    let whole = buffer.view(&base.shape, &base.strides, base.offset)?;
    run_into(copy, &[0.0; 2], &whole, &[&grad.core()])?;
    let place = buffer.view(&view.shape, &view.strides, view.offset)?;
    match part {
        Some(part) => {
            let part = part.expand_to(&view.shape)?.to_dtype(grad.dtype())?;
            run_into(copy, &[0.0; 2], &place, &[&part.core()])?;
        }
        None => crate::launch::blocks::fill(&place, crate::Scalar::Int(0))?,
    }
    let output = Tensor::from_core(whole);
    let inputs = [Some(grad), part];
    let inputs: smallvec::SmallVec<[&Tensor; 2]> = inputs.into_iter().flatten().collect();
    if crate::graph::recording(&inputs) {
        let part = part.is_some();
        let rule = ReplacePart { name, base: base.clone(), view: view.clone(), part };
        attach(Op::rule(rule), &inputs, &[], &[&output])?;
    }
    Ok(output)
}

pub(super) struct ReplacePart {
    name: &'static str,
    part: bool,
    base: Geometry,
    view: Geometry,
}

impl Rule for ReplacePart {
    fn name(&self) -> &'static str {
        self.name
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(GradList::new()) };
        let whole = cx
            .needs(0)
            .then(|| replace_part(SLICE, grad, None, &self.base, &self.view))
            .transpose()?;
        let part = (self.part && cx.needs(1))
            .then(|| regather(grad, &self.base, &self.view))
            .transpose()?;
        Ok(if self.part { smallvec![whole, part] } else { smallvec![whole] })
    }
}

/// Whether a node keeps its own result.
fn saves_output(node: &NodeRef) -> Result<bool> {
    let mut found = false;
    node.for_saved(|saved| {
        found |= matches!(saved.role, Role::Output(_));
        Ok(())
    })?;
    Ok(found)
}

/// Gives the base of a view that was written in place its new history.
#[track_caller]
pub(crate) fn rebase_base(base: &Tensor, view: &Tensor, inner: NodeRef, out: u32) -> Result<()> {
    let geometry = as_strided_rule(&base.core(), &view.core());
    let saves_result = saves_output(&inner)?;
    let writer = inner.clone();
    let edges: Vec<Edge> = std::iter::once(base.gradient_edge())
        .chain(inner.edges().iter().skip(1).cloned())
        .collect();
    let rule = CopySlices { geometry, inner, out };
    let node = crate::graph::attach_edges(Op::rule(rule), edges, base)?;
    if saves_result {
        // A pass that is recorded must find the result where it is now: behind the base, not at the
        // node that wrote, which then would run both here and for itself.
        let part = as_strided_rule(&base.core(), &view.core());
        let cut = Box::new(move || Op::rule(part.clone()));
        let _ = writer.more().part.set(Part { base: node.downgrade(), cut });
    }
    let old = base.grad_fn().map(|(node, _)| node);
    base.set_edge(Edge { node: Some(node), out: 0 });
    base.move_retained(old.as_ref());
    Ok(())
}

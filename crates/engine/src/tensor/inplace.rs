//! Writing in place: versions, what saved tensors must survive, and the new history.

use std::sync::Arc;

use super::{Tensor, VIEW};
use smallvec::SmallVec;

use crate::dtype::Scalar;
use crate::error::{Result, ensure};
use crate::graph::node::Role;
use crate::graph::{Edge, NodeRef, Site};
use crate::kernels::copy;
use crate::launch::blocks::{copy_core, run_into};
use crate::shape::shape_text;
use crate::storage::Core;

impl Tensor {
    /// Runs an operation on this tensor and puts the result in its place.
    ///
    /// The operation is recorded as its out-of-place form is; what it saved of this tensor's old
    /// contents is kept in a copy, what it saved of its result refers to the new contents.
    ///
    /// # Errors
    /// If torch refuses the write (leaves that require a gradient, some views), or the result has
    /// another shape or a dtype that does not convert.
    #[track_caller]
    pub fn inplace(&self, op: &str, f: impl FnOnce(&Self) -> Result<Self>) -> Result<()> {
        self.check_write(op)?;
        let overwriting = crate::graph::Overwriting::new(&self.core());
        let hold = crate::graph::Hold::begin();
        let result = f(self)?;
        drop(overwriting);
        self.take_result(&result)?;
        hold.end()
    }

    /// Writes straight into the buffer, for operations that are not recorded.
    #[track_caller]
    pub(crate) fn write_through(
        &self,
        op: &str,
        write: impl FnOnce(&Core) -> Result<()>,
    ) -> Result<()> {
        self.check_write(op)?;
        let core = self.core();
        write(&core)?;
        core.bump_version(Site::here().0);
        Ok(())
    }

    fn check_write(&self, op: &str) -> Result<()> {
        self.check_target(op)?;
        ensure!(
            LENIENT.contains(&op) || !is_expanded(&self.core()),
            runtime,
            "unsupported operation: more than one element of the written-to tensor refers to a \
             single memory location. Please clone() the tensor before performing the operation."
        );
        Ok(())
    }

    /// [`Self::check_write`] for operations that may write one place several times.
    fn check_target(&self, op: &str) -> Result<()> {
        crate::graph::before_write(self)?;
        self.check_inplace(self.requires_grad())?;
        let core = self.core();
        ensure!(core.writable(), runtime, "{op}: the tensor shares memory that is read-only");
        self.check_inference()
    }

    /// Refuses to change an inference tensor elsewhere.
    pub(super) fn check_inference(&self) -> Result<()> {
        ensure!(
            !self.is_inference() || crate::graph::is_inference(),
            runtime,
            "Inplace update to inference tensor outside InferenceMode is not allowed.You can make \
             a clone to get a normal tensor before doing inplace update.See \
             https://github.com/pytorch/rfcs/pull/17 for more details."
        );
        Ok(())
    }

    /// Refuses to write into this tensor from one that shares a part of its memory.
    ///
    /// # Errors
    /// If both lie dense in one buffer and overlap without being the same elements in one order; of
    /// other layouts torch does not find out either, and results here do not depend on it.
    pub fn check_overlap(&self, input: &Self) -> Result<()> {
        let (this, other) = (self.core(), input.core());
        if !this.same_storage(&other) || this.numel() == 0 || other.numel() == 0 {
            return Ok(());
        }
        if !is_dense(&this) || !is_dense(&other) {
            return Ok(());
        }
        let range = |core: &Core| (core.offset(), core.offset() + core.numel() as isize);
        let (mine, theirs) = (range(&this), range(&other));
        let apart = mine.0 >= theirs.1 || theirs.0 >= mine.1;
        ensure!(
            apart || (mine == theirs && this.strides() == other.strides()),
            runtime,
            "unsupported operation: some elements of the input tensor and the written-to tensor \
             refer to a single memory location. Please clone() the tensor before performing the \
             operation."
        );
        Ok(())
    }

    #[track_caller]
    fn take_result(&self, result: &Self) -> Result<()> {
        let core = self.core();
        let new = result.core();
        ensure!(
            crate::shape::is_expandable_to(new.shape(), core.shape()),
            runtime,
            "output with shape {} doesn't match the broadcast shape {}",
            shape_text(core.shape()),
            shape_text(new.shape())
        );
        let (from, to) = (new.dtype(), core.dtype());
        ensure!(
            from.category() <= to.category(),
            runtime,
            "result type {} can't be cast to the desired output type {}",
            from.scalar_name(),
            to.scalar_name()
        );
        let fn_ = result.grad_fn();
        let first = !self.flag(VIEW) || fn_.as_ref().is_none_or(|(node, _)| self.comes_first(node));
        if let Some((node, _)) = &fn_ {
            if !self.requires_grad() {
                self.check_inplace(true)?;
            }
            // Before the old contents go. As in torch, only what is saved as the target itself is
            // kept: another input in the same memory is overwritten, and its use is an error.
            let keep = |saved: &mut crate::graph::node::Saved| -> Result<()> {
                if let (Role::Input(0) | Role::Private, Some(old)) = (saved.role, &saved.core) {
                    if old.same_storage(&core) && !result.core().same_storage(&core) {
                        let copy = copy_core(old)?;
                        saved.version = copy.version();
                        saved.core = Some(copy);
                    }
                }
                Ok(())
            };
            node.for_saved(keep)?;
        }
        if is_expanded(&core) {
            write_expanded(&self.shared_core(), &result.shared_core())?;
        } else if !Arc::ptr_eq(&new, &core) {
            write(&core, &new)?;
        }
        core.bump_version(Site::here().0);
        if let Some((node, out)) = fn_ {
            if from != to && node.num_outputs() == 1 {
                // Gradients arrive in the dtype of what was overwritten.
                let meta = crate::graph::node::OutMeta::new(to, core.shape());
                let _ = node.more().written.set(meta);
            }
            let version = core.version();
            node.for_saved(|saved| {
                if let (Role::Output(_), Some(old)) = (saved.role, &saved.core) {
                    if Arc::ptr_eq(old, &new) && from == to {
                        saved.core = Some(core.clone());
                        saved.version = version;
                    }
                }
                Ok(())
            })?;
            let edge = Edge { node: Some(node), out };
            if !first {
                // The base's history takes its own gradient from the first input.
                let result = Self::with_edge(result.shared_core(), edge);
                let edge = self.overwritten_edge(&result)?;
                return self.rebase(edge);
            }
            self.rebase(edge)?;
        }
        Ok(())
    }

    /// Whether the first input of a node is this tensor as it is.
    fn comes_first(&self, node: &NodeRef) -> bool {
        match (self.grad_fn(), node.edges().first()) {
            (Some((node, out)), Some(first)) => {
                first.out == out && first.node.as_ref().is_some_and(|own| own.id() == node.id())
            }
            (None, first) => first.is_none_or(|first| first.node.is_none()),
            (Some(_), None) => false,
        }
    }

    /// Gives the tensor a new history; for a view, also its base.
    #[track_caller]
    pub(crate) fn rebase(&self, edge: Edge) -> Result<()> {
        if self.flag(VIEW) {
            if let (Some(base), Some(node)) = (self.base(), edge.node) {
                let hold = crate::graph::Hold::begin();
                crate::ops::strided::rebase_base(&base, self, node.clone(), edge.out)?;
                let fresh = crate::ops::strided::as_strided_edge(&base, self)?;
                self.set_view_edge(fresh);
                crate::graph::creation::settle_view_write(&node);
                return hold.end();
            }
            return Ok(());
        }
        let old = self.grad_fn().map(|(node, _)| node);
        self.set_edge(edge);
        self.move_retained(old.as_ref());
        Ok(())
    }

    /// Adds without any autograd, in the same shape and dtype: only for buffers that are known to be fit for
    /// it.
    pub(crate) fn add_into(&self, other: &Self) -> Result<()> {
        let (core, grad) = (self.core(), other.core());
        let block = crate::ops::elementwise::add_block(core.dtype())?;
        run_into(block, &[1.0, 0.0], &core, &[&core, &grad])?;
        core.bump_version(0);
        Ok(())
    }

    /// Writes one value everywhere.
    ///
    /// # Errors
    /// As [`Self::inplace`].
    #[track_caller]
    pub fn fill_(&self, value: Scalar) -> Result<()> {
        self.fill_as(value, "FillBackward2")
    }

    #[track_caller]
    fn fill_as(&self, value: Scalar, node: &'static str) -> Result<()> {
        self.check_target("fill_")?;
        let dtype = self.dtype();
        if !crate::graph::recording1(self) {
            crate::launch::blocks::fill(&self.core(), value)?;
            self.core().bump_version(Site::here().0);
            return Ok(());
        }
        let value = Self::from_scalar(value, dtype)?;
        self.inplace("fill_", |this| this.filled_with(&value, node))
    }

    /// Writes zeros everywhere.
    ///
    /// # Errors
    /// As [`Self::inplace`].
    #[track_caller]
    pub fn zero_(&self) -> Result<()> {
        self.fill_as(Scalar::Int(0), "ZeroBackward0")
    }

    /// Copies `source`, broadcast and cast, into this tensor.
    ///
    /// # Errors
    /// As [`Self::inplace`], or if the source does not broadcast to this shape.
    #[track_caller]
    pub fn copy_(&self, source: &Self) -> Result<()> {
        let op = if is_same_place(&self.core(), &source.core()) { ONTO_ITSELF } else { "copy_" };
        self.check_write(op)?;
        if self.core().shape() == source.core().shape() {
            self.check_overlap(source)?;
        }
        if crate::graph::recording(&[self, source]) {
            return self.inplace(op, |this| this.overwritten_by(source));
        }
        let (core, from) = (self.core(), source.core());
        ensure!(
            crate::shape::is_expandable_to(from.shape(), core.shape()),
            runtime,
            "The expanded size of the tensor must match the existing size: copy_ of a tensor of \
             shape {} into one of shape {}",
            shape_text(from.shape()),
            shape_text(core.shape())
        );
        if op != ONTO_ITSELF {
            write(&core, &from)?;
        }
        core.bump_version(Site::here().0);
        Ok(())
    }

    /// Whether two tensors are the same elements in the same order.
    pub fn is_same_place(&self, other: &Self) -> bool {
        is_same_place(&self.core(), &other.core())
    }
}

/// Operations that torch lets write into expanded tensors.
const LENIENT: &[&str] =
    &["fill_", "masked_fill_", "index_put_", "index_fill_", "tril_", "triu_", ONTO_ITSELF];

/// A copy of elements onto themselves, which changes nothing, whatever lies where.
const ONTO_ITSELF: &str = "copy_ onto itself";

/// Whether two tensors are the same elements in the same order.
fn is_same_place(a: &Core, b: &Core) -> bool {
    a.same_storage(b)
        && a.dtype() == b.dtype()
        && a.offset() == b.offset()
        && a.shape() == b.shape()
        && a.strides() == b.strides()
}

/// Whether several indices reach one element, as in what `expand` gives.
pub(crate) fn is_expanded(core: &Core) -> bool {
    core.shape().iter().zip(core.strides()).any(|(&n, &stride)| n > 1 && stride == 0)
}

/// Puts a result in the place of an expanded tensor: where several elements share a place the last
/// that the operation changed is kept.
fn write_expanded(to: &Arc<Core>, from: &Arc<Core>) -> Result<()> {
    let old = Tensor::from_core(copy_core(to)?);
    let new = Tensor::from_core(from.clone()).to_dtype(to.dtype())?.expand_to(to.shape())?;
    put_changes(to, &new, &old)
}

fn put_changes(to: &Arc<Core>, new: &Tensor, old: &Tensor) -> Result<()> {
    use crate::ops::binary::Binary;
    let shared = (0..to.shape().len()).find(|&dim| to.shape()[dim] > 1 && to.strides()[dim] == 0);
    let Some(dim) = shared else {
        let now = Tensor::from_core(to.clone());
        let changed = new.binary(Binary::Ne, old, 1.0)?;
        return write(to, &changed.where_(new, &now)?.shared_core());
    };
    let (mut shape, mut strides) = (
        crate::shape::Dims::from_slice(to.shape()),
        crate::shape::Strides::from_slice(to.strides()),
    );
    let n = shape.remove(dim);
    strides.remove(dim);
    let place = to.view(&shape, &strides, to.offset())?;
    for i in 0..n as i64 {
        put_changes(&place, &new.select(dim as i64, i)?, &old.select(dim as i64, i)?)?;
    }
    Ok(())
}

/// Copies with broadcast and cast; overlapping memory through a temporary.
pub(crate) fn write(to: &Core, from: &Arc<Core>) -> Result<()> {
    if crate::launch::program::copy_into(from, to) {
        return Ok(());
    }
    if to.same_storage(from) {
        let temporary = copy_core(from)?;
        return run_into(copy::cast_block(from.dtype(), to.dtype()), &[0.0; 2], to, &[&temporary]);
    }
    run_into(copy::cast_block(from.dtype(), to.dtype()), &[0.0; 2], to, &[from])
}

impl Tensor {
    /// Takes the layout of a view of this tensor in place (`t_`, `squeeze_`): no element moves.
    ///
    /// # Errors
    /// If the view cannot be made, or a leaf that requires a gradient would change.
    #[track_caller]
    pub fn relayout(&self, view: impl FnOnce(&Self) -> Result<Self>) -> Result<()> {
        self.check_inplace(self.requires_grad())?;
        self.check_inference()?;
        let before = self.detach();
        // A handle with the old history, whose view carries the new one.
        let old = match self.grad_fn() {
            Some((node, out)) => {
                Self::with_edge(self.shared_core(), Edge { node: Some(node), out })
            }
            None => before,
        };
        let hold = crate::graph::Hold::begin();
        let new = view(&old)?;
        let edge = new.grad_fn();
        self.replace_core(new.shared_core());
        self.core().bump_version(Site::here().0);
        if let Some((node, out)) = edge {
            let edge = Edge { node: Some(node), out };
            if self.flag(VIEW) { self.set_view_edge(edge) } else { self.set_edge(edge) }
        }
        hold.end()
    }

    /// The address of the first element, as a number.
    pub fn data_address(&self) -> usize {
        let core = self.core();
        if core.numel() == 0 { 0 } else { core.address() }
    }
}

/// Whether the elements fill a range of memory, each place once, in whatever order of dimensions.
fn is_dense(core: &Core) -> bool {
    if core.is_contiguous() {
        return true;
    }
    let mut dims: SmallVec<[(isize, usize); 6]> = core
        .strides()
        .iter()
        .zip(core.shape())
        .filter(|&(_, &n)| n != 1)
        .map(|(&stride, &n)| (stride, n))
        .collect();
    dims.sort_unstable();
    let mut expected = 1;
    dims.iter().all(|&(stride, n)| {
        let fits = stride == expected;
        expected *= n as isize;
        fits
    })
}

//! The tensor handle: a [`Core`] and its autograd state. Its operations are in `ops`, by family.

mod convert;
mod create;
mod inplace;
pub mod random;
mod view;

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::dtype::DType;
use crate::error::{Result, ensure};
use crate::graph::hooks::{HookId, TensorHook};
use crate::graph::{Edge, Node, NodeRef, WeakNode};
use crate::ops::Op;
use crate::storage::Core;

pub use create::{default_dtype, set_default_dtype};
pub use view::Creation;
pub(crate) use view::ViewInfo;

/// The tensor is a leaf that collects a gradient.
const REQUIRES_GRAD: u32 = 1;
/// The tensor has a node that made it.
const HAS_FN: u32 = 2;
/// The tensor is a differentiable view.
const VIEW: u32 = 4;
/// `.data` was assigned or the layout changed in place: the core to use is in `Meta`.
const REPLACED: u32 = 8;
/// The tensor stands for a Python number and yields to others in promotion.
const NUMBER: u32 = 16;
/// The tensor was made in inference mode.
const INFERENCE: u32 = 32;

/// A strided, typed, n-dimensional array that can take part in differentiation.
///
/// Cloning copies the handle, not the data.
///
/// ```
/// use rustgrad_engine::{Tensor, Result};
/// # fn main() -> Result<()> {
/// let x = Tensor::from_slice(&[0.0f32, 1.0, 2.0, 3.0], &[4])?.requires_grad_(true)?;
/// let y = x.mul(&x)?.sum_all()?;
/// y.backward()?;
/// assert_eq!(x.grad().unwrap().to_vec::<f32>()?, [0.0, 2.0, 4.0, 6.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tensor(Arc<Inner>);

struct Inner {
    core: Arc<Core>,
    flags: AtomicU32,
    auto: Mutex<Auto>,
    /// The embedder's own handle of this tensor, without ownership.
    foreign: AtomicPtr<()>,
}

#[derive(Default)]
struct Auto {
    grad_fn: Edge,
    meta: Option<Box<Meta>>,
}

/// What dtype a leaf's gradient must have.
#[derive(Clone, Copy, Default)]
enum GradDtype {
    /// The leaf's own.
    #[default]
    Own,
    Set(DType),
    Any,
}

/// What most tensors do not have.
#[derive(Default)]
pub(crate) struct Meta {
    pub(crate) grad: Option<Tensor>,
    accumulator: WeakNode,
    hooks: Vec<(HookId, Arc<dyn TensorHook>)>,
    post_accumulate: Vec<(HookId, Arc<dyn TensorHook>)>,
    retains_grad: bool,
    grad_dtype: GradDtype,
    view: Option<ViewInfo>,
    replaced: Option<Arc<Core>>,
}

/// A handle that does not keep the tensor alive.
#[derive(Clone)]
pub struct WeakTensor(Weak<Inner>);

impl WeakTensor {
    /// The tensor, if it is still alive.
    pub fn upgrade(&self) -> Option<Tensor> {
        self.0.upgrade().map(Tensor)
    }

    /// Whether this is a handle of `tensor`.
    pub fn is(&self, tensor: &Tensor) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&tensor.0))
    }
}

/// A core, borrowed from its tensor unless the tensor's core was replaced.
pub(crate) enum CoreRef<'a> {
    Own(&'a Arc<Core>),
    Replaced(Arc<Core>),
}

impl Deref for CoreRef<'_> {
    type Target = Arc<Core>;
    #[inline]
    fn deref(&self) -> &Arc<Core> {
        match self {
            Self::Own(core) => core,
            Self::Replaced(core) => core,
        }
    }
}

impl Tensor {
    /// A tensor without history.
    #[inline]
    pub(crate) fn from_core(core: Arc<Core>) -> Self {
        Self::with_flags(core, 0)
    }

    #[inline]
    fn with_flags(core: Arc<Core>, flags: u32) -> Self {
        let flags = if crate::graph::is_inference() { flags | INFERENCE } else { flags };
        Self::with_exact_flags(core, flags)
    }

    #[inline]
    fn with_exact_flags(core: Arc<Core>, flags: u32) -> Self {
        Self(Arc::new(Inner {
            core,
            flags: AtomicU32::new(flags),
            auto: Mutex::new(Auto::default()),
            foreign: AtomicPtr::new(std::ptr::null_mut()),
        }))
    }

    /// A tensor made by output `edge.out` of a node.
    pub(crate) fn with_edge(core: Arc<Core>, edge: Edge) -> Self {
        let flags = if edge.node.is_some() { HAS_FN } else { 0 };
        Self(Arc::new(Inner {
            core,
            flags: AtomicU32::new(flags),
            auto: Mutex::new(Auto { grad_fn: edge, meta: None }),
            foreign: AtomicPtr::new(std::ptr::null_mut()),
        }))
    }

    /// A tensor with this place in the graph; if it is a leaf's, the leaf itself where the data are
    /// its own, else another leaf that shares its accumulator.
    pub(crate) fn at(core: Arc<Core>, edge: Edge) -> Self {
        let Some(leaf) = edge.node.as_ref().and_then(|node| node.variable()) else {
            return Self::with_edge(core, edge);
        };
        if Arc::ptr_eq(&leaf.core(), &core) {
            return leaf;
        }
        let alias = Self::with_flags(core, REQUIRES_GRAD);
        if let Some(node) = &edge.node {
            alias.meta(|meta| meta.accumulator = node.downgrade());
        }
        alias
    }

    #[inline]
    fn flag(&self, flag: u32) -> bool {
        self.0.flags.load(Ordering::Acquire) & flag != 0
    }

    fn set_flag(&self, flag: u32, on: bool) {
        if on {
            self.0.flags.fetch_or(flag, Ordering::AcqRel);
        } else {
            self.0.flags.fetch_and(!flag, Ordering::AcqRel);
        }
    }

    /// dtype, layout and buffer.
    #[inline]
    pub(crate) fn core(&self) -> CoreRef<'_> {
        if self.flag(REPLACED) {
            if let Some(core) = self.meta(|meta| meta.replaced.clone()) {
                return CoreRef::Replaced(core);
            }
        }
        CoreRef::Own(&self.0.core)
    }

    /// dtype, layout and buffer, shared.
    #[inline]
    pub fn shared_core(&self) -> Arc<Core> {
        self.core().clone()
    }

    /// Runs `f` on the rare state, made if there is none. `f` must not touch other tensors.
    fn meta<R>(&self, f: impl FnOnce(&mut Meta) -> R) -> R {
        f(self.0.auto.lock().meta.get_or_insert_default())
    }

    /// Runs `f` on the rare state, if there is any.
    fn meta_if<R>(&self, f: impl FnOnce(&mut Meta) -> R) -> Option<R> {
        self.0.auto.lock().meta.as_deref_mut().map(f)
    }

    /// The element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.core().dtype()
    }

    /// The sizes.
    pub fn shape(&self) -> crate::shape::Dims {
        crate::shape::Dims::from_slice(self.core().shape())
    }

    /// The strides, in elements.
    pub fn strides(&self) -> crate::shape::Strides {
        crate::shape::Strides::from_slice(self.core().strides())
    }

    /// The number of dimensions.
    #[inline]
    pub fn ndim(&self) -> usize {
        self.core().shape().len()
    }

    /// The number of elements.
    #[inline]
    pub fn numel(&self) -> usize {
        self.core().numel()
    }

    /// Whether the elements lie dense and row-major.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.core().is_contiguous()
    }

    /// Whether two handles are of the same tensor.
    #[inline]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Makes the elements now. Elementwise work on large tensors is put off until somebody asks for
    /// elements, and then done in one pass; nobody but a clock can tell.
    pub fn settle(&self) {
        self.core().settle();
    }

    /// A number that is the same for all handles of one live tensor.
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// A handle that does not keep the tensor alive.
    pub fn downgrade(&self) -> WeakTensor {
        WeakTensor(Arc::downgrade(&self.0))
    }

    /// How many handles the tensor has, this one included.
    pub fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Where the embedder may note its own handle of this tensor (without ownership).
    #[inline]
    pub fn foreign(&self) -> &AtomicPtr<()> {
        &self.0.foreign
    }

    /// Whether the tensor stands for a plain number, which yields in dtype promotion.
    #[inline]
    pub fn is_number(&self) -> bool {
        self.flag(NUMBER)
    }

    /// The tensor, marked as standing for a plain number.
    #[must_use]
    pub fn into_number(self) -> Self {
        self.set_flag(NUMBER, true);
        self
    }

    /// Whether the tensor was made in inference mode.
    pub fn is_inference(&self) -> bool {
        self.flag(INFERENCE)
    }

    /// How often the buffer was written in place.
    pub fn version(&self) -> u32 {
        self.core().version()
    }

    // ---- autograd state

    /// Whether operations on this tensor are recorded: it is a leaf that collects a gradient, or
    /// was computed from one.
    #[inline]
    pub fn requires_grad(&self) -> bool {
        let flags = self.0.flags.load(Ordering::Acquire);
        flags & (REQUIRES_GRAD | HAS_FN) != 0 || (flags & VIEW != 0 && self.base_requires_grad())
    }

    /// Whether the tensor has no node that made it.
    #[inline]
    pub fn is_leaf(&self) -> bool {
        !self.flag(HAS_FN) && !(self.flag(VIEW) && self.view_is_stale())
    }

    /// Switches the collection of a gradient on or off, for leaves.
    ///
    /// # Errors
    /// If the tensor is not a leaf and `on` is false, or its dtype is not floating point.
    pub fn set_requires_grad(&self, on: bool) -> Result<()> {
        if !self.is_leaf() {
            ensure!(
                on,
                runtime,
                "you can only change requires_grad flags of leaf variables. If you want to use a \
                 computed variable in a subgraph that doesn't require differentiation use \
                 var_no_grad = var.detach()."
            );
            return Ok(());
        }
        ensure!(
            !on || self.dtype().is_float(),
            runtime,
            "only Tensors of floating point dtype can require gradients"
        );
        ensure!(
            !(on && self.is_inference() && !crate::graph::is_inference()),
            runtime,
            "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed."
        );
        self.set_flag(REQUIRES_GRAD, on);
        Ok(())
    }

    /// [`Self::set_requires_grad`], chained.
    pub fn requires_grad_(self, on: bool) -> Result<Self> {
        self.set_requires_grad(on)?;
        Ok(self)
    }

    /// The collected gradient.
    pub fn grad(&self) -> Option<Self> {
        self.meta_if(|meta| meta.grad.clone()).flatten()
    }

    /// Replaces the collected gradient, without checks; returns the old one.
    pub fn replace_grad(&self, grad: Option<Self>) -> Option<Self> {
        match grad {
            Some(grad) => self.meta(|meta| meta.grad.replace(grad)),
            None => self.meta_if(|meta| meta.grad.take()).flatten(),
        }
    }

    /// Assigns the gradient.
    ///
    /// # Errors
    /// If shape or dtype differ from the tensor's.
    pub fn set_grad(&self, grad: Option<Self>) -> Result<()> {
        if let Some(grad) = &grad {
            ensure!(!grad.is(self), runtime, "can't assign Variable as its own grad");
            let wanted = self.grad_dtype().unwrap_or_else(|| grad.dtype());
            ensure!(
                grad.dtype() == wanted,
                runtime,
                "attempting to assign a gradient with dtype '{}' to a tensor with grad_dtype '{}'. \
                 The gradient must match the tensor's grad_dtype (defaults to the tensor's dtype). \
                 You can set the tensor's grad_dtype attribute with a specific dtype, or None to \
                 allow any dtype.",
                grad.dtype().scalar_name().to_lowercase(),
                wanted.scalar_name()
            );
            ensure!(
                grad.core().shape() == self.core().shape(),
                runtime,
                "attempting to assign a gradient of size '{}' to a tensor of size '{}'. Please \
                 ensure that the gradient and the tensor are the same size",
                crate::shape::shape_text(grad.core().shape()),
                crate::shape::shape_text(self.core().shape())
            );
        }
        drop(self.replace_grad(grad));
        Ok(())
    }

    /// The dtype the gradient must have; `None` for any.
    pub fn grad_dtype(&self) -> Option<DType> {
        match self.meta_if(|meta| meta.grad_dtype).unwrap_or_default() {
            GradDtype::Own => Some(self.dtype()),
            GradDtype::Set(dtype) => Some(dtype),
            GradDtype::Any => None,
        }
    }

    /// Sets the dtype a leaf's gradient must have; `None` for any.
    ///
    /// # Errors
    /// For non-leaves, and if there is a gradient of another dtype.
    pub fn set_grad_dtype(&self, dtype: Option<DType>) -> Result<()> {
        ensure!(self.is_leaf(), runtime, "grad_dtype can only be set on leaf tensors.");
        if let (Some(dtype), Some(grad)) = (dtype, self.grad()) {
            ensure!(
                grad.dtype() == dtype,
                runtime,
                "Cannot set grad_dtype to '{}' because there is already a gradient with dtype '{}'. \
                 Please clear the gradient (.grad = None) before changing grad_dtype, or ensure the \
                 new grad_dtype matches the existing gradient's dtype.",
                dtype.scalar_name(),
                grad.dtype().scalar_name().to_lowercase()
            );
        }
        self.meta(|meta| {
            meta.grad_dtype = dtype.map_or(GradDtype::Any, GradDtype::Set);
            // Its accumulator casts to what was wanted when it was made.
            meta.accumulator = WeakNode::default();
        });
        Ok(())
    }

    /// Puts `new` in place of an absent gradient; gives it back, with the present one, otherwise.
    pub(crate) fn offer_grad(&self, new: Self) -> Option<(Self, Self)> {
        self.meta(|meta| match &meta.grad {
            Some(old) => Some((old.clone(), new)),
            None => {
                meta.grad = Some(new);
                None
            }
        })
    }

    /// Puts `new` in place of exactly `old`; `false` if another thread changed it meanwhile.
    pub(crate) fn exchange_grad(&self, old: &Self, new: &Self) -> bool {
        let before = self.meta(|meta| match &meta.grad {
            Some(now) if now.is(old) => meta.grad.replace(new.clone()),
            _ => None,
        });
        before.is_some()
    }

    /// The node that made the tensor; a stale view gets a new one.
    pub fn grad_fn(&self) -> Option<(NodeRef, u32)> {
        self.try_grad_fn().ok().flatten()
    }

    /// [`Self::grad_fn`], for those who can tell of a view that cannot get a new one.
    ///
    /// # Errors
    /// For a view whose base was written since, if it was made without recording, with others, or
    /// by a custom function.
    pub fn try_grad_fn(&self) -> Result<Option<(NodeRef, u32)>> {
        if self.flag(VIEW) {
            self.refresh_view()?;
        }
        Ok(self.present_fn())
    }

    /// The node the tensor has, be it out of date.
    pub(crate) fn present_fn(&self) -> Option<(NodeRef, u32)> {
        if !self.flag(HAS_FN) {
            return None;
        }
        let edge = self.0.auto.lock().grad_fn.clone();
        edge.node.map(|node| (node, edge.out))
    }

    /// [`Self::gradient_edge`], for those who can tell of a view that has none.
    ///
    /// # Errors
    /// As [`Self::try_grad_fn`].
    #[inline]
    pub fn try_gradient_edge(&self) -> Result<Edge> {
        if self.flag(VIEW) {
            self.refresh_view()?;
        }
        Ok(self.gradient_edge())
    }

    /// Where the tensor's gradient goes: its node, or the accumulator of a leaf.
    #[inline]
    pub fn gradient_edge(&self) -> Edge {
        let flags = self.0.flags.load(Ordering::Acquire);
        if flags & VIEW != 0 {
            // What cannot be refreshed keeps the node it has.
            let _ = self.refresh_view();
        } else if flags & (HAS_FN | REQUIRES_GRAD) == 0 {
            return Edge::default();
        }
        if self.flag(HAS_FN) {
            return self.0.auto.lock().grad_fn.clone();
        }
        if self.flag(REQUIRES_GRAD) {
            return Edge { node: self.accumulator(), out: 0 };
        }
        Edge::default()
    }

    /// The leaf's accumulator, if one is alive or can be made.
    fn accumulator(&self) -> Option<NodeRef> {
        // Made outside the lock, since making a node may free others.
        let alive = self.meta(|meta| meta.accumulator).upgrade();
        if alive.is_some() {
            return alive;
        }
        let node = Node::accumulator(self.clone(), self.grad_dtype(), self.core().shape());
        let fresh = NodeRef::new(node).ok()?;
        let weak = fresh.downgrade();
        let winner = self.meta(|meta| {
            let other = meta.accumulator.upgrade();
            if other.is_none() {
                meta.accumulator = weak;
            }
            other
        });
        Some(winner.unwrap_or(fresh))
    }

    /// Makes the tensor output `edge.out` of a node.
    pub(crate) fn set_edge(&self, edge: Edge) {
        let has = edge.node.is_some();
        let old = std::mem::replace(&mut self.0.auto.lock().grad_fn, edge);
        let flags = &self.0.flags;
        if has {
            flags.fetch_or(HAS_FN, Ordering::AcqRel);
            flags.fetch_and(!REQUIRES_GRAD, Ordering::AcqRel);
        } else {
            flags.fetch_and(!HAS_FN, Ordering::AcqRel);
        }
        drop(old);
    }

    /// Cuts the tensor from its history in place.
    ///
    /// # Errors
    /// For views, whose base would still lead to it.
    pub fn detach_(&self) -> Result<()> {
        ensure!(
            !self.flag(VIEW),
            runtime,
            "Can't detach views in-place. Use detach() instead. If you are using \
             DistributedDataParallel (DDP) for training, and gradient_as_bucket_view is set as \
             True, gradients are views of DDP buckets, and hence detach_() cannot be called on \
             these gradients. To fix this error, please refer to the Optimizer.zero_grad() \
             function in torch/optim/optimizer.py as the solution."
        );
        if let Some((node, _)) = self.present_fn().filter(|(node, _)| node.num_outputs() == 1) {
            crate::graph::node::ANY_DETACHED.store(true, Ordering::Relaxed);
            node.set(crate::graph::node::DETACHED);
        }
        self.set_edge(Edge::default());
        self.set_flag(REQUIRES_GRAD, false);
        Ok(())
    }

    /// Keeps the gradient of a non-leaf in `.grad`.
    ///
    /// # Errors
    /// If the tensor does not require a gradient.
    pub fn retain_grad(&self) -> Result<()> {
        ensure!(
            self.requires_grad(),
            runtime,
            "can't retain_grad on Tensor that has requires_grad=False"
        );
        let Some((node, out)) = self.grad_fn() else { return Ok(()) };
        if self.meta(|meta| std::mem::replace(&mut meta.retains_grad, true)) {
            return Ok(());
        }
        node.more().hooks.lock().retains.push((out, self.downgrade()));
        Ok(())
    }

    /// Whether a non-leaf keeps its gradient.
    pub fn retains_grad(&self) -> bool {
        self.meta_if(|meta| meta.retains_grad).unwrap_or(false)
    }

    /// Registers a hook on the tensor's gradient.
    ///
    /// # Errors
    /// If the tensor does not require a gradient.
    pub fn register_hook(&self, hook: Arc<dyn TensorHook>) -> Result<HookId> {
        ensure!(
            self.requires_grad(),
            runtime,
            "cannot register a hook on a tensor that doesn't require gradient"
        );
        let id = crate::graph::hooks::next_id();
        match self.grad_fn() {
            Some((node, out)) => node.more().hooks.lock().tensor.push((id, out, hook)),
            None => self.meta(|meta| meta.hooks.push((id, hook))),
        }
        Ok(id)
    }

    /// Registers a hook that runs after a leaf's gradient was accumulated; it gets the tensor.
    ///
    /// # Errors
    /// If the tensor does not require a gradient or is not a leaf.
    pub fn register_post_accumulate_grad_hook(&self, hook: Arc<dyn TensorHook>) -> Result<HookId> {
        ensure!(
            self.requires_grad(),
            runtime,
            "cannot register a hook on a tensor that doesn't require gradient"
        );
        ensure!(
            self.is_leaf(),
            runtime,
            "post accumulate grad hooks cannot be registered on non-leaf tensors"
        );
        let id = crate::graph::hooks::next_id();
        self.meta(|meta| meta.post_accumulate.push((id, hook)));
        Ok(id)
    }

    /// Removes a hook registered on this tensor.
    pub fn remove_hook(&self, id: HookId) {
        let from_leaf = self.meta_if(|meta| {
            for list in [&mut meta.hooks, &mut meta.post_accumulate] {
                if let Some(at) = list.iter().position(|hook| hook.0 == id) {
                    return Some(list.remove(at));
                }
            }
            None
        });
        if from_leaf.flatten().is_none() {
            let node = self.0.auto.lock().grad_fn.node.clone();
            if let Some(more) = node.as_deref().and_then(Node::more_if) {
                let removed = more.hooks.lock().remove(id);
                drop(removed);
            }
        }
    }

    /// The hooks on the gradient, with their ids.
    pub fn gradient_hooks(&self) -> Vec<(HookId, Arc<dyn TensorHook>)> {
        let Some((node, out)) = self.present_fn() else {
            return self.meta_if(|meta| meta.hooks.clone()).unwrap_or_default();
        };
        node.more_if().map_or_else(Vec::new, |more| {
            let hooks = more.hooks.lock();
            let mine = hooks.tensor.iter().filter(|hook| hook.1 == out);
            mine.map(|hook| (hook.0, hook.2.clone())).collect()
        })
    }

    /// The hooks that run after accumulation, with their ids.
    pub fn accumulation_hooks(&self) -> Vec<(HookId, Arc<dyn TensorHook>)> {
        self.meta_if(|meta| meta.post_accumulate.clone()).unwrap_or_default()
    }

    /// The leaf's hooks on its gradient.
    pub fn leaf_hooks(&self) -> Vec<Arc<dyn TensorHook>> {
        self.meta_if(|meta| meta.hooks.iter().map(|hook| hook.1.clone()).collect())
            .unwrap_or_default()
    }

    /// The leaf's hooks that run after accumulation.
    pub fn post_accumulate_hooks(&self) -> Vec<Arc<dyn TensorHook>> {
        self.meta_if(|meta| meta.post_accumulate.iter().map(|hook| hook.1.clone()).collect())
            .unwrap_or_default()
    }

    /// Drops all hooks of a leaf (for the embedder's garbage collector).
    pub fn clear_hooks(&self) {
        let dropped = self.meta_if(|meta| {
            (std::mem::take(&mut meta.hooks), std::mem::take(&mut meta.post_accumulate))
        });
        drop(dropped);
    }

    /// Cuts the tensor from its history if this is its only handle, for the embedder's garbage
    /// collector.
    pub fn clear_history_if_alone(&self) {
        if self.handles() == 1 {
            self.set_edge(Edge::default());
        }
    }

    /// Counts a write in place that was made without the engine.
    ///
    /// # Errors
    /// For tensors made in inference mode, which have no version.
    #[track_caller]
    pub fn note_write(&self) -> Result<()> {
        ensure!(!self.is_inference(), runtime, "Inference tensors do not track version counter.");
        self.core().bump_version(crate::graph::Site::here().0);
        Ok(())
    }

    /// Shows the nodes that only this handle of the tensor keeps alive, for the embedder's garbage
    /// collector.
    pub fn visit_owned(&self, f: &mut dyn FnMut(&Node)) {
        if self.handles() != 1 {
            return;
        }
        let Some(root) = self.0.auto.try_lock().and_then(|auto| auto.grad_fn.node.clone()) else {
            return;
        };
        // The tensor's handle and ours.
        crate::graph::visit_owned(&root, 2, f);
    }

    /// The same data without history; writes to one are seen by the other.
    pub fn detach(&self) -> Self {
        Self::from_core(self.shared_core())
    }

    /// The same data without history, with a version counter of its own (torch's `.data`).
    ///
    /// # Errors
    /// Never in practice; the view of the whole buffer is in bounds.
    pub fn data(&self) -> Result<Self> {
        let core = self.core();
        let view = core.view_as(core.dtype(), core.shape(), core.strides(), core.offset(), true)?;
        Ok(Self::from_core(view))
    }

    /// Makes this tensor use the buffer and layout of `other`, keeping its autograd state.
    ///
    /// # Errors
    /// If a tensor that requires a gradient would get a non-floating dtype.
    pub fn set_data(&self, other: &Self) -> Result<()> {
        ensure!(
            !self.requires_grad() || other.dtype().is_float(),
            runtime,
            "data set to a tensor that requires gradients must be floating point or complex dtype"
        );
        let version = self.version();
        let theirs = other.core();
        let core = theirs.view_as(
            theirs.dtype(),
            theirs.shape(),
            theirs.strides(),
            theirs.offset(),
            true,
        )?;
        core.set_version(version);
        let weak = core.shape() != self.core().shape() || core.dtype() != self.dtype();
        self.replace_core(core);
        if weak {
            // An accumulator made for the old shape would refuse the new gradient.
            self.meta(|meta| meta.accumulator = WeakNode::default());
        }
        Ok(())
    }

    pub(crate) fn clear_requires_grad(&self) {
        self.set_flag(REQUIRES_GRAD, false);
    }

    pub(crate) fn replace_core(&self, core: Arc<Core>) {
        let old = self.meta(|meta| meta.replaced.replace(core));
        self.set_flag(REPLACED, true);
        drop(old);
    }

    /// Moves the wish to keep the gradient to the tensor's present node (after a write in place).
    pub(crate) fn move_retained(&self, old: Option<&NodeRef>) {
        if !self.retains_grad() {
            return;
        }
        if let Some(more) = old.and_then(|node| node.more_if()) {
            more.hooks.lock().retains.retain(|(_, weak)| !weak.is(self));
        }
        let edge = self.0.auto.lock().grad_fn.clone();
        if let Some(node) = edge.node {
            node.more().hooks.lock().retains.push((edge.out, self.downgrade()));
        }
    }
}

impl Node {
    /// The node that collects a leaf's gradient.
    fn accumulator(leaf: Tensor, dtype: Option<DType>, shape: &[usize]) -> Self {
        use crate::graph::node::{OutMeta, Saved};
        let out = match dtype {
            Some(dtype) => OutMeta::new(dtype, shape),
            None => OutMeta::any(leaf.dtype(), shape),
        };
        Self::new(
            Op::Accumulate(leaf),
            crate::graph::arena::next_seq(0),
            crate::graph::Site::default(),
            0,
            [Edge::default(), Edge::default()],
            out,
            [Saved::EMPTY; 2],
            0,
            None,
        )
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({:?}, {})", self.core().shape(), self.dtype())
    }
}

// What the graph asks of gradients on their way.
impl Tensor {
    /// Whether nobody else can see the elements, so that they may be overwritten.
    #[inline]
    pub(crate) fn owns_buffer_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
            && Arc::weak_count(&self.0) == 0
            && self.0.flags.load(Ordering::Acquire) & (REPLACED | VIEW) == 0
            && self.0.core.owned_by_one()
    }

    /// Whether the tensor may become a leaf's `.grad` without a copy.
    pub(crate) fn owns_buffer_for_leaf(&self) -> bool {
        self.owns_buffer_alone() && self.is_leaf()
    }

    /// Whether the tensor is laid out as a leaf's gradient should be: like the leaf, if that is
    /// dense, else row-major.
    pub(crate) fn strides_suit(&self, leaf: &Self) -> bool {
        let (mine, theirs) = (self.core(), leaf.core());
        if theirs.is_contiguous() {
            mine.is_contiguous()
        } else {
            mine.strides() == theirs.strides()
        }
    }

    /// A copy laid out as the leaf's gradient should be.
    pub(crate) fn copy_like(&self, leaf: &Self) -> Result<Self> {
        let out = crate::launch::blocks::alloc_permuted(self.dtype(), &leaf.core())?;
        inplace::write(&out, &self.core())?;
        Ok(Self::from_core(out))
    }

    /// Whether hooks are registered on this leaf.
    pub(crate) fn has_hooks(&self) -> bool {
        self.meta_if(|meta| !(meta.hooks.is_empty() && meta.post_accumulate.is_empty()))
            .unwrap_or(false)
    }

    /// Adds a gradient to `.grad` of a non-leaf that keeps it.
    pub(crate) fn retain(&self, grad: &Self) -> Result<()> {
        let kept = if crate::graph::is_grad_enabled() { grad.clone() } else { grad.copied()? };
        if let Some((old, new)) = self.offer_grad(kept) {
            let sum = old.add(&new)?;
            drop(self.replace_grad(Some(sum)));
        }
        Ok(())
    }

    /// Bytes of the elements: what an operation on this tensor alone would read.
    #[inline]
    pub fn byte_hint(&self) -> usize {
        let core = self.core();
        core.numel() * core.dtype().size()
    }
}

impl Node {
    /// Runs `f` on every saved tensor.
    pub(crate) fn for_saved(
        &self,
        mut f: impl FnMut(&mut crate::graph::node::Saved) -> Result<()>,
    ) -> Result<()> {
        self.with_saved(|saved| saved.iter_mut().try_for_each(&mut f))?;
        match self.more_if() {
            Some(more) => more.saved.lock().iter_mut().try_for_each(f),
            None => Ok(()),
        }
    }

    /// A rough figure of what running the node costs, in bytes moved.
    pub(crate) fn work(&self) -> usize {
        let meta = self.out_meta(0);
        meta.shape().iter().product::<usize>() * meta.dtype().size()
    }

    /// The leaf of an accumulator that nothing but the accumulator keeps alive.
    pub fn leaf_alone(&self) -> Option<&Tensor> {
        match &self.op {
            Op::Accumulate(leaf) if leaf.handles() == 1 => Some(leaf),
            _ => None,
        }
    }

    /// The leaf, if the node is the accumulator of one.
    pub fn variable(&self) -> Option<Tensor> {
        match &self.op {
            Op::Accumulate(leaf) => Some(leaf.clone()),
            _ => None,
        }
    }
}

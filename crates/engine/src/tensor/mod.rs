//! The tensor handle: a [`Core`] and its autograd state. Its operations are in `ops`, by family.

mod convert;
mod create;
mod hooks;
mod inplace;
pub(crate) use inplace::is_expanded;
pub mod random;
mod state;
mod storage;
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
use crate::shape::Strides;
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

/// A node saved the tensor while it needed no gradient.
const KEPT: u32 = 64;

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

    /// Whether the tensor is still alive.
    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
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

    /// [`Self::from_core`] for those who have looked at the modes already.
    #[inline]
    pub(crate) fn from_core_in(modes: crate::graph::Modes, core: Arc<Core>) -> Self {
        Self::with_exact_flags(core, if modes.inference() { INFERENCE } else { 0 })
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
    #[inline]
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

    /// Marks a tensor that a node saves as a constant.
    #[inline]
    pub(crate) fn note_kept(&self) {
        if !self.flag(KEPT) {
            self.set_flag(KEPT, true);
        }
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
    pub fn strides(&self) -> Strides {
        Strides::from_slice(self.core().strides())
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
        if !crate::launch::program::copy_turned(&self.core(), &out) {
            inplace::write(&out, &self.core())?;
        }
        Ok(Self::from_core(out))
    }

    /// The tensor with other dimensions over the same elements in the same order, of which it makes no
    /// view but a promise of its own: for a gradient that waits and goes no other way. `None` where it is
    /// not one.
    pub(crate) fn relaid(
        &self,
        shape: &[usize],
        strides: impl FnOnce(&Core) -> Option<Strides>,
    ) -> Option<Self> {
        let alone = Arc::strong_count(&self.0) == 1 && Arc::weak_count(&self.0) == 0;
        let core = &self.0.core;
        if !alone || !core.is_waiting() || self.flag(REPLACED) || crate::graph::is_grad_enabled() {
            return None;
        }
        let strides = strides(core)?;
        crate::storage::deferred::relaid(core, shape, &strides).map(Self::from_core)
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

    /// The bytes of the node's gradient: what a pass over it moves at least.
    pub(crate) fn work(&self) -> usize {
        self.out_meta(0).bytes()
    }

    /// A rough figure of what running the node costs, in bytes moved: a processor that moves one makes
    /// about a multiply-add of each of the two products that a gradient takes meanwhile.
    pub(crate) fn cost(&self) -> usize {
        let depth = match &self.op {
            Op::Rule(rule) => rule.depth(self),
            _ => 0,
        };
        let numel = || self.out_meta(0).shape().iter().product::<usize>();
        self.work().saturating_add(if depth == 0 { 0 } else { numel().saturating_mul(depth) })
    }

    /// The size of a dimension of an input, counted from the last; 0 if it is not known.
    pub(crate) fn input_size(&self, edge: usize, from_last: usize) -> usize {
        let edge = self.edges().get(edge).and_then(|edge| Some((edge.node.as_ref()?, edge.out)));
        edge.map_or(0, |(node, out)| {
            let shape = node.out_meta(out).shape();
            shape.len().checked_sub(from_last + 1).map_or(0, |dim| shape[dim])
        })
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

//! A tensor's place in the graph: whether it requires a gradient, the gradient, its node.

use super::*;

impl Tensor {
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
        if on && self.flag(KEPT) {
            crate::graph::late::note(self);
        }
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
            return crate::graph::arena::peek(&self.0.auto, |auto| auto.grad_fn.clone());
        }
        if self.flag(REQUIRES_GRAD) {
            return Edge { node: self.accumulator(), out: 0 };
        }
        Edge::default()
    }

    /// The leaf's accumulator, if one is alive or can be made.
    pub(super) fn accumulator(&self) -> Option<NodeRef> {
        // Made outside the lock, since making a node may free others.
        let known = crate::graph::arena::peek(&self.0.auto, |auto| {
            auto.meta.as_ref().map(|meta| meta.accumulator)
        });
        let alive = known.and_then(WeakNode::upgrade);
        if alive.is_some() {
            return alive;
        }
        let node = Node::accumulator(self.clone(), self.grad_dtype(), self.core().shape());
        let fresh = NodeRef::new(node).ok()?;
        let weak = fresh.downgrade();
        let mine = fresh.clone();
        let winner = self.meta(|meta| {
            let other = meta.accumulator.upgrade();
            if other.is_none() {
                meta.accumulator = weak;
            }
            other
        });
        if winner.is_none() {
            crate::graph::creation::note(&mine);
        }
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
    /// If the tensor does not require a gradient, or as [`Self::try_grad_fn`].
    pub fn retain_grad(&self) -> Result<()> {
        ensure!(
            self.requires_grad(),
            runtime,
            "can't retain_grad on Tensor that has requires_grad=False"
        );
        let Some((node, out)) = self.try_grad_fn()? else { return Ok(()) };
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
}

//! Views: the base they look into, and the node of a view whose base was written in place.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{HAS_FN, Tensor, VIEW};
use crate::error::{Result, bail};
use crate::graph::Edge;
use crate::storage::Core;

/// How a view came about, which decides whether it may be written in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// By an operation with one output, recorded.
    Recorded,
    /// In `no_grad`, while recording was off.
    NoGrad,
    /// By an operation with several outputs (`split`, `unbind`, `chunk`).
    Multi,
    /// By a custom function.
    Custom,
}

/// What a view knows of its base.
pub(crate) struct ViewInfo {
    pub(crate) base: Tensor,
    pub(crate) creation: Creation,
    /// The version of the buffer for which the view's node is right.
    pub(crate) version: u32,
}

impl Tensor {
    /// A view of `self` with another core over the same buffer, not yet recorded.
    pub(crate) fn make_view(&self, core: Arc<Core>, creation: Creation) -> Self {
        if crate::graph::is_inference() {
            return Self::with_flags(core, 0);
        }
        let base = self.base().unwrap_or_else(|| self.clone());
        let inherited = self
            .meta_if(|meta| meta.view.as_ref().map(|view| view.creation))
            .flatten()
            .unwrap_or(Creation::Recorded);
        let creation = if inherited == Creation::Recorded { creation } else { inherited };
        let version = core.version();
        let view = Self::with_flags(core, VIEW);
        view.meta(|meta| meta.view = Some(ViewInfo { base, creation, version }));
        view
    }

    /// The tensor this one is a view of, if any.
    pub fn base(&self) -> Option<Self> {
        if !self.flag(VIEW) {
            return None;
        }
        self.meta_if(|meta| meta.view.as_ref().map(|view| view.base.clone())).flatten()
    }

    /// Whether the tensor is a differentiable view.
    pub fn is_view(&self) -> bool {
        self.flag(VIEW)
    }

    pub(crate) fn creation(&self) -> Creation {
        self.meta_if(|meta| meta.view.as_ref().map(|view| view.creation))
            .flatten()
            .unwrap_or(Creation::Recorded)
    }

    /// Marks how this view came about.
    pub fn set_creation(&self, creation: Creation) {
        self.meta_if(|meta| {
            if let Some(view) = &mut meta.view {
                view.creation = creation;
            }
        });
    }

    /// Whether the base was written in place and needs a gradient, so that the view's node (or its
    /// absence) is out of date.
    #[cold]
    pub(super) fn view_is_stale(&self) -> bool {
        let now = self.version();
        let state =
            self.meta_if(|meta| meta.view.as_ref().map(|view| (view.base.clone(), view.version)));
        match state.flatten() {
            Some((base, version)) => version != now && base.requires_grad(),
            None => false,
        }
    }

    /// Gives a stale view a node that leads to its base as it is now.
    pub(super) fn refresh_view(&self) {
        if !self.view_is_stale() {
            return;
        }
        let Some(base) = self.base() else { return };
        if let Ok(edge) = crate::ops::view::as_strided_edge(&base, self) {
            self.set_view_edge(edge);
        }
    }

    pub(crate) fn set_view_edge(&self, edge: Edge) {
        let now = self.version();
        let old = {
            let mut auto = self.0.auto.lock();
            if let Some(view) = auto.meta.as_mut().and_then(|meta| meta.view.as_mut()) {
                view.version = now;
            }
            std::mem::replace(&mut auto.grad_fn, edge)
        };
        self.0.flags.fetch_or(HAS_FN, Ordering::AcqRel);
        self.0.flags.fetch_and(!super::REQUIRES_GRAD, Ordering::AcqRel);
        self.move_retained(old.node.as_ref());
        drop(old);
    }

    /// Refuses writes in place that torch refuses while recording.
    pub(crate) fn check_inplace(&self) -> Result<()> {
        if !crate::graph::is_grad_enabled() || !self.requires_grad() {
            return Ok(());
        }
        if let Some(base) = self.base() {
            match self.creation() {
                Creation::Recorded => {}
                Creation::Multi => bail!(
                    runtime,
                    "Output 0 of {} is a view and is being modified inplace. This view is the \
                     output of a function that returns multiple views. Such functions do not \
                     allow the output views to be modified inplace. You should replace the \
                     inplace operation by an out-of-place one.",
                    self.grad_fn()
                        .map_or_else(|| "a function".into(), |(n, _)| n.short_name().to_owned())
                ),
                Creation::NoGrad => bail!(
                    runtime,
                    "A view was created in no_grad mode and is being modified inplace with grad \
                     mode enabled. Given that this use case is ambiguous and error-prone, it is \
                     forbidden. You can clarify your code by moving both the view and the inplace \
                     either both inside the no_grad block (if you don't want the inplace to be \
                     tracked) or both outside (if you want the inplace to be tracked)."
                ),
                Creation::Custom => bail!(
                    runtime,
                    "Output 0 of {} is a view and is being modified inplace. This view was \
                     created inside a custom Function (or because an input was returned as-is) \
                     and the autograd logic to handle view+inplace would override the custom \
                     backward associated with the custom Function, leading to incorrect \
                     gradients. This behavior is forbidden. You can fix this by cloning the \
                     output of the custom Function.",
                    self.grad_fn()
                        .map_or_else(|| "a function".into(), |(n, _)| n.short_name().to_owned())
                ),
            }
            if base.is_leaf() && base.requires_grad() {
                bail!(
                    runtime,
                    "a view of a leaf Variable that requires grad is being used in an in-place \
                     operation."
                );
            }
        } else if self.is_leaf() {
            bail!(
                runtime,
                "a leaf Variable that requires grad is being used in an in-place operation."
            );
        }
        Ok(())
    }
}

//! Views: the base they look into, and the node of a view whose base was written in place.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{HAS_FN, INFERENCE, Tensor, VIEW};
use crate::error::{Result, bail, ensure};
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
    /// In inference mode.
    Inference,
}

impl Creation {
    /// How a view made now came about, if it is `recorded` while recording is on.
    pub(crate) fn now(recorded: Self) -> Self {
        if crate::graph::is_inference() {
            Self::Inference
        } else if crate::graph::is_grad_enabled() {
            recorded
        } else {
            Self::NoGrad
        }
    }
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
        if self.is_inference() {
            // Neither views nor versions of inference tensors are tracked.
            return Self::with_exact_flags(core, INFERENCE);
        }
        let base = self.base().unwrap_or_else(|| self.clone());
        let inherited = self
            .meta_if(|meta| meta.view.as_ref().map(|view| view.creation))
            .flatten()
            .unwrap_or(Creation::Recorded);
        let creation = if creation == Creation::Recorded { inherited } else { creation };
        let version = core.version();
        let view = Self::with_exact_flags(core, VIEW);
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

    /// Whether the base requires a gradient.
    #[cold]
    pub(super) fn base_requires_grad(&self) -> bool {
        self.base().is_some_and(|base| base.requires_grad())
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
    pub(super) fn refresh_view(&self) -> Result<()> {
        if !self.view_is_stale() {
            return Ok(());
        }
        let Some(base) = self.base() else { return Ok(()) };
        self.check_creation(true)?;
        let edge = crate::ops::strided::as_strided_edge(&base, self)?;
        self.set_view_edge(edge);
        crate::graph::tell()
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

    /// Refuses writes in place that torch refuses while recording; `recorded` tells whether the write
    /// will be.
    pub(crate) fn check_inplace(&self, recorded: bool) -> Result<()> {
        if !recorded || !crate::graph::is_grad_enabled() {
            return Ok(());
        }
        let requires_grad = self.requires_grad();
        if let Some(base) = self.base() {
            self.check_creation(false)?;
            ensure!(
                !(requires_grad && base.is_leaf()),
                runtime,
                "a view of a leaf Variable that requires grad is being used in an in-place operation."
            );
        }
        ensure!(
            // As in torch: a view that never had a node is a leaf here, even if its base is none now.
            !(requires_grad && !self.flag(HAS_FN)),
            runtime,
            "a leaf Variable that requires grad is being used in an in-place operation."
        );
        Ok(())
    }

    /// Whether a view's history may be replaced after a write: into the view itself, or elsewhere
    /// into its base.
    #[cold]
    fn check_creation(&self, elsewhere: bool) -> Result<()> {
        let creation = self.creation();
        if creation == Creation::Recorded {
            return Ok(());
        }
        let modified = if elsewhere {
            "its base or another view of its base has been modified inplace"
        } else {
            "is being modified inplace"
        };
        let found = self.present_fn();
        let (mode, block) = match creation {
            Creation::Inference => (" in normal mode", "inference_mode"),
            Creation::NoGrad => (" with grad mode enabled", "no_grad"),
            _ if found.is_none() => (" with grad mode enabled", ""),
            _ => ("", ""),
        };
        let made = if creation == Creation::Inference { "inference mode" } else { "no_grad mode" };
        let head = match found {
            None => format!("A view was created in {made} and {modified}{mode}."),
            Some((node, out)) => {
                let of = if mode.is_empty() {
                    String::new()
                } else {
                    format!(" of a view which was created in {made}")
                };
                format!("Output {out} of {} is a view{of} and {modified}{mode}.", node.short_name())
            }
        };
        let why = match creation {
            Creation::Multi => {
                "This view is the output of a function that returns multiple views. Such functions \
                 do not allow the output views to be modified inplace. You should replace the \
                 inplace operation by an out-of-place one."
                    .to_owned()
            }
            Creation::Custom => {
                "This view was created inside a custom Function (or because an input was returned \
                 as-is) and the autograd logic to handle view+inplace would override the custom \
                 backward associated with the custom Function, leading to incorrect gradients. This \
                 behavior is forbidden. You can fix this by cloning the output of the custom \
                 Function."
                    .to_owned()
            }
            _ => format!(
                "Given that this use case is ambiguous and error-prone, it is forbidden. You can \
                 clarify your code by moving both the view and the inplace either both inside the \
                 {block} block (if you don't want the inplace to be tracked) or both outside (if \
                 you want the inplace to be tracked)."
            ),
        };
        bail!(runtime, "{head} {why}")
    }

    /// Refuses tensors that cannot be saved for a backward pass.
    #[inline]
    pub(crate) fn check_savable(&self) -> Result<()> {
        ensure!(
            !self.is_inference(),
            runtime,
            "Inference tensors cannot be saved for backward. Please do not use Tensors created in \
             inference mode in computation tracked by autograd. To work around this, you can make a \
             clone to get a normal tensor and use it in autograd, or use `torch.no_grad()` instead \
             of `torch.inference_mode()`."
        );
        Ok(())
    }
}

//! Other storage in place: `set_` and `resize_`, which torch does not differentiate.

use super::Tensor;
use crate::error::{Error, Result, ensure};
use crate::graph::{Site, WeakNode};
use crate::shape::contiguous_strides;
use crate::storage::Core;

impl Tensor {
    /// Looks into the memory of `source` from now on, with its sizes and strides.
    ///
    /// Views of this tensor stay where they are, and its old history is not that of the new elements: a
    /// leaf collects a new gradient.
    ///
    /// # Errors
    /// For leaves that require a gradient while recording, for what would have to be recorded, and if the
    /// dtypes differ.
    #[track_caller]
    pub fn set_(&self, source: &Self) -> Result<()> {
        ensure!(
            self.dtype() == source.dtype(),
            runtime,
            "Could not set tensor of type {} to a tensor of type {}",
            source.dtype().scalar_name().to_lowercase(),
            self.dtype().scalar_name().to_lowercase()
        );
        self.check_inplace(self.requires_grad())?;
        self.check_inference()?;
        if crate::graph::recording(&[self, source]) {
            return Err(Error::not_implemented(
                "the derivative for 'set_' is not implemented: call it under no_grad()",
            ));
        }
        let version = self.version();
        let theirs = source.core();
        let core = theirs.view_as(
            theirs.dtype(),
            theirs.shape(),
            theirs.strides(),
            theirs.offset(),
            true,
        )?;
        core.set_version(version);
        core.bump_version(Site::here().0);
        self.replace_core(core);
        self.meta(|meta| meta.accumulator = WeakNode::default());
        Ok(())
    }

    /// Changes the sizes in place: the elements in memory stay, row-major; new ones are zero.
    ///
    /// # Errors
    /// For tensors that require a gradient, and if memory is short.
    #[track_caller]
    pub fn resize_(&self, shape: &[usize]) -> Result<()> {
        ensure!(
            !self.requires_grad() || self.is_inference(),
            runtime,
            "cannot resize variables that require grad"
        );
        self.check_inference()?;
        let core = self.shared_core();
        if core.shape() == shape {
            return Ok(());
        }
        let size = core.dtype().size();
        let numel = shape.iter().try_fold(1usize, |n, &m| n.checked_mul(m));
        let Some(numel) = numel else {
            return Err(Error::runtime("resize_: the sizes overflow"));
        };
        let offset = core.offset().max(0) as usize;
        let room = (core.storage_bytes() / size).saturating_sub(offset);
        let strides = contiguous_strides(shape);
        let new = if numel <= room {
            core.view(shape, &strides, core.offset())?
        } else {
            let new = Self::zeros(shape, core.dtype())?.shared_core();
            let kept = core.view(&[room], &[1], core.offset())?;
            super::inplace::write(&*new.view(&[room], &[1], 0)?, &kept)?;
            new.set_version(core.version());
            new
        };
        new.bump_version(Site::here().0);
        self.replace_core(new);
        Ok(())
    }

    /// Puts the count of writes in place back to a number.
    pub fn set_version(&self, version: u32) {
        Core::set_version(&self.core(), version);
    }
}

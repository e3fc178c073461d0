//! Tensors whose elements follow from their position.

use std::sync::Arc;

use crate::dtype::Element;
use crate::error::Result;
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, split};
use crate::storage::Core;

/// The function by value: behind a reference what it knows might be overwritten with every element,
/// as far as the compiler can tell.
struct Fill<T, F> {
    out: Dst<T>,
    first: usize,
    last: usize,
    f: F,
}

impl<T: Element, F: Fn(usize) -> T> Job for Fill<T, F> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for i in self.first..self.last {
            // SAFETY: each element of the fresh output belongs to one task.
            unsafe { *self.out.at(i as isize) = (self.f)(i) };
        }
    }
}

/// A fresh row-major core whose element `i` is `f(i)`.
///
/// # Errors
/// If memory is short.
pub fn from_fn<T: Element>(
    shape: &[usize],
    f: impl Fn(usize) -> T + Copy + Sync,
) -> Result<Arc<Core>> {
    let core = Core::alloc(T::DTYPE, shape)?;
    let out = Dst::new(core.data().cast::<T>());
    split(core.numel(), 1, |first, last| {
        multiversion::run_narrow(Fill { out, first, last, f });
    });
    Ok(core)
}

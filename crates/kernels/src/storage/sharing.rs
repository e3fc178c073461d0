//! Whether anybody else can touch tensors now. Uncontended locks are a fifth of the cost of an
//! operation on a scalar; a program under Python's interpreter lock need not take them, because work
//! on small tensors never lets the interpreter go.
//!
//! The count starts at one, as if there were always another thread. An embedder that runs all engine
//! calls under one lock takes that one away ([`serialised`]), and enters [`Others`] for as long as engine
//! work goes on without its lock; the pool does so for as long as it works. Both change the count
//! while they hold the embedder's lock, so who holds that and sees zero stays alone until it lets go.

use std::sync::atomic::{AtomicUsize, Ordering};

static OTHERS: AtomicUsize = AtomicUsize::new(1);

/// Whether no other thread can touch tensors until the caller gives up the embedder's lock.
#[inline]
pub fn alone() -> bool {
    OTHERS.load(Ordering::Acquire) == 0
}

/// Declares that every call into this library is made under one lock of the embedder, unless within
/// [`Others`]. To be called once.
///
/// # Safety
/// It must be so.
pub unsafe fn serialised() {
    OTHERS.fetch_sub(1, Ordering::AcqRel);
}

/// Work that goes on without the embedder's lock, until dropped.
#[must_use]
pub struct Others(());

impl Others {
    /// To be called with the embedder's lock held.
    pub fn enter() -> Self {
        OTHERS.fetch_add(1, Ordering::AcqRel);
        Self(())
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        OTHERS.fetch_sub(1, Ordering::AcqRel);
    }
}

//! A way for the embedder to end long work (Ctrl-C).

use std::sync::OnceLock;

use crate::error::Result;

static CHECK: OnceLock<fn() -> Result<()>> = OnceLock::new();

/// Registers the check that long passes call now and then; the first registration stays.
pub fn set_check(check: fn() -> Result<()>) {
    let _ = CHECK.set(check);
}

/// Runs the check, if there is one.
#[inline]
pub(crate) fn check() -> Result<()> {
    CHECK.get().map_or(Ok(()), |check| check())
}

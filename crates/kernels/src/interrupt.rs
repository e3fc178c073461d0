//! What the embedder does around long work: let go of its interpreter, and end it (Ctrl-C).

use std::sync::OnceLock;

use crate::error::Result;

/// Bytes moved from which a backward pass counts as long.
pub const LONG: usize = 1 << 18;

static CHECK: OnceLock<fn() -> Result<()>> = OnceLock::new();
static AROUND: OnceLock<Around> = OnceLock::new();

/// Runs the closure once, with the interpreter let go if this thread holds it.
pub type Around = fn(&mut (dyn FnMut() + Send));

/// Registers the check that long passes call now and then; the first registration stays.
pub fn set_check(check: fn() -> Result<()>) {
    let _ = CHECK.set(check);
}

/// Registers what is put around long work; the first registration stays.
pub fn set_around(around: Around) {
    let _ = AROUND.set(around);
}

/// Runs the check, if there is one.
#[inline]
pub fn check() -> Result<()> {
    CHECK.get().map_or(Ok(()), |check| check())
}

/// Runs long work with what the embedder puts around it.
pub fn long_work<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let Some(around) = AROUND.get() else { return work() };
    let mut work = Some(work);
    let mut result = None;
    around(&mut || result = work.take().map(|work| work()));
    result.unwrap_or_else(|| Err(crate::error::Error::runtime("long work was not run")))
}

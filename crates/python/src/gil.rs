//! The one place that detaches from the interpreter.
#![allow(unsafe_code)]

use pyo3::prelude::*;
use rustgrad_engine::graph::Site;
use rustgrad_engine::graph::site::Forced;
use rustgrad_engine::storage::sharing::{self, Others};

use crate::error::{Bind, to_engine};

/// Work on fewer bytes than this keeps the interpreter: handing it over costs more, and two threads
/// with small tensors would wait for each other.
const WORTH: usize = 1 << 18;

/// Lets Ctrl-C end long work, and the engine do without locks while nobody else can run.
pub(crate) fn register() {
    if cfg!(not(Py_GIL_DISABLED)) {
        static ONCE: std::sync::Once = std::sync::Once::new();
        // SAFETY: all calls into the engine come from Python with the interpreter lock held, but for
        // what this file lets go of it (and for the engine's pool, which counts itself).
        ONCE.call_once(|| unsafe { sharing::serialised() });
    }
    rustgrad_engine::interrupt::set_around(|work| {
        // What is recorded meanwhile belongs to the line that called.
        let site = Site::here();
        let attached = Python::try_attach(|py| {
            let _others = Others::enter();
            py.detach(|| {
                let _site = Forced::new(site);
                work();
            });
        });
        if attached.is_none() {
            work();
        }
    });
    rustgrad_engine::interrupt::set_check(|| {
        Python::try_attach(|py| py.check_signals().map_err(to_engine)).unwrap_or(Ok(()))
    });
}

/// Runs engine work, without the interpreter if it moves many bytes.
#[inline]
pub(crate) fn detached<T: Send>(
    py: Python<'_>,
    bytes: usize,
    work: impl FnOnce() -> rustgrad_engine::Result<T> + Send,
) -> Bind<T> {
    if bytes < WORTH {
        return Ok(work()?);
    }
    detached_large(py, work)
}

#[inline(never)]
fn detached_large<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> rustgrad_engine::Result<T> + Send,
) -> Bind<T> {
    // What is recorded meanwhile belongs to the line that called.
    let site = Site::here();
    let _others = Others::enter();
    Ok(py.detach(|| {
        let _site = Forced::new(site);
        work()
    })?)
}

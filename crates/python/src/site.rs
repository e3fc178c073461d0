//! The line of the user's Python program, as a site of the engine: the code object and instruction
//! offset of the innermost frame outside this package, looked up in a small cache.
#![allow(unsafe_code)]

use std::cell::RefCell;

use pyo3::ffi;
use pyo3::prelude::*;
use rustgrad_engine::graph::Site;

/// Direct-mapped, so that its size (and the code objects it keeps alive) is bounded.
const ENTRIES: usize = 512;

#[derive(Clone, Copy)]
struct Entry {
    code: *mut ffi::PyCodeObject,
    offset: i32,
    site: Site,
}

/// Stands for a frame of this package: the line that is meant is in a frame behind it.
const INSIDE: Site = Site(u32::MAX);

const EMPTY: Entry = Entry { code: std::ptr::null_mut(), offset: 0, site: Site(0) };

thread_local! {
    static CACHE: RefCell<Box<[Entry]>> = RefCell::new(vec![EMPTY; ENTRIES].into_boxed_slice());
}

/// Makes the engine ask Python for lines.
pub(crate) fn register() {
    rustgrad_engine::graph::site::set_provider(here);
}

/// Looks the caller's line up so many times: for the benchmark of what provenance costs.
#[pyfunction]
fn _site_lookups(n: usize) {
    for _ in 0..n {
        std::hint::black_box(Site::here());
    }
}

/// Exports the names of this file.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(_site_lookups, module)?)
}

fn here() -> Site {
    // SAFETY: asks only whether this thread holds the interpreter.
    if unsafe { ffi::PyGILState_Check() } == 0 {
        return Site(0);
    }
    // SAFETY: attached, as just checked; the frame is borrowed and outlives this call.
    let frame = unsafe { ffi::PyEval_GetFrame() };
    if frame.is_null() {
        return Site(0);
    }
    // SAFETY: `frame` is a live frame; what it leads to is held while it is looked at.
    let site = unsafe { look_up(frame) };
    if site != INSIDE {
        return site;
    }
    // SAFETY: as above.
    unsafe { outside(frame) }
}

/// The line of the nearest frame outside this package, given one inside.
unsafe fn outside(inner: *mut ffi::PyFrameObject) -> Site {
    // SAFETY: `inner` is alive by the caller's word; each frame behind it is a new reference, given
    // back before the next is looked at.
    unsafe {
        let mut frame = ffi::PyFrame_GetBack(inner);
        for _ in 0..64 {
            if frame.is_null() {
                return Site(0);
            }
            let site = look_up(frame);
            let back = if site == INSIDE { ffi::PyFrame_GetBack(frame) } else { frame };
            if back == frame {
                ffi::Py_DECREF(frame.cast());
                return site;
            }
            ffi::Py_DECREF(frame.cast());
            frame = back;
        }
        ffi::Py_XDECREF(frame.cast());
        Site(0)
    }
}

/// The line a frame is at, or [`INSIDE`].
unsafe fn look_up(frame: *mut ffi::PyFrameObject) -> Site {
    // SAFETY: `frame` is a live frame; the code object is a new reference, given back below or
    // moved into the cache.
    unsafe {
        let code = ffi::PyFrame_GetCode(frame);
        let offset = last_instruction(frame);
        let slot = ((code as usize >> 4) ^ (offset as usize).wrapping_mul(0x9e37)) % ENTRIES;
        let known = CACHE.try_with(|cache| {
            let entry = cache.borrow()[slot];
            (entry.code == code && entry.offset == offset).then_some(entry.site)
        });
        if let Ok(Some(site)) = known {
            ffi::Py_DECREF(code.cast());
            return site;
        }
        let site = resolve(frame);
        let old = CACHE.try_with(|cache| {
            std::mem::replace(&mut cache.borrow_mut()[slot], Entry { code, offset, site })
        });
        match old {
            Ok(old) => ffi::Py_XDECREF(old.code.cast()),
            Err(_) => ffi::Py_DECREF(code.cast()),
        }
        site
    }
}

#[cfg(Py_3_11)]
unsafe fn last_instruction(frame: *mut ffi::PyFrameObject) -> i32 {
    // SAFETY: by the caller's word the frame is alive.
    unsafe { ffi::PyFrame_GetLasti(frame) }
}

#[cfg(not(Py_3_11))]
unsafe fn last_instruction(frame: *mut ffi::PyFrameObject) -> i32 {
    // SAFETY: by the caller's word the frame is alive.
    unsafe { ffi::PyFrame_GetLineNumber(frame) }
}

/// File and line of a frame, or [`INSIDE`].
#[cold]
unsafe fn resolve(frame: *mut ffi::PyFrameObject) -> Site {
    // SAFETY: attached, see `here`.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: a live frame; a new reference is taken.
    let frame: Bound<'_, PyAny> = unsafe { Bound::from_borrowed_ptr(py, frame.cast()) };
    let Ok(code) = frame.getattr("f_code") else { return Site(0) };
    let file = code.getattr("co_filename").and_then(|file| file.extract::<String>());
    let line = frame.getattr("f_lineno").and_then(|line| line.extract::<u32>());
    let (Ok(file), Ok(line)) = (file, line) else { return Site(0) };
    if package_directory(py).is_some_and(|package| file.starts_with(package.as_str())) {
        return INSIDE;
    }
    Site::intern(&file, line)
}

/// The directory of this package, with a separator at its end.
fn package_directory(py: Python<'_>) -> Option<String> {
    let module = py.import("rustgrad").ok()?;
    let file: String = module.getattr("__file__").ok()?.extract().ok()?;
    Some(file.strip_suffix("__init__.py")?.to_owned())
}

//! The buffer pool: size classes, per-thread caches for small buffers, one shared list per class
//! for the rest. Buffers are aligned to 64 bytes; from 2 MiB on to 2 MiB, advised as huge pages.
//!
//! What is cached never exceeds what was live at the peak, so a steady loop takes no page fault
//! and a program that shrinks gives memory back.

use std::alloc::Layout;
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::error::{Error, Result};

/// Classes grow by a quarter of a power of two: at most 25 % is lost to rounding.
const FIRST_CLASS: usize = 64;
const CLASSES: usize = 4 * 40;
/// Up to this many bytes a buffer goes through the thread's own cache.
const SMALL: usize = 64 * 1024;
const SMALL_CLASSES: usize = 44;
const PER_THREAD: usize = 32;
const HUGE: usize = 2 << 20;

static SHARED: [Mutex<Vec<usize>>; CLASSES] = [const { Mutex::new(Vec::new()) }; CLASSES];
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static CACHED: AtomicUsize = AtomicUsize::new(0);
static FRESH: AtomicUsize = AtomicUsize::new(0);

/// What the pool holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStats {
    /// Bytes in buffers above 64 KiB that are in use (smaller ones are not counted).
    pub live: usize,
    /// The highest `live` so far.
    pub peak: usize,
    /// Bytes in buffers above 64 KiB that are kept for reuse.
    pub cached: usize,
    /// How many buffers were asked of the system so far, of any size.
    pub fresh: usize,
}

/// What the pool holds now.
pub fn stats() -> PoolStats {
    PoolStats {
        live: LIVE.load(Ordering::Relaxed),
        peak: PEAK.load(Ordering::Relaxed),
        cached: CACHED.load(Ordering::Relaxed),
        fresh: FRESH.load(Ordering::Relaxed),
    }
}

/// The class of a size, and the size of that class.
fn class_of(bytes: usize) -> (usize, usize) {
    if bytes <= FIRST_CLASS {
        return (0, FIRST_CLASS);
    }
    let log = (bytes - 1).ilog2() as usize;
    let step = (1usize << log) / 4;
    let quarter = (bytes - 1 - (1 << log)) / step;
    ((log - 6) * 4 + quarter + 1, (1 << log) + (quarter + 1) * step)
}

fn layout(size: usize) -> Result<Layout> {
    let align = if size >= HUGE { HUGE } else { 64 };
    Layout::from_size_align(size, align).map_err(|_| too_large(size))
}

#[cold]
fn too_large(bytes: usize) -> Error {
    Error::memory(format!("could not allocate {bytes} bytes for a tensor"))
}

struct Local {
    free: [Vec<usize>; SMALL_CLASSES],
}

impl Drop for Local {
    fn drop(&mut self) {
        for (class, list) in self.free.iter_mut().enumerate() {
            SHARED[class].lock().append(list);
        }
    }
}

thread_local! {
    static LOCAL: RefCell<Local> =
        const { RefCell::new(Local { free: [const { Vec::new() }; SMALL_CLASSES] }) };
}

/// A buffer of at least `bytes` bytes.
pub(super) fn allocate(bytes: usize) -> Result<*mut u8> {
    let (class, size) = class_of(bytes);
    if class >= CLASSES {
        return Err(too_large(bytes));
    }
    if size <= SMALL && class < SMALL_CLASSES {
        let cached = LOCAL.try_with(|local| local.try_borrow_mut().ok()?.free[class].pop());
        if let Ok(Some(ptr)) = cached {
            return Ok(ptr as *mut u8);
        }
        if let Some(ptr) = SHARED[class].lock().pop() {
            return Ok(ptr as *mut u8);
        }
    } else {
        let live = LIVE.fetch_add(size, Ordering::Relaxed) + size;
        PEAK.fetch_max(live, Ordering::Relaxed);
        if let Some(ptr) = SHARED[class].lock().pop() {
            CACHED.fetch_sub(size, Ordering::Relaxed);
            return Ok(ptr as *mut u8);
        }
    }
    fresh(size).inspect_err(|_| {
        if size > SMALL {
            LIVE.fetch_sub(size, Ordering::Relaxed);
        }
    })
}

#[cold]
fn fresh(size: usize) -> Result<*mut u8> {
    let layout = layout(size)?;
    FRESH.fetch_add(1, Ordering::Relaxed);
    // Zeroed, so that no element is ever uninitialised memory in Rust's sense: the system gives
    // large blocks as zero pages anyway.
    // SAFETY: the size is not zero.
    let mut ptr = unsafe { std::alloc::alloc_zeroed(layout) };
    if ptr.is_null() {
        release_cached();
        // SAFETY: as above.
        ptr = unsafe { std::alloc::alloc_zeroed(layout) };
    }
    if ptr.is_null() {
        return Err(too_large(size));
    }
    #[cfg(target_os = "linux")]
    if size >= HUGE {
        // SAFETY: our own block; the call only advises.
        unsafe { libc::madvise(ptr.cast(), size, libc::MADV_HUGEPAGE) };
    }
    Ok(ptr)
}

/// Takes back a buffer that `allocate(bytes)` gave.
pub(super) fn free(ptr: *mut u8, bytes: usize) {
    let (class, size) = class_of(bytes);
    if size <= SMALL && class < SMALL_CLASSES {
        let kept = LOCAL.try_with(|local| {
            let Ok(mut local) = local.try_borrow_mut() else { return false };
            let list = &mut local.free[class];
            if list.len() >= PER_THREAD {
                return false;
            }
            list.push(ptr as usize);
            true
        });
        if kept != Ok(true) {
            let mut list = SHARED[class].lock();
            if list.len() * size < (64 << 20) {
                list.push(ptr as usize);
            } else {
                drop(list);
                give_back(ptr, size);
            }
        }
        return;
    }
    LIVE.fetch_sub(size, Ordering::Relaxed);
    let cached = CACHED.fetch_add(size, Ordering::Relaxed) + size;
    if cached > PEAK.load(Ordering::Relaxed) {
        CACHED.fetch_sub(size, Ordering::Relaxed);
        give_back(ptr, size);
    } else {
        SHARED[class].lock().push(ptr as usize);
    }
}

fn give_back(ptr: *mut u8, size: usize) {
    if let Ok(layout) = layout(size) {
        // SAFETY: allocated by `fresh` with this very layout.
        unsafe { std::alloc::dealloc(ptr, layout) };
    }
}

/// Gives every cached buffer back to the system; returns the bytes freed.
pub fn release_cached() -> usize {
    let mut freed = 0;
    for (class, list) in SHARED.iter().enumerate() {
        let blocks = std::mem::take(&mut *list.lock());
        let size = size_of_class(class);
        for ptr in blocks {
            if size > SMALL {
                CACHED.fetch_sub(size, Ordering::Relaxed);
            }
            freed += size;
            give_back(ptr as *mut u8, size);
        }
    }
    PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
    freed
}

fn size_of_class(class: usize) -> usize {
    if class == 0 {
        return FIRST_CLASS;
    }
    let (log, quarter) = ((class - 1) / 4 + 6, (class - 1) % 4);
    (1 << log) + (quarter + 1) * ((1 << log) / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_their_sizes() {
        for bytes in (1..5000).chain([65536, 65537, (1 << 30) + 1]) {
            let (class, size) = class_of(bytes);
            assert!(size >= bytes && size <= bytes.max(64) * 5 / 4 + 1, "{bytes} -> {size}");
            assert_eq!(size_of_class(class), size);
        }
    }
}

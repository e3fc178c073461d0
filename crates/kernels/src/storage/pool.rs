//! The buffer pool: size classes, per-thread caches for small buffers, one shared list per class
//! for the rest. Buffers are aligned to 64 bytes; from 2 MiB on they begin within the first page of
//! 2 MiB, advised as huge pages.
//!
//! What is live and cached together never exceeds a limit that follows from the live peak; beyond
//! it the classes that were not used for the longest time give back first. So a steady loop takes
//! no page fault, whatever the program did before, and a program that shrinks gives memory back.

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
/// Buffers of `HUGE` and more begin at different places of a page: a write that lies a few bytes further
/// in its page than the read after it looks to the processor as if it were of the same memory.
#[cfg(target_os = "linux")]
const PLACES: usize = 8;
#[cfg(target_os = "linux")]
const PLACE: usize = 4096 / PLACES;

static SHARED: [Mutex<Vec<usize>>; CLASSES] = [const { Mutex::new(Vec::new()) }; CLASSES];
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static CACHED: AtomicUsize = AtomicUsize::new(0);
static FRESH: AtomicUsize = AtomicUsize::new(0);
/// When a buffer of each class above [`SMALL`] was last asked for or given back, on [`CLOCK`].
static USED: [AtomicUsize; CLASSES] = [const { AtomicUsize::new(0) }; CLASSES];
static CLOCK: AtomicUsize = AtomicUsize::new(0);

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
        touch(class);
        if let Some(ptr) = SHARED[class].lock().pop() {
            CACHED.fetch_sub(size, Ordering::Relaxed);
            return Ok(ptr as *mut u8);
        }
        trim(class);
    }
    fresh(size).inspect_err(|_| {
        if size > SMALL {
            LIVE.fetch_sub(size, Ordering::Relaxed);
        }
    })
}

fn touch(class: usize) {
    USED[class].store(CLOCK.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// The most that may be live and cached together. Twice the live peak, so that a loop whose halves
/// use buffers of unlike sizes keeps both; for programs of many gigabytes half as much again.
fn limit() -> usize {
    let peak = PEAK.load(Ordering::Relaxed);
    peak + peak.min((peak / 2).max(1 << 30))
}

/// Gives back cached buffers, of the classes first that rested longest, until the limit holds.
/// Those of the class `keep` stay: they are in use right now.
#[cold]
fn trim(keep: usize) {
    let over = || {
        LIVE.load(Ordering::Relaxed) + CACHED.load(Ordering::Relaxed) > limit()
            && CACHED.load(Ordering::Relaxed) > 0
    };
    if !over() {
        return;
    }
    let mut classes: Vec<(usize, usize)> = (0..CLASSES)
        .filter(|&class| class != keep && size_of_class(class) > SMALL)
        .map(|class| (USED[class].load(Ordering::Relaxed), class))
        .filter(|&(used, _)| used > 0)
        .collect();
    classes.sort_unstable();
    for (_, class) in classes {
        while over() {
            let Some(ptr) = SHARED[class].lock().pop() else { break };
            CACHED.fetch_sub(size_of_class(class), Ordering::Relaxed);
            give_back(ptr as *mut u8, size_of_class(class));
        }
    }
}

#[cold]
fn fresh(size: usize) -> Result<*mut u8> {
    FRESH.fetch_add(1, Ordering::Relaxed);
    let mut ptr = from_system(size)?;
    if ptr.is_null() {
        release_cached();
        ptr = from_system(size)?;
    }
    if ptr.is_null() {
        return Err(too_large(size));
    }
    Ok(ptr)
}

/// A block of the system, null if it has none. Zeroed, so that no element is ever uninitialised
/// memory in Rust's sense.
#[cfg(target_os = "linux")]
fn from_system(size: usize) -> Result<*mut u8> {
    if size < HUGE {
        // SAFETY: the size is not zero.
        return Ok(unsafe { std::alloc::alloc_zeroed(layout(size)?) });
    }
    // Mapped directly: an aligned allocation would be zeroed by writing to it, page by small page,
    // before it could be advised to be of huge ones.
    let Some(wide) = size.checked_add(2 * HUGE) else { return Ok(std::ptr::null_mut()) };
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping; what lies before and behind the aligned part is unmapped at once.
    unsafe {
        let base = libc::mmap(std::ptr::null_mut(), wide, access, kind, -1, 0);
        if base == libc::MAP_FAILED {
            return Ok(std::ptr::null_mut());
        }
        let base = base.cast::<u8>();
        let before = base.align_offset(HUGE);
        let end = mapped(size);
        if before > 0 {
            libc::munmap(base.cast(), before);
        }
        if wide > before + end {
            libc::munmap(base.add(before + end).cast(), wide - before - end);
        }
        let ptr = base.add(before);
        libc::madvise(ptr.cast(), end, libc::MADV_HUGEPAGE);
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Steps of three, so that neighbours are far apart.
        let place = 3 * NEXT.fetch_add(1, Ordering::Relaxed) % PLACES * PLACE;
        Ok(ptr.add(place))
    }
}

/// Bytes of the mapping of a large block: whole small pages.
#[cfg(target_os = "linux")]
fn mapped(size: usize) -> usize {
    (size + PLACES * PLACE).next_multiple_of(64 * 1024)
}

#[cfg(not(target_os = "linux"))]
fn from_system(size: usize) -> Result<*mut u8> {
    // SAFETY: the size is not zero.
    Ok(unsafe { std::alloc::alloc_zeroed(layout(size)?) })
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
    CACHED.fetch_add(size, Ordering::Relaxed);
    touch(class);
    SHARED[class].lock().push(ptr as usize);
}

fn give_back(ptr: *mut u8, size: usize) {
    #[cfg(target_os = "linux")]
    if size >= HUGE {
        let base = ptr.wrapping_sub(ptr as usize % HUGE);
        // SAFETY: mapped by `from_system` with this very size, from a multiple of `HUGE` on.
        unsafe { libc::munmap(base.cast(), mapped(size)) };
        return;
    }
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

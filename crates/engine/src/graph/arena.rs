//! Slots for nodes in chunks that are never moved or freed, addressed by id and generation.
//!
//! Invariants: a slot's node is initialised exactly while `refs > 0` (and until the last holder has
//! taken it out); a slot goes back to a free list only after its node was moved out; the generation
//! grows each time, so a weak handle cannot mistake a new node for the old one. Releasing a node
//! never recurses: what it leads to is released from a queue of the thread.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::ops::Deref;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

use parking_lot::Mutex;
use parking_lot::lock_api::RawMutex as _;

use super::node::{More, Node, Saved};
use crate::error::{Error, Result};
use crate::storage::sharing::alone;

const CHUNK: usize = 8192;
const CHUNKS: usize = 1 << 16;
/// A thread keeps at most this many free slots for itself.
const KEEP: usize = 2 * CHUNK;

struct Slot {
    refs: AtomicU32,
    generation: AtomicU32,
    node: UnsafeCell<MaybeUninit<Node>>,
}

/// Bytes one node takes.
pub const SLOT_BYTES: usize = size_of::<Slot>();
const _: () = assert!(SLOT_BYTES <= 120, "a node has outgrown its slot");

static TABLE: [AtomicPtr<Slot>; CHUNKS] = [const { AtomicPtr::new(std::ptr::null_mut()) }; CHUNKS];
static NEXT_CHUNK: Mutex<u32> = Mutex::new(0);
static SHARED_FREE: Mutex<Vec<Vec<u32>>> = Mutex::new(Vec::new());
/// Clock values are handed to threads in blocks.
static CLOCK: AtomicU64 = AtomicU64::new(1);

struct Local {
    free: Vec<u32>,
    /// Untouched ids of the newest chunk, `next..end`.
    next: u32,
    end: u32,
    doomed: Vec<u32>,
    draining: bool,
}

impl Drop for Local {
    fn drop(&mut self) {
        self.free.extend(self.next..self.end);
        if !self.free.is_empty() {
            SHARED_FREE.lock().push(std::mem::take(&mut self.free));
        }
    }
}

thread_local! {
    static LOCAL: RefCell<Local> = const {
        RefCell::new(Local { free: Vec::new(), next: 0, end: 0, doomed: Vec::new(), draining: false })
    };
    static SEQ: Cell<u64> = const { Cell::new(0) };
}

/// A number above `floor` and above all this thread gave out before (Lamport 1978): along every
/// edge of the graph numbers fall, whichever threads recorded it.
#[inline]
pub(crate) fn next_seq(floor: u64) -> u64 {
    let mut last = SEQ.get();
    if last == 0 {
        last = CLOCK.load(Ordering::Relaxed);
    }
    let seq = last.max(floor) + 1;
    SEQ.set(seq);
    if seq & 0xfff == 0 {
        CLOCK.fetch_max(seq, Ordering::Relaxed);
    }
    seq
}

#[inline]
fn slot(id: u32) -> &'static Slot {
    let chunk = TABLE[id as usize / CHUNK].load(Ordering::Acquire);
    debug_assert!(!chunk.is_null());
    // SAFETY: ids are only made for chunks that exist, and chunks are never freed.
    unsafe { &*chunk.add(id as usize % CHUNK) }
}

#[cold]
fn new_chunk() -> Result<u32> {
    let mut next = NEXT_CHUNK.lock();
    let index = *next as usize;
    let layout = Layout::array::<Slot>(CHUNK).map_err(|_| Error::memory("graph arena"))?;
    if index >= CHUNKS {
        return Err(Error::memory("the graph has more than 2^29 live nodes"));
    }
    // SAFETY: the size is not zero; zero bytes are a valid free slot (refs 0, generation 0,
    // contents uninitialised).
    let chunk = unsafe { std::alloc::alloc_zeroed(layout) }.cast::<Slot>();
    if chunk.is_null() {
        return Err(Error::memory("could not allocate memory for the graph"));
    }
    TABLE[index].store(chunk, Ordering::Release);
    *next += 1;
    Ok((index * CHUNK) as u32)
}

fn take_id() -> Result<u32> {
    let id = LOCAL.try_with(|local| {
        let mut local = local.borrow_mut();
        if let Some(id) = local.free.pop() {
            return Ok(id);
        }
        if local.next == local.end {
            if let Some(batch) = SHARED_FREE.lock().pop() {
                local.free = batch;
                if let Some(id) = local.free.pop() {
                    return Ok(id);
                }
            }
            let first = new_chunk()?;
            // Id 0 is never used, so that a handle fits in a NonZeroU32.
            local.next = first.max(1);
            local.end = first + CHUNK as u32;
        }
        local.next += 1;
        Ok(local.next - 1)
    });
    match id {
        Ok(id) => id,
        Err(_) => Err(Error::runtime("this thread is shutting down; it can record nothing more")),
    }
}

fn give_id(local: &mut Local, id: u32) {
    local.free.push(id);
    if local.free.len() > KEEP {
        let rest = local.free.len() - KEEP / 2;
        let batch = local.free.split_off(rest);
        SHARED_FREE.lock().push(batch);
    }
}

/// A counted handle of a node.
pub struct NodeRef(NonZeroU32);

impl NodeRef {
    /// Puts a node into a slot.
    #[inline]
    pub(crate) fn new(node: Node) -> Result<Self> {
        let id = take_id()?;
        let slot = slot(id);
        // SAFETY: the slot is free and its id is ours alone.
        unsafe { (*slot.node.get()).write(node) };
        slot.refs.store(1, Ordering::Release);
        match NonZeroU32::new(id) {
            Some(id) => Ok(Self(id)),
            None => Err(Error::runtime("the graph arena gave out slot 0")),
        }
    }

    /// The slot's number: dense, reused.
    #[inline]
    pub fn id(&self) -> u32 {
        self.0.get()
    }

    /// A handle that does not keep the node alive.
    pub fn downgrade(&self) -> WeakNode {
        WeakNode {
            id: self.0.get(),
            generation: slot(self.0.get()).generation.load(Ordering::Acquire),
        }
    }

    /// How many handles the node has, this one included.
    pub fn handles(&self) -> u32 {
        slot(self.0.get()).refs.load(Ordering::Acquire)
    }
}

impl Deref for NodeRef {
    type Target = Node;
    #[inline]
    fn deref(&self) -> &Node {
        // SAFETY: this handle is counted in `refs`, so the node is initialised.
        unsafe { (*slot(self.0.get()).node.get()).assume_init_ref() }
    }
}

impl Clone for NodeRef {
    #[inline]
    fn clone(&self) -> Self {
        slot(self.0.get()).refs.fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }
}

impl PartialEq for NodeRef {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Drop for NodeRef {
    #[inline]
    fn drop(&mut self) {
        if slot(self.0.get()).refs.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            release(self.0.get());
        }
    }
}

/// Takes the node of a dead slot out, and those that die with it, without recursion.
fn release(id: u32) {
    let first = LOCAL.try_with(|local| {
        let mut local = local.borrow_mut();
        local.doomed.push(id);
        !std::mem::replace(&mut local.draining, true)
    });
    match first {
        Ok(false) => return,
        Ok(true) => {}
        Err(_) => {
            // The thread is ending and its lists are gone: recursion is all that is left, and the
            // slot is lost to reuse.
            // SAFETY: `refs` fell to zero, nobody else can reach the node.
            drop(unsafe { (*slot(id).node.get()).assume_init_read() });
            return;
        }
    }
    let mut done = None;
    loop {
        let next = LOCAL.with(|local| {
            let mut local = local.borrow_mut();
            if let Some(id) = done {
                give_id(&mut local, id);
            }
            let id = local.doomed.pop();
            if id.is_none() {
                local.draining = false;
            }
            id
        });
        let Some(id) = next else { return };
        let slot = slot(id);
        slot.generation.fetch_add(1, Ordering::Release);
        // SAFETY: `refs` fell to zero exactly once, so the node is initialised and nobody else can
        // reach it; it is dropped once, and the slot is given back afterwards.
        unsafe { (*slot.node.get()).assume_init_drop() };
        done = Some(id);
    }
}

/// A handle that does not keep its node alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WeakNode {
    id: u32,
    generation: u32,
}

impl WeakNode {
    /// The node, if it is still alive.
    pub fn upgrade(self) -> Option<NodeRef> {
        let id = NonZeroU32::new(self.id)?;
        let slot = slot(self.id);
        let mut refs = slot.refs.load(Ordering::Acquire);
        loop {
            if refs == 0 || slot.generation.load(Ordering::Acquire) != self.generation {
                return None;
            }
            match slot.refs.compare_exchange_weak(
                refs,
                refs + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => break,
                Err(now) => refs = now,
            }
        }
        let node = NodeRef(id);
        // The slot may have been given to another node between the check and the count.
        (slot.generation.load(Ordering::Acquire) == self.generation).then_some(node)
    }
}

/// One past the highest slot number in use.
pub(crate) fn capacity() -> u32 {
    *NEXT_CHUNK.lock() * CHUNK as u32
}

/// A counted handle of a node that is borrowed, hence alive.
pub(crate) fn handle(id: u32, node: &Node) -> NodeRef {
    let slot = slot(id);
    debug_assert!(std::ptr::eq(slot.node.get().cast::<Node>(), node));
    slot.refs.fetch_add(1, Ordering::Relaxed);
    NodeRef(NonZeroU32::new(id).unwrap_or(NonZeroU32::MIN))
}

/// Handles of all nodes alive now; other threads may change the graph meanwhile.
pub fn live_nodes() -> Vec<NodeRef> {
    let mut nodes = Vec::new();
    for id in 1..capacity() {
        let slot = slot(id);
        if slot.refs.load(Ordering::Acquire) == 0 {
            continue;
        }
        let weak = WeakNode { id, generation: slot.generation.load(Ordering::Acquire) };
        nodes.extend(weak.upgrade());
    }
    nodes
}

// The two parts of a node that are reached without `&mut`.

impl Node {
    /// Runs `f` on the places for saved tensors.
    #[inline]
    pub(crate) fn with_saved<R>(&self, f: impl FnOnce(&mut [Saved; 2]) -> R) -> R {
        type Guard = <parking_lot::RawMutex as parking_lot::lock_api::RawMutex>::Guard;
        struct Unlock<'a>(&'a Node, Option<Guard>);
        impl Drop for Unlock<'_> {
            fn drop(&mut self) {
                if let Some(guard) = self.1.take() {
                    // SAFETY: the guard is from this lock and given back once.
                    unsafe { self.0.lock.unlock(guard) };
                }
            }
        }
        let guard = if alone() { None } else { Some(self.lock.lock()) };
        let _unlock = Unlock(self, guard);
        // SAFETY: the lock is held or nobody else can run, and `saved` is only reached here, by
        // closures that touch nothing else.
        f(unsafe { &mut *self.saved.get() })
    }
}

/// Reads what a mutex guards, without taking it where nobody else can run; `f` must only read.
#[inline]
pub(crate) fn peek<T, R>(mutex: &Mutex<T>, f: impl FnOnce(&T) -> R) -> R {
    if alone() {
        // SAFETY: no other thread can hold the lock, and this one does not while it calls `peek`,
        // as it would wait for itself.
        return f(unsafe { &*mutex.data_ptr() });
    }
    f(&mutex.lock())
}

pub(super) fn load_more(place: &AtomicPtr<More>) -> Option<&More> {
    let more = place.load(Ordering::Acquire);
    // SAFETY: null or a leaked box that lives until the node is dropped.
    unsafe { more.as_ref() }
}

pub(super) fn get_or_make_more(place: &AtomicPtr<More>) -> &More {
    if let Some(more) = load_more(place) {
        return more;
    }
    let fresh = Box::into_raw(Box::<More>::default());
    match place.compare_exchange(std::ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: just leaked, lives until the node is dropped.
        Ok(_) => unsafe { &*fresh },
        Err(theirs) => {
            // SAFETY: ours lost the race and was never shared; theirs lives as above.
            unsafe {
                drop(Box::from_raw(fresh));
                &*theirs
            }
        }
    }
}

pub(super) fn drop_more(place: &mut AtomicPtr<More>) {
    let more = std::mem::replace(place.get_mut(), std::ptr::null_mut());
    if !more.is_null() {
        // SAFETY: leaked by `Node::new` or `get_or_make_more`, and taken here once.
        drop(unsafe { Box::from_raw(more) });
    }
}

// SAFETY: a node's shared parts are atomic or behind its lock; what it owns is Send + Sync.
unsafe impl Sync for Node {}
// SAFETY: as above.
unsafe impl Send for Node {}

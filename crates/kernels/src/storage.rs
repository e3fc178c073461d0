//! Shared buffers: [`Core`] is the immutable part of a tensor (dtype, shape, strides) together
//! with the buffer it owns or the root whose buffer it views.
//!
//! Invariants: a root's buffer lives as long as any of its views; whoever reads or writes elements
//! holds the root's lock through `Access`, taken in address order, so that safe code cannot race
//! (no lock is taken where no other thread can be, see [`sharing`]);
//! a buffer that was just made and not yet shared needs no lock.
#![allow(unsafe_code)]

pub mod deferred;
mod pool;
pub mod sharing;

use std::any::Any;
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use parking_lot::lock_api::RawRwLock as _;
use smallvec::SmallVec;

use crate::dtype::{DType, Element};
use crate::error::{Error, Result, ensure};
use crate::shape::{Dims, Strides, contiguous_strides, is_contiguous};

pub use pool::{PoolStats, release_cached, stats};

/// Readers never wait for a waiting writer: one thread may read a buffer it already reads.
type Lock = parking_lot::RawRwLock<true>;
type Shared = <Lock as parking_lot::lock_api::RawRwLock>::SharedGuard;
type Exclusive = <Lock as parking_lot::lock_api::RawRwLock>::ExclusiveGuard;

/// Bytes kept inside the header instead of a buffer of their own: a 0-d tensor is one allocation.
const INLINE: usize = 16;

/// In `Core::readers`: the memory is in the hands of others, who may write it unseen.
const LENT: u32 = 1;
/// In `Core::readers`: one core that waits to read this one.
const READER: u32 = 2;

enum Buf {
    Inline,
    Pool {
        bytes: usize,
    },
    /// Memory of someone else, kept alive by the box; `bool`: may be written.
    Foreign(
        #[expect(dead_code, reason = "kept for its destructor")] Box<dyn Any + Send + Sync>,
        bool,
    ),
    View(Arc<Core>),
}

/// dtype, layout and buffer of a tensor; everything but its autograd state.
pub struct Core {
    /// The first element; null for a root whose elements were put off.
    ptr: AtomicPtr<u8>,
    shape: Dims,
    strides: Strides,
    numel: usize,
    offset: isize,
    dtype: DType,
    contiguous: bool,
    lock: Lock,
    version: AtomicU32,
    /// Where the user's program last wrote in place (a site id; see `graph::site`).
    writer: AtomicU32,
    /// A version counter of its own, for `.data`, which torch does not count as a write.
    own_version: Option<Arc<AtomicU32>>,
    /// How many cores wait to read this root (in units of `READER`), and `LENT`.
    readers: AtomicU32,
    /// The work that will make the elements, if it was put off.
    deferred: AtomicPtr<deferred::Deferred>,
    buf: Buf,
    inline: UnsafeCell<[u64; INLINE / 8]>,
}

// SAFETY: elements are only touched under the root's lock (see `Access`) or while unshared; the
// rest is immutable or atomic. Foreign memory is kept alive by a Send + Sync owner.
unsafe impl Send for Core {}
// SAFETY: as above.
unsafe impl Sync for Core {}

impl Core {
    /// A fresh buffer of unspecified (but initialised) contents, row-major.
    pub fn alloc(dtype: DType, shape: &[usize]) -> Result<Arc<Self>> {
        let numel = if shape.is_empty() { 1 } else { crate::shape::numel(shape)? };
        let bytes = numel.checked_mul(dtype.size()).filter(|&b| b <= isize::MAX as usize / 2);
        let Some(bytes) = bytes else { return Err(too_large(dtype, shape)) };
        let (ptr, buf) = if bytes <= INLINE {
            (std::ptr::null_mut(), Buf::Inline)
        } else {
            (pool::allocate(bytes)?, Buf::Pool { bytes })
        };
        let (shape, strides) = if shape.is_empty() {
            (Dims::new(), Strides::new())
        } else {
            (Dims::from_slice(shape), contiguous_strides(shape))
        };
        Ok(Self::make(ptr, dtype, shape, strides, numel, buf))
    }

    /// A root of a dense layout whose buffer [`Self::provide`] is to give it: for elements that are put off.
    /// The memory was there a moment ago, so that running short of it is told now.
    fn promise(dtype: DType, shape: &[usize], strides: &[isize]) -> Result<Arc<Self>> {
        let numel: usize = shape.iter().product();
        let bytes = numel.checked_mul(dtype.size()).filter(|&b| b <= isize::MAX as usize / 2);
        let Some(bytes) = bytes else { return Err(too_large(dtype, shape)) };
        pool::free(pool::allocate(bytes)?, bytes);
        let null = std::ptr::null_mut();
        let (dims, steps) = (Dims::from_slice(shape), Strides::from_slice(strides));
        let mut core = Self::make(null, dtype, dims, steps, numel, Buf::Pool { bytes });
        if let Some(fresh) = Arc::get_mut(&mut core) {
            fresh.contiguous = is_contiguous(shape, strides);
        }
        Ok(core)
    }

    /// Gives the core the buffer it was promised. The caller holds its lock.
    ///
    /// # Panics
    /// If the memory, which was there when the core was made, is gone: the program has no way on.
    pub(crate) fn provide(&self) {
        if let (Buf::Pool { bytes }, true) = (&self.buf, self.ptr.load(Ordering::Acquire).is_null())
        {
            let made = pool::allocate(*bytes).or_else(|_| {
                release_cached();
                pool::allocate(*bytes)
            });
            match made {
                Ok(made) => self.ptr.store(made, Ordering::Release),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A new root, its fields written straight into their place: the value is too large to be moved
    /// there for every 0-d result.
    #[inline]
    fn make(
        ptr: *mut u8,
        dtype: DType,
        shape: Dims,
        strides: Strides,
        numel: usize,
        buf: Buf,
    ) -> Arc<Self> {
        let mut place = Arc::<Self>::new_uninit();
        if let Some(place) = Arc::get_mut(&mut place) {
            let core = place.as_mut_ptr();
            // SAFETY: every field is written once, at its place in the fresh allocation.
            unsafe {
                (&raw mut (*core).ptr).write(AtomicPtr::new(ptr));
                (&raw mut (*core).shape).write(shape);
                (&raw mut (*core).strides).write(strides);
                (&raw mut (*core).numel).write(numel);
                (&raw mut (*core).offset).write(0);
                (&raw mut (*core).dtype).write(dtype);
                (&raw mut (*core).contiguous).write(true);
                (&raw mut (*core).lock).write(Lock::INIT);
                (&raw mut (*core).version).write(AtomicU32::new(0));
                (&raw mut (*core).writer).write(AtomicU32::new(0));
                (&raw mut (*core).own_version).write(None);
                (&raw mut (*core).readers).write(AtomicU32::new(0));
                (&raw mut (*core).deferred).write(AtomicPtr::new(std::ptr::null_mut()));
                (&raw mut (*core).buf).write(buf);
                (&raw mut (*core).inline).write(UnsafeCell::new([0; INLINE / 8]));
            }
        }
        // SAFETY: the allocation is ours alone, so `get_mut` gave it and all fields were written.
        unsafe { place.assume_init() }
    }

    /// Memory of someone else as a tensor.
    ///
    /// # Safety
    /// `ptr` with `shape` and `strides` (in elements) must stay readable, and writable if
    /// `writable`, as long as `owner` lives, and be aligned for `dtype`.
    pub unsafe fn foreign(
        ptr: *mut u8,
        dtype: DType,
        shape: &[usize],
        strides: &[isize],
        owner: Box<dyn Any + Send + Sync>,
        writable: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            ptr: AtomicPtr::new(ptr),
            shape: Dims::from_slice(shape),
            strides: Strides::from_slice(strides),
            numel: shape.iter().product(),
            offset: 0,
            dtype,
            contiguous: is_contiguous(shape, strides),
            lock: Lock::INIT,
            version: AtomicU32::new(0),
            writer: AtomicU32::new(0),
            own_version: None,
            readers: AtomicU32::new(0),
            deferred: AtomicPtr::new(std::ptr::null_mut()),
            buf: Buf::Foreign(owner, writable),
            inline: UnsafeCell::new([0; INLINE / 8]),
        })
    }

    /// Another layout over the same buffer; `offset` counts elements from the root's first.
    /// Refused when it would leave the buffer.
    pub fn view(
        self: &Arc<Self>,
        shape: &[usize],
        strides: &[isize],
        offset: isize,
    ) -> Result<Arc<Self>> {
        self.view_as(self.dtype, shape, strides, offset, false)
    }

    /// [`Self::view`] as another dtype of the same size; `fresh_version` with a version counter of its
    /// own.
    pub fn view_as(
        self: &Arc<Self>,
        dtype: DType,
        shape: &[usize],
        strides: &[isize],
        offset: isize,
        fresh_version: bool,
    ) -> Result<Arc<Self>> {
        let root = self.root();
        root.settle();
        let numel: usize = shape.iter().product();
        if numel > 0 {
            let (mut lo, mut hi) = (offset, offset);
            for (&n, &s) in shape.iter().zip(strides) {
                let span = (n as isize - 1).checked_mul(s);
                let Some(span) = span else {
                    return Err(Error::runtime("a view's strides overflow"));
                };
                if span < 0 { lo += span } else { hi += span }
            }
            let (min, max) = root.element_bounds(dtype);
            ensure!(
                lo >= min && hi < max,
                runtime,
                "a view of sizes {:?}, strides {:?} and storage offset {} is out of bounds for a \
                 storage of {} elements",
                shape,
                strides,
                offset,
                max
            );
        }
        let own_version = if fresh_version {
            Some(Arc::new(AtomicU32::new(0)))
        } else {
            self.own_version.clone()
        };
        // Wrapping: an empty view may point anywhere, it is never read.
        let ptr = root.data().wrapping_offset(offset * dtype.size() as isize);
        Ok(Arc::new(Self {
            ptr: AtomicPtr::new(ptr),
            shape: Dims::from_slice(shape),
            strides: Strides::from_slice(strides),
            numel,
            offset,
            dtype,
            contiguous: is_contiguous(shape, strides),
            lock: Lock::INIT,
            version: AtomicU32::new(0),
            writer: AtomicU32::new(0),
            own_version,
            readers: AtomicU32::new(0),
            deferred: AtomicPtr::new(std::ptr::null_mut()),
            buf: Buf::View(match &self.buf {
                Buf::View(root) => root.clone(),
                _ => self.clone(),
            }),
            inline: UnsafeCell::new([0; INLINE / 8]),
        }))
    }

    /// The same fresh, unshared buffer with another dense layout.
    pub fn into_layout(self: Arc<Self>, shape: &[usize], strides: &[isize]) -> Result<Arc<Self>> {
        let mut this = self;
        this.settle();
        match Arc::get_mut(&mut this) {
            Some(core) => {
                core.contiguous = is_contiguous(shape, strides);
                core.shape = Dims::from_slice(shape);
                core.strides = Strides::from_slice(strides);
                Ok(this)
            }
            None => this.view(shape, strides, 0),
        }
    }

    /// The core that owns the buffer.
    #[inline]
    pub fn root(&self) -> &Self {
        match &self.buf {
            Buf::View(root) => root,
            _ => self,
        }
    }

    fn element_bounds(&self, dtype: DType) -> (isize, isize) {
        match self.buf {
            Buf::Inline => (0, (INLINE / dtype.size()) as isize),
            Buf::Pool { bytes } => (0, (bytes / dtype.size()) as isize),
            _ => {
                let (mut lo, mut hi) = (0isize, 0isize);
                for (&n, &s) in self.shape.iter().zip(&self.strides) {
                    let span = (n as isize - 1) * s;
                    if span < 0 { lo += span } else { hi += span }
                }
                let scale = self.dtype.size() as isize;
                let to = dtype.size() as isize;
                (lo * scale / to, (hi + 1) * scale / to)
            }
        }
    }

    /// Bytes of the buffer this core owns or views.
    pub fn storage_bytes(&self) -> usize {
        let root = self.root();
        match root.buf {
            Buf::Pool { bytes } => bytes,
            _ => root.numel * root.dtype.size(),
        }
    }

    /// The address of the first element. Reading or writing through it needs an [`Access`].
    #[inline]
    pub fn data(&self) -> *mut u8 {
        if matches!(self.buf, Buf::Inline) {
            self.inline.get().cast()
        } else {
            self.ptr.load(Ordering::Acquire)
        }
    }

    /// The address of the first element, for lending the memory to others.
    pub fn address(&self) -> usize {
        self.lend();
        self.data() as usize
    }

    /// The element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.dtype
    }
    /// The sizes.
    #[inline]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// The strides, in elements.
    #[inline]
    pub fn strides(&self) -> &[isize] {
        &self.strides
    }
    /// The number of elements.
    #[inline]
    pub fn numel(&self) -> usize {
        self.numel
    }
    /// The position of the first element in the buffer, in elements.
    #[inline]
    pub fn offset(&self) -> isize {
        self.offset
    }
    /// Whether the elements lie dense and row-major.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.contiguous
    }
    /// Whether the buffer may be written.
    pub fn writable(&self) -> bool {
        !matches!(self.root().buf, Buf::Foreign(_, false))
    }

    /// Whether one handle is all that leads to the elements, and they are dense.
    pub fn owned_by_one(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
            && self.contiguous
            && match &self.buf {
                Buf::Inline | Buf::Pool { .. } => true,
                Buf::View(root) => Arc::strong_count(root) == 1 && root.numel == self.numel,
                Buf::Foreign(..) => false,
            }
    }

    /// Whether two cores share one buffer.
    #[inline]
    pub fn same_storage(&self, other: &Self) -> bool {
        std::ptr::eq(self.root(), other.root())
    }

    #[inline]
    fn counter(&self) -> &AtomicU32 {
        match &self.own_version {
            Some(counter) => counter,
            None => &self.root().version,
        }
    }

    /// How often the buffer was written in place.
    #[inline]
    pub fn version(&self) -> u32 {
        self.counter().load(Ordering::Acquire)
    }

    /// Counts a write in place, made at `site`.
    #[inline]
    pub fn bump_version(&self, site: u32) {
        self.counter().fetch_add(1, Ordering::AcqRel);
        self.root().writer.store(site, Ordering::Relaxed);
    }

    /// Puts the count of writes back.
    pub fn set_version(&self, version: u32) {
        self.counter().store(version, Ordering::Release);
    }

    /// The site of the last write in place, 0 if none.
    pub fn last_writer(&self) -> u32 {
        self.root().writer.load(Ordering::Relaxed)
    }

    /// A copy of the bytes of one element, by its offset in elements from the first.
    ///
    /// # Safety
    /// `at` must be inside the view.
    #[inline]
    unsafe fn read<T: Element>(&self, at: isize) -> T {
        debug_assert_eq!(T::DTYPE, self.dtype);
        // SAFETY: in bounds by the caller's word; aligned because buffers and views are.
        unsafe { self.data().cast::<T>().offset(at).read() }
    }

    /// One element, by multi-index; `None` when out of range.
    pub fn get(&self, index: &[usize]) -> Option<crate::dtype::Scalar> {
        if index.len() != self.shape.len() || index.iter().zip(&self.shape).any(|(&i, &n)| i >= n) {
            return None;
        }
        let at: isize = index.iter().zip(&self.strides).map(|(&i, &s)| i as isize * s).sum();
        let _access = Access::read(self);
        Some(crate::dtype::dispatch!(self.dtype, T => {
            // SAFETY: the index was checked against the shape.
            unsafe { self.read::<T>(at) }.to_scalar()
        }))
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.drop_deferred();
        if let Buf::Pool { bytes } = self.buf {
            let ptr = *self.ptr.get_mut();
            if !ptr.is_null() {
                pool::free(ptr, bytes);
            }
        }
    }
}

#[cold]
fn too_large(dtype: DType, shape: &[usize]) -> Error {
    Error::memory(format!(
        "a tensor of shape {shape:?} and dtype {dtype} is larger than the address space"
    ))
}

/// Copies `data` into a fresh row-major core.
pub fn from_slice<T: Element>(data: &[T], shape: &[usize]) -> Result<Arc<Core>> {
    let core = Core::alloc(T::DTYPE, shape)?;
    ensure!(
        core.numel == data.len(),
        value,
        "{} values do not fill the shape {:?}",
        data.len(),
        shape
    );
    // SAFETY: fresh, unshared, contiguous and of this many elements.
    unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), core.data().cast::<T>(), data.len()) };
    Ok(core)
}

/// A fresh row-major core whose elements `fill` writes over zeros.
pub fn filled_by<T: Element>(
    shape: &[usize],
    fill: impl FnOnce(&mut [T]) -> Result<()>,
) -> Result<Arc<Core>> {
    let core = Core::alloc(T::DTYPE, shape)?;
    let data = core.data().cast::<T>();
    // SAFETY: fresh, unshared, contiguous and of this many elements, all of whose types have zero bits as a value.
    fill(unsafe {
        std::ptr::write_bytes(data, 0, core.numel);
        std::slice::from_raw_parts_mut(data, core.numel)
    })?;
    Ok(core)
}

/// The right to touch the elements of some cores, held while the value lives.
///
/// Locks are taken on roots in address order, each once, so accesses cannot deadlock among
/// themselves; nothing foreign (a rule, a hook, a destructor) runs while one is held.
pub struct Access<'a> {
    held: SmallVec<[(&'a Core, Held); 4]>,
}

enum Held {
    Shared(Shared),
    Exclusive(Exclusive),
    Released,
}

impl<'a> Access<'a> {
    /// Read access to one core.
    #[inline]
    pub fn read(core: &'a Core) -> Self {
        let root = core.root();
        root.settle();
        let mut held = SmallVec::new();
        if !sharing::alone() {
            held.push((root, Held::Shared(root.lock.lock_shared())));
        }
        Self { held }
    }

    /// Read access to `reads` and write access to `write`.
    #[inline]
    pub fn new(reads: &[&'a Core], write: Option<&'a Core>) -> Self {
        settle_all(reads, write);
        Self::locked(reads, write.as_slice())
    }

    /// [`Self::new`] to cores as they are, whether their elements are made or not.
    #[inline]
    pub(crate) fn locked(reads: &[&'a Core], writes: &[&'a Core]) -> Self {
        if sharing::alone() {
            return Self { held: SmallVec::new() };
        }
        let writes = writes.iter().map(|core| (core.root(), true));
        let reads = reads.iter().map(|core| (core.root(), false));
        Self::lock(writes.chain(reads).collect())
    }

    /// Locks roots in address order, each once: for writing where one of its entries says so.
    fn lock(mut roots: SmallVec<[(&'a Core, bool); 6]>) -> Self {
        if roots.len() > 1 {
            // Writers first among equals.
            roots.sort_unstable_by_key(|&(core, write)| {
                (std::ptr::from_ref::<Core>(core) as usize, !write)
            });
            roots.dedup_by(|later, kept| std::ptr::eq(later.0, kept.0));
        }
        let lock = |(core, write): (&'a Core, bool)| {
            let held = if write {
                Held::Exclusive(core.lock.lock_exclusive())
            } else {
                Held::Shared(core.lock.lock_shared())
            };
            (core, held)
        };
        Self { held: roots.into_iter().map(lock).collect() }
    }

    /// Access to any number of cores, each with whether it is to be written.
    pub fn many(cores: impl IntoIterator<Item = (&'a Core, bool)>) -> Self {
        let roots: SmallVec<[(&'a Core, bool); 6]> =
            cores.into_iter().map(|(core, write)| (core.root(), write)).collect();
        for (root, write) in &roots {
            root.settle();
            if *write {
                root.settle_readers();
            }
        }
        if sharing::alone() {
            return Self { held: SmallVec::new() };
        }
        Self::lock(roots)
    }
}

/// Makes what is to be read or written, and what is to read that.
#[inline]
fn settle_all(reads: &[&Core], write: Option<&Core>) {
    for core in reads {
        core.root().settle();
    }
    if let Some(core) = write {
        let root = core.root();
        root.settle();
        root.settle_readers();
    }
}

impl Drop for Access<'_> {
    #[inline]
    fn drop(&mut self) {
        for (core, held) in &mut self.held {
            // SAFETY: the guards were taken from these locks and are given back once.
            unsafe {
                match std::mem::replace(held, Held::Released) {
                    Held::Exclusive(guard) => core.lock.unlock_exclusive(guard),
                    Held::Shared(guard) => core.lock.unlock_shared(guard),
                    Held::Released => {}
                }
            }
        }
    }
}

/// Read access to one or two cores: the common case of [`Access`], without its list.
pub struct ReadTwo<'a> {
    first: (&'a Core, Option<Shared>),
    second: Option<(&'a Core, Option<Shared>)>,
}

impl<'a> ReadTwo<'a> {
    /// Locks both roots, in address order; once if they are one.
    #[inline]
    pub fn new(a: &'a Core, b: &'a Core) -> Self {
        let (a, b) = (a.root(), b.root());
        a.settle();
        b.settle();
        if sharing::alone() {
            return Self { first: (a, None), second: None };
        }
        let (x, y) = (std::ptr::from_ref(a) as usize, std::ptr::from_ref(b) as usize);
        if x == y {
            return Self { first: (a, Some(a.lock.lock_shared())), second: None };
        }
        let (a, b) = if x < y { (a, b) } else { (b, a) };
        Self {
            first: (a, Some(a.lock.lock_shared())),
            second: Some((b, Some(b.lock.lock_shared()))),
        }
    }
}

impl Drop for ReadTwo<'_> {
    #[inline]
    fn drop(&mut self) {
        let unlock = |(core, guard): &mut (&Core, Option<Shared>)| {
            if let Some(guard) = guard.take() {
                // SAFETY: the guard is from this lock and given back once.
                unsafe { core.lock.unlock_shared(guard) };
            }
        };
        unlock(&mut self.first);
        if let Some(second) = &mut self.second {
            unlock(second);
        }
    }
}

/// All elements of a dense core.
///
/// # Panics
/// If it is not dense, or of another type; callers check.
pub fn to_vec<T: Element>(core: &Core) -> Vec<T> {
    assert!(core.is_contiguous() && core.dtype() == T::DTYPE, "checked by the callers");
    let mut values = vec![T::default(); core.numel()];
    let _access = Access::read(core);
    // SAFETY: dense, of this many elements of this type, and read-locked.
    unsafe {
        std::ptr::copy_nonoverlapping(core.data().cast::<T>(), values.as_mut_ptr(), values.len());
    }
    values
}

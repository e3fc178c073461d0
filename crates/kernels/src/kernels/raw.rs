//! Small tools shared by the kernels: pointers that may cross threads, walks over strided
//! dimensions, fixed splits.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use smallvec::SmallVec;

/// A read pointer that tasks may share; whoever makes one vouches for the accesses.
#[derive(Debug)]
pub(crate) struct Src<T>(*const T);

/// A write pointer that tasks may share; whoever makes one gives each task its own elements.
#[derive(Debug)]
pub(crate) struct Dst<T>(*mut T);

// By hand: derives would ask for `T: Copy`.
impl<T> Clone for Src<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Src<T> {}
impl<T> Clone for Dst<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Dst<T> {}

// SAFETY: the pointer itself is a number; every dereference is justified where it happens.
unsafe impl<T: Sync> Sync for Src<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Send for Src<T> {}
// SAFETY: as above; tasks write disjoint elements.
unsafe impl<T: Send> Sync for Dst<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Dst<T> {}

/// What begins at a line of the cache, as [`Scratch`] does: for arrays that vectors are written to and read from again.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Aligned<A>(pub(super) A);

impl<A> std::ops::Deref for Aligned<A> {
    type Target = A;
    #[inline(always)]
    fn deref(&self) -> &A {
        &self.0
    }
}

impl<A> std::ops::DerefMut for Aligned<A> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut A {
        &mut self.0
    }
}

/// Elements for the use of one task, from the beginning of a line of the cache on: where vectors of 64 bytes lie across
/// two lines, what is written and read again at once waits for tens of cycles.
pub(super) struct Scratch<T> {
    lines: Vec<Line>,
    len: usize,
    elements: PhantomData<T>,
}

/// Of the cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line(MaybeUninit<[u8; 64]>);

impl<T: Copy> Scratch<T> {
    #[inline(always)]
    pub(super) fn filled(value: T, len: usize) -> Self {
        const { assert!(align_of::<T>() <= 64) };
        let count = (len * size_of::<T>()).div_ceil(size_of::<Line>());
        let mut lines = Vec::with_capacity(count);
        // SAFETY: there is room for as many, of bytes that may be anything.
        unsafe { lines.set_len(count) };
        let mut made = Self { lines, len, elements: PhantomData };
        let start = made.lines.as_mut_ptr().cast::<T>();
        for i in 0..len {
            // SAFETY: the lines have room for so many elements.
            unsafe { start.add(i).write(value) };
        }
        made
    }
}

impl<T> std::ops::Deref for Scratch<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the lines hold so many elements, all of them set.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T> std::ops::DerefMut for Scratch<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Asks for the memory at an address, if there is any: harmless for all.
#[inline(always)]
pub(super) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64; a prefetch touches nothing.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

impl<T> Src<T> {
    #[inline(always)]
    pub(crate) fn new(pointer: *const T) -> Self {
        Self(pointer)
    }
    /// The address `offset` elements on.
    #[inline(always)]
    pub(crate) fn at(self, offset: isize) -> *const T {
        self.0.wrapping_offset(offset)
    }
}

impl<T> Dst<T> {
    #[inline(always)]
    pub(crate) fn new(pointer: *mut T) -> Self {
        Self(pointer)
    }
    /// The address `offset` elements on.
    #[inline(always)]
    pub(crate) fn at(self, offset: isize) -> *mut T {
        self.0.wrapping_offset(offset)
    }
}

/// Copies as many elements as both have, in pieces of which the compiler knows the length: for what is too short
/// for a call of the library's function. The last piece may begin among what was copied before.
#[inline(always)]
pub(super) fn carry<T: Copy>(from: &[T], to: &mut [T]) {
    const WHOLE: usize = 8;
    let (parts, _) = from.as_chunks::<WHOLE>();
    let (targets, _) = to.as_chunks_mut::<WHOLE>();
    for (to, from) in targets.iter_mut().zip(parts) {
        *to = *from;
    }
    if let (Some(from), Some(to)) = (from.last_chunk::<WHOLE>(), to.last_chunk_mut::<WHOLE>()) {
        *to = *from;
        return;
    }
    if let (Some(first), Some(to)) = (from.first_chunk::<4>(), to.first_chunk_mut::<4>()) {
        *to = *first;
    }
    if let (Some(last), Some(to)) = (from.last_chunk::<4>(), to.last_chunk_mut::<4>()) {
        *to = *last;
        return;
    }
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Walks the index space of some dimensions in row-major order, keeping `N` offsets.
#[derive(Clone, Debug)]
pub(super) struct Walk<const N: usize> {
    dims: SmallVec<[(usize, [isize; N], usize); 6]>,
    /// The offsets at the present position.
    pub offset: [isize; N],
}

impl<const N: usize> Walk<N> {
    /// A walk over `(size, strides)` at the position `linear`.
    pub(super) fn new(dims: impl IntoIterator<Item = (usize, [isize; N])>, linear: usize) -> Self {
        let mut walk = Self {
            dims: dims.into_iter().map(|(size, strides)| (size, strides, 0)).collect(),
            offset: [0; N],
        };
        walk.seek(linear);
        walk
    }

    /// Goes to the position `linear`.
    pub(super) fn seek(&mut self, mut linear: usize) {
        self.offset = [0; N];
        for (size, strides, index) in self.dims.iter_mut().rev() {
            *index = linear % (*size).max(1);
            linear /= (*size).max(1);
            for (offset, stride) in self.offset.iter_mut().zip(strides) {
                *offset += *index as isize * *stride;
            }
        }
    }

    /// Goes one position on (from the last to the first).
    #[inline(always)]
    pub(super) fn advance(&mut self) {
        for (size, strides, index) in self.dims.iter_mut().rev() {
            *index += 1;
            for (offset, stride) in self.offset.iter_mut().zip(strides.iter()) {
                *offset += *stride;
            }
            if *index < *size {
                return;
            }
            for (offset, stride) in self.offset.iter_mut().zip(strides.iter()) {
                *offset -= *size as isize * *stride;
            }
            *index = 0;
        }
    }
}

/// Elements of work per task; below it a task costs more than it saves.
pub(super) const GRAIN: usize = 32 * 1024;

/// Runs `f(first, last)` over `0..units` in pieces of about [`GRAIN`] elements, each unit having
/// `unit_work` elements. The split depends on sizes only.
#[inline]
pub(crate) fn split(units: usize, unit_work: usize, f: impl Fn(usize, usize) + Sync) {
    pieces(units, unit_work, &f);
}

/// [`split`], compiled once: what `f` does would stand in every kernel twice, for one piece and for many.
fn pieces(units: usize, unit_work: usize, f: &(dyn Fn(usize, usize) + Sync)) {
    if units == 0 {
        return;
    }
    let per_task = (GRAIN / unit_work.max(1)).max(1);
    let tasks = units.div_ceil(per_task);
    if tasks == 1 {
        f(0, units);
    } else {
        crate::parallel::for_each(tasks, |task| {
            f(task * per_task, units.min((task + 1) * per_task));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walk_matches_seek() {
        let dims = [(2, [100isize]), (3, [-5]), (4, [0])];
        let mut walk = Walk::new(dims, 0);
        for i in 0..24 {
            assert_eq!(walk.offset, Walk::new(dims, i).offset);
            walk.advance();
        }
        assert_eq!(walk.offset, [0]);
    }

    #[test]
    fn walk_over_nothing_stays() {
        let mut walk = Walk::<1>::new([], 0);
        walk.advance();
        assert_eq!(walk.offset, [0]);
    }
}

//! Reductions of elements that are made on the way.

use super::*;

/// Makes elements when they are asked for: so many, from a position on, to a place.
pub type Maker<'a, T> = &'a (dyn Fn(usize, usize, *mut T) + Sync);

pub(super) struct Made<'a, T>(pub(super) Maker<'a, T>);
// By hand: derives would ask for `T: Copy`.
impl<T> Clone for Made<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Made<'_, T> {}

impl<T: Element> Source<T> for Made<'_, T> {
    const MADE: bool = true;
    #[inline(always)]
    fn direct(self, _: [isize; 2]) -> Option<Src<T>> {
        None
    }
    #[inline(always)]
    unsafe fn pack(self, offset: [isize; 2], _: [isize; 2], n: usize, to: *mut T) {
        (self.0)(offset[0] as usize, n, to);
    }
}

/// Elements that are made together at least, where a task takes them in the order in which they lie: a
/// pass of its own for each short run would cost more than its elements.
const TOGETHER: usize = 2048;

/// Room for the runs of a source that cannot be read in place.
pub(super) struct Ahead<T> {
    room: Scratch<T>,
    from: usize,
    len: usize,
    /// Up to where more may be made than is asked for.
    until: usize,
}

impl<T: Element> Ahead<T> {
    /// Room for runs of `n` elements at most.
    #[inline(always)]
    pub(super) fn new(n: usize) -> Self {
        Self { room: Scratch::filled(T::default(), n), from: 0, len: 0, until: 0 }
    }

    /// Allows elements up to this one to be made before they are asked for.
    pub(super) fn until(&mut self, until: usize) {
        self.until = until;
        if self.room.len() < TOGETHER {
            self.room = Scratch::filled(T::default(), TOGETHER);
        }
    }

    /// `n` elements of a run, in the room from its element `place` on.
    ///
    /// # Safety
    /// The run must lie within the operands, and there must be so much room.
    #[inline(always)]
    pub(super) unsafe fn apart<S: Source<T>>(
        &mut self,
        source: S,
        offset: [isize; 2],
        strides: [isize; 2],
        n: usize,
        place: usize,
    ) -> *const T {
        debug_assert!(place + n <= self.room.len());
        let to = self.room.as_mut_ptr().wrapping_add(place);
        // SAFETY: the caller's promise is passed on.
        unsafe { source.pack(offset, strides, n, to) };
        to
    }

    /// `n` elements of a run, which stay until the next call.
    ///
    /// # Safety
    /// The run must lie within the operands, and be no longer than there is room for.
    #[inline(always)]
    pub(super) unsafe fn get<S: Source<T>>(
        &mut self,
        source: S,
        offset: [isize; 2],
        strides: [isize; 2],
        n: usize,
    ) -> *const T {
        debug_assert!(n <= self.room.len());
        if !S::MADE || self.until == 0 {
            // SAFETY: the caller's promise is passed on.
            return unsafe { self.apart(source, offset, strides, n, 0) };
        }
        let at = offset[0] as usize;
        if at < self.from || at + n > self.from + self.len {
            // Whole runs, so that none is made in part.
            let runs = (TOGETHER / n.max(1)).min(self.until.saturating_sub(at) / n.max(1));
            (self.from, self.len) = (at, n * runs.max(1));
            // SAFETY: the elements up to `until` are this task's, too.
            unsafe { source.pack(offset, strides, self.len, self.room.as_mut_ptr()) };
        }
        self.room.as_ptr().wrapping_add(at - self.from)
    }
}

/// [`reduce`] of dense elements that are made on the way, each of them once; `false`, with nothing done,
/// where they would be asked for in another order.
///
/// # Safety
/// `output` must be writable for the product of the kept sizes, and `make` must write the elements it
/// is asked for, which lie within the shape.
pub unsafe fn reduce_made<T: Element, K: Kind<T>>(
    kind: K,
    make: Maker<'_, T>,
    shape: &[usize],
    mask: u64,
    output: *mut K::Out,
) -> bool {
    let strides = crate::shape::contiguous_strides(shape);
    let dims = normalise(shape, |i| [strides[i], 0], mask);
    let Some(inner) = dims.last() else { return false };
    // Where the inner run is short, and that around it is long and the other of reduced and kept, they are exchanged.
    let narrow = matches!(dims[..], [.., outer, inner]
        if outer.reduced != inner.reduced && inner.size < NARROW && outer.size >= LONG);
    let short_rows = K::FOLDS && dims.len() == 2 && inner.reduced;
    if inner.input[0] != 1 || (narrow && !short_rows) {
        return false;
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { drive(kind, Made(make), dims, Dst::new(output)) };
    true
}

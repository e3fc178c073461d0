//! The driver: normalises dimensions, splits work into units, runs row or column loops.
#![allow(unsafe_code)]

mod columns;
mod made;
mod merge;
mod narrow;

use columns::ColumnTask;
use made::Ahead;
pub use made::{Maker, reduce_made};
use merge::MergeTask;
use narrow::{FewColumns, ShortRows};
use smallvec::SmallVec;

use super::kind::{Kind, MAX_ROWS, Sum};
use super::strips::near;
use crate::dtype::Element;
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Aligned, Dst, GRAIN, Scratch, Src, Walk, split};
use crate::kernels::vexp::Real;

/// Elements of a contiguous run reduced with one set of lanes.
const BLOCK: usize = 4096;
/// Columns whose accumulators are kept together.
const TILE: usize = 1024;
/// Merges per level of the cascade.
const FAN: usize = 64;

/// One dimension: size, strides of both operands, stride of the output, reduced or kept.
#[derive(Clone, Copy, Debug)]
struct Dim {
    size: usize,
    input: [isize; 2],
    output: isize,
    reduced: bool,
}

type Dims = SmallVec<[Dim; 6]>;

/// Rows of which the threads may get whole ones.
const MANY: usize = 8;
/// Parts of rows that are summed by columns, where there is but one group of them.
const SHARES: usize = 4;

/// Where elements come from: one operand, or two to be multiplied.
trait Source<T: Element>: Copy + Send + Sync {
    /// Whether elements are made when they are asked for.
    const MADE: bool = false;
    /// Whether a run with these strides can be read in place.
    fn direct(self, strides: [isize; 2]) -> Option<Src<T>>;
    /// Copies `n` elements of a run to `to`.
    ///
    /// # Safety
    /// The run must lie within the operands and `to` must hold `n` elements.
    unsafe fn pack(self, offset: [isize; 2], strides: [isize; 2], n: usize, to: *mut T);
}

#[derive(Clone, Copy)]
struct One<T>(Src<T>);
#[derive(Clone, Copy)]
struct Product<T>(Src<T>, Src<T>);

impl<T: Element> Source<T> for One<T> {
    #[inline(always)]
    fn direct(self, strides: [isize; 2]) -> Option<Src<T>> {
        (strides[0] == 1).then_some(self.0)
    }
    #[inline(always)]
    unsafe fn pack(self, offset: [isize; 2], strides: [isize; 2], n: usize, to: *mut T) {
        let from = self.0.at(offset[0]);
        for i in 0..n {
            // SAFETY: the caller vouches for both ranges.
            unsafe { *to.add(i) = *from.wrapping_offset(i as isize * strides[0]) };
        }
    }
}

impl<T: Real> Source<T> for Product<T> {
    #[inline(always)]
    fn direct(self, _: [isize; 2]) -> Option<Src<T>> {
        None
    }
    #[inline(always)]
    unsafe fn pack(self, offset: [isize; 2], strides: [isize; 2], n: usize, to: *mut T) {
        let (a, b) = (self.0.at(offset[0]), self.1.at(offset[1]));
        // The contiguous cases apart, so that they become vector loops.
        match strides {
            [1, 1] => {
                for i in 0..n {
                    // SAFETY: the caller vouches for all ranges.
                    unsafe { *to.add(i) = *a.add(i) * *b.add(i) };
                }
            }
            [1, 0] | [0, 1] => {
                let (run, one) = if strides[0] == 1 { (a, b) } else { (b, a) };
                // SAFETY: n > 0 elements are readable at both.
                let factor = unsafe { *one };
                for i in 0..n {
                    // SAFETY: as above.
                    unsafe { *to.add(i) = *run.add(i) * factor };
                }
            }
            [sa, sb] => {
                for i in 0..n as isize {
                    // SAFETY: as above.
                    unsafe {
                        *to.offset(i) = *a.wrapping_offset(i * sa) * *b.wrapping_offset(i * sb);
                    }
                }
            }
        }
    }
}

/// A sum of sums: every level takes [`FAN`] values before it goes to the next.
struct Cascade<A> {
    levels: [A; 4],
    count: usize,
}

impl<A: Copy> Cascade<A> {
    #[inline(always)]
    fn new(identity: A) -> Self {
        Self { levels: [identity; 4], count: 0 }
    }

    #[inline(always)]
    fn push(&mut self, value: A, identity: A, merge: impl Fn(A, A) -> A) {
        self.levels[0] = merge(self.levels[0], value);
        self.count += 1;
        let mut full = FAN;
        for level in 1..4 {
            if !self.count.is_multiple_of(full) {
                break;
            }
            self.levels[level] = merge(self.levels[level], self.levels[level - 1]);
            self.levels[level - 1] = identity;
            full *= FAN;
        }
    }

    #[inline(always)]
    fn total(&self, merge: impl Fn(A, A) -> A) -> A {
        if self.count < FAN {
            return self.levels[0];
        }
        merge(merge(self.levels[3], self.levels[2]), merge(self.levels[1], self.levels[0]))
    }
}

/// Reduces the dimensions whose bit is set in `mask`; the output is contiguous over the others.
///
/// An empty reduction gives the identity of the kind; that of max and min is for the caller to
/// refuse.
///
/// # Safety
/// `input` must be readable at every offset the shape and strides reach, `output` writable for
/// the product of the kept sizes, and the two must not overlap.
pub unsafe fn reduce<T: Element, K: Kind<T>>(
    kind: K,
    input: *const T,
    shape: &[usize],
    strides: &[isize],
    mask: u64,
    output: *mut K::Out,
) {
    let dims = normalise(shape, |i| [strides[i], 0], mask);
    // SAFETY: the caller's promise is passed on.
    unsafe { drive(kind, One(Src::new(input)), dims, Dst::new(output)) };
}

/// Sums the products of two inputs over the dimensions set in `mask`: what a broadcast factor
/// receives as gradient. Strides may be 0 for either.
///
/// # Safety
/// As for [`reduce`], for both inputs.
pub unsafe fn sum_of_product<T: Real>(
    a: *const T,
    a_strides: &[isize],
    b: *const T,
    b_strides: &[isize],
    shape: &[usize],
    mask: u64,
    output: *mut T,
) where
    Sum: Kind<T, Out = T>,
{
    let dims = normalise(shape, |i| [a_strides[i], b_strides[i]], mask);
    // SAFETY: the caller's promise is passed on.
    unsafe { drive(Sum, Product(Src::new(a), Src::new(b)), dims, Dst::new(output)) };
}

/// Drops sizes of one, orders by stride (outermost first) and joins what can be joined.
fn normalise(shape: &[usize], strides: impl Fn(usize) -> [isize; 2], mask: u64) -> Dims {
    let mut dims = Dims::new();
    let mut output = 1;
    for (i, &size) in shape.iter().enumerate().rev() {
        let reduced = mask >> i & 1 == 1;
        if size != 1 {
            let stride = if reduced { 0 } else { output };
            dims.push(Dim { size, input: strides(i), output: stride, reduced });
        }
        if !reduced {
            output *= size as isize;
        }
    }
    // Broadcast dimensions go outermost: they cost no memory traffic there.
    let key = |dim: &Dim| match dim.input {
        [0, 0] => usize::MAX,
        [0, b] => b.unsigned_abs(),
        [a, _] => a.unsigned_abs(),
    };
    dims.reverse();
    dims.sort_by_key(|dim| std::cmp::Reverse(key(dim)));
    let mut joined = Dims::new();
    for dim in dims {
        if let Some(last) = joined.last_mut() {
            let n = dim.size as isize;
            if last.reduced == dim.reduced
                && last.input[0] == dim.input[0] * n
                && last.input[1] == dim.input[1] * n
                && last.output == dim.output * n
            {
                last.size *= dim.size;
                last.input = dim.input;
                last.output = dim.output;
                continue;
            }
        }
        joined.push(dim);
    }
    joined
}

/// Inner runs shorter than this waste the vector lanes.
const NARROW: usize = 16;

/// So long a dimension around it is taken in its place, where the run is not what fills memory.
const LONG: usize = 64;
/// So many rows of few columns that fill memory are taken several as one.
const FEW: usize = 16;

/// # Safety
/// See [`reduce`].
unsafe fn drive<T: Element, K: Kind<T>, S: Source<T>>(
    kind: K,
    source: S,
    mut dims: Dims,
    output: Dst<K::Out>,
) {
    // Runs in memory are taken as they are, others exchanged for the long neighbour.
    let near = dims.last().is_some_and(|dim| source.direct(dim.input).is_some());
    let mut narrow = false;
    if let [rest @ .., outer, inner] = &mut dims[..]
        && outer.reduced != inner.reduced
        && inner.size < NARROW
    {
        let alone = rest.iter().all(|dim| !dim.reduced);
        let suits = if inner.reduced {
            (near || S::MADE) && outer.size >= LONG
        } else {
            near && outer.size >= FEW && outer.input[0] == inner.size as isize
        };
        narrow = K::FOLDS && alone && suits;
        if !narrow && outer.size >= LONG {
            std::mem::swap(outer, inner);
        }
    }
    let inner = dims.pop().unwrap_or(Dim { size: 1, input: [0; 2], output: 0, reduced: true });
    let kept: Dims = dims.iter().copied().filter(|dim| !dim.reduced).collect();
    let reduced: Dims = dims.iter().copied().filter(|dim| dim.reduced).collect();
    let outputs: usize = kept.iter().map(|dim| dim.size).product();
    let rows: usize = reduced.iter().map(|dim| dim.size).product();
    let plan = Plan { kind, source, inner, kept, reduced, outputs, rows, output };
    // SAFETY: the plan covers exactly the caller's shape.
    unsafe {
        match (narrow, inner.reduced) {
            (false, true) => plan.by_rows(),
            (false, false) => plan.by_columns(),
            (true, true) => plan.by_short_rows(),
            (true, false) => plan.by_few_columns(),
        }
    }
}

struct Plan<K, S, O> {
    kind: K,
    source: S,
    inner: Dim,
    kept: Dims,
    reduced: Dims,
    outputs: usize,
    rows: usize,
    output: Dst<O>,
}

impl<K, S, O> Plan<K, S, O> {
    /// Whether columns are taken in the order in which their elements lie, all of a row together.
    fn in_line(&self) -> bool {
        let width = self.inner.size;
        let dense = |dims: &Dims, stride: usize| match dims[..] {
            [] => true,
            [dim] => dim.input[0] == stride as isize,
            _ => false,
        };
        width <= TILE && dense(&self.reduced, width) && dense(&self.kept, width * self.rows)
    }
}

/// The kept dimensions with the stride of the output beside those of the input.
fn kept_walk(kept: &Dims, at: usize) -> Walk<3> {
    Walk::new(kept.iter().map(|d| (d.size, [d.input[0], d.input[1], d.output])), at)
}

fn reduced_walk(reduced: &Dims, at: usize) -> Walk<2> {
    Walk::new(reduced.iter().map(|d| (d.size, d.input)), at)
}

impl<T: Element, K: Kind<T>, S: Source<T>> PlanOf<T, K, S> for Plan<K, S, K::Out> {
    unsafe fn by_rows(&self) {
        let n = self.inner.size;
        if self.rows == 0 || n == 0 {
            // SAFETY: the output is the caller's.
            unsafe { self.fill_identity() };
            return;
        }
        // Of a few long rows the threads get pieces that are alike in number.
        let chunk = if self.outputs * self.rows < MANY { GRAIN / 4 } else { GRAIN };
        let chunks = n.div_ceil(chunk);
        let per_group = if chunks > 1 { 1 } else { (chunk / n).max(1) };
        let row_groups = self.rows.div_ceil(per_group);
        let groups = row_groups * chunks;
        let units = self.outputs * groups;
        let work = match chunks {
            1 => n * per_group.min(self.rows),
            _ if S::MADE => GRAIN,
            _ => chunk,
        };
        let mut partials = Vec::<K::Acc>::new();
        if groups > 1 {
            partials.reserve_exact(units);
        }
        let scratch = Dst::new(partials.as_mut_ptr());
        split(units, work, |first, last| {
            let task =
                RowTask { plan: self, first, last, groups, chunk, chunks, per_group, scratch };
            // As with `block`: memory bounds it, which vectors of half a line get through faster.
            if const { K::FOLDS && size_of::<T>() == 8 } {
                multiversion::run_narrow(task);
            } else {
                run::<T, _>(task);
            }
        });
        if groups == 1 {
            return;
        }
        split(self.outputs, groups, |first, last| {
            let mut walk = kept_walk(&self.kept, first);
            for output in first..last {
                let mut cascade = Cascade::new(self.kind.identity());
                for group in 0..groups {
                    // SAFETY: every partial was written by the tasks above.
                    let partial = unsafe { *scratch.at((output * groups + group) as isize) };
                    cascade.push(partial, self.kind.identity(), |a, b| self.kind.merge(a, b));
                }
                let total = cascade.total(|a, b| self.kind.merge(a, b));
                // SAFETY: each output belongs to one unit.
                unsafe { *self.output.at(walk.offset[2]) = self.kind.finish(total) };
                walk.advance();
            }
        });
    }

    unsafe fn by_columns(&self) {
        let width = self.inner.size;
        if self.rows == 0 || width == 0 {
            // SAFETY: the output is the caller's.
            unsafe { self.fill_identity() };
            return;
        }
        let mut tile = width.min(TILE);
        // Whole cascades per group, and never so many groups that merging them costs much.
        let per_group = (GRAIN / tile).max(self.rows.div_ceil(64)).next_multiple_of(K::ROWS * FAN);
        let groups = self.rows.div_ceil(per_group);
        // Rows in one group are cut into as many parts as several threads want; no column is summed otherwise.
        let few = groups == 1 && self.outputs * width.div_ceil(tile) < SHARES;
        let large = self.outputs * self.rows * width >= 2 * GRAIN;
        if few && large && !S::MADE && crate::parallel::threads() > 1 {
            tile = tile.min(width.div_ceil(SHARES).next_multiple_of(16));
        }
        let tiles = width.div_ceil(tile);
        let units = self.outputs * groups * tiles;
        let mut partials = Vec::<K::Acc>::new();
        if groups > 1 {
            partials.reserve_exact(self.outputs * groups * width);
        }
        let scratch = Dst::new(partials.as_mut_ptr());
        split(units, tile * per_group.min(self.rows), |first, last| {
            run::<T, _>(ColumnTask { plan: self, first, last, groups, tile, per_group, scratch });
        });
        if groups == 1 {
            return;
        }
        // SAFETY: every partial was written by the tasks above.
        unsafe { self.merge_groups(scratch, groups) };
    }

    unsafe fn by_short_rows(&self) {
        split(self.outputs, self.inner.size, |first, last| {
            run::<T, _>(ShortRows { plan: self, first, last });
        });
    }

    unsafe fn by_few_columns(&self) {
        let width = self.inner.size;
        // So many elements that a plain sum of sums loses nothing.
        let per_group = GRAIN / NARROW;
        let groups = self.rows.div_ceil(per_group);
        let mut partials = Vec::<K::Acc>::new();
        if groups > 1 {
            partials.reserve_exact(self.outputs * groups * width);
        }
        let scratch = Dst::new(partials.as_mut_ptr());
        split(self.outputs * groups, width * per_group.min(self.rows), |first, last| {
            run::<T, _>(FewColumns { plan: self, first, last, groups, per_group, scratch });
        });
        if groups > 1 {
            // SAFETY: every partial was written by the tasks above.
            unsafe { self.merge_groups(scratch, groups) };
        }
    }

    /// Merges the partial results of columns, which lie by output, then group.
    unsafe fn merge_groups(&self, scratch: Dst<K::Acc>, groups: usize) {
        let tile = self.inner.size.min(TILE);
        let tiles = self.inner.size.div_ceil(tile);
        split(self.outputs * tiles, groups * tile, |first, last| {
            run::<T, _>(MergeTask { plan: self, first, last, groups, tile, scratch });
        });
    }

    unsafe fn fill_identity(&self) {
        let inner = if self.inner.reduced { 1 } else { self.inner.size };
        for i in 0..self.outputs * inner {
            // SAFETY: the kept dimensions, in whatever order, fill the output from its start.
            unsafe { *self.output.at(i as isize) = self.kind.finish(self.kind.identity()) };
        }
    }
}

/// The ways to run a plan (a trait only to name the bounds once).
trait PlanOf<T: Element, K: Kind<T>, S: Source<T>> {
    unsafe fn by_rows(&self);
    unsafe fn by_columns(&self);
    unsafe fn by_short_rows(&self);
    unsafe fn by_few_columns(&self);
    unsafe fn merge_groups(&self, scratch: Dst<K::Acc>, groups: usize);
    unsafe fn fill_identity(&self);
}

#[inline]
fn run<T: Element, J: Job>(job: J) -> J::Output {
    if const { T::DTYPE.is_float() } {
        multiversion::run(job)
    } else {
        multiversion::run_narrow(job)
    }
}

struct RowTask<'a, T: Element, K: Kind<T>, S> {
    plan: &'a Plan<K, S, K::Out>,
    first: usize,
    last: usize,
    groups: usize,
    chunk: usize,
    chunks: usize,
    per_group: usize,
    scratch: Dst<K::Acc>,
}

impl<T: Element, K: Kind<T>, S: Source<T>> Job for RowTask<'_, T, K, S> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Plan { kind, source, inner, .. } = *self.plan;
        let direct = source.direct(inner.input);
        let mut packed = Ahead::new(match direct {
            Some(_) => 0,
            None => BLOCK.min(inner.size),
        });
        if S::MADE && self.groups == 1 && self.plan.rows == 1 {
            packed.until(self.last * inner.size);
        }
        let mut kept = kept_walk(&self.plan.kept, self.first / self.groups);
        if (direct.is_some() || S::MADE)
            && self.groups == 1
            && self.plan.rows == 1
            && inner.size <= BLOCK
        {
            // One block each: the usual rows.
            for _ in self.first..self.last {
                // SAFETY: a run of the caller's shape; each output belongs to one unit.
                unsafe {
                    let x = match direct {
                        Some(pointer) => pointer.at(kept.offset[0]),
                        None => packed.get(
                            source,
                            [kept.offset[0], kept.offset[1]],
                            inner.input,
                            inner.size,
                        ),
                    };
                    let x = std::slice::from_raw_parts(x, inner.size);
                    let total = kind.merge(kind.identity(), kind.block(x));
                    *self.plan.output.at(kept.offset[2]) = kind.finish(total);
                }
                kept.advance();
            }
            return;
        }
        let mut rows = reduced_walk(&self.plan.reduced, 0);
        for unit in self.first..self.last {
            let group = unit % self.groups;
            let row = group / self.chunks * self.per_group;
            let count = self.per_group.min(self.plan.rows - row);
            let start = group % self.chunks * self.chunk;
            let n = self.chunk.min(inner.size - start);
            if self.plan.rows > 1 {
                rows.seek(row);
            }
            let mut cascade = Cascade::new(kind.identity());
            for _ in 0..count {
                let base = |operand: usize, at: usize| {
                    kept.offset[operand] + rows.offset[operand] + at as isize * inner.input[operand]
                };
                let mut at = start;
                while at < start + n {
                    let len = BLOCK.min(start + n - at);
                    let x = if let Some(pointer) = direct {
                        pointer.at(base(0, at))
                    } else {
                        let offset = [base(0, at), base(1, at)];
                        // SAFETY: the run is part of the caller's shape.
                        unsafe { packed.get(source, offset, inner.input, len) }
                    };
                    // SAFETY: `len` elements of the run, or of the packed copy.
                    let x = unsafe { std::slice::from_raw_parts(x, len) };
                    cascade.push(kind.block(x), kind.identity(), |a, b| kind.merge(a, b));
                    at += len;
                }
                if self.plan.rows > 1 {
                    rows.advance();
                }
            }
            let total = cascade.total(|a, b| kind.merge(a, b));
            // SAFETY: each unit owns its partial, or its output if it is the only group.
            unsafe {
                if self.groups == 1 {
                    *self.plan.output.at(kept.offset[2]) = kind.finish(total);
                } else {
                    *self.scratch.at(unit as isize) = total;
                }
            }
            if group + 1 == self.groups {
                kept.advance();
            }
        }
    }
}

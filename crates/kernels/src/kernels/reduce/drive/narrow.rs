//! Short rows, and few columns.

use super::*;

/// Rows of a few elements that lie in memory, one after the other: what vectors would gain within them
/// is lost in joining the lanes, and the processor works at several at once.
pub(super) struct ShortRows<'a, T: Element, K: Kind<T>, S> {
    pub(super) plan: &'a Plan<K, S, K::Out>,
    pub(super) first: usize,
    pub(super) last: usize,
}

impl<T: Element, K: Kind<T>, S: Source<T>> Job for ShortRows<'_, T, K, S> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Plan { kind, source, inner, .. } = *self.plan;
        let direct = source.direct(inner.input);
        let mut packed = Ahead::new(0);
        if S::MADE {
            packed.until(self.last * inner.size);
        }
        let mut row = |input: isize, output: isize| {
            let from = match direct {
                Some(direct) => direct.at(input),
                // SAFETY: a run of the caller's shape, shorter than the room.
                None => unsafe { packed.get(source, [input, 0], inner.input, inner.size) },
            };
            let mut acc = kind.identity();
            for i in 0..inner.size {
                // SAFETY: a run of the caller's shape.
                acc = kind.merge(acc, kind.load(unsafe { *from.add(i) }));
            }
            // SAFETY: each output belongs to one unit.
            unsafe { *self.plan.output.at(output) = kind.finish(acc) };
        };
        if let [dim] = self.plan.kept[..]
            && let Some(direct) = direct
            && dim.input[0] == inner.size as isize
        {
            let output = |i: usize| self.plan.output.at(i as isize * dim.output);
            // SAFETY: these rows follow each other without gap; each output belongs to one unit.
            unsafe {
                let from = |i: usize| direct.at((i * inner.size) as isize);
                match inner.size {
                    2 => abreast::<2, T, K>(kind, 2, self.first, self.last, from, output),
                    3 => abreast::<3, T, K>(kind, 3, self.first, self.last, from, output),
                    4 => abreast::<4, T, K>(kind, 4, self.first, self.last, from, output),
                    n => abreast::<0, T, K>(kind, n, self.first, self.last, from, output),
                }
            }
            return;
        }
        if let [dim] = self.plan.kept[..] {
            for i in self.first as isize..self.last as isize {
                row(i * dim.input[0], i * dim.output);
            }
            return;
        }
        let mut kept = kept_walk(&self.plan.kept, self.first);
        for _ in self.first..self.last {
            row(kept.offset[0], kept.offset[2]);
            kept.advance();
        }
    }
}

/// Rows of `N` elements (0: of `n`), eight of them at the same time.
///
/// # Safety
/// The elements of rows `first..last` must be readable, and their outputs writable.
#[inline(always)]
unsafe fn abreast<const N: usize, T: Element, K: Kind<T>>(
    kind: K,
    n: usize,
    first: usize,
    last: usize,
    from: impl Fn(usize) -> *const T,
    output: impl Fn(usize) -> *mut K::Out,
) {
    const ABREAST: usize = 8;
    let n = if N == 0 { n } else { N };
    let mut row = first;
    while row + ABREAST <= last {
        let start = from(row);
        let mut acc = [kind.identity(); ABREAST];
        for i in 0..n {
            for (k, acc) in acc.iter_mut().enumerate() {
                // SAFETY: by the contract.
                *acc = kind.merge(*acc, kind.load(unsafe { *start.add(k * n + i) }));
            }
        }
        for (k, acc) in acc.into_iter().enumerate() {
            // SAFETY: by the contract.
            unsafe { *output(row + k) = kind.finish(acc) };
        }
        row += ABREAST;
    }
    for row in row..last {
        let start = from(row);
        let mut acc = kind.identity();
        for i in 0..n {
            // SAFETY: by the contract.
            acc = kind.merge(acc, kind.load(unsafe { *start.add(i) }));
        }
        // SAFETY: by the contract.
        unsafe { *output(row) = kind.finish(acc) };
    }
}

/// A few columns that fill memory, several rows of them taken as one.
pub(super) struct FewColumns<'a, T: Element, K: Kind<T>, S> {
    pub(super) plan: &'a Plan<K, S, K::Out>,
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) groups: usize,
    pub(super) per_group: usize,
    pub(super) scratch: Dst<K::Acc>,
}

impl<T: Element, K: Kind<T>, S: Source<T>> Job for FewColumns<'_, T, K, S> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Plan { kind, source, inner, .. } = *self.plan;
        const { assert!(!K::FOLDS || K::ROWS == 8, "kinds that fold take eight rows at once") };
        let Some(source) = source.direct(inner.input) else { return };
        let width = inner.size;
        // A power of two, so that the rows taken as one are joined as a tree.
        let joined = if width < 4 { 32 } else { 8 };
        let mut acc = Aligned([kind.identity(); 8 * NARROW]);
        let wide = joined * width;
        for unit in self.first..self.last {
            let (output, group) = (unit / self.groups, unit % self.groups);
            let kept = kept_walk(&self.plan.kept, output);
            let row = group * self.per_group;
            let mut left = self.per_group.min(self.plan.rows - row);
            let mut from = source.at(kept.offset[0] + (row * width) as isize);
            acc.fill(kind.identity());
            // SAFETY: `left` rows follow each other without gap from `from` on.
            unsafe {
                while left >= 8 * joined {
                    let some = (left / joined / 8).min(near(wide));
                    kind.strips(from, wide as isize, some, &mut acc[..wide]);
                    from = from.add(some * 8 * wide);
                    left -= some * 8 * joined;
                }
                let take = left / joined;
                let pointers: [_; 8] = std::array::from_fn(|i| from.wrapping_add(i * wide));
                kind.columns(&pointers[..take], &mut acc[..wide]);
                from = from.add(take * wide);
                left -= take * joined;
                let mut half = joined / 2;
                while half > 0 {
                    let (low, high) = acc.split_at_mut(half * width);
                    for (low, &high) in low.iter_mut().zip(&*high) {
                        *low = kind.merge(*low, high);
                    }
                    half /= 2;
                }
                for _ in 0..left {
                    kind.columns(&[from], &mut acc[..width]);
                    from = from.add(width);
                }
            }
            for (j, &acc) in acc[..width].iter().enumerate() {
                // SAFETY: each unit owns its partials, or its outputs if it is the only group.
                unsafe {
                    if self.groups == 1 {
                        let at = kept.offset[2] + j as isize * inner.output;
                        *self.plan.output.at(at) = kind.finish(acc);
                    } else {
                        *self.scratch.at((unit * width + j) as isize) = acc;
                    }
                }
            }
        }
    }
}

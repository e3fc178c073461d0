//! Sums of groups joined.

use super::*;

/// The columns of several groups, as a sum of sums.
pub(super) struct MergeTask<'a, T: Element, K: Kind<T>, S> {
    pub(super) plan: &'a Plan<K, S, K::Out>,
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) groups: usize,
    pub(super) tile: usize,
    pub(super) scratch: Dst<K::Acc>,
}

impl<T: Element, K: Kind<T>, S: Source<T>> Job for MergeTask<'_, T, K, S> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Plan { kind, inner, .. } = *self.plan;
        let tiles = inner.size.div_ceil(self.tile);
        let mut levels = Scratch::filled(kind.identity(), 2 * self.tile);
        let (some, total) = levels.split_at_mut(self.tile);
        for unit in self.first..self.last {
            let (output, start) = (unit / tiles, unit % tiles * self.tile);
            let width = self.tile.min(inner.size - start);
            let (some, total) = (&mut some[..width], &mut total[..width]);
            for from in (0..self.groups).step_by(FAN) {
                for group in from..self.groups.min(from + FAN) {
                    let at = (output * self.groups + group) * inner.size + start;
                    // SAFETY: written by the tasks before.
                    let partials =
                        unsafe { std::slice::from_raw_parts(self.scratch.at(at as isize), width) };
                    if group == from {
                        some.copy_from_slice(partials);
                        continue;
                    }
                    for (some, &partial) in some.iter_mut().zip(partials) {
                        *some = kind.merge(*some, partial);
                    }
                }
                if from == 0 {
                    total.copy_from_slice(some);
                    continue;
                }
                for (total, &some) in total.iter_mut().zip(&*some) {
                    *total = kind.merge(*total, some);
                }
            }
            let at = kept_walk(&self.plan.kept, output).offset[2];
            for (j, &total) in total.iter().enumerate() {
                let at = at + (start + j) as isize * inner.output;
                // SAFETY: each output belongs to one unit.
                unsafe { *self.plan.output.at(at) = kind.finish(total) };
            }
        }
    }
}

//! Columns: rows of several elements that are reduced place by place.

use super::*;

/// Columns up to which several blocks of rows are taken for some of them before those of the next.
const STRIPS: usize = 512;

/// Hands what has come together after so many blocks to the next levels.
#[inline(always)]
fn rise<T: Element, K: Kind<T>>(
    kind: K,
    levels: &mut [K::Acc],
    tile: usize,
    depth: usize,
    blocks: usize,
) {
    let mut full = FAN;
    for level in 1..depth {
        if !blocks.is_multiple_of(full) {
            break;
        }
        let (low, high) = levels.split_at_mut(level * tile);
        for (high, low) in high[..tile].iter_mut().zip(&mut low[(level - 1) * tile..]) {
            *high = kind.merge(*high, *low);
            *low = kind.identity();
        }
        full *= FAN;
    }
}

pub(super) struct ColumnTask<'a, T: Element, K: Kind<T>, S> {
    pub(super) plan: &'a Plan<K, S, K::Out>,
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) groups: usize,
    pub(super) tile: usize,
    pub(super) per_group: usize,
    pub(super) scratch: Dst<K::Acc>,
}

impl<T: Element, K: Kind<T>, S: Source<T>> Job for ColumnTask<'_, T, K, S> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Plan { kind, source, inner, .. } = *self.plan;
        let direct = source.direct(inner.input);
        let mut packed = Ahead::new(if direct.is_some() { 0 } else { K::ROWS * self.tile });
        let in_line = S::MADE && self.plan.in_line();
        if in_line {
            let (output, group) = ((self.last - 1) / self.groups, (self.last - 1) % self.groups);
            let row = self.plan.rows.min((group + 1) * self.per_group);
            packed.until((output * self.plan.rows + row) * inner.size);
        }
        let depth = if self.per_group.min(self.plan.rows) <= K::ROWS * FAN { 1 } else { 4 };
        // What needs no finish is merged where it belongs.
        let in_place = K::PLAIN && self.groups == 1 && depth == 1 && inner.output == 1;
        let mut levels =
            Scratch::filled(kind.identity(), if in_place { 0 } else { depth * self.tile });
        let tiles = inner.size.div_ceil(self.tile);
        let strips = match (direct, &self.plan.reduced[..]) {
            (Some(pointer), [dim]) if K::ROWS == 8 && inner.size <= STRIPS => {
                Some((pointer, dim.input[0]))
            }
            _ => None,
        };
        for unit in self.first..self.last {
            let tile = unit % tiles;
            let group = unit / tiles % self.groups;
            let output = unit / tiles / self.groups;
            let kept = kept_walk(&self.plan.kept, output);
            let start = tile * self.tile;
            let width = self.tile.min(inner.size - start);
            let row = group * self.per_group;
            let count = self.per_group.min(self.plan.rows - row);
            let mut rows = reduced_walk(&self.plan.reduced, row);
            let result = self.plan.output.at(kept.offset[2] + start as isize).cast::<K::Acc>();
            if in_place {
                for j in 0..width {
                    // SAFETY: the only group owns its outputs, which are of the type of running values.
                    unsafe { *result.add(j) = kind.identity() };
                }
            } else {
                levels.fill(kind.identity());
            }
            let lowest = if in_place { result } else { levels.as_mut_ptr() };
            let mut at = 0;
            let mut blocks = 0;
            if let Some((pointer, step)) = strips {
                while count - at >= K::ROWS {
                    // Until the next level takes what has come together.
                    let most = near(width).min(FAN - blocks % FAN);
                    let some = ((count - at) / K::ROWS).min(most);
                    let from = kept.offset[0] + (row + at) as isize * step + start as isize;
                    // SAFETY: rows of the caller's shape; so much was written above.
                    unsafe {
                        let acc = std::slice::from_raw_parts_mut(lowest, width);
                        kind.strips(pointer.at(from), step, some, acc);
                    }
                    at += some * K::ROWS;
                    blocks += some;
                    rise(kind, &mut levels, self.tile, depth, blocks);
                }
                rows.seek(row + at);
            }
            while at < count {
                let len = K::ROWS.min(count - at);
                let mut pointers = [std::ptr::null(); MAX_ROWS];
                let made = in_line.then(|| {
                    let offset = [kept.offset[0] + rows.offset[0], 0];
                    // SAFETY: these rows follow each other without gap.
                    unsafe { packed.get(source, offset, inner.input, len * width) }
                });
                for (i, pointer) in pointers[..len].iter_mut().enumerate() {
                    let base = |operand: usize| {
                        kept.offset[operand]
                            + rows.offset[operand]
                            + start as isize * inner.input[operand]
                    };
                    *pointer = if let Some(pointer) = direct {
                        pointer.at(base(0))
                    } else if let Some(made) = made {
                        made.wrapping_add(i * width)
                    } else {
                        let offset = [base(0), base(1)];
                        // SAFETY: the run is part of the caller's shape; a tile of room is there.
                        unsafe { packed.apart(source, offset, inner.input, width, i * self.tile) }
                    };
                    rows.advance();
                }
                // SAFETY: each row is readable for `width` elements, and so much was written above.
                unsafe {
                    let acc = std::slice::from_raw_parts_mut(lowest, width);
                    kind.columns(&pointers[..len], acc);
                }
                at += len;
                blocks += 1;
                rise(kind, &mut levels, self.tile, depth, blocks);
            }
            if in_place {
                continue;
            }
            for level in 1..depth {
                let (low, high) = levels.split_at_mut(level * self.tile);
                for (low, high) in low[..width].iter_mut().zip(&high[..width]) {
                    *low = kind.merge(*high, *low);
                }
            }
            let levels = &levels[..width];
            if self.groups > 1 {
                let at = (output * self.groups + group) * inner.size + start;
                let to = self.scratch.at(at as isize);
                // SAFETY: each unit owns its partials.
                unsafe { to.copy_from_nonoverlapping(levels.as_ptr(), width) };
                continue;
            }
            let to = self.plan.output.at(kept.offset[2] + start as isize * inner.output);
            let step = inner.output;
            // The usual step apart, so that it becomes a vector loop.
            if step == 1 {
                for (j, &acc) in levels.iter().enumerate() {
                    // SAFETY: each unit owns its outputs if it is the only group.
                    unsafe { *to.add(j) = kind.finish(acc) };
                }
            } else {
                for (j, &acc) in levels.iter().enumerate() {
                    // SAFETY: as above.
                    unsafe { *to.wrapping_offset(j as isize * step) = kind.finish(acc) };
                }
            }
        }
    }
}

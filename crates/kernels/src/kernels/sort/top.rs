//! The greatest or least few of a line.

use super::{Along, Dst, Packed, Sortable, Src, put, split, start};
use crate::kernels::multiversion::{self, Job};

/// Up to this many are kept in order while the line is read; more are gathered and cut down.
const ORDERED: usize = 24;
/// Elements that one test turns away together.
const BLOCK: usize = 32;
/// Lines that are brought together from the middle of an array.
const ABREAST: usize = 16;

/// Whether one of some elements may be better than the limit: vectors of comparisons. With NaN on either
/// side the answer is yes.
struct Better<'a, T> {
    elements: &'a [T],
    limit: T,
    largest: bool,
}

impl<T: Sortable> Job for Better<'_, T> {
    type Output = bool;
    #[inline(always)]
    #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN must pass")]
    fn run(self) -> bool {
        let mut any = false;
        if self.largest {
            for x in self.elements {
                any |= !(*x <= self.limit);
            }
        } else {
            for x in self.elements {
                any |= !(*x >= self.limit);
            }
        }
        any
    }
}

/// Leaves the `k` best of a line in `keys`, which has room; in order if `ORDERED` or fewer.
struct Best<'a, T: Sortable> {
    line: &'a [T],
    k: usize,
    largest: bool,
    keys: &'a mut Vec<T::Packed>,
}

impl<T: Sortable> Job for Best<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { line, k, largest, keys } = self;
        keys.clear();
        let few = k <= ORDERED;
        // How many are gathered before they are cut down.
        let room = if few { k } else { (2 * k).max(256) };
        let head = room.min(line.len());
        for (at, x) in line[..head].iter().enumerate() {
            keys.push(x.pack(at, largest));
        }
        if head == line.len() {
            return;
        }
        let mut limit = cut(keys, k, few);
        let mut at = head;
        while at < line.len() {
            let block = &line[at..line.len().min(at + BLOCK)];
            let worst = line[limit.position()];
            if (Better { elements: block, limit: worst, largest }).run() {
                for (i, x) in block.iter().enumerate() {
                    let key = x.pack(at + i, largest);
                    if key >= limit {
                        continue;
                    }
                    if few {
                        let mut place = k - 1;
                        while place > 0 && keys[place - 1] > key {
                            keys[place] = keys[place - 1];
                            place -= 1;
                        }
                        keys[place] = key;
                        limit = keys[k - 1];
                    } else {
                        keys.push(key);
                        if keys.len() == room {
                            limit = cut(keys, k, false);
                        }
                    }
                }
            }
            at += block.len();
        }
    }
}

/// Keeps the `k` best, which there are at least; the worst of them.
fn cut<P: Packed>(keys: &mut Vec<P>, k: usize, sorted: bool) -> P {
    if sorted {
        keys.sort_unstable();
    } else if k < keys.len() {
        keys.select_nth_unstable(k - 1);
    } else {
        return keys.iter().copied().max().unwrap_or_default();
    }
    keys.truncate(k);
    keys[k - 1]
}

/// The `k` greatest (or least) along a dimension with their positions, in order if `sorted`.
///
/// # Safety
/// `input` covers `along`, the targets the same with `k <= n` in place of `n`; no overlap.
pub unsafe fn topk<T: Sortable>(
    along: Along,
    k: usize,
    largest: bool,
    sorted: bool,
    input: *const T,
    values: *mut T,
    indices: *mut i64,
) {
    if k == 0 || along.is_empty() {
        return;
    }
    let Along { n, inner, .. } = along;
    let (x, v, i) = (Src::new(input), Dst::new(values), Dst::new(indices));
    let target = Along { n: k, ..along };
    split(along.outer * inner, n, |first, last| {
        let mut keys = Vec::with_capacity(n.min((2 * k).max(256)));
        let mut one = |line: &[T], unit: usize| {
            multiversion::run_narrow(Best { line, k, largest, keys: &mut keys });
            if k < keys.len() {
                keys.select_nth_unstable(k - 1);
                keys.truncate(k);
            }
            if sorted {
                keys.sort_unstable();
            }
            let to = start(target, unit);
            // SAFETY: k elements in each target.
            unsafe { put(&keys, line.as_ptr(), 1, inner, v.at(to), i.at(to)) };
        };
        if inner == 1 {
            for unit in first..last {
                // SAFETY: a line of the caller's array.
                let line = unsafe { std::slice::from_raw_parts(x.at(start(along, unit)), n) };
                one(line, unit);
            }
            return;
        }
        let mut lines = vec![T::default(); n * ABREAST];
        let mut unit = first;
        while unit < last {
            let count = ABREAST.min(last - unit).min(inner - unit % inner);
            for at in 0..n {
                let from = x.at(start(along, unit) + (at * inner) as isize);
                for beside in 0..count {
                    // SAFETY: one element of each of `count` lines that lie side by side.
                    lines[beside * n + at] = unsafe { *from.add(beside) };
                }
            }
            for beside in 0..count {
                one(&lines[beside * n..][..n], unit + beside);
            }
            unit += count;
        }
    });
}

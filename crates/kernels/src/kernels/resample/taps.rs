//! Which elements are summed for each place along a dimension.

use smallvec::SmallVec;

use super::{Along, Edge, weights};
use crate::kernels::vexp::Real;

/// Periods below which a pattern of weights is not worth its own loop.
const PERIODS: usize = 8;
/// Places in a period, and steps it goes on by, at most.
const LONGEST: usize = 4;

/// What is done for some places in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing is read.
    Empty,
    /// The elements from this one on, as they are.
    Copy(usize),
    /// The sums of rows from `first` on, of `each` taps; of differing numbers of them if that is zero.
    Sums { first: usize, each: usize },
    /// Rows from `first` on, too, of neighbouring elements: the weights repeat after `phases` rows, `step`
    /// elements further on.
    Phases { first: usize, phases: usize, step: usize },
}

/// Some places in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) to: usize,
    pub(super) len: usize,
    pub(super) kind: Kind,
}

impl Piece {
    /// The part of the piece within `low..high`, if any.
    #[inline(always)]
    pub(super) fn within(&self, low: usize, high: usize) -> Option<(usize, usize)> {
        let (from, to) = (self.to.max(low), (self.to + self.len).min(high));
        (from < to).then_some((from, to))
    }
}

/// The taps of all places along a dimension.
#[derive(Clone, Debug)]
pub(super) struct Axis<T> {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) pieces: SmallVec<[Piece; 4]>,
    /// Where the taps of each row begin, and where those of the last end.
    starts: Vec<u32>,
    pub(super) index: Vec<u32>,
    pub(super) weight: Vec<T>,
}

impl<T: Real> Axis<T> {
    fn empty(input: usize) -> Self {
        Self {
            input,
            output: 0,
            pieces: SmallVec::new(),
            starts: vec![0],
            index: Vec::new(),
            weight: Vec::new(),
        }
    }

    pub(super) fn new(along: &Along) -> Self {
        match *along {
            Along::Keep(n) => {
                let mut axis = Self::empty(n);
                axis.push(Kind::Copy(0), n);
                axis
            }
            Along::Pad { input, before, after, edge } => Self::padded(input, before, after, edge),
            Along::Scale(scale) => {
                let mut axis = Self::empty(scale.input);
                axis.starts.reserve(scale.output);
                weights::each_row(&scale, |row| {
                    for &(index, weight) in row {
                        axis.tap(index, weight);
                    }
                    axis.row();
                });
                axis.seal();
                axis
            }
        }
    }

    fn padded(n: usize, before: i64, after: i64, edge: Edge) -> Self {
        let mut axis = Self::empty(n);
        let size = n as i64;
        // What is taken away is gone before the rest goes round.
        let (first, last) = (0.max(-before), size - 0.max(-after));
        let beyond = |axis: &mut Self, places: std::ops::Range<i64>| {
            if edge == Edge::Constant {
                return axis.push(Kind::Empty, (places.end - places.start).max(0) as usize);
            }
            for place in places {
                let index = match edge {
                    Edge::Circular => first + (place - first).rem_euclid((last - first).max(1)),
                    Edge::Reflect => size - 1 - (size - 1 - place.abs()).abs(),
                    _ => place.clamp(0, size - 1),
                };
                axis.tap(index.clamp(0, size - 1) as usize, T::ONE);
                axis.row();
            }
        };
        let end = size + after;
        beyond(&mut axis, -before..end.min(0));
        axis.push(Kind::Copy(first as usize), (end.min(size) - first).max(0) as usize);
        beyond(&mut axis, size.max(-before)..end);
        axis.seal();
        axis
    }

    /// Adds places at the end.
    fn push(&mut self, kind: Kind, len: usize) {
        if len > 0 {
            self.pieces.push(Piece { to: self.output, len, kind });
            self.output += len;
        }
    }

    /// Adds a tap to the row that comes next.
    fn tap(&mut self, index: usize, weight: T) {
        self.index.push(index as u32);
        self.weight.push(weight);
    }

    /// Ends a row.
    fn row(&mut self) {
        let first = self.starts.len() - 1;
        self.starts.push(self.index.len() as u32);
        match self.pieces.last_mut() {
            Some(Piece { len, kind: Kind::Sums { .. }, .. }) => {
                *len += 1;
                self.output += 1;
            }
            _ => self.push(Kind::Sums { first, each: 0 }, 1),
        }
    }

    /// Finds out which pieces have as many taps everywhere.
    fn seal(&mut self) {
        for piece in &mut self.pieces {
            if let Kind::Sums { first, each } = &mut piece.kind {
                let counts = self.starts[*first..=*first + piece.len].windows(2);
                let mut counts = counts.map(|ends| (ends[1] - ends[0]) as usize);
                let count = counts.next().unwrap_or(0);
                *each = if counts.all(|other| other == count) { count } else { 0 };
            }
        }
    }

    /// Where the taps of a row lie.
    #[inline(always)]
    pub(super) fn range(&self, row: usize) -> (usize, usize) {
        (self.starts[row] as usize, self.starts[row + 1] as usize)
    }

    /// The taps of a row: which elements, and their weights.
    #[inline(always)]
    pub(super) fn taps(&self, row: usize) -> (&[u32], &[T]) {
        let (start, end) = self.range(row);
        (&self.index[start..end], &self.weight[start..end])
    }

    /// How far the taps of a row lie apart, at most, counting both ends.
    pub(super) fn spread(&self) -> usize {
        let rows =
            self.starts.windows(2).map(|ends| &self.index[ends[0] as usize..ends[1] as usize]);
        let spread = |row: &[u32]| match (row.iter().min(), row.iter().max()) {
            (Some(least), Some(most)) => (most - least + 1) as usize,
            _ => 1,
        };
        rows.map(spread).max().unwrap_or(1)
    }

    /// Taps of a row on average, at least one.
    pub(super) fn density(&self) -> usize {
        (self.index.len() / self.output.max(1)).max(1)
    }

    /// The axis by which gradients come back: what was read is written, with the same weights.
    pub(super) fn transposed(&self) -> Self {
        let copy = self.pieces.iter().find_map(|piece| match piece.kind {
            Kind::Copy(from) => Some((from, piece.to, piece.len)),
            _ => None,
        });
        let mut pairs = Vec::with_capacity(self.index.len());
        for piece in &self.pieces {
            if let Kind::Sums { first, .. } = piece.kind {
                for place in 0..piece.len {
                    let (index, weight) = self.taps(first + place);
                    for (&index, &weight) in index.iter().zip(weight) {
                        pairs.push((index, (piece.to + place) as u32, weight));
                    }
                }
            }
        }
        let mut made = Self::empty(self.output);
        if copy.is_none() {
            pairs = sorted(&pairs, self.input);
        } else {
            pairs.sort_by_key(|&(index, to, _)| (index, to));
        }
        made.index.reserve(pairs.len());
        made.weight.reserve(pairs.len());
        let (from, to, len) = copy.unwrap_or((0, 0, 0));
        let mut next = 0;
        while next < pairs.len() {
            let index = pairs[next].0 as usize;
            made.gap(index, (from, to, len));
            // In ascending order of the places, among which the one it is copied to.
            let mut copied = (index >= from && index < from + len).then(|| to + index - from);
            while let Some(&(_, place, weight)) =
                pairs.get(next).filter(|pair| pair.0 as usize == index)
            {
                if let Some(copy) = copied.take_if(|copy| *copy < place as usize) {
                    made.tap(copy, T::ONE);
                }
                made.tap(place as usize, weight);
                next += 1;
            }
            if let Some(copy) = copied {
                made.tap(copy, T::ONE);
            }
            made.row();
        }
        made.gap(self.input, (from, to, len));
        made.seal();
        made
    }

    /// Adds places up to `end` whose elements are copies, or that nothing was read of.
    fn gap(&mut self, end: usize, (from, to, len): (usize, usize, usize)) {
        if len == 0 {
            // Rows without taps, so that all are alike in kind.
            while self.output < end {
                self.row();
            }
            return;
        }
        let at = self.output;
        let (first, last) = (from.clamp(at, end.max(at)), (from + len).clamp(at, end.max(at)));
        if first < last {
            self.push(Kind::Empty, first - at);
            self.push(Kind::Copy(to + first - from), last - first);
        }
        self.push(Kind::Empty, end.saturating_sub(self.output));
    }

    /// Marks the longest run of rows whose weights repeat.
    pub(super) fn find_phases(&mut self) {
        let Some(place) = self.pieces.iter().position(|p| matches!(p.kind, Kind::Sums { .. }))
        else {
            return;
        };
        let piece = self.pieces[place];
        let Kind::Sums { first, .. } = piece.kind else { return };
        let divisor = gcd(self.input, self.output);
        if divisor == 0 {
            return;
        }
        let (phases, step) = (self.output / divisor, self.input / divisor);
        if phases.max(step) > LONGEST
            || phases.min(step) != 1
            || phases == step
            || piece.len < phases * PERIODS
        {
            return;
        }
        let apart = |row: usize| {
            let ((a, b), (c, d)) = (self.taps(row), self.taps(row + phases));
            let neighbours = a.windows(2).all(|pair| pair[0] + 1 == pair[1]);
            let moved = a.iter().zip(c).all(|(a, c)| a + step as u32 == *c);
            a.len() == c.len() && neighbours && moved && b == d
        };
        // From the middle, where no end is near, in both directions.
        let middle = first + piece.len / 2;
        let mut low = middle;
        while low > first && apart(low - 1) {
            low -= 1;
        }
        let mut high = middle;
        while high + phases < first + piece.len && apart(high) {
            high += 1;
        }
        let periods = (high + phases - low) / phases;
        if high == middle || periods < PERIODS {
            return;
        }
        let len = periods * phases;
        let part = |from: usize, to: usize, kind: Kind| Piece {
            to: piece.to + from - first,
            len: to - from,
            kind,
        };
        let parts = [
            part(first, low, Kind::Sums { first, each: 0 }),
            part(low, low + len, Kind::Phases { first: low, phases, step }),
            part(low + len, first + piece.len, Kind::Sums { first: low + len, each: 0 }),
        ];
        self.pieces.remove(place);
        self.pieces.insert_many(place, parts.into_iter().filter(|part| part.len > 0));
        self.seal();
    }
}

/// The pairs by ascending index, those of one index in the order they had.
fn sorted<T: Copy>(pairs: &[(u32, u32, T)], count: usize) -> Vec<(u32, u32, T)> {
    let mut ends = vec![0usize; count + 1];
    for pair in pairs {
        ends[pair.0 as usize + 1] += 1;
    }
    for index in 0..count {
        ends[index + 1] += ends[index];
    }
    let mut sorted = pairs.to_vec();
    for &pair in pairs {
        let place = &mut ends[pair.0 as usize];
        sorted[*place] = pair;
        *place += 1;
    }
    sorted
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

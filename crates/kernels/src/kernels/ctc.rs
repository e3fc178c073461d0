//! Connectionist temporal classification: the sum over all alignments of a sequence of labels with a
//! sequence of steps, forward and back in time, in logarithms.
//!
//! Formula source: Graves et al., "Connectionist Temporal Classification", 2006, equations 6 to 16.
#![allow(unsafe_code)]

use super::matmul::Float;
use super::multiversion::{self, Job};
use super::raw::{Dst, Src, split};

/// How much longer one state of one step takes than one element of a simple pass.
const STATE: usize = 12;

/// A batch of sequences.
pub struct Sequences<'a> {
    /// The logarithms are `(steps, batch, classes)`, row-major.
    pub steps: usize,
    /// See there.
    pub classes: usize,
    /// Steps of each.
    pub lengths: &'a [usize],
    /// The labels of all, one sequence after the other.
    pub labels: &'a [usize],
    /// Where the labels of each begin, and where those of the last end.
    pub starts: &'a [usize],
    /// The class of no label.
    pub blank: usize,
}

impl Sequences<'_> {
    fn batch(&self) -> usize {
        self.lengths.len()
    }

    fn labels_of(&self, i: usize) -> &[usize] {
        &self.labels[self.starts[i]..self.starts[i + 1]]
    }

    /// States of the longest target: its labels with blanks before, between and behind.
    pub fn states(&self) -> usize {
        2 * self.starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0) + 1
    }

    fn work(&self) -> usize {
        self.steps * (self.states() * STATE + self.classes * 2)
    }
}

/// The states of one target.
struct States<T> {
    /// The class of each.
    classes: Vec<usize>,
    /// One where the state may be reached from the last but one, else zero.
    skips: Vec<T>,
}

impl<T: Float> States<T> {
    fn new(labels: &[usize], blank: usize) -> Self {
        let count = 2 * labels.len() + 1;
        let (mut classes, mut skips) = (vec![blank; count], vec![T::ZERO; count]);
        for (i, &label) in labels.iter().enumerate() {
            classes[2 * i + 1] = label;
            if i > 0 && labels[i - 1] != label {
                skips[2 * i + 1] = T::ONE;
            }
        }
        Self { classes, skips }
    }
}

/// `log(exp(a) + exp(b) + exp(c))`.
#[inline(always)]
fn sum_of_three<T: Float>(a: T, b: T, c: T) -> T {
    let most = if b > a { b } else { a };
    let most = if c > most { c } else { most };
    let most = if most == T::NEG_INFINITY { T::ZERO } else { most };
    ((a - most).vexp() + (b - most).vexp() + (c - most).vexp()).vln() + most
}

struct Forward<'a, T> {
    sequences: &'a Sequences<'a>,
    input: Src<T>,
    losses: Dst<T>,
    scores: Option<Dst<T>>,
    first: usize,
    last: usize,
}

impl<T: Float> Job for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let s = self.sequences;
        let width = s.states();
        let step = (s.batch() * s.classes) as isize;
        let mut before = vec![T::NEG_INFINITY; width + 2];
        let mut following = before.clone();
        let mut emitted = vec![T::ZERO; width];
        for i in self.first..self.last {
            let states = States::<T>::new(s.labels_of(i), s.blank);
            let n = states.classes.len();
            let (emitted, skips) = (&mut emitted[..n], &states.skips[..n]);
            before.fill(T::NEG_INFINITY);
            following.fill(T::NEG_INFINITY);
            for t in 0..s.lengths[i] {
                // SAFETY: the caller's logarithms have `steps` rows for each sequence.
                let row = unsafe {
                    let row = self.input.at(t as isize * step + (i * s.classes) as isize);
                    std::slice::from_raw_parts(row, s.classes)
                };
                for (to, &class) in emitted.iter_mut().zip(&states.classes) {
                    *to = row[class];
                }
                if t == 0 {
                    for (to, &from) in before[2..].iter_mut().zip(emitted.iter()).take(2) {
                        *to = from;
                    }
                } else {
                    forth(&before, &mut following, emitted, skips);
                    std::mem::swap(&mut before, &mut following);
                }
                if let Some(scores) = self.scores {
                    // SAFETY: every sequence has `steps` rows of `width` scores of its own.
                    let kept = unsafe {
                        let at = scores.at(((i * s.steps + t) * width) as isize);
                        std::slice::from_raw_parts_mut(at, n)
                    };
                    kept.copy_from_slice(&before[2..n + 2]);
                }
            }
            let loss = if s.lengths[i] == 0 {
                // No steps explain no labels, and nothing else.
                if n == 1 { T::ZERO } else { T::NEG_INFINITY }
            } else if n == 1 {
                before[2]
            } else {
                sum_of_three(before[n + 1], before[n], T::NEG_INFINITY)
            };
            // SAFETY: one loss for each sequence.
            unsafe { *self.losses.at(i as isize) = -loss };
        }
    }
}

/// One step forward: both rows have the states behind two of minus infinity.
#[inline(always)]
fn forth<T: Float>(before: &[T], row: &mut [T], emitted: &[T], skips: &[T]) {
    let n = emitted.len();
    let (zero, one, two) = (&before[2..n + 2], &before[1..=n], &before[..n]);
    let (row, skips) = (&mut row[2..n + 2], &skips[..n]);
    for j in 0..n {
        let skipped = if skips[j] == T::ZERO { T::NEG_INFINITY } else { two[j] };
        row[j] = sum_of_three(zero[j], one[j], skipped) + emitted[j];
    }
}

/// One step back: `row` has the states before two of minus infinity; `skips` tells which may be left
/// for the next but one.
#[inline(always)]
fn back<T: Float>(row: &mut [T], emitted: &[T], skips: &[T]) {
    let n = emitted.len();
    for j in 0..n {
        let skipped = if skips[j] == T::ZERO { T::NEG_INFINITY } else { row[j + 2] };
        row[j] = sum_of_three(row[j], row[j + 1], skipped) + emitted[j];
    }
}

struct Backward<'a, T> {
    sequences: &'a Sequences<'a>,
    /// Whether sequences of infinite loss get no gradient.
    zero_infinity: bool,
    input: Src<T>,
    losses: Src<T>,
    scores: Src<T>,
    arriving: Src<T>,
    to: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Float> Job for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let s = self.sequences;
        let width = s.states();
        let step = (s.batch() * s.classes) as isize;
        let mut after = vec![T::NEG_INFINITY; width + 2];
        let mut skips = vec![T::ZERO; width];
        let mut emitted = vec![T::ZERO; width];
        let mut shares = vec![T::ZERO; width];
        for i in self.first..self.last {
            let states = States::<T>::new(s.labels_of(i), s.blank);
            let n = states.classes.len();
            // SAFETY: one loss and one gradient for each sequence.
            let (loss, grad) =
                unsafe { (*self.losses.at(i as isize), *self.arriving.at(i as isize)) };
            let counted =
                if self.zero_infinity && loss == -T::NEG_INFINITY { 0 } else { s.lengths[i] };
            skips.fill(T::ZERO);
            for (to, &from) in skips.iter_mut().zip(states.skips.iter().skip(2)) {
                *to = from;
            }
            after.fill(T::NEG_INFINITY);
            for t in (0..s.steps).rev() {
                let at = t as isize * step + (i * s.classes) as isize;
                // SAFETY: rows of this sequence alone, each of `classes` elements.
                let (row, to) = unsafe {
                    let row = std::slice::from_raw_parts(self.input.at(at), s.classes);
                    (row, std::slice::from_raw_parts_mut(self.to.at(at), s.classes))
                };
                if t >= counted {
                    to.fill(T::ZERO);
                    continue;
                }
                let (emitted, shares) = (&mut emitted[..n], &mut shares[..n]);
                for (to, &class) in emitted.iter_mut().zip(&states.classes) {
                    *to = row[class];
                }
                if t + 1 == counted {
                    let ends = n.saturating_sub(2);
                    after[ends..n].copy_from_slice(&emitted[ends..]);
                } else {
                    back(&mut after[..n + 2], emitted, &skips[..n]);
                }
                // SAFETY: the scores of this sequence's step.
                let scores = unsafe {
                    let at = self.scores.at(((i * s.steps + t) * width) as isize);
                    std::slice::from_raw_parts(at, n)
                };
                for j in 0..n {
                    shares[j] = (scores[j] + after[j] + loss - emitted[j]).vexp();
                }
                // The last term is zero, or no number where the posterior is none.
                for (to, &log) in to.iter_mut().zip(row) {
                    *to = log.vexp() + T::ZERO * (loss - log);
                }
                let mut of_blank = T::ZERO;
                for j in (0..n).step_by(2) {
                    of_blank += shares[j];
                }
                to[s.blank] = to[s.blank] - of_blank;
                for j in (1..n).step_by(2) {
                    let class = states.classes[j];
                    to[class] = to[class] - shares[j];
                }
                for to in &mut *to {
                    *to = *to * grad;
                }
            }
        }
    }
}

/// The negative logarithm of the probability of each target, and, if there is room for them, the
/// scores of all states at all steps, `(batch, steps, states)`.
///
/// # Safety
/// `input` holds `steps * batch * classes` elements, `losses` one for each sequence; lengths, labels
/// and starts are within what they count; nothing overlaps.
pub unsafe fn forward<T: Float>(
    sequences: &Sequences<'_>,
    input: *const T,
    losses: *mut T,
    scores: Option<*mut T>,
) {
    let (input, losses, scores) = (Src::new(input), Dst::new(losses), scores.map(Dst::new));
    split(sequences.batch(), sequences.work(), |first, last| {
        multiversion::run(Forward { sequences, input, losses, scores, first, last });
    });
}

/// The gradient of the scores before the logarithm of softmax, from those of the losses: what is
/// expected of each class less its share among the alignments.
///
/// # Safety
/// As for [`forward`]; `arriving` holds one element for each sequence, `to` as many as `input`.
pub unsafe fn backward<T: Float>(
    sequences: &Sequences<'_>,
    zero_infinity: bool,
    input: *const T,
    losses: *const T,
    scores: *const T,
    arriving: *const T,
    to: *mut T,
) {
    let (input, losses, scores) = (Src::new(input), Src::new(losses), Src::new(scores));
    let (arriving, to) = (Src::new(arriving), Dst::new(to));
    split(sequences.batch(), sequences.work(), |first, last| {
        multiversion::run(Backward {
            sequences,
            zero_infinity,
            input,
            losses,
            scores,
            arriving,
            to,
            first,
            last,
        });
    });
}

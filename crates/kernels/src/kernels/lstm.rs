//! One step of long short-term memory (Hochreiter & Schmidhuber, "Long Short-Term Memory", 1997), with
//! the gates i, f, g, o side by side.
#![allow(unsafe_code)]

use super::block::Fused;
use super::math::exp::{sigmoid_f32, sigmoid_f64, tanh_f32, tanh_f64};
use super::matmul::Float;
use super::multiversion::{self, Job};
use super::raw::{Dst, Src, split};

/// A float with the functions of gates: the same bits at every level.
pub trait Gate: Float {
    /// `1 / (1 + exp(-x))`.
    fn sigmoid(self) -> Self;
    /// The hyperbolic tangent.
    fn bounded(self) -> Self;
}
impl Gate for f32 {
    #[inline(always)]
    fn sigmoid(self) -> Self {
        sigmoid_f32::<Fused>(self)
    }
    #[inline(always)]
    fn bounded(self) -> Self {
        tanh_f32::<Fused>(self)
    }
}
impl Gate for f64 {
    #[inline(always)]
    fn sigmoid(self) -> Self {
        sigmoid_f64::<Fused>(self)
    }
    #[inline(always)]
    fn bounded(self) -> Self {
        tanh_f64::<Fused>(self)
    }
}

struct Forward<T> {
    n: usize,
    gates: Dst<T>,
    before: Src<T>,
    memory: Dst<T>,
    state: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Gate> Job for Forward<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let n = self.n;
        for row in self.first..self.last {
            let at = (row * n) as isize;
            // SAFETY: a row of each operand; what is written overlaps nothing else.
            unsafe {
                let gates = std::slice::from_raw_parts_mut(self.gates.at(4 * at), 4 * n);
                let before = std::slice::from_raw_parts(self.before.at(at), n);
                let memory = std::slice::from_raw_parts_mut(self.memory.at(at), n);
                let state = std::slice::from_raw_parts_mut(self.state.at(at), n);
                let (open, rest) = gates.split_at_mut(2 * n);
                let (new, shown) = rest.split_at_mut(n);
                for gate in &mut *open {
                    *gate = gate.sigmoid();
                }
                for gate in &mut *new {
                    *gate = gate.bounded();
                }
                for gate in &mut *shown {
                    *gate = gate.sigmoid();
                }
                let (taken, kept) = open.split_at(n);
                for i in 0..n {
                    memory[i] = taken[i] * new[i] + kept[i] * before[i];
                }
                for i in 0..n {
                    state[i] = shown[i] * memory[i].bounded();
                }
            }
        }
    }
}

/// From the sums that gates are made of (written over by the gates) and the memory before to the
/// memory and the state, for `batch` rows of `n`.
///
/// # Safety
/// `gates` holds `4 * n` elements for each row, the others `n`; none overlap.
pub unsafe fn forward<T: Gate>(
    batch: usize,
    n: usize,
    gates: *mut T,
    before: *const T,
    memory: *mut T,
    state: *mut T,
) {
    let (gates, before) = (Dst::new(gates), Src::new(before));
    let (memory, state) = (Dst::new(memory), Dst::new(state));
    split(batch, 16 * n, |first, last| {
        multiversion::run(Forward { n, gates, before, memory, state, first, last });
    });
}

struct Backward<T> {
    n: usize,
    gates: Src<T>,
    before: Src<T>,
    memory: Src<T>,
    of_state: Src<T>,
    of_memory: Dst<T>,
    of_gates: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Gate> Job for Backward<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let n = self.n;
        for row in self.first..self.last {
            let at = (row * n) as isize;
            // SAFETY: a row of each operand; what is written overlaps nothing else.
            unsafe {
                let gates = std::slice::from_raw_parts(self.gates.at(4 * at), 4 * n);
                let before = std::slice::from_raw_parts(self.before.at(at), n);
                let memory = std::slice::from_raw_parts(self.memory.at(at), n);
                let of_state = std::slice::from_raw_parts(self.of_state.at(at), n);
                let of_memory = std::slice::from_raw_parts_mut(self.of_memory.at(at), n);
                let to = std::slice::from_raw_parts_mut(self.of_gates.at(4 * at), 4 * n);
                let (open, rest) = gates.split_at(2 * n);
                let (taken, kept) = open.split_at(n);
                let (new, shown) = rest.split_at(n);
                let (to_open, rest) = to.split_at_mut(2 * n);
                let (to_taken, to_kept) = to_open.split_at_mut(n);
                let (to_new, to_shown) = rest.split_at_mut(n);
                for i in 0..n {
                    let bounded = memory[i].bounded();
                    let g = of_state[i];
                    to_shown[i] = g * (bounded * (shown[i] * (T::ONE - shown[i])));
                    of_memory[i] += g * (shown[i] * (T::ONE - bounded * bounded));
                }
                for i in 0..n {
                    let g = of_memory[i];
                    to_taken[i] = g * (new[i] * (taken[i] * (T::ONE - taken[i])));
                    to_kept[i] = g * (before[i] * (kept[i] * (T::ONE - kept[i])));
                    to_new[i] = g * (taken[i] * (T::ONE - new[i] * new[i]));
                    of_memory[i] = g * kept[i];
                }
            }
        }
    }
}

/// From the gradients of a step's state and memory to that of the sums its gates were made of, and of
/// the memory before (written over that of the memory).
///
/// # Safety
/// As for [`forward`].
pub unsafe fn backward<T: Gate>(
    batch: usize,
    n: usize,
    gates: *const T,
    before: *const T,
    memory: *const T,
    of_state: *const T,
    of_memory: *mut T,
    of_gates: *mut T,
) {
    let (gates, before, memory) = (Src::new(gates), Src::new(before), Src::new(memory));
    let (of_state, of_memory) = (Src::new(of_state), Dst::new(of_memory));
    let of_gates = Dst::new(of_gates);
    split(batch, 16 * n, |first, last| {
        multiversion::run(Backward {
            n,
            gates,
            before,
            memory,
            of_state,
            of_memory,
            of_gates,
            first,
            last,
        });
    });
}

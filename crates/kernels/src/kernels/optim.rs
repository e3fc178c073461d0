//! Steps of optimisers: one pass over a parameter, its gradient and its running averages.
//!
//! Each formula does its arithmetic in the order torch's one-tensor code does, so that results
//! agree to the last rounding in almost all cases.
#![allow(unsafe_code)]

use super::multiversion::{self, Job};
use super::raw::{Dst, Src};
use super::vexp::Real;

/// How a parameter is updated from its gradient `g`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are the numbers of the formulas")]
pub enum Rule {
    /// `p -= rate * d`, where `d` is the gradient or a running sum `b = momentum * b +
    /// (1 - dampening) * g`; Nesterov's variant looks one step ahead.
    Sgd {
        rate: f64,
        decay: f64,
        momentum: f64,
        dampening: f64,
        nesterov: bool,
        /// The first step: the running sum is the gradient itself.
        first: bool,
    },
    /// Running averages of the gradient and of its square (Kingma & Ba, 2015); with `decoupled`
    /// the weights decay by themselves (Loshchilov & Hutter, 2019).
    Adam {
        rate: f64,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
        decay: f64,
        decoupled: bool,
        amsgrad: bool,
        /// How many steps this one completes.
        step: f64,
    },
    /// Divides by the root of the sum of all squares (Duchi et al., 2011).
    Adagrad { rate: f64, decay: f64, epsilon: f64 },
    /// Divides by the root of a running average of squares.
    RmsProp { rate: f64, alpha: f64, epsilon: f64, decay: f64, momentum: f64, centered: bool },
}

impl Rule {
    /// How many running tensors the rule keeps.
    pub fn states(&self) -> usize {
        match self {
            Self::Sgd { momentum, .. } => usize::from(*momentum != 0.0),
            Self::Adam { amsgrad, .. } => 2 + usize::from(*amsgrad),
            Self::Adagrad { .. } => 1,
            Self::RmsProp { momentum, centered, .. } => {
                1 + usize::from(*momentum > 0.0) + usize::from(*centered)
            }
        }
    }
}

/// Updates `n` elements of a parameter and of the running tensors (null beyond those the rule
/// keeps); `maximize` turns the gradient round.
///
/// # Safety
/// Every pointer that the rule reads holds `n` elements; none overlap.
pub unsafe fn step<T: Real>(
    rule: &Rule,
    maximize: bool,
    n: usize,
    parameter: *mut T,
    gradient: *const T,
    states: [*mut T; 3],
) {
    let sign = if maximize { -T::ONE } else { T::ONE };
    let states = states.map(Dst::new);
    let (p, g) = (Dst::new(parameter), Src::new(gradient));
    multiversion::run(Step { rule, sign, n, p, g, states });
}

struct Step<'a, T> {
    rule: &'a Rule,
    sign: T,
    n: usize,
    p: Dst<T>,
    g: Src<T>,
    states: [Dst<T>; 3],
}

/// A running average, `weight` of the way from what it was to what is new: in both forms of the interpolation, as
/// torch chooses between them.
#[inline(always)]
fn toward<T: Real>(weight: f64) -> impl Fn(T, T) -> T {
    let (w, far) = (T::from_f64(weight), weight >= 0.5);
    let keep = T::ONE - w;
    move |old, new| if far { new - (new - old) * keep } else { old + w * (new - old) }
}

impl<T: Real> Step<'_, T> {
    /// What makes of a parameter and its gradient the gradient to go by: turned round or not, with the decay.
    #[inline(always)]
    fn turned(&self, decay: f64) -> impl Fn(T, T) -> T + use<T> {
        let (sign, wd) = (self.sign, T::from_f64(decay));
        move |p, g| if decay == 0.0 { g * sign } else { g * sign + wd * p }
    }

    /// # Safety
    /// See [`step`].
    #[inline(always)]
    unsafe fn slices<'s>(&self) -> (&'s mut [T], &'s [T]) {
        // SAFETY: n elements each, not overlapping.
        unsafe {
            (
                std::slice::from_raw_parts_mut(self.p.at(0), self.n),
                std::slice::from_raw_parts(self.g.at(0), self.n),
            )
        }
    }

    /// # Safety
    /// See [`step`]; `i` is one of the tensors the rule keeps.
    #[inline(always)]
    unsafe fn state<'s>(&self, i: usize) -> &'s mut [T] {
        // SAFETY: n elements, overlapping nothing.
        unsafe { std::slice::from_raw_parts_mut(self.states[i].at(0), self.n) }
    }
}

impl<T: Real> Job for Step<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        // SAFETY: the caller vouches for all pointers of the rule.
        unsafe {
            match *self.rule {
                Rule::Sgd { rate, decay, momentum, dampening, nesterov, first } => {
                    self.sgd(rate, decay, momentum, dampening, nesterov, first);
                }
                Rule::Adam { .. } => self.adam(),
                Rule::Adagrad { rate, decay, epsilon } => self.adagrad(rate, decay, epsilon),
                Rule::RmsProp { .. } => self.rms_prop(),
            }
        }
    }
}

impl<T: Real> Step<'_, T> {
    #[inline(always)]
    unsafe fn sgd(
        self,
        rate: f64,
        decay: f64,
        momentum: f64,
        dampening: f64,
        nesterov: bool,
        first: bool,
    ) {
        let rate = T::from_f64(-rate);
        let turned = self.turned(decay);
        // SAFETY: see `step`.
        let (p, g) = unsafe { self.slices() };
        if momentum == 0.0 {
            for (p, &g) in p.iter_mut().zip(g) {
                let g = turned(*p, g);
                *p += rate * g;
            }
            return;
        }
        let (mu, keep) = (T::from_f64(momentum), T::from_f64(1.0 - dampening));
        // SAFETY: see `step`.
        let b = unsafe { self.state(0) };
        for ((p, &g), b) in p.iter_mut().zip(g).zip(b) {
            let g = turned(*p, g);
            let sum = if first { g } else { *b * mu + keep * g };
            *b = sum;
            let d = if nesterov { g + mu * sum } else { sum };
            *p += rate * d;
        }
    }

    #[inline(always)]
    unsafe fn adam(self) {
        let &Rule::Adam { rate, beta1, beta2, epsilon, decay, decoupled, amsgrad, step } =
            self.rule
        else {
            return;
        };
        let correction1 = 1.0 - beta1.powf(step);
        let correction2 = (1.0 - beta2.powf(step)).sqrt();
        let size = T::from_f64(-(rate / correction1));
        let root2 = T::from_f64(correction2);
        let shrink = T::from_f64(1.0 - rate * decay);
        let toward = toward(1.0 - beta1);
        let (b2, w2) = (T::from_f64(beta2), T::from_f64(1.0 - beta2));
        let eps = T::from_f64(epsilon);
        let shrinks = decoupled && decay != 0.0;
        let turned = self.turned(if decoupled { 0.0 } else { decay });
        // SAFETY: see `step`.
        let ((p, g), m, v) = unsafe { (self.slices(), self.state(0), self.state(1)) };
        macro_rules! element {
            ($p:ident, $g:ident, $m:ident, $v:ident, |$second:ident| $largest:expr) => {{
                let before = if shrinks { *$p * shrink } else { *$p };
                let g = turned(before, $g);
                let mean = toward(*$m, g);
                let $second = *$v * b2 + w2 * g * g;
                *$m = mean;
                *$v = $second;
                let denominator = ($largest).sqrt() / root2 + eps;
                *$p = before + size * mean / denominator;
            }};
        }
        if amsgrad {
            // SAFETY: see `step`.
            let top = unsafe { self.state(2) };
            for ((((p, &g), m), v), top) in p.iter_mut().zip(g).zip(m).zip(v).zip(top) {
                element!(p, g, m, v, |second| {
                    let largest = top.max_nan(second);
                    *top = largest;
                    largest
                });
            }
        } else {
            for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                element!(p, g, m, v, |second| second);
            }
        }
    }

    #[inline(always)]
    unsafe fn adagrad(self, rate: f64, decay: f64, epsilon: f64) {
        let (rate, eps, turned) = (T::from_f64(-rate), T::from_f64(epsilon), self.turned(decay));
        // SAFETY: see `step`.
        let ((p, g), sum) = unsafe { (self.slices(), self.state(0)) };
        for ((p, &g), sum) in p.iter_mut().zip(g).zip(sum) {
            let g = turned(*p, g);
            *sum += g * g;
            *p += rate * g / (sum.sqrt() + eps);
        }
    }

    #[inline(always)]
    unsafe fn rms_prop(self) {
        let &Rule::RmsProp { rate, alpha, epsilon, decay, momentum, centered } = self.rule else {
            return;
        };
        let (rate, eps, turned) = (T::from_f64(-rate), T::from_f64(epsilon), self.turned(decay));
        let (a, w, mu) = (T::from_f64(alpha), T::from_f64(1.0 - alpha), T::from_f64(momentum));
        let toward = toward(1.0 - alpha);
        let moving = momentum > 0.0;
        // SAFETY: see `step`.
        let ((p, g), square) = unsafe { (self.slices(), self.state(0)) };
        let elements = p.iter_mut().zip(g).zip(square);
        let second = |square: &mut T, g: T| {
            *square = *square * a + w * g * g;
            *square
        };
        let centred = |mean: &mut T, g: T, second: T| {
            *mean = toward(*mean, g);
            second - *mean * *mean
        };
        let moved = |buffer: &mut T, d: T| {
            *buffer = *buffer * mu + d;
            *buffer
        };
        // A loop for each set of tensors that the rule keeps, so that they become vector loops.
        match (moving, centered) {
            (false, false) => {
                for ((p, &g), square) in elements {
                    let g = turned(*p, g);
                    let root = second(square, g).sqrt() + eps;
                    *p += rate * g / root;
                }
            }
            (false, true) => {
                // SAFETY: see `step`.
                let means = unsafe { self.state(1) };
                for (((p, &g), square), mean) in elements.zip(means) {
                    let g = turned(*p, g);
                    let root = centred(mean, g, second(square, g)).sqrt() + eps;
                    *p += rate * g / root;
                }
            }
            (true, false) => {
                // SAFETY: see `step`.
                let buffers = unsafe { self.state(1) };
                for (((p, &g), square), buffer) in elements.zip(buffers) {
                    let g = turned(*p, g);
                    let root = second(square, g).sqrt() + eps;
                    *p += rate * moved(buffer, g / root);
                }
            }
            (true, true) => {
                // SAFETY: see `step`.
                let (buffers, means) = unsafe { (self.state(1), self.state(2)) };
                for ((((p, &g), square), buffer), mean) in elements.zip(buffers).zip(means) {
                    let g = turned(*p, g);
                    let root = centred(mean, g, second(square, g)).sqrt() + eps;
                    *p += rate * moved(buffer, g / root);
                }
            }
        }
    }
}

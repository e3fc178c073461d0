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
    /// Steps in the ratio of running averages of squared steps and squared gradients (Zeiler, 2012).
    Adadelta { rate: f64, rho: f64, epsilon: f64, decay: f64 },
    /// Adam with the infinity norm in place of the second moment (Kingma & Ba, 2015, section 7.1).
    Adamax { rate: f64, beta1: f64, beta2: f64, epsilon: f64, decay: f64 },
    /// Adam with Nesterov's look ahead (Dozat, 2016): a part of the step by the gradient, one by its average.
    NAdam {
        now: f64,
        ahead: f64,
        beta1: f64,
        beta2: f64,
        correction2: f64,
        epsilon: f64,
        decay: f64,
        shrink: f64,
    },
    /// Adam whose adaptive rate waits until its variance can be estimated (Liu et al., 2020); `rectified` is 0
    /// until then.
    RAdam {
        rate: f64,
        beta1: f64,
        beta2: f64,
        correction1: f64,
        root2: f64,
        rectified: f64,
        epsilon: f64,
        decay: f64,
        shrink: f64,
    },
    /// Steps of a size of their own for each element, by the sign of the gradient (Riedmiller & Braun, 1993).
    Rprop { less: f64, more: f64, least: f64, most: f64 },
    /// SGD that also keeps the average of its parameters (Polyak & Juditsky, 1992).
    Asgd { eta: f64, shrink: f64, mu: f64, decay: f64 },
}

impl Rule {
    /// How many running tensors the rule keeps.
    pub fn states(&self) -> usize {
        match self {
            Self::Sgd { momentum, .. } => usize::from(*momentum != 0.0),
            Self::Adam { amsgrad, .. } => 2 + usize::from(*amsgrad),
            Self::Adagrad { .. } | Self::Asgd { .. } => 1,
            Self::Adadelta { .. }
            | Self::Adamax { .. }
            | Self::NAdam { .. }
            | Self::RAdam { .. }
            | Self::Rprop { .. } => 2,
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

/// A running average of squares that keeps `keep` of what it was.
#[inline(always)]
fn second<T: Real>(keep: f64) -> impl Fn(T, T) -> T {
    let (b, w) = (T::from_f64(keep), T::from_f64(1.0 - keep));
    move |old, new| old * b + w * new * new
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

    /// Every element, its gradient and what the rule keeps for it, of which there is one.
    ///
    /// # Safety
    /// See [`step`].
    #[inline(always)]
    unsafe fn with_one(self, update: impl Fn(&mut T, T, &mut T)) {
        // SAFETY: as the caller vouches.
        let ((p, g), a) = unsafe { (self.slices(), self.state(0)) };
        for ((p, &g), a) in p.iter_mut().zip(g).zip(a) {
            update(p, g, a);
        }
    }

    /// As [`Self::with_one`], where the rule keeps two.
    ///
    /// # Safety
    /// See [`step`].
    #[inline(always)]
    unsafe fn with_two(self, update: impl Fn(&mut T, T, &mut T, &mut T)) {
        // SAFETY: as the caller vouches.
        let ((p, g), a, b) = unsafe { (self.slices(), self.state(0), self.state(1)) };
        for (((p, &g), a), b) in p.iter_mut().zip(g).zip(a).zip(b) {
            update(p, g, a, b);
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
                Rule::Adadelta { rate, rho, epsilon, decay } => {
                    self.adadelta(rate, rho, epsilon, decay);
                }
                Rule::Adamax { rate, beta1, beta2, epsilon, decay } => {
                    self.adamax(rate, beta1, beta2, epsilon, decay);
                }
                Rule::NAdam { .. } => self.nadam(),
                Rule::RAdam { .. } => self.radam(),
                Rule::Rprop { less, more, least, most } => self.rprop(less, more, least, most),
                Rule::Asgd { eta, shrink, mu, decay } => self.asgd(eta, shrink, mu, decay),
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
        let (toward, second) = (toward(1.0 - beta1), second(beta2));
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
                let $second = second(*$v, g);
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
        let update = |p: &mut T, g: T, sum: &mut T| {
            let g = turned(*p, g);
            *sum += g * g;
            *p += rate * g / (sum.sqrt() + eps);
        };
        // SAFETY: see `step`.
        unsafe { self.with_one(update) }
    }

    #[inline(always)]
    unsafe fn rms_prop(self) {
        let &Rule::RmsProp { rate, alpha, epsilon, decay, momentum, centered } = self.rule else {
            return;
        };
        let (rate, eps, turned) = (T::from_f64(-rate), T::from_f64(epsilon), self.turned(decay));
        let mu = T::from_f64(momentum);
        let (toward, average) = (toward(1.0 - alpha), second(alpha));
        let moving = momentum > 0.0;
        // SAFETY: see `step`.
        let ((p, g), square) = unsafe { (self.slices(), self.state(0)) };
        let elements = p.iter_mut().zip(g).zip(square);
        let second = |square: &mut T, g: T| {
            *square = average(*square, g);
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

    #[inline(always)]
    unsafe fn adadelta(self, rate: f64, rho: f64, epsilon: f64, decay: f64) {
        let (rate, eps, turned) = (T::from_f64(-rate), T::from_f64(epsilon), self.turned(decay));
        let second = second(rho);
        let update = |p: &mut T, g: T, squares: &mut T, steps: &mut T| {
            let g = turned(*p, g);
            *squares = second(*squares, g);
            let delta = (*steps + eps).sqrt() / (*squares + eps).sqrt() * g;
            *steps = second(*steps, delta);
            *p += rate * delta;
        };
        // SAFETY: see `step`.
        unsafe { self.with_two(update) }
    }

    #[inline(always)]
    unsafe fn adamax(self, rate: f64, beta1: f64, beta2: f64, epsilon: f64, decay: f64) {
        let (rate, eps, turned) = (T::from_f64(-rate), T::from_f64(epsilon), self.turned(decay));
        let (toward, b2) = (toward(1.0 - beta1), T::from_f64(beta2));
        let update = |p: &mut T, g: T, mean: &mut T, largest: &mut T| {
            let g = turned(*p, g);
            *mean = toward(*mean, g);
            *largest = (*largest * b2).max_nan(g.abs() + eps);
            *p += rate * *mean / *largest;
        };
        // SAFETY: see `step`.
        unsafe { self.with_two(update) }
    }

    #[inline(always)]
    unsafe fn nadam(self) {
        let &Rule::NAdam { now, ahead, beta1, beta2, correction2, epsilon, decay, shrink } =
            self.rule
        else {
            return;
        };
        let (now, ahead) = (T::from_f64(-now), T::from_f64(-ahead));
        let (toward, second) = (toward(1.0 - beta1), second(beta2));
        let (c2, eps) = (T::from_f64(correction2), T::from_f64(epsilon));
        let (shrink, turned) = (T::from_f64(shrink), self.turned(decay));
        let update = |p: &mut T, g: T, mean: &mut T, square: &mut T| {
            let g = turned(*p, g);
            *mean = toward(*mean, g);
            *square = second(*square, g);
            let root = (*square / c2).sqrt() + eps;
            *p = *p * shrink + now * g / root + ahead * *mean / root;
        };
        // SAFETY: see `step`.
        unsafe { self.with_two(update) }
    }

    #[inline(always)]
    unsafe fn radam(self) {
        let &Rule::RAdam {
            rate,
            beta1,
            beta2,
            correction1,
            root2,
            rectified,
            epsilon,
            decay,
            shrink,
        } = self.rule
        else {
            return;
        };
        let (rate, c1) = (T::from_f64(rate), T::from_f64(correction1));
        let (toward, second) = (toward(1.0 - beta1), second(beta2));
        let (root2, eps) = (T::from_f64(root2), T::from_f64(epsilon));
        let (shrink, turned) = (T::from_f64(shrink), self.turned(decay));
        let moments = |p: &T, g: T, mean: &mut T, square: &mut T| {
            let g = turned(*p, g);
            *mean = toward(*mean, g);
            *square = second(*square, g);
        };
        if rectified == 0.0 {
            let update = |p: &mut T, g: T, mean: &mut T, square: &mut T| {
                moments(p, g, mean, square);
                *p = *p * shrink - *mean / c1 * rate;
            };
            // SAFETY: see `step`.
            return unsafe { self.with_two(update) };
        }
        let rectified = T::from_f64(rectified);
        let update = |p: &mut T, g: T, mean: &mut T, square: &mut T| {
            moments(p, g, mean, square);
            *p = *p * shrink - *mean / c1 * rate * (root2 / (square.sqrt() + eps)) * rectified;
        };
        // SAFETY: see `step`.
        unsafe { self.with_two(update) }
    }

    #[inline(always)]
    unsafe fn rprop(self, less: f64, more: f64, least: f64, most: f64) {
        let (less, more) = (T::from_f64(less), T::from_f64(more));
        let (least, most) = (T::from_f64(least), T::from_f64(most));
        let turned = self.turned(0.0);
        let pick = |which: bool, yes: T, no: T| std::hint::select_unpredictable(which, yes, no);
        let update = |p: &mut T, g: T, before: &mut T, size: &mut T| {
            let g = turned(*p, g);
            let agreement = g * *before;
            let factor = pick(agreement > T::ZERO, more, pick(agreement < T::ZERO, less, T::ONE));
            let grown = *size * factor;
            *size = pick(grown < least, least, pick(grown > most, most, grown));
            // Where the sign turned the step is left out, and no sign is remembered.
            let g = pick(agreement < T::ZERO, T::ZERO, g);
            let sign = pick(g > T::ZERO, T::ONE, pick(g < T::ZERO, -T::ONE, T::ZERO));
            *p = *p - sign * *size;
            *before = g;
        };
        // SAFETY: see `step`.
        unsafe { self.with_two(update) }
    }

    #[inline(always)]
    unsafe fn asgd(self, eta: f64, shrink: f64, mu: f64, decay: f64) {
        let (eta, shrink, turned) = (T::from_f64(-eta), T::from_f64(shrink), self.turned(decay));
        let weight = T::from_f64(mu);
        let moved = |p: T, g: T| p * shrink + eta * turned(p, g);
        if mu == 1.0 {
            let update = |p: &mut T, g: T, mean: &mut T| {
                *p = moved(*p, g);
                *mean = *p;
            };
            // SAFETY: see `step`.
            return unsafe { self.with_one(update) };
        }
        let update = |p: &mut T, g: T, mean: &mut T| {
            *p = moved(*p, g);
            *mean += (*p - *mean) * weight;
        };
        // SAFETY: see `step`.
        unsafe { self.with_one(update) }
    }
}

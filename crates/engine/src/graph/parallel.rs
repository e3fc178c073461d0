//! The parallel executor over the same plan: a node becomes a task of the pool when its last
//! contribution has arrived.
//!
//! Contributions wait in their node's list with the place they come from and are added in the order
//! in which the serial executor would have met them, so the result is the same to the bit.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;

use super::accumulate::{accumulate_leaf, add, add_part, fit};
use super::backward::Pass;
use super::hooks::GradList;
use super::mode::GradMode;
use super::plan::Plan;
use crate::error::{Error, Result};
use crate::parallel;
use crate::tensor::Tensor;

/// Cost (in bytes moved) below which waking other threads takes more than it brings (about 50
/// microseconds of memory traffic).
const WORTH: usize = 1 << 20;

/// Cost of a node on average below which handing nodes from thread to thread, which takes one to two
/// microseconds each, takes more than it brings.
const GRAIN: usize = 1 << 17;

/// Whether the plan's work pays for waking other threads. A chain does not: its operations are
/// split themselves.
pub(super) fn pays(plan: &Plan<'_>) -> bool {
    if parallel::threads() <= 1 || parallel::threshold() <= 1 {
        return parallel::threads() > 1;
    }
    // Asked of those plans only whose gradients are not tiny: it looks at all nodes.
    let worth = || {
        let cost =
            plan.steps.iter().fold(0_usize, |sum, step| sum.saturating_add(step.node.cost()));
        cost >= WORTH && cost / GRAIN >= plan.steps.len()
    };
    plan.work >= WORTH / 16 && worth() && plan.branches()
}

/// A gradient on its way: from which step (0: a root) and which of its edges, to which output.
struct Arrival {
    from: (u32, u32),
    out: u32,
    grad: Tensor,
    /// Whether it is that of a part, by the rule it comes from.
    is_part: bool,
}

struct Run<'a, 'g, 'p> {
    plan: &'a Plan<'g>,
    pass: &'a Mutex<&'a mut Pass<'p>>,
    retain: bool,
    captures_only: bool,
    waits: Vec<AtomicU32>,
    arrivals: Vec<Mutex<Vec<Arrival>>>,
    failed: AtomicBool,
    error: Mutex<Option<Error>>,
}

/// Runs a plan on the pool.
pub(super) fn run(
    plan: &mut Plan<'_>,
    pass: &mut Pass<'_>,
    grads: &mut [Option<Tensor>],
) -> Result<()> {
    let arrivals: Vec<Mutex<Vec<Arrival>>> = plan
        .steps
        .iter()
        .map(|step| {
            let first = step.first as usize;
            let outs = grads[first..first + step.node.num_outputs()].iter_mut().enumerate();
            let roots = outs.filter_map(|(out, grad)| {
                let grad = grad.take()?;
                Some(Arrival { from: (0, 0), out: out as u32, grad, is_part: false })
            });
            Mutex::new(roots.collect())
        })
        .collect();
    let (retain, captures_only) = (pass.retain(), pass.captures_only());
    let pass = Mutex::new(pass);
    let run = Run {
        plan,
        pass: &pass,
        retain,
        captures_only,
        waits: plan.steps.iter().map(|step| AtomicU32::new(step.waits)).collect(),
        arrivals,
        failed: AtomicBool::new(false),
        error: Mutex::new(None),
    };
    let started = parallel::scope(|scope| {
        for (at, step) in run.plan.steps.iter().enumerate() {
            if step.wanted && step.waits == 0 {
                run.spawn(scope, at);
            }
        }
    });
    if started.is_none() {
        // No thread is to be had: the tasks run here, in the plan's order.
        for at in 0..run.plan.steps.len() {
            if run.plan.steps[at].wanted {
                run.step(at, &mut |_| {});
            }
        }
    }
    match run.error.into_inner() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

impl<'a> Run<'a, '_, '_> {
    fn spawn<'s>(&'s self, scope: &rayon::Scope<'s>, at: usize) {
        scope.spawn(move |scope| {
            // What becomes ready goes to others, but for the last, which this task does itself.
            let mut next = Some(at);
            while let Some(at) = next.take() {
                self.step(at, &mut |ready| {
                    if let Some(before) = next.replace(ready) {
                        self.spawn(scope, before);
                    }
                });
            }
        });
    }

    fn step(&self, at: usize, ready: &mut dyn FnMut(usize)) {
        if self.failed.load(Ordering::Acquire) {
            return;
        }
        let _mode = GradMode::no_grad();
        if let Err(error) = self.try_step(at, ready) {
            self.failed.store(true, Ordering::Release);
            self.error.lock().get_or_insert(error);
        }
    }

    fn try_step(&self, at: usize, ready: &mut dyn FnMut(usize)) -> Result<()> {
        let step = &self.plan.steps[at];
        let node = step.node;
        let mut arrivals = std::mem::take(&mut *self.arrivals[at].lock());
        arrivals.sort_by_key(|arrival| arrival.from);
        let mut incoming: GradList = smallvec::smallvec![None; node.num_outputs()];
        for arrival in arrivals {
            let place = &mut incoming[arrival.out as usize];
            let from = (arrival.from.0 as usize).checked_sub(1).filter(|_| arrival.is_part);
            match from.and_then(|from| self.plan.steps[from].node.op.part()) {
                Some(part) => add_part(place, &arrival.grad, part)?,
                None => add(place, arrival.grad)?,
            }
        }
        if node.is_leaf() {
            if self.captures_only {
                return self.pass.lock().capture(step.id, &mut incoming);
            }
            return match incoming[0].take() {
                Some(grad) => accumulate_leaf(node, Some(grad)),
                None => Ok(()),
            };
        }
        self.pass.lock().capture(step.id, &mut incoming)?;
        if !step.runs {
            return Ok(());
        }
        let mut outgoing =
            super::serial::run_node(node, step.id, incoming, self.plan, self.retain)?;
        for (i, edge) in node.edges().iter().enumerate() {
            let Some(next) = &edge.node else { continue };
            let Some(place) = self.plan.places.get(next.id()) else { continue };
            if !self.plan.steps[place].wanted {
                continue;
            }
            if let Some(mut grad) = outgoing.grads.get_mut(i).and_then(Option::take) {
                let is_part = outgoing.is_part;
                if !is_part {
                    grad = fit(grad, next.out_meta(edge.out), node, i)?;
                }
                let from = (at as u32 + 1, i as u32);
                self.arrivals[place].lock().push(Arrival { from, out: edge.out, grad, is_part });
            }
            if self.waits[place].fetch_sub(1, Ordering::AcqRel) == 1 {
                ready(place);
            }
        }
        Ok(())
    }
}

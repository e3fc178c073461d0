//! Planning: which nodes a backward pass visits, in which order, and what it must deliver where.

use std::cell::RefCell;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;

use super::backward::Target;
use super::node::{Node, RENUMBERED};
use crate::error::Result;

/// A place in the plan's arrays; 0 means not in the plan.
type Place = u32;

thread_local! {
    /// Maps slots to places; all zero between passes, so a pass costs nothing for what it does not
    /// visit. A nested pass finds it taken and makes its own.
    static SCRATCH: RefCell<Vec<Place>> = const { RefCell::new(Vec::new()) };
}

/// The places of slots, borrowed from the thread.
pub(super) struct Places(Vec<Place>);

impl Places {
    fn take() -> Self {
        let places = SCRATCH.with(|scratch| std::mem::take(&mut *scratch.borrow_mut()));
        let mut this = Self(places);
        this.grow(super::arena::capacity() as usize);
        this
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        if self.0.len() < len {
            // A zeroed allocation of its own: pages that are never visited are never touched.
            let mut grown = vec![0; len];
            grown[..self.0.len()].copy_from_slice(&self.0);
            self.0 = grown;
        }
    }

    #[inline]
    pub(super) fn get(&self, id: u32) -> Option<usize> {
        match self.0.get(id as usize) {
            Some(0) | None => None,
            Some(&place) => Some(place as usize - 1),
        }
    }

    #[inline]
    fn set(&mut self, id: u32, place: usize) {
        if id as usize >= self.0.len() {
            self.grow(super::arena::capacity() as usize);
        }
        self.0[id as usize] = place as Place + 1;
    }
}

/// One node of a plan.
pub(super) struct Step<'g> {
    pub(super) node: &'g Node,
    pub(super) id: u32,
    /// How many edges of the plan lead here.
    pub(super) waits: u32,
    /// Its first place among the gradients.
    pub(super) first: u32,
    /// Whether its rule must run (and not only its gradient be captured).
    pub(super) runs: bool,
    /// Whether it leads to anything that is wanted.
    pub(super) wanted: bool,
}

/// The nodes of one pass, in descending order of sequence numbers: a topological order.
pub(super) struct Plan<'g> {
    pub(super) steps: Vec<Step<'g>>,
    pub(super) places: Places,
    pub(super) grads: usize,
    /// Whether foreign code (hooks, custom functions) takes part, which keeps the pass on the
    /// calling thread.
    pub(super) foreign: bool,
    /// A rough figure of the work, in bytes moved.
    pub(super) work: usize,
}

impl Drop for Plan<'_> {
    fn drop(&mut self) {
        let mut places = std::mem::take(&mut self.places.0);
        for step in &self.steps {
            places[step.id as usize] = 0;
        }
        SCRATCH.with(|scratch| {
            if let Ok(mut scratch) = scratch.try_borrow_mut() {
                if scratch.len() < places.len() {
                    *scratch = places;
                }
            }
        });
    }
}

impl<'g> Plan<'g> {
    /// Plans a pass from `roots`; with `targets`, only what leads to them is visited, and they
    /// themselves run if told so.
    pub(super) fn new(
        roots: impl Iterator<Item = (u32, &'g Node)>,
        targets: Option<&[Target]>,
        run_targets: bool,
    ) -> Result<Self> {
        let mut plan =
            Plan { steps: Vec::new(), places: Places::take(), grads: 0, foreign: false, work: 0 };
        let mut stack: Vec<(u32, &'g Node)> = Vec::new();
        for (id, node) in roots {
            stack.push((id, node));
            while let Some((id, node)) = stack.pop() {
                if plan.places.get(id).is_some() {
                    continue;
                }
                plan.push(id, node);
                for edge in node.edges().iter().rev() {
                    if let Some(next) = &edge.node {
                        if plan.places.get(next.id()).is_none() {
                            stack.push((next.id(), next));
                        }
                    }
                }
            }
        }
        if RENUMBERED.load(Ordering::Relaxed) {
            plan.sort_by_edges();
        } else if !plan.steps.is_sorted_by(|a, b| a.node.sequence_nr() >= b.node.sequence_nr()) {
            let key = |step: &Step<'_>| std::cmp::Reverse((step.node.sequence_nr(), step.id));
            plan.steps.sort_by_key(key);
            plan.number();
        }
        if let Some(targets) = targets {
            plan.prune(targets, run_targets);
        }
        let mut first = 0;
        for at in 0..plan.steps.len() {
            let node = plan.steps[at].node;
            plan.steps[at].first = first;
            first += node.num_outputs() as u32;
            if plan.steps[at].runs {
                for edge in node.edges() {
                    if let Some(next) = &edge.node {
                        if let Some(place) = plan.places.get(next.id()) {
                            plan.steps[place].waits += 1;
                        }
                    }
                }
            }
        }
        plan.grads = first as usize;
        Ok(plan)
    }

    /// Enters the places of the steps as they are.
    fn number(&mut self) {
        for (at, step) in self.steps.iter().enumerate() {
            self.places.0[step.id as usize] = at as Place + 1;
        }
    }

    /// Sorts the steps by their edges, and by number among those whose turn it is.
    #[cold]
    fn sort_by_edges(&mut self) {
        let mut waits = vec![0u32; self.steps.len()];
        let next = |plan: &Self, at: usize| -> Vec<usize> {
            let edges = plan.steps[at].node.edges().iter();
            let ids = edges.filter_map(|edge| edge.node.as_ref().map(|node| node.id()));
            ids.filter_map(|id| plan.places.get(id)).collect()
        };
        for at in 0..self.steps.len() {
            for to in next(self, at) {
                waits[to] += 1;
            }
        }
        let key =
            |plan: &Self, at: usize| (plan.steps[at].node.sequence_nr(), plan.steps[at].id, at);
        let mut ready: BinaryHeap<_> =
            (0..waits.len()).filter(|&at| waits[at] == 0).map(|at| key(self, at)).collect();
        let mut order = vec![0usize; waits.len()];
        let mut done = 0;
        while let Some((_, _, at)) = ready.pop() {
            order[at] = done;
            done += 1;
            for to in next(self, at) {
                waits[to] -= 1;
                if waits[to] == 0 {
                    ready.push(key(self, to));
                }
            }
        }
        let steps = std::mem::take(&mut self.steps);
        let mut placed: Vec<_> = order.into_iter().zip(steps).collect();
        placed.sort_unstable_by_key(|(at, _)| *at);
        self.steps = placed.into_iter().map(|(_, step)| step).collect();
        self.number();
    }

    /// Whether two nodes can ever be ready at once, so that running them together can pay.
    pub(super) fn branches(&self) -> bool {
        self.steps.iter().any(|step| {
            let inner = |edge: &super::Edge| edge.node.as_ref().is_some_and(|n| !n.is_leaf());
            step.runs && step.node.edges().iter().filter(|edge| inner(edge)).count() > 1
        })
    }

    fn push(&mut self, id: u32, node: &'g Node) {
        self.places.set(id, self.steps.len());
        self.foreign |= node.op.is_foreign() || node.has_foreign_hooks();
        self.work += node.work();
        self.steps.push(Step { node, id, waits: 0, first: 0, runs: true, wanted: true });
    }

    /// Marks what leads to a target. Ascending order visits a node after all it leads to.
    fn prune(&mut self, targets: &[Target], run_targets: bool) {
        let mut ids: Vec<u32> = targets.iter().map(Target::id).collect();
        ids.sort_unstable();
        let captured = |id: u32| ids.binary_search(&id).is_ok();
        for at in (0..self.steps.len()).rev() {
            let step = &self.steps[at];
            let leads = step.node.edges().iter().any(|edge| {
                edge.node
                    .as_ref()
                    .and_then(|next| self.places.get(next.id()))
                    .is_some_and(|place| self.steps[place].wanted)
            });
            let captured = captured(step.id);
            let step = &mut self.steps[at];
            step.runs = leads || (captured && run_targets);
            step.wanted = leads || captured;
        }
    }
}

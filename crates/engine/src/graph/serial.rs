//! The reference executor: one node after the other, in the plan's order. The parallel executor is
//! held to its results, bit for bit.

use super::accumulate::{accumulate_leaf, add, add_part, fit};
use super::backward::Pass;
use super::hooks::GradList;
use super::node::Node;
use super::plan::Plan;
use crate::error::Result;
use crate::tensor::Tensor;

/// Runs a plan on this thread.
pub(super) fn run(
    plan: &mut Plan<'_>,
    pass: &mut Pass<'_>,
    grads: &mut [Option<Tensor>],
) -> Result<()> {
    for at in 0..plan.steps.len() {
        let step = &plan.steps[at];
        if !step.wanted || step.node.is_leaf() {
            // A leaf runs as soon as its last contribution has arrived, like torch's; one that is
            // itself a root and has no other contribution runs here (for one that has run already
            // nothing is left to do).
            if step.wanted && step.waits == 0 && grads[step.first as usize].is_some() {
                leaf(plan, at, pass, grads)?;
            }
            continue;
        }
        pass.check_stop()?;
        let node = step.node;
        let n = node.num_outputs();
        let first = step.first as usize;
        let mut incoming = GradList::new();
        for grad in &mut grads[first..first + n] {
            incoming.push(grad.take());
        }
        if !step.runs {
            node.run_tensor_hooks(&mut incoming)?;
            pass.capture(step.id, &mut incoming)?;
            continue;
        }
        // As in torch: what is handed out where the pass goes on was not seen by hooks.
        pass.capture(step.id, &mut incoming)?;
        node.run_tensor_hooks(&mut incoming)?;
        let mut outgoing = run_node(node, step.id, incoming, plan, pass.retain())?;
        for (i, edge) in node.edges().iter().enumerate() {
            let Some(next) = &edge.node else { continue };
            let Some(place) = plan.places.get(next.id()) else { continue };
            if !plan.steps[place].wanted {
                continue;
            }
            if let Some(grad) = outgoing.grads.get_mut(i).and_then(Option::take) {
                let slot = plan.steps[place].first as usize + edge.out as usize;
                match node.op.part().filter(|_| outgoing.is_part) {
                    Some(part) => add_part(&mut grads[slot], &grad, part)?,
                    None => {
                        let grad = fit(grad, next.out_meta(edge.out), node, i)?;
                        add(&mut grads[slot], grad)?;
                    }
                }
            }
            let target = &mut plan.steps[place];
            target.waits -= 1;
            if target.waits == 0 && target.node.is_leaf() {
                leaf(plan, place, pass, grads)?;
            }
        }
    }
    Ok(())
}

fn leaf(
    plan: &Plan<'_>,
    at: usize,
    pass: &mut Pass<'_>,
    grads: &mut [Option<Tensor>],
) -> Result<()> {
    let step = &plan.steps[at];
    let grad = grads[step.first as usize].take();
    if pass.captures_only() {
        let mut incoming: GradList = smallvec::smallvec![grad];
        step.node.run_leaf_hooks(&mut incoming)?;
        return pass.capture(step.id, &mut incoming);
    }
    if grad.is_some() || plan.foreign {
        accumulate_leaf(step.node, grad)?;
    }
    Ok(())
}

/// What a node passes on.
pub(super) struct Outgoing {
    pub(super) grads: GradList,
    /// Whether the one gradient is only that of a part of the value it belongs to, see
    /// [`Rule::part`](crate::ops::Rule::part).
    pub(super) is_part: bool,
}

impl From<GradList> for Outgoing {
    fn from(grads: GradList) -> Self {
        Self { grads, is_part: false }
    }
}

/// Runs one node's rule, with its pre- and post-hooks.
pub(super) fn run_node(
    node: &Node,
    id: u32,
    mut incoming: GradList,
    plan: &Plan<'_>,
    retain: bool,
) -> Result<Outgoing> {
    node.run_pre_hooks(&mut incoming)?;
    if incoming.iter().all(Option::is_none) && !node.op.wants_absent() {
        let mut none = GradList::new();
        node.run_post_hooks(&mut none, &incoming)?;
        return Ok(none.into());
    }
    let mut needs = 0u64;
    for (i, edge) in node.edges().iter().enumerate().take(64) {
        let wanted = edge
            .node
            .as_ref()
            .and_then(|next| plan.places.get(next.id()))
            .is_some_and(|place| plan.steps[place].wanted);
        needs |= u64::from(wanted) << i;
    }
    let unseen = !node.has_post_hooks() && !super::diagnose::watching_backward();
    if unseen && !super::is_grad_enabled() && node.op.part().is_some() {
        crate::ops::ready(node, needs)?;
        if !retain {
            node.release_saved();
        }
        return Ok(Outgoing { grads: incoming, is_part: true });
    }
    let seen = node.has_post_hooks().then(|| incoming.clone());
    let mut outgoing = if super::diagnose::watching_backward() {
        let before = incoming.clone();
        let run = || crate::ops::vjp(node, id, incoming, needs, !retain);
        super::diagnose::inspect(node, &before, run)?
    } else {
        crate::ops::vjp(node, id, incoming, needs, !retain)?
    };
    if let Some(seen) = seen {
        node.run_post_hooks(&mut outgoing, &seen)?;
    } else if node.has_post_hooks() {
        // Registered while the node ran: what went in is gone by now, in torch as well.
        node.run_post_hooks(&mut outgoing, &smallvec::smallvec![None; node.num_outputs()])?;
    }
    if !retain {
        node.release_saved();
    }
    Ok(outgoing.into())
}

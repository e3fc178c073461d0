//! Gradients on their way: fitted to the value they belong to, added up in a fixed order.

use super::hooks::GradList;
use super::node::{Node, OutMeta};
use crate::error::{Result, bail, ensure};
use crate::launch::blocks::run_into;
use crate::ops::strided::{Geometry, regather};
use crate::ops::{Cx, Op, Rule};
use crate::shape::shape_text;
use crate::tensor::Tensor;

/// Sums a gradient over broadcast dimensions and casts it, so that it has the shape and dtype of
/// the value it belongs to.
pub(crate) fn fit(grad: Tensor, meta: &OutMeta, from: &Node, input: usize) -> Result<Tensor> {
    if meta.fits(&grad.core()) {
        return Ok(grad);
    }
    let shape = meta.shape();
    let mut grad = grad;
    if grad.core().shape() != &shape[..] {
        ensure!(
            crate::shape::is_expandable_to(&shape, grad.core().shape()),
            runtime,
            "Function {} returned an invalid gradient at index {input} - got {} but expected \
             shape compatible with {}\n  {} was recorded at {}",
            from.name(),
            shape_text(grad.core().shape()),
            shape_text(&shape),
            from.name(),
            from.site
        );
        grad = grad.sum_to_shape(&shape)?;
    }
    if !meta.takes(grad.dtype()) {
        ensure!(
            meta.dtype().is_float(),
            runtime,
            "Function {} returned a gradient for a value of dtype {}",
            from.name(),
            meta.dtype()
        );
        grad = grad.to_dtype(meta.dtype())?;
    }
    Ok(grad)
}

/// Adds a contribution to what has arrived so far. The first is moved; later ones are added in
/// place when nobody else can see the buffer and nothing is recorded.
#[inline]
pub(super) fn add(place: &mut Option<Tensor>, grad: Tensor) -> Result<()> {
    *place = Some(match place.take() {
        None => grad,
        Some(sum) => {
            // What was put off is added in the pass that makes it.
            let later = sum.core().is_waiting() || grad.core().is_waiting();
            let in_place = !later && !super::is_grad_enabled() && sum.owns_buffer_alone();
            if in_place {
                sum.add_into(&grad)?;
                sum
            } else {
                sum.add(&grad)?
            }
        }
    });
    Ok(())
}

/// A gradient of a part of a value, see [`Rule::part`], added to what has arrived for the whole: only
/// there, where nobody else can see the buffer. So a loop over the rows of a value costs as much as the
/// value, not as that times the number of rows.
pub(super) fn add_part(
    place: &mut Option<Tensor>,
    grad: &Tensor,
    (at, shape): (&Geometry, &[usize]),
) -> Result<()> {
    if let Some(sum) = place {
        let fits = sum.dtype() == grad.dtype()
            && sum.core().shape() == shape
            && grad.core().shape() == &at.shape[..]
            && sum.owns_buffer_alone()
            && !at.overlaps();
        if fits {
            let core = sum.shared_core();
            let there = core.view(&at.shape, &at.strides, core.offset() + at.offset)?;
            let block = crate::ops::elementwise::add_block(core.dtype())?;
            return run_into(block, &[1.0, 0.0], &there, &[&there, &grad.core()]);
        }
    }
    add(place, regather(grad, at, &Geometry::dense(shape))?)
}

/// Runs the accumulator of a leaf: hooks, the sum into `.grad`, hooks after it.
pub(crate) fn accumulate_leaf(node: &Node, grad: Option<Tensor>) -> Result<()> {
    let Op::Accumulate(leaf) = &node.op else {
        bail!(runtime, "{} is not an accumulator", node.name());
    };
    if !leaf.requires_grad() {
        // It was asked to collect none after it was used.
        return Ok(());
    }
    let mut grad = grad;
    for hook in leaf.leaf_hooks() {
        if let Some(new) = hook.call(grad.as_ref())? {
            grad = Some(new);
        }
    }
    let hooks = node.more_if().map(|more| {
        let hooks = more.hooks.lock();
        let pre: Vec<_> = hooks.pre.iter().map(|hook| hook.1.clone()).collect();
        let post: Vec<_> = hooks.post.iter().map(|hook| hook.1.clone()).collect();
        (pre, post)
    });
    if let Some((pre, _)) = &hooks {
        for hook in pre {
            let seen: GradList = smallvec::smallvec![grad.clone()];
            if let Some(mut new) = hook.call(&seen, None)? {
                grad = new.pop().flatten();
            }
        }
    }
    let post = hooks.map(|(_, post)| post).unwrap_or_default();
    let mut seen = None;
    if let Some(grad) = grad {
        let taken = stealable(leaf, &grad);
        if !post.is_empty() {
            // As in torch, a hook that runs after sees what became `.grad` itself.
            seen = Some(if taken { grad.detach() } else { grad.clone() });
        }
        store(leaf, grad, taken)?;
        for hook in leaf.post_accumulate_hooks() {
            hook.call(Some(leaf))?;
        }
    }
    for hook in post {
        hook.call(&GradList::new(), Some(&smallvec::smallvec![seen.clone()]))?;
    }
    Ok(())
}

/// Whether a gradient may become `.grad` itself.
fn stealable(leaf: &Tensor, grad: &Tensor) -> bool {
    !super::is_grad_enabled()
        && grad.owns_buffer_for_leaf()
        && (!super::is_layout_enforced() || grad.strides_suit(leaf))
}

/// The copy of a gradient that goes into `.grad`, under torch's name: a copy into something new.
struct Copied;

impl Rule for Copied {
    fn name(&self) -> &'static str {
        "CopyBackwards"
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        Ok(smallvec::smallvec![None, grads[0].clone()])
    }
}

fn copied(grad: &Tensor, leaf: &Tensor) -> Result<Tensor> {
    let copy = grad.copy_like(leaf)?;
    if super::recording1(grad) {
        let place = copy.detach();
        super::attach(Op::rule(Copied), &[&place, grad], &[], &[&copy])?;
    }
    Ok(copy)
}

/// Adds to `.grad`, without losing the addition of another thread.
fn store(leaf: &Tensor, grad: Tensor, taken: bool) -> Result<()> {
    let recording = super::is_grad_enabled();
    // What goes into `.grad` must be nobody else's: a rule may have passed one tensor on twice.
    let mut fresh = if recording {
        copied(&grad, leaf)?
    } else if taken {
        grad
    } else {
        grad.copy_like(leaf)?
    };
    // The pass ends with what it made, not with promises that keep its saved tensors.
    fresh.settle();
    loop {
        let Some((old, back)) = leaf.offer_grad(fresh) else { return Ok(()) };
        fresh = back;
        if fresh.dtype() != old.dtype() {
            fresh = fresh.to_dtype(old.dtype())?;
        }
        if recording {
            let sum = old.add(&fresh)?;
            if leaf.exchange_grad(&old, &sum) {
                return Ok(());
            }
        } else {
            return old.add_into(&fresh);
        }
    }
}

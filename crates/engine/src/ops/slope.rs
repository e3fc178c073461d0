//! Gradients of the rows of the unary and binary tables.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::Cx;
use super::binary::Binary;
use super::elementwise::{NAMES, facts, read_by, reads, saved_by};
use super::unary::{Saves, Unary};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, bail};
use crate::graph::hooks::GradList;
use crate::graph::is_grad_enabled;
use crate::graph::node::Role;
use crate::kernels::block::Block;
use crate::launch::blocks::{cast, dense_pair, map_over};
use crate::launch::program::{map_dense_later, map_later};
use crate::storage::Core;
use crate::tensor::Tensor;

/// The gradient of a unary row: one fused pass, or tensor operations when the pass is recorded.
pub(super) fn unary_vjp(
    kind: Unary,
    p: &[f64; 2],
    cx: &Cx<'_>,
    grad: Option<Tensor>,
) -> Result<GradList> {
    let Some(grad) = grad else { return Ok(smallvec![None]) };
    if is_grad_enabled() {
        let (x, y) = match kind.saves() {
            Saves::Nothing => (None, None),
            Saves::Input => (Some(cx.saved(0)?), None),
            Saves::Output => (None, Some(cx.saved(0)?)),
            Saves::Both => (Some(cx.saved(0)?), Some(cx.saved(1)?)),
        };
        return Ok(smallvec![Some(super::diff::unary(kind, p, &grad, x.as_ref(), y.as_ref())?)]);
    }
    let g = grad.core();
    let mut cores: SmallVec<[Arc<Core>; 2]> = SmallVec::new();
    for i in 0..usize::from(kind.saves().input()) + usize::from(kind.saves().output()) {
        cores.push(cx.saved_core(i)?);
    }
    let Some(block) = kind.backward(grad.dtype(), p) else {
        bail!(runtime, "the derivative of {} is not implemented", kind.name());
    };
    if cores.len() <= 1 && write_over(block, p, &grad, cores.first()) {
        drop(g);
        return Ok(smallvec![Some(grad)]);
    }
    let out = match &cores[..] {
        [saved] if dense_pair(&g, saved) => map_dense_later(block, p, g.dtype(), &g, saved)?,
        _ => {
            let mut ins: SmallVec<[&Arc<Core>; 3]> = smallvec![&*g];
            ins.extend(&cores);
            map_later(block, p, g.dtype(), g.shape(), &ins)?
        }
    };
    Ok(smallvec![Some(Tensor::from_core(out))])
}

// ---- two and three inputs

/// Whether the gradient of input `i` is that of the output unchanged.
#[inline]
fn passes(kind: Binary, i: usize, p: f64) -> bool {
    matches!((kind, i), (Binary::Add | Binary::Sub, 0)) || (kind == Binary::Add && p == 1.0)
}

/// The gradients of a row of two or three inputs.
pub(super) fn binary_vjp(
    kind: Binary,
    p: f64,
    cx: &Cx<'_>,
    grad: Option<Tensor>,
) -> Result<GradList> {
    let edges = cx.node().edges();
    let n = edges.len();
    let Some(grad) = grad else { return Ok(smallvec![None; n]) };
    let grad = match binary_vjp_last(kind, p, cx, grad)? {
        Ok(grads) => return Ok(grads),
        Err(grad) => grad,
    };
    // What was saved follows from which inputs had an edge, as in `record`.
    let (mut had, mut want) = ([false; 3], [false; 3]);
    for (i, edge) in edges.iter().enumerate() {
        had[i] = edge.node.is_some();
        want[i] = cx.needs(i);
    }
    let (saved, read) = (saved_by(kind, &had), read_by(kind, &want));
    if is_grad_enabled() {
        return binary_vjp_recorded(kind, p, cx, &grad, &want[..n], saved, read);
    }
    let dtype = grad.dtype();
    let mut values: [Option<Arc<Core>>; NAMES] = [const { None }; NAMES];
    let mut at = 0;
    for value in 0..NAMES {
        if read[value] {
            values[value] = Some(cast_shared(cx.saved_core(at)?, dtype)?);
        } else if saved[value] {
            cx.saved_core(at)?;
        }
        at += usize::from(saved[value]);
    }
    let mut grads: GradList = smallvec![None; n];
    let mut grad = Some(grad);
    for i in (0..n).rev().filter(|&i| want[i]) {
        // The last one may have the gradient for itself.
        let last = want[..i].iter().all(|want| !want);
        let Some(mine) = (if last { grad.take() } else { grad.clone() }) else { continue };
        grads[i] = Some(backward_input(kind, i, p, mine, &values)?);
    }
    Ok(grads)
}

/// The gradients of a row of two inputs in a pass after which nobody needs what the node saved: that is
/// taken, not copied. The gradient is given back where this is not the case.
#[inline]
fn binary_vjp_last(
    kind: Binary,
    p: f64,
    cx: &Cx<'_>,
    grad: Tensor,
) -> Result<std::result::Result<GradList, Tensor>> {
    let [one, two] = cx.node().edges() else { return Ok(Err(grad)) };
    let dtype = grad.dtype();
    if !cx.is_last() || !dtype.is_float() || is_grad_enabled() {
        return Ok(Err(grad));
    }
    let mask = usize::from(one.node.is_some()) | usize::from(two.node.is_some()) << 1;
    let facts = facts(kind);
    let Some(saves) = facts.saves[mask] else { return Ok(Err(grad)) };
    let mut values: [Option<Arc<Core>>; NAMES] = [const { None }; NAMES];
    if saves[0].is_some() {
        let Some(taken) = cx.node().take_saved() else { return Ok(Err(grad)) };
        for (core, role) in taken.into_iter().zip(saves) {
            let (Some(core), Some(role)) = (core, role) else { continue };
            let value = match role {
                Role::Input(i) => usize::from(i != 0),
                _ => 3,
            };
            values[value] = Some(cast_shared(core, dtype)?);
        }
    }
    let mut grads = GradList::from_buf([None, None]);
    let wanted = [cx.needs(0), cx.needs(1)];
    match wanted {
        [true, true] => {
            grads[1] = Some(backward_input(kind, 1, p, grad.clone(), &values)?);
            grads[0] = Some(backward_input(kind, 0, p, grad, &values)?);
        }
        [true, false] => grads[0] = Some(backward_input(kind, 0, p, grad, &values)?),
        [false, true] => grads[1] = Some(backward_input(kind, 1, p, grad, &values)?),
        [false, false] => {}
    }
    Ok(Ok(grads))
}

/// The gradient of input `i`: that of the output itself, or one fused pass, written over that if nobody
/// else holds it.
#[inline]
fn backward_input(
    kind: Binary,
    i: usize,
    p: f64,
    grad: Tensor,
    values: &[Option<Arc<Core>>; NAMES],
) -> Result<Tensor> {
    if passes(kind, i, p) {
        return Ok(grad);
    }
    let dtype = grad.dtype();
    if dtype.is_float() && i < 2 {
        let facts = facts(kind);
        let mut ins = values.iter().zip(facts.reads[i]).filter(|(_, read)| *read);
        let value = ins.next().and_then(|(value, _)| value.as_ref());
        if let (None, Some(block)) =
            (ins.next(), facts.backward[i][usize::from(dtype == DType::F64)])
        {
            if write_over(block, &[p, 0.0], &grad, value) {
                return Ok(grad);
            }
        }
    }
    Ok(Tensor::from_core(backward_core(kind, i, p, &grad.core(), values)?))
}

/// Runs a block over a gradient that is on its way to nobody else.
#[inline]
fn write_over(block: Block, p: &[f64; 2], grad: &Tensor, value: Option<&Arc<Core>>) -> bool {
    grad.owns_buffer_alone() && map_over(block, p, &grad.core(), value.map(|core| &**core))
}

#[inline]
fn cast_shared(core: Arc<Core>, dtype: DType) -> Result<Arc<Core>> {
    if core.dtype() == dtype { Ok(core) } else { cast(&core, dtype) }
}

fn binary_vjp_recorded(
    kind: Binary,
    p: f64,
    cx: &Cx<'_>,
    grad: &Tensor,
    want: &[bool],
    saved: [bool; NAMES],
    read: [bool; NAMES],
) -> Result<GradList> {
    let mut values: [Option<Tensor>; NAMES] = [const { None }; NAMES];
    let mut at = 0;
    for value in 0..NAMES {
        if read[value] {
            values[value] = Some(cx.saved(at)?.to_dtype(grad.dtype())?);
        } else if saved[value] {
            cx.saved_core(at)?;
        }
        at += usize::from(saved[value]);
    }
    want.iter()
        .enumerate()
        .map(|(i, &want)| want.then(|| binary_grad(kind, i, p, grad, &values)).transpose())
        .collect()
}

/// The gradient of input `i` in one fused pass.
fn backward_core(
    kind: Binary,
    i: usize,
    p: f64,
    grad: &Arc<Core>,
    values: &[Option<Arc<Core>>; NAMES],
) -> Result<Arc<Core>> {
    let dtype = grad.dtype();
    let facts = facts(kind);
    let block = match facts.backward.get(i) {
        Some(blocks) if dtype.is_float() => blocks[usize::from(dtype == DType::F64)],
        _ => kind.backward(i, dtype),
    };
    let Some(block) = block else {
        bail!(runtime, "{} is not differentiable with respect to input {i}", kind.name());
    };
    let mut ins: SmallVec<[&Arc<Core>; 4]> = smallvec![grad];
    for (value, _) in values.iter().zip(facts.reads[i]).filter(|(_, read)| *read) {
        ins.extend(value);
    }
    match ins[..] {
        [g, value] if dense_pair(g, value) => map_dense_later(block, &[p, 0.0], dtype, g, value),
        _ => map_later(block, &[p, 0.0], dtype, grad.shape(), &ins),
    }
}

/// The gradient of input `i`: one fused pass, or tensor operations when the pass is recorded.
fn binary_grad(
    kind: Binary,
    i: usize,
    p: f64,
    grad: &Tensor,
    values: &[Option<Tensor>; NAMES],
) -> Result<Tensor> {
    if passes(kind, i, p) {
        return Ok(grad.clone());
    }
    if is_grad_enabled() {
        return super::diff::binary(kind, i, p, grad, values);
    }
    let cores = values.each_ref().map(|value| value.as_ref().map(Tensor::shared_core));
    Ok(Tensor::from_core(backward_core(kind, i, p, &grad.shared_core(), &cores)?))
}

/// The gradient of a row with a number on one side.
pub(super) fn scalar_vjp(
    kind: Binary,
    reversed: bool,
    s: f64,
    cx: &Cx<'_>,
    grad: Option<Tensor>,
) -> Result<GradList> {
    let Some(grad) = grad else { return Ok(smallvec![None]) };
    let me = usize::from(reversed);
    if passes(kind, me, 1.0) {
        return Ok(smallvec![Some(grad)]);
    }
    if matches!((kind, reversed), (Binary::Mul, _) | (Binary::Div, false)) {
        if !is_grad_enabled() && grad.dtype().is_float() {
            if let Some(block) = kind.forward_scalar(grad.dtype(), false) {
                if write_over(block, &[s, 1.0], &grad, None) {
                    return Ok(smallvec![Some(grad)]);
                }
            }
        }
        return Ok(smallvec![Some(grad.binary_scalar(kind, Scalar::Float(s), false)?)]);
    }
    let mut values: [Option<Tensor>; NAMES] = [const { None }; NAMES];
    let read = reads(kind, me);
    let mut at = 0;
    if read[me] {
        values[me] = Some(cx.saved(at)?);
        at += 1;
    }
    if read[1 - me] {
        values[1 - me] = Some(Tensor::from_scalar(Scalar::Float(s), grad.dtype())?);
    }
    if read[3] {
        values[3] = Some(cx.saved(at)?);
    }
    Ok(smallvec![Some(binary_grad(kind, me, 1.0, &grad, &values)?)])
}

macro_rules! binary_methods {
    ($($(#[$doc:meta])* $name:ident => $kind:ident),* $(,)?) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// If the shapes do not broadcast, or the operation does not take the dtypes.
                #[track_caller]
                pub fn $name(&self, other: &Self) -> Result<Self> {
                    self.binary(Binary::$kind, other, 1.0)
                }
            )*
        }
    };
}

binary_methods! {
    /// The sum, element by element, broadcast.
    add => Add,
    /// The difference, element by element, broadcast.
    sub => Sub,
    /// The product, element by element, broadcast.
    mul => Mul,
    /// The quotient, element by element, broadcast; integers become floats.
    div => Div,
    /// The power, element by element, broadcast.
    pow => Pow,
    /// Whether elements are equal.
    eq => Eq,
    /// Whether elements of `self` are larger.
    gt => Gt,
    /// Whether elements of `self` are smaller.
    lt => Lt,
    /// The larger of two elements; NaN wins.
    maximum => Maximum,
    /// The smaller of two elements; NaN wins.
    minimum => Minimum,
}

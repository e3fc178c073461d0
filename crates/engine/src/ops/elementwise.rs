//! From tensors to blocks: broadcasting, promotion, recording and derivatives of the rows of the
//! unary and binary tables.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::binary::{Binary, ResultType};
use super::unary::{IntRule, Saves, Unary};
use super::{Cx, Op};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, bail, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, is_grad_enabled, recording, recording1};
use crate::kernels::block::Block;
use crate::kernels::elementwise::{self, Operand};
use crate::kernels::copy;
use crate::shape::{Dims, Strides, broadcast, broadcast_strides};
use crate::storage::{Access, Core};
use crate::tensor::{Tensor, default_dtype};

// ---- running blocks

/// Runs a block with `out` as output; inputs are broadcast to its shape. An input may be `out`
/// itself or share its buffer only with the same layout.
pub(crate) fn run_into(block: Block, p: &[f64; 2], out: &Core, ins: &[&Core]) -> Result<()> {
    let access = Access::new(ins, Some(out));
    run_locked(block, p, out, ins);
    drop(access);
    Ok(())
}

/// [`run_into`], or `false` when a lock is not to be had now and waiting for it might deadlock.
pub(crate) fn try_run_into(block: Block, p: &[f64; 2], out: &Core, ins: &[&Core]) -> Result<bool> {
    let Some(access) = Access::try_new(ins, out) else { return Ok(false) };
    run_locked(block, p, out, ins);
    drop(access);
    Ok(true)
}

#[inline]
fn run_locked(block: Block, p: &[f64; 2], out: &Core, ins: &[&Core]) {
    let shape = out.shape();
    let strides: SmallVec<[Strides; 4]> = ins
        .iter()
        .map(|core| {
            if core.shape() == shape {
                Strides::from_slice(core.strides())
            } else {
                broadcast_strides(core.shape(), core.strides(), shape)
            }
        })
        .collect();
    let operands: SmallVec<[Operand<'_>; 4]> = ins
        .iter()
        .zip(&strides)
        .map(|(core, strides)| Operand {
            ptr: core.data(),
            strides,
            size: core.dtype().size(),
        })
        .collect();
    let target = Operand { ptr: out.data(), strides: out.strides(), size: out.dtype().size() };
    run_block(shape, target, &operands, block, p);
}

#[allow(unsafe_code, reason = "the one call from operations into the elementwise driver")]
fn run_block(shape: &[usize], out: Operand<'_>, ins: &[Operand<'_>], block: Block, p: &[f64; 2]) {
    // SAFETY: operands come from cores whose views are inside their buffers, locked by the callers
    // or not yet shared; blocks are chosen by the cores' dtypes; broadcast strides reach no more
    // than the cores' own.
    unsafe { elementwise::run(shape, out, ins, block, p) };
}

/// Runs a block into a fresh core of the given shape, laid out like the inputs where they agree.
#[inline]
pub(crate) fn map(
    block: Block,
    p: &[f64; 2],
    dtype: DType,
    shape: &[usize],
    ins: &[&Core],
) -> Result<Arc<Core>> {
    let out = alloc_like(dtype, shape, ins)?;
    let access = Access::new(ins, None);
    run_locked(block, p, &out, ins);
    drop(access);
    Ok(out)
}

/// A fresh core; with the strides of the inputs if they are dense, all alike and not row-major.
fn alloc_like(dtype: DType, shape: &[usize], ins: &[&Core]) -> Result<Arc<Core>> {
    let mut like: Option<&Core> = None;
    for core in ins {
        if core.shape() != shape {
            if core.numel() == 1 {
                continue;
            }
            return Core::alloc(dtype, shape);
        }
        if core.is_contiguous() {
            return Core::alloc(dtype, shape);
        }
        match like {
            None => like = Some(core),
            Some(other) if other.strides() == core.strides() => {}
            Some(_) => return Core::alloc(dtype, shape),
        }
    }
    match like {
        Some(core) => alloc_permuted(dtype, core),
        None => Core::alloc(dtype, shape),
    }
}

/// A fresh dense core with the order of dimensions of `like`, if that is dense, else row-major.
pub(crate) fn alloc_permuted(dtype: DType, like: &Core) -> Result<Arc<Core>> {
    let mut order: Dims = (0..like.shape().len()).collect();
    order.sort_by_key(|&dim| std::cmp::Reverse(like.strides()[dim]));
    let mut expected = 1isize;
    for &dim in order.iter().rev() {
        let n = like.shape()[dim];
        if n != 1 && like.strides()[dim] != expected {
            return Core::alloc(dtype, like.shape());
        }
        expected *= n as isize;
    }
    let dense = Core::alloc(dtype, &[like.numel()])?;
    dense.into_layout(like.shape(), like.strides())
}

/// A dense copy.
pub(crate) fn copy_core(core: &Core) -> Result<Arc<Core>> {
    let out = Core::alloc(core.dtype(), core.shape())?;
    let access = Access::read(core);
    run_locked(copy::copy_block(core.dtype().size()), &[0.0; 2], &out, &[core]);
    drop(access);
    Ok(out)
}

/// The block that adds, for accumulation.
pub(crate) fn add_block(dtype: DType) -> Result<Block> {
    match Binary::Add.forward(dtype) {
        Some(block) => Ok(block),
        None => bail!(runtime, "add is not implemented for {dtype}"),
    }
}

#[cold]
fn not_implemented(name: &str, dtype: DType) -> crate::error::Error {
    crate::error::Error::not_implemented(format!(
        "\"{name}\" not implemented for '{}'",
        dtype.scalar_name()
    ))
}

// ---- unary

impl Tensor {
    /// Applies a row of the unary table; `p` are its parameters.
    ///
    /// # Errors
    /// If the row does not take this dtype.
    #[track_caller]
    pub fn unary(&self, kind: Unary, p: [f64; 2]) -> Result<Self> {
        let core = self.core();
        let dtype = core.dtype();
        if !dtype.is_float() {
            return self.unary_int(kind, p);
        }
        let Some(block) = kind.forward(dtype, &p) else {
            return Err(not_implemented(kind.name(), dtype));
        };
        let to = if kind.int_rule() == IntRule::Test { DType::Bool } else { dtype };
        let output = Self::from_core(map(block, &p, to, core.shape(), &[&core])?);
        if to != DType::Bool && recording1(self) {
            let op = Op::Unary(kind, p);
            match kind.saves() {
                Saves::Nothing => attach(op, &[self], &[], &[&output])?,
                Saves::Input => attach(op, &[self], &[Save::Input(0)], &[&output])?,
                Saves::Output => attach(op, &[self], &[Save::Output(0)], &[&output])?,
                Saves::Both => {
                    attach(op, &[self], &[Save::Input(0), Save::Output(0)], &[&output])?;
                }
            }
        }
        Ok(output)
    }

    fn unary_int(&self, kind: Unary, p: [f64; 2]) -> Result<Self> {
        let dtype = self.dtype();
        let core = self.core();
        match kind.int_rule() {
            IntRule::Promote => self.to_dtype(default_dtype())?.unary(kind, p),
            rule => {
                let Some(block) = kind.forward(dtype, &p) else {
                    return Err(not_implemented(kind.name(), dtype));
                };
                let to = if rule == IntRule::Test { DType::Bool } else { dtype };
                Ok(Self::from_core(map(block, &p, to, core.shape(), &[&core])?))
            }
        }
    }
}

/// The gradient of a unary row: one fused pass, or tensor operations when the pass is recorded.
pub(super) fn unary_vjp(
    kind: Unary,
    p: &[f64; 2],
    cx: &Cx<'_>,
    grad: Option<Tensor>,
) -> Result<GradList> {
    let Some(grad) = grad else { return Ok(smallvec![None]) };
    let (x, y) = match kind.saves() {
        Saves::Nothing => (None, None),
        Saves::Input => (Some(cx.saved(0)?), None),
        Saves::Output => (None, Some(cx.saved(0)?)),
        Saves::Both => (Some(cx.saved(0)?), Some(cx.saved(1)?)),
    };
    if is_grad_enabled() {
        return Ok(smallvec![Some(super::diff::unary(kind, p, &grad, x.as_ref(), y.as_ref())?)]);
    }
    let grad_core = grad.shared_core();
    let cores: SmallVec<[Arc<Core>; 3]> = std::iter::once(grad_core)
        .chain(x.iter().chain(&y).map(Tensor::shared_core))
        .collect();
    let ins: SmallVec<[&Core; 3]> = cores.iter().map(|core| &**core).collect();
    let Some(block) = kind.backward(grad.dtype(), p) else {
        bail!(runtime, "the derivative of {} is not implemented", kind.name());
    };
    let out = map(block, p, grad.dtype(), ins[0].shape(), &ins)?;
    Ok(smallvec![Some(Tensor::from_core(out))])
}

// ---- binary

/// The dtype in which a binary row computes, given the promoted type of its inputs.
fn compute_type(kind: Binary, promoted: DType) -> DType {
    match kind.result() {
        ResultType::Float if !promoted.is_float() => default_dtype(),
        _ => promoted,
    }
}

impl Tensor {
    /// Applies a row of the binary table; `p` is its parameter (`alpha`).
    ///
    /// # Errors
    /// If the shapes do not broadcast, or the row does not take the dtypes.
    #[track_caller]
    pub fn binary(&self, kind: Binary, other: &Self, p: f64) -> Result<Self> {
        let (a, b) = (self.core(), other.core());
        let dtype = compute_type(kind, Self::result_type(self, other));
        let Some(block) = kind.forward(dtype) else {
            return Err(not_implemented(kind.name(), dtype));
        };
        let to = if kind.result() == ResultType::Bool { DType::Bool } else { dtype };
        let same = a.shape() == b.shape();
        let wide: Dims;
        let shape = if same {
            a.shape()
        } else {
            wide = broadcast(a.shape(), b.shape()).map_err(|error| shape_error(kind, error, &a, &b))?;
            &wide
        };
        let core = if a.dtype() == dtype && b.dtype() == dtype {
            check_divisor(kind, &b)?;
            map(block, &[p, 0.0], to, shape, &[&a, &b])?
        } else {
            let (a, b) = (cast(&a, dtype)?, cast(&b, dtype)?);
            check_divisor(kind, &b)?;
            map(block, &[p, 0.0], to, shape, &[&a, &b])?
        };
        let output = Self::from_core(core);
        if to != DType::Bool && to.is_float() && recording(&[self, other]) {
            self.record_binary(kind, other, p, &output)?;
        } else if self.is_number() && other.is_number() {
            return Ok(output.into_number());
        }
        Ok(output)
    }

    #[track_caller]
    fn record_binary(&self, kind: Binary, other: &Self, p: f64, output: &Self) -> Result<()> {
        let needed = kind.saves();
        let mut saves: SmallVec<[Save<'_>; 3]> = SmallVec::new();
        // Only what the gradients of the inputs that need one read.
        let wants = [self.requires_grad(), other.requires_grad()];
        for (value, save) in [(0, Save::Input(0)), (1, Save::Input(1)), (2, Save::Output(0))] {
            if (0..2).any(|i| wants[i] && needed.reads(i, value)) {
                saves.push(save);
            }
        }
        attach(Op::Binary(kind, p), &[self, other], &saves, &[output])
    }

    /// Applies a row of the binary table to this tensor and a number; `reversed`: the number is on
    /// the left.
    ///
    /// # Errors
    /// If the row does not take the dtype.
    #[track_caller]
    pub fn binary_scalar(&self, kind: Binary, other: Scalar, reversed: bool) -> Result<Self> {
        let core = self.core();
        let dtype = core.dtype();
        let natural = other.natural_dtype(default_dtype());
        let promoted = if self.is_number() {
            dtype.promote(natural)
        } else if other.category() > dtype.category() {
            natural
        } else {
            dtype
        };
        let compute = compute_type(kind, promoted);
        if compute == dtype {
            if let Some(block) = kind.scalar(dtype, reversed) {
                if !reversed {
                    check_scalar_divisor(kind, dtype, other)?;
                } else {
                    check_divisor(kind, &core)?;
                }
                let to = if kind.result() == ResultType::Bool { DType::Bool } else { dtype };
                let bits = kind.scalar_bits(dtype, other);
                let output = map(block, &[bits, 1.0], to, core.shape(), &[&core])?;
                let output = Self::from_core(output);
                if to.is_float() && recording1(self) {
                    let op = Op::Scalar(kind, reversed, other.to_f64());
                    let needed = kind.saves();
                    let (me, input) = (usize::from(reversed), Save::Input(0));
                    let mut saves: SmallVec<[Save<'_>; 2]> = SmallVec::new();
                    if needed.reads(me, me) {
                        saves.push(input);
                    }
                    if needed.reads(me, 2) {
                        saves.push(Save::Output(0));
                    }
                    attach(op, &[self], &saves, &[&output])?;
                }
                return Ok(output);
            }
        }
        let number = Self::from_scalar(other, natural)?.into_number();
        if reversed { number.binary(kind, self, 1.0) } else { self.binary(kind, &number, 1.0) }
    }
}

fn cast(core: &Arc<Core>, dtype: DType) -> Result<Arc<Core>> {
    if core.dtype() == dtype {
        return Ok(core.clone());
    }
    map(copy::cast_block(core.dtype(), dtype), &[0.0; 2], dtype, core.shape(), &[core])
}

#[cold]
fn shape_error(
    kind: Binary,
    error: crate::error::Error,
    a: &Core,
    b: &Core,
) -> crate::error::Error {
    error.with_note(format!(
        "  {} of shapes {} and {} at {}",
        kind.name(),
        crate::shape::shape_text(a.shape()),
        crate::shape::shape_text(b.shape()),
        crate::graph::Site::here()
    ))
}

fn check_divisor(kind: Binary, divisor: &Core) -> Result<()> {
    if kind.divides_integers() && divisor.dtype().is_int() && has_zero(divisor)? {
        bail!(runtime, "ZeroDivisionError");
    }
    Ok(())
}

fn check_scalar_divisor(kind: Binary, dtype: DType, divisor: Scalar) -> Result<()> {
    ensure!(
        !(kind.divides_integers() && dtype.is_int() && divisor.to_i64() == 0),
        runtime,
        "ZeroDivisionError"
    );
    Ok(())
}

fn has_zero(core: &Core) -> Result<bool> {
    let Some(block) = Binary::Eq.scalar(core.dtype(), false) else { return Ok(false) };
    let zero = Binary::Eq.scalar_bits(core.dtype(), Scalar::Int(0));
    let zeros = map(block, &[zero, 0.0], DType::Bool, core.shape(), &[core])?;
    Ok(crate::storage::to_vec::<crate::dtype::Bool>(&*copy_core(&zeros)?).iter().any(|b| b.get()))
}

/// The gradients of a binary row.
pub(super) fn binary_vjp(
    kind: Binary,
    p: f64,
    cx: &Cx<'_>,
    grad: Option<Tensor>,
) -> Result<GradList> {
    let Some(grad) = grad else { return Ok(smallvec![None, None]) };
    let mut values: [Option<Tensor>; 3] = [None, None, None];
    let needed = kind.saves();
    // The same rule as in `record_binary`, on what had an edge when it was recorded.
    let edges = cx.node().edges();
    let mut at = 0;
    for (value, place) in values.iter_mut().enumerate() {
        if (0..2).any(|i| edges[i].node.is_some() && needed.reads(i, value)) {
            if (0..2).any(|i| cx.needs(i) && needed.reads(i, value)) {
                *place = Some(cx.saved(at)?.to_dtype(grad.dtype())?);
            }
            at += 1;
        }
    }
    let mut grads: GradList = smallvec![None, None];
    for (i, place) in grads.iter_mut().enumerate() {
        if cx.needs(i) {
            let mut reads: [Option<&Tensor>; 3] = [None; 3];
            for (value, read) in reads.iter_mut().enumerate() {
                if needed.reads(i, value) {
                    *read = values[value].as_ref();
                }
            }
            *place = Some(binary_grad(kind, i, p, &grad, reads)?);
        }
    }
    Ok(grads)
}

fn binary_grad(
    kind: Binary,
    i: usize,
    p: f64,
    grad: &Tensor,
    reads: [Option<&Tensor>; 3],
) -> Result<Tensor> {
    if kind.passes_gradient(i, p) {
        return Ok(grad.clone());
    }
    if is_grad_enabled() {
        return super::diff::binary(kind, i, p, grad, reads);
    }
    let Some(block) = kind.backward(i, grad.dtype()) else {
        bail!(runtime, "{} is not differentiable with respect to input {i}", kind.name());
    };
    let cores: SmallVec<[Arc<Core>; 4]> = std::iter::once(grad.shared_core())
        .chain(reads.iter().flatten().map(|tensor| tensor.shared_core()))
        .collect();
    let ins: SmallVec<[&Core; 4]> = cores.iter().map(|core| &**core).collect();
    let out = map(block, &[p, 0.0], grad.dtype(), ins[0].shape(), &ins)?;
    Ok(Tensor::from_core(out))
}

/// The gradient of a binary row with a number on one side.
pub(super) fn scalar_vjp(
    kind: Binary,
    reversed: bool,
    s: f64,
    cx: &Cx<'_>,
    grad: Option<Tensor>,
) -> Result<GradList> {
    let Some(grad) = grad else { return Ok(smallvec![None]) };
    let needed = kind.saves();
    let me = usize::from(reversed);
    let dtype = grad.dtype();
    if kind.passes_gradient(me, 1.0) {
        return Ok(smallvec![Some(grad)]);
    }
    if kind == Binary::Mul {
        return Ok(smallvec![Some(grad.binary_scalar(Binary::Mul, Scalar::Float(s), false)?)]);
    }
    if kind == Binary::Div && !reversed {
        return Ok(smallvec![Some(grad.binary_scalar(Binary::Div, Scalar::Float(s), false)?)]);
    }
    let number = Tensor::from_scalar(Scalar::Float(s), dtype)?;
    let mut reads: [Option<Tensor>; 3] = [None, None, None];
    let mut at = 0;
    if needed.reads(me, me) {
        reads[me] = Some(cx.saved(at)?);
        at += 1;
    }
    if needed.reads(me, 1 - me) {
        reads[1 - me] = Some(number);
    }
    if needed.reads(me, 2) {
        reads[2] = Some(cx.saved(at)?);
    }
    let reads = [reads[0].as_ref(), reads[1].as_ref(), reads[2].as_ref()];
    Ok(smallvec![Some(binary_grad(kind, me, 1.0, &grad, reads)?)])
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

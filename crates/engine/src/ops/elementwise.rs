//! From tensors to blocks: broadcasting, promotion, recording and derivatives of the rows of the
//! unary and binary tables.

use std::sync::{Arc, LazyLock};

use smallvec::SmallVec;

use super::Op;
use super::binary::{Binary, ResultType};
use super::check::{check_difference, check_divisor, not_implemented};
use super::layout::map_ordered;
use super::unary::{IntRule, Saves, Unary};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, bail, ensure};
use crate::graph::node::Role;
use crate::graph::{Modes, Save, attach, attach_pair, recording, recording1};
use crate::kernels::block::Block;
use crate::launch::blocks::{cast, dense_pair};
use crate::launch::program::map_dense_later;
use crate::shape::{Dims, broadcast};
use crate::storage::Core;
use crate::tensor::{Tensor, default_dtype};

/// The block that adds, for accumulation.
pub(crate) fn add_block(dtype: DType) -> Result<Block> {
    match Binary::Add.forward(dtype) {
        Some(block) => Ok(block),
        None => bail!(runtime, "add is not implemented for {dtype}"),
    }
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
        let output = Self::from_core(map_ordered(block, &p, to, core.shape(), &[&core])?);
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
        if kind == Unary::Square && dtype == DType::Bool {
            return self.to_dtype(DType::I64)?.unary(kind, p);
        }
        let core = self.core();
        match kind.int_rule() {
            IntRule::Promote => self.to_dtype(default_dtype())?.unary(kind, p),
            rule => {
                let p = p.map(|p| parameter(dtype, p));
                let Some(block) = kind.forward(dtype, &p) else {
                    return Err(not_implemented(kind.name(), dtype));
                };
                let to = if rule == IntRule::Test { DType::Bool } else { dtype };
                Ok(Self::from_core(map_ordered(block, &p, to, core.shape(), &[&core])?))
            }
        }
    }
}

/// A value of an operation, as rows of the binary table name them.
pub(super) const NAMES: usize = 4;

/// Which of a, b, c and the output the gradient of input `i` reads.
#[inline]
pub(super) fn reads(kind: Binary, i: usize) -> [bool; NAMES] {
    facts(kind).reads[i]
}

/// Which values are read when the inputs marked in `wanted` get a gradient.
#[inline]
pub(super) fn read_by(kind: Binary, wanted: &[bool]) -> [bool; NAMES] {
    let mut all = [false; NAMES];
    for (i, _) in wanted.iter().enumerate().filter(|(_, wanted)| **wanted) {
        for (all, read) in all.iter_mut().zip(reads(kind, i)) {
            *all |= read;
        }
    }
    all
}

/// Which values are saved when the inputs marked in `wanted` may get a gradient: what is read then, and what torch
/// saves of this row in any case, so that writes to it are errors here as there.
#[inline]
pub(super) fn saved_by(kind: Binary, wanted: &[bool]) -> [bool; NAMES] {
    let mut all = read_by(kind, wanted);
    for (all, kept) in all.iter_mut().zip(facts(kind).kept) {
        *all |= kept;
    }
    all
}

/// The parameter as the block wants it: for integers by bit pattern.
#[inline]
pub(crate) fn parameter(dtype: DType, p: f64) -> f64 {
    if dtype.is_float() { p } else { f64::from_bits(p as i64 as u64) }
}

/// The dtype in which a row computes, given the promoted type of its inputs.
#[inline]
pub(super) fn compute_type(kind: Binary, promoted: DType) -> DType {
    match kind.result() {
        ResultType::Float if !promoted.is_float() => default_dtype(),
        _ => promoted,
    }
}

/// The node name of a row with a number on one side.
pub(crate) fn scalar_node_name(kind: Binary, reversed: bool) -> &'static str {
    match (kind, reversed) {
        (Binary::Sub, true) => "RsubBackward1",
        (Binary::Fmod, false) => "FmodBackward0",
        (Binary::Remainder, false) => "RemainderBackward0",
        (Binary::Pow, true) => "PowBackward2",
        (Binary::Div, true) => "MulBackward0",
        _ => kind.node_name(),
    }
}

/// Applies a row of the binary table to its inputs; `p` is its parameter.
///
/// # Errors
/// If the shapes do not broadcast, or the row does not take the dtypes or so many inputs.
#[track_caller]
pub fn apply(kind: Binary, inputs: &[&Tensor], p: f64) -> Result<Tensor> {
    if let [x, y] = inputs {
        let (a, b) = (x.core(), y.core());
        let dtype = a.dtype();
        if dtype.is_float() && dense_pair(&a, &b) {
            let facts = facts(kind);
            if let (Some(block), false) =
                (facts.forward[usize::from(dtype == DType::F64)], facts.test)
            {
                let core = map_dense_later(block, &[p, 0.0], dtype, &a, &b)?;
                let modes = Modes::now();
                if modes.records() {
                    let wanted = [x.requires_grad(), y.requires_grad()];
                    if (wanted[0] || wanted[1]) && !(x.is_inference() && y.is_inference()) {
                        return record_two(kind, facts, [x, y], wanted, p, modes, core);
                    }
                }
                let output = Tensor::from_core_in(modes, core);
                return Ok(if x.is_number() && y.is_number() {
                    output.into_number()
                } else {
                    output
                });
            }
        }
    }
    apply_general(kind, inputs, p)
}

/// What the small-tensor path asks of a row, looked up once per process instead of per call.
pub(super) struct Facts {
    /// How many inputs there are.
    pub(super) inputs: usize,
    /// The blocks for float32 and float64, of a row of two inputs.
    pub(super) forward: [Option<Block>; 2],
    /// The backward blocks of the first two inputs, for both.
    pub(super) backward: [[Option<Block>; 2]; 2],
    /// Which of a, b, c and the output the gradient of each input reads.
    pub(super) reads: [[bool; NAMES]; 3],
    /// Which of a, b, c and the output are saved whichever gradient is wanted.
    pub(super) kept: [bool; NAMES],
    /// Whether the result is not of the inputs' dtype.
    pub(super) test: bool,
    /// For each set of two inputs that are to get a gradient (as bits), what is saved for it, if it is
    /// no more than two values.
    pub(super) saves: [Option<[Option<Role>; 2]>; 4],
}

/// What is saved of a row of two inputs for the inputs in `mask` to get a gradient; as [`saved_by`].
fn saves(
    reads: &[[bool; NAMES]; 3],
    kept: [bool; NAMES],
    mask: usize,
) -> Option<[Option<Role>; 2]> {
    let saved =
        |value: usize| kept[value] || [0, 1].iter().any(|&i| mask >> i & 1 == 1 && reads[i][value]);
    let values = [(0, Role::Input(0)), (1, Role::Input(1)), (3, Role::Output(0))];
    let mut roles = values.into_iter().filter_map(|(value, role)| saved(value).then_some(role));
    let saves = [roles.next(), roles.next()];
    roles.next().is_none().then_some(saves)
}

/// Whether the derivative by the first input is known.
fn by_first(kind: Binary) -> bool {
    !matches!(kind, Binary::Igamma | Binary::Igammac)
}

pub(super) fn facts(kind: Binary) -> &'static Facts {
    static FACTS: LazyLock<Vec<Facts>> = LazyLock::new(|| {
        Binary::ALL
            .iter()
            .map(|&kind| {
                let reads = [0, 1, 2].map(|i| {
                    let needs = kind.needs(i);
                    [needs.a, needs.b, needs.c, needs.y]
                });
                let kept = match kind {
                    Binary::Pow => [true, true, false, true],
                    _ => [false; NAMES],
                };
                Facts {
                    inputs: kind.inputs(),
                    forward: [DType::F32, DType::F64]
                        .map(|dtype| kind.forward(dtype).filter(|_| kind.inputs() == 2)),
                    backward: [0, 1]
                        .map(|i| [DType::F32, DType::F64].map(|dtype| kind.backward(i, dtype))),
                    reads,
                    kept,
                    test: kind.result() == ResultType::Bool,
                    saves: [0, 1, 2, 3].map(|mask| {
                        saves(&reads, kept, mask).filter(|_| mask & 1 == 0 || by_first(kind))
                    }),
                }
            })
            .collect()
    });
    &FACTS[kind as usize]
}

/// The blocks of a row read as many inputs as it has.
pub(super) fn check_count(kind: Binary, given: usize) -> Result<()> {
    let wanted = facts(kind).inputs;
    ensure!(given == wanted, runtime, "{} takes {wanted} inputs, got {given}", kind.name());
    Ok(())
}

#[track_caller]
fn record_two(
    kind: Binary,
    facts: &Facts,
    inputs: [&Tensor; 2],
    wanted: [bool; 2],
    p: f64,
    modes: Modes,
    core: Arc<Core>,
) -> Result<Tensor> {
    let mask = usize::from(wanted[0]) | usize::from(wanted[1]) << 1;
    match facts.saves[mask] {
        Some(saves) if !modes.any_extra() => attach_pair(Op::Binary(kind, p), inputs, saves, core),
        _ => {
            let output = Tensor::from_core(core);
            record(kind, &inputs, p, &output)?;
            Ok(output)
        }
    }
}

#[track_caller]
fn apply_general(kind: Binary, inputs: &[&Tensor], p: f64) -> Result<Tensor> {
    check_count(kind, inputs.len())?;
    let mut dtype = inputs[0].dtype();
    if inputs[1..].iter().any(|input| input.dtype() != dtype) {
        dtype = result_type(inputs);
    }
    check_difference(
        kind,
        inputs.iter().any(|input| input.dtype() == DType::Bool),
        dtype == DType::Bool,
    )?;
    let dtype = compute_type(kind, dtype);
    let Some(block) = kind.forward(dtype) else {
        return Err(not_implemented(kind.name(), dtype));
    };
    let to = if kind.result() == ResultType::Bool { DType::Bool } else { dtype };
    let mut cores: SmallVec<[Arc<Core>; 3]> = SmallVec::new();
    for input in inputs {
        cores.push(cast(&input.core(), dtype)?);
    }
    let ins: SmallVec<[&Core; 3]> = cores.iter().map(|core| &**core).collect();
    let mut wide: Dims;
    let mut shape = ins[0].shape();
    if ins[1..].iter().any(|core| core.shape() != shape) {
        wide = Dims::from_slice(shape);
        for core in &ins[1..] {
            wide = broadcast(&wide, core.shape())
                .map_err(|error| shape_error(kind, error, &ins, inputs))?;
        }
        shape = &wide;
    }
    check_divisor(kind, ins[1])?;
    let ins: SmallVec<[&Arc<Core>; 3]> = cores.iter().collect();
    let core = map_ordered(block, &[parameter(dtype, p), 0.0], to, shape, &ins)?;
    let output = Tensor::from_core(core);
    if to.is_float() && recording(inputs) {
        record(kind, inputs, p, &output)?;
    } else if inputs.iter().all(|input| input.is_number()) {
        return Ok(output.into_number());
    }
    Ok(output)
}

/// The promoted type of several tensors: the highest rank decides, see [`Tensor::result_type`].
pub(crate) fn result_type(inputs: &[&Tensor]) -> DType {
    let mut ranks: [Option<DType>; 3] = [None; 3];
    for input in inputs {
        let rank = input.promotion_rank() as usize;
        let dtype = match input.dtype() {
            dtype if rank == 0 && dtype.is_float() => default_dtype(),
            dtype => dtype,
        };
        ranks[rank] = Some(ranks[rank].map_or(dtype, |have| have.promote(dtype)));
    }
    let mut result: Option<DType> = None;
    for dtype in ranks.iter().rev().flatten() {
        result = Some(match result {
            Some(have) if dtype.category() <= have.category() => have,
            _ => *dtype,
        });
    }
    result.unwrap_or(DType::F32)
}

#[track_caller]
fn record(kind: Binary, inputs: &[&Tensor], p: f64, output: &Tensor) -> Result<()> {
    let wanted: SmallVec<[bool; 3]> = inputs.iter().map(|input| input.requires_grad()).collect();
    ensure!(
        by_first(kind) || !wanted[0],
        not_implemented,
        "the derivative of '{}' for 'self' is not implemented.",
        kind.name()
    );
    let read = saved_by(kind, &wanted);
    let mut saves: SmallVec<[Save<'_>; 4]> = SmallVec::new();
    for (value, _) in read.iter().enumerate().filter(|(_, read)| **read) {
        saves.push(if value == 3 { Save::Output(0) } else { Save::Input(value) });
    }
    attach(Op::Binary(kind, p), inputs, &saves, &[output])
}

#[cold]
#[track_caller]
fn shape_error(
    kind: Binary,
    error: crate::error::Error,
    ins: &[&Core],
    inputs: &[&Tensor],
) -> crate::error::Error {
    let shapes: Vec<String> =
        ins.iter().map(|core| crate::shape::shape_text(core.shape())).collect();
    error.with_note(format!(
        "  {} of shapes {} at {}{}",
        kind.name(),
        shapes.join(" and "),
        crate::graph::Site::here(),
        super::origins(inputs)
    ))
}

impl Tensor {
    /// Applies a row of the binary table; `p` is its parameter (`alpha`).
    ///
    /// # Errors
    /// If the shapes do not broadcast, or the row does not take the dtypes, or takes three inputs.
    #[track_caller]
    #[inline]
    pub fn binary(&self, kind: Binary, other: &Self, p: f64) -> Result<Self> {
        apply(kind, &[self, other], p)
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
        check_difference(kind, dtype == DType::Bool || natural == DType::Bool, dtype == natural)?;
        let promoted = if self.is_number() {
            dtype.promote(natural)
        } else if other.category() > dtype.category() {
            natural
        } else {
            dtype
        };
        ensure!(
            !(kind == Binary::Pow && !reversed && !promoted.is_float() && other.to_f64() < 0.0),
            runtime,
            "Integers to negative integer powers are not allowed."
        );
        if promoted == dtype && kind == Binary::Pow && !reversed && dtype != DType::Bool {
            return self.pow_scalar(other);
        }
        if compute_type(kind, promoted) == dtype {
            if let Some(block) = kind.forward_scalar(dtype, reversed) {
                return self.run_scalar(kind, block, other, reversed);
            }
        }
        // A float keeps all its digits, whatever dtype the result has.
        let exact = if natural.is_float() { DType::F64 } else { natural };
        let number = Self::from_scalar(other, exact)?.into_number();
        if reversed { number.binary(kind, self, 1.0) } else { self.binary(kind, &number, 1.0) }
    }

    #[track_caller]
    fn run_scalar(
        &self,
        kind: Binary,
        block: Block,
        other: Scalar,
        reversed: bool,
    ) -> Result<Self> {
        let core = self.core();
        let dtype = core.dtype();
        if reversed {
            check_divisor(kind, &core)?;
        } else {
            ensure!(
                !(kind.divides() && dtype.is_int() && other.to_i64() == 0),
                runtime,
                "ZeroDivisionError"
            );
        }
        let to = if kind.result() == ResultType::Bool { DType::Bool } else { dtype };
        let number =
            if dtype.is_float() { other.to_f64() } else { f64::from_bits(other.to_i64() as u64) };
        let output =
            Self::from_core(map_ordered(block, &[number, 1.0], to, core.shape(), &[&core])?);
        if to.is_float() && recording1(self) {
            let op = Op::Scalar(kind, reversed, other.to_f64());
            let me = usize::from(reversed);
            let read = reads(kind, me);
            match (read[me], read[3]) {
                (true, true) => {
                    attach(op, &[self], &[Save::Input(0), Save::Output(0)], &[&output])?;
                }
                // The gradient of a product or quotient by a number reads the number alone.
                (true, false) => attach(op, &[self], &[Save::Input(0)], &[&output])?,
                (false, true) => attach(op, &[self], &[Save::Output(0)], &[&output])?,
                (false, false) => attach(op, &[self], &[], &[&output])?,
            }
        }
        Ok(output)
    }

    #[track_caller]
    fn pow_scalar(&self, exponent: Scalar) -> Result<Self> {
        ensure!(
            self.dtype().is_float() || exponent.to_f64() >= 0.0,
            runtime,
            "Integers to negative integer powers are not allowed."
        );
        self.unary(Unary::PowScalar, [exponent.to_f64(), 0.0])
    }
}

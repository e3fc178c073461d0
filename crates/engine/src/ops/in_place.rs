//! Elementwise operations that put their result in the place of their first input, without a
//! temporary where nothing is recorded and the dtypes agree.

use smallvec::SmallVec;

use super::binary::{Binary, ResultType};
use super::check::check_divisor;
use super::elementwise::{apply, check_count, compute_type, parameter};
use super::unary::{IntRule, Unary};
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::graph::{recording, recording1};
use crate::launch::blocks::run_into;
use crate::shape::is_expandable_to;
use crate::storage::Core;
use crate::tensor::{Tensor, default_dtype};

/// Whether an input may be read while the output is written: it is the output, or elsewhere.
fn apart(input: &Core, output: &Core) -> bool {
    !input.same_storage(output)
        || (input.shape() == output.shape()
            && input.strides() == output.strides()
            && input.offset() == output.offset())
}

impl Tensor {
    /// [`Self::unary`] in place; `op` names the operation in errors.
    ///
    /// # Errors
    /// As [`Self::inplace`] and [`Self::unary`].
    #[track_caller]
    pub fn unary_in_place(&self, op: &str, kind: Unary, p: [f64; 2]) -> Result<()> {
        let dtype = self.dtype();
        let rule = kind.int_rule();
        let to = if rule == IntRule::Test { DType::Bool } else { dtype };
        let kept = dtype.is_float() || rule != IntRule::Promote;
        if kept && to == dtype && !recording1(self) {
            if let Some(block) = kind.forward(dtype, &p) {
                let p = p.map(|p| parameter(dtype, p));
                return self.write_through(op, |core| run_into(block, &p, core, &[core]));
            }
        }
        self.inplace(op, |this| this.unary(kind, p))
    }

    /// A row of the binary table with this tensor as first input, in place.
    ///
    /// # Errors
    /// As [`Self::inplace`] and [`apply`].
    #[track_caller]
    pub fn apply_in_place(&self, op: &str, kind: Binary, others: &[&Self], p: f64) -> Result<()> {
        check_count(kind, others.len() + 1)?;
        let dtype = self.dtype();
        for other in others {
            self.check_overlap(other)?;
        }
        let inputs: SmallVec<[&Self; 3]> =
            std::iter::once(self).chain(others.iter().copied()).collect();
        let same = match kind.result() {
            ResultType::Same => true,
            ResultType::Float => dtype.is_float(),
            ResultType::Bool => dtype == DType::Bool,
        };
        if same && !recording(&inputs) && others.iter().all(|other| other.dtype() == dtype) {
            if let Some(block) = kind.forward(dtype) {
                let cores: SmallVec<[_; 2]> =
                    others.iter().map(|other| other.shared_core()).collect();
                let core = self.shared_core();
                let fits = |other: &Core| {
                    is_expandable_to(other.shape(), core.shape()) && apart(other, &core)
                };
                if cores.iter().all(|other| fits(other)) {
                    if let Some(divisor) = cores.first() {
                        check_divisor(kind, divisor)?;
                    }
                    let p = [parameter(dtype, p), 0.0];
                    return self.write_through(op, |core| {
                        let ins: SmallVec<[&Core; 3]> =
                            std::iter::once(core).chain(cores.iter().map(|core| &**core)).collect();
                        run_into(block, &p, core, &ins)
                    });
                }
            }
        }
        self.inplace(op, |this| {
            let inputs: SmallVec<[&Self; 3]> =
                std::iter::once(this).chain(others.iter().copied()).collect();
            apply(kind, &inputs, p)
        })
    }

    /// [`Self::binary_scalar`] in place, the number on the right.
    ///
    /// # Errors
    /// As [`Self::inplace`] and [`Self::binary_scalar`].
    #[track_caller]
    pub fn scalar_in_place(&self, op: &str, kind: Binary, number: Scalar) -> Result<()> {
        let dtype = self.dtype();
        let natural = number.natural_dtype(default_dtype());
        let promoted = if number.category() > dtype.category() { natural } else { dtype };
        let direct = dtype != DType::Bool
            && promoted == dtype
            && (dtype.is_float() || !kind.divides())
            && kind.result() != ResultType::Bool
            && compute_type(kind, promoted) == dtype;
        let found = match (kind, dtype.is_float()) {
            _ if !direct => None,
            (Binary::Pow, false) => None,
            (Binary::Pow, true) => {
                let p = [number.to_f64(), 0.0];
                Unary::PowScalar.forward(dtype, &p).map(|block| (block, p))
            }
            (_, true) => {
                kind.forward_scalar(dtype, false).map(|block| (block, [number.to_f64(), 1.0]))
            }
            (_, false) => {
                let bits = f64::from_bits(number.to_i64() as u64);
                kind.forward_scalar(dtype, false).map(|block| (block, [bits, 1.0]))
            }
        };
        if let Some((block, p)) = found.filter(|_| !recording1(self)) {
            return self.write_through(op, |core| run_into(block, &p, core, &[core]));
        }
        self.inplace(op, |this| this.binary_scalar(kind, number, false))
    }
}

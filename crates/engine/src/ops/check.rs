//! What elementwise operations refuse: dtypes they do not take, integers divided by zero.

use super::binary::Binary;
use crate::dtype::DType;
use crate::error::{Error, Result, bail};
use crate::launch::blocks::map;
use crate::storage::Core;

/// Refuses differences with a bool, which torch does not define.
#[inline]
pub(super) fn check_difference(kind: Binary, any_bool: bool, all_bool: bool) -> Result<()> {
    if kind == Binary::Sub && any_bool {
        if all_bool {
            return Err(not_implemented("sub", DType::Bool));
        }
        bail!(
            runtime,
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying \
             to invert a mask, use the `~` or `logical_not()` operator instead."
        );
    }
    Ok(())
}

#[cold]
pub(super) fn not_implemented(name: &str, dtype: DType) -> Error {
    match (name, dtype) {
        ("sub", DType::Bool) => {
            return Error::not_implemented(
                "Subtraction, the `-` operator, with two bool tensors is not supported. Use the \
                 `^` or `logical_xor()` operator instead.",
            );
        }
        ("neg", DType::Bool) => {
            return Error::not_implemented(
                "Negation, the `-` operator, on a bool tensor is not supported. If you are trying \
                 to invert a mask, use the `~` or `logical_not()` operator instead.",
            );
        }
        _ => {}
    }
    Error::not_implemented(format!("\"{name}\" not implemented for '{}'", dtype.scalar_name()))
}

pub(super) fn check_divisor(kind: Binary, divisor: &Core) -> Result<()> {
    if kind.divides() && divisor.dtype().is_int() && has_zero(divisor)? {
        bail!(runtime, "ZeroDivisionError");
    }
    Ok(())
}

fn has_zero(core: &Core) -> Result<bool> {
    let Some(block) = Binary::Eq.forward_scalar(core.dtype(), false) else { return Ok(false) };
    let zeros = map(block, &[0.0; 2], DType::Bool, core.shape(), &[core])?;
    let any = crate::launch::reduce(crate::launch::Reduction::Any, &zeros, u64::MAX)?;
    Ok(any.get(&[]).is_some_and(|any| any.to_i64() != 0))
}

//! Arithmetic on shapes and strides, with torch's error texts; knows no tensor.

use std::fmt::Display;

use smallvec::{SmallVec, smallvec};

use crate::dtype::DType;
use crate::error::{Result, bail, ensure};

/// Sizes per dimension, inline up to six dimensions.
pub type Dims = SmallVec<[usize; 6]>;

/// Whether a tensor of shape `from` broadcasts to shape `to`.
pub fn is_expandable_to(from: &[usize], to: &[usize]) -> bool {
    from.len() <= to.len()
        && from.iter().rev().zip(to.iter().rev()).all(|(&n, &m)| n == m || n == 1)
}

/// Steps per dimension, counted in elements; zero where a dimension is broadcast.
pub type Strides = SmallVec<[isize; 6]>;

/// `[2, 3]`, as shapes appear in torch's messages.
///
/// ```
/// assert_eq!(rustgrad_kernels::shape::shape_text(&[2, 3]), "[2, 3]");
/// ```
pub fn shape_text(shape: &[usize]) -> String {
    format!("[{}]", joined(shape))
}

/// `[2, -1]`: a shape as the user asked for it, dimensions to infer included.
///
/// ```
/// assert_eq!(rustgrad_kernels::shape::requested_text(&[2, -1]), "[2, -1]");
/// ```
pub fn requested_text(shape: &[i64]) -> String {
    format!("[{}]", joined(shape))
}

/// `(3,)` or `(2, 3)`, as Python prints a tuple.
///
/// ```
/// use rustgrad_kernels::shape::tuple_text;
/// assert_eq!(tuple_text(&[3]), "(3,)");
/// assert_eq!(tuple_text(&[0, 3]), "(0, 3)");
/// ```
pub fn tuple_text(shape: &[usize]) -> String {
    match shape {
        [only] => format!("({only},)"),
        _ => format!("({})", joined(shape)),
    }
}

/// `torch.Size([2, 3])`, as Python prints `tensor.shape`.
///
/// ```
/// assert_eq!(rustgrad_kernels::shape::size_text(&[2, 3]), "torch.Size([2, 3])");
/// ```
pub fn size_text(shape: &[usize]) -> String {
    format!("torch.Size([{}])", joined(shape))
}

fn joined<T: Display>(items: &[T]) -> String {
    let mut text = String::new();
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            text.push_str(", ");
        }
        text.push_str(&item.to_string());
    }
    text
}

/// The number of elements of `shape`.
///
/// Fails when it does not fit an `isize`, so that every later stride and offset does.
///
/// ```
/// use rustgrad_kernels::shape::numel;
/// assert_eq!(numel(&[2, 3]).unwrap(), 6);
/// assert_eq!(numel(&[]).unwrap(), 1);
/// assert_eq!(numel(&[usize::MAX, 0]).unwrap(), 0);
/// assert!(numel(&[usize::MAX, 2]).is_err());
/// ```
pub fn numel(shape: &[usize]) -> Result<usize> {
    match product(shape) {
        Some(n) => Ok(n),
        None => bail!(runtime, "numel: integer multiplication overflow"),
    }
}

/// The number of bytes of a contiguous tensor of `shape`, or torch's overflow error.
///
/// ```
/// use rustgrad_kernels::{dtype::DType, shape::storage_bytes};
/// assert_eq!(storage_bytes(&[2, 3], DType::F32).unwrap(), 24);
/// assert!(storage_bytes(&[1 << 40, 1 << 40], DType::F32).is_err());
/// ```
pub fn storage_bytes(shape: &[usize], dtype: DType) -> Result<usize> {
    let bytes = product(shape)
        .and_then(|n| n.checked_mul(dtype.size()))
        .filter(|&bytes| isize::try_from(bytes).is_ok());
    match bytes {
        Some(bytes) => Ok(bytes),
        None => {
            bail!(runtime, "Storage size calculation overflowed with sizes={}", shape_text(shape))
        }
    }
}

fn product(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    let mut total = 1usize;
    for &size in shape {
        total = total.checked_mul(size)?;
    }
    isize::try_from(total).is_ok().then_some(total)
}

/// Checks sizes given by the user for a new tensor.
///
/// ```
/// use rustgrad_kernels::shape::from_sizes;
/// assert_eq!(from_sizes(&[2, 3]).unwrap().as_slice(), &[2, 3]);
/// assert_eq!(
///     from_sizes(&[-1, 2]).unwrap_err().message(),
///     "Trying to create tensor with negative dimension -1: [-1, 2]"
/// );
/// ```
pub fn from_sizes(sizes: &[i64]) -> Result<Dims> {
    sizes
        .iter()
        .map(|&size| {
            ensure!(
                size >= 0,
                runtime,
                "Trying to create tensor with negative dimension {size}: {}",
                requested_text(sizes)
            );
            Ok(size as usize)
        })
        .collect()
}

/// The strides of a contiguous (row-major) tensor.
///
/// A dimension of size zero counts as one, as in torch, so that strides stay non-zero.
///
/// ```
/// use rustgrad_kernels::shape::contiguous_strides;
/// assert_eq!(contiguous_strides(&[3, 0, 2]).as_slice(), &[2, 2, 1]);
/// ```
pub fn contiguous_strides(shape: &[usize]) -> Strides {
    let mut strides: Strides = smallvec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        // Wrapping only when another dimension is zero and no element is ever addressed.
        strides[d - 1] = strides[d].wrapping_mul(shape[d].max(1) as isize);
    }
    strides
}

/// Whether `strides` walk the elements of `shape` in row-major order without gaps.
///
/// Strides of dimensions of size one are never used and so do not matter.
///
/// ```
/// use rustgrad_kernels::shape::is_contiguous;
/// assert!(is_contiguous(&[2, 3], &[3, 1]));
/// assert!(is_contiguous(&[2, 1], &[1, 7]));
/// assert!(!is_contiguous(&[2, 3], &[1, 2]));
/// ```
#[inline]
pub fn is_contiguous(shape: &[usize], strides: &[isize]) -> bool {
    let mut expected = 1isize;
    for (&size, &stride) in shape.iter().zip(strides).rev() {
        if size == 0 {
            return true;
        }
        if size != 1 {
            if stride != expected {
                // A zero further out still makes the tensor empty, hence contiguous.
                return shape.contains(&0);
            }
            expected *= size as isize;
        }
    }
    true
}

/// The shape two operands broadcast to.
///
/// ```
/// use rustgrad_kernels::shape::broadcast;
/// assert_eq!(broadcast(&[2, 1], &[3]).unwrap().as_slice(), &[2, 3]);
/// assert_eq!(
///     broadcast(&[2, 3], &[2, 4]).unwrap_err().message(),
///     "The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 1"
/// );
/// ```
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Dims> {
    let ndim = a.len().max(b.len());
    let mut out: Dims = smallvec![1; ndim];
    // Torch compares from the last dimension on, which decides the one its message names.
    for i in 0..ndim {
        let size_a = if i < a.len() { a[a.len() - 1 - i] } else { 1 };
        let size_b = if i < b.len() { b[b.len() - 1 - i] } else { 1 };
        let d = ndim - 1 - i;
        ensure!(
            size_a == size_b || size_a == 1 || size_b == 1,
            runtime,
            "The size of tensor a ({size_a}) must match the size of tensor b ({size_b}) at \
             non-singleton dimension {d}"
        );
        out[d] = if size_a == 1 { size_b } else { size_a };
    }
    Ok(out)
}

/// Strides that present a tensor of `shape` as one of the shape `target` it broadcasts to.
///
/// `target` must be a result of [`broadcast`] with `shape`; new and stretched dimensions get
/// stride zero.
///
/// ```
/// use rustgrad_kernels::shape::broadcast_strides;
/// assert_eq!(broadcast_strides(&[2, 1], &[1, 1], &[4, 2, 3]).as_slice(), &[0, 1, 0]);
/// ```
pub fn broadcast_strides(shape: &[usize], strides: &[isize], target: &[usize]) -> Strides {
    debug_assert!(shape.len() <= target.len());
    let mut out: Strides = smallvec![0; target.len()];
    let lead = target.len() - shape.len();
    for (d, (&size, &stride)) in shape.iter().zip(strides).enumerate() {
        out[lead + d] = if size == target[lead + d] { stride } else { 0 };
    }
    out
}

/// Checks an in-place operation: its result must have the shape of the tensor written to.
///
/// ```
/// assert_eq!(
///     rustgrad_kernels::shape::ensure_in_place(&[2, 3], &[1, 2, 3]).unwrap_err().message(),
///     "output with shape [2, 3] doesn't match the broadcast shape [1, 2, 3]"
/// );
/// ```
pub fn ensure_in_place(target: &[usize], result: &[usize]) -> Result<()> {
    ensure!(
        target == result,
        runtime,
        "output with shape {} doesn't match the broadcast shape {}",
        shape_text(target),
        shape_text(result)
    );
    Ok(())
}

/// The shape and strides of `tensor.expand(target)`; `dtype` only serves a message.
///
/// -1 keeps the size of an existing dimension.
///
/// ```
/// use rustgrad_kernels::{dtype::DType, shape::expand};
/// let (shape, strides) = expand(&[2, 1], &[1, 1], &[4, -1, 3], DType::F32).unwrap();
/// assert_eq!((shape.as_slice(), strides.as_slice()), (&[4, 2, 3][..], &[0, 1, 0][..]));
/// ```
pub fn expand(
    shape: &[usize],
    strides: &[isize],
    target: &[i64],
    dtype: DType,
) -> Result<(Dims, Strides)> {
    ensure!(
        target.len() >= shape.len(),
        runtime,
        "expand(torch.{}Tensor{{{}}}, size={}): the number of sizes provided ({}) must be greater \
         or equal to the number of dimensions in the tensor ({})",
        dtype.scalar_name(),
        shape_text(shape),
        requested_text(target),
        target.len(),
        shape.len()
    );
    let lead = target.len() - shape.len();
    let mut out: Dims = smallvec![0; target.len()];
    for d in (0..target.len()).rev() {
        let wanted = target[d];
        let existing = if d < lead { None } else { Some(shape[d - lead]) };
        out[d] = match (wanted, existing) {
            (-1, Some(size)) => size,
            (0.., Some(size)) if size == 1 || size as i64 == wanted => wanted as usize,
            (0.., None) => wanted as usize,
            (0.., Some(size)) => bail!(
                runtime,
                "The expanded size of the tensor ({wanted}) must match the existing size ({size}) \
                 at non-singleton dimension {d}.  Target sizes: {}.  Tensor sizes: {}",
                requested_text(target),
                shape_text(shape)
            ),
            (_, None) => bail!(
                runtime,
                "The expanded size of the tensor ({wanted}) isn't allowed in a leading, \
                 non-existing dimension {d}"
            ),
            (_, Some(_)) => {
                bail!(
                    runtime,
                    "The expanded size of the tensor ({wanted}) isn't allowed at dimension {d}"
                )
            }
        };
    }
    numel(&out)?;
    let strides = broadcast_strides(shape, strides, &out);
    Ok((out, strides))
}

/// Turns a possibly negative dimension into an index below `ndim`.
///
/// A 0-d tensor accepts 0 and -1, as torch does; check `ndim == 0` before using the result as an
/// index.
///
/// ```
/// use rustgrad_kernels::shape::norm_dim;
/// assert_eq!(norm_dim(-1, 2).unwrap(), 1);
/// assert_eq!(norm_dim(-1, 0).unwrap(), 0);
/// assert_eq!(
///     norm_dim(5, 2).unwrap_err().message(),
///     "Dimension out of range (expected to be in range of [-2, 1], but got 5)"
/// );
/// ```
#[inline]
pub fn norm_dim(dim: i64, ndim: usize) -> Result<usize> {
    let bound = ndim.max(1) as i64;
    ensure!(
        (-bound..bound).contains(&dim),
        index,
        "Dimension out of range (expected to be in range of [{}, {}], but got {dim})",
        -bound,
        bound - 1
    );
    Ok(if dim < 0 { dim + bound } else { dim } as usize)
}

/// Normalises a list of distinct dimensions, keeping its order.
///
/// ```
/// use rustgrad_kernels::shape::norm_dims;
/// assert_eq!(norm_dims(&[-1, 0], 3).unwrap().as_slice(), &[2, 0]);
/// assert_eq!(
///     norm_dims(&[0, -2], 2).unwrap_err().message(),
///     "dim 0 appears multiple times in the list of dims"
/// );
/// ```
pub fn norm_dims(dims: &[i64], ndim: usize) -> Result<Dims> {
    let mut out = Dims::with_capacity(dims.len());
    for &dim in dims {
        let dim = norm_dim(dim, ndim)?;
        ensure!(
            !out.contains(&dim),
            runtime,
            "dim {dim} appears multiple times in the list of dims"
        );
        out.push(dim);
    }
    Ok(out)
}

/// Replaces the one -1 of a requested shape by the size that makes `numel` elements.
///
/// ```
/// use rustgrad_kernels::shape::infer_reshape;
/// assert_eq!(infer_reshape(&[2, -1], 6).unwrap().as_slice(), &[2, 3]);
/// assert_eq!(
///     infer_reshape(&[2, -1], 3).unwrap_err().message(),
///     "shape '[2, -1]' is invalid for input of size 3"
/// );
/// ```
pub fn infer_reshape(requested: &[i64], numel: usize) -> Result<Dims> {
    let mut inferred = None;
    let mut out = Dims::with_capacity(requested.len());
    for (d, &size) in requested.iter().enumerate() {
        match size {
            -1 => {
                ensure!(inferred.is_none(), runtime, "only one dimension can be inferred");
                inferred = Some(d);
                out.push(1);
            }
            0.. => out.push(size as usize),
            _ => bail!(
                runtime,
                "invalid shape dimension {size} at index {d} of shape {}",
                requested_text(requested)
            ),
        }
    }
    let known = product(&out);
    match (known, inferred) {
        (Some(known), None) if known == numel => return Ok(out),
        (Some(0), Some(_)) if numel == 0 => bail!(
            runtime,
            "cannot reshape tensor of 0 elements into shape {} because the unspecified dimension \
             size -1 can be any value and is ambiguous",
            requested_text(requested)
        ),
        (Some(known), Some(d)) if known > 0 && numel.is_multiple_of(known) => {
            out[d] = numel / known;
            return Ok(out);
        }
        _ => {}
    }
    bail!(runtime, "shape '{}' is invalid for input of size {numel}", requested_text(requested))
}

/// Strides that present a strided tensor as one of shape `new`, or `None` when only a copy can.
///
/// Both shapes must have the same number of elements. Old dimensions are grouped into runs that
/// advance through memory at one pace; each run must be cut up exactly by some new dimensions. As
/// in torch (`at::detail::computeStride`), an empty tensor keeps its strides if its shape stays
/// and becomes contiguous otherwise.
///
/// ```
/// use rustgrad_kernels::shape::view_strides;
/// // A (2, 3) view of a wider matrix, whose rows cannot be joined but can be split.
/// assert_eq!(view_strides(&[2, 4], &[5, 1], &[2, 2, 2]).unwrap().as_slice(), &[5, 2, 1]);
/// assert_eq!(view_strides(&[2, 4], &[5, 1], &[8]), None);
/// ```
pub fn view_strides(old: &[usize], old_strides: &[isize], new: &[usize]) -> Option<Strides> {
    let mut out: Strides = smallvec![1; new.len()];
    if old.is_empty() {
        return Some(out);
    }
    if old.contains(&0) {
        return Some(if old == new { old_strides.into() } else { contiguous_strides(new) });
    }
    let mut next = new.len();
    let mut base = old_strides[old.len() - 1];
    let (mut run, mut covered) = (1usize, 1usize);
    for d in (0..old.len()).rev() {
        run *= old[d];
        let run_ends = d == 0 || (old[d - 1] != 1 && old_strides[d - 1] != run as isize * base);
        if !run_ends {
            continue;
        }
        while next > 0 && (covered < run || new[next - 1] == 1) {
            next -= 1;
            out[next] = covered as isize * base;
            covered *= new[next];
        }
        if covered != run {
            return None;
        }
        if d > 0 {
            base = old_strides[d - 1];
            (run, covered) = (1, 1);
        }
    }
    (next == 0).then_some(out)
}

#[cfg(test)]
#[path = "../tests/unit/shape.rs"]
mod tests;

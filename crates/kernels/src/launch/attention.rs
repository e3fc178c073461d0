//! Attention over cores: heads are all dimensions but the last two.

use std::sync::Arc;

use super::along::dense;
use super::{fits, ptr, ptr_mut};
use crate::dtype::{Bool, DType, Element, dispatch};
use crate::error::{Error, Result, ensure};
use crate::kernels::attention::{self as kernel, Gradients, Lines, Mask, Problem, Sizes};
use crate::shape::Dims;
use crate::storage::{Access, Core};

/// Which keys each query sees.
#[derive(Clone, Copy)]
pub enum Sight<'a> {
    /// All.
    All,
    /// Those up to its own place.
    Causal,
    /// As a mask (`..., L, S`) says: of booleans, or of what is added.
    Mask(&'a Arc<Core>),
}

/// Lines of contiguous elements.
fn lined(core: &Arc<Core>) -> Result<Arc<Core>> {
    let last = core.shape().len() - 1;
    let fits = core.strides()[last] == 1 || core.shape()[last] == 1;
    if fits { Ok(core.clone()) } else { dense(core) }
}

/// Where each head begins.
fn heads(core: &Core) -> Vec<isize> {
    let lead = core.shape().len() - 2;
    let mut places = vec![0];
    for (&n, &stride) in core.shape()[..lead].iter().zip(core.strides()) {
        let each = |&at: &isize| (0..n as isize).map(move |i| at + i * stride);
        places = places.iter().flat_map(each).collect();
    }
    places
}

fn step(core: &Core) -> isize {
    core.strides()[core.shape().len() - 2]
}

/// A fresh core of the shape; of four dimensions the middle two lie exchanged where those of `like` do, as
/// heads do in most models.
fn alloc(dtype: DType, shape: &[usize], like: &Core) -> Result<Arc<Core>> {
    let (&[batch, heads, rows, columns], &[_, one, other, _]) = (shape, like.strides()) else {
        return Core::alloc(dtype, shape);
    };
    if one >= other {
        return Core::alloc(dtype, shape);
    }
    let core = Core::alloc(dtype, &[batch, rows, heads, columns])?;
    let (n, width) = ((heads * columns) as isize, columns as isize);
    core.into_layout(shape, &[rows as isize * n, width, n, 1])
}

/// The cores of an attention, their lines contiguous, and where their heads begin.
struct Given {
    q: Arc<Core>,
    k: Arc<Core>,
    v: Arc<Core>,
    mask: Option<Arc<Core>>,
    causal: bool,
    sizes: Sizes,
    heads: [Vec<isize>; 4],
}

impl Given {
    fn new(q: &Arc<Core>, k: &Arc<Core>, v: &Arc<Core>, sight: Sight<'_>) -> Result<Self> {
        let n = q.shape().len();
        let sizes = match (q.shape(), k.shape(), v.shape()) {
            (
                [lead @ .., rows, width],
                [lead_k @ .., keys, width_k],
                [lead_v @ .., keys_v, depth],
            ) if lead == lead_k && lead == lead_v && width == width_k && keys == keys_v => {
                Some(Sizes { rows: *rows, keys: *keys, width: *width, depth: *depth })
            }
            _ => None,
        };
        let sizes = sizes.filter(|s| s.rows * s.keys * s.width * s.depth > 0).ok_or_else(|| {
            Error::runtime(format!(
                "attention of {:?}, {:?} and {:?}",
                q.shape(),
                k.shape(),
                v.shape()
            ))
        })?;
        ensure!(
            q.dtype() == k.dtype() && q.dtype() == v.dtype(),
            runtime,
            "attention of {}, {} and {}",
            q.dtype(),
            k.dtype(),
            v.dtype()
        );
        let mask = match sight {
            Sight::Mask(mask) => {
                let shape = mask.shape();
                ensure!(
                    shape.len() == n
                        && shape[..n - 2] == q.shape()[..n - 2]
                        && shape[n - 2..] == [sizes.rows, sizes.keys]
                        && (mask.dtype() == q.dtype() || mask.dtype() == DType::Bool),
                    runtime,
                    "attention of {:?} with a mask of {shape:?}",
                    q.shape()
                );
                Some(mask.clone())
            }
            _ => None,
        };
        let (q, k, v) = (lined(q)?, lined(k)?, lined(v)?);
        let of_mask = mask.as_ref().map_or_else(Vec::new, |mask| heads(mask));
        let heads = [heads(&q), heads(&k), heads(&v), of_mask];
        Ok(Self { q, k, v, mask, causal: matches!(sight, Sight::Causal), sizes, heads })
    }

    fn access<'a>(&'a self, others: &[&'a Core]) -> Access<'a> {
        let mut all: Vec<&Core> = vec![&self.q, &self.k, &self.v];
        all.extend(self.mask.as_deref());
        all.extend(others);
        Access::new(&all, None)
    }

    /// The problem for the kernel; the cores must be locked while it is in use.
    fn problem<T: Element>(&self, scale: T) -> Problem<'_, T> {
        let [q, k, v, mask] = &self.heads;
        let lines = |core: &Core, heads| Lines { start: ptr::<T>(core), heads, step: step(core) };
        let mask = match &self.mask {
            None if self.causal => Mask::Causal,
            None => Mask::All,
            Some(core) => {
                let across = core.strides()[core.shape().len() - 1];
                if core.dtype() == DType::Bool {
                    let start = ptr::<Bool>(core);
                    Mask::Keep(Lines { start, heads: mask, step: step(core) }, across)
                } else {
                    Mask::Add(lines(core, mask), across)
                }
            }
        };
        Problem {
            sizes: self.sizes,
            scale,
            q: lines(&self.q, q),
            k: lines(&self.k, k),
            v: lines(&self.v, v),
            mask,
        }
    }

    fn missing(&self) -> Error {
        Error::not_implemented(format!(
            "\"attention\" not implemented for '{}'",
            self.q.dtype().scalar_name()
        ))
    }
}

/// The means `(..., L, V)` of values `(..., S, V)`, weighted by the softmax of scaled products of queries
/// `(..., L, E)` and keys `(..., S, E)`; and if wanted the logarithms of the sums that the softmax
/// divides by.
pub fn attention(
    q: &Arc<Core>,
    k: &Arc<Core>,
    v: &Arc<Core>,
    sight: Sight<'_>,
    scale: f64,
    keep: bool,
) -> Result<(Arc<Core>, Option<Arc<Core>>)> {
    let given = Given::new(q, k, v, sight)?;
    let (dtype, sizes) = (q.dtype(), given.sizes);
    let mut shape = Dims::from_slice(q.shape());
    let n = shape.len();
    shape[n - 1] = sizes.depth;
    let out = alloc(dtype, &shape, q)?;
    let rows = given.heads[0].len() * sizes.rows;
    let logs = if keep { Some(Core::alloc(dtype, &[rows])?) } else { None };
    let places = heads(&out);
    let access = given.access(&[]);
    dispatch!(float dtype, T => {
        let lines = Lines { start: ptr_mut::<T>(&out), heads: &places, step: step(&out) };
        let logs = logs.as_ref().map_or(std::ptr::null_mut(), |logs| ptr_mut::<T>(logs));
        // SAFETY: shapes were checked, the inputs are locked, the outputs fresh.
        unsafe { kernel::forward::<T>(&given.problem(T::from_f64(scale)), lines, logs) };
    }, else return Err(given.missing()));
    drop(access);
    Ok((out, logs))
}

/// The gradients of queries, keys and values, as far as they are wanted.
#[expect(clippy::too_many_arguments, reason = "what the forward pass took and gave")]
pub fn attention_backward(
    q: &Arc<Core>,
    k: &Arc<Core>,
    v: &Arc<Core>,
    sight: Sight<'_>,
    scale: f64,
    grad: &Arc<Core>,
    out: &Arc<Core>,
    logs: &Arc<Core>,
    wants: [bool; 3],
) -> Result<[Option<Arc<Core>>; 3]> {
    let given = Given::new(q, k, v, sight)?;
    let dtype = q.dtype();
    fits("attention", logs, given.heads[0].len() * given.sizes.rows, dtype)?;
    ensure!(
        grad.shape() == out.shape() && grad.dtype() == dtype && out.dtype() == dtype,
        runtime,
        "attention with a gradient of {:?} for {:?}",
        grad.shape(),
        out.shape()
    );
    let (grad, out) = (lined(grad)?, lined(out)?);
    let mut to = [None, None, None];
    for ((to, of), wanted) in to.iter_mut().zip([q, k, v]).zip(wants) {
        if wanted {
            *to = Some(alloc(dtype, of.shape(), of)?);
        }
    }
    let places = [heads(&grad), heads(&out)];
    let none = vec![0; given.heads[0].len()];
    let targets = [0, 1, 2].map(|i| to[i].as_ref().map_or_else(|| none.clone(), |to| heads(to)));
    let access = given.access(&[&grad, &out, logs]);
    dispatch!(float dtype, T => {
        let lines = |core: &Core, heads| Lines { start: ptr::<T>(core), heads, step: step(core) };
        let target = |i: usize| Lines {
            start: to[i].as_ref().map_or(std::ptr::null_mut(), |to| ptr_mut::<T>(to)),
            heads: &targets[i],
            step: to[i].as_ref().map_or(0, |to| step(to)),
        };
        let gradients = Gradients { q: target(0), k: target(1), v: target(2) };
        // SAFETY: shapes were checked, the inputs are locked, the outputs fresh.
        unsafe {
            kernel::backward::<T>(
                &given.problem(T::from_f64(scale)), lines(&grad, &places[0]),
                lines(&out, &places[1]), ptr::<T>(logs), &gradients,
            );
        }
    }, else return Err(given.missing()));
    drop(access);
    Ok(to)
}

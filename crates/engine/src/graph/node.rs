//! What a node is: which rule, edges to its inputs' nodes, what it saved, when and where it was made.

use std::any::Any;
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};

use parking_lot::lock_api::RawMutex as _;
use parking_lot::{Mutex, RawMutex};

use super::arena::{NodeRef, WeakNode};
use super::hooks::Hooks;
use super::site::Site;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::ops::Op;
use crate::shape::Dims;
use crate::storage::Core;
use crate::tensor::Tensor;

/// Where a gradient goes: output `out` of a node, or nowhere.
#[derive(Clone, Default)]
pub struct Edge {
    /// The node that made the value, if it needs a gradient.
    pub node: Option<NodeRef>,
    /// Which of that node's outputs the value is.
    pub out: u32,
}

/// Shape and dtype of an output, compact: a gradient is summed and cast to it before it arrives.
pub(crate) enum OutMeta {
    Small {
        dtype: DType,
        ndim: u8,
        dims: [u32; 3],
    },
    Big(Box<(DType, Dims)>),
    /// A leaf's that takes gradients of any dtype.
    Any(Box<(DType, Dims)>),
}

impl OutMeta {
    pub(crate) fn new(dtype: DType, shape: &[usize]) -> Self {
        let mut dims = [0; 3];
        if shape.len() <= 3 && shape.iter().all(|&n| n <= u32::MAX as usize) {
            for (small, &n) in dims.iter_mut().zip(shape) {
                *small = n as u32;
            }
            Self::Small { dtype, ndim: shape.len() as u8, dims }
        } else {
            Self::Big(Box::new((dtype, Dims::from_slice(shape))))
        }
    }

    /// Of any dtype; `dtype` is the value's own.
    pub(crate) fn any(dtype: DType, shape: &[usize]) -> Self {
        Self::Any(Box::new((dtype, Dims::from_slice(shape))))
    }

    /// Whether a gradient of this dtype may arrive as it is.
    pub(crate) fn takes(&self, dtype: DType) -> bool {
        matches!(self, Self::Any(_)) || self.dtype() == dtype
    }

    pub(crate) fn dtype(&self) -> DType {
        match self {
            Self::Small { dtype, .. } => *dtype,
            Self::Big(big) | Self::Any(big) => big.0,
        }
    }

    pub(crate) fn shape(&self) -> Dims {
        match self {
            Self::Small { ndim, dims, .. } => {
                dims[..*ndim as usize].iter().map(|&n| n as usize).collect()
            }
            Self::Big(big) | Self::Any(big) => big.1.clone(),
        }
    }

    /// Bytes of the elements.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        let (dtype, numel) = match self {
            Self::Small { dtype, ndim, dims } => {
                (*dtype, dims[..*ndim as usize].iter().map(|&n| n as usize).product::<usize>())
            }
            Self::Big(big) | Self::Any(big) => (big.0, big.1.iter().product()),
        };
        numel * dtype.size()
    }

    /// Whether a tensor has this dtype and shape.
    #[inline]
    pub(crate) fn fits(&self, core: &Core) -> bool {
        match self {
            Self::Small { dtype, ndim, dims } => {
                core.dtype() == *dtype
                    && core.shape().len() == *ndim as usize
                    && core.shape().iter().zip(dims).all(|(&n, &m)| n == m as usize)
            }
            Self::Big(big) => core.dtype() == big.0 && core.shape() == &big.1[..],
            Self::Any(big) => core.shape() == &big.1[..],
        }
    }
}

/// Which value of the operation a saved tensor was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Input(u16),
    Output(u16),
    /// Made by the operation for its own use.
    Private,
}

/// Something packed by user hooks in place of a saved tensor.
pub trait Packed: Send + Sync {
    /// The tensor again.
    fn unpack(&self) -> Result<Tensor>;
    /// For the embedder to look inside.
    fn as_any(&self) -> &dyn Any;
}

/// A saved tensor: data without autograd state, so that no cycle through the graph can arise.
pub(crate) struct Saved {
    pub(crate) core: Option<Arc<Core>>,
    pub(crate) version: u32,
    pub(crate) role: Role,
}

impl Saved {
    pub(crate) const EMPTY: Self = Self { core: None, version: 0, role: Role::Private };
}

/// Where in a written base the result of the write is found: the base's node after the write, and the
/// rule that cuts the part out.
pub(crate) struct Part {
    pub(crate) base: WeakNode,
    pub(crate) cut: Box<dyn Fn() -> Op + Send + Sync>,
}

/// What most nodes do not have; made on demand and then there for the node's life.
#[derive(Default)]
pub(crate) struct More {
    /// All edges, when there are more than two.
    pub(crate) edges: Box<[Edge]>,
    /// All outputs, when there is more than one.
    pub(crate) outs: Box<[OutMeta]>,
    /// The only output, where a write in place gave it the dtype of what was overwritten.
    pub(crate) written: std::sync::OnceLock<OutMeta>,
    /// What a write in place into a view saved as its result: a part of this base.
    pub(crate) part: std::sync::OnceLock<Part>,
    /// What is saved beyond the two places in the node.
    pub(crate) saved: Mutex<Vec<Saved>>,
    /// What hooks packed, by position among the saved tensors.
    pub(crate) packed: Mutex<Vec<Option<Arc<dyn Packed>>>>,
    pub(crate) hooks: Mutex<Hooks>,
    /// The embedder's own handle of this node, without ownership.
    pub(crate) foreign: AtomicPtr<()>,
    /// Whose gradient was being computed when the node was recorded, under anomaly detection.
    pub(crate) cause: std::sync::OnceLock<Arc<super::diagnose::Failure>>,
    /// What the embedder keeps with the node.
    pub(crate) note: std::sync::OnceLock<Box<dyn Any + Send + Sync>>,
}

/// One recorded operation.
pub struct Node {
    pub(crate) op: Op,
    /// Above the numbers of all nodes it leads to, so that descending order is a topological one.
    pub(super) seq: AtomicU64,
    pub(crate) site: Site,
    pub(crate) flags: AtomicU8,
    pub(crate) n_edges: u8,
    /// Guards `saved`; apart from it because together they would pad the node by eight bytes.
    pub(super) lock: RawMutex,
    pub(crate) edges: [Edge; 2],
    pub(crate) out: OutMeta,
    pub(super) more: AtomicPtr<More>,
    pub(super) saved: UnsafeCell<[Saved; 2]>,
}

/// The node has run without `retain_graph`: what it saved is gone.
pub(crate) const RELEASED: u8 = 1;
/// The node saved something when it was made.
pub(crate) const SAVES: u8 = 2;
/// The node's only output was cut from its history in place (`detach_`).
pub(crate) const DETACHED: u8 = 4;
/// The node was recorded under anomaly detection.
pub(crate) const WITNESSED: u8 = 8;
/// Whether the user ever gave a node a number of its own: until then numbers fall along every edge.
pub(super) static RENUMBERED: AtomicBool = AtomicBool::new(false);
/// Whether any node ever got [`DETACHED`]: until then nobody need look.
pub(crate) static ANY_DETACHED: AtomicBool = AtomicBool::new(false);

impl Node {
    /// The line of the user's program that made the node.
    pub fn site(&self) -> Site {
        self.site
    }

    /// torch's class name of the node: `MulBackward0`.
    pub fn name(&self) -> &str {
        self.op.name()
    }

    /// The name of the operation, as torch's messages have it: `Mul` for `MulBackward0`, `Sum1` for `SumBackward1`.
    pub fn short_name(&self) -> std::borrow::Cow<'_, str> {
        self.name().strip_suffix("Backward0").map_or_else(
            || self.name().replacen("Backward", "", 1).into(),
            std::borrow::Cow::Borrowed,
        )
    }

    /// The sequence number: larger than those of all nodes it leads to.
    #[inline]
    pub fn sequence_nr(&self) -> u64 {
        self.seq.load(Ordering::Relaxed)
    }

    /// Gives the node another number. Numbers need not fall along edges then: passes look at the edges.
    pub fn set_sequence_nr(&self, number: u64) {
        RENUMBERED.store(true, Ordering::Relaxed);
        self.seq.store(number, Ordering::Relaxed);
    }

    /// The node that wrote into a part of the value, if this one stands for such a write.
    pub fn wrapped(&self) -> Option<NodeRef> {
        match &self.op {
            Op::Rule(rule) => rule.wrapped(),
            _ => None,
        }
    }

    /// How many inputs the operation has in torch, where a number may count as a tensor.
    pub fn num_inputs(&self) -> usize {
        use crate::ops::binary::Binary;
        match &self.op {
            Op::Scalar(Binary::Sub | Binary::Div, false, _)
            | Op::Scalar(Binary::Add | Binary::Mul, ..) => 2,
            Op::Rule(rule) => rule.num_inputs().unwrap_or_else(|| self.edges().len()),
            _ => self.edges().len(),
        }
    }

    /// Edges to the inputs' nodes.
    #[inline]
    pub fn edges(&self) -> &[Edge] {
        if self.n_edges == u8::MAX {
            self.more_if().map_or(&[], |more| &more.edges)
        } else {
            &self.edges[..self.n_edges as usize]
        }
    }

    /// The embedder's rule of the node, if it has one.
    pub fn foreign_rule(&self) -> Option<&dyn Any> {
        match &self.op {
            Op::Rule(rule) => rule.as_any(),
            _ => None,
        }
    }

    /// What the embedder keeps with the node.
    pub fn note(&self) -> &std::sync::OnceLock<Box<dyn Any + Send + Sync>> {
        &self.more().note
    }

    /// Shape and dtype of output `out`.
    pub fn output(&self, out: u32) -> (Dims, DType) {
        let meta = self.out_meta(out);
        (meta.shape(), meta.dtype())
    }

    /// How many outputs the operation had.
    pub fn num_outputs(&self) -> usize {
        self.more_if().map_or(1, |more| more.outs.len().max(1))
    }

    pub(crate) fn out_meta(&self, i: u32) -> &OutMeta {
        match self.more_if() {
            Some(more) if !more.outs.is_empty() => more.outs.get(i as usize).unwrap_or(&self.out),
            Some(more) => more.written.get().unwrap_or(&self.out),
            None => &self.out,
        }
    }

    pub(crate) fn is_leaf(&self) -> bool {
        matches!(self.op, Op::Accumulate(_))
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    pub(crate) fn set(&self, flag: u8) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
    }

    pub(crate) fn new(
        op: Op,
        seq: u64,
        site: Site,
        n_edges: u8,
        edges: [Edge; 2],
        out: OutMeta,
        saved: [Saved; 2],
        flags: u8,
        more: Option<Box<More>>,
    ) -> Self {
        let more = more.map_or(std::ptr::null_mut(), Box::into_raw);
        Self {
            op,
            seq: AtomicU64::new(seq),
            site,
            flags: AtomicU8::new(flags),
            n_edges,
            lock: RawMutex::INIT,
            edges,
            out,
            more: AtomicPtr::new(more),
            saved: UnsafeCell::new(saved),
        }
    }

    #[inline]
    pub(crate) fn more_if(&self) -> Option<&More> {
        super::arena::load_more(&self.more)
    }

    /// The rare parts, made when there are none yet.
    pub(crate) fn more(&self) -> &More {
        super::arena::get_or_make_more(&self.more)
    }

    /// Drops what the node saved; later use is an error that names the node's line.
    pub(crate) fn release_saved(&self) {
        if self.has(SAVES) {
            if self.has(RELEASED) && self.more_if().is_none() {
                return;
            }
            self.set(RELEASED);
            // Dropped only after the locks are free: a destructor may run foreign code.
            let _inline = self.with_saved(|saved| std::mem::replace(saved, [Saved::EMPTY; 2]));
            let _rest = self.more_if().map(|more| {
                (std::mem::take(&mut *more.packed.lock()), std::mem::take(&mut *more.saved.lock()))
            });
        } else if self.op.runs_once() {
            self.set(RELEASED);
        }
        self.op.release();
    }

    /// [`Self::release_saved`] for a node whose saved tensors are all in the node itself, which are given
    /// to the caller; `None`, and nothing done, if one is gone, was overwritten or must be unpacked.
    #[inline]
    pub(crate) fn take_saved(&self) -> Option<[Option<Arc<Core>>; 2]> {
        if self.more_if().is_some() || ANY_DETACHED.load(Ordering::Relaxed) {
            return None;
        }
        let taken = self.with_saved(|saved| {
            let good =
                |one: &Saved| one.core.as_ref().is_none_or(|core| core.version() == one.version);
            (saved[0].core.is_some() && saved.iter().all(good))
                .then(|| [saved[0].core.take(), saved[1].core.take()])
        })?;
        self.set(RELEASED);
        Some(taken)
    }

    /// The error for using what is gone.
    #[cold]
    pub(crate) fn released_error(&self) -> Error {
        Error::runtime(format!(
            "Trying to backward through the graph a second time (or directly access saved tensors \
             after they have already been freed). Saved intermediate values of the graph are freed \
             when you call .backward() or autograd.grad(). Specify retain_graph=True if you need \
             to backward through the graph a second time or if you need to access saved tensors \
             after calling backward.\n  {} was recorded at {}",
            self.name(),
            self.site
        ))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        super::arena::drop_more(&mut self.more);
    }
}

//! Every operation: shape rule, forward and derivative rule side by side, by family.
//!
//! A family of elementwise operations is one variant of `Op`; any other operation is a [`Rule`]
//! in its family's file. Rules are written in differentiable operations, before broadcasting and
//! casts are undone: the graph does that.

use std::any::Any;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::strided::Geometry;
use crate::error::{Result, bail};
use crate::graph::hooks::GradList;
use crate::graph::node::{Role, Saved};
use crate::graph::{Edge, Node, NodeRef, is_grad_enabled};
use crate::storage::Core;
use crate::tensor::Tensor;

pub use names::SavedValue;
pub use rustgrad_kernels::{algebra, binary, unary};

pub mod addmm;
pub mod advanced;
pub(crate) mod along;
mod attention;
mod channels;
mod check;
mod choice;
mod clamp;
pub mod conv;
pub mod count;
mod ctc;
mod diff;
mod dual;
pub mod elementwise;
pub mod extreme;
mod fused;
mod grid;
mod in_place;
pub mod index;
pub mod join;
mod layers;
pub(crate) mod layout;
mod lerp;
pub mod linalg;
mod linear;
pub mod losses;
mod map;
mod margins;
pub mod matmul;
mod names;
pub mod nll;
mod pairs;
pub mod patches;
pub mod pool;
pub mod product;
pub mod recurrent;
pub mod reduce;
mod refused;
pub mod resample;
pub mod reshape;
pub mod scan;
pub mod scatter;
mod slope;
pub mod sort;
mod special;
mod statistic;
pub(crate) mod strided;
pub mod subscript;
pub mod view;

/// The rule of a node.
pub(crate) enum Op {
    /// Collects the gradient of a leaf.
    Accumulate(Tensor),
    /// A row of the unary table, with its parameters.
    Unary(unary::Unary, [f64; 2]),
    /// A row of the binary table on two tensors, with its parameter.
    Binary(binary::Binary, f64),
    /// A row of the binary table on a tensor and a number; `true`: the number is on the left.
    Scalar(binary::Binary, bool, f64),
    /// Anything else.
    Rule(Box<dyn Rule>),
}

/// The derivative of an operation that is not elementwise.
pub trait Rule: Send + Sync {
    /// torch's class name of the node.
    fn name(&self) -> &str;
    /// Gradients of the inputs that `cx` says are needed, from those of the outputs.
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList>;
    /// Whether it runs foreign code, which must stay on the calling thread.
    fn is_foreign(&self) -> bool {
        false
    }
    /// Whether it is to be called even if all gradients are absent.
    fn wants_absent(&self) -> bool {
        false
    }
    /// Where the gradient of the one output belongs in that of the one input, if all the rule does is to
    /// set it among zeros; with the sizes of the input, which counts as dense.
    fn part(&self) -> Option<(&Geometry, &[usize])> {
        None
    }
    /// Roughly how many multiply-adds an element of the output takes, where they are many.
    fn depth(&self, _node: &Node) -> usize {
        0
    }
    /// Called when the pass has no more use for what the rule keeps.
    fn release(&self) {}
    /// Whether it refuses to run again after that, though it saved no tensor.
    fn runs_once(&self) -> bool {
        false
    }
    /// The buffers of what the rule itself saved, to be counted.
    fn saved_cores(&self) -> Vec<Arc<Core>> {
        Vec::new()
    }
    /// How many inputs the operation has in torch, if not as many as it has edges.
    fn num_inputs(&self) -> Option<usize> {
        None
    }
    /// What the rule keeps under torch's name for it (without `_saved_`), if it is no tensor.
    fn attribute(&self, _name: &str) -> Option<SavedValue> {
        None
    }
    /// The node that wrote into a part of the value, for a rule that stands for such a write.
    fn wrapped(&self) -> Option<NodeRef> {
        None
    }
    /// For the embedder to look inside.
    fn as_any(&self) -> Option<&dyn Any> {
        None
    }
}

impl Op {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Accumulate(_) => "AccumulateGrad",
            Self::Unary(kind, _) => kind.node_name(),
            Self::Binary(kind, _) => kind.node_name(),
            Self::Scalar(kind, reversed, _) => elementwise::scalar_node_name(*kind, *reversed),
            Self::Rule(rule) => rule.name(),
        }
    }

    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self, Self::Rule(rule) if rule.is_foreign())
    }

    pub(crate) fn wants_absent(&self) -> bool {
        matches!(self, Self::Rule(rule) if rule.wants_absent())
    }

    /// See [`Rule::part`].
    pub(crate) fn part(&self) -> Option<(&Geometry, &[usize])> {
        match self {
            Self::Rule(rule) => rule.part(),
            _ => None,
        }
    }

    pub(crate) fn saved_cores(&self) -> Vec<Arc<Core>> {
        match self {
            Self::Rule(rule) => rule.saved_cores(),
            _ => Vec::new(),
        }
    }

    /// Whether the node refuses to run again once it is released, though it saved no tensor. A
    /// product or quotient by a number keeps the number as a tensor in torch.
    pub(crate) fn runs_once(&self) -> bool {
        match self {
            Self::Scalar(kind, ..) => matches!(kind, binary::Binary::Mul | binary::Binary::Div),
            Self::Rule(rule) => rule.runs_once(),
            _ => false,
        }
    }

    pub(crate) fn release(&self) {
        if let Self::Rule(rule) = self {
            rule.release();
        }
    }

    /// A rule without state needs no allocation.
    pub(crate) fn rule(rule: impl Rule + 'static) -> Self {
        Self::Rule(Box::new(rule))
    }
}

/// What a rule sees of its node.
pub struct Cx<'a> {
    node: &'a Node,
    id: u32,
    needs: u64,
    last: bool,
}

impl<'a> Cx<'a> {
    pub(crate) fn new(node: &'a Node, id: u32, needs: u64) -> Self {
        Self { node, id, needs, last: false }
    }

    /// Whether what the node saved is released after this run, so that the rule may take it.
    #[inline]
    pub(crate) fn is_last(&self) -> bool {
        self.last
    }

    /// Whether the gradient of input `i` is needed.
    #[inline]
    pub fn needs(&self, i: usize) -> bool {
        i >= 64 || self.needs >> i & 1 == 1
    }

    /// The node itself.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// A handle of the node.
    pub fn handle(&self) -> NodeRef {
        crate::graph::arena::handle(self.id, self.node)
    }

    /// The saved tensor at a position in the list the operation saved; connected to the graph if
    /// the pass itself is recorded.
    ///
    /// # Errors
    /// If it was released, or overwritten since: the message names both lines.
    pub fn saved(&self, i: usize) -> Result<Tensor> {
        unpack(self.node, i, || self.handle())
    }

    /// The data of [`Self::saved`], for passes that are not recorded.
    #[inline]
    pub(crate) fn saved_core(&self, i: usize) -> Result<Arc<Core>> {
        let detached = crate::graph::node::ANY_DETACHED.load(Ordering::Relaxed);
        if i < 2 && !detached && self.node.more_if().is_none() {
            let found = self.node.with_saved(|saved| {
                saved[i].core.as_ref().map(|core| (core.clone(), saved[i].version))
            });
            if let Some((core, version)) = found {
                if core.version() == version {
                    return Ok(core);
                }
            }
        }
        Ok(self.saved(i)?.shared_core())
    }
}

/// A saved tensor of a node; see [`Cx::saved`].
pub(crate) fn unpack(node: &Node, i: usize, handle: impl FnOnce() -> NodeRef) -> Result<Tensor> {
    use crate::graph::node::RELEASED;
    if node.has(RELEASED) {
        return Err(node.released_error());
    }
    let packed = node.more_if().and_then(|more| more.packed.lock().get(i).cloned().flatten());
    let (core, version, role) = if i < 2 {
        node.with_saved(|saved| snapshot(&saved[i]))
    } else {
        match node.more_if().and_then(|more| more.saved.lock().get(i - 2).map(snapshot)) {
            Some(found) => found,
            None => return Err(node.released_error()),
        }
    };
    let connect = |core: Arc<Core>| {
        let edge = match role {
            Role::Input(at) => match node.edges().get(at as usize) {
                Some(edge) if edge.node.is_some() => edge.clone(),
                _ => crate::graph::late::edge_of(&core),
            },
            Role::Output(out) => match part_of_base(node, &core)? {
                Some(edge) => edge,
                None => Edge { node: Some(handle()), out: u32::from(out) },
            },
            Role::Private => Edge::default(),
        };
        Ok(Tensor::at(core, edge))
    };
    if let Some(packed) = packed {
        let unpacked = packed.unpack()?;
        return if is_grad_enabled() { connect(unpacked.shared_core()) } else { Ok(unpacked) };
    }
    let Some(core) = core else { return Err(node.released_error()) };
    if let Role::Input(at) = role {
        let maker = node.edges().get(at as usize).and_then(|edge| edge.node.as_ref());
        if maker.is_some_and(|maker| maker.has(crate::graph::node::DETACHED)) {
            bail!(
                runtime,
                "Trying to use a saved tensor that has been detached in-place, i.e. with \
                 .detach_(). This is not supported, please use out-of-place `.detach()` instead\n  \
                 saved by {} at {}",
                node.name(),
                node.site()
            );
        }
    }
    if core.version() != version {
        return Err(overwritten(node, &core, version, role));
    }
    if is_grad_enabled() { connect(core) } else { Ok(Tensor::from_core(core)) }
}

/// The place of a result that was written into a part of a base.
fn part_of_base(node: &Node, core: &Arc<Core>) -> Result<Option<Edge>> {
    let Some(part) = node.more_if().and_then(|more| more.part.get()) else { return Ok(None) };
    let Some(base) = part.base.upgrade() else { return Ok(None) };
    let view = Tensor::from_core(core.clone());
    let edges = vec![Edge { node: Some(base), out: 0 }];
    let node = crate::graph::attach_edges((part.cut)(), edges, &view)?;
    Ok(Some(Edge { node: Some(node), out: 0 }))
}

fn snapshot(saved: &Saved) -> (Option<Arc<Core>>, u32, Role) {
    (saved.core.clone(), saved.version, saved.role)
}

#[cold]
fn overwritten(node: &Node, core: &Core, version: u32, role: Role) -> crate::error::Error {
    let what = match role {
        Role::Output(i) => format!(", which is output {i} of {},", node.short_name()),
        Role::Input(i) => match node.edges().get(i as usize) {
            Some(Edge { node: Some(maker), out }) => {
                format!(", which is output {out} of {},", maker.short_name())
            }
            _ => String::new(),
        },
        Role::Private => String::new(),
    };
    let writer = crate::graph::Site(core.last_writer());
    crate::error::Error::runtime(format!(
        "one of the variables needed for gradient computation has been modified by an inplace \
         operation: [torch.{}Tensor {}]{what} is at version {}; expected version {version} \
         instead. {}\n  saved by {} at {}\n  overwritten at {writer}",
        core.dtype().scalar_name(),
        crate::shape::shape_text(core.shape()),
        core.version(),
        crate::graph::hint(),
        node.name(),
        node.site(),
    ))
}

/// Refuses if anything the node saved was overwritten. Torch looks at all of it, whatever is needed of it now.
fn check_saved(node: &Node) -> Result<()> {
    let intact = |saved: &Saved| match &saved.core {
        Some(core) if core.version() != saved.version => {
            Err(overwritten(node, core, saved.version, saved.role))
        }
        _ => Ok(()),
    };
    node.with_saved(|saved| saved.iter().try_for_each(intact))?;
    match node.more_if() {
        Some(more) => more.saved.lock().iter().try_for_each(intact),
        None => Ok(()),
    }
}

/// Runs the rule of a node; `last`: what it saved is not needed again.
pub(crate) fn vjp(
    node: &Node,
    id: u32,
    grads: GradList,
    needs: u64,
    last: bool,
) -> Result<GradList> {
    ready(node, needs)?;
    let cx = Cx { last, ..Cx::new(node, id, needs) };
    match &node.op {
        Op::Accumulate(_) => bail!(runtime, "an accumulator has no inputs"),
        Op::Unary(kind, p) => slope::unary_vjp(*kind, p, &cx, first(grads)),
        Op::Binary(kind, p) => slope::binary_vjp(*kind, *p, &cx, first(grads)),
        Op::Scalar(kind, reversed, s) => slope::scalar_vjp(*kind, *reversed, *s, &cx, first(grads)),
        Op::Rule(rule) => rule.vjp(&cx, &grads),
    }
}

/// Refuses a node that has run its last time, or whose saved values were written since, though no input
/// that needs them is asked for.
pub(crate) fn ready(node: &Node, needs: u64) -> Result<()> {
    if node.has(crate::graph::node::RELEASED) {
        return Err(node.released_error());
    }
    let mut edges = node.edges().iter().enumerate().take(64);
    if edges.any(|(i, edge)| edge.node.is_some() && needs >> i & 1 == 0) {
        check_saved(node)?;
    }
    Ok(())
}

/// Runs the rule of a node outside of a pass, for all inputs that need a gradient; an accumulator
/// accumulates.
///
/// # Errors
/// As a pass.
pub fn run_alone(handle: &NodeRef, grads: GradList) -> Result<GradList> {
    if handle.is_leaf() {
        crate::graph::accumulate_leaf(handle, first(grads))?;
        return Ok(GradList::new());
    }
    let mut needs = 0;
    for (i, edge) in handle.edges().iter().enumerate().take(64) {
        needs |= u64::from(edge.node.is_some()) << i;
    }
    let mut out = vjp(handle, handle.id(), grads, needs, false)?;
    out.resize(handle.num_inputs(), None);
    for (i, edge) in handle.edges().iter().enumerate() {
        if let (Some(next), Some(grad)) = (&edge.node, out[i].take()) {
            out[i] = Some(crate::graph::fit(grad, next.out_meta(edge.out), handle, i)?);
        }
    }
    Ok(out)
}

fn first(grads: GradList) -> Option<Tensor> {
    grads.into_iter().next().flatten()
}

/// A note for shape errors: which lines made the operands that have a graph.
#[cold]
pub(crate) fn origins(inputs: &[&Tensor]) -> String {
    let mut note = String::new();
    for (i, input) in inputs.iter().enumerate() {
        if let Some((node, _)) = input.grad_fn() {
            let _ = write!(
                note,
                "\n  operand {i} of shape {} was made by {} at {}",
                crate::shape::shape_text(input.core().shape()),
                node.name(),
                node.site()
            );
        }
    }
    note
}

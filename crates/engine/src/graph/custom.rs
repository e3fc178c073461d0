//! Nodes of functions that are not the engine's: the embedder's own rules.

use super::arena::{NodeRef, next_seq};
use super::node::{Edge, More, Node, OutMeta, SAVES, Saved};
use super::site::Site;
use crate::dtype::DType;
use crate::error::{Result, ensure};
use crate::ops::{Op, Rule};
use crate::tensor::{Creation, Tensor};

/// An output of a custom function.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    /// Its dtype.
    pub dtype: DType,
    /// Its shape.
    pub shape: &'a [usize],
    /// The dtype its gradient is cast to; `None` to leave it as it comes.
    pub grad: Option<DType>,
}

/// Records a custom function: a node with the edges of its inputs and an output for each of `outs`
/// (`None` for what is not a tensor).
///
/// # Errors
/// If memory is short.
#[track_caller]
pub fn record_custom(
    rule: Box<dyn Rule>,
    edges: Vec<Edge>,
    outs: &[Option<Output<'_>>],
) -> Result<NodeRef> {
    super::creation::check()?;
    let floor =
        edges.iter().filter_map(|edge| edge.node.as_ref()).map(|node| node.sequence_nr()).max();
    let meta = |out: &Option<Output<'_>>| match out {
        Some(Output { grad: Some(dtype), shape, .. }) => OutMeta::new(*dtype, shape),
        Some(Output { dtype, shape, grad: None }) => OutMeta::any(*dtype, shape),
        None => OutMeta::new(DType::F32, &[0]),
    };
    let first = outs.first().map_or_else(|| OutMeta::new(DType::F32, &[0]), meta);
    let outs = if outs.len() > 1 { outs.iter().map(meta).collect() } else { Box::default() };
    let more = Box::new(More { edges: edges.into_boxed_slice(), outs, ..More::default() });
    let node = NodeRef::new(Node::new(
        Op::Rule(rule),
        next_seq(floor.unwrap_or(0)),
        Site::here(),
        u8::MAX,
        [Edge::default(), Edge::default()],
        first,
        [Saved::EMPTY, Saved::EMPTY],
        SAVES,
        Some(more),
    ))?;
    super::diagnose::witness(&node);
    super::creation::note(&node);
    Ok(node)
}

impl Tensor {
    /// Makes the tensor output `out` of a custom function's node.
    pub fn set_custom_edge(&self, node: &NodeRef, out: u32) {
        let edge = Edge { node: Some(node.clone()), out };
        if self.is_view() {
            self.set_view_edge(edge);
            self.set_creation(Creation::Custom);
        } else {
            self.set_edge(edge);
        }
    }

    /// Makes the tensor, an input that a custom function overwrote, output `out` of its node.
    ///
    /// # Errors
    /// For leaves that require a gradient, and views that must not be overwritten.
    #[track_caller]
    pub fn rebase_custom(&self, node: &NodeRef, out: u32) -> Result<()> {
        ensure!(
            !(self.is_leaf() && self.requires_grad()),
            runtime,
            "a leaf Variable that requires grad has been used in an in-place operation."
        );
        let _mode = super::GradMode::enable_grad();
        self.check_inplace(true)?;
        self.rebase(Edge { node: Some(node.clone()), out })
    }

    /// A view of the whole tensor that a custom function returned unchanged: it may not be written
    /// in place, and has no history yet.
    pub fn custom_alias(&self) -> Self {
        let _mode = super::GradMode::no_grad();
        self.make_view(self.shared_core(), Creation::Custom)
    }

    /// Cuts a fresh result from its history.
    pub fn forget_history(&self) {
        self.set_edge(Edge::default());
        self.clear_requires_grad();
    }
}

/// A rule that always fails: for gradients that are not differentiable again.
struct Delayed(String);

impl Rule for Delayed {
    fn name(&self) -> &'static str {
        "Error"
    }
    fn vjp(&self, _: &crate::ops::Cx<'_>, _: &[Option<Tensor>]) -> Result<super::hooks::GradList> {
        Err(crate::Error::runtime(self.0.clone()))
    }
}

/// Tensors with the same data that require a gradient, and raise an error when one is asked for.
///
/// # Errors
/// If memory is short.
#[track_caller]
pub fn delayed_error(message: &str, tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    let outs: Vec<Tensor> = tensors.iter().map(Tensor::detach).collect();
    let shapes: Vec<_> = outs.iter().map(|out| (out.dtype(), out.shape())).collect();
    let metas: Vec<_> = shapes
        .iter()
        .map(|(dtype, shape)| Some(Output { dtype: *dtype, shape, grad: Some(*dtype) }))
        .collect();
    let edges = tensors.iter().map(Tensor::try_gradient_edge).collect::<Result<Vec<Edge>>>()?;
    let node = record_custom(Box::new(Delayed(message.to_owned())), edges, &metas)?;
    for (i, out) in outs.iter().enumerate().filter(|(_, out)| out.dtype().is_float()) {
        out.set_edge(Edge { node: Some(node.clone()), out: i as u32 });
    }
    super::tell()?;
    Ok(outs)
}

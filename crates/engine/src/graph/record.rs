//! Recording: from an operation that has run to a node.

use std::sync::Arc;

use super::arena::{NodeRef, next_seq};
use super::node::{Edge, More, Node, OutMeta, Role, SAVES, Saved};
use super::site::Site;
use crate::error::Result;
use crate::ops::Op;
use crate::storage::Core;
use crate::tensor::Tensor;

/// What an operation wants to see again in its backward.
pub(crate) enum Save<'a> {
    /// An input, by position.
    Input(usize),
    /// An output, by position.
    Output(usize),
    /// Something it made itself.
    Private(&'a Arc<Core>),
}

/// Whether an operation on these inputs is to be recorded.
#[inline]
pub(crate) fn recording(inputs: &[&Tensor]) -> bool {
    super::is_grad_enabled()
        && inputs.iter().any(|input| input.requires_grad())
        // Tensors of inference mode record among themselves as little as there.
        && !inputs.iter().all(|input| input.is_inference())
}

/// [`recording`] for one input.
#[inline]
pub(crate) fn recording1(input: &Tensor) -> bool {
    super::is_grad_enabled() && input.requires_grad() && !input.is_inference()
}

/// Records an operation: makes a node with edges to the inputs' nodes and hangs the outputs on it.
#[track_caller]
#[inline]
pub(crate) fn attach(
    op: Op,
    inputs: &[&Tensor],
    saves: &[Save<'_>],
    outputs: &[&Tensor],
) -> Result<()> {
    let node = attach_node(op, inputs, saves, outputs)?;
    if outputs.len() == 1 {
        outputs[0].set_edge(Edge { node: Some(node), out: 0 });
    } else {
        for (i, output) in outputs.iter().enumerate() {
            if output.dtype().is_float() {
                output.set_edge(Edge { node: Some(node.clone()), out: i as u32 });
            }
        }
    }
    super::tell()
}

/// The node of [`attach`], without hanging the outputs on it.
#[track_caller]
pub(crate) fn attach_node(
    op: Op,
    inputs: &[&Tensor],
    saves: &[Save<'_>],
    outputs: &[&Tensor],
) -> Result<NodeRef> {
    super::creation::check()?;
    let mut floor = 0;
    let mut edges = [Edge::default(), Edge::default()];
    let mut many = Vec::new();
    for (i, input) in inputs.iter().enumerate() {
        let edge = input.try_gradient_edge()?;
        if let Some(node) = &edge.node {
            floor = floor.max(node.sequence_nr());
        }
        if inputs.len() <= 2 {
            edges[i] = edge;
        } else {
            many.push(edge);
        }
    }
    let mut saved = [Saved::EMPTY; 2];
    let mut rest = Vec::new();
    for (i, save) in saves.iter().enumerate() {
        let (core, role) = match save {
            Save::Input(i) => {
                inputs[*i].check_savable()?;
                let all = if inputs.len() <= 2 { &edges[..] } else { &many[..] };
                if all[*i].node.is_none() {
                    inputs[*i].note_kept();
                }
                (inputs[*i].shared_core(), Role::Input(*i as u16))
            }
            Save::Output(i) => (outputs[*i].shared_core(), Role::Output(*i as u16)),
            Save::Private(core) => ((*core).clone(), Role::Private),
        };
        let one = Saved { version: core.version(), core: Some(core), role };
        if i < 2 {
            saved[i] = one;
        } else {
            rest.push(one);
        }
    }
    let mut packed = Vec::new();
    let extras = super::mode::extras();
    if extras != 0 {
        if extras & super::mode::PACKING != 0 && !saves.is_empty() {
            packed = super::saved::pack_all(
                saved.iter_mut().take(saves.len()).chain(&mut rest),
                inputs,
            )?;
        }
        if extras & super::mode::WATCHING != 0 {
            super::diagnose::watch_forward(op.name(), inputs, outputs);
        }
    }
    let first = outputs[0].core();
    let out = OutMeta::new(first.dtype(), first.shape());
    let n_edges = if inputs.len() <= 2 { inputs.len() as u8 } else { u8::MAX };
    let more = if many.is_empty() && rest.is_empty() && outputs.len() == 1 && packed.is_empty() {
        None
    } else {
        let outs = if outputs.len() > 1 {
            outputs.iter().map(|o| OutMeta::new(o.dtype(), o.core().shape())).collect()
        } else {
            Box::default()
        };
        Some(Box::new(More {
            edges: many.into_boxed_slice(),
            outs,
            saved: parking_lot::Mutex::new(rest),
            packed: parking_lot::Mutex::new(packed),
            ..More::default()
        }))
    };
    let flags = if saves.is_empty() { 0 } else { SAVES };
    let node = NodeRef::new(Node::new(
        op,
        next_seq(floor),
        Site::here(),
        n_edges,
        edges,
        out,
        saved,
        flags,
        more,
    ))?;
    super::diagnose::witness(&node);
    super::creation::note(&node);
    Ok(node)
}

/// [`attach_node`] for the usual case, two inputs, one output and nothing extra to do: the node, and the
/// tensor it made.
#[track_caller]
#[inline]
pub(crate) fn attach_pair(
    op: Op,
    inputs: [&Tensor; 2],
    saves: [Option<Role>; 2],
    output: Arc<Core>,
) -> Result<Tensor> {
    let edges = [inputs[0].try_gradient_edge()?, inputs[1].try_gradient_edge()?];
    let seq = |edge: &Edge| edge.node.as_ref().map_or(0, |node| node.sequence_nr());
    let floor = seq(&edges[0]).max(seq(&edges[1]));
    let mut saved = [Saved::EMPTY; 2];
    for (place, role) in saved.iter_mut().zip(saves) {
        let Some(role) = role else { break };
        let core = match role {
            Role::Input(i) => {
                let input = inputs[usize::from(i != 0)];
                input.check_savable()?;
                if edges[usize::from(i != 0)].node.is_none() {
                    input.note_kept();
                }
                input.shared_core()
            }
            _ => output.clone(),
        };
        *place = Saved { version: core.version(), core: Some(core), role };
    }
    let flags = if saves[0].is_some() { SAVES } else { 0 };
    let out = OutMeta::new(output.dtype(), output.shape());
    let node = NodeRef::new(Node::new(
        op,
        next_seq(floor),
        Site::here(),
        2,
        edges,
        out,
        saved,
        flags,
        None,
    ))?;
    super::diagnose::witness(&node);
    Ok(Tensor::with_edge(output, Edge { node: Some(node), out: 0 }))
}

/// A node with edges given, whose only output has the shape and dtype of `output`.
#[track_caller]
pub(crate) fn attach_edges(op: Op, edges: Vec<Edge>, output: &Tensor) -> Result<NodeRef> {
    let floor =
        edges.iter().filter_map(|edge| edge.node.as_ref()).map(|node| node.sequence_nr()).max();
    let core = output.core();
    let more = Some(Box::new(More { edges: edges.into_boxed_slice(), ..More::default() }));
    super::creation::check()?;
    let node = NodeRef::new(Node::new(
        op,
        next_seq(floor.unwrap_or(0)),
        Site::here(),
        u8::MAX,
        [Edge::default(), Edge::default()],
        OutMeta::new(core.dtype(), core.shape()),
        [Saved::EMPTY, Saved::EMPTY],
        0,
        more,
    ))?;
    super::creation::note(&node);
    Ok(node)
}

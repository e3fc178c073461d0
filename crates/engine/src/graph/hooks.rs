//! Hooks: foreign code that sees or replaces gradients. The graph calls them, holding no lock.

use std::any::Any;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::arena::NodeRef;
use crate::error::Result;
use crate::tensor::Tensor;

/// Gradients of a node's outputs or inputs, one place each.
pub type GradList = smallvec::SmallVec<[Option<Tensor>; 2]>;

/// Sees the gradient of one tensor and may replace it.
pub trait TensorHook: Send + Sync {
    /// Gets the gradient, or `None` where none arrived; `None` as result keeps it.
    fn call(&self, grad: Option<&Tensor>) -> Result<Option<Tensor>>;
    /// For the embedder to look inside.
    fn as_any(&self) -> &dyn Any;
}

/// Runs before (`outputs` empty) or after a node.
pub trait NodeHook: Send + Sync {
    /// As pre-hook `grads` are the gradients of the node's outputs, and the result replaces them;
    /// as post-hook `grads` are those of its inputs, `outputs` those of its outputs.
    fn call(&self, grads: &GradList, outputs: Option<&GradList>) -> Result<Option<GradList>>;
    /// For the embedder to look inside.
    fn as_any(&self) -> &dyn Any;
}

/// Names a registered hook, for its removal.
pub type HookId = u64;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A fresh hook id.
pub(crate) fn next_id() -> HookId {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The hooks of one node, in order of registration.
#[derive(Default)]
pub(crate) struct Hooks {
    /// On the gradient of one output, before all else.
    pub(crate) tensor: Vec<(HookId, u32, Arc<dyn TensorHook>)>,
    /// Tensors that keep their gradient: the output and the tensor that wants it.
    pub(crate) retains: Vec<(u32, crate::tensor::WeakTensor)>,
    pub(crate) pre: Vec<(HookId, Arc<dyn NodeHook>)>,
    pub(crate) post: Vec<(HookId, Arc<dyn NodeHook>)>,
}

impl Hooks {
    /// Removes a hook wherever it is; returns it, to be dropped without the lock.
    pub(crate) fn remove(&mut self, id: HookId) -> Option<Box<dyn Any>> {
        if let Some(at) = self.tensor.iter().position(|hook| hook.0 == id) {
            return Some(Box::new(self.tensor.remove(at)));
        }
        for list in [&mut self.pre, &mut self.post] {
            if let Some(at) = list.iter().position(|hook| hook.0 == id) {
                return Some(Box::new(list.remove(at)));
            }
        }
        None
    }
}

/// Runs the hooks of one kind on a node; the list is copied first, so no lock is held meanwhile.
impl super::Node {
    pub(super) fn has_foreign_hooks(&self) -> bool {
        match &self.op {
            crate::ops::Op::Accumulate(leaf) => {
                leaf.has_hooks() || self.more_if().is_some_and(|more| more.hooks.lock().any())
            }
            _ => self.more_if().is_some_and(|more| {
                more.hooks.lock().any() || more.packed.lock().iter().any(Option::is_some)
            }),
        }
    }

    /// Shows all that the embedder hung on this node: hooks, what hooks packed, its own rule and
    /// its note. What is locked by another thread is left out.
    pub fn foreign_parts(&self, f: &mut dyn FnMut(&dyn Any)) {
        if let Some(rule) = self.foreign_rule() {
            f(rule);
        }
        let Some(more) = self.more_if() else { return };
        if let Some(note) = more.note.get() {
            f(&**note);
        }
        if let Some(hooks) = more.hooks.try_lock() {
            hooks.tensor.iter().for_each(|hook| f(hook.2.as_any()));
            hooks.pre.iter().chain(&hooks.post).for_each(|hook| f(hook.1.as_any()));
        }
        if let Some(packed) = more.packed.try_lock() {
            packed.iter().flatten().for_each(|packed| f(packed.as_any()));
        }
    }

    pub(super) fn has_post_hooks(&self) -> bool {
        self.more_if().is_some_and(|more| !more.hooks.lock().post.is_empty())
    }

    /// Hooks on the gradients of the outputs, then the wishes to keep them.
    pub(super) fn run_tensor_hooks(&self, grads: &mut GradList) -> Result<()> {
        let Some(more) = self.more_if() else { return Ok(()) };
        let (tensor, retains) = {
            let hooks = more.hooks.lock();
            if hooks.tensor.is_empty() && hooks.retains.is_empty() {
                return Ok(());
            }
            let tensor: Vec<_> = hooks.tensor.iter().map(|hook| (hook.1, hook.2.clone())).collect();
            (tensor, hooks.retains.clone())
        };
        for (out, hook) in tensor {
            let place = &mut grads[out as usize];
            if let Some(new) = hook.call(place.as_ref())? {
                *place = Some(new);
            }
        }
        for (out, weak) in retains {
            if let (Some(grad), Some(tensor)) = (&grads[out as usize], weak.upgrade()) {
                tensor.retain(grad)?;
            }
        }
        Ok(())
    }

    pub(super) fn run_leaf_hooks(&self, grads: &mut GradList) -> Result<()> {
        let crate::ops::Op::Accumulate(leaf) = &self.op else { return Ok(()) };
        for hook in leaf.leaf_hooks() {
            if let Some(new) = hook.call(grads.first().and_then(Option::as_ref))? {
                grads[0] = Some(new);
            }
        }
        Ok(())
    }

    pub(super) fn run_pre_hooks(&self, grads: &mut GradList) -> Result<()> {
        let Some(more) = self.more_if() else { return Ok(()) };
        let pre: Vec<_> = more.hooks.lock().pre.clone();
        for (id, hook) in pre {
            // One that another hook removed meanwhile does not run.
            if !more.hooks.lock().pre.iter().any(|hook| hook.0 == id) {
                continue;
            }
            if let Some(new) = hook.call(grads, None)? {
                *grads = new;
            }
        }
        Ok(())
    }

    pub(super) fn run_post_hooks(&self, grads: &mut GradList, outputs: &GradList) -> Result<()> {
        let Some(more) = self.more_if() else { return Ok(()) };
        let post: Vec<_> = more.hooks.lock().post.iter().map(|hook| hook.1.clone()).collect();
        grads.resize(self.num_inputs(), None);
        for hook in post {
            if let Some(new) = hook.call(grads, Some(outputs))? {
                *grads = new;
            }
        }
        Ok(())
    }

    /// Registers a hook that runs before the node.
    pub fn register_prehook(&self, hook: Arc<dyn NodeHook>) -> HookId {
        let id = next_id();
        self.more().hooks.lock().pre.push((id, hook));
        id
    }

    /// Registers a hook that runs after the node.
    pub fn register_hook(&self, hook: Arc<dyn NodeHook>) -> HookId {
        let id = next_id();
        self.more().hooks.lock().post.push((id, hook));
        id
    }

    /// Removes a hook of this node.
    pub fn remove_hook(&self, id: HookId) {
        if let Some(more) = self.more_if() {
            let removed = more.hooks.lock().remove(id);
            drop(removed);
        }
    }

    /// Drops all hooks of the node (for the embedder's garbage collector).
    pub fn clear_hooks(&self) {
        if let Some(more) = self.more_if() {
            let dropped = std::mem::take(&mut *more.hooks.lock());
            drop(dropped);
        }
    }

    /// Where the embedder may note its own handle of this node (without ownership).
    pub fn foreign(&self) -> &std::sync::atomic::AtomicPtr<()> {
        &self.more().foreign
    }
}

/// Shows the nodes that `handles` handles of a node keep alive, for the embedder's garbage collector:
/// found in descending order, each after all that lead to it.
pub fn visit_owned(root: &NodeRef, handles: u32, f: &mut dyn FnMut(&super::Node)) {
    let mut known = HashMap::from([(root.id(), handles)]);
    let mut next = BinaryHeap::from([(root.sequence_nr(), root.id())]);
    let mut nodes: HashMap<u32, &NodeRef> = HashMap::from([(root.id(), root)]);
    while let Some((_, id)) = next.pop() {
        let Some(node) = nodes.remove(&id) else { continue };
        if known.get(&id) != Some(&node.handles()) {
            continue;
        }
        f(node);
        for edge in node.edges() {
            let Some(to) = &edge.node else { continue };
            let count = known.entry(to.id()).or_insert(0);
            *count += 1;
            if *count == 1 {
                next.push((to.sequence_nr(), to.id()));
                nodes.insert(to.id(), to);
            }
        }
    }
}

impl Hooks {
    fn any(&self) -> bool {
        !(self.tensor.is_empty()
            && self.retains.is_empty()
            && self.pre.is_empty()
            && self.post.is_empty())
    }
}

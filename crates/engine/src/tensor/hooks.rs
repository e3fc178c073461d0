//! Hooks of a tensor, on its gradient and on what a leaf has collected.

use super::*;

impl Tensor {
    /// Registers a hook on the tensor's gradient.
    ///
    /// # Errors
    /// If the tensor does not require a gradient, or as [`Self::try_grad_fn`].
    pub fn register_hook(&self, hook: Arc<dyn TensorHook>) -> Result<HookId> {
        ensure!(
            self.requires_grad(),
            runtime,
            "cannot register a hook on a tensor that doesn't require gradient"
        );
        let id = crate::graph::hooks::next_id();
        match self.try_grad_fn()? {
            Some((node, out)) => node.more().hooks.lock().tensor.push((id, out, hook)),
            None => self.meta(|meta| meta.hooks.push((id, hook))),
        }
        Ok(id)
    }

    /// Registers a hook that runs after a leaf's gradient was accumulated; it gets the tensor.
    ///
    /// # Errors
    /// If the tensor does not require a gradient or is not a leaf.
    pub fn register_post_accumulate_grad_hook(&self, hook: Arc<dyn TensorHook>) -> Result<HookId> {
        ensure!(
            self.requires_grad(),
            runtime,
            "cannot register a hook on a tensor that doesn't require gradient"
        );
        ensure!(
            self.is_leaf(),
            runtime,
            "post accumulate grad hooks cannot be registered on non-leaf tensors"
        );
        let id = crate::graph::hooks::next_id();
        self.meta(|meta| meta.post_accumulate.push((id, hook)));
        Ok(id)
    }

    /// Removes a hook registered on this tensor.
    pub fn remove_hook(&self, id: HookId) {
        let from_leaf = self.meta_if(|meta| {
            for list in [&mut meta.hooks, &mut meta.post_accumulate] {
                if let Some(at) = list.iter().position(|hook| hook.0 == id) {
                    return Some(list.remove(at));
                }
            }
            None
        });
        if from_leaf.flatten().is_none() {
            let node = self.0.auto.lock().grad_fn.node.clone();
            if let Some(more) = node.as_deref().and_then(Node::more_if) {
                let removed = more.hooks.lock().remove(id);
                drop(removed);
            }
        }
    }

    /// The hooks on the gradient, with their ids.
    pub fn gradient_hooks(&self) -> Vec<(HookId, Arc<dyn TensorHook>)> {
        let Some((node, out)) = self.present_fn() else {
            return self.meta_if(|meta| meta.hooks.clone()).unwrap_or_default();
        };
        node.more_if().map_or_else(Vec::new, |more| {
            let hooks = more.hooks.lock();
            let mine = hooks.tensor.iter().filter(|hook| hook.1 == out);
            mine.map(|hook| (hook.0, hook.2.clone())).collect()
        })
    }

    /// The hooks that run after accumulation, with their ids.
    pub fn accumulation_hooks(&self) -> Vec<(HookId, Arc<dyn TensorHook>)> {
        self.meta_if(|meta| meta.post_accumulate.clone()).unwrap_or_default()
    }

    /// The leaf's hooks on its gradient.
    pub fn leaf_hooks(&self) -> Vec<Arc<dyn TensorHook>> {
        self.meta_if(|meta| meta.hooks.iter().map(|hook| hook.1.clone()).collect())
            .unwrap_or_default()
    }

    /// The leaf's hooks that run after accumulation.
    pub fn post_accumulate_hooks(&self) -> Vec<Arc<dyn TensorHook>> {
        self.meta_if(|meta| meta.post_accumulate.iter().map(|hook| hook.1.clone()).collect())
            .unwrap_or_default()
    }

    /// Drops all hooks of a leaf (for the embedder's garbage collector).
    pub fn clear_hooks(&self) {
        let dropped = self.meta_if(|meta| {
            (std::mem::take(&mut meta.hooks), std::mem::take(&mut meta.post_accumulate))
        });
        drop(dropped);
    }

    /// Cuts the tensor from its history if this is its only handle, for the embedder's garbage
    /// collector.
    pub fn clear_history_if_alone(&self) {
        if self.handles() == 1 {
            self.set_edge(Edge::default());
        }
    }
}

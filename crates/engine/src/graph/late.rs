//! Leaves that became such after a node had saved them as constants. A saved tensor is the user's own
//! tensor to torch, so a pass that is recorded reaches a leaf that was made of it since.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;

use super::Edge;
use crate::storage::Core;
use crate::tensor::{Tensor, WeakTensor};

/// Whether there was ever such a leaf: until then nobody need look.
static ANY: AtomicBool = AtomicBool::new(false);

/// The leaves, by the address of what they hold.
static LEAVES: LazyLock<Mutex<HashMap<usize, WeakTensor>>> = LazyLock::new(Mutex::default);

/// How many entries call for a look at which of them are alive.
const CROWDED: usize = 64;

fn place(core: &Arc<Core>) -> usize {
    Arc::as_ptr(core) as usize
}

/// Notes a tensor that some node saved and that collects a gradient from now on.
#[cold]
pub(crate) fn note(leaf: &Tensor) {
    let mut leaves = LEAVES.lock();
    if leaves.len() >= CROWDED && leaves.len().is_power_of_two() {
        leaves.retain(|_, weak| weak.is_alive());
    }
    leaves.insert(place(&leaf.core()), leaf.downgrade());
    ANY.store(true, Ordering::Release);
}

/// Where the gradient of a saved constant goes, if it is a leaf now.
pub(crate) fn edge_of(core: &Arc<Core>) -> Edge {
    if !ANY.load(Ordering::Acquire) {
        return Edge::default();
    }
    let weak = LEAVES.lock().get(&place(core)).cloned();
    match weak.and_then(|weak| weak.upgrade()) {
        Some(leaf) if leaf.is_leaf() && Arc::ptr_eq(&leaf.core(), core) => leaf.gradient_edge(),
        _ => Edge::default(),
    }
}

//! The graph: recording, planning and running. Knows no operation by name.
//!
//! Invariants: nothing recurses over the graph (recording, planning, running, dropping); no lock is
//! held while a rule, a hook or a destructor runs; sequence numbers fall along every edge; gradients
//! have the shape and dtype of the value before they reach its node; both executors add the
//! contributions to a gradient in descending order of the nodes they come from, so that their
//! results are equal to the bit.

mod accumulate;
pub(crate) mod arena;
mod backward;
pub(crate) mod creation;
mod custom;
mod diagnose;
pub mod hooks;
pub(crate) mod late;
mod mode;
pub(crate) mod node;
mod parallel;
mod plan;
mod record;
mod rows;
mod saved;
mod serial;
pub mod site;

pub(crate) use accumulate::{accumulate_leaf, fit};
pub use arena::{NodeRef, SLOT_BYTES, WeakNode, live_nodes};
pub use backward::{Backward, Root, Running, Target, running};
pub use creation::{CreationHook, Hold, pop_creation_hook, push_creation_hook, tell};
pub use custom::{Output, delayed_error, record_custom};
pub(crate) use diagnose::hint;
pub use diagnose::{
    Failure, LineUsage, NonFinite, Range, anomaly, found_nonfinite, leads_elsewhere, memory,
    set_anomaly, take_failure, watch_nonfinite,
};
pub use hooks::visit_owned;
pub use mode::{
    GradMode, ThreadModes, current_task, current_task_is_selective, grad_wanted, is_forward,
    is_grad_enabled, is_inference, is_layout_enforced, is_multithreading_enabled,
    set_finds_tangents, set_forward, set_grad_enabled, set_inference, set_layout_enforced,
    set_multithreading_enabled,
};
pub(crate) use mode::{Modes, finds_tangents};
pub use node::{Edge, Node, Packed};
pub(crate) use record::{
    Save, attach, attach_edges, attach_node, attach_pair, recording, recording1,
};
pub use rows::Rows;
pub use saved::{
    BeforeWrite, SavedHooks, SavedRole, SavedTensor, disable_saved_hooks, pop_saved_hooks,
    push_saved_hooks, saved_hooks_depth, watch_writes,
};
pub(crate) use saved::{Overwriting, before_write};
pub use site::Site;

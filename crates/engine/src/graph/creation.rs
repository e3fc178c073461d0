//! Hooks that are told of each node once it is made and all that belongs to it is in place.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::arena::NodeRef;
use crate::error::{Result, ensure};

/// Is told of nodes as they are made.
pub trait CreationHook {
    /// Called with each node, on the thread that made it.
    fn call(&self, node: &NodeRef) -> Result<()>;
}

thread_local! {
    /// The active hooks, in the order they are called.
    static HOOKS: RefCell<Vec<Rc<dyn CreationHook>>> = const { RefCell::new(Vec::new()) };
    /// Made, not yet told of: their tensors do not know them yet.
    static PENDING: RefCell<Vec<NodeRef>> = const { RefCell::new(Vec::new()) };
    /// How many operations are under way that tell of their nodes when they end.
    static HELD: Cell<u32> = const { Cell::new(0) };
    /// Whether a hook is running.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Has nodes made on this thread told to a hook, after those that are active.
pub fn push_creation_hook(hook: Rc<dyn CreationHook>) {
    HOOKS.with_borrow_mut(|hooks| hooks.push(hook));
    super::mode::set_extra(super::mode::CREATION, true);
}

/// Removes the last hook and returns it, to be dropped where foreign code may run.
pub fn pop_creation_hook() -> Option<Rc<dyn CreationHook>> {
    let (top, left) = HOOKS.with_borrow_mut(|hooks| (hooks.pop(), hooks.len()));
    super::mode::set_extra(super::mode::CREATION, left > 0);
    if left == 0 {
        drop(PENDING.take());
    }
    top
}

#[inline]
fn active() -> bool {
    super::mode::extras() & super::mode::CREATION != 0
}

/// Refuses to make a node while a hook runs.
#[inline]
pub(super) fn check() -> Result<()> {
    if active() {
        ensure!(
            !INSIDE.get(),
            runtime,
            "an operation that would be recorded was called from inside a node creation hook: a \
             hook may look at its node and register hooks on it; compute under no_grad()"
        );
    }
    Ok(())
}

/// Notes a node that was made.
#[inline]
pub(crate) fn note(node: &NodeRef) {
    if active() && !INSIDE.get() {
        PENDING.with_borrow_mut(|pending| pending.push(node.clone()));
    }
}

/// Tells the hooks of what was noted, unless an operation that encloses this one will.
///
/// # Errors
/// Those of the hooks.
#[inline]
pub fn tell() -> Result<()> {
    if active() && HELD.get() == 0 && !INSIDE.get() { tell_now() } else { Ok(()) }
}

#[cold]
fn tell_now() -> Result<()> {
    struct Inside;
    impl Drop for Inside {
        fn drop(&mut self) {
            INSIDE.set(false);
        }
    }
    let hooks = HOOKS.with_borrow(Clone::clone);
    for node in PENDING.take() {
        INSIDE.set(true);
        let _inside = Inside;
        for hook in &hooks {
            hook.call(&node)?;
        }
    }
    Ok(())
}

/// Keeps what is noted from being told until [`Hold::end`]; dropped instead, it is forgotten.
#[must_use]
pub struct Hold(Option<usize>);

impl Hold {
    /// Holds back from now on.
    #[inline]
    pub fn begin() -> Self {
        if !active() {
            return Self(None);
        }
        HELD.set(HELD.get() + 1);
        Self(Some(PENDING.with_borrow(Vec::len)))
    }

    /// Tells of all that was noted.
    ///
    /// # Errors
    /// Those of the hooks.
    #[inline]
    pub fn end(mut self) -> Result<()> {
        if self.0.take().is_none() {
            return Ok(());
        }
        HELD.set(HELD.get() - 1);
        tell()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            HELD.set(HELD.get() - 1);
            let forgotten = PENDING.with_borrow_mut(|pending| {
                if before < pending.len() { pending.split_off(before) } else { Vec::new() }
            });
            drop(forgotten);
        }
    }
}

/// A write into a view was recorded: its base's new node stands for the one that wrote, and the
/// view's own new node, noted last, comes before it.
pub(crate) fn settle_view_write(inner: &NodeRef) {
    if !active() {
        return;
    }
    PENDING.with_borrow_mut(|pending| {
        pending.retain(|node| node != inner);
        let n = pending.len();
        if n >= 2 {
            pending.swap(n - 2, n - 1);
        }
    });
}

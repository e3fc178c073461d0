//! Saved tensors under the embedder's control: hooks that pack and unpack them, and saved tensors
//! of custom functions, which keep their place in the graph.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use parking_lot::Mutex;

use super::arena::NodeRef;
use super::node::{Edge, Node, Packed, Role, Saved};
use crate::dtype::DType;
use crate::error::{Result, bail, ensure};
use crate::shape::Dims;
use crate::storage::Core;
use crate::tensor::{Tensor, WeakTensor};

/// Packs tensors as they are saved.
pub trait SavedHooks: Send + Sync {
    /// What to keep in place of the tensor, which has no history.
    fn pack(&self, tensor: &Tensor) -> Result<Arc<dyn Packed>>;
}

thread_local! {
    /// The active hooks, the last on top.
    static HOOKS: RefCell<Vec<Arc<dyn SavedHooks>>> = const { RefCell::new(Vec::new()) };
    /// Why hooks may not be used now.
    static DISABLED: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Who is told of writes in place.
    static WRITES: RefCell<Option<Rc<dyn BeforeWrite>>> = const { RefCell::new(None) };
    /// The buffer that is about to be overwritten by the operation that saves.
    static TARGET: RefCell<Option<Arc<Core>>> = const { RefCell::new(None) };
}

/// Sees a tensor that is about to be written in place.
pub trait BeforeWrite {
    /// Called before each write, on the thread that makes it.
    fn call(&self, target: &Tensor) -> Result<()>;
}

/// Has writes in place on this thread told to `watcher`, or to nobody; returns what was there.
pub fn watch_writes(watcher: Option<Rc<dyn BeforeWrite>>) -> Option<Rc<dyn BeforeWrite>> {
    super::mode::set_extra(super::mode::WRITES, watcher.is_some());
    WRITES.with_borrow_mut(|place| std::mem::replace(place, watcher))
}

/// Tells of a write in place that is about to happen.
#[inline]
pub(crate) fn before_write(target: &Tensor) -> Result<()> {
    if super::mode::extras() & super::mode::WRITES == 0 {
        return Ok(());
    }
    match WRITES.with_borrow(Clone::clone) {
        Some(watcher) => watcher.call(target),
        None => Ok(()),
    }
}

/// Whether hooks are active on this thread.
#[inline]
pub(crate) fn hooks_active() -> bool {
    super::mode::extras() & super::mode::PACKING != 0
}

/// Makes hooks the active ones on this thread.
///
/// # Errors
/// If hooks are disabled, with the text given then.
pub fn push_saved_hooks(hooks: Arc<dyn SavedHooks>) -> Result<()> {
    if let Some(message) = DISABLED.with_borrow(Clone::clone) {
        bail!(runtime, "{message}");
    }
    HOOKS.with_borrow_mut(|stack| stack.push(hooks));
    super::mode::set_extra(super::mode::PACKING, true);
    Ok(())
}

/// Removes the active hooks and returns them, to be dropped where foreign code may run.
pub fn pop_saved_hooks() -> Option<Arc<dyn SavedHooks>> {
    let (top, left) = HOOKS.with_borrow_mut(|stack| (stack.pop(), stack.len()));
    super::mode::set_extra(super::mode::PACKING, left > 0);
    top
}

/// Whether hooks are active on this thread, and may be.
pub fn saved_hooks_depth() -> usize {
    HOOKS.with_borrow(Vec::len)
}

/// Refuses hooks on this thread from now on with this text, or allows them; returns what was.
pub fn disable_saved_hooks(message: Option<String>) -> Option<String> {
    DISABLED.with_borrow_mut(|place| std::mem::replace(place, message))
}

/// Marks, while hooks are active, the buffer an operation is about to overwrite: what it saves of it
/// has to be copied before it is packed.
pub(crate) struct Overwriting;

impl Overwriting {
    pub(crate) fn new(core: &Arc<Core>) -> Option<Self> {
        hooks_active().then(|| {
            TARGET.with_borrow_mut(|target| *target = Some(core.clone()));
            Self
        })
    }
}

impl Drop for Overwriting {
    fn drop(&mut self) {
        TARGET.with_borrow_mut(|target| *target = None);
    }
}

/// Packs one tensor with the active hooks; `edge` is its place in the graph.
fn pack(core: &Arc<Core>, edge: Edge) -> Result<Option<Arc<dyn Packed>>> {
    let Some(hooks) = HOOKS.with_borrow(|stack| stack.last().cloned()) else { return Ok(None) };
    let doomed = TARGET
        .with_borrow(|target| target.as_ref().is_some_and(|target| target.same_storage(core)));
    let core = if doomed { crate::launch::blocks::copy_core(core)? } else { core.clone() };
    pack_with(&*hooks, &Tensor::at(core, edge)).map(Some)
}

/// What hooks packed of a tensor that an operation of ours saved: its rule relies on the shape and dtype it
/// had.
struct Fitted {
    packed: Arc<dyn Packed>,
    dtype: DType,
    shape: Dims,
}

impl Fitted {
    fn wrap(packed: Arc<dyn Packed>, core: &Core) -> Arc<dyn Packed> {
        Arc::new(Self { packed, dtype: core.dtype(), shape: Dims::from_slice(core.shape()) })
    }
}

impl Packed for Fitted {
    fn unpack(&self) -> Result<Tensor> {
        let found = self.packed.unpack()?;
        if found.dtype() == self.dtype && found.core().shape() == &self.shape[..] {
            return Ok(found);
        }
        ensure!(
            crate::shape::is_expandable_to(found.core().shape(), &self.shape),
            runtime,
            "an unpack hook gave a tensor of shape {} for a saved tensor of shape {}; it must give \
             back what was packed",
            crate::shape::shape_text(found.core().shape()),
            crate::shape::shape_text(&self.shape)
        );
        found.to_dtype(self.dtype)?.expand_to(&self.shape)
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self.packed.as_any()
    }
}

fn pack_with(hooks: &dyn SavedHooks, tensor: &Tensor) -> Result<Arc<dyn Packed>> {
    let before = tensor.version();
    let packed = {
        let _mode = super::GradMode::no_grad();
        hooks.pack(tensor)?
    };
    ensure!(
        tensor.version() == before,
        runtime,
        "A saved tensor pack hook is modifying its input in place. Tensors provided as input to \
         pack hook cannot be modified by in-place operations as this can lead to unexpected \
         side-effects. Please open an issue if you need to perform in-place operations on the \
         input to a pack hook."
    );
    Ok(packed)
}

/// Replaces saved tensors by what the active hooks make of them.
#[cold]
pub(super) fn pack_all<'s>(
    saved: impl Iterator<Item = &'s mut Saved>,
    inputs: &[&Tensor],
) -> Result<Vec<Option<Arc<dyn Packed>>>> {
    let mut all = Vec::new();
    for place in saved {
        let packed = match &place.core {
            Some(core) => {
                // An output comes without its place: what a hook returns must not hold its node.
                let edge = match place.role {
                    Role::Input(i) => inputs[i as usize].try_gradient_edge()?,
                    _ => Edge::default(),
                };
                pack(core, edge)?.map(|packed| Fitted::wrap(packed, core))
            }
            None => None,
        };
        if packed.is_some() {
            drop(place.core.take());
        }
        all.push(packed);
    }
    Ok(all)
}

impl Node {
    /// Which values of the operation are saved, in order of their places; `None` where a place is
    /// empty.
    pub fn saved_roles(&self) -> Vec<Option<SavedRole>> {
        let role = |saved: &Saved| match saved.role {
            Role::Input(i) => SavedRole::Input(i.into()),
            Role::Output(i) => SavedRole::Output(i.into()),
            Role::Private => SavedRole::Private,
        };
        let packed: Vec<bool> = self
            .more_if()
            .map_or_else(Vec::new, |more| more.packed.lock().iter().map(Option::is_some).collect());
        let mut roles: Vec<_> = self
            .with_saved(|saved| saved.each_ref().map(|one| (one.core.is_some(), role(one))))
            .into();
        if let Some(more) = self.more_if() {
            roles.extend(more.saved.lock().iter().map(|one| (one.core.is_some(), role(one))));
        }
        roles
            .into_iter()
            .enumerate()
            .map(|(i, (there, role))| {
                (there || packed.get(i).copied().unwrap_or(false)).then_some(role)
            })
            .collect()
    }

    /// Whether what the node saved was released by a pass.
    pub fn is_released(&self) -> bool {
        self.has(super::node::RELEASED)
    }

    /// The error for hooks on what is gone.
    pub fn saved_after_release(&self) -> crate::Error {
        crate::Error::runtime(
            "Calling register_hooks on a saved tensor after it has been freed. Saved intermediate \
             values of the graph are freed when you call .backward() or autograd.grad(). Specify \
             retain_graph=True if you need to backward through the graph a second time or if you \
             need to access saved variables after calling backward.",
        )
    }

    /// Packs the saved tensor at a place.
    ///
    /// # Errors
    /// If there is none, or it is packed already.
    pub fn pack_saved(&self, i: usize, hooks: &dyn SavedHooks) -> Result<()> {
        if self.is_released() {
            return Err(self.saved_after_release());
        }
        ensure!(
            self.more().packed.lock().get(i).is_none_or(Option::is_none),
            runtime,
            "Calling register_hooks on a saved tensor whose hooks have already been set. Hint: \
             only one pair of hooks is allowed at a time."
        );
        let core = if i < 2 {
            self.with_saved(|saved| saved[i].core.clone())
        } else {
            self.more().saved.lock().get(i - 2).and_then(|saved| saved.core.clone())
        };
        let Some(core) = core else {
            bail!(
                runtime,
                "Calling register_hooks on a saved tensor with value None is forbidden."
            );
        };
        let packed = pack_with(hooks, &Tensor::from_core(core.clone()))?;
        let packed = Fitted::wrap(packed, &core);
        let more = self.more();
        let old = if i < 2 {
            self.with_saved(|saved| saved[i].core.take())
        } else {
            more.saved.lock().get_mut(i - 2).and_then(|saved| saved.core.take())
        };
        let mut places = more.packed.lock();
        if places.len() <= i {
            places.resize(i + 1, None);
        }
        places[i] = Some(packed);
        drop(places);
        drop(old);
        Ok(())
    }

    /// The saved tensor at a place, connected to the graph.
    ///
    /// # Errors
    /// If it was released or overwritten.
    pub fn unpack_saved(handle: &NodeRef, i: usize) -> Result<Tensor> {
        let _mode = super::GradMode::enable_grad();
        crate::ops::unpack(handle, i, || handle.clone())
    }

    /// What hooks packed at a place.
    pub fn packed_at(&self, i: usize) -> Option<Arc<dyn Packed>> {
        self.more_if()?.packed.lock().get(i).cloned().flatten()
    }

    /// What hooks packed, for the embedder's garbage collector.
    pub fn packed(&self) -> Vec<Arc<dyn Packed>> {
        self.more_if()
            .map_or_else(Vec::new, |more| more.packed.lock().iter().flatten().cloned().collect())
    }
}

/// Which value of an operation a saved tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SavedRole {
    /// An input, by position.
    Input(usize),
    /// An output, by position.
    Output(usize),
    /// Made by the operation for its own use.
    Private,
}

/// Where in the graph a saved tensor is, seen from the function that saved it.
enum Place {
    /// An input: the function's own edge leads there.
    Input(usize),
    /// An output of the function.
    Output(u32),
    Elsewhere(Edge),
}

/// A tensor saved by a custom function: it comes back as itself if it is still alive and unchanged,
/// else as a tensor with the same data and place in the graph. It does not keep the tensor alive,
/// so that no cycle through the graph can arise.
pub struct SavedTensor {
    core: Option<Arc<Core>>,
    version: u32,
    place: Place,
    requires_grad: bool,
    weak: WeakTensor,
    packed: Mutex<Option<Arc<dyn Packed>>>,
}

impl SavedTensor {
    /// Saves a tensor, packed if hooks are active; `output` or `input` tell which output or input
    /// of the function itself it is.
    ///
    /// # Errors
    /// Those of the hooks.
    pub fn new(tensor: &Tensor, output: Option<u32>, input: Option<usize>) -> Result<Self> {
        tensor.check_savable()?;
        let core = tensor.shared_core();
        let packed = if hooks_active() {
            let edge = if output.is_some() { Edge::default() } else { tensor.gradient_edge() };
            pack(&core, edge)?
        } else {
            None
        };
        Ok(Self {
            version: core.version(),
            core: packed.is_none().then_some(core),
            place: match (output, input) {
                (Some(output), _) => Place::Output(output),
                (None, Some(input)) => Place::Input(input),
                (None, None) => Place::Elsewhere(tensor.try_gradient_edge()?),
            },
            requires_grad: tensor.requires_grad(),
            weak: tensor.downgrade(),
            packed: Mutex::new(packed),
        })
    }

    /// The tensor again; `node` is the function's own node.
    ///
    /// # Errors
    /// If it was overwritten since it was saved, or a hook fails.
    pub fn unpack(&self, node: Option<&NodeRef>) -> Result<Tensor> {
        let edge = match &self.place {
            Place::Elsewhere(edge) => edge.clone(),
            Place::Input(i) => {
                node.and_then(|node| node.edges().get(*i)).cloned().unwrap_or_default()
            }
            Place::Output(out) => Edge { node: node.cloned(), out: *out },
        };
        let packed = self.packed.lock().clone();
        if let Some(packed) = packed {
            let unpacked = packed.unpack()?;
            return Ok(Tensor::at(unpacked.shared_core(), edge));
        }
        let Some(core) = &self.core else { bail!(runtime, "a saved tensor has no value") };
        if core.version() != self.version {
            return Err(self.overwritten(core, &edge, node));
        }
        if let Some(tensor) = self.weak.upgrade() {
            // What was a leaf is the leaf itself, whatever it was asked to collect since.
            let leaf = edge.node.as_ref().is_none_or(|node| node.is_leaf()) && tensor.is_leaf();
            if leaf && Arc::ptr_eq(&tensor.core(), core) {
                return Ok(tensor);
            }
            let now = tensor.gradient_edge();
            if now.node == edge.node && now.out == edge.out && Arc::ptr_eq(&tensor.core(), core) {
                return Ok(tensor);
            }
        }
        let tensor = Tensor::at(core.clone(), edge);
        if self.requires_grad && !tensor.requires_grad() {
            tensor.set_requires_grad(true)?;
        }
        Ok(tensor)
    }

    #[cold]
    fn overwritten(&self, core: &Core, edge: &Edge, node: Option<&NodeRef>) -> crate::Error {
        let maker = match &edge.node {
            Some(maker) if !maker.is_leaf() => {
                format!(", which is output {} of {},", edge.out, maker.short_name())
            }
            _ => String::new(),
        };
        let saved = node.map_or_else(String::new, |node| {
            format!("\n  saved by {} at {}", node.name(), node.site())
        });
        crate::Error::runtime(format!(
            "one of the variables needed for gradient computation has been modified by an inplace \
             operation: [torch.{}Tensor {}]{maker} is at version {}; expected version {} instead. \
             {}{saved}\n  overwritten at {}",
            core.dtype().scalar_name(),
            crate::shape::shape_text(core.shape()),
            core.version(),
            self.version,
            super::hint(),
            super::Site(core.last_writer()),
        ))
    }

    /// The buffer, unless hooks packed it.
    pub fn core(&self) -> Option<&Arc<Core>> {
        self.core.as_ref()
    }

    /// The same saved tensor, packed with hooks of its own.
    ///
    /// # Errors
    /// If it is packed already, or the hooks fail.
    pub fn packed_with(&self, hooks: &dyn SavedHooks) -> Result<Self> {
        ensure!(
            self.packed.lock().is_none(),
            runtime,
            "Calling register_hooks on a saved tensor whose hooks have already been set. Hint: \
             only one pair of hooks is allowed at a time."
        );
        let packed = match &self.core {
            Some(core) => Some(pack_with(hooks, &Tensor::from_core(core.clone()))?),
            None => None,
        };
        Ok(Self {
            core: None,
            version: self.version,
            place: match &self.place {
                Place::Input(i) => Place::Input(*i),
                Place::Output(out) => Place::Output(*out),
                Place::Elsewhere(edge) => Place::Elsewhere(edge.clone()),
            },
            requires_grad: self.requires_grad,
            weak: self.weak.clone(),
            packed: Mutex::new(packed),
        })
    }

    /// What hooks packed, for the embedder's garbage collector.
    pub fn packed(&self) -> Option<Arc<dyn Packed>> {
        self.packed.lock().clone()
    }
}

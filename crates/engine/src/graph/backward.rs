//! The entrance: what a backward pass starts from, what it is to deliver, and running it.

use std::cell::RefCell;
use std::rc::Rc;

use smallvec::SmallVec;

use super::accumulate::{add, fit};
use super::arena::NodeRef;
use super::hooks::GradList;
use super::mode::{GradMode, Task};
use super::node::Edge;
use super::plan::Plan;
use crate::error::{Result, ensure};
use crate::tensor::Tensor;

/// Where a pass starts: a place in the graph and the gradient there.
pub struct Root {
    /// The value's node.
    pub edge: Edge,
    /// The gradient with respect to it.
    pub grad: Tensor,
}

impl Root {
    /// A place in the graph to start from, with the gradient there (one for a single element).
    ///
    /// # Errors
    /// If the gradient is absent and the value has not exactly one element, or if the shapes
    /// differ; the message calls it root `number`.
    pub fn at(edge: Edge, grad: Option<Tensor>, number: usize) -> Result<Self> {
        let grad = match (grad, &edge.node) {
            (Some(grad), Some(node)) => fitting(grad, &node.output(edge.out).0, number)?,
            (Some(grad), None) => grad,
            (None, Some(node)) => {
                let (shape, dtype) = node.output(edge.out);
                ensure!(
                    shape.iter().product::<usize>() == 1,
                    runtime,
                    "grad can be implicitly created only for scalar outputs"
                );
                Tensor::ones(&shape, dtype)?
            }
            (None, None) => crate::error::bail!(runtime, "a gradient edge has no node"),
        };
        Ok(Self { edge, grad })
    }
}

/// The gradient of root `number`, if it has the root's shape.
fn fitting(grad: Tensor, shape: &[usize], number: usize) -> Result<Tensor> {
    ensure!(
        *grad.core().shape() == *shape,
        runtime,
        "Mismatch in shape: grad_output[{number}] has a shape of {} and output[{number}] has a \
         shape of {}.",
        crate::shape::size_text(grad.core().shape()),
        crate::shape::size_text(shape)
    );
    Ok(grad)
}

/// A place in the graph whose gradient is wanted.
#[derive(Clone)]
pub struct Target(pub Edge);

impl Target {
    pub(super) fn id(&self) -> u32 {
        self.0.node.as_ref().map_or(0, NodeRef::id)
    }
}

/// How to run a backward pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backward {
    /// Keep what nodes saved, so that the pass can run again.
    pub retain_graph: bool,
    /// Record the pass itself, so that gradients can be differentiated.
    pub create_graph: bool,
    /// Always use the serial executor.
    pub serial: bool,
}

/// A pass that is running on this thread and in which foreign code takes part.
pub struct Running {
    /// The slots of the nodes whose gradient it computes, in ascending order.
    wanted: Vec<u32>,
}

thread_local! {
    /// The innermost last.
    static RUNNING: RefCell<Vec<Rc<Running>>> = const { RefCell::new(Vec::new()) };
}

/// The innermost pass that is running on this thread, as far as foreign code takes part.
pub fn running() -> Option<Rc<Running>> {
    RUNNING.with_borrow(|running| running.last().cloned())
}

impl Running {
    /// Whether the pass computes the gradient of this node's output.
    pub fn computes(&self, node: &NodeRef) -> bool {
        self.wanted.binary_search(&node.id()).is_ok()
    }

    fn enter(plan: &Plan<'_>) -> Entered {
        let mut wanted: Vec<u32> =
            plan.steps.iter().filter(|step| step.wanted).map(|step| step.id).collect();
        wanted.sort_unstable();
        RUNNING.with_borrow_mut(|running| running.push(Rc::new(Self { wanted })));
        Entered
    }
}

/// Takes the pass off the list when dropped.
struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(Vec::pop);
    }
}

/// The state of one pass.
pub(super) struct Pass<'a> {
    options: Backward,
    /// What is wanted: slot, output, position in `results`; sorted by slot.
    captures: SmallVec<[(u32, u32, usize); 4]>,
    results: &'a mut [Option<Tensor>],
    /// Whether leaves' gradients are only handed out, not added to `.grad`.
    captures_only: bool,
    steps: u32,
}

impl<'a> Pass<'a> {
    /// A pass that hands out gradients at `targets` into `results`.
    pub(super) fn new(
        options: Backward,
        targets: &[Target],
        captures_only: bool,
        results: &'a mut [Option<Tensor>],
    ) -> Self {
        let mut captures: SmallVec<[(u32, u32, usize); 4]> =
            targets.iter().enumerate().map(|(i, target)| (target.id(), target.0.out, i)).collect();
        captures.sort_unstable();
        Self { options, captures, results, captures_only, steps: 0 }
    }

    /// Runs a plan with the executor that suits it.
    pub(super) fn run(&mut self, plan: &mut Plan<'_>, grads: &mut [Option<Tensor>]) -> Result<()> {
        let serial = self.options.serial
            || self.options.create_graph
            || plan.foreign
            || super::diagnose::watching_backward()
            || !super::mode::is_multithreading_enabled()
            // It is this thread's rule, which others do not know of.
            || !super::is_layout_enforced()
            || !super::parallel::pays(plan);
        let _running = plan.foreign.then(|| Running::enter(plan));
        if serial {
            super::serial::run(plan, self, grads)
        } else {
            super::parallel::run(plan, self, grads)
        }
    }

    pub(super) fn retain(&self) -> bool {
        self.options.retain_graph
    }

    pub(super) fn captures_only(&self) -> bool {
        self.captures_only
    }

    /// Hands out the gradients wanted at a node.
    pub(super) fn capture(&mut self, id: u32, grads: &mut GradList) -> Result<()> {
        if self.captures.is_empty() {
            return Ok(());
        }
        let from = self.captures.partition_point(|capture| capture.0 < id);
        for &(_, out, result) in self.captures[from..].iter().take_while(|c| c.0 == id) {
            if let Some(Some(grad)) = grads.get(out as usize) {
                grad.settle();
                self.results[result] = Some(grad.clone());
            }
        }
        Ok(())
    }

    /// Lets the embedder end a long pass.
    #[inline]
    pub(super) fn check_stop(&mut self) -> Result<()> {
        self.steps = self.steps.wrapping_add(1);
        if self.steps & 0x3ff == 0 { crate::interrupt::check() } else { Ok(()) }
    }
}

impl Backward {
    /// Runs a pass and adds the gradients of all leaves it reaches to their `.grad`.
    ///
    /// # Errors
    /// If a needed saved tensor is gone or was overwritten, or a hook or a custom function fails.
    pub fn run(self, roots: Vec<Root>) -> Result<()> {
        self.execute(&roots, None, false, &mut [])
    }

    /// Runs a pass that only visits what leads to `targets` and adds the gradients of those that
    /// are leaves, or retain their gradient, to their `.grad`.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_into(self, roots: Vec<Root>, targets: &[Target]) -> Result<()> {
        self.execute(&roots, Some(targets), false, &mut vec![None; targets.len()])
    }

    /// The gradients at `targets`; `.grad` is not touched. `None` where a target is not reached.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn grad(self, roots: Vec<Root>, targets: &[Target]) -> Result<Vec<Option<Tensor>>> {
        let mut results = vec![None; targets.len()];
        self.execute(&roots, Some(targets), true, &mut results)?;
        Ok(results)
    }

    fn execute(
        self,
        roots: &[Root],
        targets: Option<&[Target]>,
        captures_only: bool,
        results: &mut [Option<Tensor>],
    ) -> Result<()> {
        let _task = Task::enter(targets.is_some());
        let _mode = GradMode::set(self.create_graph);
        let starts = roots
            .iter()
            .filter_map(|root| root.edge.node.as_ref().map(|node| (node.id(), &**node)));
        let mut plan = Plan::new(starts, targets, !captures_only)?;
        let mut grads: Vec<Option<Tensor>> = vec![None; plan.grads];
        for root in roots {
            let Some(node) = &root.edge.node else { continue };
            let Some(place) = plan.places.get(node.id()) else { continue };
            let meta = node.out_meta(root.edge.out);
            let grad = fit(root.grad.clone(), meta, node, 0)?;
            add(&mut grads[plan.steps[place].first as usize + root.edge.out as usize], grad)?;
        }
        let mut pass = Pass::new(self, targets.unwrap_or_default(), captures_only, results);
        if plan.work < crate::interrupt::LONG {
            return pass.run(&mut plan, &mut grads);
        }
        crate::interrupt::long_work(|| {
            let _mode = GradMode::set(self.create_graph);
            pass.run(&mut plan, &mut grads)
        })
    }
}

impl Tensor {
    /// The gradient of this scalar with respect to all leaves it was computed from, added to their
    /// `.grad`.
    ///
    /// # Errors
    /// If the tensor has more than one element or does not require a gradient; else as
    /// [`Backward::run`].
    pub fn backward(&self) -> Result<()> {
        Backward::default().run(vec![self.root(None, 0)?])
    }

    /// This tensor as root `number`, with the gradient there (ones for a scalar).
    ///
    /// # Errors
    /// If the gradient is absent and the tensor is not a scalar, if its shape differs from the
    /// tensor's, or if the tensor does not require a gradient.
    #[track_caller]
    pub fn root(&self, grad: Option<Self>, number: usize) -> Result<Root> {
        ensure!(
            self.requires_grad(),
            runtime,
            "element {number} of tensors does not require grad and does not have a grad_fn\n  \
             backward was asked for at {}",
            super::Site::here()
        );
        let grad = match grad {
            Some(grad) => fitting(grad, &self.shape(), number)?,
            None => {
                ensure!(
                    self.numel() == 1,
                    runtime,
                    "grad can be implicitly created only for scalar outputs"
                );
                Self::ones_like(self)?
            }
        };
        Ok(Root { edge: self.try_gradient_edge()?, grad })
    }

    /// This tensor as a place whose gradient is wanted.
    ///
    /// # Errors
    /// For a view whose base was written since, if it cannot get a new node.
    pub fn target(&self) -> Result<Target> {
        Ok(Target(self.try_gradient_edge()?))
    }
}

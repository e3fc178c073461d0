//! Steps of optimisers over whole lists of parameters.

use std::sync::Arc;

use smallvec::SmallVec;

use super::blocks::run_into;
use super::{ptr, ptr_mut};
use crate::dtype::dispatch;
use crate::error::{Result, bail, ensure};
use crate::kernels::copy::cast_block;
use crate::kernels::optim::{self as kernel, Rule};
use crate::storage::{Access, Core};

/// One parameter with what its update reads and writes.
pub struct Item {
    /// The formula and its numbers.
    pub rule: Rule,
    /// Whether to go up instead of down.
    pub maximize: bool,
    /// The parameter.
    pub parameter: Arc<Core>,
    /// Its gradient, of the same shape and dtype.
    pub gradient: Arc<Core>,
    /// The running tensors of the rule, of the same shape and dtype.
    pub states: SmallVec<[Arc<Core>; 3]>,
}

/// Elements per task of a large parameter.
const CHUNK: usize = 32 * 1024;

impl Item {
    fn check(&self) -> Result<()> {
        let (p, g) = (&self.parameter, &self.gradient);
        ensure!(
            self.states.len() == self.rule.states(),
            runtime,
            "the optimiser keeps {} tensors per parameter, got {}",
            self.rule.states(),
            self.states.len()
        );
        for core in self.states.iter().chain([g]) {
            ensure!(
                core.shape() == p.shape() && core.dtype() == p.dtype(),
                runtime,
                "a parameter of shape {:?} and dtype {} has a gradient or optimiser state of shape \
                 {:?} and dtype {}",
                p.shape(),
                p.dtype(),
                core.shape(),
                core.dtype()
            );
        }
        ensure!(
            p.dtype().is_float(),
            runtime,
            "only parameters of floating point dtype can be optimised"
        );
        for core in self.written() {
            ensure!(core.writable(), runtime, "the optimiser cannot write to read-only memory");
        }
        // Two writes to one buffer, or a gradient that is its own parameter: the one pass would
        // read what it has just written.
        let all: SmallVec<[&Core; 5]> = self.written().chain([&**g]).collect();
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                ensure!(
                    !a.same_storage(b) || p.numel() == 0,
                    runtime,
                    "a parameter shares memory with its gradient or its optimiser state"
                );
            }
        }
        Ok(())
    }

    fn written(&self) -> impl Iterator<Item = &Core> {
        [&self.parameter].into_iter().chain(&self.states).map(|core| &**core)
    }

    /// Whether all lie row-major, so that one pass can go through memory.
    fn is_dense(&self) -> bool {
        self.written().all(Core::is_contiguous) && self.gradient.is_contiguous()
    }

    /// Elements `first..last`; all cores are dense and locked.
    fn run(&self, first: usize, last: usize) -> Result<()> {
        let at = first;
        dispatch!(float self.parameter.dtype(), T => {
            let mut states = [std::ptr::null_mut::<T>(); 3];
            for (to, core) in states.iter_mut().zip(&self.states) {
                *to = ptr_mut::<T>(core).wrapping_add(at);
            }
            // SAFETY: checked to be of one shape and dtype, dense, apart from one another, and
            // locked; `first..last` lies inside.
            unsafe {
                kernel::step::<T>(
                    &self.rule, self.maximize, last - first,
                    ptr_mut::<T>(&self.parameter).wrapping_add(at),
                    ptr::<T>(&self.gradient).wrapping_add(at), states,
                );
            }
        }, else bail!(runtime, "only parameters of floating point dtype can be optimised"));
        Ok(())
    }

    /// The step by way of dense copies.
    fn through_copies(&self) -> Result<()> {
        let copy = |core: &Arc<Core>| -> Result<Arc<Core>> {
            let out = Core::alloc(core.dtype(), core.shape())?;
            run_into(cast_block(core.dtype(), core.dtype()), &[0.0; 2], &out, &[core])?;
            Ok(out)
        };
        let dense = Self {
            rule: self.rule,
            maximize: self.maximize,
            parameter: copy(&self.parameter)?,
            gradient: copy(&self.gradient)?,
            states: self.states.iter().map(copy).collect::<Result<_>>()?,
        };
        dense.run(0, dense.parameter.numel())?;
        let back = cast_block(self.parameter.dtype(), self.parameter.dtype());
        for (to, from) in self.written().zip(dense.written()) {
            run_into(back, &[0.0; 2], to, &[from])?;
        }
        Ok(())
    }
}

/// Makes the step of every item and counts a write of what it wrote, made at `site`.
pub fn optimiser_step(items: &[Item], site: u32) -> Result<()> {
    for item in items {
        item.check()?;
    }
    // A parameter listed twice is updated twice, one after the other, as is one whose layout needs
    // copies: these go alone.
    let mut together: Vec<&Item> = Vec::with_capacity(items.len());
    let bytes: usize = items
        .iter()
        .map(|item| {
            item.parameter.numel() * item.parameter.dtype().size() * (3 + 2 * item.states.len())
        })
        .sum();
    let parallel = crate::parallel::threads() > 1 && bytes >= crate::parallel::threshold();
    let alone = |item: &Item| -> Result<()> {
        if item.is_dense() {
            let mut cores: SmallVec<[(&Core, bool); 5]> =
                item.written().map(|core| (core, true)).collect();
            cores.push((&*item.gradient, false));
            let access = Access::many(cores);
            item.run(0, item.parameter.numel())?;
            drop(access);
            Ok(())
        } else {
            item.through_copies()
        }
    };
    for item in items {
        if parallel && item.is_dense() {
            together.push(item);
        } else {
            alone(item)?;
        }
    }
    if !together.is_empty() {
        let mut roots: Vec<usize> = together
            .iter()
            .flat_map(|item| item.written().chain([&*item.gradient]))
            .map(|core| std::ptr::from_ref(core.root()) as usize)
            .collect();
        roots.sort_unstable();
        if roots.windows(2).any(|pair| pair[0] == pair[1]) {
            together.into_iter().try_for_each(alone)?;
        } else {
            run_together(&together)?;
        }
    }
    for item in items {
        for core in item.written() {
            core.bump_version(site);
        }
    }
    Ok(())
}

/// All at once, in tasks of about [`CHUNK`] elements; no buffer occurs twice.
fn run_together(items: &[&Item]) -> Result<()> {
    // All locks are taken here, before the pool works: a thread of the pool never waits for one.
    let cores = items
        .iter()
        .flat_map(|item| item.written().map(|core| (core, true)).chain([(&*item.gradient, false)]));
    let access = Access::many(cores);
    let mut tasks: Vec<SmallVec<[(usize, usize, usize); 4]>> = Vec::new();
    let mut filled = CHUNK;
    for (i, item) in items.iter().enumerate() {
        let (n, mut first) = (item.parameter.numel(), 0);
        while first < n {
            if filled >= CHUNK {
                tasks.push(SmallVec::new());
                filled = 0;
            }
            let last = n.min(first + CHUNK);
            if let Some(task) = tasks.last_mut() {
                task.push((i, first, last));
            }
            filled += last - first;
            first = last;
        }
    }
    crate::parallel::for_each(tasks.len(), |task| {
        for &(i, first, last) in &tasks[task] {
            // The dtype was checked to be a float, which is all that can go wrong.
            let _ = items[i].run(first, last);
        }
    });
    drop(access);
    Ok(())
}

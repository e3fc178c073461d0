//! Runs of operations that were put off, as one pass: block by block in cache, each intermediate
//! result in a small buffer unless somebody holds it.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Reduction;
use crate::dtype::DType;
use crate::error::Result;
use crate::kernels::block::Block;
use crate::kernels::copy::fill_bits;
use crate::kernels::elementwise::MAX_INPUTS;
use crate::kernels::reduce as kernel;
use crate::storage::deferred::{Reach, Step, count_pass, defer, pays};
use crate::storage::{Access, Core};

/// Bytes of a buffer: a few of them and the streams of a pass share L1 and the start of L2.
const BUFFER: usize = 8 * 1024;
/// Bytes of traffic per parallel task.
const TASK_BYTES: usize = 1 << 18;

/// Where an operand is found.
#[derive(Clone, Copy)]
enum Place {
    /// In memory, as many bytes on as elements were done.
    Memory(*mut u8),
    /// In a buffer.
    Buffer(usize),
    /// Where the caller wants the last result.
    Result,
}

/// An input that is brought to a buffer before each block of elements.
struct Spread {
    from: *const u8,
    reach: Reach,
    size: usize,
    buffer: usize,
}

struct Instruction {
    block: Block,
    p: [f64; 2],
    ins: SmallVec<[(Place, usize); 3]>,
    out: Place,
    size: usize,
}

struct Program {
    spreads: Vec<Spread>,
    code: Vec<Instruction>,
    buffers: usize,
}

// SAFETY: the pointers are into cores that the caller holds and has locked; tasks write disjoint
// ranges of them.
unsafe impl Sync for Program {}

/// The steps that lead to a core, inputs first; the last one is its own.
struct Plan<'a> {
    steps: Vec<(&'a Core, Arc<Step>)>,
    /// What is read that need not be made.
    leaves: Vec<Arc<Core>>,
    /// For each step whether its elements go to memory.
    kept: Vec<bool>,
}

fn plan<'a>(
    target: &'a Core,
    own: Arc<Step>,
    keep: bool,
    held: &'a mut Vec<Arc<Core>>,
) -> Plan<'a> {
    // Cores are found depth first and listed after their inputs; the stack holds what is open.
    let mut order: Vec<Arc<Step>> = Vec::new();
    let mut owners: Vec<Option<Arc<Core>>> = Vec::new();
    let mut leaves: Vec<Arc<Core>> = Vec::new();
    let mut stack: Vec<(Option<Arc<Core>>, Arc<Step>, usize)> = vec![(None, own, 0)];
    while let Some((_, step, at)) = stack.last_mut() {
        if *at < step.ins.len() {
            let core = step.ins[*at].0.clone();
            *at += 1;
            let known = owners.iter().flatten().any(|have| Arc::ptr_eq(have, &core))
                || leaves.iter().any(|have| Arc::ptr_eq(have, &core));
            if known {
                continue;
            }
            match core.deferred().and_then(|deferred| deferred.step()) {
                Some(step) => stack.push((Some(core), step, 0)),
                None => leaves.push(core),
            }
        } else if let Some((core, step, _)) = stack.pop() {
            owners.push(core);
            order.push(step);
        }
    }
    // A core is kept if it has more handles than the steps of this plan (and this list) hold.
    let kept = owners
        .iter()
        .map(|owner| {
            let Some(core) = owner else { return keep };
            let inside: usize = order
                .iter()
                .map(|step| step.ins.iter().filter(|(input, _)| Arc::ptr_eq(input, core)).count())
                .sum();
            Arc::strong_count(core) > inside + 1
        })
        .collect();
    let marks: Vec<bool> = owners.iter().map(Option::is_some).collect();
    held.extend(owners.into_iter().flatten());
    let mut inner = held.iter();
    let steps = marks
        .into_iter()
        .zip(order)
        .map(|(is_inner, step)| {
            let core = if is_inner { inner.next().map_or(target, |core| &**core) } else { target };
            (core, step)
        })
        .collect();
    Plan { steps, leaves, kept }
}

/// [`map`](super::blocks::map), put off where that pays: the elements are made when they are asked for.
#[inline]
pub fn map_later(
    block: Block,
    p: &[f64; 2],
    dtype: DType,
    shape: &[usize],
    ins: &[&Arc<Core>],
) -> Result<Arc<Core>> {
    if pays(shape.iter().product(), dtype) {
        if let Some(core) = defer(make, block, p, dtype, shape, ins) {
            return core;
        }
    }
    let ins: SmallVec<[&Core; 4]> = ins.iter().map(|core| &***core).collect();
    super::blocks::map(block, p, dtype, shape, &ins)
}

/// [`map_dense`](super::blocks::map_dense), put off where that pays.
#[inline]
pub fn map_dense_later(
    block: Block,
    p: &[f64; 2],
    dtype: DType,
    a: &Arc<Core>,
    b: &Arc<Core>,
) -> Result<Arc<Core>> {
    if pays(a.numel(), dtype) {
        if let Some(core) = defer(make, block, p, dtype, a.shape(), &[a, b]) {
            return core;
        }
    }
    super::blocks::map_dense(block, p, dtype, a, b)
}

/// Makes the elements of a core that waits for them.
fn make(target: &Core) {
    carry_out(target, true, |plan| run(plan));
}

/// Runs the pass that makes `target`, if it waits; it keeps its elements if `keep` says so. `false` if
/// it does not wait, or `run` gives that.
fn carry_out(target: &Core, keep: bool, run: impl Fn(&Plan<'_>) -> bool) -> bool {
    loop {
        let own = target.deferred().and_then(|deferred| deferred.step());
        let Some(own) = own else { return false };
        let mut held = Vec::new();
        let plan = plan(target, own, keep, &mut held);
        let writes: SmallVec<[&Core; 4]> = plan
            .steps
            .iter()
            .zip(&plan.kept)
            .filter_map(|((core, _), kept)| kept.then_some(*core))
            .collect();
        let reads: SmallVec<[&Core; 8]> = plan.leaves.iter().map(|core| &**core).collect();
        let access = Access::locked(&reads, &writes);
        // Another thread may have made some of it before the locks were ours; what it read may have
        // been overwritten since.
        if plan.steps.iter().any(|(core, _)| !core.is_waiting()) {
            drop(access);
            continue;
        }
        for core in &writes {
            core.provide();
        }
        if !run(&plan) {
            return false;
        }
        let done: SmallVec<[Option<Arc<Step>>; 4]> =
            writes.iter().map(|core| core.set_made()).collect();
        drop(access);
        count_pass();
        // Inputs may go with their last handle: only now that no lock is held.
        drop(done);
        return true;
    }
}

/// Gives buffers out and takes them back.
#[derive(Default)]
struct Buffers {
    free: Vec<usize>,
    count: usize,
}

impl Buffers {
    fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| self.fresh())
    }

    /// One that nothing was in before: spread inputs are there from the start of a block on.
    fn fresh(&mut self) -> usize {
        self.count += 1;
        self.count - 1
    }
}

fn compile(plan: &Plan<'_>) -> Program {
    let mut buffers = Buffers::default();
    let mut spreads: Vec<Spread> = Vec::new();
    let mut code: Vec<Instruction> = Vec::new();
    let mut places: Vec<Place> = Vec::new();
    let last_use = |core: &Core| {
        let reads =
            |step: &Step| step.ins.iter().any(|(input, _)| std::ptr::eq(Arc::as_ptr(input), core));
        plan.steps.iter().rposition(|(_, step)| reads(step)).unwrap_or(0)
    };
    for (at, (core, step)) in plan.steps.iter().enumerate() {
        let mut ins = SmallVec::new();
        let mut done_with: SmallVec<[usize; 3]> = SmallVec::new();
        for (input, reach) in &step.ins {
            let size = input.dtype().size();
            let made_by =
                plan.steps.iter().position(|(maker, _)| std::ptr::eq(*maker, Arc::as_ptr(input)));
            let place = match (made_by, reach) {
                (Some(maker), _) => {
                    if let Place::Buffer(buffer) = places[maker] {
                        if last_use(input) == at && !done_with.contains(&buffer) {
                            done_with.push(buffer);
                        }
                    }
                    places[maker]
                }
                (None, Reach::Each) => Place::Memory(input.data()),
                (None, _) => {
                    let from = input.data().cast_const();
                    let have = spreads.iter().find(|spread| {
                        spread.from == from && spread.reach == *reach && spread.size == size
                    });
                    Place::Buffer(match have {
                        Some(spread) => spread.buffer,
                        None => {
                            let buffer = buffers.fresh();
                            spreads.push(Spread { from, reach: *reach, size, buffer });
                            buffer
                        }
                    })
                }
            };
            ins.push((place, size));
        }
        let size = core.dtype().size();
        let out = if plan.kept[at] {
            Place::Memory(core.data())
        } else if at + 1 == plan.steps.len() {
            Place::Result
        } else {
            Place::Buffer(buffers.take())
        };
        buffers.free.extend(done_with);
        places.push(out);
        code.push(Instruction { block: step.block, p: step.p, ins, out, size });
    }
    Program { spreads, code, buffers: buffers.count }
}

/// Elements done at a time: those of the widest type fill a buffer.
fn tile(plan: &Plan<'_>) -> usize {
    let sizes = plan.steps.iter().flat_map(|(core, step)| {
        step.ins.iter().map(|(input, _)| input.dtype().size()).chain([core.dtype().size()])
    });
    BUFFER / sizes.max().unwrap_or(8)
}

fn run(plan: &Plan<'_>) -> bool {
    let program = compile(plan);
    let numel = plan.steps.last().map_or(0, |(core, _)| core.numel());
    let tile = tile(plan);
    let traffic: usize = plan.leaves.iter().map(|core| core.dtype().size()).sum::<usize>()
        + plan
            .steps
            .iter()
            .zip(&plan.kept)
            .map(|((core, _), kept)| if *kept { core.dtype().size() } else { 1 })
            .sum::<usize>();
    let step = (TASK_BYTES / traffic.max(1)).next_multiple_of(tile);
    let body = |task: usize| {
        let start = task * step;
        // SAFETY: the operands have `numel` elements, are locked, and tasks write disjoint ranges.
        unsafe { execute(&program, start, numel.min(start + step), tile, std::ptr::null_mut()) };
    };
    if numel * traffic < crate::parallel::threshold() {
        // SAFETY: as above.
        unsafe { execute(&program, 0, numel, tile, std::ptr::null_mut()) };
    } else {
        crate::parallel::for_each(numel.div_ceil(step), body);
    }
    true
}

/// Sums or averages a core that waits, in the pass that makes it; its elements are kept only where
/// somebody else holds the core, or asks for them a second time. `false` if it does not wait or the
/// reduction is another one.
pub(super) fn reduce(what: Reduction, input: &Arc<Core>, mask: u64, out: &Core) -> bool {
    let Some(deferred) = input.deferred().filter(|_| input.is_waiting()) else { return false };
    if !matches!(what, Reduction::Sum | Reduction::Mean(_)) || !input.dtype().is_float() {
        return false;
    }
    let keep = Arc::strong_count(input) > 1 || deferred.pass();
    carry_out(input, keep, |plan| {
        let program = compile(plan);
        let tile = tile(plan);
        crate::dtype::dispatch!(float input.dtype(), T => {
            let made = |at: usize, n: usize, to: *mut T| {
                // SAFETY: the reduction asks for elements of the shape, and its tasks for disjoint
                // ones; `to` holds so many. What is kept is dense and locked.
                unsafe {
                    execute(&program, at, at + n, tile, to.cast());
                    if keep {
                        let from = input.data().cast::<T>().cast_const().add(at);
                        std::ptr::copy_nonoverlapping(from, to, n);
                    }
                }
            };
            let to = out.data().cast::<T>();
            // SAFETY: the output is fresh, and dense over the kept dimensions.
            unsafe {
                match what {
                    Reduction::Mean(count) => {
                        kernel::reduce_made(kernel::Mean { count }, &made, input.shape(), mask, to)
                    }
                    _ => kernel::reduce_made(kernel::Sum, &made, input.shape(), mask, to),
                }
            }
        }, else false)
    })
}

/// Elements `start..end` of all that the program makes; `result` is where the last step's go, if it has
/// no place in memory.
///
/// # Safety
/// All pointers must be good for these elements.
unsafe fn execute(program: &Program, start: usize, end: usize, tile: usize, result: *mut u8) {
    // One line apart, so that buffers do not meet in the sets of the cache.
    const SPACING: usize = BUFFER + 64;
    let mut room: Vec<u64> = Vec::with_capacity((program.buffers * SPACING + 64) / 8);
    let base = room.as_mut_ptr().cast::<u8>();
    let base = base.wrapping_add(base.align_offset(64));
    let buffer = |i: usize| base.wrapping_add(i * SPACING);
    for spread in &program.spreads {
        if spread.reach == Reach::One {
            // SAFETY: one element is readable, the buffer holds `tile` of them.
            unsafe { fill(spread.from, spread.size, buffer(spread.buffer), tile) };
        }
    }
    let mut at = start;
    while at < end {
        let n = tile.min(end - at);
        for spread in &program.spreads {
            // SAFETY: within the input and the buffer.
            unsafe { bring(spread, at, n, buffer(spread.buffer)) };
        }
        for instruction in &program.code {
            let mut ins = [std::ptr::null::<u8>(); MAX_INPUTS];
            let address = |place: Place, size: usize| match place {
                Place::Memory(start) => start.wrapping_add(at * size),
                Place::Buffer(i) => buffer(i),
                Place::Result => result.wrapping_add((at - start) * size),
            };
            for (pointer, &(place, size)) in ins.iter_mut().zip(&instruction.ins) {
                *pointer = address(place, size);
            }
            let out = address(instruction.out, instruction.size);
            // SAFETY: n elements at each pointer, of the types the block was chosen for. An output
            // buffer is none of the inputs'.
            unsafe { (instruction.block)(ins.as_ptr(), out, n, &instruction.p) };
        }
        at += n;
    }
}

/// # Safety
/// `from` must have an element of `size` bytes, `to` room for `n` of them.
unsafe fn fill(from: *const u8, size: usize, to: *mut u8, n: usize) {
    // SAFETY: passed on.
    unsafe {
        let bits = match size {
            1 => u64::from(from.read()),
            2 => u64::from(from.cast::<u16>().read()),
            4 => u64::from(from.cast::<u32>().read()),
            _ => from.cast::<u64>().read(),
        };
        fill_bits(to, n, size, bits);
    }
}

/// The part of a spread input that goes with elements `at..at + n`.
///
/// # Safety
/// The input must reach so far, and the buffer hold `n` elements.
unsafe fn bring(spread: &Spread, at: usize, n: usize, to: *mut u8) {
    let size = spread.size;
    let mut done = 0;
    while done < n {
        let e = at + done;
        // SAFETY: passed on.
        unsafe {
            match spread.reach {
                Reach::Each | Reach::One => return,
                Reach::Run(length) => {
                    let len = (length - e % length).min(n - done);
                    fill(spread.from.add(e / length * size), size, to.add(done * size), len);
                    done += len;
                }
                Reach::Cycle(length) => {
                    let len = (length - e % length).min(n - done);
                    let from = spread.from.add(e % length * size);
                    std::ptr::copy_nonoverlapping(from, to.add(done * size), len * size);
                    done += len;
                }
            }
        }
    }
}

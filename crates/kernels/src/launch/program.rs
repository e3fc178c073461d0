//! Runs of operations that were put off, as one pass: block by block in cache, each intermediate
//! result in a small buffer unless somebody holds it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use super::Reduction;
use super::execute::{
    BUFFER, Copies, Instruction, Number, Panel, Place, Program, SPACING, Spread, execute,
    with_spare,
};
use crate::binary::Binary;
use crate::dtype::{DType, Element};
use crate::error::Result;
use crate::kernels::block::Block;
use crate::kernels::copy::copy_bytes;
use crate::kernels::elementwise::{BURST, scatter, streams};
use crate::kernels::raw::{Dst, split};
use crate::kernels::reduce as kernel;
use crate::storage::deferred::{
    Across, Deferred, Reach, Step, Turned, Work, count_pass, defer, pays, reach_of,
};
use crate::storage::{Access, Core};
use crate::unary::Unary;

/// Bytes of a run that are worth a call of their own, with the element of the run as a number.
const RUN: usize = 128;
/// Bytes of the first cache that a pass may fill.
const L1: usize = 24 * 1024;
/// Results that are on their way at a time, if there are so many.
const ON_THEIR_WAY: usize = 3;
/// Bytes of a cycle up to which copies of it are laid side by side, so that blocks need not end with it.
const CYCLE: usize = BUFFER;
/// Bytes of traffic per parallel task, or of work that takes as long.
const TASK_BYTES: usize = 1 << 17;

/// One step of a plan.
struct Made {
    /// Whose elements it makes; none for the target of the plan.
    owner: Option<Arc<Core>>,
    step: Arc<Step>,
    /// Whether its elements go to memory.
    kept: bool,
    /// Whether somebody outside the plan holds the core, too.
    held: bool,
}

/// The steps that lead to a core, inputs first; the last one is its own.
struct Plan<'a> {
    target: &'a Core,
    made: Vec<Made>,
    /// What is read that need not be made.
    leaves: Vec<Arc<Core>>,
}

/// What becomes of the elements of the target.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// They go to memory.
    Always,
    /// They do unless making them once more costs less, see [`Plan::decide`].
    Dear,
    /// They do not.
    Never,
}

impl<'a> Plan<'a> {
    fn new(target: &'a Core, own: Arc<Step>, keep: Keep) -> Self {
        // Cores are found depth first and listed after their inputs; the stack holds what is open.
        let mut made: Vec<Made> = Vec::new();
        let mut leaves: Vec<Arc<Core>> = Vec::new();
        let mut stack: Vec<(Option<Arc<Core>>, Arc<Step>, usize)> = vec![(None, own, 0)];
        while let Some((_, step, at)) = stack.last_mut() {
            if *at < step.ins.len() {
                let core = step.ins[*at].0.clone();
                *at += 1;
                let known = made.iter().filter_map(|made| made.owner.as_ref()).chain(&leaves);
                if known.into_iter().any(|have| Arc::ptr_eq(have, &core)) {
                    continue;
                }
                match core.deferred().and_then(|deferred| deferred.step()) {
                    Some(step) => stack.push((Some(core), step, 0)),
                    None => leaves.push(core),
                }
            } else if let Some((owner, step, _)) = stack.pop() {
                made.push(Made { owner, step, kept: false, held: false });
            }
        }
        let mut plan = Self { target, made, leaves };
        plan.decide(keep);
        plan
    }

    fn core<'b>(&'b self, made: &'b Made) -> &'b Core {
        made.owner.as_deref().unwrap_or(self.target)
    }

    /// The cores whose elements go to memory.
    fn writes(&self) -> SmallVec<[&Core; 4]> {
        self.made.iter().filter(|made| made.kept).map(|made| self.core(made)).collect()
    }

    /// Says what is kept: what somebody else holds, unless it is *thin*, made by a few cheap operations
    /// from one core in memory. Writing that and reading it again would cost more than making it once
    /// more; it goes on waiting, though not for ever.
    fn decide(&mut self, keep: Keep) {
        /// Cheap operations that may be done again, and how often.
        const COST: usize = 3;
        const TIMES: usize = 6;
        // For each step the operations done again, and the one large operand that is read.
        let mut thin: SmallVec<[Option<(usize, *const Core)>; 8]> = SmallVec::new();
        for at in 0..self.made.len() {
            let Made { owner, step, .. } = &self.made[at];
            // A core has more handles than the steps of this plan (and this list) have if it is held.
            let held = owner.as_ref().map_or(keep != Keep::Never, |core| {
                let here = |made: &Made| {
                    made.step.ins.iter().filter(|(input, _)| Arc::ptr_eq(input, core)).count()
                };
                let inside: usize = self.made.iter().map(here).sum();
                Arc::strong_count(core) > inside + 1
            });
            let mut again = is_cheap(step.block).then_some((1, std::ptr::null::<Core>()));
            for (input, reach) in &step.ins {
                let input = Arc::as_ptr(input);
                let maker = |made: &Made| {
                    made.owner.as_ref().is_some_and(|owner| std::ptr::eq(Arc::as_ptr(owner), input))
                };
                let maker = self.made[..at].iter().position(maker);
                let (more, large) = match maker {
                    Some(maker) if !self.made[maker].kept => match thin[maker] {
                        Some(thin) => thin,
                        None => {
                            again = None;
                            break;
                        }
                    },
                    _ if *reach == Reach::Each => (0, input),
                    // To walk it from across once more is not cheap.
                    _ if matches!(reach, Reach::Across(_)) => {
                        again = None;
                        break;
                    }
                    _ => (0, std::ptr::null()),
                };
                again = again.and_then(|(cost, have)| {
                    let one = have.is_null() || large.is_null() || std::ptr::eq(have, large);
                    let large = if have.is_null() { large } else { have };
                    (one && cost + more <= COST).then_some((cost + more, large))
                });
            }
            let core = owner.as_deref().unwrap_or(self.target);
            let passes = core.deferred().map_or(0, Deferred::passes);
            let must = owner.is_none() && keep == Keep::Always;
            let kept = held && (must || again.is_none() || passes >= TIMES);
            thin.push(again.filter(|_| !kept));
            self.made[at].held = held;
            self.made[at].kept = kept;
        }
    }
}

/// Whether a block is an addition or the like.
fn is_cheap(block: Block) -> bool {
    static CHEAP: OnceLock<Vec<usize>> = OnceLock::new();
    // Of two functions that were compiled to the same code one may stand for both, which does no harm.
    let cheap = CHEAP.get_or_init(|| {
        let mut blocks = Vec::new();
        for dtype in [DType::F32, DType::F64] {
            for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div] {
                blocks.extend(op.forward(dtype));
                blocks.extend(op.forward_scalar(dtype, false));
                blocks.extend(op.forward_scalar(dtype, true));
            }
        }
        blocks.into_iter().map(|block| block as usize).collect()
    });
    cheap.contains(&(block as usize))
}

/// What an element of a block costs beside its traffic, see [`Unary::weight`].
fn weight(block: Block) -> usize {
    static WEIGHTS: OnceLock<Vec<(usize, usize)>> = OnceLock::new();
    let weights = WEIGHTS.get_or_init(|| {
        let mut weights: Vec<(usize, usize)> = Vec::new();
        let mut add = |block: Option<Block>, weight: usize| {
            weights.extend(block.map(|block| (block as usize, weight)));
        };
        for dtype in [DType::F32, DType::F64] {
            for &op in Unary::ALL {
                let mut p = [0.0; 2];
                for (p, &(_, default)) in p.iter_mut().zip(op.params()) {
                    *p = default;
                }
                let weight = op.weight(dtype);
                if weight > 0 {
                    add(op.forward(dtype, &p), weight);
                    // What is made of the output is cheap, or that would not be kept.
                    if op.saves().input() {
                        add(op.backward(dtype, &p), weight);
                    }
                }
            }
            let (any, weight) = ([1.7, 0.0], Binary::Pow.weight(dtype));
            add(Unary::PowScalar.forward(dtype, &any), weight);
            add(Unary::PowScalar.backward(dtype, &any), weight);
            for &op in Binary::ALL {
                let weight = op.weight(dtype);
                if weight > 0 {
                    add(op.forward(dtype), weight);
                    add(op.forward_scalar(dtype, false), weight);
                    add(op.forward_scalar(dtype, true), weight);
                }
            }
        }
        weights.sort_unstable();
        weights
    });
    let found = weights.binary_search_by_key(&(block as usize), |&(block, _)| block);
    found.map_or(0, |at| weights[at].1)
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
        if let Some(core) = defer(make, &Work { block, p, dtype, shape, ins, turned: None }) {
            return core;
        }
    }
    let ins: SmallVec<[&Core; 4]> = ins.iter().map(|core| &***core).collect();
    super::blocks::map(block, p, dtype, shape, &ins)
}

/// The same work put off, with a result that is `turned`; `shape` has its sizes as they lie. `None` where
/// that would not pay or not be safe.
pub fn map_turned_later(
    block: Block,
    p: &[f64; 2],
    dtype: DType,
    shape: &[usize],
    ins: &[&Arc<Core>],
    turned: Turned<'_>,
) -> Option<Result<Arc<Core>>> {
    defer(make, &Work { block, p, dtype, shape, ins, turned: Some(turned) })
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
        let work = Work { block, p, dtype, shape: a.shape(), ins: &[a, b], turned: None };
        if let Some(core) = defer(make, &work) {
            return core;
        }
    }
    super::blocks::map_dense(block, p, dtype, a, b)
}

/// Makes the elements of a core that waits for them.
fn make(target: &Core) {
    carry_out(target, Keep::Always, &[], None, |plan| run(plan, std::ptr::null_mut()));
}

/// Runs the pass that makes `target`, if it waits; `keep` says whether its elements stay. What else
/// `run` reads, `beside`, or writes, `into`, must not wait, and is locked with the rest. `false` if the
/// target does not wait, or `run` gives that.
fn carry_out(
    target: &Core,
    keep: Keep,
    beside: &[&Core],
    into: Option<&Core>,
    run: impl Fn(&Plan<'_>) -> bool,
) -> bool {
    loop {
        let own = target.deferred().and_then(|deferred| deferred.step());
        let Some(own) = own else { return false };
        let plan = Plan::new(target, own, keep);
        let writes = plan.writes();
        let reads: SmallVec<[&Core; 8]> =
            plan.leaves.iter().map(|core| &**core).chain(beside.iter().copied()).collect();
        let locked: SmallVec<[&Core; 4]> = writes.iter().copied().chain(into).collect();
        let access = Access::locked(&reads, &locked);
        // Another thread may have made some of it before the locks were ours; what it read may have
        // been overwritten since.
        if plan.made.iter().any(|made| !plan.core(made).is_waiting()) {
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
        for made in plan.made.iter().filter(|made| made.held && !made.kept) {
            if let Some(deferred) = plan.core(made).deferred() {
                deferred.pass();
            }
        }
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

/// Which input of a step is a number for as long as is worth a call, with the block that takes it so.
fn number_of(step: &Step) -> Option<(usize, Block, Number)> {
    if step.ins.len() != 2 {
        return None;
    }
    (0..2).find_map(|i| {
        let (input, reach) = &step.ins[i];
        let size = input.dtype().size();
        let run = match *reach {
            Reach::One => usize::MAX,
            Reach::Run(length) if length * size >= RUN => length,
            _ => return None,
        };
        let block = crate::binary::number_forms(step.block, &step.p)[i]?;
        Some((i, block, Number { from: input.data().cast_const(), run, size }))
    })
}

/// Whether copies of a cycle of so many elements are laid side by side.
fn is_short(length: usize, size: usize) -> bool {
    length * size <= CYCLE
}

/// Where in a list the one is that is the `same`, made and appended if there is none.
fn place_in<T>(list: &mut Vec<T>, same: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> usize {
    list.iter().position(same).unwrap_or_else(|| {
        list.push(make());
        list.len() - 1
    })
}

/// Blocks end where a long cycle begins anew, or, where no cycle is long, at whole lines with the end of as
/// many turns of the longest as there is room for.
fn cut_of(plan: &Plan<'_>, tile: usize) -> usize {
    let mut cut = usize::MAX;
    let mut longest = (0, 1);
    for (core, reach) in plan.made.iter().flat_map(|made| &made.step.ins) {
        let size = core.dtype().size();
        match *reach {
            Reach::Cycle(length) if !is_short(length, size) => cut = cut.min(length),
            Reach::Cycle(length) => longest = longest.max((length, size)),
            _ => {}
        }
    }
    let (length, size) = longest;
    let line = 64 / size;
    // The least common multiple; a line has a power of two of elements.
    let turns = length * (line >> length.trailing_zeros().min(line.trailing_zeros()));
    if cut == usize::MAX && (1..=tile).contains(&turns) {
        cut = tile / turns * turns;
    }
    cut
}

/// A program whose blocks are of up to `tile` elements; `into` says that somebody takes the elements of the
/// target, whether they are kept or not.
fn compile(plan: &Plan<'_>, tile: usize, into: bool) -> Program {
    static PROGRAMS: AtomicUsize = AtomicUsize::new(1);
    let mut buffers = Buffers::default();
    let mut spreads: Vec<Spread> = Vec::new();
    let mut panels: Vec<Panel> = Vec::new();
    let mut copies: Vec<Copies> = Vec::new();
    let mut code: Vec<Instruction> = Vec::new();
    let mut places: Vec<Place> = Vec::new();
    let cut = cut_of(plan, tile);
    let last_use = |core: &Core| {
        let reads =
            |step: &Step| step.ins.iter().any(|(input, _)| std::ptr::eq(Arc::as_ptr(input), core));
        plan.made.iter().rposition(|made| reads(&made.step)).unwrap_or(0)
    };
    for (at, made) in plan.made.iter().enumerate() {
        let (core, step) = (plan.core(made), &made.step);
        let mut ins = SmallVec::new();
        let mut done_with: SmallVec<[usize; 3]> = SmallVec::new();
        let number = number_of(step);
        for (i, (input, reach)) in step.ins.iter().enumerate() {
            if number.as_ref().is_some_and(|&(at, ..)| at == i) {
                continue;
            }
            let size = input.dtype().size();
            let made_by = plan
                .made
                .iter()
                .position(|maker| std::ptr::eq(plan.core(maker), Arc::as_ptr(input)));
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
                (None, &Reach::Cycle(length)) if is_short(length, size) => {
                    let from = input.data().cast_const();
                    let whole = cut <= tile && cut.is_multiple_of(length);
                    let count = if whole { cut } else { length + tile.min(plan.target.numel()) };
                    let same =
                        |have: &Copies| (have.from, have.length, have.size) == (from, length, size);
                    let make = || Copies { from, length, size, count, offset: 0 };
                    Place::Copies(place_in(&mut copies, same, make))
                }
                (None, &Reach::Cycle(length)) if length.is_multiple_of(cut) => {
                    Place::Cycle(input.data().cast_const(), length)
                }
                (None, &Reach::Across(across)) => {
                    let from = input.data().cast_const();
                    let same =
                        |have: &Panel| (have.from, have.across, have.size) == (from, across, size);
                    let together = across.together(size);
                    let make = || Panel { from, across, size, together, offset: 0 };
                    Place::Panel(place_in(&mut panels, same, make))
                }
                (None, _) => {
                    let from = input.data().cast_const();
                    let same =
                        |have: &Spread| (have.from, have.reach, have.size) == (from, *reach, size);
                    let make = || Spread { from, reach: *reach, size, buffer: buffers.fresh() };
                    let at = place_in(&mut spreads, same, make);
                    Place::Buffer(spreads[at].buffer)
                }
            };
            ins.push((place, size));
        }
        let size = core.dtype().size();
        let last = at + 1 == plan.made.len();
        let store = (made.kept && past_caches(core)).then(|| core.data());
        let out = if made.kept && store.is_none() {
            Place::Memory(core.data())
        } else if last && (into || !made.kept) {
            Place::Result
        } else {
            Place::Buffer(buffers.take())
        };
        buffers.free.extend(done_with);
        places.push(out);
        let (block, number) = match number {
            Some((_, block, number)) => (block, Some(number)),
            None => (step.block, None),
        };
        code.push(Instruction { block, p: step.p, ins, number, out, size, store });
    }
    let mut room = buffers.count * SPACING;
    for panel in &mut panels {
        panel.offset = room;
        room += panel.across.bytes(panel.size).next_multiple_of(64) + 64;
    }
    for copies in &mut copies {
        copies.offset = room;
        room += (copies.count * copies.size).next_multiple_of(64) + 64;
    }
    let id = PROGRAMS.fetch_add(1, Ordering::Relaxed);
    Program { id, spreads, panels, copies, code, cut, room }
}

/// Elements done at a time: of the widest type so many that what is read, written and on its way stays in L1.
fn tile(plan: &Plan<'_>) -> usize {
    let cores = || {
        let ins = plan.made.iter().flat_map(|made| &made.step.ins).map(|(input, _)| &**input);
        ins.chain(plan.made.iter().map(|made| plan.core(made)))
    };
    let size = cores().map(|core| core.dtype().size()).max().unwrap_or(8);
    let kept = plan.made.iter().filter(|made| made.kept);
    if kept.clone().any(|made| past_caches(plan.core(made))) {
        return BURST / size;
    }
    let kept = kept.count();
    let places = plan.leaves.len() + kept + (plan.made.len() - kept).min(ON_THEIR_WAY);
    let bytes = (L1 / places.max(1)).clamp(BURST, BUFFER);
    (1 << bytes.ilog2()) / size
}

/// Whether the elements of a core that is made go past the caches.
fn past_caches(core: &Core) -> bool {
    streams(core.numel() * core.dtype().size())
}

/// The whole pass; `result` is where the elements of the target go, if they have no place of their own.
fn run(plan: &Plan<'_>, result: *mut u8) -> bool {
    let numel = plan.target.numel();
    let tile = tile(plan);
    let program = compile(plan, tile, false);
    let cost: usize = plan.leaves.iter().map(|core| core.dtype().size()).sum::<usize>()
        + plan
            .made
            .iter()
            .map(|made| {
                let written = if made.kept { plan.core(made).dtype().size() } else { 1 };
                written + weight(made.step.block)
            })
            .sum::<usize>();
    // Tasks end with a panel, so that none is brought twice.
    let whole = program.panels.first().map_or(tile, |panel| panel.together * panel.across.cols);
    let step = (TASK_BYTES / cost.max(1)).next_multiple_of(whole);
    let (result, size) = (Dst::new(result), plan.target.dtype().size());
    // What goes from memory to memory in one step need not stop on its way.
    let tile = if program.is_direct() { usize::MAX } else { tile };
    let part = |start: usize, end: usize| {
        // SAFETY: the operands have `numel` elements, are locked, and tasks write disjoint ranges.
        unsafe { execute(&program, start, end, tile, result.at((start * size) as isize)) };
    };
    if numel * cost < crate::parallel::threshold() || crate::parallel::threads() == 1 {
        part(0, numel);
    } else {
        let body = |task: usize| part(task * step, numel.min((task + 1) * step));
        crate::parallel::for_each(numel.div_ceil(step), body);
    }
    true
}

/// Whether elements that somebody asks for are kept. Whoever asks once may ask again: where nobody else holds
/// the core, the second time tells.
fn keep_of(input: &Arc<Core>, deferred: &Deferred) -> Keep {
    if Arc::strong_count(input) > 1 || deferred.passes() > 0 {
        return Keep::Dear;
    }
    deferred.pass();
    Keep::Never
}

/// Makes the elements of a core that waits where they are to be copied to, a dense core of its shape and
/// dtype. `false`, and nothing written, if that is not so, or they are to be kept as well.
pub fn copy_into(input: &Arc<Core>, to: &Core) -> bool {
    if !input.is_waiting()
        || (to.dtype(), to.shape()) != (input.dtype(), input.shape())
        || !(to.is_contiguous() && input.is_contiguous())
    {
        return false;
    }
    // What reads the memory that is written is made before: `input`, too, if it does.
    drop(Access::new(&[], Some(to)));
    let Some(deferred) = input.deferred().filter(|_| input.is_waiting()) else { return false };
    carry_out(input, keep_of(input, deferred), &[], Some(to), |plan| {
        plan.writes().is_empty() && run(plan, to.data())
    })
}

/// Sums or averages a core that waits, in the pass that makes it; its elements are kept only where
/// somebody else holds the core, or asks for them a second time. `false` if it does not wait or the
/// reduction is another one.
pub(super) fn reduce(what: Reduction, input: &Arc<Core>, mask: u64, out: &Core) -> bool {
    let Some(deferred) = input.deferred().filter(|_| input.is_waiting()) else { return false };
    if !matches!(what, Reduction::Sum | Reduction::Mean(_)) || !input.dtype().is_float() {
        return false;
    }
    // What lies in another order is walked in that order, if all of it is to be one number.
    let mut shape = SmallVec::<[usize; 6]>::from_slice(input.shape());
    let mut mask = mask;
    if !input.is_contiguous() {
        let all = (0..shape.len()).all(|dim| shape[dim] == 1 || mask >> dim & 1 == 1);
        if !all {
            return false;
        }
        shape = smallvec::smallvec![input.numel()];
        mask = 1;
    }
    let keep = keep_of(input, deferred);
    crate::dtype::dispatch!(float input.dtype(), T => {
        with_made::<T>(input, keep, &[], |made| {
            let to = out.data().cast::<T>();
            // SAFETY: the output is fresh, and dense over the kept dimensions.
            unsafe {
                match what {
                    Reduction::Mean(count) => {
                        kernel::reduce_made(kernel::Mean { count }, made, &shape, mask, to)
                    }
                    _ => kernel::reduce_made(kernel::Sum, made, &shape, mask, to),
                }
            }
        })
    }, else false)
}

/// Copies a core that waits to a fresh dense one whose dimensions lie in another order, on the way: its own
/// elements are not kept, so nobody else should want them. `false`, and nothing done, where that is not so.
pub fn copy_turned(input: &Arc<Core>, out: &Core) -> bool {
    if !input.is_waiting() || Arc::strong_count(input) != 1 || out.shape() != input.shape() {
        return false;
    }
    let mut dims: SmallVec<[usize; 6]> = (0..input.shape().len()).collect();
    dims.sort_by_key(|&dim| std::cmp::Reverse(input.strides()[dim]));
    let dims = dims.iter().map(|&dim| (input.shape()[dim], out.strides()[dim]));
    let size = input.dtype().size();
    let Some(Reach::Across(across)) = reach_of(dims, size) else { return false };
    let Across { rows, cols, col, plane } = across;
    let together = across.together(size);
    let panels = rows.div_ceil(together);
    crate::dtype::dispatch!(input.dtype(), T => {
        with_made::<T>(input, Keep::Never, &[], |made| {
            let to = Dst::new(out.data());
            split(input.numel() / (rows * cols) * panels, together * cols, |start, end| {
                with_spare(together * cols * size, |from| {
                    for task in start..end {
                        let (outer, row) = (task / panels, task % panels * together);
                        let n = together.min(rows - row);
                        made((outer * rows + row) * cols, n * cols, from.cast::<T>());
                        let offset = outer as isize * plane + row as isize;
                        let (r, c) = (size as isize, col * size as isize);
                        // SAFETY: the rows lie within the fresh output, and belong to this task.
                        unsafe { scatter(from, to.at(offset * r), r, c, n, cols, size) };
                    }
                });
            });
            true
        })
    })
}

/// Has `body` make the elements of a core that waits where it wants them, each of them once: in runs of
/// the order in which they lie. `keep` says whether they stay as well. `beside` are other cores that are read,
/// none of which waits. `false` if the core does not wait, or `body` gives that.
pub(super) fn with_made<T: Element>(
    input: &Core,
    keep: Keep,
    beside: &[&Core],
    body: impl Fn(kernel::Maker<'_, T>) -> bool,
) -> bool {
    carry_out(input, keep, beside, None, |plan| {
        let tile = tile(plan);
        let program = compile(plan, tile, true);
        let direct = program.code.last().is_none_or(|last| matches!(last.out, Place::Result));
        body(&|at: usize, n: usize, to: *mut T| {
            // SAFETY: elements of the shape are asked for, by tasks disjoint ones; `to` holds so many.
            // What is kept is dense and locked.
            unsafe {
                execute(&program, at, at + n, tile, to.cast());
                if !direct {
                    let from = input.data().cast::<T>().cast_const().add(at);
                    copy_bytes(from.cast(), to.cast(), n * size_of::<T>());
                }
            }
        })
    })
}

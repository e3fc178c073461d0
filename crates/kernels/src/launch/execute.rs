//! Carrying out a program of instructions over blocks of elements: buffers, and what is brought to them.

use std::cell::RefCell;

use smallvec::SmallVec;

use crate::kernels::block::Block;
use crate::kernels::copy::{copy_bytes, repeat_runs, stream, stream_fence};
use crate::kernels::elementwise::{MAX_INPUTS, fill, gather, number};
use crate::storage::deferred::{Across, Reach};

/// Bytes of a buffer: a few of them and the streams of a pass share L1 and the start of L2.
pub(super) const BUFFER: usize = 8 * 1024;
/// One line apart, so that buffers do not meet in the sets of the cache.
pub(super) const SPACING: usize = BUFFER + 64;

/// Where an operand is found.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// In memory, as many bytes on as elements were done.
    Memory(*mut u8),
    /// In a buffer.
    Buffer(usize),
    /// Where the caller wants the last result.
    Result,
    /// In memory, so many elements again and again, none of which a block goes beyond.
    Cycle(*const u8, usize),
    /// As often in the room of a thread as a block may ask for them.
    Copies(usize),
    /// In a panel.
    Panel(usize),
}

/// An operand that is a number to an instruction: each element of it for so many.
#[derive(Clone, Copy)]
pub(super) struct Number {
    pub(super) from: *const u8,
    pub(super) run: usize,
    pub(super) size: usize,
}

/// An input that is brought to a buffer before each block of elements.
pub(super) struct Spread {
    pub(super) from: *const u8,
    pub(super) reach: Reach,
    pub(super) size: usize,
    pub(super) buffer: usize,
}

/// An input of a few elements that come again and again, side by side as often as a block and the place
/// where it begins ask for.
pub(super) struct Copies {
    pub(super) from: *const u8,
    pub(super) length: usize,
    pub(super) size: usize,
    /// All elements that lie there.
    pub(super) count: usize,
    /// Where they begin in the room of a thread.
    pub(super) offset: usize,
}

/// An input that is walked from across: some rows of it are brought together, and used up.
pub(super) struct Panel {
    pub(super) from: *const u8,
    pub(super) across: Across,
    pub(super) size: usize,
    /// Rows brought together.
    pub(super) together: usize,
    /// Where the panel begins in the room of a thread.
    pub(super) offset: usize,
}

pub(super) struct Instruction {
    pub(super) block: Block,
    pub(super) p: [f64; 2],
    pub(super) ins: SmallVec<[(Place, usize); 3]>,
    /// What goes to `p[0]`.
    pub(super) number: Option<Number>,
    pub(super) out: Place,
    pub(super) size: usize,
    /// Memory that the result goes to from `out`, past the caches.
    pub(super) store: Option<*mut u8>,
}

pub(super) struct Program {
    /// Which one it is: no two have the same number.
    pub(super) id: usize,
    pub(super) spreads: Vec<Spread>,
    pub(super) panels: Vec<Panel>,
    pub(super) copies: Vec<Copies>,
    pub(super) code: Vec<Instruction>,
    /// No block of elements goes over a multiple of this.
    pub(super) cut: usize,
    /// Bytes of buffers and panels.
    pub(super) room: usize,
}

// SAFETY: the pointers are into cores that the caller holds and has locked; tasks write disjoint
// ranges of them.
unsafe impl Sync for Program {}

impl Program {
    /// Whether there is one instruction, and nothing in buffers: blocks may be of any length.
    pub(super) fn is_direct(&self) -> bool {
        let [only] = &self.code[..] else { return false };
        let brought = self.spreads.len() + self.panels.len() + self.copies.len();
        brought == 0 && only.store.is_none() && !matches!(only.out, Place::Buffer(_))
    }
}

/// The memory of a thread for what is on its way between instructions.
struct Room {
    memory: Vec<u64>,
    /// Which program's panels and copies are there, and the first element of each panel.
    program: usize,
    panels: Vec<usize>,
    /// For results on their way.
    spare: Vec<u64>,
}

impl Room {
    const EMPTY: Self =
        Self { memory: Vec::new(), program: 0, panels: Vec::new(), spare: Vec::new() };

    /// The first line of the memory.
    fn base(&mut self) -> *mut u8 {
        let base = self.memory.as_mut_ptr().cast::<u8>();
        base.wrapping_add(base.align_offset(64))
    }
}

thread_local! {
    static ROOM: RefCell<Room> = const { RefCell::new(Room::EMPTY) };
}

/// Lends a thread's room for results on their way.
pub(super) fn with_spare(bytes: usize, f: impl FnOnce(*mut u8)) {
    let mut spare = ROOM.with(|room| std::mem::take(&mut room.borrow_mut().spare));
    spare.reserve(bytes.div_ceil(8));
    f(spare.as_mut_ptr().cast());
    ROOM.with(|room| room.borrow_mut().spare = spare);
}

/// Elements `start..end` of all that the program makes; `result` is where the last step's go, if it has
/// no place in memory.
///
/// # Safety
/// All pointers must be good for these elements.
pub(super) unsafe fn execute(
    program: &Program,
    start: usize,
    end: usize,
    tile: usize,
    result: *mut u8,
) {
    // Taken out meanwhile: nobody finds it borrowed.
    let mut room = ROOM.replace(Room::EMPTY);
    let fresh = room.program != program.id;
    if fresh {
        room.program = program.id;
        room.panels.clear();
        room.panels.resize(program.panels.len(), usize::MAX);
        let words = (program.room + 64) / 8;
        if room.memory.capacity() < words {
            room.memory = Vec::with_capacity(words);
        }
    }
    // SAFETY: the room is as large as the program wants, the inputs of copies have their length.
    unsafe {
        if fresh {
            for copies in &program.copies {
                copies.lay(room.base().wrapping_add(copies.offset));
            }
        }
        execute_in(&mut room, program, start, end, tile, result);
    }
    ROOM.set(room);
}

unsafe fn execute_in(
    room: &mut Room,
    program: &Program,
    start: usize,
    end: usize,
    tile: usize,
    result: *mut u8,
) {
    let base = room.base();
    let buffer = |i: usize| base.wrapping_add(i * SPACING);
    for spread in &program.spreads {
        if spread.reach == Reach::One {
            let n = tile.min(end - start);
            // SAFETY: one element is readable, the buffer holds `tile` of them.
            unsafe { fill(spread.from, buffer(spread.buffer), n, spread.size) };
        }
    }
    // For each spread the run that its buffer is full of, and how full.
    let mut full: SmallVec<[(usize, usize); 4]> =
        SmallVec::from_elem((0, 0), program.spreads.len());
    let mut at = start;
    while at < end {
        let mut n = tile.min(end - at).min(program.cut - at % program.cut);
        for (panel, have) in program.panels.iter().zip(&mut room.panels) {
            let (first, last) = panel.across.panel(at, panel.together);
            if *have != first {
                // SAFETY: the panel lies within the input, and its place in the room holds it.
                unsafe { panel.bring(first, last, base.wrapping_add(panel.offset)) };
                *have = first;
            }
            n = n.min(last - at);
        }
        for (spread, full) in program.spreads.iter().zip(&mut full) {
            // SAFETY: within the input and the buffer.
            unsafe { bring(spread, at, n, buffer(spread.buffer), full) };
        }
        for instruction in &program.code {
            let mut ins = [std::ptr::null::<u8>(); MAX_INPUTS];
            let address = |place: Place, size: usize| match place {
                Place::Memory(start) => start.wrapping_add(at * size),
                Place::Buffer(i) => buffer(i),
                Place::Result => result.wrapping_add((at - start) * size),
                Place::Cycle(from, length) => from.cast_mut().wrapping_add(at % length * size),
                Place::Copies(i) => {
                    let copies = &program.copies[i];
                    base.wrapping_add(copies.offset + at % copies.length * size)
                }
                Place::Panel(i) => {
                    base.wrapping_add(program.panels[i].offset + (at - room.panels[i]) * size)
                }
            };
            for (pointer, &(place, size)) in ins.iter_mut().zip(&instruction.ins) {
                *pointer = address(place, size);
            }
            let out = address(instruction.out, instruction.size);
            let Instruction { block, p, .. } = instruction;
            // SAFETY: n elements at each pointer, of the types the block was chosen for; the operand that
            // is a number has an element for every run. An output buffer is none of the inputs'.
            unsafe {
                match &instruction.number {
                    Some(number) => instruction.by_runs(number, at, n, ins[0], out),
                    None => block(ins.as_ptr(), out, n, p),
                }
                if let Some(store) = instruction.store {
                    let size = instruction.size;
                    stream(out, store.wrapping_add(at * size), n * size);
                }
            }
        }
        at += n;
    }
    if program.code.iter().any(|instruction| instruction.store.is_some()) {
        stream_fence();
    }
}

impl Instruction {
    /// Elements `at..at + n`, with a call for each run of the operand that is a number.
    ///
    /// # Safety
    /// As for [`Block`]; the number's operand must have an element for every run.
    #[inline]
    unsafe fn by_runs(
        &self,
        &Number { from, run, size }: &Number,
        at: usize,
        n: usize,
        mut input: *const u8,
        mut out: *mut u8,
    ) {
        let step = self.ins[0].1;
        let mut from = from.wrapping_add(at / run * size);
        let mut len = (run - at % run).min(n);
        let mut left = n;
        let mut p = self.p;
        while left > 0 {
            // SAFETY: by the contract.
            unsafe {
                p[0] = number(from, size);
                (self.block)(&raw const input, out, len, &p);
            }
            from = from.wrapping_add(size);
            (input, out) = (input.wrapping_add(len * step), out.wrapping_add(len * self.size));
            left -= len;
            len = run.min(left);
        }
    }
}

impl Copies {
    /// Writes them.
    ///
    /// # Safety
    /// The input must have its length, and `to` room for all copies.
    unsafe fn lay(&self, to: *mut u8) {
        let (length, all) = (self.length * self.size, self.count * self.size);
        let mut done = length.min(all);
        // SAFETY: by the contract; what is done is apart from what follows it.
        unsafe {
            copy_bytes(self.from, to, done);
            while done < all {
                let n = done.min(all - done);
                copy_bytes(to, to.add(done), n);
                done += n;
            }
        }
    }
}

impl Panel {
    /// Brings elements `first..last`, rows of one plane.
    ///
    /// # Safety
    /// They must lie within the input, and `to` must hold them.
    unsafe fn bring(&self, first: usize, last: usize, to: *mut u8) {
        let Across { rows, cols, col, plane } = self.across;
        let (outer, row) = (first / (rows * cols), first / cols % rows);
        let offset = outer as isize * plane + row as isize;
        let size = self.size as isize;
        let from = self.from.wrapping_offset(offset * size);
        // SAFETY: by the contract.
        unsafe { gather(from, size, col * size, to, (last - first) / cols, cols, self.size) };
    }
}

/// The part of a spread input that goes with elements `at..at + n`; `full` is which run the buffer holds
/// already, and how many elements of it.
///
/// # Safety
/// The input must reach so far, and the buffer hold `n` elements and a line.
unsafe fn bring(spread: &Spread, at: usize, n: usize, to: *mut u8, full: &mut (usize, usize)) {
    let size = spread.size;
    // SAFETY: passed on.
    unsafe {
        match spread.reach {
            Reach::Each | Reach::One | Reach::Across(_) => {}
            Reach::Run(length) => {
                let (run, first) = (at / length, length - at % length);
                let from = spread.from.add(run * size);
                if first < n {
                    repeat_runs(from, size, first, length, to, n);
                    *full = (0, 0);
                } else if full.0 != run || full.1 < n {
                    fill(from, to, n, size);
                    *full = (run, n);
                }
            }
            Reach::Cycle(length) => {
                let mut done = 0;
                while done < n {
                    let e = at + done;
                    let len = (length - e % length).min(n - done);
                    let from = spread.from.add(e % length * size);
                    copy_bytes(from, to.add(done * size), len * size);
                    done += len;
                }
            }
        }
    }
}

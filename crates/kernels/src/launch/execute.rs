//! Carrying out a program of instructions over blocks of elements: buffers, and what is brought to them.

use std::cell::RefCell;

use smallvec::SmallVec;

use crate::kernels::block::Block;
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
}

pub(super) struct Program {
    /// Which one it is: no two have the same number.
    pub(super) id: usize,
    pub(super) spreads: Vec<Spread>,
    pub(super) panels: Vec<Panel>,
    pub(super) code: Vec<Instruction>,
    /// No block of elements goes over a multiple of this.
    pub(super) cut: usize,
    /// Bytes of buffers and panels.
    pub(super) room: usize,
}

// SAFETY: the pointers are into cores that the caller holds and has locked; tasks write disjoint
// ranges of them.
unsafe impl Sync for Program {}

/// The memory of a thread for what is on its way between instructions.
struct Room {
    memory: Vec<u64>,
    /// Which program's panels are there, and the first element of each.
    program: usize,
    panels: Vec<usize>,
    /// For results on their way.
    spare: Vec<u64>,
}

impl Room {
    const EMPTY: Self =
        Self { memory: Vec::new(), program: 0, panels: Vec::new(), spare: Vec::new() };
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
    if room.program != program.id {
        room.program = program.id;
        room.panels.clear();
        room.panels.resize(program.panels.len(), usize::MAX);
        let words = (program.room + 64) / 8;
        if room.memory.capacity() < words {
            room.memory = Vec::with_capacity(words);
        }
    }
    // SAFETY: the room is as large as the program wants.
    unsafe { execute_in(&mut room, program, start, end, tile, result) };
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
    let base = room.memory.as_mut_ptr().cast::<u8>();
    let base = base.wrapping_add(base.align_offset(64));
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
                Place::Panel(i) => {
                    base.wrapping_add(program.panels[i].offset + (at - room.panels[i]) * size)
                }
            };
            for (pointer, &(place, size)) in ins.iter_mut().zip(&instruction.ins) {
                *pointer = address(place, size);
            }
            let out = address(instruction.out, instruction.size);
            let mut p = instruction.p;
            if let Some(Number { from, run, size }) = instruction.number {
                // SAFETY: the operand has an element for every run.
                p[0] = unsafe { number(from.wrapping_add(at / run * size), size) };
            }
            // SAFETY: n elements at each pointer, of the types the block was chosen for. An output
            // buffer is none of the inputs'.
            unsafe { (instruction.block)(ins.as_ptr(), out, n, &p) };
        }
        at += n;
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
/// The input must reach so far, and the buffer hold `n` elements.
unsafe fn bring(spread: &Spread, at: usize, n: usize, to: *mut u8, full: &mut (usize, usize)) {
    let size = spread.size;
    let mut done = 0;
    while done < n {
        let e = at + done;
        // SAFETY: passed on.
        unsafe {
            match spread.reach {
                Reach::Each | Reach::One | Reach::Across(_) => return,
                Reach::Run(length) => {
                    let run = e / length;
                    let len = (length - e % length).min(n - done);
                    let whole = len == n;
                    if !(whole && full.0 == run && full.1 >= n) {
                        fill(spread.from.add(run * size), to.add(done * size), len, size);
                        *full = if whole { (run, n) } else { (0, 0) };
                    }
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

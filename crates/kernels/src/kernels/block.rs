//! Block functions: the type-erased unit of all elementwise work, made from one generic source.
//!
//! A [`Map`] says what happens to one element. [`block`] makes of it a function over contiguous
//! memory, compiled for each instruction-set level; the compiler vectorises it.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use super::isa::{self, Level};

/// Reads `n` contiguous elements of each input and writes `n` contiguous elements.
///
/// # Safety
/// `ins` points to as many pointers as the function has inputs, each valid for reads of `n`
/// aligned elements of its type, `out` is valid for `n` writes. `out` may be equal to inputs (then
/// of the same element size); memory may not overlap otherwise.
pub type Block = unsafe fn(ins: *const *const u8, out: *mut u8, n: usize, p: &[f64; 2]);

/// How a lane of arithmetic is compiled.
pub trait Mode: Copy + Send + Sync + 'static {
    /// Whether a fused multiply-add is one instruction.
    const FMA: bool;
    /// Whether to call the C library where the vectorised functions have a limited domain.
    const LIBM: bool;
}

/// Levels with a fused multiply-add.
#[derive(Clone, Copy, Debug)]
pub struct Fused;
/// Levels without.
#[derive(Clone, Copy, Debug)]
pub struct Unfused;
/// One element at a time, any argument.
#[derive(Clone, Copy, Debug)]
pub struct Exact;

impl Mode for Fused {
    const FMA: bool = true;
    const LIBM: bool = false;
}
impl Mode for Unfused {
    // Targets other than x86-64 with a baseline worth the name have the instruction.
    const FMA: bool = cfg!(target_arch = "aarch64");
    const LIBM: bool = false;
}
impl Mode for Exact {
    const FMA: bool = false;
    const LIBM: bool = true;
}

/// A function of elements.
pub trait Map {
    /// The tuple of input element types.
    type In: Inputs;
    /// The output element type.
    type Out: Copy;
    /// Whether [`Map::hard`] can be true.
    const HARD: bool = false;
    /// Whether there is a version that writes over the first input, which must be of the output's
    /// size: for what takes no longer than a copy would. The rest sets its input aside.
    const OVER: bool = false;
    /// One element. Must be `#[inline(always)]` and free of branches to be vectorised.
    fn call<M: Mode>(x: <Self::In as Inputs>::Values, p: &[f64; 2]) -> Self::Out;
    /// Whether this element lies outside the domain of the vectorised functions, so that the block
    /// it is in must be done with [`Exact`].
    #[inline(always)]
    fn hard(_: <Self::In as Inputs>::Values, _: &[f64; 2]) -> bool {
        false
    }
}

/// Tuples of element types: how to read one element of each.
pub trait Inputs {
    /// The elements.
    type Values: Copy;
    /// The typed pointers.
    type Pointers: Copy;
    /// The largest number of bytes of a padded tail.
    type Padded: Copy;
    /// The smallest element size.
    const MIN_SIZE: usize;
    /// # Safety
    /// As for [`Block`].
    unsafe fn pointers(ins: *const *const u8) -> Self::Pointers;
    /// # Safety
    /// Element `i` of each input must be readable.
    unsafe fn get(p: Self::Pointers, i: usize) -> Self::Values;
    /// The pointers moved on by `n` elements.
    ///
    /// # Safety
    /// In bounds, or one past the end.
    unsafe fn advance(p: Self::Pointers, n: usize) -> Self::Pointers;
    /// The pointers moved back by `n` elements.
    ///
    /// # Safety
    /// In bounds.
    unsafe fn recede(p: Self::Pointers, n: usize) -> Self::Pointers;
    /// Copies `n` elements of each input into `pad` and repeats the first behind them.
    ///
    /// # Safety
    /// `n` elements (at least one) must be readable, at most `CHUNK`.
    unsafe fn pad(
        p: Self::Pointers,
        n: usize,
        pad: &mut MaybeUninit<Self::Padded>,
        to: usize,
    ) -> Self::Pointers;
    /// The pointers with `out` as the first.
    fn with_first(p: Self::Pointers, out: *const u8) -> Self::Pointers;
    /// Whether the first input, and none of the others, is the memory at `out`.
    fn over(p: Self::Pointers, out: *const u8) -> bool;
    /// Whether some input is the memory at `out`.
    fn meets(p: Self::Pointers, out: *const u8) -> bool;
    /// Copies `n` elements of the inputs that are the memory at `out` into `pad`, and points there.
    ///
    /// # Safety
    /// `n` elements must be readable, at most `CHUNK`.
    unsafe fn set_aside(
        p: Self::Pointers,
        n: usize,
        pad: &mut MaybeUninit<Self::Padded>,
        out: *const u8,
    ) -> Self::Pointers;
}

/// Elements that fit a buffer.
const CHUNK: usize = 256;

macro_rules! inputs {
    ($(($($t:ident $i:tt),+))*) => {$(
        impl<$($t: Copy),+> Inputs for ($($t,)+) {
            type Values = ($($t,)+);
            type Pointers = ($(*const $t,)+);
            type Padded = ($([$t; CHUNK],)+);
            const MIN_SIZE: usize = {
                let mut least = usize::MAX;
                $(if size_of::<$t>() < least { least = size_of::<$t>(); })+
                least
            };
            #[inline(always)]
            unsafe fn pointers(ins: *const *const u8) -> Self::Pointers {
                // SAFETY: the caller passes as many pointers as the tuple is long.
                unsafe { ($((*ins.add($i)).cast::<$t>(),)+) }
            }
            #[inline(always)]
            unsafe fn get(p: Self::Pointers, i: usize) -> Self::Values {
                // SAFETY: in bounds by the contract.
                unsafe { ($(p.$i.add(i).read(),)+) }
            }
            #[inline(always)]
            unsafe fn advance(p: Self::Pointers, n: usize) -> Self::Pointers {
                // SAFETY: in bounds by the contract.
                unsafe { ($(p.$i.add(n),)+) }
            }
            #[inline(always)]
            unsafe fn recede(p: Self::Pointers, n: usize) -> Self::Pointers {
                // SAFETY: in bounds by the contract.
                unsafe { ($(p.$i.sub(n),)+) }
            }
            #[inline(always)]
            unsafe fn pad(
                p: Self::Pointers,
                n: usize,
                pad: &mut MaybeUninit<Self::Padded>,
                to: usize,
            ) -> Self::Pointers {
                let pad = pad.as_mut_ptr();
                // SAFETY: `n <= to <= CHUNK`, and the arrays of `pad` hold CHUNK elements.
                unsafe {
                    ($({
                        let q = (&raw mut (*pad).$i).cast::<$t>();
                        std::ptr::copy_nonoverlapping(p.$i, q, n);
                        let first = p.$i.read();
                        for j in n..to {
                            q.add(j).write(first);
                        }
                        q.cast_const()
                    },)+)
                }
            }
            #[inline(always)]
            fn with_first(mut p: Self::Pointers, out: *const u8) -> Self::Pointers {
                p.0 = out.cast();
                p
            }
            #[inline(always)]
            fn over(p: Self::Pointers, out: *const u8) -> bool {
                let met = [$(p.$i.cast::<u8>() == out),+];
                met[0] && !met[1..].contains(&true)
            }
            #[inline(always)]
            fn meets(p: Self::Pointers, out: *const u8) -> bool {
                $(p.$i.cast::<u8>() == out)||+
            }
            #[inline(always)]
            unsafe fn set_aside(
                p: Self::Pointers,
                n: usize,
                pad: &mut MaybeUninit<Self::Padded>,
                out: *const u8,
            ) -> Self::Pointers {
                let pad = pad.as_mut_ptr();
                ($(if p.$i.cast::<u8>() == out {
                    // SAFETY: `n <= CHUNK`, and the arrays of `pad` hold CHUNK elements.
                    unsafe {
                        let q = (&raw mut (*pad).$i).cast::<$t>();
                        std::ptr::copy_nonoverlapping(p.$i, q, n);
                        q.cast_const()
                    }
                } else {
                    p.$i
                },)+)
            }
        }
    )*};
}

inputs! { (A 0) (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) (A 0, B 1, C 2, D 3, E 4) }

/// Lanes done at once: a whole number of vectors (unrolled as LLVM does), given the bytes of four.
const fn unit<F: Map>(bytes: usize) -> usize {
    let out = size_of::<F::Out>();
    let least = if out < F::In::MIN_SIZE { out } else { F::In::MIN_SIZE };
    match least {
        1 => CHUNK,
        2 => 128,
        size => bytes / size,
    }
}

/// Whole units of results. Never inlined as such: only as a parameter is `out` known to the compiler to
/// be apart from the inputs, without which it would not make vectors, or check first.
#[inline(always)]
unsafe fn units<F: Map, M: Mode, const BYTES: usize>(
    out: &mut [MaybeUninit<F::Out>],
    ptrs: <F::In as Inputs>::Pointers,
    p: &[f64; 2],
) {
    // A multiple of the unit, so that no scalar remainder loop is compiled.
    let unit = const { unit::<F>(BYTES) };
    let m = out.len() / unit * unit;
    let out = out.as_mut_ptr();
    for j in 0..m {
        // SAFETY: the caller checked that m elements are readable and writable.
        unsafe { (*out.add(j)).write(F::call::<M>(F::In::get(ptrs, j), p)) };
    }
}

/// As [`units`], over the first input: read and written by one pointer, from which the compiler knows
/// that no element depends on another.
#[inline(always)]
unsafe fn units_over<F: Map, M: Mode, const BYTES: usize>(
    out: &mut [MaybeUninit<F::Out>],
    ptrs: <F::In as Inputs>::Pointers,
    p: &[f64; 2],
) {
    let unit = const { unit::<F>(BYTES) };
    let m = out.len() / unit * unit;
    let out = out.as_mut_ptr();
    let ptrs = F::In::with_first(ptrs, out.cast_const().cast());
    // Nothing, which the compiler does not know: where a result may be what was there it would store under
    // a mask, which takes ten times as long.
    let nothing = std::hint::black_box(0u64);
    for j in 0..m {
        // SAFETY: as in `units`; the first input is as large as the output (`Map::OVER`).
        unsafe {
            let value = F::call::<M>(F::In::get(ptrs, j), p);
            (*out.add(j)).write(xor(value, nothing));
        }
    }
}

/// The bits of a plain value, some of them inverted.
#[inline(always)]
fn xor<T: Copy>(value: T, bits: u64) -> T {
    macro_rules! sizes {
        ($($size:literal $int:ident),*) => {
            match size_of::<T>() {
                $(
                    // SAFETY: of this size, and elements have no padding.
                    $size => unsafe {
                        let inverted = std::mem::transmute_copy::<T, $int>(&value) ^ bits as $int;
                        std::mem::transmute_copy::<$int, T>(&inverted)
                    },
                )*
                _ => value,
            }
        };
    }
    sizes! { 1 u8, 2 u16, 4 u32, 8 u64 }
}

/// The elements outside the domain of the vectorised code, one by one.
#[cold]
#[inline(never)]
unsafe fn exactly<F: Map>(
    ptrs: <F::In as Inputs>::Pointers,
    out: *mut F::Out,
    m: usize,
    p: &[f64; 2],
) {
    for j in 0..m {
        // SAFETY: as in `units`.
        unsafe {
            let x = F::In::get(ptrs, j);
            if F::hard(x, p) {
                out.add(j).write(F::call::<Exact>(x, p));
            }
        }
    }
}

/// What [`units`] is for a level.
type Units<F> =
    unsafe fn(&mut [MaybeUninit<<F as Map>::Out>], <<F as Map>::In as Inputs>::Pointers, &[f64; 2]);

/// Up to `CHUNK` elements that are apart from the inputs, or any number unless `F` is `HARD`.
#[inline(always)]
unsafe fn apart<F: Map>(
    ptrs: <F::In as Inputs>::Pointers,
    out: *mut F::Out,
    m: usize,
    p: &[f64; 2],
    units: Units<F>,
) {
    // SAFETY: the caller checked that m elements are readable and writable.
    unsafe {
        units(std::slice::from_raw_parts_mut(out.cast(), m), ptrs, p);
        if F::HARD {
            let mut hard = false;
            for j in 0..m {
                hard |= F::hard(F::In::get(ptrs, j), p);
            }
            if hard {
                exactly::<F>(ptrs, out, m, p);
            }
        }
    }
}

/// Returns how many elements at the end are not done.
#[inline(always)]
unsafe fn run<F: Map, const BYTES: usize>(
    ins: *const *const u8,
    out: *mut u8,
    n: usize,
    p: &[f64; 2],
    units: Units<F>,
    units_over: Option<Units<F>>,
) -> usize {
    const { assert!(!(F::OVER && F::HARD), "what is hard is found by reading the inputs again") };
    let unit = const { unit::<F>(BYTES) };
    let mut out = out.cast::<F::Out>();
    let mut left = n;
    // SAFETY: all accesses stay within n elements of each operand, or within `tmp` and `pad`.
    unsafe {
        let mut ptrs = F::In::pointers(ins);
        let mut pad = MaybeUninit::<<F::In as Inputs>::Padded>::uninit();
        if let Some(units_over) = units_over
            && n >= unit
            && F::In::over(ptrs, out.cast_const().cast())
        {
            let take = n / unit * unit;
            units_over(std::slice::from_raw_parts_mut(out.cast(), take), ptrs, p);
            ptrs = F::In::advance(ptrs, take);
            out = out.add(take);
            left -= take;
            if left <= FEW_OVER {
                return left;
            }
        }
        let meets = F::In::meets(ptrs, out.cast_const().cast());
        let most = if F::HARD || meets { CHUNK } else { usize::MAX };
        while left >= unit {
            let take = left.min(most) / unit * unit;
            let source = if meets {
                F::In::set_aside(ptrs, take, &mut pad, out.cast_const().cast())
            } else {
                ptrs
            };
            apart::<F>(source, out, take, p, units);
            ptrs = F::In::advance(ptrs, take);
            out = out.add(take);
            left -= take;
        }
        if left > 0 && n >= unit && !meets {
            // The last unit from where it begins; what was done before is written with the same values.
            let back = unit - left;
            apart::<F>(F::In::recede(ptrs, back), out.sub(back), unit, p, units);
        } else if left > 0 {
            let mut tmp = MaybeUninit::<[F::Out; CHUNK]>::uninit();
            let tmp = tmp.as_mut_ptr().cast::<F::Out>();
            let source = F::In::pad(ptrs, left, &mut pad, unit);
            apart::<F>(source, tmp, unit, p, units);
            std::ptr::copy_nonoverlapping(tmp, out, left);
        }
    }
    0
}

/// Elements from `start` on, one by one: 0-d tensors and scalars must not pay for a full vector unit.
#[inline(always)]
unsafe fn run_few<F: Map, M: Mode>(
    ins: *const *const u8,
    out: *mut u8,
    start: usize,
    n: usize,
    p: &[f64; 2],
) {
    // SAFETY: as in `run`.
    unsafe {
        let ptrs = F::In::pointers(ins);
        for j in start..n {
            let x = F::In::get(ptrs, j);
            let y =
                if F::HARD && F::hard(x, p) { F::call::<Exact>(x, p) } else { F::call::<M>(x, p) };
            out.cast::<F::Out>().add(j).write(y);
        }
    }
}

/// Up to this many elements go through [`run_few`].
const FEW: usize = 3;
/// As many as whole vectors leave of what is written over its input.
const FEW_OVER: usize = 31;

macro_rules! level {
    ($name:ident, $units:ident, $over:ident, $mode:ty, $bytes:literal $(, $feature:literal)?) => {
        $(#[target_feature(enable = $feature)])?
        #[inline(never)]
        unsafe fn $units<F: Map>(
            out: &mut [MaybeUninit<F::Out>],
            ptrs: <F::In as Inputs>::Pointers,
            p: &[f64; 2],
        ) {
            // SAFETY: the contract is passed on.
            unsafe { units::<F, $mode, $bytes>(out, ptrs, p) }
        }

        $(#[target_feature(enable = $feature)])?
        #[inline(never)]
        unsafe fn $over<F: Map>(
            out: &mut [MaybeUninit<F::Out>],
            ptrs: <F::In as Inputs>::Pointers,
            p: &[f64; 2],
        ) {
            // SAFETY: the contract is passed on.
            unsafe { units_over::<F, $mode, $bytes>(out, ptrs, p) }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn $name<F: Map>(
            ins: *const *const u8,
            out: *mut u8,
            n: usize,
            p: &[f64; 2],
        ) {
            // SAFETY: the contract of `Block` is passed on.
            unsafe {
                let mut left = n;
                if n > FEW {
                    // Compiled only where it is wanted.
                    let over = const { if F::OVER { Some($over::<F> as Units<F>) } else { None } };
                    left = run::<F, $bytes>(ins, out, n, p, $units::<F>, over);
                }
                run_few::<F, $mode>(ins, out, n - left, n, p);
            }
        }
    };
}

level!(baseline, baseline_units, baseline_units_over, Unfused, 128);
#[cfg(target_arch = "x86_64")]
level!(avx2, avx2_units, avx2_units_over, Fused, 128, "avx2,fma");
#[cfg(target_arch = "x86_64")]
level!(
    avx512,
    avx512_units,
    avx512_units_over,
    Fused,
    256,
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"
);

/// The block function of `F` for the level in use. What is as fast as a copy ([`Map::OVER`]) has no
/// AVX-512 version: memory bounds it, which vectors of half a line get through faster (Zen 4, beyond L2:
/// 600,000 to 2 million float64 added in 0.8 to 0.85, copied in 0.7 to 0.9 of the time).
pub fn block<F: Map>() -> Block {
    #[cfg(target_arch = "x86_64")]
    match isa::level() {
        Level::Baseline => {}
        Level::Avx2 => return avx2::<F>,
        Level::Avx512 => {
            return const { if F::OVER { avx2::<F> as Block } else { avx512::<F> as Block } };
        }
    }
    baseline::<F>
}

/// As [`block`] but without an AVX-512 version: for integers, where it would gain little beyond
/// what memory allows, and to keep compile times in check.
pub fn block_narrow<F: Map>() -> Block {
    #[cfg(target_arch = "x86_64")]
    if isa::level() >= Level::Avx2 {
        return avx2::<F>;
    }
    baseline::<F>
}

/// One element after the other with [`Exact`] arithmetic: for functions that do not vectorise.
pub fn block_scalar<F: Map>() -> Block {
    unsafe fn scalar<F: Map>(ins: *const *const u8, out: *mut u8, n: usize, p: &[f64; 2]) {
        // SAFETY: the contract of `Block` is passed on; an element is read before it is written.
        unsafe { run_few::<F, Exact>(ins, out, 0, n, p) }
    }
    scalar::<F>
}

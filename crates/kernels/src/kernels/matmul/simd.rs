//! Vectors for the micro-kernel of matrix products, one type per instruction set and element.
#![allow(unsafe_code)]

use super::Float;

/// Work written once for all vectors; `run` and what it calls must be `#[inline(always)]`.
pub trait Work<T: Float> {
    /// What `run` gives.
    type Output;
    /// # Safety
    /// The processor must have the instruction set of `V`; the rest is the implementation's.
    unsafe fn run<V: Vector<T = T>>(self) -> Self::Output;
}

/// A vector of elements. The functions are compiled for the instruction set only inside a function
/// that enables it.
pub trait Vector: Copy {
    /// The element.
    type T: Float;
    /// The vector used for packing, of at most eight elements.
    type Pack: Vector<T = Self::T>;
    /// Which elements of a vector are meant.
    type Mask: Copy;
    /// Elements per vector.
    const WIDTH: usize;
    /// Rows of a full tile of the micro-kernel, two vectors wide: as many as the registers hold.
    const ROWS: usize;
    /// # Safety
    /// The processor must have the instruction set; `from` must have `WIDTH` readable elements.
    unsafe fn load(from: *const Self::T) -> Self;
    /// The first so many elements, at most `WIDTH`.
    ///
    /// # Safety
    /// The processor must have the instruction set.
    unsafe fn mask(n: usize) -> Self::Mask;
    /// Zeros where there is nothing in the mask.
    ///
    /// # Safety
    /// The processor must have the instruction set; what is in the mask must be readable.
    unsafe fn load_some(from: *const Self::T, mask: Self::Mask) -> Self;
    /// # Safety
    /// The processor must have the instruction set.
    unsafe fn splat(value: Self::T) -> Self;
    /// `self * a + b`, rounded once where the set has the instruction.
    ///
    /// # Safety
    /// The processor must have the instruction set.
    unsafe fn fused(self, a: Self, b: Self) -> Self;
    /// # Safety
    /// The processor must have the instruction set.
    unsafe fn times(self, a: Self) -> Self;
    /// # Safety
    /// The processor must have the instruction set; `to` must have `WIDTH` writable elements.
    unsafe fn store(self, to: *mut Self::T);
    /// Stores the first `n` elements, at most `WIDTH`.
    ///
    /// # Safety
    /// The processor must have the instruction set; `to` must have `n` writable elements.
    unsafe fn store_some(self, to: *mut Self::T, n: usize);
    /// Transposes the square in the first `WIDTH` vectors.
    ///
    /// # Safety
    /// The processor must have the instruction set.
    unsafe fn turn(square: &mut [Self; 8]);
    /// The even elements of two vectors, one behind the other, and the odd ones.
    ///
    /// # Safety
    /// The processor must have the instruction set.
    unsafe fn part(self, next: Self) -> [Self; 2];
    /// Elements of this vector and another in turn, as two vectors: the inverse of [`Self::part`].
    ///
    /// # Safety
    /// The processor must have the instruction set.
    unsafe fn weave(self, odd: Self) -> [Self; 2];
    /// The sum of both halves, or the whole if it is packed by its like.
    ///
    /// # Safety
    /// The processor must have the instruction set.
    unsafe fn half(self) -> Self::Pack;
    /// The sums of the elements of each of the first `WIDTH` vectors, halves added to halves down to one
    /// element. Only for what packs.
    ///
    /// # Safety
    /// The processor must have the instruction set.
    unsafe fn sums(square: &[Self; 8]) -> Self;
    /// `beta * c + sum` of one element, with the rounding of [`Self::fused`].
    ///
    /// # Safety
    /// The processor must have the instruction set.
    unsafe fn combine(beta: Self::T, c: Self::T, sum: Self::T) -> Self::T;
    /// # Safety
    /// The processor must have the instruction set.
    unsafe fn plus(self, a: Self) -> Self;
    /// # Safety
    /// The processor must have the instruction set.
    unsafe fn minus(self, a: Self) -> Self;
    /// Does the work in a function compiled for the instruction set: closures that run on other
    /// threads do not inherit it.
    ///
    /// # Safety
    /// The processor must have the instruction set; the rest is the work's.
    unsafe fn within<W: Work<Self::T>>(work: W) -> W::Output;
}

/// Stores the first `n` elements.
///
/// # Safety
/// They must be writable.
#[inline(always)]
unsafe fn put<T: Copy, const N: usize>(to: *mut T, n: usize, all: [T; N]) {
    for (i, &value) in all.iter().enumerate().take(n) {
        // SAFETY: the caller's promise.
        unsafe { *to.add(i) = value };
    }
}

/// The sum of elements, a power of two of them, in halves.
#[inline(always)]
pub(in crate::kernels) fn halved<T: Float>(all: &mut [T]) -> T {
    let mut n = all.len();
    while n > 1 {
        n /= 2;
        for i in 0..n {
            all[i] += all[i + n];
        }
    }
    all[0]
}

/// Four or two elements without a fused multiply-add, left to the compiler.
#[derive(Clone, Copy)]
pub struct Plain<T, const N: usize>([T; N]);

macro_rules! plain {
    ($t:ty, $n:literal) => {
        impl Vector for Plain<$t, $n> {
            type T = $t;
            type Pack = Self;
            type Mask = usize;
            const WIDTH: usize = $n;
            const ROWS: usize = 4;
            #[inline(always)]
            unsafe fn load(from: *const $t) -> Self {
                // SAFETY: the elements are readable; arrays have the alignment of their elements.
                Self(unsafe { from.cast::<[$t; $n]>().read() })
            }
            #[inline(always)]
            unsafe fn splat(value: $t) -> Self {
                Self([value; $n])
            }
            #[inline(always)]
            unsafe fn fused(self, a: Self, b: Self) -> Self {
                Self(std::array::from_fn(|i| self.0[i] * a.0[i] + b.0[i]))
            }
            #[inline(always)]
            unsafe fn times(self, a: Self) -> Self {
                Self(std::array::from_fn(|i| self.0[i] * a.0[i]))
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $t) {
                // SAFETY: the elements are writable.
                unsafe { to.cast::<[$t; $n]>().write(self.0) };
            }
            #[inline(always)]
            unsafe fn turn(square: &mut [Self; 8]) {
                let from = *square;
                for (i, row) in square.iter_mut().enumerate().take($n) {
                    *row = Self(std::array::from_fn(|j| from[j].0[i]));
                }
            }
            #[inline(always)]
            unsafe fn part(self, next: Self) -> [Self; 2] {
                let at = |i: usize| if i < $n { self.0[i] } else { next.0[i - $n] };
                [0, 1].map(|odd| Self(std::array::from_fn(|i| at(2 * i + odd))))
            }
            #[inline(always)]
            unsafe fn weave(self, odd: Self) -> [Self; 2] {
                let at = |i: usize| if i % 2 == 0 { self.0[i / 2] } else { odd.0[i / 2] };
                [0, $n].map(|from| Self(std::array::from_fn(|i| at(from + i))))
            }
            #[inline(always)]
            unsafe fn mask(n: usize) -> usize {
                n
            }
            #[inline(always)]
            unsafe fn load_some(from: *const $t, n: usize) -> Self {
                // SAFETY: as many elements are readable.
                unsafe {
                    if n >= $n {
                        return Self::load(from);
                    }
                    Self(std::array::from_fn(|i| if i < n { *from.add(i) } else { 0.0 }))
                }
            }
            #[inline(always)]
            unsafe fn store_some(self, to: *mut $t, n: usize) {
                // SAFETY: as many elements are writable.
                unsafe { put(to, n, self.0) };
            }
            #[inline(always)]
            unsafe fn half(self) -> Self {
                self
            }
            #[inline(always)]
            unsafe fn sums(square: &[Self; 8]) -> Self {
                Self(std::array::from_fn(|i| halved(&mut { square[i].0 })))
            }
            #[inline(always)]
            unsafe fn combine(beta: $t, c: $t, sum: $t) -> $t {
                beta * c + sum
            }
            #[inline(always)]
            unsafe fn plus(self, a: Self) -> Self {
                Self(std::array::from_fn(|i| self.0[i] + a.0[i]))
            }
            #[inline(always)]
            unsafe fn minus(self, a: Self) -> Self {
                Self(std::array::from_fn(|i| self.0[i] - a.0[i]))
            }
            unsafe fn within<W: Work<$t>>(work: W) -> W::Output {
                // SAFETY: passed on.
                unsafe { work.run::<Self>() }
            }
        }
    };
}
plain!(f32, 4);
plain!(f64, 2);

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use std::arch::x86_64::*;

    use super::{Vector, Work, put};

    macro_rules! vector {
        ($name:ident, $pack:ident, $t:ty, $raw:ty, $n:literal, $rows:literal, $turn:path,
         $part:path, $weave:path, $sums:path, $masks:ty, $mask:path, $some:path, $put:path, $half:path, $load:ident, $splat:ident, $fused:ident, $times:ident, $store:ident, $plus:ident,
         $minus:ident, $features:literal) => {
            #[derive(Clone, Copy)]
            pub struct $name($raw);
            impl Vector for $name {
                type T = $t;
                type Pack = $pack;
                type Mask = $masks;
                const WIDTH: usize = $n;
                const ROWS: usize = $rows;
                #[inline(always)]
                unsafe fn load(from: *const $t) -> Self {
                    // SAFETY: passed on.
                    Self(unsafe { $load(from) })
                }
                #[inline(always)]
                unsafe fn splat(value: $t) -> Self {
                    // SAFETY: passed on.
                    Self(unsafe { $splat(value) })
                }
                #[inline(always)]
                unsafe fn fused(self, a: Self, b: Self) -> Self {
                    // SAFETY: passed on.
                    Self(unsafe { $fused(self.0, a.0, b.0) })
                }
                #[inline(always)]
                unsafe fn times(self, a: Self) -> Self {
                    // SAFETY: passed on.
                    Self(unsafe { $times(self.0, a.0) })
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut $t) {
                    // SAFETY: passed on.
                    unsafe { $store(to, self.0) };
                }
                #[inline(always)]
                unsafe fn turn(square: &mut [Self; 8]) {
                    // SAFETY: passed on.
                    unsafe { $turn(square) };
                }
                #[inline(always)]
                unsafe fn part(self, next: Self) -> [Self; 2] {
                    // SAFETY: passed on.
                    unsafe { $part(self.0, next.0) }.map(Self)
                }
                #[inline(always)]
                unsafe fn weave(self, odd: Self) -> [Self; 2] {
                    // SAFETY: passed on.
                    unsafe { $weave(self.0, odd.0) }.map(Self)
                }
                #[inline(always)]
                unsafe fn mask(n: usize) -> $masks {
                    // SAFETY: passed on.
                    unsafe { $mask(n) }
                }
                #[inline(always)]
                unsafe fn load_some(from: *const $t, mask: $masks) -> Self {
                    // SAFETY: passed on.
                    Self(unsafe { $some(from, mask) })
                }
                #[inline(always)]
                unsafe fn store_some(self, to: *mut $t, n: usize) {
                    // SAFETY: passed on.
                    unsafe { $put(to, n, self.0) };
                }
                #[inline(always)]
                unsafe fn half(self) -> $pack {
                    // SAFETY: passed on.
                    $pack(unsafe { $half(self.0) })
                }
                #[inline(always)]
                unsafe fn sums(square: &[Self; 8]) -> Self {
                    // SAFETY: passed on.
                    unsafe { $sums(square) }
                }
                #[inline(always)]
                unsafe fn combine(beta: $t, c: $t, sum: $t) -> $t {
                    beta.mul_add(c, sum)
                }
                #[inline(always)]
                unsafe fn plus(self, a: Self) -> Self {
                    // SAFETY: passed on.
                    Self(unsafe { $plus(self.0, a.0) })
                }
                #[inline(always)]
                unsafe fn minus(self, a: Self) -> Self {
                    // SAFETY: passed on.
                    Self(unsafe { $minus(self.0, a.0) })
                }
                unsafe fn within<W: Work<$t>>(work: W) -> W::Output {
                    #[target_feature(enable = $features)]
                    unsafe fn compiled<W: Work<$t>>(work: W) -> W::Output {
                        // SAFETY: passed on.
                        unsafe { work.run::<$name>() }
                    }
                    // SAFETY: passed on.
                    unsafe { compiled(work) }
                }
            }
        };
    }
    /// The transposition of eight by eight.
    #[inline(always)]
    unsafe fn turn8(v: &mut [Avx2F32; 8]) {
        // SAFETY: the caller has AVX2.
        unsafe {
            let mut pairs = [_mm256_setzero_ps(); 8];
            for i in 0..4 {
                pairs[2 * i] = _mm256_unpacklo_ps(v[2 * i].0, v[2 * i + 1].0);
                pairs[2 * i + 1] = _mm256_unpackhi_ps(v[2 * i].0, v[2 * i + 1].0);
            }
            let mut fours = [_mm256_setzero_ps(); 8];
            for i in 0..2 {
                let at = 4 * i;
                fours[at] = _mm256_shuffle_ps::<0x44>(pairs[at], pairs[at + 2]);
                fours[at + 1] = _mm256_shuffle_ps::<0xee>(pairs[at], pairs[at + 2]);
                fours[at + 2] = _mm256_shuffle_ps::<0x44>(pairs[at + 1], pairs[at + 3]);
                fours[at + 3] = _mm256_shuffle_ps::<0xee>(pairs[at + 1], pairs[at + 3]);
            }
            for i in 0..4 {
                v[i].0 = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
                v[i + 4].0 = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
            }
        }
    }

    /// The transposition of four by four.
    #[inline(always)]
    unsafe fn turn4(v: &mut [Avx2F64; 8]) {
        // SAFETY: the caller has AVX2.
        unsafe {
            let (a, b) = (_mm256_unpacklo_pd(v[0].0, v[1].0), _mm256_unpackhi_pd(v[0].0, v[1].0));
            let (c, d) = (_mm256_unpacklo_pd(v[2].0, v[3].0), _mm256_unpackhi_pd(v[2].0, v[3].0));
            v[0].0 = _mm256_permute2f128_pd::<0x20>(a, c);
            v[1].0 = _mm256_permute2f128_pd::<0x20>(b, d);
            v[2].0 = _mm256_permute2f128_pd::<0x31>(a, c);
            v[3].0 = _mm256_permute2f128_pd::<0x31>(b, d);
        }
    }

    #[inline(always)]
    unsafe fn part8(a: __m256, b: __m256) -> [__m256; 2] {
        // SAFETY: the caller has AVX2.
        unsafe {
            // The halves of both, so that shuffles within halves leave everything in order.
            let low = _mm256_permute2f128_ps::<0x20>(a, b);
            let high = _mm256_permute2f128_ps::<0x31>(a, b);
            [_mm256_shuffle_ps::<0x88>(low, high), _mm256_shuffle_ps::<0xdd>(low, high)]
        }
    }

    #[inline(always)]
    unsafe fn weave8(a: __m256, b: __m256) -> [__m256; 2] {
        // SAFETY: the caller has AVX2.
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let first = _mm256_permute2f128_ps::<0x20>(low, high);
            [first, _mm256_permute2f128_ps::<0x31>(low, high)]
        }
    }

    #[inline(always)]
    unsafe fn part4(a: __m256d, b: __m256d) -> [__m256d; 2] {
        // SAFETY: the caller has AVX2.
        unsafe {
            let low = _mm256_permute2f128_pd::<0x20>(a, b);
            let high = _mm256_permute2f128_pd::<0x31>(a, b);
            [_mm256_unpacklo_pd(low, high), _mm256_unpackhi_pd(low, high)]
        }
    }

    #[inline(always)]
    unsafe fn weave4(a: __m256d, b: __m256d) -> [__m256d; 2] {
        // SAFETY: the caller has AVX2.
        unsafe {
            let (low, high) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
            let first = _mm256_permute2f128_pd::<0x20>(low, high);
            [first, _mm256_permute2f128_pd::<0x31>(low, high)]
        }
    }

    #[inline(always)]
    unsafe fn part16(a: __m512, b: __m512) -> [__m512; 2] {
        // SAFETY: the caller has AVX-512.
        unsafe {
            let even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
            let odd = _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
            [_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b)]
        }
    }

    #[inline(always)]
    unsafe fn weave16(a: __m512, b: __m512) -> [__m512; 2] {
        // SAFETY: the caller has AVX-512.
        unsafe {
            let low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
            let high =
                _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
            [_mm512_permutex2var_ps(a, low, b), _mm512_permutex2var_ps(a, high, b)]
        }
    }

    #[inline(always)]
    unsafe fn part8d(a: __m512d, b: __m512d) -> [__m512d; 2] {
        // SAFETY: the caller has AVX-512.
        unsafe {
            let even = _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0);
            let odd = _mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1);
            [_mm512_permutex2var_pd(a, even, b), _mm512_permutex2var_pd(a, odd, b)]
        }
    }

    #[inline(always)]
    unsafe fn weave8d(a: __m512d, b: __m512d) -> [__m512d; 2] {
        // SAFETY: the caller has AVX-512.
        unsafe {
            let low = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0);
            let high = _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4);
            [_mm512_permutex2var_pd(a, low, b), _mm512_permutex2var_pd(a, high, b)]
        }
    }

    /// Vectors of 512 bits are packed and summed up by those of 256.
    unsafe fn never<T>(_: &mut [T; 8]) {}
    #[inline(always)]
    unsafe fn none<T: Copy>(square: &[T; 8]) -> T {
        square[0]
    }

    #[inline(always)]
    unsafe fn sums8(v: &[Avx2F32; 8]) -> Avx2F32 {
        // SAFETY: the caller has AVX2.
        unsafe {
            // Row i and row i + 4: four elements of each are left.
            let fours = |i: usize| {
                let (a, b) = (v[i].0, v[i + 4].0);
                let low = _mm256_permute2f128_ps::<0x20>(a, b);
                _mm256_add_ps(low, _mm256_permute2f128_ps::<0x31>(a, b))
            };
            let twos = |a: __m256, b: __m256| {
                _mm256_add_ps(_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xee>(a, b))
            };
            let (a, b) = (twos(fours(0), fours(1)), twos(fours(2), fours(3)));
            Avx2F32(_mm256_add_ps(_mm256_shuffle_ps::<0x88>(a, b), _mm256_shuffle_ps::<0xdd>(a, b)))
        }
    }

    #[inline(always)]
    unsafe fn sums4(v: &[Avx2F64; 8]) -> Avx2F64 {
        // SAFETY: the caller has AVX2.
        unsafe {
            let twos = |a: __m256d, b: __m256d| {
                let low = _mm256_permute2f128_pd::<0x20>(a, b);
                _mm256_add_pd(low, _mm256_permute2f128_pd::<0x31>(a, b))
            };
            let (a, b) = (twos(v[0].0, v[2].0), twos(v[1].0, v[3].0));
            Avx2F64(_mm256_add_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b)))
        }
    }

    /// Ones, then zeros: a mask of n elements begins n before the zeros.
    static MASK32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    static MASK64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

    #[inline(always)]
    unsafe fn mask8(n: usize) -> __m256i {
        // SAFETY: the caller has AVX2; the mask lies within the table.
        unsafe { _mm256_loadu_si256(MASK32.as_ptr().add(8 - n.min(8)).cast()) }
    }
    #[inline(always)]
    unsafe fn mask4(n: usize) -> __m256i {
        // SAFETY: the caller has AVX2; the mask lies within the table.
        unsafe { _mm256_loadu_si256(MASK64.as_ptr().add(4 - n.min(4)).cast()) }
    }
    #[inline(always)]
    unsafe fn mask16(n: usize) -> u16 {
        ((1_u32 << n) - 1) as u16
    }
    #[inline(always)]
    unsafe fn mask8d(n: usize) -> u8 {
        ((1_u32 << n) - 1) as u8
    }
    #[inline(always)]
    unsafe fn some16(from: *const f32, mask: u16) -> __m512 {
        // SAFETY: the caller has AVX-512 and these elements.
        unsafe { _mm512_maskz_loadu_ps(mask, from) }
    }
    #[inline(always)]
    unsafe fn some8d(from: *const f64, mask: u8) -> __m512d {
        // SAFETY: the caller has AVX-512 and these elements.
        unsafe { _mm512_maskz_loadu_pd(mask, from) }
    }
    // Stores by a mask take long on some processors with AVX2.
    #[inline(always)]
    unsafe fn put8(to: *mut f32, n: usize, v: __m256) {
        let mut all = [0.0; 8];
        // SAFETY: the caller has AVX2; n elements are writable.
        unsafe {
            _mm256_storeu_ps(all.as_mut_ptr(), v);
            put(to, n, all);
        }
    }
    #[inline(always)]
    unsafe fn put4(to: *mut f64, n: usize, v: __m256d) {
        let mut all = [0.0; 4];
        // SAFETY: the caller has AVX2; n elements are writable.
        unsafe {
            _mm256_storeu_pd(all.as_mut_ptr(), v);
            put(to, n, all);
        }
    }
    #[inline(always)]
    unsafe fn put16(to: *mut f32, n: usize, v: __m512) {
        // SAFETY: the caller has AVX-512; n elements are writable.
        unsafe { _mm512_mask_storeu_ps(to, mask16(n), v) };
    }
    #[inline(always)]
    unsafe fn put8d(to: *mut f64, n: usize, v: __m512d) {
        // SAFETY: the caller has AVX-512; n elements are writable.
        unsafe { _mm512_mask_storeu_pd(to, mask8d(n), v) };
    }
    #[inline(always)]
    unsafe fn whole<T>(v: T) -> T {
        v
    }
    #[inline(always)]
    unsafe fn half16(v: __m512) -> __m256 {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v)) }
    }
    #[inline(always)]
    unsafe fn half8(v: __m512d) -> __m256d {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd::<1>(v)) }
    }

    vector!(
        Avx2F32,
        Avx2F32,
        f32,
        __m256,
        8,
        6,
        turn8,
        part8,
        weave8,
        sums8,
        __m256i,
        mask8,
        _mm256_maskload_ps,
        put8,
        whole,
        _mm256_loadu_ps,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        _mm256_mul_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        "avx2,fma"
    );
    vector!(
        Avx2F64,
        Avx2F64,
        f64,
        __m256d,
        4,
        6,
        turn4,
        part4,
        weave4,
        sums4,
        __m256i,
        mask4,
        _mm256_maskload_pd,
        put4,
        whole,
        _mm256_loadu_pd,
        _mm256_set1_pd,
        _mm256_fmadd_pd,
        _mm256_mul_pd,
        _mm256_storeu_pd,
        _mm256_add_pd,
        _mm256_sub_pd,
        "avx2,fma"
    );
    vector!(
        Avx512F32,
        Avx2F32,
        f32,
        __m512,
        16,
        12,
        never,
        part16,
        weave16,
        none,
        u16,
        mask16,
        some16,
        put16,
        half16,
        _mm512_loadu_ps,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        _mm512_mul_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"
    );
    vector!(
        Avx512F64,
        Avx2F64,
        f64,
        __m512d,
        8,
        12,
        never,
        part8d,
        weave8d,
        none,
        u8,
        mask8d,
        some8d,
        put8d,
        half8,
        _mm512_loadu_pd,
        _mm512_set1_pd,
        _mm512_fmadd_pd,
        _mm512_mul_pd,
        _mm512_storeu_pd,
        _mm512_add_pd,
        _mm512_sub_pd,
        "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"
    );
}

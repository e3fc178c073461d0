//! The Mersenne Twister MT19937 and the generator around it.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Read;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::error::{Result, ensure};

const N: usize = 624;
const M: usize = 397;

/// Bytes of [`Generator::state`], as many as torch's CPU generator has.
pub const STATE_BYTES: usize = 5056;

/// The seed of a generator that was given none, as in torch.
pub const DEFAULT_SEED: u64 = 67_280_421_310_721;

/// A source of random numbers that repeats torch's CPU generator bit for bit.
///
/// The engine is MT19937 (Matsumoto & Nishimura, "Mersenne Twister", ACM TOMACS 8(1), 1998), seeded
/// by the low 32 bits of the seed. Beside it lives the second number of the last Box-Muller pair,
/// which the next short normal fill consumes first.
///
/// ```
/// use rustgrad_kernels::random::Generator;
/// let mut generator = Generator::new(0);
/// assert_eq!(generator.next_u32(), 2357136044);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Generator {
    seed: u64,
    state: [u32; N],
    next: usize,
    /// Whether the state is as seeded; torch's saved states tell this from one used up.
    fresh: bool,
    pub(super) spare_normal: Option<f64>,
}

impl Default for Generator {
    fn default() -> Self {
        Self::new(DEFAULT_SEED)
    }
}

impl Generator {
    /// A generator with the given seed.
    pub fn new(seed: u64) -> Self {
        let mut generator = Self { seed, state: [0; N], next: N, fresh: true, spare_normal: None };
        generator.manual_seed(seed);
        generator
    }

    /// A generator seeded by the operating system.
    pub fn from_entropy() -> Self {
        Self::new(entropy())
    }

    /// Starts over from `seed`.
    pub fn manual_seed(&mut self, seed: u64) {
        self.seed = seed;
        let mut last = seed as u32;
        self.state[0] = last;
        for (j, slot) in self.state.iter_mut().enumerate().skip(1) {
            last = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(j as u32);
            *slot = last;
        }
        self.next = N;
        self.fresh = true;
        self.spare_normal = None;
    }

    /// Starts over from a seed of the operating system and returns it.
    pub fn seed(&mut self) -> u64 {
        let seed = entropy();
        self.manual_seed(seed);
        seed
    }

    /// The seed this generator last started from.
    pub fn initial_seed(&self) -> u64 {
        self.seed
    }

    /// The next 32 random bits.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let y = self.state[self.next];
        self.next += 1;
        temper(y)
    }

    /// The next `out.len()` numbers of 32 random bits each, `f` of every one: what calls of
    /// [`Self::next_u32`] would give, without their bookkeeping.
    #[inline]
    pub(super) fn fill_u32<T>(&mut self, mut out: &mut [T], f: impl Fn(u32) -> T + Copy) {
        while !out.is_empty() {
            if self.next == N {
                self.twist();
            }
            let count = out.len().min(N - self.next);
            let (now, later) = out.split_at_mut(count);
            let state = &self.state[self.next..self.next + count];
            crate::kernels::multiversion::run_narrow(Temper { state, out: now, f });
            self.next += count;
            out = later;
        }
    }

    /// The next 64 random bits: two draws, the first in the high half.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let high = u64::from(self.next_u32());
        (high << 32) | u64::from(self.next_u32())
    }

    /// A number in `[0, 1)` with 24 random bits.
    #[inline]
    pub(super) fn unit_f32(&mut self) -> f32 {
        unit_f32(self.next_u32())
    }

    /// What as many calls of [`Self::unit_f32`] would give.
    pub(super) fn units_f32(&mut self, out: &mut [f32]) {
        self.fill_u32(out, unit_f32);
    }

    /// What as many calls of [`Self::unit_f64`] would give.
    pub(super) fn units_f64(&mut self, out: &mut [f64]) {
        let mut raw = [0u32; 512];
        for out in out.chunks_mut(256) {
            let raw = &mut raw[..2 * out.len()];
            self.fill_u32(raw, |bits| bits);
            for (out, pair) in out.iter_mut().zip(raw.as_chunks::<2>().0) {
                *out = unit_f64(u64::from(pair[0]) << 32 | u64::from(pair[1]));
            }
        }
    }

    /// A number in `[0, 1)` with 53 random bits.
    #[inline]
    pub(super) fn unit_f64(&mut self) -> f64 {
        unit_f64(self.next_u64())
    }

    #[cold]
    fn twist(&mut self) {
        // The last bit of v as a mask, so that no branch keeps the loops from being vectors.
        let mix = |u: u32, v: u32| {
            (((u & 0x8000_0000) | (v & 0x7fff_ffff)) >> 1) ^ ((v & 1).wrapping_neg() & 0x9908_b0df)
        };
        let s = &mut self.state;
        for j in 0..N - M {
            s[j] = s[j + M] ^ mix(s[j], s[j + 1]);
        }
        // In two parts, neither of which reads what it writes.
        for range in [N - M..2 * (N - M), 2 * (N - M)..N - 1] {
            let (before, now) = s.split_at_mut(range.start);
            let from = &before[range.start + M - N..];
            for j in 0..range.len() {
                now[j] = from[j] ^ mix(now[j], now[j + 1]);
            }
        }
        s[N - 1] = s[M - 1] ^ mix(s[N - 1], s[0]);
        self.next = 0;
        self.fresh = false;
    }

    /// The state as the bytes of `torch.get_rng_state()`: interchangeable with torch's.
    pub fn state(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(STATE_BYTES);
        // torch counts the draws left until the next twist, plus one, and starts at (1, 0).
        let (left, next) =
            if self.fresh { (1, 0) } else { (N as u32 + 1 - self.next as u32, self.next as u64) };
        bytes.extend_from_slice(&self.seed.to_le_bytes());
        bytes.extend_from_slice(&left.to_le_bytes());
        bytes.extend_from_slice(&1u32.to_le_bytes());
        bytes.extend_from_slice(&next.to_le_bytes());
        for &word in &self.state {
            bytes.extend_from_slice(&u64::from(word).to_le_bytes());
        }
        bytes.extend_from_slice(&0f64.to_le_bytes());
        bytes.extend_from_slice(&self.spare_normal.unwrap_or(0.0).to_le_bytes());
        bytes.extend_from_slice(&0f64.to_le_bytes());
        bytes.extend_from_slice(&u64::from(self.spare_normal.is_some()).to_le_bytes());
        // Torch ends with a spare float32 sample, which no CPU kernel sets.
        bytes.resize(STATE_BYTES, 0);
        bytes
    }

    /// Continues from bytes taken by [`Self::state`] or by torch.
    ///
    /// ```
    /// use rustgrad_kernels::random::Generator;
    /// let mut a = Generator::new(1);
    /// a.next_u32();
    /// let mut b = Generator::default();
    /// b.set_state(&a.state()).unwrap();
    /// assert_eq!(a.next_u64(), b.next_u64());
    /// ```
    pub fn set_state(&mut self, bytes: &[u8]) -> Result<()> {
        ensure!(
            bytes.len() == STATE_BYTES,
            runtime,
            "Expected a CPUGeneratorImplState of size {STATE_BYTES} but found the input RNG state size \
             to be {}",
            bytes.len()
        );
        let word = |at: usize| {
            let mut raw = [0; 8];
            raw.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(raw)
        };
        let (left, seeded, next) = (word(8) as u32 as usize, word(8) >> 32, word(16) as usize);
        ensure!(
            seeded == 1 && (1..=N).contains(&left) && next <= N,
            runtime,
            "Invalid mt19937 state"
        );
        self.seed = word(0);
        for (j, slot) in self.state.iter_mut().enumerate() {
            *slot = word(24 + 8 * j) as u32;
        }
        self.next = if left == 1 { N } else { next };
        self.fresh = left == 1 && next == 0;
        let tail = 24 + 8 * N;
        let valid = word(tail + 24) as u32 != 0;
        self.spare_normal = valid.then(|| f64::from_bits(word(tail + 8)));
        Ok(())
    }
}

#[inline(always)]
fn temper(mut y: u32) -> u32 {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c_5680;
    y ^= (y << 15) & 0xefc6_0000;
    y ^ (y >> 18)
}

#[inline(always)]
fn unit_f32(bits: u32) -> f32 {
    // Signed, which is one instruction to convert.
    (bits & 0x00ff_ffff) as i32 as f32 * (1.0 / 16_777_216.0)
}

#[inline(always)]
fn unit_f64(bits: u64) -> f64 {
    (bits & ((1 << 53) - 1)) as i64 as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// Tempers a part of the state.
struct Temper<'a, T, F> {
    state: &'a [u32],
    out: &'a mut [T],
    f: F,
}

impl<T, F: Fn(u32) -> T> crate::kernels::multiversion::Job for Temper<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (out, &y) in self.out.iter_mut().zip(self.state) {
            *out = (self.f)(temper(y));
        }
    }
}

/// 53 bits, as torch takes, so that the seed survives a trip through a float.
fn entropy() -> u64 {
    let mut raw = [0; 8];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut raw));
    let bits = if read.is_ok() {
        u64::from_le_bytes(raw)
    } else {
        // The hasher's keys come from the system once per thread and are inherited by a forked
        // child, hence the clock and the process.
        let mut hasher = RandomState::new().build_hasher();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        hasher.write_u128(now);
        hasher.write_u32(std::process::id());
        hasher.finish()
    };
    bits & ((1 << 53) - 1)
}

static DEFAULT: LazyLock<Mutex<Generator>> =
    LazyLock::new(|| Mutex::new(Generator::from_entropy()));

/// The generator used where none is given, seeded by the system until `manual_seed` is called.
///
/// Lock it for one whole fill: that keeps the numbers of concurrent fills apart.
///
/// ```
/// use rustgrad_kernels::random::default_generator;
/// default_generator().lock().manual_seed(0);
/// assert_eq!(default_generator().lock().initial_seed(), 0);
/// ```
pub fn default_generator() -> &'static Mutex<Generator> {
    &DEFAULT
}

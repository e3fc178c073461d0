//! A least-significant-digit radix sort of packed keys.

/// A key in the high half and a position in the low half.
pub trait Packed: Copy + Ord + Default + Send + Sync + std::fmt::Debug {
    /// The key alone, or a number; signed, for which there are more instructions.
    type Half: Copy + Ord + From<bool> + std::ops::AddAssign;
    /// Bytes of the key.
    const DIGITS: usize;
    /// The greatest of all.
    const LAST: Self;
    /// One byte of the key, from the least significant.
    fn digit(self, digit: usize) -> usize;
    /// The position.
    fn position(self) -> usize;
    /// The key.
    fn key(self) -> u64;
    /// The key at its own width.
    fn half(self) -> Self::Half;
    /// A number that is not a key.
    fn number(n: usize) -> Self::Half;
    /// A number as it was.
    fn count(number: Self::Half) -> usize;
    /// A key and a position.
    fn join(key: u64, position: usize) -> Self;
    /// Whether the keys are equal.
    fn same_key(&self, other: &Self) -> bool;
}

macro_rules! packed {
    ($($t:ident $half:ident),*) => {$(
        impl Packed for $t {
            type Half = $half;
            const DIGITS: usize = ($t::BITS / 16) as usize;
            const LAST: Self = $t::MAX;
            #[inline(always)]
            fn digit(self, digit: usize) -> usize {
                (self >> ($t::BITS as usize / 2 + 8 * digit)) as usize & 255
            }
            #[inline(always)]
            fn position(self) -> usize {
                (self & ((1 << ($t::BITS / 2)) - 1)) as usize
            }
            #[inline(always)]
            fn key(self) -> u64 {
                (self >> ($t::BITS / 2)) as u64
            }
            #[inline(always)]
            fn half(self) -> $half {
                (self >> ($t::BITS / 2)) as $half ^ $half::MIN
            }
            #[inline(always)]
            fn number(n: usize) -> $half {
                n as $half
            }
            #[inline(always)]
            fn count(number: $half) -> usize {
                number as usize
            }
            #[inline(always)]
            fn join(key: u64, position: usize) -> Self {
                $t::from(key) << ($t::BITS / 2) | position as $t
            }
            #[inline(always)]
            fn same_key(&self, other: &Self) -> bool {
                self >> ($t::BITS / 2) == other >> ($t::BITS / 2)
            }
        }
    )*};
}
packed!(u64 i32, u128 i64);

/// Keys below which counting costs more than comparing.
const SMALL: usize = 768;

/// Sorts up to `SMALL` wide keys by the leading bits of their distances from the least, with which positions share
/// a word of half the size; what these leave in disorder is exchanged. `false`, in some order, if that is much.
fn by_leading_bits<P: Packed>(keys: &mut [P]) -> bool {
    const PLACES: u32 = SMALL.ilog2() + 1;
    let low = keys.iter().map(|k| k.key()).min().unwrap_or(0);
    let high = keys.iter().map(|k| k.key()).max().unwrap_or(0);
    let left_out = PLACES.saturating_sub((high - low).leading_zeros());
    let mut words = [0u64; SMALL];
    let words = &mut words[..keys.len()];
    for ((i, word), key) in (0..).zip(words.iter_mut()).zip(keys.iter()) {
        *word = (key.key() - low) >> left_out << PLACES | i;
    }
    words.sort_unstable();
    let given = keys.to_owned();
    for (key, word) in keys.iter_mut().zip(words.iter()) {
        *key = given[(word & ((1 << PLACES) - 1)) as usize];
    }
    if left_out == 0 {
        return true;
    }
    let mut left = 8 * keys.len();
    for end in 1..keys.len() {
        let mut at = end;
        while at > 0 && keys[at - 1] > keys[at] {
            keys.swap(at - 1, at);
            at -= 1;
            left -= 1;
            if left == 0 {
                return false;
            }
        }
    }
    true
}

/// Sorts keys whose positions ascend.
pub(super) fn sort<P: Packed>(keys: &mut Vec<P>) {
    let n = keys.len();
    if keys.is_sorted() {
        return;
    }
    if n < SMALL {
        if P::DIGITS <= 4 || n < 32 || !by_leading_bits(keys) {
            keys.sort_unstable();
        }
        return;
    }
    if P::DIGITS > 4 && u32::try_from(n).is_ok() {
        // Wide types mostly hold narrow ranges: then keys of half the size order them.
        let low = keys.iter().map(|k| k.key()).min().unwrap_or(0);
        let high = keys.iter().map(|k| k.key()).max().unwrap_or(0);
        if u32::try_from(high - low).is_ok() {
            let mut narrow: Vec<u64> =
                keys.iter().map(|k| (k.key() - low) << 32 | k.position() as u64).collect();
            sort(&mut narrow);
            keys.clear();
            keys.extend(narrow.iter().map(|k| P::join(k.key() + low, k.position())));
            return;
        }
    }
    let mut counts = vec![[0u32; 256]; P::DIGITS];
    for key in keys.iter() {
        for (digit, counts) in counts.iter_mut().enumerate() {
            counts[key.digit(digit)] += 1;
        }
    }
    let mut other = vec![P::default(); n];
    for (digit, counts) in counts.iter_mut().enumerate() {
        // A digit that all keys share orders nothing.
        if counts[keys[0].digit(digit)] as usize == n {
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            (start, *count) = (start + *count, start);
        }
        for &key in keys.iter() {
            let at = &mut counts[key.digit(digit)];
            other[*at as usize] = key;
            *at += 1;
        }
        std::mem::swap(keys, &mut other);
    }
}

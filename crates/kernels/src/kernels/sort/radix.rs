//! A least-significant-digit radix sort of packed keys.

/// A key in the high half and a position in the low half.
pub trait Packed: Copy + Ord + Default + Send + Sync + std::fmt::Debug {
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
    /// A key and a position.
    fn join(key: u64, position: usize) -> Self;
    /// Whether the keys are equal.
    fn same_key(&self, other: &Self) -> bool;
}

macro_rules! packed {
    ($($t:ident),*) => {$(
        impl Packed for $t {
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
packed!(u64, u128);

/// Keys below which counting costs more than comparing.
const SMALL: usize = 768;

/// The pairs that Batcher's merge exchange compares, for lines of up to 4, 8 and 16 keys.
const PAIRS: [&[(u8, u8)]; 3] = [&pairs::<4, 5>(), &pairs::<8, 19>(), &pairs::<16, 63>()];

const fn pairs<const N: usize, const COUNT: usize>() -> [(u8, u8); COUNT] {
    let mut pairs = [(0, 0); COUNT];
    let mut count = 0;
    let mut run = 1;
    while run < N {
        let mut step = run;
        while step > 0 {
            let mut from = step % run;
            while from + step < N {
                let mut i = from;
                while i < from + step && i + step < N {
                    if i / (2 * run) == (i + step) / (2 * run) {
                        pairs[count] = (i as u8, (i + step) as u8);
                        count += 1;
                    }
                    i += 1;
                }
                from += 2 * step;
            }
            step /= 2;
        }
        run *= 2;
    }
    assert!(count == COUNT);
    pairs
}

/// Sorts up to 16 keys without branches, a guess at which costs more than a comparison.
fn sort_few<P: Packed>(keys: &mut [P]) {
    let mut all = [P::LAST; 16];
    let n = keys.len();
    all[..n].copy_from_slice(keys);
    let network = PAIRS[usize::from(n > 4) + usize::from(n > 8)];
    for &(i, j) in network {
        let (i, j) = (usize::from(i) & 15, usize::from(j) & 15);
        let (a, b) = (all[i], all[j]);
        (all[i], all[j]) = (a.min(b), a.max(b));
    }
    keys.copy_from_slice(&all[..n]);
}

/// Sorts keys whose positions ascend.
pub(super) fn sort<P: Packed>(keys: &mut Vec<P>) {
    let n = keys.len();
    if n <= 16 {
        sort_few(keys);
        return;
    }
    if n < SMALL {
        keys.sort_unstable();
        return;
    }
    if keys.is_sorted() {
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

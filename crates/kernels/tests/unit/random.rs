//! Bit for bit against hashes recorded from torch 2.15 by `tests/record_random.py`.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::dtype::{Bool, Element};
use crate::error::{ErrorKind, Result};

const GOLDEN: &str = include_str!("../data/random.txt");

/// Kinds that call the C library's functions, whose last bits are its own.
const LIBM: &[&str] = &[
    "randn",
    "normal",
    "sequential",
    "exponential",
    "cauchy",
    "log_normal",
    "geometric",
    "multinomial",
];

trait Bytes: Element {
    fn put(self, hash: &mut u32);
}

fn mix(hash: &mut u32, bytes: &[u8]) {
    for &byte in bytes {
        *hash = (*hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
}

macro_rules! bytes {
    ($($t:ty),*) => {$(
        impl Bytes for $t {
            fn put(self, hash: &mut u32) {
                mix(hash, &self.to_le_bytes());
            }
        }
    )*};
}
bytes!(u8, i8, i16, i32, i64, f32, f64);

impl Bytes for Bool {
    fn put(self, hash: &mut u32) {
        mix(hash, &[self.0]);
    }
}

fn probabilities<P: Real>(n: usize) -> Vec<P> {
    (0..n).map(|i| P::from_f64((i * 7 % 13) as f64 / 16.0)).collect()
}

struct Case<'a> {
    kind: &'a str,
    args: Vec<f64>,
    n: usize,
}

/// The kinds that every dtype has; false if the kind is another.
fn any<T: Bytes>(case: &Case, g: &mut Generator, hash: &mut u32) -> Result<bool> {
    let mut out = vec![T::default(); case.n];
    let a = |i: usize| case.args[i];
    match case.kind {
        "randint" => randint(g, &mut out, a(0) as i64, a(1) as i64)?,
        "random" => random(g, &mut out),
        "random_from" => random_from(g, &mut out, a(0) as i64)?,
        "randperm" => randperm(g, &mut out),
        "bernoulli" => bernoulli(g, &mut out, a(0))?,
        "bernoulli_f32" => bernoulli_each(g, &mut out, &probabilities::<f32>(case.n))?,
        "bernoulli_f64" => bernoulli_each(g, &mut out, &probabilities::<f64>(case.n))?,
        "geometric" => geometric(g, &mut out, a(0))?,
        _ => return Ok(false),
    }
    for x in out {
        x.put(hash);
    }
    Ok(true)
}

fn real<T: Real + Bytes>(case: &Case, g: &mut Generator, hash: &mut u32) -> Result<()> {
    if any::<T>(case, g, hash)? {
        return Ok(());
    }
    let mut out = vec![T::default(); case.n];
    let a = |i: usize| case.args[i];
    match case.kind {
        "rand" => rand(g, &mut out),
        "uniform" => uniform(g, &mut out, a(0), a(1))?,
        "randn" => normal(g, &mut out, 0.0, 1.0)?,
        "normal" => normal(g, &mut out, a(0), a(1))?,
        "sequential" => normal_sequential(g, &mut out, a(0), a(1))?,
        "dropout" => dropout_noise(g, &mut out, a(0))?,
        "exponential" => exponential(g, &mut out, a(0))?,
        "cauchy" => cauchy(g, &mut out, a(0), a(1))?,
        "log_normal" => log_normal(g, &mut out, a(0), a(1))?,
        "multinomial" => {
            let (rows, draws) = (a(1) as usize, a(2) as usize);
            let mut weights = probabilities::<T>(case.n * rows);
            for weight in &mut weights {
                *weight = *weight + T::from_f64(0.1);
            }
            let mut drawn = vec![0i64; rows * draws];
            multinomial(g, &mut drawn, &weights, case.n, a(0) != 0.0)?;
            for x in drawn {
                x.put(hash);
            }
            return Ok(());
        }
        other => panic!("unknown kind {other}"),
    }
    for x in out {
        x.put(hash);
    }
    Ok(())
}

#[test]
fn same_bits_as_torch() {
    let (mut wrong, mut total) = (Vec::new(), 0);
    for line in GOLDEN.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (kind, dtype, seed) = (fields[0], fields[1], fields[3].parse().unwrap());
        if LIBM.contains(&kind) && !cfg!(target_env = "gnu") {
            continue;
        }
        for entry in &fields[4..] {
            let (n, expected) = entry.split_once(':').unwrap();
            let args = fields[2].split(',').filter_map(|x| x.parse().ok()).collect();
            let case = Case { kind, args, n: n.parse().unwrap() };
            let mut g = Generator::new(seed);
            let mut hash = 0x811c_9dc5;
            for _ in 0..2 {
                match dtype {
                    "f32" => real::<f32>(&case, &mut g, &mut hash).unwrap(),
                    "f64" => real::<f64>(&case, &mut g, &mut hash).unwrap(),
                    other => {
                        let run = match other {
                            "i64" => any::<i64>,
                            "i32" => any::<i32>,
                            "i16" => any::<i16>,
                            "i8" => any::<i8>,
                            "u8" => any::<u8>,
                            _ => any::<Bool>,
                        };
                        assert!(run(&case, &mut g, &mut hash).unwrap());
                    }
                }
            }
            let mut draw = [0i64];
            random(&mut g, &mut draw);
            draw[0].put(&mut hash);
            total += 1;
            if format!("{hash:08x}") != expected {
                wrong.push(format!("{kind} {dtype} {} seed {seed} size {n}", fields[2]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {total} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// The spare normal crosses calls of either dtype, but only between short fills.
#[test]
fn spare_normal_survives_other_fills() {
    let mut a = Generator::new(3);
    let mut both = [0f64; 2];
    normal(&mut a, &mut both, 0.0, 1.0).unwrap();
    let mut b = Generator::new(3);
    let (mut first, mut second) = ([0f64; 1], [0f32; 1]);
    normal(&mut b, &mut first, 0.0, 1.0).unwrap();
    rand(&mut b, &mut [0f32; 5]);
    normal(&mut b, &mut [0f32; 16], 0.0, 1.0).unwrap();
    normal(&mut b, &mut second, 0.0, 1.0).unwrap();
    assert_eq!((first[0], second[0]), (both[0], both[1] as f32));
    b.manual_seed(3);
    assert_eq!(b, Generator::new(3));
}

#[test]
fn state_round_trip() {
    for draws in [0, 1, 623, 624, 625, 1300] {
        let mut a = Generator::new(9);
        for _ in 0..draws {
            a.next_u32();
        }
        normal(&mut a, &mut [0f32], 0.0, 1.0).unwrap();
        let mut b = Generator::default();
        b.set_state(&a.state()).unwrap();
        assert_eq!(a.state(), b.state());
        let (mut x, mut y) = ([0f64; 2], [0f64; 2]);
        normal(&mut a, &mut x, 0.0, 1.0).unwrap();
        normal(&mut b, &mut y, 0.0, 1.0).unwrap();
        assert_eq!(x, y);
        assert_eq!(a.next_u64(), b.next_u64());
        assert_eq!(b.initial_seed(), 9);
    }
    assert!(Generator::default().set_state(&[0; 10]).is_err());
    assert!(Generator::default().set_state(&[0; STATE_BYTES]).is_err());
}

/// Hashes of `torch.get_rng_state()` after the same calls.
#[test]
fn state_bytes_are_torch_s() {
    let mut g = Generator::new(9);
    let hash = |g: &Generator| {
        let mut hash = 0x811c_9dc5;
        mix(&mut hash, &g.state());
        hash
    };
    assert_eq!(hash(&g), 0x2f0d_af66);
    rand(&mut g, &mut [0f32; 1]);
    assert_eq!(hash(&g), 0xf1d6_79e3);
    if cfg!(target_env = "gnu") {
        normal(&mut g, &mut [0f32; 1], 0.0, 1.0).unwrap();
        assert_eq!(hash(&g), 0x1a2b_b2ab);
        // Up to the last word of the state, and past it.
        rand(&mut g, &mut [0f32; 619]);
        assert_eq!(hash(&g), 0x2e22_776b);
        rand(&mut g, &mut [0f32; 1]);
        assert_eq!(hash(&g), 0x6814_dcaa);
    }
}

#[test]
fn entropy_differs() {
    assert_ne!(Generator::from_entropy().initial_seed(), Generator::from_entropy().initial_seed());
}

#[test]
fn errors_are_torch_s() {
    let g = &mut Generator::new(0);
    let text = |result: Result<()>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Runtime);
        error.message().to_string()
    };
    assert_eq!(
        text(randint(g, &mut [0i64], 5, 5)),
        "random_ expects 'from' to be less than 'to', but got from=5 >= to=5"
    );
    assert_eq!(text(randint(g, &mut [0u8], 0, 300)), "to - 1 is out of bounds for unsigned char");
    assert_eq!(
        text(normal(g, &mut [0f32], 0.0, -1.0)),
        "normal expects std >= 0.0, but found std -1"
    );
    assert_eq!(
        text(uniform(g, &mut [0f32], 1.0, 0.0)),
        "uniform_ expects to return a [from, to) range, but found from=1 > to=0"
    );
    let weights = [0.5f32, -1.0];
    assert_eq!(
        text(multinomial(g, &mut [0], &weights, 2, false)),
        "probability tensor contains either `inf`, `nan` or element < 0"
    );
    assert_eq!(
        text(multinomial(g, &mut [0], &[0f32; 2], 2, false)),
        "invalid multinomial distribution (sum of probabilities <= 0)"
    );
    assert_eq!(
        text(multinomial(g, &mut [0; 3], &[1f32; 2], 2, false)),
        "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
    );
}

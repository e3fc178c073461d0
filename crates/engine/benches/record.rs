//! Recording, differentiating and dropping graphs of 0-d tensors: the cost of a node.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rustgrad_engine::graph::GradMode;
use rustgrad_engine::ops::binary::Binary;
use rustgrad_engine::{Result, Tensor};

const N: usize = 1000;

fn chain(x: &Tensor, k: &Tensor) -> Result<Tensor> {
    let mut z = x.clone();
    for _ in 0..N {
        z = z.mul(k)?;
    }
    Ok(z)
}

fn record(c: &mut Criterion) {
    let make = |value: f32| Tensor::scalar(value).and_then(|t| t.requires_grad_(true));
    let (Ok(x), Ok(k)) = (make(1.0), make(1.0001)) else { return };
    let mut group = c.benchmark_group("record");
    group.throughput(Throughput::Elements(N as u64));
    group.bench_function("mul 0-d, recorded and dropped", |b| b.iter(|| chain(&x, &k)));
    group.bench_function("mul 0-d, with backward", |b| {
        b.iter(|| chain(&x, &k).and_then(|z| z.backward()));
    });
    group.bench_function("add number, with backward", |b| {
        b.iter(|| {
            let mut z = x.clone();
            for _ in 0..N {
                z = z.binary_scalar(Binary::Add, 1.0.into(), false)?;
            }
            z.backward()
        });
    });
    group.bench_function("mul 0-d, not recorded", |b| {
        b.iter(|| {
            let _mode = GradMode::no_grad();
            chain(black_box(&x), &k)
        });
    });
    group.finish();
}

criterion_group!(benches, record);
criterion_main!(benches);

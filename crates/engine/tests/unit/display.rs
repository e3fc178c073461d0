//! Against texts recorded from torch 2.15 by `tests/record_display.py`.
#![allow(clippy::unwrap_used)]

use super::*;

const GOLDEN: &str = include_str!("../data/display.txt");

fn dtype(name: &str) -> DType {
    *DType::ALL.iter().find(|d| d.name() == name).unwrap()
}

fn elements(dtype: DType, numel: usize, spec: &str) -> Vec<Scalar> {
    if let Some(formula) = spec.strip_prefix('%') {
        let p: Vec<i64> = formula.split(',').map(|x| x.parse().unwrap()).collect();
        let value = |i: i64| ((i * p[0] + p[1]) % p[2] - p[2] / 2) as f64 / p[3] as f64;
        return (0..numel as i64)
            .map(|i| match dtype.category() {
                1 => Scalar::Int(value(i) as i64),
                _ => Scalar::Float(value(i)),
            })
            .collect();
    }
    spec.split(',')
        .filter(|x| !x.is_empty())
        .map(|x| match dtype.category() {
            0 => Scalar::Bool(x != "0"),
            1 => Scalar::Int(x.parse().unwrap()),
            _ => Scalar::Float(f64::from_bits(u64::from_str_radix(x, 16).unwrap())),
        })
        .collect()
}

fn options(text: &str) -> PrintOptions {
    let f: Vec<&str> = text.split(',').collect();
    PrintOptions {
        precision: f[0].parse().unwrap(),
        threshold: f[1].parse().unwrap(),
        edgeitems: f[2].parse().unwrap(),
        linewidth: f[3].parse().unwrap(),
        sci_mode: match f[4] {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        },
    }
}

#[test]
fn same_text_as_torch() {
    let (mut wrong, mut total) = (Vec::new(), 0);
    let mut lines = GOLDEN.lines().peekable();
    while let Some(head) = lines.next() {
        let mut expected = Vec::new();
        while let Some(line) = lines.peek().and_then(|line| line.strip_prefix('>')) {
            expected.push(line);
            lines.next();
        }
        let f: Vec<&str> = head.split('|').collect();
        let shape: Vec<usize> = f[1].split(',').filter_map(|x| x.parse().ok()).collect();
        let data = elements(dtype(f[0]), shape.iter().product(), f[5]);
        let get = |index: &[usize]| {
            assert_eq!(index.len(), shape.len());
            data[index.iter().zip(&shape).fold(0, |at, (i, size)| at * size + i)]
        };
        let view = View { dtype: dtype(f[0]), shape: &shape, get: &get };
        let info = Info {
            default_dtype: dtype(f[3]),
            requires_grad: f[4] != "-",
            grad_fn: f[4].ends_with('0').then_some(f[4]),
            ..Info::default()
        };
        let text = tensor_text(&view, &info, &options(f[2]));
        total += 1;
        if text != expected.join("\n") {
            wrong.push(format!("{head}\nexpected {}\nfound    {text}\n", expected.join("\n")));
        }
    }
    assert!(total > 300);
    assert!(wrong.is_empty(), "{} of {total} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Only the elements shown are fetched, however large the tensor.
#[test]
fn summaries_touch_the_edges_only() {
    let fetched = std::cell::Cell::new(0);
    let get = |_: &[usize]| {
        fetched.set(fetched.get() + 1);
        Scalar::Int(1)
    };
    let view = View { dtype: DType::I64, shape: &[1 << 30, 1 << 30], get: &get };
    let text = tensor_text(&view, &Info::default(), &PrintOptions::default());
    assert!(text.starts_with("tensor([[1, 1, 1,  ..., 1, 1, 1],\n"));
    assert_eq!(fetched.get(), 36);
}

#[test]
fn names_and_modules() {
    let get = |_: &[usize]| Scalar::Int(1);
    let view = View { dtype: DType::I32, shape: &[2, 1], get: &get };
    let info = Info { name: "MyTensor", module: "rustgrad", ..Info::default() };
    assert_eq!(
        tensor_text(&view, &info, &PrintOptions::default()),
        "MyTensor([[1],\n          [1]], dtype=rustgrad.int32)"
    );
}

#[test]
fn profiles() {
    let mut options = PrintOptions { sci_mode: Some(true), ..PrintOptions::default() };
    options.apply(Profile::Full);
    assert!(options.threshold.is_infinite());
    options.apply(Profile::Default);
    assert_eq!(options, PrintOptions { sci_mode: Some(true), ..PrintOptions::default() });
}

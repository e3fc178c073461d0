"""Records tests/data/random.txt from torch's CPU generator.

Each line: kind, dtype, arguments, seed and one hash per size. A hash (FNV-1a, 32 bits) runs over the bytes
of two consecutive fills of that size from one seed, then over one 64-bit draw, so that it also
fixes how far the generator advances. Run with the oracle's Python, which prints to stdout.
"""

import torch

SIZES = [0, 1, 2, 15, 16, 17, 31, 100, 1000]
SEEDS = [0, 42, 2**40 + 7]
BITS = {
    "f32": torch.float32,
    "f64": torch.float64,
    "i64": torch.int64,
    "i32": torch.int32,
    "i16": torch.int16,
    "i8": torch.int8,
    "u8": torch.uint8,
    "bool": torch.bool,
}


def fnv(data, h=0x811C9DC5):
    for b in data:
        h = ((h ^ b) * 0x01000193) & (2**32 - 1)
    return h


def probabilities(n, dtype):
    return ((torch.arange(n, dtype=torch.float64) * 7 % 13) / 16).to(dtype)


def run(kind, dtype, a, n):
    def empty():
        return torch.empty(n, dtype=dtype)

    match kind:
        case "rand":
            return torch.rand(n, dtype=dtype)
        case "uniform":
            return empty().uniform_(a[0], a[1])
        case "randn":
            return torch.randn(n, dtype=dtype)
        case "normal":
            return empty().normal_(a[0], a[1])
        case "sequential":
            return torch.empty(n, 2, dtype=dtype)[:, 0].normal_(a[0], a[1])
        case "randint":
            return torch.randint(int(a[0]), int(a[1]), (n,), dtype=dtype)
        case "random":
            return empty().random_()
        case "random_from":
            return empty().random_(int(a[0]), None)
        case "randperm":
            return torch.randperm(n, dtype=dtype)
        case "bernoulli":
            return empty().bernoulli_(a[0])
        case "bernoulli_f32":
            return empty().bernoulli_(probabilities(n, torch.float32))
        case "bernoulli_f64":
            return empty().bernoulli_(probabilities(n, torch.float64))
        case "dropout":
            return torch.nn.functional.dropout(torch.ones(n, dtype=dtype), a[0])
        case "exponential":
            return empty().exponential_(a[0])
        case "cauchy":
            return empty().cauchy_(a[0], a[1])
        case "log_normal":
            return empty().log_normal_(a[0], a[1])
        case "geometric":
            return empty().geometric_(a[0])
        case "multinomial":  # replacement, rows, draws
            w = probabilities(n * int(a[1]), dtype).reshape(int(a[1]), n) + 0.1
            return torch.multinomial(w, int(a[2]), bool(a[0]))


CASES = [
    *[("rand", d, []) for d in ("f32", "f64")],
    *[("uniform", d, [-2.3, 1.7]) for d in ("f32", "f64")],
    *[("randn", d, []) for d in ("f32", "f64")],
    *[("normal", d, [1.3, 0.7]) for d in ("f32", "f64")],
    *[("sequential", d, [1.3, 0.7]) for d in ("f32", "f64")],
    *[("randint", d, [-5, 17]) for d in ("f32", "f64", "i64", "i32", "i16", "i8")],
    *[("randint", d, [0, 2]) for d in ("bool", "u8")],
    *[("randint", d, [0, 2**27]) for d in ("f64", "i64", "i32")],
    *[("randint", d, [-7, 2**28]) for d in ("f64", "i64", "i32")],
    ("randint", "i64", [-(2**62), 2**62]),
    *[("randint", "f32", a) for a in ([0, 2**24], [0, 2**25 + 3], [-(2**25) - 3, 5])],
    *[("randint", "f64", a) for a in ([0, 2**60 + 256], [-(2**60) - 256, 5])],
    *[("random", d, []) for d in BITS],
    *[("random_from", d, [-3]) for d in ("f32", "f64", "i64", "i32", "i16", "i8")],
    *[("random_from", d, [-(2**63)]) for d in ("f32", "f64", "i64")],
    *[("randperm", d, []) for d in ("i64", "i32", "f32", "f64")],
    *[("bernoulli", d, [0.3]) for d in BITS],
    *[("bernoulli_f32", d, []) for d in ("f32", "f64", "i64", "bool")],
    *[("bernoulli_f64", d, []) for d in ("f32", "f64", "i64", "bool")],
    *[("dropout", d, [0.3]) for d in ("f32", "f64")],
    *[("exponential", d, [1.5]) for d in ("f32", "f64")],
    *[("cauchy", d, [0.5, 2.0]) for d in ("f32", "f64")],
    *[("log_normal", d, [0.5, 0.7]) for d in ("f32", "f64")],
    *[("geometric", d, [0.3]) for d in ("f32", "f64", "i64", "i32", "u8")],
    *[("multinomial", d, [r, rows, k]) for d in ("f32", "f64") for r in (0, 1) for rows in (1, 3) for k in (1, 5)],
]

for kind, d, args in CASES:
    for seed in SEEDS:
        hashes = []
        for n in SIZES:
            if kind == "multinomial" and n < 15:
                continue
            torch.manual_seed(seed)
            h = fnv(b"")
            for _ in range(2):
                h = fnv(run(kind, BITS[d], args, n).contiguous().numpy().tobytes(), h)
            h = fnv(torch.empty(1, dtype=torch.int64).random_().numpy().tobytes(), h)
            hashes.append(f"{n}:{h:08x}")
        print(kind, d, ",".join(map(str, args)) or "-", seed, *hashes)

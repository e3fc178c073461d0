"""Records tests/data/display.txt: what torch prints, with the tensors that made it.

A case is a line `dtype|shape|precision,threshold,edgeitems,linewidth,sci|default dtype|grad|values`
followed by the text, each line behind a `>`. Values are float64 bits in hex (ints: decimal), or
`%a,b,m,d`: element i is `((i * a + b) % m - m // 2) / d`. Run with the oracle's Python.
"""

import random
import struct

import torch

random.seed(1)
D = {
    "float32": torch.float32,
    "float64": torch.float64,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
STD = (4, 1000.0, 3, 80, None)


def case(dtype, shape, values, opts=STD, default="float32", grad="-"):
    n = 1
    for s in shape:
        n *= s
    if isinstance(values, str):
        a, b, m, d = map(int, values[1:].split(","))
        data = [((i * a + b) % m - m // 2) / d for i in range(n)]
        text = values
    elif D[dtype].is_floating_point:
        data = torch.tensor(values, dtype=D[dtype]).double().tolist()
        text = ",".join(struct.pack(">d", x).hex() for x in data)
    else:
        data = values
        text = ",".join(str(int(x)) for x in values)
    t = torch.tensor(data, dtype=torch.float64 if D[dtype].is_floating_point else None)
    t = t.to(D[dtype]).reshape(shape)
    if grad == "requires_grad":
        t.requires_grad_()
    elif grad != "-":
        t.requires_grad_()
        t = {"MulBackward0": lambda x: x * 1, "ViewBackward0": lambda x: x.view(x.shape)}[grad](t)
    torch.set_printoptions(precision=opts[0], threshold=opts[1], edgeitems=opts[2], linewidth=opts[3], sci_mode=opts[4])
    torch.set_default_dtype(D[default])
    out = repr(t)
    torch.set_default_dtype(torch.float32)
    print(dtype, ",".join(map(str, shape)), ",".join(map(str, opts)), default, grad, text, sep="|")
    for line in out.split("\n"):
        print(">" + line)


nan, inf = float("nan"), float("inf")
# Every edge of the notation rules, alone and in company.
for v in (
    [0.0],
    [-0.0],
    [1.0],
    [nan],
    [inf],
    [-inf],
    [0.5],
    [1e8],
    [1.00000001e8],
    [1e-4],
    [9e-5],
    [1e-5],
    [1.5e-10],
    [1e300],
    [1e-320],
    [nan, inf, -inf, 0.0],
    [nan, 1.0],
    [nan, 0.5, -inf],
    [1.0, 1000.0],
    [1.0, 1001.0],
    [0.1, 100.0],
    [0.1, 100.1],
    [123456.0, 1.5],
    [-1.0, 2.0],
    [0.0, 1e-7],
    [0.0, 12345678.0],
    [99999999.0],
    [0.00005, 0.0001],
    [2.5, 0.125, 0.375],
    [0.03125, 0.15625, 0.00625],
    [1.00005, 2.00015],
    [-0.00001, 1.0],
    [1e10, inf, nan],
):
    case("float64", [len(v)], v)
    if not any(1e38 < abs(x) < inf for x in v):
        case("float32", [len(v)], v)
for v in (0.0, 1.0, 3.14159, -2.0, 1e-7, 1e9, nan, inf):
    case("float32", [], [v])
    case("float64", [], [v], default="float64", grad="requires_grad")
for d in ("int64", "int32", "int16", "int8", "uint8", "bool"):
    case(d, [], [1])
    case(d, [2, 3], [0, 1, 100, 5, 7, 12] if d != "bool" else [1, 0, 0, 1, 1, 0])
case("int64", [2], [-(2**63), 2**63 - 1])
for shape in ([0], [0, 3], [3, 0], [2, 0, 4]):
    for d in D:
        case(d, shape, [])
    case("float64", shape, [], default="float64", grad="requires_grad")
    case("float32", shape, [], default="float64")
# Lines, brackets, summaries.
for shape in (
    [7],
    [13],
    [14],
    [30],
    [100],
    [1000],
    [1001],
    [2, 20],
    [3, 2, 2],
    [2, 2, 1, 3],
    [6, 200],
    [7, 200],
    [200, 6],
    [200, 7],
    [1001, 1],
    [1, 1001],
    [4, 4, 50],
    [10, 11, 12],
    [2, 600],
    [8, 2, 2, 40],
):
    for d, f in (("float32", "%37,11,1009,8"), ("int64", "%37,11,1009,1"), ("float64", "%7,1,19,1")):
        if shape in ([1000], [4, 4, 50], [10, 11, 12]) and d != "int64":
            continue
        case(d, shape, f, grad="MulBackward0" if d == "float32" else "-")
# Suffixes around the end of the line.
for n in range(1, 26):
    case("float32", [n], "%5,3,11,4", grad=("requires_grad", "ViewBackward0")[n % 2])
    case("float64", [n], "%5,3,11,4", grad=("requires_grad", "-")[n % 2])
    case("int16", [n], "%5,3,11,1")
# Options.
for _ in range(120):
    opts = (
        random.choice([0, 1, 2, 4, 6, 10]),
        float(random.choice([0, 5, 20, 1000, inf])),
        random.choice([0, 1, 2, 3, 5]),
        random.choice([5, 20, 40, 80, 120]),
        random.choice([None, None, True, False]),
    )
    shape = [random.choice([1, 2, 3, 5, 8]) for _ in range(random.randint(0, 3))]
    n = 1
    for s in shape:
        n *= s
    if n > 60:
        continue
    d = random.choice(["float32", "float64", "float64", "int64", "bool", "int32"])
    if D[d].is_floating_point:
        scale = random.choice([1.0, 1e-3, 1e4, 1e9])
        vals = [
            random.choice(
                [
                    random.gauss(0, 1) * scale,
                    float(random.randint(-9, 9)),
                    0.0,
                    nan,
                    inf,
                    random.randint(-64, 64) / 64,
                    random.randint(-999, 999) / 2**12,
                ]
            )
            if random.random() < 0.4
            else random.gauss(0, 1) * scale
            for _ in range(n)
        ]
    elif d == "bool":
        vals = [random.randint(0, 1) for _ in range(n)]
    else:
        vals = [random.randint(-(10 ** random.randint(1, 6)), 1000) for _ in range(n)]
    case(
        d,
        shape,
        vals,
        opts,
        random.choice(["float32", "float64"]),
        random.choice(["-", "requires_grad", "MulBackward0"]) if D[d].is_floating_point else "-",
    )
# Ties of decimal rounding.
for p in range(4):
    case("float64", [24], [k / 2 ** (p + 1) for k in range(-7, 41, 2)], (p, 1000.0, 3, 80, False))
    case("float64", [24], [(10**p * 10 + k * 5) * 10.0 ** (3 - p) for k in range(24)], (p, 1000.0, 3, 80, True))

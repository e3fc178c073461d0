"""Random programs in torch's names: written from a number, run on any module, and reported.

A program is a list of statements over small tensors: operations, views, writes in place, shared values,
several roots, hooks, blocks without gradients, second derivatives, and now and then a mistake. It ends with
its last statement or its first error. ``make fuzz`` compares ten thousand of them with torch; two hundred
are recorded in ``golden/random_programs.json.gz`` and run everywhere (``test_random_programs.py``).

The writer keeps track of shapes and dtypes itself, so the text depends on nothing but the number.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import random_statements
from program_writer import LIMIT, Kinds, Shape, Variable, Writer, broadcast

# Statements. Each is a function of the writer that says whether it wrote something.

UNARY: dict[str, Callable[[float], float]] = {
    "{x}.sin()": lambda b: 1.0, "{x}.cos()": lambda b: 1.0, "{x}.tanh()": lambda b: 1.0, "T.sigmoid({x})": lambda b: 1.0,
    "(-{x})": lambda b: b, "{x}.abs()": lambda b: b, "{x}.relu()": lambda b: b, "{x}.square()": lambda b: b * b,
    "({x} * {x} + 1).sqrt()": lambda b: b + 1, "({x} * {x} + 1).log()": lambda b: b, "1 / ({x} * {x} + 1)": lambda b: 1.0,
    "{x}.clamp(-0.5, 1.5)": lambda b: 1.5, "{x}.clamp(min=0.1)": lambda b: b + 0.1, "{x}.tanh().exp()": lambda b: 3.0,
    "T.nn.functional.softplus({x})": lambda b: b + 1, "{x}.pow(3)": lambda b: b**3, "2.0 ** {x}.tanh()": lambda b: 2.0,
    "{x}.clone()": lambda b: b, "{x}.double()": lambda b: b, "T.nn.functional.leaky_relu({x})": lambda b: b,
    "{x}.atan()": lambda b: 1.6, "{x}.sinh().atan()": lambda b: 1.6, "{x}.erf()": lambda b: 1.0, "{x}.expm1().tanh()": lambda b: 1.0,
    "{x}.contiguous()": lambda b: b, "{x}.sign() * {x}": lambda b: b, "{x}.detach() * {x}": lambda b: b * b,
    "{x}.nan_to_num()": lambda b: b, "{x}.frac()": lambda b: 1.0, "T.nn.functional.gelu({x})": lambda b: b, "T.nn.functional.silu({x})": lambda b: b,
}  # fmt: skip


def unary(w: Writer) -> bool:
    x = w.floating()
    if x is None:
        return False
    text = w.random.choice(list(UNARY))
    w.new(text.format(x=x.name), x.shape, [x], "float64" if "double" in text else None, UNARY[text](x.bound))
    return True


def scalar(w: Writer) -> bool:
    x = w.floating()
    if x is None:
        return False
    k = w.number()
    text = w.random.choice(
        ("{x} * {k}", "{k} * {x}", "{x} + {k}", "{k} - {x}", "{x} / 1.7", "{x} - {k}", "T.add({x}, {x}, alpha={k})")
    )
    w.new(text.format(x=x.name, k=k), x.shape, [x], bound=2 * x.bound + 2)
    return True


BINARY: dict[str, Callable[[float, float], float]] = {
    "{x} + {y}": lambda a, b: a + b, "{x} - {y}": lambda a, b: a + b, "{x} * {y}": lambda a, b: a * b,
    "{x} / ({y} * {y} + 1)": lambda a, b: a, "T.maximum({x}, {y})": max, "T.minimum({x}, {y})": max,
    "T.where({x} > {y}, {x}, {y} * 2)": lambda a, b: a + 2 * b, "T.atan2({x}, {y} * {y} + 1)": lambda a, b: 1.6,
    "T.hypot({x}, {y} * {y} + 1)": lambda a, b: a + b * b + 1, "T.lerp({x}, {y}, 0.3)": lambda a, b: a + b,
    "{x}.addcmul({y}, {y}, value=0.5)": lambda a, b: a + b * b, "({x} - {y}).square()": lambda a, b: (a + b) ** 2,
    "({x} * {x} + 1) ** {y}.tanh()": lambda a, b: a * a + 1, "{x}.sub({y}, alpha=2)": lambda a, b: a + 2 * b,
    "T.logaddexp({x}, {y})": lambda a, b: a + b + 1,
}  # fmt: skip


def binary(w: Writer) -> bool:
    x = w.floating()
    if x is None:
        return False
    y = w.pick(lambda one: one.floating and broadcast(x.shape, one.shape) is not None and one.dtype == x.dtype)
    shape = broadcast(x.shape, y.shape) if y else None
    if y is None or shape is None:
        return False
    text = w.random.choice(list(BINARY))
    w.new(text.format(x=x.name, y=y.name), shape, [x, y], bound=BINARY[text](x.bound, y.bound))
    return True


def mixed_dtypes(w: Writer) -> bool:
    x, y = w.floating(), w.pick()
    if x is None or y is None or x.dtype == y.dtype or broadcast(x.shape, y.shape) is None:
        return False
    shape = broadcast(x.shape, y.shape) or ()
    dtype = x.dtype
    if y.floating and "float64" in (x.dtype, y.dtype):
        wide = x if x.dtype == "float64" else y
        dtype = "float64" if wide.shape or not (x.shape or y.shape) else "float32"
    w.new(f"{x.name} * {y.name}", shape, [x, y], dtype, x.bound * y.bound)
    return True


def reduced(shape: Shape, dim: int, keep: bool) -> Shape:
    dim %= len(shape)
    return shape[:dim] + ((1,) if keep else ()) + shape[dim + 1 :]


def reduction(w: Writer) -> bool:
    x = w.floating()
    if x is None or 0 in x.shape:
        return False
    whole = {"{x}.sum()": x.size, "{x}.mean()": 1, "{x}.amax()": 1, "{x}.norm()": x.size, "{x}.tanh().prod()": 1 / max(x.bound, 1),
             "{x}.max()": 1, "T.logsumexp({x}, ())": 2}  # fmt: skip
    if not x.shape or w.random.random() < 0.3:
        text = w.random.choice([one for one in whole if "logsumexp" not in one])
        w.new(text.format(x=x.name), (), [x], bound=x.bound * whole[text])
        return True
    dim, keep = w.dim(x), w.random.random() < 0.5
    n = x.shape[dim]
    along = {"sum": n, "mean": 1, "amax": 1, "amin": 1, "logsumexp": 2, "var": 4 * x.bound, "norm": n}
    name = w.random.choice(list(along))
    if name == "var" and n < 2:
        return False
    extra = "2, " if name == "norm" else ""
    correction = ", correction=0" if name == "var" and w.random.random() < 0.5 else ""
    w.new(
        f"{x.name}.{name}({extra}{dim}{correction}, keepdim={keep})",
        reduced(x.shape, dim, keep),
        [x],
        bound=x.bound * along[name],
    )
    return True


def along(w: Writer) -> bool:
    x = w.pick(lambda one: one.floating and bool(one.shape) and 0 not in one.shape)
    if x is None:
        return False
    name = w.random.choice(("cumsum", "softmax", "log_softmax", "flip", "roll", "cumprod"))
    dim = w.dim(x)
    if name == "flip":
        w.new(f"{x.name}.flip({dim})", x.shape, [x], bound=x.bound)
    elif name == "roll":
        w.new(f"{x.name}.roll({w.random.randint(-2, 2)}, {dim})", x.shape, [x], bound=x.bound)
    elif name == "cumprod":
        w.new(f"{x.name}.tanh().cumprod({dim})", x.shape, [x], bound=1.0)
    else:
        bound = {"cumsum": x.bound * x.shape[dim], "softmax": 1.0, "log_softmax": 2 * x.bound + 2}[name]
        w.new(f"{x.name}.{name}({dim})", x.shape, [x], bound=bound)
    return True


def factors(w: Writer, size: int) -> Shape:
    """Give a random shape of this many elements."""
    shape: list[int] = []
    while size > 1 and len(shape) < 3:
        factor = w.random.choice([f for f in range(1, size + 1) if size % f == 0])
        shape.append(factor)
        size //= factor
    return tuple(shape) + ((size,) if size != 1 or not shape else ())


def view(w: Writer) -> bool:
    x = w.pick(lambda one: one.floating and 0 not in one.shape)
    if x is None:
        return False
    n, at = len(x.shape), x.name
    bound = x.bound
    kind = w.random.choice(("t", "transpose", "permute", "unsqueeze", "squeeze", "select", "slice", "narrow", "reshape", "view",
                            "expand", "diagonal", "flatten", "detach", "view_as", "ellipsis", "unfold", "movedim"))  # fmt: skip
    if kind == "unsqueeze":
        dim = w.random.randrange(-n - 1, n + 1)
        place = dim % (n + 1)
        w.new(f"{at}.unsqueeze({dim})", (*x.shape[:place], 1, *x.shape[place:]), [x], bound=bound)
        return True
    if kind == "detach":
        if w.random.random() < 0.6:
            return False
        w.new(f"{at}.detach()", x.shape, [Variable("", x.shape, x.dtype, grad=False)], bound=bound)
        return True
    if kind == "view_as":
        w.new(f"{at}.view_as({at})", x.shape, [x], bound=bound)
        return True
    if kind in ("reshape", "view"):
        shape = factors(w, x.size)
        if math.prod(shape) != x.size:
            return False
        w.new(f"{at}.{kind}({shape})", shape, [x], bound=bound)
        return True
    if kind == "ellipsis":
        w.new(f"{at}[...]", x.shape, [x], bound=bound)
        return True
    if kind == "expand":
        shape = tuple(w.random.choice((2, 3)) if s == 1 else s for s in x.shape)
        if w.random.random() < 0.4:
            shape = (2, *shape)
        w.new(f"{at}.expand({shape})", shape, [x], bound=bound)
        return True
    if n == 0:
        return False
    dim = w.dim(x)
    place, length = dim % n, x.shape[dim]
    if kind == "t" and n <= 2:
        w.new(f"{at}.t()", x.shape[::-1], [x], bound=bound)
    elif kind == "transpose" and n >= 2:
        other = w.random.randrange(n)
        sizes = list(x.shape)
        sizes[place], sizes[other] = sizes[other], sizes[place]
        w.new(f"{at}.transpose({dim}, {other})", tuple(sizes), [x], bound=bound)
    elif kind == "permute":
        order = w.random.sample(range(n), n)
        w.new(f"{at}.permute({tuple(order)})", tuple(x.shape[i] for i in order), [x], bound=bound)
    elif kind == "movedim":
        other = w.random.randrange(n)
        order = list(x.shape)
        order.insert(other, order.pop(place))
        w.new(f"{at}.movedim({dim}, {other})", tuple(order), [x], bound=bound)
    elif kind == "squeeze":
        w.new(f"{at}.squeeze({dim})", reduced(x.shape, dim, False) if length == 1 else x.shape, [x], bound=bound)
    elif kind == "select":
        i = w.random.randrange(-length, length)
        text = f"{at}.select({dim}, {i})" if w.random.random() < 0.4 else f"{at}[{':, ' * place}{i}]"
        w.new(text, reduced(x.shape, dim, False), [x], bound=bound)
    elif kind == "slice":
        start, step = w.random.randrange(length), w.random.choice((1, 1, 2))
        stop = w.random.randint(start + 1, length)
        count = len(range(start, stop, step))
        w.new(
            f"{at}[{':, ' * place}{start}:{stop}:{step}]",
            (*x.shape[:place], count, *x.shape[place + 1 :]),
            [x],
            bound=bound,
        )
    elif kind == "narrow":
        start = w.random.randrange(length)
        count = w.random.randint(1, length - start)
        w.new(
            f"{at}.narrow({dim}, {start}, {count})", (*x.shape[:place], count, *x.shape[place + 1 :]), [x], bound=bound
        )
    elif kind == "diagonal" and n >= 2:
        w.new(f"{at}.diagonal()", (*x.shape[2:], min(x.shape[:2])), [x], bound=bound)
    elif kind == "flatten":
        w.new(f"{at}.flatten()", (x.size,), [x], bound=bound)
    elif kind == "unfold" and length >= 2:
        w.new(f"{at}.unfold({dim}, 2, 2)", (*x.shape[:place], length // 2, *x.shape[place + 1 :], 2), [x], bound=bound)
    else:
        return False
    return True


def several_views(w: Writer) -> bool:
    x = w.pick(lambda one: one.floating and bool(one.shape) and 0 not in one.shape)
    if x is None:
        return False
    dim = w.dim(x)
    length = x.shape[dim]
    if length < 2:
        return False
    place = dim % len(x.shape)
    kind = w.random.choice(("unbind", "split", "chunk"))
    if kind == "unbind":
        sizes = [-1] * length
        text = f"{x.name}.unbind({dim})"
    elif kind == "split":
        first = w.random.randint(1, length - 1)
        sizes = [first, length - first]
        text = f"{x.name}.split({sizes}, {dim})"
    else:
        size = -(-length // 2)
        sizes = [size, length - size]
        text = f"{x.name}.chunk(2, {dim})"
    names = [f"v{w.count + i}" for i in range(len(sizes))]
    w.count += len(sizes)
    w.write(f"{', '.join(names)} = {text}")
    for name, size in zip(names, sizes, strict=True):
        shape = x.shape[:place] + (() if size < 0 else (size,)) + x.shape[place + 1 :]
        w.variables.append(Variable(name, shape, x.dtype, grad=x.grad and not w.no_grad, bound=x.bound, several=True))
    return True


def picking(w: Writer) -> bool:
    x = w.pick(lambda one: one.floating and bool(one.shape) and 0 not in one.shape)
    if x is None:
        return False
    dim = w.dim(x)
    place, length = dim % len(x.shape), x.shape[dim]
    index = [w.random.randrange(length) for _ in range(w.random.randint(1, 4))]
    shape = (*x.shape[:place], len(index), *x.shape[place + 1 :])
    kind = w.random.choice(
        ("index_select", "list", "mask", "gather", "masked_fill", "take_along_dim", "tril", "index_add", "scatter")
    )
    if kind == "index_select":
        w.new(f"{x.name}.index_select({dim}, T.tensor({index}))", shape, [x], bound=x.bound)
    elif kind == "list":
        w.new(f"{x.name}[{':, ' * place}{index}]", shape, [x], bound=x.bound)
    elif kind == "masked_fill":
        w.new(f"{x.name}.masked_fill({x.name} > {w.number()}, {w.number()})", x.shape, [x], bound=x.bound + 2)
    elif kind == "mask" and x.dtype == "float64":
        w.new(f"({x.name} * T.ones_like({x.name}))[T.ones({x.shape}) > 0]", (x.size,), [x], bound=x.bound)
    elif kind in ("gather", "take_along_dim") and len(x.shape) == 1:
        w.new(
            f"{x.name}.{kind}({'0, ' if kind == 'gather' else ''}T.tensor({index}))", (len(index),), [x], bound=x.bound
        )
    elif kind == "tril" and len(x.shape) >= 2:
        w.new(f"{x.name}.{w.random.choice(('tril', 'triu'))}({w.random.randint(-1, 1)})", x.shape, [x], bound=x.bound)
    elif kind in ("index_add", "scatter"):
        source = w.pick(lambda one: one.dtype == x.dtype and one.shape == shape)
        if source is None:
            return False
        if kind == "index_add":
            w.new(
                f"{x.name}.index_add({dim}, T.tensor({index}), {source.name})",
                x.shape,
                [x, source],
                bound=x.bound + 4 * source.bound,
            )
        elif len(x.shape) == 1:
            w.new(
                f"{x.name}.scatter_add(0, T.tensor({index}), {source.name})",
                x.shape,
                [x, source],
                bound=x.bound + 4 * source.bound,
            )
        else:
            return False
    else:
        return False
    return True


def joining(w: Writer) -> bool:
    x = w.floating()
    if x is None:
        return False
    y = w.pick(lambda one: one.dtype == x.dtype and one.shape == x.shape)
    if y is None:
        return False
    bound = max(x.bound, y.bound)
    if x.shape and w.random.random() < 0.5:
        dim = w.dim(x)
        place = dim % len(x.shape)
        shape = (*x.shape[:place], 2 * x.shape[dim], *x.shape[place + 1 :])
        w.new(f"T.cat([{x.name}, {y.name}], {dim})", shape, [x, y], bound=bound)
    else:
        place = w.random.randint(0, len(x.shape))
        w.new(f"T.stack([{x.name}, {y.name}], {place})", (*x.shape[:place], 2, *x.shape[place:]), [x, y], bound=bound)
    return True


def product(w: Writer) -> bool:
    x = w.pick(lambda one: one.floating and len(one.shape) in (1, 2, 3))
    if x is None:
        return False
    inner = x.shape[-1]
    y = w.pick(
        lambda one: one.dtype == x.dtype and len(one.shape) in (1, 2) and one.shape[max(-2, -len(one.shape))] == inner
    )
    if y is None:
        return False
    shape = x.shape[:-1] + (y.shape[-1:] if len(y.shape) == 2 else ())
    w.new(f"{x.name} @ {y.name}", shape, [x, y], bound=x.bound * y.bound * max(inner, 1))
    return True


def integers(w: Writer) -> bool:
    x = w.floating()
    if x is None:
        return False
    text, dtype = w.random.choice(
        (("({x} > {k})", "bool"), ("({x} * 3).long()", "int64"), ("{x}.detach().round().int()", "int32"))
    )
    w.new(text.format(x=x.name, k=w.number()), x.shape, [Variable("", (), grad=False)], dtype, bound=3 * x.bound)
    return True


IN_PLACE = {
    "{x}.mul_({k})": 2.0, "{x}.add_({k})": 1.5, "{x}.sub_({k})": 1.5, "{x}.tanh_()": 1.0, "{x}.sin_()": 1.0, "{x}.zero_()": 1.0,
    "{x}.fill_({k})": 1.0, "{x}.clamp_(-1, 1)": 1.0, "{x}.relu_()": 1.0, "{x}.neg_()": 1.0, "{x} *= {k}": 2.0, "{x} += {k}": 1.5,
    "{x}.div_(1.5)": 1.0, "{x}.masked_fill_({x}.detach() > {k}, {k})": 1.0, "{x}.abs_()": 1.0, "{x}.square_()": 1.0, "{x}.sigmoid_()": 1.0,
}  # fmt: skip


def writable(one: Variable) -> bool:
    return one.floating and not (one.leaf and one.grad) and not one.several


def in_place(w: Writer) -> bool:
    x = w.pick(writable)
    if x is None:
        return False
    text = w.random.choice(list(IN_PLACE))
    if "square" in text and x.bound > 5:
        return False
    w.write(text.format(x=x.name, k=w.number()))
    bound = x.bound * 2 + 2 if "square" not in text else x.bound**2
    for one in w.variables:  # views may share the memory
        one.bound = max(one.bound, bound)
    return True


def in_place_with(w: Writer) -> bool:
    x = w.pick(writable)
    if x is None:
        return False
    y = w.pick(lambda one: one.floating and broadcast(x.shape, one.shape) == x.shape)
    if y is None:
        return False
    text = w.random.choice(("{x}.add_({y})", "{x}.mul_({y})", "{x}.copy_({y})", "{x} -= {y}", "{x}.div_({y} * {y} + 1)", "{x}[...] = {y}", "{x}.addcmul_({y}, {y}, value=0.3)",
                            "{x}.add_({y}, alpha=-0.5)", "{x}.lerp_({y}, 0.25)"))  # fmt: skip
    if "lerp" in text and x.dtype != y.dtype:
        return False
    w.write(text.format(x=x.name, y=y.name))
    x.grad = x.grad or (y.grad and not w.no_grad)
    bound = x.bound * y.bound + x.bound + y.bound
    for one in w.variables:
        one.bound = max(one.bound, min(bound, LIMIT))
    if bound > LIMIT:
        w.write(f"{x.name}.tanh_()")
    return True


def write_element(w: Writer) -> bool:
    x = w.pick(lambda one: writable(one) and bool(one.shape) and 0 not in one.shape)
    if x is None:
        return False
    place = w.random.randrange(len(x.shape))
    length = x.shape[place]
    i = w.random.randrange(length)
    inner = x.shape[:place] + x.shape[place + 1 :]
    y = w.pick(lambda one: one.floating and broadcast(inner, one.shape) == inner)
    value = y.name if y is not None and w.random.random() < 0.7 else str(w.number())
    kind = w.random.choice(("int", "slice", "list", "mask"))
    if kind == "int":
        w.write(f"{x.name}[{':, ' * place}{i}] = {value}")
    elif kind == "slice":
        w.write(f"{x.name}[{':, ' * place}{i}:].mul_({w.number()})")
    elif kind == "list":
        w.write(f"{x.name}[{':, ' * place}{[i]}] = {w.number()}")
    else:
        w.write(f"{x.name}[{x.name} > {w.number()}] = {w.number()}")
    if y is not None:
        x.grad = x.grad or (y.grad and not w.no_grad)
    return True


def switch_grad(w: Writer) -> bool:
    if w.no_grad or w.random.random() < 0.5:
        return False
    w.write("with T.no_grad():")
    w.no_grad = True
    return unary(w) or in_place(w) or view(w) or _pass(w)


def _pass(w: Writer) -> bool:
    w.write("pass")
    return True


def hook(w: Writer) -> bool:
    x = w.pick(lambda one: one.grad and one.floating)
    if x is None or w.no_grad:
        return False
    text = w.random.choice((
        "{x}.register_hook(lambda g: log.append(('{x}', None if g is None else g.sum().item())))",
        "{x}.register_hook(lambda g: g * {k})",
        "{x}.retain_grad()",
        "{x}.retain_grad()",
        "{x}.register_post_accumulate_grad_hook(lambda t: log.append(('{x}', t.grad.sum().item())))",
    ))  # fmt: skip
    if "post_accumulate" in text and not x.leaf:
        return False
    w.write(text.format(x=x.name, k=w.number()))
    return True


def requires_grad(w: Writer) -> bool:
    x = w.pick(lambda one: one.floating and not one.grad)
    if x is None:
        return False
    w.write(f"{x.name}.requires_grad_()")
    x.grad = x.leaf = True
    return True


def shared(w: Writer) -> bool:
    """Use one value often."""
    x = w.floating()
    if x is None:
        return False
    w.new(f"{x.name} * {x.name} + {x.name}.sin() * {x.name} - {x.name}", x.shape, [x], bound=x.bound**2 + 2 * x.bound)
    return True


def custom(w: Writer) -> bool:
    x = w.floating()
    if x is None:
        return False
    w.new(f"Scaled.apply({x.name}, {w.number()})", x.shape, [x], bound=2 * x.bound)
    return True


def checkpointed(w: Writer) -> bool:
    x = w.pick(lambda one: one.floating and one.grad)
    if x is None or w.no_grad:
        return False
    w.new(
        f"T.utils.checkpoint.checkpoint(lambda x: (x.sin() * x).tanh(), {x.name}, use_reentrant=False)",
        x.shape,
        [x],
        bound=1.0,
    )
    return True


# Backward passes.


def root(w: Writer) -> Variable | None:
    return w.pick(lambda one: one.floating and one.grad and not one.leaf) or w.pick(
        lambda one: one.floating and one.grad
    )


def backward(w: Writer) -> bool:
    x = root(w)
    if x is None:
        return False
    keep = w.random.choice(("", "", "retain_graph=True"))
    if w.random.random() < 0.5:
        w.write(f"{x.name}.sum().backward({keep})")
    else:
        w.write(f"{x.name}.backward(T.ones_like({x.name}) * {w.number()}{', ' + keep if keep else ''})")
    return True


def backward_of_several(w: Writer) -> bool:
    x, y = root(w), root(w)
    if x is None or y is None:
        return False
    z = w.pick(lambda one: one.floating and one.grad)
    inputs = f", inputs=[{z.name}]" if z is not None and w.random.random() < 0.3 else ""
    w.write(f"T.autograd.backward([{x.name}, {y.name}.sum()], [T.full_like({x.name}, {w.number()}), None]{inputs})")
    return True


def gradients(w: Writer) -> bool:
    x, y = root(w), w.pick(lambda one: one.floating and one.grad)
    if x is None or y is None:
        return False
    z = w.pick(lambda one: one.floating and one.grad) or y
    unused = w.random.choice(("", ", allow_unused=True", ", allow_unused=True", ", materialize_grads=True"))
    name = f"g{w.count}"
    w.count += 1
    w.write(f"{name} = T.autograd.grad(({x.name} * {x.name}).sum(), [{y.name}, {z.name}]{unused})")
    return True


def second(w: Writer) -> bool:
    x, y = root(w), w.pick(lambda one: one.floating and one.grad)
    if x is None or y is None:
        return False
    name = f"g{w.count}"
    w.count += 1
    w.write(f"{name} = T.autograd.grad({x.name}.tanh().sum(), {y.name}, create_graph=True, materialize_grads=True)[0]")
    w.write(f"({name} * {name}).sum().backward()")
    return True


def in_between(w: Writer) -> bool:
    if w.random.random() < 0.6 or w.no_grad:
        return False
    return w.random.choice((backward, gradients, second))(w)


# Mistakes.


def mistake(w: Writer) -> bool:
    x = w.floating()
    if x is None:
        return False
    leaf = w.pick(lambda one: one.leaf and one.grad and one.floating)
    multi = w.pick(lambda one: one.several)
    n = len(x.shape)
    choices = [
        f"{x.name} + T.ones({(*x.shape, 7)}) + T.ones(5)",
        f"{x.name}.view({x.size + 1})",
        f"{x.name}.sum({n + 1})",
        f"{x.name}.transpose(0, {n + 2})",
        f"{x.name}.expand({(*tuple(s + 5 for s in x.shape), 3)})",
        f"{x.name} @ T.ones({(x.shape[-1] if n else 1) + 2}, 2, dtype=T.{x.dtype})",
        f"{x.name}[{x.shape[0] if n else 0}]",
        f"{x.name}.long().requires_grad_()",
        f"{x.name}.backward(T.ones({(*x.shape, 2)}, dtype=T.{x.dtype}))",
        f"{x.name}.detach().sum().backward()",
        f"{x.name}.index_select(0, T.tensor([0.5]))",
        f"{x.name}.reshape(-1, -1)",
        f"T.cat([{x.name}, T.ones(2, 2, 2, 2)])",
        f"T.autograd.grad({x.name}.sum(), T.ones(2))",
        f"{x.name}.add_(T.ones({(*x.shape, 2, 3)}))",
        f"{x.name} = {x.name}.detach().long(); {x.name} /= 2",
        f"bool(T.stack([{x.name}, {x.name}]))",
        f"{x.name}.no_such_method()",
        f"{x.name}.squeeze({n + 3})",
        f"{x.name}.split([{(x.shape[0] if n else 0) + 1}, 1])",
        f"{x.name}.item() + T.stack([{x.name}, {x.name}]).item()",
        f"{x.name}.clamp()",
        f"{x.name}.softmax({n + 2})",
        f"{x.name}.masked_fill({x.name}, 1.0)",
        f"{x.name}.permute({tuple(range(n + 1))})",
        f"{x.name}.retain_grad(); {x.name}.detach().retain_grad()",
        f"T.where({x.name}, {x.name}, {x.name})",
    ]
    if leaf is not None:
        choices += [
            f"{leaf.name}.add_(1)",
            f"{leaf.name}[...] = 0",
            f"{leaf.name}.view(-1).mul_(2)",
            f"{leaf.name}.expand(2, *{leaf.name}.shape).backward()",
        ] * 2
    if multi is not None:
        choices += [f"{multi.name}.mul_(2)", f"{multi.name}.zero_()"] * 3
    w.write(w.random.choice(choices))
    return True


def twice(w: Writer) -> bool:
    x = root(w)
    if x is None:
        return False
    name = f"r{w.count}"
    w.count += 1
    w.write(f"{name} = ({x.name} * {x.name}).sum()")
    w.write(f"{name}.backward()")
    w.write(f"{name}.backward()")
    return True


STATEMENTS: Kinds = [
    (5, unary), (3, scalar), (5, binary), (0.5, mixed_dtypes), (2, reduction), (1.5, along), (6, view), (1, several_views), (2, picking),
    (1.5, joining), (1, product), (0.4, integers), (2.5, in_place), (2.5, in_place_with), (1.5, write_element), (1, switch_grad), (1.2, hook),
    (0.3, requires_grad), (1, shared), (0.4, leaf := lambda w: (w.leaf(), True)[1]), (0.3, custom), (0.2, checkpointed), (0.5, in_between),
]  # fmt: skip

MISTAKES: Kinds = [(5, mistake), (1, twice)]

ENDINGS: Kinds = [
    (4, backward),
    (2, backward_of_several),
    (2, gradients),
    (1.5, second),
]


WIDE = 10_000_000
"""From this number on programs have all kinds of statements; those below keep the text they always had."""


def write(seed: int) -> list[str]:
    """Give the lines of the program with this number."""
    if seed < WIDE:
        return Writer(seed).program(STATEMENTS, MISTAKES, ENDINGS)
    more = random_statements
    return Writer(seed).program(STATEMENTS + more.STATEMENTS, MISTAKES + more.MISTAKES, ENDINGS + more.ENDINGS)

"""More statements of random programs (``random_programs.py``): other families, and the graph's own tools."""

from __future__ import annotations

from collections.abc import Callable

from program_writer import LIMIT, Kinds, Shape, Variable, Writer, broadcast

ONE = 1.0

UNARY: dict[str, Callable[[float], float]] = {
    "({x}.tanh() * 0.9).atanh()": lambda b: 1.5, "({x}.tanh() * 0.9).asin()": lambda b: 1.2, "({x}.tanh() * 0.9).acos()": lambda b: 3.0,
    "{x}.asinh()": lambda b: b, "({x}.square() + 1.5).acosh()": lambda b: b + 1, "({x} * {x} + 1).rsqrt()": lambda b: ONE,
    "({x} * {x}).log1p()": lambda b: b + 1, "({x} * {x} + 1).log2()": lambda b: b + 1, "{x}.tanh().exp2()": lambda b: 2.0,
    "{x}.sigmoid().logit()": lambda b: b, "({x} * {x} + 1).lgamma().detach() * {x}": lambda b: b * b * b * b + 2,
    "T.special.i0({x}.tanh())": lambda b: 1.3, "{x}.sinc()": lambda b: ONE, "{x}.erfc()": lambda b: 2.0, "{x}.tanh().mul(0.9).erfinv() * 1": lambda b: 1.2,
    "{x}.round()": lambda b: b + 1, "{x}.floor()": lambda b: b + 1, "{x}.ceil()": lambda b: b + 1, "{x}.trunc()": lambda b: b,
    "T.nn.functional.elu({x})": lambda b: b, "T.nn.functional.selu({x})": lambda b: 2 * b, "T.nn.functional.celu({x}, 0.5)": lambda b: b,
    "T.nn.functional.mish({x})": lambda b: b, "T.nn.functional.softsign({x})": lambda b: ONE, "T.nn.functional.logsigmoid({x})": lambda b: b + 1,
    "T.nn.functional.hardswish({x})": lambda b: b, "T.nn.functional.hardtanh({x})": lambda b: ONE, "T.nn.functional.relu6({x})": lambda b: b,
    "T.nn.functional.tanhshrink({x})": lambda b: b, "T.nn.functional.softshrink({x}, 0.3)": lambda b: b, "T.nn.functional.hardshrink({x}, 0.3)": lambda b: b,
    "T.nn.functional.threshold({x}, 0.2, -1.0)": lambda b: b + 1, "{x}.remainder(1.3)": lambda b: 1.3, "{x}.fmod(1.3)": lambda b: 1.3,
    "{x}.deg2rad()": lambda b: b, "{x}.float().double()": lambda b: b, "{x}.pow(2.0)": lambda b: b * b, "{x} ** 0": lambda b: ONE,
    "{x}.reciprocal().tanh()": lambda b: ONE, "{x}.sinh().tanh()": lambda b: ONE, "{x}.cosh().log()": lambda b: b, "{x}.sgn() + {x}": lambda b: b + 1,
    "{x}.masked_fill({x}.detach() < 0, T.tensor(0.5, dtype={x}.dtype))": lambda b: b + 1, "{x}.clamp(T.full_like({x}, -0.7), T.full_like({x}, 0.9))": lambda b: ONE,
    "{x}.clamp({x}.detach() - 0.1, {x}.detach().abs())": lambda b: b + 1, "{x}.data * {x}": lambda b: b * b, "T.zeros_like({x}) + {x}": lambda b: b,
    "T.where({x} > 0, {x}, 0.25)": lambda b: b, "{x}.logaddexp(-{x})": lambda b: b + 1, "{x}.T if {x}.ndim == 2 and {x}.shape[0] == {x}.shape[1] else {x}.sin()": lambda b: b,
    "{x}.sum(0, keepdim=True).expand_as({x}) if {x}.ndim else {x}.cos()": lambda b: 4 * b,
}  # fmt: skip


def unary(w: Writer) -> bool:
    x = w.floating()
    if x is None:
        return False
    text = w.random.choice(list(UNARY))
    if "lgamma" in text and x.bound > 5:
        return False
    if "float()" in text and x.dtype != "float64":
        return False
    if "0, keepdim" in text and 0 in x.shape:
        return False
    w.new(text.format(x=x.name), x.shape, [x], None, UNARY[text](x.bound))
    return True


def _dims(w: Writer, x: Variable) -> tuple[int, ...]:
    count = w.random.randint(1, len(x.shape))
    return tuple(w.random.sample(range(len(x.shape)), count))


def _without(shape: Shape, dims: tuple[int, ...], keep: bool) -> Shape:
    return tuple(1 if i in dims else n for i, n in enumerate(shape) if keep or i not in dims)


def reduction(w: Writer) -> bool:
    """Reduce several dimensions, or one by what also says where it found its value."""
    x = w.pick(lambda one: one.floating and bool(one.shape) and 0 not in one.shape)
    if x is None:
        return False
    keep = w.random.random() < 0.5
    if w.random.random() < 0.5:
        dims = _dims(w, x)
        n = 1
        for dim in dims:
            n *= x.shape[dim]
        text, factor = w.random.choice((
            ("{x}.sum({d}, keepdim={k})", n), ("{x}.mean({d}, keepdim={k})", 1), ("{x}.amax({d}, keepdim={k})", 1), ("{x}.amin({d}, keepdim={k})", 1),
            ("{x}.logsumexp({d}, keepdim={k})", 3), ("{x}.nansum({d}, keepdim={k})", n), ("T.linalg.vector_norm({x}, 2, {d}, keepdim={k})", n),
            ("T.linalg.vector_norm({x}, 3, {d}, keepdim={k})", n), ("{x}.var({d}, correction=0, keepdim={k})", 4 * x.bound),
            ("({x}.square() + 0.5).std({d}, correction=0, keepdim={k})", 2 * x.bound),
            ("T.var_mean({x}, {d}, correction=0, keepdim={k})[1]", 1), ("T.linalg.vector_norm({x}, 1, {d}, keepdim={k})", n),
        ))  # fmt: skip
        w.new(text.format(x=x.name, d=dims, k=keep), _without(x.shape, dims, keep), [x], None, x.bound * factor)
        return True
    dim = w.dim(x)
    place = dim % len(x.shape)
    text = w.random.choice((
        "{x}.tanh().prod({d}, keepdim={k})", "{x}.max({d}, keepdim={k})[0]", "{x}.min({d}, keepdim={k})[0]",
        "{x}.gather({d}, {x}.argmax({d}, keepdim=True)).sum({d}, keepdim={k})", "T.aminmax({x}, dim={d}, keepdim={k})[1]",
        "{y}.sort({d})[0].sum({d}, keepdim={k})", "{y}.sort({d}, descending=True)[0].amax({d}, keepdim={k})", "{y}.median({d}, keepdim={k})[0]",
        "{y}.kthvalue(1, {d}, keepdim={k})[0]", "{y}.topk(1, {d})[0].sum({d}, keepdim={k})", "{y}.cummax({d})[0].sum({d}, keepdim={k})",
        "{x}.logcumsumexp({d}).mean({d}, keepdim={k})", "{x}.cumsum({d}).mean({d}, keepdim={k})", "{x}.diff(dim={d}, prepend={x}.narrow({d}, 0, 1)).sum({d}, keepdim={k})",
    ))  # fmt: skip
    # No ties: which of them an algorithm takes is its own business.
    apart = f"({x.name}.sin() + T.arange({x.size}, dtype={x.name}.dtype).mul(0.7).cos().reshape({x.shape}) * 3)"
    bound = 4.0 * x.shape[place] if "{y}" in text else x.bound * x.shape[place] + 3
    w.new(text.format(x=x.name, y=apart, d=dim, k=keep), _without(x.shape, (place,), keep), [x], None, bound)
    return True


def view(w: Writer) -> bool:
    x = w.pick(lambda one: one.floating and 0 not in one.shape)
    if x is None:
        return False
    n, at = len(x.shape), x.name
    kind = w.random.choice(("as_strided", "unfold", "T", "squeeze", "swapaxes", "unflatten", "data", "alias", "mT", "broadcast", "slices", "iter", "newaxis", "clone", "unsafe", "tensor_split", "select_last", "expand_as"))  # fmt: skip

    def new(text: str, shape: Shape) -> bool:
        w.new(text, shape, [x], bound=x.bound)
        return True

    if kind == "data":
        w.new(f"{at}.data", x.shape, [Variable("", x.shape, x.dtype, grad=False)], bound=x.bound)
        return True
    if kind == "alias":
        return new(f"{at}[()]", x.shape)
    if kind == "clone":
        return new(f"{at}.clone().contiguous()", x.shape)
    if kind == "squeeze":
        return new(f"{at}.squeeze()", tuple(s for s in x.shape if s != 1))
    if kind == "broadcast":
        shape = (2, *(3 if s == 1 else s for s in x.shape))
        return new(f"T.broadcast_to({at}, {shape})", shape)
    if kind == "newaxis":
        return new(f"{at}[None, ..., None]", (1, *x.shape, 1))
    if n == 0:
        return False
    dim = w.dim(x)
    place, length = dim % n, x.shape[dim]
    rest = x.shape[:place] + x.shape[place + 1 :]
    if kind == "as_strided" and x.size >= 3:
        size, stride = w.random.choice(
            (((2,), (1,)), ((2, 2), (1, 1)), ((x.size,), (1,)), ((2,), (2,)), ((2, 1), (1, 2)))
        )
        if "base" not in at:
            return new(f"{at}.clone().as_strided({size}, {stride})", size)
    if kind == "unfold" and length >= 2:
        step = w.random.choice((1, 2))
        return new(
            f"{at}.unfold({dim}, 2, {step})", (*x.shape[:place], (length - 2) // step + 1, *x.shape[place + 1 :], 2)
        )
    if kind == "T" and n == 2:
        return new(f"{at}.T", x.shape[::-1])
    if kind == "mT" and n >= 2:
        return new(f"{at}.mT", (*x.shape[:-2], x.shape[-1], x.shape[-2]))
    if kind == "swapaxes" and n >= 2:
        return new(f"{at}.swapaxes(0, -1)", (x.shape[-1], *x.shape[1:-1], x.shape[0]))
    if kind == "unflatten" and length % 2 == 0:
        return new(f"{at}.unflatten({dim}, (2, -1))", (*x.shape[:place], 2, length // 2, *x.shape[place + 1 :]))
    if kind == "slices" and n >= 2:
        return new(f"{at}[-1:, ..., 0]", (1, *x.shape[1:-1]))
    if kind == "iter":
        return new(f"list({at})[-1] * 1.5", x.shape[1:])
    if kind == "unsafe" and length >= 2:
        return new(f"{at}.unsafe_chunk(2, {dim})[0]", (*x.shape[:place], -(-length // 2), *x.shape[place + 1 :]))
    if kind == "tensor_split" and length >= 2:
        return new(f"{at}.tensor_split(2, {dim})[0]", (*x.shape[:place], -(-length // 2), *x.shape[place + 1 :]))
    if kind == "select_last":
        return new(f"{at}.select({dim}, -1)", rest)
    if kind == "expand_as":
        y = w.pick(lambda one: broadcast(x.shape, one.shape) == one.shape)
        return y is not None and new(f"{at}.expand_as({y.name})", y.shape)
    return False


def indexing(w: Writer) -> bool:
    """Index by tensors in many dimensions, out of place."""
    x = w.pick(lambda one: one.floating and bool(one.shape) and 0 not in one.shape)
    if x is None:
        return False
    dim = w.dim(x)
    place, length = dim % len(x.shape), x.shape[dim]
    rows = [w.random.randrange(length) for _ in range(w.random.randint(1, length))]
    cut = (*x.shape[:place], len(rows), *x.shape[place + 1 :])
    # An index of full rank: the same rows everywhere.
    index = f"T.tensor({rows}).reshape({[-1 if i == place else 1 for i in range(len(x.shape))]}).expand({cut})"
    distinct = w.random.sample(range(length), len(rows))
    y = w.pick(lambda one: one.dtype == x.dtype and one.shape == cut)
    source = y.name if y is not None else f"{x.name}.narrow({dim}, 0, {len(rows)}).cos()"
    of = [x] if y is None else [x, y]
    bound = x.bound + len(rows) * (y.bound if y is not None else 1.0)
    k = w.number()
    text, shape = w.random.choice((
        ("{x}.gather({d}, {i})", cut), ("{x}.scatter({d}, {u}, {s})", x.shape), ("{x}.scatter_add({d}, {i}, {s})", x.shape), ("{x}.scatter({d}, {i}, {k})", x.shape),
        ("{x}.index_copy({d}, T.tensor({v}), {s})", x.shape), ("{x}.index_fill({d}, T.tensor({r}), {k})", x.shape), ("{x}.clone().scatter_reduce({d}, {i}, {s}.clone(), 'mean') * 1", x.shape),
        ("{x}.clone().scatter_reduce({d}, {i}, {s}.clone(), 'sum', include_self=False) * 1", x.shape), ("{x}.take(T.tensor([0, -1]))", (2,)), ("{x}.masked_scatter({x}.detach() > {k}, {x}.flatten().sin())", x.shape),
        ("{x}.index_put((T.tensor({f}),), T.tensor(0.5, dtype={x}.dtype))", x.shape), ("{x}.index_put((T.tensor({f}),), {x}[0].sin(), accumulate=True)", x.shape),
        ("{x}.roll((1, -1), (0, {d}))", x.shape), ("{x}.repeat_interleave(2, {d})", (*x.shape[:place], 2 * length, *x.shape[place + 1 :])), ("{x}.take_along_dim({i}, {d})", cut),
        ("{x}.index_add({d}, T.tensor({r}), {s}, alpha=-0.5)", x.shape), ("{x}.repeat({m})", (2, *x.shape)), ("{x}.select_scatter({x}.select({d}, 0).exp().tanh(), {d}, -1)", x.shape),
        ("{x}.slice_scatter({x}.narrow({d}, 0, 1).sin(), {d}, 0, 1)", x.shape), ("T.nn.functional.pad({x}, (1, 2))", (*x.shape[:-1], x.shape[-1] + 3)),
    ))  # fmt: skip
    u = f"T.tensor({distinct}).reshape({[-1 if i == place else 1 for i in range(len(x.shape))]}).expand({cut})"
    first = [i % x.shape[0] for i in distinct][:1]
    w.new(
        text.format(
            x=x.name, d=dim, i=index, u=u, s=source, k=k, v=distinct, r=rows, f=first, m=(2, *[1] * len(x.shape))
        ),
        shape,
        of,
        None,
        bound + abs(k),
    )
    return True


def product(w: Writer) -> bool:
    x = w.pick(lambda one: one.floating and len(one.shape) == 2 and 0 not in one.shape)
    if x is None:
        return False
    n, m = x.shape
    text, shape = w.random.choice((
        ("{x} @ {x}.T", (n, n)), ("T.addmm({x}, {x} @ {x}.T, {x}, alpha=0.5)", (n, m)), ("T.mv({x}, {x}[0])", (n,)), ("T.outer({x}[0], {x}[:, 0])", (m, n)),
        ("T.einsum('ij,kj->ik', {x}, {x})", (n, n)), ("T.nn.functional.linear({x}, {x}.sin())", (n, n)), ("T.nn.functional.linear({x}, {x}, {x}[:, 0])", (n, n)),
        ("T.bmm({x}[None], {x}.T[None])[0]", (n, n)), ("{x}.trace() * {x}", (n, m)), ("T.tensordot({x}, {x}, ([0, 1], [0, 1]))", ()), ("T.kron({x}[:1], {x}[:1])", (1, m * m)),
        ("{x}[0].dot({x}[-1])", ()), ("T.linalg.multi_dot([{x}, {x}.T, {x}])", (n, m)), ("T.baddbmm({x}[None], {x}[None], T.eye({m}, dtype={x}.dtype)[None])[0]", (n, m)),
        ("T.nn.functional.layer_norm({x}, ({m},)) if {m} > 1 else {x}.sin()", (n, m)), ("T.nn.functional.normalize({x}, dim=0)", (n, m)), ("T.nn.functional.mse_loss({x}, {x}.sin())", ()),
        ("T.nn.functional.cross_entropy({x}, T.zeros({n}).long())", ()), ("T.nn.functional.cosine_similarity({x}, {x}.cos(), dim=0)", (m,)), ("T.nn.functional.glu(T.cat([{x}, {x}.sin()], 1))", (n, m)),
        ("T.diag({x}[0])", (m, m)), ("{x}.diag_embed()", (n, m, m)), ("T.block_diag({x}, {x}[:1])", (n + 1, 2 * m)), ("T.nn.functional.smooth_l1_loss({x}, {x}.sin(), reduction='none')", (n, m)),
        ("T.addcdiv({x}, {x}, {x} * {x} + 1, value=0.5)", (n, m)), ("T.nn.functional.conv1d({x}[None], {x}[:, :1][None])[0]", (1, m)), ("T.linalg.det({x} @ {x}.T * 0.1 + T.eye({n}, dtype={x}.dtype))", ()),
        ("T.linalg.solve({x} @ {x}.T + 2 * T.eye({n}, dtype={x}.dtype), {x}).clone(memory_format=T.contiguous_format)", (n, m)), ("T.nn.functional.kl_div({x}.log_softmax(0), {x}.softmax(0).detach(), reduction='sum')", ()),
        ("{x}.rot90()", (m, n)), ("T.cdist({x}, {x} + 1.5)", (n, n)), ("T.cov({x}.T, correction=0).sum()", ()),
    ))  # fmt: skip
    bound = x.bound if "normal" in text or "layer" in text else max(n, m) ** 2 * (x.bound + 1) ** 3
    if bound > 1e4:
        return False
    w.new(text.format(x=x.name, n=n, m=m), shape, [x], None, bound)
    return True


def writable(one: Variable) -> bool:
    return one.floating and not (one.leaf and one.grad) and not one.several


IN_PLACE = (
    "{x}.cos_()", "{x}.atan_()", "{x}.sigmoid_()", "{x}.floor_()", "{x}.round_()", "{x}.clamp_min_(-0.5)", "{x}.clamp_max_(0.5)", "{x}.tanh_().exp_()", "{x}.mul_({x}).tanh_()",
    "{x}.fmod_(1.1)", "{x}.remainder_(1.1)", "{x}.square_().add_(1).sqrt_()", "{x}.square_().add_(1).reciprocal_()", "{x}.square_().add_(1).log_()", "{x}.erf_()", "{x}.asinh_()", "{x}.expm1_().tanh_()",
    "{x}.sign_()", "{x}.trunc_()", "{x}.square_().add_(0.5).rsqrt_()", "{x}.frac_()", "{x}.sinh_().atan_()", "{x}.log1p_() if False else {x}.sin_()", "{x}.nan_to_num_()", "{x}.pow_(2).tanh_()",
    "T.nn.functional.relu({x}, inplace=True)", "T.nn.functional.elu_({x})", "T.nn.functional.hardtanh_({x})", "T.nn.functional.silu({x}, inplace=True)",
    "{x}.masked_fill_({x}.detach() > 0, T.tensor({k}, dtype={x}.dtype))", "{x}.fill_(T.tensor({k}, dtype={x}.dtype))", "{x}.copy_(T.full_like({x}, {k}))", "{x}[...] = {k}", "{x}[()] = T.tensor({k})",
    "{x} **= 2; {x}.tanh_()", "{x} /= 1.5", "{x} -= {k}", "{x}.sub_({k}, alpha=0.5)", "{x}.lerp_({x}.detach().cos(), 0.3)", "{x}.lerp_({x}.sin(), {x}.detach().sigmoid())", "{x}.addcdiv_({x}.detach(), T.ones_like({x}), value=0.1)",
    "{x}.hypot_(T.ones_like({x})).tanh_()", "{x}.atan2_(T.ones_like({x}))", "{x}.copysign_(T.tensor(1.0))", "{x}.data.mul_(0.5)", "{x}.detach().add_(0.1)", "{x}.where({x} > 0, {x}).sum()", "Dirty.apply({x})", "{x} = Dirty.apply({x})",
    "{x}.float_power_(2.0) if {x}.dtype == T.float64 else None; {x}.tanh_()", "{x}.zero_().add_({k})", "T.add({x}.detach(), 1, out={x}.data)", "{x}.normal_().zero_()", "{x}.uniform_(0.5, 0.5)",
)  # fmt: skip

SHAPED = (
    "{x}.index_fill_({d}, T.tensor([0]), {k})", "{x}.index_add_({d}, T.tensor([0]), {x}.detach().narrow({d}, 0, 1).cos())", "{x}.index_copy_({d}, T.tensor([{l}]), {x}.narrow({d}, 0, 1).sin())",
    "{x}[0].mul_({k})", "{x}[..., -1:] *= {k}", "{x}.select({d}, -1).tanh_()", "{x}.narrow({d}, 0, 1).copy_(T.ones(()))", "{x}[T.tensor([0])] = {k}", "{x}[{x} > 0] = {k}", "{x}[{x} > 0] *= 0.5", "{x}.index_put_((T.tensor([0]),), T.tensor({k}, dtype={x}.dtype), accumulate=True)",
    "{x}.cumsum_({d}).tanh_()", "{x}.view(-1)[0] = {k}" , "{x}.flatten()[:1].mul_(2)", "{x}.unsqueeze(0).sin_()", "{x}.scatter_({d}, T.zeros_like({x}).long().narrow({d}, 0, 1), {k})", "{x}.transpose(0, {d}).tanh_()", "{x}.expand(2, *{x}.shape)[0].sin_()",
    "{x}[0][...] = {x}[-1].detach().sin()", "{x}.tril_() if {x}.ndim > 1 else {x}.sin_()", "{x}.diagonal().mul_(0.5) if {x}.ndim == 2 else {x}.cos_()", "{x}.fill_diagonal_({k}) if {x}.ndim == 2 else {x}.cos_()", "{x}.squeeze().tanh_()", "{x}.masked_scatter_({x}.detach() > 0, {x}.detach().cos())",
    "{x}[:, None].abs_()" , "{x}.as_strided((2,), (1,)).mul_(0.5)" , "{x}.unfold({d}, 1, 1).neg_()", "{x}.movedim({d}, 0)[0] += 0.5", "for part in {x}.tensor_split(2): part.mul_(0.9)", "{x}.swapaxes(0, -1).add_(0.1)", "{x}.logical_not_() if False else {x}.neg_()",
)  # fmt: skip


def in_place(w: Writer) -> bool:
    x = w.pick(writable)
    if x is None or x.bound > LIMIT:
        return False
    shaped = bool(x.shape) and 0 not in x.shape and w.random.random() < 0.5
    text = w.random.choice(SHAPED if shaped else IN_PLACE)
    if "as_strided" in text and x.size < 2:
        return False
    dim = w.dim(x) if x.shape else 0
    w.write(text.format(x=x.name, k=w.number(), d=dim, l=x.shape[dim] - 1 if x.shape else 0))
    for one in w.variables:
        one.bound = max(one.bound, x.bound + 3)
    if " = Dirty" in text:
        x.leaf = False
    return True


def meta_in_place(w: Writer) -> bool:
    """Change a tensor's layout, history or data, not its elements."""
    x = w.pick(lambda one: one.floating and not one.several)
    if x is None:
        return False
    kind = w.random.choice(
        ("detach_", "data", "unsqueeze_", "squeeze_", "t_", "grad", "zero_grad", "off", "transpose_")
    )
    if kind == "detach_":
        w.write(f"{x.name}.detach_()")
        x.grad = False
    elif kind == "data":
        w.write(f"{x.name}.data = {x.name}.data * 0.5")
    elif kind == "unsqueeze_" and not (x.leaf and x.grad):
        w.write(f"{x.name}.unsqueeze_(0)")
        x.shape = (1, *x.shape)
    elif kind == "squeeze_" and not (x.leaf and x.grad):
        w.write(f"{x.name}.squeeze_()")
        x.shape = tuple(s for s in x.shape if s != 1)
    elif kind == "t_" and len(x.shape) == 2 and not (x.leaf and x.grad):
        w.write(f"{x.name}.t_()")
        x.shape = x.shape[::-1]
    elif kind == "transpose_" and len(x.shape) > 1 and not (x.leaf and x.grad):
        w.write(f"{x.name}.transpose_(0, 1)")
        x.shape = (x.shape[1], x.shape[0], *x.shape[2:])
    elif kind == "grad" and x.leaf:
        w.write(f"{x.name}.grad = {w.random.choice(('None', f'T.ones_like({x.name}.detach())'))}")
    elif kind == "zero_grad" and x.leaf:
        w.write(f"{x.name}.grad = None if {x.name}.grad is None else {x.name}.grad.detach().zero_()")
    elif kind == "off" and x.leaf:
        w.write(f"{x.name}.requires_grad_(False)")
        x.grad = False
    else:
        return False
    return True


def node_hook(w: Writer) -> bool:
    x = w.pick(lambda one: one.grad and one.floating and not one.leaf)
    if x is None or w.no_grad:
        return False
    total = "None if g is None else g.sum().item()"
    text = w.random.choice((
        "{x}.grad_fn.register_hook(lambda into, out: log.append(('{x}', sum(g.sum().item() for g in out if g is not None))))",
        "{x}.grad_fn.register_prehook(lambda out: log.append(('{x}', sum(g.sum().item() for g in out if g is not None))))",
        "{x}.grad_fn.register_prehook(lambda out: tuple(None if g is None else g * {k} for g in out))",
        "{x}.grad_fn.register_hook(lambda into, out: tuple(None if g is None else g * {k} for g in into))",
        "handle{n} = {x}.register_hook(lambda g: g * {k}); handle{n}.remove()",
        "{x}.register_hook(lambda g: log.append(('{x}', {t})))",
        "T.autograd.graph.register_multi_grad_hook(({x},), lambda g: log.append(('{x}', g.sum().item())), mode='any')",
        "T.autograd.graph.get_gradient_edge({x}).node.register_hook(lambda into, out: log.append(('{x}', None)))",
    ))  # fmt: skip
    w.write(text.format(x=x.name, k=w.number(), n=w.count, t=total))
    return True


def custom(w: Writer) -> bool:
    x = w.floating()
    if x is None:
        return False
    k = w.number()
    if w.random.random() < 0.4:
        w.new(f"Two.apply({x.name}, {k})[{w.random.randint(0, 1)}]", x.shape, [x], bound=2 * x.bound)
        return True
    if writable(x) and w.random.random() < 0.6:
        w.write(f"{x.name} = Dirty.apply({x.name})")
        x.leaf = False
        return True
    kind = w.random.choice(("hooks", "checkpoint", "reentrant", "shape", "inference"))
    if kind == "inference":
        w.new(f"T.inference_mode(False)(lambda: {x.name} * {k})()", x.shape, [x], bound=2 * x.bound)
    elif kind == "shape":
        w.new(f"Twice.apply({x.name})", x.shape, [x], bound=2 * x.bound)
    elif w.no_grad or not x.grad:
        return False
    elif kind == "hooks":
        name = f"v{w.count}"
        w.count += 1
        w.write("with T.autograd.graph.saved_tensors_hooks(lambda t: t.detach() * 2, lambda t: t / 2):")
        w.write(f"    {name} = {x.name} * {x.name}.sin()")
        w.variables.append(Variable(name, x.shape, x.dtype, bound=x.bound))
    else:
        reentrant = kind == "reentrant"
        w.new(
            f"T.utils.checkpoint.checkpoint(lambda x: (x * x + 1).log() * x.cos(), {x.name}, use_reentrant={reentrant})",
            x.shape,
            [x],
            bound=x.bound + 1,
        )
    return True


def _root(w: Writer) -> Variable | None:
    return w.pick(lambda one: one.floating and one.grad and not one.leaf)


def differentiate(w: Writer) -> bool:
    """Differentiate in the less usual ways."""
    x, y = _root(w), w.pick(lambda one: one.floating and one.grad)
    if x is None or y is None or w.no_grad:
        return False
    z = w.pick(lambda one: one.floating and one.grad) or y
    name = f"g{w.count}"
    w.count += 1
    k = w.number()
    options = "allow_unused=True, retain_graph=True"
    text = w.random.choice((
        "{g} = T.autograd.grad([{x}, {y}], [{z}, {y}], [T.full_like({x}, {k}), T.ones_like({y})], {o})",
        "{g} = T.autograd.grad({x}, {y}, T.stack([T.ones_like({x}), T.full_like({x}, {k})]), is_grads_batched=True, {o})",
        "{g} = T.autograd.grad({x}.sum(), T.autograd.graph.get_gradient_edge({y}), {o})",
        "{x}.sum().backward(retain_graph=True); {x}.backward(T.full_like({x}, {k}))",
        "T.autograd.backward([{x}.sum(), {y}.sum()], inputs=[{y}, {z}], retain_graph=True)",
        "{x}.sum().backward(inputs=[{y}], create_graph=True)",
        "{g} = T.autograd.grad({x}.sin().sum(), {y}, create_graph=True, allow_unused=True)[0]; {g} = {g} if {g} is None or not {g}.requires_grad else T.autograd.grad({g}.cos().sum(), [{z}, {y}], {o})",
        "{g} = T.autograd.grad({x}.square().sum(), {y}, create_graph=True, materialize_grads=True)[0]; {g} = T.autograd.grad(({g} * {g}).sum(), {y}, create_graph=True, materialize_grads=True)[0]; ({g}.sum() * {k}).backward()",
        "T.autograd.backward(T.autograd.graph.get_gradient_edge({x}), T.full_like({x}, {k}), retain_graph=True)",
        "{g} = T.autograd.grad({x}.sum() + {y}.sum(), [{y}, {y}], {o})",
        "{g} = T.autograd.grad({x}.sum(), [], {o})",
        "{g} = T.autograd.grad({x}, {x}, T.full_like({x}, {k}), retain_graph=True)",
        "{g} = T.autograd.functional.vjp(lambda t: (t.sin() * t).sum(), {y}.detach())[1]",
        "{g} = T.autograd.functional.hessian(lambda t: (t.sin() * t).tanh().sum(), {y}.detach())",
        "{g} = T.autograd.functional.jvp(lambda t: t.sin() * t, {y}.detach(), T.full_like({y}, {k}))[1]",
    ))  # fmt: skip
    w.write(text.format(g=name, x=x.name, y=y.name, z=z.name, k=k, o=options))
    return True


def in_between(w: Writer) -> bool:
    return w.random.random() < 0.5 and differentiate(w)


def mistake(w: Writer) -> bool:
    x = w.floating()
    if x is None:
        return False
    n = len(x.shape)
    leaf = w.pick(lambda one: one.leaf and one.grad and one.floating)
    choices = [
        f"{x.name}.gather({n + 1}, T.zeros(1).long())", f"{x.name}.index_add(0, T.tensor([0, 0, 0]), {x.name}.new_zeros(7))", f"{x.name}.scatter(0, T.tensor([99]), 1.0)",
        f"{x.name}.unfold({n}, 2, 1)", f"{x.name}.as_strided((99,), (1,))", f"{x.name}.unflatten(0, (7, 11))", f"{x.name}.narrow(0, 0, 99)", f"{x.name}.kthvalue(99)", f"{x.name}.topk(99)",
        f"{x.name}.matmul(T.ones(7, 5, 3, dtype={x.name}.dtype))", f"{x.name}.bmm({x.name})", f"T.autograd.backward({x.name}.detach())", f"T.autograd.grad({x.name}.sum(), {x.name}.detach())",
        f"{x.name}.grad = T.ones(9, 9)", f"{x.name}.data = 3", f"{x.name}.requires_grad = 'a'", f"{x.name}.grad_fn = None", f"{x.name}.view({(*x.shape, 2)})", f"{x.name}.t().t().t()" if n > 2 else f"{x.name}.bogus",
        f"Two.apply({x.name})", f"{x.name}.register_hook(3)", f"{x.name}.register_post_accumulate_grad_hook(lambda t: None)", f"{x.name}.backward(3)", f"{x.name}.sum().backward(inputs=[])",
        f"T.autograd.graph.get_gradient_edge({x.name}.detach())", f"{x.name}.add_({x.name}.long(), alpha=1.5)", f"{x.name}.long().add_({x.name})", f"T.mul({x.name}, 2, out=T.empty(99))" if x.grad else f"{x.name}.foo()",
        f"{x.name}.masked_scatter({x.name} > -99, T.ones(0, dtype={x.name}.dtype))", f"T.stack([{x.name}, {x.name}.sum()])" if n else "T.stack([])", f"{x.name}.split(0)",
        f"{x.name}.var(9)", f"{x.name}.flip({n})", f"{x.name}.repeat()" if n else f"{x.name}.softmax(3)", f"{x.name}.lerp({x.name}.float().double().int(), 0.5)",
    ]  # fmt: skip
    if leaf is not None:
        choices += [
            f"{leaf.name}.data.resize_(3); {leaf.name}.sum().backward()",
            f"{leaf.name}.set_(T.ones(3))",
            f"{leaf.name}.unsqueeze_(0)",
            f"{leaf.name}.requires_grad_(False).mul_(2); {leaf.name}.sum().backward()",
        ]
    w.write(w.random.choice(choices))
    return True


STATEMENTS: Kinds = [
    (6, unary), (4, reduction), (5, view), (4, indexing), (3, product), (3, in_place), (1.2, meta_in_place), (1.5, node_hook), (1.2, custom), (0.7, in_between),
]  # fmt: skip

MISTAKES: Kinds = [(5, mistake)]

ENDINGS: Kinds = [(6, differentiate)]

"""Attention: against its formula, for every mask, and against torch's numbers for seeds."""

from __future__ import annotations

import math
from typing import Any

import pytest
from oracle import T

nn: Any = T.nn
F: Any = T.nn.functional


def draw(*shape: int) -> Any:
    return T.randn(*shape, dtype=T.float64, requires_grad=True)


def heads(module: Any, query: Any, key: Any, value: Any, added: Any) -> tuple[Any, Any]:
    """Return output and weights of a module by the formula, head by head; ``added`` has ``(B, H, L, S)``."""
    size = module.embed_dim // module.num_heads
    if module.in_proj_weight is None:
        weights = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
    else:
        weights = module.in_proj_weight.split(module.embed_dim)
    biases = (0, 0, 0) if module.in_proj_bias is None else module.in_proj_bias.split(module.embed_dim)
    q, k, v = (x @ w.T + b for x, w, b in zip((query, key, value), weights, biases, strict=True))
    if module.bias_k is not None:
        batch = query.shape[1]
        k = T.cat([k, module.bias_k.repeat(1, batch, 1)])
        v = T.cat([v, module.bias_v.repeat(1, batch, 1)])
    outputs, every = [], []
    for head in range(module.num_heads):
        part = slice(head * size, (head + 1) * size)
        scores = T.einsum("lbe,sbe->bls", q[..., part], k[..., part]) / math.sqrt(size)
        weights = (scores + added[:, head]).softmax(-1)
        every.append(weights)
        outputs.append(T.einsum("bls,sbe->lbe", weights, v[..., part]))
    output = T.cat(outputs, -1) @ module.out_proj.weight.T
    if module.out_proj.bias is not None:
        output = output + module.out_proj.bias
    return output, T.stack(every, 1)


def close(a: Any, b: Any) -> bool:
    return bool(T.allclose(a, b, rtol=1e-10, atol=1e-12))


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("options", [{}, {"kdim": 3, "vdim": 5, "bias": False}, {"add_bias_kv": True}], ids=str)
@pytest.mark.parametrize("masked", ["no", "bool", "float", "padding", "both"])
def test_many_heads_follow_the_formula(need_weights: bool, options: dict[str, Any], masked: str) -> None:
    T.manual_seed(0)
    module = nn.MultiheadAttention(6, 2, dtype=T.float64, **options)
    query, key, value = draw(3, 2, 6), draw(4, 2, module.kdim), draw(4, 2, module.vdim)
    extra = 1 if options.get("add_bias_kv") else 0
    added = T.zeros(2, 2, 3, 4 + extra, dtype=T.float64)
    arguments: dict[str, Any] = {}
    if masked in ("bool", "both"):
        arguments["attn_mask"] = T.ones(3, 4, dtype=T.bool).triu(2)
        added[..., :4] += T.zeros(3, 4, dtype=T.float64).masked_fill(arguments["attn_mask"], -math.inf)
    if masked == "float":
        arguments["attn_mask"] = T.randn(4, 3, 4, dtype=T.float64)
        added[..., :4] += arguments["attn_mask"].view(2, 2, 3, 4)
    if masked in ("padding", "both"):
        padding = T.tensor([[False, False, True, True], [False] * 4])
        arguments["key_padding_mask"] = padding
        added[..., :4] += T.zeros(2, 4, dtype=T.float64).masked_fill(padding, -math.inf)[:, None, None]
    with T.no_grad():
        output, weights = module(query, key, value, need_weights=need_weights, **arguments)
        expected, expected_weights = heads(module, query, key, value, added)
    assert close(output, expected)
    if need_weights:
        assert close(weights, expected_weights.mean(1))
        arguments["average_attn_weights"] = False
        assert close(module(query, key, value, **arguments)[1], expected_weights)
    else:
        assert weights is None
    leaves = [query, key, value, *module.parameters()]
    own = T.autograd.grad(module(query, key, value, need_weights=True, **arguments)[0].sin().sum(), leaves)
    other = T.autograd.grad(heads(module, query, key, value, added)[0].sin().sum(), leaves)
    assert all(close(a, b) for a, b in zip(own, other, strict=True))


def test_forms_of_the_input() -> None:
    T.manual_seed(1)
    module = nn.MultiheadAttention(4, 2, batch_first=True, dtype=T.float64)
    x = draw(2, 3, 4)
    output, weights = module(x, x, x)
    assert output.shape == (2, 3, 4)
    assert weights.shape == (2, 3, 3)
    alone, alone_weights = module(x[1], x[1], x[1])
    assert close(alone, output[1])
    assert close(alone_weights, weights[1])
    causal = T.full((3, 3), -math.inf, dtype=T.float64).triu(1)
    hinted = module(x, x, x, attn_mask=causal, is_causal=True, need_weights=False)[0]
    assert close(hinted, module(x, x, x, attn_mask=causal)[0])


def test_text_and_names() -> None:
    module = nn.MultiheadAttention(4, 2)
    assert list(module.state_dict()) == ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]
    assert repr(module) == (
        "MultiheadAttention(\n"
        "  (out_proj): NonDynamicallyQuantizableLinear(in_features=4, out_features=4, bias=True)\n)"
    )
    layer = nn.TransformerDecoderLayer(4, 2, 8)
    assert [name for name, _ in layer.named_children()] == [
        "self_attn", "multihead_attn", "linear1", "dropout", "linear2", "norm1", "norm2", "norm3", "dropout1",
        "dropout2", "dropout3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, x: nn.MultiheadAttention(5, 2), AssertionError, "embed_dim must be divisible by num_heads"),
        (lambda m, x: nn.MultiheadAttention(0, 2), ValueError, "must be greater than 0"),
        (lambda m, x: m(T.ones(3, 2, 5), x, x), AssertionError, "was expecting embedding dimension of 4, but got 5"),
        (lambda m, x: m(T.ones(3), x, x), AssertionError, "query should be unbatched 2D or batched 3D tensor"),
        (lambda m, x: m(x, x[0], x), AssertionError, "expected `key` and `value` to be 3-D but found 2-D and 3-D"),
        (lambda m, x: m(x, x, x, attn_mask=T.zeros(2, 2)), RuntimeError, "The shape of the 2D attn_mask is"),
        (lambda m, x: m(x, x, x, is_causal=True), RuntimeError, "Need attn_mask if specifying the is_causal hint"),
        (lambda m, x: m(x, x, x, attn_mask=T.zeros(3, 3, dtype=T.int64)), AssertionError, "only bool and floating"),
        (lambda m, x: m(x, x, x, attn_mask=T.zeros(3)), AssertionError, "2-D or 3-D but found 1-D"),
        (lambda m, x: nn.TransformerEncoderLayer(4, 2, activation="x"), RuntimeError, "should be relu/gelu, not x"),
        (lambda m, x: nn.Transformer(4, 2, 1, 1, 8)(x, x[:, :1]), RuntimeError, "the batch number of src and tgt"),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(nn.MultiheadAttention(4, 2), T.ones(3, 2, 4))


# Numbers of torch for seeds: sums of the output and of the gradient of the input, with dropout.
TRANSFORMERS = {
    "encoder": [58.37436669032252, 27.57606283189115],
    "encoder first": [63.878130672473006, 52.23397857163002],
    "decoder layer": [59.016863094840105, 29.831277764639836],
    "both": [58.33935519584139, 59.38226060232475],
}


def make(name: str) -> Any:
    """Make a model and what to call it with."""
    T.manual_seed(0)
    options = {"dtype": T.float64, "dim_feedforward": 12, "dropout": 0.2}
    if name.startswith("encoder"):
        layer = nn.TransformerEncoderLayer(8, 2, batch_first=True, norm_first=name == "encoder first", **options)
        model = nn.TransformerEncoder(layer, 2)
        mask = nn.Transformer.generate_square_subsequent_mask(3, dtype=T.float64)
        return lambda x: model(x, mask=mask)
    if name == "decoder layer":
        layer = nn.TransformerDecoderLayer(8, 2, activation="gelu", **options)
        return lambda x: layer(x, x.flip(0))
    model = nn.Transformer(8, 2, 1, 2, bias=False, **options)
    return lambda x: model(x, x.cos())


@pytest.mark.parametrize("name", ["encoder", "encoder first", "decoder layer", "both"])
def test_transformers_give_torchs_numbers(name: str) -> None:
    model = make(name)
    T.manual_seed(5)
    x = draw(3, 3, 8)
    output = model(x)
    (grad,) = T.autograd.grad((output * output.detach().cos()).sum(), x)
    assert [output.abs().sum().item(), grad.abs().sum().item()] == pytest.approx(TRANSFORMERS[name], rel=1e-9)


# The function alone.


@pytest.mark.parametrize("rows", [3, 19])
@pytest.mark.parametrize("kind", ["none", "bool", "float", "causal", "scale", "gqa"])
def test_scaled_dot_products(kind: str, rows: int) -> None:
    T.manual_seed(2)
    query, key, value = (
        draw(2, 4, rows, 8),
        draw(2, 2 if kind == "gqa" else 4, 5, 8),
        draw(2, 2 if kind == "gqa" else 4, 5, 6),
    )
    mask, arguments = T.zeros(rows, 5, dtype=T.float64), {}
    scale = 1 / math.sqrt(8)
    wide = (key, value)
    if kind == "bool":
        chosen = T.ones(rows, 5, dtype=T.bool).tril(1)
        arguments, mask = {"attn_mask": chosen}, mask.masked_fill(~chosen, -math.inf)
    if kind == "float":
        mask = T.randn(2, 1, rows, 5, dtype=T.float64)
        arguments = {"attn_mask": mask}
    if kind == "causal":
        arguments, mask = {"is_causal": True}, mask.masked_fill(T.ones(rows, 5, dtype=T.bool).triu(1), -math.inf)
    if kind == "scale":
        arguments, scale = {"scale": 0.3}, 0.3
    if kind == "gqa":
        arguments, wide = {"enable_gqa": True}, (key.repeat_interleave(2, 1), value.repeat_interleave(2, 1))
    output = F.scaled_dot_product_attention(query, key, value, **arguments)
    expected = ((query @ wide[0].mT) * scale + mask).softmax(-1) @ wide[1]
    assert close(output, expected)
    own = T.autograd.grad((output * output).sum(), [query, key, value])
    other = T.autograd.grad((expected * expected).sum(), [query, key, value])
    assert all(close(a, b) for a, b in zip(own, other, strict=True))


HIDING = {
    "none": {},
    "causal": {"is_causal": True},
    "bool": {"attn_mask": T.ones(9, 10, dtype=T.bool).tril(-1)},
    "float": {"attn_mask": T.zeros(9, 10, dtype=T.float64).masked_fill(T.ones(9, 10, dtype=T.bool).triu(), -math.inf)},
}


@pytest.mark.parametrize("kind", HIDING)
def test_gradients_of_whole_attention(kind: str) -> None:
    query, key, value = draw(2, 2, 9, 3), draw(2, 2, 10, 3), draw(2, 2, 10, 3)

    def attend(query: Any, key: Any, value: Any) -> Any:
        return F.scaled_dot_product_attention(query, key, value, **HIDING[kind])

    output = attend(query, key, value)
    assert type(output.grad_fn).__name__ == "ScaledDotProductFlashAttentionForCpuBackward0"
    assert output.is_contiguous()
    # The result lies as the queries do.
    assert attend(query.mT.contiguous().mT, key, value).is_contiguous()
    assert attend(query.transpose(1, 2).contiguous().transpose(1, 2), key, value).transpose(1, 2).is_contiguous()
    if kind in ("bool", "float"):
        assert output[:, :, 0].tolist() == T.zeros(2, 2, 3).tolist()
    assert T.autograd.gradcheck(attend, (query, key, value))
    some = draw(2, 2, 10, 3)
    assert T.autograd.gradcheck(lambda x: attend(query.detach(), x, some), key)


@pytest.mark.rustgrad_only("torch has no second derivative of it")
@pytest.mark.parametrize("kind", HIDING)
def test_second_derivatives_of_whole_attention(kind: str) -> None:
    query, key, value = draw(1, 2, 9, 3), draw(1, 2, 10, 3), draw(1, 2, 10, 2)

    def attend(query: Any, key: Any, value: Any) -> Any:
        return F.scaled_dot_product_attention(query, key, value, **HIDING[kind])

    assert T.autograd.gradgradcheck(attend, (query, key, value))


@pytest.mark.parametrize("dtype", [T.float32, T.float64])
def test_attention_takes_any_layout(dtype: Any) -> None:
    T.manual_seed(4)
    one = T.randn(3, 40, 4, 8, dtype=dtype)
    shared = T.randn(3, 1, 70, 8, dtype=dtype)
    layouts = [
        (one.transpose(1, 2), shared, shared),
        (one.permute(1, 2, 3, 0)[::2, :, :, ::2], one.permute(1, 2, 3, 0)[1::2, :, :, :2], one[:1, :20, :, 1::2].mT[0]),
        (one[0], one[1], one[2, :, :, 3:]),
        (one[0, :, 0], one[1, :, 1], one[2, :, 3]),
        (one[None], shared[None, :, :], shared[None, :1]),
    ]
    for query, key, value in layouts:
        if key.shape[-2] != value.shape[-2]:
            key = value = key.contiguous()
        query, key, value = (x.detach().requires_grad_() for x in (query, key, value))
        output = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = T.ones(query.shape[-2], key.shape[-2], dtype=T.bool).triu(1)
        expected = ((query @ key.mT) / math.sqrt(query.shape[-1])).masked_fill(hidden, -math.inf).softmax(-1) @ value
        T.testing.assert_close(output, expected)
        weight = T.randn_like(expected)
        own = T.autograd.grad((output * weight).sum(), [query, key, value])
        other = T.autograd.grad((expected * weight).sum(), [query, key, value])
        T.testing.assert_close(own, other)


def test_a_mask_that_is_learnt() -> None:
    query, key = draw(1, 2, 9, 3), draw(1, 2, 9, 3)
    mask = draw(9, 9)
    assert T.autograd.gradcheck(lambda m: F.scaled_dot_product_attention(query, key, key, attn_mask=m), mask)


def test_scaled_dot_products_refuse() -> None:
    x = T.ones(2, 3, 4)
    with pytest.raises(RuntimeError, match="Explicit attn_mask should not be set when is_causal=True"):
        F.scaled_dot_product_attention(x, x, x, attn_mask=T.ones(3, 3), is_causal=True)
    with pytest.raises(RuntimeError, match="Expected query, key, and value to have the same dtype"):
        F.scaled_dot_product_attention(x, x.double(), x)

"""Attention as functions, for ``rustgrad.nn.functional``."""

from __future__ import annotations

import math

import rustgrad as _rg
from rustgrad import _core
from rustgrad._core import Tensor
from rustgrad._nests import whole
from rustgrad.nn._normalise import dropout

_linear = _core._nn_linear
# Queries below which attention is made of products.
_QUERIES = 8


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return ``softmax(query @ key.T * scale + mask) @ value``.

    Parameters
    ----------
    query, key, value
        ``(..., L, E)``, ``(..., S, E)`` and ``(..., S, V)``.
    attn_mask
        Broadcast to ``(..., L, S)``: booleans say what takes part, floats are added.
    dropout_p
        The fraction of weights set to zero.
    is_causal
        Whether each position sees only those up to itself; excludes ``attn_mask``.
    scale
        ``1 / sqrt(E)`` by default.
    enable_gqa
        Whether key and value may have fewer heads (dimension -3), each for several of the query.
    """
    if is_causal and attn_mask is not None:
        message = "Explicit attn_mask should not be set when is_causal=True"
        raise RuntimeError(message)
    if query.dtype is not key.dtype or query.dtype is not value.dtype:
        message = (
            f"Expected query, key, and value to have the same dtype, but got query.dtype: {query.dtype} "
            f"key.dtype: {key.dtype} and value.dtype: {value.dtype} instead."
        )
        raise RuntimeError(message)
    for part in (query, key, value):
        if part.dim() < 2:
            message = (
                "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
                f"{query.dim()}, key.dim: {key.dim()} and value.dim: {value.dim()} instead."
            )
            raise RuntimeError(message)
    if enable_gqa and query.dim() >= 3:
        if query.shape[-3] % key.shape[-3] or query.shape[-3] % value.shape[-3]:
            message = "Number of heads in key and value must divide the number of heads in query"
            raise RuntimeError(message)
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    width = query.shape[-1]
    factor = scale if scale is not None else 1 / math.sqrt(width) if width else 1.0
    if _is_whole(query, key, value, attn_mask, dropout_p):
        return _core._nn_attention(query, key, value, attn_mask, is_causal, factor)
    scores = (query * factor) @ key.transpose(-2, -1)
    sees_nothing = None
    if is_causal:
        hidden = _rg.ones(query.shape[-2], key.shape[-2], dtype=_rg.bool).triu(1)
        scores = scores.masked_fill(hidden, -math.inf)
    elif attn_mask is not None:
        if attn_mask.dtype is _rg.bool:
            scores = scores.masked_fill(~attn_mask, -math.inf)
            sees_nothing = ~attn_mask.any(-1, keepdim=True)
        elif attn_mask.dtype is query.dtype:
            scores = scores + attn_mask
            sees_nothing = (attn_mask == -math.inf).all(-1, keepdim=True)
        else:
            message = (
                "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
                f"{attn_mask.dtype} and  query.dtype: {query.dtype} instead."
            )
            raise RuntimeError(message)
    weights = scores.softmax(-1)
    if sees_nothing is not None and whole(sees_nothing).any():
        # A row that sees nothing gives zeros.
        weights = weights.masked_fill(sees_nothing, 0.0)
    if dropout_p > 0.0:
        weights = dropout(weights, dropout_p)
    return weights @ value


def _is_whole(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout_p: float) -> bool:
    """Whether one operation of the engine makes all of an attention.

    What a few queries ask (generating texts) are products of vectors, for which there is nothing to gain.
    """
    if dropout_p > 0.0 or not query.is_floating_point() or query.shape[-2] < _QUERIES:
        return False
    if mask is not None and (mask.requires_grad or mask.dtype not in (_rg.bool, query.dtype)):
        return False
    width, (keys, depth) = query.shape[-1], value.shape[-2:]
    return bool(tuple(key.shape[-2:]) == (keys, width) and min(keys, width, depth) > 0)


def _additive(mask: Tensor | None, name: str, dtype: _core.dtype) -> Tensor | None:
    """Return a mask whose booleans say what is left out as one that is added."""
    if mask is None:
        return None
    if mask.dtype is _rg.bool:
        return _rg.zeros(mask.shape, dtype=dtype).masked_fill_(mask, -math.inf)
    if not mask.is_floating_point():
        message = f"only bool and floating types of {name} are supported"
        raise AssertionError(message)
    return mask


def _check_ranks(query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None) -> None:
    rank = query.dim()
    if rank not in (2, 3):
        message = f"query should be unbatched 2D or batched 3D tensor but received {rank}-D query tensor"
        raise AssertionError(message)
    label = "For batched (3-D) `query`" if rank == 3 else "For unbatched (2-D) `query`"
    if key.dim() != rank or value.dim() != rank:
        message = (
            f"{label}, expected `key` and `value` to be {rank}-D but found {key.dim()}-D and {value.dim()}-D tensors "
            "respectively"
        )
        raise AssertionError(message)
    if padding is not None and padding.dim() != rank - 1:
        message = (
            f"{label}, expected `key_padding_mask` to be `None` or {rank - 1}-D but found {padding.dim()}-D tensor "
            "instead"
        )
        raise AssertionError(message)
    if mask is not None and mask.dim() not in (2, 3):
        message = f"{label}, expected `attn_mask` to be `None`, 2-D or 3-D but found {mask.dim()}-D tensor instead"
        raise AssertionError(message)


def _check_mask(mask: Tensor, heads: int, length: int, sources: int, unbatched: bool) -> None:
    expected = (length, sources) if mask.dim() == 2 else (heads, length, sources)
    if tuple(mask.shape) == expected:
        return
    if unbatched and mask.dim() == 3:
        message = f"Expected `attn_mask` shape to be {expected} but got {mask.shape}"
        raise AssertionError(message)
    message = f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {expected}."
    raise RuntimeError(message)


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return the attention of several heads, each on its share of the features, and the weights if asked for.

    Parameters
    ----------
    query, key, value
        ``(L, B, E)``, ``(S, B, *)`` and ``(S, B, *)``, or all without ``B``.
    embed_dim_to_check, num_heads
        ``E``, and how many heads share it.
    in_proj_weight, in_proj_bias
        The projections of query, key and value below each other; with ``use_separate_proj_weight`` the weights are
        ``q_proj_weight``, ``k_proj_weight`` and ``v_proj_weight``.
    bias_k, bias_v, add_zero_attn
        One more key and value, the same for all; and one of zeros.
    key_padding_mask
        ``(B, S)``: which keys are left out, or what is added to their scores.
    attn_mask
        ``(L, S)`` or ``(B * num_heads, L, S)``, likewise.
    static_k, static_v
        Take the place of the projected key and value: ``(B * num_heads, S, E / num_heads)``.
    need_weights, average_attn_weights
        Whether the weights are returned, ``(B, L, S)``, or ``(B, num_heads, L, S)`` if they are not to be averaged.
    is_causal
        Says that ``attn_mask`` is causal.
    """
    _check_ranks(query, key, value, key_padding_mask, attn_mask)
    unbatched = query.dim() == 2
    if unbatched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, features = query.shape
    if is_causal and attn_mask is None:
        message = (
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
        raise RuntimeError(message)
    if features != embed_dim_to_check:
        message = f"was expecting embedding dimension of {embed_dim_to_check}, but got {features}"
        raise AssertionError(message)
    width = features // num_heads
    if width * num_heads != features:
        message = f"embed_dim {features} not divisible by num_heads {num_heads}"
        raise AssertionError(message)
    if use_separate_proj_weight:
        if key.shape[:2] != value.shape[:2]:
            message = f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
            raise AssertionError(message)
    elif key.shape != value.shape:
        message = f"key shape {key.shape} does not match value shape {value.shape}"
        raise AssertionError(message)
    padding = _additive(key_padding_mask, "key_padding_mask", query.dtype)
    # The hint serves where no mask has to be looked at.
    causal = is_causal and padding is None and not need_weights
    mask = None if causal else _additive(attn_mask, "attn_mask", query.dtype)
    if mask is not None:
        heads = num_heads if unbatched else batch * num_heads
        _check_mask(mask, heads, length, key.shape[0], unbatched)

    q, k, v = _project(
        query, key, value, in_proj_bias,
        (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else in_proj_weight,
    )  # fmt: skip
    more = 0
    if bias_k is not None and bias_v is not None:
        k, v = (_rg.cat([x, extra.expand(1, batch, features)]) for x, extra in ((k, bias_k), (v, bias_v)))
        more += 1
    q = q.reshape(length, batch * num_heads, width).transpose(0, 1)
    k = k.reshape(k.shape[0], batch * num_heads, width).transpose(0, 1) if static_k is None else static_k
    v = v.reshape(v.shape[0], batch * num_heads, width).transpose(0, 1) if static_v is None else static_v
    if add_zero_attn:
        zeros = k.new_zeros((batch * num_heads, 1, width))
        k, v = _rg.cat([k, zeros], 1), _rg.cat([v, zeros], 1)
        more += 1
    sources = k.shape[1]
    if more:
        # What was put behind takes part everywhere.
        mask = None if mask is None else _core._nn_pad(mask, [0, more])
        padding = None if padding is None else _core._nn_pad(padding, [0, more])
    if padding is not None:
        if tuple(padding.shape) != (batch, sources):
            place = int(padding.shape[0] == batch)
            expected = (batch, sources)[place]
            message = f"Expected key_padded_mask.shape[{place}] to be {expected}, but got {padding.shape[place]}"
            raise AssertionError(message)
        padding = padding.view(batch, 1, 1, sources).expand(-1, num_heads, -1, -1).reshape(-1, 1, sources)
        mask = padding if mask is None else mask + padding
    kept = dropout_p if training else 0.0
    if not need_weights:
        if mask is not None:
            mask = mask.to(q.dtype)
        output, weights = scaled_dot_product_attention(q, k, v, mask, kept, causal), None
    else:
        scores = (q * math.sqrt(1.0 / width)) @ k.transpose(1, 2)
        weights = (scores if mask is None else scores + mask).softmax(-1)
        if kept > 0.0:
            weights = dropout(weights, kept)
        output = weights @ v
        weights = weights.view(batch, num_heads, length, sources)
        if average_attn_weights:
            weights = weights.mean(1)
    output = output.transpose(0, 1).reshape(length * batch, features)
    output = _linear(output, out_proj_weight, out_proj_bias).view(length, batch, out_proj_weight.shape[0])
    if unbatched:
        return output.squeeze(1), None if weights is None else weights.squeeze(0)
    return output, weights


def _project(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    weights: Tensor | tuple[Tensor | None, Tensor | None, Tensor | None] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key and value projected: in one product where they are one tensor."""
    features = query.shape[-1]
    if isinstance(weights, Tensor):
        if query is key and key is value:
            q, k, v = _linear(query, weights, bias).split(features, -1)
            return q, k, v
        parts: tuple[Tensor | None, ...] = weights.split(features)
    elif weights is None or any(weight is None for weight in weights):
        message = "use_separate_proj_weight says which weights are needed, and they are missing"
        raise AssertionError(message)
    else:
        parts = weights
    biases = (None, None, None) if bias is None else bias.split(features)
    q, k, v = (_linear(x, w, b) for x, w, b in zip((query, key, value), parts, biases, strict=True))
    return q, k, v

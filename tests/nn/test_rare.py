"""Layers that few programs use: projections, clusters of classes, random windows, fused normalisation."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest
from oracle import T

WINDOWS = [7.0, 8.0, 9.0, 11.0, 13.0, 14.0, 15.0, 17.0, 19.0, 20.0, 21.0, 23.0, 31.0, 32.0, 33.0, 35.0]
SLOPES = [-0.16506954, -0.30943593, -0.26490575]
nn: Any = T.nn
F: Any = T.nn.functional


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("both", [False, True])
def test_projected_states(both: bool) -> None:
    """A layer with projections is its formula, step by step; packed input gives the same."""
    T.manual_seed(0)
    layer = nn.LSTM(4, 5, proj_size=2, bidirectional=both, num_layers=2)
    assert layer.weight_hr_l1.shape == (2, 5)
    assert layer.weight_ih_l1.shape == (20, 4 if both else 2)
    assert repr(layer).startswith("LSTM(4, 5, proj_size=2, num_layers=2")
    x = T.randn(3, 2, 4)
    output, (h, c) = layer(x)
    assert output.shape == (3, 2, 4 if both else 2)
    assert h.shape == (4 if both else 2, 2, 2)
    assert c.shape == (4 if both else 2, 2, 5)
    packed, _ = layer(nn.utils.rnn.pack_padded_sequence(x, [3, 3]))
    assert T.allclose(nn.utils.rnn.pad_packed_sequence(packed)[0], output, atol=1e-6)
    if not both:
        first = nn.LSTM(4, 5, proj_size=2)
        first.load_state_dict({k: v for k, v in layer.state_dict().items() if k.endswith("l0")})
        state, memory = T.zeros(2, 2), T.zeros(2, 5)
        for step in x:
            gates = F.linear(step, first.weight_ih_l0, first.bias_ih_l0)
            gates = gates + F.linear(state, first.weight_hh_l0, first.bias_hh_l0)
            i, f, g, o = gates.chunk(4, 1)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            state = (o.sigmoid() * memory.tanh()) @ first.weight_hr_l0.T
        assert T.allclose(first(x)[0][-1], state, atol=1e-6)
        (first(x)[0].sum()).backward()
        assert all(p.grad is not None for p in first.parameters())
    with pytest.raises(ValueError, match="proj_size has to be smaller"):
        nn.LSTM(4, 5, proj_size=5)
    with pytest.raises(RuntimeError, match=r"Expected hidden\[0\] size \((2|4), 2, 2\)"):
        layer(x, (T.zeros(4 if both else 2, 2, 5), T.zeros(4 if both else 2, 2, 5)))


@pytest.mark.parametrize("bias", [False, True])
def test_clusters_of_classes(bias: bool) -> None:
    T.manual_seed(1)
    layer = nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 10], div_value=2.0, head_bias=bias)
    x, target = T.randn(6, 16), T.tensor([0, 4, 6, 9, 12, 19])
    found = layer(x, target)
    logs = layer.log_prob(x)
    assert T.allclose(logs.exp().sum(1), T.ones(6))
    assert T.allclose(found.output, logs.gather(1, target.unsqueeze(1)).squeeze(1), atol=1e-6)
    assert found.loss.item() == pytest.approx(-found.output.mean().item())
    assert T.equal(layer.predict(x), logs.argmax(1))
    assert layer(x[0], target[0]).output.shape == ()
    found.loss.backward()
    wanted = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    F.nll_loss(layer.log_prob(x), target).backward()
    assert all(T.allclose(a, p.grad, atol=1e-6) for a, p in zip(wanted, layer.parameters(), strict=True))
    with pytest.raises(RuntimeError, match=r"Target values should be in \[0, 19\], but values in range \[1, 25\]"):
        layer(T.ones(2, 16), T.tensor([1, 25]))
    with pytest.raises(RuntimeError, match="multi-target not supported"):
        layer(T.ones(2, 16), T.ones(2, 2).long())
    for cutoffs in ([5, 25], [5, 5], [0, 3]):
        with pytest.raises(ValueError, match="cutoffs should be a sequence of unique"):
            nn.AdaptiveLogSoftmaxWithLoss(16, 20, cutoffs)


def test_windows_at_random_places() -> None:
    T.manual_seed(3)
    x = T.rand(2, 3, 9, 7)
    values, indices = nn.FractionalMaxPool2d(2, output_size=(5, 4), return_indices=True)(x)
    assert values.shape == (2, 3, 5, 4)
    assert T.equal(x.flatten(2).gather(2, indices.flatten(2)).view_as(values), values)
    # The first window begins at the edge, the last one ends at it.
    assert (indices[..., -1, :] // 7 >= 7).all()
    assert (indices[..., 0, :] // 7 <= 1).all()
    # What torch gives.
    T.manual_seed(3)
    small = T.arange(36.0).view(1, 1, 6, 6)
    assert F.fractional_max_pool2d(small, 2, 4).flatten().tolist() == WINDOWS
    volume = T.rand(1, 2, 5, 6, 7, requires_grad=True)
    layer = nn.FractionalMaxPool3d(2, output_ratio=0.6)
    layer(volume).sum().backward()
    assert layer(volume[0]).shape == (2, 3, 3, 4)
    assert volume.grad is not None
    with pytest.raises(RuntimeError, match="pool height 5 too large relative to input height 6"):
        F.fractional_max_pool2d(small, 5, 4)
    with pytest.raises(ValueError, match="output_ratio must be between 0 and 1"):
        nn.FractionalMaxPool2d(2, output_ratio=1.5)


def test_norms_of_volumes() -> None:
    x = T.rand(1, 2, 4, 5, 6)
    want = (F.avg_pool3d(x.pow(3.0), (2, 3, 2)) * 12).pow(1 / 3)
    assert T.allclose(nn.LPPool3d(3.0, (2, 3, 2))(x), want)
    assert repr(nn.LPPool3d(2, 2)) == "LPPool3d(norm_type=2, kernel_size=2, stride=None, ceil_mode=False)"


def test_dropped_channels() -> None:
    T.manual_seed(0)
    x = T.randn(50, 40, 3)
    dropped = nn.FeatureAlphaDropout(0.4)(x)
    assert dropped.mean().item() == pytest.approx(0, abs=0.1)
    assert dropped.std().item() == pytest.approx(1, abs=0.1)
    spread = dropped.std(2)
    assert 0.3 < (spread < 1e-6).float().mean().item() < 0.5
    assert nn.FeatureAlphaDropout(0.4).eval()(x) is not None
    assert T.equal(F.feature_alpha_dropout(x, 0.4, training=False), x)
    with pytest.raises(ValueError, match="dropout probability has to be between 0 and 1"):
        F.feature_alpha_dropout(x, 1.5, training=True)


def test_normalisation_over_processes() -> None:
    """In one process it is batch normalisation."""
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm1d(2)))
    x = T.randn(2, 3, 4, 4)
    want = model[1](x)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert type(converted[1]) is type(converted[2][0]) is nn.SyncBatchNorm
    assert T.allclose(converted[1](x), want)
    assert sum(1 for _ in converted.parameters()) == 6


def test_fused_normalisation() -> None:
    norm = nn.BatchNorm2d(4).eval()
    norm.running_mean.uniform_()
    norm.running_var.uniform_(0.5, 2)
    nn.init.uniform_(norm.weight)
    x = T.randn(2, 3, 6, 6)
    for layer, transposed in ((nn.Conv2d(3, 4, 3, bias=False), False), (nn.ConvTranspose2d(3, 4, 3), True)):
        fused = nn.utils.fuse_conv_bn_eval(layer.eval(), norm, transposed)
        assert T.allclose(fused(x), norm(layer(x)), atol=1e-5)
    flat = nn.BatchNorm1d(4).eval()
    linear = nn.Linear(6, 4).eval()
    assert T.allclose(nn.utils.fuse_linear_bn_eval(linear, flat)(x[0, 0]), flat(linear(x[0, 0])), atol=1e-6)
    with pytest.raises(AssertionError, match="Fusion only for eval!"):
        nn.utils.fuse_conv_bn_eval(nn.Conv2d(3, 4, 3), norm)
    assert nn.utils.skip_init(nn.Linear, 3, 4).weight.shape == (4, 3)


def test_gradients_by_frequency() -> None:
    layer = nn.Embedding(5, 2, scale_grad_by_freq=True)
    layer(T.tensor([1, 1, 2, 1])).sum().backward()
    assert layer.weight.grad[:, 0].tolist() == [0, 1, 1, 0, 0]


def test_choice_of_attention() -> None:
    attention = importlib.import_module(f"{T.__name__}.nn.attention")
    q = T.randn(1, 2, 3, 4)
    with attention.sdpa_kernel([attention.SDPBackend.MATH]):
        assert F.scaled_dot_product_attention(q, q, q).shape == (1, 2, 3, 4)


@pytest.mark.parametrize("kind", [None, "householder"])
@pytest.mark.parametrize("sizes", [(3, 5), (5, 3), (4, 4)])
def test_reflections(kind: Any, sizes: Any) -> None:
    """Reflections give orthonormal rows or columns, also without what they began with."""
    T.manual_seed(0)
    for trivial in (True, False):
        if not trivial and kind is None:
            continue
        layer = nn.utils.parametrizations.orthogonal(nn.Linear(*sizes), orthogonal_map=kind, use_trivialization=trivial)
        q = layer.weight if sizes[0] <= sizes[1] else layer.weight.mT
        assert T.allclose(q.mT @ q, T.eye(min(sizes)), atol=1e-5)
        given = nn.init.orthogonal_(T.empty(sizes[1], sizes[0]))
        layer.weight = given
        if not trivial:
            assert T.allclose(layer.weight, given, atol=1e-5)
        (layer.weight * T.arange(3.0 * 5 if sizes != (4, 4) else 16.0).view_as(layer.weight)).sum().backward()
        assert layer.parametrizations.weight.original.grad.abs().sum() > 0
    layer = nn.utils.parametrizations.orthogonal(nn.Linear(3, 3), orthogonal_map="cayley", use_trivialization=False)
    with pytest.raises(NotImplementedError, match="not possible to assign"):
        layer.weight = T.eye(3)


def test_modules_of_torchs_names() -> None:
    """``import`` finds what torch keeps in modules of other names."""
    for name in (
        "nn.modules.batchnorm",
        "nn.modules.utils",
        "nn.modules.transformer",
        "distributions.beta",
        "nn.utils.rnn",
    ):
        assert importlib.import_module(f"{T.__name__}.{name}") is not None
    batchnorm = importlib.import_module(f"{T.__name__}.nn.modules.batchnorm")
    assert issubclass(nn.BatchNorm2d, batchnorm._BatchNorm)


def test_targets_that_are_refused() -> None:
    x = T.zeros(4, 5)
    for target, message in (
        (T.zeros(4, 3).long(), "multi-target not supported"),
        (T.zeros(4, 5).long(), "Expected floating point type for target with class probabilities, got Long"),
    ):
        with pytest.raises(RuntimeError, match=message):
            F.cross_entropy(x, target)
    with pytest.raises(RuntimeError, match=r"label_smoothing must be between 0.0 and 1.0. Got: 2"):
        F.cross_entropy(x, T.zeros(4).long(), label_smoothing=2.0)
    with pytest.raises(RuntimeError, match=r"expected target dtype to be Long or Byte, but got Float"):
        F.cross_entropy(x, T.zeros(4))
    with pytest.raises(RuntimeError, match="multi-target not supported"):
        F.cosine_embedding_loss(x, x, T.ones(4, 1))


def test_muon() -> None:
    """A step changes a matrix along one whose singular values are near one."""
    T.manual_seed(0)
    weight = nn.Parameter(T.randn(6, 4))
    before = weight.detach().clone()
    weight.grad = T.randn(6, 4)
    optimiser = T.optim.Muon([weight], lr=0.1, weight_decay=0.0)
    optimiser.step()
    values = np.linalg.svd((before - weight.detach()).numpy(), compute_uv=False) / (0.1 * math.sqrt(6 / 4))
    assert 0.6 < values.min()
    assert values.max() < 1.3
    assert list(optimiser.state_dict()["state"][0]) == ["momentum_buffer"]
    with pytest.raises(ValueError, match="Muon only supports 2D parameters"):
        T.optim.Muon([nn.Parameter(T.ones(3))])
    with pytest.raises(ValueError, match="Adjust learning rate function x is not supported"):
        T.optim.Muon([weight], adjust_lr_fn="x")


def test_random_slopes() -> None:
    """The slopes below zero are torch's draws."""
    T.manual_seed(11)
    got = F.rrelu(T.tensor([-1.0, 1.0, -1.0, -1.0]), training=True).tolist()
    assert got == pytest.approx([SLOPES[0], 1.0, SLOPES[1], SLOPES[2]])


def test_bags_begin_at_the_beginning() -> None:
    with pytest.raises(RuntimeError, match=r"offsets\[0\] has to be 0, i.e., the first sequence"):
        nn.EmbeddingBag(10, 3)(T.tensor([1, 2]), T.tensor([1]))
    with pytest.raises(ValueError, match="num_samples should be a positive integer value, but got num_samples=0"):
        T.utils.data.RandomSampler([])

"""Functions composed of others: values by their definition, derivatives against central differences, errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
from oracle import T

F: Any = T.nn.functional
nn: Any = T.nn


def draw(*shape: int, seed: int = 0) -> Any:
    T.manual_seed(seed)
    return T.randn(*shape, dtype=T.float64, requires_grad=True)


# Expressions, the shapes of their inputs, and the sum of squares that torch gives for the seeds.
ROWS: dict[str, tuple[Any, tuple[tuple[int, ...], ...], float]] = {
    "T.cdist(a, b)": (
        lambda a, b: T.cdist(a, b),
        (
            (2, 3, 2),
            (2, 4, 2),
        ),
        50.892531740325,
    ),
    "T.cdist(a, b, p=1.5)": (
        lambda a, b: T.cdist(a, b, p=1.5),
        (
            (3, 2),
            (4, 2),
        ),
        20.216164711309844,
    ),
    "F.pdist(a)": (lambda a: F.pdist(a), ((4, 3),), 20.52379172887833),
    "T.dist(a, b, 3)": (
        lambda a, b: T.dist(a, b, 3),
        (
            (2, 3),
            (2, 3),
        ),
        4.5599267171096844,
    ),
    "T.renorm(a, 2, 0, 1.0)": (lambda a: T.renorm(a, 2, 0, 1.0), ((3, 4),), 2.8984742187115606),
    "T.cov(a)": (lambda a: T.cov(a), ((3, 5),), 0.5956676148856083),
    "T.cov(a, correction=0, aweights=T.tensor([1.0, 2.0, 3.0, 1.0, 2.0], dtype=T.float64))": (
        lambda a: T.cov(a, correction=0, aweights=T.tensor([1.0, 2.0, 3.0, 1.0, 2.0], dtype=T.float64)),
        ((3, 5),),
        0.40571554034115553,
    ),
    "T.corrcoef(a)": (lambda a: T.corrcoef(a), ((3, 5),), 4.84851261263494),
    "T.trapezoid(a, b)": (
        lambda a, b: T.trapezoid(a, b),
        (
            (3, 4),
            (4,),
        ),
        1.92924811985133,
    ),
    "T.cumulative_trapezoid(a, dx=0.5, dim=0)": (
        lambda a: T.cumulative_trapezoid(a, dx=0.5, dim=0),
        ((3, 4),),
        1.3741714301186132,
    ),
    "T.gradient(a, spacing=0.5, edge_order=2)[0]": (
        lambda a: T.gradient(a, spacing=0.5, edge_order=2)[0],
        ((4, 3),),
        81.76339311316981,
    ),
    "T.mvlgamma(a.exp() + 2, 3)": (lambda a: T.mvlgamma(a.exp() + 2, 3), ((4,),), 71.105924459689),
    "T.index_reduce(a, 0, T.tensor([0, 2]), b, 'mean')": (
        lambda a, b: T.index_reduce(a, 0, T.tensor([0, 2]), b, "mean"),
        (
            (3, 2),
            (2, 2),
        ),
        1.2866452481151784,
    ),
    "T.diff(a, 2, 0, b, b)": (
        lambda a, b: T.diff(a, 2, 0, b, b),
        (
            (3, 2),
            (1, 2),
        ),
        4.460929233635777,
    ),
    "T.tensordot(a, b, dims=([0], [1]))": (
        lambda a, b: T.tensordot(a, b, dims=([0], [1])),
        (
            (1, 3),
            (2, 4),
        ),
        2.1341637008258303,
    ),
    "F.interpolate(a, size=(3, 5), mode='bilinear')": (
        lambda a: F.interpolate(a, size=(3, 5), mode="bilinear"),
        ((1, 2, 4, 3),),
        12.545433287747004,
    ),
    "F.interpolate(a, scale_factor=1.7, mode='bicubic', align_corners=False)": (
        lambda a: F.interpolate(a, scale_factor=1.7, mode="bicubic", align_corners=False),
        ((1, 1, 3, 4),),
        13.128207857193583,
    ),
    "F.interpolate(a, size=(4, 2), mode='bicubic', align_corners=True)": (
        lambda a: F.interpolate(a, size=(4, 2), mode="bicubic", align_corners=True),
        ((1, 1, 3, 4),),
        2.7599466443434846,
    ),
    "F.interpolate(a, size=5, mode='nearest-exact')": (
        lambda a: F.interpolate(a, size=5, mode="nearest-exact"),
        ((1, 2, 3),),
        1.9851179887367447,
    ),
    "F.interpolate(a, scale_factor=0.6, recompute_scale_factor=True, mode='linear')": (
        lambda a: F.interpolate(a, scale_factor=0.6, recompute_scale_factor=True, mode="linear"),
        ((1, 2, 7),),
        2.281307029560277,
    ),
    "F.interpolate(a, size=(2, 3, 2), mode='trilinear')": (
        lambda a: F.interpolate(a, size=(2, 3, 2), mode="trilinear"),
        ((1, 1, 3, 2, 3),),
        9.520496491691814,
    ),
    "F.interpolate(a, size=(3, 2), mode='area')": (
        lambda a: F.interpolate(a, size=(3, 2), mode="area"),
        ((1, 1, 5, 4),),
        4.190681963898709,
    ),
    "F.fold(a, (4, 5), (2, 3), stride=(1, 2), padding=(0, 1))": (
        lambda a: F.fold(a, (4, 5), (2, 3), stride=(1, 2), padding=(0, 1)),
        ((1, 6, 9),),
        73.54805569866113,
    ),
    "F.grid_sample(a, b, align_corners=False)": (
        lambda a, b: F.grid_sample(a, b, align_corners=False),
        (
            (1, 2, 3, 4),
            (1, 2, 3, 2),
        ),
        2.298535810082555,
    ),
    "F.grid_sample(a, b, padding_mode='reflection', align_corners=True)": (
        lambda a, b: F.grid_sample(a, b, padding_mode="reflection", align_corners=True),
        (
            (1, 2, 3, 4),
            (1, 2, 3, 2),
        ),
        4.867848836301092,
    ),
    "F.grid_sample(a, b, mode='bicubic', padding_mode='border', align_corners=False)  # no second": (
        lambda a, b: F.grid_sample(a, b, mode="bicubic", padding_mode="border", align_corners=False),
        (
            (1, 1, 4, 4),
            (1, 2, 2, 2),
        ),
        2.17124134212088,
    ),
    "F.grid_sample(a, b, align_corners=False)  # no second, volumes": (
        lambda a, b: F.grid_sample(a, b, align_corners=False),
        (
            (1, 1, 3, 3, 2),
            (1, 2, 1, 2, 3),
        ),
        2.267290695053697,
    ),
    "F.affine_grid(a, (2, 1, 3, 2), align_corners=False)": (
        lambda a: F.affine_grid(a, (2, 1, 3, 2), align_corners=False),
        ((2, 2, 3),),
        13.897712726338957,
    ),
    "F.affine_grid(a, (1, 1, 2, 3, 2), align_corners=True)": (
        lambda a: F.affine_grid(a, (1, 1, 2, 3, 2), align_corners=True),
        ((1, 3, 4),),
        67.54508483357395,
    ),
    "F.local_response_norm(a, 3, alpha=0.5)": (
        lambda a: F.local_response_norm(a, 3, alpha=0.5),
        ((2, 4, 3),),
        11.04254903287633,
    ),
    "F.conv3d(a, b, c, stride=(1, 2, 1), padding=1, dilation=(1, 1, 2))": (
        lambda a, b, c: F.conv3d(a, b, c, stride=(1, 2, 1), padding=1, dilation=(1, 1, 2)),
        (
            (1, 2, 3, 4, 4),
            (2, 2, 2, 2, 2),
            (2,),
        ),
        1011.1320063184768,
    ),
    "F.conv3d(a, b, padding='same', groups=2)": (
        lambda a, b: F.conv3d(a, b, padding="same", groups=2),
        (
            (2, 3, 3, 2),
            (2, 1, 2, 2, 3),
        ),
        45.88005552292314,
    ),
    "F.conv_transpose3d(a, b, c, stride=2, padding=1, output_padding=(1, 0, 1))": (
        lambda a, b, c: F.conv_transpose3d(a, b, c, stride=2, padding=1, output_padding=(1, 0, 1)),
        (
            (1, 2, 2, 3, 2),
            (2, 3, 3, 2, 3),
            (3,),
        ),
        364.4608190359162,
    ),
    "F.avg_pool3d(a, 2, stride=(1, 2, 2), padding=1, ceil_mode=True, count_include_pad=False)": (
        lambda a: F.avg_pool3d(a, 2, stride=(1, 2, 2), padding=1, ceil_mode=True, count_include_pad=False),
        ((1, 2, 3, 4, 5),),
        38.681839985486356,
    ),
    "F.avg_pool3d(a, (2, 1, 2), divisor_override=3)": (
        lambda a: F.avg_pool3d(a, (2, 1, 2), divisor_override=3),
        ((2, 3, 4, 4),),
        4.438017622728173,
    ),
    "F.max_pool3d(a, 2, stride=1, dilation=(1, 2, 1))": (
        lambda a: F.max_pool3d(a, 2, stride=1, dilation=(1, 2, 1)),
        ((1, 1, 3, 4, 3),),
        15.371624667946376,
    ),
    "F.adaptive_avg_pool3d(a, (2, None, 3))": (
        lambda a: F.adaptive_avg_pool3d(a, (2, None, 3)),
        ((1, 2, 3, 2, 4),),
        7.590952922445276,
    ),
    "F.adaptive_max_pool1d(a, 3)": (lambda a: F.adaptive_max_pool1d(a, 3), ((2, 3, 7),), 14.071500875737506),
    "F.adaptive_max_pool2d(a, (3, 2))": (lambda a: F.adaptive_max_pool2d(a, (3, 2)), ((2, 4, 5),), 12.582994580302676),
    "F.adaptive_max_pool3d(a, 2)": (lambda a: F.adaptive_max_pool3d(a, 2), ((1, 1, 3, 4, 3),), 15.371624667946378),
    "F.lp_pool1d(a.abs() + 0.1, 3, 2)": (lambda a: F.lp_pool1d(a.abs() + 0.1, 3, 2), ((1, 2, 6),), 6.578175784301736),
    "F.lp_pool2d(a.abs() + 0.1, 2, (2, 3), stride=1)": (
        lambda a: F.lp_pool2d(a.abs() + 0.1, 2, (2, 3), stride=1),
        ((1, 2, 4, 4),),
        128.85828532963794,
    ),
    "F.multi_margin_loss(a, T.tensor([1, 0, 2]), margin=0.7, reduction='none')  # no second": (
        lambda a: F.multi_margin_loss(a, T.tensor([1, 0, 2]), margin=0.7, reduction="none"),
        ((3, 4),),
        1.4449889092980586,
    ),
    "F.multi_margin_loss(a, T.tensor([1, 0, 2]), p=2, weight=T.tensor([1.0, 2.0, 0.5, 1.0], dtype=T.float64))  # no second": (
        lambda a: F.multi_margin_loss(
            a, T.tensor([1, 0, 2]), p=2, weight=T.tensor([1.0, 2.0, 0.5, 1.0], dtype=T.float64)
        ),
        ((3, 4),),
        1.954237031297734,
    ),
    "F.multilabel_margin_loss(a, T.tensor([[1, 3, -1, 0], [2, -1, 0, 0]]))  # no second": (
        lambda a: F.multilabel_margin_loss(a, T.tensor([[1, 3, -1, 0], [2, -1, 0, 0]])),
        ((2, 4),),
        1.8911506855881348,
    ),
    "F.multilabel_soft_margin_loss(a, T.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], dtype=T.float64))": (
        lambda a: F.multilabel_soft_margin_loss(a, T.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], dtype=T.float64)),
        ((2, 3),),
        0.610956945924858,
    ),
    "F.triplet_margin_with_distance_loss(a, b, c, swap=True, margin=2.0)": (
        lambda a, b, c: F.triplet_margin_with_distance_loss(a, b, c, swap=True, margin=2.0),
        (
            (3, 4),
            (3, 4),
            (3, 4),
        ),
        7.710396167620345,
    ),
    "F.pad(a, (-1, 1, -2, 1), mode='circular')": (
        lambda a: F.pad(a, (-1, 1, -2, 1), mode="circular"),
        ((1, 2, 4, 4),),
        12.692583073585542,
    ),
    "F.cosine_similarity(a, b, dim=-2)": (
        lambda a, b: F.cosine_similarity(a, b, dim=-2),
        (
            (1, 2, 3),
            (2, 1, 3),
        ),
        2.46970128606663,
    ),
    "F.rms_norm(a, (3,), b)": (
        lambda a, b: F.rms_norm(a, (3,), b),
        (
            (2, 3),
            (3,),
        ),
        0.7688962751498927,
    ),
    "T.addmm(a, b, c, beta=0.5, alpha=2)": (
        lambda a, b, c: T.addmm(a, b, c, beta=0.5, alpha=2),
        (
            (2, 3),
            (2, 4),
            (4, 3),
        ),
        29.677660206108683,
    ),
}


@pytest.mark.parametrize("name", list(ROWS))
def test_values_and_derivatives(name: str) -> None:
    function, shapes, expected = ROWS[name]
    inputs = tuple(draw(*shape, seed=i + 1) for i, shape in enumerate(shapes))
    result = function(*inputs)
    assert (result * result).sum().item() == pytest.approx(expected, rel=1e-9)
    assert T.autograd.gradcheck(function, inputs)
    if "no second" not in name:
        assert T.autograd.gradgradcheck(function, inputs, atol=1e-4)


@pytest.mark.parametrize("mode", ["use_mm_for_euclid_dist_if_necessary", "donot_use_mm_for_euclid_dist"])
def test_distances_of_many_rows(mode: str) -> None:
    a, b = draw(2, 30, 5), draw(7, 5, seed=1)
    with T.no_grad():
        b[3] = 0.0
        a[1, 4] = 0.0
    distances = T.cdist(a, b, compute_mode=mode)
    assert distances.shape == (2, 30, 7)
    assert distances[1, 4, 3] == 0
    by_hand = (a[:, :, None] - b).square().sum(-1)
    assert T.allclose(distances, by_hand.sqrt(), rtol=1e-10)
    seed = draw(2, 30, 7, seed=2).detach()
    grads = T.autograd.grad(distances, (a, b), seed)
    slopes = T.where(by_hand == 0, 0.0, seed / by_hand.sqrt()).detach()
    want = T.autograd.grad(by_hand, (a, b), slopes / 2)
    for grad, wanted in zip(grads, want, strict=True):
        assert T.allclose(grad, wanted, rtol=1e-9, atol=1e-11)


def test_max_pools_and_their_inverse() -> None:
    x = draw(2, 3, 4, 6, 5)
    values, places = F.max_pool3d(x, 2, padding=1, return_indices=True)
    assert T.equal(x.flatten(2).gather(2, places.flatten(2)).view_as(values), values)
    back = F.max_unpool3d(values, places, 2, padding=1, output_size=x.shape)
    assert back.shape == x.shape
    assert (back != 0).sum() == values.numel()
    (grad,) = T.autograd.grad(back.sum(), x)
    assert grad.sum() == values.numel()
    flat, spots = F.max_pool1d(x[0, 0, 0], 2, return_indices=True)
    assert F.max_unpool1d(flat, spots, 2).shape == (6, 4)
    pool, unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
    assert unpool(*pool(x[0, ..., :4])).shape == (3, 4, 6, 4)
    values, places = F.adaptive_max_pool2d(x[0, 0], (3, 2), return_indices=True)
    assert T.equal(x[0, 0].flatten(1).gather(1, places.flatten(1)).view_as(values), values)


def test_shuffles_undo_each_other() -> None:
    x = draw(2, 8, 3, 4)
    wide = F.pixel_shuffle(x, 2)
    assert wide.shape == (2, 2, 6, 8)
    assert wide[0, 1, 3, 5] == x[0, 4 + 2 + 1, 1, 2]
    assert T.equal(nn.PixelUnshuffle(2)(wide), x)
    assert F.channel_shuffle(x, 2)[0, :, 0, 0].tolist() == x[0, [0, 4, 1, 5, 2, 6, 3, 7], 0, 0].tolist()


def test_interpolation_of_whole_factors_repeats() -> None:
    x = T.arange(6.0).reshape(1, 1, 2, 3)
    assert T.equal(F.interpolate(x, scale_factor=2), x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    line = F.interpolate(T.tensor([[[0.0, 1.0]]]), 5, mode="linear", align_corners=True)
    assert line.flatten().tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert nn.Upsample(scale_factor=2)(x).shape == (1, 1, 4, 6)
    assert repr(nn.Upsample(scale_factor=2)) == "Upsample(scale_factor=2.0, mode='nearest')"
    with pytest.raises(ValueError, match="either size or scale_factor should be defined"):
        F.interpolate(x)
    with pytest.raises(ValueError, match="align_corners option can only be set"):
        F.interpolate(x, 2, align_corners=True)
    with pytest.raises(NotImplementedError, match=r"Input Error|Got 4D input"):
        F.interpolate(x, 2, mode="linear")


def test_bags_are_sums_of_rows() -> None:
    table = draw(5, 3)
    index, starts = T.tensor([0, 3, 3, 1, 4]), T.tensor([0, 0, 2])
    made = F.embedding_bag(index, table, starts, mode="sum")
    assert T.allclose(made, T.stack([T.zeros(3, dtype=T.float64), table[0] + table[3], table[3] + table[1] + table[4]]))
    assert T.allclose(F.embedding_bag(index, table, starts)[2], (table[3] + table[1] + table[4]) / 3)
    assert T.allclose(F.embedding_bag(index, table, starts, mode="max")[1], T.maximum(table[0], table[3]))
    ended = F.embedding_bag(index, table, T.tensor([0, 2, 5]), include_last_offset=True, mode="sum")
    assert ended.shape == (2, 3)
    padded = F.embedding_bag(index.reshape(1, 5), table, padding_idx=3)
    assert T.allclose(padded[0], (table[0] + table[1] + table[4]) / 3)
    weights = T.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=T.float64, requires_grad=True)
    weighed = F.embedding_bag(index, table, starts, mode="sum", per_sample_weights=weights)
    assert T.allclose(weighed[1], table[0] + 2 * table[3])
    (grad,) = T.autograd.grad(weighed.sum(), weights)
    assert T.allclose(grad[0], table[0].sum())
    assert repr(nn.EmbeddingBag(5, 3, mode="sum")) == "EmbeddingBag(5, 3, mode='sum')"
    with pytest.raises(ValueError, match="mode has to be one of sum, mean or max"):
        F.embedding_bag(index, table, starts, mode="min")


def test_padding_rows_get_no_gradient() -> None:
    table = draw(4, 2)
    F.embedding(T.tensor([1, 2, 1, 0]), table, padding_idx=1).sum().backward()
    assert table.grad.tolist() == [[1, 1], [0, 0], [1, 1], [0, 0]]
    layer = nn.Embedding(4, 2, padding_idx=-1)
    assert layer.weight[3].tolist() == [0, 0]
    layer(T.tensor([3, 0])).sum().backward()
    assert layer.weight.grad.tolist() == [[1, 1], [0, 0], [0, 0], [0, 0]]


def test_alignments_of_ctc() -> None:
    # Two steps, one label: its three alignments are "a", "-a", "a-".
    scores = draw(2, 1, 3)
    logs = scores.log_softmax(-1)
    expected = -T.logsumexp(
        T.stack([logs[0, 0, 1] + logs[1, 0, 1], logs[0, 0, 0] + logs[1, 0, 1], logs[0, 0, 1] + logs[1, 0, 0]]), 0
    )
    loss = F.ctc_loss(logs, T.tensor([[1]]), T.tensor([2]), T.tensor([1]), reduction="sum")
    assert T.allclose(loss, expected)
    own, other = (T.autograd.grad(one, scores, retain_graph=True)[0] for one in (loss, expected))
    assert T.allclose(own, other)
    logs = draw(4, 2, 3).log_softmax(-1)
    both = F.ctc_loss(logs, T.tensor([1, 2, 2]), (4, 3), (1, 2), reduction="none")
    rows = F.ctc_loss(logs, T.tensor([[1, 0], [2, 2]]), (4, 3), (1, 2), reduction="none")
    assert T.allclose(both, rows)
    assert T.allclose(nn.CTCLoss()(logs, T.tensor([1, 2, 2]), (4, 3), (1, 2)), (both / T.tensor([1, 2])).mean())
    impossible = F.ctc_loss(logs, T.tensor([[1, 1], [2, 2]]), (2, 3), (2, 2), reduction="none")
    assert impossible[0] == math.inf
    assert F.ctc_loss(logs, T.tensor([[1, 1], [2, 2]]), (2, 3), (2, 2), reduction="none", zero_infinity=True)[0] == 0


def test_membership_and_coordinates() -> None:
    assert T.isin(T.tensor([1, 2, 3]), T.tensor([3, 1])).tolist() == [True, False, True]
    assert T.isin(T.tensor([1, 2]), T.tensor([2]), invert=True).tolist() == [True, False]
    assert T.isin(T.tensor([1]), T.tensor([], dtype=T.int64)).tolist() == [False]
    x = T.tensor([0.0, 3.0, -0.75, 1e-30, math.inf], dtype=T.float64)
    mantissa, exponent = T.frexp(x)
    assert T.equal(T.ldexp(mantissa, exponent), x)
    assert mantissa[1].item() == 0.75
    assert T.tensor([-1.0, 2.0]).angle().tolist() == pytest.approx([math.pi, 0])
    assert T.isposinf(x).tolist() == [False] * 4 + [True]


@pytest.mark.parametrize("dtype", [T.float32, T.float64])
def test_mantissas_and_exponents(dtype: Any) -> None:
    info = T.finfo(dtype)
    ends = [info.max, info.tiny, info.smallest_normal * 2.0**-5, 0.0, -0.0, 1.0, -3.0, 0.3, math.inf, -math.inf]
    x = T.tensor(ends, dtype=dtype)
    mantissa, exponent = T.frexp(x)
    assert exponent.dtype == T.int32
    assert [math.frexp(value) for value in x.tolist()] == list(zip(mantissa.tolist(), exponent.tolist(), strict=True))
    assert mantissa.signbit().tolist() == x.signbit().tolist()
    assert T.frexp(T.tensor([math.nan], dtype=dtype))[0].isnan().item()
    across = T.tensor([[1.5, 8.0], [-0.5, 100.0]], dtype=dtype, requires_grad=True)
    mantissa, exponent = T.frexp(across.t())
    (gradient,) = T.autograd.grad(mantissa.sum(), across)
    assert T.equal(gradient, T.ldexp(T.ones_like(gradient), -exponent.t()))


@pytest.mark.parametrize(("dtype", "near"), [(T.float32, 2e-6), (T.float64, 1e-13)])
def test_logarithms_of_the_normal_distribution(dtype: Any, near: float) -> None:
    # By its definition above -5, and by Mills's ratio as a continued fraction below.
    places = [6.0, 1.5, 1e-3, 0.0, -1e-3, -1.0, -4.9, -9.9, -10.1, -29.9, -30.1, -1e3]
    expected = []
    for place in places:
        if place > -5:
            value = math.log1p(-math.erfc(place / math.sqrt(2)) / 2)
            value = math.log(math.erfc(-place / math.sqrt(2)) / 2) if place <= 0 else value
        else:
            fraction = 0.0
            for k in range(200, 0, -1):
                fraction = k / (-place + fraction)
            value = -place * place / 2 - math.log(-place + fraction) - math.log(2 * math.pi) / 2
        expected.append(value)
    x = T.tensor(places, dtype=dtype)
    for part in (x, x[:7], x[:0]):
        assert T.special.log_ndtr(part).tolist() == pytest.approx(expected[: len(part)], rel=near)
    ends = T.special.log_ndtr(T.tensor([math.inf, -math.inf, math.nan], dtype=dtype))
    assert ends[:2].tolist() == [0, -math.inf]
    assert ends[2].isnan().item()
    assert T.special.log_ndtr(T.tensor([0, 1])).dtype == T.float32
    rows = x.view(4, 3)
    assert T.allclose(T.func.vmap(T.special.log_ndtr)(rows), T.special.log_ndtr(rows))


@pytest.mark.parametrize("places", [[2.0, 0.0, -0.0, -3.0], [0.5, -35.0, -60.0, -12.0]])
def test_slopes_of_the_logarithms_of_the_normal_distribution(places: list[float]) -> None:
    x = T.tensor(places, dtype=T.float64, requires_grad=True)
    assert T.autograd.gradcheck(T.special.log_ndtr, (x,))
    (slope,) = T.autograd.grad(T.special.log_ndtr(x).sum(), x)
    assert T.allclose(slope, (-x * x / 2 - T.special.log_ndtr(x)).exp() / math.sqrt(2 * math.pi))


def test_widths_of_intervals() -> None:
    y = T.tensor([1.0, 3.0, 2.0])
    assert T.trapezoid(y).item() == 4.5
    assert T.trapezoid(y, dx=2).item() == 9
    assert T.trapezoid(T.tensor([1, 3, 2]), dx=2).item() == 9
    assert T.trapezoid(y[:1]).item() == 0
    rows = T.arange(12.0).view(3, 4) ** 2
    for dim in (0, -1):
        assert T.allclose(
            T.trapezoid(rows, dx=0.5, dim=dim), T.cumulative_trapezoid(rows, dx=0.5, dim=dim).select(dim, -1)
        )
    assert T.cumulative_trapezoid(y, T.tensor([0.0, 1.0, 3.0])).tolist() == [2, 7]
    assert [one.tolist() for one in T.gradient(T.tensor([1.0, 4.0, 9.0]))] == [[3, 4, 5]]
    assert y.diff(prepend=T.zeros(1)).tolist() == [1, 2, -1]


@pytest.mark.parametrize("edge_order", [1, 2])
def test_slopes_of_samples(edge_order: int) -> None:
    # A parabola has exact slopes inside, and at the edges where three samples make one.
    at = T.tensor([-1.0, 0.5, 1.0, 3.0, 3.5], dtype=T.float64)
    for places, spacing in ((at, (at,)), (T.arange(5.0, dtype=T.float64) / 2, 0.5), (T.arange(5.0), T.tensor(1.0))):
        slope = T.gradient(places**2, spacing=spacing, edge_order=edge_order)[0]
        right = slice(None) if edge_order == 2 else slice(1, -1)
        assert T.allclose(slope[right], 2 * places[right])
        assert T.allclose(slope[0], places[0] + places[1] if edge_order == 1 else 2 * places[0])
    rows = at.view(5, 1) ** 2 + T.arange(4.0, dtype=T.float64)
    down, across = T.gradient(rows, spacing=(at, T.arange(4.0, dtype=T.float64)), edge_order=edge_order)
    assert T.allclose(across, T.ones_like(across))
    assert T.allclose(down, T.gradient(rows[:, 2], spacing=(at,), edge_order=edge_order)[0].view(5, 1).expand(5, 4))
    assert down.is_contiguous()
    assert [one.tolist() for one in T.gradient(T.tensor([[1, 2], [4, 8]]))] == [[[3, 6], [3, 6]], [[1, 1], [4, 4]]]
    with pytest.raises(NotImplementedError, match="uint8"):
        T.gradient(T.arange(5, dtype=T.uint8))


def test_resizing() -> None:
    x = T.arange(6.0)
    assert x.resize_(2, 2).tolist() == [[0, 1], [2, 3]]
    assert x.sum_to_size(1, 2).tolist() == [[2, 4]]
    made = T.empty_strided((2, 3), (1, 2))
    assert made.stride() == (1, 2)
    with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
        T.ones(2, requires_grad=True).resize_(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: T.cdist(T.ones(2, 3), T.ones(2, 4)), RuntimeError, "same number of columns"),
        (lambda: T.cdist(T.ones(2, 3), T.ones(2, 3), p=-1), RuntimeError, "non-negative p"),
        (lambda: T.renorm(T.ones(3), 2, 0, 1), RuntimeError, "at least 2 dimensions"),
        (lambda: T.maximum(T.ones(2), 1), TypeError, "must be Tensor"),
        (lambda: T.eq(1, T.ones(2)), TypeError, "eq"),
        (lambda: F.pixel_shuffle(T.ones(1, 3, 2, 2), 2), RuntimeError, "divisible by the square of upscale_factor"),
        (lambda: F.fold(T.ones(1, 4, 3), (4, 4), 2), RuntimeError, "expected size of input's dimension 2"),
        (
            lambda: F.grid_sample(T.ones(1, 1, 2, 2), T.ones(1, 2, 2, 2), mode="cubic"),
            ValueError,
            "expected mode to be",
        ),
        (lambda: T.searchsorted(T.ones(3), T.ones(1), side="up"), RuntimeError, "side can only be"),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_margins_of_the_classes_that_rows_name() -> None:
    T.manual_seed(0)
    x = T.randn(6, 9, dtype=T.float64, requires_grad=True)
    named = T.randint(0, 9, (6, 9))
    named[range(5), [0, 2, 1, 4, 8]] = -1
    expected = []
    for row, classes in zip(x, named.tolist(), strict=True):
        chosen = classes[: classes.index(-1)] if -1 in classes else classes
        others = [place for place in range(9) if place not in chosen]
        expected.append(sum(((1 - row[one] + row[others]).clamp(min=0).sum() for one in chosen), T.zeros(())) / 9)
    losses = F.multilabel_margin_loss(x, named, reduction="none")
    assert T.allclose(losses, T.stack(expected))
    ours, exact = (T.autograd.grad(one.sum(), x, retain_graph=True)[0] for one in (losses, T.stack(expected)))
    assert T.allclose(ours, exact)
    assert F.multilabel_margin_loss(x, T.full((6, 9), -1)).item() == 0
    assert T.allclose(F.multilabel_margin_loss(x[1], named[1]), losses[1])

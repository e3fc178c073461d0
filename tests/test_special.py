"""Special functions that are series: values to the digits of the dtype, derivatives, polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import T

special: Any = T.special
AT = [0.3, 1.7, 4.0, 9.5, 40.0]
# To sixteen digits, by mpmath.
VALUES: dict[str, list[float]] = {
    "bessel_j0": [
        0.9776262465382961,
        0.3979848594461095,
        -0.3971498098638474,
        -0.1939287476874224,
        0.00736689058423729,
    ],
    "bessel_j1": [0.148318816273104, 0.5777652315290232, -0.06604332802354914, 0.1612644307575299, 0.126038318037585],
    "bessel_y0": [
        -0.8072735778045195,
        0.4520270001816346,
        -0.01694073932506499,
        0.1712106262027238,
        0.1259364170582609,
    ],
    "bessel_y1": [-2.293105138388529, -0.2847262450640684, 0.3979257105571, 0.2031798993872077, -0.005793505821549633],
    "i0e": [0.7575806251825479, 0.3405156879824709, 0.2070019212239867, 0.1312512608142679, 0.06327827987523533],
    "i1": [0.1516938400035928, 1.196346565634482, 9.75946515370445, 1658.453077782134, 1.470739616325935e16],
    "i1e": [0.1123775606398388, 0.2185528065984934, 0.1787508395024353, 0.1241382476548818, 0.06248222907444206],
    "modified_bessel_i0": [
        1.022626879351597,
        1.86396496207384,
        11.30192195213633,
        1753.480990527323,
        1.48947747934199e16,
    ],
    "modified_bessel_i1": [
        0.1516938400035928,
        1.196346565634482,
        9.75946515370445,
        1658.453077782134,
        1.470739616325935e16,
    ],
    "modified_bessel_k0": [
        1.372460060544297,
        0.1654963180569965,
        0.01115967608585302,
        3.005788495793434e-5,
        8.392861100099567e-19,
    ],
    "modified_bessel_k1": [
        3.055992033457325,
        0.2093624882040825,
        0.01248349888726843,
        3.160203411042675e-5,
        8.497131954861039e-19,
    ],
    "scaled_modified_bessel_k0": [
        1.852627300772014,
        0.9059181385685513,
        0.6092976692566953,
        0.4015651321154054,
        0.1975555849572982,
    ],
    "scaled_modified_bessel_k1": [
        4.12515776224447,
        1.146039246230254,
        0.681575945185671,
        0.4221945429769579,
        0.2000099672544335,
    ],
    "spherical_bessel_j0": [
        0.9850673555377986,
        0.5833322414426286,
        -0.1892006238269821,
        -0.007910644259137822,
        0.01862782901198372,
    ],
    "erfcx": [0.7345993345676551, 0.2916632970753435, 0.1369994576250614, 0.05906467835256389, 0.01410033598337781],
    "airy_ai": [
        0.2788064819550049,
        0.05432479273291947,
        0.0009515638512048019,
        5.330263704617492e-10,
        6.365742658552915e-75,
    ],
}
ODD = {"i1", "i1e", "bessel_j1", "modified_bessel_i1"}
EVEN = {"i0e", "bessel_j0", "modified_bessel_i0", "spherical_bessel_j0"}
SMOOTH = sorted(VALUES.keys() - {"airy_ai", "spherical_bessel_j0"} - {name for name in VALUES if "scaled" in name})


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str) -> None:
    function = getattr(special, name)
    x = T.tensor(AT, dtype=T.float64)
    want = np.array(VALUES[name])
    # Where a wave crosses zero only the digits of its height are there; torch's have an error of 1e-9.
    wave = "bessel_j" in name or "bessel_y" in name
    error = 0.0 if not wave else 2e-9 if T.__name__ == "torch" else 1e-14
    assert np.allclose(function(x).numpy(), want, rtol=3e-12, atol=error)
    half = function(x[:4].float())
    assert half.dtype == T.float32
    assert np.allclose(half.numpy(), want[:4], rtol=1e-5, atol=1e-6 * wave)
    if name in ODD | EVEN:
        assert T.equal(function(-x), -function(x) if name in ODD else function(x))
    assert function(T.tensor([1, 2])).dtype == T.float32
    out = T.empty(5, dtype=T.float64)
    assert function(x, out=out) is out
    assert T.equal(out, function(x))


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives(name: str) -> None:
    function = getattr(special, name)
    x = T.tensor([0.4, 1.9, 3.0, 8.5], dtype=T.float64, requires_grad=True)
    assert T.autograd.gradcheck(function, x)
    assert T.autograd.gradgradcheck(function, x)


def test_ends() -> None:
    zero = T.zeros(1, dtype=T.float64, requires_grad=True)
    for name, slope in (("i1", 0.5), ("i1e", 0.5), ("bessel_j1", 0.5), ("i0e", 0.0), ("bessel_j0", 0.0)):
        (got,) = T.autograd.grad(getattr(special, name)(zero).sum(), zero)
        assert got.item() == slope
    assert special.bessel_y0(zero).item() == special.bessel_y1(zero).item() == -float("inf")
    assert special.modified_bessel_k0(zero).item() == special.modified_bessel_k1(zero).item() == float("inf")
    assert special.modified_bessel_k1(zero - 1).isnan()
    assert special.erfcx(T.tensor([-30.0])).item() == float("inf")
    below = special.airy_ai(T.tensor([-1.0, -4.0, -9.5], dtype=T.float64))
    assert np.allclose(below.numpy(), [0.5355608832923521, -0.07026553294928952, 0.3191032477191282], rtol=1e-12)


def test_zeta() -> None:
    x, q = T.tensor([1.1, 2.0, 3.5, 2.0], dtype=T.float64), T.tensor([0.3, 1.0, 20.0, -1.5], dtype=T.float64)
    want = [13.92562263091605, 1.644934066848226, 0.0002379894200268445, 9.379246644989124]
    assert np.allclose(special.zeta(x, q).numpy(), want, rtol=1e-13)
    assert T.equal(special.zeta(2.0, q[:3]), special.zeta(T.full((3,), 2.0, dtype=T.float64), q[:3]))
    assert (
        special.zeta(T.tensor([1.0, 0.5, 2.0, 2.5]), T.tensor([1.0, 1.0, -2.0, -2.5])).tolist()[::2]
        == [float("inf")] * 2
    )
    q = q[:3].requires_grad_()
    (got,) = T.autograd.grad(special.zeta(x[:3], q).sum(), q)
    assert T.allclose(got, -x[:3] * special.zeta(x[:3] + 1, q))


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("chebyshev_polynomial_t", [1, 0.5, -0.5, -1, -0.5]),
        ("chebyshev_polynomial_u", [1, 1, 0, -1, -1]),
        ("chebyshev_polynomial_v", [1, 0, -1, -1, 0]),
        ("chebyshev_polynomial_w", [1, 2, 1, -1, -2]),
        ("hermite_polynomial_h", [1, 1, -1, -5, 1]),
        ("hermite_polynomial_he", [1, 0.5, -0.75, -1.375, 1.5625]),
        ("laguerre_polynomial_l", [1, 0.5, 0.125, -0.14583333333333334, -0.33072916666666669]),
        ("legendre_polynomial_p", [1, 0.5, -0.125, -0.4375, -0.2890625]),
        ("shifted_chebyshev_polynomial_t", [1, 0, -1, 0, 1]),
        ("shifted_chebyshev_polynomial_u", [1, 0, -1, 0, 1]),
        ("shifted_chebyshev_polynomial_v", [1, -1, -1, 1, 1]),
        ("shifted_chebyshev_polynomial_w", [1, 1, -1, -1, 1]),
    ],
)
def test_polynomials(name: str, numbers: list[float]) -> None:
    function = getattr(special, name)
    x, degrees = T.tensor(0.5, dtype=T.float64), T.arange(5, dtype=T.float64)
    assert np.allclose(function(x, degrees).numpy(), numbers, atol=1e-14)
    assert np.allclose(function(x.expand(2), 3).numpy(), numbers[3])
    assert function(T.ones(2, 1), T.tensor([0.0, -1.0, 2.0])).shape == (2, 3)


def test_slices_of_a_batch() -> None:
    x = T.rand(3, 4, dtype=T.float64) * 9
    for name in ("i1e", "bessel_j0", "erfcx"):
        function = getattr(special, name)
        assert T.allclose(T.func.vmap(function)(x), function(x))
        whole = T.func.vmap(T.func.grad(lambda t, function=function: function(t).sum()))(x)
        wanted = x.clone().requires_grad_()
        assert T.allclose(whole, T.autograd.grad(function(wanted).sum(), wanted)[0])

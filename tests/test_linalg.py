"""Linear algebra: identities, derivatives against central differences, errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
from oracle import T

L: Any = T.linalg


def draw(*shape: int, seed: int = 0) -> Any:
    T.manual_seed(seed)
    return T.randn(*shape, dtype=T.float64, requires_grad=True)


def positive(*shape: int) -> Any:
    """Return symmetric matrices with eigenvalues from 1 on."""
    a = draw(*shape)
    return a @ a.mT + T.eye(shape[-1], dtype=T.float64)


def close(a: Any, b: Any) -> bool:
    return bool(T.allclose(a, b, rtol=1e-9, atol=1e-10))


def symmetric(a: Any) -> Any:
    return (a + a.mT) / 2


# What is differentiated: an expression without the freedom of signs, and the shapes of its inputs.
EXPRESSIONS: dict[str, tuple[Any, tuple[tuple[int, ...], ...]]] = {
    "inv": (L.inv, ((2, 3, 3),)),
    "solve": (L.solve, ((2, 3, 3), (2, 3, 2))),
    "solve a vector": (L.solve, ((3, 3), (3,))),
    "solve from the right": (lambda a, b: L.solve(a, b, left=False), ((3, 3), (2, 2, 3))),
    "solve_triangular": (lambda a, b: L.solve_triangular(a.triu() + 2 * T.eye(3), b, upper=True), ((3, 3), (3, 2))),
    "unit triangular": (
        lambda a, b: L.solve_triangular(a, b, upper=False, unitriangular=True, left=False),
        ((3, 3), (2, 3)),
    ),
    "det": (L.det, ((2, 3, 3),)),
    "det of a large one": (L.det, ((5, 5),)),
    "slogdet": (lambda a: L.slogdet(a)[1], ((2, 3, 3),)),
    "cholesky": (lambda a: L.cholesky(a @ a.mT + T.eye(3)), ((2, 3, 3),)),
    "cholesky upper": (lambda a: L.cholesky(a @ a.mT + T.eye(3), upper=True), ((3, 3),)),
    "qr tall": (lambda a: L.qr(a)[0] @ L.qr(a)[0].mT * 2 + L.qr(a)[1].abs().sum(), ((4, 3),)),
    "qr wide": (lambda a: L.qr(a)[1].mT @ L.qr(a)[1] + L.qr(a)[0][0, 0] ** 2, ((2, 4),)),
    "eigh": (lambda a: (lambda w, v: (v * w.exp().unsqueeze(-2)) @ v.mT)(*L.eigh(symmetric(a))), ((2, 3, 3),)),
    "eigh of vectors": (lambda a: (L.eigh(symmetric(a))[1] ** 2).cos(), ((3, 3),)),
    "eigvalsh": (lambda a: L.eigvalsh(symmetric(a)), ((3, 3),)),
    "svdvals": (L.svdvals, ((2, 3, 4),)),
    "svd": (lambda a: (lambda u, s, v: (u * s.sin().unsqueeze(-2)) @ v)(*L.svd(a, False)), ((4, 3),)),
    "svd of vectors": (
        lambda a: (L.svd(a, False)[0] ** 2).sum(-2) + (L.svd(a, False)[2][0] ** 2).cos().sum(),
        ((3, 4),),
    ),
    "lu": (lambda a: sum((one * one).sum() for one in L.lu(a)[1:]), ((3, 3),)),
    "lu wide": (lambda a: sum(one.sin().sum() for one in L.lu(a)[1:]), ((2, 4),)),
    "lu tall": (lambda a: sum(one.sin().sum() for one in L.lu(a)[1:]), ((4, 2),)),
    "lu_solve": (lambda a, b: L.lu_solve(*L.lu_factor(a), b), ((2, 3, 3), (2, 3, 2))),
    "pinv": (L.pinv, ((4, 3),)),
    "pinv wide": (L.pinv, ((2, 2, 3),)),
    "lstsq": (lambda a, b: L.lstsq(a, b)[0], ((4, 2), (4, 3))),
    "matrix_norm nuc": (lambda a: L.matrix_norm(a, "nuc"), ((3, 2),)),
    "matrix_norm 2": (lambda a: L.matrix_norm(a, 2), ((2, 3, 3),)),
    "matrix_norm 1": (lambda a: L.matrix_norm(a, 1, keepdim=True), ((3, 4),)),
    "cond": (L.cond, ((3, 3),)),
    "matrix_power": (lambda a: L.matrix_power(a, 3) + L.matrix_power(a, -2), ((3, 3),)),
    "matrix_exp": (L.matrix_exp, ((2, 3, 3),)),
    "householder_product": (L.householder_product, ((4, 3), (3,))),
    "tensorsolve": (lambda a, b: L.tensorsolve(a.reshape(2, 3, 6), b), ((6, 6), (2, 3))),
    "tensorinv": (lambda a: L.tensorinv(a.reshape(2, 3, 6)), ((6, 6),)),
    "vander": (lambda a: L.vander(a, N=4), ((3,),)),
    "vecdot": (lambda a, b: L.vecdot(a, b, dim=0), ((3, 2), (3, 2))),
    "multi_dot": (lambda a, b, c: L.multi_dot([a, b, c]), ((2,), (2, 4), (4, 3))),
    "logdet": (lambda a: T.logdet(a @ a.mT + T.eye(3)), ((3, 3),)),
    "cholesky_solve": (lambda a, b: T.cholesky_solve(b, a.tril() + 2 * T.eye(3)), ((3, 3), (3, 2))),
    "pinverse": (T.pinverse, ((3, 2),)),
    "triangular_solve": (
        lambda b, a: T.triangular_solve(b, a.triu() + 2 * T.eye(3), transpose=True)[0],
        ((3, 2), (3, 3)),
    ),
}


@pytest.mark.parametrize("name", list(EXPRESSIONS))
def test_derivatives(name: str) -> None:
    function, shapes = EXPRESSIONS[name]
    inputs = tuple(draw(*shape, seed=i + 1) for i, shape in enumerate(shapes))
    previous = T.get_default_dtype()
    T.set_default_dtype(T.float64)
    try:
        assert T.autograd.gradcheck(function, inputs)
        if name not in ("lu wide", "lu tall"):
            assert T.autograd.gradgradcheck(function, inputs, atol=1e-4, rtol=1e-4)
    finally:
        T.set_default_dtype(previous)


@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 5), (2, 4, 3), (1, 1), (40, 40), (0, 3), (3, 0), (2, 0, 0)])
@pytest.mark.parametrize("dtype", [T.float64, T.float32])
def test_decompositions_give_the_matrix_back(shape: tuple[int, ...], dtype: Any) -> None:
    a = draw(*shape).detach().to(dtype)
    near = {"rtol": 1e-10, "atol": 1e-11} if dtype is T.float64 else {"rtol": 1e-4, "atol": 1e-4}
    k = min(shape[-2:])
    for full in (False, True):
        u, s, vh = L.svd(a, full)
        assert T.allclose((u[..., :k] * s.unsqueeze(-2)) @ vh[..., :k, :], a, **near)
        for side in (u.mT @ u, vh @ vh.mT):
            assert T.allclose(side, T.eye(side.shape[-1], dtype=dtype).expand(side.shape), **near)
        assert (s >= 0).all()
        assert (s[..., 1:] <= s[..., :-1]).all()
        q, r = L.qr(a, "complete" if full else "reduced")
        assert T.allclose(q @ r, a, **near)
        assert T.equal(r, r.triu())
        assert T.allclose(q.mT @ q, T.eye(q.shape[-1], dtype=dtype).expand(*q.shape[:-2], -1, -1), **near)
    p, lower, upper = L.lu(a)
    assert T.allclose(p @ lower @ upper, a, **near)
    assert (lower.abs() <= 1 + 1e-6).all()
    assert u.dtype is s.dtype is q.dtype is p.dtype is dtype


def test_eigh_sorts_and_reads_one_triangle() -> None:
    a = draw(4, 4).detach()
    for uplo, half in (("L", a.tril() + a.tril(-1).mT), ("U", a.triu() + a.triu(1).mT)):
        w, v = L.eigh(a, uplo)
        assert close((v * w) @ v.mT, half)
        assert (w[1:] >= w[:-1]).all()
        assert close(L.eigvalsh(a, uplo), w)
    double = T.diag(T.tensor([2.0, 1.0, 2.0], dtype=T.float64))
    assert L.eigvalsh(double).tolist() == [1, 2, 2]


def test_singular_values_that_are_equal_or_zero() -> None:
    a = T.zeros(3, 2, dtype=T.float64)
    a[0, 0] = 3
    u, s, vh = L.svd(a)
    assert s.tolist() == [3, 0]
    assert close(u.mT @ u, T.eye(3, dtype=T.float64))
    assert close(vh @ vh.mT, T.eye(2, dtype=T.float64))
    x = T.eye(3, dtype=T.float64).requires_grad_()
    (grad,) = T.autograd.grad(L.svdvals(x).sum(), x)
    assert close(grad, T.eye(3, dtype=T.float64))


@pytest.mark.rustgrad_only
def test_determinant_of_singular_matrices_has_a_gradient() -> None:
    # Torch gives zeros here.
    a = T.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=T.float64, requires_grad=True)
    det = L.det(a)
    (grad,) = T.autograd.grad(det, a)
    assert det.item() == pytest.approx(0, abs=1e-14)
    assert close(grad, T.tensor([[4.0, -2.0], [-2.0, 1.0]], dtype=T.float64))


def test_determinant_of_zeros_by_its_logarithm() -> None:
    sign, size = L.slogdet(T.zeros(2, 2))
    assert (sign.item(), size.item()) == (0, -math.inf)


def test_names_of_results() -> None:
    a = positive(2, 3, 3)
    assert L.svd(a).Vh.shape == (2, 3, 3)
    assert L.eigh(a).eigenvalues.shape == (2, 3)
    assert L.slogdet(a).logabsdet.shape == (2,)
    assert L.inv_ex(a).info.tolist() == [0, 0]
    assert L.inv_ex(a).info.dtype is T.int32
    assert L.lu_factor(a).pivots.dtype is T.int32
    assert L.cholesky_ex(a).L.shape == (2, 3, 3)
    assert L.lstsq(a, a).solution.shape == (2, 3, 3)
    assert T.svd(a).V.shape == (2, 3, 3)
    assert L.solve_ex(a, a).result.shape == (2, 3, 3)


def test_ranks_and_norms() -> None:
    a = T.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=T.float64)
    assert L.matrix_rank(a).item() == 1
    assert L.matrix_rank(T.eye(3), tol=2.0).item() == 0
    assert L.matrix_rank(a, hermitian=True).item() == 1
    assert L.matrix_norm(a, math.inf).item() == 6
    assert L.matrix_norm(a, -1).item() == 3
    assert L.matrix_norm(a).item() == pytest.approx(5)
    assert L.norm(a, "nuc").item() == pytest.approx(5)
    assert a.norm(p="nuc").item() == pytest.approx(5)
    assert L.norm(a, 1).item() == 6
    assert L.norm(a.reshape(-1), 1).item() == 9
    assert L.cond(a, 1).item() == math.inf
    assert L.matrix_norm(a.expand(2, 2, 2), 2, dim=(0, 2), keepdim=True).shape == (1, 2, 1)


def test_methods_and_functions() -> None:
    a = positive(3, 3).detach()
    inverse = L.inv(a)
    for made in (a.inverse(), T.inverse(a), a.pinverse(), L.cholesky(a).cholesky_inverse()):
        assert close(made, inverse)
    assert close(a.det(), T.det(a))
    assert close(a.logdet(), a.slogdet()[1])
    assert close(a.matrix_power(2), a @ a)
    assert close(T.eye(3, dtype=T.float64).cholesky_solve(L.cholesky(a)), inverse)
    out = T.empty(3, 3, dtype=T.float64)
    assert L.inv(a, out=out) is out
    assert close(out, inverse)
    assert a.mH.shape == a.H.shape == (3, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: L.inv(T.zeros(2, 2)), "singular"),
        (lambda: L.solve(T.zeros(2, 2), T.ones(2)), "singular"),
        (lambda: L.cholesky(-T.eye(2)), "leading minor of order 1 is not positive-definite"),
        (lambda: L.inv(T.stack([T.eye(2), T.zeros(2, 2)])), r"\(Batch element 1\)"),
    ],
)
def test_failures_are_linalg_errors(call: Any, message: str) -> None:
    with pytest.raises(L.LinAlgError, match=message):
        call()
    assert issubclass(L.LinAlgError, RuntimeError)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: L.inv(T.ones(2, 3)), "must be batches of square matrices, but they are 2 by 3 matrices"),
        (lambda: L.det(T.ones(3)), "must have at least 2 dimensions"),
        (lambda: L.solve(T.eye(2), T.ones(3, 1)), "Incompatible shapes|shape"),
        (lambda: L.solve(T.eye(2), T.ones(2, 1, dtype=T.float64)), "same dtype"),
        (lambda: L.qr(T.eye(2), "full"), "unrecognized mode 'full'"),
        (lambda: L.eigh(T.eye(2), "X"), "Expected UPLO argument to be 'L' or 'U'"),
        (lambda: L.matrix_norm(T.eye(2), 3), "Order 3 not supported"),
        (lambda: L.matrix_norm(T.ones(2)), "must have at least 2 dimensions"),
        (lambda: L.cross(T.ones(3), T.ones(2, 3)), "same number of dimensions"),
    ],
)
def test_what_is_refused(call: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        call()


def test_the_complete_decomposition_has_no_derivative() -> None:
    a = draw(4, 2)
    q, _ = L.qr(a, "complete")
    with pytest.raises(RuntimeError, match="not differentiable when mode='complete' and nrows > ncols"):
        q.sum().backward()
    _, r = L.qr(a, "r")
    with pytest.raises(RuntimeError, match="mode='r'"):
        r.sum().backward()


@pytest.mark.rustgrad_only
def test_what_is_not_finite_has_no_decomposition() -> None:
    calls: list[Any] = [lambda: L.eigh(T.full((2, 2), math.nan)), lambda: L.svd(T.full((2, 2), math.inf))]
    for call in calls:
        with pytest.raises(L.LinAlgError, match="failed to converge"):
            call()


@pytest.mark.rustgrad_only
def test_complex_results_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="eigvalsh takes symmetric matrices"):
        L.eigvals(T.eye(2))

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
    "lstsq of vectors": (lambda a, b: L.lstsq(a, b)[0], ((2, 4, 3), (2, 4))),
    "lstsq wide": (lambda a, b: L.lstsq(a, b)[0], ((2, 2, 3), (2, 2, 1))),
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


@pytest.mark.parametrize(
    "shape",
    [(3, 3), (5, 3), (3, 5), (2, 4, 3), (1, 1), (40, 40), (150, 20), (70, 110), (0, 3), (3, 0), (2, 0, 0)],
)
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


@pytest.mark.parametrize("dtype", [T.float64, T.float32])
@pytest.mark.parametrize("n", [1, 9, 30, 70, 160])
def test_systems_of_any_size(n: int, dtype: Any) -> None:
    near = {"rtol": 1e-9, "atol": 1e-10} if dtype is T.float64 else {"rtol": 1e-3, "atol": 1e-3}
    eye = T.eye(n, dtype=dtype)
    lead = (2,) if n < 100 else (1,)  # torch 2.15 fails to solve stacks of large ones
    a = draw(*lead, n, n).detach().to(dtype) / n**0.5 + 2 * eye
    for k in (1, 5, 40):
        b = draw(*lead, n, k, seed=1).detach().to(dtype)
        assert T.allclose(a @ L.solve(a, b), b, **near)
        for upper in (False, True):
            for unit in (False, True):
                triangle = a.triu(1) if upper else a.tril(-1)
                triangle = triangle / n**0.5 + (eye if unit else a * eye)
                given = triangle + (9 * eye if unit else 0)  # what is not to be read
                x = L.solve_triangular(given, b, upper=upper, unitriangular=unit)
                assert T.allclose(triangle @ x, b, **near)
                across = given.mT.contiguous().mT
                assert T.allclose(L.solve_triangular(across, b, upper=upper, unitriangular=unit), x, **near)
    assert T.allclose(a @ L.inv(a), eye.expand(*lead, n, n), **near)
    p, lower, upper_factor = L.lu(a.mT)
    assert T.allclose(p @ lower @ upper_factor, a.mT, **near)
    sign, size = L.slogdet(a)
    assert T.allclose(upper_factor.diagonal(0, -2, -1).abs().log().sum(-1), size, **near)
    assert (sign.abs() == 1).all()
    square = a @ a.mT
    factor = L.cholesky(square + 100 * eye.triu(1))  # the other triangle is not read
    assert T.allclose(factor @ factor.mT, square, **near)
    assert T.equal(factor, factor.tril())
    square[-1, n // 2, n // 2] = -1
    assert L.cholesky_ex(square).info[-1].item() == n // 2 + 1
    w, v = L.eigh(a + a.mT)
    assert T.allclose((v * w.unsqueeze(-2)) @ v.mT, a + a.mT, **near)
    assert T.allclose(v.mT @ v, eye.expand(*lead, n, n), **near)


def test_singular_systems_tell_where() -> None:
    a = draw(60, 60).detach()
    a[:, 41] = 0
    assert L.inv_ex(a).info.item() == 42
    assert L.lu_factor_ex(a).info.item() == 42
    assert L.det(a).item() == 0
    with pytest.raises(L.LinAlgError):
        L.solve(a, a)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_large_and_small_numbers(scale: float) -> None:
    a = draw(6, 6).detach()
    assert T.allclose(L.svdvals(a * scale) / scale, L.svdvals(a), rtol=1e-10)
    a = a + a.mT
    w, v = L.eigh(a * scale)
    assert T.allclose(w / scale, L.eigvalsh(a), rtol=1e-10)
    assert close((v * (w / scale)) @ v.mT, a)


@pytest.mark.rustgrad_only
def test_threads_change_no_bit() -> None:
    a, b = draw(180, 180).detach() + 20 * T.eye(180, dtype=T.float64), draw(180, 180, seed=1).detach()
    threads, made = T.get_num_threads(), []
    try:
        for count in (1, 3):
            T.set_num_threads(count)
            parts = [L.solve(a, b), L.inv(a), L.cholesky(a @ a.mT), *L.qr(a), *L.svd(a[:90]), *L.eigh(a @ a.mT)]
            made.append([*parts, L.lstsq(a[:, :50], b).solution])
    finally:
        T.set_num_threads(threads)
    assert all(T.equal(one, other) for one, other in zip(*made, strict=True))


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


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (3, 6, 2), (90, 40), (40, 90)])
@pytest.mark.parametrize("deficient", [False, True])
def test_least_squares_are_the_shortest(shape: tuple[int, ...], deficient: bool) -> None:
    a, b = draw(*shape).detach(), draw(*shape[:-1], 3, seed=1).detach()
    if deficient:
        a[..., -1] = 2 * a[..., 0]
        a[..., -1, :] = a[..., 0, :]
    found = L.lstsq(a, b)
    assert T.allclose(found.solution, L.pinv(a, rtol=1e-12) @ b, rtol=1e-7, atol=1e-9)
    rank = L.matrix_rank(a, rtol=1e-12)
    assert T.equal(found.rank, rank)
    assert found.rank.dtype is T.int64
    assert found.residuals.shape == found.singular_values.shape == (0,)
    by_values = L.lstsq(a, b, driver="gelsd")
    assert T.allclose(by_values.solution, found.solution, rtol=1e-7, atol=1e-9)
    assert T.allclose(by_values.singular_values, L.svdvals(a))
    vector = L.lstsq(a, b[..., 0]).solution
    assert T.allclose(vector, found.solution[..., 0], rtol=1e-7, atol=1e-9)


def test_least_squares_drop_what_is_small() -> None:
    a, b = T.diag(T.tensor([4.0, 2.0, 1.0, 0.5])), T.tensor([4.0, 4.0, 3.0, 2.0])
    for rcond, kept in ((0.1, 4), (0.2, 3), (0.26, 2), (0.6, 1)):
        found = L.lstsq(a, b, rcond=rcond)
        assert found.rank.item() == kept
        assert T.allclose(found.solution, T.tensor([1.0, 2.0, 3.0, 4.0]) * (T.arange(4) < kept))
    assert L.lstsq(0 * a, b).rank.item() == 0
    assert (L.lstsq(0 * a, b).solution == 0).all()
    tall, right = draw(6, 2).detach(), draw(6, 3, seed=1).detach()
    found = L.lstsq(tall, right, driver="gels")
    assert T.allclose(found.residuals, (tall @ found.solution - right).square().sum(0))
    assert found.rank.shape == (0,)


def test_deficient_least_squares_have_derivatives() -> None:
    a, b = draw(5, 3), draw(5, 2, seed=1)
    with T.no_grad():
        a[:, 2] = a[:, 0] + a[:, 1]
    direction = draw(3, 2, seed=2).detach()
    own = T.autograd.grad((L.lstsq(a, b).solution * direction).sum(), (a, b))
    other = T.autograd.grad(((L.pinv(a, rtol=1e-10) @ b) * direction).sum(), (a, b))
    for one, expected in zip(own, other, strict=True):
        assert T.allclose(one, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ((6, 4), (5, 2), "size\\(-2\\) should match other.size\\(-2\\)"),
        ((6, 4), (5,), "size\\(-2\\) should match other.size\\(-1\\)"),
        ((6,), (6,), "input must have at least 2 dimensions"),
        ((6, 4), (), "other must have at least 1 dimension"),
        ((2, 6, 4), (6,), "input.dim\\(\\) must be greater or equal to other.dim\\(\\)"),
        ((2, 6, 4), (3, 6, 2), "The size of tensor a \\(2\\) must match the size of tensor b \\(3\\)"),
    ],
)
def test_least_squares_that_do_not_fit(a: tuple[int, ...], b: tuple[int, ...], words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        L.lstsq(T.zeros(a), T.zeros(b))
    with pytest.raises(RuntimeError, match="Expected input and other to have the same dtype"):
        L.lstsq(T.zeros(3, 2), T.zeros(3, 2, dtype=T.float64))


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


def hard(n: int, dtype: Any) -> Any:
    """Return a stack of symmetric matrices: none, equal values, few of them, a steep fall, and far from one."""
    g = T.Generator().manual_seed(n)
    a = T.randn(n, n, dtype=dtype, generator=g)
    size = 1e25 if dtype is T.float32 else 1e200
    fall = 2.0 ** (-T.arange(n, dtype=dtype) * min(1.0, 12 / n))
    some = [T.zeros(n, n, dtype=dtype), T.eye(n, dtype=dtype), T.ones(n, n, dtype=dtype), T.outer(fall, fall)]
    return T.stack([a + a.mT, *some, (a + a.mT) * size, (a + a.mT) / size])


@pytest.mark.parametrize("dtype", [T.float64, T.float32])
@pytest.mark.parametrize("n", [2, 3, 8, 12, 13, 40, 90])
def test_hard_matrices_in_stacks_and_alone(n: int, dtype: Any) -> None:
    stack = hard(n, dtype)
    eps = T.finfo(dtype).eps * 8 * n
    for a in (stack, *(one.unsqueeze(0) for one in stack)):
        unit = T.eye(n, dtype=dtype).expand(a.shape)
        size = a.abs().amax((-2, -1), True).clamp(min=T.finfo(dtype).tiny)
        w, v = L.eigh(a)
        u, s, vh = L.svd(a)
        q, r = L.qr(a)
        for made in (v, u, vh, q):
            assert (made.mT @ made - unit).abs().max().item() < eps
        for made in ((v * (w.unsqueeze(-2) / size)) @ v.mT, (u * (s.unsqueeze(-2) / size)) @ vh, q @ (r / size)):
            assert (made - a / size).abs().max().item() < eps * n
        for made, known in ((L.eigvalsh(a), w), (L.svdvals(a), s)):
            assert ((made - known).abs() / size.squeeze(-1)).max().item() < eps * n
        assert bool((w.diff() >= 0).all())
        assert bool((s.diff() <= 0).all())
        assert bool((s >= 0).all())

"""Results of several tensors with names, as ``torch.return_types``."""

from __future__ import annotations

from operator import itemgetter


class _Named(tuple[object, ...]):
    """A tuple whose entries have names."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()

    def __repr__(self) -> str:
        entries = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
        return f"torch.return_types.{type(self).__name__}(\n{entries})"

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (tuple(self),))


def _make(name: str, *fields: str) -> type[_Named]:
    body = {field: property(itemgetter(at)) for at, field in enumerate(fields)}
    return type(name, (_Named,), {"__slots__": (), "_fields": fields, "__module__": __name__, **body})


max = _make("max", "values", "indices")
min = _make("min", "values", "indices")
median = _make("median", "values", "indices")
nanmedian = _make("nanmedian", "values", "indices")
mode = _make("mode", "values", "indices")
kthvalue = _make("kthvalue", "values", "indices")
sort = _make("sort", "values", "indices")
topk = _make("topk", "values", "indices")
cummax = _make("cummax", "values", "indices")
cummin = _make("cummin", "values", "indices")
aminmax = _make("aminmax", "min", "max")
frexp = _make("frexp", "mantissa", "exponent")
histogram = _make("histogram", "hist", "bin_edges")
histogramdd = _make("histogramdd", "hist", "bin_edges")
geqrf = _make("geqrf", "a", "tau")
lu_unpack = _make("lu_unpack", "P", "L", "U")
qr = _make("qr", "Q", "R")
svd = _make("svd", "U", "S", "V")
triangular_solve = _make("triangular_solve", "solution", "cloned_coefficient")
linalg_cholesky_ex = _make("linalg_cholesky_ex", "L", "info")
linalg_eigh = _make("linalg_eigh", "eigenvalues", "eigenvectors")
linalg_inv_ex = _make("linalg_inv_ex", "inverse", "info")
linalg_lstsq = _make("linalg_lstsq", "solution", "residuals", "rank", "singular_values")
linalg_lu = _make("linalg_lu", "P", "L", "U")
linalg_lu_factor = _make("linalg_lu_factor", "LU", "pivots")
linalg_lu_factor_ex = _make("linalg_lu_factor_ex", "LU", "pivots", "info")
linalg_qr = _make("linalg_qr", "Q", "R")
linalg_slogdet = _make("linalg_slogdet", "sign", "logabsdet")
linalg_solve_ex = _make("linalg_solve_ex", "result", "info")
linalg_svd = _make("linalg_svd", "U", "S", "Vh")

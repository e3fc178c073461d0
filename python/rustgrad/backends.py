"""The settings of torch's libraries: they may be set, and change nothing; rustgrad is deterministic and uses none."""

from __future__ import annotations

import sys


class _Backend:
    """The settings of one library."""

    def __init__(self, available: bool = False, **settings: object) -> None:
        self._available = available
        self.__dict__.update(settings)

    def is_available(self) -> bool:
        """Say whether the library is there."""
        return self._available

    def is_built(self) -> bool:
        """Say whether it was built in."""
        return self._available


cudnn = _Backend(enabled=True, benchmark=False, deterministic=False, allow_tf32=True)
cuda = _Backend()
cuda.matmul = _Backend(allow_tf32=False)  # type: ignore[attr-defined]
mps = _Backend()
mkl = _Backend()
mkldnn = _Backend(enabled=False)
openmp = _Backend()

# For ``import`` statements: these are objects.
for _name in ("cudnn", "cuda", "mps", "mkl", "mkldnn", "openmp"):
    sys.modules[f"{__name__}.{_name}"] = globals()[_name]

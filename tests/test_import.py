"""Importing the package is light: no numpy, no thread; and it is typed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.rustgrad_only


def python(program: str) -> str:
    """Run a program in a fresh interpreter and return what it prints."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_numpy_is_not_imported() -> None:
    """NumPy comes in on first use only."""
    assert python("import sys, rustgrad; print('numpy' in sys.modules)") == "False"
    program = "import sys, rustgrad as T; x = T.arange(4.0, requires_grad=True); (x * x).sum().backward(); print(x.grad, 'numpy' in sys.modules)"
    assert python(program) == "tensor([0., 2., 4., 6.]) False"
    assert python("import sys, rustgrad as T; T.ones(2).numpy(); print('numpy' in sys.modules)") == "True"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_no_thread_is_started() -> None:
    """Neither the import nor a small backward starts a thread."""
    program = """
import pathlib
import rustgrad as T
count = lambda: len(list(pathlib.Path("/proc/self/task").iterdir()))
first = count()
T.arange(4.0, requires_grad=True).sum().backward()
print(first, count())
"""
    assert python("import os\nos.environ.pop('RUSTGRAD_PARALLEL_THRESHOLD', None)\n" + program) == "1 1"


def test_few_modules_are_imported() -> None:
    """The import pulls in none of the heavy standard modules."""
    heavy = {"asyncio", "dataclasses", "inspect", "pickle", "re", "threading", "typing", "unittest"}
    program = (
        f"import sys; before = set(sys.modules); import rustgrad; print(sorted((set(sys.modules) - before) & {heavy}))"
    )
    assert python(program) == "[]"


def test_typed() -> None:
    """The package is marked as typed and its extension has a stub."""
    spec = importlib.util.find_spec("rustgrad")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    assert (folder / "py.typed").exists()
    assert (folder / "_core.pyi").exists()


def test_version() -> None:
    """The version is there and looks like one."""
    assert python("import rustgrad; print(rustgrad.__version__.count('.'))") == "2"


def test_import_star_gives_only_public_names() -> None:
    """``__all__`` names exist and none is private."""
    assert (
        python("import rustgrad; print([n for n in rustgrad.__all__ if n.startswith('_') or not hasattr(rustgrad, n)])")
        == "[]"
    )

"""The table of ``docs/autograd.md``: it covers every name that torch has, and what it calls the same is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import oracle
import pytest

TABLE = Path(__file__).parents[1] / "docs" / "autograd.md"

MODULES = (
    "autograd",
    "autograd.anomaly_mode",
    "autograd.forward_ad",
    "autograd.function",
    "autograd.functional",
    "autograd.grad_mode",
    "autograd.gradcheck",
    "autograd.graph",
    "utils.checkpoint",
)
CLASSES = ("autograd.function.Function", "autograd.graph.Node")
TENSOR = (
    "_backward_hooks", "_base", "_is_view", "_post_accumulate_grad_hooks", "_version", "backward", "data", "detach", "detach_",
    "grad", "grad_dtype", "grad_fn", "is_inference", "is_leaf", "output_nr", "register_hook",
    "register_post_accumulate_grad_hook", "requires_grad", "requires_grad_", "retain_grad", "retains_grad",
)  # fmt: skip
FUNCTIONS = (
    "enable_grad", "inference_mode", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "is_grad_enabled", "is_inference",
    "is_inference_mode_enabled", "no_grad", "random.fork_rng", "random.get_rng_state", "random.initial_seed",
    "random.manual_seed", "random.seed", "random.set_rng_state", "set_grad_enabled",
)  # fmt: skip


def record() -> dict[str, Any]:
    """List torch's public names; called by ``record_golden.py``."""
    names = {*FUNCTIONS, *(f"Tensor.{name}" for name in TENSOR)}
    for module in MODULES:
        names.update(f"{module}.{name}" for name in importlib.import_module(f"torch.{module}").__all__)
    for path in CLASSES:
        names.update(f"{path}.{name}" for name in dir(find(path)) if not name.startswith("_"))
    for name in sorted(names):
        find(name)
    return {"names": sorted(names)}


def find(path: str) -> Any:
    """Get what a name of the module under test stands for."""
    parts = path.split(".")
    for length in range(len(parts) - 1, 0, -1):
        if ".".join(parts[:length]) in MODULES:
            found: Any = importlib.import_module(f"{oracle.MODULE}.{'.'.join(parts[:length])}")
            break
    else:
        found, length = oracle.T, 0
    for part in parts[length:]:
        found = getattr(found, part)
    return found


def rows() -> dict[str, str]:
    """Read the table: what it says of each name."""
    found = re.findall(r"^\| `([\w.]+)` \| (.+?) \|$", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found)


def test_every_name_of_torch_is_in_the_table() -> None:
    assert sorted(set(oracle.golden("autograd_names")["names"]) - set(rows())) == []


def test_every_row_says_how_it_stands() -> None:
    for name, text in rows().items():
        assert re.fullmatch(r"same|differs \(.+\)|absent \(.+\)", text), f"{name}: {text}"


@pytest.mark.rustgrad_only
def test_what_is_called_the_same_is_there() -> None:
    for name, text in rows().items():
        if not text.startswith("absent"):
            find(name)


@pytest.mark.rustgrad_only
def test_what_is_called_absent_is_not_there() -> None:
    for name, text in rows().items():
        if text.startswith("absent"):
            with pytest.raises((AttributeError, ImportError)):
                find(name)

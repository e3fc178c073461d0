"""What programs name around their tensors: saving, devices, formats, switches."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
from oracle import T


def test_state_is_saved_and_loaded(tmp_path: Path) -> None:
    model = T.nn.Sequential(T.nn.Linear(2, 3), T.nn.BatchNorm1d(3))
    optimiser = T.optim.Adam(model.parameters())
    model(T.ones(4, 2)).sum().backward()
    optimiser.step()
    path = tmp_path / "model.pt"
    T.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "epoch": 3}, path)
    found = T.load(path, map_location="cpu", weights_only=True)
    assert found["epoch"] == 3
    other = T.nn.Sequential(T.nn.Linear(2, 3), T.nn.BatchNorm1d(3))
    other.load_state_dict(found["model"])
    for own, new in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert T.equal(own, new)
    T.optim.Adam(other.parameters()).load_state_dict(found["optimiser"])


def test_streams_and_requires_grad() -> None:
    stream = io.BytesIO()
    T.save([T.ones(2, requires_grad=True), T.arange(3)], stream)
    stream.seek(0)
    first, second = T.load(stream)
    assert first.requires_grad
    assert second.tolist() == [0, 1, 2]


class Own:
    """A class that loading weights only must not make."""


def test_other_classes_are_not_loaded_by_default() -> None:
    stream = io.BytesIO()
    T.save(Own(), stream)
    stream.seek(0)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        T.load(stream)
    stream.seek(0)
    assert isinstance(T.load(stream, weights_only=False), Own)


def test_there_is_no_gpu() -> None:
    device = T.device("cuda" if T.cuda.is_available() else "cpu")
    assert device.type == "cpu"
    assert T.cuda.device_count() == 0
    T.cuda.manual_seed_all(0)
    assert not T.backends.mps.is_available()
    T.backends.cudnn.deterministic = True
    with pytest.raises((RuntimeError, AssertionError)):
        T.cuda.current_device()


def test_formats_and_switches() -> None:
    x: Any = T.ones(2, 3)
    assert T.zeros_like(x.t(), memory_format=T.preserve_format).stride() == (1, 3)
    assert x.clone(memory_format=T.contiguous_format).is_contiguous()
    assert T.empty(2, layout=T.strided).shape == (2,)
    assert x[T.newaxis].shape == (1, 2, 3)
    assert str(T.channels_last) == "torch.channels_last"
    before = T.get_float32_matmul_precision()
    T.set_float32_matmul_precision("high")
    assert T.get_float32_matmul_precision() == "high"
    T.set_float32_matmul_precision(before)
    T.use_deterministic_algorithms(True)
    assert T.are_deterministic_algorithms_enabled()
    T.use_deterministic_algorithms(False)
    assert T.get_default_device().type == "cpu"

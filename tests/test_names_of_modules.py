"""Programs' import statements, and the modules that are there for their sake."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from oracle import T

# Module: what programs import from it.
NAMES = {
    "amp": "autocast GradScaler",
    "autograd.function": "once_differentiable",
    "backends.cudnn": "benchmark deterministic",
    "compiler": "disable is_compiling",
    "cuda.amp": "autocast GradScaler",
    "distributed": "is_available is_initialized",
    "distributions.normal": "Normal",
    "distributions.utils": "broadcast_all lazy_property",
    "func": "replace_all_batch_norm_modules_",
    "functional": "einsum norm",
    "jit": "script trace ignore unused",
    "multiprocessing": "Process Queue spawn set_sharing_strategy",
    "nn": "DataParallel",
    "nn.modules.activation": "MultiheadAttention ReLU",
    "nn.modules.batchnorm": "_BatchNorm",
    "nn.modules.loss": "_Loss _WeightedLoss",
    "nn.modules.module": "Module _IncompatibleKeys",
    "nn.modules.transformer": "_get_clones _get_activation_fn",
    "nn.parallel": "DataParallel",
    "nn.utils.clip_grad": "clip_grad_norm_",
    "nn.utils.convert_parameters": "parameters_to_vector",
    "nn.utils.stateless": "functional_call",
    "optim.adam": "Adam",
    "optim.lr_scheduler": "_LRScheduler",
    "optim.nadam": "NAdam",
    "optim.sgd": "SGD",
    "profiler": "profile record_function ProfilerActivity schedule",
    "types": "Number",
    "utils._pytree": "tree_map",
    "utils.benchmark": "Timer",
    "utils.data._utils.collate": "default_collate",
    "utils.data.dataloader": "default_collate",
    "utils.data.dataset": "Dataset",
    "utils.data.distributed": "DistributedSampler",
    "utils.data.sampler": "SubsetRandomSampler",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", NAMES)
def test_imports(module: str) -> None:
    found = importlib.import_module(f"{T.__name__}.{module}")
    for name in NAMES[module].split():
        assert hasattr(found, name), name


def test_same_classes() -> None:
    """A name leads to the same class whichever way it is taken."""
    assert importlib.import_module(f"{T.__name__}.optim.adam").Adam is T.optim.Adam
    assert importlib.import_module(f"{T.__name__}.nn.utils.clip_grad").clip_grad_norm_ is T.nn.utils.clip_grad_norm_
    assert T.cuda.amp.GradScaler is importlib.import_module(f"{T.__name__}.cuda.amp").GradScaler


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_compiled() -> None:
    jit: Any = importlib.import_module(f"{T.__name__}.jit")
    layer = T.nn.Linear(3, 2)
    x = T.randn(4, 3)
    assert T.equal(jit.trace(layer, x)(x), layer(x))
    assert not jit.is_scripting()
    assert importlib.import_module(f"{T.__name__}.compiler").disable(layer.forward)(x).shape == (4, 2)


def test_one_device() -> None:
    model = T.nn.DataParallel(T.nn.Linear(3, 2))
    assert model(T.ones(4, 3)).shape == (4, 2)
    assert list(model.state_dict()) == ["module.weight", "module.bias"]


def test_profile_with_a_schedule(tmp_path: Path) -> None:
    profiler: Any = importlib.import_module(f"{T.__name__}.profiler")
    actions = profiler.schedule(wait=1, warmup=1, active=2, repeat=1)
    assert [actions(i).name for i in range(5)] == ["NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE", "NONE"]
    ready: list[Any] = []
    with profiler.profile(
        activities=[profiler.ProfilerActivity.CPU], schedule=actions, on_trace_ready=ready.append
    ) as found:
        for _ in range(6):
            with profiler.record_function("block"):
                T.ones(10).sum()
            found.step()
    assert len(ready) == 1
    with profiler.profile() as found, profiler.record_function("block"):
        T.ones(10).sum()
    assert "block" in found.key_averages().table(sort_by="cpu_time_total", row_limit=10)
    found.export_chrome_trace(str(tmp_path / "trace.json"))
    assert (tmp_path / "trace.json").exists()


def test_timer() -> None:
    timer = importlib.import_module(f"{T.__name__}.utils.benchmark").Timer("x + 1", globals={"x": T.ones(2)})
    measured = timer.timeit(100)
    assert 0 < measured.median < 1
    assert measured.mean == pytest.approx(measured.median)
    assert timer.blocked_autorange(min_run_time=0.01).times
    assert "Measurement" in repr(measured)


def square(rank: int, queue: Any) -> None:
    """Send a tensor from a process."""
    queue.put((rank, T.full((2,), float(rank)).square().tolist()))


@pytest.mark.rustgrad_only
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_spawn() -> None:
    processes: Any = importlib.import_module(f"{T.__name__}.multiprocessing")
    queue = processes.get_context("fork").SimpleQueue()
    processes.spawn(square, (queue,), 2, start_method="fork")
    assert sorted(queue.get() for _ in range(2)) == [(0, [0.0, 0.0]), (1, [1.0, 1.0])]
    with pytest.raises(processes.ProcessRaisedException, match="Process 0 terminated with the following error"):
        processes.spawn(square, (None,), 1, start_method="fork")


def test_batch_statistics_only() -> None:
    model = T.nn.Sequential(T.nn.Linear(3, 4), T.nn.BatchNorm1d(4))
    T.func.replace_all_batch_norm_modules_(model)
    assert model[1].running_mean is None
    assert model.eval()(T.randn(5, 3)).mean().item() == pytest.approx(0, abs=1e-5)

"""What all tests share: the module under test, its state put back after each test, and the markers."""

from __future__ import annotations

from collections.abc import Iterator

import oracle
import pytest
from known_gaps import GAPS


def pytest_report_header() -> str:
    """Say which module is under test."""
    version = getattr(oracle.T, "__version__", "?")
    return f"module under test: {oracle.MODULE} {version}, stage {oracle.STAGE}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, under torch, what only rustgrad promises; let torch's own warnings pass."""
    if oracle.IS_TORCH:
        for item in items:
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            if item.get_closest_marker("rustgrad_only"):
                item.add_marker(pytest.mark.skip(reason="torch does not promise this"))
        return
    for item in items:
        reason = GAPS.get(item.nodeid.removeprefix("tests/"))
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.fixture(autouse=True)
def restore_state() -> Iterator[None]:
    """Put back what a test may have changed for the whole process."""
    threads = oracle.T.get_num_threads()
    yield
    oracle.T.set_num_threads(threads)
    oracle.T.set_printoptions(profile="default")
    assert oracle.T.is_grad_enabled(), "a test left gradients switched off"

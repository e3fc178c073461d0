"""Anomaly detection: errors of a backward pass name the line that recorded the failing operation."""

from __future__ import annotations

import warnings

from rustgrad import _core

__all__ = ["detect_anomaly", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "set_detect_anomaly"]


# The engine looks for NaN only while detection is on; what was asked for last is kept, as in torch.
_looks_for_nan = True


def _state() -> tuple[bool, bool]:
    return bool(_core._anomaly()[0]), _looks_for_nan


def _switch(mode: bool, check_nan: bool) -> None:
    global _looks_for_nan
    _core._set_anomaly(mode, check_nan)
    _looks_for_nan = check_nan


def is_anomaly_enabled() -> bool:
    """Tell whether anomaly detection is on."""
    return bool(_core._anomaly()[0])


def is_anomaly_check_nan_enabled() -> bool:
    """Tell whether anomaly detection looks for NaN."""
    return _looks_for_nan


class detect_anomaly:
    """Look for NaN in every gradient, and name the forward line of a backward error.

    Parameters
    ----------
    check_nan
        Whether a NaN in a gradient is an error.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        self._before = _state()
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should "
            "only be enabled for debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self._before = _state()
        _switch(True, self.check_nan)

    def __exit__(self, *exception: object) -> None:
        _switch(*self._before)


class set_detect_anomaly:
    """Switch anomaly detection at once; as context manager, until its end.

    Parameters
    ----------
    mode
        On or off.
    check_nan
        Whether a NaN in a gradient is an error.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = _state()
        _switch(mode, check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        _switch(*self._before)

"""The graph: its nodes, and handles of hooks."""

from __future__ import annotations

from rustgrad._core import Node

__all__ = ["Node"]

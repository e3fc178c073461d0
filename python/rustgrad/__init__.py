"""Tensors with automatic differentiation; what works with PyTorch's autograd on the CPU works here."""

from rustgrad._core import *  # noqa: F403

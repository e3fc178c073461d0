"""Helpers around training: :mod:`rustgrad.utils.checkpoint`."""

from rustgrad.utils import checkpoint as checkpoint

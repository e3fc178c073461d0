"""Helpers around training: checkpoints, and handles of hooks."""

from rustgrad.utils import checkpoint as checkpoint
from rustgrad.utils import hooks as hooks

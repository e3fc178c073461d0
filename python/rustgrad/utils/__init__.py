"""Helpers around training: checkpoints, data sets and loaders, and handles of hooks."""

from rustgrad.utils import checkpoint as checkpoint
from rustgrad.utils import data as data
from rustgrad.utils import hooks as hooks

"""A function run once for a whole batch: what ``rustgrad.func.vmap`` gives the function it maps.

A :class:`Batched` stands for a tensor of which every slice of the batch has its own: it holds them all in ``value``,
along a first dimension that the function does not see. Each operation has a rule that says what it is for all slices
together; the rules are in the modules beside this one, by family. For the compiled code a ``Batched`` is no tensor, so
whatever has no rule raises an error instead of computing something else; ``vmap`` then calls its function slice by
slice. Batches nest: ``value`` may itself be a ``Batched`` of an outer level.
"""

from __future__ import annotations

from rustgrad._batching._core import Batched as Batched
from rustgrad._batching._core import Forbidden as Forbidden
from rustgrad._batching._core import Level as Level
from rustgrad._batching._core import Refused as Refused
from rustgrad._batching._core import active as active
from rustgrad._batching._core import base as base
from rustgrad._batching._core import lifted as lifted
from rustgrad._batching._core import like as like
from rustgrad._batching._core import opened as opened
from rustgrad._batching._core import refuse as refuse
from rustgrad._batching._core import rewrapped as rewrapped
from rustgrad._batching._core import slices as slices

from rustgrad._batching import (  # isort: skip  # the rules, which need what is above
    _draws as _draws,
    _elementwise as _elementwise,
    _gradients as _gradients,
    _indices as _indices,
    _layers as _layers,
    _products as _products,
    _reductions as _reductions,
    _shapes as _shapes,
)
from rustgrad._batching._core import install
from rustgrad._batching._draws import check_draws as check_draws
from rustgrad._batching._elementwise import written as written
from rustgrad._batching._gradients import gradients as gradients

install()

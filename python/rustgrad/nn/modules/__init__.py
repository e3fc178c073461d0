"""The modules, all in one place."""

import sys

from rustgrad.nn.modules.activation import *
from rustgrad.nn.modules.adaptive import *
from rustgrad.nn.modules.attention import *
from rustgrad.nn.modules.container import ModuleDict as ModuleDict
from rustgrad.nn.modules.container import ModuleList as ModuleList
from rustgrad.nn.modules.container import ParameterDict as ParameterDict
from rustgrad.nn.modules.container import ParameterList as ParameterList
from rustgrad.nn.modules.container import Sequential as Sequential
from rustgrad.nn.modules.conv import *
from rustgrad.nn.modules.dropout import *
from rustgrad.nn.modules.images import *
from rustgrad.nn.modules.lazy import *
from rustgrad.nn.modules.linear import *
from rustgrad.nn.modules.loss import *
from rustgrad.nn.modules.module import Module as Module
from rustgrad.nn.modules.normalization import *
from rustgrad.nn.modules.pooling import *
from rustgrad.nn.modules.rare import *
from rustgrad.nn.modules.rnn import *
from rustgrad.nn.modules.shape import *
from rustgrad.nn.modules.sparse import *

# Torch keeps these in modules of other names.
_MODULES = {
    "batchnorm": "normalization", "channelshuffle": "images", "distance": "loss", "flatten": "shape", "fold": "images",
    "instancenorm": "normalization", "padding": "pooling", "pixelshuffle": "images", "transformer": "attention",
    "upsampling": "images",
}  # fmt: skip

# For ``import`` statements, which ask nobody else.
for _name, _module in _MODULES.items():
    sys.modules[f"{__name__}.{_name}"] = sys.modules[f"{__name__}.{_module}"]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _MODULES or name == "utils":
        return import_module(f"rustgrad.nn.modules.{_MODULES.get(name, 'utils')}")
    message = f"module 'rustgrad.nn.modules' has no attribute {name!r}"
    raise AttributeError(message)

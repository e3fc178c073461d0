"""Modules, parameters and functions for neural networks."""

from rustgrad.nn import functional as functional
from rustgrad.nn import init as init
from rustgrad.nn import modules as modules
from rustgrad.nn import utils as utils
from rustgrad.nn.modules import *
from rustgrad.nn.modules.module import Module as Module
from rustgrad.nn.parameter import Buffer as Buffer
from rustgrad.nn.parameter import Parameter as Parameter
from rustgrad.nn.parameter import UninitializedBuffer as UninitializedBuffer
from rustgrad.nn.parameter import UninitializedParameter as UninitializedParameter


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in ("attention", "parallel"):
        return import_module(f"rustgrad.nn.{name}")
    if name == "DataParallel":
        return import_module("rustgrad.nn.parallel").DataParallel
    message = f"module 'rustgrad.nn' has no attribute {name!r}"
    raise AttributeError(message)

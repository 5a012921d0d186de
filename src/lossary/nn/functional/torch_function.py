"""The `__torch_function__` protocol for the drop-ins, and errors that name a tensor no operation can read.

Tensor subclasses and modes with ``__torch_function__``, and the proxies of `torch.fx`, see the call of the function and
decide what becomes of it, as with torch's own functions.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch.overrides import handle_torch_function, has_torch_function

from lossary.backends.torch.tensors import need_elements

Function = TypeVar("Function", bound=Callable[..., Any])


def overridable(function: Function) -> Function:
    """Let the arguments of a function handle its call, and name the argument whose elements cannot be read."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values()) if kwargs else args
        if has_torch_function(given):
            return handle_torch_function(call, given, *args, **kwargs)
        try:
            return function(*args, **kwargs)
        except RuntimeError:
            # The error of an inner operation is replaced by one that names the argument as the caller knows it.
            for name, x in inspect.signature(function).bind(*args, **kwargs).arguments.items():
                if isinstance(x, torch.Tensor):
                    need_elements(x, f"{function.__name__}: {name}")
            raise

    return cast(Function, call)

"""Arguments that want to handle a loss function themselves, as torch's own functions let them.

Tensor subclasses and modes with ``__torch_function__``, and the proxies of `torch.fx`, see the call of the function and
decide what becomes of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from torch.overrides import handle_torch_function, has_torch_function

Function = TypeVar("Function", bound=Callable[..., Any])


def overridable(function: Function) -> Function:
    """Give a function the protocol ``__torch_function__``."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values()) if kwargs else args
        if has_torch_function(given):
            return handle_torch_function(call, given, *args, **kwargs)
        return function(*args, **kwargs)

    return cast(Function, call)

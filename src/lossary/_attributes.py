"""Attributes of the package that are resolved lazily: aliases of losses, and errors for unknown names.

An alias is an attribute like the loss's own name (``lossary.mse`` is ``lossary.squared_error``) unless something else
has the name: functions and classes are found before anybody looks here, and modules have precedence.
"""

from __future__ import annotations

import keyword
import pkgutil
import sys
from functools import cache
from pathlib import Path

from lossary import catalogue
from lossary.errors import UnknownLossError, nearest

PACKAGE = "lossary"


def attribute(name: str) -> catalogue.Loss:
    """Return the loss with that name or alias, or raise `AttributeError` with the nearest names."""
    if not name.startswith("_"):
        found = None if name in modules() else catalogue.exact(name)
        if found is not None:
            return found
    raise AttributeError(unknown(name), name=name, obj=sys.modules[PACKAGE])


def unknown(name: str) -> str:
    """Return the sentence for a name that the package does not have."""
    said = f"module {PACKAGE!r} has no attribute {name!r}"
    if name.startswith("_"):
        return said
    if name in modules():
        return f"{said}: it is a module; write import {PACKAGE}.{name}"
    try:
        meant = [catalogue.get(name).name]  # "HuberLoss", "huber_loss"
    except UnknownLossError:
        meant = nearest(name, listed())[:3]
    return f"{said}{': did you mean ' + ', '.join(f'{PACKAGE}.{near}' for near in meant) + '?' if meant else ''}"


def unimportable(name: str) -> ImportError:
    """Return the error for ``from lossary import name``, which Python would raise without saying what is near."""
    return ImportError(f"cannot import name {name!r} from {PACKAGE!r}: {unknown(name)}", name=PACKAGE)


def listed() -> list[str]:
    """Return every public name: what the package holds, all aliases, all modules."""
    held = [name for name in vars(sys.modules[PACKAGE]) if not name.startswith("_")]
    return sorted({*held, *aliases(), *modules()})


def aliases() -> dict[str, catalogue.Loss]:
    """Return the aliases that are attributes: identifiers that name nothing else in the package."""
    return {
        alias: loss
        for alias, loss in catalogue.aliases().items()
        if alias.isidentifier() and not keyword.iskeyword(alias) and alias not in modules()
    }


@cache
def modules() -> frozenset[str]:
    """Return the names of the modules of the package."""
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    return frozenset(module.name for module in found if not module.name.startswith("_"))

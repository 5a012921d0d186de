"""Write the types of the modules of `lossary.nn.catalogue` into a stub, for editors and type checkers.

    python docs/make_stubs.py

The classes are made from the records when the module is imported, which no editor can see. The stub says the same in
writing; a test compares it with the classes.
"""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import Any

from lossary.nn import catalogue
from lossary.nn.records import RecordLoss

STUB = Path(catalogue.__file__).with_suffix(".pyi")

HEADER = '''\
# Written by docs/make_stubs.py from the records of the catalogue.
"""{words}"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lossary.catalogue import Loss
from lossary.nn.penalties import ParameterPenalty, Patterns
from lossary.nn.records import ClassifierLoss, RecordLoss
from lossary.reduction import Reduction

__all__ = [
{names}
]

ALSO_KNOWN_AS: tuple[str, ...]

def base_of(loss: Loss) -> type[RecordLoss]: ...
def from_record(loss: Loss | str, /, *constants: Any, **params: Any) -> RecordLoss: ...
'''


def stub() -> str:
    """Return the text of the stub."""
    words = (catalogue.__doc__ or "").partition("\n")[0]
    parts = [HEADER.format(words=words, names="\n".join(f'    "{name}",' for name in catalogue.__all__))]
    classes = {name: getattr(catalogue, name) for name in catalogue.__all__ if name != "from_record"}
    parts += [described(made) for name, made in classes.items() if made.__name__ == name]
    parts += ["".join(f"{name} = {made.__name__}\n" for name, made in classes.items() if made.__name__ != name)]
    return "\n".join(parts)


def described(made: type[RecordLoss]) -> str:
    """Return a class as a stub has it."""
    words = textwrap.fill(made.loss.summary, 116, initial_indent='    """', subsequent_indent="    ")
    lines = [
        f"class {made.__name__}({made.__bases__[0].__name__}):",
        words + ("\n    " if "\n" in words else "") + '"""',
        "",
    ]
    lines += method("__init__", made.__init__)
    lines += method("forward", made.forward)
    lines += method("__call__", made.forward)
    return "\n".join(lines) + "\n"


def method(name: str, function: Any) -> list[str]:
    """Return a method as a formatter leaves it: on one line if that fits, else its parameters on one, else on many."""
    signature = inspect.signature(function)
    parameters, starred = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parameters, starred = [*parameters, "*"], True
        note = "" if parameter.annotation is parameter.empty else f": {double_quoted(parameter.annotation)}"
        default = "" if parameter.default is parameter.empty else f" = {double_quoted(repr(parameter.default))}"
        parameters.append(f"{parameter.name}{note}{default}")
    ending = f") -> {signature.return_annotation}: ..."
    single = f"    def {name}({', '.join(parameters)}{ending}"
    if len(single) <= 120:
        return [single]
    joined = f"        {', '.join(parameters)}"
    inner = [joined] if len(joined) <= 120 else [f"        {parameter}," for parameter in parameters]
    return [f"    def {name}(", *inner, f"    {ending}"]


def double_quoted(text: str) -> str:
    """Return code with its strings quoted as the formatter quotes them."""
    return text.replace("'", '"')


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")

"""Write what cannot be read off the source into stubs, for editors and type checkers.

    make docs

`lossary/__init__.pyi` has every loss with its own arguments, parameters and defaults, under its name and its aliases;
`lossary/nn/catalogue.pyi` the modules that are made from the records on import. Both say in writing what the records
say; tests compare them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lossary
from lossary.catalogue import Loss, aliases
from lossary.catalogue.domains import annotation
from lossary.nn import catalogue
from lossary.nn.records import RecordLoss

STUB = Path(catalogue.__file__).with_suffix(".pyi")
PACKAGE = Path(lossary.__file__).with_suffix(".pyi")

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
from lossary.evaluate.reduction import Reduction

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
    """Return a method with the signature of a function."""
    signature = inspect.signature(function)
    parameters, starred = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parameters, starred = [*parameters, "*"], True
        note = "" if parameter.annotation is parameter.empty else f": {double_quoted(parameter.annotation)}"
        default = "" if parameter.default is parameter.empty else f" = {double_quoted(repr(parameter.default))}"
        parameters.append(f"{parameter.name}{note}{default}")
    return laid_out(name, parameters, signature.return_annotation)


def laid_out(name: str, parameters: Iterable[str], result: str) -> list[str]:
    """Return a method as a formatter leaves it: on one line if that fits, else its parameters on one, else on many."""
    ending = f") -> {result}: ..."
    single = f"    def {name}({', '.join(parameters)}{ending}"
    if len(single) <= 120:
        return [single]
    joined = f"        {', '.join(parameters)}"
    inner = [joined] if len(joined) <= 120 else [f"        {parameter}," for parameter in parameters]
    return [f"    def {name}(", *inner, f"    {ending}"]


def double_quoted(text: str) -> str:
    """Return code with its strings quoted as the formatter quotes them."""
    return text.replace("'", '"')


# --- the package ----------------------------------------------------------------------------------------------------

PACKAGE_HEADER = '''\
# Written by docs/make_stubs.py from the records of the catalogue.
"""{words}"""

from typing import Any, Literal, Self, TypeAlias

from numpy.typing import ArrayLike
from torch import Tensor

{imports}

__version__: str

# What an array and a number may be given as. Without torch its tensors are unknown to a checker, and nothing is lost.
_Array: TypeAlias = ArrayLike | Tensor
_Number: TypeAlias = float | Tensor

def __dir__() -> list[str]: ...
'''

OPTIONS = (
    "weight: _Array | None = None",
    "mask: _Array | None = None",
    'reduction: Reduction = "none"',
    "denominator: _Number | None = None",
    "check: bool = True",
)


def package_stub() -> str:
    """Return the text of the package's stub."""
    source = Path(lossary.__file__).read_text(encoding="utf-8")
    words = (lossary.__doc__ or "").partition("\n")[0]
    losses = [lossary.get(name) for name in lossary.names()]
    parts = [PACKAGE_HEADER.format(words=words, imports="\n".join(imports(ast.parse(source))))]
    parts += [loss_class(loss) for loss in losses]
    lines = [f"{loss.name}: {class_of(loss)}" for loss in losses]
    lines += [f"{alias}: {class_of(loss)}" for alias, loss in aliases().items()]
    return "\n".join(parts) + "\n" + "\n".join(lines) + "\n"


def imports(tree: ast.Module) -> list[str]:
    """Return the public imports of the package but those of the losses, which have types of their own here."""
    found = {"from lossary import nn as nn", "from lossary.evaluate.reduction import Reduction"}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            public = [
                name for name in node.names if name.name != "*" and not (name.asname or name.name).startswith("_")
            ]
            found |= {f"from {node.module} import {name.name} as {name.asname}" for name in public if name.asname}
    return sorted(found, key=lambda line: (line.split()[1], line.split()[3]))


def class_of(loss: Loss) -> str:
    """Return the name of a loss's type, which exists in the stub only."""
    return "_" + "".join(word[:1].upper() + word[1:] for word in loss.name.split("_"))


def loss_class(loss: Loss) -> str:
    """Return the type of a loss: how it is called, and how each of its methods is."""
    arrays = [f"{n}: _Array" + (" | None = None" if n in loss.optional else "") for n in loss.arguments]
    held = {n: annotation(*loss.parameter_domains[n], d, "_Number", "_Array") for n, d in loss.defaults.items()}
    held = {name: double_quoted(text) for name, text in held.items()}
    params = [f"{n}: {held[n]} = {double_quoted(repr(d))}" for n, d in loss.defaults.items()]
    fixed = [f"{n}: {held[n]} = ..." for n in loss.defaults]
    derived = [*OPTIONS, *params]
    with_out = [*OPTIONS, "out: Any = None", *params]
    words = textwrap.fill(loss.summary, 116, initial_indent='    """', subsequent_indent="    ")
    lines = [f"class {class_of(loss)}(Loss):", words + ("\n    " if "\n" in words else "") + '"""', ""]
    for name, keywords, result in (
        ("__call__", params, "Any"),
        ("value", derived, "Any"),
        ("value_and_grad", with_out, "tuple[Any, Any]"),
        ("grad", with_out, "Any"),
        ("hess", derived, "Any"),
    ):
        lines += laid_out(name, ["self", *arrays, *(["*"] if keywords else []), *keywords], result)
    lines += laid_out("bind", ["self", *(["*"] if fixed else []), *fixed], "Self")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
    PACKAGE.write_text(package_stub(), encoding="utf-8")

"""Write the types of what is made from records into stubs, for editors and type checkers.

    python docs/make_stubs.py

`lossary/__init__.pyi` has every loss with its own arguments, parameters and defaults, under its name and its aliases;
`lossary/nn/catalogue.pyi` has the PyTorch modules that are made from the records on import. Neither is committed: the
build of a wheel, of a source archive and of an editable installation writes them (`hatch_build.py`), and so does
`make test` where a source is newer. It needs NumPy and not torch, which no build should download.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

SOURCES = Path(__file__).resolve().parent.parent / "src"
sys.path.insert(0, str(SOURCES))  # the build runs this before the package is installed

import lossary  # noqa: E402
from lossary._files import write_atomic  # noqa: E402
from lossary.catalogue import Loss, aliases  # noqa: E402
from lossary.catalogue.domains import annotation  # noqa: E402


def naming() -> ModuleType:
    """Return `lossary.nn.naming`, which needs no torch, without importing `lossary.nn`, which does."""
    spec = importlib.util.spec_from_file_location("naming", SOURCES / "lossary" / "nn" / "naming.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NAMING = naming()

# --- lossary.nn.catalogue -------------------------------------------------------------------------------------------

# The classes that modules derive from, each with the file that defines it.
BASES = {"RecordLoss": "from_catalogue", "ClassifierLoss": "from_catalogue", "ParameterPenalty": "penalties"}

MODULE_HEADER = '''\
# Written by docs/make_stubs.py from the records of the catalogue.
"""{words}"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lossary.catalogue import Loss
from lossary.evaluate.reduction import Reduction
from lossary.nn.from_catalogue import ClassifierLoss, RecordLoss
from lossary.nn.penalties import ParameterPenalty, Patterns

__all__ = [
{names}
]

ALSO_KNOWN_AS: tuple[str, ...]

def base_of(loss: Loss) -> type[RecordLoss]: ...
def from_record(loss: Loss | str, /, *constants: Any, **params: Any) -> RecordLoss: ...
'''


def module_stub() -> str:
    """Return the text of the stub of `lossary.nn.catalogue`."""
    reproduced = ast.literal_eval(assigned(parsed("modules"), "__all__"))
    classes, second_names = NAMING.classes(reproduced), NAMING.class_aliases()
    names = sorted(["from_record", *classes, *second_names])
    words = (ast.get_docstring(parsed("catalogue")) or "").partition("\n")[0]
    parts = [MODULE_HEADER.format(words=words, names="\n".join(f'    "{name}",' for name in names))]
    parts += [module_class(name, loss) for name, loss in sorted(classes.items())]
    parts += ["".join(f"{name} = {second_names[name]}\n" for name in sorted(second_names))]
    return "\n".join(parts)


def parsed(name: str) -> ast.Module:
    """Return the syntax tree of a module of `lossary.nn`, which cannot be imported without torch."""
    return ast.parse((SOURCES / "lossary" / "nn" / f"{name}.py").read_text(encoding="utf-8"))


def assigned(tree: ast.Module, name: str) -> ast.expr:
    """Return the expression that a module assigns to a name."""
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]
    )
    return value


def signature(base: str, method: str) -> inspect.Signature:
    """Return the signature of a method of a base class, read from its source."""
    (definition,) = (node for node in parsed(BASES[base]).body if isinstance(node, ast.ClassDef) and node.name == base)
    (function,) = (node for node in definition.body if isinstance(node, ast.FunctionDef) and node.name == method)
    header = ast.FunctionDef(method, function.args, [ast.Pass()], [], function.returns, lineno=1)
    # Annotations stay text; defaults are constants, so no name is looked up.
    body = [*ast.parse("from __future__ import annotations").body, header]
    names: dict[str, object] = {}
    exec(compile(ast.fix_missing_locations(ast.Module(body, [])), f"<signature of {base}>", "exec"), names)
    return inspect.signature(names[method])  # type: ignore[arg-type]


def module_class(name: str, loss: Loss) -> str:
    """Return the class of a module as a stub has it."""
    base = NAMING.base_name(loss)
    made = NAMING.signature_of_constructor(signature(base, "__init__"), loss)
    called = NAMING.signature_of_call(signature(base, "forward"), loss)
    lines = [f"class {name}({base}):", *docstring(loss.summary), ""]
    lines += method("__init__", made, "self")
    lines += method("forward", called)
    lines += method("__call__", called)
    return "\n".join(lines) + "\n"


def docstring(words: str) -> list[str]:
    """Return the lines of a docstring of one paragraph."""
    text = textwrap.fill(words, 116, initial_indent='    """', subsequent_indent="    ")
    return [text + ("\n    " if "\n" in text else "") + '"""']


def method(name: str, signature: inspect.Signature, *first: str) -> list[str]:
    """Return a method with a signature, its parameters after those that come `first`."""
    parameters, starred = [*first], False
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


# --- lossary ---------------------------------------------------------------------------------------------------

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
    lines = [f"class {class_of(loss)}(Loss):", *docstring(loss.summary), ""]
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


def write(package: Path = SOURCES / "lossary") -> None:
    """Write both stubs into the folder of the package; they are new even if nothing in them is, as `make` expects."""
    write_atomic(package / "__init__.pyi", package_stub())
    write_atomic(package / "nn" / "catalogue.pyi", module_stub())


if __name__ == "__main__":
    write()

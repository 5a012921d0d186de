"""Write down which names PyTorch, Keras and Optax really have, for the linter: src/lossary/lint/known.py.

    python docs/make_lint_names.py KERAS OPTAX

PyTorch is imported. KERAS and OPTAX are the folders of the two packages, which are only read, so an unpacked wheel
will do. The linter itself imports none of the three: it must work where none is installed.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

KNOWN = Path(__file__).resolve().parent.parent / "src" / "lossary" / "lint" / "known.py"
LOSS = re.compile(r"loss|cross_entropy|kl_div", re.IGNORECASE)

HEAD = '''"""Names that exist, and the parameters of the losses among them: written by ``docs/make_lint_names.py``.

From PyTorch {torch}, Keras {keras} and Optax {optax}. Do not edit.
"""

'''


def torch_names() -> dict[str, Iterable[str]]:
    """Return the public names of the two modules of PyTorch that hold losses."""
    import torch

    places = {"torch.nn": torch.nn, "torch.nn.functional": torch.nn.functional}
    return {place: [name for name in dir(module) if not name.startswith("_")] for place, module in places.items()}


def torch_signatures() -> dict[str, str]:
    """Return the parameters of every loss of PyTorch, without ``self``."""
    import torch

    found = {}
    for place, module in {"torch.nn": torch.nn, "torch.nn.functional": torch.nn.functional}.items():
        for name in dir(module):
            value = getattr(module, name)
            public = LOSS.search(name) and not name.startswith("_") and callable(value)
            if public and (inspect.isclass(value) or inspect.isroutine(value)):
                parameters = inspect.signature(value).parameters
                if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                    found[f"{place}.{name}"] = " ".join(parameters)
    return found


def imported(file: Path) -> list[str]:
    """Return the names that a module offers, read from its imports."""
    offered = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            offered += [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    return [name for name in offered if not name.startswith("_")]


def version(package: Path) -> str:
    """Return the version of an unpacked wheel, from the folder that describes it."""
    (described,) = package.parent.glob(f"{package.name}-*.dist-info")
    return described.name.removeprefix(f"{package.name}-").removesuffix(".dist-info")


def main(keras: Path, optax: Path) -> None:
    """Write the module."""
    import torch

    names = torch_names() | {
        "keras.losses": imported(keras / "losses" / "__init__.py"),
        "optax": imported(optax / "__init__.py"),
        "optax.losses": imported(optax / "losses" / "__init__.py"),
    }
    parts = [HEAD.format(torch=torch.__version__.split("+")[0], keras=version(keras), optax=version(optax))]
    parts.append("_NAMES = {\n")
    for place, found in names.items():
        text = textwrap.fill(" ".join(sorted(set(found))), 112, break_long_words=False, break_on_hyphens=False)
        parts.append(f'    "{place}": """\n{textwrap.indent(text, " " * 8)}\n    """,\n')
    parts.append("}\n\nNAMES = {place: frozenset(text.split()) for place, text in _NAMES.items()}\n\n")
    parts.append("SIGNATURES: dict[str, tuple[str, ...]] = {\n    name: tuple(text.split())\n    for name, text in {\n")
    for name, text in sorted(torch_signatures().items()):
        line = f'        "{name}": "{text}",\n'
        if len(line) > 120:
            folded = "".join(f'            "{part}"\n' for part in textwrap.wrap(text + " ", 96, drop_whitespace=False))
            line = f'        "{name}": (\n{folded}        ),\n'
        parts.append(line)
    parts.append("    }.items()\n}\n")
    KNOWN.write_text("".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"{KNOWN.name} written")

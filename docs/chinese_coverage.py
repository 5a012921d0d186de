"""List what has no Chinese words yet: losses, their likelihoods, quantities of definitions, facts, headings and axes.

    make coverage-zh

A missing word is no fault: English stands in its place. The list is for those who write Chinese; each line ends with
the file below `src/lossary/text/zh` that the word belongs to.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import lossary
from lossary import numerics
from lossary.catalogue import Loss
from lossary.inspect.notation import assigned, function_tree
from lossary.pairs import cosine, euclidean, protocol
from lossary.plots import curve
from lossary.text import fact, is_chinese, phrase, quantity
from lossary.text.phrases import chinese


def missing(loss: Loss) -> Iterator[str]:
    """Yield what has only English words of a loss, and where the Chinese for it belongs."""
    if loss.name not in chinese("summaries"):
        yield f"summary: {loss.summary}  [summaries.json]"
    if loss.likelihood and loss.name not in chinese("likelihoods"):
        yield f"likelihood: {loss.likelihood}  [likelihoods.json]"
    names = {*loss.arguments, *loss.row_arguments, *loss.defaults, *assigned(function_tree(loss.define.__code__))}
    if loss.coupling:
        names.update(assigned(function_tree(loss.coupling.rows.__code__)))
    yield from (f"quantity: {name}  [quantities.json]" for name in sorted(names) if not quantity(name, "zh"))
    for word in (loss.family, *sorted(loss.properties), *loss.tasks, loss.input):
        if word[0].isalpha() and word not in chinese("facts"):
            yield f"fact: {word}  [facts.json]"
    axis = curve(loss).axis
    words = phrase(axis, "zh") if axis in chinese("phrases") else fact(axis, "zh")
    if not is_chinese(words) or any("a" <= letter <= "z" for letter in words):
        yield f"axis: {axis}  [facts.json]"


def missing_of_helpers() -> Iterator[str]:
    """Yield the quantities, named inside functions that definitions share, that have no Chinese word."""
    modules = {
        numerics,
        protocol,
        cosine,
        euclidean,
        *(sys.modules[lossary.get(name).define.__module__] for name in lossary.names()),
    }
    for module in sorted(modules, key=lambda module: module.__name__):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__:
                for local in assigned(function_tree(function.__code__)):
                    if not quantity(local, "zh"):
                        yield f"{module.__name__}.{name}: quantity: {local}  [quantities.json]"


def missing_phrases() -> Iterator[str]:
    """Yield the headings and sentences that the package passes to `phrase` and that have no Chinese form."""
    for path in sorted(Path(lossary.__path__[0]).rglob("*.py")):
        source = path.read_text("utf-8")
        for node in ast.walk(ast.parse(source)) if "lossary.text" in source else ():
            name = getattr(node, "func", None)
            if getattr(name, "attr", getattr(name, "id", "")) not in ("phrase", "translated", "section", "derivative"):
                continue
            assert isinstance(node, ast.Call)
            given = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if given and given[-1] not in chinese("phrases") and "∂" not in given[-1]:
                yield f"{path.stem}: phrase: {given[-1]}  [phrases.json]"


def report() -> str:
    """Return the list, and how many losses have all their words in Chinese."""
    losses = [lossary.get(name) for name in lossary.names()]
    lines, complete = [], 0
    for loss in losses:
        lacking = list(missing(loss))
        complete += not lacking
        lines += [f"{loss.name}: {line}" for line in lacking]
    lines += [*missing_of_helpers(), *missing_phrases()]
    return "\n".join([*lines, f"{complete} of {len(losses)} losses have all their words in Chinese"])


if __name__ == "__main__":
    print(report())

"""List what has no Chinese words yet: losses, their likelihoods, quantities of definitions, facts and axes.

    make coverage-zh

A missing word is no fault: English stands in its place. The list is for those who write Chinese.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

import lossary
from lossary import numerics
from lossary.catalogue import Loss
from lossary.pairs import cosine, euclidean, protocol
from lossary.plots import curve
from lossary.inspect.tracing import assigned, function_tree
from lossary.text.phrases import FACTS, PHRASES, fact, phrase, quantity
from lossary.text.chinese import LIKELIHOODS, SUMMARIES


def missing(loss: Loss) -> Iterator[str]:
    """Yield what is told of a loss in English only, and where the Chinese for it belongs."""
    if loss.name not in SUMMARIES:
        yield f"summary: {loss.summary}  [SUMMARIES in words_zh.py]"
    if loss.likelihood and loss.name not in LIKELIHOODS:
        yield f"likelihood: {loss.likelihood}  [LIKELIHOODS in words_zh.py]"
    names = {*loss.arguments, *loss.row_arguments, *loss.defaults, *assigned(function_tree(loss.define.__code__))}
    if loss.coupling:
        names.update(assigned(function_tree(loss.coupling.rows.__code__)))
    yield from (f"quantity: {name}  [_CHINESE in words.py]" for name in sorted(names) if not quantity(name, "zh"))
    for told in (loss.family, *sorted(loss.properties), *loss.tasks, loss.input):
        if told[0].isalpha() and told not in FACTS:
            yield f"fact: {told}  [FACTS in words.py]"
    axis = curve(loss).axis
    chinese = phrase(axis, "zh") if axis in PHRASES else fact(axis, "zh")
    if not re.search("[\u4e00-\u9fff]", chinese) or re.search("[a-z]", chinese):
        yield f"axis: {axis}  [FACTS in words.py]"


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
                        yield f"{module.__name__}.{name}: quantity: {local}  [_CHINESE in words.py]"


def report() -> str:
    """Return the list, and how many losses are told in Chinese from end to end."""
    losses = [lossary.get(name) for name in lossary.names()]
    lines, whole = [], 0
    for loss in losses:
        lacking = list(missing(loss))
        whole += not lacking
        lines += [f"{loss.name}: {line}" for line in lacking]
    lines += missing_of_helpers()
    return "\n".join([*lines, f"{whole} of {len(losses)} losses have all their words in Chinese"])


if __name__ == "__main__":
    print(report())

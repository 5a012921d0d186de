"""Words for people: quantities, properties, headings and descriptions of losses, in English and Chinese.

An English word is the identifier itself. Chinese words are data, one JSON file for each kind in ``zh/``, read when
Chinese is first asked for. A quantity is looked up as a whole, then put together from its parts, as Chinese compounds
are: ``log_probabilities`` is 对数 + 概率. Where a Chinese word is missing, English stands in its place;
``make coverage-zh`` lists what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Literal

from lossary.text.formula import GREEK

if TYPE_CHECKING:
    from lossary.catalogue import Loss

Lang = Literal["en", "zh"]
LANGS: tuple[Lang, ...] = ("en", "zh")


@cache
def chinese(kind: str) -> Mapping[str, str]:
    """Return the Chinese words of a kind: quantities, facts, phrases, summaries, likelihoods, names or derivations.

    They are keyed by identifier, English word, English sentence or name of a loss; several names are separated by
    spaces, the most usual first.
    """
    import json
    from importlib import resources

    file = resources.files("lossary.text").joinpath("zh", f"{kind}.json")
    return {key: str(words) for key, words in json.loads(file.read_text("utf-8")).items()}


def quantity(identifier: str, lang: Lang = "en") -> str | None:
    """Return the words for a local or an argument; None if a part of it has no Chinese word yet.

    >>> quantity("log_probabilities"), quantity("log_probabilities", "zh"), quantity("delta", "zh")
    ('log probabilities', '对数概率', 'δ')
    """
    if lang == "en":
        return identifier.replace("_", " ")
    if identifier in chinese("quantities"):
        return chinese("quantities")[identifier]
    parts = [_part(part) for part in identifier.split("_") if part]
    return None if None in parts else "".join(p for p in parts if p)


def _part(word: str) -> str | None:
    if word in GREEK:
        return GREEK[word]
    if len(word.rstrip("0123456789")) <= 1:
        return word
    words = chinese("quantities")
    return words.get(word) or words.get(word.removesuffix("s"))


def fact(word: str, lang: Lang = "en") -> str:
    """Return the words for a family, a convention, a property, a task or an axis; mathematics such as ``[0, 1]`` stays.

    >>> fact("logit of the true class", "zh"), fact("log_rate (target 2)", "zh"), fact("[0, 1]", "zh")
    ('真实类别的对数几率', '速率的对数（目标 2）', '[0, 1]')
    """
    if lang == "en":
        return word
    facts = chinese("facts")
    what, of, whom = word.partition(" of the ")
    if of and (owner := facts.get(f"of the {whom}")):
        return owner + facts.get(what, what)
    held = re.fullmatch(r"(\w+) \(target (.+)\)", word)
    if held:
        return f"{quantity(held[1], lang) or held[1]}（目标 {held[2]}）"
    named = quantity(word, lang) if word.isidentifier() else None  # an axis may be an argument
    return facts.get(word) or named or word


def phrase(text: str, lang: Lang = "en", **numbers: object) -> str:
    """Return a heading or a sentence, with its numbers put in; in English where there is no Chinese one yet."""
    return (chinese("phrases").get(text, text) if lang == "zh" else text).format(**numbers)


def summary(loss: Loss, lang: Lang = "en") -> str:
    """Return what a loss is, in a sentence; in English where there is no Chinese one yet.

    >>> import lossary
    >>> summary(lossary.huber, "zh")
    '离目标不超过 `delta` 时为二次函数，超出后为线性函数。'
    """
    return chinese("summaries").get(loss.name, loss.summary) if lang == "zh" else loss.summary


def likelihood(loss: Loss, lang: Lang = "en") -> str:
    """Return the noise model of a loss with its derivation, empty if it has none; in English where need be."""
    known = chinese("likelihoods") if lang == "zh" and loss.likelihood else {}
    return known.get(loss.name, loss.likelihood)


def derivation_words(text: str, lang: Lang = "en") -> str:
    """Return a sentence of a derivation; in English where there is no Chinese one yet."""
    return chinese("derivations").get(text, text) if lang == "zh" else text


def is_chinese(text: str) -> bool:
    """Whether a text has Chinese characters.

    >>> is_chinese("交叉熵"), is_chinese("mse")
    (True, False)
    """
    return re.search("[\u4e00-\u9fff]", text) is not None


def called(name: str) -> list[str]:
    """Return the names of the losses that are called so in Chinese, the most usual first.

    >>> called("交叉熵损失函数")[0], called("合页")
    ('softmax_cross_entropy', ['hinge'])
    """
    wanted = name.strip().upper().removesuffix("函数").removesuffix("损失").replace(" ", "")
    found: dict[str, int] = {}  # where the name stands among those of the loss: first is the most usual
    for loss, names in chinese("names").items():
        known = [n.upper().removesuffix("损失") for n in names.split()]
        if wanted in known:
            found[loss] = known.index(wanted)
    return sorted(found, key=lambda loss: found[loss])


def texts(loss: Loss) -> list[tuple[int, str]]:
    """Return the Chinese texts about a loss to search in, each with the score of a word found in it."""
    facts = (fact(f, "zh") for f in (loss.family, *loss.tasks, *loss.properties))
    title = chinese("names").get(loss.name, "")
    return [(8, title), (4, " ".join(facts)), (1, summary(loss, "zh") + likelihood(loss, "zh"))]

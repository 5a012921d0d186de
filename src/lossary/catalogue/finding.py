"""Search over the words of the catalogue: names, facts and docstrings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from lossary.catalogue.record import ENTERED, Loss


def search(words: str) -> list[str]:
    """Return the names of the losses that mention every word, best matches first; or else those that mention some.

    Of those that mention some, the ones that mention most come first. Words that no loss mentions are passed over.

    >>> from lossary.catalogue import names
    >>> search("imbalance")[0] in names(family="imbalance")
    True
    >>> search("robust unheardof regression") == search("robust regression")
    True
    """

    def texts(record: Loss) -> list[tuple[int, str]]:
        title = " ".join((record.name, *record.aliases))
        title += " " + title.replace("_", " ")
        facts = " ".join((record.family, *record.tasks, *record.properties, record.likelihood))
        return [(8, title), (4, facts), (1, record.doc + " " + " ".join(record.references))]

    return ranked(words, texts)


def ranked(words: str, texts: Callable[[Loss], Iterable[tuple[int, str]]]) -> list[str]:
    """Return the names of the losses whose texts mention words, each text with what a mention in it is worth."""
    weighted = {name: [(worth, text.lower()) for worth, text in texts(record)] for name, record in ENTERED.items()}
    mentions = [
        {
            name: found
            for name, parts in weighted.items()
            if (found := sum(w * (_stem(word) in text) for w, text in parts))
        }
        for word in words.lower().split()
    ]
    mentions = [found for found in mentions if found]  # a word that nothing mentions says nothing
    often = {name: sum(name in found for found in mentions) for name in weighted}
    most = max(often.values())
    kept = [name for name in weighted if often[name] and (most < len(mentions) or often[name] == most)]
    score = {name: (often[name], sum(found.get(name, 0) for found in mentions)) for name in kept}
    return sorted(kept, key=lambda name: score[name], reverse=True)  # stable: ties stay in the order of the catalogue


def _stem(word: str) -> str:
    """Return what a word has in common with its other forms: "noisy" with noise, "outliers" with outlier."""
    return re.sub(r"(?<=[a-z]{4})(s|y|ies|ing|ed)$", "", word)

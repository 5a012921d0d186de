"""Amounts written as text, ``$1,234.50``, ``37.5 %``, ``1.234,5``, read as numbers.

>>> amounts(["$1,234.50", "(200)", None]), amounts(["1.234,5", "−3,0"]), amounts(["12b", "7"])
(([1234.5, -200.0, None], '$'), ([1234.5, -3.0], ''), None)
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_CURRENCY = r"[$€£¥₹₽₩]|(?:USD|EUR|GBP|CHF|JPY|CNY|RMB|元|円|kr)\.?"
_AMOUNT = re.compile(
    rf"(?P<open>\()?(?P<sign>[+-])?\s*(?P<before>{_CURRENCY})?\s*(?P<inner>[+-])?"
    r"(?P<digits>\d{1,3}(?:[.,' ]\d{3})+(?:[.,]\d+)?|\d+(?:[.,]\d+)?|[.,]\d+)"
    rf"\s*(?P<after>{_CURRENCY}|%)?(?P<close>\))?",
    re.IGNORECASE,
)


def amounts(texts: Sequence[str | None]) -> tuple[list[float | None], str] | None:
    """Return numbers for texts, and the unit that is left out; None unless every text is an amount.

    Which of point and comma separates decimals is decided for all texts together.
    """
    matches: dict[str, re.Match[str]] = {}
    for text in {t for t in texts if t is not None}:
        found = _AMOUNT.fullmatch(_plain(text))
        if found is None or bool(found["open"]) != bool(found["close"]) or (found["sign"] and found["inner"]):
            return None
        matches[text] = found
    units = {found["before"] or found["after"] or "" for found in matches.values()} - {""}
    point = _decimal_point([found["digits"].strip() for found in matches.values()], bool(units - {"%"}))
    if not matches or point is None or len(units) > 1:  # two currencies are not one quantity
        return None
    numbers = {text: _number(found, point) for text, found in matches.items()}
    return [None if t is None else numbers[t] for t in texts], "".join(units)


def _plain(text: str) -> str:
    """Return a text with the signs and spaces of typography replaced by plain ones."""
    return re.sub(r"[\u00a0\u2007\u2009\u202f]", " ", text.translate({0x2212: "-", 0x2013: "-"})).strip()


def _decimal_point(digits: Sequence[str], money: bool) -> str | None:
    """Return the character before decimals, or None if the texts contradict each other."""
    votes, unclear = set(), set()
    for text in digits:
        marks = re.sub(r"[\d' ]", "", text)
        if not marks:
            continue
        last = marks[-1]
        if len(set(marks)) == 2 and marks.count(last) == 1:  # 1,234.5: the last mark is before the decimals
            votes.add(last)
        elif len(set(marks)) == 2:
            return None
        elif len(marks) > 1:  # 1,234,567: thousands
            votes.add(_other(last))
        elif re.fullmatch(r"\d{1,3}[.,]\d{3}", text):  # 1,234 or 1.234
            unclear.add(last)
        else:
            votes.add(last)
    if len(votes) > 1:
        return None
    if votes:
        return votes.pop()
    # 1,234 alone are thousands. 1.234 alone are decimals, as programs write them, unless they are money.
    return "," if unclear == {"."} and money else "." if len(unclear) < 2 else None


def _other(mark: str) -> str:
    return "," if mark == "." else "."


def _number(found: re.Match[str], point: str) -> float:
    digits = re.sub(rf"[{_other(point)}' ]", "", found["digits"]).replace(point, ".")
    negative = found["open"] or "-" in (found["sign"] or "") + (found["inner"] or "")
    return -float(digits) if negative else float(digits)

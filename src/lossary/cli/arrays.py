"""Parsing of arrays and parameters on the command line."""

from __future__ import annotations

import ast
import json
import os.path
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lossary.catalogue import Loss
from lossary.errors import ArgumentError, DataError, ParameterError, suggest

# Names that mean the first array or the target, whatever their names are in a loss.
_FIRST = ("pred", "prediction", "logits", "probs", "log_probs", "scores", "input")
_TARGET = ("target", "targets", "labels", "label", "y")


def read_array(text: str, name: str) -> Any:
    """Return the array a text stands for.

    Lists (``"[[1, 2], [3, nan]]"``), numbers with spaces or commas between them (``"1 2 3"``), or a file
    (``@scores.npy``, ``@scores.csv``).

    >>> read_array("1, 2.5 3", "pred"), read_array("[[1, 2]]", "pred").shape
    (array([1. , 2.5, 3. ]), (1, 2))
    """
    if text.startswith("@"):
        return _read_file(Path(os.path.expanduser(text[1:])), name)
    stripped = text.replace("，", ",").strip()  # the comma of a Chinese keyboard
    shown = repr(text if len(text) <= 60 else text[:60] + "...")
    try:
        if stripped.startswith("["):
            return _nested(stripped)
        numbers = [_number(word) for word in stripped.replace(",", " ").split()]
    except ValueError as wrong:
        raise ArgumentError(
            f"{name}: {shown} is not an array ({wrong}); write it as \"[1, 2, 3]\", '1 2 3' or @file.npy"
        ) from None
    if not numbers:
        raise ArgumentError(f'{name}: {shown} holds no number; write "[]" for an array of none')
    return np.array(numbers) if len(numbers) > 1 else np.array(numbers)[0]


def _number(word: str) -> bool | int | float:
    """Return the number of a word; an integer stays one if it fits into 64 bits."""
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    return int(word) if re.fullmatch(r"[+-]?\d{1,18}", word) else float(word)


def _nested(text: str) -> Any:
    """Return the array of a nested list, as JSON or Python write it: ``nan``, ``1.`` and ``True`` are numbers too."""
    try:
        listed = json.loads(re.sub(r"[^\[\],\s]+", lambda word: json.dumps(_number(word[0])), text))
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None
    try:
        return np.asarray(listed)
    except ValueError:
        raise ValueError("its rows have different lengths") from None


def _read_file(path: Path, name: str) -> Any:
    kind = path.suffix.lower()
    if kind not in (".npy", ".csv", ".txt"):
        raise DataError(f"{name}: cannot read {str(path)!r}: expected a file ending in .npy, .csv or .txt")
    try:
        if kind == ".npy":
            return np.load(path, allow_pickle=False)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of a file without a number
            # Spreadsheets begin a file with a byte-order mark.
            return np.loadtxt(path, delimiter="," if kind == ".csv" else None, encoding="utf-8-sig")
    except OSError as wrong:
        raise DataError(f"{name}: cannot read {str(path)!r}: {wrong.strerror or 'no such file'}") from None
    except (ValueError, EOFError, UserWarning):
        expected = (
            "an array of numbers written by numpy.save" if kind == ".npy" else "rows of numbers, without a header"
        )
        raise DataError(f"{name}: cannot read {str(path)!r}: expected {expected}") from None


def read_params(pairs: Iterable[str]) -> dict[str, Any]:
    """Return parameters from ``name=value`` pairs; a value is a Python literal or a word.

    >>> read_params(["delta=2", "full=true", "reduction=[1, 2]", "power=sqrt"])
    {'delta': 2, 'full': True, 'reduction': [1, 2], 'power': 'sqrt'}
    """
    found = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise ParameterError(f"--param: got {pair!r}, expected name=value, such as --param delta=2")
        if name.strip() in found:
            raise ParameterError(f"--param: {name.strip()} is given twice")
        found[name.strip()] = _value(text.strip(), name.strip())
    return found


def _value(text: str, name: str) -> Any:
    words = {"true": True, "false": False, "none": None, "inf": float("inf")}
    if text.lower() in words:
        return words[text.lower()]
    words_of_numbers = text.split()
    if text.startswith("@") or (len(words_of_numbers) > 1 and all(map(_is_number, words_of_numbers))):
        return read_array(text, name)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two: brackets without end
        return text


def by_name(words: Iterable[str], declared: Iterable[str]) -> list[str]:
    """Turn ``--name value value ...`` into one option each: ``--array "name=value value"`` unless it is declared.

    >>> by_name(["huber", "--pred", "-1", "2", "--weight", "1", "2"], {"--weight"})
    ['huber', '--array', 'pred=-1 2', '--weight', '1 2']
    """
    rest, found = list(words), []
    while rest:
        word = rest.pop(0)
        option, equals, value = word.partition("=")
        if not option.startswith("--") or option == "--":
            found.append(word)
            continue
        values = [value] if equals else [rest.pop(0)] if rest and not rest[0].startswith("--") else []
        while rest and _is_number(rest[0]):
            values.append(rest.pop(0))
        if option in declared:
            found += [option, " ".join(values)] if values else [option]
        else:
            found += ["--array", f"{option[2:].replace('-', '_')}={' '.join(values)}"]
    return found


def _is_number(word: str) -> bool:
    try:
        float(word.rstrip(","))
    except ValueError:
        return word.lower() in ("true", "false")
    return True


def assign(loss: Loss, pairs: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays and parameters of a loss from ``name=value`` pairs.

    Common names stand for arrays of other names where they are unambiguous: `pred` for the first array, `labels` for
    the target.
    """
    arrays: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        if not text:
            raise ArgumentError(f'--{name}: nothing given; write --{name} "[1, 2, 3]"')
        argument = array_name(loss, name)
        if argument in arrays or name in params:
            raise ArgumentError(f"{loss.name}: {argument or name} is given twice, the second time as --{name}")
        if argument is not None:
            arrays[argument] = read_array(text, argument)
        elif name in loss.defaults:
            params[name] = _value(text, name)
        else:
            known = [*loss.arguments, *loss.defaults]
            hint = suggest(name, known) or f": it takes {', '.join(known)}"
            raise ArgumentError(f"{loss.name}: no array or parameter {name!r}{hint}")
    missing = [name for name in loss.arguments if name not in arrays and name not in loss.optional]
    if missing:
        needed = " ".join(f'--{name} "[...]"' for name in loss.arguments)
        raise ArgumentError(f"{loss.name}: missing {', '.join(missing)}; give {needed}")
    return arrays, params


def array_name(loss: Loss, name: str) -> str | None:
    """Return the array of a loss that a name on the command line stands for; None if there is none."""
    if name in loss.arguments:
        return name
    if name in _FIRST:
        return loss.arguments[0]
    given = [argument for argument in loss.arguments if argument not in loss.optional]
    return given[-1] if name in _TARGET and len(given) > 1 else None

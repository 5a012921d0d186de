"""The command ``lossary diagnose``: findings about the arrays of one call of a loss."""

from __future__ import annotations

import json as jsonlib
import os.path
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.text import Text

import lossary
from lossary.catalogue import Loss
from lossary.cli.arrays import array_name, assign, read_array, read_params
from lossary.cli.catalogue import _LANG, _NAME, _PARAM, ArraysByName, language, loss_called
from lossary.cli.console import output
from lossary.errors import ArgumentError, DataError


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("diagnose", cls=ArraysByName)(diagnose)


def diagnose(
    name: Annotated[str, _NAME],
    file: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="The arrays in order, .npy, .csv or .txt; or one .npz that names them."),
    ] = None,
    array: Annotated[
        list[str] | None, typer.Option("--array", metavar="NAME=VALUE", help="An array by its name; repeat.")
    ] = None,
    param: Annotated[list[str] | None, _PARAM] = None,
    weight: Annotated[str | None, typer.Option(metavar="ARRAY", help="Numbers >= 0, one per example.")] = None,
    mask: Annotated[str | None, typer.Option(metavar="ARRAY", help="True (or 1) for examples that are kept.")] = None,
    save: Annotated[str | None, typer.Option(metavar="FILE", help="Write a page (.html) or the data (.json).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the data as JSON.")] = False,
    lang: Annotated[str, _LANG] = "en",
) -> None:
    """Show what is wrong with a call of a loss, or its main statistics if nothing is.

    Findings (probabilities for logits, labels that start at 1, ...); the first quantity that became infinite or NaN,
    with its example and numbers; the largest values; dead gradients; classes and their weights; and the score of a
    constant. Arrays are files in the order of the definition, or named as for `lossary explain`. The exit code is 1 if
    anything is wrong.

    Examples:

        lossary diagnose softmax_cross_entropy logits.npy labels.npy
        lossary diagnose bce --probs 0.2 0 0.9 --target 0 1 1
        lossary diagnose softmax_cross_entropy batch.npz --save found.html
        lossary diagnose huber pred.csv target.csv --param delta=2 --lang zh
    """
    tongue = language(lang)
    loss = loss_called(name)
    arrays, params = _arrays(loss, file or [], array or [])
    params |= read_params(param or ())
    for key, text in (("weight", weight), ("mask", mask)):
        if text is not None:
            arrays[key] = read_array(text, key)
    found = lossary.diagnose(loss, **arrays, **params, lang=tongue)
    if save is not None:
        found.save(save)
    if json:
        typer.echo(jsonlib.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        headings = {title for title, _ in found.sections()}
        console = output()
        for number, line in enumerate(str(found).splitlines()):
            style = "bold" if line in headings else ("bold green" if found else "bold red") if not number else ""
            console.print(Text(line, style=style), soft_wrap=True)
    if not found:
        raise typer.Exit(1)


def _arrays(loss: Loss, files: list[str], named: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays and parameters of a call from files in order, a file of named arrays, and arrays by name."""
    if len(files) == 1 and files[0].lower().endswith(".npz") and not named:
        return _archive(loss, Path(os.path.expanduser(files[0]))), {}
    if len(files) > len(loss.arguments):
        raise ArgumentError(f"{loss.name}: got {len(files)} files, expected {', '.join(loss.arguments)}")
    given = [f"{argument}=@{file}" for argument, file in zip(loss.arguments, files, strict=False)]
    return assign(loss, [*given, *named])


def _archive(loss: Loss, path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as held:
            found = {key: held[key] for key in held.files}
    except OSError as wrong:
        raise DataError(f"cannot read {str(path)!r}: {wrong.strerror or 'no such file'}") from None
    except (ValueError, EOFError):
        raise DataError(f"cannot read {str(path)!r}: expected arrays written by numpy.savez") from None
    known = {array_name(loss, key) or key: value for key, value in found.items()}
    missing = [name for name in loss.arguments if name not in known and name not in loss.optional]
    if missing and len(found) >= len(loss.arguments) and not any(name in known for name in loss.arguments):
        return dict(zip(loss.arguments, found.values(), strict=False))  # written without names, in order
    if missing:
        raise DataError(f"{str(path)!r} holds {', '.join(found)}; missing {', '.join(missing)} of {loss.name}")
    return {name: value for name, value in known.items() if name in (*loss.arguments, "weight", "mask")}

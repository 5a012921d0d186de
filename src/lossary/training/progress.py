"""The progress bar of a training run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from lossary.errors import MissingExtraError, ParameterError, require
from lossary.training.history import Epoch


@contextmanager
def progress_bar(progress: bool | Literal["auto"], epochs: int) -> Iterator[Callable[[Epoch], None]]:
    """Yield a function that shows an epoch; it does nothing where there is no terminal, or no rich to draw a bar."""
    if progress not in (True, False, "auto"):
        raise ParameterError(f'progress: got {progress!r}, expected True, False or "auto"')
    if progress is False or (progress == "auto" and not sys.stderr.isatty()):
        yield lambda record: None
        return
    try:
        console, rich = require("rich.console"), require("rich.progress")
    except MissingExtraError:
        if progress is True:
            raise
        yield lambda record: None
        return
    columns = (rich.BarColumn(), rich.MofNCompleteColumn(), rich.TextColumn("{task.description}"))
    with rich.Progress(*columns, rich.TimeRemainingColumn(), console=console.Console(stderr=True)) as bar:
        line = bar.add_task("", total=epochs)

        def show(record: Epoch) -> None:
            validated = "" if record.validation is None else f", validation {record.validation:.4g}"
            bar.update(line, advance=1, description=f"loss {record.loss:.4g}{validated}")

        yield show

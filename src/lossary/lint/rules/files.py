"""LOS9: files that could not be checked. The engine tells of them; there is nothing to look for."""

from __future__ import annotations

from collections.abc import Iterable

from lossary.lint.records import Problem, rule


@rule(
    "LOS901",
    "syntax-error",
    on=(),
    numbers="",
    wrong="import torch\nloss = torch.nn.MSELoss(\n",
    right="import torch\nloss = torch.nn.MSELoss()\n",
)
def syntax_error(event: object) -> Iterable[Problem]:
    """The file is no Python, so nothing in it was checked.

    A file that Python cannot parse is told of where it may hold losses. In Markdown, where fragments are usual, a block
    that does not parse is left out in silence; in a notebook only the cell is.
    """
    return ()


@rule("LOS902", "unreadable-file", on=(), numbers="", wrong="", right="")
def unreadable_file(event: object) -> Iterable[Problem]:
    """The file cannot be read, or not in the encoding it declares.

    Python would refuse to import it, too.
    """
    return ()


@rule("LOS903", "not-followed", on=(), numbers="", wrong="", right="")
def not_followed(event: object) -> Iterable[Problem]:
    """The file is too large, or nested too deeply to be followed.

    Generated code and data are sometimes like that. Exclude the file, or split it.
    """
    return ()

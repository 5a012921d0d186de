"""Where the commands print."""

from __future__ import annotations

import os
import sys

from rich.console import Console


def output(pipe: int = 120) -> Console:
    """Return a console as wide as the terminal; a pipe has no width and is given one."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    found = Console(highlight=False, width=pipe if piped else None)
    found.width = max(found.width, 20)  # COLUMNS=0 is said where nobody knows the width
    return found

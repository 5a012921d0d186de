"""Atomic file writes: a reader sees the old content or the new, never a part; what is no regular file is left alone."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from lossary.errors import ParameterError


def check_writable(path: str | Path) -> None:
    """Raise `ParameterError` now if `save_text` could not write there later.

    A folder, a device, a pipe or a socket is refused: a file would be moved over it.
    """
    target = Path(path)
    if target.is_dir():
        raise ParameterError(f"{path} is a folder; give the name of a file")
    if target.exists() and not target.is_file():
        kind = _kind(target.stat().st_mode)
        raise ParameterError(f"{path} is a {kind}, expected a regular file or a new name: a file would replace it")
    folder = (target.resolve() if target.is_symlink() else target).parent
    if not folder.is_dir():
        raise ParameterError(f"{path}: there is no folder {folder}")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ParameterError(f"{path} cannot be written: {error.strerror}") from error


def save_text(path: str | Path, text: str) -> None:
    """Write a file that a user has named, whole or not at all; `ParameterError` where that cannot be."""
    check_writable(path)
    write_atomic(path, text)


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it is filled, then moved into its place.

    A symbolic link is followed, so the file it points to changes. An existing file keeps its permissions; a new one
    gets those that the umask leaves. Text is UTF-8. Raises `OSError` if it cannot be written; then nothing has changed.
    """
    target = Path(path).resolve()
    data = content.encode() if isinstance(content, str) else content
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(draft, _permissions(target))
        os.replace(draft, target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _permissions(target: Path) -> int:
    """Return the mode of an existing file, or the one a new file would get."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


def _kind(mode: int) -> str:
    for test, name in (
        (stat.S_ISCHR, "device"),
        (stat.S_ISBLK, "device"),
        (stat.S_ISFIFO, "pipe"),
        (stat.S_ISSOCK, "socket"),
    ):
        if test(mode):
            return name
    return "special file"

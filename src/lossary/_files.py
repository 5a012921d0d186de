"""Atomic file writes: a reader sees the old content or the new, never a part; special files are left alone."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from contextlib import suppress
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


def write_atomic(path: str | Path, content: str | bytes, *, sync: bool = False) -> None:
    """Write a file of the user's whole or not at all.

    A symbolic link is followed, so the file it points to changes. An existing file keeps its permissions and, where
    this process may set it, its owner; a new one gets the permissions that the umask leaves. Text is UTF-8. With `sync`
    the content is on the disk before it takes the place of the old. Raises `OSError` if the file cannot be written;
    then nothing has changed.
    """
    target = Path(path).resolve()
    try:
        existing = target.stat()
    except FileNotFoundError:
        existing = None
    data = content.encode() if isinstance(content, str) else content
    replace_file(target, data, mode=0o666 if existing is None else 0o600, like=existing, sync=sync)


def replace_file(
    path: Path,
    content: bytes,
    *,
    mode: int,
    like: os.stat_result | None = None,
    sync: bool = False,
    dir_fd: int | None = None,
) -> None:
    """Create or replace a file by moving a finished draft over it; a process that reads sees all of it or none.

    The draft is created beside the file, under a random name, with `mode` less the umask; `like` gives it the
    permissions and the owner of another file. With `dir_fd`, `path` is relative to that open folder. No symbolic link
    is followed. Any number of processes may write the same file at once: one of them wins.
    """
    draft = path.with_name(f".lossary-{secrets.token_hex(8)}.draft")  # short: the file's own name may be the longest
    try:
        with os.fdopen(os.open(draft, _CREATE, mode, dir_fd=dir_fd), "wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        if like is not None:
            _imitate(draft, like)
        os.replace(draft, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft, dir_fd=dir_fd)
        raise


_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def _imitate(path: Path, like: os.stat_result) -> None:
    """Give a file the owner, if this process may, and the permissions of another."""
    if hasattr(os, "chown"):
        with suppress(OSError):
            os.chown(path, like.st_uid, like.st_gid)
    os.chmod(path, stat.S_IMODE(like.st_mode))  # after the owner: a change of owner clears some permissions


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

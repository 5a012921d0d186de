"""Cache of compiled kernels: a folder of this user, addressed by content, safe for many processes at once.

The kernels of common calls come with the package, made for a few kinds of processors by
`make kernels`. Others are compiled at first use and kept.

A file's name holds a hash of all that it is made of (`sources`), so a file that is there is right and is never written
again. It holds machine code (`objects`): a process that finds its kernels never imports the compiler. The folder is
``LOSSARY_CACHE``, or ``lossary`` in the system's place for caches.

Whoever can write to the cache can have code run as this user. So the folder, those inside it and every file must belong
to this user or to root and be writable by nobody else; links inside the folder are not followed. If that is not so, if
the folder cannot be written, or if there is none, kernels are compiled in memory, once per process, and one warning
says so.
"""

from __future__ import annotations

import ast
import errno
import hashlib
import importlib.util
import os
import re
import stat
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llvmlite import binding

from lossary._files import replace_file
from lossary.kernels.cpu.runtime.objects import COMPILER, levels, load
from lossary.kernels.request import KernelMissingError

_using_llvm = threading.RLock()
COMPILING = threading.Lock()  # of whoever makes a kernel: threads that want the same wait for the first


def _forget() -> None:
    """A child of a fork has the parent's lock as it was at that moment, but not the thread that would release it."""
    global _using_llvm
    _using_llvm = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def folder() -> Path | None:
    """The cache folder of this user; None where the environment names none and there is no home directory."""
    given = os.environ.get("LOSSARY_CACHE")
    if given:
        return Path(given)
    try:
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(base) / "lossary"


@cache
def _toolchain() -> str:
    """What compiled code depends on besides its source: the compiler, its settings, and the processor."""
    from importlib.metadata import version

    made_of = (version(COMPILER), version("llvmlite"), sys.version, binding.get_host_cpu_name(), str(sys.flags))
    features = binding.get_host_cpu_features().flatten()
    settings = sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_") and item[0] not in _IDLE)
    return repr((made_of, features, settings))


# Settings of the compiler that change nothing about the code.
_IDLE = {"NUMBA_NUM_THREADS", "NUMBA_CACHE_DIR", "NUMBA_THREADING_LAYER"}


# The modules of the package that some source imports, each with the names in brackets or on the line.
_IMPORTS = re.compile(r"^from (lossary[\w.]*) import (\([^)]*\)|[^\n#]*)", re.MULTILINE)
_PACKAGE = Path(__file__).parents[3]


@lru_cache(maxsize=64)
def sources(text: str) -> str:
    """Return a source with those of all modules of the package that it imports, directly or through others.

    Compiled code holds what it calls, so an edit of any of these makes another kernel.
    """
    found: dict[Path, str] = {}
    texts = [text]
    while texts:
        for module, names in _IMPORTS.findall(texts.pop()):
            for name in ("", *re.findall(r"(\w+)(?: as \w+)?", names)):
                path = _PACKAGE.joinpath(*f"{module}.{name}".split(".")[1:]).with_suffix(".py")
                if path not in found and path.is_file():
                    found[path] = _read(path)
                    texts.append(found[path])
    return "".join([text, *(found[path] for path in sorted(found))])


@cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def function(name: str, made_of: str, make: Callable[[], bytes], source: str = "") -> int:
    """Return the address of a kernel, which stays good for the process's life.

    It is one that came with the package, or is in the cache, or is made and put there. `made_of` says all that the
    machine code depends on, besides the toolchain, and `make` gives the object file. `source` is for people: it is
    written beside it.

    Raises `KernelMissingError` if it would have to be made, and there is no compiler.
    """
    with _using_llvm:
        held = _prebuilt(name, made_of)
        if held is not None:
            return load(held)
        if not COMPILES:
            raise KernelMissingError(f"{name}: this kernel has not come with the package, and there is no {COMPILER}")
        digest = hashlib.sha256((_toolchain() + made_of).encode()).hexdigest()[:20]
        shelf = _shelf(f"{name}-{digest}")
        try:
            held = None if shelf is None else _opened(shelf, f"{name}.kernel")
            if held is None:
                held = make()
                if shelf is not None:
                    files = {f"{name}.py": source.encode()} if source else {}
                    _write(shelf, {**files, f"{name}.kernel": _sealed(held)})
        finally:
            if shelf is not None:
                shelf.close()
        if collected is not None:
            collected[_prebuilt_name(name, made_of)] = _sealed(held)
        return load(held)


# --- kernels that come with the package -------------------------------------------------------------------------------

COMPILES = importlib.util.find_spec(COMPILER) is not None
collected: dict[str, bytes] | None = None  # where whoever builds the package gathers what is made, by file name


def prebuilt_folder() -> Path | None:
    """Where the kernels are that came with the package: a folder for each kind of processor; None to use none."""
    given = os.environ.get("LOSSARY_PREBUILT")
    return _PACKAGE / "kernels" / "cpu" / "prebuilt" if given is None else Path(given) if given else None


def _prebuilt_name(name: str, made_of: str) -> str:
    """Return a file name that says all the code is made of but the compiler: an edited source finds no old kernel."""
    return f"{name}-{hashlib.sha256(made_of.encode()).hexdigest()[:20]}.kernel"


def _prebuilt(name: str, made_of: str) -> bytes | None:
    base = prebuilt_folder()
    if base is None or collected is not None:
        return None
    for level in levels():
        with suppress(OSError):
            return _unsealed((base / f"{sys.platform}-{level}" / _prebuilt_name(name, made_of)).read_bytes())
    return None


def module(name: str, source: str) -> Any:
    """Return the functions of a generated source: the address of its kernel, and what in it is plain Python."""

    def make() -> bytes:
        from lossary.kernels.cpu.runtime import compile as compiler

        return compiler.source(name, source)

    plain = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and not node.decorator_list]
    held: dict[str, Any] = {}
    exec(compile(ast.Module([*plain], []), f"<lossary kernel {name}>", "exec"), held)
    address = function(name, sources(source), make, source)
    return SimpleNamespace(run=SimpleNamespace(address=address), **{node.name: held[node.name] for node in plain})


def written_by_hand(
    name: str, loops: str, variant: Any, make: Callable[[], bytes], prototype: Callable[[int], Any]
) -> Any:
    """Return a hand-written kernel as a C function of a prototype.

    `loops` is the module that holds it, `variant` what else it depends on. The module imports the compiler, so only
    `make` imports it, to compile.
    """
    package, _, module_name = loops.rpartition(".")
    made_of = repr((sources(f"from {package} import {module_name}"), variant))
    return prototype(function(name, made_of, make))


# --- files ----------------------------------------------------------------------------------------------------------

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_ANCHORED = os.name == "posix" and os.open in os.supports_dir_fd
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class _UntrustedError(OSError):
    """Something in the cache that others than this user may have made."""

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(errno.EPERM, f"{path} {fault}")


class _Folder:
    """A folder that is this user's alone.

    Where the system can, it is held open and everything inside is reached from there: what has been checked cannot be
    exchanged for something else before it is used.
    """

    def __init__(self, path: Path, parent: _Folder | None = None) -> None:
        self.path = path
        self.handle: int | None = None
        if not _ANCHORED:
            path.mkdir(0o700, parents=parent is None, exist_ok=True)
            _hold_to_owner(path, path.stat(), stat.S_ISDIR)
            return
        # The folder that the user has named may be a link; none inside it may.
        flags = os.O_RDONLY | os.O_DIRECTORY | (0 if parent is None else os.O_NOFOLLOW)
        where: Any = path if parent is None else path.name
        anchor = None if parent is None else parent.handle
        try:
            self.handle = os.open(where, flags, dir_fd=anchor)
        except FileNotFoundError:
            if parent is None:
                path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.mkdir(where, 0o700, dir_fd=anchor)
            self.handle = os.open(where, flags, dir_fd=anchor)
        try:
            _hold_to_owner(path, os.fstat(self.handle), stat.S_ISDIR)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the folder."""
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None

    def read(self, name: str) -> bytes | None:
        """Return what is in a file, or None if there is no such file."""
        try:
            descriptor = os.open(self._place(name), _READ, dir_fd=self.handle)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            _hold_to_owner(self.path / name, os.fstat(descriptor), stat.S_ISREG)
            return file.read()

    def write(self, name: str, content: bytes) -> None:
        """Write a file all at once: another process sees the whole of it or nothing."""
        replace_file(Path(self._place(name)), content, mode=0o600, dir_fd=self.handle)

    def _place(self, name: str) -> Any:
        return name if _ANCHORED else self.path / name


def _hold_to_owner(path: Path, found: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    """Raise `_UntrustedError` for what others can write, where permissions say so: on Windows they do not."""
    if not is_kind(found.st_mode):
        raise _UntrustedError(path, "is neither a folder nor a file as the cache makes them")
    if os.name != "posix":
        return
    if found.st_uid not in (0, os.geteuid()):
        raise _UntrustedError(path, "belongs to another user")
    if found.st_mode & _OTHERS_WRITE:
        raise _UntrustedError(path, "can be written by other users; chmod go-w ends that")


def _shelf(name: str) -> _Folder | None:
    """Return the folder of one kernel; None, and a warning, if there is none, or none to be trusted."""
    place = folder()
    if place is None:
        _say_once(None, FileNotFoundError(errno.ENOENT, "there is no home directory"))
        return None
    found: _Folder | None = None
    try:
        found = _Folder(place)
        for inner in ("kernels", name):
            outer, found = found, None
            try:
                found = _Folder(outer.path / inner, outer)
            finally:
                outer.close()
    except (OSError, ValueError) as failure:  # a name that no file can have is a ValueError
        _say_once(place, failure)
    return found


def _sealed(code: bytes) -> bytes:
    """Put a hash before the code, by which a file that was cut short or changed is recognised."""
    return hashlib.sha256(code).digest() + code


def _opened(shelf: _Folder, name: str) -> bytes | None:
    """Return the code in a file, or None if there is none that can be trusted."""
    try:
        held = shelf.read(name)
    except OSError as failure:
        _say_once(folder(), failure)
        return None
    if held is None:
        return None
    return _unsealed(held)


def _unsealed(held: bytes) -> bytes | None:
    seal, code = held[:32], held[32:]
    return code if hashlib.sha256(code).digest() == seal else None


def _write(shelf: _Folder, files: Mapping[str, bytes]) -> None:
    try:
        for name, content in files.items():
            shelf.write(name, content)
    except OSError as failure:
        _say_once(folder(), failure)


_said: set[Path | None] = set()


def _say_once(place: Path | None, failure: Exception) -> None:
    """Warn that a cache cannot be used as it should be; once, whatever else is wrong with it."""
    if place in _said:
        return
    _said.add(place)
    reason = getattr(failure, "strerror", None) or str(failure) or type(failure).__name__
    warnings.warn(
        f"lossary: the kernel cache{'' if place is None else f' {place}'} cannot be used ({reason}): kernels are "
        "compiled anew in every process; set LOSSARY_CACHE to a folder of yours that nobody else can write to",
        stacklevel=2,
    )

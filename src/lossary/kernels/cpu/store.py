"""Where compiled kernels live: a folder of this user, by content, safe for many processes at once.

A file's name holds a hash of all that it is made of, so a file that is there is right and is never written again. It
holds machine code, which `llvmlite` loads by itself in a few milliseconds: a process that finds its kernels never
imports the compiler. The folder is ``LOSSARY_CACHE``, or ``lossary`` in the system's place for caches. If it cannot be
written, kernels are compiled in memory, once per process, and a warning says so once.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llvmlite import binding

ENTRY = "lossary_run"  # what the one function of an object file is called
_COMPILER = "numba"
_using_llvm = threading.RLock()
COMPILING = threading.Lock()  # of whoever makes a kernel: threads that want the same wait for the first


def _forget() -> None:
    """A child of a fork has the parent's lock as it was at that moment, but not the thread that would release it."""
    global _using_llvm
    _using_llvm = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def folder() -> Path:
    """The cache folder of this user."""
    given = os.environ.get("LOSSARY_CACHE")
    if given:
        return Path(given)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lossary"


@cache
def _ground() -> str:
    """What compiled code depends on besides its own source: the compiler, the processor, the functions it calls."""
    from importlib.metadata import version

    files = ("scalar.py", "turning.py", "compiling.py", "../gamma.py")
    own = b"".join((Path(__file__).parent / name).read_bytes() for name in files)
    made_of = (version(_COMPILER), version("llvmlite"), sys.version, binding.get_host_cpu_name(), str(sys.flags))
    features = binding.get_host_cpu_features().flatten()
    settings = sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_") and item[0] not in _IDLE)
    return hashlib.sha256(repr((made_of, features, settings)).encode() + own).hexdigest()


# Settings of the compiler that change nothing about the code.
_IDLE = {"NUMBA_NUM_THREADS", "NUMBA_CACHE_DIR", "NUMBA_THREADING_LAYER"}


def function(name: str, made_of: str, make: Callable[[], bytes], source: str = "") -> int:
    """Return the address of a kernel, from the cache or made and put there; it stays good for the process's life.

    `made_of` says all that the machine code depends on, besides what every kernel does, and `make` gives the object
    file. `source` is for people: it is written beside it.
    """
    digest = hashlib.sha256((_ground() + made_of).encode()).hexdigest()[:20]
    home = folder() / "kernels" / f"{name}-{digest}"
    path = home / f"{name}.kernel"
    with _using_llvm:
        try:
            held = _opened(path)
        except OSError:
            held = None
        if held is None:
            held = make()
            try:
                if source:
                    _write(home / f"{name}.py", source.encode())
                _write(path, _sealed(held))
            except OSError as failure:
                _say_once(str(folder()), failure.strerror or type(failure).__name__)
        return _load(held)


def module(name: str, source: str) -> Any:
    """Return the functions of a generated source: the address of its kernel, and what in it is plain Python."""

    def make() -> bytes:
        from lossary.kernels.cpu import compiling

        return compiling.source(name, source)

    plain = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and not node.decorator_list]
    held: dict[str, Any] = {}
    exec(compile(ast.Module([*plain], []), f"<lossary kernel {name}>", "exec"), held)
    address = function(name, source, make, source)
    return SimpleNamespace(run=SimpleNamespace(address=address), **{node.name: held[node.name] for node in plain})


# --- files ----------------------------------------------------------------------------------------------------------


def _sealed(code: bytes) -> bytes:
    """Put a hash before the code, by which a file that was cut short or changed is told."""
    return hashlib.sha256(code).digest() + code


def _opened(path: Path) -> bytes | None:
    """Return the code in a file, or None if there is none that can be trusted."""
    if not path.exists():
        return None
    held = path.read_bytes()
    seal, code = held[:32], held[32:]
    return code if hashlib.sha256(code).digest() == seal else None


def _write(path: Path, content: bytes) -> None:
    """Write a file all at once: another process sees the whole of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, suffix=".draft")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(draft, path)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise


@cache
def _say_once(place: str, failure: str) -> None:
    warnings.warn(
        f"lossary: the kernel cache {place} cannot be written ({failure}): kernels are compiled anew in every process; "
        "set LOSSARY_CACHE to a folder that can",
        stacklevel=2,
    )


# --- machine code ---------------------------------------------------------------------------------------------------

_engines: list[Any] = []  # the code lives as long as what loaded it


def packed(code: bytes, needs: list[str]) -> bytes:
    """Return an object file with the names of what it calls outside itself."""
    return json.dumps(needs).encode() + b"\n" + code


def _load(held: bytes) -> int:
    """Bring an object file into the process and return the address of its function."""
    needs, _, code = held.partition(b"\n")
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    if any(binding.address_of_symbol(name) is None for name in json.loads(needs)):
        __import__(_COMPILER)  # brings helpers for what the C library of this platform lacks
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    address = engine.get_function_address(ENTRY)
    assert address, "an object file of the kernel cache has no entry"
    return int(address)


def machine() -> Any:
    """A code generator for this processor, set up as the compiler sets up its own."""
    x86 = binding.get_process_triple().startswith(("x86", "i"))
    return binding.Target.from_triple(binding.get_process_triple()).create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        reloc="static" if x86 else "default",
        codemodel="jitdefault",
        jit=True,
    )

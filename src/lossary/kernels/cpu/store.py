"""Where generated modules live: a folder of this user, by content, safe for many processes at once.

A file's name holds a hash of all that it is made of, so a file that is there is right and is never written again. The
folder is ``LOSSARY_CACHE``, or ``lossary`` in the system's place for caches. If it cannot be written, modules are
compiled in memory, once per process, and a warning says so once.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import types
import warnings
from functools import cache
from pathlib import Path
from typing import Any


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
    import llvmlite
    import numba
    from llvmlite import binding

    own = (Path(__file__).parent / "scalar.py").read_bytes()
    made_of = (numba.__version__, llvmlite.__version__, sys.version, binding.get_host_cpu_name(), str(sys.flags))
    features = binding.get_host_cpu_features().flatten()
    return hashlib.sha256(repr((made_of, features)).encode() + own).hexdigest()


def module(name: str, source: str) -> Any:
    """Return the module of a source, from the cache or compiled into it."""
    digest = hashlib.sha256((_ground() + source).encode()).hexdigest()[:20]
    home = folder() / "kernels" / f"{name}-{digest}"
    path = home / f"{name}.py"
    try:
        if not path.exists():
            _write(path, source)
        return _load(path)
    except OSError as failure:
        _say_once(str(folder()), str(failure))
        made = types.ModuleType(f"lossary_kernel_{name}")
        exec(compile(source.replace("cache=True", "cache=False"), f"<lossary kernel {name}>", "exec"), made.__dict__)
        return made


def _write(path: Path, source: str) -> None:
    """Write a file all at once: another process sees the whole of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, suffix=".draft")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(source)
        os.replace(draft, path)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise


def _load(path: Path) -> Any:
    name = f"lossary_kernel_{path.parent.name.replace('-', '_')}"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None and specification.loader is not None
    made = importlib.util.module_from_spec(specification)
    sys.modules[name] = made  # where the compiler's cache looks the function's module up
    specification.loader.exec_module(made)
    return made


@cache
def _say_once(place: str, failure: str) -> None:
    warnings.warn(
        f"lossary: the kernel cache {place} cannot be written ({failure}): kernels are compiled anew in every process; "
        "set LOSSARY_CACHE to a folder that can",
        stacklevel=2,
    )

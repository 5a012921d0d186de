"""Description of the machine that figures depend on: processor, caches, versions, threads, and other load."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lossary
from lossary.kernels.cpu.runtime.threads import default_count

_PACKAGES = ("numpy", "numba", "torch", "jax", "jaxlib", "optax", "scikit-learn")
_VARIABLES = ("LOSSARY_KERNELS", "LOSSARY_POOL", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS")
_BUSY = 0.25  # processors used by others, from which the page warns


def describe() -> dict[str, Any]:
    """Return the facts of the machine, by name; nothing in them tells whose it is."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "caches": dict(_caches()),
        "memory (GiB)": _memory(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        "versions": {"python": platform.python_version(), "lossary": lossary.__version__, **dict(_versions())},
        "threads": _threads(),
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor() or platform.machine()


def _caches() -> Iterator[tuple[str, str]]:
    """The caches that one processor sees, on Linux."""
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            yield f"L{level}", size


def _memory() -> float | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue


def _threads() -> dict[str, int]:
    """How many threads each library uses, of those that are loaded."""
    found = {"lossary": default_count()}
    if "torch" in sys.modules:
        found["torch"] = sys.modules["torch"].get_num_threads()
    return found


@dataclass(frozen=True)
class Moment:
    """How many seconds of the processors were used until now: by everybody, and by this process and its children."""

    clock: float
    used: float | None
    own: float

    def others(self) -> float | None:
        """Return how many processors somebody else kept busy since then, on average; None where nobody counts."""
        now = moment()
        if self.used is None or now.used is None:
            return None
        elapsed = max(now.clock - self.clock, 1e-9)
        return max(0.0, (now.used - self.used - (now.own - self.own)) / elapsed)


def moment() -> Moment:
    """Return the counts of this moment."""
    taken = os.times()
    return Moment(time.perf_counter(), _used(), sum(taken[:4]))


def _used() -> float | None:
    """Seconds of all processors that were not idle, on Linux: what a hypervisor took away included."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _idle, _wait, *interrupts = map(int, stat.read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def load() -> float | None:
    """Return the load average of the last minute, where there is one."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def busy_note(load_before: float | None, others: float | None) -> str:
    """Return a sentence if the machine had something else to do, or nothing.

    >>> busy_note(0.1, 0.0), busy_note(2.0, 0.0)
    ('', 'The machine was busy: load average 2 before the start. Measure again when it is idle.')
    """
    signs = []
    if load_before is not None and load_before > 2 * _BUSY:
        signs.append(f"load average {load_before:g} before the start")
    if others is not None and others > _BUSY:
        signs.append(f"others used {others:.1f} processors meanwhile")
    return f"The machine was busy: {', '.join(signs)}. Measure again when it is idle." if signs else ""

"""Peak memory of one call: how far resident memory rises, in a child process of each contender.

Each contender has a child process, which goes through the cases: it opens one, calls once (what is compiled or loaded
then is not the call's), has the kernel set the mark back to what is resident (Linux: ``/proc/self/clear_refs``), calls
again, and prints how far the mark rose, the returned gradient included, inputs not. malloc is told to give freed
blocks back at once, and Lossary to keep none for later results, so that they do not count as resident. tracemalloc
would not do: it sees NumPy's arrays, but neither those of torch and JAX nor what compiled code takes. Elsewhere than on
Linux nothing is measured.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks.cases import BOTH, Options, Run

ROOT = Path(__file__).resolve().parent.parent  # where a child process finds this package

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_SETTINGS = {
    "LOSSARY_POOL": "0",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_ARENA_MAX": "2",
}
_CHILD = "import sys; from benchmarks import memory; memory.main(memory.say, sys.argv[1:])"


def measurable() -> bool:
    """Whether this system can tell."""
    return os.access(_CLEAR, os.W_OK)


def _resident(what: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) << 10


def peak(run: Run) -> int:
    """Return how many bytes more than before are resident at most during a call, the second one."""
    run()
    gc.collect()
    _CLEAR.write_text("5")
    before = _resident("VmRSS")
    result = run()
    highest = _resident("VmHWM")
    del result
    return max(0, highest - before)


def peaks(suite: str, key: str, options: Options, seconds: float) -> dict[int, int]:
    """Return the peak of value and gradient by the number of the case, from a child that has so much time at most.

    A case that is missing was not reached in time, or failed.
    """
    command = [sys.executable, "-c", _CHILD, suite, key, json.dumps(asdict(options))]
    child = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **_SETTINGS}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    timer = threading.Timer(seconds, child.kill)
    timer.start()
    try:
        assert child.stdout is not None
        return {int(case): int(taken) for case, taken in map(str.split, child.stdout)}
    finally:
        timer.cancel()
        child.kill()
        child.wait()


def measured(suite: str, key: str, options: Options) -> Iterator[tuple[int, int]]:
    """Yield the number of each case and its peak."""
    from benchmarks.suites import SUITES

    for number, case in enumerate(SUITES[suite].cases(options)):
        contender = case.open().contender(key)
        if contender is not None and BOTH in contender.runs:
            yield number, peak(contender.runs[BOTH])
        del contender  # its arrays go before the next ones come


def main(told: Callable[[str], object], arguments: list[str]) -> None:
    """Measure for one contender and tell a line for each case; the arguments are suite, contender and options."""
    suite, key, text = arguments
    given = json.loads(text)
    options = Options(**given | {name: tuple(map(_tuple, given[name])) for name in ("sizes", "losses")})
    warnings.simplefilter("ignore")  # the parent has seen them
    for number, taken in measured(suite, key, options):
        told(f"{number} {taken}\n")


def _tuple(x: object) -> object:
    return tuple(x) if isinstance(x, list) else x


def say(line: str) -> None:
    """Print a line at once: the parent keeps what was told before the time was up."""
    sys.stdout.write(line)
    sys.stdout.flush()

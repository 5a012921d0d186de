"""Benchmark of start-up: imports, and first calls with an empty and with a filled kernel cache.

Everything happens in fresh processes, which look at the clock themselves and print what they measured.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.cases import Answer, Case, Contender, Options, Timed, read
from benchmarks.contenders import LossProblem
from benchmarks.memory import ROOT
from lossary.errors import LossaryError

LOSSES = ("import", "huber", "softmax_cross_entropy")
IMPORT, COLD, WARM = "import", "first call, empty cache", "first call, filled cache"

_IMPORTS = {
    "arrays": "lossary",
    "tensors": "lossary.nn",
    "torch": "torch",
    "jax": "jax, optax",
    "numpy": "numpy",
    "sklearn": "sklearn._loss",
}
_IMPORTING = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
_CALLING = "from benchmarks.start import first_call; print(*first_call({!r}, {!r}, {!r}))"
# Where each of the compilers keeps what it compiled.
_CACHES = ("LOSSARY_CACHE", "TORCHINDUCTOR_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR")


def _fresh(code: str, cache: Path | None = None) -> list[float]:
    """Run code in a process of its own and return the numbers it prints."""
    environment = dict(os.environ)
    if cache is not None:
        environment.update({name: str(cache / name) for name in _CACHES})
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        ended = f"its process ended with {ran.returncode}"
        raise LossaryError((ran.stderr.strip() or ended).splitlines()[-1])
    return [float(word) for word in ran.stdout.split()[-2:]]


def first_call(key: str, loss: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return the seconds of the first value and gradient of this process, libraries loaded; and the value."""
    import time

    problem = _problem(loss, shape)
    contender = problem.contender(key)
    assert contender is not None and contender.read is not None
    run = contender.runs["value and gradient"]
    start = time.perf_counter()
    result = run()
    spent = time.perf_counter() - start
    return spent, contender.read(result).value


def _problem(loss: str, shape: tuple[int, ...]) -> LossProblem:
    from benchmarks import inputs

    arrays = inputs.rows(shape, "float32") if len(shape) > 1 else inputs.pointwise(loss, shape, "float32")
    return LossProblem(loss, *arrays, "float32")


class _Imports:
    def reference(self) -> None:
        return None

    def contender(self, key: str) -> Contender | None:
        if key not in _IMPORTS:
            return None

        def run() -> Timed:
            (seconds,) = _fresh(_IMPORTING.format(_IMPORTS[key]))
            return Timed(seconds)

        return Contender({IMPORT: run}, lambda result: Answer(0.0))


@dataclass
class _FirstCalls:
    loss: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        # Filled caches stay for as long as the case is open.
        self._folder = Path(tempfile.mkdtemp(prefix="lossary-bench-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def reference(self) -> Answer:
        return Answer(_problem(self.loss, self.shape).reference().value)

    def contender(self, key: str) -> Contender | None:
        code = _CALLING.format(key, self.loss, self.shape)

        def cold() -> Timed:
            with tempfile.TemporaryDirectory(prefix="lossary-bench-") as folder:
                return self._timed(code, Path(folder))

        def warm() -> Timed:
            return self._timed(code, self._folder / key)

        return Contender({COLD: cold, WARM: warm}, lambda result: read(result.answer))

    def _timed(self, code: str, cache: Path) -> Timed:
        seconds, value = _fresh(code, cache)
        return Timed(seconds, value)


def cases(options: Options) -> list[Case]:
    """Imports, and first calls of a pointwise loss and of one on rows, on about a million numbers."""
    shapes: dict[str, tuple[int, ...]] = {"huber": (1 << 20,), "softmax_cross_entropy": (1024, 1000)}
    if options.quick:
        shapes = {"huber": (20_000,)}
    found = [Case("import", (), options.dtype, _Imports, modes=(IMPORT,))]
    for loss, shape in shapes.items():
        found.append(Case(loss, shape, options.dtype, partial(_FirstCalls, loss, shape), modes=(COLD, WARM)))
    return [case for case in found if not options.losses or case.loss in options.losses]

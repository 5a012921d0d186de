"""Timing of contenders in turns: the load of the machine meets all of them alike, and the median counts."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.cases import Run, Timed
from lossary.kernels.cpu.runtime import threads

LEAST, MOST = 3, 301  # samples of one contender
_LONG = 10.0  # seconds of a call that is sampled only once
_SAMPLE = 1e-3  # seconds that a sample takes at least: shorter calls are repeated
_PAUSE = 5e-3  # threads of one contender may go on spinning for a while when it is done


@dataclass(frozen=True)
class Times:
    """Seconds of a call: the median, the quartiles around it, and how many samples there are."""

    median: float
    low: float
    high: float
    samples: int


def summary(seconds: list[float]) -> Times:
    """Summarise samples.

    >>> summary([3.0, 1.0, 2.0])
    Times(median=2.0, low=1.5, high=2.5, samples=3)
    """
    if len(seconds) == 1:
        return Times(seconds[0], seconds[0], seconds[0], 1)
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Times(median, low, high, len(seconds))


class _Stopwatch:
    """Times one contender, calls shorter than a sample several at once."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.repeat = 1
        self.samples: list[float] = []
        self.wall = self.sample()
        while self.wall < _SAMPLE / 2:  # too short to tell the time by
            self.repeat *= max(2, math.ceil(_SAMPLE / max(self.wall, 1e-7)))
            self.samples.clear()
            self.wall = self.sample()

    def sample(self) -> float:
        """Take a sample, and return the seconds it took in all."""
        run, repeat = self.run, self.repeat
        start = time.perf_counter()
        for _ in range(repeat - 1):
            run()
        result = run()
        told = result.seconds if isinstance(result, Timed) else None
        del result  # giving memory back belongs to the call
        spent = time.perf_counter() - start
        self.samples.append(spent / repeat if told is None else told)
        pause = min(_PAUSE, spent / 4)
        if told is None and spent > _SAMPLE * 2:
            time.sleep(pause)
            spent += pause
        return spent


def alternate(runs: Mapping[str, Run], seconds: float) -> dict[str, list[float]]:
    """Return the seconds of a call, by contender, sampled in turns for about the given time in all.

    Each contender has the same share of the time, so a slow one gives fewer samples, but at least `LEAST`, or one if a
    call takes many seconds; they are spread evenly over the rounds. Everything was called before:
    nothing here is to be warmed up.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        watches = {name: _Stopwatch(run) for name, run in runs.items()}
        spent = sum(watch.wall for watch in watches.values())
        share = max(seconds - spent, 0.0) / len(watches)
        least = {name: LEAST - 1 if watch.wall < _LONG else 0 for name, watch in watches.items()}
        wanted = {name: min(max(int(share / watch.wall), least[name]), MOST) for name, watch in watches.items()}
        rounds = max(wanted.values())
        order = list(watches)
        for number in range(rounds):
            turn = number % len(order)
            for name in order[turn:] + order[:turn]:
                count = wanted[name]
                if number * count // rounds != (number + 1) * count // rounds:
                    watches[name].sample()
        return {name: watch.samples for name, watch in watches.items()}
    finally:
        if collecting:
            gc.enable()


def copying(nbytes: int) -> Run:
    """Return a run that copies an array of this size by all processors, both arrays being there.

    >>> copying(1024)()
    """
    source, target = np.ones(nbytes, np.uint8), np.zeros(nbytes, np.uint8)
    blocks = 64
    step = -(-nbytes // blocks)

    def part(first: int, last: int) -> int:
        np.copyto(target[first * step : last * step], source[first * step : last * step])
        return 0

    def run() -> None:
        threads.share(part, blocks, threads.default_count())

    return run

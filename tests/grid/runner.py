"""Running cells in processes, catching those that die, and shrinking what fails."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import budget, drop_ins, tables
from .tables import Cell

PATIENCE = 120.0  # seconds for one cell, its compilation included


@dataclass(frozen=True)
class Outcome:
    """What came of a cell."""

    cell: Cell
    state: str  # passed, refused, failed
    kind: str = ""
    text: str = ""
    trace: str = ""
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        return self.state == "failed"

    def __str__(self) -> str:
        return f"{self.kind}\n  {self.text}\n  {reproducer(self.cell)}"


def reproducer(cell: Cell) -> str:
    """The command that runs one cell again."""
    base = plainest(cell["subject"])
    told = {k: v for k, v in cell.items() if k == "subject" or v != base.get(k)}
    return f"PYTHONPATH=tests python -m grid --cell {shlex.quote(json.dumps(told))}"


def plainest(subject: str) -> Cell:
    return drop_ins.plainest(subject) if subject.startswith("F.") else tables.plainest(subject)


def _start(kernels: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "LOSSARY_KERNELS": "" if kernels == "on" else kernels}
    environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", "grid.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def run(
    cells: Sequence[Cell], patience: float = PATIENCE, stop: Callable[[], bool] = lambda: False, crash: int = -1
) -> Iterator[Outcome]:
    """Run cells of one setting of kernels; a process that dies is followed by another for those that are left.

    The process is told to die at the cell with the number `crash`: how the runner is tested.
    """
    left = list(cells)
    while left and not stop():
        assert len({c["kernels"] for c in left}) == 1
        process = _start(left[0]["kernels"])
        assert process.stdin and process.stdout and process.stderr
        lines: queue.Queue[str | None] = queue.Queue()
        said: list[str] = []

        def read(stream: Any = process.stdout, lines: Any = lines) -> None:
            for line in stream:
                lines.put(line)
            lines.put(None)

        def keep(stream: Any = process.stderr, said: Any = said) -> None:
            said.extend(stream)

        readers = [threading.Thread(target=work, daemon=True) for work in (read, keep)]
        for reader in readers:
            reader.start()
        try:
            while left and not stop():
                cell = left[0]
                try:
                    dies = {"die": True} if len(cells) - len(left) == crash else {}
                    process.stdin.write(json.dumps({**cell, **dies}) + "\n")
                    process.stdin.flush()
                    lines.get(timeout=patience)
                    answer = lines.get(timeout=patience)
                except (BrokenPipeError, queue.Empty) as error:
                    answer = None if isinstance(error, BrokenPipeError) else ""
                left.pop(0)
                if answer:
                    yield Outcome(cell, **json.loads(answer))
                    continue
                if answer == "":
                    process.kill()
                    yield Outcome(cell, "failed", "the process hangs", f"no answer in {patience:g} s")
                else:
                    process.wait()
                    told = "".join(said)[-800:]
                    yield Outcome(cell, "failed", f"the process dies ({process.returncode})", told)
                break
        finally:
            _end(process)
            for reader in readers:
                reader.join()
            process.stdout.close()
            process.stderr.close()


def _end(process: subprocess.Popen[str]) -> None:
    """End a process that waits for the next cell, or does not answer."""
    assert process.stdin
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def shrink(failure: Outcome, tries: int = 60) -> Outcome:
    """Return the simplest cell found that fails in the same way."""
    best = failure
    plain = plainest(failure.cell["subject"])
    changed = True
    while changed and tries > 0:
        changed = False
        candidates = []
        for name, value in plain.items():
            if name not in ("subject", "kernels") and best.cell[name] != value:
                candidate = budget.fit({**best.cell, name: value})
                if candidate != best.cell and candidate not in candidates:
                    candidates.append(candidate)
        for outcome in run(candidates[:tries]):
            tries -= 1
            if outcome.failed and outcome.kind == best.kind:
                best, changed = outcome, True
                break
    return best

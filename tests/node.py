"""Runs JavaScript under Node, for the tests of what is emitted and of the explorer."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="Node is not installed: apt-get install nodejs")

# JSON has no infinities and no NaN: they travel as words.
_READ = """
const given = JSON.parse(require("fs").readFileSync(0, "utf8"), (_, x) =>
  x === "inf" ? Infinity : x === "-inf" ? -Infinity : x === "nan" ? NaN : x);
const said = (_, x) => x instanceof Float64Array ? Array.from(x)
  : typeof x === "number" && !Number.isFinite(x) ? (x !== x ? "nan" : x > 0 ? "inf" : "-inf") : x;
"""
_WRITE = "\nconsole.log(JSON.stringify(answer(given), said));\n"


def run(folder: Path, script: str, given: Any) -> Any:
    """Return what the function ``answer`` of a script returns for some data."""
    assert NODE is not None
    path = folder / "script.js"
    path.write_text(script + _READ + _WRITE, "utf-8")
    done = subprocess.run(
        [NODE, str(path)], input=json.dumps(_sent(given)), capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return _received(json.loads(done.stdout))


def _sent(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _sent(held) for key, held in x.items()}
    if isinstance(x, (list, tuple)):
        return [_sent(part) for part in x]
    if isinstance(x, float) and not math.isfinite(x):
        return "nan" if math.isnan(x) else "inf" if x > 0 else "-inf"
    return x


def _received(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _received(held) for key, held in x.items()}
    if isinstance(x, list):
        return [_received(part) for part in x]
    return float(x) if x in ("nan", "inf", "-inf") else x

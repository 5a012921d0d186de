"""The kernel cache: what is kept is found again, whatever happened to it; and who may have put it there.

Machine code is run from where nobody but this user, or root, can have put it; else it is made anew, in memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba", reason="kernels need the fast extra")
if os.name != "posix":
    pytest.skip("permissions are those of POSIX", allow_module_level=True)

# --- what is kept -----------------------------------------------------------------------------------------------------

STORED = """
import json, sys, warnings
import numpy as np, lossary
x = np.linspace(-3, 3, 20000, dtype=np.float32)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    value = lossary.huber.value_and_grad(x, x[::-1].copy(), reduction="mean")[0]
    lossary.huber.value_and_grad(x, x[::-1].copy(), reduction="sum")
print(json.dumps({"value": float(value), "said": [str(w.message) for w in said], "numba": "numba" in sys.modules}))
"""


def reads_like_the_definition(source: str) -> None:
    for line in (
        "residual = pred - target",
        "size = abs(residual)",
        "clipped = minimum(size, delta)",
        "value = clipped * (size - T(0.5) * clipped)",
        "slope = sign(residual) * clipped",
    ):
        assert f"        {line}\n" in source
    assert source.startswith('"""huber: their sum and gradient, in float32.')
    assert "block_sum = plus(block_sum, types.float64(value))" in source
    compile(source, "huber.py", "exec")


def start(cache: Path | str, probe: str = STORED, **more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "LOSSARY_CACHE": str(cache), "LOSSARY_KERNELS": "", **more}
    return subprocess.Popen([sys.executable, "-c", probe], stdout=subprocess.PIPE, text=True, env=environment)


def answer(process: subprocess.Popen[str]) -> Any:
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return json.loads(out)


def test_processes_that_start_at_once_share_a_cache_and_later_ones_find_it(tmp_path: Path) -> None:
    together = [answer(process) for process in [start(tmp_path) for _ in range(3)]]
    assert len({found["value"] for found in together}) == 1 and all(not found["said"] for found in together)
    (source,) = tmp_path.rglob("huber.py")  # a mean and a sum are one kernel
    assert not list(tmp_path.rglob("*.draft"))
    reads_like_the_definition(source.read_text())
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.kernel")}
    assert {path.stem for path in written} == {"huber", "block_sums"}, "the loss, and what adds up its pieces"
    assert answer(start(tmp_path)) == {**together[0], "numba": False}, "the compiler is not even imported"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.kernel")} == written, "compiled again"


@pytest.mark.parametrize("damage", [lambda held: held[:1000], lambda held: held[:-1] + b"?", lambda held: b""])
def test_a_damaged_file_of_the_cache_is_made_anew(damage: Any, tmp_path: Path) -> None:
    first = answer(start(tmp_path))
    (path,) = tmp_path.rglob("huber.kernel")
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    again = answer(start(tmp_path))
    assert again["value"] == first["value"] and again["numba"]
    assert answer(start(tmp_path))["numba"] is False


def test_a_cache_that_cannot_be_written_costs_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    found = answer(start(tmp_path / "file" / "inside"))
    assert len(found["said"]) == 1 and "LOSSARY_CACHE" in found["said"][0]
    assert found["numba"]


def test_kernels_can_be_switched_off_and_numba_may_be_missing(tmp_path: Path) -> None:
    off = answer(start(tmp_path, LOSSARY_KERNELS="off"))
    missing = answer(
        start(tmp_path, "import sys; sys.modules['numba'] = None\n" + STORED.replace('"numba" in', "False and"))
    )
    assert not off["numba"] and not list(tmp_path.iterdir())
    assert off["value"] == missing["value"]


WITHOUT_COMPILER = """
import sys; sys.modules["numba"] = None
import json, torch
from lossary import nn
from lossary.nn import functional as ours
theirs = torch.nn.functional
torch.manual_seed(0)
rows, labels = torch.randn(300, 50), torch.randint(50, (300,))
steps = torch.randn(50, 4, 20).log_softmax(-1)
targets, lengths = torch.randint(1, 20, (4, 10)), (torch.full((4,), 50), torch.full((4,), 10))
listed = torch.full((300, 50), -1)
listed[:, 0] = labels
calls = {
    "cross_entropy": lambda f: f.cross_entropy(rows, labels),
    "half": lambda f: f.cross_entropy(rows.bfloat16(), labels).float(),
    "nll_loss": lambda f: f.nll_loss(rows.log_softmax(1), labels, weight=torch.ones(50)),
    "multilabel_margin_loss": lambda f: f.multilabel_margin_loss(rows, listed),
    "huber_loss": lambda f: f.huber_loss(rows, rows.flip(0)),
    "ctc_loss": lambda f: f.ctc_loss(steps, targets, *lengths),
}
found = {name: abs(float(call(ours) - call(theirs))) for name, call in calls.items()}
adaptive = [module.AdaptiveLogSoftmaxWithLoss(16, 100, [20, 50]) for module in (nn, torch.nn)]
adaptive[0].load_state_dict(adaptive[1].state_dict())
hidden, classes = torch.randn(300, 16), torch.randint(100, (300,))
found["adaptive"] = abs(float(adaptive[0](hidden, classes).loss - adaptive[1](hidden, classes).loss))
print(json.dumps(found))
"""


def test_without_a_compiler_everything_is_computed(tmp_path: Path) -> None:
    """LLVM alone loads kernels that have come with the package; here none has."""
    found = answer(start(tmp_path, WITHOUT_COMPILER, LOSSARY_PREBUILT=str(tmp_path)))
    assert len(found) == 7 and all(apart < 2e-2 if name == "half" else apart < 1e-5 for name, apart in found.items()), (
        found
    )
    assert not list(tmp_path.iterdir())


def test_the_cache_is_where_the_system_keeps_caches(tmp_path: Path) -> None:
    answer(start("", XDG_CACHE_HOME=str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == (["lossary"] if sys.platform == "linux" else [])


ROWS = """
import json, sys
import numpy as np, lossary
logits = np.linspace(-3, 3, 128000, dtype=np.float32).reshape(128, 1000)
value, grad = lossary.softmax_cross_entropy.value_and_grad(logits, np.arange(128), reduction="mean")
print(json.dumps({"value": float(value), "grad": float(abs(grad).sum()), "numba": "numba" in sys.modules}))
"""


def test_a_kernel_written_by_hand_is_kept_as_well(tmp_path: Path) -> None:
    found = [answer(start(tmp_path, ROWS)) for _ in range(2)]
    assert found[0] == {**found[1], "numba": True} and not found[1]["numba"]
    assert [path.name for path in tmp_path.rglob("*.kernel")] == ["softmax_rows.kernel"], "one layout, one type"


# --- whose it is ------------------------------------------------------------------------------------------------------

PROBE = """
import json, sys, warnings
import numpy as np, lossary
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    value = lossary.squared_error.value_and_grad(np.ones(20000), np.zeros(20000), reduction="mean")[0]
    lossary.absolute_error.value_and_grad(np.ones(20000), np.zeros(20000), reduction="mean")
print(json.dumps({"value": float(value), "said": [str(w.message) for w in said], "compiled": "numba" in sys.modules}))
"""


def probe(cache: Path | None, before: str = "", **more: str) -> Any:
    """Compute in a fresh process with a cache, and tell what it said and whether it had to compile."""
    environment = {**os.environ, "LOSSARY_KERNELS": "", **more}
    environment.pop("LOSSARY_CACHE", None)
    if cache is not None:
        environment["LOSSARY_CACHE"] = str(cache)
    run = [sys.executable, "-c", before + PROBE]
    found = json.loads(subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout)
    assert found["value"] == 1.0
    return found


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that has all that the probe needs."""
    cache = tmp_path_factory.mktemp("cache") / "kernels of mine"
    assert not probe(cache)["said"]
    assert not probe(cache)["compiled"]
    return cache


def kernels(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.kernel"))


def test_nobody_else_may_write_what_is_made(tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "cache"
    probe(cache, before="import os; os.umask(0)\n")
    made = [cache, *cache.rglob("*")]
    assert len(made) > 6 and not [path for path in made if path.stat().st_mode & 0o022]
    assert not probe(cache)["compiled"]


OPENED: dict[str, Callable[[Path], Path]] = {
    "the folder": lambda cache: cache,
    "the folder inside it": lambda cache: cache / "kernels",
    "the folder of a kernel": lambda cache: kernels(cache)[0].parent,
    "a kernel": lambda cache: kernels(cache)[0],
}


@pytest.mark.parametrize("what", OPENED)
def test_what_others_can_write_is_not_run(what: str, full: Path) -> None:
    path = OPENED[what](full)
    mode = 0o020 if "folder of" in what else 0o002
    before = path.stat().st_mode
    path.chmod(before | mode)
    try:
        found = probe(full)
        assert found["compiled"] and len(found["said"]) == 1
        assert str(path) in found["said"][0] and "LOSSARY_CACHE" in found["said"][0]
    finally:
        path.chmod(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", OPENED)
def test_what_belongs_to_another_user_is_not_run(what: str, full: Path) -> None:
    path = OPENED[what](full)
    os.chown(path, 12345, -1)
    try:
        found = probe(full)
        assert found["compiled"] and len(found["said"]) == 1 and "another user" in found["said"][0]
    finally:
        os.chown(path, 0, -1)


def test_links_inside_the_folder_are_not_followed(full: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    for path in (full / "kernels", kernels(full)[0].parent, kernels(full)[0]):
        path.rename(elsewhere)
        path.symlink_to(elsewhere)
        found = probe(full)
        assert found["compiled"] and len(found["said"]) == 1
        path.unlink()
        elsewhere.rename(path)
    assert not probe(full)["compiled"]


def test_the_folder_itself_may_be_reached_by_a_link(full: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(full)
    found = probe(tmp_path / "link")
    assert not found["compiled"] and not found["said"]


def test_neither_a_pipe_nor_a_folder_stands_for_a_kernel(full: Path, tmp_path: Path) -> None:
    path = kernels(full)[0]
    for plant in (os.mkfifo, os.mkdir):
        path.rename(tmp_path / "kept")
        plant(path)
        found = probe(full)  # and does not wait for somebody to write into the pipe
        assert found["compiled"] and len(found["said"]) == 1
        if path.is_dir():
            path.rmdir()
        (tmp_path / "kept").rename(path)
    assert not probe(full)["compiled"]


def test_no_home_and_places_that_are_none_cost_one_warning(tmp_path: Path) -> None:
    nobody = "import pathlib\ndef none(*_): raise RuntimeError('Could not determine home directory.')\n"
    nobody += "pathlib.Path.home = none\n"
    (tmp_path / "file").write_text("not a folder")
    cases = [
        probe(None, before=nobody, XDG_CACHE_HOME=""),
        probe(tmp_path / "file"),
        probe(tmp_path / ("x" * 300)),
        probe(Path("/proc/lossary")),
    ]
    for found in cases:
        assert found["compiled"] and len(found["said"]) == 1 and "LOSSARY_CACHE" in found["said"][0]

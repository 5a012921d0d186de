"""The wheel is the product: built, looked into, installed into fresh environments, and used there.

Run by `make test-wheel`, not by `make test`: each environment is made and filled from the package index.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from makers import ROOT, maker

pytestmark = pytest.mark.wheel

TORCH = "torch==2.13.0"  # as the test environment has it; a range could bring a CUDA build


def ran(*command: str | Path, cwd: Path, ok: bool = True, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command away from the checkout, so that only what is installed is found."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")} | settings
    done = subprocess.run([*map(str, command)], cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is ok, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


PREBUILT = ("huber", "softmax_cross_entropy")  # of all that `make wheel` compiles


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source archive, built as `make wheel` builds them, from a copy of the tree with few kernels."""
    folder, tree = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("tree")
    for name in ran("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).stdout.split("\n"):
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    chosen = [word for name in PREBUILT for word in ("--loss", name)]
    ran(sys.executable, tree / "docs/make_kernels.py", *chosen, cwd=tree)
    ran(sys.executable, "-m", "build", "--sdist", "--wheel", "--outdir", folder, tree, cwd=folder)
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, source


def environment(folder: Path, wheel: Path, extras: str) -> Path:
    """Make an environment with the wheel and some extras, and return its folder of programs."""
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    pinned = [TORCH] if "torch" in extras else []
    wanted = f"{wheel}[{extras}]" if extras else str(wheel)
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    ran(programs / "python", *pip, wanted, *pinned, cwd=folder)
    return programs


def test_the_wheel_holds_the_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    wheel, source = built
    names = set(zipfile.ZipFile(wheel).namelist())
    assert all(name.startswith(("lossary/", "lossary-")) for name in names)
    # Everything of the source tree: modules, templates, words as data. What git ignores is checked in the next test.
    listed = ran("git", "ls-files", "--cached", "--others", "--exclude-standard", "src/lossary", cwd=ROOT).stdout
    files = {name.removeprefix("src/") for name in listed.split() if (ROOT / name).exists()}
    assert {"lossary/py.typed", "lossary/report/page.html.jinja"} <= files
    assert files <= names, f"not in the wheel: {sorted(files - names)}"
    made = {"lossary/__init__.pyi", "lossary/nn/catalogue.pyi"}
    kernels = {name for name in names if name.startswith("lossary/kernels/cpu/prebuilt/")}
    assert not kernels or {name.partition("-")[0].rpartition("/")[2] for name in kernels if name.endswith(".kernel")}
    rest = {name for name in names - files - made - kernels if not name.startswith("lossary-")}
    assert not rest, f"in the wheel without being a source: {sorted(rest)}"
    for folder in ("tests/", "benchmarks/", "examples/", "docs/"):
        assert not any(folder in name for name in names), f"{folder} is in the wheel"
    assert not any("test_" in name or "__pycache__" in name for name in names)
    with tarfile.open(source) as archive:
        inside = archive.getnames()
    for needed in ("pyproject.toml", "src/lossary/__init__.py", "tests/conftest.py", "LICENSE", "README.md"):
        assert any(name.endswith(f"/{needed}") for name in inside), f"{needed} is not in the source archive"


def test_the_wheel_has_the_types_of_every_loss_and_module(built: tuple[Path, Path]) -> None:
    archive, stubs = zipfile.ZipFile(built[0]), maker("make_stubs")
    assert archive.read("lossary/__init__.pyi").decode() == stubs.package_stub()
    assert archive.read("lossary/nn/catalogue.pyi").decode() == stubs.module_stub()


def test_an_editable_installation_of_a_fresh_clone_makes_the_types_and_changes_no_file(tmp_path: Path) -> None:
    clone, folder = tmp_path / "clone", tmp_path / "env"
    ran("git", "clone", "--quiet", ROOT, clone, cwd=tmp_path)
    assert not list((clone / "src").rglob("*.pyi"))
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    ran(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable", clone, cwd=tmp_path)
    assert "def bind(self, *, delta: _Number = ...) -> Self" in (clone / "src/lossary/__init__.pyi").read_text()
    assert "class SigmoidFocalLoss(RecordLoss)" in (clone / "src/lossary/nn/catalogue.pyi").read_text()
    assert not ran("git", "status", "--porcelain", cwd=clone).stdout


def test_without_an_extra_numpy_is_enough_and_what_is_missing_is_named(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    programs = environment(tmp_path / "env", built[0], "")
    listed = ran(programs / "python", "-m", "pip", "list", "--format=freeze", cwd=tmp_path).stdout
    assert {line.partition("==")[0] for line in listed.split()} <= {"lossary", "numpy", "pip", "setuptools"}
    code = "import lossary; print(lossary.huber.value_and_grad([3.0], [0.0], reduction='mean')[0], lossary.__file__)"
    value, where = ran(programs / "python", "-c", code, cwd=tmp_path).stdout.split()
    assert float(value) == 2.5 and str(tmp_path) in where
    code = "import lossary; print(lossary.explain('huber', [3.0], [0.0], lang='zh'))"
    assert "梯度" in ran(programs / "python", "-c", code, cwd=tmp_path).stdout
    refused = ran(programs / "lossary", "list", cwd=tmp_path, ok=False)
    assert "pip install 'lossary[app]'" in refused.stderr
    code = "import lossary\ntry: lossary.nn\nexcept lossary.errors.MissingExtraError as e: print(e)"
    assert "lossary[torch]" in ran(programs / "python", "-c", code, cwd=tmp_path).stdout


def test_the_extra_app_brings_the_command_line(built: tuple[Path, Path], tmp_path: Path) -> None:
    lossary = environment(tmp_path / "env", built[0], "app") / "lossary"
    assert "lossary compare digits" in ran(lossary, "--help", cwd=tmp_path).stdout
    assert "softmax_cross_entropy" in ran(lossary, "list", cwd=tmp_path).stdout
    assert "delta" in ran(lossary, "show", "huber", cwd=tmp_path).stdout
    assert (
        "公式" in ran(lossary, "explain", "huber", "--pred", "3", "--target", "0", "--lang", "zh", cwd=tmp_path).stdout
    )
    report = tmp_path / "report.html"
    words = ("--loss", "cross_entropy", "--epochs", "2", "--folds", "2", "--seeds", "1", "--report", report)
    assert "softmax_cross_entropy" in ran(lossary, "compare", "iris", *words, cwd=tmp_path).stdout
    assert "<html" in report.read_text()
    (tmp_path / "wrong.py").write_text("import torch\nloss = torch.log(torch.softmax(x, -1))\n")
    assert "LOS501" in ran(lossary, "lint", "wrong.py", cwd=tmp_path, ok=False).stdout


def test_the_extra_lsp_brings_the_language_server(built: tuple[Path, Path], tmp_path: Path) -> None:
    python = environment(tmp_path / "env", built[0], "lsp") / "python"
    code = "from lossary.lint.server import build; print(type(build()).__name__)"
    assert ran(python, "-c", code, cwd=tmp_path).stdout == "LanguageServer\n"


CALLS = """
import json, sys, zlib
import numpy as np, torch
import lossary
from lossary import nn
rng = np.random.default_rng(0)
logits, labels = rng.standard_normal((300, 1000)).astype("f"), rng.integers(0, 1000, 300)
x, y = rng.standard_normal((2, 300_000)).astype("f")
z = torch.from_numpy(logits).requires_grad_()
w = torch.from_numpy(x).requires_grad_()
results = [
    *lossary.huber.value_and_grad(x, y, reduction="mean"),
    *lossary.softmax_cross_entropy.value_and_grad(logits, labels),
    lossary.huber.hess(x, y),
]
nn.CrossEntropyLoss()(z, torch.from_numpy(labels)).backward()
nn.HuberLoss()(w, torch.from_numpy(y)).backward()
results += [z.grad.numpy(), w.grad.numpy()]
other = lossary.log_cosh.value_and_grad(x, y, reduction="mean")  # whose kernel is not among those that were built
print(json.dumps([zlib.crc32(np.ascontiguousarray(r).tobytes()) for r in results] + [float(other[0])]))
print("numba" in sys.modules, "llvmlite" in sys.modules)
"""


def test_kernels_come_with_the_wheel_and_need_no_compiler(built: tuple[Path, Path], tmp_path: Path) -> None:
    without = environment(tmp_path / "env", built[0], "torch,prebuilt") / "python"
    installed = ran(without, "-m", "pip", "list", "--format=freeze", cwd=tmp_path).stdout
    assert "llvmlite" in installed and "numba" not in installed

    def answer(python: Path, cache: str, **settings: str) -> tuple[list[float], list[bool]]:
        environ = {"LOSSARY_CACHE": str(tmp_path / cache), **settings}
        numbers, used = ran(python, "-W", "error", "-c", CALLS, cwd=tmp_path, **environ).stdout.splitlines()
        return json.loads(numbers), [word == "True" for word in used.split()]

    numbers, used = answer(without, "empty")
    assert used == [False, True] and not (tmp_path / "empty").exists(), "nothing was compiled, or looked for"
    compiled, used = answer(Path(sys.executable), "filled", PYTHONPATH=str(ROOT / "src"), LOSSARY_PREBUILT="")
    assert used[0] and list((tmp_path / "filled").rglob("huber.kernel"))
    assert numbers[:-1] == compiled[:-1], "the same bits as from the compiler"
    assert numbers[-1] == pytest.approx(compiled[-1], rel=1e-6)
    # Another source, or another kind of processor, finds none of them.
    changed = without.parent.parent.glob("lib/*/site-packages/lossary/losses/regression.py")
    for path in changed:
        path.write_text(path.read_text().replace("yield clipped * (size - 0.5 * clipped)", "yield 7 + 0 * size"))
    edited, _ = answer(without, "empty")
    assert edited[0] != numbers[0] and edited[2] == numbers[2], "an edited loss is computed as it is written now"
    elsewhere, used = answer(without, "empty", LOSSARY_PREBUILT=str(tmp_path))
    assert elsewhere[0] == edited[0] and used[0] is False


def test_the_extras_torch_and_fast_bring_drop_ins_and_kernels(built: tuple[Path, Path], tmp_path: Path) -> None:
    python = environment(tmp_path / "env", built[0], "torch,fast") / "python"
    code = """
import torch
from lossary import nn
z = torch.zeros(40_000, 10, requires_grad=True)
value = nn.CrossEntropyLoss()(z, torch.zeros(40_000, dtype=torch.long))
value.backward()
print(value.item(), z.grad[0, 0].item() * 40_000)
"""
    value, slope = map(float, ran(python, "-c", code, cwd=tmp_path).stdout.split())
    assert abs(value - 2.302585) < 1e-5 and abs(slope + 0.9) < 1e-5

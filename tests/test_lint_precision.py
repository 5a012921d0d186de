"""False alarms, counted on large packages of good code; what is told there was read, one by one."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

import pytest

from lossary.lint import check_paths
from lossary.lint.config import Config

ROOT = Path(__file__).resolve().parent.parent
LINES_PER_FALSE_ALARM = 50_000

# PyTorch's own references for its tests, where a formula may be naive.
_TESTING = "testing/_internal"
_TEXTBOOK = [
    ("common_modules.py", 1266, "LOS505"),
    ("common_modules.py", 1280, "LOS505"),
    ("common_modules.py", 1332, "LOS507"),
    ("common_modules.py", 1521, "LOS506"),
    ("common_modules.py", 2734, "LOS502"),
    ("common_modules.py", 2740, "LOS502"),
    ("common_modules.py", 2884, "LOS502"),
    *(("common_nn.py", line, "LOS506") for line in (207, 223, 241, 261)),
    *(("common_nn.py", line, code) for line in (278, 296, 314) for code in ("LOS502", "LOS503")),
    ("common_nn.py", 930, "LOS502"),
    ("common_nn.py", 950, "LOS502"),
    ("common_nn.py", 2978, "LOS507"),
]

# Package, version, and what is told of it: (file, line, code) -> whether it is true, and why.
REVIEWED: dict[str, tuple[str, dict[tuple[str, int, str], tuple[bool, str]]]] = {
    "torch": (
        "2.13.0",
        {
            ("_decomp/decompositions.py", 703, "LOS507"): (
                True,
                "soft_margin_loss written as log1p(exp(-input * target)), which is inf at -100 in float32",
            ),
            ("_refs/__init__.py", 912, "LOS504"): (
                False,
                "logsumexp of nothing: the tensor is known to be empty there",
            ),
            ("_refs/nn/functional/__init__.py", 510, "LOS507"): (
                False,
                "softplus: where(...) takes x itself beyond 20",
            ),
            ("_refs/nn/functional/__init__.py", 514, "LOS507"): (
                False,
                "softplus: where(...) takes x itself beyond 20",
            ),
            ("distributions/bernoulli.py", 145, "LOS507"): (True, "log1p(exp(x)), which is inf from 89 in float32"),
            **{
                ("_inductor/fx_passes/numeric_utils.py", line, "LOS406"): (True, "ten iterations, and nothing clears")
                for line in (151, 202)
            },
            ("_refs/__init__.py", 1027, "LOS513"): (True, "where(a_abs == 0, 0, a / a_abs)"),
            ("_refs/__init__.py", 1058, "LOS513"): (True, "its comment says that the second derivative is wrong"),
            ("_refs/special/__init__.py", 73, "LOS513"): (True, "entr as where(a > 0, -a * log(a), ...)"),
            ("distributions/generalized_pareto.py", 102, "LOS511"): (True, "log1p(-exp(x)) of a survival function"),
            ("distributions/generalized_pareto.py", 149, "LOS513"): (False, "bounds of a support, not differentiated"),
            (f"{_TESTING}/py312_intrinsics.py", 11, "LOS901"): (True, "`def f[T]` of Python 3.12, read by 3.11"),
            (f"{_TESTING}/common_nn.py", 273, "LOS303"): (True, "reduce=False is deprecated, and tested as such"),
            **{
                (f"{_TESTING}/{file}", line, code): (True, "a reference written as in a textbook, for inputs near 0")
                for file, line, code in _TEXTBOOK
            },
        },
    ),
    "sklearn": (
        "1.9.1",
        {
            ("naive_bayes.py", 1256, "LOS511"): (
                True,
                "log(1 - exp(feature_log_prob)), -inf for a feature that every document has, without smoothing",
            ),
        },
    ),
    "keras": (
        "3.15.1",
        {},
    ),
}
DISTRIBUTIONS = {"sklearn": "scikit-learn"}


def lines_below(folder: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in folder.rglob("*.py"))


@pytest.mark.parametrize("package", REVIEWED)
def test_hardly_a_false_alarm_on_an_installed_package(package: str) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    version, reviewed = REVIEWED[package]
    installed = importlib.metadata.version(DISTRIBUTIONS.get(package, package)).split("+")[0]
    if installed != version:
        pytest.skip(f"the findings of {package} {version} were read, and {installed} is installed")
    folder = Path(spec.origin).parent
    told = {
        (Path(f.path).relative_to(folder).as_posix(), f.line, f.code): f.message
        for f in check_paths([folder], config=Config(root=folder))
    }
    unread = {place: message for place, message in told.items() if place not in reviewed}
    false = [place for place in told if place in reviewed and not reviewed[place][0]]
    assert len(unread) + len(false) <= lines_below(folder) / LINES_PER_FALSE_ALARM, unread
    assert set(reviewed) <= set(told), "a finding that was read is no longer told"


# Formulas that are naive on purpose: to be compared with, or to be read.
NAIVE = (
    "src/lossary/misuse/rules.py",
    "docs/misuse.md",
    "docs/preference.md",
    "docs/worked-examples.md",
    "benchmarks/numpy_formulas.py",
    "examples/tutorials/t001_losses_by_hand.py",
    "examples/tutorials/t002_roles_of_a_loss.py",
)


def test_of_this_project_only_the_naive_formulas_are_told() -> None:
    told = check_paths([ROOT / name for name in ("src", "docs", "examples", "benchmarks", "README.md")])
    places = {Path(finding.path).relative_to(ROOT).as_posix() for finding in told}
    assert sorted(places - set(NAIVE)) == []
    assert all(finding.code.startswith("LOS50") for finding in told)

"""What checkers, editors and `help` say of a loss: its own arguments, parameters and defaults."""

from __future__ import annotations

import ast
import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lossary
from makers import ROOT, maker

pytest.importorskip("torch")

STUB = maker("make_stubs").package_stub()
ALL = [lossary.get(name) for name in lossary.names()]
every_loss = pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)

# Every line is checked: what follows "# E:" is part of the one error of its line, and other lines have none.
RIGHT_AND_WRONG = """
import numpy as np
import torch

import lossary
from lossary import cross_entropy, mse, nn
from lossary.nn import functional as F

# As it is meant
lossary.huber([1.0], [0.0])
lossary.huber(np.ones(2), torch.ones(2), delta=2)
lossary.huber(pred=[1.0], target=[0.0], delta=np.float64(0.5))
lossary.huber(1.0, 0.0, delta=torch.tensor(1.0))
lossary.huber.value([1.0], [0.0], weight=[1.0], mask=[True], reduction="mean", denominator=3, check=False)
value, grad = lossary.huber.value_and_grad([1.0], [0.0], reduction="mean", out=np.ones(1), delta=2.0)
lossary.huber.grad([1.0], [0.0]), lossary.huber.hess([1.0], [0.0])
lossary.huber.bind(delta=2.0).bind(delta=3.0)([1.0], [0.0])
lossary.huber.name.upper(), lossary.huber.aliases, lossary.huber.wrt
lossary.ctc(np.zeros((2, 3)), [1])
lossary.softmax_focal([[1.0, 2.0]], [0], class_weight=[1.0, 2.0], ignore_index=-100)
mse([1.0], [0.0]), cross_entropy([[1.0]], [0]), lossary.bce([0.5], [1.0])
lossary.check_grad("huber", [1.0], [0.0])
lossary.get("mse").value([1.0], [0.0])
losses: list[lossary.Loss] = [lossary.huber, lossary.mse]
number: float = float(lossary.weighted_sum(data=1.0) / 2)

# As it is not
lossary.huber([1.0], [0.0], dleta=2)  # E: Unexpected keyword argument "dleta"
lossary.huber([1.0])  # E: Missing positional argument "target"
lossary.huber([1.0], [0.0], 2.0)  # E: Too many positional arguments
lossary.huber([1.0], [0.0], delta="wide")  # E: incompatible type "str"
lossary.huber([1.0], [0.0], reduction="mean")  # E: Unexpected keyword argument "reduction"
lossary.huber.grad([1.0], [0.0], reduction="average")  # E: expected "Literal['none', 'mean', 'sum']"
lossary.huber.value_and_grad([1.0], [0.0], dleta=2)  # E: Unexpected keyword argument "dleta"
lossary.huber.hess([1.0])  # E: Missing positional argument "target"
lossary.huber.bind(dleta=2)  # E: Unexpected keyword argument "dleta"
lossary.huber.nmae  # E: has no attribute "nmae"
mse([1.0], [0.0], delta=2)  # E: Unexpected keyword argument "delta"
lossary.generalized_dice([[1.0]], [[1.0]], weighting="cubic")  # E: incompatible type "Literal['cubic']"
lossary.hubber([1.0], [0.0])  # E: has no attribute "hubber"
from lossary import mes  # E: has no attribute "mes"


# torch's names keep torch's types
class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.scale = nn.Parameter(torch.ones(()))
        nn.init.zeros_(self.layer.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x @ self.layer.weight) * self.scale


rate: torch.Tensor = F.cross_entropy(torch.ones(1, 2), torch.tensor([0]), label_smoothing=0.1)
criterion: torch.nn.CrossEntropyLoss = nn.CrossEntropyLoss(ignore_index=-1)
cost: torch.Tensor = nn.SigmoidFocalLoss(gamma=1.0)(torch.ones(2), torch.ones(2))
lossary.nn.HuberLoss(delta=1.0)
report: torch.Tensor = nn.MultiTaskLoss(["a"], "uncertainty", kinds="regression")(a=cost)
nn.Linear(2)  # E: Missing positional argument "out_features"
nn.Linnear(2, 3)  # E: has no attribute "Linnear"
F.rellu(cost)  # E: has no attribute "rellu"
lossary.nn.HubberLoss()  # E: has no attribute "HubberLoss"
nn.SigmoidFocalLoss(gama=1.0)  # E: Unexpected keyword argument "gama"
nn.MultiTaskLoss(["a"], temperature="hot", weighting="dynamic average")  # E: No overload variant
"""


def test_a_checker_sees_what_is_wrong_and_nothing_else(tmp_path: Path) -> None:
    maker("make_stubs").write()  # as `make test` does; this test may run alone
    file = tmp_path / "program.py"
    file.write_text(RIGHT_AND_WRONG)
    # The cache of `make test`'s own run knows torch already.
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = {int(line): said for line, said in re.findall(r"program\.py:(\d+): error: (.*)", done.stdout)}
    wanted = {
        number: line.partition("# E: ")[2]
        for number, line in enumerate(RIGHT_AND_WRONG.splitlines(), 1)
        if "# E: " in line
    }
    assert found.keys() == wanted.keys(), done.stdout + done.stderr
    for number, said in wanted.items():
        assert said in found[number]


def test_the_makers_need_neither_torch_nor_an_installation(tmp_path: Path) -> None:
    """They run where a wheel is built, with NumPy alone."""
    code = f"""
import runpy, sys
sys.modules.update(dict.fromkeys(("torch", "numba", "rich", "typer"), None))
made = runpy.run_path({str(ROOT / "docs" / "make_stubs.py")!r})
print(made["package_stub"]() + made["module_stub"](), end="")
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == STUB + maker("make_stubs").module_stub()


# --- the stub against what it describes -----------------------------------------------------------------------------

TREE = ast.parse(STUB)
CLASSES = {node.name: node for node in TREE.body if isinstance(node, ast.ClassDef)}
NAMED = {node.target.id: ast.unparse(node.annotation) for node in TREE.body if isinstance(node, ast.AnnAssign)}


def test_the_stub_has_every_public_name_and_no_other() -> None:
    imported = {a.asname for node in TREE.body if isinstance(node, ast.ImportFrom) for a in node.names if a.asname}
    losses = {name for name, kind in NAMED.items() if kind.startswith("_")}
    public = {name for name in dir(lossary) if not name.startswith("_")}
    modules = {name for name in public if inspect.ismodule(getattr(lossary, name)) and name != "nn"}
    assert imported | losses == public - modules
    for name in losses:
        assert isinstance(getattr(lossary, name), lossary.Loss)
        assert NAMED[name] == NAMED[getattr(lossary, name).name]


@every_loss
def test_the_stub_has_the_signature_of_a_loss(loss: lossary.Loss) -> None:
    body = CLASSES[NAMED[loss.name]].body
    methods = {node.name: node.args for node in body if isinstance(node, ast.FunctionDef)}
    assert methods.keys() == {"__call__", "value", "value_and_grad", "grad", "hess", "bind"}
    called = inspect.signature(loss).parameters
    options = set(inspect.signature(lossary.value_and_grad).parameters) - {"loss", "arrays", "params"}
    for name, arguments in methods.items():
        arrays = [a.arg for a in arguments.args][1:]
        keywords = {a.arg: default for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)}
        assert arrays == ([] if name == "bind" else list(loss.arguments))
        own = {"__call__": set(), "bind": set(), "value": options - {"out"}, "hess": options - {"out"}}.get(
            name, options
        )
        assert keywords.keys() == own | loss.defaults.keys()
        for parameter in loss.defaults:
            if name != "bind":
                assert ast.unparse(keywords[parameter]) == repr(called[parameter].default)
    assert len(methods["__call__"].defaults) == len(loss.optional)


# --- help -----------------------------------------------------------------------------------------------------------


def test_help_shows_signature_shapes_ranges_and_errors() -> None:
    said = pydoc.render_doc(lossary.softmax_focal, renderer=pydoc.plaintext)
    for line in (
        f"softmax_focal{inspect.signature(lossary.softmax_focal)}",
        "logits: (N, C) of real numbers; differentiated.",
        "gamma: a number in [0, inf); special: 1, 2; 2.0 if not given.",
        "class_weight: (C,) of numbers in [0, inf); None if not given.",
        "DomainError: an array with a value outside its domain.",
        "Lin 2017, arXiv:1708.02002",
    ):
        assert f"    {line}\n" in said
    assert "()->()" not in said
    assert "target: (N,) of class indices 0, ..., C-1, or (N, C) of probabilities" in str(lossary.cross_entropy.__doc__)
    assert "huber(pred, target, *, delta=3.0)" in str(lossary.huber.bind(delta=3.0).__doc__)
    assert "delta: a number in (0, inf), in the units of the target; 3.0 if not given." in str(
        lossary.huber.bind(delta=3.0).__doc__
    )


@every_loss
def test_help_of_every_loss_and_its_module_is_complete(loss: lossary.Loss) -> None:
    from lossary import nn

    words = str(loss.__doc__)
    assert words.startswith(f"{loss.name}{inspect.signature(loss)}\n\n{loss.doc}")
    for name in loss.arguments:
        assert re.search(rf"^{name}: \(.*\) of .*\.$", words, re.MULTILINE), name
    for name in loss.defaults:
        assert re.search(rf"^{name}: .* if not given\.$", words, re.MULTILINE), name
    made = type(nn.from_record(loss)) if not loss.name.startswith(("class_bal", "logit_adj")) else nn.ClassBalancedLoss
    built = str(made.__init__.__doc__)
    assert "Initialize internal Module state" not in built
    if made.__name__ not in ("RecordLoss",):
        for name in made.loss.defaults:
            assert f"\n{name}: " in built

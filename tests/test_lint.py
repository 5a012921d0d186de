"""The linter: rules by their records, the numbers they quote, formats, fixes, configuration, files of every kind."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from typer.testing import CliRunner

from lossary.cli.app import app
from lossary.errors import DataError, ParameterError
from lossary.lint import RULES, Config, Finding, Rule, check_paths, check_source, known, output, vocabulary
from lossary.lint.config import codes, find_config, from_table
from lossary.lint.fixes import apply, fix_bytes
from lossary.lint.records import Edit
from lossary.lint.sources import lines_of, parse

ROOT = Path(__file__).resolve().parent.parent
EVERY = Config(select=frozenset(RULES))
WITH_EXAMPLE = [rule for rule in RULES.values() if rule.wrong]


def found(text: str, path: str = "code.py") -> list[str]:
    return [finding.code for finding in check_source(text, path, select=EVERY)]


# --- every rule, from its record ------------------------------------------------------------------------------------


def test_there_are_many_rules_and_each_is_whole() -> None:
    assert len(RULES) >= 60
    for rule in RULES.values():
        assert re.fullmatch(r"LOS\d{3}", rule.code) and re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name)
        assert rule.summary.endswith(".") and len(rule.reason) > 30, rule.code
        assert rule.family
        if not rule.code.startswith("LOS9"):
            assert rule.wrong and rule.right and rule.near and rule.numbers, rule.code


@pytest.mark.parametrize("rule", WITH_EXAMPLE, ids=lambda rule: rule.code)
def test_the_wrong_example_is_flagged_by_this_rule_alone_and_the_right_one_by_none(rule: Rule) -> None:
    assert set(found(rule.wrong)) == {rule.code}
    assert found(rule.right) == []


@pytest.mark.parametrize(
    ("code", "text"), [(r.code, text) for r in RULES.values() for text in r.near], ids=lambda value: value[:6]
)
def test_what_is_nearly_wrong_is_not_flagged(code: str, text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("rule", [r for r in WITH_EXAMPLE if r.code[:4] != "LOS9"], ids=lambda rule: rule.code)
def test_noqa_silences_a_rule_and_no_other(rule: Rule) -> None:
    for comment, silent in (
        ("noqa", True),
        (f"noqa: {rule.code}", True),
        ("noqa: LOS999", False),
        ("noqa:E501", False),
    ):
        lines = rule.wrong.split("\n")
        for finding in check_source(rule.wrong, select=EVERY):
            lines[finding.line - 1] = lines[finding.line - 1].split("  #")[0] + f"  # {comment}"
        assert (found("\n".join(lines)) == []) is silent, comment


@pytest.mark.parametrize("rule", [r for r in RULES.values() if r.fixable], ids=lambda rule: rule.code)
def test_a_fix_mends_the_finding_and_mending_again_changes_nothing(rule: Rule) -> None:
    path = Path("code.py").resolve()
    once, count = fix_bytes(path, rule.wrong.encode(), EVERY, unsafe=True)
    assert count >= 1, "the example of a rule that says it mends is mended"
    parse(once.decode())
    assert rule.code not in found(once.decode())
    assert fix_bytes(path, once, EVERY, unsafe=True) == (once, 0)


# --- what the issue names -------------------------------------------------------------------------------------------

MUST = [
    ("nn.NLLLoss()(nn.Softmax(dim=1)(x), y)", "LOS104"),
    ("p = torch.softmax(z, 1)\nnn.CrossEntropyLoss()(p, y)", "LOS101"),
    ("torch.nn.HingeLoss()", "LOS601"),
    ("nn.KLDivLoss()(p, q)", "LOS304"),
    ("nn.BCELoss()(pred, torch.tensor([1, 0, 1]))", "LOS201"),
    ("m = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))\nnn.CrossEntropyLoss()(m(x), y)", "LOS101"),
    ("lossary.softmax_cross_entropy(F.softmax(z, dim=1), y)", "LOS101"),
    ("optax.softmax_cross_entropy(jax.nn.softmax(z), y)", "LOS101"),
    ("tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=tf.nn.softmax(z))", "LOS101"),
    ("losses = lossary.nn.CrossEntropyLoss()(torch.softmax(z, -1), y)", "LOS101"),
    ("lossary.huber(p, y, delta=-1.0)", "LOS606"),
    (
        "m = keras.Sequential()\nm.add(keras.layers.Dense(3))\nm.compile(loss='sparse_categorical_crossentropy')",
        "LOS106",
    ),
    (
        "m = keras.Sequential([keras.layers.Dense(3, activation='softmax')])\n"
        "m.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))",
        "LOS101",
    ),
]
HEAD = (
    "import torch\nfrom torch import nn\nimport torch.nn.functional as F\nimport jax\nimport keras\nimport lossary\n"
    "import optax\nimport tensorflow as tf\n\n"
)


@pytest.mark.parametrize(("text", "code"), MUST, ids=lambda value: value[:40])
def test_what_must_be_flagged_is(text: str, code: str) -> None:
    assert found(HEAD + text) == [code]


def test_a_name_that_does_not_exist_gets_the_one_that_was_meant() -> None:
    (finding,) = check_source("import torch.nn as nn\nnn.CrossEntropyLos()")
    assert "CrossEntropyLoss" in finding.help


NET = """
import torch.nn as nn

class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        self.head = nn.Linear(8, classes)
        self.out = nn.Softmax(dim=1)

    def forward(self, x):
        return self.out(self.head(self.body(x)))

def make():
    return Net()
"""
TRAIN = {
    "imported class": "from net import Net\nmodel = Net()\n",
    "imported module": "import net\nmodel = net.Net(classes=5)\n",
    "factory": "from net import make\nmodel = make()\n",
}


@pytest.mark.parametrize("how", TRAIN)
def test_a_module_is_followed_into_another_file(tmp_path: Path, how: str) -> None:
    (tmp_path / "net.py").write_text(NET)
    loop = (
        "import torch.nn as nn\ncriterion = nn.CrossEntropyLoss()\nfor x, y in []:\n    loss = criterion(model(x), y)\n"
    )
    (tmp_path / "train.py").write_text(TRAIN[how] + loop)
    (finding,) = check_paths([tmp_path])
    assert finding.code == "LOS101" and Path(finding.path).name == "train.py" and "net.py, line 9" in finding.message


def test_model_and_loss_given_to_a_loop_in_another_file_are_followed(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "loop.py").write_text(
        "def train(model, criterion, loader):\n    for x, y in loader:\n        loss = criterion(model(x), y)\n"
        "        loss.backward()\n"
    )
    (tmp_path / "main.py").write_text(
        "from torch import nn\nfrom loop import train\nfrom net import Net\n\ntrain(Net(), nn.CrossEntropyLoss(), [])\n"
    )
    (finding,) = check_paths([tmp_path])
    assert finding.code == "LOS101" and Path(finding.path).name == "loop.py"


# --- the numbers that the reasons quote -----------------------------------------------------------------------------


def _softmax_floor() -> list[str]:
    p = torch.eye(10, dtype=torch.float64)[:1]
    z = torch.zeros(1, 10)
    z[0, 1] = 14.0
    z.requires_grad_(True)
    F.cross_entropy(torch.softmax(z, 1), torch.tensor([0])).backward()
    assert z.grad is not None and abs(float(z.grad[0, 0])) < 1e-4
    return [f"{F.cross_entropy(p, torch.tensor([0])):.3f}"]


def _bce_floors() -> list[str]:
    one = F.binary_cross_entropy_with_logits(torch.ones(1), torch.ones(1))
    zero = F.binary_cross_entropy_with_logits(torch.zeros(1), torch.zeros(1))
    return [f"{one:.4f}", f"{zero:.4f}"]


def _kl() -> list[str]:
    p, q = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.5, 0.5]])
    values = [F.kl_div(x, q, reduction="batchmean") for x in (p, p.log())]
    return [f"{v:.3f}" for v in values]


def _ctc() -> list[str]:
    arguments = (torch.tensor([[1, 2, 3]]), torch.tensor([10]), torch.tensor([3]))
    z = torch.zeros(10, 1, 5)
    wrong = F.ctc_loss(F.softmax(z, 2), *arguments)
    right = F.ctc_loss(F.log_softmax(z, 2), *arguments)
    return [f"{wrong:.3f}", f"{right:.3f}"]


def _gaussian() -> list[str]:
    one, zero = torch.ones(1), torch.zeros(1)
    return [f"{F.gaussian_nll_loss(one, zero, torch.tensor([v])):.4f}" for v in (0.5, 0.25)]


def _margin() -> list[str]:
    scores = torch.tensor([[0.1, 0.2, 0.4, 0.8]])
    return [f"{F.multilabel_margin_loss(scores, torch.tensor([row])):.3f}" for row in ([3, 0, -1, 1], [1, 0, 0, 1])]


def _swapped() -> list[str]:
    z, y = torch.tensor([3.0]), torch.tensor([1.0])
    f = F.binary_cross_entropy_with_logits
    return [f"{f(z, y):.4f}", f"{f(y, z):.4f}"]


def _positional() -> list[str]:
    a, b = torch.tensor([1.0, 3.0]), torch.zeros(2)
    with pytest.warns(UserWarning, match="size_average"):
        wrong = F.mse_loss(a, b, "sum")
    return [f"{wrong:.1f}", f"{F.mse_loss(a, b, reduction='sum'):.1f}"]


def _beta() -> list[str]:
    a, b = torch.tensor([5.0]), torch.zeros(1)
    with pytest.warns(UserWarning, match="size_average"):
        wrong = F.smooth_l1_loss(a, b, 0.5)
    return [f"{wrong:.1f}", f"{F.smooth_l1_loss(a, b, beta=0.5):.2f}"]


def _unsigned() -> list[str]:
    a, b = np.array([0, 250], np.uint8), np.array([250, 3], np.uint8)
    return [f"{np.mean((a.astype(float) - b) ** 2):.1f}"]


def _column() -> list[str]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2))
    y = 9 * x[:, 0] - 2 * x[:, 1] + 10
    # The gradient of the mean over the N by N table is that of fitting the mean of y: the weights are 0.
    x = x - x.mean(0)
    weights = np.linalg.lstsq(x, np.full(len(y), y.mean()) - y.mean(), rcond=None)[0]
    return [f"{abs(w):.1f}" for w in weights]


def _softmax_twice() -> list[str]:
    once = torch.sigmoid(torch.tensor(1.0))
    twice = torch.softmax(torch.eye(10, dtype=torch.float64)[0], 0)
    return [f"{once:.4f}", f"{twice.max():.3f}"]


def _overlap() -> list[str]:
    z, t = torch.tensor([5.0, -5.0]), torch.tensor([1.0, 0.0])
    return [f"{2 * (p * t).sum() / (p.sum() + t.sum()):.{digits}f}" for p, digits in ((z.sigmoid(), 3), (z, 1))]


def _binary_over_classes() -> list[str]:
    p, y = torch.full((1, 10), 0.1), F.one_hot(torch.tensor([0]), 10).float()
    return [f"{F.binary_cross_entropy(p, y):.3f}", f"{math.log(10):.3f}"]


def _focal_of_a_mean() -> list[str]:
    losses = torch.tensor([0.1054, 2.3026])
    return [f"{((1 - torch.exp(-x)) ** 2 * x).mean():.4f}" for x in (losses, losses.mean())]


def _one_temperature() -> list[str]:
    z = torch.tensor([[4.0, 0.0]])
    return [f"{F.kl_div(F.log_softmax(z / 4, 1), F.softmax(z, 1), reduction='batchmean'):.4f}"]


def _entropy_bonus() -> list[str]:
    found = []
    for sign in (0.0, 0.1, -0.1):
        z = torch.tensor([2.0, 0.0], requires_grad=True)
        p = z.softmax(0)
        (-sign * (p * p.log()).sum()).backward()
        assert z.grad is not None
        found.append(f"{(z - z.grad).softmax(0)[0]:.3f}")
    return found


def _target_with_gradient() -> list[str]:
    found = []
    for detached in (False, True):
        q = torch.ones(1, requires_grad=True)
        target = 0.9 * (q.detach() if detached else q)
        ((q - target) ** 2).sum().backward()
        assert q.grad is not None
        found.append(f"{q.grad.item():.2g}")
    return found


NUMBERS: dict[str, Callable[[], list[str]]] = {
    "LOS101": _softmax_floor,
    "LOS102": _bce_floors,
    "LOS103": lambda: [f"{F.cross_entropy(torch.tensor([[1.0, 0.0]]), torch.tensor([0])):.4f}"],
    "LOS104": lambda: [f"{F.nll_loss(torch.tensor([[0.8, 0.2]]), torch.tensor([0])):.3f}", f"{-math.log(0.8):.3f}"],
    "LOS105": lambda: [f"{F.nll_loss(torch.tensor([[100.0, 0.0]]), torch.tensor([0])):.0f}"],
    "LOS107": _kl,
    "LOS109": _ctc,
    "LOS111": lambda: _bce_floors()[1:],
    "LOS113": _gaussian,
    "LOS117": _softmax_twice,
    "LOS118": lambda: [
        f"{F.nll_loss(torch.full((32, 2), 1 / 32).log(), torch.zeros(32, dtype=torch.long)):.3f}",
        f"{math.log(2):.3f}",
    ],
    "LOS119": _binary_over_classes,
    "LOS120": _overlap,
    "LOS309": _focal_of_a_mean,
    "LOS310": lambda: [f"{2 / 64:.5f}"],
    "LOS311": lambda: [f"{(3 * 2.0 + 7 * 5.0) / 3:.2f}"],
    "LOS312": lambda: [f"{784 * 0.05:.1f}", f"{128 * 20}"],
    "LOS313": _one_temperature,
    "LOS314": _entropy_bonus,
    "LOS413": _target_with_gradient,
    "LOS511": lambda: [f"{torch.log(-torch.expm1(torch.tensor(-1e-9))):.2f}"],
    "LOS204": lambda: [f"{F.soft_margin_loss(torch.tensor([5.0]), torch.zeros(1)):.4f}"],
    "LOS205": lambda: [f"{F.binary_cross_entropy_with_logits(torch.tensor([-10.0]), -torch.ones(1)):.3f}"],
    "LOS206": _swapped,
    "LOS209": _margin,
    "LOS211": _column,
    "LOS301": _positional,
    "LOS302": _beta,
    "LOS504": lambda: [f"{torch.logsumexp(torch.tensor([100.0, 100.0]), 0):.2f}"],
    "LOS509": _unsigned,
}


@pytest.mark.parametrize("code", NUMBERS)
def test_the_numbers_of_a_reason_are_measured(code: str) -> None:
    for number in NUMBERS[code]():
        assert number in RULES[code].numbers, f"{code}: measured {number}"


def test_gradients_are_infinite_where_the_rules_say_so() -> None:
    for function in (torch.acos, lambda x: torch.sqrt(1 - x**2)):
        x = torch.ones(1, requires_grad=True)
        function(x).backward()
        assert x.grad is not None and x.grad.item() == -math.inf
    x = torch.zeros(1, requires_grad=True)
    value = torch.where(x > 0, torch.log(x), torch.zeros(1))
    value.backward()
    assert value == 0 and x.grad is not None and torch.isnan(x.grad)
    assert torch.log(1 - torch.exp(torch.tensor(-1e-9))) == -math.inf
    assert torch.isnan(torch.exp(torch.tensor(100.0)) * 0)


def test_formulas_written_by_hand_fail_as_their_rules_say() -> None:
    z = torch.tensor([[0.0, -200.0]])
    assert torch.log(torch.softmax(z, 1))[0, 1] == -math.inf and torch.log_softmax(z, 1)[0, 1] == -200
    assert torch.log(torch.sigmoid(torch.tensor(-200.0))) == -math.inf
    assert torch.log(1 - torch.sigmoid(torch.tensor(20.0))) == -math.inf
    assert torch.log(torch.exp(torch.tensor([100.0, 100.0])).sum()) == math.inf
    e = torch.exp(torch.tensor([100.0, 0.0]))
    assert torch.isnan(e / e.sum()).any()
    with np.errstate(all="ignore"):
        p = y = np.array([1.0])
        assert np.isnan(y * np.log(p) + (1 - y) * np.log(1 - p)).all()
    assert torch.log(1 + torch.exp(torch.tensor(100.0))) == math.inf and F.softplus(torch.tensor(100.0)) == 100
    x = torch.tensor(-100.0, requires_grad=True)
    value = 1 / (1 + torch.exp(-x))
    value.backward()
    assert value == 0 and x.grad is not None and torch.isnan(x.grad)
    w = torch.zeros(1, requires_grad=True)
    torch.sqrt(F.mse_loss(w, torch.zeros(1))).backward()
    assert w.grad is not None and torch.isnan(w.grad).all()


def test_what_pytorch_refuses_is_refused_as_the_rules_say() -> None:
    with pytest.raises(RuntimeError, match="Long but expected Float"):
        nn.BCELoss()(torch.rand(3), torch.tensor([1, 0, 1]))
    with pytest.raises(RuntimeError, match="Long or Byte"):
        F.cross_entropy(torch.randn(8, 3), torch.zeros(8))
    with pytest.raises(RuntimeError, match="floating point type for target"):
        F.cross_entropy(torch.randn(2, 3), F.one_hot(torch.tensor([0, 1]), 3))
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        nn.BCELoss()(torch.tensor([2.0]), torch.ones(1))
    with pytest.raises(AttributeError, match="HingeLoss"):
        nn.HingeLoss  # noqa: B018
    with pytest.raises(TypeError, match="smoothing"):
        nn.CrossEntropyLoss(smoothing=0.1)
    with pytest.raises(TypeError, match="buffer 'weight'"):
        nn.CrossEntropyLoss(weight=[1.0, 2.0])
    with pytest.raises(RuntimeError, match="scalar outputs"):
        F.mse_loss(torch.ones(2, requires_grad=True), torch.zeros(2), reduction="none").backward()
    with pytest.raises(IndexError, match="out of bounds"):
        F.cross_entropy(torch.randn(3, 3), torch.tensor([1, 2, 3]))
    assert torch.isnan(F.kl_div(torch.tensor([0.5]).log(), torch.tensor([0.5]).log(), reduction="sum"))
    assert F.cross_entropy(torch.randn(4, 1), torch.zeros(4, dtype=torch.long)) == 0
    assert torch.isinf(F.poisson_nll_loss(torch.tensor([100.0]), torch.ones(1)))


# --- the names are PyTorch's own ------------------------------------------------------------------------------------


def test_the_known_names_are_those_of_the_installed_pytorch() -> None:
    assert {n for n in dir(nn) if not n.startswith("_")} == known.NAMES["torch.nn"]
    assert {n for n in dir(F) if not n.startswith("_")} >= known.NAMES["torch.nn.functional"]
    for name in vocabulary.LOSSES:
        if name.startswith("torch.nn."):
            place = F if "functional" in name else nn
            assert hasattr(place, name.rpartition(".")[2]), name


# --- files of every kind --------------------------------------------------------------------------------------------

BAD = "import torch.nn as nn\nnn.HingeLoss()\n"


@pytest.mark.parametrize(
    ("data", "codes_"),
    [
        (BAD.encode("utf-8-sig"), ["LOS601"]),
        (BAD.replace("\n", "\r\n").encode(), ["LOS601"]),
        (b"# coding: latin-1\n# \xe9\n" + BAD.encode(), ["LOS601"]),
        (b"import torch  # loss \xff\xfe\n", ["LOS902"]),
        (b"# coding: no-such-thing\nimport torch  # loss\n", ["LOS902"]),
        (b"import torch\nloss = \x00\n", ["LOS901"]),
        (b"import torch\nloss = (\n", ["LOS901"]),
        (b"", []),
        (b"import torch\nloss = " + b"(" * 5000 + b")" * 5000, ["LOS901"]),
        (b"import torch\nloss = " + b"-" * 50000 + b"1", ["LOS903"]),
        (b"import torch\nloss = " + b"1+" * 30000 + b"1", ["LOS903"]),
        (("import torch\nloss = x" + ".a" * 3000).encode(), ["LOS903"]),
    ],
)
def test_any_file_is_survived(tmp_path: Path, data: bytes, codes_: list[str]) -> None:
    file = tmp_path / "code.py"
    file.write_bytes(data)
    got = [finding.code for finding in check_paths([file])]
    assert got == codes_ or (codes_ in (["LOS903"], ["LOS901"]) and got in ([], ["LOS901"], ["LOS903"]))


WORDS = [
    "import torch\n",
    "from torch import nn\n",
    "loss",
    " = ",
    "nn.MSELoss(",
    ")",
    "(",
    ",",
    "x",
    ":",
    "\n",
    "    ",
]
WORDS += [
    "for x in y",
    "def f",
    "class A",
    "*",
    "**",
    "F.softmax",
    ".backward()",
    "lambda",
    "[",
    "]",
    "{",
    "}",
    "=",
    "'sum'",
]


@given(st.lists(st.sampled_from(WORDS), max_size=40).map("".join))
def test_no_text_of_words_makes_it_stumble(text: str) -> None:
    check_source("import torch, torch.nn as nn, torch.nn.functional as F\n" + text, select=EVERY)


@given(st.text(max_size=80), st.sampled_from([".py", ".md", ".ipynb"]))
def test_no_text_at_all_makes_it_stumble(text: str, suffix: str) -> None:
    check_source("import torch # loss\n" + text, f"code{suffix}", select=EVERY)


PIECES = [piece for rule in RULES.values() for piece in rule.wrong.split("\n") if piece.strip()]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=12), st.booleans())
def test_statements_of_the_examples_in_any_order_are_survived_and_mended_to_python(
    lines: list[str], deeper: bool
) -> None:
    body = "\n".join(line.strip() if not line.rstrip().endswith(":") else line.strip() + " pass" for line in lines)
    text = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n" + body + "\n"
    if deeper:
        text = text.replace("\n", "\n    ").replace("import torch", "def f():\n    import torch", 1).rstrip() + "\n"
    try:
        parse(text)
    except SyntaxError:
        return
    mended, _ = fix_bytes(Path("code.py").resolve(), text.encode(), EVERY, unsafe=True)
    parse(mended.decode())


def notebook(*cells: str, as_list: bool = True) -> str:
    made = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "source": lines_of(c) if as_list else c} for c in cells
    ]
    return json.dumps(
        {"cells": [{"cell_type": "markdown", "source": "# é"}, *made], "metadata": {}, "nbformat": 4}, indent=1
    )


def test_a_notebook_is_read_cell_by_cell_and_mended() -> None:
    cells = (
        "%matplotlib inline\nimport torch\nfrom torch import nn",
        "!pip list\ncriterion = nn.MSELoss(size_average=False)",
        "loss = (",
        "x = (",  # nothing to do with losses
    )
    text = notebook(*cells)
    wanted = [(3, 2, 25, "LOS303"), (4, 1, 8, "LOS901")]
    findings = check_source(text, "book.ipynb")
    assert [(f.cell, f.line, f.code) for f in findings] == [(c, line, code) for c, line, _, code in wanted]
    assert output.place(findings[0]).startswith("book.ipynb:cell 3:2:")
    for as_list in (True, False):
        data, count = fix_bytes(Path("book.ipynb").resolve(), notebook(*cells, as_list=as_list).encode(), EVERY)
        assert count == 1
        expected = (cells[0], cells[1].replace("size_average=False", 'reduction="sum"'), *cells[2:])
        assert data.decode() == notebook(*expected, as_list=as_list).encode().decode("unicode_escape").encode(
            "latin-1", "ignore"
        ).decode("latin-1") or json.loads(data) == json.loads(notebook(*expected, as_list=as_list))


def test_code_in_markdown_is_found_where_it_stands_and_mended() -> None:
    text = (
        "# Title\n\n```python\nimport torch\nfrom torch import nn\n```\n\n- a list\n\n"
        "  ```python\n  c = nn.MSELoss(size_average=False)\n  ```\n\n"
        "```pycon\n>>> nn.HingeLoss()\n1\n```\n\n```text\nnn.HingeLoss()\n```\n\n```python\nthis is no python\n```\n"
    )
    findings = check_source(text, "page.md")
    assert [(f.line, f.column, f.code) for f in findings] == [(11, 31, "LOS303"), (15, 5, "LOS601")]
    mended, count = fix_bytes(Path("page.md").resolve(), text.encode(), EVERY)
    assert count == 1 and mended.decode() == text.replace("size_average=False", 'reduction="sum"')


def test_edits_that_overlap_are_made_one_at_a_time() -> None:
    edits = [Edit((1, 0), (1, 3), "abc"), Edit((1, 2), (1, 5), "xyz")]
    assert apply("12345", edits) in ("abc45", "12xyz")


# --- configuration --------------------------------------------------------------------------------------------------


def test_configuration_selects_ignores_excludes_and_silences_by_file(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.lossary.lint]\nignore = ["LOS3"]\nexclude = ["old/*"]\nper-file-ignores = { "tests/*" = ["LOS601"] }\n'
    )
    for name in ("a.py", "old/b.py", "tests/c.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(BAD + "nn.KLDivLoss()\n")
    assert [(Path(f.path).name, f.code) for f in check_paths([tmp_path])] == [("a.py", "LOS601")]
    assert find_config(tmp_path / "tests").root == tmp_path


def test_a_broken_configuration_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"LOS7.*expected a rule's code"):
        codes(["LOS7"], "select")
    with pytest.raises(ParameterError, match="selct"):
        from_table({"selct": []}, tmp_path)
    with pytest.raises(ParameterError, match="list of strings"):
        from_table({"select": "LOS1"}, tmp_path)
    with pytest.raises(DataError, match="no such file"):
        check_paths([tmp_path / "absent.py"])


# --- the command and its formats ------------------------------------------------------------------------------------


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    file = tmp_path / "bad code.py"
    file.write_text(BAD + "c = nn.MSELoss(size_average=False)\n")
    return file


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["lint", *words])
    return result.exit_code, result.output


def test_exit_codes(bad: Path, tmp_path: Path) -> None:
    assert run(str(bad))[0] == 1
    assert run(str(bad), "--ignore", "LOS601,LOS303")[0] == 0
    for wrong in (["--select", "XYZ"], ["--format", "xml"], ["--explain", "LOS1000"]):
        assert run(str(bad), *wrong)[0] == 2
    assert run(str(tmp_path / "absent"))[0] == 2


def test_text_shows_the_line_and_a_caret(bad: Path) -> None:
    said = run(str(bad))[1]
    assert "2 | nn.HingeLoss()\n  | ^^^^^^^^^^^^\n" in said and "Found 2 findings." in said
    assert run(str(bad), "--format", "concise")[1].splitlines()[0].startswith(f"{bad}:2:1: LOS601 ")


def test_json_github_and_sarif(bad: Path) -> None:
    first = json.loads(run(str(bad), "--format", "json")[1])[0]
    assert first["code"] == "LOS601" and first["location"] == {"row": 2, "column": 1}
    assert first["end_location"] == {"row": 2, "column": 13}
    line = run(str(bad), "--format", "github")[1].splitlines()[0]
    assert re.fullmatch(r"::error title=LOS601 no-such-loss,file=[^:]+,line=2,endLine=2,col=1,endColumn=13::.+", line)
    log = json.loads(run(str(bad), "--format", "sarif")[1])
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-2.1.0.json")
    (one,) = log["runs"]
    rules = one["tool"]["driver"]["rules"]
    assert one["tool"]["driver"]["name"] == "lossary" and len({r["id"] for r in rules}) == len(rules) == len(RULES)
    for result in one["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] and result["message"]["text"]
        assert result["level"] in ("none", "note", "warning", "error")
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert place["artifactLocation"]["uri"].startswith("file:///") and " " not in place["artifactLocation"]["uri"]
        region = place["region"]
        assert 1 <= region["startLine"] <= region["endLine"] and region["startColumn"] >= 1


def test_fix_writes_the_file_and_keeps_its_rights(bad: Path) -> None:
    bad.chmod(0o640)
    code, said = run(str(bad), "--fix")
    assert code == 1 and "Mended 1 finding" in said
    assert 'nn.MSELoss(reduction="sum")' in bad.read_text() and bad.stat().st_mode & 0o777 == 0o640


def test_list_and_explain_tell_every_rule() -> None:
    said = run("--list")[1]
    assert [line.split()[0] for line in said.splitlines()] == list(RULES)
    for rule in RULES.values():
        page = run("--explain", rule.code)[1]
        assert rule.reason in page and rule.numbers in page and rule.wrong.strip() in page


def test_several_processes_find_the_same(tmp_path: Path) -> None:
    filler = "def f(x):\n    return x  # a line of nothing\n" * 2000
    for at in range(60):
        (tmp_path / f"m{at}.py").write_text(BAD + filler)
    guarded = f"if __name__ == '__main__':\n    print(len(check_paths([{str(tmp_path)!r}], jobs=2)))"
    script = f"from lossary.lint import check_paths\n{guarded}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "60\n"


def test_the_documented_rules_are_the_rules() -> None:
    page = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8")
    for rule in RULES.values():
        assert output.explained(rule, 3) in page, f"run `make docs`: {rule.code} is not as docs/lint.md has it"


def test_a_finding_knows_its_rule() -> None:
    finding: Finding = check_source(BAD)[0]
    assert finding.rule is RULES["LOS601"] and finding.rule.family == "Names and arguments"

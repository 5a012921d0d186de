"""The linter among files: what is read, left out, silenced and mended, and where findings are told to stand."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from typer.testing import CliRunner

from lossary.cli.app import app
from lossary.errors import ParameterError
from lossary.lint import RULES, Config, check_paths, check_source

EVERY = Config(select=frozenset(RULES), formulas_in_tests=True)
HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
BAD = HEAD + "criterion = nn.HingeLoss()\n"


def run(*words: str | Path, text: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["lint", *map(str, words)], input=text)
    return result.exit_code, result.output


def codes(text: str, path: str = "code.py") -> list[str]:
    return [finding.code for finding in check_source(text, path, select=EVERY)]


# --- mending --------------------------------------------------------------------------------------------------------

SAFE = [
    "torch.log(torch.softmax(z, dim=1))",
    "torch.log(torch.softmax(input=z, dim=1))",
    "torch.softmax(z, -1).log()",
    "z.softmax(1).log()",
    "F.softmax(z, dim=1).log()",
    "torch.log(torch.sigmoid(z))",
    "torch.log(torch.sigmoid(input=z))",
    "torch.log(torch.exp(z).sum(dim=1))",
    "torch.log(torch.sum(torch.exp(z), dim=1))",
    "torch.log(torch.sum(torch.exp(z), 1))",
    "nn.MSELoss(size_average=False)(z, y)",
    "nn.MSELoss(size_average=True)(z, y)",
    "nn.MSELoss(reduce=False)(z, y)",
    "F.l1_loss(z, y, reduce=True)",
    "F.kl_div(z, y.abs(), size_average=False)",
]


def mended(tmp_path: Path, expression: str, *options: str) -> str:
    file = tmp_path / "code.py"
    file.write_text(f"{HEAD}\ndef f(z, y):\n    return {expression}\n")
    run(file, "--fix", *options)
    return file.read_text()


@pytest.mark.filterwarnings("ignore:.*size_average:UserWarning")
@pytest.mark.parametrize("expression", SAFE)
def test_what_is_safe_to_mend_gives_the_same_numbers(tmp_path: Path, expression: str) -> None:
    before = f"{HEAD}\ndef f(z, y):\n    return {expression}\n"
    after = mended(tmp_path, expression, "--select", "LOS303,LOS5")
    assert after != before
    results = []
    for text in (before, after):
        names: dict[str, object] = {"torch": torch, "F": F, "nn": nn}
        exec(compile(text, "code.py", "exec"), names)
        drawn = torch.Generator().manual_seed(0)
        z, y = (torch.randn(5, 7, generator=drawn, dtype=torch.float64) for _ in range(2))
        results.append(names["f"](z, y))  # type: ignore[operator]
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "expression",
    [
        "F.mse_loss(z, y, 'sum')",
        "F.mse_loss(z, y, 'none')",
        "F.smooth_l1_loss(z, y, 0.5)",
        "nn.MSELoss('sum')(z, y)",
        "nn.KLDivLoss()(z, y)",
        "nn.CrossEntropyLoss(weight=[1, 2])(z, y)",
        "torch.sqrt(F.mse_loss(z, y))",
        "torch.log(torch.softmax(z, dim=1, dtype=torch.float64))",
        "torch.log(torch.sigmoid(z, out=y))",
    ],
)
def test_what_changes_numbers_is_left_alone_unless_that_is_asked_for(tmp_path: Path, expression: str) -> None:
    assert f"    return {expression}\n" in mended(tmp_path, expression)


def test_weights_are_mended_to_floating_point_numbers(tmp_path: Path) -> None:
    text = mended(tmp_path, "nn.CrossEntropyLoss(weight=[1, 2])", "--unsafe-fixes")
    names: dict[str, object] = {}
    exec(compile(text, "code.py", "exec"), names)
    loss = names["f"](None, None)  # type: ignore[operator]
    assert float(loss(torch.zeros(2, 2), torch.tensor([0, 1]))) > 0


def test_a_flag_that_is_a_variable_is_not_folded(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    text = (
        HEAD + "class L:\n    def __init__(self, size_average=True):\n        self.size_average = size_average\n\n"
        "    def loss(self):\n        return nn.CrossEntropyLoss(size_average=self.size_average)\n\nl = L()\n"
    )
    file.write_text(text)
    run(file, "--fix", "--unsafe-fixes")
    assert file.read_text() == text


def test_unsafe_fixes_alone_write_nothing(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    text = HEAD + "c = nn.KLDivLoss()\n"
    file.write_text(text)
    code, said = run(file, "--unsafe-fixes")
    assert code == 1 and file.read_text() == text and "--fix --unsafe-fixes" in said
    run(file, "--fix", "--unsafe-fixes")
    assert "batchmean" in file.read_text()


FLAG = "c = nn.MSELoss(size_average=False)"
MENDED = 'c = nn.MSELoss(reduction="sum")'


def test_mending_keeps_mode_links_encoding_and_newlines(tmp_path: Path) -> None:
    real, link = tmp_path / "real.py", tmp_path / "link.py"
    text = f"# coding: latin-1\r\n# é\r\nfrom torch import nn\r\n{FLAG}\r\n"
    real.write_bytes(text.encode("latin-1"))
    real.chmod(0o755)
    link.symlink_to(real)
    run(link, "--fix")
    assert link.is_symlink() and real.stat().st_mode & 0o777 == 0o755
    assert real.read_bytes() == text.replace(FLAG, MENDED).encode("latin-1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.py", "real.py"]


@pytest.mark.parametrize("indent", [None, 1, 2, 4, "\t"])
@pytest.mark.parametrize("plain", [True, False])
def test_mending_a_notebook_changes_one_string(tmp_path: Path, indent: int | str | None, plain: bool) -> None:
    book = {
        "cells": [
            {"cell_type": "markdown", "metadata": {}, "source": ["# é 数\n", "text"]},
            {
                "cell_type": "code",
                "metadata": {},
                "outputs": [{"source": [FLAG]}],
                "source": ["# é\n", "from torch import nn\n", FLAG],
            },
        ],
        "metadata": {"b": 1, "a": [1.50, 1e3]},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    text = json.dumps(book, indent=indent, ensure_ascii=plain) + "\n"
    file = tmp_path / "book.ipynb"
    file.write_text(text, encoding="utf-8")
    run(file, "--fix")
    escaped = [json.dumps(line, ensure_ascii=plain) for line in (FLAG, MENDED)]
    last = (
        text.rindex(escaped[0], 0, text.index('"metadata"', text.index('"outputs"') + 1))
        if False
        else text.rindex(escaped[0])
    )
    assert file.read_text(encoding="utf-8") == text[:last] + escaped[1] + text[last + len(escaped[0]) :]


# --- which files ----------------------------------------------------------------------------------------------------


def test_a_fifo_is_told_of_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "code.py").write_text(BAD)
    assert [(Path(f.path).name, f.code) for f in check_paths([tmp_path])] == [
        ("code.py", "LOS601"),
        ("pipe.py", "LOS902"),
    ]
    assert "no regular file" in run(tmp_path / "pipe.py")[1]


def test_excluded_files_named_outright_are_left_out_only_by_force(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.lossary.lint]\nexclude = ["old/*", "made"]\n')
    files = []
    for name in ("old/a.py", "made/deep/b.py", ".ipynb_checkpoints/c.py", "new.py"):
        files.append(tmp_path / name)
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        files[-1].write_text(BAD)
    assert run(*files)[1].count("LOS601 ") == 4
    assert run("--force-exclude", *files)[1].count("LOS601 ") == 1
    assert run(tmp_path)[1].count("LOS601 ") == 1


def test_formulas_in_tests_are_left_in_peace_unless_asked_for(tmp_path: Path) -> None:
    naive = HEAD + "def f(z):\n    return torch.log(torch.sigmoid(z))\n"
    for name in ("test_a.py", "b_test.py", "tests/c.py", "latest.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(naive)
    assert [Path(f.path).name for f in check_paths([tmp_path], config=Config(root=tmp_path))] == ["latest.py"]
    assert run(tmp_path, "--select", "LOS502")[1].count("LOS502 ") == 4
    (tmp_path / "pyproject.toml").write_text("[tool.lossary.lint]\nformulas-in-tests = true\n")
    assert run(tmp_path)[1].count("LOS502 ") == 4


def test_standard_input_is_read_and_mended() -> None:
    code, said = run("-", text=BAD)
    assert code == 1 and "stdin.py:4:13" in said
    code, said = run("-", "--fix", "--ignore", "LOS601", text=f"from torch import nn\n{FLAG}\n")
    assert code == 0 and MENDED in said
    assert run("-", "--stdin-filename", "a.md", text=f"```python\n{BAD}```\n")[0] == 1
    assert run("-", "other.py", text="")[0] == 2


def test_a_wrong_number_of_processes_is_refused(tmp_path: Path) -> None:
    assert run(tmp_path, "--jobs", "-3")[0] == 2
    with pytest.raises(ParameterError, match="jobs: got 0"):
        check_paths([tmp_path], jobs=0)


# --- what is silenced -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "silent"),
    [
        ("c = nn.HingeLoss()  # noqa", True),
        ("c = nn.HingeLoss()  # noqa: LOS601", True),
        ("c = nn.HingeLoss()  # noqa: los6, E501", True),
        ("c = nn.HingeLoss()  # noqa: no-such-loss", True),
        ("c = nn.HingeLoss()  # noqa: size-average", False),
        ("c = nn.HingeLoss()  # noqa: whatever", False),
        ("c = nn.HingeLoss(); s = '# noqa'", False),
        ('c = [nn.HingeLoss(), """\n# noqa\n"""]', False),
        ("c = nn.HingeLoss(\n    1,\n)  # noqa: LOS601", True),
        ("c = dict(\n    a=1,  # noqa: LOS601\n    b=nn.HingeLoss(),\n)", True),
        ("# noqa\nc = nn.HingeLoss()", False),
        ("c = nn.HingeLoss()\nd = 1  # noqa", False),
        ("# lossary: noqa\nc = nn.HingeLoss()", True),
        ("s = '# lossary: noqa'\nc = nn.HingeLoss()", False),
    ],
)
def test_noqa_is_a_comment_on_a_line_of_the_statement(line: str, silent: bool) -> None:
    assert codes(f"from torch import nn\n{line}\n") == ([] if silent else ["LOS601"])


# --- files that are partly Python -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        "x = x.cuda(async=True)",
        "!pip install torch",
        "print 'loss', 3",
        "def f(:\n    return loss\n",
        "y = (1,\n     2\n",
        "for x in y\n    z = 1\n",
    ],
)
def test_a_syntax_error_hides_its_own_statement_only(broken: str) -> None:
    assert codes(f"from torch import nn\n{broken}\n\nc = nn.HingeLoss()\n") == ["LOS901", "LOS601"]


def test_a_syntax_error_names_the_version_of_python() -> None:
    (finding,) = check_source("import torch\nloss = (\n")
    assert re.search(r"no Python 3\.\d+", finding.message)


def book(*cells: str, **extra: object) -> str:
    made = [{"cell_type": "code", "source": cell} for cell in cells]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, **extra}, indent=1)


@pytest.mark.parametrize(
    "cell",
    [
        "cd data/loss",
        "pip install torch",
        "ls -l loss",
        "!python train.py \\\n  --loss mse \\\n  --lr 1",
        "%run train.py \\\n  --loss mse",
        "  loss = 1\n  loss += 1",
        "%%bash\nfor loss in 1; do echo; done",
        "loss?",
    ],
)
def test_what_ipython_understands_is_no_syntax_error(cell: str) -> None:
    assert codes(book(cell, "from torch import nn\nloss = nn.HingeLoss()"), "book.ipynb") == ["LOS601"]


def test_variables_called_like_commands_stay() -> None:
    assert codes(book("cat = 1\nls = cat\nfrom torch import nn\nloss = nn.HingeLoss(cat)"), "b.ipynb") == ["LOS601"]


def test_old_notebooks_have_worksheets() -> None:
    cells = [{"cell_type": "code", "input": ["from torch import nn\n", "loss = nn.HingeLoss()"]}]
    text = json.dumps({"worksheets": [{"cells": cells}], "metadata": {}, "nbformat": 3})
    assert codes(text, "old.ipynb") == ["LOS601"]


def test_a_cell_is_named_and_the_line_of_the_file_given(tmp_path: Path) -> None:
    file = tmp_path / "book.ipynb"
    cells = ["x = 1", "from torch import nn\nloss = nn.HingeLoss()"]
    made = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    file.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4}, indent=1))
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "HingeLoss" in text)
    said = run(file, "--format", "github")[1]
    assert f"line={line}," in said and "cell 2" in said
    (result,) = json.loads(run(file, "--format", "sarif")[1])["runs"][0]["results"]
    (location,) = result["locations"]
    assert location["physicalLocation"]["region"] == {"startLine": line, "endLine": line}
    assert location["logicalLocations"][0]["name"] == "cell 2" and "cell 2, line 2" in result["message"]["text"]


def test_myst_cells_and_doctests_are_read() -> None:
    page = "# A\n\n```{code-cell} ipython3\n:tags: [hide]\n\n%pylab inline\nfrom torch import nn\nnn.HingeLoss()\n```\n"
    assert [(f.line, f.column, f.code) for f in check_source(page, "page.md")] == [(8, 1, "LOS601")]
    directive = "```{code-block} python\nfrom torch import nn\nnn.HingeLoss()\n```\n"
    assert [(f.line, f.code) for f in check_source(directive, "page.md")] == [(3, "LOS601")]
    module = 'def f():\n    """Do it.\n\n    >>> from torch import nn\n    >>> loss = nn.HingeLoss()\n    """\n'
    assert [(f.line, f.column, f.code) for f in check_source(module, "code.py")] == [(5, 16, "LOS601")]


@pytest.mark.parametrize("before", ["'é'", "'数数'", "'😀'", "'é', '数', '😀'"])
def test_columns_count_characters(before: str) -> None:
    line = f"x = ({before}, nn.HingeLoss())"
    (finding,) = check_source(f"from torch import nn\n{line}\n")
    assert (finding.line, finding.column) == (2, line.index("nn.") + 1)
    assert finding.end_column == finding.column + len("nn.HingeLoss")


@given(st.text(alphabet="é数a😀 ", max_size=12))
def test_columns_count_characters_whatever_stands_before(text: str) -> None:
    line = f"x = ({text!r}, nn.HingeLoss())"
    (finding,) = check_source(f"from torch import nn\n{line}\n")
    assert finding.column == line.rindex("nn.") + 1


# --- work -----------------------------------------------------------------------------------------------------------


def test_expressions_that_are_graphs_are_not_walked_as_trees() -> None:
    doubled = HEAD + "def f(x, loss):\n" + "    x = x + x\n" * 60 + "    return torch.log(1 + torch.exp(x))\n"
    assert codes(doubled) == ["LOS507"]
    nested = HEAD + "def f0(x):\n    return x\n"
    nested += "".join(f"def f{n}(x):\n    return f{n - 1}(x) + f{n - 1}(x)\n" for n in range(1, 40))
    assert codes(nested) == []
    joined = HEAD + "def f(x, y):\n    x = torch.softmax(x, 1)\n" + "    x = torch.cat([x, x])\n" * 60
    assert set(codes(joined + "    return F.cross_entropy(x, y)\n")) <= {"LOS101"}


def test_the_language_server_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lsprotocol", None)
    code, said = run("--lsp")
    assert code == 2 and "pip install 'lossary[lsp]'" in said

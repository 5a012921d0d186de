"""The command line as a user meets it: pages, refusals, pipes, languages."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import lossary
from lossary.__main__ import main
from lossary.cli.app import app
from lossary.text import is_chinese, likelihood, summary, width

EVERY = lossary.names()


def run(*words: str, columns: int | None = None) -> Result:
    env = {"COLUMNS": None if columns is None else str(columns), "NO_COLOR": None, "FORCE_COLOR": None}
    return CliRunner().invoke(app, list(words), env=env, prog_name="lossary")


def said(*words: str, columns: int | None = None) -> str:
    result = run(*words, columns=columns)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    return result.stdout


def refused(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 2 and not result.stdout and "Traceback" not in result.stderr
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.stderr


# --- list -----------------------------------------------------------------------------------------------------------


def test_list_has_a_line_for_each_loss_whole_in_a_pipe_and_cut_in_a_terminal() -> None:
    lines = said("list").splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == EVERY
    assert all(lossary.get(line.split()[0]).summary in line for line in lines[1:-1])
    for columns in (80, 120):
        assert all(width(line) <= columns for line in said("list", columns=columns).splitlines())


def test_list_shows_other_names() -> None:
    assert [line.split()[0] for line in said("list").splitlines() if "balanced_softmax" in line] == ["logit_adjusted"]


def test_list_selects() -> None:
    assert [r["name"] for r in json.loads(said("list", "--family", "margin", "--json"))] == lossary.names(
        family="margin"
    )
    assert "softmax_focal" in said("list", "--task", "multiclass", "--search", "imbalance")
    record = json.loads(said("list", "--json"))[0]
    assert record["formula"] and record["references"] and isinstance(record["parameters"], dict)


def test_list_and_show_speak_chinese() -> None:
    lines = said("list", "--lang", "zh").splitlines()
    assert lines[0].split() == ["名称", "大类", "输入", "目标", "简介"] and f"共 {len(EVERY)} 个" in lines[-1]
    assert {width(line[: line.index(summary(lossary.get(line.split()[0]), "zh"))]) for line in lines[1:-1]} == {
        width(lines[0][: lines[0].index("简介")])
    }, "the columns stand under each other"
    assert "实数" in next(line for line in lines if line.startswith("zero_one")), "alternatives are told one by one"
    found = json.loads(said("list", "--search", "mse", "--lang", "zh", "--json"))[0]
    assert found["summary"] == summary(lossary.get(found["name"]), "zh") and is_chinese(found["summary"])
    page = said("show", "huber", "--lang", "zh", "--no-plot")
    assert page.startswith(f"huber  {summary(lossary.huber, 'zh')}\n") and likelihood(lossary.huber, "zh") in page
    for columns in (40, 80):
        assert all(width(line) <= columns for line in said("list", "--lang", "zh", columns=columns).splitlines()[:-1])


def test_chinese_words_are_searched_in_chinese() -> None:
    found = [r["name"] for r in json.loads(said("list", "--search", "离群值 影响", "--lang", "zh", "--json"))]
    assert found and all("离群值" in summary(lossary.get(name), "zh") for name in found)
    assert "huber" in said("list", "--search", "稳健", "--lang", "zh")
    assert "huber" in said("list", "--search", "稳健"), "in whichever language the answer is"
    assert "leave one of them out" in refused("list", "--search", "毫无此词")


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("合页", "hinge"),
        ("铰链", "hinge"),
        ("交叉熵", "softmax_cross_entropy"),
        ("二元交叉熵", "binary_cross_entropy"),
        ("均方误差", "squared_error"),
        ("平均绝对误差", "absolute_error"),
        ("指数损失", "exponential"),
        ("三元组", "triplet_margin"),
        ("焦点损失", "sigmoid_focal"),
        ("L1正则化", "l1_penalty"),
    ],
)
def test_names_of_chinese_courses_are_understood(words: str, first: str) -> None:
    found = [r["name"] for r in json.loads(said("list", "--search", words, "--lang", "zh", "--json"))]
    assert first in found[:3]
    assert said("show", words, "--no-plot").startswith(f"{first}  ")


def test_families_and_tasks_are_understood_as_the_tables_print_them() -> None:
    assert said("list", "--family", "回归", "--json") == said("list", "--family", "regression", "--json")
    assert said("list", "--task", "多分类", "--json") == said("list", "--task", "multiclass", "--json")
    assert 'unknown family "回龟"' in refused("list", "--family", "回龟")


def test_a_word_that_nothing_mentions_does_not_hide_what_the_others_find() -> None:
    both = lossary.search("robust regression")
    assert both and lossary.search("robust unheardof regression") == both
    assert lossary.search("unheardof") == []
    noisy = lossary.search("noisy")
    assert "generalized_cross_entropy" in noisy and len(noisy) > 1
    counted = said("list", "--search", "sampled_softmax_cross_entropy", "--family", "sampling").splitlines()[-1]
    assert counted == "1 loss. Its page: lossary show NAME"


def test_list_suggests() -> None:
    assert 'unknown family "regresion": did you mean regression?' in refused("list", "--family", "regresion")
    assert "there are" in refused("list", "--task", "xyzzy") and "binary" in refused("list", "--task", "xyzzy")
    assert "huber" in refused("list", "--search", "hubber")


# --- show -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_loss_has_a_page(name: str, lang: str) -> None:
    loss = lossary.get(name)
    page = said("show", name, "--lang", lang, "--no-plot")
    assert loss.formula in page.replace("\n", " ").replace("  ", " ") or len(loss.formula) > 100
    for argument in loss.arguments:
        assert f"  {argument}" in page
    for parameter in loss.defaults:
        assert f"  {parameter}" in page
    assert "∂value/∂" in page and loss.references[0].split(",")[0][:40] in page
    assert "xp." not in page


def test_show_fixes_parameters_and_draws(tmp_path: Path) -> None:
    page = said("show", "huber", "--param", "delta=2")
    assert "delta = 2  ((0, inf); default 1.0)" in page and "huber(delta=2): value and gradient" in page
    file = tmp_path / "curve.svg"
    assert str(file) in said("show", "huber", "--plot", str(file)).replace("\n", "") and file.stat().st_size > 1000
    assert "squared_error" in said("show", "mse", "--no-plot").splitlines()[0]


@pytest.mark.parametrize("columns", [80, 120])
def test_pages_keep_to_the_width(columns: int) -> None:
    for name in ("softmax_cross_entropy", "triplet_margin"):
        for lang in ("en", "zh"):
            page = said("show", name, "--lang", lang, columns=columns)
            assert max(width(line) for line in page.splitlines()) <= columns


# --- explain --------------------------------------------------------------------------------------------------------

WORKED = [
    (["squared_error", "--pred", "1", "2", "3", "--target", "2", "2.5", "3.5"], "mean = sum / N → 0.5\n"),
    (["absolute_error", "--pred", "[1, 2, 3]", "--target", "[2, 2.5, 3.5]"], "mean = sum / N → 0.666667\n"),
    (["smooth_l1", "--pred=1,2,3", "--labels=2,2.5,3.5"], "mean = sum / N → 0.25\n"),
    (["binary_cross_entropy", "--probs", "0.8 0.4 0.3", "--target", "1 0 1"], "mean = sum / N → 0.645981\n"),
    (
        [
            "softmax_cross_entropy",
            "--logits",
            "[[0.05,-0.6461,0.913,-0.0553],[-0.3201,1.5033,0.207,1.8456]]",
            "--labels",
            "[0,0]",
        ],
        "mean = sum / N → 2.215217\n",
    ),
    (["huber", "--array", "pred=-3 1", "--target", "0", "0", "--param", "delta=2"], "mean = sum / N → 2.25\n"),
    (["huber", "--pred", "-3", "1", "--target", "0", "0", "--delta", "2", "--weight", "1", "0"], "→ 4\n"),
]


@pytest.mark.parametrize(("words", "expected"), WORKED, ids=lambda x: x[0] if isinstance(x, list) else "")
def test_worked_examples(words: list[str], expected: str) -> None:
    assert expected in said("explain", *words)
    assert "平均值的梯度" in said("explain", *words, "--lang", "zh")


def test_probabilities_are_refused_where_their_logarithms_belong() -> None:
    rows = np.exp([[0.1, 0.2, 0.7]]) / np.exp([0.1, 0.2, 0.7]).sum()
    message = refused("explain", "nll", "--log-probs", json.dumps(rows.tolist()), "--target", "[1]")
    assert "These are probabilities (rows sum to 1): pass their logarithm" in message


def test_what_became_infinite_stands_on_the_board_without_a_warning() -> None:
    for pred in ("nan 1", "inf 1", "-inf,1", "1e308 -1e308"):
        assert "mean = sum / N → " in said("explain", "squared_error", "--pred", pred, "--target", "0 0")
    assert "sum(weight) (sum of the weights) = inf" in said(*HUBER, "--weight", "1e308", "1e308")


def test_class_weights_on_a_command_line(tmp_path: Path) -> None:
    np.save(tmp_path / "weights.npy", [2.0, 1.0])
    told = [said(*SOFTMAX, *words) for words in (
        ["--class-weight", "2", "1"], ["--class-weight", "[2, 1]"], ["--param", "class_weight=[2, 1]"],
        ["--class-weight", f"@{tmp_path}/weights.npy"],
    )]  # fmt: skip
    assert len(set(told)) == 1 and "mean = sum / N → 2.626523" in told[0]
    assert "class_weight * wanted" in said("show", "softmax_cross_entropy", "--param", "class_weight=[2, 1]")


def test_arrays_from_files(tmp_path: Path) -> None:
    np.save(tmp_path / "pred.npy", np.array([1.0, 2.0]))
    (tmp_path / "target.csv").write_text("1.5,2.5\n")
    text = said("explain", "huber", "--pred", f"@{tmp_path}/pred.npy", "--target", f"@{tmp_path}/target.csv")
    assert "mean = sum / N → 0.125" in text


HUBER = ["explain", "huber", "--pred", "1 2", "--target", "0 0"]
SOFTMAX = ["explain", "softmax_cross_entropy", "--logits", "[[1, 2]]", "--labels", "[0]"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["explain", "focall"], 'unknown loss "focall": did you mean sigmoid_focal, softmax_focal'),
        (["explain", "huber", "--pred", "1"], 'missing target; give --pred "[...]" --target "[...]"'),
        (["explain", "huber", "--pred", "1 x", "--target", "1"], "'1 x' is not an array"),
        (["explain", "huber", "--pred", "--target", "1"], "--pred: nothing given"),
        (["explain", "huber", "--pred", "1", "--logits", "1", "--target", "1"], "pred is given twice"),
        (["explain", "huber", "--pred", "1", "--target", "1", "--delt", "2"], "did you mean delta?"),
        (["explain", "huber", "--pred", "1", "--target", "1", "--param", "delta"], "expected name=value"),
        (["explain", "huber", "--pred", "@no.npy", "--target", "1"], "cannot read 'no.npy': No such file"),
        (["explain", "huber", "--pred", "@no.xls", "--target", "1"], "expected a file ending in .npy, .csv or .txt"),
        (["explain", "huber", "--pred", "1", "--target", "1", "--reduction", "men"], "did you mean mean?"),
        (["explain", "huber", "--pred", "1", "--target", "1", "--lang", "fr"], "expected one of en, zh"),
        (["show", "huber", "--param", "delta=-1"], "delta: got -1, expected a number in (0, inf)"),
        (["show", "huber", "--plot", "curve.pdf"], "expected a name ending in .png, .svg, .html"),
        (["show", "huber", "--plot", ""], "expected a name ending in .png, .svg, .html"),
        (["show", "huber", "--plot", "/nowhere/curve.svg"], "cannot write '/nowhere/curve.svg': No such file"),
        (["show", "huber", "--param", "delta=[1, 2]"], "a page shows one number at a time"),
        ([*HUBER, "--param", "delta=1", "--param", "delta=2"], "delta is given twice"),
        ([*HUBER, "--delta", "1", "--param", "delta=2"], "delta is given twice, by --delta and by --param"),
        ([*HUBER, "--param", "weight=1"], "weight is no parameter of huber; write --weight instead"),
        ([*HUBER, "--param", "lang=zh"], "write --lang instead"),
        ([*HUBER, "--param", "pred=1"], "write --pred instead"),
        ([*HUBER, "--param", "loss=mse"], 'no parameter "loss"'),
        ([*HUBER, "--param", "delta=" + "(" * 5000], "expected a number in (0, inf)"),
        ([*HUBER, "--weight", "1 2 3"], "weight: got shape (3,), expected the shape of the values, (2,)"),
        ([*HUBER, "--mask", "1 0 1"], "mask: got shape (3,)"),
        (["explain", "huber", "--pred", " ", "--target", "1"], "holds no number"),
        (["explain", "huber", "--pred", "[[1, 2], [3]]", "--target", "1"], "its rows have different lengths"),
        (["explain", "huber", "--pred", "[" * 100_000, "--target", "1"], "its brackets are nested too deeply"),
        (["explain", "huber", "--pred", "[null, 1]", "--target", "1"], "could not convert string to float: 'null'"),
        ([*SOFTMAX, "--class-weight", "1", "2", "3"], "expected one number for each of the 2 classes"),
        (["explain", "supcon", "--embeddings", "[[[1, 0]]]", "--labels", "[[0]]"], "expected (b, d), where b is"),
        (["explain", "batch_hard_triplet", "--embeddings", "[[1], [2]]", "--labels", "[0]"], "dimension b is 2"),
        (["explain", "triplet_margin", "--anchor", "1 2", "--positive", "1 2"], "missing negative"),
        (["explain", "generalized_dice", "--pred", "0 1", "--target", "0 1"], "at least 2 dimensions (k, n)"),
        (["check", "hubber"], 'unknown loss "hubber": did you mean'),
    ],
)
def test_refusals_are_one_clear_line(words: list[str], message: str) -> None:
    assert message in refused(*words)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.npy", b"", "expected an array of numbers written by numpy.save"),
        ("binary.npy", bytes(range(200)), "expected an array of numbers written by numpy.save"),
        ("empty.csv", b"", "expected rows of numbers, without a header"),
        ("binary.csv", bytes(range(256)), "expected rows of numbers, without a header"),
        ("header.csv", b"a,b\n1,2\n", "expected rows of numbers, without a header"),
        ("unequal.csv", b"1,2\n3\n", "expected rows of numbers, without a header"),
        ("folder.csv/x", b"", "cannot read"),
    ],
)
def test_files_that_hold_no_array(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    given = tmp_path / name.split("/")[0]
    answer = refused("explain", "huber", "--pred", f"@{given}", "--target", "1 2")
    assert f"pred: cannot read '{given}'" in answer and message in answer


def test_unknown_commands_and_options_are_told_apart() -> None:
    result = run("shw")
    assert result.exit_code == 2 and "Did you mean 'show'" in result.stderr


# --- check ----------------------------------------------------------------------------------------------------------


def test_check_passes_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.search(r"huber +\S+ +\S+ +\d+ +ok", said("check", "huber"))
    outcomes = json.loads(said("check", "nll", "huber", "--seed", "3", "--json"))
    assert [o["name"] for o in outcomes] == ["nll", "huber"] and all(o["ok"] for o in outcomes)
    honest = type(lossary.huber).grad
    monkeypatch.setattr(type(lossary.huber), "grad", lambda self, *a, **k: 1.5 * honest(self, *a, **k))
    result = run("check", "huber")
    assert result.exit_code == 1 and "WRONG" in result.stdout and "differences say" in result.stdout


# --- the words of a command line ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1 0 2", "= [1, 0, 2]"),
        ("1 0 2.5", "= [1.0, 0.0, 2.5]"),
        ("true false", "= [yes,  no]"),
        ("-1e3", "= -1000"),
        ("[-1]", "= [-1]"),
        ("[[1., nan], [-inf, True]]", "[   1,  nan] [-inf,    1]"),  # as Python prints it
        ("-1，2", "= [-1,  2]"),  # a comma of a Chinese keyboard
        ("[1, 99999999999999999999999]", "= [1.000e+00, 1.000e+23]"),
        ("[]", "= []"),
        ("-1e-3,2E5", "= [    -0.001, 200000.000]"),
    ],
)
def test_arrays_on_the_command_line(text: str, shown: str) -> None:
    lines = said("explain", "absolute_error", "--pred", text, "--target", "0").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("  pred"))
    end = lines.index("  target = 0")
    assert " ".join(line.strip() for line in lines[start:end]).removeprefix("pred ") == shown


def test_parameters_and_numbers_without_quotes_on_the_command_line() -> None:
    page = said("explain", "huber", "--pred=1", "2", "--target", "0", "0", "--param", "delta=1e-3")
    assert "  pred = [1, 2]\n" in page and "  delta = 0.001\n" in page
    given = {"1e-3": "0.001", "[1, 2]": "shape (2,)", "none": "None", "word": "'word'", "False": "got 0"}
    for text, shown in given.items():
        result = run("explain", "huber", "--pred", "1", "--target", "0", "--param", f"delta={text}")
        assert shown in result.output, result.output


@pytest.mark.parametrize("command", ["list", "show", "explain", "check"])
def test_help_teaches_by_examples_that_run(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = said(command, "--help", columns=80)
    examples = [line.strip() for line in text.splitlines() if line.startswith(f"  lossary {command} ")]
    assert len(examples) > 1 and "\n  lossary" in text.split("Examples:")[1]
    monkeypatch.chdir(tmp_path)
    np.save("pred.npy", np.ones(2))
    Path("target.csv").write_text("1,2\n")
    for example in examples:
        said(*shlex.split(example)[1:])


def test_the_first_page_names_every_command_with_what_it_is_for() -> None:
    text = said("--help", columns=80)
    for command in ("list", "show", "explain", "check", "compare"):
        assert re.search(rf"^  lossary {command} .*\S  +\w.*\w$", re.sub(" +$", "", text, flags=re.M), re.M)


# --- as a process ---------------------------------------------------------------------------------------------------


def process(*words: str, code: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-m", "lossary"] if code is None else [sys.executable, "-c", code]
    return subprocess.run(
        [*start, *words], capture_output=True, text=True, check=False, env={**os.environ, **env}, encoding="utf-8"
    )


def test_as_a_module_piped() -> None:
    done = process("explain", "huber", "--pred", "[3]", "--target", "[0]", FORCE_COLOR="", PYTHONIOENCODING="utf-8")
    assert done.returncode == 0 and not done.stderr and "\x1b" not in done.stdout and "→ 2.5" in done.stdout
    assert process("--version").stdout == f"lossary {lossary.__version__}\n"
    wrong = process("show", "focall")
    assert wrong.returncode == 2 and wrong.stderr.startswith('error: unknown loss "focall": did you mean')


def test_a_terminal_that_knows_few_letters_is_no_crash() -> None:
    done = process("explain", "huber", "--pred", "3", "--target", "0", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0 and "mean = sum / N ? 2.5" in done.stdout


@pytest.mark.parametrize("columns", ["0", "1", "40", "x"])
def test_any_width_will_do(columns: str) -> None:
    done = process("show", "huber", "--no-plot", COLUMNS=columns)
    assert done.returncode == 0 and not done.stderr and "residual" in done.stdout
    assert not re.search(" $", done.stdout, re.M), "lines end where their text does"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_an_output_that_cannot_be_written_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "lossary", "list"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr == "error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("words", [["list"], ["show", "huber", "--no-plot"], HUBER, ["--help"]], ids=lambda w: w[0])
def test_a_command_loads_only_what_it_needs(words: list[str]) -> None:
    code = """
import sys
from lossary.__main__ import main
try:
    main()
finally:
    sys.stderr.write(" ".join({name.partition(".")[0] for name in sys.modules}))
"""
    loaded = set(process(*words, code=code).stderr.split())
    assert "lossary" in loaded and not loaded & {"matplotlib", "plotext", "sklearn", "polars", "jinja2", "torch"}


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lossary, "check_grad", interrupted)
    monkeypatch.setattr(sys, "argv", ["lossary", "check", "huber"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 130 and "".join(capfd.readouterr()).strip() == ""


def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None; from lossary.__main__ import main; main()"
    done = process(code=code)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "pip install 'lossary[app]'" in done.stderr


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "lossary", "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == ""


def test_the_language_comes_from_the_environment_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["show", "hinge", "--no-plot"]
    monkeypatch.setenv("LOSSARY_LANG", "zh")
    assert is_chinese(said(*words))
    assert not is_chinese(said(*words, "--lang", "en"))
    monkeypatch.setenv("LOSSARY_LANG", "de")
    assert "expected one of en, zh" in refused(*words)


def test_chinese_has_one_word_for_one_thing() -> None:
    """What learners' textbooks call it; the other words are aliases that find it."""
    written = "".join(summary(lossary.get(n), "zh") + likelihood(lossary.get(n), "zh") for n in lossary.names())
    assert not [word for word in ("铰链", "奈特", "转录器", "抽取", "拉力", "遮盖", "搭档") if word in written]
    assert "合页损失" in written

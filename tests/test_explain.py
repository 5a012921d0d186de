"""Explanations: their numbers are those of the library, their steps those of the definition, their words complete."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.catalogue import Loss
from lossary.errors import DomainError, ParameterError
from lossary.testing import random_arrays
from lossary.text import fact, likelihood, phrase, quantity, readable, summary, width

ALL = [lossary.get(name) for name in lossary.names()]
every_loss = pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)

LOGITS = [[0.05, -0.6461, 0.913, -0.0553], [-0.3201, 1.5033, 0.207, 1.8456]]


def arrays_for(loss: Loss, alternative: int = 0) -> list[Any]:
    arrays = random_arrays(loss, np.random.default_rng([*loss.name.encode()]), 4, alternative=alternative)
    if loss.coupling:
        arrays[-1] = np.array([0, 1, 0, 1])
    return arrays


# --- the worked examples --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mean"), [("squared_error", "0.5"), ("absolute_error", "0.666667"), ("smooth_l1", "0.25")]
)
def test_regression_by_hand(name: str, mean: str) -> None:
    board = lossary.explain(name, [1, 2, 3], [2, 2.5, 3.5])
    np.testing.assert_array_equal(board["residual"], [-1, -0.5, -0.5])
    assert f"{board['mean']:.6g}" == mean
    assert f"mean = sum / N → {mean}\n" in str(board)


def test_binary_cross_entropy_by_hand() -> None:
    board = lossary.explain("binary_cross_entropy", [0.8, 0.4, 0.3], [1, 0, 1])
    assert "→ 0.645981\n" in str(board)


def test_the_textbook_route_comes_first_and_the_stable_form_is_a_note() -> None:
    board = lossary.explain("softmax_cross_entropy", LOGITS, [0, 0])
    routes = [f"{step.name} = {step.expression}" for step in board.steps]
    at = routes.index("total = sum(exponentials)")
    assert routes[at - 1 : at + 2] == [
        "exponentials = exp(shifted)",
        "total = sum(exponentials)",
        "log_total = log(total)",
    ]
    np.testing.assert_allclose(np.log(board["total"]), board["log_total"], rtol=1e-12)
    assert not {"is_top", "tops", "others"} & {step.name for step in board.steps}
    notes = {section.key: section.notes for section in board.sections}["steps"]
    assert "log1p(total - 1)" in " ".join(notes)
    assert "实际按 log1p" in str(lossary.explain("softmax_cross_entropy", LOGITS, [0, 0], lang="zh"))


def test_softmax_cross_entropy_reads_as_a_teachers_board() -> None:
    board = lossary.explain("softmax_cross_entropy", LOGITS, [0, 0])
    rows = [[0.2097, 0.1045, 0.4970, 0.1887], [0.0568, 0.3517, 0.0962, 0.4953]]
    np.testing.assert_allclose(board["probabilities"], rows, atol=5e-5)
    np.testing.assert_allclose(board["∂value/∂logits"], rows - np.array([1, 0, 0, 0]), atol=5e-5)
    np.testing.assert_allclose(board["∂mean/∂logits"], (rows - np.array([1, 0, 0, 0])) / 2, atol=5e-5)
    expected = [
        "top = max(logits)",
        "shifted = logits - top",
        "exponentials = exp(shifted)",
        "log_probabilities = shifted - log_total",
        "probabilities = exponentials / total",
        "wanted = one_hot(target)",
        "value = -sum(wanted * log_probabilities)",
        "mean = sum / N",
        "∂value/∂logits = total_cost * probabilities - wanted",
        "∂mean/∂logits = 1/N * ∂value/∂logits",
    ]
    told = [f"{step.name} = {step.expression}" for step in board.steps]
    assert [line for line in told if line in expected] == expected
    text = str(board)
    for fragment in ("[0.2097, 0.1045, 0.4970, 0.1887]", "[0.0568, 0.3517, 0.0962, 0.4953]", "→ 2.215217", "1/N = 1/2"):
        assert fragment in text


def test_the_same_on_five_classes_and_probabilities_refused_in_their_place() -> None:
    logits = np.array(
        [
            [0.1076, -1.4376, -0.6307, 0.6451, -1.5122],
            [1.5105, 0.7662, -1.7587, -1.4581, 1.1357],
            [-1.4673, -0.5111, -0.0779, -0.7404, 1.4447],
        ]
    )
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert "→ 1.353693\n" in str(lossary.explain("nll", log_probs, [1, 0, 4]))
    with pytest.raises(DomainError, match="These are probabilities"):
        lossary.explain("nll", np.exp(log_probs), [1, 0, 4])


def test_kl_divergence_of_two_softmaxes() -> None:
    def softmax(z: Any) -> Any:
        return np.exp(z) / np.exp(z).sum()

    loss = lossary.get("kl_divergence")
    log_p, q = np.log(softmax(np.array([0.1, 0.2, 0.7]))), softmax(np.array([0.2, 0.5, 0.3]))
    assert round(float(lossary.explain(loss, log_p, q).value), 6) == 0.046321


# --- every loss -----------------------------------------------------------------------------------------------------


@every_loss
def test_the_board_holds_the_librarys_own_numbers(loss: Loss) -> None:
    for alternative in range(1 if loss.coupling else len(loss.signatures)):
        arrays = arrays_for(loss, alternative)
        options: dict[str, Any] = {"weight": [0.5, 2.0, 1.0, 0.25], "mask": [True, True, False, True]}
        board = lossary.explain(loss, *arrays, **options)
        value, grads = loss.value_and_grad(*arrays, **options, reduction="mean")
        np.testing.assert_array_equal(board["mean"], value)
        np.testing.assert_array_equal(board.value, value)
        given = grads if isinstance(grads, tuple) else (grads,)
        for name, grad in zip(loss.wrt, given, strict=True):
            np.testing.assert_array_equal(board[f"∂mean/∂{name}"], grad)
        if not loss.coupling:
            np.testing.assert_allclose(board["value"][[0, 1, 3]], loss(*arrays)[[0, 1, 3]])
        assert "2" in next(s for s in board.sections if s.key == "reduction").notes[-1]


@every_loss
def test_the_board_shows_no_machinery_and_fits_a_page(loss: Loss) -> None:
    board = lossary.explain(loss, *arrays_for(loss))
    for step in board.steps:
        assert not re.search(r"\b(xp|numerics)\b|zeros_like|ones_like", step.expression), step.expression
    text, chinese = str(board), str(lossary.explain(loss, *arrays_for(loss), lang="zh"))
    assert "Gradient of the mean" in text and "平均值的梯度" in chinese
    assert text.count("\n") == chinese.count("\n") or abs(text.count("\n") - chinese.count("\n")) < 30
    assert all(len(line) < 200 for line in text.splitlines())


def test_a_debuggers_trace_function_is_neither_replaced_nor_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def tracer(*_: Any) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        monkeypatch.setattr(sys, "settrace", lambda _: pytest.fail("the trace function was replaced"))
        for name in ("softmax_cross_entropy", "nt_xent"):
            lossary.explain(name, *arrays_for(lossary.get(name)))
        found = lossary.diagnose("bce", [0.2, 0.0], [0.0, 1.0])
        assert found.culprit is not None and found.culprit.step == "log_probability"
        assert sys.gettrace() is tracer
    finally:
        monkeypatch.undo()
        sys.settrace(before)


def told(define: Any, *arrays: Any, **params: Any) -> list[str]:
    """The steps of a loss with a definition of its own; it takes what the squared error takes."""
    new = replace(
        lossary.squared_error, name="own", define=define, derivatives=1, parameters=dict.fromkeys(params, "real")
    )
    board = lossary.explain(new, *arrays, **params, reduction="none")
    np.testing.assert_array_equal(board.value, new.value(*arrays, **params))
    return [f"{step.name} = {step.expression}" for step in board.steps]


def test_a_definition_may_close_over_functions_and_hold_any_statement() -> None:
    offset = 2.0

    def halved(x: Any) -> Any:
        doubled = 2 * x
        shifted = doubled + offset
        return (shifted - offset) / 4

    def define(xp: Any, pred: Any, target: Any, *, power: float = 2.0) -> Any:
        """A definition with a bit of everything."""

        def inner(x: Any) -> Any:
            y = x + offset
            return y - offset

        residual = pred - target
        total: Any = xp.zeros_like(residual)
        for k in range(3):
            if k == 1:
                continue
            total = total + inner(residual)
        try:
            part = halved(total)
        finally:
            del k
        with np.errstate(all="ignore"):
            squares = [part**power for _ in range(2)]
        yield squares[0]
        while True:
            slope = power * part
            break
        yield slope

    lines = told(define, [3.0, 1.0], [1.0, 1.0], power=2.0)
    for line in ("residual = pred - target", "total = total + inner(residual)", "∂value/∂pred = power * part"):
        assert line in lines
    assert "doubled = 2 * total" in lines, "the steps of a function of the same module"


def test_a_definition_without_source_is_explained_and_diagnosed_without_its_steps() -> None:
    source = """
def doubled(xp, x):
    return 2 * x

def define(xp, pred, target):
    residual = pred - target
    yield residual * residual
    yield doubled(xp, residual)
"""
    space: dict[str, Any] = {"__name__": "nowhere"}
    exec(source, space)
    assert "residual = pred - target" not in told(space["define"], [3.0], [1.0])
    new = replace(lossary.squared_error, name="own", define=space["define"], derivatives=1)
    found = lossary.diagnose(new, [1.0, np.inf], [0.0, 0.0])
    assert found.culprit is not None and found.culprit.example == (1,)


def test_a_file_that_was_changed_after_its_import_explains_nothing_of_what_was_imported(tmp_path: Path) -> None:
    source = """
def define(xp, pred, target):
    residual = pred - target
    yield residual * residual
    yield 2 * residual
"""
    path = tmp_path / "changing.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("changing", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path.write_text(source.replace("pred - target", "pred + target"))
    assert told(module.define, [3.0], [1.0])[-1] == "∂value/∂pred = ", "the numbers are those of the function"
    spec.loader.exec_module(module)
    assert "residual = pred + target" in told(module.define, [3.0], [1.0])


def chinese_coverage() -> ModuleType:
    """The script behind `make coverage-zh`."""
    path = Path(__file__).resolve().parent.parent / "docs" / "chinese_coverage.py"
    spec = importlib.util.spec_from_file_location("chinese_coverage", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(kind: str) -> dict[str, str]:
    """The Chinese words of a kind, as they are written in the data files."""
    text = (resources.files("lossary.text") / "zh" / f"{kind}.json").read_text("utf-8")
    pairs = json.loads(text, object_pairs_hook=list)
    assert len(dict(pairs)) == len(pairs), f"{kind}.json: a key is given twice"
    return dict(pairs)


def test_what_has_no_chinese_words_is_listed_and_speaks_english() -> None:
    """Words in another language are nothing that a new loss must bring: `make coverage-zh` lists them."""
    coverage = chinese_coverage()
    assert "losses have all their words in Chinese" in coverage.report()
    new = replace(lossary.huber, name="not_yet_told", likelihood="a model", properties=frozenset({"unheard of"}))
    missing = set(coverage.missing(new)) - set(coverage.missing(lossary.huber))
    assert sorted(line.split(":")[0] for line in missing) == ["fact", "likelihood", "summary"]
    assert summary(new, "zh") == new.summary and likelihood(new, "zh") == new.likelihood
    assert fact("unheard of", "zh") == "unheard of"
    assert phrase("{count} words that nobody has translated", "zh", count=3) == "3 words that nobody has translated"


def test_no_chinese_words_at_all_is_no_failure(tmp_path: Path) -> None:
    """The data files may be empty: everything then speaks English."""
    package = tmp_path / "lossary"
    shutil.copytree(lossary.__path__[0], package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (package / "text" / "zh").glob("*.json"):
        file.write_text("{}")
    script = """
import lossary, lossary.plots
huber = lossary.explain("huber", [3.0], [0.0], lang="zh")
assert lossary.huber.summary in str(huber) and "Gradient of the mean" in str(huber)
assert "nothing suspicious" in str(lossary.diagnose("huber", [3.0], [0.0], lang="zh"))
"""
    environment = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_chinese_is_read_only_when_it_is_asked_for() -> None:
    script = """
import lossary, sys
seen = []
sys.addaudithook(lambda event, args: seen.append(str(args[0])) if event == "open" else None)
str(lossary.explain("huber", [3.0], [0.0]))
assert not any(name.endswith(".json") for name in seen), seen
str(lossary.explain("huber", [3.0], [0.0], lang="zh"))
assert any(name.endswith("phrases.json") for name in seen), seen
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_quantity_without_a_chinese_word_is_shown_under_its_name() -> None:
    def define(xp: Any, pred: Any, target: Any, *, xyzzy: float = 1.0) -> Any:
        """A loss with a word of its own."""
        plugh = pred - target
        yield plugh * plugh * xyzzy
        yield 2 * plugh * xyzzy

    new = replace(lossary.huber, name="not_yet_told", define=define, derivatives=1, parameters={"xyzzy": "(0, inf)"})
    assert "plugh" in str(lossary.explain(new, [3.0], [0.0], lang="zh"))
    assert "None" not in str(lossary.explain(new, [3.0], [0.0], lang="zh"))


def test_the_chinese_texts_say_what_the_english_ones_say() -> None:
    for kind, english in (("summaries", summary), ("likelihoods", likelihood)):
        for name, chinese in words(kind).items():
            assert name in lossary.names(), f"{kind}.json: {name!r} is no loss of the catalogue: rename or remove it"
            told = english(lossary.get(name))
            assert told, f"{kind}.json: {name} has no likelihood any more: remove it"
            told = told.replace("One minus", "1 minus")
            for what, pattern in (("names", r"`[a-z]\w*`"), ("numbers", r"\d+"), ("functions", r"[A-Za-z]+\(")):
                found, wanted = (sorted({*re.findall(pattern, text)}) for text in (chinese, told))
                assert found == wanted, f"{kind}.json: {name}: the {what} are {found}, in English {wanted}"
            assert re.search("[\u4e00-\u9fff]", chinese) and told != chinese
    assert all(text.endswith("。") for text in words("summaries").values())


def test_the_board_and_its_notebook_page_speak_chinese_and_fall_back_to_english() -> None:
    board = lossary.explain("huber", [3.0], [0.0], lang="zh")
    chinese = words("summaries").get("huber", lossary.huber.summary)
    assert str(board).splitlines()[0] == f"huber: {chinese}" and chinese in board._repr_markdown_()
    assert likelihood(lossary.mape, "zh") == ""


@every_loss
def test_every_formula_can_be_read_in_a_terminal(loss: Loss) -> None:
    text = readable(loss.formula)
    assert "\\" not in text and "{" not in text.replace("{ ", ""), (
        f"{loss.name}: {text}: teach lossary.text.readable the command"
    )


# --- weights, reductions, shapes of text ----------------------------------------------------------------------------


def test_the_reduction_is_told_as_it_is_done() -> None:
    weighted = lossary.explain("squared_error", [1.0, 2.0, 9.0], [0.0, 0.0, 0.0], weight=[1, 3, 0])
    text = str(weighted)
    assert "sum = sum(weight * value) → 13" in text and "sum(weight) (sum of the weights) = 4" in text
    assert "or an ignored label: 2." in text and "mean = sum / sum(weight) → 3.25" in text
    given = lossary.explain("squared_error", [1.0, 2.0], [0.0, 0.0], denominator=10)
    assert "mean = sum / denominator → 0.5" in str(given) and "1 / denominator * ∂value/∂pred" in str(given)
    summed = lossary.explain("squared_error", [1.0, 2.0], [0.0, 0.0], reduction="sum")
    assert float(summed.value) == 5 and "Gradient of the sum" in str(summed)
    each = lossary.explain("squared_error", [1.0, 2.0], [0.0, 0.0], reduction="none")
    assert "Mean" not in str(each) and each.value.tolist() == [1, 4]
    empty = lossary.explain("squared_error", [1.0], [0.0], mask=[False])
    assert float(empty.value) == 0 and "The mean of nothing is 0." in str(empty)


def test_a_single_example_and_a_large_batch() -> None:
    assert float(lossary.explain("huber", 3.0, 0.0).value) == 2.5
    text = str(lossary.explain("softmax_cross_entropy", np.zeros((5000, 300)), np.zeros(5000, int)))
    assert "4994 more rows" in text and "290 more numbers" in text and len(text) < 20_000


def test_a_coupled_batch_that_is_computed_in_slices_is_explained_as_a_whole() -> None:
    count = 1460  # the table of all pairs is beyond what is made at once
    embeddings, labels = np.random.default_rng(0).standard_normal((count, 2)), np.repeat(np.arange(count // 2), 2)
    board = lossary.explain("batch_hard_triplet", embeddings, labels)
    rows = {step.name: np.shape(step.value)[0] for step in board.steps if np.ndim(step.value)}
    assert set(rows.values()) == {count}, rows
    value, grad = lossary.batch_hard_triplet.value_and_grad(embeddings, labels, reduction="mean")
    assert board["mean"] == value
    np.testing.assert_array_equal(board.gradient, grad)


def test_a_branch_that_was_not_taken_is_not_shown_and_one_that_was_is() -> None:
    plain = [s.name for s in lossary.explain("softmax_cross_entropy", LOGITS, [0, 0]).steps]
    capped = lossary.explain("softmax_cross_entropy", LOGITS, [0, 0], soft_cap=2.0, temperature=0.5)
    assert "capped" not in plain and "scaled" not in plain
    assert {s.name: s.expression for s in capped.steps}["scaled"] == "capped / temperature"


@every_loss
def test_every_name_in_an_expression_stands_on_the_board(loss: Loss) -> None:
    board = lossary.explain(loss, *arrays_for(loss))
    known = {step.name for step in board.steps} | set(loss.defaults) | {"sum", "keep", "inf", "pi"}
    for step in board.steps:
        readable_names = re.sub(r"∂\w*²?/∂\w+²?", "0", step.expression)
        for node in ast.walk(ast.parse(readable_names or "0", mode="eval")):
            if isinstance(node, ast.Name) and not re.search(rf"\b{node.id}\(", readable_names):
                assert node.id in known, f"{loss.name}: {step.name} = {step.expression} uses {node.id}"


def test_a_guard_is_shown_only_where_it_had_something_to_do() -> None:
    usual = lossary.explain("softmax_cross_entropy", LOGITS, [0, 0])
    masked = lossary.explain("softmax_cross_entropy", [[-np.inf, 0.0]], [1])
    assert not any("inf" in s.expression for s in usual.steps)
    assert any("inf" in s.expression for s in masked.steps)


def test_wrong_requests_are_answered_with_a_sentence() -> None:
    with pytest.raises(ParameterError, match="lang: got 'cn', expected one of en, zh"):
        lossary.explain("huber", [1.0], [0.0], lang="cn")  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="did you mean residual"):
        lossary.explain("huber", [1.0], [0.0])["residul"]


def test_tensors_are_read_as_arrays() -> None:
    torch = pytest.importorskip("torch")
    board = lossary.explain("huber", torch.tensor([3.0], requires_grad=True), torch.tensor([0.0]))
    assert float(board.value) == 2.5 and isinstance(board["residual"], np.ndarray)


def test_markdown_for_notebooks() -> None:
    page = lossary.explain("huber", [0.5, 3.0], [0.0, 0.0])._repr_markdown_()
    assert page.startswith("**huber**") and f"$${lossary.huber.formula}$$" in page and page.count("```") % 2 == 0


def test_words() -> None:
    assert quantity("no_such_thing_xyzzy", "zh") is None
    assert width("残差 = 1") == 8 and width("ŷ") == 1


def test_the_chinese_data_files_are_well_formed() -> None:
    """Sorted or in the order of the catalogue, an entry a line, and nothing in them that the package never says."""
    catalogue = {"summaries", "likelihoods", "names"}
    folder = resources.files("lossary.text") / "zh"
    for kind in (file.name.removesuffix(".json") for file in folder.iterdir()):
        table = words(kind)
        order = lossary.names() if kind in catalogue else sorted(table)
        assert list(table) == [key for key in order if key in table], f"{kind}.json: entries out of order, or alien"
        lines = (folder / f"{kind}.json").read_text("utf-8").splitlines()
        assert len(lines) == len(table) + 2, f"{kind}: one entry a line"
    for english, chinese in words("phrases").items():
        assert set(re.findall(r"{(\w+)}", english)) == set(re.findall(r"{(\w+)}", chinese)), english
    trees = [ast.parse(path.read_text("utf-8")) for path in Path(lossary.__path__[0]).rglob("*.py")]
    unused = words("phrases").keys() - {n.value for t in trees for n in ast.walk(t) if isinstance(n, ast.Constant)}
    assert not unused, f"phrases.json: nothing says {unused}"

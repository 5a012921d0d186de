"""Measurements: who is compared, on what terms, and that a wrong answer is never reported. Nothing is timed here."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks import (
    agreement,
    inputs,
    machine,
    memory,
    numpy_formulas,
    peers,
    sklearn_formulas,
    small,
    start,
    timing,
)
from benchmarks.cases import BOTH, VALUE, Answer, Case, Contender, Options, Suite, Timed, numbers, read
from benchmarks.contenders import LossProblem
from benchmarks.drawing import drawing
from benchmarks.engine import measure
from benchmarks.page import index, markdown, ratio_text, verdicts
from benchmarks.report import Entry, Report, Row
from benchmarks.suites import POINTWISE, SUITES
from benchmarks.timing import Times

from lossary import nn
from lossary.errors import ArgumentError, DataError, MissingExtraError


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads that spin for each other take minutes where several tests share a processor."""
    monkeypatch.setattr(sklearn_formulas, "default_count", lambda: 1)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


WITHOUT_COMPILER = [key for key in peers.THEIRS if key != "compile" and peers.PEERS[key].installed]


def measured(suite: Suite, options: Options, against: list[str] | None = None, **further: Any) -> Report:
    chosen = WITHOUT_COMPILER if against is None else against
    return measure(suite, options, against=chosen, seconds=0.0, **{"memory": False, **further})


def check_structure(report: Report) -> None:
    """What holds for the numbers of every report."""
    assert report.rows and not report.wrong
    for row in report.rows:
        # torch has no CTC in bfloat16, for one
        unable = report.dtype == "bfloat16" and all("not implemented" in why for why in row.left_out.values())
        assert not row.left_out or unable, row.left_out
        assert row.entries and row.dtype == report.dtype
        for key, entry in row.entries.items():
            times = entry.times
            assert times.samples >= timing.LEAST and 0 < times.low <= times.median <= times.high
            assert entry.bandwidth is None or entry.bandwidth > 0
            ratio = row.ratio(key)
            if key in peers.OURS:
                assert ratio is None
            elif ratio is not None:
                assert ratio.low <= ratio.middle <= ratio.high and ratio.beside in peers.OURS
                assert ratio.middle == times.median / row.entries[ratio.beside].times.median
    assert Report.from_json(report.to_json()) == report


# --- the suites -----------------------------------------------------------------------------------------------------

SIZES = {
    "pointwise": ((300,),),
    "rows": ((6, 20), (3, 4, 2, 2)),
    "small": ((40,),),
    "blocks": ((40,),),
    "linear": ((6, 4, 20),),
    "ctc": ((3, 20, 6),),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("name", [name for name, suite in SUITES.items() if suite.dimensions[1]])
def test_every_contender_of_every_suite_gives_the_right_answer(name: str, dtype: str) -> None:
    suite = SUITES[name]
    report = measured(suite, Options(dtype, sizes=SIZES.get(name, ())))
    check_structure(report)
    assert {row.loss for row in report.rows} <= set(suite.losses)
    assert report.modes == [VALUE, BOTH]
    expected = {key for key in suite.contenders if key in (*peers.OURS, *WITHOUT_COMPILER)}
    if dtype == "bfloat16":
        expected -= {"arrays", "out", "numpy", "sklearn"}
    assert set(report.keys) == expected - set(report.rows[0].left_out)


@pytest.mark.parametrize("name", list(SUITES))
def test_quick_sizes_are_there_without_asking(name: str) -> None:
    quick = SUITES[name].cases(Options(quick=True))
    assert quick and all(int(np.prod(case.shape)) < 100_000 for case in quick)
    whole = {case.loss for case in SUITES[name].cases(Options())}
    assert whole == {loss for loss in SUITES[name].losses if name not in ("small", "blocks") or small.replaced(loss)}


def test_torch_compile_takes_part() -> None:
    report = measured(SUITES["pointwise"], Options(sizes=((64,),), losses=("huber",)), ["torch", "compile"])
    check_structure(report)
    assert all({"torch", "compile"} <= set(row.entries) for row in report.rows)


def test_rows_say_what_is_different_about_them() -> None:
    report = measured(SUITES["rows"], Options(sizes=((6, 20),)), ["numpy"])
    assert {(row.variant, row.mode) for row in report.rows} == {
        ("", VALUE),
        ("", BOTH),
        ("smoothing and class weights", BOTH),
        ("soft labels", BOTH),
    }


def test_fresh_processes_are_timed_by_themselves() -> None:
    light = replace(SUITES["start"], contenders=("arrays", "numpy"))
    report = measured(light, Options(losses=("import",)), ["numpy"])
    check_structure(report)
    (row,) = report.rows
    assert set(row.entries) == {"arrays", "numpy"}
    contender = start._FirstCalls("huber", (100,)).contender("numpy")
    assert contender is not None and set(contender.runs) == {start.COLD, start.WARM}
    seconds, value = contender.runs[start.WARM]()
    assert seconds > 0 and value == pytest.approx(start._FirstCalls("huber", (100,)).reference().value, rel=1e-5)


def test_a_process_that_fails_says_so() -> None:
    with pytest.raises(Exception, match="no_such_module"):
        start._fresh("import no_such_module")
    with pytest.raises(Exception, match="ended with 3"):
        start._fresh("import sys; sys.exit(3)")


def test_small_has_every_drop_in() -> None:
    ours = {name for name in dir(torch.nn) if name.endswith("Loss") and small.replaced(name)}
    assert len(ours) > 18 and ours <= set(small.NAMES)
    assert {case.loss for case in small.cases(Options())} == ours
    assert {each.name for each in small._drop_ins()} == set(small.NAMES) and list(small.NAMES) == sorted(small.NAMES)
    assert nn.MSELoss is not torch.nn.MSELoss and not small.replaced("Linear")


# --- inputs and right answers ---------------------------------------------------------------------------------------


def test_rounding_is_that_of_torch() -> None:
    x = np.random.default_rng(0).standard_normal(1000)
    theirs = torch.from_numpy(x.astype(np.float32)).bfloat16().float().numpy()
    np.testing.assert_array_equal(inputs.rounded(x, "bfloat16"), theirs)


def test_large_inputs_repeat_the_numbers_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_DRAWN", 7)
    x = inputs.filled((4, 5), "float32", np.random.default_rng(0).standard_normal)
    assert x.shape == (4, 5) and x.dtype == np.float32
    np.testing.assert_array_equal(x.reshape(-1)[7:14], x.reshape(-1)[:7])


@pytest.mark.parametrize("shape", [(37, 5), (9, 4, 3, 2)])
def test_the_right_answer_does_not_depend_on_the_blocks(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, labels = inputs.rows(shape, "float64")
    whole = numpy_formulas.exact(numpy_formulas.softmax_cross_entropy, logits, labels)
    monkeypatch.setattr(numpy_formulas, "_BLOCK", 4 * logits[0].size)
    parts = numpy_formulas.exact(numpy_formulas.softmax_cross_entropy, logits, labels)
    assert parts.value == pytest.approx(whole.value, rel=1e-14)
    np.testing.assert_allclose(parts.grads[0], whole.grads[0], rtol=1e-13)


@pytest.mark.parametrize("name", [*POINTWISE, "softmax_cross_entropy"])
def test_the_right_gradient_is_the_slope_of_the_right_value(name: str) -> None:
    made = inputs.rows((3, 4), "float64") if name not in POINTWISE else inputs.pointwise(name, (12,), "float64")
    problem = LossProblem(name, *made, "float64")
    right = problem.reference()
    step = 1e-6
    for at in np.ndindex(problem.inputs.shape):
        ends = []
        for sign in (1, -1):
            moved = problem.inputs.copy()
            moved[at] += sign * step
            ends.append(replace_inputs(problem, moved).reference().value)
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(right.grads[0][at], rel=1e-4, abs=1e-9)


def replace_inputs(problem: LossProblem, moved: Any) -> LossProblem:
    return LossProblem(problem.loss, moved, problem.target, problem.dtype, problem.params)


def test_answers_of_all_frameworks_are_read() -> None:
    assert numbers(torch.ones(2, dtype=torch.bfloat16)).dtype == np.float32
    assert read(torch.tensor(2.0)) == Answer(2.0)
    value, grads = read((torch.tensor(2.0), [torch.ones(3), torch.zeros(1)]))
    assert value == 2.0 and [g.shape for g in grads] == [(3,), (1,)]


# --- who is wrong is not reported -----------------------------------------------------------------------------------

Plant = Callable[[Any, Any], tuple[Any, Any]]


def doubled(value: Any, grad: Any) -> tuple[Any, Any]:
    return value, 2 * grad


def value_off(value: Any, grad: Any) -> tuple[Any, Any]:
    return 1.01 * value, grad


def one_entry(value: Any, grad: Any) -> tuple[Any, Any]:
    wrong = grad.clone()
    wrong.view(-1)[3] += 0.001 * grad.abs().max()
    return value, wrong


def without_numbers(value: Any, grad: Any) -> tuple[Any, Any]:
    return value, grad * torch.nan


def other_shape(value: Any, grad: Any) -> tuple[Any, Any]:
    return value, grad.T


def unable(value: Any, grad: Any) -> tuple[Any, Any]:
    raise RuntimeError("out of\nideas")


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (doubled, "an entry of its gradient is off by"),
        (value_off, "its value is"),
        (one_entry, "an entry of its gradient is off by 0.001"),
        (without_numbers, "its gradient is not finite"),
        (other_shape, "its gradient has shape (20000, 2), expected (2, 20000)"),
        (unable, "RuntimeError: out of"),
    ],
)
def test_a_wrong_contender_is_left_out_and_told(plant: Plant, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = LossProblem._torch

    def wrong(self: LossProblem) -> Contender:
        made = right(self)

        def both() -> Any:
            value, (grad,) = made.runs[BOTH]()
            return plant(value, grad)

        return Contender({VALUE: made.runs[VALUE], BOTH: both})

    monkeypatch.setattr(LossProblem, "_torch", wrong)
    plain = replace(SUITES["rows"], cases=lambda options: SUITES["rows"].cases(options)[:1])
    report = measured(plain, Options(sizes=((2, 20_000),)), ["torch", "numpy"])
    value, both = report.rows
    assert "torch" in value.entries and not value.left_out
    assert "torch" not in both.entries and "numpy" in both.entries and both.ratio("torch") is None
    assert both.left_out["torch"].startswith(said)
    assert not report.wrong, "a peer's mistake is not ours"
    assert f"torch eager: {said}" in markdown(report)


def test_our_own_mistake_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = LossProblem._arrays
    planted = Contender({VALUE: lambda: 7.0, BOTH: lambda: 1 / 0})
    monkeypatch.setattr(LossProblem, "_arrays", lambda self, out=None: planted if out is None else plain(self, out))
    report = measured(SUITES["pointwise"], Options(sizes=((64,),), losses=("huber",)), ["numpy"])
    assert [sentence.partition("NumPy): ")[2][:12] for sentence in report.wrong] == ["its value is", "ZeroDivision"]
    assert all(row.ratio("numpy") is not None for row in report.rows), "compared with Lossary on tensors instead"


def test_a_case_that_cannot_be_opened_does_not_take_the_others_with_it() -> None:
    def unopened() -> Any:
        raise MemoryError("too large")

    def cases(options: Options) -> list[Case]:
        good = SUITES["pointwise"].cases(options)[0]
        return [Case("huber", (1,), "float32", unopened), good]

    report = measured(replace(SUITES["pointwise"], cases=cases), Options(sizes=((64,),)), ["numpy"])
    assert report.rows[0].left_out["numpy"] == "MemoryError: too large" and not report.rows[0].entries
    assert report.rows[-1].entries and not report.rows[-1].left_out


def test_many_small_entries_that_are_lost_are_noticed_beside_a_large_one() -> None:
    right = np.full(100_001, 1e-5)
    right[0] = -1.0
    lost = np.where(right < 0, right, 0.0)
    said = agreement.disagreement(Answer(1.0, (lost,)), Answer(1.0, (right,)), agreement.TOLERANCES["float32"])
    assert said == "the errors of its gradient add up to 0.5 of it"


def test_tolerances_are_stated_and_tight() -> None:
    exact = Answer(1.0, (np.ones(10),))
    for dtype, tolerance in agreement.TOLERANCES.items():
        inside = Answer(1 + 0.9 * tolerance.value, (np.full(10, 1 + 0.9 * tolerance.total),))
        assert agreement.disagreement(inside, exact, tolerance) == "", dtype
        assert agreement.disagreement(Answer(1 + 1.1 * tolerance.value), exact, tolerance)
        assert agreement.disagreement(Answer(1.0, (np.full(10, 1 + 1.1 * tolerance.entry),)), exact, tolerance)
        assert f"{tolerance.value:g}" in str(tolerance)


# --- taking turns ---------------------------------------------------------------------------------------------------


class Clock:
    """A clock that only the contenders move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def run(self, name: str, seconds: float) -> Callable[[], None]:
        def call() -> None:
            self.now += seconds
            self.calls.append(name)

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(timing, "time", found)
    return found


def test_all_take_turns_for_the_same_time(clock: Clock) -> None:
    runs = {"fast": clock.run("fast", 0.01), "slow": clock.run("slow", 0.1), "slowest": clock.run("slowest", 5.0)}
    times = timing.alternate(runs, 6.0 + 5.1)
    assert {name: {round(t, 9) for t in found} for name, found in times.items()} == {
        "fast": {0.01},
        "slow": {0.1},
        "slowest": {5.0},
    }
    assert len(times["slowest"]) == timing.LEAST, "a slow one has its few samples all the same"
    assert len(times["fast"]) > 4 * len(times["slow"]) > len(times["slowest"])
    places = [at for at, name in enumerate(clock.calls) if name == "slow"]
    gaps = np.diff(places)
    assert gaps.max() <= 3 * gaps.min() + 3, "spread over the rounds, not one after the other"


def test_a_call_of_many_seconds_is_not_waited_for_again(clock: Clock) -> None:
    times = timing.alternate({"long": clock.run("long", 30.0), "fast": clock.run("fast", 0.01)}, 1.0)
    assert times["long"] == [30.0] and len(times["fast"]) >= timing.LEAST


def test_short_calls_are_repeated_until_a_sample_can_be_told(clock: Clock) -> None:
    found = timing.alternate({"short": clock.run("short", 1e-6)}, 0.05)["short"]
    assert found == pytest.approx([1e-6] * len(found))
    assert len(clock.calls) >= 500 * len(found)


def test_nobody_always_comes_after_the_same(clock: Clock) -> None:
    timing.alternate({name: clock.run(name, 0.01) for name in "abc"}, 1.0)
    firsts = {clock.calls[at] for at in range(3, len(clock.calls) - 3, 3)}
    assert firsts == {"a", "b", "c"}


def test_a_run_may_look_at_the_clock_itself(clock: Clock) -> None:
    def child() -> Timed:
        clock.now += 2.0
        return Timed(0.5)

    assert timing.alternate({"child": child}, 1.0)["child"] == [0.5] * timing.LEAST


def test_the_copy_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(timing.np, "zeros", lambda *given: made.append(np.full(*given[:1], 7, given[1])) or made[0])
    timing.copying(1001)()
    assert made[0].shape == (1001,) and (made[0] == 1).all()


# --- memory ---------------------------------------------------------------------------------------------------------

linux = pytest.mark.skipif(not memory.measurable(), reason="only Linux sets the high-water mark back")


@linux
def test_the_peak_counts_what_is_needed_at_once_and_not_what_was_there() -> None:
    there = np.ones(1 << 23)
    assert memory.peak(lambda: there.sum()) < 4 << 20
    two = memory.peak(lambda: (there + 1, there * 2))
    assert 120 << 20 < two < 140 << 20
    one = memory.peak(lambda: there * 2)
    assert 60 << 20 < one < 70 << 20, "the mark was set back"


@linux
def test_a_child_measures_every_case() -> None:
    options = Options(sizes=((1 << 20,),), losses=("squared_error", "huber"))
    taken = memory.peaks("pointwise", "numpy", options, 120.0)
    assert sorted(taken) == [0, 1] and all(4 << 20 <= count < 40 << 20 for count in taken.values())
    lines: list[str] = []
    memory.main(lines.append, ["rows", "sklearn", json.dumps({**vars(Options(sizes=((4, 3, 2, 2),)))})])
    assert lines == [], "scikit-learn has nothing for images"


@linux
def test_memory_comes_into_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "peaks", lambda suite, key, options, seconds: {0: 5 << 20, 1: 7 << 20})
    report = measured(SUITES["pointwise"], Options(sizes=((64,),), losses=("huber", "pinball")), ["numpy"], memory=True)
    taken = {(row.loss, row.mode): row.entries["numpy"].memory for row in report.rows}
    assert taken == {
        ("huber", VALUE): None,
        ("huber", BOTH): 5 << 20,
        ("pinball", VALUE): None,
        ("pinball", BOTH): 7 << 20,
    }
    assert "## Peak memory" in markdown(report) and "| 5.0 |" in markdown(report)


# --- who takes part -------------------------------------------------------------------------------------------------


def test_a_peer_that_is_not_installed_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.PEERS, "jax", replace(peers.PEERS["jax"], modules=("no_such_module",)))
    with pytest.raises(MissingExtraError, match=r"JAX jit \+ optax is not installed: pip install jax optax"):
        peers.chosen(["jax"])
    report = measure(
        SUITES["pointwise"], Options(sizes=((64,),), losses=("pinball",)), seconds=0.0, memory=False, against=None
    )
    assert any(note.startswith("JAX jit + optax is not installed") for note in report.notes)
    assert "jax" not in report.keys


def test_unknown_and_impossible_wishes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match='unknown peer "sklaern": did you mean sklearn'):
        peers.chosen(["sklaern"])
    with pytest.raises(ArgumentError, match="start: has no float64"):
        measured(SUITES["start"], Options("float64"))
    with pytest.raises(ArgumentError, match="start: has sizes of its own"):
        measured(SUITES["start"], Options(sizes=((5,),)))
    with pytest.raises(ArgumentError, match="pointwise: has none of hinge"):
        measured(SUITES["pointwise"], Options(losses=("hinge",)))
    monkeypatch.setitem(peers.PEERS, "nn", replace(peers.PEERS["nn"], modules=("no_such_module",)))
    with pytest.raises(ArgumentError, match="small: needs no_such_module"):
        measured(SUITES["small"], Options())


# --- the report -----------------------------------------------------------------------------------------------------


def report_of(**seconds: float) -> Report:
    """A report of one row with given times, each with a spread of a tenth."""
    entries = {key: Entry(Times(t, 0.9 * t, 1.1 * t, 5)) for key, t in seconds.items()}
    row = Row("huber", "", (1000,), "float32", BOTH, entries, copy=2e10, others=0.0)
    return Report("pointwise", "float32", machine.describe(), [row], seconds=1.0, load=0.0)


def test_a_ratio_is_the_time_of_the_peer_divided_by_ours() -> None:
    report = report_of(arrays=1.0, tensors=2.0, torch=6.0, numpy=0.5)
    (row,) = report.rows
    torch_ratio, numpy_ratio = row.ratio("torch"), row.ratio("numpy")
    assert torch_ratio is not None and numpy_ratio is not None
    assert (torch_ratio.middle, torch_ratio.beside) == (3.0, "tensors")
    assert (numpy_ratio.middle, numpy_ratio.beside) == (0.5, "arrays")
    assert torch_ratio.low == pytest.approx(3 * 0.9 / 1.1) and torch_ratio.high == pytest.approx(3 * 1.1 / 0.9)
    assert ratio_text(torch_ratio) == "3.0x (2.5 to 3.7)" and "| 3.0x (2.5 to 3.7) |" in markdown(report)
    assert next(iter(verdicts(report, BOTH))).startswith("torch eager, value and gradient: 3.0x the time of Lossary")
    written = json.loads(report.to_json())["rows"][0]["ratios"]
    assert written["torch"]["middle"] == 3.0 and set(written) == {"torch", "numpy"}


def test_a_report_comes_back_from_json(tmp_path: Any) -> None:
    report = report_of(arrays=1.0, numpy=0.5)
    path = tmp_path / "x.json"
    path.write_text(report.to_json())
    assert Report.read(path) == report
    for text in ("", "[]", "{}", '{"format": 99}', report.to_json().replace('"rows"', '"lines"')):
        with pytest.raises(DataError, match="this is no report"):
            Report.from_json(text)
    with pytest.raises(DataError, match="cannot be read"):
        Report.read(tmp_path / "missing.json")


def test_the_page_names_the_machine_and_nobody() -> None:
    report = report_of(arrays=1.0, numpy=0.5)
    page = markdown(report)
    for fact in (report.machine["processor"], f"numpy {np.__version__}", "copying", "GB/s", "in float64, within"):
        assert fact in page
    private = {platform.node(), os.path.expanduser("~"), sys.prefix} - {"", "/"}
    assert not [word for word in private if word in report.to_json() + page]


def test_a_busy_machine_is_told() -> None:
    note = machine.busy_note(0.0, 0.8)
    assert "others used 0.8 processors" in note
    assert f"**{note}**" in markdown(replace(report_of(arrays=1.0, numpy=0.5), notes=[note]))


def test_use_of_the_processors_is_split_into_ours_and_that_of_others() -> None:
    before = machine.moment()
    sum(range(3_000_000))
    others = before.others()
    assert others is None or others >= 0
    if before.used is not None:
        assert machine.moment().own > before.own
        planted = replace(before, used=before.used - 100.0)
        found = planted.others()
        assert found is not None and found > (others or 0.0)


def test_the_drawing_has_a_bar_for_each_ratio() -> None:
    text = drawing(report_of(arrays=1.0, tensors=2.0, torch=6.0, numpy=0.5)).decode()
    assert text.count("<svg") == 1 and "<script" not in text
    for word in ("torch eager", "NumPy formula", "3.0x", "0.50x", "huber", BOTH):
        assert word in text
    nothing = drawing(report_of(arrays=1.0)).decode()
    assert "<svg" in nothing and drawing(report_of(arrays=1.0, numpy=2.0), ".png").startswith(b"\x89PNG")


def test_the_page_above_the_pages_lists_them() -> None:
    page = index([report_of(arrays=1.0, numpy=0.5)])
    assert "[pointwise, float32](pointwise-float32.md) | value and gradient | 0.50x |" in page

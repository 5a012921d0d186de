"""The PyTorch examples run, and what they say is so."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are slower on more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_changing_the_import_changes_nothing_but_rounding(capsys: pytest.CaptureFixture[str]) -> None:
    theirs, ours = example("torch_drop_in")["main"]()
    assert len(theirs) == 8
    for a, b in zip(theirs, ours, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=2e-5)
        assert b.accuracy == pytest.approx(a.accuracy, abs=1.5 / 360)  # a digit at the border may fall to either side
    assert ours[-1].loss < ours[0].loss / 2 and ours[-1].accuracy > 0.93
    assert "from lossary import nn" in capsys.readouterr().out


def test_the_translator_writes_dates_it_has_never_seen(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = example("torch_seq2seq")["main"]()
    assert outcome.token_accuracy > 0.99 and outcome.exact > 0.95
    assert f"{outcome.exact:.1%} of the dates" in capsys.readouterr().out
    assert all(text.startswith(("19", "20")) for _, text in outcome.samples)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_padding_that_is_known_equals_padding_that_is_cut_out(dtype: Any) -> None:
    this = example("torch_seq2seq")
    written = [this["write"](day, this["FORMATS"][n]) for n, day in enumerate([this["date"](1996, 3, 3)] * 6)]
    assert written[0] == ("3 March 1996", "1996-03-03") and written[4] == ("March 1996", "1996-03")
    sources, targets = zip(*written, strict=True)
    alphabet = this["Alphabet"]([text for pair in written for text in pair])
    source, target = alphabet.encode(list(sources)), alphabet.encode(list(targets))
    given, wanted = target[:, :-1], target[:, 1:]
    assert [alphabet.decode(row[1:]) for row in target] == [*targets]
    assert 0 < (wanted == this["PAD"]).sum() < wanted.numel() / 2, "some places are padded, not most"

    torch.manual_seed(0)
    model = this["Translator"](len(alphabet)).to(dtype)
    logits = model(source, given)
    reference = this["cut_out"](logits, wanted)
    (expected,) = torch.autograd.grad(reference, logits, retain_graph=True)
    in_weights = torch.autograd.grad(reference, [*model.parameters()], retain_graph=True)
    eps = torch.finfo(dtype).eps
    for way in ("ignored", "masked"):
        loss = this[way](logits, wanted)
        (grad,) = torch.autograd.grad(loss, logits, retain_graph=True)
        torch.testing.assert_close(loss, reference, rtol=4 * eps, atol=0)
        torch.testing.assert_close(grad, expected, rtol=16 * eps, atol=eps / wanted.numel())
        assert (grad[wanted == this["PAD"]] == 0).all()
        found = torch.autograd.grad(loss, [*model.parameters()], retain_graph=True)
        for a, b in zip(found, in_weights, strict=True):
            torch.testing.assert_close(a, b, rtol=1e3 * eps, atol=10 * eps)


def test_what_lies_under_the_padding_does_not_matter() -> None:
    this = example("torch_seq2seq")
    wanted = torch.tensor([[3, 4, 2], [5, 2, this["PAD"]]])
    logits = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    spoilt = logits.clone()
    spoilt[1, 2] = float("nan")
    for way in ("ignored", "masked"):
        moving = spoilt.clone().requires_grad_()
        loss = this[way](moving, wanted)
        loss.backward()
        assert torch.equal(loss.detach(), this[way](logits, wanted))
        assert (moving.grad[1, 2] == 0).all() and moving.grad.isfinite().all()


def test_every_weighting_learns_both_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    rows = example("torch_multitask")["main"]()
    assert [row.weighting for row in rows] == [
        "fixed",
        "uncertainty",
        "dynamic average",
        "geometric mean",
        "gradnorm",
    ]
    for row in rows:
        assert row.accuracy > 0.7 and row.explained > 0.3
        assert row.report.first_nonfinite is None
    weights = {row.weighting: float(row.report.weights["ink"]) / float(row.report.weights["digit"]) for row in rows}
    assert weights["fixed"] == 1 and len(set(weights.values())) == len(rows)
    assert "(log sigma)" in capsys.readouterr().out


def test_losses_for_imbalance_find_the_rare_classes(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row.name: row for row in example("torch_imbalance")["main"]()}
    plain = rows["cross-entropy"]
    for name, gain in (("class-balanced", 0.05), ("logit-adjusted", 0.07)):
        assert rows[name].balanced_accuracy > plain.balanced_accuracy + gain
        assert rows[name].rare > plain.rare + 0.1
        assert rows[name].recalls[0] > 0.9
    assert rows["focal"].balanced_accuracy > plain.balanced_accuracy
    assert "100 zeros to 2 nines" in capsys.readouterr().out


def test_a_document_is_read_and_its_head_takes_less_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = example("torch_char_lm")["main"](level="word", steps=25, characters=60_000)
    assert outcome.perplexity < outcome.guess < outcome.vocabulary
    whole, parts = outcome.costs
    assert (whole.way, parts.way) == ("eager", "lossary.linear")
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    if whole.megabytes == whole.megabytes:  # the system tells
        assert parts.megabytes < whole.megabytes / 2
    assert "Perplexity of unseen text" in capsys.readouterr().out

    own = tmp_path / "own.txt"
    own.write_text("to be or not to be " * 60)
    outcome = example("torch_char_lm")["main"](str(own), level="character", steps=20)
    assert outcome.vocabulary == len({*"to be or not"})
    assert outcome.perplexity < outcome.guess and len(outcome.sample) == 41

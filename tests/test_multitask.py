"""Totals of several tasks: every weighting by hand-computed numbers, by training, and with its state."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest

import lossary
from lossary.errors import ArgumentError, DomainError, ParameterError, ShapeError

torch = pytest.importorskip("torch")

from lossary.nn.multitask import SCHEMES, MultiTaskLoss  # noqa: E402

NAMES = ("near", "far")


def tensor(x: Any) -> Any:
    return torch.tensor(x, dtype=torch.float64, requires_grad=True)


def step(criterion: Any, near: float, far: float) -> Any:
    return criterion(near=tensor(near), far=tensor(far))


def numbers(part: Any) -> dict[str, float]:
    return {name: round(float(x), 12) for name, x in part.items()}


# --- fixed ----------------------------------------------------------------------------------------------------------


def test_fixed_weights_and_the_table() -> None:
    near, far = tensor(3.0), tensor(0.5)
    report = MultiTaskLoss(NAMES, weights={"far": 4.0})(near=near, far=far)
    assert report.total.item() == 5.0
    assert numbers(report.raw) == {"near": 3.0, "far": 0.5}
    assert numbers(report.weighted) == {"near": 3.0, "far": 2.0}
    assert numbers(report.weights) == {"near": 1.0, "far": 4.0}
    assert str(report).splitlines() == [
        "term   weight  value  weighted",
        "near        1      3         3",
        "far         4    0.5         2",
        "total                        5",
    ]
    report.backward()
    assert (near.grad.item(), far.grad.item()) == (1.0, 4.0)
    assert not any(x.requires_grad for x in (*report.raw.values(), *report.weighted.values()))


def test_a_task_of_weight_0_adds_nothing_whatever_it_is() -> None:
    shared = tensor(-1.0)
    report = MultiTaskLoss(NAMES, weights={"far": 0})(near=shared**2, far=torch.log(shared) * 0)
    report.backward()
    assert report.total.item() == 1.0 and shared.grad.item() == -2.0
    assert report.first_nonfinite == "far"


def test_the_first_term_that_is_not_finite_is_named() -> None:
    for weighting in ("fixed", "uncertainty", "dynamic average", "geometric mean"):
        criterion = MultiTaskLoss(["a", "b", "c"], weighting)
        report = criterion(a=tensor(1.0), b=tensor(math.inf), c=tensor(math.nan))
        assert report.first_nonfinite == "b"
        assert "not finite: b" in str(report)
        assert criterion(a=tensor(1.0), b=tensor(2.0), c=tensor(3.0)).first_nonfinite is None


# --- uncertainty ----------------------------------------------------------------------------------------------------


def test_uncertainty_by_hand() -> None:
    criterion = MultiTaskLoss(NAMES, "uncertainty", kinds={"near": "regression", "far": "classification"})
    variance = torch.tensor([math.log(2.0), math.log(4.0)])
    criterion.scheme.log_variance.data = variance.double()
    near, far = tensor(3.0), tensor(8.0)
    report = criterion(near=near, far=far)
    # 3 / (2 * 2) + 8 / 4 + log(sqrt(2)) + log(sqrt(4))
    assert report.total.item() == pytest.approx(0.75 + 2.0 + 0.5 * math.log(8.0), rel=1e-6)
    assert float(report.weights["near"]) == pytest.approx(0.25) and float(report.weights["far"]) == pytest.approx(0.25)
    assert float(report.weighted["(log sigma)"]) == pytest.approx(0.5 * math.log(8.0))
    assert sum(map(float, report.weighted.values())) == pytest.approx(float(report))
    report.backward()
    assert near.grad.item() == pytest.approx(0.25) and far.grad.item() == pytest.approx(0.25)
    # d/ds [c exp(-s) L + s / 2] = 1/2 - c exp(-s) L
    assert criterion.scheme.log_variance.grad.tolist() == pytest.approx([0.5 - 0.75, 0.5 - 2.0])


def test_uncertainty_is_learned_and_ends_where_the_formula_says() -> None:
    criterion = MultiTaskLoss(NAMES, "uncertainty", kinds={"near": "regression", "far": "classification"}).double()
    optimiser = torch.optim.Adam(criterion.parameters(), lr=0.05)
    for _ in range(600):
        optimiser.zero_grad()
        step(criterion, 0.01, 5.0).backward()
        optimiser.step()
    # The minimum over s: the variance is the mean squared error itself, and twice the cross-entropy.
    assert criterion.scheme.log_variance.exp().tolist() == pytest.approx([0.01, 10.0], rel=1e-2)


# --- dynamic average ------------------------------------------------------------------------------------------------


def test_dynamic_average_by_hand() -> None:
    criterion = MultiTaskLoss(NAMES, "dynamic average", temperature=2.0).double()
    for near, far in ((4.0, 1.0), (8.0, 3.0)):  # means of the first epoch: 6 and 2
        assert numbers(step(criterion, near, far).weights) == {"near": 1.0, "far": 1.0}
    criterion.end_epoch()
    assert numbers(step(criterion, 3.0, 1.6).weights) == {"near": 1.0, "far": 1.0}
    criterion.end_epoch()
    slow, fast = math.exp(1.6 / 2.0 / 2.0), math.exp(3.0 / 6.0 / 2.0)
    expected = {"far": 2 * slow / (slow + fast), "near": 2 * fast / (slow + fast)}
    report = step(criterion, 1.0, 1.0)
    assert {k: float(v) for k, v in report.weights.items()} == pytest.approx(expected)
    assert report.total.item() == pytest.approx(2.0)
    criterion.eval()
    step(criterion, 1e9, 1e9)
    criterion.end_epoch()
    assert criterion.scheme.last.tolist() == [1.0, 1.0]
    with pytest.raises(ArgumentError, match="no training step has been made"):
        criterion.end_epoch()


def test_an_epoch_that_was_not_finite_leaves_the_weights_equal() -> None:
    criterion = MultiTaskLoss(NAMES, "dynamic average")
    for near in (1.0, math.nan):
        step(criterion, near, 1.0)
        criterion.end_epoch()
    assert numbers(step(criterion, 1.0, 1.0).weights) == {"near": 1.0, "far": 1.0}


# --- geometric mean -------------------------------------------------------------------------------------------------


def test_geometric_mean_by_hand() -> None:
    near, far = tensor(4.0), tensor(9.0)
    report = MultiTaskLoss(NAMES, "geometric mean")(near=near, far=far)
    assert report.total.item() == pytest.approx(6.0)
    report.backward()
    assert near.grad.item() == pytest.approx(0.75) and far.grad.item() == pytest.approx(1 / 3)
    assert float(report.weights["near"]) == pytest.approx(0.75)
    assert numbers(report.weighted) == {"near": 3.0, "far": 3.0}
    unequal = MultiTaskLoss(NAMES, "geometric mean", weights={"near": 3.0})
    assert step(unequal, 16.0, 1.0).total.item() == pytest.approx(8.0)
    # Units do not matter: one loss in hundredths scales the total and no ratio of slopes.
    assert step(unequal, 1600.0, 1.0).total.item() == pytest.approx(8.0 * 100**0.75)


def test_a_finished_task_ends_a_geometric_mean_without_nan() -> None:
    near, far = tensor(0.0), tensor(9.0)
    report = MultiTaskLoss(NAMES, "geometric mean")(near=near, far=far)
    report.backward()
    assert (report.total.item(), near.grad.item(), far.grad.item()) == (0.0, 0.0, 0.0)
    with pytest.raises(DomainError, match="near: got -1, expected a loss >= 0"):
        step(MultiTaskLoss(NAMES, "geometric mean"), -1.0, 1.0)


# --- gradnorm -------------------------------------------------------------------------------------------------------


def test_gradnorm_by_hand() -> None:
    w = torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    criterion = MultiTaskLoss(NAMES, "gradnorm", shared=w, alpha=1.0).double()
    # near = 3 w0 + 4 w1 = 11 with gradient of norm 5; far = 6 w0 = 6 with gradient of norm 6.
    losses = lambda: {"near": 3 * w[0] + 4 * w[1], "far": 6 * w[0]}  # noqa: E731
    report = criterion(**losses())
    assert report.total.item() == 17.0
    report.backward()
    # At the first step all relative losses are 1 and both have the mean norm, 5.5, as target.
    assert criterion.scheme.weight.grad.tolist() == [-5.0, 6.0]
    assert w.grad.tolist() == [9.0, 4.0]
    criterion.zero_grad()
    w.data[:] = torch.tensor([0.5, 2.375])  # near = 11 as before; far = 3, half of what it was
    report = criterion(**losses())
    report.total.backward()
    # Relative losses 1 and 1/2, their mean 3/4: targets 5.5 * 4/3 and 5.5 * 2/3. far, of norm 6, is above its target.
    assert criterion.scheme.weight.grad.tolist() == [-5.0, 6.0]
    criterion.scheme.weight.data[:] = torch.tensor([3.0, 1.0])
    report = criterion(**losses())
    assert numbers(report.weights) == {"near": 1.5, "far": 0.5}  # they sum to the number of tasks again
    assert report.total.item() == 1.5 * 11 + 0.5 * 3
    criterion.eval()
    assert criterion(**losses()).total.item() == 18.0
    assert [*criterion.parameters()] == [criterion.scheme.weight]


def test_gradnorm_balances_tasks_of_different_scale() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 4)
    trunk, heads = torch.nn.Linear(4, 8), torch.nn.ModuleList([torch.nn.Linear(8, 1), torch.nn.Linear(8, 1)])
    y = x @ torch.randn(4, 2)
    criterion = MultiTaskLoss(NAMES, "gradnorm", shared=trunk.parameters(), alpha=0.0)
    optimiser = torch.optim.Adam(
        [
            {"params": [*trunk.parameters(), *heads.parameters()], "lr": 1e-3},
            {"params": criterion.parameters(), "lr": 0.05},
        ]
    )
    for _ in range(100):
        hidden = torch.tanh(trunk(x))
        near, far = ((head(hidden)[:, 0] - y[:, i]).square().mean() for i, head in enumerate(heads))
        optimiser.zero_grad()
        report = criterion(near=near, far=100 * far)
        report.backward()
        optimiser.step()
    norms = []
    for name, loss in (("near", near), ("far", 100 * far)):
        hidden = torch.tanh(trunk(x))
        i = NAMES.index(name)
        loss = (1, 100)[i] * (heads[i](hidden)[:, 0] - y[:, i]).square().mean()
        grads = torch.autograd.grad(loss, [*trunk.parameters()])
        norms.append(float(report.weights[name]) * math.sqrt(sum(g.square().sum().item() for g in grads)))
    assert 0.5 < norms[0] / norms[1] < 2.0


def test_gradnorm_waits_for_losses_it_can_compare_with() -> None:
    w = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    criterion = MultiTaskLoss(NAMES, "gradnorm", shared=[w]).double()
    criterion(near=w * math.nan, far=w).backward()
    assert criterion.scheme.weight.grad.tolist() == [0.0, 0.0]
    criterion.zero_grad()
    criterion(near=w * 2, far=w).backward()
    assert criterion.scheme.initial.tolist() == [2.0, 1.0]
    assert criterion.scheme.weight.grad.tolist() == [2.0, -1.0]
    with pytest.raises(ArgumentError, match="far: does not depend on the shared parameters"):
        criterion(near=w * 2, far=tensor(1.0))


# --- every weighting ------------------------------------------------------------------------------------------------


def network() -> tuple[Any, Any]:
    torch.manual_seed(0)
    model = torch.nn.ModuleDict(
        {"trunk": torch.nn.Linear(5, 16), "near": torch.nn.Linear(16, 1), "far": torch.nn.Linear(16, 3)}
    )
    x = torch.randn(128, 5)
    y, labels = x.sum(1) * 3, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()

    def losses() -> dict[str, Any]:
        hidden = torch.tanh(model["trunk"](x))
        return {
            "near": torch.nn.functional.mse_loss(model["near"](hidden)[:, 0], y),
            "far": torch.nn.functional.cross_entropy(model["far"](hidden), labels),
        }

    return model, losses


def options(weighting: str, model: Any) -> dict[str, Any]:
    return {"shared": model["trunk"].parameters()} if weighting == "gradnorm" else {}


def train(criterion: Any, model: Any, losses: Any, steps: int, optimiser: Any = None) -> list[float]:
    optimiser = optimiser or torch.optim.Adam([*model.parameters(), *criterion.parameters()], lr=0.01)
    totals = []
    for number in range(steps):
        optimiser.zero_grad()
        report = criterion(**losses())
        report.backward()
        optimiser.step()
        totals.append(float(report))
        if number % 5 == 4:
            criterion.end_epoch()
    return totals


every_weighting = pytest.mark.parametrize("weighting", SCHEMES)


@every_weighting
def test_training_lowers_every_task(weighting: str) -> None:
    model, losses = network()
    before = {k: v.item() for k, v in losses().items()}
    criterion = MultiTaskLoss(NAMES, weighting, **options(weighting, model))
    train(criterion, model, losses, 150)
    after = {k: v.item() for k, v in losses().items()}
    assert after["near"] < before["near"] / 2 and after["far"] < before["far"] / 1.5


@every_weighting
def test_the_state_is_complete(weighting: str) -> None:
    """Stopping, saving, loading into a new module and going on gives what going on would have given."""
    runs = []
    for interrupted in (False, True):
        model, losses = network()
        criterion = MultiTaskLoss(NAMES, weighting, **options(weighting, model))
        optimiser = torch.optim.SGD([*model.parameters(), *criterion.parameters()], lr=0.01)
        train(criterion, model, losses, 13, optimiser)
        if interrupted:
            state = copy.deepcopy(criterion.state_dict())
            criterion = MultiTaskLoss(NAMES, weighting, **options(weighting, model))
            criterion.load_state_dict(state)
            optimiser = torch.optim.SGD([*model.parameters(), *criterion.parameters()], lr=0.01)
        runs.append(train(criterion, model, losses, 12, optimiser))
    assert runs[0] == runs[1]


@every_weighting
def test_copies_pickles_and_words(weighting: str) -> None:
    model, losses = network()
    criterion = MultiTaskLoss(NAMES, weighting, **options(weighting, model))
    assert f"near, far, weighting={weighting!r}" in repr(criterion)
    reference = criterion.eval()(**losses()).total.item()
    twins = (copy.deepcopy((model, criterion))[1], pickle.loads(pickle.dumps(criterion)))
    for twin in twins:
        assert twin(**losses()).total.item() == reference


@every_weighting
def test_half_precision_terms_are_added_in_float32(weighting: str) -> None:
    w = torch.nn.Parameter(torch.tensor(2.0))
    criterion = MultiTaskLoss(NAMES, weighting, **({"shared": w} if weighting == "gradnorm" else {}))
    report = criterion(near=(w * 0.5).bfloat16(), far=(w * 2).bfloat16())
    assert report.total.dtype == torch.float32
    report.backward()
    assert w.grad.isfinite()


# --- a report is a tensor -------------------------------------------------------------------------------------------


@every_weighting
def test_a_report_goes_wherever_a_loss_goes(weighting: str) -> None:
    model, losses = network()
    criterion = MultiTaskLoss(NAMES, weighting, **options(weighting, model)).eval()
    report = criterion(**losses())
    assert isinstance(report, torch.Tensor) and report.shape == () and report.requires_grad
    plain = report.total
    assert type(plain) is torch.Tensor
    for operation in (
        lambda x: x + 1,
        lambda x: 1 - x,
        lambda x: 2 / x,
        lambda x: x * torch.tensor(2.0),
        lambda x: torch.tensor(2.0) * x,
        lambda x: x + x,
        lambda x: x + plain,
        lambda x: plain + x,
        lambda x: sum([x, x]),
        lambda x: x**2,
        lambda x: x.detach(),
        lambda x: x.clone(),
        lambda x: x.double(),
        lambda x: torch.stack([x, x]),
        lambda x: torch.isnan(x),
        lambda x: torch.isfinite(x).all(),
        lambda x: x > 0.5,
        lambda x: x == plain,
        lambda x: torch.nn.functional.relu(x),
        lambda x: x.log(),
    ):
        found, wanted = operation(report), operation(plain)
        assert (
            type(found) is torch.Tensor and torch.equal(found, wanted) and found.requires_grad == wanted.requires_grad
        )
    assert (report.item(), float(report), f"{report:.4f}") == (plain.item(), plain.item(), f"{plain.item():.4f}")
    assert report.tolist() == plain.tolist() and report.detach().numpy() == plain.detach().numpy()
    assert repr(report).startswith(f"<MultiTaskReport {report.item():.6g}: near=")


@every_weighting
def test_a_scaled_report_keeps_its_account(weighting: str) -> None:
    model, losses = network()
    criterion = MultiTaskLoss(NAMES, weighting, **options(weighting, model)).eval()
    report = criterion(**losses())
    for scaled, factor in ((report / 4, 0.25), (2 * report, 2.0), (-report, -1.0)):
        assert type(scaled) is type(report) and torch.equal(scaled.total, report.total * factor)
        assert numbers(scaled.raw) == numbers(report.raw)
        for part in ("weights", "weighted"):
            expected = {name: float(x) * factor for name, x in getattr(report, part).items()}
            assert numbers(getattr(scaled, part)) == pytest.approx(expected)
        assert not any(torch.is_tensor(x) and x.requires_grad for x in scaled.weighted.values())
    model.zero_grad()
    report.backward(retain_graph=True)
    whole = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    (report / 4).backward()
    for parameter, expected in zip(model.parameters(), whole, strict=True):
        torch.testing.assert_close(parameter.grad, expected / 4)


def test_reports_add_up_over_micro_batches_in_place_and_out_of_it() -> None:
    near = tensor(3.0)
    criterion = MultiTaskLoss(NAMES)
    reports = [criterion(near=near * k, far=near) for k in (1, 2)]
    running = torch.zeros((), dtype=torch.float64)
    for report in reports:
        running += report.detach()
    total: Any = 0
    for report in reports:
        total += report / 2
    assert type(running) is type(total) is torch.Tensor and running.item() == 15.0 and total.item() == 7.5
    first = report = reports[0]
    for change in (lambda x, y: x.__iadd__(y), lambda x, y: x.__isub__(y), lambda x, y: x.__imul__(y)):
        changed = change(report, torch.tensor(2.0))
        assert changed is not report and first.item() == 6.0
    report /= 2
    assert report.weights["near"].item() == 0.5 and first.weights["near"].item() == 1.0
    total.backward()
    assert near.grad.item() == 2.5


def test_a_gradient_scaler_scales_it() -> None:
    near = torch.tensor(3.0, requires_grad=True)
    optimiser = torch.optim.SGD([near], lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=128.0)
    report = MultiTaskLoss(["near"])(near=near * near)
    scaler.scale(report / 2).backward()
    assert near.grad.item() == 128.0 * 3.0
    scaler.step(optimiser)
    assert near.grad.item() == 3.0


def test_a_weighted_sum_of_tensors_is_a_tensor_too() -> None:
    x = tensor(3.0)
    cost = lossary.weighted_sum(data=x * x, size=(0.5, x))
    assert isinstance(cost, torch.Tensor) and type(cost + 1) is torch.Tensor
    assert (cost / 2).weights == {"data": 0.5, "size": 0.25}
    (cost / 2).backward()
    assert x.grad.item() == 3.25
    kept = lossary.weighted_sum(data=torch.tensor(2.0)) / 2
    for twin in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        assert str(twin) == str(kept) and type(twin) is type(kept) and torch.equal(twin.total, kept.total)


def test_a_report_is_a_task_of_another_weighting() -> None:
    inner = MultiTaskLoss(NAMES)(near=tensor(1.0), far=tensor(2.0))
    outer = MultiTaskLoss(["inner", "size"])(inner=inner, size=lossary.weighted_sum(l2=tensor(4.0)))
    assert outer.item() == 7.0 and type(outer.raw["inner"]) is torch.Tensor


def test_transforms_and_the_compiler_pass_through() -> None:
    def cost(x: Any) -> Any:
        return lossary.weighted_sum(data=x.square(), size=(0.5, x))

    x = tensor(3.0)
    assert torch.func.grad(lambda x: cost(x) / 2)(x.detach()).item() == 3.25
    assert torch.vmap(lambda x: cost(x).total)(torch.ones(2)).tolist() == [1.5, 1.5]
    compiled = torch.compile(cost, fullgraph=True, backend="eager")(x)
    assert type(compiled) is type(cost(x)) and compiled.item() == 10.5 and str(compiled) == str(cost(x))
    criterion = MultiTaskLoss(NAMES, "uncertainty", kinds="regression")
    step = torch.compile(lambda x: criterion(near=x, far=x), fullgraph=True, backend="eager")
    report = step(x) / 2
    assert numbers(report.weights) == {"near": 0.25, "far": 0.25, "(log sigma)": 0.5}
    report.backward()
    assert x.grad.item() == 0.5


# --- refusals --------------------------------------------------------------------------------------------------------


def test_misuse_is_answered_in_sentences() -> None:
    with pytest.raises(ParameterError, match=r"got 'uncertain', expected one of .*did you mean uncertainty"):
        MultiTaskLoss(NAMES, "uncertain")
    with pytest.raises(ArgumentError, match='the weighting "uncertainty" has no option "kind": did you mean kinds'):
        MultiTaskLoss(NAMES, "uncertainty", kind="regression")
    with pytest.raises(ArgumentError, match="needs shared="):
        MultiTaskLoss(NAMES, "gradnorm")
    with pytest.raises(ArgumentError, match="shared: expected the parameters that all tasks have in common"):
        MultiTaskLoss(NAMES, "gradnorm", shared=[])
    with pytest.raises(ParameterError, match="near: got 'regresion', expected one of regression, classification"):
        MultiTaskLoss(NAMES, "uncertainty", kinds={"near": "regresion", "far": "regression"})
    with pytest.raises(ArgumentError, match="kinds: missing far"):
        MultiTaskLoss(NAMES, "uncertainty", kinds={"near": "regression"})
    with pytest.raises(ArgumentError, match='weights: there is no task "nera": did you mean near'):
        MultiTaskLoss(NAMES, weights={"nera": 2.0})
    with pytest.raises(ParameterError, match="near: got the weight nan"):
        MultiTaskLoss(NAMES, weights={"near": math.nan})
    with pytest.raises(ParameterError, match=r"near: got -1.0, expected a number in \(0, inf\)"):
        MultiTaskLoss(NAMES, "geometric mean", weights={"near": -1.0})
    with pytest.raises(ParameterError, match="temperature: got 0"):
        MultiTaskLoss(NAMES, "dynamic average", temperature=0)
    with pytest.raises(ArgumentError, match="at least one task and each of them once"):
        MultiTaskLoss(["a", "a"])
    with pytest.raises(ArgumentError, match="'first task' cannot be a keyword"):
        MultiTaskLoss(["first task"])
    criterion = MultiTaskLoss(NAMES)
    with pytest.raises(ArgumentError, match="missing far; each step has every task"):
        criterion(near=tensor(1.0))
    with pytest.raises(ArgumentError, match='there is no task "nar": did you mean near'):
        criterion(nar=tensor(1.0), far=tensor(1.0))
    with pytest.raises(ShapeError, match=r"far: got a tensor of shape \(3,\), expected a single number"):
        criterion(near=tensor(1.0), far=tensor([1.0, 2.0, 3.0]))
    with pytest.raises(ArgumentError, match="far: got float, expected a tensor"):
        criterion(near=tensor(1.0), far=1.0)


@every_weighting
def test_the_state_moves_with_the_module(weighting: str) -> None:
    if weighting == "gradnorm":
        pytest.skip("it takes the gradients of a network, which the meta device does not compute")
    criterion = MultiTaskLoss(NAMES, weighting).to("meta")
    near, far = (torch.zeros((), device="meta", requires_grad=True) for _ in NAMES)
    assert criterion(near=near, far=far).total.device.type == "meta"

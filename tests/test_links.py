"""Facts for boosters, heads and baselines: links, undecided predictions, initial scores, what the Hessian is like."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.catalogue import Loss, links
from lossary.catalogue.domains import CONVENTIONS, admits, parse_domain
from lossary.errors import ArgumentError, DomainError
from lossary.testing import draw, namespace, random_arrays, random_params

numpy = namespace(np.zeros(1))
ALL = [lossary.get(name) for name in lossary.names()]
every_loss = pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)


# --- links ------------------------------------------------------------------------------------------------------------

DOMAINS = ["real", "[0, 1]", "(0, inf)", "[0, inf)", "(-1, inf)", "[-1, 1]", "(-inf, 0]", "(-inf, 2)", "[2, 5]"]


def check_link(link: links.Link, predictor: Any, mean: Any) -> None:
    """Inverse each other, and the pullback is the derivative of the inverse."""
    np.testing.assert_allclose(link.inverse(numpy, link.link(numpy, mean)), mean, rtol=1e-12, atol=1e-14)
    normal = link.link(numpy, link.inverse(numpy, predictor))  # of a row of logits, those whose exponentials sum to 1
    np.testing.assert_allclose(link.inverse(numpy, normal), link.inverse(numpy, predictor), rtol=1e-12)
    gap = normal - predictor
    np.testing.assert_allclose(gap, (gap[:, :1] if "softmax" in link.inverse_name else 0) + 0 * gap, atol=1e-12)
    grad = np.random.default_rng(1).normal(size=predictor.shape)
    step = 1e-6
    for at in range(predictor.shape[1]):
        moved = step * (np.arange(predictor.shape[1]) == at)
        ahead, behind = (link.inverse(numpy, predictor + sign * moved) for sign in (1, -1))
        slope = ((ahead - behind) / (2 * step) * grad).sum(1)
        np.testing.assert_allclose(link.pullback(numpy, predictor, grad)[:, at], slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("text", [*DOMAINS, "simplex", "log-simplex"])
def test_the_activation_of_a_domain_reaches_it_and_is_inverted_by_its_link(text: str) -> None:
    rng = np.random.default_rng(0)
    domain = parse_domain(text)
    mean = draw(domain, (5, 3), rng)
    link = links.activation(domain)
    check_link(link, 2 * rng.normal(size=(5, 3)), mean)
    assert all(domain.contains(v) for v in link.inverse(numpy, 3 * rng.normal(size=50))) or "simplex" in text


@every_loss
def test_a_link_relates_the_input_to_the_mean_of_the_target(loss: Loss) -> None:
    if loss.link is None:
        of_a_mean = ("real", "logit", "log-rate", "rate", "probability", "log-probability")
        assert loss.coupling or not loss.target or loss.optional or loss.input not in of_a_mean
        return
    arrays = random_arrays(loss, np.random.default_rng(3), batch=6)
    predictor = arrays[0].reshape(-1, arrays[0].shape[-1] if arrays[0].ndim > 1 else 1)
    mean = loss.link.inverse(numpy, predictor)
    check_link(loss.link, predictor, mean)
    target = loss.argument_domains[0][1]
    if target.kind == "interval":
        assert all(target.contains(v) for v in mean.flat)


def test_the_links_are_those_of_generalised_linear_models() -> None:
    named = {loss.name: (loss.link.name, loss.link.inverse_name) for loss in ALL if loss.link}
    assert named["squared_error"] == named["binary_cross_entropy"] == ("identity", "identity")
    assert named["binary_cross_entropy_with_logits"] == named["multilabel_soft_margin"] == ("logit", "sigmoid")
    assert named["softmax_cross_entropy"] == ("multinomial logit", "softmax")
    assert named["poisson_nll"] == named["gamma_nll"] == ("log", "exp")
    assert named["msle"] == ("identity", "identity")
    assert "hinge" not in named and "nt_xent" not in named and "ctc" not in named
    assert repr(lossary.poisson_nll.link) == "<link log, inverse exp>"


def test_links_work_on_tensors_and_can_be_differentiated() -> None:
    torch = pytest.importorskip("torch")
    logits = torch.tensor([[2.0, -1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    grad = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    xp = namespace(logits)
    for loss in (lossary.nll, lossary.brier):
        (expected,) = torch.autograd.grad((loss.activation.inverse(xp, logits) * grad).sum(), logits)
        torch.testing.assert_close(loss.activation.pullback(xp, logits, grad), expected)


@every_loss
def test_an_undecided_prediction_treats_every_class_alike(loss: Loss) -> None:
    if loss.tasks and loss.tasks[0] in ("binary", "multiclass") and loss.link is not None and not loss.bound:
        value = loss.undecided(4 if loss.signatures[0].rank else 2)
        assert value is not None
        mean = loss.link.inverse(numpy, np.full((1, 4), value))
        np.testing.assert_allclose(mean, 0.25 if loss.signatures[0].rank else 0.5)


def test_undecided_predictions_of_each_convention() -> None:
    assert lossary.brier.undecided(5) == 0.2 and lossary.nll.undecided(5) == -math.log(5)
    assert lossary.hinge.undecided() == 0 and lossary.binary_cross_entropy.undecided() == 0.5
    assert lossary.huber.undecided() is None and lossary.poisson_nll.undecided() is None
    assert {c for c in CONVENTIONS if links.undecided(c) is not None} == {
        "logit",
        "score",
        "probability",
        "log-probability",
    }
    assert admits("probability", ("c",)).kind == "simplex"


# --- initial scores ---------------------------------------------------------------------------------------------------


def has_initial_score(loss: Loss, alternative: int = 0) -> bool:
    try:
        loss.initial_score(random_arrays(loss, np.random.default_rng(0), 4, alternative=alternative)[-1])
    except ArgumentError:
        return False
    return True


SCORED = [loss for loss in ALL if loss.target and not loss.coupling and has_initial_score(loss)]


def targets(loss: Loss, alternative: int, rng: np.random.Generator, count: int = 12) -> Any:
    return random_arrays(loss, rng, count, alternative=alternative)[1]


def mean_at(loss: Loss, score: Any, target: Any, alternative: int, weight: Any, params: dict[str, Any]) -> float:
    rows = loss.signatures[alternative].inputs[0]
    pred = np.broadcast_to(score, (len(target), *np.shape(score)) if rows else target.shape)
    return float(loss.value(pred, target, weight=weight, reduction="mean", check=False, **params))


@pytest.mark.parametrize("loss", SCORED, ids=lambda loss: loss.name)
def test_the_initial_score_minimises_the_mean(loss: Loss) -> None:
    """No other constant is better: neither a little off it, nor far away, at default parameters and at drawn ones."""
    for alternative in range(len(loss.signatures)):
        for seed in range(4):
            rng = np.random.default_rng([seed, *loss.name.encode()])
            target = targets(loss, alternative, rng)
            params = random_params(loss, rng, default=1.0 if seed < 2 else 0.3)
            params = {k: v for k, v in params.items() if k != "ignore_index"}
            weight = None if seed % 2 else rng.random(len(target))
            classes = 4 if loss.signatures[alternative].inputs[1:] == ((),) and loss.signatures[0].rank else None
            score = loss.initial_score(target, weight=weight, classes=classes, **params)
            assert np.isfinite(score).all() and np.asarray(score).dtype == np.float64
            least = mean_at(loss, score, target, alternative, weight, params)
            activation = loss.activation
            raw = activation.link(numpy, np.asarray(score)) if np.ndim(score) else None
            for size in (1e-3, 1e-2, 0.1, 1.0, 5.0):
                for _ in range(6):
                    step = size * rng.normal(size=np.shape(score))
                    other = score + step if raw is None else activation.inverse(numpy, raw + step)
                    allowed = loss.domain(loss.arguments[0], alternative)
                    if raw is None and not allowed.contains(float(other)):
                        continue
                    found = mean_at(loss, other, target, alternative, weight, params)
                    assert found >= least - 1e-9 * max(1, abs(least)), (params, score, other, least, found)


def test_the_closed_forms_are_mean_median_and_quantile() -> None:
    rng = np.random.default_rng(0)
    y, w = rng.gamma(2.0, size=30), rng.random(30)
    average = float((w * y).sum() / w.sum())
    assert lossary.squared_error.initial_score(y, weight=w) == pytest.approx(average, rel=1e-14)
    assert lossary.gamma_nll.initial_score(y, weight=w) == pytest.approx(math.log(average), rel=1e-14)
    assert lossary.tweedie_deviance.initial_score(y, weight=w, power=1.3) == pytest.approx(math.log(average), rel=1e-12)
    assert lossary.absolute_error.initial_score(y) == np.median(y)
    assert lossary.pinball.initial_score([1.0, 2.0, 3.0, 4.0, 5.0], quantile=0.3) == 2.0
    assert lossary.pinball.bind(quantile=0.5).initial_score([1.0, 2.0, 3.0, 4.0]) == 2.5
    assert lossary.absolute_error.initial_score([1.0, 2.0, 30.0], weight=[1, 1, 5]) == 30.0
    signs = np.where(rng.random(30) < 0.3, 1.0, -1.0)
    share = float((signs > 0).mean())
    assert lossary.logistic_margin.initial_score(signs) == pytest.approx(math.log(share / (1 - share)))
    assert lossary.msle.initial_score(y) == pytest.approx(np.expm1(np.log1p(y).mean()), rel=1e-12)


def test_a_parameter_that_moves_the_best_constant_is_taken_into_account() -> None:
    score = lossary.binary_cross_entropy_with_logits.initial_score([1, 1, 0], pos_weight=3.0)
    assert score == pytest.approx(math.log(6), rel=1e-12)
    bound = lossary.softmax_cross_entropy.bind(class_weight=[1.0, 2.0, 1.0])
    row = bound.initial_score([0, 0, 1, 2])
    np.testing.assert_allclose(row - row[2], np.log([2.0, 2.0, 1.0]), atol=1e-7)


def test_where_every_prediction_between_two_is_as_good_it_is_halfway() -> None:
    assert lossary.hinge.initial_score([1, -1]) == pytest.approx(0.0, abs=1e-12)
    assert lossary.hinge.initial_score([1, -1, 1], margin=1000.0) == pytest.approx(1000.0, rel=1e-12)
    assert lossary.epsilon_insensitive.initial_score([0.0, 1.0], epsilon=5.0) == pytest.approx(0.5, abs=1e-12)


def test_it_is_finite_where_a_class_or_a_count_never_occurs() -> None:
    for score in (
        lossary.binary_cross_entropy_with_logits.initial_score([1.0, 1.0]),
        lossary.sigmoid_focal.initial_score([1.0, 1.0]),
        lossary.poisson_nll.initial_score([0, 0]),
        lossary.softmax_cross_entropy.initial_score([0, 0], classes=3),
        lossary.exponential.initial_score([1, 1]),
    ):
        assert np.isfinite(score).all() and 30 < np.abs(score).max() < 100


def test_masks_weights_ignored_labels_and_one_hot_targets() -> None:
    loss = lossary.softmax_cross_entropy
    frequent = np.log([0.5, 0.25, 0.25])
    labels = [0, 0, 1, 2]
    np.testing.assert_allclose(loss.initial_score(labels), frequent)
    np.testing.assert_allclose(loss.initial_score(np.eye(3)[labels]), frequent)
    np.testing.assert_allclose(loss.initial_score(np.eye(3, dtype=int)[labels]), frequent)
    np.testing.assert_allclose(loss.initial_score([*labels, -100], ignore_index=-100), frequent)
    np.testing.assert_allclose(loss.initial_score([*labels, 1], mask=[1, 1, 1, 1, 0]), frequent)
    np.testing.assert_allclose(loss.initial_score([0, 1, 2], weight=[2, 1, 1]), frequent)
    per_label = lossary.multilabel_soft_margin.initial_score([[1, 0], [1, 1], [0, 0], [1, 0]])
    np.testing.assert_allclose(per_label, [math.log(3), -math.log(3)])


def test_targets_may_be_tensors() -> None:
    torch = pytest.importorskip("torch")
    assert lossary.squared_error.initial_score(torch.tensor([1.0, 3.0], requires_grad=True)) == 2.0


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: lossary.ctc.initial_score([0, 1]), ArgumentError, "no initial score"),
        (lambda: lossary.nt_xent.initial_score([0, 1]), ArgumentError, "no initial score"),
        (lambda: lossary.zero_one.initial_score([0, 1]), ArgumentError, "no initial score"),
        (lambda: lossary.poisson_nll.initial_score([0.5]), DomainError, "whole numbers"),
        (lambda: lossary.softmax_cross_entropy.initial_score([0, 3], classes=3), DomainError, "labels up to 3"),
        (lambda: lossary.huber.initial_score([1.0], mask=[0]), ArgumentError, "no target that is kept"),
        (lambda: lossary.huber.initial_score([1.0], detla=1), ArgumentError, "delta"),
    ],
)
def test_what_has_no_initial_score_says_so(call: Any, kind: Any, said: str) -> None:
    with pytest.raises(kind, match=said):
        call()


# --- the Hessian ------------------------------------------------------------------------------------------------------


def diagonals(loss: Loss, defaults: bool) -> list[list[Any]]:
    """Diagonals of the Hessian of drawn examples, by array, one for each draw of the parameters."""
    found = []
    for seed in range(6):
        rng = np.random.default_rng([seed, *loss.name.encode()])
        params = {} if defaults else random_params(loss, rng, default=0.2)
        arrays = random_arrays(loss, rng, 64, alternative=seed % len(loss.signatures))
        hess = loss.hess(*arrays, **params)
        found.append(list(hess) if isinstance(hess, tuple) else [hess])
    return found


CURVED = [
    loss for loss in ALL if loss.derivatives > 1 and loss.coupling is None and "evaluation" not in loss.properties
]


@pytest.mark.parametrize("loss", CURVED, ids=lambda loss: loss.name)
def test_the_record_says_whether_the_hessian_is_constant(loss: Loss) -> None:
    drawn = diagonals(loss, defaults=False)
    constant = all((x == x.flat[0]).all() for part in drawn for x in part)
    assert loss.constant_hessian == constant, (
        f"{loss.name}: its Hessian is {'' if constant else 'not '}one number: say 'constant curvature' (or 'piecewise "
        "linear', if it is 0) among the properties of the record exactly if it is"
    )
    zero = all((x == 0).all() for part in drawn for x in part)
    assert ("piecewise linear" in loss.properties) == zero


@pytest.mark.parametrize("loss", CURVED, ids=lambda loss: loss.name)
def test_the_record_says_whether_the_hessian_is_degenerate(loss: Loss) -> None:
    drawn = diagonals(loss, defaults=True) + ([] if "convex" in loss.properties else diagonals(loss, defaults=False))
    positive = all((x > 0).all() for part in drawn for x in part)
    assert loss.degenerate_hessian != positive, (
        f"{loss.name}: the diagonal of its Hessian is {'' if positive else 'not '}positive for all that is drawn: say "
        "'partly linear' among the properties of the record if a convex loss is linear on part of its domain"
    )


def test_losses_for_boosters_by_their_hessian() -> None:
    assert lossary.squared_error.constant_hessian and not lossary.squared_error.degenerate_hessian
    assert lossary.absolute_error.constant_hessian and lossary.absolute_error.degenerate_hessian
    assert not lossary.huber.constant_hessian and lossary.huber.degenerate_hessian
    assert not lossary.poisson_nll.constant_hessian and not lossary.poisson_nll.degenerate_hessian
    assert "huber" in lossary.names(degenerate_hessian=True)

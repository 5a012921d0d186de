"""Names: aliases are attributes of the package, unknown names say what is near, and a name stands for its loss."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.errors import ArgumentError, UnknownLossError

ALIASES = {alias: name for name in lossary.names() for alias in lossary.get(name).aliases}
PRED, TARGET = [0.5, 3.0, -1.0], [0.0, 0.0, 0.5]


# --- aliases as attributes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_an_attribute_and_hides_nothing(alias: str) -> None:
    assert alias.isidentifier()
    assert getattr(lossary, alias) is lossary.get(ALIASES[alias])
    assert alias in dir(lossary)
    assert alias not in lossary.names()


def test_aliases_can_be_imported() -> None:
    from lossary import bce, cross_entropy, mse

    assert (mse, cross_entropy, bce) == (
        lossary.squared_error,
        lossary.softmax_cross_entropy,
        lossary.binary_cross_entropy,
    )


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_users_alias_hides_neither_module_nor_function() -> None:
    said = run(
        """
import lossary
from lossary.catalogue import loss

@loss(family="regression", signature="(),()->()", input="real", target="real", formula="0",
      aliases=("plots", "mean", "own error", "own_error"))
def mine(xp, pred, target):
    "Nothing."
    yield pred - target
    yield xp.ones_like(pred)
    yield xp.zeros_like(pred)

from lossary import plots
assert plots.__name__ == "lossary.plots"
assert not isinstance(lossary.mean, lossary.Loss)
assert lossary.own_error is lossary.mine is lossary.get("plots") is lossary.get("own error")
assert "own error" not in dir(lossary) and "own_error" in dir(lossary)
print("done")
"""
    )
    assert said == "done\n"


def test_a_star_import_brings_no_aliases() -> None:
    """Names as short as `l1` or `actor` are for whoever asks for them."""
    assert (
        run("from lossary import *; print('huber' in dir(), 'l1' in dir(), 'actor' in dir())") == "True False False\n"
    )


# --- unknown names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("mes", "lossary.mse"),
        ("hubber", "lossary.huber"),
        ("HuberLoss", "lossary.huber"),
        ("MSELoss", "lossary.squared_error"),
        ("huber_loss", "lossary.huber"),
        ("crossentropy", "lossary.cross_entropy"),
        ("value_and_gradient", "lossary.value_and_grad"),
        ("check_gradient", "lossary.check_grad"),
        ("plot", "lossary.plots"),
        ("traning", "lossary.training"),
    ],
)
def test_an_unknown_name_says_what_is_near(wrong: str, meant: str) -> None:
    with pytest.raises(AttributeError) as refusal:
        getattr(lossary, wrong)
    assert f"'{wrong}'" in str(refusal.value)
    assert meant in str(refusal.value).partition("did you mean ")[2]
    with pytest.raises(ImportError) as refused:
        exec(f"from lossary import {wrong}")
    assert f"'{wrong}'" in str(refused.value)
    assert meant in str(refused.value).partition("did you mean ")[2]


def test_a_module_that_is_not_imported_is_named_as_one() -> None:
    said = run("import lossary\ntry: lossary.plots\nexcept AttributeError as error: print(error)")
    assert "it is a module; write import lossary.plots" in said


def test_private_names_and_probes_are_refused_shortly() -> None:
    for name in ("_huber", "__wrapped__", "__path_of_nothing__"):
        assert not hasattr(lossary, name)
    with pytest.raises(AttributeError, match=r"no attribute '_huber'$"):
        _ = lossary._huber
    with pytest.raises(AttributeError, match=r"no attribute 'qqqqzzzz'$"):
        _ = lossary.qqqqzzzz


# --- names are accepted wherever losses are --------------------------------------------------------------------------


ANY = inspect.signature(lambda self, loss, *arrays, **params: None)


def torch_module(name: str) -> Any:
    pytest.importorskip("torch")
    return importlib.import_module(name)


def linear(form: str, loss: Any) -> Any:
    rng = np.random.default_rng(0)
    hidden, weight = rng.standard_normal((4, 3)), rng.standard_normal((5, 3))
    return getattr(lossary, form)(loss, hidden, weight, np.array([0, 1, 4, 2]))


def network(loss: Any, then: Callable[[Any, Any, Any], Any]) -> Any:
    from lossary import training

    x = np.linspace(-1, 1, 12).reshape(-1, 1)
    model = training.mlp(1, [], 1, seed=0)
    training.fit(model, loss, x, x[:, 0], epochs=2, seed=0)
    return then(model, x, x[:, 0])


# How each public function that takes a loss is called with one; what it gives must not depend on the spelling.
CALLS: dict[str, Callable[[Any], Any]] = {
    "lossary.value": lambda loss: lossary.value(loss, PRED, TARGET, reduction="mean"),
    "lossary.value_and_grad": lambda loss: lossary.value_and_grad(loss, PRED, TARGET, weight=[1.0, 2.0, 0.0]),
    "lossary.hess": lambda loss: lossary.hess(loss, PRED, TARGET),
    "lossary.grad_hess": lambda loss: lossary.grad_hess(loss, PRED, TARGET),
    "lossary.check_grad": lambda loss: str(lossary.check_grad(loss, PRED, TARGET)),
    "lossary.explain": lambda loss: str(lossary.explain(loss, PRED, TARGET)),
    "lossary.diagnose": lambda loss: str(lossary.diagnose(loss, PRED, TARGET)),
    "lossary.get": lambda loss: lossary.get(loss),
    "lossary.testing.random_arrays": lambda loss: importlib.import_module("lossary.testing").random_arrays(
        loss, np.random.default_rng(0)
    ),
    "lossary.testing.extreme_arrays": lambda loss: importlib.import_module("lossary.testing").extreme_arrays(
        loss, np.random.default_rng(0)
    ),
    "lossary.testing.exercised": lambda loss: importlib.import_module("lossary.testing").exercised(loss),
    "lossary.testing.never_run": lambda loss: importlib.import_module("lossary.testing").never_run(loss),
    "lossary.testing.run": lambda loss: importlib.import_module("lossary.testing").run(loss, (PRED, TARGET), {}),
    "lossary.testing.random_params": lambda loss: importlib.import_module("lossary.testing").random_params(
        loss, np.random.default_rng(0)
    ),
    "lossary.testing.corner_params": lambda loss: importlib.import_module("lossary.testing").corner_params(loss),
    "lossary.plots.curve": lambda loss: str(importlib.import_module("lossary.plots").curve(loss, points=8)),
    "lossary.plots.curves": lambda loss: str(importlib.import_module("lossary.plots").curves(loss, points=8)),
    "lossary.plots.path": lambda loss: repr(importlib.import_module("lossary.plots").path(loss)),
    "lossary.training.Criterion": lambda loss: (
        importlib.import_module("lossary.training").Criterion(loss).forward(PRED, TARGET)
    ),
    "lossary.plots.plot": lambda loss: importlib.import_module("lossary.plots").plot(loss, points=8),
    "lossary.plots.targets": lambda loss: importlib.import_module("lossary.plots").targets(loss),
    "lossary.training.fit": lambda loss: network(loss, lambda model, x, y: model.forward(x)),
    "lossary.training.evaluate": lambda loss: network(
        lossary.huber, lambda model, x, y: importlib.import_module("lossary.training").evaluate(model, loss, x, y)
    ),
    "lossary.nn.from_record": lambda loss: repr(torch_module("lossary.nn").from_record(loss)),
    "lossary.nn.from_catalogue.RecordLoss": lambda loss: repr(
        torch_module("lossary.nn.from_catalogue").RecordLoss(loss)
    ),
    "lossary.nn.naming.module_name": lambda loss: torch_module("lossary.nn.naming").module_name(loss),
    "lossary.nn.naming.base_name": lambda loss: torch_module("lossary.nn.naming").base_name(loss),
    "lossary.nn.naming.constants": lambda loss: torch_module("lossary.nn.naming").constants(loss),
    "lossary.nn.naming.signature_of_call": lambda loss: str(
        torch_module("lossary.nn.naming").signature_of_call(ANY, loss)
    ),
    "lossary.nn.naming.signature_of_constructor": lambda loss: str(
        torch_module("lossary.nn.naming").signature_of_constructor(ANY, loss)
    ),
    "lossary.nn.from_catalogue.module_class": lambda loss: repr(
        torch_module("lossary.nn.from_catalogue").module_class(
            loss, torch_module("lossary.nn.from_catalogue").RecordLoss, "somewhere"
        )
    ),
}
# On rows of logits, and on data of a task.
OTHERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "lossary.linear": ("cross_entropy", lambda loss: linear("linear", loss)),
    "lossary.linear_value_and_grad": ("cross_entropy", lambda loss: linear("linear_value_and_grad", loss)),
    "lossary.compare.compare": (
        "cross_entropy",
        lambda loss: (
            importlib.import_module("lossary.compare")
            .compare("iris", loss, model="linear", epochs=1, folds=2, seeds=1)
            .rows[0]
            .scores
        ),
    ),
    "lossary.compare.head_for": (
        "cross_entropy",
        lambda loss: importlib.import_module("lossary.compare").head_for(
            loss, importlib.import_module("lossary.data").load("iris")
        ),
    ),
    "lossary.nn.from_catalogue.ClassifierLoss": (
        "aam_softmax",
        lambda loss: repr(torch_module("lossary.nn.from_catalogue").ClassifierLoss(loss, 2, 3)),
    ),
    "lossary.nn.penalties.ParameterPenalty": (
        "ridge",
        lambda loss: repr(torch_module("lossary.nn.penalties").ParameterPenalty(loss, 0.1)),
    ),
}
EVERY = {name: ("mse", call) for name, call in CALLS.items()} | OTHERS


def public_functions() -> set[str]:
    """Every public function or class of the documented modules that takes a loss."""
    pytest.importorskip("torch")
    places = ["lossary", "lossary.testing", "lossary.plots", "lossary.training", "lossary.compare", "lossary.nn"]
    places += [f"lossary.nn.{name}" for name in ("catalogue", "naming", "from_catalogue", "penalties")]
    found: dict[int, str] = {}
    for place in places:
        module = importlib.import_module(place)
        for name in getattr(module, "__all__", dir(module)):
            member = getattr(module, name)
            own = str(getattr(member, "__module__", ""))
            inside = own.startswith("lossary") if place in ("lossary", "lossary.nn") else own.startswith(place)
            if name.startswith("_") or not inside or not (inspect.isfunction(member) or inspect.isclass(member)):
                continue
            if inspect.isclass(member) and (
                hasattr(member, "__dataclass_fields__") or issubclass(member, (Exception, Warning))
            ):
                continue  # a result, which holds a loss, or an error
            taken = inspect.signature(member).parameters.values()
            if any("Loss" in str(p.annotation).replace("RecordLoss", "") for p in taken):
                found.setdefault(id(member), f"{place}.{name}")
    return set(found.values())


def test_every_public_function_that_takes_a_loss_is_tried_here() -> None:
    # `read_loss` reads "name:param=value", which is more than a name.
    assert public_functions() - {"lossary.compare.read_loss"} == EVERY.keys()


@pytest.mark.parametrize("name", EVERY)
def test_a_name_is_as_good_as_the_loss(name: str) -> None:
    alias, call = EVERY[name]
    by_loss, by_name, by_alias = call(lossary.get(alias)), call(lossary.get(alias).name), call(alias)
    np.testing.assert_equal(by_name, by_loss)
    np.testing.assert_equal(by_alias, by_loss)


@pytest.mark.parametrize("name", EVERY)
def test_a_name_that_is_unknown_and_what_is_no_loss_get_a_sentence(name: str) -> None:
    call = EVERY[name][1]
    with pytest.raises(UnknownLossError, match="did you mean squared_error"):
        call("squared_eror")
    with pytest.raises(ArgumentError, match="got the class HuberLoss, expected a loss"):
        call(type("HuberLoss", (), {}))


def test_what_is_no_loss_is_named_with_the_loss_that_was_meant() -> None:
    torch = pytest.importorskip("torch")
    from lossary import nn

    for wrong, what, meant in [
        (torch.nn.CrossEntropyLoss, "the class CrossEntropyLoss", "softmax_cross_entropy"),
        (torch.nn.BCEWithLogitsLoss(), "an object of type BCEWithLogitsLoss", "binary_cross_entropy_with_logits"),
        (torch.nn.functional.smooth_l1_loss, "the function smooth_l1_loss", "smooth_l1"),
        (nn.FocalLoss(), "an object of type SigmoidFocalLoss", "sigmoid_focal"),
        (nn.DiceLoss, "the class DiceLoss", "dice"),
    ]:
        with pytest.raises(ArgumentError) as refusal:
            lossary.value_and_grad(wrong, PRED, TARGET)
        assert str(refusal.value) == (
            f"loss: got {what}, expected a loss of the catalogue or its name; "
            f'did you mean lossary.{meant}, or "{meant}"?'
        )
    for wrong in (PRED, None, 3, torch.ones(2), lambda pred, target: pred):
        with pytest.raises(ArgumentError, match=r"made with lossary\.catalogue\.loss"):
            lossary.value_and_grad(wrong, PRED, TARGET)

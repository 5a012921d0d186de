"""A module for every loss: made from its record, equal to its function, and at home in PyTorch."""

from __future__ import annotations

import ast
import copy
import inspect
import io
import pickle
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.catalogue import Loss, loss
from lossary.errors import ArgumentError, DomainError, ParameterError, ShapeError
from lossary.testing import random_arrays, random_params
from makers import maker

torch = pytest.importorskip("torch")

from lossary import catalogue as records  # noqa: E402
from lossary.nn import catalogue as nn  # noqa: E402
from lossary.nn.from_catalogue import ClassifierLoss, RecordLoss  # noqa: E402
from lossary.nn.naming import class_name, constants, module_name  # noqa: E402
from lossary.nn.penalties import ParameterPenalty  # noqa: E402

ALL = [lossary.get(name) for name in lossary.names()]
ON_ARRAYS = [record for record in ALL if record.family != "penalty"]
SMOOTH = [record for record in ON_ARRAYS if "evaluation" not in record.properties]
every_loss = pytest.mark.parametrize("record", ON_ARRAYS, ids=lambda record: record.name)
every_smooth_loss = pytest.mark.parametrize("record", SMOOTH, ids=lambda record: record.name)
BATCH = 4
MADE = [name for name in nn.__all__ if name != "from_record"]


def case(record: Loss, seed: int, dtype: Any = torch.float64) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """A module of the loss with random parameters, the arrays it awaits, and all the function wants."""
    rng = np.random.default_rng([seed, *record.name.encode()])
    arrays = random_arrays(record, rng, BATCH)
    if record.coupling:
        arrays[-1] = np.array([0, 1, 0, 1])
    params = random_params(record, rng)
    tensors = {n: torch.tensor(a) for n, a in zip(record.arguments, arrays, strict=True)}
    tensors = {n: x.to(dtype) if x.is_floating_point() else x for n, x in tensors.items()}
    fixed = {name: tensors[name] for name in constants(record)}
    module = nn.from_record(record, **fixed, **params, reduction="mean")
    return module, {n: x for n, x in tensors.items() if n not in fixed}, {**fixed, **params}


def tracked(record: Loss, arrays: dict[str, Any]) -> dict[str, Any]:
    return {n: x.clone().requires_grad_() if n in record.wrt else x for n, x in arrays.items()}


# --- the catalogue is complete --------------------------------------------------------------------------------------


def test_every_loss_has_a_module_or_a_namesake_of_torch() -> None:
    namesakes = {name.lower() for name in torch.nn.modules.loss.__all__}
    for record in ALL:
        name = module_name(record)
        if name.lower() in namesakes:
            assert name not in MADE, f"{name} would hide torch's own"
        else:
            made = getattr(nn, name)
            assert made.loss is record
            assert made.__name__ == name and made.__module__ == "lossary.nn.catalogue"
            assert issubclass(made, (RecordLoss, torch.nn.Module))


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("FocalLoss", "SigmoidFocalLoss"),
        ("QuantileLoss", "PinballLoss"),
        ("SimCLRLoss", "NTXentLoss"),
        ("GCELoss", "GeneralizedCrossEntropyLoss"),
        ("BalancedSoftmaxLoss", "LogitAdjustedLoss"),
        ("SoftIoULoss", "JaccardLoss"),
    ],
)
def test_well_known_names_are_the_same_classes(alias: str, name: str) -> None:
    assert getattr(nn, alias) is getattr(nn, name)


def test_they_are_found_in_the_room_of_torchs_own() -> None:
    import lossary.nn

    for name in nn.__all__:
        assert getattr(lossary.nn, name) is getattr(nn, name)


def test_names_read_as_torchs_do() -> None:
    expected = {
        "DiceLoss TverskyLoss JaccardLoss ArcFaceLoss CosFaceLoss SupConLoss NTXentLoss LogCoshLoss BrierLoss PolyLoss",
        "GeneralizedCrossEntropyLoss LogitAdjustedLoss ClassBalancedLoss BatchHardTripletLoss ContrastiveLoss",
        "KLDivergenceLoss JSDivergenceLoss LaplaceNLLLoss MAPELoss MSLELoss L1Penalty L2Penalty ElasticNetPenalty",
    }
    assert set(" ".join(expected).split()) <= set(MADE)
    assert nn.__all__ == sorted(set(nn.__all__))


def test_no_parameter_hides_what_every_module_has() -> None:
    own = set(dir(torch.nn.Module())) | {"loss", "reduction", "held", "weight", "strength"}
    for record in ALL:
        clashes = own & {*record.defaults, *constants(record)}
        assert not clashes, f"{record.name}: {clashes} cannot be an attribute of a module"


# --- signatures and words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MADE)
def test_the_signature_is_the_records(name: str) -> None:
    made = getattr(nn, name)
    parameters = inspect.signature(made).parameters
    assert inspect.signature(made.__init__).parameters.keys() == {"self", *parameters}
    for parameter, default in made.loss.defaults.items():
        assert parameters[parameter].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[parameter].default == default
    assert made.loss.summary in made.__doc__
    assert ">>>" not in made.__doc__
    for reference in made.loss.references:
        assert reference in made.__doc__
    if issubclass(made, ParameterPenalty):
        assert next(iter(parameters)) == "strength" and "reduction" not in parameters
        return
    assert parameters["reduction"].default == "mean"
    called = [*inspect.signature(made.forward).parameters]
    assert called[-2:] == ["weight", "mask"]
    if issubclass(made, ClassifierLoss):
        assert [*parameters][:2] == ["embedding_size", "classes"]
    else:
        assert [*parameters][: len(constants(made.loss))] == [*constants(made.loss)]
        assert called[1:-2] == [a for a in made.loss.arguments if a not in constants(made.loss)]


def test_a_call_refuses_what_belongs_to_the_module_and_what_is_unknown() -> None:
    module, x = nn.SigmoidFocalLoss(gamma=1.0), torch.zeros(2)
    for name in ("gamma", "reduction"):
        with pytest.raises(
            ArgumentError, match=rf"SigmoidFocalLoss: a call takes no {name}: it is set when the module"
        ):
            module(x, x, **{name: 1.0})
    with pytest.raises(ArgumentError, match="a call takes no targett: did you mean target"):
        module(x, targett=x)
    with pytest.raises(ArgumentError, match="a call takes no class_counts: it is set"):
        nn.ClassBalancedLoss([3, 4])(torch.zeros(1, 2), torch.tensor([0]), class_counts=[1, 2])


def test_what_a_module_shows() -> None:
    assert repr(nn.SigmoidFocalLoss(gamma=1.5)) == "SigmoidFocalLoss(gamma=1.5, reduction='mean')"
    held = nn.SoftmaxFocalLoss(class_weight=[1.0, 2.0], ignore_index=-100, reduction="sum")
    shown = "SoftmaxFocalLoss(gamma=2.0, class_weight=(2,), label_smoothing=0.0, ignore_index=-100, reduction='sum')"
    assert repr(held) == shown
    assert repr(nn.LogitAdjustedLoss([10, 1])) == "LogitAdjustedLoss(class_counts=(2,), tau=1.0, reduction='mean')"
    assert repr(nn.CosFaceLoss(8, 3)) == "CosFaceLoss(8, 3, margin=0.35, scale=64.0, reduction='mean')"
    assert repr(nn.PinballLoss(quantile=torch.tensor(0.25))) == "PinballLoss(quantile=0.25, reduction='mean')"


def test_editors_read_the_same_signatures() -> None:
    """The stub, which is made without torch, against the classes themselves."""
    tree = ast.parse(maker("make_stubs").module_stub())
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    second_names = {
        ast.unparse(node.targets[0]): ast.unparse(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name)
    }
    (listed,) = (ast.literal_eval(n.value) for n in tree.body if ast.unparse(n).startswith("__all__ = "))
    assert listed == nn.__all__
    assert {*classes, *second_names, "from_record"} == set(listed)
    for name, node in classes.items():
        made = getattr(nn, name)
        assert [ast.unparse(base) for base in node.bases] == [made.__bases__[0].__name__]
        methods = {method.name: method for method in node.body if isinstance(method, ast.FunctionDef)}
        for method, function in (("__init__", made.__init__), ("forward", made.forward), ("__call__", made.forward)):
            assert spelled(methods[method]) == spelled(ast.parse(f"def f{inspect.signature(function)}: ...").body[0])
    for name, first in second_names.items():
        assert getattr(nn, name) is getattr(nn, first)


def spelled(function: ast.FunctionDef) -> str:
    """A signature, whether its annotations are code or text."""
    return re.sub(r"[\"']", "", ast.unparse(function.args) + " -> " + ast.unparse(function.returns))


# --- values ----------------------------------------------------------------------------------------------------------


@every_loss
def test_values_and_gradients_equal_the_functions(record: Loss) -> None:
    module, arrays, rest = case(record, 1)
    for reduction in ("none", "sum", "mean"):
        module.reduction = reduction
        moving, others = tracked(record, arrays), tracked(record, arrays)
        listed = [{**others, **rest}[name] for name in record.arguments]
        params = {name: value for name, value in rest.items() if name not in record.arguments}
        same = record.value(*listed, reduction=reduction, **params)
        values = record(*listed, **params)
        expected = {"none": lambda v: v, "sum": torch.sum, "mean": lossary.mean}[reduction](values)
        found = module(*moving.values())
        assert torch.equal(found, same)
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)  # a kernel adds in another order
        if not found.requires_grad:
            continue
        for name in record.wrt:
            (a,) = torch.autograd.grad(found.sum(), moving[name], retain_graph=True)
            (b,) = torch.autograd.grad(same.sum(), others[name], retain_graph=True)
            (c,) = torch.autograd.grad(expected.sum(), others[name], retain_graph=True)
            assert torch.equal(a, b)
            torch.testing.assert_close(a, c, rtol=1e-13, atol=1e-13)
    assert torch.equal(module(**arrays), module(*arrays.values()))


@every_loss
def test_weights_and_masks_are_those_of_the_reduction(record: Loss) -> None:
    module, arrays, rest = case(record, 2)
    values = record(**arrays, **rest)
    weight = torch.linspace(0.5, 2.0, BATCH, dtype=torch.float64)
    mask = torch.tensor([True, True, True, False])
    torch.testing.assert_close(module(**arrays, weight=weight), lossary.mean(values, weight=weight))
    if record.coupling is None:  # who is left out of a coupled batch is compared with nobody
        expected = lossary.mean(values, weight=weight, mask=mask)
        torch.testing.assert_close(module(**arrays, weight=weight, mask=mask), expected)
    value, _ = record.value_and_grad(**arrays, **rest, reduction="mean", weight=weight, mask=mask)
    torch.testing.assert_close(module(**arrays, weight=weight, mask=mask), value)


@every_smooth_loss
def test_what_is_left_out_has_no_gradient_whatever_it_holds(record: Loss) -> None:
    module, arrays, _ = case(record, 3)
    keep = torch.tensor([True, False, True, True])
    batched = {n: x.clone() for n, x in arrays.items()}
    for name in record.wrt:
        batched[name][1] = float("nan")
    moving, clean = tracked(record, batched), tracked(record, arrays)
    value, reference = module(**moving, mask=keep), module(**clean, mask=keep)
    torch.testing.assert_close(value, reference)
    for name in record.wrt:
        (grad,) = torch.autograd.grad(value, moving[name], retain_graph=True)
        assert (grad[1] == 0).all() and grad.isfinite().all()
        torch.testing.assert_close(grad, torch.autograd.grad(reference, clean[name], retain_graph=True)[0])


@every_smooth_loss
def test_gradcheck(record: Loss) -> None:
    module, arrays, _ = case(record, 4)
    moving = {n: x for n, x in tracked(record, arrays).items() if n in record.wrt}
    others = {n: x for n, x in arrays.items() if n not in moving}
    weight = torch.linspace(0.5, 2.0, BATCH, dtype=torch.float64)
    f = lambda *x: module(**dict(zip(moving, x, strict=True)), **others, weight=weight)  # noqa: E731
    assert torch.autograd.gradcheck(f, tuple(moving.values()))
    assert torch.autograd.gradgradcheck(f, tuple(moving.values()))


@every_smooth_loss
def test_compile_fullgraph(record: Loss) -> None:
    module, arrays, _ = case(record, 5, torch.float32)
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    moving, others = tracked(record, arrays), tracked(record, arrays)
    keep = torch.tensor([True, True, True, False])
    value, reference = compiled(**moving, mask=keep), module(**others, mask=keep)
    torch.testing.assert_close(value, reference)
    for name in record.wrt:
        (a,) = torch.autograd.grad(value, moving[name], retain_graph=True)
        (b,) = torch.autograd.grad(reference, others[name], retain_graph=True)
        torch.testing.assert_close(a, b)


# --- modules are torch's modules -----------------------------------------------------------------------------------


@every_loss
def test_pickle_copy_and_state(record: Loss) -> None:
    module, arrays, _ = case(record, 6, torch.float32)
    value = module(**arrays)
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    saved = torch.load(file, weights_only=False)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), saved):
        assert type(twin) is type(module) and twin.loss is record and repr(twin) == repr(module)
        assert torch.equal(twin(**arrays), value)
    fixed = {name: torch.ones_like(getattr(module, name)) for name in constants(record)}
    held = {k: torch.ones_like(v) if hasattr(v, "shape") else v for k, v in module.held().items()}
    other = nn.from_record(record, **fixed, **held)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(**arrays), value)


def test_buffers_move_with_the_module() -> None:
    module = nn.SoftmaxFocalLoss(class_weight=np.array([1.0, 2.0, 3.0]))
    assert [*module.state_dict()] == ["class_weight"] and not [*module.parameters()]
    assert module.to(torch.float32).class_weight.dtype == torch.float32
    assert module.to("meta").class_weight.device.type == "meta"
    adjusted = nn.LogitAdjustedLoss(class_counts=[90, 9, 1])
    assert adjusted.to("meta").class_counts.device.type == "meta"
    model = torch.nn.Sequential(torch.nn.Linear(2, 3))
    model.criterion = nn.LogitAdjustedLoss([5, 3, 2], tau=0.5)
    assert "criterion.class_counts" in model.state_dict()
    assert [*nn.SoftmaxFocalLoss().state_dict()] == []


def test_a_parameter_may_be_learned() -> None:
    delta = torch.nn.Parameter(torch.tensor(1.0))
    module = nn.PseudoHuberLoss(delta=delta)
    assert [*module.parameters()] == [delta]
    module(torch.tensor([3.0]), torch.tensor([0.0])).backward()
    # d/dd [d^2 (sqrt(1 + (r/d)^2) - 1)] = 2 d (s - 1) - r^2 / (d s) with s = sqrt(10) at r = 3, d = 1
    assert delta.grad.item() == pytest.approx(2 * (10**0.5 - 1) - 9 / 10**0.5, rel=1e-5)


def test_parameters_may_be_changed_between_calls() -> None:
    module = nn.PinballLoss()
    module.quantile = 0.9
    pred, target = torch.tensor([0.0]), torch.tensor([1.0])
    assert module(pred, target).item() == pytest.approx(0.9)


def test_training_with_a_module_lowers_it() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 3)
    y = (x.sum(1) > 0).float()
    model, criterion = torch.nn.Linear(3, 1), nn.FocalLoss(gamma=1.0)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    first = criterion(model(x)[:, 0], y).item()
    for _ in range(50):
        optimiser.zero_grad()
        criterion(model(x)[:, 0], y).backward()
        optimiser.step()
    assert criterion(model(x)[:, 0], y).item() < first / 5


# --- losses that hold their classes ----------------------------------------------------------------------------------

ANGULAR = pytest.mark.parametrize("made", [nn.ArcFaceLoss, nn.CosFaceLoss])


@ANGULAR
def test_class_weights_are_directions(made: Any) -> None:
    torch.manual_seed(1)
    module = made(5, 3, margin=0.2, scale=8.0, dtype=torch.float64)
    embeddings, labels = torch.randn(6, 5, dtype=torch.float64, requires_grad=True), torch.tensor([0, 1, 2, 0, 1, 2])
    cosines = torch.nn.functional.cosine_similarity(embeddings[:, None], module.weight[None], dim=-1)
    torch.testing.assert_close(module.similarities(embeddings), cosines)
    expected = lossary.mean(made.loss(cosines, labels, margin=0.2, scale=8.0))
    found = module(embeddings, labels)
    torch.testing.assert_close(found, expected)
    wanted = (embeddings, module.weight)
    for a, b in zip(torch.autograd.grad(found, wanted), torch.autograd.grad(expected, wanted), strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(module(7 * embeddings, labels), found)
    f = lambda e, w: torch.func.functional_call(module, {"weight": w}, (e, labels))  # noqa: E731
    assert torch.autograd.gradcheck(f, wanted)
    assert torch.autograd.gradgradcheck(f, wanted)


@ANGULAR
def test_margin_zero_is_softmax_cross_entropy_on_scaled_cosines(made: Any) -> None:
    module = made(4, 3, margin=0.0, scale=16.0)
    embeddings, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    expected = torch.nn.functional.cross_entropy(16 * module.similarities(embeddings), labels)
    torch.testing.assert_close(module(embeddings, labels), expected)


@ANGULAR
def test_zero_embeddings_and_those_left_out_give_no_gradient(made: Any) -> None:
    module = made(3, 2, ignore_index=-1)
    rows = [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [float("nan")] * 3, [float("inf"), 0.0, 0.0]]
    embeddings = torch.tensor(rows, requires_grad=True)
    labels, keep = torch.tensor([0, 1, -1, 0]), torch.tensor([True, True, True, False])
    module(embeddings, labels, mask=keep).backward()
    assert module.weight.grad.isfinite().all() and module.weight.grad.abs().sum() > 0
    assert (embeddings.grad[[0, 2, 3]] == 0).all() and (embeddings.grad[1] != 0).any()
    module(embeddings, labels, weight=torch.tensor([1.0, 1.0, 1.0, 0.0])).backward()
    assert module.weight.grad.isfinite().all()


@ANGULAR
def test_class_weights_compile_copy_and_compute_in_float32(made: Any) -> None:
    module = made(4, 3, scale=4.0)
    embeddings, labels = torch.randn(5, 4, requires_grad=True), torch.tensor([0, 1, 2, 0, 1])
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(embeddings, labels), module(embeddings, labels))
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(embeddings, labels), module(embeddings, labels))
    assert [*module.state_dict()] == ["weight"]
    other = made(4, 3, scale=4.0)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(embeddings, labels), module(embeddings, labels))
    assert module(embeddings.bfloat16(), labels).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(module(embeddings, labels), module(embeddings, labels))


@ANGULAR
def test_training_turns_the_class_weights_to_their_classes(made: Any) -> None:
    torch.manual_seed(0)
    centres = torch.eye(3)
    labels = torch.arange(3).repeat(20)
    embeddings = centres[labels] + 0.1 * torch.randn(60, 3)
    module = made(3, 3, scale=8.0)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.1)
    for _ in range(100):
        optimiser.zero_grad()
        module(embeddings, labels).backward()
        optimiser.step()
    assert (module.similarities(embeddings).argmax(1) == labels).all()


def test_sizes_that_do_not_fit_are_said() -> None:
    with pytest.raises(ParameterError, match="classes: got 0, expected a whole number >= 1"):
        nn.ArcFaceLoss(4, 0)
    with pytest.raises(ShapeError, match=r"got shape \(2, 3\), expected the last dimension to be 4"):
        nn.ArcFaceLoss(4, 2)(torch.zeros(2, 3), torch.tensor([0, 1]))


# --- any loss, also a user's own ------------------------------------------------------------------------------------


@pytest.fixture
def own() -> Iterator[Loss]:
    """A user's loss, in the catalogue for as long as a test runs."""

    @loss(
        family="regression",
        signature="(),()->()",
        input="real",
        target="real",
        formula=r"|\hat y - y|^3",
        parameters={"scale": "(0, inf)"},
    )
    def cubic_error(xp: Any, pred: Any, target: Any, *, scale: float = 1.0) -> Any:
        """The cube of the absolute error."""
        residual = pred - target
        size = xp.abs(residual)
        yield scale * size**3
        yield scale * 3 * size * residual
        yield scale * 6 * size

    yield cubic_error
    del records.record.ENTERED["cubic_error"]


def test_a_users_own_loss_is_a_module_too(own: Loss) -> None:
    module = nn.from_record(own, scale=2.0, reduction="sum")
    assert repr(module) == "CubicErrorLoss(scale=2.0, reduction='sum')"
    pred = torch.tensor([1.0, -2.0], requires_grad=True)
    value = module(pred, torch.zeros(2))
    value.backward()
    assert value.item() == 18.0 and pred.grad.tolist() == [6.0, -24.0]
    twin = pickle.loads(pickle.dumps(module))
    assert twin(pred, torch.zeros(2)).item() == 18.0
    with pytest.raises(ParameterError, match="scale: got -1"):
        nn.from_record(own, scale=-1)


def test_from_record_takes_names_aliases_and_bound_losses() -> None:
    assert type(nn.from_record("focal", gamma=1.0)) is nn.SigmoidFocalLoss
    module = nn.from_record(lossary.huber.bind(delta=3.0))
    assert module.delta == 3.0 and repr(module) == "HuberLoss(delta=3.0, reduction='mean')"
    cosines = nn.from_record("arcface", margin=0.1)
    assert type(cosines) is RecordLoss and cosines(torch.zeros(1, 2), torch.tensor([0])).ndim == 0
    with pytest.raises(ArgumentError, match="loss: got the function <lambda>, expected a loss"):
        nn.from_record(lambda: None)  # type: ignore[arg-type]


# --- refusals --------------------------------------------------------------------------------------------------------


def test_misuse_is_answered_in_sentences() -> None:
    with pytest.raises(ArgumentError, match='no parameter "gama": did you mean gamma'):
        nn.FocalLoss(gama=2.0)
    with pytest.raises(
        ArgumentError, match="got 1 positional arguments, expected none; parameters are keywords: gamma"
    ):
        nn.FocalLoss(2.0)
    with pytest.raises(ParameterError, match="gamma: got -1, expected a number in"):
        nn.FocalLoss(gamma=-1)
    with pytest.raises(ParameterError, match="class_weight: got -1"):
        nn.SoftmaxFocalLoss(class_weight=torch.tensor([1.0, -1.0]))
    with pytest.raises(ParameterError, match=r"reduction: got 'avg', expected one of none, mean, sum"):
        nn.DiceLoss(reduction="avg")
    with pytest.raises(ArgumentError, match="LogitAdjustedLoss: missing class_counts"):
        nn.LogitAdjustedLoss()
    with pytest.raises(ArgumentError, match=r"got 2 positional arguments, expected 1 \(class_counts\)"):
        nn.LogitAdjustedLoss([1, 2], 1.0)
    z, y = torch.zeros(2, 3), torch.tensor([0, 1])
    with pytest.raises(ArgumentError, match=r"got 3 arrays, expected 2 .*class_counts is held by the module"):
        nn.LogitAdjustedLoss([1, 2, 3])(z, y, torch.ones(3))
    with pytest.raises(ArgumentError, match="logits is given twice"):
        nn.PolyLoss()(z, logits=z)
    with pytest.raises(ArgumentError, match="missing target"):
        nn.PolyLoss()(z)
    with pytest.raises(DomainError, match="labels up to 7"):
        nn.PolyLoss()(z, torch.tensor([0, 7]))


def test_names_of_classes_come_from_names_of_losses() -> None:
    assert class_name("student_t_nll") == "StudentTNLLLoss"
    assert class_name("elastic_net", "Penalty") == "ElasticNetPenalty"


# --- other devices ---------------------------------------------------------------------------------------------------


@every_loss
def test_everything_stays_on_the_device_of_its_inputs(record: Loss) -> None:
    """On the meta device, which computes shapes only, a tensor made elsewhere would be refused."""
    module, arrays, _ = case(record, 7)
    away = {n: x.to("meta") for n, x in arrays.items()}
    keep = torch.ones(BATCH, dtype=torch.bool, device="meta")
    assert module.to("meta")(**away, mask=keep).device.type == "meta"


@ANGULAR
def test_class_weights_move_with_the_module(made: Any) -> None:
    module = made(3, 4, ignore_index=-1).to("meta")
    labels = torch.zeros(2, dtype=torch.long, device="meta")
    assert module(torch.zeros(2, 3, device="meta"), labels).device.type == "meta"

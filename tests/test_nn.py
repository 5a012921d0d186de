"""The drop-ins for `torch.nn`: signatures, transforms, edges, and where they differ from torch on purpose."""

from __future__ import annotations

import copy
import inspect
import io
import itertools
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import lossary  # noqa: E402
from lossary import nn  # noqa: E402
from lossary.errors import LossaryError  # noqa: E402
from lossary.nn import functional as F  # noqa: E402, N812
from lossary.nn import modules  # noqa: E402

# Random numbers are no data: what they are warned of as a misuse is not what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore::lossary.LossMisuseWarning")

theirs = torch.nn.functional
INF, NAN = float("inf"), float("nan")


def batch(dtype: Any = torch.float64, seed: int = 0) -> dict[str, Any]:
    """One example of everything a loss can ask for."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *size: torch.randn(*size, generator=generator, dtype=torch.float64).to(dtype)  # noqa: E731
    rows = normal(6, 4)
    return {
        "x": normal(6),
        "y": normal(6),
        "rows": rows,
        "others": normal(6, 4),
        "thirds": normal(6, 4),
        "log_probs": rows.log_softmax(-1),
        "soft": normal(6, 4).softmax(-1),
        "probs": normal(6).sigmoid(),
        "zero_one": torch.tensor([0, 1, 1, 0, 1, 0]).to(dtype),
        "hot": torch.tensor([[0, 1, 1, 0]] * 6).to(dtype),
        "signs": torch.tensor([1, -1, 1, 1, -1, -1]).to(dtype),
        "labels": torch.tensor([0, 3, 2, 1, 1, 0]),
        "listed": torch.tensor([[2, 0, -1, 1]] * 6),
        "counts": torch.tensor([0, 3, 2, 1, 7, 0]).to(dtype),
        "positive": normal(6).exp(),
        "image": normal(2, 4, 3, 5),
        "map": torch.randint(4, (2, 3, 5), generator=generator),
        "weight": torch.tensor([0.5, 2.0, 1.0, 0.3], dtype=dtype),
    }


Case = tuple[str, dict[str, Any], tuple[str, ...]]
# Constructor arguments, and what of the batch each module is called with.
CASES: list[Case] = [
    ("L1Loss", {}, ("x", "y")),
    ("MSELoss", {}, ("x", "y")),
    ("SmoothL1Loss", {"beta": 0.7}, ("x", "y")),
    ("HuberLoss", {"delta": 0.7}, ("x", "y")),
    ("NLLLoss", {"ignore_index": 1, "weight": "weight"}, ("log_probs", "labels")),
    ("CrossEntropyLoss", {}, ("rows", "labels")),
    ("CrossEntropyLoss", {"ignore_index": 1, "weight": "weight", "label_smoothing": 0.1}, ("image", "map")),
    ("CrossEntropyLoss", {"weight": "weight", "label_smoothing": 0.1}, ("rows", "soft")),
    ("BCELoss", {}, ("probs", "zero_one")),
    ("BCEWithLogitsLoss", {"weight": "weight", "pos_weight": "weight"}, ("rows", "hot")),
    ("KLDivLoss", {"reduction": "batchmean"}, ("log_probs", "soft")),
    ("KLDivLoss", {"reduction": "batchmean", "log_target": True}, ("log_probs", "log_probs")),
    ("PoissonNLLLoss", {"full": True}, ("x", "counts")),
    ("PoissonNLLLoss", {"log_input": False}, ("positive", "counts")),
    ("GaussianNLLLoss", {"full": True}, ("x", "y", "positive")),
    ("HingeEmbeddingLoss", {}, ("positive", "signs")),
    ("CosineEmbeddingLoss", {"margin": 0.1}, ("rows", "others", "signs")),
    ("MarginRankingLoss", {"margin": 0.3}, ("x", "y", "signs")),
    ("MultiMarginLoss", {"p": 2, "weight": "weight"}, ("rows", "labels")),
    ("MultiLabelMarginLoss", {}, ("rows", "listed")),
    ("MultiLabelSoftMarginLoss", {"weight": "weight"}, ("rows", "hot")),
    ("SoftMarginLoss", {}, ("x", "signs")),
    ("TripletMarginLoss", {"swap": True}, ("rows", "others", "thirds")),
    ("TripletMarginWithDistanceLoss", {}, ("rows", "others", "thirds")),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join((c[0], *c[1], *c[2][1:2])))


def pair(case: Case, data: dict[str, Any], **further: Any) -> tuple[Any, Any, list[Any]]:
    """Our module, torch's, and the tensors to call them with."""
    name, options, arguments = case
    built = {k: data.get(v, v) if isinstance(v, str) else v for k, v in options.items()} | further
    return getattr(nn, name)(**built), getattr(torch.nn, name)(**built), [data[a] for a in arguments]


def first_grad(criterion: Any, x: Any, *rest: Any) -> tuple[Any, Any]:
    moving = x.detach().requires_grad_()
    value = criterion(moving, *rest)
    return value, torch.autograd.grad(value.sum(), moving)[0]


def same(mine: Any, reference: Any, **tolerance: Any) -> None:
    for a, b in zip(mine, reference, strict=True):
        torch.testing.assert_close(a, b, equal_nan=True, **tolerance)


# --- the same on the outside ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", F.__all__)
def test_functions_have_torchs_signatures(name: str) -> None:
    mine, reference = (inspect.signature(getattr(m, name)) for m in (F, theirs))
    strip = lambda s: [(p.name, p.kind, p.default) for p in s.parameters.values()]  # noqa: E731
    assert strip(mine) == strip(reference)


@pytest.mark.parametrize("name", modules.__all__)
def test_modules_have_torchs_signatures_and_are_torchs_modules(name: str) -> None:
    made, reference = getattr(nn, name), getattr(torch.nn, name)
    for method in (lambda c: c, lambda c: c.forward):
        mine, other = inspect.signature(method(made)), inspect.signature(method(reference))
        strip = lambda s: [(p.name, p.kind, p.default) for p in s.parameters.values()]  # noqa: E731
        assert strip(mine) == strip(other)
    assert made.__module__ in {"lossary.nn.modules", "lossary.nn.ctc", "lossary.nn.linear"}
    assert made.__constants__ == reference.__constants__ if hasattr(reference, "__constants__") else True
    assert issubclass(made, torch.nn.NLLLoss if name == "NLLLoss2d" else reference)


def test_every_loss_of_torch_is_replaced() -> None:
    assert {*torch.nn.modules.loss.__all__} == {*modules.__all__} - {"AdaptiveLogSoftmaxWithLoss"}


def test_the_rest_of_torch_nn_is_found_here_as_it_is() -> None:
    replaced = {
        name for name in dir(torch.nn) if hasattr(nn, name) and getattr(nn, name) is not getattr(torch.nn, name)
    }
    assert {name for name in replaced if not name.startswith("_")} == {*modules.__all__, "functional", "modules"}
    assert F.relu is theirs.relu
    assert nn.modules.batchnorm is torch.nn.modules.batchnorm
    assert nn.functional is F
    assert {"Linear", "CrossEntropyLoss"} <= set(dir(nn)) and {"relu", "mse_loss"} <= set(dir(F))
    with pytest.raises(AttributeError, match="NoSuchLoss"):
        _ = nn.NoSuchLoss


def fresh(script: str) -> str:
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_the_drop_ins_are_imported_when_asked_for_and_say_what_is_missing() -> None:
    assert fresh("import sys, lossary; print('torch' in sys.modules)") == "False"
    assert fresh("import lossary; print(lossary.nn.MSELoss.__name__)") == "MSELoss"
    without = """
import sys
sys.modules["torch"] = None
import lossary
try:
    from lossary import nn
except lossary.errors.MissingExtraError as error:
    print(error)
"""
    assert fresh(without) == "torch needs the torch extra: pip install 'lossary[torch]'"


@every_case
def test_modules_are_copied_pickled_moved_and_exchange_their_state_with_torchs(case: Case) -> None:
    ours, reference, arguments = pair(case, batch())
    assert repr(ours) == repr(reference)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(twin) is type(ours)
        torch.testing.assert_close(twin(*arguments), ours(*arguments))
    reference.load_state_dict(ours.state_dict())
    ours.load_state_dict(reference.state_dict())
    assert ours.to("meta").state_dict().keys() == reference.state_dict().keys()
    stored = io.BytesIO()
    torch.save(reference.state_dict(), stored)
    stored.seek(0)
    pair(case, batch())[0].load_state_dict(torch.load(stored))


def test_the_deprecated_class_and_flags_warn_as_torchs_do() -> None:
    with pytest.warns(FutureWarning, match="NLLLoss2d"):
        nn.NLLLoss2d()
    for flags, meant in (({"size_average": False}, "sum"), ({"reduce": False}, "none"), ({"reduce": True}, "mean")):
        for make in (nn.MSELoss, torch.nn.MSELoss):
            with pytest.warns(UserWarning, match=f"use reduction='{meant}'"):
                assert make(**flags).reduction == meant
    with pytest.warns(UserWarning, match="elementwise_mean"):
        assert F.mse_loss(torch.ones(2), torch.zeros(2), reduction="elementwise_mean") == 1
    with pytest.warns(UserWarning, match="batchmean"):
        nn.KLDivLoss()(torch.zeros(2), torch.ones(2))


# --- under everything torch can do ----------------------------------------------------------------------------------


@every_case
def test_compile_fullgraph(case: Case) -> None:
    ours, reference, arguments = pair(case, batch())
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
        same(first_grad(compiled, *arguments), first_grad(reference, *arguments))


def test_compile_with_sizes_and_constants_that_change_and_with_warnings() -> None:
    rows, labels = torch.randn(9, 4), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 0])
    torch._dynamo.reset()
    for criterion in (nn.CrossEntropyLoss(label_smoothing=0.1), nn.KLDivLoss(), nn.HuberLoss(delta=0.5)):
        target = rows.softmax(-1) if not isinstance(criterion, nn.CrossEntropyLoss) else labels
        compiled = torch.compile(criterion, fullgraph=True, dynamic=True, backend="aot_eager")
        for count in (5, 9):
            found = compiled(rows[:count], target[:count])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.testing.assert_close(found, criterion(rows[:count], target[:count]))


def test_a_warning_names_the_line_that_calls() -> None:
    weight = torch.ones(2, 2)
    for f in (
        lambda: F.mse_loss(torch.ones(2, 1), torch.ones(2)),
        lambda: F.l1_loss(torch.ones(2, 2), torch.ones(2), weight=weight),
        lambda: F.kl_div(torch.zeros(2), torch.ones(2)),
    ):
        with pytest.warns(UserWarning) as caught:
            f()
        assert caught[0].filename == __file__
    for name, given in (("MSELoss", (torch.ones(2, 1), torch.ones(2))), ("KLDivLoss", (torch.ones(2), torch.ones(2)))):
        with pytest.warns(UserWarning) as caught:  # a module's caller is its own `forward`, as in torch
            getattr(nn, name)()(*given)
        assert caught[0].filename == modules.__file__


@pytest.mark.parametrize("name", F.__all__)
def test_functions_are_pickled_and_traced_by_their_public_name(name: str) -> None:
    function = getattr(F, name)
    assert pickle.loads(pickle.dumps(function)) is function
    assert function.__module__ == "lossary.nn.functional"


def test_pickled_modules_of_any_record_name_a_path_that_stays() -> None:
    assert pickle.loads(b"clossary.nn.records\nRecordLoss\n.") is type(nn.from_record("huber"))


@every_case
def test_torch_func(case: Case) -> None:
    ours, reference, arguments = pair(case, batch(), **({"reduction": "sum"} if "reduction" not in case[1] else {}))
    x, *rest = arguments
    _, grad = first_grad(reference, x, *rest)
    torch.testing.assert_close(torch.func.grad(ours)(x, *rest), grad)
    _, tangent = torch.func.jvp(lambda x: ours(x, *rest), (x,), (torch.ones_like(x),))
    torch.testing.assert_close(tangent, grad.sum())
    many = torch.stack([x, x + 0.001])
    each = torch.stack([ours(one, *rest) for one in many])
    torch.testing.assert_close(torch.func.vmap(lambda x: ours(x, *rest))(many), each)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_autocast_answers_in_torchs_type(case: Case, dtype: Any) -> None:
    ours, reference, arguments = pair(case, batch(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        try:
            expected = reference(*arguments)
        except RuntimeError:
            pytest.skip("torch refuses it")
        found = ours(*arguments)
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=3e-2, atol=3e-2)


@pytest.mark.parametrize(
    "name", ["l1_loss", "mse_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"]
)
def test_weighed_losses_answer_in_torchs_type_under_autocast(name: str) -> None:
    x, y, weight = torch.rand(5), torch.rand(5), torch.rand(5)
    types = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    for first, second, reduction in itertools.product(types, types, ("none", "sum", "mean")):
        given, options = (x.to(first), y.to(first)), {"weight": weight.to(second), "reduction": reduction}
        for narrow in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", dtype=narrow):
                found, expected = (getattr(module, name)(*given, **options) for module in (F, theirs))
            torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)


@every_case
def test_strided_expanded_and_turned_inputs(case: Case) -> None:
    ours, reference, arguments = pair(case, batch(), **({} if case[0] == "KLDivLoss" else {"reduction": "none"}))
    before = [a.clone() for a in arguments]
    strided = [a.repeat_interleave(2, 0)[::2] for a in arguments]
    turned = [a.transpose(0, -1).contiguous().transpose(0, -1) for a in arguments]
    for variant in (strided, turned):
        same(first_grad(ours, *variant), first_grad(reference, *arguments))
    alike = [a[:1].expand(5, *a.shape[1:]) for a in arguments]
    same(first_grad(ours, *alike), first_grad(reference, *(a.contiguous() for a in alike)))
    same(arguments, before, rtol=0, atol=0)


def test_channels_last() -> None:
    data = batch()
    image, labels = data["image"], data["map"]
    turned = image.contiguous(memory_format=torch.channels_last)
    for reduction in ("none", "mean"):
        same(
            first_grad(nn.CrossEntropyLoss(reduction=reduction), turned, labels),
            first_grad(torch.nn.CrossEntropyLoss(reduction=reduction), image, labels),
        )
        same(
            first_grad(nn.MSELoss(reduction=reduction), turned, image + 1),
            first_grad(torch.nn.MSELoss(reduction=reduction), image, image + 1),
        )


@every_case
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_an_empty_batch_gives_what_torch_gives(case: Case, reduction: str) -> None:
    ours, reference, arguments = pair(case, batch(), reduction=reduction)
    nothing = [a[:0] for a in arguments]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(first_grad(ours, *nothing), first_grad(reference, *nothing))


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0, 1.0, 0.3], dtype=torch.float64)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_all_rows_ignored(weight: Any, smoothing: float, reduction: str) -> None:
    options = {"weight": weight, "label_smoothing": smoothing, "reduction": reduction}
    labels = torch.full((6,), -100)
    found, grad = first_grad(nn.CrossEntropyLoss(**options), batch()["rows"], labels)
    expected, their_grad = first_grad(torch.nn.CrossEntropyLoss(**options), batch()["rows"], labels)
    same([found, grad], [expected, their_grad])
    assert (grad == 0).all()


def test_export() -> None:
    data = batch(torch.float32)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.criterion = nn.CrossEntropyLoss(weight=data["weight"])

        def forward(self, rows: Any, labels: Any) -> Any:
            return self.criterion(rows, labels)

    program = torch.export.export(Model(), (data["rows"], data["labels"]))
    torch.testing.assert_close(program.module()(data["rows"], data["labels"]), Model()(data["rows"], data["labels"]))


# --- torch's conventions, one by one --------------------------------------------------------------------------------


def test_the_mean_of_indices_divides_by_the_weights_of_the_labels_and_that_of_probabilities_by_the_rows() -> None:
    data = batch()
    rows, labels, weight = data["rows"], data["labels"], data["weight"]
    one_hot = theirs.one_hot(labels, 4).double()
    none = F.cross_entropy(rows, labels, weight=weight, reduction="none")
    torch.testing.assert_close(F.cross_entropy(rows, labels, weight=weight), none.sum() / weight[labels].sum())
    torch.testing.assert_close(F.cross_entropy(rows, one_hot, weight=weight), none.sum() / 6)


@pytest.mark.parametrize("p", [0.0, 1e-45, 1e-14, 1e-10, 0.5, 1 - 1e-7, 1.0])
@pytest.mark.parametrize("y", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_binary_cross_entropy_stops_where_torchs_does(p: float, y: float, dtype: Any) -> None:
    probs, target = torch.tensor([p], dtype=dtype), torch.tensor([y], dtype=dtype)
    same(first_grad(F.binary_cross_entropy, probs, target), first_grad(theirs.binary_cross_entropy, probs, target))
    if min(p, 1 - p) < 1e-40:
        return  # torch's gradient in the target goes past -100, where its value has stopped
    swapped = lambda f: lambda t: f(probs, t)  # noqa: E731
    same(first_grad(swapped(F.binary_cross_entropy), target), first_grad(swapped(theirs.binary_cross_entropy), target))


@pytest.mark.parametrize(
    ("name", "arguments", "options"),
    [
        ("binary_cross_entropy_with_logits", ("x", "zero_one"), {"pos_weight": torch.tensor(3.0, dtype=torch.float64)}),
        ("binary_cross_entropy", ("probs", "zero_one"), {}),
        ("multilabel_soft_margin_loss", ("rows", "hot"), {}),
        ("cross_entropy", ("rows", "hot"), {"label_smoothing": 0.1}),
        ("poisson_nll_loss", ("x", "counts"), {}),
        ("poisson_nll_loss", ("positive", "counts"), {"log_input": False}),
        ("huber_loss", ("x", "y"), {}),
    ],
)
def test_gradients_in_targets_of_exactly_zero_and_one(
    name: str, arguments: tuple[str, str], options: dict[str, Any]
) -> None:
    data = batch()
    results = []
    for module in (F, theirs):
        inputs = [data[a].detach().requires_grad_() for a in arguments]
        value = getattr(module, name)(*inputs, **options)
        once = torch.autograd.grad(value, inputs, create_graph=True)
        twice = torch.autograd.grad(sum((g * g).sum() for g in once), inputs, allow_unused=True)
        results.append([value, *once, *(torch.zeros(()) if g is None else g for g in twice)])
    same(*results)


def test_a_small_variance_is_raised_and_its_gradient_passes() -> None:
    mean, target = torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3)
    var = torch.tensor([0.0, 1e-7, 2.0])
    of = lambda f: lambda v: f(mean, target, v)  # noqa: E731
    same(first_grad(of(F.gaussian_nll_loss), var), first_grad(of(theirs.gaussian_nll_loss), var))


def test_a_margin_that_is_met_exactly_still_pushes_as_in_torch() -> None:
    zeros, signs = torch.zeros(4), torch.tensor([1.0, -1.0, 1.0, -1.0])
    same(
        first_grad(F.margin_ranking_loss, zeros, zeros, signs),
        first_grad(theirs.margin_ranking_loss, zeros, zeros, signs),
    )
    met = torch.ones(4)
    same(first_grad(F.hinge_embedding_loss, met, signs), first_grad(theirs.hinge_embedding_loss, met, signs))
    near, far = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 2.0]])
    triplet = torch.zeros(1, 2), near, far
    same(
        first_grad(lambda *t: F.triplet_margin_loss(*t, eps=0.0), *triplet),
        first_grad(lambda *t: theirs.triplet_margin_loss(*t, eps=0.0), *triplet),
    )


def test_zero_vectors_and_equal_vectors_have_torchs_cosine() -> None:
    first = torch.tensor([[0.0, 0.0], [1.0, 2.0], [1e-7, 0.0]], dtype=torch.float64)
    second = torch.tensor([[1.0, 1.0], [1.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
    for sign in (1, -1):
        label = torch.full((3,), sign)
        mine = first_grad(
            lambda a, label=label: F.cosine_embedding_loss(a, second, label, -0.5, reduction="none"), first
        )
        reference = first_grad(
            lambda a, label=label: theirs.cosine_embedding_loss(a, second, label, -0.5, reduction="none"), first
        )
        same(mine, reference, rtol=1e-9, atol=1e-9)


def test_labels_that_are_neither_sign_are_charged_as_in_torch() -> None:
    distance, labels = torch.tensor([0.3, 0.3, 1.5]), torch.tensor([0.0, 2.0, 0.0])
    same(
        first_grad(F.hinge_embedding_loss, distance, labels), first_grad(theirs.hinge_embedding_loss, distance, labels)
    )
    rows = torch.randn(3, 2)
    assert F.cosine_embedding_loss(rows, rows, labels) == theirs.cosine_embedding_loss(rows, rows, labels) == 0


def test_a_label_listed_twice_counts_twice_as_in_torch() -> None:
    scores, listed = torch.tensor([[0.1, 0.2, 0.4, 0.8]]), torch.tensor([[3, 3, 0, -1]])
    same(
        first_grad(F.multilabel_margin_loss, scores, listed), first_grad(theirs.multilabel_margin_loss, scores, listed)
    )


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_one_row_and_a_label_without_dimensions_are_taken_as_torch_does(reduction: str) -> None:
    row, label = torch.tensor([[0.5, 0.2, -1.0]]), torch.tensor(1)
    of = lambda f: lambda x: f(x, label, reduction=reduction)  # noqa: E731
    same(first_grad(of(F.multi_margin_loss), row), first_grad(of(theirs.multi_margin_loss), row))


def test_adaptive_log_softmax_is_torchs() -> None:
    torch.manual_seed(0)
    build = {"in_features": 16, "n_classes": 20, "cutoffs": [5, 10], "div_value": 2.0}
    ours, reference = nn.AdaptiveLogSoftmaxWithLoss(**build), torch.nn.AdaptiveLogSoftmaxWithLoss(**build)
    ours.load_state_dict(reference.state_dict())
    hidden, labels = torch.randn(8, 16), torch.tensor([0, 4, 5, 9, 10, 19, 7, 0])
    found, expected = ours(hidden, labels), reference(hidden, labels)
    same(found, expected)
    same([found.output, found.loss], expected)
    found.loss.backward()
    expected.loss.backward()
    same([p.grad for p in ours.parameters()], [p.grad for p in reference.parameters()])
    same(ours(hidden[0], labels[0]), reference(hidden[0], labels[0]))
    same([ours.predict(hidden), ours.log_prob(hidden)], [reference.predict(hidden), reference.log_prob(hidden)])
    for bad in (torch.tensor([0] * 7 + [20]), torch.tensor([0, 1]), torch.zeros(8, 1, dtype=torch.long)):
        for model in (ours, reference):
            with pytest.raises(RuntimeError):
                model(hidden, bad)


# --- refusals -------------------------------------------------------------------------------------------------------

x, y, rows, labels = torch.zeros(2), torch.ones(2), torch.zeros(2, 3), torch.tensor([0, 1])
REFUSED: dict[str, Callable[[Any], Any]] = {
    "label out of range": lambda f: f.cross_entropy(rows, torch.tensor([0, 7])),
    "label below 0": lambda f: f.nll_loss(rows, torch.tensor([0, -1])),
    "labels as floats": lambda f: f.cross_entropy(rows, torch.zeros(2)),
    "too many labels": lambda f: f.cross_entropy(rows, torch.tensor([0, 1, 2])),
    "classes last": lambda f: f.cross_entropy(torch.zeros(2, 5, 3), torch.zeros(2, 5).long()),
    "probabilities as integers": lambda f: f.cross_entropy(rows, torch.ones(2, 3).long()),
    "ignore_index of probabilities": lambda f: f.cross_entropy(rows, rows, ignore_index=1),
    "smoothing above 1": lambda f: f.cross_entropy(rows, labels, label_smoothing=2.0),
    "class weights of another length": lambda f: f.cross_entropy(rows, labels, weight=torch.ones(4)),
    "class weights of another type": lambda f: f.cross_entropy(rows, labels, weight=torch.ones(3).double()),
    "an unknown reduction": lambda f: f.mse_loss(x, y, reduction="average"),
    "weights of another shape": lambda f: f.mse_loss(x, y, weight=torch.ones(1)),
    "integers": lambda f: f.mse_loss(x.long(), y.long()),
    "the mean of integers": lambda f: f.l1_loss(x.long(), y.long()),
    "delta 0": lambda f: f.huber_loss(x, y, delta=0.0),
    "beta below 0": lambda f: f.smooth_l1_loss(x, y, beta=-1.0),
    "targets of another shape": lambda f: f.binary_cross_entropy_with_logits(x, y[:, None]),
    "probabilities above 1": lambda f: f.binary_cross_entropy(x + 2, y),
    "a probability that is NaN": lambda f: f.binary_cross_entropy(x * NAN, y),
    "weights that enlarge": lambda f: f.binary_cross_entropy_with_logits(x, y, weight=torch.ones(2, 2)),
    "a negative variance": lambda f: f.gaussian_nll_loss(x, y, -y),
    "a variance that is an integer": lambda f: f.gaussian_nll_loss(x, y, y.long()),
    "p of 3": lambda f: f.multi_margin_loss(rows, labels, p=3),
    "a list that leaves the classes": lambda f: f.multilabel_margin_loss(rows, torch.tensor([[0, 9, -1]] * 2)),
    "no classes": lambda f: f.multilabel_soft_margin_loss(x[0], y[0]),
    "margin 0": lambda f: f.triplet_margin_loss(rows, rows, rows, margin=0.0),
    "a target with more dimensions": lambda f: f.cosine_embedding_loss(rows, rows, rows),
    "scores with different dimensions": lambda f: f.margin_ranking_loss(x, rows, x),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_torch_refuses_is_refused_by_an_error_its_handlers_catch(what: str) -> None:
    with pytest.raises((RuntimeError, ValueError, IndexError, TypeError)) as refused:
        REFUSED[what](theirs)
    with pytest.raises(refused.type) as ours:
        REFUSED[what](F)
    if isinstance(ours.value, LossaryError):
        assert len(str(ours.value)) > 30, "a sentence"


def test_a_label_out_of_range_that_nobody_looks_at_is_nan_and_not_zero() -> None:
    good, bad = torch.tensor([0, 1]), torch.tensor([0, 7])
    vmapped = torch.func.vmap(lambda t: F.cross_entropy(rows, t))
    assert vmapped(torch.stack([good, bad])).isnan().tolist() == [False, True]


# --- where ours differ, on purpose: docs/numerics.md lists these ----------------------------------------------------


def differs(f: Callable[[Any, Any], Any], *leaves: Any) -> Iterator[tuple[Any, Any]]:
    """Value and gradients of torch, then ours."""
    for module in (theirs, F):
        inputs = [leaf.detach().requires_grad_() for leaf in leaves]
        value = f(module, *inputs)
        yield value.detach(), torch.autograd.grad(value.sum(), inputs, allow_unused=True)


def test_nan_at_an_ignored_row_stays_there() -> None:
    z = torch.tensor([[0.0, 0.0], [NAN, 0.0]])
    (value, (grad,)), (ours, (our_grad,)) = differs(lambda f, z: f.cross_entropy(z, torch.tensor([0, -100])), z)
    assert value == ours
    assert grad[1].isnan().any()
    assert (our_grad[1] == 0).all() and torch.equal(grad[0], our_grad[0])


def test_a_masked_class_takes_no_smoothing_mass_and_costs_nothing() -> None:
    z = torch.tensor([[0.0, 1.0, -INF]])
    (value, _), (ours, (grad,)) = differs(lambda f, z: f.cross_entropy(z, torch.tensor([0]), label_smoothing=0.1), z)
    assert value == INF
    torch.testing.assert_close(ours, theirs.cross_entropy(z[:, :2], torch.tensor([0]), label_smoothing=0.1))
    assert grad.isfinite().all()
    (value, _), (ours, (grad,)) = differs(lambda f, z: f.cross_entropy(z, torch.tensor([[0.5, 0.5, 0.0]])), z)
    assert value.isnan() and grad.isfinite().all()
    torch.testing.assert_close(ours, theirs.cross_entropy(z[:, :2], torch.tensor([[0.5, 0.5]])))


def test_a_target_of_zero_has_a_divergence_and_a_gradient() -> None:
    log_probs, q = torch.tensor([[-INF, 0.0]]), torch.tensor([[0.0, 1.0]])
    (value, _), (ours, grads) = differs(lambda f, a, b: f.kl_div(a, b, reduction="sum"), log_probs, q)
    assert value.isnan() and ours == 0 and all(g.isfinite().all() for g in grads)
    half = torch.tensor([[0.5, 0.5]]).log()
    (_, (_, grad)), (_, (_, our_grad)) = differs(lambda f, a, b: f.kl_div(a, b, reduction="sum"), half, q)
    assert not grad.isfinite().all() and our_grad.isfinite().all()
    (value, _), (ours, grads) = differs(
        lambda f, a, b: f.kl_div(a, b, reduction="sum", log_target=True), half, torch.tensor([[-INF, 0.0]])
    )
    assert value.isnan()
    torch.testing.assert_close(ours, torch.tensor(2.0).log())
    assert all(g.isfinite().all() for g in grads)


DIFFERENT: dict[str, tuple[Callable[[Any, Any], Any], list[Any], float, float]] = {
    # what: the call, its first argument, torch's value, ours
    "a row without a class": (lambda f, z: f.cross_entropy(z, torch.tensor([0])), [[-INF, -INF]], NAN, INF),
    "a class of weight 0 and probability 0": (
        lambda f, z: f.nll_loss(z, torch.tensor([1, 0]), weight=torch.tensor([1.0, 0.0])),
        [[0.0, -INF], [-1.0, -2.0]],
        NAN,
        1.0,
    ),
    "soft margin, -1000": (lambda f, z: f.soft_margin_loss(z, torch.ones(1)), [-1000.0], INF, 1000.0),
    "a logit of inf": (lambda f, z: f.binary_cross_entropy_with_logits(z, torch.ones(1)), [INF], NAN, 0.0),
    "a label with a logit of inf": (
        lambda f, z: f.multilabel_soft_margin_loss(z, torch.tensor([[1.0, 0.0]])),
        [[INF, -INF]],
        NAN,
        0.0,
    ),
    "a log-rate of -inf and no count": (lambda f, z: f.poisson_nll_loss(z, torch.zeros(1)), [-INF], NAN, 0.0),
    "a rate of 0 and no count": (
        lambda f, z: f.poisson_nll_loss(z, torch.zeros(1), log_input=False, eps=0.0),
        [0.0],
        NAN,
        0.0,
    ),
    "very long vectors": (
        lambda f, z: f.cosine_embedding_loss(z, torch.tensor([[1e25, 1.0]]), torch.tensor([1])),
        [[1e25, 0.0]],
        NAN,
        0.0,
    ),
    "nearly parallel vectors": (
        lambda f, z: f.cosine_embedding_loss(z, torch.tensor([[1.0, 1e-4]]), torch.tensor([1])),
        [[1.0, 0.0]],
        0.0,
        5e-9,
    ),
    "a score that is NaN": (lambda f, z: f.multi_margin_loss(z, torch.tensor([0])), [[0.0, NAN]], 0.0, NAN),
    "a label's score that is NaN": (
        lambda f, z: f.multilabel_margin_loss(z, torch.tensor([[0, -1]])),
        [[0.0, NAN]],
        0.0,
        NAN,
    ),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_values_where_torch_overflows_or_loses_a_nan(what: str) -> None:
    f, given, expected, wanted = DIFFERENT[what]
    (value, _), (ours, (grad,)) = differs(f, torch.tensor(given))
    torch.testing.assert_close(value, torch.tensor(expected), equal_nan=True)
    torch.testing.assert_close(ours, torch.tensor(wanted), equal_nan=True, rtol=1e-3, atol=0)
    # A score that is NaN leaves no gradient to believe in, and one of 0 would hide it.
    assert grad.isnan().any() if "NaN" in what else grad.isfinite().all()


def test_gradients_in_targets_that_torch_does_not_have() -> None:
    f = lambda f, count: f.poisson_nll_loss(torch.zeros(2), count, full=True)  # noqa: E731
    (_, (grad,)), (_, (our_grad,)) = differs(f, torch.tensor([0.0, 3.0]))
    assert grad[0].isnan() and our_grad[0] == 0
    torch.testing.assert_close(grad[1], our_grad[1])
    signs = torch.tensor([1.0, -1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="not differentiable"):
        theirs.soft_margin_loss(torch.ones(2), signs)
    assert torch.autograd.gradcheck(lambda s: F.soft_margin_loss(torch.ones(2).double(), s), signs.double())


def test_the_target_of_probabilities_at_an_end_has_the_gradient_of_the_value() -> None:
    f = lambda f, y: f.binary_cross_entropy(torch.zeros(1), y)  # noqa: E731
    (value, (grad,)), (ours, (our_grad,)) = differs(f, torch.ones(1))
    assert value == ours == 100
    assert grad == INF and our_grad == 100


def test_small_integers_do_not_wrap() -> None:
    one, three = torch.tensor([1], dtype=torch.uint8), torch.tensor([3], dtype=torch.uint8)
    assert theirs.l1_loss(one, three, reduction="sum") == 254
    assert F.l1_loss(one, three, reduction="sum") == 2


def test_half_precision_is_rounded_once() -> None:
    pred = torch.tensor([300.0, 1.0], dtype=torch.float16)
    zeros = torch.zeros(2, dtype=torch.float16)
    assert theirs.mse_loss(pred, zeros, weight=torch.tensor([0.5, 1.0]).half()) == INF
    assert F.mse_loss(pred, zeros, weight=torch.tensor([0.5, 1.0]).half()).item() == 30000.0


def test_a_sum_of_half_precision_weights_is_no_half_precision_sum() -> None:
    ones = torch.ones(3000, dtype=torch.bfloat16)
    rows, labels = torch.zeros(3000, 2).bfloat16(), torch.zeros(3000, dtype=torch.long)
    rows[0, 0] = 30.0
    weight = torch.tensor([1.0, 1.0]).bfloat16()
    assert F.mse_loss(ones, torch.zeros_like(ones), weight=ones).item() == 1.0
    found = F.cross_entropy(rows.requires_grad_(), labels, weight=weight)
    (grad,) = torch.autograd.grad(found, rows)
    torch.testing.assert_close(grad[1], torch.tensor([-0.5, 0.5]).div(3000).bfloat16(), rtol=8e-3, atol=0)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss", "multi_margin_loss"])
def test_class_weights_may_be_learned(name: str) -> None:
    data = batch()
    rows, labels, weight = data["rows"], data["labels"], data["weight"].requires_grad_()
    with pytest.raises((RuntimeError, AssertionError)):
        getattr(theirs, name)(rows, labels, weight=weight).backward()
    assert torch.autograd.gradcheck(lambda w: getattr(F, name)(rows, labels, weight=w), weight)


def test_a_variance_is_not_looked_at_in_a_trace() -> None:
    many = torch.tensor([[1.0], [-1.0]])
    of = lambda f: torch.func.vmap(lambda v: f.gaussian_nll_loss(torch.ones(1), torch.zeros(1), v))  # noqa: E731
    with pytest.raises(RuntimeError):
        of(theirs)(many)
    raised = theirs.gaussian_nll_loss(torch.ones(1), torch.zeros(1), torch.zeros(1))
    torch.testing.assert_close(of(F)(many), torch.stack([torch.tensor(0.5), raised]))


def test_second_derivatives_that_torch_does_not_have() -> None:
    data = batch()
    rows = data["rows"].requires_grad_()
    f = lambda z: F.multi_margin_loss(z, data["labels"], p=2)  # noqa: E731
    once = torch.autograd.grad(theirs.multi_margin_loss(rows, data["labels"], p=2), rows, create_graph=True)[0]
    with pytest.raises(RuntimeError):
        torch.autograd.grad(once.sum(), rows)
    (curvature,) = torch.autograd.grad(torch.autograd.grad(f(rows), rows, create_graph=True)[0].sum(), rows)
    assert curvature.isfinite().all()
    assert torch.autograd.gradgradcheck(f, rows)


def test_gradient_accumulation_by_total_is_the_gradient_of_the_whole_batch() -> None:
    torch.manual_seed(0)
    z, target = torch.randn(12, 5), torch.randint(5, (12,))
    target[::3] = -100
    whole, grad = first_grad(nn.CrossEntropyLoss(), z, target)
    count = (target != -100).sum()
    moving = z.clone().requires_grad_()
    for part in (slice(0, 10), slice(10, 12)):
        F.cross_entropy(moving[part], target[part], reduction="sum").div(count).backward()
    torch.testing.assert_close(moving.grad, grad)
    summed, kept = lossary.total(F.cross_entropy(z, target, reduction="none"), mask=target != -100)
    torch.testing.assert_close(summed / kept, whole.detach())


def _of_any_size() -> dict[str, tuple[Callable[[], Any], Any]]:
    """Calls that take each way to a result, and what each is differentiated by."""
    torch.manual_seed(0)

    def leaf(*shape: int) -> Any:
        return torch.randn(shape, requires_grad=True)

    x, y = leaf(80_000), torch.randn(80_000)
    rows, labels, wide, their_labels = leaf(7000, 10), torch.randint(10, (7000,)), leaf(70, 1000), torch.arange(70)
    listed, weight = torch.randint(-1, 10, (7000, 10)), torch.linspace(1, 2, 10)
    few, many = leaf(20, 2, 6), leaf(200, 16, 50)
    hidden, head, classes = leaf(100, 32), leaf(1000, 32), torch.randint(1000, (100,))
    adaptive = nn.AdaptiveLogSoftmaxWithLoss(32, 1000, [50, 200])

    def aligned(scores: Any) -> Any:
        frames, count, _ = scores.shape
        lengths = [torch.full((count,), n, device="cpu") for n in (frames, frames // 4)]
        targets = torch.ones(count, frames // 4, dtype=torch.long, device="cpu")
        return F.ctc_loss(scores.log_softmax(-1), targets, *lengths)

    return {
        "numbers": (lambda: F.huber_loss(x, y), x),
        "each number": (lambda: F.huber_loss(x, y, reduction="none"), x),
        "weighed": (lambda: F.binary_cross_entropy_with_logits(x, y.sigmoid(), weight=y.abs()), x),
        "half precision": (lambda: F.mse_loss(x.bfloat16(), y.bfloat16()), x),
        "rows": (lambda: F.cross_entropy(rows, labels), rows),
        "weighed rows": (lambda: F.cross_entropy(rows, labels, weight=weight, label_smoothing=0.1), rows),
        "long rows": (lambda: F.cross_entropy(wide, their_labels), wide),
        "at labels": (lambda: F.nll_loss(wide.log_softmax(-1), their_labels), wide),
        "lists": (lambda: F.multilabel_margin_loss(rows, listed), rows),
        "a few frames": (lambda: aligned(few), few),
        "frames": (lambda: aligned(many), many),
        "a head": (lambda: F.linear_cross_entropy(hidden, head, classes), hidden),
        "clusters": (lambda: adaptive(hidden, classes).loss, hidden),
        "distances": (lambda: F.triplet_margin_with_distance_loss(wide, wide.detach() + 1, wide.detach()), wide),
    }


def test_the_default_device_is_not_asked_for_what_belongs_to_the_arguments() -> None:
    for name, (call, leaf) in _of_any_size().items():

        def both(call: Any = call, leaf: Any = leaf) -> tuple[Any, Any]:
            value = call()
            return value, torch.autograd.grad(value.sum(), leaf)[0]

        expected = both()
        with torch.device("meta"):
            for _ in range(2):  # the second time, what is known of the kind is used
                for got, before in zip(both(), expected, strict=True):
                    assert got.device.type == "cpu", name
                    assert got.equal(before), name


@pytest.mark.parametrize("target_too", [False, True])
@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("margin_ranking_loss", ([0.0, 1.0], [0.0, 0.0], [1.0, 1.0])),
        ("hinge_embedding_loss", ([1.0, 0.5], [-1.0, -1.0])),
    ],
)
def test_a_margin_that_is_met_exactly_pushes_whatever_else_requires_a_gradient(
    name: str, arrays: tuple[list[float], ...], target_too: bool
) -> None:
    found = []
    for functions in (F, theirs):
        *given, target = (torch.tensor(x, requires_grad=True) for x in arrays)
        value = getattr(functions, name)(*given, target.requires_grad_(target_too) if target_too else target.detach())
        found.append(torch.autograd.grad(value, given[0])[0])
    same(found[:1], found[1:])

"""Benchmark cases of the drop-ins of `lossary.nn`: on few numbers, where overhead decides, and without kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from benchmarks import torch_formulas
from benchmarks.cases import Answer, Case, Contender, Options
from benchmarks.cases import read as read_answer
from lossary.testing import kernels

_CLASSES, _FEATURES = 10, 16


@dataclass(frozen=True)
class _DropIn:
    """A module: how its inputs are made from a generator of random numbers and a size, and how it is called on them.

    The first `leaves` inputs have a gradient.
    """

    name: str
    inputs: Callable[[Any, int], tuple[Any, ...]]
    leaves: int = 1
    arguments: Mapping[str, Any] = field(default_factory=dict)
    variant: str = ""
    positional: tuple[Any, ...] = ()
    call: Callable[..., Any] = lambda module, *inputs: module(*inputs)


def _drop_ins() -> list[_DropIn]:
    import torch

    def normal(g: Any, *shape: int) -> Any:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    def uniform(g: Any, *shape: int) -> Any:
        return torch.rand(shape, generator=g, dtype=torch.float64)

    def whole(g: Any, most: int, *shape: int) -> Any:
        return torch.randint(0, most, shape, generator=g)

    def signs(g: Any, n: int) -> Any:
        return 2.0 * whole(g, 2, n).double() - 1

    def rows(n: int) -> tuple[int, int]:
        return max(n // _CLASSES, 1), _CLASSES

    def pair(g: Any, n: int) -> tuple[Any, ...]:
        return normal(g, n), normal(g, n)

    def labelled(g: Any, n: int) -> tuple[Any, ...]:
        return normal(g, *rows(n)), whole(g, _CLASSES, rows(n)[0])

    def soft(g: Any, n: int) -> tuple[Any, ...]:
        return normal(g, *rows(n)), normal(g, *rows(n)).softmax(-1)

    def several(g: Any, n: int) -> tuple[Any, ...]:
        return normal(g, *rows(n)), whole(g, 2, *rows(n)).double()

    def vectors(g: Any, n: int, count: int) -> tuple[Any, ...]:
        return tuple(normal(g, *rows(n)) for _ in range(count))

    def hidden(g: Any, n: int) -> tuple[Any, ...]:
        count = max(n // _FEATURES, 1)
        return normal(g, count, _FEATURES), whole(g, 100, count)

    def sequences(g: Any, n: int) -> tuple[Any, ...]:
        steps = max(n // (2 * _CLASSES), 1)
        scores = normal(g, steps, 2, _CLASSES)
        labels = 1 + whole(g, _CLASSES - 1, 2, max(steps // 5, 1))
        return scores, labels, torch.full((2,), steps), torch.full((2,), labels.shape[1])

    weight = torch.linspace(0.5, 2.0, _CLASSES, dtype=torch.float64)
    adaptive = {"in_features": _FEATURES, "n_classes": 100, "cutoffs": [20, 50]}
    return [
        _DropIn("L1Loss", pair),
        _DropIn("MSELoss", pair),
        _DropIn("SmoothL1Loss", pair),
        _DropIn("HuberLoss", pair),
        _DropIn("CrossEntropyLoss", labelled),
        _DropIn("CrossEntropyLoss", labelled, 1, {"weight": weight, "label_smoothing": 0.1}, "smoothing and weights"),
        _DropIn("CrossEntropyLoss", soft, variant="soft labels"),
        _DropIn("NLLLoss", lambda g, n: (normal(g, *rows(n)).log_softmax(-1), labelled(g, n)[1])),
        _DropIn("BCELoss", lambda g, n: (uniform(g, n), whole(g, 2, n).double())),
        _DropIn("BCEWithLogitsLoss", lambda g, n: (normal(g, n), whole(g, 2, n).double())),
        _DropIn(
            "KLDivLoss",
            lambda g, n: (normal(g, *rows(n)).log_softmax(-1), soft(g, n)[1]),
            1,
            {"reduction": "batchmean"},
        ),
        _DropIn("PoissonNLLLoss", lambda g, n: (normal(g, n), whole(g, 5, n).double())),
        _DropIn(
            "GaussianNLLLoss",
            lambda g, n: (normal(g, n), 0.1 + uniform(g, n), normal(g, n)),
            2,
            call=lambda module, input, var, target: module(input, target, var),
        ),
        _DropIn("HingeEmbeddingLoss", lambda g, n: (normal(g, n), signs(g, n))),
        _DropIn("SoftMarginLoss", lambda g, n: (normal(g, n), signs(g, n))),
        _DropIn("MarginRankingLoss", lambda g, n: (*pair(g, n), signs(g, n)), 2),
        _DropIn("CosineEmbeddingLoss", lambda g, n: (*vectors(g, n, 2), signs(g, rows(n)[0])), 2),
        _DropIn("TripletMarginLoss", lambda g, n: vectors(g, n, 3), 3),
        _DropIn("TripletMarginWithDistanceLoss", lambda g, n: vectors(g, n, 3), 3),
        _DropIn("MultiMarginLoss", labelled),
        _DropIn("MultiLabelMarginLoss", lambda g, n: (normal(g, *rows(n)), _listed(several(g, n)[1]))),
        _DropIn("MultiLabelSoftMarginLoss", several),
        _DropIn("AdaptiveLogSoftmaxWithLoss", hidden, 1, adaptive, call=lambda module, *inputs: module(*inputs).loss),
        # From scores: torch's gradient for the log-probabilities is right only after the log_softmax before it.
        _DropIn("CTCLoss", sequences, call=lambda module, scores, *rest: module(scores.log_softmax(-1), *rest)),
        _DropIn("LinearCrossEntropyLoss", hidden, positional=(_FEATURES, 100)),
    ]


def _listed(chosen: Any) -> Any:
    """Write the classes that are 1 as a list per row, which -1 ends."""
    import torch

    classes = torch.where(chosen > 0, torch.arange(chosen.shape[1]), chosen.shape[1])
    ordered = classes.sort(-1).values
    return torch.where(ordered < chosen.shape[1], ordered, -1)


# The names of the modules, known without importing torch; those of a torch or Lossary that has none are left out.
NAMES = (
    "AdaptiveLogSoftmaxWithLoss",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "LinearCrossEntropyLoss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
)


def replaced(name: str) -> bool:
    """Whether `lossary.nn` has a module of its own by the name of one of torch's."""
    import torch

    from lossary import nn

    theirs = getattr(torch.nn, name, None)
    return theirs is not None and getattr(nn, name) is not theirs


@dataclass
class _Problem:
    drop_in: _DropIn
    size: int
    dtype: str

    def reference(self) -> Answer:
        """torch's module in float64, on inputs rounded to the type."""
        import torch

        return read_answer(self._made(torch.nn, "float64").runs["value and gradient"]())

    def contender(self, key: str) -> Contender | None:
        import torch

        from lossary import nn

        made = self._made(torch.nn if key == "torch" else nn, self.dtype)
        if key != "definitions":
            return made
        return replace(made, runs={mode: _without_kernels(run) for mode, run in made.runs.items()})

    def _made(self, namespace: Any, dtype: str) -> Contender:
        import torch

        rounded, wanted = getattr(torch, self.dtype), getattr(torch, dtype)
        torch.manual_seed(0)  # of the weights of a module that has any
        arguments = {name: x.to(wanted) if hasattr(x, "to") else x for name, x in self.drop_in.arguments.items()}
        module = getattr(namespace, self.drop_in.name)(*self.drop_in.positional, **arguments)
        module = module.to(rounded).to(wanted)
        given = self.drop_in.inputs(torch.Generator().manual_seed(0), self.size)
        given = tuple(x.to(rounded).to(wanted) if x.is_floating_point() else x for x in given)
        leaves, rest = given[: self.drop_in.leaves], given[self.drop_in.leaves :]
        return torch_formulas.differentiated(lambda *inputs: self.drop_in.call(module, *inputs, *rest), *leaves)


def _without_kernels(run: Callable[[], Any]) -> Callable[[], Any]:
    def by_definitions() -> Any:
        with kernels("off"):
            return run()

    return by_definitions


def cases(options: Options) -> list[Case]:
    """Every module that replaces one of torch's."""
    return _of_sizes(options, options.sizes or ((1000,),))


# Losses whose large calls are something else: a table of embeddings, recursions, a layer with its loss.
_NOT_LARGE = ("AdaptiveLogSoftmaxWithLoss", "CTCLoss", "LinearCrossEntropyLoss")
LARGE = tuple(name for name in NAMES if name not in _NOT_LARGE)


def large_cases(options: Options) -> list[Case]:
    """Every such module on many numbers."""
    sizes = options.sizes or (((20_000,),) if options.quick else ((1 << 22,),))
    return [case for case in _of_sizes(options, sizes) if case.loss in LARGE]


def _of_sizes(options: Options, sizes: tuple[tuple[int, ...], ...]) -> list[Case]:
    return [
        Case(each.name, shape, options.dtype, partial(_Problem, each, shape[0], options.dtype), each.variant)
        for shape in sizes
        for each in _drop_ins()
        if (not options.losses or each.name in options.losses) and replaced(each.name)
    ]

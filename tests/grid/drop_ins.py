"""The drop-ins of `lossary.nn`: their cells, their calls, and torch's own answer in float64 as the reference."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import compare, inputs, tables
from . import reference as reference_
from .compare import WrongError
from .losses import unfolded
from .tables import Cell

# What is drawn for an argument: the numbers, and whether they are of the type of the numbers, or labels, or counts.
REAL, COUNTS, LABELS = "numbers", "targets", "labels"


@dataclass(frozen=True)
class DropIn:
    """A function of `torch.nn.functional`: what it is called with, and how."""

    arguments: tuple[str, ...]
    options: tuple[dict[str, Any], ...] = ({},)
    module: str = ""
    rows: bool = False  # classes along dimension 1, or the last of two
    shapes: str = "points"


POINTS: dict[str, tuple[int, ...]] = {
    "few": (6,),
    "one": (),
    "empty": (0,),
    "table": (4, 3),
    "1000": (1000,),
    "image": (2, 3, 5, 7),
    "above 16384": (130, 128),
    "image above 16384": (2, 3, 60, 50),
    "above 65536": (300, 230),
}
CLASSES: dict[str, tuple[int, ...]] = {
    "few": (5, 4),
    "one": (4,),
    "empty": (0, 4),
    "width 1": (6, 1),
    "width 200": (3, 200),
    "image": (2, 7, 20, 13),
    "series": (8, 21, 40),
    "above 2048": (60, 40),
    "wide above 2048": (12, 200),
    "above 16384": (500, 40),
    "image above 16384": (2, 4, 60, 40),
    "wide above 16384": (90, 200),
    "above 65536": (1700, 40),
    "wide above 65536": (340, 200),
}
VECTORS: dict[str, tuple[int, ...]] = {
    "few": (5, 4),
    "empty": (0, 4),
    "above 2048": (60, 40),
    "above 16384": (500, 40),
    "wide above 16384": (90, 200),
    "above 65536": (1700, 40),
}
SPEECH: dict[str, tuple[int, ...]] = {"few": (6, 3, 4), "above 256": (12, 4, 6), "above 16384": (30, 14, 40)}
SHAPES = {"points": POINTS, "classes": CLASSES, "vectors": VECTORS, "speech": SPEECH, "heads": VECTORS}

TABLE: dict[str, DropIn] = {
    "l1_loss": DropIn(("real", "real"), ({}, {"weight": "positive"}), "L1Loss"),
    "mse_loss": DropIn(("real", "real"), ({}, {"weight": "positive"}), "MSELoss"),
    "smooth_l1_loss": DropIn(("real", "real"), ({}, {"beta": 0.5}, {"beta": 0.0}), "SmoothL1Loss"),
    "huber_loss": DropIn(("real", "real"), ({}, {"delta": 0.5}, {"weight": "positive"}), "HuberLoss"),
    "poisson_nll_loss": DropIn(("real", "count"), ({}, {"full": True}), "PoissonNLLLoss"),
    "gaussian_nll_loss": DropIn(("real", "real", "positive"), ({}, {"full": True}), "GaussianNLLLoss"),
    "binary_cross_entropy": DropIn(("probability", "unit"), ({}, {"weight": "positive"}), "BCELoss"),
    "binary_cross_entropy_with_logits": DropIn(
        ("real", "unit"), ({}, {"weight": "positive"}, {"pos_weight": "last"}), "BCEWithLogitsLoss"
    ),
    "soft_margin_loss": DropIn(("real", "sign"), ({},), "SoftMarginLoss"),
    "margin_ranking_loss": DropIn(("real", "real", "sign"), ({}, {"margin": 0.5}), "MarginRankingLoss"),
    "hinge_embedding_loss": DropIn(("positive", "sign"), ({}, {"margin": 0.5}), "HingeEmbeddingLoss"),
    "kl_div": DropIn(("log-simplex", "simplex"), ({}, {"log_target": True}), "KLDivLoss", shapes="classes"),
    "cross_entropy": DropIn(
        ("real", "label"),
        (
            {},
            {"label_smoothing": 0.125},
            {"weight": "classes"},
            {"weight": "classes", "label_smoothing": 0.125},
            {"ignore_index": -100},
            {"ignore_index": 1, "weight": "classes"},
            {"soft": True},
            {"soft": True, "weight": "classes", "label_smoothing": 0.125},
        ),
        "CrossEntropyLoss",
        True,
        "classes",
    ),
    "nll_loss": DropIn(
        ("log-simplex", "label"),
        ({}, {"weight": "classes"}, {"ignore_index": -100}, {"ignore_index": 1, "weight": "classes"}),
        "NLLLoss",
        True,
        "classes",
    ),
    "multi_margin_loss": DropIn(
        ("real", "label"), ({}, {"p": 2}, {"weight": "classes", "margin": 0.5}), "MultiMarginLoss", True, "vectors"
    ),
    "multilabel_margin_loss": DropIn(("real", "listed"), ({},), "MultiLabelMarginLoss", True, "vectors"),
    "multilabel_soft_margin_loss": DropIn(
        ("real", "unit"), ({}, {"weight": "last"}), "MultiLabelSoftMarginLoss", True, "vectors"
    ),
    "cosine_embedding_loss": DropIn(
        ("real", "real", "row sign"), ({}, {"margin": 0.25}), "CosineEmbeddingLoss", True, "vectors"
    ),
    "triplet_margin_loss": DropIn(
        ("real", "real", "real"), ({}, {"swap": True}, {"p": 1.0, "margin": 0.5}), "TripletMarginLoss", True, "vectors"
    ),
    "triplet_margin_with_distance_loss": DropIn(
        ("real", "real", "real"), ({}, {"swap": True}), "TripletMarginWithDistanceLoss", True, "vectors"
    ),
    "ctc_loss": DropIn(
        ("log-simplex", "speech", "frames", "letters"), ({}, {"zero_infinity": True}), "CTCLoss", True, "speech"
    ),
    "linear_cross_entropy": DropIn(
        ("real", "head", "head label"),
        ({}, {"linear_bias": "head bias"}, {"ignore_index": 1}, {"label_smoothing": 0.125}),
        "",
        True,
        "heads",
    ),
}
NOT_FLOAT = ("label", "listed", "speech", "frames", "letters", "head label")

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "entry": ("function", "module"),
    "option": ("0", "1", "2", "3", "4", "5", "6", "7"),
    "layout": tuple(
        name
        for name in tables.DIMENSIONS["layout"]
        if name in tables.TORCH_LAYOUTS - {*tables.REFUSED, "repeated", "zero tensor"}
    ),
    "numbers": ("float64", "float32", "float16", "bfloat16", "mixed"),
    "labels": ("int64", "uint8"),
    "values": ("random", "ties", "zeros", "large"),
    "reduction": ("mean", "sum", "none"),
    "mode": tables.DIMENSIONS["mode"],
    "grads": ("first", "all", "none"),
    "checks": tables.DIMENSIONS["checks"],
    "kernels": tables.DIMENSIONS["kernels"],
}
HEAD = 10  # classes of a linear head


def subjects() -> list[str]:
    """Every drop-in function of the library: one that the table lacks is an error."""
    from lossary.nn import functional

    lacking = sorted(set(functional.__all__) - set(TABLE))
    assert not lacking, f"the grid does not know the drop-ins {lacking}: enter them in tests/grid/drop_ins.py"
    return [f"F.{name}" for name in functional.__all__]


def known(subject: str) -> DropIn:
    return TABLE[subject.removeprefix("F.")]


def sizes(subject: str) -> dict[str, tuple[int, ...]]:
    return SHAPES[known(subject).shapes]


def options(cell: Cell) -> dict[str, Any]:
    found = known(cell["subject"]).options
    return dict(found[int(cell["option"]) % len(found)])


def plainest(subject: str) -> Cell:
    plain = {name: choices[0] for name, choices in DIMENSIONS.items()}
    return {"subject": subject, "argument": "all", **plain, "size": "few", "seed": 0}


def choices(subject: str) -> dict[str, set[str]]:
    """What each dimension can be for a subject: everything, but for what has no meaning there."""
    own = known(subject)
    found = {name: set(held) for name, held in DIMENSIONS.items()}
    found["option"] = {str(k) for k in range(len(own.options))}
    found["size"] = set(sizes(subject))
    if not own.module:
        found["entry"] = {"function"}
    if own.shapes != "classes" or own.arguments[1] != "label":
        found["labels"] = {"int64"}
    if own.arguments[1] in NOT_FLOAT or subject == "F.binary_cross_entropy" or own.shapes == "heads":
        found["numbers"].discard("mixed")
    if own.shapes in ("speech", "heads"):
        found["numbers"] &= {"float64", "float32"}
        found["mode"] -= {"vmap", "jvp", "double backward"}
        found["values"] = {"random"}
    if own.shapes == "speech":
        found["mode"] -= {"compile", "compile aot"}
        found["layout"] -= {"broadcast", "broadcast last"}
    if own.shapes == "vectors" and subject not in ("F.multi_margin_loss", "F.multilabel_soft_margin_loss"):
        found["values"] -= {"ties", "zeros"}
    return found


def fit(cell: Cell) -> Cell:
    """Return the cell with each choice that means nothing for its subject put back to the plainest."""
    c = dict(cell)
    own = known(c["subject"])
    sized = list(sizes(c["subject"]))
    c["size"] = c["size"] if c["size"] in sized else sized[sum(map(ord, c["size"])) % len(sized)]
    shape = sizes(c["subject"])[c["size"]]
    empty = 0 in shape
    c["option"] = str(int(c["option"]) % len(own.options))
    chosen = options(c)

    def plain(*names: str) -> None:
        for name in names:
            c[name] = DIMENSIONS[name][0]

    if not own.module or (own.module in ("L1Loss", "MSELoss", "HuberLoss") and "weight" in chosen):
        plain("entry")
    c["argument"] = "all" if c["argument"] == "all" else str(int(c["argument"]) % len(own.arguments))
    if not any(a in NOT_FLOAT for a in own.arguments) or own.arguments[1] != "label" or own.shapes != "classes":
        plain("labels")
    if chosen.get("soft") or chosen.get("ignore_index") == -100:
        plain("labels")
    if c["numbers"] == "mixed" and own.arguments[1] in NOT_FLOAT:
        c["numbers"] = "float32"
    if c["numbers"] == "mixed" and c["subject"] in ("F.binary_cross_entropy", "F.linear_cross_entropy"):
        c["numbers"] = "float32"
    if c["subject"] == "F.triplet_margin_with_distance_loss" and c["numbers"] in ("float16", "bfloat16"):
        plain("entry")  # a module is given a distance of torch's, which computes in half precision
    if own.shapes == "heads" or c["subject"] == "F.ctc_loss":
        c["numbers"] = "float32" if c["numbers"] not in ("float64", "float32") else c["numbers"]
    if c["mode"] == "vmap" and c["reduction"] != "mean":
        plain("mode")
    if c["mode"] in ("vmap", "jvp", "double backward"):
        c["numbers"] = "float64"
        if (
            empty
            or "above" in c["size"]
            or not shape
            or own.shapes in ("speech", "heads")
            or chosen.get("ignore_index")
        ):
            plain("mode")
        if len(shape) == 1 and own.rows and c["mode"] == "vmap":
            plain("mode")
        if c["mode"] == "vmap" and ("weight" in chosen or "pos_weight" in chosen):
            plain("mode")
    if c["mode"] in ("vmap", "jvp", "double backward"):
        plain("grads")
    if c["mode"].startswith("compile") and c["checks"] == "full":
        plain("checks")
    if c["mode"].startswith("compile") and own.shapes == "speech":
        plain("mode")
    if c["layout"] not in DIMENSIONS["layout"]:
        plain("layout")
    if empty or (c["layout"].startswith("broadcast") and (own.shapes == "speech" or c["argument"] == "all")):
        plain("layout")
    if (
        c["values"] in ("ties", "zeros")
        and own.shapes in ("vectors",)
        and c["subject"] not in ("F.multi_margin_loss", "F.multilabel_soft_margin_loss")
    ):
        plain("values")
    if c["values"] != "random" and own.shapes in ("speech", "heads"):
        plain("values")
    if c["mode"] == "autocast":
        c["numbers"] = "float32" if c["numbers"] == "float64" else c["numbers"]
    return c


def draw(subject: str, rng: random.Random, **fixed: Any) -> Cell:
    """Draw a cell of a drop-in."""
    cell: Cell = {"subject": subject, "argument": rng.choice(["all", "0", "1", "2"])}
    for name, choices in DIMENSIONS.items():
        cell[name] = rng.choice(choices)
    for name, often in (("mode", 0.4), ("values", 0.4), ("checks", 0.6), ("layout", 0.2)):
        if rng.random() < often:
            cell[name] = DIMENSIONS[name][0]
    if cell["mode"].startswith("compile") and rng.random() < 0.8:
        cell["mode"] = "eager"
    cell["size"] = rng.choice(list(sizes(subject)))
    cell |= {k: v for k, v in fixed.items() if k in DIMENSIONS or k == "size"}
    cell["seed"] = rng.randrange(1 << 30)
    return fit(cell)


# --- inputs ----------------------------------------------------------------------------------------------------


def numbers(what: str, shape: tuple[int, ...], rng: Any, own: DropIn) -> Any:
    """Draw the numbers of one argument."""
    if what == "real":
        return 2.0 * rng.standard_normal(shape)
    if what == "positive":
        return rng.lognormal(0.0, 0.7, shape)
    if what == "probability":
        return rng.uniform(0.05, 0.95, shape)
    if what == "unit":
        return np.where(rng.random(shape) < 0.5, (rng.random(shape) < 0.5) * 1.0, rng.uniform(0, 1, shape))
    if what == "count":
        return rng.poisson(3.0, shape).astype(float)
    if what == "sign":
        return rng.choice([-1.0, 1.0], shape)
    if what == "row sign":
        return rng.choice([-1.0, 1.0], shape[:-1])
    if what in ("simplex", "log-simplex"):
        axis = -1 if own.shapes == "speech" or len(shape) < 2 else 1
        x = rng.exponential(1.0, shape) + 1e-3
        x = x / x.sum(axis, keepdims=True) if x.size else x
        return x if what == "simplex" else np.log(x)
    classes = shape[0] if len(shape) == 1 else shape[1] if len(shape) > 1 else 1
    if what == "label":
        return rng.integers(0, classes, () if len(shape) == 1 else (shape[0], *shape[2:]))
    if what == "listed":
        listed = np.argsort(rng.random(shape), -1)
        ends = rng.integers(0, shape[-1] + 1, (*shape[:-1], 1))
        return np.where(np.arange(shape[-1]) >= ends, -1, listed)
    if what == "speech":
        return rng.integers(1, shape[2], (shape[1], shape[0] // 3))
    if what == "frames":
        return rng.integers(shape[0] - 1, shape[0] + 1, shape[1])
    if what == "letters":
        return rng.integers(1, shape[0] // 3 + 1, shape[1])
    if what == "head":
        return rng.uniform(-0.5, 0.5, (HEAD, shape[-1]))
    if what == "head bias":
        return rng.uniform(-0.5, 0.5, HEAD)
    if what == "head label":
        return rng.integers(0, HEAD, shape[:-1])
    if what == "classes":
        return rng.uniform(0.25, 2.0, classes)
    if what == "last":
        return rng.uniform(0.25, 2.0, shape[-1:])
    raise AssertionError(what)


def _special(cell: Cell, own: DropIn, arrays: list[Any], rng: Any) -> None:
    real = [k for k, what in enumerate(own.arguments) if what == "real"]
    if cell["values"] == "ties" and real:
        for k in real:
            arrays[k] = np.round(2 * arrays[k]) / 2
        if len(real) > 1 and arrays[real[0]].ndim:
            offset = rng.choice([0.0, 0.5, 1.0, -0.5, -1.0], arrays[real[0]].shape)
            arrays[real[0]] = np.where(rng.random(offset.shape) < 0.6, arrays[real[1]] + offset, arrays[real[0]])
        if own.arguments[:2] == ("real", "unit"):
            arrays[0] = np.where(rng.random(arrays[0].shape) < 0.5, 0.0, arrays[0])
    elif cell["values"] == "ties" and own.arguments[0] == "positive":
        arrays[0] = np.round(2 * arrays[0]) / 2
    elif cell["values"] == "zeros":
        for k in real:
            arrays[k] = np.zeros_like(arrays[k])
    elif cell["values"] == "large" and real:
        arrays[real[0]] = arrays[real[0]] * 8


# --- the call --------------------------------------------------------------------------------------------------


def run(cell: Cell, _: Any) -> None:
    """Make the call of a cell, and torch's in float64; raise `WrongError`, or whatever the call raises."""
    import torch

    from lossary import nn

    own, rng = known(cell["subject"]), inputs.generator(cell)
    name, shape = cell["subject"].removeprefix("F."), sizes(cell["subject"])[cell["size"]]
    chosen = options(cell)
    wanted = list(own.arguments)
    if chosen.pop("soft", False):
        wanted[1] = "simplex"
    if chosen.get("log_target"):
        wanted[1] = "log-simplex"
    arrays = [numbers(what, shape, rng, own) for what in wanted]
    _special(cell, own, arrays, rng)
    if "ignore_index" in chosen and arrays[-1].ndim:
        arrays[-1] = np.where(rng.random(arrays[-1].shape) < 0.3, chosen["ignore_index"], arrays[-1])
    types = []
    for k, what in enumerate(wanted):
        kind = cell["labels"] if what in NOT_FLOAT else cell["numbers"]
        types.append(kind if kind != "mixed" else "float64" if k else "float32")
    tensors = {key: numbers(what, shape, rng, own) for key, what in chosen.items() if isinstance(what, str)}
    layouts = [cell["layout"] if cell["argument"] in ("all", str(k)) else "contiguous" for k in range(len(wanted))]
    for k, how in enumerate(layouts):
        x = arrays[k]
        if how == "broadcast" and x.ndim and len(x):
            arrays[k] = np.repeat(x[:1], len(x), axis=0)
        elif how == "broadcast last" and x.ndim:
            even = wanted[k] in ("simplex", "log-simplex") and x.ndim <= 2
            last = np.full_like(x[..., :1], 1 / x.shape[-1]) if even else x[..., :1]
            last = np.log(last) if even and wanted[k] == "log-simplex" else last
            arrays[k] = np.repeat(last, x.shape[-1], axis=-1)
        elif how.startswith("broadcast"):
            layouts[k] = "contiguous"
    arrays = [inputs.rounded(x, t) if t in tables.WIDTHS else x for x, t in zip(arrays, types, strict=True)]
    narrow = "float32" if cell["numbers"] == "mixed" else cell["numbers"]
    tensors = {k: inputs.rounded(x, narrow) for k, x in tensors.items()}
    floats = [k for k, t in enumerate(types) if t in tables.WIDTHS]
    # torch differentiates no target that has probabilities in the same way in every loss: only where ours says so.
    moving = {"none": [], "first": floats[:1], "all": floats}[cell["grads"]]
    if cell["mode"] == "inference":
        moving = []

    theirs = getattr(torch.nn.functional, name)
    if name == "soft_margin_loss":  # whose target torch does not differentiate
        moving = moving[:1]
    extra = {"reduction": cell["reduction"]}

    def reference(*given: Any) -> list[Any]:
        x = [torch.tensor(g) for g in given]
        for k in moving:
            x[k].requires_grad_()
        held = {k: torch.tensor(tensors[k]) if k in tensors else v for k, v in chosen.items()}
        value = theirs(*x, **held, **extra)
        found = [value.detach().numpy()]
        if moving:
            grads = torch.autograd.grad(value, [x[k] for k in moving], torch.tensor(upstream), allow_unused=True)
            found += [np.zeros(x[k].shape) if g is None else g.numpy() for k, g in zip(moving, grads, strict=True)]
        return found

    upstream: Any = np.ones(())
    if cell["reduction"] == "none":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            held = {k: torch.tensor(tensors[k]) if k in tensors else v for k, v in chosen.items()}
            like = theirs(*(torch.tensor(x) for x in arrays), **held, **extra)
        upstream = inputs.rounded(rng.uniform(0.5, 2.0, tuple(like.shape)), "float16")
    work = "float64" if "float64" in types else "float32"
    if own.shapes == "heads" and cell["mode"] == "autocast":  # which multiplies in that type
        work = "bfloat16"
    moves = [None if k not in floats else _ends(wanted[k]) for k in range(len(wanted))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, slack, unsure = reference_.sensitivities(
            reference, arrays, moves, compare.EPS[work], cell["seed"], own.shapes != "points"
        )
        absolute = np.abs(reference_without_signs(theirs, arrays, chosen, tensors))
    if cell["reduction"] == "none":
        for k, g in zip(moving, found[1:], strict=False):
            if g.shape == found[0].shape:
                slack[0] = slack[0] + np.nan_to_num(np.abs(arrays[k] * g))
    else:
        slack[0] = slack[0] + (absolute.mean() if cell["reduction"] == "mean" and absolute.size else absolute.sum())
        for k, g in zip(moving, found[1:], strict=False):
            slack[0] = slack[0] + np.nan_to_num(np.abs(arrays[k] * g)).sum()

    given = [inputs.tensor(x, t, how, rng) for x, t, how in zip(arrays, types, layouts, strict=True)]
    for k in moving:
        given[k].requires_grad_()
    given = [x * 1 if how == "not a leaf" and x.requires_grad else x for x, how in zip(given, layouts, strict=True)]
    held = {k: inputs.tensor(tensors[k], narrow, "contiguous", rng) if k in tensors else v for k, v in chosen.items()}
    named = [*((f"argument {k}", x) for k, x in enumerate(given)), *held.items()]
    watched = compare.Inputs(named)
    ours = getattr(nn.functional, name)
    if cell["entry"] == "module":
        made, theirs_made = (getattr(where, own.module)(**held, **extra) for where in (nn, torch.nn))
        f, g = made, theirs_made
    else:
        f, g = (lambda *x, by=by: by(*x, **held, **extra) for by in (ours, theirs))

    mode = cell["mode"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with _autocast(mode):
                expected_type = compare.type_name(g(*(x.detach() for x in given)))
        except (RuntimeError, NotImplementedError, ValueError):
            expected_type = ""
            if mode == "autocast":
                return None  # torch refuses it
    if mode == "vmap":
        return _vmapped(cell, f, g, given, floats)
    if mode in ("jvp", "double backward"):
        return _second(cell, f, g, given, moving, rng)
    call: Callable[..., Any] = f
    if mode.startswith("compile"):
        torch._dynamo.reset()
        call = torch.compile(f, backend="eager" if mode == "compile" else "aot_eager")
    if mode == "after no_grad":
        with torch.no_grad():
            f(*given)
    first: Any = None
    for turn in range(2):
        with _autocast(mode) if mode != "inference" else torch.inference_mode():
            out = call(*given)
        if turn:
            compare.identical("value", first, out)
            break
        first = out.detach().clone()
        stored = compare.type_name(out)
        if expected_type:
            compare.typed("value", out, expected_type)
        if out.requires_grad != bool(moving):
            raise WrongError("requires_grad", f"got {out.requires_grad}, expected {bool(moving)}")
        _close("value", cell, out, found[0], slack[0], unsure[0], work, stored)
        if not moving:
            continue
        up = torch.as_tensor(upstream).to(out.dtype)
        grads = torch.autograd.grad(out, [given[k] for k in moving], up, allow_unused=True)
        kept = []
        for k, grad, want, loose, doubt in zip(moving, grads, found[1:], slack[1:], unsure[1:], strict=True):
            grad = torch.zeros_like(given[k]) if grad is None else grad
            compare.typed(f"gradient of argument {k}", grad, types[k])
            if name == "ctc_loss":  # ours is the gradient of the loss, torch's that of logits behind a log-softmax
                probs = np.exp(arrays[k])
                total, theirs_total = compare.numbers(grad), want
                grad = torch.tensor(total - probs * total.sum(-1, keepdims=True)).to(grad.dtype)
                want = theirs_total - probs * theirs_total.sum(-1, keepdims=True)
                loose = loose + 64 * np.abs(probs)
            if (
                own.shapes in ("vectors", "heads") and want.size
            ):  # terms of a gradient may cancel that are as large as others
                loose = loose + np.sqrt(np.mean(np.nan_to_num(want, posinf=0.0, neginf=0.0) ** 2, -1, keepdims=True))
            if k and want.size:  # what is no prediction is differentiated by autograd, term by term
                loose = loose + np.sqrt(np.mean(np.nan_to_num(want, posinf=0.0, neginf=0.0) ** 2))
            _close(f"gradient of argument {k}", cell, grad, want, loose, doubt, work, types[k])
            kept.append((f"gradient of argument {k}", grad))
        compare.apart(kept, named)
    watched.unchanged()
    return None


def reference_without_signs(theirs: Any, arrays: Any, chosen: Any, tensors: Any) -> Any:
    import torch

    held = {k: torch.tensor(tensors[k]) if k in tensors else v for k, v in chosen.items()}
    return theirs(*(torch.tensor(x) for x in arrays), **held, reduction="none").numpy()


def _ends(what: str) -> tuple[float, float]:
    return {"probability": (0, 1), "unit": (0, 1), "simplex": (0, 1), "positive": (0, math.inf), "sign": (-1, 1)}.get(
        what, (-math.inf, math.inf)
    )


def _close(what: str, cell: Cell, got: Any, want: Any, slack: Any, unsure: Any, work: str, stored: str) -> None:
    """As `compare.close`; where torch's number is not finite and ours is, ours is the better one."""
    ours, want = compare.numbers(got), np.asarray(want, float)
    doubt = np.asarray(unsure, bool) | (np.isfinite(ours) & ~np.isfinite(want) if ours.shape == want.shape else False)
    # torch's own roundoff in float64, of numbers about as large as 1 or the largest.
    sizes = np.nan_to_num(np.abs(want), posinf=0.0)
    grain = 4.0 * compare.EPS["float64"] * max(1.0, float(sizes.max(initial=0.0))) / compare.EPS[work]
    if stored != work:  # parts of a gradient are added in the type of their array, as torch has it
        grain = grain + compare.EPS[stored] / compare.EPS[work] / compare.UNITS * (
            sizes + 2 * np.sqrt(np.mean(sizes**2) if sizes.size else 0.0)
        )
    compare.close(what, got, want, slack + grain, doubt, work, stored, factor=4.0)


def _autocast(mode: str) -> Any:
    import contextlib

    import torch

    return torch.autocast("cpu", torch.bfloat16) if mode == "autocast" else contextlib.nullcontext()


def _tree(what: str, ours: Any, theirs: Any, tolerance: float) -> None:
    for mine, want in zip(ours, theirs, strict=True):
        if mine.dtype != want.dtype:
            raise WrongError(f"type of {what}", f"got {mine.dtype}, expected {want.dtype}")
        a, b = compare.numbers(mine), compare.numbers(want)
        if a.shape != b.shape:
            raise WrongError(f"shape of {what}", f"got {a.shape}, expected {b.shape}")
        bad = ~((np.abs(a - b) <= tolerance * (np.abs(b) + 1)) | ~np.isfinite(b))
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            raise WrongError(what, f"{int(bad.sum())} of {bad.size}, first at {at}: got {a[at]!r}, torch: {b[at]!r}")


def _vmapped(cell: Cell, f: Any, g: Any, given: list[Any], floats: list[int]) -> None:
    import torch

    plain = [x.detach() for x in given]
    results = []
    for by in (f, g):
        try:
            found = torch.func.vmap(torch.func.grad_and_value(by))(*plain)
        except Exception:
            if by is g:
                return  # torch does not do it
            raise
        results.append(found)
    _tree("gradient under vmap", *results, 1e-11)  # type: ignore[misc]


def _second(cell: Cell, f: Any, g: Any, given: list[Any], moving: list[int], rng: Any) -> None:
    """Tangents and second derivatives against torch's."""
    import torch

    plain = [unfolded(x.detach()) for x in given]
    direction = torch.tensor(rng.choice([-1.0, 0.5, 1.0], tuple(plain[0].shape)))

    def of_first(by: Any) -> Any:
        return lambda x: by(x, *plain[1:]).sum()

    results = []

    def derived(by: Any) -> Any:
        if cell["mode"] == "jvp":
            return torch.func.jvp(of_first(by), (plain[0],), (direction,))
        if cell["seed"] % 2:
            return torch.func.jvp(torch.func.grad(of_first(by)), (plain[0],), (direction,))
        x = plain[0].clone().requires_grad_()
        (slope,) = torch.autograd.grad(of_first(by)(x), x, create_graph=True)
        dot = (slope * direction).sum()
        second = torch.autograd.grad(dot, x, allow_unused=True)[0] if dot.requires_grad else None
        return [torch.zeros_like(x) if second is None else second]

    try:
        results.append(derived(g))
    except (RuntimeError, NotImplementedError):
        return  # torch does not do it
    results.append(derived(f))
    what = "tangent" if cell["mode"] == "jvp" else "second derivative"
    theirs, ours = results
    _tree(what, ours, theirs, 1e-9)

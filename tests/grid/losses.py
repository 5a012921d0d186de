"""Making the call of a cell of the catalogue, and holding it to the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import lossary

from . import compare, inputs, tables
from .compare import WrongError
from .inputs import Case
from .reference import Reference
from .tables import Cell

ULPS_OF_DIFFERENCES = 2e-4  # how far differences of gradients may be off, relative to the row's largest entry


def tuple_of(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


# --- what is expected -------------------------------------------------------------------------------------------


class Expected:
    """Values and derivatives of one call in float64, their slack, and where they are too near a jump."""

    def __init__(self, made: Case, reference: Reference, work: str) -> None:
        loss, cell = made.loss, made.cell
        self.hess = cell["entry"] == "hess"
        asked = {
            "loss": loss.name,
            "params": made.params,
            "alternative": cell["alternative"],
            "eps": compare.EPS[work],
            "seed": cell["seed"],
            "hess": self.hess,
        }
        separate = cell["entry"] in ("mean", "total")  # the call knows no weights
        outer = made.counts()
        inner = np.ones(made.batch)
        if made.marked is not None and separate:
            inner = np.where(np.broadcast_to(made.marked, made.batch) == made.ignore, 0.0, 1.0)
            made.ignore, ignored = None, made.ignore
            outer = made.counts()
            made.ignore = ignored
        if loss.coupling:
            kept = outer != 0
            arrays = [x[kept] for x in made.clean]
            found = reference.ask("evaluate", arrays=arrays, weight=outer[kept], **asked)

            def whole(part: Any) -> Any:
                full = np.zeros((*made.batch, *part.shape[1:]), part.dtype)
                full[kept] = part
                return full

            parts = [[whole(np.asarray(x)) for x in found[key]] for key in ("found", "slack", "unsure")]
            outer = np.ones(made.batch) * np.where(kept, outer, 0)
            each = kept.astype(float)
        else:
            found = reference.ask("evaluate", arrays=made.clean, **asked)
            parts = [found["found"], found["slack"], found["unsure"]]
            each = outer * inner
        count = made.denominator if made.denominator is not None else outer.sum()
        # A row is a sum; its slack is a sample of what roundoff does to it: see `reference`.
        self.units = 1.0 if max(s.rank for s in loss.signatures) == 0 else 4.0
        self.scale = 1.0
        if cell["reduction"] == "mean":
            self.scale = 0.0 if made.denominator is None and count == 0 else 1 / float(count)
        self.count = outer.sum()
        self.found, self.slack, self.unsure = [], [], []
        for at, (x, slack, unsure) in enumerate(zip(*parts, strict=True)):
            by = each.reshape(each.shape + (1,) * (np.ndim(x) - each.ndim))
            with np.errstate(all="ignore"):
                weighed = np.where(by == 0, 0.0, x * by)
                loose = np.where(by == 0, 0.0, slack * by)
            doubt = np.broadcast_to(np.where(by == 0, False, unsure), weighed.shape)
            if at == 0 and cell["reduction"] != "none":
                weighed, loose, doubt = weighed.sum() * self.scale, loose.sum() * self.scale, doubt.any()
            elif at:
                weighed, loose = weighed * self.scale, loose * self.scale
            self.found.append(weighed)
            self.slack.append(loose)
            self.unsure.append(doubt)

    @property
    def value(self) -> tuple[Any, Any, Any]:
        return self.found[0], self.slack[0], self.unsure[0]

    def derivatives(self, wrt: list[int]) -> list[tuple[Any, Any, Any]]:
        start = 1 + (len(wrt) if self.hess else 0)
        return [(self.found[k], self.slack[k], self.unsure[k]) for k in range(start, start + len(wrt))]


def work_type(made: Case) -> str:
    """The type that is computed in: the widest float given, float32 at least; for whole numbers the default."""
    widths = [
        tables.WIDTHS[t]
        for t, kind in zip(made.types, tables.kinds(made.loss.name, made.cell["alternative"]), strict=True)
        if t in tables.WIDTHS and kind not in tables.WHOLE
    ]
    if widths:
        return "float64" if max(widths) == 64 else "float32"
    return "float64" if made.cell["framework"] == "numpy" else "float32"


def stored_type(made: Case, at: int, work: str) -> str:
    """The type of a gradient: its array's own, if it can hold one."""
    return made.types[at] if made.types[at] in tables.WIDTHS else work


# --- arguments -------------------------------------------------------------------------------------------------


def arguments(made: Case) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """The arrays as they are given, the parameters, and the options of a reduction."""
    torch = made.cell["framework"] == "torch"
    put: Callable[..., Any] = inputs.tensor if torch else inputs.place
    arrays = [
        put(x, t, how, made.rng, made.core(at))
        for at, (x, t, how) in enumerate(zip(made.given, made.types, made.layouts, strict=True))
    ]

    def array(x: Any, how: str = "contiguous", kind: str = "") -> Any:
        return put(x, kind or str(np.asarray(x).dtype), how, made.rng)

    params = {k: array(v) if isinstance(v, np.ndarray) else v for k, v in made.params.items()}
    if made.ignore is not None:
        params["ignore_index"] = made.ignore
    narrow = "float64" if made.cell["numbers"] in ("int64", "float64", "mixed") else "float32"
    options: dict[str, Any] = {}
    if made.weight is not None:
        number = isinstance(made.weight, float)
        how = "step" if made.cell["weight"] == "strided" else "contiguous"
        options["weight"] = made.weight if number else array(made.weight, how, narrow)
    if made.mask is not None:
        options["mask"] = array(made.mask)
    if made.denominator is not None:
        options["denominator"] = made.denominator if isinstance(made.denominator, float) else array(made.denominator)
    return arrays, params, options


# --- NumPy -----------------------------------------------------------------------------------------------------


def on_numpy(made: Case, expected: Expected, work: str) -> None:
    cell, loss = made.cell, made.loss
    arrays, params, options = arguments(made)
    named = [*zip(loss.arguments, arrays, strict=True), *options.items(), *params.items()]
    watched = compare.Inputs(named)
    reduction, entry, wrt = cell["reduction"], cell["entry"], made.wrt
    full = {**options, "reduction": reduction, **params}
    if entry == "total":
        full.pop("reduction")

    def kept(at: int) -> Any:
        own = getattr(arrays[at], "dtype", np.dtype(work))
        return own if own.kind == "f" else work  # in its array's byte order, too

    def outputs() -> Any:
        if entry == "in place":
            return tuple(arrays[at] for at in wrt)
        how = (
            cell["layout"] if cell["layout"] in ("permuted", "crop", "step", "negative", "unaligned") else "contiguous"
        )
        return tuple(inputs.place(np.full(np.shape(arrays[at]), 7.0), kept(at), how, made.rng) for at in wrt)

    def call() -> tuple[Any, Any]:
        if entry == "call":
            return loss(*arrays, **params), None
        if entry == "value":
            return loss.value(*arrays, **full), None
        if entry == "value_and_grad":
            return loss.value_and_grad(*arrays, **full)
        if entry == "grad":
            return None, loss.grad(*arrays, **full)
        if entry == "hess":
            return None, loss.hess(*arrays, **full)
        if entry == "mean":
            return lossary.mean(loss(*arrays, **params), **options), None
        if entry == "total":
            return lossary.total(loss(*arrays, **params), **options), None
        places = outputs()
        out = places if len(wrt) > 1 else places[0]
        value, grads = loss.value_and_grad(*arrays, out=out, **full)
        if any(x is not y for x, y in zip(tuple_of(grads), places, strict=True)):
            raise WrongError("out= is not what is returned", "")
        return value, grads

    value, grads = call()
    if entry == "total":
        value, count = value
        compare.close("count", count, expected.count, expected.count, False, work, work)
    results = []
    if value is not None:
        compare.typed("value", value, work)
        compare.close("value", value, *expected.value, work, work, expected.units)
        if isinstance(value, np.ndarray):
            results.append(("value", value))
    if grads is not None:
        what = "Hessian" if entry == "hess" else "gradient"
        _derivatives(made, expected, what, tuple_of(grads), work)
        results += [(f"{what} of {loss.wrt[k]}", g) for k, g in enumerate(tuple_of(grads)) if isinstance(g, np.ndarray)]
    watched.unchanged(loss.wrt if entry == "in place" else ())
    inputs_ = [(n, x) for n, x in named if not (entry == "in place" and any(x is arrays[at] for at in wrt))]
    compare.apart(results, inputs_)
    if entry != "in place":
        again, grads_again = call()
        if entry == "total":
            again = again[0]
        compare.identical("value", value, again)
        if grads is not None:
            for first, second in zip(tuple_of(grads), tuple_of(grads_again), strict=True):
                compare.identical("derivatives", first, second)


def _derivatives(
    made: Case, expected: Expected, what: str, got: tuple[Any, ...], work: str, upstream: Any = None
) -> None:
    for k, (at, grad) in enumerate(zip(made.wrt, got, strict=True)):
        want, slack, unsure = expected.derivatives(made.wrt)[k]
        name = f"{what} of {made.loss.arguments[at]}"
        if upstream is not None:
            by = np.reshape(upstream, np.shape(upstream) + (1,) * (np.ndim(want) - np.ndim(upstream)))
            with np.errstate(all="ignore"):
                want, slack = np.where(by == 0, 0.0, want * by), np.where(by == 0, 0.0, slack * np.abs(by))
        if made.layouts[at] == "repeated":
            inner = tuple(range(len(made.batch)))
            want, slack, unsure = want.sum(inner), slack.sum(inner), unsure.any(inner)
        if grad is None:
            raise WrongError(f"{name} is missing", "")
        stored = stored_type(made, at, work)
        compare.typed(name, grad, stored)
        # The slack of a row's entries is a sample of what roundoff does to them: see `reference`.
        compare.close(
            name, grad, want, slack, unsure, work, stored, factor=8.0 if np.ndim(want) > len(made.batch) else 1.0
        )


# --- torch -----------------------------------------------------------------------------------------------------


def on_torch(made: Case, expected: Expected, reference: Reference, work: str) -> None:
    import torch

    from lossary import nn

    cell, loss, wrt = made.cell, made.loss, made.wrt
    arrays, params, options = arguments(made)
    entry, mode, reduction = cell["entry"], cell["mode"], cell["reduction"]
    full = {**options, "reduction": reduction, **params}
    if entry == "total":
        full.pop("reduction")
    can = [at for at in wrt if arrays[at].is_floating_point()]
    wanted = {"wrt": can, "first": can[:1], "none": []}[cell["grads"]]
    for at in wanted:
        arrays[at].requires_grad_()
    if "not a leaf" in made.layouts:
        arrays = [
            x * 1 if how == "not a leaf" and x.requires_grad else x for x, how in zip(arrays, made.layouts, strict=True)
        ]
    named = [*zip(loss.arguments, arrays, strict=True), *options.items(), *params.items()]
    watched = compare.Inputs(named)

    module = None
    if entry == "module":
        held = [name for name in loss.arguments if name.startswith("class_") and name not in loss.wrt]
        constants = [arrays[loss.arguments.index(name)] for name in held]
        module = nn.from_record(loss, *constants, reduction=reduction, **params)
        weights = {k: v for k, v in options.items() if k != "denominator"}
        if isinstance(weights.get("weight"), float):
            weights["weight"] = torch.tensor(weights["weight"], dtype=torch.float64)

    def f(*moving: Any) -> Any:
        given = list(arrays)
        for at, x in zip(wanted, moving, strict=True):
            given[at] = x
        if entry == "call":
            return loss(*given, **params)
        if entry == "value":
            return loss.value(*given, **full)
        if entry == "mean":
            return lossary.mean(loss(*given, **params), **options)
        if entry == "total":
            return lossary.total(loss(*given, **params), **options)[0]
        if module is not None:
            return module(*(x for name, x in zip(loss.arguments, given, strict=True) if name not in held), **weights)
        raise AssertionError(entry)

    if mode == "inference":
        wanted = []
    moving = [arrays[at] for at in wanted]
    if entry in ("value_and_grad", "grad", "hess"):

        def by_hand() -> tuple[Any, Any]:
            if entry == "value_and_grad":
                return loss.value_and_grad(*arrays, **full)
            return None, (loss.grad if entry == "grad" else loss.hess)(*arrays, **full)

        with _context(mode):
            if mode == "after no_grad":
                with torch.no_grad():
                    by_hand()
            value, grads = by_hand()
            again, grads_again = by_hand()
        results = []
        if value is not None:
            compare.typed("value", value, work)
            compare.close("value", value, *expected.value, work, work, expected.units)
            compare.identical("value", value, again)
        what = "Hessian" if entry == "hess" else "gradient"
        _derivatives(made, expected, what, tuple_of(grads), work)
        results += [(f"{what} of {name}", g) for name, g in zip(loss.wrt, tuple_of(grads), strict=True)]
        for first, second in zip(tuple_of(grads), tuple_of(grads_again), strict=True):
            compare.identical(what, first, second)
        watched.unchanged()
        compare.apart(results, named)
    elif mode == "double backward":
        _bends(made, reference, f, moving)
    elif mode == "vmap":
        _vmapped(made, expected, arrays, params, work)
    elif mode == "jvp":
        _forward(made, expected, f, moving, work, wanted)
    else:
        _backward(made, expected, f, moving, work, wanted, named)
        watched.unchanged()


def _backward(
    made: Case,
    expected: Expected,
    f: Callable[..., Any],
    moving: list[Any],
    work: str,
    wanted: list[int],
    named: list[tuple[str, Any]],
) -> None:
    """Forward and backward, twice."""
    import torch

    loss, mode = made.loss, made.cell["mode"]
    first: Any = None
    upstream: Any = None
    found: Any = ()
    compiled = f
    if mode.startswith("compile"):
        torch._dynamo.reset()
        compiled = torch.compile(f, backend="eager" if mode == "compile" else "aot_eager")
    if mode == "after no_grad":
        with torch.no_grad():
            f(*moving)
    for turn in range(2):
        with _context(mode):
            out = compiled(*moving)
        if turn:
            compare.identical("value", first, out)
            if moving:
                for x, y in zip(found, torch.autograd.grad(out, moving, upstream, allow_unused=True), strict=True):
                    if x is not None and y is not None:
                        compare.identical("gradient", x, y)
            break
        first = out.detach().clone()
        compare.typed("value", out, work)
        compare.close("value", out, *expected.value, work, work, expected.units)
        if out.requires_grad != (bool(wanted) and mode != "inference"):
            raise WrongError("requires_grad", f"got {out.requires_grad}, of arrays that require it: {bool(wanted)}")
        if mode == "inference" or not moving:
            compare.apart([("value", out)] if out.ndim else [], named)
            continue
        numbers = made.rng.uniform(0.5, 2.0, out.shape)
        if made.loss.coupling:  # each value depends on every example
            numbers = np.ones(out.shape)
        elif out.ndim:
            numbers = np.where(made.rng.random(out.shape) < 0.2, 0.0, numbers)
        elif made.rng.random() < 0.7:  # as `backward()` has it: a product with 1 may be left out, a copy may not
            numbers = np.ones(())
        upstream = torch.as_tensor(inputs.rounded(numbers, "float32")).to(out.dtype)
        found = torch.autograd.grad(out, moving, upstream, allow_unused=True, retain_graph=True)
        _some_derivatives(made, expected, list(found), wanted, work, compare.numbers(upstream))
        compare.apart([(f"gradient of {loss.arguments[at]}", g) for at, g in zip(wanted, found, strict=True)], named)


def _some_derivatives(
    made: Case, expected: Expected, got: list[Any], wanted: list[int], work: str, upstream: Any
) -> None:
    wrt = made.wrt
    full = expected.derivatives(wrt)
    for grad, at in zip(got, wanted, strict=True):
        one = Partial([full[wrt.index(at)]])
        single = OneArgument(made, at)
        _derivatives(single, one, "gradient", (grad,), work, upstream)  # type: ignore[arg-type]


class Partial:
    """Of what is expected, the derivatives in some arrays."""

    def __init__(self, parts: list[Any]) -> None:
        self.parts = parts

    def derivatives(self, wrt: list[int]) -> list[Any]:
        return self.parts


class OneArgument:
    """A case that is differentiated in one array."""

    def __init__(self, made: Case, at: int) -> None:
        self.loss, self.batch, self.layouts, self.types, self.cell = (
            made.loss,
            made.batch,
            made.layouts,
            made.types,
            made.cell,
        )
        self.wrt = [at]


def _context(mode: str) -> Any:
    import contextlib

    import torch

    if mode == "inference":
        return torch.inference_mode()
    if mode == "autocast":
        return torch.autocast("cpu", torch.bfloat16)
    return contextlib.nullcontext()


def _bends(made: Case, reference: Reference, f: Callable[..., Any], moving: list[Any]) -> None:
    """Second derivatives against differences of the gradient, by whichever of autograd's ways."""
    import torch

    loss, wrt = made.loss, made.wrt
    directions = [made.rng.choice([-1.0, 1.0, 0.5], made.clean[at].shape) for at in wrt]
    if any(made.layouts[at] == "repeated" for at in wrt):
        return
    want = reference.ask("bend", loss=loss.name, arrays=made.clean, params=made.params, directions=directions)
    tensors = [torch.tensor(d) for d in directions]

    def total(*x: Any) -> Any:
        return f(*x).sum()

    way = made.cell["seed"] % 3
    if way == 0:
        grads = torch.autograd.grad(total(*moving), moving, create_graph=True, allow_unused=True)
        dot = sum((g * d).sum() for g, d in zip(grads, tensors, strict=True) if g is not None)
        if not dot.requires_grad:
            got = [torch.zeros_like(x) for x in moving]
        else:
            got = [
                torch.zeros_like(x) if g is None else g
                for x, g in zip(moving, torch.autograd.grad(dot, moving, allow_unused=True), strict=True)
            ]
    else:
        which = tuple(range(len(moving)))
        plain = [unfolded(x.detach()) for x in moving]
        gradient = torch.func.grad(total, argnums=which)
        if way == 1:
            _, got = torch.func.jvp(gradient, tuple(plain), tuple(tensors))
        else:
            along = lambda *x: sum((g * d).sum() for g, d in zip(gradient(*x), tensors, strict=True))  # noqa: E731
            got = torch.func.grad(along, argnums=which)(*plain)
    name = ("double backward", "jvp of grad", "grad of grad")[way]
    for at, g, w in zip(wrt, got, want, strict=True):
        g = compare.numbers(g)
        with np.errstate(all="ignore"):
            largest = np.nanmax(np.abs(w)) if np.isfinite(w).any() else 1.0
            bad = ~np.isnan(w) & ~(np.abs(g - w) <= ULPS_OF_DIFFERENCES * (np.abs(w) + 0.1 * largest + 0.01))
        if bad.any():
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            x = made.clean[at][first]
            raise WrongError(
                f"second derivative in {loss.arguments[at]}",
                f"{name}: {int(bad.sum())} of {bad.size} wrong, first at {first} (where it is {x}): "
                f"got {g[first]!r}, differences of the gradient say {w[first]!r}",
            )


def unfolded(x: Any) -> Any:
    """Memory without a stride of 0 or a negative bit: torch's forward mode takes nothing else."""
    return x.clone() if 0 in x.stride() else x.resolve_neg()


def _vmapped(made: Case, expected: Expected, arrays: list[Any], params: dict[str, Any], work: str) -> None:
    """Gradients example by example."""
    import torch

    loss, wrt = made.loss, made.wrt

    def one(*given: Any) -> Any:
        return (
            loss.value(*given, reduction="sum", **params)
            if made.cell["entry"] == "value"
            else loss(*given, **params).sum()
        )

    plain = [x.detach() for x in arrays]
    grads, value = torch.func.vmap(torch.func.grad_and_value(one, argnums=tuple(wrt)))(*plain)
    inner = tuple(range(1, len(made.batch)))
    want, slack, unsure = expected.value
    if made.cell["reduction"] == "none":
        want, slack, unsure = want.sum(inner), slack.sum(inner), unsure.any(inner)
        compare.typed("value", value, work)
        compare.close("value", value, want, slack, unsure, work, work)
        _derivatives(made, expected, "gradient", grads, work)


def _forward(
    made: Case, expected: Expected, f: Callable[..., Any], moving: list[Any], work: str, wanted: list[int]
) -> None:
    """The derivative along a direction, in forward mode."""
    import torch

    if not moving:
        return
    plain = [unfolded(x.detach()) for x in moving]
    tangents = [torch.tensor(made.rng.choice([-1.0, 0.5, 1.0], x.shape)).to(x.dtype) for x in moving]
    value, along = torch.func.jvp(f, tuple(plain), tuple(tangents))
    compare.typed("value", value, work)
    compare.close("value", value, *expected.value, work, work, expected.units)
    compare.typed("tangent", along, work)
    want, slack, doubt = np.zeros(()), np.zeros(()), np.zeros((), bool)
    for at, t in zip(wanted, tangents, strict=True):
        g, s, u = expected.derivatives(made.wrt)[made.wrt.index(at)]
        t = np.broadcast_to(compare.numbers(t), g.shape)
        axes = tuple(range(len(made.batch) if made.cell["reduction"] == "none" else 0, g.ndim))
        if made.loss.coupling and made.cell["reduction"] == "none":
            return  # each value depends on every example
        want, slack = want + (g * t).sum(axes), slack + (s * np.abs(t)).sum(axes)
        doubt = doubt | u.any(axes)
    compare.close("tangent", along, want, slack, doubt, work, work)


# --- a linear head ---------------------------------------------------------------------------------------------


FEATURES = 6


def linear(cell: Cell, reference: Reference) -> None:
    loss = lossary.get(cell["subject"])
    made = inputs.case({**cell, "argument": "all", "layout": "contiguous", "params": "default", "numbers": "float64"})
    rng = made.rng
    numbers = cell["numbers"]
    size = 0.3 if loss.input == "similarity" else 1.0
    classes = tables.HEADS[cell["size"]][1]["c"]
    hidden = inputs.rounded(size * rng.uniform(-1, 1, (*made.batch, FEATURES)), numbers)
    weight = inputs.rounded(size * rng.uniform(-1, 1, (classes, FEATURES)), numbers)
    bias = inputs.rounded(0.1 * size * rng.uniform(-1, 1, classes), numbers)
    if cell["values"] == "zeros" and loss.input != "similarity":
        hidden, bias = np.zeros_like(hidden), np.zeros_like(bias)
    counts = made.counts()
    count = made.denominator if made.denominator is not None else counts.sum()
    scale = 1.0
    if cell["reduction"] == "mean":
        scale = 0.0 if made.denominator is None and count == 0 else 1 / float(count)
    eps = compare.EPS[numbers]
    work = "float64" if numbers == "float64" else "float32"
    labels, given = made.clean[1], made.given[1]
    upstream = np.ones(made.batch)
    torch_side = cell["framework"] == "torch"
    if torch_side and cell["reduction"] == "none":
        upstream = inputs.rounded(rng.uniform(0.5, 2.0, made.batch), "float32")
    found = reference.ask(
        "linear",
        loss=loss.name,
        arrays=[hidden, weight, bias],
        labels=labels,
        counts=counts,
        scale=scale,
        upstream=upstream,
        reduction=cell["reduction"],
        eps=eps,
        seed=cell["seed"],
    )
    at = int(cell["argument"]) if cell["argument"] != "all" else None
    how = [cell["layout"] if at in (None, k) and "broadcast" not in cell["layout"] else "contiguous" for k in range(3)]
    poisoned = hidden.copy()
    if made.batch and (counts == 0).any():
        poisoned[counts == 0] = np.nan
    put: Callable[..., Any] = inputs.tensor if torch_side else inputs.place
    third = cell["labels"] if tables.kinds(loss.name)[1] in tables.WHOLE else numbers
    h, w, y = (
        put(x, t, k, rng) for x, t, k in zip((poisoned, weight, given), (numbers, numbers, third), how, strict=True)
    )
    b = put(bias, numbers, "contiguous", rng)
    _, params, options = arguments(made)
    if cell["seed"] % 2:
        options["chunk"] = 1 + cell["seed"] % 97
    if "weight" in options:
        options["sample_weight"] = options.pop("weight")
    named = [("hidden", h), ("weight", w), ("labels", y), ("bias", b), *options.items()]
    watched = compare.Inputs(named)
    names = ("value", "gradient of hidden", "gradient of weight", "gradient of bias")
    if not torch_side:
        value, grads = lossary.linear_value_and_grad(loss, h, w, y, b, reduction=cell["reduction"], **options, **params)
    else:
        import torch

        moving = [h, w, b]
        if cell["grads"] != "none" and cell["mode"] != "inference":
            for x in moving:
                x.requires_grad_()

        def run() -> Any:
            return lossary.linear(loss, h, w, y, b, reduction=cell["reduction"], **options, **params)

        call: Callable[..., Any] = run
        if cell["mode"].startswith("compile"):
            torch._dynamo.reset()
            call = torch.compile(run, backend="eager" if cell["mode"] == "compile" else "aot_eager")
        if cell["mode"] == "after no_grad":
            with torch.no_grad():
                run()
        with _context("eager" if cell["mode"] == "autocast" else cell["mode"]):
            value = call()
        grads = ()
        if h.requires_grad:
            if not value.requires_grad:
                raise WrongError("requires_grad", "got False")
            up = torch.as_tensor(upstream if cell["reduction"] == "none" else np.ones(())).to(value.dtype)
            grads = torch.autograd.grad(value, moving, up)
    compare.typed("value", value, work)
    for name, got, want, slack, unsure in zip(
        names, (value, *grads), found["found"], found["slack"], found["unsure"], strict=False
    ):
        stored = compare.type_name(got)
        if name != "value":
            compare.typed(name, got, numbers)
        compare.close(
            name, got, want, slack, unsure, numbers, stored, factor=8.0 if np.ndim(want) > len(made.batch) else 1.0
        )
    watched.unchanged()
    compare.apart([(n, g) for n, g in zip(names[1:], grads, strict=False)], named)


def _refused(made: Case) -> None:
    """Make a call that must be refused: whatever raises is judged by the rules of `refusals`."""
    cell = made.cell
    arrays, params, options = arguments(made)
    if cell["entry"] in ("call", "mean", "total"):
        made.loss(*arrays, **params)
    else:
        more = {**options, "reduction": cell["reduction"]} if cell["entry"] != "grad" else {}
        getattr(made.loss, cell["entry"])(*arrays, **more, **params)
    raise WrongError(f"a {cell['layout']} array is not refused", "")


def run(cell: Cell, reference: Reference) -> None:
    """Make the call of a cell; raise `WrongError`, or whatever the call raises."""
    if cell["entry"].startswith("linear"):
        return linear(cell, reference)
    if cell["layout"] in tables.REFUSED:
        run({**cell, "layout": "contiguous"}, reference)  # what is remembered of it is not taken for the next
        _refused(inputs.case(cell))
        return None
    made = inputs.case(cell)
    work = work_type(made)
    if cell["mode"] == "double backward":
        made = inputs.case(
            {
                **cell,
                "weight": "none",
                "mask": "none",
                "ignore": "none",
                "denominator": "none",
                "reduction": "none" if cell["entry"] in ("call",) else "sum",
            }
        )
        if cell["entry"] == "mean":
            made = inputs.case({**cell, "weight": "none", "mask": "none", "ignore": "none", "denominator": "number"})
            made.denominator = 1.0
    if cell["framework"] == "numpy":
        on_numpy(made, Expected(made, reference, work), work)
    else:
        on_torch(made, Expected(made, reference, work), reference, work)
    return None

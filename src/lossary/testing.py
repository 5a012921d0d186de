"""Tests for losses: finite-difference checks of gradients and Hessians that respect kinks, and drawn inputs.

`check_grad` is for users and for the test suite alike; `random_arrays` and `random_params` draw admissible inputs from
nothing but a loss's domains, so a new loss is tested without a line being written for it.
"""

from __future__ import annotations

import dis
import itertools
import linecache
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import numpy as np

from lossary.backends import cache
from lossary.backends.registry import namespace as namespace  # of arrays: what a definition on them takes as `xp`
from lossary.catalogue import Loss, get
from lossary.catalogue.domains import Domain
from lossary.catalogue.signatures import dimension
from lossary.errors import ArgumentError, DomainError, ParameterError, require, suggest
from lossary.kernels import registry
from lossary.misuse import callsites

# --- inputs drawn from the records ----------------------------------------------------------------------------------


def random_arrays(
    loss: Loss | str,
    rng: np.random.Generator,
    batch: int = 4,
    sizes: Mapping[str, int] | None = None,
    alternative: int = 0,
) -> list[Any]:
    """Return admissible random float64 arrays for a loss, from its signature, domains and conditions alone.

    Lengths are anything from 0 to the size of their dimension; what lies beyond them is drawn like the rest.

    >>> import lossary
    >>> [a.shape for a in random_arrays(lossary.nll, np.random.default_rng(0), batch=2, sizes={"c": 3})]
    [(2, 3), (2,)]
    """
    loss = get(loss)
    known = {"b": batch, "c": 4, "d": 3, "n": 5, "k": 2, "t": 4, "s": 2} | dict(sizes or {})
    signature = (loss.coupling.signatures if loss.coupling else loss.signatures)[alternative]

    def drawn(lead: tuple[int, ...]) -> list[Any]:
        made = []
        for name, core in zip(loss.arguments, signature.inputs, strict=True):
            allowed = loss.domain(name, alternative)
            size = known[allowed.dimension] + 1 if allowed.kind == "length" else known["c"]
            made.append(draw(allowed, lead + tuple(known[d] + more for d, more in map(dimension, core)), rng, size))
        return made

    if loss.coupling or not loss.conditions:
        return drawn(() if loss.coupling else (batch,))
    examples: list[list[Any]] = []
    while len(examples) < batch:  # one that does not meet the conditions is drawn again
        example = drawn(())
        try:
            loss(*example)
        except DomainError:
            continue
        examples.append(example)
    return [np.stack(column) for column in zip(*examples, strict=True)] if batch else drawn((0,))


def draw(domain: Domain, shape: tuple[int, ...], rng: np.random.Generator, classes: int = 4) -> Any:
    """Return random members of a domain."""
    if domain.kind == "set":
        return rng.choice(domain.values, shape)
    if domain.kind in ("index", "length"):
        return rng.integers(0, classes, shape)
    if domain.kind == "count":
        return rng.poisson(3.0, shape).astype(float)
    if domain.kind == "integer":
        return rng.integers(-3, 4, shape)
    if domain.kind == "flag":
        return rng.random(shape) < 0.5
    if domain.kind == "one of":
        return np.asarray(rng.choice(domain.choices, shape))
    if domain.kind in ("simplex", "log-simplex"):
        rows = rng.dirichlet(np.ones(shape[-1]), shape[:-1])
        return np.log(rows) if domain.kind == "log-simplex" else rows
    low, high = domain.low, domain.high
    if low == -math.inf and high == math.inf:
        return 2.0 * rng.standard_normal(shape)
    if high == math.inf:
        return low + rng.lognormal(0.0, 0.7, shape)
    if low == -math.inf:
        return high - rng.lognormal(0.0, 0.7, shape)
    return low + (high - low) * rng.uniform(0.05, 0.95, shape)


def extreme_arrays(
    loss: Loss | str, rng: np.random.Generator, batch: int = 4, alternative: int = 0, dtype: Any = np.float64
) -> list[Any]:
    """Return admissible arrays of a float type of which many entries are as small or as large as their domain allows.

    Those are 0, the ends of the domain that belong to it, and from 1e-30 to 1e30 in size (1e-60 to 1e60 in float64), or
    to 1000 where a number is the logarithm of something; rows of probabilities have classes of 0, of 1, and of nearly
    nothing. In one example, arrays that are alike tie.

    >>> import lossary
    >>> [a.dtype.name for a in extreme_arrays(lossary.nll, np.random.default_rng(0), dtype=np.float32)]
    ['float32', 'int64']
    """
    loss = get(loss)
    made: list[Any] = []
    for name, array in zip(loss.arguments, random_arrays(loss, rng, batch, alternative=alternative), strict=True):
        domain = loss.domain(name, alternative)
        if array.dtype.kind == "f":
            largest = 1e3 if loss.convention(name, alternative) in _LOGARITHMS else math.inf
            # Targets sum to 1 exactly: what a row lacks below its last digit no algorithm can know.
            least = 1e-30 if name in loss.wrt else 2.0**-20
            array = _extreme(domain, array, rng, dtype, largest, least)
            twin = next((a for a in made if a.shape == array.shape and a.dtype == array.dtype), None)
            if batch and twin is not None and domain.kind == "interval" and all(map(domain.contains, twin[0].flat)):
                array[0] = twin[0]
        made.append(array)
    return made


# Conventions of numbers that are raised to the power of e: what is beyond some thousand is 0 or infinite.
_LOGARITHMS = {"logit", "score", "affinity", "log-rate", "log-probability", "log-likelihood", "(-inf, 0]"}


def _extreme(domain: Domain, array: Any, rng: np.random.Generator, dtype: Any, largest: float, least: float) -> Any:
    """Return an array with half of its entries moved to the extremes of a domain."""
    array = array.astype(dtype)
    if domain.kind in ("simplex", "log-simplex"):
        rows = np.exp(array) if domain.kind == "log-simplex" else array
        for row in rows.reshape(-1, rows.shape[-1])[::2]:
            row[:] = rng.choice(np.array([0.0, least], dtype), row.shape)
            at = rng.integers(len(row))
            row[at] = 0.0
            row[at] = 1.0 - row.sum()
        with np.errstate(divide="ignore"):
            return np.log(rows) if domain.kind == "log-simplex" else rows
    if domain.kind != "interval":
        return array
    sizes = [1e-30, 1e-10, 1.0, 1e3, 1e10, 1e30, *((1e-60, 1e60) if dtype == np.float64 else ())]
    sizes = [size for size in sizes if size <= largest]
    wanted = [0.0, *sizes, *(-size for size in sizes), domain.low, domain.high]
    candidates = [v for v in map(dtype, wanted) if math.isfinite(v) and domain.contains(float(v))]
    return np.where(rng.random(array.shape) < 0.5, rng.choice(np.array(candidates, dtype), array.shape), array)


def random_params(
    loss: Loss | str, rng: np.random.Generator, classes: int = 4, default: float = 0.5, corner: float = 0.25
) -> dict[str, Any]:
    """Return random parameters in their ranges; each keeps its default with probability `default`.

    Of the others, each that has corners (`Loss.corners`) is at one of them with probability `corner`. A class among the
    parameters, such as `ignore_index`, always keeps its default: which one it is is no property of the mathematics.
    """
    loss = get(loss)
    chosen: dict[str, Any] = {}
    for name, (domain, per_class) in loss.parameter_domains.items():
        if name == "ignore_index" or domain.kind == "index" or rng.random() < default:
            continue
        corners = loss.corners.get(name, ())
        if corners and rng.random() < corner:
            chosen[name] = corners[rng.integers(len(corners))]
            continue
        drawn = draw(domain, (classes,) if per_class else (), rng)
        chosen[name] = drawn if per_class else drawn.item()
    return chosen


def corner_params(loss: Loss | str) -> list[dict[str, Any]]:
    """Return the parameters where formulas break or branch, one at a time.

    These are the corners of each parameter (`Loss.corners`: special values, the ends of a range that belong to it,
    every member of a finite one) and, of one with special values, a number in each gap between them.

    >>> import lossary
    >>> corner_params(lossary.smooth_l1)
    [{'beta': 0.0}]
    >>> [each["gamma"] for each in corner_params(lossary.softmax_focal) if "gamma" in each]
    [0.0, 1.0, 2.0, 0.5, 1.5, 3.0]
    """
    loss, found = get(loss), list[dict[str, Any]]()
    for name, values in loss.corners.items():
        found.extend({name: value} for value in values)
        if loss.special.get(name):
            found.extend({name: value} for value in _between(loss.parameter_domains[name][0], values))
    return found


def _between(domain: Domain, corners: Sequence[float]) -> list[float]:
    """Return a number in each gap between corners, and between them and the ends of the range."""
    finite = [c for c in corners if math.isfinite(c)]
    whole = domain.kind in ("integer", "count")
    beside = [finite[0] - 1, finite[-1] + 1] if finite else [0.0]
    gaps = [math.floor((a + b) / 2) if whole else (a + b) / 2 for a, b in itertools.pairwise(finite)] + beside
    return [gap for gap in gaps if domain.contains(gap) and gap not in corners]


# --- what runs --------------------------------------------------------------------------------------------------------


@contextmanager
def coverage_of(*functions: Callable[..., Any]) -> Iterator[Callable[[], list[str]]]:
    """Watch some functions inside the ``with`` block; gives a function that says which of their lines never ran.

    A line counts as run only if every expression on it did, so the branch not taken of ``a if full else b`` is found
    too. The answer is a list of ``"<function>, line <n>: <source>"``.

    >>> def sized(x):
    ...     return -x if x < 0 else x
    >>> with coverage_of(sized) as never_run:
    ...     _ = sized(3)
    >>> len(never_run())
    1
    """
    codes = {code: set[int]() for function in functions for code in _codes(function.__code__)}
    before = sys.gettrace()

    def enter(frame: FrameType, event: Any, argument: Any) -> Callable[..., Any] | None:
        if frame.f_code not in codes:
            return before(frame, event, argument) if before else None
        frame.f_trace_opcodes = True
        ran = codes[frame.f_code]

        def follow(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "opcode":
                ran.add(frame.f_lasti)
            return follow

        return follow

    sys.settrace(enter)
    try:
        yield lambda: [line for code, ran in codes.items() for line in _missed(code, ran)]
    finally:
        sys.settrace(before)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and those of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _missed(code: CodeType, ran: set[int]) -> Iterator[str]:
    """Yield the lines of a code object with an expression of which no instruction ran."""
    places = {i.offset: i.positions for i in dis.get_instructions(code) if i.opname not in _BOOKKEEPING}
    done = {places[offset] for offset in ran if offset in places}
    missed: dict[int, None] = {}
    for place in places.values():
        if place is not None and place.lineno is not None and place.end_col_offset and place not in done:
            missed.setdefault(place.lineno)
    for number in sorted(missed):
        yield f"{code.co_qualname}, line {number}: {linecache.getline(code.co_filename, number).strip()}"


# Instructions that stand for nothing that was written: they follow the last statement, or handle what is thrown in.
_BOOKKEEPING = {"RESUME", "RETURN_GENERATOR", "COPY_FREE_VARS", "MAKE_CELL", "CACHE", "NOP", "RERAISE", "PUSH_EXC_INFO"}
_BOOKKEEPING |= {"CALL_INTRINSIC_1", "CLEANUP_THROW", "END_SEND", "NOT_TAKEN"}


def exercised(loss: Loss | str, seed: int = 0) -> list[tuple[list[Any], dict[str, Any]]]:
    """Return inputs at which every line of a definition should run: every alternative, at every corner of parameters.

    At each corner the other parameters are at their defaults, and once more drawn.
    """
    loss = get(loss)
    rng = np.random.default_rng([seed, *loss.name.encode()])
    made = []
    for alternative in range(1 if loss.coupling else len(loss.signatures)):
        drawn = [random_params(loss, rng, default=default) for default in (1.0, 0.5, 0.0)]
        corners = corner_params(loss)
        corners += [random_params(loss, rng, default=0.0) | corner for corner in corners]
        for params in (*drawn, *corners):
            arrays = random_arrays(loss, rng, alternative=alternative)
            if loss.coupling:  # an example needs others with its label
                arrays[-1] = np.arange(len(arrays[-1])) % 2
            made.append((arrays, params))
    return made


def never_run(loss: Loss | str) -> list[str]:
    """Return the lines of a definition that do not run at any of the inputs that are drawn for it, or nothing.

    A line that never runs is tested by nothing. Name the values of a parameter that lead to it as `special` in the
    record, or leave it out.

    >>> import lossary
    >>> never_run(lossary.huber)
    []
    """
    loss = get(loss)
    with coverage_of(loss.define, *([loss.coupling.rows] if loss.coupling else [])) as missed:
        for arrays, params in exercised(loss):
            run(loss, arrays, params)
    return missed()


def run(loss: Loss | str, arrays: Sequence[Any], params: Mapping[str, Any]) -> None:
    """Run a definition as it stands, to its end, on NumPy arrays."""
    from lossary.evaluate.call import prepare

    loss = get(loss)
    with np.errstate(all="ignore"):
        if loss.coupling:  # whose way back only runs with the rows' gradients
            loss.value_and_grad(*arrays, **params)
        prepare(loss, arrays, params).pull(loss.derivatives)


# --- finite differences ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """The outcome of a check of one derivative with respect to one array."""

    what: str
    argument: str
    ok: bool
    error: float
    worst: tuple[int, ...]
    given: float
    expected: float
    kinks: int

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "WRONG"
        text = f"{self.what} in {self.argument}: {verdict}, largest error {self.error:.1e}"
        if not self.ok:
            text += f" at {self.worst}: the definition says {self.given:.10g}, differences say {self.expected:.10g}"
        if self.kinks:
            text += f"; {self.kinks} entr{'y' if self.kinks == 1 else 'ies'} at a kink, held between the two slopes"
        return text


@dataclass(frozen=True)
class GradCheck:
    """The outcome of `check_grad`: true if every derivative agrees; printing it tells where and by how much."""

    loss: str
    checks: tuple[Check, ...]

    def __bool__(self) -> bool:
        return self.ok

    @property
    def ok(self) -> bool:
        """Whether every derivative agrees with its finite differences."""
        return all(check.ok for check in self.checks)

    def __str__(self) -> str:
        return "\n".join([f"{self.loss}: {'ok' if self.ok else 'WRONG'}", *(f"  {check}" for check in self.checks)])


def check_grad(loss: Loss | str, *arrays: Any, tolerance: float = 1e-6, **params: Any) -> GradCheck:
    """Compare a loss's hand-written gradient and Hessian with finite differences in float64.

    Every entry of every array in `wrt` is moved by itself. Where the loss has a kink the two one-sided slopes differ;
    there the gradient may be any number between them (a subgradient), and a Hessian is not checked.

    `tolerance` is the admissible error relative to the size of the derivative (and to 1). Options `weight`, `mask` and
    `reduction` are passed on. Returns a `GradCheck`: its truth is the verdict, its text says where the worst error is.

    >>> import lossary
    >>> print(lossary.check_grad("huber", [0.3, 1.0, 4.0], [0.0, 1.0, 0.0]))
    huber: ok
      gradient in pred: ok, largest error ...
      Hessian in pred: ok, largest error ...
    """
    loss = get(loss)
    named = dict(zip(loss.arguments, arrays, strict=False))
    for name in loss.arguments:
        if name in params:
            named[name] = params.pop(name)
    if not set(loss.arguments) <= named.keys() | set(loss.optional):
        raise ArgumentError(f"{loss.name}: it takes the arrays {', '.join(loss.arguments)}")
    full = {name: _float64(x) for name, x in named.items()}

    def summed(**moved: Any) -> float:
        return float(loss.value_and_grad(**{**full, **moved}, **{"reduction": "sum", "check": False, **params})[0])

    def gradients(**moved: Any) -> tuple[Any, ...]:
        found = loss.grad(**{**full, **moved}, **{"reduction": "sum", "check": False, **params})
        return found if isinstance(found, tuple) else (found,)

    results = [
        _compare("gradient", name, full[name], gradients()[at], lambda x, name=name: summed(**{name: x}), tolerance)
        for at, name in enumerate(loss.wrt)
    ]
    if loss.derivatives > 1:
        found = loss.hess(**full, **{"reduction": "sum", "check": False, **params})
        diagonals = found if isinstance(found, tuple) else (found,)
        for at, name in enumerate(loss.wrt):
            slope = lambda x, at=at, name=name: gradients(**{name: x})[at]  # noqa: E731
            results.append(_compare("Hessian", name, full[name], diagonals[at], slope, 10 * tolerance))
    return GradCheck(loss.name, tuple(results))


def _float64(x: Any) -> Any:
    array = x if isinstance(x, np.ma.MaskedArray) else np.asarray(x)  # which the loss refuses
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _compare(what: str, name: str, x: Any, claimed: Any, f: Any, tolerance: float) -> Check:
    """Compare a derivative, entry by entry, with differences of a scalar function or of an array's own entry."""
    x = np.asarray(x, dtype=np.float64)
    claimed = np.asarray(claimed, dtype=np.float64)
    worst, worst_error, shown, kinks = (0,) * x.ndim, 0.0, (0.0, 0.0), 0
    ok = True
    for at in np.ndindex(x.shape):
        step = 1e-3 * max(1.0, abs(float(x[at]))) if what == "gradient" else 1e-4 * max(1.0, abs(float(x[at])))

        def moved(by: float, at: tuple[int, ...] = at) -> float:
            y = x.copy()
            y[at] += by
            value = f(y)
            return float(value if np.ndim(value) == 0 else value[at])

        slope, left, right = _slope(moved, step)
        given = float(claimed[at])
        scale = max(1.0, abs(slope))
        # A kink within reach: the slopes to either side differ. A jump, of a gradient: the slope grows as steps shrink.
        jump = what == "Hessian" and abs(_slope(moved, step / 2)[0] - slope) > 1e-2 * scale
        if jump or abs(left - right) > 1e-3 * scale:
            kinks += 1
            if what == "Hessian":
                continue
            low, high = min(left, right), max(left, right)
            error = max(0.0, low - given, given - high) / scale
            error = 0.0 if error < 1e-2 else error
        else:
            error = abs(given - slope) / scale
            # Where a higher derivative jumps, differences are off in proportion to their step; a mistake is not.
            if error > tolerance and abs(given - _slope(moved, step / 100)[0]) / scale < error / 20:
                kinks += 1
                error = 0.0
        if not error <= tolerance:  # also true for NaN
            ok = False
        if not error <= worst_error:
            worst, worst_error, shown = at, error, (given, slope)
    return Check(what, name, ok, worst_error, worst, shown[0], shown[1], kinks)


def _slope(f: Any, h: float) -> tuple[float, float, float]:
    """Return the derivative at 0 by central differences, extrapolated once (Richardson), and the one-sided slopes.

    The one-sided slopes use three points each, so that curvature does not make them differ, only a kink does.
    """
    f0, f1, f2, g1, g2 = f(0.0), f(h), f(2 * h), f(-h), f(-2 * h)
    right = (-3 * f0 + 4 * f1 - f2) / (2 * h)
    left = (3 * f0 - 4 * g1 + g2) / (2 * h)
    return (8 * (f1 - g1) - (f2 - g2)) / (12 * h), left, right


# --- kernels or definitions -------------------------------------------------------------------------------------------


@contextmanager
def kernels(when: str, device: str = "cpu") -> Iterator[None]:
    """Compute by kernels ``"always"``, never (``"off"``), or from the sizes where they pay (``"on"``), for a block.

    With ``device="cuda"`` tensors on the CPU are computed by the kernels for GPUs, in Triton's interpreter: set
    ``TRITON_INTERPRET=1`` in the environment before anything imports Triton.

    It holds for the whole process, and forgets what earlier calls have cached, on entry and at the end. So one loss can
    be computed both ways, and the results compared. ``LOSSARY_KERNELS`` in the environment sets it from the start.

    Raises `ParameterError` for another word, and `MissingExtraError` where what compiles a device's kernels is missing.

    >>> import lossary
    >>> with kernels("off"):
    ...     by_definition = lossary.huber([0.5, 3.0], [0.0, 0.0])
    """
    words = {"always": "always", "off": "off", "on": ""}
    if when not in words:
        raise ParameterError(f"kernels: got {when!r}, expected one of {', '.join(words)}{suggest(str(when), words)}")
    if device not in registry.DEVICES:
        hint = suggest(str(device), registry.DEVICES)
        raise ParameterError(f"device: got {device!r}, expected one of {', '.join(registry.DEVICES)}{hint}")
    if device != "cpu":
        require(registry.DEVICES[device].package, "gpu")
    before, served = registry.switch(words[when]), registry.serve("cpu", device)
    cache.clear()
    try:
        yield
    finally:
        registry.switch(before)
        registry.serve("cpu", served)
        cache.clear()


@contextmanager
def compiled_for(capability: int) -> Iterator[list[Any]]:
    """Compile kernels for NVIDIA GPUs of a compute capability, as 90, instead of running them, for a block.

    No GPU is needed: beside ``kernels("always", device="cuda")``, calls on tensors of the CPU compile what they would
    run, and return what happens to be in memory. Yields a list to which each kernel adds what Triton compiled, with its
    texts by language in ``asm``. Not where kernels run in Triton's interpreter (``TRITON_INTERPRET``).
    """
    from lossary.kernels.gpu import launch

    with launch.compiling(capability) as made:
        yield made


# --- checks for misuse ------------------------------------------------------------------------------------------------


def forget_call_sites() -> None:
    """Forget all call sites, so that each is inspected for misuse, and warned of, as if it had not been called yet.

    A call site is warned of once, and inspected ever less often; a test that calls the same line again wants neither.

    >>> forget_call_sites()
    """
    callsites.forget()

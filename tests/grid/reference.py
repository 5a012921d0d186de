"""What is right: the definition in float64, on contiguous copies, in a process that has no kernels.

Beside each number comes its slack: how many roundoffs of size 1 a correct algorithm may make in it. They are the number
itself, and what it changes by when each input changes by a roundoff (measured, with a step of 2^-40). Where so small a
step makes a large change there is a jump. A number at a jump has no slack from its inputs, for ties are drawn exactly;
a number near one, nearer than the type can tell, is not compared.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TINY_STEP = 2.0**-40
JUMP = 1e6  # a change by more than so many steps is none that rounding makes


def sensitivities(
    f: Callable[..., list[Any]],
    arrays: Sequence[Any],
    moves: Sequence[Any],
    eps: float,
    seed: int,
    rows: bool = True,
    picks: bool = False,
) -> tuple[list[Any], list[Any], list[Any]]:
    """Results of `f`, the slack of each, and where each is near a jump.

    `moves` says of each array how it may be moved: None, or the ends of its domain. Each is moved by itself, so that
    what two of them do does not cancel; on rows the entries are moved one way or the other, twice. Of a function that
    picks something by a computed number (`picks`), a tie may be decided either way.
    """
    rng = np.random.default_rng(seed)
    found = [np.asarray(r, float) for r in f(*arrays)]

    def moved(step: float, which: Sequence[int]) -> list[Any]:
        near = list(arrays)
        for at in which:
            with np.errstate(invalid="ignore"):
                near[at] = np.clip(arrays[at] * (1 + step * rng.choice([-1.0, 1.0], np.shape(arrays[at]))), *moves[at])
        return [np.asarray(r, float) for r in f(*near)]

    moving = [at for at, ends in enumerate(moves) if ends is not None]
    slack = [np.abs(r) for r in found]
    unsure = [np.zeros(r.shape, bool) for r in found]
    jumps = [np.zeros(r.shape, bool) for r in found]
    with np.errstate(all="ignore"):
        for one in moving:
            rates = [np.zeros(r.shape) for r in found]
            for _ in range(2 if rows else 1):
                for at, near in enumerate(moved(TINY_STEP, [one])):
                    rate = np.abs(near - found[at]) / TINY_STEP
                    jump = ~(rate <= JUMP * (np.abs(found[at]) + 1))
                    jumps[at] |= jump
                    rates[at] = np.maximum(rates[at], np.where(jump, 0.0, rate))
            for at, rate in enumerate(rates):
                if rows and rate.ndim:  # signs may cancel in one entry by chance: others of its row tell
                    share = np.median(rate / (np.abs(found[at]) + 1e-300), -1, keepdims=True)
                    rate = np.maximum(rate, np.abs(found[at]) * np.minimum(share, JUMP))
                slack[at] = slack[at] + np.where(np.isfinite(rate), rate, 0.0)
        step = 8 * eps
        if step > 16 * TINY_STEP:
            for _ in range(2):
                for at, near in enumerate(moved(step, moving)):
                    far = np.abs(near - found[at]) > 100 * step * slack[at] + 1e-3 * step
                    unsure[at] |= far & ~jumps[at]
        if picks:
            unsure = [u | j for u, j in zip(unsure, jumps, strict=True)]
    return found, slack, unsure


def ends(kind: str, low: float, high: float) -> Any:
    """How an array of a domain may be moved."""
    if kind in ("interval", "simplex", "log-simplex", "count"):
        return (low, high)
    return None


def evaluate(asked: dict[str, Any]) -> dict[str, Any]:
    """Values, gradients and Hessians per example, with slack."""
    import lossary

    loss = lossary.get(asked["loss"])
    arrays, options = asked["arrays"], {}
    if asked.get("weight") is not None:
        options["weight"] = asked["weight"]
    order = 2 if asked["hess"] and loss.derivatives > 1 else 1
    wrt = [loss.arguments.index(name) for name in loss.wrt]

    numbers = [k for k, v in asked["params"].items() if isinstance(v, float)]

    def f(*given: Any) -> list[Any]:
        given, own = given[: len(arrays)], dict(zip(numbers, map(float, given[len(arrays) :]), strict=True))
        params = {**asked["params"], **own}
        value, grads = loss.value_and_grad(*given, check=False, **options, **params)
        found = [value, *(grads if isinstance(grads, tuple) else (grads,))]
        if order == 2:
            diagonals = loss.hess(*given, check=False, **options, **params)
            found += diagonals if isinstance(diagonals, tuple) else (diagonals,)
        return found

    domains = [loss.domain(name, asked["alternative"]) for name in loss.arguments]
    moves = [
        ends(d.kind, d.low, d.high) if x.dtype.kind == "f" and d.kind not in ("index", "length", "integer") else None
        for d, x in zip(domains, arrays, strict=True)
    ]
    # A parameter is rounded as an input is.
    moves += [(-np.inf, np.inf)] * len(numbers)
    inputs = [*arrays, *(np.asarray(asked["params"][k]) for k in numbers)]
    coupled = loss.coupling is not None
    rows = loss.signature.strip("(),->| ") != ""
    found, slack, unsure = sensitivities(f, inputs, moves, asked["eps"], asked["seed"], rows or coupled, coupled)
    with np.errstate(all="ignore"):
        for at, grad in zip(wrt, found[1:], strict=False):
            shares = np.abs(arrays[at] * grad)
            if loss.coupling is None:
                inner = tuple(range(np.ndim(found[0]), shares.ndim))
                shares = shares.sum(axis=inner)
                slack[0] = slack[0] + np.where(np.isfinite(shares), shares, 0)
    if loss.optional:  # a gradient is a difference of probabilities, summed over frames
        slack[1:] = [s + 1.0 for s in slack[1:]]
    if loss.coupling is not None:  # every number is made of all examples, moved one way or the other
        slack = [4 * s for s in slack]
        # A gradient is a sum over anchors, of terms of the size of 1 that may cancel.
        slack[1:] = [s + 1.0 for s in slack[1:]]
    return {"found": found, "slack": slack, "unsure": unsure}


def bend(asked: dict[str, Any]) -> Any:
    """The Hessian of the sum times directions, by differences of the gradient; NaN where its two sides disagree."""
    import lossary

    loss = lossary.get(asked["loss"])
    arrays, params, directions = asked["arrays"], asked["params"], asked["directions"]
    wrt = [loss.arguments.index(name) for name in loss.wrt]

    def grads(step: float) -> list[Any]:
        moved = list(arrays)
        for at, d in zip(wrt, directions, strict=True):
            moved[at] = moved[at] + step * d
        found = loss.grad(*moved, check=False, **params)
        return list(found if isinstance(found, tuple) else (found,))

    h = 1e-5
    # Differences on one side, of second order: a kink of the gradient makes the two sides differ.
    g0, g1, g2, b1, b2 = (grads(s) for s in (0, h, 2 * h, -h, -2 * h))
    results = []
    for at in range(len(wrt)):
        right = (4 * g1[at] - g2[at] - 3 * g0[at]) / (2 * h)
        left = (3 * g0[at] - 4 * b1[at] + b2[at]) / (2 * h)
        with np.errstate(all="ignore"):
            smooth = np.abs(right - left) <= 1e-4 * (np.abs(right) + np.abs(left) + 1)
        results.append(np.where(smooth, (right + left) / 2, np.nan))
    return results


def linear(asked: dict[str, Any]) -> dict[str, Any]:
    """A linear head and its loss, the logits held whole: values, and gradients in hidden states, weight and bias."""
    import lossary

    loss, labels = lossary.get(asked["loss"]), asked["labels"]
    counts, scale, upstream = asked["counts"], asked["scale"], asked["upstream"]
    by_sum = asked["reduction"] != "none"

    def parts(hidden: Any, weight: Any, bias: Any) -> tuple[Any, Any]:
        logits = hidden @ weight.T + bias
        top = logits.max(-1, keepdims=True, initial=-np.inf)
        log_probs = logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))
        probs = np.exp(log_probs)
        link = {"log-probability": log_probs, "probability": probs}.get(loss.input, logits)
        value, slope = loss.value_and_grad(link, labels, check=False)
        if loss.input == "log-probability":
            slope = slope - probs * slope.sum(-1, keepdims=True)
        elif loss.input == "probability":
            slope = probs * (slope - (slope * probs).sum(-1, keepdims=True))
        factor = counts * scale * (1.0 if by_sum else upstream)
        return value, np.where(factor[..., None] == 0, 0.0, slope * factor[..., None])

    def f(hidden: Any, weight: Any, bias: Any) -> list[Any]:
        value, slope = parts(hidden, weight, bias)
        weighed = np.where(counts == 0, 0.0, value * counts)
        flat, rows = slope.reshape(-1, slope.shape[-1]), hidden.reshape(-1, hidden.shape[-1])
        reduced = weighed.sum() * scale if by_sum else weighed
        return [reduced, slope @ weight, flat.T @ rows, flat.sum(0)]

    arrays = asked["arrays"]
    found, slack, unsure = sensitivities(f, arrays, [(-np.inf, np.inf)] * 3, asked["eps"], asked["seed"])
    hidden, weight, bias = map(np.abs, arrays)
    value, slope = parts(*arrays)
    slope, flat = np.abs(slope), np.abs(slope).reshape(-1, slope.shape[-1])
    # What the products themselves round: sums of absolute values, and logits that are off by as much as their terms.
    terms = (hidden @ weight.T + bias).max(initial=1.0)
    size = np.abs(value) * counts * scale
    grain = [size.sum() if by_sum else size, slope @ weight, flat.T @ hidden.reshape(-1, hidden.shape[-1]), flat.sum(0)]
    slack = [s + terms * np.abs(g) + terms * np.abs(r) for s, g, r in zip(slack, grain, found, strict=True)]
    share = slope.sum(-1) * terms
    shares = [share.sum() if by_sum else share, 0.0, 0.0, 0.0]
    moved = [np.zeros(()), flat.sum() * weight.max(initial=0.0), flat.sum() * hidden.max(initial=0.0), flat.sum()]
    slack = [s + a + eps_of_steps * b for s, a, b, eps_of_steps in zip(slack, shares, moved, (0, 1, 1, 1), strict=True)]
    return {"found": found, "slack": slack, "unsure": unsure}


class Reference:
    """The process that knows what is right."""

    def __init__(self) -> None:
        environment = {**os.environ, "LOSSARY_KERNELS": "off", "LOSSARY_CHECKS": "off", "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "grid.reference"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def ask(self, what: str, **asked: Any) -> Any:
        """Have something computed there; what it raises is raised here."""
        assert self.process.stdin and self.process.stdout
        pickle.dump((what, asked), self.process.stdin)
        self.process.stdin.flush()
        answer = pickle.load(self.process.stdout)
        if isinstance(answer, Exception):
            raise AssertionError(f"the reference itself failed: {type(answer).__name__}: {answer}")
        return answer

    def close(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()


def serve() -> None:
    out = sys.stdout.buffer
    while True:
        try:
            what, asked = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            with np.errstate(all="ignore"):
                answer: Any = {"evaluate": evaluate, "bend": bend, "linear": linear}[what](asked)
        except Exception as error:
            answer = error
        pickle.dump(answer, out)
        out.flush()


if __name__ == "__main__":
    serve()

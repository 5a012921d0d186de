"""The linear head and its loss on NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lossary.evaluate import reduction
from lossary.head.loop import Products, evaluate
from lossary.head.problem import Problem


class _NumPy:
    """Problems on NumPy arrays."""

    @staticmethod
    def values(problem: Problem) -> tuple[Any, ...]:
        found, _ = evaluate(problem, Products(problem, ()), 0)
        return tuple(x.reshape(problem.batch)[()] for x in found)

    @staticmethod
    def value(problem: Problem) -> Any:
        return _NumPy.value_and_grad(problem, ())[0]

    @staticmethod
    def value_and_grad(problem: Problem, names: Sequence[str]) -> tuple[Any, dict[str, Any]]:
        count = problem.divisor()
        inverse = float(reduction.average(1.0, count))
        (each,), grads = evaluate(problem, Products(problem, names), int(bool(names)), scale=inverse)
        if "hidden" in grads:
            grads["hidden"] = grads["hidden"].reshape(*problem.batch, problem.hidden.shape[-1])
        if problem.how == "none":
            return each.reshape(problem.batch)[()], grads
        summed = reduction.reduce_sum(problem.xp, each, problem.dtype)
        return (reduction.average(summed, count) if problem.how == "mean" else summed), grads

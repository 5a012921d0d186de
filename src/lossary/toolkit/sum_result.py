"""The result of `lossary.weighted_sum`: a number that keeps the terms of the sum."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Any

from lossary.text.layout import aligned


@dataclass(frozen=True, eq=False, repr=False)
class WeightedSum:
    """A weighted sum that holds, for each term by name, its weight, its raw value, and its contribution to the total.

    It is used like the number it is: in arithmetic, comparisons, formatting and ``float()``. Of tensors it is a tensor
    itself (`lossary.toolkit.tensor_sum.TensorSum`), to call `backward` on and to pass to a ``GradScaler``. Negated,
    multiplied or divided by a number it is the same sum with other weights and keeps its terms: ``total / steps`` can
    still be printed. Any other operation gives an ordinary number or tensor, the same as from `total`.

    `total` and the values keep the type they came with, so that a tensor's total can be differentiated. ``float()``
    gives the total as a number; ``str()`` gives a table.
    """

    total: Any
    weights: Mapping[str, float]
    raw: Mapping[str, Any]
    weighted: Mapping[str, Any]

    @property
    def first_nonfinite(self) -> str | None:
        """Name of the first term whose raw value, or else whose contribution, is NaN or infinite; None if none is.

        A term of weight 0 is named too, although its value does not reach the total.
        """
        for part in (self.raw, self.weighted):  # a factor that is not finite makes every contribution so
            for name, value in part.items():
                if not math.isfinite(_to_float(value)):
                    return name
        return None

    # -- as text -----------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("term", "weight", "value", "weighted")]
        for name, weight in self.weights.items():
            rows.append((name, *(f"{_to_float(x):.6g}" for x in (weight, self.raw[name], self.weighted[name]))))
        rows.append(("total", "", "", f"{float(self):.6g}"))
        nonfinite = self.first_nonfinite
        return "\n".join(aligned(rows) + ([f"the first term that is not finite: {nonfinite}"] if nonfinite else []))

    def __repr__(self) -> str:
        terms = ", ".join(f"{name}={_to_float(value):.6g}" for name, value in self.weighted.items())
        return f"<{type(self).__name__} {float(self):.6g}: {terms}>"

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else str(self)

    # -- as a number -------------------------------------------------------------------------------------------------

    def item(self) -> float:
        """Return the total as a Python number."""
        return _to_float(self.total)

    def __float__(self) -> float:
        return _to_float(self.total)

    def __int__(self) -> int:
        return int(float(self))

    def __bool__(self) -> bool:
        return bool(self.total)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        import numpy as np

        return np.asarray(self.total).__array__(*args, **kwargs)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return getattr(ufunc, method)(*map(total_of, inputs), **options)

    def __neg__(self) -> Any:
        return self._scaled(-1.0, -self.total)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return abs(self.total)

    def __round__(self, digits: int | None = None) -> Any:
        return round(float(self), digits)

    def __add__(self, other: Any) -> Any:
        return self.total + total_of(other)

    def __radd__(self, other: Any) -> Any:
        return total_of(other) + self.total

    def __sub__(self, other: Any) -> Any:
        return self.total - total_of(other)

    def __rsub__(self, other: Any) -> Any:
        return total_of(other) - self.total

    def __mul__(self, other: Any) -> Any:
        product = self.total * total_of(other)
        return self._scaled(other, product) if _is_factor(other) else product

    def __rmul__(self, other: Any) -> Any:
        product = total_of(other) * self.total
        return self._scaled(other, product) if _is_factor(other) else product

    def __truediv__(self, other: Any) -> Any:
        quotient = self.total / total_of(other)
        return self._scaled(1 / other, quotient) if _is_factor(other) else quotient

    def __rtruediv__(self, other: Any) -> Any:
        return total_of(other) / self.total

    def __floordiv__(self, other: Any) -> Any:
        return self.total // total_of(other)

    def __rfloordiv__(self, other: Any) -> Any:
        return total_of(other) // self.total

    def __mod__(self, other: Any) -> Any:
        return self.total % total_of(other)

    def __rmod__(self, other: Any) -> Any:
        return total_of(other) % self.total

    def __pow__(self, other: Any) -> Any:
        return self.total ** total_of(other)

    def __rpow__(self, other: Any) -> Any:
        return total_of(other) ** self.total

    def __eq__(self, other: object) -> Any:
        return self.total == total_of(other)

    def __ne__(self, other: object) -> Any:
        return self.total != total_of(other)

    def __lt__(self, other: Any) -> Any:
        return self.total < total_of(other)

    def __le__(self, other: Any) -> Any:
        return self.total <= total_of(other)

    def __gt__(self, other: Any) -> Any:
        return self.total > total_of(other)

    def __ge__(self, other: Any) -> Any:
        return self.total >= total_of(other)

    def __hash__(self) -> int:
        return id(self)  # like a tensor: equality compares values, hashing takes identity

    def _scaled(self, factor: float, total: Any) -> Any:
        """Return the sum times a factor, given their product: the same terms with other weights."""
        weights, weighted = ({k: v * factor for k, v in part.items()} for part in (self.weights, self.weighted))
        return self.from_parts(total, weights, self.raw, weighted)

    @classmethod
    def from_parts(
        cls, total: Any, weights: Mapping[str, Any], raw: Mapping[str, Any], weighted: Mapping[str, Any]
    ) -> WeightedSum:
        """Return a sum of these parts, whose mappings are read-only."""
        return cls(total, *map(MappingProxyType, (weights, raw, weighted)))

    # -- copies ------------------------------------------------------------------------------------------------------

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return self.from_parts, (self.total, *map(dict, (self.weights, self.raw, self.weighted)))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        make, parts = self.__reduce_ex__(2)
        return make(*(copy.deepcopy(part, memo) for part in parts))


def total_of(x: Any) -> Any:
    """Return the total of a weighted sum, and anything else as it is."""
    return x.total if isinstance(x, WeightedSum) else x


def _is_factor(x: Any) -> bool:
    """Return whether a sum times this, or divided by it, is the same sum with other weights."""
    return isinstance(x, Real) and not isinstance(x, (bool, WeightedSum)) and x != 0


def _to_float(x: Any) -> float:
    """Return a Python number, an array scalar or a tensor of no dimensions as a float, without a gradient."""
    return float(x.item() if hasattr(x, "item") else x)

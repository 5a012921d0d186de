"""The namespaces that definitions are traced with for JavaScript: the IR's, and what Numba's emitter leaves out."""

from __future__ import annotations

import math
from typing import Any

from lossary.kernels.ir.graph import Node
from lossary.kernels.ir.rows import RowNamespace
from lossary.kernels.ir.trace import SymbolNamespace


class PointwiseNamespace(SymbolNamespace):
    """Numbers."""

    def cos(self, x: Any) -> Node:
        """The cosine."""
        return self.graph.node("cos", (self.graph.number(x),), "number")

    def sin(self, x: Any) -> Node:
        """The sine."""
        return self.graph.node("sin", (self.graph.number(x),), "number")


class RowsNamespace(RowNamespace, PointwiseNamespace):
    """Rows, of which the index of the largest entry can be compared with a label."""

    def argmax(self, x: Any) -> Any:
        """The index of the first largest entry."""
        graph: Any = self.graph
        position = graph.node("position", (), "number", True)
        return _Index(self.min(self.where(x == self.max(x), position, math.inf)))


class _Index:
    """An index that was computed."""

    def __init__(self, index: Any) -> None:
        self.index = index

    def __eq__(self, label: Any) -> Any:
        return self.index.graph.node("==", (self.index, label), "truth")

    def __ne__(self, label: Any) -> Any:
        return self.index.graph.node("!=", (self.index, label), "truth")

    __hash__ = None  # type: ignore[assignment]

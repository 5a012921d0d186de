"""The inputs of a cell: numbers drawn from a loss's record, rounded to a type, laid out in memory as asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import lossary
from lossary.testing import random_arrays, random_params

from . import tables
from .tables import Cell

ABSURD = 10**6  # a label where nothing counts


@dataclass
class Case:
    """What a cell computes with: float64 numbers that its type holds, and how each array is stored."""

    cell: Cell
    loss: Any
    batch: tuple[int, ...]
    clean: list[Any]  # what the reference is given: full batches, contiguous, nothing absurd
    given: list[Any]  # the same numbers as the call is given them: absurd where nothing counts
    types: list[str]
    layouts: list[str]
    params: dict[str, Any]
    ignore: int | None
    weight: Any
    mask: Any
    denominator: Any
    rng: Any
    steps: list[int] = field(default_factory=list)

    @property
    def wrt(self) -> list[int]:
        return [self.loss.arguments.index(name) for name in self.loss.wrt]

    @property
    def floats(self) -> list[int]:
        return [at for at, name in enumerate(self.types) if name.startswith(("float", "bfloat"))]

    def counts(self) -> Any:
        """The weight of every example, in float64, 0 where it is left out: the rule of every reduction."""
        w = np.ones(self.batch) if self.weight is None else np.broadcast_to(np.asarray(self.weight, float), self.batch)
        if self.mask is not None:
            w = np.where(np.broadcast_to(self.mask, self.batch) != 0, w, 0.0)
        if self.ignore is not None:
            w = np.where(np.broadcast_to(self.clean_labels(), self.batch) == self.ignore, 0.0, w)
        return w

    def clean_labels(self) -> Any:
        return self.marked

    marked: Any = None  # the labels with those that are ignored

    def core(self, at: int) -> int:
        signatures = self.loss.coupling.signatures if self.loss.coupling else self.loss.signatures
        return len(signatures[self.cell["alternative"]].inputs[at])


def rounded(x: Any, name: str) -> Any:
    """The numbers of a float type nearest to some of float64, as float64."""
    if name == "bfloat16":
        bits = np.asarray(x, np.float32).view(np.uint32)
        up = ((bits >> 16) & 1) + np.uint32(0x7FFF)
        with np.errstate(over="ignore"):
            return ((bits + up) & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)
    if name.startswith("float"):
        with np.errstate(all="ignore"):
            return np.asarray(x).astype(name).astype(np.float64)
    return np.asarray(x).astype(np.float64)


def generator(cell: Cell) -> Any:
    return np.random.default_rng([cell["seed"], *cell["subject"].encode()])


def case(cell: Cell) -> Case:
    """Draw the inputs of a cell of a loss of the catalogue."""
    loss, rng = lossary.get(cell["subject"]), generator(cell)
    batch, lengths = tables.sizes(cell["subject"], cell["entry"])[cell["size"]]
    if loss.coupling:
        arrays = random_arrays(loss, rng, sizes=lengths)
        n = lengths["b"]
        arrays[1] = rng.integers(0, min(100, max(2, n // 3)), n)
        batch = (n,)
    else:
        count = math.prod(batch)
        free = replace(loss, conditions={})
        arrays = random_arrays(free, rng, count, lengths, cell["alternative"])
        arrays = [a.reshape((*batch, *a.shape[1:])) for a in arrays]
    domains = [loss.domain(name, cell["alternative"]) for name in loss.arguments]
    kinds = [d.kind for d in domains]
    for at, d in enumerate(domains):  # lengths that every pair of label and frames can have
        if d.kind == "length":
            full = lengths[d.dimension]
            arrays[at] = rng.integers(full - 1 if d.dimension == "t" else 0, full + 1, batch)
        elif d.kind == "index" and loss.optional and "blank" in loss.parameters:  # no blank inside a target
            arrays[at] = 1 + arrays[at] % (lengths["c"] - 1)
    types = _types(cell, domains)
    classes = lengths.get("c", 4)
    params: dict[str, Any] = {}
    if cell["params"] == "drawn":
        params = {k: _special_number(loss, k, v, rng) for k, v in random_params(loss, rng, classes, 0.3).items()}
        params = {k: rounded(v, "float16") if isinstance(v, np.ndarray) else v for k, v in params.items()}
        if kinds.count("index") and "class_weight" in params and loss.signatures[cell["alternative"]].rank > 1:
            params.pop("class_weight")
    _special(cell, loss, arrays, domains, params, rng)
    arrays = [rounded(a, t) if t.startswith(("float", "bfloat")) else a for a, t in zip(arrays, types, strict=True)]
    layouts = ["contiguous"] * len(arrays)
    chosen = range(len(arrays)) if cell["argument"] == "all" else [int(cell["argument"]) % len(arrays)]
    for at in chosen:
        layouts[at] = cell["layout"]
        rank = _core(loss, cell, at)
        along_rows = cell["layout"] == "broadcast last" or (cell["layout"] == "broadcast" and arrays[at].ndim == rank)
        if cell["layout"] == "broadcast" and arrays[at].ndim and not along_rows:
            arrays[at] = np.repeat(arrays[at][:1], arrays[at].shape[0], axis=0)
        elif along_rows and arrays[at].ndim:
            if kinds[at] in ("simplex", "log-simplex"):
                even = 1 / arrays[at].shape[-1]
                arrays[at] = np.full_like(
                    arrays[at], rounded(even if kinds[at] == "simplex" else math.log(even), types[at])
                )
            else:
                axis = 0 if cell["layout"] == "broadcast" else -1
                arrays[at] = np.repeat(np.take(arrays[at], [0], axis), arrays[at].shape[axis], axis)
        elif cell["layout"] == "zero tensor":
            if domains[at].kind == "interval" and not domains[at].bounded:
                arrays[at] = np.zeros_like(arrays[at])
            else:
                layouts[at] = "contiguous"
        elif cell["layout"] == "repeated" and batch:
            one = arrays[at].reshape(-1, *arrays[at].shape[arrays[at].ndim - rank :])[0]
            arrays[at] = np.array(np.broadcast_to(one, (*batch, *one.shape)))
    made = Case(cell, loss, batch, arrays, [], types, layouts, params, None, None, None, None, rng)
    _weights(made)
    _labels(made, kinds, classes)
    return made


def _special_number(loss: Any, name: str, value: Any, rng: Any) -> Any:
    """A parameter of few digits, and now and then one at which formulas change: a whole or a half."""
    if not isinstance(value, float):
        return value
    options = [rounded(value, "float16").item()]
    if rng.random() < 0.4:
        options.insert(0, float(rng.choice([0.0, 0.5, 1.0, 2.0, 3.0])))
    return next((x for x in options if loss.parameter_domains[name][0].contains(x)), value)


def _core(loss: Any, cell: Cell, at: int) -> int:
    signatures = loss.coupling.signatures if loss.coupling else loss.signatures
    return len(signatures[cell["alternative"]].inputs[at])


def _types(cell: Cell, domains: list[Any]) -> list[str]:
    types, seen = [], 0
    for d in domains:
        if d.kind in tables.WHOLE:
            types.append(cell["labels"])
        elif d.kind in tables.COUNTED and cell["targets"] != "as numbers":
            zero_one = d.kind == "set" and set(d.values) == {0.0, 1.0}
            types.append(cell["targets"] if cell["targets"] != "bool" or zero_one else "int64")
        else:
            name = cell["numbers"]
            if name == "mixed":
                name = "float64" if seen else "float32"
            elif name == "mixed half":
                name = "float32" if seen else "float16"
            elif name == "int64" and d.bounded and d.kind not in tables.COUNTED:
                name = "float64"
            types.append(name)
            seen += 1
    return types


def _special(cell: Cell, loss: Any, arrays: list[Any], domains: list[Any], params: dict[str, Any], rng: Any) -> None:
    """Put ties, zeros, large numbers and NaN where they have a meaning."""
    real = [at for at, d in enumerate(domains) if d.kind == "interval" and not d.bounded]
    if cell["values"] == "ties" and real:
        for at in real:
            arrays[at] = np.round(4 * arrays[at]) / 4
        steps = [0.0, *(v for v in {**loss.defaults, **params}.values() if isinstance(v, float) and v < 4)]
        if len(real) > 1 and arrays[real[0]].shape == arrays[real[1]].shape:
            offset = rng.choice(np.array([*steps, *(-s for s in steps)]), arrays[real[0]].shape)
            arrays[real[0]] = np.where(rng.random(offset.shape) < 0.7, arrays[real[1]] + offset, arrays[real[0]])
        elif arrays[real[0]].ndim and rng.random() < 0.5:
            arrays[real[0]] = rng.choice(np.array([0.0, 1.0, -1.0, 0.5]), arrays[real[0]].shape)
        for other, at in zip(real[2:], real[:-2], strict=False):  # a policy that equals its reference
            if arrays[other].shape == arrays[at].shape:
                arrays[other] = np.where(rng.random(arrays[at].shape) < 0.6, arrays[at], arrays[other])
    elif cell["values"] == "zeros":
        for at in real:
            arrays[at] = np.zeros_like(arrays[at])
    elif cell["values"] == "large":
        for at in real[:1]:
            arrays[at] = arrays[at] * 8
    elif cell["values"] == "nan" and arrays[0].size:
        arrays[0] = arrays[0].copy()
        arrays[0].reshape(-1)[rng.integers(arrays[0].size)] = np.nan
    if cell["numbers"] == "int64":
        for at in real:
            arrays[at] = np.round(arrays[at])


def _weights(made: Case) -> None:
    cell, rng, batch = made.cell, made.rng, made.batch
    narrow = "float64" if cell["numbers"] in ("int64", "float64", "mixed") else "float32"
    drawn = rounded(rng.uniform(0.25, 2.0, batch), narrow)
    how = cell["weight"]
    if how in ("array", "strided"):
        made.weight = drawn
    elif how == "number":
        made.weight = 0.1
    elif how == "zeros":
        made.weight = np.where(rng.random(batch) < 0.4, 0.0, drawn)
    elif how == "all zero":
        made.weight = np.zeros(batch)
    elif how == "spread":
        made.weight = drawn[:1]
    if cell["mask"] in ("bool", "ints"):
        made.mask = (rng.random(batch) < 0.6).astype(bool if cell["mask"] == "bool" else np.int64)
    elif cell["mask"] == "spread":
        made.mask = rng.random((*batch[:-1], 1)) < 0.6
    elif cell["mask"] == "all false":
        made.mask = np.zeros(batch, bool)
    if cell["denominator"] != "none":
        made.denominator = 7.3 if cell["denominator"] == "number" else np.array(7.25)


def _labels(made: Case, kinds: list[str], classes: int) -> None:
    """Mark labels that are ignored, and put absurd numbers where nothing counts."""
    cell, rng, batch = made.cell, made.rng, made.batch
    made.given = [a.copy() for a in made.clean]
    made.marked = None
    if cell["ignore"] != "none":
        kept_type = np.dtype(cell["labels"])
        value = {"-100": -100, "last": classes - 1, "255": 255}[cell["ignore"]]
        made.ignore = value
        made.marked = made.clean[1].copy()
        fits = np.iinfo(kept_type).min <= value <= np.iinfo(kept_type).max
        if fits and "broadcast" not in made.layouts[1] and made.layouts[1] != "repeated":
            made.marked = np.where(rng.random(batch) < 0.3, value, made.marked)
        made.given[1] = made.marked.copy()
        if classes == 200 and cell["labels"] == "uint8" and batch:
            # The class that -100 is in 8 bits.
            twin = np.where(rng.random(batch) < 0.4, 156, made.marked)
            if "broadcast" not in made.layouts[1] and made.layouts[1] != "repeated":
                made.marked, made.given[1] = twin, twin.copy()
                made.clean[1] = np.where(twin == value, made.clean[1], twin)
    left_out = made.counts() == 0
    if cell["entry"] in ("mean", "total") or not left_out.any():
        return
    for at, (kind, how, name) in enumerate(zip(kinds, made.layouts, made.types, strict=True)):
        if how in ("broadcast", "broadcast last", "repeated") or not batch:
            continue
        if name.startswith(("float", "bfloat")) and made.loss.name != "zero_one":
            made.given[at][left_out] = np.nan
        elif kind == "index" and not (made.ignore is not None and at == 1):
            made.given[at][left_out] = min(ABSURD, np.iinfo(name).max)


# --- how an array lies in memory ---------------------------------------------------------------------------------


def place(x: Any, dtype: Any, how: str, rng: Any, core: int = 0) -> Any:
    """A NumPy array of these numbers, in this type and layout."""
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        x = x.astype(dtype)
    if how == "permuted":
        order = rng.permutation(x.ndim)
        return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order)) if x.ndim else x
    if how == "crop":
        room = np.zeros([n + 3 for n in x.shape], x.dtype)
        view = room[(..., *(slice(1, 1 + n) for n in x.shape))]
    elif how == "step":
        room = np.zeros([2 * n for n in x.shape], x.dtype)
        view = room[(..., *(slice(None, None, 2) for _ in x.shape))]
    elif how == "negative":
        turn = tuple(slice(None, None, -1 if rng.random() < 0.6 else 1) for _ in x.shape)
        view = np.zeros(x.shape, x.dtype)[(..., *turn)]
    elif how == "broadcast":
        return np.broadcast_to(x[:1].copy(), x.shape) if x.ndim else x
    elif how == "broadcast last":
        return np.broadcast_to(x[..., :1].copy(), x.shape) if x.ndim else x
    elif how == "repeated":
        return x.reshape(-1, *x.shape[x.ndim - core :])[0].copy()
    elif how == "unaligned":
        skip = int(rng.integers(1, 12))
        raw = np.zeros(x.nbytes + 16, np.uint8)
        view = raw[skip : skip + x.nbytes].view(x.dtype).reshape(x.shape)
    elif how == "big-endian":
        return x.astype(x.dtype.newbyteorder(">"))
    elif how == "read-only":
        view = x.copy()
        view.flags.writeable = False
        return view
    elif how == "field":
        view = np.zeros(x.shape, [("before", np.uint8), ("x", x.dtype), ("after", np.int16)])["x"]
    elif how == "list":
        return x.tolist()
    elif how == "masked":
        return np.ma.masked_array(x, mask=rng.random(x.shape) < 0.5)
    else:
        return x.copy()
    view[...] = x
    return view


def tensor(x: Any, dtype: str, how: str, rng: Any, core: int = 0) -> Any:
    """A torch tensor of these numbers, in this type and layout."""
    import torch

    kind = getattr(torch, dtype)
    with np.errstate(all="ignore"):
        x = torch.from_numpy(np.array(x, copy=True, order="C"))
    x = x.to(kind)
    shape = tuple(x.shape)
    if how == "permuted" and shape:
        order = [int(k) for k in rng.permutation(len(shape))]
        return x.permute(order).contiguous().permute([int(k) for k in np.argsort(order)])
    if how == "crop":
        view = torch.zeros([n + 3 for n in shape], dtype=kind)[tuple(slice(1, 1 + n) for n in shape)]
    elif how == "step":
        view = torch.zeros([2 * n for n in shape], dtype=kind)[tuple(slice(None, None, 2) for _ in shape)]
    elif how == "broadcast":
        return x[:1].clone().expand(shape) if shape else x
    elif how == "broadcast last":
        return x[..., :1].clone().expand(shape) if shape else x
    elif how == "repeated":
        return x.reshape(-1, *shape[len(shape) - core :])[0].clone()
    elif how == "unaligned" and x.numel():
        skip = int(rng.integers(1, 12))
        raw = bytearray(x.numel() * x.element_size() + 16)
        view = torch.frombuffer(raw, dtype=kind, offset=skip, count=x.numel()).reshape(shape)
    elif how == "zero tensor":
        return torch._efficientzerotensor(shape, dtype=kind)
    elif how == "sparse":
        return x.to_sparse()
    elif how == "nested":
        return torch.nested.nested_tensor(list(x)) if shape else torch.nested.nested_tensor([x.reshape(1)])
    elif how == "neg view" and x.is_floating_point():
        return torch._neg_view(-x)
    else:
        return x.clone()
    view.copy_(x)
    return view


def dtype_of(name: str) -> Any:
    return np.dtype(name)

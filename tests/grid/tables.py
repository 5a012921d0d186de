"""The dimensions of the grid, the choices of each, which of them a subject has, and what may be refused.

The first choice of a dimension is the plainest one: shrinking a failing cell goes there.
"""

from __future__ import annotations

import random
from typing import Any

import lossary

Cell = dict[str, Any]

# --- sizes: the batch, and the length of each core dimension ---------------------------------------------------
# Today's thresholds lie at 256, 2,048, 4,096, 16,384 and 65,536 elements, at rows of 16, 48 and 128 entries, at 256
# rows (of a linear head), and at a table of 2^24 bytes (of pairs).

Size = tuple[tuple[int, ...], dict[str, int]]

POINTWISE: dict[str, Size] = {
    "few": ((6,), {}),
    "one": ((), {}),
    "empty": ((0,), {}),
    "empty table": ((3, 0), {}),
    "table": ((4, 3), {}),
    "cube": ((3, 4, 5), {}),
    "1000": ((1000,), {}),
    "above 16384": ((130, 128), {}),
    "cube above 16384": ((26, 26, 26), {}),
    "above 65536": ((300, 230), {}),
}
ROWS: dict[str, Size] = {
    "few": ((5,), {"c": 4, "d": 4, "n": 4}),
    "one": ((), {"c": 4, "d": 4, "n": 4}),
    "empty": ((0,), {"c": 4, "d": 4, "n": 4}),
    "table": ((3, 2), {"c": 4, "d": 4, "n": 4}),
    "width 1": ((6,), {"c": 1, "d": 1, "n": 1}),
    "width 200": ((3,), {"c": 200, "d": 200, "n": 200}),
    "above 2048": ((60,), {"c": 40, "d": 40, "n": 40}),
    "wide above 2048": ((12,), {"c": 200, "d": 200, "n": 200}),
    "image": ((2, 20, 13), {"c": 7, "d": 7, "n": 7}),
    "width 100": ((40,), {"c": 100, "d": 100, "n": 100}),
    "above 16384": ((500,), {"c": 40, "d": 40, "n": 40}),
    "image above 16384": ((2, 60, 40), {"c": 4, "d": 4, "n": 4}),
    "wide above 16384": ((90,), {"c": 200, "d": 200, "n": 200}),
    "above 65536": ((1700,), {"c": 40, "d": 40, "n": 40}),
    "wide above 65536": ((340,), {"c": 200, "d": 200, "n": 200}),
}
TABLES: dict[str, Size] = {
    "few": ((3,), {"k": 2, "n": 5}),
    "one": ((), {"k": 2, "n": 5}),
    "empty": ((0,), {"k": 2, "n": 5}),
    "table": ((2, 2), {"k": 2, "n": 5}),
    "above 16384": ((20,), {"k": 3, "n": 300}),
}
SEQUENCES: dict[str, Size] = {
    "few": ((2,), {"t": 5, "s": 2, "c": 4}),
    "one": ((), {"t": 5, "s": 2, "c": 4}),
    "empty": ((0,), {"t": 5, "s": 2, "c": 4}),
    "table": ((2, 2), {"t": 5, "s": 2, "c": 4}),
    "above 256": ((5,), {"t": 10, "s": 4, "c": 6}),
    "above 4096": ((8,), {"t": 11, "s": 5, "c": 12}),
    "above 16384": ((12,), {"t": 15, "s": 6, "c": 16}),
}
BATCHES: dict[str, Size] = {
    "few": ((), {"b": 6, "d": 3}),
    "pair": ((), {"b": 2, "d": 3}),
    "empty": ((), {"b": 0, "d": 3}),
    "above 16384": ((), {"b": 170, "d": 100}),
    "pairs above 2^24 bytes": ((), {"b": 1500, "d": 4}),
}
# Of a linear head: rows, and classes.
HEADS: dict[str, Size] = {
    "few": ((5,), {"c": 4}),
    "one": ((), {"c": 4}),
    "empty": ((0,), {"c": 4}),
    "table": ((3, 2), {"c": 4}),
    "above 256 rows": ((300,), {"c": 10}),
    "above 16384": ((500,), {"c": 40}),
}

# --- all other dimensions ------------------------------------------------------------------------------------

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "framework": ("numpy", "torch"),
    "entry": (
        "value_and_grad",
        "call",
        "value",
        "grad",
        "hess",
        "mean",
        "total",
        "out",
        "in place",
        "module",
        "linear",
        "linear_value_and_grad",
    ),
    "layout": (
        "contiguous",
        "permuted",
        "crop",
        "step",
        "negative",
        "broadcast",
        "broadcast last",
        "repeated",
        "unaligned",
        "big-endian",
        "read-only",
        "field",
        "list",
        "neg view",
        "not a leaf",
        "zero tensor",
        "masked",
        "sparse",
        "nested",
    ),
    "numbers": ("float64", "float32", "float16", "bfloat16", "mixed", "mixed half", "int64"),
    "targets": ("as numbers", "int64", "int8", "uint8", "bool"),
    "labels": ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64"),
    "values": ("random", "ties", "zeros", "large", "nan"),
    "weight": ("none", "array", "number", "zeros", "spread", "all zero", "strided"),
    "mask": ("none", "bool", "ints", "spread", "all false"),
    "ignore": ("none", "-100", "last", "255"),
    "denominator": ("none", "number", "array"),
    "reduction": ("none", "sum", "mean"),
    "mode": (
        "eager",
        "after no_grad",
        "inference",
        "vmap",
        "jvp",
        "double backward",
        "autocast",
        "compile",
        "compile aot",
    ),
    "grads": ("wrt", "first", "none"),
    "params": ("default", "drawn"),
    "checks": ("sampled", "off", "full", "shapes"),
    "kernels": ("on", "off", "always"),
}
NUMPY_LAYOUTS = {
    "contiguous",
    "permuted",
    "crop",
    "step",
    "negative",
    "broadcast",
    "broadcast last",
    "repeated",
    "unaligned",
    "big-endian",
    "read-only",
    "field",
    "list",
    "masked",
}
REFUSED = ("masked", "sparse", "nested")  # what is no dense array: in words, after a plain call too
TORCH_LAYOUTS = {
    "contiguous",
    "permuted",
    "crop",
    "step",
    "broadcast",
    "broadcast last",
    "repeated",
    "unaligned",
    "neg view",
    "not a leaf",
    "zero tensor",
    "sparse",
    "nested",
}
WIDTHS = {"float64": 64, "float32": 32, "float16": 16, "bfloat16": 16}


# --- what a subject has ----------------------------------------------------------------------------------------


def sizes(subject: str, entry: str = "") -> dict[str, Size]:
    """The sizes of a loss."""
    loss = lossary.get(subject)
    if loss.coupling:
        return BATCHES
    if entry.startswith("linear"):
        return HEADS
    if loss.optional:
        return SEQUENCES
    rank = max(s.rank for s in loss.signatures)
    return (POINTWISE, ROWS, TABLES)[rank]


def kinds(subject: str, alternative: int = 0) -> list[str]:
    """The kinds of the domains of a loss's arrays."""
    loss = lossary.get(subject)
    return [loss.domain(name, alternative).kind for name in loss.arguments]


def alternatives(subject: str) -> int:
    loss = lossary.get(subject)
    return 1 if loss.coupling else len(loss.signatures)


def on_rows_of_logits(subject: str) -> bool:
    """Whether `lossary.linear` is tried with a loss: one on rows, with class indices."""
    loss = lossary.get(subject)
    first = loss.signatures[0]
    return loss.coupling is None and first.rank == 1 and "c" in first.inputs[0] and len(loss.arguments) == 2


WHOLE = ("index", "length", "integer")  # domains whose arrays are labels, of any whole type
COUNTED = ("set", "count", "flag")  # domains whose arrays may be of any type


def choices(subject: str) -> dict[str, set[str]]:
    """What each dimension can be for a subject: everything, but for what its record says has no meaning."""
    loss = lossary.get(subject)
    found = {name: set(held) for name, held in DIMENSIONS.items()}
    all_kinds = {kind for a in range(alternatives(subject)) for kind in kinds(subject, a)}
    domains = [loss.domain(name, a) for a in range(alternatives(subject)) for name in loss.arguments]
    counted = [d for d in domains if d.kind in COUNTED]
    by_alternative = [
        [d for name in loss.arguments if (d := loss.domain(name, a)).kind not in (*WHOLE, *COUNTED)]
        for a in range(alternatives(subject))
    ]
    entries, layouts, values = found["entry"], found["layout"], found["values"]
    if loss.derivatives < 2:
        entries.discard("hess")
    if not on_rows_of_logits(subject):
        entries -= {"linear", "linear_value_and_grad"}
    if loss.coupling:
        entries -= {"mean", "total"}
        layouts.discard("repeated")
        values -= {"ties", "zeros", "large"}
        found["mode"].discard("vmap")
        found["ignore"] = {"none"}
        found["weight"] -= {"spread", "strided"}
        found["mask"].discard("spread")
    if loss.coupling or loss.optional or "evaluation" in loss.properties:
        values.discard("nan")
    if loss.optional:
        layouts.discard("broadcast last")
    if all(d.bounded for part in by_alternative for d in part):
        layouts.discard("zero tensor")
    if loss.family in ("metric", "segmentation"):
        values.discard("ties")
    if len(loss.arguments) < 2 or alternatives(subject) > 1:
        layouts.discard("repeated")
    if not counted:
        found["targets"] = {"as numbers"}
    elif not any(d.kind == "set" and set(d.values) == {0.0, 1.0} for d in counted):
        found["targets"].discard("bool")
    if any(d.kind == "set" and min(d.values) < 0 for d in counted):
        found["targets"].discard("uint8")
    if not all_kinds.intersection(WHOLE):
        found["labels"] = {"int64"}
    if "ignore_index" not in loss.defaults:
        found["ignore"] = {"none"}
    if all(any(d.bounded for d in part) for part in by_alternative):
        found["numbers"].discard("int64")
    if max(map(len, by_alternative)) < 2:
        found["numbers"] -= {"mixed", "mixed half"}
    if not loss.parameters:
        found["params"] = {"default"}
    found["size"] = {name for entry in entries for name in sizes(subject, entry)}
    return found


def fit(cell: Cell) -> Cell:
    """Return the cell with each choice that means nothing for its subject put back to the plainest."""
    c = dict(cell)
    loss = lossary.get(c["subject"])
    c["alternative"] = c["alternative"] % alternatives(c["subject"])
    own = kinds(c["subject"], c["alternative"])
    numpy = c["framework"] == "numpy"

    def plain(*names: str) -> None:
        for name in names:
            c[name] = DIMENSIONS[name][0]

    # entries
    entry = c["entry"]
    if (
        (entry in ("out", "in place") and not numpy)
        or (entry in ("module",) and numpy)
        or (entry == "hess" and loss.derivatives < 2)
        or (entry.startswith("linear") and (not on_rows_of_logits(c["subject"]) or c["alternative"]))
        or (entry == "linear_value_and_grad" and not numpy)
        or (entry in ("mean", "total") and loss.coupling)
    ):
        plain("entry")
    entry = c["entry"]
    if entry.startswith("linear") and numpy:
        c["entry"] = entry = "linear_value_and_grad"
    differentiates = entry in ("call", "value", "mean", "total", "module", "linear")
    sized = sizes(c["subject"], entry)
    names = list(sized)
    c["size"] = c["size"] if c["size"] in sized else names[sum(map(ord, c["size"])) % len(names)]
    batch, lengths = sized[c["size"]]
    empty = 0 in batch or 0 in lengths.values()
    # types
    if c["numbers"] == "bfloat16" and numpy:
        c["numbers"] = "float16"
    domains = [loss.domain(name, c["alternative"]) for name in loss.arguments]
    floats = [d for d, kind in zip(domains, own, strict=True) if kind not in (*WHOLE, *COUNTED)]
    if c["numbers"] == "int64" and (any(d.bounded for d in floats) or entry.startswith("linear")):
        plain("numbers")
    if c["numbers"].startswith("mixed") and (len(floats) < 2 or entry.startswith("linear")):
        c["numbers"] = "float32"
    if not any(kind in COUNTED for kind in own):
        plain("targets")
    elif c["targets"] == "bool" and not any(
        kind == "set" and set(d.values) == {0.0, 1.0} for d, kind in zip(domains, own, strict=True)
    ):
        c["targets"] = "int64"
    elif c["targets"] == "uint8" and any(
        kind == "set" and min(d.values) < 0 for d, kind in zip(domains, own, strict=True)
    ):
        c["targets"] = "int8"
    if not any(kind in WHOLE for kind in own):
        plain("labels")
    if max([0, *lengths.values()]) > 127 and c["labels"] == "int8":
        c["labels"] = "uint8"
    # modes
    if numpy:
        plain("mode", "grads")
    if c["mode"] in ("vmap", "jvp", "double backward", "compile", "compile aot") and not differentiates:
        plain("mode")
    if c["mode"] == "vmap" and (entry not in ("call", "value") or not batch or empty or loss.coupling):
        plain("mode")
    if c["mode"] in ("vmap", "jvp", "double backward") and (
        c["numbers"] not in ("float64", "float32") or c["layout"] in ("repeated", "list")
    ):
        c["numbers"] = "float64" if c["numbers"] not in ("float64", "float32") else c["numbers"]
        c["layout"] = "contiguous" if c["layout"] in ("repeated", "list") else c["layout"]
    if c["mode"] in ("double backward", "jvp", "vmap") and (empty or entry == "linear" or c["values"] == "nan"):
        plain("mode")
    if c["mode"] == "double backward":
        c["numbers"] = "float64"
        if "above" in c["size"]:
            plain("mode")
    if c["mode"] == "inference" or not differentiates:
        plain("grads")
    if c["mode"] in ("jvp", "vmap", "double backward"):
        plain("grads")
    if c["mode"].startswith("compile") and c["checks"] == "full":
        plain("checks")
    # layouts
    if c["layout"] not in (NUMPY_LAYOUTS if numpy else TORCH_LAYOUTS):
        plain("layout")
    c["argument"] = (
        "all"
        if c["argument"] == "all"
        else str(int(c["argument"]) % (3 if entry.startswith("linear") else len(loss.arguments)))
    )
    if c["layout"] in ("broadcast", "broadcast last", "repeated") and (
        entry in ("in place",) or c["values"] == "nan" or empty or c["argument"] == "all"
    ):
        plain("layout")
    if c["layout"] == "repeated" and (
        loss.coupling
        or not batch
        or entry.startswith("linear")
        or entry == "out"
        or len(loss.arguments) < 2
        or alternatives(c["subject"]) > 1  # whose shapes would say something else
    ):
        plain("layout")
    if c["layout"] in ("broadcast last", "broadcast") and loss.optional:
        plain("layout") if c["layout"] == "broadcast last" else None
    if c["layout"] == "list" and ("above" in c["size"] or entry in ("in place", "out")):
        plain("layout")
    if c["layout"] == "list":
        c["numbers"] = "float64"
    if c["layout"] == "read-only" and entry == "in place":
        plain("layout")
    if c["layout"] == "list" and empty:
        plain("layout")
    if c["layout"] in REFUSED and (empty or entry.startswith("linear") or not (batch or loss.coupling)):
        plain("layout")
    if c["layout"] in (*REFUSED, "zero tensor"):
        plain("mode")
        c["grads"] = "none" if differentiates and not numpy else c["grads"]
        plain("labels")  # torch makes no such tensors of some whole types
        if entry in ("in place", "out", "module"):
            plain("entry", "grads")
    if c["layout"] == "zero tensor" and (entry.startswith("linear") or all(d.bounded for d in floats)):
        plain("layout")
    # values
    if c["values"] == "nan" and (
        loss.coupling or loss.optional or empty or c["numbers"] == "int64" or "evaluation" in loss.properties
    ):
        plain("values")
    if c["values"] == "nan" and entry.startswith("linear"):
        plain("values")
    if c["values"] in ("ties", "large", "zeros") and (
        loss.coupling or (c["values"] == "ties" and loss.family in ("metric", "segmentation"))
    ):
        plain("values")
    # weights
    if entry == "call":
        plain("weight", "mask")
    if entry in ("call", "mean"):
        c["reduction"] = "none" if entry == "call" else "mean"
    if entry == "total":
        c["reduction"] = "sum"
    if c["mode"] == "vmap":
        plain("weight", "mask", "ignore")
        c["reduction"] = "none" if entry == "call" else c["reduction"]
    if c["reduction"] != "mean" or entry == "module":
        plain("denominator")
    if not batch and not loss.coupling:
        for name, left in (("weight", ("spread", "strided", "zeros")), ("mask", ("spread",))):
            if c[name] in left:
                plain(name)
    if loss.coupling:
        plain("ignore")
        if c["weight"] == "spread" or c["weight"] == "strided":
            c["weight"] = "array"
        if c["mask"] == "spread":
            c["mask"] = "bool"
    if len(batch) < 1:
        c["mask"] = "bool" if c["mask"] == "spread" else c["mask"]
    if "ignore_index" not in loss.defaults or (own[1] != "index" if len(own) > 1 else True):
        plain("ignore")
    if c["ignore"] == "255" and c["labels"] == "int8":
        c["ignore"] = "-100"
    if c["params"] == "drawn" and not loss.parameters:
        plain("params")
    return c


def draw(subject: str, rng: random.Random, **fixed: Any) -> Cell:
    """Draw a cell of a subject; what is said is taken as it is."""
    cell: Cell = {
        "subject": subject,
        "alternative": rng.randrange(4),
        "argument": rng.choice(["all", "0", "1", "2", "3"]),
    }
    for name, choices in DIMENSIONS.items():
        cell[name] = rng.choice(choices)
    # Half of all cells are plain in the dimensions that exclude or hide others.
    for name, often in (
        ("mode", 0.5),
        ("values", 0.4),
        ("checks", 0.6),
        ("params", 0.4),
        ("ignore", 0.3),
        ("grads", 0.5),
    ):
        if rng.random() < often:
            cell[name] = DIMENSIONS[name][0]
    if rng.random() < 0.35:
        cell["weight"], cell["mask"] = "none", "none"
    if cell["layout"] in REFUSED and rng.random() < 0.7:  # of a refusal there is less to learn
        cell["layout"] = "permuted"
    if cell["mode"].startswith("compile") and rng.random() < 0.8:  # each takes as long as fifty others
        cell["mode"] = "eager"
    cell |= fixed
    if "size" not in cell:
        cell["size"] = rng.choice(list(sizes(subject, cell["entry"])))
    cell["seed"] = rng.randrange(1 << 30)
    return fit(cell)


def plainest(subject: str) -> Cell:
    return {
        "subject": subject,
        "alternative": 0,
        "argument": "all",
        **{name: choices[0] for name, choices in DIMENSIONS.items()},
        "size": "few",
        "seed": 0,
    }

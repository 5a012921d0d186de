"""Diagnosis of one call of a loss: findings of misuse, the first number that is not finite, reference predictors.

Nothing here knows a particular loss. Findings come from `lossary.misuse`, the steps of the computation from
`lossary.inspect.tracing`, the predictors to compare with from the record's input convention and its target's domain.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from lossary import tolerances
from lossary._files import save_text
from lossary.backends.registry import to_numpy
from lossary.catalogue import Loss, get
from lossary.catalogue.domains import Domain
from lossary.errors import MissingExtraError, ParameterError, suggest
from lossary.evaluate.call import Call, prepare
from lossary.evaluate.transforms import value_and_grad
from lossary.inspect.reference_predictors import ReferencePredictors
from lossary.inspect.tracing import Run, Step, observed
from lossary.misuse import rules as misuse
from lossary.misuse.rules import MisuseFinding
from lossary.text.layout import aligned
from lossary.text.phrases import LANGS, Lang, phrase

Array = Any

WORST = 10  # examples that are listed
_FAINT = 1e-6  # relative to the largest gradient: an example with a smaller one moves nothing


@dataclass(frozen=True)
class Culprit:
    """The first quantity of the definition that is not finite, in the first example whose result is not finite.

    `what` is ``"value"`` or ``"gradient"``, whichever is not finite; `step` is the name of the quantity and
    `expression` what it was computed from; `inputs` are the numbers of the example, and `entry` is the index of the
    first bad entry of a row.
    """

    what: str
    example: tuple[int, ...]
    examples: int
    step: str
    expression: str
    number: float
    entry: tuple[int, ...]
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class ClassStatistics:
    """One class of the target, or one of its values: its frequency and its cost.

    `weight` is the sum of the weights of its examples; `per_example` is the cost of an undecided prediction for it,
    relative to the mean over the classes, which shows class weights and the like (None where no prediction is
    undecided).
    """

    label: float
    count: int
    weight: float
    per_example: float | None
    mean: float
    share: float
    gradient: float


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The result of `diagnose`. Printing it shows everything; its parts are data.

    It is true where nothing is wrong: no finding, and every number finite.
    """

    loss: Loss
    lang: Lang
    shapes: Mapping[str, tuple[int, ...]]
    value: float
    examples: int
    counted: int
    findings: tuple[MisuseFinding, ...]
    notes: tuple[str, ...]
    culprit: Culprit | None
    spread: Mapping[str, float]
    worst: tuple[tuple[tuple[int, ...], float, float], ...]
    gradient: Mapping[str, float]
    classes: tuple[ClassStatistics, ...]
    floor: float | None
    trivial: Mapping[str, float]

    def __bool__(self) -> bool:
        return not self.findings and self.culprit is None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, ready for JSON; numbers that are not finite become text."""
        culprit = self.culprit
        found = {
            "loss": self.loss.name,
            "ok": bool(self),
            "value": self.value,
            "examples": self.examples,
            "counted": self.counted,
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "findings": [
                {"rule": f.rule, "argument": f.argument, "sentence": f.sentence, "refused": f.refused}
                for f in self.findings
            ],
            "notes": list(self.notes),
            "first_not_finite": None if culprit is None else vars(culprit) | {"inputs": dict(culprit.inputs)},
            "spread": dict(self.spread),
            "worst": [{"example": at, "value": value, "share": share} for at, value, share in self.worst],
            "gradient": dict(self.gradient),
            "classes": [dict(vars(c)) for c in self.classes],
            "floor": self.floor,
            "trivial": dict(self.trivial),
        }
        data: dict[str, Any] = _as_json(found)
        return data

    def sections(self) -> list[tuple[str, list[str]]]:
        """Return the headings and lines of the diagnosis, in its language."""
        return [(phrase(title, self.lang), lines) for title, lines in _sections(self) if lines]

    def __str__(self) -> str:
        lines = [_headline(self)]
        for title, body in self.sections():
            lines += ["", title, *(f"  {line}" for line in body)]
        return "\n".join(lines)

    def __rich__(self) -> Any:
        from rich.text import Text

        text = Text(_headline(self), style="bold green" if self else "bold red")
        for title, body in self.sections():
            text.append(f"\n\n{title}\n", style="bold not red not green")
            text.append("\n".join(f"  {line}" for line in body), style="not bold default")
        return text

    def to_html(self) -> str:
        """Return one page that needs nothing else, not even a network. Needs the app extra."""
        from lossary.report.sheet import bars, fill

        title = phrase("Largest values", self.lang)
        return fill(
            "diagnosis.html.jinja",
            lang=self.lang,
            diagnosis=self,
            headline=_headline(self),
            sections=self.sections(),
            largest=title,
            drawing=bars([v for _, v, _ in self.worst], [str(_flat(at)) for at, _, _ in self.worst], title),
        )

    def _repr_html_(self) -> str:
        try:
            page = escape(self.to_html(), quote=True)
        except MissingExtraError:
            return f"<pre>{escape(str(self))}</pre>"
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 640px; border: 0"></iframe>'

    def save(self, path: str | Path) -> None:
        """Write the diagnosis as a page (``.html``), as data (``.json``) or as text, whole or not at all."""
        import json

        kind = Path(path).suffix
        text = self.to_html() if kind == ".html" else str(self) + "\n"
        save_text(path, json.dumps(self.to_dict(), indent=2) if kind == ".json" else text)


def _as_json(x: Any) -> Any:
    if isinstance(x, Mapping):
        return {str(k): _as_json(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_as_json(v) for v in x]
    if isinstance(x, (np.ndarray, np.generic)):
        return _as_json(x.tolist())
    if isinstance(x, float):
        return x if math.isfinite(x) else str(x)
    return x


# --- the diagnosis --------------------------------------------------------------------------------------------------


def diagnose(
    loss: Loss | str,
    *arrays: Any,
    weight: Any = None,
    mask: Any = None,
    lang: Lang = "en",
    **params: Any,
) -> Diagnosis:
    """Return what is wrong with a call, or its main statistics if nothing is.

    Every value is checked. The diagnosis holds: the findings of the checks; the first quantity of the definition that
    is infinite or NaN, with its example and the numbers it was computed from; quantiles of the values, and the ten
    largest; sizes of gradients, and the share of examples without one; classes with their counts and weights; the
    smallest value that these targets allow; and the scores of trivial predictors, such as the best constant.

    Parameters
    ----------
    loss: a loss of the catalogue, or its name.
    arrays: its arrays, in order or by name: NumPy arrays, lists, or tensors of PyTorch on any device.
    weight, mask: as in `lossary.value_and_grad`.
    lang: the language of the headings, ``"en"`` or ``"zh"``.
    params: the loss's parameters.

    Raises `ShapeError`, `ArgumentError` or `ParameterError` for what cannot be computed at all; values outside a domain
    are findings here.

    >>> import lossary
    >>> found = lossary.diagnose("bce", [0.2, 0.0, 0.9], [0.0, 1.0, 1.0])
    >>> found.culprit.example, found.culprit.step, found.culprit.expression
    ((1,), 'log_probability', 'log(probs)')
    >>> bool(found), found.value
    (False, inf)
    """
    record = get(loss)
    if lang not in LANGS:
        raise ParameterError(f"lang: got {lang!r}, expected one of {', '.join(LANGS)}{suggest(str(lang), LANGS)}")
    options = {"weight": to_numpy(weight), "mask": to_numpy(mask)}
    arrays = tuple(map(to_numpy, arrays))
    params = {name: to_numpy(v) for name, v in params.items()}
    original = call = prepare(record, arrays, params, **options, check=False)
    outside = call.labels_outside()
    if outside is not None:  # a label out of bounds has no cost: such an example is a finding and nothing else
        options["mask"] = ~outside if options["mask"] is None else ~outside & (np.asarray(options["mask"]) != 0)
        arrays = tuple(_first_class(x, d, call) for x, d in zip(call.given, call.domains, strict=True))
        params = {name: v for name, v in params.items() if name not in record.arguments}
        call = prepare(record, arrays, params, **options, check=False)
    with np.errstate(all="ignore"):
        return _Examination(call, options, arrays, params, original).diagnosis(lang)


def _first_class(array: Array, domain: Domain, call: Call) -> Array:
    """Return labels, with the first class instead of those that are out of bounds."""
    if domain.kind != "index":
        return array
    classes = call.given[0].shape[-1]
    return np.where(((array < 0) | (array >= classes)) & (array != call.ignore_index), 0, array)


class _Examination:
    """A prepared call with its values and gradients, from which every part of a diagnosis is read."""

    def __init__(
        self, call: Call, options: Mapping[str, Any], arrays: Sequence[Any], params: Mapping[str, Any], original: Call
    ) -> None:
        self.call, self.loss, self.original = call, call.loss, original  # without and with the labels out of bounds
        self._given = (options, arrays, params)
        traced, runs = observed(self.loss)
        value, derivatives, _ = replace(call, loss=traced).pull(1 if self.loss.derivatives else 0)
        self.runs: Sequence[Run] = runs
        self.values = np.asarray(call.values(value), dtype=np.float64).reshape(-1)
        weights = np.ones(call.batch) if call.weights is None else np.broadcast_to(call.weights, call.batch)
        self.weights = np.asarray(weights, dtype=np.float64).reshape(-1)
        self.kept = self.weights != 0
        self.sizes = self._sizes(derivatives)
        self.reference = ReferencePredictors(call, self.weights, params)

    def _sizes(self, derivatives: Sequence[tuple[Any, ...]]) -> Array:
        """Return the largest entry of the gradient of every example's own value."""
        options, arrays, params = self._given
        if self.loss.coupling is None:
            batch = self.call.batch
            full = [np.abs(np.asarray(d, dtype=np.float64)) for d in derivatives[0]]
            spread = [np.broadcast_to(d, np.broadcast_shapes(d.shape, batch + (1,) * self.call.inner)) for d in full]
            axes = [tuple(range(len(batch), d.ndim)) for d in spread]
            largest = [d.max(axis=own, initial=0.0) for d, own in zip(spread, axes, strict=True)]
            return np.max(largest, axis=0).reshape(-1)
        _, grad = value_and_grad(self.loss, *arrays, **options, reduction="sum", check=False, **params)
        table = np.abs(np.asarray(grad, dtype=np.float64))
        return table.max(axis=tuple(range(1, table.ndim)), initial=0.0)

    # -- its parts

    def diagnosis(self, lang: Lang) -> Diagnosis:
        call, kept = self.call, self.kept
        weights = self.weights[kept]
        total = float((weights * self.values[kept]).sum())
        mean = total / weights.sum() if kept.any() else 0.0
        return Diagnosis(
            loss=self.loss,
            lang=lang,
            shapes={n: tuple(a.shape) for n, a in zip(self.loss.arguments, call.given, strict=True)},
            value=float(mean),
            examples=self.values.size,
            counted=int(kept.sum()),
            findings=tuple(self.findings()),
            notes=tuple(self.notes(lang)),
            culprit=self.culprit(),
            spread=_quantiles(self.values[kept]),
            worst=self.worst(total),
            gradient=self.gradient(),
            classes=tuple(self.classes(total)),
            floor=self.reference.floor(),
            trivial=self.reference.trivial(),
        )

    def findings(self) -> Iterator[MisuseFinding]:
        yield from misuse.outside(self.original)
        yield from misuse.findings(self.call)
        first, given = self.loss.arguments[0], self.call.given[0]
        if given.dtype.kind in "iub" and self.loss.input in ("real", "logit", "score") and given.size:
            what = "integers: class indices, an argmax or counts have no gradient. Pass the output of the network"
            yield MisuseFinding("whole predictions", first, f"{self.loss.name}: {first}: got {given.dtype}, {what}")
        if self.kept.size and not self.kept.any() and self.original is self.call:
            name = self.loss.arguments[-1]
            yield MisuseFinding(
                "nothing counts", name, f"{self.loss.name}: {name}: every example has weight 0: the mean is 0"
            )

    def notes(self, lang: Lang) -> Iterator[str]:
        """Yield remarks on what is valid, but may not be intended.

        A few rows of round numbers that sum to 1 are no evidence for a warning; a diagnosis mentions them.
        """
        if self.loss.input != "logit" or self.call.signature.inputs[0] != ("c",) or self.loss.coupling is not None:
            return
        first = self.loss.arguments[0]
        rows = np.asarray(self.call.given[0], np.float64).reshape(-1, self.call.given[0].shape[-1])
        if len(rows) and rows.shape[-1] > 1 and not tolerances.unnormalised(rows, logarithms=False)[0].any():
            yield phrase(
                "{name}: all rows are >= 0 and sum to 1. If they are probabilities, pass the logits: softmax is "
                "applied here.",
                lang,
                name=first,
            )

    def worst(self, total: float) -> tuple[tuple[tuple[int, ...], float, float], ...]:
        cost = np.where(self.kept, self.weights * self.values, -math.inf)
        cost[np.isnan(cost)] = math.inf
        order = np.argsort(-cost, kind="stable")[:WORST]
        return tuple(
            (
                self.index_of(int(i)),
                float(self.values[i]),
                float(cost[i] / total) if total and math.isfinite(total) else math.nan,
            )
            for i in order
            if self.kept[i]
        )

    def index_of(self, number: int) -> tuple[int, ...]:
        """Return the index of an example in the batch."""
        return tuple(int(i) for i in np.unravel_index(number, self.call.batch)) if self.call.batch else ()

    def gradient(self) -> Mapping[str, float]:
        size = self.sizes[self.kept] if self.sizes.shape == self.kept.shape else self.sizes
        known = size[np.isfinite(size)]
        if not known.size:
            return {}
        largest = float(known.max())
        values = self.values[self.kept] if len(known) == int(self.kept.sum()) else None
        found = {
            "largest": largest,
            "median": float(np.median(known)),
            "smallest": float(known.min()),
            "dead": float((size == 0).mean()),
            "saturated": float(((size > 0) & (size < _FAINT * largest)).mean()),
            "not finite": float((~np.isfinite(size)).mean()),
        }
        if values is not None:
            # Wrong, and yet not learned from: a cost above the median with (nearly) no gradient.
            found["stuck"] = float(((size < _FAINT * largest) & (values > np.median(values))).mean())
        return found

    # -- the first number that is not finite

    def culprit(self) -> Culprit | None:
        bad = self.kept & ~np.isfinite(self.values)
        what = "value"
        if not bad.any() and self.sizes.shape == bad.shape:
            bad, what = self.kept & ~np.isfinite(self.sizes), "gradient"
        if not bad.any():
            return None
        number = int(np.argmax(bad))
        at = self.index_of(number)
        inputs = {n: self._of(a, at, raw=True) for n, a in zip(self.loss.arguments, self.call.given, strict=True)}
        excluded = False  # whether a definition has begun to exclude states by a probability of 0
        for step, inside in self._steps(what):
            part = self._of(step.value, at)
            if part is None or part.dtype.kind != "f" or np.isfinite(part).all():
                continue
            nowhere = not (np.isnan(part) | (part == math.inf)).any()
            if step.expression and nowhere:
                # A recursion in logarithms starts from -inf and keeps it for impossible states. It has failed where
                # every state is impossible.
                written = bool(re.search(r"\binf\b|^masked\(", step.expression))
                if written or (excluded and (inside or not (part == -math.inf).all())):
                    excluded = True
                    continue
            entry = tuple(int(i) for i in np.argwhere(~np.isfinite(part))[0])
            found = part[entry]
            entry = () if part.size == 1 else entry
            return Culprit(what, at, int(bad.sum()), step.name, step.expression, float(found), entry, inputs)
        last = float(self.values[number] if what == "value" else self.sizes[number])
        return Culprit(what, at, int(bad.sum()), what, "", last, (), inputs)

    def _steps(self, what: str) -> Iterator[tuple[Step, bool]]:
        """Yield inputs, then every quantity in the order of computation, up to the value or to the gradient.

        Each is paired with whether it belongs to a helper that the definition calls.
        """
        for name, given in zip(self.loss.arguments, self.call.given, strict=True):
            yield Step(name, "", given), False
        for run in self.runs:
            for stage in range(2 if what == "gradient" else 1):
                for step in run.steps(stage):
                    # What a helper takes apart has no expression of its own: it was examined where it was computed.
                    yield from ((part, part is not step) for part in step.flat() if part.expression)

    def _of(self, x: Any, at: tuple[int, ...], raw: bool = False) -> Array | None:
        """Return the part of an array that belongs to one example, or is common to all; None if there is none."""
        array, batch = np.asarray(x), self.call.batch
        if raw and self.loss.coupling is None:
            core = self.call.signature.inputs[[a is x for a in self.call.given].index(True)]
            return array if array.ndim == len(core) else array[at]
        if array.ndim < len(batch) or array.dtype.kind not in "fiub":
            return array if array.ndim == 0 else None
        if any(n not in (1, b) for n, b in zip(array.shape, batch, strict=False)):
            return None
        return np.asarray(array[tuple(min(i, n - 1) for i, n in zip(at, array.shape, strict=False))])

    # -- the classes

    def classes(self, total: float) -> Iterator[ClassStatistics]:
        at = self.reference.target
        if at is None:
            return
        labels = np.asarray(self.call.given[at])
        if self.call.signature.inputs[at] or labels.size == 0:
            return
        labels = np.broadcast_to(labels, self.call.batch).reshape(-1)
        known, where = np.unique(labels[self.kept], return_inverse=True)
        domain = self.loss.domain(self.loss.arguments[at], self.loss.signatures.index(self.call.signature))
        named = domain.kind in ("index", "set", "flag") or (domain.bounded and (known == np.floor(known)).all())
        if domain.kind != "index" and not (named and 2 <= len(known) <= 20):
            return
        weights, values, sizes = self.weights[self.kept], self.values[self.kept], self.sizes[self.kept]
        undecided = self.reference.neutral_cost(known)
        pull = float((weights * sizes).sum())
        for k, label in enumerate(known):
            here = where.reshape(-1) == k
            cost = float((weights[here] * values[here]).sum())
            yield ClassStatistics(
                label=float(label),
                count=int(here.sum()),
                weight=float(weights[here].sum()),
                per_example=None if undecided is None else float(undecided[k]),
                mean=float(cost / weights[here].sum()),
                share=cost / total if total and math.isfinite(total) else math.nan,
                gradient=float((weights[here] * sizes[here]).sum()) / pull if pull else 0.0,
            )


def _quantiles(values: Array) -> dict[str, float]:
    if not values.size:
        return {}
    finite = values[np.isfinite(values)]
    found: dict[str, Any] = {}
    if finite.size:
        levels = dict(zip(("10 %", "90 %"), np.quantile(finite, [0.1, 0.9]), strict=True))
        found = {
            "smallest": finite.min(), "10 %": levels["10 %"], "median": np.median(finite), "90 %": levels["90 %"],
            "largest": finite.max(), "deviation": finite.std(),
        }  # fmt: skip
    return {name: float(v) for name, v in (found | {"not finite": float((~np.isfinite(values)).mean())}).items()}


# --- as text --------------------------------------------------------------------------------------------------------


def _flat(at: tuple[int, ...]) -> Any:
    return at[0] if len(at) == 1 else at


def _number(x: float) -> str:
    return "0" if x == 0 else f"{x:.4g}"


def _percent(x: float) -> str:
    return "-" if math.isnan(x) else f"{100 * x:.3g} %"


def _headline(found: Diagnosis) -> str:
    shapes = ", ".join(f"{name} {shape}" for name, shape in found.shapes.items())
    text = phrase("{loss}: mean {value} over {counted} of {examples} examples", found.lang, loss=found.loss.name,
                  value=_number(found.value), counted=found.counted, examples=found.examples)  # fmt: skip
    return f"{text} ({shapes})"


def _sections(found: Diagnosis) -> Iterator[tuple[str, list[str]]]:
    def translated(text: str, **numbers: object) -> str:
        return phrase(text, found.lang, **numbers)

    shares = ("dead", "saturated", "stuck", "not finite")

    def lines_of(numbers: Mapping[str, float]) -> list[str]:
        rows = [
            (translated(n), (_percent if n in shares else _number)(v))
            for n, v in numbers.items()
            if v or n not in shares
        ]
        return aligned(rows) if rows else []

    rules = {f.rule for f in found.findings}
    notes = [] if "probabilities for logits" in rules else list(found.notes)
    yield "Findings", [str(f) for f in found.findings] or [translated("nothing suspicious")]
    yield "Notes", notes
    yield "First number that is not finite", _culprit_lines(found.culprit, found.lang)
    yield "Values", lines_of(found.spread)
    if found.examples > 1:
        heads = (translated("example"), translated("value"), translated("share of the total"))
        rows3 = [(str(_flat(at)), _number(v), _percent(share)) for at, v, share in found.worst]
        yield "Largest values", aligned([heads, *rows3])
    yield "Gradient of each example", lines_of(found.gradient)
    if found.classes:
        heads6 = tuple(
            map(translated, ("class", "count", "weight", "cost undecided", "mean value", "share of the total"))
        )
        body = [
            (f"{c.label:g}", str(c.count), _number(c.weight), "-" if c.per_example is None else _number(c.per_example),
             _number(c.mean), _percent(c.share))
            for c in found.classes[:40]
        ]  # fmt: skip
        hidden = len(found.classes) - len(body)
        yield (
            "Classes",
            aligned([heads6, *body]) + ([translated("{hidden} more rows", hidden=hidden)] if hidden > 0 else []),
        )
    compared = [(translated("this prediction"), _number(found.value))]
    compared += [(translated(name), _number(v)) for name, v in found.trivial.items()]
    if found.floor is not None:
        floor = found.floor if abs(found.floor) > 1e-9 else 0.0
        compared.append((translated("the least these targets allow"), _number(floor)))
    yield "Compared with", aligned(compared) if len(compared) > 1 else []


def _culprit_lines(culprit: Culprit | None, lang: Lang) -> list[str]:
    if culprit is None:
        return []
    where = f"[{', '.join(map(str, culprit.entry))}]" if culprit.entry else ""
    shown = culprit.step + where + (f" = {culprit.expression}" if culprit.expression else "")
    what = phrase("{what} of example {example}", lang, what=phrase(culprit.what, lang), example=_flat(culprit.example))
    lines = [f"{what}: {shown} → {culprit.number:g}"]
    for name, given in culprit.inputs.items():
        if given is not None:
            lines.append(f"{name} = " + np.array2string(np.asarray(given), precision=6, threshold=12, edgeitems=4))
    if culprit.examples > 1:
        lines.append(phrase("{count} examples are not finite", lang, count=culprit.examples))
    return lines

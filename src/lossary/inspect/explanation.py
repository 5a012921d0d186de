"""Worked computations: every quantity of a loss with its expression and its numbers, step by step.

Nothing here knows a particular loss. The steps, their names and their expressions are recorded while the definition
runs (`lossary.inspect.tracing`); the reduction is shown as `lossary.evaluate.reduction` computes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lossary.backends.registry import namespace, to_numpy
from lossary.catalogue import Loss, get
from lossary.errors import ParameterError, suggest
from lossary.evaluate import reduction as reductions
from lossary.evaluate.call import Call, prepare, scaled
from lossary.evaluate.reduction import Reduction
from lossary.evaluate.transforms import example_factor, value_and_grad
from lossary.inspect.textbook import textbook
from lossary.inspect.tracing import Run, Step, observed
from lossary.text.formula import readable
from lossary.text.layout import width
from lossary.text.phrases import LANGS, Lang, phrase, quantity, summary


@dataclass(frozen=True, eq=False)
class Section:
    """A part of an explanation: a heading, quantities, sentences."""

    key: str
    title: str
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Explanation:
    """A worked computation. Printing it gives its text; its parts are data.

    `sections` are what is printed; `value` is the reduced value (or one per example) and `gradient` its gradient
    with respect to the loss's `wrt` arrays, exactly as `value_and_grad` gives them. A quantity is found by its name:
    ``explanation["probabilities"]``.
    """

    loss: Loss
    lang: Lang
    sections: tuple[Section, ...]
    value: Any
    gradient: Any

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every quantity in the order of computation: name, expression, value, words."""
        return tuple(q for section in self.sections for step in section.steps for q in step.flat())

    def __getitem__(self, name: str) -> Any:
        found = [step.value for step in self.steps if step.name == name]
        if not found:
            raise KeyError(f"no quantity {name!r}{suggest(name, dict.fromkeys(s.name for s in self.steps))}")
        return found[-1]  # a name assigned twice has its last value, as in the definition

    def __str__(self) -> str:
        lines = [f"{self.loss.name}: {summary(self.loss, self.lang)}"]
        for section in self.sections:
            lines += ["", section.title, *(f"  {line}" for line in _lines(section, self.lang))]
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        parts = [f"**{self.loss.name}**: {summary(self.loss, self.lang)}"]
        for section in self.sections:
            parts.append(f"#### {section.title}")
            if section.key == "formula":
                parts.append(f"$${self.loss.formula}$$")
            else:
                parts.append("```text\n" + "\n".join(_lines(section, self.lang)) + "\n```")
        return "\n\n".join(parts)


def explain(
    loss: Loss | str,
    *arrays: Any,
    weight: Any = None,
    mask: Any = None,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    lang: Lang = "en",
    **params: Any,
) -> Explanation:
    """Return the worked computation of a loss: every quantity with its name, its expression and its numbers.

    Takes what `value_and_grad` takes; `reduction` is the mean by default. `lang` is the language of the words,
    ``"en"`` or ``"zh"``. Raises what a call of the loss raises.

    >>> import lossary
    >>> worked = lossary.explain("huber", [0.5, 3.0], [0.0, 0.0])
    >>> [f"{step.name} = {step.expression}" for step in worked.steps][2:5]
    ['residual = pred - target', 'size = abs(residual)', 'clipped = delta if size >= delta else size']
    >>> worked["residual"], float(worked.value)
    (array([0.5, 3. ]), 1.3125)
    """
    record = get(loss)
    if lang not in LANGS:
        raise ParameterError(f"lang: got {lang!r}, expected one of {', '.join(LANGS)}{suggest(str(lang), LANGS)}")
    # Tensors of any framework are shown as NumPy arrays.
    options = {"weight": to_numpy(weight), "mask": to_numpy(mask)}
    arrays = tuple(map(to_numpy, arrays))
    params = {name: to_numpy(v) for name, v in params.items()}
    call = prepare(record, arrays, params, **options)
    traced, runs = observed(record)
    value, derivatives, coupled = replace(call, loss=traced).pull(1 if record.coupling else record.derivatives)
    if coupled is not None:  # the gradient goes back through the coupling
        factor = example_factor(call, reduction, denominator)
        with call.xp.quiet():
            coupled.send(tuple(scaled(call.xp, derivative, factor, call.inner) for derivative in derivatives[0]))
    result, gradient = value_and_grad(
        record, *arrays, **options, reduction=reduction, denominator=denominator, **params
    )
    values = np.asarray(call.values(value))
    writer = _Writer(call, lang, runs)
    sections = [writer.formula(), writer.inputs(), *writer.computation(values)]
    if reduction != "none":
        sections.append(writer.reduction(values, reduction, denominator, result))
    sections += writer.gradients(derivatives, gradient, reduction, denominator)
    return Explanation(record, lang, tuple(sections), result, gradient)


@dataclass(frozen=True)
class _Writer:
    """Writes the sections from a call, a language, and the runs of the definition and of its coupling."""

    call: Call
    lang: Lang
    runs: Sequence[Run]

    @property
    def loss(self) -> Loss:
        return self.call.loss

    @property
    def definition(self) -> Run:
        return self.runs[-1]

    def section(self, key: str, title: str, steps: Sequence[Step] = (), notes: Sequence[str] = ()) -> Section:
        return Section(key, phrase(title, self.lang), tuple(self.worded(s) for s in steps), tuple(notes))

    def worded(self, step: Step) -> Step:
        words = step.words or quantity(step.name, self.lang) or ""
        return replace(step, words=words, steps=tuple(self.worded(s) for s in step.steps))

    def translated(self, text: str, **numbers: object) -> str:
        return phrase(text, self.lang, **numbers)

    # -- the sections

    def formula(self) -> Section:
        return self.section("formula", "Formula", notes=[readable(self.loss.formula)])

    def inputs(self) -> Section:
        steps = [Step(name, "", given) for name, given in zip(self.loss.arguments, self.call.given, strict=True)]
        steps += [Step(name, "", v) for name, v in self.call.params.items() if hasattr(v, "shape")]
        numbers = [f"{name} = {v}" for name, v in self.call.params.items() if not hasattr(v, "shape") and v is not None]
        return self.section("inputs", "Inputs", steps, [", ".join(numbers)] if numbers else [])

    def computation(self, values: Any) -> Iterator[Section]:
        if self.loss.coupling is not None:
            steps = self.runs[0].steps()
            texts, rows = self.runs[0].outputs[0]
            named = zip(self.loss.row_arguments, texts, rows, strict=True)
            steps += [Step(name, text, value) for name, text, value in named if name != text]
            yield self.section("coupling", "From batch to rows", steps)
        steps = self.definition.steps()
        (expression,) = self.definition.output(0, steps)
        steps, notes = textbook(steps)
        if steps:
            yield self.section("steps", "Step by step", steps, [self.translated(note) for note in notes])
        yield self.section("value", "Value of each example", [Step("value", expression, values)])

    def reduction(self, values: Any, reduction: Reduction, denominator: float | None, result: Any) -> Section:
        weights = self.call.weights
        steps: list[Step] = []
        notes: list[str] = []
        product, total = "value", self.translated("number of examples")
        if weights is not None:
            steps.append(Step("weight", "", weights))
            product, total = "weight * value", self.translated("sum of the weights")
            out = np.argwhere(weights == 0)
            if len(out):
                entries = ", ".join(str(tuple(map(int, i)) if len(i) > 1 else int(i[0])) for i in out[:8] if len(i))
                notes.append(self.translated(_LEFT_OUT, entries=entries + (", ..." if len(out) > 8 else "")))
        summed = np.asarray(reductions.weigh(namespace(values), values, weights)).sum(dtype=np.float64)
        steps.append(Step("sum", f"sum({product})", summed))
        if reduction == "sum":
            return self.section("reduction", "Sum", steps, notes)
        if denominator is not None:
            steps.append(Step("denominator", "", np.asarray(float(denominator))))
            divisor = "denominator"
        elif weights is not None:
            steps.append(Step("sum(weight)", "", weights.sum(dtype=np.float64), total))
            divisor = "sum(weight)"
        else:
            steps.append(Step("N", "", np.asarray(values.size), total))
            divisor = "N"
        steps.append(Step("mean", f"sum / {divisor}", result))
        if not steps[-2].value:
            notes.append(self.translated("The mean of nothing is 0."))
        return self.section("reduction", "Mean", steps, notes)

    def gradients(
        self, derivatives: Sequence[Any], gradient: Any, reduction: Reduction, denominator: float | None
    ) -> Iterator[Section]:
        yield self.derivative("gradient", "Gradient of each example", 1, "∂value/∂{name}", derivatives)
        if reduction != "none":
            prefix = "mean" if reduction == "mean" else "sum"
            share, note = self.share(reduction, denominator)
            parts = gradient if isinstance(gradient, tuple) else (gradient,)
            steps = self.runs[0].steps(1) if self.loss.coupling else []
            steps += [
                Step(f"∂{prefix}/∂{name}", self.pulled_back() or f"{share}∂value/∂{name}", np.asarray(g))
                for name, g in zip(self.loss.wrt, parts, strict=True)
            ]
            title = "Gradient of the mean" if reduction == "mean" else "Gradient of the sum"
            yield self.section(f"gradient of the {prefix}", title, steps, note)
        if len(derivatives) > 1:
            yield self.derivative("hessian", "Diagonal of the Hessian", 2, "∂²value/∂{name}²", derivatives)

    def pulled_back(self) -> str:
        """Return the coupling's own expression for the gradient with respect to the batch; empty without a coupling."""
        return ", ".join(self.runs[0].outputs[1][0]) if self.loss.coupling else ""

    def share(self, reduction: Reduction, denominator: float | None) -> tuple[str, list[str]]:
        """Return the factor of each example's gradient as an expression, and the note that explains it."""
        weights = self.call.weights
        if reduction == "sum" and weights is None:
            return "", []
        if reduction == "sum":
            return "weight * ", [self.translated("Each example enters with its weight.")]
        if denominator is not None:
            numerator = "1" if weights is None else "weight"
            text = "Each example enters with weight / denominator."
            return f"{numerator} / denominator * ", [] if weights is None else [self.translated(text)]
        if weights is not None:
            text = "Each example enters with weight / (sum of the weights)."
            return "weight / sum(weight) * ", [self.translated(text)]
        count = math.prod(self.call.batch)
        return "1/N * ", [self.translated("Each example enters with 1/N = 1/{count}.", count=count)] if count else []

    def derivative(self, key: str, title: str, order: int, name: str, derivatives: Sequence[Any]) -> Section:
        steps = self.definition.steps(order)
        expressions = self.definition.output(order, steps)
        if self.loss.coupling is None:
            found = self.call.restore(derivatives[order - 1], None)
            names: Sequence[str] = self.loss.wrt
        else:
            found, names = derivatives[order - 1], self.loss.row_arguments
        named = zip(names, expressions, found, strict=False)
        steps += [Step(name.format(name=n), expression, np.asarray(v)) for n, expression, v in named]
        return self.section(key, title, steps)


_LEFT_OUT = "Left out of value and gradient, by weight 0, the mask or an ignored label: {entries}."


# --- as text -----------------------------------------------------------------------------------------

_ROWS, _COLUMNS = 6, 10
_WIDTH = 76


def _lines(section: Section, lang: Lang) -> Iterator[str]:
    """Yield the lines of a section: a quantity on one line if its numbers fit, with a table below it if not."""
    for step in section.steps:
        yield from _step_lines(step, lang)
    yield from section.notes


def _step_lines(step: Step, lang: Lang) -> Iterator[str]:
    label = step.name
    if step.words and step.words != quantity(step.name):
        label = f"{step.name}（{step.words}）" if lang == "zh" else f"{step.name} ({step.words})"
    if step.value is None:
        yield f"{step.name}:"
        for inner in step.steps:
            for line in _step_lines(inner, lang):
                yield f"  {line}"
        return
    numbers = list(table(step.value, lang))
    head = f"{label} = {step.expression}" if step.expression else label
    if len(numbers) == 1 and width(head) + len(numbers[0]) < _WIDTH:
        yield f"{head} {'→' if step.expression else '='} {numbers[0]}"
        return
    shape = np.shape(step.value)
    yield f"{head}  {shape}" if len(shape) > 2 else head
    for line in numbers:
        yield f"    {line}"


def table(value: Any, lang: Lang = "en") -> Iterator[str]:
    """Yield an array as lines of aligned numbers; a long one is cut, with a note of how many numbers are left out.

    >>> list(table([[1.0, 0.25], [-0.5, 100.0]]))
    ['[  1.00,   0.25]', '[ -0.50, 100.00]']
    >>> list(table(range(100)))
    ['[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]  90 more numbers']
    """
    array = np.asarray(value)
    if array.ndim == 0:
        yield _format(array.reshape(1), lang, single=True)[0]
        return
    if array.ndim > 1 and array.shape[-1] == 1:  # one number a row reads better along the line
        array = array[..., 0]
    array = array.reshape(-1, array.shape[-1]) if array.size else array.reshape(1, 0)
    hidden_rows, hidden = max(len(array) - _ROWS, 0), max(array.shape[-1] - _COLUMNS, 0)
    shown = array[:_ROWS, :_COLUMNS]
    texts = _format(shown.ravel(), lang)
    wide = max((len(t) for t in texts), default=0)
    columns = shown.shape[-1]
    for row in range(len(shown)):
        cells = [t.rjust(wide) for t in texts[row * columns : (row + 1) * columns]]
        note = "  " + phrase("{hidden} more numbers", lang, hidden=hidden) if hidden and row == 0 else ""
        yield f"[{', '.join(cells + ['...'] * bool(hidden))}]{note}"
    if hidden_rows:
        yield "... " + phrase("{hidden} more rows", lang, hidden=hidden_rows)


def _format(numbers: Any, lang: Lang, single: bool = False) -> list[str]:
    """Return numbers as texts with equal decimals: as many as they need, at most four (six for a single number)."""
    if numbers.dtype.kind == "b":
        return [phrase("yes" if b else "no", lang) for b in numbers]
    if numbers.dtype.kind in "iu":
        return [str(n) for n in numbers]
    finite = np.abs(numbers[np.isfinite(numbers) & (numbers != 0)]).astype(np.float64)
    most = 6 if single else 4
    if finite.size and (finite.max() >= 1e6 or finite.min() < 10.0 ** -(most + 2)):
        return [f"{n:.{most - 1}e}" if n else "0" for n in numbers]
    if finite.size and finite.min() < 10.0 ** (2 - most):
        most += 2
    decimals = max((len(f"{n:.{most}f}".rstrip("0").partition(".")[2]) for n in finite), default=0)
    return [f"{n + 0.0:.{decimals}f}" for n in numbers]

"""Monitoring of a training run: the loss by step, events such as NaN or a plateau, and the batch that caused a NaN.

A `Watch` gets each step and keeps little: the loss and its terms, the norm of the gradient every few steps, and
events. It does not synchronise with a device at each step; numbers on a device are read together, once per interval. A
watch never ends the run that it monitors: what it cannot keep is reported once, as an event and a warning.

>>> import math, lossary
>>> w = lossary.watch()
>>> for step in range(100):
...     w.step(loss=1 / (1 + step) if step != 60 else math.nan, batch={"x": [step]})
>>> [(event.kind, event.step) for event in w.events], w.events[0].batch
([('not finite', 60)], {'x': [60]})
"""

from __future__ import annotations

import io
import math
import time
import warnings
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lossary._files import save_text, write_atomic
from lossary.backends.registry import differentiates, namespace, to_numpy
from lossary.errors import ArgumentError, ParameterError
from lossary.toolkit.sum_result import WeightedSum

_POINTS = 4096  # at most so many points of a series are kept; older steps are thinned out
_KEPT_EVENTS = 200


@dataclass(frozen=True, eq=False)
class Event:
    """An event at a step.

    `kind` is ``"not finite"``, ``"plateau"``, ``"divergence"`` or ``"collapse"``, or ``"skipped"`` for an argument that
    the watch could not keep. `batch` is the batch of a step that was not finite, as it was passed, for replay; `file`
    is the file it was written to.
    """

    kind: str
    step: int
    sentence: str
    batch: Any = None
    file: str | None = None

    def __str__(self) -> str:
        return f"step {self.step}: {self.sentence}"


@dataclass
class _Series:
    """Numbers by step; every second one is dropped when there are more than `_POINTS`."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    every: int = 1
    latest: float = math.nan

    def add(self, step: int, value: float) -> None:
        self.latest = value
        # A number that is not finite belongs to an event and is never dropped.
        if step % self.every and math.isfinite(value):
            return
        self.steps.append(step)
        self.values.append(value)
        if len(self.steps) > _POINTS:
            self.every *= 2
            kept = [
                (s, v)
                for s, v in zip(self.steps, self.values, strict=True)
                if not (s % self.every and math.isfinite(v))
            ]
            if len(kept) > _POINTS // 2 + _KEPT_EVENTS:
                kept = kept[:: len(kept) // (_POINTS // 2) or 1]
            self.steps, self.values = [s for s, _ in kept], [v for _, v in kept]


class Watch:
    """Monitors a training run; made by `lossary.watch`, which documents the settings.

    Call `step` once for each step; leave the ``with`` block, or call `close`, to write the page. It is also a callback
    for `lossary.training.fit`, and for trainers with Lightning's hooks.
    """

    def __init__(
        self, path: str | Path | None, interval: int, gradients: int, plateau: int, keep: int, title: str
    ) -> None:
        self.path, self.title = None if path is None else Path(path), title
        self.interval, self.gradients, self.plateau, self.keep = interval, gradients, plateau, keep
        self.events: list[Event] = []
        self.count = 0
        self.seconds = 0.0
        self._series: dict[str, _Series] = {}
        self._pending: list[tuple[int, str, Any]] = []  # numbers on a device, not read yet
        self._batches: deque[tuple[int, Any]] = deque(maxlen=max(interval, 1))
        self._trend = _Trend(plateau)
        self._idle = 0
        self._bad = -2  # the latest step that was not finite
        self._kept = 0
        self._norm: Any = None
        self._skipped: set[str] = set()
        self._began = time.perf_counter()

    @contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        """Report a failure inside once, and go on with the run; interrupts are not caught."""
        try:
            yield
        except Exception as failure:
            if what not in self._skipped:
                self._skipped.add(what)
                with suppress(Exception):  # the text of an exception may fail, a warning may be an error
                    sentence = f"{what} was left out: {_reason(failure)}"
                    self.events.append(Event("skipped", max(self.count - 1, 0), sentence))
                    warnings.warn(f"lossary.watch: {sentence}", RuntimeWarning, stacklevel=4)

    # -- a training loop

    def step(
        self,
        *,
        loss: Any,
        terms: Mapping[str, Any] | None = None,
        model: Any = None,
        params: Iterable[Any] | None = None,
        grads: Iterable[Any] | None = None,
        grad_norm: Any = None,
        batch: Any = None,
        active: Any = None,
    ) -> None:
        """Record one step, after its backward pass and before the optimiser's step.

        Parameters
        ----------
        loss: the value of the step, a number or a tensor of one element.
        terms: its terms by name.
        model: a module whose parameters' gradients are measured (anything with `parameters`).
        params: instead, the parameters themselves (anything with `grad`).
        grads: instead, the gradients themselves.
        grad_norm: instead, the Euclidean norm of all gradients, such as `clip_grad_norm_` returns.
        batch: the inputs of the step, kept if a number is not finite; it is not copied.
        active: the share of examples, or triplets, with a loss above 0; or their losses.
        """
        began = time.perf_counter()
        number = self.count
        self.count += 1
        if batch is not None:
            self._batches.append((number, batch))
        self._record(number, "loss", lambda: loss)
        with self._guard("terms"):
            for name, value in (terms or {}).items():
                self._record(number, f"term {name}", lambda value=value: value)  # type: ignore[misc]
        if active is not None:
            self._record(number, "active", lambda: _share(active))
        if grad_norm is not None:
            self._record(number, "gradient", lambda: grad_norm)
        elif number % self.gradients == 0:
            self._record(number, "gradient", lambda: _norm_of(_gradients(model, params, grads)), optional=True)
        if self._pending and number - self._pending[0][0] >= self.interval - 1:
            self._read()
        self.seconds += time.perf_counter() - began

    def _record(self, number: int, name: str, get: Callable[[], Any], optional: bool = False) -> None:
        """Record a number: now if reading it is free, at the end of the interval if it is on a device."""
        with self._guard(name):
            value = get()
            value = value.total if isinstance(value, WeightedSum) else value
            if value is None and optional:
                return
            if _on_device(value):
                self._pending.append((number, name, _single(value.detach())))
            else:
                self._take(number, name, _number(value))

    def _read(self) -> None:
        """Read the pending numbers, with one transfer per device."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        with self._guard("numbers on a device"):
            by_device: dict[Any, list[int]] = {}
            for at, (_, _, value) in enumerate(pending):
                by_device.setdefault(value.device, []).append(at)
            read: dict[int, float] = {}
            for entries in by_device.values():
                held = [pending[at][2].reshape(1) for at in entries]
                read |= zip(entries, map(float, to_numpy(namespace(held[0]).concat(held, axis=0))), strict=True)
            for at, (number, name, _) in enumerate(pending):
                self._take(number, name, read[at])

    def _take(self, number: int, name: str, value: float) -> None:
        self._series.setdefault(name, _Series()).add(number, value)
        if not math.isfinite(value):
            self._not_finite(number, name, value)
        elif name == "loss":
            found = self._trend.add(value)
            if found:
                self._add_event(Event(found[0], number, found[1]))
        elif name == "active":
            self._idle = 0 if value > 0 else self._idle + 1
            if self._idle == 50:
                what = "no example has had a loss above 0 for 50 steps: all is learned, or the examples are too easy"
                self._add_event(Event("collapse", number, what))

    def _not_finite(self, number: int, name: str, value: float) -> None:
        """Record that a number is not finite, with the batch of its step, once for consecutive such steps."""
        continues, self._bad = number - self._bad <= 1, number
        if continues:
            return
        batch = next((b for at, b in self._batches if at == number), None)
        what = {"loss": "the loss", "gradient": "the gradient"}.get(name, name)
        sentence = f"{what} is {value:g}"
        file = None
        if batch is not None and self._kept < self.keep:
            self._kept += 1
            file = self._write(number, batch)
        else:
            batch = None
        self._add_event(Event("not finite", number, sentence, batch, file))

    def _write(self, number: int, batch: Any) -> str | None:
        """Write a batch of arrays next to the page, for ``lossary diagnose``; return None if there is no page."""
        if self.path is None:
            return None
        arrays: dict[str, Any] = {}
        with self._guard("the batch"):
            for name, x in _named(batch):
                with self._guard(f"{name} of the batch"):
                    arrays[name] = _array(x)
        with self._guard("the file of the batch"):
            file = self.path.with_name(f"{self.path.stem}-step-{number}.npz")
            if arrays:
                _write_arrays(file, arrays)
                return str(file)
        return None

    def _add_event(self, event: Event) -> None:
        if len(self.events) < _KEPT_EVENTS:
            self.events.append(event)

    # -- reading it

    def history(self, name: str = "loss") -> tuple[list[int], list[float]]:
        """Return the recorded steps and numbers of ``"loss"``, ``"gradient"``, ``"active"`` or ``"term NAME"``."""
        self._read()
        found = self._series.get(name, _Series())
        return list(found.steps), list(found.values)

    @property
    def names(self) -> list[str]:
        """The names of everything that has a history."""
        self._read()
        return list(self._series)

    def to_dict(self) -> dict[str, Any]:
        """Return the run as plain data; numbers that are not finite become text."""
        series = {}
        for name in self.names:
            steps, values = self.history(name)
            series[name] = {"steps": steps, "values": [v if math.isfinite(v) else str(v) for v in values]}
        events = [{"kind": e.kind, "step": e.step, "sentence": e.sentence, "file": e.file} for e in self.events]
        return {"title": self.title, "steps": self.count, "events": events, "series": series}

    def to_html(self) -> str:
        """Return the run as one page that needs nothing else, not even a network. Needs the app extra."""
        from lossary.report.sheet import fill, line

        self._read()
        terms = [name for name in self._series if name.startswith("term ")]
        drawings = []
        for title, names in (("Loss", ["loss"]), ("Terms", terms), ("Gradient", ["gradient"]), ("Active", ["active"])):
            lines = [(f"k{k % 8}", *self.history(name)) for k, name in enumerate(names) if name in self._series]
            if lines:
                drawings.append((title, line(lines, "step", title.lower())))
        spent = time.perf_counter() - self._began
        return fill(
            "run.html.jinja",
            title=self.title,
            events=self.events,
            drawings=drawings,
            terms=[t.removeprefix("term ") for t in terms],
            steps=self.count,
            latest=self._series["loss"].latest if "loss" in self._series else math.nan,
            share=100 * self.seconds / spent if spent else 0.0,
        )

    def save(self, path: str | Path) -> None:
        """Write the page (``.html``) or the data (``.json``), whole or not at all."""
        import json

        save_text(path, json.dumps(self.to_dict()) if Path(path).suffix == ".json" else self.to_html())

    def close(self) -> None:
        """Read the pending numbers, and write the page if there is a path.

        A page that cannot be written is reported as an event; `save` raises instead.
        """
        self._read()
        with self._guard("the page"):
            if self.path is not None:
                self.save(self.path)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the callback of `lossary.training.fit`

    def __call__(self, epoch: Any) -> None:
        """Record an `Epoch`: its loss, validation loss and penalty as terms, and the norm of its gradient."""
        with self._guard("the epoch"):
            terms = {name: v for name in ("validation", "penalty") if (v := getattr(epoch, name, None)) is not None}
            self.step(loss=epoch.loss, terms=terms, grad_norm=epoch.gradient_norm)

    # -- hooks that Lightning's trainers call by name

    state_key = "lossary.watch"

    def on_after_backward(self, trainer: Any, module: Any) -> None:
        """Measure the gradients, if they are measured at this step."""
        if self.count % self.gradients == 0:
            with self._guard("gradient"):
                self._norm = _norm_of(_gradients(module, None, None))

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int = 0) -> None:
        """Record a step: `outputs` is the loss, or a mapping with ``"loss"`` and perhaps its terms."""
        norm, self._norm = self._norm, None
        with self._guard("the outputs"):
            loss, terms = outputs, {}
            if isinstance(outputs, Mapping):
                loss = outputs.get("loss")
                terms = {k: v for k, v in outputs.items() if k != "loss" and _scalar(v)}
            if loss is not None:  # None means that the trainer skips the batch
                self.step(loss=loss, terms=terms, grad_norm=norm, batch=batch)

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """Write the page."""
        self.close()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """Write the page of a run that failed."""
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: a watch does not continue over a checkpoint."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Ignore the state of a checkpoint."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        # A trainer calls every hook of a callback; those that are not defined here do nothing.
        if name.startswith("on_") or name in ("setup", "teardown"):
            return lambda *args, **kwargs: None
        raise AttributeError(f"a watch has no attribute {name!r}")


def watch(
    path: str | Path | None = None,
    *,
    interval: int = 16,
    gradients: int = 10,
    plateau: int = 1000,
    keep: int = 4,
    title: str = "Training run",
) -> Watch:
    """Return a `Watch`: it monitors a training run and writes one page about it that needs no network.

    The page shows the loss and its terms by step, the norm of the gradient, every step at which a number was not
    finite, with its batch, a loss that no longer falls or rises above its start, and triplets that are all inactive.

    Parameters
    ----------
    path: the page that is written at the end (``.html``, or ``.json`` for the data), with batches next to it; None for
        no page.
    interval: number of steps after which pending numbers on a device are read together; the watch synchronises with a
        device no more often. The batches of so many steps are held, in case a number of theirs is not finite.
    gradients: number of steps after which the norm of the gradient is measured.
    plateau: number of steps without progress that make a plateau.
    keep: how many batches of steps that were not finite are kept, and written as ``.npz`` if there is a path. Such a
        file is an argument of ``lossary diagnose LOSS FILE``.
    title: the heading of the page.

    >>> import numpy as np, lossary
    >>> from lossary.training import fit, mlp
    >>> X = np.linspace(-1, 1, 20)[:, None]
    >>> w = lossary.watch()
    >>> history = fit(mlp(1, 4, 1), "mse", X, X[:, 0] ** 2, epochs=5, callback=w)
    >>> w.count, w.names
    (5, ['loss', 'term penalty', 'gradient'])
    """
    for name, given in (("interval", interval), ("gradients", gradients), ("plateau", plateau)):
        if not (isinstance(given, int) and given >= 1):
            raise ParameterError(f"{name}: got {given!r}, expected an integer >= 1, in steps")
    if not (isinstance(keep, int) and keep >= 0):
        raise ParameterError(f"keep: got {keep!r}, expected an integer >= 0")
    return Watch(path, interval, gradients, plateau, keep, title)


# --- the trend of a loss --------------------------------------------------------------------------------------------


class _Trend:
    """Detects, by a running mean, that a loss no longer falls or diverges; once for each plateau and divergence."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._mean = self._first = self._best = math.nan
        self._count = self._since = self._above = 0
        self._reported_plateau = self._reported_divergence = False

    def add(self, value: float) -> tuple[str, str] | None:
        """Take the next loss; return the kind of an event and its sentence, or None."""
        self._count += 1
        memory = min(self._count, 50)
        self._mean = value if self._count == 1 else self._mean + (value - self._mean) / memory
        if self._count == 20:
            self._first = self._best = self._mean
        if self._count <= 20:
            return None
        gained = self._first - self._best
        if self._mean < self._best - max(1e-3 * abs(self._best), 1e-2 * gained / max(self._patience, 1)):
            self._best, self._since = self._mean, 0
            self._reported_plateau = self._reported_divergence = False
        else:
            self._since += 1
        return self._divergence() or self._stagnation()

    def _divergence(self) -> tuple[str, str] | None:
        reach = self._first + 0.5 * abs(self._first) + 1e-9
        self._above = self._above + 1 if self._mean > reach else 0
        if self._above != 20 or self._reported_divergence:
            return None
        self._reported_divergence = True
        return "divergence", (
            f"the loss has risen to {self._mean:.4g} (running mean), above its start of {self._first:.4g}; its "
            f"best was {self._best:.4g}. Lower the learning rate, or inspect the last batches"
        )

    def _stagnation(self) -> tuple[str, str] | None:
        if self._since < self._patience or self._reported_plateau:
            return None
        self._reported_plateau = True
        return "plateau", (
            f"the loss has not fallen below {self._best:.4g} (running mean) for {self._patience} steps. "
            "lossary.diagnose compares it with trivial predictors and with the least that its targets allow"
        )


# --- the arguments of a step ----------------------------------------------------------------------------------------


def _reason(failure: Exception) -> str:
    """Return the first line of an exception's text, with its type unless it is an error of this package."""
    text = str(failure).split("\n", 1)[0] or "no reason given"
    return text if isinstance(failure, ArgumentError) else f"{type(failure).__name__}: {text}"


def _on_device(value: Any) -> bool:
    """Whether reading a number would wait for a device."""
    return differentiates(value) and namespace(value).countable(value) < 0


def _single(value: Any) -> Any:
    """Return an array of one number as it is; raise `ArgumentError` for any other, without reading it."""
    if math.prod(value.shape) != 1:
        raise ArgumentError(f"got shape {tuple(value.shape)}, expected one number, such as the mean")
    if "complex" in str(value.dtype):
        raise ArgumentError("got a complex number, expected a real one")
    return value


def _number(value: Any) -> float:
    """Return an argument as a number, NaN and infinities included."""
    if value is None:
        raise ArgumentError("got None, expected a number")
    read = to_numpy(value)
    if hasattr(read, "shape") and hasattr(read, "dtype"):
        read = np.asarray(_single(read)).reshape(())[()]
    if isinstance(read, (complex, str, bytes)):
        raise ArgumentError(f"got {type(read).__name__}, expected a real number")
    return float(read)


def _scalar(value: Any) -> bool:
    return isinstance(value, (int, float)) or (hasattr(value, "shape") and math.prod(value.shape) == 1)


def _share(active: Any) -> Any:
    """Return the share of losses above 0, or a share as it is."""
    size = math.prod(getattr(active, "shape", ()))
    return (active > 0).sum() / size if size > 1 else active


def _gradients(model: Any, params: Iterable[Any] | None, grads: Iterable[Any] | None) -> list[Any]:
    """Return the gradients that exist."""
    if grads is not None:
        return [g for g in grads if g is not None]
    if params is None and model is not None:
        parameters = getattr(model, "parameters", None)
        if parameters is None:
            raise ArgumentError(f"model: got {type(model).__name__}, expected something with parameters")
        params = parameters() if callable(parameters) else parameters
    return [g for p in params or () if (g := getattr(p, "grad", None)) is not None]


def _norm_of(grads: list[Any]) -> Any:
    """Return the Euclidean norm of all gradients together, on their device; None if there are none."""
    return namespace(*grads).total_norm(grads) if grads else None


def _named(batch: Any) -> Iterator[tuple[str, Any]]:
    """Yield the arrays of a batch with unique names: its keys, or numbers."""
    if isinstance(batch, Mapping):
        known: set[str] = set()
        for at, (key, x) in enumerate(batch.items()):
            name = str(key) if str(key) not in known else f"{key}_{at}"
            known.add(name)
            yield name, x
    elif isinstance(batch, (list, tuple)):
        yield from ((f"array_{at}", x) for at, x in enumerate(batch))
    else:
        yield "array_0", batch


def _array(x: Any) -> Any:
    """Return a tensor, an array or a list of numbers as an array that can be written."""
    array = np.asarray(to_numpy(x))
    if array.dtype.kind not in "biufc":
        raise ArgumentError(f"got {type(x).__name__} of type {array.dtype}, expected numbers")
    return array


def _write_arrays(file: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays as `numpy.savez` does, under any names, completely or not at all."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    write_atomic(file, content.getvalue())

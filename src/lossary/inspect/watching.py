"""Following a training run: what a loss did step by step, what went wrong, and the batch with which it went wrong.

A `Watch` is told of each step and keeps little: numbers of the loss and its terms, the length of the gradient every so
often, and what happened. Numbers on a device are not waited for; they are read together, once in an interval. A watch
never ends the run that it follows: what it cannot keep is reported once, as an event and a warning, and left out.

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

_POINTS = 4096  # of a series that is drawn; older steps are thinned out
_KEPT_EVENTS = 200


@dataclass(frozen=True, eq=False)
class Event:
    """Something that happened at a step.

    `kind` is ``"not finite"``, ``"plateau"``, ``"divergence"`` or ``"collapse"``, or ``"skipped"`` for what the watch
    was given and could not keep. `batch` is the batch of a step that was not finite, as it was given, for replay;
    `file` is where it was written.
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
    """Numbers by step, thinned to at most so many: every second one goes when there are too many."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    every: int = 1
    latest: float = math.nan

    def add(self, step: int, value: float) -> None:
        self.latest = value
        # What is not finite is an event, and stays however thin the series gets.
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
    """Follows a training run; made by `lossary.watch`, which says what its settings are.

    Call `step` once for each step; leave the ``with`` block, or call `close`, to write the page. As a callback it is
    called by `lossary.training.fit` with each epoch, and by trainers of Lightning's kind through their hooks.
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
        self._waiting: list[tuple[int, str, Any]] = []  # numbers on a device, not read yet
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
        """Let no failure inside end the run: say once what is left out, and go on. An interrupt passes."""
        try:
            yield
        except Exception as failure:
            if what not in self._skipped:
                self._skipped.add(what)
                with suppress(Exception):  # an exception may fail to say what it is, a warning may be made an error
                    sentence = f"{what} was left out: {_reason(failure)}"
                    self.events.append(Event("skipped", max(self.count - 1, 0), sentence))
                    warnings.warn(f"lossary.watch: {sentence}", RuntimeWarning, stacklevel=4)

    # -- a plain loop

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
        """Take note of one step, after its backward pass and before the optimiser moves anything.

        Parameters
        ----------
        loss: the value of the step, a number or a tensor of one element.
        terms: its terms by name.
        model: a module whose parameters' gradients are measured (anything with `parameters`).
        params: instead, the parameters themselves (anything with `grad`).
        grads: instead, the gradients themselves.
        grad_norm: instead, the Euclidean length of the whole gradient, such as `clip_grad_norm_` returns.
        batch: what went into the step, kept where a number is not finite; it is not copied.
        active: the share of examples, or triplets, that still have a loss above 0; or their losses.
        """
        began = time.perf_counter()
        number = self.count
        self.count += 1
        if batch is not None:
            self._batches.append((number, batch))
        self._note(number, "loss", lambda: loss)
        with self._guard("terms"):
            for name, value in (terms or {}).items():
                self._note(number, f"term {name}", lambda value=value: value)  # type: ignore[misc]
        if active is not None:
            self._note(number, "active", lambda: _share(active))
        if grad_norm is not None:
            self._note(number, "gradient", lambda: grad_norm)
        elif number % self.gradients == 0:
            self._note(number, "gradient", lambda: _length(_gradients(model, params, grads)), optional=True)
        if self._waiting and number - self._waiting[0][0] >= self.interval - 1:
            self._read()
        self.seconds += time.perf_counter() - began

    def _note(self, number: int, name: str, given: Callable[[], Any], optional: bool = False) -> None:
        """Take a number now where that is free, later where it is on a device."""
        with self._guard(name):
            value = given()
            value = value.total if isinstance(value, WeightedSum) else value
            if value is None and optional:
                return
            if _on_device(value):
                self._waiting.append((number, name, _single(value.detach())))
            else:
                self._take(number, name, _number(value))

    def _read(self) -> None:
        """Read what is waiting on a device, in one transfer."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        with self._guard("numbers on a device"):
            by_device: dict[Any, list[int]] = {}
            for at, (_, _, value) in enumerate(waiting):
                by_device.setdefault(value.device, []).append(at)
            read: dict[int, float] = {}
            for entries in by_device.values():
                held = [waiting[at][2].reshape(1) for at in entries]
                read |= zip(entries, map(float, to_numpy(namespace(held[0]).join_rows(held))), strict=True)
            for at, (number, name, _) in enumerate(waiting):
                self._take(number, name, read[at])

    def _take(self, number: int, name: str, value: float) -> None:
        self._series.setdefault(name, _Series()).add(number, value)
        if not math.isfinite(value):
            self._lost(number, name, value)
        elif name == "loss":
            said = self._trend.add(value)
            if said:
                self._happened(Event(said[0], number, said[1]))
        elif name == "active":
            self._idle = 0 if value > 0 else self._idle + 1
            if self._idle == 50:
                what = "no example has had a loss above 0 for 50 steps: all is learned, or the examples are too easy"
                self._happened(Event("collapse", number, what))

    def _lost(self, number: int, name: str, value: float) -> None:
        """A number is not finite: keep the batch of its step, once for each run of bad steps."""
        goes_on, self._bad = number - self._bad <= 1, number
        if goes_on:
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
        self._happened(Event("not finite", number, sentence, batch, file))

    def _write(self, number: int, batch: Any) -> str | None:
        """Write a batch of arrays beside the page, ready for ``lossary diagnose``; None where there is no page."""
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

    def _happened(self, event: Event) -> None:
        if len(self.events) < _KEPT_EVENTS:
            self.events.append(event)

    # -- reading it

    def history(self, name: str = "loss") -> tuple[list[int], list[float]]:
        """Return steps and numbers of ``"loss"``, ``"gradient"``, ``"active"`` or ``"term NAME"``, as they are kept."""
        self._read()
        found = self._series.get(name, _Series())
        return list(found.steps), list(found.values)

    @property
    def names(self) -> list[str]:
        """The names of everything that has a history."""
        self._read()
        return list(self._series)

    def to_dict(self) -> dict[str, Any]:
        """Return the run as plain data; numbers that are not finite are given as text."""
        told = {}
        for name in self.names:
            steps, values = self.history(name)
            told[name] = {"steps": steps, "values": [v if math.isfinite(v) else str(v) for v in values]}
        happened = [{"kind": e.kind, "step": e.step, "sentence": e.sentence, "file": e.file} for e in self.events]
        return {"title": self.title, "steps": self.count, "events": happened, "series": told}

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
        """Read what is still on a device, and write the page if there is a path.

        A page that cannot be written is reported as everything else is; `save` raises instead.
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
        """Take note of an `Epoch`: its loss, validation loss and penalty as terms, and the length of its gradient."""
        with self._guard("the epoch"):
            terms = {name: v for name in ("validation", "penalty") if (v := getattr(epoch, name, None)) is not None}
            self.step(loss=epoch.loss, terms=terms, grad_norm=epoch.gradient_norm)

    # -- hooks as Lightning's trainers call them: by name, whatever the class

    state_key = "lossary.watch"

    def on_after_backward(self, trainer: Any, module: Any) -> None:
        """Measure the gradients, where this step is one at which they are measured."""
        if self.count % self.gradients == 0:
            with self._guard("gradient"):
                self._norm = _length(_gradients(module, None, None))

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int = 0) -> None:
        """Take note of a step: `outputs` is the loss, or a mapping with ``"loss"`` and perhaps its terms."""
        norm, self._norm = self._norm, None
        with self._guard("the outputs"):
            loss, terms = outputs, {}
            if isinstance(outputs, Mapping):
                loss = outputs.get("loss")
                terms = {k: v for k, v in outputs.items() if k != "loss" and _scalar(v)}
            if loss is not None:  # the trainer skips a batch so
                self.step(loss=loss, terms=terms, grad_norm=norm, batch=batch)

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """Write the page."""
        self.close()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """Write the page: a run that breaks off is the one to look at."""
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """Nothing to carry on with."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to carry on with."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        # A trainer calls every hook of a callback; those that say nothing here do nothing.
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
    """Return a `Watch`: it follows a training run and writes one page about it that needs no network.

    Told are the loss and its terms by step, the length of the gradient, every step at which a number was not finite,
    with its batch, a loss that no longer falls or rises beyond where it began, and triplets that are all inactive.

    Parameters
    ----------
    path: the page that is written at the end (``.html``, or ``.json`` for the data), batches beside it; None for none.
    interval: numbers on a device are read together, once in so many steps; never more often is a device waited for. The
        batches of so many steps are held on to, for the one among them that went wrong.
    gradients: the length of the gradient is measured once in so many steps.
    plateau: steps without progress after which a plateau is told.
    keep: how many batches of steps that were not finite are kept, and written as ``.npz`` where there is a path. Such a
        file goes into ``lossary diagnose LOSS FILE``.
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
            raise ParameterError(f"{name}: got {given!r}, expected a whole number of steps >= 1")
    if not (isinstance(keep, int) and keep >= 0):
        raise ParameterError(f"keep: got {keep!r}, expected a whole number of batches >= 0")
    return Watch(path, interval, gradients, plateau, keep, title)


# --- the trend of a loss --------------------------------------------------------------------------------------------


class _Trend:
    """Whether a loss still falls, by a running mean; told once for each plateau and each divergence."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._mean = self._first = self._best = math.nan
        self._count = self._since = self._above = 0
        self._told_plateau = self._told_divergence = False

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
            self._told_plateau = self._told_divergence = False
        else:
            self._since += 1
        return self._diverging() or self._resting()

    def _diverging(self) -> tuple[str, str] | None:
        reach = self._first + 0.5 * abs(self._first) + 1e-9
        self._above = self._above + 1 if self._mean > reach else 0
        if self._above != 20 or self._told_divergence:
            return None
        self._told_divergence = True
        return "divergence", (
            f"the loss has risen to {self._mean:.4g} (running mean), beyond the {self._first:.4g} it began with; its "
            f"best was {self._best:.4g}. Lower the learning rate, or look at the last batches"
        )

    def _resting(self) -> tuple[str, str] | None:
        if self._since < self._patience or self._told_plateau:
            return None
        self._told_plateau = True
        return "plateau", (
            f"the loss has not fallen below {self._best:.4g} (running mean) for {self._patience} steps. Compare it "
            "with what trivial predictors score and with the least its targets allow: lossary.diagnose tells both"
        )


# --- what a step is given -------------------------------------------------------------------------------------------


def _reason(failure: Exception) -> str:
    """Return the first line of what an exception says, and its kind where it is not one of ours."""
    text = str(failure).split("\n", 1)[0] or "no reason given"
    return text if isinstance(failure, ArgumentError) else f"{type(failure).__name__}: {text}"


def _on_device(value: Any) -> bool:
    """Whether reading a number would wait for a device."""
    return differentiates(value) and namespace(value).countable(value) < 0


def _single(value: Any) -> Any:
    """Return an array of one number as it is; what is no such array is refused, without reading it."""
    if math.prod(value.shape) != 1:
        raise ArgumentError(f"got shape {tuple(value.shape)}, expected one number, such as the mean")
    if "complex" in str(value.dtype):
        raise ArgumentError("got a complex number, expected a real one")
    return value


def _number(value: Any) -> float:
    """Return what was given as a number, NaN and infinities included."""
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
    """Return the share of losses above 0, or the share that was given."""
    size = math.prod(getattr(active, "shape", ()))
    return (active > 0).sum() / size if size > 1 else active


def _gradients(model: Any, params: Iterable[Any] | None, grads: Iterable[Any] | None) -> list[Any]:
    """Return the gradients there are."""
    if grads is not None:
        return [g for g in grads if g is not None]
    if params is None and model is not None:
        held = getattr(model, "parameters", None)
        if held is None:
            raise ArgumentError(f"model: got {type(model).__name__}, expected something with parameters")
        params = held() if callable(held) else held
    return [g for p in params or () if (g := getattr(p, "grad", None)) is not None]


def _length(grads: list[Any]) -> Any:
    """Return the Euclidean length of all gradients together, on the device they are on; None where there are none."""
    return namespace(*grads).total_norm(grads) if grads else None


def _named(batch: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a batch consists of, with names: its own, or their order. No name comes twice."""
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
    """Write arrays as `numpy.savez` does, whatever their names, whole or not at all."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    write_atomic(file, content.getvalue())

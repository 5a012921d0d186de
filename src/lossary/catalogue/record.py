"""The record of a loss: its definition and its facts, and the callable object that users see.

A loss is one generator, ``define(xp, *arrays, **params)``, that yields its value, then its gradient with respect to
the arrays named in `wrt`, then the diagonal of its Hessian. Checks, tests, documents and command-line pages are derived
from the facts that the record holds beside it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from lossary.catalogue import links
from lossary.catalogue.branches import branching
from lossary.catalogue.domains import Domain, admits, domain_in_words, parse_domain
from lossary.catalogue.signatures import Signature, parse_signatures, shape_in_words
from lossary.catalogue.tasks import TASKS
from lossary.catalogue.vocabulary import ELICITS
from lossary.errors import UnknownLossError

if TYPE_CHECKING:
    from lossary.pairs.protocol import Coupling

Definition = Callable[..., Iterator[Any]]

# What must hold between the arrays of one example: ``condition(xp, *arrays, **params)``, called as the definition is,
# returns whether it does, and numbers to tell of an example where it does not.
Condition = Callable[..., tuple[Any, Mapping[str, Any]]]


class Engine(Protocol):
    """What evaluates losses: `lossary.evaluate.transforms`, which the package hands to records when it is imported."""

    def values(self, loss: Loss, given: tuple[Any, ...], params: Mapping[str, Any]) -> Any:
        """Return one value per example."""

    def value(self, loss: Loss, *arrays: Any, **options: Any) -> Any:
        """Return the value under weights, a mask and a reduction."""

    def value_and_grad(self, loss: Loss, *arrays: Any, **options: Any) -> tuple[Any, Any]:
        """Return the value and the gradient with respect to `wrt`."""

    def grad_hess(self, loss: Loss, *arrays: Any, **options: Any) -> tuple[Any, Any]:
        """Return the gradient and the diagonal of the Hessian from one pass."""

    def hess(self, loss: Loss, *arrays: Any, **options: Any) -> Any:
        """Return the diagonal of the Hessian."""

    def bind(self, loss: Loss, params: Mapping[str, Any]) -> Loss:
        """Return the loss with some parameters fixed."""

    def initial_score(self, loss: Loss, target: Any, **options: Any) -> Any:
        """Return the constant prediction of the least mean."""


@dataclass(frozen=True, eq=False, repr=False)
class Loss:
    """One loss of the catalogue: its mathematics and its facts.

    Calling it gives **one value per example**, never a reduced number: see `lossary.mean` for that.

    >>> import lossary
    >>> lossary.huber([0.5, 3.0], [0.0, 0.0], delta=1.0)
    array([0.125, 2.5  ])
    """

    name: str
    define: Definition
    family: str
    signature: str
    input: str
    target: str | None
    formula: str
    references: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    likelihood: str = ""
    domains: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    special: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    target_units: tuple[str, ...] = ()
    kernel: bool = True
    wrt: tuple[str, ...] = ()
    derivatives: int = 2
    properties: frozenset[str] = frozenset()
    elicits: str = ""
    unbounded_form: str = ""
    coupling: Coupling | None = None
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    bound: Mapping[str, Any] = field(default_factory=dict)

    # What evaluates losses, set once by the package.
    engine: ClassVar[Engine]

    # What `recorded` finds the loss by, whatever parameters are bound; "" of a record that `dress` has not seen.
    key: ClassVar[str] = ""

    # -- evaluation ------------------------------------------------------------------------------------------------

    def __call__(self, *arrays: Any, **params: Any) -> Any:
        """Return one value per example, in the framework of the inputs.

        Raises `ShapeError`, `DomainError`, `ParameterError` or `ArgumentError`, each naming the argument.
        """
        return self.engine.values(self, arrays, params)

    def value(self, *arrays: Any, **options: Any) -> Any:
        """Return the value under weights, a mask and a reduction; see `lossary.value_and_grad` for the options."""
        return self.engine.value(self, *arrays, **options)

    def value_and_grad(self, *arrays: Any, **options: Any) -> tuple[Any, Any]:
        """Return the value and the gradient with respect to `wrt`; see `lossary.value_and_grad` for the options."""
        return self.engine.value_and_grad(self, *arrays, **options)

    def grad(self, *arrays: Any, **options: Any) -> Any:
        """Return the gradient only. Options as in `value_and_grad`."""
        return self.engine.value_and_grad(self, *arrays, **options)[1]

    def grad_hess(self, *arrays: Any, **options: Any) -> tuple[Any, Any]:
        """Return the gradient and the diagonal of the Hessian from one pass. Options as in `value_and_grad`.

        >>> import lossary
        >>> grad, hess = lossary.huber.grad_hess([0.5, 3.0], [0.0, 0.0])
        >>> grad, hess
        (array([0.5, 1. ]), array([1., 0.]))
        """
        return self.engine.grad_hess(self, *arrays, **options)

    def hess(self, *arrays: Any, **options: Any) -> Any:
        """Return the diagonal of the Hessian with respect to `wrt`. Options as in `value_and_grad`.

        For a loss on rows these are the second derivatives in each entry of the row, not the full matrix.
        """
        return self.engine.hess(self, *arrays, **options)

    def bind(self, **params: Any) -> Loss:
        """Return the same loss with some parameters fixed.

        >>> import lossary
        >>> lossary.huber.bind(delta=2.0)([3.0], [0.0])
        array([4.])
        """
        return self.engine.bind(self, params)

    def initial_score(
        self, target: Any, weight: Any = None, mask: Any = None, classes: int | None = None, **params: Any
    ) -> Any:
        """Return the constant prediction that minimises the mean of the loss over some targets.

        It is what a booster starts from, and the bias of the last layer of a network that knows nothing yet: a number
        for a pointwise loss, a row of numbers for a loss on rows of classes, in double precision and in the convention
        of the loss's input (a logit, a log-rate, a probability ...). It is finite: where the best one would not be, as
        for a class that never occurs, its probability is taken to be 2.2e-16.

        The mean, median or quantile of the targets gives it where the loss `elicits` one of them, and a search where it
        does not, or where a parameter such as a class weight moves it. Where every prediction between two is as good,
        it is halfway. `classes` is the number of classes of labels given as indices, by default what the labels show.

        >>> import math
        >>> import lossary
        >>> lossary.poisson_nll.initial_score([0, 3, 6]) == math.log(3)
        True
        >>> lossary.absolute_error.initial_score([1.0, 2.0, 30.0], weight=[1, 1, 5])
        30.0
        >>> lossary.softmax_cross_entropy.initial_score([0, 0, 1, 2]).round(3)
        array([-0.693, -1.386, -1.386])
        """
        return self.engine.initial_score(self, target, weight=weight, mask=mask, classes=classes, **params)

    # -- facts that follow from the others --------------------------------------------------------------------------

    @cached_property
    def unbound(self) -> Loss:
        """The loss without the parameters that are bound: the same object for all that were made of it."""
        if self.key:
            return recorded(self.key)
        return replace(self, bound={}) if self.bound else self

    @property
    def in_catalogue(self) -> bool:
        """Whether this is the loss that the catalogue has under its name, and not another one that is called so."""
        return ENTERED.get(self.name) is self.unbound

    @cached_property
    def signatures(self) -> tuple[Signature, ...]:
        """The alternatives of the signature of one example, as the definition sees it."""
        return parse_signatures(self.signature)

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """Parameters with their default values."""
        own = inspect.signature(self.define).parameters.values()
        found = {p.name: p.default for p in own if p.kind is p.KEYWORD_ONLY}
        if "ignore_index" in self.parameters:
            found["ignore_index"] = None  # handled where masks are, for every loss on class labels alike
        return (dict(self.coupling.defaults) | found) if self.coupling else found

    @cached_property
    def row_arguments(self) -> tuple[str, ...]:
        """Names of the arrays the definition takes."""
        own = list(inspect.signature(self.define).parameters.values())[1:]
        return tuple(p.name for p in own if p.kind is not p.KEYWORD_ONLY)

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arrays the caller passes, in order."""
        return self.coupling.arguments if self.coupling else self.row_arguments

    def domain(self, argument: str, alternative: int = 0) -> Domain:
        """Return the domain of an array argument in one of the signature's alternatives."""
        return self.argument_domains[alternative][self.arguments.index(argument)]

    def convention(self, argument: str, alternative: int = 0) -> str:
        """Return the input convention of an array argument, or its domain where the record gives that."""
        if self.coupling:
            return self.coupling.domains[argument]
        targets = [text.strip() for text in (self.target or "").split("|")]
        if argument in self.domains:
            return self.domains[argument]
        if self.target and argument in ("target", "labels"):
            return targets[min(alternative, len(targets) - 1)]
        return self.input

    @cached_property
    def optional(self) -> tuple[str, ...]:
        """Names of the arrays that may be left out: lengths, where every example is as long as the array."""
        domains = self.argument_domains[0]
        return tuple(name for name, allowed in zip(self.arguments, domains, strict=True) if allowed.kind == "length")

    @cached_property
    def argument_domains(self) -> tuple[tuple[Domain, ...], ...]:
        """The domain of every array argument, for each alternative of the signature."""
        if self.coupling:
            return (tuple(admits(c, ()) for c in self.coupling.domains.values()),)
        found = []
        for number, signature in enumerate(self.signatures):
            conventions = [self.convention(name, number) for name in self.arguments]
            found.append(tuple(map(admits, conventions, signature.inputs)))
        return tuple(found)

    @cached_property
    def parameter_domains(self) -> Mapping[str, tuple[Domain, bool]]:
        """The range of every parameter, and whether it is one number per class."""
        return {
            name: (parse_domain(text.removeprefix("(c) ")), text.startswith("(c) "))
            for name, text in self.parameters.items()
        }

    @cached_property
    def corners(self) -> Mapping[str, tuple[Any, ...]]:
        """The values of each parameter at which its formula may change.

        These are the special values that the record names, the ends of a range that belong to it, and every member of a
        finite one.

        >>> import lossary
        >>> lossary.sigmoid_focal.corners["gamma"], lossary.multi_margin.corners["p"]
        ((0.0, 1.0, 2.0), (1.0, 2.0))
        """
        found: dict[str, tuple[Any, ...]] = {}
        for name, (domain, per_class) in self.parameter_domains.items():
            if per_class:
                continue
            ends = [end for end, belongs in zip((domain.low, domain.high), domain.closed, strict=True) if belongs]
            members: Mapping[str, tuple[Any, ...]] = {
                "set": domain.values,
                "one of": domain.choices,
                "flag": (False, True),
                "interval": tuple(sorted({*ends, *map(float, self.special.get(name, ()))})),
                "integer": self.special.get(name, ()),
                "count": self.special.get(name, ()),
            }
            found[name] = members.get(domain.kind, ())
        return found

    @cached_property
    def branching(self) -> frozenset[str]:
        """The parameters by which the definition chooses its formula: each is one number for the whole call."""
        return branching(self) if self.special else frozenset()

    def range_text(self, name: str) -> str:
        """Return the range of a parameter as documents show it, with its special values."""
        return self.parameters.get(name, "") + self._special_text(name)

    def _special_text(self, name: str) -> str:
        values = ", ".join(f"{value:g}" for value in self.special.get(name, ()))
        return f"; special: {values}" if values else ""

    @cached_property
    def link(self) -> links.Link | None:
        """The link between the input and the mean of the target; None where the input says nothing of a mean.

        ``loss.link.inverse(xp, prediction)`` is the prediction in the units of the target (for labels, the probability
        of a class); ``loss.link.link(xp, mean)`` is the input that predicts that mean.

        >>> import lossary
        >>> lossary.binary_cross_entropy_with_logits.link, lossary.poisson_nll.link, lossary.hinge.link
        (<link logit, inverse sigmoid>, <link log, inverse exp>, None)
        """
        if self.coupling is not None or self.optional or len(self.arguments) < 2:
            return None
        target = self.argument_domains[0][1] if self.target else None
        return links.mean_link(self.input, self.signatures[0].inputs[0], target, self.input == self.target)

    @cached_property
    def activation(self) -> links.Link:
        """The link whose inverse makes the loss's input of unbounded outputs, as the last layer of a model does.

        >>> import lossary
        >>> lossary.nll.activation.inverse_name, lossary.binary_cross_entropy.activation.inverse_name
        ('log_softmax', 'sigmoid')
        """
        return links.activation(self.domain(self.arguments[0]))

    def undecided(self, classes: int = 2) -> float | None:
        """Return the input that predicts every class alike; None for a loss whose input says nothing of classes."""
        return links.undecided(self.input, classes)

    @property
    def constant_hessian(self) -> bool:
        """Whether the diagonal of the Hessian is one number for all examples, whatever the prediction.

        A booster computes it once then. It may be 0: see `degenerate_hessian`.
        """
        return bool(self.properties & {"constant curvature", "piecewise linear"})

    @property
    def degenerate_hessian(self) -> bool:
        """Whether the diagonal of the Hessian is 0 or negative on part of the domain, at default parameters.

        A Newton step ``-gradient / hessian`` is of no use there: put a positive number in place of the Hessian, as
        scikit-learn does where its losses say `approx_hessian`.
        """
        flat = {"piecewise linear", "partly linear"}
        return self.derivatives < 2 or "convex" not in self.properties or bool(self.properties & flat)

    @property
    def doc(self) -> str:
        """The definition's docstring, dedented."""
        return inspect.getdoc(self.define) or ""

    @property
    def summary(self) -> str:
        """The first sentence of the docstring."""
        return self.doc.split("\n", 1)[0]

    @cached_property
    def arrays_in_words(self) -> tuple[str, ...]:
        """One line for each array: its shape, what it holds, and whether the loss is differentiated in it."""
        signatures = self.coupling.signatures if self.coupling else self.signatures
        lines = []
        for at, name in enumerate(self.arguments):
            alternatives = {
                f"{shape_in_words(signature.inputs[at], not self.coupling)} of "
                f"{domain_in_words(self.argument_domains[number][at])}": None
                for number, signature in enumerate(signatures)
            }
            lines.append(f"{name}: {', or '.join(alternatives)}{'; differentiated' if name in self.wrt else ''}.")
        return tuple(lines)

    @cached_property
    def parameters_in_words(self) -> tuple[str, ...]:
        """One line for each parameter: its range and its default."""
        lines = []
        for name, default in self.defaults.items():
            domain, per_class = self.parameter_domains[name]
            if name == "ignore_index":
                told = "examples with this label are left out of values and means"
            else:
                told = f"(C,) of {domain_in_words(domain)}" if per_class else domain_in_words(domain, one=True)
            told += self._special_text(name)
            if name in self.target_units:
                told += ", in the units of the target"
            lines.append(f"{name}: {told}; {self.bound.get(name, default)!r} if not given.")
        return tuple(lines)

    @cached_property
    def model_facts_in_words(self) -> Mapping[str, str]:
        """What a booster or the last layer of a network asks of the loss, by title.

        >>> import lossary
        >>> dict(lossary.poisson_nll.model_facts_in_words)
        {'Link': 'log, inverse exp', 'Elicits': 'the mean of the target'}
        """
        hessian = ""
        if self.derivatives > 1 and self.constant_hessian:
            hessian = "0" if self.degenerate_hessian else "constant"
        elif self.derivatives > 1 and self.degenerate_hessian:
            hessian = "0 in places" if "convex" in self.properties else "0 or negative in places"
        known = {
            "Link": str(self.link) if self.link else "",
            "Elicits": ELICITS[self.elicits] if self.elicits else "",
            "Diagonal of the Hessian": hessian,
            "Unbounded form": self.unbounded_form,
        }
        return {title: text for title, text in known.items() if text}

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose data the loss can be trained on, read off its signature, input and target."""
        return tuple(task for task, suits in TASKS.items() if suits(self))

    def __repr__(self) -> str:
        fixed = ", ".join(f"{k}={v!r}" for k, v in self.bound.items())
        return f"<loss {self.name}({', '.join(self.arguments)}{', ' + fixed if fixed else ''})>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A loss is its name: pickling the generator function itself would tie the pickle to a module path.
        return (_restore, (self.name, dict(self.bound)))


def _restore(name: str, bound: Mapping[str, Any]) -> Loss:
    found = ENTERED.get(name)
    if found is None:
        raise UnknownLossError(f'unknown loss "{name}": a pickle names it, and the catalogue has none of that name')
    return dress(replace(found, bound=bound)) if bound else found


# The records of the catalogue by name; `lossary.catalogue.registry` enters them.
ENTERED: dict[str, Loss] = {}


def dress(record: Loss) -> Loss:
    """Give a record the docstring and signature that `help`, notebooks and editors look for."""
    left_out = {name: None if name in record.optional else inspect.Parameter.empty for name in record.arguments}
    named = inspect.Parameter.POSITIONAL_OR_KEYWORD
    arrays = [inspect.Parameter(name, named, default=default) for name, default in left_out.items()]
    held = {**record.defaults, **record.bound}
    keywords = [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY, default=v) for k, v in held.items()]
    shown = {
        "__doc__": _help(record, inspect.Signature([*arrays, *keywords])),
        "__module__": record.define.__module__,
        "__signature__": inspect.Signature([*arrays, *keywords]),
    }
    for name, value in {**shown, "key": _key(record)}.items():
        object.__setattr__(record, name, value)
    # Read now what every call needs, so that a compiler tracing a call finds facts and not their parsers.
    for fact in ("unbound", "signatures", "argument_domains", "parameter_domains", "optional", "branching"):
        getattr(record, fact)
    for signature in (*record.signatures, *(record.coupling.signatures if record.coupling else ())):
        _ = signature.rank
    return record


# Every record that was made, by a string of its own, for whoever can hold strings but no objects: the operators that a
# compiler sees. Losses outside the catalogue are among them. What differs in bound parameters alone is one record here,
# found again by the identity of its facts.
_RECORDED: dict[str, Loss] = {}
_KEYS: dict[tuple[int, ...], str] = {}


def recorded(key: str) -> Loss:
    """Return the record with a `key`, no parameter of it bound."""
    return _RECORDED[key]


def _key(record: Loss) -> str:
    facts = tuple(id(getattr(record, fact.name)) for fact in fields(record) if fact.name != "bound")
    if facts not in _KEYS:
        if record.bound:
            return dress(replace(record, bound={})).key
        same = sum(other.name == record.name for other in _RECORDED.values())
        key = f"{record.name}#{same + 1}" if same else record.name
        _RECORDED[key], _KEYS[facts] = record, key
    return _KEYS[facts]


def _help(record: Loss, signature: inspect.Signature) -> str:
    """Return what `help` shows of a loss: how it is called, the words of its definition, then the facts."""
    whole = "N stands for any number of dimensions, the same for all; an array without them is one example, repeated."
    if record.coupling:
        whole = "The B examples of a batch are compared with each other."
    sections = {
        "Arrays": [*record.arrays_in_words, whole],
        "Parameters": list(record.parameters_in_words),
        "Returns": ["One value per example, in the framework of the inputs; lossary.mean reduces them."],
        "Raises": [
            "ShapeError: shapes that do not fit.",
            "DomainError: an array with a value outside its domain.",
            *["ParameterError: a parameter outside its range."][: len(record.defaults)],
            "ArgumentError: a missing array, an unknown name, or what is no array.",
        ],
        "Also": [
            f"{record.name}.value_and_grad, .grad, .hess, .grad_hess, .value: under weights, a mask and a reduction.",
            *[f"{record.name}.bind: with parameters fixed."][: len(record.defaults)],
        ],
        "References": list(record.references),
    }
    parts = [f"{record.name}{signature}", record.doc]
    parts += ["\n".join([title, "-" * len(title), *filter(None, lines)]) for title, lines in sections.items() if lines]
    return "\n\n".join(parts) + "\n"

"""What a loss is, and where losses are found.

A loss is one generator, ``define(xp, *arrays, **params)``, that yields its value, then its gradient with respect to
the arrays named in `wrt`, then the diagonal of its Hessian. `@loss` enters it in the catalogue as a frozen record
together with the facts from which checks, tests, documents and command-line pages are derived.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from lossary.catalogue.branches import branching
from lossary.catalogue.domains import (
    Domain,
    Signature,
    admits,
    domain_in_words,
    parse_domain,
    parse_signatures,
    shape_in_words,
)
from lossary.errors import ArgumentError, UnknownLossError, did_you_mean, nearest, suggest

if TYPE_CHECKING:
    from lossary.pairs.coupling import Coupling

Definition = Callable[..., Iterator[Any]]

# What must hold between the arrays of one example: ``condition(xp, *arrays, **params)``, called as the definition is,
# returns whether it does, and numbers to tell of an example where it does not.
Condition = Callable[..., tuple[Any, Mapping[str, Any]]]


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
    kernel: bool = True
    wrt: tuple[str, ...] = ()
    derivatives: int = 2
    properties: frozenset[str] = frozenset()
    coupling: Coupling | None = None
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    bound: Mapping[str, Any] = field(default_factory=dict)

    # What `recorded` finds the loss by, whatever parameters are bound; "" of a record that `dress` has not seen.
    key: ClassVar[str] = ""

    # -- evaluation: the work is in `lossary.evaluate.transforms`, reached only when called ---------------------------------

    def __call__(self, *arrays: Any, **params: Any) -> Any:
        """Return one value per example, in the framework of the inputs.

        Raises `ShapeError`, `DomainError`, `ParameterError` or `ArgumentError`, each naming the argument.
        """
        from lossary.evaluate.transforms import values

        return values(self, arrays, params)

    def value(self, *arrays: Any, **options: Any) -> Any:
        """Return the value under weights, a mask and a reduction; see `lossary.value_and_grad` for the options."""
        from lossary.evaluate.transforms import value

        return value(self, *arrays, **options)

    def value_and_grad(self, *arrays: Any, **options: Any) -> tuple[Any, Any]:
        """Return the value and the gradient with respect to `wrt`; see `lossary.value_and_grad` for the options."""
        from lossary.evaluate.transforms import value_and_grad

        return value_and_grad(self, *arrays, **options)

    def grad(self, *arrays: Any, **options: Any) -> Any:
        """Return the gradient only. Options as in `value_and_grad`."""
        from lossary.evaluate.transforms import value_and_grad

        return value_and_grad(self, *arrays, **options)[1]

    def hess(self, *arrays: Any, **options: Any) -> Any:
        """Return the diagonal of the Hessian with respect to `wrt`. Options as in `value_and_grad`.

        For a loss on rows these are the second derivatives in each entry of the row, not the full matrix.
        """
        from lossary.evaluate.transforms import hess

        return hess(self, *arrays, **options)

    def bind(self, **params: Any) -> Loss:
        """Return the same loss with some parameters fixed.

        >>> import lossary
        >>> lossary.huber.bind(delta=2.0)([3.0], [0.0])
        array([4.])
        """
        from lossary.evaluate.transforms import bind

        return bind(self, params)

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
        return _RECORDS.get(self.name) is self.unbound

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
            told = {
                f"{shape_in_words(signature.inputs[at], not self.coupling)} of "
                f"{domain_in_words(self.argument_domains[number][at])}": None
                for number, signature in enumerate(signatures)
            }
            lines.append(f"{name}: {', or '.join(told)}{'; differentiated' if name in self.wrt else ''}.")
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
            lines.append(f"{name}: {told}; {self.bound.get(name, default)!r} if not given.")
        return tuple(lines)

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
    found = get(name)
    return dress(replace(found, bound=bound)) if bound else found


def _has_labels(record: Loss) -> bool:
    """Whether an example has one class label, so that examples can be left out by it."""
    labelled = record.target is not None and record.target.startswith("{0, ..., c-1}")
    return labelled and any(signature.inputs[1] == () for signature in record.signatures)


def _pointwise(record: Loss) -> bool:
    return record.signature == "(),()->()" and record.coupling is None


TASKS: dict[str, Callable[[Loss], bool]] = {
    # An unbounded prediction and any number as target.
    "regression": lambda r: _pointwise(r) and r.input == "real" and r.target == "real",
    # Log of the mean as prediction; counts, or any non-negative amount, as target.
    "count": lambda r: r.input == "log-rate" and r.target in ("{0, 1, 2, ...}", "[0, inf)"),
    "positive": lambda r: r.input == "log-rate" and r.target in ("(0, inf)", "[0, inf)"),
    "binary": lambda r: _pointwise(r) and r.input in ("logit", "score") and r.target in ("{0, 1}", "[0, 1]", "{-1, 1}"),
    "multiclass": lambda r: r.input in ("logit", "score") and _has_labels(r) and "evaluation" not in r.properties,
    "multilabel": lambda r: r.signature.startswith("(c),(c)") and r.target in ("{0, 1}", "[0, 1]"),
    "probability": lambda r: r.input in ("probability", "log-probability") and r.family != "segmentation",
    "distribution": lambda r: len(r.wrt) > 1 and r.family == "likelihood",
    "embedding": lambda r: r.input == "embedding" and r.coupling is not None,
    "segmentation": lambda r: r.family == "segmentation",
    "sequence": lambda r: bool(r.optional),
    "penalty": lambda r: r.family == "penalty",
}

_RECORDS: dict[str, Loss] = {}
_ALIASES: dict[str, str] = {}


def loss(
    *,
    family: str,
    signature: str,
    input: str,
    target: str | None = None,
    formula: str,
    references: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    likelihood: str = "",
    domains: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
    special: Mapping[str, tuple[float, ...]] | None = None,
    kernel: bool = True,
    wrt: tuple[str, ...] = (),
    derivatives: int = 2,
    properties: tuple[str, ...] = (),
    coupling: Coupling | None = None,
    conditions: Mapping[str, Condition] | None = None,
) -> Callable[[Definition], Loss]:
    r"""Enter a generator in the catalogue under its own name.

    Parameters
    ----------
    family: the room of the catalogue: ``regression``, ``classification``, ``margin``, ``imbalance``, ...
    signature: core dimensions of one example, ``"(c),()->() | (c),(c)->()"``.
    input: convention of the arrays that are predicted (a key of `lossary.catalogue.domains.CONVENTIONS`).
    target: domain of the array called `target` or `labels`; alternatives match those of the signature; `None` if there
        is no target.
    formula: LaTeX of the value of one example.
    references: ``"Huber 1964, doi:..."``, the source first.
    aliases: other names of exactly this loss with its default parameters.
    likelihood: the noise model whose negative log-likelihood this is, with the derivation in one line.
    domains: conventions or domains of further arrays, by name.
    parameters: range of each keyword, by name, as a domain; a leading ``(c)`` means one number per class. A loss on
        class labels has `ignore_index` without saying so: rows with that label are masked.
    special: values of a parameter, by its name, at which the definition takes another formula (``if alpha == 2``):
        tests draw them, and each has a kernel of its own. Ends that belong to a range need not be named.
    kernel: whether kernels are generated from the definition; `False` for one that no kernel can be generated from.
    wrt: arrays the definition differentiates; the first one if not said.
    derivatives: how many follow the value: 2 for gradient and Hessian, 1 for gradient only.
    properties: ``convex``, ``strongly convex``, ``proper``, ``bounded``, ``symmetric``, ``lipschitz``, ``smooth``,
        ``calibrated``, ``evaluation`` (no useful gradient).
    coupling: how a batch becomes rows, for losses that compare examples with each other.
    conditions: what must hold between the arrays of an example, in words that follow "expected", with the function that
        tells whether it does (`Condition`).
    """

    def enter(define: Definition) -> Loss:
        record = Loss(
            name=define.__name__,
            define=define,
            family=family,
            signature=signature,
            input=input,
            target=target,
            formula=formula,
            references=references,
            aliases=aliases,
            likelihood=likelihood,
            domains=domains or {},
            parameters=parameters or {},
            special=special or {},
            kernel=kernel,
            derivatives=derivatives,
            properties=frozenset(properties),
            coupling=coupling,
            conditions=conditions or {},
        )
        first = record.arguments[:1]
        ignored = {"ignore_index": "integer"} if _has_labels(record) else {}
        record = replace(record, wrt=wrt or first, parameters=dict(record.parameters) | ignored)
        _check_special(record)
        dress(record)
        for name in (record.name, *aliases):
            if name in _RECORDS or name in _ALIASES:
                raise ValueError(f"the catalogue already has a loss called {name!r}")
        _RECORDS[record.name] = record
        _ALIASES.update(dict.fromkeys(aliases, record.name))
        return record

    return enter


def _check_special(record: Loss) -> None:
    """Raise `ValueError` for special values that no call could have."""
    for name, values in record.special.items():
        if name not in record.parameters:
            raise ValueError(f"{record.name}: special: {name!r} is no parameter; it has {', '.join(record.parameters)}")
        domain, per_class = record.parameter_domains[name]
        if per_class or domain.kind not in ("interval", "integer", "count"):
            raise ValueError(
                f"{record.name}: special: {name} ranges over {record.parameters[name]}, every member of which is drawn "
                "already; only a parameter that is one number has special values"
            )
        for value in values:
            if not isinstance(value, (int, float)) or not domain.contains(value):
                raise ValueError(f"{record.name}: special: {name}: got {value!r}, expected numbers in {domain.text}")


def dress(record: Loss) -> Loss:
    """Give a record the docstring and signature that `help`, notebooks and editors look for."""
    left_out = {name: None if name in record.optional else inspect.Parameter.empty for name in record.arguments}
    named = inspect.Parameter.POSITIONAL_OR_KEYWORD
    arrays = [inspect.Parameter(name, named, default=default) for name, default in left_out.items()]
    held = {**record.defaults, **record.bound}
    keywords = [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY, default=v) for k, v in held.items()]
    look = {
        "__doc__": _help(record, inspect.Signature([*arrays, *keywords])),
        "__module__": record.define.__module__,
        "__signature__": inspect.Signature([*arrays, *keywords]),
    }
    for name, value in {**look, "key": _key(record)}.items():
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
            "DomainError: an array with a value outside what is said above.",
            *["ParameterError: a parameter outside its range."][: len(record.defaults)],
            "ArgumentError: a missing array, an unknown name, or what is no array.",
        ],
        "Also": [
            f"{record.name}.value_and_grad, .grad, .hess, .value: under weights, a mask and a reduction.",
            *[f"{record.name}.bind: with parameters fixed."][: len(record.defaults)],
        ],
        "References": list(record.references),
    }
    parts = [f"{record.name}{signature}", record.doc]
    parts += ["\n".join([title, "-" * len(title), *filter(None, lines)]) for title, lines in sections.items() if lines]
    return "\n\n".join(parts) + "\n"


def get(name: str | Loss) -> Loss:
    """Return the loss of that name or alias; names of classes and the suffix ``loss`` are understood.

    A loss is returned as it is: every function that takes a loss takes its name as well, and this is where names become
    losses. Raises `UnknownLossError` with the nearest names, and `ArgumentError` for what is neither.

    >>> get("mse").name, get("HuberLoss").name, get("cross_entropy_loss").name
    ('squared_error', 'huber', 'softmax_cross_entropy')
    >>> get(get("mse")).name
    'squared_error'
    """
    if isinstance(name, Loss):
        return name
    if not isinstance(name, str):
        raise ArgumentError(_no_loss(name))
    found = exact(name)
    if found is not None:
        return found
    # CamelCase to snake_case: a capital starts a word after a small letter, or before one ("MSELoss").
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.strip())
    key = words.lower().replace("-", "_")
    for attempt in (key, key.removesuffix("_loss")):
        found = exact(attempt)
        if found is not None:
            return found
    meant = dict.fromkeys(_ALIASES.get(near, near) for near in nearest(key, [*_RECORDS, *_ALIASES]))
    raise UnknownLossError(
        f'unknown loss "{name}"{did_you_mean(list(meant)[:3]) or ". All of them: lossary.names(), or lossary list"}'
    )


def exact(name: str) -> Loss | None:
    """Return the loss with exactly that name or alias; None if there is none."""
    return _RECORDS.get(_ALIASES.get(name, name))


def several(losses: Any) -> list[Any]:
    """Return the losses or names of an argument that takes one of them or any number.

    >>> several("mse"), several(["mse", "mae"])
    (['mse'], ['mse', 'mae'])
    """
    return list(losses) if isinstance(losses, Iterable) and not isinstance(losses, str) else [losses]


def aliases() -> Mapping[str, Loss]:
    """Return every alias with its loss, in the order of the catalogue.

    >>> aliases()["mse"].name
    'squared_error'
    """
    return {alias: _RECORDS[name] for alias, name in _ALIASES.items()}


def _no_loss(given: Any) -> str:
    """Return the sentence for something that is neither a loss nor a name, with the loss it may stand for."""
    held = getattr(given, "loss", None)  # of a module of `lossary.nn`
    own = getattr(given, "__name__", type(given).__name__)
    if isinstance(given, type):
        what = f"the class {own}"
    elif callable(given) and hasattr(given, "__name__"):
        what = f"the function {own}"
    else:
        what = f"an object of type {type(given).__name__}"
    try:
        meant = get(held if isinstance(held, Loss) else own)
    except UnknownLossError:
        hint = ", or one of your own made with lossary.catalogue.loss"
    else:
        hint = f'; did you mean lossary.{meant.name}, or "{meant.name}"?'
    return f"loss: got {what}, expected a loss of the catalogue or its name{hint}"


def names(**facts: Any) -> list[str]:
    """Return the names of the losses whose facts match, in the order of the catalogue.

    A fact is any attribute of a record. A value asked of an attribute that holds several (`tasks`, `properties`,
    `aliases`) matches if it is one of them.

    >>> names(family="margin", properties="smooth")[:2]
    ['squared_hinge', 'smoothed_hinge']
    """
    unknown = [f for f in facts if not hasattr(Loss, f) and f not in Loss.__dataclass_fields__]
    if unknown:
        known = [*Loss.__dataclass_fields__, "tasks"]
        raise UnknownLossError(f'a loss has no fact called "{unknown[0]}"{suggest(unknown[0], known)}')

    def matches(record: Loss) -> bool:
        for fact, wanted in facts.items():
            held = getattr(record, fact)
            if held != wanted and not (isinstance(held, (tuple, frozenset)) and wanted in held):
                return False
        return True

    return [record.name for record in _RECORDS.values() if matches(record)]


def search(words: str) -> list[str]:
    """Return the names of the losses that mention every word, best matches first; or else those that mention some.

    Of those that mention some, the ones that mention most come first. Words that no loss mentions are passed over.

    >>> search("imbalance")[0] in names(family="imbalance")
    True
    >>> search("robust unheardof regression") == search("robust regression")
    True
    """

    def texts(record: Loss) -> list[tuple[int, str]]:
        title = " ".join((record.name, *record.aliases))
        title += " " + title.replace("_", " ")
        facts = " ".join((record.family, *record.tasks, *record.properties, record.likelihood))
        return [(8, title), (4, facts), (1, record.doc + " " + " ".join(record.references))]

    return ranked(words, texts)


def ranked(words: str, texts: Callable[[Loss], Iterable[tuple[int, str]]]) -> list[str]:
    """Return the names of the losses whose texts mention words, each text with what a mention in it is worth."""
    told = {name: [(worth, text.lower()) for worth, text in texts(record)] for name, record in _RECORDS.items()}
    mentions = [
        {name: found for name, parts in told.items() if (found := sum(w * (_stem(word) in text) for w, text in parts))}
        for word in words.lower().split()
    ]
    mentions = [found for found in mentions if found]  # a word that nothing mentions says nothing
    often = {name: sum(name in found for found in mentions) for name in told}
    most = max(often.values())
    kept = [name for name in told if often[name] and (most < len(mentions) or often[name] == most)]
    score = {name: (often[name], sum(found.get(name, 0) for found in mentions)) for name in kept}
    return sorted(kept, key=lambda name: score[name], reverse=True)  # stable: ties stay in the order of the catalogue


def _stem(word: str) -> str:
    """Return what a word has in common with its other forms: "noisy" with noise, "outliers" with outlier."""
    return re.sub(r"(?<=[a-z]{4})(s|y|ies|ing|ed)$", "", word)

"""Registry of losses: the `@loss` decorator, and look-up by name, alias or properties."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lossary.catalogue.domains import CONVENTIONS, parse_domain
from lossary.catalogue.record import ENTERED, Condition, Definition, Loss, dress
from lossary.catalogue.tasks import has_labels
from lossary.catalogue.vocabulary import ELICITS, FAMILIES, PROPERTIES, unknown
from lossary.errors import ArgumentError, UnknownLossError, did_you_mean, nearest, suggest

if TYPE_CHECKING:
    from lossary.pairs.protocol import Coupling

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
    target_units: tuple[str, ...] = (),
    kernel: bool = True,
    wrt: tuple[str, ...] = (),
    derivatives: int = 2,
    properties: tuple[str, ...] = (),
    elicits: str = "",
    unbounded_form: str = "",
    coupling: Coupling | None = None,
    conditions: Mapping[str, Condition] | None = None,
) -> Callable[[Definition], Loss]:
    r"""Enter a generator in the catalogue under its own name.

    Parameters
    ----------
    family: ``regression``, ``classification``, ``margin``, ``imbalance``, ``likelihood``, ``divergence``, ``metric``,
        ``segmentation``, ``sequence``, ``structured``, ``penalty``, ``preference`` or ``sampling``.
    signature: core dimensions of one example, ``"(c),()->() | (c),(c)->()"``.
    input: convention of the arrays that are predicted (a key of `lossary.catalogue.domains.CONVENTIONS`), or a domain.
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
    target_units: parameters in the units of the target, such as the `delta` of `huber`: whoever rescales targets
        rescales them, too.
    kernel: whether kernels are generated from the definition; `False` for one that no kernel can be generated from.
    wrt: arrays the definition differentiates; the first one by default.
    derivatives: how many follow the value: 2 for gradient and Hessian, 1 for gradient only.
    properties: ``convex``, ``strongly convex``, ``proper``, ``bounded``, ``symmetric``, ``lipschitz``, ``smooth``,
        ``robust``, ``calibrated``, ``evaluation`` (no useful gradient); of the Hessian's diagonal, ``constant
        curvature``, ``piecewise linear`` (it is 0), ``partly linear`` (it is 0 on part of the domain).
        `lossary.catalogue.vocabulary` says what each means.
    elicits: the statistic of the targets that the best constant prediction is, at default parameters: ``mean``,
        ``median``, or ``quantile`` (of the level that a parameter of that name has).
    unbounded_form: the name of the loss that computes the same from an unbounded input: of logits where this one takes
        probabilities, of log-rates where it takes rates.
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
            target_units=target_units,
            kernel=kernel,
            wrt=wrt,
            derivatives=derivatives,
            properties=frozenset(properties),
            elicits=elicits,
            unbounded_form=unbounded_form,
            coupling=coupling,
            conditions=conditions or {},
        )
        _check_words(record)
        first = record.arguments[:1]
        ignored = {"ignore_index": "integer"} if has_labels(record) else {}
        record = replace(record, wrt=wrt or first, parameters=dict(record.parameters) | ignored)
        _check_special(record)
        _check_target_units(record)
        dress(record)
        for name in (record.name, *aliases):
            if name in ENTERED or name in _ALIASES:
                raise ValueError(f"the catalogue already has a loss called {name!r}")
        ENTERED[record.name] = record
        _ALIASES.update(dict.fromkeys(aliases, record.name))
        return record

    return enter


def _check_words(record: Loss) -> None:
    """Raise `ValueError` for a word that no record may use, with the nearest ones that it may."""
    arguments = record.arguments
    given: dict[str, tuple[Iterable[str], Iterable[str]]] = {
        "family": ([record.family], FAMILIES),
        "property": (sorted(record.properties), PROPERTIES),
        "statistic that it elicits": ([record.elicits], ELICITS),
        "array in wrt": (record.wrt, arguments),
        "array in domains": (record.domains, (*arguments, *record.row_arguments)),
        "parameter": (record.parameters, record.defaults),
    }
    for kind, (words, known) in given.items():
        if wrong := unknown(kind, words, known):
            raise ValueError(f"{record.name}: {wrong}")
    domains = [text.removeprefix("(c) ") for text in record.parameters.values()]
    targets = [text.strip() for text in (record.target or "real").split("|")]
    for kind, texts in (("convention", [record.input, *record.domains.values()]), ("domain", targets + domains)):
        for text in texts:
            try:
                parse_domain(CONVENTIONS.get(text, text) if kind == "convention" else text)
            except ValueError as wrong:
                if kind == "domain":
                    raise ValueError(f"{record.name}: {wrong}") from None
                hint = f"{unknown('convention', [text], CONVENTIONS)}; a domain such as '[0, 1]' may stand in its place"
                raise ValueError(f"{record.name}: {hint}") from None


def _check_target_units(record: Loss) -> None:
    """Raise `ValueError` for parameters that cannot be in the units of the target."""
    for name in record.target_units:
        domain, per_class = record.parameter_domains.get(name, (None, False))
        if domain is None:
            raise ValueError(
                f"{record.name}: target_units: {name!r} is no parameter; it has {', '.join(record.parameters)}"
            )
        if per_class or domain.kind != "interval":
            raise ValueError(
                f"{record.name}: target_units: {name} ranges over {record.parameters[name]}; only a number has a unit"
            )


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
    meant = dict.fromkeys(_ALIASES.get(near, near) for near in nearest(key, [*ENTERED, *_ALIASES]))
    raise UnknownLossError(
        f'unknown loss "{name}"{did_you_mean(list(meant)[:3]) or ". All of them: lossary.names(), or lossary list"}'
    )


def exact(name: str) -> Loss | None:
    """Return the loss with exactly that name or alias; None if there is none."""
    return ENTERED.get(_ALIASES.get(name, name))


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
    return {alias: ENTERED[name] for alias, name in _ALIASES.items()}


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

    return [record.name for record in ENTERED.values() if matches(record)]

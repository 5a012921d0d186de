"""Loss modules generated from records: one for every loss of the catalogue, and for every loss of the user.

A record has the arrays, the parameters with their ranges and defaults, and the documentation. A module needs no more,
so none is written by hand: `module_class` derives the class from the record, `RecordLoss` evaluates it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lossary import numerics
from lossary.backends.torch import namespace as xp
from lossary.backends.torch.tensors import need_elements
from lossary.catalogue import Loss, get
from lossary.errors import ArgumentError, ParameterError, ShapeError, suggest
from lossary.evaluate import checks, transforms
from lossary.evaluate.reduction import Reduction, coefficients, scale
from lossary.nn.naming import class_name, constants, module_name, signature_of_call, signature_of_constructor

Tensor = torch.Tensor

__all__ = ["ClassifierLoss", "RecordLoss", "class_name", "constants", "module_class", "module_name"]


class RecordLoss(torch.nn.Module):
    """A loss as a module, which holds the parameters, takes the arrays and reduces the values.

    Parameters
    ----------
    loss: a loss of the catalogue or its name, or one of your own made with `lossary.catalogue.loss`.
    constants: the loss's arrays that belong to the task (`class_counts`), in order or by name; they become buffers.
    reduction: ``"mean"``: ``sum(w * v) / sum(w)`` over kept entries. ``"sum"``. ``"none"``: one value per example.
    params: the loss's parameters. One that is a tensor (a weight per class) becomes a buffer and moves with the
        module; a `torch.nn.Parameter` is learned.

    Raises `ArgumentError` for a parameter the loss has not, `ParameterError` for one outside its range.

    >>> import lossary
    >>> criterion = RecordLoss(lossary.huber, delta=2.0)
    >>> criterion, criterion(torch.tensor([3.0]), torch.tensor([0.0]))
    (HuberLoss(delta=2.0, reduction='mean'), tensor(4.))
    """

    loss: Loss

    def __init__(self, loss: Loss | str, *constants: Any, reduction: Reduction = "mean", **params: Any) -> None:
        """Make a module of a loss; the arguments are those of the class."""
        super().__init__()
        scale(xp, (), torch.float32, None, reduction)  # refuses what is no reduction
        self.loss = get(loss)
        self.reduction = reduction
        self._hold_constants(constants, params)
        self._hold_parameters(params)

    def _hold_constants(self, given: Sequence[Any], params: dict[str, Any]) -> None:
        self._fixed = names = constants(self.loss)
        self._awaited = tuple(name for name in self.loss.arguments if name not in names)
        if len(given) > len(names):
            expected = f"{len(names)} ({', '.join(names)})" if names else "none"
            known = f": {', '.join(self.loss.defaults)}" if self.loss.defaults else ""
            raise ArgumentError(
                f"{self._get_name()}: got {len(given)} positional arguments, expected {expected}; "
                f"parameters are keywords{known}"
            )
        held = dict(zip(names, given, strict=False))
        for name in names:
            if name in params:
                held[name] = params.pop(name)
            if name not in held:
                raise ArgumentError(f"{self._get_name()}: missing {name}: one number per class, a fact of the task")
            self.register_buffer(name, torch.as_tensor(held[name]).clone())

    def _hold_parameters(self, params: dict[str, Any]) -> None:
        seen = {k: v.detach().cpu().numpy() if isinstance(v, Tensor) else v for k, v in params.items()}
        for name, value in checks.parameters(self.loss, seen).items():
            held = params[name] if isinstance(params.get(name), Tensor) else value
            if isinstance(held, torch.nn.Parameter):
                self.register_parameter(name, held)
            elif hasattr(held, "shape") or self.loss.parameter_domains[name][1]:
                self.register_buffer(name, None if held is None else torch.as_tensor(held).clone())
            else:
                setattr(self, name, held)

    def held(self) -> dict[str, Any]:
        """Return the loss's parameters as they are now; attributes of the module may be set at any time."""
        return {name: getattr(self, name) for name in self.loss.defaults}

    def forward(
        self, *arrays: Tensor, weight: Tensor | None = None, mask: Tensor | None = None, **named: Tensor
    ) -> Tensor:
        """Return the reduced loss of the arrays.

        `weight` are numbers >= 0 and `mask` is true where an example is kept, each with the shape of the values (or 1
        along an axis). An example of weight 0, or not kept, adds exactly 0 to the value and the gradient,
        whatever it holds.
        """
        fixed, awaited = self._fixed, self._awaited
        if len(arrays) > len(awaited):
            raise ArgumentError(
                f"{self._get_name()}: got {len(arrays)} arrays, expected {len(awaited)} ({', '.join(awaited)})"
                + (f"; {', '.join(fixed)} is held by the module" if fixed else "")
            )
        if not fixed and not named:
            return self._evaluate(arrays, weight, mask)
        given: dict[str, Any] = dict(zip(awaited, arrays, strict=False))
        twice = [name for name in named if name in given]
        if twice:
            raise ArgumentError(f"{self._get_name()}: {twice[0]} is given twice, by position and by name")
        unknown = [name for name in named if name not in awaited]
        if unknown:
            own = unknown[0] in self.loss.defaults or unknown[0] in fixed or unknown[0] == "reduction"
            known = f"it is set when the module is made, {self._get_name()}({unknown[0]}=...), or as an attribute"
            raise ArgumentError(
                f"{self._get_name()}: a call takes no {unknown[0]}"
                + (f": {known}" if own else suggest(unknown[0], awaited) or f"; it takes {', '.join(awaited)}")
            )
        for name in fixed:
            given[name] = getattr(self, name)
        given |= named
        # By position as far as possible, for the fast path takes arrays by position only.
        leading: list[Any] = []
        for name in self.loss.arguments:
            if name not in given:
                break
            leading.append(given.pop(name))
        return self._evaluate(leading, weight, mask, given)

    def _evaluate(
        self, arrays: Sequence[Any], weight: Tensor | None, mask: Tensor | None, named: Mapping[str, Any] | None = None
    ) -> Tensor:
        return transforms.value(
            self.loss, *arrays, weight=weight, mask=mask, reduction=self.reduction, **(named or {}), **self.held()
        )

    def _get_name(self) -> str:
        return module_name(self.loss)

    def extra_repr(self) -> str:
        """Return the parameters as they are shown in the module's representation."""
        shown = [*constants(self.loss), *(name for name, value in self.held().items() if value is not None)]
        return ", ".join(f"{name}={_shown(getattr(self, name))}" for name in [*shown, "reduction"])


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)}" if value.ndim else f"{value.item():g}"
    return repr(value)


class ClassifierLoss(RecordLoss):
    """A loss on cosines between embeddings and classes, with the direction of each class as its learned weight.

    Embeddings and class weights are scaled to length 1, multiplied, and the cosines are given to the loss. A zero
    vector has cosine 0 with everything and no gradient. The weight is a parameter of the module: hand
    ``criterion.parameters()`` to an optimiser beside those of the network.

    Parameters
    ----------
    embedding_size, classes: the shape of the weight is ``(classes, embedding_size)``.
    reduction: ``"mean"``, ``"sum"`` or ``"none"``, as for every module of a loss.
    params: the loss's parameters.
    device, dtype: where and in which type the weight is made.

    >>> import lossary
    >>> criterion = ClassifierLoss(lossary.cosface, embedding_size=2, classes=3, margin=0.0, scale=1.0)
    >>> criterion.weight.shape, criterion.similarities(torch.tensor([0.0, 0.0])).tolist()
    (torch.Size([3, 2]), [0.0, 0.0, 0.0])
    """

    def __init__(
        self,
        loss: Loss | str,
        embedding_size: int,
        classes: int,
        *,
        reduction: Reduction = "mean",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **params: Any,
    ) -> None:
        """Make a module of a loss on cosines; the arguments are those of the class."""
        super().__init__(loss, reduction=reduction, **params)
        for name, size in (("embedding_size", embedding_size), ("classes", classes)):
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise ParameterError(f"{self._get_name()}: {name}: got {size!r}, expected a whole number >= 1")
        self.embedding_size, self.classes = embedding_size, classes
        self.weight = torch.nn.Parameter(torch.empty(classes, embedding_size, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the class weights anew: directions spread evenly over the sphere."""
        torch.nn.init.normal_(self.weight)

    def similarities(self, embeddings: Tensor) -> Tensor:
        """Return the cosine of every embedding with every class; the largest is the prediction."""
        need_elements(embeddings, f"{self._get_name()}: embeddings")
        if embeddings.shape[-1] != self.embedding_size:
            raise ShapeError(
                f"{self._get_name()}: embeddings: got shape {tuple(embeddings.shape)}, expected the last dimension to "
                f"be {self.embedding_size}, the embedding_size of the module"
            )
        dtype = xp.compute_dtype([embeddings, self.weight])
        return xp.matmul(_directions(embeddings.to(dtype)), _directions(self.weight.to(dtype)).T)

    def forward(
        self, embeddings: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return the reduced loss; `weight` and `mask` are of examples, with the shape of `target`."""
        # Examples that are not kept must not reach the class weights either, and 0 * NaN would.
        weights = coefficients(xp, tuple(embeddings.shape[:-1]), torch.float32, weight, mask, embeddings)
        if weights is not None:
            embeddings = embeddings.masked_fill((weights == 0)[..., None], 0)
        ignored: Any = self.ignore_index
        if ignored is not None:
            embeddings = embeddings.masked_fill((target == ignored)[..., None], 0)
        return self._evaluate((self.similarities(embeddings), target), weight, mask)

    def extra_repr(self) -> str:
        """Return the sizes, then the parameters of the loss."""
        return f"{self.embedding_size}, {self.classes}, {super().extra_repr()}"


def _directions(x: Tensor) -> Tensor:
    """Scale rows to length 1; a zero vector stays one, and autograd is never led through its square root."""
    empty = (x == 0).all(-1, keepdim=True)
    directions, _ = numerics.unit(xp, torch.where(empty, 1.0, x))
    return torch.where(empty, 0.0, directions)


# --- the class of a record ------------------------------------------------------------------------------------------


def module_class(given: Loss | str, base: type[RecordLoss], module: str) -> type[RecordLoss]:
    """Return the class of a loss's modules: a subclass of `base` with the signatures and docstrings of the loss."""
    loss = get(given)

    def __init__(self: Any, *given: Any, **params: Any) -> None:  # noqa: N807 (it becomes the method)
        base.__init__(self, loss, *given, **params)

    def forward(self: Any, *arrays: Any, **options: Any) -> Any:
        return base.forward(self, *arrays, **options)

    made = signature_of_constructor(inspect.signature(base.__init__), loss)
    called = signature_of_call(inspect.signature(base.forward), loss)
    __init__.__signature__ = _with_self(made)  # type: ignore[attr-defined]
    forward.__signature__ = called  # type: ignore[attr-defined]
    forward.__doc__ = base.forward.__doc__
    __init__.__doc__ = "\n".join([f"Make the module of {loss.name}.", *_options(loss, base)])
    name = module_name(loss)
    for function in (__init__, forward):
        function.__module__, function.__qualname__ = module, f"{name}.{function.__name__}"
    return type(
        name,
        (base,),
        {
            "__doc__": _doc(loss, base),
            "__init__": __init__,
            "__module__": module,
            "__signature__": made,
            "forward": forward,
            "loss": loss,
        },
    )


def _with_self(signature: inspect.Signature) -> inspect.Signature:
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return signature.replace(parameters=[own, *signature.parameters.values()])


_ARGUMENT = re.compile(r"^[a-z_, ]+: ")


def _options(loss: Loss, base: type[RecordLoss]) -> list[str]:
    """Describe the arguments of a module's constructor: those of its base, then the loss's parameters."""
    lines, kept = [f"{name}: one number per class, a fact of the task." for name in constants(loss)], False
    own = inspect.cleandoc(base.__doc__ or "").partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    for line in own.splitlines():
        if _ARGUMENT.match(line):
            kept = not line.startswith(("loss:", "constants:", "params:", "reduction, params:"))
        lines += [line] if kept else []
    return ["", *lines, *loss.parameters_in_words]


def _doc(loss: Loss, base: type[RecordLoss]) -> str:
    """Write a class's docstring: that of the loss, then the record's description of its arrays and parameters."""
    facts = [loss.doc.partition(">>>")[0].strip(), f"For one example: {loss.formula}"]
    if base is RecordLoss:
        facts.append("Arrays\n------\n" + "\n".join(loss.arrays_in_words))
    if loss.parameters_in_words:
        facts.append("Parameters\n----------\n" + "\n".join(loss.parameters_in_words))
    if base is not RecordLoss:
        facts.append(inspect.cleandoc(base.__doc__ or "").partition("\n\nParameters")[0])
    if loss.references:
        facts.append("References: " + "; ".join(loss.references))
    return "\n\n".join(facts) + "\n"

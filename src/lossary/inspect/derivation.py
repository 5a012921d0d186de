"""Derivations: from a noise model to its loss, the gradient of cross-entropy, and the forms that do not overflow.

A derivation is data: equations with a sentence each. Both sides of an equation are Python expressions, from which the
LaTeX and the plain line are written, so that what a reader sees is what the tests evaluate with SymPy.

>>> import lossary
>>> from lossary.inspect.derivation import derive
>>> route = derive(lossary.half_squared_error)
>>> [step.key for step in route.parts[0].steps]
['density', 'product', 'logarithm', 'log density', 'loss', 'negative logarithm', 'sum', 'mean', 'conclusion']
>>> print(route.parts[0].steps[4].plain)
ℓᵢ = (ŷᵢ - yᵢ)² / 2
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from lossary.catalogue import Loss, get
from lossary.errors import ParameterError, suggest
from lossary.inspect.densities import MODELS, NoiseModel
from lossary.text.expression import indexed, latex
from lossary.text.formula import readable
from lossary.text.phrases import LANGS, Lang, derivation_words, likelihood, phrase, summary


@dataclass(frozen=True)
class DerivationStep:
    """One equation and the sentence that justifies it.

    `left` and `right` are Python expressions over the names that earlier steps define; a step whose `left` is a new
    name (or one entry of it) defines it. `case` is a condition on the indices, empty where it holds for all of them.
    """

    key: str
    left: str
    right: str
    sentence: str
    case: str = ""

    @property
    def latex(self) -> str:
        """The equation in LaTeX."""
        where = rf"\qquad ({self.case.replace('==', '=').replace('!=', chr(92) + 'ne')})" if self.case else ""
        return f"{latex(self.left)} = {latex(self.right)}{where}"

    @property
    def plain(self) -> str:
        """The equation in a line of plain text."""
        return readable(self.latex)


@dataclass(frozen=True)
class DerivationPart:
    """A part of a derivation: a heading, an introduction, and equations in order."""

    key: str
    title: str
    text: str
    steps: tuple[DerivationStep, ...]


@dataclass(frozen=True)
class Derivation:
    """How a loss comes about. Printing it gives its text; its parts are data."""

    loss: Loss
    lang: Lang
    parts: tuple[DerivationPart, ...]

    @property
    def model(self) -> NoiseModel | None:
        """The noise model that the loss is derived from; None where the likelihood has no density written down."""
        return MODELS.get(self.loss.name)

    def __str__(self) -> str:
        lines = [f"{self.loss.name}: {summary(self.loss, self.lang)}"]
        for part in self.parts:
            lines += ["", part.title, *([f"  {part.text}"] if part.text else [])]
            for number, step in enumerate(part.steps, 1):
                lines += [f"  {number}. {step.sentence}", f"       {step.plain}"]
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        parts = [f"**{self.loss.name}**: {summary(self.loss, self.lang)}"]
        for part in self.parts:
            parts += [f"#### {part.title}", *([part.text] if part.text else [])]
            parts += [f"{number}. {step.sentence}\n\n   $${step.latex}$$" for number, step in enumerate(part.steps, 1)]
        return "\n\n".join(parts)


def derive(loss: Loss | str, lang: Lang = "en") -> Derivation:
    """Return how a loss comes about, step by step: from its likelihood, its gradient, and its stable form.

    `lang` is the language of the sentences, ``"en"`` or ``"zh"``. Raises `ParameterError` for a loss that has no
    derivation; `derivable` says whether it has one.
    """
    record = get(loss).unbound
    if lang not in LANGS:
        raise ParameterError(f"lang: got {lang!r}, expected one of {', '.join(LANGS)}{suggest(str(lang), LANGS)}")
    if not derivable(record):
        stated = f'; its likelihood in a sentence: "{likelihood(record, lang)}"' if record.likelihood else ""
        raise ParameterError(f"{record.name}: it has no derivation{stated}. Losses with one: {', '.join(_derived())}")
    parts = []
    if record.name in MODELS:
        parts.append(_likelihood(MODELS[record.name], lang))
    parts += [_translated(part, lang) for part in _FURTHER.get(record.name, ())]
    return Derivation(record, lang, tuple(parts))


def derivable(loss: Loss | str) -> bool:
    """Whether a loss has a derivation.

    >>> derivable("huber"), derivable("dice")
    (True, False)
    """
    record = get(loss)
    return record.in_catalogue and record.name in _derived()


@cache
def _derived() -> tuple[str, ...]:
    return tuple(sorted({*MODELS, *_FURTHER}))


# --- from the likelihood --------------------------------------------------------------------------------------------


def _likelihood(model: NoiseModel, lang: Lang) -> DerivationPart:
    def each(code: str) -> str:
        return indexed(code, model.arrays, "i")

    def step(key: str, left: str, right: str, sentence: str) -> DerivationStep:
        return DerivationStep(key, left, right, derivation_words(sentence, lang))

    constant = "" if model.dropped == "0" else f" + {each(f'({model.dropped})')}"
    scaled = "ell[i]" if model.scale == "1" else f"{model.scale} * ell[i]"
    kept = " The rest does not contain the prediction." if constant else ""
    steps = (
        step("density", "f[i]", each(model.density), "The probability (or density) of what was observed in sample i:"),
        step(
            "product",
            "likelihood",
            "prod(f[i] for i in samples)",
            "The N samples are independent, so the likelihood of all of them is the product:",
        ),
        step(
            "logarithm",
            "log(likelihood)",
            "sum(log(f[i]) for i in samples)",
            "The logarithm is increasing, so it keeps the place of the maximum, and it turns the product into a sum:",
        ),
        step("log density", "log(f[i])", each(model.log), "The logarithm of one factor:"),
        step("loss", "ell[i]", each(model.loss), "What depends on the prediction, with its sign changed, is the loss:"),
        step(
            "negative logarithm",
            "-log(f[i])",
            scaled + constant,
            "So the negative logarithm of one factor is the loss, up to a positive factor and a constant." + kept,
        ),
        step(
            "sum",
            "-log(likelihood)",
            f"sum({scaled + constant} for i in samples)",
            "Over all samples: the product of densities has become a sum of losses.",
        ),
        step(
            "mean",
            "total",
            "sum(ell[i] for i in samples) / N",
            "Constants and positive factors do not move a minimum, so we minimise the mean loss:",
        ),
        step(
            "conclusion",
            "argmax(likelihood)",
            "argmin(total)",
            "Maximum likelihood is the minimum of this loss.",
        ),
    )
    text = derivation_words(model.note, lang)
    return DerivationPart("likelihood", phrase("From the likelihood to the loss", lang), text, steps)


# --- gradients and stable forms -------------------------------------------------------------------------------------

_SUM = "sum(exp(z[j]) for j in classes)"
_SOFTMAX_GRADIENT = DerivationPart(
    "gradient",
    "Gradient of softmax cross-entropy, component by component",
    "The denominator sums over all logits, so every probability depends on every logit.",
    (
        DerivationStep("denominator", "S", _SUM, "The denominator that all probabilities share:"),
        DerivationStep("softmax", "p[i]", "exp(z[i]) / S", "The probability of class i:"),
        DerivationStep(
            "quotient, same",
            "d(p[i], z[j])",
            "(exp(z[i])*S - exp(z[i])*exp(z[j])) / S**2",
            "First case, i = j: z is in the numerator and in the denominator. By the quotient rule:",
            "i == j",
        ),
        DerivationStep("same", "d(p[i], z[j])", "p[i] * (1 - p[i])", "which is, in terms of p:", "i == j"),
        DerivationStep(
            "quotient, other",
            "d(p[i], z[j])",
            "(0*S - exp(z[i])*exp(z[j])) / S**2",
            "Second case, i and j differ: the numerator does not depend on z of class j, the denominator does:",
            "i != j",
        ),
        DerivationStep("other", "d(p[i], z[j])", "-p[i] * p[j]", "which is, in terms of p:", "i != j"),
        DerivationStep(
            "loss", "ell", "-sum(q[i]*log(p[i]) for i in classes)", "The loss, where q is the label written one-hot:"
        ),
        DerivationStep(
            "chain rule",
            "d(ell, z[j])",
            "sum(-q[i] / p[i] * d(p[i], z[j]) for i in classes)",
            "z of class j acts on the loss through every probability; by the chain rule the contributions add up:",
        ),
        DerivationStep(
            "two cases",
            "d(ell, z[j])",
            "-q[j] * (1 - p[j]) + sum(q[i] * p[j] for i in classes if i != j)",
            "The term i = j comes from the first case, all others from the second:",
        ),
        DerivationStep(
            "collected",
            "d(ell, z[j])",
            "-q[j] + p[j] * sum(q[i] for i in classes)",
            "The products of q and p collect into one sum:",
        ),
        DerivationStep("gradient", "d(ell, z[j])", "p[j] - q[j]", "The entries of q sum to 1. What is left:"),
        DerivationStep(
            "label", "d(ell, z[j])", "p[j] - 1", "For the class of the label, where q is 1 (never positive):", "j == y"
        ),
        DerivationStep("not label", "d(ell, z[j])", "p[j]", "For every other class, where q is 0:", "j != y"),
    ),
)
_SOFTMAX_OVERFLOW = DerivationPart(
    "overflow",
    "Softmax and its logarithm without overflow",
    "exp(1000) overflows to infinity, and infinity / infinity is not a number.",
    (
        DerivationStep("largest", "n", "largest(z)", "Let n be the largest logit:"),
        DerivationStep("softmax", "p[i]", f"exp(z[i]) / {_SUM}", "Softmax as it is defined:"),
        DerivationStep(
            "expanded",
            "p[i]",
            f"exp(z[i])*exp(-n) / ({_SUM} * exp(-n))",
            "Numerator and denominator are multiplied by the same positive number:",
        ),
        DerivationStep(
            "shifted",
            "p[i]",
            "exp(z[i] - n) / sum(exp(z[j] - n) for j in classes)",
            "No exponent is positive now, so nothing overflows, and one term of the sum is exactly 1:",
        ),
        DerivationStep(
            "logarithm",
            f"log({_SUM})",
            "n + log(sum(exp(z[j] - n) for j in classes))",
            "The same with the logarithm, which cross-entropy needs; the shift comes out of it as a sum:",
        ),
        DerivationStep(
            "log softmax",
            "-log(p[i])",
            "n - z[i] + log(sum(exp(z[j] - n) for j in classes))",
            "So the loss never takes the logarithm of a probability that has become 0:",
        ),
    ),
)
_SIGMOID_GRADIENT = DerivationPart(
    "gradient",
    "Gradient of sigmoid cross-entropy",
    "",
    (
        DerivationStep("sigmoid", "p", "1 / (1 + exp(-z))", "The probability of label 1:"),
        DerivationStep("chain rule", "d(p, z)", "exp(-z) / (1 + exp(-z))**2", "Its derivative, by the chain rule:"),
        DerivationStep("sigmoid slope", "d(p, z)", "p * (1 - p)", "which is, in terms of p:"),
        DerivationStep("loss", "ell", "-y*log(p) - (1 - y)*log(1 - p)", "The loss:"),
        DerivationStep(
            "through p",
            "d(ell, z)",
            "(-y / p + (1 - y) / (1 - p)) * (p * (1 - p))",
            "By the chain rule, the derivative of the loss by p times that of p by z:",
        ),
        DerivationStep(
            "cancelled", "d(ell, z)", "-y * (1 - p) + (1 - y) * p", "The denominators cancel, so saturation does too:"
        ),
        DerivationStep("gradient", "d(ell, z)", "p - y", "What is left is the prediction minus the label:"),
    ),
)
_SIGMOID_OVERFLOW = DerivationPart(
    "overflow",
    "Sigmoid and its logarithm without overflow",
    "For a large negative logit exp(-z) overflows: exp(1000) is infinity.",
    (
        DerivationStep("sigmoid", "p", "1 / (1 + exp(-z))", "The sigmoid as it is defined, which is fine for z >= 0:"),
        DerivationStep(
            "expanded",
            "p",
            "1 * exp(z) / ((1 + exp(-z)) * exp(z))",
            "For z < 0, numerator and denominator are multiplied by the same positive number:",
        ),
        DerivationStep(
            "negative", "p", "exp(z) / (exp(z) + 1)", "Now the exponent is negative, and exp(z) is at most 1:"
        ),
        DerivationStep(
            "softplus",
            "log(1 + exp(z))",
            "max(z, 0) + log(1 + exp(-abs(z)))",
            "The same for the logarithm that the loss needs; neither sign of z overflows:",
        ),
    ),
)
_FURTHER = {
    "softmax_cross_entropy": (_SOFTMAX_GRADIENT, _SOFTMAX_OVERFLOW),
    "binary_cross_entropy_with_logits": (_SIGMOID_GRADIENT, _SIGMOID_OVERFLOW),
}


def _translated(part: DerivationPart, lang: Lang) -> DerivationPart:
    def words(text: str) -> str:
        return derivation_words(text, lang)

    steps = (DerivationStep(s.key, s.left, s.right, words(s.sentence), s.case) for s in part.steps)
    return DerivationPart(part.key, words(part.title), words(part.text), tuple(steps))

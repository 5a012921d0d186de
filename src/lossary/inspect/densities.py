"""The noise models behind losses: densities as Python expressions, from which `lossary.inspect.derivation` starts.

Each model states the density of one sample, its logarithm, and the split of the negative logarithm into what depends on
the prediction, which is the loss times a positive `scale`, and what is `dropped`. Nothing is trusted: the tests check
with SymPy that each line follows from the one before it, and with NumPy that the loss is the record's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class NoiseModel:
    """The density of one sample, its logarithm, and the loss in it: ``-log == scale * loss + dropped``.

    `symbols` maps the names of the expressions to the arrays or parameters of the record; a name that it does not list
    is a constant of the model. A class label is one-hot: ``q[k]``. `note` is a sentence on the model.
    """

    note: str
    density: str
    log: str
    loss: str
    scale: str
    dropped: str
    symbols: Mapping[str, str]
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def arrays(self) -> frozenset[str]:
        """The names that have one entry (or one row) per sample."""
        return frozenset(self.symbols)


_RESIDUAL = {"m": "pred", "y": "target"}
_LOGIT = {"z": "logits", "y": "target"}
_WEIGHT = {"w": "weights"}
_ERRORS = "The target is the prediction plus an error"
_GAUSSIAN = f"{_ERRORS} with a Gaussian (normal) distribution of mean 0."
_LAPLACE = f"{_ERRORS} with a Laplace distribution, whose tails are heavier than the Gaussian's."
_BERNOULLI = "A label of 0 or 1 is a Bernoulli outcome: the exponents pick p for label 1 and 1 - p for label 0."
_CATEGORICAL = "A label is one of C classes. It is written one-hot, so the exponents pick the true class's probability."
_POISSON = "A count of independent events is Poisson distributed; the model predicts its mean."
_PRIOR = "Each weight has a prior distribution before data is seen; N is the number of weights."
_CHOICE = "The chosen item beats the rejected one with the sigmoid of the difference of their scores (Bradley-Terry)."
_HEAVY = f"{_ERRORS} with a density that is Gaussian near 0 and has Laplace tails; Z makes it integrate to 1."

MODELS: Mapping[str, NoiseModel] = {
    "squared_error": NoiseModel(
        _GAUSSIAN,
        density="exp(-(m - y)**2 / (2*sigma**2)) / sqrt(2*pi*sigma**2)",
        log="-(m - y)**2 / (2*sigma**2) - log(2*pi*sigma**2) / 2",
        loss="(m - y)**2",
        scale="1 / (2*sigma**2)",
        dropped="log(2*pi*sigma**2) / 2",
        symbols=_RESIDUAL,
    ),
    "half_squared_error": NoiseModel(
        _GAUSSIAN,
        density="exp(-(m - y)**2 / 2) / sqrt(2*pi)",
        log="-(m - y)**2 / 2 - log(2*pi) / 2",
        loss="(m - y)**2 / 2",
        scale="1",
        dropped="log(2*pi) / 2",
        symbols=_RESIDUAL,
    ),
    "absolute_error": NoiseModel(
        _LAPLACE,
        density="exp(-abs(m - y) / b) / (2*b)",
        log="-abs(m - y) / b - log(2*b)",
        loss="abs(m - y)",
        scale="1 / b",
        dropped="log(2*b)",
        symbols=_RESIDUAL,
    ),
    "huber": NoiseModel(
        _HEAVY,
        density="exp(-(min(abs(m - y), delta)**2 / 2 + delta*(abs(m - y) - min(abs(m - y), delta)))) / Z",
        log="-(min(abs(m - y), delta)**2 / 2 + delta*(abs(m - y) - min(abs(m - y), delta))) - log(Z)",
        loss="min(abs(m - y), delta)**2 / 2 + delta*(abs(m - y) - min(abs(m - y), delta))",
        scale="1",
        dropped="log(Z)",
        symbols=_RESIDUAL,
        parameters={"delta": "delta"},
    ),
    "smooth_l1": NoiseModel(
        _HEAVY,
        density="exp(-(min(abs(m - y), beta)**2 / (2*beta) + abs(m - y) - min(abs(m - y), beta))) / Z",
        log="-(min(abs(m - y), beta)**2 / (2*beta) + abs(m - y) - min(abs(m - y), beta)) - log(Z)",
        loss="min(abs(m - y), beta)**2 / (2*beta) + abs(m - y) - min(abs(m - y), beta)",
        scale="1",
        dropped="log(Z)",
        symbols=_RESIDUAL,
        parameters={"beta": "beta"},
    ),
    "pseudo_huber": NoiseModel(
        f"{_ERRORS} with a hyperbolic density, a smooth form of the one behind Huber's loss; Z makes it integrate"
        " to 1.",
        density="exp(-delta**2 * sqrt(1 + ((m - y) / delta)**2)) / Z",
        log="-delta**2 * sqrt(1 + ((m - y) / delta)**2) - log(Z)",
        loss="delta**2 * (sqrt(1 + ((m - y) / delta)**2) - 1)",
        scale="1",
        dropped="delta**2 + log(Z)",
        symbols=_RESIDUAL,
        parameters={"delta": "delta"},
    ),
    "log_cosh": NoiseModel(
        f"{_ERRORS} with a hyperbolic secant distribution.",
        density="1 / (pi * cosh(m - y))",
        log="-log(cosh(m - y)) - log(pi)",
        loss="log(cosh(m - y))",
        scale="1",
        dropped="log(pi)",
        symbols=_RESIDUAL,
    ),
    "pinball": NoiseModel(
        f"{_ERRORS} with an asymmetric Laplace distribution: q of its mass lies below the prediction.",
        density="q*(1 - q) * exp(-max(q*(y - m), (q - 1)*(y - m)))",
        log="log(q*(1 - q)) - max(q*(y - m), (q - 1)*(y - m))",
        loss="max(q*(y - m), (q - 1)*(y - m))",
        scale="1",
        dropped="-log(q*(1 - q))",
        symbols=_RESIDUAL,
        parameters={"q": "quantile"},
    ),
    "msle": NoiseModel(
        "log(1 + target) is Gaussian around log(1 + prediction): errors are ratios and not differences.",
        density="exp(-(log(1 + m) - log(1 + y))**2 / (2*sigma**2)) / ((1 + y) * sqrt(2*pi*sigma**2))",
        log="-(log(1 + m) - log(1 + y))**2 / (2*sigma**2) - log(1 + y) - log(2*pi*sigma**2) / 2",
        loss="(log(1 + m) - log(1 + y))**2",
        scale="1 / (2*sigma**2)",
        dropped="log(1 + y) + log(2*pi*sigma**2) / 2",
        symbols=_RESIDUAL,
    ),
    "binary_cross_entropy": NoiseModel(
        _BERNOULLI,
        density="p**y * (1 - p)**(1 - y)",
        log="y*log(p) + (1 - y)*log(1 - p)",
        loss="-y*log(p) - (1 - y)*log(1 - p)",
        scale="1",
        dropped="0",
        symbols={"p": "probs", "y": "target"},
    ),
    "binary_cross_entropy_with_logits": NoiseModel(
        _BERNOULLI + " Here p is the sigmoid of the logit z.",
        density="(1 / (1 + exp(-z)))**y * (1 - 1 / (1 + exp(-z)))**(1 - y)",
        log="-y*log(1 + exp(-z)) - (1 - y)*log(1 + exp(z))",
        loss="y*log(1 + exp(-z)) + (1 - y)*log(1 + exp(z))",
        scale="1",
        dropped="0",
        symbols=_LOGIT,
    ),
    "logistic_margin": NoiseModel(
        "A label of -1 or 1 is a Bernoulli outcome whose probability is the sigmoid of label times logit.",
        density="1 / (1 + exp(-y*z))",
        log="-log(1 + exp(-y*z))",
        loss="log(1 + exp(-y*z))",
        scale="1",
        dropped="0",
        symbols={"z": "pred", "y": "target"},
    ),
    "multilabel_soft_margin": NoiseModel(
        "Each of C labels is a Bernoulli outcome of its own; the loss is their mean, which divides by C.",
        density="prod((1 / (1 + exp(-z[k])))**y[k] * (1 - 1 / (1 + exp(-z[k])))**(1 - y[k]) for k in classes)",
        log="-sum(y[k]*log(1 + exp(-z[k])) + (1 - y[k])*log(1 + exp(z[k])) for k in classes)",
        loss="sum(y[k]*log(1 + exp(-z[k])) + (1 - y[k])*log(1 + exp(z[k])) for k in classes) / C",
        scale="C",
        dropped="0",
        symbols={"z": "pred", "y": "target"},
    ),
    "softmax_cross_entropy": NoiseModel(
        _CATEGORICAL + " Softmax makes the probabilities of the logits z.",
        density="prod((exp(z[k]) / sum(exp(z[j]) for j in classes))**q[k] for k in classes)",
        log="sum(q[k] * log(exp(z[k]) / sum(exp(z[j]) for j in classes)) for k in classes)",
        loss="log(sum(exp(z[j]) for j in classes)) - sum(q[k]*z[k] for k in classes)",
        scale="1",
        dropped="0",
        symbols={"z": "logits", "q": "target"},
    ),
    "nll": NoiseModel(
        _CATEGORICAL + " The model gives the logarithms l of the probabilities.",
        density="prod(exp(l[k])**q[k] for k in classes)",
        log="sum(q[k]*l[k] for k in classes)",
        loss="-sum(q[k]*l[k] for k in classes)",
        scale="1",
        dropped="0",
        symbols={"l": "log_probs", "q": "target"},
    ),
    "kl_divergence": NoiseModel(
        "A class drawn from q has the categorical likelihood; what is dropped is the entropy of q, which is fixed.",
        density="prod(exp(l[k])**q[k] for k in classes)",
        log="sum(q[k]*l[k] for k in classes)",
        loss="sum(q[k] * (log(q[k]) - l[k]) for k in classes)",
        scale="1",
        dropped="-sum(q[k]*log(q[k]) for k in classes)",
        symbols={"l": "log_probs", "q": "target"},
    ),
    "info_nce": NoiseModel(
        "The partner is one of C candidates; softmax of the similarities s / tau gives their probabilities.",
        density="prod((exp(s[k] / tau) / sum(exp(s[j] / tau) for j in classes))**q[k] for k in classes)",
        log="sum(q[k] * log(exp(s[k] / tau) / sum(exp(s[j] / tau) for j in classes)) for k in classes)",
        loss="log(sum(exp(s[j] / tau) for j in classes)) - sum(q[k]*s[k] / tau for k in classes)",
        scale="1",
        dropped="0",
        symbols={"s": "similarities", "q": "target"},
        parameters={"tau": "temperature"},
    ),
    "gaussian_nll": NoiseModel(
        _GAUSSIAN + " The model predicts the variance v beside the mean, so log v is no constant.",
        density="exp(-(m - y)**2 / (2*v)) / sqrt(2*pi*v)",
        log="-(m - y)**2 / (2*v) - log(v) / 2 - log(2*pi) / 2",
        loss="(log(v) + (m - y)**2 / v) / 2",
        scale="1",
        dropped="log(2*pi) / 2",
        symbols={"m": "pred", "y": "target", "v": "var"},
    ),
    "laplace_nll": NoiseModel(
        _LAPLACE + " The model predicts the scale b beside the median, so log b is no constant.",
        density="exp(-abs(m - y) / b) / (2*b)",
        log="-abs(m - y) / b - log(b) - log(2)",
        loss="log(b) + abs(m - y) / b",
        scale="1",
        dropped="log(2)",
        symbols={"m": "pred", "y": "target", "b": "scale"},
    ),
    "student_t_nll": NoiseModel(
        f"{_ERRORS} with Student's t distribution of nu degrees of freedom: outliers are expected.",
        density="gamma((nu + 1) / 2) / (gamma(nu / 2) * sqrt(nu*pi*s**2))"
        " * (1 + (m - y)**2 / (nu*s**2))**(-(nu + 1) / 2)",
        log="log(gamma((nu + 1) / 2)) - log(gamma(nu / 2)) - log(nu*pi*s**2) / 2"
        " - (nu + 1) / 2 * log(1 + (m - y)**2 / (nu*s**2))",
        loss="(nu + 1) / 2 * log(1 + (m - y)**2 / (nu*s**2))",
        scale="1",
        dropped="log(gamma(nu / 2)) - log(gamma((nu + 1) / 2)) + log(nu*pi*s**2) / 2",
        symbols=_RESIDUAL,
        parameters={"nu": "df", "s": "scale"},
    ),
    "poisson_nll": NoiseModel(
        _POISSON + " The prediction s is the logarithm of the mean.",
        density="exp(-exp(s)) * exp(s)**y / factorial(y)",
        log="-exp(s) + y*s - log(factorial(y))",
        loss="exp(s) - y*s",
        scale="1",
        dropped="log(factorial(y))",
        symbols={"s": "log_rate", "y": "target"},
    ),
    "poisson_nll_rate": NoiseModel(
        _POISSON,
        density="exp(-mu) * mu**y / factorial(y)",
        log="-mu + y*log(mu) - log(factorial(y))",
        loss="mu - y*log(mu)",
        scale="1",
        dropped="log(factorial(y))",
        symbols={"mu": "rate", "y": "target"},
    ),
    "gamma_nll": NoiseModel(
        "A positive amount is gamma distributed with shape k; the prediction s is the logarithm of its mean.",
        density="(k*exp(-s))**k * y**(k - 1) * exp(-k*y*exp(-s)) / gamma(k)",
        log="k*log(k) - k*s + (k - 1)*log(y) - k*y*exp(-s) - log(gamma(k))",
        loss="k*(s + y*exp(-s))",
        scale="1",
        dropped="log(gamma(k)) - k*log(k) - (k - 1)*log(y)",
        symbols={"s": "log_mean", "y": "target"},
        parameters={"k": "shape"},
    ),
    "negative_binomial_nll": NoiseModel(
        "A count whose variance exceeds its mean exp(s): a Poisson whose rate is itself gamma distributed.",
        density="gamma(y + 1/alpha) / (gamma(1/alpha) * factorial(y))"
        " * (alpha*exp(s) / (1 + alpha*exp(s)))**y * (1 / (1 + alpha*exp(s)))**(1/alpha)",
        log="log(gamma(y + 1/alpha)) - log(gamma(1/alpha)) - log(factorial(y))"
        " + y*log(alpha*exp(s) / (1 + alpha*exp(s))) - log(1 + alpha*exp(s)) / alpha",
        loss="log(1 + alpha*exp(s)) / alpha - y*log(alpha*exp(s) / (1 + alpha*exp(s)))",
        scale="1",
        dropped="log(gamma(1/alpha)) + log(factorial(y)) - log(gamma(y + 1/alpha))",
        symbols={"s": "log_mean", "y": "target"},
        parameters={"alpha": "alpha"},
    ),
    "l1_penalty": NoiseModel(
        _PRIOR,
        density="exp(-abs(w)) / 2",
        log="-abs(w) - log(2)",
        loss="abs(w)",
        scale="1",
        dropped="log(2)",
        symbols=_WEIGHT,
    ),
    "l2_penalty": NoiseModel(
        _PRIOR,
        density="exp(-w**2 / 2) / sqrt(2*pi)",
        log="-w**2 / 2 - log(2*pi) / 2",
        loss="w**2 / 2",
        scale="1",
        dropped="log(2*pi) / 2",
        symbols=_WEIGHT,
    ),
    "elastic_net": NoiseModel(
        _PRIOR,
        density="exp(-lam*abs(w) - (1 - lam)*w**2 / 2) / Z",
        log="-lam*abs(w) - (1 - lam)*w**2 / 2 - log(Z)",
        loss="lam*abs(w) + (1 - lam)*w**2 / 2",
        scale="1",
        dropped="log(Z)",
        symbols=_WEIGHT,
        parameters={"lam": "l1_ratio"},
    ),
    "bradley_terry": NoiseModel(
        _CHOICE,
        density="1 / (1 + exp(-(r_w - r_l - mu)))",
        log="-log(1 + exp(-(r_w - r_l - mu)))",
        loss="log(1 + exp(-(r_w - r_l - mu)))",
        scale="1",
        dropped="0",
        symbols={"r_w": "chosen", "r_l": "rejected"},
        parameters={"mu": "margin"},
    ),
    "simpo": NoiseModel(
        _CHOICE,
        density="1 / (1 + exp(-(beta*(r_w - r_l) - g)))",
        log="-log(1 + exp(-(beta*(r_w - r_l) - g)))",
        loss="log(1 + exp(-(beta*(r_w - r_l) - g)))",
        scale="1",
        dropped="0",
        symbols={"r_w": "chosen", "r_l": "rejected"},
        parameters={"beta": "beta", "g": "gamma"},
    ),
}

"""What names mean: which operation a function is, what a loss expects, where a project's own modules are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from lossary.lint.known import NAMES, SIGNATURES

# --- one spelling for each name -------------------------------------------------------------------------------------

_SPELLINGS = (
    (r"^(tensorflow\.compat\.v[12]|tensorflow\.python)\.", "tensorflow."),
    (r"^(tensorflow\.keras|tf_keras|keras\.api|keras\.api\._v2\.keras)(\.|$)", r"keras\2"),
    (r"^lossary\.nn\.functional\.", "torch.nn.functional."),
    (r"^lossary\.nn\.modules\.", "lossary.nn."),
    (r"^torch\.nn\.modules\.\w+\.", "torch.nn."),
    (r"^optax\.losses\.(_\w+\.)?", "optax."),
    (r"^optax\._src\.loss\.", "optax."),
    (r"^lossary\.losses\.\w+\.", "lossary."),
    (r"^keras\.(src\.)?losses\.losses\.", "keras.losses."),
    (r"^flax\.(linen|nnx)\.(softmax|log_softmax|sigmoid|log_sigmoid|relu)$", r"jax.nn.\2"),
    (r"^cupy\.", "numpy."),
)
_RESPELL = tuple((re.compile(pattern), new) for pattern, new in _SPELLINGS)
ROOTS = frozenset(
    "torch keras tensorflow tf_keras optax jax lossary numpy scipy math flax cupy torchvision timm transformers cv2 PIL "
    "imageio skimage sklearn".split()
)


@cache
def canonical(dotted: str) -> str:
    """Return the one name by which the rules know a function, class or module.

    >>> canonical("tensorflow.keras.losses.Huber"), canonical("torch.nn.modules.loss.MSELoss")
    ('keras.losses.Huber', 'torch.nn.MSELoss')
    """
    for pattern, new in _RESPELL:
        dotted = pattern.sub(new, dotted)
    if dotted.startswith("lossary.nn.") and dotted.removeprefix("lossary.nn.") in NAMES["torch.nn"]:
        return "torch.nn." + dotted.removeprefix("lossary.nn.")
    return dotted


# --- operations -----------------------------------------------------------------------------------------------------

_SAME = """softmax log_softmax sigmoid exp log log1p expm1 sqrt square sum mean abs argmax argmin relu softplus logsumexp
one_hot squeeze unsqueeze reshape view flatten sign round where tanh logaddexp clone detach add softmin
ones zeros ones_like zeros_like rand randn randint full sub mul maximum minimum std var norm floor
stack cat concatenate transpose""".split()
_OTHERWISE = {
    "expit": "sigmoid",
    "log_sigmoid": "logsigmoid",
    "logsigmoid": "logsigmoid",
    "log_expit": "logsigmoid",
    "reduce_sum": "sum",
    "reduce_mean": "mean",
    "reduce_max": "max",
    "reduce_logsumexp": "logsumexp",
    "max": "max",
    "amax": "max",
    "clamp": "clamp",
    "clamp_min": "clamp",
    "clip": "clamp",
    "clip_by_value": "clamp",
    "nan_to_num": "clamp",
    "absolute": "abs",
    "expand_dims": "unsqueeze",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "div": "div",
    "true_divide": "div",
    "negative": "neg",
    "neg": "neg",
    "pow": "pow",
    "power": "pow",
    "linalg.norm": "norm",
    "random.rand": "rand",
    "random.randn": "randn",
    "random.randint": "randint",
}
_PLACES = (
    "torch torch.nn.functional torch.special torch.Tensor numpy jax.numpy jax.nn jax.scipy.special scipy.special "
    "tensorflow tensorflow.math tensorflow.nn keras.ops keras.ops.nn keras.activations keras.backend math"
).split()
OPERATIONS = {f"{place}.{name}": name for place in _PLACES for name in _SAME}
OPERATIONS |= {f"{place}.{name}": known for place in _PLACES for name, known in _OTHERWISE.items()}
OPERATIONS |= {
    "builtins.sum": "total",
    "builtins.abs": "abs",
    "builtins.float": "item",
    "builtins.round": "round",
    "builtins.max": "maximum",
    "builtins.min": "minimum",
    "numpy.int": "",
    "keras.utils.to_categorical": "one_hot",
    "keras.utils.np_utils.to_categorical": "one_hot",
    "pandas.get_dummies": "one_hot",
    "numpy.linspace": "linspace",
    "numpy.arange": "arange",
    "torch.linspace": "linspace",
    "torch.arange": "arange",
    "math.fabs": "abs",
    "torch.linalg.norm": "norm",
    "torch.nn.functional.softmin": "softmax",
}

for _place in ("torch", "torch.nn.functional", "keras.ops", "tensorflow.nn", "tensorflow.image", "keras.backend"):
    OPERATIONS |= {
        f"{_place}.{name}": known
        for known, names in {
            "dropout": "dropout dropout1d dropout2d dropout3d alpha_dropout",
            "interpolate": "interpolate upsample resize",
            "pool": "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d adaptive_avg_pool1d "
            "adaptive_avg_pool2d adaptive_max_pool2d avg_pool max_pool average_pool",
            "pad": "pad",
            "gather": "gather take_along_dim",
            "masked_fill": "masked_fill",
            "normalize": "normalize l2_normalize",
            "cosine_similarity": "cosine_similarity",
            "acos": "acos arccos",
        }.items()
        for name in names.split()
    }
OPERATIONS |= {
    f"{place}.{name}": "acos"
    for place in ("numpy", "jax.numpy", "math", "tensorflow.math")
    for name in ("acos", "arccos")
}

# Methods that say what they do, whatever they are called on. `log` and `exp` count only without arguments.
METHODS = {
    **{
        name: name
        for name in _SAME
        if name not in ("where", "view", "round", "add", "full", "ones", "zeros", "stack", "cat")
    },
    **{name: known for name, known in _OTHERWISE.items() if "." not in name},
    "view": "view",
    "round": "round",
    "sigmoid_": "sigmoid",
    "exp_": "exp",
    "log_": "log",
    "clamp_": "clamp",
    "astype": "cast",
    "to": "cast",
    "type": "cast",
    "type_as": "cast",
    "float": "float",
    "double": "float",
    "half": "float",
    "bfloat16": "float",
    "long": "long",
    "int": "long",
    "byte": "long",
    "item": "item",
    "tolist": "item",
    "numpy": "detach",
    "detach_": "detach",
    "contiguous": "same",
    "cpu": "same",
    "cuda": "same",
    "permute": "permute",
    "requires_grad_": "requires_grad",
    "ravel": "flatten",
    "expand": "expand",
    "flatten": "flatten",
    "t": "permute",
    "copy": "same",
    "topk": "",
    **{f"{name}_": name for name in ("add", "sub", "mul", "div", "pow", "sqrt", "neg", "softmax", "relu", "tanh")},
    "masked_fill": "masked_fill",
    "masked_fill_": "masked_fill",
    "gather": "gather",
    "squeeze_": "squeeze",
    "unsqueeze_": "unsqueeze",
    "acos": "acos",
    "arccos": "acos",
    "bool": "bool",
}
WITHOUT_ARGUMENTS = frozenset({"log", "exp", "sqrt", "item", "float", "long", "copy", "square", "sign", "t", "add"})

# Operations after which numbers mean what they meant before.
KEEPS_MEANING = frozenset(
    "squeeze unsqueeze reshape view flatten cast float same clone detach permute transpose index expand requires_grad bounded model".split()
)

# Operations after which probabilities are still probabilities and logits still logits, though the numbers may differ.
KEEPS_SCALE = frozenset("clamp interpolate dropout pool pad gather masked_fill".split())
AVERAGES = frozenset({"mean"})

# Layers of PyTorch and Keras as operations on their input.
LAYERS = {
    "torch.nn.Softmax": "softmax",
    "torch.nn.Softmax2d": "softmax",
    "torch.nn.LogSoftmax": "log_softmax",
    "torch.nn.Sigmoid": "sigmoid",
    "torch.nn.LogSigmoid": "logsigmoid",
    "torch.nn.ReLU": "relu",
    "torch.nn.Softplus": "softplus",
    "torch.nn.Tanh": "tanh",
    "torch.nn.Linear": "linear",
    "torch.nn.LazyLinear": "linear",
    "torch.nn.Bilinear": "linear",
    "torch.nn.Conv1d": "conv",
    "torch.nn.Conv2d": "conv",
    "torch.nn.Conv3d": "conv",
    "torch.nn.ConvTranspose1d": "conv",
    "torch.nn.ConvTranspose2d": "conv",
    "torch.nn.ConvTranspose3d": "conv",
    "torch.nn.Identity": "same",
    "torch.nn.Flatten": "flatten_layer",
    **{f"torch.nn.{name}": "dropout" for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout")},
    **{f"torch.nn.{name}": "interpolate" for name in ("Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d")},
    **{f"torch.nn.{kind}Pool{n}d": "pool" for kind in ("Avg", "Max", "AdaptiveAvg", "AdaptiveMax") for n in (1, 2, 3)},
    "torch.nn.Softmin": "softmax",
    "torch.nn.Unflatten": "flatten_layer",
    "torch.nn.LeakyReLU": "leaky_relu",
    "torch.nn.GELU": "gelu",
    **{f"flax.linen.{name}": "linear" for name in ("Dense", "DenseGeneral")},
    **{f"flax.linen.{name}": "conv" for name in ("Conv", "ConvTranspose")},
    "flax.linen.Dropout": "dropout",
    "flax.nnx.Linear": "linear",
    "flax.nnx.Conv": "conv",
    "flax.nnx.Dropout": "dropout",
    **{f"keras.layers.{name}": "dropout" for name in ("Dropout", "SpatialDropout1D", "SpatialDropout2D")},
    "keras.layers.Flatten": "flatten_layer",
    "keras.layers.Reshape": "flatten_layer",
    "keras.layers.UpSampling2D": "interpolate",
    "keras.layers.GlobalAveragePooling1D": "pool",
    "keras.layers.GlobalAveragePooling2D": "pool",
    "keras.layers.Softmax": "softmax",
    "keras.layers.ReLU": "relu",
    "keras.layers.Identity": "same",
}
ACTIVATIONS = {
    "softmax": "softmax",
    "sigmoid": "sigmoid",
    "log_softmax": "log_softmax",
    "log_sigmoid": "logsigmoid",
    "relu": "relu",
    "linear": "same",
    "tanh": "tanh",
    "softplus": "softplus",
}

# Layers of Keras that make new numbers: what they do, the keyword of their size, and where an activation may stand.
KERAS_KINDS = {
    "Dense": ("linear", "units", 1),
    **{f"{name}{n}D": ("conv", "filters", 99) for name in ("Conv", "SeparableConv") for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": ("conv", "filters", 99) for n in (1, 2, 3)},
}
SEQUENTIAL = frozenset({"torch.nn.Sequential", "keras.Sequential", "flax.linen.Sequential", "flax.nnx.Sequential"})
KERAS_MODELS = frozenset({"keras.Sequential", "keras.Model", "keras.models.Sequential", "keras.models.Model"})
LAYER_PLACES = ("torch.nn.", "keras.layers.", "keras.losses.", "flax.linen.", "flax.nnx.")
INHERITED_PLACES = (*LAYER_PLACES, "keras.Sequential")
PASSES_THROUGH = frozenset({"torch.compile", "torch.jit.script", "jax.jit", "flax.nnx.jit", "tensorflow.function"})
_OPTIMISERS = re.compile(
    r"^(torch\.optim\.[A-Z]\w*|transformers\.(AdamW|Adafactor)|transformers\.optimization\.(AdamW|Adafactor)"
    r"|(bitsandbytes\.optim|apex\.optimizers|torch_optimizer|lion_pytorch|timm\.optim|deepspeed\.ops\.adam)\.\w+)$"
)


BUILTINS = frozenset({"sum", "abs", "float", "round", "max", "min", "len", "range", "setattr", "getattr"})


def is_exported(place: str, name: str) -> bool:
    """Whether ``from place import *`` may bring a name."""
    place = canonical(place)
    if place in NAMES:
        return name in NAMES[place]
    if place == "keras.models":
        return name in ("Sequential", "Model", "load_model")
    if place in ("keras.layers", "torch.optim"):
        return name[:1].isupper()
    return f"{place}.{name}" in OPERATIONS


def is_optimiser(name: str) -> bool:
    """Whether a name makes an optimiser of PyTorch."""
    return _OPTIMISERS.match(name) is not None


def is_loss(name: str) -> bool:
    """Whether a name is that of a loss."""
    return name in KERAS_LOSSES or loss_facts(name) is not None


def is_inherited(name: str) -> bool:
    """Whether a class of this name, as a base, decides what an instance does when it is called."""
    return name in SEQUENTIAL or name in LAYERS or (name.startswith(("torch.nn.", "keras.losses.")) and is_loss(name))


# --- losses ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LossFacts:
    """What a loss takes. `input`: logits (of classes), logit (of one yes or no), log-probabilities, ..."""

    name: str  # as people call it
    input: str  # "softmax-logits", "sigmoid-logits", "log-probability", "probability", "" where nothing is to be said
    arguments: tuple[str, ...] = ("input", "target")
    target: str = ""  # "index", "zero-one", "sign", "probability", ""
    symmetric: bool = False
    pointwise: bool = False
    framework: str = "torch"


def _torch(module: str, function: str, input: str, **facts: object) -> dict[str, LossFacts]:
    arguments = facts.pop("arguments", ("input", "target"))
    return {
        f"torch.nn.{module}": LossFacts(module, input, arguments, **facts),  # type: ignore[arg-type]
        f"torch.nn.functional.{function}": LossFacts(function, input, arguments, **facts),  # type: ignore[arg-type]
    }


LOSSES: dict[str, LossFacts] = {
    **_torch("CrossEntropyLoss", "cross_entropy", "softmax-logits", target="index"),
    **_torch("NLLLoss", "nll_loss", "log-probability", target="index"),
    **_torch("BCELoss", "binary_cross_entropy", "probability", target="zero-one", pointwise=True),
    **_torch(
        "BCEWithLogitsLoss", "binary_cross_entropy_with_logits", "sigmoid-logits", target="zero-one", pointwise=True
    ),
    **_torch("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss", "sigmoid-logits", target="zero-one"),
    **_torch("KLDivLoss", "kl_div", "log-probability", target="probability"),
    **_torch(
        "CTCLoss", "ctc_loss", "log-probability", arguments=("log_probs", "targets", "input_lengths", "target_lengths")
    ),
    **_torch("PoissonNLLLoss", "poisson_nll_loss", "log-rate", pointwise=True),
    **_torch("GaussianNLLLoss", "gaussian_nll_loss", "", arguments=("input", "target", "var"), pointwise=True),
    **_torch("MSELoss", "mse_loss", "", symmetric=True, pointwise=True),
    **_torch("L1Loss", "l1_loss", "", symmetric=True, pointwise=True),
    **_torch("SmoothL1Loss", "smooth_l1_loss", "", symmetric=True, pointwise=True),
    **_torch("HuberLoss", "huber_loss", "", symmetric=True, pointwise=True),
    **_torch("SoftMarginLoss", "soft_margin_loss", "", target="sign", pointwise=True),
    **_torch("HingeEmbeddingLoss", "hinge_embedding_loss", "", target="sign"),
    **_torch("MarginRankingLoss", "margin_ranking_loss", "", arguments=("input1", "input2", "target"), target="sign"),
    **_torch(
        "CosineEmbeddingLoss", "cosine_embedding_loss", "", arguments=("input1", "input2", "target"), target="sign"
    ),
    **_torch("MultiMarginLoss", "multi_margin_loss", "", target="index"),
    **_torch("MultiLabelMarginLoss", "multilabel_margin_loss", "", target="index-list"),
    **_torch("TripletMarginLoss", "triplet_margin_loss", "", arguments=("anchor", "positive", "negative")),
    "optax.softmax_cross_entropy": LossFacts(
        "softmax_cross_entropy", "softmax-logits", ("logits", "labels"), "probability", framework="optax"
    ),
    "optax.safe_softmax_cross_entropy": LossFacts(
        "safe_softmax_cross_entropy", "softmax-logits", ("logits", "labels"), "probability", framework="optax"
    ),
    "optax.softmax_cross_entropy_with_integer_labels": LossFacts(
        "softmax_cross_entropy_with_integer_labels", "softmax-logits", ("logits", "labels"), "index", framework="optax"
    ),
    "optax.sigmoid_binary_cross_entropy": LossFacts(
        "sigmoid_binary_cross_entropy", "sigmoid-logits", ("logits", "labels"), "zero-one", framework="optax"
    ),
    "optax.sigmoid_focal_loss": LossFacts(
        "sigmoid_focal_loss", "sigmoid-logits", ("logits", "labels"), "zero-one", framework="optax"
    ),
    "optax.kl_divergence": LossFacts(
        "kl_divergence", "log-probability", ("log_predictions", "targets"), "probability", framework="optax"
    ),
    "optax.hinge_loss": LossFacts("hinge_loss", "", ("predictor_outputs", "targets"), "sign", framework="optax"),
    "torchvision.ops.sigmoid_focal_loss": LossFacts(
        "sigmoid_focal_loss", "sigmoid-logits", ("inputs", "targets"), "zero-one", framework="torchvision"
    ),
    "tensorflow.nn.softmax_cross_entropy_with_logits": LossFacts(
        "softmax_cross_entropy_with_logits",
        "softmax-logits",
        ("labels", "logits"),
        "probability",
        framework="tensorflow",
    ),
    "tensorflow.nn.sparse_softmax_cross_entropy_with_logits": LossFacts(
        "sparse_softmax_cross_entropy_with_logits",
        "softmax-logits",
        ("labels", "logits"),
        "index",
        framework="tensorflow",
    ),
    "tensorflow.nn.sigmoid_cross_entropy_with_logits": LossFacts(
        "sigmoid_cross_entropy_with_logits", "sigmoid-logits", ("labels", "logits"), "zero-one", framework="tensorflow"
    ),
}
LOSSES["torchvision.ops.focal_loss.sigmoid_focal_loss"] = LOSSES["torchvision.ops.sigmoid_focal_loss"]
PREDICTION = (
    "input",
    "logits",
    "log_probs",
    "log_predictions",
    "inputs",
    "predictor_outputs",
    "input1",
    "y_pred",
    "pred",
)
TARGET = ("target", "labels", "targets", "y_true")

# Keras: by class, by function and by the strings that `compile` takes.
_KERAS = {
    "CategoricalCrossentropy": ("categorical_crossentropy", "softmax"),
    "SparseCategoricalCrossentropy": ("sparse_categorical_crossentropy", "softmax"),
    "CategoricalFocalCrossentropy": ("categorical_focal_crossentropy", "softmax"),
    "BinaryCrossentropy": ("binary_crossentropy", "sigmoid"),
    "BinaryFocalCrossentropy": ("binary_focal_crossentropy", "sigmoid"),
}
KERAS_LOSSES: dict[str, tuple[str, str]] = {}
for _class, (_function, _activation) in _KERAS.items():
    KERAS_LOSSES[f"keras.losses.{_class}"] = (_class, _activation)
    for _place in ("keras.losses", "keras.metrics", "keras.backend", "keras.ops"):
        KERAS_LOSSES[f"{_place}.{_function}"] = (_function, _activation)
KERAS_STRINGS = {name: fact for fact in _KERAS.values() for name in (fact[0],)} | {
    name: (name, activation) for name, (_, activation) in _KERAS.items()
}
KERAS_POSITIONS = {  # where `from_logits` stands among the positional arguments
    "class": {"BinaryFocalCrossentropy": 3, "CategoricalFocalCrossentropy": 2, "SparseCategoricalCrossentropy": 0},
    "function": {"binary_focal_crossentropy": 5, "categorical_focal_crossentropy": 4},
}


@cache
def lossary_losses() -> dict[str, LossFacts]:
    """Return the facts of Lossary's own losses, from the records of its catalogue."""
    import lossary

    found: dict[str, LossFacts] = {}
    for name in lossary.names():
        loss = lossary.get(name)
        rows = any(loss.signatures[0].inputs[:1] == (("c",),) for _ in (0,))
        meaning = {"logit": "softmax-logits" if rows else "sigmoid-logits"}.get(loss.input, loss.input)
        if loss.input in ("probability", "log-probability") and not rows:
            meaning = {"probability": "probability"}.get(loss.input, "")
        if meaning not in ("softmax-logits", "sigmoid-logits", "probability", "log-probability"):
            meaning = ""
        target = {"{0, ..., c-1}": "index", "{-1, 1}": "sign", "{0, 1}": "zero-one", "[0, 1]": "zero-one"}
        facts = LossFacts(name, meaning, loss.arguments, target.get(loss.target or "", ""), framework="lossary")
        for known in (name, *loss.aliases):
            found[f"lossary.{known}"] = facts
    return found


def loss_facts(name: str) -> LossFacts | None:
    """Return what is known of a loss by its canonical name."""
    if name.startswith("lossary.") and name not in LOSSES:
        return lossary_losses().get(name)
    return LOSSES.get(name)


def parameters(name: str) -> tuple[str, ...] | None:
    """Return the parameters of a loss of PyTorch, in order."""
    return SIGNATURES.get(name)


def is_a_name_of(place: str, name: str) -> bool:
    """Whether a module of a framework has a name."""
    known = NAMES[place]
    return name in known or (place == "optax" and name in NAMES["optax.losses"])

"""Advice on a loss, derived from the facts of its record: when to use it, and when not, in English and Chinese.

Each piece is a condition on the record and a sentence in both languages. No sentence names a particular loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from lossary.catalogue import Loss
from lossary.text import fact


class Advice(NamedTuple):
    """A sentence in both languages, and the records that it is true of."""

    applies: Callable[[Loss], bool]
    en: str
    zh: str


def has(*properties: str) -> Callable[[Loss], bool]:
    """Return the condition that a record has all these properties."""
    return lambda loss: set(properties) <= loss.properties


_REGRESSION = {"regression", "positive", "count"}

USE = (
    Advice(
        lambda loss: bool(loss.tasks),
        "For tasks of the kind: {tasks}.",
        "适用的任务：{tasks}。",
    ),
    Advice(
        has("robust"),
        "When targets contain gross outliers: the influence of any one example is bounded.",
        "目标中含有严重离群值时：单个样本的影响有上界。",
    ),
    Advice(
        lambda loss: "proper" in loss.properties and bool({"binary", "multiclass", "probability"} & set(loss.tasks)),
        "When the output is read as a probability: the expected loss is smallest at the true distribution.",
        "需要把输出当作概率时：期望损失在真实分布处最小（适定评分规则）。",
    ),
    Advice(
        lambda loss: bool(loss.elicits),
        "When the prediction should be {elicits}: that is the best constant prediction.",
        "希望预测值是{elicits}时：它就是最优常数预测。",
    ),
    Advice(
        has("calibrated"),
        "When only the decision counts: minimising it leads to the decisions of the Bayes classifier.",
        "只关心分类决策时：最小化它得到与贝叶斯分类器一致的决策。",
    ),
    Advice(
        has("convex", "smooth"),
        "With linear models and second-order optimisers: it is convex in the prediction and has a Lipschitz gradient.",
        "线性模型与二阶优化方法：它关于预测值是凸的，且梯度利普希茨连续。",
    ),
    Advice(
        lambda loss: loss.constant_hessian and not loss.degenerate_hessian,
        "With boosters and Newton steps: the diagonal of the Hessian is one constant.",
        "提升树与牛顿法：海森矩阵的对角线是常数。",
    ),
    Advice(
        lambda loss: loss.coupling is not None,
        "With large batches of examples whose labels, or partners, repeat within the batch.",
        "批次较大、且同一批次内有相同标签（或配对）的样本时。",
    ),
)

AVOID = (
    Advice(
        has("evaluation"),
        "Not for training: its gradient is 0 almost everywhere. Use it to measure.",
        "不能用于训练：梯度几乎处处为 0；只用来评估。",
    ),
    Advice(
        lambda loss: bool(loss.unbounded_form),
        "Not on the raw output of a network: `{unbounded}` takes unbounded outputs and stays exact in the extremes.",
        "不要直接用于网络的原始输出：`{unbounded}` 接受无界输出，在极端取值下依然精确。",
    ),
    Advice(
        lambda loss: loss.family == "regression" and not {"robust", "lipschitz"} & loss.properties,
        "Not where a few targets are grossly wrong: the gradient grows with the residual, so outliers dominate.",
        "少数目标严重出错时不宜使用：梯度随残差增大，离群值会占主导。",
    ),
    Advice(
        lambda loss: bool({"binary", "multiclass"} & set(loss.tasks)) and "proper" not in loss.properties,
        "Not where probabilities are needed: the scores have to be calibrated on held-out data first.",
        "需要概率输出时不宜使用：得分要先在留出数据上校准。",
    ),
    Advice(
        lambda loss: "convex" not in loss.properties and bool(_REGRESSION & set(loss.tasks)),
        "Not from an arbitrary starting point: it is not convex, so start from the solution of a convex loss.",
        "不要从任意初值开始：它不是凸函数，最好从某个凸损失的解出发。",
    ),
    Advice(
        lambda loss: loss.degenerate_hessian and loss.derivatives > 1 and bool(loss.tasks) and loss.coupling is None,
        "Not with plain Newton steps: the diagonal of the Hessian is 0 or negative in places; boosters need a positive "
        "substitute.",
        "不要直接用牛顿步：海森矩阵的对角线有些地方为零或为负，提升树需要用正数代替。",
    ),
    Advice(
        has("piecewise linear"),
        "The gradient does not shrink near the optimum: lower the learning rate towards the end.",
        "梯度在最优点附近不会变小：训练后期应降低学习率。",
    ),
    Advice(
        has("bounded"),
        "Learning may start slowly: the loss is bounded, so examples that are far off have almost no gradient.",
        "起步可能很慢：损失有界，离得很远的样本几乎没有梯度。",
    ),
    Advice(
        lambda loss: bool(loss.target_units),
        "Set {units} with the scale of the target in mind: it is in the units of the target.",
        "设置 {units} 时要考虑目标的尺度：它与目标同单位。",
    ),
    Advice(
        lambda loss: loss.coupling is not None,
        "Not with small batches: the loss of an example depends on the others in its batch, so splitting a batch "
        "changes the objective.",
        "批次较小时不宜使用：一个样本的损失取决于同批的其他样本，拆分批次会改变目标函数。",
    ),
)


def advice(loss: Loss, pieces: Iterable[Advice], lang: str) -> list[str]:
    """Return the sentences that apply to a loss."""
    from lossary.catalogue.vocabulary import ELICITS

    comma, zh = ("、", "zh") if lang == "zh" else (", ", "en")
    elicits = ELICITS[loss.elicits]
    if lang == "zh":
        elicits = {"mean": "目标的均值", "median": "目标的中位数"}.get(
            loss.elicits, "目标的分位数（由 `quantile` 指定）"
        )
    words = {
        "tasks": comma.join(fact(task, zh) for task in loss.tasks),  # type: ignore[arg-type]
        "elicits": elicits,
        "unbounded": loss.unbounded_form,
        "units": comma.join(f"`{name}`" for name in loss.target_units),
    }
    return [getattr(piece, lang).format(**words) for piece in pieces if piece.applies(loss)]

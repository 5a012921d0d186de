"""The page of ten common losses: each by hand in NumPy, then by its name; run while the page is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lossary.text.phrases import Lang


class Common(NamedTuple):
    """A loss: what it is for in both languages, the statements that compute it by hand, and the call."""

    name: str
    en: str
    zh: str
    statements: str
    call: str


TITLE = {"en": "Ten common losses with code", "zh": "十个常用损失函数（附代码）"}
HEAD = {
    "en": "Each loss is computed by hand first, then by its name. All numbers are means over the examples. The page was run "
    "when it was made. The arrays are small enough for pencil and paper.",
    "zh": "每个损失先手算一遍，再按名称调用。所有数值都是样本平均值。本页的代码在生成页面时实际运行过；数组很小，用纸笔就能验算。",
}

TEN = (
    Common(
        "squared_error",
        "**MSE.** The default of regression: Gaussian errors of constant variance make it the maximum likelihood. Small "
        "errors get smaller, errors above 1 larger.",
        "**MSE。** 回归的默认选择：误差服从方差恒定的高斯分布时，它就是最大似然。小于 1 的误差被缩小，大于 1 的被放大。",
        "pred, target = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.5, 3.5])\n((pred - target) ** 2).mean()",
        "lossary.mean(lossary.squared_error(pred, target))",
    ),
    Common(
        "absolute_error",
        "**MAE.** The median instead of the mean: outliers count by their size, not by its square. At 0 it has two slopes, "
        "-1 from the left and 1 from the right; the gradient there is taken to be 0.",
        "**MAE。** 得到中位数而不是均值：离群值按大小计入，而不是按平方。它在 0 处有两个斜率，左边 -1、右边 1，这里约定梯度为 0。",
        "abs(pred - target).mean()",
        "lossary.mean(lossary.absolute_error(pred, target))",
    ),
    Common(
        "huber",
        "**Huber.** Quadratic for residuals up to `delta`, linear beyond: smooth at the optimum, robust in the tails.",
        "**Huber。** 残差不超过 `delta` 时为二次，超出后为线性：最优点附近光滑，尾部稳健。",
        "r = abs(pred - target)\nnp.where(r <= 0.75, r**2 / 2, 0.75 * (r - 0.75 / 2)).mean()",
        "lossary.mean(lossary.huber(pred, target, delta=0.75))",
    ),
    Common(
        "binary_cross_entropy_with_logits",
        "**Binary cross-entropy.** Two classes, from the logit: minus the logarithm of the probability that the sigmoid gives "
        "to the label. Working on the logit keeps it exact where the sigmoid saturates.",
        "**二元交叉熵。** 二分类，从对数几率算起：sigmoid 给真实标签的概率取负对数。直接在对数几率上计算，sigmoid 饱和时依然精确。",
        "z, y = np.array([1.5, -0.5, -1.0]), np.array([1, 0, 1])\np = 1 / (1 + np.exp(-z))\n"
        "-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()",
        "lossary.mean(lossary.binary_cross_entropy_with_logits(z, y))",
    ),
    Common(
        "softmax_cross_entropy",
        "**Cross-entropy.** Several classes, from logits: softmax, then minus the logarithm of the probability of the label. "
        "Pass logits, never the output of a softmax.",
        "**交叉熵。** 多分类，从对数几率算起：先 softmax，再对标签的概率取负对数。应传入对数几率，不要传入 softmax 的输出。",
        "logits, labels = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]]), np.array([0, 2])\n"
        "e = np.exp(logits - logits.max(axis=1, keepdims=True))\n"
        "-np.log((e / e.sum(axis=1, keepdims=True))[[0, 1], labels]).mean()",
        "lossary.mean(lossary.softmax_cross_entropy(logits, labels))",
    ),
    Common(
        "hinge",
        "**Hinge.** Labels -1 and 1: what the signed score falls short of the margin 1. With an L2 penalty on the weights "
        "it is the support vector machine.",
        "**合页损失。** 标签为 -1 和 1：带符号得分离间隔 1 还差多少。加上权重的 L2 惩罚就是支持向量机。",
        "score, sign = np.array([2.0, 0.3, -0.5]), np.array([1, -1, 1])\nnp.maximum(0, 1 - sign * score).mean()",
        "lossary.mean(lossary.hinge(score, sign))",
    ),
    Common(
        "exponential",
        "**Exponential loss.** The loss of AdaBoost: a wrong score costs exponentially, so it is sensitive to outliers.",
        "**指数损失。** AdaBoost 的损失：得分错得越多，代价按指数增长，因此对离群值敏感。",
        "np.exp(-sign * score).mean()",
        "lossary.mean(lossary.exponential(score, sign))",
    ),
    Common(
        "softmax_focal",
        "**Focal loss.** Cross-entropy that down-weights examples already classified correctly, by `(1 - p) ** gamma`.",
        "**焦点损失。** 降低易分样本权重的交叉熵，权重为 `(1 - p) ** gamma`。",
        "p = (e / e.sum(axis=1, keepdims=True))[[0, 1], labels]\n-((1 - p) ** 2 * np.log(p)).mean()",
        "lossary.mean(lossary.softmax_focal(logits, labels, gamma=2.0))",
    ),
    Common(
        "kl_divergence",
        "**KL divergence.** How far a predicted distribution, given by its log-probabilities, is from a target "
        "distribution; 0 if and only if they coincide.",
        "**KL 散度。** 预测分布（以对数概率给出）与目标分布相差多远；当且仅当两者相同时为 0。",
        "log_q, p = np.log([[0.3, 0.3, 0.4]]), np.array([[0.2, 0.5, 0.3]])\n(p * (np.log(p) - log_q)).sum(axis=1).mean()",
        "lossary.mean(lossary.kl_divergence(log_q, p))",
    ),
    Common(
        "triplet_margin",
        "**Triplet loss.** The anchor should be nearer to the positive than to the negative, by at least the margin.",
        "**三元组损失。** 锚点到正例的距离应比到负例的距离近，至少相差一个间隔。",
        "a, b, c = np.array([[0.0, 0.0]]), np.array([[1.0, 0.0]]), np.array([[1.5, 0.0]])\n"
        "np.maximum(0, 1 + np.linalg.norm(a - b, axis=1) - np.linalg.norm(a - c, axis=1)).mean()",
        "lossary.mean(lossary.triplet_margin(a, b, c))",
    ),
)

_SETUP = "import numpy as np\nimport lossary"


def page(lang: Lang, session: Callable[[str], str], title: Callable[[str], str]) -> str:
    """Return the page; `session` runs statements and returns what they print, `title` names a loss."""
    parts = [f"# {TITLE[lang]}", HEAD[lang], f"```pycon\n{session(_SETUP)}\n```"]
    before = _SETUP
    for each in TEN:
        code = "\n".join([f"{line}" if "=" in line.split("(")[0] else f"round(float({line}), 6)" for line in
                          [*each.statements.splitlines(), each.call]])  # fmt: skip
        shown = session(f"{before}\n{code}")[len(session(before)) + 1 :]
        before += "\n" + code
        parts += [f"## {title(each.name)}", f"{getattr(each, lang)} [`{each.name}`](../losses/{each.name}.md)"]
        parts.append(f"```pycon\n{shown}\n```")
    return "\n\n".join(parts) + "\n"

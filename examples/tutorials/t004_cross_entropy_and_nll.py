"""Tutorial 004, cross-entropy and NLL: computed by hand, and the slip of passing softmax where log-softmax belongs."""

# %% [markdown] lang="en"
# # Cross-entropy and negative log-likelihood
#
# A *probability* says how likely data are, given parameters; a *likelihood* is the same number read the other way: how
# well parameters explain the data that we have. The logarithm turns products into sums, the sign makes it a loss.
#
# Cross-entropy = softmax, logarithm, the entry of the label, minus, mean. Each step by hand:

# %% [markdown] lang="zh"
# # 交叉熵与负对数似然
#
# *概率*说的是：给定参数，数据出现的可能性；*似然*是同一个数反过来看：参数在多大程度上解释了已有的数据。
# 取对数把连乘变成求和，取负号使它成为损失。
#
# 交叉熵 = softmax、取对数、取出标签对应的分量、取负、求平均。下面逐步手算：

# %%
import numpy as np

import lossary
from lossary.errors import DomainError

logits = np.array([[0.05, -0.6461, 0.913, -0.0553], [-0.3201, 1.5033, 0.207, 1.8456]])
labels = np.array([0, 0])
exponentials = np.exp(logits)
probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
print("softmax:\n", probabilities.round(4))
assert probabilities.round(4).tolist() == [[0.2097, 0.1045, 0.4970, 0.1887], [0.0568, 0.3517, 0.0962, 0.4953]]
picked = probabilities[np.arange(2), labels]
by_hand = -np.log(picked).mean()
by_library = lossary.mean(lossary.softmax_cross_entropy(logits, labels))
print(f"by hand {by_hand:.4f}, by the library {by_library:.4f}")
assert round(float(by_library), 4) == round(float(by_hand), 4) == 2.2152

# %% [markdown] lang="en"
# A label as an index and the same label one-hot give the same number: all other terms are multiplied by 0.

# %% [markdown] lang="zh"
# 用下标表示的标签与 one-hot 标签给出同一个数：其余各项都乘以 0。

# %%
one_hot = np.eye(4)[labels]
assert np.allclose(lossary.softmax_cross_entropy(logits, one_hot), lossary.softmax_cross_entropy(logits, labels))
grad = lossary.softmax_cross_entropy.grad(logits, labels, reduction="mean")
print("gradient (softmax - one_hot) / 2:\n", grad.round(4))
assert np.allclose(grad, (probabilities - one_hot) / 2)

# %% [markdown] lang="en"
# ## NLL is the second half
#
# `nll` takes **log**-probabilities and picks. Cross-entropy = log-softmax, then NLL.

# %% [markdown] lang="zh"
# ## NLL 是后半步
#
# `nll` 的输入是**对数**概率，它只负责取出对应的分量。交叉熵 = log-softmax，再接 NLL。

# %%
logits = np.array(
    [
        [0.1076, -1.4376, -0.6307, 0.6451, -1.5122],
        [1.5105, 0.7662, -1.7587, -1.4581, 1.1357],
        [-1.4673, -0.5111, -0.0779, -0.7404, 1.4447],
    ]
)
labels = np.array([1, 0, 4])
softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
value = lossary.mean(lossary.nll(np.log(softmax), labels))
print(f"log-softmax, then nll: {value:.4f}")
assert round(float(value), 4) == 1.3537
assert np.isclose(value, lossary.mean(lossary.softmax_cross_entropy(logits, labels)))

# %% [markdown] lang="en"
# **The classic slip**: softmax where log-softmax belongs. The formula picks probabilities and negates them: a negative
# number, and a gradient that hardly corrects a confident mistake. Lossary refuses and says why.

# %% [markdown] lang="zh"
# **经典错误**：该传 log-softmax 的地方传了 softmax。公式取出概率再取负，得到一个负数，
# 梯度也几乎无法纠正"自信的错误"。Lossary 会拒绝，并说明原因。

# %%
slipped = -softmax[np.arange(3), labels].mean()
print(f"what the formula would say: {slipped:.4f}")
assert round(float(slipped), 4) == -0.3861
try:
    lossary.nll(softmax, labels)
except DomainError as refusal:
    print(refusal)
else:
    raise AssertionError("the slip went unnoticed")

# %% [markdown] lang="en"
# ## Read like a teacher
#
# `explain` writes every quantity with its numbers.

# %% [markdown] lang="zh"
# ## 像老师那样一步步写出来
#
# `explain` 写出每个中间量及其数值（`lang="zh"` 为中文）。

# %%
worked = lossary.explain("softmax_cross_entropy", [[0.05, -0.6461, 0.913, -0.0553]], [0])
print(worked)
assert np.isclose(worked.value, -np.log(0.2097), atol=1e-3)

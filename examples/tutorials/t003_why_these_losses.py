"""Tutorial 003, a summary of losses: from 0-1 to triplet, SVM = hinge + L2, and where squares and logarithms come from."""

# %% [markdown] lang="en"
# # Why these losses
#
# ## What we want and what we can minimise
#
# The 0-1 loss counts mistakes. It is flat nearly everywhere, so its gradient is 0 and says nothing; the others are
# *surrogates* above it, with a slope to walk along.

# %% [markdown] lang="zh"
# # 为什么是这些损失函数
#
# ## 想要最小化的与能够最小化的
#
# 0-1 损失数的是错误个数。它几乎处处是平的，梯度为 0，不提供任何方向；其他损失都是位于它上方的*替代损失*，有坡可下。

# %%
import numpy as np

import lossary
from lossary.inspect.derivation import derive
from lossary.training import SGD, Linear, cosine, fit

print("wrong by T or more:", lossary.zero_one([1.0, 2.0, 3.0], [2.0, 2.5, 3.5], threshold=0.75))
score, label = np.linspace(-3, 3, 13), np.ones(13)
wrong = (score <= 0).astype(float)
for name in ("hinge", "squared_hinge", "exponential"):
    values = lossary.get(name)(score, label)
    print(f"{name:14} at -3: {values[0]:7.3f}   at 0: {values[6]:.3f}   at 3: {values[-1]:.3f}")
    assert (values >= wrong).all()
assert np.isclose(lossary.exponential([-3.0], [1.0])[0], np.exp(3))  # one outlier outweighs all others
assert (lossary.logistic_margin(score, label) / np.log(2) >= wrong).all()

# %% [markdown] lang="en"
# ## SVM = hinge + L2
#
# Without the penalty the hinge is 0 as soon as all points are outside the margin, and the weights may grow for ever; the
# penalty picks the widest margin. Two points at distance 2 show it: the widest margin has $w = 1$, $b = 0$.

# %% [markdown] lang="zh"
# ## 支持向量机 = 合页损失 + L2
#
# 没有惩罚项时，只要所有点都在间隔之外，合页损失就为 0，权重可以任意大；惩罚项选出最宽的间隔。
# 用相距为 2 的两个点来看：间隔最宽时 $w = 1$，$b = 0$。

# %%
model = Linear(1, 1, init="zeros")
X, y = np.array([[-1.0], [1.0], [2.0], [-3.0]]), np.array([-1.0, 1.0, 1.0, -1.0])
fit(model, "hinge", X, y, epochs=1000, optimiser=SGD(lr=0.5), schedule=cosine(1000), l2=0.01)
w, b = model.weight.value.item(), model.bias.value.item()
print(f"w = {w:.3f}, b = {b:.3f}, width of the margin 2 / |w| = {2 / abs(w):.3f}")
assert abs(w - 1) < 0.02 and abs(b) < 0.02

# %% [markdown] lang="en"
# ## Why squares: errors are Gaussian
#
# The likelihood of independent samples is a product; the logarithm makes it a sum; constants are dropped and the sign is
# changed. What remains is the squared error.

# %% [markdown] lang="zh"
# ## 为什么用平方：误差服从高斯分布
#
# 独立样本的似然是连乘；取对数变成求和；去掉常数，改变符号，剩下的就是平方误差。

# %%
for step in derive("half_squared_error").parts[0].steps:
    print(step.plain)

draw = np.random.default_rng(0)
data = draw.normal(5.0, 1.0, 500)
candidates = np.linspace(4, 6, 201)
log_likelihood = [(-((c - data) ** 2) / 2 - np.log(2 * np.pi) / 2).sum() for c in candidates]
mean_loss = [lossary.mean(lossary.half_squared_error(np.full(500, c), data)) for c in candidates]
print("most likely:", candidates[np.argmax(log_likelihood)], "  least loss:", candidates[np.argmin(mean_loss)])
assert np.argmax(log_likelihood) == np.argmin(mean_loss)
assert abs(candidates[np.argmin(mean_loss)] - data.mean()) < 0.01

# %% [markdown] lang="en"
# ## Why cross-entropy: labels are Bernoulli
#
# $P(y|x) = p^y (1 - p)^{1 - y}$, by the same route.

# %% [markdown] lang="zh"
# ## 为什么用交叉熵：标签服从伯努利分布
#
# $P(y|x) = p^y (1 - p)^{1 - y}$，推导过程相同。

# %%
for step in derive("binary_cross_entropy").parts[0].steps:
    print(step.plain)
labels = (draw.random(500) < 0.3).astype(float)
candidates = np.linspace(0.01, 0.99, 99)
mean_loss = [lossary.mean(lossary.binary_cross_entropy(np.full(500, c), labels)) for c in candidates]
likelihood = [np.log(c**labels * (1 - c) ** (1 - labels)).sum() for c in candidates]
assert np.argmax(likelihood) == np.argmin(mean_loss)
print("least loss at", candidates[np.argmin(mean_loss)], "  share of ones", labels.mean())
assert abs(candidates[np.argmin(mean_loss)] - labels.mean()) <= 0.005 + 1e-9

# %% [markdown] lang="en"
# Another noise, another loss: heavy tails (Laplace) give the absolute error, whose best constant is the median, and the
# outlier hardly moves it.

# %% [markdown] lang="zh"
# 噪声不同，损失就不同：重尾的拉普拉斯噪声给出绝对误差，它的最优常数是中位数，离群值几乎影响不了它。

# %%
with_outlier = np.array([1.0, 2.0, 3.0, 4.0, 1000.0])
for name in ("squared_error", "absolute_error"):
    print(f"{name:15} best constant {lossary.get(name).initial_score(with_outlier):.3f}")
assert lossary.squared_error.initial_score(with_outlier) == 202
assert lossary.absolute_error.initial_score(with_outlier) == 3

# %% [markdown] lang="en"
# ## Triplet
#
# Anchor, positive, negative: the positive must be nearer than the negative, by a margin. Once it is, the loss is 0.

# %% [markdown] lang="zh"
# ## 三元组
#
# 锚点、正例、负例：锚点到正例必须比到负例更近，至少近一个间隔。达到之后损失为 0。

# %%
anchor, positive = np.array([[0.0, 0.0]]), np.array([[0.3, 0.4]])  # at distance 0.5
for far in (0.5, 1.0, 2.0):
    value = lossary.triplet_margin(anchor, positive, np.array([[far, 0.0]]), margin=1.0)[0]
    print(f"negative at {far}: loss {value:.2f}")
    assert np.isclose(value, max(0.5 - far + 1.0, 0), atol=1e-5)

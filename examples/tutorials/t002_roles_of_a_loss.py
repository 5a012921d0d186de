"""Tutorial 002, the roles of a loss: it measures, drives the descent, regularises, weighs samples and balances tasks."""

# %% [markdown] lang="en"
# # The roles of a loss
#
# A loss measures the error, drives backpropagation, can hold a regulariser, handles imbalance by weights, adapts the
# weight of samples, and balances tasks. First the numbers, small enough to check by hand.

# %% [markdown] lang="zh"
# # 损失函数的作用
#
# 损失函数衡量误差、驱动反向传播；可以包含正则项，可以用权重处理类别不平衡，可以自适应地调整样本权重，还可以平衡多个任务。
# 先看几个可以手算验证的例子。

# %%
import numpy as np

import lossary
from lossary.training import SGD, Linear, fit

pred, target = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.5, 3.5])
for name, by_hand in (("absolute_error", 2 / 3), ("squared_error", 0.5), ("smooth_l1", 0.25)):
    value, grad = lossary.get(name).value_and_grad(pred, target, reduction="mean")
    print(f"{name:15} {value:.4f}   gradient {grad.round(4)}")
    assert np.isclose(value, by_hand)

probabilities, outcomes = np.array([0.8, 0.4, 0.3]), np.array([1.0, 0.0, 1.0])
value = lossary.mean(lossary.binary_cross_entropy(probabilities, outcomes))
print(f"binary cross-entropy {value:.4f}")
assert np.isclose(value, -(np.log(0.8) + np.log(0.6) + np.log(0.3)) / 3)

p = np.exp([0.2, 0.5, 0.3]) / np.exp([0.2, 0.5, 0.3]).sum()
log_q = np.array([0.1, 0.2, 0.7]) - np.log(np.exp([0.1, 0.2, 0.7]).sum())
print(f"KL divergence {lossary.kl_divergence(log_q, p):.6f}")
assert np.isclose(lossary.kl_divergence(log_q, p), (p * (np.log(p) - log_q)).sum())

# %% [markdown] lang="en"
# **A slip that tutorials make**: the rows `[0.1, 0.2, 0.7]`, called "after softmax", are passed to a cross-entropy,
# which takes *logits* and applies softmax itself. Applied twice, softmax flattens the probabilities, and no prediction
# can reach a loss near 0.

# %% [markdown] lang="zh"
# **教程里常见的疏忽**：把"softmax 之后"的 `[0.1, 0.2, 0.7]` 传给交叉熵，而交叉熵的输入是 *logits*，它自己会做 softmax。
# softmax 做了两次，概率被压平，再好的预测也无法使损失接近 0。

# %%
rows, classes = np.array([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]]), np.array([2, 0])
twice = lossary.mean(lossary.softmax_cross_entropy(rows, classes))
once = lossary.mean(lossary.nll(np.log(rows), classes))
print(f"softmax twice {twice:.4f}, once {once:.4f}")
assert np.isclose(once, -(np.log(0.7) + np.log(0.8)) / 2) and twice > once
perfect_but_twice = lossary.softmax_cross_entropy([[0.0, 0.0, 1.0]], [2])[0]
print(f"a perfect prediction, softmax twice: {perfect_but_twice:.4f}")
assert perfect_but_twice > 0.55

# %% [markdown] lang="en"
# ## Regularisation and generalisation
#
# An L2 penalty pulls weights to 0 in proportion to their size, an L1 penalty by the same force each: it makes some of
# them (nearly) 0.

# %% [markdown] lang="zh"
# ## 正则化与泛化
#
# L2 惩罚使权重按各自大小成比例地缩小；L1 惩罚对每个权重的作用同样大，因此会把其中一些压到（接近）0。

# %%
w = np.array([-2.0, 0.01, 0.0, 3.0])
print("L2 gradient", lossary.l2_penalty.grad(w), "  L1 gradient", lossary.l1_penalty.grad(w) + 0.0)
assert lossary.l2_penalty.grad(w).tolist() == w.tolist()
assert lossary.l1_penalty.grad(w).tolist() == [-1, 1, 0, 1]

draw = np.random.default_rng(0)
X = draw.normal(size=(20, 10))
y = X[:, 0] + 0.5 * draw.normal(size=20)
norms = []
for l2 in (0.0, 0.1, 1.0):
    model = Linear(10, 1, init="zeros")
    fit(model, "half_squared_error", X, y, epochs=300, optimiser=SGD(lr=0.1), l2=l2)
    norms.append(float(np.linalg.norm(model.weight.value)))
    print(f"l2 = {l2}: norm of the weights {norms[-1]:.3f}")
assert norms[0] > norms[1] > norms[2]

# %% [markdown] lang="en"
# ## Imbalance, and samples that adapt their weight
#
# With one positive in ten, `pos_weight` (or `weight=`) lets each count more. Focal loss chooses the weight by itself:
# $(1 - p)^\gamma$ is small for what is already classified correctly.

# %% [markdown] lang="zh"
# ## 类别不平衡与自适应的样本权重
#
# 十个样本里只有一个正例时，可以用 `pos_weight`（或 `weight=`）加大正例的权重。
# focal 损失自己决定权重：对已经分对的样本，$(1 - p)^\gamma$ 很小。

# %%
logits = np.array([-2.0, 0.0, 4.0])  # hard, undecided and easy, all with label 1
ones = np.ones(3)
cross_entropy = lossary.binary_cross_entropy_with_logits(logits, ones)
focal = lossary.sigmoid_focal(logits, ones, gamma=2.0, alpha=None)
print("share that focal leaves of cross-entropy:", (focal / cross_entropy).round(5))
assert np.allclose(focal / cross_entropy, (1 - 1 / (1 + np.exp(-logits))) ** 2)
weighted = lossary.binary_cross_entropy_with_logits(logits, ones, pos_weight=9.0)
assert np.allclose(weighted, 9 * cross_entropy)

# %% [markdown] lang="en"
# ## Several tasks
#
# A plain sum is ruled by the task with the largest numbers: metres or millimetres decide what is learned. Weighting by
# uncertainty (Kendall et al.) learns the factor: $e^{-s} L + s$ is least where $e^{s} = L$, so every task ends up with
# a share of 1 whatever its unit.

# %% [markdown] lang="zh"
# ## 多任务
#
# 直接相加时，数值最大的任务说了算：单位用米还是毫米，就决定了学到什么。
# 按不确定性加权（Kendall 等）让权重也参与学习：$e^{-s} L + s$ 在 $e^{s} = L$ 处最小，于是无论单位如何，每个任务的份额都是 1。

# %%
task_losses = np.array([0.02, 3000.0])
s = np.zeros(2)
for _ in range(2000):
    gradient = 1 - np.exp(-s) * task_losses
    s -= 0.05 * np.clip(gradient, -5, 5)
shares = np.exp(-s) * task_losses
print("shares in a plain sum:", (task_losses / task_losses.sum()).round(6), "  weighted:", shares.round(4))
assert np.allclose(shares, 1, atol=1e-3)

# %% [markdown] lang="en"
# ## Seeing it
#
# The picture of a loss says what it forgives: value and gradient against the residual.

# %% [markdown] lang="zh"
# ## 可视化
#
# 画出损失函数，就能看出它对哪些误差宽容：横轴是残差，画的是值与梯度。

# %%
from lossary import plots

picture = plots.plot(lossary.huber, width=70, colour=False)
print(picture)
assert "huber" in picture

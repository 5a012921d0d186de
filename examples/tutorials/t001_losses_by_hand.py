"""Tutorial 001, losses by hand: sigmoid and softmax cross-entropy with forward and backward, without a framework."""

# %% [markdown] lang="en"
# # Losses by hand
#
# Training is three steps: **forward** (up to the loss), **backward** (a gradient for every variable, beginning at the
# loss), **descent** (`W -= lr * W.grad`). Here is the loss's part of the first two, in NumPy alone.

# %% [markdown] lang="zh"
# # 手写损失函数
#
# 训练分三步：**前向**（一直算到损失）、**反向**（从损失开始，为每个变量求梯度）、**下降**（`W -= lr * W.grad`）。
# 这里只用 NumPy，写出损失函数在前两步中要做的事。

# %%
import numpy as np

import lossary
from lossary.inspect.derivation import derive
from lossary.training import Linear, SigmoidCrossEntropy, SoftmaxCrossEntropy

# %% [markdown] lang="en"
# ## Overflow
#
# `exp(1000)` is infinite. For a negative $x$, numerator and denominator of the sigmoid are multiplied by $e^x$; those of
# softmax by $e^{-n}$ with $n = \max x$. The value is the same and no exponent is positive.

# %% [markdown] lang="zh"
# ## 溢出
#
# `exp(1000)` 是无穷大。当 $x$ 为负时，sigmoid 的分子、分母同乘 $e^x$；softmax 的分子、分母同乘 $e^{-n}$，$n = \max x$。
# 值不变，而指数都不大于 0。

# %%
with np.errstate(over="ignore", invalid="ignore"):
    textbook = np.exp(np.array([1000.0, 0.0])) / np.exp(np.array([1000.0, 0.0])).sum()
print("as in the textbook:", textbook)
print("rewritten:         ", SoftmaxCrossEntropy().softmax([[1000.0, 0.0]])[0])
assert np.isnan(textbook[0])
assert SoftmaxCrossEntropy().softmax([[1000.0, 0.0]]).tolist() == [[1.0, 0.0]]
assert SigmoidCrossEntropy().sigmoid([-1000.0, 0.0, 1000.0]).tolist() == [0.0, 0.5, 1.0]

# %% [markdown] lang="en"
# ## The derivative of softmax cross-entropy
#
# The denominator sums over all entries, so **every output depends on every input**, and the derivative by one input
# adds the contributions of all outputs. `derive` writes it component by component (`lossary explain
# softmax_cross_entropy --derive` shows the same).

# %% [markdown] lang="zh"
# ## softmax 交叉熵的导数
#
# 分母对所有分量求和，所以**每个输出都依赖于每个输入**；对某个输入求导时，要把所有输出的贡献加起来。
# `derive` 逐个分量写出推导过程（命令行：`lossary explain softmax_cross_entropy --derive --lang zh`）。

# %%
gradient = next(part for part in derive("softmax_cross_entropy").parts if part.key == "gradient")
for step in gradient.steps:
    print(step.plain)

z, label = np.array([0.2, -1.0, 0.7]), np.array([0.0, 0.0, 1.0])
p = np.exp(z) / np.exp(z).sum()
jacobian = np.diag(p) - np.outer(p, p)  # i = j: p (1 - p); i != j: -p_i p_j
added_up = (-label / p) @ jacobian
assert np.allclose(added_up, p - label)
assert np.allclose(added_up, lossary.softmax_cross_entropy.grad(z[None], label[None])[0])

# %% [markdown] lang="en"
# ## As objects
#
# The textbook's class, written out, beside Lossary's. Both sum over the entries of a row and divide by the number of
# **rows**, so that the gradient is `(predict - label) / rows`; a mean over all entries would be smaller by the number of
# classes.

# %% [markdown] lang="zh"
# ## 写成对象
#
# 先照教材写一个类，再与 Lossary 的类对照。两者都对一行的各分量求和，再**除以行数**，于是梯度是
# `(predict - label) / rows`；如果对所有分量求平均，结果会再小类别数倍。


# %%
class ByTheBook:
    """Sigmoid cross-entropy as tutorials write it, with its clip of the probabilities."""

    def forward(self, x, label_onehot):
        self.label_onehot = label_onehot
        self.predict = np.clip(1 / (1 + np.exp(-x)), 1e-6, 1 - 1e-6)
        entries = label_onehot * np.log(self.predict) + (1 - label_onehot) * np.log(1 - self.predict)
        return -entries.sum() / len(x)

    def backward(self):
        return (self.predict - self.label_onehot) / len(self.predict)


layer = Linear(2, 3, seed=0)
x = np.array([[1.0, 2.0], [-1.0, 0.5], [0.0, 1.0], [2.0, -2.0]])
labels = np.eye(3)[[0, 1, 2, 0]]
logits = layer.forward(x)
for criterion in (ByTheBook(), SigmoidCrossEntropy(weight_decay=0), SoftmaxCrossEntropy(weight_decay=0)):
    loss = criterion.forward(logits, labels)
    print(
        f"{type(criterion).__name__:20} loss {loss:.6f}   first row of the gradient {criterion.backward()[0].round(4)}"
    )
book, ours = ByTheBook(), SigmoidCrossEntropy(weight_decay=0)
assert np.isclose(book.forward(logits, labels), ours.forward(logits, labels))
assert np.allclose(book.backward(), ours.backward())
# The clip has a price: on a logit of -20 with label 1 the loss is stuck at 13.8; the exact one is 20.
assert np.isclose(book.forward(np.array([[-20.0]]), np.array([[1.0]])), -np.log(1e-6))
assert np.isclose(ours.forward(np.array([[-20.0]]), np.array([[1.0]])), 20.0)

# %% [markdown] lang="en"
# ## Weight decay
#
# The penalty $\frac{\lambda}{2} \sum w^2$ has the gradient $\lambda w$, added to each weight's gradient (not the bias's).
# Our layers set their gradients in `backward`, so the decay is added after it.

# %% [markdown] lang="zh"
# ## 权重衰减
#
# 惩罚项 $\frac{\lambda}{2} \sum w^2$ 的梯度是 $\lambda w$，加到每个权重的梯度上（偏置不加）。
# 这里的层在 `backward` 中直接设置梯度，所以要在它之后再加上衰减项。

# %%
criterion = SoftmaxCrossEntropy(layer.parameters, weight_decay=1e-2)
losses = []
for _ in range(200):
    losses.append(criterion.forward(layer.forward(x), labels))  # 1. forward
    layer.backward(criterion.backward())  # 2. backward
    data_gradient = layer.weight.grad
    criterion.decay_backward()
    assert np.allclose(layer.weight.grad - data_gradient, 1e-2 * layer.weight.value)
    for parameter in layer.parameters:  # 3. descent
        parameter.value -= 0.5 * parameter.grad
print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")
assert losses[-1] < 0.5 * losses[0]

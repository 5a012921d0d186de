"""Tutorial 000, common losses: one number for a batch, why it is not negative, and what padding has to do with it."""

# %% [markdown] lang="en"
# # Common losses
#
# A loss says with **one number** how far a model's output is from the truth. The least that means anything is *one*
# output against *one* truth: a batch of 64 outputs gives 64 results, and a mean or a sum makes one number of them.

# %% [markdown] lang="zh"
# # 常用损失函数
#
# 损失函数用**一个数**衡量模型输出与真实值相差多远。最小的有意义的单位是*一个*输出对*一个*真实值：
# 一个批次有 64 个输出，就有 64 个结果，再求平均或求和，得到一个数。

# %%
import numpy as np

import lossary
from lossary.training import Criterion

pred = np.array([1.0, 2.0, 3.0])
target = np.array([2.0, 2.5, 3.5])
values = lossary.squared_error(pred, target)
print("one value per example:", values)
print("mean:", lossary.mean(values), " sum:", values.sum())
assert values.tolist() == [1.0, 0.25, 0.25]
assert lossary.mean(values) == 0.5

# %% [markdown] lang="en"
# **Mean or sum?** The minimum is the same, the step is not: the gradient of the sum grows with the batch, so the
# learning rate would have to change with the batch size. With the mean it need not.

# %% [markdown] lang="zh"
# **求平均还是求和？** 最小值的位置相同，但步长不同：求和时梯度随批大小增长，学习率就得跟着批大小调整；求平均则不必。

# %%
for copies in (1, 10, 100):
    batch = np.tile(pred, copies), np.tile(target, copies)
    of_mean = Criterion("squared_error")
    of_sum = Criterion("squared_error", divide_by="nothing")
    one, many = of_mean.forward(*batch), of_sum.forward(*batch)
    print(f"batch of {3 * copies:3}: mean {one:.3f}, sum {many:7.3f}")
    assert np.isclose(of_mean.backward().sum(), -4 / 3)  # how the loss changes if every prediction rises by one
    assert np.isclose(of_sum.backward().sum(), -4 * copies)

# %% [markdown] lang="en"
# ## Why a loss is not negative
#
# Descent makes the loss smaller, without asking why. If errors kept their signs, predictions far below the target would
# be rewarded without bound: 0, -1, -2, ... and there is no smallest number. So the sign is taken away, by the absolute
# value or by the square, and **0 is the smallest**: prediction and truth are equal. (Strictly, a lower bound is what
# matters; a density above 1 makes `gaussian_nll` negative, and that is no fault.)

# %% [markdown] lang="zh"
# ## 损失为什么不取负值
#
# 梯度下降只管让损失变小。如果误差保留符号，预测越低于目标，"损失"就越小：0、-1、-2……永远没有最小值。
# 所以要用绝对值或平方去掉符号，使 **0 成为最小值**：此时预测与真实值相等。
# （严格地说，要紧的是有下界；概率密度可以大于 1，所以 `gaussian_nll` 可以为负，这并不是错误。）

# %%
signed, position = 0.0, 0.0
for _ in range(100):
    position -= 0.1 * 1.0  # the derivative of (pred - target) is 1 everywhere: it never stops
    signed = position - 2.0
print("the signed error after 100 steps:", round(signed, 6))
position = 0.0
for _ in range(100):
    position -= 0.1 * float(lossary.squared_error.grad([position], [2.0])[0])
print("with its square:", round(position, 6))
assert signed < -11 and abs(position - 2) < 1e-6
assert lossary.gaussian_nll([0.0], [0.0], [0.01])[0] < 0

# %% [markdown] lang="en"
# ## Two slopes at 0
#
# The absolute error has slope -1 left of the target and +1 right of it; **at** the target there are two slopes, so no
# derivative. Any number between serves (a *subgradient*); Lossary takes 0, so that a perfect prediction stays. The size
# of the step never shrinks on the way, so with a fixed learning rate the descent ends by jumping to and fro. The square
# has one slope everywhere, and it goes to 0. Huber's loss is the square near 0 and the absolute value beyond.

# %% [markdown] lang="zh"
# ## 绝对值在 0 处有两个斜率
#
# 绝对误差在目标左侧斜率为 -1，右侧为 +1；**恰好在**目标处有两个斜率，因而不可导。
# 取两者之间的任何数都可以（称为*次梯度*）；Lossary 取 0，使完全正确的预测保持不动。
# 它的梯度一路上大小不变，学习率固定时，最后会在目标两侧来回跳。平方处处只有一个斜率，并且逐渐趋于 0。
# Huber 损失在 0 附近是平方，在远处是绝对值。

# %%
at = np.array([-0.5, -0.001, 0.0, 0.001, 0.5])
zeros = np.zeros(5)
for name in ("absolute_error", "squared_error", "huber"):
    print(f"{name:15}", lossary.get(name).grad(at, zeros) + 0.0)
assert lossary.absolute_error.grad(at, zeros).tolist() == [-1, -1, 0, 1, 1]

# %% [markdown] lang="en"
# The border is 1: squaring makes what is smaller than 1 smaller still, and what is larger, larger.

# %% [markdown] lang="zh"
# 以 1 为界：平方使小于 1 的误差更小，使大于 1 的误差更大。

# %%
for error in (0.1, 1.0, 10.0):
    mae, mse = lossary.absolute_error([error], [0.0])[0], lossary.squared_error([error], [0.0])[0]
    print(f"error {error:4}: absolute {mae:6.2f}, squared {mse:6.2f}")
    assert (mse < mae) == (error < 1)

# %% [markdown] lang="en"
# ## Padding takes no part, and teacher forcing
#
# Sentences of a batch are padded to one length. The decoder reads the target up to a position (`y[:, :-1]`, teacher
# forcing) and is to predict the next symbol (`y[:, 1:]`: the first one is the start symbol). Positions where the answer
# is padding are left out, of the sum **and** of the count.

# %% [markdown] lang="zh"
# ## 填充位置不计入损失；教师强制
#
# 一个批次里的句子要填充到相同长度。解码器读入某位置之前的真实序列（`y[:, :-1]`，即教师强制，teacher forcing），
# 预测下一个符号（`y[:, 1:]`：第一个是起始符号）。答案为填充的位置，既不计入总和，**也不计入个数**。

# %%
PAD, START = 0, 1
y = np.array([[START, 5, 3, 2, PAD, PAD], [START, 4, 4, 5, 3, 2]])
read, answer = y[:, :-1], y[:, 1:]
logits = np.random.default_rng(0).normal(size=(*read.shape, 6))  # stands for model(x, read)

selected = answer != PAD  # the tutorials' way: reshape, select
by_selection = lossary.mean(lossary.softmax_cross_entropy(logits[selected], answer[selected]))
criterion = Criterion("softmax_cross_entropy")
by_mask = criterion.forward(logits, answer, mask=selected)
print(
    "selected:", round(float(by_selection), 6), " masked:", round(float(by_mask), 6), " counted:", criterion.denominator
)
assert np.isclose(by_selection, by_mask) and criterion.denominator == 8
assert not criterion.backward()[~selected].any()  # exactly no gradient at padding
accuracy = np.mean(logits.argmax(axis=-1)[selected] == answer[selected])
print("accuracy over what counts:", accuracy)

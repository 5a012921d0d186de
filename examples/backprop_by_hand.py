"""Backpropagation by hand: from one neuron to a network of two layers, every formula written out.

A network learns by asking one question of every number inside it: *if you were a little larger, would the error grow
or shrink, and how fast?* The answer is a derivative. Backpropagation is the observation that all of these derivatives,
millions of them if need be, can be had for about the price of computing the error once or twice more.

This file walks there in four steps, on Fisher's irises (150 flowers, four measurements, three species), with nothing
but NumPy. Each gradient derived here is checked twice: by *finite differences*, that is, by really making the number a
little larger and looking, and against the layers and losses of Lossary, which were derived independently.

Read it from top to bottom, then run it:  python examples/backprop_by_hand.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.datasets import load_iris

import lossary
from lossary.training import Linear, Sequential, Tanh

Array = Any


# --- the referee -----------------------------------------------------------------------------------------------------
#
# The derivative of f at x is the limit of (f(x + h) - f(x)) / h. Taking one step to each side cancels the largest part
# of the error, and with h = 1e-5 about ten digits remain. It takes two evaluations of f for every number in x. That is
# why nobody trains networks this way, and why it is a good referee: it shares no idea with what it judges.


def slope_by_trying(f: Callable[[], float], x: Array, h: float = 1e-5) -> Array:
    """Return df/dx for every entry of `x`, an array that `f` reads, by moving one entry at a time."""
    slopes = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        original = x[place]
        x[place] = original + h
        above = f()
        x[place] = original - h
        below = f()
        x[place] = original
        slopes[place] = (above - below) / (2 * h)
    return slopes


def check(what: str, by_hand: Array, *, by_trying: Array, by_lossary: Array) -> None:
    """Print how well three ways to the same derivative agree, and insist that they do."""
    tried = float(np.abs(by_hand - by_trying).max())
    library = float(np.abs(by_hand - by_lossary).max())
    print(f"  {what:<8} differs by {tried:.0e} from trying, by {library:.0e} from Lossary")
    if not (tried < 1e-8 and library < 1e-14):
        raise AssertionError(f"{what}: the derivation by hand is wrong")


# --- step 1: one neuron, one flower ----------------------------------------------------------------------------------
#
# A neuron multiplies each input by a weight of its own and adds them up:
#
#     z = w_1 x_1 + ... + w_4 x_4 + b            (the "logit": any real number)
#     p = 1 / (1 + exp(-z))                      (the "probability": squeezed between 0 and 1)
#
# We ask it whether a flower is an Iris virginica: y = 1 if so, y = 0 if not. It should be surprised when it gave little
# probability to what turned out to be the case; the surprise at an event of probability q is -log q:
#
#     L = -log p       if y = 1
#     L = -log(1 - p)  if y = 0                  (the "binary cross-entropy")
#
# How does L change with a weight? It does so through a chain, w -> z -> p -> L, and along a chain rates multiply, as
# gears do:
#
#     dL/dw_1 = dL/dp * dp/dz * dz/dw_1
#
# Link by link, for y = 1:      dL/dp = -1 / p
#                               dp/dz = p (1 - p)            (differentiate 1 / (1 + exp(-z)) and sort the terms)
#                               dz/dw_1 = x_1
#
# The first two multiply to dL/dz = -(1 - p) = p - 1. For y = 0 the same steps give dL/dz = p. Both at once:
#
#     dL/dz = p - y                              what was predicted minus what was true
#     dL/dw = (p - y) x       dL/db = p - y
#
# The most pleasant formula of the field: a weight is to blame for the error as far as its input was there to be used.


def sigmoid(z: Array) -> Array:
    """Return ``1 / (1 + exp(-z))``."""
    return 1 / (1 + np.exp(-z))


def one_neuron_one_flower(x: Array, y: float) -> None:
    """Derive and check the gradient of one neuron on one example."""
    w, b = np.array([0.1, -0.2, 0.3, 0.4]), np.array(0.05)

    def loss() -> float:
        p = sigmoid(w @ x + b)
        return float(-np.log(p) if y == 1 else -np.log(1 - p))

    p = sigmoid(w @ x + b)
    dL_dz = p - y
    dL_dw = dL_dz * x
    dL_db = dL_dz

    print("1. One neuron, one flower: dL/dz = p - y")
    library = lossary.binary_cross_entropy_with_logits.grad(w @ x + b, y)  # Lossary's dL/dz; the rest is z = w x + b
    check("dL/dw", dL_dw, by_trying=slope_by_trying(loss, w), by_lossary=library * x)
    check("dL/db", dL_db, by_trying=slope_by_trying(loss, b), by_lossary=library)


# --- step 2: one neuron, all flowers ---------------------------------------------------------------------------------
#
# The error of a whole data set is the mean of the errors of its examples, and the derivative of a mean is the mean of
# the derivatives. With the examples as rows of a matrix X the sum over them is a matrix product:
#
#     dL/dw = mean over n of (p_n - y_n) x_n = X^T (p - y) / N
#
# And now we learn. The gradient points to where L rises fastest, so we take a small step the other way, and again, and
# again:
#
#     w -= lr * dL/dw                            lr, the "learning rate", is how small the step is
#
# That line, gradient descent, is all of learning in this file. Everything else is about obtaining dL/dw.


def one_neuron_learns(X: Array, y: Array) -> None:
    """Train one neuron by gradient descent to tell one species from the others."""
    w, b, lr = np.zeros(4), 0.0, 0.5
    print("\n2. One neuron learns to recognise virginica")
    for epoch in range(201):
        p = sigmoid(X @ w + b)
        loss = -np.mean(np.where(y == 1, np.log(p), np.log(1 - p)))
        if epoch % 50 == 0:
            print(f"  epoch {epoch:3}   loss {loss:.4f}   accuracy {np.mean((p > 0.5) == y):.1%}")

        dL_dz = (p - y) / len(y)
        w -= lr * X.T @ dL_dz
        b -= lr * dL_dz.sum()


# --- step 3: a layer of neurons --------------------------------------------------------------------------------------
#
# For three species we take three neurons, each with weights of its own, as columns of a matrix W:
#
#     Z = X W + b                                one row per flower, one column per species
#
# To make probabilities of a row of logits, exponentiate, so that all are positive, and divide by the sum, so that they
# add up to 1. That is the "softmax", and the loss is again the surprise at the species that it really was:
#
#     P_k = exp(Z_k) / sum_j exp(Z_j)
#     L = -log P_y = log sum_j exp(Z_j) - Z_y
#
# Differentiate the last form. The logarithm of the sum gives exp(Z_k) / sum_j exp(Z_j), which is P_k; the second term
# gives 1 for the true species and 0 for the others, a row Y with a single one ("one-hot"). So, once more:
#
#     dL/dZ = P - Y                              what was predicted minus what was true
#
# From Z[n, k] = sum_i X[n, i] W[i, k] + b[k] one reads off who touches what. W[i, k] touches column k of every row n,
# by the amount X[n, i]; b[k] does so by the amount 1. Sum over what is touched:
#
#     dL/dW = X^T dL/dZ          dL/db = column sums of dL/dZ
#
# There is no need to remember where the transpose goes: dL/dW must have the shape of W, and only one arrangement does.


def softmax(Z: Array) -> Array:
    """Return each row's exponentials divided by their sum; the largest is subtracted first so that none overflows."""
    exponentials = np.exp(Z - Z.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def mean_surprise(P: Array, labels: Array) -> float:
    """Return the mean of ``-log`` of the probability given to the true class."""
    return float(-np.log(P[np.arange(len(labels)), labels]).mean())


def a_layer(X: Array, labels: Array) -> None:
    """Derive and check the gradient of a layer under softmax cross-entropy."""
    rng = np.random.default_rng(0)
    W, b = rng.normal(0, 0.5, (4, 3)), rng.normal(0, 0.5, 3)
    Y = np.eye(3)[labels]

    P = softmax(X @ W + b)
    dL_dZ = (P - Y) / len(X)
    dL_dW = X.T @ dL_dZ
    dL_db = dL_dZ.sum(axis=0)

    # The same with Lossary: a layer that keeps what it needs, a loss that knows its gradient.
    layer = Linear(4, 3)
    layer.weight.value[:], layer.bias.value[:] = W, b
    _, grad = lossary.softmax_cross_entropy.value_and_grad(layer.forward(X), labels, reduction="mean")
    layer.backward(grad)

    def loss() -> float:
        return mean_surprise(softmax(X @ W + b), labels)

    print("\n3. A layer of three neurons: dL/dZ = P - Y, dL/dW = X^T dL/dZ")
    check("dL/dW", dL_dW, by_trying=slope_by_trying(loss, W), by_lossary=layer.weight.grad)
    check("dL/db", dL_db, by_trying=slope_by_trying(loss, b), by_lossary=layer.bias.grad)


# --- step 4: two layers, and backpropagation -------------------------------------------------------------------------
#
# One layer can only cut the space of flowers with straight lines. Put a second layer behind it, with a bend in between
# (two straight maps in a row would be one straight map), and the lines may curve:
#
#     A = X W1 + b1                              the first layer's sums
#     H = tanh(A)                                the bend: what the hidden neurons say
#     Z = H W2 + b2                              the second layer, as in step 3, with H for its input
#     L = mean surprise at softmax(Z)
#
# The second layer's gradients are those of step 3 with H in place of X:
#
#     dL/dZ  = (P - Y) / N
#     dL/dW2 = H^T dL/dZ         dL/db2 = column sums of dL/dZ
#
# For the first layer we need to know how L changes with H. H[n, i] touches every Z[n, k], by the amount W2[i, k]; sum
# over what is touched, and the error travels back along the very weights along which the signal came:
#
#     dL/dH  = dL/dZ W2^T
#
# Through the bend it passes entry by entry, each with the slope that tanh had there, 1 - tanh(A)^2 = 1 - H^2:
#
#     dL/dA  = dL/dH * (1 - H^2)
#
# And A is a layer's output like any other:
#
#     dL/dW1 = X^T dL/dA         dL/db1 = column sums of dL/dA
#
# That is backpropagation. Going backwards, each line uses the one before it, so nothing is ever computed twice: all the
# gradients together cost about two forward passes, however many weights there are. A third layer would repeat the last
# four lines with other names, and so would a hundredth.


def forward(X: Array, W1: Array, b1: Array, W2: Array, b2: Array) -> tuple[Array, Array]:
    """Return what the hidden neurons say and the probabilities of the species."""
    H = np.tanh(X @ W1 + b1)
    return H, softmax(H @ W2 + b2)


def backward(X: Array, H: Array, P: Array, Y: Array, W2: Array) -> tuple[Array, Array, Array, Array]:
    """Return dL/dW1, dL/db1, dL/dW2, dL/db2."""
    dL_dZ = (P - Y) / len(X)
    dL_dW2 = H.T @ dL_dZ
    dL_db2 = dL_dZ.sum(axis=0)
    dL_dH = dL_dZ @ W2.T
    dL_dA = dL_dH * (1 - H**2)
    dL_dW1 = X.T @ dL_dA
    dL_db1 = dL_dA.sum(axis=0)
    return dL_dW1, dL_db1, dL_dW2, dL_db2


def two_layers(X: Array, labels: Array, X_test: Array, labels_test: Array) -> float:
    """Check the gradients of a network of two layers, train it, and return its accuracy on flowers it has not seen."""
    rng = np.random.default_rng(1)
    hidden = 8
    # Random, so that no two neurons are born alike (they would stay alike for ever: same inputs, same gradients), and
    # small, so that tanh starts where it is steep.
    W1, b1 = rng.normal(0, 0.5, (4, hidden)), np.zeros(hidden)
    W2, b2 = rng.normal(0, 0.5, (hidden, 3)), np.zeros(3)
    parameters = W1, b1, W2, b2
    Y = np.eye(3)[labels]

    print("\n4. Two layers: the error travels back along the weights along which the signal came")
    twin = Sequential(Linear(4, hidden), Tanh(), Linear(hidden, 3))
    for ours, theirs in zip(parameters, twin.parameters, strict=True):
        theirs.value[...] = ours
    _, grad = lossary.softmax_cross_entropy.value_and_grad(twin.forward(X), labels, reduction="mean")
    twin.backward(grad)

    def loss() -> float:
        return mean_surprise(forward(X, *parameters)[1], labels)

    H, P = forward(X, *parameters)
    gradients = backward(X, H, P, Y, W2)
    for name, x, gradient, theirs in zip(
        ("dL/dW1", "dL/db1", "dL/dW2", "dL/db2"), parameters, gradients, twin.parameters, strict=True
    ):
        check(name, gradient, by_trying=slope_by_trying(loss, x), by_lossary=theirs.grad)

    print("  The gradients are right. Now it learns:")
    lr = 0.5
    for epoch in range(301):
        H, P = forward(X, *parameters)  # 1. forward: what do we predict, and how wrong is it?
        if epoch in (0, 1, 2, 5, 10, 20, 50, 100, 200, 300):
            accuracy = np.mean(P.argmax(axis=1) == labels)
            print(f"  epoch {epoch:3}   loss {mean_surprise(P, labels):.4f}   accuracy {accuracy:.1%}")
        gradients = backward(X, H, P, Y, W2)  # 2. backward: who is to blame, and by how much?
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter -= lr * gradient  # 3. step: everyone a little less so

    guesses = forward(X_test, *parameters)[1].argmax(axis=1)
    accuracy = float(np.mean(guesses == labels_test))
    print(f"  on {len(X_test)} flowers it has never seen: accuracy {accuracy:.1%}")
    return accuracy


def main() -> None:
    """Walk the four steps."""
    data = load_iris()
    # Measurements are brought to mean 0 and standard deviation 1, so that one learning rate suits all the weights.
    X = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    labels = data.target
    order = np.random.default_rng(0).permutation(len(X))
    train, test = order[:100], order[100:]

    flower = int(np.flatnonzero(labels == 2)[0])
    one_neuron_one_flower(X[flower], 1.0)
    one_neuron_learns(X[train], labels[train] == 2)
    a_layer(X[train], labels[train])
    two_layers(X[train], labels[train], X[test], labels[test])


if __name__ == "__main__":
    main()

"""An independent t-NN in NumPy and float64: tubes last, t-layers as dense matrices, gradients by hand.

Layers are lists of factors (D, d, c), applied from the last to the first; ``mixing`` is M as a c×c matrix.
"""

from __future__ import annotations

import numpy as np


def dense(w, mixing):
    """Return the t-layer as a matrix from R^{d·c} to R^{D·c}: K[(a,i),(b,j)] = Σ_k M⁻¹_ik Ŵ_abk M_kj."""
    rows, columns, c = w.shape
    hat = np.einsum("kl,abl->abk", mixing, w)
    return np.einsum("ik,abk,kj->aibj", np.linalg.inv(mixing), hat, mixing).reshape(rows * c, columns * c)


def forward(layers, v, b, x, mixing):
    """Return outputs (N,) at images (N, d, c), and the values that the backward pass needs."""
    h, trace = x.reshape(len(x), -1), []
    for factors in layers:
        for w in reversed(factors):
            k = dense(w, mixing)
            trace.append((w, k, h))
            h = h @ k.T
        trace.append(h > 0)
        h = np.maximum(h, 0)
    return h @ v.ravel() + b, (trace, h)


def backward(outer, layers, v, x, mixing, kept):
    """Return the gradients of Σ_n outer_n·f(x_n) in the factors, in v and b, and in the images."""
    trace, last = kept
    g = np.outer(outer, v.ravel())
    of_factors = []
    for entry in reversed(trace):
        if isinstance(entry, tuple):
            w, k, h = entry
            rows, columns, c = w.shape
            of_k = (g.T @ h).reshape(rows, c, columns, c)
            of_factors.append(np.einsum("kl,ik,kj,aibj->abl", mixing, np.linalg.inv(mixing), mixing, of_k))
            g = g @ k
        else:
            g = g * entry
    flat = iter(of_factors[::-1])
    of_layers = [list(reversed([next(flat) for _ in factors])) for factors in layers]
    return of_layers, (outer @ last).reshape(v.shape), outer.sum(), g.reshape(x.shape)


def outer_gradient(outputs, y):
    """Return the gradient of the mean logistic loss in the outputs: −y σ(−y f)/N."""
    return -y / (1 + np.exp(y * outputs)) / len(y)


def gradients(layers, v, b, x, y, mixing):
    outputs, kept = forward(layers, v, b, x, mixing)
    return backward(outer_gradient(outputs, y), layers, v, x, mixing, kept)


def fgsm(layers, v, b, x, y, mixing, eps):
    *_, of_x = gradients(layers, v, b, x, y, mixing)
    return np.clip(x + eps * np.sign(of_x), 0, 1)


def flat(layers, v, b):
    return [w for factors in layers for w in factors] + [v, np.asarray(b)]


def unflat(leaves, like):
    leaves = iter(leaves)
    layers = [[next(leaves) for _ in factors] for factors in like]
    return layers, next(leaves), next(leaves)


def adversarial_gradient(layers, v, b, x, y, mixing, eps, clean=0.0):
    attacked = fgsm(layers, v, b, x, y, mixing, eps)
    *grads, _ = gradients(layers, v, b, attacked, y, mixing)
    total = flat(*grads)
    if clean:
        *grads, _ = gradients(layers, v, b, x, y, mixing)
        total = [g + clean * h for g, h in zip(total, flat(*grads), strict=True)]
    return total


def sgd(layers, v, b, batches, mixing, *, eps, lr):
    for x, y in batches:
        step = adversarial_gradient(layers, v, b, x, y, mixing, eps)
        leaves = [w - lr * g for w, g in zip(flat(layers, v, b), step, strict=True)]
        layers, v, b = unflat(leaves, layers)
    return layers, v, b


def adam(layers, v, b, batches, mixing, *, eps, lr, clean, betas=(0.9, 0.999), epsilon=1e-8):
    m = s = [0.0] * len(flat(layers, v, b))
    for t, (x, y) in enumerate(batches, 1):
        step = adversarial_gradient(layers, v, b, x, y, mixing, eps, clean)
        m = [betas[0] * a + (1 - betas[0]) * g for a, g in zip(m, step, strict=True)]
        s = [betas[1] * a + (1 - betas[1]) * g**2 for a, g in zip(s, step, strict=True)]
        leaves = [
            w - lr * (a / (1 - betas[0] ** t)) / (np.sqrt(c / (1 - betas[1] ** t)) + epsilon)
            for w, a, c in zip(flat(layers, v, b), m, s, strict=True)
        ]
        layers, v, b = unflat(leaves, layers)
    return layers, v, b

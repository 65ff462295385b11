"""Small t-NN problems, and conversion of parameters to the format of ``tests/tnn_twin.py``."""

import math

import numpy as np
import torch

from src.models import tnn
from src.tensors.transforms import matrix
from src.types import Task


def images(members=1, n=12, d=5, c=4, seed=0, dtype=torch.float64):
    """Draw pixels in [0, 1] and random labels, different for every member."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.rand(members, n, d, c, generator=draw, dtype=torch.float64).to(dtype)
    y = torch.where(torch.rand(members, n, generator=draw) < 0.5, -1.0, 1.0).to(dtype)
    return Task(x, y, x[0], y[0], {})


def problem(members=1, n=12, d=5, c=4, seed=0, dtype=torch.float64, **options):
    task = images(members, n, d, c, seed, dtype)
    model = tnn.build(task, **{"width": 6, **options})
    return task, model, model.init(range(members))


def mixing(transform, c, scale=None, seed=0):
    """Return M as a NumPy matrix, with the default scale of the model."""
    s = scale if scale is not None else 1.0 if transform == "authors" else math.sqrt(c / 2)
    return s * matrix(transform, c, seed).numpy()


def tubes_last(leaf):
    return leaf.movedim(-3, -1).double().numpy()


def as_twin(params, member=0):
    """Return (layers, v, b) of one member, for parameters in original coordinates."""
    names = [name for name in params if name.startswith("w")]
    layers = {}
    for name in names:
        layers.setdefault(name.split("_")[0], []).append(tubes_last(params[name][member]))
    bias = float(params["b"][member]) if "b" in params else 0.0
    return list(layers.values()), params["v"][member].T.double().numpy(), bias


def largest_difference(params, twin, member=0):
    layers, v, b = as_twin(params, member)
    pairs = [(w, u) for ours, theirs in zip(layers, twin[0], strict=True) for w, u in zip(ours, theirs, strict=True)]
    pairs += [(v, twin[1]), (b, twin[2])]
    return max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)

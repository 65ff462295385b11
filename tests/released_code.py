"""The released code of Wang et al. (2023) in float64, from the checkout in the environment variable REFERENCE."""

import importlib
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

FOLDER = os.environ.get("REFERENCE", "")
needs_checkout = pytest.mark.skipif(not FOLDER, reason="REFERENCE names no checkout of the released code")


@contextmanager
def modules():
    """Import ``layers`` and ``models`` with float64 as the default dtype, in which they create tensors."""
    names = ("functions", "layers", "models")
    sys.path.insert(0, str(Path(FOLDER).resolve()))
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield importlib.import_module("layers"), importlib.import_module("models")
    finally:
        torch.set_default_dtype(before)
        sys.path.remove(str(Path(FOLDER).resolve()))
        for name in names:
            sys.modules.pop(name, None)


def network(models, params, member=0):
    """Return the released network with our parameters in original coordinates, factored or not."""
    v, leaves = params["v"][member], [name for name in params if name.startswith("w")]
    c, width = v.shape
    d = params[leaves[-1] if len(leaves) == 1 else "w1_right" if "w1_right" in params else "w1"].shape[-1]
    if "w1_left" in params:
        net = models.facTNNdct3Layers(c, d, width, params["w1_left"].shape[-1])
        order = [f"w{layer}_{side}" for layer in (1, 2, 3) for side in ("right", "left")]
    else:
        net = models.TNNdct3Layers(c, d, width)
        order = ["w1", "w2", "w3"]
    with torch.no_grad():
        for number, name in enumerate(order, 1):
            getattr(net, f"layer{number}").weight.copy_(params[name][member].movedim(-3, -1))
        last = getattr(net, f"layer{len(order) + 1}")
        last.weight.copy_(v.T.reshape(1, -1))
        last.bias.copy_(params["b"][member])
    return net, [*order, "v", "b"]


def difference(net, order, params, member=0):
    """Return the largest difference of an entry."""
    ours = [params[name][member] for name in order]
    ours = [leaf.movedim(-3, -1) if leaf.ndim == 3 else leaf.mT if leaf.ndim == 2 else leaf for leaf in ours]
    theirs = [leaf.detach() for leaf in net.parameters()]
    return max(float((a.reshape(-1) - b.reshape(-1)).abs().max()) for a, b in zip(ours, theirs, strict=True))


def fgsm(net, images, labels, eps):
    """Return FGSM images; as in the released code, the clean loss adds to the gradients of the weights."""
    images = images.clone().requires_grad_()
    torch.nn.BCELoss()(net(images).reshape(-1), labels).backward()
    return (images + eps * images.grad.sign()).clamp(0, 1).detach()

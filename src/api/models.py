"""Networks: ``models.NAME(task, …)`` returns a ``Model``, ``init(seeds)`` and ``apply(params, x)``.

All M networks are evaluated at once: ``apply`` maps inputs ``[N, ...]`` or ``[M, N, ...]`` to outputs ``[M, N]``, and
every parameter has a leading axis M. ``degree`` is L with f(a·θ) = a^L f(θ) for a > 0, or None.

``models.module(task, net)`` is your own ``torch.nn.Module``.

>>> from src.api import data, models
>>> dir(models)
['linear', 'mlp', 'module', 'power_relu', 'tnn', 'torch_module', 'two_layer_relu']
>>> task = data.separable(seeds=[0, 1], shape=[5], n=12)
>>> model = models.mlp(task, width=7, power=2)
>>> {name: tuple(leaf.shape) for name, leaf in model.init([0, 1]).items()}, model.degree
({'w1': (2, 7, 5), 'w2': (2, 1, 7)}, 3.0)
"""

from __future__ import annotations

from src.api import parts
from src.models.torch_module import from_module as module

__all__ = ["module"]

__getattr__, _names = parts.of_group("model")


def __dir__() -> list[str]:
    return sorted([*_names(), *__all__])

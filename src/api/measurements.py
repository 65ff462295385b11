"""Measurements: ``measurements.NAME(result, …)`` returns {column: numbers ``[M]``} of the networks of a result.

Some columns are curves ``[M, K]``. Norms, margins and ranks are in the units of the data. ``help(measurements.errors)``
describes the columns.

>>> from src.api import data, initial, measurements, models
>>> dir(measurements)  # doctest: +ELLIPSIS
['adversarial', 'assumption', 'balance', 'bounds', ..., 'universal']
>>> task = data.separable(seeds=[0, 1], shape=[5], n=12)
>>> columns = measurements.norm_margins(initial(task, models.mlp(task)), norms=["l2", "linf"])
>>> sorted(columns), columns["gamma_l2"].shape
(['gamma_l2', 'gamma_linf', 'kappa_l2', 'kappa_linf', 'margin_weight'], torch.Size([2]))
"""

from __future__ import annotations

from src.api import parts

__getattr__, __dir__ = parts.of_group("measurements")

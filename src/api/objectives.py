"""Training objectives: ``objectives.NAME(…)``, passed to ``train``.

Risks are means over the N examples, or sums with ``reduction="sum"``; they are kept as log L, so that losses like
e^−5000 are exact. q_i = y_i f(x_i) is the margin of example i.

>>> from src.api import objectives
>>> dir(objectives)
['adversarial', 'exponential', 'logistic', 'squared', 'trades']
>>> objective = objectives.exponential(reduction="sum")
"""

from __future__ import annotations

from src.api import parts

__getattr__, __dir__ = parts.of_group("objective")

"""How much of a trained t-NN is needed: accuracy after its t-layers are truncated, without training anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from src.attacks.bim import fgsm
from src.constraints import Count, Share
from src.measurements.adversarial import Attacker, accuracy
from src.tensors.network import tensor_network
from src.tensors.products import largest_kept, truncated
from src.types import Measurement, Model, Snapshot, Task


def build(
    task: Task,
    model: Model,
    *,
    ranks: list[Count] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32],  # noqa: B006 (read only)
    values: list[Count] = [3, 10, 30, 100, 300, 1000],  # noqa: B006
    eps: Share = 16 / 255,
    points: Count | None = 1000,
    tolerance: Share = 0.01,
) -> Measurement:
    """Curves of test accuracy ``[M, K]`` against what is kept of every t-layer, clean and under FGSM.

    ``truncated_clean`` and ``truncated_fgsm`` over ``truncated_rank``, the tubal rank kept (best in F-norm), and
    ``largest_clean`` and ``largest_fgsm`` over ``largest_count``, the number of singular values kept in a layer,
    whichever slices they are in. ``rank_needed_clean`` and ``rank_needed_fgsm`` are the smallest ranks in the list that
    cost at most ``tolerance`` of the accuracy, infinite if none does.

    Args:
        task: its first test images; pixels in [0, 1].
        model: a t-NN.
        ranks: tubal ranks kept.
        values: numbers of singular values kept.
        eps: ε of FGSM.
        points: test images; null takes all.
        tolerance: accuracy that may be lost, of 1.

    Raises:
        ConfigError: for a network without t-layers.
    """
    network = tensor_network(model, "truncation")
    x, y = task.x_test[:points], task.y_test[:points]
    attackers = {"clean": lambda forward, params, x, y: x, "fgsm": partial(fgsm, eps=eps, box=(0.0, 1.0))}

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        members = len(snapshot.log_risk)
        hat = network.hat(snapshot.params)
        layers = network.layers(hat)
        rest = {name: leaf for name, leaf in hat.items() if not name.startswith("w")}

        def accuracies(shorten: Callable[[Tensor, int], Tensor], kept: list[int], attacker: Attacker) -> Tensor:
            examples = x.expand(members, *x.shape), y.expand(members, -1)
            each = [{**{name: shorten(layer, k) for name, layer in layers.items()}, **rest} for k in kept]
            return torch.stack([accuracy(network.forward, params, *examples, attacker) for params in each], -1).cpu()

        columns = {
            "truncated_rank": torch.tensor(ranks).expand(members, -1),
            "largest_count": torch.tensor(values).expand(members, -1),
        }
        for name, attacker in attackers.items():
            columns[f"truncated_{name}"] = accuracies(truncated, ranks, attacker)
            whole = accuracies(lambda layer, _: layer, [0], attacker)
            enough = columns[f"truncated_{name}"] >= whole - tolerance - 1e-9  # shares of points are rounded
            kept = columns["truncated_rank"].double()
            columns[f"rank_needed_{name}"] = torch.where(enough, kept, torch.inf).amin(-1)
            columns[f"largest_{name}"] = accuracies(largest_kept, values, attacker)
        return columns

    return measure

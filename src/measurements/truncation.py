"""Accuracy of a trained t-NN after truncation of its t-layers, without further training."""

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
    values: list[Count] = [3, 10, 30, 100, 224, 300, 1000],  # noqa: B006
    eps: Share = 16 / 255,
    points: Count | None = 1000,
    tolerance: Share = 0.01,
) -> Measurement:
    """Measure curves of test accuracy ``[M, K]`` of truncated networks, clean and under FGSM.

    ``truncated_clean`` and ``truncated_fgsm`` over ``truncated_rank``, the tubal rank kept (best in F-norm), and
    ``largest_clean`` and ``largest_fgsm`` over ``largest_count``, the number of singular values kept in a layer,
    the largest of all its slices. ``rank_needed_clean`` and ``rank_needed_fgsm`` are the smallest listed ranks with a
    loss of accuracy of at most ``tolerance``, infinite if there is none; ``count_needed_clean`` and
    ``count_needed_fgsm`` are the smallest listed numbers of singular values.

    Args:
        task: test images with pixels in [0, 1].
        model: a t-NN.
        ranks: tubal ranks kept.
        values: numbers of singular values kept.
        eps: ε of FGSM.
        points: number of test images, the first ones; null takes all.
        tolerance: allowed loss of accuracy, from 0 to 1.

    Raises:
        ConfigError: for a network without t-layers.
    """
    network = tensor_network(model, "truncation")
    x, y = task.x_test[:points], task.y_test[:points]
    attackers: dict[str, Attacker] = {"clean": lambda forward, params, x, y: x}
    attackers["fgsm"] = partial(fgsm, eps=eps, box=(0.0, 1.0))

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        members = len(snapshot.log_risk)
        hat = network.hat(snapshot.params)
        layers = network.layers(hat)
        other_leaves = {name: leaf for name, leaf in hat.items() if not name.startswith("w")}

        def accuracies(shorten: Callable[[Tensor, int], Tensor], kept: list[int], attacker: Attacker) -> Tensor:
            examples = x.expand(members, *x.shape), y.expand(members, -1)
            networks = [{**{name: shorten(w, k) for name, w in layers.items()}, **other_leaves} for k in kept]
            return torch.stack([accuracy(network.forward, net, *examples, attacker) for net in networks], -1).cpu()

        columns = {
            "truncated_rank": torch.tensor(ranks).expand(members, -1),
            "largest_count": torch.tensor(values).expand(members, -1),
        }
        for name, attacker in attackers.items():
            whole = accuracies(lambda layer, _: layer, [0], attacker)
            for kind, column, needed, shorten, kept in (
                ("truncated", "truncated_rank", "rank_needed", truncated, ranks),
                ("largest", "largest_count", "count_needed", largest_kept, values),
            ):
                columns[f"{kind}_{name}"] = accuracies(shorten, kept, attacker)
                enough = columns[f"{kind}_{name}"] >= whole - tolerance - 1e-9  # accuracies are rounded
                columns[f"{needed}_{name}"] = torch.where(enough, columns[column].double(), torch.inf).amin(-1)
        return columns

    return measure

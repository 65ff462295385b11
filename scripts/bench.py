"""What a step costs, in ratios on one thread, so that they mean the same on another machine: ``make bench``.

Muon's whole step over its gradient and its SVD; and, for each of torch's optimizers, a step of one of our batched
members over a step of a plain loop with ``torch.optim`` on the same network. ``gd`` is the rule of ``SGD``; ``nmd`` has
the momentum of ``SGD`` with momentum and normalises it besides.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from src.data import mnist  # noqa: E402
from src.models import mlp  # noqa: E402
from src.objectives import logistic  # noqa: E402
from src.optimizers import adam, gd, muon, muon_newton_schulz, nmd  # noqa: E402
from src.types import Batch, Model, Task, UpdateRule  # noqa: E402

MEMBERS, STEPS, REPEATS = 5, 20, 41
TORCH = {
    "Adam": (adam, lambda leaves: torch.optim.Adam(leaves, lr=1e-3)),
    "SGD": (gd, lambda leaves: torch.optim.SGD(leaves, lr=1e-3)),
    "SGD, momentum 0.9": (nmd, lambda leaves: torch.optim.SGD(leaves, lr=1e-3, momentum=0.9)),
    "Muon": (muon_newton_schulz, lambda leaves: torch.optim.Muon(leaves, lr=1e-3, weight_decay=0.0)),
}


def main() -> None:
    """Print the ratios, each the median of several alternating measurements."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    task = mnist.build(range(MEMBERS), n=256)
    model = mlp.build(task, width=64)
    print(f"n=256, d=196, width 64, float64, one thread, {MEMBERS} members")

    parts = alternating(ours(task, model, muon.build(task, model), members=1), gradient_and_svd(task, model))
    print(f"exact Muon, whole step / (gradient + SVD):              {parts:.2f}")
    for name, (module, make) in TORCH.items():
        ratio = alternating(ours(task, model, module.build(task, model)), theirs(task, model, make))
        print(f"{module.__name__.rpartition('.')[2] + ' / torch.optim.' + name + ', per member:':56s}{ratio:.2f}")


def alternating(one: Callable[[], None], other: Callable[[], None]) -> float:
    """Median of CPU time of one over CPU time of the other, measured in turns so that both feel the same machine."""
    one(), other()
    return sorted(seconds(one) / seconds(other) for _ in range(REPEATS))[REPEATS // 2]


def seconds(work: Callable[[], None]) -> float:
    """CPU time."""
    began = time.process_time()
    work()
    return time.process_time() - began


def ours(task: Task, model: Model, rule: UpdateRule, members: int = MEMBERS) -> Callable[[], None]:
    """Steps of all members together."""
    risk, batch = logistic(task, model), Batch(task.x[:members], task.y[:members])
    start = model.init(range(members))

    def run() -> None:
        params = start
        state = rule.init(params)
        for _ in range(STEPS):
            params, state = rule.update(params, state, *risk(params, batch))

    return run


def theirs(task: Task, model: Model, make: Callable) -> Callable[[], None]:
    """The same number of steps of one member after the other, in the plainest loop with a torch optimizer."""
    start = model.init(range(MEMBERS))

    def run() -> None:
        for i in range(MEMBERS):
            leaves = {name: torch.nn.Parameter(leaf[i].clone()) for name, leaf in start.items()}
            optimizer = make(list(leaves.values()))
            for _ in range(STEPS):
                optimizer.zero_grad()
                w1, w2 = leaves.values()
                outputs = (w2 @ (w1 @ task.x[i].mT).relu() ** 2).squeeze(0)
                torch.nn.functional.softplus(-task.y[i] * outputs).mean().backward()
                optimizer.step()

    return run


def gradient_and_svd(task: Task, model: Model) -> Callable[[], None]:
    """What no exact Muon can do without."""
    risk, batch = logistic(task, model), Batch(task.x[:1], task.y[:1])
    params = model.init([0])

    def run() -> None:
        for _ in range(STEPS):
            _, grad = risk(params, batch)
            torch.linalg.svd(grad.direction["w1"], full_matrices=False)

    return run


if __name__ == "__main__":
    main()

"""(b) A step of every optimizer: members batched, one after the other, and in a loop with torch.optim: ``make bench``.

``gd`` is the rule of ``torch.optim.SGD``; ``nmd`` has the momentum of SGD with momentum, and normalises it besides.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import timing
import torch
import yaml

from src.config.schema import CONF, arguments, component
from src.data import mnist
from src.models import mlp
from src.optimizers import muon
from src.training.objectives import logistic
from src.types import Batch, Model, Task, UpdateRule

SIZES = {"n=64, d=49, m=16": (64, 49, 16), "n=256, d=196, m=64": (256, 196, 64)}
MEMBERS, STEPS = 16, 20
TORCH = {
    "adam": lambda leaves: torch.optim.Adam(leaves, lr=1e-3),
    "adamw": lambda leaves: torch.optim.AdamW(leaves, lr=1e-3),
    "gd": lambda leaves: torch.optim.SGD(leaves, lr=1e-3),
    "nmd": lambda leaves: torch.optim.SGD(leaves, lr=1e-3, momentum=0.9),
    "muon_newton_schulz": lambda leaves: torch.optim.Muon(leaves, lr=1e-3, weight_decay=0.0),
}


def main(outputs: Path) -> None:
    """Write the rows of every optimizer and size."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = timing.machine()
    for size, (n, d, width) in SIZES.items():
        task = images(n, d)
        model = mlp.build(task, width=width)
        for name in sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml")):
            rows += optimizer(name, task, model, size)
        rows.append(timing.row("b", f"exact Muon: step of one over gradient and SVD, {size}", svd(task, model), "×"))
    timing.write("members", rows, outputs)


def optimizer(name: str, task: Task, model: Model, size: str) -> list[timing.Row]:
    """Rows of one optimizer at one size."""
    todo = {"batched": steps(task, model, ours(name), MEMBERS), "looped": steps(task, model, ours(name), 1)}
    if name in TORCH:
        todo["torch"] = theirs(task, model, TORCH[name])
    seconds = timing.best(todo, turns=8)
    each = 1e6 * seconds["batched"] / STEPS / MEMBERS
    over = {what: seconds[what] / seconds["batched"] for what in todo if what != "batched"}
    words = {"looped": "looped over batched", "torch": "torch.optim over batched"}
    return [
        timing.row("b", f"{name}: step of one of {MEMBERS} members, {size}", each, "µs"),
        *(timing.row("b", f"{name}: {words[what]}, {size}", r, "×", key=what, size=size) for what, r in over.items()),
    ]


def svd(task: Task, model: Model) -> float:
    """The whole step of one member with exact Muon over what it cannot do without: its gradient and its SVD."""
    one = task._replace(x=task.x[:1], y=task.y[:1])
    risk, params, batch = logistic(one, model), model.init([0]), Batch(one.x, one.y)

    def least() -> None:
        for _ in range(STEPS):
            _, grad = risk(params, batch)
            torch.linalg.svd(grad.direction["w1"].mT, full_matrices=False)

    seconds = timing.best({"step": steps(one, model, muon.build, 1), "least": least}, turns=30)
    return seconds["step"] / seconds["least"]


def images(n: int, d: int) -> Task:
    """Digits, pooled to 14×14, and again to 7×7 for d = 49."""
    task = mnist.build(range(MEMBERS), n=n)
    if d == 196:
        return task
    x = torch.nn.functional.avg_pool2d(task.x.unflatten(-1, (14, 14)), 2).flatten(-2)
    return task._replace(x=x / x.norm(dim=-1, keepdim=True))


def ours(name: str) -> Callable[[Task, Model], UpdateRule]:
    """The rule as its YAML has it."""
    node = yaml.safe_load((CONF / "optimizer" / f"{name}.yaml").read_text(encoding="utf-8"))
    return lambda task, model: component("optimizer", name)(task, model, **arguments("optimizer", node))


def steps(task: Task, model: Model, rule_of: Callable[[Task, Model], UpdateRule], at_once: int) -> Callable[[], None]:
    """Steps of all members, ``at_once`` together."""
    groups = torch.arange(len(task.y)).split(at_once)
    every = model.init(range(len(task.y)))

    def run() -> None:
        for group in groups:
            own = task._replace(x=task.x[group], y=task.y[group])
            rule, risk, batch = rule_of(own, model), logistic(own, model), Batch(own.x, own.y)
            params = {key: leaf[group] for key, leaf in every.items()}
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


if __name__ == "__main__":
    timing.run("members", "Time a step of every optimizer, also without batching and with torch.optim.", main)

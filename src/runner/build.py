"""From a checked config to what trains: the task, the model, the objective, the update rule, the measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from src.config import schema
from src.errors import ConfigError
from src.optimizers import rotations
from src.runner import teams
from src.training import loop, stopping
from src.types import Measurement, Model, Objective, Task, UpdateRule


class Parts(NamedTuple):
    """What a config assembles to. ``measurements`` holds those of every snapshot, ``last`` those of the end."""

    task: Task
    model: Model
    objective: Objective
    rule: UpdateRule
    stop: stopping.StopRule
    measurements: list[Measurement]
    last: list[Measurement]


def check(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Checked keyword arguments of every component and measurement, by the path of its node.

    Raises:
        ConfigError: for an unknown key, a wrong type or a value out of range.
    """
    arguments = {group: schema.arguments(group, config[group]) for group in schema.COMPONENT_GROUPS}
    for name, given in config["measurements"].items():
        path = f"measurements.{name}"
        if not isinstance(given, dict | None):
            raise ConfigError(path, given, "must be a mapping of options, {} for none")
        options = dict(given or {})
        moment = options.pop("at", "every")
        if moment not in ("every", "last"):
            raise ConfigError(f"{path}.at", moment, "must be one of every, last")
        builder = schema.component("measurements", name)
        arguments[path] = schema.check(path, options, builder, also=("at",))
    _check_coordinates(config, arguments)
    return arguments


def _check_coordinates(config: Mapping[str, Any], arguments: Mapping[str, dict[str, Any]]) -> None:
    """Refuse training in reduced coordinates that does not stand for training in R^d (``src/data/clusters.py``)."""
    if arguments["data"].get("coordinates") != "reduced":
        return
    parts = {group: {"name": config[group]["name"], **arguments[group]} for group in schema.COMPONENT_GROUPS}
    layers = 1 if parts["model"]["name"] == "linear" else parts["model"].get("depth", 2)
    needs_full = "needs data.coordinates=full"
    if not rotations.commutes(parts["optimizer"], layers):
        reason = f"does not commute with rotations of the input, as its keys stand, so it {needs_full}"
        raise ConfigError("optimizer", parts["optimizer"]["name"], reason)
    if parts["objective"]["name"] in ("adversarial", "trades") and (norm := parts["objective"].get("norm")) != "l2":
        raise ConfigError("objective.norm", norm, f"means nothing in reduced coordinates, so it {needs_full}")
    if parts["model"]["name"] == "mlp" or parts["model"].get("scale"):
        reason = f"draws weights outside of the span of the data, which reduced coordinates lack, so it {needs_full}"
        raise ConfigError("model", parts["model"]["name"], reason)


def assemble(config: Mapping[str, Any]) -> Parts:
    """Build every part from its group, in the config's precision and on its device.

    Raises:
        ConfigError: for what ``check`` refuses, and for keys that contradict each other.
    """
    arguments = check(config)
    data = schema.component("data", config["data"]["name"])(config["seeds"], **arguments["data"])
    task = placed(data, config["device"], config["dtype"])
    trained = built(config, arguments, task)
    every, last = [], []
    for name, options in config["measurements"].items():
        measure = schema.component("measurements", name)
        only_last = (options or {}).get("at") == "last"
        (last if only_last else every).append(measure(task, trained.model, **arguments[f"measurements.{name}"]))
    return trained._replace(measurements=every, last=last)


def built(config: Mapping[str, Any], arguments: Mapping[str, dict[str, Any]], task: Task) -> Parts:
    """What trains on a task, and nothing that measures, from the ``arguments`` that ``check`` gives."""

    def build(group: str, *given: Any) -> Any:
        return schema.component(group, config[group]["name"])(*given, **arguments[group])

    model = build("model", task)
    objective, rule = build("objective", task, model), build("optimizer", task, model)
    return Parts(task, model, objective, rule, stopping.build(task, model, **config["stop"]), [], [])


def of_team(configs: Sequence[Mapping[str, Any]], each: Sequence[Parts]) -> tuple[Mapping[str, Any], Parts]:
    """One config, and the parts, of the members of several cells that are alike (``src/runner/teams.py``)."""
    config, first = configs[0], each[0]
    if len(configs) == 1:
        return config, first
    optimizer = config["optimizer"] | ({"lr": rates} if (rates := teams.rates(configs)) is not None else {})
    config = {**config, "seeds": [seed for own in configs for seed in own["seeds"]], "optimizer": optimizer}
    task = _joint([parts.task for parts in each], [len(own["seeds"]) for own in configs])
    return config, built(config, check(config), task)


def _joint(tasks: Sequence[Task], members: Sequence[int]) -> Task:
    """The training sets of all members in one task, with the facts of each; test sets are those of the first."""
    first = tasks[0]
    if first.y.ndim == 1 and all(torch.equal(task.x, first.x) and torch.equal(task.y, first.y) for task in tasks):
        return first
    owned = [
        (task.x, task.y) if task.y.ndim > 1 else (task.x.expand(m, *task.x.shape), task.y.expand(m, -1))
        for task, m in zip(tasks, members, strict=True)
    ]
    x, y = (torch.cat(leaves) for leaves in zip(*owned, strict=True))
    own = {name for name, fact in first.facts.items() if isinstance(fact, Tensor) and fact.shape[:1] == (members[0],)}
    facts = {name: torch.cat([task.facts[name] for task in tasks]) if name in own else fact
             for name, fact in first.facts.items()}  # fmt: skip
    return first._replace(x=x, y=y, facts=facts)


def start(config: Mapping[str, Any], parts: Parts) -> loop.Progress:
    """Step 0, with freshly drawn weights."""
    params = {name: leaf.to(parts.task.x) for name, leaf in parts.model.init(config["seeds"]).items()}
    return loop.start(params, parts.rule, parts.stop)


def placed(task: Task, device: str, dtype: str) -> Task:
    """The task on a device in a precision; class indices stay integers."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device", device, "no CUDA device here; use device=cpu or device=auto")

    def place(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device, getattr(torch, dtype) if value.is_floating_point() else None)
        return value

    return Task(*map(place, task[:4]), {name: place(value) for name, value in task.facts.items()})

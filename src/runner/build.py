"""Build the task, model, objective, update rule and measurements of a checked config."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from src.config import schema
from src.config.components import GROUPS, component
from src.config.schema import Config
from src.config.validation import Tree
from src.errors import ConfigError
from src.optimizers import rotations
from src.training import loop, stopping
from src.types import Measurement, Model, Objective, Task, UpdateRule


class Parts(NamedTuple):
    """The parts built from a config: ``measurements`` run at every snapshot, ``last`` only at the end."""

    task: Task
    model: Model
    objective: Objective
    rule: UpdateRule
    stop: stopping.StopRule
    measurements: list[Measurement]
    last: list[Measurement]


Arguments = dict[str, Tree]
"""Path of a node → checked keyword arguments of its component or measurement."""


def check(config: Config) -> Arguments:
    """Return the checked arguments of every part.

    Raises:
        ConfigError: for an unknown key, a wrong type or a value out of range.
    """
    arguments = {group: schema.arguments(group, getattr(config, group)) for group in GROUPS}
    for name, node in config.measurements.items():
        path = f"measurements.{name}"
        if not isinstance(node, dict | None):
            raise ConfigError(path, node, "must be a mapping of options, {} for none")
        options = dict(node or {})
        when = options.pop("when", "every")
        if when not in ("every", "last"):
            raise ConfigError(f"{path}.when", when, "must be one of every, last")
        arguments[path] = schema.options(path, options, component("measurements", name), also=("when",))
    _check_coordinates(config, arguments)
    return arguments


def _check_coordinates(config: Config, arguments: Arguments) -> None:
    """Raise ConfigError if training in reduced coordinates differs from training in R^d (``src/data/clusters.py``)."""
    if arguments["data"].get("coordinates") != "reduced":
        return
    model, objective = arguments["model"], arguments["objective"]
    layers = 1 if config.model.name == "linear" else model.get("depth", 2)
    needs_full = "needs data.coordinates=full"
    if not rotations.commutes({"name": config.optimizer.name, **arguments["optimizer"]}, layers):
        reason = f"does not commute with rotations of the input with these keys, so it {needs_full}"
        raise ConfigError("optimizer", config.optimizer.name, reason)
    if config.objective.name in ("adversarial", "trades") and (norm := objective.get("norm")) != "l2":
        raise ConfigError("objective.norm", norm, f"is not defined in reduced coordinates, so it {needs_full}")
    if config.model.name == "mlp" or model.get("scale"):
        reason = f"initialises weights outside of the span of the data, so it {needs_full}"
        raise ConfigError("model", config.model.name, reason)


def assemble(config: Config) -> Parts:
    """Return all parts, in the config's precision and on its device.

    Raises:
        ConfigError: as ``check``, and for keys that contradict each other.
    """
    arguments = check(config)

    def build(group: str, *given: object) -> Any:
        return component(group, getattr(config, group).name)(*given, **arguments[group])

    task = placed(build("data", config.seeds), config.device, config.dtype)
    model = build("model", task)
    objective, rule = build("objective", task, model), build("optimizer", task, model)
    every: list[Measurement] = []
    last: list[Measurement] = []
    for name, options in config.measurements.items():
        measure = component("measurements", name)(task, model, **arguments[f"measurements.{name}"])
        (last if (options or {}).get("when") == "last" else every).append(measure)
    return Parts(task, model, objective, rule, stopping.build(task, model, **dict(config.stop)), every, last)


def start(config: Config, parts: Parts) -> loop.Progress:
    """Return the progress at step 0, with initial weights."""
    params = {name: leaf.to(parts.task.x) for name, leaf in parts.model.init(config.seeds).items()}
    return loop.start(params, parts.rule, parts.stop)


def placed(task: Task, device: str, dtype: str) -> Task:
    """Return the task on a device in a precision; class indices stay integers."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device", device, "no CUDA device; use device=cpu or device=auto")

    def place(value: object) -> Any:
        if isinstance(value, Tensor):
            return value.to(device, getattr(torch, dtype) if value.is_floating_point() else None)
        return value

    facts = {name: place(value) for name, value in task.facts.items()}
    return Task(place(task.x), place(task.y), place(task.x_test), place(task.y_test), facts)

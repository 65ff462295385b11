"""Components by name, as functions with the checks of configurations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from src.api.training import Trained
from src.config import components, schema
from src.errors import ConfigError
from src.types import Model, Task


def of_group(group: str) -> tuple[Callable[[str], Callable], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a module whose attributes are the components of a group."""

    def attribute(name: str) -> Callable:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return part(group, name)
        except ConfigError as error:
            raise AttributeError(str(error)) from None

    return attribute, lambda: sorted(components.names(group))


def part(group: str, name: str) -> Callable:
    """Return a component as a function of what it needs and its checked keys, with the docstring of the component.

    Raises:
        ConfigError: for an unknown name.
    """
    build = components.component(group, name)

    def checked(options: dict[str, Any]) -> dict[str, Any]:
        return schema.options(group, options, build)

    def task(seeds: Sequence[int] = (0,), **options: Any) -> Task:
        made = build(list(seeds), **checked(options))
        return made._replace(facts=made.facts | {"members": torch.tensor(list(seeds))})

    def model(task: Task, **options: Any) -> Model:
        return build(task, **checked(options))

    def later(**options: Any) -> Callable[[Task, Model], Any]:
        arguments = checked(options)
        return lambda task, model: build(task, model, **arguments)

    def measure(result: Trained, **options: Any) -> dict[str, torch.Tensor]:
        return dict(build(result.task, result.model, **checked(options))(result.snapshot))

    kinds: dict[str, Callable] = {"data": task, "model": model, "measurements": measure}
    function = kinds.get(group, later)
    given = [one for one in inspect.signature(function).parameters.values() if one.kind is not one.VAR_KEYWORD]
    keys = [one for one in inspect.signature(build).parameters.values() if one.kind is one.KEYWORD_ONLY]
    function.__name__, function.__doc__ = name, inspect.getdoc(build)
    function.__signature__ = inspect.Signature([*given, *keys])  # type: ignore[attr-defined]
    return function

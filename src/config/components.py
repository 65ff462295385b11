"""Find the function for a component's name in a configuration."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from src.errors import ConfigError, nearest

CONF = Path(__file__).resolve().parents[2] / "conf"
GROUPS = ("data", "model", "objective", "optimizer")


def component(group: str, name: str) -> Callable:
    """Return ``build`` of ``src/<group>/<name>.py``; objectives are functions of ``src/training/objectives.py``.

    Raises:
        ConfigError: when there is no such component.
    """
    known = names(group)
    if name not in known:
        key = f"{group}.{name}" if group == "measurements" else f"{group}.name"
        raise ConfigError(key, name, f"unknown{nearest(name, known)}; known: {', '.join(sorted(known))}")
    if group == "objective":
        return getattr(importlib.import_module("src.training.objectives"), name)
    return importlib.import_module(f"src.{_package(group)}.{name}").build


def names(group: str) -> list[str]:
    """Return the names of the components of a group."""
    if group == "objective":
        return [path.stem for path in (CONF / "objective").glob("*.yaml")]
    folder = Path(__file__).parents[1] / _package(group)
    return [path.stem for path in folder.glob("*.py") if "\ndef build(" in path.read_text(encoding="utf-8")]


def _package(group: str) -> str:
    return group if group in ("data", "measurements") else f"{group}s"

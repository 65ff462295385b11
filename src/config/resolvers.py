"""Functions of the YAML files, as in ``${times:16,${data.k}}``."""

from __future__ import annotations

import math
from pathlib import Path

from omegaconf import OmegaConf

from src import cli
from src.errors import ConfigError


def times(*factors: float) -> float:
    """Return the product, an integer if all factors are: ``${times:16,${data.k}}`` in YAML."""
    product: float = 1
    for factor in factors:
        product *= factor
    return product


def ratio_power(value: float, reference: float, exponent: float) -> float:
    """Return (value/reference)^exponent: ``${ratio_power:${model.width},1024,-0.5}`` in YAML.

    NaN unless both are positive numbers; the check of their key, or of the key that has the result, refuses it.
    """
    positive = all(isinstance(size, int | float) and size > 0 for size in (value, reference))
    return (value / reference) ** exponent if positive else math.nan


def within(folder: str, path: str) -> str:
    """Return ``path`` relative to ``folder``: ``${within:${hydra.runtime.cwd},${outputs}}`` in YAML."""
    return str(Path(folder) / cli.path(path, "outputs"))


def wandb_mode(variable: str) -> str:
    """Return W&B's mode, offline unless set: ``${wandb_mode:${oc.env:WANDB_MODE,""}}`` in YAML."""
    modes = {"": "offline", "dryrun": "offline", "run": "online"}
    mode = variable.strip().lower()
    if mode not in {*modes, "online", "offline", "disabled"}:
        raise ConfigError("WANDB_MODE", variable, "must be online, offline, disabled, dryrun or run, or not set")
    return modes.get(mode, mode)


def register() -> None:
    """Register the functions above with OmegaConf, under their names."""
    for resolver in (wandb_mode, within, times, ratio_power):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)

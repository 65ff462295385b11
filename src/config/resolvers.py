"""Functions of the YAML files, as in ``${times:16,${data.k}}``."""

from __future__ import annotations

import math
from pathlib import Path

from omegaconf import OmegaConf

from src import cli
from src.errors import ConfigError


def times(*factors: float) -> float:
    """``${times:16,${data.k}}`` in YAML: the product; a whole product of whole numbers stays an integer."""
    product = 1
    for factor in factors:
        product *= factor
    return product


def root(x: float, degree: float) -> float:
    """``${root:11,${optimizer.p}}`` in YAML: x^(1/degree), so that base rates follow the norm they are measured in."""
    if not all(isinstance(number, int | float) for number in (x, degree)) or x <= 0 or degree == 0:
        raise ValueError(f"root:{x},{degree} must be of a number > 0, and of a degree that is not 0")
    return x ** (1 / degree)


def epochs(count: float, examples: int, batch_size: int) -> int:
    """``${epochs:20,${data.n},${batch_size}}`` in YAML: the steps of so many epochs."""
    return round(count * math.ceil(examples / batch_size))


def within(folder: str, path: str) -> str:
    """``${within:${hydra.runtime.cwd},${outputs}}`` in YAML: ``path`` as seen from ``folder``."""
    return str(Path(folder) / cli.path(path, "outputs"))


def steps_in(time: float, lr: float) -> int:
    """``${steps_in:60,${optimizer.lr}}`` in YAML: the steps of gradient descent in a gradient-flow time Σ lr."""
    return round(time / lr)


def wandb_mode(variable: str) -> str:
    """``${wandb_mode:${oc.env:WANDB_MODE,""}}`` in YAML: W&B's own words for a mode, too; offline unless set."""
    meant = {"": "offline", "dryrun": "offline", "run": "online"}
    mode = variable.strip().lower()
    if mode not in {*meant, "online", "offline", "disabled"}:
        raise ConfigError("WANDB_MODE", variable, "must be online, offline or disabled, or dryrun or run, or not set")
    return meant.get(mode, mode)


def register() -> None:
    """Make the functions above known to OmegaConf, under their names."""
    for resolver in (wandb_mode, within, steps_in, epochs, times, root):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)

"""Functions of the YAML files, as in ``${times:16,${data.k}}``."""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf

from src import cli
from src.errors import ConfigError


def times(*factors: float) -> float:
    """``${times:16,${data.k}}`` in YAML: the product; a whole product of whole numbers stays an integer."""
    product: float = 1
    for factor in factors:
        product *= factor
    return product


def within(folder: str, path: str) -> str:
    """``${within:${hydra.runtime.cwd},${outputs}}`` in YAML: ``path`` as seen from ``folder``."""
    return str(Path(folder) / cli.path(path, "outputs"))


def wandb_mode(variable: str) -> str:
    """``${wandb_mode:${oc.env:WANDB_MODE,""}}`` in YAML: W&B's own words for a mode, too; offline unless set."""
    meant = {"": "offline", "dryrun": "offline", "run": "online"}
    mode = variable.strip().lower()
    if mode not in {*meant, "online", "offline", "disabled"}:
        raise ConfigError("WANDB_MODE", variable, "must be online, offline or disabled, or dryrun or run, or not set")
    return meant.get(mode, mode)


def register() -> None:
    """Make the functions above known to OmegaConf, under their names."""
    for resolver in (wandb_mode, within, times):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)

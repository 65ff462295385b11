"""Wrap the private parts of Hydra that the suite needs; the only file that imports ``hydra._internal``.

Hydra has no public way to list the jobs of a sweep without running them, and all cells are checked before the first one
trains. It also has no public way to run a launcher on jobs in a given order, here the longest first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig


def parsed(overrides: Sequence[str], conf: Path) -> list[Override]:
    """Return the overrides as Hydra reads them; ``glob`` selects options of a group from ``conf``."""
    loader = ConfigLoaderImpl(create_config_search_path(str(conf)))
    return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))


def grid(overrides: Sequence[Override]) -> list[list[str]]:
    """Return the overrides of every job, in the order of Hydra's sweeper."""
    return BasicSweeper.split_arguments(list(overrides), max_batch_size=None)[0]


def launcher(loader: ConfigLoader, job: Callable[[DictConfig], None], master: DictConfig) -> Launcher:
    """Return the launcher that the composed ``master`` config chooses, set up to run ``job``."""
    context = HydraContext(config_loader=loader, callbacks=Callbacks())
    return Plugins.instance().instantiate_launcher(context, job, master)

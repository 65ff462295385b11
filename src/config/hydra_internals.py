"""Wrap the private parts of Hydra that the suite needs; the only file that imports ``hydra._internal``.

Hydra has no public way to list the jobs of a sweep without running them, and all cells are checked before the first one
trains. It reads and merges the files once per job, which takes longer than the rest of a finished command. It also has
no public way to run a launcher on jobs in a given order, here the longest first.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from hydra import compose
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict


def parsed(overrides: Sequence[str], conf: Path) -> list[Override]:
    """Return the overrides as Hydra reads them; ``glob`` selects options of a group from ``conf``."""
    loader = ConfigLoaderImpl(create_config_search_path(str(conf)))
    return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))


def grid(overrides: Sequence[Override]) -> list[list[str]]:
    """Return the overrides of every job, in the order of Hydra's sweeper."""
    return BasicSweeper.split_arguments(list(overrides), max_batch_size=None)[0]


def composer(conf: Path) -> Callable[[Sequence[str]], DictConfig]:
    """Return ``hydra.compose("config", job)`` as a function of the job, for the folder that Hydra is initialised with.

    A process composes the same options once, and sets the keys of a job on a copy.
    """
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, ConfigLoaderImpl)

    def composed(job: Sequence[str]) -> DictConfig:
        overrides = OverridesParser.create().parse_overrides(list(job))
        options = tuple(str(word.input_line) for word in overrides if _chooses(word, loader))
        config = copy.deepcopy(_of_options(conf, options))
        keys = [word for word in overrides if str(word.input_line) not in options]
        ConfigLoaderImpl._apply_overrides_to_config(keys, config)
        with open_dict(config):
            del config["hydra"]
        return config

    return composed


@cache
def _of_options(conf: Path, options: tuple[str, ...]) -> DictConfig:
    return compose("config", overrides=list(options), return_hydra_config=True)


def _chooses(word: Override, loader: ConfigLoaderImpl) -> bool:
    """Return whether an override chooses an option of a group, by Hydra's rule, instead of setting a key."""
    names_group = word.package is not None or loader.repository.group_exists(word.key_or_group)
    return names_group and not isinstance(word.value(), dict)


def launcher(loader: ConfigLoader, job: Callable[[DictConfig], None], master: DictConfig) -> Launcher:
    """Return the launcher that the composed ``master`` config chooses, set up to run ``job``."""
    context = HydraContext(config_loader=loader, callbacks=Callbacks())
    return Plugins.instance().instantiate_launcher(context, job, master)

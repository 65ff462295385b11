"""The cells of an experiment, as Hydra's own sweeper would lay them out; composes, runs nothing, needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from src import config as configuration
from src.allowed import ConfigError


def times(*factors: float) -> float:
    """``${times:16,${data.k}}`` in YAML: the product; a whole product of whole numbers stays an integer."""
    product = 1
    for factor in factors:
        product *= factor
    return product


def root(x: float, degree: float) -> float:
    """``${root:11,${optimizer.p}}`` in YAML: x^(1/degree), so that base rates follow the norm they are measured in."""
    return x ** (1 / degree)


OmegaConf.register_new_resolver("times", times, replace=True)
OmegaConf.register_new_resolver("root", root, replace=True)


def experiments(paper: int) -> list[str]:
    """The experiments of a paper, by what their files say.

    Raises:
        ConfigError: for a paper that has none.
    """
    folder = configuration.CONF / "experiment"
    papers = {path.stem: yaml.safe_load(path.read_text("utf-8")).get("paper") for path in folder.glob("*.yaml")}
    found = sorted(name for name, its_paper in papers.items() if its_paper == paper)
    if not found:
        known = ", ".join(map(str, sorted({number for number in papers.values() if number})))
        raise ConfigError("paper", paper, f"must be one of {known}")
    return found


def profile_only(*, profile: configuration.Profile) -> None:
    """Schema of the one key the sizes of an experiment hang on."""


def expand(overrides: Sequence[str]) -> list[dict[str, Any]]:
    """The checked configs of every cell of ``overrides``, e.g. ``["+experiment=cluster_width", "profile=smoke"]``."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(configuration.CONF), version_base="1.3"):
        whole = compose("config", overrides=_first_of_sweeps(overrides), return_hydra_config=True)
        # asked first, since nothing sized by an unknown profile would resolve
        configuration.check("", {"profile": whole.profile}, profile_only)
        params = OmegaConf.to_container(whole.hydra.sweeper.params, resolve=True) if whole.hydra.sweeper.params else {}
        parsed = OverridesParser.create().parse_overrides([f"{k}={v}" for k, v in params.items()] + list(overrides))
        (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        return [configuration.plain(compose("config", overrides=job)) for job in jobs]


def _first_of_sweeps(overrides: Sequence[str]) -> list[str]:
    """Overrides for a single composition: of a sweep, its first value."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return jobs[0]

"""What went wrong with a command line, in one line: the key, the value, what is allowed and the nearest match."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from src import config as configuration
from src import grid
from src.allowed import nearest

EXTRA = "pip install -c constraints.txt -e '.[{}]' adds it"
ADDED_BY = {
    "joblib": "make setup brings .venv up to date",
    "ray": EXTRA.format("ray"),
    "submitit_slurm": EXTRA.format("slurm"),
    "submitit_local": EXTRA.format("slurm"),
}
"""How to install a launcher that is not there."""


def explain(error: Exception, overrides: Sequence[str]) -> str:
    """One line for an error of composition (Hydra, OmegaConf) or one of our own."""
    text = " ".join(str(cause) for cause in (error, error.__cause__) if cause)
    written = next((o for o in overrides if o.split("=")[0].lstrip("+~") == "experiment"), None)
    if written and not written.startswith("+") and "experiment" in text:
        return f"{written}: write it with a plus, +{written}"
    if found := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        group, option = found.groups()
        if group == "hydra/launcher" and option in ADDED_BY:
            return f"launcher={option}: is not installed; {ADDED_BY[option]}"
        known = re.findall(r"^\t(\S+)$", str(error), re.MULTILINE)  # Hydra lists them, its own groups' too
        return f"{group}={option}: unknown option{nearest(option, known)}; known: {', '.join(known)}"
    if found := re.search(r"Could not (?:override|delete|append|find).*?'([^']+)'", text):
        key = found.group(1).lstrip("+")
        value = next((o.split("=", 1)[1] for o in overrides if o.lstrip("+~").startswith(f"{key}=")), "?")
        parent, _, last = key.rpartition(".")
        known = _known_keys(parent, [o for o in overrides if not o.lstrip("+~").startswith(key)])
        if not known and parent.startswith("measurements."):
            return f"{key}={value}: not set there yet; write it with a plus, +{key}={value}"
        if last in known:  # with the first of what is swept
            return f"{key}={value}: not every option of {parent} that is swept has this key; choose one, {parent}=NAME"
        return f"{key}={value}: unknown key{nearest(last, known)}; known: {', '.join(known)}"
    if found := re.search(r"mismatched input|extraneous input|token recognition|no viable alternative", text):
        line = text.splitlines()[0]
        return f"{line} — quote a value that holds a comma, bracket or space: 'key=\"a,b\"'"
    return " ".join(text.split())


def _known_keys(parent: str, overrides: Sequence[str]) -> list[str]:
    """The keys below ``parent`` in the config the other overrides compose to."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(configuration.CONF), version_base="1.3"):
            cfg = compose("config", overrides=grid.first_of_sweeps(overrides))
        node = OmegaConf.select(cfg, parent) if parent else cfg
        return list(node) if node is not None else []
    except Exception:
        return []

"""Identify the files of the user that determine the numbers of a cell: their paths stay the same when they change."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src import cli
from src.errors import ConfigError, reason


def digests(node: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the sha256 of ``data.path`` and of the modules of ``model.path`` and ``optimizer.path``, by group.

    Modules of torch are left out, as provenance has their version. None if there is no such file.

    Raises:
        ConfigError: for a path that is missing, or a data file that cannot be read.
    """
    found = {}
    for group in ("data", "model", "optimizer"):
        path = (node.get(group) or {}).get("path")
        if path == "???":
            what = "a file.npz" if group == "data" else "an import path, my.module.Class"
            raise ConfigError(f"{group}.path", "?", f"missing; must be {what}")
        if not isinstance(path, str) or path.startswith("torch."):
            continue
        file = cli.path(path, "data.path") if group == "data" else _source(path)
        try:
            if file is not None:
                found[group] = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            raise ConfigError(f"{group}.path", path, f"cannot be read: {reason(error)}") from error
    return found or None


def _source(path: str) -> Path | None:
    """Return the file of the module of an import path, without its import; None if there is none."""
    with contextlib.suppress(Exception):  # it is refused when it is imported
        spec = importlib.util.find_spec(path.rpartition(".")[0])
        if spec and spec.origin and Path(spec.origin).is_file():
            return Path(spec.origin)
    return None

"""Hand-written YAML files, read with one line for whatever is wrong with them. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from src.errors import ConfigError, reason

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # of libyaml where it is there: much faster


def read(path: Path, kind: str, content: type, shape: str) -> Any:
    """The content of a file of some ``kind``, which must be a ``content`` (dict or list), described by ``shape``.

    Raises:
        ConfigError: when it cannot be read, is not YAML, or is something else.
    """
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except OSError as error:
        raise ConfigError(kind, path.name, f"cannot be read: {reason(error)}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(kind, path.name, f"is not YAML in UTF-8: {' '.join(str(error).split())}") from error
    if not isinstance(found, content):
        raise ConfigError(kind, path.name, f"must be {shape}" + (", but is empty" if found is None else ""))
    return found

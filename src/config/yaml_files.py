"""Read hand-written YAML files; every error is one line. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from src.errors import ConfigError, reason

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's loader, if installed, is much faster


def read(path: Path, kind: str, content: type, shape: str) -> Any:
    """Return the content of a file, which must be a ``content`` (dict or list); errors name ``kind`` and ``shape``.

    Raises:
        ConfigError: when it cannot be read, is not YAML, or has another type.
    """
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except OSError as error:
        raise ConfigError(kind, path.name, f"cannot be read: {reason(error)}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(kind, path.name, f"is not YAML in UTF-8: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, content):
        raise ConfigError(kind, path.name, f"must be {shape}" + (", but is empty" if loaded is None else ""))
    return loaded

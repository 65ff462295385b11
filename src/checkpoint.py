"""A training ``Progress`` on disk, with the length of the record it belongs to."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import torch

from src.allowed import ANEW, ConfigError
from src.training import Progress


def save(path: Path, progress: Progress, record_bytes: int) -> None:
    """Write atomically: a kill leaves the old checkpoint or the new one, never half of one."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        torch.save({"progress": progress._asdict(), "record_bytes": record_bytes}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path, device: torch.device) -> tuple[Progress, int] | None:
    """The progress and the number of bytes of ``metrics.jsonl`` it goes with; None when there is no checkpoint.

    Raises:
        ConfigError: when the file is there but cannot be read.
    """
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
        return Progress(**saved["progress"]), int(saved["record_bytes"])
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, OSError) as error:
        raise ConfigError("checkpoint", path, f"is damaged; {ANEW}") from error

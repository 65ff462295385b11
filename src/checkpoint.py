"""A training ``Progress`` on disk, with the length of the record it belongs to."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import torch

from src import records
from src.allowed import ANEW, ConfigError, reason
from src.training import Progress


def save(path: Path, progress: Progress, record_bytes: int) -> None:
    """Write atomically: a kill leaves the old checkpoint or the new one, never half of one."""
    content = io.BytesIO()  # torch hides what the disk says behind an error of its own
    torch.save({"progress": progress._asdict(), "record_bytes": record_bytes}, content)
    records.replace(path, content.getbuffer(), sync=True)


def load(path: Path, device: torch.device) -> tuple[Progress, int] | None:
    """The progress and the number of bytes of ``metrics.jsonl`` it goes with; None when there is no checkpoint.

    Raises:
        ConfigError: when the file is there but cannot be read, or is damaged.
    """
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
        return Progress(**saved["progress"]), int(saved["record_bytes"])
    except FileNotFoundError:
        return None
    except torch.OutOfMemoryError:
        raise
    except OSError as error:
        raise ConfigError("checkpoint", path, f"cannot be read: {reason(error)}") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise ConfigError("checkpoint", path, f"is damaged; {ANEW}") from error

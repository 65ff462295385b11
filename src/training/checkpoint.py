"""Checkpoints: a training ``Progress`` and the length of ``metrics.jsonl`` at its step."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import torch

from src.errors import ANEW, ConfigError, reason
from src.training.loop import Progress, tree_map


def content(progress: Progress, record_bytes: int) -> memoryview:
    """Return the bytes of a checkpoint. The caller writes them, as ``torch.save`` hides the reason of an OSError."""
    file = io.BytesIO()
    own = tree_map(torch.clone, progress)._asdict()  # tensors that share memory would give other bytes after a resume
    torch.save({"progress": own, "record_bytes": record_bytes}, file)
    return file.getbuffer()


def load(path: Path, device: torch.device) -> tuple[Progress, int] | None:
    """Return the progress and the number of bytes of ``metrics.jsonl`` at its step, or None without a checkpoint.

    Raises:
        ConfigError: for a file that cannot be read or is damaged.
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

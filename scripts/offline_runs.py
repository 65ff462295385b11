"""What W&B has logged offline: browse it in the terminal, or upload it.

    python scripts/offline_runs.py browse|upload [outputs=outputs]

Both hand over to the ``wandb`` command. An uploaded run is marked as such and not uploaded again. Exit code 2: there is
nothing to show or upload, no key to upload with, or no such command.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from src import tracking  # noqa: E402
from src.allowed import ConfigError, exit_code, key_values, nearest  # noqa: E402

WANDB = Path(sys.executable).parent / "wandb"
ACTIONS = {"browse": ["leet", "wandb"], "upload": ["sync", "--yes"]}


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    return exit_code(lambda: hand_over(arguments))


def hand_over(arguments: Sequence[str]) -> int:
    """Check, and run ``wandb``; its exit code."""
    action, outputs = read(arguments)
    runs = [path for path in (outputs / "wandb").glob("*run-*-*") if path.is_dir()]
    if not runs:
        raise ConfigError("outputs", outputs, "holds no offline W&B run; tracking.mode=offline makes them")
    if action == "upload":
        try:
            tracking.account()
        except RuntimeError as error:
            raise ConfigError("upload", outputs, f"{error}; `wandb login` takes a key") from error
    return subprocess.run([WANDB, *ACTIONS[action]], cwd=outputs, check=False).returncode


def read(arguments: Sequence[str]) -> tuple[str, Path]:
    """The action and the outputs folder.

    Raises:
        ConfigError: for anything else.
    """
    actions = [word for word in arguments if "=" not in word]
    if len(actions) != 1 or actions[0] not in ACTIONS:
        word = next((word for word in actions if word not in ACTIONS), "?")
        raise ConfigError("action", word, f"must be one of {', '.join(ACTIONS)}{nearest(word, ACTIONS)}")
    given = key_values((word for word in arguments if "=" in word), {"outputs": "outputs"})
    return actions[0], Path(given["outputs"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

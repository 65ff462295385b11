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

from src import cli
from src.errors import ConfigError, nearest
from src.results import wandb_run

WANDB = Path(sys.executable).parent / "wandb"
ACTIONS = {"browse": ["leet", "wandb"], "upload": ["sync", "--yes"]}


COMMAND = cli.Command(
    "python scripts/offline_runs.py",
    "Browse in the terminal, or upload, what W&B has logged offline. Both hand over to the wandb command.",
    keys={"outputs": cli.OUTPUTS},
    words=("browse|upload", "what to do; an uploaded run is marked as such and not uploaded again"),
    examples=["python scripts/offline_runs.py browse", "python scripts/offline_runs.py upload outputs=elsewhere"],
)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    return cli.exit_code(lambda: hand_over(arguments))


def hand_over(arguments: Sequence[str]) -> int:
    """Check, and run ``wandb``; its exit code."""
    given = COMMAND.read(arguments)
    if len(given.words) != 1 or given.words[0] not in ACTIONS:
        word = next((word for word in given.words if word not in ACTIONS), ",".join(given.words) or "?")
        raise ConfigError("action", word, f"must be one of {', '.join(ACTIONS)}{nearest(word, ACTIONS)}")
    (action,), outputs = given.words, given.outputs
    runs = [path for path in (outputs / "wandb").glob("*run-*-*") if path.is_dir()]
    if not runs:
        raise ConfigError("outputs", outputs, "holds no offline W&B run; tracking.mode=offline makes them")
    if action == "upload":
        try:
            wandb_run.account()
        except RuntimeError as error:
            raise ConfigError("upload", outputs, f"{error}; `wandb login` takes a key") from error
    return subprocess.run([WANDB, *ACTIONS[action]], cwd=outputs, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

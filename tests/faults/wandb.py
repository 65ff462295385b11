"""W&B that raises, hangs or is slow, and a server that is dead, slow or refuses: the results do not depend on it."""

from __future__ import annotations

import itertools
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src import run as entry
from src.runner.launch import plain_warnings
from tests import fake_wandb
from tests.faults import runs
from tests.faults.runs import Reference

COUNTED = "broken W&B"
LEAST = 9
CALLS = list(itertools.product(("init", "log", "finish"), ("raises", "hangs", "is slow")))
SERVERS = ["refuse", "error", "hang", "slow", "dead", "refuse later", "hang later", "dies later"]
LIMIT = 45
"""Seconds by which a broken W&B may hold up a command: 12 for each of online and offline, and for a busy machine."""


def cases() -> list[tuple[str, Any]]:
    """The experiment, and what is broken: a call of the library, or the server."""
    return list(zip(itertools.cycle(runs.EXPERIMENTS), [*CALLS, *SERVERS], strict=False))


def disturb(rng: random.Random, folder: Path, reference: Reference, broken: Any) -> tuple[int, list[str]]:
    """One command with a broken W&B, and what is wrong with how it ended."""
    report = "true" if reference.experiment == "cluster_width" else "false"
    began = time.monotonic()
    if broken in CALLS:
        line = runs.words(reference.experiment, tracking__mode="offline", report=report)
        run = runs.start(folder, line, "cold", module=["tests.faults.wandb", *broken])
        wrong = list(runs.finish(run))
    else:
        fault, _, later = broken.partition(" ")
        with fake_wandb.serve(None if later else fault) as server:
            line = runs.words(reference.experiment, tracking__mode="online", report=report)
            key = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40}
            if fault == "dead":
                _stop(server)
            run = runs.start(folder, line, "cold", key)
            while later and run.wait(0.02) is None:
                if server.runs:
                    run.wait(rng.uniform(0, 0.5))
                    _stop(server) if fault == "dies" else setattr(server, "fault", fault)
                    break
            wrong = list(runs.finish(run))
    seconds = time.monotonic() - began - reference.seconds["cold"] - (report == "true") * reference.seconds["report"]
    if seconds > LIMIT:
        wrong.append(f"held up by {seconds:.0f} s")
    return 1, [*wrong, *_told(run.said.read_text()), *runs.differences(folder / "outputs", reference)]


def _stop(server: fake_wandb.Server) -> None:
    server.shutdown()
    server.server_close()


def _told(said: str) -> Iterator[str]:
    """What is wrong with what is said of W&B: one line of it is enough."""
    if "Traceback" in said or said.count("W&B") > 1:
        yield f"W&B is told of as: {said}"


def sabotage(call: str, fault: str) -> None:
    """Break a call of the library in this process."""
    import wandb

    owner = wandb if call == "init" else wandb.sdk.wandb_run.Run
    original = getattr(owner, call)

    def broken(*arguments: Any, **options: Any) -> Any:
        if fault == "raises":
            raise RuntimeError(f"{call} does not work")
        time.sleep(3600 if fault == "hangs" else 0.3)
        return original(*arguments, **options)

    setattr(owner, call, broken)


if __name__ == "__main__":
    _, broken_call, how, *sys.argv[1:] = sys.argv
    os.environ["WANDB_API_KEY"] = "0" * 40
    sabotage(broken_call, how)
    plain_warnings()
    entry.main()

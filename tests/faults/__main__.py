"""``python -m tests.faults``: make every fault; one line of counts at the end.

Exit code 1 if anything is wrong after a fault; the seed and the case that are named then make the same fault again.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}

import multiprocessing
import random
import sys
import tempfile
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from src import cli
from src.report import finalize  # noqa: F401  imported here, so that forks need not
from src.runner import cell  # noqa: F401
from src.runner.launch import log
from tests.faults import disk, inputs, kills, runs, sharing, wandb

PARTS = {"kills": kills, "inputs": inputs, "disk": disk, "sharing": sharing, "wandb": wandb}


COMMAND = cli.Command(
    "python -m tests.faults",
    "Break small runs on purpose and check what is left; the last line counts the faults.",
    keys={
        "seed": cli.Key(None, "N", "make the same faults again"),
        "only": cli.Key("", "PART or PART-CASE", f"a part ({', '.join(PARTS)}), or one of its cases"),
    },
    examples=["python -m tests.faults", "python -m tests.faults seed=7 only=kills-3"],
)


def main() -> int:
    """Make the faults, in as many processes as there are cores; the exit code."""
    given = COMMAND.read(sys.argv[1:])
    seed, (part, _, number) = given.seed or str(random.randrange(10**6)), given.only.partition("-")
    chosen = [(name, index, arguments) for name, module in PARTS.items() if part in ("", name)
              for index, arguments in enumerate(module.cases()) if number in ("", str(index))]  # fmt: skip
    torch.set_num_threads(1)
    counts, seconds, failures = Counter(), Counter(), []
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as root, ProcessPoolExecutor(os.cpu_count(), context) as pool:
        needed = sorted({arguments[0] for _, _, arguments in chosen if arguments[0]})
        references = dict(zip(needed, pool.map(_undisturbed, needed, [root] * len(needed)), strict=True))
        jobs = {}
        for name, index, arguments in chosen:
            folder = Path(root) / f"{name}-{index}"
            jobs[pool.submit(_case, name, seed, index, arguments, folder, references)] = name, index, arguments
        for job in tqdm(as_completed(jobs), total=len(jobs), unit="case", leave=False, disable=None):
            name, index, arguments = jobs[job]
            count, wrong, taken = job.result()
            counts[name] += count
            seconds[name] += taken
            for line in wrong:
                failures.append(f"{name}-{index} {arguments} (SEED={seed} ARGS=only={name}-{index}): {line}")
                log(failures[-1])
    if not part:
        few = [name for name, module in PARTS.items() if counts[name] < module.LEAST]
        failures += [f"{counts[name]} {PARTS[name].COUNTED} are too few" for name in few]
    totals = ", ".join(f"{counts[name]} {PARTS[name].COUNTED}" for name in PARTS if part in ("", name))
    print(f"faults: {totals}: {len(failures)} failures (seed {seed})")
    print("processor: " + ", ".join(f"{name} {taken:.0f} s" for name, taken in seconds.items()), file=sys.stderr)
    return 1 if failures else 0


def _undisturbed(experiment: str, root: str) -> runs.Reference:
    return runs.undisturbed(experiment, Path(root) / "undisturbed" / experiment)


def _case(
    part: str, seed: str, index: int, arguments: tuple[Any, ...], folder: Path, references: dict[str, runs.Reference]
) -> tuple[int, list[str], float]:
    """One case of a part: how many faults it made, what is wrong after them, and the processor seconds it took."""
    folder.mkdir()
    began, rng = sum(os.times()[:4]), random.Random(f"{seed}/{part}/{index}")
    experiment, *rest = arguments
    try:
        count, wrong = PARTS[part].disturb(rng, folder, references.get(experiment), *rest)
    except Exception:
        count, wrong = 0, [traceback.format_exc()]
    return count, wrong, sum(os.times()[:4]) - began


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))

"""How the benchmarks time, and how they write what they found: ``outputs/bench/NAME.json`` and a table.

Processor time of this process, the best of several turns in which all candidates take part: a busy machine disturbs
the ratios little. A row is ``{"part", "what", "value", "unit"}`` and what else identifies it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from src import cli
from src.results import provenance

Row = dict[str, Any]


def best(todo: Mapping[Any, Callable], turns: int = 5, slow: Mapping[Any, int] | None = None) -> dict[Any, float]:
    """Least processor seconds of each. A ``slow`` one takes part in every so many turns only."""
    seconds = dict.fromkeys(todo, float("inf"))
    for turn in range(turns):
        for name, work in todo.items():
            if turn % (slow or {}).get(name, 1):
                continue
            began = time.process_time()
            work()
            seconds[name] = min(seconds[name], time.process_time() - began)
    return seconds


def row(part: str, what: str, value: float, unit: str, **more: Any) -> Row:
    """One number. ``part`` is the letter of the question it answers."""
    return {"part": part, "what": what, "value": float(f"{value:.4g}"), "unit": unit, **more}


def rate(dtype: str) -> float:
    """Operations a second of matrix products."""
    a, b = torch.rand(2, 512, 512, dtype=getattr(torch, dtype))
    return 2 * 512**3 / best({"gemm": lambda: a @ b}, turns=30)["gemm"]


def machine() -> list[Row]:
    """What matrix products and copies reach here on one thread."""
    rows = [
        row("machine", f"matrix product, {dtype}", rate(dtype) / 1e9, "GFLOP/s") for dtype in ("float32", "float64")
    ]
    source = torch.rand(2**24)
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / best({"copy": lambda: target.copy_(source)}, turns=10)["copy"] / 1e9
    return [*rows, row("machine", "copy in memory, read and written", copied, "GB/s")]


def run(name: str, description: str, main: Callable[[Path], None]) -> NoReturn:
    """Run the command line of ``scripts/bench_NAME.py``: ``main`` takes the folder of outputs."""
    file = f"python scripts/bench_{name}.py"
    command = cli.Command(file, description, {"outputs": cli.OUTPUTS}, examples=[f"{file} outputs=elsewhere"])
    sys.exit(cli.exit_code(lambda: main(command.read(sys.argv[1:]).outputs) or 0))


def write(
    name: str,
    rows: Sequence[Row],
    outputs: Path,
    header: Sequence[str] = ("part", "what", "measured"),
    table: Sequence[Sequence[str]] | None = None,
) -> None:
    """Write the rows, with the day, the commit, the machine and its load, and print them as a table.

    Another ``table`` of text, under another ``header``, takes the place of theirs.
    """
    if table is None:
        table = [(f"({entry['part']})", entry["what"], f"{entry['value']:g} {entry['unit']}") for entry in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    facts = provenance.collect("make bench", [], "", "cpu", torch.get_num_threads(), {})
    about = {key: facts[key] for key in ("date", "git", "cpu", "cores", "threads", "python", "torch")}
    folder = outputs / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    about |= {"load": round(os.getloadavg()[0], 1)}
    found = {"name": name, **about, "rows": list(rows), "header": header, "table": table}
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

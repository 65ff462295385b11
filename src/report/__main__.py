"""``python -m src.report``: write the index of all reports, or compare two results."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from src import cli
from src.report import compare, index_page

COMMAND = cli.Command(
    "python -m src.report",
    "Rebuild the index of all reports, or compare two results.",
    keys={
        "outputs": cli.OUTPUTS,
        "compare": cli.Key(None, "A,B", "show changed verdicts and numbers between two folders of outputs or reports"),
        "out": cli.Key(None, "FILE", "the page of the comparison (default: beside the reports of B)", cli.path),
    },
    examples=["python -m src.report", "python -m src.report compare=outputs,elsewhere out=moved.html"],
)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    return cli.exit_code(lambda: _write(arguments))


def _write(arguments: Sequence[str]) -> int:
    given = COMMAND.read(arguments)
    if given.compare:
        print(compare.write(given.compare, given.out))
    else:
        print(f"index: {index_page.write(given.outputs)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

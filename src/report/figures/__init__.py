"""The figures of the papers. They are only saved, and look alike everywhere: nothing a person has set has a say."""

import contextlib
import logging
import os
from pathlib import Path

OURS = {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}


def _import_matplotlib() -> None:
    """Import matplotlib, which reads the environment and files of settings once: now, as if there were none.

    A ``matplotlibrc`` in the working directory comes before all others, so it is imported from elsewhere.
    """
    before = {name: os.environ.get(name) for name in OURS}
    os.environ.update(OURS)
    try:
        with contextlib.chdir(Path(__file__).parent):
            import matplotlib  # noqa: F401
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of caches it cannot keep, and of nothing else here
_import_matplotlib()

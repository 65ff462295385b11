"""Figures of the papers, drawn without a display and independent of the user's matplotlib settings."""

import contextlib
import logging
import os
from pathlib import Path

SETTINGS = {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}


def _import_matplotlib() -> None:
    """Import matplotlib, which reads its settings once, without the user's environment and files.

    A ``matplotlibrc`` in the working directory has precedence, so the import happens in this folder.
    """
    before = {name: os.environ.get(name) for name in SETTINGS}
    os.environ.update(SETTINGS)
    try:
        with contextlib.chdir(Path(__file__).parent):
            import matplotlib  # noqa: F401
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


logging.getLogger("matplotlib").setLevel(logging.ERROR)  # its warnings concern its own cache
_import_matplotlib()

"""Ctrl-C and orphans: how the processes of a sweep end without tracebacks and without leaving workers behind."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any


def setup_worker(parent: int) -> None:
    """Use one thread, end at Ctrl-C, and end with the parent process: a cell resumes from its checkpoint."""
    os.environ["OMP_NUM_THREADS"] = "1"
    end_at_ctrl_c()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if all(thread.name != "parent" for thread in threading.enumerate()):
        threading.Thread(target=watch, name="parent", daemon=True).start()


def end_at_ctrl_c() -> None:
    """End this process at Ctrl-C, without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextlib.contextmanager
def ctrl_c_blocked(launcher: str) -> Iterator[None]:
    """Block Ctrl-C in this thread and in the processes it starts: imports that it ends would print a traceback.

    A worker unblocks it once it ends without a traceback; another thread of this process receives ours.
    """
    if launcher not in ("joblib", "submitit_local"):
        yield
        return
    if launcher == "joblib":
        from multiprocessing import resource_tracker

        from joblib.externals.loky.backend import resource_tracker as of_joblib

        for tracker in (resource_tracker, of_joblib):
            tracker.ensure_running()  # a later start would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def noting_interrupts() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C sets, since a launcher may raise an error of its own in place of the interrupt."""
    interrupted = threading.Event()

    def interrupt(*_: Any) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)

"""End the processes of a sweep at Ctrl-C or when their parent ends, without tracebacks and stray workers."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

SWEEP = "IMPLICIT_BIAS_SWEEP"
"""Environment variable with the id of the process of a sweep, which its workers inherit."""


def setup_worker() -> None:
    """Use one thread, and end at Ctrl-C or when the process of the sweep ends; cells resume from their checkpoints.

    That process may have ended already, when a worker gets here: the parent of this one is then another.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    end_at_ctrl_c()
    parent = int(os.environ[SWEEP])

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
    """Block Ctrl-C in this thread and in the processes it starts, as an interrupted import prints a traceback.

    A worker unblocks it in ``end_at_ctrl_c``. In this process another thread receives it.
    """
    if launcher not in ("joblib", "submitit_local"):
        yield
        return
    if launcher == "joblib":
        os.environ[SWEEP] = str(os.getpid())
        from multiprocessing import resource_tracker

        from joblib.externals.loky.backend import resource_tracker as joblib_tracker

        for tracker in (resource_tracker, joblib_tracker):
            tracker.ensure_running()  # a later start would unblock Ctrl-C again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def noting_interrupts() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C sets, since a launcher may replace the interrupt with another error."""
    interrupted = threading.Event()

    def interrupt(*_: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)

"""Errors that a user can fix, each as one line: the key, the value, what is allowed and the nearest match."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ANEW = "force=true recomputes the cell and archives its files"
"""How to repair a damaged file."""


class ConfigError(ValueError):
    """A mistake in the configuration. Its text is one line for the user: key, value, what is allowed."""

    def __init__(self, key: str, value: object, allowed: str):
        super().__init__(f"{key}={shown(value)}: {allowed}")
        self.key, self.value, self.allowed = key, value, allowed

    def __reduce__(self):
        return ConfigError, (self.key, self.value, self.allowed)  # so that a worker process can raise it


class CellError(RuntimeError):
    """A cell that failed, with the reason as text. Its log contains the traceback."""


WHOLE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""Error codes that concern the whole folder of results, not one file in it."""


def reason(error: OSError) -> str:
    """Return why a file cannot be read or written, for example ``permission denied``."""
    text = error.strerror or str(error) or type(error).__name__
    return text[0].lower() + text[1:]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add ``path`` to an OSError that names no file, as the error of a full disk at a write."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def unwritable(key: str, folder: object, error: OSError) -> ConfigError:
    """Return the error for ``folder``, or for the file in it that ``error`` names, with the reason."""
    place = folder if error.errno in WHOLE_DISK or error.filename is None else error.filename
    return ConfigError(key, place, f"cannot be written or read: {reason(error)}")


@contextmanager
def writing_in(folder: object) -> Iterator[None]:
    """Raise an OSError of the body as a ConfigError for the key ``outputs``."""
    try:
        yield
    except OSError as error:
        raise unwritable("outputs", folder, error) from error


def shown(value: object) -> str:
    """Return a value as it is written on a command line, on one line.

    >>> shown([1, None, {"a": True}]), shown("two\\nlines")
    ('[1,null,{a:true}]', 'two\\\\nlines')
    """
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{shown(key)}:{shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(shown, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return re.sub(r"[\x00-\x1f\x7f]", lambda match: repr(match[0])[1:-1], str(value))


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'sigma'?)`` for the known word closest to ``word``, or nothing."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""

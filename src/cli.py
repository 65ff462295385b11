"""Parse words ``key=value``, print ``--help``, and turn errors into one line and an exit code, for all commands.

Imports no large package, so that ``python -m src.status`` starts at once.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from src.errors import ConfigError, nearest, reason


class Key(NamedTuple):
    """A key of a command: its default, a placeholder for its value, its help, and ``read(text, key)`` for its value."""

    default: str | None
    value: str
    help: str
    read: Callable[[str, str], object] = lambda text, key: text


class Command(NamedTuple):
    """A command line of words ``key=value``, flags and, if ``words`` describes them (name, help), other words.

    With ``overrides`` any other word is accepted, and checked elsewhere.
    """

    name: str
    description: str
    keys: Mapping[str, Key] = {}
    flags: Mapping[str, str] = {}
    words: tuple[str, str] | None = None
    overrides: bool = False
    examples: Sequence[str] = ()

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Return keys and flags as attributes and other words as ``words``; print the help and exit for ``--help``.

        Raises:
            ConfigError: for an unknown word, or a key without a value.
        """
        given, unknown = self._parser().parse_known_intermixed_args(arguments)
        values, words = {key: entry.default for key, entry in self.keys.items()}, []
        for word in given.words:
            key, equals, value = word.partition("=")
            if key in self.keys:
                if not value:
                    raise ConfigError(key, "?", f"needs a value, {key}={self.keys[key].value}")
                values[key] = value
            elif self.overrides or (self.words and not equals):
                words.append(word)
            else:
                unknown.append(word)
        if unknown:
            key, _, value = unknown[0].partition("=")
            known = [*self.keys, *self.flags, "--help"]
            raise ConfigError(key, value or "?", f"unknown{nearest(key, known)}; known: {', '.join(known)}")
        for key, value in values.items():
            setattr(given, key, None if value is None else self.keys[key].read(value, key))
        given.words = words
        return given

    def _parser(self) -> argparse.ArgumentParser:
        keys = [
            (f"{key}={entry.value}", entry.help + (f" (default: {entry.default})" if entry.default else ""))
            for key, entry in self.keys.items()
        ]
        tables = [_table("keys:", keys), _table("examples:", [(line, "") for line in self.examples])]
        usage = [self.name, *filter(None, [self.words and self.words[0]]), *(f"[{flag}]" for flag in self.flags)]
        parser = argparse.ArgumentParser(
            usage=" ".join([*usage, *(f"[{name}]" for name, _ in keys)]),
            description=self.description,
            epilog="\n\n".join(filter(None, tables)),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        parser.error = _refuse  # type: ignore[method-assign]
        for flag, text in self.flags.items():
            parser.add_argument(flag, action="store_true", help=text)
        name, text = self.words or (None, argparse.SUPPRESS)
        parser.add_argument("words", nargs="*", metavar=name, help=text)
        return parser


def _refuse(message: str) -> NoReturn:
    raise ConfigError("arguments", "?", message)


def _table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    width = max((len(left) for left, _ in rows), default=0)
    return "\n".join([title, *(f"  {left:<{width}}  {right}".rstrip() for left, right in rows)]) if rows else ""


def path(text: str, key: str) -> Path:
    """Return the path with a leading ``~`` expanded: a shell does not expand the one in ``key=~/folder``.

    Raises:
        ConfigError: for the home of an unknown user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(key, text, "no such user; write ./~NAME for a folder of that name") from error


def imported(path: str, key: str) -> Any:
    """Return the object of an import path, ``torch.optim.Adam``.

    Raises:
        ConfigError: for a path without a dot, or a module that cannot be imported, with the reason.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a module of the user can raise anything
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(key, path, f"cannot be imported: {detail}") from error


OUTPUTS = Key("outputs", "FOLDER", "where the results are", path)


PLAIN_WORD = re.compile(r"([^=]+)=([^\[\](){},'\"\\\x00-\x1f]+)")
"""``key=value`` with a value without structure, so that quotes do not change its meaning."""


def quoted(word: str) -> str:
    """Return an override, with quotes around a plain value that Hydra's grammar cannot read.

    >>> quoted("outputs=~/résultats"), quoted("data.sigma=0.1"), quoted("seeds=[1,2]")
    ('outputs="~/résultats"', 'data.sigma=0.1', 'seeds=[1,2]')
    """
    match = PLAIN_WORD.fullmatch(word)
    if not match or "${" in word or re.fullmatch(r"[\w/\-.+$%*@?|: \t]*", match[2], re.ASCII):
        return word
    return f'{match[1]}="{match[2]}"'


def with_quotes(word: str) -> str:
    """Return an override as text for a shell, quoted so that Hydra reads its value as a string.

    >>> print(with_quotes("outputs=runs(1)"))
    'outputs="runs(1)"'
    """
    key, _, value = word.partition("=")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return shlex.quote(f'{key}="{escaped}"')


def exit_code(action: Callable[[], int], interrupted: str = "interrupted") -> int:
    """Return the exit code of ``action``; print one line, not a traceback, for errors that a user can fix.

    The code is 2 for a ConfigError or a file that cannot be used, and 130 for Ctrl-C. A closed pipe (``| head``) is no
    error. Characters that the terminal's encoding lacks are replaced.
    """
    _prepare_streams()
    try:
        code = action()
        sys.stdout.flush()
        return code
    except SystemExit as end:  # argparse's, after --help
        return _flushed(int(end.code or 0))
    except BrokenPipeError:
        return _flushed(0)
    except ConfigError as error:
        line, code = str(error), 2
    except OSError as error:
        line, code = f"{error.filename or 'output'}: cannot be written or read: {reason(error)}", 2
    except KeyboardInterrupt:
        line, code = interrupted, 130
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
    return _flushed(code)


def _prepare_streams() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed, as by >&-
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _flushed(code: int) -> int:
    """Flush the output and return the code; a flush to a closed pipe at exit would print an error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code

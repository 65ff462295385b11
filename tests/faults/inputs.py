"""Wrong inputs, generated over the schema of every experiment: each is refused in a few plain lines, before it trains.

An input is wrong by construction: ``fits`` states again, apart from ``src/config/schema.py``, which values a key takes.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import random
import shutil
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from unittest import mock

import hypothesis
from hypothesis import strategies as st

from src import run as entry
from src.config import components, experiments, schema, sweep
from src.config.validation import model_of
from src.constraints import Range
from tests.faults import runs

COUNTED = "wrong inputs"
LEAST = 300
EXAMPLES = 10
"""Of every experiment; the first of them in a process of its own, too."""
ODD = "'\"`,;:#$~%&|<>()[]{}*?!@^\\/ \n\té漢🙂\udcff"
VALUES = (None, True, False, -1, 0, 1, 2, -0.5, 0.5, 2.5, 10**30, 1e300, math.nan, math.inf, -math.inf)
GROUPS = ("data", "model", "objective", "optimizer", "measurements", "launcher")
MALFORMED = (
    "= =3 steps steps= steps=[1 steps=1] steps={ steps=' steps=\" steps=${ steps=${nope} steps=${oc.env:NO_SUCH_NAME} "
    "steps=$( steps=1,,2 steps=, steps=choice() steps=range(0) steps=interval(0,1) steps=glob(*) steps=int(x) steps=３ "
    "stop..every=3 .steps=3 stop.=3 + ++ ~ ~~steps +~steps @steps=3 steps@=3 étapes=3 +étapes=3 seeds=[0,,1] "
    "seeds=[0:1] hydra=3 hydra.mode=nope hydra/launcher=nope hydra.launcher.nope=1 hydra.sweeper.params=3 "
    "sweep=3 profiles=3 +hydra/launcher=joblib --nope -z - -- --cfg --cfg=nope --info=nope --force --steps=3 ---"
).split()
CONTRADICTIONS = {
    "clusters": ["data.negative=0", "data.d=1"],
    "mnist": ["data.n=1000000", "data.positive=[10]", "data.positive=[]"],
    "cifar10": ["data.positive=[10]", "data.n=1000000", "data.negative=[9]"],
    "separable": ["data.shape=[]", "data.shape=[2,3,4]"],
    "teacher": ["data.rank=1000"],
}
"""Of each kind of data, words that are wrong beside the other keys, which shows only when it is drawn."""
LINES = 3


class AcceptedError(BaseException):
    """The input was taken for right: training would begin. Not an Exception, which would be a failed cell."""


def cases() -> list[tuple[None, str]]:
    """No undisturbed run to compare with, and the experiment."""
    return [(None, name) for name in experiments.names()]


def disturb(rng: random.Random, folder: Path, reference: None, experiment: str) -> tuple[int, list[str]]:
    """How many wrong inputs were given, and which were not refused as they should."""
    ((line, config), *_) = sweep.jobs([f"+experiment={experiment}", "profile=smoke"])
    line = [*line, "outputs=outputs", "tracking.mode=disabled", "report=false"]
    given: dict[tuple[str, ...], list[str]] = {}
    os.chdir(folder)

    @hypothesis.seed(rng.getrandbits(64))
    @hypothesis.settings(
        max_examples=EXAMPLES, database=None, deadline=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(wrong_inputs(config))
    def refuse(wrong: list[str]) -> None:
        keys = {_key(word) for word in wrong}
        whole = [*(word for word in line if _key(word) not in keys), *wrong]
        if tuple(wrong) not in given:
            ends = [in_this_process(whole)] + ([in_its_own(whole, folder)] if not given else [])
            given[tuple(wrong)] = [f"{whole}: {what}" for end in ends for what in _not_refused(folder, *end)]

    refuse()
    return len(given), [what for wrong in given.values() for what in wrong]


def in_this_process(line: list[str]) -> tuple[int | str | None, str]:
    """The exit code of a command line, or what it does instead of ending; and what it says."""
    said = io.StringIO()
    with (
        mock.patch("src.runner.cell.loop.train", side_effect=AcceptedError),
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        try:
            return entry.run(line), said.getvalue()
        except SystemExit as ended:
            return ended.code, said.getvalue()
        except BaseException as error:
            return f"{type(error).__name__}: {error}", said.getvalue()


def in_its_own(line: list[str], folder: Path) -> tuple[int | None, str]:
    """The same of a process."""
    (place := folder.with_name(f"{folder.name}-cold")).mkdir()
    run = runs.start(place, line, "cold")
    code, said = run.wait(600), run.said.read_text()
    run.said.unlink()
    return (code, said) if not list(place.iterdir()) else (f"{code}, with files written", said)


def _not_refused(folder: Path, code: int | str | None, said: str) -> Iterator[str]:
    """What is wrong with how a wrong input was taken."""
    if code not in (1, 2):
        yield f"ends with {code} {said!r}"
    elif "Traceback" in said or not 1 <= len(said.splitlines()) <= LINES:
        yield f"is told as {said!r}"
    if left := sorted(str(path.relative_to(folder)) for path in folder.rglob("*")):
        yield f"leaves {left}"
        shutil.rmtree(folder / "outputs", ignore_errors=True)


@st.composite
def wrong_inputs(draw: st.DrawFn, config: schema.Config) -> list[str]:
    """One to three wrong words of a command line, for different keys."""
    keys = schema_of(config)
    words = st.one_of(
        wrong_values(keys), wrong_values(keys), odd_values(keys), unknown_keys(keys), wrong_names(),
        deletions(keys), wrong_options(config), st.sampled_from(MALFORMED),
        st.sampled_from(["seeds=[]", "seeds=[3,3]", *CONTRADICTIONS[config.data.name]]),
    )  # fmt: skip
    return draw(st.lists(words, min_size=1, max_size=3, unique_by=_key))


def schema_of(config: schema.Config) -> dict[str, tuple[Any, bool]]:
    """Of every key a cell may have, its type and whether it is set."""
    parts = {"": (schema.Config, dict(config)), "stop.": (schema.Stop, dict(config.stop))}
    parts["tracking."] = schema.Tracking, dict(config.tracking)
    for group in components.GROUPS:
        node = getattr(config, group)
        parts[f"{group}."] = model_of(components.component(group, node.name)), node.model_extra
    for name, given in config.measurements.items():
        parts[f"measurements.{name}."] = model_of(components.component("measurements", name)), given or {}
    found = {}
    for prefix, (model, node) in parts.items():
        hints = typing.get_type_hints(model, include_extras=True)
        found |= {prefix + key: (hints[key], key in node) for key in model.model_fields}
    return found


def wrong_values(keys: Mapping[str, tuple[Any, bool]]) -> st.SearchStrategy[str]:
    """A key with a value of another type, or out of its range."""
    plain = st.sampled_from(VALUES) | st.text("abxyz", min_size=1, max_size=5)
    values = plain | st.lists(plain, max_size=2) | st.dictionaries(st.sampled_from("ab"), plain, max_size=2)
    pairs = st.tuples(st.sampled_from(sorted(set(keys) - {"profiles", "sweep", "vars"})), values)
    return pairs.filter(lambda pair: pair != ("steps", None) and not fits(pair[1], keys[pair[0]][0])).map(
        lambda pair: f"{'' if keys[pair[0]][1] else '+'}{pair[0]}={written(pair[1])}"
    )


def odd_values(keys: Mapping[str, tuple[Any, bool]]) -> st.SearchStrategy[str]:
    """A key that takes numbers or a few words, with odd characters as a person may type them, quoted or not."""
    keys = sorted(key for key, (hint, is_set) in keys.items() if is_set and not _takes_text(hint))
    odd = st.text(ODD, max_size=8) | st.sampled_from(["a" * 5000, "../" * 50, "-" * 40])
    return st.builds(lambda key, text, quoted: f"{key}={written(text) if quoted else text}",
                     st.sampled_from(keys), odd, st.booleans())  # fmt: skip


def unknown_keys(keys: Mapping[str, tuple[Any, bool]]) -> st.SearchStrategy[str]:
    """A key with a letter too few, too many, or two exchanged."""

    def misspelt(key: str, at: int, how: str, plus: str) -> str:
        head, _, name = key.rpartition(".")
        at %= len(name)
        name = {
            "less": name[:at] + name[at + 1 :],
            "twice": name[: at + 1] + name[at:],
            "exchanged": name[:at] + name[at : at + 2][::-1] + name[at + 2 :],
        }[how]
        return f"{plus}{head}{'.' if head else ''}{name or 'x'}=1"

    how, plus = st.sampled_from(["less", "twice", "exchanged"]), st.sampled_from(["", "+", "++"])
    words = st.builds(misspelt, st.sampled_from(sorted(keys)), st.integers(0, 20), how, plus)
    return words.filter(lambda word: _key(word) not in {*keys, *GROUPS})


def wrong_names() -> st.SearchStrategy[str]:
    """A name that would be no plain folder, and outputs and a project that are none."""
    odd = st.text(ODD.replace(",", ""), min_size=1, max_size=8).filter(lambda text: set(text) & set("/:;#$%&|<>*?!\n"))
    odd |= st.sampled_from(["../x", "/", ".", "..", "-x"])
    names = st.builds(lambda key, text: f"{key}={written(text)}", st.sampled_from(["name", "label"]), odd)
    rest = ["outputs=''", "outputs='  '", "outputs=" + "a" * 5000, "outputs=~nobody-here/x", "name=" + "a" * 300]
    return names | st.sampled_from([*rest, "tracking.project=a/b", "tracking.project=''", "tracking.mode=onlin"])


def deletions(keys: Mapping[str, tuple[Any, bool]]) -> st.SearchStrategy[str]:
    """The deletion of a key that has no default outside of the configs."""
    top = {key for key in keys if "." not in key or key.startswith(("stop.", "tracking."))} - {"measurements"}
    return st.sampled_from(sorted(top)).map(lambda key: f"~{key}")


def wrong_options(config: schema.Config) -> st.SearchStrategy[str]:
    """A group with an option that is none."""
    odd = st.sampled_from(["null", "3", "true", "[a]", "{a:1}", "''", "../x"])
    odd |= st.text("abxyz", min_size=6, max_size=8)
    options = st.builds(lambda group, text: f"{group}={text}", st.sampled_from(GROUPS), odd)
    return options | odd.map(lambda text: f"profile={text}") | odd.map(lambda text: f"+experiment={text}")


def fits(value: Any, hint: Any) -> bool:
    """Whether a key of a type takes a value."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        ranges = [item for item in options[1:] if isinstance(item, Range)]
        return fits(value, options[0]) and all(_within(value, allowed) for allowed in ranges)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, option) for option in options)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in options)
    if origin is list:
        return isinstance(value, list) and all(fits(item, options[0]) for item in value)
    if hint is Any:
        return True
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return fits(value, float) and value == int(value)
    return isinstance(value, {dict: dict, bool: bool, str: str}.get(origin or hint, type(None)))


def _within(value: float, allowed: Range) -> bool:
    above = allowed.low is None or value > allowed.low or (value == allowed.low and not allowed.open_low)
    return above and (allowed.high is None or value < allowed.high or (value == allowed.high and not allowed.open_high))


def _takes_text(hint: Any) -> bool:
    """Whether a key of this type takes free text, a list or a mapping."""
    return any(fits(value, hint) for value in ("any text", [], {}))


def written(value: Any) -> str:
    """A value as Hydra reads it on a command line."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case list():
            return f"[{','.join(map(written, value))}]"
        case dict():
            return f"{{{','.join(f'{key}:{written(item)}' for key, item in value.items())}}}"
    return str(value)


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")

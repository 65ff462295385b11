"""Commands print help, one line for a mistake, and no traceback for a closed output."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from scripts import publish, reproduce
from src import cli, status
from src.claims import __main__ as claims
from src.dashboards import __main__ as dashboards
from src.errors import ConfigError
from src.report import __main__ as report

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = [status, report, claims, dashboards, publish, reproduce, benchmarks]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_command_has_a_page_of_help(command, capsys):
    assert command.main(["--help"]) == 0
    page = capsys.readouterr().out
    assert page.startswith(f"usage: {command.COMMAND.name}")
    assert "examples:" in page
    assert all(f"{key}=" in page for key in command.COMMAND.keys)


@pytest.mark.parametrize(
    ("command", "word", "told"),
    [
        (status, "ouputs=x", "did you mean 'outputs'"),
        (status, "--wach", "did you mean '--watch'"),
        (status, "--watch=3", "--watch"),
        (status, "outputs=nowhere", "nowhere"),
        (status, "outputs=", "outputs=FOLDER"),
        (status, "-x", "known: outputs, --watch"),
        (report, "compere=a,b", "did you mean 'compare'"),
        (report, "outputs", "outputs=FOLDER"),
        (report, "outputs=nowhere", "nowhere"),
        (report, "--index", "--index"),
        (dashboards, "profile=smal", "must be one of smoke, default, paper"),
        (dashboards, "project=a/b", "without / "),
        (dashboards, "uplaod", "did you mean 'upload'"),
        (dashboards, "outptus=x", "did you mean 'outputs'"),
        (dashboards, "--push", "--push"),
        (benchmarks, "tensor", "did you mean 'tensors'"),
        (benchmarks, "--smok", "did you mean '--smoke'"),
        (publish, "9", "has no claims"),
        (publish, "paper=1", "known: outputs"),
        (reproduce, "²", "must be one of 1, 2, 3, bridges"),
        (reproduce, "experiments=", "experiments=NAME"),
        (reproduce, "--only-reports", "did you mean '--only-report'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(command, word, told, capsys):
    assert command.main([word]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_some_experiments_of_a_paper_can_be_chosen():
    names = ["muon_margin", "relu_margin"]
    assert reproduce.chosen_of(names, "") == names
    assert reproduce.chosen_of(names, "relu_margin,relu_margin") == ["relu_margin"]
    with pytest.raises(ConfigError, match=r"experiments=relu_margn: must be one of .*did you mean 'relu_margin'"):
        reproduce.chosen_of(names, "relu_margn")


def test_words_and_flags_come_in_any_order():
    given = reproduce.COMMAND.read(["--only-report", "1", "profile=smoke", "~data.rho"])
    assert (given.only_report, given.words) == (True, ["1", "profile=smoke", "~data.rho"])
    given = status.COMMAND.read(["outputs=a=b", "--watch"])
    assert (given.outputs, given.watch) == (Path("a=b"), True)


def test_a_home_is_found_in_every_path(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "here").mkdir()
    assert status.main(["outputs=~/here"]) == 0
    assert report.main(["compare=~/a,~/b"]) == 2
    assert f"compare={tmp_path / 'a'}: no such folder" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no such user"):
        cli.path("~nobody-here/a", "outputs")


@pytest.mark.parametrize(
    ("reader", "words"),
    [
        ("gone", ["src.status"]),
        ("gone", ["src.run", "--cfg", "job"]),
        ("none", ["src.status"]),
        ("none", ["src.run", "--help"]),
        ("ascii", ["src.status"]),
        ("ascii", ["src.run", "--cfg", "job"]),
    ],
)
def test_no_traceback_whatever_reads_the_output(reader, words, tmp_path):
    (tmp_path / "outputs").mkdir()
    command = [sys.executable, "-m", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii" if reader == "ascii" else "utf-8"}
    if reader == "none":
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes)
    if reader == "gone":
        process.stdout.close()
    said = process.stderr.read()
    assert (process.wait(), said) == (0, b"")


def test_characters_that_the_terminal_lacks_are_replaced(tmp_path):
    command = [sys.executable, "-c", "from src import cli; print(cli.exit_code(lambda: print('é · →') or 0))"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    assert subprocess.check_output(command, cwd=ROOT, env=environment) == b"? ? ?\n0\n"


def test_what_ends_a_command(capsys):
    def raises(error):
        def action():
            raise error

        return action

    assert cli.exit_code(raises(KeyboardInterrupt())) == 130
    assert cli.exit_code(raises(BrokenPipeError())) == 0
    assert cli.exit_code(raises(PermissionError(13, "Permission denied", "x"))) == 2
    assert cli.exit_code(raises(ConfigError("k", 1, "no"))) == 2
    assert capsys.readouterr().err.splitlines()[::2] == ["interrupted", "k=1: no"]

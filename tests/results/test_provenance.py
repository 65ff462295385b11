"""Provenance is complete, fast, and without names of machines, users or folders."""

import getpass
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from src.results import provenance

ROOT = Path(__file__).parents[2]
FACTS = {
    "command": "python -m src.run +experiment=cluster_width data.k=4", "seeds": [0, 1], "dtype": "float64",
    "device": "cpu", "threads": 1, "data_files": {"train-images-idx3-ubyte.gz": "ab" * 32},
}  # fmt: skip


def shell(folder, *command):
    someone = {f"GIT_{role}_{what}": "tester" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return subprocess.check_output(command, cwd=folder, env={**os.environ, **someone}, text=True).strip()


@pytest.fixture
def checkout(tmp_path):
    shell(tmp_path, "git", "init", "-q")
    (tmp_path / "a.py").write_text("1")
    shell(tmp_path, "git", "add", "a.py")
    shell(tmp_path, "git", "commit", "-q", "-m", "first")
    return tmp_path


def test_facts_survive_json_and_say_what_they_were_told():
    facts = provenance.collect(**FACTS)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["data"] == FACTS["data_files"]
    assert {key: facts[key] for key in ("command", "seeds", "dtype", "device", "threads")} == {
        key: FACTS[key] for key in ("command", "seeds", "dtype", "device", "threads")}  # fmt: skip
    assert facts["torch"] == {"version": torch.__version__, "cuda": torch.version.cuda} and facts["gpu"] is None
    assert facts["packages"]["torch"] == torch.__version__ and None not in facts["packages"].values()
    assert facts["python"] == ".".join(map(str, sys.version_info[:3])) and facts["cpu"]
    assert abs(datetime.fromisoformat(facts["date"]) - datetime.now(UTC)) < timedelta(seconds=5)


def test_versions_are_looked_up_once(monkeypatch):
    first = provenance.collect(**FACTS)
    monkeypatch.setattr(provenance, "_version", None)
    assert provenance.collect(**FACTS)["packages"] == first["packages"]


def test_nothing_names_the_machine_the_user_or_a_folder():
    command = f"{sys.executable} -m src.run outputs={ROOT}/outputs 'data.path=~/d/mnist' list=[/a/b,/c]"
    text = json.dumps(provenance.collect(**{**FACTS, "command": command}))
    for private in (f"{ROOT}/", f"{Path.home()}/", sys.prefix):
        assert private not in text
    for private in (os.uname().nodename, getpass.getuser()):
        assert f'"{private}"' not in text
    assert not re.search(r'[\s"=\[,]~?/\w', text)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("python -m src.run hydra/launcher=ray", "python -m src.run hydra/launcher=ray"),
        ("outputs=../there data.scale=1/2", "outputs=../there data.scale=1/2"),
        ("/opt/x/bin/python -m src.run", "…/python -m src.run"),
        ("python /run.py outputs='/home/me/some/results'", "python …/run.py outputs=…/results"),
        ("python run.py 'outputs=/home/jane doe/my results'", "python run.py 'outputs=…/my results'"),
        ("files=[/a/b.gz,/c.gz] home=~/x/", "'files=[…/b.gz,…/c.gz]' home=…/x/"),
    ],
)
def test_commands_keep_what_matters_of_a_path(command, text):
    assert provenance.without_folders(command) == text


def test_git_tells_the_commit_and_whether_it_is_what_ran(checkout):
    sha = shell(checkout, "git", "rev-parse", "HEAD")
    assert provenance.git(checkout) == {"sha": sha, "dirty": False}
    (checkout / "new.py").write_text("2")
    assert provenance.git(checkout) == {"sha": sha, "dirty": True}
    (checkout / "new.py").unlink()
    (checkout / "a.py").write_text("3")
    assert provenance.git(checkout) == {"sha": sha, "dirty": True}


def test_ignored_files_do_not_make_a_checkout_dirty(checkout):
    (checkout / ".git" / "info" / "exclude").write_text("outputs/\n")
    (checkout / "outputs").mkdir()
    (checkout / "outputs" / "rows").write_text("1")
    assert provenance.git(checkout)["dirty"] is False


def test_no_git_is_told_as_null(tmp_path, checkout, monkeypatch):
    assert provenance.git(checkout / ".git" / "info") is None, "a folder inside someone else's checkout"
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert provenance.git(checkout) is None


def test_a_checkout_without_commits_has_no_sha(tmp_path):
    shell(tmp_path, "git", "init", "-q")
    assert provenance.git(tmp_path) == {"sha": None, "dirty": False}


def test_collecting_does_not_load_torch():
    code = (
        f"import sys; from src.results.provenance import collect; collect(**{FACTS!r}); print('torch' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "False\n"


def test_code_that_changed_since_is_named():
    code = provenance.collect(**FACTS)["code"]
    assert not provenance.changed_since(code)
    assert provenance.changed_since({**code, "src/types.py": "0" * 12}) == ["src/types.py"]
    assert provenance.changed_since({"src/no_longer_there.py": "0" * 12}) == ["src/no_longer_there.py"]


def test_a_file_that_moved_with_what_it_imports_is_the_same(tmp_path, monkeypatch):
    texts = {
        "before": '"""A."""\n\nimport torch\nfrom src.a import b\n\nx = 1\n',
        "after": '"""A."""\n\nimport torch\nfrom src.c.a import (\n    b,\n)\n\nx = 1\n',
        "other": '"""A."""\n\nimport torch\nfrom src.a import b\n\nx = 2\n',
    }
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text(text)
    code = {"src/before.py": provenance._content_hash(tmp_path / "before" / "before.py")}
    monkeypatch.setattr(provenance, "SOURCES", tmp_path / "after")
    assert not provenance.changed_since(code)
    monkeypatch.setattr(provenance, "SOURCES", tmp_path / "other")
    assert provenance.changed_since(code) == ["src/before.py"]


def test_code_is_what_numbers_come_from():
    modules = ("training.loop", "training.checkpoint", "optimizers.gd", "report.paper_page", "results.provenance")
    code = f"import {', '.join(f'src.{name}' for name in modules)}; print(src.results.provenance._loaded_sources())"
    files = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert "src/training/loop.py" in files and "src/optimizers/gd.py" in files
    assert "report" not in files and "checkpoint" not in files


def test_the_repository_of_a_git_hook_is_not_taken_for_ours(checkout, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    shell(other, "git", "init", "-q")
    shell(other, "git", "commit", "-q", "--allow-empty", "-m", "other")
    own = shell(checkout, "git", "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert provenance.git(checkout) == {"sha": own, "dirty": False}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_a_checkout_of_another_user_has_its_commit(checkout):
    own = shell(checkout, "git", "rev-parse", "HEAD")
    for path in [checkout, *checkout.rglob("*")]:
        os.chown(path, 12345, 12345)
    assert provenance.git(checkout)["sha"] == own


def test_git_without_an_answer_is_noticed(checkout, tmp_path_factory, monkeypatch):
    assert not provenance.commit_unknown(checkout)
    assert not provenance.commit_unknown(tmp_path_factory.mktemp("no checkout"))
    monkeypatch.setenv("PATH", "")
    assert provenance.git(checkout) is None and provenance.commit_unknown(checkout)


def test_the_kernels_that_computed_are_recorded(monkeypatch):
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    dispatch = provenance.collect(**FACTS)["dispatch"]
    assert dispatch.startswith(torch.backends.cpu.get_cpu_capability()) and "MKL_CBWR=COMPATIBLE" in dispatch

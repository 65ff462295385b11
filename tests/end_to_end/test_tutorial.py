"""What the tutorial tells an experimenter to do next, done in a copy of the repository, as it stands there."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
SECTION = re.search(r"## Ask a question of your own\n(.*?)\n## ", TUTORIAL, re.DOTALL)[1]
BLOCKS = re.findall(r"([^\n]*)\n\n```(\w+)\n(.*?)```", SECTION, re.DOTALL)
"""(the line above, language, text)"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy in which every block has been followed: files written (claims: appended), commands run."""
    root = tmp_path_factory.mktemp("copy")
    for folder in ("src", "conf", "tests"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, root)
    said = []
    for above, language, block in BLOCKS:
        if language == "sh":
            words = shlex.split(block.replace("python", sys.executable, 1))
            done = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, done.stderr
            said.append(done.stderr)
            continue
        path = root / re.search(r"`(\S+)`:$", above)[1]
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" + block if path.exists() else block)
    return root, said


def test_blocks_are_short():
    assert [language for _, language, _ in BLOCKS] == ["sh", "yaml", "python", "yaml", "sh", "yaml", "sh"]
    assert max(len(block.splitlines()) for *_, block in BLOCKS) < 16


def test_overrides_reach_the_cells(copy):
    root, said = copy
    assert "2 of 2 cells done" in said[0]
    members = [json.loads(file.read_text())["members"] for file in root.glob("outputs/cluster_width/m=*/summary.json")]
    assert [[member["seed"] for member in some] for some in members] == [[7, 8, 9]] * 2


def test_the_new_optimizer_trains_in_the_new_experiment(copy):
    root, said = copy
    assert "2 of 2 cells done" in said[1]
    for cell in ("0.1", "1"):
        (summary,) = root.glob(f"outputs/my_noise/sigma={cell}-*/summary.json")
        assert all(member["train_error"] == 0 for member in json.loads(summary.read_text())["members"])


def test_the_new_claim_is_judged(copy):
    assert re.search(r"P1-X1 +reproduced", copy[1][2])


def test_the_new_optimizer_passes_the_tests_of_all_optimizers(copy):
    command = [sys.executable, "-m", "pytest", "-q", "tests/optimizers/test_optimizer_contract.py", "-k", "log_gd"]
    done = subprocess.run(command, cwd=copy[0], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout

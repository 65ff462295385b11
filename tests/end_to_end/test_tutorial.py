"""What the tutorial tells an experimenter to do next, done in a copy of the repository, as it stands there."""

import json
import os
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
IN_ONE_PROCESS = """
import json, sys
import pytest
from src import run as entry
sys.argv = ["run"]
for words in json.loads(sys.stdin.read()):
    assert entry.run(words) == 0
    print("----", file=sys.stderr)
sys.exit(pytest.main(["tests/optimizers/test_optimizer_contract.py", "-k", "log_gd"]))
"""
FEWER = ["launcher=basic", "measurements.robustness.points=2", "measurements.robust_network.points=2"]
FEWER += ["measurements.kkt.iterations=50", "log_points=3"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy in which every block has been followed: files written (claims: appended), commands run, with ``FEWER``.

    Return its folder, what each command said and what the tests of optimizers said.
    """
    root = tmp_path_factory.mktemp("copy")
    for folder in ("src", "conf", "tests"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, root)
    commands = []
    for above, language, block in BLOCKS:
        if language == "sh":
            words = shlex.split(block)
            assert words[:3] == ["python", "-m", "src.run"]
            commands.append([*words[3:], *FEWER])
            continue
        path = root / re.search(r"`(\S+)`:$", above)[1]
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" + block if path.exists() else block)
    command = [sys.executable, "-c", IN_ONE_PROCESS]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        command, input=json.dumps(commands), cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return root, done.stderr.split("----"), done.stdout


def test_blocks_are_short():
    assert [language for _, language, _ in BLOCKS] == ["sh", "yaml", "python", "yaml", "sh", "yaml", "sh"]
    assert max(len(block.splitlines()) for *_, block in BLOCKS) < 16


def test_overrides_reach_the_cells(copy):
    root, said, _ = copy
    assert "2 of 2 cells done" in said[0]
    members = [json.loads(file.read_text())["members"] for file in root.glob("outputs/cluster_width/m=*/summary.json")]
    assert [[member["seed"] for member in some] for some in members] == [[7, 8, 9]] * 2


def test_the_new_optimizer_trains_in_the_new_experiment(copy):
    root, said, _ = copy
    assert "2 of 2 cells done" in said[1]
    for cell in ("0.1", "1"):
        (summary,) = root.glob(f"outputs/my_noise/sigma={cell}-*/summary.json")
        assert all(member["train_error"] == 0 for member in json.loads(summary.read_text())["members"])


def test_the_new_claim_is_judged(copy):
    assert re.search(r"P1-C19 +reproduced", copy[1][2])


def test_the_new_optimizer_passes_the_tests_of_all_optimizers(copy):
    assert re.search(r"\d passed", copy[2])
    assert "skipped" not in copy[2]

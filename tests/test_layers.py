"""The dependency rule: lower layers never import higher ones, parts of one layer never import each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS = [
    {"allowed", "cli", "types", "randomness", "yaml_files"},
    {"tensors"},
    {"data", "models", "optimizers", "attacks", "oracles"},
    {"objectives", "measurements", "stopping", "batches", "chunks"},
    {"training"},
    {"config", "records", "status", "checkpoint", "provenance", "tracking", "intervals", "teams"},
    {"grid", "explain", "mirrors", "assembly", "cell"},
    {"entries", "claims_file", "estimates", "claims", "ledger", "figures"},
    {"html"},
    {"exhibits", "report", "index", "compare"},
    {"conclude", "dashboards", "launch"},
    {"run"},
]
LEVEL = {part: level for level, layer in enumerate(LAYERS) for part in layer}
SIDEWAYS_FORBIDDEN = LAYERS[2]


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / "src").parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The parts of ``src`` that a file imports, wherever in the file it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "src":
            names = node.module.split(".")[1:2] or [alias.name for alias in node.names]
            found |= set(names)
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("src.")}
    return found - {part_of(path)}


SOURCES = sorted(path for path in (ROOT / "src").rglob("*.py") if path.name != "__init__.py")


def test_every_part_has_a_layer():
    assert {part_of(path) for path in SOURCES} <= set(LEVEL)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_imports_point_downwards(path):
    part = part_of(path)
    for other in imports(path):
        assert LEVEL[other] <= LEVEL[part], f"{part} imports the higher {other}"
        assert not (part in SIDEWAYS_FORBIDDEN and other in SIDEWAYS_FORBIDDEN), f"{part} imports its neighbour {other}"


def test_only_tracking_imports_wandb():
    importing = [path for path in SOURCES if "import wandb" in path.read_text(encoding="utf-8")]
    assert [part_of(path) for path in importing] == ["tracking"]


TORCHLESS = ["claims", "ledger", "report", "records", "status", "grid", "run", "conclude", "mirrors"]
TORCHLESS += ["dashboards", "index", "compare", "figures.paper1"]


@pytest.mark.parametrize("part", TORCHLESS)
def test_after_training_no_torch(part):
    """Claims, figures, reports and the entry point start without torch: they are fast and cannot retrain anything."""
    code = f"import sys, src.{part}; sys.exit('torch' in sys.modules or 'wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0

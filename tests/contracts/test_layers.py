"""The dependency rule: lower layers never import higher ones, and imports have no circles."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LAYERS = [
    {"types", "constraints", "errors"},
    {"randomness", "cli", "tensors"},
    {"data", "models", "optimizers", "attacks", "oracles"},
    {"training", "measurements"},
    {"config"},
    {"results", "claims"},
    {"runner"},
    {"report"},
    {"status", "dashboards", "run", "api"},
]
LEVEL = {part: level for level, layer in enumerate(LAYERS) for part in layer}
APART = LAYERS[2] | {"claims", "results"}
"""Parts that never import their neighbours."""


def name_of(path: Path) -> str:
    """Return ``optimizers.muon`` for ``src/optimizers/muon.py``, and a package as its ``__init__``."""
    return ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)


SOURCES = {name_of(path): path for path in sorted((ROOT / "src").rglob("*.py"))}


def imports(path: Path) -> set[str]:
    """Return the modules of ``src`` that a file imports, also within functions."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "src":
            base = node.module.removeprefix("src").removeprefix(".")
            inner = {f"{base}.{alias.name}".removeprefix(".") for alias in node.names}
            modules |= inner & SOURCES.keys() or ({base} & SOURCES.keys()) or {f"{base}.__init__"}
        if isinstance(node, ast.Import):
            modules |= {alias.name.removeprefix("src.") for alias in node.names if alias.name.startswith("src.")}
    return modules & SOURCES.keys()


def part_of(module: str) -> str:
    return module.split(".")[0]


def test_every_part_has_a_layer():
    assert {part_of(module) for module in SOURCES} - {"__init__"} == set(LEVEL)


@pytest.mark.parametrize("module", SOURCES)
def test_imports_point_downwards(module):
    part = part_of(module)
    for other in map(part_of, imports(SOURCES[module])):
        assert part == other or LEVEL[other] <= LEVEL[part], f"{part} imports the higher {other}"
        assert part == other or not {part, other} <= APART, f"{part} imports its neighbour {other}"


def test_no_circles():
    """Circles are excluded also within a layer and within a folder."""
    list(graphlib.TopologicalSorter({module: imports(path) for module, path in SOURCES.items()}).static_order())


def test_a_circle_would_be_found():
    with pytest.raises(graphlib.CycleError):
        list(graphlib.TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


def test_the_top_level_is_short_and_no_file_is_long():
    assert len([path for path in (ROOT / "src").glob("*.py") if path.name != "__init__.py"]) <= 7
    assert max(len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES.values()) <= 350


def test_only_one_module_imports_wandb():
    importing = [module for module, path in SOURCES.items() if "import wandb" in path.read_text(encoding="utf-8")]
    assert importing == ["results.wandb_run"]


TORCHLESS = [
    "claims.verdicts",
    "claims.deviations",
    "claims.__main__",
    "results.store",
    "status",
    "config.sweep",
    "run",
]
TORCHLESS += ["results.wandb_mirror", "dashboards.workspaces"]
TORCHLESS += [module for module in SOURCES if module.startswith("report.")]


def test_after_training_no_torch():
    """Claims, figures, reports and the entry point start without torch: they are fast and cannot retrain anything."""
    code = f"""
import importlib, sys
for module in {TORCHLESS}:
    importlib.import_module(f"src.{{module}}")
    if {{"torch", "wandb"}} & sys.modules.keys():
        sys.exit(f"{{module}} imports torch or W&B")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

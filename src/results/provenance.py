"""Record the code, command, software and hardware of a cell, without names of hosts, users or folders."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def collect(
    command: str, seeds: Sequence[int], dtype: str, device: str, threads: int, data_files: Mapping[str, str]
) -> dict[str, object]:
    """Return the content of ``provenance.json``; unknown facts are None.

    ``threads`` is the cell's thread count, on which sums depend. ``data_files`` maps the names of the data files to
    their sha256. Torch and the GPU are recorded if the caller has imported torch.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": without_folders(command),
        "git": git(ROOT),
        "seeds": list(seeds),
        "dtype": dtype,
        "device": device,
        "gpu": _gpu(device),
        "cpu": _cpu(),
        "dispatch": _dispatch(),
        "cores": os.cpu_count(),
        "threads": threads,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": _torch_build(),
        "packages": dict(_packages()),
        "data": dict(data_files),
        "code": {name: _content_hash(ROOT / name) for name in _loaded_sources()},
    }


def changed_since(code: Mapping[str, str]) -> list[str]:
    """Return the files of ``collect(…)["code"]`` whose content no present file has; moved files count as present."""
    present = _contents(SOURCES)
    return [name for name, known in code.items() if known not in present]


def code_digest(files: Iterable[Path]) -> str:
    """Return a hash of modules and of the versions of the dependencies."""
    contents = [path.read_bytes() for path in sorted(files)]
    return hashlib.sha256(repr((contents, _packages())).encode()).hexdigest()


SOURCES = ROOT / "src"
NUMBERS_COME_FROM = re.compile(
    r"src\.(data|models|optimizers|attacks|measurements|oracles|tensors|randomness|training(?!\.(checkpoint|microbatching)))\b"
)
IMPORTS = re.compile(rb"^[ \t]*(from [\w.]+ import (\([^)]*\)|[^\n(]*)|import [^\n]*)\n", re.MULTILINE)


def _loaded_sources() -> list[str]:
    """Return the loaded source files that affect numbers."""
    loaded = [module for name, module in sys.modules.items() if NUMBERS_COME_FROM.match(name)]
    files = {Path(file) for module in loaded if (file := getattr(module, "__file__", None))}
    return sorted(str(file.relative_to(ROOT)) for file in files if file.stat().st_size)


@cache
def _contents(folder: Path) -> frozenset[str]:
    """Return the hashes of all modules in a folder; cached for the many cells of a report."""
    return frozenset(map(_content_hash, folder.rglob("*.py")))


@cache
def _content_hash(path: Path) -> str:
    """Return a hash of a module without its import statements, so that moving files keeps it."""
    return hashlib.sha256(IMPORTS.sub(b"", path.read_bytes())).hexdigest()[:12]


def git(root: Path) -> dict[str, object] | None:
    """Return ``{"sha", "dirty"}`` of the checkout at ``root``; None without a checkout, or if git fails.

    Dirty: a tracked file differs from the commit, or a file is neither tracked nor ignored.
    """
    if not (root / ".git").exists():
        return None
    # No optional locks, since cells run in parallel. Another user's checkout is safe to read if git starts no program
    # from its config. GIT_DIR and similar variables (set in git hooks) would select another repository.
    settings = ["-c", "safe.directory=*", "-c", "core.fsmonitor=false"]
    command = ["git", "--no-optional-locks", *settings, "status", "--porcelain=v2", "--branch"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        status = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    head = re.search(r"^# branch.oid ([0-9a-f]+)$", status, re.MULTILINE)  # "(initial)" before the first commit
    return {"sha": head[1] if head else None, "dirty": any(line[0] != "#" for line in status.splitlines())}


def commit_unknown(root: Path = ROOT) -> bool:
    """Return whether ``root`` is a checkout but git finds no commit: git is missing, too old or refuses."""
    return (root / ".git").exists() and (git(root) or {}).get("sha") is None


def without_folders(command: str) -> str:
    """Return the command with absolute folders shortened to their last part.

    >>> without_folders("python -m src.run hydra/launcher=ray outputs=/home/me/results data.d=8")
    'python -m src.run hydra/launcher=ray outputs=…/results data.d=8'
    >>> without_folders("python -m src.run 'outputs=/home/jane doe/my results/out'")
    'python -m src.run outputs=…/out'
    """
    words = [re.sub(r"(?<![\w.…/-])~?(?:/[^/'\",\]]+)*/(?=[^/'\",\]])", "…/", word) for word in shlex.split(command)]
    return " ".join(word if re.fullmatch(r"[\w.…/=+~:,@%-]+", word) else shlex.quote(word) for word in words)


@cache
def _packages() -> dict[str, str | None]:
    """Return the installed versions of the dependencies in pyproject.toml."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    return {name: _version(name) for name in (re.split(r"[^\w.-]", line)[0] for line in declared)}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@cache
def _cpu() -> str | None:
    try:
        model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:  # not Linux
        model = None
    return model[1] if model else platform.processor() or None


def _dispatch() -> str:
    """Return the CPU kernels in use, e.g. ``AVX2``, and the variables that choose them; rounding depends on both."""
    torch = sys.modules.get("torch")
    variables = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "OPENBLAS_CORETYPE")
    chosen = [f"{name}={os.environ[name]}" for name in variables if os.environ.get(name)]
    return " ".join([torch.backends.cpu.get_cpu_capability() if torch else "no torch", *chosen])


def _gpu(device: str) -> str | None:
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name(device) if torch and device.startswith("cuda") else None


def _torch_build() -> dict[str, str | None] | None:
    torch = sys.modules.get("torch")
    return {"version": torch.__version__, "cuda": torch.version.cuda} if torch else None

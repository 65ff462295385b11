"""A hook of mkdocs: the line ``modules: src.optimizers`` becomes the docstrings of every module of that folder."""

import re
from pathlib import Path


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return the page with such lines replaced."""
    return re.sub(r"^modules: (\S+)$", lambda found: _docstrings(found[1]), markdown, flags=re.MULTILINE)


def _docstrings(package: str) -> str:
    files = sorted(Path(*package.split(".")).glob("[a-z]*.py"))
    return "\n".join(f"::: {package}.{file.stem}\n" for file in files)

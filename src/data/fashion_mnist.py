"""Fashion-MNIST: ten kinds of clothes in MNIST's format, two of them (or any split) against each other.

The files are not in the repository. The sha256 is of their uncompressed content, so any copy works: the authors'
(https://github.com/zalandoresearch/fashion-mnist) or Debian's package dataset-fashion-mnist.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from src import cli
from src.constraints import Count
from src.data.images import FOLDER, Images, Layout, Scale, Selection, Subset, idx_images, two_classes
from src.errors import ConfigError, reason
from src.types import Task

SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""Checksums of the uncompressed content."""
CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def build(
    seeds: Sequence[int],
    *,
    positive: list[int] = [8],  # noqa: B006 (read only)
    negative: list[int] = [6],  # noqa: B006
    n: Count = 256,
    n_test: Count | None = 2000,
    pool: bool = False,
    scale: Scale = "pixels",
    layout: Layout = "matrix",
    subset_seed: Subset = None,
    folder: str | None = None,
) -> Task:
    """Return bags (+1) against shirts (−1) as matrices 28×28 with pixels in [0, 1].

    ``positive`` and ``negative`` are indices into ``CLASSES``; ``n`` is at most 6000 for every class. ``folder`` has
    the four ``*-ubyte.gz`` files; null is ``data/fashion_mnist`` of the repository. The other arguments are those of
    ``mnist.build``.

    Raises:
        ConfigError: for a file that is missing or damaged, and for classes or sizes out of range.
    """
    source = cli.path(folder, "data.folder") if folder else FOLDER / "fashion_mnist"
    return two_classes(
        seeds,
        read(source, "train"),
        read(source, "t10k"),
        Selection(positive, negative, n, n_test, pool, scale, layout, subset_seed),
        facts={"sha256": SHA256},
    )


@cache
def read(folder: Path, part: Literal["train", "t10k"]) -> Images:
    """Return all images of the training or the test set after a check of the files' content."""
    return idx_images(folder, part, _content)


def _content(path: Path) -> bytes:
    source = "from https://github.com/zalandoresearch/fashion-mnist or Debian's dataset-fashion-mnist"
    try:
        packed = path.read_bytes()
    except FileNotFoundError as error:
        allowed = f"needs {path.name} in data/fashion_mnist or data.folder; get it {source}"
        raise ConfigError("data.name", "fashion_mnist", allowed) from error
    except OSError as error:
        raise ConfigError("data.name", "fashion_mnist", f"{path.name} cannot be read: {reason(error)}") from error
    try:
        content = gzip.decompress(packed)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        content = b""
    if hashlib.sha256(content).hexdigest() != SHA256[path.name.removesuffix(".gz")]:
        raise ConfigError("data.name", "fashion_mnist", f"{path.name} is damaged; get it again {source}")
    return content

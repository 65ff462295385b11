"""MNIST: ten handwritten digits split in two classes, odd against even by default."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from src.constraints import Count
from src.data.images import FOLDER, Images, Layout, Scale, Selection, Subset, checked_bytes, idx_images, two_classes
from src.types import Task

SHA256 = {
    "train-images-idx3-ubyte.gz": "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971",
    "train-labels-idx1-ubyte.gz": "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203",
    "t10k-images-idx3-ubyte.gz": "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be",
    "t10k-labels-idx1-ubyte.gz": "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
}


def build(
    seeds: Sequence[int],
    *,
    positive: list[int] = [1, 3, 5, 7, 9],  # noqa: B006 (read only)
    negative: list[int] = [0, 2, 4, 6, 8],  # noqa: B006
    n: Count = 256,
    n_test: Count | None = 2000,
    pool: bool = True,
    scale: Scale = "unit",
    layout: Layout = "vector",
    subset_seed: Subset = None,
) -> Task:
    """Return ``x [M, n, d]`` (``[n, d]`` when shared), d = 196 pooled or 784; as matrices ``[..., 14, 14]`` or 28×28.

    Args:
        seeds: member i draws its n images from ``seeds[i]``.
        positive: digits labelled +1.
        negative: digits labelled −1; images of other digits are dropped.
        n: training images, up to 60000 for all ten digits.
        n_test: test images, the same for all seeds; null takes all.
        pool: average over 2×2 pixels.
        scale: pixels in [0, 1], in [−1, 1] (symmetric), or every image divided by its ℓ2 norm (unit).
        layout: an image as a vector or as a matrix.
        subset_seed: seed of one training set for all members; ``first``: the first n of the file.

    Raises:
        ConfigError: for a file that is missing or damaged, and for digits or sizes out of range.
    """
    return two_classes(
        seeds,
        read("train"),
        read("t10k"),
        Selection(positive, negative, n, n_test, pool, scale, layout, subset_seed),
        facts={"sha256": SHA256},
    )


@cache
def read(part: Literal["train", "t10k"]) -> Images:
    """Return all images of the training or the test set after a check of the files' sha256."""
    return idx_images(FOLDER / "mnist", part, _content)


def _content(path: Path) -> bytes:
    return gzip.decompress(checked_bytes(path, SHA256[path.name], missing="it is part of the repository"))

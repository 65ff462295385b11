"""CIFAR-10: two of its ten classes, or any split of them, against each other.

The archive is not in the repository. Download it by hand, or install pooch (an optional extra) to fetch it once.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
import torch

from src.constraints import Count
from src.data.images import FOLDER, Images, Subset, checked_bytes, two_classes
from src.errors import ConfigError
from src.types import Task

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
ARCHIVE = "cifar-10-binary.tar.gz"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def build(
    seeds: Sequence[int],
    *,
    positive: list[int] = [1],  # noqa: B006 (read only)
    negative: list[int] = [0],  # noqa: B006
    n: Count = 256,
    n_test: Count | None = 2000,
    pool: bool = True,
    scale: Literal["unit", "pixels"] = "unit",
    layout: Literal["vector", "matrix"] = "vector",
    subset_seed: Subset = None,
) -> Task:
    """Return automobiles (+1) against airplanes (−1); ``x`` is ``[M, n, d]`` with d = 768 pooled or 3072.

    A matrix stacks the 3 channels of an image: 48×16 pooled, 96×32 whole. ``positive`` and ``negative`` are indices
    into ``CLASSES``; the other arguments are those of ``mnist.build``.

    Raises:
        ConfigError: for an archive that is missing or damaged, and for classes or sizes out of range.
    """
    train, test = read()
    return two_classes(
        seeds,
        train,
        test,
        positive=positive,
        negative=negative,
        n=n,
        n_test=n_test,
        pool=pool,
        scale=scale,
        layout=layout,
        subset_seed=subset_seed,
        facts={"sha256": {ARCHIVE: SHA256}},
    )


@cache
def read() -> tuple[Images, Images]:
    """Return training and test images from the binary archive, after a check of its sha256."""
    path = FOLDER / "cifar10" / ARCHIVE
    if not path.exists():
        _fetch()
    content = checked_bytes(path, SHA256, missing=f"get it from {URL}")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        records = {
            member.name.rpartition("/")[2]: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive
            if member.name.endswith(".bin")
        }
    train = b"".join(records[f"data_batch_{i}.bin"] for i in range(1, 6))
    return _images(train), _images(records["test_batch.bin"])


def _images(content: bytes) -> Images:
    """Parse records of one label byte and 3·32·32 pixels, channel by channel, row by row."""
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    pixels = records[:, 1:].reshape(-1, 3, 32, 32).copy()
    return Images(torch.from_numpy(pixels), torch.from_numpy(records[:, 0].astype(np.int64)))


def _fetch() -> None:
    by_hand = f"download {URL} to data/cifar10/{ARCHIVE}"
    try:
        import pooch
    except ImportError as error:
        allowed = f"is not part of the repository; pip install 'pooch>=1.8' to fetch it, or {by_hand}"
        raise ConfigError("data.name", "cifar10", allowed) from error
    try:
        pooch.retrieve(URL, known_hash=f"sha256:{SHA256}", fname=ARCHIVE, path=FOLDER / "cifar10")
    except Exception as error:  # network errors have many types; the user needs one line for all of them
        raise ConfigError("data.name", "cifar10", f"download failed ({error}); {by_hand}") from error

"""CIFAR-10: two of its ten classes, or any split of them, against each other.

The repository has the first airplanes and automobiles. Other classes and further images need the archive: download it
by hand, or install pooch (an optional extra) to fetch it once.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import torch

from src.constraints import Count
from src.data.images import (
    FOLDER,
    Images,
    Layout,
    Scale,
    Selection,
    Subset,
    check_classes,
    checked_bytes,
    two_classes,
)
from src.errors import ConfigError
from src.types import Task

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
ARCHIVE = "cifar-10-binary.tar.gz"
BY_HAND = f"download {URL} to data/cifar10/{ARCHIVE}"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Excerpt(NamedTuple):
    """A gzipped file of the repository and the sha256 of its records, once unzipped."""

    name: str
    sha256: str
    records_sha256: str


EXCERPT_LABELS = (0, 1)
"""Labels of the records in the repository."""
TRAIN = Excerpt(
    "airplane_automobile_train.bin.gz",
    "d8eed66c5420dece569ccc1158f84e38e6937d2f8eb3e6336100836477b46df6",
    "7dd7f11921024978c7a6e334241b4b60574acb220a3aaf3fd7544c9d8dc2cf90",
)
TEST = Excerpt(
    "airplane_automobile_test.bin.gz",
    "5dd3dddca7140f1af48a86e94b3afaf65bb4a77fd1d389d56fb4ed232021c0a3",
    "8db3f6f8ace061abda447eae56f59569946c4e10e1c0a30f7cbc9ef8c6f932cb",
)


def build(
    seeds: Sequence[int],
    *,
    positive: list[int] = [1],  # noqa: B006 (read only)
    negative: list[int] = [0],  # noqa: B006
    n: Count = 256,
    n_test: Count | None = 192,
    pool: bool = True,
    scale: Scale = "unit",
    layout: Layout = "vector",
    subset_seed: Subset = None,
    files: Literal["auto", "repository"] = "auto",
) -> Task:
    """Return automobiles (+1) against airplanes (−1); ``x`` is ``[M, n, d]`` with d = 768 pooled or 3072.

    A matrix stacks the 3 channels of an image: 48×16 pooled, 96×32 whole. ``positive`` and ``negative`` are indices
    into ``CLASSES``; the arguments from ``n`` to ``subset_seed`` are those of ``mnist.build``.

    Args:
        files: ``repository``: its 762 training and 192 test images, so that numbers do not depend on whether the
            archive is present; ``auto``: the archive if it is present or another class is asked for, otherwise the
            repository.

    Raises:
        ConfigError: for a file that is missing or damaged, and for classes or sizes out of range.
    """
    check_classes(positive, negative, len(CLASSES) - 1)
    others = sorted({*positive, *negative} - {*EXCERPT_LABELS})
    if others and files == "repository":
        raise ConfigError("data.files", files, f"has no class {others[0]} ({CLASSES[others[0]]}); use auto")
    if others or (files == "auto" and (FOLDER / "cifar10" / ARCHIVE).exists()):
        (train, test), sha256, more = read(), {ARCHIVE: SHA256}, ""
    else:
        (train, test), more = read_excerpt(), f" in the repository; for more, {BY_HAND}"
        sha256 = {}
        for excerpt in (TRAIN, TEST):
            sha256 |= {excerpt.name: excerpt.sha256, excerpt.name.removesuffix(".gz"): excerpt.records_sha256}
    return two_classes(
        seeds,
        train,
        test,
        Selection(positive, negative, n, n_test, pool, scale, layout, subset_seed),
        facts={"sha256": sha256},
        more=more,
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


@cache
def read_excerpt() -> tuple[Images, Images]:
    """Return the training and test images of the repository, after a check of both sha256 of each file."""
    return _images(_excerpt_records(TRAIN)), _images(_excerpt_records(TEST))


def _excerpt_records(excerpt: Excerpt) -> bytes:
    path = FOLDER / "cifar10" / excerpt.name
    records = gzip.decompress(checked_bytes(path, excerpt.sha256, missing="it is part of the repository"))
    if hashlib.sha256(records).hexdigest() != excerpt.records_sha256:
        raise ConfigError("data.name", "cifar10", f"the records of {excerpt.name} are not those of its README")
    return records


def _images(content: bytes) -> Images:
    """Parse records of one label byte and 3·32·32 pixels, channel by channel, row by row."""
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    pixels = records[:, 1:].reshape(-1, 3, 32, 32).copy()
    return Images(torch.from_numpy(pixels), torch.from_numpy(records[:, 0].astype(np.int64)))


def _fetch() -> None:
    try:
        import pooch
    except ImportError as error:
        allowed = f"only airplanes and automobiles are in the repository; pip install 'pooch>=1.8' or {BY_HAND}"
        raise ConfigError("data.name", "cifar10", allowed) from error
    try:
        pooch.retrieve(URL, known_hash=f"sha256:{SHA256}", fname=ARCHIVE, path=FOLDER / "cifar10")
    except Exception as error:  # network errors have many types; the user needs one line for all of them
        raise ConfigError("data.name", "cifar10", f"download failed ({error}); {BY_HAND}") from error

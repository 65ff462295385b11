"""Tasks of two classes from labelled images, for MNIST, Fashion-MNIST and CIFAR-10."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from src.errors import ConfigError, reason
from src.randomness import permutation
from src.types import Task

FOLDER = Path(__file__).resolve().parents[2] / "data"


Scale = Literal["unit", "pixels", "symmetric"]
Layout = Literal["vector", "matrix"]
Subset = int | Literal["first"] | None
"""The training set: drawn from this seed for all members, the first images of the file, or one for each member."""


class Images(NamedTuple):
    """``pixels`` uint8 ``[N, (channels,) rows, columns]`` and ``labels`` int64 ``[N]``."""

    pixels: Tensor
    labels: Tensor


class Selection(NamedTuple):
    """The part of labelled images that a task has.

    Attributes:
        positive: labels of the class +1.
        negative: labels of the class −1; images with other labels are dropped.
        n: training images of a member, drawn without replacement.
        n_test: test images; None takes all.
        pool: average over 2×2 pixels.
        scale: ``pixels`` in [0, 1], ``symmetric`` in [−1, 1], or every image divided by its ℓ2 norm (``unit``).
        layout: an image is a ``vector`` or a ``matrix``; a matrix stacks the channels.
        subset_seed: seed of one training set for all members; ``first``: the first n of the file.
    """

    positive: list[int]
    negative: list[int]
    n: int
    n_test: int | None
    pool: bool
    scale: Scale
    layout: Layout
    subset_seed: Subset


def checked_bytes(path: Path, sha256: str, *, missing: str) -> bytes:
    """Return the content of a data file after a check of its sha256.

    Raises:
        ConfigError: for a file that is missing (with the hint ``missing``), cannot be read or is damaged.
    """
    name = f"data/{path.parent.name}/{path.name}"
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError("data.name", path.parent.name, f"needs {name}, which is missing; {missing}") from error
    except OSError as error:
        raise ConfigError("data.name", path.parent.name, f"{name} cannot be read: {reason(error)}") from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        allowed = f"{name} is damaged: sha256 {actual[:12]}…, not {sha256[:12]}…; remove it; {missing}"
        raise ConfigError("data.name", path.parent.name, allowed)
    return content


def idx_images(folder: Path, part: Literal["train", "t10k"], content: Callable[[Path], bytes]) -> Images:
    """Return the images of two files in MNIST's format, with ``content`` of a file once unzipped and checked."""
    pixels, labels = (idx_array(content(folder / f"{part}-{kind}-ubyte.gz")) for kind in ("images-idx3", "labels-idx1"))
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels).long())


def idx_array(content: bytes) -> np.ndarray:
    """Parse an idx file of uint8: the bytes 0, 0, 8 and the number of axes, then big-endian sizes, then the data."""
    axes = content[3]
    sizes = np.frombuffer(content, ">u4", count=axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(sizes).copy()


def two_classes(
    seeds: Sequence[int],
    train: Images,
    test: Images,
    chosen: Selection,
    *,
    facts: dict[str, Any],
    more: str = "",
) -> Task:
    """Build a task of ``n`` images per member: +1 for ``positive``, −1 for ``negative``.

    Members share the training set if it is drawn from ``subset_seed``, is the first of the file, or has all images.
    The last two keep the order of the file. Members always share the test set.

    Args:
        seeds: member i draws its images from ``seeds[i]``.
        train: training images.
        test: test images.
        chosen: the part of them.
        facts: facts of the task; ``index`` ``[M, n]`` or ``[n]``, positions of the images in the file, is added.
        more: end of the message about sizes, with where more images can be had.

    Raises:
        ConfigError: for unknown or overlapping classes, or more images than the classes have.
    """
    positive, negative, n, n_test, pool, scale, layout, subset_seed = chosen
    check_classes(positive, negative, int(train.labels.max()))
    train_pool = torch.nonzero(torch.isin(train.labels, torch.tensor([*positive, *negative]))).squeeze(1)
    test_pool = torch.nonzero(torch.isin(test.labels, torch.tensor([*positive, *negative]))).squeeze(1)
    n_test = len(test_pool) if n_test is None else n_test
    for key, wanted, available in (("data.n", n, len(train_pool)), ("data.n_test", n_test, len(test_pool))):
        if wanted > available:
            raise ConfigError(key, wanted, f"must be <= {available}, the images of these classes{more}")

    def draw(seed: int, rng_key: str, count: int, of: Tensor) -> Tensor:
        return of if count == len(of) else of[permutation(seed, rng_key, len(of))[:count]]

    if subset_seed == "first":
        index = train_pool[:n]
    elif subset_seed is not None or n == len(train_pool):
        index = draw(subset_seed or 0, "images", n, train_pool)
    else:
        index = torch.stack([draw(seed, "images", n, train_pool) for seed in seeds])
    test_index = draw(0, "test images", n_test, test_pool)

    def inputs(pixels: Tensor) -> Tensor:
        return features(pixels, axes=train.pixels.ndim - 1, pool=pool, scale=scale, layout=layout)

    def labels(digits: Tensor) -> Tensor:
        return torch.where(torch.isin(digits, torch.tensor(positive)), 1.0, -1.0).double()

    return Task(
        x=inputs(train.pixels[index]),
        y=labels(train.labels[index]),
        x_test=inputs(test.pixels[test_index]),
        y_test=labels(test.labels[test_index]),
        facts={**facts, "index": index},
    )


def features(pixels: Tensor, *, axes: int, pool: bool, scale: Scale, layout: str) -> Tensor:
    """Return uint8 images ``[..., *axes]`` as float64 ``[..., d]`` or ``[..., rows, columns]``, channels stacked."""
    images = pixels.double() / 255
    if pool:
        rows, columns = images.shape[-2] // 2, images.shape[-1] // 2
        images = images.unflatten(-1, (columns, 2)).unflatten(-3, (rows, 2)).mean((-1, -3))
    if axes == 3:
        images = images.flatten(-3, -2)
    if scale == "symmetric":
        images = 2 * images - 1
    if scale == "unit":
        norm = torch.linalg.vector_norm(images, dim=(-2, -1), keepdim=True)
        images = images / torch.where(norm > 0, norm, 1)
    return images.flatten(-2) if layout == "vector" else images


def check_classes(positive: list[int], negative: list[int], highest: int) -> None:
    """Raise ConfigError unless both classes have labels from 0 to ``highest``, and none in common."""
    for key, classes in (("data.positive", positive), ("data.negative", negative)):
        if not classes or not set(classes) <= set(range(highest + 1)):
            raise ConfigError(key, classes, f"must list at least one of the labels 0 to {highest}")
    if both := set(positive) & set(negative):
        raise ConfigError("data.negative", negative, f"must not share {sorted(both)} with data.positive")

"""From labelled images to a task of two classes: shared by MNIST, Fashion-MNIST and CIFAR-10."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from src.errors import ConfigError, reason
from src.randomness import permutation
from src.types import Task

FOLDER = Path(__file__).resolve().parents[2] / "data"


Subset = int | Literal["first"] | None
"""Where a training set comes from: one drawn from this seed, the first of the file, or each member's own."""


class Images(NamedTuple):
    """``pixels`` uint8 ``[N, (channels,) rows, columns]`` and ``labels`` int64 ``[N]``."""

    pixels: Tensor
    labels: Tensor


def checked_bytes(path: Path, sha256: str, *, missing: str) -> bytes:
    """The content of a data file.

    Raises:
        ConfigError: when the file is not there (the text is ``missing``), cannot be read or is not what it should be.
    """
    name = f"data/{path.parent.name}/{path.name}"
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError("data.name", path.parent.name, f"needs {name}, which is missing; {missing}") from error
    except OSError as error:
        raise ConfigError("data.name", path.parent.name, f"{name} cannot be read: {reason(error)}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        allowed = f"{name} is damaged: sha256 {found[:12]}…, not {sha256[:12]}…; remove it; {missing}"
        raise ConfigError("data.name", path.parent.name, allowed)
    return content


def idx_array(content: bytes) -> np.ndarray:
    """An idx file of bytes: 0, 0, 8 (uint8), number of axes, then big-endian sizes, then the data."""
    axes = content[3]
    sizes = np.frombuffer(content, ">u4", count=axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(sizes).copy()


def two_classes(
    seeds: Sequence[int],
    train: Images,
    test: Images,
    *,
    positive: list[int],
    negative: list[int],
    n: int,
    n_test: int | None,
    pool: bool,
    scale: Literal["unit", "pixels"],
    layout: Literal["vector", "matrix"],
    subset_seed: Subset,
    facts: dict[str, Any],
) -> Task:
    """Labels +1 for the classes ``positive``, −1 for ``negative``; ``n`` training images drawn without replacement.

    Member i draws its images from ``seeds[i]``, or all members the same from ``subset_seed``, or take the first of the
    file. All there are need not be drawn: they are shared, in the order of the file, and so are the ``n_test`` test
    images (None: all there are).

    Args:
        seeds: of the members.
        train: training images.
        test: test images.
        positive: labels of the class +1.
        negative: labels of the class −1; other labels are left out.
        n: training images of a member.
        n_test: test images, the same for all seeds.
        pool: average over 2×2 pixels.
        scale: ``pixels`` in [0, 1], or every image divided by its ℓ2 norm (``unit``).
        layout: an image is a ``vector``, or a ``matrix``, with its channels stacked if there are any.
        subset_seed: draws one training set for all members; ``first``: it is the first n of the file.
        facts: goes into the task, beside ``index`` ``[M, n]`` or ``[n]``, the places of the images in the file.

    Raises:
        ConfigError: for classes that are not there or overlap, or more images than there are.
    """
    _check_classes(positive, negative, int(train.labels.max()))
    pool_of = torch.nonzero(torch.isin(train.labels, torch.tensor([*positive, *negative]))).squeeze(1)
    test_pool = torch.nonzero(torch.isin(test.labels, torch.tensor([*positive, *negative]))).squeeze(1)
    n_test = len(test_pool) if n_test is None else n_test
    for key, wanted, there in (("data.n", n, len(pool_of)), ("data.n_test", n_test, len(test_pool))):
        if wanted > there:
            raise ConfigError(key, wanted, f"must be <= {there}, the images of these classes")

    def draw(seed: int, rng_key: str, count: int, of: Tensor) -> Tensor:
        return of if count == len(of) else of[permutation(seed, rng_key, len(of))[:count]]

    if subset_seed == "first":
        index = pool_of[:n]
    elif subset_seed is not None or n == len(pool_of):
        index = draw(subset_seed or 0, "images", n, pool_of)
    else:
        index = torch.stack([draw(seed, "images", n, pool_of) for seed in seeds])
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


def features(pixels: Tensor, *, axes: int, pool: bool, scale: str, layout: str) -> Tensor:
    """Float64 ``[..., d]`` or ``[..., rows, columns]`` of uint8 images ``[..., *axes]``; channels are stacked rows."""
    images = pixels.double() / 255
    if pool:
        rows, columns = images.shape[-2] // 2, images.shape[-1] // 2
        images = images.unflatten(-1, (columns, 2)).unflatten(-3, (rows, 2)).mean((-1, -3))
    if axes == 3:
        images = images.flatten(-3, -2)
    if scale == "unit":
        norm = torch.linalg.vector_norm(images, dim=(-2, -1), keepdim=True)
        images = images / torch.where(norm > 0, norm, 1)
    return images.flatten(-2) if layout == "vector" else images


def _check_classes(positive: list[int], negative: list[int], highest: int) -> None:
    for key, classes in (("data.positive", positive), ("data.negative", negative)):
        if not classes or not set(classes) <= set(range(highest + 1)):
            raise ConfigError(key, classes, f"must list at least one of the labels 0 to {highest}")
    if both := set(positive) & set(negative):
        raise ConfigError("data.negative", negative, f"must not share {sorted(both)} with data.positive")

"""Your own data, from arrays or from a NumPy archive ``.npz``."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src import cli
from src.errors import ConfigError, reason
from src.types import Task


def build(seeds: Sequence[int], *, path: str) -> Task:
    """Read the arrays ``x`` and ``y``, and ``x_test`` and ``y_test`` if the file has them; see :func:`from_arrays`.

    Args:
        seeds: not used, as the members share the data.
        path: the file, relative to the working directory.

    Raises:
        ConfigError: for a file that cannot be read, or arrays that are not a data set of two classes.
    """
    file = cli.path(path, "data.path")
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except OSError as error:
        raise ConfigError("data.path", path, f"cannot be read: {reason(error)}") from error
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        allowed = "must be a file of numpy.savez with arrays of numbers x and y"
        raise ConfigError("data.path", path, allowed) from error
    task = from_arrays(arrays, key="data.path", source=path)
    return task._replace(facts={"sha256": {Path(path).name: digest}})


def from_arrays(arrays: Mapping[str, Any], *, key: str = "data", source: str = "arrays") -> Task:
    """Return a task in float64, shared by all members.

    Args:
        arrays: ``x [N, ...]`` and the labels ±1 ``y [N]``, arrays or tensors; also ``x_test`` and ``y_test``, without
            which the test set is empty and its error is NaN.
        key: what an error names.
        source: value of ``key`` in an error.

    Raises:
        ConfigError: for a missing array, numbers that are not finite, other labels, or sizes that differ.
    """

    def refuse(text: str) -> ConfigError:
        return ConfigError(key, source, text)

    def read(name: str) -> Tensor:
        if name not in arrays:
            has = ", ".join(arrays) or "nothing"
            what = "inputs" if name.startswith("x") else "labels"
            raise refuse(f"has no array {name} of {what}; it has {has}")
        try:
            value = torch.as_tensor(arrays[name]).detach()
        except (TypeError, ValueError) as error:
            raise refuse(f"{name} must be an array of numbers") from error
        if value.is_complex():
            raise refuse(f"{name} must have real numbers")
        value = value.double()
        if bad := int((~value.isfinite()).sum()):
            raise refuse(f"{name} must have finite numbers; {bad} of its {value.numel()} are NaN or infinite")
        return value

    def examples(suffix: str) -> tuple[Tensor, Tensor]:
        x, y = read(f"x{suffix}"), read(f"y{suffix}")
        if x.ndim < 2 or y.shape != x.shape[:1] or not len(y):
            sizes = f"{list(x.shape)} and {list(y.shape)}"
            raise refuse(f"x{suffix} and y{suffix} must have shapes [N, ...] and [N]; they have {sizes}")
        if set(labels := y.unique().tolist()) - {-1.0, 1.0}:
            found = ", ".join(f"{label:g}" for label in labels[:4]) + (", …" if len(labels) > 4 else "")
            hint = "; 2*y - 1 converts 0 and 1" if labels == [0, 1] else ""
            raise refuse(f"labels y{suffix} must be -1 and 1, not {found}{hint}")
        return x, y

    x, y = examples("")
    if len(y.unique()) < 2:
        raise refuse(f"labels y must have both classes, -1 and 1; all are {y[0]:g}")
    x_test, y_test = examples("_test") if {"x_test", "y_test"} & set(arrays) else (x[:0], y[:0])
    if x_test.shape[1:] != x.shape[1:]:
        raise refuse(f"x_test must have inputs of shape {list(x.shape[1:])}, as x, not {list(x_test.shape[1:])}")
    return Task(x, y, x_test, y_test, facts={})

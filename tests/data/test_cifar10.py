"""The CIFAR-10 loader, on a small archive in the original format and on the files of the repository."""

import builtins
import gzip
import hashlib
import io
import shutil
import sys
import tarfile
import types

import numpy as np
import pytest
import torch

from src.data import cifar10
from src.errors import ConfigError

PER_FILE = 20
REPOSITORY = cifar10.FOLDER / "cifar10"


def records(seed):
    """Return 20 records: labels 0, 1, …, 9, 0, …, and random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (PER_FILE, 3072), dtype=np.uint8)
    return np.hstack([np.arange(PER_FILE, dtype=np.uint8)[:, None] % 10, pixels])


def archive_bytes():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        files = {f"data_batch_{i}.bin": records(i).tobytes() for i in (2, 1, 3, 5, 4)}
        files |= {"test_batch.bin": records(0).tobytes(), "batches.meta.txt": b"airplane\n"}
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "FOLDER", tmp_path)
    for read in (cifar10.read, cifar10.read_excerpt):
        monkeypatch.setattr(cifar10, read.__name__, read.__wrapped__)
    (tmp_path / "cifar10").mkdir()
    return tmp_path / "cifar10"


@pytest.fixture
def archive(folder, monkeypatch):
    content = archive_bytes()
    (folder / cifar10.ARCHIVE).write_bytes(content)
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(content).hexdigest())


def test_records_are_a_label_and_three_channels(archive):
    train, test = cifar10.read()
    assert train.pixels.shape == (5 * PER_FILE, 3, 32, 32) and test.pixels.shape == (PER_FILE, 3, 32, 32)
    expected = np.concatenate([records(i) for i in range(1, 6)])
    assert train.labels.tolist() == expected[:, 0].tolist()
    # red pixels first, row by row; then green, then blue
    assert train.pixels[7, 1, 2, 5] == expected[7, 1 + 1024 + 2 * 32 + 5]


def test_two_classes(archive):
    task = cifar10.build([0, 1], n=6, n_test=None)
    assert task.x.shape == (2, 6, 768) and task.x_test.shape == (4, 768)
    assert set(cifar10.read()[0].labels[task.facts["index"]].flatten().tolist()) <= {0, 1}
    assert torch.equal(task.y, 2.0 * cifar10.read()[0].labels[task.facts["index"]] - 1)
    matrix = cifar10.build([0], n=6, n_test=2, pool=False, layout="matrix", scale="pixels")
    assert matrix.x.shape == (1, 6, 96, 32)
    pixels = cifar10.read()[0].pixels[matrix.facts["index"]]
    torch.testing.assert_close(matrix.x[..., 32:64, :], pixels[:, :, 1].double() / 255)


@pytest.fixture
def excerpt(folder):
    """Return a folder with the two files of the repository and no archive."""
    for name in (cifar10.TRAIN.name, cifar10.TEST.name):
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


@pytest.mark.parametrize(("part", "counts"), [(0, (396, 366)), (1, (103, 89))])
def test_the_repository_has_airplanes_and_automobiles(part, counts):
    images = cifar10.read_excerpt()[part]
    assert images.pixels.shape == (sum(counts), 3, 32, 32)
    assert tuple(images.labels.bincount().tolist()) == counts


def test_without_the_archive_the_two_classes_are_those_of_the_repository(excerpt):
    task = cifar10.build([0, 1], n=512, scale="pixels")
    train, test = cifar10.read_excerpt()
    assert task.x.shape == (2, 512, 768) and task.x_test.shape == (192, 768)
    assert torch.equal(task.y, 2.0 * train.labels[task.facts["index"]] - 1)
    assert task.y_test.tolist() == (2.0 * test.labels - 1).tolist(), "automobiles are +1"
    assert (task.x.min() >= 0) and (task.x.max() <= 1)
    exchanged = cifar10.build([0], positive=[0], negative=[1], n=762)
    assert exchanged.x.shape == (762, 768)
    assert exchanged.y.sum() == 396 - 366


def test_the_recorded_sha256_are_those_of_the_files_and_of_their_records(excerpt):
    content = {path.name: path.read_bytes() for path in excerpt.iterdir()}
    content |= {name.removesuffix(".gz"): gzip.decompress(data) for name, data in content.items()}
    expected = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    assert cifar10.build([0], n=4).facts["sha256"] == expected
    table = (REPOSITORY / "README.md").read_text()
    assert all(f"`{sha256}`" in table for sha256 in expected.values())


def test_a_damaged_file_of_the_repository_is_rejected(excerpt):
    path = excerpt / cifar10.TEST.name
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"data/cifar10/{cifar10.TEST.name} is damaged: sha256"):
        cifar10.build([0], n=4)
    path.unlink()
    with pytest.raises(ConfigError, match="which is missing; it is part of the repository"):
        cifar10.build([0], n=4)


def test_records_other_than_those_of_the_readme_are_rejected(excerpt, monkeypatch):
    path = excerpt / cifar10.TRAIN.name
    path.write_bytes(gzip.compress(records(0).tobytes(), mtime=0))
    forged = cifar10.TRAIN._replace(sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(cifar10, "TRAIN", forged)
    with pytest.raises(ConfigError, match=r"records of airplane_automobile_train\.bin\.gz are not those of its README"):
        cifar10.build([0], n=4)


@pytest.mark.parametrize(("key", "value", "available"), [("n", 763, 762), ("n_test", 193, 192)])
def test_more_images_than_the_repository_has(excerpt, key, value, available):
    message = rf"data\.{key}={value}: must be <= {available}, .*download {cifar10.URL}"
    with pytest.raises(ConfigError, match=message):
        cifar10.build([0], **{"n": 4, key: value})


def test_the_archive_is_used_where_it_is_present(excerpt, archive):
    assert cifar10.build([0], n=4, n_test=None).facts["sha256"].keys() == {cifar10.ARCHIVE}
    assert len(cifar10.build([0], n=4, n_test=None).y_test) == 4
    task = cifar10.build([0], n=4, n_test=None, files="repository")
    assert len(task.y_test) == 192, "numbers of the repository do not depend on the archive"


def test_the_repository_alone_has_no_other_classes(archive):
    cifar10.build([0], positive=[2], n=4, n_test=None)
    with pytest.raises(ConfigError, match=r"data\.files=repository: has no class 2 \(bird\); use auto"):
        cifar10.build([0], positive=[2], n=4, n_test=None, files="repository")


@pytest.mark.parametrize("positive", [[10], [-1], []])
def test_classes_are_checked_before_anything_is_fetched(folder, positive):
    with pytest.raises(ConfigError, match=r"data\.positive=.*must list at least one of the labels 0 to 9"):
        cifar10.build([0], positive=positive)


@pytest.mark.skipif(not (REPOSITORY / cifar10.ARCHIVE).exists(), reason="data/cifar10 has no full archive")
def test_the_records_are_those_of_the_full_archive():
    for part, first, archived in zip(cifar10.read_excerpt(), (4000, 1000), cifar10.read(), strict=True):
        chosen = archived.labels[:first] <= 1
        assert torch.equal(part.labels, archived.labels[:first][chosen])
        assert torch.equal(part.pixels, archived.pixels[:first][chosen])


def test_a_missing_archive_without_pooch(folder, monkeypatch):
    real_import = builtins.__import__

    def without_pooch(name, *args, **kwargs):
        if name == "pooch":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pooch)
    message = r"data\.name=cifar10: only airplanes and automobiles are in the repository; pip install .* or download"
    with pytest.raises(ConfigError, match=message):
        cifar10.build([0], positive=[3])


def test_downloaded_once_and_checked(folder, monkeypatch):
    content, calls = archive_bytes(), []
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(content).hexdigest())

    def retrieve(url, known_hash, fname, path):
        calls.append((url, known_hash))
        (path / fname).write_bytes(content)

    monkeypatch.setitem(sys.modules, "pooch", types.SimpleNamespace(retrieve=retrieve))
    for _ in range(2):
        cifar10.build([0], negative=[9], n=4, n_test=None)
    assert calls == [(cifar10.URL, f"sha256:{cifar10.SHA256}")]


def test_without_network_the_error_is_one_line(folder, monkeypatch):
    def retrieve(*args, **kwargs):
        raise ConnectionError("unreachable")

    monkeypatch.setitem(sys.modules, "pooch", types.SimpleNamespace(retrieve=retrieve))
    with pytest.raises(ConfigError, match=r"download failed \(unreachable\); download"):
        cifar10.build([0], negative=[9])


def test_a_damaged_archive_is_rejected(folder):
    (folder / cifar10.ARCHIVE).write_bytes(archive_bytes())
    with pytest.raises(ConfigError, match="is damaged: sha256"):
        cifar10.build([0])

import gzip
import shutil

import pytest
import torch

from src.data import images, mnist
from src.errors import ConfigError

EVERY = {"n_test": 50}


def test_first_digits_are_the_known_ones():
    """Known values: the first labels, the number of each digit, and the mean of the training pixels."""
    train, test = mnist.read("train"), mnist.read("t10k")
    assert train.pixels.shape == (60000, 28, 28) and test.pixels.shape == (10000, 28, 28)
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert torch.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert float(train.pixels.double().mean() / 255) == pytest.approx(0.1307, abs=1e-4)


def test_odd_against_even():
    task = mnist.build([0, 1], n=64, n_test=100)
    assert task.x.shape == (2, 64, 196) and task.x_test.shape == (100, 196)
    torch.testing.assert_close(task.x.norm(dim=-1), torch.ones(2, 64, dtype=torch.float64))
    labels = mnist.read("train").labels[task.facts["index"]]
    assert torch.equal(task.y, 2.0 * (labels % 2) - 1)


def test_any_two_digits_whole_and_in_pixels():
    task = mnist.build(
        [0], positive=[3], negative=[7], n=5000, n_test=None, pool=False, scale="pixels", layout="matrix", subset_seed=4
    )
    assert task.x.shape == (5000, 28, 28) and task.y.shape == (5000,)
    assert task.x.min() == 0 and task.x.max() == 1
    assert task.x_test.shape == (1010 + 1028, 28, 28)
    labels = mnist.read("train").labels[task.facts["index"]]
    assert torch.equal(task.y, torch.where(labels == 3, 1.0, -1.0).double())
    assert torch.equal(task.x, mnist.read("train").pixels[task.facts["index"]].double() / 255)


def test_pooling_averages_two_by_two():
    whole, pooled = (
        mnist.build([3], n=5, n_test=5, pool=pool, scale="pixels", layout="matrix") for pool in (False, True)
    )
    for i, j in ((0, 0), (7, 5), (13, 9)):
        patch = whole.x[..., 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        torch.testing.assert_close(pooled.x[..., i, j], patch.mean((-2, -1)))
    flat = mnist.build([3], n=5, n_test=5, scale="pixels")
    assert torch.equal(flat.x, pooled.x.flatten(-2))


def test_a_member_draws_from_its_own_seed_without_replacement():
    together, alone = mnist.build([3, 8], n=300, **EVERY), mnist.build([8], n=300, **EVERY)
    index = together.facts["index"]
    assert torch.equal(index[1], alone.facts["index"][0]) and torch.equal(together.x[1], alone.x[0])
    assert len(set(index[0].tolist())) == 300
    assert set(index[0].tolist()) != set(index[1].tolist())
    assert torch.equal(together.x_test, alone.x_test)


def test_a_shared_subset_does_not_depend_on_the_seeds():
    one, other = mnist.build([0], n=40, subset_seed=1, **EVERY), mnist.build([5, 6], n=40, subset_seed=1, **EVERY)
    assert one.x.shape == (40, 196) and torch.equal(one.x, other.x)
    assert not torch.equal(one.x, mnist.build([0], n=40, subset_seed=2, **EVERY).x)


def test_the_first_of_the_file():
    first = mnist.build([0, 1], positive=[7], negative=[3], n=30, subset_seed="first", **EVERY)
    labels = mnist.read("train").labels
    assert first.facts["index"].tolist() == [i for i in range(1000) if labels[i] in (3, 7)][:30]
    assert torch.equal(first.y, torch.where(labels[first.facts["index"]] == 7, 1.0, -1.0).double())


def test_all_images_are_in_the_order_of_the_file():
    task = mnist.build([0, 1], positive=[0], negative=[1], n=5923 + 6742, **EVERY)
    assert task.x.shape == (5923 + 6742, 196)
    assert (task.facts["index"].diff() > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 60001}, r"data\.n=60001: must be <= 60000"),
        ({"n": 2, "n_test": 10001}, r"data\.n_test=10001: must be <= 10000"),
        ({"positive": [10]}, r"data\.positive=\[10\]: must list at least one of the labels 0 to 9"),
        ({"negative": []}, r"data\.negative=\[\]"),
        ({"positive": [1, 2], "negative": [2, 3]}, r"must not share \[2\]"),
    ],
)
def test_invalid_classes_and_sizes_are_rejected(options, message):
    with pytest.raises(ConfigError, match=message):
        mnist.build([0], **options)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with copies of the label files; ``read`` is replaced by its uncached version."""
    (tmp_path / "mnist").mkdir()
    for path in (images.FOLDER / "mnist").glob("*labels*"):
        shutil.copy(path, tmp_path / "mnist")
    monkeypatch.setattr(mnist, "FOLDER", tmp_path)
    monkeypatch.setattr(mnist, "read", mnist.read.__wrapped__)
    return tmp_path / "mnist"


def test_a_missing_file_is_named(folder):
    with pytest.raises(ConfigError, match=r"needs data/mnist/train-images-idx3-ubyte\.gz, which is missing"):
        mnist.build([0])


def test_a_damaged_file_is_rejected(folder):
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\0"))
    with pytest.raises(ConfigError, match=r"train-images-idx3-ubyte\.gz is damaged: sha256"):
        mnist.build([0])


def test_symmetric_pixels_lie_between_minus_one_and_one():
    pixels, symmetric = (
        mnist.build([3], n=5, n_test=5, pool=False, scale=scale).x for scale in ("pixels", "symmetric")
    )
    torch.testing.assert_close(symmetric, 2 * pixels - 1)
    assert (symmetric.min(), symmetric.max()) == (-1, 1)

import pytest
import torch

from src.data import separable
from src.errors import ConfigError


@pytest.mark.parametrize("shape", [[12], [3, 4]])
def test_planted_separator_has_its_margin(shape):
    task = separable.build([0, 1], shape=shape, n=200, n_test=50, margin=0.7)
    w = task.facts["separator"]
    assert task.x.shape == (2, 200, *shape) and task.x_test.shape == (2, 50, *shape)
    torch.testing.assert_close(w.flatten(1).norm(dim=1), torch.ones(2, dtype=torch.float64))
    for x, y in ((task.x, task.y), (task.x_test, task.y_test)):
        q = y * (x.flatten(2) @ w.flatten(1).unsqueeze(-1)).squeeze(-1)
        assert q.min() >= 0.7 - 1e-12
    assert set(task.y.flatten().tolist()) == {-1.0, 1.0}


def test_members_depend_on_their_seed_only():
    together, alone = separable.build([4, 7]), separable.build([7])
    assert torch.equal(together.x[1], alone.x[0]) and torch.equal(together.y[1], alone.y[0])
    assert not torch.equal(together.x[0], together.x[1])


def test_inputs_are_vectors_or_matrices():
    with pytest.raises(ConfigError, match=r"data\.shape=\[2,3,4\]: must be"):
        separable.build([0], shape=[2, 3, 4])

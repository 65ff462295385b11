import pytest
import torch

from src.data import teacher
from src.errors import ConfigError
from src.tensors import spectra
from src.tensors.transforms import transform


def test_classes_are_equally_large_and_the_teacher_has_a_margin():
    task = teacher.build([0, 1], n=20, n_test=50)
    assert task.x.shape == (2, 20, 6, 4) and task.x_test.shape == (2, 50, 6, 4)
    assert (task.y.sum(1) == 0).all() and (task.y_test.sum(1) == 0).all()
    torch.testing.assert_close(task.x.flatten(2).norm(dim=2), torch.ones(2, 20, dtype=torch.float64))
    assert (task.facts["teacher_margin"] > 0).all()
    wider = teacher.build([0, 1], n=20, n_test=50, dropped=0.9)
    assert (wider.facts["teacher_margin"] > task.facts["teacher_margin"]).all()


@pytest.mark.parametrize("name", ["dct", "dft", "haar"])
def test_layers_have_their_rank_and_norm(name):
    m = transform(name, 4)
    hat = teacher._layer([0, 1, 2], 0, (4, 7, 5), 2, m)
    torch.testing.assert_close(m.inverse(hat).flatten(1).norm(dim=1), torch.ones(3, dtype=torch.float64))
    assert (spectra.tubal_rank(spectra.singular_values(hat), 1e-9) == 2).all()


def test_members_depend_on_their_seed_only():
    together, alone = teacher.build([4, 7], n=10), teacher.build([7], n=10)
    assert torch.equal(together.x[1], alone.x[0]) and torch.equal(together.y[1], alone.y[0])


def test_a_rank_above_the_sides_of_a_layer_is_rejected():
    with pytest.raises(ConfigError, match=r"data\.rank=7: must be <= 6"):
        teacher.build([0], rank=7)

import torch

from src.data import rademacher


def test_entries_of_an_example_have_one_size_up_to_the_scales():
    task = rademacher.build([0, 1], d=9, n=5, n_test=7, sizes=4.0, spread=16.0)
    s, w = task.facts["scales"], task.facts["separator"]
    assert float(s.max() / s.min()) == torch.tensor(16.0) and torch.isclose(s.log().sum(), torch.zeros(()).double())
    for x, y in ((task.x, task.y), (task.x_test, task.y_test)):
        a = (x / s).abs()
        torch.testing.assert_close(a, a[..., :1].expand_as(a))
        assert a.min() >= 0.5 and a.max() <= 2
        assert (y * (x @ w.unsqueeze(-1)).squeeze(-1) > 0).all()


def test_members_depend_on_their_seed_only():
    together, alone = rademacher.build([4, 7]), rademacher.build([7])
    assert torch.equal(together.x[1], alone.x[0]) and torch.equal(together.y[1], alone.y[0])

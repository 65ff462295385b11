"""Batches depend on seed and step only, and an epoch has every example once."""

import pytest
import torch

from src.errors import ConfigError
from src.training import batches
from src.types import Task


def numbered(n, members=None):
    """Return a task whose inputs are the numbers of the examples, plus 1000 times that of the member."""
    x = torch.arange(n).double()
    x = x if members is None else torch.stack([x + 1000 * i for i in range(members)])
    return Task(x.unsqueeze(-1), x.clone(), x.unsqueeze(-1), x, {})


@pytest.mark.parametrize("members", [None, 2])
def test_an_epoch_has_every_example_once(members):
    task = numbered(23, members)
    of = batches.build(task, [5, 6], 4)
    for epoch in range(3):
        steps = [of(6 * epoch + i) for i in range(6)]
        assert [batch.y.shape for batch in steps] == [(2, 4)] * 5 + [(2, 3)]
        seen = torch.cat([batch.y for batch in steps], 1)
        assert torch.equal(seen, torch.cat([batch.x.squeeze(-1) for batch in steps], 1))
        expected = task.y.expand(2, -1)
        assert torch.equal(seen.sort(1).values, expected)
        assert not torch.equal(seen, expected) and not torch.equal(seen[0], seen[1] % 1000)


def test_epochs_and_seeds_differ_and_members_depend_on_their_seed():
    of, alone = batches.build(numbered(30), [5, 6], 30), batches.build(numbered(30), [6], 30)
    assert not torch.equal(of(0).y, of(1).y)
    assert torch.equal(of(3).y[1], alone(3).y[0])


def test_a_step_does_not_depend_on_the_steps_before():
    """So a run interrupted within an epoch resumes bit for bit."""
    through = batches.build(numbered(23), [0, 1], 4)
    walked = [through(step) for step in range(40)]
    for step in (39, 7, 17, 18, 0):
        fresh = batches.build(numbered(23), [0, 1], 4)(step)
        assert torch.equal(fresh.y, walked[step].y) and torch.equal(fresh.x, walked[step].x)


def test_without_a_size_every_step_has_all_examples():
    task = numbered(7)
    of = batches.build(task, [0, 1], None)
    assert of(0).x is task.x and of(99).y is task.y


def test_rejects_a_batch_larger_than_the_data():
    with pytest.raises(ConfigError, match="batch_size=8: must be <= 7"):
        batches.build(numbered(7), [0], 8)

import pytest
import torch

from src.attacks.ray import first_flip
from src.oracles.clusters import own_class_radius
from tests.networks import KINDS, cluster_task, network, outputs, random_network


@pytest.mark.parametrize("kind", KINDS)
def test_flips_at_the_radius_and_nowhere_before(kind):
    task, params = cluster_task(), network(kind)
    x, y = task.x_test[:, :40], task.y_test[:, :40]
    y = outputs(params, x).sign() if kind == "random" else y
    directions = torch.randn(2, 40, 3, x.shape[-1], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    directions[:, :, 0] = -y[..., None] * (task.facts["labels"][..., None] * task.facts["means"]).sum(1)[:, None]
    t = first_flip(params, x, y, directions)
    assert t.isfinite().double().mean() > 0.2
    reach = torch.where(t.isfinite(), t, 1e3)

    def margin(share):
        moved = x[:, :, None] + share * reach[..., None] * directions
        return y[..., None] * outputs(params, moved.flatten(1, 2)).unflatten(1, t.shape[1:])

    start = y * outputs(params, x)
    assert (margin(1.0)[t.isfinite()] < 0).all()
    for share in torch.linspace(0, 1 - 1e-6, 60):
        assert (margin(share) >= -1e-9 * start[..., None]).all()


def test_weak_and_strict_radius_of_feature_averaging():
    """Along −Σ_{own class} μ the output reaches 0 at √(d/k₊) and stays 0, as no neuron of the other label is on."""
    task = cluster_task(sigma=0.0)
    means, labels = task.facts["means"], task.facts["labels"]
    params = network("averaging", (("sigma", 0.0),))
    away = -torch.stack([(means * (labels == sign)[..., None]).sum(1) for sign in (1, -1)], 1)
    push = torch.where(labels[..., None] > 0, away[:, :1], away[:, 1:])[:, :, None]
    push = push / push.norm(dim=-1, keepdim=True)
    weak = first_flip(params, means, labels, push, strict=False)
    torch.testing.assert_close(weak, torch.full_like(weak, own_class_radius(1024, 2)), rtol=1e-8, atol=0)
    assert first_flip(params, means, labels, push).isinf().all()


def test_misclassified_points_are_flipped_already():
    params = random_network(1, 6, 3, seed=0)
    x = torch.randn(1, 20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wrong = -outputs(params, x).sign()
    assert (first_flip(params, x, wrong, torch.ones(1, 1, 2, 3).double()) == 0).all()

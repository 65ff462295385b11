import pytest
import torch

from src.data import teacher
from src.errors import ConfigError
from src.measurements import gradient_ranks, tensor_ranks
from src.models import tnn
from src.types import Move, Snapshot


def snapshot(params, gradient):
    members = len(params["v"])
    move = Move(params, params, gradient, torch.ones(members), torch.ones(members))
    return Snapshot(0, params, torch.zeros(members), lambda: move)


def network(**options):
    task = teacher.build([0, 1], n=10, n_test=10)
    return task, tnn.build(task, depth=2, width=5, bias=False, **options)


@pytest.mark.parametrize("transform", ["dct", "dft"])
def test_a_network_along_its_gradient_is_aligned_in_l2_and_has_its_stable_rank(transform):
    task, model = network(transform=transform)
    params = model.init([0, 1])
    view = snapshot(params, {name: -0.3 * leaf for name, leaf in params.items()})
    of_g, of_w = gradient_ranks.build(task, model)(view), tensor_ranks.build(task, model)(view)
    for layer in (1, 2):
        torch.testing.assert_close(of_g[f"kappa_l2_{layer}"], torch.ones(2).double())
        torch.testing.assert_close(of_g[f"grad_srank_{layer}"], of_w[f"srank_{layer}"])
        assert (of_w[f"srank_{layer}"] >= of_g[f"kappa_sp_{layer}"] ** 2 * of_g[f"grad_nrank_{layer}"] - 1e-9).all()
        assert (of_g[f"grad_nrank_{layer}"] <= of_g[f"grad_rank_{layer}"] + 1e-9).all()


def test_polar_factors_of_the_gradient_are_aligned_in_the_spectral_norm():
    task, model = network()
    gradient = model.init([0, 1])
    params = dict(gradient)
    for name in ("w1", "w2"):
        u, _, vh = torch.linalg.svd(gradient[name], full_matrices=False)
        params[name] = -u @ vh
    view = snapshot(params, gradient)
    of_g, of_w = gradient_ranks.build(task, model)(view), tensor_ranks.build(task, model)(view)
    for layer in (1, 2):
        torch.testing.assert_close(of_g[f"kappa_sp_{layer}"], torch.ones(2).double())
        assert (of_w[f"srank_{layer}"] >= of_g[f"grad_rank_{layer}"] - 1e-9).all()


def test_factored_layers_are_rejected():
    task, model = network(rank=2)
    with pytest.raises(ConfigError, match="whole t-layers"):
        gradient_ranks.build(task, model)

import pytest
import torch

from src.data import clusters
from src.errors import ConfigError
from src.models import two_layer_relu
from src.optimizers import margin_flow
from src.randomness import normal
from src.training.objectives import exponential
from src.types import Batch, Model, Params, Task


def random_params(members: int = 2, width: int = 6, r: int = 5) -> Params:
    shapes = {"w": (members, width, r), "b": (members, width), "v": (members, width)}
    return {name: normal(0, name, shape) for name, shape in shapes.items()}


def gradient(params: Params, x: torch.Tensor, index: int) -> Params:
    """Return ∇_θ N(x_index) of every member."""
    leaves = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
    output = two_layer_relu.forward(leaves, x)[:, index].sum()
    return dict(zip(leaves, torch.autograd.grad(output, tuple(leaves.values())), strict=True))


def test_output_is_the_formula():
    params, x = random_params(1, 3, 2), normal(1, "x", (4, 2))
    w, b, v = (params[name][0] for name in "wbv")
    by_hand = [sum(float(v[j]) * max(0.0, float(w[j] @ point + b[j])) for j in range(3)) for point in x]
    assert two_layer_relu.forward(params, x)[0].tolist() == pytest.approx(by_hand)


def test_euler_identity_and_degree():
    params, x = random_params(), normal(1, "x", (2, 7, 5))
    output = two_layer_relu.forward(params, x)
    for i in range(7):
        grad = gradient(params, x, i)
        euler = sum((params[name] * grad[name]).flatten(1).sum(1) for name in params)
        assert torch.allclose(euler, 2 * output[:, i])
    scaled = {name: 3 * leaf for name, leaf in params.items()}
    assert torch.allclose(two_layer_relu.forward(scaled, x), 9 * output)


def test_gradients_are_finite_differences():
    params, x = random_params(), normal(1, "x", (2, 3, 5))
    leaves = [leaf.requires_grad_() for leaf in params.values()]
    assert torch.autograd.gradcheck(lambda *ls: two_layer_relu.forward(dict(zip(params, ls, strict=True)), x), leaves)


def test_members_are_independent_and_inputs_may_be_shared():
    params, x = random_params(3), normal(1, "x", (3, 4, 5))
    batched, shared = two_layer_relu.forward(params, x), two_layer_relu.forward(params, x[0])
    for i in range(3):
        alone = {name: leaf[i : i + 1] for name, leaf in params.items()}
        assert torch.allclose(batched[i], two_layer_relu.forward(alone, x[i])[0], atol=1e-12)
        assert torch.allclose(shared[i], two_layer_relu.forward(alone, x[0])[0], atol=1e-12)


def test_rotation_and_label_flip_equivariance():
    params, x = random_params(), normal(1, "x", (2, 7, 5))
    output = two_layer_relu.forward(params, x)
    rotation = torch.linalg.qr(normal(2, "rotation", (5, 5))).Q
    rotated = {**params, "w": params["w"] @ rotation}
    assert torch.allclose(two_layer_relu.forward(rotated, x @ rotation), output)
    grad, grad_rotated = gradient(params, x, 3), gradient(rotated, x @ rotation, 3)
    assert torch.allclose(grad_rotated["w"], grad["w"] @ rotation)
    assert torch.allclose(two_layer_relu.forward({**params, "v": -params["v"]}, x), -output)


def test_outputs_and_gradients_in_reduced_coordinates_equal_those_in_the_full_space():
    task = clusters.build([0], k=3, d=64, n=12, n_test=4, sigma=0.5)
    basis = clusters.basis(0, 64, 15)
    params = random_params(1, 6, 15)
    lifted = {**params, "w": clusters.to_full(params["w"], basis)}
    for points in (task.x, task.x_test):
        full = clusters.to_full(points, basis)
        assert torch.allclose(two_layer_relu.forward(lifted, full), two_layer_relu.forward(params, points))
    grad = gradient(params, task.x, 2)
    grad_full = gradient(lifted, clusters.to_full(task.x, basis), 2)
    assert torch.allclose(grad_full["w"], clusters.to_full(grad["w"], basis))
    assert torch.allclose(grad_full["b"], grad["b"])


def trained(params: Params, task: Task, steps: int = 150) -> Params:
    model = Model(None, two_layer_relu.forward, 2)
    rule, objective = margin_flow.build(task, model), exponential(task, model)
    state = rule.init(params)
    for _ in range(steps):
        params, state = rule.update(params, state, *objective(params, Batch(task.x, task.y)))
    return rule.accepted_params(params, state)


def test_training_commutes_with_the_basis_and_with_flipped_labels():
    task = clusters.build([0, 1], k=3, d=64, n=12, n_test=4, sigma=0.5)
    start = two_layer_relu.build(task, width=6, init_scale=1e-2).init([0, 1])
    end = trained(start, task)
    assert (task.y * two_layer_relu.forward(end, task.x) > 0).all()

    basis = torch.stack([clusters.basis(seed, 64, 15) for seed in (0, 1)])
    lifted = {**start, "w": clusters.to_full(start["w"], basis)}
    full = trained(lifted, task._replace(x=clusters.to_full(task.x, basis)))
    assert torch.allclose(full["w"], clusters.to_full(end["w"], basis), rtol=1e-6, atol=1e-9)
    assert torch.allclose(full["v"], end["v"], rtol=1e-6, atol=1e-9)

    flipped = trained({**start, "v": -start["v"]}, task._replace(y=-task.y))
    assert torch.allclose(flipped["w"], end["w"], rtol=1e-6, atol=1e-9)
    assert torch.allclose(flipped["v"], -end["v"], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("coordinates", ["reduced", "full"])
def test_small_start_is_balanced_of_one_size_and_in_the_span(coordinates):
    task = clusters.build([0, 1], k=3, d=64, n=12, n_test=4, coordinates=coordinates)
    params = two_layer_relu.build(task, width=7, init="balanced", init_scale=1e-3).init([0, 1])
    incoming, v = two_layer_relu.neurons(params)
    assert torch.allclose(incoming.norm(dim=-1), torch.full_like(v, 1e-3))
    assert torch.allclose(v.abs(), torch.full_like(v, 1e-3))
    assert (v > 0).sum(1).tolist() == [4, 4]
    span = torch.cat([task.facts["means"], task.x], 1)
    inside = span.mT @ torch.linalg.lstsq(span.mT, params["w"].mT, driver="gelsd").solution
    assert torch.allclose(inside, params["w"].mT, atol=1e-12)
    assert not torch.allclose(params["w"][0], params["w"][1])
    again = two_layer_relu.build(task, width=7, init_scale=1e-3).init([0, 1])
    assert torch.equal(again["w"], params["w"])


def test_balancing_keeps_the_function():
    params, x = random_params(), normal(1, "x", (7, 5))
    even = two_layer_relu.balanced(params)
    incoming, v = two_layer_relu.neurons(even)
    assert torch.allclose(incoming.norm(dim=-1), v.abs())
    assert torch.allclose(two_layer_relu.forward(even, x), two_layer_relu.forward(params, x))


def test_robust_start_is_the_network_of_the_theorem():
    task = clusters.build([0, 1], k=4, d=256, n=32, n_test=20)
    model = two_layer_relu.build(task, width=6, init="robust", init_scale=1e-9)
    params = model.init([0, 1])
    theorem = two_layer_relu.robust_network(task.facts["means"], task.facts["labels"], 256)
    assert torch.allclose(model.apply(params, task.x_test), two_layer_relu.forward(theorem, task.x_test), atol=1e-12)
    assert params["v"][:, 4:].abs().max() == pytest.approx(1e-9)


@pytest.mark.parametrize(("init", "bias"), [("robust", -2), ("groups", 0)])
def test_a_start_from_groups_has_one_neuron_per_group_of_equal_label(init, bias):
    task = clusters.build([0, 1], k=7, d=256, n=28, n_test=1, negative=3)
    params = two_layer_relu.build(task, width=9, init=init, group=2, init_scale=1e-9).init([0, 1])
    means, labels = task.facts["means"], task.facts["labels"]
    assert torch.allclose(two_layer_relu.forward(params, means), 2 * labels, atol=1e-12)
    response = (params["w"] @ means.mT)[:, :4] / params["b"].abs().clamp(min=1)[:, :4, None]
    members = response > 1e-3 * response.amax()
    assert members.long()[0].tolist() == [
        [1, 1, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
    ]
    assert params["v"][0].sign()[:4].tolist() == [1, 1, -1, -1]
    assert ((params["b"][:, :4] < 0) == (bias < 0)).all()


def test_the_robust_network_needs_k_neurons():
    task = clusters.build([0], k=4, d=256, n=32, n_test=20)
    with pytest.raises(
        ConfigError, match=r"model\.width=3: must be >= 4, the groups of clusters of model\.init=robust"
    ):
        two_layer_relu.build(task, width=3, init="robust")
    with pytest.raises(ConfigError, match="data=clusters"):
        two_layer_relu.build(task._replace(facts={}), width=8, init="robust")

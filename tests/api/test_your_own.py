"""Your own module and optimizer against the built-in ones."""

import numpy as np
import pytest
import torch
from torch import nn

from src import api
from src.data.npz import from_arrays
from src.errors import ConfigError
from src.models.torch_module import from_module
from src.optimizers import norms
from tests.problems import distance


class SquaredRelu(nn.Module):
    def forward(self, z):
        return torch.relu(z) ** 2


def twin(width=7, inputs=6):
    """The squared-ReLU network of src/models/mlp.py; draws of PyTorch."""
    return nn.Sequential(nn.Linear(inputs, width, bias=False), SquaredRelu(), nn.Linear(width, 1, bias=False))


@pytest.fixture
def task():
    points = api.data.separable(seeds=[0], shape=[6], n=20, n_test=30, margin=1.0)
    return api.data.tensors(points.x[0], points.y[0], points.x_test[0], points.y_test[0], seeds=[0, 1, 2])


@pytest.mark.parametrize("make", [True, False])
def test_a_twin_of_the_mlp_has_the_same_margins_ranks_and_attacks(task, make):
    """A class, of which every member has its own weights, and an object, whose weights all members have."""
    own = api.models.module(task, twin if make else twin())
    builtin = api.models.mlp(task, width=7, power=2)
    assert own.degree == builtin.degree == 3
    params = own.init([0, 1, 2])
    assert (distance({k: w[:1] for k, w in params.items()}, {k: w[1:2] for k, w in params.items()}) > 0) is make
    same = dict(zip(("w1", "w2"), params.values(), strict=True))
    a = api.initial(task, own)
    if not make:
        assert distance(a.snapshot.params, params) == 0
    a = a._replace(snapshots=(a.snapshot._replace(params=params),))
    b = a._replace(model=builtin, snapshots=(a.snapshot._replace(params=same),))
    names = {"norms": ["l2", "linf", "msp", "hyb", "rows"]}
    attack = {"attacks": ["fgsm", "pgd10", "l2"], "box": None, "eps": 0.2}
    for measurement, options in (
        ("norm_margins", names),
        ("stable_ranks", {}),
        ("adversarial", attack),
        ("errors", {}),
    ):
        theirs, ours = (getattr(api.measurements, measurement)(result, **options) for result in (a, b))
        assert theirs.keys() == ours.keys()
        for name in theirs:
            torch.testing.assert_close(theirs[name], ours[name], rtol=1e-10, atol=1e-12, equal_nan=True)


def test_sgd_of_torch_on_the_twin_equals_gd_on_the_mlp(task):
    own, builtin, risk = api.models.module(task, twin), api.models.mlp(task, width=7), api.objectives.logistic()
    start = own.init([0, 1, 2])
    builtin = builtin._replace(init=lambda seeds: dict(zip(("w1", "w2"), start.values(), strict=True)))
    theirs = api.train(task, own, risk, api.optimizers.torch(torch.optim.SGD, lr=0.05, exponent=0), steps=30)
    ours = api.train(task, builtin, risk, api.optimizers.gd(lr=0.05), steps=30)
    trained = dict(zip(("w1", "w2"), theirs.snapshot.params.values(), strict=True))
    assert distance(trained, ours.snapshot.params) < 1e-12
    torch.testing.assert_close(theirs.snapshot.log_risk, ours.snapshot.log_risk)


def test_a_network_trained_elsewhere_is_measured_as_it_is(task):
    net = twin().double()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.softplus(-task.y * net(task.x).squeeze(-1)).mean().backward()
        optimizer.step()
    q = (task.y * net(task.x).squeeze(-1)).detach()
    size = torch.cat([w.detach().flatten() for w in net.parameters()]).norm()
    columns = api.measurements.norm_margins(api.initial(task, api.models.module(task, net)), norms=["l2"])
    torch.testing.assert_close(columns["gamma_l2"], (q.min() / size**3).expand(3))


def test_a_convolution_is_a_matrix_of_its_first_axis():
    x = torch.randn(12, 2, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    task = from_arrays({"x": x, "y": [1, -1] * 6})
    net = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(36, 1, bias=False))
    model = from_module(task, net)
    params = model.init([0, 0])
    assert model.degree == 2
    assert params["0.weight"].shape == (2, 4, 18)
    kernel = net[0].weight.detach().double().flatten(1)
    sigma = norms.singular_values(params["0.weight"])[0]
    torch.testing.assert_close(sigma, torch.linalg.svdvals(kernel))
    torch.testing.assert_close(model.apply(params, x)[1], net.double()(x).squeeze(-1).detach())
    torch.testing.assert_close(model.apply(params, torch.stack([x, 2 * x]))[1], 4**0.5 * model.apply(params, x)[0])


HOMOGENEOUS = {
    "linear with a bias": (lambda: nn.Linear(6, 1), 1),
    "a bias in the first layer": (lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1, bias=False)), 2),
    "leaky": (lambda: nn.Sequential(nn.Linear(6, 5, bias=False), nn.LeakyReLU(), nn.Linear(5, 1, bias=False)), 2),
    "squared": (twin, 3),
    "dropout, which evaluation leaves out": (lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 1)), 1),
}


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_degrees(task, name):
    make, degree = HOMOGENEOUS[name]
    model = from_module(task, make)
    assert model.degree == degree
    params = model.init([0, 1])
    doubled = model.apply({key: 2 * leaf for key, leaf in params.items()}, task.x)
    torch.testing.assert_close(doubled, 2**degree * model.apply(params, task.x))


def zero_biases():
    """Biases that are zero at the initialisation, where Euler's identity holds."""
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1))
    for layer in (net[0], net[2]):
        nn.init.zeros_(layer.bias)
    return net


NOT_HOMOGENEOUS = {
    "biases that start at zero": zero_biases,
    "tanh": lambda: nn.Sequential(nn.Linear(6, 5, bias=False), nn.Tanh(), nn.Linear(5, 1, bias=False)),
    "an activation clipped far out": lambda: nn.Sequential(
        nn.Linear(6, 5, bias=False), nn.Hardtanh(-10, 10), nn.Linear(5, 1, bias=False)
    ),
    "layer norm": lambda: nn.Sequential(nn.Linear(6, 5, bias=False), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 1)),
}


@pytest.mark.parametrize("name", NOT_HOMOGENEOUS)
def test_a_module_that_is_not_homogeneous_is_refused_with_the_reason(task, name):
    with pytest.raises(ConfigError, match=r"is not homogeneous.*⟨∇f, θ⟩ = L·f fails by") as refused:
        from_module(task, NOT_HOMOGENEOUS[name])
    assert "\n" not in str(refused.value)
    model = from_module(task, NOT_HOMOGENEOUS[name], homogeneous=False)
    assert model.degree is None
    with pytest.raises(ConfigError, match="homogeneous"):
        api.measurements.norm_margins(api.initial(task, model))


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.w * x[:, 0]


def test_a_single_number_is_a_parameter(task):
    model = from_module(task, Scale)
    assert model.init([0, 1])["w"].shape == (2, 1)
    torch.testing.assert_close(model.apply(model.init([0, 1]), task.x)[1], task.x[:, 0])


REFUSED_MODULES = {
    "inputs of another size": (lambda: nn.Linear(5, 1), "rejects inputs \\[8, 6\\]"),
    "several outputs": (lambda: nn.Linear(6, 2), "must return \\[N\\] or \\[N, 1\\] for 8 inputs, not \\[8, 2\\]"),
    "no parameters": (nn.ReLU, "has no parameters"),
    "outputs of zero": (lambda: nn.Sequential(nn.Linear(6, 1), nn.Threshold(1e9, 0.0)), "outputs .* are zero"),
    "outputs that ignore the size": (
        lambda: nn.Sequential(nn.Linear(6, 5, bias=False), nn.LayerNorm(5, eps=0, elementwise_affine=False), Sum()),
        "its degree is",
    ),
}


class Sum(nn.Module):
    def forward(self, z):
        return z[:, 0] ** 3 + z[:, 1]


@pytest.mark.parametrize("name", REFUSED_MODULES)
def test_modules_that_cannot_be_used_are_one_line(task, name):
    make, message = REFUSED_MODULES[name]
    with pytest.raises(ConfigError, match=message) as refused:
        from_module(task, make)
    assert "\n" not in str(refused.value)


X, Y = np.arange(12.0).reshape(4, 3), np.array([1, -1, 1, -1])
REFUSED_DATA = {
    "no labels": ({"x": X}, "has no array y of labels; it has x"),
    "no inputs": ({"y": Y}, "has no array x of inputs; it has y"),
    "labels 0 and 1": ({"x": X, "y": [0, 1, 0, 1]}, r"must be -1 and 1, not 0, 1; 2\*y - 1 converts"),
    "ten labels": ({"x": np.ones((10, 1)), "y": np.arange(10)}, "must be -1 and 1, not 0, 1, 2, 3, …"),
    "one class": ({"x": X, "y": [1, 1, 1, 1]}, "must have both classes"),
    "NaN": ({"x": np.where(X == 5, np.nan, X), "y": Y}, "1 of its 12 are NaN or infinite"),
    "an infinite label": ({"x": X, "y": [1, -1, 1, np.inf]}, "y must have finite numbers"),
    "sizes that differ": ({"x": X, "y": Y[:3]}, r"they have \[4, 3\] and \[3\]"),
    "labels as a column": ({"x": X, "y": Y[:, None]}, r"they have \[4, 3\] and \[4, 1\]"),
    "inputs that are numbers": ({"x": X[:, 0], "y": Y}, r"\[N, ...\] and \[N\]"),
    "test inputs without labels": ({"x": X, "y": Y, "x_test": X}, "has no array y_test of labels"),
    "test inputs of another size": ({"x": X, "y": Y, "x_test": X[:, :2], "y_test": Y}, "x_test must have inputs"),
    "complex numbers": ({"x": X * 1j, "y": Y}, "x must have real numbers"),
    "words": ({"x": np.array([["a"], ["b"]]), "y": Y[:2]}, "x must be an array of numbers"),
    "rows of several lengths": ({"x": [[1.0], [1.0, 2.0]], "y": [1, -1]}, "x must be an array of numbers"),
    "nothing": ({}, "has no array x of inputs; it has nothing"),
}


@pytest.mark.parametrize("name", REFUSED_DATA)
def test_data_that_cannot_be_used_are_one_line(name):
    arrays, message = REFUSED_DATA[name]
    with pytest.raises(ConfigError, match=message):
        from_arrays(arrays)


FILES = {
    "an .npy file": lambda path: np.save(path.open("wb"), X),
    "a text": lambda path: path.write_text("x,y\n1,1\n"),
    "an empty file": lambda path: path.write_bytes(b""),
    "half an archive": lambda path: path.write_bytes(b"PK\x03\x04 and no more"),
    "objects": lambda path: np.savez(path, x=np.array([{}], dtype=object), y=Y),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_data_set_are_one_line(name, tmp_path):
    path = tmp_path / "mine.npz"
    FILES[name](path)
    with pytest.raises(ConfigError, match=r"data\.path=.*must be a file of numpy.savez") as refused:
        api.data.npz(path=str(path))
    assert "\n" not in str(refused.value)


def test_a_file_is_read_with_its_digest(tmp_path):
    np.savez(tmp_path / "mine.npz", x=X, y=Y, x_test=X[:1], y_test=Y[:1])
    task = api.data.npz(seeds=[4, 5], path=str(tmp_path / "mine.npz"))
    assert task.x.shape == (4, 3)
    assert task.x_test.shape == (1, 3)
    assert list(task.facts["sha256"]) == ["mine.npz"]

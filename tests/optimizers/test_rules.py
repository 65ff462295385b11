"""The rules equal those of torch where definitions agree, each other in special cases, and are equivariant."""

import warnings

import pytest
import torch

from src.optimizers import (
    adam,
    adamw,
    gd,
    lion,
    muon,
    muon_adam,
    muon_newton_schulz,
    muon_signum,
    ngd,
    nmd,
    norms,
    scion,
    signgd,
    signum,
    steepest,
    torch_optimizer,
)
from src.types import Batch, ScaledGrad
from tests.problems import distance, inner, network_problem, random_params, train

RULES = {
    "ngd": (ngd, {"lr": 0.2}),
    "nmd": (nmd, {"lr": 0.2}),
    "signgd": (signgd, {}),
    "signum": (signum, {}),
    "adam": (adam, {}),
    "adamw": (adamw, {}),
    "lion": (lion, {"lr": 0.02}),
    "spectral": (muon, {"momentum": 0.0, "lr": 0.1}),
    "muon": (muon, {"lr": 0.1}),
    "muon, nesterov": (muon, {"lr": 0.1, "nesterov": True, "scaling": "match_rms"}),
    "muon by newton_schulz": (muon_newton_schulz, {"lr": 0.1, "precision": "float64"}),
    "muon_signum": (muon_signum, {"lr": 0.1, "ratio": 0.5}),
    "muon_adam": (muon_adam, {"lr": 0.1, "ratio": 0.5}),
    "scion": (scion, {"lr": 0.1, "hidden": "rows", "last": "l2"}),
    "schatten": (steepest, {"lr": 0.1, "p": 3.0}),
    "lp": (steepest, {"lr": 0.1, "norm": "lp", "p": 3.0}),
    "rows": (steepest, {"lr": 0.1, "norm": "rows"}),
}


def built(name, task, model, **options):
    module, defaults = RULES[name]
    return module.build(task, model, **{**defaults, **options})


@pytest.mark.parametrize("name", RULES)
def test_scale_of_the_gradients_does_not_matter(name):
    """Gradients times 1e-200, by their entries or by their log-scale, change nothing."""
    task, model, risk = network_problem()
    rule, params = built(name, task, model), model.init([0, 1])
    plain, _ = train(rule, risk, task, params, 20)
    for change in ({"factor": 1e-200}, {"factor": 1e200}, {"log_shift": -3000.0}, {"log_shift": 300.0}):
        changed, _ = train(rule, risk, task, params, 20, **change)
        assert distance(plain, changed) < 1e-9


@pytest.mark.parametrize("name", RULES)
def test_permuting_neurons_and_pixels_commutes_with_training(name):
    task, model, risk = network_problem()
    params = model.init([0, 1])
    pixels, neurons = torch.tensor([3, 1, 0, 5, 4, 2]), torch.tensor([4, 2, 0, 1, 3])

    def permuted(p):
        return {"w1": p["w1"][:, neurons][:, :, pixels], "w2": p["w2"][:, :, neurons]}

    rule = built(name, task, model)
    after, _ = train(rule, risk, task, params, 40)
    shuffled, _ = train(rule, risk, task._replace(x=task.x[..., pixels]), permuted(params), 40)
    assert distance(permuted(after), shuffled) < 1e-9


DEGENERATE = {
    "zero gradient": lambda g: 0 * g,
    "constant pixel": lambda g: g * (torch.arange(g.shape[-1]) > 0),
    "rank one": lambda g: torch.ones_like(g),
    "duplicate rows": lambda g: g[:, torch.zeros(g.shape[1], dtype=torch.int64)],
    "not finite": lambda g: g / torch.tensor([0.0, 1.0, 1.0]).reshape(-1, 1, 1),
}


@pytest.mark.parametrize("gradient", DEGENERATE)
@pytest.mark.parametrize("name", RULES)
def test_degenerate_gradients_give_finite_steps(name, gradient):
    task, model, _ = network_problem()
    params = random_params({"w1": (4, 5), "w2": (1, 4)})
    rule = built(name, task, model)
    state = rule.init(params)
    for seed in range(3):
        direction = {
            k: DEGENERATE[gradient](g) for k, g in random_params({"w1": (4, 5), "w2": (1, 4)}, 3, seed).items()
        }
        log_scale = torch.full((3,), -10.0 * seed, dtype=torch.float64)
        params, state = rule.update(params, state, log_scale, ScaledGrad(direction, log_scale))
    assert all(leaf.isfinite().all() for leaf in params.values())


def test_coordinates_with_zero_gradient_do_not_change():
    task, model, _ = network_problem()
    params = random_params({"w1": (4, 5), "w2": (1, 4)})
    for name in ("adam", "signum", "nmd", "muon"):
        rule, moved = built(name, task, model), params
        state = rule.init(params)
        for seed in range(3):
            grads = {
                k: DEGENERATE["constant pixel"](g)
                for k, g in random_params({"w1": (4, 5), "w2": (1, 4)}, 3, seed).items()
            }
            moved, state = rule.update(moved, state, torch.zeros(3), ScaledGrad(grads, torch.zeros(3).double()))
        torch.testing.assert_close(moved["w1"][..., 0], params["w1"][..., 0], rtol=0, atol=1e-13)


@pytest.mark.parametrize("ratio", [0.1, 1.0, 3.0])
def test_muon_signum_is_steepest_in_the_hybrid_norm(ratio):
    """One step u: ⟨u, g⟩ = −‖u‖ ‖g‖_* with ‖u‖ = r η0 in max{r·msp(W), ‖u‖_∞}."""
    task, model, _ = network_problem()
    params, grads = random_params({"w1": (5, 7), "w2": (1, 5)}, seed=1), random_params({"w1": (5, 7), "w2": (1, 5)})
    norm = norms.hybrid(ratio)
    for rule in (
        muon_signum.build(task, model, lr=0.25, ratio=ratio),
        muon_adam.build(task, model, lr=0.25, ratio=ratio),
        scion.build(task, model, lr=0.25, last_radius=ratio),
    ):
        zero = torch.zeros(3, dtype=torch.float64)
        moved, _ = rule.update(params, rule.init(params), zero, ScaledGrad(grads, zero))
        step = {key: moved[key] - params[key] for key in params}
        torch.testing.assert_close(
            norm.value(step), torch.full((3,), 0.25 * ratio, dtype=torch.float64), rtol=1e-12, atol=0
        )
        torch.testing.assert_close(inner(step, grads), -0.25 * ratio * norm.dual(grads), rtol=1e-12, atol=0)


def test_rates_that_follow_a_ratio_or_a_norm():
    """r^(−1/L) for Muon and Adam with the ratio r, here on a network of degree L = 3; n^(1/p) in a Schatten-p norm."""
    task, model, _ = network_problem()
    params, grads = random_params({"w1": (5, 7), "w2": (1, 5)}, seed=1), random_params({"w1": (5, 7), "w2": (1, 5)})
    assert model.degree == 3
    zero = torch.zeros(3, dtype=torch.float64)
    for rule, options, plain in (
        (muon_adam, {"lr": 0.3, "ratio": 8.0, "equal_growth": True}, {"lr": 0.15, "ratio": 8.0}),
        (steepest, {"lr": [0.1, 0.2, 0.3], "p": 2.0, "rank": 16}, {"lr": [0.4, 0.8, 1.2], "p": 2.0}),
    ):
        rules = [rule.build(task, model, **given) for given in (options, plain)]
        moved, expected = (one.update(params, one.init(params), zero, ScaledGrad(grads, zero))[0] for one in rules)
        torch.testing.assert_close(moved, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((adam, {"beta1": 0.0, "beta2": 0.0}), (signgd, {})),
        ((adam, {"bias_correction": False, "beta1": 0.0, "beta2": 0.0}), (signgd, {})),
        ((lion, {"beta1": 0.0}), (signgd, {})),
        ((adamw, {"weight_decay": 0.0}), (adam, {})),
        ((nmd, {"momentum": 0.0}), (ngd, {"lr": 2.0})),
        ((signum, {"momentum": 0.0}), (signgd, {})),
        ((steepest, {"norm": "l2", "lr": 2.0}), (nmd, {})),
        ((steepest, {"norm": "schatten", "p": 2.0, "lr": 2.0}), (nmd, {})),
        ((steepest, {"norm": "linf", "lr": 0.07}), (signum, {})),
        ((steepest, {"norm": "msp", "lr": 0.6}), (muon, {})),
        ((scion, {"last": "spectral", "lr": 0.6}), (muon, {})),
        ((muon, {"polar_factor": "gram"}), (muon, {})),
        ((muon_newton_schulz, {"coefficients": "convergent", "steps": 60, "precision": "float64"}), (muon, {})),
        ((scion, {}), (muon_signum, {})),
    ],
    ids=str,
)
def test_special_cases_are_equal(one, other):
    task, model, risk = network_problem()
    params = model.init([0, 1])
    ends = [train(module.build(task, model, **options), risk, task, params, 10)[0] for module, options in (one, other)]
    assert distance(*ends) < 1e-6


def test_muon_on_a_row_is_normalised_gradient_descent():
    task, model, risk = network_problem(depth=1, width=1)
    params = model.init([0, 1])
    ends = [train(module.build(task, model, lr=0.3), risk, task, params, 20)[0] for module in (muon, nmd)]
    assert distance(*ends) < 1e-12


def torch_run(make, task, risk, params, rates, member=0):
    """Run a torch optimizer on one member with the true gradient; its learning rate is set before every step."""
    leaves = [torch.nn.Parameter(leaf[member].clone()) for leaf in params.values()]
    optimizer = make(leaves)
    for rate in rates:
        batched = {key: leaf.detach().unsqueeze(0) for key, leaf in zip(params, leaves, strict=True)}
        log_risk, grad = risk(batched, Batch(task.x[[member]], task.y[[member]]))
        for leaf, g in zip(leaves, grad.direction.values(), strict=True):
            leaf.grad = grad.log_scale.exp() * g[0]
        for group in optimizer.param_groups:
            group["lr"] = float(rate)
        optimizer.step()
    return {key: leaf.detach().unsqueeze(0) for key, leaf in zip(params, leaves, strict=True)}, log_risk


RATES = 0.05 * (torch.arange(60, dtype=torch.float64) + 1) ** -0.8


@pytest.mark.parametrize(
    ("rule", "make"),
    [
        ((adam, {"epsilon": 0.0}), lambda leaves: torch.optim.Adam(leaves, betas=(0.9, 0.999), eps=1e-20)),
        ((adam, {"epsilon": 1e-3}), lambda leaves: torch.optim.Adam(leaves, betas=(0.9, 0.999), eps=1e-3)),
        (
            (adamw, {"epsilon": 1e-8, "weight_decay": 0.1}),
            lambda leaves: torch.optim.AdamW(leaves, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1),
        ),
    ],
    ids=["adam", "adam with epsilon", "adamw"],
)
def test_adam_equals_torch(rule, make):
    task, model, risk = network_problem()
    params = model.init([0, 1])
    module, options = rule
    ours, _ = train(module.build(task, model, lr=0.05, **options), risk, task, params, len(RATES))
    theirs, log_risk = torch_run(make, task, risk, params, RATES)
    assert log_risk > -18, "above a loss of 1e-8, where epsilon=1e-20 does not bite yet"
    assert distance(theirs, {key: leaf[:1] for key, leaf in ours.items()}) < 1e-10


def test_nmd_is_the_normalised_buffer_of_torch_sgd():
    """The buffer B ← β B + g of torch is our average over 1 − β, with the same direction."""
    task, model, risk = network_problem()
    params = model.init([0])
    rule = nmd.build(task, model, lr=0.3)
    state = rule.init(params)
    leaves = [torch.nn.Parameter(leaf[0].clone()) for leaf in params.values()]
    sgd = torch.optim.SGD(leaves, lr=0.0, momentum=0.9, dampening=0.0)
    for t in range(20):
        log_risk, grad = risk(params, Batch(task.x[:1], task.y[:1]))
        for leaf, g in zip(leaves, grad.direction.values(), strict=True):
            leaf.grad = grad.log_scale.exp() * g[0]
        sgd.step()
        buffer = {key: sgd.state[leaf]["momentum_buffer"] for key, leaf in zip(params, leaves, strict=True)}
        size = sum(b.square().sum() for b in buffer.values()).sqrt()
        eta = 0.3 * (t + 1) ** -0.8
        expected = {key: params[key] - eta * buffer[key] / size for key in params}
        params, state = rule.update(params, state, log_risk, grad)
        assert distance(expected, params) < 1e-12


@pytest.mark.parametrize("nesterov", [False, True])
def test_muon_by_newton_schulz_equals_torch_muon(nesterov):
    """For wide matrices torch scales by 1; both iterate in bfloat16, hence the tolerance."""
    task, model, _ = network_problem()
    params = random_params({"w1": (20, 50), "w2": (10, 20)}, members=1, seed=1)
    rule = muon_newton_schulz.build(task, model, lr=1.0, momentum=0.95, nesterov=nesterov, exponent=0.8)
    state, ours = rule.init(params), params
    leaves = [torch.nn.Parameter(leaf[0].clone()) for leaf in params.values()]
    theirs = torch.optim.Muon(leaves, lr=1.0, momentum=0.95, nesterov=nesterov, weight_decay=0.0)
    for t in range(5):
        grads = random_params({"w1": (20, 50), "w2": (10, 20)}, members=1, seed=10 + t)
        ours, state = rule.update(ours, state, torch.zeros(1), ScaledGrad(grads, torch.zeros(1, dtype=torch.float64)))
        for leaf, g in zip(leaves, grads.values(), strict=True):
            leaf.grad = g[0].clone()
        theirs.param_groups[0]["lr"] = (t + 1) ** -0.8
        theirs.step()
    for key, leaf in zip(params, leaves, strict=True):
        assert (ours[key][0] - leaf).abs().max() < 0.05
        assert (ours[key][0] - params[key][0]).abs().max() > 0.5


def test_muon_scalings_are_those_of_torch():
    task, model, _ = network_problem()
    shapes = {"w1": (50, 20), "w2": (20, 50)}
    params, grads = random_params(shapes, members=1, seed=1), random_params(shapes, members=1)
    for scaling, theirs in (("original", "original"), ("match_rms", "match_rms_adamw")):
        rule = muon_newton_schulz.build(task, model, lr=1.0, momentum=0.0, scaling=scaling)
        zero = torch.zeros(1, dtype=torch.float64)
        ours, _ = rule.update(params, rule.init(params), zero, ScaledGrad(grads, zero))
        leaves = [torch.nn.Parameter(leaf[0].clone()) for leaf in params.values()]
        optimizer = torch.optim.Muon(leaves, 1.0, momentum=0.0, nesterov=False, weight_decay=0.0, adjust_lr_fn=theirs)
        for leaf, g in zip(leaves, grads.values(), strict=True):
            leaf.grad = g[0].clone()
        optimizer.step()
        for key, leaf in zip(params, leaves, strict=True):
            assert (ours[key][0] - leaf).abs().max() < 0.1 * (ours[key][0] - params[key][0]).abs().max()


def test_adam_is_exact_far_below_underflow():
    task, model, risk = network_problem()
    _, log_risk = train(adam.build(task, model, lr=10.0), risk, task, model.init([0, 1]), 100)
    assert (log_risk < -10_000).all() and log_risk.isfinite().all()


@pytest.mark.parametrize("log_gradient", [-2.0, -18.0, -28.0, -3000.0])
def test_epsilon_is_in_units_of_the_true_gradient(log_gradient):
    """A first step is η g/(|g| + ε): ε = 1e-8 does not matter at |g| = e^{−2}, halves the step near e^{−18}, …"""
    task, model, _ = network_problem()
    params = {"w": torch.zeros(1, 1, 2, dtype=torch.float64)}
    grad = ScaledGrad({"w": torch.tensor([[[1.0, -1.0]]], dtype=torch.float64)}, torch.tensor([log_gradient]).double())
    for epsilon in (0.0, 1e-8):
        rule = adam.build(task, model, lr=0.5, epsilon=epsilon)
        moved, _ = rule.update(params, rule.init(params), grad.log_scale, grad)
        size = torch.tensor(log_gradient).double().exp()
        expected = 0.5 if epsilon == 0 else float(0.5 * size / (size + epsilon))
        assert moved["w"][0, 0].tolist() == pytest.approx([-expected, expected], rel=1e-12)


def test_gradient_descent_equals_torch_sgd():
    task, model, risk = network_problem()
    params = model.init([0, 1])
    ours, _ = train(gd.build(task, model, lr=0.1), risk, task, params, 20)
    theirs, _ = torch_run(lambda leaves: torch.optim.SGD(leaves, lr=0.1), task, risk, params, [0.1] * 20)
    assert distance(theirs, {key: leaf[:1] for key, leaf in ours.items()}) < 1e-13
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        named = torch_optimizer.build(task, model, path="torch.optim.SGD", lr=0.1, exponent=0.0)
    assert distance(train(named, risk, task, params, 20)[0], ours) < 1e-13

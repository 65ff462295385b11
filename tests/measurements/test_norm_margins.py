import pytest
import torch

from src.errors import ConfigError
from src.measurements import norm_margins
from src.optimizers.norms import norm_from_name
from src.oracles.max_margin import max_margin
from src.types import Model, Snapshot
from tests.problems import linear_problem, network_problem


def measured(task, model, params, **options):
    return norm_margins.build(task, model, **options)(Snapshot(0, params, torch.zeros(2)))


@pytest.fixture
def network():
    task, model, _ = network_problem()
    return task, model, model.init([0, 1])


def test_margins_and_alignments_by_their_definition(network):
    task, model, params = network
    columns = measured(task, model, params)
    for i in range(2):
        w1, w2 = (leaf[i] for leaf in params.values())
        q = task.y[i] * model.apply({k: leaf[[i]] for k, leaf in params.items()}, task.x[[i]])[0]
        weights = torch.sigmoid(-q) / torch.sigmoid(-q).sum()
        h = (task.x[i] @ w1.T).relu()
        # f = Σ_j w2_j h_j², ∂f/∂w2_j = h_j², ∂f/∂w1_j = 2 w2_j h_j x
        g2 = (weights * task.y[i]) @ h.square()
        g1 = (2 * w2.T * ((weights * task.y[i]) * h.T)) @ task.x[i]
        inner = (g1 * w1).sum() + (g2 * w2).sum()
        sizes = {
            "l2": ((w1.square().sum() + w2.square().sum()).sqrt(), (g1.square().sum() + g2.square().sum()).sqrt()),
            "linf": (max(w1.abs().max(), w2.abs().max()), g1.abs().sum() + g2.abs().sum()),
            "msp": (
                max(torch.linalg.matrix_norm(w1, 2), w2.norm()),
                torch.linalg.matrix_norm(g1, "nuc") + g2.norm(),
            ),
            "hyb": (
                max(torch.linalg.matrix_norm(w1, 2), w2.abs().max()),
                torch.linalg.matrix_norm(g1, "nuc") + g2.abs().sum(),
            ),
        }
        for name, (size, dual) in sizes.items():
            torch.testing.assert_close(columns[f"gamma_{name}"][i], q.min() / size**3)
            torch.testing.assert_close(columns[f"kappa_{name}"][i], inner / (dual * size))


def test_scale_of_the_network_does_not_matter(network):
    task, model, params = network
    one = measured(task, model, params, norms=["l2", "linf", "msp", "hyb", "rows"])
    other = measured(task, model, {k: 1e-3 * leaf for k, leaf in params.items()})
    for name in ("l2", "linf", "msp", "hyb"):
        torch.testing.assert_close(one[f"gamma_{name}"], other[f"gamma_{name}"], rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("norm", "others"), [("l2", ["linf", "msp"]), ("linf", ["l2", "msp"]), ("msp", ["l2", "linf"])]
)
def test_alignment_is_one_at_the_optimum_of_the_same_norm_only(norm, others):
    """κ = 1 for the exact separator with the gradient that has the exact multipliers: the KKT conditions."""
    task, model, _ = linear_problem(members=1)
    optimum = max_margin(task.x[0].numpy(), task.y[0].numpy(), norm)
    params = {"w": torch.tensor(optimum.separator[0]).unsqueeze(0)}
    weights = torch.tensor(optimum.multipliers).clamp(min=0) / optimum.multipliers.sum()
    gradient = torch.einsum("n,nab->ab", weights * task.y[0], task.x[0])
    for name in (norm, *others):
        size, dual = norm_from_name(name).value(params), norm_from_name(name).dual({"w": gradient.unsqueeze(0)})
        kappa = float((gradient * params["w"][0]).sum() / (size * dual))
        assert kappa == pytest.approx(1, abs=1e-6) if name == norm else kappa < 0.97
    columns = measured(task, model, params, norms=["l2", "linf", "msp"])
    assert float(columns[f"gamma_{norm}"]) == pytest.approx(optimum.margin, rel=1e-6)


def test_alignment_never_exceeds_one():
    task, model, _ = network_problem(members=50)
    options = {"ratios": [0.1, 1.0, 10.0], "schatten": [1.0, 2.0, 4.0], "lp": [1.0, 1.5, 8.0]}
    columns = measured(task, model, model.init(range(50)), norms=["l2", "linf", "msp", "hyb", "rows"], **options)
    for name, column in columns.items():
        if name.startswith("kappa"):
            assert (column.abs() <= 1 + 1e-12).all(), name


def test_curves_equal_the_named_norms_at_their_exponents(network):
    task, model, params = network
    columns = measured(task, model, params, ratio=0.5, ratios=[0.1, 0.5], schatten=[2.0, 1e6], lp=[2.0, 1e6, 3.0])
    assert columns["hyb_ratio"].tolist() == [[0.1, 0.5]] * 2
    assert columns["lp_p"].shape == columns["gamma_lp_curve"].shape == columns["kappa_lp_curve"].shape == (2, 3)
    for kind in ("gamma", "kappa"):
        torch.testing.assert_close(columns[f"{kind}_hyb_curve"][:, 1], columns[f"{kind}_hyb"])
        torch.testing.assert_close(columns[f"{kind}_schatten_curve"][:, 0], columns[f"{kind}_l2"])
        torch.testing.assert_close(columns[f"{kind}_schatten_curve"][:, 1], columns[f"{kind}_msp"], rtol=1e-3, atol=0)
        torch.testing.assert_close(columns[f"{kind}_lp_curve"][:, 1], columns[f"{kind}_linf"], rtol=1e-3, atol=0)
    assert not [name for name in measured(task, model, params) if name.endswith("curve")]


def test_weight_of_the_least_margins():
    """f = w x on x = 1, 1.02, 3 with w = 10: λ ∝ σ(−q), and the first two examples have the least margin to 5 %."""
    task, model, _ = linear_problem(members=1)
    x = torch.tensor([[[1.0], [1.02], [3.0]]], dtype=torch.float64)
    task = task._replace(x=x, y=torch.ones(1, 3, dtype=torch.float64))
    model = Model(model.init, lambda params, x: (params["w"].flatten(1).unsqueeze(-2) @ x.mT).squeeze(-2), 1.0)
    params = {"w": torch.tensor([[[1.0]]], dtype=torch.float64)}
    weights = torch.sigmoid(-x.flatten())
    columns = norm_margins.build(task, model)(Snapshot(0, params, torch.zeros(1)))
    torch.testing.assert_close(columns["margin_weight"][0], weights[:2].sum() / weights.sum())
    negative = {"w": -params["w"]}
    assert norm_margins.build(task, model)(Snapshot(0, negative, torch.zeros(1)))["margin_weight"].isnan().all()


@pytest.mark.parametrize("rounding", [-1e-15, 0.0, 1e-15])
def test_least_margins_and_peaks_are_robust_to_rounding(rounding):
    q = torch.tensor([[1.0, 1.0 + rounding, 2.0]], dtype=torch.float64)
    weights = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    torch.testing.assert_close(norm_margins._margin_weight(q, weights, 0.0), torch.tensor([0.8]).double())
    assert norm_margins._first_peak(torch.tensor([[0.5, 0.9, 0.9 + rounding, 0.1]], dtype=torch.float64)) == 1


def test_a_network_that_is_not_homogeneous_has_no_margin():
    task, model, _ = network_problem()
    with pytest.raises(ConfigError, match="homogeneous"):
        norm_margins.build(task, model._replace(degree=None))

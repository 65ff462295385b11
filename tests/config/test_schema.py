"""Every YAML passes its schema; every kind of wrong value is refused in one line."""

import itertools
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from src.claims import schema as claims
from src.config import schema, sweep
from src.config.components import CONF, GROUPS, component
from src.config.schema import Component
from src.config.validation import parameters
from src.errors import ConfigError
from src.results import wandb_mirror
from tests.end_to_end import test_experiments

COMPONENTS = [(group, path) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
EXPERIMENTS = [path.stem for path in sorted((CONF / "experiment").glob("*.yaml"))]
RUN_IN_SMOKE = {name for _, name in test_experiments.EXPERIMENTS}


@pytest.mark.parametrize(("group", "path"), COMPONENTS, ids=lambda value: getattr(value, "stem", value))
def test_component_yaml_spells_out_its_schema(group, path):
    """All keys are written out, so that overrides need no plus and the identity includes them."""
    node = schema.option(group, path.stem).model_dump()
    assert node["name"] == path.stem
    schema.arguments(group, Component(**node))
    assert set(parameters(component(group, node["name"]))) == set(node) - {"name"}


@pytest.mark.parametrize(("experiment", "profile"), [
    *itertools.product(EXPERIMENTS, ["default", "paper"]),
    # of the others, tests/end_to_end/test_experiments.py composes and runs it
    *((name, "smoke") for name in EXPERIMENTS if name not in RUN_IN_SMOKE),
])  # fmt: skip
def test_every_experiment_composes_in_every_profile(experiment, profile):
    words = [f"+experiment={experiment}", f"profile={profile}"]
    if experiment == "your_margin":
        words += ["data.path=pyproject.toml", "model.path=torch.nn.Linear"]
    # The default grid has every value that an experiment sweeps; sizes of the papers are never run here.
    cells = [sweep.first(words)[0]] if profile == "paper" else sweep.expand(words)
    assert {cell.name for cell in cells} == {experiment}
    assert all(cell.paper in ((None,) if experiment == "your_margin" else claims.papers()) for cell in cells)
    assert len({cell.folder for cell in cells}) == len(cells), "two cells share one identity"
    for cell in cells:
        for group in GROUPS:
            schema.arguments(group, getattr(cell, group))


def test_identity_ignores_paths_and_notation_but_no_number():
    base, *_ = sweep.expand(["+experiment=cluster_width", "profile=smoke", "data.d=1000"])
    same, *_ = sweep.expand(
        ["+experiment=cluster_width", "profile=smoke", "outputs=there", "force=true", "data.sigma=1e-1", "data.d=1e3"]
    )
    other, *_ = sweep.expand(["+experiment=cluster_width", "profile=smoke", "data.d=1000", "data.sigma=0.11"])
    assert base.folder.name == same.folder.name
    assert base.folder.name != other.folder.name


def test_where_data_lie_is_no_part_of_what_a_cell_is():
    here, there = (
        sweep.expand(["+experiment=muon_margin", "profile=smoke", "optimizer=adam", "data=fashion_mnist", *words])[0]
        for words in ([], ["data.folder=/elsewhere"])
    )
    assert here.folder == there.folder
    assert wandb_mirror.described(here) == wandb_mirror.described(there)


def test_a_key_on_the_command_line_replaces_the_swept_one():
    cells = sweep.expand(["+experiment=cluster_width", "model.width=6,7,9"])
    assert [cell.model.width for cell in cells] == [6, 7, 9]


def test_a_profile_sets_keys_and_the_command_line_wins():
    words = ["+experiment=cluster_width", "profile=smoke"]
    assert [cell.model.width for cell in sweep.expand(words)] == [4, 32]
    for more, sizes in (
        ([], (1024, 64)),
        (["data.d=256"], (256, 64)),
        (["profiles.smoke.data.d=256"], (256, 64)),
        (["data={n:8}"], (1024, 8)),
    ):
        cell, *_ = sweep.expand([*words, *more])
        assert (cell.data.d, cell.data.n) == sizes


def test_an_arm_wins_over_the_profile():
    (cell,) = sweep.expand(["+experiment=choice_margin", "profile=smoke", "variant/choice_margin=float32"])
    assert cell.dtype == "float32"


def test_every_folder_of_variants_is_named_after_an_experiment():
    assert {path.name for path in (CONF / "variant").iterdir()} <= set(EXPERIMENTS)


GAP = ["+experiment=tnn_generalization_gap", "profile=smoke", "model.rank=2", "data.n=130"]
RANK = ["+experiment=tnn_implicit_rank", "profile=smoke", "variant/tnn_implicit_rank=half_lr"]


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        ([*GAP, "epochs=2"], 2 * 3),
        ([*GAP, "epochs=2", "batch_size=null"], 2),
        ([*GAP, "epochs=2", "steps=5"], 5),
        ([*RANK, "time=0.5"], 50),
        ([*RANK, "time=0.5", "optimizer.lr=0.02"], 25),
        ([*RANK, "steps=7"], 7),
    ],
)
def test_steps_make_up_the_epochs_or_the_time(words, steps):
    (cell,) = sweep.expand(words)
    assert cell.steps == steps


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([*GAP, "time=3"], "time=3: must be null if epochs is set: one of them sets the steps"),
        ([*GAP, "batch_size=many"], "batch_size=many: must be a number > 0 to compute steps from epochs"),
        ([*GAP, "epochs=0"], "epochs=0: must be a number > 0"),
        (
            [*RANK, "seeds=[1,2]", "optimizer.lr=[0.1,0.2]"],
            "optimizer.lr=[0.1,0.2]: must be a number > 0",
        ),
        ([*RANK, "time=1e300", "optimizer.lr=1e-300"], "time=1e+300: too many steps"),
    ],
)
def test_steps_that_cannot_be_counted_are_one_line(words, told):
    with pytest.raises(ConfigError) as refused:
        sweep.expand(words)
    assert str(refused.value).startswith(told)


def test_whole_floats_are_integers():
    cell, *_ = sweep.expand(["data.d=1e6"])
    assert schema.arguments("data", cell.data)["d"] == 10**6


def test_unresolved_interpolation_is_one_line():
    with pytest.raises(ConfigError):
        schema.resolved(OmegaConf.create({"name": "${nowhere.at_all}"}))


def test_no_absolute_path_or_registry_in_configs():
    for path in CONF.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert str(Path.home()) not in text
        assert "http" not in text

"""Mistakes on the command line end in one line, with exit code 2 and without any file written."""

import shutil

import pytest
from omegaconf import OmegaConf

from scripts import reproduce
from src import cli
from src import run as entry
from src.claims import deviations
from src.claims import schema as claim_schema
from src.config import components, experiments, sweep
from src.config.components import CONF
from src.errors import ConfigError
from src.results import store, wandb_run

SMALL = ["+experiment=cluster_width", "profile=smoke", "model.width=6", "tracking.mode=disabled", "report=false"]

WRONG = {
    "misspelt key": ("data.sgima=3", "did you mean 'sigma'"),
    "misspelt key with a plus": ("+data.sgima=3", "did you mean 'sigma'"),
    "unknown key with a plus": ("+data.colour=red", "unknown key; known: k, d, n"),
    "a key by its former name": ("snapshots=3", "(now 'log_points')"),
    "a former name in a mapping": ("stop.every=3", "(now 'check_every')"),
    "a former option": ("+protocol=clean", "(now 'theory')"),
    "misspelt top-level key": ("+seed=3", "did you mean 'seeds'"),
    "option of a measurement": ("+measurements.universal.points_=3", "unknown key (did you mean 'points'?)"),
    "unknown measurement": ("+measurements.kt={}", "did you mean 'kkt'"),
    "moment of a measurement": ("measurements.kkt.when=sometimes", "must be one of every, last"),
    "wrong type": ("data.k=many", "must be an integer >= 1"),
    "fraction for an integer": ("model.width=1.5", "must be an integer >= 1"),
    "a truth for an integer": ("data.k=true", "must be an integer >= 1"),
    "a number for a truth": ("data.stratified=1", "must be true or false"),
    "negative dimension": ("data.d=-3", "must be an integer >= 1"),
    "negative noise": ("data.sigma=-0.1", "must be a number >= 0"),
    "noise that is no number": ("data.sigma=nan", "must be a number >= 0"),
    "misspelt choice": ("data.means=orthogonl", "did you mean 'orthogonal'"),
    "too few dimensions": ("data.d=4", "must be <= data.d = 4"),
    "labels of one class": ("data.negative=0", "each label"),
    "fewer points than clusters": ("data.n=4", "data.stratified"),
    "rho with orthogonal means": ("data.rho=0.3", "equicorrelated"),
    "unknown option": ("optimizer=margin_flwo", "did you mean 'margin_flow'"),
    "unknown experiment": ("+experiment=cluster_widht", "did you mean 'cluster_width'"),
    "experiment without a plus": ("experiment=cluster_width", "needs a plus"),
    "unknown profile": ("profile=big", "must be one of smoke, default, paper"),
    "a snapshot beyond the end": ("log_points=[0.5,2]", "a list, each a number >= 0 and <= 1"),
    "no seeds": ("seeds=[]", "at least one seed"),
    "seeds that are words": ("seeds=[one]", "must be an integer"),
    "precision": ("dtype=float16", "must be one of float64, float32"),
    "device": ("device=tpu", "must be one of auto, cpu, cuda"),
    "unclosed bracket": ("seeds=[1,2", "quote"),
    "deleted key that is not there": ("~measurements.nope", "unknown key"),
    "a file where the outputs should be": ("outputs=pyproject.toml", "cannot be written"),
    "outputs without a name": ("outputs=''", "must be a folder"),
    "a group without an option": ("data=null", "must be a string"),
    "options that are no mapping": ("measurements.kkt=5", "must be a mapping"),
    "a component without a name": ("~data.name", "choose with data=OPTION"),
    "a missing group": ("~data", "missing"),
    "a name that leaves the outputs": ("name=../elsewhere", "must be a name"),
    "a name that no folder can have": (f"name={'a' * 300}", "must be at most 200 bytes long"),
    "a label that is a path": ("label=a/b", "must be a name"),
    "a seed that stands twice": ("seeds=[3,3]", "replicates would be identical"),
    "a seed beyond all": ("seeds=[99999999999999999999999]", "must be an integer >= 0"),
    "two experiments": ("+experiment=cluster_width,cluster_noise", "one at a time"),
    "a size as it was named before": ("profiles.smoke.d=256", "known: seeds, steps, data, sweep"),
    "a profile there is not": ("+profiles.big={}", "known: smoke, default, paper"),
    "a key that a profile cannot set": ("+profiles.smoke.data.depth=3", "data.depth=?: unknown key; known: name, k, d"),
    "a single value to sweep": ("+sweep.steps=4", "must be a list of values"),
    "no number of steps": ("steps=null", "must be an integer >= 1"),
    "a group as it was named before": ("trainer=gd", "is now variant/cluster_trainers=gd"),
    "two profiles": ("profile=smoke,default", "one at a time"),
    "a list of experiments": ("+experiment=[cluster_width,cluster_noise]", "must be one name, not a list"),
    "a list of one experiment": ("+experiment=[cluster_width]", "must be one name, not a list"),
    "an experiment in a package": ("+experiment@data=cluster_noise", "one at a time"),
    "a list of optimizers": ("optimizer=[nmd,muon]", "optimizer=A,B runs one cell with each"),
    "a list of data among several": ("data=clusters,[mnist,clusters]", "must be one name, not a list"),
    "Adam in reduced coordinates": ("optimizer=adam", "needs data.coordinates=full"),
    "signs in reduced coordinates": ("optimizer=signum", "needs data.coordinates=full"),
    "an attack on coordinates": ("objective=adversarial", "needs data.coordinates=full"),
    "weights outside of the span": ("model=mlp", "needs data.coordinates=full"),
    "unknown launcher": ("hydra/launcher=basc", "did you mean 'basic'"),
    "unknown flag": ("--force", "unknown flag"),
    "a flag that would run past all checks": ("--run", "unknown flag"),
    "a mapping with an unknown key": ("stop={foo:1}", "stop.foo=1: unknown key; known: slackness"),
    "a mapping with a misspelt key": ("data={sgima:1}", "data.sgima=1: unknown key (did you mean 'sigma'?)"),
    "a mapping with a list in it": ("tracking={tags:[a,b]}", "tracking.tags=[a,b]: unknown key; known: mode, project"),
    "a mapping in a mapping": ("measurements={kkt:{foo:1}}", "measurements.kkt.foo=1: unknown key; known: when"),
    "a mapping where a number is meant": ("steps={foo:1}", "steps={foo:1}: must be an integer"),
    "a key below a number": ("steps.foo=1", "steps is a single value"),
    "a key below an unknown one": ("foo.bar=1", "did you mean 'force'"),
    "a measurement in a mapping": ("measurements={norm_margins:{}}", "with a plus, +measurements.norm_margins="),
    "a key of the launcher": ("hydra={launcher:{n_job:2}}", "did you mean 'n_jobs'"),
    "a plus before a key that is there": ("+data.sigma=3", "write it without the plus"),
    "a list of numbers for an option": ("data=[1]", "must be one name, not a list"),
    "a list of numbers for a set of measurements": ("measurements=[1]", "the name of one option"),
    "no key": ("=3", "must be key=value"),
    "no value": ("cluster_width", "choose the experiment with +experiment=cluster_width"),
    "a key with other letters": ("séeds=[1]", "did you mean 'seeds'"),
    "an option that matches nothing": ("optimizer=glob(zz*)", "matches no value"),
    "an empty range": ("model.width=range(4,4)", "matches no value"),
    "an interval": ("model.width=interval(4,6)", "must list single values"),
    "an unknown function": ("model.width=choise(4,6)", "did you mean 'choice'"),
    "a path with brackets": ("outputs=runs(1)", """'outputs="runs(1)"'"""),
    "other letters in a list": ("outputs=a,é", """'outputs="a,é"'"""),
    "an unclosed quote": ('label="a', "unclosed bracket or quote"),
    "a value of two lines": ("label=a\nb", "label=a\\nb: cannot be read; quote"),
    "the home of nobody": ("outputs=~nobody-here/a", "no such user"),
    "a project with a slash": ("tracking.project=a/b", "without / "),
    "a project without a name": ("tracking.project=", "at most 128 characters"),
    "a project with too long a name": (f"tracking.project={'a' * 129}", "at most 128 characters"),
    "a mistake in the last cell of a sweep": ("model.width=6,7,-1", "model.width=-1: must be an integer >= 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_line_exit_code_two_nothing_written(name, tmp_path, capfd, monkeypatch):
    override, words = WRONG[name]
    monkeypatch.setattr("sys.argv", ["run"])
    overrides = [word for word in SMALL if word.split("=")[0].lstrip("+") != override.split("=")[0].lstrip("+")]
    outputs = [] if override.startswith("outputs") else [f"outputs={tmp_path / 'outputs'}"]
    code = entry.run([*overrides, *outputs, override])
    said = capfd.readouterr().err.strip().splitlines()
    complaints = [line for line in said if "already finished" not in line]
    assert code == 2
    assert len(complaints) == 1, said
    assert words in complaints[0]
    assert "=" in complaints[0] or "quote" in words, "the key and its value are named"
    assert not (tmp_path / "outputs").exists()


def test_a_cell_that_is_refused_when_its_data_are_drawn_is_not_planned(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("sys.argv", ["run"])
    assert entry.run([*SMALL, f"outputs={tmp_path}", "steps=1", "data.negative=2,0"]) == 2
    assert "each label" in capfd.readouterr().err
    assert [name.split("-")[0] for name in store.plan(tmp_path / "cluster_width")] == ["m=6"]


READ = {
    "options by a pattern": (["optimizer=glob(n*)"], "optimizer.name", ["ngd", "nmd"]),
    "a range": (["model.width=range(4,7)"], "model.width", [4, 5, 6]),
    "a choice": (["model.width=choice(4,7)"], "model.width", [4, 7]),
    "a sorted sweep": (["model.width=sort(7,4)"], "model.width", [4, 7]),
    "mappings": (["stop={check_every:3},{check_every:4}"], "stop.check_every", [3, 4]),
    "arguments of a class": (
        ["optimizer=torch_optimizer", "optimizer.arguments={momentum:0.9}"], "optimizer.arguments", [{"momentum": 0.9}]
    ),
    "another argument": (
        ["optimizer=torch_optimizer", "+optimizer.arguments.momentum=0.9"], "optimizer.arguments", [{"momentum": 0.9}]
    ),
    "several measurements": (["measurements=[clusters,norms]"], "measurements.kkt.when", ["last"]),
    "a label of lists": (["label='eta=[0.1, 0.2]_[a]'"], "label", ["eta=0.1,0.2_a"]),
    "a long label": ([f"label={'é' * 200}"], "label", ["é" * 50]),
    "other letters": (["outputs=résultats"], "outputs", ["résultats"]),
    "other characters": (["outputs=a#b;c!@%&=😀"], "outputs", ["a#b;c!@%&=😀"]),
    "a home": (["outputs=~/a"], "outputs", ["/home/somebody/a"]),
    "a quoted home": (['outputs="~/a b"'], "outputs", ["/home/somebody/a b"]),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_what_is_read(name, monkeypatch):
    words, key, values = READ[name]
    monkeypatch.setenv("HOME", "/home/somebody")
    words = ["+experiment=cluster_width", "profile=smoke", "model.width=6", *map(cli.quoted, words)]
    assert [OmegaConf.select(OmegaConf.create(config.model_dump()), key) for config in sweep.expand(words)] == values


@pytest.mark.parametrize(
    ("variable", "mode"),
    [("", "offline"), ("dryrun", "offline"), ("run", "online"), ("online", "online"), ("Disabled", "disabled")],
)
def test_the_mode_of_wandb_comes_from_its_variable(variable, mode, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", variable)
    assert sweep.expand(["profile=smoke"])[0].tracking.mode == mode


def test_an_unknown_mode_of_wandb_is_one_line(capfd, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offlin")
    assert entry.run(["+experiment=cluster_width", "profile=smoke"]) == 2
    assert capfd.readouterr().err.startswith("WANDB_MODE=offlin: must be online, offline, disabled")


def test_a_seed_twice_with_other_rates_needs_no_label(tmp_path):
    words = ["+experiment=momentum_margin", "profile=smoke", "optimizer=muon", "optimizer.momentum=0.9"]
    (cell,) = sweep.expand([*words, "vars.rate=half", "seeds=[0,0]", "optimizer.lr=[0.1,0.2]"])
    assert cell.label == "muon_beta=0.9_eta=0.1,0.2"


def test_a_folder_of_wandb_that_cannot_be_written_is_one_line(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("sys.argv", ["run"])
    monkeypatch.setattr(wandb_run, "_failed", set())
    (tmp_path / "wandb").write_text("in the way")
    assert entry.run([*SMALL[:-2], "report=false", "tracking.mode=offline", "steps=2", f"outputs={tmp_path}"]) == 0
    (line,) = [record.message for record in caplog.records]
    assert "wandb: cannot be written" in line


def test_a_key_that_only_the_swept_options_have_is_known(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("sys.argv", ["run"])
    words = [*SMALL, f"outputs={tmp_path}", "steps=1", "optimizer=ngd,nmd"]
    assert entry.run([*words, "optimizer.exponent=0.8"]) == 0
    assert entry.run([*words, "optimizer.exponnet=0.8"]) == 2
    assert "did you mean 'exponent'" in capfd.readouterr().err


def test_no_cuda_here_is_one_line(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("sys.argv", ["run"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert entry.run([*SMALL, f"outputs={tmp_path}", "device=cuda"]) == 2
    assert "no CUDA device" in capfd.readouterr().err


def test_a_failed_cell_is_exit_code_one_and_the_others_run(tmp_path, capfd, monkeypatch):
    from src.runner import cell

    monkeypatch.setattr("sys.argv", ["run"])
    original = cell.loop.train

    def unlucky(progress, *args):
        if progress.params["v"].shape[-1] == 6:
            raise ArithmeticError("width six is unlucky")
        yield from original(progress, *args)

    monkeypatch.setattr(cell.loop, "train", unlucky)
    overrides = [word for word in SMALL if "width=" not in word]
    assert entry.run([*overrides, f"outputs={tmp_path}", "model.width=6,7", "steps=50", "launcher=basic"]) == 1
    said = capfd.readouterr().err
    assert said.count("width six is unlucky") == 2, "told when it happens, and again at the end"
    assert "1 of 2 cells done" in said
    assert "Traceback" not in said


def test_no_arguments_at_all_tells_the_experiments(capfd):
    assert entry.run([]) == 2
    assert "choose with +experiment=NAME: " in capfd.readouterr().err


def test_inspection_is_checked_too(capfd, monkeypatch):
    monkeypatch.setattr("sys.argv", ["run"])
    assert entry.run(["+experiment=cluster_width", "--cfg", "job", "+data.sgima=3"]) == 0
    assert entry.run(["+experiment=cluster_width", "--cfg", "job", "data.sgima=3"]) == 2
    assert "did you mean 'sigma'" in capfd.readouterr().err
    assert entry.run(["+experiment=cluster_width", "--cfg", "jbo"]) == 2
    assert "did you mean 'job'" in capfd.readouterr().err


def test_of_a_sweep_the_first_cell_is_shown(capfd, monkeypatch):
    monkeypatch.setattr("sys.argv", ["run"])
    assert entry.run([*SMALL, "-m", "data.k=2,4", "--cfg", "job"]) == 0
    shown = capfd.readouterr()
    assert shown.err == "the first of 2 cells:\n"
    assert "  k: 2\n" in shown.out


FINISHED = {
    "a lost row": ("metrics.jsonl", lambda text: text.rsplit("\n", 2)[0] + "\n"),
    "an empty record": ("metrics.jsonl", lambda text: ""),
    "a line that is no row": ("metrics.jsonl", lambda text: text + "3\n"),
    "a row too many": ("metrics.jsonl", lambda text: text + '{"step": 3}\n'),
    "half a config": ("config.yaml", lambda text: "data: {"),
    "a status that is a number": ("status.json", lambda text: "5"),
}


@pytest.mark.parametrize(
    "words, told",
    [
        (["+experiment=hybrid_margin", "optimizer.ratio=-1"], "optimizer.ratio=-1: must be a number > 0"),
        (["+experiment=schatten_margin", "optimizer.p=0"], "optimizer.p=0: must be a number >= 1"),
        (["+experiment=muon_margin", "data.n=-3"], "data.n=-3: must be an integer >= 1"),
        (["+experiment=muon_margin", "data.n=null"], "data.n=null: must be an integer >= 1"),
        (["+experiment=muon_margin", "model.width=0"], "model.width=0: must be an integer >= 1"),
        (["+experiment=muon_margin", "vars.reference.n=-3"], "optimizer.lr=nan: must be a number > 0"),
        (["+experiment=muon_margin", "optimizer.polar_factor=gram"], "some swept options of optimizer lack this key"),
    ],
)
def test_a_wrong_key_that_experiments_of_paper_3_compute_with_is_one_line(words, told, tmp_path, capfd):
    assert entry.run([*words, "profile=smoke", f"outputs={tmp_path / 'outputs'}"]) == 2
    (line,) = (line for line in capfd.readouterr().err.strip().splitlines() if "already finished" not in line)
    assert told in line
    assert not (tmp_path / "outputs").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the outputs of a finished cell with a report; tests take copies."""
    outputs = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.argv", ["run"])
        assert entry.run([*SMALL[:-1], f"outputs={outputs}", "steps=20"]) == 0
    return outputs


@pytest.mark.parametrize("name", FINISHED)
def test_damage_to_a_finished_cell_is_told_in_one_line(name, finished, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("sys.argv", ["run"])
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    command = [*SMALL[:-1], f"outputs={tmp_path}", "steps=20"]
    file, damage = FINISHED[name]
    (path,) = tmp_path.glob(f"cluster_width/*/{file}")
    path.write_text(damage(path.read_text()))
    assert entry.run(command) == 2
    complaint = capfd.readouterr().err.strip().splitlines()[-1]
    assert "is damaged" in complaint
    assert "force=true recomputes the cell" in complaint
    if name in ("a lost row", "half a config", "a status that is a number"):  # one of each file
        assert entry.run([*command, "force=true", "report=false"]) == 0, "and what it advises helps"


def test_a_folder_of_reports_that_is_a_file(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("sys.argv", ["run"])
    (tmp_path / "reports").write_text("in the way")
    command = [word for word in SMALL if "report" not in word] + [f"outputs={tmp_path}", "steps=20"]
    assert entry.run(command) == 2
    assert "cannot be written" in capfd.readouterr().err


@pytest.mark.parametrize("word", ["data.sigma=-1", "data.sgima=1"])
def test_a_mistake_stops_the_reproduction_of_a_paper_before_it_starts(word, tmp_path, capfd):
    some = "experiments=cluster_noise,cluster_width"
    assert reproduce.main(["1", some, "profile=smoke", f"outputs={tmp_path / 'out'}", word]) == 2
    assert len(capfd.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_two_experiments_are_refused_however_they_are_written(capfd):
    assert entry.run(["+experiment=cluster_width", "+experiment=cluster_noise", "profile=smoke"]) == 2
    refused = "experiment=cluster_width,cluster_noise: one at a time; a shell loop runs several"
    assert capfd.readouterr().err.strip() == refused


def test_a_rule_that_does_not_commute_trains_in_full_coordinates(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("sys.argv", ["run"])
    words = [*SMALL, f"outputs={tmp_path}", "steps=5", "data.d=64", "data.n=16", "optimizer=adam"]
    assert entry.run([*words, "data.coordinates=full"]) == 0
    assert "Traceback" not in capfd.readouterr().err


DAMAGED = {
    "empty": b"",
    "a tab": b"paper: 9\ndata:\n\tk: 1\n",
    "latin-1": "name: caf\xe9\n".encode("latin-1"),
    "a list": b"- 1\n- 2\n",
    "a number": b"3\n",
    "unclosed": b"data: [1\n",
    "binary": bytes(range(256)),
}


@pytest.fixture(params=DAMAGED)
def damaged(request, tmp_path, monkeypatch):
    """A copy of the configuration with an experiment and a damaged one."""
    shutil.copytree(CONF, tmp_path / "conf", ignore=shutil.ignore_patterns("experiment", "claims", "variant"))
    (tmp_path / "conf" / "experiment").mkdir()
    shutil.copy(CONF / "experiment" / "cluster_width.yaml", tmp_path / "conf" / "experiment")
    (tmp_path / "conf" / "experiment" / "broken.yaml").write_bytes(DAMAGED[request.param])
    monkeypatch.setattr(components, "CONF", tmp_path / "conf")


def test_a_damaged_experiment_is_one_line_and_other_papers_go_on(damaged, caplog, capfd):
    assert "cluster_width" in experiments.of_paper(1)
    (record,) = caplog.records
    assert "experiment=broken.yaml: " in record.message and "\n" not in record.message
    capfd.readouterr()
    assert entry.run(["+experiment=broken"]) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("experiment=broken.yaml: ")


def test_a_damaged_experiment_of_the_paper_itself_is_refused(tmp_path, monkeypatch):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "broken.yaml").write_bytes(DAMAGED["a tab"])
    monkeypatch.setattr(components, "CONF", tmp_path)
    with pytest.raises(ConfigError, match=r"experiment=broken\.yaml: is not YAML"):
        experiments.of_paper(9)


@pytest.mark.parametrize("damage", ["a tab", "latin-1", "unclosed"])
def test_a_damaged_option_is_one_line(damage, tmp_path, monkeypatch, capfd):
    shutil.copytree(CONF, tmp_path / "conf")
    (tmp_path / "conf" / "optimizer" / "adam.yaml").write_bytes(DAMAGED[damage])
    monkeypatch.setattr(components, "CONF", tmp_path / "conf")
    assert entry.run(["+experiment=cluster_width", "optimizer=adam"]) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("optimizer=adam.yaml: is not YAML")


@pytest.mark.parametrize("load", [claim_schema.load, deviations.load])
@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_claims_and_deviations_are_one_line(damage, load, tmp_path):
    (tmp_path / "paper1.yaml").write_bytes(DAMAGED[damage])
    with pytest.raises(ConfigError, match=r"(claims|deviations)=paper1\.yaml: ") as refused:
        load(1, tmp_path)
    assert "\n" not in str(refused.value)

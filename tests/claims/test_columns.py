"""Columns of expressions, and the commands ``check`` and ``columns``."""

import re

import pytest

from src.claims import __main__ as command
from src.claims import columns
from tests import fabricated

SHAPE = """
claims:
- {{id: P9-C1, statement: s, formula: f, source: s, experiment: {experiment}, parts: [
    {{name: it, median: {quantity}, rows: {rows}, criterion: {{at_most: 1}}}}]}}
"""


def run(capsys, *words):
    code = command.main(words)
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_the_suites_own_files_use_columns_that_exist(capsys):
    code, printed = run(capsys, "check")
    assert code == 0, printed
    assert re.fullmatch(r"\d+ numbers, no problem found\n", printed)


@pytest.mark.parametrize(
    ("experiment", "quantity", "rows", "sentence"),
    [
        ("cluster_width", "z_r5O", "final", "P9-C1, it: z_r5O: not a column of cluster_width (did you mean"),
        ("cluster_width", "z_r50", "final and data_q > 1", "data_q: not a column of cluster_width"),
        ("muon_margin", "gamma_msq", "final", "gamma_msq: not a column of muon_margin"),
        ("muon_margin", "gamma_msp", "final and model_rank == 4", "model_rank: not a column of muon_margin"),
        ("muon_margni", "gamma_msp", "final", "experiment=muon_margni: unknown (did you mean 'muon_margin'?)"),
        ("muon_margin", "'a / / b'", "final", "P9-C1.parts[0].quantity=a / / b: is not an expression"),
    ],
)
def test_a_problem_is_one_line_and_exit_code_2(tmp_path, capsys, experiment, quantity, rows, sentence):
    file = tmp_path / "claims.yaml"
    file.write_text(SHAPE.format(experiment=experiment, quantity=quantity, rows=rows))
    code, printed = run(capsys, "check", str(file))
    assert (code, printed.count("\n")) == (2, 1)
    assert sentence in printed


def test_a_measured_column_is_known_without_a_run(tmp_path):
    """Fabricated rows have the config keys of real ones, and the measured columns of all of paper 1."""
    others = [columns.of("cluster_attacks"), columns.of("cluster_width")]
    for experiment, grid in fabricated.SMALL:
        (frame,) = fabricated.frames({experiment: fabricated.sweep(tmp_path, experiment, grid)}).values()
        unknown = [
            column for column in frame if not any(known.has(column) for known in [columns.of(experiment), *others])
        ]
        assert not unknown, (experiment, unknown)


def test_columns_are_listed_with_those_that_a_cell_has(tmp_path, capsys):
    code, printed = run(capsys, "columns", "cluster_width", f"outputs={tmp_path}")
    assert code == 0
    assert "\n  data_k\n" in printed and "\n  z_r{percent}{name}\n" in printed
    fabricated.sweep(tmp_path, "cluster_width", {"model.width": [4, 8]})
    code, printed = run(capsys, "columns", "cluster_width", f"outputs={tmp_path}")
    assert "\n  z_r50\n" in printed and "{name}" not in printed


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "must begin with check or columns"),
        (["chek"], "did you mean 'check'?"),
        (["columns"], "name one experiment"),
        (["columns", "cluster_widht"], "did you mean 'cluster_width'?"),
        (["check", "nowhere.yaml"], "cannot be read"),
    ],
)
def test_a_command_line_is_refused_in_one_line(capsys, words, sentence):
    code, printed = run(capsys, *words)
    assert (code, printed.count("\n")) == (2, 1)
    assert sentence in printed

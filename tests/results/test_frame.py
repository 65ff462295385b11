"""The rows of cells as a table."""

import pandas
import yaml

from src.results import store


def test_a_step_that_passes_several_losses_has_a_row_for_each(tmp_path):
    losses = [1.0, 0.1, 0.01, 0.001]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"name": "example", "compare_at_loss": losses}))
    row = {"step": 0, "member": 0, "own_steps": 0, "final": False, "matched": None, "risk": 2.0}
    steps = [
        row,
        row | {"member": 1},
        row | {"step": 1, "matched": 0.1, "risk": 0.05},  # passes 1 and 0.1
        row | {"step": 1, "member": 1, "matched": 1.0, "risk": 0.5},
        row | {"step": 2, "final": True, "matched": 0.001, "risk": 0.0005},  # passes 0.01 and 0.001
        row | {"step": 2, "member": 1, "final": True, "risk": 0.5},
    ]
    store.append(tmp_path / "metrics.jsonl", steps)
    table = store.frame([tmp_path])
    one = table[table["member"] == 0]
    assert one.set_index("matched")["risk"].drop(float("nan")).to_dict() == {
        1: 0.05,
        0.1: 0.05,
        0.01: 0.0005,
        0.001: 0.0005,
    }
    assert table[table["member"] == 1]["matched"].dropna().tolist() == [1.0]
    assert table["final"].sum() == 2, "a copy is not final"
    assert table[table["final"]]["matched"].pipe(pandas.isna).tolist() == [False, True]

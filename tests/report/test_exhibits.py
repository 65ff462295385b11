"""A figure is drawn again if, and only if, its rows or the code of the figures has changed."""

import pytest

from src.report import exhibits
from src.report.figures import paper1, style
from src.results.frames import Frames
from tests import fabricated


@pytest.mark.usefixtures("empty_figures")
def test_a_figure_is_drawn_again_when_its_rows_or_code_change(tmp_path, monkeypatch):
    (plot,) = [plot for plot in paper1.PLOTS if plot.experiments == ("cluster_width",)]
    cells = {name: fabricated.sweep(tmp_path, name, {"model.width": [4, 8]}) for name in ("cluster_width", "other")}
    folder, source = tmp_path / "figures", tmp_path / "style.py"
    folder.mkdir()
    source.write_text("WIDTH = 3\n")
    monkeypatch.setattr(exhibits, "CODE", [*exhibits.CODE, source])
    calls = []

    def drawn():
        """Return whether the figure was drawn by this call."""
        calls.clear()
        draw = plot._replace(draw=lambda frame: calls.append(1) or plot.draw(frame))
        entry = exhibits.draw(draw, Frames(cells), cells, {}, folder)
        assert entry["note"] == "" and style.describe(exhibits.pandas.read_csv(folder / entry["data"])) in entry["alt"]
        return bool(calls)

    assert drawn() and not drawn()
    changed = cells["other"][0] / "metrics.jsonl"
    changed.write_text(changed.read_text() + "\n")
    assert not drawn()
    changed = cells["cluster_width"][0] / "metrics.jsonl"
    changed.write_text(changed.read_text().replace('"z_r50": ', '"z_r50": 1'))
    assert drawn() and not drawn()
    source.write_text("WIDTH = 4\n")
    assert drawn() and not drawn()
    (folder / f"{plot.id}.pdf").unlink()
    assert drawn() and not drawn()


def test_the_style_and_all_figures_are_code_of_a_figure():
    assert {"style.py", "published.py", "paper1_scaling.py", "exhibits.py", "store.py"} <= {
        path.name for path in exhibits.CODE
    }

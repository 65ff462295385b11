import pytest
import torch

from src.data import clusters, separable
from src.errors import ConfigError
from src.measurements import spectral
from src.models import two_layer_relu
from src.oracles.clusters import feature_averaging
from src.types import Snapshot


def test_feature_averaging_has_rank_two_and_the_whole_l2_margin():
    task = clusters.build([0, 1], k=8, d=4096, n=32, sigma=0.0)
    model = two_layer_relu.build(task)
    averaging = feature_averaging(task.facts["means"], task.facts["labels"])
    scaled = averaging | {"w": 3 * averaging["w"], "v": averaging["v"] / 3}  # neurons are balanced again
    for params in (averaging, scaled):
        columns = spectral.build(task, model)(Snapshot(0, params, torch.zeros(2)))
        torch.testing.assert_close(columns["stable_rank"], torch.full((2,), 2.0, dtype=torch.float64))
        torch.testing.assert_close(
            columns["rescaled_margin_ratio"], torch.ones(2, dtype=torch.float64), rtol=2e-3, atol=0
        )
    assert columns["msp_optimum"].tolist() == pytest.approx([64 * 1.5 / 8**0.5] * 2)


def test_unbalanced_labels_and_other_data_are_refused():
    for task in (clusters.build([0], k=4, d=64, n=8, negative=1), separable.build([0], shape=[4], n=8)):
        with pytest.raises(ConfigError, match="as many clusters of either label"):
            spectral.build(task, two_layer_relu.build(task))

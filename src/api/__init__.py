"""The suite from Python: train networks and measure them, without configuration files.

    from src.api import data, measurements, models, objectives, optimizers, train

    task = data.clusters(seeds=[0, 1], coordinates="full")
    model = models.two_layer_relu(task, width=16)
    result = train(task, model, objectives.logistic(), optimizers.muon(lr=0.2), steps=500)
    measurements.norm_margins(result)["gamma_msp"]

``dir(optimizers)`` lists what there is, and ``help(optimizers.muon)`` has formula, arguments and source. Names and
arguments are those of configurations, with the same defaults and checks. examples/minimal.py is a whole study;
docs/your_own.md is on your own data, module and optimizer.
"""

from src.api import data, measurements, models, objectives, optimizers
from src.api.training import Trained, initial, train

__all__ = ["Trained", "data", "initial", "measurements", "models", "objectives", "optimizers", "train"]

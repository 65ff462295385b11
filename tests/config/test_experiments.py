"""An experiment does not silently override the variants that it sweeps."""

import pytest

from src.config import components, experiments, overrides
from src.errors import ConfigError

VARIANT = "defaults:\n  - override /objective: squared\noptimizer: {lr: 0.1}\n"


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Return a function that checks an experiment with the variant ``a`` of this text."""
    monkeypatch.setattr(components, "CONF", tmp_path)

    def checked(defaults, rest=""):
        for folder, name, text in (
            ("experiment", "x", f"defaults: {defaults}\nsweep: {{variant/x: [a]}}\n{rest}"),
            ("variant/x", "a", VARIANT),
        ):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / f"{name}.yaml").write_text(text)
        experiments.check_file(overrides.parsed(["+experiment=x"]))

    return checked


def test_an_option_of_a_variant_that_the_experiment_overrides_is_an_error(check):
    with pytest.raises(ConfigError, match=r"variant/x=a: has no effect on /objective: x\.yaml overrides it"):
        check("[/variant/x: a, override /objective: exponential]")
    check("[/variant/x: a, override /objective: squared]")
    check("[/variant/x: a, override /model: linear]")


def test_a_key_of_a_variant_that_the_experiment_sets_is_an_error_unless_the_variant_comes_after_it(check):
    with pytest.raises(ConfigError, match=r"has no effect on optimizer\.lr"):
        check("[/variant/x: a]", "optimizer: {lr: 0.2}")
    check("[_self_, /variant/x: a]", "optimizer: {lr: 0.2}")
    check("[/variant/x: a]", "optimizer: {momentum: 0.2}")
    check("[/model: linear]", "optimizer: {lr: 0.2}")

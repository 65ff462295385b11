"""Different update rules for the hidden layers and the last layer."""

from __future__ import annotations

from torch import Tensor

from src.types import Params, ScaledGrad, State, UpdateRule


def split_last_layer(hidden: UpdateRule, last: UpdateRule) -> UpdateRule:
    """Build a rule that updates the last leaf of the parameters by ``last`` and all others, if any, by ``hidden``.

    Its ``rate`` is that of ``last``: in max{r·msp(W), ‖u‖_∞} a step of both has the length r η_t.
    """
    rules = {"hidden": hidden, "last": last}

    def groups(params: Params) -> dict[str, list[str]]:
        names = list(params)
        return {group: leaves for group, leaves in (("hidden", names[:-1]), ("last", names[-1:])) if leaves}

    def init(params: Params) -> State:
        return {group: rules[group].init(_select(params, leaves)) for group, leaves in groups(params).items()}

    def update(params: Params, state: State, log_risk: Tensor, grad: ScaledGrad) -> tuple[Params, State]:
        new_params: Params = {}
        new_state = {}
        for group, leaves in groups(params).items():
            group_grad = ScaledGrad(_select(grad.direction, leaves), grad.log_scale)
            updated, new_state[group] = rules[group].update(_select(params, leaves), state[group], log_risk, group_grad)
            new_params |= updated
        return new_params, new_state

    return UpdateRule(init, update, rate=last.rate)


def _select(params: Params, names: list[str]) -> Params:
    return {name: params[name] for name in names}

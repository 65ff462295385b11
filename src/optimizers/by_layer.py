"""One rule for the hidden layers and another for the last."""

from __future__ import annotations

from torch import Tensor

from src.types import Params, ScaledGrad, State, UpdateRule


def split_last_layer(hidden: UpdateRule, last: UpdateRule) -> UpdateRule:
    """``last`` moves the last leaf of the parameters, ``hidden`` all others (if there are any)."""
    rules = {"hidden": hidden, "last": last}

    def groups(params: Params) -> dict[str, list[str]]:
        names = list(params)
        return {part: chosen for part, chosen in (("hidden", names[:-1]), ("last", names[-1:])) if chosen}

    def init(params: Params) -> State:
        return {part: rules[part].init(_select(params, chosen)) for part, chosen in groups(params).items()}

    def update(params: Params, state: State, log_risk: Tensor, grad: ScaledGrad) -> tuple[Params, State]:
        moved, new_state = {}, {}
        for part, chosen in groups(params).items():
            own_grad = ScaledGrad(_select(grad.direction, chosen), grad.log_scale)
            own, new_state[part] = rules[part].update(_select(params, chosen), state[part], log_risk, own_grad)
            moved |= own
        return moved, new_state

    return UpdateRule(init, update)


def _select(params: Params, names: list[str]) -> Params:
    return {name: params[name] for name in names}

"""UGDA and what it is compared with: methods of [ugda2025, Tables 2 and 3] and its ablations."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from theory.objective import Objective
from theory.refinement import Refinement

NAMES = {"ensemble_mean": "PPO", "lcb": "LCB", "uwo": "UWO"}
"""Presets as the paper calls them."""
SFT, RLR, UGDA, NONE = "SFT", "RLR", "UGDA", "0%"
SELECTIONS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "both": (UGDA, {"selection": "both"}),
    "variance": ("variance", {"selection": "variance"}),
    "influence": ("influence", {"selection": "influence"}),
    "information": ("information", {"selection": "information"}),
    "both_size": ("both by size", {"selection": "both", "sign": "either"}),
    "influence_size": ("influence by size", {"selection": "influence", "sign": "either"}),
    "random": ("random", {"selection": "random"}),
}
"""What each is called, and what it sets of a `Refinement`."""


@dataclass(frozen=True)
class Method:
    """What is done after PPO on the ensemble mean has been collected from.

    settings:  of the refinement, or None for the reward models as they are.
    objective: of the policy. anew: see `llm_bridge.refining.world.TextRefinement`.
    """

    settings: Refinement | None
    objective: Objective
    anew: bool = False

    @property
    def share(self) -> str:
        """Of the interactions that are relabelled.

        >>> from theory.presets import ensemble_mean
        >>> Method(Refinement(), ensemble_mean()).share
        '25%'
        """
        if self.settings is None:
            return NONE
        return f"{(1 - self.settings.gamma) * (1 - self.settings.eta):.0%}"


def methods(
    objectives: Mapping[str, Objective],
    refinement: Refinement,
    selections: Iterable[str],
    variations: Iterable[Mapping[str, Any]] = (),
) -> dict[tuple[str, str], Method]:
    """By name, and share of the interactions that is relabelled.

    Each objective on the reward models as they are, and after refinement on a random share of the
    interactions; on the first objective also RLR, and every one of the `SELECTIONS` with as many
    labels. The paper does not tell RLR from PPO after a random share: here RLR trains the reward
    models anew, on comparisons and labels at once.

    variations: other values of fields of the refinement, on UGDA and, where they change what is
                done there, on random labels.
    """
    found: dict[tuple[str, str], Method] = {}
    by_chance = replace(refinement, selection="random")

    def add(name: str, method: Method) -> None:
        if method not in found.values():
            found[name, method.share] = method

    for name, objective in objectives.items():
        add(NAMES.get(name, name), Method(None, objective))
    for name, objective in objectives.items():
        add(NAMES.get(name, name), Method(by_chance, objective))
    called, first = next(iter(objectives.items()))
    called = NAMES.get(called, called)
    add(RLR, Method(by_chance, first, anew=True))
    for selection in selections:
        name, fields = SELECTIONS[selection]
        add(name, Method(replace(refinement, **fields), first))
    for change in variations:
        ours = f"{UGDA}, {', '.join(f'{name} {value}' for name, value in change.items())}"
        add(ours, Method(replace(refinement, selection="both", **change), first))
        if change.keys() & {"gamma", "eta"}:
            add(called, Method(replace(by_chance, **change), first))
        if "labels" in change:
            add(ours.replace(UGDA, called), Method(replace(by_chance, **change), first))
    return found

"""UGDA and what it is compared with: methods of [ugda2025, Tables 2 and 3] and its ablations."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from theory.objective import Objective
from theory.refinement import Refinement

NAMES = {"ensemble_mean": "PPO", "lcb": "LCB", "uwo": "UWO"}
"""Presets as the paper calls them."""
SFT, RLR, UGDA, NONE = "SFT", "RLR", "UGDA", "0%"


@dataclass(frozen=True)
class Method:
    """What is done after PPO on the ensemble mean has been collected from.

    settings:  of the refinement, or None for the reward models as they are.
    objective: of the policy. replay: see `Refit`.
    """

    settings: Refinement | None
    objective: Objective
    replay: bool = False

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
    objectives: Mapping[str, Objective], refinement: Refinement, selections: Iterable[str]
) -> dict[tuple[str, bool], Method]:
    """By name, and whether labels are bought.

    Each objective on the reward models as they are, and after refinement on a random share of the
    interactions; on the first objective also RLR, and every selection of the same share. The paper
    does not tell RLR from PPO after a random share: here RLR trains on the comparisons, too.
    """
    found: dict[tuple[str, bool], Method] = {}
    by_chance = replace(refinement, selection="random")
    for name, objective in objectives.items():
        called = NAMES.get(name, name)
        found[called, False] = Method(None, objective)
        found[called, True] = Method(by_chance, objective)
    first = next(iter(objectives.values()))
    found[RLR, True] = Method(by_chance, first, replay=True)
    for selection in selections:
        called = UGDA if selection == "both" else selection
        if selection != "random":
            found[called, True] = Method(replace(refinement, selection=selection), first)
    return found

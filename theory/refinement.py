"""Which samples UGDA relabels, and what reward a grade becomes [ugda2025, secs 4.2-4.3].

Arrays lead with `runs`: independent runs side by side; a single run is a population of one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from theory import checks
from theory.errors import InputError
from theory.grades import GRADES, MISSING
from theory.relabelling import quantile_targets, quantile_targets_as_printed, select, top_fraction

SELECTIONS = ("both", "variance", "influence", "information", "random")
DIRECTIONS = ("adam", "as_printed", "sgd")
LOSSES = ("likelihood", "ppo")
LABELS = ("mid_rank", "as_printed", "anchored")


@dataclass(frozen=True)
class Refinement:
    """Which samples are relabelled, by what gradients, and what rewards the grades become.

    selection:  'both' takes the top 1 - gamma by variance, of those the top 1 - eta by influence;
                'variance', 'influence', 'information' and 'random' take as many by one rule. The
                paper does not say how many its ablations relabel.
    gamma, eta: shares that are dropped [ugda2025, Eqs 9 and 12].
    direction:  of a sample's step: Adam's, 'as_printed' in [ugda2025, Eq. 6], or 'sgd'.
    loss:       of a sample: its negative log-likelihood under the policy, as the validation's (the
                paper is silent), or the 'ppo' surrogate.
    similarity: 'cosine' [ugda2025, Eq. 11], or the 'raw' inner product.
    tasks:      influence on several validation tasks: the 'max' [ugda2025, sec. 4.2] or the 'mean'
                [ugda2025, sec. 5.1].
    sign:       'helpful' ranks by influence as the paper does; 'either' by its size, so that
                samples that would hurt the validation loss count too.
    dimension:  of the projected gradients, or None for exact ones.
    labels:     grades to rewards: 'mid_rank', 'as_printed' or 'anchored' (see `targets`).
    seed:       of the projection and of random choices.

    Raises `InputError` for unknown names and numbers out of range.
    """

    selection: str = "both"
    gamma: float = 0.5
    eta: float = 0.5
    direction: str = "adam"
    loss: str = "likelihood"
    similarity: str = "cosine"
    tasks: str = "max"
    sign: str = "helpful"
    dimension: int | None = 8192
    labels: str = "mid_rank"
    seed: int = 0

    def __post_init__(self) -> None:
        known = {
            "selection": SELECTIONS, "direction": DIRECTIONS, "loss": LOSSES, "labels": LABELS,
            "similarity": ("cosine", "raw"), "tasks": ("max", "mean"),
            "sign": ("helpful", "either"),
        }  # fmt: skip
        for name, names in known.items():
            checks.one_of(name, getattr(self, name), names)
        for name in ("gamma", "eta"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(name, "a share in [0, 1)", getattr(self, name))
        if self.dimension is not None:
            checks.positive("dimension", self.dimension)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the evidence that the selection reads."""
        return {"both": ("variance", "influence"), "random": ()}.get(
            self.selection, (self.selection,)
        )

    def kept(self, samples: int) -> int:
        """How many of so many samples are relabelled.

        >>> Refinement().kept(400)
        100
        """
        return len(select(np.zeros(samples), np.zeros(samples), self.gamma, self.eta))


def chosen(
    evidence: Mapping[str, np.ndarray], settings: Refinement, seeds: Sequence[int], samples: int
) -> Int[np.ndarray, "runs kept"]:
    """Indices of the samples to relabel, by run; ties are broken at random.

    Each run draws from its own seed. Raises `InputError` for evidence that is missing or is not
    finite.
    """
    for name in settings.needs:
        if name not in evidence:
            raise InputError("evidence", f"with {name!r}", sorted(evidence))
    influence = reduced(evidence["influence"], settings) if "influence" in settings.needs else None
    rows = []
    for run, seed in enumerate(seeds):
        order = np.random.default_rng([seed, settings.seed]).permutation(samples)
        if settings.selection == "both":
            assert influence is not None
            found = select(
                evidence["variance"][run][order], influence[run][order],
                settings.gamma, settings.eta,
            )  # fmt: skip
        elif settings.selection == "random":
            found = np.arange(settings.kept(samples))
        else:
            values = evidence[settings.selection] if influence is None else influence
            found = top_fraction(values[run][order], 0.0)[: settings.kept(samples)]
        rows.append(order[found])
    return np.stack(rows)


def reduced(
    influence: Float[np.ndarray, "runs samples tasks"], settings: Refinement
) -> Float[np.ndarray, "runs samples"]:
    """One number a sample of its influence on all tasks."""
    sized = np.abs(influence) if settings.sign == "either" else influence
    return np.asarray(sized.max(-1) if settings.tasks == "max" else sized.mean(-1))


def targets(
    scores: Float[np.ndarray, "runs samples k"],
    picked: Int[np.ndarray, "runs kept"],
    grades: Int[np.ndarray, "runs kept"],
    labels: str = "mid_rank",
) -> Float[np.ndarray, "runs kept k"]:
    """The reward of each grade on each member's own scale, NaN for a missing grade.

    'mid_rank' and 'as_printed' are those of `theory.relabelling`, on the scores of the relabelled
    samples. If these are overrated as a whole, as what a policy has run to is, that only reorders
    them: their mean stays where it was. 'anchored' puts grade j at the quantile (j - 1/2) / 5 of
    everything collected, which lowers what has low grades; it trusts the expert to give each grade
    to a fifth of that.
    """
    checks.one_of("labels", labels, LABELS)
    found = np.full((*picked.shape, scores.shape[-1]), np.nan)
    for run, there in enumerate(grades != MISSING):
        if not there.any():
            continue
        own, given = scores[run], grades[run][there]
        if labels == "anchored":
            levels = (np.arange(GRADES) + 0.5) / GRADES
            found[run, there] = np.quantile(own, levels, axis=0)[given - 1]
        else:
            project = quantile_targets if labels == "mid_rank" else quantile_targets_as_printed
            found[run, there] = project(own[picked[run][there]], given)
    return found

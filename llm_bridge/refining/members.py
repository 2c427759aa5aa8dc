"""Reward ensembles after squared error on the rewards that grades stand for [ugda2025, Eq. 14]."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from llm_bridge.data.pairs import Judge, Pairs
from llm_bridge.lm.checkpoints import context_length
from llm_bridge.rewards.ensembles import Ensemble
from llm_bridge.rewards.kinds import Workshop
from llm_bridge.rewards.models import ALL, RewardModel, RewardTraining, fit
from llm_bridge.text_world import TextWorld
from theory import checks
from theory.errors import InputError
from theory.preferences import preference_loss
from theory.splits import split_counts

PARTS = ("all", "heads")


@dataclass(frozen=True)
class Targets:
    """Texts and the raw score that each member should give them, NaN for none; (samples, k)."""

    prompts: tuple[str, ...]
    responses: tuple[str, ...]
    scores: Float[np.ndarray, "samples k"]


@dataclass(frozen=True)
class Refit:
    """How members learn their targets.

    training: AdamW on the squared error.
    part:     'all' that their kind trains (whole models, adapters and heads, or heads), or the
              'heads' alone.
    """

    training: RewardTraining = RewardTraining(epochs=4, learning_rate=3e-4)
    part: str = "all"

    def __post_init__(self) -> None:
        checks.one_of("part", self.part, PARTS)

    def __call__(
        self, ensemble: Ensemble, targets: Targets, pairs: Pairs | None = None, *, seed: int
    ) -> tuple[Ensemble, Float[np.ndarray, " k"]]:
        """A refined copy, and the mean losses of its members over the last tenth of the steps.

        pairs: comparisons to learn from at the same time, each as often as the ensemble's split has
        it for a member, a pair and a target alike. Targets of NaN do not count. Raises `InputError`
        where no target is left.
        """
        if not np.isfinite(targets.scores).any():
            raise InputError("targets", "at least one", "none", "see what the expert answered")
        models, settings, first, losses = deepcopy(ensemble.models), ensemble.settings, 0, []
        counts, rng = np.ones((0, settings.members)), np.random.default_rng([seed, 2])
        if pairs is not None:
            counts = split_counts(settings.sees, settings.members, len(pairs), rng=rng).T
        for index, model in enumerate(models):
            self._thaw(model, settings.kind)
            own = slice(first, first + model.head.out_features // model.per_head)
            its = replace(targets, scores=targets.scores[:, own])
            rng = np.random.default_rng([seed, 8, index])
            losses.append(self._fit(model, its, pairs, counts[:, own], rng))
            first = own.stop
        return Ensemble(models, ensemble.settings), np.concatenate(losses)

    def _thaw(self, model: RewardModel, kind: str) -> None:
        """Ask for gradients of what is trained."""
        model.head.requires_grad_(True)
        if self.part == "all":
            if kind == "lora":
                model.get_submodule("adapters").requires_grad_(True)
            elif kind != "heads":
                model.trunk.requires_grad_(True)

    def _fit(
        self,
        model: RewardModel,
        targets: Targets,
        pairs: Pairs | None,
        counts: Float[np.ndarray, "pairs k"],
        rng: np.random.Generator,
    ) -> Float[np.ndarray, " k"]:
        """Squared errors of some members; rows from the number of pairs on are targets."""
        start, wanted = len(counts), targets.scores
        texts = model.encode(targets.prompts, targets.responses)
        goals = torch.as_tensor(wanted).to(model.head.weight).nan_to_num()
        sides = [] if pairs is None else [
            model.encode(pairs.prompts, side) for side in (pairs.chosen, pairs.rejected)
        ]  # fmt: skip

        def read(batch: Any) -> torch.Tensor:
            return model.scores(model(batch.trimmed().to(model.trunk.device))).members

        def loss(rows: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
            numbers, found = rows[:, 0], []
            compared, graded = numbers[numbers < start], numbers[numbers >= start] - start
            if len(compared):
                won, lost = (read(side[compared]) for side in sides)
                found.append(preference_loss(won, lost, centring=self.training.centring))
            if len(graded):
                found.append((read(texts[graded]) - goals[graded]) ** 2)
            order = torch.argsort((numbers >= start).int(), stable=True)
            yield ALL, torch.cat(found)[order.argsort()]

        weights = np.concatenate([counts, np.isfinite(wanted)])
        losses = fit(model, loss, weights, self.training, rng=rng)
        return np.asarray(np.nanmean(losses[-max(1, len(losses) // 10) :], 0))


def untaught(ensemble: Ensemble, base: Any, seed: int) -> Ensemble:
    """Reward models of the same kind before their training, to train them anew.

    Their heads and adapters are new, on copies of the trunk of `base`; 'heads' and 'lora' are on
    the frozen trunk of the first stage, which learnt from the comparisons.
    """
    known, settings = ensemble.models[0], ensemble.settings
    models = Workshop(settings, base, known.tokenizer, known.limit, seed).untrained()
    if settings.kind in ("heads", "lora"):
        models[0].trunk.load_state_dict(known.trunk.state_dict())
    return Ensemble(models, settings)


@dataclass(frozen=True)
class RefinedWorld(TextWorld):
    """A world of texts whose reward models were refined: those in the folder `refined`."""

    base: TextWorld = TextWorld()
    refined: Path = Path()

    @classmethod
    def of(cls, base: TextWorld, refined: Path) -> "RefinedWorld":
        """The same world, and its models, with other reward models."""
        same = {f.name: getattr(base, f.name) for f in fields(TextWorld) if f.name != "memory"}
        return cls(**same, base=base, refined=refined)

    @property
    def prompts(self) -> list[str]:
        """Those of the base."""
        return self.base.prompts

    @property
    def gold(self) -> Judge | None:
        """That of the base."""
        return self.base.gold

    def policy(self) -> tuple[Any, Any]:
        """That of the base."""
        return self.base.policy()

    def ensembles(self, seed: int) -> tuple[Ensemble, ...]:
        """As `keep_refined` wrote them."""
        bases = self.source.rewards() or [self.policy()]
        return tuple(
            self.ensemble.load(
                _folder(self.refined, seed, index), base, tokenizer, limit=context_length(base)
            )
            for index, (base, tokenizer) in enumerate(bases)
        )


def keep_refined(folder: Path, seed: int, index: int, ensemble: Ensemble) -> None:
    """Write refined reward models, those of one seed on one of the source's trunks."""
    ensemble.save(_folder(folder, seed, index))


def _folder(folder: Path, seed: int, index: int) -> Path:
    return folder / f"ensemble-{seed}-{index}"

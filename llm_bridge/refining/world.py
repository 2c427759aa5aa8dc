"""UGDA on texts: the stages of `theory.refinement_stages`, on a `TextWorld` [ugda2025]."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from llm_bridge.evaluations import Row, evaluated
from llm_bridge.ppo import Trainer
from llm_bridge.refining.collecting import Collecting, Interactions
from llm_bridge.refining.evidence import Collected, held_out
from llm_bridge.refining.experts import reward_expert
from llm_bridge.refining.members import RefinedWorld, Refit, Targets, keep_refined, untaught
from llm_bridge.refining.samples import top_rows
from llm_bridge.rewards.ensembles import Ensemble
from llm_bridge.rewards.evaluation import margins
from llm_bridge.rollout import Rollout
from llm_bridge.settings import Settings
from llm_bridge.states import StateFile
from llm_bridge.text_world import TextWorld
from theory import checks
from theory.errors import InputError
from theory.fingerprint import stamp
from theory.grades import Expert, graded
from theory.objective import Objective
from theory.presets import ensemble_mean
from theory.refinement import Refinement
from theory.refinement_stages import Arrays

BETA = 0.05
COLLECTED = ensemble_mean(BETA)
CERTAIN = 1e-3
"""Temperature of an annotator who goes by the true reward."""


@dataclass(frozen=True)
class TextRefinement:
    """A `theory.refinement_stages.RefinementWorld` of texts; a run is a seed of the `world`.

    folder:      of interactions, checkpoints and gradients, which methods may share.
    own:         folder of one method: refined reward models.
    ppo:         of collection and of retraining; with adapters, whose gradients influence is of.
    expert:      of texts; the true reward if None, which gives each grade to a fifth of a run's
                 interactions.
    collected:   objective of collection. objective: of the policy after refinement.
    steps:       of collection and of retraining; evaluate_every: between rows and saved states.
    checkpoints: of the policy in training, evenly spaced, at which influence is measured.
    tasks:       parts of the validation prompts, in order; validation: held-out comparisons, whose
                 chosen responses are validated on, and none of which is flipped.
    everywhere:  measure influence on all samples, whatever the selection: several share it then.
    refit:       how members learn their targets.
    anew:        train members from the start, as the world trains them, on the comparisons and the
                 targets together, instead of refining trained ones.
    judged:      responses by which a policy is judged at the end; compared: held-out comparisons
                 that reward models are judged by, the first of which are those validated on.

    Collection and retraining go on from their last states, in these folders, where they were
    interrupted, and gradients after the last part.
    """

    world: TextWorld
    seeds: tuple[int, ...]
    folder: Path = field(compare=False)
    own: Path = field(compare=False)
    ppo: Settings = Settings()
    expert: Expert | None = None
    collected: Objective = COLLECTED
    objective: Objective = COLLECTED
    steps: int = 80
    evaluate_every: int = 10
    checkpoints: int = 4
    tasks: int = 2
    validation: int = 128
    everywhere: bool = False
    refit: Refit = Refit()
    anew: bool = False
    judged: int = 512
    compared: int = 512

    def __post_init__(self) -> None:
        for name in ("steps", "evaluate_every", "checkpoints", "tasks", "judged", "compared"):
            checks.positive(name, getattr(self, name))
        if self.validation < self.tasks:
            raise InputError("validation", f"at least one of each of {self.tasks} tasks",
                             self.validation)  # fmt: skip

    @property
    def code(self) -> str:
        """What changes with the code of the stages, and with versions of packages."""
        return stamp(TextRefinement, self.world.source, self.world.ensemble)

    @property
    def due(self) -> tuple[int, ...]:
        """Steps after which the policy is kept."""
        steps = np.linspace(0, self.steps, self.checkpoints + 1).round().astype(int)[1:]
        return tuple(np.unique(steps[steps > 0]).tolist())

    def collect(self) -> Arrays:
        """`scores` (runs, samples, k) of the members, normalised; `step` (runs, samples).

        Texts are in the files that `interactions` reads.
        """
        for seed in self.seeds:
            self._collecting(seed)
        found = [self.interactions(seed) for seed in self.seeds]
        return {
            "scores": np.stack([own.scores for own in found]),
            "step": np.array([own.step for own in found]),
        }

    def interactions(self, seed: int) -> Interactions:
        """What was collected in one run."""
        return self._run(seed).interactions()

    def evidence(self, interactions: Arrays, settings: Refinement) -> Arrays:
        """What `settings.needs`; with influence, also `cosine_std` and `overlap`, (runs,).

        For selection 'both', influence is NaN but where the variance is large, unless it is
        measured `everywhere`. Information is that of `llm_bridge.refining.evidence.Collected`.
        """
        found: dict[str, np.ndarray] = {}
        if "information" in settings.needs:
            count = settings.kept(interactions["scores"].shape[1])
            found["information"] = np.stack(
                [self._run(seed).information(count) for seed in self.seeds]
            )
        if "variance" in settings.needs:
            found["variance"] = interactions["scores"].var(-1, ddof=1)
        if "influence" in settings.needs:
            every = self.everywhere or settings.selection != "both"
            rows = [None] * len(self.seeds) if every else [
                tuple(top_rows(own, settings.gamma).tolist()) for own in found["variance"]
            ]  # fmt: skip
            measured = [
                self._run(seed).influence(settings, own)
                for seed, own in zip(self.seeds, rows, strict=True)
            ]
            found["influence"] = np.stack([one.values for one in measured])
            found["cosine_std"] = np.array([one.cosine_std for one in measured])
            found["overlap"] = np.array([one.overlap for one in measured])
        return found

    def relabel(
        self, interactions: Arrays, chosen: Int[np.ndarray, "runs kept"]
    ) -> Int[np.ndarray, "runs kept"]:
        """What the expert says. Raises `InputError` where there is neither it nor a true reward."""
        grades = []
        for seed, rows in zip(self.seeds, chosen, strict=True):
            own, expert = self.interactions(seed), self.expert
            if expert is None:
                if self.world.gold is None:
                    raise InputError("expert", "given where there is no true reward", "none")
                expert = reward_expert(self.world.gold, own.prompts, own.responses)
            some = (_some(texts, rows) for texts in (own.prompts, own.responses))
            grades.append(graded(expert, *some))
        return np.stack(grades)

    def refine(
        self,
        interactions: Arrays,
        chosen: Int[np.ndarray, "runs kept"],
        targets: Float[np.ndarray, "runs kept k"],
    ) -> Arrays:
        """`loss` (runs, k) of the members at the end; they are in the folder `own`."""
        losses = []
        for seed, rows, wanted in zip(self.seeds, chosen, targets, strict=True):
            own, normaliser = self.interactions(seed), self.world.normaliser(seed)
            prompts, responses = (_some(texts, rows) for texts in (own.prompts, own.responses))
            offset = normaliser.offset
            if normaliser.centring == "prompt":
                offset = offset[normaliser.places(prompts)]
            raw = wanted * normaliser.scale.numpy() + offset.numpy()
            first, met = 0, list[np.ndarray]()
            for index, ensemble in enumerate(self.world.ensembles(seed)):
                members = slice(first, first + ensemble.settings.members)
                its = Targets(tuple(prompts), tuple(responses), raw[:, members])
                refined, loss = self._refined(ensemble, index, its, seed)
                keep_refined(self.own, seed, index, refined)
                first, met = members.stop, [*met, loss]
            losses.append(np.concatenate(met))
        return {"loss": np.stack(losses)}

    def retrain(self, interactions: Arrays, refined: Arrays) -> Arrays:
        """Rows of PPO from the reference, by name (runs, evaluations), and `judged`: see `judge`.

        Also `accuracy` (runs,), the share of held-out comparisons that the members' mean orders as
        the true reward does, or as they are given. Without refined reward models, on those of the
        world; where these were collected from with the same objective, it is the same training.
        """
        world = RefinedWorld.of(self.world, self.own) if refined else self.world
        frames, judged, accuracy = [], [], []
        for seed in self.seeds:
            if not refined and self.objective == self.collected:
                rows, trainer = self._collecting(seed)
            else:
                trainer = world.trainer(self.objective, self.ppo, seed)
                rows = self._evaluated(trainer, self.objective, seed, self.own)
            frames.append(pd.concat(rows))
            judged.append(self.judge(seed, trainer.actor.model))
            pairs = held_out(self.world, self.compared, seed, CERTAIN)
            accuracy.append((margins(world.normaliser(seed), pairs).mean(1) > 0).mean())
        names = map(str, frames[0])
        found = {name: np.array([rows[name].to_list() for rows in frames]) for name in names}
        return {**found, "judged": np.stack(judged), "accuracy": np.array(accuracy)}

    def judge(self, seed: int, model: Any = None) -> Float[np.ndarray, " responses"]:
        """True rewards of `judged` responses of a policy, the reference unless given.

        Prompts come in turn. NaN where there is no true reward.
        """
        prompts = [self.world.prompts[i % len(self.world.prompts)] for i in range(self.judged)]
        texts = self.world.respond(prompts, self.world.generator(seed, "judged"), model)
        if self.world.gold is None:
            return np.full(self.judged, np.nan)
        return np.asarray(self.world.gold(prompts, texts), float)

    def _run(self, seed: int) -> Collected:
        return Collected(
            self.world, seed, self.folder, self.ppo, self.collected, self.due, self.tasks,
            self.validation,
        )  # fmt: skip

    def _collecting(self, seed: int) -> tuple[list[pd.DataFrame], Trainer]:
        """Rows of the collection, and who collected."""
        run = self._run(seed)
        collecting = Collecting(run.trainer(), run.own, self.due)
        return self._evaluated(collecting, self.collected, seed, self.folder), collecting.trainer

    def _refined(
        self, ensemble: Ensemble, index: int, targets: Targets, seed: int
    ) -> tuple[Ensemble, Float[np.ndarray, " k"]]:
        """After training on the targets, and the last losses of the members."""
        if not self.anew:
            return self.refit(ensemble, targets, seed=seed)
        base = (self.world.source.rewards() or [self.world.policy()])[index][0]
        start = untaught(ensemble, base, seed)
        refit = replace(self.refit, training=ensemble.settings.training)
        return refit(start, targets, self.world.pairs(seed), seed=seed)

    def _evaluated(
        self, trainer: Any, objective: Objective, seed: int, folder: Path
    ) -> list[pd.DataFrame]:
        """Rows of a training to the end, which goes on from the last saved state."""
        of = (self.world, self.ppo, objective, seed, self.steps, self.evaluate_every)
        state = StateFile.within(
            folder / "states", "state", of, self.code, accept=self.world.accept_code,
        )  # fmt: skip

        def row(step: int, met: Row, _: Rollout) -> list[Row]:
            return [{"step": step, **met}]

        return list(
            evaluated(
                trainer, row, steps=self.steps, every=self.evaluate_every, state=state,
                device=self.world.policy()[0].device, scheduled=self.ppo.scheduled,
            )
        )  # fmt: skip


def _some(texts: list[str], rows: Int[np.ndarray, " rows"]) -> list[str]:
    return [texts[row] for row in rows.tolist()]

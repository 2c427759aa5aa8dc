"""What is known of the interactions of one run: influence on validation, expected information."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from llm_bridge.caching import cached
from llm_bridge.data.pairs import Pairs
from llm_bridge.ppo import Trainer
from llm_bridge.refining.collecting import Interactions, checkpoint_file, read_interactions
from llm_bridge.refining.influence import Checkpoint, Influence, influence
from llm_bridge.refining.information import NOISE, Features, head_information, head_posterior
from llm_bridge.refining.samples import encoded, validation_batches
from llm_bridge.rewards.adapted import AdaptedRewardModel
from llm_bridge.rewards.evaluation import margins
from llm_bridge.rewards.models import RewardModel
from llm_bridge.settings import Settings
from llm_bridge.text_world import TextWorld
from theory.memory import identity
from theory.objective import Objective
from theory.refinement import Refinement


@dataclass(frozen=True)
class Collected:
    """One run's interactions, and evidence on them; fields as in `TextRefinement`."""

    world: TextWorld
    seed: int
    folder: Path = field(compare=False)
    ppo: Settings
    objective: Objective
    due: tuple[int, ...]
    tasks: int
    validation: int

    @property
    def own(self) -> Path:
        """Of its interactions and checkpoints."""
        return self.folder / f"collected-{self.seed}"

    def interactions(self) -> Interactions:
        """What was collected."""
        return read_interactions(self.own)

    def trainer(self) -> Trainer:
        """PPO as it collects."""
        return self.world.trainer(self.objective, self.ppo, self.seed)

    def influence(self, settings: Refinement, rows: tuple[int, ...] | None) -> Influence:
        """Of some samples, all if None, NaN for the others; asked again, it is remembered.

        What a selection makes of it (its shares, sign, tasks and labels) does not matter here.
        """
        asked = Refinement(
            direction=settings.direction, loss=settings.loss, similarity=settings.similarity,
            dimension=settings.dimension, seed=settings.seed,
        )  # fmt: skip
        return self.world.memory.recall(
            "influence", (identity(self), asked, rows, self.folder),
            lambda: _influence(self, asked, rows), size=4,
        )  # fmt: skip

    def information(self, count: int) -> Float[np.ndarray, " samples"]:
        """Expected information of a grade of each sample, in nats, when `count` are asked in turn.

        A grade is the normalised score plus normal noise of standard deviation `NOISE`. The score
        is known up to `head_posterior`: the Bradley-Terry posterior, given the comparisons, of a
        linear head on what the first member's head sees, around the members' mean margins. What is
        common to the collected responses of a prompt is taken away: no policy depends on it.
        """
        own, pairs = self.interactions(), self.world.pairs(self.seed)
        ensemble = self.world.ensembles(self.seed)[0]
        texts = ((own.prompts, own.responses), (pairs.prompts, pairs.chosen),
                 (pairs.prompts, pairs.rejected))  # fmt: skip
        seen = [_features(ensemble.models[0], *side) for side in texts]
        seen[0] = _centred(seen[0], own.prompts)
        scale = float(self.world.normaliser(self.seed).scale[: ensemble.settings.members].mean())
        known = Features(*seen)
        covariance = head_posterior(known, margins(ensemble, pairs).mean(1), scale)
        return head_information(known.samples, covariance, NOISE, count)


def held_out(world: TextWorld, count: int, seed: int, temperature: float | None = None) -> Pairs:
    """Comparisons that reward models have not seen, none of which is flipped.

    temperature: of the annotator, where the true reward labels them; the world's unless given.
    """
    labelling = replace(world.labelling, pairs=count, noise=0.0)
    if temperature is not None:
        labelling = replace(labelling, temperature=temperature)
    asked = replace(world, labelling=labelling)
    return world.memory.recall(
        "held out", (identity(asked), seed), lambda: asked.pairs(seed, held_out=True), size=4
    )


def _influence(of: Collected, settings: Refinement, rows: tuple[int, ...] | None) -> Influence:
    trainer, own = of.trainer(), of.interactions()
    numbers = np.arange(len(own.step)) if rows is None else np.array(rows)
    tokenizer, limit = trainer.tokenizer, of.world.limit
    pairs = held_out(of.world, of.validation, of.seed)
    described = (
        of.world, of.ppo, of.objective, of.due, of.seed, numbers.tolist(),
        settings.direction, settings.loss, settings.dimension, settings.seed,
        (of.tasks, pairs) if settings.dimension is None else (),
    )  # fmt: skip
    found = influence(
        trainer.actor.eval().model,
        [Checkpoint.load(checkpoint_file(of.own, step), trainer.actor.device) for step in of.due],
        encoded(own, numbers, tokenizer, limit, settings.loss),
        validation_batches(pairs, of.tasks, tokenizer, limit),
        settings,
        cached(of.folder, f"gradients-{of.seed}", described, Collected),
        temperature=trainer.actor.temperature,
    )
    values = np.full((len(own.step), of.tasks), np.nan)
    values[numbers] = found.values
    return found._replace(values=values)


def _features(
    model: RewardModel, prompts: list[str] | tuple[str, ...], texts: list[str] | tuple[str, ...]
) -> Float[np.ndarray, "samples width"]:
    """What the first head of a model sees."""
    if not isinstance(model, AdaptedRewardModel):
        return model.read(model.states, prompts, texts).double().numpy()
    with model.adapters.only(slice(0, 1)):
        return model.read(model.states, prompts, texts).double().numpy()


def _centred(
    features: Float[np.ndarray, "samples width"], prompts: list[str]
) -> Float[np.ndarray, "samples width"]:
    """Less the mean of each prompt."""
    _, places = np.unique(prompts, return_inverse=True)
    sums = np.zeros((places.max() + 1, features.shape[1]))
    np.add.at(sums, places, features)
    return np.asarray(features - (sums / np.bincount(places)[:, None])[places])

"""PPO on many policies as one program: adapters on one frozen model, learners of their own."""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from llm_bridge.data.pairs import Checked, Judge, decode
from llm_bridge.learner import MET, Learner
from llm_bridge.lm.actor import Reading, evaluating
from llm_bridge.lm.restoring import restored
from llm_bridge.lm.sampling import draw
from llm_bridge.lm.stacked_actor import StackedActor
from llm_bridge.lm.stacked_adam import StackedAdamW
from llm_bridge.lm.tokens import below
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.rollout import Rollout, said
from theory import checks
from theory.errors import InputError
from theory.files import output_folder
from theory.policy_gradient import Advantages

ALIKE = ("batch", "epochs", "minibatches", "accumulate", "precision", "decoding", "exact_kl")
"""Settings in which the policies of a population may not differ."""


class Trained(NamedTuple):
    """What one policy did in a step."""

    row: dict[str, float]
    rolled: Rollout


class Population:
    """Policies that differ in objective, reward members, seeds and settings, trained together.

    actor:      one policy a learner, each trained in place.
    normaliser: scores of the reward models, read once for all; members are for the objectives.
    gold:       true reward of texts, for the records alone.
    limit:      tokens of prompt and response together.
    group:      policies that share a pass, which bounds memory; None for all. Results do not
                depend on it.

    Given the same tokens, a policy is trained as `llm_bridge.ppo.Trainer` trains it alone. One
    whose losses or gradients are not finite stays where it was and is named in `stopped`, as is one
    that diverged where its settings end such trainings; the others go on. Raises `InputError` for
    settings that differ where they may not.
    """

    def __init__(
        self,
        actor: StackedActor,
        tokenizer: Any,
        normaliser: Normaliser,
        gold: Judge | None,
        learners: Sequence[Learner],
        *,
        limit: int,
        group: int | None = None,
    ) -> None:
        self.actor, self.tokenizer, self.normaliser = actor, tokenizer, normaliser
        self.gold = None if gold is None else Checked(gold, "gold")
        self.learners, self.limit = list(learners), limit
        self.group = len(learners) if group is None else group
        checks.positive("group", self.group)
        if len(learners) != actor.adapters.members:
            raise InputError("learners", f"{actor.adapters.members}, as policies", len(learners))
        settings = [learner.settings for learner in learners]
        self.settings, self.sampling = settings[0], learners[0].sampling
        for name in ALIKE:
            if len({getattr(own, name) for own in settings}) > 1:
                raise InputError(
                    name, "the same for all policies", [getattr(s, name) for s in settings]
                )
        device = actor.device
        limits = [torch.inf if own.clip_norm is None else own.clip_norm for own in settings]
        self.adam = StackedAdamW(
            actor.trained().values(), weight_decay=[own.weight_decay for own in settings],
            clip_norm=limits, eps=[own.eps for own in settings], device=device,
        )  # fmt: skip
        self.stopped: dict[int, str] = {}
        self.step = 0

    def run(self, steps: int) -> Iterator[tuple[int, dict[int, Trained]]]:
        """Train up to a step: its number, and what each policy did that still goes."""
        while self.step < steps:
            done: dict[int, Trained] = {}
            for group in self.groups():
                started = time.perf_counter()
                rolled = self.rollout(group)
                rows = [self.learners[i].described(r, self.gold)
                        for i, r in zip(group, rolled, strict=True)]  # fmt: skip
                met = self.update(group, rolled, steps)
                tokens = sum(int(r.batch.live.sum()) for r in rolled)
                speed = {"tokens_per_second": tokens / (time.perf_counter() - started)}
                for i, row, own, its in zip(group, rows, rolled, met, strict=True):
                    row |= its
                    self.learners[i].observe(own, row)
                    done[i] = Trained({**row, **speed}, own)
                    if self.learners[i].ended:
                        self.stopped.setdefault(i, self.learners[i].diverged)
            self.step += 1
            yield self.step, done

    @property
    def ended(self) -> bool:
        """Never before the last step: policies end, each by itself."""
        return False

    def groups(self) -> list[list[int]]:
        """Policies that still go, as they share passes."""
        every = range(0, len(self.learners), self.group)
        going = (
            [i for i in range(first, first + self.group)
             if i < len(self.learners) and i not in self.stopped]
            for first in every
        )  # fmt: skip
        return [group for group in going if group]

    @torch.no_grad()
    def rollout(self, group: Sequence[int]) -> list[Rollout]:
        """Sample responses of each policy; read them by it, by the reference, by reward models."""
        asked = [self.learners[i].ask() for i in group]
        prompts = [prompt for own in asked for prompt in own.prompts]
        uniforms = torch.cat([own.uniforms for own in asked])
        return self.respond(group, prompts, uniforms)

    @torch.no_grad()
    def respond(
        self, group: Sequence[int], prompts: list[str], uniforms: torch.Tensor
    ) -> list[Rollout]:
        """Responses to prompts, as many a policy, and what is said of them."""
        actor, members = self.actor, _members(group)
        decoding = self.settings.decoding if isinstance(members, slice) else "eager"
        with evaluating(actor), actor.autocast(), actor.only(members):
            batch = draw(
                actor.model, self.tokenizer, prompts, self.sampling, limit=self.limit,
                uniforms=uniforms, decoding=decoding, finite=False,
            )  # fmt: skip
            texts = decode(self.tokenizer, batch)
            read = said(
                actor, actor.reference, self.normaliser, prompts, texts, batch,
                exact_kl=self.settings.exact_kl,
            )  # fmt: skip
        whole = Rollout(prompts, texts, batch, *read, self.normaliser.places(prompts))
        size = len(prompts) // len(group)
        starts = range(0, len(prompts), size)
        return [whole.part(slice(start, start + size)) for start in starts]

    def update(
        self, group: Sequence[int], rolled: Sequence[Rollout], steps: int
    ) -> list[dict[str, float]]:
        """Epochs of clipped steps on policies and values; means of what each met."""
        learners = [self.learners[i] for i in group]
        found = [own.advantage(r, own.shape(r)) for own, r in zip(learners, rolled, strict=True)]
        rates = [own.rate(steps) for own in learners]
        met: list[list[dict[str, float]]] = [[] for _ in group]
        with evaluating(self.actor), self.actor.only(_members(group)):
            for _ in range(self.settings.epochs):
                for rows in zip(*(own.minibatches() for own in learners), strict=True):
                    each = self._descend(group, rolled, found, rows, rates)
                    for mine, its in zip(met, each, strict=True):
                        mine.append(its)
        return [{name: float(np.mean([m[name] for m in own])) for name in own[0]} for own in met]

    def state(self) -> dict[str, Any]:
        """Everything that training depends on."""
        return {
            "learners": [learner.state() for learner in self.learners],
            "actor": self.actor.trained(),
            "adam": self.adam.state(),
            "stopped": self.stopped,
            "step": self.step,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, to the same numbers as without an interruption.

        Raises `InputError` for a state that is not one of this training.
        """
        for learner, own in zip(self.learners, state["learners"], strict=True):
            learner.load(own)
        stopped = {int(place): str(why) for place, why in state["stopped"].items()}
        if not stopped.keys() <= set(range(len(self.learners))):
            raise InputError("stopped", f"places of {len(self.learners)} policies", stopped)
        restored("weights", state["actor"], self.actor.trained(), finite=not stopped)
        self.adam.load(state["adam"])
        self.stopped, self.step = stopped, int(state["step"])

    def memory(self) -> int:
        """Bytes of what is trained: weights, gradients and two moments, of all policies."""
        return 4 * sum(p.nbytes for p in self.actor.trained().values())

    def save_policy(self, folder: Path, place: int) -> None:
        """One policy's adapter as peft loads it."""
        self.actor.adapters.save_pretrained(output_folder(folder), place)
        self.tokenizer.save_pretrained(folder)

    def _descend(
        self,
        group: Sequence[int],
        rolled: Sequence[Rollout],
        found: Sequence[Advantages],
        rows: Sequence[Int[torch.Tensor, " rows"]],
        rates: Sequence[float],
    ) -> list[dict[str, float]]:
        """A step of each policy on a minibatch of its own; parts of it count by their tokens."""
        device = rolled[0].batch.live.device
        rows = [own.to(device) for own in rows]
        totals = [r.batch.live[own].sum() for r, own in zip(rolled, rows, strict=True)]
        sums = torch.zeros(len(group), len(MET), dtype=torch.float64, device=device)
        self.adam.zero_grad()
        for parts in zip(*(own.chunk(self.settings.accumulate) for own in rows), strict=True):
            batch = below([r.batch[own] for r, own in zip(rolled, parts, strict=True)]).trimmed()
            width, size = batch.live.shape[1], len(parts[0])
            now = self.actor(batch)
            losses = []
            for place, (i, part) in enumerate(zip(group, parts, strict=True)):
                its = slice(place * size, (place + 1) * size)
                before, targets = (
                    [x[part, :width] for x in parts_of]
                    for parts_of in (rolled[place].reading, found[place])
                )
                loss, numbers = self.learners[i].part_of_loss(
                    Reading(*(x[its] for x in now)), Reading(*before), Advantages(*targets),
                    batch.live[its], totals[place],
                )  # fmt: skip
                losses.append(loss)
                sums[place] += numbers
            torch.stack(losses).sum().backward()
        norms = self.adam.norms(group)
        read = torch.cat([sums, norms[:, None]], dim=1).tolist()
        met = [dict(zip((*MET, "grad_norm"), own, strict=True)) for own in read]
        moving = [math.isfinite(sum(own.values())) and i not in self.stopped
                  for i, own in zip(group, met, strict=True)]  # fmt: skip
        for i, own, moves in zip(group, met, moving, strict=True):
            if not moves:
                self.stopped.setdefault(i, f"not finite at step {self.step + 1}: {own}")
        self.adam.step(group, rates, moving, norms)
        return met


def _members(group: Sequence[int]) -> slice | list[int]:
    """A slice where there are no gaps: its parameters are then views, not copies."""
    first, count = group[0], len(group)
    if list(group) == list(range(first, first + count)):
        return slice(first, first + count)
    return list(group)

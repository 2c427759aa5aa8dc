"""PPO on a language model: rollout, shape, advantage, update, and one loop around them."""

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from llm_bridge.data.pairs import Judge, decode
from llm_bridge.lm.actor import Actor, Reading, evaluating, log_probabilities, token_distributions
from llm_bridge.lm.checkpoints import quiet
from llm_bridge.lm.learning_rates import rate
from llm_bridge.lm.lora import without_adapters
from llm_bridge.lm.sampling import Sampling, draw
from llm_bridge.lm.tokens import Batch
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.rollout import Rollout, describe
from llm_bridge.settings import Settings
from llm_bridge.shaping import Shaper, response_level
from theory.errors import InputError
from theory.files import output_folder
from theory.objective import Objective
from theory.penalties import Penalty, TargetKL
from theory.policy_gradient import (
    Advantages,
    Surrogate,
    clipped_surrogate,
    clipped_value_loss,
    gae,
    masked_whiten,
)

EXACT = (None, 1.0)
"""Settings of lam under which charges on the last token are exact."""


class Trainer:
    """One policy under one objective; the state of its training can be saved and put back.

    actor:      trained in place; of its parameters those that ask for gradients.
    reference:  a frozen model, or None for the actor's model below its adapters.
    normaliser: scores of the reward models.
    gold:       true reward of texts, for the records alone.
    prompts:    drawn from, with replacement.
    sampling:   of responses; limit: tokens of prompt and response together.
    """

    def __init__(
        self,
        actor: Actor,
        reference: Any,
        tokenizer: Any,
        normaliser: Normaliser,
        gold: Judge | None,
        prompts: Sequence[str],
        objective: Objective,
        settings: Settings,
        *,
        sampling: Sampling,
        limit: int,
        seed: int,
    ) -> None:
        self.actor, self.reference, self.tokenizer = actor, reference, tokenizer
        self.normaliser, self.gold, self.prompts = normaliser, gold, list(prompts)
        self.settings, self.sampling, self.limit = settings, sampling, limit
        if sampling.truncated:
            warnings.warn(
                "top_k or top_p cut what is sampled: ratios and KL are of the uncut policy",
                stacklevel=2,
            )
        if response_level(objective) and (settings.charge == "spread" or settings.lam not in EXACT):
            warnings.warn(
                "a price that depends on the response is biased unless it is charged on the last "
                "token with lam = 1", stacklevel=2,
            )  # fmt: skip
        self.shaper = Shaper(objective, normaliser, charge=settings.charge, dual=settings.dual)
        strength = objective.strength
        self.target = strength.kl if isinstance(strength, TargetKL) else None
        start = strength.beta if isinstance(strength, Penalty) else settings.controller.start
        self.log_beta = float(np.log(start))
        self.parameters = [p for p in actor.parameters() if p.requires_grad]
        self.adam = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay,
            fused=True,
        )  # fmt: skip
        self.generator = torch.Generator().manual_seed(seed)
        self.rng = np.random.default_rng([seed, 0])
        self.step = 0

    def run(self, steps: int) -> Iterator[tuple[int, dict[str, float], Rollout]]:
        """Train up to a step: its number, its records, and its rollout.

        Schedules of the learning rate end there.
        """
        settings = self.settings
        while self.step < steps:
            started = time.perf_counter()
            for group in self.adam.param_groups:
                share = rate(settings.schedule, self.step, steps, settings.warm_up)
                group["lr"] = settings.learning_rate * share
            rolled = self.rollout()
            advantages = self.advantage(rolled, self.shape(rolled))
            row = {**self._described(rolled), **self.update(rolled, advantages)}
            if self.shaper.weights is not None:
                self.shaper.weights.observe(rolled.scores)
            if self.target is not None:
                moved = settings.controller.moved(
                    np.array(self.log_beta), np.array(row[settings.steer_by]), self.target
                )
                self.log_beta = float(moved)
            tokens = int(rolled.batch.live.sum())
            row["tokens_per_second"] = tokens / (time.perf_counter() - started)
            self.step += 1
            yield self.step, row, rolled

    def state(self) -> dict[str, Any]:
        """Everything that training depends on."""
        weights = self.shaper.weights
        return {
            "actor": {n: p for n, p in self.actor.named_parameters() if p.requires_grad},
            "adam": self.adam.state_dict(),
            "generator": self.generator.get_state(),
            "rng": self.rng.bit_generator.state,
            "step": self.step,
            "log_beta": self.log_beta,
            "member_weights": None if weights is None else weights.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, to the same numbers as without an interruption."""
        self.actor.load_state_dict(state["actor"], strict=False)
        self.adam.load_state_dict(state["adam"])
        self.generator.set_state(state["generator"])
        self.rng.bit_generator.state = state["rng"]
        self.step, self.log_beta = state["step"], state["log_beta"]
        if self.shaper.weights is not None:
            self.shaper.weights.load(state["member_weights"])

    def save_policy(self, folder: Path) -> None:
        """The policy as transformers or peft load it: all weights, or its adapters."""
        with quiet():
            self.actor.model.save_pretrained(output_folder(folder))
        self.tokenizer.save_pretrained(folder)

    @torch.no_grad()
    def rollout(self) -> Rollout:
        """Sample responses; read them by the policy, the reference and the reward models."""
        rows = self.rng.integers(len(self.prompts), size=self.settings.batch)
        chosen = [self.prompts[row] for row in rows]
        uniforms = self.sampling.uniforms(len(chosen), self.generator)
        with evaluating(self.actor), self.actor.autocast():
            batch = draw(
                self.actor.model, self.tokenizer, chosen, self.sampling,
                limit=self.limit, uniforms=uniforms,
            )  # fmt: skip
            reading = self.actor(batch, entropy=True)
            with self.reference_model() as reference:
                before = log_probabilities(reference, batch, temperature=self.sampling.temperature)
            token_kl = self._token_kl(batch) if self.settings.exact_kl else None
        responses = decode(self.tokenizer, batch)
        scores = self.normaliser(chosen, responses)
        places = self.normaliser.places(chosen)
        return Rollout(chosen, responses, batch, reading, before, token_kl, scores, places)

    def shape(self, rolled: Rollout) -> Float[torch.Tensor, "batch time"]:
        """One reward a token."""
        beta, live = float(np.exp(self.log_beta)), rolled.batch.live
        rewards = self.shaper.rewards(
            rolled.scores, rolled.places, rolled.log_ratio.cpu(), live.cpu(), beta
        )
        return rewards.to(live.device)

    def advantage(self, rolled: Rollout, rewards: torch.Tensor) -> Advantages:
        """Generalised advantages, whitened if asked, and value targets."""
        settings = self.settings
        lam = self.shaper.default_lam if settings.lam is None else settings.lam
        live = rolled.batch.live
        found = gae(rewards, rolled.reading.value * live, settings.gamma, lam, live)
        if not settings.whiten:
            return found
        return Advantages(masked_whiten(found.advantages, live), found.returns)

    def update(self, rolled: Rollout, found: Advantages) -> dict[str, float]:
        """Epochs of clipped steps on policy and value; means of what they met."""
        settings, met = self.settings, []
        with evaluating(self.actor):
            for _ in range(settings.epochs):
                order = torch.randperm(settings.batch, generator=self.generator)
                for rows in order.chunk(settings.minibatches):
                    met.append(self._descend(rolled, found, rows))
        return {name: float(np.mean([m[name] for m in met])) for name in met[0]}

    def losses(
        self,
        now: Reading,
        before: Reading,
        found: Advantages,
        live: Bool[torch.Tensor, "batch time"],
    ) -> tuple[Surrogate, Float[torch.Tensor, ""]]:
        """Of policy and values, means over tokens."""
        settings = self.settings
        surrogate = clipped_surrogate(
            now.log_prob, before.log_prob, found.advantages, settings.clip, live
        )
        value = clipped_value_loss(
            now.value, before.value, found.returns, settings.value_clip, live
        )
        return surrogate, value

    def _descend(
        self, rolled: Rollout, found: Advantages, rows: Int[torch.Tensor, "rows"]
    ) -> dict[str, float]:
        """One step of AdamW; parts of a minibatch count by their tokens."""
        settings = self.settings
        total = rolled.batch.live[rows].sum()
        self.adam.zero_grad()
        met = {"policy_loss": 0.0, "value_loss": 0.0, "clip_fraction": 0.0}
        for part in rows.chunk(settings.accumulate):
            batch = rolled.batch[part].trimmed()
            width, live = batch.live.shape[1], batch.live
            now = self.actor(batch)
            before, targets = (
                [x[part, :width] for x in parts] for parts in (rolled.reading, found)
            )
            surrogate, value = self.losses(now, Reading(*before), Advantages(*targets), live)
            share = live.sum() / total
            loss = share * (surrogate.loss + settings.value_coefficient * value)
            loss.backward()
            for name, number in (("policy_loss", surrogate.loss), ("value_loss", value),
                                 ("clip_fraction", surrogate.clip_fraction)):  # fmt: skip
                met[name] += float((share * number).detach())
        grads = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        if settings.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, settings.clip_norm, norm)
        met["grad_norm"] = float(norm)
        if not np.isfinite(sum(met.values())):
            raise InputError("loss", "finite", met, "lower the learning rate")
        self.adam.step()
        return met

    def reference_model(self) -> AbstractContextManager[Any]:
        """The model that the policy started from."""
        if self.reference is None:
            return without_adapters(self.actor.model)
        return nullcontext(self.reference)

    def _token_kl(self, batch: Batch) -> Float[torch.Tensor, "batch time"]:
        """KL of the next token's distribution from the reference's, before each token."""
        temperature = self.sampling.temperature
        now = token_distributions(self.actor.model, batch, temperature=temperature)
        with self.reference_model() as reference:
            before = token_distributions(reference, batch, temperature=temperature)
        return (now.exp() * (now - before)).sum(-1) * batch.live

    def _described(self, rolled: Rollout) -> dict[str, float]:
        """What is recorded of a rollout."""
        utility = self.shaper.utility(rolled.scores, rolled.places)
        row = {"proxy": float(utility.mean()), "beta": float(np.exp(self.log_beta))}
        return {**row, **describe(rolled, self.gold)}

"""PPO on a language model: rollout, shape, advantage, update, and one loop around them."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from llm_bridge.data.pairs import Checked, Judge, decode
from llm_bridge.learner import MET, Learner
from llm_bridge.lm.actor import Actor, Reading, evaluating
from llm_bridge.lm.loading import quiet
from llm_bridge.lm.lora import without_adapters
from llm_bridge.lm.restoring import restored
from llm_bridge.lm.sampling import Sampling, draw
from llm_bridge.lm.tokens import Batch
from llm_bridge.processes import ALONE, Processes
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.rollout import Read, Rollout, drawn, read, said
from llm_bridge.settings import Settings
from theory.errors import InputError
from theory.files import output_folder
from theory.objective import Objective
from theory.policy_gradient import Advantages

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of a parameter, beside the number of its steps."""


class Trainer(Learner):
    """One policy under one objective; the state of its training can be saved and put back.

    actor:      trained in place; of its parameters those that ask for gradients.
    reference:  a frozen model, or None for the actor's model below its adapters.
    normaliser: scores of the reward models.
    gold:       true reward of texts, for the records alone.
    prompts:    drawn from, with replacement.
    sampling:   of responses; limit: tokens of prompt and response together.
    processes:  that train it together: each draws and reads its share of the responses, all know
                all of them, and each takes its share of every part of a minibatch.
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
        processes: Processes = ALONE,
        label: str = "",
    ) -> None:
        processes.check(settings)
        super().__init__(
            normaliser, prompts, objective, settings, sampling=sampling, seed=seed, label=label
        )
        self.actor, self.reference, self.tokenizer = actor, reference, tokenizer
        self.gold = None if gold is None else processes.judged(Checked(gold, "gold"))
        self.limit, self.processes = limit, processes
        self.parameters = [p for p in actor.parameters() if p.requires_grad]
        processes.copy(self.parameters)
        self.adam = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay,
            eps=settings.eps, fused=True,
        )  # fmt: skip

    def run(self, steps: int) -> Iterator[tuple[int, dict[str, float], Rollout]]:
        """Train up to a step: its number, its records, and its rollout.

        Schedules of the learning rate end there. A training that diverged ends before where the
        settings say so.
        """
        while self.step < steps and not self.ended:
            started = time.perf_counter()
            for group in self.adam.param_groups:
                group["lr"] = self.rate(steps)
            rolled = self.rollout()
            row = self.described(rolled, self.gold)
            row |= self.update(rolled, self.advantage(rolled, self.shape(rolled)))
            self.observe(rolled, row)
            tokens = int(rolled.batch.live.sum())
            row["processes"] = self.processes.count
            row["tokens_per_second"] = tokens / (time.perf_counter() - started)
            yield self.step, row, rolled

    def tell(self, why: str) -> None:
        """Say that it diverged, once for all processes."""
        if self.processes.main:
            super().tell(why)

    def state(self) -> dict[str, Any]:
        """Everything that training depends on."""
        return {
            **super().state(),
            "actor": self.trained(),
            "adam": {n: self.adam.state[p] for n, p in self.trained().items()},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, to the same numbers as without an interruption.

        Raises `InputError` for a state that is not one of this training.
        """
        super().load(state)
        trained = self.trained()
        restored("weights", state["actor"], trained)
        for name, parameter in trained.items():
            if state["adam"][name] == {}:  # it never had a gradient
                continue
            own = {"step": torch.zeros((), device=parameter.device)}
            own |= {key: torch.zeros_like(parameter) for key in MOMENTS}
            restored(f"adam of {name},", state["adam"][name], own)
            self.adam.state[parameter] = own

    def trained(self) -> dict[str, torch.Tensor]:
        """What is trained, by name."""
        return {n: p for n, p in self.actor.named_parameters() if p.requires_grad}

    def save_policy(self, folder: Path) -> None:
        """The policy as transformers or peft load it: all weights, or its adapters."""
        with quiet():
            self.actor.model.save_pretrained(output_folder(folder))
        self.tokenizer.save_pretrained(folder)

    @torch.no_grad()
    def rollout(self) -> Rollout:
        """Sample responses; read them by the policy, the reference and the reward models."""
        chosen, uniforms = self.ask()
        share, pad = self.processes.share, self.tokenizer.pad_token_id
        batch = drawn(self.processes, lambda: self._draw(share(chosen), share(uniforms)), pad)
        texts = decode(self.tokenizer, batch)
        said = read(self.processes, lambda: self._read(share(chosen), share(texts), share(batch)))
        return Rollout(chosen, texts, batch, *said, self.normaliser.places(chosen))

    def _draw(self, prompts: list[str], uniforms: Float[torch.Tensor, "prompts time"]) -> Batch:
        with evaluating(self.actor), self.actor.autocast():
            return draw(
                self.actor.model, self.tokenizer, prompts, self.sampling,
                limit=self.limit, uniforms=uniforms, decoding=self.settings.decoding,
            )  # fmt: skip

    def _read(self, prompts: list[str], responses: list[str], batch: Batch) -> Read:
        with evaluating(self.actor), self.actor.autocast():
            return said(
                self.actor, self.reference_model, self.normaliser, prompts, responses, batch,
                exact_kl=self.settings.exact_kl,
            )  # fmt: skip

    def update(self, rolled: Rollout, found: Advantages) -> dict[str, float]:
        """Epochs of clipped steps on policy and value; means of what they met."""
        met = []
        with evaluating(self.actor):
            for _ in range(self.settings.epochs):
                for rows in self.minibatches():
                    met.append(self._descend(rolled, found, rows))
        return {name: float(np.mean([m[name] for m in met])) for name in met[0]}

    def _descend(
        self, rolled: Rollout, found: Advantages, rows: Int[torch.Tensor, " rows"]
    ) -> dict[str, float]:
        """One step of AdamW; parts of a minibatch count by their tokens."""
        settings, rows = self.settings, rows.to(rolled.batch.live.device)
        total = rolled.batch.live[rows].sum()
        self.adam.zero_grad()
        sums = torch.zeros(len(MET), dtype=torch.float64, device=rows.device)
        for part in map(self.processes.share, rows.chunk(settings.accumulate)):
            batch = rolled.batch[part].trimmed()
            width, live = batch.live.shape[1], batch.live
            now = self.actor(batch)
            before, targets = (
                [x[part, :width] for x in parts] for parts in (rolled.reading, found)
            )
            loss, met = self.part_of_loss(now, Reading(*before), Advantages(*targets), live, total)
            loss.backward()
            sums += met
        grads = [p.grad for p in self.parameters if p.grad is not None]
        self.processes.add(grads)
        norm = torch.nn.utils.get_total_norm(grads)
        if settings.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, settings.clip_norm, norm)
        *own, grad_norm = torch.cat([sums, norm[None]]).tolist()
        row = self.processes.totals(dict(zip(MET, own, strict=True)))
        row["grad_norm"] = grad_norm
        if not np.isfinite(sum(row.values())):
            raise InputError("loss", "finite", row, "lower the learning rate")
        self.adam.step()
        return row

    def reference_model(self) -> AbstractContextManager[Any]:
        """The model that the policy started from."""
        if self.reference is None:
            return without_adapters(self.actor.model)
        return nullcontext(self.reference)

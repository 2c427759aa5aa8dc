"""PPO that keeps every interaction, and itself at some steps, for refinement [ugda2025, 4.1]."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from llm_bridge.lm.restoring import restored
from llm_bridge.ppo import Trainer
from llm_bridge.refining.gradients import adapter_matrices, flat
from llm_bridge.refining.influence import Checkpoint
from llm_bridge.rollout import Rollout
from theory.damage import readable
from theory.errors import InputError
from theory.files import digest, output_folder
from theory.influence import AdamState, adam_step_as_printed

FILE = "interactions.jsonl"


class Interactions(NamedTuple):
    """What came by in training, in order.

    tokens: of the responses, as drawn; advantages: of these tokens, as PPO used them.
    scores: of the members, normalised.
    """

    step: list[int]
    prompts: list[str]
    responses: list[str]
    tokens: list[list[int]]
    advantages: list[list[float]]
    scores: Float[np.ndarray, "samples k"]


class Collecting:
    """A `Trainer` of adapters whose interactions go to disk as they come.

    folder: of the interactions, and of a `Checkpoint` after each of the steps that are `due`.

    As a trainer for `llm_bridge.evaluations.evaluated`: what was written after the state from which
    it goes on is written again. Raises `InputError` for a policy without adapters.
    """

    def __init__(self, trainer: Trainer, folder: Path, due: Sequence[int]) -> None:
        self.trainer, self.folder, self.due = trainer, output_folder(folder), frozenset(due)
        self.weights = [matrix.weight for matrix in adapter_matrices(trainer.actor.model)]
        self.printed = AdamState.start(flat(self.weights).double())
        self.written, self.hash, self.kept = 0, hashlib.sha256(), dict[int, str]()
        trainer.adam.register_step_post_hook(lambda *_: self._follow())

    def run(self, steps: int) -> Iterator[tuple[int, dict[str, float], Rollout]]:
        """As `Trainer.run`."""
        with (self.folder / FILE).open("ab") as file:
            file.truncate(self.written)
            for step, row, rolled in self.trainer.run(steps):
                lines = self._lines(step, rolled)
                file.write(lines)
                file.flush()
                self.hash.update(lines)
                self.written = file.tell()
                if step in self.due:
                    path = checkpoint_file(self.folder, step)
                    self._checkpoint().save(path)
                    self.kept[step] = digest(path)
                yield step, row, rolled

    @property
    def ended(self) -> bool:
        """Whether the training ends before its last step."""
        return self.trainer.ended

    def state(self) -> dict[str, Any]:
        """Of the trainer, and how far the file goes."""
        printed = {"first": self.printed.first, "second": self.printed.second}
        return {**self.trainer.state(), "written": self.written, "digest": self.hash.hexdigest(),
                "checkpoints": dict(self.kept),
                "printed": {**printed, "step": self.printed.step}}  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, to the same file as without an interruption.

        Raises `InputError` for a state of another training, or a file that is damaged.
        """
        self.trainer.load(state)
        self.written, path = int(state["written"]), self.folder / FILE
        with path.open("rb") as file:
            self.hash = hashlib.sha256(file.read(self.written))
        if self.hash.hexdigest() != state["digest"]:
            raise InputError("interactions", "as they were collected", path, "collect them again")
        self.kept = {int(step): str(told) for step, told in state["checkpoints"].items()}
        for step, told in self.kept.items():
            if digest(path := checkpoint_file(self.folder, step)) != told:
                raise InputError("checkpoint", "as it was saved", path, "collect again")
        before = {"first": self.printed.first, "second": self.printed.second}
        restored("moments as printed,", {n: state["printed"][n] for n in before}, before)
        self.printed = AdamState(**state["printed"])

    def _lines(self, step: int, rolled: Rollout) -> bytes:
        """One line an interaction."""
        trainer, live = self.trainer, rolled.batch.live
        found = trainer.advantage(rolled, trainer.shape(rolled)).advantages
        lines = [
            {"step": step, "prompt": prompt, "response": response, "tokens": tokens[:length],
             "advantages": advantages[:length], "scores": scores}
            for prompt, response, tokens, advantages, scores, length in zip(
                rolled.prompts, rolled.responses, rolled.batch.responses.tolist(), found.tolist(),
                rolled.scores.members.tolist(), live.sum(1).tolist(), strict=True,
            )
        ]  # fmt: skip
        return "".join(json.dumps(line) + "\n" for line in lines).encode()

    def _checkpoint(self) -> Checkpoint:
        """The adapters, and the moments of their Adam."""
        moments = [self.trainer.adam.state[weight] for weight in self.weights]
        return Checkpoint(
            flat(self.weights),
            flat([own["exp_avg"] for own in moments]),
            flat([own["exp_avg_sq"] for own in moments]),
            self.printed.first,
            self.printed.second,
            int(moments[0]["step"]),
            float(self.trainer.adam.param_groups[0]["lr"]),
        )

    def _follow(self) -> None:
        """One step of the printed recursion, on the gradients that Adam has just used."""
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in self.weights]
        self.printed = adam_step_as_printed(flat(gradients).double(), self.printed).state


def checkpoint_file(folder: Path, step: int) -> Path:
    """Of the policy after so many steps."""
    return folder / f"policy-{step:06d}.safetensors"


def read_interactions(folder: Path) -> Interactions:
    """All that a `Collecting` wrote. Raises `InputError` for a file that is damaged."""
    path = folder / FILE
    with readable(path, "interactions", "as they were collected", "collect them again"):
        with path.open(encoding="utf-8", newline="") as file:
            lines = [json.loads(line) for line in file]
        columns = {name: [line[name] for line in lines] for name in lines[0]}
        return Interactions(
            columns["step"], columns["prompt"], columns["response"], columns["tokens"],
            columns["advantages"], np.array(columns["scores"], float),
        )  # fmt: skip

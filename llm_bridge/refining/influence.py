"""Influence of a policy's samples on validation losses, over checkpoints of its training.

A gradient is turned into the step that Adam would make of it, and then into features: few numbers
that keep what its inner products with the validation gradients are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file

from llm_bridge.lm.tokens import Batch
from llm_bridge.refining.gradients import adapter_matrices, put, sample_gradients
from llm_bridge.refining.store import GradientStore
from llm_bridge.rewards.reading import of_similar_length
from theory.arrays import Array
from theory.damage import readable
from theory.files import write
from theory.influence import (
    AdamState,
    adam_step,
    adam_step_as_printed,
    cosine_influence,
    sgd_influence,
)
from theory.projection import SignProjection, median_split_overlap
from theory.refinement import Refinement

STEPS = {"adam": adam_step, "as_printed": adam_step_as_printed}
TEXTS, TOKENS = 256, 2**14
"""Most samples of a pass, and most tokens, padding among them."""
HELD, LEAST = 2**27, 64
"""Bytes of steps that are projected together, as each block of signs is drawn once for all of them,
and the least number of samples, whatever their size."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Adapters of a policy in training, and moment averages of their Adam after `updates` updates.

    The printed recursion's [ugda2025, Eq. 6] are float64, since they grow without bound.
    """

    parameters: Float[torch.Tensor, " parameters"]
    first: Float[torch.Tensor, " parameters"]
    second: Float[torch.Tensor, " parameters"]
    first_as_printed: Float[torch.Tensor, " parameters"]
    second_as_printed: Float[torch.Tensor, " parameters"]
    updates: int
    learning_rate: float

    def save(self, path: Path) -> None:
        """As safetensors, whole or not at all."""
        tensors = {
            name: torch.tensor(value, dtype=torch.float64) if isinstance(value, float) else
            torch.as_tensor(value) for name, value in vars(self).items()
        }  # fmt: skip
        write(path, lambda file: save_file(tensors, file))

    @staticmethod
    def load(path: Path, device: Any = "cpu") -> "Checkpoint":
        """What `save` wrote. Raises `InputError` for a file that is damaged."""
        with readable(path, "checkpoint", "as it was saved", "collect again"):
            found: dict[str, Any] = dict(load_file(path, device=str(device)))
            found["updates"] = int(found["updates"])
            return Checkpoint(**{**found, "learning_rate": float(found["learning_rate"])})

    def step(
        self, gradients: Float[torch.Tensor, "samples parameters"], direction: str
    ) -> Float[torch.Tensor, "samples parameters"]:
        """What Adam would make of each gradient as the next one; the gradient itself for 'sgd'."""
        if direction == "sgd":
            return gradients
        first, second = self.first, self.second
        if direction == "as_printed":
            first, second = self.first_as_printed, self.second_as_printed
        state = AdamState(first, second, self.updates)
        return STEPS[direction](gradients.to(first.dtype), state).direction.to(gradients.dtype)


class Samples(NamedTuple):
    """Texts and, for PPO's surrogate, weights of their tokens."""

    batch: Batch
    weights: Float[torch.Tensor, "samples time"] | None = None

    def some(self, rows: range) -> "Samples":
        """Those of a range."""
        part = slice(rows.start, rows.stop)
        return Samples(self.batch[part], None if self.weights is None else self.weights[part])


@dataclass(frozen=True, eq=False)
class Span:
    """Features that lose nothing: coordinates in the span of what is asked for, and what is left.

    Inner products with vectors of the span, and lengths, are exact, at the cost of as many products
    a vector as there are directions. They answer for these directions alone, unlike a
    `SignProjection`.
    """

    basis: Float[torch.Tensor, "parameters tasks"]

    @classmethod
    def of(cls, vectors: Float[torch.Tensor, "tasks parameters"]) -> "Span":
        """Of some vectors."""
        return cls(torch.linalg.qr(vectors.T)[0])

    def __call__(
        self, vectors: Float[torch.Tensor, "samples parameters"]
    ) -> Float[torch.Tensor, "samples features"]:
        """Coordinates, and the length of what is beside them."""
        inside = vectors @ self.basis
        squares = (vectors.square().sum(-1) - inside.square().sum(-1)).clamp(min=0)
        return torch.cat([inside, squares.sqrt()[:, None]], -1)


class Influence(NamedTuple):
    """Of samples on tasks, summed over checkpoints.

    cosine_std: of the samples' cosines, mean over checkpoints and tasks, without what the
                projection adds to it; overlap: expected share of a top half that exact cosines
                would choose as well (`median_split_overlap`), 1 without a projection.
    """

    values: Float[np.ndarray, "samples tasks"]
    cosine_std: float
    overlap: float


def influence(
    model: Any,
    checkpoints: Sequence[Checkpoint],
    samples: Samples,
    validation: Sequence[Batch],
    settings: Refinement,
    folder: Path,
    *,
    temperature: float = 1.0,
) -> Influence:
    """Sum over checkpoints of learning rate x cosine(validation gradient, step of Adam)
    [xia2024, Def. 3.1; ugda2025, Eq. 11]; inner products for similarity 'raw'.

    model:      a policy with adapters, which are left as at the last checkpoint.
    validation: chosen responses of each task, whose mean negative log-likelihood is its loss.
    folder:     of the features, checkpoint by checkpoint; what is there is not computed again. One
                for each set of samples and checkpoints, and without a dimension of validation.
    """
    weights = [matrix.weight for matrix in adapter_matrices(model)]
    found, spread = [], []
    for number, point in enumerate(checkpoints):
        put(point.parameters, weights)
        aims = torch.stack([_mean_gradient(model, task, temperature) for task in validation])
        project: Callable[[Array], Array] = Span.of(aims)
        if settings.dimension is not None:
            project = SignProjection(settings.dimension, settings.seed)

        def features(
            rows: range, point: Checkpoint = point, project: Callable[[Array], Array] = project
        ) -> np.ndarray:
            steps = point.parameters.new_empty(len(rows), len(point.parameters))
            for places, part in sample_batches(model, samples.some(rows), temperature):
                steps[places] = point.step(part, settings.direction)
            return np.asarray(project(steps).cpu().numpy())

        described = {
            name: value
            for name, value in asdict(settings).items()
            if name in ("direction", "loss", "dimension", "seed")
        }
        store = GradientStore.start(
            folder / str(number), len(samples.batch), part_size(len(point.parameters)), described
        )
        asked = project(aims).cpu().numpy()
        parts = [_alike(asked, part) for _, part in store.parts(features)]
        cosines = np.concatenate([cosine for cosine, _ in parts])
        raw = np.concatenate([product for _, product in parts])
        spread.append(cosines.std(0))
        found.append((cosines if settings.similarity == "cosine" else raw) * point.learning_rate)
    noise = 0.0 if settings.dimension is None else 1 / settings.dimension
    std = float(np.sqrt(np.maximum(np.square(spread) - noise, 0)).mean())
    overlap = 1.0 if settings.dimension is None else median_split_overlap(std, settings.dimension)
    return Influence(np.sum(found, 0), std, overlap)


def part_size(parameters: int) -> int:
    """Samples whose steps are held at once, in float32."""
    return max(LEAST, HELD // (4 * parameters))


def _alike(
    asked: Float[np.ndarray, "tasks features"], features: Float[np.ndarray, "samples features"]
) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and inner products, (samples, tasks)."""
    aims, rows, one = asked[None], features[None], np.ones(1)
    return cosine_influence(aims, rows, one), sgd_influence(aims, rows, one)


def sample_batches(
    model: Any, samples: Samples, temperature: float
) -> Iterator[tuple[Int[torch.Tensor, " rows"], Float[torch.Tensor, "rows parameters"]]]:
    """Of all samples, in batches of similar length: which rows, and their gradients."""
    for rows in of_similar_length(samples.batch, texts=TEXTS, tokens=TOKENS):
        batch, own = samples.batch[rows].trimmed().to(model.device), samples.weights
        if own is not None:
            own = own[rows, : batch.live.shape[1]].to(model.device)
        yield rows, sample_gradients(model, batch, own, temperature=temperature)


def _mean_gradient(
    model: Any, batch: Batch, temperature: float
) -> Float[torch.Tensor, " parameters"]:
    found = sample_batches(model, Samples(batch), temperature)
    return sum((part.sum(0) for _, part in found), torch.zeros(())) / len(batch)

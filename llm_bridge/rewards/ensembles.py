"""Reward ensembles on transformers: what members share, and what each of them sees."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_model, save_model
from transformers import AutoModel

from llm_bridge.data.pairs import Pairs
from llm_bridge.lm.checkpoints import fuse_activations
from llm_bridge.lm.loading import build, check_weights, load_config, load_tokenizer
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.snapshots import commit_of
from llm_bridge.rewards.brme import Brme
from llm_bridge.rewards.fusion import side_by_side
from llm_bridge.rewards.kinds import Models, Recipe, Workshop
from llm_bridge.rewards.models import RewardTraining
from theory.damage import readable
from theory.errors import InputError
from theory.files import output_folder, write, write_text
from theory.integrity import SUMS, check_sums, write_sums
from theory.scores import Scores

DESCRIPTION, WEIGHTS = "ensemble.json", "ensemble.safetensors"


class Parameters(NamedTuple):
    """How many numbers members are trained by, and how many are loaded to score a text."""

    trained: int
    loaded: int


@dataclass(frozen=True)
class EnsembleSettings(Recipe):
    """Which reward models are trained, and how."""

    def train(
        self, base: Any, tokenizer: Any, pairs: Pairs, *, limit: int, seed: int
    ) -> "Ensemble":
        """Fit all members on copies of the trunk of a language model."""
        models, losses = Workshop(self, base, tokenizer, limit, seed).trained(pairs)
        return Ensemble(models, self, losses)

    def load(self, folder: Path | str, base: Any, tokenizer: Any, *, limit: int) -> "Ensemble":
        """What `Ensemble.save` wrote, on copies of the trunk of a language model.

        Raises `InputError` where the folder holds nothing, another ensemble, or a damaged one.
        """
        folder = Path(folder)
        saved, _ = _described(folder)
        names = ("kind", "members", "lora") if self.kind == "lora" else ("kind", "members")
        for name in names:
            if getattr(saved, name) != getattr(self, name):
                raise InputError(
                    name, f"that of the files in {folder}, {getattr(saved, name)!r}",
                    repr(getattr(self, name)), "or use Ensemble.from_pretrained(folder)",
                )  # fmt: skip
        models, path = Workshop(self, base, tokenizer, limit, seed=0).untrained(), folder / WEIGHTS
        hint = "use Ensemble.from_pretrained(folder) where the base is another"
        with readable(path, "weights", "those of reward models on this base", hint):
            load_model(torch.nn.ModuleList(models), path)
        check_weights(torch.nn.ModuleList(models), "folder", str(folder))
        return Ensemble(models, self)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Trained reward models, frozen; each has one head or several.

    losses: of every stage of the training, (steps, heads); none where it was loaded.
    """

    models: Models
    settings: EnsembleSettings
    losses: Mapping[str, Float[np.ndarray, "steps heads"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for model in self.models:
            model.eval().requires_grad_(False)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Raw scores of all members, (samples, k)."""
        return side_by_side([model.score(prompts, responses) for model in self.models])

    def parameters(self) -> Parameters:
        """Counts of [zhang2024, sec. 3.1]; a part that members share is loaded once."""
        sizes = {name: p.numel() for name, p in torch.nn.ModuleList(self.models).named_parameters()}
        frozen = self.settings.kind in ("heads", "lora")
        own = [n for name, n in sizes.items() if ".head." in name or ".adapters." in name]
        return Parameters(sum(own if frozen else sizes.values()), sum(sizes.values()))

    def save(self, folder: Path | str) -> None:
        """Weights, settings, configuration, tokenizer and checksums, for `from_pretrained`.

        `commit` in the description is that of the trunk on the hub, if it came from there.
        """
        folder = output_folder(Path(folder))
        (folder / SUMS).unlink(missing_ok=True)
        model = self.models[0]
        model.trunk.config.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        write(folder / WEIGHTS, partial(save_model, torch.nn.ModuleList(self.models)))
        about = {
            "limit": model.limit, "dtype": str(model.trunk.dtype).removeprefix("torch."),
            "commit": commit_of(Path(model.trunk.config.name_or_path)),
        }  # fmt: skip
        write_text(folder / DESCRIPTION, json.dumps({**about, **asdict(self.settings)}, indent=2))
        write_sums(folder)

    save_pretrained = save

    @staticmethod
    def from_pretrained(folder: Path | str, *, device: str = "cpu") -> "Ensemble":
        """What `save` wrote, from the folder alone.

        Raises `InputError` where it holds no ensemble, or a damaged one.
        """
        folder = Path(folder)
        settings, about = _described(folder)
        config = load_config(folder)
        with torch.random.fork_rng():
            trunk = build(AutoModel, config, getattr(torch, about["dtype"]))
        fuse_activations(trunk)
        tokenizer = load_tokenizer(folder)
        return settings.load(folder, trunk.to(device), tokenizer, limit=about["limit"])


def _described(folder: Path) -> tuple[EnsembleSettings, dict[str, Any]]:
    """Settings of a saved ensemble, and what else is written beside them."""
    check_sums(folder, "folder")
    required = f"one that Ensemble.save wrote, with {DESCRIPTION}"
    with readable(folder, "folder", required, "make it anew, or restore it from a copy"):
        found = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        about = {"limit": int(found.pop("limit")), "dtype": str(found.pop("dtype"))}
        found.pop("commit", None)
        found["training"] = RewardTraining(**found["training"])
        if found["first"] is not None:
            found["first"] = RewardTraining(**found["first"])
        found["lora"] = Lora(**{**found["lora"], "targets": tuple(found["lora"]["targets"])})
        found["brme"] = Brme(**found["brme"])
        return EnsembleSettings(**found), about

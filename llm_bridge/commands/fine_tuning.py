"""`sft`: a language model that has learnt responses to prompts."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from llm_bridge.caching import default_cache
from llm_bridge.commands.options import check_file
from llm_bridge.data.reading import read_texts
from llm_bridge.launching import check_device
from llm_bridge.lm.checkpoints import context_length, load_policy
from llm_bridge.lm.loading import quiet
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.sft import FineTuning, fine_tune
from llm_bridge.sources import Embedded
from theory.errors import InputError
from theory.files import output_folder
from theory.integrity import SUMS, write_sums


@dataclass(frozen=True)
class Sft:
    """Fine-tune a language model on demonstrations, or make the embedded one."""

    scale: str = "tiny"
    """Of the embedded language. Not used with --policy."""
    policy: str | None = None
    """Checkpoint of a causal language model: a folder, or a name on the hub."""
    texts: str | None = None
    """File (CSV, JSON lines, Parquet) or data set of prompts and responses."""
    count: int | None = None
    """Texts that are drawn from it; all unless given."""
    sft: FineTuning = FineTuning()
    adapter_rank: int | None = None
    """Train low-rank adapters of this rank, in place of all weights."""
    seed: int = 0
    """Of texts that are drawn, batches and adapters, with --policy."""
    device: str = "cpu"
    """Where a checkpoint is trained, e.g. cuda."""
    cache: Path | None = None
    """Folder of the embedded model; $RLHF_RISK_CACHE or ~/.cache/rlhf-risk unless given."""
    out: Path = Path("out/sft")
    """Folder of the model, as transformers or peft load it."""


def sft(options: Sft) -> None:
    """The model, and its losses."""
    check_device(options.device)
    if options.policy is None:
        for name in ("texts", "count", "adapter_rank"):
            if getattr(options, name) is not None:
                raise InputError(name, "given with --policy only", getattr(options, name))
        model, tokenizer = Embedded(options.scale, sft=options.sft).policy(
            default_cache(options.cache)
        )
    else:
        model, tokenizer = _tuned(options, options.policy)
    (output_folder(options.out) / SUMS).unlink(missing_ok=True)
    with quiet():
        model.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    write_sums(options.out)
    print(f"model in {options.out.resolve()}")


def _tuned(options: Sft, policy: str) -> tuple[object, object]:
    if options.texts is None:
        raise InputError(
            "texts", "given with --policy", "none", "pass a file with columns prompt and response"
        )
    check_file("texts", options.texts)
    output_folder(options.out)
    model, tokenizer = load_policy(policy, device=options.device)
    rng, limit = np.random.default_rng(options.seed), context_length(model)
    texts = read_texts(
        options.texts, tokenizer=tokenizer, count=options.count, rng=rng, limit=limit
    )
    if options.adapter_rank is None:
        model.requires_grad_(True)
    else:
        Lora(options.adapter_rank).attach(model, "default", seed=options.seed)
    losses = fine_tune(
        model, tokenizer, texts, options.sft, rng=rng, limit=limit,
        progress=lambda steps: tqdm(steps, unit="step", disable=None),
    )  # fmt: skip
    tenth = max(1, len(losses) // 10)
    print(f"loss {np.mean(losses[:tenth]):.3f} -> {np.mean(losses[-tenth:]):.3f} nats a token")
    return model, tokenizer

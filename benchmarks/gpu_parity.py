"""A device against the CPU: the same weights, texts and random numbers."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import torch

from benchmarks.gpu_models import (
    HEADS,
    TINY,
    Context,
    built,
    clean,
    make_tokenizer,
    make_trainer,
    sharp,
)
from llm_bridge.lm.actor import Actor, response_states
from llm_bridge.lm.head import logits
from llm_bridge.lm.sampling import Sampling, sample
from llm_bridge.lm.tokens import Batch
from llm_bridge.rewards.models import RewardModel
from llm_bridge.rollout import Rollout
from theory.policy_gradient import Advantages

ROWS, WIDTH, TOKENS = 64, 5, 10
FLOAT32 = 1e-3
"""Relative error that another order of additions explains in float32."""


def parity(context: Context) -> Iterator[tuple[str, Any]]:
    """Tables of errors relative to the CPU in float32, ||found - expected|| / ||expected||."""
    exact = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        rows = []
        for name, make in context.scale.parity.items():
            rows += _compared(name, make(), context)
            yield "errors", rows
        judged = [row["within"] for row in rows if row["within"] is not None]
        yield "float32 within tolerance", all(judged)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = exact


def _compared(name: str, config: Any, context: Context) -> list[dict[str, Any]]:
    """Rows of one architecture: what is read, what is drawn, and what an update does."""
    cpu = torch.device("cpu")
    here = built(config, cpu)
    here = sharp(here) if name in TINY else here
    there = deepcopy(here).to(context.device)
    uniforms = Sampling(TOKENS).uniforms(ROWS, torch.Generator().manual_seed(0))
    batch = _drawn(here, uniforms, "eager")
    rows = []
    expected = {**_read(here, batch, "float32"), **_scored(here, batch)}
    for precision in ("float32", "bfloat16"):
        found = _read(there, batch.to(context.device), precision)
        if precision == "float32":
            found |= _scored(there, batch.to(context.device))
        rows += [_row(name, precision, what, _error(found[what], expected[what])) for what in found]
    for precision in ("float32", "bfloat16"):
        for decoding in ("eager", "graphs"):
            with torch.autocast(
                context.device.type, torch.bfloat16, enabled=precision == "bfloat16"
            ):
                drawn = _drawn(there, uniforms, decoding)
            row = _row(name, precision, f"tokens, {decoding}", 1 - _same(drawn, batch))
            rows.append({**row, "within": None})
    rows += _updated(name, here, there, context)
    clean(context.device)
    return rows


def _row(model: str, precision: str, what: str, error: float) -> dict[str, Any]:
    within = error <= FLOAT32 if precision == "float32" else None
    return {
        "model": model, "precision": precision, "what": what, "error": error, "within": within
    }  # fmt: skip


def _error(found: torch.Tensor, expected: torch.Tensor) -> float:
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((found - expected).norm() / expected.norm().clamp(min=1e-30))


def _drawn(model: Any, uniforms: torch.Tensor, decoding: str) -> Batch:
    """Responses to prompts of several lengths."""
    words = model.config.vocab_size
    mask = torch.arange(WIDTH) >= (torch.arange(ROWS) % WIDTH)[:, None]
    prompts = torch.randint(words - 1, (ROWS, WIDTH), generator=torch.Generator().manual_seed(1))
    return sample(
        model, (prompts * mask).to(model.device), mask.to(model.device), Sampling(TOKENS),
        eos=words - 1, pad=words - 1, uniforms=uniforms, decoding=decoding,
    )  # fmt: skip


def _same(found: Batch, expected: Batch) -> float:
    """Share of equal tokens."""
    width = max(found.live.shape[1], expected.live.shape[1])
    one, other = (
        torch.nn.functional.pad(b.responses.cpu(), (0, width - b.live.shape[1]), value=-1)
        for b in (found, expected)
    )
    return float((one == other).float().mean())


@torch.no_grad()
def _read(model: Any, batch: Batch, precision: str) -> dict[str, torch.Tensor]:
    """What an actor with random values says of the live tokens."""
    actor = Actor(model, precision=precision)
    _value_head(actor)
    reading, live = actor(batch, entropy=True), batch.live
    with actor.autocast():
        found = logits(model, response_states(model, batch)[live]).float()
    return {
        "logits": found, "log-probabilities": reading.log_prob[live],
        "entropies": reading.entropy[live], "values": reading.value[live],
    }  # fmt: skip


def _value_head(actor: Actor) -> None:
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(actor.value_head.weight.shape, generator=generator)
    with torch.no_grad():
        actor.value_head.weight.copy_(weight / weight.norm())


@torch.no_grad()
def _scored(model: Any, batch: Batch) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        reward = RewardModel(deepcopy(model.base_model).cpu(), None, heads=HEADS, limit=64)
    return {"reward scores": reward.to(model.device).eval()(batch)}


def _updated(name: str, here: Any, there: Any, context: Context) -> list[dict[str, Any]]:
    """One PPO update from the same rollout: of parameters, and of their changes.

    Adam's first step has the size of the learning rate whatever the gradient: where that is
    rounding alone, so is the sign of the change.
    """
    tokenizer = make_tokenizer(here.config.vocab_size)

    def trainer(model: Any, precision: str) -> Any:
        settings = context.scale.settings(
            batch=16, epochs=1, precision=precision, learning_rate=1e-4
        )
        made = make_trainer(model, tokenizer, _lengths, settings, prompt=WIDTH, response=TOKENS)
        _value_head(made.actor)
        return made

    one = trainer(here, "float32")
    rolled = one.rollout()
    found = one.advantage(rolled, one.shape(rolled))
    order = one.generator.get_state()
    before, expected = _moved(lambda: one.update(rolled, found), one)
    rows = []
    for precision in ("float32", "bfloat16"):
        other = trainer(there, precision)
        other.generator.set_state(order)
        on_it = _to(rolled, context.device), Advantages(*(x.to(context.device) for x in found))
        _, after = _moved(lambda other=other, on_it=on_it: other.update(*on_it), other)
        change = _error(after - before, expected - before)
        rows.append(_row(name, precision, "parameters after an update", _error(after, expected)))
        rows.append({**_row(name, precision, "change by an update", change), "within": None})
    return rows


def _lengths(_: Any, responses: Any) -> Any:
    from theory.scores import Scores

    return Scores(torch.tensor([[float(len(text)) + len(set(text))] for text in responses]))


def _moved(act: Callable[[], Any], trainer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Parameters before and after."""
    before = _flat(trainer)
    act()
    return before, _flat(trainer)


def _flat(trainer: Any) -> torch.Tensor:
    return torch.cat([p.detach().cpu().double().flatten() for p in trainer.parameters])


def _to(rolled: Rollout, device: torch.device) -> Rollout:
    return rolled._replace(
        batch=rolled.batch.to(device), reading=type(rolled.reading)(
            *(x.to(device) for x in rolled.reading)
        ), reference=rolled.reference.to(device),
    )  # fmt: skip

"""What a run costs before it starts: steps, tokens, parameters, memory and arithmetic.

Lengths are means; padding is left out. A model is counted once for each copy that is loaded.
"""

from llm_bridge.lm.sft import FineTuning
from llm_bridge.plans.architectures import Architecture
from llm_bridge.plans.costs import BYTES, MOMENTS, Lengths, Memory, Model
from llm_bridge.plans.stages import Stage
from llm_bridge.rewards.ensembles import EnsembleSettings
from llm_bridge.rewards.models import SCORE_BATCH, RewardTraining
from llm_bridge.settings import Settings

RESPOND_BATCH = 256
"""Responses that `llm_bridge.data.pairs.respond` draws at once."""
GRADIENT_BATCH = 256
"""Most samples of a pass of `llm_bridge.refining.influence`."""


def fine_tuning_stage(model: Model, settings: FineTuning, lengths: Lengths) -> Stage:
    """Supervised fine-tuning of a language model on prompts and responses."""
    texts = settings.steps * settings.batch
    work = model.activations(settings.batch, lengths.text)
    work += model.logits(settings.batch * lengths.response)
    return Stage(
        "fine-tuning", settings.steps, texts * lengths.text, model.trainable, model.loaded,
        Memory(model.weights(), model.training(), work),
        model.learn(texts * lengths.text, texts * lengths.response),
    )  # fmt: skip


def reward_stages(
    trunk: Architecture,
    ensemble: EnsembleSettings,
    lengths: Lengths,
    *,
    pairs: int,
    dtype: str = "float32",
) -> list[Stage]:
    """Reward models of an ensemble, after the first stage of the kinds that have one.

    lengths: of one side of a pair, both of which are read. The language model that trunks are
    copied from stays loaded. Of pairs that resamples leave out, the mean number.
    """
    kind, members, both = ensemble.kind, ensemble.members, 2 * lengths.text
    whole = Model(trunk, dtype=dtype, trunk=True)
    given = pairs if ensemble.first_share == 1 else round(ensemble.first_share * pairs)
    rest = pairs if ensemble.first_share == 1 else pairs - given
    stages, before = [], 0.0
    if kind not in ("independent", "shared_trunk"):
        heads = members if kind == "lora" else 1
        made = _reward_stage("reward model", whole, ensemble.first or ensemble.training, lengths,
                             pairs=given, heads=heads)  # fmt: skip
        stages.append(made)
        before = 0.0 if kind == "lora" else whole.forward(rest * both)
    loaded = trunk.parameters + reward_parameters(trunk, ensemble)
    if kind == "heads":
        own = members * (trunk.width + 1)
        memory = Memory(
            BYTES[dtype] * loaded, (1 + MOMENTS) * whole.widened * own,
            whole.passing(SCORE_BATCH, lengths.text),
        )  # fmt: skip
        stages.append(
            Stage("reward heads", 1, pairs * both, own, loaded, memory, whole.forward(pairs * both))
        )
        return stages
    models = passes(ensemble)
    each = Model(trunk, ensemble.lora, dtype, trunk=True) if kind == "lora" else whole
    one = _reward_stage(
        "reward ensemble", each, ensemble.training, lengths,
        pairs=rest * _share(ensemble, rest, members // models),
        heads=members // models * (2 if kind == "brme" else 1),
    )  # fmt: skip
    memory = one.memory._replace(weights=BYTES[dtype] * loaded)
    stages.append(
        Stage(
            "reward ensemble", models * one.steps, models * one.tokens, models * one.trainable,
            loaded, memory, models * one.flops + before,
        )
    )  # fmt: skip
    return stages


def ppo_stage(
    policy: Architecture,
    settings: Settings,
    lengths: Lengths,
    *,
    steps: int,
    trunk: Architecture,
    ensemble: EnsembleSettings,
    dtype: str = "float32",
) -> Stage:
    """PPO: responses, their reading by policy, reference and reward models, and the updates.

    With adapters the reference is the model
    below them; else it is a copy. trunk: of the reward models.
    """
    actor = Model(policy, settings.lora, dtype, settings.precision)
    critic = Model(policy, None, dtype, settings.precision, trunk=True)
    separate = int(settings.critic == "separate")
    texts, words = settings.batch, settings.batch * lengths.response
    tokens, part = texts * lengths.text, settings.minibatches * settings.accumulate
    reward = Model(trunk, ensemble.lora if ensemble.kind == "lora" else None, dtype, trunk=True)
    read = actor.forward(tokens, words)
    flops = (3 + 2 * settings.exact_kl) * read + separate * critic.forward(tokens)
    flops += settings.epochs * (actor.learn(tokens, words) + separate * critic.learn(tokens))
    flops += passes(ensemble) * reward.forward(tokens)
    head, reference = policy.width + 1, policy.parameters if settings.lora is None else 0
    others = separate * critic.loaded + head + reference + reward_parameters(trunk, ensemble)
    update = actor.activations(texts / part, lengths.text) + actor.logits(words / part)
    update += separate * critic.activations(texts / part, lengths.text)
    rollout = max(
        actor.cache(tokens) + actor.logits(texts),
        actor.logits(words),
        reward.passing(min(texts, SCORE_BATCH), lengths.text),
    )
    memory = Memory(
        actor.weights() + BYTES[dtype] * others,
        actor.training() + separate * critic.training(),
        max(update, rollout),
    )
    trainable = actor.trainable + separate * critic.trainable + head
    loaded = actor.loaded + others
    return Stage("PPO", steps, steps * tokens, trainable, loaded, memory, steps * flops)


def refit_stage(
    trunk: Architecture,
    ensemble: EnsembleSettings,
    training: RewardTraining,
    lengths: Lengths,
    *,
    labels: float,
    pairs: float = 0,
    dtype: str = "float32",
) -> Stage:
    """Squared error of all members on labelled texts, and beside it on pairs [ugda2025, Eq. 14]."""
    model = Model(trunk, ensemble.lora if ensemble.kind == "lora" else None, dtype, trunk=True)
    steps = max(1, round(training.epochs * (labels + pairs) / training.batch))
    reads = training.epochs * (labels + 2 * pairs) * lengths.text * passes(ensemble)
    loaded = reward_parameters(trunk, ensemble)
    work = model.activations(training.batch / training.accumulate, lengths.text)
    learnt = model.trainable * (ensemble.members if ensemble.kind == "lora" else 1)
    return Stage(
        "reward models anew" if pairs else "refits", passes(ensemble) * steps, reads, learnt,
        2 * loaded, Memory(2 * BYTES[dtype] * loaded, model.training(), work), model.learn(reads),
    )  # fmt: skip


def gradient_stage(
    policy: Architecture,
    settings: Settings,
    lengths: Lengths,
    *,
    samples: float,
    checkpoints: int,
    dtype: str = "float32",
) -> Stage:
    """Gradients of samples at checkpoints of a policy's adapters [ugda2025, Eq. 11]."""
    model = Model(policy, settings.lora, dtype, settings.precision)
    tokens, words = (checkpoints * samples * n for n in (lengths.text, lengths.response))
    batch = min(samples, GRADIENT_BATCH)
    work = model.activations(batch, lengths.text) + model.logits(batch * lengths.response)
    return Stage(
        "gradients", -(-int(checkpoints * samples) // GRADIENT_BATCH), tokens, 0, model.loaded,
        Memory(model.weights(), 4 * batch * model.trainable, work), model.learn(tokens, words),
    )  # fmt: skip


def response_stage(
    model: Model, lengths: Lengths, *, responses: int, name: str = "responses"
) -> Stage:
    """Sampling of responses, e.g. of those that are compared, or that scores are centred on."""
    batch = min(responses, RESPOND_BATCH)
    work = model.cache(batch * lengths.text) + model.logits(batch)
    return Stage(
        name, -(-responses // RESPOND_BATCH), responses * lengths.text, 0, model.loaded,
        Memory(model.weights(), 0, work),
        model.forward(responses * lengths.text, responses * lengths.response),
    )  # fmt: skip


def scoring_stage(
    model: Model, lengths: Lengths, *, texts: int, batch: int = 16, name: str = "scoring"
) -> Stage:
    """Reading of texts by a judge, or by one reward model."""
    return Stage(
        name, -(-texts // batch), texts * lengths.text, 0, model.loaded,
        Memory(model.weights(), 0, model.passing(batch, lengths.text)),
        model.forward(texts * lengths.text),
    )  # fmt: skip


def passes(ensemble: EnsembleSettings) -> int:
    """Forward passes of a trunk that score a text by all members."""
    return ensemble.members if ensemble.kind in ("independent", "lora") else 1


def reward_parameters(trunk: Architecture, ensemble: EnsembleSettings) -> int:
    """Parameters that are loaded to score, as `Recipe` counts them."""
    k, copies = ensemble.members, ensemble.members if ensemble.kind == "independent" else 1
    heads = k * (trunk.width + 1) * (2 if ensemble.kind == "brme" else 1)
    adapters = k * trunk.adapters(ensemble.lora, trunk=True) if ensemble.kind == "lora" else 0
    return copies * trunk.trunk + heads + adapters


def _share(ensemble: EnsembleSettings, pairs: int, heads: int) -> float:
    """Of the pairs, those that at least one of a model's heads counts, on average."""
    if ensemble.sees == "bootstrap":
        return float(1 - (1 - 1 / pairs) ** (pairs * heads))
    return heads / ensemble.members if ensemble.sees == "disjoint" else 1.0


def _reward_stage(
    name: str,
    model: Model,
    training: RewardTraining,
    lengths: Lengths,
    *,
    pairs: float,
    heads: int,
) -> Stage:
    """One model, trained on pairs beside the language model that it was copied from."""
    steps = max(1, round(training.epochs * pairs / training.batch))
    tokens = 2 * training.batch * steps * lengths.text
    own = heads * (model.architecture.width + 1)
    loaded = model.architecture.parameters + model.loaded + own
    memory = Memory(
        BYTES[model.dtype] * loaded,
        model.training(),
        model.activations(2 * training.batch / training.accumulate, lengths.text),
    )
    return Stage(name, steps, tokens, model.trainable + own, loaded, memory, model.learn(tokens))

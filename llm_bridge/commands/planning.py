"""`--dry-run`: what a run would do and cost, before anything is loaded."""

from dataclasses import replace

from llm_bridge.commands.options import Training, World
from llm_bridge.commands.papers import PAPERS
from llm_bridge.commands.refining import Ugda
from llm_bridge.plans.architectures import PUBLISHED, architecture
from llm_bridge.plans.costs import Lengths, Model
from llm_bridge.plans.plan import (
    gradient_stage,
    ppo_stage,
    refit_stage,
    response_stage,
    reward_stages,
    scoring_stage,
)
from llm_bridge.plans.stages import Stage, table
from theory.errors import InputError


def plan(options: World) -> str:
    """A table of stages, the options that matter, and a paper's notes.

    Raises `InputError` for models whose architecture cannot be known, and prompts that leave no
    room for a response.
    """
    stages = [_repeated(stage, options.data_sets) for stage in _preparation(options)]
    if isinstance(options, Training):
        stages.append(_repeated(_ppo(options), options.policies))
    if isinstance(options, Ugda):
        stages += _refining(options)
    if (judge := _judge(options)) is not None:
        stages.append(judge)
    lines = [table(stages, tflops=options.plan.tflops, utilisation=options.plan.utilisation), ""]
    lines += [f"{name}: {value}" for name, value in _told(options).items()]
    if options.preset is not None:
        lines += ["", f"{options.preset}:"]
        lines += [f"- {note}" for note in PAPERS[options.preset].notes]
    return "\n".join(lines)


def _preparation(options: World) -> list[Stage]:
    """Comparisons, reward models and reference responses of one preference data set."""
    policy, trunks = options.source().architectures()
    lengths, labelling = _lengths(options), options.labelling
    model, stages = Model(policy, dtype=options.dtype), []
    if options.preferences is None:
        stages.append(response_stage(
            model, lengths, responses=2 * labelling.pairs, name="pairs"
        ))  # fmt: skip
    compared, text = lengths, options.plan.text
    if options.preferences is not None and text is not None:
        compared = Lengths(text / 2, text / 2)
    for trunk in trunks or [policy]:
        stages += reward_stages(
            trunk, options.ensemble, compared, pairs=labelling.pairs, dtype=options.dtype
        )
    prompts = options.source().asked() * options.references
    return [*stages, response_stage(model, lengths, responses=prompts, name="references")]


def _ppo(options: Training) -> Stage:
    """One policy."""
    policy, trunks = options.source().architectures()
    if len(trunks) > 1:
        raise InputError("reward", "one checkpoint, for a plan of PPO", len(trunks))
    return ppo_stage(
        policy, options.settings(), _lengths(options), steps=options.steps,
        trunk=(trunks or [policy])[0], ensemble=options.ensemble, dtype=options.dtype,
    )  # fmt: skip


def _refining(options: Ugda) -> list[Stage]:
    """Gradients of what is collected, and reward models after relabelling, at the default share."""
    policy, trunks = options.source().architectures()
    lengths, samples = _lengths(options), options.steps * options.ppo.batch
    asked = samples if options.everywhere else samples * (1 - options.refinement.gamma)
    labels, trunk = options.refinement.kept(samples), (trunks or [policy])[0]
    refits, anew = options.refits
    found = [
        (gradient_stage(policy, options.settings(), lengths, samples=asked + options.validation,
                        checkpoints=options.checkpoints, dtype=options.dtype), options.projections),
        (refit_stage(trunk, options.ensemble, options.refit.training, lengths, labels=labels,
                     dtype=options.dtype), refits),
        (refit_stage(trunk, options.ensemble, options.ensemble.training, lengths, labels=labels,
                     pairs=options.labelling.pairs, dtype=options.dtype), anew),
    ]  # fmt: skip
    return [_repeated(stage, times) for stage, times in found if times]


def _judge(options: World) -> Stage | None:
    """The true reward of all responses of PPO, where it is a model."""
    if not isinstance(options, Training) or options.judge not in PUBLISHED:
        return None
    texts = options.policies * options.steps * options.ppo.batch
    model = Model(architecture(options.judge), dtype=options.dtype, trunk=True)
    return scoring_stage(model, _lengths(options), texts=texts, name="judge")


def _told(options: World) -> dict[str, object]:
    """Options that decide what a run is about."""
    names = ["policy", "reward", "judge", "prompts", "preferences", "seeds", "labelling",
             "sampling", "ensemble"]  # fmt: skip
    told = {name: getattr(options, name) for name in names}
    if isinstance(options, Training):
        told["objectives"] = "; ".join(f"{k}: {o}" for k, o in options.objectives().items())
        told |= {"steps": options.steps, "ppo": options.settings()}
    return {name: value for name, value in told.items() if value not in (None, ())}


def _lengths(options: World) -> Lengths:
    return Lengths(options.plan.prompt, options.sampling.tokens)


def _repeated(stage: Stage, times: int) -> Stage:
    """The same as often, one after the other."""
    return replace(
        stage, name=f"{stage.name} x {times}" if times > 1 else stage.name,
        steps=stage.steps * times, tokens=stage.tokens * times, flops=stage.flops * times,
    )  # fmt: skip

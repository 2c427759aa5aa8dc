"""Options that commands share: which world, and how PPO trains in it."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from joblib import delayed

from llm_bridge.arithmetic import DTYPES, check_precision, warn_where_slow
from llm_bridge.caching import default_cache
from llm_bridge.data.pairs import Labelling
from llm_bridge.embedded.tiny import SIZES
from llm_bridge.judging.named import try_judge
from llm_bridge.launching import check_device
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.sampling import Sampling
from llm_bridge.rewards.ensembles import EnsembleSettings
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.settings import Settings
from llm_bridge.shaping import check_trainable
from llm_bridge.sources import Checkpoint, Embedded, Source
from llm_bridge.text_world import TextWorld
from theory import checks
from theory.backends import connected
from theory.errors import InputError
from theory.objective import Objective
from theory.penalties import Strength, TargetKL, short
from theory.presets import preset
from theory.tables import SUFFIXES

FULL = "full"
OWN = ("reward", "judge", "prompts", "count", "limit", "drop_bad", "preferences")
"""Options of a user's own checkpoints and data."""


@dataclass(frozen=True)
class Planning:
    """What --dry-run assumes."""

    prompt: float = 8.0
    """Mean tokens of a prompt."""
    text: float | None = None
    """Mean tokens of one side of a given comparison."""
    tflops: float | None = None
    """Speed of a device in TFLOP/s, for times."""
    utilisation: float = 0.4
    """Share of it that is reached."""


@dataclass(frozen=True)
class World:
    """Which language model, prompts, reward models and true reward."""

    preset: str | None = None
    """A paper's hyperparameters, over which other options win: banerjee2024, rewardrobust2024,
    adaptive2024, ugda2025 or zhang2024."""
    scale: str = "tiny"
    """The embedded language, with nothing to download: tiny (0.1 million parameters), small or
    medium; with --preset, that paper's method on it. `full` is the paper's own. Not used with
    --policy."""
    policy: str | None = None
    """Checkpoint of a causal language model: a folder, or a name on the hub."""
    reward: tuple[str, ...] = ()
    """Checkpoints on whose trunks reward models are trained, one ensemble on each, all of them
    members in the end; the policy's unless given."""
    judge: str | None = "kindness"
    """True reward of a checkpoint's texts: kindness (kind words, no repeats), a published reward
    model, or module:function of your own. The embedded language has its own."""
    prompts: str | None = None
    """File (CSV, JSON lines, Parquet) or data set of prompts, or of texts that open with them."""
    count: int = 256
    """Prompts that are drawn from it, or all where there are fewer."""
    limit: int | None = None
    """Tokens that a prompt, or one side of a comparison, may have."""
    drop_bad: bool = False
    """Leave out rows of data that cannot be used, with a warning, rather than stop."""
    preferences: str | None = None
    """File or data set of comparisons. Without one, responses of the policy are labelled by the
    judge."""
    labelling: Labelling = Labelling(3000)
    ensemble: EnsembleSettings = EnsembleSettings(training=RewardTraining(epochs=2))
    sampling: Sampling = Sampling()
    references: int = 64
    """Responses of the reference for each prompt, on which scores are centred; at least 8."""
    centring: str = "prompt"
    """Of scores: by prompt, or global, one mean a member."""
    normalise: str = "standardised"
    """Scores of reward models: centred, as in theory and in the toy; standardised, also divided by
    the spread of each member, the unit in which the default strengths are; or none."""
    seeds: int = 3
    """Preference data sets; each has reward models of its own."""
    workers: int = 1
    """Processes; one thread each."""
    device: str = "cpu"
    """Where models run, e.g. cuda."""
    dtype: str = "float32"
    """Of the weights: float32, or float64, which is twice as slow and differs less between
    processors; of a checkpoint's also bfloat16 or float16."""
    cache: Path | None = None
    """Folder of trained models; $RLHF_RISK_CACHE or ~/.cache/rlhf-risk unless given."""
    dry_run: bool = False
    """Print what would be done, with parameters, memory and arithmetic, and stop."""
    plan: Planning = Planning()

    @property
    def data_sets(self) -> int:
        """Preference data sets whose reward models are trained."""
        return self.seeds

    def source(self) -> Source:
        """Embedded, or checkpoints. Raises `InputError` for a checkpoint without prompts."""
        if self.policy is None:
            for name in OWN:
                default = next(f.default for f in fields(World) if f.name == name)
                if getattr(self, name) != default:
                    raise InputError(
                        name, "given with --policy only", repr(getattr(self, name)),
                        "the embedded language has its own",
                    )  # fmt: skip
            if self.scale == FULL:
                raise InputError("scale", "a size of the embedded language without --preset", FULL)
            checks.one_of("scale", self.scale, SIZES)
            return Embedded(self.scale, device=self.device, dtype=self.dtype)
        if self.prompts is None:
            raise InputError(
                "prompts", "given with --policy", "none", "pass a file with a column `prompt`"
            )
        return Checkpoint(
            self.policy, self.prompts, self.reward, self.judge, self.preferences, self.count,
            limit=self.limit, drop_bad=self.drop_bad, device=self.device, dtype=self.dtype,
        )  # fmt: skip

    def world(self) -> TextWorld:
        """The world of these options."""
        return TextWorld(
            self.source(), self.labelling, self.ensemble, self.references,
            self.centring, self.sampling, self.normalise,
            cache=default_cache(self.cache),
        )  # fmt: skip

    def check(self) -> None:
        """Raise `InputError` for bad numbers, a device, file or judge that is not there."""
        for name in ("seeds", "workers"):
            checks.positive(name, getattr(self, name))
        check_device(self.device)
        checks.one_of("dtype", self.dtype, DTYPES)
        warn_where_slow(self.device, self.dtype)
        for name in ("prompts", "preferences"):
            check_file(name, getattr(self, name))
        if self.policy is not None:
            try_judge(self.judge)

    def loaded(self) -> TextWorld:
        """Load the policy. Raises `InputError` as `check`, before anything is loaded."""
        self.check()
        world = self.world()
        world.policy()
        return world

    def prepare(self, world: TextWorld) -> None:
        """Train all models of a world, or take them from the cache."""
        _ = world.policy(), world.gold
        print(f"reward models of {self.seeds} preference data sets ...", flush=True)
        with connected("loky", self.workers) as pool:
            list(pool(delayed(_prepare)(world, seed) for seed in range(self.seeds)))

    def prepared(self, world: TextWorld | None = None) -> TextWorld:
        """Prepare a world, `loaded` unless given. Raises `InputError` as `check`."""
        world = world or self.loaded()
        self.prepare(world)
        return world


@dataclass(frozen=True)
class Training(World):
    """How policies are trained, on top of the world."""

    beta: tuple[float, ...] = ()
    """Strength of the penalty, one for all objectives or one for each; their own defaults unless
    given."""
    kl: float | None = None
    """Target KL in nats a response, to which beta is steered from above, instead of a strength."""
    objective: tuple[str, ...] = ()
    """Presets: vanilla, ensemble_mean, wco, best_case, lcb, uwo, entropic, chi_square,
    variance_aware, variance_aware_kl, variance_aware_ppo, reward_robust, reward_robust_policy,
    brme, global_dro, adaptive ..."""
    steps: int = 80
    """PPO iterations."""
    evaluate_every: int = 5
    """Iterations between rows of the records and between saved states."""
    ppo: Settings = Settings(learning_rate=3e-4)
    adapter_rank: int | None = None
    """Train low-rank adapters of this rank, in place of all weights."""
    resume: bool = False
    """Go on where a run was interrupted, or to more steps than it had."""
    accept_code: bool = False
    """Go on though the code, or a package, is another than that of the run; rows say which."""

    @property
    def policies(self) -> int:
        """Policies that are trained."""
        return self.seeds * len(self.objective)

    def check(self) -> None:
        """Raise `InputError` as for a world, and for a precision that its dtype excludes."""
        super().check()
        check_precision(self.ppo.precision, DTYPES[self.dtype])
        warn_where_slow(self.device, self.ppo.precision)

    def settings(self) -> Settings:
        """Of PPO."""
        for name in ("steps", "evaluate_every"):
            checks.positive(name, getattr(self, name))
        if self.adapter_rank is None:
            return self.ppo
        lora = replace(self.ppo.lora or Lora(), rank=self.adapter_rank)
        return replace(self.ppo, lora=lora)

    def objectives(self) -> dict[str, Objective]:
        """By name, at beta or at the target KL.

        Raises `InputError` for unknown ones, and those that these reward models do not suffice for.
        """
        strengths: tuple[float | Strength, ...] = self.beta
        if self.kl is not None:
            strengths = (TargetKL(self.kl),)
        made, recipe = presets(self.objective, strengths), self.ensemble
        for objective in made.values():
            check_trainable(
                objective, members=recipe.members * max(1, len(self.reward)),
                spread=recipe.kind == "brme",
            )  # fmt: skip
        return made


def presets(
    names: tuple[str, ...], strengths: tuple[float | Strength, ...] = ()
) -> dict[str, Objective]:
    """Presets by name, at their own strengths, at one for all, or each at its own.

    Raises `InputError` for unknown names, and another number of strengths.
    """
    if len(strengths) not in (0, 1, len(names)):
        raise InputError("beta", f"one, or one for each of {', '.join(names)}", strengths)
    each = strengths if len(strengths) == len(names) else (strengths or (None,)) * len(names)
    made = [preset(name, strength) for name, strength in zip(names, each, strict=True)]
    labels = [
        f"{name} {short(objective.strength)}" if names.count(name) > 1 else name
        for name, objective in zip(names, made, strict=True)
    ]
    if len(set(labels)) < len(labels):
        raise InputError("objective", "none twice at one strength", ", ".join(labels))
    return dict(zip(labels, made, strict=True))


def check_file(argument: str, path: str | None) -> None:
    """Raise `InputError` for a file that is not there; other names may be of data sets."""
    if path is None or not path.removesuffix(".gz").endswith(SUFFIXES):
        return
    if not Path(path).expanduser().is_file():
        raise InputError(argument, "an existing file", path, "check the path and the folder")


def _prepare(world: TextWorld, seed: int) -> None:
    torch.set_num_threads(1)
    world.normaliser(seed)

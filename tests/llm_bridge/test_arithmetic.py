"""float64 throughout, initial weights alike on every processor, and what precisions go together."""

import hashlib
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from llm_bridge import arithmetic
from llm_bridge.actors import make_actor
from llm_bridge.commands.options import Training, World
from llm_bridge.data.pairs import Labelling, Pairs
from llm_bridge.embedded import pretraining
from llm_bridge.embedded.tiny import SIZES, build_model, build_tokenizer
from llm_bridge.lm.initial import adapter, linear, normal, uniform
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.sampling import Sampling
from llm_bridge.lm.sft import FineTuning
from llm_bridge.lm.stacked import StackedLora
from llm_bridge.population_world import PopulationWorld
from llm_bridge.refining.members import Refit, Targets
from llm_bridge.rewards.brme import Brme
from llm_bridge.rewards.ensembles import EnsembleSettings
from llm_bridge.rewards.kinds import KINDS, Workshop
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.settings import Settings
from llm_bridge.shaping import check_trainable
from llm_bridge.sources import Embedded
from llm_bridge.text_world import TextWorld
from tests.llm_bridge.dispatches import elsewhere
from tests.tolerance import ALPHA
from theory.errors import InputError
from theory.penalties import TargetKL
from theory.presets import PRESETS, preset

INSTANCES = 11
"""Ways to train, for each kind of reward models."""
SMALLER = (torch.float32, torch.bfloat16, torch.float16)


class Lost(TorchDispatchMode):
    """Operations that make smaller numbers of float64, and where they were asked for."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        before, after = (
            {x.dtype for x in tree_iter(tree) if isinstance(x, torch.Tensor)}
            for tree in ((args, kwargs), out)
        )
        if torch.float64 in before and after & set(SMALLER):
            self.found.add(str(function))
        return out


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind, marks=() if kind in ("lora", "brme") else pytest.mark.slow)
        for kind in KINDS
    ],
)
def exact(request, tmp_path_factory):
    """A world in float64 with one kind of reward models, and what was lost in making it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "TEXTS", 64)
        patch.setitem(SIZES, "least", (1, 16, 2))
        world = TextWorld(
            Embedded("least", sft=FineTuning(steps=2, batch=16), dtype="float64"),
            labelling=Labelling(30),
            ensemble=EnsembleSettings(
                request.param, 2, training=RewardTraining(epochs=1, batch=15, accumulate=3)
            ),
            references=8, sampling=Sampling(3), cache=tmp_path_factory.mktemp("exact"),
        )  # fmt: skip
        with Lost() as lost:
            world.normaliser(0)
        yield world, lost


def test_models_are_made_in_float64(exact):
    world, lost = exact
    assert lost.found == set()
    ensemble = world.ensembles(0)[0]
    weights = [*world.policy()[0].parameters(), *torch.nn.ModuleList(ensemble.models).parameters()]
    assert {p.dtype for p in weights} == {torch.float64}
    assert ensemble(["the"], ["food"]).members.dtype == torch.float64


def ways(kind):
    """Ways to train on such reward models that nobody chose."""
    rng, found = np.random.default_rng(KINDS.index(kind)), []
    names = sorted(PRESETS)
    while len(found) < INSTANCES:
        objective = preset(names[rng.integers(len(names))], 0.1)
        try:
            check_trainable(objective, members=2, spread=kind == "brme")
        except InputError:
            continue
        if rng.random() < 0.3:
            objective = replace(objective, strength=TargetKL(0.5))

        def any_of(*options):
            return options[rng.integers(len(options))]

        found.append((objective, Settings(
            batch=4, epochs=1, minibatches=any_of(1, 2), accumulate=any_of(1, 2),
            critic=any_of("shared", "separate"), lora=any_of(None, Lora(2), Lora(2, dropout=0.1)),
            decoding=any_of("eager", "eager", "graphs"), exact_kl=any_of(False, True),
            charge=any_of("auto", "last", "spread"), whiten=any_of(True, False),
            clip_norm=any_of(1.0, None), eps=any_of(1e-8, 1e-5),
            schedule=any_of("constant", "cosine"),
        )))  # fmt: skip
    return found


def test_no_digit_is_lost_in_training(exact):
    world, _ = exact
    for number, (objective, settings) in enumerate(ways(world.ensemble.kind)):
        with warnings.catch_warnings(), Lost() as lost:
            warnings.simplefilter("ignore", UserWarning)  # of biased charges
            trainer = world.trainer(objective, settings, 0)
            ((_, row, _),) = trainer.run(1)
        assert lost.found == set(), (number, objective, settings)
        assert np.isfinite(row["kl"])
        assert {p.dtype for p in trainer.parameters} == {torch.float64}


def test_no_digit_is_lost_by_populations(exact):
    world, _ = exact
    made = PopulationWorld(world, trials=1, judged=8)
    settings = Settings(batch=8, epochs=1, minibatches=1, lora=Lora(2))
    with Lost() as lost:
        population = made.population(preset("ensemble_mean", None), settings, (0, 1))
        next(population.run(1))
        made.judge(population)
    assert lost.found == set()


def test_no_digit_is_lost_in_refits(exact):
    world, _ = exact
    pairs, refit = world.pairs(1), Refit(RewardTraining(epochs=1))
    wanted = np.linspace(-1, 1, 2 * len(pairs)).reshape(-1, 2)
    targets = Targets(pairs.prompts, pairs.chosen, wanted)
    with Lost() as lost:
        refined, _ = refit(world.ensembles(0)[0], targets, pairs, seed=0)
    assert lost.found == set()
    assert refined(["the"], ["food"]).members.dtype == torch.float64


def digest(*tensors):
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().double().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def drawn():
    """Digests of all that is random before a training, and of 60 sizes that nobody chose."""
    found, tokenizer = {}, build_tokenizer()
    for size in ("tiny", "small", "medium"):
        for dtype in (torch.float32, torch.float64):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                model = build_model(size, tokenizer, dtype)
            found[f"{size}, {dtype}"] = digest(*model.parameters())
            if size != "tiny":
                continue
            for kind in KINDS:
                made = Workshop(EnsembleSettings(kind, 3), model, tokenizer, 64, seed=1).untrained()
                found[f"{kind}, {dtype}"] = digest(*torch.nn.ModuleList(made).parameters())
            actor = make_actor(model, Settings(lora=Lora(3)), temperature=1.0, seed=5)
            found[f"adapter, {dtype}"] = digest(*actor.parameters())
            stack = StackedLora(model.requires_grad_(False), Lora(3), (5, 6))
            found[f"adapters, {dtype}"] = digest(*stack.parameters())
            stack.remove()
    rng = np.random.default_rng(0)
    for number in range(60):
        width, outputs = rng.integers(1, 130, size=2).tolist()
        dtype = (torch.float32, torch.float64)[number % 2]
        generator = torch.Generator().manual_seed(number)
        with torch.random.fork_rng():
            torch.manual_seed(number)
            layer = linear(width, outputs, dtype=dtype, device=torch.device("cpu"))
        bound = rng.random()
        found[f"{number}: {width} x {outputs}"] = digest(
            *layer.parameters(), adapter(width, outputs, generator=generator).to(dtype),
            uniform(width, outputs, bound=bound, dtype=dtype, generator=generator),
            normal(width, outputs, dtype=dtype, generator=generator),
        )  # fmt: skip
    return found


@pytest.mark.slow
@pytest.mark.machine
def test_initial_weights_are_those_of_another_processor():
    assert elsewhere("tests.llm_bridge.test_arithmetic", "drawn") == drawn()


@pytest.mark.parametrize("width", [16, 64])
def test_they_have_the_distribution_of_torch(width):
    """Kolmogorov-Smirnov, on numbers that are fixed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = linear(width, 4096 // width, dtype=torch.float64, device=torch.device("cpu"))
    weights = found.weight.detach().flatten().numpy()
    assert stats.kstest(weights, "uniform", (-(width**-0.5), 2 * width**-0.5)).pvalue > ALPHA
    assert float(found.bias.detach().abs().max()) <= width**-0.5
    generator = torch.Generator().manual_seed(0)
    assert stats.kstest(normal(4096, generator=generator).numpy(), "norm").pvalue > ALPHA


def test_noise_of_gaussian_heads_is_drawn_in_float64(monkeypatch):
    """`torch.randn` in float32 differs between processors: nothing here asks for it."""
    kept, asked = torch.randn, []
    monkeypatch.setattr(
        torch, "randn", lambda *a, **k: asked.append(k.get("dtype")) or kept(*a, **k)
    )
    tokenizer = build_tokenizer()
    workshop = Workshop(
        EnsembleSettings("brme", 2, brme=Brme(), training=RewardTraining(epochs=1)),
        build_model("tiny", tokenizer), tokenizer, 64, seed=0,
    )  # fmt: skip
    workshop.trained(Pairs(("a",) * 4, ("the food",) * 4, ("food the",) * 4))
    assert asked
    assert set(asked) == {torch.float64}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float", ""])
def test_the_embedded_language_has_two_precisions(dtype):
    with pytest.raises(InputError, match=r"dtype.*one of float32, float64"):
        Embedded(dtype=dtype)
    assert World(dtype="float64").source() == Embedded(dtype="float64")
    with pytest.raises(InputError, match="dtype"):
        World(dtype=dtype).source()


def test_bfloat16_products_of_a_float64_model_are_refused(monkeypatch):
    tokenizer, settings = build_tokenizer(), Settings(precision="bfloat16")
    model = build_model("tiny", tokenizer, torch.float64)
    with pytest.raises(InputError, match=r"precision.*float64"):
        make_actor(model, settings, temperature=1.0, seed=0)

    def loaded(*_):
        raise AssertionError("something was loaded")

    monkeypatch.setattr(Embedded, "policy", loaded)
    with pytest.raises(InputError, match=r"precision.*float64"):
        Training(dtype="float64", ppo=settings).prepared()


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("asked", [{"dtype": "bfloat16"}, {"ppo": Settings(precision="bfloat16")}])
def test_slow_bfloat16_is_warned_of(asked, fast, monkeypatch):
    monkeypatch.setattr(arithmetic, "fast_bfloat16", lambda: fast)
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        Training().check()
        assert met == []
        Training(**asked).check()
    assert [w for w in met if "bfloat16 is slower" not in str(w.message)] == []
    assert len(met) == (not fast)

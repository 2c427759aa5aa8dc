"""A population against its policies alone, and what may not depend on the others."""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from peft import PeftModel

from llm_bridge.learner import Learner
from llm_bridge.lm.actor import Actor, log_probabilities
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.stacked_actor import StackedActor
from llm_bridge.lm.tokens import encode
from llm_bridge.population import Population
from llm_bridge.population_world import PopulationWorld
from llm_bridge.ppo import Trainer
from llm_bridge.provenance import origin
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.seeds import hash_seed
from llm_bridge.settings import Settings
from tests.tolerance import FLOAT32
from theory.errors import InputError
from theory.penalties import TargetKL
from theory.presets import adaptive, reward_robust_policy, vanilla, variance_aware_ppo
from theory.scores import Scores

PPO = Settings(batch=8, learning_rate=3e-3, lora=Lora(4))
MIXED = (
    (vanilla(0.1, member=2), PPO),
    (variance_aware_ppo(0.3), replace(PPO, learning_rate=1e-3, clip_norm=None, weight_decay=0.1)),
    (adaptive(TargetKL(0.5)), replace(PPO, schedule="cosine", warm_up=1, lam=1.0)),
    (reward_robust_policy(0.05), replace(PPO, clip=0.1, whiten=False, value_coefficient=0.5)),
)
STEPS = 3
LOGITS = 1e-5
RELATIVE = {torch.float32: 1e-5, torch.float64: 1e-12}
"""Largest relative differences of parameters: one product over the rows of all policies is not
bitwise that of one policy's rows."""
SHAPES = 0.25
"""Responses of more policies are padded to the longest of all."""
NOISE = ("tokens_per_second", "processes")


def said(prompts, responses):
    """Scores of three members that depend on no other text."""
    words = [[text.count(word) for word in (" is", " and", " .")] for text in responses]
    return Scores(torch.tensor(words, dtype=torch.float32))


@pytest.fixture(scope="module")
def plain(quick):
    """A world whose scores are the same bits in any batch."""
    texts = (" is", " and is", " .", " and", "", " is .", " . .", " . and")
    normaliser = Normaliser.fit(said, {prompt: texts for prompt in quick.prompts})  # noqa: C420
    return SimpleNamespace(
        policy=quick.policy, prompts=quick.prompts, sampling=quick.sampling, limit=quick.limit,
        gold=quick.gold, normaliser=lambda seed: normaliser,
    )  # fmt: skip


def model_of(world, dtype):
    return deepcopy(world.policy()[0]).to(dtype)


def learner_of(world, seed, objective, settings):
    return Learner(
        world.normaliser(0), world.prompts, objective, settings, sampling=world.sampling,
        seed=hash_seed(seed, "ppo"),
    )  # fmt: skip


def together(world, mixed=MIXED, *, dtype=torch.float32, group=None, judge=True):
    actor = StackedActor(
        model_of(world, dtype), PPO.lora, [hash_seed(seed, "adapter") for seed in range(len(mixed))]
    )
    learners = [learner_of(world, seed, *own) for seed, own in enumerate(mixed)]
    return Population(
        actor, world.policy()[1], world.normaliser(0), world.gold if judge else None, learners,
        limit=world.limit, group=group,
    )  # fmt: skip


def alone(world, seed, objective, settings, *, dtype=torch.float32):
    model = model_of(world, dtype)
    settings.lora.attach(model, "default", seed=hash_seed(seed, "adapter"))
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    actor = Actor(model)
    return Trainer(
        actor, None, world.policy()[1], world.normaliser(0), world.gold, world.prompts, objective,
        settings, sampling=world.sampling, limit=world.limit, seed=hash_seed(seed, "ppo"),
    )  # fmt: skip


def rows_of(population, steps=STEPS):
    return [{i: own.row for i, own in done.items()} for _, done in population.run(steps)]


def parameters_of(population, place):
    """Adapter of a policy by peft's names, and its value head."""
    head = population.actor.value_head
    return {
        **population.actor.adapters.member_state(place),
        "value": torch.cat([head.weight[place], head.bias[place, None]]).detach(),
    }


def parameters(trainer):
    """The same of a policy alone."""
    head, names = trainer.actor.value_head, trainer.actor.model.named_parameters()
    lora = {n.replace(".default", ""): p.detach() for n, p in names if ".lora_" in n}
    return {**lora, "value": torch.cat([head.weight[0], head.bias]).detach()}


def turned(shape, rolled):
    return -shape(rolled)


def timeless(row):
    return {name: value for name, value in row.items() if name not in NOISE}


@pytest.mark.parametrize("dtype", RELATIVE)
def test_every_policy_is_trained_as_alone(plain, dtype):
    """Different objectives, rates, clips and schedules; same random numbers, hence same tokens."""
    population = together(plain, dtype=dtype)
    rows = rows_of(population)
    for place, (objective, settings) in enumerate(MIXED):
        trainer = alone(plain, place, objective, settings, dtype=dtype)
        for found, (_, row, _) in zip(rows, trainer.run(STEPS), strict=True):
            for name in set(row) - set(NOISE):
                assert found[place][name] == pytest.approx(row[name], abs=FLOAT32, rel=FLOAT32), (
                    name
                )
        found = parameters_of(population, place)
        apart = torch.cat([(found[n] - own).flatten() for n, own in parameters(trainer).items()])
        whole = torch.cat([own.flatten() for own in found.values()])
        assert apart.norm() <= RELATIVE[dtype] * whole.norm()


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_logits_of_each_policy_are_those_of_its_adapter_alone(quick, tmp_path):
    population = together(quick)
    rows_of(population, 2)
    model, tokenizer = quick.policy()
    texts = encode(tokenizer, quick.prompts[:2] * 4, ["the rose is bright ."] * 8, limit=40)
    with torch.no_grad(), population.actor.only(slice(None)):
        found = log_probabilities(population.actor.model, texts)
    for place in range(4):
        population.save_policy(tmp_path / str(place), place)
        one = PeftModel.from_pretrained(deepcopy(model), tmp_path / str(place)).eval()
        own = texts[slice(2 * place, 2 * place + 2)]
        expected = log_probabilities(one.get_base_model(), own)
        torch.testing.assert_close(
            found[2 * place : 2 * place + 2], expected, atol=LOGITS, rtol=LOGITS
        )


@pytest.mark.slow
@pytest.mark.parametrize("group", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_groups_change_nothing(quick, group):
    whole, parts = together(quick), together(quick, group=group)
    for mine, other in zip(rows_of(whole), rows_of(parts), strict=True):
        assert mine.keys() == other.keys()
        for place, row in mine.items():
            assert timeless(row) == pytest.approx(timeless(other[place]), abs=FLOAT32, rel=FLOAT32)


def test_what_another_policy_learns_from_changes_no_bit(quick):
    """At fixed shapes: the others' rewards are turned round."""
    first, second = together(quick), together(quick)
    for learner in second.learners[1:]:
        learner.shape = partial(turned, learner.shape)
    rolled = [p.rollout(range(4)) for p in (first, second)]
    for population, parts in zip((first, second), rolled, strict=True):
        population.update(range(4), parts, STEPS)
    for name, weight in parameters_of(first, 0).items():
        assert torch.equal(weight, parameters_of(second, 0)[name])
    apart = [w - parameters_of(second, 1)[n] for n, w in parameters_of(first, 1).items()]
    assert max(float(x.abs().max()) for x in apart) > 0


def test_one_that_diverges_stays_and_the_others_go_on(quick):
    free, hurt = together(quick), together(quick)
    losses = hurt.learners[1].losses

    def broken(*given):
        surrogate, value = losses(*given)
        return surrogate, value * torch.nan

    run, start = hurt.run(STEPS), None
    rows = [next(run)[1]]
    start = {name: weight.clone() for name, weight in parameters_of(hurt, 1).items()}
    hurt.learners[1].losses = broken
    rows += [done for _, done in run]
    assert "not finite at step 2" in hurt.stopped[1]
    assert [sorted(done) for done in rows] == [[0, 1, 2, 3], [0, 1, 2, 3], [0, 2, 3]]
    for name, weight in parameters_of(hurt, 1).items():
        assert torch.equal(weight, start[name])
    rows_of(free)
    for place in (0, 2, 3):
        for name, weight in parameters_of(hurt, place).items():
            torch.testing.assert_close(
                weight, parameters_of(free, place)[name], atol=FLOAT32, rtol=FLOAT32
            )


def test_a_state_goes_on_to_the_same_bits(quick):
    whole, first, second = together(quick), together(quick), together(quick)
    rows = rows_of(whole)
    rows_of(first, 1)
    second.load(first.state())
    for mine, other in zip(rows_of(second), rows[1:], strict=True):
        for place in mine:
            assert timeless(mine[place]) == timeless(other[place])
    for name, weight in whole.actor.trained().items():
        assert torch.equal(weight, second.actor.trained()[name])


def kept(quick, count, group):
    """Bytes that stay, those that a pass of some policies keeps, and those that were foretold."""
    population, seen = together(quick, [MIXED[0]] * count, group=group), {}
    rolled = population.rollout(range(group))
    trained = population.actor.trained().values()
    frozen = {p.untyped_storage().data_ptr() for p in population.actor.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in frozen:
            seen[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        population.update(range(group), rolled, STEPS)
    lasting = [*trained, *(p.grad for p in trained), *population.adam.first]
    lasting += population.adam.second
    return sum(x.nbytes for x in lasting), sum(s.nbytes() for s in seen.values()), population


def test_memory_grows_with_policies_and_passes_with_groups(quick):
    """16 bytes a parameter of adapter and head; activations by the policies that share a pass."""
    two, four, paired = (kept(quick, *sizes) for sizes in ((2, 2), (4, 4), (4, 2)))
    for lasting, _, population in (two, four, paired):
        assert lasting == population.memory()
    assert four[0] == 2 * two[0] == paired[0]
    assert paired[1] == pytest.approx(two[1], rel=SHAPES)
    assert four[1] == pytest.approx(2 * two[1], rel=SHAPES)


@pytest.fixture
def world(quick):
    return PopulationWorld(quick, trials=2, judged=24)


@pytest.mark.slow
def test_policies_of_members_and_trials(world, tmp_path):
    kept = replace(world, states=tmp_path / "states", policies=tmp_path / "policies")
    frames = list(
        kept.train(vanilla(0.1), PPO, [1, 2, 5], steps=3, evaluate_every=2)
    )  # fmt: skip
    assert [frame.step.unique().tolist() for frame in frames] == [[1], [2], [3]]
    assert frames[0].member.tolist() == [0, 1, 2]
    assert frames[0].trial.tolist() == [1, 0, 1]
    last = frames[-1]
    assert frames[0].judged_gold.isna().all()
    assert last[["judged_gold", "judged_error", "judged_kl"]].notna().all().all()
    assert list(frames[0]) == list(last)
    assert len(list((tmp_path / "states").glob("*.pt"))) == 1
    again = list(kept.train(vanilla(0.1), PPO, [1, 2, 5], steps=3, evaluate_every=2))
    pd.testing.assert_frame_equal(pd.concat(again), pd.concat(frames))
    longer = list(kept.train(vanilla(0.1), PPO, [1, 2, 5], steps=4, evaluate_every=2))
    whole = list(world.train(vanilla(0.1), PPO, [1, 2, 5], steps=4, evaluate_every=2))
    pd.testing.assert_frame_equal(
        *(pd.concat(rows).drop(columns="tokens_per_second") for rows in (longer, whole))
    )
    assert len(list((tmp_path / "policies").iterdir())) == 3
    assert origin(tmp_path / "policies" / "vanilla-0.1-5").seed == 5
    alone = list(world.train(vanilla(0.1), PPO, [2], steps=3, evaluate_every=2))[-1].iloc[0]
    assert last.gold[1] == pytest.approx(alone.gold, abs=FLOAT32)
    assert last.judged_gold[1] == pytest.approx(alone.judged_gold, abs=FLOAT32)


def test_a_policy_that_diverged_is_named_in_the_rows(world, monkeypatch):
    losses = Learner.losses

    def broken(learner, *given):
        surrogate, value = losses(learner, *given)
        index = learner.shaper.objective.utility.index
        return surrogate, value * (torch.nan if index == 1 and learner.step == 1 else 1)

    monkeypatch.setattr(Learner, "losses", broken)
    frames = list(world.train(vanilla(0.1), PPO, [0, 2], steps=3, evaluate_every=3))
    last = frames[-1].set_index("seed")
    assert [frame.step.tolist() for frame in frames] == [[1, 1], [3, 3]]
    assert "not finite at step 2" in last.stopped[2]
    assert last.stopped[0] == ""
    assert np.isnan(last.loc[2, ["gold", "kl", "judged_gold"]].astype(float)).all()
    assert np.isfinite(last.loc[0, ["gold", "kl", "judged_gold"]].astype(float)).all()


def test_an_objective_rewards_the_member_of_its_seed(world):
    assert world.own(vanilla(0.1), 5).utility.index == 2
    assert world.own(variance_aware_ppo(0.1, member=0), 2).utility.index == 1
    assert world.own(adaptive(), 5) == adaptive()


def test_the_reference_judged_again_and_again(world):
    found = world.reference(PPO, 3)
    assert found.judged_kl.abs().max() < FLOAT32
    assert found.judged_gold.nunique() == 3
    assert np.isfinite(found.judged_error).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda q: together(q, [MIXED[0], (vanilla(), replace(PPO, batch=4))]), "batch.*same"),
        (lambda q: together(q, group=0), "group"),
        (
            lambda q: PopulationWorld(q).population(vanilla(), replace(PPO, lora=None), [0]),
            "low-rank adapters",
        ),
        (lambda q: PopulationWorld(q, trials=0), "trials"),
    ],
)
def test_bad_input(quick, wrong, message):
    with pytest.raises(InputError, match=message):
        wrong(quick)

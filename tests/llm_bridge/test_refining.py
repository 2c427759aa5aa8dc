"""UGDA on texts: gradients, the store, collection, experts, refinement, and going on."""

import os
import signal
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from llm_bridge.commands import options
from llm_bridge.commands.refining import Ugda, ugda
from llm_bridge.judging.endpoint import Endpoint
from llm_bridge.lm.actor import Actor
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.tokens import encode
from llm_bridge.ppo import Trainer
from llm_bridge.refining.collecting import FILE, checkpoint_file, read_interactions
from llm_bridge.refining.experts import EndpointExpert, reward_expert
from llm_bridge.refining.gradients import adapter_matrices, flat, put, sample_gradients
from llm_bridge.refining.influence import Checkpoint, Samples, Span, influence, part_size
from llm_bridge.refining.members import RefinedWorld, Refit, Targets
from llm_bridge.refining.samples import encoded, validation_batches
from llm_bridge.refining.store import GradientStore
from llm_bridge.refining.world import TextRefinement
from llm_bridge.rewards.ensembles import EnsembleSettings
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.settings import Settings
from tests.llm_bridge.chat_server import Answer, prompt_of, serving
from tests.tolerance import EXACT, FLOAT32, mc
from theory.errors import InputError
from theory.grades import MISSING
from theory.influence import AdamState, adam_step, adam_step_as_printed, cosine_influence
from theory.projection import SignProjection
from theory.records import Records
from theory.refinement import Refinement, targets
from theory.refinement_stages import run
from theory.stopping import Terminated

EXACTLY = Refinement(dimension=None)
TEXTS = ["the rose is bright .", "the oven is very kind and the pond is calm .", "", "and"]
PROMPTS = ["garden :", "school :", "garden :", "music :"]


@pytest.fixture(scope="module")
def policy(quick):
    """A model with adapters that do something, and texts."""
    model, tokenizer = deepcopy(quick.policy()[0]), quick.policy()[1]
    Lora(4).attach(model, "default", seed=0)
    generator = torch.Generator().manual_seed(0)
    for matrix in adapter_matrices(model):
        matrix.weight.data = torch.randn(matrix.weight.shape, generator=generator) / 8
    return model.eval(), encode(tokenizer, PROMPTS, TEXTS, limit=64, empty=True)


@pytest.fixture(scope="module")
def collected(quick, brief_adapters, tmp_path_factory):
    """Stages of one seed, and what was collected."""
    folder = tmp_path_factory.mktemp("ugda")
    stages = stages_of(quick, brief_adapters, folder)
    return stages, stages.collect()


@pytest.fixture(scope="module")
def brief_adapters():
    """PPO of a few responses, on adapters."""
    return Settings(batch=16, learning_rate=2e-3, lora=Lora(4))


def stages_of(world, ppo, folder, **options):
    return TextRefinement(
        world, (3,), folder / "common", folder / "own", ppo,
        **{"steps": 4, "evaluate_every": 2, "checkpoints": 2, "validation": 12, "judged": 24,
           "refit": Refit(RewardTraining(epochs=2, batch=8)), **options},
    )  # fmt: skip


def one_by_one(model, batch, weights, temperature):
    """The same gradients by one backward pass a sample."""
    matrices = adapter_matrices(model)
    actor, rows = Actor(model, temperature=temperature), []
    for row in range(len(batch)):
        model.zero_grad()
        own = batch[[row]].trimmed()
        log_prob = actor(own).log_prob[own.live]
        (-(log_prob * weights[row, : len(log_prob)]).mean()).backward()
        rows.append(flat([matrix.weight.grad for matrix in matrices]))
    model.zero_grad()
    return torch.stack(rows)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_of_a_batch_are_those_of_its_samples(policy, weighted):
    model, batch = policy
    weights = torch.ones(batch.live.shape)
    if weighted:
        weights = torch.linspace(-1, 2, weights.numel()).view_as(weights)
    found = sample_gradients(model, batch, weights if weighted else None, temperature=0.7)
    expected = one_by_one(model, batch, weights, 0.7)
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, atol=FLOAT32 * scale, rtol=0)
    assert all(matrix.weight.grad is None for matrix in adapter_matrices(model))


def test_parameters_are_put_where_they_came_from(policy, quick):
    weights = [matrix.weight for matrix in adapter_matrices(policy[0])]
    before = flat(weights)
    put(before * 2, weights)
    torch.testing.assert_close(flat(weights), before * 2)
    put(before, weights)
    with pytest.raises(InputError, match="numbers"):
        put(before[:-1], weights)
    with pytest.raises(InputError, match="adapters"):
        adapter_matrices(quick.policy()[0])


def checkpoint(model, seed):
    weights = flat([matrix.weight for matrix in adapter_matrices(model)])
    rng = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(len(weights), generator=rng) / 100 for _ in range(2))
    return Checkpoint(
        weights * (1 + seed), first, second**2, 10 * first.double(), second.double() ** 2,
        5 + seed, 0.1 * (1 + seed),
    )  # fmt: skip


def expected_influence(model, points, batch, tasks, settings):
    """Straight from its definition, in the features that are asked for."""
    weights = [matrix.weight for matrix in adapter_matrices(model)]
    before, total = flat(weights), 0
    for point in points:
        put(point.parameters, weights)
        aims = torch.stack([sample_gradients(model, task).mean(0) for task in tasks])
        steps = sample_gradients(model, batch)
        printed = settings.direction == "as_printed"
        if settings.direction != "sgd":
            moments = (point.first, point.second)
            if printed:
                moments = (point.first_as_printed, point.second_as_printed)
            rule = adam_step_as_printed if printed else adam_step
            steps = rule(steps.to(moments[0].dtype), AdamState(*moments, point.updates)).direction
        aims, steps = aims.double(), steps.double()
        if settings.dimension is not None:
            project = SignProjection(settings.dimension, settings.seed)
            aims, steps = project(aims), project(steps)
        rate = torch.tensor([point.learning_rate]).double()
        total = total + cosine_influence(aims[None], steps[None], rate)
    put(before, weights)
    return total.numpy()


@pytest.mark.parametrize(
    "settings",
    [EXACTLY, Refinement(dimension=256), replace(EXACTLY, direction="sgd"),
     replace(EXACTLY, direction="as_printed")],
    ids=["exact", "projected", "sgd", "as printed"],
)  # fmt: skip
def test_influence_is_its_definition(policy, settings, tmp_path):
    model, batch = policy
    tasks, points = [batch[:2], batch[2:]], [checkpoint(model, 0), checkpoint(model, 1)]
    before = flat([matrix.weight for matrix in adapter_matrices(model)])
    expected = expected_influence(model, points, batch, tasks, settings)
    found = influence(model, points, Samples(batch), tasks, settings, tmp_path)
    np.testing.assert_allclose(found.values, expected, atol=10 * FLOAT32)
    assert found.overlap == 1 if settings.dimension is None else 0.5 < found.overlap < 1
    put(before, [matrix.weight for matrix in adapter_matrices(model)])


def test_raw_products_survive_the_projection_on_average(policy, tmp_path):
    model, batch = policy
    raw = Refinement(dimension=None, similarity="raw", direction="sgd")
    points = [checkpoint(model, 0)]
    exact = influence(model, points, Samples(batch), [batch], raw, tmp_path / "exact").values
    found = [
        influence(
            model, points, Samples(batch), [batch], replace(raw, dimension=32, seed=seed),
            tmp_path / str(seed),
        ).values
        for seed in range(12)
    ]  # fmt: skip
    spread = np.std(found, 0)
    assert (np.abs(np.mean(found, 0) - exact) < mc(spread.max(), 12)).all()


def test_a_span_keeps_products_and_lengths():
    generator = torch.Generator().manual_seed(0)
    aims, rows = (torch.randn(n, 50, generator=generator).double() for n in (2, 7))
    span = Span.of(aims)
    torch.testing.assert_close(span(rows) @ span(aims).T, rows @ aims.T, atol=1e-6, rtol=0)
    torch.testing.assert_close(span(rows).norm(dim=1), rows.norm(dim=1))


def test_a_checkpoint_survives_its_file(policy, tmp_path):
    point = checkpoint(policy[0], 1)
    point.save(tmp_path / "one.safetensors")
    again = Checkpoint.load(tmp_path / "one.safetensors")
    assert again.updates == 6
    assert again.learning_rate == point.learning_rate
    torch.testing.assert_close(again.first_as_printed, point.first_as_printed, atol=0, rtol=0)


def test_a_store_goes_on_after_its_last_part(tmp_path):
    asked = []

    def compute(rows, broken_at=None):
        if rows.start == broken_at:
            raise KeyboardInterrupt
        asked.append(rows)
        return np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]

    store = GradientStore.start(tmp_path, 10, 4, {"seed": 0})
    with pytest.raises(KeyboardInterrupt):
        list(store.parts(lambda rows: compute(rows, broken_at=8)))
    parts = list(GradientStore.start(tmp_path, 10, 4, {"seed": 0}).parts(compute))
    assert asked == [range(4), range(4, 8), range(8, 10)]
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts])[:, 0], np.arange(10))
    with pytest.raises(InputError, match="seed"):
        GradientStore.start(tmp_path, 10, 4, {"seed": 1})


def test_parts_have_a_bounded_size():
    assert part_size(16_384) == 2048
    assert part_size(10**9) == 64


def test_every_interaction_is_kept(collected, quick):
    stages, came = collected
    own = stages.interactions(3)
    assert came["scores"].shape == (1, 64, 3)
    assert own.step == [1] * 16 + [2] * 16 + [3] * 16 + [4] * 16
    scores = quick.normaliser(3)(own.prompts, own.responses).members.numpy()
    np.testing.assert_allclose(came["scores"][0], scores, atol=10 * FLOAT32)
    tokenizer = quick.policy()[1]
    for text, tokens in zip(own.responses, own.tokens, strict=True):
        assert tokenizer.decode(tokens, skip_special_tokens=True).strip() == text.strip()
    samples = encoded(own, np.array([5, 60]), tokenizer, quick.limit, "ppo")
    for place, row in enumerate((5, 60)):
        length = len(own.tokens[row])
        assert samples.batch.live[place].sum() == length
        kept = samples.weights[place, :length].tolist()
        np.testing.assert_allclose(kept, own.advantages[row], atol=FLOAT32)
        assert (samples.weights[place, length:] == 0).all()


def test_checkpoints_are_of_the_policy_in_training(collected):
    stages, _ = collected
    first, last = (
        Checkpoint.load(checkpoint_file(stages.folder / "collected-3", step)) for step in (2, 4)
    )
    assert (first.updates, last.updates) == (8, 16)
    assert not torch.equal(first.parameters, last.parameters)
    assert last.second.min() >= 0
    assert last.second_as_printed.max() > last.second.max()


@pytest.mark.parametrize("change", [{"loss": "ppo"}, {"direction": "as_printed"}, {"tasks": "mean"},
                                    {"dimension": 64}, {"sign": "either"}])  # fmt: skip
def test_every_choice_gives_finite_influence_where_variance_is_large(collected, change):
    stages, came = collected
    found = stages.evidence(came, replace(EXACTLY, **change))
    measured = np.isfinite(found["influence"][0]).all(-1)
    assert measured.sum() == 32
    assert found["variance"][0][measured].min() >= found["variance"][0][~measured].max()


def test_validation_tasks_are_parts_of_the_prompts(quick):
    tokenizer, pairs = quick.policy()[1], quick.pairs(3, held_out=True)
    parts = validation_batches(pairs, 3, tokenizer, quick.limit)
    assert sum(map(len, parts)) == len(pairs)
    opens = [{tokenizer.decode(row[mask]) for row, mask in
              zip(part.prompts, part.prompt_mask, strict=True)} for part in parts]  # fmt: skip
    assert not opens[0] & opens[1] | opens[1] & opens[2]
    with pytest.raises(InputError, match="tasks"):
        validation_batches(pairs, 7, tokenizer, quick.limit)


def interrupted(stages, when):
    """SIGTERM after so many steps of PPO."""
    original, met = Trainer.update, []

    def update(self, *args):
        met.append(1)
        if len(met) == when:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *args)

    patch = pytest.MonkeyPatch()
    patch.setattr(Trainer, "update", update)
    return patch


@pytest.fixture(scope="module")
def uninterrupted(collected, tmp_path_factory):
    """All stages, and what they are to find."""
    stages = replace(collected[0], own=tmp_path_factory.mktemp("uninterrupted"))
    return run(stages, EXACTLY)


@pytest.mark.slow
@pytest.mark.parametrize("when", [3, 6], ids=["collecting", "retraining"])
def test_what_is_asked_to_stop_goes_on_to_the_same(
    collected, uninterrupted, quick, brief_adapters, tmp_path, when
):
    before, _ = collected
    stages = stages_of(quick, brief_adapters, tmp_path)
    asked = interrupted(stages, when)
    with pytest.raises(Terminated):
        run(stages, EXACTLY, folder=tmp_path / "stages")
    asked.undo()
    found = run(stages, EXACTLY, folder=tmp_path / "stages")
    texts = [(one.folder / "collected-3" / FILE).read_bytes() for one in (before, stages)]
    assert texts[0] == texts[1]
    for stage in ("evidence", "select", "relabel", "refine", "retrain"):
        for name, values in uninterrupted[stage].items():
            if name != "tokens_per_second":
                np.testing.assert_array_equal(found[stage][name], values, err_msg=name)


KINDS = ("independent", "shared_trunk", "heads", "lora", "brme")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind == "shared_trunk" else pytest.mark.slow)
        for kind in KINDS
    ],
)
def test_members_of_every_kind_learn_their_targets(quick, kind):
    beside = kind in ("shared_trunk", "lora")
    world = replace(
        quick, ensemble=EnsembleSettings(kind, 2, training=RewardTraining(epochs=1), lora=Lora(2))
    )
    (ensemble,), pairs = world.ensembles(0), world.pairs(0)
    prompts, texts = pairs.prompts[:24], pairs.chosen[:24]
    scores = ensemble(prompts, texts).members.numpy()
    weights = {n: p.clone() for n, p in torch.nn.ModuleList(ensemble.models).named_parameters()}
    wanted = scores.copy() + 1.0
    wanted[3] = np.nan
    refit = Refit(RewardTraining(epochs=8, batch=12, learning_rate=1e-2))
    goals = Targets(prompts, texts, wanted)
    refined, loss = refit(ensemble, goals, pairs if beside else None, seed=0)
    error = np.nanmean((refined(prompts, texts).members.numpy() - wanted) ** 2, 0)
    assert loss.shape == error.shape == (2,)
    assert (error < 0.9).all()
    for name, parameter in torch.nn.ModuleList(ensemble.models).named_parameters():
        assert torch.equal(parameter, weights[name]), name
    brief = RewardTraining(epochs=1, batch=12)
    heads = Refit(brief, part="heads")(ensemble, goals, None, seed=0)[0]
    both = zip(ensemble.models, heads.models, strict=True)
    assert all(
        torch.equal(p, q)
        for a, b in both
        for p, q in zip(a.trunk.parameters(), b.trunk.parameters(), strict=True)
    )
    with pytest.raises(InputError, match="targets"):
        refit(ensemble, Targets(prompts, texts, np.full_like(wanted, np.nan)), None, seed=0)


def test_a_refined_world_has_its_own_reward_models_and_the_same_policy(collected, quick):
    stages, came = collected
    chosen = np.arange(20)[None]
    stages.refine(came, chosen, came["scores"][:, :20] + 0.5)
    world = RefinedWorld.of(quick, stages.own)
    assert world.policy()[0] is quick.policy()[0]
    before, after = (one.ensembles(3)[0](["garden :"], ["the pond"]) for one in (quick, world))
    assert not torch.equal(before.members, after.members)


def test_the_true_reward_grades_by_fifths():
    scores = np.arange(50.0)
    expert = reward_expert(lambda p, r: np.array([float(t) for t in r]), [""] * 50,
                           [str(s) for s in scores])  # fmt: skip
    grades = expert([""] * 50, [str(s) for s in scores])
    np.testing.assert_array_equal(np.bincount(grades)[1:], [10] * 5)


def asked_of(server, **settings):
    return EndpointExpert(Endpoint(server.url, "judge", pause=0.01, retries=1, **settings))


def test_a_judge_that_stalls_or_talks_nonsense_leaves_grades_missing(tmp_path):
    replies = {"fine": Answer("It helps.\nGRADE: 4"), "twice": Answer("GRADE: 2\nGRADE: 3"),
               "words": Answer("I would say four."), "high": Answer("GRADE: 9"),
               "late": Answer(stalls=True), "broken": Answer(body=b"<html>")}  # fmt: skip

    def answer(asked):
        return next(own for name, own in replies.items() if f"\n{name}\n" in prompt_of(asked))

    texts = [*replies, "fine"]
    with serving(answer) as server:
        expert = asked_of(server, timeout=1.0, cache=tmp_path)
        grades = expert(["?"] * 7, texts)
        np.testing.assert_array_equal(grades, [4, *[MISSING] * 5, 4])
        assert expert.faults == {"unparsed": 3, "timeout": 1, "no completion": 1}
        before = len(server.asked)
        np.testing.assert_array_equal(expert(["?"], ["fine"]), [4])
        assert len(server.asked) == before
        with pytest.raises(InputError, match="url"):
            expert(["?"], ["broken"])


def test_a_judge_that_repeats_itself_moves_nothing_but_to_the_middle(collected):
    stages, came = collected
    with serving(lambda _: Answer("GRADE: 3")) as server:
        always = replace(stages, expert=asked_of(server))
        picked = np.arange(16)[None]
        grades = always.relabel(came, picked)
    assert (grades == 3).all()
    wanted = targets(came["scores"], picked, grades)
    middle = np.median(came["scores"][0, :16], 0)
    np.testing.assert_allclose(wanted[0], np.tile(middle, (16, 1)), atol=EXACT)


@pytest.fixture
def small(quick, monkeypatch):
    """Commands that find the quick world whatever their options."""
    monkeypatch.setattr(options.World, "world", lambda _: quick)
    return {"seeds": 1, "steps": 2, "evaluate_every": 1, "judged": 12, "validation": 12,
            "refit": Refit(RewardTraining(epochs=1)), "adapter_rank": 4}  # fmt: skip


@pytest.mark.slow
def test_ugda_command(small, brief, tmp_path, capsys):
    wanted = Ugda(**small, ppo=brief, objective=("ensemble_mean",), refinement=EXACTLY,
                  selections=("both", "variance"), second="gold", out=tmp_path)  # fmt: skip
    ugda(wanted)
    said = capsys.readouterr().out
    rows = Records.open(tmp_path).rows()
    last = rows.dropna(subset="judged_gold").set_index(["objective", "share"])
    assert last.tie["PPO", "0%"] == 1
    assert last.accuracy.drop(("SFT", "0%")).between(0, 1).all()
    assert set(last.index) == {
        ("SFT", "0%"), ("PPO", "0%"), ("PPO", "25%"),
        ("RLR", "25%"), ("UGDA", "25%"), ("variance", "25%"),
    }  # fmt: skip
    assert last.labels["UGDA", "25%"] == 8
    assert last.overlap["UGDA", "25%"] == 1
    assert "agreement of gold with gold" in said
    (tmp_path / "UGDA.25_.0.csv").unlink()
    assert len(list((tmp_path / "refined" / "0").iterdir())) == 4
    ugda(replace(wanted, resume=True))
    pd.testing.assert_frame_equal(Records.open(tmp_path).rows().drop(columns="tokens_per_second"),
                                  rows.drop(columns="tokens_per_second"))  # fmt: skip


@pytest.mark.parametrize(
    ("change", "argument"),
    [({"adapter_rank": None}, "adapter_rank"), ({"selections": ("luck",)}, "selections"),
     ({"expert": "nowhere.csv"}, "expert")],
)  # fmt: skip
def test_bad_options(small, tmp_path, change, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        ugda(Ugda(**{**small, "out": tmp_path, **change}))


def test_read_interactions_needs_a_collection(tmp_path):
    with pytest.raises(InputError, match=FILE):
        read_interactions(tmp_path)

"""Objectives, prices and ensembles in TRL's trainers; what needs no TRL is tested without it."""

import re
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from torch.nn.utils import parameters_to_vector
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from llm_bridge.embedded.tiny import build_config, build_tokenizer
from llm_bridge.lm.lora import Lora
from llm_bridge.rewards.ensembles import Ensemble, EnsembleSettings
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.trl.conversion import classifiers_of, ensemble_of
from llm_bridge.trl.heads import counted, counted_loss, with_heads
from llm_bridge.trl.prices import priced
from llm_bridge.trl.rewards import RewardFunction
from tests.tolerance import FLOAT32
from theory.binding import UNBOUND
from theory.errors import InputError
from theory.objective import sample_reward
from theory.penalties import Budget, Constant, Penalty, TargetKL
from theory.presets import (
    adaptive,
    adaptive_experts,
    ensemble_mean,
    global_dro,
    lcb,
    reward_robust_policy,
    trust_region,
    vanilla,
    variance_aware,
    variance_aware_kl,
    wco,
)
from theory.scores import Scores

BETA = 0.1


def has_trl():
    try:
        return tuple(map(int, version("trl").split(".")[:2])) >= (1, 13)
    except PackageNotFoundError:
        return False


with_trl = pytest.mark.skipif(not has_trl(), reason="needs TRL 1.13 or newer, see docs/trl.md")


@pytest.fixture(scope="module")
def normaliser(quick):
    return quick.normaliser(0)


@pytest.fixture(scope="module")
def sampled(quick):
    prompts = [prompt for prompt in quick.prompts[:3] for _ in range(4)]
    return prompts, quick.respond(prompts, quick.generator(0, "ways in"))


@pytest.mark.parametrize(
    "objective", [vanilla(BETA), ensemble_mean(BETA), wco(BETA), lcb(BETA), adaptive_experts()]
)
def test_a_reward_is_the_utility(objective, normaliser, sampled):
    if objective.name == "adaptive experts":
        objective = replace(objective, coefficient=Constant())
    reward = RewardFunction(objective, normaliser)
    prompts, completions = sampled
    logged = {}
    found = reward(
        prompts=prompts, completions=completions, completion_ids=[[0]] * len(prompts),
        topic=["a"] * len(prompts), trainer_state=None, log_extra=None,
        log_metric=logged.__setitem__,
    )  # fmt: skip
    assert [type(x) for x in found] == [float] * len(prompts)
    scores = normaliser(prompts, completions)
    expected = {
        "vanilla": scores.members[:, 0], "mean": scores.mean(), "WCO": scores.members.amin(1),
        "LCB": scores.mean() - scores.std(),
    }.get(objective.name)  # fmt: skip
    if expected is not None:
        torch.testing.assert_close(torch.tensor(found), expected)
    else:  # the product of experts divides by a prompt's variance
        assert not np.allclose(found, scores.mean())
    assert logged == {"member_std": pytest.approx(float(scores.std().mean()))}
    assert reward.beta == objective.strength.beta


@pytest.mark.parametrize("objective", [variance_aware(BETA), variance_aware_kl(BETA)])
def test_reward_and_price_make_the_sample_reward(objective, normaliser, sampled):
    reward = RewardFunction(objective, normaliser, priced=True)
    prompts, completions = sampled
    log_ratio = torch.linspace(-2, 2, len(prompts))
    logged = {}
    found = torch.tensor(reward(prompts, completions, log_metric=logged.__setitem__))
    expected = sample_reward(objective, log_ratio, normaliser(prompts, completions))
    torch.testing.assert_close(found - BETA * reward.prices * log_ratio, expected)
    assert logged["price"] == pytest.approx(float(reward.prices.mean()))


def test_messages_are_read_as_prompts_of_files_are(sampled):
    def score(prompts, responses):
        return Scores(
            torch.tensor(
                [[len(p), len(r)] for p, r in zip(prompts, responses, strict=True)]
            ).float()
        )

    asked, texts = "\n\nHuman: Why?\n\nAssistant:", ["a" * n for n in range(1, 9)]
    reward = RewardFunction(ensemble_mean(), Normaliser.fit(score, {asked: texts}))
    prompt = [{"role": "user", "content": "Why?"}]
    said = [[{"role": "assistant", "content": text}] for text in texts]
    assert reward([prompt] * 8, said) == reward([asked] * 8, texts)
    with pytest.raises(InputError, match="texts or messages"):
        reward([[{"role": "tool", "content": "Why?"}]], said[:1])
    with pytest.raises(InputError, match="reference responses"):
        reward(["What?"], ["a"])


@pytest.mark.parametrize(
    ("objective", "told"),
    [
        (reward_robust_policy(), r"utility.*llm_bridge ppo"),
        (global_dro(), r"utility.*llm_bridge ppo"),
        (variance_aware(), r"coefficient.*priced=True"),
        (adaptive(), r"coefficient.*priced=True"),
        (trust_region(Penalty(0.1)), "form"),
        (lcb(Budget(0.1)), "strength"),
        (lcb(TargetKL(1.0)), "strength"),
    ],
)
def test_what_trl_can_not_train_is_refused(objective, told, normaliser):
    with pytest.raises(InputError, match=told):
        RewardFunction(objective, normaliser)


def test_one_reward_model_has_no_disagreement():
    single = Normaliser.fit(
        lambda _, texts: Scores(torch.tensor([[float(len(t))] for t in texts])),
        {"x": ["a" * n for n in range(1, 9)]},
    )
    with pytest.raises(InputError, match="objective"):
        RewardFunction(lcb(), single)
    logged = {}
    RewardFunction(vanilla(), single)(["x"], ["aa"], log_metric=logged.__setitem__)
    assert logged == {}


class RLOOTrainer:
    """As much of TRL's as is overridden."""

    def __init__(self, reward_funcs, args):
        self.reward_funcs, self.args, self.beta = reward_funcs, args, args.beta
        self.accelerator = args.accelerator

    def _calculate_rewards(self, *texts):
        return torch.tensor(self.reward_funcs[0](*texts))


class Arguments:
    """Of one process."""

    beta = BETA

    class accelerator:
        device = torch.device("cpu")
        gather = staticmethod(lambda x: x)


def test_rloo_charges_the_price_of_each_response(normaliser, sampled):
    objective = variance_aware(BETA)
    reward = RewardFunction(objective, normaliser, priced=True)
    trainer = priced(RLOOTrainer)([reward], Arguments())
    utility, kl = trainer._calculate_rewards(*sampled), torch.linspace(-1, 3, len(sampled[0]))
    assert trainer.beta != 0.0
    expected = sample_reward(objective, kl, normaliser(*sampled))
    torch.testing.assert_close(utility - trainer.beta * kl, expected)


def test_prices_need_one_priced_reward_at_the_beta_of_the_objective(normaliser):
    trainer = priced(RLOOTrainer)
    reward = RewardFunction(variance_aware(BETA), normaliser, priced=True)
    for wrong in ([], [reward, reward], [RewardFunction(lcb(BETA), normaliser)]):
        with pytest.raises(InputError, match="reward_funcs"):
            trainer(wrong, Arguments())
    with pytest.raises(InputError, match=r"args\.beta"):
        trainer([RewardFunction(variance_aware(0.2), normaliser, priced=True)], Arguments())
    with pytest.raises(InputError, match="trainer"):
        priced(Arguments)
    with pytest.raises(InputError, match="trainer"):
        counted(RLOOTrainer)


def classifier(heads=None, seed=0):
    tokenizer = build_tokenizer()
    config = build_config("tiny", tokenizer)
    config.num_labels = 1
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config).eval()
    return (model if heads is None else with_heads(model, heads, seed=1)), tokenizer


def scored(model, tokenizer, prompts, responses):
    """As TRL scores texts: an end of sequence is appended, and the right is padded."""
    texts = [f"{p} {r}{tokenizer.eos_token}" for p, r in zip(prompts, responses, strict=True)]
    batch = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    with torch.no_grad():
        return model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits


@pytest.mark.parametrize("heads", [[None], [3], [None, None]])
def test_classifiers_and_ensembles_have_the_same_scores(heads, sampled, tmp_path):
    prompts, responses = sampled
    made = [classifier(k, seed) for seed, k in enumerate(heads)]
    tokenizer = made[0][1]
    ensemble = ensemble_of([model for model, _ in made], tokenizer)
    close = {"atol": FLOAT32, "rtol": FLOAT32}
    expected = torch.cat([scored(m, tokenizer, prompts, responses) for m, _ in made], 1)
    torch.testing.assert_close(ensemble(prompts, responses).members, expected, **close)
    ensemble.save(tmp_path)
    again = classifiers_of(Ensemble.from_pretrained(tmp_path))
    back = torch.cat([scored(m, tokenizer, prompts, responses) for m in again], 1)
    torch.testing.assert_close(back, expected, **close)
    assert all(p.requires_grad for model in again for p in model.parameters())


def test_a_single_head_is_saved_as_published_ones_are(quick, sampled, tmp_path):
    tokenizer = quick.policy()[1]
    independent = quick.ensembles(0)[0]
    model = classifiers_of(independent)[1]
    bias = float(model.score.bias.detach())
    model.save_pretrained(tmp_path)
    found = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    expected = independent(*sampled).members[:, 1:2]
    torch.testing.assert_close(
        scored(found, tokenizer, *sampled) + bias, expected, atol=FLOAT32, rtol=FLOAT32
    )


def test_what_is_no_classifier_is_refused(quick):
    model, tokenizer = classifier(2)
    with pytest.raises(InputError, match="linear `score`"):
        ensemble_of([quick.policy()[0]], tokenizer)
    with pytest.raises(InputError, match="one head each"):
        ensemble_of([model, model], tokenizer)
    padded = build_tokenizer()
    padded.pad_token = padded.eos_token
    with pytest.raises(InputError, match="end-of-sequence"):
        ensemble_of([model], padded)
    lora = EnsembleSettings("lora", 2, lora=Lora(2), training=RewardTraining(epochs=1))
    stacked = lora.train(*quick.policy(), quick.pairs(0)[range(8)], limit=quick.limit, seed=0)
    with pytest.raises(InputError, match="of kind"):
        classifiers_of(stacked)
    model.config.num_labels = 2
    with pytest.raises(InputError, match="num_labels"):
        with_heads(model, 3, seed=0)


def test_pairs_count_for_a_head_as_often_as_they_are_counted(without_shape_annotations):
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    counts = torch.tensor([[1.0, 2, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0]])
    margins = logits[:4] - logits[4:]
    losses = -torch.nn.functional.logsigmoid(margins)
    repeated = (losses[:, 0].mean() + losses[[0, 0, 2], 1].mean()) / 3
    torch.testing.assert_close(counted_loss(logits, counts), repeated)
    even = counted_loss(logits, torch.ones(4, 3), centring=0.5)
    both = (logits[:4] + logits[4:]).square().mean()
    torch.testing.assert_close(even, losses.mean() + 0.5 * both)
    with pytest.raises(InputError, match="counts"):
        counted_loss(logits, counts[:, :2])


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("lora", [None, Lora(4)])
def test_a_trained_policy_is_loaded_by_transformers_and_peft(lora, quick, brief, tmp_path):
    settings = replace(brief, lora=lora, learning_rate=1e-3)
    trainer = quick.trainer(ensemble_mean(0.01), settings, 0)
    list(trainer.run(1))
    trainer.save_policy(tmp_path)
    reference, tokenizer = quick.policy()[0], AutoTokenizer.from_pretrained(tmp_path)
    asked = tokenizer(quick.prompts[:4], padding=True, padding_side="left", return_tensors="pt")
    asked = {name: asked[name] for name in ("input_ids", "attention_mask")}
    loaded = [AutoModelForCausalLM.from_pretrained(tmp_path)]
    if lora is not None:
        base = AutoModelForCausalLM.from_pretrained(reference.config.name_or_path)
        loaded.append(PeftModel.from_pretrained(base, str(tmp_path)))
        loaded.append(AutoPeftModelForCausalLM.from_pretrained(tmp_path))
    expected = greedy(trainer.actor.model, asked)
    for model in loaded:
        with torch.no_grad():
            assert not torch.allclose(model(**asked).logits, reference(**asked).logits)
        assert torch.equal(greedy(model, asked), expected)


def greedy(model, asked):
    return model.eval().generate(**asked, max_new_tokens=10, do_sample=False)


class Doubled(Constant):
    """A price that is 2 for all."""

    def __call__(self, scores, binding=UNBOUND):
        return 2 * super().__call__(scores, binding)


QUIET = {
    "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": "none",
    "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1, "seed": 0,
    "learning_rate": 1e-3,
}  # fmt: skip


def trained(kind, world, reward, tmp_path, *, beta, **more):
    """Parameters after a few steps of one of TRL's trainers, and what it logged."""
    import trl
    from datasets import Dataset

    settings = {
        "per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 8,
        "max_steps": 3, "num_iterations": 2, "gradient_accumulation_steps": 2,
    }  # fmt: skip
    config = trl.GRPOConfig if issubclass(kind, trl.GRPOTrainer) else trl.RLOOConfig
    args = config(str(tmp_path), beta=beta, **QUIET, **{**settings, **more})
    model, tokenizer = world.policy()
    trainer = (priced(kind) if reward.priced else kind)(
        model.config.name_or_path, reward_funcs=reward, args=args,
        train_dataset=Dataset.from_dict({"prompt": world.prompts}), processing_class=tokenizer,
    )  # fmt: skip
    trainer.train()
    found = parameters_to_vector(trainer.model.parameters()).detach()
    return found, [row for row in trainer.state.log_history if "reward" in row]


@pytest.fixture(params=["RLOO", "GRPO"])
def kind(request):
    return getattr(pytest.importorskip("trl"), f"{request.param}Trainer")


@with_trl
@pytest.mark.filterwarnings("ignore")
def test_a_constant_price_is_a_scalar_beta_bit_for_bit(kind, quick, normaliser, tmp_path):
    plain = RewardFunction(lcb(2 * BETA), normaliser)
    objective = replace(lcb(BETA), coefficient=Doubled())
    doubled = RewardFunction(objective, normaliser, priced=True)
    expected, logged = trained(kind, quick, plain, tmp_path, beta=2 * BETA)
    found, also = trained(kind, quick, doubled, tmp_path, beta=BETA)
    assert torch.equal(found, expected)
    assert [row["price"] for row in also] == [2.0] * len(also)
    for row, other in zip(logged, also, strict=True):
        assert (row["reward"], row["kl"]) == (other["reward"], other["kl"])
        assert row["member_std"] > 0
    single, _ = trained(kind, quick, RewardFunction(lcb(BETA), normaliser), tmp_path, beta=BETA)
    assert not torch.equal(single, expected)


@with_trl
@pytest.mark.filterwarnings("ignore")
def test_a_price_that_varies_trains_another_policy(kind, quick, normaliser, tmp_path):
    priced_reward = RewardFunction(variance_aware(1.0), normaliser, priced=True)
    plain = RewardFunction(ensemble_mean(1.0), normaliser)
    found, logged = trained(kind, quick, priced_reward, tmp_path, beta=1.0)
    other, _ = trained(kind, quick, plain, tmp_path, beta=1.0)
    assert float((found - other).abs().max()) > FLOAT32
    assert all(row["price"] > 0 for row in logged)


@with_trl
@pytest.mark.filterwarnings("ignore")
def test_in_grpo_every_response_keeps_its_price(quick, normaliser, tmp_path):
    """Also where a batch is shuffled and taken in parts, by a class of one's own."""
    import trl

    met = []

    class Watched(trl.GRPOTrainer):
        def _compute_loss(self, model, inputs):
            met.append((inputs["prompt_ids"], inputs["completion_ids"], inputs["betas"]))
            return super()._compute_loss(model, inputs)

    reward = RewardFunction(variance_aware(0.5), normaliser, priced=True)
    with pytest.warns(UserWarning, match="biased in GRPO"):
        trained(Watched, quick, reward, tmp_path, beta=0.5)
    assert len(met) == 6
    tokenizer = quick.policy()[1]
    for *ids, betas in met:
        texts = [tokenizer.batch_decode(x, skip_special_tokens=True) for x in ids]
        reward(*texts)
        assert len(set(betas.tolist())) > 2
        torch.testing.assert_close(betas, 0.5 * reward.prices, atol=FLOAT32, rtol=FLOAT32)


@with_trl
@pytest.mark.filterwarnings("ignore")
def test_heads_learn_in_trl_each_from_its_own_pairs(quick, tmp_path):
    """The second head is told the opposite of the first."""
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    pairs = quick.pairs(0)
    n, won, lost = len(pairs), *([f" {x}" for x in t] for t in (pairs.chosen, pairs.rejected))
    data = Dataset.from_dict(
        {"prompt": pairs.prompts * 2, "chosen": won + lost, "rejected": lost + won}
    )
    args = RewardConfig(
        str(tmp_path), per_device_train_batch_size=16, num_train_epochs=4, max_length=None,
        center_rewards_coefficient=0.01, **QUIET,
    )  # fmt: skip

    def run(kind, data):
        model, tokenizer = classifier(2)
        trainer = kind(model, args=args, processing_class=tokenizer, train_dataset=data)
        trainer.train()
        return trainer.model, tokenizer

    model, tokenizer = run(
        counted(RewardTrainer), data.add_column("counts", [[1.0, 0.0]] * n + [[0.0, 1.0]] * n)
    )
    ensemble = ensemble_of([model], tokenizer)
    score = [ensemble(pairs.prompts, texts).members for texts in (pairs.chosen, pairs.rejected)]
    accuracy = (score[0] > score[1]).float().mean(0)
    assert float(accuracy[0]) > 0.7
    assert float(accuracy[1]) < 0.3
    ones, _ = run(counted(RewardTrainer), data.add_column("counts", [[1.0, 1.0]] * (2 * n)))
    none, _ = run(RewardTrainer, data)
    expected = parameters_to_vector(none.parameters())
    torch.testing.assert_close(
        parameters_to_vector(ones.parameters()), expected, atol=FLOAT32, rtol=FLOAT32
    )


@with_trl
@pytest.mark.filterwarnings("ignore")
def test_the_recipes_run(quick, tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "trl.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    model, tokenizer = quick.policy()
    model.save_pretrained(tmp_path / "policy")
    tokenizer.save_pretrained(tmp_path / "policy")
    pairs = quick.pairs(0)
    pd.DataFrame({"prompt": quick.prompts}).to_csv(tmp_path / "prompts.csv", index=False)
    pd.DataFrame(pairs.__dict__).rename(columns={"prompts": "prompt"}).to_csv(
        tmp_path / "pairs.csv", index=False
    )
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks:
        exec(compile(block, "docs/trl.md", "exec"), names)
    assert names["heads"].parameters().loaded > 0
    assert len(names["again"]) == 1
    assert Ensemble.from_pretrained(tmp_path / "reward" / "ensemble").settings.members == 4

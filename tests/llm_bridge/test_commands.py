"""`python -m llm_bridge`, on a world that is barely trained."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from llm_bridge import __main__ as command
from llm_bridge.best_of_n import best_of_n
from llm_bridge.commands import options
from llm_bridge.commands.choosing import BestOfN, choose
from llm_bridge.commands.evaluating import Evaluate, evaluate
from llm_bridge.commands.fine_tuning import Sft, sft
from llm_bridge.commands.papers import PAPERS
from llm_bridge.commands.parsing import COMMANDS, parsed
from llm_bridge.commands.planning import plan
from llm_bridge.commands.rewarding import Reward, reward
from llm_bridge.commands.training import Compare, Ppo, compare, ppo
from llm_bridge.lm.sft import FineTuning
from llm_bridge.provenance import keep, origin
from llm_bridge.rewards.ensembles import Ensemble, EnsembleSettings
from llm_bridge.settings import Settings
from tests.tolerance import ROUNDING, mc
from theory.best_of_n import best_of_n_law, kl_upper_bound
from theory.errors import InputError
from theory.penalties import TargetKL
from theory.presets import ensemble_mean, lcb, reward_robust_policy, vanilla
from theory.records import Records


@pytest.fixture
def small(quick, monkeypatch):
    """Commands that find the quick world whatever their options."""
    monkeypatch.setattr(options.World, "world", lambda _: quick)
    return {"seeds": 2}


BOTH = ("vanilla", "variance_aware")


@pytest.mark.slow
def test_best_of_one_is_the_reference_and_more_is_better_by_the_proxy(quick):
    rows = best_of_n(quick, {"mean": ensemble_mean(), "lcb": lcb()}, [0, 1], samples=12)
    assert len(rows) == 2 * 2 * 12
    first = rows[rows.n == 1].set_index(["objective", "seed"])
    assert np.allclose(first.gold["mean"], first.gold["lcb"], atol=ROUNDING)
    assert (first.kl == 0).all()
    proxies = rows.pivot_table(index="n", columns=["objective", "seed"], values="proxy")
    assert (proxies.diff().dropna() > -ROUNDING).all().all()
    again = best_of_n(quick, {"lcb": lcb()}, [1], samples=12)
    part = rows[(rows.objective == "lcb") & (rows.seed == 1)].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, again)
    with pytest.raises(InputError, match="samples"):
        best_of_n(quick, {"one": vanilla()}, [0], samples=0)


@pytest.mark.slow
def test_its_curve_is_the_exact_law_of_the_best_of_n(quick):
    """Of another set of responses, with the reference as it appears in a table of many."""
    world = replace(quick, references=256)
    rows = best_of_n(world, {"mean": ensemble_mean()}, [0], samples=64)
    table = world.normaliser(0).table.mean().double().numpy()
    uniform = np.full(table.shape, -np.log(256))
    for n in (1, 2, 4, 8):
        law = best_of_n_law(table, uniform, n)
        policy = np.exp(law.log_policy)
        mean = (policy * table).sum(1, keepdims=True)
        spread = (policy * (table - mean) ** 2).sum(1).mean() ** 0.5
        found = rows[rows.n == n].proxy.iloc[0]
        assert abs(found - mean.mean()) < mc(spread, 6 * 64 // n) + mc(spread, 6 * 256 // n)
        assert law.kl.mean() <= kl_upper_bound(n) + ROUNDING


def test_best_of_n_command(small, tmp_path, capsys):
    choose(BestOfN(**small, objective=BOTH, samples=4, out=tmp_path))
    assert "gold of the best of n" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "best_of_n.csv")) == 2 * 2 * 4


def test_compare_command(small, brief, tmp_path, capsys):
    wanted = Compare(**small, objective=BOTH, steps=2, ppo=brief, evaluate_every=1, out=tmp_path)
    compare(wanted)
    assert "variance_aware" in capsys.readouterr().out
    assert (tmp_path / "compare.png").stat().st_size > 0
    assert len(Records.open(tmp_path).rows()) == 2 * 2 * 2
    compare(replace(wanted, resume=True))
    with pytest.raises(InputError, match="empty folder"):
        compare(wanted)


@pytest.mark.slow
def test_policies_are_trained_kept_and_evaluated(small, brief, tmp_path, capsys):
    trained = Ppo(**small, objective=("lcb",), beta=(0.3,), adapter_rank=4, steps=2, ppo=brief)
    ppo(replace(trained, out=tmp_path / "ppo"))
    folders = tuple(sorted((tmp_path / "ppo" / "policies").iterdir()))
    assert [folder.name for folder in folders] == ["LCB-0.3-0", "LCB-0.3-1"]
    wanted = Evaluate(policies=folders, samples=12, out=tmp_path / "tables")
    evaluate(wanted)
    assert "win_rate" in capsys.readouterr().out
    tables = {path.stem: pd.read_csv(path) for path in (tmp_path / "tables").glob("*.csv")}
    assert set(tables) == {"summary", "win_rates", "texts", "optimality"}
    named = ["reference", "LCB-0.3-0", "reference", "LCB-0.3-1"]
    assert tables["summary"].policy.tolist() == named
    assert tables["summary"].seed.tolist() == [0, 0, 1, 1]
    assert tables["optimality"].beta.tolist() == pytest.approx([0.3, 0.3])
    with pytest.raises(InputError, match="no two of one name"):
        evaluate(replace(wanted, policies=(folders[0], folders[0])))
    (folders[0] / "training.json").unlink()
    with pytest.raises(InputError, match=r"training\.json"):
        evaluate(wanted)


def test_a_policy_says_what_it_was_trained_for(quick, brief, tmp_path):
    objective = reward_robust_policy(TargetKL(2.0))
    trainer = quick.trainer(objective, brief, 1)
    for _ in trainer.run(2):
        pass
    keep(tmp_path, trainer.save_policy, trainer, seed=1, world=quick)
    found = origin(tmp_path)
    assert (found.seed, found.world) == (1, repr(quick))
    same = found.preset()
    assert same == replace(objective, strength=same.strength)
    assert same.strength.beta == pytest.approx(np.exp(trainer.log_beta))
    other = quick.trainer(same, brief, 1)
    found.resume(other)
    weights = [t.shaper.weights.weights.numpy() for t in (trainer, other)]
    assert np.allclose(*weights, atol=ROUNDING)


def test_reward_command(small, tmp_path, capsys):
    file = tmp_path / "bench.csv"
    rows = [("garden :", "the rose is bright .", "the rose is dull .", "alpacaeval-easy")] * 3
    columns = ["prompt", "chosen", "rejected", "subset"]
    pd.DataFrame(rows, columns=columns).to_csv(file, index=False)
    reward(Reward(**small, rewardbench=str(file), out=tmp_path / "reward"))
    told = capsys.readouterr().out
    assert "coverage_at_0.9" in told
    assert "Chat" in told
    loaded = Ensemble.from_pretrained(tmp_path / "reward" / "ensemble-1-0")
    assert loaded(["garden :"], ["the rose is bright ."]).k == 3
    assert len(pd.read_csv(tmp_path / "reward" / "members.csv")) == 2 * 4


def test_sft_command(tmp_path, capsys):
    few = FineTuning(steps=3, batch=16)
    sft(Sft(sft=few, cache=tmp_path / "cache", out=tmp_path / "first"))
    texts = tmp_path / "texts.jsonl"
    demonstrations = [{"prompt": "garden :", "response": "the rose is bright ."}] * 32
    pd.DataFrame(demonstrations).to_json(texts, orient="records", lines=True)
    further = Sft(policy=str(tmp_path / "first"), texts=str(texts), sft=few, adapter_rank=2)
    sft(replace(further, out=tmp_path / "second"))
    assert "nats a token" in capsys.readouterr().out
    assert (tmp_path / "second" / "adapter_config.json").exists()
    with pytest.raises(InputError, match="texts"):
        sft(replace(further, texts=None))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"objective": ("lbc",)}, "did you mean 'lcb'"),
        ({"seeds": 0}, "seeds"),
        ({"steps": 0}, "steps"),
    ],
)
def test_bad_input(small, wrong, message, tmp_path):
    with pytest.raises(InputError, match=message):
        compare(Compare(**{**small, **wrong}, out=tmp_path))


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": "huge"},
        {"policy": "gpt2"},
        {"policy": "gpt2", "prompts": "a.csv", "judge": None},
        {"references": 4},
        {"judge": "kindness.py"},
        {"prompts": "a.csv"},
        {"centring": "none"},
    ],
)
def test_worlds_that_there_are_not(wrong):
    with pytest.raises(InputError):
        Compare(**wrong).world()


def test_settings_of_a_training():
    assert Ppo().settings().lora is None
    assert Ppo(adapter_rank=3).settings().lora.rank == 3
    assert Ppo(ppo=Settings(batch=64)).settings().batch == 64
    assert Ppo(kl=2.0, objective=("lcb",)).objectives()["lcb"].strength.kl == 2.0
    two = Ppo(objective=("lcb", "wco"), beta=(0.1, 0.2)).objectives()
    assert [objective.strength.beta for objective in two.values()] == [0.1, 0.2]
    scan = Ppo(objective=("lcb", "lcb"), beta=(0.1, 0.2)).objectives()
    assert list(scan) == ["lcb 0.1", "lcb 0.2"]
    with pytest.raises(InputError, match="none twice"):
        Ppo(objective=("lcb", "lcb")).objectives()
    with pytest.raises(InputError, match="one for each"):
        Ppo(objective=("lcb",), beta=(0.1, 0.2)).objectives()


@pytest.mark.parametrize(
    ("objective", "recipe", "message"),
    [
        ("lcb", EnsembleSettings(members=1), "at least 2 members"),
        ("variance_aware", EnsembleSettings(members=1), "at least 2 members"),
        ("brme", EnsembleSettings(), "ensemble.kind"),
        ("variance_aware_theorem", EnsembleSettings(), "bregman"),
    ],
)
def test_objectives_that_the_reward_models_do_not_suffice_for(objective, recipe, message):
    with pytest.raises(InputError, match=message):
        Compare(objective=(objective,), ensemble=recipe).objectives()


def test_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["llm_bridge", "compare", "--scale", "huge"])
    assert command.main() == 2
    assert "tiny" in capsys.readouterr().err
    for name in COMMANDS:
        monkeypatch.setattr("sys.argv", ["llm_bridge", name, "--help"])
        with pytest.raises(SystemExit, match="0"):
            command.main()
        assert "--out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "paper"),
    [(name, "banerjee2024") for name in ("ppo", "reward", "best-of-n")]
    + [pytest.param("compare", paper, marks=pytest.mark.slow) for paper in sorted(PAPERS)],
)
def test_every_paper_can_be_planned_without_its_weights(paper, name, monkeypatch, capsys):
    arguments = ["llm_bridge", name, "--preset", paper, "--dry-run", "--plan.tflops", "100"]
    monkeypatch.setattr("sys.argv", arguments)
    assert command.main() == 0
    told = capsys.readouterr().out
    assert "peak GiB" in told
    assert ("PPO x" in told) == (name in ("compare", "ppo"))
    assert PAPERS[paper].notes[0] in told


def test_options_win_over_a_paper():
    found = parsed(["compare", "--preset=banerjee2024", "--steps", "7", "--policy", "x"])
    assert (found.steps, found.policy, found.ppo.batch, found.sampling.tokens) == (7, "x", 128, 10)
    with pytest.raises(InputError, match="did you mean 'zhang2024'"):
        parsed(["compare", "--preset", "zhang"])


@pytest.mark.parametrize(
    "paper",
    [
        pytest.param(p, marks=() if p == "banerjee2024" else pytest.mark.slow)
        for p in sorted(PAPERS)
    ],
)
def test_a_papers_method_on_the_embedded_language(paper, capsys, monkeypatch):
    found = parsed(["compare", "--preset", paper, "--scale", "small"])
    full = parsed(["compare", "--preset", paper, "--scale", "full"])
    assert (found.policy, found.scale, found.preset) == (None, "small", paper)
    assert full.policy is not None
    assert found.objective == full.objective
    assert found.ensemble.kind == full.ensemble.kind
    assert found.ensemble.members == full.ensemble.members
    assert found.world().source.size == "small"
    arguments = ["llm_bridge", "compare", "--preset", paper, "--scale", "tiny", "--dry-run"]
    monkeypatch.setattr("sys.argv", arguments)
    assert command.main() == 0
    assert PAPERS[paper].notes[0] in capsys.readouterr().out
    with pytest.raises(InputError, match="scale"):
        parsed(["compare", "--scale", "full"]).world()


@pytest.mark.slow
def test_a_plan_of_a_population():
    """Ten members in four trials under two objectives; a scan first where no beta is given."""
    arguments = ["population", "--preset", "banerjee2024", "--dry-run"]
    assert "PPO x 80" in plan(parsed(arguments))
    assert "PPO x 100" in plan(parsed([*arguments, "--scale", "tiny"]))


def test_a_plan_of_the_embedded_world_counts_what_is_made(quick):
    told = plan(replace(Compare(), seeds=1, objective=("vanilla",)))
    parameters = sum(p.numel() for p in quick.policy()[0].parameters())
    assert f"{parameters:,}" in told.splitlines()[1]
    assert "\ntotal" in told
    assert "objectives: vanilla" in told

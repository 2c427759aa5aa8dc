"""The study of many policies, from the scan of beta to its tables."""

import numpy as np
import pandas as pd
import pytest

from llm_bridge.commands.population import PopulationStudy, population
from llm_bridge.lm.lora import Lora
from llm_bridge.population_report import STATISTICS
from llm_bridge.rewards.ensembles import EnsembleSettings
from llm_bridge.settings import Settings
from theory.errors import InputError
from theory.records import Records


@pytest.fixture
def options(quick, tmp_path, monkeypatch):
    """Three members in two trials, on barely trained models."""
    monkeypatch.setattr(PopulationStudy, "world", lambda _: quick)
    return {
        "ensemble": EnsembleSettings(members=3), "trials": 2, "judged": 24, "group": 4, "steps": 3,
        "evaluate_every": 2, "ppo": Settings(batch=8, learning_rate=1e-2, lora=Lora(4)),
        "adapter_rank": None, "out": tmp_path,
    }  # fmt: skip


def test_policies_are_matched_in_kl_and_told_of(options, tmp_path, capsys):
    """The scan of a target out of reach is kept: the next run goes on from it."""
    scanned = {**options, "objective": ("vanilla",), "scan": (0.01, 10.0), "scan_members": 1}
    with pytest.raises(InputError, match=r"target.*scan smaller beta"):
        population(PopulationStudy(**scanned, kl=1e6))
    ends = Records.open(tmp_path / "scan").rows().judged_kl.dropna()
    assert sorted(pd.read_csv(tmp_path / "scan.csv").kl) == pytest.approx(sorted(ends))
    middle = float(np.exp(np.log(ends).mean()))
    capsys.readouterr()
    population(PopulationStudy(**scanned, kl=middle, resume=True))
    rows = Records.open(tmp_path / "runs").rows()
    last = rows[rows.step == 3]
    assert sorted(last.seed) == list(range(6))
    assert last.member.tolist() == [0, 0, 1, 1, 2, 2]
    assert last.judged_gold.notna().all()
    told = capsys.readouterr().out
    assert told.startswith("vanilla: KL")
    assert "reference, judged 6 times" in told
    assert (tmp_path / "population.png").stat().st_size > 10_000
    spread = pd.read_csv(tmp_path / "spread.csv")
    assert spread.beta[0] == pytest.approx(10**-0.5, rel=1e-6)
    assert spread.policies.tolist() == [6]
    assert spread["mean"][0] == pytest.approx(last.judged_gold.mean())
    assert len(pd.read_csv(tmp_path / "reference.csv")) == 6


@pytest.mark.slow
def test_methods_are_compared_and_policies_kept(options, tmp_path):
    population(PopulationStudy(**options, beta=(0.1, 0.3), keep=True))
    contrasts = pd.read_csv(tmp_path / "contrasts.csv")
    assert contrasts.statistic.tolist() == list(STATISTICS)
    assert set(contrasts.against) == {"vanilla"}
    assert (contrasts.low <= contrasts.high).all()
    assert len(list((tmp_path / "policies").iterdir())) == 12


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"trials": 0}, "trials"), ({"kl": None}, "kl"), ({"scan_members": 0}, "scan_members")],
)
def test_bad_options(options, wrong, message):
    with pytest.raises(InputError, match=message):
        population(PopulationStudy(**{**options, **wrong}))

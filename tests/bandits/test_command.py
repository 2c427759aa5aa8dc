"""`python -m bandits`: experiments, sweeps, and what it says to bad input."""

import sys
from pathlib import Path

import pytest
import torch

from bandits.__main__ import main
from bandits.command import Experiment, run_experiment
from theory.records import Records

QUICK = {"objective": ("lcb",), "optimiser": "exact", "seeds": 3}


def test_one_experiment(tmp_path, capsys):
    options = Experiment(**QUICK, out=tmp_path)
    assert run_experiment(options) == 0
    assert "lcb" in capsys.readouterr().out
    assert run_experiment(options) == 2
    assert "empty folder" in capsys.readouterr().err
    again = Experiment(**QUICK, out=tmp_path, resume=True)
    assert run_experiment(again) == 0


def test_a_sweep_has_a_world_for_every_combination(tmp_path, capsys):
    options = Experiment(
        **QUICK, pairs=(2, 3), ensemble=("independent", "laplace"), noise=("0", "external"),
        out=tmp_path,
    )  # fmt: skip
    assert run_experiment(options) == 0
    rows = Records.open(tmp_path).rows()
    assert len(rows) == 8 * 3
    assert "pairs=3, noise=external, ensemble=laplace" in set(rows.world)
    assert "pairs=3, noise=external, ensemble=laplace" in capsys.readouterr().out


def test_the_three_armed_bandit(tmp_path, capsys):
    objective = ("ensemble_mean", "variance_aware")
    arms = {"arm_rewards": (0.0, 1.0), "arm_sigmas": (1.0, 2.0), "degrees": 3.0}
    options = Experiment(objective, "exact", world="three_arms", **arms, seeds=50, out=tmp_path)
    assert run_experiment(options) == 0
    assert "variance_aware" in capsys.readouterr().out
    records = Records.open(tmp_path)
    assert records.rows().gold.between(0, 1).all()
    assert "degrees=3.0" in records.config["worlds"]["three_arms"]


def test_comparisons_from_a_file(tmp_path):
    path = tmp_path / "pairs.csv"
    lines = [f"{x},{x},{y}\n" for x in range(8) for y in range(8) if x != y]
    path.write_text("prompt,chosen,rejected\n" + "".join(lines))
    options = Experiment(("ensemble_mean",), "exact", seeds=8, preferences=path, out=tmp_path / "a")
    assert run_experiment(options) == 0
    assert Records.open(tmp_path / "a").rows().full.mean() == 1


def test_a_target_kl(tmp_path):
    options = Experiment(("ensemble_mean",), "exact", kl=0.5, seeds=4, out=tmp_path)
    assert run_experiment(options) == 0
    assert (Records.open(tmp_path).rows().kl - 0.5).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"objective": ("lbc",)}, "did you mean 'lcb'"),
        ({"optimiser": "pp"}, "did you mean 'ppo'"),
        ({"world": "gird"}, "did you mean 'grid'"),
        ({"ensemble": ("independant",)}, "did you mean 'independent'"),
        ({"network": "tabel"}, "did you mean 'table'"),
        ({"split": ("bootstrp",)}, "did you mean 'bootstrap'"),
        ({"normalise": ("center",)}, "centred"),
        ({"noise": ("experts",)}, "did you mean 'expert'"),
        ({"noise": ("2",)}, "a share in"),
        ({"seeds": 0}, "seeds"),
        ({"backend": "dusk"}, "did you mean 'dask'"),
        ({"world": "three_arms", "arm_sigmas": (1.0,)}, "one for each of at least 2 arms"),
        ({"chunk": 0}, "chunk"),
        ({"workers": 0}, "`workers` must be > 0, got 0"),
        ({"beta": 0.0}, "`beta` must be > 0, got 0"),
        ({"device": "gpu"}, "'cpu' or 'cuda'"),
        ({"world": "three_arms", "device": "tpu9"}, "'cpu' or 'cuda'"),
        ({"preferences": Path("nowhere.csv")}, "an existing file"),
        ({"preferences": Path("nowhere.csv"), "pairs": (3,)}, "without pairs"),
        ({"objective": ("safe",), "kl": 0.5}, "it has a beta only"),
        ({"optimiser": "best_of_n", "kl": 0.5}, "choose n"),
        ({"n": 4}, "unset for exact"),
        ({"optimiser": "ppo", "samples": 0}, "samples"),
        ({"address": "tcp://nowhere:1"}, "use backend 'dask' or 'ray'"),
    ],
)
def test_bad_input_is_explained(wrong, message, tmp_path, capsys):
    assert run_experiment(Experiment(**{**QUICK, **wrong}, out=tmp_path)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'a,b\n1\n"2'])
def test_files_that_cannot_be_read(content, tmp_path, capsys):
    path = tmp_path / "pairs.csv"
    path.write_bytes(content)
    assert run_experiment(Experiment(**QUICK, preferences=path, out=tmp_path / "a")) == 2
    assert "preferences" in capsys.readouterr().err


def test_a_manifest_that_is_none(tmp_path, capsys):
    (tmp_path / "manifest.json").write_text("[")
    assert run_experiment(Experiment(**QUICK, resume=True, out=tmp_path)) == 2
    assert "manifest.json" in capsys.readouterr().err


def test_options_of_the_optimiser(tmp_path):
    options = Experiment(("ensemble_mean",), "best_of_n", n=2, seeds=2, out=tmp_path)
    assert run_experiment(options) == 0
    assert "BestOfN(n=2)" in Records.open(tmp_path).config["optimiser"]


def test_a_distance_out_of_reach_is_said(tmp_path, capsys):
    options = Experiment(("ensemble_mean",), "ppo", kl=5.0, seeds=2, steps=3, out=tmp_path)
    assert run_experiment(options) == 0
    assert "not at 5" in capsys.readouterr().out


def test_every_world_has_objectives_of_its_own(tmp_path):
    for world in ("grid", "three_arms"):
        options = Experiment((), "exact", world=world, seeds=2, out=tmp_path / world)
        assert run_experiment(options) == 0


def test_a_spread_of_one_member_is_refused(tmp_path, capsys):
    assert run_experiment(Experiment(**QUICK, members=(1,), out=tmp_path)) == 1
    error = capsys.readouterr().err
    assert "at least 2 members" in error
    assert "Traceback" not in error


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_where_there_is_none(tmp_path, capsys):
    assert run_experiment(Experiment(**QUICK, device="cuda", out=tmp_path)) == 2
    assert "use device='cpu'" in capsys.readouterr().err


def test_the_default_says_what_it_does(tmp_path, capsys):
    assert main(["--seeds", "1", "--optimiser", "exact", "--out", str(tmp_path / "a")]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("exact on grid 8x8: vanilla, ensemble_mean, reward_robust at beta 0.15")
    assert "--help" in first


def test_without_torch_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "bandits.command", None)
    assert main([]) == 2
    assert "pip install -e '.[torch]'" in capsys.readouterr().err

"""Saved ensembles and policies: the right weights, or an error that names the file."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import snapshot_download

from llm_bridge.data.pairs import Labelling
from llm_bridge.lm import snapshots
from llm_bridge.lm.adapter_files import load_adapter
from llm_bridge.lm.checkpoints import load_policy
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.snapshots import commits, snapshot
from llm_bridge.provenance import keep, origin
from llm_bridge.rewards.ensembles import Ensemble
from llm_bridge.settings import Settings
from llm_bridge.sources import Checkpoint
from tests.llm_bridge.damage import copied, damaged
from theory.errors import InputError
from theory.integrity import SUMS
from theory.presets import lcb


@pytest.fixture(scope="module")
def ensemble(quick, tmp_path_factory):
    """A saved ensemble, and its weights."""
    folder = tmp_path_factory.mktemp("ensemble")
    quick.ensembles(0)[0].save(folder)
    return folder, weights_of(folder, Ensemble.from_pretrained)


@pytest.fixture(scope="module")
def policy(quick, tmp_path_factory):
    """A kept policy, and its weights."""
    folder = tmp_path_factory.mktemp("policy")
    trainer = quick.trainer(lcb(0.1), Settings(batch=8), 0)
    keep(folder, trainer.save_policy, trainer, seed=0, world=quick)
    return folder, weights_of(folder, load_policy)


def weights_of(folder, load):
    loaded = load(folder)
    models = loaded.models if isinstance(loaded, Ensemble) else [loaded[0]]
    return torch.nn.ModuleList(models).state_dict()


def outcome(folder, load, expected):
    """Whether it was loaded, rightly; else the error names a file of the folder."""
    try:
        found = weights_of(folder, load)
    except InputError as error:
        told = str(error)
    else:
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        return True
    assert str(folder) in told
    return False


def refusal(act, name):
    """Whether an error names what it should, where there is one."""
    try:
        act()
    except InputError as error:
        return name in str(error)
    return True


@pytest.mark.parametrize(("kind", "load"), [("ensemble", Ensemble.from_pretrained),
                                            ("policy", load_policy)])  # fmt: skip
def test_a_damaged_model_is_refused_by_name(kind, load, request, tmp_path):
    original, expected = request.getfixturevalue(kind)
    refused = 0
    for number in range(50):
        place = copied(original, tmp_path / "copy")
        told = damaged(place, np.random.default_rng([6, number]))
        loaded = outcome(place, load, expected)
        assert not loaded or told.startswith(SUMS), told
        refused += not loaded
    assert refused > 35


def test_an_ensemble_is_loaded_by_the_name_of_its_folder(ensemble):
    folder, expected = ensemble
    assert outcome(str(folder), Ensemble.from_pretrained, expected)


def test_where_a_policy_comes_from_is_checked_too(policy, tmp_path):
    for number, kind in enumerate(("cut", "emptied", "flipped", "other JSON", "garbage")):
        place = copied(policy[0], tmp_path / "copy")
        for name in ("config.json", "model.safetensors"):
            (place / name).unlink()
        (place / SUMS).unlink()
        damaged(place / "training.json", np.random.default_rng([8, number]), kind)
        if kind != "flipped":
            with pytest.raises(InputError, match="policies") as refused:
                origin(place)
            assert str(place) in str(refused.value)


def test_a_damaged_adapter_is_refused_by_name(quick, tmp_path):
    trainer = quick.trainer(lcb(0.1), Settings(batch=8, lora=Lora(2)), 0)
    keep(tmp_path / "adapter", trainer.save_policy, trainer, seed=0, world=quick)
    _, expected = load_adapter(tmp_path / "adapter")
    for number in range(50):
        place = copied(tmp_path / "adapter", tmp_path / "copy")
        told = damaged(place, np.random.default_rng([9, number]))
        found = []
        read = partial(lambda folder, into: into.append(load_adapter(folder)[1]), place, found)
        assert refusal(read, str(place)), told
        assert bool(found) <= told.startswith(SUMS), told
        assert all(torch.equal(own[name], expected[name]) for own in found for name in expected)


COMMITS = {"main": "a" * 40, "v1": "b" * 40}


@pytest.fixture
def hub(policy, tmp_path, monkeypatch):
    """A cache of the hub with two revisions of a model, and no connection."""
    place = tmp_path / "models--someone--model"
    for revision, commit in COMMITS.items():
        (place / "refs").mkdir(parents=True, exist_ok=True)
        (place / "refs" / revision).write_text(commit)
        folder = place / "snapshots" / commit
        shutil.copytree(policy[0], folder)
        for name in (SUMS, "training.json"):
            (folder / name).unlink()
        about = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**about, "revision": revision}))
    offline = partial(snapshot_download, cache_dir=tmp_path, local_files_only=True)
    monkeypatch.setattr(snapshots, "snapshot_download", offline)
    return "someone/model"


def test_a_name_on_the_hub_takes_a_revision(hub):
    for name, revision in ((hub, "main"), (f"{hub}@v1", "v1"), (f"{hub}@{'b' * 40}", "v1")):
        folder = snapshot(name)
        assert json.loads((folder / "config.json").read_text())["revision"] == revision
        assert commits(name) == {name: COMMITS[revision]}


def test_an_unknown_revision_says_how_to_get_it(hub):
    with pytest.raises(InputError, match=r"someone/model@v9.*hf download .*--revision v9"):
        snapshot(f"{hub}@v9")


def test_a_folder_with_the_sign_in_its_path_stays_a_folder(policy, tmp_path):
    place = copied(policy[0], tmp_path / "me@home" / "model@v1")
    assert snapshot(place) == place
    assert commits(place) == {}


def test_worlds_and_kept_models_say_the_commit(hub, quick, tmp_path, brief):
    world = type(quick)(
        Checkpoint(hub, ("garden :",), judge="kindness"), Labelling(20), quick.ensemble, 8,
        sampling=quick.sampling, cache=tmp_path / "cache",
    )  # fmt: skip
    assert world.commits == {hub: "a" * 40}
    judged = replace(world.source, judge=f"{hub}@v1")
    assert judged.commits == {hub: "a" * 40, f"{hub}@v1": "b" * 40}
    trainer = quick.trainer(lcb(0.1), brief, 0)
    keep(tmp_path / "kept", trainer.save_policy, trainer, seed=0, world=world)
    assert origin(tmp_path / "kept").commits == world.commits
    world.ensembles(0)[0].save(tmp_path / "ensemble")
    assert json.loads((tmp_path / "ensemble" / "ensemble.json").read_text())["commit"] == "a" * 40
    own = Checkpoint(str(tmp_path / "kept"), ("garden :",), judge="kindness")
    assert own.commits == {}
    assert Path(own.policy_path).is_dir()

"""The cache: what is whole is taken, what is damaged is made anew, and nothing else answers."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from llm_bridge import caching, sources
from llm_bridge.caching import DONE, cached, default_cache, entry, mark
from llm_bridge.commands.parsing import parsed
from llm_bridge.sources import Embedded
from llm_bridge.text_world import TextWorld
from tests.llm_bridge.damage import MUTATIONS, damaged
from theory.errors import InputError
from theory.fingerprint import versions
from theory.memory import Memory


@pytest.fixture(autouse=True)
def unflushed(monkeypatch):
    """Files are written many times here; waiting for the disk is tested elsewhere."""
    monkeypatch.setattr("theory.files.flush", lambda *_: None)


def made(folder):
    (folder / "texts.json").write_text('["a", "b"]')
    (folder / "inner").mkdir()
    (folder / "inner" / "weights.bin").write_bytes(bytes(range(256)))


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    }  # fmt: skip


def test_an_entry_is_made_once_and_says_what_it_is(tmp_path, capsys):
    calls = []
    for _ in range(2):
        folder = entry(tmp_path, "thing", ("told", 1), lambda new: calls.append(made(new)), made)
    assert len(calls) == 1
    assert folder == cached(tmp_path, "thing", ("told", 1), made)
    said = json.loads((folder / DONE).read_text())
    assert (said["kind"], said["made_of"]) == ("thing", "('told', 1)")
    assert sorted(said["files"]) == ["inner", "inner/weights.bin", "texts.json"]
    assert said["packages"] == versions()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("change", ["described", "code", "versions"])
def test_other_entries_are_elsewhere(change, tmp_path, monkeypatch):
    before = cached(tmp_path, "thing", 1, made)
    if change == "code":
        monkeypatch.setattr(caching, "fingerprint", lambda *makers: "other")
    if change == "versions":
        monkeypatch.setattr(caching, "versions", lambda: {"torch": "0"})
    assert cached(tmp_path, "thing", 1 + (change == "described"), made) != before


def test_a_damaged_entry_is_made_anew_with_a_notice(tmp_path, capsys):
    """Whatever was done to whichever of its files; `done` is one of them."""
    first = contents(entry(tmp_path, "thing", 1, made))
    for number in range(60):
        rng = np.random.default_rng([1, number])
        folder = entry(tmp_path, "thing", 1, made)
        capsys.readouterr()
        told = damaged(folder, rng)
        assert contents(entry(tmp_path, "thing", 1, made)) == first, told
        assert f"{folder} is damaged" in capsys.readouterr().err, told


@pytest.mark.slow
def test_a_damaged_model_is_the_trained_one_again(quick, tmp_path, monkeypatch):
    """The embedded model's real files; what is made anew is copied here, to be quick."""
    quick.policy()
    original = next(quick.cache.glob("tiny-*"))
    copies = []

    def pretrain(folder, *_):
        copies.append(folder)
        for path in original.iterdir():
            if path.name != DONE and not path.name.startswith("."):
                shutil.copy(path, folder)

    cache = tmp_path / "cache"
    shutil.copytree(original, cache / original.name)
    monkeypatch.setattr(sources, "pretrain", pretrain)
    expected = quick.policy()[0].state_dict()
    folder = entry_of(quick.source, cache)
    for number in range(50):
        rng, before = np.random.default_rng([2, number]), len(copies)
        told = damaged(folder, rng)
        model, _ = quick.source.policy(cache)
        assert len(copies) == before + 1, told
        found = model.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected), told


def entry_of(source, cache):
    """The folder of the one model in a cache, made if need be."""
    source.policy(cache)
    return max(cache.glob("tiny-*"), key=lambda path: path.stat().st_mtime)


@pytest.mark.slow
def test_a_damaged_cache_of_reward_models_and_references_gives_the_same_scores(
    quick, tmp_path, capsys
):
    expected = quick.normaliser(7)
    for kind in ("rewards", "references"):
        cache = tmp_path / kind
        shutil.copytree(quick.cache, cache)
        folders = sorted(cache.glob(f"{kind}-*"))
        for number, folder in enumerate(folders):
            damaged(folder, np.random.default_rng([3, number]), "cut")
        found = replace(quick, cache=cache, memory=Memory()).normaliser(7)
        assert torch.equal(found.offset, expected.offset), kind
        assert torch.equal(found.scale, expected.scale), kind
        assert "damaged" in capsys.readouterr().err


def test_foreign_files_are_no_part_of_an_entry(tmp_path, capsys):
    first = contents(entry(tmp_path, "thing", 1, made))
    folder = cached(tmp_path, "thing", 1)
    (folder / "adapter_config.json").write_text("{}")
    assert contents(entry(tmp_path, "thing", 1, made)) == first
    assert "damaged" in capsys.readouterr().err
    (folder / ".node~1-1.left-over").write_text("half")
    entry(tmp_path, "thing", 1, lambda folder: pytest.fail("made again"))


def test_a_whole_cache_is_only_read(tmp_path, monkeypatch):
    folder = entry(tmp_path, "thing", 1, made)
    for name in ("output_folder", "locked", "write_text"):
        monkeypatch.setattr(caching, name, lambda *_, **__: pytest.fail("written"))
    assert entry(tmp_path, "thing", 1, made) == folder


def test_a_cache_that_cannot_be_made_is_named_with_its_option(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"`cache` .*--cache or RLHF_RISK_CACHE"):
        entry(tmp_path / "file", "thing", 1, made)


SCRIPT = """
import sys, time
from pathlib import Path
from llm_bridge.caching import entry

def make(folder):
    with open(sys.argv[2], "a") as log:
        log.write("made\\n")
    time.sleep(0.5)
    (folder / "thing").write_text("whole")

print((entry(Path(sys.argv[1]), "thing", 1, make) / "thing").read_text())
"""


def test_of_two_processes_one_makes_and_the_other_waits(tmp_path):
    script, log = tmp_path / "make.py", tmp_path / "log"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tmp_path / "cache"), str(log)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in running] == ["whole\n"] * 2
    assert log.read_text() == "made\n"


def test_no_home_matters_only_where_no_cache_is_chosen(tmp_path, monkeypatch):
    def homeless(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("RLHF_RISK_CACHE", raising=False)
    assert TextWorld(cache=tmp_path).cache == tmp_path
    for command in ("ppo", "sft", "ugda", "population"):
        assert parsed([command, "--cache", str(tmp_path)]).cache == tmp_path
    assert parsed(["ppo"]).cache is None
    with pytest.raises(InputError, match=r"`cache` .*--cache FOLDER.*RLHF_RISK_CACHE"):
        parsed(["ppo"]).world()
    monkeypatch.setenv("RLHF_RISK_CACHE", str(tmp_path))
    assert default_cache() == parsed(["ppo"]).world().cache == tmp_path


def test_worlds_with_other_caches_are_others_and_own_their_models(tmp_path, monkeypatch):
    loaded = []

    def policy(source, cache):
        loaded.append(cache)
        return object(), object()

    monkeypatch.setattr(Embedded, "policy", policy)
    one, other = TextWorld(cache=tmp_path / "one"), TextWorld(cache=tmp_path / "other")
    assert one != other
    assert one == TextWorld(cache=tmp_path / "one")
    assert one.policy() is not other.policy()
    assert replace(one, states=tmp_path).policy() is one.policy()
    assert replace(one, cache=tmp_path / "other").policy() is not one.policy()
    assert len(loaded) == 3


def test_a_judge_is_marked_by_its_code_and_not_by_its_time(tmp_path, monkeypatch):
    path = tmp_path / "own_judge.py"
    path.write_text("def score(prompts, responses):\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = mark("own_judge:score")
    path.write_text("# a remark\ndef score(prompts, responses):\n    return 1\n")
    assert mark("own_judge:score") == before != ""
    path.write_text("def score(prompts, responses):\n    return 2\n")
    assert mark("own_judge:score") != before


def test_the_kinds_of_damage_are_told():
    assert len(MUTATIONS) >= 6

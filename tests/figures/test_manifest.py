"""What a folder of figures says of itself: damaged in any way, it is noticed."""

import json
import multiprocessing
import shutil

import numpy as np
import pytest

from figures.inputs import unchanged
from figures.manifest import add_entries, damages, read_manifest
from theory.errors import InputError
from theory.files import digest

KINDS = ("csv", "png", "pdf", "txt")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder of two figures whose files are of a few bytes."""
    out = tmp_path_factory.mktemp("whole")
    for key in ("first", "second"):
        for kind in KINDS:
            (out / f"{key}.{kind}").write_bytes(f"{key},{kind}\n1,2.5\n3,4.5\n".encode())
        files = {f"{key}.{kind}": digest(out / f"{key}.{kind}") for kind in KINDS}
        entry = {"status": "done", "inputs": "this", "files": files, "setting": {"seed": 0}}
        add_entries(out / "manifest.json", {key: entry})
    assert all(
        unchanged(entry, "this", out) for entry in read_manifest(out / "manifest.json").values()
    )
    return out


def damage(path, rng):
    content = path.read_bytes()
    place = int(rng.integers(len(content) - 1))
    how = rng.integers(7)
    path.unlink()
    if how == 0:
        return
    if how == 1:
        path.mkdir()
        return
    changed = bytearray(content)
    changed[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(
        [b"", content[:place], bytes(changed), content + content[place:], b"\xff\xfe"][how - 2]
    )


@pytest.mark.parametrize("number", range(64))
def test_no_damage_goes_unseen(number, whole, tmp_path, capsys):
    out, rng = shutil.copytree(whole, tmp_path / "out"), np.random.default_rng(number)
    key, kind = str(rng.choice(["first", "second"])), str(rng.choice([*KINDS, "manifest"]))
    path = out / ("manifest.json" if kind == "manifest" else f"{key}.{kind}")
    damage(path, rng)
    if kind != "manifest":
        entries = read_manifest(out / "manifest.json")
        changed = {name for name, entry in entries.items() if not unchanged(entry, "this", out)}
        assert changed == {key}
        assert list(damages(entries[key], out)) == [path.name]
        assert f"{path} is " in capsys.readouterr().err
    elif path.exists():
        with pytest.raises(InputError, match=r"manifest\.json"):
            read_manifest(path)
    else:
        assert read_manifest(path) == {}


def test_fields_of_a_manifest_that_were_edited_are_seen(whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "out")
    path = out / "manifest.json"
    said = json.loads(path.read_text())
    said["figures"]["first"]["setting"]["seed"] = 1
    path.write_text(json.dumps(said))
    with pytest.raises(InputError, match="changed after it was written"):
        add_entries(path, {})


def test_a_manifest_of_an_earlier_version_is_read_and_its_figures_are_drawn_again(whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "out")
    path = out / "manifest.json"
    entries = json.loads(path.read_text())["figures"]
    for entry in entries.values():
        entry["files"] = list(entry["files"])
    path.write_text(json.dumps({"figures": entries}))
    found = read_manifest(path)
    assert found == entries
    assert not any(unchanged(entry, "this", out) for entry in found.values())
    assert not any(damages(entry, out) for entry in found.values())


def _add(path, name):
    for number in range(10):
        add_entries(path, {f"{name}.{number}": {"status": "failed", "setting": {}}})


def test_processes_that_add_figures_lose_none(tmp_path):
    context, path = multiprocessing.get_context("spawn"), tmp_path / "manifest.json"
    workers = [context.Process(target=_add, args=(path, name)) for name in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(read_manifest(path)) == 20

"""Whether files are as they were written."""

import shutil
import subprocess

import numpy as np
import pytest

from tests.llm_bridge.damage import damaged
from theory.errors import InputError
from theory.integrity import SUMS, add_checksum, check_sums, has_checksum, kept_arrays, write_sums


@pytest.fixture(autouse=True)
def unflushed(monkeypatch):
    """Files are written many times here."""
    monkeypatch.setattr("theory.files.flush", lambda *_: None)


def test_no_damage_of_a_file_with_a_checksum_goes_unseen(tmp_path):
    for number in range(80):
        rng, path = np.random.default_rng(number), tmp_path / f"{number}"
        path.write_bytes(rng.bytes(int(rng.integers(0, 300))))
        assert not has_checksum(path)
        add_checksum(path)
        assert has_checksum(path)
        damaged(path, rng)
        assert not has_checksum(path)


def test_arrays_that_are_damaged_are_computed_again(tmp_path, capsys):
    path, calls = tmp_path / "numbers.npz", []

    def compute():
        calls.append(1)
        return {"a": np.arange(4.0), "b": np.eye(2)}

    kept_arrays(path, compute)
    kept_arrays(path, compute)
    assert len(calls) == 1
    assert capsys.readouterr().err == ""
    for number in range(60):
        told = damaged(path, np.random.default_rng(number), None if number % 4 else "flipped")
        if path.is_dir():
            path.rmdir()
        found = kept_arrays(path, compute)
        assert found["a"].tolist() == [0, 1, 2, 3], told
        assert found["b"].tolist() == [[1, 0], [0, 1]], told
        assert len(calls) == number + 2


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "folder"
    place.mkdir()
    for name, content in (("a.json", "{}"), ("b.safetensors", "weights"), (".hidden", "")):
        (place / name).write_text(content)
    write_sums(place)
    return place


def test_sums_are_those_of_the_usual_tool(folder):
    check_sums(folder, "folder")
    tool = shutil.which("sha256sum")
    if tool is None:
        pytest.skip("no sha256sum here")
    subprocess.run([tool, "--check", "--strict", "--quiet", SUMS], cwd=folder, check=True)


def test_a_damaged_file_is_named_with_what_to_do(folder, tmp_path):
    for number in range(60):
        place = tmp_path / f"copy-{number}"
        shutil.copytree(folder, place)
        told = damaged(place, np.random.default_rng([1, number]))
        if told.startswith(SUMS) and not (place / SUMS).exists():
            check_sums(place, "folder")
            continue
        with pytest.raises(InputError) as refused:
            check_sums(place, "folder")
        assert str(place) in str(refused.value), told
        assert "delete" in str(refused.value), told


def test_other_files_and_skipped_ones_do_not_matter(folder):
    (folder / "notes.txt").write_text("mine")
    (folder / "b.safetensors").write_text("changed")
    check_sums(folder, "folder", skip="*.safetensors")
    with pytest.raises(InputError, match=r"b\.safetensors"):
        check_sums(folder, "folder")

"""Records of a finished run, damaged in every way that came to mind: right rows, or a refusal."""

import json
import os
import shutil
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest

from bandits.optimisers import PPO
from bandits.three_arms import ThreeArms
from theory.errors import InputError
from theory.experiment import run
from theory.manifest import MANIFEST
from theory.presets import ensemble_mean, lcb
from theory.records import Records

SEEDS, STEPS = range(4), 6
FOREIGN = (
    "summary.csv", "notes.csv", "0.csv", ".csv", ".hidden.csv", "three_arms.lcb.4-5.csv",
    "three_arms.lcb.0-1 (copy).csv", "three_arms.lcb.0-1.CSV.csv", "THREE_ARMS.LCB.0-1.csv",
    "three_arms.lcb.csv", "ärme.csv", "a b\nc.csv", "manifest.csv", "three_arms.lcb.9-9.csv.part",
)  # fmt: skip
CONTENTS = (
    b"", b"\n", b"\xff\xfe\x00", b'"', b"a,b\n1,2\n", b"a,b\n1,2,3\n1\n", b"\x1f\x8b\x08",
    b"objective,seed,step,gold,kl,proxy\nlcb,0,20,99,0,0\nvanilla,1,20,-99,0,0\n",
)  # fmt: skip


@dataclass(frozen=True)
class Remembering:
    """Three arms that are trained on once: what is asked for again comes from memory."""

    memory: dict[tuple[str, ...], list[pd.DataFrame]] = field(default_factory=dict, repr=False)
    name = "three_arms"

    def train(self, objective, optimiser, seeds, **times):
        asked = tuple(map(str, (objective, seeds, times)))
        if asked not in self.memory:
            self.memory[asked] = list(ThreeArms().train(objective, optimiser, seeds, **times))
        yield from self.memory[asked]


WORLD = Remembering()


def go(folder, *, world=WORLD, steps=STEPS, resume=False):
    objectives = {"mean": ensemble_mean(0.1), "lcb": lcb(0.1)}
    return run(world, objectives, PPO(samples=4), SEEDS, steps=steps, evaluate_every=2, out=folder,
               chunk=2, resume=resume).rows()  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder that nothing has happened to, and its rows."""
    folder = tmp_path_factory.mktemp("records") / "finished"
    rows = go(folder)
    assert len(rows) == 2 * 4 * 3
    return folder, rows


def cells(folder):
    return sorted(path for path in folder.glob("three_arms.*-[0-9].csv") if untouched(path))


def untouched(path):
    return path.is_file() and not path.is_symlink() and path.stat().st_size > 0


def a_cell(folder, rng):
    return rng.choice(cells(folder))


def replaced(path, content):
    path.write_bytes(content)


def foreign(folder, rng):
    content = CONTENTS[rng.integers(len(CONTENTS))]
    if rng.random() < 0.4:
        content = a_cell(folder, rng).read_bytes()
    name = str(rng.choice([name for name in FOREIGN if not (folder / name).is_dir()]))
    if rng.random() < 0.1:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()
    else:
        replaced(folder / name, content)


def cut(folder, rng):
    path = a_cell(folder, rng)
    content = path.read_bytes()
    replaced(path, content[: rng.integers(len(content))])


def filled(folder, rng):
    replaced(a_cell(folder, rng), CONTENTS[rng.integers(len(CONTENTS))])


def flipped(folder, rng):
    path = a_cell(folder, rng)
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    replaced(path, bytes(content))


def doubled(folder, rng):
    path = a_cell(folder, rng)
    lines = path.read_bytes().splitlines(keepends=True)
    replaced(path, b"".join([*lines, lines[rng.integers(len(lines))]]))


def shortened(folder, rng):
    path = a_cell(folder, rng)
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[rng.integers(len(lines))]
    replaced(path, b"".join(lines))


def gapped(folder, rng):
    """Without a row in the middle: one at the end may be missing where a run broke off."""
    path = a_cell(folder, rng)
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[rng.integers(len(lines) - 2)]
    replaced(path, b"".join(lines))


def edited(folder, rng):
    path = a_cell(folder, rng)
    replaced(path, path.read_bytes().replace(b"mean", b"best").replace(b"0.", b"1."))


def swapped(folder, rng):
    first, second = rng.choice(cells(folder)[:3], 2, replace=False)
    content = first.read_bytes()
    replaced(first, second.read_bytes())
    replaced(second, content)


def removed(folder, rng):
    a_cell(folder, rng).unlink()


def a_folder(folder, rng):
    path = a_cell(folder, rng)
    path.unlink()
    path.mkdir()


def linked(folder, rng):
    path = a_cell(folder, rng)
    target = [*cells(folder), folder / "nowhere", os.devnull, "/dev/zero", folder]
    if rng.random() < 0.3:
        target = [shutil.copy(path, folder.parent / f"{folder.name}.same")]
    path.unlink()
    path.symlink_to(target[rng.integers(len(target))])


def a_pipe(folder, rng):
    path = a_cell(folder, rng)
    path.unlink()
    os.mkfifo(path)


def left_over(folder, rng):
    path = a_cell(folder, rng)
    content = path.read_bytes()[: rng.integers(len(path.read_bytes()))]
    replaced(path.with_name(path.name + ".part"), content)


def manifest_fields(folder, rng):
    path = folder / MANIFEST
    said = json.loads(path.read_text())
    place = said
    while True:
        key = str(rng.choice(list(place)))
        if not isinstance(place[key], dict) or not place[key] or rng.random() < 0.3:
            break
        place = place[key]
    if rng.random() < 0.7:
        del place[key]
    else:
        place[key] = [None, 0, "", [], {}, 7, "other"][rng.integers(7)]
    path.write_text(json.dumps(said))


def manifest_bytes(folder, rng):
    path = folder / MANIFEST
    content = bytearray(path.read_bytes())
    if rng.random() < 0.5:
        content = content[: rng.integers(len(content))]
    else:
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    replaced(path, bytes(content))


def manifest_filled(folder, rng):
    contents = (*CONTENTS, b"[]", b"null", b"{}", b'{"config": 1}', b"[" * 100_000, b'{"config": {')
    replaced(folder / MANIFEST, contents[rng.integers(len(contents))])


def manifest_gone(folder, rng):
    path = folder / MANIFEST
    path.unlink()
    if rng.random() < 0.5:
        path.mkdir() if rng.random() < 0.5 else path.symlink_to(folder / "nowhere")


HARMLESS = (foreign, left_over)
HARM = (cut, filled, flipped, doubled, shortened, edited, swapped, removed, a_folder, linked,
        a_pipe, manifest_fields, manifest_bytes, manifest_filled, manifest_gone)  # fmt: skip


def rows_or_refusal(read, folder):
    """Rows, or None after a refusal that names a file of the folder."""
    told = ""
    try:
        return read().drop(columns="cell")
    except InputError as error:
        told = str(error)
    assert str(folder) in told
    return None


def same(found, expected):
    pd.testing.assert_frame_equal(found, expected.drop(columns="cell"))


@pytest.mark.parametrize("number", range(120))
def test_damaged_records_give_the_right_rows_or_are_refused(number, finished, tmp_path):
    original, expected = finished
    folder, rng = tmp_path / "run", np.random.default_rng(number)
    shutil.copytree(original, folder)
    kinds = (*HARMLESS, *HARM)
    done = [kinds[number % len(kinds)]]
    if number >= 2 * len(kinds):
        done.insert(0, HARMLESS[rng.integers(2)])
    if number >= 4 * len(kinds):
        done.insert(0, kinds[rng.integers(len(kinds) - 4)])
    for mutate in done:
        mutate(folder, rng)
    read = rows_or_refusal(lambda: Records.open(folder).rows(), folder)
    if read is not None:
        same(read, expected)
    with pytest.raises(InputError, match=r"empty folder"):
        go(folder)
    resumed = rows_or_refusal(lambda: go(folder, resume=True), folder)
    if resumed is not None:
        same(resumed, expected)
        same(Records.open(folder).rows().drop(columns="cell"), expected)
    if set(done) <= set(HARMLESS):
        assert read is not None
        assert resumed is not None
    if not set(done) & {a_folder, manifest_fields, manifest_bytes, manifest_filled, manifest_gone}:
        assert resumed is not None


def test_what_is_left_out_and_computed_again_is_said(finished, tmp_path, capsys):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    (folder / "summary.csv").write_text("gold\n99\n")
    cells(folder)[0].write_text("")
    go(folder, resume=True)
    told = capsys.readouterr().err.splitlines()
    assert sum("summary.csv is not among the records" in line for line in told) == 1
    assert sum(f"{cells(folder)[0]} is not as it was written" in line for line in told) == 1
    Records.open(folder).rows()
    assert capsys.readouterr().err == ""


def test_a_longer_run_has_the_rows_of_an_uninterrupted_one(finished, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    longer = go(folder, steps=9, resume=True)
    assert sorted(longer.step.unique()) == [2, 4, 6, 8, 9]
    pd.testing.assert_frame_equal(longer, go(tmp_path / "whole", world=Remembering(), steps=9))
    for path in cells(folder):
        assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()


def test_the_rows_so_far_are_read_but_for_a_line_that_is_cut(finished, tmp_path):
    folder, rng = shutil.copytree(finished[0], tmp_path / "run"), np.random.default_rng(0)
    path = cells(folder)[0]
    content, known = path.read_bytes(), path.name.removesuffix(".csv")
    said = json.loads((folder / MANIFEST).read_text())
    part = folder / f"{known}.csv.part"
    legacy(folder, said)
    path.unlink()
    for end in rng.integers(len(content), size=25):
        part.write_bytes(content[:end])
        rows = Records.open(folder).rows(partial=True)
        found = rows[rows.cell == known]
        assert len(found) == max(0, content[:end].count(b"\n") - 1)
        whole = finished[1][finished[1].cell == known][: len(found)]
        pd.testing.assert_frame_equal(found.reset_index(drop=True), whole.reset_index(drop=True))


def legacy(folder, said):
    """The manifest that the last version wrote."""
    config = said["config"] | {"steps": said["steps"]}
    (folder / MANIFEST).write_text(json.dumps({"config": config}, indent=2) + "\n")


@pytest.mark.parametrize("number", range(28))
def test_a_folder_of_an_earlier_version_is_read_where_it_can_be_whole(number, finished, tmp_path):
    folder, rng = shutil.copytree(finished[0], tmp_path / "run"), np.random.default_rng(number)
    legacy(folder, json.loads((folder / MANIFEST).read_text()))
    kinds = (None, cut, filled, doubled, gapped, swapped, a_folder)
    mutate = kinds[number % len(kinds)]
    if mutate is not None:
        mutate(folder, rng)
    read = rows_or_refusal(lambda: Records.open(folder).rows(), folder)
    assert (read is None) == (mutate is not None)
    if read is not None:
        same(read, finished[1])
    resumed = rows_or_refusal(lambda: go(folder, resume=True), folder)
    assert (resumed is None) == (mutate is a_folder)
    if resumed is not None:
        same(resumed, finished[1])
        assert "sha256" in json.loads((folder / MANIFEST).read_text())

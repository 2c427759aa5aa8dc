"""Numbers in prose are those of committed tables, which newly computed ones agree with."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from figures import results
from figures.catalogue import FIGURES
from figures.figure import Setting
from figures.render import render_all
from tests.quotes import FILES, ROOT, SENTENCES, SETTINGS, left, missing, plain, prose, sentences
from theory.errors import InputError

IMDB = ROOT.parent / "shared" / "data" / "imdb_ensemble_scores.csv.gz"
CHEAP = ("banerjee2024.fig2", "adaptive2024.fig2", "beyond.shrinkage")


@pytest.mark.parametrize("file", SENTENCES)
def test_sentences_stand_in_their_file_as_their_tables_have_them(file):
    assert missing(file) == [], "after a look at the tables, write it so"
    assert len(sentences(file)) >= 5


@pytest.mark.parametrize("file", FILES)
def test_no_other_number_is_quoted(file):
    """A number that is no result joins `SETTINGS`; one that is needs a table, and a sentence."""
    assert left(file) == []
    text = prose((ROOT / file).read_text(encoding="utf-8"))
    assert [phrase for phrase in SETTINGS.get(file, ()) if prose(phrase) not in text] == []


@pytest.mark.parametrize("file", SENTENCES)
def test_a_changed_digit_is_noticed(file):
    """Whatever digit outside of code is changed, it is a quote that fails or a number left over."""
    for sentence in sentences(file):
        for place in [match.start() for match in re.finditer(r"\d", sentence)]:
            digit = str((int(sentence[place]) + 1) % 10)
            changed = sentence[:place] + digit + sentence[place + 1 :]
            text = plain((ROOT / file).read_text(encoding="utf-8")).replace(sentence, changed)
            assert sentence not in text


def test_every_table_says_where_it_was_computed():
    origin = json.loads((results.FOLDER / results.ORIGIN).read_text(encoding="utf-8"))
    kept = {path.stem for path in results.FOLDER.glob("*.csv")}
    assert kept | {results.AUDIT} == set(origin)
    assert kept <= {*FIGURES, results.SCORES}
    for told in origin.values():
        assert told["processor"]
        assert told["packages"]["numpy"]
        assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", told["commit"])


def test_no_single_run_of_a_language_model_is_kept():
    """Studies of language models have at least ten seeds."""
    for path in results.FOLDER.glob("*.csv"):
        if path.stem in FIGURES and set(FIGURES[path.stem].seconds) == {"tiny"}:
            assert pd.read_csv(path).filter(items=["seeds", "policies"]).max().max() >= 10


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    render_all([FIGURES[key] for key in CHEAP], Setting(), folder, lambda line: None)
    return folder


def test_what_is_drawn_anew_is_recorded_and_checked(drawn, tmp_path, capsys):
    folder = tmp_path / "results"
    folder.mkdir()
    drawn = shutil.copytree(drawn, tmp_path / "out")
    assert results.record(drawn, folder) == sorted(CHEAP)
    assert results.check(drawn, folder) == {key: [] for key in CHEAP}
    table = results.table(CHEAP[0], folder)
    for factor in (-1, 2):
        wrong = table.assign(true_return=factor * table.true_return)
        wrong.to_csv(drawn / f"{CHEAP[0]}.csv", index=False)
        assert len(results.check(drawn, folder)[CHEAP[0]]) == len(table)
    assert results.main(results.Options("check", tmp_path)) == 2
    assert "python -m figures" in capsys.readouterr().err
    with pytest.raises(InputError, match="results record"):
        results.table("beyond.frontier", folder)


def test_committed_tables_are_what_is_drawn_now(drawn):
    found = results.check(drawn)
    assert found == {key: [] for key in found}


def test_a_study_is_redrawn_from_its_committed_table(drawn, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    results.record(drawn, folder)
    figure = FIGURES[CHEAP[2]]
    again = results.redrawn(figure, folder)
    pd.testing.assert_frame_equal(again.compute(Setting(seed=7)), results.table(figure.key, folder))
    assert "computed on" in again.caption(results.table(figure.key, folder))
    assert results.redrawn(figure, tmp_path) is figure


@pytest.mark.slow
@pytest.mark.skipif(not IMDB.is_file(), reason="needs the scores of IMDB reviews")
def test_scores_of_reviews():
    from theory.comparison import compare
    from theory.penalties import TargetKL
    from theory.score_table import read_scores

    kept = pd.read_csv(results.FOLDER / "imdb.csv").set_index("objective")
    found = compare(read_scores(IMDB), list(kept.index), TargetKL(0.3)).summary
    found = found.set_index("objective")
    for column in ("beta", "gain", "gold", "gold_gain_low", "gold_gain_high"):
        np.testing.assert_allclose(found[column], kept[column], rtol=1e-4)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 9, bytes(range(256)), b"a,b\n1\n2,3,4\n", b"\x1f\x8b", b"{}", b"[]"]
)
@pytest.mark.parametrize("name", [f"{CHEAP[0]}.csv", results.AUDIT])
def test_damaged_files_are_named_and_never_as_kept(drawn, tmp_path, capsys, name, content):
    out = shutil.copytree(drawn, tmp_path / "out")
    (out / name).write_bytes(content)
    status = results.main(results.Options("check", out))
    told = capsys.readouterr()
    if status == 2:
        assert str(out / name) in told.err
    else:
        assert status == 1
        assert "numbers differ" in told.out


def test_an_audit_without_claims_is_not_as_kept(drawn, tmp_path):
    out = shutil.copytree(drawn, tmp_path / "out")
    (out / results.AUDIT).write_text('{"trial": {"draws": 1, "seed": 0}, "claims": []}')
    assert len(results.check(out)[results.AUDIT]) > 50
    (out / results.AUDIT).unlink()
    (out / results.AUDIT).mkdir()
    with pytest.raises(InputError, match=results.AUDIT):
        results.check(out)

"""Your own scores: reading, comparing, and every way a table can be wrong."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import theory
from tests.tolerance import EXACT, ROUNDING
from theory.__main__ import main
from theory.comparison import ALL, choose, compare, strength
from theory.errors import InputError
from theory.optimum import solve
from theory.penalties import Budget, Penalty, TargetKL
from theory.presets import ensemble_mean
from theory.safe_bound import radius
from theory.score_table import read_scores, score_table
from theory.tables import escaped, read_table, write_table

IMDB = Path(__file__).parents[3] / "shared" / "data" / "imdb_ensemble_scores.csv.gz"


def frame(prompts: int = 6, responses: int = 4, members: int = 5, *, gold: bool = True):
    rng = np.random.default_rng(0)
    rows = []
    for x in range(prompts):
        reference = rng.dirichlet(np.ones(responses))
        for y in range(responses):
            truth = rng.normal()
            row = {"prompt": f"p{x}", "response": y, "reference": reference[y]}
            row |= {f"member_{i}": truth + rng.normal() for i in range(members)}
            rows.append(row | ({"gold": truth} if gold else {}))
    return pd.DataFrame(rows)


def test_the_order_of_rows_does_not_matter():
    table = frame()
    shuffled = table.sample(frac=1, random_state=1)
    first, second = score_table(table), score_table(shuffled)
    np.testing.assert_array_equal(first.scores.members, second.scores.members)
    np.testing.assert_array_equal(first.gold, second.gold)
    assert first.prompts == [f"p{x}" for x in range(6)]


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet", "jsonl", "jsonl.gz"])
def test_every_format_reads_the_same(suffix, tmp_path):
    table, path = frame(), tmp_path / f"scores.{suffix}"
    if suffix == "parquet":
        table.to_parquet(path)
    elif suffix.startswith("csv"):
        table.to_csv(path, index=False)
    else:
        text = "\n".join(json.dumps(row) for row in table.to_dict("records"))
        write = gzip.open if suffix.endswith("gz") else open
        with write(path, "wt") as file:
            file.write(text)
    read = read_scores(path)
    np.testing.assert_allclose(read.scores.members, score_table(table).scores.members, atol=EXACT)
    assert read.members == [f"member_{i}" for i in range(5)]


def test_members_can_be_named():
    table = frame().rename(columns={"member_0": "first", "member_1": "second"})
    assert score_table(table, members=["first", "second"]).scores.k == 2


def broken(change) -> pd.DataFrame:
    table = frame()
    return change(table)


def set_cell(table, row, column, value):
    table = table.copy()
    table.loc[row, column] = value
    return table


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: t.drop(columns="reference"),
            ["reference", "columns prompt, response, member_0"],
        ),
        (lambda t: t.drop(columns=[f"member_{i}" for i in range(5)]), ["member_0", "--members"]),
        (lambda t: pd.concat([t, t.iloc[[3]]]), ["1 duplicate rows", "'p0'", "3"]),
        (lambda t: t.drop(index=5), ["1 prompts without some", "'p1'", "without '1'"]),
        (lambda t: set_cell(t, 2, "member_3", np.nan), ["member_3", "finite", "nan", "'p0'"]),
        (lambda t: set_cell(t, 2, "member_3", np.inf), ["member_3", "finite"]),
        (lambda t: set_cell(t, 2, "gold", np.nan), ["gold", "finite"]),
        (lambda t: set_cell(t, 2, "reference", -0.1), ["non-negative", "-0.1"]),
        (lambda t: t.assign(reference=t.reference * 1.1), ["sum to 1", "a sum of 1.1", "'p0'"]),
        (lambda t: t.iloc[:0], ["empty"]),
    ],
)
def test_a_wrong_table_is_explained(change, words):
    with pytest.raises(InputError) as error:
        score_table(broken(change))
    for word in words:
        assert word in str(error.value), (word, str(error.value))


def test_wrong_files_are_explained(tmp_path):
    with pytest.raises(InputError, match="existing file"):
        read_scores(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"\.parquet"):
        read_scores(tmp_path / "scores.xlsx")
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{not json")
    with pytest.raises(InputError, match=r"readable \.jsonl"):
        read_scores(bad)


def test_one_member_has_no_variance():
    table = score_table(frame(members=1))
    with pytest.raises(InputError, match="at least 2 members"):
        compare(table, ["lcb"])
    only = compare(table, ["vanilla"]).summary
    assert "p_harm" not in only
    assert only.status[0] == "optimal"


def test_strengths_exclude_each_other():
    assert strength() == TargetKL(0.3)
    assert strength(beta=2.0) == Penalty(2.0)
    assert strength(eps=0.1) == Budget(0.1)
    with pytest.raises(InputError, match="one of --beta"):
        strength(beta=1.0, kl=1.0)
    for wrong in ({"beta": 0.0}, {"beta": -1.0}, {"kl": 0.0}):
        with pytest.raises(InputError, match="> 0"):
            strength(**wrong)


def test_objectives_are_chosen_by_name():
    assert choose(["all"]) == list(ALL)
    assert choose(["lcb", "lcb"]) == ["lcb"]
    with pytest.raises(InputError, match="did you mean 'ensemble_mean'"):
        choose(["ensemble_men"])


def test_summary_numbers_follow_from_the_policies():
    table = score_table(frame())
    found = compare(table, ["ensemble_mean"], Penalty(0.5), shrink=False)
    row, cells = found.summary.iloc[0], found.policies
    centred = table.scores.centred(table.log_reference)
    exact = solve(ensemble_mean(0.5), table.log_reference, centred)
    policy = cells.probability.to_numpy().reshape(6, 4)
    np.testing.assert_allclose(policy, exact.policy, atol=EXACT)
    moved = policy - table.reference
    assert abs(row.gain - (moved * centred.mean()).sum() / 6) <= EXACT
    sd = np.sqrt((moved**2 * centred.var()).sum()) / 6
    assert abs(row.gain_sd - sd) <= EXACT
    assert abs(row.lower_bound - (row.gain - 1.6448536 * sd)) <= ROUNDING * 10
    assert abs(row.simultaneous_lower_bound - (row.gain - radius(18, 0.05) * sd)) <= ROUNDING
    assert abs(row.gold - (policy * table.gold).sum() / 6) <= EXACT
    assert row.gold_gain_low < row.gold_gain < row.gold_gain_high
    independent = compare(
        table, ["ensemble_mean"], Penalty(0.5), shrink=False, errors="independent"
    )
    assert abs(independent.summary.gain_sd[0] - sd / np.sqrt(5)) <= EXACT


def test_frontier_rises_from_the_reference():
    found = compare(score_table(frame()), ["ensemble_mean", "variance_aware"])
    for _, curve in found.frontier.groupby("objective"):
        assert curve.kl.min() < 0.01
        assert curve.kl.max() > 0.5
    assert compare(score_table(frame(gold=False)), ["lcb"]).frontier.empty


def test_command_writes_everything(tmp_path, capsys):
    path = tmp_path / "scores.csv"
    frame().to_csv(path, index=False)
    assert main(["solve", str(path), "--out", str(tmp_path / "out"), "--kl", "0.1"]) == 0
    shown = capsys.readouterr().out
    assert "6 prompts x 4 responses, 5 members, gold" in shown
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"summary.csv", "policies.csv", "frontier.csv", "comparison.png",
                     "comparison.pdf"}  # fmt: skip
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert list(summary.objective) == list(ALL)
    assert np.abs(summary.kl[summary.status == "optimal"] - 0.1).max() <= ROUNDING
    policies = pd.read_csv(tmp_path / "out" / "policies.csv")
    totals = policies.groupby(["objective", "prompt"]).probability.sum()
    assert np.abs(totals - 1).max() <= ROUNDING
    assert {"sample_variance", "variance", "gold"} <= set(policies.columns)


def test_command_reports_infeasible_strengths(tmp_path, capsys):
    path = tmp_path / "scores.csv"
    frame(gold=False).to_csv(path, index=False)
    arguments = ["solve", str(path), "--objective", "variance_aware_kl", "--eps", "-50"]
    assert main([*arguments, "--out", str(tmp_path)]) == 1
    assert "infeasible" in capsys.readouterr().out
    arguments = ["solve", str(path), "--objective", "variance_aware", "--eps", "-1"]
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    assert "`eps` must be >= 0" in capsys.readouterr().err


@pytest.mark.skipif(not IMDB.is_file(), reason="the IMDB ensemble scores are not beside the clone")
def test_real_reviews():
    table = theory.read_scores(IMDB)
    assert table.scores.k == 10
    greedy = table.gold[np.arange(275), table.scores.mean().argmax(-1)].mean()
    assert round(greedy, 2) == 0.92
    single = [table.gold[np.arange(275), m.argmax(-1)].mean()
              for m in np.moveaxis(table.scores.members, -1, 0)]  # fmt: skip
    assert (round(min(single), 2), round(max(single), 2)) == (0.78, 0.88)
    found = theory.compare(table, ["vanilla", "ensemble_mean"], TargetKL(0.3)).summary
    vanilla, mean = found.gold
    assert mean > vanilla + 0.05


def test_policies_hold_the_texts_that_came(tmp_path):
    """Byte for byte, or escaped where a spreadsheet is to open them."""
    prompts = [
        "=HYPERLINK(1)",
        "+1+1|cmd",
        "-a",
        "@b",
        "\tc",
        "\rd",
        "e\r\nf",
        'g"h',
        "i,j",
        "None",
    ]
    table = pd.concat([frame(1, 2).assign(prompt=prompt) for prompt in prompts])
    path = write_table(tmp_path / "scores.csv", table)
    for option in ([], ["--spreadsheet-safe"]):
        out = tmp_path / f"out{len(option)}"
        arguments = ["solve", str(path), "--objective", "vanilla", "--no-frontier"]
        assert main([*arguments, *option, "--out", str(out)]) == 0
        read = read_table(out / "policies.csv")
        wanted = [escaped(prompt) if option else prompt for prompt in sorted(prompts)]
        assert list(dict.fromkeys(read.prompt)) == wanted
        assert max(map(len, read.probability)) <= len("0.123456789012") + 4


def test_responses_that_the_reference_lacks_get_nothing(tmp_path, capsys):
    """Also where a third of them is the best: penalties that are finite there are refused."""
    table = frame(gold=False)
    absent = table.response == table.response.unique()[0]
    rest = table[~absent].groupby("prompt").reference.transform("sum")
    table.loc[~absent, "reference"] /= rest
    table.loc[absent, "reference"] = 0.0
    path = tmp_path / "scores.csv"
    table.to_csv(path, index=False)
    arguments = ["solve", str(path), "--out", str(tmp_path), "--beta", "0.5", "--objective"]
    for name in ("variance_aware_theorem", "variance_unaware_theorem", "covariance_aware", "safe"):
        assert main([*arguments, name]) == 2
        assert "reference 0 for prompt" in capsys.readouterr().err
    assert main([*arguments, "all"]) == 0
    assert "left out of all" in capsys.readouterr().err
    policies = pd.read_csv(tmp_path / "policies.csv")
    assert policies.probability[policies.reference == 0].max() == 0
    assert len(policies.objective.unique()) == len(ALL) - 2
    assert np.isfinite(pd.read_csv(tmp_path / "summary.csv").kl).all()


@pytest.mark.parametrize(
    "name", ["Member_2", "MEMBER_2", " member_2", "member_2 ", "member-2", "Std_0", "Gold", "gold ",
             "Reference", " prompt", "Response"]
)  # fmt: skip
def test_columns_that_are_nearly_called_as_what_is_read_are_named(name):
    table = frame(gold=False)
    with pytest.warns(UserWarning, match="not read: .*case and blanks count"):
        score_table(table.assign(**{name: 1.0}))

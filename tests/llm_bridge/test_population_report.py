"""What is said of the spread of many policies, on returns that are known."""

import numpy as np
import pandas as pd
import pytest

from llm_bridge.population_report import contrasts, harmed, returns, spread
from tests.tolerance import EXACT
from theory.errors import InputError

MEMBERS, TRIALS = 10, 4


def rows(method, values, errors=0.0):
    members, trials = values.shape
    table = pd.DataFrame({
        "objective": method, "member": np.repeat(np.arange(members), trials),
        "trial": np.tile(np.arange(trials), members), "judged_gold": values.ravel(),
    })  # fmt: skip
    return table.assign(judged_error=errors, judged_kl=1.0)


def drawn(rng, between, within, noise, members=MEMBERS, trials=TRIALS):
    own = between * rng.standard_normal((members, 1)) + within * rng.standard_normal(
        (members, trials)
    )
    return own + noise * rng.standard_normal((members, trials))


def test_the_parts_of_a_spread_are_found_again():
    """sds 2 between members, 1 within, and .5 of judging: 400 members leave a few per cent."""
    rng = np.random.default_rng(0)
    found = spread(
        rows("a", drawn(rng, 2.0, 1.0, 0.5, members=400), 0.5),
        pd.DataFrame({"judged_gold": [-100.0]}), rng,
    ).iloc[0]  # fmt: skip
    assert found["between"] == pytest.approx(2.0, rel=0.15)
    assert found["within"] == pytest.approx(1.0, rel=0.15)
    assert found["noise"] == pytest.approx(0.5, rel=EXACT)
    assert found["true_sd"] ** 2 == pytest.approx(found["between"] ** 2 + found["within"] ** 2)
    assert (found["worse"], found["worse_low"]) == (0.0, 0.0)


def test_policies_that_differ_by_judging_alone_have_no_spread():
    rng = np.random.default_rng(1)
    table = rows("a", drawn(rng, 0.0, 0.0, 0.5, members=400), 0.5)
    found = spread(table, pd.DataFrame({"judged_gold": [0.0]}), rng).iloc[0]
    assert found["sd"] == pytest.approx(0.5, rel=0.1)
    assert found["true_sd"] < 0.15


@pytest.mark.slow
def test_a_method_against_itself_and_against_one_of_half_the_spread():
    rng = np.random.default_rng(2)
    values = drawn(rng, 1.0, 0.3, 0.0)
    table = pd.concat([rows("a", values), rows("same", values), rows("half", 1 + values / 2)])
    found = contrasts(table, "a", rng).set_index(["method", "statistic"])
    same, half = found.loc["same"], found.loc["half"]
    assert same.loc["sd ratio", ["value", "low", "high"]].tolist() == [1.0] * 3
    assert same.loc["mean difference", ["value", "low", "high"]].tolist() == [0.0] * 3
    for name in ("sd ratio", "true sd ratio", "iqr ratio"):
        assert half.loc[name, ["low", "high"]].tolist() == pytest.approx([0.5, 0.5])
    difference = half.loc["mean difference"]
    assert difference.low < difference.value < difference.high


def test_one_policy_that_ran_away_moves_the_sd_and_not_the_quartiles():
    rng = np.random.default_rng(4)
    values = drawn(rng, 0.0, 1.0, 0.0)
    away = values.copy()
    away[0, 0] = -100.0
    table = pd.concat([rows("a", values), rows("away", away)])
    found = contrasts(table, "a", rng).set_index("statistic").value
    assert found["sd ratio"] > 5
    assert found["iqr ratio"] == pytest.approx(1.0, abs=0.1)
    assert found["mean difference"] < -0.5
    assert found["median difference"] == pytest.approx(0.0, abs=0.1)


def test_intervals_follow_members_and_not_policies():
    """Trials that repeat their member tell nothing new: as wide as with one trial each."""
    rng = np.random.default_rng(3)
    once = drawn(rng, 1.0, 0.0, 0.0, trials=1)
    often = np.repeat(once, 8, axis=1)
    widths = []
    for values in (once, often):
        low, high = harmed(values, 0.0, np.random.default_rng(0))
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_members_of_whom_a_policy_diverged_are_left_out():
    values = drawn(np.random.default_rng(4), 1.0, 1.0, 0.0)
    table = rows("a", values)
    table.loc[5, "judged_gold"] = np.nan
    assert returns(table, "a").shape == (MEMBERS - 1, TRIALS, 2)
    with pytest.raises(InputError, match="two members or more"):
        returns(table[table.member == 0], "a")


def test_harm_that_no_policy_met_is_not_ruled_out():
    low, high = harmed(np.ones((MEMBERS, TRIALS)), 0.0, np.random.default_rng(0))
    assert (low, round(float(high), 3)) == (0.0, 0.308)

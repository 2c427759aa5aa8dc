"""The audit: every claim is confirmed, and the report says so."""

import json

import pytest

from theory.__main__ import main
from theory.errors import InputError
from theory.references import REFERENCES
from theory.theorems import CLAIMS, Finding, Trial
from theory.theorems import audit as module
from theory.theorems.audit import audit, chosen, write_report

TRIAL = Trial(draws=20_000, seed=0)
COUNTEREXAMPLES = (
    "thm22_printed", "thm22_inverted", "thm33_simplex", "thm33_simplex_four", "thm33_zero_mass",
    "thm36_penalised", "thm36_constrained", "thm36_three_arms", "thm36_shift", "variance_order",
    "weighted_kl_is_no_distance", "plain_kl_not_monotone",
)  # fmt: skip


@pytest.mark.parametrize("key", CLAIMS)
def test_the_numbers_of_a_claim_say_what_its_verdict_says(key):
    claim = CLAIMS[key]
    finding = claim.check(TRIAL)
    assert claim.confirmed(finding), finding
    assert finding.evidence
    assert claim.key == key
    assert claim.paper in REFERENCES
    assert claim.corrected or claim.verdict == "true"


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("key", COUNTEREXAMPLES)
def test_counterexamples_violate_the_printed_claim_every_time(key, seed):
    assert not CLAIMS[key].check(Trial(draws=20_000, seed=seed)).printed_holds


def test_numbers_depend_on_the_seed_alone():
    key = "thm33_simplex"
    alone = audit(chosen([key]), Trial(5000, seed=4))[0].finding
    among = audit(chosen([key, "thm22_printed"]), Trial(5000, seed=4, workers=2))
    assert alone == next(r.finding for r in among if r.claim.key == key)
    assert alone != audit(chosen([key]), Trial(5000, seed=5))[0].finding


def test_selection_by_key_and_paper():
    assert [c.key for c in chosen(["thm33_simplex"])] == ["thm33_simplex"]
    assert {c.paper for c in chosen(["banerjee2024"])} == {"banerjee2024"}
    assert len(chosen([])) == len(CLAIMS)
    with pytest.raises(InputError, match="did you mean 'thm33_simplex'"):
        chosen(["thm33_simplx"])


def test_reports_hold_every_number(tmp_path):
    results = audit(chosen(["thm33_simplex", "homogeneous"]), Trial(2000))
    markdown, data = write_report(results, Trial(2000), tmp_path)
    text = markdown.read_text()
    assert "## thm33_simplex" in text
    assert "| homogeneous | banerjee2024" in text
    stored = json.loads(data.read_text())
    assert [claim["key"] for claim in stored["claims"]] == ["thm33_simplex", "homogeneous"]
    first = stored["claims"][0]["evidence"][0]
    assert first["observed"] == results[0].finding.evidence[0].observed
    assert first["interval"][0] < first["observed"] < first["interval"][1]


def test_command_writes_and_confirms(tmp_path, capsys):
    arguments = ["audit", "--only", "homogeneous", "--draws", "1000", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert "1 of 1 claims confirmed" in capsys.readouterr().out
    assert (tmp_path / "audit.md").exists()


def test_command_fails_when_a_number_contradicts_its_verdict(tmp_path, monkeypatch, capsys):
    real = CLAIMS["homogeneous"]
    broken = type(real)(**{**vars(real), "check": lambda trial: Finding(False, True, real.check(trial).evidence)})  # noqa: E501  # fmt: skip
    monkeypatch.setitem(module.CLAIMS, "homogeneous", broken)
    assert main(["audit", "--only", "homogeneous", "--out", str(tmp_path)]) == 1
    assert "NOT confirmed: homogeneous" in capsys.readouterr().out


def test_command_reports_bad_input(tmp_path, capsys):
    assert main(["audit", "--only", "thm22", "--out", str(tmp_path)]) == 2
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["audit", "--only", "homogeneous", "--out", str(blocked)]) == 2
    assert "folder that can be written to" in capsys.readouterr().err

"""The audit: every claim is confirmed, and the report says so."""

import json
import re
from dataclasses import replace

import pytest

from theory.__main__ import main
from theory.errors import InputError
from theory.references import REFERENCES
from theory.theorems import CLAIMS, Finding, Trial
from theory.theorems import audit as module
from theory.theorems.audit import audit, chosen, read_report, write_report

TRIAL = Trial(draws=20_000, seed=0)
REFUTED = [
    key for key, c in CLAIMS.items() if c.paper == "banerjee2024" and c.verdict != "true"
]  # fmt: skip


@pytest.mark.parametrize("key", CLAIMS)
def test_the_numbers_of_a_claim_say_what_its_verdict_says(key):
    claim = CLAIMS[key]
    finding = claim.check(TRIAL)
    assert claim.confirmed(finding), finding
    assert finding.evidence
    assert claim.key == key
    assert claim.paper in REFERENCES
    assert claim.corrected or claim.verdict == "true"


@pytest.mark.parametrize("seed", [1, *(pytest.param(s, marks=pytest.mark.slow) for s in (2, 3))])
@pytest.mark.parametrize("key", REFUTED)
def test_counterexamples_violate_the_printed_claim_every_time(key, seed):
    finding = CLAIMS[key].check(Trial(draws=20_000, seed=seed))
    assert not finding.printed_holds
    assert finding.corrected_holds


def test_numbers_depend_on_the_seed_alone():
    keys = ["thm33_simplex", "thm22_printed", "risk_at_thresholds"]
    alone = audit(chosen(keys[:1]), Trial(5000, seed=4))[0].finding
    among = audit(chosen(keys), Trial(5000, seed=4))
    shared = audit(chosen(keys), Trial(5000, seed=4, workers=2))
    assert alone == next(r.finding for r in among if r.claim.key == keys[0])
    assert [r.claim.key for r in shared] == [r.claim.key for r in among]
    assert [r.finding for r in shared] == [r.finding for r in among]
    assert alone != audit(chosen(keys[:1]), Trial(5000, seed=5))[0].finding


def test_progress_sees_every_finding():
    seen = []
    results = audit(
        chosen(["homogeneous", "l2_and_kl"]),
        Trial(100),
        lambda findings: map(_note(seen), findings),
    )
    assert seen == [result.finding for result in results]


def _note(seen):
    return lambda finding: seen.append(finding) or finding


@pytest.mark.parametrize(
    ("verdict", "printed", "corrected", "confirmed"),
    [
        ("true", True, True, True),
        ("true", True, False, False),
        ("true", False, True, False),
        ("true if", False, True, True),
        ("false", True, True, False),
        ("false", False, False, False),
    ],
)
def test_a_claim_is_confirmed_only_by_numbers_that_say_its_verdict(
    verdict, printed, corrected, confirmed
):
    claim = replace(CLAIMS["homogeneous"], verdict=verdict)
    assert claim.confirmed(Finding(printed, corrected, ())) is confirmed


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
    assert "| homogeneous | banerjee2024 sec. 3, homogeneous | true | holds | holds | yes |" in text
    assert "Banerjee and Gopalan (2024)" in text
    assert CLAIMS["thm33_simplex"].corrected in text
    stored = json.loads(data.read_text())
    assert [claim["key"] for claim in stored["claims"]] == ["thm33_simplex", "homogeneous"]
    first = stored["claims"][0]["evidence"][0]
    assert first["observed"] == results[0].finding.evidence[0].observed
    assert first["interval"][0] < first["observed"] < first["interval"][1]
    assert stored["trial"] == {"draws": 2000, "seed": 0, "workers": 1}
    assert {c["key"]: c["confirmed"] for c in stored["claims"]} == dict.fromkeys(
        ["thm33_simplex", "homogeneous"], True
    )
    assert sorted(p.name for p in tmp_path.glob("[!.]*")) == ["audit.json", "audit.md"]


def test_audits_of_one_folder_stand_side_by_side(tmp_path, capsys):
    keys = ["thm33_simplex", "homogeneous"]
    for key in reversed(keys):
        write_report(audit(chosen([key]), Trial(2000)), Trial(2000), tmp_path)
    once = tmp_path / "once"
    write_report(audit(chosen(keys), Trial(2000)), Trial(2000), once)
    for name in ("audit.md", "audit.json"):
        assert (tmp_path / name).read_bytes() == (once / name).read_bytes()
    write_report(audit(chosen(keys[:1]), Trial(2000, seed=1)), Trial(2000, seed=1), tmp_path)
    assert [c["key"] for c in read_report(tmp_path / "audit.json")["claims"]] == keys[:1]
    assert "another seed" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"claims": 1}', None])
def test_an_audit_that_is_damaged_is_named(content, tmp_path):
    _, data = write_report([], Trial(2000), tmp_path)
    data.write_bytes(data.read_bytes().replace(b"2000", b"2001") if content is None else content)
    with pytest.raises(InputError, match=r"audit\.json"):
        write_report([], Trial(2000), tmp_path)


def test_command_writes_and_confirms(tmp_path, capsys):
    arguments = ["audit", "--only", "homogeneous", "--draws", "1000", "--out", str(tmp_path)]
    assert main(arguments) == 0
    heads, row, *_, last = capsys.readouterr().out.splitlines()
    assert heads.split()[:6] == ["claim", "where", "verdict", "printed", "corrected", "confirmed"]
    assert re.search(r"true +holds +holds +yes +largest difference of 1000 draws: ", row)
    assert last == "1 of 1 claims confirmed"
    assert (tmp_path / "audit.md").exists()


def test_command_fails_when_a_number_contradicts_its_verdict(tmp_path, monkeypatch, capsys):
    real = CLAIMS["homogeneous"]
    broken = replace(real, check=lambda trial: real.check(trial)._replace(printed_holds=False))
    monkeypatch.setitem(module.CLAIMS, "homogeneous", broken)
    assert main(["audit", "--only", "homogeneous", "--out", str(tmp_path)]) == 1
    assert "NOT confirmed: homogeneous" in capsys.readouterr().out
    assert "| refuted | holds | NO |" in (tmp_path / "audit.md").read_text()


def test_command_reports_bad_input(tmp_path, capsys):
    assert main(["audit", "--only", "thm22", "--out", str(tmp_path)]) == 2
    assert "did you mean" in capsys.readouterr().err
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["audit", "--only", "homogeneous", "--out", str(blocked)]) == 2
    assert "folder that can be written to" in capsys.readouterr().err

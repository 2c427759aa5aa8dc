"""Run claims, and tell what became of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from joblib import Parallel, delayed

from theory import checks
from theory.files import locked, output_folder, write_text
from theory.fingerprint import fingerprint
from theory.intervals import Interval
from theory.manifest import damaged, read_sealed, write_sealed
from theory.notices import notice
from theory.references import cite
from theory.theorems.catalogue import CLAIMS
from theory.theorems.claim import Claim, Evidence, Finding, Trial

DATA = "audit.json"
HINT = "move that file away, or choose another folder with --out"


class Result(NamedTuple):
    """A claim with what its check found."""

    claim: Claim
    finding: Finding

    @property
    def confirmed(self) -> bool:
        """Whether the numbers say what the verdict says."""
        return self.claim.confirmed(self.finding)


def chosen(names: Iterable[str]) -> list[Claim]:
    """Claims of these keys or papers, all for no names; `InputError` for unknown ones."""
    names = tuple(names)
    papers = {claim.paper for claim in CLAIMS.values()}
    for name in names:
        checks.one_of("only", name, {*CLAIMS, *papers})
    return [c for c in CLAIMS.values() if not names or c.key in names or c.paper in names]


def audit(
    claims: Iterable[Claim],
    trial: Trial,
    progress: Callable[[Iterable[Finding]], Iterable[Finding]] = iter,
) -> list[Result]:
    """Check claims of the catalogue in `trial.workers` processes, in their order.

    `progress` wraps the iterator over findings.
    """
    checks.positive("workers", trial.workers)
    claims = list(claims)
    pool = Parallel(n_jobs=trial.workers, return_as="generator")
    findings = progress(pool(delayed(_check)(claim.key, trial) for claim in claims))
    return [Result(*pair) for pair in zip(claims, findings, strict=True)]


def _check(key: str, trial: Trial) -> Finding:
    """Keys travel between processes, checks cannot: their names now belong to claims."""
    return CLAIMS[key].check(trial)


def table(results: list[Result]) -> str:
    """One line a claim, for a terminal: its verdict, what survived, and its first number."""
    heads = ("claim", "where", "verdict", "printed", "corrected", "confirmed", "first number")
    rows = [
        (claim.key, f"{claim.paper} {claim.number}", claim.verdict, _word(finding.printed_holds),
         _word(finding.corrected_holds), _answer(claim.confirmed(finding)),
         f"{finding.evidence[0].quantity}: {observed(finding.evidence[0])}")
        for claim, finding in results
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in (heads, *rows))
    return "\n".join(lines)


def markdown(results: list[Result], trial: Trial) -> str:
    """A table of verdicts, and under it each claim with its numbers."""
    head = (
        f"# Audited claims\n\n{trial.draws:,} draws, seed {trial.seed}. 'printed' and 'corrected' "
        "say whether the statement survived its check.\n\n"
        "| claim | where | verdict | printed | corrected | confirmed |\n|---|---|---|---|---|---|\n"
    )
    rows = "".join(
        f"| {claim.key} | {claim.paper} {claim.number} | {claim.verdict} "
        f"| {_word(finding.printed_holds)} | {_word(finding.corrected_holds)} "
        f"| {_answer(claim.confirmed(finding))} |\n"
        for claim, finding in results
    )
    return head + rows + "".join(f"\n{_section(result)}" for result in results)


def as_data(results: list[Result], trial: Trial) -> dict[str, Any]:
    """The same as plain values."""
    return {"trial": asdict(trial), "code": _code(), "claims": [_record(r) for r in results]}


def write_report(results: list[Result], trial: Trial, out: Path) -> list[Path]:
    """Write audit.md and audit.json of a folder, beside claims that were audited there before.

    Those stay that the same code found by the same trial, also what another process found in the
    meantime; others are left out, with a notice. Raises `InputError` for a folder that cannot be
    written to, or whose audit.json is not as it was written.
    """
    with locked(output_folder(out)):
        found = _before(out / DATA, trial) | {result.claim.key: result for result in results}
        together = [found[key] for key in CLAIMS if key in found]
        return [
            write_text(out / "audit.md", markdown(together, trial)),
            write_sealed(out / DATA, as_data(together, trial)),
        ]


def read_report(path: Path) -> dict[str, Any] | None:
    """Read an audit.json, None where there is none. Raises `InputError` for a damaged one."""
    try:
        said, _ = read_sealed(path, hint=HINT)
        if not isinstance(said.get("claims"), list):
            raise damaged(path, "it names no claims", HINT)
    except FileNotFoundError:
        return None
    return said


def _before(path: Path, trial: Trial) -> dict[str, Result]:
    """What the same code found earlier, by the same trial."""
    said = read_report(path)
    if said is None or not said["claims"]:
        return {}
    now = asdict(trial) | {"code": _code()}
    then = {**said.get("trial", {}), "code": said.get("code")}
    if any(then.get(name) != now[name] for name in ("draws", "seed", "code")):
        notice(f"{path} was of other draws, another seed or other code: it is replaced")
        return {}
    return {
        claim["key"]: Result(CLAIMS[claim["key"]], _finding(claim))
        for claim in said["claims"] if claim["key"] in CLAIMS
    }  # fmt: skip


def _finding(record: Mapping[str, Any]) -> Finding:
    """What `_record` wrote."""
    evidence = (
        Evidence(**{**e, "interval": e["interval"] and Interval(*e["interval"])})
        for e in record["evidence"]
    )
    return Finding(record["printed_holds"], record["corrected_holds"], tuple(evidence))


@cache
def _code() -> str:
    """Of all checks."""
    return fingerprint(*(claim.check for claim in CLAIMS.values()))


def _section(result: Result) -> str:
    claim, finding = result
    lines = [
        f"## {claim.key}",
        f"{cite(claim.paper)}, {claim.number}: **{claim.verdict}**.\n",
        f"- As printed: {claim.statement}",
    ]
    if claim.corrected:
        lines.append(f"- Corrected: {claim.corrected}")
    lines += ["", "| quantity | observed | printed | corrected |", "|---|---|---|---|"]
    lines += [
        f"| {_cell(e.quantity)} | {observed(e)} | {_number(e.printed)} | {_number(e.corrected)} |"
        for e in finding.evidence
    ]
    return "\n".join(lines) + "\n"


def observed(evidence: Evidence) -> str:
    """The observed number with its interval."""
    if evidence.interval is None:
        return _number(evidence.observed)
    low, high = (_number(float(limit)) for limit in evidence.interval)
    return f"{_number(evidence.observed)} [{low}, {high}]"


def _record(result: Result) -> dict[str, Any]:
    claim, finding = result
    described = {key: getattr(claim, key) for key in
                 ("key", "paper", "number", "statement", "verdict", "corrected")}  # fmt: skip
    evidence = [
        {**e._asdict(), "interval": None if e.interval is None else [float(x) for x in e.interval]}
        for e in finding.evidence
    ]
    outcome = {
        "printed_holds": bool(finding.printed_holds),
        "corrected_holds": bool(finding.corrected_holds),
    }
    return {**described, **outcome, "confirmed": bool(result.confirmed), "evidence": evidence}


def _cell(text: str) -> str:
    """Bars would end the cell of a table."""
    return text.replace("|", "\\|")


def _word(holds: bool) -> str:
    return "holds" if holds else "refuted"


def _answer(confirmed: bool) -> str:
    return "yes" if confirmed else "NO"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"

"""The theorem audit as a table: each statement as printed, its verdict, and the numbers."""

from typing import Any

from figures.report.elements import (
    Cell,
    Markup,
    badge,
    badges,
    element,
    filters,
    joined,
    link,
    table,
)
from theory.theorems.audit import observed
from theory.theorems.claim import Evidence

VERDICTS = ("true", "true if", "false")
ABSENT = "The audit was not run into this folder: python -m theory audit writes it."


def audit_line(claims: list[dict[str, Any]] | None) -> Markup:
    """How often each verdict was given, with a link; nothing where there is no audit."""
    if claims is None:
        return Markup()
    told = link("audit", f"{len(claims)} statements")
    return element("p", told, " of theory, audited: ", badges(_counts(claims)))


def audit_section(claims: list[dict[str, Any]] | None) -> Markup:
    """Table of the audited claims, to filter and to sort; says so where there is none."""
    if claims is None:
        return element("p", ABSENT)
    papers = {claim["paper"]: claim["paper"] for claim in claims}
    choices = {"Paper": papers, "Verdict": {verdict: verdict for verdict in VERDICTS}}
    heads = ("Where", "Statement as printed", "Verdict", "What holds instead", "Evidence")
    rows = [(_row(claim), _marks(claim)) for claim in claims]
    wrong = [claim["key"] for claim in claims if not claim["confirmed"]]
    confirmed = (
        f"Numbers contradict the verdict of {', '.join(wrong)}."
        if wrong
        else "The numbers confirm every verdict."
    )
    return joined(
        (
            element(
                "p",
                f"{len(claims)} statements, each against an independent computation: ",
                badges(_counts(claims)),
                f". 'true if': it holds under conditions that it leaves out. {confirmed}",
            ),
            filters("audit-table", "statements", choices),
            table("audit-table", "Audited statements of the papers", heads, rows),
        )
    )


def _counts(claims: list[dict[str, Any]]) -> dict[str, int]:
    found = [claim["verdict"] for claim in claims]
    return {verdict: found.count(verdict) for verdict in VERDICTS}


def _marks(claim: dict[str, Any]) -> dict[str, str]:
    return {
        "id": f"audit-{claim['key']}", "data_paper": claim["paper"],
        "data_verdict": claim["verdict"],
    }  # fmt: skip


def _row(claim: dict[str, Any]) -> list[str | Cell]:
    doubt = "" if claim["confirmed"] else element("strong", " NOT confirmed")
    verdict = joined((badge(claim["verdict"]), doubt))
    where = joined((claim["number"], element("small", f" {claim['paper']}")))
    order = VERDICTS.index(claim["verdict"])
    return [where, claim["statement"], Cell(verdict, order), claim["corrected"], _evidence(claim)]


def _evidence(claim: dict[str, Any]) -> Markup:
    """The first number, and all of them on demand."""
    numbers = [Evidence(**number) for number in claim["evidence"]]
    lines = [_line(number) for number in numbers]
    if len(lines) < 2:
        return joined(lines)
    more = element("summary", lines[0], f" (and {len(lines) - 1} more)")
    return element("details", more, element("ul", *(element("li", line) for line in lines[1:])))


def _line(number: Evidence) -> str:
    """Observed, and what both statements say that it is."""
    said = [
        f"{name} {value:.5g}"
        for name, value in (("printed", number.printed), ("corrected", number.corrected))
        if value is not None
    ]
    return f"{number.quantity}: {observed(number)}" + (f" ({', '.join(said)})" if said else "")

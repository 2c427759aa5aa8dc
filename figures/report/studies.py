"""Sections of the report about figures: summary, all claims, each paper, what is missing."""

import textwrap

from figures.figure import SCALES, VERDICTS, Figure
from figures.report.audit import audit_line
from figures.report.contents import BEYOND, Contents, Study, counts
from figures.report.elements import (
    Cell,
    Markup,
    Row,
    badge,
    badges,
    data_uri,
    download,
    element,
    filters,
    joined,
    link,
    table,
)
from theory.references import REFERENCES

PIXELS = 120
"""An inch of a figure on the page."""
ALT = 240
"""Characters of an alternative text, which is the beginning of the caption."""


def title(paper: str) -> str:
    """Heading of a paper's section."""
    return "Beyond the papers" if paper == BEYOND else REFERENCES[paper].title


def summary(contents: Contents) -> Markup:
    """Verdicts by paper, and in all, those of the audit too."""
    drawn = contents.having("done")
    by_paper = {paper: contents.of(paper) for paper in contents.papers}
    rows: list[Row] = [
        (
            [joined((link(paper, title(paper)), element("small", f" {paper}"))),
             str(len(studies)), *map(str, counts(studies).values())],
            {},
        )
        for paper, studies in by_paper.items()
    ]  # fmt: skip
    heads = ("Paper", "Figures", *(badge(verdict) for verdict in VERDICTS))
    found = counts(drawn)
    told = f"{sum(found.values())} claims about {len(drawn)} figures and tables: "
    return joined(
        (
            element("p", told, badges(found)),
            audit_line(contents.audit),
            table("summary-table", "Claims of each paper by verdict", heads, rows),
        )
    )


def claims(contents: Contents) -> Markup:
    """Every claim about a figure, to filter and to sort."""
    rows: list[Row] = []
    papers = {}
    for study in contents.having("done"):
        paper, key = study.figure.paper, study.figure.key
        for finding in study.findings:
            verdict, papers[paper] = finding["verdict"], paper
            cells = (
                joined((link(key, study.figure.number or study.figure.title),
                        element("small", f" {paper}"))),
                finding["claim"],
                finding["measured"],
                study.scale,
                Cell(badge(verdict), VERDICTS.index(verdict)),
            )  # fmt: skip
            rows.append((cells, {"data_paper": paper, "data_verdict": verdict}))
    choices = {"Paper": papers, "Verdict": {verdict: verdict for verdict in VERDICTS}}
    heads = ("Figure", "The paper claims", "Measured here", "Scale", "Verdict")
    return joined(
        (
            filters("claims-table", "claims", choices),
            table("claims-table", "Claims about figures and tables", heads, rows),
        )
    )


def paper_section(contents: Contents, paper: str) -> Markup:
    """A paper: its verdicts, a list of its figures, and the figures."""
    drawn = contents.of(paper)
    heading = element("h2", title(paper), id=f"{paper}-heading")
    if not drawn:
        return element("section", heading, element("p", "Nothing drawn."), id=paper,
                       aria_labelledby=f"{paper}-heading")  # fmt: skip
    work = REFERENCES.get(paper)
    origin = (
        f"{work.authors}, {work.year}; {paper}. "
        if work
        else "Questions that the papers leave open. "
    )
    listed = (element("li", link(study.figure.key, study.label)) for study in drawn)
    return element(
        "section",
        heading,
        element("p", origin, badges(counts(drawn))),
        element("ul", *listed, class_="figures"),
        *map(_article, drawn),
        id=paper, aria_labelledby=f"{paper}-heading",
    )  # fmt: skip


def _article(study: Study) -> Markup:
    """One figure: image, caption, claims, data."""
    entry, key = study.entry or {}, study.figure.key
    setting = entry["setting"]
    caption = entry["caption"]
    told = caption.removeprefix(f"{study.figure.title}. ")
    image = element(
        "img",
        src=data_uri(study.file("png")),
        alt=textwrap.shorten(caption, ALT, placeholder=" …"),
        loading="lazy",
        decoding="async",
        **_size(study),
    )
    scroll = element("div", image, class_="scroll plate", role="region", tabindex=0,
                     aria_label=f"Image: {study.label}")  # fmt: skip
    again = f"python -m figures --only {key} --scale {study.scale} --seed {setting['seed']}"
    again += _flags(study.figure, study.scale, full_seeds=setting.get("full_seeds", False))
    facts = f"scale {study.scale}, seed {setting['seed']}, {entry['seconds']:.0f} s"
    return element(
        "article",
        element("h3", study.label, id=f"{key}-heading"),
        element("p", element("code", key), f", {facts}", class_="facts"),
        element("figure", scroll, element("figcaption", told)),
        _findings(study),
        element(
            "p", "Data and image: ",
            joined([download(study.file(kind)) for kind in ("csv", "pdf")], ", "),
            ". Drawn by ", element("code", again), class_="facts",
        ),
        id=key, aria_labelledby=f"{key}-heading",
    )  # fmt: skip


def _flags(figure: Figure, scale: str, *, full_seeds: bool = False) -> str:
    """What else the command needs."""
    return " --full-seeds" * full_seeds + " --slow" * figure.slow(scale)


def _size(study: Study) -> dict[str, int]:
    """Width and height of the image on the page."""
    across, down = study.figure.size
    return {"width": round(across * PIXELS), "height": round(down * PIXELS)}


def _findings(study: Study) -> Markup:
    """Claims of one figure with what became of them."""
    told = "The claim" if study.figure.paper == BEYOND else "The paper claims"
    items = [
        element(
            "li",
            element("p", badge(found["verdict"])),
            element("dl", element("dt", told), element("dd", found["claim"]),
                    element("dt", "Measured here"), element("dd", found["measured"])),
        )
        for found in study.findings
    ]  # fmt: skip
    return element("ul", *items, class_="findings") if items else Markup()


def missing(contents: Contents) -> Markup:
    """What failed, with its error, and what was not drawn, with the command that draws it."""
    parts = [_failure(study) for study in contents.having("failed")]
    rows: list[Row] = [(_untried(study), {}) for study in contents.having("not drawn")]
    if rows:
        heads = ("Figure", "Paper", "Title", "Expected time by scale", "Command")
        parts.append(table("missing-table", "Figures that were not drawn", heads, rows))
    return joined(parts or [element("p", "Everything in the catalogue was drawn.")])


def _failure(study: Study) -> Markup:
    entry = study.entry or {}
    return element(
        "article",
        element("h3", badge("failed"), f" {study.label}"),
        element("p", element("code", study.figure.key), f": {entry['error']}"),
        element("details", element("summary", "Traceback"),
                element("pre", entry.get("traceback", ""), tabindex=0)),
        id=study.figure.key,
    )  # fmt: skip


def _untried(study: Study) -> list[str]:
    figure = study.figure
    scales = [scale for scale in SCALES if scale in figure.seconds]
    times = ", ".join(f"{scale} {figure.seconds[scale]:g} s" for scale in scales)
    command = f"python -m figures --only {figure.key} --scale {scales[0]}"
    command += _flags(figure, scales[0])
    return [element("code", figure.key), figure.paper, study.label, times, element("code", command)]

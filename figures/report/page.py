"""The page: one file without anything outside of it."""

from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from figures.figure import Figure
from figures.report.audit import audit_section
from figures.report.contents import BEYOND, Contents, gather
from figures.report.elements import Markup, Row, element, joined, link, table
from figures.report.studies import claims, missing, paper_section, summary, title
from theory.files import locked, write_text

TITLE = "Uncertainty-aware RLHF: what reproduces"
INTRODUCTION = (
    "Figures and theorems of five papers, computed again on worlds small enough for exact answers. "
    "Each claim is in our words, beside what was measured here with its interval, and a verdict. "
    "The worlds are small: this is about mechanisms, not about large language models."
)
THEMES = "Switch between light and dark"


def write_report(figures: Mapping[str, Figure], out: Path) -> Path:
    """index.html of a folder, from its manifest, files and audit; replaced in one step."""
    with locked(out):
        return write_text(out / "index.html", page(gather(figures, out)))


def page(contents: Contents) -> str:
    """The whole document."""
    sections = {
        "summary": ("Summary", summary(contents)),
        "claims": ("All claims", claims(contents)),
        **{paper: (title(paper), paper_section(contents, paper)) for paper in contents.papers},
        "audit": ("Theorem audit", audit_section(contents.audit)),
        "missing": ("Failed and not drawn", missing(contents)),
        "origin": ("How this was made", origin(contents)),
    }
    body = (
        part if name in contents.papers else _section(name, heading, part)
        for name, (heading, part) in sections.items()
    )
    links = (
        element("li", _contents_link(contents, name, heading))
        for name, (heading, _) in sections.items()
    )
    document = element(
        "html",
        _head(),
        element(
            "body",
            element("a", "Skip to the content", href="#content", class_="skip"),
            element(
                "header",
                element("h1", TITLE),
                element("button", "◐ Theme", type="button", id="theme", hidden=True,
                        aria_label=THEMES, title=THEMES),
                element("p", INTRODUCTION),
            ),
            element("nav", element("ol", *links), aria_label="Contents"),
            element("main", *body, id="content", tabindex=-1),
            element("script", _raw("page.js")),
        ),
        lang="en",
    )  # fmt: skip
    return f"<!DOCTYPE html>\n{document}\n"


def origin(contents: Contents) -> Markup:
    """Versions, commit and machine of each run that figures come from."""
    runs = Counter(
        tuple(
            study.entry["provenance"][fact] or "unknown" for fact in ("started", "commit", "device")
        )
        for study in contents.studies
        if study.entry
    )
    rows: list[Row] = [((*run, str(number)), {}) for run, number in sorted(runs.items())]
    heads = ("Started (UTC)", "Commit", "Machine", "Figures")
    return joined(
        (
            element(
                "p",
                "Each figure is computed to a table, and drawn from that table alone; the tables "
                "are behind the links under the figures. manifest.json beside this page holds the "
                "versions of all packages.",
            ),
            table("origin-table", "Runs that these figures come from", heads, rows),
        )
    )


def _contents_link(contents: Contents, name: str, heading: str) -> Markup:
    """A section; a paper by its key, with its title where there is room."""
    if name not in contents.papers or name == BEYOND:
        return link(name, heading)
    return element("a", name, element("small", heading), href=f"#{name}")


def _section(name: str, heading: str, part: Markup) -> Markup:
    title_id = f"{name}-heading"
    return element("section", element("h2", heading, id=title_id), part, id=name,
                   aria_labelledby=title_id)  # fmt: skip


def _head() -> Markup:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name_="viewport", content_="width=device-width, initial-scale=1"),
        element("title", TITLE),
        element("style", _raw("page.css")),
    )


def _raw(name: str) -> Markup:
    """A file of this package."""
    return Markup(files(__package__).joinpath(name).read_text(encoding="utf-8"))

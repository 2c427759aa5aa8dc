"""What the report is made of: what was drawn, what failed, what was not tried, and the audit."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from figures.figure import VERDICTS, Figure
from figures.manifest import damages, read_manifest
from figures.render import Entry
from theory.theorems.audit import DATA, read_report

BEYOND = "beyond"
KINDS = ("csv", "pdf", "png")
"""Files of a figure that go into the page."""


@dataclass(frozen=True, eq=False)
class Study:
    """A figure with what the manifest says of it; `entry` is None where it was not tried."""

    figure: Figure
    entry: Entry | None
    folder: Path

    @cached_property
    def status(self) -> str:
        """'done', 'failed' or 'not drawn', also where files of it are not as they were written."""
        if self.entry is None:
            return "not drawn"
        status: str = self.entry["status"]
        return "not drawn" if status == "done" and damages(self.entry, self.folder) else status

    @property
    def findings(self) -> list[dict[str, str]]:
        """Claims with what was measured and the verdict."""
        return self.entry.get("findings", []) if self.entry else []

    @property
    def scale(self) -> str:
        """The scale that it was drawn at; '' where it was not tried."""
        return self.entry["setting"]["scale"] if self.entry else ""

    @property
    def label(self) -> str:
        """Where it stands in the paper, and its title."""
        number, title = self.figure.number, self.figure.title
        return f"{number}: {title}" if number else title

    def file(self, kind: str) -> Path:
        """Its file of one kind."""
        return self.folder / f"{self.figure.key}.{kind}"


@dataclass(frozen=True, eq=False)
class Contents:
    """All studies in the order of the catalogue, and the claims of the audit (None: not run)."""

    studies: list[Study]
    audit: list[dict[str, Any]] | None

    def of(self, paper: str, status: str = "done") -> list[Study]:
        """Studies of a paper with a status."""
        return [s for s in self.having(status) if s.figure.paper == paper]

    def having(self, status: str) -> list[Study]:
        """Studies with a status."""
        return [study for study in self.studies if study.status == status]

    @property
    def papers(self) -> list[str]:
        """Papers in the order of the catalogue, what goes beyond them last."""
        return sorted(
            dict.fromkeys(study.figure.paper for study in self.studies), key=BEYOND.__eq__
        )


def gather(figures: Mapping[str, Figure], out: Path) -> Contents:
    """Read what a folder holds of these figures, and the audit beside them."""
    entries = read_manifest(out / "manifest.json")
    studies = [Study(figure, entries.get(key), out) for key, figure in figures.items()]
    audit = read_report(out / DATA)
    return Contents(studies, None if audit is None else audit["claims"])


def counts(studies: Iterable[Study]) -> dict[str, int]:
    """How many claims have each verdict."""
    found = Counter(finding["verdict"] for study in studies for finding in study.findings)
    return {verdict: found[verdict] for verdict in VERDICTS}

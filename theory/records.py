"""The rows of an experiment, on disk as they come: nothing that was finished is ever lost.

A folder holds `manifest.json` and one CSV a cell (an objective and a chunk of seeds). A cell that
was interrupted leaves a `.part` file, which `Records.rows(partial=True)` still reads; it is
computed again on resumption, to the same numbers, since every seed has streams of its own.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from theory import checks
from theory.errors import InputError
from theory.files import output_folder, write_text

MANIFEST = "manifest.json"
SHORT = 60
"""Characters up to which a message quotes settings."""
LABELS = ("objective", "world", "cell")
"""Columns that are text, whatever they look like."""


@dataclass(frozen=True)
class Records:
    """Rows of one experiment in a folder.

    >>> import tempfile
    >>> records = Records.create(Path(tempfile.mkdtemp()) / "run", {"world": "grid"})
    >>> records.write("mean.0-3", [pd.DataFrame({"seed": [0], "gold": [0.5]})])
    >>> records.rows().gold.tolist(), records.finished()
    ([0.5], {'mean.0-3'})
    """

    folder: Path

    @classmethod
    def create(cls, folder: Path, config: Mapping[str, Any], *, resume: bool = False) -> "Records":
        """Start a folder, or take up one of the same configuration with `resume`.

        Raises `InputError` for a folder that holds other records, or cannot be written to.
        """
        output_folder(folder)
        manifest = folder / MANIFEST
        wanted = json.loads(json.dumps(dict(config)))
        check_fresh(folder, resume=resume)
        if manifest.exists():
            found = _config(manifest)
            if found != wanted:
                changed = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
                raise InputError(
                    "resume", f"of a run with the settings that {folder} was started with",
                    ", ".join(_change(k, found.get(k), wanted.get(k)) for k in changed),
                    "choose those, or another folder with --out",
                )  # fmt: skip
        else:
            write_text(manifest, json.dumps({"config": wanted}, indent=2) + "\n")
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> "Records":
        """Records written earlier. Raises `InputError` where there are none."""
        if not (folder / MANIFEST).is_file():
            raise InputError("folder", f"records (with {MANIFEST})", str(folder))
        return cls(folder)

    @property
    def config(self) -> dict[str, Any]:
        """What produced the rows."""
        return _config(self.folder / MANIFEST)

    def write(self, cell: str, rows: Iterable[pd.DataFrame]) -> None:
        """Append the frames of one cell as they come; the file gets its name when all are there."""
        partial = self.folder / f"{cell}.csv.part"
        with partial.open("w", encoding="utf-8") as file:
            for index, frame in enumerate(rows):
                frame.assign(cell=cell).to_csv(file, index=False, header=index == 0)
                file.flush()
        partial.replace(partial.with_suffix(""))

    def finished(self) -> set[str]:
        """Names of the cells that are complete."""
        return {path.name.removesuffix(".csv") for path in self.folder.glob("*.csv")}

    def rows(self, *, partial: bool = False) -> pd.DataFrame:
        """All rows, of finished cells only unless `partial`; empty where there are none."""
        paths = sorted(self.folder.glob("*.csv"))
        if partial:
            paths += sorted(self.folder.glob("*.csv.part"))
        frames = [
            pd.read_csv(
                path, dtype=dict.fromkeys(LABELS, str), keep_default_na=False, na_values=[""]
            )
            for path in paths
            if path.stat().st_size
        ]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def select(self, **values: Any) -> pd.DataFrame:
        """Rows with these values, e.g. `select(objective="mean", step=60)`; last step: step=-1.

        Raises `InputError` for a column or value that there is none of.
        """
        rows = self.rows()
        for column, value in values.items():
            checks.one_of("column", column, list(rows))
            if column == "step" and value == -1:
                value = rows.step.max()
            rows = rows[rows[column] == value]
            if rows.empty:
                raise InputError(column, "a recorded value", repr(value))
        return rows


def _config(manifest: Path) -> dict[str, Any]:
    """What a manifest says; `InputError` for a file that is none."""
    try:
        return dict(json.loads(manifest.read_text(encoding="utf-8"))["config"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            "out", f"a folder without {MANIFEST}, or with one of ours", f"{manifest} ({error!r})"
        ) from None


def check_fresh(folder: Path, *, resume: bool) -> None:
    """Raise `InputError` for a folder that holds records, unless they are to be gone on with."""
    if not resume and (folder / MANIFEST).exists():
        raise InputError(
            "out", "an empty folder, or that of the same run with --resume",
            f"{folder}, which holds records", "choose another with --out, or add --resume",
        )  # fmt: skip


def _change(name: str, before: Any, now: Any) -> str:
    """A setting that is not what it was; both values where they are short."""
    told = f"{name} {now} (it was {before})"
    return told if len(told) <= SHORT else f"another value of {name}"


def concatenate(records: Iterable[Records]) -> pd.DataFrame:
    """Rows of several experiments, each with the name of its folder in `experiment`."""
    frames = [r.rows().assign(experiment=r.folder.name) for r in records]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

"""The rows of an experiment, on disk as they come: nothing that was finished is ever lost.

A folder holds `manifest.json` and one CSV a cell (an objective and a chunk of seeds). The manifest
names the cells that are finished, each with its number of rows, a digest, and the steps it was run
to; no other file counts. A cell that was interrupted leaves a `.part` file, which
`Records.rows(partial=True)` still reads; it is computed again on resumption, to the same numbers,
since every seed has streams of its own.
"""

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from theory import checks
from theory.changes import changes
from theory.errors import InputError
from theory.files import RUN, locked, output_folder
from theory.manifest import MANIFEST, Manifest, Seal
from theory.notices import notice
from theory.record_files import (
    CODE,
    CSV,
    PART,
    adopted,
    is_record,
    read_part,
    read_rows,
    write_rows,
)


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
    def create(
        cls,
        folder: Path,
        config: Mapping[str, Any],
        *,
        steps: int | None = None,
        cells: Collection[str] = (),
        resume: bool = False,
    ) -> "Records":
        """Start a folder, or take up one of the same configuration with `resume`.

        steps: to which cells are run; a folder that is taken up may go further, but not back.
        cells: names that will be written.

        Raises `InputError` for a folder that holds other records, or some without their manifest,
        or that cannot be written to.
        """
        output_folder(folder)
        wanted = Manifest(json.loads(json.dumps(dict(config))), steps)
        check_fresh(folder, cells=cells, resume=resume)
        with locked(folder):
            if not os.path.lexists(folder / MANIFEST):
                wanted.write(folder)
                return cls(folder)
            found, sealed = _manifest(folder, strict=False)
            told = changes(found.config, wanted.config)
            if steps is not None and found.steps is not None and steps < found.steps:
                told.append(f"steps {steps} (it was {found.steps}, and can only grow)")
            if told:
                raise InputError(
                    "resume", f"of a run with the settings that {folder} was started with",
                    ", ".join(told), "choose those, or another folder with --out",
                )  # fmt: skip
            if not sealed:
                found.write(folder)
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> "Records":
        """Records written earlier. Raises `InputError` where there are none."""
        if not (folder / MANIFEST).is_file():
            raise InputError("folder", f"records (with {MANIFEST})", str(folder))
        return cls(folder)

    @property
    def config(self) -> dict[str, Any]:
        """What produced the rows, and to how many steps."""
        found, _ = _manifest(self.folder)
        return found.config | ({} if found.steps is None else {"steps": found.steps})

    def write(self, cell: str, rows: Iterable[pd.DataFrame], *, steps: int | None = None) -> None:
        """Append the frames of one cell as they come; it is finished when all are there.

        Raises `WriteError` where they cannot be written.
        """
        seal = write_rows(self.folder, cell, rows, steps)
        with locked(self.folder):
            found, _ = _manifest(self.folder, strict=False)
            if steps is None or found.steps is None:
                seal = seal._replace(steps=found.steps)
            reached = None if found.steps is None else max(found.steps, seal.steps or 0)
            seal = seal._replace(code=found.codes[-1] if found.codes else None)
            files = {**found.files, f"{cell}{CSV}": seal}
            replace(found, steps=reached, files=files).write(self.folder)

    def made_by(self, code: str, *, accept: bool = False) -> None:
        """Note which code makes the cells that are not finished.

        accept: though another made those that are; rows then say which made them. Raises
        `InputError` for another code otherwise.
        """
        with locked(self.folder):
            found, _ = _manifest(self.folder, strict=False)
            if found.codes[-1:] == (code,):
                return
            if found.codes and found.files and not accept:
                raise InputError(
                    "resume", f"by the code that {self.folder} was made by, {found.codes[-1]}",
                    code, "go on with --accept-code, which marks the rows, or choose another "
                    "folder with --out",
                )  # fmt: skip
            before = found.codes if found.files else ()
            replace(found, codes=(*before, code)).write(self.folder)

    def finished(self, steps: int | None = None) -> set[str]:
        """Find the cells that are complete, and as they were written; others are named.

        steps: to which they must have been run; as far as any unless given.
        """
        found, _ = _manifest(self.folder, strict=False)
        cells = set()
        for name, seal in found.files.items():
            if (seal.steps or 0) < (steps or found.steps or 0):
                continue
            if damage := seal.damage(self.folder / name):
                notice(f"{self.folder / name} is {damage}: it is computed again")
            else:
                cells.add(name.removesuffix(CSV))
        return cells

    def rows(self, *, partial: bool = False) -> pd.DataFrame:
        """All rows, of finished cells only unless `partial`; empty where there are none.

        Files that the manifest does not name are left out, with a notice. Raises `InputError` for
        one that it names and that is not as it was written.
        """
        found, _ = _manifest(self.folder)
        for path in sorted(self.folder.glob(f"*{CSV}")):
            if path.name not in found.files:
                notice(f"{path} is not among the records that {MANIFEST} names: it is left out")
        frames = [
            _marked(read_rows(self.folder / name, seal), found, seal.code)
            for name, seal in sorted(found.files.items())
            if partial or seal.steps == found.steps
        ]
        if partial:
            frames += self._parts(found)
        frames = [frame for frame in frames if len(frame)]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def select(self, **values: Any) -> pd.DataFrame:
        """Rows with these values, e.g. `select(objective="mean", step=60)`; last step: step=-1.

        Raises `InputError` for a column or value that there is none of.
        """
        rows = self.rows()
        if rows.empty:
            raise InputError("records", "rows of at least one finished cell", str(self.folder))
        for column, value in values.items():
            checks.one_of("column", column, list(rows))
            if column == "step" and value == -1:
                value = rows.step.max()
            rows = rows[rows[column] == value]
            if rows.empty:
                raise InputError(column, "a recorded value", repr(value))
        return rows

    def _parts(self, found: Manifest) -> list[pd.DataFrame]:
        """Rows so far of the cells that are not finished."""
        frames = []
        for path in sorted(self.folder.glob(f"*{PART}")):
            if path.name.removesuffix(PART) + CSV in found.files:
                continue
            if (frame := read_part(path)) is None:
                notice(f"{path} is of something else than its name says: it is left out")
            else:
                frames.append(_marked(frame, found, None))
        return frames


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder of records for a run. Raises `InputError` where another process is at work."""
    with locked(output_folder(folder), wait=0, name=RUN):
        yield


def check_fresh(folder: Path, *, cells: Collection[str] = (), resume: bool) -> None:
    """Raise `InputError` for a folder that holds records, unless they are to be gone on with.

    Those without a manifest cannot be gone on with. cells: names that will be written.
    """
    if os.path.lexists(folder / MANIFEST):
        if resume:
            return
        raise InputError(
            "out", "an empty folder, or that of the same run with --resume",
            f"{folder}, which holds records", "choose another with --out, or add --resume",
        )  # fmt: skip
    names = {f"{cell}{CSV}" for cell in cells}
    for path in sorted((*folder.glob(f"*{CSV}"), *folder.glob(f"*{PART}"))):
        if path.name in names or is_record(path):
            raise InputError(
                "out", f"an empty folder, or one whose records have their {MANIFEST}",
                f"{path} without one", "put it back, or choose another folder with --out",
            )  # fmt: skip


def concatenate(records: Iterable[Records]) -> pd.DataFrame:
    """Rows of several experiments, each with the name of its folder in `experiment`."""
    frames = [r.rows().assign(experiment=r.folder.name) for r in records]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _marked(frame: pd.DataFrame, found: Manifest, code: str | None) -> pd.DataFrame:
    """Rows with the code that made them, where not all of a folder were made by the same."""
    if len(found.codes) < 2 or CODE in frame or frame.empty:
        return frame
    return frame.assign(**{CODE: code or found.codes[-1]})


def _manifest(folder: Path, *, strict: bool = True) -> tuple[Manifest, bool]:
    """What a folder's manifest says, and whether it is on disk in this form.

    That of an earlier version names no files: they are taken in where they can be whole. strict:
    raise `InputError` where one of them cannot.
    """
    found, sealed = Manifest.read(folder)
    if sealed:
        return found, True
    steps = found.config.get("steps") if "chunk" in found.config else None
    config = found.config if steps is None else {
        name: value for name, value in found.config.items() if name != "steps"
    }  # fmt: skip
    files: dict[str, Seal] = {}
    for path in sorted(folder.glob(f"*{CSV}")):
        if seal := adopted(path, steps):
            files[path.name] = seal
        elif strict:
            raise InputError(
                "records", "whole, in a folder of an earlier version", f"{path}, which is not",
                "have it computed again with --resume, or move it away if it is of something else",
            )  # fmt: skip
        else:
            notice(f"{path} cannot be a whole record of an earlier version: it does not count")
    if files:
        notice(f"{folder} was written by an earlier version, without digests: its {len(files)} "
               "files are only known to have no gaps")  # fmt: skip
    return replace(found, config=config, steps=steps, files=files), False

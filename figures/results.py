"""`python -m figures.results`: the tables that README and docs quote, committed, and their check.

    python -m figures --out OUT && python -m figures.results record OUT     after numbers have moved
    python -m figures --only banerjee2024 --out OUT && python -m figures.results check OUT
    python -m theory solve SCORES --out OUT && python -m figures.results scores OUT     of reviews

They lie in `docs/results`, a CSV a figure beside `audit.json` of the theorems, and `origin.json`
says of each on what processor, by which versions and from which commit it was computed.
`tests/quotes.py` makes the sentences of README and docs from them.
"""

import json
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import tyro

from figures.agreement import SMALL, TRAINED, differences
from figures.figure import Figure, Setting
from figures.manifest import provenance, read_manifest
from theory.damage import readable
from theory.ending import ended
from theory.errors import InputError
from theory.files import digest, write, write_text

FOLDER = Path(__file__).parents[1] / "docs" / "results"
AUDIT, ORIGIN, SCORES = "audit.json", "origin.json", "imdb"
DIGITS = "%.7g"
"""Of the numbers that are kept."""


def table(key: str, folder: Path = FOLDER) -> pd.DataFrame:
    """Read the committed table of a figure.

    Raises `InputError` where there is none.
    """
    path = folder / f"{key}.csv"
    if not path.is_file():
        raise InputError(
            "key", "of a figure whose table is kept", key,
            f"python -m figures --only {key} --out OUT && python -m figures.results record OUT",
        )  # fmt: skip
    return pd.read_csv(path)


def redrawn(figure: Figure, folder: Path = FOLDER) -> Figure:
    """The figure, drawn from its committed table where there is one, and with a word on that."""
    path = folder / f"{figure.key}.csv"
    if not path.is_file():
        return figure
    origin = _origin(folder)[figure.key]
    note = f" From the table of {origin['started'][:10]}, computed on {origin['processor']}."
    return replace(
        figure, seconds=dict.fromkeys(figure.seconds, 1.0),
        compute=partial(_read, path=path, content=digest(path)),
        caption=partial(_noted, caption=figure.caption, note=note),
    )  # fmt: skip


def _read(setting: Setting, path: Path, content: str) -> pd.DataFrame:
    return pd.read_csv(path)


def _noted(numbers: pd.DataFrame, caption: Callable[[pd.DataFrame], str], note: str) -> str:
    return caption(numbers) + note


def record(out: Path, folder: Path = FOLDER) -> list[str]:
    """Keep the tables, and the audit, of a folder that `python -m figures` wrote; returns names.

    Only what was drawn at the default seed and number of seeds is kept. Raises `InputError` where
    the folder holds none.
    """
    entries = _comparable(out)
    origin, machine = _origin(folder), processor()
    for key, entry in entries.items():
        numbers = pd.read_csv(out / f"{key}.csv")
        write(folder / f"{key}.csv", partial(_written, numbers))
        origin[key] = {**entry["provenance"], "processor": machine, "setting": entry["setting"]}
    names = list(entries)
    if (out / AUDIT).is_file():
        newest = max(entries.values(), key=lambda entry: entry["provenance"]["started"])
        write_text(folder / AUDIT, json.dumps(_evidence(out), indent=1, ensure_ascii=False) + "\n")
        origin[AUDIT] = {**newest["provenance"], "processor": machine}
        names.append(AUDIT)
    write_text(folder / ORIGIN, json.dumps(origin, indent=1, sort_keys=True) + "\n")
    return names


def record_scores(out: Path, folder: Path = FOLDER) -> list[str]:
    """Keep the summary of the IMDB reviews that `python -m theory solve` wrote; returns its name.

    Raises `InputError` where the folder holds none.
    """
    path = out / "summary.csv"
    if not path.is_file():
        raise InputError("out", "a folder that python -m theory solve wrote", str(out))
    write(folder / f"{SCORES}.csv", partial(_written, pd.read_csv(path)))
    origin = _origin(folder) | {SCORES: {**provenance(), "processor": processor()}}
    write_text(folder / ORIGIN, json.dumps(origin, indent=1, sort_keys=True) + "\n")
    return [SCORES]


def check(out: Path, folder: Path = FOLDER) -> dict[str, list[str]]:
    """Compare a folder that `python -m figures` wrote with the tables that are kept.

    Returns what differs beyond the tolerances, by figure; an empty list where nothing does. Raises
    `InputError` where the folder holds no figure whose table is kept.
    """
    kept = [key for key in _comparable(out) if (folder / f"{key}.csv").is_file()]
    if not kept:
        raise InputError("out", "a folder with figures whose tables are kept", str(out))
    found = {key: differences(key, table(key, folder), _drawn(out, key), 1.0) for key in kept}
    if (out / AUDIT).exists():
        found[AUDIT] = _contradicted(json.loads((folder / AUDIT).read_text()), _evidence(out))
    return found


def _drawn(out: Path, key: str) -> pd.DataFrame:
    path, again = out / f"{key}.csv", f"python -m figures --only {key} --out {out}"
    with readable(path, "out", "a folder whose tables can be read", again):
        return pd.read_csv(path)


def processor() -> str:
    """Name the processor of this machine, on which a folder is recorded that was drawn here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _written(numbers: pd.DataFrame, path: Path) -> None:
    numbers.to_csv(path, index=False, float_format=DIGITS)


def _comparable(out: Path) -> dict[str, Any]:
    """Entries of the manifest of figures drawn as `make figures` draws them."""
    entries = read_manifest(out / "manifest.json")
    default = Setting()
    found = {
        key: entry
        for key, entry in entries.items()
        if entry["status"] == "done"
        and entry["setting"]["seed"] == default.seed
        and not entry["setting"]["full_seeds"]
    }
    if not found:
        raise InputError(
            "out", "a folder that python -m figures wrote", str(out), "python -m figures --out OUT"
        )
    return found


def _origin(folder: Path) -> dict[str, Any]:
    path = folder / ORIGIN
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _evidence(out: Path) -> dict[str, Any]:
    """Verdicts and numbers of the audit, without its sentences."""
    path, again = out / AUDIT, f"python -m theory audit --out {out}"
    with readable(path, "out", "a folder whose audit can be read", again):
        told = json.loads(path.read_text(encoding="utf-8"))
        claims = {
            claim["key"]: {name: claim[name] for name in ("verdict", "confirmed", "evidence")}
            for claim in told["claims"]
        }
        return {"draws": told["trial"]["draws"], "seed": told["trial"]["seed"], "claims": claims}


def _contradicted(kept: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Verdicts that differ; observed numbers that do, where both had as many draws."""
    told = [f"{key}: missing" for key in kept["claims"] if key not in found["claims"]]
    same = all(kept[name] == found[name] for name in ("draws", "seed"))
    for key, claim in found["claims"].items():
        old = kept["claims"].get(key)
        if old is None or old["verdict"] != claim["verdict"] or not claim["confirmed"]:
            told.append(f"{key}: {claim['verdict']}, confirmed: {claim['confirmed']}")
            continue
        for ours, theirs in zip(old["evidence"], claim["evidence"], strict=True):
            before, now = (np.float64(one["observed"]) for one in (ours, theirs))
            if same and not np.isclose(now, before, rtol=TRAINED, atol=SMALL, equal_nan=True):
                told.append(f"{key}, {ours['quantity']}: {now}, not {before}")
    return told


@dataclass(frozen=True)
class Options:
    """Keep the tables that README and docs quote, or compare new ones with them."""

    what: Annotated[Literal["record", "scores", "check"], tyro.conf.Positional]
    """record keeps tables of figures in docs/results, scores the summary of scored reviews; check
    compares with what is there."""
    out: Annotated[Path, tyro.conf.Positional] = Path("out")
    """Folder that `python -m figures`, for scores `python -m theory solve`, wrote."""


def main(options: Options) -> int:
    """Exit status: 0, 1 where numbers differ, otherwise as `theory.ending.ended`."""
    return ended(partial(_run, options))


def _run(options: Options) -> int:
    keep = {"record": record, "scores": record_scores}.get(options.what)
    if keep is not None:
        print(f"kept in {FOLDER}: {', '.join(keep(options.out))}")
        return 0
    found = check(options.out)
    for key, told in found.items():
        print(f"{key:32s} {'as kept' if not told else f'{len(told)} numbers differ'}")
        for line in told[:5]:
            print(f"    {line}")
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))

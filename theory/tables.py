"""Tables from files: CSV, Parquet, JSON and JSON lines, gzip too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from theory.errors import InputError

SUFFIXES = (".csv", ".parquet", ".jsonl", ".json")


def read_table(path: str | Path, *, text: bool = False, argument: str = "path") -> pd.DataFrame:
    """Read a table by the ending of its name.

    text:     leave the cells of a CSV file as written, neither numbers nor missing unless empty.
    argument: what the path is called in messages.

    Raises `InputError` for a file that is missing, unreadable or of another kind.
    """
    path = Path(path).expanduser()
    kind = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    name = kind.removesuffix(".gz")
    if name not in SUFFIXES:
        raise InputError(argument, f"a file in {', '.join(SUFFIXES)} (or .gz of them)", path.name)
    if not path.is_file():
        raise InputError(argument, "an existing file", str(path), "check the path and the folder")
    options: dict[str, Any] = {}
    if text and name == ".csv":
        options = {"dtype": object, "keep_default_na": False, "na_values": [""]}
    elif text and name.startswith(".json"):
        options = {"dtype": False}
    try:
        return _READERS[name](path, **options)
    except ImportError:
        raise InputError(
            argument, "readable", path.name, "Parquet needs pip install 'rlhf-risk[tables]'"
        ) from None
    except (ValueError, OSError) as error:
        raise InputError(argument, f"a readable {name} file", f"{path.name} ({error})") from None


def _read_json_lines(path: Path, **options: Any) -> pd.DataFrame:
    return pd.read_json(path, lines=True, **options)


_READERS: dict[str, Callable[..., pd.DataFrame]] = {
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".jsonl": _read_json_lines,
    ".json": pd.read_json,
}

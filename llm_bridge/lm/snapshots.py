"""From a folder or the name of a model on the Hugging Face hub to files on this machine."""

import re
from pathlib import Path

from huggingface_hub import snapshot_download

from theory.errors import InputError
from theory.integrity import check_sums

CONFIG, ADAPTER = "config.json", "adapter_config.json"
WEIGHTS = "*.safetensors"
SMALL = ("*.json", "*.txt", "*.model", "*.jinja")
"""Configuration and tokenizer."""
IGNORED = ("*/*", "consolidated*")
"""Copies of the weights for other libraries."""
COMMIT = re.compile(r"[0-9a-f]{40}")
"""Name of a snapshot's folder in the hub's cache."""


def snapshot(path: str | Path, *, weights: bool = True) -> Path:
    """Folder of a checkpoint, downloaded where `path` is a name on the hub and not cached.

    path: a folder, or name@revision, a branch, tag or commit of the hub; the main branch unless
    given. Only configuration, tokenizer and safetensors are downloaded: neither pickled weights nor
    code.

    Raises `InputError` for a folder that is missing, lacks its configuration or safetensors, or is
    not as its checksums say, and for a name that can not be downloaded.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        folder = _downloaded(str(path), weights)
    if not any((folder / name).is_file() for name in (CONFIG, ADAPTER)):
        raise InputError(
            "checkpoint", f"a folder with {CONFIG} or {ADAPTER}", folder,
            "point to the folder that save_pretrained wrote",
        )  # fmt: skip
    if weights and not any(folder.glob(WEIGHTS)):
        found = sorted(f.name for f in folder.iterdir() if f.suffix in (".bin", ".pt", ".pth"))
        raise InputError(
            "checkpoint", f"a folder with weights as {WEIGHTS}",
            f"{folder} with {', '.join(found) or 'no weights'}",
            "pickled weights can run code; if you trust them, load them with transformers and write"
            " them again with save_pretrained",
        )  # fmt: skip
    check_sums(folder, "checkpoint", skip=None if weights else WEIGHTS)
    return folder


def commits(*paths: str | Path) -> dict[str, str]:
    """Find the commit of the hub that each name stands for now; none for folders.

    Raises `InputError` as `snapshot`, which downloads the configuration.
    """
    names = [str(path) for path in paths if not Path(path).expanduser().is_dir()]
    found = {name: commit_of(snapshot(name, weights=False)) for name in names}
    return {name: commit for name, commit in found.items() if commit is not None}


def commit_of(folder: Path) -> str | None:
    """Tell the commit of a folder of the hub's cache; None for another folder."""
    return folder.name if COMMIT.fullmatch(folder.name) else None


def _downloaded(path: str, weights: bool) -> Path:
    name, _, revision = path.partition("@")
    if name.startswith(("/", ".", "~")) or name.count("/") > 1 or not name:
        raise InputError("checkpoint", "an existing folder, or a name on the hub", repr(path))
    at = f" --revision {revision}" if revision else ""
    wanted = [*SMALL, WEIGHTS] if weights else [CONFIG, ADAPTER]
    try:
        folder = snapshot_download(
            name, revision=revision or None, allow_patterns=wanted, ignore_patterns=list(IGNORED)
        )
    except (OSError, ValueError) as error:
        raise InputError(
            "checkpoint", "a folder, or a name on the hub that can be downloaded",
            f"{path!r} ({str(error).splitlines()[0]})",
            f"on a machine with a connection run `hf download {name}{at} --local-dir FOLDER`, copy "
            "the folder here, and give its path, e.g. --policy /path/to/FOLDER, or set HF_HOME to "
            "a cache that has it",
        ) from error  # fmt: skip
    return Path(folder)

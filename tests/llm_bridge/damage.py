"""What happens to files: one of them is cut, emptied, flipped, replaced or lost."""

import shutil


def _cut(path, rng):
    path.write_bytes(path.read_bytes()[: int(rng.integers(1, max(2, path.stat().st_size)))])


def _emptied(path, rng):
    path.write_bytes(b"")


def _flipped(path, rng):
    content = bytearray(path.read_bytes())
    content[int(rng.integers(len(content)))] ^= int(rng.integers(1, 256))
    path.write_bytes(bytes(content))


def _garbage(path, rng):
    path.write_bytes(rng.bytes(int(rng.integers(1, 200))))


def _lost(path, rng):
    path.unlink()


def _folder(path, rng):
    path.unlink()
    path.mkdir()


def _lengthened(path, rng):
    path.write_bytes(path.read_bytes() + rng.bytes(int(rng.integers(1, 20))))


def _other_json(path, rng):
    path.write_text(["{}", "[]", "null", "3", '{"files": {}}', "{"][int(rng.integers(6))])


MUTATIONS = {
    "cut": _cut, "emptied": _emptied, "flipped": _flipped, "garbage": _garbage, "lost": _lost,
    "folder": _folder, "lengthened": _lengthened, "other JSON": _other_json,
}  # fmt: skip


def files_of(folder):
    """In a fixed order, without locks and temporary ones."""
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    )


def damaged(place, rng, kind=None):
    """Damage a file, or one of a folder; what was done to which."""
    files = files_of(place) if place.is_dir() else [place]
    path = files[int(rng.integers(len(files)))]
    kind = kind or list(MUTATIONS)[int(rng.integers(len(MUTATIONS)))]
    before = path.read_bytes()
    MUTATIONS[kind](path, rng)
    if path.is_file() and path.read_bytes() == before:
        MUTATIONS["emptied"](path, rng)
    return f"{path.name} {kind}"


def copied(original, place):
    """A fresh copy of a file or folder."""
    if original.is_dir():
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(original, place)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            shutil.rmtree(place)
        shutil.copy(original, place)
    return place

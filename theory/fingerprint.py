"""Fingerprints of code: they change with what makes a thing, and with nothing else.

What was computed earlier answers for what would be computed now only if the code is the same. The
code of a function is the syntax of its module and of all modules that this imports within the
project, without comments, docstrings and layout; other packages count by their versions.
"""

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
"""Folder of the packages whose code counts; other packages count by their versions."""
PACKAGES = (
    "rlhf-risk", "numpy", "scipy", "pandas", "matplotlib", "joblib", "torch", "transformers",
    "peft",
)  # fmt: skip
"""Packages that numbers depend on."""
LETTERS = 12
"""Of a fingerprint: enough for one folder's worth of things, and short enough for a message."""


class _Source(NamedTuple):
    """What counts of a file: a digest of its syntax, and the files of the project it imports."""

    digest: str
    imports: frozenset[Path]


def fingerprint(*makers: Any, files: Iterable[Path] = (), root: Path = ROOT) -> str:
    """Digest the code of functions, classes or objects, of files, and of all that they import.

    makers: what makes the thing; of a `functools.partial` the function, of an object its class.
    What has no file (code typed into an interpreter) does not count.
    files:  that count as well, Python or not. root: of the project.

    Imports inside of functions count, those by a computed name are not seen; neither is a package's
    `__init__` that nothing names.

    >>> fingerprint(Path.exists) == fingerprint()
    False
    """
    reached = reachable([*files, *filter(None, map(_home, makers))], root)
    facts = sorted((_name(path, root), _source(path, root).digest) for path in reached)
    return digest_of(facts)


def reachable(files: Iterable[Path], root: Path = ROOT) -> set[Path]:
    """Find these files and all modules under `root` that they import, directly or not."""
    found: set[Path] = set()
    waiting = set(files)
    while waiting:
        path = waiting.pop()
        found.add(path)
        waiting |= _source(path, root).imports - found
    return found


def versions() -> dict[str, str | None]:
    """Look up the versions of the packages that numbers depend on, None where one is missing."""
    return {name: _version(name) for name in PACKAGES}


def stamp(*makers: Any) -> str:
    """Digest the code of makers, see `fingerprint`, and the versions of packages."""
    return digest_of((fingerprint(*makers), versions()))


def code_of(maker: Any, *others: Any) -> str:
    """Return what an object says that its code is, or else the `stamp` of its class and others."""
    return getattr(maker, "code", None) or stamp(maker, *others)


def digest_of(facts: Any) -> str:
    """Shorten anything to a digest of its printed form."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:LETTERS]


def _source(path: Path, root: Path) -> _Source:
    """What counts of a file as it is now; each is parsed once."""
    about = path.stat()
    return _parsed(path, root, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4096)
def _parsed(path: Path, root: Path, *_: int) -> _Source:
    content = path.read_bytes()
    try:
        tree = ast.parse(content) if path.suffix == ".py" else None
    except (SyntaxError, ValueError):
        tree = None
    if tree is None:
        return _Source(hashlib.sha256(content).hexdigest(), frozenset())
    found = {_module(name, root) for names in _imported(tree, path, root) for name in names}
    files = frozenset(file for file in found if file is not None)
    return _Source(hashlib.sha256("".join(_syntax(tree)).encode()).hexdigest(), files)


def _syntax(node: Any) -> Iterator[str]:
    """A tree in words, the same in all versions of Python; text that nothing reads is left out."""
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in ast.iter_fields(node):
            if value is not None and value != [] and name not in ("ctx", "type_comment"):
                yield f" {name}="
                yield from _syntax(value)
        yield ")"
    elif isinstance(node, list):
        for item in node:
            if not _is_text(item):
                yield from _syntax(item)
    else:
        yield repr(node)


def _is_text(node: Any) -> bool:
    """Whether a statement is a docstring, or another text that stands alone."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _imported(tree: ast.AST, path: Path, root: Path) -> Iterator[tuple[str, ...]]:
    """Names of modules, or of what is in them, as far as they are written out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, (_package(path, root, node.level), node.module)))
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield (full if _module(full, root) else base,)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            named = node.args[0] if node.args else None
            if node.func.attr == "import_module" and isinstance(named, ast.Constant):
                yield (str(named.value),)


def _package(path: Path, root: Path, level: int) -> str:
    """The package that a relative import starts from; none for an absolute one."""
    if not level or not path.is_relative_to(root):
        return ""
    return ".".join(path.parents[level - 1].relative_to(root).parts)


def _module(name: str, root: Path) -> Path | None:
    """The file of a module, or the __init__ of a package."""
    place = root.joinpath(*name.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py") if name else ()
    return next((file for file in files if file.is_file()), None)


def _home(maker: Any) -> Path | None:
    """The file of the module that something belongs to."""
    while isinstance(maker, partial):
        maker = maker.func
    name = getattr(maker, "__module__", None) or type(maker).__module__
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file) if file and Path(file).is_file() else None


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

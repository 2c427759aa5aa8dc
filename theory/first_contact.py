"""What a program says before it does anything: what it can do, and what it lacks."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from theory import checks
from theory.errors import InputError


class Command(NamedTuple):
    """What a command does, in a few words, and arguments to try it with."""

    does: str
    example: str


def overview(program: str, commands: Mapping[str, Command]) -> str:
    """One line a command, and under it an example.

    >>> print(overview("theory", {"plan": Command("sizes of a study", "--harm 0.1 0.05")}))
    python -m theory COMMAND ...    (COMMAND --help lists its options)
    <BLANKLINE>
      plan   sizes of a study
             python -m theory plan --harm 0.1 0.05
    """
    width = max(map(len, commands))
    lines = [f"python -m {program} COMMAND ...    (COMMAND --help lists its options)", ""]
    for name, (does, example) in commands.items():
        lines.append(f"  {name:{width}}   {does}")
        lines.append(f"  {'':{width}}   python -m {program} {name} {example}".rstrip())
    return "\n".join(lines)


def check_command(arguments: list[str], commands: Mapping[str, Command]) -> None:
    """Raise `InputError` for a first argument that is neither a command nor an option."""
    if not arguments[0].startswith("-"):
        checks.one_of("command", arguments[0], commands)


def install(name: str) -> str:
    """Say how the optional packages `name` of pyproject.toml are installed.

    >>> install("tables")
    "pip install -e '.[tables]' in the folder of this project"
    """
    return f"pip install -e '.[{name}]' in the folder of this project"


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import what needs the optional packages `name` of pyproject.toml.

    Raises `InputError` with the line that installs them where one is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            "package", "installed", str(error), install(name),
        ) from error  # fmt: skip

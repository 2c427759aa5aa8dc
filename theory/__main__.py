"""`python -m theory audit | solve | plan`."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import tyro

from theory.commands import audit, plan, solve
from theory.ending import check_arguments, ended
from theory.first_contact import Command, check_command, overview

COMMANDS: dict[str, tuple[type, Callable[[Any], int]]] = {
    "audit": (audit.Audit, audit.run),
    "solve": (solve.Solve, solve.run),
    "plan": (plan.Plan, plan.run),
}
SHOWN = {
    "solve": Command("your own scores, under one objective or all of them", "scores.csv --kl 0.3"),
    "audit": Command("check the claims of the papers", "--only banerjee2024"),
    "plan": Command("how many policies and reward models a study needs", "--harm 0.1 0.05"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 2 for none, otherwise as `theory.ending.ended`."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        print(overview("theory", SHOWN), file=sys.stderr)
        return 2
    return ended(partial(_run, given))


def _run(given: list[str]) -> int:
    check_command(given, SHOWN)
    check_arguments(given)
    options = tyro.extras.subcommand_cli_from_dict(
        {name: config for name, (config, _) in COMMANDS.items()},
        args=given, prog="python -m theory",
    )  # fmt: skip
    return next(run for config, run in COMMANDS.values() if isinstance(options, config))(options)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m theory audit | solve | plan`."""

import sys
from collections.abc import Callable
from typing import Any

import tyro

from theory.commands import audit, plan, solve
from theory.errors import InputError

COMMANDS: dict[str, tuple[type, Callable[[Any], int]]] = {
    "audit": (audit.Audit, audit.run),
    "solve": (solve.Solve, solve.run),
    "plan": (plan.Plan, plan.run),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 2 for bad input, whose message goes to stderr."""
    options = tyro.extras.subcommand_cli_from_dict(
        {name: config for name, (config, _) in COMMANDS.items()}, args=arguments
    )
    run = next(run for config, run in COMMANDS.values() if isinstance(options, config))
    try:
        return run(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

"""`python -m llm_bridge`: the objectives on language models."""

import sys
from functools import partial

from theory import checks
from theory.ending import AGAIN, RESUME, check_arguments, ended
from theory.first_contact import Command, check_command, extra, overview
from theory.records import check_fresh

SHOWN = {
    "compare": Command(
        "train a policy under every objective, and draw the curves",
        "--objective ensemble_mean lcb variance_aware",
    ),
    "ppo": Command("train policies, and keep them", "--policy gpt2 --prompts prompts.csv"),
    "best-of-n": Command("the best of n responses, for every n", "--objective ensemble_mean lcb"),
    "evaluate": Command("policies against their reference", "--policies out/ppo/policies/*"),
    "reward": Command("train reward ensembles, keep and examine them", "--seeds 1"),
    "sft": Command("fine-tune a language model", "--policy gpt2 --texts demonstrations.jsonl"),
    "ugda": Command("refine reward models by relabelled interactions", "--workers 2"),
    "population": Command("outcomes over many policies", "--preset banerjee2024 --scale tiny"),
}
"""Without --policy a command runs on an embedded language, with nothing to download."""
RESUMED = ("compare", "ppo", "ugda", "population")
"""Commands that can go on where they were interrupted."""


def main() -> int:
    """Exit status: 2 for no command, 1 where a run failed, otherwise as `theory.ending.ended`."""
    arguments = sys.argv[1:]
    if not arguments:
        print(overview("llm_bridge", SHOWN), file=sys.stderr)
        return 2
    kept = RESUME if arguments[0] in RESUMED else AGAIN
    return ended(partial(_run, arguments), kept=kept, failures=(RuntimeError,))


def _run(arguments: list[str]) -> None:
    check_command(arguments, SHOWN)
    check_arguments(arguments)
    with extra("llm"):
        from llm_bridge.commands import parsing
        from llm_bridge.launching import check_alone, started
    options = parsing.parsed(arguments)
    if getattr(options, "dry_run", False):
        print(parsing.plan(options))
        return
    check_alone(arguments[0], together=parsing.TOGETHER)
    checks.positive("workers", getattr(options, "workers", 1))
    if started() == 1 and hasattr(options, "resume"):
        check_fresh(options.out, resume=options.resume)
    parsing.act(options)


if __name__ == "__main__":
    sys.exit(main())

"""Best-of-n on a language model: generate once, score once, every n at once, without bias."""

from collections.abc import Mapping, Sequence

import pandas as pd

from llm_bridge.shaping import Shaper
from llm_bridge.text_world import TextWorld
from theory import checks
from theory.best_of_n import kl_upper_bound, unbiased_curve
from theory.objective import Objective


def best_of_n(
    world: TextWorld,
    objectives: Mapping[str, Objective],
    seeds: Sequence[int],
    *,
    samples: int,
) -> pd.DataFrame:
    """Utility of the best of n = 1 .. `samples` responses of the reference, and its true reward.

    One row an objective, seed and n, means over prompts, without `gold` where there is none; kl is
    the bound ln n - (n - 1) / n on the divergence from the reference [beirami2024]. Objectives
    share their responses; their penalties play no role. Raises `InputError` for samples < 1.
    """
    checks.positive("samples", samples)
    rows = []
    for seed in seeds:
        normaliser = world.normaliser(seed)
        prompts = [prompt for prompt in world.prompts for _ in range(samples)]
        texts = world.respond(prompts, world.generator(seed, "best of n"))
        scores, places = normaliser(prompts, texts), normaliser.places(prompts)
        shape = (len(world.prompts), samples)
        gold = None if world.gold is None else world.gold(prompts, texts).reshape(shape)
        for name, objective in objectives.items():
            shaper = Shaper(objective, normaliser)
            utility = shaper.utility(scores, places).double().numpy().reshape(shape)
            columns = {
                "objective": name,
                "seed": seed,
                "n": range(1, samples + 1),
                "kl": [kl_upper_bound(n) for n in range(1, samples + 1)],
                "proxy": unbiased_curve(utility, utility).mean(0),
            }
            if gold is not None:
                columns["gold"] = unbiased_curve(utility, gold).mean(0)
            rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)

"""Settings under which a training follows another gradient than that of its objective."""

import warnings

from llm_bridge.lm.sampling import Sampling
from llm_bridge.settings import Settings
from llm_bridge.shaping import response_level
from theory.objective import Objective


def warn_of_bias(objective: Objective, settings: Settings, sampling: Sampling) -> None:
    """Warn where ratios are not of what is sampled, or charges are biased.

    A price that depends on the response is exact where it is charged on the last token and
    advantages are undiscounted sums, lam = 1, see `llm_bridge.shaping.response_level`.
    """
    if sampling.truncated:
        warnings.warn(
            "top_k or top_p cut what is sampled: ratios and KL are of the uncut policy",
            stacklevel=3,
        )
    spread = settings.charge == "spread" or settings.lam not in (None, 1)
    if response_level(objective) and spread:
        warnings.warn(
            "a price that depends on the response is biased unless it is charged on the last "
            "token with lam = 1", stacklevel=3,
        )  # fmt: skip

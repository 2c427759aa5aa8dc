"""What the optimum of an objective says of sampled responses, and a fit that shows it.

At the optimum beta c ln(pi / pi0) = u - nu, with one nu a prompt (c (ln(pi / pi0) + 1) on the left
for the `kl` form). So the charge on the left, regressed on the utility u within prompts, has slope
1 and R^2 1, on responses of any policy.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.errors import InputError
from theory.penalties import Form


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses of each prompt, as an objective sees them; (prompts, n) each.

    utility: u; price: c; log_ratio: ln(pi / pi0) of the whole response; form: of the penalty.
    """

    utility: Float[np.ndarray, "prompts n"]
    price: Float[np.ndarray, "prompts n"]
    log_ratio: Float[np.ndarray, "prompts n"]
    form: Form = "bregman"

    @property
    def charge(self) -> Float[np.ndarray, "prompts n"]:
        """What beta multiplies in the sample reward: c ln(pi/pi0), c (ln(pi/pi0) + 1) for 'kl'."""
        return self.price * (self.log_ratio + (self.form == "kl"))

    def joined(self, other: "Responses") -> "Responses":
        """Both sets, prompt by prompt."""
        return Responses(
            np.hstack([self.utility, other.utility]),
            np.hstack([self.price, other.price]),
            np.hstack([self.log_ratio, other.log_ratio]),
            self.form,
        )


@dataclass(frozen=True)
class Regression:
    """beta * charge = slope * u - nu(x), within prompts.

    slope:     1 at the optimum, and t at the optimum of strength beta / t: less than 1 for a policy
               that was stopped early. Where the price is constant it is R^2 times the sharpness, so
               a stationary policy that cannot express the optimum has slope R^2.
    sharpness: Cov(ln(pi/pi0), beta * charge) / Cov(ln(pi/pi0), u). From responses of pi it is 1
               where sharpening, along pi0^(1-t) pi^t, does not change the objective at t = 1, so
               wherever training came to rest; below 1 there is something to gain by moving on,
               above 1 by going back.
    *_error:   jackknife standard errors given the prompts; large where a few responses decide.
    """

    slope: float
    slope_error: float
    r_squared: float
    sharpness: float
    sharpness_error: float


def regress(responses: Responses, beta: float) -> Regression:
    """Fit one intercept a prompt, by demeaning within prompts.

    Responses of the slope weigh 1 / c^2: a policy is off by so many nats, which c multiplies. Those
    of the sharpness weigh alike, as they do in a policy gradient. Estimating nu first, by the mean
    of u under pi0, and fitting without intercepts is biased: nu is not that mean. Raises
    `InputError` where the utility, or the log-ratio, is constant within every prompt.
    """
    checks.positive_number("beta", beta)
    charge, alike = beta * responses.charge, np.ones_like(responses.price)
    for name in ("utility", "log_ratio"):
        if not np.ptp(getattr(responses, name), axis=1).any():
            raise InputError(name, "different for some responses of a prompt", "constant")
    slope, slope_error = _ratio(responses.utility, charge, responses.utility, responses.price**-2.0)
    backwards, _ = _ratio(charge, responses.utility, charge, responses.price**-2.0)
    sharpness, error = _ratio(responses.log_ratio, charge, responses.utility, alike)
    return Regression(slope, slope_error, slope * backwards, sharpness, error)


def _ratio(
    by: np.ndarray, top: np.ndarray, bottom: np.ndarray, weights: np.ndarray
) -> tuple[float, float]:
    """Cov(by, top) / Cov(by, bottom) within prompts, and its standard error."""
    shares = weights / weights.sum(1, keepdims=True)
    by, top, bottom = (x - (shares * x).sum(1, keepdims=True) for x in (by, top, bottom))
    above, below = weights * by * top, weights * by * bottom
    ratio = above.sum() / below.sum()
    without = (above.sum() - above) / (below.sum() - below)
    return float(ratio), float(np.sqrt(np.square(without - ratio).sum()))

"""What k reward models said about each (prompt, response) pair."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from theory import checks
from theory.arrays import Array, floats, like, namespace, safe_sqrt, to_numpy
from theory.covariance import estimate_covariance
from theory.shrinkage import shrink_variance

NORMALISATIONS = ("none", "centred", "standardised")
"""What worlds do to scores before an objective sees them: see `Scores.normalised`."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Hold member scores and their moments; arrays are NumPy or torch, all of one kind.

    Numbers become floats of one dtype here, once (`theory.arrays.floats`): ratings may be integers.

    members:          (*batch, n, k) score of each of k reward models for each of n responses;
                      a batch of sampled pairs may also be flat, (samples, k).
    head_std:         (*batch, n, k) each head's own standard deviation, where heads report one.
    known_variance:   (*batch, n) variance used in place of the sample variance (known or shrunken).
    known_covariance: (*batch, n, n) likewise for the covariance across the responses of a prompt.

    Bradley-Terry scores are free up to a constant per prompt and member: centre them
    (`centred`) before comparing or spreading members. Raises `InputError` on NaN or infinite
    entries and on mismatched shapes.

    >>> scores = Scores(np.array([[1.0, 3.0], [0.0, 0.0]]))
    >>> scores.mean(), scores.var()
    (array([2., 0.]), array([2., 0.]))
    """

    members: Shaped[Any, "*cells k"]
    head_std: Shaped[Any, "*cells k"] | None = None
    known_variance: Shaped[Any, "*cells"] | None = None
    known_covariance: Shaped[Any, "*cells n"] | None = None

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, array in zip(given, floats(**given), strict=True):
            object.__setattr__(self, name, array)
        if self.members.ndim < 1 or self.members.shape[-1] < 1:
            raise checks.InputError(
                "members", "of shape (*cells, k) with k >= 1", tuple(self.members.shape)
            )
        checks.finite("members", self.members)
        for name, array, shape in (
            ("head_std", self.head_std, self.members.shape),
            ("known_variance", self.known_variance, self.members.shape[:-1]),
            ("known_covariance", self.known_covariance, self._covariance_shape()),
        ):
            if array is None:
                continue
            if tuple(array.shape) != tuple(shape):
                raise checks.InputError(
                    name,
                    f"of shape {tuple(shape)} to match members {tuple(self.members.shape)}",
                    tuple(array.shape),
                )
            checks.finite(name, array)
        if self.known_variance is not None:
            checks.positive("known_variance", self.known_variance, zero_allowed=True)
        if self.head_std is not None:
            checks.positive("head_std", self.head_std, zero_allowed=True)
        if self.known_covariance is not None:
            checks.covariance("known_covariance", self.known_covariance)

    @classmethod
    def known(cls, mean: Array, std: Array) -> "Scores":
        """One estimate with known standard deviation: the setting of [banerjee2024, Asm 2.1]."""
        mean, std = floats(mean=mean, std=std)
        checks.positive("std", std, zero_allowed=True)
        return cls(mean[..., None], known_variance=std * std)

    @property
    def k(self) -> int:
        """Number of members."""
        return int(self.members.shape[-1])

    def mean(self) -> Float[Any, "*cells"]:
        """Mean over members."""
        return namespace(self.members).mean(self.members, axis=-1)

    def var(self, ddof: int = 1) -> Float[Any, "*cells"]:
        """Known variance (or diagonal), else the members' sample variance (needs k > ddof)."""
        if self.known_variance is not None:
            return self.known_variance
        if self.known_covariance is not None:
            return namespace(self.members).linalg.diagonal(self.known_covariance)
        self._require_several(ddof)
        return namespace(self.members).var(self.members, axis=-1, correction=ddof)

    def std(self, ddof: int = 1) -> Float[Any, "*cells"]:
        """Square root of `var`."""
        return safe_sqrt(self.var(ddof))

    def covariance(
        self, method: str = "ledoit_wolf", *, ddof: int = 1, rank: int = 1
    ) -> Float[np.ndarray, "*batch n n"]:
        """Covariance across the responses of a prompt, (*batch, n, n), NumPy.

        The known covariance where there is one. Otherwise `method` is 'sample' (rank <= k - 1,
        singular when k <= n), 'diagonal', 'ledoit_wolf' (positive definite, k >= 3) or
        'diagonal_plus_low_rank' (`rank` leading factors, diagonal equal to `var`).
        """
        if self.known_covariance is not None:
            return to_numpy(self.known_covariance)
        variance = to_numpy(self.var(ddof))
        if method != "diagonal":
            self._require_several(ddof, "use method='diagonal', or pass known_covariance")
        members = to_numpy(self.members)
        return estimate_covariance(members, variance, method, ddof=ddof, rank=rank)

    def centred(self, log_reference: Float[Any, "*batch n"]) -> "Scores":
        """Subtract each member's mean under the reference: r_i(x, y) - E_{pi0}[r_i(x, .)]."""
        checks.broadcastable("members", self.members[..., 0], "log_reference", log_reference)
        xp = namespace(self.members, log_reference)
        weights = xp.exp(log_reference)[..., None]
        checks.probabilities("exp(log_reference)", weights[..., 0])
        offset = xp.sum(weights * self.members, axis=-2, keepdims=True)
        return replace(self, members=self.members - offset)

    def standardised(self, log_reference: Float[Any, "*batch n"]) -> "Scores":
        """Centre, then divide each member by its own std under the reference, over all prompts.

        Heterologous fusion [rewardrobust2024, Table 8]: members on different scales are comparable
        afterwards. The last batch axis is the prompt axis; a member without spread is left at 0.
        Raises `InputError` where a variance is known, which members of other scales do not have.
        """
        for name in ("known_variance", "known_covariance"):
            if getattr(self, name) is not None:
                raise checks.InputError(
                    name, "unset when members are rescaled", "an array", "standardise first"
                )
        centred = self.centred(log_reference)
        xp = namespace(self.members, log_reference)
        weights = xp.exp(log_reference)[..., None]
        variance = xp.sum(weights * centred.members**2, axis=-2, keepdims=True)
        largest = xp.max(xp.abs(self.members), axis=-2, keepdims=True)
        if variance.ndim > 2:
            variance = xp.mean(variance, axis=-3, keepdims=True)
            largest = xp.max(largest, axis=-3, keepdims=True)
        std = safe_sqrt(variance)
        rounding = 16 * xp.finfo(std.dtype).eps * largest
        scale = xp.where(std > rounding, std, xp.ones_like(std))
        head_std = None if self.head_std is None else self.head_std / scale
        return replace(centred, members=centred.members / scale, head_std=head_std)

    def normalised(self, how: str, log_reference: Float[Any, "*batch n"]) -> "Scores":
        """Leave ('none'), centre ('centred') or standardise ('standardised') the scores.

        Every world centres by default: that undoes the constants that comparisons leave free, and
        keeps the unit in which beta is a price, so that one objective is the same in all of them.
        """
        checks.one_of("normalise", how, NORMALISATIONS)
        if how == "none":
            return self
        return getattr(self, how)(log_reference)

    def shrunk(self, ddof: int = 1) -> "Scores":
        """Replace the variance by its empirical-Bayes posterior over all cells [smyth2004].

        A variance that is known, or shrunken already, is kept.
        """
        if self.known_variance is not None:
            return self
        self._require_several(ddof)
        shrunken = shrink_variance(to_numpy(self.var(ddof)), self.k - ddof)
        return replace(self, known_variance=like(self.members, shrunken))

    def numpy(self) -> "Scores":
        """The same scores as detached NumPy arrays."""
        return Scores(
            to_numpy(self.members),
            *(
                None if a is None else to_numpy(a)
                for a in (self.head_std, self.known_variance, self.known_covariance)
            ),
        )

    def with_prompt_axis(self) -> "Scores":
        """Scores of one prompt (n, k) as a table (1, n, k)."""
        return Scores(
            self.members[None],
            *(
                None if a is None else a[None]
                for a in (self.head_std, self.known_variance, self.known_covariance)
            ),
        )

    def _require_several(
        self, ddof: int, hint: str = "add members, or pass known_variance"
    ) -> None:
        if self.k <= ddof:
            raise checks.InputError(
                "members",
                f"at least {ddof + 1} members for a variance with ddof={ddof}",
                f"k = {self.k}",
                hint,
            )

    def _covariance_shape(self) -> tuple[int, ...]:
        cells = self.members.shape[:-1]
        return (*cells, cells[-1]) if cells else ()

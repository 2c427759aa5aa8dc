"""What an objective takes from a batch before it can be evaluated sample by sample."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float

from theory.arrays import Array, to_numpy
from theory.errors import UnboundError


@dataclass(frozen=True, eq=False)
class Binding:
    """Batch quantities, as arrays so that each run of a population can have its own.

    All broadcast against the cells of `Scores`: (*batch, n) in tables, (samples,) in a flat batch.

    mean_variance:   E[sigma^2] on a first batch; b = mean_variance / lam in [adaptive2024, Eq. 7].
    prompt_variance: s(x) = E_{pi0}[sigma^2(x, .)], each prompt's variance.
    member_weights:  (*cells, m) weights of the members set against each other by a policy-level
                     worst case.
    """

    mean_variance: Float[Any, "*mean_cells"] | None = None
    prompt_variance: Float[Any, "*prompt_cells"] | None = None
    member_weights: Float[Any, "*member_cells m"] | None = None

    def need(self, name: str, asker: object) -> Array:
        """The named quantity, or `UnboundError` naming who asks and the call that fills it."""
        array = getattr(self, name)
        if array is None:
            raise UnboundError(asker, name)
        return array

    def numpy(self) -> "Binding":
        """The same quantities as detached NumPy arrays."""
        arrays = (self.mean_variance, self.prompt_variance, self.member_weights)
        return Binding(*(None if a is None else to_numpy(a) for a in arrays))


UNBOUND = Binding()

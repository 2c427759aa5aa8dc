"""Processes that train one policy together: what each does of a batch, and what all know of it.

The policy is whole on every process. Of everything that is done row by row a process does its
share; sums over the batch are sums over processes, which are the same bits on all of them. Random
numbers are drawn for the whole batch by every process alike, so that what is trained does not
depend on how many there are, but for the order in which float32 numbers are added.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import distributed

from llm_bridge.data.pairs import Judge
from llm_bridge.settings import Settings
from theory.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of one training; this one alone unless `launching` found more.

    rank: of this process; count: of all; device: of what they exchange.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def check(self, settings: Settings) -> None:
        """Raise `InputError` unless every part of a minibatch has as many rows for each process."""
        cut = (settings.minibatches, settings.accumulate, self.count)
        if settings.batch % int(np.prod(cut)):
            raise InputError(
                "batch", "a multiple of minibatches x accumulate x processes "
                f"({' x '.join(map(str, cut))})", settings.batch,
            )  # fmt: skip

    def share(self, rows: Any) -> Any:
        """This process's rows of a sequence or tensor; its length is a multiple of `count`."""
        size = len(rows) // self.count
        return rows[self.rank * size : (self.rank + 1) * size]

    def gather(self, make: Callable[[], T]) -> list[T]:
        """What `make` returns on each process, in order of rank; CPU tensors and plain objects.

        Raises the first `InputError` that one of them met, on all.
        """
        if self.count == 1:
            return [make()]
        found: T | InputError
        try:
            found = make()
        except InputError as error:
            found = error
        parts: list[Any] = [None] * self.count
        distributed.all_gather_object(parts, found)
        for part in parts:
            if isinstance(part, InputError):
                raise part
        return parts

    def on_main(self, act: Callable[[], object]) -> None:
        """Let the main process act while the others wait; its `InputError` is raised on all."""

        def acted() -> None:
            if self.main:
                act()

        self.gather(acted)

    def agree(self, argument: str, seen: Any) -> None:
        """Raise `InputError` unless what processes found in a folder is the same, but for rounding.

        seen: a number, truth or tensor.
        """
        found = self.gather(lambda: torch.as_tensor(seen, dtype=torch.float64, device="cpu"))
        near = 1e-3 * float(found[0].abs().max())
        apart = [n for n, x in enumerate(found) if float((x - found[0]).abs().max()) > near]
        if apart:
            raise InputError(
                argument, "a folder that all machines share",
                f"one in which processes {apart} find something else than the first",
            )  # fmt: skip

    def tell(self, task: Any = None) -> Any:
        """What the main process has to say, on all."""
        told = [task]
        if self.count > 1:
            distributed.broadcast_object_list(told, src=0)
        return told[0]

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace tensors of one dtype, on `device`, by their sums over processes."""
        self._flat(tensors, distributed.all_reduce)

    def copy(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace tensors of one dtype, on `device`, by those of the main process."""
        self._flat(tensors, lambda flat: distributed.broadcast(flat, src=0))

    def totals(self, numbers: dict[str, float]) -> dict[str, float]:
        """Sums over processes, by name."""
        if self.count == 1:
            return numbers
        values = torch.tensor(list(numbers.values()), dtype=torch.float64, device=self.device)
        self.add([values])
        return dict(zip(numbers, values.tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether it is so on one process at least."""
        return self.totals({"flag": float(flag)})["flag"] > 0

    def judged(self, judge: Judge) -> Judge:
        """A judge of whose texts every process judges its share, where they divide."""

        def score(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
            if self.count == 1 or len(prompts) % self.count:
                return judge(prompts, responses)
            parts = self.gather(lambda: judge(self.share(prompts), self.share(responses)))
            return np.concatenate(parts)

        return score

    @torch.no_grad()
    def _flat(
        self, tensors: Sequence[torch.Tensor], exchange: Callable[[torch.Tensor], object]
    ) -> None:
        """Exchange tensors in one message."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        exchange(flat)
        sizes = [tensor.numel() for tensor in tensors]
        for tensor, part in zip(tensors, flat.split(sizes), strict=True):
            tensor.copy_(part.view_as(tensor))


ALONE = Processes()
"""One process, which needs no others."""

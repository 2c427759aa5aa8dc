"""Initial weights that are the same bits on every processor: float64 draws, rounded once."""

import torch
from jaxtyping import Float


def normal(
    *shape: int, dtype: torch.dtype = torch.float64, generator: torch.Generator | None = None
) -> Float[torch.Tensor, "*shape"]:
    """Draw standard normal numbers, on the CPU; of torch's global generator unless one is given.

    In float32, `torch.randn` itself has another path on processors with AVX2.
    """
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)


def uniform(
    *shape: int,
    bound: float,
    dtype: torch.dtype = torch.float64,
    generator: torch.Generator | None = None,
) -> Float[torch.Tensor, "*shape"]:
    """Draw numbers on [-bound, bound), on the CPU; generator as for `normal`.

    Doubled, shifted and scaled in steps of one rounding each: `Tensor.uniform_` takes one step
    where the processor can, in either precision.
    """
    shares = torch.rand(shape, dtype=torch.float64, generator=generator)
    return ((2 * shares - 1) * bound).to(dtype)


def linear(
    width: int, outputs: int, *, bias: bool = True, dtype: torch.dtype, device: torch.device
) -> torch.nn.Linear:
    """Make a layer with the distribution of `torch.nn.Linear`, of torch's global generator."""
    made = torch.nn.utils.skip_init(
        torch.nn.Linear, width, outputs, bias=bias, device=device, dtype=dtype
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(uniform(*parameter.shape, bound=width**-0.5))
    return made


def adapter(
    width: int, rank: int, *, generator: torch.Generator
) -> Float[torch.Tensor, "rank width"]:
    """Draw A of a low-rank adapter, with the distribution that peft gives it; B starts at zero."""
    return uniform(rank, width, bound=width**-0.5, generator=generator)

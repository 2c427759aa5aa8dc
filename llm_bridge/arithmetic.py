"""Precisions of models: which may be asked for together, and which are slow where they run."""

import warnings
from functools import lru_cache

import torch

from theory import checks
from theory.errors import InputError

DTYPES = {
    "float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}  # fmt: skip
"""Of weights."""
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
"""Of matrix products: 'float32' leaves them in the precision of the weights."""
FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""Capabilities of processors whose arithmetic knows bfloat16, in the names of PyTorch."""


def check_precision(precision: str, dtype: torch.dtype) -> None:
    """Raise `InputError` for an unknown precision, and for bfloat16 products of float64 weights.

    Autocast leaves float64 as it is: nothing would be faster or smaller, and nothing would say so.
    """
    checks.one_of("precision", precision, PRECISIONS)
    if PRECISIONS[precision] is not None and dtype == torch.float64:
        raise InputError(
            "precision", "'float32' for a model in float64, which autocast leaves as it is",
            repr(precision), "leave --ppo.precision out, or take --dtype float32",
        )  # fmt: skip


def warn_where_slow(device: str, *names: str) -> None:
    """Warn where bfloat16 is among these, and computed by a processor that has to emulate it."""
    if "bfloat16" in names and torch.device(device).type == "cpu" and not fast_bfloat16():
        warnings.warn(
            "this processor has no bfloat16 arithmetic: bfloat16 is slower here than float32, "
            "about 3 times", stacklevel=2,
        )  # fmt: skip


@lru_cache(maxsize=1)
def fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself; True where PyTorch does not say."""
    known = getattr(torch.cpu, "get_capabilities", None)
    return known is None or any(known().get(name, False) for name in FAST_BFLOAT16)

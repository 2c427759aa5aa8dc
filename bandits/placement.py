"""Where tensors live, and in which precision."""

import torch

from theory import checks
from theory.errors import InputError

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def check_device(device: str) -> None:
    """Raise `InputError` unless a device is one that PyTorch has here."""
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise InputError("device", "'cpu' or 'cuda'", repr(device)) from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError("device", "available", repr(device), "use device='cpu'")


def check_dtype(dtype: str) -> None:
    """Raise `InputError` for an unknown precision."""
    checks.one_of("dtype", dtype, DTYPES)

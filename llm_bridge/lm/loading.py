"""The one door through which transformers and peft read a folder: no code of the folder runs."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging

from theory.damage import readable
from theory.errors import InputError

T = TypeVar("T")


def load_config(folder: Path) -> Any:
    """The configuration of a checkpoint; `InputError` where it cannot be read or asks for code."""
    return _read("checkpoint", folder, lambda: AutoConfig.from_pretrained(folder, **_NO_CODE))


def load_tokenizer(folder: Path) -> Any:
    """Its tokenizer; `InputError` likewise."""
    return _read("tokenizer", folder, lambda: AutoTokenizer.from_pretrained(folder, **_NO_CODE))


def load_weights(kind: Any, folder: Path, dtype: torch.dtype | None = None) -> Any:
    """A model of safetensors; kind: such as `AutoModel`; dtype: that of the files where None.

    Raises `InputError` for files that are damaged or ask for code, and where they lack some of the
    model's weights.
    """
    own = {} if dtype is None else {"dtype": dtype}
    model, found = _read(
        "checkpoint", folder,
        lambda: kind.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, **own, **_NO_CODE
        ),
    )  # fmt: skip
    if found["missing_keys"]:
        raise InputError(
            "checkpoint", f"all weights of a {type(model).__name__}",
            f"{folder} without {', '.join(sorted(found['missing_keys'])[:3])}",
            "they would be random",
        )  # fmt: skip
    check_weights(model, "checkpoint", str(folder))
    return model


def check_weights(model: torch.nn.Module, argument: str, source: str, hint: str = "") -> None:
    """Raise `InputError` where a weight is NaN or infinite, naming it and the source."""
    for name, weight in model.named_parameters():
        if weight.numel() and weight.is_floating_point():
            ends = torch.stack(torch.aminmax(weight.detach()))
            if not ends.isfinite().all():
                raise InputError(
                    argument, "one of finite weights",
                    f"{source}: weights of {name} are not finite", hint,
                )  # fmt: skip


def build(kind: Any, config: Any, dtype: torch.dtype) -> Any:
    """A model of a configuration, its weights random; `InputError` where it asks for code."""
    return _read(
        "checkpoint", type(config).__name__,
        lambda: kind.from_config(config, dtype=dtype, **_NO_CODE),
    )  # fmt: skip


def load_merged(base: Any, folder: Path) -> Any:
    """A model with the adapter of a folder merged into it; `InputError` for a damaged one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        return _read(
            "checkpoint", folder,
            lambda: PeftModel.from_pretrained(base, str(folder)).merge_and_unload(),
        )  # fmt: skip


@contextmanager
def quiet() -> Iterator[None]:
    """Without the library's progress bars and load reports: what matters of them is an error."""
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


def _read(argument: str, source: str | Path, load: Callable[[], T]) -> T:
    with (
        readable(source, argument, "one that transformers loads, without code of its own"),
        quiet(),
    ):
        return load()


_NO_CODE = {"trust_remote_code": False}

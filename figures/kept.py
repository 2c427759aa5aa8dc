"""Where slow studies keep what is finished, so that one that was cut off goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from llm_bridge.caching import cached, default_cache


def kept(described: Any, *functions: Callable[..., Any]) -> Path:
    """A folder in the cache of trained models, of one study alone.

    Another description (its printed form counts), other code within the reach of the functions'
    modules, or other versions of packages give another folder, and the study begins anew.
    """
    return cached(default_cache(), "study", described, *functions)

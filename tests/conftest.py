"""Shape annotations are checked in the tests, and only there; what lacks an extra is skipped."""

import os
import random
from contextlib import suppress
from importlib import import_module

import pytest
from hypothesis import settings
from jaxtyping import config, install_import_hook

from tests import extras
from tests.shapes import CHECKED, TYPECHECKER

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")
for name in ("joblib", "pandas", "peft"):
    # What a checked module imports first is compiled anew: the hook names its bytecode otherwise.
    with suppress(ImportError):
        import_module(name)
install_import_hook(CHECKED, TYPECHECKER)
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


def pytest_addoption(parser):
    parser.addoption("--order", type=int, help="seed of another order of files, and of their tests")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """The same order on every worker; tests of a file stay together, and share its fixtures.

    Files with tests that take long come first, so that no process is left with one at the end.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    seed = config.getoption("--order")
    if seed is not None:
        rng = random.Random(seed)
        place = {path: rng.random() for path in dict.fromkeys(item.path for item in items)}
        items.sort(key=lambda item: (place[item.path], rng.random()))


def pytest_configure(config):
    config.pluginmanager.register(extras, "extras")


@pytest.fixture
def without_shape_annotations():
    """Lets bad input reach the errors that users see."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)

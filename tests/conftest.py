"""Shape annotations are checked in the tests, and only there."""

import os

import pytest
from hypothesis import settings
from jaxtyping import config, install_import_hook

from tests.shapes import CHECKED, TYPECHECKER

os.environ.setdefault("MPLBACKEND", "Agg")
install_import_hook(CHECKED, TYPECHECKER)
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


@pytest.fixture
def without_shape_annotations():
    """Lets bad input reach the errors that users see."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)

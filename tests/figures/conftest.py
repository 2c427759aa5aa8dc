"""Figures small enough for tests, each computed once."""

import pytest


@pytest.fixture(scope="session")
def language(tmp_path_factory):
    """An embedded language model and reward models that are barely trained, when asked for."""
    from tests.figures import small

    return small.language(tmp_path_factory.mktemp("language"))


@pytest.fixture
def small(monkeypatch, language):
    """Few draws at scale 'toy', and small language models."""
    from tests.figures.small import shrink

    shrink(monkeypatch, language)


@pytest.fixture(scope="session")
def tables(language):
    """The table of every figure by key, small, as it is read back from disk: computed when asked
    for, once."""
    from tests.figures.small import Tables

    return Tables(language)

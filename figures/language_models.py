"""What figures on language models share: the packages that they need, and the world of texts."""

from typing import Any

from theory.first_contact import extra


def text_world() -> Any:
    """The embedded language with five reward models, trained in a minute once and cached.

    Raises `InputError` where packages are missing.
    """
    require_packages()
    from llm_bridge.text_world import TextWorld

    return TextWorld(normalise="standardised")


def require_packages() -> None:
    """Raise `InputError` with the line that installs them unless all packages are there."""
    with extra("llm"):
        import peft  # noqa: F401
        import transformers  # noqa: F401

"""The checker of shape annotations: beartype, with an int wherever a float is expected."""

from beartype import BeartypeConf, beartype

CHECKED = ("theory", "bandits", "llm_bridge", "figures")
TYPECHECKER = "tests.shapes.check"


def check(annotated):
    """beartype under the numeric tower of PEP 484."""
    return beartype(conf=BeartypeConf(is_pep484_tower=True))(annotated)

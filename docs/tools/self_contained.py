"""A hook of MkDocs: warn, and so fail a strict build, of pages that fetch from the network."""

import logging
import re
from pathlib import Path
from typing import Any

LOG = logging.getLogger("mkdocs.plugins.self_contained")
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|embed)\b[^>]*\ssrc=["']?(?:https?:)?//[^"'\s>]+
      | <link\b(?=[^>]*\srel=["']?(?:stylesheet|preconnect|preload|icon|manifest|modulepreload))
        [^>]*\shref=["']?(?:https?:)?//[^"'\s>]+
      | (?:@import\s+|url\()\s*["']?(?:https?:)?//[^"'\s)]+""",
    re.VERBOSE,
)


def fetched(text: str) -> list[str]:
    """Parts of HTML or CSS that make a browser ask another machine for something."""
    return FETCHED.findall(text)


def on_post_build(config: Any, **_: Any) -> None:
    """Look through all that was built."""
    for path in sorted(Path(config["site_dir"]).rglob("*")):
        if path.suffix in (".html", ".css"):
            for part in fetched(path.read_text(encoding="utf-8")):
                LOG.warning("%s fetches from the network: %s", path.name, part)

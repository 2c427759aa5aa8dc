"""Addresses and keys of servers: checked before anything is sent, and never shown."""

import base64
import codecs
import html
import os
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import unquote, unquote_plus, urlsplit

import httpx2

from theory.errors import InputError

WHERE = re.compile(r"https?://[^\s/@?#&=;%\\]+(/[\w.~:+,-]*)*", re.IGNORECASE)
"""Addresses in which there is no room for a password or a key."""
TOLD = 8
"""Letters and digits of a key in a row that no message repeats; all of a shorter one."""
TELLING = 12
"""Letters and digits from which on a key is no word that a reply may hold by chance."""
RUN, WORDS = re.compile(r"\S{24,}"), re.compile(r"(\W|\b([a-z]+|[A-Z][a-z]+|[A-Z]+|\d{1,9})\b)+")
"""What has no space and is not made of words may be a key in an encoding that nobody thought of."""
SPREAD = re.compile(r"[\s'\",\0\ufffd]+")
"""What may stand between the letters of a text that is spread out, or is UTF-16 read as UTF-8."""
WITHHELD = "(not shown: it repeats the key)"
DEPTH, LOOKED_THROUGH, MOST_VIEWS = 2, 4096, 2000
"""Encodings around each other that are undone, letters of a text, and ways to read it."""


def check_url(url: str) -> None:
    """Raise `InputError` for what is no http address, or holds a password, a key or a query.

    The message shows no part of the address that may be secret.
    """
    try:
        if WHERE.fullmatch(url) and url.isprintable() and httpx2.URL(url).host:
            _ = urlsplit(url).port
            return
    except (httpx2.InvalidURL, ValueError):
        pass
    secret = re.search("[@?#&=;%]", url)
    raise InputError(
        "url", "an address such as http://localhost:8000/v1", shown(url),
        "keys go into the environment, as $OPENAI_API_KEY, not into addresses" if secret else "",
    )  # fmt: skip


def shown(url: str) -> str:
    """An address as far as it cannot be secret."""
    if "@" in url or "%" in url:
        return "one with an @ or a %"
    known = re.split("[?#&=;]", url)[0]
    return repr(known) if known == url else f"{known!r} and more"


def bearer(key: str, source: str) -> str:
    """A key as it is sent, without space around it; source: where it comes from, for messages.

    Raises `InputError` for line breaks, and letters that a header of HTTP cannot hold.
    """
    key = key.strip()
    for place, letter in enumerate(key, 1):
        if not (letter.isascii() and letter.isprintable()):
            kind = "a line break" if letter in "\r\n" else f"U+{ord(letter):04X}"
            raise InputError(
                "key", "of printable ASCII letters, in one line",
                f"{kind} at place {place} of {len(key)} in {source}", "copy the key anew",
            )  # fmt: skip
    return key


def key_of(given: str | None, variable: str) -> str:
    """A key that is given, or that of an environment variable, '' for none.

    Raises `InputError` as `bearer`.
    """
    if given is None:
        return bearer(os.environ.get(variable, ""), f"${variable}")
    return bearer(given, "it")


def quoted(text: str, key: str) -> str:
    """What a server said, without codes, or that it is not shown because the key is in it."""

    def spelt(run: re.Match[str]) -> str:
        return run[0] if WORDS.fullmatch(run[0].replace("_", " ")) else "..."

    if repeats(text, key):
        return WITHHELD
    return RUN.sub(spelt, text) if key else text


def tells(text: str, key: str) -> bool:
    """Whether a reply repeats a key that is too long to be there by chance."""
    return len(_bare(key)) >= TELLING and repeats(text, key)


def repeats(text: str, key: str) -> bool:
    """Whether a text holds a key or a part of it: in any case, forth or back, quoted or encoded.

    A text that can be read in too many ways counts as one that does.
    """
    bare = _bare(key)
    if not bare:
        return bool(key) and key in text
    size = min(TOLD, len(bare))
    pieces = {bare[start : start + size] for start in range(len(bare) - size + 1)}
    views = _views(text)
    if len(views) > MOST_VIEWS:
        return True
    return any(piece in view for view in map(_bare, views) for piece in pieces)


def _bare(text: str) -> str:
    """Letters and digits, of one case: what is left of UTF-16 read as ASCII, too."""
    return re.sub(r"[\W_]+", "", text.casefold())


def _views(text: str) -> set[str]:
    """A text, and what comes of undoing usual encodings, also around each other."""
    seen, latest = {text}, {text[:LOOKED_THROUGH]}
    for _ in range(DEPTH):
        latest = {view for known in latest for undo in UNDO for view in undo(known)} - seen
        seen |= latest
        if len(seen) > MOST_VIEWS:
            break
    return seen


def _escapes(text: str) -> Iterator[str]:
    """As in JSON, Python and JavaScript."""
    yield re.sub(
        r"[\\%](?:u\{?([0-9a-f]{4})\}?|x([0-9a-f]{2}))",
        lambda found: chr(int(found[1] or found[2], 16)), text, flags=re.IGNORECASE,
    )  # fmt: skip


def _base64(text: str) -> Iterator[str]:
    """Of every run of its letters, from each of the places at which one may begin."""
    for run in re.findall(r"[A-Za-z0-9+/_-]{8,}", text):
        letters = run.replace("-", "+").replace("_", "/")
        for start in range(4):
            whole = (len(letters) - start) // 4 * 4
            yield base64.b64decode(letters[start : start + whole]).decode("latin-1")


def _hexadecimal(text: str) -> Iterator[str]:
    for run in re.findall(r"(?:[0-9a-fA-F][\s:,-]?){8,}", text):
        digits = re.sub(r"[\s:,-]", "", run)
        for start in range(2):
            whole = (len(digits) - start) // 2 * 2
            yield bytes.fromhex(digits[start : start + whole]).decode("latin-1")


UNDO: tuple[Callable[[str], Iterable[str]], ...] = (
    lambda text: (unquote(text), unquote_plus(text), html.unescape(text)),
    lambda text: (codecs.decode(text, "rot13"), text[::-1], SPREAD.sub("", text)),
    _escapes, _base64, _hexadecimal,
)  # fmt: skip
"""Ways back from encodings of a text."""

"""One request to a chat completion server, and what came of it: a text, or why there is none."""

import json
import time
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

EXCERPT = 200
"""Bytes of a server's complaint that are quoted."""
NO_CONNECTION, NO_COMPLETION, TIMEOUT = "no connection", "no completion", "timeout"
PASSING = (408, 409, 425, 429)
"""Statuses below 500 after which the same request may succeed."""


class Failure(NamedTuple):
    """A request that brought no reply.

    reason: one of the names above, or 'HTTP 429'; detail: what the server said.
    after:  least seconds to wait before another try; None where none can help.
    """

    reason: str
    detail: str = ""
    after: float | None = 0.0

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def opener(address: str) -> OpenerDirector:
    """What opens an address: no redirections, which would take the key along, and no proxies of
    the environment where the server is on this machine.
    """
    host = urlsplit(address).hostname or ""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return build_opener(_NoRedirect, *([ProxyHandler({})] if local else []))


def fetch(opened_by: OpenerDirector, request: Request, timeout: float) -> str | Failure:
    """The text of a reply, '' where the model said nothing; timeout: seconds it may stall."""
    try:
        with opened_by.open(request, timeout=timeout) as response:
            return _text(response.read())
    except HTTPError as error:
        with error:
            return _refusal(error)
    except TimeoutError:
        return Failure(TIMEOUT)
    except URLError as error:
        late = isinstance(error.reason, TimeoutError)
        return Failure(TIMEOUT) if late else Failure(NO_CONNECTION, str(error.reason))
    except (OSError, HTTPException) as error:
        return Failure(NO_COMPLETION, repr(error))


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Leaves the answer an error."""


def _text(body: bytes) -> str | Failure:
    """The content of the first choice."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        return Failure(NO_COMPLETION, body[:EXCERPT].decode(errors="replace"))
    if content is not None and not isinstance(content, str):
        return Failure(NO_COMPLETION, f"content of type {type(content).__name__}")
    return (content or "").encode(errors="replace").decode()


def _refusal(error: HTTPError) -> Failure:
    """Of a status beyond 2xx."""
    try:
        detail = error.read(EXCERPT).decode(errors="replace").strip() or str(error.reason)
    except (OSError, HTTPException):
        detail = str(error.reason)
    passing = error.code in PASSING or error.code >= 500
    after = _retry_after(error.headers.get("Retry-After", "0")) if passing else None
    return Failure(f"HTTP {error.code}", detail, after)


def _retry_after(asked: str) -> float:
    """Seconds that a server asks to wait, as a number or a date; 0 where it is neither."""
    try:
        return max(0.0, float(asked))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except ValueError:
        return 0.0

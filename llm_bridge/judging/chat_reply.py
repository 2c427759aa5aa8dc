"""One request to a chat completion server, and what came of it: a text, or why there is none."""

import json
import ssl
import time
from email.utils import parsedate_to_datetime
from functools import cache
from ipaddress import ip_address
from typing import Any, NamedTuple

import anyio
import httpx2

from llm_bridge.judging.credentials import WITHHELD, quoted, tells
from theory.errors import InputError

EXCERPT = 200
"""Bytes of a server's complaint that are quoted."""
LARGEST = 2**24
"""Bytes of a reply, beyond which it is not read."""
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


TOO_LARGE = Failure(NO_COMPLETION, f"more than {LARGEST} bytes")


class Server:
    """A connection to an address, with a key that neither it nor a failure shows.

    Redirections, which would take the key along, are not followed, and there are no proxies of the
    environment before a server on this machine. Raises `InputError` for such proxies that cannot be
    used.
    """

    def __init__(self, address: str, key: str) -> None:
        self.address, self._key = address, key
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        try:
            self.client = httpx2.AsyncClient(
                headers=headers, timeout=None, trust_env=not _local(address),
                verify=_certificates(), follow_redirects=False,
                limits=httpx2.Limits(max_keepalive_connections=0),
            )  # fmt: skip
        except (ImportError, ValueError, OSError, httpx2.InvalidURL) as error:
            raise InputError(
                "proxy", "of http or https", f"another in the environment ({type(error).__name__})",
                "set or unset $http_proxy, $https_proxy and $all_proxy",
            ) from None  # fmt: skip

    async def fetch(self, body: dict[str, Any], timeout: float) -> str | Failure:
        """The text of a reply, '' where the model said nothing; timeout: seconds in all."""
        found: str | Failure = Failure(TIMEOUT)
        content = json.dumps(body).encode()
        try:
            with anyio.move_on_after(timeout):
                async with self.client.stream("POST", self.address, content=content) as response:
                    found = await (_text if response.is_success else _refusal)(response)
        except (httpx2.ConnectError, httpx2.ProxyError) as error:
            found = Failure(NO_CONNECTION, str(error))
        except (httpx2.HTTPError, OSError, ValueError) as error:
            found = Failure(NO_COMPLETION, f"{type(error).__name__}: {error}")
        if isinstance(found, Failure):
            return found._replace(detail=quoted(found.detail, self._key))
        return Failure(NO_COMPLETION, WITHHELD) if tells(found, self._key) else found


@cache
def _certificates() -> ssl.SSLContext:
    """Those that this machine trusts; reading them takes a while."""
    return ssl.create_default_context()


def _local(address: str) -> bool:
    """Whether a server is on this machine."""
    host = httpx2.URL(address).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _received(response: httpx2.Response, most: int) -> bytes:
    """The body, or its beginning where it is longer than `most`."""
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > most:
            break
    return bytes(body)


async def _text(response: httpx2.Response) -> str | Failure:
    """The content of the first choice."""
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced[:20]) > LARGEST:
        return TOO_LARGE
    body = await _received(response, LARGEST)
    if len(body) > LARGEST:
        return TOO_LARGE
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return Failure(NO_COMPLETION, body[:EXCERPT].decode(errors="replace"))
    if content is not None and not isinstance(content, str):
        return Failure(NO_COMPLETION, f"content of type {type(content).__name__}")
    return (content or "").encode(errors="replace").decode()


async def _refusal(response: httpx2.Response) -> Failure:
    """Of a status beyond 2xx."""
    code = response.status_code
    passing = code in PASSING or code >= 500
    after = _retry_after(response.headers.get("Retry-After", "0")) if passing else None
    try:
        body = await _received(response, EXCERPT)
    except httpx2.HTTPError:
        body = b""
    said = body[:EXCERPT].decode(errors="replace").strip()
    return Failure(f"HTTP {code}", said or response.reason_phrase, after)


def _retry_after(asked: str) -> float:
    """Seconds that a server asks to wait, as a number or a date; 0 where it is neither."""
    try:
        return max(0.0, float(asked))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except (ValueError, TypeError, LookupError, ArithmeticError, OSError):
        return 0.0

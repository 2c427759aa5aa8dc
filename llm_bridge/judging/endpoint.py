"""A client of any server that speaks the chat completions of OpenAI: vLLM, llama.cpp, a vendor."""

import hashlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit
from urllib.request import Request

from tqdm import tqdm

from llm_bridge.judging.chat_reply import NO_CONNECTION, Failure, fetch, opener
from theory import checks
from theory.errors import InputError
from theory.files import output_folder, write_text

T = TypeVar("T")
PATH = "/chat/completions"
LONGEST_PAUSE = 300.0
"""Seconds; a server that asks for a longer pause than this has failed."""
UNPARSED = "unparsed"


@dataclass(frozen=True)
class Answers(Generic[T]):
    """What came of questions.

    values: one for each prompt, None where there is no answer.
    faults: why not, and of how many prompts: 'unparsed', or the reason of a `Failure`.
    """

    values: list[T | None]
    faults: dict[str, int]


@dataclass(frozen=True)
class Endpoint:
    """A model behind a chat endpoint, asked at temperature 0; replies are kept on disk.

    url:      of the API, such as http://localhost:8000/v1.
    key:      None takes the environment variable `variable`, or sends none where that is unset.
    tokens:   the longest reply; None leaves it to the server.
    timeout:  seconds a reply may stall.
    retries:  of a request that timed out or met a fault that may pass (429, 5xx, garbage ...).
    pause:    seconds before the first retry; it doubles with each. `Retry-After` is obeyed.
    interval: least number of seconds between the starts of two requests.
    workers:  requests under way at once.
    cache:    folder of replies, by url, model, prompt and tokens; None keeps none.

    Raises `InputError` for numbers out of range and a url that is not http or https.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    variable: str = "OPENAI_API_KEY"
    tokens: int | None = 512
    timeout: float = 60.0
    retries: int = 4
    pause: float = 1.0
    interval: float = 0.0
    workers: int = 4
    cache: Path | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError("url", "an address such as http://localhost:8000/v1", self.url)
        if self.tokens is not None:
            checks.positive("tokens", self.tokens)
        checks.positive_number("timeout", self.timeout)
        checks.positive("workers", self.workers)
        for name in ("retries", "pause", "interval"):
            checks.positive_number(name, getattr(self, name), zero_allowed=True)

    @property
    def address(self) -> str:
        """Where requests go."""
        return self.url.rstrip("/").removesuffix(PATH) + PATH

    def ask(self, prompts: Sequence[str], parse: Callable[[str], T | None]) -> Answers[T]:
        """Ask each prompt in a conversation of its own, and read the replies with `parse`.

        parse: the meaning of a reply's text, None where it has none. Such a reply is counted, as is
        a request that failed for good; neither gets a value. Equal prompts are asked once.

        Raises `InputError` where the key, the url or the model is refused, where nothing listens,
        and where every request failed.
        """
        if self.cache is not None:
            output_folder(self.cache)
        unique, ask = list(dict.fromkeys(prompts)), partial(self._reply, _Connection(self))
        with ThreadPoolExecutor(self.workers) as pool:
            replies = tqdm(pool.map(ask, unique), total=len(unique), unit="reply", disable=None)
            known = dict(zip(unique, replies, strict=True))
        failed = [reply for reply in known.values() if isinstance(reply, Failure)]
        if failed and len(failed) == len(unique):
            raise InputError("url", "a server that answers", failed[0], self._named)
        values: list[T | None] = []
        faults = Counter[str]()
        for prompt in prompts:
            reply = known[prompt]
            value = None if isinstance(reply, Failure) else parse(reply)
            if value is None:
                faults[reply.reason if isinstance(reply, Failure) else UNPARSED] += 1
            values.append(value)
        return Answers(values, dict(faults))

    @property
    def _named(self) -> str:
        return f"{self.address} was asked for model {self.model!r}"

    def _reply(self, connection: "_Connection", prompt: str) -> str | Failure:
        """From the cache, or from the server."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
        }
        if self.tokens is not None:
            body["max_tokens"] = self.tokens
        if self.cache is None:
            return connection.patiently(body)
        described = json.dumps({"url": self.address, **body}, sort_keys=True)
        kept = self.cache / f"{hashlib.sha256(described.encode()).hexdigest()}.txt"
        if kept.exists():
            return kept.read_text(encoding="utf-8")
        reply = connection.patiently(body)
        if isinstance(reply, str):
            write_text(kept, reply)
        return reply


class _Connection:
    """The requests of one `ask`, from several threads: their pace and their retries."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint, self.opener = endpoint, opener(endpoint.address)
        self.headers = {"Content-Type": "application/json"}
        key = os.environ.get(endpoint.variable) if endpoint.key is None else endpoint.key
        if key:
            self.headers["Authorization"] = f"Bearer {key.strip()}"
        self.lock, self.next_start = threading.Lock(), 0.0

    def patiently(self, body: dict[str, Any]) -> str | Failure:
        """One reply, tried for again while that may help; raises where no other prompt can fare
        better.
        """
        endpoint = self.endpoint
        sent = json.dumps(body).encode()
        for attempt in range(endpoint.retries + 1):
            self._wait_for_turn()
            request = Request(endpoint.address, sent, self.headers)
            reply = fetch(self.opener, request, endpoint.timeout)
            if isinstance(reply, str):
                return reply
            if reply.after is None or reply.after > LONGEST_PAUSE or attempt == endpoint.retries:
                self._give_up_on(reply)
                break
            with self.lock:
                self.next_start = max(self.next_start, time.monotonic() + reply.after)
            time.sleep(endpoint.pause * 2**attempt)
        return reply

    def _wait_for_turn(self) -> None:
        """Until the interval, and a pause that the server asked for, are over."""
        with self.lock:
            start = max(self.next_start, time.monotonic())
            self.next_start = start + self.endpoint.interval
        time.sleep(max(0.0, start - time.monotonic()))

    def _give_up_on(self, failure: Failure) -> None:
        """Raise for what every prompt would meet."""
        named, variable = self.endpoint._named, self.endpoint.variable
        match failure.reason:
            case "HTTP 401" | "HTTP 403":
                hint = f"set ${variable} or pass a key; {named}"
                raise InputError("key", "one that the server accepts", failure, hint)
            case "HTTP 404":
                hint = f"most urls end in /v1; {named}"
                raise InputError("url", "of an API that serves the model", failure, hint)
            case reason if reason.startswith("HTTP 3"):
                raise InputError("url", "final, not one that redirects", failure, named)
            case reason if reason == NO_CONNECTION:
                raise InputError("url", "where a server listens", failure, named)

"""A client of any server that speaks the chat completions of OpenAI: vLLM, llama.cpp, a vendor."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Generic, TypeVar

from anyio import create_task_group, sleep
from anyio.from_thread import start_blocking_portal
from tqdm import tqdm

from llm_bridge.judging.chat_reply import NO_CONNECTION, Failure, Server
from llm_bridge.judging.credentials import check_url, key_of
from llm_bridge.judging.reply_cache import Kept, ReplyCache
from theory import checks
from theory.errors import InputError

T = TypeVar("T")
PATH = "/chat/completions"
LONGEST_PAUSE = 300.0
"""Seconds; a server that asks for a longer pause than this has failed."""
REQUESTS = 3
"""For a reply that is kept and cannot be read: one in each of so many runs."""
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

    url:      of the API, such as http://localhost:8000/v1; without keys or passwords.
    key:      None takes the environment variable `variable`, or sends none where that is unset.
    tokens:   the longest reply; None leaves it to the server.
    timeout:  seconds a reply may take, from the request to its last byte.
    retries:  of a request that timed out or met a fault that may pass (429, 5xx, garbage ...).
    pause:    seconds before the first retry; it doubles with each. `Retry-After` is obeyed.
    interval: least number of seconds between the starts of two requests.
    workers:  requests under way at once.
    cache:    folder of replies, by url, model, prompt and tokens; None keeps none.

    A kept reply that could not be read is asked for once more by each endpoint that is made, until
    there were `REQUESTS` requests in all. Raises `InputError` for numbers out of range, a url that
    is not http or https or that holds a secret, and a key that cannot be sent.
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
    _again: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_url(self.url)
        key_of(self.key, self.variable)
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
        a request that failed for good; neither gets a value. Equal prompts are asked once. What was
        asked again, and files of the cache that were damaged, are told in a line on stderr.

        Raises `InputError` where the key, the url or the model is refused, where nothing listens,
        and where every request failed.
        """
        unique = list(dict.fromkeys(prompts))
        asking = _Asking(self, lambda reply: parse(reply) is not None)
        with start_blocking_portal() as portal:
            known = portal.call(asking.all, unique)
        asking.tell()
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


class _Asking:
    """The requests of one `ask`: their pace, their retries, and what is kept of them.

    They are tasks of one thread, so that nothing but a pause or a request comes between their
    steps, and all of them end where the caller is interrupted.
    """

    def __init__(self, endpoint: Endpoint, usable: Callable[[str], bool]) -> None:
        self.endpoint, self.usable = endpoint, usable
        self.server = Server(endpoint.address, key_of(endpoint.key, endpoint.variable))
        self.cache = None if endpoint.cache is None else ReplyCache(endpoint.cache)
        if self.cache is not None:
            self.cache.open()
        self.next_start, self.again = 0.0, 0

    async def all(self, prompts: Sequence[str]) -> dict[str, str | Failure]:
        """A reply to each; raises where no other prompt can fare better."""
        known: dict[str, str | Failure] = {}
        left = iter(tqdm(prompts, unit="reply", disable=None))
        try:
            async with self.server.client, create_task_group() as group:
                for _ in range(min(self.endpoint.workers, len(prompts))):
                    group.start_soon(self._work, left, known)
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        return known

    def tell(self) -> None:
        """What was asked again, and why, on stderr."""
        if self.again:
            told = f"{self.again} kept replies could not be read and were asked for again"
            print(f"{told}, at most {REQUESTS} times each in all", file=sys.stderr)
        if self.cache is not None and self.cache.damaged:
            count, first = len(self.cache.damaged), self.cache.damaged[0]
            print(
                f"{count} damaged files of replies, asked for again: {first} ...", file=sys.stderr
            )

    async def _work(self, left: Iterator[str], known: dict[str, str | Failure]) -> None:
        for prompt in left:
            known[prompt] = await self._reply(prompt)

    async def _reply(self, prompt: str) -> str | Failure:
        """From the cache, or from the server."""
        endpoint = self.endpoint
        body: dict[str, Any] = {
            "model": endpoint.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
        }
        if endpoint.tokens is not None:
            body["max_tokens"] = endpoint.tokens
        if self.cache is None:
            return await self._patiently(body)
        request = {"url": endpoint.address, **body}
        kept = self.cache.read(request)
        if kept is None:
            reply = await self._patiently(body)
            if isinstance(reply, str):
                self.cache.write(request, Kept(reply, 1))
                endpoint._again.add(prompt)
            return reply
        if self.usable(kept.reply) or kept.requests >= REQUESTS or prompt in endpoint._again:
            return kept.reply
        endpoint._again.add(prompt)
        self.again += 1
        await self._turn()
        reply = await self.server.fetch(body, endpoint.timeout)
        if isinstance(reply, Failure):
            return kept.reply
        self.cache.write(request, Kept(reply, kept.requests + 1))
        return reply

    async def _patiently(self, body: dict[str, Any]) -> str | Failure:
        """One reply, tried for again while that may help; raises for what every prompt meets."""
        endpoint = self.endpoint
        attempt = 0
        while True:
            await self._turn()
            reply = await self.server.fetch(body, endpoint.timeout)
            if isinstance(reply, str):
                return reply
            if reply.after is None or reply.after > LONGEST_PAUSE or attempt == endpoint.retries:
                self._give_up_on(reply)
                return reply
            self.next_start = max(self.next_start, monotonic() + reply.after)
            await sleep(endpoint.pause * 2**attempt)
            attempt += 1

    async def _turn(self) -> None:
        """Wait until the interval, and a pause that the server asked for, are over."""
        start = max(self.next_start, monotonic())
        self.next_start = start + self.endpoint.interval
        await sleep(max(0.0, start - monotonic()))

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

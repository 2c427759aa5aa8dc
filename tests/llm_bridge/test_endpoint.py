"""The client of chat endpoints against a real server on this machine, and its moods."""

import socket
from email.utils import formatdate

import pytest

from llm_bridge.judging.endpoint import LONGEST_PAUSE, Answers, Endpoint
from tests.llm_bridge.chat_server import Answer, prompt_of, serving
from theory.errors import InputError


def endpoint(server, **settings):
    return Endpoint(server.url, "judge", key="secret", **{"pause": 0.01, **settings})


def number(text):
    return int(text) if text.isdigit() else None


def echo(asked):
    return Answer(prompt_of(asked))


class Script:
    """One answer after the other, the last for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def __call__(self, asked):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_answers_come_in_order_and_equal_prompts_are_asked_once():
    prompts = [str(i) for i in range(20)] * 2
    with serving(echo) as server:
        found = endpoint(server).ask(prompts, number)
    assert found == Answers([*range(20)] * 2, {})
    assert sorted(prompt_of(asked) for asked in server.asked) == sorted(prompts[:20])


def test_what_is_sent():
    with serving(echo) as server:
        endpoint(server, tokens=7).ask(["1"], number)
        endpoint(server, tokens=None).ask(["1"], number)
        Endpoint(server.url + "/chat/completions", "judge").ask(["1"], number)
    first, second, third = server.asked
    assert first == {
        "path": "/v1/chat/completions", "model": "judge", "temperature": 0, "max_tokens": 7,
        "messages": [{"role": "user", "content": "1"}],
    }  # fmt: skip
    assert "max_tokens" not in second
    assert third["path"] == first["path"]
    assert server.headers[0]["Authorization"] == "Bearer secret"


def test_a_key_comes_from_the_environment_and_is_not_shown(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("JUDGE_KEY", "hidden\n")
    with serving(echo) as server:
        for settings in ({}, {"variable": "JUDGE_KEY"}, {"key": ""}):
            Endpoint(server.url, "judge", **settings).ask(["1"], number)
    sent = [headers.get("Authorization") for headers in server.headers]
    assert sent == [None, "Bearer hidden", None]
    assert "secret" not in repr(endpoint(server))


def test_replies_that_do_not_parse_are_counted_and_never_guessed():
    replies = {"a": "3", "b": "three", "c": "", "d": None}
    with serving(lambda asked: Answer(replies[prompt_of(asked)])) as server:
        found = endpoint(server).ask(["a", "b", "c", "d", "b"], number)
    assert found == Answers([3, None, None, None, None], {"unparsed": 4})
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    "fault",
    [
        Answer(status=500),
        Answer(status=503, headers={"Retry-After": "0"}),
        Answer(status=429, headers={"Retry-After": formatdate(0, usegmt=True)}),
        Answer(status=429, headers={"Retry-After": "soon"}),
        Answer(body=b"<html>hello</html>"),
        Answer(body=b'{"choices": []}'),
        Answer(body=b"[1]"),
        Answer(body=b'{"choices": [{"message": {"content": 3}}]}'),
        Answer(body=b"{}", headers={"Content-Length": 10, "Connection": "close"}),
        Answer(stalls=True),
    ],
)
def test_a_passing_fault_is_tried_again(fault):
    with serving(Script(fault, Answer("5"))) as server:
        found = endpoint(server, timeout=1.0 if fault.stalls else 20.0).ask(["x"], number)
    assert found == Answers([5], {})
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("fault", "reason", "requests"),
    [
        (Answer(status=502), "HTTP 502", 2),
        (Answer(status=400, body=b"too long"), "HTTP 400", 1),
        (Answer(status=429, headers={"Retry-After": LONGEST_PAUSE + 1}), "HTTP 429", 1),
        (Answer(body=b"garbage"), "no completion", 2),
        (Answer(stalls=True), "timeout", 2),
    ],
)
def test_a_lasting_fault_is_counted_and_raised_where_there_is_nothing_else(fault, reason, requests):
    def answer(asked):
        return Answer("1") if prompt_of(asked) == "fine" else fault

    with serving(answer) as server:
        asked = endpoint(server, retries=1, timeout=1.0 if fault.stalls else 20.0)
        assert asked.ask(["x", "fine", "x"], number) == Answers([None, 1, None], {reason: 2})
        assert len(server.asked) == requests + 1
        with pytest.raises(InputError, match=f"(?s)server that answers.*{reason}.*'judge'"):
            asked.ask(["x"], number)


class Clock:
    """Time that passes in sleep alone."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for name in ("monotonic", "sleep"):
        monkeypatch.setattr(f"llm_bridge.judging.endpoint.{name}", getattr(clock, name))
    return clock


def starts(clock, script, prompts, **settings):
    """When requests of one worker arrive."""
    times = []

    def answer(asked):
        times.append(clock.now)
        return script(asked)

    with serving(answer) as server:
        endpoint(server, workers=1, **settings).ask(prompts, number)
    return times


def test_pauses_double(clock):
    script = Script(*[Answer(status=500)] * 4, Answer("1"))
    assert starts(clock, script, ["x", "y"], pause=1.5) == [0, 1.5, 4.5, 10.5, 22.5, 22.5]


@pytest.mark.parametrize(("asked", "waited"), [("30", 30), ("1", 2), ("-5", 2), ("nan", 2)])
def test_a_pause_that_the_server_asks_for_is_kept(clock, asked, waited):
    busy = Answer(status=429, headers={"Retry-After": asked})
    assert starts(clock, Script(busy, Answer("1")), ["x", "y"], pause=2) == [0, waited, waited]


def test_requests_keep_their_distance(clock):
    found = starts(clock, Script(Answer("1")), ["a", "b", "c"], interval=2.5)
    assert found == [0, 2.5, 5]


@pytest.mark.parametrize(
    ("status", "argument", "hint"),
    [(401, "key", r"\$OPENAI_API_KEY"), (403, "key", "pass a key"), (404, "url", "/v1")],
)
def test_what_no_prompt_can_pass_is_an_error_with_advice(status, argument, hint):
    fault = Answer(status=status, body=b"no such thing")
    with serving(Script(fault)) as server, pytest.raises(InputError) as raised:
        endpoint(server, workers=1).ask([str(i) for i in range(50)], number)
    message = str(raised.value)
    assert f"`{argument}`" in message
    assert hint.replace("\\", "") in message
    assert f"HTTP {status}: no such thing" in message
    assert server.url in message
    assert "'judge'" in message
    assert "secret" not in message
    assert len(server.asked) < 50


def test_the_key_does_not_follow_a_redirection():
    with serving(echo) as other:
        away = Answer(status=307, headers={"Location": other.url + "/chat/completions"})
        with serving(Script(away)) as server, pytest.raises(InputError, match="redirects"):
            endpoint(server).ask(["1"], number)
    assert other.asked == []


def test_nobody_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(InputError, match="where a server listens"):
        Endpoint(url, "judge", retries=1, pause=0.01).ask(["1"], number)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_proxy_between_this_machine_and_itself(monkeypatch, host):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(echo) as server:
        url = server.url.replace("127.0.0.1", host)
        assert Endpoint(url, "judge").ask(["1"], number).values == [1]


def test_replies_are_kept_but_failures_are_not(tmp_path):
    script = Script(Answer("no ünit\n"), Answer(status=500), Answer("7"))
    with serving(script) as server:
        asked = endpoint(server, cache=tmp_path / "new", retries=0, workers=1)
        assert asked.ask(["a", "b", "c"], number) == Answers(
            [None, None, 7], {"unparsed": 1, "HTTP 500": 1},
        )  # fmt: skip
        again = asked.ask(["a", "b", "c"], len)
    assert again == Answers([8, 1, 1], {})
    assert len(server.asked) == 4
    assert asked.ask(["c", "a"], number).values == [7, None]
    assert not any("secret" in file.read_text() for file in (tmp_path / "new").iterdir())
    other = endpoint(server, cache=tmp_path / "new", retries=0, tokens=3)
    with pytest.raises(InputError, match="listens"):
        other.ask(["c"], number)


def test_nothing_is_asked_of_nobody():
    with serving(echo) as server:
        assert endpoint(server).ask([], number) == Answers([], {})
    assert server.asked == []


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"url": "localhost:8000/v1"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": "http:///v1"}, "url"),
        ({"tokens": 0}, "tokens"),
        ({"timeout": 0.0}, "timeout"),
        ({"retries": -1}, "retries"),
        ({"pause": float("nan")}, "pause"),
        ({"interval": -1.0}, "interval"),
        ({"workers": 0}, "workers"),
    ],
)
def test_bad_settings(settings, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        Endpoint(**{"url": "http://localhost/v1", "model": "judge", **settings})

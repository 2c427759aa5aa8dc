"""Servers, addresses and keys that nobody listed: no hang, no traceback, no key anywhere."""

import base64
import codecs
import html
import json
import os
import random
import signal
import subprocess
import sys
import threading
from functools import partial
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_bridge.judging.chat_reply import LARGEST
from llm_bridge.judging.credentials import quoted, repeats, tells
from llm_bridge.judging.endpoint import REQUESTS, Answers, Endpoint
from llm_bridge.judging.reply_cache import Kept, ReplyCache
from llm_bridge.refining.experts import read_grade
from tests.llm_bridge.chat_server import Answer, prompt_of, serving
from tests.llm_bridge.raw_server import RESET, answering
from theory.errors import InputError

KEY = "sk-Proj-4f9Zq81LmWx7Tt20bNvYe"
MANY = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def completion(text):
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


def response(body, status="200 OK", length=None, **headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def dripping(data, seconds=0.02):
    for letter in data:
        yield bytes([letter])
        yield seconds


def endless(head, part):
    yield head
    while True:
        yield part


def chunked(*parts, end=b"0\r\n\r\n"):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end


GOOD = completion("Fine.\nGRADE: 4")
ENCODED = {
    "plain": KEY, "upper": KEY.upper(), "lower": KEY.lower(), "part": KEY[5:20],
    "cut": "x" * 190 + KEY, "swapped": KEY.swapcase(), "reversed": KEY[::-1],
    "url": quote(KEY, safe=""), "all quoted": "".join(f"%{ord(c):02X}" for c in KEY),
    "twice quoted": "".join(f"%25{ord(c):02x}" for c in KEY),
    "html": "".join(f"&#{ord(c)};" for c in KEY),
    "html hex": "".join(f"&#x{ord(c):x};" for c in KEY),
    "json": "".join(f"\\u{ord(c):04x}" for c in KEY),
    "python": "".join(f"\\x{ord(c):02x}" for c in KEY),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "bearer in base64": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
    "url base64": base64.urlsafe_b64encode(f":{KEY}".encode()).decode(),
    "twice base64": base64.b64encode(base64.b64encode(KEY.encode())).decode(),
    "base32": base64.b32encode(KEY.encode()).decode(), "hex": KEY.encode().hex(),
    "spaced hex": KEY.encode().hex(" "), "rot13": codecs.encode(KEY, "rot13"),
    "spaced": " ".join(KEY), "dotted": ".".join(KEY), "lines": "\n".join(KEY),
    "python list": repr(list(KEY)), "base85": base64.b85encode(KEY.encode()).decode(),
}  # fmt: skip
SEED = random.Random(0)
BEHAVIOURS = {
    **{f"status {code}": [response(b"no", f"{code} X")] for code in
       (100, 101, 199, 201, 204, 206, 226, 299, 300, 302, 303, 304, 305, 307, 308, 400, 401, 402,
        403, 404, 405, 408, 409, 410, 413, 422, 425, 429, 451, 499, 500, 501, 502, 503, 504, 599,
        600, 999)},
    "no status": [b"HTTP/1.1\r\n\r\n"], "words": [b"HTTP/1.1 abc OK\r\n\r\n"],
    "huge status": [b"HTTP/1.1 99999 OK\r\n\r\n"], "http 0.9": [GOOD],
    "http 2": [b"PRI * HTTP/2.0\r\n\r\n"],
    "nothing": [], "reset": [RESET], "reset in head": [b"HTTP/1.1 200 OK\r\n", 0.01, RESET],
    "reset in body": [response(GOOD)[:-5], 0.01, RESET], "line break": [b"\r\n" * 20],
    "stalls": [60.0], "stalls in head": [b"HTTP/1.1 200", 60.0],
    "stalls in body": [response(GOOD)[:-5], 60.0],
    "drips": dripping(response(GOOD)), "drips a refusal": dripping(response(b"no", "400 Bad")),
    "drips the body": [response(b"", length=10**6), *dripping(b" " * 20)],
    "drips for ever": endless(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", 0.02),
    "endless": endless(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 2**20),
    "endless head": endless(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 2**16),
    "endless headers": endless(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 2**12),
    "endless chunks": endless(chunked(end=b""), b"100000\r\n" + b" " * 2**20 + b"\r\n"),
    "endless interim": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2**10),
    "400 MiB": endless(response(b"", length=400 * 2**20), b" " * 2**20),
    "wrong length": [response(GOOD, length=10**4)], "short length": [response(GOOD, length=9)],
    "negative length": [response(GOOD, length=-1)], "no number": [response(GOOD, length="many")],
    "long length": [response(GOOD, length="9" * 5000)],
    "two lengths": [response(GOOD, Content_length=7)],
    "chunks": [chunked(GOOD[:9], GOOD[9:])], "bad chunk": [chunked(GOOD, end=b"zz\r\n")],
    "no last chunk": [chunked(GOOD, end=b"")], "gzip": [response(GOOD, Content_Encoding="gzip")],
    "unknown coding": [response(GOOD, Content_Encoding="x, y, z")],
    "charset": [response(GOOD, Content_Type="text/html; charset=utf-99")],
    "cookie": [response(GOOD, Set_Cookie=f"a={KEY}")],
    "latin header": [response(GOOD, X="\xff\xfe")],
    "deep lists": [response(b"[" * 10**5)], "deep objects": [response(b'{"choices":' * 10**5)],
    "deep content": [response(b'{"choices":[{"message":{"content":' + b"[" * 99_999)],
    "great number": [response(b'{"choices":' + b"9" * 9999 + b"}")], "nan": [response(b"NaN")],
    "bom": [response(b"\xef\xbb\xbf" + GOOD)], "utf-16": [response(GOOD.decode().encode("utf-16"))],
    "utf-32": [response(GOOD.decode().encode("utf-32"))], "latin": [response(b"\xff" + GOOD)],
    "surrogate": [response(b'{"choices":[{"message":{"content":"\\ud800"}}]}')],
    "nul": [response(completion("\0\nGRADE: 4"))], "twice": [response(GOOD) * 2],
    **{f"content {value!r:.20}": [response(completion(value))] for value in
       (None, 1, True, [], {}, [{"type": "text", "text": "GRADE: 4"}], "", " ", "\r", "GRADE: 9")},
    **{f"retry after {value}": [response(b"", "503 X", Retry_After=value)] for value in
       ("nan", "-1", "1e400", "inf", "", "Mon, 01 Jan 0001 00:00:00 GMT", "0x10", "Tue, 99")},
    **{f"cut at {place}": [response(GOOD[:place])] for place in range(0, len(GOOD), 9)},
    **{f"{place} bits turned": [response(bytes(b ^ (SEED.random() < 0.02) for b in GOOD))]
       for place in range(10)},
    **{f"key, {how}, refused": [response(f"bad key {said}".encode(), "400 Bad")]
       for how, said in ENCODED.items()},
    "key in the status": [response(b"", f"500 {KEY}")],
    **{f"key, {how}, said": [response(completion(f"{said}\nGRADE: 4"))]
       for how, said in ENCODED.items() if how not in ("base32", "base85")},
    **{f"key in {coding}": [response(f"bad {KEY}".encode(coding), "401 No")]
       for coding in ("utf-16", "utf-16-be", "utf-32", "utf-7", "cp500")},
    "key as garbage": [response(f"<b>{KEY}</b>".encode())],
    "key in a redirection": [response(b"", "302 X", Location=f"http://h/?{KEY}")],
}  # fmt: skip


def told(url, tmp_path, capfd, prompts=("question",), **more):
    """All that a user may see of asking, from a thread that must come to an end."""
    found = []

    def ask():
        endpoint = Endpoint(url, "judge", key=KEY, cache=tmp_path, pause=0.0, **more)
        found.append(repr(endpoint))
        try:
            found.append(repr(endpoint.ask(list(prompts), read_grade)))
        except InputError as error:
            found.extend((str(error), repr(error), repr(error.__cause__)))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert len(found) >= 2
    kept = [file.read_text(encoding="utf-8") for file in tmp_path.iterdir()]
    return "\n".join([*found, *capfd.readouterr(), *kept])


def pieces_of(text, size=8):
    """Runs of the key's letters, of which none may be seen."""
    bare = "".join(c for c in KEY.lower() if c.isalnum())
    seen = "".join(c for c in text.lower() if c.isalnum())
    runs = {bare[i : i + size] for i in range(len(bare) - size + 1)}
    return [run for run in runs if run in seen or run in seen[::-1]]


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_no_behaviour_of_a_server_hangs_ends_in_a_traceback_or_shows_the_key(name, tmp_path, capfd):
    with answering(lambda _: BEHAVIOURS[name]) as server:
        seen = told(server.url, tmp_path, capfd, timeout=0.2, retries=0)
    assert pieces_of(seen) == []
    said = [text for how, text in ENCODED.items() if how != "cut"]
    assert not any(text[:20] in seen or text[8:28] in seen for text in said)


ENCODERS = {
    "plain": str, "upper": str.upper, "reversed": lambda s: s[::-1],
    "url": lambda s: quote(s, safe=""),
    "all quoted": lambda s: "".join(f"%{ord(c):02x}" for c in s),
    "html": lambda s: "".join(f"&#{ord(c)};" for c in s), "html names": html.escape,
    "json": lambda s: "".join(f"\\u{ord(c):04x}" for c in s), "dumps": json.dumps,
    "base64": lambda s: base64.b64encode(s.encode()).decode(), "hex": lambda s: s.encode().hex(),
    "url base64": lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    "rot13": lambda s: codecs.encode(s, "rot13"), "spaced": " ".join,
    "repr": lambda s: repr(list(s)),
    "utf-16": lambda s: s.encode("utf-16").decode("utf-8", "replace"),
}  # fmt: skip
KEYS = st.text("abcdefghkmnpqrstuvwxyzABCDEFGHKLMNPQRSTUVWXYZ23456789-_", min_size=16, max_size=80)


def test_a_reply_is_not_read_beyond_its_limit():
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    with answering(lambda _: endless(head, b" " * 2**20)) as server:
        asked = Endpoint(server.url, "judge", retries=0)
        with pytest.raises(InputError, match=f"more than {LARGEST} bytes"):
            asked.ask(["x"], read_grade)
    assert server.sent < 2 * LARGEST


@MANY
@given(
    key=KEYS, inner=st.sampled_from(list(ENCODERS)), outer=st.sampled_from(list(ENCODERS)),
    before=st.text(max_size=30), after=st.text(max_size=30),
)  # fmt: skip
def test_a_key_in_two_encodings_is_seen(key, inner, outer, before, after):
    if sum(c.isalnum() for c in key) < 12:
        key += "2a9Zk4Lm8Qx7"
    twice = ENCODERS[outer](ENCODERS[inner](key))
    assert twice not in quoted(f"{before} {twice} {after}", key)
    assert repeats(f"{before} {ENCODERS[inner](key)} {after}", key)
    assert tells(before + key + after, key)


@pytest.mark.parametrize(
    ("text", "key"),
    [("no such thing", "secret"), ("The response is empty.", "EMPTY"), ("a b c", ""),
     ("GRADE: 1", "1"),
     ("it is a secret that", "secret")],
)  # fmt: skip
def test_words_are_no_keys(text, key):
    assert not tells(text, key)


def test_what_says_nothing_of_the_key_is_quoted():
    said = "Incorrect API key, see https://platform.example.com/account/api-keys (code 401)"
    assert quoted(said, KEY) == said


BAD_KEYS = st.text(min_size=1, max_size=60).filter(
    lambda key: not (key.strip().isascii() and key.strip().isprintable())
)


@MANY
@given(key=BAD_KEYS, inside=st.booleans())
def test_keys_that_cannot_be_sent_are_refused_by_name(monkeypatch, key, inside):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    key = f"4f9Zq81L{key}mWx7Tt20"
    if "\0" in key or any(0xD800 <= ord(letter) <= 0xDFFF for letter in key):
        inside = False
    given_key = None if inside else key
    if inside:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(InputError, match="`key` must be of printable ASCII letters") as raised:
        Endpoint("http://localhost/v1", "judge", key=given_key)
    assert "4f9Zq81L" not in str(raised.value)
    assert "mWx7Tt20" not in str(raised.value)
    assert ("$OPENAI_API_KEY" in str(raised.value)) == inside


SECRET = "hunter2secret"
URLS = [
    "http://[::1/v1", "http://::1/v1", "http://[zz]/v1", "http://h:99999/v1", "http://h:port/v1",
    "http://h:-1/v1", "http:///v1", "http://", "http:", "", " ", "localhost:8000/v1", "//h/v1",
    "ftp://h/v1", "file:///etc/passwd", "http://h /v1", " http://h/v1", "http://h/v1\n", "http://h\n/v1",
    "http://h/v 1", "http://h\\v1", "http://h/v1#", "http://h/\x00", "http://\u202eh/v1", "http://[]/v1",
    "javascript:alert(1)", "http://./..//@", "http://*/v1 ", "unix:/run/judge.sock",
    *(form.format(SECRET) for form in (
        "http://user:{}@h/v1", "http://{}@h/v1", "https://{}:@h/v1", "HTTP://user:{}@h/v1",
        "http://h/v1?api_key={}", "http://h?{}", "http://h/v1?a=b&key={}", "http://h/v1#{}",
        "http://h/v1;key={}", "http://h/v1/&key={}", "http://h/v1/key={}", "http://h/%3Fkey%3D{}",
        "http://user:pa?{}@h/v1", "http://user:pa#{}@h/v1", "http://user:pa/{}@h/v1",
        "http:user:{}@h/v1",
        "http://user%3A{}%40h/v1", "http://a@b:{}@h/v1", "user:{}@h/v1", "http://[::1?key={}",
        "ftp://user:{}@h/v1", "http://user:{}@[::1/v1", "http://h:port?key={}", "http://u:{} @h/v1",
        "http://h/v1?\n{}", "http:\\\\u:{}@h", "https://h/?x={}#@", "http://u:{}%2540h/v1",
    )),
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_addresses_that_are_none_or_hold_a_secret_are_refused_without_showing_it(url):
    with pytest.raises(InputError, match="`url`") as raised:
        Endpoint(url, "judge")
    shown = f"{raised.value!s} {raised.value!r} {raised.value.__cause__!r}"
    assert SECRET not in shown
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@MANY
@given(
    before=st.sampled_from(["http://", "https://", "http:", "", "HTTP://", "ftp://"]),
    host=st.text(max_size=8), mark=st.sampled_from("?#&=;@"), after=st.text(max_size=8),
)  # fmt: skip
def test_addresses_with_a_secret_anywhere(before, host, mark, after):
    for url in (f"{before}{host}{mark}{SECRET}{after}", f"{before}{SECRET}@{host}/v1{after}"):
        with pytest.raises(InputError, match="`url`") as raised:
            Endpoint(url, "judge")
        assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["http://localhost:8000/v1", "https://api.example.com/openai/v1/", "http://[::1]:80/v1", "http://h",
     "HTTPS://Host/v1", "http://10.0.0.1/a-b/c_d/v1.1", "http://h/v1/chat/completions",
     "http://bücher.example/v1"],
)  # fmt: skip
def test_addresses_that_are_some(url):
    assert Endpoint(url, "judge").address.endswith("/chat/completions")


def turned(place, data):
    changed = bytearray(data)
    changed[place % len(data)] ^= 1
    return bytes(changed)


DAMAGE = {
    "emptied": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2], "a byte": lambda data: b"{",
    "other grade": lambda data: data.replace(b"GRADE: 4", b"GRADE: 5"),
    "list": lambda data: b"[]",
    "not utf-8": lambda data: b"\xff\xfe" + data, "number": lambda data: b"4",
    "null": lambda data: b"null",
    "deep": lambda data: b"[" * 10**5, "more requests": lambda data: data.replace(b": 1,", b": 3,"),
    "text": lambda data: b"GRADE: 4\n",
    "reply a number": lambda data: data.replace(b'"Fine', b'4, "x": "'),
    "no reply": lambda data: data.replace(b'"reply"', b'"answer"'), "nan": lambda data: b"NaN",
    "twice": lambda data: data * 2, "nul": lambda data: b"\0" * len(data),
    **{f"byte {place}": partial(turned, place) for place in range(4, 300, 6)},
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_asked_for_again_with_a_notice(name, tmp_path, capsys):
    with serving(lambda asked: Answer("Fine.\nGRADE: 4")) as server:
        asked = Endpoint(server.url, "judge", cache=tmp_path)
        asked.ask(["x"], read_grade)
        (file,) = tmp_path.iterdir()
        whole = file.read_bytes()
        file.write_bytes(DAMAGE[name](whole))
        changed = file.read_bytes() != whole
        found = Endpoint(server.url, "judge", cache=tmp_path).ask(["x"], read_grade)
        assert found == Answers([4], {})
        assert len(server.asked) == 1 + changed
    assert (str(file) in capsys.readouterr().err) == changed
    assert file.read_bytes() == whole


def test_a_reply_of_another_request_is_no_answer(tmp_path):
    cache = ReplyCache(tmp_path)
    cache.write({"prompt": "a"}, Kept("yes", 1))
    (file,) = tmp_path.iterdir()
    file.rename(cache.path_of({"prompt": "b"}))
    assert cache.read({"prompt": "b"}) is None
    assert cache.read({"prompt": "a"}) is None


@MANY
@given(reply=st.text())
def test_a_kept_reply_is_what_came(tmp_path, reply):
    cache = ReplyCache(tmp_path)
    cache.write({"prompt": "x"}, Kept(reply, 2))
    assert cache.read({"prompt": "x"}) == Kept(reply, 2)


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n", "\u2028", "\x0b", "\x85", " \r \n", ""])
def test_a_kept_reply_is_graded_as_at_first(end, tmp_path):
    with serving(lambda asked: Answer(f"Fine.{end}GRADE: 4{end}")) as server:
        found = [
            Endpoint(server.url, "judge", cache=tmp_path, tokens=tokens).ask(["x"], read_grade)
            for tokens in (1, 1, 2)
        ]
    assert found[0] == found[1] == found[2]


def test_what_could_not_be_read_is_asked_once_a_run_and_three_times_in_all(tmp_path, capsys):
    replies = {"good": "GRADE: 4", "bad": "four"}
    with serving(lambda asked: Answer(replies[prompt_of(asked)])) as server:
        for run in range(1, REQUESTS + 3):
            endpoint = Endpoint(server.url, "judge", cache=tmp_path)
            for _ in range(3):
                assert endpoint.ask(["good", "bad"], read_grade) == Answers(
                    [4, None], {"unparsed": 1}
                )
            assert len(server.asked) == 1 + min(run, REQUESTS)
            assert ("1 kept replies" in capsys.readouterr().err) == (1 < run <= REQUESTS)


def test_a_server_that_has_recovered_is_heard(tmp_path):
    replies = ["", "GRADE: 4"]
    with serving(lambda asked: Answer(replies.pop(0))) as server:
        found = [
            Endpoint(server.url, "judge", cache=tmp_path).ask(["x"], read_grade).values[0]
            for _ in range(3)
        ]
    assert found == [None, 4, 4]


def test_a_run_on_kept_replies_needs_no_server(tmp_path):
    with serving(lambda asked: Answer("four")) as server:
        Endpoint(server.url, "judge", cache=tmp_path).ask(["x"], read_grade)
    again = Endpoint(server.url, "judge", cache=tmp_path)
    assert again.ask(["x"], read_grade) == Answers([None], {"unparsed": 1})


@pytest.fixture
def proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return lambda address: monkeypatch.setenv("http_proxy", address)


def test_a_proxy_of_the_environment_is_used_and_its_password_never_shown(proxies):
    asked = Endpoint("http://judge.example/v1", "judge", retries=0, pause=0.0)
    with answering(lambda _: [response(GOOD)]) as server:
        proxies(server.url.removesuffix("/v1").replace("//", f"//user:{SECRET}@"))
        assert asked.ask(["x"], read_grade).values == [4]
        assert server.requests[0].startswith(b"POST http://judge.example/v1/chat/completions")
    with pytest.raises(InputError) as raised:
        asked.ask(["x"], read_grade)
    assert SECRET not in f"{raised.value!s} {raised.value!r}"


@pytest.mark.parametrize(
    "form", ["socks5://u:{}@h:1", "http://[::{}", "ftp://{}@h", "{}://", "http://h:{}"]
)
def test_a_proxy_that_cannot_be_used_is_refused(form, proxies):
    proxies(form.format(SECRET))
    with pytest.raises(InputError) as raised:
        Endpoint("http://judge.example/v1", "judge", retries=0).ask(["x"], read_grade)
    assert SECRET not in f"{raised.value!s} {raised.value!r}"


WAITING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from llm_bridge.judging.endpoint import Endpoint
Endpoint(sys.argv[1], "judge").ask([str(i) for i in range(50)], str)
"""


def without_end():
    return dripping(response(b" " * 10**5), 0.3)


def test_an_interrupt_ends_at_once_what_waits_for_a_server():
    with (
        answering(lambda _: without_end()) as server,
        subprocess.Popen(
            [sys.executable, "-c", WAITING, server.url], stderr=subprocess.PIPE, env=os.environ
        ) as process,
    ):
        try:
            assert server.arrived.wait(120)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert b"KeyboardInterrupt" in said
    assert process.returncode in (1, -signal.SIGINT)

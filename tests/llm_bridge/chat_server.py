"""A chat completion server on this machine, for tests."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answer:
    """What the server does with one request: a status, a body and headers; or it stalls."""

    def __init__(self, text="", *, status=200, body=None, headers=None, stalls=False):
        completion = {"choices": [{"message": {"role": "assistant", "content": text}}]}
        self.body = json.dumps(completion).encode() if body is None else body
        self.status, self.headers, self.stalls = status, headers or {}, stalls


class Server(ThreadingHTTPServer):
    """`answer` maps a request's JSON to an `Answer`; `asked` and `headers` keep what came in."""

    daemon_threads = True

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.asked, self.headers = answer, [], []
        self.closing, self.lock = threading.Event(), threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append({"path": self.path, **asked})
            self.server.headers.append(dict(self.headers))
            answer = self.server.answer(asked)
        if answer.stalls:
            self.server.closing.wait(20)
            return
        self.send_response(answer.status)
        for name, value in {"Content-Length": len(answer.body), **answer.headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(answer.body)

    def do_GET(self):
        self.server.asked.append({"path": self.path})
        self.send_error(405)

    def log_message(self, *_):
        pass


@contextmanager
def serving(answer):
    """A server that answers so, while the block runs."""
    server = Server(answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def prompt_of(asked):
    """The one message of a request."""
    (message,) = asked["messages"]
    return message["content"]

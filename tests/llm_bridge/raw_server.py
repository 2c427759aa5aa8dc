"""A server on this machine that answers each request with bytes of one's own, for tests."""

import socket
import struct
import threading
from contextlib import contextmanager, suppress

RESET = object()
"""In place of bytes: break the connection off."""


class Raw:
    """`pieces` gives, for a request, bytes to send and numbers of seconds to wait, in turn."""

    def __init__(self, pieces):
        self.pieces, self.closing, self.requests, self.sent = pieces, threading.Event(), [], 0
        self.arrived = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/v1"

    def serve(self):
        while not self.closing.is_set():
            with suppress(OSError):
                connection, _ = self.socket.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with suppress(OSError), connection:
            request = _read(connection)
            if not request:
                return
            self.requests.append(request)
            self.arrived.set()
            for piece in self.pieces(request):
                if self.closing.is_set():
                    return
                if piece is RESET:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return
                if isinstance(piece, bytes):
                    connection.sendall(piece)
                    self.sent += len(piece)
                else:
                    self.closing.wait(piece)


def _read(connection):
    found = b""
    while b"\r\n\r\n" not in found and (part := connection.recv(65536)):
        found += part
    head, _, body = found.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            while len(body) < int(value) and (part := connection.recv(65536)):
                body += part
    return head + b"\r\n\r\n" + body if found else b""


@contextmanager
def answering(pieces):
    """A `Raw` server, while the block runs."""
    server = Raw(pieces)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        with suppress(OSError):
            socket.create_connection(server.socket.getsockname(), timeout=1).close()
        thread.join(10)
        server.socket.close()

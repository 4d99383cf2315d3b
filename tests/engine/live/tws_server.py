"""As much of TWS as a client needs that watches quotes: handshake, accounts, ticks.  For tests alone.

The messages are those of the API at server version 176, before it had Protobuf: fields that end with a zero
byte, behind the length of all of them.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

VERSION = "176"
_MANAGED_ACCOUNTS, _NEXT_VALID_ID, _TICK_BY_TICK = "15", "9", "99"
_START_API, _REQUEST_TICKS = "71", "97"
_BID_ASK = "3"


class TwsServer:
    """Takes one client after the other, and remembers what each asked for; a context manager."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._client: socket.socket | None = None
        self.requests: list[list[str]] = []
        self.subscribed = threading.Event()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> TwsServer:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._listener.close()
        self.hang_up()
        self._thread.join(10)

    def hang_up(self) -> None:
        """End the connection."""
        self.subscribed.clear()
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)
            self._client.close()

    def quote(self, second: int, bid: float, ask: float) -> None:
        """Send a quote to who has asked for some."""
        request = next(one for one in reversed(self.requests) if one[0] == _REQUEST_TICKS)
        self._send(_TICK_BY_TICK, request[1], _BID_ASK, second, bid, ask, 1_000_000, 2_000_000, 0)

    def _send(self, *fields: object) -> None:
        body = b"".join(str(field).encode() + b"\0" for field in fields)
        assert self._client is not None
        self._client.sendall(struct.pack(">I", len(body)) + body)

    def _serve(self) -> None:
        while True:
            try:
                self._client, _ = self._listener.accept()
                self._talk(self._client)
            except OSError:
                if self._listener.fileno() < 0:
                    return

    def _talk(self, client: socket.socket) -> None:
        assert _exactly(client, 4) == b"API\0"
        _exactly(client, *struct.unpack(">I", _exactly(client, 4)))
        self._send(VERSION, "20240507 10:00:00 UTC")
        while True:
            fields = _exactly(client, *struct.unpack(">I", _exactly(client, 4))).decode().split("\0")[:-1]
            self.requests.append(fields)
            if fields[0] == _START_API:
                self._send(_MANAGED_ACCOUNTS, 1, "DU000000")
                self._send(_NEXT_VALID_ID, 1, 1)
            if fields[0] == _REQUEST_TICKS:
                self.subscribed.set()


def _exactly(client: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = client.recv(count - len(found))
        if not piece:
            raise OSError("the client has gone")
        found += piece
    return found

"""One request and its answer over ASGI: bounded bodies, JSON in and out, event streams, clients that leave.

Owns these mechanics.  Knows no route and no engine.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from aiopt.errors import did_you_mean
from aiopt.serving.gateway.failures import HttpError, invalid
from aiopt.serving.gateway.settings import GatewaySettings, Realm

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
T = TypeVar("T")

_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `([^`]*)`(?: - at `([^`]+)`)?")


class ClientGone(Exception):
    """The client closed the connection.  Nobody is left to tell."""


class Exchange:
    """A request, and what its answer will carry.

    Parameters
    ----------
    scope, receive, send
        As ASGI gives them.
    settings : GatewaySettings
        Limits.

    Attributes
    ----------
    request_id : str
        Names the request in the log.
    headers : dict of str to str
        Headers of the answer, besides type and length.
    status : int
        Status that was sent; 0 before.
    realm : {"api", "admin"} or None
        What the caller's token opens.
    reason : str
        Code of the error that was answered, for the metrics.
    """

    def __init__(
        self,
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
        *,
        settings: GatewaySettings,
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.settings = settings
        self.request_id = ""
        self.headers: dict[str, str] = {}
        self.status = 0
        self.realm: Realm | None = None
        self.reason = ""
        self._send = send

    def header(self, name: bytes) -> str:
        """Return a request header (lower-case name), or ""."""
        for key, value in self.scope["headers"]:
            if key == name:
                return str(value.decode("latin-1"))
        return ""

    def while_connected(self) -> WhileConnected:
        """Return a block that ends with `ClientGone` when the client leaves.  The body must be read."""
        return WhileConnected(self.receive)

    async def body(self, *content_types: str) -> tuple[str, bytes]:
        """Read the body, bounded in size and time.

        Parameters
        ----------
        *content_types : str
            Accepted types, without parameters.

        Returns
        -------
        str
            The full ``Content-Type``.
        bytes
            The body.

        Raises
        ------
        HttpError
            415, 413, 408 or 400.
        """
        full = self.header(b"content-type")
        if full.partition(";")[0].strip().lower() not in content_types:
            raise HttpError(
                415,
                f"The Content-Type must be {' or '.join(content_types)}, but is {full or 'absent'!r:.80}. "
                "Set the header.",
                code="unsupported_content_type",
            )
        encoding = self.header(b"content-encoding")
        if encoding.lower() not in ("", "identity"):
            raise HttpError(
                415,
                f"The body must not be compressed, but Content-Encoding is {encoding!r:.40}. Send it as it "
                "is.",
                code="unsupported_content_encoding",
            )
        limit = self.settings.max_body_bytes
        declared = self.header(b"content-length")
        if declared and (not declared.isascii() or not declared.isdigit()):
            raise invalid(f"Content-Length must be a whole number, but is {declared!r:.40}. Correct it.")
        if declared and int(declared) > limit:
            raise self._too_large(int(declared))
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.settings.body_timeout_s):
                more = True
                while more:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    part = message.get("body", b"")
                    size += len(part)
                    if size > limit:
                        raise self._too_large(size)
                    parts.append(part)
                    more = message.get("more_body", False)
        except TimeoutError as failure:
            raise HttpError(
                408,
                f"The body must arrive within {self.settings.body_timeout_s:g} s, but did not. Send it "
                "again.",
                code="body_timeout",
            ) from failure
        return full, parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self, size: int) -> HttpError:
        # The rest of the body is not read, so the connection cannot be used again.
        return HttpError(
            413,
            f"A body may have {self.settings.max_body_bytes:,} bytes, but has {size:,}"
            " or more. Send less in one request.",
            code="body_too_large",
            headers={"Connection": "close"},
        )

    async def json(self, type_: type[T]) -> T:
        """Read the body as JSON of a type.

        Raises
        ------
        HttpError
            As `body`, or 400.
        """
        _, raw = await self.body("application/json")
        return decode_json(raw, type_, max_depth=self.settings.max_json_depth)

    async def reply(self, status: int, document: object, *, headers: Mapping[str, str] | None = None) -> None:
        """Answer with JSON."""
        await self.reply_bytes(status, msgspec.json.encode(document), "application/json", headers=headers)

    async def reply_bytes(
        self, status: int, body: bytes, content_type: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with a whole body."""
        await self.start(status, content_type, {"Content-Length": str(len(body)), **(headers or {})})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def start(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        """Send status and headers."""
        self.status = status
        everything = {"Content-Type": content_type, **self.headers, **headers}
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in everything.items()],
            }
        )

    async def forward(self, message: Message) -> None:
        """Pass on what an application that knows no exchange sends, with our headers added."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            ours = [(k.lower().encode(), v.encode("latin-1")) for k, v in self.headers.items()]
            message = {**message, "headers": [*message.get("headers", ()), *ours]}
        await self._send(message)

    async def send_part(self, body: bytes, *, more: bool = True) -> None:
        """Send a part of a streamed body."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def fail(self, error: HttpError) -> None:
        """Answer with an error, or end a started stream with one."""
        self.reason = error.code
        if not self.status:
            headers = dict(error.headers)
            await self.reply_bytes(error.status, error.body(), "application/json", headers=headers)
            return
        await self.send_part(b"data: " + error.body() + b"\n\ndata: [DONE]\n\n", more=False)


class WhileConnected:
    """Cancel the block when the client closes the connection, as `asyncio.timeout` does when time is up."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.cancel()
        if self._gone and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise ClientGone from error


def decode_json(raw: bytes, type_: type[T], *, max_depth: int) -> T:
    """Decode JSON of a type, with errors that name the field.

    Raises
    ------
    HttpError
        400: not JSON, nested too deep, or not of the type.
    """
    try:
        _check_depth(raw, max_depth)
        return msgspec.json.decode(raw, type=type_)
    except msgspec.ValidationError as failure:
        raise _not_of_type(str(failure), type_) from failure
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise invalid(
            f"The body must be JSON (RFC 8259), but: {failure}.{_not_a_number(raw)} Correct it.",
            code="invalid_json",
        ) from None


# Possessive: a text of megabytes is passed in one step, not character by character.
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


def _check_depth(raw: bytes, limit: int) -> None:
    # Cheap for what is common: so few brackets that the depth cannot exceed the limit.
    if raw.count(b"[") + raw.count(b"{") <= limit:
        return
    depth = 0
    for match in _STRUCTURE.finditer(raw):
        first = raw[match.start()]
        if first in b"[{":
            depth += 1
            if depth > limit:
                raise invalid(
                    f"A body may nest {limit} levels deep, but this one goes deeper. Flatten it.",
                    code="invalid_json",
                )
        elif first in b"]}":
            depth -= 1


def _not_a_number(raw: bytes) -> str:
    found = re.search(rb"[:,\[]\s*-?(NaN|Infinity)\b", raw)
    return "" if found is None else f" JSON has no {found[1].decode()}: leave out what has no value."


def _not_of_type(message: str, type_: Any) -> HttpError:
    match = _UNKNOWN_FIELD.search(message)
    if match is not None:
        place = match[2] or "$"
        known = [field.encode_name for field in msgspec.structs.fields(type_)] if place == "$" else []
        hint = did_you_mean(match[1], known) if known else " See /openapi.json."
        name = match[1] if len(match[1]) <= 80 else match[1][:80] + "…"
        return invalid(
            f"{place}: a request may hold only fields of its schema, but holds {name!r}.{hint}",
            param=match[1][:80],
        )
    text, _, place = message.partition(" - at `")
    where = place.rstrip("`") or "$"
    return invalid(
        f"{where}: the request must follow its schema, but: {text}. See /openapi.json.",
        param=where.lstrip("$.") or None,
    )

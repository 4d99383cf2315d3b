"""Request ids: which are kept, and the middleware that lets Ray Serve see no others.

Owns the form of an id.  Serve reads some headers itself before an application is asked: it takes them for
UTF-8 and answers 500 where they are not, and it puts the id it was given into the answer, whatever it
holds.  `middlewares` stands in front of that, in the proxy and in replicas that are reached without one.
Knows neither routes nor Ray.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

CALLBACK_VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
"""Ray Serve calls what this names for middleware; to be set where the node starts."""
CALLBACK = "aiopt.serving.request_ids:middlewares"

HEADER = b"x-request-id"

Asgi = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_READ_BY_SERVE = frozenset(
    {
        "x_session_id",
        "serve_multiplexed_model_id",
        "x_request_timeout_seconds",
        "x_request_disconnect_disabled",
    }
)


def harmless_id(given: str) -> str:
    """Return the id given if it is one (letters, digits, ``._-``, at most 128), else a new one."""
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


class HarmlessHeaders:
    """ASGI application that replaces a request id which is none and leaves out what Serve cannot read.

    Parameters
    ----------
    app : ASGI application
        Serve.
    """

    def __init__(self, app: Asgi) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Pass a request on with one id."""
        if scope["type"] == "http":
            found = [value for name, value in scope["headers"] if name == HEADER]
            given = found[0].decode("latin-1") if len(found) == 1 else ""
            kept = [(n, v) for n, v in scope["headers"] if n != HEADER and _readable(n, v)]
            scope = {**scope, "headers": [*kept, (HEADER, harmless_id(given).encode())]}
        await self._app(scope, receive, send)


def _readable(name: bytes, value: bytes) -> bool:
    if name.decode("latin-1").lower().replace("-", "_") not in _READ_BY_SERVE:
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def middlewares() -> list[Any]:
    """Return what Serve puts in front of itself."""
    # The command line takes the names above from here, and needs no web framework.
    from starlette.middleware import Middleware

    return [Middleware(HarmlessHeaders)]

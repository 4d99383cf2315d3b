"""What every request passes: its id, its token, the counters, and errors turned into answers.

Owns the order of these.  It is an ASGI application round the routes, so nothing that happens inside can leave
without a status and a request id, and no traceback reaches a client.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from aiopt.errors import AioptError
from cluster.serving.gateway.admission import Overloaded
from cluster.serving.gateway.exchange import ClientGone, Exchange, Receive, Send
from cluster.serving.gateway.failures import REALM, HttpError, busy, translate
from cluster.serving.gateway.metrics import GatewayMetrics
from cluster.serving.gateway.settings import GatewaySettings, Realm, Tokens

Handler = Callable[[Exchange], Awaitable[None]]
Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/healthz"})
"""Paths that need no token."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SCOPE_KEY = "aiopt.exchange"

log = logging.getLogger("aiopt.gateway")


class Gate:
    """Middleware round the routes.  Every path but the open ones needs a token, also one that does not exist.

    Parameters
    ----------
    app : ASGI application
        The routes.
    settings : GatewaySettings
        Limits.
    tokens : Tokens
        Who may ask.
    metrics : GatewayMetrics
        Counters.
    labels : callable
        Gives the route's template for a path, for the metrics.
    """

    def __init__(
        self,
        app: Asgi,
        *,
        settings: GatewaySettings,
        tokens: Tokens,
        metrics: GatewayMetrics,
        labels: Callable[[str], str],
    ) -> None:
        self._app = app
        self._settings = settings
        self._tokens = tokens
        self._metrics = metrics
        self._labels = labels

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, settings=self._settings, request_id="")
        given = exchange.header(b"x-request-id")
        exchange.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        exchange.headers["X-Request-Id"] = exchange.request_id
        scope[_SCOPE_KEY] = exchange
        started = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            await self._serve(exchange, scope)
        finally:
            self._metrics.in_flight.dec()
            self._count(exchange, scope, time.perf_counter() - started)

    async def _serve(self, exchange: Exchange, scope: MutableMapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._settings.request_timeout_s) as limit:
                self._authenticate(exchange, scope["path"])
                await self._app(scope, exchange.receive, exchange.forward)
        except ClientGone:
            self._metrics.disconnects.inc()
            exchange.reason = "client_gone"
        except TimeoutError as failure:
            if limit.expired():
                await exchange.fail(
                    HttpError(
                        504,
                        f"A request may take {self._settings.request_timeout_s:g} s, but this one took "
                        "longer. "
                        "Ask for fewer tokens, or in smaller pieces.",
                        code="timeout",
                    )
                )
            else:
                await self._fail_unexpectedly(exchange, failure)
        except Overloaded as failure:
            wait = self._settings.retry_after_s
            await exchange.fail(busy(str(failure), code=failure.reason, retry_after_s=wait))
        except AioptError as failure:
            await exchange.fail(translate(failure))
        except Exception as failure:  # noqa: BLE001 - the last place where an answer can still be given
            await self._fail_unexpectedly(exchange, failure)

    async def _fail_unexpectedly(self, exchange: Exchange, failure: BaseException) -> None:
        log.error("request %s %s failed", exchange.request_id, exchange.scope["path"], exc_info=failure)
        await exchange.fail(
            HttpError(
                500,
                f"The request failed inside the server. Report the request id {exchange.request_id} to its "
                "operator.",
                code="internal_error",
            )
        )

    def _authenticate(self, exchange: Exchange, path: str) -> None:
        if path in OPEN_PATHS:
            return
        scheme, _, token = exchange.header(b"authorization").partition(" ")
        token = token.strip()
        exchange.realm = self._tokens.realm(token) if scheme.lower() == "bearer" and token else None
        if exchange.realm is None:
            given = (
                "absent" if not scheme else "not a bearer token" if scheme.lower() != "bearer" else "unknown"
            )
            error = "" if not scheme else ', error="invalid_token"'
            raise HttpError(
                401,
                f"A request needs the header Authorization: Bearer TOKEN, but the token is {given}. "
                "`aiopt serve status` tells the endpoint's operator where the tokens lie.",
                code="unauthorized",
                headers={"WWW-Authenticate": REALM + error},
            )

    def _count(self, exchange: Exchange, scope: MutableMapping[str, Any], seconds: float) -> None:
        route = self._labels(scope["path"])
        method = scope["method"] if scope["method"] in {"GET", "POST", "HEAD", "OPTIONS"} else "other"
        # 499, as nginx counts it: the client left before there was a status.
        status = exchange.status or 499
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if exchange.reason and exchange.reason != "client_gone":
            self._metrics.rejected.labels(exchange.reason).inc()
        log.debug("%s %s %s %.1f ms %s", scope["method"], route, status, seconds * 1e3, exchange.request_id)


class Endpoint:
    """An ASGI application that answers with a handler.

    Parameters
    ----------
    handler : callable
        Answers an `Exchange`.
    realms : tuple of {"api", "admin"}
        Tokens that open it; empty: none is needed.
    """

    def __init__(self, handler: Handler, *, realms: tuple[Realm, ...]) -> None:
        self._handler = handler
        self._realms = realms

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request that passed the gate."""
        exchange: Exchange = scope[_SCOPE_KEY]
        exchange.scope = scope
        if self._realms and exchange.realm not in self._realms:
            wanted = self._realms[0]
            raise HttpError(
                403,
                f"{scope['path']:.80} needs an {wanted} token, but the token given is an {exchange.realm} "
                "token. "
                "Use the other one.",
                code="forbidden",
                headers={"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{wanted}"'},
            )
        await self._handler(exchange)

"""What every request passes: its id, its token, the counters, and errors turned into answers.

Owns the order of these.  It is an ASGI application round the routes, so nothing that happens inside can leave
without a status and a request id, and no traceback reaches a client.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from aiopt.errors import AioptError
from aiopt.serving.backend import EngineFailureError
from aiopt.serving.gateway.admission import Overloaded
from aiopt.serving.gateway.exchange import ClientGone, Exchange, Receive, Send
from aiopt.serving.gateway.failures import REALM, HttpError, busy, translate, unexpected
from aiopt.serving.gateway.metrics import GatewayMetrics
from aiopt.serving.gateway.settings import GatewaySettings, Realm, Tokens
from aiopt.serving.request_ids import harmless_id

Handler = Callable[[Exchange], Awaitable[None]]
Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

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
    open_paths : frozenset of str
        Paths that need no token.
    names_requests : bool
        Whether answers carry `X-Request-Id` from here; False where the server around adds it.
    """

    def __init__(
        self,
        app: Asgi,
        *,
        settings: GatewaySettings,
        tokens: Tokens,
        metrics: GatewayMetrics,
        labels: Callable[[str], str],
        open_paths: frozenset[str],
        names_requests: bool = True,
    ) -> None:
        self._app = app
        self._settings = settings
        self._tokens = tokens
        self._metrics = metrics
        self._labels = labels
        self._open_paths = open_paths
        self._names_requests = names_requests

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, settings=self._settings)
        exchange.request_id = harmless_id(exchange.header(b"x-request-id"))
        if self._names_requests:
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
            self._left(exchange)
        except asyncio.CancelledError:
            # Serve ends the task of a client that has gone, mostly before it tells the application.
            self._left(exchange)
            raise
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
        except EngineFailureError as failure:
            await self._fail_unexpectedly(exchange, failure)
        except AioptError as failure:
            await exchange.fail(translate(failure))
        except Exception as failure:  # noqa: BLE001 - the last place where an answer can still be given
            await self._fail_unexpectedly(exchange, failure)

    def _left(self, exchange: Exchange) -> None:
        self._metrics.disconnects.inc()
        exchange.reason = "client_gone"

    async def _fail_unexpectedly(self, exchange: Exchange, failure: BaseException) -> None:
        log.error("request %s %s failed", exchange.request_id, exchange.scope["path"], exc_info=failure)
        await exchange.fail(unexpected(exchange.request_id))

    def _authenticate(self, exchange: Exchange, path: str) -> None:
        if path in self._open_paths:
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

"""The gateway: the route table put together over a backend.  Every answer is made elsewhere."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aiopt.analyst import AnalystSettings
from aiopt.serving.backend import Backend
from aiopt.serving.gateway.admin import Administration
from aiopt.serving.gateway.admission import Admission
from aiopt.serving.gateway.analysis import Analyses
from aiopt.serving.gateway.chat import Chats
from aiopt.serving.gateway.exchange import Exchange
from aiopt.serving.gateway.failures import HttpError
from aiopt.serving.gateway.gate import Endpoint, Gate
from aiopt.serving.gateway.images import ImageDecoder
from aiopt.serving.gateway.metrics import GatewayMetrics
from aiopt.serving.gateway.observing import Observing
from aiopt.serving.gateway.openapi import openapi_document
from aiopt.serving.gateway.routes import ROUTES, Handlers, open_paths, route_label
from aiopt.serving.gateway.settings import GatewaySettings, Tokens
from aiopt.serving.pictures import warm_decoders


def build_gateway(
    backend: Backend,
    settings: GatewaySettings,
    tokens: Tokens,
    *,
    analyst: AnalystSettings | None = None,
    names_requests: bool = True,
) -> FastAPI:
    """Build the HTTP application, with everything loaded and compiled that a first request would wait for.

    Call it in the process that serves: it holds counters and queues, which no other process shares.

    Parameters
    ----------
    backend : Backend
        The engines.
    settings : GatewaySettings
        Limits.
    tokens : Tokens
        Who may ask.
    analyst : AnalystSettings, optional
        Prompts, charts and reply lengths of `/analyze`; `endpoint` and `models` in it are not used.
    names_requests : bool
        Whether answers carry `X-Request-Id` from here; False where the server around adds it.

    Returns
    -------
    FastAPI
        An ASGI application; also what ``serve.ingress`` takes, by a function that builds it.
    """
    warm_decoders()
    metrics = GatewayMetrics()
    admission = Admission(
        slots=settings.max_concurrency, queue=settings.max_queue, timeout_s=settings.queue_timeout_s
    )
    metrics.slots.set_function(lambda: admission.in_use)
    metrics.waiting.set_function(lambda: admission.waiting)
    images = ImageDecoder(settings)
    chats = Chats(backend, settings, admission, metrics, images)
    document = openapi_document(settings)
    handlers = Handlers(
        observing=Observing(backend, metrics, document),
        chats=chats,
        analyses=Analyses(backend, chats, settings, analyst or AnalystSettings(), admission, metrics, images),
        administration=Administration(backend, settings),
    )
    gate = Middleware(
        Gate,
        settings=settings,
        tokens=tokens,
        metrics=metrics,
        labels=route_label,
        open_paths=open_paths(),
        names_requests=names_requests,
    )
    app = FastAPI(
        title="aiopt",
        openapi_url=None,  # ours is made from the route table, and needs a token
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[gate],
        exception_handlers={HTTPException: _no_such_route},
    )
    for route in ROUTES:
        endpoint = Endpoint(route.handler(handlers), realms=route.realms)
        app.router.routes.append(Route(route.template, endpoint, methods=[route.method]))
    app.openapi = lambda: document  # type: ignore[method-assign]
    return app


async def _no_such_route(request: Request, failure: Exception) -> Response:
    """Tell Starlette's own 404 and 405 in the form of every other error."""
    assert isinstance(failure, HTTPException)
    scope: MutableMapping[str, Any] = request.scope
    exchange: Exchange = scope["aiopt.exchange"]
    headers = dict(failure.headers or {})
    if failure.status_code == 405:
        headers["Allow"] = allowed = ", ".join(sorted(headers.get("Allow", "").split(", ")))
        message = f"{scope['path']:.80} takes {allowed}, but got {scope['method']:.20}. Use another method."
        error = HttpError(405, message, code="method_not_allowed", headers=headers)
    else:
        message = f"The path must be one that /openapi.json lists, but is {scope['path']!r:.80}. Correct it."
        error = HttpError(failure.status_code, message, code="not_found", headers=headers)
    exchange.reason = error.code
    return Response(
        error.body(), status_code=error.status, headers=error.headers, media_type="application/json"
    )

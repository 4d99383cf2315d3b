"""The gateway: routes put together over a backend.  Owns the route table; every answer is made elsewhere."""

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
from aiopt.serving.gateway.failures import HttpError, retry_after
from aiopt.serving.gateway.gate import Endpoint, Gate, Handler
from aiopt.serving.gateway.images import ImageDecoder
from aiopt.serving.gateway.metrics import CONTENT_TYPE, GatewayMetrics
from aiopt.serving.gateway.openapi import openapi_document
from aiopt.serving.gateway.settings import GatewaySettings, Realm, Tokens
from aiopt.serving.pictures import warm_decoders

STARTING_RETRY_S = 5.0


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
    analyses = Analyses(backend, chats, settings, analyst or AnalystSettings(), admission, metrics, images)
    administration = Administration(backend, settings)
    document = openapi_document(settings)

    async def health(exchange: Exchange) -> None:
        ready = bool(await backend.cards())
        headers = {} if ready else retry_after(STARTING_RETRY_S)
        await exchange.reply(
            200 if ready else 503, {"status": "ready" if ready else "starting"}, headers=headers
        )

    async def show_metrics(exchange: Exchange) -> None:
        metrics.observe_status(await backend.status())
        await exchange.reply_bytes(200, metrics.text(), CONTENT_TYPE)

    async def show_schema(exchange: Exchange) -> None:
        await exchange.reply(200, document)

    routes: list[tuple[str, str, tuple[Realm, ...], Handler]] = [
        ("GET", "/healthz", (), health),
        ("GET", "/metrics", ("api", "admin"), show_metrics),
        ("GET", "/openapi.json", ("api", "admin"), show_schema),
        ("GET", "/v1/models", ("api",), administration.list_models),
        ("GET", "/v1/models/{model:path}", ("api",), administration.show_model),
        ("POST", "/v1/chat/completions", ("api",), chats.completions),
        ("POST", "/analyze", ("api",), analyses.analyze),
        ("POST", "/strategy", ("api",), analyses.strategy),
        ("GET", "/admin/models", ("admin",), administration.status),
        ("POST", "/admin/models/load", ("admin",), administration.load),
        ("POST", "/admin/models/swap", ("admin",), administration.swap),
        ("POST", "/admin/models/rollback", ("admin",), administration.rollback),
        ("GET", "/admin/operations/{operation_id}", ("admin",), administration.operation),
    ]
    labels = {path: path for _, path, _, _ in routes if "{" not in path}

    def label(path: str) -> str:
        if path in labels:
            return labels[path]
        if path.startswith("/v1/models/"):
            return "/v1/models/{model}"
        return "/admin/operations/{operation_id}" if path.startswith("/admin/operations/") else "other"

    app = FastAPI(
        title="aiopt",
        openapi_url=None,  # ours is made from the request types, and needs a token
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[
            Middleware(
                Gate,
                settings=settings,
                tokens=tokens,
                metrics=metrics,
                labels=label,
                names_requests=names_requests,
            )
        ],
        exception_handlers={HTTPException: _no_such_route},
    )
    for method, path, realms, handler in routes:
        app.router.routes.append(Route(path, Endpoint(handler, realms=realms), methods=[method]))
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

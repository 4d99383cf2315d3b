"""The route table: every path, who may ask, what answers it, and what is published about it.

The application (`app.py`) and the OpenAPI document (`openapi.py`) are both made from `ROUTES`, so a path
cannot be served and not described, or described otherwise than it is served.  Owns the table and its prose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from aiopt.serving.gateway.admin import Administration
from aiopt.serving.gateway.analysis import Analyses
from aiopt.serving.gateway.chat import Chats
from aiopt.serving.gateway.gate import Handler
from aiopt.serving.gateway.observing import Observing
from aiopt.serving.gateway.settings import Realm

JsonObject = dict[str, Any]


class Handlers(msgspec.Struct, frozen=True, kw_only=True):
    """What answers the requests of one gateway."""

    observing: Observing
    chats: Chats
    analyses: Analyses
    administration: Administration


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A request's body.

    Attributes
    ----------
    schema : str
        Name of the JSON body's schema.
    example : dict
        A body that is accepted.
    others : dict
        Schemas of other content types, by type.
    """

    schema: str
    example: JsonObject
    others: dict[str, JsonObject] = {}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is no error.

    Attributes
    ----------
    status : int
        HTTP status.
    schema : str
        Name of the JSON answer's schema; empty where there is none.
    others : dict
        Schemas of other content types, by type.
    description : str
        Empty: the route's summary.
    headers : dict
        Headers besides those of every answer.
    """

    status: int = 200
    schema: str = ""
    others: dict[str, JsonObject] = {}
    description: str = ""
    headers: JsonObject = {}


class PathParameter(msgspec.Struct, frozen=True, kw_only=True):
    """The part in braces of a path; `slashes` lets it hold slashes."""

    name: str
    description: str
    example: str
    slashes: bool = False


class ApiRoute(msgspec.Struct, frozen=True, kw_only=True):
    """One path with one method.

    Attributes
    ----------
    method : {"GET", "POST"}
        HTTP method.
    path : str
        As published, a parameter in braces.
    name : str
        Operation id.
    summary : str
        One sentence.
    realms : tuple of {"api", "admin"}
        Tokens that open it; empty: none is needed.
    handler : callable
        Picks what answers.
    answers : tuple of Answer
        Answers that are no errors.
    errors : tuple of int
        Statuses of errors, besides those of every body.
    body : Body or None
        What is sent.
    parameter : PathParameter or None
        What the path carries.
    names_model : bool
        Whether the first answer carries `X-Model-Id` and `X-Model-Revision`.
    """

    method: Literal["GET", "POST"]
    path: str
    name: str
    summary: str
    realms: tuple[Realm, ...]
    handler: Callable[[Handlers], Handler]
    answers: tuple[Answer, ...]
    errors: tuple[int, ...]
    body: Body | None = None
    parameter: PathParameter | None = None
    names_model: bool = False

    @property
    def template(self) -> str:
        """The path as Starlette matches it."""
        if self.parameter is None or not self.parameter.slashes:
            return self.path
        return self.path.replace("}", ":path}")

    def matches(self, path: str) -> bool:
        """Tell whether a path is this one, whatever its parameter."""
        fixed, brace, _ = self.path.partition("{")
        return path.startswith(fixed) if brace else path == fixed


_EXAMPLE_BARS = {
    "ts_open_ns": [1_709_251_200_000_000_000 + 300_000_000_000 * number for number in range(4)],
    "open": [1.0805, 1.0809, 1.0812, 1.0810],
    "high": [1.0811, 1.0814, 1.0815, 1.0818],
    "low": [1.0803, 1.0807, 1.0808, 1.0809],
    "close": [1.0809, 1.0812, 1.0810, 1.0816],
}
_EXAMPLE_ANALYSIS = {
    "regime": {"trend": "up", "volatility": "normal"},
    "patterns": [],
    "bias": "long",
    "levels": [{"price": 1.0803, "kind": "support", "strength": 0.6}],
    "confidence": 0.55,
    "confidence_parts": {"stated": 0.5, "technical": 0.6, "risk": 0.9, "agreement": 1.0},
    "rationale": "Higher lows above the moving averages.",
    "source": "rules",
    "model_id": "rules",
}
_EXAMPLE_MARKET = {"bars": _EXAMPLE_BARS, "timeframe": "5m", "reader": "rules"}
_EXAMPLE_ORDER = {"analysis": _EXAMPLE_ANALYSIS, "timeframe": "5m", "reader": "rules"}
_EXAMPLE_CHAT = {
    "model": "minicpm",
    "messages": [{"role": "user", "content": "What is a doji?"}],
    "max_tokens": 64,
    "temperature": 0,
}
_EXAMPLE_CHECKPOINT = {"checkpoint": "openbmb/MiniCPM-V-4.6", "model": "minicpm"}
_CHAT_EVENT: JsonObject = {
    "description": "One event: `data` is a chat.completion.chunk as JSON, or [DONE] at the end.",
    "type": "object",
    "properties": {"data": {"type": "string"}},
    "required": ["data"],
}
_MARKET_FORM: JsonObject = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "request": {"type": "string", "description": "AnalyzeOne as JSON, without chart_png."},
        "chart": {"type": "string", "format": "binary", "description": "PNG file."},
    },
}
_LOCATION: JsonObject = {
    "Location": {"description": "Where to ask for the operation.", "schema": {"type": "string"}}
}
RETRY_AFTER: JsonObject = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
}

_BOTH: tuple[Realm, ...] = ("api", "admin")
_ALWAYS = (401, 403, 405, 500, 504)
_ENGINE = (*_ALWAYS, 404, 429, 503)
_OPERATION = (*_ALWAYS, 404, 409, 503)


ROUTES: tuple[ApiRoute, ...] = (
    ApiRoute(
        method="GET",
        path="/healthz",
        name="health",
        summary="Whether a model is ready; needs no token.",
        realms=(),
        handler=lambda handlers: handlers.observing.health,
        answers=(
            Answer(schema="Health"),
            Answer(status=503, schema="Health", description="No model is ready yet.", headers=RETRY_AFTER),
        ),
        errors=(405, 500),
    ),
    ApiRoute(
        method="GET",
        path="/metrics",
        name="metrics",
        summary="Counters for Prometheus.",
        realms=_BOTH,
        handler=lambda handlers: handlers.observing.metrics,
        answers=(Answer(others={"text/plain": {"type": "string"}}, description="Prometheus text format."),),
        errors=(401, 405, 500, 504),
    ),
    ApiRoute(
        method="GET",
        path="/openapi.json",
        name="schema",
        summary="This document.",
        realms=_BOTH,
        handler=lambda handlers: handlers.observing.schema,
        answers=(Answer(schema="AnyObject"),),
        errors=_ALWAYS,
    ),
    ApiRoute(
        method="GET",
        path="/v1/models",
        name="list_models",
        summary="Served names and what is behind them.",
        realms=("api",),
        handler=lambda handlers: handlers.administration.list_models,
        answers=(Answer(schema="ModelList"),),
        errors=_ALWAYS,
    ),
    ApiRoute(
        method="GET",
        path="/v1/models/{model}",
        name="show_model",
        summary="One served model.",
        realms=("api",),
        handler=lambda handlers: handlers.administration.show_model,
        parameter=PathParameter(
            name="model", description="Served name or alias.", example="minicpm", slashes=True
        ),
        answers=(Answer(schema="Model"),),
        errors=(*_ALWAYS, 404),
        names_model=True,
    ),
    ApiRoute(
        method="POST",
        path="/v1/chat/completions",
        name="chat",
        summary="Answer a chat, whole or as server-sent events (`stream`).",
        realms=("api",),
        handler=lambda handlers: handlers.chats.completions,
        body=Body(schema="ChatRequest", example=_EXAMPLE_CHAT),
        answers=(Answer(schema="ChatCompletion", others={"text/event-stream": _CHAT_EVENT}),),
        errors=_ENGINE,
        names_model=True,
    ),
    ApiRoute(
        method="POST",
        path="/analyze",
        name="analyze",
        summary="Read one market, or a batch with a result or an error for each item.",
        realms=("api",),
        handler=lambda handlers: handlers.analyses.analyze,
        body=Body(
            schema="AnalyzeRequest", example=_EXAMPLE_MARKET, others={"multipart/form-data": _MARKET_FORM}
        ),
        answers=(Answer(schema="AnalyzeAnswer"),),
        errors=(*_ENGINE, 502),
        names_model=True,
    ),
    ApiRoute(
        method="POST",
        path="/strategy",
        name="strategy",
        summary="Turn a reading into a valid strategy to sweep, or say which rule forbids it.",
        realms=("api",),
        handler=lambda handlers: handlers.analyses.strategy,
        body=Body(schema="StrategyOrder", example=_EXAMPLE_ORDER),
        answers=(Answer(schema="StrategyAnswer"),),
        errors=(*_ENGINE, 502),
        names_model=True,
    ),
    ApiRoute(
        method="GET",
        path="/admin/models",
        name="model_status",
        summary="Models, engines, recent operations.",
        realms=("admin",),
        handler=lambda handlers: handlers.administration.status,
        answers=(Answer(schema="ServingStatus"),),
        errors=_ALWAYS,
    ),
    ApiRoute(
        method="POST",
        path="/admin/models/load",
        name="load_model",
        summary="Prove a checkpoint and keep its engine as standby.",
        realms=("admin",),
        handler=lambda handlers: handlers.administration.load,
        body=Body(schema="CheckpointOrder", example=_EXAMPLE_CHECKPOINT),
        answers=(Answer(status=202, schema="Operation", headers=_LOCATION),),
        errors=_OPERATION,
    ),
    ApiRoute(
        method="POST",
        path="/admin/models/swap",
        name="swap_model",
        summary="Prove a checkpoint, then route to it.",
        realms=("admin",),
        handler=lambda handlers: handlers.administration.swap,
        body=Body(schema="CheckpointOrder", example=_EXAMPLE_CHECKPOINT),
        answers=(Answer(status=202, schema="Operation", headers=_LOCATION),),
        errors=_OPERATION,
    ),
    ApiRoute(
        method="POST",
        path="/admin/models/rollback",
        name="rollback_model",
        summary="Route to the model before.",
        realms=("admin",),
        handler=lambda handlers: handlers.administration.rollback,
        body=Body(schema="RollbackOrder", example={"model": "minicpm"}),
        answers=(Answer(status=202, schema="Operation", headers=_LOCATION),),
        errors=_OPERATION,
    ),
    ApiRoute(
        method="POST",
        path="/admin/models/park",
        name="park_model",
        summary="Drain a model and free its memory for a while; to be renewed.",
        realms=("admin",),
        handler=lambda handlers: handlers.administration.park,
        body=Body(schema="HolderOrder", example={"holder": "training first"}),
        answers=(Answer(status=202, schema="Operation", headers=_LOCATION),),
        errors=_OPERATION,
    ),
    ApiRoute(
        method="POST",
        path="/admin/models/wake",
        name="wake_model",
        summary="Let a parked model serve again, proved.",
        realms=("admin",),
        handler=lambda handlers: handlers.administration.wake,
        body=Body(schema="HolderOrder", example={"holder": "training first"}),
        answers=(Answer(status=202, schema="Operation", headers=_LOCATION),),
        errors=_OPERATION,
    ),
    ApiRoute(
        method="GET",
        path="/admin/operations/{operation_id}",
        name="operation",
        summary="How far an operation is.",
        realms=("admin",),
        handler=lambda handlers: handlers.administration.operation,
        parameter=PathParameter(
            name="operation_id", description="As returned when it began.", example="op-1"
        ),
        answers=(Answer(schema="Operation"),),
        errors=(*_ALWAYS, 404),
    ),
)


def route_label(path: str) -> str:
    """Return the published path that a request's path belongs to, ``"other"`` where there is none."""
    exact = [route.path for route in ROUTES if route.path == path]
    found = exact or [route.path for route in ROUTES if route.parameter and route.matches(path)]
    return found[0] if found else "other"


def open_paths() -> frozenset[str]:
    """Return the paths that need no token."""
    return frozenset(route.path for route in ROUTES if not route.realms)

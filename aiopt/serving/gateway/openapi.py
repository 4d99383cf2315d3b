"""The published schema, made from the types that decode requests.  Owns prose, examples and the status table.

Whatever a request type accepts is what the schema says, because one is derived from the other; limits that
can be configured are written into it from the settings.
"""

from __future__ import annotations

from typing import Any

import msgspec

import aiopt
from aiopt.analyst import AnalysisResult
from aiopt.serving.backend import Operation, ServingStatus
from aiopt.serving.gateway.admin import CheckpointOrder, RollbackOrder
from aiopt.serving.gateway.analysis_types import (
    AnalyzeBatch,
    AnalyzeOne,
    BatchResult,
    StrategyAnswer,
    StrategyOrder,
)
from aiopt.serving.gateway.chat_types import ChatRequest
from aiopt.serving.gateway.settings import GatewaySettings

_REFERENCE = "#/components/schemas/{name}"
_TYPES = (
    ChatRequest,
    AnalyzeOne,
    AnalyzeBatch,
    AnalysisResult,
    BatchResult,
    StrategyOrder,
    StrategyAnswer,
    CheckpointOrder,
    RollbackOrder,
    Operation,
    ServingStatus,
)

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

_ERRORS = {
    400: "The request breaks its schema or a limit.",
    401: "No token, or an unknown one.",
    403: "The token is of the other kind.",
    404: "No such model, operation or path.",
    405: "Another method is needed.",
    408: "The body did not arrive in time.",
    409: "Another operation runs, or the operation was refused.",
    413: "The body or an image is too large.",
    415: "The content type or encoding is another than the one named.",
    429: "Too many requests; `Retry-After` says when to try again.",
    500: "A defect of the server or an engine; the message names the request id.",
    502: "The model's answers were invalid and the rules had no bars to read.",
    503: "No engine is ready; `Retry-After` says when to try again.",
    504: "The request took longer than it may.",
}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_AUTHENTICATE = {"WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}}}
_ERROR_HEADERS = {401: _AUTHENTICATE, 403: _AUTHENTICATE, 429: _RETRY, 503: _RETRY}
_REQUEST_ID = {
    "X-Request-Id": {"description": "The request's id, given or made.", "schema": {"type": "string"}}
}
_MODEL = {
    "X-Model-Id": {"description": "Checkpoint that answered.", "schema": {"type": "string"}},
    "X-Model-Revision": {"description": "Hash of its content.", "schema": {"type": "string"}},
}
_ALWAYS = (401, 403, 405, 500, 504)
_BODY = (400, 408, 413, 415)
_MODEL_ERRORS = (404, 429, 503)


def openapi_document(settings: GatewaySettings) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a gateway with these limits."""
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template=_REFERENCE)
    schemas.update(_loose_schemas())
    _write_limits(schemas, settings)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "aiopt model endpoint",
            "version": aiopt.__version__,
            "description": "OpenAI's chat API, readings of markets, and model operations. "
            "Every answer carries X-Request-Id; every error has OpenAI's form.",
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "api": {"type": "http", "scheme": "bearer", "description": "Token for models and analyses."},
                "admin": {"type": "http", "scheme": "bearer", "description": "Token for model operations."},
            },
        },
        "paths": _paths(),
    }


def _paths() -> dict[str, Any]:
    both: list[Any] = [{"api": []}, {"admin": []}]
    health = _operation(
        "health", "Whether a model is ready; needs no token.", [], ok={200: "Health"}, errors=(405, 500)
    )
    health["responses"]["503"] = {
        "description": "No model is ready yet.",
        "headers": {**_REQUEST_ID, **_RETRY},
        "content": _json("Health"),
    }
    metrics = _operation("metrics", "Counters for Prometheus.", both, ok={}, errors=(401, 405, 500, 504))
    metrics["responses"]["200"] = {
        "description": "Prometheus text format.",
        "headers": _REQUEST_ID,
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
    chat = _operation(
        "chat", "Answer a chat, whole or as server-sent events (`stream`).", ["api"],
        ok={200: "ChatCompletion"}, body={"application/json": ("ChatRequest", _EXAMPLE_CHAT)},
        errors=_MODEL_ERRORS, model=True,
    )  # fmt: skip
    chat["responses"]["200"]["content"]["text/event-stream"] = {
        "schema": {
            "description": "One event: `data` is a chat.completion.chunk as JSON, or [DONE] at the end.",
            "type": "object",
            "properties": {"data": {"type": "string"}},
            "required": ["data"],
        }
    }
    analyze = _operation(
        "analyze", "Read one market, or a batch with a result or an error for each item.", ["api"],
        ok={200: "AnalyzeAnswer"},
        body={"application/json": ("AnalyzeRequest", _EXAMPLE_MARKET)},
        errors=(*_MODEL_ERRORS, 502), model=True,
    )  # fmt: skip
    analyze["requestBody"]["content"]["multipart/form-data"] = {
        "schema": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "request": {"type": "string", "description": "AnalyzeOne as JSON, without chart_png."},
                "chart": {"type": "string", "format": "binary", "description": "PNG file."},
            },
        }
    }
    strategy = _operation(
        "strategy", "Turn a reading into a valid strategy to sweep, or say which rule forbids it.", ["api"],
        ok={200: "StrategyAnswer"},
        body={"application/json": ("StrategyOrder", _EXAMPLE_ORDER)},
        errors=(*_MODEL_ERRORS, 502), model=True,
    )  # fmt: skip
    listing = _operation(
        "list_models", "Served names and what is behind them.", ["api"], ok={200: "ModelList"}
    )
    show = _operation(
        "show_model", "One served model.", ["api"], ok={200: "Model"}, errors=(404,), model=True
    )
    show["parameters"] = [_path_parameter("model", "Served name or alias.", "minicpm")]
    schema = _operation("schema", "This document.", both, ok={200: "AnyObject"})
    status = _operation(
        "model_status", "Models, engines, recent operations.", ["admin"], ok={200: "ServingStatus"}
    )
    operation = _operation(
        "operation", "How far an operation is.", ["admin"], ok={200: "Operation"}, errors=(404,)
    )
    operation["parameters"] = [_path_parameter("operation_id", "As returned when it began.", "op-1")]
    paths: dict[str, Any] = {
        "/healthz": {"get": health},
        "/metrics": {"get": metrics},
        "/openapi.json": {"get": schema},
        "/v1/models": {"get": listing},
        "/v1/models/{model}": {"get": show},
        "/v1/chat/completions": {"post": chat},
        "/analyze": {"post": analyze},
        "/strategy": {"post": strategy},
        "/admin/models": {"get": status},
        "/admin/operations/{operation_id}": {"get": operation},
    }
    order = {"checkpoint": "openbmb/MiniCPM-V-4.6", "model": "minicpm"}
    for kind, prose, body, example in (
        ("load", "Prove a checkpoint and keep its engine as standby.", "CheckpointOrder", order),
        ("swap", "Prove a checkpoint, then route to it.", "CheckpointOrder", order),
        ("rollback", "Route to the model before.", "RollbackOrder", {"model": "minicpm"}),
    ):
        began = _operation(
            f"{kind}_model", prose, ["admin"], ok={202: "Operation"},
            body={"application/json": (body, example)}, errors=(404, 409, 503),
        )  # fmt: skip
        began["responses"]["202"]["headers"]["Location"] = {
            "description": "Where to ask for the operation.",
            "schema": {"type": "string"},
        }
        paths[f"/admin/models/{kind}"] = {"post": began}
    return paths


def _operation(
    name: str,
    summary: str,
    realms: list[Any],
    *,
    ok: dict[int, str],
    body: dict[str, tuple[str, dict[str, Any]]] | None = None,
    errors: tuple[int, ...] = (),
    model: bool = False,
) -> dict[str, Any]:
    security = [{realm: []} if isinstance(realm, str) else realm for realm in realms]
    found: dict[str, Any] = {"operationId": name, "summary": summary, "security": security}
    statuses = set(errors)
    if security and not {401, 405} <= statuses:
        statuses |= set(_ALWAYS)
    if body is not None:
        statuses |= set(_BODY)
        found["requestBody"] = {
            "required": True,
            "content": {
                kind: {"schema": {"$ref": _REFERENCE.format(name=schema)}, "example": example}
                for kind, (schema, example) in body.items()
            },
        }
    headers = {**_REQUEST_ID, **(_MODEL if model else {})}
    responses: dict[str, Any] = {
        str(status): {"description": summary, "headers": dict(headers), "content": _json(schema)}
        for status, schema in ok.items()
    }
    for status in sorted(statuses):
        responses[str(status)] = {
            "description": _ERRORS[status],
            "headers": {**_REQUEST_ID, **_ERROR_HEADERS.get(status, {})},
            "content": _json("Error"),
        }
    found["responses"] = responses
    return found


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(name=schema)}}}


def _path_parameter(name: str, description: str, example: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "minLength": 1},
        "example": example,
    }


def _loose_schemas() -> dict[str, Any]:
    """Return the schemas of what engines answer: checked for what clients rely on, open for the rest."""

    def obj(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
        return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}

    text, number = {"type": "string"}, {"type": "integer"}
    maybe = {"type": ["string", "null"]}
    model = obj(
        {
            "id": text,
            "object": {"const": "model"},
            "created": number,
            "owned_by": text,
            "root": text,
            "revision": text,
            "architecture": text,
            "images": {"type": "boolean"},
            "max_model_len": number,
        }
    )
    choice = obj(
        {"index": number, "message": obj({"role": text, "content": maybe})}, {"finish_reason": maybe}
    )
    return {
        "Error": obj({"error": obj({"message": text, "type": text, "param": maybe, "code": maybe})}),
        "Health": obj({"status": {"enum": ["ready", "starting"]}}),
        "Model": model,
        "ModelList": obj(
            {
                "object": {"const": "list"},
                "data": {"type": "array", "items": {"$ref": _REFERENCE.format(name="Model")}},
            }
        ),
        "ChatCompletion": obj(
            {
                "id": text,
                "object": {"const": "chat.completion"},
                "created": number,
                "model": text,
                "choices": {"type": "array", "items": choice},
                "usage": obj({"prompt_tokens": number, "completion_tokens": number, "total_tokens": number}),
            }
        ),
        "AnyObject": {"type": "object"},
        "AnalyzeRequest": {
            "oneOf": [{"$ref": _REFERENCE.format(name=n)} for n in ("AnalyzeOne", "AnalyzeBatch")]
        },
        "AnalyzeAnswer": {
            "anyOf": [{"$ref": _REFERENCE.format(name=n)} for n in ("AnalysisResult", "BatchResult")]
        },
    }


def _write_limits(schemas: dict[str, Any], settings: GatewaySettings) -> None:
    # Checked in `images.py`, with a message that says more than a pattern.
    schemas["ImageUrl"]["properties"]["url"].update(
        pattern="^data:image/(png|jpe?g);base64,[A-Za-z0-9+/]+={0,2}$",
        description="A whole PNG or JPEG file as a data URL; nothing is fetched from addresses.",
    )
    chat = schemas["ChatRequest"]["properties"]
    chat["messages"]["maxItems"] = settings.max_messages
    for name, limit in (
        ("max_tokens", settings.max_tokens),
        ("max_completion_tokens", settings.max_tokens),
        ("n", settings.max_choices),
    ):
        for branch in chat[name]["anyOf"]:
            if branch.get("type") == "integer":
                branch["maximum"] = limit
    schemas["AnalyzeBatch"]["properties"]["items"]["maxItems"] = settings.max_batch

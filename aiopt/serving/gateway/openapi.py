"""The published schema, made from the route table and the types that decode requests.  Owns the status table.

Whatever a request type accepts is what the schema says, because one is derived from the other; limits that
can be configured are written into it from the settings.
"""

from __future__ import annotations

import msgspec

import aiopt
from aiopt.analyst import AnalysisResult
from aiopt.serving.backend import Operation, ServingStatus
from aiopt.serving.gateway.admin import CheckpointOrder, HolderOrder, RollbackOrder
from aiopt.serving.gateway.analysis_types import (
    AnalyzeBatch,
    AnalyzeOne,
    BatchResult,
    StrategyAnswer,
    StrategyOrder,
)
from aiopt.serving.gateway.chat_types import ChatRequest
from aiopt.serving.gateway.routes import (
    RETRY_AFTER,
    ROUTES,
    Answer,
    ApiRoute,
    Body,
    JsonObject,
    PathParameter,
)
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
    HolderOrder,
    Operation,
    ServingStatus,
)

_PUBLISHED_NAMES = {"SessionFilter": "Session"}
"""Names of schemas that clients know, by our class: a class may be renamed, a published name stays."""

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
_AUTHENTICATE = {"WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}}}
_ERROR_HEADERS = {401: _AUTHENTICATE, 403: _AUTHENTICATE, 429: RETRY_AFTER, 503: RETRY_AFTER}
_REQUEST_ID = {
    "X-Request-Id": {"description": "The request's id, given or made.", "schema": {"type": "string"}}
}
_MODEL = {
    "X-Model-Id": {"description": "Checkpoint that answered.", "schema": {"type": "string"}},
    "X-Model-Revision": {"description": "Hash of its content.", "schema": {"type": "string"}},
}
_BODY_ERRORS = (400, 408, 413, 415)


def openapi_document(settings: GatewaySettings) -> JsonObject:
    """Return the OpenAPI 3.1 document of a gateway with these limits."""
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template=_REFERENCE)
    schemas = _under_published_names(schemas)
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


def _under_published_names(schemas: JsonObject) -> JsonObject:
    text = msgspec.json.encode(schemas).decode()
    for ours, published in _PUBLISHED_NAMES.items():
        text = text.replace(ours, published)
    return msgspec.json.decode(text)


def _paths() -> JsonObject:
    paths: dict[str, JsonObject] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return paths


def _operation(route: ApiRoute) -> JsonObject:
    found: JsonObject = {
        "operationId": route.name,
        "summary": route.summary,
        "security": [{realm: []} for realm in route.realms],
    }
    if route.parameter is not None:
        found["parameters"] = [_path_parameter(route.parameter)]
    errors = set(route.errors)
    if route.body is not None:
        errors |= set(_BODY_ERRORS)
        found["requestBody"] = _request_body(route.body)
    responses: JsonObject = {}
    for number, answer in enumerate(route.answers):
        model = _MODEL if route.names_model and number == 0 else {}
        responses[str(answer.status)] = {
            "description": answer.description or route.summary,
            "headers": {**_REQUEST_ID, **model, **answer.headers},
            "content": _content(answer),
        }
    for status in sorted(errors):
        responses[str(status)] = {
            "description": _ERRORS[status],
            "headers": {**_REQUEST_ID, **_ERROR_HEADERS.get(status, {})},
            "content": _json("Error"),
        }
    found["responses"] = responses
    return found


def _request_body(body: Body) -> JsonObject:
    content: JsonObject = {"application/json": {"schema": _reference(body.schema), "example": body.example}}
    content |= {kind: {"schema": schema} for kind, schema in body.others.items()}
    return {"required": True, "content": content}


def _content(answer: Answer) -> JsonObject:
    content = _json(answer.schema) if answer.schema else {}
    return content | {kind: {"schema": schema} for kind, schema in answer.others.items()}


def _reference(schema: str) -> JsonObject:
    return {"$ref": _REFERENCE.format(name=schema)}


def _json(schema: str) -> JsonObject:
    return {"application/json": {"schema": _reference(schema)}}


def _path_parameter(parameter: PathParameter) -> JsonObject:
    return {
        "name": parameter.name,
        "in": "path",
        "required": True,
        "description": parameter.description,
        "schema": {"type": "string", "minLength": 1},
        "example": parameter.example,
    }


def _loose_schemas() -> JsonObject:
    """Return the schemas of what engines answer: checked for what clients rely on, open for the rest."""

    def obj(required: JsonObject, optional: JsonObject | None = None) -> JsonObject:
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
                "data": {"type": "array", "items": _reference("Model")},
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
        "AnalyzeRequest": {"oneOf": [_reference(name) for name in ("AnalyzeOne", "AnalyzeBatch")]},
        "AnalyzeAnswer": {"anyOf": [_reference(name) for name in ("AnalysisResult", "BatchResult")]},
    }


def _write_limits(schemas: JsonObject, settings: GatewaySettings) -> None:
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

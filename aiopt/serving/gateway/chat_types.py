"""The chat request as JSON: OpenAI's fields that are supported here, closed to everything else.

Owns names, types and fixed ranges; limits that can be configured are `chat.py`'s.  The published schema is
made from these types, so what it says is what is accepted.

Clients send back what they were sent, and write null where they mean nothing: every optional field may be
null, an answer's message may come back with all its fields, and fields of OpenAI's that are not supported may
be there while they are null or empty.  `engine_body` leaves all of these out.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Name = Annotated[str, Meta(max_length=256)]
Nothing = UnsetType | None
"""A field that is not supported, and says nothing."""
NoItems = Annotated[list[Any], Meta(max_length=0)] | UnsetType | None
NoKeys = Annotated[dict[str, Any], Meta(max_length=0)] | UnsetType | None
Penalty = Annotated[float, Meta(ge=-2.0, le=2.0)]
INT64_MAX = 2**63 - 1


class ImageUrl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An image as a data URL."""

    url: str
    detail: Literal["auto", "low", "high"] | UnsetType | None = UNSET


class TextPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """Text of a message."""

    text: str


class ImagePart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="image_url"):
    """Image of a message."""

    image_url: ImageUrl


class OnlyText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Text of a message that holds nothing else; the tag of a single type would be optional."""

    type: Literal["text"]
    text: str


Parts = Annotated[list[TextPart | ImagePart], Meta(min_length=1)]
TextParts = Annotated[list[OnlyText], Meta(min_length=1)]


class SystemMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="role", tag="system"):
    """Instructions."""

    content: str | TextParts
    name: Name | UnsetType | None = UNSET


class DeveloperMessage(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="role", tag="developer"
):
    """Instructions, by their newer name."""

    content: str | TextParts
    name: Name | UnsetType | None = UNSET


class UserMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="role", tag="user"):
    """What the user says and shows."""

    content: str | Parts
    name: Name | UnsetType | None = UNSET


class AssistantMessage(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="role", tag="assistant"
):
    """An earlier answer, as it was given: of it the engine is shown the content."""

    content: str | TextParts | None = None
    name: Name | UnsetType | None = UNSET
    refusal: str | UnsetType | None = UNSET
    reasoning: str | UnsetType | None = UNSET
    annotations: NoItems = UNSET
    audio: Nothing = UNSET
    function_call: Nothing = UNSET
    tool_calls: NoItems = UNSET


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage


class JsonSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON schema an answer must follow."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    schema: dict[str, Any]
    description: str | UnsetType | None = UNSET
    strict: bool | UnsetType | None = UNSET


class TextFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """Any text."""


class JsonObjectFormat(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="json_object"
):
    """Any JSON object."""


class JsonSchemaFormat(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="json_schema"
):
    """JSON of a schema."""

    json_schema: JsonSchema


class StreamOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a stream."""

    include_usage: bool | UnsetType | None = UNSET


class TemplateOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Switches of the chat template that a client may set."""

    enable_thinking: bool | UnsetType | None = UNSET


MAX_STOPS = 16
"""Engines are started with this limit too: `aiopt.serving.engines.vllm_settings`."""

Stop = Annotated[str, Meta(min_length=1, max_length=256)]


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/chat/completions``."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET
    max_completion_tokens: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET
    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] | UnsetType | None = UNSET
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] | UnsetType | None = UNSET
    top_k: Annotated[int, Meta(ge=-1, le=1000000)] | UnsetType | None = UNSET
    min_p: Annotated[float, Meta(ge=0.0, le=1.0)] | UnsetType | None = UNSET
    n: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET
    stream: bool | UnsetType | None = UNSET
    stream_options: StreamOptions | UnsetType | None = UNSET
    stop: Stop | Annotated[list[Stop], Meta(max_length=MAX_STOPS)] | UnsetType | None = UNSET
    presence_penalty: Penalty | UnsetType | None = UNSET
    frequency_penalty: Penalty | UnsetType | None = UNSET
    repetition_penalty: Annotated[float, Meta(gt=0.0, le=10.0)] | UnsetType | None = UNSET
    seed: Annotated[int, Meta(ge=-INT64_MAX, le=INT64_MAX)] | UnsetType | None = UNSET
    logprobs: bool | UnsetType | None = UNSET
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | UnsetType | None = UNSET
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | UnsetType | None = UNSET
    ignore_eos: bool | UnsetType | None = UNSET
    chat_template_kwargs: TemplateOptions | UnsetType | None = UNSET
    user: Name | UnsetType | None = UNSET
    audio: Nothing = UNSET
    function_call: Nothing = UNSET
    functions: NoItems = UNSET
    logit_bias: NoKeys = UNSET
    metadata: NoKeys = UNSET
    modalities: NoItems = UNSET
    moderation: Nothing = UNSET
    parallel_tool_calls: Nothing = UNSET
    prediction: Nothing = UNSET
    prompt_cache_key: Nothing = UNSET
    prompt_cache_options: Nothing = UNSET
    prompt_cache_retention: Nothing = UNSET
    reasoning_effort: Nothing = UNSET
    safety_identifier: Nothing = UNSET
    service_tier: Nothing = UNSET
    store: Nothing = UNSET
    tool_choice: Literal["none"] | UnsetType | None = UNSET
    tools: NoItems = UNSET
    verbosity: Nothing = UNSET
    web_search_options: Nothing = UNSET


_UNSUPPORTED = frozenset(ChatRequest.__struct_fields__[ChatRequest.__struct_fields__.index("audio") :])
_SHOWN = frozenset({"role", "content", "name"})


def engine_body(request: ChatRequest) -> dict[str, Any]:
    """Return a request as engines are given it: what says something, and nothing else."""
    body = _without_nulls(
        {name: value for name, value in msgspec.to_builtins(request).items() if name not in _UNSUPPORTED}
    )
    for message in body["messages"]:
        for name in set(message) - _SHOWN:
            del message[name]
        message.setdefault("content", "")
    return body


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "json_schema":
            # A schema is the client's own: null means something in it.
            found[name] = {key: part for key, part in value.items() if part is not None}
        elif isinstance(value, dict):
            found[name] = _without_nulls(value)
        elif isinstance(value, list):
            found[name] = [_without_nulls(part) if isinstance(part, dict) else part for part in value]
        elif value is not None:
            found[name] = value
    return found

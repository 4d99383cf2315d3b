"""Chats: checked, given a slot and an engine, answered whole or as a stream.

Owns the path of a model request from admission to its last byte.  What a request may be is `chat_types`' and
`settings`'; what an engine does is the backend's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import NamedTuple, TypeVar

import msgspec

from aiopt.serving.backend import Backend, Lease, ModelCard, ModelUnavailableError
from aiopt.serving.gateway.admission import Admission
from aiopt.serving.gateway.chat_types import (
    ChatRequest,
    ImagePart,
    JsonSchemaFormat,
    UserMessage,
    engine_body,
)
from aiopt.serving.gateway.exchange import Exchange
from aiopt.serving.gateway.failures import HttpError, invalid
from aiopt.serving.gateway.images import ImageDecoder
from aiopt.serving.gateway.metrics import GatewayMetrics
from aiopt.serving.gateway.schemas import check_schema
from aiopt.serving.gateway.settings import GatewaySettings
from aiopt.serving.replies import Answered, ChatBody, Usage

T = TypeVar("T")

_USAGE = b'"usage":{'
_NO_CHOICES = b'"choices":[]'
_DONE = b"data: [DONE]\n\n"


class Chats:
    """Model requests of one gateway.

    Parameters
    ----------
    backend : Backend
        The engines.
    settings : GatewaySettings
        Limits.
    admission : Admission
        Slots.
    metrics : GatewayMetrics
        Counters.
    images : ImageDecoder
        Decodes pictures.
    """

    def __init__(
        self,
        backend: Backend,
        settings: GatewaySettings,
        admission: Admission,
        metrics: GatewayMetrics,
        images: ImageDecoder,
    ) -> None:
        self._backend = backend
        self._settings = settings
        self._admission = admission
        self._metrics = metrics
        self._images = images

    async def completions(self, exchange: Exchange) -> None:
        """Answer ``POST /v1/chat/completions``."""
        self._admission.check()
        request = await exchange.json(ChatRequest)
        places = check_chat(request, self._settings)
        body = engine_body(request)
        async with exchange.while_connected(), self._admission.slot():
            images = await self._decode_images(body, places)
            if request.stream is True:
                await self._stream(exchange, request, body, images)
            else:

                async def answer(lease: Lease) -> Answered:
                    self._check_card(lease.card, body, images)
                    return await lease.chat(body)

                async with self.trying(request.model, answer) as (card, answered):
                    self._metrics.count_usage(card.name, answered.read().usage)
                    exchange.headers.update(model_headers(card))
                await exchange.reply(200, answered.document)

    async def _decode_images(self, body: ChatBody, places: list[ImagePlace]) -> int:
        """Put what each image shows in its place; return how many there are."""
        decoded = await asyncio.gather(
            *(self._images.data_url(place.url, where=place.where) for place in places)
        )
        size, limit = sum(len(url) * 3 // 4 for url in decoded), self._settings.max_decoded_bytes
        if size > limit:
            raise HttpError(
                413,
                f"The images of a request may have {limit:,} bytes once decoded, but have {size:,}. Scale "
                "them down, or send fewer.",
                code="image_too_large",
                param="messages",
            )
        for place, url in zip(places, decoded, strict=True):
            body["messages"][place.message]["content"][place.part]["image_url"]["url"] = url
        return len(places)

    @asynccontextmanager
    async def trying(
        self, model: str, work: Callable[[Lease], Awaitable[T]]
    ) -> AsyncIterator[tuple[ModelCard, T]]:
        """Hold an engine on which `work` succeeded: another one if the first dies before it answers.

        The only place where a request is tried again.  All tries share one patience, so a request waits once.

        Raises
        ------
        ModelUnavailableError
            What the last try failed with, once the patience is used up.
        """
        patience = self._backend.patience()
        while True:
            async with await self._backend.acquire(model, patience) as lease:
                try:
                    found = await work(lease)
                except ModelUnavailableError as failure:
                    died = failure
                else:
                    yield lease.card, found
                    return
            await patience.before_retry(died)
            self._metrics.retried(lease.card.name)

    async def _stream(self, exchange: Exchange, request: ChatRequest, body: ChatBody, images: int) -> None:
        """Send the engine's events as they come; the first decides whether the answer is an error."""
        options = request.stream_options
        wants_usage = isinstance(options, msgspec.Struct) and options.include_usage is True
        body["stream_options"] = {"include_usage": True}  # for the metrics
        started = time.perf_counter()

        async def begin(lease: Lease) -> tuple[bytes, AsyncGenerator[bytes, None]]:
            self._check_card(lease.card, body, images)
            events = lease.stream(body)
            try:
                return await anext(events, _DONE), events
            except BaseException:
                await events.aclose()
                raise

        async with self.trying(request.model, begin) as (card, (first, events)), aclosing(events):
            self._metrics.first_token(card.name, time.perf_counter() - started)
            exchange.headers.update(model_headers(card))
            await exchange.start(200, "text/event-stream; charset=utf-8", {"Cache-Control": "no-store"})
            event: bytes | None = first
            while event is not None:
                if _USAGE in event and _NO_CHOICES in event:
                    self._metrics.count_usage(card.name, _usage_of(event))
                    event = event if wants_usage else without_usage(event)
                if event:
                    await exchange.send_part(event)
                event = await anext(events, None)
            await exchange.send_part(b"", more=False)

    def _check_card(self, card: ModelCard, body: ChatBody, images: int) -> None:
        """Check what depends on the model that answers, and cap the answer's length."""
        if images and not card.images:
            raise invalid(
                f"A request with images needs a model that reads them, but {card.name} ({card.model_id}) "
                "reads "
                "text only. Leave the images out, or name another model; /v1/models says which read images.",
                param="messages",
                code="images_not_supported",
            )
        asked = body.get("max_completion_tokens") or body.get("max_tokens")
        if asked is None and card.max_context_tokens > self._settings.max_tokens:
            body["max_completion_tokens"] = self._settings.max_tokens


class ImagePlace(NamedTuple):
    """An image of a chat, and where it is."""

    message: int
    part: int
    url: str

    @property
    def where(self) -> str:
        """The place, for messages."""
        return f"messages[{self.message}].content[{self.part}].image_url"


def check_chat(request: ChatRequest, settings: GatewaySettings) -> list[ImagePlace]:
    """Check a chat against the configured limits; return where its images are, not yet looked at.

    Raises
    ------
    HttpError
        400 or 413.
    """
    if len(request.messages) > settings.max_messages:
        raise invalid(
            f"A chat may have {settings.max_messages} messages, but has {len(request.messages)}. "
            "Leave out the oldest.",
            param="messages",
        )
    for name, value, limit in (
        ("max_tokens", request.max_tokens, settings.max_tokens),
        ("max_completion_tokens", request.max_completion_tokens, settings.max_tokens),
        ("n", request.n, settings.max_choices),
    ):
        if isinstance(value, int) and value > limit:
            raise invalid(f"`{name} <= {limit}` must hold, but got {name}={value}. Ask for less.", param=name)
    if isinstance(request.top_logprobs, int) and request.top_logprobs and request.logprobs is not True:
        raise invalid(
            f"top_logprobs needs logprobs=true, but got top_logprobs={request.top_logprobs} without it. "
            "Set logprobs.",
            param="top_logprobs",
        )
    if isinstance(request.stream_options, msgspec.Struct) and request.stream is not True:
        raise invalid(
            "stream_options needs stream=true, but got it without. Set stream.", param="stream_options"
        )
    chosen = request.response_format
    if isinstance(chosen, JsonSchemaFormat):
        size = len(msgspec.json.encode(chosen.json_schema.schema))
        if size > settings.max_schema_bytes:
            raise invalid(
                f"A JSON schema may have {settings.max_schema_bytes:,} bytes, but has {size:,}. Simplify it.",
                param="response_format",
            )
        check_schema(chosen.json_schema.schema)
    return _image_places(request, settings)


def _image_places(request: ChatRequest, settings: GatewaySettings) -> list[ImagePlace]:
    found = [
        ImagePlace(number, place, part.image_url.url)
        for number, message in enumerate(request.messages)
        if isinstance(message, UserMessage) and isinstance(message.content, list)
        for place, part in enumerate(message.content)
        if isinstance(part, ImagePart)
    ]
    if len(found) > settings.max_images:
        raise invalid(
            f"A request may have {settings.max_images} images, but has {len(found)}. Send fewer.",
            param="messages",
            code="too_many_images",
        )
    return found


def model_headers(card: ModelCard) -> dict[str, str]:
    """Return the headers that name the model an answer comes from."""
    return named_headers(card.model_id, card.revision)


def named_headers(model_id: str, revision: str) -> dict[str, str]:
    """Return these headers; a folder's name may hold characters that a header may not."""
    return {
        "X-Model-Id": model_id.encode("ascii", "backslashreplace").decode(),
        "X-Model-Revision": revision.encode("ascii", "backslashreplace").decode(),
    }


def without_usage(event: bytes) -> bytes:
    """Return the events of a chunk but the usage event, which the client did not ask for."""
    parts = event.split(b"\n\n")
    return b"\n\n".join(part for part in parts if not (_USAGE in part and _NO_CHOICES in part))


class _UsageChunk(msgspec.Struct, frozen=True):
    usage: Usage | None = None


def _usage_of(event: bytes) -> Usage | None:
    for part in event.split(b"\n\n"):
        if _USAGE in part and part.startswith(b"data: "):
            try:
                return msgspec.json.decode(part[6:], type=_UsageChunk).usage
            except msgspec.DecodeError:
                return None  # an engine's slip in what only the metrics read
    return None

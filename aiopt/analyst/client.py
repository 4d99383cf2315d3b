"""HTTP client of any OpenAI-compatible chat endpoint.  Owns wire format and retries; judges no reply.

Not trusted: bodies are capped while they are read, redirects are not followed, and the token goes to the
configured host only.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import email.utils
import os
from types import TracebackType
from typing import Any

import httpx
import msgspec

from aiopt.analyst.chat import ChatReply, ChatRequest, SaidToken
from aiopt.analyst.settings import AnalystSettings, ResponseFormat
from aiopt.errors import EndpointError

MAX_BODY_BYTES = 1024 * 1024
MAX_WAIT_S = 30.0
"""Longest pause before a retry, whatever Retry-After says."""

_RETRIED = frozenset({429, 502, 503, 504})
_STEPS: tuple[ResponseFormat, ...] = ("json_schema", "json_object", "none")


class ChatClient:
    """Asks an endpoint; `complete` is the `aiopt.analyst.chat.Complete` the analyst takes.

    Use as an asynchronous context manager.

    Parameters
    ----------
    settings : AnalystSettings
        `endpoint` must be set.

    Raises
    ------
    EndpointError
        If there is no endpoint.
    """

    def __init__(self, settings: AnalystSettings) -> None:
        if settings.endpoint is None:
            raise EndpointError("No endpoint is set. Set `endpoint`, e.g. http://127.0.0.1:8000/v1.")
        self._settings = settings
        self._url = f"{settings.endpoint.rstrip('/')}/chat/completions"
        token = os.environ.get(settings.token_variable, "").strip()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=settings.timeout_s,
            limits=httpx.Limits(max_connections=settings.concurrency),
            # An endpoint is a configured address: proxies of the environment would see its token.
            trust_env=False,
        )
        self._gate = asyncio.Semaphore(settings.concurrency)
        self._format: ResponseFormat = (
            "json_schema" if settings.response_format == "auto" else settings.response_format
        )

    async def __aenter__(self) -> ChatClient:
        """Return the client."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Ask and return the reply.

        A refused connection, 429, 502, 503 and 504 are tried again `AnalystSettings.retries` times, after
        the time Retry-After names (seconds or date, at most `MAX_WAIT_S`), else after 0.5, 1, 2, … s.  An
        endpoint that refuses the response format is asked with the next weaker one, which is kept.

        Raises
        ------
        EndpointError
            If there is no usable reply; names address and reason.
        """
        async with self._gate:
            while True:
                sent_as = self._format
                response, body = await self._post(_payload(request, sent_as))
                if response.status_code in {400, 404, 415, 422, 501} and self._may_step_down(sent_as, body):
                    continue
                if response.status_code != 200:
                    raise self._error(f"answered {response.status_code}: {_excerpt(body)}")
                return self._decode(response, body, request)

    async def models(self) -> tuple[str, ...]:
        """Return the names that the endpoint serves, as ``GET /models`` lists them.

        Raises
        ------
        EndpointError
            If it does not say.
        """
        url = f"{self._url.removesuffix('/chat/completions')}/models"
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                response, body = await self._once("GET", url)
        except (httpx.HTTPError, TimeoutError) as failure:
            why = str(failure) or type(failure).__name__
            raise self._error(f"did not say which models it serves: {why}") from failure
        if response.status_code != 200:
            raise self._error(f"answered {response.status_code} to {url}: {_excerpt(body)}")
        try:
            return tuple(one.id for one in msgspec.json.decode(body, type=_Models).data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as failure:
            raise self._error(f"sent no list of models from {url}: {_excerpt(body)}") from failure

    def _may_step_down(self, sent_as: ResponseFormat, body: bytes) -> bool:
        """Take the next weaker response format if the endpoint seems to refuse this one."""
        if self._settings.response_format != "auto" or sent_as == "none":
            return False
        text = body.lower()
        if not any(word in text for word in (b"response_format", b"json_schema", b"schema", b"grammar")):
            return False
        # Another request may have stepped down meanwhile: never step up again.
        self._format = max(self._format, _STEPS[_STEPS.index(sent_as) + 1], key=_STEPS.index)
        return True

    async def _post(self, payload: dict[str, Any]) -> tuple[httpx.Response, bytes]:
        for attempt in range(self._settings.retries + 1):
            last = attempt == self._settings.retries
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    response, body = await self._once("POST", self._url, json=payload)
            except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError) as failure:
                if last:
                    raise self._error(f"gave no reply: {failure or type(failure).__name__}") from failure
                await asyncio.sleep(_pause(None, attempt))
                continue
            except (httpx.TimeoutException, TimeoutError) as failure:
                raise self._error(f"gave no reply within {self._settings.timeout_s:g} s") from failure
            except httpx.HTTPError as failure:
                raise self._error(f"gave no reply: {failure}") from failure
            if response.status_code not in _RETRIED or last:
                return response, body
            await asyncio.sleep(_pause(response.headers.get("Retry-After"), attempt))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(self, method: str, url: str, **content: Any) -> tuple[httpx.Response, bytes]:
        async with self._http.stream(method, url, **content) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise self._error(f"sent more than {MAX_BODY_BYTES} bytes")
            return response, bytes(body)

    def _decode(self, response: httpx.Response, body: bytes, request: ChatRequest) -> ChatReply:
        try:
            document = msgspec.json.decode(body, type=_Completion)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as failure:
            raise self._error(f"sent no chat completion: {failure}: {_excerpt(body)}") from failure
        if not document.choices:
            raise self._error("sent a chat completion without choices")
        choice, usage = document.choices[0], document.usage or _Usage()
        return ChatReply(
            text=choice.message.content or "",
            model_id=_label(response.headers.get("X-Model-Id") or document.model or request.model),
            model_revision=_label(response.headers.get("X-Model-Revision") or ""),
            finish_reason=choice.finish_reason or "",
            prompt_tokens=usage.prompt_tokens or 0,
            completion_tokens=usage.completion_tokens or 0,
            tokens=() if choice.logprobs is None else tuple(map(_token, choice.logprobs.content or ())),
        )

    def _error(self, reason: str) -> EndpointError:
        return EndpointError(f"The model endpoint {self._url} {reason}")


class _Message(msgspec.Struct):
    content: str | None = None


class _Likely(msgspec.Struct):
    token: str
    logprob: float


class _Said(_Likely):
    top_logprobs: list[_Likely] = []


class _Logprobs(msgspec.Struct):
    content: list[_Said] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str | None = None
    usage: _Usage | None = None


def _token(said: _Said) -> SaidToken:
    likely = tuple((one.token, one.logprob) for one in said.top_logprobs)
    return SaidToken(said.token, said.logprob, likely)


def _payload(request: ChatRequest, format_: ResponseFormat) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "model": request.model,
        "messages": request.messages,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": False,
    }
    if request.seed is not None:
        payload["seed"] = request.seed
    if request.likely is not None:
        payload |= {"logprobs": True, "top_logprobs": request.likely}
    if request.schema is None:
        return payload
    if format_ == "json_schema":
        schema = {"name": request.schema_name, "schema": request.schema, "strict": True}
        payload["response_format"] = {"type": "json_schema", "json_schema": schema}
        return payload
    if format_ == "json_object":
        payload["response_format"] = {"type": "json_object"}
    # Nothing enforces the schema then, so at least the model has to be told.
    text = f"The answer's JSON schema:\n{msgspec.json.encode(request.schema).decode()}"
    first, *rest = request.messages
    payload["messages"] = [{**first, "content": f"{first['content']}\n\n{text}"}, *rest]
    return payload


def _pause(retry_after: str | None, attempt: int) -> float:
    """Return the seconds to wait before the next attempt."""
    wait = 0.5 * 2.0**attempt
    if retry_after is not None:
        try:
            wait = float(retry_after)
        except ValueError:
            try:
                moment = email.utils.parsedate_to_datetime(retry_after)
                wait = (moment - dt.datetime.now(tz=moment.tzinfo or dt.UTC)).total_seconds()
            except (ValueError, TypeError):
                wait = 0.5 * 2.0**attempt
    # `not >=` also catches NaN.
    return 0.0 if not wait >= 0 else min(wait, MAX_WAIT_S)


def _excerpt(body: bytes) -> str:
    text = body[:200].decode("utf-8", errors="replace")
    return "".join(character if character.isprintable() else " " for character in text).strip() or "nothing"


def _label(text: str) -> str:
    """Return a foreign name fit for records and reports."""
    return "".join(character for character in text[:128] if character.isprintable())

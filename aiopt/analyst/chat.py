"""One question to a chat model and its reply, as records: the only seam through which analysts do IO.

Owns `ChatRequest`, `ChatReply` and the type `Complete`.  Whoever has a model (the HTTP client of
`aiopt.analyst.client`, an engine in the same process) gives a function of that type.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec


class SaidToken(msgspec.Struct, frozen=True):
    """A token of a reply.

    Attributes
    ----------
    text : str
        What it adds.
    logprob : float
        Natural logarithm of the probability it had.
    likely : tuple of (str, float)
        Text and log-probability of the likeliest tokens there, as many as were asked for.
    """

    text: str
    logprob: float
    likely: tuple[tuple[str, float], ...] = ()


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A chat completion to ask for.

    Attributes
    ----------
    model : str
        Served name of the model.
    messages : list of dict
        In OpenAI's form; pictures are ``image_url`` parts with a data URL.
    schema : dict or None
        JSON schema of the reply; enforced where the endpoint can.  None: it may say what it likes.
    schema_name : str
        Name sent with it.
    max_tokens : int
        Of the reply.
    temperature : float
        0 for the most likely reply.
    seed : int or None
        Sent where given.
    likely : int or None
        Ask for the tokens of the reply, each with so many of the likeliest ones (0 to 20).
    """

    model: str
    messages: list[dict[str, Any]]
    schema: dict[str, Any] | None
    schema_name: str = "reply"
    max_tokens: int = 1024
    temperature: float = 0.0
    seed: int | None = None
    likely: int | None = None


class ChatReply(msgspec.Struct, frozen=True, kw_only=True):
    """What came back.

    Attributes
    ----------
    text : str
        Content of the message; not trusted.
    model_id, model_revision : str
        Who answered, as far as the endpoint says.
    finish_reason : str
        ``"stop"``, ``"length"``, …; empty where unknown.
    prompt_tokens, completion_tokens : int
        0 where unknown.
    tokens : tuple of SaidToken
        Where the request asked for them and the endpoint tells; empty otherwise.
    """

    text: str
    model_id: str = ""
    model_revision: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tokens: tuple[SaidToken, ...] = ()


Complete = Callable[[ChatRequest], Awaitable[ChatReply]]
"""Asks a model.  Raises an `aiopt.errors.AioptError` (usually `EndpointError`), `TimeoutError` or `OSError`
when there is no reply; anything else counts as a defect and is passed on."""

"""Asking a model one question: a reply that is not valid is asked for once more.  Owns that rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from aiopt.analyst.analysis import Attempt
from aiopt.analyst.chat import ChatReply, ChatRequest, Complete
from aiopt.analyst.prompts import retry_messages
from aiopt.errors import AioptError, ReplyError

T = TypeVar("T")

NO_ANSWER = (AioptError, TimeoutError, OSError)
"""What counts as "no reply"; anything else is a defect and is passed on."""

MAX_ERROR = 400


async def ask_twice(
    question: ChatRequest, complete: Complete, parse: Callable[[ChatReply], T], prompt_version: str
) -> tuple[T | None, list[Attempt]]:
    """Ask; if the reply is invalid, ask once more with the error.

    Parameters
    ----------
    question : ChatRequest
        First question.
    complete : callable
        Asks the model.
    parse : callable
        Returns the valid answer or raises `ReplyError`.
    prompt_version : str
        For the record.

    Returns
    -------
    tuple
        The answer, None if there is none, and the attempts.
    """
    attempts: list[Attempt] = []
    asked = question
    for _ in range(2):
        reply: ChatReply | None = None
        answer: T | None = None
        error = ""
        try:
            reply = await complete(asked)
            answer = parse(reply)
        except ReplyError as failure:
            cut = reply is not None and reply.finish_reason == "length"
            error = f"{failure} The reply was cut off: be shorter." if cut else str(failure)
        except NO_ANSWER as failure:
            error = str(failure) or type(failure).__name__
        known: dict[str, Any] = {}
        if reply is not None:
            known = {
                "model_id": reply.model_id,
                "model_revision": reply.model_revision,
                "prompt_tokens": reply.prompt_tokens,
                "completion_tokens": reply.completion_tokens,
            }
        attempts.append(
            Attempt(
                model=question.model,
                prompt_version=prompt_version,
                ok=answer is not None,
                error=error[:MAX_ERROR],
                **known,
            )
        )
        # A model that gave no reply is not asked again: the client has tried as often as it may.
        if answer is not None or reply is None:
            return answer, attempts
        messages = retry_messages(question.messages, reply.text, error)
        asked = msgspec.structs.replace(question, messages=messages)
    return None, attempts

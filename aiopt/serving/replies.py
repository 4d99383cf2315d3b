"""What an engine says of a request: answered, begun or failed.

Owns these types, which cross from engine to gateway, and whose fault an exception is.  Knows neither Ray nor
vLLM: exceptions are told by name.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

ChatBody: TypeAlias = dict[str, Any]
"""Body of an OpenAI chat completion: open JSON, checked by `aiopt.serving.gateway.chat_types.ChatRequest`."""

_REFUSED = frozenset(
    {"ValueError", "TypeError", "OverflowError", "RecursionError", "VLLMClientError", "TemplateError"}
)
"""What vLLM raises, itself or below, at a request that it cannot take."""
_UNGENERATED = "GenerationError"


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of an answer, as the engine counted them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class AnswerMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What the model wrote."""

    content: str | None = None


class LikelyToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token and the logarithm of its probability."""

    token: str
    logprob: float


class AnsweredToken(LikelyToken, frozen=True, kw_only=True):
    """A token of an answer, and the likeliest ones there."""

    top_logprobs: list[LikelyToken] = []


class AnsweredTokens(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of an answer."""

    content: list[AnsweredToken] | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of the answers that were asked for.

    Attributes
    ----------
    message : AnswerMessage
        The answer.
    finish_reason : str or None
        ``"stop"``, ``"length"``, …
    token_ids : list of int or None
        Only where the request said ``return_token_ids``.
    logprobs : AnsweredTokens or None
        Only where the request said ``logprobs``.
    """

    message: AnswerMessage
    finish_reason: str | None = None
    token_ids: list[int] | None = None
    logprobs: AnsweredTokens | None = None


class ChatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a ``chat.completion`` that are read here; clients get the whole document."""

    choices: list[Choice]
    usage: Usage | None = None


class Answered(msgspec.Struct, frozen=True, kw_only=True, tag_field="said", tag="answered"):
    """A whole answer.

    Attributes
    ----------
    revision : str
        Checkpoint that gave it.
    document : Raw
        The ``chat.completion`` as JSON; passed on to the client as it is.
    """

    revision: str
    document: msgspec.Raw

    def read(self) -> ChatAnswer:
        """Return what is read of the document."""
        return msgspec.json.decode(self.document, type=ChatAnswer)


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag_field="said", tag="begun"):
    """A stream begins; its events follow.  `revision` is the checkpoint that gives it."""

    revision: str


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="said", tag="failed"):
    """A request was not answered.

    Attributes
    ----------
    message : str
        What the client is told.
    status : int
        400 to 499: the request's fault.  503: try another engine.  Any other: this engine's fault.
    dead : bool
        Whether the engine is gone.
    """

    message: str
    status: int
    dead: bool = False


Reply: TypeAlias = Answered | Begun | Failed
_REPLY: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


def read_reply(frame: bytes) -> Reply:
    """Return the reply that `msgspec.json.encode` wrote.

    Raises
    ------
    msgspec.DecodeError
        If it is none.
    """
    return _REPLY.decode(frame)


def raised_failure(error: Exception, body: ChatBody, *, dead: bool) -> Failed:
    """Return the failure that an exception stands for.

    Parameters
    ----------
    error : Exception
        What the engine raised.
    body : dict
        The request.
    dead : bool
        Whether the engine is gone.
    """
    if dead:
        return Failed(message=f"The engine died: {error}", status=503, dead=True)
    names = {kind.__name__ for kind in type(error).__mro__}
    form = (body.get("response_format") or {}).get("type", "text")
    if _UNGENERATED in names and form != "text":
        # A grammar with no way on: vLLM finds out at the first token and names no reason.
        return Failed(
            message="The answer must be able to follow its JSON schema, but there is none that does. "
            "Correct or simplify response_format.",
            status=400,
        )
    if names & _REFUSED:
        return Failed(
            message=f"The engine must be able to take a request, but: {error}. Correct it.", status=400
        )
    return Failed(message="The engine failed at this request.", status=500)

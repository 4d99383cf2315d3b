"""What an engine says of a request that it could not answer, as plain data.

Owns that form, and whose fault an exception is.  Knows neither Ray nor vLLM: exceptions are told by name.
"""

from __future__ import annotations

from typing import Any

_REFUSED = frozenset(
    {"ValueError", "TypeError", "OverflowError", "RecursionError", "VLLMClientError", "TemplateError"}
)
"""What vLLM raises, itself or below, at a request that it cannot take."""
_UNGENERATED = "GenerationError"


def failure(message: str, status: int, *, dead: bool = False) -> dict[str, Any]:
    """Return the data of a failure.

    Parameters
    ----------
    message : str
        What the client is told.
    status : int
        400 to 499: the request's fault.  503: try another engine.  Any other: this engine's fault.
    dead : bool
        Whether the engine is gone.
    """
    return {"error": {"message": message, "status": status, "dead": dead}}


def raised_failure(error: Exception, body: dict[str, Any], *, dead: bool) -> dict[str, Any]:
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
        return failure(f"The engine died: {error}", 503, dead=True)
    names = {kind.__name__ for kind in type(error).__mro__}
    form = (body.get("response_format") or {}).get("type", "text")
    if _UNGENERATED in names and form != "text":
        # A grammar with no way on: vLLM finds out at the first token and names no reason.
        return failure(
            "The answer must be able to follow its JSON schema, but there is none that does. Correct or "
            "simplify response_format.",
            400,
        )
    if names & _REFUSED:
        return failure(f"The engine must be able to take a request, but: {error}. Correct it.", 400)
    return failure("The engine failed at this request.", 500)

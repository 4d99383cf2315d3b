"""What goes wrong with a request, and how it is told: status, headers, and the body OpenAI's clients expect.

Owns `HttpError` and the translation of aiopt's errors.  Knows no route.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from aiopt.errors import AioptError, AnalystError, InputError
from aiopt.serving.backend import (
    EngineRequestError,
    ModelUnavailableError,
    SwapRefusedError,
    UnknownModelError,
)

REALM = 'Bearer realm="aiopt"'


class HttpError(AioptError):
    """A request is answered with an error.

    Parameters
    ----------
    status : int
        HTTP status.
    message : str
        Rule, value, remedy.
    code : str
        Machine-readable reason, also the label of the metric of refused requests.
    param : str or None
        Field at fault.
    headers : mapping of str to str
        Further headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})
        super().__init__(message)

    def body(self) -> bytes:
        """Return the JSON body."""
        return msgspec.json.encode(error_document(self.status, str(self), self.code, self.param))


def error_document(status: int, message: str, code: str, param: str | None = None) -> dict[str, Any]:
    """Return OpenAI's error object; ``type`` follows from the status."""
    kinds = {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        429: "rate_limit_error",
    }
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def invalid(message: str, *, param: str | None = None, code: str = "invalid_request") -> HttpError:
    """Return a 400."""
    return HttpError(400, message, code=code, param=param)


def busy(message: str, *, code: str, retry_after_s: float) -> HttpError:
    """Return a 429 that says when to try again."""
    return HttpError(429, message, code=code, headers=retry_after(retry_after_s))


def retry_after(seconds: float) -> dict[str, str]:
    """Return the header; whole seconds, at least one, as HTTP wants them."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def unexpected(request_id: str) -> HttpError:
    """Return a 500, which tells of a defect nothing but where the log has it."""
    return HttpError(
        500,
        f"The request failed inside the server. Report the request id {request_id} to its operator.",
        code="internal_error",
    )


def translate(error: AioptError) -> HttpError:
    """Return the HTTP form of an error raised on purpose."""
    message = str(error)
    match error:
        case HttpError():
            return error
        case UnknownModelError():
            return HttpError(404, message, code="model_not_found", param="model")
        case EngineRequestError(status=status):
            return HttpError(status, message, code="engine_refused")
        case SwapRefusedError():
            return HttpError(409, message, code="operation_refused")
        case ModelUnavailableError(retry_after_s=seconds):
            return HttpError(503, message, code="model_unavailable", headers=retry_after(seconds))
        case AnalystError():
            return HttpError(502, message, code="no_valid_answer")
        case InputError():
            return HttpError(400, message, code="invalid_request")
    return HttpError(500, message, code="failed")

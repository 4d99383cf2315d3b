"""Where the HTTP endpoint of this project listens, its tokens, and a client of its admin calls.

Owns ``STATE_DIR/serving.json``, the two token files beside it (mode 0600) and the variables that replace
them.  Knows neither Ray nor vLLM, and of the endpoint only its HTTP surface.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx
import msgspec

from aiopt.errors import ClusterError, ConfigError, InputError
from aiopt.files import atomic_write_bytes
from aiopt.serving.backend import Operation, OperationKind, ServingStatus, SwapRefusedError, UnknownModelError

T = TypeVar("T")

TokenKind = Literal["api", "admin"]

TOKEN_FILES: dict[TokenKind, str] = {"api": "serve-token", "admin": "serve-admin-token"}
TOKEN_VARIABLES: dict[TokenKind, str] = {"api": "AIOPT_SERVE_TOKEN", "admin": "AIOPT_SERVE_ADMIN_TOKEN"}
URL_VARIABLE = "AIOPT_SERVE_URL"

POLL_S = 0.3
PATIENCE_S = 60.0
"""How long an endpoint that stops answering is asked again while an operation is followed."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What `aiopt serve up` started: content of ``STATE_DIR/serving.json``.

    Attributes
    ----------
    url : str
        ``http://HOST:PORT``.
    profile : str
        Profile it was started with.
    started_cluster : bool
        Whether the Ray head was started for it, so that `aiopt serve down` stops that too.
    """

    url: str
    profile: str
    started_cluster: bool


def read_endpoint(folder: Path) -> Endpoint | None:
    """Return what was started from this state folder, None if nothing was.

    Raises
    ------
    ClusterError
        If the file cannot be read.
    """
    path = _endpoint_path(folder)
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Endpoint)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        msg = f"Cannot read the state of serving in {path} ({error}). Delete the file."
        raise ClusterError(msg) from error


def write_endpoint(folder: Path, endpoint: Endpoint | None) -> None:
    """Record what was started; None removes the record."""
    path = _endpoint_path(folder)
    if endpoint is None:
        path.unlink(missing_ok=True)
    else:
        atomic_write_bytes(path, msgspec.json.format(msgspec.json.encode(endpoint)))


def endpoint_url(folder: Path, given: str | None = None) -> str:
    """Return the base URL: argument, else ``AIOPT_SERVE_URL``, else what was started from this folder.

    Raises
    ------
    InputError
        If none of them names one.
    """
    url = given or os.environ.get(URL_VARIABLE)
    if url is None:
        found = read_endpoint(folder)
        if found is None:
            msg = (
                f"No endpoint is known: nothing was started from here. Give --url, set {URL_VARIABLE}, or "
                "start one: aiopt serve up --profile cpu"
            )
            raise InputError(msg)
        url = found.url
    if not url.startswith(("http://", "https://")):
        raise InputError(f"The URL must start with http:// or https://, but is {url!r}. Correct --url.")
    return url.rstrip("/")


def named_checkpoint(given: str) -> str:
    """Return a checkpoint as the endpoint understands it: a folder that is here whole, all else as given."""
    return str(Path(given).resolve()) if given and Path(given).exists() else given


def token_path(folder: Path, kind: TokenKind) -> Path:
    """Return the file of a token."""
    return folder / TOKEN_FILES[kind]


def create_token(folder: Path, kind: TokenKind) -> str:
    """Return the token, making one (mode 0600) where neither variable nor file has it."""
    path = token_path(folder, kind)
    if not os.environ.get(TOKEN_VARIABLES[kind]) and not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_urlsafe(32))
    return read_token(folder, kind)


def read_token(folder: Path, kind: TokenKind) -> str:
    """Return the token of the variable, else of the file.

    Raises
    ------
    ConfigError
        If there is neither.
    """
    token = os.environ.get(TOKEN_VARIABLES[kind], "").strip()
    if token:
        return token
    path = token_path(folder, kind)
    if not path.is_file():
        msg = (
            f"There is no {kind} token: {path} does not exist and {TOKEN_VARIABLES[kind]} is not set. "
            "`aiopt serve up` makes it; for an endpoint elsewhere set the variable."
        )
        raise ConfigError(msg)
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return path.read_text().strip()


class AdminClient:
    """The admin calls of an endpoint.

    Parameters
    ----------
    url : str
        Base URL.
    token : str
        Admin token.
    timeout_s : float
        Longest wait for one answer.
    """

    def __init__(self, url: str, token: str, *, timeout_s: float = 30.0) -> None:
        self._url = url
        self._client = httpx.Client(
            base_url=url, timeout=timeout_s, headers={"Authorization": f"Bearer {token}"}
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def status(self) -> ServingStatus:
        """Return models, engines and recent operations."""
        return self._call("GET", "/admin/models", ServingStatus)

    def begin(
        self, kind: OperationKind, *, model: str | None, checkpoint: str = "", wait: bool = True
    ) -> Operation:
        """Start an operation; of a park or wake, `checkpoint` is the holder.

        Raises
        ------
        SwapRefusedError, UnknownModelError, InputError, ClusterError
            As the endpoint answers.
        """
        body: dict[str, Any] = {"wait": wait}
        if model is not None:
            body["model"] = model
        if kind in ("park", "wake"):
            body["holder"] = checkpoint
        elif kind != "rollback":
            body["checkpoint"] = checkpoint
        return self._call("POST", f"/admin/models/{kind}", Operation, body)

    def follow(self, operation: Operation) -> Iterator[Operation]:
        """Yield an operation each time it has changed, until it has ended.

        An endpoint that does not answer for a while (it may be restarting) is asked again for
        `PATIENCE_S` seconds.
        """
        yield operation
        silent_since: float | None = None
        while operation.state not in ("done", "refused"):
            time.sleep(POLL_S)
            try:
                found = self._call("GET", f"/admin/operations/{operation.operation_id}", Operation)
            except ClusterError:
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since > PATIENCE_S:
                    raise
                continue
            silent_since = None
            if found != operation:
                operation = found
                yield operation

    def _call(self, method: str, path: str, type_: type[T], body: dict[str, Any] | None = None) -> T:
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            msg = (
                f"The endpoint does not answer at {self._url}: {reason}. Is it up? See `aiopt serve status`."
            )
            raise ClusterError(msg) from error
        if answer.is_success:
            try:
                return msgspec.json.decode(answer.content, type=type_)
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                msg = f"{self._url}{path} does not answer as aiopt does: {error}. Is this its URL?"
                raise ClusterError(msg) from error
        raise _error(answer)


@contextmanager
def admin_client(folder: Path, url: str | None) -> Iterator[AdminClient]:
    """Yield a client of the endpoint of this state folder, or of the URL given."""
    client = AdminClient(endpoint_url(folder, url), read_token(folder, "admin"))
    try:
        yield client
    finally:
        client.close()


def _error(answer: httpx.Response) -> Exception:
    """Return the error an answer stands for, with the endpoint's own message."""
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"{answer.url} answered {answer.status_code} {answer.reason_phrase}. Is this aiopt's URL?"
    match answer.status_code:
        case 404:
            return UnknownModelError(message)
        case 409:
            return SwapRefusedError(message)
        case status if 400 <= status < 500 and status != 429:
            return InputError(message)
    return ClusterError(message)


def _endpoint_path(folder: Path) -> Path:
    return folder / "serving.json"

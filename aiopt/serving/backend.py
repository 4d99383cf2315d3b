"""The seam between the HTTP gateway and the engines: what a gateway may ask for, and what can go wrong.

Owns the vocabulary of serving (model card, lease, operation, status) and its errors.  Knows neither HTTP nor
Ray nor vLLM, so the gateway is tested over a fake and the engines without a gateway.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from aiopt.errors import EXIT_FAILED, ClusterError, InputError
from aiopt.serving.replies import Answered, ChatBody

if TYPE_CHECKING:
    from aiopt.serving.patience import Patience

OperationKind = Literal["load", "swap", "rollback", "park", "wake"]
OperationState = Literal["waiting", "running", "done", "refused"]
Phase = Literal[
    "validate", "memory", "reference", "load", "wake", "probe", "flip", "drain", "retire", "sleep"
]


class UnknownModelError(InputError):
    """A request names a model that is neither served nor an alias.  HTTP 404."""


class EngineRequestError(InputError):
    """The engine refused this request: prompt too long, image unusable, parameter out of range.

    Parameters
    ----------
    message : str
        Rule, value, remedy.
    status : int
        HTTP status, 400 to 499.
    """

    def __init__(self, message: str, *, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


class ModelUnavailableError(ClusterError):
    """No engine can take the request now: starting, restarting, overloaded.  HTTP 503 with Retry-After.

    Parameters
    ----------
    message : str
        What is missing and why.
    retry_after_s : float
        When to try again.
    """

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class EngineFailureError(ClusterError):
    """An engine that lives failed at this request, through no fault of the request.  HTTP 500."""


class SwapRefusedError(InputError):
    """A model operation was refused or failed; the model that served before still serves.  HTTP 409."""

    # Nothing about the command is wrong where another operation runs.
    exit_code = EXIT_FAILED


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """One served model.

    Attributes
    ----------
    name : str
        Served name of the slot, e.g. ``"minicpm"``.
    aliases : tuple of str
        Further names requests may use.
    model_id : str
        Name of the checkpoint behind it (hub id or folder name): header ``X-Model-Id``.
    revision : str
        Hex content hash of the checkpoint: header ``X-Model-Revision``.
    architecture : str
        As in the checkpoint's ``config.json``, e.g. ``"MiniCPMV4_6ForConditionalGeneration"``.
    images : bool
        Whether it reads images.
    max_context_tokens : int
        Prompt and reply together.
    created : int
        When its route was last set, Unix seconds.
    calibration : str
        Content of ``aiopt_calibration.json`` in its folder, as it was when the route was set; empty where
        there is none.  It is carried, not read.
    """

    name: str
    aliases: tuple[str, ...]
    model_id: str
    revision: str
    architecture: str
    images: bool
    max_context_tokens: int
    created: int
    calibration: str = ""


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One engine that exists, serving or not.

    Attributes
    ----------
    engine_id : str
        Name of its Serve application.
    slot : str
        Served name it belongs to.
    model_id, revision : str
        As in `ModelCard`.
    role : {"serving", "previous", "standby", "loading", "draining", "asleep"}
        What it does.
    in_flight : int
        Requests it works on.
    restarts : int
        Times a replica of it was started again.
    """

    engine_id: str
    slot: str
    model_id: str
    revision: str
    role: Literal["serving", "previous", "standby", "loading", "draining", "asleep"]
    in_flight: int
    restarts: int = 0


class PhaseTime(msgspec.Struct, frozen=True, kw_only=True):
    """How long a phase of an operation took."""

    phase: Phase
    seconds: float


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A load, swap or rollback: what was asked, how far it is, how it ended.

    Attributes
    ----------
    operation_id : str
        To ask for it again.
    kind : {"load", "swap", "rollback", "park", "wake"}
        `load` proves a checkpoint and keeps its engine as standby; `swap` also routes to it; `park` drains
        the slot's engines and frees their memory, `wake` brings the serving one back, proved.
    slot : str
        Served name.
    checkpoint : str
        What was asked for, as given; of `park` and `wake` for whom.
    state : {"waiting", "running", "done", "refused"}
        ``refused``: the model that served before still serves.
    phase : str or None
        Phase it is in, or in which it was refused.
    phases : tuple of PhaseTime
        Finished phases in order.
    message : str
        Why it was refused, or what was done.
    from_revision, to_revision : str
        Revisions before and after; empty while unknown.
    started_s : float
        Unix seconds.
    """

    operation_id: str
    kind: OperationKind
    slot: str
    checkpoint: str
    state: OperationState
    phase: Phase | None = None
    phases: tuple[PhaseTime, ...] = ()
    message: str = ""
    from_revision: str = ""
    to_revision: str = ""
    started_s: float = 0.0


class ServingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `aiopt model status` and ``GET /admin/models`` show."""

    cards: tuple[ModelCard, ...]
    engines: tuple[EngineInfo, ...]
    operations: tuple[Operation, ...]


class Lease(Protocol):
    """One engine held for one try at a request, so that a swap waits for it.

    Use as ``async with``; leaving the block releases the engine.  Everything a try gets comes from the engine
    it started on.  A lease asks its engine once: who holds it tries again, on a new lease.
    """

    card: ModelCard

    async def __aenter__(self) -> Lease: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def chat(self, body: ChatBody) -> Answered:
        """Answer an OpenAI chat-completion request without streaming.

        Raises
        ------
        EngineRequestError
            If the engine refuses the request.
        ModelUnavailableError
            If the engine died; nothing was answered yet, so the request may be tried on a new lease.
        """
        ...

    def stream(self, body: ChatBody) -> AsyncGenerator[bytes, None]:
        """Answer with server-sent events, one JSON chunk each, ``data: [DONE]`` last.  Close it to stop it.

        Raises
        ------
        EngineRequestError, ModelUnavailableError
            As `chat`, and only before the first event; later failures arrive as an error event.
        """
        ...


class Backend(Protocol):
    """What stands behind a gateway."""

    async def cards(self) -> list[ModelCard]:
        """Return the served models; empty while none is ready."""
        ...

    def patience(self) -> Patience:
        """Return how long a request that begins now may wait for an engine, over all its tries."""
        ...

    async def acquire(self, model: str, patience: Patience) -> Lease:
        """Hold the engine that serves `model` (a served name or alias).

        Raises
        ------
        UnknownModelError
            If nothing of that name is configured.
        ModelUnavailableError
            If its engine is not ready before the patience is used up.
        """
        ...

    async def status(self) -> ServingStatus:
        """Return models, engines and recent operations."""
        ...

    async def begin(
        self, kind: OperationKind, *, slot: str, checkpoint: str = "", wait: bool = True
    ) -> Operation:
        """Start an operation and return at once with it.

        Parameters
        ----------
        kind : {"load", "swap", "rollback", "park", "wake"}
            What to do.
        slot : str
            Served name or alias.
        checkpoint : str
            Hub id or local folder; empty for a rollback; of `park` and `wake` for whom: a hold that is not
            renewed, by parking again, for `aiopt.serving.swap.parking.HOLD_S` seconds ends by itself.
        wait : bool
            Queue behind a running operation; otherwise `SwapRefusedError` while one runs.

        Raises
        ------
        UnknownModelError, SwapRefusedError
            If the slot is unknown, or another operation runs and `wait` is false.
        """
        ...

    async def operation(self, operation_id: str) -> Operation:
        """Return an operation.

        Raises
        ------
        UnknownModelError
            If there is none of that id.
        """
        ...

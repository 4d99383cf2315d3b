"""A backend in memory: engines that answer at once, wait, die or refuse, and count what they were given."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Any

import msgspec

from aiopt.serving.backend import (
    EngineInfo,
    EngineRequestError,
    Lease,
    ModelCard,
    ModelUnavailableError,
    Operation,
    OperationKind,
    PhaseTime,
    ServingStatus,
    SwapRefusedError,
    UnknownModelError,
)
from aiopt.serving.patience import Patience
from aiopt.serving.replies import Answered

VISION = ModelCard(
    name="minicpm",
    aliases=("gpt-4o",),
    model_id="openbmb/tiny-v",
    revision="a" * 64,
    architecture="MiniCPMV4_6ForConditionalGeneration",
    images=True,
    max_context_tokens=2048,
    created=1_700_000_000,
)
TEXT = msgspec.structs.replace(
    VISION,
    name="text",
    aliases=(),
    model_id="tiny-t",
    revision="b" * 64,
    architecture="MiniCPM3ForCausalLM",
    images=False,
)
ANALYSIS_REPLY = json.dumps(
    {
        "regime": {"trend": "up", "volatility": "normal"},
        "patterns": [],
        "levels": [],
        "bias": "long",
        "confidence": 0.7,
        "rationale": "Higher lows.",
    }
)
STRATEGY_REPLY = json.dumps(
    {
        "decision": "propose",
        "family": "ema_cross_atr",
        "sides": "both",
        "params": [],
        "rationale": "A trend.",
    }
)
REPLIES = {"analysis": ANALYSIS_REPLY, "strategy": STRATEGY_REPLY}


class FakeLease:
    def __init__(self, backend: FakeBackend, card: ModelCard) -> None:
        self.card = card
        self._backend = backend

    async def __aenter__(self) -> Lease:
        self._backend.held += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._backend.held -= 1

    async def _work(self, body: dict[str, Any]) -> str:
        backend = self._backend
        backend.bodies.append(body)
        if backend.deaths:
            backend.deaths -= 1
            raise ModelUnavailableError("The engine died.", retry_after_s=3.0)
        if backend.fault is not None:
            raise backend.fault
        words = len(json.dumps(body["messages"]).split())
        if words > self.card.max_context_tokens:
            raise EngineRequestError(
                f"Prompt and reply must fit {self.card.max_context_tokens} tokens, but the prompt has "
                f"{words}. "
                "Shorten it."
            )
        backend.working += 1
        backend.most = max(backend.most, backend.working)
        try:
            await backend.release.wait()
            await asyncio.sleep(backend.delay_s)
        except asyncio.CancelledError:
            backend.aborted += 1
            raise
        finally:
            backend.working -= 1
        wanted = (body.get("response_format") or {}).get("json_schema", {}).get("name", "")
        return backend.reply(body) if backend.reply is not None else REPLIES.get(wanted, "Hello there")

    async def chat(self, body: dict[str, Any]) -> Answered:
        text = await self._work(body)
        choices = [
            {"index": number, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for number in range(body.get("n") or 1)
        ]
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        document = {
            "id": f"chatcmpl-{next(self._backend.numbers)}",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": self.card.name,
            "choices": choices,
            "usage": usage,
        }
        return Answered(revision=self.card.revision, document=msgspec.Raw(msgspec.json.encode(document)))

    async def stream(self, body: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        text = await self._work(body)
        head = {"id": "chatcmpl-s", "object": "chat.completion.chunk", "created": 1, "model": self.card.name}
        try:
            for word in text.split(" "):
                delta = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
                yield _event({**head, "choices": [delta]})
                await asyncio.sleep(self._backend.delay_s)
                if self._backend.break_stream:
                    raise RuntimeError("secret detail of the engine")
            if (body.get("stream_options") or {}).get("include_usage"):
                usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
                yield _event({**head, "choices": [], "usage": usage})
            yield b"data: [DONE]\n\n"
        except (asyncio.CancelledError, GeneratorExit):
            self._backend.aborted += 1
            raise


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


class FakeBackend:
    """Two models, `minicpm` (images) and `text`.

    `ready` False: nothing serves.  `release` cleared: engines hold what they are given.  `deaths`: so many
    requests die before they answer, and are tried again for `patience_s`.  `fault`: raised by every request.
    """

    def __init__(self) -> None:
        self.ready = True
        self.served = {"minicpm": VISION, "text": TEXT}
        self.release = asyncio.Event()
        self.release.set()
        self.delay_s = 0.0
        self.deaths = 0
        self.patience_s = 1.0
        self.acquired = 0
        self.fault: BaseException | None = None
        self.break_stream = False
        self.reply: Callable[[dict[str, Any]], str] | None = None
        self.bodies: list[dict[str, Any]] = []
        self.held = self.working = self.most = self.aborted = 0
        self.numbers = itertools.count()
        self.operations: dict[str, Operation] = {}
        self.running = False

    async def cards(self) -> list[ModelCard]:
        return list(self.served.values()) if self.ready else []

    def _card(self, model: str) -> ModelCard:
        for card in self.served.values():
            if model == card.name or model in card.aliases:
                return card
        known = ", ".join(self.served)
        raise UnknownModelError(f"A model must be a served one, but got {model!r:.80}. Known: {known}.")

    def patience(self) -> Patience:
        return Patience(self.patience_s)

    async def acquire(self, model: str, patience: Patience) -> Lease:
        self.acquired += 1
        card = self._card(model)
        if not self.ready:
            raise ModelUnavailableError("No engine serves yet.", retry_after_s=2.5)
        return FakeLease(self, card)

    async def status(self) -> ServingStatus:
        engine = EngineInfo(
            engine_id="engine-1",
            slot="minicpm",
            model_id=VISION.model_id,
            revision=VISION.revision,
            role="serving",
            in_flight=self.working,
            restarts=1,
        )
        cards = tuple(await self.cards())
        return ServingStatus(cards=cards, engines=(engine,), operations=tuple(self.operations.values()))

    async def begin(
        self, kind: OperationKind, *, slot: str, checkpoint: str = "", wait: bool = True
    ) -> Operation:
        card = self._card(slot)
        if self.running and not wait:
            raise SwapRefusedError("One operation runs at a time, but another does. Wait for it.")
        operation = Operation(
            operation_id=f"op-{next(self.numbers)}",
            kind=kind,
            slot=card.name,
            checkpoint=checkpoint,
            state="done",
            phases=(PhaseTime(phase="probe", seconds=0.25), PhaseTime(phase="flip", seconds=0.001)),
            message="Done.",
            from_revision=card.revision,
            to_revision="c" * 64,
            started_s=1.0,
        )
        self.operations[operation.operation_id] = operation
        return operation

    async def operation(self, operation_id: str) -> Operation:
        found = self.operations.get(operation_id)
        if found is None:
            raise UnknownModelError(
                f"No operation has the id {operation_id!r:.80}. List them: /admin/models."
            )
        return found

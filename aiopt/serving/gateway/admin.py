"""Model operations over HTTP: what is served, load, swap, rollback, how far an operation is.

Owns the bodies of these calls.  What an operation does is the backend's.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aiopt.serving.backend import Backend, ModelCard, OperationKind
from aiopt.serving.gateway.chat import model_headers
from aiopt.serving.gateway.exchange import Exchange
from aiopt.serving.gateway.failures import HttpError
from aiopt.serving.gateway.settings import GatewaySettings

OPERATIONS_PATH = "/admin/operations/"

Slot = Annotated[str, Meta(min_length=1, max_length=256)]


class CheckpointOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a load or swap.

    Attributes
    ----------
    checkpoint : str
        Hub id (``owner/name`` or ``owner/name@revision``) or folder on the serving machine.
    model : str or None
        Served name; None for the default model.
    wait : bool
        Queue behind a running operation; otherwise 409 while one runs.
    """

    checkpoint: Annotated[str, Meta(min_length=1, max_length=4096)]
    model: Slot | None = None
    wait: bool = True


class RollbackOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a rollback: as a swap, to the model before."""

    model: Slot | None = None
    wait: bool = True


class HolderOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a park or wake.

    Attributes
    ----------
    holder : str
        Who needs the memory.  Parking again renews the hold; waking with an empty holder ends all of them.
    model : str or None
        Served name; None for the default model.
    wait : bool
        Queue behind a running operation; otherwise 409 while one runs.
    """

    holder: Annotated[str, Meta(max_length=256)] = ""
    model: Slot | None = None
    wait: bool = True


class Administration:
    """Model lists and operations of one gateway.

    Parameters
    ----------
    backend : Backend
        The engines.
    settings : GatewaySettings
        The default model.
    """

    def __init__(self, backend: Backend, settings: GatewaySettings) -> None:
        self._backend = backend
        self._settings = settings

    async def list_models(self, exchange: Exchange) -> None:
        """Answer ``GET /v1/models``: each served name and alias."""
        cards = await self._backend.cards()
        data = [model_document(card, name) for card in cards for name in (card.name, *card.aliases)]
        await exchange.reply(200, {"object": "list", "data": data})

    async def show_model(self, exchange: Exchange) -> None:
        """Answer ``GET /v1/models/{model}``."""
        name = exchange.scope["path_params"]["model"]
        for card in await self._backend.cards():
            if name == card.name or name in card.aliases:
                exchange.headers.update(model_headers(card))
                await exchange.reply(200, model_document(card, name))
                return
        raise HttpError(
            404,
            f"The model must be a served one, but is {name!r:.80}. GET /v1/models lists them.",
            code="model_not_found",
            param="model",
        )

    async def status(self, exchange: Exchange) -> None:
        """Answer ``GET /admin/models``."""
        await exchange.reply(200, await self._backend.status())

    async def load(self, exchange: Exchange) -> None:
        """Answer ``POST /admin/models/load``."""
        order = await exchange.json(CheckpointOrder)
        await self._begin(exchange, "load", order.model, order.checkpoint, wait=order.wait)

    async def swap(self, exchange: Exchange) -> None:
        """Answer ``POST /admin/models/swap``."""
        order = await exchange.json(CheckpointOrder)
        await self._begin(exchange, "swap", order.model, order.checkpoint, wait=order.wait)

    async def rollback(self, exchange: Exchange) -> None:
        """Answer ``POST /admin/models/rollback``."""
        order = await exchange.json(RollbackOrder)
        await self._begin(exchange, "rollback", order.model, "", wait=order.wait)

    async def park(self, exchange: Exchange) -> None:
        """Answer ``POST /admin/models/park``."""
        order = await exchange.json(HolderOrder)
        await self._begin(exchange, "park", order.model, order.holder, wait=order.wait)

    async def wake(self, exchange: Exchange) -> None:
        """Answer ``POST /admin/models/wake``."""
        order = await exchange.json(HolderOrder)
        await self._begin(exchange, "wake", order.model, order.holder, wait=order.wait)

    async def operation(self, exchange: Exchange) -> None:
        """Answer ``GET /admin/operations/{operation_id}``."""
        operation_id = exchange.scope["path_params"]["operation_id"]
        await exchange.reply(200, await self._backend.operation(operation_id))

    async def _begin(
        self, exchange: Exchange, kind: OperationKind, model: str | None, checkpoint: str, *, wait: bool
    ) -> None:
        slot = model or self._settings.default_model
        operation = await self._backend.begin(kind, slot=slot, checkpoint=checkpoint, wait=wait)
        where = {"Location": OPERATIONS_PATH + operation.operation_id}
        await exchange.reply(202, operation, headers=where)


def model_document(card: ModelCard, name: str) -> dict[str, Any]:
    """Return a model as OpenAI lists it, with what ours has besides."""
    return {
        "id": name,
        "object": "model",
        "created": card.created,
        "owned_by": "aiopt",
        "root": card.model_id,
        "revision": card.revision,
        "architecture": card.architecture,
        "images": card.images,
        "max_model_len": card.max_context_tokens,
    }

"""What tells about the gateway itself: health, metrics, the published schema.  Owns these three answers."""

from __future__ import annotations

from typing import Any

from aiopt.serving.backend import Backend
from aiopt.serving.gateway.exchange import Exchange
from aiopt.serving.gateway.failures import retry_after
from aiopt.serving.gateway.metrics import CONTENT_TYPE, GatewayMetrics

STARTING_RETRY_S = 5.0


class Observing:
    """Health, metrics and schema of one gateway.

    Parameters
    ----------
    backend : Backend
        The engines.
    metrics : GatewayMetrics
        Counters.
    document : dict
        The OpenAPI document.
    """

    def __init__(self, backend: Backend, metrics: GatewayMetrics, document: dict[str, Any]) -> None:
        self._backend = backend
        self._metrics = metrics
        self._document = document

    async def health(self, exchange: Exchange) -> None:
        """Answer ``GET /healthz``."""
        ready = bool(await self._backend.cards())
        headers = {} if ready else retry_after(STARTING_RETRY_S)
        status = "ready" if ready else "starting"
        await exchange.reply(200 if ready else 503, {"status": status}, headers=headers)

    async def metrics(self, exchange: Exchange) -> None:
        """Answer ``GET /metrics``."""
        self._metrics.observe_status(await self._backend.status())
        await exchange.reply_bytes(200, self._metrics.text(), CONTENT_TYPE)

    async def schema(self, exchange: Exchange) -> None:
        """Answer ``GET /openapi.json``."""
        await exchange.reply(200, self._document)

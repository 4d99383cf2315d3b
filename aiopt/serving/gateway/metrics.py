"""What the endpoint counts, in Prometheus' text format.  Owns the names; knows no route's meaning.

Models are labelled by served name, never by what a client wrote, so clients cannot make series.
"""

from __future__ import annotations

from collections import OrderedDict

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from aiopt.serving.backend import ServingStatus
from aiopt.serving.replies import Usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_PHASE_SECONDS = (0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_REMEMBERED_OPERATIONS = 4096


class GatewayMetrics:
    """Counters of one gateway process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        count, gauge, histogram = self._count, self._gauge, self._histogram
        self.requests = count("aiopt_http_requests", "Requests answered.", "route", "method", "status")
        self.seconds = histogram(
            "aiopt_http_request_seconds", "From a request's head to its answer's end.", _SECONDS, "route"
        )
        self.in_flight = gauge("aiopt_http_in_flight", "Requests being answered.")
        self.slots = gauge("aiopt_model_requests_in_flight", "Model requests that hold a slot.")
        self.waiting = gauge("aiopt_model_requests_waiting", "Model requests in the queue.")
        self.tokens = count("aiopt_tokens", "Tokens of answered chats, by kind.", "model", "kind")
        self.ttft = histogram(
            "aiopt_time_to_first_token_seconds",
            "From a streamed chat's slot to its first event.",
            _SECONDS,
            "model",
        )
        self.rejected = count(
            "aiopt_rejected_requests", "Requests answered with an error, by code.", "reason"
        )
        self.disconnects = count("aiopt_client_disconnects", "Requests whose client left before the end.")
        self.retries = count("aiopt_engine_retries", "Chats tried again because their engine died.", "model")
        self.analyses = count("aiopt_analyses", "Items of /analyze, by who answered.", "source")
        self.operations = count(
            "aiopt_model_operations", "Finished loads, swaps, rollbacks.", "kind", "result"
        )
        self.phases = histogram(
            "aiopt_model_operation_phase_seconds",
            "Time of each phase of finished operations.",
            _PHASE_SECONDS,
            "kind",
            "phase",
        )
        self.models = gauge(
            "aiopt_model_info", "1 for each served model.", "model", "model_id", "revision", "architecture"
        )
        self.engines = gauge(
            "aiopt_engine_requests_in_flight",
            "Requests an engine works on.",
            "engine",
            "model",
            "revision",
            "role",
        )
        self.restarts = gauge(
            "aiopt_engine_restarts", "Times an engine's replica was started again.", "engine"
        )
        self._seen: OrderedDict[str, None] = OrderedDict()

    def _count(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def first_token(self, model: str, seconds: float) -> None:
        """Record the time to a stream's first event."""
        self.ttft.labels(model).observe(seconds)

    def retried(self, model: str) -> None:
        """Count a chat tried on another engine."""
        self.retries.labels(model).inc()

    def count_usage(self, model: str, usage: Usage | None) -> None:
        """Add an answer's tokens, as the engine counted them."""
        if usage is not None:
            self.tokens.labels(model, "prompt").inc(usage.prompt_tokens or 0)
            self.tokens.labels(model, "completion").inc(usage.completion_tokens or 0)

    def observe_status(self, status: ServingStatus) -> None:
        """Take over what the backend says about models, engines and finished operations, each once."""
        self.models.clear()
        for card in status.cards:
            self.models.labels(card.name, card.model_id, card.revision, card.architecture).set(1)
        self.engines.clear()
        self.restarts.clear()
        for engine in status.engines:
            labels = (engine.engine_id, engine.slot, engine.revision, engine.role)
            self.engines.labels(*labels).set(engine.in_flight)
            self.restarts.labels(engine.engine_id).set(engine.restarts)
        for operation in status.operations:
            if operation.state not in ("done", "refused") or operation.operation_id in self._seen:
                continue
            self._seen[operation.operation_id] = None
            if len(self._seen) > _REMEMBERED_OPERATIONS:
                self._seen.popitem(last=False)
            self.operations.labels(operation.kind, operation.state).inc()
            for phase in operation.phases:
                self.phases.labels(operation.kind, phase.phase).observe(phase.seconds)

    def text(self) -> bytes:
        """Return everything in the text format."""
        return generate_latest(self.registry)

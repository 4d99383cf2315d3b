"""Readings of markets over HTTP: `/analyze` for one or many, `/strategy` for what to do with one.

Owns how such a request becomes an `AnalysisRequest`, gets a slot and a chart, and how results and errors are
told.  The reading itself is `aiopt.analyst`'s.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import Any

import msgspec
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from aiopt.analyst import (
    Analysis,
    AnalysisRequest,
    AnalysisResult,
    AnalystSettings,
    ChatReply,
    ChatRequest,
    Refusal,
    RequestDocument,
    analyse,
    propose_strategy,
    request_from_document,
)
from aiopt.analyst.analysis import check_text
from aiopt.analyst.chat import SaidToken
from aiopt.analyst.checkpoint_calibration import (
    CALIBRATION_FILE,
    CheckpointCalibration,
    decode_calibration,
    fitting_prompt,
)
from aiopt.analyst.prompts import DEFAULT_PROMPT
from aiopt.analyst.schema import MAX_RATIONALE
from aiopt.analyst.windows import drawable
from aiopt.charts import render_chart
from aiopt.errors import AioptError, AnalysisRequestError, AnalystError, DataError
from aiopt.patterns import PATTERN_KINDS
from aiopt.serving.backend import Backend, Lease, ModelCard, ModelUnavailableError
from aiopt.serving.gateway.admission import Admission, Overloaded
from aiopt.serving.gateway.analysis_types import (
    AnalyzeBatch,
    AnalyzeOne,
    BatchItem,
    BatchResult,
    Reader,
    StrategyAnswer,
    StrategyOrder,
)
from aiopt.serving.gateway.chat import Chats, named_headers
from aiopt.serving.gateway.exchange import Exchange, decode_json
from aiopt.serving.gateway.failures import HttpError, error_document, invalid, translate, unexpected
from aiopt.serving.gateway.images import ImageDecoder
from aiopt.serving.gateway.metrics import GatewayMetrics
from aiopt.serving.gateway.settings import GatewaySettings
from aiopt.serving.replies import ChatAnswer, ChatBody, Choice, Usage
from aiopt.strategy.spec_yaml import plain_mapping
from aiopt.timeframe import parse_timeframe

JSON, FORM = "application/json", "multipart/form-data"

log = logging.getLogger("aiopt.gateway")


class Analyses:
    """Readings of one gateway.

    Parameters
    ----------
    backend : Backend
        The engines.
    chats : Chats
        Asks them.
    settings : GatewaySettings
        Limits.
    analyst : AnalystSettings
        Prompts and charts; its `models` are those of the request.
    admission : Admission
        Slots: one per market, however often its model is asked.
    metrics : GatewayMetrics
        Counters.
    images : ImageDecoder
        Decodes charts.
    """

    def __init__(
        self,
        backend: Backend,
        chats: Chats,
        settings: GatewaySettings,
        analyst: AnalystSettings,
        admission: Admission,
        metrics: GatewayMetrics,
        images: ImageDecoder,
    ) -> None:
        self._images = images
        self._backend = backend
        self._chats = chats
        self._settings = settings
        self._analyst = analyst
        self._admission = admission
        self._metrics = metrics

    async def analyze(self, exchange: Exchange) -> None:
        """Answer ``POST /analyze``."""
        self._admission.check()
        document, chart = await self._read(exchange)
        async with exchange.while_connected():
            reader = await self.reader(document.model, document.reader)
            if isinstance(document, AnalyzeBatch):
                batch = await self._batch(reader, document, exchange.request_id)
                results = [item.result for item in batch.items if item.result is not None]
                exchange.headers.update(_common_headers(results))
                await exchange.reply(200, batch)
            else:
                result = await reader.read(document, chart)
                exchange.headers.update(_common_headers([result]))
                await exchange.reply(200, result)

    async def strategy(self, exchange: Exchange) -> None:
        """Answer ``POST /strategy``."""
        self._admission.check()
        order = await exchange.json(StrategyOrder)
        _check_analysis(order.analysis)
        _check_timeframe(order.timeframe)
        async with exchange.while_connected():
            reader = await self.reader(order.model, order.reader)
            answer = await reader.propose(order)
            exchange.headers.update(named_headers(answer.model_id, answer.model_revision))
            await exchange.reply(200, answer)

    async def reader(self, model: str | None, reader: Reader) -> MarketReader:
        """Return who reads for this request.

        Raises
        ------
        UnknownModelError
            If the model named is not served.
        """
        name = model or self._settings.default_model
        images, unavailable, prompt = False, None, DEFAULT_PROMPT
        if reader == "model":
            try:
                card = await self._card(name)
                images, prompt = card.images, fitting_prompt(calibrations_of(card.calibration, card.model_id))
            except ModelUnavailableError as failure:
                unavailable = failure  # waited for once: the rules read, and the result says so
        settings = msgspec.structs.replace(
            self._analyst, models=(name,), picture=self._analyst.picture and images
        ).asking(prompt)
        return MarketReader(
            self._chats,
            settings,
            self._images,
            self._admission,
            self._metrics,
            model=reader == "model",
            unavailable=unavailable,
        )

    async def _card(self, name: str) -> ModelCard:
        for card in await self._backend.cards():
            if name == card.name or name in card.aliases:
                return card
        async with await self._backend.acquire(name, self._backend.patience()) as lease:
            return lease.card

    async def _batch(self, reader: MarketReader, batch: AnalyzeBatch, request_id: str) -> BatchResult:
        async def one(index: int, item: dict[str, Any]) -> BatchItem:
            try:
                try:
                    document = msgspec.convert(item, RequestDocument)
                except msgspec.ValidationError as failure:
                    raise invalid(f"items[{index}] must follow its schema, but: {failure}.") from failure
                return BatchItem(index=index, result=await reader.read(document))
            except AioptError as failure:
                return _failed_item(index, translate_analysis(failure))
            except Exception as failure:  # one item's defect is not the others' end
                log.error("request %s item %d failed", request_id, index, exc_info=failure)
                return _failed_item(index, unexpected(request_id))

        items = await asyncio.gather(*(one(index, item) for index, item in enumerate(batch.items)))
        failed = sum(item.result is None for item in items)
        return BatchResult(items=list(items), completed=len(items) - failed, failed=failed)

    async def _read(self, exchange: Exchange) -> tuple[AnalyzeOne | AnalyzeBatch, bytes | None]:
        """Return the request, and the chart of a form as it came."""
        content_type, raw = await exchange.body(JSON, FORM)
        depth = self._settings.max_json_depth
        if content_type.lower().startswith(FORM):
            raw, chart = await _form(exchange, raw, content_type)
            document = decode_json(raw, AnalyzeOne, max_depth=depth)
            if chart is not None and document.chart_png is not None:
                raise invalid(
                    "A form must hold the chart once, but has `chart` and `chart_png`. Leave one out."
                )
            return document, chart
        fields = decode_json(raw, dict[str, msgspec.Raw], max_depth=depth)
        if "items" not in fields:
            return decode_json(raw, AnalyzeOne, max_depth=depth), None
        batch = decode_json(raw, AnalyzeBatch, max_depth=depth)
        if len(batch.items) > self._settings.max_batch:
            raise invalid(
                f"A batch may have {self._settings.max_batch} items, but has {len(batch.items)}. Send "
                "several.",
                param="items",
            )
        return batch, None


class MarketReader:
    """Reads markets for one request: with a model, or by rules.

    Parameters
    ----------
    chats : Chats
        Asks the model.
    analyst : AnalystSettings
        With the request's model.
    images : ImageDecoder
        Decodes charts.
    admission : Admission
        Slots.
    metrics : GatewayMetrics
        Counters.
    model : bool
        Whether a model is asked at all.
    unavailable : ModelUnavailableError, optional
        Why no engine came up while this request waited for one: it is not waited for again.
    """

    def __init__(
        self,
        chats: Chats,
        analyst: AnalystSettings,
        images: ImageDecoder,
        admission: Admission,
        metrics: GatewayMetrics,
        *,
        model: bool,
        unavailable: ModelUnavailableError | None = None,
    ) -> None:
        self._chats = chats
        self._analyst = analyst
        self._images = images
        self._admission = admission
        self._metrics = metrics
        self._model = model
        self._unavailable = unavailable

    async def read(self, document: RequestDocument, chart: bytes | None = None) -> AnalysisResult:
        """Read one market.

        Parameters
        ----------
        document : RequestDocument
            The market.
        chart : bytes, optional
            Its chart, where that came as a file.

        Raises
        ------
        HttpError, AnalysisRequestError
            The request breaks a rule.
        Overloaded
            There is no slot.
        ModelUnavailableError
            There is no model and nothing the rules could read.
        """
        # Of every engine that answers: which one does is known only afterwards, and a swap may come between.
        known: list[CheckpointCalibration] = []

        async def complete(request: ChatRequest) -> ChatReply:
            card, reply = await self._asked(request)
            known.extend(calibrations_of(card.calibration, card.model_id))
            return reply

        async with self._admission.slot():
            picture = await self._decode(document, chart)
            request = await asyncio.to_thread(self._prepare, document, picture)
            try:
                result = await analyse(
                    request, complete if self._model else None, self._analyst, calibrations=known
                )
            except AnalystError as failure:
                if self._unavailable is not None:
                    raise self._unavailable from failure
                raise
        self._metrics.analyses.labels(result.analysis.source).inc()
        return result

    async def propose(self, order: StrategyOrder) -> StrategyAnswer:
        """Return a strategy to try for a reading, or why there is none."""
        async with self._admission.slot():
            found = await propose_strategy(
                order.analysis,
                order.constraints,
                self.complete if self._model else None,
                self._analyst,
                timeframe=order.timeframe,
            )
        known: dict[str, Any] = {
            "source": found.source,
            "model_id": found.model_id,
            "model_revision": found.model_revision,
            "fallback_reason": found.fallback_reason,
            "attempts": found.attempts,
        }
        if isinstance(found, Refusal):
            return StrategyAnswer(outcome="refusal", rule=found.rule, reason=found.reason, **known)
        return StrategyAnswer(
            outcome="proposal",
            spec=plain_mapping(found.spec),
            spec_hash=found.spec.spec_hash,
            search_space=found.space.to_yaml(),
            timeframe=found.timeframe,
            reason=found.rationale,
            **known,
        )

    async def _decode(self, document: RequestDocument, chart: bytes | None) -> bytes | None:
        """Return what the chart shows, as PNG."""
        if chart is not None:
            return await self._images.file(chart, where="chart", only="png")
        if document.chart_png is not None:
            return await self._images.text(document.chart_png, where="chart_png", only="png")
        return None

    def _prepare(self, document: RequestDocument, picture: bytes | None) -> AnalysisRequest:
        """Check the request and draw its chart, off the event loop."""
        request = request_from_document(document, chart_png=picture)
        if not self._analyst.picture or request.chart_png is not None or request.bars is None:
            return request
        chart = render_chart(request.bars, drawable(self._analyst.chart, request.bars))
        return AnalysisRequest(
            bars=request.bars,
            chart_png=chart,
            indicators=request.indicators,
            instrument=request.instrument,
            timeframe=request.timeframe,
            note=request.note,
            spread=request.spread,
        )

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Ask an engine, as `aiopt.analyst` wants it."""
        return (await self._asked(request))[1]

    async def _asked(self, request: ChatRequest) -> tuple[ModelCard, ChatReply]:
        """Ask an engine; return whose reply it is, too."""
        if self._unavailable is not None:
            raise self._unavailable
        body: ChatBody = {
            "model": request.model,
            "messages": request.messages,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
        }
        if request.schema is not None:
            schema = {"name": request.schema_name, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.likely is not None:
            body |= {"logprobs": True, "top_logprobs": request.likely}
        if request.seed is not None:
            body["seed"] = request.seed

        async def answer(lease: Lease) -> ChatAnswer:
            return (await lease.chat(body)).read()

        try:
            async with self._chats.trying(request.model, answer) as (card, found):
                pass
        except ModelUnavailableError as failure:
            self._unavailable = failure
            raise
        self._metrics.count_usage(card.name, found.usage)
        choice, usage = found.choices[0], found.usage or Usage()
        return card, ChatReply(
            text=choice.message.content or "",
            model_id=card.model_id,
            model_revision=card.revision,
            finish_reason=choice.finish_reason or "",
            prompt_tokens=usage.prompt_tokens or 0,
            completion_tokens=usage.completion_tokens or 0,
            tokens=_tokens(choice),
        )


def _tokens(choice: Choice) -> tuple[SaidToken, ...]:
    said = [] if choice.logprobs is None else choice.logprobs.content or []
    return tuple(
        SaidToken(one.token, one.logprob, tuple((other.token, other.logprob) for other in one.top_logprobs))
        for one in said
    )


@functools.lru_cache(maxsize=8)
def calibrations_of(text: str, model_id: str) -> tuple[CheckpointCalibration, ...]:
    """Return the calibration a model card carries: none or one.

    A damaged one is logged, once, and counts as none: the model's readings are as good without.
    """
    if not text:
        return ()
    try:
        return (decode_calibration(text, where=f"{model_id}/{CALIBRATION_FILE}"),)
    except DataError as failure:
        log.warning("readings of %s are not calibrated: %s", model_id, failure)
        return ()


def translate_analysis(error: AioptError) -> HttpError:
    """Return the HTTP form of what can go wrong with one market."""
    if isinstance(error, Overloaded):
        return HttpError(429, str(error), code=error.reason)
    return translate(error)


def _common_headers(results: list[AnalysisResult]) -> dict[str, str]:
    """Return the headers that name the model; none where a batch was answered by several."""
    found = {(result.analysis.model_id, result.analysis.model_revision) for result in results}
    return named_headers(*found.pop()) if len(found) == 1 else {}


def _check_analysis(analysis: Analysis) -> None:
    """Check what the type of a reading sent back to us does not say."""
    parts = analysis.confidence_parts
    shares = {"confidence": analysis.confidence, **msgspec.structs.asdict(parts)}
    if analysis.calibrated is not msgspec.UNSET:
        shares["calibrated"] = analysis.calibrated
    shares.update({f"levels[{i}].strength": level.strength for i, level in enumerate(analysis.levels)})
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise invalid(f"`0 <= {name} <= 1` must hold, but got {value}. Send the analysis unchanged.")
    for pattern in analysis.patterns:
        if pattern.kind not in PATTERN_KINDS:
            raise invalid(
                f"A pattern's kind must be a known one, but is {pattern.kind!r:.80}. Send the analysis "
                "unchanged."
            )
    check_text(analysis.rationale, "rationale", MAX_RATIONALE, AnalysisRequestError)


def _check_timeframe(timeframe: str) -> None:
    if not timeframe:
        return
    try:
        parse_timeframe(timeframe)
    except AioptError as failure:
        raise invalid(f"timeframe: {failure}", param="timeframe") from failure


def _failed_item(index: int, error: HttpError) -> BatchItem:
    body = error_document(error.status, str(error), error.code, error.param)["error"]
    return BatchItem(index=index, error={"status": error.status, **body})


async def _form(exchange: Exchange, raw: bytes, content_type: str) -> tuple[bytes, bytes | None]:
    """Return the parts `request` (JSON) and `chart` (PNG file) of a form."""
    sent = False

    async def replay() -> dict[str, Any]:
        nonlocal sent
        body, sent = (b"", True) if sent else (raw, True)
        return {"type": "http.request", "body": body, "more_body": False}

    request = Request(exchange.scope, replay)
    limit = exchange.settings.max_body_bytes
    try:
        async with request.form(max_files=1, max_fields=1, max_part_size=limit) as form:
            unknown = sorted(set(form) - {"request", "chart"})
            if unknown:
                raise invalid(
                    f"A form may hold `request` and `chart`, but holds {unknown[0]!r:.80}. Leave it out."
                )
            fields, chart = form.get("request"), form.get("chart")
            if isinstance(chart, str):
                raise invalid("`chart` must be a file part, but is a text field. Send it with a file name.")
            if fields is not None and not isinstance(fields, str):
                raise invalid("`request` must be a text field with JSON, but is a file. Send it as a field.")
            return (fields or "{}").encode(), None if chart is None else await chart.read()
    except HttpError:
        raise
    except (MultiPartException, KeyError, ValueError, UnicodeDecodeError) as failure:
        raise invalid(f"The body must be multipart/form-data, but: {failure}. Correct it.") from failure
    except Exception as failure:
        # Starlette turns parse errors into its own HTTP exception where an app is in the scope.
        detail = getattr(failure, "detail", None)
        if detail is None:
            raise
        raise invalid(f"The body must be multipart/form-data, but: {detail}. Correct it.") from failure

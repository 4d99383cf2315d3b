"""Asking: model, validation, one retry, then the rules.  Owns the order of these; does no IO itself.

The only way out is the `Complete` function given, so the same code reads through HTTP, through an engine in
the same process and in tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from aiopt.analyst.analysis import Analysis, AnalysisRequest, AnalysisResult, Attempt, Vote
from aiopt.analyst.asking import MAX_ERROR, ask_twice
from aiopt.analyst.chat import ChatReply, ChatRequest, Complete
from aiopt.analyst.checkpoint_calibration import CheckpointCalibration, calibrated
from aiopt.analyst.confidence import vote
from aiopt.analyst.prompts import SHORT_PROMPT, analysis_messages
from aiopt.analyst.replies import parse_analysis
from aiopt.analyst.rule_reader import read_by_rules
from aiopt.analyst.schema import ANALYSIS_SCHEMA
from aiopt.analyst.settings import AnalystSettings
from aiopt.analyst.short_reading import read_short
from aiopt.analyst.sink import RowSink, log_analysis


async def analyse(
    request: AnalysisRequest,
    complete: Complete | None,
    settings: AnalystSettings | None = None,
    *,
    sink: RowSink | None = None,
    calibrations: Sequence[CheckpointCalibration] = (),
) -> AnalysisResult:
    """Read a market.

    Every member of the ensemble (each model with each prompt) is asked; an invalid reply is asked for once
    more, the model being told what was wrong.  Valid replies vote (`aiopt.analyst.confidence.vote`).  If
    there is none, or no model, the rules answer and say why in ``fallback_reason``.

    Parameters
    ----------
    request : AnalysisRequest
        What to read.
    complete : callable or None
        Asks a model; None for the rules alone.
    settings : AnalystSettings, optional
        Models, prompts, length of replies, requests in flight.
    sink : RowSink, optional
        Log that is told of the reading, see `aiopt.analyst.sink`.
    calibrations : sequence of CheckpointCalibration
        Of checkpoints that may answer: where the revision that did has one, `Analysis.calibrated` says how
        often such readings are right.

    Returns
    -------
    AnalysisResult
        Analysis, every attempt, every vote.

    Raises
    ------
    AnalystError
        If no model answered and the request has no bars for the rules.
    """
    settings = settings or AnalystSettings()
    if complete is None:
        result = AnalysisResult(analysis=read_by_rules(request))
    else:
        result = await _ask_all(request, complete, settings)
    known = calibrated(result.analysis, calibrations) if calibrations else None
    if known is not None:
        analysis = msgspec.structs.replace(result.analysis, calibrated=round(known, 6))
        result = msgspec.structs.replace(result, analysis=analysis)
    if sink is not None:
        log_analysis(sink, request, result)
    return result


async def _ask_all(request: AnalysisRequest, complete: Complete, settings: AnalystSettings) -> AnalysisResult:
    gate = asyncio.Semaphore(settings.concurrency)

    async def ask(model: str, prompt: str) -> tuple[Analysis | None, list[Attempt]]:
        async with gate:
            return await _ask_member(request, complete, settings, model, prompt)

    answers = await asyncio.gather(*(ask(model, prompt) for model, prompt in settings.members))
    attempts = tuple(attempt for _, tried in answers for attempt in tried)
    readings: list[Analysis] = []
    votes: list[Vote] = []
    for (model, prompt), (reading, _) in zip(settings.members, answers, strict=True):
        if reading is not None:
            readings.append(reading)
            votes.append(
                Vote(
                    model=model,
                    prompt_version=prompt,
                    bias=reading.bias,
                    trend=reading.regime.trend,
                    confidence=reading.confidence,
                )
            )
    if not readings:
        reason = f"{attempts[-1].model}: {attempts[-1].error}"[:MAX_ERROR]
        return AnalysisResult(analysis=read_by_rules(request, fallback_reason=reason), attempts=attempts)
    return AnalysisResult(analysis=vote(readings, request), attempts=attempts, votes=tuple(votes))


async def _ask_member(
    request: AnalysisRequest, complete: Complete, settings: AnalystSettings, model: str, prompt: str
) -> tuple[Analysis | None, list[Attempt]]:
    if prompt == SHORT_PROMPT:
        return await read_short(request, complete, settings, model)
    question = ChatRequest(
        model=model,
        messages=analysis_messages(request, prompt, picture=settings.picture, numbers=settings.numbers),
        schema=ANALYSIS_SCHEMA,
        schema_name="analysis",
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        seed=settings.seed,
    )

    def parse(reply: ChatReply) -> Analysis:
        return parse_analysis(reply.text, request, reply=reply, model=model, prompt_version=prompt)

    return await ask_twice(question, complete, parse, prompt)

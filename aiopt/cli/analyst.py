"""``aiopt analyst``: read a chart, and score readers of charts against known truth."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from aiopt.cli.options import instrument_option, json_option
from aiopt.cli.output import emit, open_log, progress
from aiopt.errors import ConfigError, InputError

if TYPE_CHECKING:
    from aiopt.analyst import AnalysisRequest, AnalysisResult, AnalystSettings, Complete
    from aiopt.analyst.evaluating import EvalCase, Scores

ENVIRONMENT_PREFIX = "AIOPT_ANALYST"

_PATH = click.Path(path_type=Path)


def reader_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say who reads."""
    options = (
        click.option(
            "--config",
            "config_path",
            type=_PATH,
            help="YAML or JSON file of the settings of `analysis.reader` (docs/reference/configuration.md).",
        ),
        click.option("--endpoint", help="OpenAI-compatible API, e.g. http://127.0.0.1:8000/v1."),
        click.option("--model", "models", multiple=True, help="Served name. Several vote."),
        click.option("--prompt", "prompts", multiple=True, help="Prompt version. Several vote."),
        click.option("--picture/--no-picture", default=None, help="Send the chart. Default: send it."),
        click.option("--numbers/--no-numbers", default=None, help="Send the bars as numbers. Default: do."),
        click.option("--timeout", "timeout_s", type=float, help="Seconds per request.  Default: 60."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _settings(config_path: Path | None, **given: Any) -> AnalystSettings:
    """Return the settings: file < environment < options."""
    from aiopt.analyst import AnalystSettings
    from aiopt.config import load_config

    overrides = {name: value for name, value in given.items() if value not in (None, ())}
    settings = load_config(config_path, AnalystSettings, env_prefix=ENVIRONMENT_PREFIX, overrides=overrides)
    if settings.endpoint is None and given.get("models"):
        raise ConfigError("`--model` needs an endpoint to ask, but there is none. Add --endpoint URL.")
    if not settings.picture and not settings.numbers:
        raise ConfigError("A model needs the picture or the numbers. Leave one of the two options out.")
    return settings


def _with_model(settings: AnalystSettings, work: Callable[[Complete | None], Awaitable[Any]]) -> Any:
    """Run `work` with the endpoint's model, or None where there is none."""
    from aiopt.analyst.client import ChatClient

    async def run() -> Any:
        async with AsyncExitStack() as stack:
            complete = None
            if settings.endpoint is not None:
                complete = (await stack.enter_async_context(ChatClient(settings))).complete
            return await work(complete)

    return asyncio.run(run())


@click.group(epilog="Example: aiopt analyst read --bars bars/EURUSD/5m")
def command() -> None:
    """Read charts with a model or by rules; score who reads them."""


# --- read -------------------------------------------------------------------------------------------------


@command.command(
    "read",
    epilog="Example: aiopt analyst read --bars bars/EURUSD/5m --endpoint http://127.0.0.1:8000/v1 "
    "--model minicpm --out chart.png",
)
@click.option("--bars", "bars_path", type=_PATH, help="Bar file or folder; its last bars are read.")
@click.option("--timeframe", help="Which bars to take, if the folder holds several, e.g. 5m.")
@instrument_option
@click.option("--window", type=int, help="Bars to read. Default: 120.")
@click.option("--png", "png_path", type=_PATH, help="A chart as PNG, instead of one drawn from the bars.")
@click.option("--note", default="", help="Text for the model.")
@click.option("--out", "out_path", type=_PATH, help="Write the chart that was read to this PNG.")
@click.option(
    "--log", "log_dir", type=_PATH, help="Also log the reading to this folder; see `aiopt dataset logs`."
)
@reader_options
@json_option
def read_command(
    bars_path: Path | None,
    timeframe: str | None,
    symbol: str | None,
    window: int | None,
    png_path: Path | None,
    note: str,
    out_path: Path | None,
    log_dir: Path | None,
    config_path: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Read the last bars of a series, or a picture, and print the analysis."""
    from aiopt.analyst import analyse
    from aiopt.files import atomic_write_bytes

    settings = _settings(config_path, **given, bars=window)
    if bars_path is None and png_path is None:
        raise InputError("There must be something to read, but there is none. Add --bars or --png.")
    if bars_path is None and settings.endpoint is None:
        raise InputError("The rule-based reader reads bars, not pictures. Add --bars, or --endpoint URL.")
    request = _request(bars_path, timeframe, symbol, png_path, note, settings, draw=out_path is not None)
    if out_path is not None and request.chart_png is not None:
        atomic_write_bytes(out_path, request.chart_png)
    with open_log(log_dir) as sink:
        result: AnalysisResult = _with_model(
            settings, lambda complete: analyse(request, complete, settings, sink=sink)
        )
    emit(as_json, result, lambda console: _print_analysis(console, result, request.instrument))


def _request(
    bars_path: Path | None,
    timeframe: str | None,
    symbol: str | None,
    png_path: Path | None,
    note: str,
    settings: AnalystSettings,
    *,
    draw: bool,
) -> AnalysisRequest:
    from aiopt.analyst import AnalysisRequest
    from aiopt.analyst.windows import drawable, request_of_window
    from aiopt.bars.files import load_bar_set
    from aiopt.charts import PreparedChart
    from aiopt.errors import DataError

    png = None
    if png_path is not None:
        try:
            png = png_path.read_bytes()
        except OSError as failure:
            msg = f"The chart must be a readable file, but: {failure.strerror}. Name another."
            raise DataError(msg, file=png_path) from failure
    if bars_path is None:
        return AnalysisRequest(chart_png=png, note=note)
    bar_set = load_bar_set(bars_path, timeframe=timeframe, symbol=symbol)
    bars = bar_set.bid
    stop, start = len(bars), max(0, len(bars) - settings.bars)
    if png is None and (draw or (settings.endpoint is not None and settings.picture)):
        png = PreparedChart(bars, drawable(settings.chart, bars)).render(start, stop)
    spread = None if bar_set.single_price else max(0.0, float(bar_set.ask.close[-1] - bars.close[-1]))
    return request_of_window(bars, start, stop, spec=settings.chart, chart_png=png, spread=spread, note=note)


def _print_analysis(console: Console, result: AnalysisResult, symbol: str) -> None:
    from aiopt.market.instrument import find_instrument

    known = find_instrument(symbol)

    def priced(price: float) -> str:
        return f"{price:.8g}" if known is None else known.price_text(price)

    found, parts = result.analysis, result.analysis.confidence_parts
    who = found.model_id + (f", revision {found.model_revision}" if found.model_revision else "")
    console.print(f"Read by {who}.", markup=False)
    if found.fallback_reason:
        console.print(f"The model gave no valid answer: {found.fallback_reason}", markup=False)
    console.print(
        f"Bias {found.bias}, confidence {found.confidence:.2f}: agreement {parts.agreement:.2f} × "
        f"risk {parts.risk:.2f} × (stated {parts.stated:.2f} + technical {parts.technical:.2f}) / 2."
    )
    console.print(f"Trend {found.regime.trend}, volatility {found.regime.volatility}.")
    for pattern in found.patterns:
        where = f"bars {pattern.first_bar} to {pattern.last_bar}, price {priced(pattern.price)}"
        console.print(f"  {pattern.kind.replace('_', ' ')} ({pattern.direction}): {where}")
    for level in found.levels:
        console.print(f"  {level.kind} {priced(level.price)}, strength {level.strength:.2f}")
    console.print(found.rationale, markup=False)
    if len(result.votes) > 1:
        console.print("Votes: " + ", ".join(f"{v.model} {v.prompt_version} {v.bias}" for v in result.votes))


# --- eval -------------------------------------------------------------------------------------------------


@command.command(
    "eval",
    epilog="Example: aiopt analyst eval --cases 300 --html eval.html --endpoint http://127.0.0.1:8000/v1",
)
@click.option("--cases", type=click.IntRange(3, 20_000), default=90, show_default=True, help="Charts.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Same seed, same charts.")
@click.option("--noise", type=float, default=1.0, show_default=True, help="0 clean, 1 usual, 2 hard to see.")
@click.option(
    "--bars",
    "bars_path",
    type=_PATH,
    help="Read windows of these bars instead of generated ones; truth is what the detectors find.",
)
@instrument_option
@click.option("--html", "html_path", type=_PATH, help="Write tables and pictures to this page.")
@reader_options
@json_option
def eval_command(
    cases: int,
    seed: int,
    noise: float,
    bars_path: Path | None,
    symbol: str | None,
    html_path: Path | None,
    config_path: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Score a model and the rules on charts of known content, with controls, and print what comes out.

    Each chart is also read upside down and with its bars in random order, and blank charts are read too.
    """
    from aiopt.analyst.eval_page import eval_page, score_rows
    from aiopt.analyst.evaluating import baselines
    from aiopt.files import atomic_write_text

    settings = _settings(config_path, **given)
    if bars_path is None:
        found = _planted(cases, seed, noise, settings)
    else:
        found = _real(bars_path, symbol, cases, settings)
    scores = _scores(found, settings, seed, real=bars_path is not None)
    guesses = baselines(found)
    notes = _notes(found, bars_path, seed, noise)
    title = "How well charts are read"
    if html_path is not None:
        atomic_write_text(html_path, eval_page(title, notes, guesses, scores))
    document = {"notes": notes, "baselines": guesses, "seed": seed, "noise": noise, "scores": scores}

    def human(console: Console) -> None:
        for note in notes:
            console.print(note)
        table = Table("", *(one.reader for one in scores))
        for name, texts in score_rows(scores, guesses):
            # Brackets of intervals are no markup.
            table.add_row(name, *(text.replace("[", r"\[") for text in texts))
        console.print(table)
        for sentence in _verdict(scores, guesses):
            console.print(sentence, markup=False)
        if html_path is not None:
            console.print(f"Pictures: {html_path}", markup=False)

    emit(as_json, document, human)


def _planted(n: int, seed: int, noise: float, settings: AnalystSettings) -> list[EvalCase]:
    from aiopt.analyst.planted import blank_bars, mirrored_bars, planted_cases, shuffled_bars

    found = []
    for number, case in enumerate(planted_cases(n, seed=seed, noise=noise)):
        truth = (number, case.kind, case.bias, case.first_bar, case.last_bar)
        found += [
            _case("upright", case.bars, truth, settings),
            _case("mirrored", mirrored_bars(case.bars), _mirrored(truth), settings),
            _case("shuffled", shuffled_bars(case.bars, seed=seed + number), truth, settings),
        ]
    blank = (0, "none", "neutral", 0, 0)
    found += [_case("blank", blank_bars(seed=seed + i), blank, settings) for i in range(max(1, n // 9))]
    return found


def _real(path: Path, symbol: str | None, n: int, settings: AnalystSettings) -> list[EvalCase]:
    """Return windows of real bars, labelled with the last swing pattern confirmed at their end."""
    import numpy as np

    from aiopt.analyst.evaluating import HORIZON
    from aiopt.analyst.planted import blank_bars, mirrored_bars, shuffled_bars
    from aiopt.bars.files import load_bar_set
    from aiopt.errors import DataError
    from aiopt.patterns import Prices, swing_patterns

    bars = load_bar_set(path, symbol=symbol).bid
    size = settings.bars
    if len(bars) < 2 * size + HORIZON:
        msg = f"An evaluation needs at least {2 * size + HORIZON} bars, but there are {len(bars)}. Give more."
        raise DataError(msg, file=path)
    found = []
    # No two windows share a bar, nor the bars after them: each counts as evidence of its own.
    most = (len(bars) - HORIZON) // (size + HORIZON)
    stops = np.linspace(size, len(bars) - HORIZON, min(n, most)).astype(int)
    for number, stop in enumerate(stops.tolist()):
        window = bars.slice(stop - size, stop)
        prices = Prices(window.open, window.high, window.low, window.close)
        fresh = [one for one in swing_patterns(prices) if one.confirmed_bar >= size - 10]
        bias = {"bullish": "long", "bearish": "short", "neutral": "neutral"}
        truth: tuple[int, str, Any, int, int] = (number, "none", "neutral", 0, 0)
        if fresh:
            last = fresh[-1]
            truth = (number, last.kind, bias[last.direction], last.first_bar, last.last_bar)
        move = float(bars.close[stop + HORIZON - 1] - bars.close[stop - 1])
        found += [
            _case("upright", window, truth, settings, move=move),
            _case("mirrored", mirrored_bars(window), _mirrored(truth), settings),
            _case("shuffled", shuffled_bars(window, seed=number), truth, settings),
        ]
    blank = (0, "none", "neutral", 0, 0)
    return found + [_case("blank", blank_bars(seed=i), blank, settings) for i in range(max(1, n // 9))]


def _mirrored(truth: tuple[int, str, Any, int, int]) -> tuple[int, str, Any, int, int]:
    from aiopt.analyst.evaluating import MIRROR_BIAS
    from aiopt.patterns import PATTERN_KINDS

    number, kind, bias, first, last = truth
    return number, "none" if kind == "none" else PATTERN_KINDS[kind].mirror, MIRROR_BIAS[bias], first, last


def _case(
    variant: Any,
    bars: Any,
    truth: tuple[int, str, Any, int, int],
    settings: AnalystSettings,
    *,
    move: float = 0.0,
) -> EvalCase:
    from aiopt.analyst.evaluating import EvalCase
    from aiopt.analyst.windows import request_of_window

    number, kind, bias, first, last = truth
    request = request_of_window(bars, 0, len(bars), spec=settings.chart)
    return EvalCase(
        request=request,
        variant=variant,
        number=number,
        kind=kind,
        bias=bias,
        first_bar=first,
        last_bar=last,
        move=move,
    )


def _with_picture(request: AnalysisRequest, settings: AnalystSettings) -> AnalysisRequest:
    """Return the request with a chart of its bars."""
    import dataclasses

    from aiopt.charts import render_chart

    return (
        request
        if request.bars is None
        else dataclasses.replace(request, chart_png=render_chart(request.bars, settings.chart))
    )


def _scores(cases: list[EvalCase], settings: AnalystSettings, seed: int, *, real: bool) -> list[Scores]:
    from aiopt.analyst import analyse
    from aiopt.analyst.evaluating import ask_all, score

    async def work(complete: Complete | None) -> list[Scores]:
        found = []
        readers: list[tuple[str, Complete | None]] = [("rules", None)]
        if complete is not None:
            readers.insert(0, (", ".join(settings.models), complete))
        for name, asked in readers:

            async def read(request: AnalysisRequest, asked: Complete | None = asked) -> AnalysisResult:
                if asked is not None and settings.picture:
                    # Drawn when asked for: all of them at once could fill the memory.
                    request = _with_picture(request, settings)
                return await analyse(request, asked, settings)

            with progress(f"Reading by {name}", len(cases)) as done:
                answers, readings = await ask_all(
                    cases, read, model=asked is not None, concurrency=settings.concurrency, progress=done
                )
            found.append(score(name, cases, answers, readings, seed=seed, circular=real and asked is None))
        return found

    result: list[Scores] = _with_model(settings, work)
    return result


def _notes(cases: list[EvalCase], bars_path: Path | None, seed: int, noise: float) -> list[str]:
    counts = {variant: sum(case.variant == variant for case in cases) for variant in ("upright", "blank")}
    if bars_path is None:
        source = f"generated charts with planted patterns (seed {seed}, noise {noise:g})"
    else:
        source = (
            f"windows of {bars_path}, labelled by the pattern detectors (the rules read with the same ones: "
            "scoring them on these labels would be circular)"
        )
    return [
        f"{counts['upright']} {source}, each also mirrored and shuffled, and {counts['blank']} blank ones. "
        "Intervals: 95%, Wilson.",
        "This measures reading, not earning: whether a pattern pays is for a sweep to say.",
    ]


def _foresight(one: Scores) -> str:
    """Return whether prices went the way of the bias more often than a coin falls on its head."""
    found = one.followed
    if found.low <= 0.5 <= found.high:
        return "where the price went next cannot be told from a coin toss."
    return f"the price went {'with' if found.low > 0.5 else 'against'} the bias more often than a coin toss."


def _verdict(scores: list[Scores], guesses: dict[str, float]) -> list[str]:
    """Return what the figures say, flattering or not."""
    best = max(guesses.values())
    sentences = []
    for one in scores:
        if one.errors and not one.valid.successes:
            sentences.append(f"{one.reader}: no valid answer, so nothing was read. {next(iter(one.errors))}")
            continue
        told = (
            "better than guessing"
            if one.bias.low > best
            else ("worse than guessing" if one.bias.high < best else "not distinguishable from guessing")
        )
        found = f"{one.reader}: bias {'not judged' if one.circular else told}"
        if one.long_share.n and not one.long_share.low <= 0.5 <= one.long_share.high:
            found += f"; leans {'long' if one.long_share.low > 0.5 else 'short'}"
        brier, base = one.calibration.brier, one.calibration.brier_base
        if brier is not None and base is not None and not one.circular:
            found += f"; its confidence tells {'something' if brier < base else 'nothing'} about being right"
        if one.valid.value is not None and one.valid.value < 1:
            found += f"; {one.valid.n - one.valid.successes} of {one.valid.n} answers were not valid"
        sentences.append(found + ".")
        if one.followed.n:
            sentences.append(f"{one.reader}: {_foresight(one)}")
        if one.errors:
            sentences += [f"  {count} × {reason}" for reason, count in one.errors.items()]
    if len(scores) == 2 and scores[0].valid.successes and not scores[1].circular:
        model, rules = scores
        if model.bias.high < rules.bias.low:
            sentences.append(f"The rules read better than {model.reader}.")
        elif model.bias.low > rules.bias.high:
            sentences.append(f"{model.reader} reads better than the rules.")
        else:
            sentences.append(f"{model.reader} and the rules cannot be told apart with this many charts.")
    return sentences

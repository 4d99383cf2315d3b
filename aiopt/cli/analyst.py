"""``aiopt analyst``: read a chart, and score readers of charts against known truth."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console

from aiopt.cli.analyst_gate import judge_gate_command
from aiopt.cli.options import OutFile, OutFolder, instrument_option, json_option, typed
from aiopt.cli.output import emit, open_log, print_table, progress, text
from aiopt.errors import ConfigError
from aiopt.outputs import PAGE, PICTURE

if TYPE_CHECKING:
    from aiopt.analyst import AnalysisResult, AnalystSettings, Complete
    from aiopt.analyst.checkpoint_calibration import CheckpointCalibration
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
            help="YAML or JSON file with the settings of `analysis.reader` "
            "(docs/reference/configuration.md).",
        ),
        click.option("--endpoint", help="OpenAI-compatible API, e.g. http://127.0.0.1:8000/v1."),
        click.option("--model", "models", multiple=True, help="Served name; repeat it and the models vote."),
        click.option(
            "--prompt",
            "prompts",
            multiple=True,
            help="Prompt version; repeat it and the prompts vote. short/1: short questions.",
        ),
        click.option("--picture/--no-picture", default=None, help="Send the chart. Default: send it."),
        click.option(
            "--numbers/--no-numbers", default=None, help="Send the bars as numbers. Default: send them."
        ),
        click.option("--timeout", "timeout_s", type=float, help="Seconds per request.  Default: 60."),
    )
    for option in reversed(options):
        function = option(function)
    return function


calibration_option = click.option(
    "--calibration",
    "calibration_paths",
    type=_PATH,
    multiple=True,
    help="Checkpoint or training whose aiopt_calibration.json says how often its readings are right; used "
    "where that revision answers. It also says which prompt it answers. Repeat it for several.",
)


def calibrations_of(paths: tuple[Path, ...]) -> tuple[CheckpointCalibration, ...]:
    """Return the calibrations of checkpoints."""
    from aiopt.analyst.checkpoint_calibration import read_calibration

    return tuple(map(read_calibration, paths))


def _settings(config_path: Path | None, **given: Any) -> AnalystSettings:
    """Return the settings: file < environment < options."""
    from aiopt.analyst import AnalystSettings
    from aiopt.config import load_config

    overrides = {name: value for name, value in given.items() if value not in (None, ())}
    settings = load_config(config_path, AnalystSettings, env_prefix=ENVIRONMENT_PREFIX, overrides=overrides)
    if settings.endpoint is None and given.get("models"):
        raise ConfigError("`--model` needs an endpoint to ask. Add --endpoint URL.")
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


@click.group(epilog="Example: aiopt analyst read --bars data/bars/EURUSD/5m")
def command() -> None:
    """Read charts with a model or by rules; score who reads them."""


command.add_command(judge_gate_command)


@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """Who reads, as `reader_options` says."""

    config_path: Path | None
    endpoint: str | None
    models: tuple[str, ...]
    prompts: tuple[str, ...]
    picture: bool | None
    numbers: bool | None
    timeout_s: float | None

    def settings(self, **more: Any) -> AnalystSettings:
        """Return the settings: file < environment < options."""
        who = {name: getattr(self, name) for name in ("endpoint", "models", "prompts", "picture", "numbers")}
        return _settings(self.config_path, **who, timeout_s=self.timeout_s, **more)

    def fitted(self, calibrations: tuple[CheckpointCalibration, ...], **more: Any) -> AnalystSettings:
        """Return the settings; where no prompt is named, with the one that checkpoints are calibrated for."""
        from aiopt.analyst.checkpoint_calibration import fitting_prompt

        settings = self.settings(**more)
        return settings if self.prompts else settings.asking(fitting_prompt(calibrations))


@dataclass(frozen=True, kw_only=True)
class ReadOptions(ReaderOptions):
    """What the command line says of `read`; fields as the options' help has it."""

    bars_path: Path | None
    timeframe: str | None
    symbol: str | None
    window: int | None
    png_path: Path | None
    note: str
    out_path: Path | None
    log_dir: Path | None
    calibration_paths: tuple[Path, ...]
    as_json: bool

    def settings(self, **more: Any) -> AnalystSettings:
        """Return the settings with the number of bars asked for."""
        return super().settings(bars=self.window, **more)


@dataclass(frozen=True, kw_only=True)
class EvalOptions(ReaderOptions):
    """What the command line says of `eval`; fields as the options' help has it."""

    cases: int
    seed: int
    noise: float
    bars_path: Path | None
    symbol: str | None
    html_path: Path | None
    as_json: bool


# --- read -------------------------------------------------------------------------------------------------


@command.command(
    "read",
    epilog="Example: aiopt analyst read --bars data/bars/EURUSD/5m --endpoint http://127.0.0.1:8000/v1 "
    "--model minicpm --out chart.png",
)
@click.option("--bars", "bars_path", type=_PATH, help="Bar file or folder; its last bars are read.")
@click.option("--timeframe", help="Which bars to take, if the folder holds several, e.g. 5m.")
@instrument_option
@click.option("--window", type=int, help="Bars to read. Default: 120.")
@click.option("--png", "png_path", type=_PATH, help="A chart as PNG, instead of one drawn from the bars.")
@click.option("--note", default="", help="Text for the model.")
@click.option("--out", "out_path", type=OutFile(PICTURE), help="Write the chart that was read to this PNG.")
@click.option(
    "--log",
    "log_dir",
    type=OutFolder(),
    help="Also log the reading to this folder; see `aiopt dataset logs`.",
)
@calibration_option
@reader_options
@json_option
@typed(ReadOptions)
def read_command(options: ReadOptions) -> None:
    """Read the last bars of a series, or a picture, and print the analysis."""
    from aiopt.analyst import analyse
    from aiopt.analyst.requesting import Readable, request_of_files
    from aiopt.files import atomic_write_bytes

    out = options.out_path
    calibrations = calibrations_of(options.calibration_paths)
    settings = options.fitted(calibrations)
    files = Readable(options.bars_path, options.timeframe, options.symbol, options.png_path, options.note)
    request = request_of_files(files, settings, draw=out is not None)
    if out is not None and request.chart_png is not None:
        atomic_write_bytes(out, request.chart_png)
    with open_log(options.log_dir) as sink:
        result: AnalysisResult = _with_model(
            settings,
            lambda complete: analyse(request, complete, settings, sink=sink, calibrations=calibrations),
        )

    def human(console: Console) -> None:
        _print_analysis(console, result, request.instrument)
        if out is not None:
            console.print(f"Chart: {out}", markup=False, soft_wrap=True)

    emit(options.as_json, result, human)


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
    if not isinstance(found.calibrated, msgspec.UnsetType):
        console.print(f"Such readings were right {found.calibrated:.0%} of the time on validation charts.")
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
    help="Read windows of these bars instead of generated ones; what the pattern detectors find counts as "
    "true.",
)
@instrument_option
@click.option("--html", "html_path", type=OutFile(PAGE), help="Write tables and pictures to this page.")
@reader_options
@json_option
@typed(EvalOptions)
def eval_command(options: EvalOptions) -> None:
    """Score a model and the rules on charts of known content, with controls, and print what comes out.

    Each chart is also read upside down and with its bars in random order, and blank charts are read too.
    """
    from aiopt.analyst.eval_cases import planted_charts, real_charts
    from aiopt.analyst.eval_page import eval_page, score_rows
    from aiopt.analyst.eval_words import eval_notes, verdict_sentences
    from aiopt.analyst.evaluating import baselines
    from aiopt.files import atomic_write_text

    settings, seed, noise = options.settings(), options.seed, options.noise
    bars_path, html_path = options.bars_path, options.html_path
    if bars_path is None:
        found = planted_charts(options.cases, seed, noise, settings)
    else:
        found = real_charts(bars_path, options.symbol, options.cases, settings)
    scores = _scores(found, settings, seed, real=bars_path is not None)
    guesses = baselines(found)
    notes = eval_notes(found, bars_path, seed, noise)
    title = "How well charts are read"
    if html_path is not None:
        atomic_write_text(html_path, eval_page(title, notes, guesses, scores))
    document = {"notes": notes, "baselines": guesses, "seed": seed, "noise": noise, "scores": scores}

    def human(console: Console) -> None:
        for note in notes:
            console.print(note)
        columns = (text(""), *(text(one.reader) for one in scores))
        print_table(console, columns, [(name, *texts) for name, texts in score_rows(scores, guesses)])
        for sentence in verdict_sentences(scores, guesses):
            console.print(sentence, markup=False)
        if html_path is not None:
            console.print(f"Pictures: {html_path}", markup=False, soft_wrap=True)

    emit(options.as_json, document, human)


def _scores(cases: list[EvalCase], settings: AnalystSettings, seed: int, *, real: bool) -> list[Scores]:
    from aiopt.analyst.eval_readers import score_readers

    def work(complete: Complete | None) -> Awaitable[list[Scores]]:
        return score_readers(cases, settings, complete, seed=seed, real=real, meter=progress)

    result: list[Scores] = _with_model(settings, work)
    return result

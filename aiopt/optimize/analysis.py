"""The analyst in a run: readings of the ranked entries' markets and trades, and proposals before the sweep.

Owns which bars are read when, and ``charts/``, ``analyses.json`` and ``proposals.json``.  Proposals are made
from the first train window alone, so no test segment and no holdout can have suggested what is tested there.
Knows no score and changes none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import numpy as np

from aiopt.analyst import (
    Analysis,
    AnalysisResult,
    AnalystSettings,
    Complete,
    ConfidenceParts,
    Proposal,
    RangeProposal,
    Regime,
    StrategyConstraints,
    analyse,
    propose_ranges,
    propose_strategy,
)
from aiopt.analyst.client import ChatClient
from aiopt.analyst.record import ReadChart, RunAnalyses, opinions
from aiopt.analyst.windows import indicator_lines, request_of_window, window_before
from aiopt.backtest.stop_paths import follow_stops
from aiopt.bars.schema import BarSet
from aiopt.charts import PreparedChart
from aiopt.config import canonical_json, content_hash
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.files import atomic_write_bytes
from aiopt.optimize.configuration import AnalysisConfig
from aiopt.ranking.ranking_file import Ranking
from aiopt.runs import ANALYSES, CHARTS, PROPOSALS, RANKING, load_run, read_json
from aiopt.series import Symbol, series_name
from aiopt.strategy.dimensions import Dimension
from aiopt.strategy.space import SearchSpace
from aiopt.strategy.spec import StrategySpec, spec_from_mapping
from aiopt.sweep.markets import symbols_of
from aiopt.sweep.points import Strategy
from aiopt.trades import Trade, TradeMark

Progress = Callable[[float, float], None]

BARS_AFTER = 10
"""Bars drawn behind the exit of a trade, and at most as many bars as were read behind its entry."""

REPORT_WIDTH, REPORT_HEIGHT = 960, 560
"""Pixels of the report's pictures."""


# --- readings ---------------------------------------------------------------------------------------------


class _Series:
    """Bars of one timeframe, prepared to be read and drawn many times."""

    def __init__(self, bars: BarSet, settings: AnalystSettings) -> None:
        self.bars = bars
        self._settings = settings
        self._lines = indicator_lines(bars.bid, settings.chart)
        self._chart = PreparedChart(bars.bid, settings.chart)
        size = {"width": REPORT_WIDTH, "height": REPORT_HEIGHT}
        self._report_chart = PreparedChart(bars.bid, msgspec.structs.replace(settings.chart, **size))
        self.first = self._chart.first_ready()

    def window(self, ts_ns: int) -> tuple[int, int] | None:
        """Return the bars that were closed at `ts_ns`; None where there are too few to read or draw."""
        found = window_before(self.bars.bid, ts_ns, self._settings.bars)
        return found if found is not None and self.first is not None and self.first < found[1] - 1 else None

    def draw(self, start: int, stop: int) -> bytes:
        """Draw what the analyst is shown."""
        return self._chart.render(start, stop)

    def draw_for_report(self, start: int, stop: int, trades: Sequence[TradeMark]) -> bytes:
        """Draw the same bars, or more, smaller."""
        return self._report_chart.render(start, stop, trades=trades)

    async def read(
        self, start: int, stop: int, png: bytes | None, complete: Complete | None
    ) -> AnalysisResult:
        """Read a window."""
        spread = float(self.bars.ask.close[stop - 1] - self.bars.bid.close[stop - 1])
        request = request_of_window(
            self.bars.bid,
            (start, stop),
            spec=self._settings.chart,
            lines=self._lines,
            chart_png=png,
            spread=None if self.bars.single_price else max(spread, 0.0),
        )
        return await analyse(request, complete, self._settings)


def analyse_run(
    run_dir: Path, config: AnalysisConfig, bars: dict[str, BarSet], *, progress: Progress | None = None
) -> RunAnalyses:
    """Read the markets and trades of the ranked entries; write ``charts/`` and ``analyses.json``.

    What ``analyses.json`` has already, from a run that was interrupted, is kept.  With the rules as the
    reader the same run gives the same bytes.

    Parameters
    ----------
    run_dir : Path
        With ``ranking.json`` and ``entries/``.
    config : AnalysisConfig
        How many trades, and who reads.
    bars : dict of str to BarSet
        Per series.
    progress : callable, optional
        Called with the charts read and their number.
    """
    ranking = read_json(run_dir / RANKING, Ranking)
    entries = sorted((entry.rank, entry.name) for entry in ranking.entries)
    planned = _plan(run_dir, config, ranking, bars)
    reader = config.reader
    name = "rules" if reader.endpoint is None else ", ".join(reader.models)
    path = run_dir / ANALYSES
    before = read_json(path, RunAnalyses).charts if path.is_file() else ()
    done = {chart.name: chart for chart in before}

    def keep(chart: ReadChart) -> None:
        done[chart.name] = chart
        found = tuple(done[one.name] for one, _, _, _ in planned if one.name in done)
        finished = len(found) == len(planned)
        document = RunAnalyses(
            reader=name, charts=found, opinions=opinions(found, entries) if finished else ()
        )
        atomic_write_bytes(path, canonical_json(document))
        if progress is not None:
            progress(len(found), len(planned))

    todo = []
    for chart, series, window, marks in planned:
        old = done.pop(chart.name, None)
        files = [run_dir / file for file in (chart.picture, chart.seen) if file]
        if old is not None and old.request_hash == chart.request_hash and all(f.is_file() for f in files):
            done[chart.name] = old
        else:
            todo.append((chart, series, window, marks))

    async def read_all(complete: Complete | None) -> None:
        async def read(
            chart: ReadChart, series: _Series, window: tuple[int, int, int], marks: Sequence[TradeMark]
        ) -> None:
            start, stop, end = window
            png = series.draw(start, stop) if chart.seen else None
            if png is not None:
                atomic_write_bytes(run_dir / chart.seen, png)
            picture = series.draw_for_report(start, end, marks)
            atomic_write_bytes(run_dir / chart.picture, picture)
            result = await series.read(start, stop, png, complete)
            keep(msgspec.structs.replace(chart, result=result))

        if complete is None:
            for item in todo:
                await read(*item)
        else:
            await asyncio.gather(*(read(*item) for item in todo))

    asyncio.run(_with_model(reader, read_all))
    charts = tuple(done[chart.name] for chart, _, _, _ in planned)
    final = RunAnalyses(reader=name, charts=charts, opinions=opinions(charts, entries))
    atomic_write_bytes(path, canonical_json(final))
    return final


async def _with_model(settings: AnalystSettings, work: Callable[[Complete | None], Awaitable[None]]) -> None:
    """Run `work` with the model of the settings, or None where there is no endpoint."""
    async with AsyncExitStack() as stack:
        complete: Complete | None = None
        if settings.endpoint is not None:
            complete = (await stack.enter_async_context(ChatClient(settings))).complete
        await work(complete)


_UNREAD = AnalysisResult(
    analysis=Analysis(
        regime=Regime("sideways", "normal"),
        patterns=(),
        bias="neutral",
        levels=(),
        confidence=0.0,
        confidence_parts=ConfidenceParts(stated=0.0, technical=0.0, risk=0.0, agreement=0.0),
        rationale="",
        source="rules",
        model_id="",
    )
)
"""Stands in a planned chart until it is read; never written."""

_Planned = tuple[ReadChart, _Series, tuple[int, int, int], Sequence[TradeMark]]


def _plan(run_dir: Path, config: AnalysisConfig, ranking: Ranking, bars: dict[str, BarSet]) -> list[_Planned]:
    """Return every chart to read: window read, window drawn, trades marked."""
    settings = config.reader
    found = {(entry.instrument, entry.timeframe) for entry in ranking.entries}
    keys = sorted(found, key=lambda key: (key[0] or "", bars[series_name(*key)].timeframe.ns))
    series = {key: _Series(bars[series_name(*key)], settings) for key in keys}
    shown = settings.endpoint is not None and settings.picture
    planned: list[_Planned] = []

    def add(
        name: str,
        key: tuple[Symbol, str],
        ts_ns: int,
        trade: Trade | None = None,
        entry: str = "",
        spec: StrategySpec | None = None,
    ) -> None:
        one, (instrument, timeframe) = series[key], key
        window = one.window(ts_ns)
        if window is None:
            return
        start, stop = window
        stamps = one.bars.bid.ts_open_ns
        end, marks = stop, list[Trade]()
        if trade is not None:
            last = int(np.searchsorted(stamps, trade.exit_ts_ns, side="right")) + BARS_AFTER
            end = min(last, stop + settings.bars, len(stamps))
            marks = [trade]
        asked = [msgspec.structs.replace(settings, endpoint=None), shown, one.bars.data_hash, timeframe]
        chart = ReadChart(
            name=name,
            kind="market" if trade is None else "trade",
            entry=entry,
            timeframe=timeframe,
            instrument=instrument,
            first_ts_ns=int(stamps[start]),
            last_ts_ns=int(stamps[stop - 1]),
            picture=f"{CHARTS}/{name}.png",
            seen=f"{CHARTS}/{name}-seen.png" if shown else "",
            side="" if trade is None else trade.side,
            entry_ts_ns=None if trade is None else trade.entry_ts_ns,
            pnl=None if trade is None else trade.pnl,
            request_hash=content_hash([*asked, settings.endpoint is None, start, stop, end, marks]),
            result=_UNREAD,
        )
        drawn = marks if spec is None else follow_stops(marks, spec, one.bars)
        planned.append((chart, one, (start, stop, end), drawn))

    for key, one in series.items():
        end_ns = int(one.bars.bid.ts_open_ns[-1]) + one.bars.timeframe.ns
        add(f"market-{series_name(*key).replace('@', '-')}", key, end_ns)
    records = {record.rank: record for record in load_run(run_dir).entries}
    for entry in sorted(ranking.entries, key=lambda one: one.rank):
        record = records.get(entry.rank)
        trades = [] if record is None else record.trades
        spec = spec_from_mapping(entry.spec, where=entry.name)
        key = (entry.instrument, entry.timeframe)
        for number in _trades_to_read(trades, series[key], config.trades):
            trade = trades[number]
            add(f"{entry.name}-trade-{number + 1}", key, trade.entry_ts_ns, trade, entry.name, spec)
    return planned


def _trades_to_read(trades: list[Trade], one: _Series, most: int) -> list[int]:
    """Return some trades, not the best or the worst: what is looked at must not depend on how it ended."""
    readable = [number for number, trade in enumerate(trades) if one.window(trade.entry_ts_ns) is not None]
    places = np.linspace(0, len(readable) - 1, min(most, len(readable))).round().astype(int)
    return [readable[place] for place in places]


# --- proposals --------------------------------------------------------------------------------------------


class ProposedStrategy(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy the analyst proposed.

    Attributes
    ----------
    timeframe : str
        Bar length it was proposed for and is tried on.
    kind : str
        ``"spec"`` for a strategy of its choice, ``"ranges"`` for narrower ranges of a strategy of the run.
    source, model_id, fallback_reason, rationale
        As in `aiopt.analyst.Proposal`.
    spec, dimensions, constraints
        Of its search space.
    instrument : str or unset
        What it was proposed for and is tried on, in a run of several markets.
    """

    timeframe: str
    kind: str
    source: str
    model_id: str
    fallback_reason: str
    rationale: str
    spec: StrategySpec
    dimensions: dict[str, Dimension]
    constraints: tuple[str, ...]
    instrument: Symbol = msgspec.UNSET


class RunProposals(msgspec.Struct, frozen=True, kw_only=True):
    """Content of ``proposals.json``: what was read, until when, and what came of it."""

    read_until_ns: int
    readings: dict[str, AnalysisResult]
    strategies: tuple[ProposedStrategy, ...]
    refusals: tuple[str, ...] = ()


def proposed_strategies(
    run_dir: Path,
    config: AnalysisConfig,
    strategies: Sequence[Strategy],
    bars: dict[str, BarSet],
    plan: WalkForwardPlan,
) -> list[Strategy]:
    """Return what the analyst proposes to sweep beside `strategies`; kept in ``proposals.json``.

    Per series the last bars of the first train window are read.  The reading gives one new spec of a ready
    family, on the side it favours, with ranges round it, and narrower ranges of each strategy of the run.
    A run that is resumed sweeps what it proposed first.

    Parameters
    ----------
    run_dir : Path
        Of the run.
    config : AnalysisConfig
        Points per proposal, and who reads.
    strategies : sequence of Strategy
        Of the run.
    bars : dict of str to BarSet
        Per series.
    plan : WalkForwardPlan
        Bars from the first fold's test segment on are not read.
    """
    path = run_dir / PROPOSALS
    if path.is_file():
        found = read_json(path, RunProposals)
    else:
        _, until_ns = plan.span_ns(plan.folds[0].train)
        found = asyncio.run(_propose(config, strategies, bars, until_ns))
        atomic_write_bytes(path, canonical_json(found))
    return [
        Strategy(
            proposed.spec,
            SearchSpace(proposed.spec, proposed.dimensions, proposed.constraints),
            timeframes=(proposed.timeframe,),
            instruments=(proposed.instrument,) if proposed.instrument else (),
            trials=config.proposal_trials,
        )
        for proposed in found.strategies
    ]


async def _propose(
    config: AnalysisConfig, strategies: Sequence[Strategy], bars: dict[str, BarSet], until_ns: int
) -> RunProposals:
    settings = config.reader
    readings: dict[str, AnalysisResult] = {}
    proposed: list[ProposedStrategy] = []
    refusals: list[str] = []
    several = bool(symbols_of(bars.values()))

    async def work(complete: Complete | None) -> None:
        for name, bar_set in bars.items():
            series = _Series(bar_set, settings)
            window = series.window(until_ns)
            if window is None:
                refusals.append(f"{name}: too few bars before the first test segment")
                continue
            timeframe, label = bar_set.timeframe.label, name.replace("@", "_")
            market: Symbol = bar_set.instrument.symbol if several else msgspec.UNSET
            png = series.draw(*window) if complete is not None and settings.picture else None
            reading = await series.read(*window, png, complete)
            readings[name] = reading
            analysis = reading.analysis
            limits = StrategyConstraints(
                timeframe=timeframe, sides="both" if analysis.bias == "neutral" else analysis.bias
            )
            answer = await propose_strategy(analysis, limits, complete, settings, name=f"proposed_{label}")
            if isinstance(answer, Proposal):
                ranges = await propose_ranges(answer.space, analysis, None, centre=answer.spec.params)
                proposed.append(_record(timeframe, market, "spec", answer, ranges.space))
            else:
                refusals.append(f"{name}: {answer.reason}")
            for strategy in strategies:
                if strategy.space is None:
                    continue
                narrowed = await propose_ranges(strategy.space, analysis, complete, settings)
                near = f"{strategy.family[:40]}_near_{label}"
                spec = msgspec.structs.replace(narrowed.space.spec, name=near, family=near)
                space = SearchSpace(spec, narrowed.space.dimensions, narrowed.space.constraints)
                proposed.append(_record(timeframe, market, "ranges", narrowed, space))

    await _with_model(settings, work)
    return RunProposals(
        read_until_ns=until_ns, readings=readings, strategies=tuple(proposed), refusals=tuple(refusals)
    )


def _record(
    timeframe: str, market: Symbol, kind: str, answer: Proposal | RangeProposal, space: SearchSpace
) -> ProposedStrategy:
    return ProposedStrategy(
        timeframe=timeframe,
        instrument=market,
        kind=kind,
        source=answer.source,
        model_id=answer.model_id,
        fallback_reason=answer.fallback_reason,
        rationale=answer.rationale,
        spec=space.spec,
        dimensions=space.dimensions,
        constraints=space.constraints,
    )

"""The ranked entries: their parameters run again for trades and equity, and written as Pine Script.

Owns what is stored of an entry and what its script's header states.  Knows nothing of how entries were
chosen, nor where they are run.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from aiopt.backtest.backtest_config import BacktestConfig, Segments
from aiopt.backtest.conversion import chart_balance
from aiopt.backtest.results import TrialResult
from aiopt.backtest.session import BacktestSession
from aiopt.backtest.stop_fills import stop_rule
from aiopt.bars.manifest import spread_of
from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json
from aiopt.evaluation.rollover import held_over, held_over_text
from aiopt.files import atomic_write_bytes
from aiopt.optimize.markets import Market, RunMarkets
from aiopt.pine.emitter import write_script
from aiopt.pine.form import ScriptForm
from aiopt.pine.provenance import Provenance
from aiopt.ranking.earlier import opening_lines
from aiopt.ranking.ranking_file import Entry, Figures, Ranking
from aiopt.runs import ENTRIES, PINE, RANKING, EntryRecord, read_json, write_entry
from aiopt.series import series_name
from aiopt.strategy.dimensions import Dimension
from aiopt.strategy.spec import StrategySpec
from aiopt.strategy.spec_readings import gate_of
from aiopt.sweep.points import Strategy
from aiopt.utc import HOUR_NS


@dataclasses.dataclass(frozen=True)
class EntryOutput:
    """What is made of one entry on a worker.

    Attributes
    ----------
    research : TrialResult
        With costs, on bid and ask bars, over the segments of the sweep: the ranking's figures.
    parity : TrialResult
        Without costs, on bid bars alone, as a chart trades the script.
    files : dict of str to bytes
        The script and its spec by file name; the spec alone of a strategy that asks for readings.
    """

    research: TrialResult
    parity: TrialResult
    files: dict[str, bytes]


@dataclasses.dataclass(frozen=True)
class EntryTask:
    """One ranked entry that is to be run again.

    Attributes
    ----------
    name : str
        File name of the script, without suffix.
    series : str
        Key of its bars.
    spec : StrategySpec
        With the emitted parameters.
    config : BacktestConfig
        Research assumptions.
    segments : Segments
        As in the sweep.
    provenance : Provenance
        The script's header.
    ranges : dict of str to Dimension
        What was swept, by parameter.
    """

    name: str
    series: str
    spec: StrategySpec
    config: BacktestConfig
    segments: Segments
    provenance: Provenance
    ranges: dict[str, Dimension]


RunEntries = Callable[[Sequence[EntryTask]], Sequence[EntryOutput]]
"""Runs entries and returns what each gives, in the same order; in this process or on a cluster."""


def run_entry(task: EntryTask, bars: BarSet) -> EntryOutput:
    """Backtest one entry in both pricing modes and write its script.

    Parameters
    ----------
    task : EntryTask
        What to run.
    bars : BarSet
        Bid and ask bars of its series.
    """
    spec, config = task.spec, task.config
    with BacktestSession(bars, config) as session:
        research = session.run(spec, segments=task.segments)
    # A chart's account is in the quote currency.
    balance = chart_balance(bars, config.account_currency, config.initial_balance)
    single = dataclasses.replace(bars, ask=bars.bid, single_price=True, conversion=None)
    chart = msgspec.structs.replace(config, mode="parity", account_currency=None, initial_balance=balance)
    with BacktestSession(single, chart) as session:
        parity = session.run(spec)
    if gate_of(spec) is not None:
        files = {f"{task.name}.json": f"{spec.to_json()}\n".encode()}
        return EntryOutput(research=research, parity=parity, files=files)
    provenance = msgspec.structs.replace(task.provenance, rollover=_rollover(research, bars, config))
    with tempfile.TemporaryDirectory() as folder:
        # Checking a script takes seconds, so it is done here, on the worker; the driver writes the files.
        write_script(
            Path(folder),
            task.name,
            spec,
            provenance=provenance,
            instrument=bars.instrument,
            initial_balance=balance,
            leverage=config.leverage,
            form=ScriptForm(ranges=task.ranges),
        )
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    return EntryOutput(research=research, parity=parity, files=files)


def _rollover(result: TrialResult, bars: BarSet, config: BacktestConfig) -> str:
    nights = ((trade.nights or 0, trade.size) for trade in result.trades)
    return held_over_text(
        held_over(nights, pip_size=bars.instrument.pip_size),
        currency=bars.instrument.quote,
        charged=None if config.swap is None else result.metrics.swap,
        account_currency=config.account_currency,
    )


def emit_entries(
    run_dir: Path,
    markets: RunMarkets,
    bars: Mapping[str, BarSet],
    run: RunEntries,
    strategies: Sequence[Strategy] = (),
) -> list[Path]:
    """Write ``entries/`` and ``pine/`` of a ranked run.

    Parameters
    ----------
    run_dir : Path
        With ``ranking.json``.
    markets : RunMarkets
        Of the run.
    bars : mapping of str to BarSet
        Per series.
    run : callable
        Runs the entries, in the order given.
    strategies : sequence of Strategy
        What was swept; their ranges limit the inputs of the scripts.

    Returns
    -------
    list of Path
        The scripts, best entry first; strategies that ask for readings have none.
    """
    ranking = read_json(run_dir / RANKING, Ranking)
    for name in (ENTRIES, PINE):
        shutil.rmtree(run_dir / name, ignore_errors=True)
        (run_dir / name).mkdir()
    segments = Segments(tuple(ranking.plan.boundaries_ns))
    swept = {one.spec.name: one.space.dimensions for one in strategies if one.space is not None}
    tasks = []
    for entry in ranking.entries:
        market, series = markets.of(entry.instrument), series_name(entry.instrument, entry.timeframe)
        spec = msgspec.convert(entry.spec, StrategySpec)
        tasks.append(
            EntryTask(
                name=entry.name,
                series=series,
                spec=spec,
                config=market.backtest,
                segments=segments,
                provenance=_provenance(run_dir.name, ranking, entry, market, bars[series]),
                ranges=swept.get(spec.name, {}),
            )
        )
    for entry, task, output in zip(ranking.entries, tasks, run(tasks), strict=True):
        write_entry(run_dir, _record(entry, output.research, bars[task.series]))
        # What the script should trade on a chart of the same bars.
        chart = f"bars/{markets.of(entry.instrument).symbol}/{entry.timeframe}/bid.parquet"
        expected = canonical_json({"bars": chart, **output.parity.to_document()})
        for name, content in [*output.files.items(), (f"{entry.name}.trades.json", expected)]:
            atomic_write_bytes(run_dir / PINE / name, content)
    scripts = [run_dir / PINE / f"{entry.name}.pine" for entry in ranking.entries]
    return [path for path in scripts if path.is_file()]


def _record(entry: Entry, result: TrialResult, bars: BarSet) -> EntryRecord:
    """Return an entry's trades and its equity at the end of every hour that has bars."""
    closes = bars.bid.ts_open_ns + bars.timeframe.ns
    hours = bars.bid.ts_open_ns // HOUR_NS
    last = np.flatnonzero(np.append(np.diff(hours) > 0, True))
    return EntryRecord(
        rank=entry.rank,
        name=entry.name,
        trial_id=entry.trial_id,
        trades=result.trades,
        equity_ts_ns=[int(bars.bid.ts_open_ns[0]), *closes[last].tolist()],
        equity=[float(result.equity[0]), *result.equity[last + 1].tolist()],
        spec=entry.spec,
        stop_fills=result.stop_fills.text,
    )


def _provenance(run_id: str, ranking: Ranking, entry: Entry, market: Market, bars: BarSet) -> Provenance:
    costs, manifest = market.backtest, market.manifest
    seen = [one for one in ranking.holdout_openings or () if one.instrument == market.symbol]
    return Provenance(
        run_id=run_id,
        rank=entry.rank,
        trials=ranking.statistics.trials,
        earlier_trials=ranking.statistics.earlier_trials.trials if ranking.statistics.earlier_trials else 0,
        data_hash=manifest.data_hash,
        synthetic=manifest.synthetic,
        timeframe=entry.timeframe,
        first_ts_ns=int(bars.bid.ts_open_ns[0]),
        last_ts_ns=int(bars.bid.ts_open_ns[-1]),
        costs=(
            f"spread: {spread_of(manifest, costs.extra_spread_pips)}; commission "
            f"{costs.commission_per_million:g} per million and side, slippage {costs.slippage_ticks} ticks"
            f"{'' if costs.swap is None else ', swap'}"
            f"{'' if costs.account_currency is None else f', account in {costs.account_currency}'}"
            f"; stops: {stop_rule(bars, costs).fills.text}"
        ),
        in_sample=_figures(entry.in_sample),
        out_of_sample=_figures(entry.out_of_sample),
        holdout={} if entry.holdout is None else _figures(entry.holdout),
        holdout_seen=" ".join(opening_lines(seen)) or None,
    )


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "net P&L": figures.net_pnl,
        "trades": figures.trades,
        "Sharpe": figures.sharpe,
        "profit factor": figures.profit_factor,
        "max drawdown": figures.max_drawdown,
    }

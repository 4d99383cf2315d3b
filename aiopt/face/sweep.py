"""A sweep in a notebook: strategies over bars with many sets of parameters, on this machine or a cluster.

Owns the call and the table of trials.  What a point is, how it is tried and judged is `aiopt.sweep`'s and
`aiopt.ranking`'s.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import polars as pl

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json
from aiopt.errors import BacktestError, ConfigError, SearchSpaceError
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.evaluation.metrics import sharpe_ratio
from aiopt.face import html
from aiopt.face.bars import Bars, BarsLike, as_bar_set
from aiopt.face.engines import EngineName, find_engine
from aiopt.face.progress import progress
from aiopt.face.strategies import SpecLike, as_space
from aiopt.face.tables import Table
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.reasons import all_failed
from aiopt.ranking.trials import TrialRow, read_trials
from aiopt.search.settings import SearchConfig
from aiopt.series import series_name
from aiopt.strategy.space import SearchSpace
from aiopt.strategy.spec import StrategySpec

if TYPE_CHECKING:
    from aiopt.optimize.engine import StageEngine
    from aiopt.search.record import RunSearches
    from aiopt.sweep.board import Board
    from aiopt.sweep.counting import SweepCount
    from aiopt.sweep.planning import PlannedSweep
    from aiopt.sweep.progress import SweepProgress
    from aiopt.sweep.sweep_config import SweepConfig
    from aiopt.sweep.trial import TrialContext, TrialPoint

Sampler = Literal["sobol", "random", "grid", "tpe", "cmaes", "nsga2", "nsga3", "evolution"]

_SHOWN = 10


class Sweep(Table):
    """The trials of a sweep; `aiopt.rank` judges them.

    As a table, a row per trial: ``trial_id``, ``family``, ``timeframe`` (and ``instrument``, of several
    markets), ``status``, ``error``, then over the
    development segments, **in-sample**: ``trades``, ``pnl`` (account currency), ``sharpe`` (annualised); the
    parameters follow, one column each.  What lies in the holdout is in no column.

    Attributes
    ----------
    rows : list of TrialRow
        Every trial with its profits per segment and period, sorted by id.
    bars : dict of str to BarSet
        What was traded on, by time frame, or by ``INSTRUMENT@TIMEFRAME`` of several markets.
    config : SweepConfig
        Points, assumptions, segments.
    context : TrialContext
        The walk-forward's plan, and what else all trials share.
    searches : RunSearches or None
        What a sampler that learns found on its train windows, in-sample; None where none learned.
    confirmed : frozenset of str
        Trials that the engine ran: of a screened sweep those that a fold chooses by the default settings of a
        ranking, and some others; all where it was not screened.
    """

    def __init__(
        self,
        rows: list[TrialRow],
        bars: Mapping[str, BarSet],
        config: SweepConfig,
        context: TrialContext,
        searches: RunSearches | None = None,
        confirmed: frozenset[str] = frozenset(),
    ) -> None:
        self.rows = rows
        self.confirmed = confirmed if context.screen else frozenset(row.trial_id for row in rows)
        self.bars = dict(bars)
        self.config = config
        self.context = context
        self.searches = searches

    def count(self) -> SweepCount:
        """Return the sweep as the ledger of all trials sees it."""
        tried = [(row.trial_id, row.params_json, row.group) for row in self.rows]
        hashes = {row.trial_id: row.spec_hash for row in self.rows}
        return _count(self.bars, self.config, self.context, tried, hashes.__getitem__)

    def confirm(self, chosen: Sequence[str], judged: RankingConfig) -> None:
        """Let the engine run those of the chosen trials that the screen alone has run.

        Parameters
        ----------
        chosen : sequence of str
            What `judged` chooses among all trials.
        judged : RankingConfig
            How they are chosen.

        Raises
        ------
        ScreenMismatchError
            If a row differs.  Nothing of the sweep may be believed then.
        """
        from aiopt.sweep.confirming import confirm

        board = Leaderboard(None, judged, self.context.plan)
        wanted = set(chosen)
        # The best of all are the best of these: the board chooses the same.
        kept = [row for row in self.rows if row.trial_id in wanted]
        board.add_many(kept)
        left = [_point_of(row) for row in kept if row.trial_id not in self.confirmed]
        confirm(
            left,
            board,
            self.context,
            lambda again, engine: _again(again, self.bars, engine, find_engine("auto")),
        )
        self.confirmed |= {point.trial_id for point in left}

    @property
    def failures(self) -> dict[str, int]:
        """Why trials failed, and how many did so, the most frequent first."""
        return dict(Counter(row.error for row in self.rows if not row.ok).most_common())

    def __len__(self) -> int:
        return len(self.rows)

    def spec(self, trial_id: str) -> StrategySpec:
        """Return the strategy of a trial, with its parameters.

        Raises
        ------
        SearchSpaceError
            If there is no such trial.
        """
        for row in self.rows:
            if row.trial_id == trial_id:
                return StrategySpec.from_json(row.spec_json)
        raise SearchSpaceError(f"The sweep has no trial {trial_id!r}. Its table lists the ids.")

    def to_polars(self) -> pl.DataFrame:
        """Return the trials as a Polars frame, see the class."""
        return self._frame

    @cached_property
    def _frame(self) -> pl.DataFrame:
        per_year = self.context.plan.periods_per_year
        columns: dict[str, list[object]] = {
            "trial_id": [row.trial_id for row in self.rows],
            "family": [row.family for row in self.rows],
            "timeframe": [row.timeframe for row in self.rows],
            **({"instrument": [row.instrument for row in self.rows]} if self.context.markets else {}),
            "status": [row.status for row in self.rows],
            "error": [row.error or None for row in self.rows],
            "trades": [sum(row.segment_trades) if row.ok else None for row in self.rows],
            "pnl": [float(sum(row.pnl)) if row.ok else None for row in self.rows],
            "sharpe": [
                float(sharpe_ratio(row.pnl, periods_per_year=per_year)) if row.ok else None
                for row in self.rows
            ],
        }
        params = [msgspec.json.decode(row.params_json) for row in self.rows]
        for name in dict.fromkeys(name for one in params for name in one):
            columns[name] = [one.get(name) for one in params]
        return pl.DataFrame(columns, strict=False)

    def _title(self) -> str:
        failed = sum(not row.ok for row in self.rows)
        groups = ", ".join(sorted({row.group for row in self.rows}))
        return f"{len(self):,} trials of {groups}" + (f", {failed:,} failed" if failed else "")

    def _repr_html_(self) -> str:
        order = self._frame.sort("sharpe", descending=True, nulls_last=True)
        params = self._frame.columns[self._frame.columns.index("sharpe") + 1 :]
        shown = order.select("trial_id", "trades", pl.col("pnl").round(2), pl.col("sharpe").round(2), *params)
        return html.card(
            self._title(),
            html.frame_html(shown, _SHOWN),
            html.note(
                "In-sample, best and worst by Sharpe ratio. This is not evidence: ao.rank(sweep) judges."
            ),
            warnings=[f"{count:,} × {reason}" for reason, count in list(self.failures.items())[:3]],
        )


def sweep(  # each has a default, and groups of them are objects already
    specs: SpecLike | Sequence[SpecLike],
    bars: BarsLike | Mapping[str, BarsLike] | Sequence[BarsLike],
    *,
    trials: int = 40,
    seed: int = 1,
    sampler: Sampler = "sobol",
    search: SearchConfig | None = None,
    engine: EngineName = "auto",
    screen: bool = True,
    backtest: BacktestConfig | None = None,
    walk_forward: WalkForwardConfig | None = None,
    period: str = "1h",
    show_progress: bool = True,
) -> Sweep:
    """Try strategies with many sets of parameters; rows are the same on every engine, by hash.

    Parameters
    ----------
    specs : str, Path, StrategySpec, SearchSpace, or a sequence of them
        Names of ready families, files, or objects.  One without a search space is one point.
    bars : Bars, BarSet, Path or str, or several of them
        Bid and ask bars; of several time frames as a sequence, or as the dict `build_bars` returns.  Of
        several instruments as a sequence too, each in the same time frames: one sweep, one ranking.  Their
        profits must be in one currency (`BacktestConfig.account_currency`).
    trials : int
        Points per strategy and time frame; of a sampler that learns, of each search: one per fold and one for
        the refit.
    seed : int
        Same seed, same points.
    sampler : {"sobol", "random", "grid", "tpe", "cmaes", "nsga2", "nsga3", "evolution"}
        How points are drawn from a search space; from ``"tpe"`` on by what those before gave on the train
        window of the fold, searched anew for each.
    search : SearchConfig, optional
        Generations, objectives and budget of a sampler that learns.
    engine : {"auto", "local", "ray"}
        This process, or the Ray cluster (`cluster.connect`).  Auto: the cluster where it is connected.
    screen : bool
        Run the trials in compiled code; the engine confirms those that a fold chooses, and some others.
        False: in the engine alone.
    backtest : BacktestConfig, optional
        Costs, balance, leverage.
    walk_forward : WalkForwardConfig, optional
        How the span is cut into segments; by default four folds behind three train segments, and a holdout.
    period : str
        Length of the periods on which profits are compared, e.g. ``"1h"``.
    show_progress : bool
        Show on stderr how far a long sweep is.

    Returns
    -------
    Sweep
        Failed trials too, with their reason.

    Raises
    ------
    SpecError, SearchSpaceError
        If a strategy or its search space breaks a rule, or two have the same name, or one asks for readings
        and the bars come without.
    ConfigError
        If a setting is out of range, or the bars are of several currencies, or some are given twice.
    DataError
        If the instruments have no time in common.
    BacktestError
        If every trial failed.

    Examples
    --------
    >>> import aiopt as ao
    >>> bars = ao.build_bars(ao.sample_ticks(days=2), "5m")
    >>> ao.sweep("ema_cross_atr", bars, trials=4)
    <Sweep: 4 trials of ema_cross_atr@5m>
    """
    from aiopt.sweep.planning import plan_sweep
    from aiopt.sweep.points import Strategy, check_readings, plan_context, told_apart
    from aiopt.sweep.sweep_config import SweepConfig

    sets, symbols = _by_series([as_bar_set(one) for one in _each(bars)])
    config = SweepConfig(
        timeframes=tuple(dict.fromkeys(one.timeframe.label for one in sets.values())),
        trials=trials,
        sampler=sampler,
        search=search or SearchConfig(),
        seed=seed,
        screen=screen,
        backtest=backtest or BacktestConfig(),
        walk_forward=walk_forward or WalkForwardConfig(),
        ranking=RankingConfig(period=period),
    )
    found = [as_space(one) for one in _listed(specs)]
    strategies = [Strategy(one.spec, one) if isinstance(one, SearchSpace) else Strategy(one) for one in found]
    check_readings(strategies, sets)
    context = plan_context(sets, config)
    planned = plan_sweep(told_apart(strategies), config, context.plan, symbols)
    confirmed: set[str] = set()
    rows, searches = _run(planned, sets, config, context, engine, confirmed, show_progress=show_progress)
    return Sweep(rows, sets, config, context, searches, frozenset(confirmed))


def _run(
    planned: PlannedSweep,
    bars: Mapping[str, BarSet],
    config: SweepConfig,
    context: TrialContext,
    engine: str,
    confirmed: set[str],
    *,
    show_progress: bool,
) -> tuple[list[TrialRow], RunSearches | None]:
    """Run every point and return the rows, sorted by trial id, and what a sampler that learns found.

    What the engine confirmed is added to `confirmed`.
    """
    from aiopt.optimize.engine import LocalStages
    from aiopt.sweep.confirming import confirm
    from aiopt.sweep.counting import counted_journal, counted_rows
    from aiopt.sweep.planning import out_of

    found = find_engine(engine)
    with (
        tempfile.TemporaryDirectory(prefix="aiopt-sweep-") as name,
        progress("sweep", shown=show_progress) as say,
    ):
        folder = Path(name)

        def report(now: SweepProgress) -> None:
            say(now.done, now.total)

        journal = folder / "leaderboard.jsonl"
        local = Leaderboard(None, config.ranking, context.plan)
        board: Board = local
        if found is not None:
            board = found.open_board(folder.name, journal, config.ranking, context.plan)
        count = _count_points(bars, config, context, planned.first_points())
        count.prepare()
        kept: list[RunSearches] = []
        try:
            (found or LocalStages()).sweep(
                planned.generations(board, keep=kept.append),
                bars,
                context,
                board,
                scratch_dir=folder / "scratch",
                report=out_of(planned.trials, report),
            )
        except BaseException:
            # What was tried counts, whether or not anybody sees it.
            done = local.rows() if found is None else ()
            count.record([*counted_rows(done), *counted_journal(journal)])
            raise
        # Of a sampler that learns only now all points are known.
        count = _count_points(bars, config, context, planned.points)

        def run_again(again: Sequence[TrialPoint], engine: TrialContext) -> list[TrialRow]:
            confirmed.update(point.trial_id for point in again)
            return _again(again, bars, engine, found)

        try:
            rows = _rows_of(board, folder / "trials.parquet", count)
            confirm(planned.points, board, context, run_again, bars=bars)
        finally:
            board.close()
        return rows, (kept[-1] if kept else None)


def _rows_of(board: Board, path: Path, count: SweepCount) -> list[TrialRow]:
    """Return a board's rows, counted, by way of a file, which is how any board gives them."""
    from aiopt.sweep.counting import counted_file

    counts = board.write_trials(path, every_series=True)
    count.record(counted_file(path))
    if not counts["ok"]:
        raise BacktestError(all_failed(board.progress().failures))
    return read_trials(path)


def _count_points(
    bars: Mapping[str, BarSet], config: SweepConfig, context: TrialContext, points: Sequence[TrialPoint]
) -> SweepCount:
    """Return a sweep as the ledger sees it, from its points."""
    tried = [
        (point.trial_id, canonical_json(point.params).decode(), f"{point.family}@{point.series}")
        for point in points
    ]
    specs = {point.trial_id: point.spec for point in points}
    return _count(bars, config, context, tried, lambda name: specs[name].spec_hash)


def _count(
    bars: Mapping[str, BarSet],
    config: SweepConfig,
    context: TrialContext,
    tried: Sequence[tuple[str, str, str]],
    spec_hash: Callable[[str], str],
) -> SweepCount:
    """Return a sweep as the ledger sees it, from the id, parameters and group of each trial.

    Of each group one strategy is hashed: its parameters tell the others apart, and a hash takes long.
    """
    from aiopt.sweep.counting import SweepCount, author_of, looks_of

    looks = looks_of(bars, context)
    ordered = sorted(tried)
    first = {group: name for name, _, group in reversed(ordered)}
    specs = {group: spec_hash(name) for group, name in first.items()}
    hashes = {symbol: look.span.data_hash for symbol, look in looks.items()}
    basis: list[object] = [config.backtest.config_hash, config.walk_forward, config.ranking.period]
    if context.readings_hash:
        basis.append(context.readings_hash)
    return SweepCount(author_of("sweep", [ordered, specs, hashes, basis]), looks)


def _by_series(given: Sequence[BarSet]) -> tuple[dict[str, BarSet], tuple[str, ...]]:
    """Return bars by the key of their series, and the instruments where there are several."""
    from aiopt.sweep.markets import symbols_of

    symbols = symbols_of(given)
    found: dict[str, BarSet] = {}
    for one in given:
        name = series_name(one.instrument.symbol if symbols else msgspec.UNSET, one.timeframe.label)
        if name in found:
            raise ConfigError(f"Bars of {name} were given twice. Leave one of them out.")
        found[name] = one
    frames: dict[str, set[str]] = {symbol: set() for symbol in symbols}
    for one in given if symbols else ():
        frames[one.instrument.symbol].add(one.timeframe.label)
    if len({frozenset(labels) for labels in frames.values()}) > 1:
        listed = "; ".join(f"{symbol}: {', '.join(sorted(labels))}" for symbol, labels in frames.items())
        msg = f"All instruments need the same time frames, but there are {listed}. Add the others."
        raise ConfigError(msg)
    return found, symbols


def _again(
    points: Sequence[TrialPoint], bars: Mapping[str, BarSet], context: TrialContext, found: StageEngine | None
) -> list[TrialRow]:
    """Run points in the engine, here or on the cluster."""
    from aiopt.optimize.engine import LocalStages

    return (found or LocalStages()).run_trials(points, bars, context)


def _point_of(row: TrialRow) -> TrialPoint:
    """Return the point that a row is the result of."""
    from aiopt.sweep.trial import TrialPoint

    return TrialPoint(
        trial_id=row.trial_id,
        family=row.family,
        timeframe=row.timeframe,
        params=msgspec.json.decode(row.params_json),
        spec=StrategySpec.from_json(row.spec_json),
        instrument=row.instrument,
        search=row.search,
        generation=row.generation,
    )


def _listed(specs: SpecLike | Sequence[SpecLike]) -> list[SpecLike]:
    return [specs] if isinstance(specs, str | Path | StrategySpec | SearchSpace) else list(specs)


def _each(bars: BarsLike | Mapping[str, BarsLike] | Sequence[BarsLike]) -> list[BarsLike]:
    if isinstance(bars, Mapping):
        return list(bars.values())
    return [bars] if isinstance(bars, Bars | BarSet | Path | str) else list(bars)

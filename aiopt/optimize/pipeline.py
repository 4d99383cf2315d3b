"""The pipeline: ticks or bars → bars → sweep → rank → Pine → analysis → report, in one run folder.

Owns the order of the stages and what makes a call resume.  Each stage is one call of another module; nothing
is computed here.  Where the work is done is the engine's matter: this process (`LocalStages`) or a cluster.

A run folder is written by one process only, the driver (the journal by its leaderboard, on a cluster an actor
beside it), every file under a temporary name first.  Finished stages are recognised by their files, finished
trials by the journal, so a run that was killed at any moment continues where it stopped when the same command
is given again.
"""

from __future__ import annotations

import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from aiopt.bars.building.build import BarBuild
from aiopt.bars.request import BarRequest
from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json
from aiopt.errors import BacktestError
from aiopt.evaluation.power import power_lines
from aiopt.files import atomic_write_bytes
from aiopt.optimize.analysis import analyse_run, proposed_strategies
from aiopt.optimize.configuration import (
    OptimizeConfig,
    default_run_id,
    load_strategies,
    run_identity,
)
from aiopt.optimize.continuing import prove_harmless
from aiopt.optimize.engine import LocalStages, StageEngine
from aiopt.optimize.entries import emit_entries
from aiopt.optimize.markets import RunMarkets
from aiopt.optimize.run_folder import RunProgress, owned_run, set_aside
from aiopt.optimize.run_library import check_library, record_run
from aiopt.optimize.run_paths import write_paths
from aiopt.optimize.run_portfolio import write_portfolio
from aiopt.optimize.run_readings import lay_over, open_readings, without_scripts
from aiopt.optimize.run_robustness import write_robustness
from aiopt.optimize.run_verification import check_engine, write_verification
from aiopt.optimize.summary import RunResult, outcome_lines, summarise
from aiopt.optimize.warm_start import WarmStart, read_warm_start
from aiopt.ranking.earlier import said_of
from aiopt.ranking.luck import tests_before
from aiopt.ranking.ranking_config import DEFLATED
from aiopt.ranking.reasons import all_failed, failure_lines
from aiopt.ranking.screened import Screened
from aiopt.report import write_report
from aiopt.report.portfolio import sentence
from aiopt.robustness.robustness_file import confirmed_text
from aiopt.runs import (
    BARS,
    CONFIG,
    LEADERBOARD,
    MANIFEST,
    PINE,
    RANKING,
    REPORT_HTML,
    SCREEN,
    SEARCH,
    TRIALS,
    read_json,
)
from aiopt.screen.failures import ScreenMismatchError
from aiopt.search.record import RunSearches
from aiopt.strategy.space import Point
from aiopt.sweep.board import Board
from aiopt.sweep.confirming import confirm
from aiopt.sweep.counting import (
    SweepCount,
    author_of,
    counted_file,
    counted_journal,
    looks_of,
)
from aiopt.sweep.markets import finest_of_each, span_lines
from aiopt.sweep.planning import PlannedSweep, out_of, plan_sweep
from aiopt.sweep.points import Strategy, check_readings, judged_by, lanes_of, plan_context
from aiopt.sweep.progress import SweepProgress, duration_text
from aiopt.sweep.trial import TrialContext, TrialPoint
from aiopt.sweep.trial_runner import trials_beyond_screen

SCRATCH = ".tune"
"""Folder below a run for an engine's own bookkeeping while the sweep runs."""

Log = Callable[[str], None]
Progress = Callable[[float, float], None]

PROGRESS_INTERVAL_S = 2.0
STANDSTILL_INTERVAL_S = 10.0


def run_pipeline(
    config: OptimizeConfig,
    runs_dir: Path,
    *,
    engine: StageEngine | None = None,
    run_id: str | None = None,
    force: bool = False,
    log: Log = print,
) -> RunResult:
    """Run or continue one optimisation.

    Parameters
    ----------
    config : OptimizeConfig
        From `load_optimize_config`.
    runs_dir : Path
        Folder of run folders, on a disk this process can write.
    engine : StageEngine, optional
        Where the work is done; by default in this process.  The run folder does not depend on it.
    run_id : str, optional
        Name of the run folder; by default `default_run_id`.
    force : bool
        Delete the run folder first if it exists.
    log : callable
        Takes one line of progress.

    Raises
    ------
    RunExistsError
        If the run folder belongs to another configuration or another process is at it.
    InputError, BacktestError, ClusterError, StorageError
        As the stages raise them; `state.json` names the stage.
    """
    strategies = load_strategies(config)
    check_engine(config.pine)
    check_library(config.library)
    say = _timed(log)
    markets = RunMarkets.open(config, runs_dir, say, lambda what: _paced(say, what))
    if not markets.several:
        config = markets.markets[0].config
    config = msgspec.structs.replace(config, ranking=markets.judged(config.ranking))
    conversion = None if markets.several else markets.markets[0].conversion
    readings = open_readings(config, [one.spec for one in strategies])
    warm = None if config.search.warm_start is None else read_warm_start(config, strategies)
    identity = run_identity(
        config,
        strategies,
        markets.data_hash,
        conversion,
        markets.identity(),
        warm_start="" if warm is None else warm.content,
        readings=readings,
    )
    run_dir = runs_dir / (run_id or default_run_id(identity))
    with owned_run(run_dir, identity, force=force) as state:
        say(f"run folder {run_dir}")
        if readings is not None:
            say(f"readings: {readings!r}")
            say(f"pine: {without_scripts([(one.spec.name, one.spec) for one in strategies])}")
        if state.finished:
            say("the run is finished already; --force runs it again")
            if not (run_dir / REPORT_HTML).is_file():
                write_report(run_dir, progress=_paced(say, "report: trials read"))
            record_run(run_dir, config.library, say)
            return summarise(run_dir, log, finished_before=True)
        atomic_write_bytes(run_dir / MANIFEST, markets.manifest_bytes())
        run = _Run(run_dir, config, strategies, markets, state, engine or LocalStages(), say)
        run.warm = warm
        bars = run.build_bars()
        run.sweep_and_rank(bars)
        run.stress(bars)
        run.judge_paths()
        run.combine(bars)
        run.emit(bars)
        run.verify(bars)
        run.analyse(bars)
        state.finish()
        run.report()
        record_run(run_dir, config.library, say)
        say("finished")
        return summarise(run_dir, log, finished_before=False)


class _Run:
    """The stages of one run after its data is known."""

    def __init__(
        self,
        run_dir: Path,
        config: OptimizeConfig,
        strategies: list[Strategy],
        markets: RunMarkets,
        state: RunProgress,
        engine: StageEngine,
        log: Log,
    ) -> None:
        self._dir = run_dir
        # What decides the result is in the file: so says whoever counts the folder later.
        self._author = author_of("run", read_json(run_dir / CONFIG, dict), run_dir.name)
        self._config = config
        self._strategies = strategies
        self._markets = markets
        self._state = state
        self._log = log
        self._engine = engine
        self._swept = strategies
        self._metrics = engine.metrics(run_dir.name)
        self.warm: WarmStart | None = None

    def build_bars(self) -> dict[str, BarSet]:
        """Build bid and ask bars of every timeframe, and load them."""
        self._state.enter("bars")
        folder = self._dir / BARS
        if self._state.changes:
            # Bars of other software are not trusted: what they are built again as is what the proof runs on.
            shutil.rmtree(folder, ignore_errors=True)
        bars = self._markets.load_bars(
            folder,
            self._config.timeframes,
            self._log,
            lambda what: _paced(self._log, what),
            self._build_bars,
        )
        bars = lay_over(bars, self._config, self._dir)
        check_readings(self._strategies, bars)
        sizes = ", ".join(f"{len(bar_set):,} of {series}" for series, bar_set in bars.items())
        self._log(f"bars: {sizes}")
        return bars

    def sweep_and_rank(self, bars: dict[str, BarSet]) -> None:
        """Run every trial that the journal has not, then write ``trials.parquet`` and ``ranking.json``."""
        self._state.enter("sweep")
        config = self._config
        context = plan_context(bars, config, self._markets.data_hash, self._markets.terms())
        opens = {symbol: one.bid.ts_open_ns for symbol, one in finest_of_each(bars.values()).items()}
        for line in span_lines(opens, context.plan.start_ns, context.plan.stop_ns):
            self._log(f"sweep: {line}")
        strategies = list(self._strategies)
        if config.analysis.proposals:
            proposed = proposed_strategies(self._dir, config.analysis, strategies, bars, context.plan)
            self._log(f"analysis: {len(proposed)} proposals are swept too")
            strategies += proposed
        self._swept = strategies
        sweep = plan_sweep(strategies, config, context.plan, self._markets.symbols, self._first(context))
        count = self._counted_before(sweep, bars, context)
        for one in trials_beyond_screen(sweep.first_points(), bars) if context.screen else ():
            self._log(f"screen: {one.what} runs in the engine, hundreds of times slower: {one.reason}")
        board = self._open_board(bars, context)
        if self._state.changes:
            self._log(f"sweep: begun with other versions ({'; '.join(self._state.changes)})")
            proof = prove_harmless(
                sweep.first_points(),
                board,
                self._state.changes,
                lambda again: self._engine.run_trials(again, bars, replace(context, screen=False)),
            )
            self._state.proved(proof)
            self._log(f"sweep: continued, {proof}")
        try:
            points, by_node = self._search(sweep, bars, context, board)
        except BaseException:
            # What was tried counts, whether or not the run is ever continued.
            count.record(counted_journal(self._dir / LEADERBOARD))
            raise
        for node, trials in sorted(by_node.items()):
            self._log(f"sweep: node {node[:8]} ran {trials:,} trials")
        shutil.rmtree(self._dir / SCRATCH, ignore_errors=True)
        counts = board.write_trials(
            self._dir / TRIALS, progress=_paced(self._log, f"sweep: trials read for {TRIALS}")
        )
        tried = counted_file(self._dir / TRIALS)
        # Before anything of them is judged or shown.
        count.record(tried)
        if not counts["ok"]:
            failures = board.progress().failures
            for line in failure_lines(failures, counts["rows"]):
                self._log(f"sweep: {line}")
            raise BacktestError(all_failed(failures))
        self._state.enter("confirm")
        self._confirm(points, bars, context, board)
        self._state.enter("rank")
        self._log("ranking: judging out of sample")
        reading = _paced(self._log, "ranking: trials read")
        result = board.ranking(count.earlier(tried), progress=reading)
        count.open_holdout(entry.instrument for entry in result.entries)
        atomic_write_bytes(self._dir / RANKING, canonical_json(result))
        self._log(f"ranking: {len(result.entries)} entries, {len(result.rejected)} rejected")
        board.close()

    def _open_board(self, bars: dict[str, BarSet], context: TrialContext) -> Board:
        return self._engine.open_board(
            self._dir.name,
            self._dir / LEADERBOARD,
            judged_by(bars, self._config),
            context.plan,
            lambda text: self._log(f"sweep: reading the trials finished before: {text}"),
        )

    def _counted_before(
        self, sweep: PlannedSweep, bars: dict[str, BarSet], context: TrialContext
    ) -> SweepCount:
        """Open the ledger, and say what was tried on the data before and what the sweep could find."""
        judging = self._config.ranking
        points = sweep.first_points()
        count = SweepCount(self._author, looks_of(bars, context))
        count.prepare()
        earlier = count.earlier()
        for line in said_of(earlier):
            self._log(f"ledger: {line}")
        for line in power_lines(
            n_periods=context.plan.periods_of(context.plan.test).size,
            periods_per_year=context.plan.periods_per_year,
            n_trials=sweep.trials + earlier.count,
            n_paths=lanes_of(points, judging.lanes),
            confidence=judging.confidence,
            deflated=judging.evidence == DEFLATED,
            earlier=tests_before(earlier.trials),
        ):
            self._log(f"sweep: {line}")
        return count

    def _search(
        self, sweep: PlannedSweep, bars: dict[str, BarSet], context: TrialContext, board: Board
    ) -> tuple[list[TrialPoint], Counter[str]]:
        """Run every point; where the sampler learns generation by generation, kept in ``search.json``."""
        path = self._dir / SEARCH
        if self._config.learns:
            self._log(
                f"sweep: {self._config.sampler} searches anew for each of {self._config.walk_forward.folds} "
                f"folds and the refit, on its train window alone; all {sweep.trials:,} points count as trials"
            )
        report = out_of(sweep.trials, self._show_progress)
        generations = sweep.generations(
            board,
            keep=lambda found: atomic_write_bytes(path, canonical_json(found)),
            recorded=read_json(path, RunSearches) if path.is_file() else None,
        )
        outcome = self._engine.sweep(
            generations, bars, context, board, scratch_dir=self._dir / SCRATCH, report=report
        )
        return sweep.points, Counter(outcome.trials_by_node)

    def _first(self, context: TrialContext) -> Mapping[str, tuple[Point, ...]]:
        """Return the points that searches begin with."""
        if self.warm is None:
            return {}
        self.warm.check_unseen(context.plan)
        found = self.warm.points
        self._log(f"sweep: searches of {len(found)} groups begin with points of {self.warm.name}")
        return found

    def _confirm(
        self, points: list[TrialPoint], bars: dict[str, BarSet], context: TrialContext, board: Board
    ) -> None:
        """Let the engine run again what a screened sweep is judged by."""
        (self._dir / SCREEN).unlink(missing_ok=True)
        if not context.screen:
            return
        self._log("screen: the engine runs again what the folds chose, and some others")
        try:
            count = confirm(
                points,
                board,
                context,
                lambda again, engine: self._engine.run_trials(
                    again, bars, engine, _paced(self._log, "screen: trials run again")
                ),
                bars=bars,
                reading=_paced(self._log, "screen: trials read"),
            )
        except ScreenMismatchError:
            board.close()
            set_aside(self._dir)
            raise
        self._log(f"screen: {count:,} of {len(points):,} trials run again in the engine, all rows equal")
        beyond = trials_beyond_screen(points, bars)
        for line in (one.text for one in beyond):
            self._log(f"screen: {line}")
        screened = len(points) - sum(one.count for one in beyond)
        found = Screened(trials=screened, confirmed=count, beyond=beyond)
        atomic_write_bytes(self._dir / SCREEN, canonical_json(found))

    def _show_progress(self, progress: SweepProgress) -> None:
        self._log(f"sweep: {progress.line()}")
        if warning := progress.warning():
            self._log(f"sweep: {warning}")
        best = progress.best
        for name, value in (
            ("aiopt_trials_per_second", progress.rate),
            ("aiopt_trials_done", progress.done),
            ("aiopt_trials_total", progress.total),
            ("aiopt_trials_failed", progress.failed),
            ("aiopt_best_score", math.nan if best is None else best.in_sample_sharpe),
        ):
            self._metrics.set(name, value)

    def judge_paths(self) -> None:
        """Write what other paths through the same trials say, ``paths.json``."""
        self._state.enter("paths")
        found = write_paths(
            self._dir,
            progress=_paced(self._log, "paths: groups judged"),
            reading=_paced(self._log, "paths: trials read"),
        )
        self._log(f"paths: {found.paths} combinatorial paths of {found.splits} splits per group")

    def stress(self, bars: dict[str, BarSet]) -> None:
        """Run the ranked entries again under stress and write ``robustness.json``; their order stays."""
        settings = self._config.robustness
        self._state.enter("robustness")
        context = plan_context(bars, self._config, self._markets.data_hash, self._markets.terms())
        progress = _paced(self._log, "robustness: paths run again")
        found = write_robustness(
            self._dir,
            bars,
            context,
            self._swept,
            settings,
            lambda shares, given: self._engine.run_shares(shares, given, progress),
        )
        if found is not None:
            self._log(f"robustness: {confirmed_text(found)}")
            failed = sum(bool(one.failed) for one in found.entries)
            self._log(f"robustness: {failed} of {len(found.entries)} entries fail a required gate")

    def combine(self, bars: dict[str, BarSet]) -> None:
        """Write what the ranked entries come to together, ``portfolio.json``; their order stays."""
        self._state.enter("portfolio")
        context = plan_context(bars, self._config, self._markets.data_hash, self._markets.terms())
        found = write_portfolio(
            self._dir,
            lambda points: self._engine.run_trials(points, bars, context),
            sized_by="screen" if context.screen else "engine",
        )
        self._log(f"portfolio: {sentence(found) if found else 'fewer than two entries, nothing to combine'}")

    def emit(self, bars: dict[str, BarSet]) -> None:
        """Run the ranked entries again for their trades and write their Pine scripts."""
        self._state.enter("pine")
        progress = _paced(self._log, "pine: scripts checked")
        scripts = emit_entries(
            self._dir,
            self._markets,
            bars,
            lambda tasks: self._engine.run_entries(tasks, bars, progress),
            self._swept,
        )
        self._log(f"pine: {len(scripts)} scripts in {self._dir / PINE}")

    def verify(self, bars: dict[str, BarSet]) -> None:
        """Compare the scripts in the Pine engine with the backtest; write ``verification.json``."""
        self._state.enter("verification")
        progress = _paced(self._log, "verification: scripts run and compared")
        found = write_verification(self._dir, bars, self._config.pine, progress)
        for line in outcome_lines(found, self._dir):
            self._log(f"verification: {line}")

    def analyse(self, bars: dict[str, BarSet]) -> None:
        """Let the analyst read the ranked entries' markets and trades."""
        if not self._config.analysis.enabled:
            return
        self._state.enter("analysis")
        found = analyse_run(
            self._dir, self._config.analysis, bars, progress=_paced(self._log, "analysis: charts read")
        )
        fallbacks = sum(bool(chart.result.analysis.fallback_reason) for chart in found.charts)
        fell_back = f", {fallbacks} by the rules instead" if fallbacks else ""
        self._log(f"analysis: {len(found.charts)} charts read by {found.reader}{fell_back}")

    def report(self) -> None:
        """Write the report."""
        self._log(f"report: {write_report(self._dir, progress=_paced(self._log, 'report: trials read'))}")

    def _build_bars(self, store: Path, folder: Path, request: BarRequest, progress: Progress) -> BarBuild:
        built = self._engine.build_bars(store, folder, request, progress)
        self._metrics.set("aiopt_ticks_per_second", built.ticks_per_s)
        return built


def _paced(log: Log, what: str) -> Progress:
    """Return a function that logs how far `what` is: an advance soon, standing still less often."""
    began = last = time.monotonic()
    shown = -1.0

    def show(done: float, total: float) -> None:
        nonlocal last, shown
        now = time.monotonic()
        pause = PROGRESS_INTERVAL_S if done != shown else STANDSTILL_INTERVAL_S
        if total > 0 and now - last >= pause:
            last, shown = now, done
            left = f", ETA {duration_text((now - began) * (total - done) / done)}" if 0 < done < total else ""
            log(f"{what}: {done:,.0f}/{total:,.0f} ({100 * done / total:.0f}%{left})")

    return show


def _timed(log: Log) -> Log:
    """Put the time since now in front of each line."""
    started = time.monotonic()
    return lambda text: log(f"[{time.monotonic() - started:6.1f} s] {text}")

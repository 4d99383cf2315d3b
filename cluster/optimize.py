"""The optimisation job: ticks or bars → bars → sweep → rank → Pine → analysis → report, in one run folder.

Owns the order of the stages and what makes a call resume.  Each stage is one call of another module; nothing
is computed here.

A run folder is written by the driver only (the journal by the ranking actor beside it), every file under a
temporary name first.  Finished stages are recognised by their files, finished trials by the journal, so a run
that was killed at any moment continues where it stopped when the same command is given again.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import ray

from aiopt.backtest.conversion import pip_in_account, with_conversion
from aiopt.bars.building.build import BarBuild, build
from aiopt.bars.files import bar_path, load_bar_set, read_bars
from aiopt.bars.manifest import BarManifest
from aiopt.bars.request import BarRequest
from aiopt.bars.schema import BarSet
from aiopt.bars.stops.stop_files import STOPS_NAME
from aiopt.config import canonical_json
from aiopt.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    AioptError,
    BacktestError,
    ClusterError,
    InputError,
)
from aiopt.evaluation.folds import plan_walk_forward
from aiopt.files import atomic_write_bytes, storage_error
from aiopt.market.instrument import instrument
from aiopt.optimize.analysis import analyse_run, proposed_strategies
from aiopt.optimize.configuration import (
    OptimizeConfig,
    Strategy,
    default_run_id,
    load_optimize_config,
    load_strategies,
    run_identity,
)
from aiopt.optimize.inputs import RunInput, open_input, read_conversion
from aiopt.optimize.points import plan_points
from aiopt.optimize.run_folder import RunProgress, owned_run
from aiopt.optimize.summary import RunResult, summarise
from aiopt.ranking.ranking_file import Ranking
from aiopt.report import write_report
from aiopt.runs import BARS, LEADERBOARD, MANIFEST, PINE, RANKING, REPORT_HTML, TRIALS
from aiopt.sweep.trial import TrialContext
from aiopt.ticks.manifest import Manifest
from aiopt.timeframe import Timeframe, parse_timeframe
from cluster.bars import RayEngine
from cluster.continuing import prove_harmless
from cluster.entries import emit_entries
from cluster.metrics import RunMetrics
from cluster.ranking import start_ranking
from cluster.sweep import SweepProgress, run_sweep

SCRATCH = ".tune"
"""Folder below a run for Ray Tune's bookkeeping while the sweep runs."""

Log = Callable[[str], None]
Progress = Callable[[float, float], None]

PROGRESS_INTERVAL_S = 2.0
STANDSTILL_INTERVAL_S = 10.0


def optimize_job(
    *,
    config_path: Path | None,
    overrides: Mapping[str, Any],
    runs_dir: Path,
    run_id: str | None = None,
    force: bool = False,
    result_path: Path | None = None,
) -> int:
    """Run the job as a script does: print, leave a result document, return the exit code.

    Parameters
    ----------
    config_path : Path or None
        Configuration file; None for the built-in settings.
    overrides : mapping
        Settings above file and environment.
    runs_dir : Path
        Folder of run folders.
    run_id : str, optional
        Name of the run folder.
    force : bool
        Delete the run folder first.
    result_path : Path, optional
        Where to leave ``RunResult`` or ``{"error": …}`` as JSON.

    Returns
    -------
    int
        0 done, 1 failed, 2 bad input, 130 interrupted.
    """
    try:
        _refuse_relative("--runs-dir", runs_dir)
        for name in ("ticks", "bars", "ask_bars", "conversion"):
            given = overrides.get(name, ())
            for path in [given] if isinstance(given, str) else given:
                _refuse_relative(f"--{name.replace('_', '-')}", Path(path))
        config = load_optimize_config(config_path, overrides)
        connect()
        with _interrupts():
            result = run_optimize(config, runs_dir, run_id=run_id, force=force)
    except KeyboardInterrupt:
        message = "interrupted; finished trials are kept, the same command continues"
        return _leave_error(result_path, "Interrupted", message, EXIT_INTERRUPTED)
    except AioptError as error:
        return _leave_error(result_path, type(error).__name__, str(error), error.exit_code)
    except OSError as error:
        translated = storage_error(Path(error.filename or runs_dir), error)
        if translated is None:
            raise
        return _leave_error(result_path, type(translated).__name__, str(translated), translated.exit_code)
    _leave(result_path, result)
    return EXIT_OK


def connect() -> None:
    """Connect this process to the cluster it runs on, quietly."""
    if ray.is_initialized():
        return
    try:
        ray.init(address="auto", namespace="aiopt", log_to_driver=False, logging_level="error")
    except ConnectionError as error:
        msg = (
            "The job must run on a Ray cluster, but none was found. Use `aiopt optimize`, or submit it with "
            '`ray job submit` (`eval "$(aiopt cluster env)"` sets the address).'
        )
        raise ClusterError(msg) from error


def run_optimize(
    config: OptimizeConfig,
    runs_dir: Path,
    *,
    run_id: str | None = None,
    force: bool = False,
    log: Log = print,
) -> RunResult:
    """Run or continue one optimisation on the connected cluster.

    Parameters
    ----------
    config : OptimizeConfig
        From `load_optimize_config`.
    runs_dir : Path
        Folder of run folders, on a disk this process can write.
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
    say = _timed(log)
    data = open_input(config, runs_dir, say, _paced(say, "ticks"))
    say(data.describe())
    judged = config.ranking.with_pip(instrument(data.manifest.instrument).pip_size)
    config = msgspec.structs.replace(config, ranking=judged)
    conversion = read_conversion(config)
    identity = run_identity(config, strategies, data.manifest.data_hash, conversion)
    run_dir = runs_dir / (run_id or default_run_id(identity))
    with owned_run(run_dir, identity, force=force) as state:
        say(f"run folder {run_dir}")
        if state.finished:
            say("the run is finished already; --force runs it again")
            if not (run_dir / REPORT_HTML).is_file():
                write_report(run_dir)
            return summarise(run_dir, log, finished_before=True)
        atomic_write_bytes(run_dir / MANIFEST, data.manifest_bytes())
        run = _Run(run_dir, config, strategies, data, conversion, state, say)
        bars = run.build_bars()
        run.sweep_and_rank(bars)
        run.emit(bars)
        run.analyse(bars)
        state.finish()
        run.report()
        say("finished")
        return summarise(run_dir, log, finished_before=False)


class _Run:
    """The stages of one run after its data is known."""

    def __init__(
        self,
        run_dir: Path,
        config: OptimizeConfig,
        strategies: list[Strategy],
        data: RunInput,
        conversion: BarSet | None,
        state: RunProgress,
        log: Log,
    ) -> None:
        self._dir = run_dir
        self._config = config
        self._strategies = strategies
        self._data = data
        self._conversion = conversion
        self._manifest = data.manifest
        self._state = state
        self._log = log
        self._metrics = RunMetrics(run_dir.name)

    def build_bars(self) -> dict[str, BarSet]:
        """Build bid and ask bars of every timeframe, and load them."""
        self._state.enter("bars")
        timeframes = tuple(parse_timeframe(label) for label in self._config.timeframes)
        folder = self._dir / BARS
        if self._state.changes:
            # Bars of other software are not trusted: what they are built again as is what the proof runs on.
            shutil.rmtree(folder, ignore_errors=True)
        if not _bars_present(folder, self._manifest, timeframes):
            self._data.build(folder, timeframes, self._log, _paced(self._log, "bars"), self._build_bars)
        bars = {
            timeframe.label: load_bar_set(folder / self._manifest.instrument / timeframe.label)
            for timeframe in timeframes
        }
        if self._conversion is not None:
            bars = {label: with_conversion(bar_set, self._conversion) for label, bar_set in bars.items()}
        sizes = ", ".join(f"{len(bar_set):,} of {label}" for label, bar_set in bars.items())
        self._log(f"bars: {sizes}")
        return bars

    def sweep_and_rank(self, bars: dict[str, BarSet]) -> None:
        """Run every trial that the journal has not, then write ``trials.parquet`` and ``ranking.json``."""
        self._state.enter("sweep")
        config = self._config
        finest = min(bars.values(), key=lambda bar_set: bar_set.timeframe.ns)
        plan = plan_walk_forward(
            config.walk_forward, finest.bid.ts_open_ns, period_ns=config.ranking.period_ns
        )
        context = TrialContext(
            backtest=config.backtest, plan=plan, seed=config.seed, data_hash=self._manifest.data_hash
        )
        strategies = list(self._strategies)
        if config.analysis.proposals:
            proposed = proposed_strategies(self._dir, config.analysis, strategies, bars, plan)
            self._log(f"analysis: {len(proposed)} proposals are swept too")
            strategies += proposed
        points = plan_points(strategies, config)
        # Profits are in the account's currency, and so is a pip of the cost stress.
        pip = pip_in_account(finest, config.backtest.account_currency)
        judged = msgspec.structs.replace(
            config.ranking, stress=msgspec.structs.replace(config.ranking.stress, pip_size=pip)
        )
        ranking = start_ranking(self._dir.name, self._dir / LEADERBOARD, judged, plan)
        if self._state.changes:
            self._log(f"sweep: begun with other versions ({'; '.join(self._state.changes)})")
            proof = prove_harmless(points, bars, context, ranking, self._state.changes)
            self._state.proved(proof)
            self._log(f"sweep: continued, {proof}")
        outcome = run_sweep(
            points, bars, context, ranking, scratch_dir=self._dir / SCRATCH, report=self._show_progress
        )
        for node, trials in sorted(outcome.trials_by_node.items()):
            self._log(f"sweep: node {node[:8]} ran {trials} trials")
        shutil.rmtree(self._dir / SCRATCH, ignore_errors=True)
        # Written where the rows are: a hundred thousand of them do not fit twice.
        counts: dict[str, int] = ray.get(ranking.write_trials.remote(self._dir / TRIALS))
        if not counts["ok"]:
            error = ray.get(ranking.first_error.remote())
            raise BacktestError(
                f"At least one trial must succeed, but all {counts['rows']} failed; the first: {error}"
            )
        self._state.enter("rank")
        self._log("ranking: judging out of sample")
        result: Ranking = ray.get(ranking.ranking.remote())
        atomic_write_bytes(self._dir / RANKING, canonical_json(result))
        self._log(f"ranking: {len(result.entries)} entries, {len(result.rejected)} rejected")
        # The name is free for the next call in the same job.
        ray.kill(ranking)

    def _show_progress(self, progress: SweepProgress) -> None:
        self._log(f"sweep: {progress.line()}")
        for name, value in (
            ("aiopt_trials_per_second", progress.rate),
            ("aiopt_trials_done", progress.done),
            ("aiopt_trials_total", progress.total),
            ("aiopt_trials_failed", progress.failed),
            ("aiopt_best_score", progress.best_score),
        ):
            self._metrics.set(name, value)

    def emit(self, bars: dict[str, BarSet]) -> None:
        """Run the ranked entries again for their trades and write their Pine scripts."""
        self._state.enter("pine")
        scripts = emit_entries(
            self._dir, self._config, self._manifest, bars, progress=_paced(self._log, "pine: scripts checked")
        )
        self._log(f"pine: {len(scripts)} scripts in {self._dir / PINE}")

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
        self._log(f"report: {write_report(self._dir)}")

    def _build_bars(self, store: Path, folder: Path, request: BarRequest, progress: Progress) -> BarBuild:
        built = build(store, folder, request, engine=RayEngine(), progress=progress)
        self._metrics.set("aiopt_ticks_per_second", built.ticks_per_s)
        return built


def _paced(log: Log, what: str) -> Progress:
    """Return a function that logs how far `what` is: an advance soon, standing still less often."""
    last, shown = time.monotonic(), -1.0

    def show(done: float, total: float) -> None:
        nonlocal last, shown
        now = time.monotonic()
        pause = PROGRESS_INTERVAL_S if done != shown else STANDSTILL_INTERVAL_S
        if total > 0 and now - last >= pause:
            last, shown = now, done
            log(f"{what}: {done:,.0f}/{total:,.0f} ({100 * done / total:.0f}%)")

    return show


def _timed(log: Log) -> Log:
    """Put the time since now in front of each line."""
    started = time.monotonic()
    return lambda text: log(f"[{time.monotonic() - started:6.1f} s] {text}")


def _bars_present(folder: Path, manifest: Manifest | BarManifest, timeframes: tuple[Timeframe, ...]) -> bool:
    """Tell whether every bar file is there and was built from this data."""
    paths = [
        bar_path(folder, manifest.instrument, timeframe, price)
        for timeframe in timeframes
        for price in ("bid", "ask")
    ]
    # Runs of older versions have no ladder; of ticks off the price grid there is none, and they build again.
    ladders = [path.with_name(STOPS_NAME) for path in paths] if isinstance(manifest, Manifest) else []
    return all(path.is_file() for path in (*paths, *ladders)) and all(
        read_bars(path).meta.data_hash == manifest.data_hash for path in paths
    )


def _refuse_relative(option: str, path: Path) -> None:
    """Refuse a relative path in a Ray job, whose working directory is a copy that is deleted later."""
    if not path.is_absolute() and "runtime_resources" in Path.cwd().parts:
        msg = (
            f"`{option}` must be an absolute path in a Ray job, which runs in a copy of the working "
            f'directory, but got {str(path)!r}. Use e.g. {option} "$PWD/{path}".'
        )
        raise InputError(msg)


@contextmanager
def _interrupts() -> Iterator[None]:
    """Turn SIGTERM, with which Ray stops a job, into KeyboardInterrupt while the block runs."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        # Once: the second signal must not interrupt the writing of the state.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(path: Path | None, document: Any) -> None:
    if path is not None:
        atomic_write_bytes(path, msgspec.json.encode(document))


def _leave_error(path: Path | None, kind: str, message: str, exit_code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    sys.stderr.flush()
    _leave(path, {"error": {"type": kind, "message": message, "exit_code": exit_code}})
    return exit_code

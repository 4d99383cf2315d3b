"""The stage that proves a run's scripts in the user's Pine engine: rewrites their headers, writes its file.

Owns on which bars an entry is verified, and what the run keeps of it, also of a later `aiopt pine verify`.
How a script is compared is `aiopt.verification`'s matter.  Moves no place in the ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.pricing import chart_price
from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json
from aiopt.errors import PineError
from aiopt.files import atomic_write_bytes
from aiopt.optimize.pine_config import PineConfig
from aiopt.pine.provenance import Verification, with_verification
from aiopt.ranking.ranking_file import Ranking
from aiopt.runs import PINE, RANKING, VERIFICATION, read_json
from aiopt.screen.failures import BeyondScreenError
from aiopt.screen.session import ScreenSession
from aiopt.series import series_name
from aiopt.strategy.spec import StrategySpec
from aiopt.verification.engine_folder import PineEngineError, find_engine
from aiopt.verification.pine_runs import PineRunError, PineRunner
from aiopt.verification.scripts import task_of_file
from aiopt.verification.verification_file import RunVerification, Verified
from aiopt.verification.verifying import ScriptTask, verify_scripts

WINDOWS = (3_000, 6_000, 12_000, 24_000)
"""Bars from the end on which an entry is verified: the first number with enough trades, to cost seconds."""
ENOUGH_TRADES = 25


def check_engine(config: PineConfig) -> None:
    """Raise `PineEngineError` where scripts must be verified and there is no engine."""
    if config.verify == "on":
        find_engine()


def write_verification(
    run_dir: Path,
    bars: Mapping[str, BarSet],
    config: PineConfig,
    progress: Callable[[float, float], None],
) -> RunVerification:
    """Verify the scripts of a run, write what was found into their headers and ``verification.json``.

    Parameters
    ----------
    run_dir : Path
        With ``ranking.json`` and ``pine/``; entries without a script are left out.
    bars : mapping of str to BarSet
        Per series.
    config : PineConfig
        Whether to.
    progress : callable
        Called with the scripts done and all of them.

    Returns
    -------
    RunVerification
        Without an engine where nothing was verified; no file is left then.

    Raises
    ------
    PineEngineError
        If they must be verified and there is no engine.
    """
    (run_dir / VERIFICATION).unlink(missing_ok=True)
    ranking = read_json(run_dir / RANKING, Ranking)
    if config.verify == "off":
        return RunVerification(reason="pine.verify is off")
    if not ranking.entries:
        return RunVerification(reason="there is no entry")
    try:
        engine = find_engine()
    except PineEngineError as error:
        if config.verify == "on":
            raise
        return RunVerification(reason=str(error))
    scripts = [(run_dir / PINE / f"{entry.name}.pine", entry) for entry in ranking.entries]
    tasks = [
        _task(path, bars[series_name(entry.instrument, entry.timeframe)])
        for path, entry in scripts
        if path.is_file()
    ]
    if not tasks:
        return RunVerification(reason="no entry has a script: all of them ask for readings")
    answers = verify_scripts(tasks, PineRunner(engine), lambda done: progress(done, len(tasks)))
    record_verification(run_dir, tasks, answers, engine.title)
    return read_json(run_dir / VERIFICATION, RunVerification)


@dataclass(frozen=True)
class Recorded:
    """What recording a verification did to a run.

    Attributes
    ----------
    written : tuple of str
        Files whose content changed, relative to the run folder.
    left : tuple of str
        What was left as it was, and why, in words.
    """

    written: tuple[str, ...]
    left: tuple[str, ...]


def record_verification(
    run_dir: Path, tasks: Sequence[ScriptTask], answers: Sequence[Verified | PineRunError], engine: str
) -> Recorded:
    """Write what was found of a run's scripts into their headers and ``verification.json``.

    Every file is replaced whole.  An answer that proves nothing, since no trade was made, leaves what an
    earlier one proved; entries that are not among the tasks keep what was found of them.

    Parameters
    ----------
    run_dir : Path
        The run.
    tasks, answers : sequences of the same length
        The scripts as they were verified, named as the run's entries, and what came of each.
    engine : str
        Name and version of the Pine engine.

    Raises
    ------
    PineError
        If a script was changed since it was read; nothing is written then.
    """
    path = run_dir / VERIFICATION
    before = read_json(path, RunVerification) if path.is_file() else RunVerification()
    entries, failures = dict(before.entries), dict(before.failures)
    left: list[str] = []
    texts: dict[str, str] = {}
    for task, answer in zip(tasks, answers, strict=True):
        name, script = task.name, f"{PINE}/{task.name}.pine"
        if (run_dir / script).read_text(encoding="utf-8") != task.script:
            raise PineError(f"{run_dir / script} was changed while it was verified. Verify it again.")
        if _proves_nothing(answer) and before.says(name) is not None:
            left.append(f"{name}: no trade was made on these bars, so what was found before stays.")
            continue
        entries.pop(name, None)
        failures.pop(name, None)
        if isinstance(answer, Verified):
            entries[name] = answer
        else:
            failures[name] = str(answer)
        try:
            texts[script] = with_verification(task.script, _stated(answer, engine))
        except PineError as error:
            left.append(f"{script}: {error}")
    found = RunVerification(engine=engine, entries=entries, failures=failures)
    contents = {script: text.encode() for script, text in texts.items()} | {
        VERIFICATION: canonical_json(found)
    }
    changed = [name for name, content in contents.items() if not _holds(run_dir / name, content)]
    for name in changed:
        atomic_write_bytes(run_dir / name, contents[name])
    return Recorded(tuple(changed), tuple(left))


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _proves_nothing(answer: Verified | PineRunError) -> bool:
    return isinstance(answer, Verified) and not answer.trades and answer.difference is None


def _stated(answer: Verified | PineRunError, engine: str) -> Verification:
    """Return what the header says."""
    if not isinstance(answer, Verified):
        return Verification(engine=engine, trades=0, data_hash="", failure=str(answer))
    return Verification(
        engine=answer.engine,
        trades=answer.trades,
        data_hash=answer.data_hash,
        bars=answer.bars,
        first_ts_ns=answer.first_ts_ns,
        last_ts_ns=answer.last_ts_ns,
        failure="" if answer.difference is None else answer.difference.what,
    )


def _task(path: Path, bars: BarSet) -> ScriptTask:
    task = task_of_file(path, bars)
    return replace(task, bars=_window(task.spec, bars, task.config))


def _window(spec: StrategySpec, bars: BarSet, config: BacktestConfig) -> BarSet:
    """Return the fewest bars from the end, of `WINDOWS`, on which the strategy trades enough."""
    chart = chart_price(bars)
    found = chart
    for count in WINDOWS:
        found = chart.slice(max(0, len(chart) - count), len(chart))
        if len(found) == len(chart):
            break
        try:
            trades = len(ScreenSession(found, config).run(spec).trades)
        except BeyondScreenError:
            continue
        if trades >= ENOUGH_TRADES:
            break
    return found

"""From a run folder to a `Report`: reads each file that is there and puts the parts together.

Owns which file feeds which part.  Wording, statistics and markup are its neighbours' matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from aiopt import __version__
from aiopt.bars.manifest import BarManifest, manifests_of
from aiopt.config import content_hash
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.market.instrument import instrument
from aiopt.paths.paths_file import with_nested
from aiopt.portfolio.reading import read_portfolio
from aiopt.ranking import ranking_file as ranked
from aiopt.ranking.earlier import earlier_text, opening_lines
from aiopt.ranking.journal import JournalIndex, read_journal_plan
from aiopt.ranking.trials import read_plan
from aiopt.ranking.whole_rows import Progress, whole_rows
from aiopt.report.analyst import analyst_view
from aiopt.report.document import Data, Entry, Report, Sweep
from aiopt.report.entries import AccountView, entry_view, rejected_view, stretches
from aiopt.report.luck import luck_facts
from aiopt.report.maps_document import SweepMaps
from aiopt.report.paths_view import PathsView, paths_view, power_text
from aiopt.report.quality import data_quality
from aiopt.report.searches import searches_view
from aiopt.report.summary import sentences, unranked_headline
from aiopt.report.sweep import Trials, entry_points, sweep_overview, trial_arrays
from aiopt.report.sweep_maps import sweep_maps
from aiopt.report.verification import read_verification, verification_text
from aiopt.runs import (
    CONFIG,
    ENTRIES_CSV,
    LEADERBOARD,
    MANIFEST,
    REPORT_JSON,
    ROBUSTNESS,
    TRADES_CSV,
    TRIALS,
    RunFileError,
    RunFolder,
    backtest_of,
    read_json,
    unreadable,
)
from aiopt.ticks.manifest import Manifest


def build_report(run: RunFolder, *, progress: Progress | None = None) -> Report:
    """Return the report of a run, finished or not.

    Parameters
    ----------
    run : RunFolder
        From `aiopt.runs.load_run`.
    progress : callable, optional
        Called with the trials read and their number.

    Raises
    ------
    RunFileError
        If a file is there but damaged.
    """
    config = run.config or {}
    markets = market_views(run)
    ranking = run.ranking
    balance, currency = account_of(config, markets)
    trials, plan = _trials(run, ranking, progress)
    symbols = [data.instrument for data in markets]
    entries = entry_views(run, ranking, trials, balance, currency, symbols)
    sweep = None if trials is None or plan is None else _sweep(trials, plan, ranking, entries)
    earlier = [] if ranking is None else earlier_lines(ranking)
    rejected = [rejected_view(one) for one in ranking.rejected] if ranking else []
    return Report(
        run_id=run.run_id,
        status=_status(run),
        stage=run.state.stage,
        error=run.state.error,
        missing=run.describe_missing(),
        headline=_headline(sweep, ranking),
        survivors=sum(entry.survives for entry in entries),
        summary=[
            *([run.ranking_note] if run.ranking_note else ()),
            *sentences(
                sweep,
                entries,
                markets,
                rejected=len(rejected),
                currency=currency,
                span=None if plan is None else (plan.start_ns, plan.stop_ns),
                earlier=earlier,
            ),
        ],
        currency=currency,
        initial_balance=balance,
        stretches=[] if plan is None else stretches(plan),
        entries=entries,
        rejected=rejected,
        sweep=sweep,
        data=markets[0] if len(markets) == 1 else None,
        markets=markets if len(markets) > 1 else msgspec.UNSET,
        config=settings(config),
        config_hash=content_hash(config) if config else "",
        seed=config.get("seed"),
        versions=run.state.versions or {"aiopt": __version__},
        started_at=run.state.started_at,
        finished_at=run.state.finished_at,
        score_formula="" if ranking is None else ranking.score_formula,
        files=_files(run),
        analyst=analyst_view(run),
        ledger=earlier or msgspec.UNSET,
        robustness=run.robustness,
        maps=_maps(trials, plan, entries),
        paths=_paths(run, ranking),
        power=msgspec.UNSET if ranking is None else power_text(ranking),
        portfolio=read_portfolio(run.path) or msgspec.UNSET,
        searches=searches_view(run.path) or msgspec.UNSET,
        screened=run.screened or msgspec.UNSET,
    )


def account_of(config: dict[str, Any], markets: Sequence[Data]) -> tuple[float, str]:
    """Return the account's balance and currency; if unnamed, all markets of a run have one quote currency."""
    backtest = config.get("backtest", {})
    quote = instrument(markets[0].instrument).quote if markets else ""
    return float(backtest.get("initial_balance", 100_000.0)), backtest.get("account_currency") or quote


def _headline(sweep: Sweep | None, ranking: ranked.Ranking | None) -> str:
    if ranking is not None:
        return ranking.headline
    return unranked_headline(None, 0) if sweep is None else unranked_headline(sweep.trials, sweep.failed)


def _with_verification(run: RunFolder, entries: list[Entry]) -> list[Entry]:
    """Return the entries with what a Pine engine says of their scripts, where one ran them."""
    verified = read_verification(run.path)
    if verified.engine is None:
        return entries
    return [
        msgspec.structs.replace(entry, pine_verified=verification_text(verified, entry.name))
        for entry in entries
    ]


def _paths(run: RunFolder, ranking: ranked.Ranking | None) -> PathsView | msgspec.UnsetType:
    """Return what other paths through the trials say; unset where none were asked for."""
    if run.paths is None or not ranking:
        return msgspec.UNSET
    return paths_view(with_nested(run.paths, run.nested_paths), ranking)


def _maps(
    trials: Trials | None, plan: WalkForwardPlan | None, entries: Sequence[Entry]
) -> SweepMaps | msgspec.UnsetType:
    """Return the maps of all trials; unset where none traded so far."""
    if trials is None or plan is None:
        return msgspec.UNSET
    found = sweep_maps(trials, entries)
    return found if found.trade_offs else msgspec.UNSET


def _sweep(
    trials: Trials, plan: WalkForwardPlan, ranking: ranked.Ranking | None, entries: Sequence[Entry]
) -> Sweep:
    """Return the overview of all trials, those that the entries followed marked."""
    found = sweep_overview(trials, plan=plan, statistics=None if ranking is None else ranking.statistics)
    return msgspec.structs.replace(
        found,
        points=[*found.points, *entry_points(entries, trials, plan)],
        luck=[] if ranking is None else luck_facts(ranking.statistics.luck, ranking.config),
    )


def earlier_lines(ranking: ranked.Ranking) -> list[str]:
    """Return what the ledger knew of the run's data when it was ranked."""
    counted = ranking.statistics.earlier_trials
    trials = [f"{earlier_text(counted)}."] if counted else []
    return trials + opening_lines(ranking.holdout_openings or ())


def market_views(run: RunFolder) -> list[Data]:
    """Return the data of every market; nothing where the run does not say."""
    path = run.path / MANIFEST
    if not path.is_file():
        return []
    config = run.config or {}
    return [
        data_quality(one, float(backtest_of(config, symbol).get("extra_spread_pips", 0.0)))
        for symbol, one in read_manifests(path).items()
    ]


def read_manifests(path: Path) -> dict[str, Manifest | BarManifest]:
    """Read the ``manifest.json`` of a run folder, by instrument.

    Raises
    ------
    RunFileError
        If it is damaged.
    """
    try:
        return manifests_of(read_json(path, dict))
    except msgspec.ValidationError as error:
        raise unreadable(path, error) from error


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration as people read it: of each strategy its name and what was searched."""
    shown = dict(config)
    strategies = shown.pop("strategies", None)
    for one in strategies if isinstance(strategies, list) else []:
        if not isinstance(one, dict) or not isinstance(one.get("spec"), dict):
            shown.setdefault("strategies", []).append(one)
            continue
        name = one["spec"].get("family") or one["spec"].get("name", "?")
        searched = {key: _range(dimension) for key, dimension in one.get("dimensions", {}).items()}
        if one.get("constraints"):
            searched["constraints"] = one["constraints"]
        shown[f"search of {name}"] = searched or "a single point"
    return shown


def _range(dimension: Any) -> Any:
    """Return ``5 to 30 step 1`` or the choices of one dimension."""
    if not isinstance(dimension, dict):
        return dimension
    if "values" in dimension:
        return dimension["values"]
    step = dimension.get("step")
    text = f"{dimension.get('low')} to {dimension.get('high')}"
    return text if step is None else f"{text} step {step}"


def _status(run: RunFolder) -> str:
    """Return the run's status; writing the report is a run's last step, so all but that makes it done."""
    emitted = run.ranking is not None and len(run.entries) == len(run.ranking.entries)
    return "done" if run.state.status == "running" and emitted and not run.missing else run.state.status


def _trials(
    run: RunFolder, ranking: ranked.Ranking | None, progress: Progress | None
) -> tuple[Trials | None, WalkForwardPlan | None]:
    """Return the trials and the plan they were measured by; None where they are not known yet."""
    plan = None if ranking is None else ranking.plan
    if not run.has_trials:
        return None, plan
    path = run.trials_path
    if path is not None:
        plan = plan or read_plan(path)
        if plan is None:
            return None, None
        return trial_arrays(whole_rows(path, run.path / LEADERBOARD, progress), plan), plan
    plan = plan or read_journal_plan(run.path / LEADERBOARD)
    # A journal has them in the order in which they finished.
    index = JournalIndex(run.path / LEADERBOARD)
    return trial_arrays(index.rows(), plan), plan


def entry_views(
    run: RunFolder,
    ranking: ranked.Ranking | None,
    trials: Trials | None,
    balance: float,
    currency: str,
    symbols: Sequence[str],
) -> list[Entry]:
    """Return the ranked entries, best first; without `trials` they have no picture of their neighbours."""
    if ranking is None:
        return []
    config = run.config or {}
    records = {record.rank: record for record in run.entries}
    views = []
    for entry in ranking.entries:
        record = records.get(entry.rank)
        symbol = entry.instrument or (symbols[0] if symbols else None)
        charged = backtest_of(config, entry.instrument).get("swap") is not None
        pair = None if symbol is None else instrument(symbol)
        account = AccountView(balance, currency, pair, charged)
        if record is not None and record.trial_id != entry.trial_id:
            msg = (
                f"{run.path}: entry {entry.rank} is trial {record.trial_id} in entries/ but "
                f"{entry.trial_id} in ranking.json. Repeat the run."
            )
            raise RunFileError(msg)
        views.append(
            entry_view(
                entry,
                ranking,
                record=record,
                trials=trials,
                pine=run.pine_source(entry.name if record is None else record.name),
                account=account,
            )
        )
    return _with_verification(run, views)


def _files(run: RunFolder) -> list[str]:
    """Return the files a reader may open beside the page; the three tables are written with it."""
    beside = [
        name for name in (TRIALS, LEADERBOARD, ROBUSTNESS, CONFIG, MANIFEST) if (run.path / name).is_file()
    ]
    return [REPORT_JSON, TRADES_CSV, ENTRIES_CSV, *beside]

"""What a run found in a few lines, without the report: no trial's profits are read.

Owns what `aiopt runs show` says.  A report reads a hundred thousand rows for its pictures; they are not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiopt.config import content_hash
from aiopt.portfolio.portfolio_file import RunPortfolio
from aiopt.portfolio.reading import read_portfolio
from aiopt.ranking.journal import read_heads
from aiopt.ranking.reasons import (
    ReasonCount,
    ReasonCounter,
    failure_reasons_of_file,
    rejection_reasons,
)
from aiopt.ranking.trials import count_trials
from aiopt.report.build import account_of, earlier_lines, entry_views, market_views
from aiopt.report.document import Data, Entry
from aiopt.report.summary import unranked_headline
from aiopt.robustness.robustness_file import Robustness
from aiopt.runs import LEADERBOARD, RunFolder


@dataclass(frozen=True)
class RunOverview:
    """A run, finished or not.

    Attributes
    ----------
    headline : str
        The ranking in one sentence, or how far the sweep is.
    ledger : list of str
        What was tried on the data before.
    markets : list of Data
        The data of every market; empty where the run does not say.
    config_hash : str
        Of the configuration; empty without one.
    seed : int or None
        Of the sampled points.
    trials, failed : int or None
        Recorded trials; None while there is no journal.
    entries : list of Entry
        Best first, as in the report but for its pictures of all trials.
    candidates : int
        Candidates in all, entries included.
    failures, rejections : list of ReasonCount
        Why trials failed and candidates were rejected, the most frequent reason first.
    robustness : Robustness or None
        What the entries did under stress.
    portfolio : RunPortfolio or None
        What they come to together.
    """

    headline: str
    ledger: list[str]
    markets: list[Data]
    config_hash: str
    seed: Any
    trials: int | None
    failed: int | None
    entries: list[Entry]
    candidates: int
    failures: list[ReasonCount]
    rejections: list[ReasonCount]
    robustness: Robustness | None
    portfolio: RunPortfolio | None

    @property
    def synthetic(self) -> bool:
        """Whether any of the data was generated."""
        return any(data.synthetic for data in self.markets)


def run_overview(run: RunFolder) -> RunOverview:
    """Return what a run found.

    Raises
    ------
    RunFileError, DataError
        If a file is there but damaged.
    """
    config, ranking = run.config or {}, run.ranking
    markets = market_views(run)
    account = account_of(config, markets)
    entries = entry_views(run, ranking, None, *account, [data.instrument for data in markets])
    trials, failures = _recorded(run)
    failed = None if trials is None else sum(one.count for one in failures)
    rejected = [] if ranking is None else ranking.rejected
    return RunOverview(
        headline=unranked_headline(trials, failed or 0) if ranking is None else ranking.headline,
        ledger=[] if ranking is None else earlier_lines(ranking),
        markets=markets,
        config_hash=content_hash(config) if config else "",
        seed=config.get("seed"),
        trials=trials,
        failed=failed,
        entries=entries,
        candidates=len(entries) + len(rejected),
        failures=failures,
        rejections=rejection_reasons(rejected),
        robustness=run.robustness,
        portfolio=read_portfolio(run.path),
    )


def _recorded(run: RunFolder) -> tuple[int | None, list[ReasonCount]]:
    """Return how many trials are recorded, None where the sweep has not begun, and why some failed."""
    if run.trials_path is not None:
        return count_trials(run.trials_path), failure_reasons_of_file(run.trials_path)
    if not run.has_trials:
        return None, []
    counter, count = ReasonCounter(), 0
    for head in read_heads(run.path / LEADERBOARD):
        count += 1
        if head.error:
            counter.add(head.error, head.group)
    return count, counter.counts()

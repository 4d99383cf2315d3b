"""What a report says, as plain frozen records: the content of ``report.json`` and the input of the page.

Owns the records only.  Knows nothing of files or of markup; `aiopt.report.build` fills them in, the writers
show them.  Times are UTC nanoseconds, money is quote currency, Sharpe ratios are annualised, drawdowns are
fractions in (-1, 0]; None means "not known", never zero.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aiopt.portfolio.portfolio_file import RunPortfolio
from aiopt.ranking.screened import Screened
from aiopt.report.maps_document import SweepMaps
from aiopt.report.paths_view import PathsView
from aiopt.report.searches import SearchesView
from aiopt.robustness.robustness_file import Robustness
from aiopt.series import Symbol
from aiopt.trades import Trade


def _bars_of(instrument: Symbol, timeframe: str) -> str:
    return f"{instrument} {timeframe}" if instrument else timeframe


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A figure and, where one was computed, its 95% confidence interval."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one kind of data: ``"in_sample"``, ``"out_of_sample"`` or ``"holdout"``."""

    kind: str
    sharpe: Estimate
    net_pnl: float | None
    profit_factor: float | None
    win_rate: float | None
    max_drawdown: float | None
    trades: int | None


class ScorePart(msgspec.Struct, frozen=True, kw_only=True):
    """One component of the score: `value` in [0, 1], its weight, and the raw figure behind it."""

    name: str
    value: float
    weight: float
    raw: str = ""


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """One walk-forward step: parameters chosen on the train window, traded on the test window."""

    number: int
    train_start_ns: int
    train_stop_ns: int
    test_start_ns: int
    test_stop_ns: int
    trial_id: str
    params: dict[str, Any]
    in_sample_sharpe: float | None
    out_of_sample_sharpe: float | None
    pnl: float | None
    trades: int | None


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the time axis: `kind` is ``"train"``, ``"oos"`` or ``"holdout"``."""

    kind: str
    label: str
    start_ns: int
    stop_ns: int


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Equity over time; both lists have the same length, times ascend."""

    ts_ns: list[int]
    equity: list[float]


class HeatMap(msgspec.Struct, frozen=True, kw_only=True):
    """Median in-sample metric over two parameters; ``values[row][column]`` is None where no trial fell."""

    metric: str
    x_name: str
    y_name: str
    x_labels: list[str]
    y_labels: list[str]
    values: list[list[float | None]]
    counts: list[list[int]]
    chosen: tuple[int, int] | None


class Breakdown(msgspec.Struct, frozen=True, kw_only=True):
    """Profit and loss and number of trades per category, e.g. hour of the day (UTC)."""

    labels: list[str]
    pnl: list[float]
    trades: list[int]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One question the verdict rests on; `passed` is None where the data cannot answer it."""

    name: str
    passed: bool | None
    value: float | None
    rule: str


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """A named value in words, e.g. a check with its outcome."""

    name: str
    value: str
    note: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One ranked entry."""

    rank: int
    name: str
    family: str
    timeframe: str
    trial_id: str
    params: dict[str, Any]
    score: float | None
    parts: list[ScorePart]
    windows: list[Window]
    deflated_sharpe: float | None
    pbo: float | None
    survives: bool
    grade: str
    verdict: str
    checks: list[Check]
    evidence: list[Fact]
    stress: list[Fact]
    folds: list[Fold]
    walk_forward: Curve | None
    emitted: Curve | None
    trades: list[Trade]
    heat_map: HeatMap | None
    by_hour: Breakdown | None
    by_weekday: Breakdown | None
    pine: str | None
    spec_hash: str
    rollover: str = ""
    stop_fills: str = ""
    rules: list[Fact] = []
    instrument: Symbol = msgspec.UNSET
    p_value_family_wise: float | None = None
    pine_verified: str | msgspec.UnsetType = msgspec.UNSET

    @property
    def bars(self) -> str:
        """The bars traded, for people: ``"5m"``, of several markets ``"EURUSD 5m"``."""
        return _bars_of(self.instrument, self.timeframe)

    def window(self, kind: str) -> Window | None:
        """Return the window of a kind, or None."""
        return next((window for window in self.windows if window.kind == kind), None)


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that did not enter the table, and why."""

    name: str
    family: str
    timeframe: str
    reason: str
    trades: int | None
    score: float | None
    instrument: Symbol = msgspec.UNSET
    p_value_family_wise: float | None = None

    @property
    def bars(self) -> str:
        """As of an `Entry`."""
        return _bars_of(self.instrument, self.timeframe)


class FailedTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A trial that ended with an error."""

    trial_id: str
    group: str
    params: str
    reason: str


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The trials of one family on one timeframe.

    Figures without "in_sample" in their name are out of sample: over the test segments of all folds.
    """

    name: str
    family: str
    timeframe: str
    trials: int
    failed: int
    share_profitable: float | None
    best_in_sample_sharpe: float | None
    median_sharpe: float | None
    best_sharpe: float | None
    rank_correlation: float | None
    pbo: float | None
    instrument: Symbol = msgspec.UNSET

    @property
    def bars(self) -> str:
        """As of an `Entry`."""
        return _bars_of(self.instrument, self.timeframe)


class TrialPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One trial in one fold: its Sharpe ratio on the train window and on the test segment after it.

    `rank` is that of the entry whose path uses this trial in this fold, None if no entry does.
    """

    trial_id: str
    fold: int
    in_sample: float
    out_of_sample: float
    rank: int | None


class Density(msgspec.Struct, frozen=True, kw_only=True):
    """How many points lie in each cell of a grid over a scatter plot; empty cells are left out.

    Attributes
    ----------
    x, y : tuple of (float, float)
        What the grid covers.
    columns, rows : int
        Cells across and up.
    cells : list of (int, int, int)
        Column, row and count.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    columns: int
    rows: int
    cells: list[tuple[int, int, int]]


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """All trials of the run.

    Attributes
    ----------
    sharpe : list of float
        Out-of-sample Sharpe ratio of each trial that has one, over the test segments of all folds.
    best_sharpe : float or None
        The highest of them, known only in hindsight.
    expected_maximum_sharpe : float or None
        The highest to expect from as many trials without skill.
    points : list of TrialPoint
        At most `points_total` of them are kept.
    earlier_trials : int or unset
        Trials of others on the same data, which count too; unset where there are none.
    density : Density or unset
        Of all points, where some are not kept.
    """

    trials: int
    failed: int
    groups: list[Group]
    points: list[TrialPoint]
    points_total: int
    sharpe: list[float]
    best_sharpe: float | None
    expected_maximum_sharpe: float | None
    share_profitable: float | None
    median_sharpe: float | None
    rank_correlation: float | None
    pbo: float | None
    failures: list[FailedTrial]
    luck: list[Fact] = []
    earlier_trials: int | msgspec.UnsetType = msgspec.UNSET
    density: Density | msgspec.UnsetType = msgspec.UNSET

    @property
    def counted(self) -> int:
        """Trials of the run, and earlier ones that count too."""
        return self.trials + (self.earlier_trials or 0)


class HourRow(msgspec.Struct, frozen=True, kw_only=True):
    """Ticks per hour (UTC) of one day; None marks an hour that was not delivered.

    Of a run on bars: the bars that are missing while the market was open.  Of a long span a row is a month:
    the mean of its days that have ticks, or the sum of what is missing.
    """

    day: str
    ticks: list[int | None]


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """The data of the run: `ticks`, or `bars` of `timeframe`, and in words where the `spread` is from."""

    instrument: str
    synthetic: bool
    source: str
    ticks: int | None
    bars: int | None = None
    timeframe: str = ""
    spread: str
    start_ns: int | None
    stop_ns: int | None
    data_hash: str
    facts: list[Fact]
    treated: list[Fact]
    gaps: list[Fact]
    hours: list[HourRow]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the analyst read in one chart.

    `rank` is the entry whose trade it is, 0 for a market.  `last_ts_ns` is the last bar that was read;
    `picture` the file in the run folder.
    """

    name: str
    rank: int
    timeframe: str
    last_ts_ns: int
    picture: str
    bias: str
    trend: str
    volatility: str
    confidence: float
    patterns: list[str]
    rationale: str
    reader: str
    fallback_reason: str
    side: str = ""
    pnl: float | None = None
    instrument: Symbol = msgspec.UNSET

    @property
    def bars(self) -> str:
        """As of an `Entry`."""
        return _bars_of(self.instrument, self.timeframe)


class Opinion(msgspec.Struct, frozen=True, kw_only=True):
    """An entry's place by the analyst's agreement with its trades, beside its rank, which stands."""

    rank: int
    entry: str
    analyst_rank: int
    agreement: float | None
    trades: int


class Analyst(msgspec.Struct, frozen=True, kw_only=True):
    """The analyst's part of a run; it touched no score."""

    reader: str
    readings: list[Reading]
    opinions: list[Opinion]
    fallbacks: int
    proposals: list[Fact]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report; `data` of a run of one market, `markets` of a run of several.

    `ledger`: what was tried on the data before, in sentences; unset where nothing was.
    """

    run_id: str
    status: str
    stage: str
    error: str
    missing: list[str]
    headline: str
    survivors: int
    summary: list[str]
    currency: str
    initial_balance: float
    stretches: list[Stretch]
    entries: list[Entry]
    rejected: list[Rejected]
    sweep: Sweep | None
    data: Data | None
    config: dict[str, Any]
    config_hash: str
    seed: int | None
    versions: dict[str, str]
    started_at: str
    finished_at: str
    score_formula: str
    files: list[str]
    analyst: Analyst | None = None
    format: int = 1
    robustness: Robustness | None = None
    portfolio: RunPortfolio | msgspec.UnsetType = msgspec.UNSET
    markets: list[Data] | msgspec.UnsetType = msgspec.UNSET
    ledger: list[str] | msgspec.UnsetType = msgspec.UNSET
    maps: SweepMaps | msgspec.UnsetType = msgspec.UNSET
    paths: PathsView | msgspec.UnsetType = msgspec.UNSET
    power: list[str] | msgspec.UnsetType = msgspec.UNSET
    searches: SearchesView | msgspec.UnsetType = msgspec.UNSET
    screened: Screened | msgspec.UnsetType = msgspec.UNSET

    @property
    def all_data(self) -> list[Data]:
        """The data of every market; empty where the run does not say."""
        return self.markets or ([] if self.data is None else [self.data])

    @property
    def synthetic(self) -> bool:
        """Whether any of the data was generated."""
        return any(data.synthetic for data in self.all_data)

"""What the stage found: the content of ``robustness.json``.

Owns the records, and what they add to a ranking that is read beside them.  Money is in the account's
currency, Sharpe ratios are annualised, times are UTC nanoseconds.  None means "not known", never zero.
"""

from __future__ import annotations

import msgspec

from aiopt.errors import InputError
from aiopt.ranking.ranking_file import SURVIVES, WEAK, Check, Entry, Ranking
from aiopt.ranking.verdict import headline
from aiopt.robustness.robustness_config import RobustnessConfig

FORMAT = 1

CHECK = "robustness"
"""Name of the check that an entry gets beside those of its ranking."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the records."""


class Quantiles(Record, frozen=True, kw_only=True):
    """A distribution over draws; equal values where there is one draw."""

    q05: float
    q25: float
    q50: float
    q75: float
    q95: float


class Scenario(Record, frozen=True, kw_only=True):
    """An entry's walk-forward path under one kind of stress.

    Attributes
    ----------
    name : str
        One of `aiopt.robustness.robustness_config.SCENARIOS`.
    text : str
        What was done.
    draws : int
        Runs; 0 where the scenario does not apply, and `text` says why.
    net_pnl, max_drawdown_amount : Quantiles or None
        Of the path.
    sharpe : Quantiles or None
        Over the draws whose profit varies.
    share_profitable : float or None
        Share of draws with a profit.
    fan : list of list of float
        Quantiles 5, 25, 50, 75 and 95 % of the profit so far, at each of `EntryRobustness.fan_ts_ns`; empty
        where every draw is shown by its figures alone.
    """

    name: str
    text: str
    draws: int
    net_pnl: Quantiles | None = None
    sharpe: Quantiles | None = None
    max_drawdown_amount: Quantiles | None = None
    share_profitable: float | None = None
    fan: list[list[float]] = []


class Part(Record, frozen=True, kw_only=True):
    """What one part of the out-of-sample path earned, e.g. a session.

    Attributes
    ----------
    label : str
        E.g. ``"London"``, ``"2024-03"``.
    net_pnl : float
        Marked to market at the ends of periods.
    trades : int
        Entered in it.
    periods : int
        Periods in it, closed hours included.
    """

    label: str
    net_pnl: float
    trades: int
    periods: int


class ParameterMove(Record, frozen=True, kw_only=True):
    """How one parameter matters and moves.

    Attributes
    ----------
    name : str
    value : float
        Emitted.
    low, high : float
        Tried in the sweep.
    importance : float or None
        Mean change of the train Sharpe ratio, without sign, where the values tried stand in for the emitted
        one and all else stays.
    fold_move : float or None
        Mean move between consecutive folds, as a share of the range tried.
    """

    name: str
    value: float
    low: float
    high: float
    importance: float | None
    fold_move: float | None


class Neighbours(Record, frozen=True, kw_only=True):
    """Points round the emitted parameters on some segments.

    Attributes
    ----------
    own_sharpe : float or None
        Of the emitted parameters.
    sharpe : Quantiles or None
        Of the neighbours.
    worst_sharpe : float or None
    share_profitable : float or None
    median_ratio : float or None
        Median Sharpe ratio of the neighbours over the entry's own; None where that is not positive.
    """

    own_sharpe: float | None
    sharpe: Quantiles | None
    worst_sharpe: float | None
    share_profitable: float | None
    median_ratio: float | None


class Map(Record, frozen=True, kw_only=True):
    """Sharpe ratio on the train segments over the two parameters that matter most, all else as emitted.

    ``sharpe[row][column]`` is of ``y_values[row]`` and ``x_values[column]``; None where a constraint forbids
    the point or its profit does not vary.  `chosen` is the cell of the emitted values, as (column, row).
    """

    x_name: str
    y_name: str
    x_values: list[float]
    y_values: list[float]
    sharpe: list[list[float | None]]
    chosen: tuple[int, int]


class Neighbourhood(Record, frozen=True, kw_only=True):
    """Plateau or spike.

    Attributes
    ----------
    points : int
        Distinct neighbours screened.
    train, test : Neighbours
        On the segments the emitted parameters were chosen on, and on the folds' test segments.
    parameters : list of ParameterMove
        The one that matters most first.
    map : Map or None
        None with fewer than two parameters.
    shape : str
        ``"plateau"``: more than half of the neighbours keep half of the Sharpe ratio on train segments;
        ``"spike"``: fewer; ``"unknown"`` where it is not positive.
    """

    points: int
    train: Neighbours
    test: Neighbours
    parameters: list[ParameterMove]
    map: Map | None
    shape: str


class FoldRank(Record, frozen=True, kw_only=True):
    """Where a fold's choice stood among the trials of its group, by profit.

    Attributes
    ----------
    fold : int
        From 1.
    train, test : float
        Share of the other trials that earned less, on the train window and on the test segments after it.
    """

    fold: int
    train: float
    test: float


class GateResult(Record, frozen=True, kw_only=True):
    """A gate and its outcome; `passed` is None where the figure is not known."""

    figure: str
    value: float | None
    rule: str
    required: bool
    passed: bool | None


class EntryRobustness(Record, frozen=True, kw_only=True):
    """What was found of one ranked entry.

    Attributes
    ----------
    rank : int
    name, trial_id : str
        As in the ranking.
    net_pnl, max_drawdown_amount : float
        Of the path without stress, which is the ranking's.
    sharpe : float or None
    trades : int
    scenarios : list of Scenario
        In the order of `SCENARIOS`.
    fan_ts_ns : list of int
        Ends of the periods at which fans are kept.
    fan : list of float
        Profit so far without stress.
    months, sessions, trends, volatilities : list of Part
        Of the path without stress, out of sample; see `aiopt.robustness.breakdown`.
    neighbourhood : Neighbourhood or None
        None for a strategy without searched parameters.
    ranks : list of FoldRank
        Empty where the trials of the sweep are not known, or the group has no other.
    gates : list of GateResult
    trials : int
        Points screened that are no trial of the sweep.
    beyond_screen : str
        Why the screen could not run the entry, so that NautilusTrader ran its scenarios, fewer draws of each,
        and its neighbourhood was not measured; empty where the screen ran it.
    """

    rank: int
    name: str
    trial_id: str
    net_pnl: float
    sharpe: float | None
    max_drawdown_amount: float
    trades: int
    scenarios: list[Scenario]
    fan_ts_ns: list[int]
    fan: list[float]
    months: list[Part]
    sessions: list[Part]
    trends: list[Part]
    volatilities: list[Part]
    neighbourhood: Neighbourhood | None
    ranks: list[FoldRank]
    gates: list[GateResult]
    trials: int
    beyond_screen: str = ""

    @property
    def failed(self) -> list[GateResult]:
        """The required gates that it fails."""
        return [gate for gate in self.gates if gate.required and gate.passed is False]


class Robustness(Record, frozen=True, kw_only=True):
    """What was found of all ranked entries.

    Attributes
    ----------
    entries : list of EntryRobustness
        In the order of the ranking.
    config : RobustnessConfig
        What they were put through.
    trials : int
        Points screened round emitted parameters.  They can only take a "survives" away and choose nothing,
        so no N of a deflated Sharpe ratio counts them.
    paths : int or None
        Stressed paths that were run; None in files of earlier versions, as are the next two.
    confirmed : int or None
        Stressed backtests, drawn from the seed, that NautilusTrader ran again: all equal to the screen's.
    in_engine : int or None
        Of `paths`, those that the screen could not run exactly, so that NautilusTrader did.
    """

    entries: list[EntryRobustness]
    config: RobustnessConfig
    trials: int
    paths: int | None = None
    confirmed: int | None = None
    in_engine: int | None = None
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            # Reading it gives an error that names the file.
            msg = f"robustness.json has format {self.format}, and this version of aiopt reads {FORMAT}"
            raise ValueError(msg)


def confirmed_text(found: Robustness) -> str:
    """Return what NautilusTrader ran, in a sentence; empty of a file of an earlier version."""
    if found.paths is None or found.confirmed is None or found.in_engine is None:
        return ""
    paths = f"{found.paths:,} stressed paths"
    if found.in_engine == found.paths:
        said = f"{paths}: NautilusTrader ran all of them, the screen could not"
    else:
        said = f"{paths} through the screen; NautilusTrader ran {found.confirmed:,} of their backtests again"
        said += ", all equal" if found.confirmed else ""
        if found.in_engine:
            said += f", and {found.in_engine:,} paths that the screen could not run exactly"
    beyond = [one for one in found.entries if one.beyond_screen]
    if beyond:
        whose = ", ".join(str(one.rank) for one in beyond)
        said += (
            f". Beyond the screen: {len(beyond)} of {len(found.entries)} entries (rank {whose}), so their "
            f"scenarios have fewer draws and no neighbourhood was measured ({beyond[0].beyond_screen})"
        )
    return f"{said}."


def with_robustness(ranking: Ranking, found: Robustness) -> Ranking:
    """Return a ranking whose entries have one check more: the required gates.

    Order, scores and all other checks stay.  An entry that survived and fails a required gate is weak, and
    the headline does not count it.

    Raises
    ------
    InputError
        If the entries are others.
    """
    if not any(gate.required for gate in found.config.gates):
        return ranking
    ours = [(one.rank, one.trial_id) for one in found.entries]
    theirs = [(one.rank, one.trial_id) for one in ranking.entries]
    if ours != theirs:
        msg = f"robustness.json is of the entries {ours}, but the ranking has {theirs}. Repeat the run."
        raise InputError(msg)
    entries = [_judged(one, two) for one, two in zip(ranking.entries, found.entries, strict=True)]
    said = ranking.headline
    if any(one.survives != two.survives for one, two in zip(ranking.entries, entries, strict=True)):
        said = headline(entries, ranking.statistics)
    return msgspec.structs.replace(ranking, entries=entries, headline=said)


def _judged(entry: Entry, found: EntryRobustness) -> Entry:
    required = [gate for gate in found.gates if gate.required]
    failed = found.failed
    answered = any(gate.passed is not None for gate in required)
    rules = ", ".join(f"{gate.figure.replace('_', ' ')} {gate.rule}" for gate in failed or required)
    check = Check(
        name=CHECK,
        passed=None if not answered else not failed,
        value=float(len(failed)),
        rule=f"required gates under stress that fail; {'these do' if failed else 'all hold'}: {rules}",
    )
    lost = bool(failed) and entry.survives
    return msgspec.structs.replace(
        entry,
        checks=[*entry.checks, check],
        survives=entry.survives and not failed,
        verdict=WEAK if lost and entry.verdict == SURVIVES else entry.verdict,
    )

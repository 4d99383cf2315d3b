"""What the library gives back: strategies, evaluations, runs, pages of them.  Owns the records only.

Money is the account's currency, Sharpe ratios are annualised, times of the market are UTC nanoseconds.  None
means "not defined on this data", never zero.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import msgspec

from aiopt.errors import ConfigError

Source = Literal["spec", "run"]
"""Where a strategy first came from: a spec somebody added, or a run that found it."""

Order = Literal["added", "name", "sharpe", "deflated"]


class Origin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a strategy comes from, and what may be done with it.

    Attributes
    ----------
    licence : str
        E.g. ``"MIT"``, ``"own"``, ``"public domain"``.
    origin : str
        Book, page, address or person.
    authors : tuple of str
        Who thought of it.
    citation : str
        How it is cited.
    tags : tuple of str
        Words to find it by.

    Raises
    ------
    ConfigError
        If licence or origin is empty: both are required of everything that comes in.
    """

    licence: str
    origin: str
    authors: tuple[str, ...] = ()
    citation: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, example in (("licence", "MIT, own"), ("origin", "a book, a page, a person")):
            if not getattr(self, name).strip():
                msg = f"A strategy must come with its {name}, but got none. Give it, e.g. {example}."
                raise ConfigError(msg)


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a spec that was added.

    Attributes
    ----------
    id : str
        The strategy's.
    new : bool
        Whether nobody had added this strategy before.
    same_as : str
        Name of the strategy it is only another writing of; empty where it is new or known as it stands.
    """

    id: str
    new: bool
    same_as: str = ""


class StrategyRow(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy of a list.  The figures are those of its newest evaluation; None where it has none."""

    id: str
    name: str
    family: str
    source: str
    origin: str
    licence: str
    tags: list[str]
    added_at: dt.datetime
    evaluations: int
    instrument: str | None
    timeframe: str | None
    net_pnl: float | None
    trades: int | None
    sharpe: float | None
    deflated_sharpe: float | None
    trials_counted: int | None
    verdict: str | None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a list.

    Attributes
    ----------
    total : int
        Strategies that match.
    offset : int
        Place of the first row in the whole list.
    rows : list of StrategyRow
        This part.
    """

    total: int
    offset: int
    rows: list[StrategyRow]


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which strategies are wanted; every field that is given must hold.

    Attributes
    ----------
    text : str
        Words of name, family, description, origin or citation; beginnings of words count.
    family, source, tag, instrument, timeframe, verdict : str or None
        As recorded; the last three of some evaluation.
    survives : bool or None
        Whether some evaluation's verdict was that it survives.
    min_trades : int or None
        Out-of-sample trades of some evaluation, at least.
    """

    text: str = ""
    family: str | None = None
    source: str | None = None
    tag: str | None = None
    instrument: str | None = None
    timeframe: str | None = None
    verdict: str | None = None
    survives: bool | None = None
    min_trades: int | None = None


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy did on data it had not seen, in one run.

    `trials_counted` and `deflated_sharpe` are as they were at the time of the run.
    """

    id: int
    run_id: str
    run: str
    rank: int
    entry: str
    spec_hash: str
    instrument: str
    timeframe: str
    data_hash: str
    config_hash: str
    engine: str
    verdict: str
    survives: bool
    score: float
    net_pnl: float
    trades: int
    sharpe: float | None
    sharpe_low: float | None
    sharpe_high: float | None
    deflated_sharpe: float | None
    p_value: float | None
    trials_counted: int
    details: dict[str, Any]
    recorded_at: dt.datetime


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy earned in one period, and of what kind the period was."""

    kind: str
    start_ns: int
    stop_ns: int
    net_pnl: float
    trades: int
    sharpe: float | None
    trial_id: str
    evaluation_id: int | None


class Spelling(msgspec.Struct, frozen=True, kw_only=True):
    """One writing of a strategy."""

    spec_hash: str
    name: str
    spec: dict[str, Any]


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """All the library knows of a strategy."""

    id: str
    structure: str
    name: str
    family: str
    description: str
    source: str
    licence: str
    origin: str
    authors: list[str]
    citation: str
    tags: list[str]
    added_at: dt.datetime
    spellings: list[Spelling]
    evaluations: list[Evaluation]
    history: list[Performance]
    parents: list[str]
    children: list[str]
    same_structure: list[str]

    def __repr__(self) -> str:
        return f"<Strategy {self.name} {self.id[:12]}, {len(self.evaluations)} evaluations>"


class ImportedRun(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run that was taken in.

    Attributes
    ----------
    run_id, name : str
        The run.
    new : bool
        Whether it was not yet known; a known one changes nothing.
    strategies, evaluations : int
        New ones.
    entries : int
        Ranked entries of the run.
    """

    run_id: str
    name: str
    new: bool
    entries: int
    strategies: int
    evaluations: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What the library holds and where."""

    place: str
    embedded: bool
    server: str
    version: str
    strategies: int
    spellings: int
    evaluations: int
    patterns: int
    performance: int
    runs: int
    bytes: int

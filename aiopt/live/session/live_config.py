"""What a live session does: account, strategies, feed, warm-up, and what happens at its edges.

Owns the typed configuration and its file.  Knows no engine.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from aiopt.config import content_hash, decode, read_mapping
from aiopt.errors import ConfigError
from aiopt.live.feeds.feed_config import (
    AnyFeed,
    DukascopyFeed,
    check_history,
    comes_live,
    feed_from,
    same_feed,
    with_kind,
)
from aiopt.live.feeds.feed_config import ReplayFeed as ReplayFeed
from aiopt.live.guard.guard_config import GuardConfig
from aiopt.live.paper.paper_config import PaperConfig
from aiopt.live.reading.analyst_config import LiveAnalyst, check_asked
from aiopt.live.session.metrics_config import MetricsConfig
from aiopt.live.session.ranked import is_ranked, ranked_spec, run_of, spec_named
from aiopt.live.watch.watch_config import WatchConfig
from aiopt.strategy.spec import StrategySpec
from aiopt.timeframe import Timeframe, parse_timeframe

_NAME = re.compile(r"[A-Za-z0-9_]{1,24}")
_LOCAL_BUS = "local:"

DEFAULT_TIMEFRAME = "5m"

Profile = Literal["dev", "paper", "production"]


class TradedSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One strategy of a session.

    Attributes
    ----------
    id : str
        Names it in orders, trades and events: letters, digits, underscores.
    spec : str
        File of the spec (JSON or YAML), a ready family, or ``RUN#RANK``: a ranked entry of a run.
    timeframe : str or None
        Bars it decides on, e.g. ``"5m"``; None: those it was ranked on, else 5m.
    balance : float or None
        Its part of the account, by which it sizes and judges margin; None: an equal part.
    mode : str
        ``"trade"``, or ``"observe"``: signals and the trades that would be are told, and no entry is sent.
    """

    id: str
    spec: str
    timeframe: str | None = None
    balance: float | None = None
    mode: Literal["trade", "observe"] = "trade"

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.id) is None:
            msg = f"`strategies.id` is 1 to 24 letters, digits and underscores, but got {self.id!r}."
            raise ConfigError(f"{msg} Write e.g. cross_1.")
        parse_timeframe(self.timeframe or DEFAULT_TIMEFRAME)
        if self.balance is not None and not 0 < self.balance < float("inf"):
            msg = f"`0 < strategies.balance < inf` must hold, but got {self.balance!r} for {self.id}."
            raise ConfigError(f"{msg} Leave it out for an equal part.")

    @property
    def frame(self) -> Timeframe:
        """The bars it decides on."""
        if self.timeframe is None and is_ranked(self.spec):
            return parse_timeframe(ranked_spec(self.spec).timeframe)
        return parse_timeframe(self.timeframe or DEFAULT_TIMEFRAME)


class LiveConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A session.

    Attributes
    ----------
    account : PaperConfig
        Account and costs of the paper venue.
    strategies : tuple of TradedSpec
        At least one, with ids of their own.
    feed : one of `aiopt.live.feeds.feed_config`
        Where quotes come from; by `kind`, a replay where that is left out.
    profile : str
        ``"dev"``: what can come again from the feed is committed once a second.  ``"paper"``: at every bar.
        ``"production"`` is refused: no broker is connected.
    warm_up_days : float
        Days of the feed's store before its start that indicators are warmed up on.
    on_start : str
        Of a session that goes on: ``"keep"`` what is open, or ``"flat"``: close it at the first quote.
    guard : GuardConfig
        Limits in front of every entry, kill switch, watchdog, and what becomes of the position of a strategy
        that raised.  The default refuses nothing.
    at_end : str
        When the feed ends: ``"flatten"`` at its last quote as a backtest does, or ``"keep"``.
    bus : str or None
        URL of a bus that the session tells its events on and takes commands from (`aiopt.bus.connecting`),
        e.g. ``local:runs/live/bus`` or ``redis://localhost:6379``; None: no bus.
    quotes_every_s : float
        On the bus quotes are merged over so many seconds; 0: every quote is told.
    patterns : bool
        Whether patterns that a bar completes are told as events, as the rules see them on the last 120 bars.
    analyst : LiveAnalyst or None
        Who reads charts while the session runs; None: nobody, and no strategy may ask for readings.
    metrics : MetricsConfig
        What a running session tells of itself; may change while it lives.

    Raises
    ------
    ConfigError
        On construction, naming the rule, the value and the remedy.
    """

    account: PaperConfig
    strategies: tuple[TradedSpec, ...]
    feed: AnyFeed
    profile: Profile = "paper"
    warm_up_days: float = 0.0
    on_start: Literal["keep", "flat"] = "keep"
    guard: GuardConfig = GuardConfig()
    at_end: Literal["flatten", "keep"] = "flatten"
    bus: str | None = None
    quotes_every_s: float = 0.5
    patterns: bool = False
    analyst: LiveAnalyst | None = None
    metrics: MetricsConfig = MetricsConfig()

    def __post_init__(self) -> None:
        names = [one.id for one in self.strategies]
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or twice:
            got = f"{', '.join(twice)} twice" if twice else "none"
            raise ConfigError(
                f"`strategies` are at least one, each with its own id, but got {got}. Name them."
            )
        if self.profile == "production":
            msg = "`profile` is dev or paper, but got production: this aiopt trades on paper only."
            raise ConfigError(f"{msg} Use paper.")
        if not 0 <= self.warm_up_days <= 3_660:
            msg = f"`0 <= warm_up_days <= 3660` must hold, but got {self.warm_up_days!r}. Choose e.g. 5."
            raise ConfigError(msg)
        check_history(self.feed, self.warm_up_days)
        if not 0 <= self.quotes_every_s <= 3_600:
            msg = (
                f"`0 <= quotes_every_s <= 3600` must hold, but got {self.quotes_every_s!r}. Choose e.g. 0.5."
            )
            raise ConfigError(msg)

    @property
    def config_hash(self) -> str:
        """Hex SHA-256 of what must stay the same while a session lives.

        Not the pace, nor its edges, nor limits: see `aiopt.live.control.reloading`.
        """
        same = msgspec.structs.replace(
            self,
            feed=same_feed(self.feed),
            guard=self.guard.lasting,
            on_start="keep",
            at_end="flatten",
            profile="paper",
            bus=None,
            quotes_every_s=0.5,
            patterns=False,
            metrics=MetricsConfig(),
        )
        if self.analyst is None:
            return content_hash(same)
        return content_hash([msgspec.structs.replace(same, analyst=None), self.analyst.deciding()])

    @property
    def chart_frame(self) -> Timeframe | None:
        """The bars of the analyst's charts; None where nobody reads.

        Raises
        ------
        ConfigError
            If it is not said, and the strategies are of several timeframes.
        """
        if self.analyst is None:
            return None
        if self.analyst.timeframe is not None:
            return parse_timeframe(self.analyst.timeframe)
        found = sorted({one.frame.label for one in self.strategies})
        if len(found) > 1:
            several = f"strategies are of {' and '.join(found)}"
            msg = f"`analyst.timeframe` must say which bars are read where {several}, but is not given."
            raise ConfigError(f"{msg} Add e.g. timeframe: {found[0]}.")
        return self.strategies[0].frame

    @property
    def is_real_time(self) -> bool:
        """Whether a second of the feed is one of the clock."""
        return self.is_live or getattr(self.feed, "speed", 0.0) == 1.0

    @property
    def is_live(self) -> bool:
        """Whether quotes come on this machine's clock; False: a replay."""
        return comes_live(self.feed)

    @property
    def guarding(self) -> GuardConfig:
        """What guards the session: as configured, and a live feed never without a watchdog."""
        if not self.is_live or self.guard.watch is not None:
            return self.guard
        watch = WatchConfig()
        if isinstance(self.feed, DukascopyFeed):
            late, silent = self.feed.max_late_s, max(300.0, 4 * self.feed.poll_s)
            watch = WatchConfig(max_lag_s=late, stale_after_s=silent, halt_after_s=6 * silent)
        return msgspec.structs.replace(self.guard, watch=watch)

    def balance_of(self, strategy: TradedSpec) -> float:
        """Return a strategy's part of the account."""
        if strategy.balance is not None:
            return strategy.balance
        return self.account.initial_balance / len(self.strategies)


def load_live_config(path: Path) -> LiveConfig:
    """Read a session's configuration (YAML or JSON); paths in it count from its own folder.

    Raises
    ------
    ConfigError
        If it is no such file, or says what is not allowed.
    """
    path = Path(path)
    config = decode(with_kind(read_mapping(path)), LiveConfig, where=str(path))
    return resolved(config, path.parent)


def resolved(config: LiveConfig, folder: Path) -> LiveConfig:
    """Return a configuration whose relative paths are counted from a folder."""
    strategies = tuple(
        msgspec.structs.replace(one, spec=str(folder / one.spec))
        if (folder / one.spec).is_file() or (is_ranked(one.spec) and (folder / run_of(one.spec)).is_dir())
        else one
        for one in config.strategies
    )
    bus = config.bus
    if bus is not None and bus.startswith(_LOCAL_BUS):
        bus = f"{_LOCAL_BUS}{folder / bus.removeprefix(_LOCAL_BUS)}"
    feed = feed_from(config.feed, folder)
    analyst = None if config.analyst is None else config.analyst.resolved(folder)
    return msgspec.structs.replace(config, feed=feed, strategies=strategies, bus=bus, analyst=analyst)


def specs_of(config: LiveConfig) -> dict[str, StrategySpec]:
    """Return the specs of a session by strategy id.

    Raises
    ------
    SpecError
        If one is neither a file nor a ready family nor a ranked entry, says what is not allowed, or asks for
        readings where nobody reads: it would trade without its gate, or never.
    """
    specs = {one.id: spec_named(one.spec) for one in config.strategies}
    for spec in specs.values():
        check_asked(spec, config.analyst)
    return specs


def ranked_warnings(config: LiveConfig, symbol: str) -> list[str]:
    """Return what to know of the ranked entries that a session trades: those that did not survive.

    Parameters
    ----------
    config : LiveConfig
        Of the session.
    symbol : str
        What its feed quotes.

    Raises
    ------
    ConfigError
        If one was ranked on bars of another length or instrument.
    """
    found = []
    for one in config.strategies:
        if not is_ranked(one.spec):
            continue
        entry = ranked_spec(one.spec)
        for name, theirs, ours in (
            ("timeframe", entry.timeframe, one.frame.label),
            ("instrument", entry.instrument or symbol, symbol),
        ):
            if theirs != ours:
                msg = f"`strategies.{name}` of {one.id}: {one.spec} was ranked on {theirs}, but got {ours}. "
                way = "Leave it out" if name == "timeframe" else f"Give a feed of {theirs}"
                raise ConfigError(f"{msg}{way}, or name the spec's own file.")
        if not entry.survives:
            found.append(f"{one.spec} is ranked, but its verdict is {entry.verdict}: see `aiopt runs show`")
    return found

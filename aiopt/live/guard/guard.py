"""The guard of a session: asked before every order, told of every quote.

Owns who is asked first and what is kept.  Whoever refuses an entry says why; exits pass.  The order: kill
switch, the strategy's own state, the feed, the limits.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from aiopt.errors import ConfigError
from aiopt.live.guard.guard_config import GuardConfig
from aiopt.live.limits.kill_switch import KillState, KillSwitch
from aiopt.live.limits.risk_limits import Breach, RiskLimits, RiskState, Situation
from aiopt.live.limits.strategy_states import StatesRecord, StrategyStates
from aiopt.live.paper.seam import VenueOrder
from aiopt.live.paper.venue import PaperVenue
from aiopt.live.watch.feed_watch import FeedWatch
from aiopt.live.watch.watch_record import Verdict, WatchEvent, WatchState

GUARD_STATE_VERSION = 1
_TAKEN = Verdict(True, "", ())


class GuardState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a guard goes on from.

    Attributes
    ----------
    version : int
        `GUARD_STATE_VERSION`.
    risk, kill, strategies
        Of the parts.
    watches : dict of str to WatchState
        By instrument.
    arrived : dict of str to int
        When the last quote of each instrument came.
    now_ns : int
        Time so far.
    """

    version: int
    risk: RiskState
    kill: KillState
    strategies: StatesRecord
    watches: dict[str, WatchState]
    arrived: dict[str, int]
    now_ns: int


class Guard:
    """Stands before a paper venue.

    Parameters
    ----------
    config : GuardConfig
        Limits, patience, thresholds.
    venue : PaperVenue
        What is held and quoted.
    strategies : sequence of str
        Names as they stand in orders.
    state : GuardState, optional
        To go on from.

    Attributes
    ----------
    limits : RiskLimits
    kill_switch : KillSwitch
    strategies : StrategyStates
    watches : dict of str to FeedWatch
        By instrument, from its first quote on.

    Raises
    ------
    ConfigError
        If the state is of another version.
    """

    def __init__(
        self,
        config: GuardConfig,
        venue: PaperVenue,
        strategies: Sequence[str],
        state: GuardState | None = None,
    ) -> None:
        if state is not None and state.version != GUARD_STATE_VERSION:
            msg = f"The guard's state is of version {state.version}, but this aiopt reads "
            msg += f"{GUARD_STATE_VERSION}. Go on with the aiopt that wrote it, or begin a new session."
            raise ConfigError(msg)
        self.config = config
        self._venue = venue
        self.limits = RiskLimits(config.limits, None if state is None else state.risk)
        self.kill_switch = KillSwitch(config.kill, None if state is None else state.kill)
        self.strategies = StrategyStates(
            list(strategies),
            on_failure=config.on_failure,
            record=None if state is None else state.strategies,
        )
        self.watches: dict[str, FeedWatch] = {}
        self._arrived: dict[str, int] = {} if state is None else dict(state.arrived)
        self._now_ns = 0 if state is None else state.now_ns
        if state is not None and config.watch is not None:
            for symbol, kept in state.watches.items():
                self.watches[symbol] = FeedWatch(config.watch, symbol, self._now_ns, kept)

    def __repr__(self) -> str:
        return f"Guard({self.kill_switch!r}, {self.limits!r}, {self.strategies!r})"

    # --- told -------------------------------------------------------------------------------------------

    def quote(self, symbol: str, stamp_ns: int, arrival_ns: int, bid: float, ask: float) -> Verdict:
        """Take a quote before bars and venue do; one that is not accepted must not reach them.

        Parameters
        ----------
        symbol : str
            Instrument.
        stamp_ns, arrival_ns : int
            The provider's time and this machine's, UTC; the same in a replay.
        bid, ask : float
            Quote currency.
        """
        self._now_ns = max(self._now_ns, arrival_ns)
        config, watch = self.config.watch, self.watches.get(symbol)
        if watch is None and config is not None:
            watch = self.watches[symbol] = FeedWatch(config, symbol, arrival_ns)
        verdict = _TAKEN if watch is None else watch.quote(stamp_ns, arrival_ns, bid, ask)
        if verdict.is_accepted:
            self._arrived[symbol] = arrival_ns
        return verdict

    def expect(self, symbol: str, now_ns: int) -> None:
        """Watch a feed before its first quote, so that one which never speaks is noticed."""
        self._now_ns = max(self._now_ns, now_ns)
        if self.config.watch is not None and symbol not in self.watches:
            self.watches[symbol] = FeedWatch(self.config.watch, symbol, now_ns)

    def clock(self, now_ns: int) -> tuple[WatchEvent, ...]:
        """Let time pass for every feed; once a second, as silence brings no quote."""
        self._now_ns = max(self._now_ns, now_ns)
        return tuple(event for watch in self.watches.values() for event in watch.clock(now_ns))

    def observe(self, ts_ns: int) -> tuple[Breach, ...]:
        """Mark the account at the last quotes; pull the kill switch if a loss limit wants that.

        Returns
        -------
        tuple of Breach
            Loss limits reached just now.
        """
        found = self.limits.observe(ts_ns, self._venue.account(ts_ns).equity)
        for breach in found:
            if breach.kills:
                reason = f"{breach.rule} reached: {breach.value:g} of {breach.limit:g}"
                self.kill_switch.kill(reason, max(self._now_ns, ts_ns))
        return found

    def change(self, config: GuardConfig) -> None:
        """Hold other limits, and do otherwise with failed strategies, from now on; the rest is as it was."""
        self.config = msgspec.structs.replace(self.config, limits=config.limits, on_failure=config.on_failure)
        self.limits.change(config.limits)
        self.strategies.on_failure = config.on_failure

    # --- asked ------------------------------------------------------------------------------------------

    def __call__(self, order: VenueOrder) -> tuple[str, str] | None:
        """Return why an order may not go to the venue, rule and reason; None if it may.

        Parameters
        ----------
        order : VenueOrder
            An exit always may, and is counted among the orders of a minute.
        """
        met = Situation(self._now_ns, 0.0, 0.0, self._now_ns, 0.0, 0.0, 1.0)
        if order.position_id is None:
            refusal = self._entry_refusal(order)
            if refusal is not None:
                return refusal
            met = self._situation(order)
        refused = self.limits.judge(order, met)
        return None if refused is None else (refused.rule, refused.reason)

    @property
    def to_flatten(self) -> tuple[str, ...]:
        """Strategies whose positions are to be closed: those that failed, or all if a feed wants that."""
        if any("flatten" in watch.actions for watch in self.watches.values()):
            return tuple(self.strategies.record().states)
        return self.strategies.to_flatten

    def state(self) -> GuardState:
        """Return everything it goes on from."""
        return GuardState(
            version=GUARD_STATE_VERSION,
            risk=self.limits.state(),
            kill=self.kill_switch.state,
            strategies=self.strategies.record(),
            watches={symbol: watch.kept() for symbol, watch in self.watches.items()},
            arrived=dict(self._arrived),
            now_ns=self._now_ns,
        )

    def _entry_refusal(self, order: VenueOrder) -> tuple[str, str] | None:
        if not self.kill_switch.may_enter:
            pulled = self.kill_switch.state
            return "kill", f"The kill switch was pulled ({pulled.reason}), and nothing is opened after it."
        own = self.strategies.of(order.strategy)
        if not self.strategies.may_enter(order.strategy):
            way = "Resume it." if own.name == "paused" else "Mend it, then reset it."
            return own.name, f"{order.strategy} is {own.name} and opens nothing: {own.reason}. {way}"
        watch = self.watches.get(order.instrument)
        if watch is not None and not watch.may_enter:
            reason = (
                f"The feed of {order.instrument} is {watch.state} ({watch.cause}), and nothing is opened "
            )
            return "feed", f"{reason}on it. Wait until it is live."
        if self._venue.last_quote(order.instrument) is None:
            return "quote", f"No quote of {order.instrument} has come yet. Wait for the first."
        return None

    def _situation(self, order: VenueOrder) -> Situation:
        quote = self._venue.last_quote(order.instrument)
        assert quote is not None  # an entry without one was refused
        beside = self._venue.exposure(order)
        return Situation(
            now_ns=self._now_ns,
            bid=quote[1],
            ask=quote[2],
            quote_ns=self._arrived.get(order.instrument, self._now_ns),
            held_units=beside.units,
            notional=beside.notional,
            rate=beside.rate,
        )

"""Whether a feed can be traded on: live, stale, halted, or closed with the market.

Owns the judgement of each quote and the states.  Knows no strategy and no venue; who drives it gives it every
quote with its arrival, and the time once a second, because silence brings no quote.

=======  ==========================================================  ====================================
state    meaning                                                     it is left by
=======  ==========================================================  ====================================
live     quotes are good                                             trouble: stale; the week's end: closed
stale    silent, frozen, late, a clock that is wrong, stamps that    good quotes for a while: live;
         go back, an absurd price, a wide spread, no quote yet       `halt_after_s`: halted
halted   stale for long, or stamps went back for long                as stale, or by a person alone
closed   the FX week is over (`aiopt.market.calendar`)               its opening: stale, "no quote yet"
=======  ==========================================================  ====================================

A quote that would spoil bars is dropped: no price, a repeated one, a stamp that goes back or lies ahead of
this machine's clock, an absurd price until it is confirmed, one of a closed market.  A late or wide one is
taken.
"""

from __future__ import annotations

from collections import Counter, deque
from statistics import median

import numpy as np

from aiopt.errors import ConfigError
from aiopt.live.watch.watch_config import Action, WatchConfig
from aiopt.live.watch.watch_record import (
    WATCH_STATE_VERSION,
    Cause,
    FeedState,
    Verdict,
    WatchEvent,
    WatchState,
)
from aiopt.market.calendar import fx_weeks
from aiopt.market.instrument import instrument
from aiopt.utc import SECOND_NS, stamp_text

_FOR_EVER = (-(2**62), 2**62)
_MAD_TO_DEVIATION = 1.4826
"""Median distance from the median of a normal distribution to its standard deviation."""
_DROPPED = ("no price", "repeated", "stamps go back", "stamp ahead", "absurd price", "market closed")


class FeedWatch:
    """The watchdog of one instrument of one feed.

    Parameters
    ----------
    config : WatchConfig
        Thresholds and actions.
    symbol : str
        Instrument.
    start_ns : int
        Time it begins at, on the clock of arrivals; silence is counted from there.
    kept : WatchState, optional
        To go on from.

    Raises
    ------
    ConfigError
        If the state is of another version.
    DataError
        If there is no such instrument.
    """

    def __init__(
        self, config: WatchConfig, symbol: str, start_ns: int, kept: WatchState | None = None
    ) -> None:
        self.config = config
        self.instrument = instrument(symbol)
        self.state: FeedState = "stale"
        self.cause: Cause = "no quote yet"
        self._since_ns = start_ns
        self._is_fresh = True
        self._week = self._week_of(start_ns)
        self._last = (-1, 0.0, 0.0)
        self._alive_ns = self._moved_ns = max(start_ns, self._week[0])
        self._recent: deque[float] = deque(maxlen=config.window)
        self._suspects: list[float] = []
        self._back_run = self._good_run = self._good_ns = 0
        self.counts: Counter[str] = Counter()
        self._events: list[WatchEvent] = []
        if not self._is_open(start_ns):
            self.state, self.cause = "closed", "market closed"
        if kept is not None:
            self._load(kept)

    def __repr__(self) -> str:
        return f"FeedWatch({self.instrument.symbol}, {self.state}, {self.cause!r})"

    @property
    def actions(self) -> tuple[Action, ...]:
        """What the configuration wants done in the present state."""
        if self.state == "stale":
            return self.config.on_stale
        if self.state == "halted":
            return self.config.on_halted
        return ("no_entries",) if self.state == "closed" else ()

    @property
    def may_enter(self) -> bool:
        """Whether positions may be opened on this feed."""
        return "no_entries" not in self.actions

    # --- calls ------------------------------------------------------------------------------------------

    def quote(self, stamp_ns: int, arrival_ns: int, bid: float, ask: float) -> Verdict:
        """Judge a quote.

        Parameters
        ----------
        stamp_ns : int
            The provider's time of it, UTC.
        arrival_ns : int
            When it came, on this machine's clock, UTC; in a replay its stamp.
        bid, ask : float
            Quote currency.
        """
        self._pass_time(arrival_ns)
        cause = self._wrong(stamp_ns, arrival_ns, bid, ask)
        is_accepted = cause not in _DROPPED
        if cause:
            self.counts[cause] += 1
        if is_accepted:
            self._take(stamp_ns, arrival_ns, bid, ask)
        self._back_run = self._back_run + 1 if cause == "stamps go back" else 0
        if cause and cause != "repeated":
            self._bad(cause, arrival_ns, f"bid {bid}, ask {ask}, stamped {stamp_text(stamp_ns, 'ms')}")
        elif not cause:
            self._good(arrival_ns)
        return Verdict(is_accepted, cause, self._told())

    def clock(self, now_ns: int) -> tuple[WatchEvent, ...]:
        """Let time pass; return the changes of state it brought.

        Parameters
        ----------
        now_ns : int
            On the clock of arrivals.
        """
        self._pass_time(now_ns)
        return self._told()

    def reset(self, now_ns: int) -> tuple[WatchEvent, ...]:
        """Begin anew: a person has looked at the feed.  The next good quote makes it live."""
        self._begin(now_ns, now_ns)
        self._go("stale" if self._is_open(now_ns) else "closed", "reset", "by a person", now_ns)
        return self._told()

    def kept(self) -> WatchState:
        """Return everything it goes on from."""
        return WatchState(
            version=WATCH_STATE_VERSION,
            state=self.state,
            cause=self.cause,
            since_ns=self._since_ns,
            is_fresh=self._is_fresh,
            week=self._week,
            last_stamp_ns=self._last[0],
            last_bid=self._last[1],
            last_ask=self._last[2],
            alive_ns=self._alive_ns,
            moved_ns=self._moved_ns,
            recent=tuple(self._recent),
            suspects=tuple(self._suspects),
            back_run=self._back_run,
            good_run=self._good_run,
            good_ns=self._good_ns,
            counts=dict(self.counts),
        )

    # --- judging a quote --------------------------------------------------------------------------------

    def _wrong(self, stamp_ns: int, arrival_ns: int, bid: float, ask: float) -> Cause:
        """Return what is wrong with a quote; empty if nothing is."""
        ahead, traded = self.config.max_ahead_s, self.instrument
        if not traded.plausible_low <= bid <= ask <= traded.plausible_high:  # refuses NaN too
            return "no price"
        if (stamp_ns, bid, ask) == self._last:
            return "repeated"
        if stamp_ns < self._last[0]:
            return "stamps go back"
        if ahead is not None and stamp_ns - arrival_ns > ahead * SECOND_NS:
            return "stamp ahead"
        if not self._is_open(stamp_ns):
            return "market closed"
        if self._is_absurd((bid + ask) / 2):
            return "absurd price"
        return self._doubtful(stamp_ns, arrival_ns, bid, ask)

    def _doubtful(self, stamp_ns: int, arrival_ns: int, bid: float, ask: float) -> Cause:
        """Return what is wrong with a quote that is taken all the same."""
        lag, widest, frozen = self.config.max_lag_s, self.config.max_spread_pips, self.config.frozen_after_s
        if lag is not None and arrival_ns - stamp_ns > lag * SECOND_NS:
            return "late"
        # A spread is a difference of prices: float noise makes none wide.
        if widest is not None and ask - bid > widest * self.instrument.pip_size * (1 + 1e-9):
            return "wide spread"
        if frozen is not None and (bid, ask) == self._last[1:]:
            return "frozen" if arrival_ns - self._moved_ns > frozen * SECOND_NS else ""
        return ""

    def _is_absurd(self, mid: float) -> bool:
        """Return whether a price is absurd; as many as `confirm_quotes` that agree are a move and are not."""
        config, recent = self.config, self._recent
        near = config.jump_pips * self.instrument.pip_size
        if not recent or abs(mid - recent[-1]) <= near:
            self._suspects.clear()
            return False
        middle = median(recent)
        spread = _MAD_TO_DEVIATION * median(abs(one - middle) for one in recent)
        if abs(mid - middle) <= max(near, config.jump_factor * spread):
            self._suspects.clear()
            return False
        if self._suspects and abs(mid - self._suspects[-1]) > near:
            self._suspects.clear()
        self._suspects.append(mid)
        if len(self._suspects) < config.confirm_quotes:
            return True
        recent.clear()
        recent.extend(self._suspects[:-1])
        self._suspects.clear()
        return False

    def _take(self, stamp_ns: int, arrival_ns: int, bid: float, ask: float) -> None:
        if (bid, ask) != self._last[1:]:
            self._moved_ns = arrival_ns
        self._last = (stamp_ns, bid, ask)
        self._alive_ns = arrival_ns
        self._recent.append((bid + ask) / 2)

    # --- states -----------------------------------------------------------------------------------------

    def _bad(self, cause: Cause, ts_ns: int, text: str) -> None:
        self._good_run = 0
        if self.state == "live":
            self._go("stale", cause, text, ts_ns)
        if cause == "stamps go back" and self._back_run >= self.config.back_limit and self.state == "stale":
            self._go("halted", cause, f"{self._back_run} quotes in a row; the last: {text}", ts_ns)

    def _good(self, ts_ns: int) -> None:
        if self._good_run == 0:
            self._good_ns = ts_ns
        self._good_run += 1
        if self.state in ("live", "closed"):
            return
        if self.state == "halted" and self.config.resume == "person":
            return
        waited = ts_ns - self._good_ns >= self.config.recover_s * SECOND_NS
        if self._is_fresh or (self._good_run >= self.config.recover_quotes and waited):
            self._is_fresh = False
            self._go("live", "", f"{self._good_run} good quotes in a row", ts_ns)

    def _pass_time(self, now_ns: int) -> None:
        """Find the week's end and opening, silence, and trouble that lasts."""
        opens, closes = self._week
        if now_ns >= closes:
            if self.state != "closed":
                self._close(closes)
            self._week = opens, closes = self._week_of(now_ns)
        if now_ns >= opens and self.state == "closed":
            self._begin(opens, opens)
            self._go("stale", "no quote yet", f"the market opened {stamp_text(opens, 's')}", opens)
        if self.state == "closed":
            return
        silent, long = self.config.stale_after_s, self.config.halt_after_s
        if silent is not None and self.state == "live":
            due_ns = self._alive_ns + round(silent * SECOND_NS)
            if now_ns > due_ns:
                self._good_run = 0
                last = stamp_text(self._alive_ns, "ms")
                self._go("stale", "silent", f"no new quote since {last}", due_ns)
        if long is not None and self.state == "stale" and now_ns > self._since_ns + round(long * SECOND_NS):
            due_ns = self._since_ns + round(long * SECOND_NS)
            self._is_fresh = False
            self._go("halted", "stale for long", f"{self.cause} for more than {long:g} s", due_ns)

    def _close(self, ts_ns: int) -> None:
        if self.state == "halted" and self.config.resume == "person":
            return  # a person must not find it live on Monday
        self._go("closed", "market closed", f"the week ended {stamp_text(ts_ns, 's')}", ts_ns)

    def _begin(self, alive_ns: int, since_ns: int) -> None:
        """Forget what was before: the next good quote makes the feed live, whatever its price."""
        self._is_fresh = True
        self._alive_ns = self._moved_ns = alive_ns
        self._since_ns = since_ns
        self._recent.clear()
        self._suspects.clear()
        self._back_run = self._good_run = 0

    def _go(self, state: FeedState, cause: Cause, text: str, ts_ns: int) -> None:
        before, self.state, self.cause = self.state, state, cause
        self._since_ns = ts_ns
        self._events.append(
            WatchEvent(
                instrument=self.instrument.symbol,
                before=before,
                state=state,
                cause=cause,
                text=f"{self.instrument.symbol} is {state}: {cause or 'recovered'} ({text})",
                ts_ns=ts_ns,
                actions=self.actions,
            )
        )

    def _told(self) -> tuple[WatchEvent, ...]:
        events, self._events = tuple(self._events), []
        return events

    # --- the calendar and the state kept ----------------------------------------------------------------

    def _week_of(self, ts_ns: int) -> tuple[int, int]:
        """Return the FX week a time lies in, or the next one."""
        if self.instrument.always_open:
            return _FOR_EVER
        opens, closes = fx_weeks(ts_ns, ts_ns)
        place = int(np.searchsorted(closes, ts_ns, side="right"))
        return int(opens[place]), int(closes[place])

    def _is_open(self, ts_ns: int) -> bool:
        opens, closes = self._week
        if not opens <= ts_ns < closes:
            opens, closes = self._week_of(ts_ns)
        return opens <= ts_ns < closes

    def _load(self, kept: WatchState) -> None:
        if kept.version != WATCH_STATE_VERSION:
            msg = f"The watchdog's state is of version {kept.version}, but this aiopt reads "
            msg += f"{WATCH_STATE_VERSION}. Go on with the aiopt that wrote it, or begin a new session."
            raise ConfigError(msg)
        self.state, self.cause, self._since_ns = kept.state, kept.cause, kept.since_ns
        self._is_fresh, self._week = kept.is_fresh, kept.week
        self._last = (kept.last_stamp_ns, kept.last_bid, kept.last_ask)
        self._alive_ns, self._moved_ns = kept.alive_ns, kept.moved_ns
        self._recent.extend(kept.recent)
        self._suspects = list(kept.suspects)
        self._back_run, self._good_run, self._good_ns = kept.back_run, kept.good_run, kept.good_ns
        self.counts.update(kept.counts)

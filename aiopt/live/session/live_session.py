"""A live session from its beginning, or from where it was left, to its end.

Owns how feed, bars, strategies, node, venue and file are put together.  Knows no command line.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import time
from collections.abc import Callable
from typing import Any

import msgspec

from aiopt.backtest.growing_bars import BarRow, GrowingBars
from aiopt.bus.connecting import transport_of
from aiopt.errors import ConfigError
from aiopt.live.control.controls import ControlState
from aiopt.live.control.handler import SessionCommands, Wheel
from aiopt.live.control.person import Person
from aiopt.live.control.reloading import settings_of
from aiopt.live.control.specs_in_force import SpecsInForce, warmed
from aiopt.live.feeds.bar_cutter import BarCutter
from aiopt.live.feeds.seam import Feed, FetchesHistory
from aiopt.live.feeds.warm_up import gap_after
from aiopt.live.guard.guard import Guard, GuardState
from aiopt.live.node.guarded import live_strategy
from aiopt.live.node.paper_node import PaperNode
from aiopt.live.paper.seam import VenueOrder
from aiopt.live.paper.venue import PaperVenue
from aiopt.live.paper.venue_state import VenueState
from aiopt.live.session.completed_patterns import CompletedPatterns
from aiopt.live.session.deciding import Decider, make_decider
from aiopt.live.session.feed_of import feed_of
from aiopt.live.session.feeding import Feeding
from aiopt.live.session.live_config import LiveConfig, ranked_warnings, specs_of
from aiopt.live.session.reading_of import reader_of
from aiopt.live.session.session_end import SessionEnd
from aiopt.live.session.stepping import Series, StepObserver, Stepper, with_spread
from aiopt.live.session.telling import Teller
from aiopt.live.state.session_file import SessionFile
from aiopt.strategy.higher_timeframes import check_higher_timeframes
from aiopt.strategy.spec import StrategySpec
from aiopt.timeframe import Timeframe
from aiopt.utc import DAY_NS


def check_session(config: LiveConfig, clock: Callable[[], int] = time.time_ns) -> Feed:
    """Return the feed of a session that could run, having looked at specs, instrument and account.

    Parameters
    ----------
    config : LiveConfig
        Of the session.
    clock : callable
        This machine's time, UTC nanoseconds.

    Raises
    ------
    InputError
        Naming what does not fit.
    """
    frames = [one.frame for one in config.strategies]
    if config.analyst is not None and config.chart_frame is not None:
        config.analyst.scan()  # what it stands on is there
        frames.append(config.chart_frame)
    found = feed_of(config.feed, max(frames), clock)
    if config.bus is not None and not config.bus.startswith("local:"):
        transport_of(config.bus)
    specs = specs_of(config)
    for one in config.strategies:
        check_higher_timeframes(specs[one.id], one.frame)
    account, traded = config.account.account_currency, found.instrument
    ranked_warnings(config, traded.symbol)
    if account != traded.quote:
        msg = (
            f"The account of a live session is in the quote currency of what it trades, but is in {account} "
            f"and {traded.symbol} is quoted in {traded.quote}. Set account_currency to {traded.quote}."
        )
        raise ConfigError(msg)
    return found


class LiveSession:
    """A session over one feed.

    Parameters
    ----------
    config : LiveConfig
        What it does.
    file : SessionFile
        New, or of the same session.
    clock : callable
        This machine's time, UTC nanoseconds; a live feed's quotes come on it.

    Attributes
    ----------
    observer : StepObserver or None
        To be set before `run`; told of steps and commits.

    Raises
    ------
    ConfigError
        If the file is of another session, or the configuration does not fit the feed.
    """

    def __init__(
        self, config: LiveConfig, file: SessionFile, *, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.config, self._file, self._clock = config, file, clock
        self._feed = check_session(config, clock)
        self.traded = self._feed.instrument
        self._specs = specs_of(config)
        self.resumed = not file.is_new
        self.warnings = ranked_warnings(config, self.traded.symbol)
        self.observer: StepObserver | None = None
        self._stopping = False
        self._feeding: Feeding | None = None
        self.parts: _Parts | None = None
        """What it is made of, from its start on."""
        self._meta = file.meta() if self.resumed else self._new_meta()
        self._check_same()

    @property
    def total(self) -> int | None:
        """Quotes of the feed; None where nobody knows."""
        return self._feed.total

    @property
    def session_id(self) -> str:
        """Part of every order's id."""
        return self._meta["id"]

    def _new_meta(self) -> dict[str, str]:
        return {
            "id": f"S{secrets.token_hex(3)}",
            "config_hash": self.config.config_hash,
            "config": msgspec.json.encode(self.config).decode(),
            "specs": json.dumps({name: spec.spec_hash for name, spec in self._specs.items()}),
            "feed": json.dumps(self._feed.identity),
        }

    def _check_same(self) -> None:
        """Refuse to go on with a session of something else."""
        fresh = self._new_meta()
        for key, what in (("config_hash", "configuration"), ("specs", "strategies' specs"), ("feed", "feed")):
            if self._meta[key] != fresh[key]:
                msg = (
                    f"A session goes on with what it began with, but the {what} of {self._file.folder} "
                    "has changed since. Set it as it was, or choose another folder (--out)."
                )
                raise ConfigError(msg)
        if self._file.state().get("ended") == "true":
            msg = f"The session in {self._file.folder} is at the end of its feed."
            raise ConfigError(f"{msg} Look at it with `aiopt live status`, or choose another folder (--out).")

    def stop(self) -> None:
        """Let the session end behind the present step; it can be gone on with."""
        self._stopping = True

    def take_config(self, config: LiveConfig) -> None:
        """Go on by another configuration; `aiopt.live.control.reloading` says what may differ."""
        self.config = config
        assert self.parts is not None
        self.parts.guard.change(config.guarding)
        self.parts.stepper.commits_bars = config.profile != "dev"
        if self._feeding is not None:
            self._feeding.set_speed(getattr(config.feed, "speed", 0.0))

    def run(self, progress: Callable[[float], None] | None = None) -> SessionEnd:
        """Run it to the end of its feed, or until it is stopped.

        Parameters
        ----------
        progress : callable, optional
            Told of the quotes taken so far, now and then.
        """
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        parts = self.parts = _Parts(self, self._file, loop)
        try:
            return loop.run_until_complete(self._run(parts, progress or (lambda done: None)))
        finally:
            if parts.reader is not None:
                parts.reader.close()
            parts.node.dispose()
            asyncio.set_event_loop(None)

    async def _run(self, parts: _Parts, progress: Callable[[float], None]) -> SessionEnd:
        loop, stepper = asyncio.get_running_loop(), parts.stepper
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self.stop)
        await parts.node.start()
        parts.restore()
        try:
            person = parts.person()
        except BaseException:
            await parts.node.stop()
            raise
        began, done_before = time.monotonic(), parts.node.pump.done
        try:
            await person.begin(must_reach_bus=stepper.last is None)
            self._feeding = Feeding(
                self._feed,
                stepper,
                speed=getattr(self.config.feed, "speed", 0.0),
                stopping=lambda: self._stopping,
                progress=progress,
                clock=self._clock,
            )
            await self._feeding.run()
            person.check()
            ended = not self._stopping
            if ended and stepper.reader is not None:
                await stepper.reader.settle()
                stepper.take_readings(None)
            if ended and self.config.at_end == "flatten":
                stepper.settle_at_last_quote("end_of_data")
            if ended:
                stepper.note("feed_over")
            stepper.note("ended" if ended else "left")
            stepper.commit()
            if ended:
                self._file.commit({"ended": "true"})
            if self.observer is not None:
                self.observer.ended(stepper)
        finally:
            untold = await person.end()
            await parts.node.stop()
        if untold:
            self.warnings.append(f"{untold:,} events were not published on the bus; they are in the file")
        progress(stepper.position)
        return SessionEnd(
            session=self.session_id,
            ended=ended,
            resumed=self.resumed,
            quotes=stepper.quotes,
            dropped=stepper.dropped,
            commits=stepper.commits,
            messages=parts.node.pump.done - done_before,
            seconds=time.monotonic() - began,
            trades=self._file.counts()["trades"],
            account=parts.venue.account(0 if stepper.last is None else stepper.last[0]),
            broken=stepper.broken,
            warnings=self.warnings,
        )

    # --- history ----------------------------------------------------------------------------------------

    def fetch_history(self, progress: Callable[[float], None]) -> None:
        """Get what the warm-up of a new session needs, where that takes its time; tell the share done."""
        feed, days = self._feed, self.config.warm_up_days
        if days and not self.resumed and isinstance(feed, FetchesHistory):
            until_ns = feed.history_until_ns
            feed.fetch_history(until_ns - int(days * DAY_NS), until_ns, progress)

    def warm_up(self, timeframe: Timeframe) -> list[BarRow]:
        """Return the bars before the feed, of a new session."""
        days = self.config.warm_up_days
        if not days:
            return []
        until_ns = self._feed.history_until_ns
        rows = self._history(timeframe, until_ns - int(days * DAY_NS), until_ns)
        self._say_gap(rows[-1] if rows else None, timeframe)
        return rows

    def warm_up_again(self, timeframe: Timeframe, last: BarRow | None, place: int) -> list[BarRow]:
        """Return the bars that are missing behind the last one of a session that goes on."""
        feed = self._feed
        if last is None or not feed.lost_since(place):
            return []
        until_ns = feed.history_until_ns
        rows = self._history(timeframe, last.ts_open_ns + timeframe.ns, until_ns)
        self._say_gap(rows[-1] if rows else last, timeframe)
        return rows

    def _history(self, timeframe: Timeframe, start_ns: int, stop_ns: int) -> list[BarRow]:
        pips = self.config.account.extra_spread_pips
        rows = self._feed.history(timeframe, start_ns, stop_ns)
        return [with_spread(row, self.traded, pips) for row in rows]

    def _say_gap(self, last: BarRow | None, timeframe: Timeframe) -> None:
        gap = gap_after(last, timeframe, self._feed.first_ns, self.traded)
        if gap:
            self.warnings.append(gap)

    @property
    def complete_from_ns(self) -> int | None:
        """From when on every quote is there; None: from the first, or that is said with it."""
        return self._feed.complete_from_ns

    def strategies(self) -> dict[str, tuple[Any, Timeframe, float]]:
        """Return spec, timeframe and balance of each strategy, by id."""
        return {
            one.id: (self._specs[one.id], one.frame, self.config.balance_of(one))
            for one in self.config.strategies
        }


class _Parts:
    """What a session is made of, made or restored."""

    def __init__(self, session: LiveSession, file: SessionFile, loop: asyncio.AbstractEventLoop) -> None:
        self._session, self._file = session, file
        self._state = file.state()
        self._place = json.loads(self._state["cursor"])["position"] if "cursor" in self._state else 0
        account = session.config.account
        self.control = ControlState(self._state, {one.id: one.mode for one in session.config.strategies})
        self.venue = PaperVenue(account)
        if "venue" in self._state:
            self._venue_state = msgspec.json.decode(self._state["venue"], type=VenueState)
            self.venue = PaperVenue.restore(account, self._venue_state)
        kept = self._state.get("guard")
        self.guard = Guard(
            session.config.guarding,
            self.venue,
            [one.id for one in session.config.strategies],
            None if kept is None else msgspec.json.decode(kept, type=GuardState),
        )
        self.node = PaperNode(
            "AIOPT-1",
            [session.traded],
            self.venue,
            gate=self._gate,
            on_event=lambda event: self.stepper.venue_event(event),
            on_error=self._on_error,
            loop=loop,
        )
        self._filled: dict[Timeframe, int] = {}
        wanted = session.strategies()
        texts = {one.id: one.spec for one in session.config.strategies}
        configured = {name: spec for name, (spec, _, _) in wanted.items()}
        self.specs = SpecsInForce(configured, texts, self.control.controls)
        series: dict[Timeframe, Series] = {}
        charts = session.config.chart_frame
        for timeframe in [frame for _, frame, _ in wanted.values()] + ([] if charts is None else [charts]):
            bars = GrowingBars(session.traded, timeframe)
            series.setdefault(timeframe, Series(bars, self.node.bar_type(session.traded.symbol, timeframe)))
        self.stepper = Stepper(
            node=self.node,
            venue=self.venue,
            file=file,
            cutter=BarCutter(series, complete_from_ns=session.complete_from_ns),
            traded=session.traded,
            series=series,
            timeframes={name: timeframe for name, (_, timeframe, _) in wanted.items()},
            commits_bars=session.config.profile != "dev",
            guard=self.guard,
            teller=Teller(
                session.session_id,
                self.venue,
                file.last_told,
                quotes_s=None if session.config.bus is None else session.config.quotes_every_s,
            ),
            also=self.control.parts,
            observer=session.observer,
        )
        self.reader = self.stepper.reader = reader_of(session.config, series, self.stepper, file)
        for name, (_, timeframe, _) in wanted.items():
            self._add(name, series[timeframe])
        self._feed_history(series)

    def _decider(self, name: str, spec: StrategySpec) -> Decider:
        session = self._session
        _, timeframe, balance = session.strategies()[name]
        return make_decider(
            spec,
            self.stepper.series[timeframe].bars,
            session.config.account,
            balance=balance,
            prefix=f"{session.session_id}-{name}",
            # Whether it is paused or only observed is asked of its orders: a signal to reverse still closes.
            may_enter=lambda bar: self.guard.kill_switch.may_enter,
            readings=None if self.reader is None else self.reader.arrivals.for_strategy(),
        )

    def _gate(self, order: VenueOrder) -> tuple[str, str] | None:
        """Ask controls and guard about an order; what is held back is told as one that would have been."""
        teller = self.stepper.teller
        teller.ordered(order)
        refusal = self.control.controls.refusal(order) or self.guard(order)
        if refusal is not None and order.position_id is None:
            levels = self.node.strategies[order.strategy].planned(order.order_id)
            teller.held_back(order, *refusal, levels)
            what = {"side": order.side, "units": order.units, "rule": refusal[0]}
            self.stepper.note("would_trade", strategy=order.strategy, **what)
        return refusal

    def person(self) -> Person:
        """Return the place of a person at this session, once it is restored."""
        stepper, session = self.stepper, self._session
        wheel = Wheel(
            spec_of=self.specs.spec_of,
            space_of=self.specs.space_of,
            decider_of=self.decider_of,
            stop=session.stop,
            config=lambda: session.config,
            take_config=session.take_config,
        )
        handler = SessionCommands(stepper, self.control, wheel)
        person = Person(self._file, stepper, handler, bus=session.config.bus, stop=session.stop)
        stepper.also = lambda: self.control.parts() | person.parts()
        stepper.on_commit = person.committed
        return person

    def decider_of(self, name: str, spec: StrategySpec) -> Decider:
        """Return a decider of another spec for a strategy that has seen every committed bar."""
        return warmed(self.stepper, name, lambda: self._decider(name, spec))

    def _add(self, name: str, series: Series) -> None:
        session = self._session
        decider = self._decider(name, self.specs.spec_of(name))
        decider.source.size_factor = self.control.controls.factors.get(name, 1.0)
        strategy = live_strategy(name, decider.source.pyramiding)
        strategy.on_break = self.stepper.strategy_broke
        pair = self.node.instruments[session.traded.symbol]
        strategy.prepare(pair, decider.source, decider.rules, series.bar_type, series.bars.timeframe.ns)
        self.node.add(name, strategy, series.name)

    def _feed_history(self, series: dict[Timeframe, Series]) -> None:
        """Give every series its bars so far: the session's own, or those of the warm-up."""
        session, fresh = self._session, []
        if session.config.patterns:
            self.stepper.teller.patterns = CompletedPatterns({one.name: one.bars for one in series.values()})
        for timeframe, one in series.items():
            rows = list(self._file.bars(one.name)) if session.resumed else session.warm_up(timeframe)
            known = len(rows) if session.resumed else 0
            if session.resumed:
                rows += session.warm_up_again(timeframe, rows[-1] if rows else None, self._place)
                self._filled[timeframe] = len(rows) - known
            mine = [
                self.node.strategies[name]
                for name, frame in self.stepper.timeframes.items()
                if frame == timeframe
            ]
            for number, row in enumerate(rows):
                one.bars.append(row)
                for strategy in mine:
                    strategy.warm(row)
                if number >= known:
                    fresh.append((one.name, number, row))
        if not session.resumed:
            self._file.begin(session._meta, {}, fresh)
        elif fresh:
            self._file.commit({}, bars=fresh)

    def restore(self) -> None:
        """Put the state into the node, once it runs; or commit the first one."""
        stepper, session = self.stepper, self._session
        if session.resumed and "cursor" in self._state:
            stepper.load(self._state)
            if self.reader is not None and "analyst" in self._state:
                self.reader.go_on(self._state["analyst"])
            self.node.orders.now_ns = 0 if stepper.last is None else stepper.last[0]
            self.node.restore(self._venue_state)
            for name, strategy in self.node.strategies.items():
                if f"strategy:{name}" in self._state and name not in stepper.broken:
                    kept = json.loads(self._state[f"strategy:{name}"])
                    if session.config.is_live:
                        # History may have filled in bars behind its last one: it decided nothing on them.
                        kept["bar"] = len(stepper.series[stepper.timeframes[name]].bars) - 1
                    strategy.restore_state(kept)
                elif name in stepper.broken:
                    strategy.broken = stepper.broken[name]
            if session.config.on_start == "flat":
                for name in self.node.strategies:
                    stepper.flatten(name, "flatten")
                stepper.note("flat_on_start")
        stepper.note("began", resumed=session.resumed, position=stepper.position)
        self._note_settings()
        for timeframe, bars in self._filled.items():
            if bars:
                stepper.note("filled_in", timeframe=timeframe.label, bars=bars)
        for text in session.warnings:
            stepper.note("warning", text=text)
        stepper.commit()

    def _note_settings(self) -> None:
        """Say which settings differ from those the session went by last."""
        controls, settings = self.control.controls, settings_of(self._session.config)
        for name, value in settings.items():
            if controls.settings and controls.settings.get(name) != value:
                self.stepper.note("setting", name=name, before=controls.settings.get(name), after=value)
        controls.settings = settings

    def _on_error(self, error: Exception) -> None:
        self.stepper.note("node_error", error=f"{type(error).__name__}: {error}")

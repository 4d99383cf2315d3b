"""One event and one command of each kind, and streams of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiopt.bus import commands, events

DAY_NS = 86_400_000_000_000
START_NS = 1_700_000_000_000_000_000
COMMON: dict[str, Any] = {"strategy": "rsi", "instrument": "EURUSD"}


def stamped(seq: int = 0, session: str = "paper-1", ts_ns: int = START_NS) -> dict[str, Any]:
    """Return the fields that every event has."""
    return {
        "id": f"{session}:{seq}",
        "session": session,
        "seq": seq,
        "ts_ns": ts_ns,
        "wall_ns": ts_ns + 1_000_000,
    }


def quote(seq: int, session: str = "paper-1", bid: float = 1.1, ts_ns: int | None = None) -> events.Quote:
    when = START_NS + seq * 1_000_000_000 if ts_ns is None else ts_ns
    return events.Quote(**stamped(seq, session, when), instrument="EURUSD", bid=bid, ask=bid + 0.0001)


def signal(seq: int, session: str = "paper-1", ts_ns: int | None = None) -> events.Signal:
    when = START_NS + seq * 1_000_000_000 if ts_ns is None else ts_ns
    return events.Signal(
        **stamped(seq, session, when), strategy="rsi", series="EURUSD-1m", bar_ns=when, action="enter_long"
    )


def one_of_each(session: str = "paper-1") -> list[events.Event]:
    """Return one event of every kind, numbered."""
    numbers = iter(range(100))

    def base() -> dict[str, Any]:
        return stamped(next(numbers), session)

    return [*_of_the_market(base), *_of_trading(base)]


def _of_the_market(base: Callable[[], dict[str, Any]]) -> list[events.Event]:
    return [
        events.Quote(**base(), instrument="EURUSD", bid=1.1, ask=1.1001),
        events.Bar(
            **base(),
            series="EURUSD-1m",
            price="bid",
            open_ns=START_NS,
            close_ns=START_NS + 60_000_000_000,
            open=1.1,
            high=1.2,
            low=1.0,
            close=1.15,
            volume=12.5,
            ticks=7,
        ),
        events.Signal(
            **base(),
            strategy="rsi",
            series="EURUSD-1m",
            bar_ns=START_NS,
            action="enter_long",
            values={"rsi": 28.4, "slow": None},
        ),
        events.WouldTrade(**base(), **COMMON, side="long", units=1000, price=1.1, stop=1.09, why="observe"),
        events.Pattern(
            **base(), series="EURUSD-1m", bar_ns=START_NS, pattern="bullish_engulfing", direction="up"
        ),
        events.Reading(
            **base(),
            series="EURUSD-1m",
            bar_ns=START_NS,
            by="rules",
            trend="up",
            patterns=("hammer",),
            risk="low",
            confidence=0.62,
            took_ms=3.5,
            fallback="the model was slow",
        ),
    ]


def _of_trading(base: Callable[[], dict[str, Any]]) -> list[events.Event]:
    return [
        events.Order(
            **base(),
            **COMMON,
            order_id="o1",
            role="entry",
            order_type="market",
            side="buy",
            units=1000,
            state="submitted",
        ),
        events.Fill(
            **base(), **COMMON, order_id="o1", position_id="p1", side="buy", units=1000, price=1.1, left=0
        ),
        events.Position(
            **base(),
            **COMMON,
            position_id="p1",
            state="opened",
            side="long",
            units=1000,
            entry_price=1.1,
            stop=1.09,
        ),
        events.Account(
            **base(), currency="USD", balance=10_000, equity=10_003.5, margin_used=33, open_positions=1
        ),
        events.Health(**base(), part="feed", state="stale", text="no quote for 12 s", figures={"age_s": 12}),
        events.CommandOutcome(
            **base(),
            command_id="c1",
            command="set_size_factor",
            status="applied",
            before={"factor": 1.0},
            after={"factor": 0.5},
        ),
    ]


def asked(command_id: str = "c1", session: str = "paper-1") -> dict[str, Any]:
    """Return the fields that every command has."""
    return {"id": command_id, "session": session, "by": "me", "made_ns": START_NS}


def command_of_each(session: str = "paper-1") -> list[commands.Command]:
    """Return one command of every kind."""
    numbers = iter(range(100))

    def base() -> dict[str, Any]:
        return asked(f"c{next(numbers)}", session)

    return [
        commands.PauseEntries(**base()),
        commands.ResumeEntries(**base(), strategy="rsi"),
        commands.SetParameters(**base(), strategy="rsi", values={"length": 14, "kind": "sma", "on": True}),
        commands.SetLevels(**base(), strategy="rsi", position_id="p1", stop=1.09),
        commands.SetSizeFactor(**base(), factor=0.5),
        commands.SwapSpec(**base(), strategy="rsi", spec={"name": "rsi"}),
        commands.SwitchModel(**base(), model=None),
        commands.SetMode(**base(), mode="observe"),
        commands.ReloadConfig(**base(), config={"at_end": "keep"}),
        commands.Flatten(**base()),
        commands.Kill(**base(), reason="drill"),
        commands.StopSession(**base(), flatten=True),
    ]

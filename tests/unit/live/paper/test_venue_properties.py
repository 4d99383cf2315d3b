"""Whatever is asked of the paper venue in whatever order, its invariants hold and every unit is found again.

The tests keep books of their own from the events alone, and a second venue that is restored from the first
one's state, written as JSON, before each call: both must answer alike.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from aiopt.backtest.money import to_amount
from aiopt.backtest.swap import InterestRate, SwapConfig, SwapPoints
from aiopt.errors import DataError
from aiopt.live.paper.failures import VenueError
from aiopt.live.paper.invariants import check_venue
from aiopt.live.paper.paper_config import PaperConfig
from aiopt.live.paper.seam import (
    Accepted,
    Cancelled,
    CancelRejected,
    Filled,
    Modified,
    ModifyRejected,
    Rejected,
    VenueEvent,
    VenueOrder,
)
from aiopt.live.paper.venue import PaperVenue
from aiopt.live.paper.venue_state import VenueState

TICK = 1e-5
START_NS = 1_709_730_000 * 10**9  # Wednesday 6 March 2024, 13:00 UTC
STEP_NS = 1_800 * 10**9
SYMBOLS = ("EURUSD", "GBPUSD")
CONFIGS = {
    "free": PaperConfig(account_currency="USD", commission_per_million=0.0),
    "costs": PaperConfig(
        account_currency="USD",
        initial_balance=400.0,
        slippage_ticks=2,
        extra_spread_pips=0.3,
        swap=SwapConfig(points={symbol: SwapPoints(long=-0.7, short=0.1) for symbol in SYMBOLS}),
        units_per_quote=1_500,
    ),
    "other currency": PaperConfig(
        account_currency="EUR",
        initial_balance=700.0,
        slippage_ticks=1,
        swap=SwapConfig(
            rates={name: (InterestRate(date="2020-01-01", percent=2.5),) for name in ("EUR", "GBP", "USD")}
        ),
        units_per_quote=2_000,
    ),
}

WEIGHTS = {"quote": 40, "enter": 15, "exit": 30, "cancel": 5, "modify": 10}


def draw_call(draw: random.Random) -> tuple:
    """Return a call whose numbers are read against what the venue holds then."""
    (name,) = draw.choices(list(WEIGHTS), list(WEIGHTS.values()))
    small, away = draw.randrange(10), draw.randint(-40, 40)
    if name == "quote":
        return name, draw.randrange(2), draw.randint(-60, 60), draw.randint(0, 12), small
    if name == "enter":
        return name, draw.randrange(2), draw.choice((1, -1)), small, away
    if name == "exit":
        return (
            name,
            small,
            draw.choice(("market", "stop", "stop", "limit", "limit")),
            draw.randrange(10),
            away,
        )
    return (name, small) if name == "cancel" else (name, small, away, draw.randrange(10))


class Books:
    """What the events say, and nothing else."""

    def __init__(self, config: PaperConfig) -> None:
        self.config = config
        self.balance = to_amount(config.initial_balance)
        self.seq = 0
        self.orders: dict[str, VenueOrder] = {}
        self.left: dict[str, float] = {}
        self.level: dict[str, float | None] = {}
        self.held: dict[str, float] = defaultdict(float)
        self.ended: set[str] = set()
        self.met: Counter[str] = Counter()

    def take(self, event: VenueEvent, quotes: dict[str, tuple[float, float]]) -> None:
        self.seq += 1
        assert event.seq == self.seq, "events are counted without a gap"
        self.met[self._kind(event)] += 1
        if isinstance(event, CancelRejected | ModifyRejected):
            return
        order = self.orders[event.order_id]
        assert event.order_id not in self.ended, "nothing happens to an order that has ended"
        assert event.strategy == order.strategy
        if isinstance(event, Rejected):
            assert order.position_id is None or event.rule == "position", event
            self.ended.add(event.order_id)
        elif isinstance(event, Accepted):
            assert event.units <= order.units
            self.left[event.order_id], self.level[event.order_id] = event.units, order.price
        elif isinstance(event, Modified):
            self.left[event.order_id], self.level[event.order_id] = event.units, event.price
        elif isinstance(event, Cancelled):
            self.ended.add(event.order_id)
        else:
            self._fill(order, event, quotes)

    @staticmethod
    def _kind(event: VenueEvent) -> str:
        if isinstance(event, Filled):
            return ("exit" if event.settled else "entry") + (" in part" if event.left else "")
        return event.reason if isinstance(event, Cancelled | Modified) else type(event).__name__

    def _fill(self, order: VenueOrder, event: Filled, quotes: dict[str, tuple[float, float]]) -> None:
        self.left[order.order_id] -= event.units
        assert self.left[order.order_id] == event.left >= 0, "an order fills what is left of it"
        assert event.units > 0
        if event.left == 0:
            self.ended.add(order.order_id)
        quote = quotes[order.instrument][0 if order.side < 0 else 1]
        level = self.level[order.order_id]
        if order.kind == "limit":
            assert level is not None
            assert (event.price - level) * order.side <= 1e-9, "a limit fills at its price or better"
            assert (quote - level) * order.side <= 1e-9, "and only where the quote reaches it"
        else:
            slipped = quote + order.side * self.config.slippage_ticks * TICK
            assert event.price == pytest.approx(slipped, abs=1e-9)
            assert order.kind == "market" or event.left >= 0
        if order.position_id is None:
            assert event.settled is None
            self.held[event.position_id] += event.units
        else:
            assert event.settled is not None
            assert order.position_id == event.position_id
            self.held[event.position_id] -= event.units
            self.balance += int(event.settled.exact_net)
        assert self.held[event.position_id] == event.held >= 0, "an exit never exceeds its position"


class Session:
    """A venue, its twin that is restored before each call, and books of what they tell."""

    def __init__(self, config: PaperConfig) -> None:
        self.venue = PaperVenue(config)
        self.books = Books(config)
        self.quotes: dict[str, tuple[float, float]] = {}
        self.ts_ns = START_NS
        self.number = 0

    def ask(self, name: str, *arguments: object) -> None:
        text = msgspec.json.encode(self.venue.state())
        twin = PaperVenue.restore(self.venue.config, msgspec.json.decode(text, type=VenueState))
        events = getattr(self.venue, name)(*arguments)
        assert getattr(twin, name)(*arguments) == events
        assert twin.state() == self.venue.state()
        if name == "quote":
            symbol, _, bid, ask = arguments[:4]
            raised = ask + self.venue.config.extra_spread_pips * 1e-4
            self.quotes[symbol] = (bid, raised)
        for event in events:
            self.books.take(event, self.quotes)
        self.venue.check()
        self._agree()

    def _agree(self) -> None:
        account, books = self.venue.account(self.ts_ns), self.books
        assert int(account.exact_balance) == books.balance
        views = {one.position_id: one for one in self.venue.positions()}
        assert {name: units for name, units in books.held.items() if units} == {
            name: one.units for name, one in views.items()
        }
        working = {one.order.order_id: one.left for one in self.venue.orders()}
        assert working == {name: left for name, left in books.left.items() if name not in books.ended}
        assert account.equity == pytest.approx(
            account.balance + sum(one.open_value for one in views.values()), abs=1e-6
        )

    def do(self, call: tuple) -> None:
        name, *values = call
        getattr(self, f"_{name}")(*values)

    def _quote(self, which: int, moved: int, spread: int, later: int) -> None:
        self.ts_ns += later * STEP_NS
        bid = round(1.1 + which * 0.2 + moved * TICK, 5)
        opened = frozenset({"1m"}) if later > 4 else frozenset()
        self.ask("quote", SYMBOLS[which], self.ts_ns, bid, round(bid + spread * TICK, 5), opened)

    def _enter(self, which: int, side: int, size: int, away: int) -> None:
        kind = ("market", "stop", "limit")[size % 3]
        self._submit(SYMBOLS[which], side, 500.0 * (size + 1), kind, away, None, f"s{size % 2}")

    def _exit(self, which: int, kind: str, size: int, away: int) -> None:
        positions = self.venue.positions()
        if not positions:
            return
        one = positions[which % len(positions)]
        units = 5_000.0 if size == 9 else 250.0 * (size + 1)
        self._submit(one.instrument, -one.side, units, kind, away, one.position_id, one.strategy)

    def _submit(
        self, symbol: str, side: int, units: float, kind: str, away: int, position: str | None, strategy: str
    ) -> None:
        self.number += 1
        middle = 1.1 if symbol == "EURUSD" else 1.3
        order = VenueOrder(
            order_id=f"o{self.number}",
            strategy=strategy,
            instrument=symbol,
            series="1m",
            side=side,
            units=units,
            kind=kind,
            price=None if kind == "market" else round(middle + away * TICK, 5),
            position_id=position,
            ts_ns=self.ts_ns + self.number % 2,
        )
        self.books.orders[order.order_id] = order
        self.ask("submit", order)

    def _cancel(self, which: int) -> None:
        working = self.venue.orders()
        name = working[which % len(working)].order.order_id if working and which else "never"
        self.ask("cancel", name, self.ts_ns)

    def _modify(self, which: int, away: int, size: int) -> None:
        working = self.venue.orders()
        if not working:
            return
        one = working[which % len(working)].order
        middle = 1.1 if one.instrument == "EURUSD" else 1.3
        price = None if away == 0 else round(middle + away * TICK, 5)
        self.ask("modify", one.order_id, price, None if size > 5 else 500.0 * (size + 1), self.ts_ns)


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2**32 - 1))
def test_any_sequence_of_calls_keeps_every_invariant(name: str, seed: int) -> None:
    draw = random.Random(seed)
    session = Session(CONFIGS[name])
    for symbol in (1, 0):
        session.do(("quote", symbol, 0, 3, 0))
    for _ in range(100):
        session.do(draw_call(draw))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_sequences_reach_every_kind_of_event(name: str) -> None:
    """The test above proves nothing about what it never meets."""
    session = Session(CONFIGS[name])
    draw = random.Random(1)
    for symbol in (1, 0):
        session.do(("quote", symbol, 0, 3, 0))
    for _ in range(600):
        session.do(draw_call(draw))
    met = session.books.met
    wanted = {
        "entry",
        "exit",
        "asked",
        "position closed",
        "position reduced",
        "ModifyRejected",
        "CancelRejected",
    }
    limited = CONFIGS[name].units_per_quote is not None
    assert {kind for kind in wanted if not met[kind]} == set()
    assert {kind for kind in ("entry in part", "exit in part") if met[kind]} == (
        {"entry in part", "exit in part"} if limited else set()
    )
    assert met["Rejected"] > 0 or name == "free"


@settings(max_examples=100, deadline=None)
@given(
    ts_ns=st.integers(-5, 5),
    bid=st.floats(allow_nan=True, allow_infinity=True),
    ask=st.floats(allow_nan=True, allow_infinity=True),
)
def test_a_quote_is_taken_whole_or_not_at_all(ts_ns: int, bid: float, ask: float) -> None:
    venue = PaperVenue(CONFIGS["free"])
    venue.quote("EURUSD", START_NS, 1.1, 1.1001)
    before = venue.state()
    try:
        venue.quote("EURUSD", START_NS + ts_ns, bid, ask)
    except DataError:
        assert venue.state() == before
    else:
        assert venue.last_quote("EURUSD") == (START_NS + ts_ns, bid, ask)


def broken(state: VenueState, what: str) -> VenueState:
    replace = msgspec.structs.replace
    (order,), (position,) = state.orders, state.positions
    return {
        "orphan": replace(state, positions=(), traded={}),
        "too large": replace(state, orders=(replace(order, left=order.left + 1),)),
        "no units": replace(state, positions=(replace(position, lots=()),)),
        "books": replace(state, traded={"s": (5, 0)}),
        "twice": replace(state, orders=(order, order)),
        "reached": replace(state, orders=(replace(order, level=1_200_000),)),
        "turned": replace(state, orders=(replace(order, order=replace(order.order, side=1)),)),
    }[what]


@pytest.mark.parametrize(
    ("what", "rule"),
    [
        ("orphan", "an exit has its position"),
        ("too large", "not larger than its position"),
        ("no units", "a position holds units"),
        ("books", "units entered less units left are held"),
        ("twice", "ids of orders at work are unique"),
        ("reached", "a stop that rests is not reached"),
        ("turned", "an exit faces its position"),
    ],
)
def test_a_broken_state_is_found(what: str, rule: str) -> None:
    session = Session(CONFIGS["free"])
    session.do(("quote", 0, 0, 3, 0))
    session.do(("enter", 0, 1, 0, 0))
    session.do(("quote", 0, 0, 3, 1))
    session.do(("exit", 0, "stop", 9, -20))
    state = session.venue.state()
    check_venue(state)
    with pytest.raises(VenueError, match=rule):
        check_venue(broken(state, what))

"""The paper venue: how orders fill, what exits are bound to, what is refused, what survives a restart."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from aiopt.errors import ConfigError, DataError
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

SERIES = "EURUSD-1m"
FREE = PaperConfig(account_currency="USD", commission_per_million=0.0)


def order(order_id: str, side: int, units: float = 1_000.0, **fields: object) -> VenueOrder:
    known = {
        "strategy": "s",
        "instrument": "EURUSD",
        "series": SERIES,
        "kind": "market",
        "ts_ns": 0,
        **fields,
    }
    return msgspec.convert({"order_id": order_id, "side": side, "units": units, **known}, VenueOrder)


def only(events: tuple[VenueEvent, ...], kind: type) -> list:
    return [event for event in events if isinstance(event, kind)]


def entered(config: PaperConfig = FREE, side: int = 1, units: float = 1_000.0) -> PaperVenue:
    """Return a venue that holds P-e, entered at 1.10000/1.10010, stamp 10."""
    venue = PaperVenue(config)
    venue.quote("EURUSD", 1, 1.1, 1.1001)
    assert only(venue.submit(order("e", side, units, ts_ns=2)), Accepted)
    while not venue.positions() or venue.orders():
        venue.quote("EURUSD", 10, 1.1, 1.1001, frozenset({SERIES}))
    return venue


def exit_order(order_id: str, kind: str, price: float, ts_ns: int = 10, strategy: str = "s") -> VenueOrder:
    return order(order_id, -1, kind=kind, price=price, position_id="P-e", ts_ns=ts_ns, strategy=strategy)


# --- fills ------------------------------------------------------------------------------------------------


def test_a_market_order_fills_at_the_next_quote_and_not_at_the_last() -> None:
    venue = PaperVenue(FREE)
    venue.quote("EURUSD", 1, 1.1, 1.1001)
    assert [type(event) for event in venue.submit(order("e", 1, ts_ns=1))] == [Accepted]
    (filled,) = venue.quote("EURUSD", 2, 1.2, 1.2002)
    assert isinstance(filled, Filled)
    assert (filled.price, filled.units, filled.left, filled.ts_ns) == (1.2002, 1_000.0, 0.0, 2)


@pytest.mark.parametrize(("side", "price"), [(1, 1.10013), (-1, 1.09997)])
def test_slippage_makes_a_market_fill_worse(side: int, price: float) -> None:
    venue = entered(msgspec.structs.replace(FREE, slippage_ticks=3), side)
    assert venue.positions()[0].entry_price == price


def test_a_wider_spread_raises_the_ask_alone() -> None:
    venue = entered(msgspec.structs.replace(FREE, extra_spread_pips=0.5))
    assert venue.last_quote("EURUSD") == (10, 1.1, 1.10015)
    assert venue.positions()[0].entry_price == 1.10015


def test_a_stop_fills_at_the_first_quote_at_or_beyond_it() -> None:
    venue = entered(msgspec.structs.replace(FREE, slippage_ticks=1))
    venue.submit(exit_order("stop", "stop", 1.099))
    assert venue.quote("EURUSD", 11, 1.09901, 1.09911) == ()
    (filled,) = venue.quote("EURUSD", 12, 1.0985, 1.0986)
    assert isinstance(filled, Filled)
    assert filled.price == 1.09849


def test_a_stop_already_reached_fills_at_once_at_the_last_quote() -> None:
    venue = entered()
    accepted, filled = venue.submit(exit_order("stop", "stop", 1.1005, ts_ns=10))
    assert isinstance(accepted, Accepted)
    assert isinstance(filled, Filled)
    assert (filled.price, filled.held) == (1.1, 0.0)


def test_a_stop_sent_after_the_last_quote_waits_for_the_next() -> None:
    venue = entered()
    assert [type(event) for event in venue.submit(exit_order("stop", "stop", 1.1005, ts_ns=11))] == [Accepted]
    (filled,) = venue.quote("EURUSD", 12, 1.1002, 1.1003)
    assert isinstance(filled, Filled)
    assert filled.price == 1.1002


@pytest.mark.parametrize(
    ("opened", "price"), [(set(), 1.101), ({"EURUSD-5m"}, 1.101), ({SERIES}, 1.1015)], ids=str
)
def test_a_limit_fills_better_than_its_price_only_where_its_bar_opens(opened: set[str], price: float) -> None:
    venue = entered()
    venue.submit(exit_order("target", "limit", 1.101))
    assert venue.quote("EURUSD", 11, 1.1009, 1.101) == ()
    (filled,) = venue.quote("EURUSD", 12, 1.1015, 1.1016, frozenset(opened))
    assert isinstance(filled, Filled)
    assert filled.price == price


def test_the_position_of_a_short_is_left_at_the_ask() -> None:
    venue = entered(side=-1)
    stop = order("stop", 1, kind="stop", price=1.1005, position_id="P-e", ts_ns=10)
    venue.submit(stop)
    assert venue.quote("EURUSD", 11, 1.1004, 1.10049) == ()
    (filled,) = venue.quote("EURUSD", 12, 1.1003, 1.1005)
    assert isinstance(filled, Filled)
    assert filled.price == 1.1005
    assert filled.settled is not None
    assert filled.settled.net == pytest.approx(-0.5)


# --- exits are bound to their position --------------------------------------------------------------------


def test_the_other_exits_of_a_position_end_with_it() -> None:
    venue = entered()
    venue.submit(exit_order("stop", "stop", 1.099))
    venue.submit(exit_order("target", "limit", 1.101))
    filled, cancelled = venue.quote("EURUSD", 11, 1.101, 1.1011)
    assert isinstance(filled, Filled)
    assert isinstance(cancelled, Cancelled)
    assert (cancelled.order_id, cancelled.reason) == ("stop", "position closed")
    assert venue.orders() == ()
    assert venue.positions() == ()


def test_an_exit_is_cut_to_what_is_left_of_its_position() -> None:
    venue = entered()
    large = msgspec.structs.replace(exit_order("stop", "stop", 1.099), units=5_000.0)
    (accepted,) = venue.submit(large)
    assert isinstance(accepted, Accepted)
    assert accepted.units == 1_000.0
    venue.submit(order("half", -1, 400.0, position_id="P-e", ts_ns=10))
    filled, modified = venue.quote("EURUSD", 11, 1.1, 1.1001)
    assert isinstance(filled, Filled)
    assert filled.held == 600.0
    assert isinstance(modified, Modified)
    assert (modified.order_id, modified.units, modified.reason) == ("stop", 600.0, "position reduced")


def test_exits_need_no_margin() -> None:
    """The account is far under water: what closes a position is taken all the same."""
    venue = entered(msgspec.structs.replace(FREE, initial_balance=100.0), units=2_700.0)
    venue.quote("EURUSD", 11, 1.0, 1.0001)
    assert venue.account(11).equity < 0
    assert [type(e) for e in venue.submit(order("e2", 1, ts_ns=11))] == [Rejected]
    assert [type(e) for e in venue.submit(order("x", -1, 2_700.0, position_id="P-e", ts_ns=11))] == [Accepted]


def test_a_reversal_needs_margin_for_what_stays() -> None:
    """The old position is on its way out, so the new one needs what it alone binds."""
    venue = entered(msgspec.structs.replace(FREE, initial_balance=1_000.0), units=20_000.0)
    venue.submit(order("other", -1, 20_000.0, ts_ns=11))
    assert venue.quote("EURUSD", 12, 1.1, 1.1001) == ()
    venue.submit(order("close", -1, 20_000.0, position_id="P-e", ts_ns=13))
    assert [type(e) for e in venue.submit(order("turn", -1, 20_000.0, ts_ns=13))] == [Accepted]
    closed, opened = venue.quote("EURUSD", 14, 1.1, 1.1001)
    assert (closed.order_id, opened.order_id) == ("close", "turn")


def test_a_resting_entry_is_judged_again_when_it_is_reached() -> None:
    venue = PaperVenue(msgspec.structs.replace(FREE, initial_balance=1_000.0))
    venue.quote("EURUSD", 1, 1.1, 1.1001)
    venue.submit(order("limit", 1, 20_000.0, kind="limit", price=1.09, ts_ns=2))
    venue.submit(order("e", 1, 20_000.0, ts_ns=2))
    venue.quote("EURUSD", 3, 1.1, 1.1001)
    (cancelled,) = venue.quote("EURUSD", 4, 1.0898, 1.0899)
    assert isinstance(cancelled, Cancelled)
    assert cancelled.reason.startswith("refused: The equity must carry the margin")


def test_a_yen_position_is_booked_in_dollars_at_the_pairs_last_mid() -> None:
    venue = PaperVenue(PaperConfig(account_currency="EUR", commission_per_million=0.0))
    venue.quote("USDJPY", 1, 150.0, 150.01)
    (rejected,) = venue.submit(order("early", 1, instrument="USDJPY", ts_ns=2))
    assert isinstance(rejected, Rejected)
    assert rejected.rule == "conversion"
    assert "no quote of EURJPY or JPYEUR has come" in rejected.reason
    venue.quote("EURJPY", 3, 159.99, 160.01)
    venue.submit(order("e", 1, 10_000.0, instrument="USDJPY", ts_ns=4))
    venue.quote("USDJPY", 5, 150.0, 150.0)
    venue.quote("EURJPY", 6, 199.99, 200.01)
    venue.submit(order("x", -1, 10_000.0, instrument="USDJPY", position_id="P-e", ts_ns=7))
    (filled,) = venue.quote("USDJPY", 8, 150.4, 150.5)
    assert isinstance(filled, Filled)
    assert filled.settled is not None
    assert filled.settled.net == 20.0  # 4,000 yen at 200
    assert venue.account(8).balance == 100_020.0


def test_an_exit_of_another_strategys_position_is_rejected() -> None:
    venue = entered()
    (rejected,) = venue.submit(exit_order("x", "stop", 1.09, strategy="other"))
    assert isinstance(rejected, Rejected)
    assert rejected.rule == "position"
    assert "other has no open position 'P-e'" in rejected.reason


# --- partial fills ----------------------------------------------------------------------------------------


def test_a_market_order_takes_what_each_quote_offers() -> None:
    venue = entered(msgspec.structs.replace(FREE, units_per_quote=400))
    position = venue.positions()[0]
    assert position.units == 1_000.0
    venue.submit(exit_order("stop", "stop", 1.099))
    left = [only(venue.quote("EURUSD", 11 + k, 1.0989, 1.1), Filled)[0].left for k in range(3)]
    assert left == [600.0, 200.0, 0.0]
    assert venue.positions() == ()
    assert venue.orders() == ()


def test_a_stop_that_was_reached_stays_so_when_the_price_comes_back() -> None:
    venue = entered(msgspec.structs.replace(FREE, units_per_quote=400))
    venue.submit(exit_order("stop", "stop", 1.099))
    venue.quote("EURUSD", 11, 1.0989, 1.099)
    (filled,) = venue.quote("EURUSD", 12, 1.1005, 1.1006)
    assert isinstance(filled, Filled)
    assert (filled.order_id, filled.price, filled.held) == ("stop", 1.1005, 200.0)


def test_with_the_position_ends_what_is_left_of_its_entry() -> None:
    venue = PaperVenue(msgspec.structs.replace(FREE, units_per_quote=400))
    venue.quote("EURUSD", 1, 1.1, 1.1001)
    venue.submit(order("e", 1, 1_000.0, ts_ns=2))
    venue.quote("EURUSD", 3, 1.1, 1.1001)
    venue.submit(exit_order("stop", "stop", 1.2, ts_ns=3))
    assert venue.positions() == ()
    assert venue.orders() == ()
    assert venue.quote("EURUSD", 4, 1.1, 1.1001) == ()


# --- cancel, modify ---------------------------------------------------------------------------------------


def test_cancelling_twice_is_told() -> None:
    venue = entered()
    venue.submit(exit_order("stop", "stop", 1.099))
    assert [type(e) for e in venue.cancel("stop", 11)] == [Cancelled]
    (again,) = venue.cancel("stop", 12)
    assert isinstance(again, CancelRejected)
    assert "'stop' has ended" in again.reason
    (never,) = venue.cancel("nothing", 12)
    assert isinstance(never, CancelRejected)
    assert "was never taken" in never.reason


def test_a_modified_stop_is_judged_like_a_new_one() -> None:
    venue = entered()
    venue.submit(exit_order("stop", "stop", 1.099))
    (modified,) = venue.modify("stop", 1.0995, None, 10)
    assert isinstance(modified, Modified)
    assert (modified.price, modified.units) == (1.0995, 1_000.0)
    _, filled = venue.modify("stop", 1.1, None, 10)
    assert isinstance(filled, Filled)
    assert filled.price == 1.1


def test_a_price_that_is_none_leaves_the_order_as_it_is() -> None:
    venue = entered()
    venue.submit(exit_order("stop", "stop", 1.099))
    before = venue.orders()
    (rejected,) = venue.modify("stop", float("nan"), None, 10)
    assert isinstance(rejected, ModifyRejected)
    assert "price=nan" in rejected.reason
    assert venue.orders() == before


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "rule", "text"),
    [
        ({"side": 0}, "side", "side=0"),
        ({"units": 0.5}, "units", "units=0.5"),
        ({"units": -1.0}, "units", "units=-1"),
        ({"units": float("inf")}, "units", "units=inf"),
        ({"kind": "stop"}, "price", "price=None"),
        ({"kind": "limit", "price": 1.1000001}, "price", "at most 6 decimals"),
        ({"price": 1.1}, "price", "has no price"),
        ({"instrument": "EURUSX"}, "instrument", "EURUSX"),
        ({"instrument": "GBPUSD"}, "quote", "no quote of GBPUSD"),
        ({"position_id": "P-x"}, "position", "no open position 'P-x'"),
        ({"units": 1e9}, "margin", "equity is 99,999.90"),
        ({"order_id": "e"}, "duplicate", "sent before"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_order_is_rejected_with_rule_value_and_remedy(
    fields: dict[str, object], rule: str, text: str
) -> None:
    venue = entered()
    before = venue.state()
    sent = msgspec.structs.replace(order("new", 1, ts_ns=11), **fields)
    (rejected,) = venue.submit(sent)
    assert isinstance(rejected, Rejected)
    assert rejected.rule == rule
    assert text in rejected.reason
    assert msgspec.structs.replace(venue.state(), seq=before.seq) == before


@pytest.mark.parametrize(
    ("ts_ns", "bid", "ask", "text"),
    [
        (11, 1.2, 1.1, "bid <= ask"),
        (11, float("nan"), 1.1, "are numbers"),
        (11, 110.0, 110.1, "between 0.5 and 2.2"),
        (11, 1.1000001, 1.2, "at most 6 decimals"),
        (9, 1.1, 1.2, "do not go back"),
    ],
)
def test_what_is_no_quote_changes_nothing(ts_ns: int, bid: float, ask: float, text: str) -> None:
    venue = entered()
    venue.submit(exit_order("stop", "stop", 1.099))
    before = venue.state()
    with pytest.raises(DataError, match=text):
        venue.quote("EURUSD", ts_ns, bid, ask)
    assert venue.state() == before


# --- state ------------------------------------------------------------------------------------------------


def test_a_restored_venue_goes_on_as_if_nothing_had_happened() -> None:
    venue = entered(msgspec.structs.replace(FREE, units_per_quote=700))
    venue.submit(exit_order("stop", "stop", 1.099))
    venue.quote("EURUSD", 11, 1.0989, 1.099)
    kept = msgspec.json.decode(msgspec.json.encode(venue.state()), type=VenueState)
    restored = PaperVenue.restore(venue.config, kept)
    assert restored.state() == venue.state()
    assert restored.quote("EURUSD", 12, 1.098, 1.0981) == venue.quote("EURUSD", 12, 1.098, 1.0981)
    assert restored.state() == venue.state()


def test_a_state_of_another_version_or_account_is_refused() -> None:
    state = entered().state()
    with pytest.raises(ConfigError, match="version 99"):
        PaperVenue.restore(FREE, msgspec.structs.replace(state, version=99))
    with pytest.raises(ConfigError, match="assumptions it began with"):
        PaperVenue.restore(msgspec.structs.replace(FREE, slippage_ticks=1), state)


def test_the_venue_loads_no_engine() -> None:
    code = (
        "import sys, aiopt.live.paper.venue\n"
        "assert not [name for name in sys.modules if name.startswith('nautilus')], 'an engine was loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

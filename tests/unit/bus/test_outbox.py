"""What waits to be published: in order, bounded, merged where only the latest counts, else never dropped."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.bus.events import Event, Quote
from aiopt.bus.outbox import Outbox
from aiopt.bus.repeats import Repeats
from aiopt.errors import ConfigError
from tests.unit.bus.made_events import one_of_each, quote, signal


def test_a_later_quote_stands_for_the_ones_that_wait() -> None:
    outbox = Outbox(2)
    for event in (quote(0), quote(1, bid=1.2), signal(2), quote(3, bid=1.3)):
        assert outbox.offer(event)
    taken = outbox.take(10)
    assert [event.seq for event in taken] == [2, 3]
    assert isinstance(taken[1], Quote)
    assert (taken[1].bid, taken[1].merged, outbox.merged) == (1.3, 3, 2)


def test_quotes_of_two_instruments_do_not_stand_for_each_other() -> None:
    outbox = Outbox(2)
    other = msgspec.structs.replace(quote(1), instrument="GBPUSD")
    assert outbox.offer(quote(0))
    assert outbox.offer(other)
    assert [event.seq for event in outbox.take(10)] == [0, 1]


def test_where_there_is_no_room_nothing_is_taken_and_nothing_dropped() -> None:
    outbox = Outbox(2)
    assert outbox.offer(signal(0))
    assert outbox.offer(signal(1))
    assert outbox.full
    assert not outbox.offer(signal(2))
    # What can be merged takes no room.
    assert outbox.offer(quote(3))
    assert [event.seq for event in outbox.take(1)] == [0]
    assert not outbox.offer(signal(4)), "what is under way still takes room"
    outbox.done(1)
    assert outbox.offer(signal(4))
    assert [event.seq for event in outbox.take(10)] == [1, 3, 4]
    assert repr(outbox) == "<Outbox 3 of 2, 0 merged>"


def test_what_is_under_way_is_given_again_and_not_merged() -> None:
    outbox = Outbox(5)
    assert outbox.offer(quote(0))
    assert [event.seq for event in outbox.take(10)] == [0]
    assert outbox.offer(quote(1))
    assert [event.seq for event in outbox.take(10)] == [0, 1]
    assert [event.seq for event in outbox.take(10)] == [0, 1]
    outbox.done(2)
    assert (len(outbox), outbox.take(10)) == (0, ())


def test_numbers_count_up() -> None:
    outbox = Outbox(5)
    assert outbox.offer(signal(3))
    with pytest.raises(ConfigError, match="`seq` must count up, but got an event with seq=3 after 3"):
        outbox.offer(signal(3))
    with pytest.raises(ConfigError, match="`capacity >= 1` must hold"):
        Outbox(0)


@given(st.lists(st.sampled_from(["quote", "signal", "take", "done"]), max_size=80), st.integers(1, 5))
def test_nothing_solid_is_lost_and_order_is_kept(steps: list[str], capacity: int) -> None:
    outbox, seq = Outbox(capacity), 0
    offered: list[Event] = []
    published: list[Event] = []
    for step in [*steps, *["take", "done"] * 60]:
        if step == "take":
            outbox.take(2)
        elif step == "done":
            batch = outbox.take(2)
            published += batch
            outbox.done(len(batch))
        else:
            event = quote(seq) if step == "quote" else signal(seq)
            if outbox.offer(event):
                offered.append(event)
            seq += 1
    numbers = [event.seq for event in published]
    assert numbers == sorted(set(numbers))
    assert [e.seq for e in published if e.kind == "signal"] == [e.seq for e in offered if e.kind == "signal"]
    quotes = [event for event in offered if event.kind == "quote"]
    assert sum(event.merged for event in published if isinstance(event, Quote)) == len(quotes)
    if quotes:
        assert quotes[-1].seq in numbers


def test_every_kind_finds_its_way_out() -> None:
    outbox = Outbox(100)
    for event in one_of_each():
        assert outbox.offer(event)
    assert list(outbox.take(100)) == one_of_each()


def test_an_id_is_seen_again_within_the_window() -> None:
    repeats = Repeats(window=2)
    assert [repeats.seen("s", name) for name in ("a", "b", "a", "c", "b", "a")] == [
        *(False, False, True, False),
        *(False, False),
    ]
    assert not repeats.seen("other", "a")
    assert len(repeats) == 2

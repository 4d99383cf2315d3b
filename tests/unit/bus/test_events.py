"""Events and commands: what they hold, what they refuse, and their way through JSON."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from aiopt.bus.codec import decode_command, decode_event, encode_command, encode_event, head_of
from aiopt.bus.commands import COMMAND_TYPES, COMMANDS, Command, SetLevels
from aiopt.bus.events import EVENT_TYPES, EVENTS, Event, Quote
from aiopt.bus.failures import BusMessageError
from tests.unit.bus.made_events import asked, command_of_each, one_of_each, quote, stamped


def test_there_is_a_sample_of_every_kind() -> None:
    assert [type(event) for event in one_of_each()] == list(EVENT_TYPES)
    assert [type(command) for command in command_of_each()] == list(COMMAND_TYPES)
    assert set(EVENT_TYPES) == set(Event.__subclasses__()) == set(EVENTS.values())
    assert set(COMMAND_TYPES) == set(Command.__subclasses__()) == set(COMMANDS.values())


@pytest.mark.parametrize("event", one_of_each(), ids=lambda event: event.kind)
def test_an_event_goes_through_json_and_pickle(event: Event) -> None:
    payload = encode_event(event)
    assert decode_event(payload) == event
    assert decode_event(payload.replace(b'{"kind"', b' {"kind"')) == event
    assert pickle.loads(pickle.dumps(event)) == event
    assert msgspec.json.decode(payload)["kind"] == event.kind
    assert msgspec.json.decode(payload)["schema"] == 1
    assert head_of(payload) == (event.kind, event.id)


@pytest.mark.parametrize("command", command_of_each(), ids=lambda command: command.name)
def test_a_command_goes_through_json_and_pickle(command: Command) -> None:
    payload = encode_command(command)
    assert decode_command(payload) == command
    assert pickle.loads(pickle.dumps(command)) == command
    assert head_of(payload) == (command.name, command.id)


@pytest.mark.parametrize("event", one_of_each(), ids=lambda event: event.kind)
def test_a_repr_is_one_short_line_that_names_kind_and_number(event: Event) -> None:
    text = repr(event)
    assert text.startswith(f"<{event.kind} paper-1#{event.seq} 2023-11-14")
    assert len(text) < 120
    assert "\n" not in text


@pytest.mark.parametrize("event", one_of_each(), ids=lambda event: event.kind)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(event: Event) -> None:
    document = msgspec.to_builtins(event) | {"sesion": "x"}
    with pytest.raises(BusMessageError, match=r"breaks its schema.*`sesion`.*Did you mean 'session'"):
        decode_event(msgspec.json.encode(document))


@pytest.mark.parametrize("event", one_of_each(), ids=lambda event: event.kind)
def test_another_version_is_named_as_that(event: Event) -> None:
    document = msgspec.to_builtins(event) | {"schema": 2, "later": 1}
    with pytest.raises(BusMessageError, match=r"Schema 1 of event .* got schema 2: another version"):
        decode_event(msgspec.json.encode(document))


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"\xff\x00", "must be a JSON object"),
        (b"[1, 2]", "must be a JSON object"),
        (b"", "must be a JSON object"),
        (b'{"kind": "quotes", "id": "a"}', r"no event 'quotes' in this version.*Did you mean 'quote'"),
        (b'{"id": "a"}', "no event None"),
        (b'{"kind": "quote", "id": "a"}', r"event 'quote' with id 'a' breaks its schema"),
    ],
)
def test_what_is_no_event_is_refused_in_words(payload: bytes, said: str) -> None:
    with pytest.raises(BusMessageError, match=said):
        decode_event(payload)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bid": 0.0}, "bid"),
        ({"bid": -1.0}, "bid"),
        ({"merged": 0}, "merged"),
        ({"seq": -1}, "seq"),
        ({"ts_ns": -1}, "ts_ns"),
        ({"id": ""}, "id"),
        ({"session": "x" * 201}, "session"),
    ],
)
def test_a_field_out_of_its_range_is_refused_before_it_is_published(
    changes: dict[str, object], said: str
) -> None:
    fields = stamped() | {"instrument": "EURUSD", "bid": 1.1, "ask": 1.2} | changes
    with pytest.raises(BusMessageError, match=rf"\$\.{said}"):
        encode_event(Quote(**fields))


def test_what_no_document_can_say_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="`ask` must be finite, but is nan"):
        Quote(**stamped(), instrument="EURUSD", bid=1.1, ask=float("nan"))
    with pytest.raises(ValueError, match="`stop` or `target` must be given"):
        SetLevels(**asked(), strategy="rsi", position_id="p1")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"high": 1.05}, "low <= open, close <= high"),
        ({"low": 1.12}, "low <= open, close <= high"),
        ({"open_ns": 1 << 62}, "open_ns < close_ns"),
    ],
)
def test_an_impossible_bar_is_refused_also_from_the_bus(changes: dict[str, object], said: str) -> None:
    bar = one_of_each()[1]
    document = msgspec.to_builtins(bar) | changes
    with pytest.raises(BusMessageError, match=said):
        decode_event(msgspec.json.encode(document))


def test_events_are_frozen() -> None:
    event = quote(1)
    with pytest.raises(AttributeError, match="immutable"):
        event.bid = 2.0  # type: ignore[misc]


def test_only_the_latest_of_some_counts() -> None:
    merging = {event.kind: event.merges_by for event in one_of_each() if event.merges_by is not None}
    assert merging == {"quote": "quote EURUSD", "account": "account"}

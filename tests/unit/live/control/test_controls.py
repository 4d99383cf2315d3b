"""What commands have changed of a session, as it is kept; which values a parameter may be given."""

from __future__ import annotations

import json

import pytest

from aiopt.bus.commands import Effect, Refusal
from aiopt.errors import ConfigError, SearchSpaceError, SpecError
from aiopt.live.control.controls import Controls, ControlState, changed_by, controls_of
from aiopt.live.control.ranges import ranges_of, read_document, with_values
from aiopt.live.paper.seam import VenueOrder
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec_yaml import plain_mapping

SPACE = FAMILIES["ema_cross_atr"]


def order(position_id: str | None = None) -> VenueOrder:
    common = {"order_id": "1", "instrument": "EURUSD", "series": "EURUSD-1m", "side": 1, "units": 1.0}
    return VenueOrder(**common, strategy="a", kind="market", position_id=position_id, ts_ns=1)


def test_what_is_noted_is_applied_once_it_is_committed() -> None:
    state = ControlState({}, {"a": "observe", "b": "trade"})
    effect = Effect(before={"a": 1}, after={"a": 2})
    state.note("c1", effect)
    assert state.applied("c1") is None
    kept = state.parts()
    state.committed()
    assert state.applied("c1") == effect
    assert set(state.parts()) == {"controls"}
    again = ControlState(kept, {"a": "trade"})  # what was committed counts, not the configuration
    assert (again.applied("c1"), again.controls) == (effect, state.controls)
    assert (again.controls.modes, repr(again)) == ({"a": "observe"}, "<ControlState, 1 commands applied>")


def test_who_only_observes_sends_no_entry_and_every_exit() -> None:
    controls = Controls(modes={"a": "observe"})
    refused = controls.refusal(order())
    assert refused is not None
    assert refused[0] == "observe"
    assert controls.refusal(order("P-1")) is None
    controls.modes["a"] = "trade"
    assert controls.refusal(order()) is None


def test_what_made_a_strategy_another_is_named() -> None:
    controls = Controls(modes={"a": "observe", "b": "observe"})
    controls.touch("b", "set_mode")
    controls.touch("b", "set_mode")
    state = {"controls": json.dumps({"modes": controls.modes, "touched": controls.touched, "version": 1})}
    assert changed_by(state) == {"a": ("observe",), "b": ("set_mode",)}
    assert changed_by({}) == {}
    with pytest.raises(ConfigError, match="are of version 9"):
        controls_of({"controls": json.dumps({"version": 9})})


def test_values_are_held_to_the_search_and_its_constraints() -> None:
    ranges = ranges_of(SPACE)
    assert ranges.keys() == SPACE.dimensions.keys()
    fast, slow = (next(name for name in SPACE.dimensions if part in name) for part in ("fast", "slow"))
    low, high = ranges[fast].low, ranges[slow].high
    assert low is not None
    assert high is not None
    changed = with_values(SPACE.spec, SPACE, {fast: low, slow: high})
    assert not isinstance(changed, Refusal)
    assert (changed.params[fast], changed.params[slow]) == (low, high)
    beyond = with_values(SPACE.spec, SPACE, {slow: high + 1})
    crossed = with_values(SPACE.spec, SPACE, {fast: ranges[fast].high, slow: ranges[slow].low})
    nowhere = with_values(SPACE.spec, None, {fast: low})
    for refused, text in ((beyond, "must hold"), (crossed, "constraints"), (nowhere, "says nowhere")):
        assert isinstance(refused, Refusal)
        assert (refused.rule, text in refused.reason) == ("out_of_range", True), refused


def test_a_document_may_bring_its_search() -> None:
    plain = plain_mapping(SPACE.spec)
    assert read_document(plain) == (SPACE.spec, None)
    search = {"dimensions": {"atr_length": {"type": "int", "low": 5, "high": 30}}}
    if "atr_length" not in SPACE.spec.params:
        search["dimensions"] = {next(iter(SPACE.dimensions)): {"type": "int", "low": 5, "high": 30}}
    spec, space = read_document(plain | {"search": search})
    assert (spec, space is not None) == (SPACE.spec, True)
    with pytest.raises(SearchSpaceError):
        read_document(plain | {"search": {"dimensions": {"nothing": {"type": "int", "low": 1, "high": 2}}}})
    with pytest.raises(SpecError):
        read_document(plain | {"entry": "x"})

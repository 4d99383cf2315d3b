"""What fails stops alone, in a state that is known, and stays there until a person resets it."""

from __future__ import annotations

import msgspec
import pytest

from aiopt.errors import ConfigError
from aiopt.live.limits.strategy_states import StatesRecord, StrategyStates


def states(on_failure: str = "keep_stop") -> StrategyStates:
    return StrategyStates(["a", "b"], on_failure=on_failure)  # type: ignore[arg-type]


def test_an_exception_stops_the_strategy_it_came_from_and_no_other() -> None:
    known, called = states(), []

    def fails() -> None:
        called.append("a")
        raise KeyError("ema")

    state = known.guard("a", fails, 5)
    assert (state.name, state.reason, state.since_ns) == ("failed", "KeyError: 'ema'", 5)
    assert known.guard("a", fails, 6) == state
    assert known.guard("b", lambda: called.append("b"), 6).name == "running"
    assert called == ["a", "b"]
    assert (known.may_enter("a"), known.may_enter("b")) == (False, True)
    assert (known.may_decide("a"), known.may_decide("b")) == (False, True)


def test_what_failed_keeps_its_stop_or_is_flattened() -> None:
    for on_failure, wanted in (("keep_stop", ()), ("flatten", ("a",))):
        known = states(on_failure)
        known.fail("a", ValueError("x"), 1)
        assert known.to_flatten == wanted


def test_the_first_reason_stays() -> None:
    known = states()
    known.fail("a", ValueError("first"), 1)
    known.fail("a", ValueError("second"), 2)
    assert known.of("a").reason == "ValueError: first"


def test_a_paused_strategy_resumes_and_a_failed_one_does_not() -> None:
    known = states()
    assert known.pause("a", "operator", 1).name == "paused"
    assert (known.may_enter("a"), known.may_decide("a")) == (False, True)
    assert known.resume("a", 2).name == "running"
    known.fail("a", ValueError("x"), 3)
    assert known.pause("a", "operator", 4).name == "failed"
    with pytest.raises(ConfigError, match=r"a failed at 1970-01-01T00:00:00Z: ValueError: x\. Mend it"):
        known.resume("a", 5)
    assert known.reset("a", 6).name == "running"


def test_states_survive_a_restart() -> None:
    known = states()
    known.fail("a", ValueError("x"), 1)
    kept = msgspec.json.decode(msgspec.json.encode(known.record()), type=StatesRecord)
    again = StrategyStates(["a", "b", "new"], on_failure="flatten", record=kept)
    assert [again.of(name).name for name in ("a", "b", "new")] == ["failed", "running", "running"]
    with pytest.raises(ConfigError, match="version 3"):
        StrategyStates(["a"], on_failure="flatten", record=msgspec.structs.replace(kept, version=3))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="no strategy 'c' in this session"):
        states().pause("c", "operator", 1)
    with pytest.raises(ConfigError, match="on_failure"):
        states("explode")

"""The kill switch ends, whatever fails on the way, also through a restart in the middle."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from aiopt.config import decode
from aiopt.errors import ConfigError
from aiopt.live.limits.kill_switch import KillConfig, KillState, KillSwitch
from aiopt.live.paper.paper_config import PaperConfig
from aiopt.live.paper.seam import VenueOrder
from aiopt.live.paper.venue import PaperVenue

S = 10**9


class Desk:
    """A paper venue behind the kill switch; `breaks` says of a call and its argument whether it fails."""

    def __init__(self, breaks: Callable[[str, str], bool] = lambda call, name: False) -> None:
        self.venue = PaperVenue(PaperConfig(account_currency="USD"))
        self.breaks = breaks
        self.calls: list[tuple[str, str]] = []
        self.sent = 0
        self.ts_ns = S
        self.tick()

    def tick(self, bid: float = 1.1) -> None:
        self.ts_ns += S
        self.venue.quote("EURUSD", self.ts_ns, bid, round(bid + 1e-4, 5))

    def _call(self, call: str, name: str = "") -> None:
        self.calls.append((call, name))
        if self.breaks(call, name):
            raise RuntimeError(f"{call} is broken")

    def send(self, side: int, kind: str = "market", price: float | None = None, of: str | None = None) -> str:
        self.sent += 1
        self.venue.submit(
            VenueOrder(
                order_id=f"o{self.sent}",
                strategy="s",
                instrument="EURUSD",
                series="1m",
                side=side,
                units=1_000.0,
                kind=kind,
                price=price,
                position_id=of,
                ts_ns=self.ts_ns + 1,  # type: ignore[arg-type]
            )
        )
        return f"o{self.sent}"

    def entry_orders(self) -> list[str]:
        self._call("entry_orders")
        return [one.order.order_id for one in self.venue.orders() if one.order.position_id is None]

    def exit_orders(self) -> list[str]:
        self._call("exit_orders")
        return [one.order.order_id for one in self.venue.orders() if one.order.position_id is not None]

    def positions(self) -> list[str]:
        self._call("positions")
        return [one.position_id for one in self.venue.positions()]

    def cancel(self, order_id: str) -> None:
        self._call("cancel", order_id)
        self.venue.cancel(order_id, self.ts_ns)

    def close(self, position_id: str) -> None:
        self._call("close", position_id)
        side = next(one.side for one in self.venue.positions() if one.position_id == position_id)
        self.send(-side, of=position_id)


def busy(breaks: Callable[[str, str], bool] = lambda call, name: False) -> Desk:
    """Return a desk with two protected positions and two entries that rest."""
    desk = Desk(breaks)
    desk.send(1)
    desk.send(-1)
    desk.tick()
    desk.send(-1, "stop", 1.09, "P-o1")
    desk.send(1, "stop", 1.12, "P-o2")
    desk.send(1, "limit", 1.05)
    desk.send(1, "stop", 1.2)
    desk.tick()
    assert (len(desk.venue.positions()), len(desk.venue.orders())) == (2, 4)
    return desk


def run(
    switch: KillSwitch, desk: Desk, *, steps: int = 200, restart: random.Random | None = None
) -> KillSwitch:
    for _ in range(steps):
        switch.advance(desk, desk.ts_ns)
        if switch.is_halted:
            break
        if restart is not None and restart.random() < 0.5:
            kept = msgspec.json.decode(msgspec.json.encode(switch.state), type=KillState)
            switch = KillSwitch(switch.config, kept)
        desk.tick()
    return switch


def test_it_blocks_at_once_and_ends_flat() -> None:
    desk, switch = busy(), KillSwitch(KillConfig())
    assert switch.may_enter
    switch.advance(desk, desk.ts_ns)
    assert desk.calls == []
    switch.kill("operator: enough", desk.ts_ns)
    assert not switch.may_enter
    switch = run(switch, desk)
    assert (switch.state.step, switch.state.still_open, switch.state.failures) == ("halted", (), ())
    assert switch.state.reason == "operator: enough"
    assert desk.venue.positions() == ()
    assert desk.venue.orders() == ()
    assert not switch.may_enter


def test_stops_stay_until_their_position_is_closed() -> None:
    desk, switch = busy(), KillSwitch(KillConfig())
    switch.kill("test", desk.ts_ns)
    switch.advance(desk, desk.ts_ns)
    assert [name for call, name in desk.calls if call == "cancel"] == ["o5", "o6"]
    assert [one.stops for one in desk.venue.positions()] == [1_000.0, 1_000.0]


@pytest.mark.parametrize("broken", ["entry_orders", "exit_orders", "cancel"])
def test_positions_are_closed_although_another_step_fails(broken: str) -> None:
    desk, switch = busy(lambda call, name: call == broken), KillSwitch(KillConfig(confirm_s=5))
    switch.kill("test", desk.ts_ns)
    switch = run(switch, desk)
    assert switch.is_halted
    assert desk.venue.positions() == ()
    assert broken in {failure.text.split()[1] for failure in switch.state.failures}
    assert switch.state.still_open != ()


def test_a_position_that_cannot_be_closed_is_told_and_the_other_is_closed() -> None:
    desk = busy(lambda call, name: (call, name) == ("close", "P-o1"))
    switch = KillSwitch(KillConfig(attempts=2, rounds=2, confirm_s=5))
    switch.kill("test", desk.ts_ns)
    switch = run(switch, desk)
    assert switch.is_halted
    assert switch.state.still_open == ("P-o1", "o3")  # with its stop
    assert desk.calls.count(("close", "P-o1")) == 4
    assert [one.position_id for one in desk.venue.positions()] == ["P-o1"]
    desk.tick(1.08)  # its stop is reached
    switch.advance(desk, desk.ts_ns)
    assert switch.state.still_open == ()


def test_what_halted_with_something_open_can_be_tried_again() -> None:
    desk = busy(lambda call, name: call == "close")
    switch = KillSwitch(KillConfig(attempts=1, rounds=1, confirm_s=2))
    switch.kill("test", desk.ts_ns)
    switch = run(switch, desk)
    assert set(switch.state.still_open) >= {"P-o1", "P-o2"}
    desk.breaks = lambda call, name: False
    switch.kill("again", desk.ts_ns)
    switch = run(switch, desk)
    assert (switch.state.still_open, desk.venue.positions()) == ((), ())


def test_a_try_is_repeated_after_a_while_and_not_before() -> None:
    fails = iter([True, True, False, False])
    desk = busy(lambda call, name: (call, name) == ("close", "P-o1") and next(fails))
    switch = KillSwitch(KillConfig(retry_s=10))
    switch.kill("test", desk.ts_ns)
    begin = desk.ts_ns
    switch.advance(desk, begin)
    switch.advance(desk, begin + 9 * S)
    assert desk.calls.count(("close", "P-o1")) == 1
    switch.advance(desk, begin + 10 * S)
    assert (desk.calls.count(("close", "P-o1")), switch.state.step) == (2, "closing")
    switch.advance(desk, begin + 20 * S)
    assert (desk.calls.count(("close", "P-o1")), switch.state.step) == (3, "confirming")


def test_an_entry_that_fills_late_is_closed_too() -> None:
    desk, switch = busy(), KillSwitch(KillConfig())
    switch.kill("test", desk.ts_ns)
    switch.advance(desk, desk.ts_ns)
    assert switch.state.step == "confirming"
    desk.send(1)  # was on its way when the switch was pulled
    desk.tick()
    assert [one.position_id for one in desk.venue.positions()] == ["P-o9"]
    switch = run(switch, desk)
    assert (switch.state.still_open, switch.state.round) == ((), 1)
    assert desk.venue.positions() == ()


def test_a_dead_venue_does_not_hold_it_up_for_ever() -> None:
    desk, switch = busy(lambda call, name: True), KillSwitch(KillConfig(confirm_s=3, rounds=2))
    switch.kill("test", desk.ts_ns)
    switch = run(switch, desk)
    assert switch.is_halted
    assert switch.state.still_open == ("unknown: the venue does not answer",)


@pytest.mark.parametrize("seed", range(30))
def test_it_ends_flat_through_restarts_and_calls_that_fail_now_and_then(seed: int) -> None:
    draw = random.Random(seed)
    desk = busy(lambda call, name: draw.random() < 0.3)
    switch = KillSwitch(KillConfig(confirm_s=5, rounds=50, attempts=5))
    switch.kill("test", desk.ts_ns)
    switch = run(switch, desk, steps=2_000, restart=random.Random(seed + 1))
    assert (switch.state.step, switch.state.still_open) == ("halted", ())
    desk.venue.check()
    assert desk.venue.positions() == ()
    assert desk.venue.orders() == ()


def test_a_state_of_another_version_and_wrong_patience_are_refused() -> None:
    with pytest.raises(ConfigError, match="version 9"):
        KillSwitch(KillConfig(), KillState(version=9))
    with pytest.raises(ConfigError, match="attempts=0"):
        KillConfig(attempts=0)
    with pytest.raises(ConfigError, match="Unknown key 'tries'"):
        decode({"tries": 3}, KillConfig, where="kill")

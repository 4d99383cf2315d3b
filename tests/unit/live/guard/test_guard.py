"""The guard: who refuses an entry, that exits always pass, and that it goes on after a restart."""

from __future__ import annotations

import msgspec
import pytest

from aiopt.config import decode
from aiopt.errors import ConfigError
from aiopt.live.guard.guard import Guard, GuardState
from aiopt.live.guard.guard_config import GuardConfig
from aiopt.live.guard.paper_target import PaperTarget
from aiopt.live.limits.limits_config import LimitsConfig
from aiopt.live.paper.paper_config import PaperConfig
from aiopt.live.paper.seam import Rejected, VenueOrder
from aiopt.live.paper.venue import PaperVenue
from aiopt.live.watch.watch_config import WatchConfig

S = 10**9
NOW = 1_709_730_000 * S  # Wednesday 6 March 2024, 13:00 UTC


class Desk:
    """A venue behind its guard, as a session drives them."""

    def __init__(self, **config: object) -> None:
        self.venue = PaperVenue(PaperConfig(account_currency="USD", commission_per_million=0.0))
        self.guard = Guard(GuardConfig(**config), self.venue, ["a", "b"])  # type: ignore[arg-type]
        self.ts_ns = NOW
        self.sent = 0

    def tick(self, bid: float = 1.1, *, pips: float = 1.0) -> None:
        self.ts_ns += S
        ask = round(bid + pips * 1e-4, 5)
        if self.guard.quote("EURUSD", self.ts_ns, self.ts_ns, bid, ask).is_accepted:
            self.venue.quote("EURUSD", self.ts_ns, bid, ask)
            self.guard.observe(self.ts_ns)

    def order(
        self, *, strategy: str = "a", units: float = 1_000.0, of: str | None = None, **kind: object
    ) -> VenueOrder:
        self.sent += 1
        return VenueOrder(
            order_id=f"o{self.sent}",
            strategy=strategy,
            instrument="EURUSD",
            series="1m",
            side=1 if of is None else -1,
            units=units,
            kind=kind.get("kind", "market"),  # type: ignore[arg-type]
            price=kind.get("price"),  # type: ignore[arg-type]
            position_id=of,
            ts_ns=self.ts_ns + 1,
        )

    def send(self, order: VenueOrder) -> str | None:
        """Send an order through the guard; return the rule that refused it."""
        refusal = self.guard(order)
        if refusal is not None:
            return refusal[0]
        assert not any(isinstance(event, Rejected) for event in self.venue.submit(order))
        return None


def held(**config: object) -> Desk:
    """Return a desk whose strategy a holds P-o1."""
    desk = Desk(**config)
    desk.tick()
    assert desk.send(desk.order()) is None
    desk.tick()
    return desk


def test_before_the_first_quote_nothing_is_opened() -> None:
    desk = Desk()
    assert desk.send(desk.order()) == "quote"
    desk.tick()
    assert desk.send(desk.order()) is None


def test_each_part_refuses_entries_in_its_turn_and_lets_exits_pass() -> None:
    desk = held(watch=WatchConfig(), limits=LimitsConfig(max_position_units=1_500))
    assert desk.send(desk.order()) == "max_position_units"
    desk.tick(pips=30)
    assert desk.send(desk.order()) == "feed"
    desk.guard.strategies.pause("a", "operator", desk.ts_ns)
    assert desk.send(desk.order()) == "paused"
    desk.guard.strategies.fail("a", ValueError("x"), desk.ts_ns)
    assert desk.send(desk.order()) == "failed"
    desk.guard.kill_switch.kill("operator", desk.ts_ns)
    assert desk.send(desk.order()) == "kill"
    assert desk.send(desk.order(of="P-o1")) is None
    desk.tick()
    assert desk.venue.positions() == ()


def test_what_one_strategy_holds_does_not_limit_the_other_but_the_notional_does() -> None:
    desk = held(limits=LimitsConfig(max_position_units=1_500))
    assert desk.send(desk.order(strategy="b")) is None
    desk = held(limits=LimitsConfig(max_notional=2_000.0))
    assert desk.send(desk.order(strategy="b")) == "max_notional"


def test_entries_at_work_count_as_held() -> None:
    desk = Desk(limits=LimitsConfig(max_position_units=1_500))
    desk.tick()
    assert desk.send(desk.order(kind="limit", price=1.09)) is None
    assert desk.send(desk.order(kind="limit", price=1.09)) == "max_position_units"


def test_an_old_quote_is_told_from_a_fresh_one_by_the_clock() -> None:
    desk = Desk(limits=LimitsConfig(max_quote_age_s=5))
    desk.tick()
    desk.guard.clock(desk.ts_ns + 5 * S)
    assert desk.send(desk.order()) is None
    desk.guard.clock(desk.ts_ns + 6 * S)
    assert desk.send(desk.order()) == "max_quote_age_s"


@pytest.mark.parametrize(("on_loss", "may_enter"), [("refuse", True), ("kill", False)])
def test_a_loss_refuses_entries_or_pulls_the_kill_switch(on_loss: str, may_enter: bool) -> None:
    desk = held(limits=LimitsConfig(max_daily_loss=5.0, on_loss=on_loss))  # type: ignore[arg-type]
    desk.tick(1.09)
    assert desk.guard.limits.breached == ("max_daily_loss",)
    assert desk.guard.kill_switch.may_enter is may_enter
    assert desk.send(desk.order()) == ("max_daily_loss" if may_enter else "kill")


def test_the_kill_switch_ends_flat_through_the_paper_target() -> None:
    desk = held()
    stop = desk.order(of="P-o1", kind="stop", price=1.05)
    assert desk.send(stop) is None
    assert desk.send(desk.order(kind="limit", price=1.05)) is None
    target = PaperTarget(desk.venue, desk.venue.submit, lambda name: desk.venue.cancel(name, desk.ts_ns))
    switch = desk.guard.kill_switch
    switch.kill("operator", desk.ts_ns)
    target.ts_ns = desk.ts_ns + 1
    switch.advance(target, desk.ts_ns)
    target.close("P-o1")  # asked twice, it sends one
    assert [one.order.kind for one in desk.venue.orders()] == ["stop", "market"]
    desk.tick()
    switch.advance(target, desk.ts_ns)
    assert (switch.state.step, switch.state.still_open) == ("halted", ())
    assert desk.venue.positions() == desk.venue.orders() == ()


def test_who_is_to_be_flattened() -> None:
    desk = held(watch=WatchConfig(on_stale=("alert", "flatten")), on_failure="flatten")
    assert desk.guard.to_flatten == ()
    desk.guard.strategies.fail("b", ValueError("x"), desk.ts_ns)
    assert desk.guard.to_flatten == ("b",)
    desk.tick(pips=30)
    assert desk.guard.to_flatten == ("a", "b")


def test_a_quote_the_watchdog_drops_does_not_count_as_fresh() -> None:
    desk = Desk(watch=WatchConfig(), limits=LimitsConfig(max_quote_age_s=0.5))
    desk.tick()
    before = desk.venue.state()
    desk.tick(1.9)
    assert desk.venue.state() == before
    assert desk.guard.watches["EURUSD"].cause == "absurd price"


def test_a_guard_goes_on_after_a_restart() -> None:
    desk = held(watch=WatchConfig(), limits=LimitsConfig(max_daily_loss=4.0, on_loss="kill"))
    desk.guard.strategies.pause("b", "operator", desk.ts_ns)
    desk.tick(1.0955)
    kept = msgspec.json.decode(msgspec.json.encode(desk.guard.state()), type=GuardState)
    again = Guard(desk.guard.config, desk.venue, ["a", "b"], kept)
    assert again.state() == desk.guard.state()
    assert not again.kill_switch.may_enter
    assert again(desk.order()) == desk.guard(desk.order())
    with pytest.raises(ConfigError, match="version 4"):
        Guard(desk.guard.config, desk.venue, ["a"], msgspec.structs.replace(kept, version=4))


def test_a_configuration_is_read_whole_or_refused() -> None:
    config = decode(
        {"limits": {"max_drawdown": 0.1}, "watch": {}, "kill": {"rounds": 2}}, GuardConfig, where="guard"
    )
    assert (config.limits.max_drawdown, config.kill.rounds, config.watch) == (0.1, 2, WatchConfig())
    with pytest.raises(ConfigError, match=r"Unknown key 'limit'.*Did you mean 'limits'"):
        decode({"limit": {}}, GuardConfig, where="guard")
    with pytest.raises(ConfigError, match="on_failure"):
        decode({"on_failure": "explode"}, GuardConfig, where="guard")

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.serving.backend import ModelCard, Operation, SwapRefusedError, UnknownModelError
from aiopt.serving.profile import EngineSettings, ServingConfig, SlotConfig
from aiopt.serving.swap.coordinator import SwapCoordinator
from aiopt.serving.swap.proof import EngineStartError, ProbeMismatchError
from aiopt.serving.swap.records import read_state
from tests.unit.serving.fake_host import FakeHost, checkpoint, judge


def config(
    folder: Path,
    *,
    models: dict[str, str] | None = None,
    engine: EngineSettings | None = None,
    **changes: Any,
) -> ServingConfig:
    slots = tuple(
        SlotConfig(name=name, model=model, aliases=(f"{name}-alias",), engine=engine or EngineSettings())
        for name, model in (models or {"minicpm": "a"}).items()
    )
    given: dict[str, Any] = {"device": "cpu", "drain_timeout_s": 2.0, "load_timeout_s": 60.0} | changes
    return ServingConfig(models=slots, state_dir=str(folder), **given)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 120))


async def started(host: FakeHost, folder: Path, **changes: Any) -> SwapCoordinator:
    coordinator = SwapCoordinator(config(folder, **changes), host, judge)
    await coordinator.start()
    await coordinator.settle()
    return coordinator


async def done(coordinator: SwapCoordinator, kind: str, source: str = "", slot: str = "minicpm") -> Operation:
    operation = await coordinator.begin(kind, slot, source)  # type: ignore[arg-type]
    await coordinator.settle()
    return coordinator.operation(operation.operation_id)


def card(coordinator: SwapCoordinator, name: str = "minicpm") -> ModelCard:
    (found,) = [card for card in coordinator.status().cards if card.name == name]
    return found


def roles(coordinator: SwapCoordinator) -> dict[str, str]:
    return {engine.model_id: engine.role for engine in coordinator.status().engines}


def phases(operation: Operation) -> list[str]:
    return [time.phase for time in operation.phases]


def test_the_configured_model_is_loaded_proved_and_routed_to(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = FakeHost()
        coordinator = await started(host, tmp_path)
        assert card(coordinator).revision == checkpoint("a").revision
        assert card(coordinator).aliases == ("minicpm-alias",)
        (operation,) = coordinator.status().operations
        assert operation.state == "done"
        assert phases(operation) == [
            *("validate", "memory", "reference", "load", "probe", "flip", "drain", "retire")
        ]
        assert host.calls == ["reference a", "start a", "probe a"]

    run(scenario)


def test_swap_and_rollback_between_two_loaded_engines(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = FakeHost()
        coordinator = await started(host, tmp_path)
        swap = await done(coordinator, "swap", "b")
        assert swap.state == "done"
        assert (swap.from_revision, swap.to_revision) == (checkpoint("a").revision, checkpoint("b").revision)
        assert card(coordinator).model_id == "b"
        assert roles(coordinator) == {"a": "previous", "b": "serving"}
        for expected in ("a", "b", "a"):
            back = await done(coordinator, "rollback")
            assert back.state == "done", back.message
            assert phases(back) == ["validate", "wake", "probe", "flip", "drain", "retire"]
            assert card(coordinator).model_id == expected
        assert [call for call in host.calls if call.startswith("start")] == ["start a", "start b"]
        again = await done(coordinator, "swap", "a")
        assert again.state == "done"
        assert "serves already" in again.message
        assert len(host.alive) == 2

    run(scenario)


def test_load_proves_a_model_without_routing_to_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        coordinator = await started(FakeHost(), tmp_path)
        load = await done(coordinator, "load", "b")
        assert (load.state, card(coordinator).model_id) == ("done", "a")
        assert roles(coordinator) == {"a": "serving", "b": "standby"}
        swap = await done(coordinator, "swap", "b")
        assert phases(swap)[:3] == ["validate", "wake", "probe"]

    run(scenario)


@pytest.mark.parametrize(
    ("source", "step", "fault", "phase", "message"),
    [
        ("broken", None, None, "validate", "truncated"),
        ("text", None, None, "validate", "must read images"),
        ("b", "reference", EngineStartError("unsupported architecture"), "reference", "unsupported"),
        ("b", "start", EngineStartError("the engine died while loading"), "load", "died while loading"),
        ("b", "start", ProbeMismatchError("probe 2 differs from token 4 on"), "probe", "probe 2 differs"),
        ("b", "probe", ProbeMismatchError("probe 0 differs from token 1 on"), "probe", "probe 0 differs"),
        ("b", "start", RuntimeError("a defect"), "load", "RuntimeError: a defect"),
    ],
)
def test_every_failure_leaves_the_old_model_serving_and_nothing_else(
    tmp_path: Path, source: str, step: str | None, fault: Exception | None, phase: str, message: str
) -> None:
    async def scenario() -> None:
        host = FakeHost()
        coordinator = await started(host, tmp_path)
        table = coordinator.table
        if step is not None and fault is not None:
            host.faults[step] = fault
        refused = await done(coordinator, "swap", source)
        assert (refused.state, refused.phase) == ("refused", phase)
        assert message in refused.message
        assert coordinator.table == table, "the route was touched"
        assert roles(coordinator) == {"a": "serving"}
        assert len(host.alive) == 1
        after = await done(coordinator, "swap", "c")
        assert after.state == "done"

    run(scenario)


def test_a_load_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = FakeHost()
        coordinator = await started(host, tmp_path, load_timeout_s=2.0)
        host.start_s = 60.0
        refused = await done(coordinator, "swap", "b")
        assert (refused.state, refused.phase) == ("refused", "load")
        assert "was not loaded within 2 s" in refused.message
        assert roles(coordinator) == {"a": "serving"}
        assert len(host.alive) == 1

    run(scenario)


def test_too_little_memory_is_refused_with_the_numbers(tmp_path: Path) -> None:
    async def scenario() -> None:
        coordinator = await started(FakeHost(room=1), tmp_path)
        refused = await done(coordinator, "swap", "b")
        assert (refused.state, refused.phase) == ("refused", "memory")
        assert "needs 1.0 GiB, but 0.0 GiB of the test are free" in refused.message
        assert roles(coordinator) == {"a": "serving"}

    run(scenario)


def test_a_standby_engine_gives_way_but_the_serving_one_never_does(tmp_path: Path) -> None:
    async def scenario() -> None:
        coordinator = await started(FakeHost(room=2), tmp_path)
        await done(coordinator, "swap", "b")
        assert roles(coordinator) == {"a": "previous", "b": "serving"}
        swap = await done(coordinator, "swap", "c")
        assert swap.state == "done", swap.message
        assert roles(coordinator) == {"b": "previous", "c": "serving"}

    run(scenario)


def test_where_both_do_not_fit_the_serving_engine_sleeps_and_comes_back_if_the_swap_fails(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        host = FakeHost(room=1, can_sleep=True)
        coordinator = await started(host, tmp_path, device="gpu")
        host.faults["start"] = EngineStartError("died")
        seen: list[tuple[str, str]] = []
        original = host.start

        async def watched(spec: Any, reference: Any) -> None:
            (route,) = coordinator.table.routes
            seen.append((route.engine_id, route.reason))
            await original(spec, reference)

        host.start = watched  # type: ignore[method-assign]
        refused = await done(coordinator, "swap", "b")
        assert refused.state == "refused"
        assert seen == [("", "another model is being loaded in its place; both do not fit in memory")]
        assert roles(coordinator) == {"a": "serving"}
        assert host.asleep == set()
        swap = await done(coordinator, "swap", "b")
        assert swap.state == "done", swap.message
        assert roles(coordinator) == {"a": "asleep", "b": "serving"}
        back = await done(coordinator, "rollback")
        assert back.state == "done", back.message
        assert roles(coordinator) == {"a": "serving", "b": "asleep"}
        host.faults["wake"] = EngineStartError("cannot wake")
        load = await done(coordinator, "load", "c")
        assert load.state == "done", load.message
        assert card(coordinator).model_id == "a", "an engine that does not wake is started anew"

    run(scenario)


def test_a_standby_engine_that_fails_its_probe_is_removed(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = FakeHost()
        coordinator = await started(host, tmp_path)
        await done(coordinator, "swap", "b")
        host.faults["probe"] = ProbeMismatchError("probe 1 differs")
        refused = await done(coordinator, "rollback")
        assert (refused.state, refused.phase) == ("refused", "probe")
        assert roles(coordinator) == {"b": "serving"}
        again = await done(coordinator, "rollback")
        assert again.state == "done", "the previous model is loaded afresh"
        assert card(coordinator).model_id == "a"

    run(scenario)


def test_the_old_engine_is_left_alone_until_every_gateway_let_go_of_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = FakeHost()
        coordinator = await started(host, tmp_path, standby_engines=0)
        table = await coordinator.sync("one", "", {}, 0)
        await coordinator.sync("two", "", {}, 0)
        old = table.routes[0].engine_id
        operation = await coordinator.begin("swap", "minicpm", "b")

        async def at(phase: str) -> None:
            while coordinator.operation(operation.operation_id).phase != phase:
                await asyncio.sleep(0.005)

        # "one" has requests in flight, "two" has not even fetched the new table.
        fetched = await coordinator.sync("one", table.version, {old: 2}, 5.0)
        assert fetched.routes[0].engine_id != old
        await at("drain")
        await coordinator.sync("one", fetched.version, {old: 2}, 0)
        await asyncio.sleep(0.1)
        assert old in host.alive
        assert [e.in_flight for e in coordinator.status().engines if e.role == "draining"] == [2]
        await coordinator.sync("one", fetched.version, {}, 0)
        await asyncio.sleep(0.1)
        assert old in host.alive, "a gateway that routes by the old table was not waited for"
        await coordinator.sync("two", fetched.version, {}, 0)
        await coordinator.settle()
        assert old not in host.alive
        assert coordinator.operation(operation.operation_id).state == "done"

    run(scenario)


def test_requests_that_never_end_keep_the_old_engine_but_not_the_swap(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = FakeHost()
        coordinator = await started(host, tmp_path, standby_engines=0, drain_timeout_s=0.1)
        table = await coordinator.sync("one", "", {}, 0)
        old = table.routes[0].engine_id
        waiting = asyncio.create_task(coordinator.sync("one", table.version, {}, 5.0))
        operation = await coordinator.begin("swap", "minicpm", "b")
        new = await waiting
        await coordinator.sync("one", new.version, {old: 1}, 0)
        await coordinator.settle()
        found = coordinator.operation(operation.operation_id)
        assert found.state == "done"
        assert "stays loaded" in found.message
        assert old in host.alive

    run(scenario)


def test_operations_never_interleave(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = FakeHost(room=9)
        coordinator = await started(host, tmp_path, models={"minicpm": "a", "minicpm-text": "text-a"})
        host.start_s = 0.02
        first = await coordinator.begin("swap", "minicpm", "b")
        second = await coordinator.begin("swap", "minicpm-text-alias", "text-b")
        assert second.slot == "minicpm-text"
        with pytest.raises(SwapRefusedError, match="Only one operation may run at a time"):
            await coordinator.begin("swap", "minicpm", "c", wait=False)
        third = await coordinator.begin("swap", "minicpm", "c")
        await coordinator.settle()
        states = [coordinator.operation(each.operation_id) for each in (first, second, third)]
        assert [each.state for each in states] == ["done"] * 3
        assert states[2].from_revision == checkpoint("b").revision
        assert card(coordinator).model_id == "c"
        assert card(coordinator, "minicpm-text").model_id == "text-b"
        # The host asserts that no two engines load at once.

    run(scenario)


def test_bad_orders_are_refused_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        coordinator = await started(FakeHost(), tmp_path)
        with pytest.raises(UnknownModelError, match="Did you mean 'minicpm'"):
            await coordinator.begin("swap", "minicpn", "b")
        with pytest.raises(SwapRefusedError, match="needs a previous model"):
            await coordinator.begin("rollback", "minicpm")
        with pytest.raises(SwapRefusedError, match="must name a checkpoint"):
            await coordinator.begin("swap", "minicpm", "  ")
        with pytest.raises(UnknownModelError, match="no operation"):
            coordinator.operation("nope")

    run(scenario)


def test_a_restarted_coordinator_finds_its_engines_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = FakeHost()
        before = await started(host, tmp_path)
        await done(before, "swap", "b")
        engines = dict(host.alive)
        after = await started(host, tmp_path)
        assert host.alive == engines
        assert roles(after) == {"a": "previous", "b": "serving"}
        assert card(after) == card(before)
        assert (await done(after, "rollback")).state == "done"
        assert host.alive == engines, "nothing had to be loaded"

    run(scenario)


def test_changed_engine_settings_start_the_engines_anew_on_what_served(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = FakeHost()
        before = await started(host, tmp_path)
        await done(before, "swap", "b")
        after = await started(host, tmp_path, engine=EngineSettings(max_context_tokens=64))
        assert {spec.settings.max_context_tokens for spec in host.alive.values()} == {64}
        assert roles(after) == {"b": "serving"}
        engines = dict(host.alive)
        again = await started(host, tmp_path, engine=EngineSettings(max_context_tokens=64))
        assert host.alive == engines, "unchanged settings load nothing"
        assert (await done(again, "rollback")).state == "done"
        assert card(again).model_id == "a"

    run(scenario)


def test_a_restart_in_the_middle_of_a_load_leaves_no_stray_engine(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = FakeHost()
        before = await started(host, tmp_path)
        host.start_s = 10.0
        operation = await before.begin("swap", "minicpm", "b")
        while len(host.alive) < 2:
            await asyncio.sleep(0.005)
        host.start_s, host.busy = 0.0, 0  # the first coordinator is gone from here on
        after = await started(host, tmp_path)
        found = after.operation(operation.operation_id)
        assert found.state == "refused"
        assert "restarted" in found.message
        assert [spec.checkpoint.model_id for spec in host.alive.values()] == ["a"]
        assert card(after).model_id == "a"

    run(scenario)


def test_a_lost_engine_is_loaded_again_with_the_model_that_served(tmp_path: Path) -> None:
    async def scenario() -> None:
        before = await started(FakeHost(), tmp_path)
        await done(before, "swap", "b")
        host = FakeHost()  # a new cluster: no engine exists
        after = await started(host, tmp_path)
        assert card(after).model_id == "b"
        assert roles(after) == {"b": "serving"}
        back = await done(after, "rollback")
        assert (back.state, card(after).model_id) == ("done", "a")

    run(scenario)


def test_another_model_in_the_profile_wins_over_what_served(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = FakeHost()
        await started(host, tmp_path)
        after = await started(host, tmp_path, models={"minicpm": "z"})
        assert card(after).model_id == "z"
        assert set(roles(after).values()) <= {"serving", "standby"}

    run(scenario)


def test_a_model_that_cannot_be_loaded_at_first_says_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        coordinator = await started(FakeHost(), tmp_path, models={"minicpm": "broken"})
        (route,) = coordinator.table.routes
        assert route.card is None
        assert "truncated" in route.reason
        assert (await done(coordinator, "swap", "a")).state == "done"
        assert card(coordinator).model_id == "a"

    run(scenario)


def test_restarts_of_an_engine_are_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = FakeHost()
        coordinator = await started(host, tmp_path)
        (engine,) = coordinator.status().engines
        await coordinator.observe()
        await coordinator.observe()
        assert coordinator.status().engines[0].restarts == 0
        host.lives[engine.engine_id] = 1
        await coordinator.observe()
        assert coordinator.status().engines[0].restarts == 1

    run(scenario)


FAULTS = st.sampled_from([None, "reference", "start", "probe", "wake", "sleep"])
STEP = st.tuples(st.sampled_from(["swap", "load", "rollback", "restart"]), st.sampled_from("abcd"), FAULTS)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(STEP, max_size=12),
    room=st.integers(1, 4),
    can_sleep=st.booleans(),
    standby=st.integers(0, 2),
)
def test_whatever_happens_one_proved_engine_serves(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, str, str | None]],
    room: int,
    can_sleep: bool,
    standby: int,
) -> None:
    async def scenario() -> None:
        folder = tmp_path_factory.mktemp("state")
        host = FakeHost(room=room, can_sleep=can_sleep)
        device = "gpu" if can_sleep else "cpu"
        coordinator = await started(host, folder, device=device, standby_engines=standby)
        for kind, source, fault in steps:
            before = card(coordinator)
            host.faults = {} if fault is None else {fault: EngineStartError(f"fault in {fault}")}
            if kind == "restart":
                host.faults = {}
                coordinator = await started(host, folder, device=device, standby_engines=standby)
                assert card(coordinator) == before
                continue
            try:
                operation = await done(coordinator, kind, source)
            except SwapRefusedError:
                continue
            host.faults = {}
            serving = [engine for engine in coordinator.status().engines if engine.role == "serving"]
            (engine,) = serving
            now = card(coordinator)
            assert engine.engine_id in host.awake(), "the serving engine does not run"
            assert host.alive[engine.engine_id].checkpoint.revision == now.revision == engine.revision
            if operation.state == "refused" or kind == "load":
                assert now.revision == before.revision
            else:
                assert now.revision == operation.to_revision
            known = {engine.engine_id for engine in coordinator.status().engines}
            assert known == set(host.alive), "an engine runs that nobody knows of"
            assert set(read_state(folder / "serving" / "models.json").engines) == known
            assert len(known) <= 2 + standby

    run(scenario)

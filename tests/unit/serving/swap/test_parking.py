"""Memory lent to a training: drained, held, renewed, and given back also by whoever was killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aiopt.serving.backend import Operation, SwapRefusedError
from aiopt.serving.profile import EngineSettings
from aiopt.serving.swap import parking
from aiopt.serving.swap.coordinator import SwapCoordinator
from aiopt.serving.swap.proof import EngineStartError, ProbeMismatchError
from aiopt.serving.swap.records import read_state
from tests.unit.serving.fake_host import FakeHost, checkpoint
from tests.unit.serving.swap.test_swap import card, config, done, phases, roles, run, started

GPU = {"device": "gpu", "engine": EngineSettings(sleep_mode=True)}


def route_reason(coordinator: SwapCoordinator) -> str:
    return coordinator.table.routes[0].reason


async def observed(coordinator: SwapCoordinator) -> Operation:
    """Let the coordinator look round, as it does every few seconds; its latest operation."""
    await coordinator.observe()
    await coordinator.settle()
    return coordinator.status().operations[-1]


@pytest.mark.parametrize("sleeps", [False, True])
def test_a_model_is_drained_rests_and_comes_back_proved(tmp_path: Path, sleeps: bool) -> None:
    async def scenario() -> None:
        host = FakeHost(can_sleep=sleeps)
        coordinator = await started(host, tmp_path, **(GPU if sleeps else {}))
        assert (await done(coordinator, "load", "b")).state == "done"
        before = card(coordinator).revision
        host.calls.clear()
        park = await done(coordinator, "park", "training first")
        assert (park.state, phases(park)) == ("done", ["drain", "sleep"]), park.message
        assert host.awake() == set()
        assert coordinator.status().cards == ()
        assert "its memory is lent to training first" in route_reason(coordinator)
        assert set(roles(coordinator).values()) == {"asleep"}
        wake = await done(coordinator, "wake", "training first")
        assert (wake.state, phases(wake)) == ("done", ["wake", "probe"]), wake.message
        assert card(coordinator).revision == before
        assert host.calls[-1] == "probe a"
        assert ("start a" in host.calls) == (not sleeps)
        assert roles(coordinator)["a"] == "serving"

    run(scenario)


def test_requests_in_flight_finish_first_and_a_busy_engine_is_not_taken(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = FakeHost()
        coordinator = await started(host, tmp_path, drain_timeout_s=0.3)
        (engine,) = host.alive
        await coordinator.sync("gateway", coordinator.table.version, {engine: 1}, 0)
        operation = await coordinator.begin("park", "minicpm", "training")
        await asyncio.sleep(0.05)
        assert host.alive, "stopped under a request"
        await coordinator.sync("gateway", coordinator.table.version, {engine: 1}, 0)
        await coordinator.settle()
        refused = coordinator.operation(operation.operation_id)
        assert refused.state == "refused"
        assert "must be idle to make room" in refused.message
        assert card(coordinator).model_id == "a"
        assert read_state(tmp_path / "serving" / "models.json").slots["minicpm"].parked == {}

    run(scenario)


def test_parking_again_renews_and_drains_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        coordinator = await started(FakeHost(), tmp_path)
        first = await done(coordinator, "park", "training")
        until = read_state(tmp_path / "serving" / "models.json").slots["minicpm"].parked["training"]
        await asyncio.sleep(0.01)
        again = await done(coordinator, "park", "training")
        assert again.operation_id == first.operation_id
        assert read_state(tmp_path / "serving" / "models.json").slots["minicpm"].parked["training"] > until
        assert (await observed(coordinator)).operation_id == first.operation_id
        with pytest.raises(SwapRefusedError, match="the holder is empty"):
            await coordinator.begin("park", "minicpm", " ")

    run(scenario)


def test_a_holder_that_was_killed_loses_its_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "HOLD_S", 0.2)

    async def scenario() -> None:
        coordinator = await started(FakeHost(), tmp_path)
        await done(coordinator, "park", "training")
        assert coordinator.status().cards == ()
        await asyncio.sleep(0.25)
        woken = await observed(coordinator)
        assert (woken.kind, woken.state) == ("wake", "done")
        assert card(coordinator).revision == checkpoint("a").revision

    run(scenario)


def test_two_trainings_hold_it_until_the_last_ends_and_swaps_are_refused_meanwhile(tmp_path: Path) -> None:
    async def scenario() -> None:
        coordinator = await started(FakeHost(), tmp_path)
        await done(coordinator, "park", "one")
        await done(coordinator, "park", "two")
        swap = await done(coordinator, "swap", "b")
        assert swap.state == "refused"
        assert "one, two holds it" in swap.message
        assert "aiopt model wake --name minicpm" in swap.message
        early = await done(coordinator, "wake", "one")
        assert "stays parked for two" in early.message
        assert coordinator.status().cards == ()
        assert (await done(coordinator, "wake", "")).state == "done"
        assert card(coordinator).model_id == "a"
        assert (await done(coordinator, "swap", "b")).state == "done"
        assert "was not parked" in (await done(coordinator, "wake", "one")).message

    run(scenario)


@pytest.mark.parametrize("alive", [True, False])
def test_a_restarted_coordinator_keeps_the_hold_and_wakes_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    monkeypatch.setattr(parking, "HOLD_S", 0.4)

    async def scenario() -> None:
        host = FakeHost(can_sleep=alive)
        settings = GPU if alive else {}
        coordinator = await started(host, tmp_path, **settings)
        await done(coordinator, "park", "training")
        assert bool(host.alive) == alive
        host.calls.clear()
        second = SwapCoordinator(config(tmp_path, **settings), host, None)  # type: ignore[arg-type]
        await second.start()
        await second.settle()
        assert host.calls == [], "loaded while a training holds the memory"
        assert "lent to training" in route_reason(second)
        await asyncio.sleep(0.45)
        woken = await observed(second)
        assert (woken.kind, woken.state) == ("wake", "done"), woken.message
        assert card(second).revision == checkpoint("a").revision

    run(scenario)


def test_an_engine_that_does_not_wake_is_started_anew_and_one_that_does_not_start_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "RETRY_S", 0.05)

    async def scenario() -> None:
        host = FakeHost(can_sleep=True)
        coordinator = await started(host, tmp_path, **GPU)
        await done(coordinator, "park", "training")
        host.faults["wake"] = ProbeMismatchError("other answers")
        host.faults["start"] = EngineStartError("no memory yet")
        failed = await done(coordinator, "wake", "training")
        assert (failed.state, failed.message) == ("refused", "no memory yet")
        assert coordinator.status().cards == (), "an engine that is not there must get no route"
        await asyncio.sleep(0.1)
        assert (await observed(coordinator)).state == "done"
        assert card(coordinator).model_id == "a"
        assert len(host.alive) == 1

    run(scenario)

"""A training beside an endpoint: both share, serving rests, or nothing starts.  The gateway is real HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aiopt.errors import ConfigError
from aiopt.serving.backend import Operation, SwapRefusedError
from aiopt.serving.endpoint import Endpoint, write_endpoint
from cluster.training import beside_serving as module
from cluster.training.beside_serving import beside_serving, parked
from tests.unit.serving.conftest import ADMIN
from tests.unit.serving.live import Live, live_gateway

JOB: Any = SimpleNamespace(device="cpu", out=Path("trainings/first"))


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    monkeypatch.setenv("AIOPT_SERVE_ADMIN_TOKEN", ADMIN)
    monkeypatch.setattr(module, "available_bytes", lambda: 100)
    with live_gateway() as found:
        write_endpoint(tmp_path, Endpoint(url=found.url, profile="test", started_cluster=False))
        yield found


def asked(live: Live) -> list[tuple[str, str]]:
    return [(one.kind, one.slot) for one in live.backend.operations.values()]


def train(folder: Path, needed: int, mode: str, *, agree: bool = False) -> list[str]:
    notes: list[str] = []
    questions: list[str] = []

    def ask(question: str) -> bool:
        questions.append(question)
        return agree

    with beside_serving(folder, JOB, needed, mode=mode, ask=ask, note=notes.append):  # type: ignore[arg-type]
        notes.append("trained")
    return [*notes, *questions]


def test_serving_rests_while_it_trains_and_wakes_after(live: Live, tmp_path: Path) -> None:
    said = train(tmp_path, 1, "drain")
    both = [("park", "minicpm"), ("park", "text"), ("wake", "minicpm"), ("wake", "text")]
    assert asked(live) == both
    holders = {one.checkpoint for one in live.backend.operations.values()}
    assert len(holders) == 1
    assert next(iter(holders)).startswith("training first ")
    assert said.index("trained") > said.index("Draining text …")


def test_a_training_that_fails_wakes_it_too(live: Live, tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        beside_serving(tmp_path, JOB, 1, mode="drain", ask=lambda text: False, note=lambda text: None),
    ):
        raise ZeroDivisionError
    assert asked(live)[-1] == ("wake", "text")


def test_both_share_where_both_fit_and_else_somebody_is_asked(live: Live, tmp_path: Path) -> None:
    assert train(tmp_path, 100, "auto")[-1] == "trained"
    assert train(tmp_path, 10**12, "share") == ["trained"]
    assert asked(live) == []
    with pytest.raises(ConfigError, match=r"needs 93\d\.. GiB of cpu, of which .* --while-serving drain"):
        train(tmp_path, 10**12, "auto")
    assert asked(live) == []
    said = train(tmp_path, 10**12, "auto", agree=True)
    assert said[-1].endswith("Let serving rest until the training ends?")
    assert asked(live)[0] == ("park", "minicpm")
    with pytest.raises(ConfigError, match=r"Nothing may serve beside this training, but http.*minicpm, text"):
        train(tmp_path, 1, "refuse")


def test_where_nothing_answers_nothing_is_asked(tmp_path: Path) -> None:
    assert train(tmp_path, 10**12, "refuse") == ["trained"]
    told, trained = train(tmp_path, 10**12, "drain")
    assert told.startswith(f"Nothing serves from {tmp_path}, so nothing is drained.")
    assert trained == "trained"
    write_endpoint(tmp_path, Endpoint(url="http://127.0.0.1:9", profile="test", started_cluster=False))
    (tmp_path / "serve-admin-token").write_text("token")
    assert train(tmp_path, 10**12, "auto") == ["trained"]


def test_the_hold_is_renewed_while_it_trains(live: Live, tmp_path: Path) -> None:
    with parked(tmp_path, live.url, ["minicpm"], holder="me", note=lambda text: None, renew_s=0.02):
        end = time.monotonic() + 20
        while asked(live).count(("park", "minicpm")) < 4:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert asked(live)[-1] == ("wake", "minicpm")


def test_what_cannot_be_drained_stops_the_start_and_wakes_the_rest(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = live.backend.begin

    async def refusing(kind: Any, *, slot: str, **rest: Any) -> Operation:
        found = await begin(kind, slot=slot, **rest)
        if (kind, slot) != ("park", "text"):
            return found
        refused = Operation(
            operation_id=found.operation_id,
            kind="park",
            slot=slot,
            checkpoint="",
            state="refused",
            message="busy",
        )
        live.backend.operations[found.operation_id] = refused
        return refused

    monkeypatch.setattr(live.backend, "begin", refusing)
    with pytest.raises(SwapRefusedError, match="text cannot rest: busy"):
        train(tmp_path, 1, "drain")
    assert asked(live)[-2:] == [("wake", "minicpm"), ("wake", "text")]

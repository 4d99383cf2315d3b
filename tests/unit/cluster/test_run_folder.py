"""Owning a run folder: identity, lock, state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aiopt.errors import BacktestError, RunExistsError
from cluster.run_folder import owned_run

IDENTITY = {"name": "x", "seed": 1}


def state_of(run_dir: Path) -> dict[str, str]:
    return json.loads((run_dir / "state.json").read_text())


def test_state_follows_the_stages(tmp_path: Path) -> None:
    run_dir = tmp_path / "runs" / "r"
    with owned_run(run_dir, IDENTITY, force=False) as state:
        assert not state.finished
        state.enter("sweep")
        assert (state_of(run_dir)["status"], state_of(run_dir)["stage"]) == ("running", "sweep")
        state.finish()
    assert state_of(run_dir)["status"] == "done"
    with owned_run(run_dir, IDENTITY, force=False) as state:
        assert state.finished


@pytest.mark.parametrize(
    ("error", "status"), [(BacktestError("broken"), "failed"), (KeyboardInterrupt(), "interrupted")]
)
def test_how_it_ended_is_recorded(tmp_path: Path, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), owned_run(tmp_path / "r", IDENTITY, force=False) as state:
        state.enter("bars")
        raise error
    found = state_of(tmp_path / "r")
    assert (found["status"], found["stage"]) == (status, "bars")
    assert found["error"]
    with owned_run(tmp_path / "r", IDENTITY, force=False) as state:
        state.enter("bars")
        assert state_of(tmp_path / "r")["error"] == ""


def test_another_configuration_is_refused_and_force_replaces(tmp_path: Path) -> None:
    with owned_run(tmp_path / "r", IDENTITY, force=False):
        (tmp_path / "r" / "leaderboard.jsonl").write_text("old")
    other = {**IDENTITY, "seed": 2}
    with (
        pytest.raises(RunExistsError, match="one configuration and data"),
        owned_run(tmp_path / "r", other, force=False),
    ):
        pass
    assert (tmp_path / "r" / "leaderboard.jsonl").exists()
    with owned_run(tmp_path / "r", other, force=True):
        assert not (tmp_path / "r" / "leaderboard.jsonl").exists()


def test_two_owners_at_once(tmp_path: Path) -> None:
    with (
        owned_run(tmp_path / "r", IDENTITY, force=False),
        pytest.raises(RunExistsError, match="another one is at"),
        owned_run(tmp_path / "r", IDENTITY, force=True),
    ):
        pass


def test_foreign_folder_is_left_alone_even_with_force(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "thesis.tex").write_text("precious")
    with (
        pytest.raises(RunExistsError, match="holds other files"),
        owned_run(tmp_path / "r", IDENTITY, force=True),
    ):
        pass
    assert (tmp_path / "r" / "thesis.tex").read_text() == "precious"

"""Owning a run folder: identity, lock, state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aiopt.errors import BacktestError, RunExistsError
from aiopt.optimize.run_folder import owned_run
from aiopt.optimize.versions import changed_versions, current_versions

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
        pytest.raises(RunExistsError, match="another configuration or other data"),
        owned_run(tmp_path / "r", other, force=False),
    ):
        pass
    assert (tmp_path / "r" / "leaderboard.jsonl").exists()
    with owned_run(tmp_path / "r", other, force=True):
        assert not (tmp_path / "r" / "leaderboard.jsonl").exists()


def test_two_owners_at_once(tmp_path: Path) -> None:
    with (
        owned_run(tmp_path / "r", IDENTITY, force=False),
        pytest.raises(RunExistsError, match="Another process is working on"),
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


def begun_by_other_software(run_dir: Path) -> None:
    """Leave a run half done, and make its state say that numpy was another."""
    with pytest.raises(KeyboardInterrupt), owned_run(run_dir, IDENTITY, force=False) as state:
        state.enter("sweep")
        raise KeyboardInterrupt
    found = state_of(run_dir)
    for versions in (found["versions"], *(session["versions"] for session in found["sessions"])):
        versions["numpy"] = "1.0"
    (run_dir / "state.json").write_text(json.dumps(found))


def test_every_version_that_worked_on_a_run_is_recorded(tmp_path: Path) -> None:
    run_dir = tmp_path / "r"
    begun_by_other_software(run_dir)
    now = current_versions()
    change = f"numpy 1.0, now {now['numpy']}"
    for _ in range(2):  # what nobody has proved stays open
        with pytest.raises(KeyboardInterrupt), owned_run(run_dir, IDENTITY, force=False) as state:
            assert state.changes == [change]
            state.enter("sweep")
            raise KeyboardInterrupt
    with owned_run(run_dir, IDENTITY, force=False) as state:
        assert state.changes == [change]
        state.proved("2 of 9 finished trials run again, all rows equal")
    with owned_run(run_dir, IDENTITY, force=False) as state:
        assert state.changes == []
        state.finish()
    sessions = state_of(run_dir)["sessions"]
    assert [session["versions"]["numpy"] for session in sessions] == ["1.0", *[now["numpy"]] * 4]
    assert [bool(session["proof"]) for session in sessions] == [False, False, False, True, False]
    with owned_run(run_dir, IDENTITY, force=False) as state:
        assert state.finished
    assert len(state_of(run_dir)["sessions"]) == 5


def test_another_configuration_of_other_software_says_so(tmp_path: Path) -> None:
    begun_by_other_software(tmp_path / "r")
    with (
        pytest.raises(RunExistsError, match=r"another --run-id.*begun by other software.*numpy 1\.0, now"),
        owned_run(tmp_path / "r", {**IDENTITY, "seed": 2}, force=False),
    ):
        pass


def test_versions_are_compared_by_name() -> None:
    assert changed_versions({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == [
        "b 2, now 3",
        "c not recorded, now 4",
    ]
    assert changed_versions(current_versions(), current_versions()) == []
    assert {"aiopt", "code", "nautilus_trader", "numpy", "python"} <= current_versions().keys()

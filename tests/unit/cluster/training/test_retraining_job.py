"""The submitted retraining: what it prints, and its exit code."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from aiopt.errors import DataError
from cluster.training import retrain


def test_a_job_connects_does_a_round_on_ray_and_says_what_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr("aiopt.retraining.load_retrain_config", lambda path: path)
    monkeypatch.setattr("cluster.optimize.connect", lambda: asked.update(connected=True))

    def done(config: object, *, engine: str, say: object) -> SimpleNamespace:
        asked.update(config=config, engine=engine)
        return SimpleNamespace(message="Nothing to do")

    monkeypatch.setattr(retrain, "run_retraining", done)
    assert retrain.retrain_job(tmp_path / "retrain.yaml") == 0
    assert asked == {"connected": True, "config": tmp_path / "retrain.yaml", "engine": "ray"}
    assert capsys.readouterr().out == "Nothing to do\n"


def test_a_job_prints_its_error_and_returns_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(path: Path) -> None:
        raise DataError(f"{path}: torn")

    monkeypatch.setattr("aiopt.retraining.load_retrain_config", broken)
    assert retrain.retrain_job(tmp_path / "retrain.yaml") == DataError("").exit_code
    assert capsys.readouterr().out == f"error: {tmp_path / 'retrain.yaml'}: torn\n"

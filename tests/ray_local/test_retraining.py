"""A retraining over real Ray: its round is trained by a worker of the cluster."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("torch")

from aiopt.dataset.tasks import ShareConfig
from aiopt.retraining import Rounds
from cluster.cli.main import run
from jobs import retrain as retrain_job
from tests.unit.retraining.test_retraining import config, tasks_of

# Ray Train's own, as in test_training.py.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),  # two processes import torch and Ray Train: minutes on a starved machine
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

TRAINING = {
    "stages": [{"steps": 2, "learning_rate": 1e-3}],
    "batch_size": 2,
    "micro_batch": 2,
    "probe": {"rows": 2, "every_steps": 2},
    "optimizer": {"warmup_steps": 1},
    "image": {"scale_resolution": 56},
}
SHARES = ShareConfig(train=0.2, validation=0.7, test=0.1)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A retraining with one week of data."""
    monkeypatch.setenv("AIOPT_STATE_DIR", str(tmp_path / "state"))
    tasks_of(tmp_path / "sets" / "week-1", 0, 3_000, SHARES)
    tasks_of(tmp_path / "judge", 9_000, 16_000, ShareConfig(train=0.1, validation=0.1, test=0.8))
    (tmp_path / "training.yaml").write_text(json.dumps(TRAINING))
    document = msgspec.to_builtins(config(tmp_path, training=str(tmp_path / "training.yaml")))
    document["rule"] |= {"charts": 12, "controls": 2}
    document["calibrate"] = False
    (tmp_path / "retrain.yaml").write_text(json.dumps(document))
    return tmp_path / "retrain.yaml"


def test_the_job_trains_a_round_on_the_cluster_and_the_command_finds_it_done(
    ray_driver: object, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert retrain_job.main(["--config", str(settings)]) == 0
    said = capsys.readouterr().out
    assert "Round 1: 1 datasets" in said
    assert "step 2/2 train: loss" in said, "the worker's steps are in the job's log"
    (one,) = Rounds(settings.parent / "retraining").finished
    assert (Path(one.checkpoint).parent / "ray").is_dir(), "Ray Train's own folder: a worker trained"
    assert Path(one.report).is_file()
    assert run(["model", "retrain", str(settings), "--engine", "ray", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert not document["done"]
    assert document["message"] == "Nothing to do: all data was trained on before (1 datasets)."
